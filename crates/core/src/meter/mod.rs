//! Meters, where their values come from, and the usage of one invocation.

mod id_masking;
mod usage;

pub use id_masking::mask_ids;
pub use usage::{Phases, Usage};

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Defines [`Meter`] with its name, unit and meaning in one table, so that a
/// meter cannot be added without all of them.
macro_rules! meters {
    ($($variant:ident, $name:literal, $unit:ident, $doc:literal;)*) => {
        /// A physical quantity that an invocation is charged with.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(usize)]
        pub enum Meter {
            $(#[doc = $doc] $variant,)*
        }

        impl Meter {
            /// Every meter, in the order of the enum.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// Number of meters.
            pub const COUNT: usize = Self::ALL.len();

            /// Returns the name used in the schema, the CLI and price models.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the unit of a stored value.
            #[must_use]
            pub const fn unit(self) -> Unit {
                match self { $(Self::$variant => Unit::$unit,)* }
            }

            /// Returns an explanation in one line.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }
        }
    };
}

meters! {
    Wall, "wall", Nanosecond, "Time from the request to the end of the invocation, teardown excluded.";
    CpuTime, "cpu_time", Nanosecond, "Time on a CPU, user and kernel, all threads and children.";
    CpuUser, "cpu_user", Nanosecond, "Time on a CPU in user mode.";
    CpuSystem, "cpu_system", Nanosecond, "Time on a CPU in kernel mode.";
    CpuStartup, "cpu_startup", Nanosecond, "Part of the CPU time: until the function's first instruction.";
    Throttled, "throttled", Nanosecond, "Time in which a CPU quota kept the function from running.";
    Cycles, "cycles", Cycle, "CPU cycles, user and kernel.";
    RefCycles, "ref_cycles", Cycle, "Time-stamp-counter ticks while on a CPU.";
    Instructions, "instructions", Event, "Instructions retired.";
    BranchMisses, "branch_misses", Event, "Mispredicted branches.";
    CacheMisses, "cache_misses", Event, "Last-level cache misses.";
    WasmOps, "wasm_ops", Event, "WebAssembly operators executed, as wasmtime counts them.";
    PageFaults, "page_faults", Event, "Page faults, minor and major.";
    ContextSwitches, "context_switches", Event, "Context switches.";
    Migrations, "migrations", Event, "Moves to another CPU.";
    MemoryPeak, "memory_peak", Byte, "Most memory resident at one time.";
    MemoryStartup, "memory_startup", Byte, "Memory resident at the function's first instruction.";
    MemoryRss, "memory_rss", Byte, "Memory resident at one moment; a level, in samples only.";
    LinearMemory, "linear_memory", Byte, "Size of the WebAssembly linear memories at the end.";
    MemoryGrowFailed, "memory_grow_failed", Event, "Requests for more WebAssembly memory that were refused.";
    MemoryAllocated, "memory_allocated", Byte, "Memory the function was given, and is billed for.";
    MemoryTime, "memory_time", ByteMillisecond, "Resident memory integrated over the samples.";
    VcpuAllocated, "vcpu_allocated", MilliCpu, "CPU the function was given, and may be billed for.";
    IoRead, "io_read", Byte, "Bytes read from storage.";
    IoWrite, "io_write", Byte, "Bytes written to storage.";
}

/// Unit of a [`Meter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Nanoseconds.
    Nanosecond,
    /// Clock cycles or ticks.
    Cycle,
    /// A count of events.
    Event,
    /// Bytes.
    Byte,
    /// Thousandths of a CPU.
    MilliCpu,
    /// Bytes times milliseconds; with nanoseconds, 128 MiB would overflow 64 bits after a
    /// minute.
    ByteMillisecond,
}

impl Meter {
    /// Returns the meter called `name`, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|meter| meter.name() == name)
    }
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Meter {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Meter {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name)
            .ok_or_else(|| serde::de::Error::custom(format!("unknown meter `{name}`")))
    }
}

