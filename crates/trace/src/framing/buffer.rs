//! Window over an input: what was read and not yet handed on.

use std::io::{ErrorKind, Read};

/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;

/// Bytes of an input that were read and not yet handed on.
#[derive(Debug)]
pub struct InputBuffer<R> {
    source: R,
    data: Vec<u8>,
    /// Unread bytes of `data`.
    start: usize,
    end: usize,
    /// Bytes and lines before `start`.
    byte: u64,
    lines: u64,
    ended: bool,
    failure: Option<String>,
}

impl<R: Read> InputBuffer<R> {
    /// Creates a window at the beginning of an input.
    pub fn new(source: R) -> Self {
        Self {
            source,
            data: Vec::new(),
            start: 0,
            end: 0,
            byte: 0,
            lines: 0,
            ended: false,
            failure: None,
        }
    }

    /// Declares how many bytes and lines lie before the source's own beginning.
    #[must_use]
    pub fn at_position(mut self, byte: u64, lines: u64) -> Self {
        (self.byte, self.lines) = (byte, lines);
        self
    }

    /// Returns the bytes that were read and not yet handed on.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// Reads more, if there is more; returns whether there was.
    pub fn fill(&mut self) -> bool {
        if self.ended {
            return false;
        }
        if self.start > 0 && (self.start == self.end || self.data.len() - self.end < CHUNK) {
            self.data.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.data.len() - self.end < CHUNK {
            // Doubled, so that a long record is moved seldom; a short one leaves it small.
            let size = (self.data.len() * 2).max(self.end + CHUNK);
            self.data.resize(size, 0);
        }
        loop {
            match self.source.read(&mut self.data[self.end..]) {
                Ok(0) => {
                    self.ended = true;
                    return false;
                }
                Ok(count) => {
                    self.end += count;
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.ended = true;
                    self.failure = Some(error.to_string());
                    return false;
                }
            }
        }
    }

    /// Reads until there are `len` bytes, or the input ends.
    pub fn fill_to(&mut self, len: usize) {
        while self.unread().len() < len && self.fill() {}
    }

    /// Takes bytes, and counts their lines.
    pub fn take(&mut self, len: usize) -> &[u8] {
        let bytes = &self.data[self.start..self.start + len];
        self.lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
        self.byte += len as u64;
        self.start += len;
        bytes
    }

    /// Takes a line, whose end is the last of the bytes, or the end of the input.
    pub fn take_line(&mut self, len: usize) -> &[u8] {
        self.lines += 1;
        self.byte += len as u64;
        self.start += len;
        &self.data[self.start - len..self.start]
    }

    /// Finds the end of the line that begins at the first unread byte, from a place on that is
    /// known to hold none; the length includes the end. `None` if it is longer than `most`.
    pub fn find_line_end(&mut self, from: usize, most: usize) -> Option<usize> {
        let mut searched = from;
        loop {
            let unread = self.unread();
            if let Some(at) = memchr::memchr(b'\n', &unread[searched..]) {
                return Some(searched + at + 1);
            }
            searched = unread.len();
            if searched > most {
                return None;
            }
            if !self.fill() {
                return Some(searched);
            }
        }
    }

    /// Takes a byte order mark, if there is one.
    pub(super) fn skip_byte_order_mark(&mut self) {
        self.fill_to(3);
        if self.unread().starts_with(b"\xef\xbb\xbf") {
            self.take(3);
        }
    }

    /// Returns the number of the line that the first unread byte is in.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.lines + 1
    }

    /// Returns how many bytes and lines are before the first unread byte.
    #[must_use]
    pub const fn position(&self) -> (u64, u64) {
        (self.byte, self.lines)
    }

    /// Returns the bytes of memory that the window takes.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.data.capacity()
    }

    /// Returns why the input ended before its end, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}
