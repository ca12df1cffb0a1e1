//! Writes rows for programs one by one: a million of them need no memory.

use std::borrow::Borrow;
use std::io::{self, Write};

use serde_json::Value;

use super::Format;
use cyclometer_core::visible_text::{escape_csv_cell, escape_json};

/// Writes rows as CSV, JSON or JSON Lines.
pub struct RowWriter<'a> {
    keys: Vec<String>,
    form: RowFormat<'a>,
}

enum RowFormat<'a> {
    Csv(Box<csv::Writer<Box<dyn Write + 'a>>>),
    Lines(Box<dyn Write + 'a>),
    Array { out: Box<dyn Write + 'a>, begun: bool },
}

impl<'a> RowWriter<'a> {
    /// Starts the output; CSV starts with its header. `Table` and `Markdown`, which need
    /// all rows for their layout, are written as CSV.
    ///
    /// # Errors
    /// Returns an error if `out` accepts no more bytes.
    pub fn start(format: Format, keys: Vec<String>, out: Box<dyn Write + 'a>) -> io::Result<Self> {
        let form = match format {
            Format::Jsonl => RowFormat::Lines(out),
            Format::Json => RowFormat::Array { out, begun: false },
            Format::Csv | Format::Table | Format::Markdown => {
                let mut writer = csv::Writer::from_writer(out);
                let titles = keys.iter().map(|key| escape_csv_cell(key).into_owned());
                writer.write_record(titles).map_err(io_error)?;
                RowFormat::Csv(Box::new(writer))
            }
        };
        Ok(Self { keys, form })
    }

    /// Writes a row: one value a key, each taken from the iterator after the one before
    /// is written.
    ///
    /// # Errors
    /// Returns an error if the output accepts no more bytes.
    pub fn write_row<V: Borrow<Value>>(
        &mut self,
        values: impl IntoIterator<Item = V>,
    ) -> io::Result<()> {
        match &mut self.form {
            RowFormat::Csv(writer) => {
                for value in values {
                    match value.borrow() {
                        Value::Null => writer.write_field("").map_err(io_error)?,
                        Value::String(text) => {
                            writer.write_field(&*escape_csv_cell(text)).map_err(io_error)?;
                        }
                        other => {
                            let json = other.to_string();
                            writer.write_field(&*escape_json(&json)).map_err(io_error)?;
                        }
                    }
                }
                writer.write_record(None::<&[u8]>).map_err(io_error)?;
                Ok(())
            }
            RowFormat::Lines(out) => {
                write_object(out, &self.keys, values)?;
                out.write_all(b"\n")
            }
            RowFormat::Array { out, begun } => {
                out.write_all(if *begun { b",\n  " } else { b"[\n  " })?;
                *begun = true;
                write_object(out, &self.keys, values)
            }
        }
    }

    /// Finishes the output.
    ///
    /// # Errors
    /// Returns an error if it accepts no more bytes.
    pub fn finish(self) -> io::Result<()> {
        match self.form {
            RowFormat::Csv(mut writer) => writer.flush(),
            RowFormat::Lines(mut out) => out.flush(),
            RowFormat::Array { mut out, begun } => {
                out.write_all(if begun { b"\n]\n" } else { b"[]\n" })?;
                out.flush()
            }
        }
    }
}

/// Returns the error below the CSV writer with its kind: a broken pipe has to be
/// recognised.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// Writes a JSON object by hand, since a `serde_json` map forgets the order of its keys.
fn write_object<V: Borrow<Value>>(
    out: &mut dyn Write,
    keys: &[String],
    values: impl IntoIterator<Item = V>,
) -> io::Result<()> {
    let mut separator: &[u8] = b"{";
    for (key, value) in keys.iter().zip(values) {
        out.write_all(separator)?;
        let (key, value) = (serde_json::to_string(key)?, serde_json::to_string(value.borrow())?);
        write!(out, "{}:{}", escape_json(&key), escape_json(&value))?;
        separator = b",";
    }
    out.write_all(if separator == b"{" { b"{}" } else { b"}" })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(format: Format, rows: &[[Value; 2]]) -> String {
        let mut out = Vec::new();
        let keys = vec!["z".to_owned(), "a\"".to_owned()];
        let mut writer =
            RowWriter::start(format, keys, Box::new(&mut out)).expect("memory takes all");
        for row in rows {
            writer.write_row(row).expect("memory takes all");
        }
        writer.finish().expect("memory takes all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn rows_keep_the_order_of_their_columns() {
        let rows = [[json!(i64::MAX), json!("a,\"b\"\n")], [Value::Null, json!(0.5)]];
        assert_eq!(
            written(Format::Jsonl, &rows),
            "{\"z\":9223372036854775807,\"a\\\"\":\"a,\\\"b\\\"\\n\"}\n{\"z\":null,\"a\\\"\":0.5}\n"
        );
        assert_eq!(
            written(Format::Csv, &rows),
            "z,\"a\"\"\"\n9223372036854775807,\"a,\"\"b\"\"\n\"\n,0.5\n"
        );
        let parsed: Value = serde_json::from_str(&written(Format::Json, &rows)).expect("JSON");
        assert_eq!(parsed, json!([{"z": i64::MAX, "a\"": "a,\"b\"\n"}, {"z": null, "a\"": 0.5}]));
    }

    #[test]
    fn no_rows_are_valid_output_too() {
        assert_eq!(written(Format::Json, &[]), "[]\n");
        assert_eq!(written(Format::Jsonl, &[]), "");
        assert_eq!(written(Format::Csv, &[]), "z,\"a\"\"\"\n");
    }
}
