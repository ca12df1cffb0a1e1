//! Aggregator that builds snapshots from events.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::chart::{Chart, ChartedUntil};
use super::feed::FeedItem;
use super::quantile_window::Window;
use super::snapshot::{
    CellState, CellView, LaneView, LastInvocation, LiveSnapshot, LogEntry, Running, SessionPhase,
};
use cyclometer_core::meter::Meter;
use cyclometer_core::units::Nanos;
use cyclometer_lanes::{Job, Outcome, Prepared, Sample, Status, monotonic_now};
use cyclometer_replay::{CellKey, Contract, Replayer, UsageRow, WhatIf};
use cyclometer_workload::Event;

/// Number of remarks and failures that are kept.
const LOG_CAPACITY: usize = 200;
/// Number of invocations that are kept to be billed by other models.
const ROW_CAPACITY: usize = 4_096;

/// State gathered from the events so far.
#[derive(Default)]
pub struct SnapshotBuilder {
    snapshot: LiveSnapshot,
    /// By lane: how much of the running invocation is in its chart already.
    charted: Vec<ChartedUsage>,
    /// By cell: the values that its quantiles are computed from.
    windows: Vec<Windows>,
    /// Positions of cells by their number in the plan.
    places: HashMap<usize, usize>,
    lanes: HashMap<Arc<str>, usize>,
    /// By line of the log: the failure that it reports, if it reports one.
    failures: VecDeque<Option<FailureGroup>>,
    contracts: Arc<Vec<Contract>>,
    bills: Option<Replayer>,
    /// Whether there is something new to bill.
    billed: bool,
    /// Number of invocations that are billed, and the newest of them, kept for
    /// other models.
    billable: u64,
    rows: VecDeque<UsageRow>,
    keys: Vec<CellKey>,
    /// Events and samples that were left out: up to now, and before this recording.
    dropped: [u64; 2],
    dropped_before: [u64; 2],
}

/// Usage of the running invocation that is already in a chart.
#[derive(Debug, Clone, Copy, Default)]
struct ChartedUsage {
    since: Nanos,
    cpu: u64,
    count: u32,
}

/// Failures of a lane for one reason.
#[derive(Debug)]
struct FailureGroup {
    lane: usize,
    reason: Arc<str>,
    cells: Vec<usize>,
}

#[derive(Debug, Default)]
struct Windows {
    startup: Window,
    run: Window,
    changed: bool,
}

impl SnapshotBuilder {
    /// Applies one item.
    pub fn apply_item(&mut self, item: FeedItem) {
        match item {
            FeedItem::Begin(plan) => {
                let contracts = Arc::clone(&self.contracts);
                let lost = self.dropped;
                *self = Self { contracts, dropped: lost, dropped_before: lost, ..Self::default() };
                self.snapshot.plan = plan;
                self.snapshot.phase = SessionPhase::Opening;
                self.snapshot.began = Some(monotonic_now());
                self.reset_bills();
            }
            FeedItem::Plan(plan) => {
                for remark in &plan.remarks {
                    self.log_text(remark.clone());
                }
                self.snapshot.plan = plan;
            }
            FeedItem::Recording(number) => self.snapshot.recording = Some(number),
            FeedItem::Event(event) => self.apply_event(*event),
            FeedItem::Sample { lane, sample } => self.apply_sample(lane.as_ref(), sample),
            FeedItem::Storage(state) => self.snapshot.storage = state,
            FeedItem::Finishing => {
                if self.snapshot.phase.is_active() {
                    self.snapshot.phase = SessionPhase::Finishing;
                }
            }
            FeedItem::Failed(reason) => {
                self.log_text(reason.clone());
                self.snapshot.phase = SessionPhase::Failed { reason };
                self.mark_ended();
            }
            FeedItem::Note(text) => self.log_text(text),
            FeedItem::Models(contracts) => {
                self.contracts = contracts;
                self.reset_bills();
            }
        }
        self.snapshot.events += 1;
    }

    /// Sets the start of the recording to a fixed moment, for tests.
    pub fn set_began_at(&mut self, at: Nanos) {
        self.snapshot.began = Some(at);
    }

    /// Sets how many events and samples were left out since the program began.
    pub(crate) fn set_dropped(&mut self, events: u64, samples: u64) {
        self.dropped = [events, samples];
        self.snapshot.dropped = events - self.dropped_before[0];
        self.snapshot.samples_dropped = samples - self.dropped_before[1];
    }

