//! Tests of the recorder with simulated lanes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::*;
use cyclometer_core::units::Nanos;
use cyclometer_lanes::{
    Cancel, Job, Lane, LaneDescription, LaneError, Outcome, Prepared, Probe, ProbeSampler, Sample,
    StartKind, Status, monotonic_now,
};
use cyclometer_meter::{Meter, Usage};
use cyclometer_workload::{Catalog, Workload};

mod rounds;

/// Creates an outcome of which only status and times matter.
pub(super) fn outcome(status: Status, requested: Nanos, ended: Nanos) -> Outcome {
    Outcome {
        status,
        reason: None,
        exit_code: None,
        requested,
        ended,
        usage: Usage::new(false),
        provenances: Arc::default(),
        output: None,
    }
}

/// Script of a lane: the result of each of its invocations, in order; after the
/// last, all go well.
type Script = VecDeque<Status>;

#[derive(Default)]
struct Fake {
    script: Script,
    /// Called with the number of each invocation, from 1.
    during: Option<Box<dyn FnMut(u32) + Send>>,
    invoked: u32,
    /// The first cell cannot be prepared.
    broken: bool,
    /// The wall time in nanoseconds of each invocation, by its number.
    wall: Option<fn(u32) -> u64>,
}

struct OneValue;

impl Probe for OneValue {
    fn read_values(&mut self) -> Vec<(Meter, u64)> {
        vec![(Meter::MemoryRss, 1)]
    }
}

impl Lane for Fake {
    fn describe(&self) -> LaneDescription {
        LaneDescription::default()
    }

    fn start_kinds(&self) -> &'static [StartKind] {
        &[StartKind::Cold]
    }

    fn check_support(&self, _: &Workload) -> Result<(), LaneError> {
        Ok(())
    }

    fn prepare(&mut self, job: &Job, _: &Cancel) -> Result<Prepared, LaneError> {
        if std::mem::take(&mut self.broken) {
            let workload = job.workload.name.clone();
            return Err(LaneError::Prepare { workload, reason: "broken".to_owned() });
        }
        Ok(Prepared::default())
    }

    fn invoke_next(
        &mut self,
        _: &Job,
        _: u32,
        watch: &mut dyn ProbeSampler,
        _: &Cancel,
        emit: &mut dyn FnMut(Outcome),
    ) -> u32 {
        self.invoked += 1;
        let requested = monotonic_now();
        watch.start_sampling(Box::new(OneValue));
        if let Some(during) = &mut self.during {
            during(self.invoked);
        }
        watch.stop_sampling();
        let status = self.script.pop_front().unwrap_or(Status::Ok);
        let mut outcome = outcome(status, requested, monotonic_now());
        outcome.usage.set(Meter::Wall, self.wall.map(|wall| wall(self.invoked)));
        emit(outcome);
        1
    }

    fn close(&mut self) {}
}

fn lane(name: &str, fake: Fake) -> OpenLane {
    OpenLane { name: name.to_owned(), lane: Box::new(fake) }
}

/// Creates lanes that run their invocations through `during`.
pub(super) fn lanes_that(
    count: u32,
    during: impl Fn(u32) + Clone + Send + 'static,
) -> Vec<OpenLane> {
    let fake = |during| Fake { during: Some(Box::new(during)), ..Fake::default() };
    (0..count).map(|at| lane(&format!("lane-{at}"), fake(during.clone()))).collect()
}

pub(super) fn request(workloads: &[&str], runs: u32) -> PlanRequest {
    let catalog = Catalog::load_builtin().expect("valid");
    let workloads = workloads.iter().map(|name| catalog.get(name).expect("there").clone());
    PlanRequest {
        runs,
        warmup: 0,
        seed: 1,
        ..PlanRequest::for_workloads(workloads.collect(), "quick")
    }
}

/// Records `request` in `lanes` and returns the events as text.
fn record(
    lanes: &mut [OpenLane],
    request: &PlanRequest,
    control: &Control,
) -> (InvocationTally, Vec<String>) {
    let plan = Plan::new(request, lanes).expect("a plan");
    let mut events: Vec<Event> = Vec::new();
    let recorder = Recorder::new(lanes, &plan, None, control.clone()).expect("threads");
    let tally = recorder.run(&mut events).expect("a vector takes all");
    (tally, events.iter().map(told).collect())
}

