//! JSON values as records: after each other, or as the elements of an array.

use std::io::Read;

use serde::{Deserialize, Serialize};

use super::json_scan::{Scan, ValueScan};
use super::{CUT_OFF, Frame, Framer, MAX_RECORD};
use crate::format::{Record, Reject};

const LONG_VALUE: Reject = Reject::new("a JSON value of more than 16 MiB");
const NO_VALUE: Reject = Reject::new("no JSON value");
const NO_END: Reject = Reject::new("an array that the end of the input cuts off");

/// Arrays and objects around the next value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) enum JsonPlace {
    /// None: values stand after each other.
    #[default]
    Outside,
    /// An array that is itself a value of the input.
    Array,
    /// An array of an object, one of the known keys.
    KeyedArray,
    /// The object behind such an array.
    AfterArray,
}

impl<R: Read> Framer<R> {
    pub(super) fn next_json_value(&mut self, keys: &'static [&'static str]) -> Option<Frame<'_>> {
        loop {
            if self.json == JsonPlace::AfterArray {
                self.skip_rest_of_object();
                self.json = JsonPlace::Outside;
            }
            let Some(byte) = self.skip_to_value() else {
                // What is in an array comes to an end within it.
                let inside = self.json != JsonPlace::Outside;
                self.json = JsonPlace::Outside;
                return inside.then(|| self.take_broken(0, NO_END));
            };
            match (byte, self.json) {
                (b'[', JsonPlace::Outside) => {
                    self.buffer.take(1);
                    self.json = JsonPlace::Array;
                }
                (b']', JsonPlace::Array) => {
                    self.buffer.take(1);
                    self.json = JsonPlace::Outside;
                }
                (b']', JsonPlace::KeyedArray) => {
                    self.buffer.take(1);
                    self.json = JsonPlace::AfterArray;
                }
                _ => {
                    let keys = if self.json == JsonPlace::Outside { keys } else { &[] };
                    match self.find_value_end(keys) {
                        Scan::KeyedArray(len) => {
                            self.buffer.take(len);
                            self.json = JsonPlace::KeyedArray;
                        }
                        end => return Some(self.take_value(end)),
                    }
                }
            }
        }
    }

    fn take_value(&mut self, end: Scan) -> Frame<'_> {
        match end {
            Scan::Complete(len) => {
                let line = self.buffer.line();
                let bytes = self.buffer.take(len);
                Frame::Record(Record { bytes, line })
            }
            Scan::Invalid | Scan::KeyedArray(_) => self.take_broken_line(NO_VALUE),
            Scan::More if self.buffer.unread().len() > MAX_RECORD => self.skip_long_value(),
            Scan::More => {
                // Both what it began with and the arrays around it are cut off: told once.
                self.json = JsonPlace::Outside;
                let len = self.buffer.unread().len();
                self.take_broken(len, CUT_OFF)
            }
        }
    }

    /// Skips what may stand between values; returns the first byte of the next one.
    fn skip_to_value(&mut self) -> Option<u8> {
        loop {
            let unread = self.buffer.unread();
            // 0x1e separates the values of a JSON text sequence (RFC 7464).
            let is_between =
                |byte: &&u8| matches!(byte, b' ' | b'\n' | b'\t' | b'\r' | b',' | 0x1e);
            let count = unread.iter().take_while(is_between).count();
            let next = unread.get(count).copied();
            self.buffer.take(count);
            if next.is_some() {
                return next;
            }
            if !self.buffer.fill() {
                return None;
            }
        }
    }

    fn find_value_end(&mut self, keys: &[&str]) -> Scan {
        let mut scan = ValueScan::new();
        loop {
            let unread = self.buffer.unread();
            match scan.scan(unread, keys) {
                Scan::More => {}
                found => return found,
            }
            if unread.len() > MAX_RECORD {
                return Scan::More;
            }
            if !self.buffer.fill() {
                let len = self.buffer.unread().len();
                return if scan.ends_here() { Scan::Complete(len) } else { Scan::More };
            }
        }
    }

    /// Skips a value of any length in constant memory.
    fn skip_long_value(&mut self) -> Frame<'_> {
        let line = self.buffer.line();
        self.remember_start();
        let mut scan = ValueScan::new();
        self.skip_scanned(&mut scan);
        Frame::Broken { cause: LONG_VALUE, line, start: &self.skipped }
    }

    fn skip_rest_of_object(&mut self) {
        self.skip_scanned(&mut ValueScan::within_object());
    }

    /// Skips to the end of a value, or to the end of the line in which it stops being JSON.
    fn skip_scanned(&mut self, scan: &mut ValueScan) {
        loop {
            let unread = self.buffer.unread();
            match scan.scan(unread, &[]) {
                Scan::Complete(len) => {
                    self.buffer.take(len);
                    return;
                }
                Scan::Invalid | Scan::KeyedArray(_) => {
                    self.buffer.take(scan.forget());
                    self.skip_line();
                    return;
                }
                Scan::More => {}
            }
            self.buffer.take(scan.forget());
            if !self.buffer.fill() {
                let rest = self.buffer.unread().len();
                self.buffer.take(rest);
                return;
            }
        }
    }
}
