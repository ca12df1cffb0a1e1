//! Exact numbers, the representation of every quantity, price and amount.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::{Add, AddAssign, Mul, Sub};
use std::str::FromStr;

use num_bigint::{BigInt, Sign};
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Pow, Signed, ToPrimitive, Zero};
use serde::{Serialize, Serializer};
use thiserror::Error;

use cyclometer_core::quantity::{Decimal, QuantityError};

/// Maximum length of a stored amount that is parsed, in characters.
const MAX_STORED_CHARS: usize = 65_536;

/// Maximum number of decimals that a rounding function returns.
const MAX_ROUNDED_DIGITS: u32 = 100;

/// Number of decimals shown for a number without a finite decimal form.
const CUT_DIGITS: u32 = 40;

/// A fraction of whole numbers of any size, never rounded unless asked.
///
/// Fractions rather than decimals, because tariffs divide by hours, by 1769 MB
/// a vCPU and by exchange rates.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Exact(BigRational);

/// Error: a text is not an exact decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecimalError {
    /// A leading minus sign.
    #[error("is negative")]
    Negative,
    /// An exponent, which could ask for more digits than there is memory.
    #[error("has an exponent: write the digits out")]
    Exponent,
    /// Not of the form `digits` or `digits.digits`, for another reason than those above.
    #[error("is not a decimal number such as 0.20")]
    Malformed,
    /// More characters than the limit.
    #[error("has more than {0} characters")]
    TooLong(usize),
}

/// Direction in which a number between two steps is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RoundingDirection {
    /// To the nearer step, halves away from 0.
    HalfUp,
    /// To the nearer step, halves towards 0.
    HalfDown,
    /// To the nearer step, halves to the even one.
    HalfEven,
    /// Away from 0.
    Up,
    /// Towards 0.
    Down,
}

impl Exact {
    /// Parses a number written by a user, or `numerator/denominator` of two such numbers.
    pub(super) fn parse_fraction(text: &str) -> Result<Self, QuantityError> {
        let Some((numerator, denominator)) = text.split_once('/') else {
            return Decimal::parse(text).map(|number| Self::from(&number));
        };
        let denominator = Self::from(&Decimal::parse(denominator)?);
        let quotient = Self::from(&Decimal::parse(numerator)?).checked_div(&denominator);
        quotient.ok_or_else(|| QuantityError::new(text, "a fraction divides by more than 0"))
    }

    /// Parses `digits` or `digits.digits` of at most `limit` characters: the stored form, which
    /// is not written by hand.
    fn parse_decimal(text: &str, limit: usize) -> Result<Self, DecimalError> {
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
        let scale = u32::try_from(fraction.len()).map_err(|_| DecimalError::TooLong(limit))?;
        Ok(Self(BigRational::new(digits, power_of_ten(scale))))
    }

    /// Parses a decimal, or `numerator/denominator` of two decimals, each of at most `limit`
    /// characters.
    fn parse_ratio(text: &str, limit: usize) -> Result<Self, DecimalError> {
        let Some((numerator, denominator)) = text.split_once('/') else {
            return Self::parse_decimal(text, limit);
        };
        let denominator = Self::parse_decimal(denominator, limit)?;
        Self::parse_decimal(numerator, limit)?
            .checked_div(&denominator)
            .ok_or(DecimalError::Malformed)
    }

    /// Parses the output of [`Exact::to_plain_string`] of any number, also below 0.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`str::parse`], except for numbers below 0.
    pub fn parse_signed(text: &str) -> Result<Self, DecimalError> {
        match text.strip_prefix('-') {
            Some(size) => size.parse().map(|size: Self| Self(-size.0)),
            None => text.parse(),
        }
    }

    /// Creates a whole number of any size.
    #[must_use]
    pub fn from_integer(number: impl Into<BigInt>) -> Self {
        Self(BigRational::from_integer(number.into()))
    }

    /// Returns the number without its sign.
    #[must_use]
    pub fn without_sign(&self) -> Self {
        Self(self.0.abs())
    }

    /// Returns whether the number is 0.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    /// Returns `self / divisor`; `None` if `divisor` is 0.
    #[must_use]
    pub fn checked_div(&self, divisor: &Self) -> Option<Self> {
        (!divisor.is_zero()).then(|| Self(&self.0 / &divisor.0))
    }

    /// Returns one divided by `self`; `None` if `self` is 0.
    #[must_use]
    pub fn reciprocal(&self) -> Option<Self> {
        (!self.is_zero()).then(|| Self(self.0.recip()))
    }

