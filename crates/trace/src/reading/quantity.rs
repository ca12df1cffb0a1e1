//! Numbers of logs in any unit, scaled exactly to the unit in which they are stored.

use crate::format::Reject;

/// Factor from the unit of a log to the unit that is stored: `multiply / divide`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnitScale {
    pub multiply: u64,
    pub divide: u64,
}

impl UnitScale {
    /// Returns a scale that multiplies.
    pub const fn times(multiply: u64) -> Self {
        Self { multiply, divide: 1 }
    }

    /// The number is stored as it is.
    pub const ONE: Self = Self::times(1);
    /// Microseconds to nanoseconds.
    pub const MICROSECONDS: Self = Self::times(1_000);
    /// Milliseconds to nanoseconds.
    pub const MILLISECONDS: Self = Self::times(1_000_000);
    /// Seconds to nanoseconds.
    pub const SECONDS: Self = Self::times(1_000_000_000);
    /// MiB to bytes.
    pub const MEBIBYTES: Self = Self::times(1 << 20);
}

/// Words for what can be wrong with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NumberCauses {
    pub number: &'static str,
    pub negative: &'static str,
    pub range: &'static str,
}

/// Words for a time span.
pub(crate) const DURATION: NumberCauses = NumberCauses {
    number: "a duration that is no number",
    negative: "a negative duration",
    range: "a duration of more than 292 years",
};

/// Words for a point in time that is given as a number.
pub(crate) const EPOCH: NumberCauses = NumberCauses {
    number: "a time that is no number",
    negative: "a time before 1970",
    range: "a time after 2262",
};

/// Words for a memory size, or a number of bytes.
pub(crate) const SIZE: NumberCauses = NumberCauses {
    number: "a size that is no number",
    negative: "a negative size",
    range: "a size beyond 63 bits",
};

/// Words for a count, or another number.
pub(crate) const COUNT: NumberCauses = NumberCauses {
    number: "a count that is no number",
    negative: "a negative count",
    range: "a count beyond 63 bits",
};

/// Digits that are kept; those after them cannot change a rounded result by more than a
/// hundred-thousandth of its unit.
const MAX_DIGITS: u32 = 25;

/// Parses a decimal number, which may have an exponent, and scales it; the result is rounded half
/// up, without binary floating point.
///
/// # Errors
///
/// Rejects text that is no number, a number below 0, and a result beyond the 63 bits that the
/// database has for it.
pub(crate) fn parse_quantity(
    text: &[u8],
    scale: UnitScale,
    causes: NumberCauses,
) -> Result<u64, Reject> {
    let text = text.trim_ascii();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let number = Decimal::parse(digits).ok_or(Reject::new(causes.number))?;
    if number.mantissa == 0 {
        return Ok(0);
    }
    if negative {
        return Err(Reject::new(causes.negative));
    }
    let value = number.scale(scale).filter(|value| i64::try_from(*value).is_ok());
    value.ok_or(Reject::new(causes.range))
}

/// Number `mantissa` times ten to the power of `exponent`.
#[derive(Debug, Clone, Copy)]
struct Decimal {
    mantissa: u128,
    exponent: i64,
}

impl Decimal {
    fn parse(text: &[u8]) -> Option<Self> {
        let at = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
        let (number, power) = match at {
            Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
            None => (text, 0),
        };
        let mut decimal = Self { mantissa: 0, exponent: power };
        let (mut seen, mut kept, mut point) = (0_u64, 0, false);
        for byte in number {
            if *byte == b'.' && !point && seen > 0 {
                point = true;
                continue;
            }
            let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
            seen += 1;
            if kept < MAX_DIGITS {
                // In 64 bits as long as they are enough.
                decimal.mantissa = match u64::try_from(decimal.mantissa) {
                    Ok(small) if kept < 18 => u128::from(small * 10 + u64::from(digit)),
                    _ => decimal.mantissa * 10 + u128::from(digit),
                };
                kept += u32::from(decimal.mantissa > 0);
                decimal.exponent -= i64::from(point);
            } else {
                decimal.exponent += i64::from(!point);
            }
        }
        (seen > 0 && number.last() != Some(&b'.')).then_some(decimal)
    }

    fn scale(self, scale: UnitScale) -> Option<u64> {
        self.scale_small(scale).or_else(|| self.scale_any(scale))
    }

