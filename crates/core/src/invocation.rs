//! Vocabulary shared by everything that runs invocations or reports on them: start kinds,
//! end states, samples, and cancellation tokens.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use crate::meter::Meter;
use crate::units::Nanos;

/// Kind of start: whether the sandbox is made for the invocation or was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StartKind {
    /// A new process, worker or container.
    Cold,
    /// A fresh instance in a worker that already runs.
    Warm,
}

/// Error for a word that names no kind of start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownStart(String);

impl fmt::Display for UnknownStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is neither `cold` nor `warm`", self.0)
    }
}

impl std::error::Error for UnknownStart {}

impl StartKind {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Cold, Self::Warm];

    /// Returns the word that is stored and shown.
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

impl FromStr for StartKind {
    type Err = UnknownStart;

    /// Parses the word that is stored and shown.
    fn from_str(text: &str) -> Result<Self, UnknownStart> {
        let found = Self::ALL.into_iter().find(|start| start.label() == text);
        found.ok_or_else(|| UnknownStart(text.to_owned()))
    }
}

impl serde::Serialize for StartKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.label())
    }
}

/// End state of an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Exit status 0 and the expected output.
    Ok,
    /// Any other result that came from the function or its lane.
    Failed,
    /// Stopped at its time limit.
    Timeout,
    /// Stopped because the recording was stopped.
    Interrupted,
}

impl Status {
    /// Returns the word that is stored and shown.
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
    /// Returns the values at this moment; meters that cannot be read are left out.
    fn read_values(&mut self) -> Vec<(Meter, u64)>;
}

/// Samples the probes of running invocations; implemented by the recorder's sampler.
pub trait ProbeSampler {
    /// Starts sampling `probe`.
    fn start_sampling(&mut self, probe: Box<dyn Probe>);
    /// Stops sampling. Does nothing if sampling was not started.
    fn stop_sampling(&mut self);
}

/// Takes no samples.
#[derive(Debug, Default)]
pub struct NoSampling;

impl ProbeSampler for NoSampling {
    fn start_sampling(&mut self, _: Box<dyn Probe>) {}
    fn stop_sampling(&mut self) {}
}

/// Cancellation token, shared by everything that waits. Waiting code polls it at least
/// every [`Self::POLL_MS`].
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Longest time in milliseconds until a request is noticed.
    pub const POLL_MS: u16 = 50;

    /// Creates a token that reads a flag set elsewhere, such as by a signal handler.
    #[must_use]
    pub const fn from_flag(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }

    /// Returns the token that is set by the signals that end this process, once a command
    /// handles them. It serves waits before there is anything to stop.
    #[must_use]
    pub fn for_process() -> Self {
        static PROCESS: LazyLock<Cancel> = LazyLock::new(Cancel::default);
        PROCESS.clone()
    }

    /// Returns the flag, so that it can be set from outside.
    #[must_use]
    pub fn shared_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Requests the stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Returns whether a stop was requested.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Returns the current time of the monotonic clock, which all processes of this machine
/// share.
#[must_use]
pub fn monotonic_now() -> Nanos {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    // The clock cannot fail, nor be negative, on Linux.
    time.map_or(Nanos(0), |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
        Nanos(seconds * 1_000_000_000 + nanos)
    })
}