    /// Returns `self / divisor`, rounded half up to `digits` decimals (at most 100); `None` if
    /// `divisor` is 0.
    #[must_use]
    pub fn ratio_to(&self, divisor: &Self, digits: u32) -> Option<Self> {
        self.checked_div(divisor).map(|ratio| ratio.round_to(digits, RoundingDirection::HalfUp))
    }

    /// Returns the smallest multiple of `step` that is not below `self`; `self` if `step` is 0.
    #[must_use]
    pub fn up_to_multiple(&self, step: &Self) -> Self {
        match self.checked_div(step) {
            Some(steps) => Self(steps.0.ceil() * &step.0),
            None => self.clone(),
        }
    }

    /// Returns the amount by which `self` exceeds `floor`, or 0.
    #[must_use]
    pub fn excess_over(&self, floor: &Self) -> Self {
        if self > floor { self - floor } else { Self::default() }
    }

    /// Rounds to `digits` decimals (at most 100).
    #[must_use]
    pub fn round_to(&self, digits: u32, direction: RoundingDirection) -> Self {
        let scale = power_of_ten(digits.min(MAX_ROUNDED_DIGITS));
        let scaled = &self.0 * &scale;
        Self(BigRational::new(round_to_integer(&scaled, direction), scale))
    }

    /// Formats for display, rounded half up to exactly `digits` decimals (at most 100).
    #[must_use]
    pub fn to_rounded_string(&self, digits: u32) -> String {
        let digits = digits.min(MAX_ROUNDED_DIGITS);
        let scaled = round_to_integer(&(&self.0 * power_of_ten(digits)), RoundingDirection::HalfUp);
        insert_decimal_point(&scaled, digits)
    }

    /// Formats for display, rounded half up to `digits` significant digits, so that a
    /// ten-millionth keeps as many of them as a million does.
    #[must_use]
    pub fn to_significant_string(&self, digits: NonZeroU64) -> String {
        if self.is_zero() {
            return "0".to_owned();
        }
        let digits = i64::try_from(digits.get()).unwrap_or(i64::MAX).min(100);
        let decimals = digits - 1 - self.decimal_exponent();
        let Ok(places) = u32::try_from(decimals) else {
            let step = Self::from_integer(power_of_ten(u32::try_from(-decimals).unwrap_or(0)));
            let steps = round_to_integer(&(&self.0 / &step.0), RoundingDirection::HalfUp);
            return (steps * step.0.to_integer()).to_string();
        };
        let scaled = round_to_integer(&(&self.0 * power_of_ten(places)), RoundingDirection::HalfUp);
        strip_trailing_zeros(insert_decimal_point(&scaled, places))
    }

    /// Returns the exponent of the first digit: 0 for 1 to 9, -1 for 0.1.
    fn decimal_exponent(&self) -> i64 {
        let length = |number: &BigInt| {
            i64::try_from(number.magnitude().to_string().len()).unwrap_or(i64::MAX)
        };
        let guess = length(self.0.numer()) - length(self.0.denom());
        let power = power_of_ten(u32::try_from(guess.unsigned_abs()).unwrap_or(u32::MAX));
        let power = BigRational::from_integer(power);
        let power = if guess < 0 { power.recip() } else { power };
        if self.0.abs() < power { guess - 1 } else { guess }
    }

    /// Returns the number of decimals; `None` if they never end.
    fn decimal_places(&self) -> Option<u32> {
        let (rest, twos) = remove_factor(self.0.denom().clone(), 2);
        let (rest, fives) = remove_factor(rest, 5);
        rest.is_one().then(|| twos.max(fives))
    }

    /// Formats with all digits, no exponent and no trailing zeros: the form that is stored. A
    /// number without a finite decimal form is rounded half up at the 40th decimal: see
    /// [`Exact::to_fraction_string`].
    #[must_use]
    pub fn to_plain_string(&self) -> String {
        let decimals = self.decimal_places().unwrap_or(CUT_DIGITS);
        let scaled =
            round_to_integer(&(&self.0 * power_of_ten(decimals)), RoundingDirection::HalfUp);
        strip_trailing_zeros(insert_decimal_point(&scaled, decimals))
    }

    /// Returns `numerator/denominator` in lowest terms, where there is no finite decimal form.
    #[must_use]
    pub fn to_fraction_string(&self) -> Option<String> {
        self.decimal_places().is_none().then(|| format!("{}/{}", self.0.numer(), self.0.denom()))
    }

