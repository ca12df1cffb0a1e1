//! `clean`: lists and removes what this program has left on the machine.

use std::process::ExitCode;

use super::unfinished::describe_unfinished;
use super::{CommandOutcome, CommonOptions, say};
use crate::clean::{FoundLeftovers, LeftoverItem, LeftoverKind, find_leftovers};
use crate::report::{Cell, Column, Format, Table};
use crate::store::{Store, StoreError};
use crate::units::Bytes;

/// Options of `clean`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer clean                      list what is there, and what it takes
  cyclometer clean --remove
  cyclometer clean --remove --only images,caches

Without --remove nothing is changed. What a living process uses stays, and so
does what other users and other machines have made; databases are never touched,
and imports that were not finished only told of, with how they go on.
Images and caches are made again when a recording needs them. The
engine of DOCKER_HOST is searched or, without it, the engines of all contexts.

Exit status: 0 done, 3 something could not be removed.")]
pub(super) struct CleanOptions {
    /// Remove what is not in use
    #[arg(long)]
    remove: bool,
    /// Only these kinds [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND,KIND")]
    only: Vec<LeftoverKind>,
}

/// Fate of a leftover.
enum Fate {
    Stays(String),
    CanGo,
    Removed,
    Failed(String),
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, options: &CleanOptions) -> CommandOutcome {
    let kinds =
        if options.only.is_empty() { LeftoverKind::ALL.to_vec() } else { options.only.clone() };
    let FoundLeftovers { leftovers, problems } = find_leftovers(&kinds);
    let mut table = Table::new(&[
        Column::text("what", "kind"),
        Column::text("name", "name"),
        Column::number("size", "size_bytes"),
        Column::text("where", "place"),
        Column::text("state", "state"),
        Column::text("", "reason"),
    ]);
    let (mut count, mut failed, mut size) = (0, 0, Bytes(0));
    // Containers are removed before their images.
    let mut fates: Vec<(&LeftoverItem, Fate)> = Vec::new();
    let (images, others): (Vec<_>, Vec<_>) =
        leftovers.iter().partition(|it| it.kind == LeftoverKind::Images);
    for leftover in others.into_iter().chain(images) {
        let fate = decide_fate(leftover, options.remove);
        match &fate {
            Fate::CanGo | Fate::Removed => {
                count += 1;
                size.0 += leftover.size.map_or(0, |size| size.0);
            }
            Fate::Failed(_) => failed += 1,
            Fate::Stays(_) => {}
        }
        fates.push((leftover, fate));
    }
    fates.sort_by_key(|(leftover, _)| leftover.kind);
    for (leftover, fate) in &fates {
        table.push(leftover_row(leftover, fate));
    }
    if !table.is_empty() || common.format != Format::Table {
        super::ignore_unread(common.print_table(&table))?;
    }
    if let Err(error) = say_unfinished(common) {
        say(&format!("note: not looked at: {error}"));
    }
    for problem in &problems {
        say(&format!("note: not looked at: {problem}"));
    }
    say(&match (options.remove, count) {
        (false, 0) => "there is nothing to remove".to_owned(),
        (false, count) => format!("{count} of them can go, {size}: `cyclometer clean --remove`"),
        (true, count) => format!("{count} removed, {size}"),
    });
    if failed > 0 {
        say(&format!("error: {failed} could not be removed; the table says why"));
        return Ok(ExitCode::from(3));
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells of imports in the database that were not finished.
fn say_unfinished(common: &CommonOptions) -> Result<(), StoreError> {
    let path = common.find_db_path()?;
    if !path.exists() {
        return Ok(());
    }
    let store = Store::open_read_only(&path)?;
    for it in store.list_unfinished_imports()? {
        say(&describe_unfinished(&it));
    }
    Ok(())
}

fn decide_fate(leftover: &LeftoverItem, remove: bool) -> Fate {
    if let Some(reason) = &leftover.in_use {
        return Fate::Stays(reason.clone());
    }
    if !remove {
        return Fate::CanGo;
    }
    match leftover.remove() {
        Ok(()) => Fate::Removed,
        Err(reason) => Fate::Failed(reason),
    }
}

fn leftover_row(leftover: &LeftoverItem, fate: &Fate) -> Vec<Cell> {
    let (state, reason) = match fate {
        Fate::Stays(reason) => ("stays", reason.as_str()),
        Fate::CanGo => ("can go", ""),
        Fate::Removed => ("removed", ""),
        Fate::Failed(reason) => ("failed", reason.as_str()),
    };
    let told = if reason.is_empty() { state.to_owned() } else { format!("{state}: {reason}") };
    vec![
        Cell::text(leftover.kind.label()),
        Cell::text(&leftover.name),
        Cell::optional_size(leftover.size),
        Cell::text(&leftover.place),
        Cell::new(told, state),
        Cell::optional((!reason.is_empty()).then(|| (String::new(), reason))),
    ]
}