fn told(event: &Event) -> String {
    match event {
        Event::Lane { name, .. } => format!("lane {name}"),
        Event::Cell { lane, job } => format!("cell {} {lane}", job.cell),
        Event::Preparing { cell } => format!("preparing {cell}"),
        Event::Prepared { cell, result } => format!("prepared {cell} {}", result.is_ok()),
        Event::Started { cell, sequence, count } => format!("started {cell} #{sequence} x{count}"),
        Event::WarmedUp { cell, outcome } => {
            format!("warmed up {cell} {}", outcome.status.label())
        }
        Event::Finished { cell, sequence, outcome, .. } => {
            format!("finished {cell} #{sequence} {}", outcome.status.label())
        }
        Event::PrecisionChecked { cell, width } => {
            format!("looked {cell} {} {}", width.runs, width.enough)
        }
        Event::Ended { status, .. } => format!("ended {}", status.label()),
    }
}

#[test]
fn every_step_is_told_before_it_is_taken() {
    let broken = Fake { broken: true, ..Fake::default() };
    let mut lanes = [lane("a", Fake::default()), lane("b", broken)];
    let request = PlanRequest { warmup: 1, ..request(&["nop"], 2) };
    let (tally, told) = record(&mut lanes, &request, &Control::default());
    assert_eq!(tally, InvocationTally { ok: 2, unprepared: 1, ..InvocationTally::default() });
    let expected = [
        "cell 0 a",
        "cell 1 b",
        "preparing 0",
        "prepared 0 true",
        "preparing 1",
        "prepared 1 false",
        "finished 1 #1 failed",
        "started 0 #0 x1",
        "warmed up 0 ok",
        "started 0 #1 x1",
        "finished 0 #1 ok",
        "started 0 #2 x1",
        "finished 0 #2 ok",
        "ended ok",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_recording_that_is_finished_ends_well_after_what_is_in_flight() {
    let control = Control::default();
    let theirs = control.clone();
    // In the second of 100: the third is not begun.
    let mut lanes = lanes_that(1, move |at| {
        if at == 2 {
            theirs.finish_after_current();
        }
    });
    let (tally, told) = record(&mut lanes, &request(&["nop"], 100), &control);
    assert_eq!(tally, InvocationTally { ok: 2, ..InvocationTally::default() });
    assert_eq!(told[told.len() - 2..], ["finished 0 #2 ok", "ended ok"]);
}

#[test]
fn a_recording_that_is_stopped_is_interrupted() {
    let control = Control::default();
    let theirs = control.clone();
    let mut lanes = lanes_that(2, move |at| {
        if at == 2 {
            theirs.stop_now();
        }
    });
    let (tally, told) = record(&mut lanes, &request(&["nop"], 100), &control);
    assert!(tally.interrupted);
    assert_eq!(tally.ok, 3, "two of one lane and one of the other");
    assert_eq!(told.last().map(String::as_str), Some("ended interrupted"));
}

#[test]
fn what_ran_while_this_process_was_suspended_is_interrupted() {
    let control = Control::default();
    let theirs = control.clone();
    let during = move |at| {
        if at < 3 {
            let from = monotonic_now();
            std::thread::sleep(Duration::from_millis(2));
            theirs.note_suspended(from, monotonic_now());
        }
    };
    let script = [Status::Ok, Status::Failed].into();
    let fake = Fake { script, during: Some(Box::new(during)), ..Fake::default() };
    let (tally, told) = record(&mut [lane("a", fake)], &request(&["nop"], 3), &control);
    assert_eq!(
        tally,
        InvocationTally { ok: 1, failed: 1, ..InvocationTally::default() },
        "it counts as neither"
    );
    let ends: Vec<&String> = told.iter().filter(|it| it.starts_with("finished")).collect();
    let expected = ["finished 0 #1 interrupted", "finished 0 #2 failed", "finished 0 #3 ok"];
    assert_eq!(ends, expected);
}

#[test]
fn cells_that_keep_failing_are_visited_less_often_until_they_recover() {
    let control = Control::default();
    let theirs = control.clone();
    // The healthy lane is in every round and counts them.
    let counting = move |at| {
        if at == 40 {
            theirs.finish_after_current();
        }
    };
    let healthy = Fake { during: Some(Box::new(counting)), ..Fake::default() };
    let failing = Fake { script: [Status::Failed; 4].into(), ..Fake::default() };
    let mut lanes = [lane("failing", failing), lane("healthy", healthy)];
    let request = PlanRequest { until_stopped: true, ..request(&["nop"], 1) };
    let (tally, told) = record(&mut lanes, &request, &control);
    let (mut rounds, mut visited) = (1, Vec::new());
    for event in &told {
        match event.split_whitespace().take(2).collect::<Vec<_>>()[..] {
            ["started", "0"] => visited.push(rounds),
            ["started", "1"] => rounds += 1,
            _ => {}
        }
    }
    // 1, 3, 7 and 15 rounds are skipped after the failures in rounds 1, 3, 7
    // and 15; in round 31 it goes well again, and skips none.
    let expected: Vec<u32> = [1, 3, 7, 15].into_iter().chain(31..=40).collect();
    // Where it came after the healthy one, the next round is counted already, and
    // the last is over.
    assert!(visited.len() >= expected.len() - 1, "{visited:?}");
    assert!(visited.iter().zip(expected).all(|(at, it)| (it..=it + 1).contains(at)), "{visited:?}");
    let ok = visited.len() as u64 - 4;
    assert_eq!(tally, InvocationTally { ok: 40 + ok, failed: 4, ..InvocationTally::default() });
    // Its sequence has no gaps.
    assert_eq!(told.iter().filter(|it| it.starts_with("finished 0 #13 ok")).count(), 1);
}

#[test]
fn where_every_cell_fails_rounds_take_their_time() {
    let control = Control::default();
    let fake = Fake { script: [Status::Failed; 100].into(), ..Fake::default() };
    let mut lanes = [lane("dead", fake)];
    let request = PlanRequest { until_stopped: true, ..request(&["nop"], 1) };
    let theirs = control.clone();
    let watchdog = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        theirs.finish_after_current();
    });
    let (tally, told) = record(&mut lanes, &request, &control);
    watchdog.join().expect("no panic");
    // Failures at 0, 100 and 400 ms; one more is for a watchdog that is late.
    assert!((2..=4).contains(&tally.failed), "{} failures in half a second", tally.failed);
    assert_eq!(told.last().map(String::as_str), Some("ended failed"));
}

