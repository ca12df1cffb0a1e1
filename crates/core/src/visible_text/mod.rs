//! Escaping of text from outside, so that a person sees every character and no terminal
//! acts on it.
//!
//! File names, labels, and the output of functions and engines may hold characters that
//! move the cursor, change the direction of writing, or are invisible. All text that leaves
//! the program goes through this module:
//!
//! | destination | function | line break | hidden character |
//! |---|---|---|---|
//! | a cell, a title, a word | [`escape_line`] | `\n` | `\x1b`, `\u{202e}` |
//! | a page, a message | [`escape_lines`] | kept | `\x1b`, `\u{202e}` |
//! | a stream of bytes | [`VisibleWriter`] | kept | likewise; invalid UTF-8: `\x9b` |
//! | a reason, a note | [`summarize_text`], [`summarize_end`] | one blank | likewise; shortened |
//! | JSON | [`escape_json`] | kept | `\u202e`, so that the value is unchanged |
//! | CSV | [`escape_csv_cell`] | kept | `\x1b`, `\u{202e}` |
//! | Markdown | [`escape_markdown`] | `\n` | likewise; markup: `\|` |
//! | XML | [`escape_xml`] | `\n` | likewise; markup: `&lt;` |
//!
//! [`is_hidden`] defines which characters are hidden. Combining marks, which are drawn
//! above or below a character, are kept up to [`MAX_MARKS`] per character; further ones
//! are escaped, since a pile of them covers other lines.
//!
//! A backslash is not hidden and stays as it is, so `\x1b` in the result may stand for an
//! escape character or for these four characters. JSON output is unambiguous.
//!
//! The module depends on no other module of this program.

mod formats;
mod writer;

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar;

pub use formats::{escape_csv_cell, escape_json, escape_markdown, escape_xml};
pub use writer::VisibleWriter;

/// Most combining marks on one character that are shown; UTS #39 (5.4) treats more than
/// four in a row as an attempt to deceive.
pub const MAX_MARKS: usize = 4;

/// Returns whether a character is a control, is invisible, or has no meaning of its own: C0
/// and C1 controls, DEL, line and paragraph separators, everything that Unicode calls
/// ignorable by default (direction controls, zero-width characters, variation selectors,
/// fillers, tags), notation and annotation controls, private use, and noncharacters.
///
/// Spaces of any width are not hidden, nor are the signs that Arabic writes in front of
/// numbers, which are visible.
#[must_use]
pub const fn is_hidden(character: char) -> bool {
    matches!(character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // Line and paragraph separators.
        | '\u{2028}' | '\u{2029}'
        // Default_Ignorable_Code_Point.
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        // Other format controls: annotation, hieroglyphs.
        | '\u{fff9}'..='\u{fffb}' | '\u{13430}'..='\u{1343f}'
        // Private use.
        | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}'
        // Noncharacters.
        | '\u{fdd0}'..='\u{fdef}'
    ) || (character as u32) & 0xfffe == 0xfffe
}

/// Escapes text for one line, with every hidden character as an escape: `\n`, `\t` and
/// `\r`, `\x1b` below U+0080, `\u{202e}` from there on. Text without hidden characters is
/// borrowed. Idempotent.
#[must_use]
pub fn escape_line(text: &str) -> Cow<'_, str> {
    escape_text(text, LineBreaks::Escaped)
}

/// Like [`escape_line`], but keeps line breaks and tabs.
#[must_use]
pub fn escape_lines(text: &str) -> Cow<'_, str> {
    escape_text(text, LineBreaks::Kept)
}

/// Returns whether [`escape_line`] returns the text unchanged.
#[must_use]
pub fn is_visible(text: &str) -> bool {
    matches!(escape_line(text), Cow::Borrowed(_))
}

/// Like [`escape_lines`], for bytes: those that are not valid UTF-8 become `\x9b`.
#[must_use]
pub fn escape_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut marks = MarkCounter::default();
    for chunk in bytes.utf8_chunks() {
        push_escaped(&mut text, chunk.valid(), LineBreaks::Kept, &mut marks);
        for byte in chunk.invalid() {
            push_byte(&mut text, *byte);
            marks = MarkCounter::default();
        }
    }
    text
}

