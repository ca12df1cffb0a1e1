//! Formats of logs, and how their records are read.

use std::fmt;

use cyclometer_core::meter::{Meter, Source};

use crate::batch::{RowBatch, TraceNames};

/// One record of an input.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Content: a line without its end, a JSON value, or a row of a CSV file.
    pub bytes: &'a [u8],
    /// Number of its first line in the input, from 1.
    pub line: u64,
}

/// Division of an input into records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// A line each; a carriage return before its end does not belong to it.
    Lines,
    /// A JSON value each: on lines of their own, after each other, or as the elements of an
    /// array, which is the whole input or the first of these keys of one object.
    JsonValues {
        /// Keys of arrays whose elements are the records.
        array_keys: &'static [&'static str],
    },
    /// A row of a CSV file each; the first record is the header, and a row may span lines.
    Csv,
    /// A row each of a file like CSV whose fields are divided by another character; a header, if
    /// there is one, is a record like the others.
    Delimited {
        /// Character between fields: `;`, tab.
        delimiter: u8,
    },
    /// The whole input is a file of columns (Parquet), which has a reader of its own.
    Columns,
}

/// Result of reading a record that is not rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordOutcome {
    /// It gave one or more rows.
    Rows,
    /// It is no invocation, as its format foresees: the kind is counted, such as `START line`.
    Other(&'static str),
}

/// Cause for which a record cannot be read; records are counted by it, so that it holds no value
/// of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reject(pub &'static str);

impl Reject {
    /// Creates a reject with its cause: `no Billed Duration`, `a negative duration`.
    #[must_use]
    pub const fn new(cause: &'static str) -> Self {
        Self(cause)
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Meter or phase of a format: where its value comes from, or why it is missing.
#[derive(Debug, Clone, Copy)]
pub struct FormatMeter {
    /// Meter.
    pub meter: Meter,
    /// Source; `None` if the format does not have it.
    pub source: Option<Source>,
    /// Remark that a reader needs: the field, its unit, how it was derived; or why it is missing.
    pub note: &'static str,
}

/// Settings of an import that a user gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportSettings {
    /// Function of records that name none; the name of the file unless it is given.
    pub function: Option<String>,
    /// Region of records that name none.
    pub region: Option<String>,
    /// Memory of the function, in bytes, where the log has none.
    pub memory: Option<u64>,
    /// CPU share of the function, in thousandths of a vCPU, where the log has none.
    pub vcpu_milli: Option<u64>,
    /// Offset from UTC of times without a zone, in minutes.
    pub zone_minutes: Option<i32>,
}

/// Confidence of a format that an input is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detection {
    /// It is not.
    No,
    /// It may be, if no format knows better.
    Possible,
    /// It has what only this format has.
    Certain,
}

/// Reader of the records of one input; it may remember what came before, such as a header.
pub trait RecordReader: Send {
    /// Reads a record into rows of the batch.
    ///
    /// # Errors
    ///
    /// Rejects a record that cannot be read in full, with the cause. Rows that it pushed before
    /// are removed by the caller.
    fn read_record(
        &mut self,
        record: &Record<'_>,
        names: &mut TraceNames,
        batch: &mut RowBatch,
    ) -> Result<RecordOutcome, Reject>;

    /// Returns what the reader remembers of earlier records, as text to resume from; `None` if it
    /// remembers nothing.
    fn save_state(&self) -> Option<String> {
        None
    }

    /// Restores what [`Self::save_state`] returned.
    fn restore_state(&mut self, _state: &str) {}
}

/// Format of a log or trace.
pub struct TraceFormat {
    /// Name on the command line: `aws-lambda-report`.
    pub name: &'static str,
    /// Platform of its invocations, which stands where a recording has its lane; `None` if the
    /// records say.
    pub platform: Option<&'static str>,
    /// Explanation in one line.
    pub about: &'static str,
    /// Source of the schema, for readers of the code and of the documentation.
    pub schema: &'static str,
    /// Division into records.
    pub framing: Framing,
    /// Meters that it has, infers or lacks.
    pub meters: &'static [FormatMeter],
    /// Tells from the first bytes (up to 64 KiB, decompressed) whether an input is of the format.
    pub detect: fn(&[u8]) -> Detection,
    /// Opens a reader for one input; `file` is its name without folder and endings.
    pub open: fn(&ImportSettings, file: &str) -> Box<dyn RecordReader>,
}

impl fmt::Debug for TraceFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceFormat").field("name", &self.name).finish_non_exhaustive()
    }
}
