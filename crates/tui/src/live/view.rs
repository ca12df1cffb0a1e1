//! Aggregator that builds snapshots from events.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::chart::{Chart, Known};
use super::feed::Item;
use super::snapshot::{CellState, CellView, LaneView, Last, Phase, Remark, Running, Snapshot};
use super::window::Window;
use cyclometer_core::units::Nanos;
use cyclometer_lanes::{Job, Outcome, Prepared, Sample, Status, now};
use cyclometer_meter::Meter;
use cyclometer_record::Event;
use cyclometer_replay::{Contract, Key, Replayer, Row, WhatIf};

/// Number of remarks and failures that are kept.
const LOG: usize = 200;
/// Number of invocations that are kept to be billed by other models.
const ROWS: usize = 4_096;

/// State gathered from the events so far.
#[derive(Default)]
pub struct View {
    shown: Snapshot,
    /// By lane: how much of the running invocation is in its chart already.
    charted: Vec<Charted>,
    /// By cell: the values that its quantiles are computed from.
    windows: Vec<Windows>,
    /// Positions of cells by their number in the plan.
    places: HashMap<usize, usize>,
    lanes: HashMap<Arc<str>, usize>,
    /// By line of the log: the failure that it reports, if it reports one.
    failures: VecDeque<Option<Failure>>,
    contracts: Arc<Vec<Contract>>,
    bills: Option<Replayer>,
    /// Whether there is something new to bill.
    billed: bool,
    /// Number of invocations that are billed, and the newest of them, kept for
    /// other models.
    billable: u64,
    rows: VecDeque<Row>,
    keys: Vec<Key>,
    /// Events and samples that were left out: up to now, and before this recording.
    lost: [u64; 2],
    lost_before: [u64; 2],
}

/// Usage of the running invocation that is already in a chart.
#[derive(Debug, Clone, Copy, Default)]
struct Charted {
    since: Nanos,
    cpu: u64,
    count: u32,
}

/// Failures of a lane for one reason.
#[derive(Debug)]
struct Failure {
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

impl View {
    /// Applies one item.
    pub fn take(&mut self, item: Item) {
        match item {
            Item::Begin(plan) => {
                let contracts = Arc::clone(&self.contracts);
                let lost = self.lost;
                *self = Self { contracts, lost, lost_before: lost, ..Self::default() };
                self.shown.plan = plan;
                self.shown.phase = Phase::Opening;
                self.shown.began = Some(now());
                self.reset_bills();
            }
            Item::Plan(plan) => {
                for remark in &plan.remarks {
                    self.log(remark.clone());
                }
                self.shown.plan = plan;
            }
            Item::Recording(number) => self.shown.recording = Some(number),
            Item::Event(event) => self.event(*event),
            Item::Sample { lane, sample } => self.sample(lane.as_ref(), sample),
            Item::Storage(state) => self.shown.storage = state,
            Item::Finishing => {
                if self.shown.phase.is_active() {
                    self.shown.phase = Phase::Finishing;
                }
            }
            Item::Failed(reason) => {
                self.log(reason.clone());
                self.shown.phase = Phase::Failed { reason };
                self.end();
            }
            Item::Note(text) => self.log(text),
            Item::Models(contracts) => {
                self.contracts = contracts;
                self.reset_bills();
            }
        }
        self.shown.events += 1;
    }

    /// Sets the start of the recording to a fixed moment, for tests.
    pub fn began_at(&mut self, at: Nanos) {
        self.shown.began = Some(at);
    }

    /// Sets how many events and samples were left out since the program began.
    pub fn lost(&mut self, events: u64, samples: u64) {
        self.lost = [events, samples];
        self.shown.dropped = events - self.lost_before[0];
        self.shown.samples_dropped = samples - self.lost_before[1];
    }

    /// Builds a snapshot of the current state.
    pub fn snapshot(&mut self) -> Snapshot {
        for (cell, windows) in self.shown.cells.iter_mut().zip(&mut self.windows) {
            if std::mem::take(&mut windows.changed) {
                cell.startup = windows.startup.quantiles();
                cell.run = windows.run.quantiles();
            }
        }
        if let Some(bills) = self.bills.as_mut().filter(|_| std::mem::take(&mut self.billed)) {
            self.shown.bills = Some(Arc::new(bills.so_far()));
        }
        self.shown.clone()
    }

