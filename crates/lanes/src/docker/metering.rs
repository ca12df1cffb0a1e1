//! Meters of one container: counters and accounting of a control group that was
//! created before it, as its parent. A warm container outlives its invocations, so
//! the difference between before and after an invocation is metered.
//!
//! Limits of these values: the group also holds what the OCI runtime does inside the
//! container's control group before the function starts (`runc init`, gVisor's
//! sandbox), so a container that does nothing is not free. How much of it preceded
//! the function is read inside the container by its starter, in the same group: see
//! `starter.c`. The peak of memory includes page cache and kernel memory. Work of the
//! engine and its shim outside the group, in `dockerd` and `containerd`, is not
//! included.

use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};

use super::phases::PhaseTimes;
use super::starter_report::StartupUsage;
use crate::cpu_share::{ShareUsage, limit_for};
use crate::{Job, Probe, StartKind};
use cyclometer_core::units::Nanos;
use cyclometer_meter::cgroup::InvocationGroup;
use cyclometer_meter::perf::{CounterSnapshot, CounterTarget, Counters, Counts};
use cyclometer_meter::quota::ThrottleMeter;
use cyclometer_meter::{Meter, Phases, Provenances, Source, Usage};
use cyclometer_workload::CpuShare;

/// Description of what is under a CPU share.
const SHARE_SCOPE: &str = "the container with the OCI runtime's start-up in it";

/// Meters that only perf counts.
const PERF_METERS: [Meter; 8] = [
    Meter::PageFaults,
    Meter::ContextSwitches,
    Meter::Migrations,
    Meter::Cycles,
    Meter::RefCycles,
    Meter::Instructions,
    Meter::BranchMisses,
    Meter::CacheMisses,
];
/// Meters that a control group accounts for by itself.
const GROUP_METERS: [Meter; 7] = [
    Meter::CpuTime,
    Meter::CpuUser,
    Meter::CpuSystem,
    Meter::CpuStartup,
    Meter::MemoryPeak,
    Meter::MemoryStartup,
    Meter::MemoryRss,
];

const NO_MEMORY: &str =
    "the control group has no memory accounting (kernel too old, or its controller is off)";
const OUTSIDE_GROUP: &str = "the runtime runs outside the measured hierarchy";
const NOT_MOUNTED: &str =
    "the container does not see its own control group: nothing at /sys/fs/cgroup in it tells";
const READ_INSIDE: &str = "the container's control group, read inside it just before the \
     function's exec, which is the first of the run: with the OCI runtime's start-up there and \
     without the engine's";
const CLOCKS: &str = "; cpu_time is perf's, whose clock and the group's differ by some tenths of a \
     per cent";
const MEMORY_INSIDE: &str = "the container's control group, read inside it just before the \
     function's exec; page cache and kernel memory included";
const START_UP: &str = "with the OCI runtime's start-up inside the container's control group";

/// State of the group's own accounting before an invocation.
#[derive(Debug, Clone)]
struct UsageBaseline {
    /// CPU time until then; `None`: not available, and so neither is the difference.
    cpu: Option<Nanos>,
    split: Option<(Nanos, Nanos)>,
    /// Reason why the peak of memory includes earlier invocations.
    stale_peak: Option<String>,
    /// Whether nothing ran in the group before.
    is_first: bool,
}

/// Baseline of a group that was just created and has used nothing.
impl Default for UsageBaseline {
    fn default() -> Self {
        let nothing = Nanos(0);
        let split = Some((nothing, nothing));
        Self { cpu: Some(nothing), split, stale_peak: None, is_first: true }
    }
}

/// Counters on the group, and their values before an invocation.
struct PerfCounting {
    counters: Counters,
    baseline: CounterSnapshot,
    cpu_before: Option<u64>,
    ticks_before: Option<u64>,
}

