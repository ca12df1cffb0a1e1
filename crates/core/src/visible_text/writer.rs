//! Writer that escapes hidden characters in a stream.

use std::io::{self, Write};

use super::{LineBreaks, MarkCounter, is_plain, push_byte, push_escaped};

/// Writer that forwards bytes to another writer, escaped like
/// [`escape_lines`](super::escape_lines), in whatever pieces they come; invalid UTF-8
/// becomes `\x9b`. An incomplete character is held back until the rest of it arrives, or
/// until the writer is dropped.
pub struct VisibleWriter<W: Write> {
    out: W,
    marks: MarkCounter,
    /// First bytes of an incomplete character.
    begun: Vec<u8>,
}

impl<W: Write> VisibleWriter<W> {
    /// Creates a writer that forwards visible text to `out`.
    pub const fn new(out: W) -> Self {
        Self { out, marks: MarkCounter(0), begun: Vec::new() }
    }

    /// Appends the escaped bytes to `text`, and holds an incomplete character back.
    fn push_bytes(&mut self, mut bytes: &[u8], text: &mut String) {
        loop {
            let error = match std::str::from_utf8(bytes) {
                Ok(valid) => return push_escaped(text, valid, LineBreaks::Kept, &mut self.marks),
                Err(error) => error,
            };
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            let valid = std::str::from_utf8(valid).unwrap_or_default();
            push_escaped(text, valid, LineBreaks::Kept, &mut self.marks);
            let Some(wrong) = error.error_len() else {
                self.begun = rest.to_vec();
                return;
            };
            rest[..wrong].iter().for_each(|byte| push_byte(text, *byte));
            self.marks = MarkCounter(0);
            bytes = &rest[wrong..];
        }
    }
}

impl<W: Write> Write for VisibleWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.begun.is_empty() && is_plain(bytes, LineBreaks::Kept) {
            if !bytes.is_empty() {
                self.marks = MarkCounter(0);
            }
            self.out.write_all(bytes)?;
            return Ok(bytes.len());
        }
        let mut text = String::with_capacity(bytes.len() + 16);
        if self.begun.is_empty() {
            self.push_bytes(bytes, &mut text);
        } else {
            let whole = [std::mem::take(&mut self.begun).as_slice(), bytes].concat();
            self.push_bytes(&whole, &mut text);
        }
        self.out.write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write> Drop for VisibleWriter<W> {
    fn drop(&mut self) {
        if !self.begun.is_empty() {
            let mut text = String::new();
            self.begun.iter().for_each(|byte| push_byte(&mut text, *byte));
            let _ = self.out.write_all(text.as_bytes());
        }
    }
}
