//! Phases of an invocation, derived from three clocks, the best first.
//!
//! ```text
//!  request ──▶ created     ask to start ──▶ first instruction ──▶ end
//!     └─ create ─┘             └─── start ───┘ └───── run ──────┘
//! ```
//!
//! - *created*: the engine's `create` event (`exec_create` for a warm one).
//! - *first instruction* and *end*: as the starter saw them, on the clock that a
//!   container shares with its host. For a sandbox with clocks of its own, the
//!   starter gives the time between the two, and the sandbox's wall clock gives
//!   their place; if that is off, the engine's account of the end does.
//! - Where there was no starter, or it was killed: the start and the end that
//!   the engine states, or its events. The engine notes a start late: where that
//!   is after the end, `run` holds both. Where it states neither: the times of
//!   its responses.

use super::engine_events::{ClockOffset, EventKind, EventTimes};
use super::starter_report::{ContainerMoment, StarterReport};
use cyclometer_core::units::Nanos;
use cyclometer_meter::Phases;

/// Source of the times of `start` and `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum PhaseBasis {
    /// The starter, inside the container.
    Starter,
    /// The engine's events and account.
    Engine,
    /// The times of the engine's responses.
    #[default]
    ResponseTimes,
}

impl PhaseBasis {
    /// Returns a note for the reader of the figures.
    pub const fn note(self) -> &'static str {
        match self {
            Self::Starter => {
                "create until the engine's event, start until the function's first instruction, \
                 run until its end, as seen inside the container; what lies between create and \
                 start, such as attaching to it, is left out"
            }
            Self::Engine => {
                "create until the engine's event, start and run until the start and the end that it \
                 states; it notes a start some milliseconds late: where that is after the end, run \
                 holds both"
            }
            Self::ResponseTimes => {
                "create + start + run as answered by the engine, which told nothing better; where \
                 there is no start, run holds both"
            }
        }
    }
}

/// Times of requests and responses, on the monotonic clock.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RequestTimes {
    pub requested: Nanos,
    pub created: Option<Nanos>,
    pub start: Option<Nanos>,
    pub started: Option<Nanos>,
    /// Time at which the engine reported the end.
    pub ended: Option<Nanos>,
    /// Whether this is a command in a container that runs already: the engine
    /// answers, and notes its start, before it starts it.
    pub is_command: bool,
}

/// Times that the engine and the starter report.
#[derive(Default)]
pub(super) struct ReportedTimes<'a> {
    pub report: Option<&'a StarterReport>,
    /// Times of events, on the engine's wall clock.
    pub events: EventTimes,
    /// Start and end that the engine states, on its wall clock.
    pub started: Option<Nanos>,
    pub finished: Option<Nanos>,
    /// Offset between the clocks; `None`: the wall clock was set meanwhile.
    pub offset: Option<ClockOffset>,
}

/// Phases of an invocation, and the source of their times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PhaseTimes {
    pub phases: Phases,
    pub ended: Option<Nanos>,
    pub basis: PhaseBasis,
    /// Whether the starter's monotonic clock is that of this machine, so that its
    /// kernel is, too.
    pub shares_kernel: bool,
}

impl ReportedTimes<'_> {
    fn to_monotonic(&self, wall: Option<Nanos>) -> Option<Nanos> {
        self.offset?.to_monotonic(wall?)
    }

    fn event_time(&self, what: [EventKind; 2]) -> Option<Nanos> {
        what.iter().find_map(|what| self.to_monotonic(self.events.get(what).copied()))
    }

    /// Returns first instruction and end by the report, if they lie between these
    /// moments, and whether its monotonic clock gave them.
    fn function_interval(&self, from: Nanos, until: Nanos) -> Option<(Nanos, Nanos, bool)> {
        let report = self.report.filter(|report| report.failure.is_none())?;
        let ran = report.run_time();
        let fits = |began: &Nanos| *began >= from && began.0.saturating_add(ran.0) <= until.0;
        let ContainerMoment { monotonic, realtime } = report.began;
        let by_wall = || self.to_monotonic(Some(realtime)).filter(fits);
        let by_end =
            || self.to_monotonic(self.finished).map(|end| Nanos(end.0.saturating_sub(ran.0)));
        let shared = Some(monotonic).filter(fits);
        let began = shared.or_else(by_wall).or_else(|| by_end().filter(fits))?;
        Some((began, Nanos(began.0 + ran.0), shared.is_some()))
    }
}

/// Derives the phases of an invocation.
pub(super) fn derive_phases(asked: &RequestTimes, said: &ReportedTimes<'_>) -> PhaseTimes {
    let within = |from: Nanos, until: Option<Nanos>| {
        move |at: &Nanos| *at >= from && until.is_none_or(|until| *at <= until)
    };
    let mut timed = PhaseTimes::default();
    let created = said.event_time([EventKind::Create, EventKind::ExecCreate]);
    let created = created.filter(within(asked.requested, asked.created)).or(asked.created);
    timed.phases.create = created.map(|at| at.saturating_since(asked.requested));
    let Some(start) = asked.start else { return timed };
    let answered = asked.ended.or(asked.started);
    let reported = answered.and_then(|answered| said.function_interval(start, answered));
    if let Some((began, ended, shares_kernel)) = reported {
        timed.basis = PhaseBasis::Starter;
        timed.shares_kernel = shares_kernel;
        timed.phases.start = Some(began.saturating_since(start));
        timed.phases.run = Some(ended.saturating_since(began));
        timed.ended = Some(ended);
        return timed;
    }
    derive_from_engine(asked, said, start, &mut timed);
    timed
}

