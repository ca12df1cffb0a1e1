//! Replacement of what invocations use one after the other and what may be lost at any of them:
//! launchers, and the workers and containers of warm cells. What is lost is dropped at once, and
//! replaced when the next invocation needs it: nothing is started that nobody uses, and no
//! invocation is run twice.

use std::collections::HashMap;

use super::launcher::LauncherError;
use super::program_run::Runner;
use super::{Cancel, Job, Outcome, Status, monotonic_now};
use cyclometer_core::units::Nanos;

/// Launcher that is started when it is needed, and dropped when it is spent.
pub(super) struct ReplaceableRunner {
    runner: Option<Runner>,
    start: Box<dyn Fn() -> Result<Runner, LauncherError> + Send>,
}

impl ReplaceableRunner {
    /// Creates a launcher that `start` starts when it is needed.
    pub fn new(start: impl Fn() -> Result<Runner, LauncherError> + Send + 'static) -> Self {
        Self { runner: None, start: Box::new(start) }
    }

    /// Returns the launcher, started if there is none, or if the one there was is spent.
    pub(crate) fn get_or_start(&mut self) -> Result<&Runner, LauncherError> {
        self.drop_if_spent();
        match &mut self.runner {
            Some(runner) => Ok(runner),
            none => Ok(none.insert((self.start)()?)),
        }
    }

    /// Returns the launcher, if there is one.
    pub const fn current(&self) -> Option<&Runner> {
        self.runner.as_ref()
    }

    /// Drops a launcher that starts nothing more, with all that it still runs.
    pub(crate) fn drop_if_spent(&mut self) {
        self.runner.take_if(|runner| runner.is_spent());
    }

    /// Drops the launcher, whatever its state.
    pub(crate) fn discard(&mut self) {
        self.runner = None;
    }
}

/// Lane that keeps a worker for each of its warm cells.
pub(super) trait WarmLane {
    /// A process or a container that runs one invocation after the other.
    type Worker;

    /// Returns the workers that wait, by the number of the plan's cell.
    fn waiting_workers(&mut self) -> &mut HashMap<usize, Self::Worker>;

    /// Starts a worker for `job`.
    fn start_worker(&mut self, job: &Job, cancel: &Cancel) -> Result<Self::Worker, String>;

    /// Checks a worker that has waited; the error says why it cannot be used.
    fn check_waiting_worker(&self, _worker: &mut Self::Worker) -> Result<(), String> {
        Ok(())
    }

    /// Ends a worker that is not to be used again.
    fn retire_worker(&mut self, worker: Self::Worker) {
        drop(worker);
    }
}

/// Whether a worker can be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkerState {
    Sound,
    Lost,
}

impl WorkerState {
    /// Returns the state of a worker that can be used again if `sound` is true.
    pub(crate) const fn from_soundness(sound: bool) -> Self {
        if sound { Self::Sound } else { Self::Lost }
    }
}

/// Result of what ran in a worker.
pub(super) struct WorkerRun<R> {
    pub result: R,
    /// Reason why the worker that had waited was replaced before, if it was.
    pub replaced: Option<String>,
}

/// Failure to start a worker.
#[derive(Debug)]
pub(super) struct WorkerNotStarted {
    requested: Nanos,
    reason: String,
}

impl WorkerNotStarted {
    /// Converts the failure to the outcome of the invocation that needed the worker.
    pub(crate) fn into_outcome(self, job: &Job, cancel: &Cancel) -> Outcome {
        let mut outcome = Outcome::failed_to_start(job, self.requested, self.reason);
        if cancel.is_cancelled() {
            outcome.status = Status::Interrupted;
        }
        outcome
    }
}

