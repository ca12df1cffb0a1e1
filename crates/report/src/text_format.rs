//! Formatting shared by the lists of recordings and simulations.

use cyclometer_core::units::Nanos;
use cyclometer_core::visible_text::escape_line;
use cyclometer_core::word_wrap::{fill_paragraph, wrap_line};
use cyclometer_pricing::Exact;
use cyclometer_store::DeletionExtent;

/// Maximum length of lines of sentences, in characters, however wide the terminal is.
const SENTENCE: usize = 80;

/// Wraps a sentence to the terminal; further lines are indented. Hidden characters become
/// visible, line breaks too.
#[must_use]
pub fn wrap_sentence(text: &str) -> String {
    let width = super::terminal_width().clamp(20, SENTENCE);
    wrap_line(&escape_line(text), width - 2).join("\n  ")
}

/// Wraps sentences at `width` columns; further lines are indented, and words stay whole. Hidden
/// characters become visible.
#[must_use]
pub fn fill_sentences(text: &str, width: usize) -> String {
    fill_paragraph(&escape_line(text), width, "", "  ")
}

/// Formats a timestamp for people: `2026-11-21 10:00:00`.
#[must_use]
pub fn format_timestamp(stamp: &str) -> String {
    stamp.get(..19).unwrap_or(stamp).replace('T', " ")
}

/// Returns the first of many names, and the number of the others.
#[must_use]
pub fn shorten_list(names: &str) -> String {
    const SHOWN: usize = 3;
    let all: Vec<&str> = names.split(' ').collect();
    if all.len() <= SHOWN + 1 {
        return names.to_owned();
    }
    format!("{} and {} more", all[..SHOWN].join(" "), all.len() - SHOWN)
}

/// Formats a count with its noun: `1 simulation`, `2 simulations`.
#[must_use]
pub fn format_count(count: impl Into<i128>, name: &str) -> String {
    let count = count.into();
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

/// Formats a share in per cent, without the sign.
#[must_use]
pub fn format_percent(share: &Exact, decimals: u32) -> String {
    (share * &Exact::from(100)).to_rounded_string(decimals)
}

/// Formats a time in floating-point nanoseconds, such as a median.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times are between 0 and 2^53 ns"
)]
pub fn format_time(nanos: f64) -> String {
    Nanos(nanos.max(0.0).round() as u64).to_string()
}

/// Describes what a deletion removes: `1 recording, 20 invocations and 2 simulations`.
#[must_use]
pub fn describe_extent(extent: &DeletionExtent) -> String {
    let parts: Vec<String> = [
        (extent.recordings, "recording"),
        (extent.traces, "trace"),
        (extent.invocations, "invocation"),
        (extent.samples, "sample"),
        (extent.simulations, "simulation"),
        (extent.bills, "bill"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, name)| format_count(count, name))
    .collect();
    match parts.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_counted() {
        assert_eq!(shorten_list("a b c d"), "a b c d");
        assert_eq!(shorten_list("a b c d e"), "a b c and 2 more");
    }

    #[test]
    fn what_goes_is_said_in_words() {
        let extent = DeletionExtent {
            recordings: 1,
            traces: 0,
            invocations: 20,
            samples: 0,
            simulations: 2,
            bills: 40,
        };
        assert_eq!(
            describe_extent(&extent),
            "1 recording, 20 invocations, 2 simulations and 40 bills"
        );
        assert_eq!(
            describe_extent(&DeletionExtent { bills: 1, ..DeletionExtent::default() }),
            "1 bill"
        );
        assert_eq!(
            describe_extent(&DeletionExtent { traces: 1, ..extent }),
            "1 recording, 1 trace, 20 invocations, 2 simulations and 40 bills"
        );
        assert_eq!(describe_extent(&DeletionExtent::default()), "nothing");
    }
}
