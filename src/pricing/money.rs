//! Amounts of money, and the policies that round them.

use std::fmt;
use std::iter::Sum;
use std::num::NonZeroU64;
use std::ops::{Add, AddAssign};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::number::{DecimalError, Exact};

/// An exact, non-negative amount in the currency of its price model.
///
/// The currency is not part of the type: amounts of models with different
/// currencies must not be added or compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Money(Exact);

impl Money {
    pub(super) const fn new(amount: Exact) -> Self {
        Self(amount)
    }

    /// The number without its meaning.
    #[must_use]
    pub const fn as_exact(&self) -> &Exact {
        &self.0
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    /// `count` times this amount, exactly.
    #[must_use]
    pub fn times(&self, count: u64) -> Self {
        Self(&self.0 * &Exact::from(count))
    }

    /// All digits, no exponent: the form that is stored, and read back by
    /// [`str::parse`].
    #[must_use]
    pub fn to_plain_string(&self) -> String {
        self.0.to_plain_string()
    }

    /// For display: half up, with exactly `digits` decimals (at most 100).
    #[must_use]
    pub fn rounded(&self, digits: u32) -> String {
        self.0.rounded(digits)
    }

    /// For display: half up to that many significant digits.
    #[must_use]
    pub fn significant(&self, digits: NonZeroU64) -> String {
        self.0.significant(digits)
    }

    /// How many times `other` this is, half up to `digits` decimals (at most
    /// 100); `None` if `other` is nothing.
    #[must_use]
    pub fn ratio(&self, other: &Self, digits: u32) -> Option<Exact> {
        self.0.ratio(&other.0, digits)
    }
}

impl FromStr for Money {
    type Err = DecimalError;

    /// Reads back what [`Money::to_plain_string`] wrote.
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Money {
    /// All digits, never an exponent; with a precision (`{:.6}`), rounded half up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AddAssign<&Self> for Money {
    fn add_assign(&mut self, other: &Self) {
        self.0 += &other.0;
    }
}

impl Add for Money {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += &other;
        self
    }
}

impl<'a> Sum<&'a Self> for Money {
    fn sum<I: Iterator<Item = &'a Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), |mut total, amount| {
            total += amount;
            total
        })
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

/// Where a provider rounds. It is applied in one place only, when the charges
/// of a billing period are settled: never to a single invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// Nowhere: the total is exact, and only its display is rounded.
    None,
    /// Each charge's total half up to the cent, then their sum.
    LineHalfUp,
}

impl Rounding {
    /// The name used in price models.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::LineHalfUp => "line_half_up",
        }
    }

    /// The total of a billing period from the exact totals of its charges.
    #[must_use]
    pub fn settle<'a>(self, charges: impl IntoIterator<Item = &'a Money>) -> Money {
        let charges = charges.into_iter();
        match self {
            Self::None => charges.sum(),
            Self::LineHalfUp => charges.map(|amount| Money(amount.0.round_half_up(2))).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    #[test]
    fn ten_dimes_are_a_dollar() {
        let dimes = vec![money("0.1"); 10];
        assert_eq!(dimes.iter().sum::<Money>(), money("1"));
        assert_eq!(dimes.into_iter().sum::<Money>().to_string(), "1");
        assert_eq!(money("0.1").times(3), money("0.3"));
        assert_eq!(money("0.1") + money("0.2"), money("0.30"));
    }

    #[test]
    fn json_gets_a_string() {
        assert_eq!(serde_json::to_string(&money("0.0000002")).unwrap(), "\"0.0000002\"");
    }

    #[test]
    fn lines_are_rounded_before_they_are_added() {
        let lines = [money("0.005"), money("0.005")];
        assert_eq!(Rounding::LineHalfUp.settle(&lines), money("0.02"));
        assert_eq!(Rounding::None.settle(&lines), money("0.01"));
    }
}
