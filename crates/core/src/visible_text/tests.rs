use std::io::Write;

use proptest::prelude::*;
use regex_syntax::hir::{Class, HirKind};

use super::*;

/// Generates text with many characters that need escaping.
fn texts() -> impl Strategy<Value = String> {
    let odd = prop_oneof![
        prop::char::range('\0', '\u{ff}'),
        prop::char::range('\u{300}', '\u{36f}'),
        prop::char::range('\u{2000}', '\u{206f}'),
        prop::char::range('\u{fe00}', '\u{ffff}'),
        prop::char::range('\u{e0000}', '\u{e0fff}'),
        prop::sample::select(vec!['=', '+', '-', '@', '\'', '"', '|', '`', '<', '&', '\\', '1']),
        any::<char>(),
    ];
    prop::collection::vec(odd, 0..40).prop_map(|it| it.into_iter().collect())
}

/// Returns a class of the Unicode database, as another library has it.
fn class(pattern: &str) -> Vec<std::ops::RangeInclusive<char>> {
    let parsed = regex_syntax::parse(pattern).expect("a class");
    let HirKind::Class(Class::Unicode(class)) = parsed.kind() else { panic!("no class") };
    class.iter().map(|range| range.start()..=range.end()).collect()
}

#[test]
fn hidden_characters_are_those_of_the_unicode_database() {
    let hidden = class(r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{DI}\p{NChar}]");
    // Signs that Arabic and Kaithi write around numbers are visible.
    let seen = class(r"[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd]");
    let within = |classes: &[std::ops::RangeInclusive<char>], it: char| {
        classes.iter().any(|range| range.contains(&it))
    };
    for it in '\0'..=char::MAX {
        // The last plane of all is private use to its end.
        let wanted = within(&hidden, it) && !within(&seen, it);
        assert_eq!(is_hidden(it), wanted, "U+{:04X}", it as u32);
    }
}

#[test]
fn escapes_say_what_is_there() {
    assert_eq!(escape_line("a\x1b[2J\r\n\tb\x7f"), "a\\x1b[2J\\r\\n\\tb\\x7f");
    assert_eq!(escape_line("\u{9b}\u{202e}\u{e0041}"), "\\u{9b}\\u{202e}\\u{e0041}");
    assert_eq!(escape_lines("a\r\n\tb\u{2028}"), "a\\r\n\tb\\u{2028}");
    assert_eq!(escape_bytes(b"a\x9b2J\xc2\x9b\xffz\n"), "a\\x9b2J\\u{9b}\\xffz\n");
    // Letters of other scripts, wide spaces and a flag are not hidden.
    for fine in
        ["größe 日本\u{3000}語 عربي עברית हिन्दी ไทย", "\u{1f1e9}\u{1f1ea} a\u{a0}b\u{2003}c"]
    {
        assert_eq!(escape_line(fine), fine);
        assert!(is_visible(fine));
    }
}

#[test]
fn marks_pile_up_to_four_only() {
    let pile = |count: usize| format!("e{}", "\u{301}".repeat(count));
    assert_eq!(escape_line(&pile(4)), pile(4));
    assert_eq!(escape_line(&pile(6)), format!("{}\\u{{301}}\\u{{301}}", pile(4)));
    assert_eq!(escape_line(&format!("{0}{0}", pile(4))), format!("{0}{0}", pile(4)));
}

#[test]
fn summaries_are_one_line_of_bounded_length() {
    assert_eq!(summarize_text("  a\r\n\n\tb\u{2028}c  ", 20), "a b c");
    assert_eq!(summarize_text("a\x1b[2Jb", 20), "a\\x1b[2Jb");
    assert_eq!(summarize_text("abcdef", 6), "abcdef");
    assert_eq!(summarize_text("abcdefg", 6), "abc...");
    // An escape is never cut.
    assert_eq!(summarize_text("ab\x1bcd", 8), "ab\\x1bcd");
    assert_eq!(summarize_text("ab\x1bcde", 8), "ab...");
    assert_eq!(summarize_text("abc", 2), "..");
    assert_eq!(summarize_end(b"\xa9a\x9b\r\nb", true, 20), "a\\x9b b");
    assert_eq!(summarize_end(b"\xa9a", false, 20), "\\xa9a");
}

