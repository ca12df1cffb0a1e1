//! Escaping for formats with escapes of their own: JSON, CSV, Markdown and XML.

use std::borrow::Cow;
use std::fmt::Write;

use super::{LineBreaks, MarkCounter, escape_line, escape_lines, is_plain};

/// Writes hidden characters of a JSON text as `\u202e`: the value stays the same, and no
/// terminal acts on it. Line breaks, which stand between values, are kept. Idempotent.
#[must_use]
pub fn escape_json(json: &str) -> Cow<'_, str> {
    let mut marks = MarkCounter::default();
    let plain = is_plain(json.as_bytes(), LineBreaks::Kept);
    if plain || !json.chars().any(|it| marks.must_escape(it, LineBreaks::Kept)) {
        return json.into();
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    let mut marks = MarkCounter::default();
    for character in json.chars() {
        if marks.must_escape(character, LineBreaks::Kept) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(character);
        }
    }
    escaped.into()
}

/// Escapes the text of a CSV cell. Hidden characters other than tabs and line breaks become
/// escapes, as in [`escape_lines`]. Text that a spreadsheet would evaluate as a formula
/// gets an apostrophe in front, as does text that already starts with one: a reader
/// restores the original by removing one leading apostrophe. Numbers stay as they are.
///
/// A formula begins, after any blanks, with `=`, `+`, `-` or `@`, full-width forms
/// included; a leading tab is treated like a formula.
#[must_use]
pub fn escape_csv_cell(text: &str) -> Cow<'_, str> {
    let escaped = escape_lines(text);
    let lead = text.trim_start().chars().next();
    let formula = matches!(
        lead,
        Some('=' | '+' | '-' | '@' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}')
    );
    let quoted = text.starts_with(['\'', '\t']);
    if quoted || (formula && !is_number(text)) {
        return format!("'{escaped}").into();
    }
    escaped
}

/// Returns whether a text is a number as this program writes exact numbers: a decimal, a
/// fraction such as `-1/3`, or an infinity.
fn is_number(text: &str) -> bool {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    let fraction = |(over, under): (&str, &str)| digits(over) && digits(under);
    let starts = body.starts_with(|it: char| it.is_ascii_digit() || it == '.');
    body == "inf"
        || (starts && body.parse::<f64>().is_ok())
        || body.split_once('/').is_some_and(fraction)
}

/// Escapes text so that Markdown shows it literally: on one line, with hidden characters as
/// escapes and all Markdown and HTML markup escaped.
#[must_use]
pub fn escape_markdown(text: &str) -> String {
    let text = escape_line(text);
    let mut escaped = String::with_capacity(text.len());
    let mut before = ' ';
    let mut characters = text.chars().peekable();
    let lead = find_block_marker(&text);
    let mut at = 0;
    while let Some(c) = characters.next() {
        let after = characters.peek().copied().unwrap_or(' ');
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '|' | '\\' | '`' | '*' | '[' | ']' | '~' | '$' => escaped.extend(['\\', c]),
            // Inside a name such as ref_cycles it is no markup.
            '_' if !(before.is_alphanumeric() && after.is_alphanumeric()) => {
                escaped.extend(['\\', c]);
            }
            _ if lead == Some(at) => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
        before = c;
        at += c.len_utf8();
    }
    escaped
}

/// Returns the byte offset of the character that would make the text a heading, a rule or a
/// list.
fn find_block_marker(text: &str) -> Option<usize> {
    let body = text.trim_start();
    let from = text.len() - body.len();
    let digits = body.bytes().take_while(u8::is_ascii_digit).count();
    let ends = |at: usize| body[at..].is_empty() || body[at..].starts_with(' ');
    match body.as_bytes().get(digits)? {
        b'#' | b'=' if digits == 0 => Some(from),
        b'-' | b'+' if digits == 0 && body.len() > 1 && (ends(1) || body.starts_with("--")) => {
            Some(from)
        }
        b'.' | b')' if digits > 0 && ends(digits + 1) => Some(from + digits),
        _ => None,
    }
}

/// Escapes text for XML and HTML, between tags and in attributes: on one line, with hidden
/// characters as escapes and `&`, `<`, `>` and quotes as entities.
#[must_use]
pub fn escape_xml(text: &str) -> String {
    let text = escape_line(text);
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
