//! Counts of a worker's thread around short invocations, by as few system calls as can be.
//!
//! Reading a counter of perf takes microseconds, as long as a short function. But its software
//! events stand still, or run with the clock, while the thread stays on its CPU: the task clock
//! advances with the time, the ticks of `msr/tsc` with the ticks, and the thread can migrate to
//! another CPU only when it is switched out. So they are read once, and again when the kernel's own
//! account says that the thread was switched since; in between they are continued, to what they would
//! have said (the clocks differ by what time synchronisation slews, 0.05 % at most).
//! The account (`getrusage`) has page faults and peak memory as well. Hardware counters are read
//! each time.
//!
//! Without perf the kernel's CPU clock of the thread is read each time: it may leave out interrupts
//! and time stolen by a hypervisor, so that it does not run with the time.

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::ClockId;

use super::worker_meters::read_cpu_clock;
use crate::monotonic_now;
use cyclometer_core::units::Nanos;
use cyclometer_meter::perf::{CounterSnapshot, Counters};
use cyclometer_meter::tsc::read_tsc;
use cyclometer_meter::{Meter, Provenance, Provenances, Source};

/// Longest time that a reading takes unless something comes between.
pub(super) const LONGEST_READING: Nanos = Nanos(20_000);

/// Most tries of a reading that something came between.
const TRIES: u32 = 3;

/// The kernel's account of this thread at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ThreadAccount {
    pub(super) page_faults: u64,
    /// Number of times that the thread was switched out.
    pub(super) switches: u64,
    /// Peak resident memory of the process.
    pub(super) peak_kib: u64,
}

impl ThreadAccount {
    /// Reads the account; `None` if it cannot be had.
    pub(super) fn capture() -> Option<Self> {
        let used = getrusage(UsageWho::RUSAGE_THREAD).ok()?;
        let sum = |first: i64, second: i64| u64::try_from(first.checked_add(second)?).ok();
        Some(Self {
            page_faults: sum(used.minor_page_faults(), used.major_page_faults())?,
            switches: sum(used.voluntary_context_switches(), used.involuntary_context_switches())?,
            peak_kib: u64::try_from(used.max_rss()).ok()?,
        })
    }
}

/// Counts of this thread at one moment; only differences mean anything.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ThreadCounts {
    pub(super) at: Nanos,
    /// CPU time in nanoseconds.
    pub(super) cpu: Option<u64>,
    /// Ticks of the time-stamp counter on a CPU.
    pub(super) ticks: Option<u64>,
    pub(super) migrations: Option<u64>,
    pub(super) account: Option<ThreadAccount>,
}

/// Reading of the counters, to be continued.
#[derive(Debug, Clone, Copy)]
pub(super) struct ThreadAnchor(ThreadCounts);

/// Pace of the time-stamp counter, in ticks and the nanoseconds in which they came.
#[derive(Debug, Clone, Copy)]
pub(super) struct TickPace {
    ticks: u64,
    nanos: u64,
}

impl TickPace {
    /// Returns the ticks in a span; `None` if the pace is not known yet.
    pub(super) fn ticks_in(self, span: Nanos) -> Option<u64> {
        let ticks = u128::from(span.0) * u128::from(self.ticks);
        u64::try_from(ticks.checked_div(u128::from(self.nanos))?).ok()
    }
}

/// Counters of this thread, and their last reading.
#[expect(
    clippy::struct_excessive_bools,
    reason = "which counters a kernel provides, each by itself"
)]
pub(super) struct ThreadMeters {
    pub(super) counters: Counters,
    /// Last reading of the software counters, with the account right then.
    anchor: ThreadCounts,
    has_software: bool,
    has_hardware: bool,
    has_task_clock: bool,
    /// Whether ticks are those of `msr/tsc`, and no hardware counter's.
    pub(super) has_msr_ticks: bool,
    /// Time and ticks when the counters were opened.
    opened: (Nanos, Option<u64>),
    pub(super) pace: Option<TickPace>,
}

