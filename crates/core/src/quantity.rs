//! Numbers as people write them: one grammar for arguments, configuration, manifests, price
//! files and usage files.
//!
//! ```text
//! 4000000   4_000_000   4,000,000   4e6   4M   0.0457   4.57e-2   1,307.68 ms
//! ```
//!
//! A number is parsed exactly, and in full or not at all; an error says what to write
//! instead. A single comma is refused, because some read `0,5` as a half and others read
//! `1,769` as 1769; `100,000 requests` are unambiguous, since requests have no fractions.

use num_bigint::BigUint;
use num_traits::{ToPrimitive, Zero};
use thiserror::Error;

/// Longest number that is accepted, in characters. The smallest price known to us has 14
/// decimals; a longer number is a mistake or an attack.
pub const MAX_CHARS: usize = 40;

/// Largest exponent that is accepted, of either sign: beyond every count and price, but
/// small enough to be written out in memory.
const MAX_EXPONENT: i32 = 30;

/// Suffixes of counts, with the power of ten that they stand for.
const SUFFIXES: [(&str, i32); 6] = [("k", 3), ("K", 3), ("M", 6), ("G", 9), ("B", 9), ("T", 12)];

/// Error of parsing a quantity, with what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}`{} {message}", if message.starts_with("is ") || message.starts_with("has ") { "" } else { ":" })]
pub struct QuantityError {
    /// Text that was refused, shortened.
    pub text: String,
    /// Problem, and what would be accepted.
    pub message: String,
}

impl QuantityError {
    /// Creates an error about `text`, of which only the start is shown.
    pub fn new(text: &str, message: impl Into<String>) -> Self {
        let mut shown: String = text.chars().take(MAX_CHARS).collect();
        if shown.len() < text.len() {
            shown.push('\u{2026}');
        }
        Self { text: shown, message: message.into() }
    }
}

/// Exact decimal number that is 0 or more: `digits` x 10^-`decimals`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decimal {
    digits: BigUint,
    decimals: i32,
}

type ParseResult<T> = Result<T, QuantityError>;

/// Kind of number that is expected, which decides what a single comma means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NumberKind {
    /// A number that may have a fraction.
    Any,
    /// A whole number: a comma can only group its digits.
    Whole,
}

impl Decimal {
    /// Parses a number that must not be followed by anything.
    ///
    /// # Errors
    ///
    /// Returns an error that says what to write.
    pub fn parse(text: &str) -> ParseResult<Self> {
        let (number, rest) = Self::parse_prefix(text)?;
        number.reject_trailing(text, rest)
    }

    /// Parses a number, which may end in k, M, G, B (a billion) or T.
    ///
    /// # Errors
    ///
    /// Returns an error that says what to write.
    pub fn parse_count(text: &str) -> ParseResult<Self> {
        let (number, rest) = Self::parse_count_prefix(text)?;
        number.reject_trailing(text, rest)
    }

    /// Parses the number at the start of `text`, and returns it with the trimmed rest, such
    /// as a unit.
    ///
    /// # Errors
    ///
    /// Returns an error that says what to write.
    pub fn parse_prefix(text: &str) -> ParseResult<(Self, &str)> {
        Self::parse_prefix_as(text, NumberKind::Any)
    }

