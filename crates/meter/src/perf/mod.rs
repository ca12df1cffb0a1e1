//! Counters of the kernel's perf subsystem, opened before the function's
//! first instruction.
//!
//! Limits of these counters:
//!
//! - `cycles`, `instructions` and the misses need a hardware PMU, which most virtual
//!   machines hide. `ENOENT`, `EOPNOTSUPP` and a counter that never runs all mean "not
//!   available", and are reported as such.
//! - `msr/tsc` ticks with the time-stamp counter while the task is on a CPU.
//!   It works without a PMU, and measures time in cycles of a constant clock,
//!   not work: it does not slow down when the core does.
//! - Where `perf_event_paranoid` is 2 and the user is ordinary, kernel mode is
//!   left out; the note of the meter says so.
//! - A hybrid CPU has a PMU for each kind of core, and a generic hardware event
//!   counts on one of them only, silently. It is opened on each and added, or
//!   reported missing.
//! - A counter that opens and never runs, or runs and reads 0 while there was something to
//!   count, is missing too: each is tried out once per process.
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
#[cfg(test)]
mod fake_kernel;
mod kernel;
mod refusal;
mod trial;

use std::io;
use std::sync::{LazyLock, OnceLock};

use self::event::{EventGroup, PerfEvent};
pub use self::kernel::CounterTarget;
use self::kernel::{
    CorePmu, CounterHandle, CounterRequest, GroupHandle, Kernel, RawCount, SystemKernel,
};
use self::refusal::PerfRefusal;
use self::trial::Trials;
use super::{Meter, Provenance, Provenances, Source, USER_ONLY};

/// Perf subsystem of a kernel, with the results of trying its counters.
pub(super) struct Perf {
    kernel: Box<dyn Kernel>,
    /// PMUs of a hybrid CPU, once they were searched for; empty on other CPUs.
    hybrid_pmus: OnceLock<Vec<CorePmu>>,
    trials: Trials,
}

impl Perf {
    fn new(kernel: impl Kernel + 'static) -> Self {
        let (hybrid_pmus, trials) = (OnceLock::new(), Trials::default());
        Self { kernel: Box::new(kernel), hybrid_pmus, trials }
    }

    /// Returns the core PMUs where there are several; empty where one serves
    /// all CPUs.
    fn hybrid_pmus(&self) -> &[CorePmu] {
        self.hybrid_pmus.get_or_init(|| {
            let pmus = self.kernel.core_pmus();
            if pmus.len() > 1 { pmus } else { Vec::new() }
        })
    }
}

/// Perf subsystem of the kernel that this process runs on.
static SYSTEM: LazyLock<Perf> = LazyLock::new(|| Perf::new(SystemKernel));

/// Source of the value of one event.
enum EventReader {
    /// Separate handles: one, or one per CPU for a control group, or one per core PMU.
    Own(Vec<Box<dyn CounterHandle>>),
    /// Place in one of the groups of the set.
    Member { group: usize, place: usize },
}

/// Opened event of a set.
struct OpenedEvent {
    event: PerfEvent,
    /// Whether kernel mode is counted.
    kernel_mode: bool,
    reader: EventReader,
    /// Names of the core PMUs whose counts are added; empty on most machines.
    core_pmus: Vec<String>,
    /// Whether each handle was enabled for the whole time, as those of several core PMUs
    /// are, rather than for a part of it.
    side_by_side: bool,
}

/// Counters opened on one target.
pub struct Counters {
    perf: &'static Perf,
    opened: Vec<OpenedEvent>,
    groups: Vec<Box<dyn GroupHandle>>,
    provenances: Provenances,
    refusals: Vec<(Meter, PerfRefusal)>,
}

/// Raw counts at one moment; only differences mean anything.
#[derive(Debug, Clone, Default)]
pub struct CounterSnapshot(Vec<Option<RawCount>>);

/// Counts between two snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    values: [Option<u64>; Meter::COUNT],
    /// Least time running over time enabled of the hardware counters, in
    /// parts per million, if any was multiplexed.
    pub coverage_ppm: Option<u32>,
}

impl Counts {
    /// Returns the count of `meter`, if a counter for it ran.
    #[must_use]
    pub const fn get(&self, meter: Meter) -> Option<u64> {
        self.values[meter as usize]
    }
}

impl Counters {
    /// Returns the number of descriptors that this set holds.
    #[must_use]
    pub fn descriptor_count(&self) -> u64 {
        let of = |it: &OpenedEvent| match &it.reader {
            EventReader::Own(handles) => handles.len(),
            EventReader::Member { .. } => 1,
        };
        let all = self.groups.len() + self.opened.iter().map(of).sum::<usize>();
        u64::try_from(all).unwrap_or(u64::MAX)
    }