    /// Returns the value if it is a whole number below 2^64.
    #[must_use]
    pub fn to_u64(&self) -> Option<u64> {
        if !self.0.is_integer() {
            return None;
        }
        u64::try_from(self.0.numer()).ok()
    }

    /// Returns the value rounded to a double; `None` if it is out of range.
    #[must_use]
    pub fn to_f64(&self) -> Option<f64> {
        self.0.to_f64().filter(|value| value.is_finite())
    }

    /// Returns numerator and denominator, in lowest terms.
    pub(super) fn as_fraction(&self) -> (&BigInt, &BigInt) {
        (self.0.numer(), self.0.denom())
    }
}

fn round_to_integer(value: &BigRational, direction: RoundingDirection) -> BigInt {
    let (numerator, denominator) = (value.numer().abs(), value.denom());
    let (quotient, rest) = numerator.div_rem(denominator);
    let twice: BigInt = rest.clone() * 2;
    let up = match direction {
        RoundingDirection::HalfUp => &twice >= denominator,
        RoundingDirection::HalfDown => &twice > denominator,
        RoundingDirection::HalfEven => {
            &twice > denominator || (&twice == denominator && quotient.is_odd())
        }
        RoundingDirection::Up => !rest.is_zero(),
        RoundingDirection::Down => false,
    };
    let magnitude = if up { quotient + 1 } else { quotient };
    if value.is_negative() { -magnitude } else { magnitude }
}

/// Formats `scaled` with a point before its last `decimals` digits.
fn insert_decimal_point(scaled: &BigInt, decimals: u32) -> String {
    let decimals = decimals as usize;
    let sign = if scaled.sign() == Sign::Minus { "-" } else { "" };
    let digits = scaled.magnitude().to_string();
    if decimals == 0 {
        return format!("{sign}{digits}");
    }
    let digits = format!("{digits:0>width$}", width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    format!("{sign}{whole}.{fraction}")
}

fn strip_trailing_zeros(text: String) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Removes every factor `prime` from `value`; returns the rest and the number of factors.
fn remove_factor(mut value: BigInt, prime: u32) -> (BigInt, u32) {
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

impl Default for Exact {
    fn default() -> Self {
        Self(BigRational::zero())
    }
}

impl From<u64> for Exact {
    fn from(value: u64) -> Self {
        Self::from_integer(value)
    }
}

impl From<&Decimal> for Exact {
    fn from(number: &Decimal) -> Self {
        let (numerator, denominator) = number.to_fraction();
        Self(BigRational::new(numerator.into(), denominator.into()))
    }
}

impl FromStr for Exact {
    type Err = DecimalError;

    /// Parses the output of [`Exact::to_plain_string`] or [`Exact::to_fraction_string`].
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        Self::parse_ratio(text, MAX_STORED_CHARS)
    }
}

impl Mul for &Exact {
    type Output = Exact;

    fn mul(self, other: Self) -> Exact {
        Exact(&self.0 * &other.0)
    }
}

impl Add for &Exact {
    type Output = Exact;

    fn add(self, other: Self) -> Exact {
        Exact(&self.0 + &other.0)
    }
}

impl Sub for &Exact {
    type Output = Exact;

    fn sub(self, other: Self) -> Exact {
        Exact(&self.0 - &other.0)
    }
}

impl AddAssign<&Exact> for Exact {
    fn add_assign(&mut self, other: &Exact) {
        self.0 += &other.0;
    }
}

impl fmt::Display for Exact {
    /// Writes all digits; with a precision (`{:.6}`), rounded half up to it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match f.precision().map(u32::try_from) {
            None => self.to_plain_string(),
            Some(digits) => self.to_rounded_string(digits.unwrap_or(MAX_ROUNDED_DIGITS)),
        };
        // Not `pad`, which would cut the text at the precision.
        f.pad_integral(true, "", &text)
    }
}

impl fmt::Debug for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exact({}/{})", self.0.numer(), self.0.denom())
    }
}

impl Serialize for Exact {
    /// Serializes as a string, since a JSON number would be read as binary floating point.
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
    fn texts_come_back() {
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
        assert_eq!("1".repeat(65_537).parse::<Exact>(), Err(DecimalError::TooLong(65_536)));
        assert_eq!("1/0".parse::<Exact>(), Err(DecimalError::Malformed));
    }