    fn reset_bills(&mut self) {
        let contracts = Arc::clone(&self.contracts);
        self.bills = (!contracts.is_empty()).then(|| Replayer::new(contracts, WhatIf::default()));
        self.shown.bills = None;
        let whole = self.rows.len() as u64 == self.billable;
        self.shown.bills_note =
            (!whole).then(|| "bills of the newest invocations only: screen 2 has all".to_owned());
        if let Some(bills) = &mut self.bills {
            self.rows.iter().for_each(|row| bills.push_row(row));
        }
        self.billed = true;
    }

    fn log(&mut self, text: impl Into<Arc<str>>) {
        self.push(Remark { text: text.into(), count: 1, others: 0 }, None);
    }

    fn push(&mut self, remark: Remark, failure: Option<Failure>) {
        self.shown.log.push_back(remark);
        self.failures.push_back(failure);
        if self.shown.log.len() > LOG {
            self.shown.log.pop_front();
            self.failures.pop_front();
        }
    }

    /// Logs once what fails in a lane for one reason, with the number of times.
    fn log_failure(&mut self, place: usize, reason: &Arc<str>) {
        let cell = &self.shown.cells[place];
        let lane = cell.lane;
        let same = |it: &Option<Failure>| {
            it.as_ref().is_some_and(|it| it.lane == lane && it.reason == *reason)
        };
        let at = self.failures.iter().position(same);
        let known = at.and_then(|at| self.shown.log.remove(at).zip(self.failures.remove(at)?));
        if let Some((mut remark, mut failure)) = known {
            remark.count += 1;
            if !failure.cells.contains(&place) {
                failure.cells.push(place);
                remark.others += 1;
            }
            return self.push(remark, Some(failure));
        }
        let name = &self.shown.lanes[lane].name;
        let text = format!("{} in {name}, {}: {reason}", cell.workload, cell.start);
        let failure = Failure { lane, reason: Arc::clone(reason), cells: vec![place] };
        self.push(Remark { text: text.into(), count: 1, others: 0 }, Some(failure));
    }

    fn end(&mut self) {
        self.shown.ended = Some(now());
        for lane in &mut self.shown.lanes {
            lane.running = None;
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Lane { name, version, note, unavailable } => {
                self.lane(name, version, note, unavailable);
            }
            Event::Cell { lane, job } => self.cell(&lane, &job),
            Event::Preparing { cell } => self.starts(cell, None, 1),
            Event::Prepared { cell, result } => self.prepared(cell, result),
            Event::Started { cell, sequence, count } => self.starts(cell, Some(sequence), count),
            Event::WarmedUp { cell, outcome } => self.warmed_up(cell, &outcome),
            Event::Finished { cell, sequence, outcome, .. } => {
                self.finished(cell, sequence, &outcome);
            }
            // Recordings made here end after a number of runs or when stopped,
            // so nothing is looked at.
            Event::Looked { .. } => {}
            Event::Ended { status, sampler } => {
                self.shown.phase = Phase::Ended { status };
                self.shown.sampler = sampler;
                self.end();
            }
        }
    }

    fn lane(&mut self, name: String, version: String, note: String, unavailable: Option<String>) {
        let name: Arc<str> = name.into();
        if let Some(reason) = &unavailable {
            self.log(format!("{name} cannot run here: {reason}"));
        }
        self.lanes.insert(Arc::clone(&name), self.shown.lanes.len());
        self.shown.lanes.push(LaneView {
            name,
            version: version.into(),
            note: note.into(),
            unavailable: unavailable.map(Into::into),
            running: None,
            failing: None,
            cpu: None,
            current: None,
        });
        self.charted.push(Charted::default());
    }

    fn cell(&mut self, lane: &str, job: &Job) {
        let Some(place) = self.lanes.get(lane).copied() else { return };
        self.shown.lanes[place].cpu = job.cpu;
        self.shown.phase = Phase::Running;
        self.places.insert(job.cell, self.shown.cells.len());
        let name = |text: &str| -> Arc<str> { text.into() };
        let key = Key {
            lane: name(lane),
            workload: name(&job.workload.name),
            preset: name(&job.preset.name),
            start: name(job.start.label()),
        };
        self.shown.cells.push(CellView {
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
            chart: Arc::new(Chart::new(self.shown.began.unwrap_or_else(now))),
            sources: Arc::default(),
            notes: Arc::default(),
        });
        self.keys.push(key);
        self.windows.push(Windows::default());
    }

    fn starts(&mut self, cell: usize, sequence: Option<u32>, count: u32) {
        let Some(place) = self.places.get(&cell).copied() else { return };
        let lane = self.shown.cells[place].lane;
        let since = now();
        let known = Known { cpu: since, cycles: since };
        self.charted[lane] = Charted { since, cpu: 0, count };
        self.shown.lanes[lane].current = Some(place);
        self.shown.lanes[lane].running =
            Some(Running { cell: place, sequence, since, memory: None, cpu: None, known });
    }

