//! Resolution of the clocks from which times are read.

use nix::time::{ClockId, clock_getres, clock_gettime};
use serde::{Deserialize, Serialize};

use super::host;
use cyclometer_core::units::Nanos;

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
    /// Measures the clock, for about a millisecond.
    #[must_use]
    pub fn measure() -> Option<Self> {
        const READINGS: usize = 4_000;
        let resolution = clock_getres(ClockId::CLOCK_MONOTONIC).ok()?;
        let nanos = |time: nix::sys::time::TimeSpec| -> Option<u64> {
            let seconds = u64::try_from(time.tv_sec()).ok()?;
            Some(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).ok()?)
        };
        let mut readings = Vec::with_capacity(READINGS);
        for _ in 0..READINGS {
            readings.push(clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?);
        }
        let readings: Vec<u64> = readings.into_iter().filter_map(nanos).collect();
        let mut steps: Vec<u64> =
            readings.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
        steps.sort_unstable();
        Some(Self {
            resolution_ns: nanos(resolution)?,
            step_ns: steps.iter().copied().find(|step| *step > 0)?,
            read_ns: *steps.get(steps.len() / 2)?,
            counters_ns: host::read_cost().map(|cost| cost.all.0),
        })
    }

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

    #[test]
    fn the_clock_of_this_machine_is_fine_enough_for_its_lanes() {
        let clock = MonotonicClock::measure().expect("a clock");
        assert!(clock.resolution_ns >= 1 && clock.step_ns >= clock.resolution_ns);
        // A start of a millisecond must be a thousand quanta at least.
        assert!(clock.quantum() < Nanos(100_000), "{clock:?}");
    }
}
