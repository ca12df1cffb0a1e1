//! The screen on recordings in real databases.

use std::sync::Arc;

use ratatui::layout::{Position, Rect};
use rusqlite::Connection;

use super::layout::Layout;
use super::ledger::{self, Carry, Ledger};
use super::reading::next;
use super::recording::Played;
use super::testing::MS;
use super::*;
use crate::lane::{Cancel, Job, Outcome, Sample, StartKind, Status, now};
use crate::meter::{Meter, Phases, Provenances, Source, Usage};
use crate::record::{Event, Sink};
use crate::store::{RecordingHeader, ReplayPlan, Store, Writer};
use crate::tui::action::Effect;
use crate::tui::desk::Desk;
use crate::tui::frame;
use crate::tui::model::{Model, Settings};
use crate::tui::screens::Screen;
use crate::tui::testing::{self as common, press};
use crate::units::{Bytes, Nanos};
use crate::workload::Catalog;

/// A database that is filled event by event.
struct Place {
    folder: tempfile::TempDir,
    writer: Option<Writer>,
    base: Nanos,
    sampled: bool,
    at: u64,
    cells: Vec<Arc<Job>>,
}

impl Place {
    fn new(interval: Option<u64>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("c.db")).expect("made");
        let header = RecordingHeader {
            label: Some("first".to_owned()),
            owner: "x".to_owned(),
            plan: "{}".to_owned(),
            host: "{}".to_owned(),
            sample_interval: interval.map(|it| Nanos(it * MS)),
        };
        let writer = Writer::start(store, &header, Box::new(|_| {})).expect("started");
        let base = now();
        let sampled = interval.is_some();
        Self { folder, writer: Some(writer), base, sampled, at: 0, cells: Vec::new() }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("c.db")
    }

    fn send(&mut self, event: Event) {
        self.writer.as_mut().expect("open").send(event).expect("sent");
    }

    fn lane(&mut self, name: &str, unavailable: Option<&str>) {
        self.send(Event::Lane {
            name: name.to_owned(),
            version: "1".to_owned(),
            note: String::new(),
            unavailable: unavailable.map(str::to_owned),
        });
    }

    fn cell(&mut self, lane: &str, workload: &str, start: StartKind) -> usize {
        let catalog = Catalog::builtin().expect("shipped workloads");
        let workload = Arc::clone(catalog.get(workload).expect("shipped"));
        let preset = Arc::new(workload.preset("quick").expect("shipped").clone());
        let limits = preset.limits;
        let cell = self.cells.len();
        let job = Arc::new(Job { cell, workload, preset, start, limits, cpu: None });
        self.cells.push(Arc::clone(&job));
        self.send(Event::Cell { lane: lane.to_owned(), job });
        cell
    }

    /// Requested at that millisecond: 1 ms to create, 1 ms to start, a run, of
    /// which half is on a CPU, sampled every 10 ms.
    fn ran_at(&mut self, at: u64, cell: usize, sequence: u32, run: u64, failed: Option<&str>) {
        let job = Arc::clone(&self.cells[cell]);
        let mut usage = Usage::new(job.start == StartKind::Cold);
        usage.phases = Phases {
            create: Some(Nanos(MS)),
            start: Some(Nanos(MS)),
            run: Some(Nanos(run * MS)),
            teardown: None,
        };
        usage.set(Meter::Wall, (run + 2) * MS);
        usage.set(Meter::CpuTime, run * MS / 2);
        usage.set(Meter::RefCycles, run * 1_000_000);
        usage.set(Meter::MemoryPeak, 64 << 20);
        usage.set(Meter::MemoryAllocated, Bytes(128 << 20).0);
        let mut sources = Provenances::default();
        sources.set(Meter::CpuTime, Source::Rusage, "");
        sources.set(Meter::RefCycles, Source::PerfMsrTsc, "");
        sources.missing(Meter::Cycles, "this machine shows no hardware counters");
        let requested = Nanos(self.base.0 + at * MS);
        let sample = |step: u64, meter, value| Sample {
            at: Nanos(requested.0 + step * 10 * MS),
            meter,
            value,
        };
        let samples = (1..=if self.sampled { run / 10 } else { 0 })
            .flat_map(|step| {
                let cpu = sample(step, Meter::CpuTime, step * 5 * MS);
                [cpu, sample(step, Meter::MemoryRss, step * (3 << 20))]
            })
            .collect();
        let outcome = Box::new(Outcome {
            status: if failed.is_some() { Status::Failed } else { Status::Ok },
            reason: failed.map(str::to_owned),
            exit_code: Some(0),
            requested,
            ended: Nanos(requested.0 + (run + 2) * MS),
            usage,
            provenances: Arc::new(sources),
            output: None,
        });
        self.send(Event::Finished { cell, sequence, outcome, samples });
        self.at = self.at.max(at + run + 2);
    }

    /// The same right after the one before.
    fn ran(&mut self, cell: usize, sequence: u32, run: u64) {
        self.ran_at(self.at, cell, sequence, run, None);
    }

    /// Ends the recording; the first request becomes the beginning of it.
    fn done(&mut self) {
        self.send(Event::Ended { status: Status::Ok, sampler: None });
        self.writer.take().expect("open").finish().expect("written");
        let connection = Connection::open(self.path()).expect("opened");
        connection
            .execute_batch(
                "UPDATE invocation SET offset_ns = offset_ns - (SELECT MIN(offset_ns) FROM invocation);
                 UPDATE recording SET started_at = '2026-11-21T00:00:00.000Z';",
            )
            .expect("moved");
    }

    fn model(&self, size: (u16, u16)) -> Model {
        let mut model = common::model(size);
        model.settings = Arc::new(Settings {
            database: self.path(),
            prices: crate::pricing::PriceCatalog::builtin(),
            workloads: Vec::new(),
            folder: std::env::temp_dir(),
        });
        model.screen = Screen::Timeline;
        model.opened = Some(1);
        model
    }

    fn desk(model: &Model) -> Desk {
        Desk::new(Arc::clone(&model.settings), Cancel::default())
    }
}

