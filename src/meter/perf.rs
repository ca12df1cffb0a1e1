//! Counters of the kernel's perf subsystem, opened before the function's
//! first instruction.
//!
//! What to know before believing a counter:
//!
//! - `cycles`, `instructions` and the misses need a hardware PMU, which most
//!   virtual machines hide. `ENOENT`, `EOPNOTSUPP` and a counter that never
//!   runs all mean "not available", and are reported so.
//! - `msr/tsc` ticks with the time-stamp counter while the task is on a CPU.
//!   It works without a PMU, and measures time in cycles of a constant clock,
//!   not work: it does not slow down when the core does.
//! - Where `perf_event_paranoid` is 2 and the user is ordinary, kernel mode is
//!   left out; the note of the meter says so.
//! - Counters that share a PMU may be multiplexed. Values are then scaled by
//!   time enabled over time running, and the ratio is kept with the invocation.
//! - With `inherit`, counts of children are added when they are read, live or
//!   ended; nothing is lost when a child exits. But such a counter serves one
//!   child only: when the scheduler switches between a parent and a child whose
//!   counters are clones, the kernel may swap the two sets instead, and when
//!   the child then exits, it takes the originals along. Later children count
//!   nothing, silently. So counters on children are opened anew for each.

use std::fs::File;
use std::io;

use perf_event::events::{self, x86::Msr};
use perf_event::{Builder, Counter, CounterData};

use super::{Meter, Provenances, Source};

/// What a set of counters watches.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// The next program that the process with this id starts: counting is
    /// switched on by exec in that child and its children. Good for one child.
    Children(u32),
    /// The calling thread, from now on.
    ThisThread,
    /// Any thread of the process with this id from now on: late attachment.
    Process(u32),
    /// All tasks in the control group whose directory this is.
    Cgroup(&'a File),
}

/// The events, in the order in which they are opened and reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
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