    /// Opens every event that this machine and user allow. Events that cannot be opened are
    /// marked as missing in [`Self::provenances`], with the reason.
    #[must_use]
    pub fn open(target: CounterTarget<'_>) -> Self {
        Self::open_with(&SYSTEM, target)
    }

    fn open_with(perf: &'static Perf, target: CounterTarget<'_>) -> Self {
        let mut set = Self::without_events(perf);
        // A filter, or a kernel without perf, refuses all events alike.
        let mut all_refused: Option<PerfRefusal> = None;
        for event in PerfEvent::ALL {
            if set.has_counter(event.meter()) {
                continue;
            }
            let opened = match &all_refused {
                Some(refusal) => Err(refusal.clone()),
                None => open_event(perf, event, target),
            };
            match opened
                .and_then(|opened| perf.trials.confirm_counting(perf, event).map(|()| opened))
            {
                Ok(opened) => set.insert_opened(opened, target),
                Err(refusal) => {
                    let for_all = matches!(refusal, PerfRefusal::Seccomp | PerfRefusal::NoPerf);
                    if for_all && event.source() == Source::PerfSoftware {
                        all_refused = Some(refusal.clone());
                    }
                    set.record_refusal(event.meter(), refusal);
                }
            }
        }
        if matches!(target, CounterTarget::ThisThread) {
            for bundle in [EventGroup::Kernel, EventGroup::Core] {
                // Events that the kernel refuses to group are read one by one.
                let _ = set.open_event_group(bundle);
            }
        }
        set
    }

    fn without_events(perf: &'static Perf) -> Self {
        Self {
            perf,
            opened: Vec::new(),
            groups: Vec::new(),
            provenances: Provenances::default(),
            refusals: Vec::new(),
        }
    }

    fn insert_opened(&mut self, opened: OpenedEvent, target: CounterTarget<'_>) {
        let (event, note) = (opened.event, describe_opened(&opened, target));
        self.refusals.retain(|(meter, _)| *meter != event.meter());
        let provenance = Provenance {
            user_only: opened.leaves_out_kernel_mode(),
            ..Provenance::from_source(event.source(), note)
        };
        self.provenances.set_provenance(event.meter(), provenance);
        self.opened.push(opened);
    }

    fn record_refusal(&mut self, meter: Meter, refusal: PerfRefusal) {
        self.provenances.set_missing(meter, refusal.to_string());
        self.refusals.retain(|(other, _)| *other != meter);
        self.refusals.push((meter, refusal));
    }

    /// Creates a set without counters, all of them missing for `reason`.
    #[must_use]
    pub fn unavailable_because(reason: &str) -> Self {
        let mut set = Self::without_events(&SYSTEM);
        for event in PerfEvent::ALL {
            set.provenances.set_missing(event.meter(), reason);
        }
        set
    }

    /// Reopens the events of a bundle as one group that is read by one call, since the cost
    /// of reading is charged to short functions.
    fn open_event_group(&mut self, bundle: EventGroup) -> io::Result<()> {
        // A group belongs to one PMU.
        let members: Vec<usize> = (0..self.opened.len())
            .filter(|index| self.opened[*index].event.event_group() == Some(bundle))
            .filter(|index| self.opened[*index].core_pmus.is_empty())
            .collect();
        if members.is_empty() {
            return Ok(());
        }
        let requests: Vec<CounterRequest<'_>> = members
            .iter()
            .map(|index| CounterRequest {
                event: self.opened[*index].event,
                core_pmu: None,
                target: CounterTarget::ThisThread,
                cpu: None,
                kernel_mode: self.opened[*index].kernel_mode,
            })
            .collect();
        let handle = self.perf.kernel.open_group(&requests)?;
        let group = self.groups.len();
        self.groups.push(handle);
        for (place, index) in members.into_iter().enumerate() {
            self.opened[index].reader = EventReader::Member { group, place };
        }
        Ok(())
    }

    /// Opens the same events on another target, without trying refused ones again. Events
    /// that cannot be opened there are missing.
    #[must_use]
    pub fn reopen_on(&self, target: CounterTarget<'_>) -> Self {
        let mut set = Self::without_events(self.perf);
        set.provenances = self.provenances.clone();
        set.refusals.clone_from(&self.refusals);
        for opened in &self.opened {
            match open_in_mode(self.perf, opened.event, target, opened.kernel_mode) {
                Ok(again) => set.opened.push(again),
                Err(failure) => {
                    let refusal = failure.to_refusal(self.perf, opened.event, target);
                    set.record_refusal(opened.event.meter(), refusal);
                }
            }
        }
        set
    }

