//! `history`: lists, shows, compares, labels and deletes recordings, traces and simulations.

pub(super) mod compare;
mod edit;
mod list;
mod show;

pub(super) use list::since;

use clap::Subcommand;

use super::{CommandFailure, CommandOutcome, CommonOptions};
use crate::store::{HistoryItem, HistoryReference, RecordingRef, Store, StoreError};

/// Options of `history`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer history
  cyclometer history latest            the comparison and where its figures come from
  cyclometer history list --workload nbody --since 7d
  cyclometer history show s3           a simulation: bills, a month, and waste
  cyclometer history compare 3 4       what differs, and how sure that is
  cyclometer history delete 1 2 s7

A recording or trace is named by its number, its label or `latest`, a simulation
by `s` and its number, its label or `slatest`. Of several with one label, the
newest is meant.")]
pub(super) struct HistoryOptions {
    #[command(subcommand)]
    command: Option<HistoryCommand>,
    /// Show this recording, trace or simulation instead, as `show` does
    #[arg(value_name = "RECORDING")]
    item: Option<String>,
    #[command(flatten)]
    list: list::ListOptions,
}

#[derive(Debug, Subcommand)]
enum HistoryCommand {
    /// List recordings, traces and simulations
    List(list::ListOptions),
    /// Show one recording, trace or simulation
    Show(show::HistoryShowOptions),
    /// Compare two recordings or two simulations: what differs, and how certainly
    Compare(compare::HistoryCompareOptions),
    /// Label a recording, a trace or a simulation, or remove its label
    Label(edit::LabelOptions),
    /// Delete recordings, traces and simulations, with everything that belongs to them
    Delete(edit::DeleteOptions),
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, options: &HistoryOptions) -> CommandOutcome {
    let default = list::ListOptions::default();
    match &options.command {
        Some(_) if options.list != default || options.item.is_some() => Err(CommandFailure::Usage(
            "options stand after the subcommand: `cyclometer history list --kind simulations`"
                .to_owned(),
        )),
        Some(HistoryCommand::List(list)) => list::run(common, list),
        Some(HistoryCommand::Show(show)) => show::run(common, &show.item),
        Some(HistoryCommand::Compare(compare)) => compare::run(common, compare),
        Some(HistoryCommand::Label(label)) => edit::run_label(common, label),
        Some(HistoryCommand::Delete(delete)) => edit::run_delete(common, delete),
        None => match &options.item {
            Some(_) if options.list != default => Err(CommandFailure::Usage(
                "options of the list say nothing of one recording: leave one of the two out"
                    .to_owned(),
            )),
            Some(item) => show::run(common, item),
            None => list::run(common, &options.list),
        },
    }
}

/// Parses a reference to a recording or a simulation.
fn parse_reference(text: &str) -> Result<HistoryReference, CommandFailure> {
    text.parse().map_err(CommandFailure::Usage)
}

/// Finds the item with a reference; a word that is not a label is wrong usage.
pub(super) fn resolve_item(store: &Store, text: &str) -> Result<HistoryItem, CommandFailure> {
    let commands = ["list", "show", "compare", "label", "delete"];
    let reference = parse_reference(text)?;
    let label = matches!(&reference, HistoryReference::Recording(RecordingRef::Label(_)));
    store.resolve_reference(reference).map_err(|error| match error {
        StoreError::NotFound(error) if label => {
            let meant = crate::suggest::find_nearest_name(text, commands)
                .filter(|_| text.chars().all(char::is_alphabetic))
                .map_or_else(String::new, |name| format!("; did you mean `history {name}`?"));
            CommandFailure::Usage(format!("{error}{meant}"))
        }
        error => CommandFailure::failed(error),
    })
}
