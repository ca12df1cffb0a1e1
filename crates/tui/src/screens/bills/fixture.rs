//! A recording whose amounts can be computed by hand, and a query worker for it.

use std::path::Path;
use std::sync::Arc;

use super::queries::answer;
use super::*;
use crate::model::TuiSettings;
use crate::query_worker::QueryContext;
use crate::screens::{ScreenRequest, ScreenResponse};
use crate::testing::{self, press};
use crate::update::{AppMessage, update};
use cyclometer_lanes::{Cancel, Job, Outcome, Status};
use cyclometer_meter::{Meter, Phases, Provenances, Source as MeterSource, Usage};
use cyclometer_record::{Event, Sink};
use cyclometer_store::{Store, Writer};
use cyclometer_workload::{Catalog, RecordingHeader};

pub(super) const MS: u64 = 1_000_000;
pub(super) const MIB: u64 = 1 << 20;

/// Resources that an invocation used.
#[derive(Clone, Copy)]
pub(super) struct UsedResources {
    pub(super) start_ms: u64,
    pub(super) run_ms: u64,
    pub(super) cpu_ms: u64,
    pub(super) peak_mib: u64,
    pub(super) allocated_mib: u64,
    pub(super) ops: Option<u64>,
}

/// Script of a recording that is written event by event.
pub(super) struct RecordingScript {
    pub(super) events: Vec<Event>,
    jobs: Vec<Arc<Job>>,
    pub(super) at: u64,
}

impl RecordingScript {
    pub(super) fn new() -> Self {
        Self { events: Vec::new(), jobs: Vec::new(), at: 0 }
    }

    pub(super) fn add_lane(&mut self, name: &str, unavailable: Option<&str>) {
        self.events.push(Event::Lane {
            name: name.to_owned(),
            version: String::new(),
            note: String::new(),
            unavailable: unavailable.map(str::to_owned),
        });
    }

    pub(super) fn add_cell(&mut self, lane: &str, workload: &str, start: StartKind) -> usize {
        let catalog = Catalog::load_builtin().expect("shipped workloads");
        let workload = Arc::clone(catalog.get(workload).expect("shipped"));
        let preset = Arc::new(workload.find_preset("quick").expect("shipped").clone());
        let limits = preset.limits;
        let cell = self.jobs.len();
        let job = Arc::new(Job { limits, ..Job::new(cell, workload, preset, start) });
        self.jobs.push(Arc::clone(&job));
        self.events.push(Event::Cell { lane: lane.to_owned(), job });
        cell
    }

    pub(super) fn add_invocation(&mut self, cell: usize, sequence: u32, used: UsedResources) {
        let start = self.jobs[cell].start;
        let mut usage = Usage::new(start == StartKind::Cold);
        usage.phases = Phases {
            create: None,
            start: Some(cyclometer_core::units::Nanos(used.start_ms * MS)),
            run: Some(cyclometer_core::units::Nanos(used.run_ms * MS)),
            ..Phases::default()
        };
        let wall = used.start_ms + used.run_ms;
        usage.set(Meter::Wall, wall * MS);
        usage.set(Meter::CpuTime, used.cpu_ms * MS);
        usage.set(Meter::CpuStartup, used.start_ms.min(used.cpu_ms) * MS);
        usage.set(Meter::RefCycles, used.cpu_ms * 2_000_000);
        usage.set(Meter::MemoryPeak, used.peak_mib * MIB);
        usage.set(Meter::MemoryAllocated, used.allocated_mib * MIB);
        if let Some(ops) = used.ops {
            usage.set(Meter::WasmOps, ops);
        }
        let mut sources = Provenances::default();
        sources.set_source(Meter::Wall, MeterSource::Clock, "");
        let requested =
            cyclometer_core::units::Nanos(cyclometer_lanes::monotonic_now().0 + self.at);
        self.at += wall * MS;
        let outcome = Box::new(Outcome {
            status: Status::Ok,
            reason: None,
            exit_code: Some(0),
            requested,
            ended: cyclometer_core::units::Nanos(requested.0 + wall * MS),
            usage,
            provenances: Arc::new(sources),
            output: None,
        });
        self.events.push(Event::Finished { cell, sequence, outcome, samples: Vec::new() });
    }