    fn parse_prefix_as(text: &str, things: NumberKind) -> ParseResult<(Self, &str)> {
        let text = text.trim();
        let fail = |message: &str| Err(QuantityError::new(text, message));
        match text.chars().next() {
            Some('0'..='9') => {}
            Some('-' | '\u{2212}') if text.contains(|c: char| c.is_ascii_digit()) => {
                return fail("is negative: write 0 or more");
            }
            Some('+') => return fail("write the number without a sign"),
            Some('.') => return fail("write a digit before the point, as in 0.5"),
            None => return fail("write a number, such as 4000000 or 0.5"),
            Some(_) => return fail("is not a number: write digits, such as 4000000 or 0.5"),
        }
        let end = text.find(|c: char| !matches!(c, '0'..='9' | '_' | ',' | '.'));
        let (body, rest) = text.split_at(end.unwrap_or(text.len()));
        let (exponent, rest) = split_exponent(text, rest)?;
        if text.len() - rest.len() > MAX_CHARS {
            let message = format!("has more than {MAX_CHARS} characters");
            return Err(QuantityError::new(text, message));
        }
        let mut number = parse_digits(text, body, things)?;
        number.decimals -= exponent;
        if number.to_plain().len() > MAX_CHARS {
            let message = format!("has more than {MAX_CHARS} characters when written out");
            return Err(QuantityError::new(text, message));
        }
        if rest.starts_with(['.', ',', '_']) {
            return fail("an exponent is a whole number, as in 4e6");
        }
        let rest = rest.trim();
        if rest.starts_with(|c: char| c.is_ascii_digit()) {
            let joined: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            let message = format!("write {joined}, without spaces inside the number");
            return Err(QuantityError::new(text, message));
        }
        if rest.starts_with(['^', '*', '\u{d7}']) {
            return fail("write a power of ten as 4e6");
        }
        Ok((number, rest))
    }

    /// Like [`Decimal::parse_prefix`], for counts: a first word k, M, G, B (a billion)
    /// or T belongs to the number.
    ///
    /// # Errors
    ///
    /// Returns an error that says what to write.
    pub fn parse_count_prefix(text: &str) -> ParseResult<(Self, &str)> {
        Self::parse_count_prefix_as(text, NumberKind::Any)
    }

    /// Like [`Decimal::parse_count_prefix`], for things that have no fractions, such as requests:
    /// there a single comma can only group digits.
    ///
    /// # Errors
    ///
    /// Returns an error that says what to write.
    pub fn parse_whole_count_prefix(text: &str) -> ParseResult<(Self, &str)> {
        Self::parse_count_prefix_as(text, NumberKind::Whole)
    }

    fn parse_count_prefix_as(text: &str, things: NumberKind) -> ParseResult<(Self, &str)> {
        let (mut number, rest) = Self::parse_prefix_as(text, things)?;
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        match SUFFIXES.iter().find(|(suffix, _)| *suffix == word) {
            Some((_, power)) => {
                number.decimals -= power;
                Ok((number, after.trim_start()))
            }
            None => Ok((number, rest)),
        }
    }

    fn reject_trailing(self, text: &str, rest: &str) -> ParseResult<Self> {
        if rest.is_empty() {
            return Ok(self);
        }
        let message = format!("`{rest}` is not understood here: write {} alone", self.to_plain());
        Err(QuantityError::new(text.trim(), message))
    }

    /// Returns numerator and denominator, not in lowest terms.
    #[must_use]
    pub fn to_fraction(&self) -> (BigUint, BigUint) {
        let ten = BigUint::from(10_u32);
        let power = ten.pow(self.decimals.unsigned_abs());
        if self.decimals > 0 {
            (self.digits.clone(), power)
        } else {
            (&self.digits * power, BigUint::from(1_u32))
        }
    }

    /// Returns the number of digits after the point when written without an exponent.
    #[must_use]
    pub fn decimal_places(&self) -> u32 {
        u32::try_from(self.decimals).unwrap_or(0)
    }

    /// Returns `self` x `factor` if that is a whole number below 2^64.
    #[must_use]
    pub fn to_whole(&self, factor: u64) -> Option<u64> {
        let (numerator, denominator) = self.to_fraction();
        let product = numerator * factor;
        let whole = (&product % &denominator).is_zero();
        whole.then(|| (product / denominator).to_u64()).flatten()
    }

    /// Returns the nearest double, for shares and widths, which are statistics anyway.
    #[must_use]
    pub fn to_f64(&self) -> f64 {
        // The standard library rounds a decimal text correctly.
        format!("{}e{}", self.digits, -self.decimals).parse().unwrap_or(f64::INFINITY)
    }

