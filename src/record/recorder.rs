//! Who runs when. Runs are interleaved, A B C A B C, so that drift of the
//! machine hits all lanes alike.

use std::collections::HashMap;
use std::sync::Arc;

use super::event::{Event, Sink, SinkError};
use super::plan::{Cell, Plan};
use super::sampler::Sampler;
use crate::lane::{
    self, Cancel, Lane, LaneError, LaneSpec, Outcome, Sample, Status, Unwatched, Watch,
};
use crate::meter::Meter;
use crate::meter::procfs::ProcessIdentity;
use crate::units::Nanos;

/// Longest time for which invocations are asked for at once; bounds what is
/// lost when this process is killed.
const BURST: Nanos = Nanos(10_000_000);
const MAX_BURST: u32 = 256;

/// A lane that runs here.
pub struct OpenLane {
    /// Its name.
    pub name: String,
    /// The lane.
    pub lane: Box<dyn Lane>,
}

/// Opens lanes, telling `sink` of each; those that cannot run are left out.
///
/// # Errors
/// When the sink takes no more.
pub fn open_lanes(
    specs: &[LaneSpec],
    owner: &ProcessIdentity,
    sink: &mut dyn Sink,
) -> Result<Vec<OpenLane>, SinkError> {
    let mut open = Vec::new();
    for spec in specs {
        let name = spec.to_string();
        match lane::open(spec, owner) {
            Ok(lane) => {
                let about = lane.describe();
                sink.send(Event::Lane {
                    name: name.clone(),
                    version: about.version,
                    note: about.note,
                    unavailable: None,
                })?;
                open.push(OpenLane { name, lane });
            }
            Err(error) => sink.send(Event::Lane {
                name,
                version: String::new(),
                note: String::new(),
                unavailable: Some(error.to_string()),
            })?,
        }
    }
    Ok(open)
}

/// How many invocations ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Well.
    pub ok: u64,
    /// Not well: failed or timed out.
    pub bad: u64,
    /// Cells that could not be prepared.
    pub unprepared: u64,
    /// The recording was stopped.
    pub interrupted: bool,
}

/// Carries out a plan.
pub struct Recorder<'a> {
    lanes: &'a mut [OpenLane],
    plan: &'a Plan,
    sampler: Option<Sampler>,
    cancel: Cancel,
    tally: Tally,
    /// Counted operators by cell.
    ops: HashMap<usize, u64>,
}

impl<'a> Recorder<'a> {
    /// A recorder of `plan` in `lanes`; without a sampler nothing is sampled.
    #[must_use]
    pub fn new(
        lanes: &'a mut [OpenLane],
        plan: &'a Plan,
        sampler: Option<Sampler>,
        cancel: Cancel,
    ) -> Self {
        Self { lanes, plan, sampler, cancel, tally: Tally::default(), ops: HashMap::new() }
    }

    /// Runs the plan to its end, or until it is cancelled. Whatever happens,
    /// lanes are closed and the end is told.
    ///
    /// # Errors
    /// When the sink takes no more: the recording stops there.
    pub fn run(mut self, sink: &mut dyn Sink) -> Result<Tally, SinkError> {
        let result = self.all_cells(sink);
        for open in self.lanes.iter_mut() {
            open.lane.close();
        }
        let sampler = self.sampler.take().map(Sampler::finish);
        self.tally.interrupted = self.cancel.is_cancelled();
        result?;
        let status = match self.tally {
            Tally { interrupted: true, .. } => Status::Interrupted,
            Tally { ok: 0, .. } => Status::Failed,
            _ => Status::Ok,
        };
        sink.send(Event::Ended { status, sampler })?;
        sink.settle()?;
        Ok(self.tally)
    }

    fn all_cells(&mut self, sink: &mut dyn Sink) -> Result<(), SinkError> {
        for cell in &self.plan.cells {
            let lane = self.lanes[cell.lane].name.clone();
            sink.send(Event::Cell { lane, job: Arc::clone(&cell.job) })?;
        }
        let mut ready = Vec::new();
        for cell in &self.plan.cells {
            if self.prepare(cell, sink)? {
                ready.push(cell);
            }
            if self.cancel.is_cancelled() {
                return Ok(());
            }
        }
        self.rounds(&ready, self.plan.warmup, true, sink)?;
        self.rounds(&ready, self.plan.runs, false, sink)
    }

    fn prepare(&mut self, cell: &Cell, sink: &mut dyn Sink) -> Result<bool, SinkError> {
        let job = &cell.job;
        sink.send(Event::Preparing { cell: job.cell })?;
        let result = self.lanes[cell.lane].lane.prepare(job, &self.cancel);
        if let Err(LaneError::Cancelled) = result {
            return Ok(false);
        }
        if let Ok(prepared) = &result
            && let Some(ops) = prepared.wasm_ops
        {
            self.ops.insert(job.cell, ops);
        }
        let result = result.map_err(|error| error.to_string());
        let failure = result.as_ref().err().cloned();
        sink.send(Event::Prepared { cell: job.cell, result })?;
        let Some(reason) = failure else { return Ok(true) };
        // So that the cell does not vanish from queries and bills.
        self.tally.unprepared += 1;
        let outcome = Box::new(Outcome::unstarted(job, lane::now(), reason));
        sink.send(Event::Finished { cell: job.cell, sequence: 1, outcome, samples: Vec::new() })?;
        Ok(false)
    }

