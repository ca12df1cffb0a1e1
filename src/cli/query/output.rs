//! The rows of a query: as a table, which waits for its widest cell, or one by
//! one for programs.

use std::io::{self, Write};

use serde_json::Value;

use crate::output::text_output;
use crate::report::{Cell, Format, RowWriter, Table, terminal_width};
use crate::store::{Datum, RowSink};

/// Rows that a person reads; more would only scroll by, and fill memory.
const MOST: u64 = 1_000;

/// More columns than this are split into tables rather than squeezed into one.
const FEW: usize = 8;

/// Takes the rows and prints them.
pub(super) struct Output {
    format: Format,
    limit: u64,
    rows: u64,
    /// Rows were left out that nobody asked to leave out.
    cut: bool,
    capped: bool,
    names: Vec<String>,
    kept: Vec<Vec<Datum>>,
    writer: Option<RowWriter<'static>>,
}

impl Output {
    pub(super) fn new(format: Format, limit: Option<u64>) -> Self {
        let capped = format.is_for_people() && limit.is_none();
        Self {
            format,
            limit: limit.unwrap_or(if capped { MOST } else { u64::MAX }),
            rows: 0,
            cut: false,
            capped,
            names: Vec::new(),
            kept: Vec::new(),
            writer: None,
        }
    }

    /// Prints what is left to print; `whole` if all rows came.
    pub(super) fn end(self, whole: bool) -> io::Result<()> {
        let Some(writer) = self.writer else {
            if self.format.is_for_people() && (whole || !self.kept.is_empty()) {
                print(self.format, &self.names, &self.kept)?;
                if self.kept.is_empty() {
                    super::super::say("no rows");
                }
                if self.cut {
                    super::tell_cut(self.kept.len());
                }
            }
            return Ok(());
        };
        writer.end()
    }
}

impl RowSink for Output {
    fn columns(&mut self, names: &[String]) -> io::Result<()> {
        self.names = unique(names);
        if !self.format.is_for_people() {
            // In large pieces: a system call a row would take most of the time.
            let out = io::BufWriter::with_capacity(1 << 16, text_output());
            self.writer = Some(RowWriter::start(self.format, self.names.clone(), Box::new(out))?);
        }
        Ok(())
    }

    fn row(&mut self, values: Vec<Datum>) -> io::Result<bool> {
        if self.rows == self.limit {
            self.cut = self.capped;
            return Ok(false);
        }
        self.rows += 1;
        match &mut self.writer {
            Some(writer) => {
                let values: Vec<Value> = values.into_iter().map(value).collect();
                writer.row(&values)?;
            }
            None => self.kept.push(values),
        }
        // One more is asked for where it has to be known whether there is one.
        Ok(self.capped || self.rows < self.limit)
    }
}

/// Two columns of one name would be one key.
fn unique(names: &[String]) -> Vec<String> {
    let mut result: Vec<String> = Vec::new();
    for name in names {
        let mut unique = name.clone();
        let mut count = 1;
        while result.contains(&unique) {
            count += 1;
            unique = format!("{name}_{count}");
        }
        result.push(unique);
    }
    result
}

fn print(format: Format, names: &[String], rows: &[Vec<Datum>]) -> io::Result<()> {
    let is_number =
        |at: usize| rows.iter().all(|row| !matches!(row[at], Datum::Text(_) | Datum::Blob(_)));
    let columns = names.iter().enumerate().map(|(at, name)| (name.clone(), is_number(at)));
    let mut table = Table::of(columns);
    for row in rows {
        table.push(row.iter().map(|value| Cell::new(text(value), Value::Null)).collect());
    }
    let width = terminal_width();
    let shown = match format {
        Format::Markdown => table.markdown(),
        _ if names.len() > FEW => table.render_within(width, 1),
        _ => table.wrapped(width),
    };
    let mut out = text_output();
    writeln!(out, "{shown}")?;
    out.flush()
}

fn hex(bytes: &[u8]) -> String {
    crate::workload::hex(bytes)
}

/// A value for people.
fn text(value: &Datum) -> String {
    match value {
        Datum::Null => "-".to_owned(),
        Datum::Integer(value) => value.to_string(),
        Datum::Real(value) => real(*value),
        Datum::Text(text) => text.clone(),
        Datum::Blob(bytes) => hex(bytes),
    }
}

/// All digits that tell the number from its neighbours, as JSON has them.
fn real(value: f64) -> String {
    serde_json::Number::from_f64(value).map_or_else(|| value.to_string(), |it| it.to_string())
}

/// A value for programs.
fn value(value: Datum) -> Value {
    match value {
        Datum::Null => Value::Null,
        Datum::Integer(value) => value.into(),
        // JSON has no infinity, and null would be "not measured".
        Datum::Real(value) if !value.is_finite() => value.to_string().into(),
        Datum::Real(value) => value.into(),
        Datum::Text(text) => text.into(),
        Datum::Blob(bytes) => hex(&bytes).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_exact_for_people_and_programs() {
        for (datum, people, programs) in [
            (Datum::Null, "-", Value::Null),
            (Datum::Integer(i64::MIN), "-9223372036854775808", i64::MIN.into()),
            (Datum::Real(0.1), "0.1", 0.1.into()),
            (Datum::Real(1e300), "1e+300", 1e300.into()),
            (Datum::Real(f64::INFINITY), "inf", "inf".into()),
            (Datum::Text(String::new()), "", "".into()),
            (Datum::Blob(vec![0, 171]), "00ab", "00ab".into()),
        ] {
            assert_eq!(text(&datum), people);
            assert_eq!(value(datum), programs);
        }
    }

    #[test]
    fn names_are_made_unique() {
        let names = ["a", "a", "b", "a_2", "a"].map(ToOwned::to_owned);
        assert_eq!(unique(&names), ["a", "a_2", "b", "a_2_2", "a_3"]);
    }

    #[test]
    fn rows_stop_at_the_limit() {
        let mut output = Output::new(Format::Table, Some(2));
        output.columns(&["a".to_owned()]).expect("taken");
        assert!(output.row(vec![Datum::Null]).expect("taken"));
        assert!(!output.row(vec![Datum::Null]).expect("taken"));
        assert_eq!((output.kept.len(), output.cut), (2, false));

        let mut output = Output::new(Format::Table, None);
        output.columns(&["a".to_owned()]).expect("taken");
        for _ in 0..MOST {
            assert!(output.row(vec![Datum::Null]).expect("taken"));
        }
        assert!(!output.row(vec![Datum::Null]).expect("taken"));
        assert_eq!((output.kept.len(), output.cut), (1_000, true));
    }
}
