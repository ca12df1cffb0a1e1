//! Rows of a CSV file as records, as they are: their fields are the format's matter.

use std::io::Read;

use super::lines::trim_line_end;
use super::{CUT_OFF, Frame, Framer, MAX_RECORD};
use crate::format::{Record, Reject};

const LONG_ROW: Reject = Reject::new("a row of more than 16 MiB");
const OPEN_QUOTE: Reject = Reject::new("a quote that is not closed");

/// Bytes that may be looked at twice beyond as many as were read: without a limit, quotes that
/// are never closed would take a time that grows with the square of the input.
const SECOND_LOOK: u64 = 64 << 20;

/// End of a row.
enum RowEnd {
    /// After so many bytes.
    At(usize),
    /// There is none, since a quote is still open at the end of the input or of the longest record.
    OpenQuote,
    TooLong,
}

impl<R: Read> Framer<R> {
    /// Returns the next row; without a delimiter, of a file with any of the usual ones.
    pub(super) fn next_csv_row(&mut self, delimiter: Option<u8>) -> Option<Frame<'_>> {
        self.skip_empty_lines();
        match self.find_row_end(delimiter) {
            RowEnd::At(0) => None,
            RowEnd::At(len) => {
                let is_whole = self.buffer.unread()[len - 1] == b'\n';
                if !is_whole && self.buffer.failure().is_some() {
                    return Some(self.take_broken(len, CUT_OFF));
                }
                let line = self.buffer.line();
                // A row whose last line has no end is that line too.
                let bytes = trim_line_end(self.buffer.take(len));
                Some(Frame::Record(Record { bytes, line }))
            }
            RowEnd::TooLong => Some(self.skip_long_line(LONG_ROW)),
            RowEnd::OpenQuote => {
                self.looked_at_twice += self.buffer.unread().len() as u64;
                if self.looked_at_twice > self.buffer.position().0 + SECOND_LOOK {
                    let len = self.buffer.unread().len();
                    return Some(self.take_broken(len, OPEN_QUOTE));
                }
                Some(self.take_broken_line(OPEN_QUOTE))
            }
        }
    }

    fn skip_empty_lines(&mut self) {
        loop {
            let unread = self.buffer.unread();
            let blanks = unread.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            let is_all = blanks == unread.len();
            self.buffer.take(blanks);
            if !is_all || !self.buffer.fill() {
                return;
            }
        }
    }

    fn find_row_end(&mut self, delimiter: Option<u8>) -> RowEnd {
        let mut at = 0;
        let mut quoted = false;
        let mut closed_at: Option<usize> = None;
        loop {
            let unread = self.buffer.unread();
            let found = if quoted {
                memchr::memchr(b'"', &unread[at..])
            } else {
                memchr::memchr2(b'"', b'\n', &unread[at..])
            };
            if let Some(offset) = found {
                let place = at + offset;
                if unread[place] == b'\n' {
                    return RowEnd::At(place + 1);
                }
                at = place + 1;
                // A doubled quote is one character of the field: it closes and opens it again.
                let opens = opens_field(unread, place, delimiter)
                    || closed_at.is_some_and(|it| it + 1 == place);
                closed_at = quoted.then_some(place);
                quoted = !quoted && opens;
                continue;
            }
            at = unread.len();
            if at > MAX_RECORD {
                return if quoted { RowEnd::OpenQuote } else { RowEnd::TooLong };
            }
            if !self.buffer.fill() {
                return if quoted { RowEnd::OpenQuote } else { RowEnd::At(at) };
            }
        }
    }
}

/// Returns whether a quote is the first character of a field; a quote inside one is a character
/// like any other.
fn opens_field(row: &[u8], quote: usize, delimiter: Option<u8>) -> bool {
    let Some(before) = quote.checked_sub(1).map(|at| row[at]) else { return true };
    match delimiter {
        Some(delimiter) => before == delimiter,
        None => matches!(before, b',' | b';' | b'\t' | b'|'),
    }
}
