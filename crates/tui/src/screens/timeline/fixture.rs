//! Recordings in real databases, for tests.

use std::sync::Arc;

use rusqlite::Connection;

use super::queries::{answer, contracts_for_models};
use super::testing::MS;
use super::*;
use crate::action::Effect;
use crate::model::{Model, TuiSettings};
use crate::query_worker::QueryContext;
use crate::screens::ScreenId;
use crate::screens::ScreenRequest;
use crate::testing::{self as common, press};
use cyclometer_core::units::Nanos;
use cyclometer_lanes::{Cancel, Job, Sample, StartKind, Status, monotonic_now};
use cyclometer_meter::Meter;
use cyclometer_record::{Event, Sink};
use cyclometer_store::{PlayedPart, Store, Writer};
use cyclometer_workload::{Catalog, RecordingHeader};

/// Database that is filled event by event.
pub(crate) struct TimelineFixture {
    pub folder: tempfile::TempDir,
    pub writer: Option<Writer>,
    pub base: Nanos,
    pub sampled: bool,
    pub at: u64,
    pub cells: Vec<Arc<Job>>,
}

impl TimelineFixture {
    pub fn new(interval: Option<u64>) -> Self {
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
        let base = monotonic_now();
        let sampled = interval.is_some();
        Self { folder, writer: Some(writer), base, sampled, at: 0, cells: Vec::new() }
    }

    pub fn database_path(&self) -> std::path::PathBuf {
        self.folder.path().join("c.db")
    }

    pub fn send_event(&mut self, event: Event) {
        self.writer.as_mut().expect("open").send_event(event).expect("sent");
    }

    pub fn add_lane(&mut self, name: &str, unavailable: Option<&str>) {
        self.send_event(Event::Lane {
            name: name.to_owned(),
            version: "1".to_owned(),
            note: String::new(),
            unavailable: unavailable.map(str::to_owned),
        });
    }

    pub fn add_cell(&mut self, lane: &str, workload: &str, start: StartKind) -> usize {
        let catalog = Catalog::load_builtin().expect("shipped workloads");
        let cell = self.cells.len();
        let job = common::job(&catalog, cell, workload, start);
        self.cells.push(Arc::clone(&job));
        self.send_event(Event::Cell { lane: lane.to_owned(), job });
        cell
    }

    /// Adds an invocation that was requested at millisecond `at`: 1 ms to create, 1 ms
    /// to start, and a run of which half is on a CPU, sampled every 10 ms.
    pub(crate) fn add_invocation_at(
        &mut self,
        at: u64,
        cell: usize,
        sequence: u32,
        run: u64,
        failed: Option<&str>,
    ) {
        let requested = Nanos(self.base.0 + at * MS);
        let status = if failed.is_some() { Status::Failed } else { Status::Ok };
        let reason = failed.map(str::to_owned);
        let outcome = common::outcome(&self.cells[cell], requested, run, status, reason);
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
        let outcome = Box::new(outcome);
        self.send_event(Event::Finished { cell, sequence, outcome, samples });
        self.at = self.at.max(at + run + 2);
    }

    /// Adds a successful invocation right after the one before.
    pub fn add_invocation(&mut self, cell: usize, sequence: u32, run: u64) {
        self.add_invocation_at(self.at, cell, sequence, run, None);
    }

    /// Ends the recording; its beginning is moved to the first request.
    pub(crate) fn finish_recording(&mut self) {
        self.send_event(Event::Ended { status: Status::Ok, sampler: None });
        self.writer.take().expect("open").finish().expect("written");
        let connection = Connection::open(self.database_path()).expect("opened");
        connection
            .execute_batch(
                "UPDATE invocation SET offset_ns = offset_ns - (SELECT MIN(offset_ns) FROM invocation);
                 UPDATE recording SET started_at = '2026-11-21T00:00:00.000Z';",
            )
            .expect("moved");
    }

    pub(crate) fn new_model(&self, size: (u16, u16)) -> Model {
        let mut model = common::model(size);
        model.settings = Arc::new(TuiSettings {
            database: self.database_path(),
            prices: cyclometer_pricing::PriceCatalog::with_builtin_models(),
            folder: std::env::temp_dir(),
        });
        model.screen = ScreenId::Timeline;
        model.opened = Some(1);
        model
    }

