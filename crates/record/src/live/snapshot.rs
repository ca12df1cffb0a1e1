//! Snapshot of the recording at one moment: never changed once built.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::chart::{Chart, ChartedUntil};
use super::quantile_window::WindowQuantiles;
use cyclometer_core::meter::{Meter, Provenances, Usage};
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_lanes::{StartKind, Status};
use cyclometer_replay::{GroupTotal, ReplaySummary};
use cyclometer_workload::SamplerReport;

/// Progress of the session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SessionPhase {
    /// Nothing runs.
    #[default]
    Idle,
    /// The database and the lanes are being opened.
    Opening,
    /// Invocations run.
    Running,
    /// The recording ends after the invocation in flight.
    Finishing,
    /// The recording is over.
    Ended {
        /// Status that it ended with.
        status: Status,
    },
    /// The recording could not begin, or could not continue.
    Failed {
        /// Reason, and what to do about it.
        reason: String,
    },
}

impl SessionPhase {
    /// Returns whether a recording is under way.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        matches!(self, Self::Opening | Self::Running | Self::Finishing)
    }
}

/// Plan of the recording, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanView {
    /// Names of the workloads.
    pub workloads: Vec<String>,
    /// Number of runs of each cell; `None`: until stopped.
    pub runs: Option<u32>,
    /// Whether lanes run at the same time.
    pub race: bool,
    /// Rules that are loosened, and the share of a CPU; empty: none, and whole ones.
    pub conditions: String,
    /// Remarks on the plan, such as what was left out.
    pub remarks: Vec<String>,
}

/// Whether finished invocations reach the database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StorageState {
    /// They do.
    #[default]
    Fine,
    /// They wait for the database, and are tried again.
    Waiting {
        /// Reason, and what to do about it.
        reason: String,
        /// Time since when they wait.
        since: Nanos,
    },
}

/// Lane, as shown.
#[derive(Debug, Clone)]
pub struct LaneView {
    /// Name of the lane.
    pub name: Arc<str>,
    /// Runtime and version.
    pub version: Arc<str>,
    /// Further remark on the lane.
    pub note: Arc<str>,
    /// Reason why the lane cannot run.
    pub unavailable: Option<Arc<str>>,
    /// Invocation that the lane runs now.
    pub running: Option<Running>,
    /// Reason of the newest failure, until an invocation ends well.
    pub failing: Option<Arc<str>>,
    /// CPU that the lane is bound to.
    pub cpu: Option<u16>,
    /// Cell that runs, or ran last, by its position in [`LiveSnapshot::cells`].
    pub current: Option<usize>,
}

/// Line of the messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Text; for a failure, also where it happened first.
    pub text: Arc<str>,
    /// Number of times that it was reported.
    pub count: u64,
    /// Number of further cells that it applies to.
    pub others: u32,
}

impl fmt::Display for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.count, self.others) {
            (0 | 1, _) => f.write_str(&self.text),
            (count, 0) => write!(f, "{} ({count} x)", self.text),
            (count, 1) => write!(f, "{} ({count} x, also in another cell)", self.text),
            (count, others) => write!(f, "{} ({count} x, also in {others} other cells)", self.text),
        }
    }
}

/// Invocation that a lane runs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Cell, by its position in [`LiveSnapshot::cells`].
    pub cell: usize,
    /// Number of the invocation; 0: a warm-up; `None`: the cell is being prepared.
    pub sequence: Option<u32>,
    /// Time at which it started.
    pub since: Nanos,
    /// The newest sample of resident memory.
    pub memory: Option<u64>,
    /// The newest sample of CPU time.
    pub cpu: Option<u64>,
    /// Moment up to which the cell's chart holds what it used.
    pub known: ChartedUntil,
}

/// Progress of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CellState {
    /// The cell has not been prepared yet.
    Waiting,
    /// The cell can run.
    Ready {
        /// Time that preparing took, if there was anything to do.
        took: Option<Nanos>,
        /// Size of what is shipped.
        footprint: Option<Bytes>,
    },
    /// The cell cannot run, for this reason.
    Failed(Arc<str>),
}

/// Newest invocation of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastInvocation {
    /// Number in the cell.
    pub sequence: u32,
    /// Status that it ended with.
    pub status: Status,
    /// Everything that was measured.
    pub usage: Usage,
}

