//! What is known of the recording at one moment: never changed once made.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::chart::{Chart, Known};
use super::window::Quantiles;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_lanes::{StartKind, Status};
use cyclometer_meter::{Meter, Provenances, Usage};
use cyclometer_record::SamplerReport;
use cyclometer_replay::{Group, Summary};

/// How far the session is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Phase {
    /// Nothing runs.
    #[default]
    Idle,
    /// The database and the lanes are being opened.
    Opening,
    /// Invocations run.
    Running,
    /// It ends after the invocation in flight.
    Finishing,
    /// It is over.
    Ended {
        /// How.
        status: Status,
    },
    /// It could not begin, or could not go on.
    Failed {
        /// Why, and what to do.
        reason: String,
    },
}

impl Phase {
    /// Whether something is under way.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        matches!(self, Self::Opening | Self::Running | Self::Finishing)
    }
}

/// What is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanView {
    /// Names of the workloads.
    pub workloads: Vec<String>,
    /// Runs of each cell; `None`: until stopped.
    pub runs: Option<u32>,
    /// Whether lanes run at the same time.
    pub race: bool,
    /// What was left out, and other remarks.
    pub remarks: Vec<String>,
}

/// Whether finished invocations reach the database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StorageState {
    /// Yes.
    #[default]
    Fine,
    /// They wait for it, and are tried again.
    Waiting {
        /// Why, and what to do.
        reason: String,
        /// Since when.
        since: Nanos,
    },
}

/// A lane.
#[derive(Debug, Clone)]
pub struct LaneView {
    /// Its name.
    pub name: Arc<str>,
    /// Runtime and version.
    pub version: Arc<str>,
    /// What else matters.
    pub note: Arc<str>,
    /// Why it cannot run.
    pub unavailable: Option<Arc<str>>,
    /// What it does now.
    pub running: Option<Running>,
    /// The reason of the newest failure in a row of them.
    pub failing: Option<Arc<str>>,
    /// The CPU it is bound to.
    pub cpu: Option<u16>,
    /// The cell that runs, or ran last, by its place in [`Snapshot::cells`].
    pub current: Option<usize>,
}

/// A line of the messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Text, of a failure also where it happened first.
    pub text: Arc<str>,
    /// How many times it was said.
    pub count: u64,
    /// Further cells that it holds for.
    pub others: u32,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.count, self.others) {
            (0 | 1, _) => f.write_str(&self.text),
            (count, 0) => write!(f, "{} ({count} x)", self.text),
            (count, 1) => write!(f, "{} ({count} x, also in another cell)", self.text),
            (count, others) => write!(f, "{} ({count} x, also in {others} other cells)", self.text),
        }
    }
}

/// What a lane does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// The cell, by its place in [`Snapshot::cells`].
    pub cell: usize,
    /// Which invocation; 0: a warm-up; `None`: it is being prepared.
    pub sequence: Option<u32>,
    /// Since when.
    pub since: Nanos,
    /// The newest sample of resident memory.
    pub memory: Option<u64>,
    /// The newest sample of CPU time.
    pub cpu: Option<u64>,
    /// Up to when the cell's chart holds what it used.
    pub known: Known,
}

/// How far a cell is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CellState {
    /// Its turn has not come.
    Waiting,
    /// It can run.
    Ready {
        /// How long preparing took, if there was anything to do.
        took: Option<Nanos>,
        /// Size of what is shipped.
        footprint: Option<Bytes>,
    },
    /// It cannot.
    Failed(Arc<str>),
}

/// The newest invocation of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    /// Its number in the cell.
    pub sequence: u32,
    /// How it ended.
    pub status: Status,
    /// All that was measured.
    pub usage: Usage,
}

