//! Usage vector of an invocation, the only input that pricing gets.

use super::Meter;
use crate::units::Nanos;

/// Timed phases of one invocation; `None` where a lane has no such phase.
///
/// `prepare`, which runs once per lane and workload, is left out: it belongs to no single
/// invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Phases {
    /// Making the sandbox: fork up to the call of exec, worker process, container.
    pub create: Option<Nanos>,
    /// Bringing the function to its first instruction inside it.
    pub start: Option<Nanos>,
    /// From the first instruction to the end.
    pub run: Option<Nanos>,
    /// Taking the sandbox down; not part of the wall time.
    pub teardown: Option<Nanos>,
    /// Part of `start`: loading code that was compiled before.
    pub deserialize: Option<Nanos>,
    /// Part of `start`: making the instance from loaded code.
    pub instantiate: Option<Nanos>,
    /// Part of `teardown`: dropping the instance and its memory.
    pub release: Option<Nanos>,
}

impl Phases {
    /// Returns the time from the request to the function's first instruction.
    #[must_use]
    pub fn startup_time(&self) -> Option<Nanos> {
        match (self.create, self.start) {
            (None, None) => None,
            (create, start) => {
                let [create, start] = [create, start].map(|span| span.map_or(0, |span| span.0));
                Some(Nanos(create.saturating_add(start)))
            }
        }
    }
}

/// Values of all meters of one invocation. A meter that was not measured is `None`, never
/// 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    values: [Option<u64>; Meter::COUNT],
    /// The timed phases.
    pub phases: Phases,
    /// Whether the sandbox was made for this invocation (a cold start).
    pub cold: bool,
    /// Hardware counters' time running over time enabled, in parts per
    /// million, when the kernel multiplexed them; the values are scaled up.
    pub counter_coverage_ppm: Option<u32>,
}

impl Usage {
    /// Creates a usage with nothing measured yet.
    #[must_use]
    pub const fn new(cold: bool) -> Self {
        Self {
            values: [None; Meter::COUNT],
            phases: Phases {
                create: None,
                start: None,
                run: None,
                teardown: None,
                deserialize: None,
                instantiate: None,
                release: None,
            },
            cold,
            counter_coverage_ppm: None,
        }
    }

    /// Returns the value of `meter` in its unit; `None` if it was not measured.
    #[must_use]
    pub const fn get(&self, meter: Meter) -> Option<u64> {
        self.values[meter as usize]
    }

    /// Returns the CPU time from the function's first instruction on; `None` where it could
    /// not be told apart from the CPU time of the start-up.
    #[must_use]
    pub fn run_cpu_time(&self) -> Option<Nanos> {
        let cpu = self.get(Meter::CpuTime)?;
        match self.get(Meter::CpuStartup) {
            Some(startup) => Some(Nanos(cpu.saturating_sub(startup))),
            // Nothing came before the run.
            None if self.phases.startup_time().is_none_or(|span| span.0 == 0) => Some(Nanos(cpu)),
            None => None,
        }
    }

    /// Sets the value of `meter`, or its absence.
    pub fn set(&mut self, meter: Meter, value: impl Into<Option<u64>>) {
        self.values[meter as usize] = value.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_measured_is_none_not_zero() {
        let mut usage = Usage::new(true);
        assert!(Meter::ALL.iter().all(|meter| usage.get(*meter).is_none()));
        usage.set(Meter::Cycles, 0);
        assert_eq!(usage.get(Meter::Cycles), Some(0));
        assert_eq!(usage.phases.startup_time(), None);
        usage.phases.create = Some(Nanos(3));
        assert_eq!(usage.phases.startup_time(), Some(Nanos(3)));
    }

    #[test]
    fn cpu_time_of_the_run_is_not_guessed() {
        let mut usage = Usage::new(true);
        usage.set(Meter::CpuTime, 100);
        assert_eq!(usage.run_cpu_time(), Some(Nanos(100)), "there was no start-up");
        usage.phases.start = Some(Nanos(0));
        assert_eq!(usage.run_cpu_time(), Some(Nanos(100)));
        usage.phases.create = Some(Nanos(1));
        assert_eq!(usage.run_cpu_time(), None, "1 ns of start-up, and nobody knows whose");
        usage.set(Meter::CpuStartup, 30);
        assert_eq!(usage.run_cpu_time(), Some(Nanos(70)));
        usage.set(Meter::CpuStartup, 101);
        assert_eq!(usage.run_cpu_time(), Some(Nanos(0)));
        usage.set(Meter::CpuTime, None);
        assert_eq!(usage.run_cpu_time(), None);
    }
}