/// A control group and its counters, for one invocation at a time.
pub(super) struct ContainerMeter {
    group: InvocationGroup,
    /// Counters, or the reason why perf cannot watch the group.
    counters: Result<Mutex<PerfCounting>, String>,
    baseline: Mutex<UsageBaseline>,
    /// Meter of the time that a CPU quota held the group back, or why there is none.
    throttle: Result<Mutex<ThrottleMeter>, String>,
    /// CPU share of the group, if it has one.
    share: Option<CpuShare>,
    /// Frequency of the time-stamp counter in hertz, if known.
    tsc_hz: Option<u64>,
}

impl ContainerMeter {
    /// Limits `group` to its share of CPUs, if it is to have one, and starts to count what will run
    /// in it.
    ///
    /// # Errors
    /// The reason why the share cannot be enforced.
    pub fn for_group(
        group: InvocationGroup,
        share: Option<CpuShare>,
        tsc_hz: Option<u64>,
    ) -> Result<Self, String> {
        if let Some(share) = share {
            let limited = group.limit_cpu(limit_for(share));
            limited.map_err(|error| format!("no CPU share can be enforced: {error}"))?;
        }
        let counting = group.perf_directory().map_err(|error| error.to_string()).map(|directory| {
            let mut counters = Counters::open(CounterTarget::Cgroup(&directory));
            Mutex::new(PerfCounting {
                baseline: counters.read_all(),
                cpu_before: counters.read_one(Meter::CpuTime),
                ticks_before: counters.read_one(Meter::RefCycles),
                counters,
            })
        });
        let throttle = ThrottleMeter::for_group(&group).map(Mutex::new);
        Ok(Self { group, counters: counting, baseline: Mutex::default(), throttle, share, tsc_hz })
    }

    /// Explains that the group no longer has its CPU share, if so: an engine may set what it knows.
    pub(crate) fn explain_lost_share(&self) -> Option<String> {
        let share = self.share?;
        let lost = !self.group.has_cpu_limit(limit_for(share));
        lost.then(|| format!("the engine removed its CPU share of {share} from its control group"))
    }

    /// Starts to count anew, from the current values.
    pub(crate) fn reset_baseline(&self) {
        *self.baseline.lock() = UsageBaseline {
            cpu: self.group.cpu_time(),
            split: self.group.cpu_split(),
            stale_peak: self.group.reset_memory_peak().err(),
            is_first: false,
        };
        if let Ok(throttle) = &self.throttle {
            throttle.lock().take_throttled();
        }
        if let Some(mut counting) = self.lock_counters() {
            counting.baseline = counting.counters.read_all();
            counting.cpu_before = counting.counters.read_one(Meter::CpuTime);
            counting.ticks_before = counting.counters.read_one(Meter::RefCycles);
        }
    }

    /// Returns the memory that the group holds now, in bytes.
    pub(crate) fn current_memory(&self) -> Option<u64> {
        self.group.memory_current().map(|level| level.0)
    }

    /// Returns the CPU time of the group since the baseline in nanoseconds, by its
    /// own accounting.
    fn cpu_since_baseline(&self) -> Option<u64> {
        let before = self.baseline.lock().cpu?;
        self.group.cpu_time().map(|time| time.saturating_since(before).0)
    }

    /// Returns the name of the group, as the engine gets it for the parent of the container.
    pub(crate) fn cgroup_parent(&self) -> &str {
        self.group.parent_name()
    }

    /// Returns a probe that reads live values as long as the invocation lasts.
    pub(crate) fn live_probe(self: &Arc<Self>) -> Box<dyn Probe> {
        Box::new(LiveProbe(Arc::downgrade(self)))
    }

