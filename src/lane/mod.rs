//! Lanes: the ways to run a workload, each behind the same contract.

pub(crate) mod cache;
pub mod command;
pub mod docker;
mod group;
pub(crate) mod launcher;
mod native;
mod process;
mod select;
mod wall;
pub mod wasmtime;

pub use command::CommandLane;
pub use native::NativeLane;
pub use select::{LaneSpec, SpecError, open};

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use thiserror::Error;

use crate::meter::{Meter, Provenances, Usage};
use crate::units::{Bytes, Nanos};
use crate::workload::{Limits, OutputDigest, Preset, Workload};

/// Why no lane says what share of a CPU it gives.
const WHOLE_CPU: &str = "no lane limits CPU: a function may use whole ones";

/// Whether the sandbox is made for the invocation or was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StartKind {
    /// A new process, worker or container.
    Cold,
    /// A fresh instance in a worker that already runs.
    Warm,
}

impl StartKind {
    /// The word stored and shown.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
        }
    }
}

impl fmt::Display for StartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

/// One cell of a plan: what a lane is asked to run.
#[derive(Debug, Clone)]
pub struct Job {
    /// Number of the cell in its plan: lanes key what they keep warm by it.
    pub cell: usize,
    /// The function.
    pub workload: Arc<Workload>,
    /// Its arguments and input.
    pub preset: Arc<Preset>,
    /// Cold or warm.
    pub start: StartKind,
    /// Limits of memory, time and output that hold for it.
    pub limits: Limits,
    /// The only CPU it may run on, if any.
    pub cpu: Option<u16>,
}

/// How an invocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Exit status 0 and the expected output.
    Ok,
    /// Anything else that came from the function or its lane.
    Failed,
    /// Stopped at its time limit.
    Timeout,
    /// Stopped because the recording was.
    Interrupted,
}

impl Status {
    /// The word stored and shown.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
        }
    }
}

/// One meter at one moment inside an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Moment on the monotonic clock.
    pub at: Nanos,
    /// What was read.
    pub meter: Meter,
    /// Its value since the invocation began, or the level now.
    pub value: u64,
}

/// What came of one invocation.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// Why it did not end well, or a remark.
    pub reason: Option<String>,
    /// The function's exit code, if it exited.
    pub exit_code: Option<i32>,
    /// When it was asked for, on the monotonic clock.
    pub requested: Nanos,
    /// When it ended, on the monotonic clock.
    pub ended: Nanos,
    /// All that was measured.
    pub usage: Usage,
    /// Where each meter came from.
    pub provenances: Arc<Provenances>,
    /// What it wrote to standard output.
    pub output: Option<OutputDigest>,
}

impl Outcome {
    /// An invocation that could not even start.
    #[must_use]
    pub fn unstarted(job: &Job, requested: Nanos, reason: impl Into<String>) -> Self {
        Self {
            status: Status::Failed,
            reason: Some(reason.into()),
            exit_code: None,
            requested,
            ended: now(),
            usage: Usage::new(job.start == StartKind::Cold),
            provenances: Arc::default(),
            output: None,
        }
    }

    /// Adds a remark to what is said of it.
    #[must_use]
    pub fn remark(mut self, remark: &str) -> Self {
        self.reason = Some(match self.reason {
            Some(reason) => format!("{reason}; {remark}"),
            None => remark.to_owned(),
        });
        self
    }

    /// Turns success into failure if the output is not the expected one.
    #[must_use]
    pub fn checked(mut self, preset: &Preset) -> Self {
        if let (Status::Ok, Some(expected), Some(found)) =
            (self.status, preset.expected, self.output)
            && expected != found
        {
            self.status = Status::Failed;
            self.reason = Some(format!("wrong output: expected {expected}, but it wrote {found}"));
        }
        self
    }
}

/// What preparing a cell gave.
#[derive(Debug, Clone, Default)]
pub struct Prepared {
    /// How long it took; `None` if there was nothing to do.
    pub took: Option<Nanos>,
    /// Size of what must be shipped to run the function.
    pub footprint: Option<Bytes>,
    /// What `footprint` is the size of.
    pub footprint_of: &'static str,
    /// What that consists of and what runs it, each apart; may be empty.
    pub parts: Vec<FootprintPart>,
    /// Operators counted in a separate run, for lanes that can count.
    pub wasm_ops: Option<u64>,
    /// How long each compilation took that was made only to be measured.
    pub compiles: Vec<Nanos>,
    /// Remarks for the person who started the recording.
    pub notes: Vec<String>,
}

/// Whom a part of a footprint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
    /// Shipped with each function.
    Function,
    /// There once for all.
    Runtime,
}

impl PartKind {
    /// The word stored and shown.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Runtime => "runtime",
        }
    }
}

/// A part of what must be there to run a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FootprintPart {
    /// What it is, such as a layer or a program with its path.
    pub name: String,
    /// Whether it is there once for all functions.
    pub kind: PartKind,
    /// Its size.
    pub bytes: Bytes,
}

/// Reads live values of a running invocation, called by the sampler's thread.
pub trait Probe: Send {
    /// Values at this moment; what cannot be read is left out.
    fn read(&mut self) -> Vec<(Meter, u64)>;
}

/// Takes probes of running invocations: the recorder's sampler.
pub trait Watch {
    /// Starts to sample.
    fn begin(&mut self, probe: Box<dyn Probe>);
    /// Stops to sample. Harmless if nothing was begun.
    fn end(&mut self);
}

/// Does not watch.
#[derive(Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn begin(&mut self, _: Box<dyn Probe>) {}
    fn end(&mut self) {}
}

/// A request to stop, shared by all who wait for something. Those who wait
/// look at it at least every [`Self::POLL_MS`].
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Longest time until a request is noticed.
    pub const POLL_MS: u16 = 50;

    /// A token that reads a flag set elsewhere, such as by a signal handler.
    #[must_use]
    pub const fn watching(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }

    /// The token that the signals set which end this process, once a command
    /// takes them: for waits before there is anything to stop.
    #[must_use]
    pub fn of_process() -> Self {
        static PROCESS: LazyLock<Cancel> = LazyLock::new(Cancel::default);
        PROCESS.clone()
    }

    /// The flag, for whoever sets it from outside.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Asks to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Why a lane could not do what it was asked.
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

/// What a lane is, for people and for the recording.
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

/// Now, on the monotonic clock that all processes of this machine share.
#[must_use]
pub fn now() -> Nanos {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    // The clock cannot fail, nor be negative, on Linux.
    time.map_or(Nanos(0), |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
        Nanos(seconds * 1_000_000_000 + nanos)
    })
}
