//! Reading of small inputs in tests of formats: framed in memory, without files or resuming.

use crate::batch::{RowBatch, TraceNames};
use crate::format::{ImportSettings, Record, RecordOutcome, Reject, TraceFormat};
use crate::row::TraceRow;

/// Content of an input as its format reads it.
#[derive(Debug, Default)]
pub struct ReadInput {
    /// Names that the rows refer to.
    pub names: TraceNames,
    /// Rows in the order of their records.
    pub rows: Vec<TraceRow>,
    /// Kinds of records that are no invocations.
    pub others: Vec<&'static str>,
    /// Causes of rejects, with the line of each.
    pub rejects: Vec<(u64, Reject)>,
}

/// Reads an input whose records are given.
pub fn read_records<'a>(
    format: &TraceFormat,
    settings: &ImportSettings,
    records: impl IntoIterator<Item = &'a [u8]>,
) -> ReadInput {
    let mut reader = (format.open)(settings, "input");
    let mut input = ReadInput::default();
    let mut batch = RowBatch::default();
    for (line, bytes) in (1..).zip(records) {
        let rows = batch.len();
        let read = reader.read_record(&Record { bytes, line }, &mut input.names, &mut batch);
        let parts = batch.take_rejected_parts();
        match read {
            Ok(RecordOutcome::Rows) => input.rejects.extend(parts.into_iter().map(|it| (line, it))),
            Ok(RecordOutcome::Other(kind)) => {
                input.others.push(kind);
                input.rejects.extend(parts.into_iter().map(|it| (line, it)));
            }
            Err(cause) => {
                batch.truncate(rows);
                input.rejects.push((line, cause));
            }
        }
    }
    input.rows = batch.rows().to_vec();
    input
}

/// Reads an input of lines.
#[must_use]
pub fn read_lines(format: &TraceFormat, settings: &ImportSettings, text: &str) -> ReadInput {
    read_records(format, settings, text.lines().map(str::as_bytes))
}