    /// Builds a snapshot of the current state.
    pub fn build_snapshot(&mut self) -> LiveSnapshot {
        for (cell, windows) in self.snapshot.cells.iter_mut().zip(&mut self.windows) {
            if std::mem::take(&mut windows.changed) {
                cell.startup = windows.startup.quantiles();
                cell.run = windows.run.quantiles();
            }
        }
        if let Some(bills) = self.bills.as_mut().filter(|_| std::mem::take(&mut self.billed)) {
            self.snapshot.bills = Some(Arc::new(bills.totals_so_far()));
        }
        self.snapshot.clone()
    }

    fn reset_bills(&mut self) {
        let contracts = Arc::clone(&self.contracts);
        self.bills = (!contracts.is_empty()).then(|| Replayer::new(contracts, WhatIf::default()));
        self.snapshot.bills = None;
        let whole = self.rows.len() as u64 == self.billable;
        self.snapshot.bills_note =
            (!whole).then(|| "bills of the newest invocations only: screen 2 has all".to_owned());
        if let Some(bills) = &mut self.bills {
            self.rows.iter().for_each(|row| bills.push_row(row));
        }
        self.billed = true;
    }

    fn log_text(&mut self, text: impl Into<Arc<str>>) {
        self.push_log_entry(LogEntry { text: text.into(), count: 1, others: 0 }, None);
    }

    fn push_log_entry(&mut self, remark: LogEntry, failure: Option<FailureGroup>) {
        self.snapshot.log.push_back(remark);
        self.failures.push_back(failure);
        if self.snapshot.log.len() > LOG_CAPACITY {
            self.snapshot.log.pop_front();
            self.failures.pop_front();
        }
    }

    /// Logs once what fails in a lane for one reason, with the number of times.
    fn log_failure(&mut self, place: usize, reason: &Arc<str>) {
        let cell = &self.snapshot.cells[place];
        let lane = cell.lane;
        let same = |it: &Option<FailureGroup>| {
            it.as_ref().is_some_and(|it| it.lane == lane && it.reason == *reason)
        };
        let at = self.failures.iter().position(same);
        let known = at.and_then(|at| self.snapshot.log.remove(at).zip(self.failures.remove(at)?));
        if let Some((mut remark, mut failure)) = known {
            remark.count += 1;
            if !failure.cells.contains(&place) {
                failure.cells.push(place);
                remark.others += 1;
            }
            return self.push_log_entry(remark, Some(failure));
        }
        let name = &self.snapshot.lanes[lane].name;
        let text = format!("{} in {name}, {}: {reason}", cell.workload, cell.start);
        let failure = FailureGroup { lane, reason: Arc::clone(reason), cells: vec![place] };
        self.push_log_entry(LogEntry { text: text.into(), count: 1, others: 0 }, Some(failure));
    }

    fn mark_ended(&mut self) {
        self.snapshot.ended = Some(monotonic_now());
        for lane in &mut self.snapshot.lanes {
            lane.running = None;
        }
    }

    fn apply_event(&mut self, event: Event) {
        match event {
            Event::Lane { name, version, note, unavailable } => {
                self.add_lane(name, version, note, unavailable);
            }
            Event::Cell { lane, job } => self.add_cell(&lane, &job),
            Event::Preparing { cell } => self.begin_invocation(cell, None, 1),
            Event::Prepared { cell, result } => self.finish_preparing(cell, result),
            Event::Started { cell, sequence, count } => {
                self.begin_invocation(cell, Some(sequence), count);
            }
            Event::WarmedUp { cell, outcome } => self.finish_warm_up(cell, &outcome),
            Event::Finished { cell, sequence, outcome, .. } => {
                self.finish_invocation(cell, sequence, &outcome);
            }
            // Recordings made here end after a number of runs or when stopped,
            // so nothing is looked at.
            Event::PrecisionChecked { .. } => {}
            Event::Ended { status, sampler } => {
                self.snapshot.phase = SessionPhase::Ended { status };
                self.snapshot.sampler = sampler;
                self.mark_ended();
            }
        }
    }

