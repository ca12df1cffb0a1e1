//! Lanes: the ways to run a workload, each behind the same contract.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod cache;
pub mod clean;
pub mod command;
mod control_group;
mod cpu_share;
pub mod descriptors;
pub mod docker;
mod elf_headers;
pub mod image_config;
mod image_root;
pub mod image_user;
mod lane_spec;
mod launcher;
mod native;
mod outer_memory_limit;
pub mod profile;
mod program_run;
mod replacement;
#[doc(hidden)]
pub mod survival;
pub mod wasmtime;

pub use command::CommandLane;
pub use lane_spec::{LaneSpec, LaneSpecError, open_lane};
pub use native::NativeLane;

pub use cyclometer_core::invocation::*;
pub use cyclometer_workload::{FootprintPart, Job, Outcome, PartKind, Prepared};

use thiserror::Error;

use cyclometer_core::units::Nanos;
use cyclometer_workload::{CpuShare, Workload};

/// Reason why no lane reports a share of a CPU.
const NO_CPU_LIMIT: &str = "no CPU share was asked for: a function may use whole CPUs";

/// Reason why a lane could not do what was requested.
#[derive(Debug, Error)]
pub enum LaneError {
    /// The lane cannot run here at all.
    #[error("{reason}")]
    Unavailable {
        /// Attempts that failed, and what to do.
        reason: String,
    },
    /// The lane runs, but not this workload.
    #[error("{reason}")]
    Unsupported {
        /// Reason in words.
        reason: String,
    },
    /// Preparing the workload failed.
    #[error("cannot prepare {workload}: {reason}")]
    Prepare {
        /// Name of the workload.
        workload: String,
        /// Reason in words.
        reason: String,
    },
    /// Stopped on request.
    #[error("stopped")]
    Cancelled,
}

/// Description of a lane, for users and for the recording.
#[derive(Debug, Clone, Default)]
pub struct LaneDescription {
    /// Runtime and version, such as `wasmtime 48.0.8`.
    pub version: String,
    /// Further facts that matter for the interpretation of its figures.
    pub note: String,
}

/// A way to run workloads. A lane is used by one thread at a time.
pub trait Lane: Send {
    /// Returns the runtime and its version.
    fn describe(&self) -> LaneDescription;

    /// Returns the kinds of start that the lane has, the first being its default.
    fn start_kinds(&self) -> &'static [StartKind];

    /// Checks whether the lane can run `workload` at all, before anything is done.
    ///
    /// # Errors
    /// [`LaneError::Unsupported`], with the reason.
    fn check_support(&self, workload: &Workload) -> Result<(), LaneError>;

    /// Checks whether the lane can run `job`: its function with all that its preset and its rules ask
    /// for, before anything is done.
    ///
    /// # Errors
    /// [`LaneError::Unsupported`], with the reason and what to do.
    fn check_job(&self, job: &Job) -> Result<(), LaneError> {
        self.check_support(&job.workload)
    }

    /// Checks whether the lane can give its functions that share of CPUs, before anything is done.
    ///
    /// # Errors
    /// [`LaneError::Unsupported`], with the reason and what to do.
    fn check_cpu_share(&self, _share: CpuShare) -> Result<(), LaneError> {
        let reason = "no CPU share can be enforced in this lane: leave it out of the recording";
        Err(LaneError::Unsupported { reason: reason.to_owned() })
    }

    /// Switches the perf counters of cold runs on or off, before any cell is prepared. They are on
    /// unless their cost is to be measured.
    ///
    /// # Errors
    /// [`LaneError::Unsupported`] where they belong to the lane, and whatever prevents the lane
    /// from starting anew.
    fn set_counters_enabled(&mut self, on: bool) -> Result<(), LaneError> {
        if on {
            return Ok(());
        }
        Err(LaneError::Unsupported { reason: "its counters cannot be switched off".to_owned() })
    }

    /// Compiles, imports or counts what `job` needs, once per cell.
    ///
    /// # Errors
    /// Fails when the cell cannot run; the other cells go on.
    fn prepare(&mut self, job: &Job, cancel: &Cancel) -> Result<Prepared, LaneError>;

