//! Newtypes for the quantities that cross module boundaries, with exact parsing and
//! human-readable formatting. Money is defined elsewhere.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::quantity::{Decimal, QuantityError};

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

/// Error of parsing a quantity with a unit.
pub type UnitError = QuantityError;

/// Name of a unit, and its size in base units.
pub type UnitSize = (&'static str, u64);

/// Units of time, in nanoseconds.
pub const TIME: &[UnitSize] = &[
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("day", 86_400_000_000_000),
];

/// Units of memory and data, in bytes. Decimal and binary ones stay apart: 1 GiB
/// is 7.4 % more than 1 GB, and providers write GB for either.
pub const SIZE: &[UnitSize] = &[
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Alternative spellings of units of time, with the name in [`TIME`].
pub const TIME_ALIASES: &[(&str, &str)] =
    &[("\u{b5}s", "us"), ("\u{3bc}s", "us"), ("m", "min"), ("d", "day"), ("days", "day")];

/// Returns the size of the unit called `name`; `None` if there is no such unit.
#[must_use]
pub fn unit_size(units: &[UnitSize], name: &str) -> Option<u64> {
    let alias =
        TIME_ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, unit)| unit);
    units.iter().find(|(unit, _)| *unit == alias).map(|(_, size)| *size)
}

/// Suggests units to write instead of an unknown `name`: those that differ from it only by
/// capitals or an `i`, or else all of them.
#[must_use]
pub fn advise_unit(units: &[UnitSize], name: &str) -> String {
    let plain = |name: &str| name.to_lowercase().replace(['i', 'b'], "");
    let like = |unit: &&UnitSize| {
        let letters = unit.0.len() > 1 && !name.is_empty() && units == SIZE;
        letters && plain(unit.0) == plain(name)
    };
    let near: Vec<UnitSize> = units.iter().filter(like).copied().collect();
    if near.is_empty() {
        let names: Vec<String> = units.iter().map(|(unit, _)| format!("`{unit}`")).collect();
        return match names.as_slice() {
            [] => "nothing".to_owned(),
            [one] => one.clone(),
            [several @ .., last] => format!("{} or {last}", several.join(", ")),
        };
    }
    let near = near.iter().map(|(unit, size)| format!("`{unit}` ({size} bytes)"));
    near.collect::<Vec<_>>().join(" or ")
}

/// Parses a number and one of `units` as a whole number of the base unit.
fn parse_scaled(
    text: &str,
    what: &str,
    example: &str,
    units: &[UnitSize],
) -> Result<u64, UnitError> {
    let fail = |message: String| UnitError::new(text.trim(), message);
    if !text.contains(|c: char| c.is_ascii_digit()) {
        return Err(fail(format!("is no {what}: write {example}")));
    }
    let (number, unit) = Decimal::parse_prefix(text)?;
    if unit.is_empty() {
        return Err(fail(format!("a {what} has a unit: write {example}")));
    }
    let size = unit_size(units, unit).ok_or_else(|| {
        let advice = advise_unit(units, unit);
        UnitError::new(unit, format!("is not a unit of a {what}: use {advice}"))
    })?;
    number.to_whole(size).ok_or_else(|| {
        let base = units.first().map_or("", |(unit, _)| unit);
        fail(format!("is no whole number of {base} below 2^64: write {example}"))
    })
}

impl FromStr for Nanos {
    type Err = UnitError;

    /// Accepts `ns`, `us`, `µs`, `ms`, `s`, `min` (or `m`), `h` and `day` (or `d`).
    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_scaled(text, "duration", "10ms, 1.5s or 2min", TIME).map(Nanos)
    }
}

impl FromStr for Bytes {
    type Err = UnitError;

    /// Accepts `B`, decimal (`kB` to `TB`) and binary (`KiB` to `TiB`) units.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_scaled(text, "size", "128MiB or 1GB", SIZE).map(Bytes)
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
    /// Returns the time since `earlier`, or 0 if `earlier` is later.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

/// Formats three significant digits with a unit from `steps`, which are sorted from largest
/// to smallest.
fn format_scaled(value: u64, steps: &[(u64, &str)]) -> String {
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
        f.pad(&format_scaled(
            self.0,
            &[(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")],
        ))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format_scaled(
            self.0,
            &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")],
        ))
    }
}

/// Count without a unit, shown with a decimal suffix: `1.23 G`.
#[derive(Debug, Clone, Copy)]
pub struct Count(pub u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format_scaled(
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
    fn numbers_are_those_of_the_common_grammar() {
        assert_eq!("1e3ms".parse(), Ok(Nanos(1_000_000_000)));
        assert_eq!("1_769 MiB".parse(), Ok(Bytes(1769 << 20)));
        assert_eq!("2 days".parse(), Ok(Nanos(172_800_000_000_000)));
    }

    #[test]
    fn nonsense_is_refused_with_what_to_write() {
        for (text, advice) in [
            ("", "write 10ms, 1.5s or 2min"),
            ("ms", "write 10ms, 1.5s or 2min"),
            ("10", "write 10ms, 1.5s or 2min"),
            ("10 parsecs", "use `ns`, `us`, `ms`"),
            ("-1ms", "write 0 or more"),
            ("1.ms", "write 1, or digits"),
            (".5s", "as in 0.5"),
            ("1,5s", "write 1.5, with a point"),
            ("1.0000000001ns", "no whole number of ns"),
        ] {
            let error = text.parse::<Nanos>().expect_err(text).to_string();
            assert!(error.contains(advice), "{text}: {error}");
        }
        for (text, advice) in [
            ("99999999999GiB", "below 2^64"),
            ("12MIB", "use `MB` (1000000 bytes) or `MiB` (1048576 bytes)"),
            ("12 KB", "use `kB` (1000 bytes) or `KiB` (1024 bytes)"),
            ("512M", "use `MB` (1000000 bytes) or `MiB` (1048576 bytes)"),
            ("512Mi", "use `MB` (1000000 bytes) or `MiB` (1048576 bytes)"),
        ] {
            let error = text.parse::<Bytes>().expect_err(text).to_string();
            assert!(error.contains(advice), "{text}: {error}");
        }
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