    #[test]
    fn what_has_no_finite_decimal_keeps_its_fraction() {
        let third = exact("1").checked_div(&exact("3")).unwrap();
        assert_eq!(third.to_fraction_string().as_deref(), Some("1/3"));
        assert_eq!(third.to_plain_string(), format!("0.{}", "3".repeat(40)));
        assert_eq!("1/3".parse(), Ok(third.clone()));
        assert_eq!(&(&third + &third) + &third, exact("1"));
        assert_eq!(exact("1073741824").reciprocal().unwrap().to_fraction_string(), None);
        assert_eq!(
            exact("1073741824").reciprocal().unwrap().to_plain_string(),
            "0.000000000931322574615478515625"
        );
        assert_eq!(exact("0").reciprocal(), None);
    }

    #[test]
    fn display_rounds_half_up() {
        assert_eq!(exact("26.085").to_rounded_string(2), "26.09");
        assert_eq!(exact("0.005").to_rounded_string(2), "0.01");
        assert_eq!(exact("0.0049999999999999999999999").to_rounded_string(2), "0.00");
        assert_eq!(exact("9.995").to_rounded_string(2), "10.00");
        assert_eq!(exact("7").to_rounded_string(2), "7.00");
        assert_eq!(exact("2.5").to_rounded_string(0), "3");
        assert_eq!((&exact("1") - &exact("1.005")).to_rounded_string(2), "-0.01");
        assert_eq!(
            format!("[{:>8.2}] [{:<6}]", exact("1.005"), exact("1.5")),
            "[    1.01] [1.5   ]"
        );
    }

    #[test]
    fn directions_differ_where_they_should() {
        let round = |text, direction| exact(text).round_to(2, direction).to_plain_string();
        for (direction, half, even, below) in [
            (RoundingDirection::HalfUp, "26.09", "26.1", "26.08"),
            (RoundingDirection::HalfDown, "26.08", "26.09", "26.08"),
            (RoundingDirection::HalfEven, "26.08", "26.1", "26.08"),
            (RoundingDirection::Up, "26.09", "26.1", "26.09"),
            (RoundingDirection::Down, "26.08", "26.09", "26.08"),
        ] {
            assert_eq!(round("26.085", direction), half, "{direction:?}");
            assert_eq!(round("26.095", direction), even, "{direction:?}");
            assert_eq!(round("26.0801", direction), below, "{direction:?}");
            assert_eq!(round("26.08", direction), "26.08", "{direction:?}");
        }
    }

    #[test]
    fn packages_are_whole() {
        let million = exact("1000000");
        assert_eq!(exact("500000").up_to_multiple(&million), million);
        assert_eq!(exact("1000000").up_to_multiple(&million), million);
        assert_eq!(exact("1000000.5").up_to_multiple(&million), exact("2000000"));
        assert_eq!(exact("0").up_to_multiple(&million), exact("0"));
        assert_eq!(exact("7").up_to_multiple(&exact("0")), exact("7"));
    }

    #[test]
    fn small_amounts_keep_their_significant_digits() {
        let three = NonZeroU64::new(3).unwrap();
        for (text, shown) in [
            ("0.00000043333420833", "0.000000433"),
            ("51200.1024", "51200"),
            ("51250", "51300"),
            ("0.09996", "0.1"),
            ("0.5", "0.5"),
            ("999.6", "1000"),
            ("12.34", "12.3"),
            ("1", "1"),
            ("10", "10"),
        ] {
            assert_eq!(exact(text).to_significant_string(three), shown, "{text}");
        }
        assert_eq!(Exact::default().to_significant_string(three), "0");
        assert_eq!("1/3".parse::<Exact>().unwrap().to_significant_string(three), "0.333");
    }

    #[test]
    fn ratios_round_half_up_and_never_divide_by_zero() {
        assert_eq!(exact("1").ratio_to(&exact("3"), 4), Some(exact("0.3333")));
        assert_eq!(exact("2").ratio_to(&exact("3"), 4), Some(exact("0.6667")));
        assert_eq!(exact("1").ratio_to(&exact("8"), 2), Some(exact("0.13")));
        assert_eq!(exact("0.0001").ratio_to(&exact("1000"), 7), Some(exact("0.0000001")));
        assert_eq!(exact("1000").ratio_to(&exact("0.001"), 0), Some(exact("1000000")));
        assert_eq!(exact("0").ratio_to(&exact("5"), 2), Some(exact("0")));
        assert_eq!(exact("5").ratio_to(&exact("0"), 2), None);
    }

    #[test]
    fn whole_numbers_below_2_to_the_64_are_integers() {
        assert_eq!(exact("18446744073709551615").to_u64(), Some(u64::MAX));
        assert_eq!(exact("18446744073709551616").to_u64(), None);
        assert_eq!(exact("0.5").to_u64(), None);
    }
}
