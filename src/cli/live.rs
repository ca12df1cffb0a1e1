//! `live`: the observatory, which bare `cyclometer` starts.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use super::cpu_options::CpuOptions;
use super::own_function::{FunctionOptions, NamedFunction, choose_preset};
use super::{CommandFailure, CommandOutcome, CommonOptions, own_config, say};
use crate::output::{flush_messages, is_terminal_output};
use crate::pricing::PriceCatalog;
use crate::record::{Starts, limits};
use crate::tui::{self, RecordingOptions, TerminalEnvironment, TuiConfig, TuiError};
use crate::units::Bytes;
use crate::workload::Catalog;

/// Options of `live`.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:
  cyclometer
  cyclometer fn.wasm                     your own function; or -- ./prog ARGS, --image IMAGE
  cyclometer live --workload nbody --lane native,wasmtime --loop
  cyclometer live --race --model aws-lambda-arm,per-cycle
  cyclometer live --idle                 look at what is stored, record nothing

Keys are shown by `?`; q and ctrl-c leave, with exit status 0. Defaults, colours and keys are set in
~/.config/cyclometer/config.toml; docs/observatory.md describes it. It needs a
terminal; `cyclometer record` does not.")]
pub(super) struct LiveOptions {
    /// Workloads, by name [default: nbody,nop,wait,memory-burst]
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    workload: Vec<String>,
    /// Lanes [default: native,wasmtime,docker, if available]
    #[arg(long, value_delimiter = ',', value_name = "X,Y")]
    lane: Vec<String>,
    #[command(flatten)]
    function: FunctionOptions,
    /// Preset of arguments and input [default: quick, if they have it]
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Kinds of start, in lanes that have them [default: both]
    #[arg(long, value_enum)]
    start: Option<Starts>,
    /// Recorded runs of each workload in each lane [default: 10]
    #[arg(long, value_parser = limits::at_least_one, value_name = "N")]
    runs: Option<u32>,
    /// Continue until stopped
    #[arg(long = "loop", conflicts_with = "runs")]
    until_stopped: bool,
    /// Run lanes at the same time, each on a CPU of its own
    #[arg(long)]
    race: bool,
    /// Memory that each function may use, and is billed for: 6MiB to 1TiB [default: the workload's]
    #[arg(long, value_parser = limits::memory, value_name = "SIZE")]
    memory: Option<Bytes>,
    #[command(flatten)]
    cpu_share: CpuOptions,
    /// Price models whose bills are shown [default: aws-lambda-x86,per-cycle]
    #[arg(long, value_delimiter = ',', value_name = "ID,ID")]
    model: Vec<String>,
    /// Label of the recording
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Record nothing until asked to
    #[arg(long)]
    idle: bool,
    /// Another configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, options: &LiveOptions) -> CommandOutcome {
    if !std::io::stdin().is_terminal() || !is_terminal_output() {
        return Err(CommandFailure::Usage(
            "the live view needs a terminal, and this is none: `cyclometer record` makes the \
             same comparison without one"
                .to_owned(),
        ));
    }
    let preset = options.preset.as_deref();
    let (catalog, chosen) =
        common.choose_workloads(&options.function, &options.workload, preset)?;
    let prices = common.price_catalog()?;
    let config = load_config(options, chosen, &catalog, &prices)?;
    let database = common.db_path()?;
    let ending = tui::run(tui::TuiOptions { database, catalog, prices, config }).map_err(
        |error| match error {
            TuiError::Name(_) => CommandFailure::usage(error),
            TuiError::Terminal(_) | TuiError::System(_) => CommandFailure::failed(error),
        },
    )?;
    for line in &ending.lines {
        say(line);
    }
    let code = match (ending.signal, ending.failed) {
        (Some(signal), _) => u8::try_from(128 + signal).unwrap_or(1),
        (None, true) => 1,
        (None, false) => 0,
    };
    flush_messages();
    Ok(ExitCode::from(code))
}