/// Runs something in the worker of `job`'s cell: the one that waits, or a new one. It waits again
/// if `run` says that it is sound.
pub(super) fn run_in_worker<L: WarmLane, R>(
    lane: &mut L,
    job: &Job,
    cancel: &Cancel,
    run: impl FnOnce(&mut L, &mut L::Worker) -> (R, WorkerState),
) -> Result<WorkerRun<R>, WorkerNotStarted> {
    let requested = monotonic_now();
    let mut replaced = None;
    let waiting = lane.waiting_workers().remove(&job.cell).and_then(|mut worker| {
        match lane.check_waiting_worker(&mut worker) {
            Ok(()) => Some(worker),
            Err(reason) => {
                replaced = Some(reason);
                lane.retire_worker(worker);
                None
            }
        }
    });
    let worker = waiting.map_or_else(|| lane.start_worker(job, cancel), Ok);
    let mut worker = worker.map_err(|reason| WorkerNotStarted { requested, reason })?;
    let (result, state) = run(lane, &mut worker);
    match state {
        WorkerState::Sound => drop(lane.waiting_workers().insert(job.cell, worker)),
        WorkerState::Lost => lane.retire_worker(worker),
    }
    Ok(WorkerRun { result, replaced })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launcher::Privileges;
    use crate::program_run::tests::job;
    use std::sync::Arc;

    #[test]
    fn a_launcher_is_started_when_it_is_needed_and_kept_until_it_is_spent() {
        let mut slot =
            ReplaceableRunner::new(|| Runner::start_grouped(Privileges::Function, false));
        assert!(slot.current().is_none(), "nobody needs it yet");
        let first = slot.get_or_start().expect("started").provenances().clone();
        slot.drop_if_spent();
        let again = slot.get_or_start().expect("there").provenances().clone();
        assert!(Arc::ptr_eq(&first, &again), "it is kept");
        slot.discard();
        assert!(slot.current().is_none());
        let other = slot.get_or_start().expect("started").provenances().clone();
        assert!(!Arc::ptr_eq(&first, &other), "another one");
    }

    #[test]
    fn a_launcher_that_cannot_be_started_is_tried_again() {
        let mut slot = ReplaceableRunner::new(|| Err(LauncherError::Arguments("no".to_owned())));
        for _ in 0..2 {
            let error = slot.get_or_start().map(drop).expect_err("refused");
            assert_eq!(error.to_string(), "no");
            assert!(slot.current().is_none());
        }
    }

    /// Lane whose workers are numbers, from 1.
    #[derive(Default)]
    struct Numbers {
        waiting: HashMap<usize, u32>,
        started: u32,
        /// Most workers that can be started.
        most: u32,
        retired: Vec<u32>,
        /// Workers that are found lost after they have waited.
        lost_while_waiting: Vec<u32>,
    }

    impl WarmLane for Numbers {
        type Worker = u32;

        fn waiting_workers(&mut self) -> &mut HashMap<usize, u32> {
            &mut self.waiting
        }

        fn start_worker(&mut self, _: &Job, _: &Cancel) -> Result<u32, String> {
            if self.started == self.most {
                return Err("no more".to_owned());
            }
            self.started += 1;
            Ok(self.started)
        }

        fn check_waiting_worker(&self, worker: &mut u32) -> Result<(), String> {
            let lost = self.lost_while_waiting.contains(worker);
            if lost { Err(format!("{worker} was lost")) } else { Ok(()) }
        }

        fn retire_worker(&mut self, worker: u32) {
            self.retired.push(worker);
        }
    }

    /// Runs something in a worker, which is in that state afterwards; returns the number of the
    /// worker, and why the one before it was replaced.
    fn run(
        lane: &mut Numbers,
        after: WorkerState,
    ) -> Result<(u32, Option<String>), (Status, Option<String>)> {
        let (job, cancel) = (job(), Cancel::default());
        match run_in_worker(lane, &job, &cancel, |_, worker| (*worker, after)) {
            Ok(run) => Ok((run.result, run.replaced)),
            Err(failure) => {
                let outcome = failure.into_outcome(&job, &cancel);
                Err((outcome.status, outcome.reason))
            }
        }
    }

    #[test]
    fn a_worker_is_used_until_it_is_lost() {
        let mut lane = Numbers { most: 3, lost_while_waiting: vec![2], ..Numbers::default() };
        assert_eq!(run(&mut lane, WorkerState::Sound), Ok((1, None)));
        assert_eq!(run(&mut lane, WorkerState::Lost), Ok((1, None)));
        assert_eq!((lane.retired.as_slice(), lane.waiting.len()), (&[1][..], 0));
        assert_eq!(lane.started, 1, "the next one is started when it is needed");
        assert_eq!(run(&mut lane, WorkerState::Sound), Ok((2, None)));
        assert_eq!(run(&mut lane, WorkerState::Sound), Ok((3, Some("2 was lost".to_owned()))));
        assert_eq!(lane.retired, [1, 2]);
    }

    #[test]
    fn a_worker_that_does_not_start_fails_one_invocation() {
        let mut lane = Numbers::default();
        let failed = Err((Status::Failed, Some("no more".to_owned())));
        assert_eq!(run(&mut lane, WorkerState::Sound), failed);
        lane.most = 1;
        assert_eq!(run(&mut lane, WorkerState::Sound), Ok((1, None)));
        let (job, cancel) = (job(), Cancel::default());
        cancel.cancel();
        let failure = WorkerNotStarted { requested: Nanos(1), reason: "late".to_owned() };
        assert_eq!(failure.into_outcome(&job, &cancel).status, Status::Interrupted);
    }
}
