//! Error messages about TOML files, for the person who wrote the file.

use crate::visible_text::summarize_text;

/// Longest message, in characters; it is bounded because it may quote a key of the file.
const MAX_MESSAGE_CHARS: usize = 600;

/// Returns the line and column (in characters), both counted from 1, of a byte offset in
/// `text`.
#[must_use]
pub fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let bytes = text.as_bytes();
    let before = bytes.get(..offset).unwrap_or(bytes);
    let lines = before.split(|byte| *byte == b'\n');
    let in_line = lines.clone().next_back().unwrap_or_default();
    (lines.count(), 1 + String::from_utf8_lossy(in_line).chars().count())
}

/// Adds the nearest accepted key to a message about an unknown one.
#[must_use]
pub fn with_nearest_key(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let unknown = ["unknown field", "unknown variant"].iter().any(|it| message.starts_with(it));
    let (true, Some(given)) = (unknown, names.next()) else { return message.to_owned() };
    match crate::suggest::find_nearest_name(given, names) {
        Some(near) => {
            let (first, rest) = message.split_once(", ").unwrap_or((message, ""));
            format!("{first}: did you mean `{near}`? {rest}").trim_end().to_owned()
        }
        None => message.to_owned(),
    }
}

/// Returns the message on one line of bounded length, with control characters escaped.
#[must_use]
pub fn to_printable_line(message: &str) -> String {
    summarize_text(&message.trim_end().replace('\n', "; "), MAX_MESSAGE_CHARS)
}