/// Lets the desk answer until nothing is asked any more; how often it was asked.
fn settle(model: &mut Model, effects: Vec<Effect>) -> usize {
    let mut desk = Place::desk(model);
    let mut waiting: std::collections::VecDeque<Effect> = effects.into();
    let mut asked = 0;
    while let Some(effect) = waiting.pop_front() {
        let Effect::Timeline(ask) = effect else { continue };
        asked += 1;
        assert!(asked < 100, "it asks and asks");
        waiting.extend(answered(model, answer(&mut desk, ask)));
    }
    asked
}

fn open(place: &Place, size: (u16, u16)) -> Model {
    let mut model = place.model(size);
    let effects = entered(&mut model);
    settle(&mut model, effects);
    model
}

fn key(model: &mut Model, text: &str) {
    let effects = press(model, text);
    settle(model, effects);
}

/// Three lanes, one of which could not run; 640 ms.
fn story(interval: Option<u64>) -> Place {
    let mut place = Place::new(interval);
    place.lane("native", None);
    place.lane("wasmtime", None);
    place.lane("docker", Some("no Docker engine answers at /var/run/docker.sock"));
    let native = place.cell("native", "nop", StartKind::Cold);
    let native_nbody = place.cell("native", "nbody", StartKind::Cold);
    let warm = place.cell("wasmtime", "nop", StartKind::Warm);
    let nbody = place.cell("wasmtime", "nbody", StartKind::Cold);
    for sequence in 1..=5 {
        place.ran(native, sequence, 8);
    }
    for sequence in 1..=2 {
        place.ran(native_nbody, sequence, 98);
    }
    for sequence in 1..=4 {
        place.ran(warm, sequence, 8);
    }
    place.ran_at(290, nbody, 1, 148, None);
    place.ran_at(440, nbody, 2, 198, Some("exit status 3"));
    place.done();
    place
}

fn position(model: &Model) -> u64 {
    model.timeline.player.position().0 / MS
}

#[test]
fn a_recording_is_read_and_shown_at_its_end() {
    let place = story(Some(10));
    let model = open(&place, (80, 24));
    let state = &model.timeline;
    let played = state.played.as_ref().expect("read");
    assert_eq!((played.rows.len(), played.parts, position(&model)), (13, 1, 640));
    assert_eq!(state.lane, 1, "where the newest is of");
    assert_eq!(state.detail.as_ref().expect("known").reason.as_deref(), Some("exit status 3"));
    assert_eq!(state.bills.as_ref().expect("known").ended, 13);
}