    /// Writes out all digits, for advice in messages.
    #[must_use]
    pub fn to_plain(&self) -> String {
        let digits = self.digits.to_string();
        let Ok(decimals) = usize::try_from(self.decimals) else {
            let zeros = "0".repeat(self.decimals.unsigned_abs() as usize);
            return if self.digits.is_zero() { digits } else { digits + &zeros };
        };
        if decimals == 0 {
            return digits;
        }
        let digits = format!("{digits:0>width$}", width = decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals);
        format!("{whole}.{fraction}").trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// Parses a whole number of things, such as runs or rows: `1000`, `1e3`, `1k`.
///
/// # Errors
///
/// Returns an error that says what to write.
pub fn parse_whole_number<N: TryFrom<u64>>(text: &str) -> ParseResult<N> {
    let (number, rest) = Decimal::parse_whole_count_prefix(text)?;
    let number = number.reject_trailing(text, rest)?;
    let fail = |message: &str| QuantityError::new(text.trim(), message);
    let whole = number.to_whole(1).ok_or_else(|| {
        let fraction = number.decimals > 0;
        fail(if fraction { "write a whole number" } else { "is too large" })
    })?;
    N::try_from(whole).map_err(|_| fail("is too large"))
}

/// Parses a percentage, with or without the `%` sign, and returns it as a share of 1.
///
/// # Errors
///
/// Returns an error that says what to write.
pub fn parse_percentage(text: &str) -> ParseResult<f64> {
    let number = text.trim().strip_suffix('%').unwrap_or(text);
    Decimal::parse(number).map(|percent| percent.to_f64() / 100.0)
}

/// Parses the exponent at the start of `rest`, and returns it with the text after it. An
/// `e` without digits is the start of a unit, such as `events`.
fn split_exponent<'a>(text: &str, rest: &'a str) -> ParseResult<(i32, &'a str)> {
    let Some(after) = rest.strip_prefix(['e', 'E']) else { return Ok((0, rest)) };
    let (negative, digits) = match after.strip_prefix(['-', '+']) {
        Some(digits) => (after.starts_with('-'), digits),
        None => (false, after),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    if end == 0 {
        return Ok((0, rest));
    }
    let exponent = digits[..end].parse::<i32>().ok().filter(|exponent| *exponent <= MAX_EXPONENT);
    let exponent = exponent.ok_or_else(|| {
        QuantityError::new(text, format!("an exponent is -{MAX_EXPONENT} to {MAX_EXPONENT}"))
    })?;
    Ok((if negative { -exponent } else { exponent }, &digits[end..]))
}

/// Parses digits with an optional point and separators between groups of digits.
fn parse_digits(text: &str, body: &str, things: NumberKind) -> ParseResult<Decimal> {
    let fail = |message: String| Err(QuantityError::new(text, message));
    let bare: String = body.chars().filter(char::is_ascii_digit).collect();
    let mut parts = body.split('.');
    let (whole, fraction) = (parts.next().unwrap_or_default(), parts.next());
    if parts.next().is_some() {
        let tail = || body.split('.').skip(1);
        let grouped = tail().all(|part| part.len() == 3);
        return fail(if grouped {
            format!("points do not group digits here: write {bare}")
        } else {
            "has more than one point: write one, as in 1.5".to_owned()
        });
    }
    if fraction == Some("") {
        return fail(format!("write {whole}, or digits behind the point"));
    }
    if fraction.is_some_and(|fraction| fraction.contains(',')) {
        return fail("write a point before the fraction and nothing between thousands".to_owned());
    }
    if whole.contains(',') {
        check_groups(text, whole, fraction.is_some(), things)?;
    }
    let single = |part: &str| part.split('_').all(|group| !group.is_empty());
    if !single(whole)
        || !fraction.is_none_or(single)
        || (whole.contains('_') && whole.contains(','))
    {
        return fail("write `_` singly and between digits, as in 4_000_000".to_owned());
    }
    let digits = BigUint::parse_bytes(bare.as_bytes(), 10);
    let digits = digits.ok_or_else(|| QuantityError::new(text, "is not a number"))?;
    let decimals = fraction.map_or(0, |it| it.bytes().filter(u8::is_ascii_digit).count());
    Ok(Decimal { digits, decimals: i32::try_from(decimals).unwrap_or(i32::MAX) })
}

/// Checks that commas group digits by threes; a single comma may be meant as a decimal
/// point.
fn check_groups(
    text: &str,
    whole: &str,
    has_fraction: bool,
    things: NumberKind,
) -> ParseResult<()> {
    let groups: Vec<&str> = whole.split(',').collect();
    let bare: String = whole.chars().filter(char::is_ascii_digit).collect();
    let first = groups[0];
    let threes = (1..=3).contains(&first.len())
        && !first.starts_with('0')
        && groups[1..].iter().all(|group| group.len() == 3);
    let message = match (threes, groups.as_slice()) {
        (true, _) if has_fraction || groups.len() > 2 || things == NumberKind::Whole => {
            return Ok(());
        }
        (_, [before, after]) if !has_fraction && after.len() == 3 && !before.starts_with('0') => {
            format!("a single comma may be meant as a point: write {bare} or {before}.{after}")
        }
        (false, [whole, fraction]) if !has_fraction && !fraction.is_empty() => {
            format!("write {whole}.{fraction}, with a point")
        }
        _ => format!("commas stand between groups of three digits: write {bare}"),
    };
    Err(QuantityError::new(text, message))
}

/// Adds thousands separators to a decimal number that is formatted already: `1,234.5`.
#[must_use]
pub fn separate_thousands(plain: &str) -> String {
    let (sign, plain) = plain.strip_prefix('-').map_or(("", plain), |rest| ("-", rest));
    let (whole, fraction) =
        plain.split_once('.').map_or((plain, String::new()), |(w, f)| (w, format!(".{f}")));
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{sign}{text}{fraction}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn thousands_are_separated_before_the_point() {
        for (plain, text) in
            [("0", "0"), ("999", "999"), ("1000", "1,000"), ("-1234567.8901", "-1,234,567.8901")]
        {
            assert_eq!(separate_thousands(plain), text);
        }
    }

    fn plain(text: &str) -> String {
        Decimal::parse_count(text).map_or_else(|error| error.to_string(), |it| it.to_plain())
    }

    #[test]
    fn numbers_are_read_exactly_however_they_are_written() {
        // Expected values are written out by hand.
        for (text, expected) in [
            ("0", "0"),
            ("007.50", "7.5"),
            ("4000000", "4000000"),
            ("4_000_000", "4000000"),
            ("4,000,000", "4000000"),
            ("1,307.68", "1307.68"),
            ("4e6", "4000000"),
            ("4E+6", "4000000"),
            ("4.57e-2", "0.0457"),
            ("0e30", "0"),
            ("1e-14", "0.00000000000001"),
            ("0.000_000_1", "0.0000001"),
            (" 3M ", "3000000"),
            ("7.44 M", "7440000"),
            ("500k", "500000"),
            ("6G", "6000000000"),
            ("6B", "6000000000"),
            ("1T", "1000000000000"),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_refused_says_what_to_write() {
        for (text, advice) in [
            ("0,0457", "write 0.0457, with a point"),
            ("1,5", "write 1.5, with a point"),
            ("1000,000", "write 1000000 or 1000.000"),
            ("1,769", "a single comma may be meant as a point: write 1769 or 1.769"),
            ("1,00,000", "write 100000"),
            ("4.000.000", "write 4000000"),
            ("1.234,56", "write a point before the fraction"),
            ("1.2.3", "more than one point"),
            ("1.", "write 1, or digits behind the point"),
            (".5", "as in 0.5"),
            ("4 000 000", "write 4000000, without spaces"),
            ("4 bananas", "write 4 alone"),
            ("4e6 bananas", "write 4000000 alone"),
            ("4e", "write 4 alone"),
            ("0x10", "write 0 alone"),
            ("-1", "is negative: write 0 or more"),
            ("\u{2212}1", "is negative: write 0 or more"),
            ("+1", "without a sign"),
            ("_1", "write digits"),
            ("1_", "write `_` singly"),
            ("1__0", "write `_` singly"),
            ("10^6", "as 4e6"),
            ("4\u{d7}10", "as 4e6"),
            ("NaN", "write digits"),
            ("inf", "write digits"),
            ("\u{663}", "write digits"),
            ("", "write a number"),
            ("1e3.5", "an exponent is a whole number"),
            ("1e31", "an exponent is -30 to 30"),
            ("1e999999999", "an exponent is -30 to 30"),
            ("1e-99999999999999999999", "an exponent is -30 to 30"),
            ("1.23456789012e-30", "has more than 40 characters when written out"),
            (&"1".repeat(41), "has more than 40 characters"),
        ] {
            let message = plain(text);
            assert!(message.contains(advice), "{text}: {message}");
        }
    }

    #[test]
    fn a_unit_is_left_to_whoever_knows_it() {
        for (text, expected, unit) in [
            ("128MiB", "128", "MiB"),
            ("12 events", "12", "events"),
            ("12events", "12", "events"),
            ("4e3 ms", "4000", "ms"),
            ("1.5 GB-s", "1.5", "GB-s"),
        ] {
            let (number, rest) = Decimal::parse_prefix(text).expect(text);
            assert_eq!((number.to_plain().as_str(), rest), (expected, unit), "{text}");
        }
        let (number, rest) = Decimal::parse_count_prefix("3 M cycles").expect("a count");
        assert_eq!((number.to_plain().as_str(), rest), ("3000000", "cycles"));
    }

    #[test]
    fn whole_numbers_fit_their_type() {
        assert_eq!(parse_whole_number::<u32>("1e3"), Ok(1_000));
        // There is no half of a run, so the comma can only group.
        assert_eq!(parse_whole_number::<u32>("100,000"), Ok(100_000));
        assert_eq!(parse_whole_number::<u64>("18446744073709551615"), Ok(u64::MAX));
        for (text, advice) in [
            ("0.5", "whole number"),
            ("1,5", "with a point"),
            ("0,500", "with a point"),
            ("5e9", "too large"),
            ("1e-3", "whole number"),
            ("", "write"),
        ] {
            let error = parse_whole_number::<u32>(text).expect_err(text).to_string();
            assert!(error.contains(advice), "{text}: {error}");
        }
    }

    proptest! {
        /// Grouping, scaling and padding digits keep the number, so the expected value never went
        /// through the parser.
        #[test]
        fn ways_to_write_a_number_agree(value in 0_u64..1_000_000_000_000, shift in 0_usize..12) {
            let digits = value.to_string();
            let expected = Some(value);
            let whole = |text: &str| Decimal::parse(text).ok().and_then(|it| it.to_whole(1));
            prop_assert_eq!(whole(&digits), expected);
            prop_assert_eq!(whole(&format!("{digits}.000")), expected);
            prop_assert_eq!(whole(&format!("{digits}e0")), expected);
            let padded = format!("{digits:0>width$}", width = shift + 1);
            let (before, after) = padded.split_at(padded.len() - shift);
            let scaled = if after.is_empty() { padded.clone() } else { format!("{before}.{after}") };
            prop_assert_eq!(whole(&format!("{scaled}e{shift}")), expected);
            let mut grouped = String::new();
            for (at, digit) in digits.chars().enumerate() {
                if at > 0 && (digits.len() - at).is_multiple_of(3) {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            let commas = grouped.matches(',').count();
            prop_assert_eq!(whole(&grouped), expected.filter(|_| commas != 1));
            prop_assert_eq!(whole(&grouped.replace(',', "_")), expected);
        }

        /// Accepted numbers equal what the standard library's parser of doubles, an independent
        /// implementation, reads.
        #[test]
        fn nothing_is_read_in_part(text in "[0-9.,_eE+\\-kM ]{0,12}") {
            if let Ok(number) = Decimal::parse(&text) {
                let plain = text.trim().replace([',', '_'], "");
                let other: f64 = plain.parse().unwrap();
                prop_assert!((number.to_f64() - other).abs() <= other * 1e-12, "{text}");
            }
        }
    }
}