    /// Scales in 64 bits, which most numbers fit in; `None` if this one does not.
    fn scale_small(self, scale: UnitScale) -> Option<u64> {
        let places = u32::try_from(self.exponent.checked_neg()?).ok()?;
        let value = u64::try_from(self.mantissa).ok()?.checked_mul(scale.multiply)?;
        let divide = 10_u64.checked_pow(places)?.checked_mul(scale.divide.max(1))?;
        let (whole, rest) = (value / divide, value % divide);
        whole.checked_add(u64::from(rest >= divide - rest))
    }

    fn scale_any(self, scale: UnitScale) -> Option<u64> {
        let mut value = self.mantissa.checked_mul(u128::from(scale.multiply))?;
        let mut divide = u128::from(scale.divide.max(1));
        if self.exponent >= 0 {
            let power = 10_u128.checked_pow(u32::try_from(self.exponent).ok()?)?;
            value = value.checked_mul(power)?;
        } else {
            let power = u32::try_from(self.exponent.unsigned_abs()).ok();
            match power.and_then(|it| 10_u128.checked_pow(it)).and_then(|it| divide.checked_mul(it))
            {
                Some(product) => divide = product,
                // More than 38 places: below half of anything.
                None => return Some(0),
            }
        }
        let whole = value / divide;
        let rest = value % divide;
        let rounded = whole.checked_add(u128::from(rest >= divide - rest))?;
        u64::try_from(rounded).ok()
    }
}

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let fold = |sum: i64, byte: &u8| (sum * 10 + i64::from(byte - b'0')).min(1_000_000);
    let value = digits.iter().fold(0, fold);
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_scaled_exactly() {
        let ms = UnitScale::MILLISECONDS;
        for (text, scale, wanted) in [
            ("155.51", ms, 155_510_000),
            ("1.28E8", UnitScale::ONE, 128_000_000),
            ("1e-6", ms, 1),
            ("4.9e-7", ms, 0),
            ("5e-7", ms, 1),
            ("-0.0", ms, 0),
            ("+1", ms, 1_000_000),
            (" 2 ", ms, 2_000_000),
            // Beyond 2^53, where floats leave out every second number.
            ("9007199254740993", UnitScale::ONE, 9_007_199_254_740_993),
            ("1747081446154000001", UnitScale::ONE, 1_747_081_446_154_000_001),
            ("9223372036854775807", UnitScale::ONE, 9_223_372_036_854_775_807),
            // The value of the double 0.1, in full.
            (
                "0.1000000000000000055511151231257827021181583404541015625",
                UnitScale::SECONDS,
                100_000_000,
            ),
            ("0.00000000000000000000000000000000000000000000000001", ms, 0),
            ("1e-1000", ms, 0),
            ("0e999999999999999999999", ms, 0),
            // A third of 10.
            ("10", UnitScale { multiply: 1, divide: 3 }, 3),
            ("000000000000000000000000000000000000001.5", UnitScale::MEBIBYTES, 1_572_864),
        ] {
            assert_eq!(parse_quantity(text.as_bytes(), scale, DURATION), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn both_ways_of_scaling_agree() {
        let scales = [1, 1_000, 1_000_000, 1_000_000_000, 1 << 20, 60_000_000_000];
        for text in ["0.5", "1.499999", "155.51", "123456789012345678", "0.000000000000001", "7"] {
            for multiply in scales {
                for divide in [1, 3, 1_000] {
                    let number = Decimal::parse(text.as_bytes()).expect("a number");
                    let scale = UnitScale { multiply, divide };
                    let small = number.scale_small(scale);
                    assert!(small.is_none() || small == number.scale_any(scale), "{text}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_is_rejected_by_its_cause() {
        for (text, cause) in [
            ("", DURATION.number),
            ("-", DURATION.number),
            ("1,5", DURATION.number),
            ("1.", DURATION.number),
            (".5", DURATION.number),
            ("1.2.3", DURATION.number),
            ("NaN", DURATION.number),
            ("inf", DURATION.number),
            ("0x10", DURATION.number),
            ("1e", DURATION.number),
            ("1e5.0", DURATION.number),
            ("1 000", DURATION.number),
            ("1\0", DURATION.number),
            ("-0.5", DURATION.negative),
            ("-1e-9", DURATION.negative),
            ("9223372036854.775808", DURATION.range),
            ("1e30", DURATION.range),
            ("1e999999999999999999999999", DURATION.range),
        ] {
            let given = parse_quantity(text.as_bytes(), UnitScale::MILLISECONDS, DURATION);
            assert_eq!(given, Err(Reject::new(cause)), "{text}");
        }
    }
}