/// Reads the configuration file and applies the options of the command line to it.
fn load_config(
    options: &LiveOptions,
    chosen: NamedFunction,
    catalog: &Catalog,
    prices: &PriceCatalog,
) -> Result<TuiConfig, CommandFailure> {
    let path = options.config.clone().or_else(|| own_config("config.toml")).unwrap_or_default();
    let around = TerminalEnvironment::from_env();
    let mut config =
        TuiConfig::read_file(&path, options.config.is_some(), around, RecordingOptions::for_demo())
            .map_err(CommandFailure::usage)?;
    apply_options(options, chosen, &mut config.options)?;
    config.begin &= !options.idle;
    if !options.model.is_empty() {
        config.models.clone_from(&options.model);
    }
    if config.models.is_empty() {
        config.models = super::replay::HEADLINE_MODELS.map(str::to_owned).to_vec();
    }
    // Unknown names are reported before the terminal is taken over.
    for id in &config.models {
        prices.find_model(id).map_err(CommandFailure::usage)?;
    }
    let named = config.options.workloads.iter();
    let named = named.map(|name| super::find_workload(catalog, name).cloned());
    let workloads = named.collect::<Result<Vec<_>, _>>()?;
    let usual = RecordingOptions::for_demo().preset;
    // A preset of the file is meant, and the usual one is what all have.
    let wanted = Some(config.options.preset.as_str()).filter(|name| *name != usual);
    let wanted = options.preset.as_deref().or(wanted);
    config.options.preset = choose_preset(&workloads, wanted)?;
    Ok(config)
}

fn apply_options(
    options: &LiveOptions,
    chosen: NamedFunction,
    wanted: &mut RecordingOptions,
) -> Result<(), CommandFailure> {
    if !chosen.workloads.is_empty() {
        wanted.workloads = chosen.workloads;
    }
    if !options.lane.is_empty() {
        wanted.lanes = super::record::parse_lanes(&options.lane)?;
    } else if let Some(lanes) = chosen.lanes {
        wanted.lanes = lanes;
    }
    wanted.rules = options.function.to_rules();
    if let Some(preset) = &options.preset {
        wanted.preset.clone_from(preset);
    }
    wanted.starts = options.start.unwrap_or(wanted.starts);
    if let Some(runs) = options.runs {
        (wanted.runs, wanted.until_stopped) = (runs, false);
    }
    wanted.until_stopped |= options.until_stopped;
    wanted.race |= options.race;
    wanted.memory = options.memory.or(wanted.memory);
    wanted.cpu_share = options.cpu_share.share_rule(wanted.race)?.or(wanted.cpu_share);
    wanted.label = options.label.clone().or_else(|| wanted.label.take());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::LaneSpec;

    #[test]
    fn the_command_line_is_stronger_than_the_file() {
        let options = LiveOptions {
            lane: vec!["native".to_owned(), "native".to_owned()],
            runs: Some(3),
            race: true,
            memory: Some(Bytes(256 << 20)),
            ..LiveOptions::default()
        };
        let mut wanted = RecordingOptions { until_stopped: true, ..RecordingOptions::for_demo() };
        let chosen = NamedFunction {
            workloads: vec!["wait".to_owned()],
            lanes: Some(LaneSpec::default_lanes()),
        };
        apply_options(&options, chosen, &mut wanted).expect("valid");
        assert_eq!(wanted.workloads, ["wait"]);
        assert_eq!(wanted.lanes, [LaneSpec::Native]);
        assert!(wanted.race && !wanted.until_stopped, "so many runs are not a loop");
        assert_eq!((wanted.runs, wanted.memory), (3, Some(Bytes(256 << 20))));
        let mut same = RecordingOptions::for_demo();
        let none = NamedFunction { workloads: Vec::new(), lanes: None };
        apply_options(&LiveOptions::default(), none, &mut same).expect("valid");
        assert_eq!(same, RecordingOptions::for_demo());
    }
}
