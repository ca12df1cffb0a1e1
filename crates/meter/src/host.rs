//! The host machine: its fingerprint for recordings, its time-stamp counter, and the cost
//! and state of its counters.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use super::cgroup::Hierarchy;
use super::clock::{MonotonicClock, measure_monotonic_clock};
use super::perf::{CounterTarget, Counters, read_paranoid_level};
use super::quota::{CpuQuota, find_cpu_quota};
use super::{Meter, Source};
use cyclometer_core::units::Nanos;

/// Fingerprint of the machine that a recording is made on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Host name.
    pub hostname: Option<String>,
    /// Model of the first CPU.
    pub cpu: Option<String>,
    /// Logical CPUs.
    pub cpus: Option<usize>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Distribution and version.
    pub os: Option<String>,
    /// Architecture.
    pub arch: String,
    /// Ticks of the time-stamp counter per second, as calibrated here.
    pub tsc_hz: Option<u64>,
    /// Layout of the control groups.
    pub cgroups: Option<String>,
    /// `/proc/sys/kernel/perf_event_paranoid`.
    pub perf_event_paranoid: Option<i32>,
    /// Frequency governor of CPU 0; virtual machines usually have none.
    pub governor: Option<String>,
    /// Version of this program.
    pub cyclometer: String,
    /// Properties of its clock.
    #[serde(default)]
    pub clock: Option<MonotonicClock>,
    /// The tightest CPU quota around this program.
    #[serde(default)]
    pub cpu_quota: Option<CpuQuota>,
    /// CPUs that this program may run on.
    #[serde(default)]
    pub cpus_allowed: Option<usize>,
}

impl Fingerprint {
    /// Takes the fingerprint of this machine.
    #[must_use]
    pub fn for_this_host() -> Self {
        let system = System::new_with_specifics(
            RefreshKind::nothing()
                .with_cpu(CpuRefreshKind::nothing())
                .with_memory(MemoryRefreshKind::nothing().with_ram()),
        )
        .ok();
        let cpus = system.as_ref().map(System::cpus);
        let governor = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
        Self {
            hostname: System::host_name().ok(),
            cpu: cpus.and_then(<[_]>::first).map(|cpu| cpu.brand().trim().to_owned()),
            cpus: cpus.map(<[_]>::len),
            memory_bytes: system.as_ref().map(System::total_memory),
            kernel: System::kernel_version().ok(),
            os: System::long_os_version().ok(),
            arch: System::cpu_arch(),
            tsc_hz: tsc_hz(),
            cgroups: Hierarchy::detect().ok().map(|it| it.version().label().to_owned()),
            perf_event_paranoid: read_paranoid_level(),
            governor: std::fs::read_to_string(governor).ok().map(|text| text.trim().to_owned()),
            cyclometer: env!("CARGO_PKG_VERSION").to_owned(),
            clock: measure_monotonic_clock(),
            cpu_quota: find_cpu_quota().ok().flatten(),
            cpus_allowed: cpus_allowed(),
        }
    }
}

/// Counts the CPUs that this process may run on, by its affinity and its cpuset.
fn cpus_allowed() -> Option<usize> {
    let all = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).ok()?;
    Some((0..nix::sched::CpuSet::count()).filter(|cpu| all.is_set(*cpu) == Ok(true)).count())
}

/// Returns the ticks of the time-stamp counter per second; `None` without one. It is
/// calibrated once per process against the raw monotonic clock, for 20 ms.
#[must_use]
pub fn tsc_hz() -> Option<u64> {
    static HZ: OnceLock<Option<u64>> = OnceLock::new();
    *HZ.get_or_init(|| calibrate_tsc(Duration::from_millis(20)))
}

fn calibrate_tsc(span: Duration) -> Option<u64> {
    let (tsc_start, clock_start) = tsc_and_clock()?;
    let until = Instant::now() + span;
    while Instant::now() < until {
        std::thread::sleep(span / 10);
    }
    let (tsc_end, clock_end) = tsc_and_clock()?;
    let nanos = u128::from(clock_end.checked_sub(clock_start)?);
    let ticks = u128::from(tsc_end.checked_sub(tsc_start)?);
    if nanos == 0 {
        return None;
    }
    u64::try_from(ticks * 1_000_000_000 / nanos).ok()
}

/// Reads both clocks at one moment: the closest pair of eight tries.
fn tsc_and_clock() -> Option<(u64, u64)> {
    let one = || {
        let before = crate::tsc::read_tsc()?;
        let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC_RAW).ok()?;
        let after = crate::tsc::read_tsc()?;
        let nanos = u64::try_from(time.tv_sec()).ok()? * 1_000_000_000
            + u64::try_from(time.tv_nsec()).ok()?;
        let gap = after.checked_sub(before)?;
        Some((gap, before + gap / 2, nanos))
    };
    (0..8).filter_map(|_| one()).min().map(|(_, tsc, nanos)| (tsc, nanos))
}

/// Cost of reading the counters of a thread on this machine.
#[derive(Debug, Clone, Copy)]
pub struct ReadCost {
    /// Time to read one counter.
    pub one: Nanos,
    /// Time to read all counters that open here.
    pub all: Nanos,
}

/// Measures [`ReadCost`]; `None` when no counter opens.
#[must_use]
pub fn read_cost() -> Option<ReadCost> {
    const ROUNDS: u32 = 2_000;
    let mut counters = Counters::open(CounterTarget::ThisThread);
    let meter = Meter::ALL.iter().copied().find(|meter| counters.has_counter(*meter))?;
    let time = |run: &mut dyn FnMut()| {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            run();
        }
        Nanos::from(start.elapsed() / ROUNDS)
    };
    let one = time(&mut || {
        std::hint::black_box(counters.read_one(meter));
    });
    let all = time(&mut || {
        std::hint::black_box(counters.read_all());
    });
    Some(ReadCost { one, all })
}

/// State of a counter on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterReport {
    /// Meter that it provides.
    pub meter: Meter,
    /// Source of the meter; `None` if it is missing.
    pub source: Option<Source>,
    /// Remark, or the reason why it is missing.
    pub note: String,
    /// Steps to make it available; empty where nothing helps.
    pub remedy: String,
}

/// Reports the state of every perf counter, one entry per meter.
#[must_use]
pub fn perf_report() -> Vec<CounterReport> {
    let counters = Counters::open(CounterTarget::ThisThread);
    let report = |(meter, it): (Meter, &super::Provenance)| {
        let mut remedy = counters.remedy_for(meter);
        if meter == Meter::RefCycles && it.source.is_none() && remedy.is_empty() {
            remedy.push_str("without it ref_cycles is estimated as cpu_time x TSC frequency");
        }
        CounterReport { meter, source: it.source, note: it.note.clone(), remedy }
    };
    counters.provenances().iter().map(report).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tsc_is_calibrated_to_a_tenth_of_a_percent() {
        let Some(hz) = tsc_hz() else {
            return cyclometer_testkit::skip("no time-stamp counter");
        };
        let again = calibrate_tsc(Duration::from_millis(40)).expect("calibrated once already");
        assert!(hz.abs_diff(again) < hz / 1_000, "{hz} Hz, then {again} Hz");
        assert!((400_000_000..10_000_000_000).contains(&hz), "{hz} Hz");
    }

    #[test]
    fn the_fingerprint_knows_this_machine() {
        let print = Fingerprint::for_this_host();
        let cpus = std::thread::available_parallelism().expect("known").get();
        assert!(print.cpus.is_some_and(|known| known >= cpus));
        assert!(print.memory_bytes.is_some_and(|bytes| bytes > 0) && print.kernel.is_some());
    }
}
