//! Why a price model was not accepted.

use std::ops::Range;

use thiserror::Error;

/// Largest price model that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 64 * 1024;

/// Longest message, in characters: a key of the file may be quoted in it.
const MAX_MESSAGE_CHARS: usize = 600;

/// Why a price model was not accepted, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PricingError {
    /// The text is larger than [`MAX_FILE_BYTES`].
    #[error(
        "{origin} has {size} bytes, and a price model may have {MAX_FILE_BYTES}: \
         is this the right file?"
    )]
    TooLarge {
        /// The file or other place it came from.
        origin: String,
        /// Its size in bytes.
        size: usize,
    },
    /// The text is not TOML, or not a price model.
    #[error("{origin}:{line}:{column}: {message}")]
    Invalid {
        /// The file or other place it came from.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong and what would be accepted.
        message: String,
    },
}

/// No built-in price model has that id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no price model `{id}`: {}", instead(.nearest.as_deref(), known))]
pub struct UnknownModel {
    /// The id that was asked for.
    pub id: String,
    /// The id that looks most like it.
    pub nearest: Option<String>,
    /// All ids, for people.
    pub known: String,
}

/// The nearest id, or all there are.
fn instead(nearest: Option<&str>, known: &str) -> String {
    match nearest {
        Some(near) => format!("did you mean `{near}`? (`cyclometer pricing list` has all)"),
        None => format!("there are {known}"),
    }
}

/// Something wrong at a place in the text.
#[derive(Debug)]
pub(super) struct Problem {
    pub span: Range<usize>,
    pub message: String,
}

impl Problem {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }

    /// Names the place in `text` in lines and columns.
    pub(super) fn locate(self, text: &str, origin: &str) -> PricingError {
        let bytes = text.as_bytes();
        let before = bytes.get(..self.span.start).unwrap_or(bytes);
        let lines = before.split(|byte| *byte == b'\n');
        let in_line = lines.clone().next_back().unwrap_or_default();
        PricingError::Invalid {
            origin: origin.to_owned(),
            line: lines.count(),
            column: 1 + String::from_utf8_lossy(in_line).chars().count(),
            message: printable(&self.message),
        }
    }
}

impl From<toml::de::Error> for Problem {
    fn from(error: toml::de::Error) -> Self {
        let message = with_nearest(error.message());
        // Without a span the whole file is meant: a missing key, for instance.
        Self::new(error.span().unwrap_or(0..0), message)
    }
}

/// Adds the nearest of the keys that would have been accepted.
fn with_nearest(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let unknown = ["unknown field", "unknown variant"].iter().any(|it| message.starts_with(it));
    let (true, Some(given)) = (unknown, names.next()) else { return message.to_owned() };
    match crate::suggest::nearest(given, names) {
        Some(near) => {
            let (first, rest) = message.split_once(", ").unwrap_or((message, ""));
            format!("{first}: did you mean `{near}`? {rest}").trim_end().to_owned()
        }
        None => message.to_owned(),
    }
}

/// The message on one line of bounded length, without what a terminal would obey.
fn printable(message: &str) -> String {
    let mut clean: String = message
        .chars()
        .take(MAX_MESSAGE_CHARS)
        .flat_map(|c| match c {
            '\n' => vec![';', ' '],
            c if c.is_control() => c.escape_default().collect(),
            c => vec![c],
        })
        .collect();
    if message.chars().nth(MAX_MESSAGE_CHARS).is_some() {
        clean.push_str("...");
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_start_at_one() {
        let text = "a = 1\né = 2\n";
        let at = |offset| Problem::new(offset..offset, "x").locate(text, "f.toml").to_string();
        assert_eq!(at(0), "f.toml:1:1: x");
        assert_eq!(at(6), "f.toml:2:1: x");
        assert_eq!(at(text.find('2').unwrap()), "f.toml:2:5: x");
        assert_eq!(at(10_000), "f.toml:3:1: x");
    }

    #[test]
    fn messages_cannot_move_the_cursor_nor_fill_the_screen() {
        let message = format!("unknown field `\u{1b}[2J`\nhere {}", "x".repeat(70_000));
        let error = Problem::new(0..0, message).locate("", "f").to_string();
        assert!(!error.contains(char::is_control), "{error}");
        assert!(error.len() < 700);
    }
}
