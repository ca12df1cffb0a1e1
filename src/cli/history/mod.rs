//! `history`: lists, shows, compares, labels and deletes recordings and simulations.

pub(super) mod compare;
mod edit;
mod list;
mod show;

pub(super) use list::since;

use clap::Subcommand;

use super::{Common, Failure, Outcome};
use crate::store::{Item, RecordingRef, Reference, Store, StoreError};

/// Options of `history`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer history
  cyclometer history latest            the comparison and where its figures come from
  cyclometer history list --workload nbody --since 7d
  cyclometer history show s3           a simulation: bills, a month, and waste
  cyclometer history compare 3 4       what differs, and how sure that is
  cyclometer history delete 1 2 s7

A recording is named by its number, its label or `latest`, a simulation by `s`
and its number, its label or `slatest`. Of several with one label, the newest is
meant.")]
pub(super) struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// Show this recording or simulation instead, as `show` does
    #[arg(value_name = "RECORDING")]
    item: Option<String>,
    #[command(flatten)]
    list: list::ListOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List recordings and simulations
    List(list::ListOptions),
    /// Show one recording or one simulation
    Show(show::Options),
    /// Compare two recordings, or two simulations: what differs, how sure is it
    Compare(compare::Options),
    /// Name a recording or a simulation, or take its name away
    Label(edit::LabelOptions),
    /// Delete recordings and simulations, with all that hangs on them
    Delete(edit::DeleteOptions),
}

/// Runs the command.
pub(super) fn run(common: &Common, options: &Options) -> Outcome {
    let default = list::ListOptions::default();
    match &options.command {
        Some(_) if options.list != default || options.item.is_some() => Err(Failure::Usage(
            "options stand after the subcommand: `cyclometer history list --kind simulations`"
                .to_owned(),
        )),
        Some(Command::List(list)) => list::run(common, list),
        Some(Command::Show(show)) => show::run(common, &show.item),
        Some(Command::Compare(compare)) => compare::run(common, compare),
        Some(Command::Label(label)) => edit::label(common, label),
        Some(Command::Delete(delete)) => edit::delete(common, delete),
        None => match &options.item {
            Some(_) if options.list != default => Err(Failure::Usage(
                "options of the list say nothing of one recording: leave one of the two out"
                    .to_owned(),
            )),
            Some(item) => show::run(common, item),
            None => list::run(common, &options.list),
        },
    }
}

/// Parses a reference to a recording or a simulation.
fn reference(text: &str) -> Result<Reference, Failure> {
    text.parse().map_err(Failure::Usage)
}

/// Finds the item with a reference; a word that is not a label is wrong usage.
pub(super) fn resolve(store: &Store, text: &str) -> Result<Item, Failure> {
    let commands = ["list", "show", "compare", "label", "delete"];
    let reference = reference(text)?;
    let label = matches!(&reference, Reference::Recording(RecordingRef::Label(_)));
    store.resolve(reference).map_err(|error| match error {
        StoreError::NotFound(error) if label => {
            let meant = crate::suggest::nearest(text, commands)
                .filter(|_| text.chars().all(char::is_alphabetic))
                .map_or_else(String::new, |name| format!("; did you mean `history {name}`?"));
            Failure::Usage(format!("{error}{meant}"))
        }
        error => Failure::failed(error),
    })
}
