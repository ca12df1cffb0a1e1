//! Newtypes for the quantities that cross module borders, with exact parsing
//! and human formatting. Money is not here: see [`crate::pricing`].

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A span of time in nanoseconds (monotonic clock unless said otherwise).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Nanos(pub u64);

/// A size in bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// Why a quantity could not be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum UnitError {
    /// The text is not a number followed by a known unit.
    #[error("`{text}` is not a {what}: expected a number and a unit, such as {example}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// The text as given.
        text: String,
        /// A value that would have been accepted.
        example: &'static str,
    },
    /// The value does not fit 64 bits.
    #[error("`{text}` is too large for a {what}")]
    TooLarge {
        /// What was being read.
        what: &'static str,
        /// The text as given.
        text: String,
    },
}

/// Reads `<decimal><unit>` exactly: the decimal is scaled by the unit's factor
/// in integers, and a fraction that does not come out whole is refused.
fn parse_scaled(
    text: &str,
    what: &'static str,
    example: &'static str,
    factor_of: impl Fn(&str) -> Option<u64>,
) -> Result<u64, UnitError> {
    let malformed = || UnitError::Malformed { what, text: text.to_owned(), example };
    let too_large = || UnitError::TooLarge { what, text: text.to_owned() };
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let factor = u128::from(factor_of(unit.trim()).ok_or_else(malformed)?);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || (number.contains('.') && fraction.is_empty()) || fraction.len() > 18 {
        return Err(malformed());
    }
    let whole: u128 = whole.parse().map_err(|_| too_large())?;
    let mut total = whole.checked_mul(factor).ok_or_else(too_large)?;
    if !fraction.is_empty() {
        let scale = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| malformed())?);
        let part: u128 = fraction.parse().map_err(|_| malformed())?;
        if !(part * factor).is_multiple_of(scale) {
            return Err(malformed());
        }
        total += part * factor / scale;
    }
    u64::try_from(total).map_err(|_| too_large())
}

impl FromStr for Nanos {
    type Err = UnitError;

    /// Accepts `ns`, `us`, `µs`, `ms`, `s`, `m` (or `min`) and `h`.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_scaled(text, "duration", "10ms, 1.5s or 2m", |unit| {
            Some(match unit {
                "ns" => 1,
                "us" | "µs" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" | "min" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                _ => return None,
            })
        })
        .map(Nanos)
    }
}

impl FromStr for Bytes {
    type Err = UnitError;

    /// Accepts `B`, decimal (`kB`, `MB`, `GB`) and binary (`KiB`, `MiB`, `GiB`) units.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_scaled(text, "size", "128MiB or 1GB", |unit| {
            Some(match unit {
                "B" => 1,
                "kB" => 1_000,
                "MB" => 1_000_000,
                "GB" => 1_000_000_000,
                "KiB" => 1 << 10,
                "MiB" => 1 << 20,
                "GiB" => 1 << 30,
                _ => return None,
            })
        })
        .map(Bytes)
    }
}

impl From<Duration> for Nanos {
    /// Saturates after 584 years.
    fn from(span: Duration) -> Self {
        Self(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Nanos> for Duration {
    fn from(span: Nanos) -> Self {
        Self::from_nanos(span.0)
    }
}

impl Nanos {
    /// The difference to an earlier moment, 0 if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

/// Three significant digits and a unit from `steps`, largest first.
fn human(value: u64, steps: &[(u64, &str)]) -> String {
    let &(factor, unit) =
        steps.iter().find(|(factor, _)| value >= *factor).or(steps.last()).unwrap_or(&(1, ""));
    if factor == 1 {
        return format!("{value} {unit}");
    }
    let value = u128::from(value);
    let factor = u128::from(factor);
    let digits = match value / factor {
        0..=9 => 2,
        10..=99 => 1,
        _ => 0,
    };
    let scale = 10_u128.pow(digits);
    let scaled = (value * scale + factor / 2) / factor;
    match digits {
        0 => format!("{scaled} {unit}"),
        _ => {
            format!("{}.{:0width$} {unit}", scaled / scale, scaled % scale, width = digits as usize)
        }
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&human(self.0, &[(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")]))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&human(self.0, &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")]))
    }
}

/// A bare count with a decimal suffix: `1.23 G`.
#[derive(Debug, Clone, Copy)]
pub struct Count(pub u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = human(
            self.0,
            &[
                (1_000_000_000_000, "T"),
                (1_000_000_000, "G"),
                (1_000_000, "M"),
                (1_000, "k"),
                (1, ""),
            ],
        );
        f.pad(text.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_exact() {
        assert_eq!("128MiB".parse(), Ok(Bytes(134_217_728)));
        assert_eq!("1.5 GB".parse(), Ok(Bytes(1_500_000_000)));
        assert_eq!("0.5KiB".parse(), Ok(Bytes(512)));
        assert_eq!("10ms".parse(), Ok(Nanos(10_000_000)));
        assert_eq!("1.5s".parse(), Ok(Nanos(1_500_000_000)));
        assert_eq!("2m".parse(), Ok(Nanos(120_000_000_000)));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "ms", "10", "10 parsecs", "-1ms", "1.ms", ".5s", "1.0000000001ns", "1e3ms"]
        {
            assert!(text.parse::<Nanos>().is_err(), "{text} was accepted");
        }
        assert!(matches!("99999999999GiB".parse::<Bytes>(), Err(UnitError::TooLarge { .. })));
        assert!("12MIB".parse::<Bytes>().is_err());
    }

    #[test]
    fn humans_read_three_digits() {
        assert_eq!(Nanos(999).to_string(), "999 ns");
        assert_eq!(Nanos(1_850_000).to_string(), "1.85 ms");
        assert_eq!(Nanos(203_000_000).to_string(), "203 ms");
        assert_eq!(Bytes(134_217_728).to_string(), "128 MiB");
        assert_eq!(Count(70_400_000).to_string(), "70.4 M");
        assert_eq!(Count(7).to_string(), "7");
    }
}
