//! Snapshots after known events: counts, failures, bills.

use std::sync::Arc;

use super::*;
use crate::Event;
use cyclometer_core::meter::{Meter, Phases, Provenances, Usage};
use cyclometer_core::units::Nanos;
use cyclometer_lanes::{Job, Outcome, Prepared, StartKind, Status, monotonic_now};
use cyclometer_pricing::{Terms, find_builtin_model};
use cyclometer_replay::{Contract, GroupTotal};
use cyclometer_workload::Catalog;

const MS: u64 = 1_000_000;

fn contracts() -> Arc<Vec<Contract>> {
    let of = |id| {
        let model = find_builtin_model(id).expect("a shipped model");
        (model.clone(), Terms::for_model(model))
    };
    Arc::new(vec![of("aws-lambda-x86"), of("per-cycle")])
}

/// Recording of cold nop and nbody in the lane native, by events.
struct Scene {
    view: SnapshotBuilder,
    jobs: Vec<Arc<Job>>,
    at: u64,
}

impl Scene {
    fn new() -> Self {
        let catalog = Catalog::load_builtin().expect("shipped workloads");
        let job = |(cell, name): (usize, &str)| {
            let workload = Arc::clone(catalog.get(name).expect("shipped"));
            let preset = Arc::new(workload.find_preset("quick").expect("shipped").clone());
            let limits = preset.limits;
            Arc::new(Job { limits, ..Job::new(cell, workload, preset, StartKind::Cold) })
        };
        let jobs = ["nop", "nbody"].into_iter().enumerate().map(job).collect();
        let mut scene = Self { view: SnapshotBuilder::default(), jobs, at: monotonic_now().0 };
        scene.view.apply_item(FeedItem::Models(contracts()));
        scene.begin();
        scene
    }

    fn begin(&mut self) {
        self.view.apply_item(FeedItem::Begin(PlanView::default()));
        self.event(Event::Lane {
            name: "native".to_owned(),
            version: "Linux process".to_owned(),
            note: String::new(),
            unavailable: None,
        });
        for job in self.jobs.clone() {
            self.event(Event::Cell { lane: "native".to_owned(), job });
        }
    }

    fn event(&mut self, event: Event) {
        self.view.apply_item(FeedItem::Event(Box::new(event)));
    }

    /// Ends an invocation with 1 ms of start, and a run of that many milliseconds.
    fn end(&mut self, cell: usize, sequence: u32, run: u64, status: Status, reason: Option<&str>) {
        let mut usage = Usage::new(true);
        usage.phases =
            Phases { start: Some(Nanos(MS)), run: Some(Nanos(run * MS)), ..Phases::default() };
        usage.set(Meter::Wall, (run + 1) * MS);
        usage.set(Meter::RefCycles, run * 1_000_000);
        usage.set(Meter::MemoryAllocated, 128 << 20);
        let requested = Nanos(self.at);
        self.at += (run + 1) * MS;
        let outcome = Box::new(Outcome {
            status,
            reason: reason.map(str::to_owned),
            exit_code: None,
            requested,
            ended: Nanos(self.at),
            usage,
            provenances: Arc::new(Provenances::default()),
            output: None,
        });
        self.event(Event::Started { cell, sequence, count: 1 });
        self.event(Event::Finished { cell, sequence, outcome, samples: Vec::new() });
    }

    fn ran(&mut self, cell: usize, sequence: u32, run: u64) {
        self.end(cell, sequence, run, Status::Ok, None);
    }

    fn failed(&mut self, cell: usize, sequence: u32) {
        self.end(cell, sequence, 5, Status::Failed, Some("exit code 7"));
    }

    fn cut(&mut self, cell: usize, sequence: u32) {
        self.end(cell, sequence, 5, Status::Interrupted, Some("the recording was stopped"));
    }
}

/// Returns the sums of everything that the lane ran.
fn bill(snapshot: &LiveSnapshot) -> GroupTotal {
    let bills = snapshot.bills.as_ref().expect("billed");
    bills.group_by(|key| key.lane.to_string()).remove("native").expect("the lane")
}