#[test]
fn bills_at_the_end_are_those_of_a_replay_to_the_last_digit() {
    let place = story(Some(10));
    let model = open(&place, (80, 24));
    let played = model.timeline.played.clone().expect("read");
    let store = Store::open(&place.path()).expect("opened");
    let ids: Vec<String> =
        model.settings.prices.models().iter().map(|it| it.id().to_owned()).collect();
    let contracts = ledger::contracts(&model.settings.prices, &ids);
    let cancel = Cancel::default();
    let carry = Carry::default();
    let ledger = Ledger::read(&store, &played, played.key, &ids, &contracts, &carry, &cancel)
        .expect("billed");
    let replayed = store.simulate(&ReplayPlan::of(vec![1], contracts.to_vec())).expect("billed");
    // All shipped models, by lane: totals, decompositions, refusals.
    let by_lane = |key: &crate::replay::Key| Arc::clone(&key.lane);
    assert_eq!(ledger.at(13).by(by_lane), replayed.by(by_lane));
    assert_eq!(ledger.len(), 13);
}

#[test]
fn bills_of_a_moment_are_of_those_that_had_ended() {
    let place = story(Some(10));
    let mut model = open(&place, (80, 24));
    key(&mut model, "g");
    // Five runs of 8 ms end by 50 ms; at 35 ms three have.
    model.timeline.player.seek(Nanos(35 * MS));
    let effects = next(&mut model);
    settle(&mut model, effects);
    let bills = model.timeline.bills.clone().expect("known");
    assert_eq!((bills.ended, bills.at), (3, Nanos(35 * MS)));
    let native = bills.lanes[0].as_ref().expect("billed");
    // 9 ms from the start on x 0.125 GiB x 0.0000166667 + 0.0000002 is
    // 0.0000002187500375: three times that, to five digits.
    assert_eq!(native.totals[0].as_deref(), Ok("0.00000065625"));
    assert_eq!(bills.lanes[1], None, "wasmtime had nothing to bill");
}

/// Ledgers of parts of so many invocations.
fn ledgers(place: &Place, limit: usize, models: &[&str]) -> Vec<(Arc<Played>, Ledger)> {
    let store = Store::open(&place.path()).expect("opened");
    let ids: Vec<String> = models.iter().map(|it| (*it).to_owned()).collect();
    let prices = crate::pricing::PriceCatalog::builtin();
    let contracts = ledger::contracts(&prices, &ids);
    let (mut after, mut carry, mut found) = ((-1, 0), Carry::default(), Vec::new());
    for part in 0.. {
        let played = Played::read(&store, 1, part, after, limit).expect("read");
        let cancel = Cancel::default();
        let ledger = Ledger::read(&store, &played, played.key, &ids, &contracts, &carry, &cancel)
            .expect("billed");
        carry = ledger.carry();
        let next = played.next_after();
        found.push((Arc::new(played), ledger));
        match next {
            Some(next) => after = next,
            None => break,
        }
    }
    found
}

#[test]
fn parts_carry_bills_on_exactly() {
    let place = story(None);
    let whole = ledgers(&place, 1_000, &["aws-lambda-x86", "per-cycle"]);
    let parts = ledgers(&place, 4, &["aws-lambda-x86", "per-cycle"]);
    assert_eq!(parts.iter().map(|(it, _)| it.rows.len()).collect::<Vec<_>>(), [4, 4, 4, 1]);
    assert_eq!(parts[2].0.parts, 4);
    for (part, (_, ledger)) in parts.iter().enumerate() {
        for ended in 0..=ledger.len() {
            assert_eq!(ledger.at(ended), whole[0].1.at(part * 4 + ended), "{part} {ended}");
        }
    }
}

/// The shipped models that bill by instance.
fn by_instance() -> Vec<&'static str> {
    let all = crate::pricing::builtin().iter();
    all.filter(|model| model.by_instance()).map(crate::pricing::PriceModel::id).collect()
}