    fn prepared(&mut self, cell: usize, result: Result<Prepared, String>) {
        let Some(place) = self.places.get(&cell).copied() else { return };
        let view = &mut self.shown.cells[place];
        let lane = &mut self.shown.lanes[view.lane];
        if let Some(running) = lane.running.take() {
            // Nothing is measured while a cell is being prepared.
            Arc::make_mut(&mut view.chart).spread(running.since, now(), None, None);
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

    fn sample(&mut self, lane: Option<&Arc<str>>, sample: Sample) {
        let place = match lane {
            Some(name) => self.lanes.get(name).copied(),
            None => self.shown.lanes.iter().position(|lane| lane.running.is_some()),
        };
        let Some(place) = place else { return };
        let lane = &mut self.shown.lanes[place];
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
                    let chart = &mut self.shown.cells[running.cell].chart;
                    Arc::make_mut(chart).spread(charted.since, sample.at, Some(cpu), Some(0));
                    running.known.cpu = sample.at;
                    *charted = Charted { since: sample.at, cpu: sample.value, ..*charted };
                }
            }
            _ => {}
        }
    }

    fn warmed_up(&mut self, cell: usize, outcome: &Outcome) {
        let Some(place) = self.places.get(&cell).copied() else { return };
        self.chart(place, outcome);
        let view = &mut self.shown.cells[place];
        if outcome.status == Status::Ok {
            view.warmup = Some(outcome.usage);
        }
        if view.last.is_none() {
            view.sources = Arc::clone(&outcome.provenances);
        }
    }

    fn finished(&mut self, cell: usize, sequence: u32, outcome: &Outcome) {
        let Some(place) = self.places.get(&cell).copied() else { return };
        self.shown.done += 1;
        self.chart(place, outcome);
        self.bill(place, outcome);
        let view = &mut self.shown.cells[place];
        let lane = &mut self.shown.lanes[view.lane];
        let usage = outcome.usage;
        view.last = Some(Last { sequence, status: outcome.status, usage });
        if outcome.status == Status::Ok || view.ok == 0 {
            view.sources = Arc::clone(&outcome.provenances);
        }
        match outcome.status {
            Status::Ok => {
                view.ok += 1;
                lane.failing = None;
                let windows = &mut self.windows[place];
                windows.changed = true;
                if let Some(span) = usage.phases.startup() {
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
    fn chart(&mut self, place: usize, outcome: &Outcome) {
        let lane_place = self.shown.cells[place].lane;
        let lane = &mut self.shown.lanes[lane_place];
        let single = self.charted[lane_place].count <= 1;
        let charted = if single {
            lane.running = None;
            std::mem::take(&mut self.charted[lane_place])
        } else {
            Charted::default()
        };
        let usage = &outcome.usage;
        if let Some(running) = &mut lane.running {
            // The next of the invocations that run one after the other begins here.
            running.known = Known { cpu: outcome.ended, cycles: outcome.ended };
        }
        let cpu = usage.get(Meter::CpuTime).map(|cpu| cpu.saturating_sub(charted.cpu));
        let cycles = usage.get(Meter::Cycles).or_else(|| usage.get(Meter::RefCycles));
        let chart = Arc::make_mut(&mut self.shown.cells[place].chart);
        let from = if charted.cpu > 0 { charted.since } else { outcome.requested };
        chart.spread(from, outcome.ended, cpu, Some(0));
        chart.spread(outcome.requested, outcome.ended, Some(0), cycles);
    }

    /// Bills an invocation as providers do, and as a replay of the stored rows
    /// does.
    fn bill(&mut self, place: usize, outcome: &Outcome) {
        let billable =
            outcome.status != Status::Interrupted && outcome.usage.get(Meter::Wall).is_some();
        if !billable {
            return;
        }
        let began = self.shown.began.unwrap_or(outcome.requested);
        let row = Row {
            invocation: 0,
            key: self.keys[place].clone(),
            offset: outcome.requested.since(began),
            failed: outcome.status != Status::Ok,
            usage: outcome.usage,
        };
        if let Some(bills) = &mut self.bills {
            bills.push_row(&row);
            self.billed = true;
        }
        self.billable += 1;
        self.rows.push_back(row);
        if self.rows.len() > ROWS {
            self.rows.pop_front();
        }
    }
}
