//! Views and their columns, with their meaning from the documentation.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::super::{CommandFailure, CommandOutcome, CommonOptions};
use crate::report::{Cell, Column, Table};
use crate::store::SqlReader;

/// Documentation of the columns, the only place where they are described.
const DOCUMENTATION: &str = include_str!("../../../docs/queries.md");

/// Unit and meaning of a column.
type Meaning = (&'static str, &'static str);

/// Returns the documented columns by view: rows of three cells under `### view`.
fn documented_columns() -> BTreeMap<(&'static str, &'static str), Meaning> {
    let mut result = BTreeMap::new();
    let mut view = "";
    for line in DOCUMENTATION.lines() {
        if let Some(heading) = line.strip_prefix('#') {
            view = heading.trim_start_matches('#').trim();
        }
        let Some(row) = line.strip_prefix("| `").filter(|_| view.starts_with("v_")) else {
            continue;
        };
        let mut cells = row.trim_end_matches('|').splitn(3, '|').map(str::trim);
        let (name, unit, meaning) = (cells.next(), cells.next(), cells.next());
        if let (Some(name), Some(unit), Some(meaning)) = (name, unit, meaning) {
            result.insert((view, name.trim_end_matches('`')), (unit, meaning));
        }
    }
    result
}

/// Prints the views of the database.
pub(super) fn print_views(common: &CommonOptions, reader: &SqlReader) -> CommandOutcome {
    let documented = documented_columns();
    let mut table = Table::new(&[
        Column::text("view", "view"),
        Column::text("column", "column"),
        Column::text("unit", "unit"),
        Column::text("meaning", "meaning"),
    ]);
    for it in reader.view_columns().map_err(CommandFailure::failed)? {
        let (unit, meaning) =
            documented.get(&(it.view.as_str(), it.column.as_str())).copied().unwrap_or_default();
        table.push(vec![
            Cell::text(it.view),
            Cell::text(it.column),
            Cell::text(unit),
            Cell::text(meaning),
        ]);
    }
    common.print_table(&table)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn the_documentation_has_exactly_the_columns_that_there_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.db");
        drop(Store::open(&path).expect("made"));
        let views = SqlReader::open(&path).expect("opened").view_columns().expect("read");
        let mut real: Vec<(String, String)> =
            views.into_iter().map(|it| (it.view, it.column)).collect();
        assert!(real.len() > 80, "{}", real.len());
        real.sort_unstable();
        let told: Vec<(String, String)> = documented_columns()
            .into_keys()
            .map(|(view, column)| (view.to_owned(), column.to_owned()))
            .collect();
        assert_eq!(told, real);
    }

    #[test]
    fn every_column_has_a_meaning_and_its_unit() {
        for ((view, column), (unit, meaning)) in documented_columns() {
            assert!(!meaning.is_empty(), "{view}.{column}");
            for (ending, expected) in [("_ns", "ns"), ("_bytes", "bytes"), ("_ppm", "ppm")] {
                if column.ends_with(ending) {
                    assert_eq!(unit, expected, "{view}.{column}");
                }
            }
        }
    }
}
