//! Division of an input into records, with bounded memory, from any position on.
//!
//! A [`Framer`] hands on what is between two records' ends as it is: a line, a JSON value, or the
//! bytes of a CSV row. What is no record, such as garbage between JSON values or a line of 100 MB,
//! is handed on as a cause with its line and its beginning, and the next record is found again.

mod buffer;
mod csv_rows;
mod json_scan;
mod json_values;
mod lines;
#[cfg(test)]
mod tests;

use std::io::Read;

use serde::{Deserialize, Serialize};

use crate::format::{Framing, Record, Reject};
pub use buffer::InputBuffer;
use json_values::JsonPlace;

/// Longest record, in bytes.
pub const MAX_RECORD: usize = 16 << 20;

/// Bytes of a broken record that are shown of it.
const EXCERPT: usize = 256;

/// Cause for a record that the input ends in.
pub(crate) const CUT_OFF: Reject = Reject::new("cut off by the end of the input");

/// Place in an input between two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InputPosition {
    /// Bytes before it, of the decompressed input.
    pub byte: u64,
    /// Lines before it.
    pub lines: u64,
    /// Arrays and objects that it is in.
    #[serde(default)]
    json: JsonPlace,
}

/// Part of an input.
#[derive(Debug, Clone, Copy)]
pub enum Frame<'a> {
    /// A record.
    Record(Record<'a>),
    /// Something that is no record.
    Broken {
        /// Cause.
        cause: Reject,
        /// Number of its first line.
        line: u64,
        /// Its first bytes.
        start: &'a [u8],
    },
}

/// Reader of the records of an input, one after the other.
#[derive(Debug)]
pub struct Framer<R> {
    buffer: InputBuffer<R>,
    framing: Framing,
    json: JsonPlace,
    /// Beginning of what was skipped because it is too long.
    skipped: Vec<u8>,
    /// Bytes that were looked at twice since a record did not end.
    looked_at_twice: u64,
}

impl<R: Read> Framer<R> {
    /// Creates a framer for an input at a position. A byte order mark at its beginning is left out.
    pub fn new(mut buffer: InputBuffer<R>, framing: Framing, from: InputPosition) -> Self {
        if from.byte == 0 {
            buffer.skip_byte_order_mark();
        }
        Self { buffer, framing, json: from.json, skipped: Vec::new(), looked_at_twice: 0 }
    }

    /// Returns the next part of the input; `None` at its end.
    pub fn next_frame(&mut self) -> Option<Frame<'_>> {
        match self.framing {
            Framing::Lines => self.next_line(),
            Framing::JsonValues { array_keys } => self.next_json_value(array_keys),
            Framing::Csv => self.next_csv_row(None),
            Framing::Delimited { delimiter } => self.next_csv_row(Some(delimiter)),
            Framing::Columns => None,
        }
    }

    /// Returns the position after the last part.
    #[must_use]
    pub fn position(&self) -> InputPosition {
        let (byte, lines) = self.buffer.position();
        InputPosition { byte, lines, json: self.json }
    }

    /// Returns why the input ended before its end, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.buffer.failure()
    }

    /// Takes `len` bytes, which are no record.
    fn take_broken(&mut self, len: usize, cause: Reject) -> Frame<'_> {
        let line = self.buffer.line();
        let bytes = self.buffer.take(len);
        Frame::Broken { cause, line, start: &bytes[..bytes.len().min(EXCERPT)] }
    }

    /// Takes what is left of the line, which is no record.
    fn take_broken_line(&mut self, cause: Reject) -> Frame<'_> {
        match self.buffer.find_line_end(0, MAX_RECORD) {
            Some(end) => self.take_broken(end, cause),
            None => self.skip_long_line(cause),
        }
    }

    /// Skips a line of any length in constant memory.
    fn skip_long_line(&mut self, cause: Reject) -> Frame<'_> {
        let line = self.buffer.line();
        self.remember_start();
        self.skip_line();
        Frame::Broken { cause, line, start: &self.skipped }
    }

    fn skip_line(&mut self) {
        loop {
            let unread = self.buffer.unread();
            if let Some(at) = memchr::memchr(b'\n', unread) {
                self.buffer.take(at + 1);
                return;
            }
            let len = unread.len();
            self.buffer.take(len);
            if !self.buffer.fill() {
                return;
            }
        }
    }

    /// Remembers the beginning of what is skipped.
    fn remember_start(&mut self) {
        let unread = self.buffer.unread();
        self.skipped.clear();
        self.skipped.extend_from_slice(&unread[..unread.len().min(EXCERPT)]);
    }
}