    fn add_lane(
        &mut self,
        name: String,
        version: String,
        note: String,
        unavailable: Option<String>,
    ) {
        let name: Arc<str> = name.into();
        if let Some(reason) = &unavailable {
            self.log_text(format!("{name} cannot run here: {reason}"));
        }
        self.lanes.insert(Arc::clone(&name), self.snapshot.lanes.len());
        self.snapshot.lanes.push(LaneView {
            name,
            version: version.into(),
            note: note.into(),
            unavailable: unavailable.map(Into::into),
            running: None,
            failing: None,
            cpu: None,
            current: None,
        });
        self.charted.push(ChartedUsage::default());
    }

    fn add_cell(&mut self, lane: &str, job: &Job) {
        let Some(place) = self.lanes.get(lane).copied() else { return };
        self.snapshot.lanes[place].cpu = job.cpu;
        self.snapshot.phase = SessionPhase::Running;
        self.places.insert(job.cell, self.snapshot.cells.len());
        let name = |text: &str| -> Arc<str> { text.into() };
        let key = CellKey {
            lane: name(lane),
            workload: name(&job.workload.name),
            preset: name(&job.preset.name),
            start: job.start,
        };
        self.snapshot.cells.push(CellView {
            lane: place,
            workload: Arc::clone(&key.workload),
            preset: Arc::clone(&key.preset),
            start: job.start,
            allocated: job.limits.memory,
            state: CellState::Waiting,
            ok: 0,
            bad: 0,
            cut: 0,
            warmup: None,
            last: None,
            reason: None,
            startup: None,
            run: None,
            peak: None,
            chart: Arc::new(Chart::new(self.snapshot.began.unwrap_or_else(monotonic_now))),
            sources: Arc::default(),
            notes: Arc::default(),
        });
        self.keys.push(key);
        self.windows.push(Windows::default());
    }

    fn begin_invocation(&mut self, cell: usize, sequence: Option<u32>, count: u32) {
        let Some(place) = self.places.get(&cell).copied() else { return };
        let lane = self.snapshot.cells[place].lane;
        let since = monotonic_now();
        let known = ChartedUntil { cpu: since, cycles: since };
        self.charted[lane] = ChartedUsage { since, cpu: 0, count };
        self.snapshot.lanes[lane].current = Some(place);
        self.snapshot.lanes[lane].running =
            Some(Running { cell: place, sequence, since, memory: None, cpu: None, known });
    }

    fn finish_preparing(&mut self, cell: usize, result: Result<Prepared, String>) {
        let Some(place) = self.places.get(&cell).copied() else { return };
        let view = &mut self.snapshot.cells[place];
        let lane = &mut self.snapshot.lanes[view.lane];
        if let Some(running) = lane.running.take() {
            // Nothing is measured while a cell is being prepared.
            Arc::make_mut(&mut view.chart).add_usage(running.since, monotonic_now(), None, None);
        }
        match result {
            Ok(prepared) => {
                view.state =
                    CellState::Ready { took: prepared.took, footprint: prepared.footprint };
                view.notes = prepared.notes.into();
            }
            Err(reason) => {
                let reason: Arc<str> = reason.into();
                view.state = CellState::Failed(Arc::clone(&reason));
                self.log_failure(place, &reason);
            }
        }
    }

    fn apply_sample(&mut self, lane: Option<&Arc<str>>, sample: Sample) {
        let place = match lane {
            Some(name) => self.lanes.get(name).copied(),
            None => self.snapshot.lanes.iter().position(|lane| lane.running.is_some()),
        };
        let Some(place) = place else { return };
        let lane = &mut self.snapshot.lanes[place];
        let Some(running) = &mut lane.running else { return };
        match sample.meter {
            Meter::MemoryRss => running.memory = Some(sample.value),
            Meter::CpuTime => {
                running.cpu = Some(sample.value);
                let charted = &mut self.charted[place];
                // Among several invocations at once it is unknown which one the
                // sample belongs to.
                if charted.count == 1 && sample.value >= charted.cpu {
                    let cpu = sample.value - charted.cpu;
                    let chart = &mut self.snapshot.cells[running.cell].chart;
                    Arc::make_mut(chart).add_usage(charted.since, sample.at, Some(cpu), Some(0));
                    running.known.cpu = sample.at;
                    *charted = ChartedUsage { since: sample.at, cpu: sample.value, ..*charted };
                }
            }
            _ => {}
        }
    }

