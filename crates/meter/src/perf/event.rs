//! Perf events that are counted, and the meters that they provide.

use std::io;

use perf_event::Builder;
use perf_event::events::{self, x86::Msr};

use crate::{Meter, Source};

/// Perf event; [`Self::ALL`] has the order in which events are opened and reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PerfEvent {
    TaskClock,
    PageFaults,
    ContextSwitches,
    Migrations,
    Cycles,
    Instructions,
    RefCycles,
    BranchMisses,
    CacheMisses,
    MsrTsc,
}

impl PerfEvent {
    pub const ALL: [Self; 10] = [
        // Time and ticks are read next to each other: anything between the two readings is
        // missing in one of them, which shows in microseconds.
        Self::TaskClock,
        Self::RefCycles,
        Self::MsrTsc,
        Self::Cycles,
        Self::Instructions,
        Self::BranchMisses,
        Self::CacheMisses,
        Self::PageFaults,
        Self::ContextSwitches,
        Self::Migrations,
    ];

    /// Returns the group that the event may share, if any: all events of a group count at
    /// once or none does, and a CPU has few counters.
    pub(crate) const fn event_group(self) -> Option<EventGroup> {
        match self {
            Self::Cycles | Self::Instructions | Self::RefCycles => Some(EventGroup::Core),
            // In a group led by a software event the ticks were seen to stand
            // still, or to be 0, while the clock beside them ran (Linux 6.18).
            Self::MsrTsc | Self::BranchMisses | Self::CacheMisses => None,
            _ => Some(EventGroup::Kernel),
        }
    }

    pub const fn meter(self) -> Meter {
        match self {
            Self::TaskClock => Meter::CpuTime,
            Self::PageFaults => Meter::PageFaults,
            Self::ContextSwitches => Meter::ContextSwitches,
            Self::Migrations => Meter::Migrations,
            Self::Cycles => Meter::Cycles,
            Self::Instructions => Meter::Instructions,
            Self::RefCycles | Self::MsrTsc => Meter::RefCycles,
            Self::BranchMisses => Meter::BranchMisses,
            Self::CacheMisses => Meter::CacheMisses,
        }
    }

    pub const fn source(self) -> Source {
        match self {
            Self::TaskClock | Self::PageFaults | Self::ContextSwitches | Self::Migrations => {
                Source::PerfSoftware
            }
            Self::MsrTsc => Source::PerfMsrTsc,
            _ => Source::PerfHardware,
        }
    }

    /// Returns whether the event is meaningful without kernel mode. Context switches and
    /// migrations happen in the kernel: such a counter opens, and reads 0 for ever.
    pub(crate) const fn counts_in_user_mode(self) -> bool {
        !matches!(self, Self::ContextSwitches | Self::Migrations | Self::MsrTsc)
    }

    /// Returns whether any code makes the event count, so that 0 is not a valid count.
    pub(crate) const fn always_counts(self) -> bool {
        matches!(self, Self::Cycles | Self::Instructions | Self::RefCycles)
    }

    pub(crate) fn prepare_builder<'a>(self) -> io::Result<Builder<'a>> {
        Ok(match self {
            Self::TaskClock => Builder::new(events::Software::TASK_CLOCK),
            Self::PageFaults => Builder::new(events::Software::PAGE_FAULTS),
            Self::ContextSwitches => Builder::new(events::Software::CONTEXT_SWITCHES),
            Self::Migrations => Builder::new(events::Software::CPU_MIGRATIONS),
            Self::Cycles => Builder::new(events::Hardware::CPU_CYCLES),
            Self::Instructions => Builder::new(events::Hardware::INSTRUCTIONS),
            Self::RefCycles => Builder::new(events::Hardware::REF_CPU_CYCLES),
            Self::BranchMisses => Builder::new(events::Hardware::BRANCH_MISSES),
            Self::CacheMisses => Builder::new(events::Hardware::CACHE_MISSES),
            Self::MsrTsc => Builder::new(Msr::new(events::x86::MsrId::TSC)?),
        })
    }
}

/// Group of events that are read together on the calling thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventGroup {
    /// The kernel's own events, which never wait for a counter.
    Kernel,
    /// Events that most CPUs count in fixed counters.
    Core,
}
