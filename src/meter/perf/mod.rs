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
//! - A group is read by one call, which is what short functions need. But only
//!   events of one kind belong in one: ticks of `msr/tsc` in a group led by a
//!   software event were seen to stand still.
//! - With `inherit`, counts of children are added when they are read, live or
//!   ended; nothing is lost when a child exits. But such a counter serves one
//!   child only: when the scheduler switches between a parent and a child whose
//!   counters are clones, the kernel may swap the two sets instead, and when
//!   the child then exits, it takes the originals along. Later children count
//!   nothing, silently. So counters on children are opened anew for each.

mod event;

use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use perf_event::{Builder, Counter, CounterData, GroupData, ReadFormat};

use self::event::{Bundle, Event};
use super::{Meter, Provenances, Source};
use crate::units::Nanos;

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

/// One event of a set: a counter, or one a CPU for a control group.
struct Opened {
    event: Event,
    /// Whether kernel mode is counted.
    kernel: bool,
    counters: Vec<Counter>,
    /// Position of the event whose group it is in, if it is in one.
    leader: Option<usize>,
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
                Ok(_) if !runs_here(event) => set.provenances.missing(event.meter(), DEAD),
                Ok((counters, kernel)) => {
                    let note = note(event, target, kernel);
                    set.provenances.set(event.meter(), event.source(), note);
                    set.opened.push(Opened { event, kernel, counters, leader: None });
                }
                Err(error) => set.provenances.missing(event.meter(), explain(event, &error)),
            }
        }
        if matches!(target, Target::ThisThread) {
            for bundle in [Bundle::Kernel, Bundle::Core] {
                // Those that the kernel will not bundle are read one by one.
                let _ = set.bundle(bundle);
            }
        }
        set
    }

    /// No counters at all, for that reason.
    #[must_use]
    pub fn none(reason: &str) -> Self {
        let mut provenances = Provenances::default();
        for event in Event::ALL {
            provenances.missing(event.meter(), reason);
        }
        Self { opened: Vec::new(), provenances }
    }

    /// Opens the events of a bundle again as one group, read by one call: the
    /// cost of reading falls into what short functions are charged with.
    fn bundle(&mut self, bundle: Bundle) -> io::Result<()> {
        let members: Vec<usize> = (0..self.opened.len())
            .filter(|index| self.opened[*index].event.bundle() == Some(bundle))
            .collect();
        let Some((&first, rest)) = members.split_first() else { return Ok(()) };
        let format =
            ReadFormat::GROUP | ReadFormat::TOTAL_TIME_ENABLED | ReadFormat::TOTAL_TIME_RUNNING;
        let mut leader = self.opened[first].own_thread()?.read_format(format).build()?;
        let mut counters = Vec::new();
        for index in rest {
            counters.push(self.opened[*index].own_thread()?.build_with_group(&mut leader)?);
        }
        counters.insert(0, leader);
        for (index, counter) in members.iter().zip(counters) {
            let opened = &mut self.opened[*index];
            opened.counters = vec![counter];
            opened.leader = Some(first);
        }
        Ok(())
    }

    /// Opens the same events on another target, without asking again for those
    /// that were refused.
    #[must_use]
    pub fn reopen(&self, target: Target<'_>) -> Self {
        let again = |opened: &Opened| {
            let counters = open_mode(opened.event, target, opened.kernel).ok()?;
            Some(Opened { event: opened.event, kernel: opened.kernel, counters, leader: None })
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
        let groups: Vec<Option<GroupData>> = (0..self.opened.len())
            .map(|index| {
                let opened = &mut self.opened[index];
                let leads = opened.leader == Some(index);
                leads.then(|| opened.counters.first_mut()?.read_group().ok()).flatten()
            })
            .collect();
        let read = |opened: &mut Opened| match opened.leader {
            None => opened.read(),
            Some(leader) => opened.of_group(groups.get(leader)?.as_ref()?),
        };
        Snapshot(self.opened.iter_mut().map(read).collect())
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
    /// A builder for the same event on the calling thread.
    fn own_thread(&self) -> io::Result<Builder<'static>> {
        let mut builder = self.event.builder()?;
        builder.exclude_kernel(!self.kernel).exclude_hv(!self.kernel);
        builder.observe_self().enabled(true);
        Ok(builder)
    }

    /// Its part of what was read of its group.
    fn of_group(&self, group: &GroupData) -> Option<Raw> {
        let count = group.get(self.counters.first()?)?.value();
        let nanos = |span: Option<Duration>| span.map(|span| Nanos::from(span).0);
        let (enabled, running) = (nanos(group.time_enabled())?, nanos(group.time_running())?);
        Some(Raw { count, enabled, running })
    }

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

fn nanos(data: &CounterData, field: impl Fn(&CounterData) -> Option<Duration>) -> u64 {
    // Both times are in the read format of every counter built here.
    field(data).map_or(0, |span| Nanos::from(span).0)
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

/// Whether a hardware counter counts here at all: some hypervisors let it be
/// opened and never run it. Tried once a process.
fn runs_here(event: Event) -> bool {
    static KNOWN: Mutex<Vec<(Event, bool)>> = Mutex::new(Vec::new());
    if event.source() != Source::PerfHardware {
        return true;
    }
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, runs)) = known.iter().find(|(other, _)| *other == event) {
        return *runs;
    }
    let runs = try_out(event);
    known.push((event, runs));
    runs
}