    fn lock_counters(&self) -> Option<MutexGuard<'_, PerfCounting>> {
        Some(self.counters.as_ref().ok()?.lock())
    }

    /// Records the CPU share and the time throttled since the baseline, or why they are not known.
    fn record_throttled(&self, usage: &mut Usage, sources: &mut Provenances) {
        const GONE: &str = "the control group can no longer be read";
        if self.share.is_some() && self.cpu_since_baseline() == Some(0) {
            let reason = "nothing ran in the control group that has its CPU share";
            sources.set_missing(Meter::Throttled, reason);
            return sources.set_missing(Meter::VcpuAllocated, reason);
        }
        if let Some(share) = self.share {
            let throttled = self.throttle.as_ref().map_err(Clone::clone).and_then(|throttle| {
                let mut throttle = throttle.lock();
                let time = throttle.take_throttled().ok_or(GONE)?;
                Ok((time, throttle.has_several_quotas()))
            });
            let has_outer_quotas = throttled.as_ref().is_ok_and(|(_, several)| *several);
            let throttled = throttled.map(|(time, _)| time);
            let used = ShareUsage { share, throttled, has_outer_quotas };
            used.fill_usage(usage);
            return used.set_sources(SHARE_SCOPE, sources);
        }
        sources.set_missing(Meter::VcpuAllocated, crate::NO_CPU_LIMIT);
        let taken = self.throttle.as_ref().map_err(Clone::clone).and_then(|throttle| {
            let mut throttle = throttle.lock();
            let time = throttle.take_throttled().ok_or(GONE)?;
            Ok((time, throttle.quota_note()))
        });
        match taken {
            Ok((time, note)) => {
                usage.set(Meter::Throttled, time.0);
                sources.set_source(Meter::Throttled, Source::Cgroup, note);
            }
            Err(reason) => sources.set_missing(Meter::Throttled, reason),
        }
    }

    /// Reads everything counted since the baseline, with its sources.
    fn read_since_baseline(&self) -> (GroupValues, Provenances) {
        let accounted = self.cpu_since_baseline();
        let baseline = self.baseline.lock().clone();
        let mut sources = Provenances::default();
        let counts = match &self.counters {
            Ok(_) => self.lock_counters().map(|mut counting| {
                let after = counting.counters.read_all();
                sources.override_with(counting.counters.provenances());
                counting.counters.counts_between(&counting.baseline, &after)
            }),
            Err(reason) => {
                for meter in PERF_METERS.into_iter().chain([Meter::CpuTime]) {
                    sources.set_missing(meter, reason);
                }
                None
            }
        };
        let values = GroupValues {
            counts,
            accounted,
            split: self.group.cpu_split().zip(baseline.split).map(
                |((user, system), (user_before, system_before))| {
                    (user.saturating_since(user_before), system.saturating_since(system_before))
                },
            ),
            peak: match baseline.stale_peak {
                None => self.group.memory_peak().map(|peak| peak.0).ok_or_else(|| NO_MEMORY.into()),
                Some(reason) => Err(reason),
            },
            has_level: self.group.memory_current().is_some(),
            cpu_before: baseline.cpu,
            is_first: baseline.is_first,
            tsc_hz: self.tsc_hz,
        };
        (values, sources)
    }
}

/// Live values for the sampler. The reference is weak, so that the group goes away
/// with its invocation and not whenever the sampler's thread drops this.
struct LiveProbe(Weak<ContainerMeter>);

impl Probe for LiveProbe {
    fn read_values(&mut self) -> Vec<(Meter, u64)> {
        let Some(metered) = self.0.upgrade() else { return Vec::new() };
        let since = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        let (cpu, ticks) = metered.lock_counters().map_or((None, None), |mut counting| {
            let cpu = counting.counters.read_one(Meter::CpuTime);
            let ticks = counting.counters.read_one(Meter::RefCycles);
            (since(cpu, counting.cpu_before), since(ticks, counting.ticks_before))
        });
        let accounted = metered.cpu_since_baseline();
        let outside = runs_outside_group(cpu, accounted);
        let cpu = if outside { accounted } else { cpu.or(accounted) };
        let ticks =
            ticks.filter(|_| !outside).or_else(|| estimate_ref_cycles(cpu?, metered.tsc_hz?));
        let memory = metered.group.memory_current().map(|memory| memory.0);
        [(Meter::CpuTime, cpu), (Meter::RefCycles, ticks), (Meter::MemoryRss, memory)]
            .into_iter()
            .filter_map(|(meter, value)| Some((meter, value?)))
            .collect()
    }
}