    /// Returns the source of each meter, or the reason why it is missing.
    #[must_use]
    pub const fn provenances(&self) -> &Provenances {
        &self.provenances
    }

    /// Returns the steps to make `meter` available; empty where it is available, or where
    /// nothing helps.
    #[must_use]
    pub(crate) fn remedy_for(&self, meter: Meter) -> String {
        let refusal = self.refusals.iter().find(|(other, _)| *other == meter);
        refusal.map_or_else(String::new, |(_, refusal)| refusal.remedy())
    }

    /// Returns whether `meter` has a counter.
    #[must_use]
    pub fn has_counter(&self, meter: Meter) -> bool {
        self.opened.iter().any(|opened| opened.event.meter() == meter)
    }

    /// Returns whether any counter of the CPU's own is open.
    #[must_use]
    pub fn has_hardware_counter(&self) -> bool {
        self.opened.iter().any(|opened| opened.event.source() == Source::PerfHardware)
    }

    /// Reads all counters.
    pub fn read_all(&mut self) -> CounterSnapshot {
        self.read_selected(|_| true)
    }

    /// Reads the counters of the CPU's own only; the others have no value in the snapshot.
    pub fn read_hardware(&mut self) -> CounterSnapshot {
        self.read_selected(|event| event.source() == Source::PerfHardware)
    }

    fn read_selected(&mut self, is_selected: impl Fn(PerfEvent) -> bool) -> CounterSnapshot {
        let mut groups: Vec<Option<Vec<RawCount>>> = vec![None; self.groups.len()];
        for opened in &self.opened {
            if let EventReader::Member { group, .. } = opened.reader
                && is_selected(opened.event)
                && let (Some(slot @ None), Some(handle)) =
                    (groups.get_mut(group), self.groups.get_mut(group))
            {
                *slot = handle.read_counts().ok();
            }
        }
        let read = |opened: &mut OpenedEvent| match &mut opened.reader {
            _ if !is_selected(opened.event) => None,
            EventReader::Own(handles) => read_handles(handles, opened.side_by_side),
            EventReader::Member { group, place } => {
                groups.get(*group)?.as_ref()?.get(*place).copied()
            }
        };
        CounterSnapshot(self.opened.iter_mut().map(read).collect())
    }

    /// Returns the count of `meter` in a snapshot, since its counter was opened and not scaled.
    #[must_use]
    pub fn count_in(&self, snapshot: &CounterSnapshot, meter: Meter) -> Option<u64> {
        let place = self.opened.iter().position(|opened| opened.event.meter() == meter)?;
        snapshot.0.get(place).copied().flatten().map(|raw| raw.count)
    }

    /// Reads only the counter of `meter`, for the sampler.
    pub fn read_one(&mut self, meter: Meter) -> Option<u64> {
        let opened = self.opened.iter_mut().find(|opened| opened.event.meter() == meter)?;
        let raw = match &mut opened.reader {
            EventReader::Own(handles) => read_handles(handles, opened.side_by_side)?,
            EventReader::Member { group, place } => {
                *self.groups.get_mut(*group)?.read_counts().ok()?.get(*place)?
            }
        };
        Some(raw.count)
    }

    /// Returns the counts from `before` to `after`.
    #[must_use]
    pub fn counts_between(&self, before: &CounterSnapshot, after: &CounterSnapshot) -> Counts {
        let mut counts = Counts { values: [None; Meter::COUNT], coverage_ppm: None };
        for ((opened, before), after) in self.opened.iter().zip(&before.0).zip(&after.0) {
            let (Some(before), Some(after)) = (before, after) else { continue };
            let (value, coverage) = scaled_difference(opened.event, *before, *after);
            counts.values[opened.event.meter() as usize] = value;
            if let Some(ppm) = coverage {
                counts.coverage_ppm = Some(counts.coverage_ppm.map_or(ppm, |other| other.min(ppm)));
            }
        }
        counts
    }
}

/// Reads the handles of an event and adds them. Handles side by side were all
/// enabled for the same time, of which each ran for a part.
fn read_handles(handles: &mut [Box<dyn CounterHandle>], side_by_side: bool) -> Option<RawCount> {
    let mut sum = RawCount::default();
    for handle in handles {
        let raw = handle.read_count().ok()?;
        sum.count += raw.count;
        sum.running += raw.running;
        sum.enabled =
            if side_by_side { sum.enabled.max(raw.enabled) } else { sum.enabled + raw.enabled };
    }
    Some(sum)
}