/// Origin of a meter's value; it is always stored and shown with the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A hardware counter of the CPU's performance monitoring unit.
    PerfHardware,
    /// A software event of the kernel's perf subsystem.
    PerfSoftware,
    /// The `tsc` event of perf's `msr` PMU.
    PerfMsrTsc,
    /// A control group's own accounting.
    Cgroup,
    /// A file under `/proc`.
    Procfs,
    /// The kernel's accounting of a finished process (`wait4`).
    Rusage,
    /// wasmtime fuel.
    Fuel,
    /// The WebAssembly resource limiter.
    Limiter,
    /// A clock of the kernel: the monotonic one, or one of CPU time.
    Clock,
    /// Set by the plan, not measured.
    Plan,
    /// Computed from the sampler's time series.
    Samples,
    /// A log or trace that was measured elsewhere and imported.
    Log,
    /// Derived from another meter: see the note.
    Estimate,
}

impl Source {
    /// Every source.
    pub const ALL: &'static [Self] = &[
        Self::PerfHardware,
        Self::PerfSoftware,
        Self::PerfMsrTsc,
        Self::Cgroup,
        Self::Procfs,
        Self::Rusage,
        Self::Fuel,
        Self::Limiter,
        Self::Clock,
        Self::Plan,
        Self::Samples,
        Self::Log,
        Self::Estimate,
    ];

    /// Returns the label that is stored and shown.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::PerfHardware => "perf:hw",
            Self::PerfSoftware => "perf:sw",
            Self::PerfMsrTsc => "perf:msr/tsc",
            Self::Cgroup => "cgroup",
            Self::Procfs => "procfs",
            Self::Rusage => "rusage",
            Self::Fuel => "fuel",
            Self::Limiter => "limiter",
            Self::Clock => "clock",
            Self::Plan => "plan",
            Self::Samples => "samples",
            Self::Log => "log",
            Self::Estimate => "estimate",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

/// Note of a counter that leaves out kernel mode; [`Provenance::user_only`] is set with it.
pub const USER_ONLY: &str = "user mode only: perf_event_paranoid forbids kernel mode";

/// Source of one meter in one lane, or the reason why it has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Source of the value; `None` if the meter was not measured, in which case `note` says
    /// why.
    pub source: Option<Source>,
    /// Remark that a reader needs to interpret the value, or the reason why there is none.
    pub note: String,
    /// Whether the value leaves out kernel mode.
    pub user_only: bool,
}

impl Provenance {
    /// Creates the provenance of a value from `source`, in user and kernel mode.
    #[must_use]
    pub fn from_source(source: Source, note: impl Into<String>) -> Self {
        Self { source: Some(source), note: note.into(), user_only: false }
    }

    /// Creates the provenance of a value that is missing, with the reason.
    #[must_use]
    pub fn missing(reason: impl Into<String>) -> Self {
        Self { source: None, note: reason.into(), user_only: false }
    }
}

/// Sources of all meters of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provenances(BTreeMap<Meter, Provenance>);

impl Provenances {
    /// Sets the provenance of `meter`; ids in its note are masked.
    pub fn set_provenance(&mut self, meter: Meter, mut provenance: Provenance) {
        provenance.note = mask_ids(&provenance.note);
        self.0.insert(meter, provenance);
    }

    /// Sets the source of `meter`.
    pub fn set_source(&mut self, meter: Meter, source: Source, note: impl Into<String>) {
        self.set_provenance(meter, Provenance::from_source(source, note));
    }

    /// Marks `meter` as missing, with the reason.
    pub fn set_missing(&mut self, meter: Meter, reason: impl Into<String>) {
        self.set_provenance(meter, Provenance::missing(reason));
    }

    /// Sets the source of [`Meter::MemoryTime`], which is computed from the sampler's
    /// readings.
    pub fn set_sampled_memory_time(&mut self) {
        self.set_source(
            Meter::MemoryTime,
            Source::Samples,
            "resident memory at each sample, held until the next; missing where none fell inside",
        );
    }

    /// Returns the provenance of `meter`, if it is known.
    #[must_use]
    pub fn get(&self, meter: Meter) -> Option<&Provenance> {
        self.0.get(&meter)
    }

    /// Iterates over all entries, ordered by meter.
    pub fn iter(&self) -> impl Iterator<Item = (Meter, &Provenance)> {
        self.0.iter().map(|(meter, provenance)| (*meter, provenance))
    }

    /// Merges the entries of `other`, which replace those of the same meter.
    pub fn override_with(&mut self, other: &Self) {
        self.0.extend(other.0.iter().map(|(meter, provenance)| (*meter, provenance.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_again() {
        for meter in Meter::ALL {
            assert_eq!(Meter::from_name(meter.name()), Some(*meter));
        }
        assert_eq!(Meter::from_name("cycle"), None);
    }
}
