//! Units that a price model may use, and their conversion to metered units.

use std::fmt;

use serde::Deserialize;

use super::number::{Exact, RoundingDirection};
use cyclometer_core::meter::{Meter, Phases, Unit};
use cyclometer_core::quantity::{Decimal, QuantityError};
use cyclometer_core::units::{Nanos, SIZE, TIME, TIME_ALIASES, UnitSize, advise_unit, unit_size};
use cyclometer_core::visible_text::is_visible;

/// Dimension that a factor measures; units convert within a dimension, never across.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    /// Time, in nanoseconds.
    Time,
    /// Memory or data, in bytes.
    Size,
    /// Memory over time, in byte-milliseconds.
    SizeTime,
    /// CPU share, in thousandths of a CPU.
    CpuShare,
    /// Cycles or ticks.
    Cycles,
    /// A count of events.
    Events,
    /// One per invocation.
    Requests,
    /// A plain number, in whatever unit the model states.
    Number,
}

/// Maximum length of the unit of a plain number, in characters.
const MAX_WORD_CHARS: usize = 40;

const SIZE_TIME: &[UnitSize] = &[
    ("B-ms", 1),
    ("MB-ms", 1_000_000),
    ("MB-s", 1_000_000_000),
    ("GB-s", 1_000_000_000_000),
    ("GB-h", 3_600_000_000_000_000),
    ("MiB-ms", 1 << 20),
    ("MiB-s", 1_000 << 20),
    ("GiB-s", 1_000 << 30),
    ("GiB-h", 3_600_000 << 30),
];

const CPU_SHARE: &[UnitSize] = &[("mvCPU", 1), ("vCPU", 1_000)];
const CYCLES: &[UnitSize] = &[("cycle", 1)];
const EVENTS: &[UnitSize] = &[("event", 1)];
const REQUESTS: &[UnitSize] = &[("request", 1)];

/// Meaning of the units MB and GB in a provider's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gigabyte {
    /// 1 GB is 2^30 bytes.
    Binary,
    /// 1 GB is 10^9 bytes.
    #[default]
    Decimal,
}

impl Gigabyte {
    /// Returns the unit that the provider means by `unit`, such as `MiB` by `MB`; `None` if
    /// `unit` is meant literally.
    #[must_use]
    pub fn unit_meant_by(self, unit: &str) -> Option<&'static str> {
        const WORDS: &[(&str, &str)] = &[
            ("kB", "KiB"),
            ("KB", "KiB"),
            ("MB", "MiB"),
            ("GB", "GiB"),
            ("TB", "TiB"),
            ("MB-ms", "MiB-ms"),
            ("MB-s", "MiB-s"),
            ("GB-s", "GiB-s"),
            ("GB-h", "GiB-h"),
        ];
        let binary = WORDS.iter().find(|(word, _)| *word == unit).map(|(_, binary)| *binary);
        binary.filter(|_| self == Self::Binary)
    }
}

impl Dimension {
    /// Returns the dimension of a meter.
    #[must_use]
    pub const fn for_meter(meter: Meter) -> Self {
        match meter.unit() {
            Unit::Nanosecond => Self::Time,
            Unit::Byte => Self::Size,
            Unit::ByteMillisecond => Self::SizeTime,
            Unit::Cycle => Self::Cycles,
            Unit::Event => Self::Events,
            Unit::MilliCpu => Self::CpuShare,
        }
    }

