//! Exact decimal numbers: what every quantity, price and amount is made of.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::{AddAssign, Mul};
use std::str::FromStr;

use bigdecimal::num_bigint::BigInt;
use bigdecimal::{BigDecimal, RoundingMode, Zero};
use serde::{Serialize, Serializer};
use thiserror::Error;

/// Longest decimal accepted in a price model, in characters. The smallest
/// price known to us has 14 decimals; what is longer is a mistake or an attack.
pub(super) const MAX_FILE_CHARS: usize = 40;

/// Longest decimal accepted when a stored amount is read back, in characters.
/// The longest product of four factors, a price and a `per` stays far below it.
const MAX_STORED_CHARS: usize = 1024;

/// Most digits after the point that a rounding function gives.
const MAX_ROUNDED_DIGITS: u32 = 100;

/// A decimal of any size, never negative, never rounded unless asked.
///
/// There is no division: what a model divides by is turned into its exact
/// reciprocal while the model is read (see [`Exact::reciprocal`]).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Exact(BigDecimal);

/// Why a text is not an exact decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecimalError {
    /// A leading minus sign.
    #[error("is negative")]
    Negative,
    /// An exponent, which could ask for more digits than there is memory.
    #[error("has an exponent: write the digits out")]
    Exponent,
    /// Neither of the above, and not `digits` or `digits.digits` either.
    #[error("is not a decimal number such as 0.20")]
    Malformed,
    /// More characters than the limit.
    #[error("has more than {0} characters")]
    TooLong(usize),
}

impl Exact {
    /// Reads `digits` or `digits.digits` of at most `limit` characters.
    pub(super) fn parse(text: &str, limit: usize) -> Result<Self, DecimalError> {
        if text.len() > limit {
            return Err(DecimalError::TooLong(limit));
        }
        if text.starts_with('-') {
            return Err(DecimalError::Negative);
        }
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return Err(DecimalError::Malformed),
            Some(parts) => parts,
            None => (text, ""),
        };
        let digits = format!("{whole}{fraction}");
        if whole.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let exponent =
                text.starts_with(|c: char| c.is_ascii_digit()) && text.contains(['e', 'E']);
            return Err(if exponent { DecimalError::Exponent } else { DecimalError::Malformed });
        }
        let digits = BigInt::parse_bytes(digits.as_bytes(), 10).ok_or(DecimalError::Malformed)?;
        let scale = i64::try_from(fraction.len()).map_err(|_| DecimalError::TooLong(limit))?;
        Ok(Self(BigDecimal::new(digits, scale)))
    }

    /// The product of whole numbers, of any size.
    pub(super) fn product(factors: impl IntoIterator<Item = u128>) -> Self {
        let digits = factors.into_iter().map(BigInt::from).product();
        Self(BigDecimal::new(digits, 0))
    }

    /// Whether it is 0.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    /// One divided by `self`, if that is a finite decimal: 1/2^30 is, 1/3 is
    /// not, nor is 1/0.
    #[must_use]
    pub fn reciprocal(&self) -> Option<Self> {
        if self.is_zero() {
            return None;
        }
        let (digits, scale) = self.0.normalized().into_bigint_and_scale();
        let (rest, twos) = without_factor(digits.clone(), 2);
        let (rest, fives) = without_factor(rest, 5);
        if rest != BigInt::from(1) {
            return None;
        }
        let power = twos.max(fives);
        let numerator = power_of_ten(power) / digits;
        Some(Self(BigDecimal::new(numerator, i64::from(power) - scale)))
    }

    /// `self / divisor`, rounded half up to `digits` decimals (at most 100);
    /// `None` if `divisor` is 0.
    #[must_use]
    pub fn ratio(&self, divisor: &Self, digits: u32) -> Option<Self> {
        if divisor.is_zero() {
            return None;
        }
        let digits = digits.min(MAX_ROUNDED_DIGITS);
        let (mut numerator, above) = self.0.clone().into_bigint_and_scale();
        let (mut denominator, below) = divisor.0.clone().into_bigint_and_scale();
        let shift = i64::from(digits) + below - above;
        let scaled = power_of_ten(u32::try_from(shift.unsigned_abs()).ok()?);
        if shift >= 0 {
            numerator *= scaled;
        } else {
            denominator *= scaled;
        }
        let quotient = (numerator * 2 + &denominator) / (denominator * 2);
        Some(Self(BigDecimal::new(quotient, i64::from(digits))))
    }

    /// Rounded half up to `digits` decimals (at most 100).
    #[must_use]
    pub fn round_half_up(&self, digits: u32) -> Self {
        let digits = i64::from(digits.min(MAX_ROUNDED_DIGITS));
        Self(self.0.with_scale_round(digits, RoundingMode::HalfUp))
    }

    /// For display: half up, with exactly `digits` decimals (at most 100).
    #[must_use]
    pub fn rounded(&self, digits: u32) -> String {
        self.round_half_up(digits).0.to_plain_string()
    }

    /// For display: half up to that many significant digits, so that a
    /// ten-millionth keeps as many of them as a million does.
    #[must_use]
    pub fn significant(&self, digits: NonZeroU64) -> String {
        if self.is_zero() {
            return "0".to_owned();
        }
        let digits = digits.min(const { NonZeroU64::MIN.saturating_add(99) });
        let rounded = self.0.with_precision_round(digits, RoundingMode::HalfUp);
        rounded.normalized().to_plain_string()
    }

    /// All digits, no exponent, no trailing zeros: the form that is stored.
    #[must_use]
    pub fn to_plain_string(&self) -> String {
        self.0.normalized().to_plain_string()
    }
}