/// Shortens text to one line of at most `most` characters: runs of white space become one
/// blank, hidden characters become escapes, and text that is too long ends in `...`.
/// Idempotent.
#[must_use]
pub fn summarize_text(text: &str, most: usize) -> String {
    const CUT: &str = "...";
    let mut line = String::new();
    let mut marks = MarkCounter::default();
    let mut length = 0;
    // Length up to which the line is kept if the rest does not fit.
    let mut cut = 0;
    let words = text.split_whitespace().enumerate();
    let characters =
        words.flat_map(|(at, word)| (at > 0).then_some(' ').into_iter().chain(word.chars()));
    for character in characters {
        let before = line.len();
        if marks.must_escape(character, LineBreaks::Escaped) {
            push_escape(&mut line, character);
        } else {
            line.push(character);
        }
        length += line[before..].chars().count();
        if length + CUT.len() <= most {
            cut = line.len();
        }
        if length > most {
            line.truncate(cut);
            line.push_str(&CUT[..CUT.len().min(most)]);
            break;
        }
    }
    line
}

/// Like [`summarize_text`], for bytes: those that are not valid UTF-8 become `\x9b`. With
/// `is_cut`, the bytes are the end of a longer text that may have been cut inside a
/// character, whose remaining bytes are left out.
#[must_use]
pub fn summarize_end(bytes: &[u8], is_cut: bool, most: usize) -> String {
    let rest = bytes.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count();
    let bytes = if is_cut { &bytes[rest..] } else { bytes };
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| push_byte(&mut text, *byte));
    }
    summarize_text(&text, most)
}

/// Treatment of line breaks and tabs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineBreaks {
    Kept,
    Escaped,
}

/// Counter of the combining marks on the last character.
#[derive(Debug, Clone, Copy, Default)]
struct MarkCounter(usize);

impl MarkCounter {
    /// Counts the next character and returns whether it must be escaped.
    fn must_escape(&mut self, character: char, breaks: LineBreaks) -> bool {
        let kept = breaks == LineBreaks::Kept && matches!(character, '\n' | '\t');
        if is_hidden(character) {
            self.0 = 0;
            return !kept;
        }
        if character.is_ascii() || character.width() != Some(0) {
            self.0 = 0;
            return false;
        }
        self.0 += 1;
        self.0 > MAX_MARKS
    }
}

/// Returns whether all bytes are printable ASCII, the fast path for nearly all text.
fn is_plain(bytes: &[u8], breaks: LineBreaks) -> bool {
    let kept = |byte: u8| breaks == LineBreaks::Kept && matches!(byte, b'\n' | b'\t');
    bytes.iter().all(|byte| matches!(byte, b' '..=b'~') || kept(*byte))
}

fn escape_text(text: &str, breaks: LineBreaks) -> Cow<'_, str> {
    let mut marks = MarkCounter::default();
    if is_plain(text.as_bytes(), breaks) || !text.chars().any(|it| marks.must_escape(it, breaks)) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    push_escaped(&mut escaped, text, breaks, &mut MarkCounter::default());
    escaped.into()
}

fn push_escaped(out: &mut String, text: &str, breaks: LineBreaks, marks: &mut MarkCounter) {
    for character in text.chars() {
        if marks.must_escape(character, breaks) {
            push_escape(out, character);
        } else {
            out.push(character);
        }
    }
}

fn push_escape(out: &mut String, character: char) {
    match character {
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        '\r' => out.push_str("\\r"),
        // Invalid UTF-8 bytes start at 0x80, so `\x` escapes stay unambiguous.
        '\0'..='\x7f' => push_byte(out, character as u8),
        _ => out.extend(character.escape_unicode()),
    }
}

fn push_byte(out: &mut String, byte: u8) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    out.push_str("\\x");
    out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

#[cfg(test)]
mod tests;
