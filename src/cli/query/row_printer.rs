//! Output of a query's rows: as a table, which waits for its widest cell, or one by one
//! for programs.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use serde_json::Value;

use crate::report::{Cell, Format, RowWriter, Table, terminal_width};
use crate::store::{RowSink, SeenDatum};

/// Default limit of rows for people; more would only scroll by, and fill memory.
const MOST: u64 = 1_000;

/// Maximum number of cells of a table, whatever the limit: laying out more takes minutes.
const MOST_CELLS: u64 = 100_000;

/// Maximum number of cells of a table unless more rows are requested.
const USUAL_CELLS: u64 = 20_000;

/// Maximum size of a table's text in bytes; a terminal shows a thousandth of it.
const MOST_TEXT: usize = 2 << 20;

/// Maximum number of characters of a cell.
const LONGEST: usize = 1_000;

/// Number of columns up to which they stay in one table rather than being split into
/// several.
const FEW: usize = 8;

/// Receives the rows and prints them.
pub(super) struct RowPrinter<'a> {
    format: Format,
    limit: u64,
    rows: u64,
    capped: bool,
    names: Vec<String>,
    kept: Vec<Vec<TableValue>>,
    /// Size of the kept cells in bytes.
    size: usize,
    omissions: TableOmissions,
    out: Option<Box<dyn Write + 'a>>,
    writer: Option<RowWriter<'a>>,
}

/// Parts of the result that a table leaves out although nobody asked for that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TableOmissions {
    /// Whether there are no rows.
    pub no_rows: bool,
    /// Number of rows after which the table ends, if there are more.
    pub cut_after: Option<usize>,
    /// Number of cells that are cut.
    pub cut_cells: usize,
}

/// A value as a table shows it.
struct TableValue {
    text: String,
    is_number: bool,
}

impl<'a> RowPrinter<'a> {
    pub(super) fn new(format: Format, limit: Option<u64>, out: Box<dyn Write + 'a>) -> Self {
        let for_people = format.is_for_people();
        Self {
            format,
            limit: limit.unwrap_or(if for_people { MOST } else { u64::MAX }),
            rows: 0,
            capped: for_people && limit.is_none(),
            names: Vec::new(),
            kept: Vec::new(),
            size: 0,
            omissions: TableOmissions::default(),
            out: Some(out),
            writer: None,
        }
    }

    /// Prints the remaining rows, with `whole` saying whether all rows came, and returns
    /// what a table leaves out.
    pub(super) fn finish(mut self, whole: bool) -> io::Result<TableOmissions> {
        if let Some(writer) = self.writer {
            writer.finish()?;
            return Ok(TableOmissions::default());
        }
        if let Some(mut out) = self.out.take()
            && self.format.is_for_people()
            && (whole || !self.kept.is_empty())
        {
            print_rows(self.format, &self.names, &self.kept, &mut *out)?;
            self.omissions.no_rows = self.kept.is_empty();
        }
        Ok(self.omissions)
    }

    fn keep_row(&mut self, values: &[SeenDatum<'_>]) {
        let mut row = Vec::with_capacity(values.len());
        for value in values {
            let shown = format_value(*value);
            let (text, is_cut) = cut_text(shown.text);
            self.omissions.cut_cells += usize::from(is_cut);
            self.size += text.len();
            row.push(TableValue { text: text.into_owned(), is_number: shown.is_number });
        }
        self.kept.push(row);
    }
}

impl RowSink for RowPrinter<'_> {
    fn write_columns(&mut self, names: &[String]) -> io::Result<()> {
        let columns = u64::try_from(names.len()).unwrap_or(u64::MAX).max(1);
        if !self.format.is_for_people() {
            self.names = make_unique(names);
            if let Some(out) = self.out.take() {
                self.writer = Some(RowWriter::start(self.format, self.names.clone(), out)?);
            }
            return Ok(());
        }
        let cells = if self.capped { USUAL_CELLS } else { MOST_CELLS };
        let fit = (cells / columns).max(1);
        if fit < self.limit {
            (self.limit, self.capped) = (fit, true);
        }
        let names: Vec<String> =
            names.iter().map(|name| cut_text(name.into()).0.into_owned()).collect();
        self.names = make_unique(&names);
        Ok(())
    }

    fn write_row(&mut self, values: &[SeenDatum<'_>]) -> io::Result<bool> {
        let is_full = self.rows == self.limit || self.size > MOST_TEXT;
        if is_full {
            self.omissions.cut_after = Some(self.kept.len());
            return Ok(false);
        }
        self.rows += 1;
        match &mut self.writer {
            Some(writer) => writer.write_row(values.iter().map(|it| json_value(*it)))?,
            None => self.keep_row(values),
        }
        // One more row is requested if the output has to know whether there is one.
        Ok(self.capped || self.size > MOST_TEXT || self.rows < self.limit)
    }
}

/// Makes column names unique: two columns with one name would be one key.
fn make_unique(names: &[String]) -> Vec<String> {
    let mut taken: HashSet<String> = HashSet::new();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut result = Vec::with_capacity(names.len());
    for name in names {
        let mut unique = name.clone();
        let count = counts.entry(name).or_insert(1);
        while taken.contains(&unique) {
            *count += 1;
            unique = format!("{name}_{count}");
        }
        taken.insert(unique.clone());
        result.push(unique);
    }
    result
}

fn print_rows(
    format: Format,
    names: &[String],
    rows: &[Vec<TableValue>],
    out: &mut dyn Write,
) -> io::Result<()> {
    let is_number = |at: usize| rows.iter().all(|row| row[at].is_number);
    let columns = names.iter().enumerate().map(|(at, name)| (name.clone(), is_number(at)));
    let mut table = Table::with_headings(columns);
    for row in rows {
        table.push(row.iter().map(|value| Cell::new(&value.text, Value::Null)).collect());
    }
    let width = terminal_width();
    let shown = match format {
        Format::Markdown => table.to_markdown(),
        _ if names.len() > FEW => table.render_within(width, 1),
        _ => table.render_wrapped(width),
    };
    writeln!(out, "{shown}")?;
    out.flush()
}

/// Formats a blob of any size, like [`crate::workload::hex`].
fn format_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Cuts the text of a cell; returns whether it was cut.
fn cut_text(text: Cow<'_, str>) -> (Cow<'_, str>, bool) {
    // Longer than the longest cell in any characters.
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => (format!("{}\u{2026}", &text[..at]).into(), true),
        None => (text, false),
    }
}

