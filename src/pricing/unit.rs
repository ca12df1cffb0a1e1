//! The units a price model may use, and how they convert to what is metered.

use std::fmt;

use serde::Deserialize;

use super::number::{Exact, MAX_FILE_CHARS};
use crate::meter::{Meter, Phases, Unit};
use crate::units::Nanos;

/// What a factor measures; units convert within a dimension, never across.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dimension {
    /// Metered in nanoseconds.
    Time,
    /// Metered in bytes.
    Size,
    /// Metered in byte-milliseconds.
    SizeTime,
    /// Metered in cycles or ticks.
    Cycles,
    /// Metered as a count.
    Events,
    /// One an invocation.
    Requests,
}

/// A unit's name and how many of the metered unit it has.
type UnitSize = (&'static str, u64);

const TIME: &[UnitSize] = &[
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Decimal and binary units stay apart: 1 GiB is 7.4 % more than 1 GB, and
/// providers write GB for either.
const SIZE: &[UnitSize] = &[
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

const SIZE_TIME: &[UnitSize] = &[
    ("B-ms", 1),
    ("MB-ms", 1_000_000),
    ("MB-s", 1_000_000_000),
    ("GB-s", 1_000_000_000_000),
    ("MiB-ms", 1 << 20),
    ("MiB-s", 1_000 << 20),
    ("GiB-s", 1_000 << 30),
];

const CYCLES: &[UnitSize] = &[("cycle", 1)];
const EVENTS: &[UnitSize] = &[("event", 1)];
const REQUESTS: &[UnitSize] = &[("request", 1)];

impl Dimension {
    /// The dimension of a meter.
    pub(super) const fn of(meter: Meter) -> Self {
        match meter.unit() {
            Unit::Nanosecond => Self::Time,
            Unit::Byte => Self::Size,
            Unit::ByteMillisecond => Self::SizeTime,
            Unit::Cycle => Self::Cycles,
            Unit::Event => Self::Events,
        }
    }

    const fn units(self) -> &'static [UnitSize] {
        match self {
            Self::Time => TIME,
            Self::Size => SIZE,
            Self::SizeTime => SIZE_TIME,
            Self::Cycles => CYCLES,
            Self::Events => EVENTS,
            Self::Requests => REQUESTS,
        }
    }

    /// The unit of that name, or a sentence that lists the ones there are.
    pub(super) fn unit(self, name: &str) -> Result<UnitSize, String> {
        self.units().iter().copied().find(|(unit, _)| *unit == name).ok_or_else(|| {
            format!(
                "`{name}` is not a unit of {self}: use {}",
                one_of(self.units().iter().map(|u| u.0))
            )
        })
    }

    /// Reads `<decimal> <unit>` as a whole number of the metered unit.
    pub(super) fn quantity(self, text: &str) -> Result<u64, String> {
        let split = text.find(|c: char| !matches!(c, '0'..='9' | '.')).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let unit = unit.trim();
        if number.is_empty() || unit.is_empty() {
            return Err(format!(
                "`{text}` is not an amount of {self}: write a number and a unit ({})",
                one_of(self.units().iter().map(|u| u.0))
            ));
        }
        let number =
            Exact::parse(number, MAX_FILE_CHARS).map_err(|error| format!("`{number}` {error}"))?;
        let (_, size) = self.unit(unit)?;
        let metered = &number * &Exact::from(size);
        metered.to_plain_string().parse().map_err(|_| {
            let (base, _) = self.base();
            format!("`{text}` is {metered} {base}: not a whole number below 2^64")
        })
    }

    fn base(self) -> UnitSize {
        self.units().first().copied().unwrap_or(("", 1))
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Time => "time",
            Self::Size => "memory or data",
            Self::SizeTime => "memory over time",
            Self::Cycles => "cycles",
            Self::Events => "events",
            Self::Requests => "requests",
        })
    }
}

/// `a`, `b` or `c`.
pub(super) fn one_of(names: impl IntoIterator<Item = impl fmt::Display>) -> String {
    let mut names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.pop() {
        None => "nothing".to_owned(),
        Some(last) if names.is_empty() => last,
        Some(last) => format!("{} or {last}", names.join(", ")),
    }
}

/// A timed part of an invocation that a charge can add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Making the sandbox.
    Create,
    /// Bringing the function to its first instruction.
    Start,
    /// The function itself.
    Run,
    /// Taking the sandbox down.
    Teardown,
}

impl Phase {
    /// The name used in price models.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Run => "run",
            Self::Teardown => "teardown",
        }
    }

    /// How long it took, `None` where a lane has no such phase.
    #[must_use]
    pub const fn of(self, phases: &Phases) -> Option<Nanos> {
        match self {
            Self::Create => phases.create,
            Self::Start => phases.start,
            Self::Run => phases.run,
            Self::Teardown => phases.teardown,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_whole_numbers_of_the_metered_unit() {
        assert_eq!(Dimension::Time.quantity("1307.68 ms"), Ok(1_307_680_000));
        assert_eq!(Dimension::Size.quantity("128MiB"), Ok(134_217_728));
        assert_eq!(Dimension::Size.quantity("1 GB"), Ok(1_000_000_000));
        assert_eq!(Dimension::SizeTime.quantity("1 GiB-s"), Ok(1_073_741_824_000));
        assert_eq!(Dimension::Cycles.quantity("0 cycle"), Ok(0));
    }

    #[test]
    fn other_quantities_say_what_is_wrong() {
        let complaint = |text| Dimension::Time.quantity(text).unwrap_err();
        assert!(complaint("1 GiB").starts_with("`GiB` is not a unit of time: use `ns`, `us`"));
        assert!(complaint("10").contains("write a number and a unit"));
        assert!(complaint("-1 ms").contains("write a number and a unit"));
        assert!(complaint("0.5 ns").contains("not a whole number below 2^64"));
        assert!(complaint("999999999999 h").contains("not a whole number below 2^64"));
        assert!(complaint("1e99 s").contains("is not a unit"));
        assert!(complaint(&format!("{} s", "9".repeat(60))).contains("more than 40 characters"));
    }

    #[test]
    fn every_meter_has_a_dimension_with_a_base_unit() {
        for meter in Meter::ALL {
            assert_eq!(Dimension::of(*meter).base().1, 1, "{meter}");
        }
    }
}
