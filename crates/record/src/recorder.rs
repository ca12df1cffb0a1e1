//! The recorder runs a plan. Runs are interleaved in rounds, each in a random
//! order of its own, A B C, C A B, so that drift of the machine hits all lanes
//! alike and none always runs after the same other; or lanes race, each on a
//! CPU of its own.
//!
//! All measurements are kept: only the `warmup` runs, which come first, are not
//! recorded. Outliers, and runs in which a lane was still warming up, are
//! reported and never removed.

use std::sync::Arc;

use super::plan::{Cell, Plan};
use super::race;
use super::sampler::{Sampler, Sampling};
use super::scheduler::{CellRun, Scheduler};
use cyclometer_lanes::descriptors;
use cyclometer_lanes::{Cancel, Lane, LaneError, LaneSpec, Outcome, Prepared, Status};
use cyclometer_stats::Random;
use cyclometer_system::procfs::ProcessIdentity;
use cyclometer_workload::Control;
use cyclometer_workload::SamplerReport;
use cyclometer_workload::{Event, Sink, SinkError};

/// Lane that runs on this host, with its name.
pub struct OpenLane {
    /// Name of the lane.
    pub name: String,
    /// The lane itself.
    pub lane: Box<dyn Lane>,
}

/// Opens lanes and sends an event for each to `sink`; those that cannot run are
/// left out, and so are all that come after a request to end this process.
///
/// # Errors
/// Fails when the sink accepts no more, or the lanes need more open files than
/// there may be.
pub fn open_lanes(
    specs: &[LaneSpec],
    owner: &ProcessIdentity,
    sink: &mut dyn Sink,
) -> Result<Vec<OpenLane>, SinkError> {
    descriptors::check_available(descriptors::needed_for_lanes(specs.len())).map_err(SinkError)?;
    let mut open = Vec::new();
    for spec in specs {
        if Cancel::for_process().is_cancelled() {
            break;
        }
        let name = spec.to_string();
        match cyclometer_lanes::open_lane(spec, owner) {
            Ok(lane) => {
                let about = lane.describe();
                sink.send_event(Event::Lane {
                    name: name.clone(),
                    version: about.version,
                    note: about.note,
                    unavailable: None,
                })?;
                open.push(OpenLane { name, lane });
            }
            Err(error) => sink.send_event(Event::Lane {
                name,
                version: String::new(),
                note: String::new(),
                unavailable: Some(error.to_string()),
            })?,
        }
    }
    Ok(open)
}

/// Number of invocations by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InvocationTally {
    /// Invocations that ended well.
    pub ok: u64,
    /// Invocations that failed or timed out.
    pub failed: u64,
    /// Cells that could not be prepared.
    pub unprepared: u64,
    /// Cells whose median is not known as well as was requested.
    pub imprecise: u64,
    /// Whether the recording was stopped.
    pub interrupted: bool,
}

/// Runs a plan and sends its events to a sink.
pub struct Recorder<'a> {
    lanes: &'a mut [OpenLane],
    plan: &'a Plan,
    control: Control,
    /// Samplers: one, or in a race one for each lane that has cells.
    samplers: Vec<Sampler>,
    /// Sampler of each lane, by the index of the lane.
    sampler_of: Vec<Option<Sampler>>,
    tally: InvocationTally,
}

impl<'a> Recorder<'a> {
    /// Creates a recorder of `plan` in `lanes`; without `sampling` nothing is
    /// sampled.
    ///
    /// # Errors
    /// Fails when no sampler can be started.
    pub fn new(
        lanes: &'a mut [OpenLane],
        plan: &'a Plan,
        sampling: Option<Sampling<'_>>,
        control: impl Into<Control>,
    ) -> std::io::Result<Self> {
        let apart = plan.race.then(|| plan.used_lanes());
        let (sampler_of, samplers) = match sampling {
            Some(mut sampling) => sampling.start_samplers(lanes.len(), apart.as_deref())?,
            None => (vec![None; lanes.len()], Vec::new()),
        };
        Ok(Self {
            lanes,
            plan,
            control: control.into(),
            sampler_of,
            samplers,
            tally: InvocationTally::default(),
        })
    }

    /// Runs the plan to its end, or until it is stopped. Lanes are closed and
    /// the end is reported in any case.
    ///
    /// # Errors
    /// Fails when the sink accepts no more: the recording stops there.
    pub fn run(mut self, sink: &mut dyn Sink) -> Result<InvocationTally, SinkError> {
        let result = self.run_cells(sink);
        for open in self.lanes.iter_mut() {
            open.lane.close();
        }
        let sampler = SamplerReport::merge_all(self.samplers.drain(..).map(Sampler::finish));
        self.tally.interrupted = self.control.is_stopped();
        result?;
        let status = match self.tally {
            InvocationTally { interrupted: true, .. } => Status::Interrupted,
            InvocationTally { ok: 0, .. } => Status::Failed,
            _ => Status::Ok,
        };
        sink.send_event(Event::Ended { status, sampler })?;
        sink.flush_events()?;
        Ok(self.tally)
    }

