//! Scheduling of rounds over cells: all cells of a plan, or in a race those of
//! one lane.

use std::time::Duration;

use super::plan::{Cell, Plan};
use super::recorder::{InvocationTally, OpenLane};
use super::sampler::Sampler;
use super::stopping_rule::{MAX_FAILURES, StoppingProgress};
use super::throttle_watch::ThrottleWatch;
use cyclometer_core::units::Nanos;
use cyclometer_lanes::{
    Cancel, NoSampling, Outcome, ProbeSampler, Sample, StartKind, Status, monotonic_now,
};
use cyclometer_meter::Meter;
use cyclometer_stats::Random;
use cyclometer_workload::Control;
use cyclometer_workload::{Event, Sink, SinkError};

/// Longest time for which invocations are requested at once; bounds the loss
/// when this process is killed.
const BURST: Nanos = Nanos(10_000_000);
const MAX_BURST: u32 = 2_048;

/// Longest streak of failures that counts: such a cell pauses for at most 2^6 -
/// 1 rounds.
const MAX_STREAK: u32 = 6;
/// Length of a round in which every cell pauses, in polls of [`Cancel`].
const IDLE_POLLS: u32 = 2;

/// Lanes that one thread drives, and the cells that it visits in them.
pub(super) struct Scheduler<'a> {
    pub lanes: &'a mut [OpenLane],
    /// Index of the first of `lanes` among all lanes of the plan.
    pub first_lane: usize,
    pub cell_runs: Vec<CellRun<'a>>,
    pub plan: &'a Plan,
    pub control: &'a Control,
    /// Sampler of each of `lanes`, if its runs are sampled.
    pub samplers: &'a [Option<Sampler>],
    pub tally: InvocationTally,
    /// Generator for the order of each round.
    pub random: Random,
}

/// State of a cell that is ready to run.
pub(super) struct CellRun<'a> {
    pub cell: &'a Cell,
    /// Number of operators, from the counting run.
    ops: Option<u64>,
    /// Sequence number of the next invocation.
    next_sequence: u32,
    /// Failures since the last invocation that ended well.
    failure_streak: u32,
    /// Number of rounds that the cell still skips.
    rounds_to_skip: u32,
    /// Precision of the median so far, if the cell is run until that suffices.
    stopping: Option<StoppingProgress>,
    throttle: ThrottleWatch,
}

impl<'a> CellRun<'a> {
    pub(crate) fn for_cell(cell: &'a Cell, ops: Option<u64>, plan: &Plan) -> Self {
        let narrowing = plan.until.map(StoppingProgress::new);
        let throttle = ThrottleWatch::open();
        Self {
            cell,
            ops,
            next_sequence: 1,
            failure_streak: 0,
            rounds_to_skip: 0,
            stopping: narrowing,
            throttle,
        }
    }

    /// Returns whether there is nothing to learn from running the cell again:
    /// its median is known, it has failed [`MAX_FAILURES`] times in a row on the way
    /// there, or it has only ever failed, `give_up` times.
    fn is_done(&self, give_up: Option<u32>) -> bool {
        let all_failed = self.failure_streak.saturating_add(1) == self.next_sequence;
        all_failed && give_up.is_some_and(|most| self.failure_streak >= most)
            || self
                .stopping
                .as_ref()
                .is_some_and(|it| it.enough || self.failure_streak >= MAX_FAILURES)
    }

    /// Records how an invocation ended: after k failures in a row, 2^k - 1
    /// rounds are skipped.
    fn record_status(&mut self, status: Status) {
        self.failure_streak = match status {
            Status::Ok => 0,
            Status::Failed | Status::Timeout => self.failure_streak.saturating_add(1),
            Status::Interrupted => self.failure_streak,
        };
        self.rounds_to_skip = (1 << self.failure_streak.min(MAX_STREAK)) - 1;
    }