impl Event {
    const ALL: [Self; 10] = [
        // Time and ticks are read side by side: what lies between two readings
        // is missing in one of them, which shows in microseconds.
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

    const fn meter(self) -> Meter {
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

    const fn source(self) -> Source {
        match self {
            Self::TaskClock | Self::PageFaults | Self::ContextSwitches | Self::Migrations => {
                Source::PerfSoftware
            }
            Self::MsrTsc => Source::PerfMsrTsc,
            _ => Source::PerfHardware,
        }
    }

    /// Whether the event means anything with kernel mode left out. A context
    /// switch or migration happens in the kernel: such a counter opens, and
    /// reads 0 for ever.
    const fn counts_in_user_mode(self) -> bool {
        !matches!(self, Self::ContextSwitches | Self::Migrations | Self::MsrTsc)
    }

    fn builder<'a>(self) -> io::Result<Builder<'a>> {
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

/// One event of a set: a counter, or one a CPU for a control group.
struct Opened {
    event: Event,
    /// Whether kernel mode is counted.
    kernel: bool,
    counters: Vec<Counter>,
}

/// Counters opened on one target.
pub struct Counters {
    opened: Vec<Opened>,
    provenances: Provenances,
}

/// Raw counts at one moment; only differences mean anything.
#[derive(Debug, Clone, Default)]
pub struct Snapshot(Vec<Option<Raw>>);

#[derive(Debug, Clone, Copy, Default)]
struct Raw {
    count: u64,
    enabled: u64,
    running: u64,
}

/// What the counters counted between two snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    values: [Option<u64>; Meter::COUNT],
    /// Least time running over time enabled of the hardware counters, in
    /// parts per million, if any was multiplexed.
    pub coverage_ppm: Option<u32>,
}

impl Counts {
    #[cfg(test)]
    pub(crate) fn of(meter: Meter, count: u64) -> Self {
        let mut values = [None; Meter::COUNT];
        values[meter as usize] = Some(count);
        Self { values, coverage_ppm: None }
    }

    /// The count of `meter`, if a counter for it ran.
    #[must_use]
    pub const fn get(&self, meter: Meter) -> Option<u64> {
        self.values[meter as usize]
    }
}

impl Counters {
    /// Opens every event that this machine and user allow. What cannot be
    /// opened is missing in [`Self::provenances`], with the reason.
    #[must_use]
    pub fn open(target: Target<'_>) -> Self {
        let mut set = Self { opened: Vec::new(), provenances: Provenances::default() };
        for event in Event::ALL {
            let has_better = set.opened.iter().any(|other| other.event.meter() == event.meter());
            if has_better {
                continue;
            }
            match open_event(event, target) {
                Ok((counters, kernel)) => {
                    let note = note(event, target, kernel);
                    set.provenances.set(event.meter(), event.source(), note);
                    set.opened.push(Opened { event, kernel, counters });
                }
                Err(error) => set.provenances.missing(event.meter(), explain(event, &error)),
            }
        }
        set
    }

    /// Opens the same events on another target, without asking again for those
    /// that were refused.
    #[must_use]
    pub fn reopen(&self, target: Target<'_>) -> Self {
        let again = |opened: &Opened| {
            let counters = open_mode(opened.event, target, opened.kernel).ok()?;
            Some(Opened { event: opened.event, kernel: opened.kernel, counters })
        };
        Self {
            opened: self.opened.iter().filter_map(again).collect(),
            provenances: self.provenances.clone(),
        }
    }

    /// Where each meter comes from, or why it is missing.
    #[must_use]
    pub const fn provenances(&self) -> &Provenances {
        &self.provenances
    }

    /// Whether `meter` has a counter.
    #[must_use]
    pub fn has(&self, meter: Meter) -> bool {
        self.opened.iter().any(|opened| opened.event.meter() == meter)
    }

    /// Reads all counters.
    pub fn read(&mut self) -> Snapshot {
        Snapshot(self.opened.iter_mut().map(Opened::read).collect())
    }

    /// Reads only the counter of `meter`, for the sampler.
    pub fn read_one(&mut self, meter: Meter) -> Option<u64> {
        let opened = self.opened.iter_mut().find(|opened| opened.event.meter() == meter)?;
        opened.read().map(|raw| raw.count)
    }

    /// What was counted from `before` to `after`.
    #[must_use]
    pub fn between(&self, before: &Snapshot, after: &Snapshot) -> Counts {
        let mut counts = Counts { values: [None; Meter::COUNT], coverage_ppm: None };
        for ((opened, before), after) in self.opened.iter().zip(&before.0).zip(&after.0) {
            let (Some(before), Some(after)) = (before, after) else { continue };
            let (value, coverage) = difference(opened.event, *before, *after);
            counts.values[opened.event.meter() as usize] = value;
            if let Some(ppm) = coverage {
                counts.coverage_ppm = Some(counts.coverage_ppm.map_or(ppm, |other| other.min(ppm)));
            }
        }
        counts
    }
}

impl Opened {
    fn read(&mut self) -> Option<Raw> {
        let mut sum = Raw::default();
        for counter in &mut self.counters {
            let data = counter.read_full().ok()?;
            sum.count += data.count();
            sum.enabled += nanos(&data, CounterData::time_enabled);
            sum.running += nanos(&data, CounterData::time_running);
        }
        Some(sum)
    }
}

fn nanos(data: &CounterData, field: impl Fn(&CounterData) -> Option<std::time::Duration>) -> u64 {
    // Both times are in the read format of every counter built here.
    field(data).map_or(0, |span| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

/// The counted value, scaled up if the counter was multiplexed, with the
/// coverage; `None` if it was enabled and never ran.
fn difference(event: Event, before: Raw, after: Raw) -> (Option<u64>, Option<u32>) {
    let count = after.count.saturating_sub(before.count);
    let enabled = after.enabled.saturating_sub(before.enabled);
    let running = after.running.saturating_sub(before.running);
    if event.source() != Source::PerfHardware || running >= enabled {
        // A hardware counter that was on a CPU for a while counts something.
        let dead = event == Event::Cycles && count == 0 && enabled > 0;
        return ((!dead).then_some(count), None);
    }
    if running == 0 {
        return (None, Some(0));
    }
    let scaled = u128::from(count) * u128::from(enabled) / u128::from(running);
    let ppm = u128::from(running) * 1_000_000 / u128::from(enabled);
    (u64::try_from(scaled).ok(), u32::try_from(ppm).ok())
}

/// Opens one event, with kernel mode if allowed. Says whether it is.
fn open_event(event: Event, target: Target<'_>) -> io::Result<(Vec<Counter>, bool)> {
    match open_mode(event, target, true) {
        Ok(counters) => Ok((counters, true)),
        Err(error) if is_denied(&error) && event.counts_in_user_mode() => {
            // Errors of the first try say more: they name what is denied.
            open_mode(event, target, false).map_or(Err(error), |counters| Ok((counters, false)))
        }
        Err(error) => Err(error),
    }
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn open_mode(event: Event, target: Target<'_>, kernel: bool) -> io::Result<Vec<Counter>> {
    let mut builder = event.builder()?;
    builder.exclude_kernel(!kernel).exclude_hv(!kernel);
    match target {
        Target::Children(pid) => {
            builder.observe_pid(signed(pid)?).inherit(true).enable_on_exec(true);
            Ok(vec![builder.build()?])
        }
        Target::Process(pid) => {
            builder.observe_pid(signed(pid)?).inherit(true).enabled(true);
            Ok(vec![builder.build()?])
        }
        Target::ThisThread => {
            builder.observe_self().enabled(true);
            Ok(vec![builder.build()?])
        }
        Target::Cgroup(directory) => {
            // The kernel counts a control group one CPU at a time.
            builder.observe_cgroup(directory).enabled(true);
            online_cpus()?.into_iter().map(|cpu| builder.one_cpu(cpu).build()).collect()
        }
    }
}

fn signed(pid: u32) -> io::Result<i32> {
    i32::try_from(pid).map_err(io::Error::other)
}

/// Online CPUs from sysfs' list format, `0-3,6`.
fn online_cpus() -> io::Result<Vec<usize>> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online")?;
    parse_cpu_list(&text).ok_or_else(|| io::Error::other(format!("unreadable CPU list `{text}`")))
}

fn parse_cpu_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cpus.extend(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?);
    }
    Some(cpus)
}

fn note(event: Event, target: Target<'_>, kernel: bool) -> String {
    let mut notes = Vec::new();
    if matches!(target, Target::Process(_)) {
        notes.push("attached after the start");
    }
    // The task clock runs in kernel mode too, whatever is left out.
    if !kernel && event != Event::TaskClock {
        notes.push(USER_ONLY);
    }
    if event == Event::MsrTsc {
        notes.push("no hardware ref-cycles here; TSC ticks while on a CPU");
    }
    notes.join("; ")
}

/// The note of a counter that leaves out kernel mode.
pub const USER_ONLY: &str = "user mode only: perf_event_paranoid forbids kernel mode";

/// How the reason of a counter begins that the system forbids.
pub(super) const DENIED: &str = "denied by perf_event_paranoid";

/// Why an event could not be opened.
fn explain(event: Event, error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV)
            if event.source() == Source::PerfHardware =>
        {
            "no hardware PMU is visible (a virtual machine without one?)".to_owned()
        }
        Some(libc::EACCES | libc::EPERM) => format!(
            "{DENIED}={}",
            paranoid().map_or_else(|| "?".to_owned(), |level| level.to_string())
        ),
        _ if event == Event::MsrTsc && error.kind() == io::ErrorKind::NotFound => {
            "no `msr` PMU: this kernel or CPU has none".to_owned()
        }
        _ => format!("perf_event_open: {error}"),
    }
}

/// The value of `/proc/sys/kernel/perf_event_paranoid`; `None` if unreadable.
#[must_use]
pub fn paranoid() -> Option<i32> {
    std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        assert_eq!(parse_cpu_list("0-3,6\n"), Some(vec![0, 1, 2, 3, 6]));
        assert_eq!(parse_cpu_list("0"), Some(vec![0]));
        assert_eq!(parse_cpu_list("x"), None);
    }

