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

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::phases::Timed;
use super::report::Before;
use crate::{Job, Probe, StartKind};
use cyclometer_core::units::Nanos;
use cyclometer_meter::cgroup::Group;
use cyclometer_meter::perf::{Counters, Counts, Snapshot, Target};
use cyclometer_meter::quota::ThrottleMeter;
use cyclometer_meter::{Meter, Phases, Provenances, Source, Usage};

/// Meters that only perf counts.
const COUNTED: [Meter; 8] = [
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
const ACCOUNTED: [Meter; 7] = [
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
const OUTSIDE: &str = "the runtime runs outside the measured hierarchy";
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
struct Baseline {
    /// CPU time until then; `None`: not available, and so neither is the difference.
    cpu: Option<Nanos>,
    split: Option<(Nanos, Nanos)>,
    /// Reason why the peak of memory includes earlier invocations.
    stale_peak: Option<String>,
    /// Whether nothing ran in the group before.
    is_first: bool,
}

/// Baseline of a group that was just created and has used nothing.
impl Default for Baseline {
    fn default() -> Self {
        let nothing = Nanos(0);
        let split = Some((nothing, nothing));
        Self { cpu: Some(nothing), split, stale_peak: None, is_first: true }
    }
}

/// Counters on the group, and their values before an invocation.
struct Counting {
    counters: Counters,
    baseline: Snapshot,
    cpu_before: Option<u64>,
    ticks_before: Option<u64>,
}

/// A control group and its counters, for one invocation at a time.
pub(super) struct Metered {
    group: Group,
    /// Counters, or the reason why perf cannot watch the group.
    counting: Result<Mutex<Counting>, String>,
    baseline: Mutex<Baseline>,
    /// Meter of the time that a CPU quota held the group back, or why there is none.
    throttle: Result<Mutex<ThrottleMeter>, String>,
    /// Frequency of the time-stamp counter in hertz, if known.
    tsc_hz: Option<u64>,
}

impl Metered {
    /// Starts to count what will run in `group`.
    pub fn open(group: Group, tsc_hz: Option<u64>) -> Self {
        let counting = group.perf_directory().map_err(|error| error.to_string()).map(|directory| {
            let mut counters = Counters::open(Target::Cgroup(&directory));
            Mutex::new(Counting {
                baseline: counters.read(),
                cpu_before: counters.read_one(Meter::CpuTime),
                ticks_before: counters.read_one(Meter::RefCycles),
                counters,
            })
        });
        let throttle = ThrottleMeter::for_group(&group).map(Mutex::new);
        Self { group, counting, baseline: Mutex::default(), throttle, tsc_hz }
    }

    /// Starts to count anew, from the current values.
    pub fn begin_anew(&self) {
        *lock(&self.baseline) = Baseline {
            cpu: self.group.cpu_time(),
            split: self.group.cpu_split(),
            stale_peak: self.group.reset_memory_peak().err(),
            is_first: false,
        };
        if let Ok(throttle) = &self.throttle {
            lock(throttle).take();
        }
        if let Some(mut counting) = self.counting() {
            counting.baseline = counting.counters.read();
            counting.cpu_before = counting.counters.read_one(Meter::CpuTime);
            counting.ticks_before = counting.counters.read_one(Meter::RefCycles);
        }
    }

    /// Returns the memory that the group holds now, in bytes.
    pub fn level(&self) -> Option<u64> {
        self.group.memory_current().map(|level| level.0)
    }

    /// Returns the CPU time of the group since the baseline in nanoseconds, by its
    /// own accounting.
    fn accounted(&self) -> Option<u64> {
        let before = lock(&self.baseline).cpu?;
        self.group.cpu_time().map(|time| time.since(before).0)
    }

    /// Returns the name of the group, as the engine gets it for the parent of the container.
    pub fn parent(&self) -> &str {
        self.group.parent_name()
    }

    /// Returns a probe that reads live values as long as the invocation lasts.
    pub fn probe(self: &Arc<Self>) -> Box<dyn Probe> {
        Box::new(Live(Arc::downgrade(self)))
    }

    fn counting(&self) -> Option<MutexGuard<'_, Counting>> {
        Some(lock(self.counting.as_ref().ok()?))
    }

    /// Records the time throttled since the baseline, or why it is not known.
    fn enter_throttled(&self, usage: &mut Usage, sources: &mut Provenances) {
        let taken = self.throttle.as_ref().map_err(Clone::clone).and_then(|throttle| {
            let mut throttle = lock(throttle);
            let time = throttle.take().ok_or("the control group can no longer be read")?;
            Ok((time, throttle.note()))
        });
        match taken {
            Ok((time, note)) => {
                usage.set(Meter::Throttled, time.0);
                sources.set(Meter::Throttled, Source::Cgroup, note);
            }
            Err(reason) => sources.missing(Meter::Throttled, reason),
        }
    }

    /// Reads everything counted since the baseline, with its sources.
    fn read(&self) -> (Values, Provenances) {
        let accounted = self.accounted();
        let baseline = lock(&self.baseline).clone();
        let mut sources = Provenances::default();
        let counts = match &self.counting {
            Ok(_) => self.counting().map(|mut counting| {
                let after = counting.counters.read();
                sources.merge(counting.counters.provenances());
                counting.counters.between(&counting.baseline, &after)
            }),
            Err(reason) => {
                for meter in COUNTED.into_iter().chain([Meter::CpuTime]) {
                    sources.missing(meter, reason);
                }
                None
            }
        };
        let values = Values {
            counts,
            accounted,
            split: self.group.cpu_split().zip(baseline.split).map(
                |((user, system), (user_before, system_before))| {
                    (user.since(user_before), system.since(system_before))
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Live values for the sampler. The reference is weak, so that the group goes away
/// with its invocation and not whenever the sampler's thread drops this.
struct Live(Weak<Metered>);

impl Probe for Live {
    fn read(&mut self) -> Vec<(Meter, u64)> {
        let Some(metered) = self.0.upgrade() else { return Vec::new() };
        let since = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        let (cpu, ticks) = metered.counting().map_or((None, None), |mut counting| {
            let cpu = counting.counters.read_one(Meter::CpuTime);
            let ticks = counting.counters.read_one(Meter::RefCycles);
            (since(cpu, counting.cpu_before), since(ticks, counting.ticks_before))
        });
        let accounted = metered.accounted();
        let outside = is_outside(cpu, accounted);
        let cpu = if outside { accounted } else { cpu.or(accounted) };
        let ticks = ticks.filter(|_| !outside).or_else(|| estimate(cpu?, metered.tsc_hz?));
        let memory = metered.group.memory_current().map(|memory| memory.0);
        [(Meter::CpuTime, cpu), (Meter::RefCycles, ticks), (Meter::MemoryRss, memory)]
            .into_iter()
            .filter_map(|(meter, value)| Some((meter, value?)))
            .collect()
    }
}

/// Returns whether perf missed much of what the control group accounts for. The
/// allowance is for the two clocks being read one after the other.
fn is_outside(counted: Option<u64>, accounted: Option<u64>) -> bool {
    match (counted, accounted) {
        (Some(counted), Some(accounted)) => {
            accounted > counted.saturating_add(counted / 20).saturating_add(5_000_000)
        }
        _ => false,
    }
}

/// Estimates the ticks of the time-stamp counter in CPU time given in nanoseconds.
fn estimate(cpu_nanos: u64, tsc_hz: u64) -> Option<u64> {
    u64::try_from(u128::from(cpu_nanos) * u128::from(tsc_hz) / 1_000_000_000).ok()
}

/// Values as they were read, before they are interpreted.
struct Values {
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
pub(super) fn account(
    metered: Result<&Metered, &str>,
    before: Result<Before, &str>,
    job: &Job,
    start: StartKind,
    times: &Timed,
) -> (Usage, Provenances) {
    let mut usage = Usage::new(start == StartKind::Cold);
    usage.phases = times.phases;
    let mut sources = match metered.map(Metered::read) {
        Ok((values, sources)) => values.into_usage(&mut usage, sources, before),
        Err(reason) => missing(reason),
    };
    match metered {
        Ok(metered) => metered.enter_throttled(&mut usage, &mut sources),
        Err(reason) => sources.missing(Meter::Throttled, reason),
    }
    usage.set(Meter::MemoryAllocated, job.limits.memory.0);
    sources.set(Meter::MemoryAllocated, Source::Plan, "the container's memory limit");
    sources.missing(Meter::VcpuAllocated, crate::WHOLE_CPU);
    usage.set(Meter::Wall, wall(&times.phases));
    sources.set(Meter::Wall, Source::Clock, times.basis.note());
    for meter in [Meter::WasmOps, Meter::LinearMemory, Meter::MemoryGrowFailed] {
        sources.missing(meter, "not WebAssembly");
    }
    for meter in [Meter::IoRead, Meter::IoWrite] {
        sources.missing(meter, "not metered in containers");
    }
    sources.set_sampled();
    (usage, sources)
}

fn missing(reason: &str) -> Provenances {
    let mut sources = Provenances::default();
    for meter in COUNTED.into_iter().chain(ACCOUNTED) {
        sources.missing(meter, reason);
    }
    sources
}

/// Returns the wall time in nanoseconds of an invocation that got to its end. A start
/// that cannot be told from the run is part of the run.
fn wall(phases: &Phases) -> Option<u64> {
    Some(phases.create?.0 + phases.start.map_or(0, |span| span.0) + phases.run?.0)
}

impl Values {
    fn into_usage(
        self,
        usage: &mut Usage,
        mut sources: Provenances,
        before: Result<Before, &str>,
    ) -> Provenances {
        let counted = self.counts.as_ref().and_then(|counts| counts.get(Meter::CpuTime));
        if self.accounted == Some(0) && counted.is_none_or(|counted| counted == 0) {
            return missing(match usage.phases.start {
                None => "the container did not start",
                Some(_) => "nothing ran in the control group that was made for the container",
            });
        }
        let outside = is_outside(counted, self.accounted);
        self.cpu_time(counted.filter(|_| !outside), outside, usage, &mut sources);
        self.counted(outside, usage, &mut sources);
        self.ref_cycles(outside, usage, &mut sources);
        self.split_and_memory(usage, &mut sources);
        self.startup(before, usage, &mut sources);
        sources
    }

    /// Sets CPU time and memory until the function's first instruction.
    fn startup(&self, before: Result<Before, &str>, usage: &mut Usage, sources: &mut Provenances) {
        let counted = sources.get(Meter::CpuTime).and_then(|it| it.source);
        match before.map_err(str::to_owned).and_then(|before| self.cpu_startup(before)) {
            Ok(startup) => {
                let most = usage.get(Meter::CpuTime).unwrap_or(startup);
                usage.set(Meter::CpuStartup, startup.min(most));
                let clocks = match counted {
                    Some(Source::PerfSoftware) => CLOCKS,
                    _ => "",
                };
                sources.set(Meter::CpuStartup, Source::Cgroup, format!("{READ_INSIDE}{clocks}"));
            }
            Err(reason) => sources.missing(Meter::CpuStartup, reason),
        }
        let memory = before.and_then(|before| before.memory.ok_or(NOT_MOUNTED));
        usage.set(Meter::MemoryStartup, memory.ok());
        match memory {
            Ok(_) => sources.set(Meter::MemoryStartup, Source::Cgroup, MEMORY_INSIDE),
            Err(reason) => sources.missing(Meter::MemoryStartup, reason),
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
            sources.set(Meter::MemoryPeak, Source::Cgroup, note);
        }
    }

    /// Returns the CPU time in nanoseconds that the invocation had used when the
    /// function began, or why it is not known.
    fn cpu_startup(&self, before: Before) -> Result<u64, String> {
        const OTHER: &str = "what the container read of its control group does not fit what this \
             machine accounts for";
        let accounted = self.accounted.ok_or("no CPU accounting in the group")?;
        let reading = before.cpu.ok_or(NOT_MOUNTED)?;
        let nothing = Nanos(0);
        let startup = reading.0.checked_sub(self.cpu_before.unwrap_or(nothing).0).ok_or(OTHER)?;
        if startup > accounted { Err(OTHER.to_owned()) } else { Ok(startup) }
    }

    fn cpu_time(
        &self,
        counted: Option<u64>,
        outside: bool,
        usage: &mut Usage,
        sources: &mut Provenances,
    ) {
        usage.set(Meter::CpuTime, counted.or(self.accounted));
        if counted.is_some() {
            sources.set(Meter::CpuTime, Source::PerfSoftware, START_UP);
            return;
        }
        let why = if outside {
            OUTSIDE.to_owned()
        } else {
            sources.get(Meter::CpuTime).map_or_else(String::new, |source| source.note.clone())
        };
        if self.accounted.is_some() {
            let note = format!("not from perf: {why}; {START_UP}");
            sources.set(Meter::CpuTime, Source::Cgroup, note);
        } else {
            sources.missing(Meter::CpuTime, format!("no CPU accounting in the group; {why}"));
        }
    }

    fn counted(&self, outside: bool, usage: &mut Usage, sources: &mut Provenances) {
        usage.counter_coverage_ppm =
            self.counts.as_ref().filter(|_| !outside).and_then(|counts| counts.coverage_ppm);
        for meter in COUNTED {
            let has_counter = sources.get(meter).is_some_and(|source| source.source.is_some());
            let value = self.counts.as_ref().and_then(|counts| counts.get(meter));
            if has_counter && outside {
                sources.missing(meter, OUTSIDE);
            } else if has_counter && value.is_none() {
                sources.missing(meter, "its counter opened but never ran");
            } else {
                usage.set(meter, value);
            }
        }
    }

    fn ref_cycles(&self, outside: bool, usage: &mut Usage, sources: &mut Provenances) {
        if usage.get(Meter::RefCycles).is_some() {
            return;
        }
        let Some((cpu, hz)) = usage.get(Meter::CpuTime).zip(self.tsc_hz) else { return };
        usage.set(Meter::RefCycles, estimate(cpu, hz));
        let why = if outside { OUTSIDE } else { "no counter for it here" };
        let mhz = hz / 1_000_000;
        sources.set(
            Meter::RefCycles,
            Source::Estimate,
            format!("cpu_time x TSC frequency ({mhz} MHz): {why}"),
        );
    }

    fn split_and_memory(&self, usage: &mut Usage, sources: &mut Provenances) {
        const SPLIT: [Meter; 2] = [Meter::CpuUser, Meter::CpuSystem];
        usage.set(Meter::CpuUser, self.split.map(|(user, _)| user.0));
        usage.set(Meter::CpuSystem, self.split.map(|(_, system)| system.0));
        for meter in SPLIT {
            if self.split.is_some() {
                sources.set(meter, Source::Cgroup, "the split is the kernel's estimate");
            } else {
                sources.missing(meter, "the control group does not tell user from kernel mode");
            }
        }
        usage.set(Meter::MemoryPeak, self.peak.as_ref().ok().copied());
        match &self.peak {
            Ok(_) => {
                let note = format!("page cache and kernel memory included; {START_UP}");
                sources.set(Meter::MemoryPeak, Source::Cgroup, note);
            }
            Err(reason) => sources.missing(Meter::MemoryPeak, reason),
        }
        if self.has_level {
            let note = "in samples only; page cache and kernel memory included";
            sources.set(Meter::MemoryRss, Source::Cgroup, note);
        } else {
            sources.missing(Meter::MemoryRss, NO_MEMORY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn values(accounted: Option<u64>, tsc_hz: Option<u64>) -> Values {
        let split = Some((Nanos(3 * MS), Nanos(MS)));
        Values {
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

    const UNREAD: Result<Before, &str> = Err("a test");

    fn uncounted() -> Provenances {
        missing("perf is forbidden")
    }

    #[test]
    fn a_sandbox_outside_the_hierarchy_is_noticed() {
        assert!(is_outside(Some(2 * MS), Some(90 * MS)));
        assert!(!is_outside(Some(20 * MS), Some(25 * MS)), "within the allowance");
        assert!(!is_outside(Some(1_000 * MS), Some(1_050 * MS)), "within five per cent");
        assert!(is_outside(Some(1_000 * MS), Some(1_060 * MS)));
        assert!(!is_outside(None, Some(MS)) && !is_outside(Some(MS), None));
    }

    #[test]
    fn estimates_do_not_overflow() {
        assert_eq!(estimate(10 * MS, 2_500_000_000), Some(25_000_000));
        assert_eq!(estimate(u64::MAX, 4_000_000_000), None);
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
        let before = Before { cpu: cpu.map(Nanos), memory: Some(512), memory_peak: Some(4000) };
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
