//! Words of the database as types: text is parsed here, once, and nowhere else.

use std::fmt::Display;
use std::str::FromStr;

use rusqlite::Row as SqlRow;
use rusqlite::types::Type;

use cyclometer_core::cell_key::CellKey;
use cyclometer_core::invocation::StartKind;

/// Reads a kind of start; `whose` is the cell or lane of the row, which an error names.
///
/// # Errors
/// Fails when the column has no text, or an unknown word.
pub(super) fn read_start(
    row: &SqlRow<'_>,
    at: usize,
    whose: impl Display,
) -> rusqlite::Result<StartKind> {
    let word = row.get_ref(at)?.as_str()?;
    StartKind::from_str(word).map_err(|error| {
        let text = format!("the start of {whose}: {error}; was the database edited by hand?");
        rusqlite::Error::FromSqlConversionFailure(at, Type::Text, text.into())
    })
}

/// Reads the key of a cell from the columns of its lane, workload, preset and start;
/// `whose` is the row, which an error names.
///
/// # Errors
/// Fails when one of them has no text, or the start is an unknown word.
pub(super) fn read_cell_key(
    row: &SqlRow<'_>,
    [lane, workload, preset, start]: [usize; 4],
    whose: impl Display,
) -> rusqlite::Result<CellKey> {
    let text = |at: usize| Ok::<_, rusqlite::Error>(row.get_ref(at)?.as_str()?.into());
    Ok(CellKey {
        lane: text(lane)?,
        workload: text(workload)?,
        preset: text(preset)?,
        start: read_start(row, start, whose)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_word_is_an_error_that_names_it_and_its_row() {
        let connection = rusqlite::Connection::open_in_memory().expect("memory");
        let read = |word: &str| {
            let sql = "SELECT 'docker', 'nop', 'quick', ?1";
            connection.query_row(sql, [word], |row| read_cell_key(row, [0, 1, 2, 3], "cell 7"))
        };
        let key = CellKey::new("docker", "nop", "quick", StartKind::Warm);
        assert_eq!(read("warm"), Ok(key));
        let error = read("hot").expect_err("no such word").to_string();
        assert!(
            error.contains("the start of cell 7: `hot` is neither `cold` nor `warm`"),
            "{error}"
        );
    }
}
