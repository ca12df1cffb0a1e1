//! Measurement of the clock from which times are read.

use nix::time::{ClockId, clock_getres, clock_gettime};

use super::host;
pub use cyclometer_core::clock::MonotonicClock;

/// Measures the clock, for about a millisecond.
#[must_use]
pub(crate) fn measure_monotonic_clock() -> Option<MonotonicClock> {
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
    Some(MonotonicClock {
        resolution_ns: nanos(resolution)?,
        step_ns: steps.iter().copied().find(|step| *step > 0)?,
        read_ns: *steps.get(steps.len() / 2)?,
        counters_ns: host::read_cost().map(|cost| cost.all.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyclometer_core::units::Nanos;

    #[test]
    fn the_clock_of_this_machine_is_fine_enough_for_its_lanes() {
        let clock = measure_monotonic_clock().expect("a clock");
        assert!(clock.resolution_ns >= 1 && clock.step_ns >= clock.resolution_ns);
        // A start of a millisecond must be a thousand quanta at least.
        assert!(clock.quantum() < Nanos(100_000), "{clock:?}");
    }
}
