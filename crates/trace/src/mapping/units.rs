//! Units that a mapping may name, each with its exact scale.

use cyclometer_core::meter::{Meter, Unit};
use cyclometer_core::suggest::find_nearest_name;

use crate::reading::quantity::UnitScale;

/// Meter, phase or billed time that a column is read into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// A meter.
    Meter(Meter),
    /// A phase, by its name.
    Create,
    /// From the sandbox to the first instruction.
    Start,
    /// From the first instruction to the end.
    Run,
    /// Taking the sandbox down.
    Teardown,
    /// Time that the provider says it billed.
    Billed,
}

const PHASES: [(&str, Target); 5] = [
    ("create", Target::Create),
    ("start", Target::Start),
    ("run", Target::Run),
    ("teardown", Target::Teardown),
    ("billed", Target::Billed),
];

impl Target {
    /// Finds a target by its name.
    pub fn find(name: &str) -> Option<Self> {
        let phase = PHASES.iter().find(|(known, _)| *known == name).map(|(_, target)| *target);
        phase.or_else(|| Meter::from_name(name).map(Self::Meter))
    }

    /// Returns the names of all targets.
    pub fn names() -> impl Iterator<Item = &'static str> + Clone {
        let phases = PHASES.iter().map(|(name, _)| *name);
        phases.chain(Meter::ALL.iter().map(|meter| meter.name()))
    }

    /// Returns the unit that is stored.
    pub const fn unit(self) -> Unit {
        match self {
            Self::Meter(meter) => meter.unit(),
            _ => Unit::Nanosecond,
        }
    }

    /// Finds the scale from a unit of the file, or says which there are.
    ///
    /// # Errors
    ///
    /// Returns a message if the unit is unknown, or is of another kind.
    pub fn find_scale(self, unit: &str) -> Result<UnitScale, String> {
        let known = list_units(self.unit());
        if let Some((_, scale)) = known.iter().find(|(name, _)| *name == unit) {
            return Ok(*scale);
        }
        let names = known.iter().map(|(name, _)| *name);
        let list = names.clone().collect::<Vec<_>>().join(", ");
        let same = names.clone().find(|name| name.eq_ignore_ascii_case(unit));
        Err(match same.or_else(|| find_nearest_name(unit, names)) {
            Some(near) => format!("unknown unit `{unit}`: did you mean `{near}`? there are {list}"),
            None => format!("unknown unit `{unit}`: there are {list}"),
        })
    }
}

/// Returns the units of a kind. Letters' case counts: `MB` is 10^6 bytes, `MiB` is 2^20.
fn list_units(unit: Unit) -> &'static [(&'static str, UnitScale)] {
    const fn times(factor: u64) -> UnitScale {
        UnitScale::times(factor)
    }
    const TIMES: &[(&str, UnitScale)] = &[
        ("ns", times(1)),
        ("us", times(1_000)),
        ("ms", times(1_000_000)),
        ("s", times(1_000_000_000)),
        ("min", times(60_000_000_000)),
        ("h", times(3_600_000_000_000)),
    ];
    const SIZES: &[(&str, UnitScale)] = &[
        ("B", times(1)),
        ("kB", times(1_000)),
        ("MB", times(1_000_000)),
        ("GB", times(1_000_000_000)),
        ("KiB", times(1 << 10)),
        ("MiB", times(1 << 20)),
        ("GiB", times(1 << 30)),
    ];
    const SIZE_TIMES: &[(&str, UnitScale)] = &[
        ("B-ms", times(1)),
        ("MB-ms", times(1_000_000)),
        ("MiB-ms", times(1 << 20)),
        ("MB-s", times(1_000_000_000)),
        ("MiB-s", times(1_000 << 20)),
        ("GB-s", times(1_000_000_000_000)),
        ("GiB-s", times(1_000 << 30)),
    ];
    const SHARES: &[(&str, UnitScale)] = &[("vCPU", times(1_000)), ("mCPU", times(1))];
    match unit {
        Unit::Nanosecond => TIMES,
        Unit::Byte => SIZES,
        Unit::ByteMillisecond => SIZE_TIMES,
        Unit::MilliCpu => SHARES,
        Unit::Cycle => const { &[("cycles", times(1))] },
        Unit::Event => const { &[("count", times(1))] },
    }
}
