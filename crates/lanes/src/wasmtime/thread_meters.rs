//! Counts of a worker's thread around short invocations, by as few system calls as can be.
//!
//! Reading a counter of perf takes microseconds, as long as a short function. But its software
//! events stand still, or run with the clock, while the thread stays on its CPU: the task clock
//! advances with the time, the ticks of `msr/tsc` with the ticks, and the thread can migrate to
//! another CPU only when it is switched out. So they are read once, and again when the kernel's own
//! account says that the thread was switched since; in between they are continued, which is exact.
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
const TRIES: u32 = 8;

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
        if account.is_none() || switches(account) != switches(self.anchor.account) {
            self.read_anchor();
        }
        let counts = self.continue_to(self.anchor, at);
        ThreadCounts { cpu: counts.cpu.or(cpu), account, ..counts }
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