#[test]
fn overlapping_requests_on_one_instance_are_billed_together_at_any_moment() {
    let mut place = Place::new(None);
    place.lane("wasmtime", None);
    let cell = place.cell("wasmtime", "nop", StartKind::Warm);
    // 0-102 holds two short ones; 40-62 overlaps the second of them; 200 is
    // apart. Ends: 12, 52, 62, 102, 212.
    for (sequence, (at, run)) in
        [(0, 100), (2, 8), (32, 18), (40, 20), (200, 10)].iter().enumerate()
    {
        let sequence = u32::try_from(sequence).expect("small");
        place.ran_at(*at, cell, sequence, *run, None);
    }
    place.done();
    let models = by_instance();
    assert!(!models.is_empty(), "no shipped model bills by instance");
    let store = Store::open(&place.path()).expect("opened");
    assert_eq!(store.tangles(1, i64::MAX).expect("read")[0].invocations, [1, 2, 3, 4]);
    for limit in [1, 2, 1_000] {
        let found = ledgers(&place, limit, &models);
        let mut before = 0;
        for (played, ledger) in &found {
            for ended in 0..=ledger.len() {
                let moment = match ended.checked_sub(1) {
                    Some(last) => played.rows[last].end,
                    None => played.begin,
                };
                assert_eq!(
                    ledger.at(ended),
                    replayed(&place, &models, moment),
                    "{limit} {before} {ended}"
                );
            }
            before += ledger.len();
        }
    }
}

/// What had ended by a moment, replayed in the order of requests.
fn replayed(place: &Place, models: &[&str], at: Nanos) -> crate::replay::Summary {
    use crate::replay::{Key, Replayer, WhatIf};
    let store = Store::open(&place.path()).expect("opened");
    let ids: Vec<String> = models.iter().map(|it| (*it).to_owned()).collect();
    let contracts = ledger::contracts(&crate::pricing::PriceCatalog::builtin(), &ids);
    let mut rows = Vec::new();
    let selection = crate::store::Selection { recordings: vec![1], ..Default::default() };
    store
        .each_invocation(&selection, |row| {
            rows.push(row);
            Ok::<(), crate::store::StoreError>(())
        })
        .expect("read");
    rows.retain(|row| row.offset.0 + row.usage.get(Meter::Wall).expect("measured") <= at.0);
    rows.sort_by_key(|row| (row.offset, row.invocation));
    let mut replayer = Replayer::new(contracts, WhatIf::default());
    for mut row in rows {
        row.key = Key { workload: "".into(), preset: "".into(), ..row.key };
        replayer.push_row(&row);
    }
    replayer.finish()
}

#[test]
fn many_invocations_have_checkpoints_that_agree_with_replays() {
    let mut place = Place::new(None);
    place.lane("native", None);
    let cell = place.cell("native", "nop", StartKind::Cold);
    for sequence in 0..2_100_u64 {
        let run = 1 + sequence % 7;
        place.ran(cell, u32::try_from(sequence).expect("small"), run);
    }
    place.done();
    let models = ["aws-lambda-x86", "per-cycle"];
    let found = ledgers(&place, 1_000_000, &models);
    let (played, ledger) = &found[0];
    for ended in [0_usize, 1, 1_023, 1_024, 1_025, 2_048, 2_099, 2_100] {
        let at = ended.checked_sub(1).map_or(Nanos(0), |last| played.rows[last].end);
        assert_eq!(ledger.at(ended), replayed(&place, &models, at), "{ended}");
    }
}

#[test]
fn keys_move_through_time() {
    let place = story(Some(10));
    let mut model = open(&place, (80, 24));
    key(&mut model, "left");
    assert_eq!(position(&model), 608, "a twentieth of 640 ms");
    key(&mut model, "g");
    assert_eq!(position(&model), 0);
    key(&mut model, "left");
    assert_eq!(model.notice().expect("said").text, "this is the beginning");
    key(&mut model, "n");
    assert_eq!(position(&model), 260, "the first warm one of wasmtime");
}

#[test]
fn neighbours_are_of_the_selected_lane() {
    let place = story(Some(10));
    let mut model = open(&place, (80, 24));
    // Around: wasmtime, docker, native.
    key(&mut model, "tab");
    assert_eq!(model.timeline.lane, 2);
    key(&mut model, "p");
    assert_eq!(model.notice().expect("said").text, "docker has no earlier invocation");
    key(&mut model, "tab");
    let ends: Vec<u64> = (0..3)
        .map(|_| {
            key(&mut model, "p");
            position(&model)
        })
        .collect();
    assert_eq!(ends, [250, 150, 50]);
    let played = model.timeline.played.clone().expect("read");
    let under = played.under(0, model.timeline.player.position()).expect("there");
    assert_eq!((under.sequence, under.cell), (5, 0), "the one that ended here, not the next");
    assert_eq!(model.timeline.detail.as_ref().expect("known").sequence, 5);
}