    /// Returns the names and sizes of the units, smallest first within a family; none for plain
    /// numbers.
    #[must_use]
    pub const fn units(self) -> &'static [UnitSize] {
        match self {
            Self::Time => TIME,
            Self::Size => SIZE,
            Self::SizeTime => SIZE_TIME,
            Self::CpuShare => CPU_SHARE,
            Self::Cycles => CYCLES,
            Self::Events => EVENTS,
            Self::Requests => REQUESTS,
            Self::Number => &[],
        }
    }

    /// Returns the name used in price models and their schema.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Size => "size",
            Self::SizeTime => "size_time",
            Self::CpuShare => "cpu_share",
            Self::Cycles => "cycles",
            Self::Events => "events",
            Self::Requests => "requests",
            Self::Number => "number",
        }
    }

    /// Returns the size of the unit with that name, or a message that lists the known ones. Any
    /// word is a unit of plain numbers.
    pub(super) fn size_of_unit(self, name: &str) -> Result<u64, String> {
        if self == Self::Number {
            // The unit is shown on bills, and joined with other units there.
            let word = |c: char| !c.is_whitespace();
            if matches!(name, "k" | "K" | "M" | "G" | "B") {
                return Err(format!("`{name}` is no unit: write all digits, as in 4000000"));
            }
            return if (1..=MAX_WORD_CHARS).contains(&name.chars().count())
                && name.chars().all(word)
                && is_visible(name)
            {
                Ok(1)
            } else {
                Err(format!("a unit is one word of 1 to {MAX_WORD_CHARS} characters"))
            };
        }
        self.known_unit(name).ok_or_else(|| {
            let advice = advise_unit(self.units(), name);
            format!("`{name}` is not a unit of {self}: use {advice}")
        })
    }

    /// Returns the size of the unit with that name, in singular or plural.
    fn known_unit(self, name: &str) -> Option<u64> {
        let plural = name.strip_suffix('s').filter(|name| !name.is_empty() && self.has_plurals());
        let found = unit_size(self.units(), name);
        found.or_else(|| unit_size(self.units(), plural?))
    }

    /// Returns whether a number needs no unit: true of a count, but not of a time.
    pub(super) const fn accepts_bare_numbers(self) -> bool {
        self.units().len() <= 1
    }

    /// Returns every name that is accepted as one of the units.
    pub(super) fn unit_names(self) -> Vec<String> {
        let singular = self.units().iter().map(|(name, _)| (*name).to_owned());
        let plural = self.units().iter().filter(|_| self.has_plurals());
        let aliases = TIME_ALIASES.iter().filter(|_| self == Self::Time);
        let aliases = aliases.map(|(alias, _)| (*alias).to_owned());
        singular.chain(plural.map(|(name, _)| format!("{name}s"))).chain(aliases).collect()
    }

    /// Returns whether the units are words, such as `cycles`, rather than symbols.
    pub(super) const fn has_plurals(self) -> bool {
        matches!(self, Self::CpuShare | Self::Cycles | Self::Events | Self::Requests)
    }

    /// Parses a number and a unit into the metered unit; `gb` is what the writer means by MB and
    /// GB.
    pub(super) fn parse_quantity(self, text: &str, gb: Gigabyte) -> Result<Exact, QuantityError> {
        let split = if self.accepts_bare_numbers() {
            Decimal::parse_count_prefix(text)
        } else {
            Decimal::parse_prefix(text)
        };
        self.in_metered_unit(text, split?, gb)
    }

    fn in_metered_unit(
        self,
        text: &str,
        (number, unit): (Decimal, &str),
        gb: Gigabyte,
    ) -> Result<Exact, QuantityError> {
        let number = Exact::from(&number);
        if unit.is_empty() && self.accepts_bare_numbers() {
            return Ok(number);
        }
        let fail = |message: String| QuantityError::new(text.trim(), message);
        if unit.is_empty() {
            let units = one_of(self.units().iter().map(|unit| unit.0));
            return Err(fail(format!("{self} has a unit: write {number} with one of {units}")));
        }
        if self == Self::Number {
            return Err(fail(format!("`{unit}` is not understood here: write {number} alone")));
        }
        let size = self.known_unit(gb.unit_meant_by(unit).unwrap_or(unit)).ok_or_else(|| {
            let advice = advise_unit(self.units(), unit);
            let alone = if self.accepts_bare_numbers() {
                format!(", or write {number} alone")
            } else {
                String::new()
            };
            QuantityError::new(unit, format!("is not a unit of {self}: use {advice}{alone}"))
        })?;
        Ok(&number * &Exact::from(size))
    }

    /// Parses a number and a unit as a whole number of the metered unit; `gb` is
    /// what the writer means by MB and GB.
    ///
    /// # Errors
    ///
    /// Returns an error that says what would be accepted instead.
    pub fn parse_whole(self, text: &str, gb: Gigabyte) -> Result<u64, QuantityError> {
        let metered = if self.accepts_bare_numbers() {
            self.in_metered_unit(text, Decimal::parse_whole_count_prefix(text)?, gb)?
        } else {
            self.parse_quantity(text, gb)?
        };
        metered.to_u64().ok_or_else(|| {
            let (base, _) = self.base_unit();
            let unit = if base.is_empty() { String::new() } else { format!(" {base}") };
            let message = if metered > Exact::from(u64::MAX) {
                format!("is {metered}{unit}: 2^64 or more")
            } else {
                format!(
                    "is {metered}{unit}, no whole number: write {}",
                    self.neighbouring_amounts(&metered)
                )
            };
            QuantityError::new(text.trim(), message)
        })
    }

    /// Formats the whole amounts below and above a fractional value: memory in MiB where it is
    /// that large, as providers offer it.
    fn neighbouring_amounts(self, value: &Exact) -> String {
        let mib = Exact::from(1 << 20);
        let (unit, size) = match self {
            Self::Size if *value > mib => ("MiB", mib),
            _ if self.accepts_bare_numbers() => ("", Exact::from(1)),
            _ => (self.base_unit().0, Exact::from(1)),
        };
        let amount = value.checked_div(&size).unwrap_or_default();
        let of =
            |direction| format!("{} {unit}", amount.round_to(0, direction)).trim_end().to_owned();
        format!("{} or {}", of(RoundingDirection::Down), of(RoundingDirection::Up))
    }

    fn base_unit(self) -> UnitSize {
        self.units().first().copied().unwrap_or(("", 1))
    }

    /// Formats `value` of the metered unit for display, in the largest unit that leaves at most
    /// two decimals, such as `27.55 ms` or `1.5 GiB`.
    #[must_use]
    pub fn format_value(self, value: &Exact) -> String {
        let hundred = Exact::from(100);
        let fits = |unit: &&UnitSize| {
            let Some(amount) = value.checked_div(&Exact::from(unit.1)) else { return false };
            amount >= Exact::from(1) && (&amount * &hundred).to_u64().is_some()
        };
        let fitting = self.units().iter().filter(fits).max_by_key(|unit| unit.1);
        let (unit, size) = fitting.copied().unwrap_or(self.base_unit());
        let amount = value.checked_div(&Exact::from(size)).unwrap_or_default();
        format!("{amount} {unit}").trim_end().to_owned()
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Time => "time",
            Self::Size => "memory or data",
            Self::SizeTime => "memory over time",
            Self::CpuShare => "CPU share",
            Self::Cycles => "cycles",
            Self::Events => "events",
            Self::Requests => "requests",
            Self::Number => "plain numbers",
        })
    }
}