/// Returns whether perf missed much of what the control group accounts for. The
/// allowance is for the two clocks being read one after the other.
fn runs_outside_group(counted: Option<u64>, accounted: Option<u64>) -> bool {
    match (counted, accounted) {
        (Some(counted), Some(accounted)) => {
            accounted > counted.saturating_add(counted / 20).saturating_add(5_000_000)
        }
        _ => false,
    }
}

/// Estimates the ticks of the time-stamp counter in CPU time given in nanoseconds.
fn estimate_ref_cycles(cpu_nanos: u64, tsc_hz: u64) -> Option<u64> {
    u64::try_from(u128::from(cpu_nanos) * u128::from(tsc_hz) / 1_000_000_000).ok()
}

/// Values as they were read, before they are interpreted.
struct GroupValues {
    counts: Option<Counts>,
    /// CPU time in nanoseconds, by the control group's own accounting.
    accounted: Option<u64>,
    split: Option<(Nanos, Nanos)>,
    /// Peak of memory in bytes, or the reason where there is none.
    peak: Result<u64, String>,
    has_level: bool,
    /// CPU time that the group had used before the invocation.
    cpu_before: Option<Nanos>,
    /// Whether nothing ran in the group before the invocation.
    is_first: bool,
    tsc_hz: Option<u64>,
}

/// Assembles the usage of an invocation and the source of each of its values.
/// `metered` is the reason where there is no control group, `before` the reason where
/// nobody read it when the function began.
pub(super) fn assemble_usage(
    metered: Result<&ContainerMeter, &str>,
    before: Result<StartupUsage, &str>,
    job: &Job,
    start: StartKind,
    times: &PhaseTimes,
) -> (Usage, Provenances) {
    let mut usage = Usage::new(start == StartKind::Cold);
    usage.phases = times.phases;
    let mut sources = match metered.map(ContainerMeter::read_since_baseline) {
        Ok((values, sources)) => values.into_usage(&mut usage, sources, before),
        Err(reason) => all_missing(reason),
    };
    match metered {
        Ok(metered) => metered.record_throttled(&mut usage, &mut sources),
        Err(reason) => {
            sources.set_missing(Meter::Throttled, reason);
            sources.set_missing(Meter::VcpuAllocated, crate::NO_CPU_LIMIT);
        }
    }
    usage.set(Meter::MemoryAllocated, job.limits.memory.0);
    sources.set_source(Meter::MemoryAllocated, Source::Plan, "the container's memory limit");
    usage.set(Meter::Wall, wall_nanos(&times.phases));
    sources.set_source(Meter::Wall, Source::Clock, times.basis.note());
    for meter in [Meter::WasmOps, Meter::LinearMemory, Meter::MemoryGrowFailed] {
        sources.set_missing(meter, "not WebAssembly");
    }
    for meter in [Meter::IoRead, Meter::IoWrite] {
        sources.set_missing(meter, "not metered in containers");
    }
    sources.set_sampled_memory_time();
    (usage, sources)
}

fn all_missing(reason: &str) -> Provenances {
    let mut sources = Provenances::default();
    for meter in PERF_METERS.into_iter().chain(GROUP_METERS) {
        sources.set_missing(meter, reason);
    }
    sources
}

/// Returns the wall time in nanoseconds of an invocation that got to its end. A start
/// that cannot be told from the run is part of the run.
fn wall_nanos(phases: &Phases) -> Option<u64> {
    Some(phases.create?.0 + phases.start.map_or(0, |span| span.0) + phases.run?.0)
}

