//! Events of a recording, and the sinks that take them: the store and live views.

use std::sync::Arc;

use thiserror::Error;

use crate::{Job, Outcome, Prepared, Sample, Status};
use cyclometer_core::units::Nanos;
use cyclometer_core::visible_text::summarize_text;

/// Default limit of rounds, after which cells end even if their median is not known
/// precisely.
pub const MAX_RUNS: u32 = 1_000;

/// Longest reason or note, in characters.
const MAX_REASON_CHARS: usize = 4_096;

/// Cost and losses of a sampler.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SamplerReport {
    /// Time between two readings.
    pub interval: Nanos,
    /// Number of readings.
    pub ticks: u64,
    /// CPU time of the sampler's thread.
    pub cpu: Nanos,
    /// Number of values that were dropped.
    pub dropped: u64,
}

impl SamplerReport {
    /// Merges the reports of several samplers with the same interval; `None` if there are
    /// none.
    #[must_use]
    pub fn merge_all(reports: impl IntoIterator<Item = Self>) -> Option<Self> {
        reports.into_iter().reduce(|sum, one| Self {
            interval: sum.interval,
            ticks: sum.ticks + one.ticks,
            cpu: Nanos(sum.cpu.0 + one.cpu.0),
            dropped: sum.dropped + one.dropped,
        })
    }
}

/// Precision to which the median of a cell is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MedianPrecision {
    /// Number of successful runs.
    pub runs: usize,
    /// Distance from the median to the end of its confidence interval, as a share of the
    /// median.
    pub reach: f64,
    /// Whether the precision is sufficient, for the second time in a row.
    pub enough: bool,
}

/// Event of a recording.
#[derive(Debug, Clone)]
pub enum Event {
    /// A lane was opened, or cannot be opened.
    Lane {
        /// Name of the lane.
        name: String,
        /// Runtime and version.
        version: String,
        /// Remarks on the lane.
        note: String,
        /// Reason why the lane cannot run; `None` if it can.
        unavailable: Option<String>,
    },
    /// A cell of the plan; its number is [`Job::cell`].
    Cell {
        /// Name of the lane.
        lane: String,
        /// Job that is to be run.
        job: Arc<Job>,
    },
    /// A cell is about to be prepared. Not stored.
    Preparing {
        /// Number of the cell.
        cell: usize,
    },
    /// A cell was prepared, or cannot be prepared.
    Prepared {
        /// Number of the cell.
        cell: usize,
        /// Result of the preparation; the error is a message for users.
        result: Result<Prepared, String>,
    },
    /// Invocations are about to be requested. Not stored.
    Started {
        /// Number of the cell.
        cell: usize,
        /// Sequence number of the first; 0 in warm-ups.
        sequence: u32,
        /// Number of invocations that are requested at once.
        count: u32,
    },
    /// A warm-up ended. Not stored.
    WarmedUp {
        /// Number of the cell.
        cell: usize,
        /// Outcome of the invocation.
        outcome: Box<Outcome>,
    },
    /// An invocation ended.
    Finished {
        /// Number of the cell.
        cell: usize,
        /// Sequence number, from 1 within the cell.
        sequence: u32,
        /// Outcome of the invocation.
        outcome: Box<Outcome>,
        /// Samples taken during the invocation.
        samples: Vec<Sample>,
    },
    /// The precision of a cell that is recorded until its median is known was checked. Not
    /// stored, since it follows from the runs.
    PrecisionChecked {
        /// Number of the cell.
        cell: usize,
        /// Precision that was reached.
        width: MedianPrecision,
    },
    /// The recording ended.
    Ended {
        /// `Ok`, or `Interrupted`, or `Failed` when nothing could run.
        status: Status,
        /// Cost of the sampling itself.
        sampler: Option<SamplerReport>,
    },
}

impl Event {
    /// Returns whether the event only announces what is about to happen: such events are
    /// for live views and are not stored.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Preparing { .. } | Self::Started { .. })
    }

    /// Shortens every reason and note to one visible line of bounded length, since they may
    /// quote functions, runtimes and engines.
    #[must_use]
    pub fn with_summarized_texts(mut self) -> Self {
        let summarized = |text: &mut String| *text = summarize_text(text, MAX_REASON_CHARS);
        match &mut self {
            Self::Lane { version, note, unavailable, .. } => {
                [version, note].into_iter().chain(unavailable).for_each(summarized);
            }
            Self::Prepared { result: Ok(prepared), .. } => {
                prepared.notes.iter_mut().for_each(summarized);
            }
            Self::Prepared { result: Err(reason), .. } => summarized(reason),
            Self::WarmedUp { outcome, .. } | Self::Finished { outcome, .. } => {
                outcome.reason.iter_mut().for_each(summarized);
            }
            _ => {}
        }
        self
    }

    /// Returns whether the event describes what is recorded, rather than a result.
    #[must_use]
    pub const fn describes_plan(&self) -> bool {
        matches!(self, Self::Lane { .. } | Self::Cell { .. } | Self::Prepared { .. })
    }
}

/// Error of a sink that cannot take an event.
#[derive(Debug, Clone, Error)]
#[error("{0}")]
pub struct SinkError(pub String);

/// Receiver of events.
pub trait Sink {
    /// Takes one event.
    ///
    /// # Errors
    /// Returns an error when no more can be taken: the recording stops.
    fn send_event(&mut self, event: Event) -> Result<(), SinkError>;

    /// Waits until all events so far are stored safely.
    ///
    /// # Errors
    /// Fails like [`Self::send_event`].
    fn flush_events(&mut self) -> Result<(), SinkError>;
}

/// Collects events in memory, for tests and for lanes without a store.
impl Sink for Vec<Event> {
    fn send_event(&mut self, event: Event) -> Result<(), SinkError> {
        self.push(event.with_summarized_texts());
        Ok(())
    }

    fn flush_events(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}