/// Text of a value before it is cut.
struct UncutValue<'a> {
    text: Cow<'a, str>,
    is_number: bool,
}

/// Formats a value for people, or as much of it as a cell takes.
fn format_value(value: SeenDatum<'_>) -> UncutValue<'_> {
    let (text, is_number): (Cow<'_, str>, bool) = match value {
        SeenDatum::Null => ("-".into(), true),
        SeenDatum::Integer(value) => (value.to_string().into(), true),
        SeenDatum::Real(value) => (format_real(value).into(), true),
        // A character has at most four bytes, and nothing behind the cut is looked at.
        SeenDatum::Text(bytes) => {
            (String::from_utf8_lossy(&bytes[..bytes.len().min(4 * LONGEST + 4)]), false)
        }
        SeenDatum::Blob(bytes) => (format_hex(&bytes[..bytes.len().min(LONGEST)]).into(), false),
    };
    UncutValue { text, is_number }
}

/// Formats all digits that distinguish a number from its neighbours, as JSON does.
fn format_real(value: f64) -> String {
    serde_json::Number::from_f64(value).map_or_else(|| value.to_string(), |it| it.to_string())
}

/// Converts a value for programs.
fn json_value(value: SeenDatum<'_>) -> Value {
    match value {
        SeenDatum::Null => Value::Null,
        SeenDatum::Integer(value) => value.into(),
        // JSON has no infinity, and null would mean "not measured".
        SeenDatum::Real(value) if !value.is_finite() => value.to_string().into(),
        SeenDatum::Real(value) => value.into(),
        // Text written by others need not be UTF-8.
        SeenDatum::Text(bytes) => String::from_utf8_lossy(bytes).into(),
        SeenDatum::Blob(bytes) => format_hex(bytes).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: SeenDatum<'_>) -> String {
        format_value(value).text.into_owned()
    }

    #[test]
    fn values_are_exact_for_people_and_programs() {
        for (datum, people, programs) in [
            (SeenDatum::Null, "-", Value::Null),
            (SeenDatum::Integer(i64::MIN), "-9223372036854775808", i64::MIN.into()),
            (SeenDatum::Real(0.1), "0.1", 0.1.into()),
            (SeenDatum::Real(1e300), "1e+300", 1e300.into()),
            (SeenDatum::Real(f64::INFINITY), "inf", "inf".into()),
            (SeenDatum::Text(b""), "", "".into()),
            (SeenDatum::Blob(&[0, 171]), "00ab", "00ab".into()),
        ] {
            assert_eq!(text(datum), people);
            assert_eq!(json_value(datum), programs);
        }
    }

    #[test]
    fn names_are_made_unique() {
        let names = ["a", "a", "b", "a_2", "a"].map(ToOwned::to_owned);
        assert_eq!(make_unique(&names), ["a", "a_2", "b", "a_2_2", "a_3"]);
    }

    fn output(limit: Option<u64>) -> RowPrinter<'static> {
        RowPrinter::new(Format::Table, limit, Box::new(io::sink()))
    }

    #[test]
    fn rows_stop_at_the_limit() {
        let mut some = output(Some(2));
        some.write_columns(&["a".to_owned()]).expect("taken");
        assert!(some.write_row(&[SeenDatum::Null]).expect("taken"));
        assert!(!some.write_row(&[SeenDatum::Null]).expect("taken"));
        assert_eq!((some.kept.len(), some.omissions.cut_after), (2, None));

        let mut usual = output(None);
        usual.write_columns(&["a".to_owned()]).expect("taken");
        for _ in 0..MOST {
            assert!(usual.write_row(&[SeenDatum::Null]).expect("taken"));
        }
        assert!(!usual.write_row(&[SeenDatum::Null]).expect("taken"));
        assert_eq!((usual.kept.len(), usual.omissions.cut_after), (1_000, Some(1_000)));
    }

    #[test]
    fn a_table_is_bounded_in_cells_and_in_bytes_whatever_was_asked_for() {
        let mut wide = output(Some(1_000_000));
        wide.write_columns(&vec!["a".to_owned(); 2_000]).expect("taken");
        let row = vec![SeenDatum::Null; 2_000];
        while wide.write_row(&row).expect("taken") {}
        // 100,000 cells in rows of 2,000.
        assert_eq!((wide.kept.len(), wide.omissions.cut_after), (50, Some(50)));

        let mut long = output(Some(1_000_000));
        long.write_columns(&["a".to_owned()]).expect("taken");
        let word = vec![b'x'; 5_000_000];
        while long.write_row(&[SeenDatum::Text(&word)]).expect("taken") {}
        assert!(long.size < MOST_TEXT + 2 * LONGEST, "{}", long.size);
        assert_eq!(long.omissions.cut_cells, long.kept.len());
        assert_eq!(long.kept[0][0].text.chars().count(), LONGEST + 1);
    }
}
