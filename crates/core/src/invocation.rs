//! Words that all share who run functions or tell of it: kinds of starts, how
//! invocations end, samples, and requests to stop.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use crate::meter::Meter;
use crate::units::Nanos;

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
    /// Meter that was read.
    pub meter: Meter,
    /// Value since the invocation began, or the level now.
    pub value: u64,
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