#[test]
fn playing_goes_on_with_time_and_stops_at_the_end() {
    let place = story(Some(10));
    let mut model = open(&place, (80, 24));
    key(&mut model, "space");
    assert_eq!((position(&model), model.timeline.player.playing()), (0, true));
    let tick = |model: &mut Model, ms: u64| {
        let now = Nanos(model.now.0 + ms * MS);
        let effects = crate::tui::update::tick(model, now);
        settle(model, effects);
    };
    tick(&mut model, 100);
    assert_eq!(position(&model), 100);
    key(&mut model, ">");
    tick(&mut model, 100);
    assert_eq!(position(&model), 300, "twice as fast");
    assert_eq!(model.timeline.bills.as_ref().expect("known").at, Nanos(300 * MS));
    tick(&mut model, 1_000);
    assert_eq!((position(&model), model.timeline.player.playing()), (640, false));
    let quiet = crate::tui::update::tick(&mut model, Nanos(u64::MAX / 2));
    assert!(quiet.is_empty(), "nothing is left to be asked");
}

#[test]
fn one_question_of_a_kind_at_a_time_and_old_answers_do_no_harm() {
    let place = story(Some(10));
    let mut model = open(&place, (80, 24));
    let mut desk = Place::desk(&model);
    let first = press(&mut model, "g");
    assert_eq!(first.len(), 1, "bills; nothing is under the cursor but what is known");
    let second = press(&mut model, "G");
    assert!(second.is_empty(), "the desk is busy");
    let Some(Effect::Timeline(ask)) = first.into_iter().next() else { panic!("a question") };
    let again = answered(&mut model, answer(&mut desk, ask));
    assert_eq!(model.timeline.bills.as_ref().expect("known").ended, 0, "and says so");
    assert_eq!(again.len(), 1, "those of the end are asked for now");
    settle(&mut model, again);
    assert_eq!(model.timeline.bills.as_ref().expect("known").ended, 13);
    // A part of a recording that is not wanted any more.
    model.opened = None;
    let effects = entered(&mut model);
    assert!(effects.is_empty() && model.timeline.played.is_none());
    let played = Played::read(&Store::open(&place.path()).expect("opened"), 1, 0, (-1, 0), 10);
    let late =
        Answer::Loaded { recording: 1, part: 0, result: Ok(Arc::new(played.expect("read"))) };
    assert!(answered(&mut model, late).is_empty() && model.timeline.played.is_none());
}

#[test]
fn going_on_past_an_end_reads_the_next_part() {
    let place = story(None);
    let mut model = place.model((80, 24));
    model.timeline.limit = Some(5);
    let effects = entered(&mut model);
    settle(&mut model, effects);
    let part = |model: &Model| {
        let played = model.timeline.played.as_ref().expect("read");
        (played.part, played.parts, position(model))
    };
    assert_eq!(part(&model), (0, 3, 50));
    key(&mut model, "right");
    assert_eq!(part(&model), (1, 3, 50));
    key(&mut model, "G");
    assert_eq!(part(&model), (1, 3, 280), "three of the warm ones are in it");
    key(&mut model, "G");
    key(&mut model, "G");
    assert_eq!(part(&model), (2, 3, 640));
    key(&mut model, "G");
    assert_eq!(model.notice().expect("said").text, "this is the end");
    let bills = model.timeline.bills.clone().expect("known");
    let all: u64 = bills.lanes.iter().flatten().map(|it| it.invocations).sum();
    assert_eq!(all, 13, "those of the parts before are in it");
    key(&mut model, "g");
    key(&mut model, "left");
    assert_eq!(part(&model), (1, 3, 280));
    assert_eq!(model.timeline.bills.as_ref().expect("known").lanes, {
        let ledgers = ledgers(&place, 5, &["aws-lambda-x86", "per-cycle"]);
        let (played, ledger) = &ledgers[1];
        BillsAt::of(&ledger.at(5), played, 5, Nanos(280 * MS)).lanes
    });
}