/// Invocations of the lanes overlap: each waits, for a while, for the other.
#[test]
pub(super) fn lanes_that_race_run_at_the_same_time() {
    let meeting = Arc::new(std::sync::Barrier::new(2));
    let threads = Arc::new(Mutex::new(Vec::new()));
    let names = Arc::clone(&threads);
    let mut lanes = lanes_that(2, move |_| {
        // Would never return if the other lane had to wait for this one.
        meeting.wait();
        let name = std::thread::current().name().unwrap_or("").to_owned();
        names.lock().push(name);
    });
    let request = PlanRequest { race: true, ..request(&["nop", "nbody"], 3) };
    let (tally, told) = record(&mut lanes, &request, &Control::default());
    assert_eq!(tally, InvocationTally { ok: 12, ..InvocationTally::default() });
    for (cell, sequence) in (0..4).flat_map(|cell| (1..=3).map(move |it| (cell, it))) {
        let at = |what: &str| {
            let wanted = format!("{what} {cell} #{sequence} ");
            told.iter().position(|event| event.starts_with(&wanted)).expect("it was told")
        };
        assert!(at("started") < at("finished"));
    }
    assert_eq!(told.last().map(String::as_str), Some("ended ok"));
    let mut threads = threads.lock().clone();
    threads.sort_unstable();
    assert_eq!(threads, [["lane-0"; 6], ["lane-1"; 6]].concat());
}