/// Cell: a workload in a lane, cold or warm.
#[derive(Debug, Clone)]
pub struct CellView {
    /// Lane, by its position in [`LiveSnapshot::lanes`].
    pub lane: usize,
    /// The workload.
    pub workload: Arc<str>,
    /// Preset of the workload.
    pub preset: Arc<str>,
    /// Cold or warm.
    pub start: StartKind,
    /// Memory given to the function.
    pub allocated: Bytes,
    /// Progress of the cell.
    pub state: CellState,
    /// Invocations that ended well.
    pub ok: u64,
    /// Invocations that failed or ran out of time.
    pub bad: u64,
    /// Invocations that were cut off.
    pub cut: u64,
    /// The newest warm-up: shown until something is recorded.
    pub warmup: Option<Usage>,
    /// Newest recorded invocation.
    pub last: Option<LastInvocation>,
    /// Reason of the newest invocation that did not end well.
    pub reason: Option<Arc<str>>,
    /// Quantiles of create and start together, in nanoseconds, of invocations
    /// that ended well.
    pub startup: Option<WindowQuantiles>,
    /// Quantiles of the run, in nanoseconds, of invocations that ended well.
    pub run: Option<WindowQuantiles>,
    /// The largest peak of memory.
    pub peak: Option<u64>,
    /// Use of the machine over time, warm-ups included.
    pub chart: Arc<Chart>,
    /// Sources of the meters.
    pub sources: Arc<Provenances>,
    /// Remarks made while preparing.
    pub notes: Arc<[String]>,
}

impl CellView {
    /// Returns a meter of the newest invocation.
    ///
    /// # Errors
    /// Returns the reason why the value is missing.
    pub fn newest_meter_value(&self, meter: Meter) -> Result<u64, String> {
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

/// Snapshot of the recording at one moment.
#[derive(Debug, Clone, Default)]
pub struct LiveSnapshot {
    /// Number of events taken.
    pub events: u64,
    /// Events that found the queue full: they are in the database, but not here.
    pub dropped: u64,
    /// Samples of running invocations that found the queue full.
    pub samples_dropped: u64,
    /// Progress of the session.
    pub phase: SessionPhase,
    /// Number of the recording in the database.
    pub recording: Option<i64>,
    /// Moment at which the first lane was opened.
    pub began: Option<Nanos>,
    /// Moment at which the recording ended.
    pub ended: Option<Nanos>,
    /// Plan of the recording.
    pub plan: PlanView,
    /// Number of invocations that ended.
    pub done: u64,
    /// The lanes.
    pub lanes: Vec<LaneView>,
    /// The cells, in the order of the plan.
    pub cells: Vec<CellView>,
    /// Bills so far, by cell, of the chosen price models.
    pub bills: Option<Arc<ReplaySummary>>,
    /// Reason why the bills do not cover all invocations.
    pub bills_note: Option<String>,
    /// Whether finished invocations reach the database.
    pub storage: StorageState,
    /// Cost of the sampler, once it is known.
    pub sampler: Option<SamplerReport>,
    /// Remarks and failures, the newest last.
    pub log: VecDeque<LogEntry>,
}

impl LiveSnapshot {
    /// Returns the number of planned invocations; `None`: until stopped.
    #[must_use]
    pub fn planned_invocations(&self) -> Option<u64> {
        self.plan.runs.map(|runs| u64::from(runs) * self.cells.len() as u64)
    }

    /// Returns the sums of a cell; `None` if nothing of it was billed.
    #[must_use]
    pub fn bill_group(&self, cell: &CellView) -> Option<&GroupTotal> {
        let lane = &self.lanes.get(cell.lane)?.name;
        let found = self.bills.as_ref()?.groups().find(|(key, _)| {
            key.lane == *lane
                && key.workload == cell.workload
                && key.preset == cell.preset
                && key.start == cell.start
        });
        found.map(|(_, group)| group)
    }

    /// Returns the cell of a lane, workload and start.
    #[must_use]
    pub fn find_cell(&self, lane: usize, workload: &str, start: StartKind) -> Option<&CellView> {
        self.cells
            .iter()
            .find(|cell| cell.lane == lane && &*cell.workload == workload && cell.start == start)
    }
}
