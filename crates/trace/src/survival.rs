//! Invariants that hold for any bytes, for fuzzing.

use crate::batch::{RowBatch, TraceNames};
use crate::format::{ImportSettings, Record, RecordOutcome, RecordReader};
use crate::formats::FORMATS;
use crate::mapping::parse_mapping;

/// Reads a mapping file, and rows by it.
///
/// # Panics
///
/// If an accepted mapping breaks an invariant.
pub fn mapping_survives(text: &str) {
    match parse_mapping(text, "mapping.toml") {
        Ok(mapping) => {
            assert!(!mapping.meters().is_empty(), "a mapping without meters");
            assert!(!mapping.platform().is_empty(), "a mapping without a platform");
            let mut reader = mapping.open(&ImportSettings::default(), "input");
            read_lines(reader.as_mut(), text.as_bytes());
            read_lines(reader.as_mut(), b"a,b\n1,2\n{\"a\":1,\"b\":{\"c\":\"2\"}}\n");
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.len() < 16_384, "{} bytes of message", message.len());
        }
    }
}

/// Reads bytes as the lines of each format.
///
/// # Panics
///
/// If a row breaks an invariant.
pub fn trace_lines_survive(bytes: &[u8]) {
    for format in FORMATS {
        let _any = (format.detect)(bytes);
        let mut reader = (format.open)(&ImportSettings::default(), "input");
        read_lines(reader.as_mut(), bytes);
        if let Some(state) = reader.save_state() {
            reader.restore_state(&state);
        }
    }
}

fn read_lines(reader: &mut dyn RecordReader, bytes: &[u8]) {
    let (mut names, mut batch) = (TraceNames::default(), RowBatch::default());
    for (line, bytes) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let before = batch.len();
        let outcome = reader.read_record(&Record { bytes, line }, &mut names, &mut batch);
        if outcome == Ok(RecordOutcome::Rows) {
            assert!(batch.len() > before, "rows without a row");
        } else {
            batch.truncate(before);
        }
        let rows = batch.rows().get(before..).unwrap_or_default();
        assert!(rows.iter().all(|row| row.weight > 0), "a row that stands for nothing");
        assert!(rows.iter().all(|row| row.started_at.is_none_or(|at| at >= 0)), "before 1970");
    }
}