/// Returns the counted value, scaled up if the counter was multiplexed, with the coverage
/// in parts per million. The value is `None` if the counter was enabled and never ran, or
/// if it ran and reads 0 although any code makes it count.
fn scaled_difference(
    event: PerfEvent,
    before: RawCount,
    after: RawCount,
) -> (Option<u64>, Option<u32>) {
    let count = after.count.saturating_sub(before.count);
    let enabled = after.enabled.saturating_sub(before.enabled);
    let running = after.running.saturating_sub(before.running);
    if event.source() != Source::PerfHardware {
        return (Some(count), None);
    }
    if running == 0 {
        return (None, (enabled > 0).then_some(0));
    }
    let dead = event.always_counts() && count == 0;
    if running >= enabled {
        return ((!dead).then_some(count), None);
    }
    let scaled = u128::from(count) * u128::from(enabled) / u128::from(running);
    let ppm = u128::from(running) * 1_000_000 / u128::from(enabled);
    let value = if dead { None } else { u64::try_from(scaled).ok() };
    (value, u32::try_from(ppm).ok())
}

/// Error of opening one event, before its cause is determined.
enum OpenFailure {
    /// Error of the only counter, or of all alike.
    Plain(io::Error),
    /// Error of one of several core PMUs.
    Part { pmu: String, error: io::Error },
}

impl From<io::Error> for OpenFailure {
    fn from(error: io::Error) -> Self {
        Self::Plain(error)
    }
}

impl OpenFailure {
    fn is_denied(&self) -> bool {
        let (Self::Plain(error) | Self::Part { error, .. }) = self;
        error.kind() == io::ErrorKind::PermissionDenied
    }

    fn to_refusal(&self, perf: &Perf, event: PerfEvent, target: CounterTarget<'_>) -> PerfRefusal {
        let standing = perf.kernel.read_privileges();
        match self {
            Self::Part { pmu, error } if !self.is_denied() => {
                PerfRefusal::HybridPart { pmu: pmu.clone(), error: error.to_string() }
            }
            Self::Plain(error) | Self::Part { error, .. } => {
                PerfRefusal::from_error(event, target, error, standing)
            }
        }
    }
}

/// Opens one event, with kernel mode if allowed.
fn open_event(
    perf: &Perf,
    event: PerfEvent,
    target: CounterTarget<'_>,
) -> Result<OpenedEvent, PerfRefusal> {
    let opened = match open_in_mode(perf, event, target, true) {
        Err(failure) if failure.is_denied() && event.counts_in_user_mode() => {
            // If it is denied again, the first error explains what is denied. Any other second
            // error is the real cause: with kernel mode or without, there is no PMU.
            let open = open_in_mode(perf, event, target, false);
            open.map_err(|second| if second.is_denied() { failure } else { second })
        }
        other => other,
    };
    opened.map_err(|failure| failure.to_refusal(perf, event, target))
}

/// Opens one event with or without kernel mode: on each core PMU where there
/// are several, and on each CPU for a control group.
fn open_in_mode(
    perf: &Perf,
    event: PerfEvent,
    target: CounterTarget<'_>,
    kernel_mode: bool,
) -> Result<OpenedEvent, OpenFailure> {
    let hardware = event.source() == Source::PerfHardware;
    let pmus = if hardware { perf.hybrid_pmus() } else { &[] };
    let mut request = CounterRequest { event, core_pmu: None, target, cpu: None, kernel_mode };
    let mut handles = Vec::new();
    if matches!(target, CounterTarget::Cgroup(_)) {
        // The kernel counts a control group one CPU at a time.
        for cpu in perf.kernel.online_cpus()? {
            request.cpu = Some(cpu);
            if !pmus.is_empty() {
                let own = pmus.iter().find(|pmu| pmu.cpus.contains(&cpu));
                let none = || io::Error::other(format!("CPU {cpu} belongs to no core PMU"));
                request.core_pmu = Some(own.ok_or_else(none)?.number);
            }
            handles.push(perf.kernel.open_counter(&request)?);
        }
    } else if pmus.is_empty() {
        handles.push(perf.kernel.open_counter(&request)?);
    } else {
        for pmu in pmus {
            request.core_pmu = Some(pmu.number);
            let opened = perf.kernel.open_counter(&request);
            let part = |error| OpenFailure::Part { pmu: pmu.name.clone(), error };
            handles.push(opened.map_err(part)?);
        }
    }
    Ok(OpenedEvent {
        event,
        kernel_mode,
        reader: EventReader::Own(handles),
        side_by_side: !pmus.is_empty() && !matches!(target, CounterTarget::Cgroup(_)),
        core_pmus: pmus.iter().map(|pmu| pmu.name.clone()).collect(),
    })
}