    fn finish_warm_up(&mut self, cell: usize, outcome: &Outcome) {
        let Some(place) = self.places.get(&cell).copied() else { return };
        self.chart_remaining_usage(place, outcome);
        let view = &mut self.snapshot.cells[place];
        if outcome.status == Status::Ok {
            view.warmup = Some(outcome.usage);
        }
        if view.last.is_none() {
            view.sources = Arc::clone(&outcome.provenances);
        }
    }

    fn finish_invocation(&mut self, cell: usize, sequence: u32, outcome: &Outcome) {
        let Some(place) = self.places.get(&cell).copied() else { return };
        self.snapshot.done += 1;
        self.chart_remaining_usage(place, outcome);
        self.bill_invocation(place, outcome);
        let view = &mut self.snapshot.cells[place];
        let lane = &mut self.snapshot.lanes[view.lane];
        let usage = outcome.usage;
        view.last = Some(LastInvocation { sequence, status: outcome.status, usage });
        if outcome.status == Status::Ok || view.ok == 0 {
            view.sources = Arc::clone(&outcome.provenances);
        }
        match outcome.status {
            Status::Ok => {
                view.ok += 1;
                lane.failing = None;
                let windows = &mut self.windows[place];
                windows.changed = true;
                if let Some(span) = usage.phases.startup_time() {
                    windows.startup.push(span.0);
                }
                if let Some(span) = usage.phases.run {
                    windows.run.push(span.0);
                }
                view.peak = view.peak.max(usage.get(Meter::MemoryPeak));
            }
            Status::Interrupted => view.cut += 1,
            Status::Failed | Status::Timeout => view.bad += 1,
        }
        if outcome.status != Status::Ok {
            let reason: Arc<str> =
                outcome.reason.as_deref().unwrap_or_else(|| outcome.status.label()).into();
            if outcome.status != Status::Interrupted {
                lane.failing = Some(Arc::clone(&reason));
            }
            view.reason = Some(Arc::clone(&reason));
            // A cell that cannot be prepared was logged then.
            if !matches!(view.state, CellState::Failed(_)) {
                self.log_failure(place, &reason);
            }
        }
    }

    /// Adds usage to the chart that the samples have not put there yet.
    fn chart_remaining_usage(&mut self, place: usize, outcome: &Outcome) {
        let lane_place = self.snapshot.cells[place].lane;
        let lane = &mut self.snapshot.lanes[lane_place];
        let single = self.charted[lane_place].count <= 1;
        let charted = if single {
            lane.running = None;
            std::mem::take(&mut self.charted[lane_place])
        } else {
            ChartedUsage::default()
        };
        let usage = &outcome.usage;
        if let Some(running) = &mut lane.running {
            // The next of the invocations that run one after the other begins here.
            running.known = ChartedUntil { cpu: outcome.ended, cycles: outcome.ended };
        }
        let cpu = usage.get(Meter::CpuTime).map(|cpu| cpu.saturating_sub(charted.cpu));
        let cycles = usage.get(Meter::Cycles).or_else(|| usage.get(Meter::RefCycles));
        let chart = Arc::make_mut(&mut self.snapshot.cells[place].chart);
        let from = if charted.cpu > 0 { charted.since } else { outcome.requested };
        chart.add_usage(from, outcome.ended, cpu, Some(0));
        chart.add_usage(outcome.requested, outcome.ended, Some(0), cycles);
    }

    /// Bills an invocation as providers do, and as a replay of the stored rows
    /// does.
    fn bill_invocation(&mut self, place: usize, outcome: &Outcome) {
        let billable =
            outcome.status != Status::Interrupted && outcome.usage.get(Meter::Wall).is_some();
        if !billable {
            return;
        }
        let began = self.snapshot.began.unwrap_or(outcome.requested);
        let row = UsageRow {
            invocation: 0,
            key: self.keys[place].clone(),
            offset: outcome.requested.saturating_since(began),
            failed: outcome.status != Status::Ok,
            usage: outcome.usage,
        };
        if let Some(bills) = &mut self.bills {
            bills.push_row(&row);
            self.billed = true;
        }
        self.billable += 1;
        self.rows.push_back(row);
        if self.rows.len() > ROW_CAPACITY {
            self.rows.pop_front();
        }
    }
}