#[test]
fn json_keeps_its_value_and_hides_nothing() {
    let value = serde_json::json!({ "a\u{202e}": "\u{9b}2J\u{7f}\u{e0041}\u{1f600}\x1b" });
    let text = serde_json::to_string(&value).expect("JSON");
    let escaped = escape_json(&text);
    assert_eq!(escaped, "{\"a\\u202e\":\"\\u009b2J\\u007f\\udb40\\udc41\u{1f600}\\u001b\"}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).expect("JSON"), value);
}

#[test]
fn formulas_get_an_apostrophe_and_numbers_do_not() {
    for formula in
        ["=1+1", "+1+1", "-2+3", "@SUM(A1)", " =1", "\t=1", "\tx", "＝1", "-", "+cmd|' /C"]
    {
        assert_eq!(escape_csv_cell(formula), format!("'{formula}"));
    }
    for number in ["-1", "+1.5", "-0.0000012", "-1e-7", "-.5", "-5/48", "-inf", "12", "", "5-3"] {
        assert_eq!(escape_csv_cell(number), number);
    }
    // Text with an apostrophe gets another, so that one can always be removed.
    assert_eq!(escape_csv_cell("'=1"), "''=1");
    assert_eq!(escape_csv_cell("a\rb\nc"), "a\\rb\nc");
    assert_eq!(escape_csv_cell("\r=1"), "'\\r=1");
}

#[test]
fn markdown_shows_text_as_it_is() {
    assert_eq!(
        escape_markdown("a|b `x` *y*\n<script>"),
        "a\\|b \\`x\\` \\*y\\*\\\\n&lt;script&gt;"
    );
    assert_eq!(escape_markdown("_z_ a_b [l](u) ![i](u)"), "\\_z\\_ a_b \\[l\\](u) !\\[i\\](u)");
    for (text, wanted) in [
        ("# a", "\\# a"),
        ("- a", "\\- a"),
        ("+ a", "\\+ a"),
        ("---", "\\---"),
        ("===", "\\==="),
        ("12. a", "12\\. a"),
        ("1) a", "1\\) a"),
        ("-", "-"),
        ("-1", "-1"),
        ("1.5 ms", "1.5 ms"),
    ] {
        assert_eq!(escape_markdown(text), wanted);
    }
}

#[test]
fn xml_has_no_tags_and_no_controls_of_others() {
    assert_eq!(escape_xml("<a b='\"'>&\x01"), "&lt;a b=&#39;&quot;&#39;&gt;&amp;\\x01");
}

#[test]
fn a_stream_may_come_in_any_pieces() {
    let text = "é\u{301}\x1b\u{202e}日\u{1f600}\u{e0041}\n";
    for cut in 0..text.len() {
        let mut out = Vec::new();
        let mut writer = VisibleWriter::new(&mut out);
        writer.write_all(&text.as_bytes()[..cut]).expect("memory");
        writer.flush().expect("memory");
        writer.write_all(&text.as_bytes()[cut..]).expect("memory");
        drop(writer);
        assert_eq!(String::from_utf8(out).expect("text"), escape_lines(text));
    }
    let mut out = Vec::new();
    VisibleWriter::new(&mut out).write_all(b"a\xe2\x80").expect("memory");
    assert_eq!(out, b"a\\xe2\\x80");
}

/// Returns whether text has neither hidden characters nor piles of marks.
fn is_harmless(text: &str, breaks: &[char]) -> bool {
    let mut pile = 0;
    text.chars().all(|it| {
        let mark = !it.is_ascii() && unicode_width::UnicodeWidthChar::width(it) == Some(0);
        pile = if mark { pile + 1 } else { 0 };
        (!is_hidden(it) || breaks.contains(&it)) && pile <= MAX_MARKS
    })
}

proptest! {
    #[test]
    fn no_way_out_lets_anything_hidden_through(text in texts()) {
        prop_assert!(is_harmless(&escape_line(&text), &[]));
        prop_assert!(is_harmless(&escape_lines(&text), &['\n', '\t']));
        prop_assert!(is_harmless(&escape_bytes(text.as_bytes()), &['\n', '\t']));
        prop_assert!(is_harmless(&escape_csv_cell(&text), &['\n', '\t']));
        prop_assert!(is_harmless(&escape_markdown(&text), &[]));
        prop_assert!(is_harmless(&escape_xml(&text), &[]));
        prop_assert!(is_harmless(&summarize_text(&text, 30), &[]));
        prop_assert!(summarize_text(&text, 30).chars().count() <= 30);
        prop_assert_eq!(is_visible(&text), escape_line(&text) == text);
    }

    #[test]
    fn what_was_escaped_is_not_escaped_again(text in texts()) {
        for escaped in [escape_line(&text), escape_lines(&text), summarize_text(&text, 30).into()] {
            prop_assert_eq!(&escape_lines(&escaped), &escaped);
        }
        let line = escape_line(&text);
        prop_assert_eq!(&escape_line(&line), &line);
        let summary = summarize_text(&text, 30);
        prop_assert_eq!(summarize_text(&summary, 30), summary);
    }

    #[test]
    fn json_is_read_back_as_it_was(text in texts()) {
        let value = serde_json::json!({ &text: [&text] });
        for json in [value.to_string(), format!("{value:#}")] {
            let escaped = escape_json(&json);
            prop_assert!(is_harmless(&escaped, &['\n']));
            prop_assert_eq!(&escape_json(&escaped), &escaped);
            let read: serde_json::Value = serde_json::from_str(&escaped).expect("JSON");
            prop_assert_eq!(&read, &value);
        }
    }

    #[test]
    fn csv_is_read_back_as_it_was_but_for_escapes(text in texts()) {
        let cell = escape_csv_cell(&text);
        let read = cell.strip_prefix('\'').unwrap_or(&cell);
        prop_assert_eq!(read, escape_lines(&text));
        let lead = cell.trim_start().chars().next();
        let formula = matches!(lead, Some('=' | '+' | '-' | '@')) && cell.parse::<f64>().is_err();
        prop_assert!(!formula || text.contains("inf") || text.contains('/'), "{:?}", cell);
    }

    #[test]
    fn streams_of_any_bytes_are_harmless(pieces in prop::collection::vec(any::<Vec<u8>>(), 0..6)) {
        let mut out = Vec::new();
        let mut writer = VisibleWriter::new(&mut out);
        for piece in &pieces {
            writer.write_all(piece).expect("memory");
        }
        drop(writer);
        let text = String::from_utf8(out).expect("always UTF-8");
        prop_assert!(is_harmless(&text, &['\n', '\t']));
        prop_assert_eq!(text, escape_bytes(&pieces.concat()));
    }
}
