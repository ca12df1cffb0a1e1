//! Rows of CSV files, divided into fields.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::format::Reject;

/// Most columns of a file.
const MAX_COLUMNS: usize = 4_096;

/// Fields of the row that was read last.
#[derive(Debug)]
pub(crate) struct CsvFields {
    reader: Box<Reader>,
    text: Vec<u8>,
    ends: Vec<usize>,
    columns: usize,
}

impl CsvFields {
    /// Creates a reader of rows whose fields are divided by `delimiter`.
    pub fn new(delimiter: u8) -> Self {
        let reader = Box::new(ReaderBuilder::new().delimiter(delimiter).build());
        Self { reader, text: Vec::new(), ends: Vec::new(), columns: 0 }
    }

    /// Divides a row into fields.
    ///
    /// # Errors
    ///
    /// Rejects what is not one row, or has more than 4,096 columns.
    pub fn read_row(&mut self, row: &[u8]) -> Result<(), Reject> {
        self.columns = 0;
        self.reader.reset();
        self.text.resize(self.text.len().max(row.len() + 1), 0);
        self.ends.resize(self.ends.len().max(64), 0);
        let (mut taken, mut written, mut fields) = (0, 0, 0);
        loop {
            let (result, read, wrote, ended) = self.reader.read_record(
                &row[taken..],
                &mut self.text[written..],
                &mut self.ends[fields..],
            );
            taken += read;
            written += wrote;
            fields += ended;
            match result {
                // The end of the input ends the row.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull if fields >= MAX_COLUMNS => {
                    return Err(Reject::new("a row of more than 4,096 columns"));
                }
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record | ReadRecordResult::End => break,
            }
        }
        if !row[taken..].iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            return Err(Reject::new("a row with a line break outside of quotes"));
        }
        self.columns = fields;
        Ok(())
    }

    /// Returns the number of fields.
    pub const fn len(&self) -> usize {
        self.columns
    }

    /// Returns the field of a column, from 0, without blanks around it; `None` beyond the last.
    pub fn field(&self, column: usize) -> Option<&[u8]> {
        if column >= self.columns {
            return None;
        }
        let start = column.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
        let end = self.ends.get(column)?;
        self.text.get(start?..*end).map(<[u8]>::trim_ascii)
    }

    /// Returns all fields.
    pub fn fields(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.columns).filter_map(|column| self.field(column))
    }
}

/// Removes a byte order mark.
pub(crate) fn strip_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, delimiter: u8) -> Result<Vec<String>, Reject> {
        let mut fields = CsvFields::new(delimiter);
        fields.read_row(b"an,earlier,row")?;
        fields.read_row(text.as_bytes())?;
        Ok(fields.fields().map(|it| String::from_utf8_lossy(it).into_owned()).collect())
    }

    #[test]
    fn rows_are_divided_into_fields() {
        for (text, delimiter, wanted) in [
            ("a,b,c", b',', vec!["a", "b", "c"]),
            ("a;\"b;\"\"c\"\"\";d\r\n", b';', vec!["a", "b;\"c\"", "d"]),
            ("\"two\nlines\",x", b',', vec!["two\nlines", "x"]),
            ("a,,", b',', vec!["a", "", ""]),
            ("x\"y\", z ", b',', vec!["x\"y\"", "z"]),
            ("\0,1", b',', vec!["\0", "1"]),
            ("\"open", b',', vec!["open"]),
        ] {
            assert_eq!(
                read(text, delimiter),
                Ok(wanted.iter().map(|it| (*it).to_owned()).collect())
            );
        }
        assert_eq!(read("", b','), Ok(Vec::new()));
        assert!(read("a,b\nc,d", b',').is_err());
        let wide = ",".repeat(200);
        assert_eq!(read(&wide, b',').map(|it| it.len()), Ok(201));
        assert!(read(&",".repeat(10_000), b',').is_err());
    }
}
