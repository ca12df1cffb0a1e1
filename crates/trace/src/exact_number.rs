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
}
