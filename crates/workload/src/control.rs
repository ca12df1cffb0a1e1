//! Control of a running recording: stopping, finishing, and suspensions in which nothing
//! can be measured.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::{Cancel, Outcome, Status};
use cyclometer_core::units::Nanos;

/// Most suspensions that are remembered, far more than fit into one invocation.
const MAX_SUSPENSIONS: usize = 256;

/// Reason stored with an invocation that ran while this process was suspended.
const SUSPENDED: &str = "cyclometer was suspended while it ran";

/// Control handle of a recording, shared by the controlling side and the recorder; all
/// clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Control {
    cancel: Cancel,
    finish: Cancel,
    suspensions: Arc<Mutex<VecDeque<Suspension>>>,
}

/// Time span in which this process was stopped.
#[derive(Debug, Clone, Copy)]
struct Suspension {
    from: Nanos,
    /// End of the suspension; `None` while it lasts.
    to: Option<Nanos>,
}

impl From<Cancel> for Control {
    fn from(cancel: Cancel) -> Self {
        Self::new(cancel, Cancel::default())
    }
}

impl Control {
    /// Creates a control from tokens that are set elsewhere, such as by a signal handler:
    /// `cancel` stops at once, `finish` ends after the current invocation.
    #[must_use]
    pub fn new(cancel: Cancel, finish: Cancel) -> Self {
        Self { cancel, finish, suspensions: Arc::default() }
    }

    /// Stops at once: the invocation in flight and the recording are interrupted.
    pub fn stop_now(&self) {
        self.cancel.cancel();
    }

    /// Ends the recording normally, after the invocation in flight.
    pub fn finish_after_current(&self) {
        self.finish.cancel();
    }

    /// Returns the token that stops at once.
    #[must_use]
    pub const fn cancel_token(&self) -> &Cancel {
        &self.cancel
    }

    /// Returns whether the recording is to stop at once.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Returns whether nothing more is to be started, since the recording was stopped or is
    /// to finish.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_stopped() || self.finish.is_cancelled()
    }

    /// Notes that this process is about to be stopped, before it happens, so that no
    /// outcome slips through between the end of the stop and the call of
    /// [`Self::note_suspended`], which must follow.
    pub fn note_suspending(&self, from: Nanos) {
        self.push_suspension(Suspension { from, to: None });
    }

    /// Notes that this process was stopped from `from` to `to` (SIGSTOP, Ctrl-Z): an
    /// invocation that ran meanwhile says nothing about the function.
    pub fn note_suspended(&self, from: Nanos, to: Nanos) {
        self.suspensions.lock().retain(|known| known.to.is_some());
        self.push_suspension(Suspension { from, to: Some(to) });
    }

    fn push_suspension(&self, suspension: Suspension) {
        let mut all = self.suspensions.lock();
        // The oldest can be dropped: no future outcome began before it ended.
        while all.len() >= MAX_SUSPENSIONS {
            all.pop_front();
        }
        all.push_back(suspension);
    }

    /// Turns a success that overlaps a suspension into an interruption. Failures stay
    /// failures.
    pub fn mark_if_suspended(&self, outcome: &mut Outcome) {
        if outcome.status != Status::Ok {
            return;
        }
        let overlaps = self.suspensions.lock().iter().any(|span| {
            span.from < outcome.ended && span.to.is_none_or(|to| to > outcome.requested)
        });
        if overlaps {
            outcome.status = Status::Interrupted;
            outcome.reason = Some(SUSPENDED.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyclometer_core::meter::Usage;

    fn judged(control: &Control, status: Status, from: u64, to: u64) -> (Status, Option<String>) {
        let mut outcome = Outcome {
            status,
            reason: None,
            exit_code: None,
            requested: Nanos(from),
            ended: Nanos(to),
            usage: Usage::new(false),
            provenances: Arc::default(),
            output: None,
        };
        control.mark_if_suspended(&mut outcome);
        (outcome.status, outcome.reason)
    }

    #[test]
    fn success_that_overlaps_a_suspension_is_an_interruption() {
        let control = Control::default();
        control.note_suspended(Nanos(100), Nanos(200));
        let interrupted = (Status::Interrupted, Some(SUSPENDED.to_owned()));
        for (from, to) in [(50, 101), (99, 300), (120, 130), (199, 300)] {
            assert_eq!(judged(&control, Status::Ok, from, to), interrupted, "{from} to {to}");
        }
        for (from, to) in [(0, 100), (200, 300)] {
            assert_eq!(judged(&control, Status::Ok, from, to), (Status::Ok, None), "{from}");
        }
        for status in [Status::Failed, Status::Timeout, Status::Interrupted] {
            assert_eq!(judged(&control, status, 120, 130), (status, None), "left alone");
        }
    }

    #[test]
    fn a_suspension_that_is_not_over_yet_counts_from_its_start() {
        let control = Control::default();
        control.note_suspending(Nanos(100));
        assert_eq!(judged(&control, Status::Ok, 50, 100).0, Status::Ok);
        assert_eq!(judged(&control, Status::Ok, 50, 1_000).0, Status::Interrupted);
        control.note_suspended(Nanos(100), Nanos(200));
        assert_eq!(judged(&control, Status::Ok, 200, 1_000).0, Status::Ok);
        assert_eq!(judged(&control, Status::Ok, 50, 150).0, Status::Interrupted);
    }

    #[test]
    fn clones_are_the_same_and_the_list_is_bounded() {
        let control = Control::default();
        let other = control.clone();
        for at in 0..1_000 {
            other.note_suspended(Nanos(at * 10), Nanos(at * 10 + 5));
        }
        assert_eq!(control.suspensions.lock().len(), MAX_SUSPENSIONS);
        // Those from 744 on: the newest 256.
        for (from, status) in [
            (0, Status::Ok),
            (7_430, Status::Ok),
            (7_440, Status::Interrupted),
            (9_990, Status::Interrupted),
        ] {
            assert_eq!(judged(&control, Status::Ok, from, from + 5).0, status, "{from}");
        }
        assert!(!control.is_over());
        other.finish_after_current();
        assert!(control.is_over() && !control.is_stopped());
        other.stop_now();
        assert!(control.is_stopped() && control.cancel_token().is_cancelled());
    }
}
