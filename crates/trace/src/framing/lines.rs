//! Lines as records.

use std::io::Read;

use super::{CUT_OFF, Frame, Framer, MAX_RECORD};
use crate::format::{Record, Reject};

const LONG_LINE: Reject = Reject::new("a line of more than 16 MiB");

impl<R: Read> Framer<R> {
    pub(super) fn next_line(&mut self) -> Option<Frame<'_>> {
        let len = match self.buffer.find_line_end(0, MAX_RECORD) {
            Some(0) => return None,
            Some(len) if len <= MAX_RECORD + 1 => len,
            _ => return Some(self.skip_long_line(LONG_LINE)),
        };
        let is_whole = self.buffer.unread()[len - 1] == b'\n';
        if !is_whole && self.buffer.failure().is_some() {
            return Some(self.take_broken(len, CUT_OFF));
        }
        let line = self.buffer.line();
        let bytes = trim_line_end(self.buffer.take_line(len));
        Some(Frame::Record(Record { bytes, line }))
    }
}

/// Takes the end of a line away.
pub(super) fn trim_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