#[test]
fn a_recording_that_grows_is_read_again_at_its_end_only() {
    let mut place = Place::new(None);
    place.lane("native", None);
    let cell = place.cell("native", "nop", StartKind::Cold);
    place.ran(cell, 1, 8);
    place.writer.as_mut().expect("open").settle().expect("written");
    let mut model = place.model((80, 24));
    let effects = entered(&mut model);
    settle(&mut model, effects);
    assert_eq!(model.timeline.played.as_ref().expect("read").rows.len(), 1);
    place.ran(cell, 2, 8);
    place.writer.as_mut().expect("open").settle().expect("written");
    let mut snapshot =
        crate::tui::live::Snapshot { recording: Some(1), done: 2, ..Default::default() };
    snapshot.phase = crate::tui::live::Phase::Running;
    model.snapshot = Arc::new(snapshot);
    let soon = Nanos(model.now.0 + 1_000 * MS);
    let effects = crate::tui::update::tick(&mut model, soon);
    assert!(effects.is_empty(), "at most every 2 s");
    let later = Nanos(model.now.0 + 1_000 * MS);
    let effects = crate::tui::update::tick(&mut model, later);
    settle(&mut model, effects);
    let rows = |model: &Model| model.timeline.played.as_ref().expect("read").rows.len();
    assert_eq!(rows(&model), 2);
    assert!(model.timeline.player.at_end(), "the end is followed");
    key(&mut model, "g");
    let effects = crate::tui::update::tick(&mut model, Nanos(later.0 * 2));
    assert!(effects.is_empty(), "it did not grow");
}

#[test]
fn two_invocations_are_compared_meter_by_meter() {
    let place = story(Some(10));
    let mut model = open(&place, (80, 24));
    key(&mut model, "b");
    assert_eq!(model.notice().expect("said").text, "mark one invocation first: a");
    key(&mut model, "p");
    // The first nbody of wasmtime: 148 ms.
    key(&mut model, "a");
    key(&mut model, "b");
    assert!(model.notice().expect("said").bad, "it is the marked one itself");
    key(&mut model, "G");
    key(&mut model, "b");
    let Some(Over::Pair { answer: Some(Ok(pair)), .. }) = &model.timeline.over else {
        panic!("an overlay")
    };
    let row = |name: &str| pair.rows.iter().find(|row| row.name == name).expect("there");
    assert_eq!(row("run").cells, ["148 ms", "198 ms", "+50.0 ms", "1.34x"]);
    assert_eq!(row("cpu_time").cells, ["74.0 ms", "99.0 ms", "+25.0 ms", "1.34x"]);
    assert_eq!(
        row("cycles").reason.as_deref(),
        Some(
            "a in wasmtime: this machine shows no hardware counters; b in wasmtime: this machine \
             shows no hardware counters"
        )
    );
    key(&mut model, "esc");
    assert!(model.timeline.over.is_none());
}

#[test]
fn two_lanes_are_compared_where_both_ran_the_same() {
    let place = story(Some(10));
    let mut model = open(&place, (80, 24));
    key(&mut model, "o");
    let Some(Over::Lanes { what, answer: Some(Ok(spread)) }) = &model.timeline.over else {
        panic!("an overlay")
    };
    assert_eq!((what.lanes, &*what.workload, &*what.start), ([1, 0], "nbody", "cold"));
    // One that ended well, of 148 ms; and two of 98 ms.
    assert_eq!([spread.lanes[0].count, spread.lanes[1].count], [1, 2]);
    assert_eq!(spread.lanes[0].times[2], Some([148 * MS; 3]));
    assert_eq!(spread.lanes[1].times[4], Some([49 * MS; 3]));
    assert_eq!((spread.span, spread.lanes[1].sampled), (150 * MS, 2));
    // After its end it stays as it was.
    assert_eq!(spread.lanes[1].curve.last(), Some(&[49 * MS; 3]));
    key(&mut model, "esc");
    key(&mut model, "g");
    model.timeline.lane = 1;
    model.timeline.player.seek(Nanos(255 * MS));
    let effects = next(&mut model);
    settle(&mut model, effects);
    key(&mut model, "o");
    assert_eq!(
        model.notice().expect("said").text,
        "no other lane ran what wasmtime nop warm #1 is of"
    );
}