impl OpenedEvent {
    /// Returns whether what it counts lacks kernel mode. The task clock runs in kernel mode
    /// too, whatever is left out.
    fn leaves_out_kernel_mode(&self) -> bool {
        !self.kernel_mode && self.event != PerfEvent::TaskClock
    }
}

fn describe_opened(opened: &OpenedEvent, target: CounterTarget<'_>) -> String {
    let OpenedEvent { event, core_pmus, .. } = opened;
    let mut notes = Vec::new();
    if matches!(target, CounterTarget::Process(_)) {
        notes.push("attached after the start".to_owned());
    }
    if opened.leaves_out_kernel_mode() {
        notes.push(USER_ONLY.to_owned());
    }
    if event.source() == Source::PerfHardware {
        notes.push("scaled up if multiplexed; missing where it never got to run".to_owned());
    }
    if !core_pmus.is_empty() {
        notes.push(format!("added over the kinds of cores: {}", core_pmus.join(" and ")));
    }
    if *event == PerfEvent::MsrTsc {
        notes.push("no hardware ref-cycles here; TSC ticks while on a CPU".to_owned());
    }
    notes.join("; ")
}

/// Reads `/proc/sys/kernel/perf_event_paranoid`; `None` if unreadable.
#[must_use]
pub fn read_paranoid_level() -> Option<i32> {
    std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok()?.trim().parse().ok()
}

/// Returns whether a seccomp filter is in force in this process.
#[must_use]
pub fn has_seccomp_filter() -> bool {
    SYSTEM.kernel.read_privileges().seccomp
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn multiplexed_counts_are_scaled_and_say_so() {
        let before = RawCount { count: 100, enabled: 1_000, running: 1_000 };
        let after = RawCount { count: 350, enabled: 2_000, running: 1_250 };
        assert_eq!(
            scaled_difference(PerfEvent::Instructions, before, after),
            (Some(1_000), Some(250_000))
        );
    }

    #[test]
    fn a_counter_that_never_ran_is_missing() {
        let after = RawCount { count: 0, enabled: 500, running: 0 };
        assert_eq!(
            scaled_difference(PerfEvent::Cycles, RawCount::default(), after),
            (None, Some(0))
        );
        let silent = RawCount { count: 0, enabled: 500, running: 500 };
        assert_eq!(scaled_difference(PerfEvent::Cycles, RawCount::default(), silent), (None, None));
    }

    #[test]
    fn time_and_ticks_of_a_thread_agree_though_one_is_in_a_group() {
        let mut counters = Counters::open(CounterTarget::ThisThread);
        let Some(hz) = crate::host::tsc_hz() else {
            return cyclometer_testkit::skip("no time-stamp counter");
        };
        if !(counters.has_counter(Meter::CpuTime) && counters.has_counter(Meter::RefCycles)) {
            return cyclometer_testkit::skip("no counter of time and ticks here");
        }
        let in_group = counters
            .opened
            .iter()
            .filter(|opened| matches!(opened.reader, EventReader::Member { .. }))
            .count();
        assert!(in_group >= 2, "{in_group} counters are in a group");
        let before = counters.read_all();
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(20) {
            std::hint::black_box(begun);
        }
        let after = counters.read_all();
        let counts = counters.counts_between(&before, &after);
        let (time, ticks) = (counts.get(Meter::CpuTime), counts.get(Meter::RefCycles));
        let (time, ticks) = (time.expect("counted"), ticks.expect("counted"));
        let expected = u128::from(time) * u128::from(hz) / 1_000_000_000;
        let off = u128::from(ticks).abs_diff(expected);
        assert!(off < expected / 200, "{ticks} ticks in {time} ns at {hz} Hz");
    }

    #[test]
    fn the_task_clock_of_this_thread_advances() {
        let mut counters = Counters::open(CounterTarget::ThisThread);
        if !counters.has_counter(Meter::CpuTime) {
            cyclometer_testkit::skip("task-clock cannot be opened here");
            return;
        }
        let before = counters.read_all();
        let mut sum = 0_u64;
        for i in 0..2_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_add(i * i));
        }
        let after = counters.read_all();
        let spent = counters.counts_between(&before, &after).get(Meter::CpuTime);
        assert!(spent.is_some_and(|nanos| nanos > 100_000), "{spent:?}, {sum}");
    }
}