impl ThreadMeters {
    /// Creates readers of the counters of this thread.
    pub(super) fn new(counters: Counters) -> Self {
        let msr = |it: &Provenance| it.source == Some(Source::PerfMsrTsc);
        let has = |meter| counters.has_counter(meter);
        Self {
            has_software: has(Meter::CpuTime) || has(Meter::Migrations),
            has_hardware: counters.has_hardware_counter(),
            has_task_clock: has(Meter::CpuTime),
            has_msr_ticks: counters.provenances().get(Meter::RefCycles).is_some_and(msr),
            counters,
            anchor: ThreadCounts::default(),
            opened: (monotonic_now(), read_tsc()),
            pace: None,
        }
    }

    /// Reads the hardware counters, if there are any.
    pub(super) fn read_hardware(&mut self) -> CounterSnapshot {
        if self.has_hardware { self.counters.read_hardware() } else { CounterSnapshot::default() }
    }

    /// Reads the counts of the present moment; the reading itself comes before it.
    pub(super) fn read_begin(&mut self) -> ThreadCounts {
        let mut counts = ThreadCounts::default();
        for _ in 0..TRIES {
            let before = monotonic_now();
            counts = self.read_at(before);
            let at = monotonic_now();
            let anchored = self.anchor.at > before;
            // With nothing between, the thread was on its CPU all the time.
            counts = self.continue_to(counts, at);
            if !anchored && at.saturating_since(before) <= LONGEST_READING {
                break;
            }
        }
        counts
    }

    /// Reads the counts as they were at `at`, right before the call.
    pub(super) fn read_at(&mut self, at: Nanos) -> ThreadCounts {
        let cpu = if self.has_task_clock {
            None
        } else {
            read_cpu_clock(ClockId::CLOCK_THREAD_CPUTIME_ID)
        };
        let account = ThreadAccount::capture();
        if !self.has_software {
            return ThreadCounts { at, cpu, account, ..ThreadCounts::default() };
        }
        let switches = |account: Option<ThreadAccount>| account.map(|it| it.switches);
        let last = self.anchor;
        if account.is_some() && switches(account) == switches(last.account) {
            let counts = self.continue_to(last, at);
            return ThreadCounts { cpu: counts.cpu.or(cpu), account, ..counts };
        }
        self.read_anchor();
        let since = |before: Option<u64>, now: Option<u64>| now?.checked_sub(before?);
        let once = since(switches(last.account), switches(self.anchor.account)) == Some(1);
        let (before, took) = (self.continue_to(last, at), self.anchor.at.saturating_since(at));
        // The one time that the thread was switched out may have come after `at`, and is none of its
        // counts: the reading took long then, and the thread has used no less CPU time than if it
        // had stayed on its CPU until `at`.
        let came_after =
            once && took > LONGEST_READING && since(before.cpu, self.anchor.cpu).is_some();
        let (counts, account) = if came_after {
            let unmoved =
                |it| ThreadAccount { switches: switches(last.account).unwrap_or_default(), ..it };
            (before, account.map(unmoved))
        } else {
            (self.continue_to(self.anchor, at), account)
        };
        ThreadCounts { cpu: counts.cpu.or(cpu), account, ..counts }
    }

    /// Returns the last reading of the counters.
    pub(super) const fn anchor(&self) -> ThreadAnchor {
        ThreadAnchor(self.anchor)
    }

    /// Continues a reading to a moment right after it.
    pub(super) fn continue_anchor(&self, anchor: ThreadAnchor, at: Nanos) -> ThreadCounts {
        self.continue_to(anchor.0, at)
    }

    /// Reads the software counters.
    fn read_anchor(&mut self) {
        for _ in 0..TRIES {
            let before = (monotonic_now(), ThreadAccount::capture());
            let snapshot = self.counters.read_all();
            let (after, now) = (ThreadAccount::capture(), monotonic_now());
            let count = |meter| self.counters.count_in(&snapshot, meter);
            self.anchor = ThreadCounts {
                at: Nanos(before.0.0.midpoint(now.0)),
                cpu: if self.has_task_clock { count(Meter::CpuTime) } else { None },
                ticks: if self.has_msr_ticks { count(Meter::RefCycles) } else { None },
                migrations: count(Meter::Migrations),
                account: after,
            };
            if before.1.map(|it| it.switches) == after.map(|it| it.switches) {
                break;
            }
        }
        let ticks = read_tsc().zip(self.opened.1).and_then(|(now, opened)| now.checked_sub(opened));
        let nanos = monotonic_now().saturating_since(self.opened.0).0;
        self.pace = ticks.map(|ticks| TickPace { ticks, nanos });
    }