/// Counts on this thread until there is something, for 5 ms at most.
fn try_out(event: Event) -> bool {
    let target = Target::ThisThread;
    let Ok((mut counters, _)) = open_event(event, target) else { return false };
    let until = Instant::now() + Duration::from_millis(5);
    while Instant::now() < until {
        let data = counters.first_mut().and_then(|counter| counter.read_full().ok());
        let ran = data.is_some_and(|data| nanos(&data, CounterData::time_running) > 0);
        if ran {
            return true;
        }
    }
    false
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
        Target::ThisThread => Ok(vec![builder.observe_self().enabled(true).build()?]),
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
    if event.source() == Source::PerfHardware {
        notes.push("scaled up if multiplexed; missing where it never got to run");
    }
    if event == Event::MsrTsc {
        notes.push("no hardware ref-cycles here; TSC ticks while on a CPU");
    }
    notes.join("; ")
}

/// The note of a counter that leaves out kernel mode.
pub const USER_ONLY: &str = "user mode only: perf_event_paranoid forbids kernel mode";

/// The reason of a counter that opens and stands still.
const DEAD: &str = "it can be opened, but never runs (a hypervisor without a PMU?)";

/// How the reason of a counter begins that the system forbids.
pub(in crate::meter) const DENIED: &str = "denied by perf_event_paranoid";

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
    fn time_and_ticks_of_a_thread_agree_though_one_is_in_a_group() {
        let mut counters = Counters::open(Target::ThisThread);
        let Some(hz) = crate::meter::host::tsc_hz() else {
            return crate::testing::skip("no time-stamp counter");
        };
        if !(counters.has(Meter::CpuTime) && counters.has(Meter::RefCycles)) {
            return crate::testing::skip("no counter of time and ticks here");
        }
        let in_group = counters.opened.iter().filter(|opened| opened.leader.is_some()).count();
        assert!(in_group >= 2, "{in_group} counters are in a group");
        let before = counters.read();
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(20) {
            std::hint::black_box(begun);
        }
        let after = counters.read();
        let counts = counters.between(&before, &after);
        let (time, ticks) = (counts.get(Meter::CpuTime), counts.get(Meter::RefCycles));
        let (time, ticks) = (time.expect("counted"), ticks.expect("counted"));
        let expected = u128::from(time) * u128::from(hz) / 1_000_000_000;
        let off = u128::from(ticks).abs_diff(expected);
        assert!(off < expected / 200, "{ticks} ticks in {time} ns at {hz} Hz");
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
