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

use super::report::{Moment, Report};
use super::timeline::{Happened, Offset, What};
use cyclometer_core::units::Nanos;
use cyclometer_meter::Phases;

/// Source of the times of `start` and `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Basis {
    /// The starter, inside the container.
    Starter,
    /// The engine's events and account.
    Engine,
    /// The times of the engine's responses.
    #[default]
    Answers,
}

impl Basis {
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
            Self::Answers => {
                "create + start + run as answered by the engine, which told nothing better; where \
                 there is no start, run holds both"
            }
        }
    }
}

/// Times of requests and responses, on the monotonic clock.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    pub requested: Nanos,
    pub created: Option<Nanos>,
    pub start: Option<Nanos>,
    pub started: Option<Nanos>,
    /// Time at which the engine reported the end.
    pub ended: Option<Nanos>,
    /// Whether this is a command in a container that runs already: the engine
    /// answers, and notes its start, before it starts it.
    pub command: bool,
}

/// Times that the engine and the starter report.
#[derive(Default)]
pub(super) struct Said<'a> {
    pub report: Option<&'a Report>,
    /// Times of events, on the engine's wall clock.
    pub happened: Happened,
    /// Start and end that the engine states, on its wall clock.
    pub started: Option<Nanos>,
    pub finished: Option<Nanos>,
    /// Offset between the clocks; `None`: the wall clock was set meanwhile.
    pub offset: Option<Offset>,
}

/// Phases of an invocation, and the source of their times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Timed {
    pub phases: Phases,
    pub ended: Option<Nanos>,
    pub basis: Basis,
    /// Whether the starter's monotonic clock is that of this machine, so that its
    /// kernel is, too.
    pub shares_kernel: bool,
}

impl Said<'_> {
    fn at(&self, wall: Option<Nanos>) -> Option<Nanos> {
        self.offset?.monotonic(wall?)
    }

    fn event(&self, what: [What; 2]) -> Option<Nanos> {
        what.iter().find_map(|what| self.at(self.happened.get(what).copied()))
    }

    /// Returns first instruction and end by the report, if they lie between these
    /// moments, and whether its monotonic clock gave them.
    fn reported(&self, from: Nanos, until: Nanos) -> Option<(Nanos, Nanos, bool)> {
        let report = self.report.filter(|report| report.failure.is_none())?;
        let ran = report.ran();
        let fits = |began: &Nanos| *began >= from && began.0.saturating_add(ran.0) <= until.0;
        let Moment { monotonic, realtime } = report.began;
        let by_wall = || self.at(Some(realtime)).filter(fits);
        let by_end = || self.at(self.finished).map(|end| Nanos(end.0.saturating_sub(ran.0)));
        let shared = Some(monotonic).filter(fits);
        let began = shared.or_else(by_wall).or_else(|| by_end().filter(fits))?;
        Some((began, Nanos(began.0 + ran.0), shared.is_some()))
    }
}

/// Derives the phases of an invocation.
pub(super) fn timed(asked: &Asked, said: &Said<'_>) -> Timed {
    let within = |from: Nanos, until: Option<Nanos>| {
        move |at: &Nanos| *at >= from && until.is_none_or(|until| *at <= until)
    };
    let mut timed = Timed::default();
    let created = said.event([What::Create, What::ExecCreate]);
    let created = created.filter(within(asked.requested, asked.created)).or(asked.created);
    timed.phases.create = created.map(|at| at.since(asked.requested));
    let Some(start) = asked.start else { return timed };
    let answered = asked.ended.or(asked.started);
    let reported = answered.and_then(|answered| said.reported(start, answered));
    if let Some((began, ended, shares_kernel)) = reported {
        timed.basis = Basis::Starter;
        timed.shares_kernel = shares_kernel;
        timed.phases.start = Some(began.since(start));
        timed.phases.run = Some(ended.since(began));
        timed.ended = Some(ended);
        return timed;
    }
    by_engine(asked, said, start, &mut timed);
    timed
}