    pub(crate) fn query_worker(model: &Model) -> QueryContext {
        QueryContext::new(Arc::clone(&model.settings), Cancel::default())
    }
}

/// Answers requests until no new one follows; returns the number of requests.
pub(crate) fn answer_all_requests(model: &mut Model, effects: Vec<Effect>) -> usize {
    let mut context = TimelineFixture::query_worker(model);
    let mut waiting: std::collections::VecDeque<Effect> = effects.into();
    let mut asked = 0;
    while let Some(effect) = waiting.pop_front() {
        let Effect::Query(ScreenRequest::Timeline(ask)) = effect else { continue };
        asked += 1;
        assert!(asked < 100, "it asks and asks");
        waiting.extend(TimelineState::answered(model, answer(&mut context, ask)));
    }
    crate::frame::lay_out(model);
    asked
}

pub(crate) fn open_screen(place: &TimelineFixture, size: (u16, u16)) -> Model {
    let mut model = place.new_model(size);
    let effects = TimelineState::entered(&mut model);
    answer_all_requests(&mut model, effects);
    model
}

pub(crate) fn press_and_settle(model: &mut Model, text: &str) {
    let effects = press(model, text);
    answer_all_requests(model, effects);
}

/// Records three lanes, one of which could not run, in 640 ms.
pub(crate) fn record_three_lanes(interval: Option<u64>) -> TimelineFixture {
    let mut place = TimelineFixture::new(interval);
    place.add_lane("native", None);
    place.add_lane("wasmtime", None);
    place.add_lane("docker", Some("no Docker engine answers at /var/run/docker.sock"));
    let native = place.add_cell("native", "nop", StartKind::Cold);
    let native_nbody = place.add_cell("native", "nbody", StartKind::Cold);
    let warm = place.add_cell("wasmtime", "nop", StartKind::Warm);
    let nbody = place.add_cell("wasmtime", "nbody", StartKind::Cold);
    for sequence in 1..=5 {
        place.add_invocation(native, sequence, 8);
    }
    for sequence in 1..=2 {
        place.add_invocation(native_nbody, sequence, 98);
    }
    for sequence in 1..=4 {
        place.add_invocation(warm, sequence, 8);
    }
    place.add_invocation_at(290, nbody, 1, 148, None);
    place.add_invocation_at(440, nbody, 2, 198, Some("exit status 3"));
    place.finish_recording();
    place
}

pub(crate) fn position_ms(model: &Model) -> u64 {
    model.screens.timeline.player.position().0 / MS
}

/// Reads all parts of at most `limit` invocations with their bills.
pub(crate) fn read_all_checkpoints(
    place: &TimelineFixture,
    limit: usize,
    models: &[&str],
) -> Vec<(Arc<PlayedPart>, PartBills)> {
    let store = Store::open(&place.database_path()).expect("opened");
    let ids: Vec<String> = models.iter().map(|it| (*it).to_owned()).collect();
    let prices = cyclometer_pricing::PriceCatalog::with_builtin_models();
    let contracts = contracts_for_models(&prices, &ids);
    let (mut after, mut carry, mut found) = ((-1, 0), CarriedBills::default(), Vec::new());
    for part in 0.. {
        let played = PlayedPart::from_store(&store, 1, part, after, limit).expect("read");
        let cancel = Cancel::default();
        let ledger =
            PartBills::from_store(&store, &played, played.key, &ids, &contracts, &carry, &cancel)
                .expect("billed");
        carry = ledger.carry_over();
        let next = played.next_after();
        found.push((Arc::new(played), ledger));
        match next {
            Some(next) => after = next,
            None => break,
        }
    }
    found
}

/// Replaces paths in the temporary folder, whose name differs in each run.
pub fn without_path(text: &str) -> String {
    let words = text.split_inclusive(' ');
    words.map(|word| if word.contains("/tmp") { "<path> " } else { word }).collect()
}
