//! `replay`: a recording through price models.

use std::process::ExitCode;

use super::{Common, Failure, Outcome, say};
use crate::pricing::{self, Terms, UnknownModel};
use crate::replay::Contract;
use crate::report::{Format, footnotes, totals};
use crate::store::{RecordingRef, ReplayPlan};

/// Options of `replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer replay latest
  cyclometer replay 12 --model aws-lambda-x86 --format csv

Billed are invocations that ended well, failed or ran out of time, as providers
bill them; interrupted ones are not. The same replay twice is stored once.")]
pub(super) struct Options {
    /// Number of a recording, or `latest`
    #[arg(default_value = "latest", value_name = "RECORDING")]
    recording: String,
    /// Price models, by id [default: all]
    #[arg(long, value_delimiter = ',', value_name = "ID,ID")]
    model: Vec<String>,
}

/// Runs the command.
pub(super) fn run(common: &Common, options: &Options) -> Outcome {
    let recording: RecordingRef = options.recording.parse().map_err(Failure::Usage)?;
    let contracts = models(common, &options.model)?;
    let mut store = common.store()?;
    let recording = store.find(recording).map_err(Failure::failed)?;
    let simulation =
        store.replay(&ReplayPlan::of(vec![recording], contracts)).map_err(Failure::failed)?;
    common.print(&totals(&simulation.summary))?;
    let sources = store.meter_sources(recording).map_err(Failure::failed)?;
    for it in sources
        .iter()
        .filter(|it| it.meter == "ref_cycles" && it.source.as_deref() == Some("estimate"))
    {
        say(&format!("ref_cycles in {}, {}: an estimate, {}", it.lane, it.start, it.note));
    }
    for note in footnotes(&simulation.summary) {
        say(&note);
    }
    if common.format == Format::Table {
        say("amounts to 6 significant digits; --format json has all of them");
    }
    let stored = if simulation.known { "was stored before" } else { "is stored" };
    say(&format!("recording {recording}: simulation {} {stored}", simulation.id));
    let refused = simulation.summary.overall().models.iter().any(|total| total.refusals() > 0);
    Ok(if refused { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

/// The models of the comparison that ends a recording: coarse beside fine.
pub(super) const HEADLINE: [&str; 2] = ["aws-lambda-x86", "per-cycle"];

/// Those, on their own terms.
pub(super) fn headline() -> Result<Vec<Contract>, UnknownModel> {
    HEADLINE
        .iter()
        .map(|id| pricing::find(id).map(|model| (model.clone(), Terms::of(model))))
        .collect()
}

fn models(common: &Common, ids: &[String]) -> Result<Vec<Contract>, Failure> {
    if ids.is_empty() {
        return headline().map_err(Failure::failed);
    }
    let catalog = common.price_catalog()?;
    let mut models: Vec<Contract> = Vec::new();
    for id in ids {
        let model = catalog.find(id).map_err(Failure::usage)?;
        if !models.iter().any(|(other, _)| other.id() == model.id()) {
            models.push((model.clone(), Terms::of(model)));
        }
    }
    Ok(models)
}
