//! What is to be recorded: workloads x lanes x start kinds x runs.

use std::sync::Arc;

use thiserror::Error;

use super::recorder::OpenLane;
use crate::lane::{Job, StartKind};
use crate::units::{Bytes, Nanos};
use crate::workload::{CatalogError, Limits, Preset, Workload};

/// Which starts to record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Starts {
    /// A new sandbox for every invocation.
    Cold,
    /// A fresh instance in a sandbox that already runs.
    Warm,
    /// Both, in the lanes that have both.
    Both,
}

impl Starts {
    fn includes(self, start: StartKind) -> bool {
        match self {
            Self::Cold => start == StartKind::Cold,
            Self::Warm => start == StartKind::Warm,
            Self::Both => true,
        }
    }
}

/// What a person asked for.
#[derive(Debug, Clone)]
pub struct PlanRequest {
    /// The workloads.
    pub workloads: Vec<Arc<Workload>>,
    /// The preset that all of them have.
    pub preset: String,
    /// Which starts.
    pub starts: Starts,
    /// Recorded runs of each cell.
    pub runs: u32,
    /// Runs before them that are not recorded.
    pub warmup: u32,
    /// Takes the place of the workload's own limit.
    pub memory: Option<Bytes>,
    /// Takes the place of the workload's own limit.
    pub timeout: Option<Nanos>,
    /// The only CPU that functions run on.
    pub cpu: Option<u16>,
}

/// A cell: what runs, and in which of the open lanes.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Index of the lane.
    pub lane: usize,
    /// What runs.
    pub job: Arc<Job>,
}

/// Cells in the order in which a round visits them.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The cells.
    pub cells: Vec<Cell>,
    /// Recorded runs of each.
    pub runs: u32,
    /// Runs of each before those.
    pub warmup: u32,
    /// Combinations that were left out, with the reason.
    pub left_out: Vec<String>,
}

/// Why there is nothing to record.
#[derive(Debug, Error)]
pub enum PlanError {
    /// A preset that a workload lacks.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Nothing of what was asked can run.
    #[error("nothing to record: {}", .0.join("; "))]
    Nothing(Vec<String>),
}

impl Plan {
    /// Lays out the cells of `request` over the lanes that are open.
    ///
    /// # Errors
    /// For a preset that a workload lacks, or when no cell is left.
    pub fn new(request: &PlanRequest, lanes: &[OpenLane]) -> Result<Self, PlanError> {
        let mut plan = Self {
            cells: Vec::new(),
            runs: request.runs,
            warmup: request.warmup,
            left_out: Vec::new(),
        };
        for workload in &request.workloads {
            let preset = Arc::new(workload.preset(&request.preset)?.clone());
            for (index, open) in lanes.iter().enumerate() {
                plan.add(request, workload, &preset, index, open);
            }
        }
        if plan.cells.is_empty() {
            return Err(PlanError::Nothing(plan.left_out));
        }
        Ok(plan)
    }

    fn add(
        &mut self,
        request: &PlanRequest,
        workload: &Arc<Workload>,
        preset: &Arc<Preset>,
        index: usize,
        open: &OpenLane,
    ) {
        if let Err(error) = open.lane.supports(workload) {
            self.left_out.push(format!("{}: {error}", open.name));
            return;
        }
        let starts = open.lane.starts().iter().filter(|start| request.starts.includes(**start));
        let before = self.cells.len();
        for start in starts {
            let job = Job {
                cell: self.cells.len(),
                workload: Arc::clone(workload),
                preset: Arc::clone(preset),
                start: *start,
                limits: Limits {
                    memory: request.memory.unwrap_or(preset.limits.memory),
                    timeout: request.timeout.unwrap_or(preset.limits.timeout),
                    output: preset.limits.output,
                },
                cpu: request.cpu,
            };
            self.cells.push(Cell { lane: index, job: Arc::new(job) });
        }
        if self.cells.len() == before {
            self.left_out.push(format!("{}: has no warm start", open.name));
        }
    }
}