    fn rounds(
        &mut self,
        cells: &[&Cell],
        runs: u32,
        warmup: bool,
        sink: &mut dyn Sink,
    ) -> Result<(), SinkError> {
        let mut done = 0;
        let mut burst = 1;
        while done < runs && !self.cancel.is_cancelled() {
            let count = burst.min(runs - done);
            let mut longest = Nanos(0);
            for cell in cells {
                let first = if warmup { None } else { Some(done + 1) };
                longest = longest.max(self.visit(cell, count, first, sink)?);
                if self.cancel.is_cancelled() {
                    return Ok(());
                }
            }
            done += count;
            // Only runs of one short cell are bundled: others are interleaved.
            if let [only] = cells
                && only.job.start == lane::StartKind::Warm
            {
                let fit = BURST.0 / longest.0.max(1);
                burst = u32::try_from(fit).unwrap_or(MAX_BURST).clamp(1, MAX_BURST);
            }
        }
        Ok(())
    }

    /// Runs a cell `count` times and passes on what comes of it; returns the
    /// longest wall time. `first` is the sequence of the first, `None` in warm-ups.
    fn visit(
        &mut self,
        cell: &Cell,
        count: u32,
        first: Option<u32>,
        sink: &mut dyn Sink,
    ) -> Result<Nanos, SinkError> {
        let Self { lanes, sampler, cancel, tally, ops, .. } = self;
        let job = &cell.job;
        sink.send(Event::Started { cell: job.cell, sequence: first.unwrap_or(0), count })?;
        let mut unwatched = Unwatched;
        let mut watching = sampler.clone();
        let watch: &mut dyn Watch = match &mut watching {
            Some(sampler) => sampler,
            None => &mut unwatched,
        };
        let (mut longest, mut next, mut failure) = (Nanos(0), first.unwrap_or(0), None);
        let mut emit = |mut outcome: Outcome| {
            longest = longest.max(outcome.ended.since(outcome.requested));
            let samples = sampler.as_ref().map(Sampler::take);
            if first.is_none() || failure.is_some() {
                return;
            }
            complete(&mut outcome, samples.as_deref(), ops.get(&job.cell).copied());
            tally.count(outcome.status);
            let samples = samples.into_iter().flatten().collect();
            let event = Event::Finished {
                cell: job.cell,
                sequence: next,
                outcome: Box::new(outcome),
                samples,
            };
            next += 1;
            failure = sink.send(event).err();
        };
        lanes[cell.lane].lane.invoke(job, count, watch, cancel, &mut emit);
        match failure {
            Some(error) => Err(error),
            None => sink.settle().map(|()| longest),
        }
    }
}

impl Tally {
    fn count(&mut self, status: Status) {
        match status {
            Status::Ok => self.ok += 1,
            Status::Failed | Status::Timeout => self.bad += 1,
            Status::Interrupted => {}
        }
    }
}

/// Enters what no lane can know: the operators of the counting run, and the
/// memory integral of the samples.
fn complete(outcome: &mut Outcome, samples: Option<&[Sample]>, ops: Option<u64>) {
    let usage = &mut outcome.usage;
    if outcome.status == Status::Ok && usage.get(Meter::WasmOps).is_none() {
        usage.set(Meter::WasmOps, ops);
    }
    let integral =
        samples.and_then(|samples| memory_time(samples, outcome.requested, outcome.ended));
    usage.set(Meter::MemoryTime, integral);
}

/// Integral of resident memory in byte-milliseconds: each sample holds until
/// the next, the first also before it. `None` without a sample inside.
fn memory_time(samples: &[Sample], from: Nanos, to: Nanos) -> Option<u64> {
    let mut inside = samples
        .iter()
        .filter(|sample| sample.meter == Meter::MemoryRss && (from..=to).contains(&sample.at))
        .peekable();
    inside.peek()?;
    let (mut total, mut since) = (0_u128, from);
    while let Some(sample) = inside.next() {
        let until = inside.peek().map_or(to, |next| next.at);
        total += u128::from(sample.value) * u128::from(until.since(since).0);
        since = until;
    }
    u64::try_from(total / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rss(at: u64, value: u64) -> Sample {
        Sample { at: Nanos(at * 1_000_000), meter: Meter::MemoryRss, value }
    }

    #[test]
    fn the_memory_integral_covers_the_whole_invocation() {
        let ms = |at: u64| Nanos(at * 1_000_000);
        // 10 ms at 100 (held back to the start), then 20 ms at 300.
        let samples = [rss(5, 100), rss(10, 300)];
        assert_eq!(memory_time(&samples, ms(0), ms(30)), Some(10 * 100 + 20 * 300));
        assert_eq!(memory_time(&samples, ms(11), ms(30)), None, "no sample inside");
        assert_eq!(memory_time(&[], ms(0), ms(30)), None);
    }
}
