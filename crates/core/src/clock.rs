//! Properties of the clocks from which times are read.

use serde::{Deserialize, Serialize};

use crate::units::Nanos;

/// Resolution of the kernel's accounting of CPU time: `rusage` and `cpu.stat` are reported
/// in microseconds.
pub const ACCOUNTING_RESOLUTION: Nanos = Nanos(1_000);

/// Resolution of CPU times in `/proc`: hundredths of a second, on every kernel since 2.6
/// (`sysconf(_SC_CLK_TCK)`).
pub const TICK_RESOLUTION: Nanos = Nanos(10_000_000);

/// Properties of the monotonic clock, measured when a recording begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonotonicClock {
    /// Resolution that the kernel reports (`clock_getres`).
    pub resolution_ns: u64,
    /// Smallest step seen between two readings.
    pub step_ns: u64,
    /// Median time from one reading to the next: the duration of an empty measurement.
    pub read_ns: u64,
    /// Time to read all counters of a thread; `None` where none opens.
    pub counters_ns: Option<u64>,
}

impl MonotonicClock {
    /// Returns the shortest time that this clock can measure meaningfully.
    #[must_use]
    pub fn quantum(&self) -> Nanos {
        // A coarse clock returns equal readings, with large steps between them.
        Nanos(self.resolution_ns.max(self.step_ns).max(self.read_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantum_is_the_worst_of_all() {
        let clock =
            MonotonicClock { resolution_ns: 1, step_ns: 20, read_ns: 35, counters_ns: None };
        assert_eq!(clock.quantum(), Nanos(35));
        let coarse = MonotonicClock { resolution_ns: 4_000_000, read_ns: 0, ..clock };
        assert_eq!(coarse.quantum(), Nanos(4_000_000));
    }
}
