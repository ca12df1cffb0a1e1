//! `history compare`: what differs between two recordings, or two simulations.

use std::io::Write;
use std::process::ExitCode;

use super::super::{Common, Failure, Outcome, say};
use super::{reference, resolve};
use crate::quantity::percentage;
use crate::report::Format;
use crate::report::compared::{self, Compared};
use crate::report::difference::NAMES;
use crate::stats::Confidence;
use crate::store::Reference;

/// Options of `history compare`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer history compare 3 4
  cyclometer history compare 3 latest --format csv
  cyclometer history compare s3 s4     mean bills, by model

The second is compared with the first. Times and counts are compared by their
medians, bills by their means, of runs that ended well, each with a bootstrap
interval. `99 % sure`: of a hundred comparisons of things that do not differ,
one says that they do. The runs of one recording share a machine in one state:
to tell the function from the hour, record both again.")]
pub(super) struct Options {
    /// The recording (12, latest) or simulation (s12) to compare with
    #[arg(value_name = "FIRST")]
    first: String,
    /// The recording or simulation that is compared
    #[arg(value_name = "SECOND")]
    second: String,
    /// How sure a shown difference has to be, in per cent
    #[arg(long, value_name = "PERCENT", default_value = "99", value_parser = confidence)]
    confidence: Confidence,
}

fn confidence(text: &str) -> Result<Confidence, String> {
    let share = percentage(text).map_err(|error| error.to_string())?;
    Confidence::new(share).ok_or_else(|| format!("`{text}`: write a per cent from 50 to 99.9"))
}

/// Runs the command.
pub(super) fn run(common: &Common, options: &Options) -> Outcome {
    let kinds = [reference(&options.first)?, reference(&options.second)?];
    let recordings = kinds.iter().filter(|it| matches!(it, Reference::Recording(_))).count();
    if recordings == 1 {
        return Err(Failure::Usage(
            "a recording and a simulation cannot be compared: name two recordings (3 4) or two \
             simulations (s3 s4)"
                .to_owned(),
        ));
    }
    let store = common.reading()?;
    let (first, second) = (resolve(&store, &options.first)?, resolve(&store, &options.second)?);
    let compared = compared::compare(&store, first, second, options.confidence)
        .map_err(Failure::failed)?
        .ok_or_else(|| Failure::Usage("two of one kind can be compared".to_owned()))?;
    let Compared { names: [one, two], warnings, difference, conclusion } = compared;
    if common.format == Format::Table {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{one}\n{two}\n")?;
    }
    for warning in warnings {
        say(&format!("warning: {warning}"));
    }
    if first == second {
        say(&format!("note: both are {first}"));
    }
    if difference.table.is_empty() {
        say("neither of the two has anything to compare");
    }
    let mut out = std::io::stdout().lock();
    if common.format == Format::Table {
        if !difference.table.is_empty() {
            writeln!(out, "{}", difference.table.render_grouped(NAMES))?;
        }
    } else {
        difference.table.print(common.format, &mut out)?;
    }
    out.flush()?;
    drop(out);
    for line in difference.notes.iter().chain(&conclusion) {
        say(line);
    }
    Ok(ExitCode::SUCCESS)
}