    /// Returns whether the cell skips this round, and counts the round down.
    fn skips_round(&mut self) -> bool {
        let rests = self.rounds_to_skip > 0;
        self.rounds_to_skip = self.rounds_to_skip.saturating_sub(1);
        rests
    }
}

impl Scheduler<'_> {
    /// Runs the warm-ups, then the recorded rounds.
    pub(crate) fn run_all_rounds(&mut self, sink: &mut dyn Sink) -> Result<(), SinkError> {
        self.run_rounds(self.plan.warmup, true, sink)?;
        self.run_rounds(self.plan.runs, false, sink)?;
        self.tally.imprecise += self.count_imprecise();
        Ok(())
    }

    /// Runs each cell once a round, in random order: what changes during a
    /// round, or from one to the next, hits all alike.
    fn run_rounds(
        &mut self,
        runs: u32,
        warmup: bool,
        sink: &mut dyn Sink,
    ) -> Result<(), SinkError> {
        let endless = self.plan.until_stopped && !warmup;
        let open = endless || (self.plan.until.is_some() && !warmup);
        let runs = if endless { u32::MAX } else { runs };
        let within = self.plan.until.and_then(|until| until.within).filter(|_| !warmup);
        let begun = monotonic_now();
        let is_late = || within.is_some_and(|span| monotonic_now().saturating_since(begun) >= span);
        let mut order: Vec<usize> = (0..self.cell_runs.len()).collect();
        let (mut done, mut burst) = (0, 1);
        while done < runs && !order.is_empty() && !self.control.is_over() {
            let count = burst.min(runs - done);
            let (mut slowest, mut idle) = (Nanos(0), true);
            self.random.shuffle(&mut order);
            for at in order.iter().copied() {
                if open && self.cell_runs[at].skips_round() {
                    continue;
                }
                idle = false;
                slowest = slowest.max(self.run_cell(at, count, warmup, sink)?);
                if self.control.is_over() || is_late() {
                    return Ok(());
                }
            }
            order.retain(|at| warmup || !self.cell_runs[*at].is_done(self.plan.give_up));
            if idle {
                self.sleep_idle_round();
            }
            done += count;
            burst = self.burst_size(slowest);
        }
        Ok(())
    }

    /// Returns the number of invocations to request at once. Only those of one
    /// short cell are bundled: others are interleaved.
    fn burst_size(&self, each: Nanos) -> u32 {
        match &self.cell_runs[..] {
            [only] if only.cell.job.start == StartKind::Warm && only.failure_streak == 0 => {
                let fit = BURST.0 / each.0.max(1);
                let fit = u32::try_from(fit).unwrap_or(MAX_BURST).clamp(1, MAX_BURST);
                only.stopping.as_ref().map_or(fit, |it| fit.min(it.runs_until_test()))
            }
            _ => 1,
        }
    }

    /// Waits for the length of a round in which nothing ran: otherwise the
    /// skipped rounds would be over at once.
    fn sleep_idle_round(&self) {
        for _ in 0..IDLE_POLLS {
            if !self.control.is_over() {
                std::thread::sleep(Duration::from_millis(Cancel::POLL_MS.into()));
            }
        }
    }

    /// Runs a cell `count` times and sends its events; returns how long one took on
    /// average, metering included: a single one that was held up says nothing of the next.
    fn run_cell(
        &mut self,
        at: usize,
        count: u32,
        warmup: bool,
        sink: &mut dyn Sink,
    ) -> Result<Nanos, SinkError> {
        let Self { lanes, first_lane: first, cell_runs: turns, control, samplers, tally, .. } =
            self;
        let turn = &mut turns[at];
        let Cell { lane, job } = turn.cell;
        let cell = job.cell;
        let sequence = if warmup { 0 } else { turn.next_sequence };
        sink.send_event(Event::Started { cell, sequence, count })?;
        let mut unwatched = NoSampling;
        let own = samplers.get(*lane - *first).cloned().flatten();
        let mut watching = own.clone();
        let watch: &mut dyn ProbeSampler = match &mut watching {
            Some(sampler) => sampler,
            None => &mut unwatched,
        };
        let (begun, mut ended, mut failure) = (monotonic_now(), 0, None);
        turn.throttle.restart_count();
        let mut emit = |mut outcome: Outcome| {
            let took = outcome.ended.saturating_since(outcome.requested);
            ended += 1;
            let samples = own.as_ref().map(Sampler::take_samples);
            if failure.is_some() {
                return;
            }
            if warmup {
                let event = Event::WarmedUp { cell, outcome: Box::new(outcome) };
                failure = sink.send_event(event).err();
                return;
            }
            complete_usage(&mut outcome, samples.as_deref(), turn.ops);
            turn.throttle.set_throttled_time(&mut outcome);
            control.mark_if_suspended(&mut outcome);
            tally.count_status(outcome.status);
            turn.record_status(outcome.status);
            if let (Status::Ok, Some(cell)) = (outcome.status, &mut turn.stopping) {
                cell.add_wall_time(outcome.usage.get(Meter::Wall).map_or(took, Nanos));
            }
            let sequence = turn.next_sequence;
            turn.next_sequence = turn.next_sequence.saturating_add(1);
            let samples = samples.into_iter().flatten().collect();
            let event = Event::Finished { cell, sequence, outcome: Box::new(outcome), samples };
            failure = sink.send_event(event).err();
        };
        let lane = &mut lanes[*lane - *first].lane;
        lane.invoke(job, count, watch, control.cancel_token(), &mut emit);
        if let Some(error) = failure {
            return Err(error);
        }
        let spent = monotonic_now().saturating_since(begun);
        if let Some(width) = turns[at].stopping.as_mut().and_then(StoppingProgress::test_width) {
            sink.send_event(Event::PrecisionChecked { cell, width })?;
        }
        sink.flush_events().map(|()| Nanos(spent.0.checked_div(ended).unwrap_or(0)))
    }

    /// Counts the cells that were run until their medians are known, but whose
    /// medians are not.
    fn count_imprecise(&self) -> u64 {
        let cells = self.cell_runs.iter().filter_map(|turn| turn.stopping.as_ref());
        cells.filter(|cell| cell.is_imprecise()).count() as u64
    }
}

