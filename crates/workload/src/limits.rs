//! Limits under which a function runs, with their valid ranges.

use std::ops::RangeInclusive;
use std::str::FromStr;

use cyclometer_core::units::{Bytes, Nanos, UnitError};

/// Valid range of the memory limit. The lowest value is Docker's own minimum.
pub const MEMORY: RangeInclusive<Bytes> = Bytes(6 << 20)..=Bytes(1 << 40);

/// Valid range of the time limit of an invocation.
pub const TIMEOUT: RangeInclusive<Nanos> = Nanos(1_000_000)..=Nanos(7 * DAY);

/// Valid range of the output limit. Output is kept in memory.
pub const OUTPUT: RangeInclusive<Bytes> = Bytes(1)..=Bytes(1 << 30);

const DAY: u64 = 86_400_000_000_000;

/// Limits of memory, time and output under which a function runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory that the function is given, and is billed for.
    pub memory: Bytes,
    /// Longest time from its start to its end.
    pub timeout: Nanos,
    /// Most bytes that it may write to standard output.
    pub output: Bytes,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: Bytes(128 << 20), timeout: Nanos(60_000_000_000), output: Bytes(16 << 20) }
    }
}

/// Parses a memory limit: 6MiB to 1TiB.
///
/// # Errors
/// Returns an error when it is no size or outside of the range, with a message for users.
pub fn parse_memory_limit(text: &str) -> Result<Bytes, String> {
    const RANGE: &str = "6MiB to 1TiB";
    if is_none(text) {
        return Err(format!(
            "a function is billed for its memory, so it has a limit: write {RANGE}"
        ));
    }
    let size: Bytes = parse_quantity(text, RANGE)?;
    if size < *MEMORY.start() {
        return Err(format!(
            "{size} is less than {}, which containers need: write {RANGE}",
            MEMORY.start()
        ));
    }
    check_range(size, &MEMORY, RANGE)
}

/// Parses a time limit: 1ms to 7days, or `none` for the highest.
///
/// # Errors
/// Returns an error when it is no time or outside of the range, with a message for users.
pub fn parse_time_limit(text: &str) -> Result<Nanos, String> {
    const RANGE: &str = "1ms to 7days, or `none` for 7days";
    if is_none(text) {
        return Ok(*TIMEOUT.end());
    }
    let span: Nanos = parse_quantity(text, RANGE)?;
    check_range(span, &TIMEOUT, RANGE)
}

/// Parses a limit of output: 1B to 1GiB.
///
/// # Errors
/// Returns an error when it is no size or outside of the range, with a message for users.
pub fn parse_output_limit(text: &str) -> Result<Bytes, String> {
    const RANGE: &str = "1B to 1GiB";
    if is_none(text) {
        return Err(format!("output is kept in memory, so it has a limit: write {RANGE}"));
    }
    let size: Bytes = parse_quantity(text, RANGE)?;
    check_range(size, &OUTPUT, RANGE)
}

/// Returns `value` if it is within `range`, which `words` describe in the error.
///
/// # Errors
/// Returns an error when it is outside of the range, with a message for users.
pub fn check_range<T: PartialOrd + std::fmt::Display>(
    value: T,
    range: &RangeInclusive<T>,
    words: &str,
) -> Result<T, String> {
    if value < *range.start() {
        return Err(format!("{value} is less than {}: write {words}", range.start()));
    }
    if value > *range.end() {
        return Err(format!("{value} is more than {}: write {words}", range.end()));
    }
    Ok(value)
}

/// Parses a quantity; an error for text that is no quantity or does not fit 64 bits names
/// the range.
fn parse_quantity<T: FromStr<Err = UnitError>>(text: &str, words: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{error} ({words})"))
}

/// Returns whether the text is `none`, which asks for no limit.
fn is_none(text: &str) -> bool {
    text.trim() == "none"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_a_lowest_and_a_highest_value() {
        // 7 x 24 x 3600 s.
        let week = Nanos(604_800_000_000_000);
        for (text, expected) in
            [("1ms", Nanos(1_000_000)), ("7days", week), ("168h", week), ("none", week)]
        {
            assert_eq!(parse_time_limit(text), Ok(expected), "{text}");
        }
        for text in ["0s", "0ns", "999us", "8days", "169h", "18446744073s", "1000000000000000000s"]
        {
            let error = parse_time_limit(text).expect_err(text);
            assert!(error.contains("1ms to 7days, or `none`"), "{text}: {error}");
        }
        assert_eq!(parse_memory_limit("6MiB"), Ok(Bytes(6_291_456)));
        assert_eq!(parse_memory_limit("1TiB"), Ok(Bytes(1_099_511_627_776)));
        for text in ["0B", "6291455B", "none", "2TiB", "16777215TiB"] {
            let error = parse_memory_limit(text).expect_err(text);
            assert!(error.contains("6MiB to 1TiB"), "{text}: {error}");
        }
        assert_eq!(parse_output_limit("1B"), Ok(Bytes(1)));
        for text in ["0B", "none", "2GiB"] {
            let error = parse_output_limit(text).expect_err(text);
            assert!(error.contains("1B to 1GiB"), "{text}: {error}");
        }
    }
}
