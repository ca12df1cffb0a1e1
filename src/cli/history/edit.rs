//! `history label` and `history delete`: labels and deletes recordings and simulations.

use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use super::super::{CommandFailure, CommandOutcome, CommonOptions, say};
use super::{parse_reference, resolve_item};
use crate::report::describe_extent;
use crate::store::HistoryItem;
use crate::units::Bytes;

/// Free space in the file from which on it is reported, in bytes.
const WORTH_A_WORD: u64 = 1 << 20;

/// Options of `history label`.
#[derive(Debug, clap::Args)]
pub(super) struct LabelOptions {
    /// A recording or trace (12, latest) or a simulation (s12, slatest)
    #[arg(value_name = "RECORDING|sN")]
    item: String,
    /// Label to find it by; an empty one removes the label
    #[arg(value_name = "TEXT")]
    text: String,
}

/// Options of `history delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer history delete 3
  cyclometer history delete 1 2 s7 --yes --compact

Deleting a recording or a trace also deletes its invocations, samples and simulations;
deleting a simulation deletes its bills. New recordings reuse the space in the
file; --compact gives it back to the disk.")]
pub(super) struct DeleteOptions {
    /// Recordings and traces (12, latest) and simulations (s12, slatest)
    #[arg(value_name = "RECORDING|sN", required = true)]
    items: Vec<String>,
    /// Delete without asking
    #[arg(long, short)]
    yes: bool,
    /// Rewrite the database afterwards, to give free space back to the disk
    #[arg(long)]
    compact: bool,
}

/// Labels an item.
pub(super) fn run_label(common: &CommonOptions, options: &LabelOptions) -> CommandOutcome {
    parse_reference(&options.item)?;
    let store = common.open_existing()?;
    let item = resolve_item(&store, &options.item)?;
    let name = store.name_item(item).map_err(CommandFailure::failed)?;
    let text = options.text.trim();
    store.set_label(item, text).map_err(CommandFailure::failed)?;
    if text.is_empty() {
        say(&format!("{name} has no label now"));
    } else {
        say(&format!("{name} is `{text}` now"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Deletes items.
pub(super) fn run_delete(common: &CommonOptions, options: &DeleteOptions) -> CommandOutcome {
    for item in &options.items {
        parse_reference(item)?;
    }
    let asks = std::io::stdin().is_terminal();
    if !options.yes && !asks {
        return Err(CommandFailure::Usage(
            "there is no terminal to ask on: --yes deletes without asking".to_owned(),
        ));
    }
    let store = common.open_existing()?;
    let mut items = BTreeSet::new();
    for item in &options.items {
        items.insert(resolve_item(&store, item)?);
    }
    let items: Vec<HistoryItem> = items.into_iter().collect();
    let extent = store.deletion_extent(&items).map_err(CommandFailure::failed)?;
    if options.compact {
        store
            .ensure_nothing_runs("it would fail while the file is written anew")
            .map_err(CommandFailure::failed)?;
    }
    let names: Result<Vec<_>, _> = items.iter().map(|item| store.name_item(*item)).collect();
    let names = names.map_err(CommandFailure::failed)?;
    let (names, what) = (names.join(", "), describe_extent(&extent));
    if !options.yes && !ask_to_confirm(&format!("delete {names}: {what}?"))? {
        return Err(CommandFailure::Failed("nothing was deleted".to_owned()));
    }
    let deleted = store.delete_items(&items).map_err(CommandFailure::failed)?;
    say(&format!("deleted {names}: {}", describe_extent(&deleted)));
    if options.compact {
        let before = database_size(common);
        if let Err(error) = store.compact() {
            say(&format!("error: what was to be deleted is deleted, but {error}"));
            return Ok(ExitCode::from(3));
        }
        say(&format!("the file had {before}, and has {} now", database_size(common)));
    } else {
        let free = store.free_bytes().map_err(CommandFailure::failed)?;
        if free >= WORTH_A_WORD {
            let free = Bytes(free);
            say(&format!(
                "{free} of the file are free for new recordings; --compact gives them back"
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn database_size(common: &CommonOptions) -> Bytes {
    let file = common.db_path().ok().and_then(|path| std::fs::metadata(path).ok());
    Bytes(file.map_or(0, |file| file.len()))
}

fn ask_to_confirm(question: &str) -> Result<bool, CommandFailure> {
    say(&format!("{question} [y/N]"));
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| CommandFailure::Failed(format!("cannot read the answer: {error}")))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