    /// Continues counts to another moment of the same time on a CPU. A moment long before the
    /// counts is not of it: something came between.
    fn continue_to(&self, counts: ThreadCounts, at: Nanos) -> ThreadCounts {
        let ticks_in = |span| self.pace.and_then(|pace| pace.ticks_in(span));
        let (cpu, ticks) = if at >= counts.at {
            let span = at.saturating_since(counts.at);
            (
                counts
                    .cpu
                    .map(|cpu| cpu.saturating_add(if self.has_task_clock { span.0 } else { 0 })),
                counts.ticks.zip(ticks_in(span)).map(|(ticks, more)| ticks.saturating_add(more)),
            )
        } else {
            let span = counts.at.saturating_since(at).min(LONGEST_READING);
            (
                counts.cpu.map(|cpu| cpu.saturating_sub(span.0)),
                counts.ticks.zip(ticks_in(span)).map(|(ticks, less)| ticks.saturating_sub(less)),
            )
        };
        ThreadCounts { at, cpu, ticks, ..counts }
    }
}

/// Returns the sources of a warm worker's meters.
pub(super) fn thread_sources(counters: &Counters) -> Provenances {
    let mut all = counters.provenances().clone();
    let account = "the kernel's account of the worker's thread";
    for meter in [Meter::PageFaults, Meter::ContextSwitches] {
        add_account_source(&mut all, meter, Source::Rusage, account);
    }
    if !counters.has_counter(Meter::CpuTime) {
        add_account_source(
            &mut all,
            Meter::CpuTime,
            Source::Clock,
            "CPU clock of the worker's thread",
        );
    }
    let how = [
        (Meter::CpuTime, "continued with the monotonic clock"),
        (Meter::RefCycles, "continued with the pace of the time-stamp counter"),
        (Meter::Migrations, "which a thread cannot move without"),
    ];
    for (meter, how) in how {
        let Some(provenance) = all.get(meter).cloned() else { continue };
        if matches!(provenance.source, Some(Source::PerfSoftware | Source::PerfMsrTsc)) {
            let separator = if provenance.note.is_empty() { "" } else { "; " };
            let note = format!(
                "{}{separator}read when the thread was switched out, {how}",
                provenance.note
            );
            all.set_provenance(meter, Provenance { note, ..provenance });
        }
    }
    all
}