impl GroupValues {
    fn into_usage(
        self,
        usage: &mut Usage,
        mut sources: Provenances,
        before: Result<StartupUsage, &str>,
    ) -> Provenances {
        let counted = self.counts.as_ref().and_then(|counts| counts.get(Meter::CpuTime));
        if self.accounted == Some(0) && counted.is_none_or(|counted| counted == 0) {
            return all_missing(match usage.phases.start {
                None => "the container did not start",
                Some(_) => "nothing ran in the control group that was made for the container",
            });
        }
        let outside = runs_outside_group(counted, self.accounted);
        self.record_cpu_time(counted.filter(|_| !outside), outside, usage, &mut sources);
        self.record_perf_counts(outside, usage, &mut sources);
        self.record_ref_cycles(outside, usage, &mut sources);
        self.record_split_and_memory(usage, &mut sources);
        self.record_startup(before, usage, &mut sources);
        sources
    }

    /// Sets CPU time and memory until the function's first instruction.
    fn record_startup(
        &self,
        before: Result<StartupUsage, &str>,
        usage: &mut Usage,
        sources: &mut Provenances,
    ) {
        let counted = sources.get(Meter::CpuTime).and_then(|it| it.source);
        match before.map_err(str::to_owned).and_then(|before| self.startup_cpu_nanos(before)) {
            Ok(startup) => {
                let most = usage.get(Meter::CpuTime).unwrap_or(startup);
                usage.set(Meter::CpuStartup, startup.min(most));
                let clocks = match counted {
                    Some(Source::PerfSoftware) => CLOCKS,
                    _ => "",
                };
                sources.set_source(
                    Meter::CpuStartup,
                    Source::Cgroup,
                    format!("{READ_INSIDE}{clocks}"),
                );
            }
            Err(reason) => sources.set_missing(Meter::CpuStartup, reason),
        }
        let memory = before.and_then(|before| before.memory.ok_or(NOT_MOUNTED));
        usage.set(Meter::MemoryStartup, memory.ok());
        match memory {
            Ok(_) => sources.set_source(Meter::MemoryStartup, Source::Cgroup, MEMORY_INSIDE),
            Err(reason) => sources.set_missing(Meter::MemoryStartup, reason),
        }
        if let (Ok(peak), Some(Source::Cgroup)) =
            (&self.peak, sources.get(Meter::MemoryPeak).and_then(|it| it.source))
        {
            let known = before.ok().filter(|_| self.is_first).and_then(|it| it.memory_peak);
            let whose = match known {
                Some(until_then) if *peak > until_then => "reached by the function",
                Some(_) => {
                    "reached before the function's first instruction: that of the run is less"
                }
                None => {
                    "whether reached before or after the function's first instruction is not known"
                }
            };
            let note = format!("page cache and kernel memory included; {START_UP}; {whose}");
            sources.set_source(Meter::MemoryPeak, Source::Cgroup, note);
        }
    }

    /// Returns the CPU time in nanoseconds that the invocation had used when the
    /// function began, or why it is not known.
    fn startup_cpu_nanos(&self, before: StartupUsage) -> Result<u64, String> {
        const OTHER: &str = "what the container read of its control group does not fit what this \
             machine accounts for";
        let accounted = self.accounted.ok_or("no CPU accounting in the group")?;
        let reading = before.cpu.ok_or(NOT_MOUNTED)?;
        let nothing = Nanos(0);
        let startup = reading.0.checked_sub(self.cpu_before.unwrap_or(nothing).0).ok_or(OTHER)?;
        if startup > accounted { Err(OTHER.to_owned()) } else { Ok(startup) }
    }

    fn record_cpu_time(
        &self,
        counted: Option<u64>,
        outside: bool,
        usage: &mut Usage,
        sources: &mut Provenances,
    ) {
        usage.set(Meter::CpuTime, counted.or(self.accounted));
        if counted.is_some() {
            sources.set_source(Meter::CpuTime, Source::PerfSoftware, START_UP);
            return;
        }
        let why = if outside {
            OUTSIDE_GROUP.to_owned()
        } else {
            sources.get(Meter::CpuTime).map_or_else(String::new, |source| source.note.clone())
        };
        if self.accounted.is_some() {
            let note = format!("not from perf: {why}; {START_UP}");
            sources.set_source(Meter::CpuTime, Source::Cgroup, note);
        } else {
            sources.set_missing(Meter::CpuTime, format!("no CPU accounting in the group; {why}"));
        }
    }

