//! Usage that was measured elsewhere: importers of provider logs and public traces.
//!
//! An input is framed into records (lines, JSON values, rows of a CSV file); the reader of a
//! format turns each record into rows, into something that is not an invocation, or into a
//! reject with its cause. Rows are gathered in batches that know nothing of `SQLite`: a
//! sink stores them. Units come from the format, and are never guessed: what a
//! format lacks stays missing, with the reason in [`TraceFormat::meters`].

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod batch;
pub mod bill_file;
mod clock_text;
mod exact_number;
mod format;
pub mod formats;
mod framing;
pub mod import;
pub mod input;
mod json_text;
pub mod mapping;
pub mod parquet_file;
mod reading;
mod row;
#[doc(hidden)]
pub mod testing;

pub use batch::{CellId, CellLabel, InstanceId, RowBatch, TraceNames, memory_configuration};
pub use clock_text::{ClockTextError, parse_timestamp};
pub use exact_number::{parse_exact, parse_milliseconds, parse_scaled};
pub use format::{
    Detection, FormatMeter, Framing, ImportSettings, Record, RecordOutcome, RecordReader, Reject,
    TraceFormat,
};
pub use row::{RequestId, TraceRow};