/// Sets a source that needs no counter, with the reason why there is none.
fn add_account_source(all: &mut Provenances, meter: Meter, source: Source, note: &str) {
    let why = all.get(meter).filter(|it| it.source.is_none()).map_or("", |it| it.note.as_str());
    let separator = if why.is_empty() { "" } else { "; no counter: " };
    let note = format!("{note}{separator}{why}");
    all.set_source(meter, source, note);
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::time::{Duration, Instant};

    use super::*;
    use cyclometer_meter::perf::CounterTarget;

    fn open_meters() -> ThreadMeters {
        ThreadMeters::new(Counters::open(CounterTarget::ThisThread))
    }

    fn thread_cpu_time() -> u64 {
        read_cpu_clock(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has one")
    }

    fn spin_for(span: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < span {
            black_box(begun);
        }
    }

    /// Adds up what many short spans used, with work of another kind and sleep between them.
    fn sum_of_spans(meters: &mut ThreadMeters, spans: u32, between: Duration) -> (u64, u64) {
        let (mut cpu, mut ticks) = (0, 0);
        for _ in 0..spans {
            let begun = meters.read_begin();
            spin_for(Duration::from_micros(200));
            let ended = meters.read_at(monotonic_now());
            cpu += ended.cpu.expect("known") - begun.cpu.expect("known");
            ticks += ended.ticks.unwrap_or(0) - begun.ticks.unwrap_or(0);
            std::thread::sleep(between);
        }
        (cpu, ticks)
    }

    #[test]
    fn many_short_spans_add_up_to_the_kernels_own_account() {
        let mut meters = open_meters();
        let before = thread_cpu_time();
        let (cpu, ticks) = sum_of_spans(&mut meters, 1_000, Duration::ZERO);
        let whole = thread_cpu_time() - before;
        // Of the whole, the readings themselves are no part of the sum.
        assert!(cpu <= whole + whole / 50, "{cpu} of {whole} ns");
        assert!(cpu >= whole / 2, "{cpu} of {whole} ns");
        if meters.has_msr_ticks {
            let hz = cyclometer_meter::host::tsc_hz().expect("there are ticks");
            let expected = u128::from(cpu) * u128::from(hz) / 1_000_000_000;
            let off = u128::from(ticks).abs_diff(expected);
            assert!(off < expected / 200, "{ticks} ticks in {cpu} ns at {hz} Hz");
        }
    }

    #[test]
    fn time_off_the_cpu_is_in_no_count_between_spans_or_inside() {
        let mut meters = open_meters();
        let (cpu, _) = sum_of_spans(&mut meters, 20, Duration::from_millis(2));
        // Waiting for a busy CPU is no CPU time: each span has at most what it spun, and a reading.
        assert!(cpu <= 20 * 300_000, "{cpu} ns with the sleep between");
        let begun = meters.read_begin();
        std::thread::sleep(Duration::from_millis(30));
        let ended = meters.read_at(monotonic_now());
        let cpu = ended.cpu.expect("known") - begun.cpu.expect("known");
        assert!(cpu < 10_000_000, "{cpu} ns of 30 ms asleep");
        let switched = |counts: ThreadCounts| counts.account.expect("Linux has one").switches;
        assert!(switched(ended) > switched(begun));
        let moved = ended.migrations.zip(begun.migrations);
        assert!(moved.is_none_or(|(ended, begun)| ended >= begun));
    }

    #[test]
    fn a_thread_without_counters_has_its_cpu_time_from_the_kernel() {
        let mut meters = ThreadMeters::new(Counters::unavailable_because("denied"));
        let before = thread_cpu_time();
        let (cpu, ticks) = sum_of_spans(&mut meters, 50, Duration::ZERO);
        let whole = thread_cpu_time() - before;
        assert!(cpu <= whole && cpu >= whole / 2, "{cpu} of {whole} ns");
        assert_eq!((ticks, meters.read_begin().migrations), (0, None));
        let all = thread_sources(&Counters::unavailable_because("denied"));
        let cpu = all.get(Meter::CpuTime).expect("told");
        assert_eq!(cpu.source, Some(Source::Clock));
        assert!(cpu.note.ends_with("no counter: denied"), "{}", cpu.note);
        assert_eq!(all.get(Meter::Cycles).expect("told").source, None);
        assert_eq!(all.get(Meter::PageFaults).expect("told").source, Some(Source::Rusage));
    }

    #[test]
    fn counts_continue_forward_and_back_within_a_reading() {
        let mut meters = open_meters();
        meters.has_task_clock = true;
        meters.pace = Some(TickPace { ticks: 3_000, nanos: 1_000 });
        let counts = ThreadCounts {
            at: Nanos(1_000_000),
            cpu: Some(500_000),
            ticks: Some(9_000_000),
            migrations: Some(4),
            account: None,
        };
        let at = |at: u64| {
            let counts = meters.continue_to(counts, Nanos(at));
            (counts.cpu, counts.ticks, counts.migrations)
        };
        assert_eq!(at(1_000_700), (Some(500_700), Some(9_002_100), Some(4)));
        assert_eq!(at(999_000), (Some(499_000), Some(8_997_000), Some(4)));
        // Something came between, off the CPU: no more than a reading is taken back.
        assert_eq!(at(500_000), (Some(480_000), Some(8_940_000), Some(4)));
    }

    #[test]
    fn the_account_of_a_thread_grows_with_its_work() {
        let before = ThreadAccount::capture().expect("Linux has one");
        // Beyond the largest threshold of glibc, so that its pages are new ones.
        let pages = vec![1_u8; 64 << 20];
        black_box(&pages);
        let after = ThreadAccount::capture().expect("Linux has one");
        assert!(after.page_faults > before.page_faults);
        // The peak is the whole process', as `getrusage` has it for all of its threads.
        let all = getrusage(UsageWho::RUSAGE_SELF).expect("Linux has one");
        let peak = u64::try_from(all.max_rss()).expect("positive");
        assert!(after.peak_kib.abs_diff(peak) <= peak / 10, "{after:?}, {peak} KiB");
    }
}
