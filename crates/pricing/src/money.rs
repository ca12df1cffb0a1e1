//! Amounts of money, and the policies that round them.

use std::fmt;
use std::iter::Sum;
use std::num::NonZeroU64;
use std::ops::{Add, AddAssign};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::number::{DecimalError, Exact, RoundingDirection};

/// An exact amount in the currency of its price model.
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

    /// Returns the amount as a plain number.
    #[must_use]
    pub const fn as_exact(&self) -> &Exact {
        &self.0
    }

    /// Returns whether the amount is 0.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    /// Returns the amount as a fraction, where it has no finite decimal form.
    #[must_use]
    pub fn to_fraction_string(&self) -> Option<String> {
        self.0.to_fraction_string()
    }

    /// Returns `count` times this amount, exactly.
    #[must_use]
    pub fn multiplied_by(&self, count: u64) -> Self {
        Self(&self.0 * &Exact::from(count))
    }

    /// Formats the amount with all digits and no exponent: the form that is stored, and parsed by
    /// [`str::parse`].
    #[must_use]
    pub fn to_plain_string(&self) -> String {
        self.0.to_plain_string()
    }

    /// Formats for display, rounded half up to exactly `digits` decimals (at most 100).
    #[must_use]
    pub fn to_rounded_string(&self, digits: u32) -> String {
        self.0.to_rounded_string(digits)
    }

    /// Formats for display, rounded half up to `digits` significant digits.
    #[must_use]
    pub fn to_significant_string(&self, digits: NonZeroU64) -> String {
        self.0.to_significant_string(digits)
    }

    /// Returns the amount rounded to a double, for statistics; `None` if it is out of range.
    #[must_use]
    pub fn to_f64(&self) -> Option<f64> {
        self.0.to_f64()
    }

    /// Returns the ratio of this amount to `other`, rounded half up to `digits` decimals (at most
    /// 100); `None` if `other` is 0.
    #[must_use]
    pub fn ratio_to(&self, other: &Self, digits: u32) -> Option<Exact> {
        self.0.ratio_to(&other.0, digits)
    }
}

impl From<Exact> for Money {
    fn from(amount: Exact) -> Self {
        Self(amount)
    }
}

impl FromStr for Money {
    type Err = DecimalError;

    /// Parses the output of [`Money::to_plain_string`].
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Money {
    /// Writes all digits, never an exponent; with a precision (`{:.6}`), rounded half up.
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

/// Place and direction of a provider's rounding. It is applied in one place only, when the
/// positions of a billing period are settled: never to an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RoundingPolicy {
    /// Nowhere: the total is exact, and only its display is rounded.
    None,
    /// Each position to the nearer digit, halves up, then their sum.
    LineHalfUp,
    /// Each position to the nearer digit, halves down.
    LineHalfDown,
    /// Each position to the nearer digit, halves to the even one.
    LineHalfEven,
    /// Each position up to the next digit.
    LineUp,
    /// Each position down to its digits.
    LineDown,
    /// The exact sum to the nearer digit, halves up.
    SumHalfUp,
    /// The exact sum to the nearer digit, halves down.
    SumHalfDown,
    /// The exact sum to the nearer digit, halves to the even one.
    SumHalfEven,
    /// The exact sum up to the next digit.
    SumUp,
    /// The exact sum down to its digits.
    SumDown,
}

impl RoundingPolicy {
    /// Every policy with its name in price models.
    pub const ALL: &'static [(Self, &'static str)] = &[
        (Self::None, "none"),
        (Self::LineHalfUp, "line_half_up"),
        (Self::LineHalfDown, "line_half_down"),
        (Self::LineHalfEven, "line_half_even"),
        (Self::LineUp, "line_up"),
        (Self::LineDown, "line_down"),
        (Self::SumHalfUp, "sum_half_up"),
        (Self::SumHalfDown, "sum_half_down"),
        (Self::SumHalfEven, "sum_half_even"),
        (Self::SumUp, "sum_up"),
        (Self::SumDown, "sum_down"),
    ];

    /// Returns the name used in price models.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(policy, _)| *policy == self).map_or("none", |(_, name)| name)
    }

    /// Returns the direction in which each position is rounded; `None`: it stays exact.
    const fn line_direction(self) -> Option<RoundingDirection> {
        match self {
            Self::LineHalfUp => Some(RoundingDirection::HalfUp),
            Self::LineHalfDown => Some(RoundingDirection::HalfDown),
            Self::LineHalfEven => Some(RoundingDirection::HalfEven),
            Self::LineUp => Some(RoundingDirection::Up),
            Self::LineDown => Some(RoundingDirection::Down),
            _ => None,
        }
    }

    /// Returns the direction in which the sum is rounded; `None`: it is not rounded.
    const fn sum_direction(self) -> Option<RoundingDirection> {
        match self {
            Self::SumHalfUp => Some(RoundingDirection::HalfUp),
            Self::SumHalfDown => Some(RoundingDirection::HalfDown),
            Self::SumHalfEven => Some(RoundingDirection::HalfEven),
            Self::SumUp => Some(RoundingDirection::Up),
            Self::SumDown => Some(RoundingDirection::Down),
            _ => None,
        }
    }
}