/// Derives start and run from the engine's account, or from the times of its responses.
fn by_engine(asked: &Asked, said: &Said<'_>, start: Nanos, timed: &mut Timed) {
    let within = |at: &Nanos| *at >= start && asked.ended.is_none_or(|ended| *at <= ended);
    if asked.command {
        timed.ended = asked.ended;
        timed.phases.run = asked.ended.map(|ended| ended.since(start));
        return;
    }
    let stated = said.at(said.started).filter(within);
    let event = said.event([What::Start, What::ExecStart]).filter(within);
    let began = [stated, event].into_iter().flatten().min();
    let ended = said.at(said.finished).filter(within);
    let ended = ended.or_else(|| said.event([What::Die, What::ExecDie]).filter(within));
    let (began, ended) = match (began, ended) {
        (Some(began), Some(ended)) => {
            timed.basis = Basis::Engine;
            timed.ended = Some(ended);
            if ended <= began {
                timed.phases.run = Some(ended.since(start));
                return;
            }
            (Some(began), Some(ended))
        }
        // One of each would be from two clocks.
        _ => (asked.started, asked.ended),
    };
    timed.phases.start = began.map(|began| began.since(start));
    timed.phases.run = began.zip(ended).map(|(began, ended)| ended.since(began));
    timed.ended = ended;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        let at = |value| Some(Nanos(value));
        Asked {
            requested: Nanos(100),
            created: at(200),
            start: at(300),
            started: at(420),
            ended: at(900),
            command: false,
        }
    }

    fn report(monotonic: u64, realtime: u64) -> Report {
        let moment =
            |at| Moment { monotonic: Nanos(monotonic + at), realtime: Nanos(realtime + at) };
        Report { began: moment(0), ended: moment(250), ..Report::test(0, 0) }
    }

    /// Returns create, start and run in nanoseconds.
    fn spans(timed: &Timed) -> [u64; 3] {
        let Phases { create, start, run, .. } = timed.phases;
        [create, start, run].map(|span| span.expect("timed").0)
    }

    /// Returns reported times with the wall clock 1000 ns ahead of the monotonic one.
    fn said(report: Option<&Report>) -> Said<'_> {
        Said {
            report,
            happened: Happened::from([
                (What::Create, Nanos(1_190)),
                (What::Start, Nanos(1_410)),
                (What::Die, Nanos(1_880)),
            ]),
            started: Some(Nanos(1_400)),
            finished: Some(Nanos(1_700)),
            offset: Some(Offset::test(1_000)),
        }
    }

    #[test]
    fn the_starter_knows_best() {
        let report = report(380, 1_380);
        let timed = timed(&asked(), &said(Some(&report)));
        assert_eq!(spans(&timed), [90, 80, 250]);
        assert_eq!((timed.ended, timed.basis), (Some(Nanos(630)), Basis::Starter));
        assert!(timed.shares_kernel);
    }

    #[test]
    fn a_sandbox_with_its_own_clocks_is_placed_by_its_wall_clock_or_its_end() {
        let shared = report(5, 1_385);
        let placed = timed(&asked(), &said(Some(&shared)));
        assert_eq!((spans(&placed), placed.shares_kernel), ([90, 85, 250], false));
        // The end is at 700, after a run of 250.
        let neither = report(5, 5);
        let placed = timed(&asked(), &said(Some(&neither)));
        assert_eq!(spans(&placed), [90, 150, 250]);
        assert_eq!(placed.ended, Some(Nanos(700)));
        // A report from before the start, or that outlasts its container, is
        // not believed.
        let mut forged = report(380, 1_380);
        forged.ended.monotonic = Nanos(5_000);
        assert_eq!(timed(&asked(), &said(Some(&forged))).basis, Basis::Engine);
    }

    #[test]
    fn the_engine_is_next() {
        let timed = timed(&asked(), &said(None));
        assert_eq!(spans(&timed), [90, 100, 300]);
        assert_eq!((timed.ended, timed.basis), (Some(Nanos(700)), Basis::Engine));
    }

    #[test]
    fn an_end_before_the_start_makes_no_run_of_nothing() {
        let said = Said { finished: Some(Nanos(1_350)), ..said(None) };
        let phases = timed(&asked(), &said).phases;
        assert_eq!((phases.start, phases.run), (None, Some(Nanos(50))));
    }

    #[test]
    fn the_start_of_a_command_is_known_to_the_starter_alone() {
        let asked = Asked { command: true, ..asked() };
        let killed = timed(&asked, &said(None)).phases;
        assert_eq!((killed.start, killed.run), (None, Some(Nanos(600))));
        let report = report(380, 1_380);
        assert_eq!(spans(&timed(&asked, &said(Some(&report)))), [90, 80, 250]);
    }

    #[test]
    fn answers_are_left_when_the_clock_was_set() {
        let said = Said { offset: None, ..said(None) };
        let timed = timed(&asked(), &said);
        assert_eq!(spans(&timed), [100, 120, 480]);
        assert_eq!((timed.ended, timed.basis), (Some(Nanos(900)), Basis::Answers));
    }

    #[test]
    fn what_was_never_reached_has_no_phase() {
        let asked = Asked { start: None, started: None, ended: None, ..asked() };
        let timed = timed(&asked, &Said::default());
        assert_eq!(timed.phases, Phases { create: Some(Nanos(100)), ..Phases::default() });
    }
}
