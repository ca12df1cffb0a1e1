//! Lanes: the ways to run a workload, each behind the same contract.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod cache;
pub mod clean;
pub mod command;
pub mod descriptors;
pub mod docker;
mod group;
mod launcher;
mod native;
mod process;
pub mod profile;
mod select;
#[doc(hidden)]
pub mod survival;
mod wall;
pub mod wasmtime;

pub use command::CommandLane;
pub use native::NativeLane;
pub use select::{LaneSpec, SpecError, open};

pub use cyclometer_core::invocation::*;
pub use cyclometer_workload::{FootprintPart, Job, Outcome, PartKind, Prepared};

use thiserror::Error;

use cyclometer_core::units::Nanos;
use cyclometer_workload::Workload;

/// Reason why no lane says what share of a CPU it gives.
const WHOLE_CPU: &str = "no lane limits CPU: a function may use whole ones";

/// Reason why a lane could not do what it was asked.
#[derive(Debug, Error)]
pub enum LaneError {
    /// The lane cannot run here at all.
    #[error("{reason}")]
    Unavailable {
        /// What was tried, and what to do.
        reason: String,
    },
    /// The lane runs, but not this workload.
    #[error("{reason}")]
    Unsupported {
        /// Why.
        reason: String,
    },
    /// Preparing the workload failed.
    #[error("cannot prepare {workload}: {reason}")]
    Prepare {
        /// Which.
        workload: String,
        /// Why.
        reason: String,
    },
    /// Stopped on request.
    #[error("stopped")]
    Cancelled,
}

/// Description of a lane, for people and for the recording.
#[derive(Debug, Clone, Default)]
pub struct Description {
    /// Runtime and version, such as `wasmtime 48.0.8`.
    pub version: String,
    /// What else matters when reading its figures.
    pub note: String,
}

/// A way to run workloads. A lane is used by one thread at a time.
pub trait Lane: Send {
    /// Runtime and version.
    fn describe(&self) -> Description;

    /// The kinds of start it has, the first being its default.
    fn starts(&self) -> &'static [StartKind];

    /// Whether it can run `workload` at all, before anything is done.
    ///
    /// # Errors
    /// [`LaneError::Unsupported`], with the reason.
    fn supports(&self, workload: &Workload) -> Result<(), LaneError>;

    /// Switches the perf counters of cold runs on or off, before any is
    /// prepared. They are on unless somebody asks what they cost.
    ///
    /// # Errors
    /// [`LaneError::Unsupported`] where they belong to the lane, and whatever
    /// keeps it from starting anew.
    fn count(&mut self, on: bool) -> Result<(), LaneError> {
        if on {
            return Ok(());
        }
        Err(LaneError::Unsupported { reason: "its counters cannot be switched off".to_owned() })
    }

    /// Compiles, imports or counts what `job` needs, once per cell.
    ///
    /// # Errors
    /// When the cell cannot run; the other cells go on.
    fn prepare(&mut self, job: &Job, cancel: &Cancel) -> Result<Prepared, LaneError>;

    /// Compiles what `job` needs anew, whatever is cached, and forgets the
    /// result: how long that took. `None`: there is nothing to compile.
    ///
    /// # Errors
    /// When it does not compile, or the lane was stopped.
    fn time_compile(&mut self, _job: &Job, _cancel: &Cancel) -> Option<Result<Nanos, LaneError>> {
        None
    }

    /// Runs `job` `count` times, handing each outcome to `emit` as soon as it
    /// is known. A failure of the function, or of the lane while it runs, is
    /// an outcome, not an error. Stops early when `cancel` says so.
    fn invoke(
        &mut self,
        job: &Job,
        count: u32,
        watch: &mut dyn Watch,
        cancel: &Cancel,
        emit: &mut dyn FnMut(Outcome),
    );

    /// Lets go of everything that was kept for the recording.
    fn close(&mut self);
}

/// Describes what keeps native functions from other processes here; `true`: by a
/// namespace of processes.
///
/// # Errors
/// When no process can be started.
pub fn describe_process_fence() -> Result<(String, bool), String> {
    let runner = process::Runner::start_grouped(launcher::Privileges::Function, false)
        .map_err(|error| error.to_string())?;
    let text = runner.fence();
    Ok((text.trim_start_matches("process fence: ").to_owned(), runner.has_namespace()))
}
