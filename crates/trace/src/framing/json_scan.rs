//! Extent of a JSON value, found without reading it: its grammar is checked as far as it says where
//! a value ends, so that a value which was cut in the middle does not swallow those after it.

/// Deepest nesting, which is that of `serde_json`.
const MAX_DEPTH: usize = 128;

/// Result of looking at more bytes of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scan {
    /// The value ends after so many bytes.
    Complete(usize),
    /// More bytes are needed.
    More,
    /// It is no JSON.
    Invalid,
    /// An array begins after so many bytes, which is one of the keys looked for.
    KeyedArray(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Value,
    /// A value, or the end of the array that has just begun.
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    /// The end of a string that began before; the flag says whether it is a key.
    InString {
        is_key: bool,
    },
    InScalar,
    CommaOrEnd,
}

/// State of looking at a value.
#[derive(Debug)]
pub(super) struct ValueScan {
    /// Bytes that were looked at.
    at: usize,
    /// Open containers, of which objects are `true`.
    open: Vec<bool>,
    expected: Expected,
    /// Begin of the last key of the outermost object.
    key_begin: usize,
    /// Whether that key is one of those looked for.
    key_found: bool,
}

impl ValueScan {
    pub(super) const fn new() -> Self {
        Self { at: 0, open: Vec::new(), expected: Expected::Value, key_begin: 0, key_found: false }
    }

    /// Starts behind a value within an object.
    pub(super) fn within_object() -> Self {
        Self { open: vec![true], expected: Expected::CommaOrEnd, ..Self::new() }
    }

    /// Counts the bytes that were looked at as handed on, and returns how many these are.
    pub(super) const fn forget(&mut self) -> usize {
        self.key_begin = 0;
        let seen = self.at;
        self.at = 0;
        seen
    }

    /// Looks at the bytes of the value, which begin as those at the last call.
    pub(super) fn scan(&mut self, bytes: &[u8], keys: &[&str]) -> Scan {
        while let Some(byte) = bytes.get(self.at).copied() {
            let step = match self.expected {
                Expected::InString { is_key } => self.scan_string(bytes, is_key, keys),
                Expected::InScalar if is_scalar(byte) => {
                    self.at += 1;
                    None
                }
                // The byte belongs to what follows.
                Expected::InScalar => self.end_value(),
                _ if matches!(byte, b' ' | b'\n' | b'\t' | b'\r') => {
                    self.at += 1;
                    None
                }
                _ => self.scan_token(byte),
            };
            if let Some(result) = step {
                return result;
            }
        }
        Scan::More
    }

    /// Ends the value at the end of the input; returns whether it is whole.
    pub(super) fn ends_here(&self) -> bool {
        self.open.is_empty() && self.expected == Expected::InScalar
    }

    fn scan_token(&mut self, byte: u8) -> Option<Scan> {
        use Expected as E;
        self.at += 1;
        match (self.expected, byte) {
            (E::Value | E::ValueOrEnd, b'[') if self.open.len() == 1 && self.key_found => {
                return Some(Scan::KeyedArray(self.at));
            }
            (E::Value | E::ValueOrEnd, b'{' | b'[') => {
                if self.open.len() == MAX_DEPTH {
                    return Some(Scan::Invalid);
                }
                self.open.push(byte == b'{');
                self.expected = if byte == b'{' { E::KeyOrEnd } else { E::ValueOrEnd };
            }
            (E::Value | E::ValueOrEnd, b'"') => self.expected = E::InString { is_key: false },
            (E::Value | E::ValueOrEnd, _) if is_scalar(byte) => self.expected = E::InScalar,
            (E::Key | E::KeyOrEnd, b'"') => {
                self.key_begin = self.at;
                self.expected = E::InString { is_key: true };
            }
            (E::Colon, b':') => self.expected = E::Value,
            (E::CommaOrEnd, b',') => {
                let in_object = self.open.last() == Some(&true);
                self.expected = if in_object { E::Key } else { E::Value };
            }
            (E::CommaOrEnd | E::KeyOrEnd, b'}') if self.open.last() == Some(&true) => {
                self.open.pop();
                return self.end_value();
            }
            (E::CommaOrEnd | E::ValueOrEnd, b']') if self.open.last() == Some(&false) => {
                self.open.pop();
                return self.end_value();
            }
            _ => return Some(Scan::Invalid),
        }
        None
    }

    fn end_value(&mut self) -> Option<Scan> {
        self.expected = Expected::CommaOrEnd;
        self.open.is_empty().then_some(Scan::Complete(self.at))
    }

    fn scan_string(&mut self, bytes: &[u8], is_key: bool, keys: &[&str]) -> Option<Scan> {
        let Some(offset) = memchr::memchr3(b'"', b'\\', b'\n', &bytes[self.at..]) else {
            self.at = bytes.len();
            return None;
        };
        let place = self.at + offset;
        match bytes[place] {
            b'"' => {
                self.at = place + 1;
                if !is_key {
                    return self.end_value();
                }
                if self.open.len() == 1 {
                    let key = &bytes[self.key_begin.min(place)..place];
                    self.key_found = keys.iter().any(|it| it.as_bytes() == key);
                }
                self.expected = Expected::Colon;
                None
            }
            // A string has no line break in it.
            b'\n' => Some(Scan::Invalid),
            _ if place + 1 < bytes.len() => {
                self.at = place + 2;
                None
            }
            _ => {
                self.at = place;
                Some(Scan::More)
            }
        }
    }
}

const fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.' | b'_')
}