    fn run_cells(&mut self, sink: &mut dyn Sink) -> Result<(), SinkError> {
        let plan = self.plan;
        for cell in &plan.cells {
            let lane = self.lanes[cell.lane].name.clone();
            sink.send_event(Event::Cell { lane, job: Arc::clone(&cell.job) })?;
        }
        let mut ready = Vec::new();
        for cell in &plan.cells {
            ready.extend(self.prepare_cell(cell, sink)?);
            if self.control.is_over() {
                return Ok(());
            }
        }
        if plan.race { self.run_race(ready, sink) } else { self.run_interleaved(ready, sink) }
    }

    fn run_interleaved(
        &mut self,
        ready: Vec<CellRun<'_>>,
        sink: &mut dyn Sink,
    ) -> Result<(), SinkError> {
        let mut track = Scheduler {
            lanes: self.lanes,
            first_lane: 0,
            cell_runs: ready,
            plan: self.plan,
            control: &self.control,
            samplers: &self.sampler_of,
            tally: self.tally,
            random: Random::from_seed(self.plan.seed),
        };
        let result = track.run_all_rounds(sink);
        self.tally = track.tally;
        result
    }

    fn run_race(&mut self, ready: Vec<CellRun<'_>>, sink: &mut dyn Sink) -> Result<(), SinkError> {
        let mut turns: Vec<Vec<CellRun<'_>>> = Vec::new();
        turns.resize_with(self.lanes.len(), Vec::new);
        for turn in ready {
            turns[turn.cell.lane].push(turn);
        }
        let each = self.lanes.iter_mut().zip(turns).enumerate();
        let tracks = each.filter(|(_, (_, turns))| !turns.is_empty());
        let tracks = tracks.map(|(at, (open, turns))| Scheduler {
            lanes: std::slice::from_mut(open),
            first_lane: at,
            cell_runs: turns,
            plan: self.plan,
            control: &self.control,
            samplers: &self.sampler_of[at..=at],
            tally: InvocationTally::default(),
            random: Random::from_seed(self.plan.seed ^ at as u64),
        });
        let (tally, result) = race::run_lanes(tracks.collect(), &self.control, sink);
        self.tally.add_counts(tally);
        result
    }

    /// Times as many compilations as the plan says, for the first cell that a
    /// lane and a workload have: the code of the others is the same.
    fn time_compiles(&mut self, cell: &Cell, prepared: &mut Prepared) -> Result<(), LaneError> {
        let same = |other: &Cell| {
            other.lane == cell.lane && Arc::ptr_eq(&other.job.workload, &cell.job.workload)
        };
        let first = self.plan.cells.iter().find(|other| same(other));
        if first.is_none_or(|first| first.job.cell != cell.job.cell) {
            return Ok(());
        }
        let lane = &mut self.lanes[cell.lane].lane;
        for _ in 0..self.plan.compiles {
            match lane.time_compile(&cell.job, self.control.cancel_token()) {
                Some(took) => prepared.compiles.push(took?),
                None => break,
            }
        }
        Ok(())
    }

    /// Prepares a cell; returns `None` if it cannot run.
    fn prepare_cell<'b>(
        &mut self,
        cell: &'b Cell,
        sink: &mut dyn Sink,
    ) -> Result<Option<CellRun<'b>>, SinkError> {
        let job = &cell.job;
        sink.send_event(Event::Preparing { cell: job.cell })?;
        let mut result = self.lanes[cell.lane].lane.prepare(job, self.control.cancel_token());
        if let Ok(prepared) = &mut result
            && let Err(error) = self.time_compiles(cell, prepared)
        {
            result = Err(error);
        }
        if let Err(LaneError::Cancelled) = result {
            return Ok(None);
        }
        let result = result.map_err(|error| error.to_string());
        let ops = result.as_ref().map_or(None, |prepared| prepared.wasm_ops);
        let failure = result.as_ref().err().cloned();
        sink.send_event(Event::Prepared { cell: job.cell, result })?;
        let Some(reason) = failure else {
            return Ok(Some(CellRun::for_cell(cell, ops, self.plan)));
        };
        // A failed invocation is recorded, so that the cell does not vanish
        // from queries and bills.
        self.tally.unprepared += 1;
        let outcome =
            Box::new(Outcome::failed_to_start(job, cyclometer_lanes::monotonic_now(), reason));
        sink.send_event(Event::Finished {
            cell: job.cell,
            sequence: 1,
            outcome,
            samples: Vec::new(),
        })?;
        // The next cell may take long to prepare.
        sink.flush_events()?;
        Ok(None)
    }
}

impl InvocationTally {
    /// Returns whether no invocation ended by itself: such a recording is not
    /// kept.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ok + self.failed + self.unprepared == 0
    }

    /// Adds the counts of another thread.
    pub(super) const fn add_counts(&mut self, other: Self) {
        self.ok += other.ok;
        self.failed += other.failed;
        self.unprepared += other.unprepared;
        self.imprecise += other.imprecise;
        self.interrupted |= other.interrupted;
    }

    pub(super) const fn count_status(&mut self, status: Status) {
        match status {
            Status::Ok => self.ok += 1,
            Status::Failed | Status::Timeout => self.failed += 1,
            Status::Interrupted => {}
        }
    }
}