#[test]
fn a_click_goes_to_its_moment_and_lane() {
    let place = story(Some(10));
    let mut model = open(&place, (80, 24));
    let body = frame::parts(Rect::new(0, 0, 80, 24)).body;
    let played = model.timeline.played.clone().expect("read");
    let layout = Layout::new(body, &model, &played);
    let (_, first) = layout.tracks[0];
    // Columns 0 to 63 are 10 ms each.
    assert_eq!(layout.in_sight(&model).width, 64);
    let x = first.x + layout.gutter;
    click(&mut model, body, Position::new(x + 10, first.y));
    assert_eq!((position(&model), model.timeline.lane), (105, 0));
    click(&mut model, body, Position::new(x + 30, layout.axis.y));
    assert_eq!((position(&model), model.timeline.lane), (305, 0));
    click(&mut model, body, Position::new(0, 0));
    assert_eq!(position(&model), 305);
}

#[test]
fn the_table_has_what_had_ended() {
    let place = story(Some(10));
    let mut model = open(&place, (80, 24));
    let lines = |model: &Model| {
        let mut out = Vec::new();
        table(model).print(crate::report::Format::Csv, &mut out).expect("written");
        String::from_utf8(out).expect("text").lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&model).len(), 14);
    model.timeline.player.seek(Nanos(10 * MS));
    let lines = lines(&model);
    assert_eq!(lines.len(), 2);
    assert_eq!(
        lines[0],
        "lane,workload,start,sequence,status,offset_ns,create_ns,start_ns,run_ns,cpu_ns,cycles,\
         ref_cycles,memory_peak_bytes"
    );
    assert_eq!(
        lines[1],
        "native,nop,cold,1,ok,0,1000000,1000000,8000000,4000000,,8000000,67108864"
    );
}

#[test]
fn a_database_that_is_gone_is_a_sentence() {
    let mut model = story(None).model((80, 24));
    let effects = entered(&mut model);
    settle(&mut model, effects);
    assert!(model.timeline.error.is_some());
    insta::assert_snapshot!("failing_80", without_path(&common::text(&model)));
}

/// A temporary folder has another name each time.
fn without_path(text: &str) -> String {
    let words = text.split_inclusive(' ');
    words.map(|word| if word.contains("/tmp") { "<path> " } else { word }).collect()
}

#[test]
fn pictures() {
    for size in common::SIZES {
        let name = |what: &str| format!("{what}_{}", size.0);
        let mut model = common::model(size);
        model.screen = Screen::Timeline;
        insta::assert_snapshot!(name("empty"), common::text(&model));
        let place = story(Some(10));
        let mut model = place.model(size);
        let effects = entered(&mut model);
        insta::assert_snapshot!(name("loading"), common::text(&model));
        settle(&mut model, effects);
        insta::assert_snapshot!(name("end"), common::text(&model));
        model.timeline.player.seek(Nanos(340 * MS));
        insta::assert_snapshot!(name("seeking"), common::text(&model));
        let effects = next(&mut model);
        settle(&mut model, effects);
        insta::assert_snapshot!(name("middle"), common::text(&model));
        key(&mut model, "p");
        key(&mut model, "]");
        key(&mut model, "a");
        key(&mut model, "tab");
        key(&mut model, "tab");
        key(&mut model, "b");
        model.notice = None;
        insta::assert_snapshot!(name("pair"), common::text(&model));
        key(&mut model, "esc");
        key(&mut model, "o");
        insta::assert_snapshot!(name("lanes"), common::text(&model));
        key(&mut model, "esc");
        key(&mut model, "enter");
        insta::assert_snapshot!(name("enter"), common::text(&model));
    }
}

#[test]
fn pictures_without_samples_and_of_many() {
    for size in common::SIZES {
        let name = |what: &str| format!("{what}_{}", size.0);
        let place = story(None);
        let mut model = open(&place, size);
        insta::assert_snapshot!(name("unsampled"), common::text(&model));
        key(&mut model, "o");
        insta::assert_snapshot!(name("unsampled_lanes"), common::text(&model));
        let mut place = Place::new(Some(10));
        place.lane("native", None);
        let cell = place.cell("native", "nop", StartKind::Cold);
        for sequence in 0..3_000_u64 {
            let number = u32::try_from(sequence).expect("small");
            let failed = (sequence == 2_000).then_some("exit status 1");
            let gap = if sequence % 300 == 0 { sequence } else { 0 };
            place.ran_at(place.at + gap, cell, number, 1 + sequence % 5, failed);
        }
        place.done();
        let mut model = open(&place, size);
        model.theme = crate::tui::theme::Theme::new(crate::tui::theme::Palette::Mono, true);
        insta::assert_snapshot!(name("many_ascii"), common::text(&model));
        let mut place = Place::new(Some(10));
        place.lane("docker", Some("no Docker engine answers"));
        place.done();
        let model = open(&place, size);
        insta::assert_snapshot!(name("nothing_ran"), common::text(&model));
    }
}