/// Formats alternatives as `a`, `b` or `c`.
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
    /// Returns the name used in price models.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Run => "run",
            Self::Teardown => "teardown",
        }
    }

    /// Returns the duration of the phase; `None` where a lane has no such phase.
    #[must_use]
    pub const fn duration_in(self, phases: &Phases) -> Option<Nanos> {
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

    fn whole(dimension: Dimension, text: &str) -> Result<u64, QuantityError> {
        dimension.parse_whole(text, Gigabyte::Decimal)
    }

    #[test]
    fn quantities_are_whole_numbers_of_the_metered_unit() {
        assert_eq!(whole(Dimension::Time, "1307.68 ms"), Ok(1_307_680_000));
        assert_eq!(whole(Dimension::Size, "128MiB"), Ok(134_217_728));
        assert_eq!(whole(Dimension::Size, "1 GB"), Ok(1_000_000_000));
        assert_eq!(whole(Dimension::SizeTime, "1 GiB-s"), Ok(1_073_741_824_000));
        assert_eq!(whole(Dimension::Cycles, "0 cycle"), Ok(0));
        assert_eq!(whole(Dimension::Events, "12 events"), Ok(12));
        assert_eq!(whole(Dimension::Events, "12"), Ok(12));
        assert_eq!(whole(Dimension::CpuShare, "0.6 vCPU"), Ok(600));
        assert_eq!(whole(Dimension::Events, "4e6"), Ok(4_000_000));
        assert_eq!(whole(Dimension::Cycles, "70.4M cycles"), Ok(70_400_000));
        assert_eq!(whole(Dimension::Time, "1e3 s"), Ok(1_000_000_000_000));
        assert_eq!(whole(Dimension::Number, "4,000,000"), Ok(4_000_000));
    }

    #[test]
    fn a_provider_that_says_gb_may_mean_gib() {
        let binary = |text| Dimension::Size.parse_whole(text, Gigabyte::Binary);
        assert_eq!(binary("1 GB"), Ok(1 << 30));
        assert_eq!(binary("1536MB"), Ok(1536 << 20));
        assert_eq!(binary("1 GiB"), Ok(1 << 30));
        assert_eq!(binary("1 B"), Ok(1));
    }

    #[test]
    fn other_quantities_say_what_to_write() {
        let complaint = |text| whole(Dimension::Time, text).unwrap_err().to_string();
        assert!(complaint("1 GiB").starts_with("`GiB` is not a unit of time: use `ns`, `us`"));
        assert!(complaint("10").contains("time has a unit: write 10 with one of `ns`"));
        assert!(complaint("-1 ms").contains("write 0 or more"));
        assert!(complaint("0.5 ns").contains("no whole number: write 0 ns or 1 ns"));
        assert!(complaint("999999999999 h").contains("2^64 or more"));
        assert!(complaint("1e99 s").contains("an exponent is"));
        assert!(complaint(&format!("{} s", "9".repeat(60))).contains("more than 40 characters"));
        let plain = |text| whole(Dimension::Number, text).unwrap_err().to_string();
        assert!(plain("3 tenants").contains("`tenants` is not understood here: write 3 alone"));
        assert!(plain("4e6GB").contains("write 4000000 alone"));
        let size =
            |gb, text| Dimension::Size.parse_whole(text, gb).map_err(|error| error.to_string());
        // 1.7 x 1024 = 1740.8.
        let between = size(Gigabyte::Binary, "1.7GB").unwrap_err();
        assert!(between.contains("write 1740 MiB or 1741 MiB"), "{between}");
        assert_eq!(size(Gigabyte::Binary, "256KB"), Ok(256 << 10));
        let twofold = size(Gigabyte::Decimal, "256KB").unwrap_err();
        assert!(twofold.contains("`kB` (1000 bytes) or `KiB` (1024 bytes)"), "{twofold}");
    }

    #[test]
    fn people_see_the_unit_that_fits() {
        let shown = |dimension: Dimension, value: u64| dimension.format_value(&Exact::from(value));
        assert_eq!(shown(Dimension::Time, 120_000_000), "120 ms");
        assert_eq!(shown(Dimension::Time, 27_550_000), "27.55 ms");
        assert_eq!(shown(Dimension::Size, 1536 << 20), "1.5 GiB");
        assert_eq!(shown(Dimension::Size, 1 << 30), "1 GiB");
        assert_eq!(shown(Dimension::CpuShare, 1_500), "1.5 vCPU");
        assert_eq!(shown(Dimension::Time, 0), "0 ns");
        assert_eq!(shown(Dimension::Time, 1_307_680_000), "1307.68 ms");
    }

    #[test]
    fn every_meter_has_a_dimension_with_a_base_unit() {
        for meter in Meter::ALL {
            assert_eq!(Dimension::for_meter(*meter).base_unit().1, 1, "{meter}");
        }
    }
}