/// Adds the values that no lane can know: the operators of the counting run,
/// and the memory integral of the samples.
fn complete_usage(outcome: &mut Outcome, samples: Option<&[Sample]>, ops: Option<u64>) {
    let usage = &mut outcome.usage;
    if outcome.status == Status::Ok && usage.get(Meter::WasmOps).is_none() {
        usage.set(Meter::WasmOps, ops);
    }
    let integral =
        samples.and_then(|samples| memory_time(samples, outcome.requested, outcome.ended));
    usage.set(Meter::MemoryTime, integral);
}

/// Returns the integral of resident memory in byte-milliseconds: each sample
/// holds until the next, the first also before it. `None` without a sample
/// inside.
fn memory_time(samples: &[Sample], from: Nanos, to: Nanos) -> Option<u64> {
    let mut inside = samples
        .iter()
        .filter(|sample| sample.meter == Meter::MemoryRss && (from..=to).contains(&sample.at))
        .peekable();
    inside.peek()?;
    let (mut total, mut since) = (0_u128, from);
    while let Some(sample) = inside.next() {
        let until = inside.peek().map_or(to, |next| next.at);
        total += u128::from(sample.value) * u128::from(until.saturating_since(since).0);
        since = until;
    }
    u64::try_from(total / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use cyclometer_lanes::Job;

    fn rss(at: u64, value: u64) -> Sample {
        Sample { at: Nanos(at * 1_000_000), meter: Meter::MemoryRss, value }
    }

    fn warm_cell() -> Cell {
        let request = crate::tests::request(&["nop"], 1);
        let workload = Arc::clone(&request.workloads[0]);
        let preset = Arc::new(workload.find_preset("quick").expect("shipped").clone());
        let (start, limits) = (StartKind::Warm, preset.limits);
        let job = Job { limits, ..Job::new(0, workload, preset, start) };
        Cell { lane: 0, job: Arc::new(job) }
    }

    fn plan() -> Plan {
        Plan {
            compiles: 0,
            give_up: None,
            cells: Vec::new(),
            runs: 1,
            warmup: 0,
            until_stopped: false,
            race: false,
            until: None,
            seed: 1,
            left_out: Vec::new(),
            remarks: Vec::new(),
        }
    }

    #[test]
    fn rests_grow_with_failures_in_a_row_and_cuts_are_none() {
        let cell = warm_cell();
        let mut turn = CellRun::for_cell(&cell, None, &plan());
        let mut after = |status| {
            turn.record_status(status);
            turn.rounds_to_skip
        };
        assert_eq!([after(Status::Failed), after(Status::Timeout)], [1, 3]);
        assert_eq!(after(Status::Interrupted), 3, "says nothing of the function");
        assert_eq!([after(Status::Failed), after(Status::Ok)], [7, 0]);
        for _ in 0..20 {
            after(Status::Failed);
        }
        assert_eq!(after(Status::Failed), 63, "at most");
    }

    #[test]
    fn what_only_ever_fails_is_given_up_if_the_plan_says_so() {
        let cell = warm_cell();
        let mut turn = CellRun::for_cell(&cell, None, &plan());
        let fail = |turn: &mut CellRun<'_>, status| {
            turn.record_status(status);
            turn.next_sequence += 1;
        };
        fail(&mut turn, Status::Failed);
        assert!(!turn.is_done(Some(2)), "once is not enough");
        fail(&mut turn, Status::Timeout);
        assert!(turn.is_done(Some(2)) && !turn.is_done(Some(3)) && !turn.is_done(None));
        // A cell that went well once is worth another try.
        fail(&mut turn, Status::Ok);
        for _ in 0..5 {
            fail(&mut turn, Status::Failed);
        }
        assert!(!turn.is_done(Some(2)));
    }

    #[test]
    fn only_short_warm_runs_that_go_well_are_bundled() {
        let cell = warm_cell();
        let plan = plan();
        let control = Control::default();
        let mut track = Scheduler {
            lanes: &mut [],
            first_lane: 0,
            cell_runs: vec![CellRun::for_cell(&cell, None, &plan)],
            plan: &plan,
            control: &control,
            samplers: &[],
            tally: InvocationTally::default(),
            random: Random::from_seed(1),
        };
        let bursts = [0, 1_000, 4_000_000, 11_000_000].map(|wall| track.burst_size(Nanos(wall)));
        assert_eq!(bursts, [2_048, 2_048, 2, 1], "as many as fit into 10 ms, at most 2,048");
        track.cell_runs[0].record_status(Status::Failed);
        assert_eq!(track.burst_size(Nanos(1_000)), 1, "what fails is asked for one by one");
        track.cell_runs[0].record_status(Status::Ok);
        track.cell_runs.push(CellRun::for_cell(&cell, None, &plan));
        assert_eq!(track.burst_size(Nanos(1_000)), 1, "others are interleaved");
    }

    #[test]
    fn operators_of_the_counting_run_are_of_runs_that_ended_well() {
        let ops = |status, own| {
            let mut outcome = crate::tests::outcome(status, Nanos(0), Nanos(1));
            outcome.usage.set(Meter::WasmOps, own);
            complete_usage(&mut outcome, None, Some(9));
            outcome.usage.get(Meter::WasmOps)
        };
        assert_eq!(ops(Status::Ok, None), Some(9));
        assert_eq!(ops(Status::Ok, Some(7)), Some(7), "counted in this very run");
        for status in [Status::Failed, Status::Timeout, Status::Interrupted] {
            assert_eq!(ops(status, None), None, "nobody knows how far it came");
        }
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
