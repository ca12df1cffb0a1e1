//! Text fitted to a width in columns.

use ratatui::buffer::Buffer;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use cyclometer_core::visible_text::{escape_line, is_visible};
use cyclometer_core::word_wrap::wrap_line;

/// Returns the text in at most `width` columns; a cut is marked by `~`. Hidden
/// characters, which a workload's output may hold, become escapes.
#[must_use]
pub fn fit(text: &str, width: usize) -> String {
    let clean = escape_line(text);
    if clean.width() <= width {
        return clean.into_owned();
    }
    let mut result = String::new();
    let mut used = 0;
    for character in clean.chars() {
        let wide = character.width().unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        result.push(character);
    }
    if width > 0 {
        result.push('~');
    }
    result
}

/// Returns the text in at most `width` columns, cut in the middle: names that
/// begin alike keep the ends in which they differ.
#[must_use]
pub(crate) fn fit_middle(text: &str, room: usize) -> String {
    if display_width(text) <= room || room < 3 {
        return fit(text, room);
    }
    let head = fit(text, room.div_ceil(2));
    let mut tail: Vec<char> = Vec::new();
    let mut used = display_width(&head);
    for character in escape_line(text).chars().rev() {
        let wide = character.width().unwrap_or(0);
        if used + wide > room {
            break;
        }
        used += wide;
        tail.push(character);
    }
    head + &tail.into_iter().rev().collect::<String>()
}

/// Returns the text in exactly `width` columns, aligned to the right if `right`.
#[must_use]
pub fn pad(text: &str, width: usize, right: bool) -> String {
    let text = fit(text, width);
    let blank = " ".repeat(width.saturating_sub(text.width()));
    if right { blank + &text } else { text + &blank }
}

/// Returns lines of at most `width` columns, broken between words where that is
/// possible. Spaces at the start of a line are kept.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    text.lines().flat_map(|line| wrap_line(&escape_line(line), width)).collect()
}

/// Returns the number of columns that the text takes, as [`fit`] shows it.
#[must_use]
pub fn display_width(text: &str) -> usize {
    escape_line(text).width()
}

/// Replaces hidden characters in the cells of a screen by `?`: a last safeguard
/// against text that came there without [`fit`], [`wrap`] or a table.
pub(crate) fn clear_hidden(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if !is_visible(cell.symbol()) {
            cell.set_symbol("?");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_by_columns_and_marked() {
        assert_eq!(fit("native", 6), "native");
        assert_eq!(fit("wasmtime", 6), "wasmt~");
        assert_eq!(fit("日本語", 4), "日~");
        assert_eq!(fit("a\u{1b}[2J", 10), "a\\x1b[2J");
        assert_eq!(display_width("a\u{1b}[2J"), 8);
        assert_eq!(pad("\u{202e}", 9, true), " \\u{202e}");
        assert_eq!(fit_middle("abcdefghij\u{200b}", 12), "abcde~{200b}");
        assert_eq!(fit("abc", 0), "");
        assert_eq!(fit_middle("google-cloud-run-jobs", 12), "googl~n-jobs");
        assert_eq!(fit_middle("google-cloud-run-jobs", 21), "google-cloud-run-jobs");
        assert_eq!(fit_middle("abcdef", 2), "a~");
        assert_eq!(pad("7", 3, true), "  7");
        assert_eq!(pad("ab", 4, false), "ab  ");
    }

    proptest::proptest! {
        #[test]
        fn no_screen_lets_anything_hidden_through(
            text in proptest::collection::vec(proptest::char::any(), 0..30),
            room in 0_usize..30,
        ) {
            let text: String = text.into_iter().collect();
            for fitted in [fit(&text, room), fit_middle(&text, room), pad(&text, room, false)] {
                proptest::prop_assert!(is_visible(&fitted), "{fitted:?}");
                proptest::prop_assert!(fitted.width() <= room, "{fitted:?}");
            }
            for line in wrap(&text, room) {
                proptest::prop_assert!(is_visible(&line), "{line:?}");
            }
            let area = ratatui::layout::Rect::new(0, 0, 40, 1);
            let mut buffer = Buffer::empty(area);
            buffer.set_string(0, 0, &text, ratatui::style::Style::new());
            clear_hidden(&mut buffer);
            for cell in &buffer.content {
                proptest::prop_assert!(is_visible(cell.symbol()));
            }
        }
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("  in dent", 6), ["  in", "dent"]);
        assert_eq!(wrap("a\n\nb", 5), ["a", "", "b"]);
        assert!(wrap("日本", 1).len() >= 2);
    }
}
