//! Exact numbers of logs: decimals scaled to whole units, without binary floating point.

/// Parses a decimal number in plain notation and returns it times 10^`power`, rounded half up at
/// the last digit; `None` for a sign, an exponent, any other character, or a result beyond 64
/// bits.
#[must_use]
pub fn parse_scaled(text: &[u8], power: usize) -> Option<u64> {
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &[][..]),
    };
    if whole.is_empty() || (fraction.is_empty() && whole.len() != text.len()) {
        return None;
    }
    let mut value: u64 = 0;
    for byte in whole {
        value = value.checked_mul(10)?.checked_add(u64::from(digit_value(*byte)?))?;
    }
    for place in 0..power {
        let digit = match fraction.get(place) {
            Some(byte) => digit_value(*byte)?,
            None => 0,
        };
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    let beyond = fraction.get(power..).unwrap_or(&[]);
    if !beyond.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let rounds_up = beyond.first().is_some_and(|byte| *byte >= b'5');
    value.checked_add(u64::from(rounds_up))
}

const fn digit_value(byte: u8) -> Option<u8> {
    if byte.is_ascii_digit() { Some(byte - b'0') } else { None }
}

/// Parses a decimal number like [`parse_scaled`], but also one with an exponent, such as `1.28E8`,
/// and times any power of ten.
#[must_use]
pub fn parse_exact(text: &[u8], power: i32) -> Option<u64> {
    /// Beyond it a number is 0 or too large; and the text to scale stays short.
    const MOST: i32 = 40;
    let split = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (mantissa, exponent) = match split {
        Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let shift = power.checked_add(exponent).filter(|shift| shift.abs() <= MOST)?;
    match usize::try_from(shift) {
        Ok(shift) => parse_scaled(mantissa, shift),
        Err(_) => parse_scaled(&move_point_left(mantissa, shift.unsigned_abs() as usize)?, 0),
    }
}

fn parse_exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let value = parse_scaled(digits, 0).filter(|_| digits.iter().all(u8::is_ascii_digit))?;
    let value = i32::try_from(value).ok()?;
    Some(if negative { -value } else { value })
}

/// Moves the decimal point of a number in plain notation to the left.
fn move_point_left(text: &[u8], places: usize) -> Option<Vec<u8>> {
    let point = text.iter().position(|byte| *byte == b'.').unwrap_or(text.len());
    let (whole, fraction) = (&text[..point], text.get(point + 1..).unwrap_or(&[]));
    if whole.is_empty() || (fraction.is_empty() && point < text.len()) {
        return None;
    }
    let mut digits = vec![b'0'; (places + 1).saturating_sub(whole.len())];
    digits.extend_from_slice(whole);
    digits.insert(digits.len() - places, b'.');
    digits.extend_from_slice(fraction);
    Some(digits)
}

/// Parses milliseconds, such as `155.51`, into nanoseconds, like [`parse_scaled`].
#[must_use]
pub fn parse_milliseconds(text: &[u8]) -> Option<u64> {
    parse_scaled(text, 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_scaled_exactly_or_not_at_all() {
        for (text, power, wanted) in [
            ("155.51", 6, Some(155_510_000)),
            ("0", 6, Some(0)),
            ("1.0000005", 6, Some(1_000_001)),
            ("1.0000004999", 6, Some(1_000_000)),
            ("18446744073709551615", 0, Some(u64::MAX)),
            ("18446744073709551616", 0, None),
            ("-1", 6, None),
            ("1e3", 6, None),
            ("1,5", 6, None),
            ("1.", 6, None),
            (".5", 6, None),
            ("", 6, None),
            ("NaN", 6, None),
            ("1.2x", 0, None),
            ("1.x", 6, None),
        ] {
            assert_eq!(parse_scaled(text.as_bytes(), power), wanted, "{text}");
        }
    }

    #[test]
    fn exponents_move_the_point() {
        for (text, power, wanted) in [
            ("1.28E8", 0, Some(128_000_000)),
            ("1.28E8", -6, Some(128)),
            ("128000000", -6, Some(128)),
            ("3008.0E6", -6, Some(3008)),
            ("1e-3", 6, Some(1000)),
            ("1.5e+2", 6, Some(150_000_000)),
            ("7", -1, Some(1)),
            ("4", -1, Some(0)),
            ("1.7E12", 6, Some(1_700_000_000_000_000_000)),
            ("1e99", 0, None),
            ("1e2147483648", 0, None),
            ("1e", 0, None),
            ("e3", 0, None),
            ("1e1.5", 0, None),
            ("1.e2", -6, None),
            ("-1e2", 0, None),
            (".5", -1, None),
        ] {
            assert_eq!(parse_exact(text.as_bytes(), power), wanted, "{text} {power}");
        }
    }
}