/// A rounding policy and the number of currency decimals that it rounds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rounding {
    /// Place and direction of rounding.
    pub policy: RoundingPolicy,
    /// Number of decimals that remain.
    pub digits: u32,
}

impl Rounding {
    /// Rounds a position of the bill to the amount that is printed and added up.
    #[must_use]
    pub fn round_line(self, amount: &Money) -> Money {
        match self.policy.line_direction() {
            Some(direction) => Money(amount.0.round_to(self.digits, direction)),
            None => amount.clone(),
        }
    }

    /// Rounds a sum of the bill where the policy rounds sums.
    #[must_use]
    pub fn round_sum(self, amount: &Money) -> Money {
        match self.policy.sum_direction() {
            Some(direction) => Money(amount.0.round_to(self.digits, direction)),
            None => amount.clone(),
        }
    }

    /// Returns the total of a billing period, from the exact amounts of its positions.
    #[must_use]
    pub fn round_total<'a>(self, positions: impl IntoIterator<Item = &'a Money>) -> Money {
        let sum: Money = positions.into_iter().map(|amount| self.round_line(amount)).sum();
        self.round_sum(&sum)
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
        assert_eq!(money("0.1").multiplied_by(3), money("0.3"));
        assert_eq!(money("0.1") + money("0.2"), money("0.30"));
    }

    #[test]
    fn json_gets_a_string() {
        assert_eq!(serde_json::to_string(&money("0.0000002")).unwrap(), "\"0.0000002\"");
    }

    #[test]
    fn lines_are_rounded_before_they_are_added() {
        let lines = [money("0.005"), money("0.005")];
        let settle = |policy| Rounding { policy, digits: 2 }.round_total(&lines);
        assert_eq!(settle(RoundingPolicy::LineHalfUp), money("0.02"));
        assert_eq!(settle(RoundingPolicy::LineHalfDown), money("0"));
        assert_eq!(settle(RoundingPolicy::LineUp), money("0.02"));
        assert_eq!(settle(RoundingPolicy::None), money("0.01"));
        assert_eq!(settle(RoundingPolicy::SumHalfUp), money("0.01"));
    }

    #[test]
    fn a_sum_is_rounded_once() {
        // 373.8744 + 99.0009 = 472.8753: the sum gives 472.88, the lines 472.87.
        let lines = [money("373.8744"), money("99.0009")];
        let settle = |policy| Rounding { policy, digits: 2 }.round_total(&lines);
        assert_eq!(settle(RoundingPolicy::SumHalfUp), money("472.88"));
        assert_eq!(settle(RoundingPolicy::LineHalfUp), money("472.87"));
        assert_eq!(settle(RoundingPolicy::SumDown), money("472.87"));
    }
}