/// A workload in a lane, cold or warm.
#[derive(Debug, Clone)]
pub struct CellView {
    /// The lane, by its place in [`Snapshot::lanes`].
    pub lane: usize,
    /// The workload.
    pub workload: Arc<str>,
    /// Its preset.
    pub preset: Arc<str>,
    /// Cold or warm.
    pub start: StartKind,
    /// Memory it is given.
    pub allocated: Bytes,
    /// How far it is.
    pub state: CellState,
    /// Invocations that ended well.
    pub ok: u64,
    /// Invocations that failed or ran out of time.
    pub bad: u64,
    /// Invocations that were cut off.
    pub cut: u64,
    /// The newest warm-up: shown until something is recorded.
    pub warmup: Option<Usage>,
    /// The newest.
    pub last: Option<Last>,
    /// Why the newest that did not end well did not.
    pub reason: Option<Arc<str>>,
    /// Create and start together, in nanoseconds, of those that ended well.
    pub startup: Option<Quantiles>,
    /// Run, the same.
    pub run: Option<Quantiles>,
    /// The largest peak of memory.
    pub peak: Option<u64>,
    /// Use of the machine over time, warm-ups included.
    pub chart: Arc<Chart>,
    /// Where its meters come from.
    pub sources: Arc<Provenances>,
    /// Remarks of preparing.
    pub notes: Arc<[String]>,
}

impl CellView {
    /// A meter of the newest invocation, or the reason why it is missing.
    ///
    /// # Errors
    /// The reason.
    pub fn meter(&self, meter: Meter) -> Result<u64, String> {
        let Some(last) = &self.last else {
            return Err("no invocation has ended yet".to_owned());
        };
        if let Some(value) = last.usage.get(meter) {
            return Ok(value);
        }
        Err(match self.sources.get(meter) {
            Some(known) if known.source.is_none() => known.note.clone(),
            Some(_) if last.status != Status::Ok => {
                "the newest invocation did not end well".to_owned()
            }
            Some(known) => format!("not measured this time; {}", known.note),
            None => "this lane does not measure it".to_owned(),
        })
    }
}

/// The recording at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Events that were taken.
    pub events: u64,
    /// Events that found the queue full: they are in the database, not here.
    pub dropped: u64,
    /// Samples of running invocations that found it full.
    pub samples_dropped: u64,
    /// How far it is.
    pub phase: Phase,
    /// Its number in the database.
    pub recording: Option<i64>,
    /// When the first lane was opened.
    pub began: Option<Nanos>,
    /// When it ended.
    pub ended: Option<Nanos>,
    /// What is recorded.
    pub plan: PlanView,
    /// Invocations that ended.
    pub done: u64,
    /// The lanes.
    pub lanes: Vec<LaneView>,
    /// The cells, in the order of the plan.
    pub cells: Vec<CellView>,
    /// Bills so far, by cell, of the models that were chosen.
    pub bills: Option<Arc<Summary>>,
    /// Why bills are not of all invocations.
    pub bills_note: Option<String>,
    /// Whether it reaches the database.
    pub storage: StorageState,
    /// What the sampler cost, once that is known.
    pub sampler: Option<SamplerReport>,
    /// Remarks and failures, the newest last.
    pub log: VecDeque<Remark>,
}

impl Snapshot {
    /// Invocations that are planned; `None`: until stopped.
    #[must_use]
    pub fn planned(&self) -> Option<u64> {
        self.plan.runs.map(|runs| u64::from(runs) * self.cells.len() as u64)
    }

    /// The sums of a cell; `None`: nothing of it was billed.
    #[must_use]
    pub fn bill(&self, cell: &CellView) -> Option<&Group> {
        let lane = &self.lanes.get(cell.lane)?.name;
        let found = self.bills.as_ref()?.groups().find(|(key, _)| {
            key.lane == *lane
                && key.workload == cell.workload
                && key.preset == cell.preset
                && &*key.start == cell.start.label()
        });
        found.map(|(_, group)| group)
    }

    /// The cell of a lane, workload and start.
    #[must_use]
    pub fn cell(&self, lane: usize, workload: &str, start: StartKind) -> Option<&CellView> {
        self.cells
            .iter()
            .find(|cell| cell.lane == lane && &*cell.workload == workload && cell.start == start)
    }
}