#[test]
fn nothing_panics_at_any_size() {
    let place = story(Some(10));
    let mut model = open(&place, (80, 24));
    for over in ["", "o", "b"] {
        if over == "b" {
            key(&mut model, "a");
            key(&mut model, "p");
        }
        if !over.is_empty() {
            key(&mut model, over);
        }
        for width in (1..100).step_by(9).chain([60, 61, 200, 300]) {
            for height in (1..40).step_by(3).chain([16, 24, 100]) {
                model.size = (width, height);
                common::text(&model);
                next(&mut model);
                common::text(&model);
            }
        }
        key(&mut model, "esc");
    }
}

#[test]
fn colours_say_what_signs_say_too() {
    use crate::tui::theme::{Palette, Theme};
    use ratatui::style::Color;
    let place = story(Some(10));
    let mut model = open(&place, (80, 24));
    model.theme = Theme::new(Palette::Terminal, false);
    let played = model.timeline.played.clone().expect("read");
    let body = frame::parts(Rect::new(0, 0, 80, 24)).body;
    let layout = Layout::new(body, &model, &played);
    let x = layout.axis.x + layout.gutter;
    let (_, wasmtime) = layout.tracks[1];
    model.timeline.player.seek(Nanos(600 * MS));
    let buffer = common::buffer(&model);
    let cell = &buffer[(x + 30, wasmtime.y)];
    assert_eq!((cell.symbol(), cell.fg), ("━", Color::Green), "the colour of the second lane");
    let later = &buffer[(x + 62, wasmtime.y)];
    assert_eq!((later.symbol(), later.fg), ("·", Color::DarkGray), "still to come");
    let cursor = &buffer[(x + 60, wasmtime.y)];
    assert_eq!((cursor.symbol(), cursor.fg), ("│", Color::Cyan));
}

#[test]
fn memory_and_ceilings_have_round_edges() {
    // Samples of 98 ms reach 9 x 3 MiB, those of 198 ms 19 x 3: 57 MiB.
    let place = story(Some(10));
    let model = open(&place, (200, 60));
    let text = common::text(&model);
    assert!(text.contains("mem 57.0 MiB"), "{text}");
    assert!(text.contains("top 128 MiB"), "of what is allocated: {text}");
}

#[test]
fn the_smallest_terminal_has_all_three_panels() {
    let place = story(Some(10));
    let mut model = open(&place, (60, 16));
    insta::assert_snapshot!("end_60", common::text(&model));
    key(&mut model, "o");
    insta::assert_snapshot!("lanes_60", common::text(&model));
}

#[test]
fn what_came_late_into_an_earlier_part_is_not_lost() {
    let place = story(None);
    let mut model = place.model((80, 24));
    model.timeline.limit = Some(5);
    let effects = entered(&mut model);
    settle(&mut model, effects);
    let effects = press(&mut model, "right");
    // Meanwhile one more was handed in that ended at 4 ms, in the first part.
    let connection = Connection::open(place.path()).expect("opened");
    let late = "INSERT INTO invocation (cell_id, sequence, status, offset_ns, wall_ns)
                VALUES (1, 9, 'ok', 1000000, 3000000)";
    connection.execute_batch(late).expect("inserted");
    settle(&mut model, effects);
    let played = model.timeline.played.clone().expect("read");
    assert_eq!((played.part, played.rows[0].sequence), (0, 9), "from the start again");
    key(&mut model, "G");
    key(&mut model, "G");
    key(&mut model, "G");
    key(&mut model, "G");
    key(&mut model, "G");
    let bills = model.timeline.bills.clone().expect("known");
    let all: u64 = bills.lanes.iter().flatten().map(|it| it.invocations).sum();
    assert_eq!((all, position(&model)), (14, 640));
}
