//! `history compare`: what differs between two recordings, or two simulations.

use std::io::Write;
use std::process::ExitCode;

use super::super::{Common, Failure, Outcome, say};
use super::{moment, reference, resolve};
use crate::report::Format;
use crate::report::difference::{self, Difference, NAMES};
use crate::stats::{Confidence, LEAST_RUNS};
use crate::store::{Circumstances, Filter, Item, Reference, Store};

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
    let percent = text.trim_end_matches('%').trim().parse::<f64>().ok();
    percent
        .and_then(|percent| Confidence::new(percent / 100.0))
        .ok_or_else(|| format!("`{text}` is not a number of per cent from 50 to 99.9"))
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
    let store = common.store()?;
    let (first, second) = (resolve(&store, &options.first)?, resolve(&store, &options.second)?);
    let difference = match (first, second) {
        (Item::Recording(a), Item::Recording(b)) => recordings_of(common, &store, a, b, options)?,
        (Item::Simulation(a), Item::Simulation(b)) => {
            simulations_of(common, &store, a, b, options)?
        }
        _ => return Err(Failure::Usage("two of one kind can be compared".to_owned())),
    };
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
    for note in &difference.notes {
        say(note);
    }
    conclude(&difference, options.confidence);
    Ok(ExitCode::SUCCESS)
}

fn recordings_of(
    common: &Common,
    store: &Store,
    first: i64,
    second: i64,
    options: &Options,
) -> Result<Difference, Failure> {
    let circumstances = |id| store.circumstances(id).map_err(Failure::failed);
    let around = [circumstances(first)?, circumstances(second)?];
    if common.format == Format::Table {
        let name = |which: &str, id: i64, it: &Circumstances| {
            let label = it.label.as_ref().map_or_else(String::new, |it| format!(", {it}"));
            format!("{which}: recording {id}, {} UTC{label}", moment(&it.started_at))
        };
        introduce(&name("first", first, &around[0]), &name("second", second, &around[1]))?;
    }
    for warning in difference::warnings(&around[0], &around[1]) {
        say(&format!("warning: {warning}"));
    }
    let runs = |id| store.runs(id).map_err(Failure::failed);
    Ok(difference::recordings(&runs(first)?, &runs(second)?, options.confidence))
}

fn simulations_of(
    common: &Common,
    store: &Store,
    first: i64,
    second: i64,
    options: &Options,
) -> Result<Difference, Failure> {
    if common.format == Format::Table {
        let all = store.simulations(&Filter::default()).map_err(Failure::failed)?;
        let name = |which: &str, id: i64| {
            let info = all.iter().find(|info| info.id == id);
            info.map_or_else(String::new, |it| {
                let label = it.label.as_ref().map_or_else(String::new, |it| format!(", {it}"));
                let made = moment(&it.created_at);
                format!(
                    "{which}: simulation {id} of recording {}, {made} UTC{label}",
                    it.recordings
                )
            })
        };
        introduce(&name("first", first), &name("second", second))?;
    }
    let models = |id| store.used_models(id).map_err(Failure::failed);
    for warning in difference::models(&models(first)?, &models(second)?) {
        say(&format!("warning: {warning}"));
    }
    let bills = |id| store.bills(id).map_err(Failure::failed);
    Ok(difference::simulations(&bills(first)?, &bills(second)?, options.confidence))
}

fn introduce(first: &str, second: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{first}\n{second}\n")?;
    Ok(())
}

/// What all the verdicts together mean.
fn conclude(difference: &Difference, sure: Confidence) {
    let (shown, all) = difference.shown;
    if all == 0 {
        return;
    }
    let expected = (1.0 - sure.share()) * f64::from(u32::try_from(all).unwrap_or(u32::MAX));
    say(&format!("{shown} of {all} comparisons show a difference"));
    if shown > 0 {
        let chance =
            if expected < 0.5 { "hardly one".to_owned() } else { format!("about {expected:.0}") };
        say(&format!(
            "by chance {chance} of {all} would, were all runs independent; a machine that was \
             busier during one of the two shows as well, in CPU time and cycles least"
        ));
    }
    if difference.apart > 0 {
        say(&format!(
            "{} more differ without spread: either side has one value in all its runs, as of a \
             worker that they share",
            difference.apart
        ));
    }
    let few = difference.few;
    if few > 0 {
        say(&format!(
            "{few} have too few runs: `record --runs {LEAST_RUNS}` or more makes them comparable"
        ));
    }
}