/// `value` with every factor `prime` taken out, and how many there were.
fn without_factor(mut value: BigInt, prime: u32) -> (BigInt, u32) {
    let mut count = 0;
    while (&value % prime).is_zero() {
        value /= prime;
        count += 1;
    }
    (value, count)
}

fn power_of_ten(exponent: u32) -> BigInt {
    BigInt::from(10).pow(exponent)
}

impl From<u64> for Exact {
    fn from(value: u64) -> Self {
        Self(BigDecimal::from(value))
    }
}

impl FromStr for Exact {
    type Err = DecimalError;

    /// Reads back what [`Exact::to_plain_string`] wrote.
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        Self::parse(text, MAX_STORED_CHARS)
    }
}

impl Mul for &Exact {
    type Output = Exact;

    fn mul(self, other: Self) -> Exact {
        Exact(&self.0 * &other.0)
    }
}

impl AddAssign<&Exact> for Exact {
    fn add_assign(&mut self, other: &Exact) {
        self.0 += &other.0;
    }
}

impl fmt::Display for Exact {
    /// All digits; with a precision (`{:.6}`), rounded half up to it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match f.precision().map(u32::try_from) {
            None => self.to_plain_string(),
            Some(digits) => self.rounded(digits.unwrap_or(MAX_ROUNDED_DIGITS)),
        };
        // Not `pad`, which would cut the text at the precision.
        f.pad_integral(true, "", &text)
    }
}

impl fmt::Debug for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exact({})", self.to_plain_string())
    }
}

impl Serialize for Exact {
    /// As a string, since a JSON number would be read as binary floating point.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_plain_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(text: &str) -> Exact {
        text.parse().unwrap()
    }

    #[test]
    fn decimals_are_read_and_written_without_loss() {
        for text in ["0", "1", "0.2", "0.0000166667", "1000000", "123456789.987654321"] {
            assert_eq!(exact(text).to_plain_string(), text);
        }
        assert_eq!(exact("007.50").to_plain_string(), "7.5");
        assert_eq!(exact("0.000000000000000000000001").to_string(), "0.000000000000000000000001");
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        for text in ["", ".", "1.", ".5", "+1", "1,5", "1_000", " 1", "NaN", "inf", "1.2.3", "٣"] {
            assert_eq!(text.parse::<Exact>(), Err(DecimalError::Malformed), "{text:?}");
        }
        for text in ["1e999999999", "1E-999999999", "2.5e3"] {
            assert_eq!(text.parse::<Exact>(), Err(DecimalError::Exponent), "{text:?}");
        }
        assert_eq!("-0.2".parse::<Exact>(), Err(DecimalError::Negative));
        assert_eq!("1".repeat(1025).parse::<Exact>(), Err(DecimalError::TooLong(1024)));
    }

    #[test]
    fn reciprocals_are_exact_or_absent() {
        assert_eq!(
            exact("1073741824").reciprocal(),
            Some(exact("0.000000000931322574615478515625"))
        );
        assert_eq!(exact("1000000000").reciprocal(), Some(exact("0.000000001")));
        assert_eq!(exact("0.5").reciprocal(), Some(exact("2")));
        assert_eq!(exact("1").reciprocal(), Some(exact("1")));
        for text in ["0", "3", "3600", "0.7"] {
            assert_eq!(exact(text).reciprocal(), None, "{text}");
        }
    }

    #[test]
    fn display_rounds_half_up() {
        assert_eq!(exact("26.085").rounded(2), "26.09");
        assert_eq!(exact("0.005").rounded(2), "0.01");
        assert_eq!(exact("0.0049999999999999999999999").rounded(2), "0.00");
        assert_eq!(exact("9.995").rounded(2), "10.00");
        assert_eq!(exact("7").rounded(2), "7.00");
        assert_eq!(exact("2.5").rounded(0), "3");
        assert_eq!(
            format!("[{:>8.2}] [{:<6}]", exact("1.005"), exact("1.5")),
            "[    1.01] [1.5   ]"
        );
    }

    #[test]
    fn small_amounts_keep_their_significant_digits() {
        let three = NonZeroU64::new(3).unwrap();
        assert_eq!(exact("0.00000043333420833").significant(three), "0.000000433");
        assert_eq!(exact("51200.1024").significant(three), "51200");
        assert_eq!(exact("0.09996").significant(three), "0.1");
        assert_eq!(exact("0.5").significant(three), "0.5");
        assert_eq!(Exact::default().significant(three), "0");
    }

    #[test]
    fn ratios_round_half_up_and_never_divide_by_zero() {
        assert_eq!(exact("1").ratio(&exact("3"), 4), Some(exact("0.3333")));
        assert_eq!(exact("2").ratio(&exact("3"), 4), Some(exact("0.6667")));
        assert_eq!(exact("1").ratio(&exact("8"), 2), Some(exact("0.13")));
        assert_eq!(exact("0.0001").ratio(&exact("1000"), 7), Some(exact("0.0000001")));
        assert_eq!(exact("1000").ratio(&exact("0.001"), 0), Some(exact("1000000")));
        assert_eq!(exact("0").ratio(&exact("5"), 2), Some(exact("0")));
        assert_eq!(exact("5").ratio(&exact("0"), 2), None);
    }
}