#[test]
fn each_lane_of_a_race_has_a_sampler_of_its_own() {
    let mut lanes = lanes_that(2, |_| std::thread::sleep(Duration::from_millis(40)));
    let request = PlanRequest { race: true, ..request(&["nop"], 2) };
    let plan = Plan::new(&request, &lanes).expect("a plan");
    let mut made = Vec::new();
    let sampling = Sampling::from_factory(|lane| {
        made.push(lane);
        Sampler::start(Nanos(2_000_000))
    });
    let recorder = Recorder::new(&mut lanes, &plan, Some(sampling), Control::default());
    let mut events: Vec<Event> = Vec::new();
    recorder.expect("threads").run(&mut events).expect("a vector takes all");
    assert_eq!(made, [Some(0), Some(1)]);
    let mut kept = 0;
    for event in &events {
        let Event::Finished { outcome, samples, .. } = event else { continue };
        assert!(samples.len() >= 3, "{} samples in 40 ms at 2 ms", samples.len());
        let span = outcome.requested..=outcome.ended;
        assert!(samples.iter().all(|sample: &Sample| span.contains(&sample.at)));
        kept += samples.len() as u64;
    }
    let Some(Event::Ended { sampler: Some(report), .. }) = events.last() else { panic!("ended") };
    assert_eq!((report.interval, report.ticks), (Nanos(2_000_000), kept), "both, summed");
}

/// Sink that accepts so many finished invocations, then no more.
struct Fails(u32);

impl Sink for Fails {
    fn send_event(&mut self, event: Event) -> Result<(), SinkError> {
        let Event::Finished { .. } = event else { return Ok(()) };
        self.0 = self.0.checked_sub(1).ok_or_else(|| SinkError("no more".to_owned()))?;
        Ok(())
    }

    fn flush_events(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

#[test]
fn a_sink_that_fails_ends_all_lanes() {
    for race in [false, true] {
        let mut lanes = lanes_that(3, |_| std::thread::sleep(Duration::from_millis(1)));
        let request = PlanRequest { race, until_stopped: true, ..request(&["nop"], 1) };
        let plan = Plan::new(&request, &lanes).expect("a plan");
        let recorder = Recorder::new(&mut lanes, &plan, None, Control::default()).expect("threads");
        let error = recorder.run(&mut Fails(7)).expect_err("it failed");
        assert_eq!(error.to_string(), "no more", "race: {race}");
    }
}

/// Sink that settles slowly, and counts events that were sent before all was
/// safe.
struct Slow(Vec<String>);

impl Sink for Slow {
    fn send_event(&mut self, event: Event) -> Result<(), SinkError> {
        self.0.push(told(&event));
        Ok(())
    }

    fn flush_events(&mut self) -> Result<(), SinkError> {
        std::thread::sleep(Duration::from_millis(20));
        self.0.push("settled".to_owned());
        Ok(())
    }
}

#[test]
fn a_lane_of_a_race_waits_until_its_events_are_safe() {
    let mut lanes = lanes_that(2, |_| {});
    let request = PlanRequest { race: true, ..request(&["nop"], 3) };
    let plan = Plan::new(&request, &lanes).expect("a plan");
    let recorder = Recorder::new(&mut lanes, &plan, None, Control::default()).expect("threads");
    let mut slow = Slow(Vec::new());
    recorder.run(&mut slow).expect("it takes all");
    for cell in 0..2 {
        let place = |what: String| slow.0.iter().position(|it| it.starts_with(&what));
        let finished = place(format!("finished {cell} #1 ")).expect("told");
        let started = place(format!("started {cell} #2 ")).expect("told");
        let between = &slow.0[finished..started];
        assert!(between.iter().any(|it| it == "settled"), "{between:?}");
    }
}

#[test]
#[should_panic(expected = "on purpose")]
fn a_lane_that_panics_ends_the_others() {
    let mut lanes = lanes_that(2, |_| {
        assert_ne!(std::thread::current().name(), Some("lane-1"), "on purpose");
        std::thread::sleep(Duration::from_millis(1));
    });
    let request = PlanRequest { race: true, until_stopped: true, ..request(&["nop"], 1) };
    record(&mut lanes, &request, &Control::default());
}

#[test]
fn stopping_a_race_stops_all_of_it() {
    let control = Control::default();
    let mut lanes = lanes_that(3, |_| std::thread::sleep(Duration::from_millis(1)));
    let theirs = control.clone();
    let begun = Instant::now();
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        theirs.stop_now();
    });
    let request = PlanRequest { race: true, until_stopped: true, ..request(&["nop"], 1) };
    let (tally, told) = record(&mut lanes, &request, &control);
    stopper.join().expect("no panic");
    assert!(tally.interrupted && begun.elapsed() < Duration::from_secs(5));
    assert_eq!(told.last().map(String::as_str), Some("ended interrupted"));
}