/// Derives start and run from the engine's account, or from the times of its responses.
fn derive_from_engine(
    asked: &RequestTimes,
    said: &ReportedTimes<'_>,
    start: Nanos,
    timed: &mut PhaseTimes,
) {
    let within = |at: &Nanos| *at >= start && asked.ended.is_none_or(|ended| *at <= ended);
    if asked.is_command {
        timed.ended = asked.ended;
        timed.phases.run = asked.ended.map(|ended| ended.saturating_since(start));
        return;
    }
    let stated = said.to_monotonic(said.started).filter(within);
    let event = said.event_time([EventKind::Start, EventKind::ExecStart]).filter(within);
    let began = [stated, event].into_iter().flatten().min();
    let ended = said.to_monotonic(said.finished).filter(within);
    let ended =
        ended.or_else(|| said.event_time([EventKind::Die, EventKind::ExecDie]).filter(within));
    let (began, ended) = match (began, ended) {
        (Some(began), Some(ended)) => {
            timed.basis = PhaseBasis::Engine;
            timed.ended = Some(ended);
            if ended <= began {
                timed.phases.run = Some(ended.saturating_since(start));
                return;
            }
            (Some(began), Some(ended))
        }
        // One of each would be from two clocks.
        _ => (asked.started, asked.ended),
    };
    timed.phases.start = began.map(|began| began.saturating_since(start));
    timed.phases.run = began.zip(ended).map(|(began, ended)| ended.saturating_since(began));
    timed.ended = ended;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> RequestTimes {
        let at = |value| Some(Nanos(value));
        RequestTimes {
            requested: Nanos(100),
            created: at(200),
            start: at(300),
            started: at(420),
            ended: at(900),
            is_command: false,
        }
    }

    fn report(monotonic: u64, realtime: u64) -> StarterReport {
        let moment = |at| ContainerMoment {
            monotonic: Nanos(monotonic + at),
            realtime: Nanos(realtime + at),
        };
        StarterReport { began: moment(0), ended: moment(250), ..StarterReport::for_test(0, 0) }
    }

    /// Returns create, start and run in nanoseconds.
    fn spans(timed: &PhaseTimes) -> [u64; 3] {
        let Phases { create, start, run, .. } = timed.phases;
        [create, start, run].map(|span| span.expect("timed").0)
    }

    /// Returns reported times with the wall clock 1000 ns ahead of the monotonic one.
    fn said(report: Option<&StarterReport>) -> ReportedTimes<'_> {
        ReportedTimes {
            report,
            events: EventTimes::from([
                (EventKind::Create, Nanos(1_190)),
                (EventKind::Start, Nanos(1_410)),
                (EventKind::Die, Nanos(1_880)),
            ]),
            started: Some(Nanos(1_400)),
            finished: Some(Nanos(1_700)),
            offset: Some(ClockOffset::from_nanos(1_000)),
        }
    }

    #[test]
    fn the_starter_knows_best() {
        let report = report(380, 1_380);
        let timed = derive_phases(&asked(), &said(Some(&report)));
        assert_eq!(spans(&timed), [90, 80, 250]);
        assert_eq!((timed.ended, timed.basis), (Some(Nanos(630)), PhaseBasis::Starter));
        assert!(timed.shares_kernel);
    }

    #[test]
    fn a_sandbox_with_its_own_clocks_is_placed_by_its_wall_clock_or_its_end() {
        let shared = report(5, 1_385);
        let placed = derive_phases(&asked(), &said(Some(&shared)));
        assert_eq!((spans(&placed), placed.shares_kernel), ([90, 85, 250], false));
        // The end is at 700, after a run of 250.
        let neither = report(5, 5);
        let placed = derive_phases(&asked(), &said(Some(&neither)));
        assert_eq!(spans(&placed), [90, 150, 250]);
        assert_eq!(placed.ended, Some(Nanos(700)));
        // A report from before the start, or that outlasts its container, is
        // not believed.
        let mut forged = report(380, 1_380);
        forged.ended.monotonic = Nanos(5_000);
        assert_eq!(derive_phases(&asked(), &said(Some(&forged))).basis, PhaseBasis::Engine);
    }

    #[test]
    fn the_engine_is_next() {
        let timed = derive_phases(&asked(), &said(None));
        assert_eq!(spans(&timed), [90, 100, 300]);
        assert_eq!((timed.ended, timed.basis), (Some(Nanos(700)), PhaseBasis::Engine));
    }

    #[test]
    fn an_end_before_the_start_makes_no_run_of_nothing() {
        let said = ReportedTimes { finished: Some(Nanos(1_350)), ..said(None) };
        let phases = derive_phases(&asked(), &said).phases;
        assert_eq!((phases.start, phases.run), (None, Some(Nanos(50))));
    }

    #[test]
    fn the_start_of_a_command_is_known_to_the_starter_alone() {
        let asked = RequestTimes { is_command: true, ..asked() };
        let killed = derive_phases(&asked, &said(None)).phases;
        assert_eq!((killed.start, killed.run), (None, Some(Nanos(600))));
        let report = report(380, 1_380);
        assert_eq!(spans(&derive_phases(&asked, &said(Some(&report)))), [90, 80, 250]);
    }

    #[test]
    fn answers_are_left_when_the_clock_was_set() {
        let said = ReportedTimes { offset: None, ..said(None) };
        let timed = derive_phases(&asked(), &said);
        assert_eq!(spans(&timed), [100, 120, 480]);
        assert_eq!((timed.ended, timed.basis), (Some(Nanos(900)), PhaseBasis::ResponseTimes));
    }

    #[test]
    fn what_was_never_reached_has_no_phase() {
        let asked = RequestTimes { start: None, started: None, ended: None, ..asked() };
        let timed = derive_phases(&asked, &ReportedTimes::default());
        assert_eq!(timed.phases, Phases { create: Some(Nanos(100)), ..Phases::default() });
    }
}
