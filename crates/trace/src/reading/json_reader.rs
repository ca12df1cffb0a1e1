//! Readers of formats whose records are JSON objects that stand alone.

use crate::batch::{RowBatch, TraceNames};
use crate::format::{ImportSettings, Record, RecordOutcome, RecordReader, Reject};
use crate::reading::json_object::JsonObject;
use crate::reading::row_maker::RowMaker;

/// Reads one object into rows.
pub(crate) type ReadObject = fn(
    &JsonObject<'_>,
    &mut RowMaker,
    &mut TraceNames,
    &mut RowBatch,
) -> Result<RecordOutcome, Reject>;

/// Reader of objects.
struct JsonReader {
    maker: RowMaker,
    read: ReadObject,
}

/// Opens a reader of objects.
pub(crate) fn open_json_reader(
    platform: &str,
    settings: &ImportSettings,
    file: &str,
    read: ReadObject,
) -> Box<dyn RecordReader> {
    Box::new(JsonReader { maker: RowMaker::new(platform, settings, file), read })
}

impl RecordReader for JsonReader {
    fn read_record(
        &mut self,
        record: &Record<'_>,
        names: &mut TraceNames,
        batch: &mut RowBatch,
    ) -> Result<RecordOutcome, Reject> {
        if record.bytes.trim_ascii().is_empty() {
            return Ok(RecordOutcome::Other("empty line"));
        }
        let object = JsonObject::parse(record.bytes)?;
        (self.read)(&object, &mut self.maker, names, batch)
    }
}

/// Returns whether a text begins like JSON: with a brace or a bracket after blanks and a byte
/// order mark.
pub(crate) fn begins_like_json(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    matches!(start.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Returns whether a text has each of these parts.
pub(crate) fn contains_all(start: &[u8], parts: &[&str]) -> bool {
    parts.iter().all(|part| start.windows(part.len()).any(|window| window == part.as_bytes()))
}