#[test]
fn bills_are_those_of_a_replay() {
    let mut scene = Scene::new();
    for sequence in 1..=10 {
        scene.ran(0, sequence, 1 + u64::from(sequence));
        scene.ran(1, sequence, 100 + u64::from(sequence));
    }
    let native = bill(&scene.view.build_snapshot());
    // Ten runs of 2 to 11 ms and ten of 101 to 110 ms; Lambda bills start and
    // run, which is 1 ms more each: 3 to 12 and 102 to 111, together 1,140 ms
    // of 128 MiB at $0.0000166667 a GB-second, and 20 requests at $0.0000002.
    assert_eq!(native.invocations, 20);
    assert_eq!(native.models[0].total.to_plain_string(), "0.00000637500475");
    // A million ticks for each millisecond of run.
    let ticks: u64 = (2..=11).chain(101..=110).sum::<u64>() * 1_000_000;
    assert_eq!(native.models[1].charges[0].quantity.to_plain_string(), ticks.to_string());
}

#[test]
fn failures_are_billed_and_what_was_cut_off_is_not() {
    let mut scene = Scene::new();
    scene.ran(0, 1, 2);
    scene.failed(0, 2);
    scene.cut(0, 3);
    let snapshot = scene.view.build_snapshot();
    assert_eq!((snapshot.done, bill(&snapshot).invocations), (3, 2), "as providers do");
    let cell = &snapshot.cells[0];
    assert_eq!((cell.ok, cell.bad, cell.cut), (1, 1, 1));
    assert_eq!(cell.run.map(|run| run.total), Some(1), "times are of what ended well");
}

#[test]
fn what_was_cut_off_did_not_fail() {
    let mut scene = Scene::new();
    let failing = |scene: &mut Scene| scene.view.build_snapshot().lanes[0].failing.clone();
    scene.ran(0, 1, 2);
    scene.cut(0, 2);
    assert_eq!(failing(&mut scene), None);
    scene.failed(0, 3);
    scene.cut(0, 4);
    assert_eq!(failing(&mut scene).as_deref(), Some("exit code 7"), "nor does it end a failure");
    scene.ran(0, 5, 2);
    assert_eq!(failing(&mut scene), None);
}

#[test]
fn a_failure_is_told_once_with_its_count() {
    let mut scene = Scene::new();
    for sequence in 1..=3 {
        scene.failed(0, sequence);
        scene.failed(1, sequence);
    }
    let said: Vec<String> =
        scene.view.build_snapshot().log.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["nop in native, cold: exit code 7 (6 x, also in another cell)"]);
}

#[test]
fn sources_are_those_of_what_ended_well() {
    let mut scene = Scene::new();
    let sources = |scene: &mut Scene| Arc::clone(&scene.view.build_snapshot().cells[0].sources);
    scene.ran(0, 1, 2);
    let before = sources(&mut scene);
    scene.failed(0, 2);
    assert!(Arc::ptr_eq(&before, &sources(&mut scene)));
    scene.ran(0, 3, 2);
    assert!(!Arc::ptr_eq(&before, &sources(&mut scene)), "the newest");
}

#[test]
fn what_was_left_out_is_of_this_recording() {
    let mut scene = Scene::new();
    let dropped = |scene: &mut Scene, events, samples| {
        scene.view.set_dropped(events, samples);
        let snapshot = scene.view.build_snapshot();
        (snapshot.dropped, snapshot.samples_dropped)
    };
    assert_eq!(dropped(&mut scene, 3, 40), (3, 40));
    scene.begin();
    assert_eq!(dropped(&mut scene, 3, 40), (0, 0), "that was the one before");
    assert_eq!(dropped(&mut scene, 5, 41), (2, 1));
}

#[test]
fn other_models_say_when_they_bill_the_newest_only() {
    let mut scene = Scene::new();
    let note = |scene: &mut Scene| {
        scene.view.apply_item(FeedItem::Models(contracts()));
        let snapshot = scene.view.build_snapshot();
        (bill(&snapshot).invocations, snapshot.bills_note)
    };
    (1..=4_096).for_each(|sequence| scene.ran(0, sequence, 1));
    assert_eq!(note(&mut scene), (4_096, None));
    scene.ran(0, 4_097, 1);
    let (native, said) = note(&mut scene);
    assert_eq!(native, 4_096);
    assert!(said.is_some_and(|it| it.starts_with("bills of the newest")));
}

#[test]
fn preparing_is_not_idle() {
    let mut scene = Scene::new();
    scene.event(Event::Preparing { cell: 0 });
    scene.event(Event::Prepared { cell: 0, result: Ok(Prepared::default()) });
    let snapshot = scene.view.build_snapshot();
    let points = snapshot.cells[0].chart.newest_points(0, monotonic_now(), 20, None);
    assert!(points.iter().flatten().any(|point| point.cpu.is_none()), "nobody measured it");
}
