//! Wrapping of text at spaces, measured in columns of a terminal.

use std::borrow::Cow;

use textwrap::core::display_width;
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// Wraps a line into lines of at most `width` columns, at spaces where there are any; longer
/// words are broken. Spaces in front of the first word are kept.
#[must_use]
pub fn wrap_line(line: &str, width: usize) -> Vec<String> {
    // A break after nothing but the spaces in front would leave an empty line.
    let words = line.trim_start_matches(' ');
    let first = words.split(' ').next().unwrap_or_default();
    let is_indented = line.len() - words.len() + display_width(first) <= width;
    let lines = textwrap::wrap(if is_indented { line } else { words }, wrap_options(width));
    lines.into_iter().map(Cow::into_owned).collect()
}

/// Wraps a paragraph at its spaces into lines of at most `width` columns, the first after
/// `first` and the others after `next`. Longer words stay whole, so that they can be copied.
#[must_use]
pub fn fill_paragraph(text: &str, width: usize, first: &str, next: &str) -> String {
    let options = wrap_options(width).break_words(false);
    textwrap::fill(text, options.initial_indent(first).subsequent_indent(next))
}

fn wrap_options<'a>(width: usize) -> Options<'a> {
    Options::new(width.max(1))
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap_line("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap_line("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap_line("an abcdefgh", 4), ["an", "abcd", "efgh"]);
        assert_eq!(wrap_line("", 5), [""]);
        // Names with hyphens stay whole, and so does what a no-break space ties.
        assert_eq!(wrap_line("on aws-lambda", 8), ["on", "aws-lamb", "da"]);
        assert_eq!(wrap_line("by aws-lambda", 12), ["by", "aws-lambda"]);
        assert_eq!(wrap_line("by 12\u{a0}ms", 6), ["by", "12\u{a0}ms"]);
    }

    #[test]
    fn leading_spaces_are_kept_where_a_word_fits_after_them() {
        assert_eq!(wrap_line("  in dent", 6), ["  in", "dent"]);
        assert_eq!(wrap_line("  indented", 6), ["indent", "ed"]);
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(wrap_line("日本 語", 4), ["日本", "語"]);
        assert_eq!(wrap_line("日本", 1), ["日", "本"]);
        assert_eq!(fill_paragraph("日本 語", 6, "", ""), "日本\n語");
    }

    #[test]
    fn paragraphs_are_indented_and_keep_long_words() {
        assert_eq!(
            fill_paragraph("see https://example.org/a at once", 10, "- ", "  "),
            "- see\n  https://example.org/a\n  at once"
        );
    }
}