    fn record_perf_counts(&self, outside: bool, usage: &mut Usage, sources: &mut Provenances) {
        usage.counter_coverage_ppm =
            self.counts.as_ref().filter(|_| !outside).and_then(|counts| counts.coverage_ppm);
        for meter in PERF_METERS {
            let has_counter = sources.get(meter).is_some_and(|source| source.source.is_some());
            let value = self.counts.as_ref().and_then(|counts| counts.get(meter));
            if has_counter && outside {
                sources.set_missing(meter, OUTSIDE_GROUP);
            } else if has_counter && value.is_none() {
                sources.set_missing(meter, "its counter opened but never ran");
            } else {
                usage.set(meter, value);
            }
        }
    }

    fn record_ref_cycles(&self, outside: bool, usage: &mut Usage, sources: &mut Provenances) {
        if usage.get(Meter::RefCycles).is_some() {
            return;
        }
        let Some((cpu, hz)) = usage.get(Meter::CpuTime).zip(self.tsc_hz) else { return };
        usage.set(Meter::RefCycles, estimate_ref_cycles(cpu, hz));
        let why = if outside { OUTSIDE_GROUP } else { "no counter for it here" };
        let mhz = hz / 1_000_000;
        sources.set_source(
            Meter::RefCycles,
            Source::Estimate,
            format!("cpu_time x TSC frequency ({mhz} MHz): {why}"),
        );
    }