    /// Writes all events to a database; returns the number of the recording.
    pub(super) fn write(self, database: &Path) -> i64 {
        let store = Store::open(database).expect("a database");
        let header = RecordingHeader {
            label: None,
            owner: String::new(),
            plan: "{}".to_owned(),
            host: "{}".to_owned(),
            sample_interval: None,
        };
        let mut writer = Writer::start(store, &header, Box::new(|_| ())).expect("a writer");
        let recording = writer.recording();
        for event in self.events {
            writer.send_event(event).expect("written");
        }
        writer.finish().expect("all written");
        recording
    }
}

/// Returns a script of three lanes, one of which cannot run. `native` has four cold
/// runs of nbody: 120 ms, 60 ms of CPU, 64 MiB of 1 GiB touched. `wasmtime` has two
/// cold runs of nbody and two warm ones of nop, of other lengths.
pub(super) fn three_lane_script() -> RecordingScript {
    let mut script = RecordingScript::new();
    script.add_lane("native", None);
    script.add_lane("wasmtime", None);
    script.add_lane("docker", Some("no Docker engine answers at /var/run/docker.sock"));
    let native = script.add_cell("native", "nbody", StartKind::Cold);
    let cold = script.add_cell("wasmtime", "nbody", StartKind::Cold);
    let warm = script.add_cell("wasmtime", "nop", StartKind::Warm);
    script.add_cell("docker", "nbody", StartKind::Cold);
    let used = UsedResources {
        start_ms: 0,
        run_ms: 120,
        cpu_ms: 60,
        peak_mib: 64,
        allocated_mib: 1_024,
        ops: None,
    };
    for sequence in 1..=4 {
        script.add_invocation(native, sequence, used);
    }
    let longer = UsedResources { start_ms: 30, run_ms: 150, cpu_ms: 170, peak_mib: 201, ..used };
    for sequence in 1..=2 {
        script.add_invocation(cold, sequence, UsedResources { ops: Some(670_000_000), ..longer });
        let nop = UsedResources {
            start_ms: 0,
            run_ms: 3,
            cpu_ms: 3,
            peak_mib: 16,
            ops: Some(15),
            ..used
        };
        script.add_invocation(warm, sequence, nop);
    }
    script
}

pub(super) fn worker_for_folder(folder: &Path) -> QueryContext {
    let settings = TuiSettings {
        database: folder.join("c.db"),
        prices: cyclometer_pricing::PriceCatalog::with_builtin_models(),
        folder: folder.to_owned(),
    };
    QueryContext::new(Arc::new(settings), Cancel::default())
}

/// Returns the model with an open recording, before anything was requested.
pub(super) fn model_with_recording(size: (u16, u16), recording: i64) -> Model {
    let mut model = testing::model(size);
    model.opened = Some(recording);
    model
}

/// Answers the requests among the effects until no new one follows.
pub(super) fn answer_all_requests(
    model: &mut Model,
    context: &mut QueryContext,
    effects: Vec<Effect>,
) {
    let mut waiting = effects;
    while let Some(effect) = waiting.pop() {
        let Effect::Query(ScreenRequest::Bills(ask)) = effect else { continue };
        let answer = answer(context, ask);
        waiting
            .extend(update(model, AppMessage::Response(ScreenResponse::Bills(Box::new(answer)))));
    }
}

pub(super) fn open_bills_screen(model: &mut Model, context: &mut QueryContext) {
    let effects = press(model, "2");
    answer_all_requests(model, context, effects);
}

pub(super) fn press_keys(model: &mut Model, context: &mut QueryContext, keys: &[&str]) {
    for key in keys {
        let effects = press(model, key);
        answer_all_requests(model, context, effects);
    }
}

/// Returns the screen with all bills loaded.
pub(super) fn open_loaded_screen(size: (u16, u16)) -> (tempfile::TempDir, QueryContext, Model) {
    let folder = tempfile::tempdir().expect("a folder");
    let recording = three_lane_script().write(&folder.path().join("c.db"));
    let mut context = worker_for_folder(folder.path());
    let mut model = model_with_recording(size, recording);
    open_bills_screen(&mut model, &mut context);
    (folder, context, model)
}

/// Selects a model.
pub(super) fn select_model(model: &mut Model, id: &str) {
    model.screens.bills.selected_model = Some(id.to_owned());
    update_rows_and_detail(model);
    let at = model.screens.bills.visible_rows[model.screens.bills.selected_row];
    assert_eq!(model.screens.bills.loaded.as_ref().expect("figures").table.rows[at].id, id);
}