    #[test]
    fn multiplexed_counts_are_scaled_and_say_so() {
        let before = Raw { count: 100, enabled: 1_000, running: 1_000 };
        let after = Raw { count: 350, enabled: 2_000, running: 1_250 };
        assert_eq!(difference(Event::Instructions, before, after), (Some(1_000), Some(250_000)));
    }

    #[test]
    fn a_counter_that_never_ran_is_missing() {
        let after = Raw { count: 0, enabled: 500, running: 0 };
        assert_eq!(difference(Event::Cycles, Raw::default(), after), (None, Some(0)));
        let silent = Raw { count: 0, enabled: 500, running: 500 };
        assert_eq!(difference(Event::Cycles, Raw::default(), silent), (None, None));
    }

    #[test]
    fn the_task_clock_of_this_thread_advances() {
        let mut counters = Counters::open(Target::ThisThread);
        if !counters.has(Meter::CpuTime) {
            crate::testing::skip("task-clock cannot be opened here");
            return;
        }
        let before = counters.read();
        let mut sum = 0_u64;
        for i in 0..2_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_add(i * i));
        }
        let after = counters.read();
        let spent = counters.between(&before, &after).get(Meter::CpuTime);
        assert!(spent.is_some_and(|nanos| nanos > 100_000), "{spent:?}, {sum}");
    }
}
