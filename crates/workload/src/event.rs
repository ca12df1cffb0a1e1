//! The one stream of events that feeds the store and whoever watches.

use std::sync::Arc;

use thiserror::Error;

use crate::{Job, Outcome, Prepared, Sample, Status};
use cyclometer_core::units::Nanos;
use cyclometer_core::visible_text::summarize;

/// Rounds after which even wide cells end, unless more or fewer are asked for.
pub const MOST_RUNS: u32 = 1_000;

/// Longest reason or note, in characters.
const MAX_REASON_CHARS: usize = 4_096;

/// Costs and losses of the sampler.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SamplerReport {
    /// Time between two readings.
    pub interval: Nanos,
    /// How often it read.
    pub ticks: u64,
    /// CPU time of its own thread.
    pub cpu: Nanos,
    /// Values that were dropped.
    pub dropped: u64,
}

impl SamplerReport {
    /// The report of several samplers with the same interval.
    #[must_use]
    pub fn sum(reports: impl IntoIterator<Item = Self>) -> Option<Self> {
        reports.into_iter().reduce(|sum, one| Self {
            interval: sum.interval,
            ticks: sum.ticks + one.ticks,
            cpu: Nanos(sum.cpu.0 + one.cpu.0),
            dropped: sum.dropped + one.dropped,
        })
    }
}

/// How well a cell's median is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Width {
    /// Runs that ended well.
    pub runs: usize,
    /// How far the interval reaches from the median, as a share of it.
    pub reach: f64,
    /// Whether that is enough, for the second time in a row.
    pub enough: bool,
}

/// Something that happened while recording.
#[derive(Debug, Clone)]
pub enum Event {
    /// A lane was opened, or cannot be.
    Lane {
        /// Its name.
        name: String,
        /// Runtime and version.
        version: String,
        /// What else matters.
        note: String,
        /// Why it cannot run.
        unavailable: Option<String>,
    },
    /// A cell of the plan; its number is [`Job::cell`].
    Cell {
        /// The lane's name.
        lane: String,
        /// What is to be run.
        job: Arc<Job>,
    },
    /// A cell is about to be prepared. Never stored.
    Preparing {
        /// The cell.
        cell: usize,
    },
    /// A cell was prepared, or cannot be.
    Prepared {
        /// The cell.
        cell: usize,
        /// What came of it; the error is for people.
        result: Result<Prepared, String>,
    },
    /// Invocations are about to be asked for. Never stored.
    Started {
        /// The cell.
        cell: usize,
        /// The sequence of the first; 0 in warm-ups.
        sequence: u32,
        /// How many are asked for at once.
        count: u32,
    },
    /// A warm-up ended. Never stored.
    WarmedUp {
        /// The cell.
        cell: usize,
        /// What came of it.
        outcome: Box<Outcome>,
    },
    /// An invocation ended.
    Finished {
        /// The cell.
        cell: usize,
        /// From 1 within the cell.
        sequence: u32,
        /// What came of it.
        outcome: Box<Outcome>,
        /// Its time series.
        samples: Vec<Sample>,
    },
    /// A cell was looked at that is recorded until its median is known. Never
    /// stored: it follows from the runs.
    Looked {
        /// The cell.
        cell: usize,
        /// What was seen.
        width: Width,
    },
    /// The recording ended.
    Ended {
        /// `Ok`, or `Interrupted`, or `Failed` when nothing could run.
        status: Status,
        /// What sampling itself cost.
        sampler: Option<SamplerReport>,
    },
}

impl Event {
    /// Whether it only tells what is about to happen: such events are for who
    /// watches and are never stored.
    #[must_use]
    pub const fn is_fleeting(&self) -> bool {
        matches!(self, Self::Preparing { .. } | Self::Started { .. })
    }

    /// Puts every reason and note on one visible line of bounded length: they
    /// may quote functions, runtimes and engines.
    #[must_use]
    pub fn with_summarized_texts(mut self) -> Self {
        let summarized = |text: &mut String| *text = summarize(text, MAX_REASON_CHARS);
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

    /// Whether it tells what is recorded, rather than what came of it.
    #[must_use]
    pub const fn is_of_plan(&self) -> bool {
        matches!(self, Self::Lane { .. } | Self::Cell { .. } | Self::Prepared { .. })
    }
}

/// Why an event could not be taken.
#[derive(Debug, Clone, Error)]
#[error("{0}")]
pub struct SinkError(pub String);

/// Takes events.
pub trait Sink {
    /// Takes one.
    ///
    /// # Errors
    /// When no more can be taken: the recording stops.
    fn send(&mut self, event: Event) -> Result<(), SinkError>;

    /// Waits until all events so far are safe.
    ///
    /// # Errors
    /// As [`Self::send`].
    fn settle(&mut self) -> Result<(), SinkError>;
}

/// Keeps events, for tests and for lanes without a store.
impl Sink for Vec<Event> {
    fn send(&mut self, event: Event) -> Result<(), SinkError> {
        self.push(event.with_summarized_texts());
        Ok(())
    }

    fn settle(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}