    /// Compiles `job`'s module anew, whatever is cached, and discards the result. Returns how long
    /// that took; `None`: there is nothing to compile.
    ///
    /// # Errors
    /// Fails when it does not compile, or the lane was stopped.
    fn time_compile(&mut self, _job: &Job, _cancel: &Cancel) -> Option<Result<Nanos, LaneError>> {
        None
    }

    /// Runs `job` once, or as many of the `left` times as the lane runs at one request, and passes
    /// each outcome to `emit` as soon as it is known. A failure of the function, or of the lane
    /// while it runs, is an outcome, not an error. Returns the number of outcomes; 0: `cancel` said
    /// so before there was one.
    fn invoke_next(
        &mut self,
        job: &Job,
        left: u32,
        watch: &mut dyn ProbeSampler,
        cancel: &Cancel,
        emit: &mut dyn FnMut(Outcome),
    ) -> u32;

    /// Runs `job` `count` times, and passes each outcome to `emit` as soon as it is known. Stops
    /// early when `cancel` says so.
    fn invoke(
        &mut self,
        job: &Job,
        count: u32,
        watch: &mut dyn ProbeSampler,
        cancel: &Cancel,
        emit: &mut dyn FnMut(Outcome),
    ) {
        let mut left = count;
        while left > 0 && !cancel.is_cancelled() {
            match self.invoke_next(job, left, watch, cancel, emit) {
                0 => return,
                done => left = left.saturating_sub(done),
            }
        }
    }

    /// Releases everything that was kept for the recording.
    fn close(&mut self);
}

/// Describes what keeps native functions away from other processes here; `true`: a PID namespace
/// does.
///
/// # Errors
/// Fails when no process can be started.
pub fn describe_process_fence() -> Result<(String, bool), String> {
    let runner = program_run::Runner::start_grouped(launcher::Privileges::Function, false)
        .map_err(|error| error.to_string())?;
    let text = runner.fence();
    Ok((text.trim_start_matches("process fence: ").to_owned(), runner.has_namespace()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lane that runs up to three invocations at one request, and none once it was asked for the
    /// fifth.
    #[derive(Default)]
    struct Bursts(Vec<u32>);

    impl Lane for Bursts {
        fn describe(&self) -> LaneDescription {
            LaneDescription::default()
        }

        fn start_kinds(&self) -> &'static [StartKind] {
            &[StartKind::Warm]
        }

        fn check_support(&self, _: &Workload) -> Result<(), LaneError> {
            Ok(())
        }

        fn prepare(&mut self, _: &Job, _: &Cancel) -> Result<Prepared, LaneError> {
            Ok(Prepared::default())
        }

        fn invoke_next(
            &mut self,
            job: &Job,
            left: u32,
            _: &mut dyn ProbeSampler,
            _: &Cancel,
            emit: &mut dyn FnMut(Outcome),
        ) -> u32 {
            self.0.push(left);
            let count = if self.0.len() < 5 { left.min(3) } else { 0 };
            for _ in 0..count {
                emit(Outcome::failed_to_start(job, Nanos(0), "a test"));
            }
            count
        }

        fn close(&mut self) {}
    }

    /// Returns what was left at each request, and the number of outcomes; `cancel` is set at that
    /// outcome.
    fn invoke(count: u32, cancel_at: u32) -> (Vec<u32>, u32) {
        let (mut lane, cancel, mut outcomes) = (Bursts::default(), Cancel::default(), 0);
        lane.invoke(&program_run::tests::job(), count, &mut NoSampling, &cancel, &mut |_| {
            outcomes += 1;
            if outcomes == cancel_at {
                cancel.cancel();
            }
        });
        (lane.0, outcomes)
    }

    #[test]
    fn invocations_are_requested_until_all_have_run_or_the_lane_is_stopped() {
        assert_eq!(invoke(1, 0), (vec![1], 1));
        assert_eq!(invoke(7, 0), (vec![7, 4, 1], 7));
        assert_eq!(invoke(7, 2), (vec![7], 3));
        assert_eq!(invoke(0, 0), (vec![], 0));
        assert_eq!(invoke(100, 0), (vec![100, 97, 94, 91, 88], 12), "a lane that runs no more");
    }
}