    fn record_split_and_memory(&self, usage: &mut Usage, sources: &mut Provenances) {
        const SPLIT: [Meter; 2] = [Meter::CpuUser, Meter::CpuSystem];
        usage.set(Meter::CpuUser, self.split.map(|(user, _)| user.0));
        usage.set(Meter::CpuSystem, self.split.map(|(_, system)| system.0));
        for meter in SPLIT {
            if self.split.is_some() {
                sources.set_source(meter, Source::Cgroup, "the split is the kernel's estimate");
            } else {
                sources.set_missing(meter, "the control group does not tell user from kernel mode");
            }
        }
        usage.set(Meter::MemoryPeak, self.peak.as_ref().ok().copied());
        match &self.peak {
            Ok(_) => {
                let note = format!("page cache and kernel memory included; {START_UP}");
                sources.set_source(Meter::MemoryPeak, Source::Cgroup, note);
            }
            Err(reason) => sources.set_missing(Meter::MemoryPeak, reason),
        }
        if self.has_level {
            let note = "in samples only; page cache and kernel memory included";
            sources.set_source(Meter::MemoryRss, Source::Cgroup, note);
        } else {
            sources.set_missing(Meter::MemoryRss, NO_MEMORY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn values(accounted: Option<u64>, tsc_hz: Option<u64>) -> GroupValues {
        let split = Some((Nanos(3 * MS), Nanos(MS)));
        GroupValues {
            counts: None,
            accounted,
            split,
            peak: Ok(4096),
            has_level: true,
            cpu_before: Some(Nanos(0)),
            is_first: true,
            tsc_hz,
        }
    }

    const UNREAD: Result<StartupUsage, &str> = Err("a test");

    fn uncounted() -> Provenances {
        all_missing("perf is forbidden")
    }

    #[test]
    fn a_sandbox_outside_the_hierarchy_is_noticed() {
        assert!(runs_outside_group(Some(2 * MS), Some(90 * MS)));
        assert!(!runs_outside_group(Some(20 * MS), Some(25 * MS)), "within the allowance");
        assert!(!runs_outside_group(Some(1_000 * MS), Some(1_050 * MS)), "within five per cent");
        assert!(runs_outside_group(Some(1_000 * MS), Some(1_060 * MS)));
        assert!(!runs_outside_group(None, Some(MS)) && !runs_outside_group(Some(MS), None));
    }

    #[test]
    fn estimates_do_not_overflow() {
        assert_eq!(estimate_ref_cycles(10 * MS, 2_500_000_000), Some(25_000_000));
        assert_eq!(estimate_ref_cycles(u64::MAX, 4_000_000_000), None);
    }

    #[test]
    fn without_counters_the_group_and_the_clock_frequency_serve() {
        let mut usage = Usage::new(true);
        let sources =
            values(Some(40 * MS), Some(2_000_000_000)).into_usage(&mut usage, uncounted(), UNREAD);
        assert_eq!(usage.get(Meter::CpuTime), Some(40 * MS));
        assert_eq!(usage.get(Meter::RefCycles), Some(80 * MS));
        assert_eq!(usage.get(Meter::PageFaults), None);
        let source = |meter| sources.get(meter).expect("an entry").clone();
        assert_eq!(source(Meter::CpuTime).source, Some(Source::Cgroup));
        assert!(source(Meter::CpuTime).note.contains("perf is forbidden"));
        assert_eq!(source(Meter::RefCycles).source, Some(Source::Estimate));
        assert_eq!(source(Meter::PageFaults).source, None);
    }

    /// Interprets a reading of `cpu` in a container whose group had used 10 ms before.
    fn startup_of(cpu: Option<u64>, is_first: bool) -> (Usage, Provenances) {
        let mut usage = Usage::new(true);
        let before =
            StartupUsage { cpu: cpu.map(Nanos), memory: Some(512), memory_peak: Some(4000) };
        let mut values = values(Some(40 * MS), None);
        values.cpu_before = Some(Nanos(10 * MS));
        values.is_first = is_first;
        let sources = values.into_usage(&mut usage, uncounted(), Ok(before));
        (usage, sources)
    }

    #[test]
    fn cpu_time_before_the_function_is_since_the_invocation_began() {
        let (usage, sources) = startup_of(Some(35 * MS), true);
        assert_eq!(usage.get(Meter::CpuStartup), Some(25 * MS));
        assert_eq!(usage.get(Meter::MemoryStartup), Some(512));
        let note = |meter| sources.get(meter).expect("an entry").note.clone();
        assert!(note(Meter::CpuStartup).contains("just before the function's exec"));
        // 4096 bytes at most, 4000 until then.
        assert!(note(Meter::MemoryPeak).contains("reached by the function"));
        let (_, sources) = startup_of(Some(35 * MS), false);
        let note = sources.get(Meter::MemoryPeak).expect("an entry").note.clone();
        assert!(note.contains("is not known"), "of earlier functions, too: {note}");
    }

    #[test]
    fn a_reading_of_another_group_is_not_believed() {
        // Less than before the invocation, more than all of it, and none.
        for cpu in [Some(9 * MS), Some(51 * MS), None] {
            let (usage, sources) = startup_of(cpu, true);
            assert_eq!(usage.get(Meter::CpuStartup), None, "{cpu:?}");
            assert_eq!(sources.get(Meter::CpuStartup).expect("a reason").source, None);
        }
        let mut usage = Usage::new(true);
        let sources = values(Some(MS), None).into_usage(&mut usage, uncounted(), UNREAD);
        assert_eq!(sources.get(Meter::CpuStartup).expect("a reason").note, "a test");
        assert_eq!(usage.get(Meter::MemoryStartup), None);
    }

    #[test]
    fn nothing_is_made_up() {
        let mut usage = Usage::new(true);
        usage.phases.start = Some(Nanos(1));
        let sources = values(Some(0), Some(1)).into_usage(&mut usage, uncounted(), UNREAD);
        assert_eq!(usage.get(Meter::CpuTime), None, "an empty group is not a free container");
        assert!(sources.get(Meter::MemoryPeak).is_some_and(|why| why.note.contains("nothing ran")));
        let mut usage = Usage::new(true);
        values(None, None).into_usage(&mut usage, uncounted(), UNREAD);
        assert_eq!((usage.get(Meter::CpuTime), usage.get(Meter::RefCycles)), (None, None));
    }
}
