//! Helpers that tests and benchmarks of screens share: models with known
//! figures, and the drawn screen as text.
#![cfg_attr(not(test), expect(dead_code, reason = "benchmarks use a part of it"))]

use std::sync::{Arc, LazyLock};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use super::keymap::Keymap;
use super::model::{Model, TuiSettings};
use super::overlay::OverlayLayout;
use super::screens::live::LiveState;
use super::screens::{ScreenId, Screens};
use super::session::RecordingOptions;
use super::theme::{Palette, Theme};
use super::update::{AppMessage, update};
use super::{action::Effect, frame};
use cyclometer_core::units::Nanos;
use cyclometer_lanes::{Job, Outcome, StartKind, Status};
use cyclometer_meter::{Meter, Phases, Provenances, Source, Usage};
use cyclometer_pricing::{PriceCatalog, Terms};
use cyclometer_record::Event;
use cyclometer_record::live::{ChartedUntil, FeedItem, LiveSnapshot, PlanView, SnapshotBuilder};
use cyclometer_replay::Contract;
use cyclometer_workload::{Catalog, Workload};

/// Both sizes that screens are designed for, and the smallest possible one.
pub const SIZES: [(u16, u16); 3] = [(80, 24), (200, 60), (1, 1)];

const MS: u64 = 1_000_000;

/// Current time in all models here.
pub(crate) const NOW: Nanos = Nanos(100_000 * MS);

/// Returns options for two workloads in three lanes.
pub fn wanted() -> RecordingOptions {
    let workloads = vec!["nop".to_owned(), "nbody".to_owned()];
    RecordingOptions { workloads, ..RecordingOptions::for_demo() }
}

/// Returns an invocation requested at `requested`: 1 ms to create, 1 ms to
/// start, and a run of `run_ms` milliseconds. It uses CPU time for half of the
/// run, create and start included.
pub fn outcome(
    job: &Job,
    requested: Nanos,
    run_ms: u64,
    status: Status,
    reason: Option<String>,
) -> Outcome {
    let mut usage = Usage::new(job.start == StartKind::Cold);
    usage.phases = Phases {
        create: Some(Nanos(MS)),
        start: Some(Nanos(MS)),
        run: Some(Nanos(run_ms * MS)),
        ..Phases::default()
    };
    usage.set(Meter::Wall, (run_ms + 2) * MS);
    usage.set(Meter::CpuTime, run_ms * MS / 2);
    usage.set(Meter::CpuStartup, (2 * MS).min(run_ms * MS / 2));
    usage.set(Meter::RefCycles, run_ms * 1_000_000);
    usage.set(Meter::MemoryPeak, 64 << 20);
    usage.set(Meter::MemoryAllocated, job.limits.memory.0);
    let mut sources = Provenances::default();
    sources.set_source(Meter::Wall, Source::Clock, "");
    sources.set_source(Meter::CpuTime, Source::Rusage, "");
    sources.set_source(Meter::CpuStartup, Source::Rusage, "");
    sources.set_source(Meter::RefCycles, Source::PerfMsrTsc, "");
    sources.set_source(Meter::MemoryPeak, Source::Procfs, "");
    sources.set_missing(Meter::Cycles, "this machine shows no hardware counters");
    sources.set_missing(Meter::WasmOps, "not a WebAssembly lane");
    Outcome {
        status,
        reason,
        exit_code: Some(i32::from(status != Status::Ok)),
        requested,
        ended: Nanos(requested.0 + (run_ms + 2) * MS),
        usage,
        provenances: Arc::new(sources),
        output: None,
    }
}

/// Returns a cell of a shipped workload.
pub fn job(catalog: &Catalog, cell: usize, workload: &str, start: StartKind) -> Arc<Job> {
    let workload = Arc::clone(catalog.get(workload).expect("shipped"));
    let preset = Arc::new(workload.find_preset("quick").expect("shipped").clone());
    let limits = preset.limits;
    Arc::new(Job { limits, ..Job::new(cell, workload, preset, start) })
}

/// Returns a catalog of four workloads.
fn catalog_of_demo() -> Arc<Catalog> {
    static CATALOG: LazyLock<Arc<Catalog>> = LazyLock::new(|| {
        let builtin = Catalog::load_builtin().expect("valid");
        let mut catalog = Catalog::default();
        for name in ["memory-burst", "nbody", "nop", "wait"] {
            catalog.add_workload(Workload::clone(builtin.get(name).expect("shipped")));
        }
        Arc::new(catalog)
    });
    Arc::clone(&CATALOG)
}

/// Returns a model with nothing recorded, no pending requests and no colours.
pub fn model(size: (u16, u16)) -> Model {
    let models = vec!["aws-lambda-x86".to_owned(), "per-cycle".to_owned()];
    Model {
        settings: Arc::new(TuiSettings {
            database: "/nonexistent/c.db".into(),
            prices: PriceCatalog::with_builtin_models(),
            folder: std::env::temp_dir(),
        }),
        catalog: catalog_of_demo(),
        theme: Theme::new(Palette::Mono, false),
        keymap: Keymap::with_overrides(&std::collections::BTreeMap::new()).expect("no conflicts"),
        size,
        mouse: true,
        now: NOW,
        screen: ScreenId::Live,
        overlay: None,
        overlay_layout: OverlayLayout::default(),
        notice: None,
        snapshot: Arc::default(),
        opened: None,
        screens: Screens { live: LiveState::new(wanted(), models, false), ..Screens::default() },
    }
}

/// Returns the models of the live view on their default terms.
pub fn contracts() -> Arc<Vec<Contract>> {
    let of = |id| {
        let model = cyclometer_pricing::find_builtin_model(id).expect("a shipped model");
        (model.clone(), Terms::for_model(model))
    };
    Arc::new(vec![of("aws-lambda-x86"), of("per-cycle")])
}

/// Builder of events of three lanes, one of which cannot run; every figure is a
/// round one.
pub(crate) struct Story {
    view: SnapshotBuilder,
    jobs: Vec<Arc<Job>>,
    at: u64,
}

/// Lanes, their versions, and the reasons why they cannot run.
const LANES: [(&str, &str, Option<&str>); 3] = [
    ("native", "Linux process", None),
    ("wasmtime", "wasmtime 48.0.2", None),
    (
        "docker",
        "",
        Some("no Docker engine answers at /var/run/docker.sock; start one, or set DOCKER_HOST"),
    ),
];

/// Cells, in the order of the plan.
const CELLS: [(&str, &str, StartKind); 6] = [
    ("nop", "native", StartKind::Cold),
    ("nop", "wasmtime", StartKind::Cold),
    ("nop", "wasmtime", StartKind::Warm),
    ("nbody", "native", StartKind::Cold),
    ("nbody", "wasmtime", StartKind::Cold),
    ("nbody", "wasmtime", StartKind::Warm),
];

impl Story {
    /// Starts with open lanes and known cells; nothing has run yet.
    pub fn new() -> Self {
        let catalog = Catalog::load_builtin().expect("shipped workloads");
        let cells = CELLS.iter().enumerate();
        let jobs = cells.map(|(cell, (name, _, start))| job(&catalog, cell, name, *start));
        let jobs = jobs.collect();
        let mut story = Self { view: SnapshotBuilder::default(), jobs, at: NOW.0 - 4_000 * MS };
        story.view.apply_item(FeedItem::Models(contracts()));
        for item in story.opening() {
            story.view.apply_item(item);
            // Set before the lanes are added, whose charts begin there.
            story.view.set_began_at(Nanos(NOW.0 - 60_000 * MS));
        }
        story
    }

    /// Returns the items that come before anything runs.
    pub fn opening(&self) -> Vec<FeedItem> {
        let plan = PlanView {
            workloads: vec!["nop".to_owned(), "nbody".to_owned()],
            runs: Some(10),
            race: false,
            conditions: String::new(),
            remarks: Vec::new(),
        };
        let mut items = vec![FeedItem::Begin(plan), FeedItem::Recording(7)];
        for (name, version, unavailable) in LANES {
            items.push(FeedItem::Event(Box::new(Event::Lane {
                name: name.to_owned(),
                version: version.to_owned(),
                note: String::new(),
                unavailable: unavailable.map(str::to_owned),
            })));
        }
        for (job, (_, lane, _)) in self.jobs.iter().zip(CELLS) {
            let (lane, job) = (lane.to_owned(), Arc::clone(job));
            items.push(FeedItem::Event(Box::new(Event::Cell { lane, job })));
        }
        items
    }

    fn event(&mut self, event: Event) {
        self.view.apply_item(FeedItem::Event(Box::new(event)));
    }

    /// Returns the events of an invocation that ends well.
    pub fn invocation(&mut self, cell: usize, sequence: u32, run_ms: u64) -> [Event; 2] {
        let outcome = Box::new(self.outcome(cell, run_ms, Status::Ok, None));
        [
            Event::Started { cell, sequence, count: 1 },
            Event::Finished { cell, sequence, outcome, samples: Vec::new() },
        ]
    }

    /// Records invocation `sequence` of a cell: 2 ms of start, and a run of
    /// that many milliseconds, half of them on a CPU.
    pub fn ran(&mut self, cell: usize, sequence: u32, run_ms: u64) {
        let outcome = self.outcome(cell, run_ms, Status::Ok, None);
        self.finished(cell, sequence, outcome);
    }

    /// Warms a cell up with a run of that many milliseconds.
    pub(crate) fn warmed_up(&mut self, cell: usize, run_ms: u64) {
        let outcome = Box::new(self.outcome(cell, run_ms, Status::Ok, None));
        self.event(Event::Started { cell, sequence: 0, count: 1 });
        self.event(Event::WarmedUp { cell, outcome });
    }

    /// Records an invocation like `ran`, in which those meters were not measured.
    pub(crate) fn ran_without(
        &mut self,
        cell: usize,
        sequence: u32,
        run_ms: u64,
        meters: &[Meter],
    ) {
        let mut outcome = self.outcome(cell, run_ms, Status::Ok, None);
        for meter in meters {
            outcome.usage.set(*meter, None);
        }
        self.finished(cell, sequence, outcome);
    }

    /// Records invocation `sequence` of a cell as failed.
    pub fn failed(&mut self, cell: usize, sequence: u32, reason: &str) {
        let outcome = self.outcome(cell, 5, Status::Failed, Some(reason.to_owned()));
        self.finished(cell, sequence, outcome);
    }

    fn finished(&mut self, cell: usize, sequence: u32, outcome: Outcome) {
        self.event(Event::Started { cell, sequence, count: 1 });
        let outcome = Box::new(outcome);
        self.event(Event::Finished { cell, sequence, outcome, samples: Vec::new() });
    }

    fn outcome(
        &mut self,
        cell: usize,
        run: u64,
        status: Status,
        reason: Option<String>,
    ) -> Outcome {
        let requested = Nanos(self.at);
        self.at += (run + 2) * MS;
        outcome(&self.jobs[cell], requested, run, status, reason)
    }

    /// Ends the recording.
    pub fn ended(&mut self, status: Status) {
        self.event(Event::Ended { status, sampler: None });
    }

    /// Applies any other item.
    pub fn take(&mut self, item: FeedItem) {
        self.view.apply_item(item);
    }

    /// Returns the snapshot, with times that do not depend on when the test runs.
    pub fn snapshot(&mut self) -> Arc<LiveSnapshot> {
        let mut snapshot = self.view.build_snapshot();
        snapshot.ended = snapshot.ended.map(|_| NOW);
        for lane in &mut snapshot.lanes {
            if let Some(running) = &mut lane.running {
                let fixed = |at| if at == running.since { NOW } else { at };
                let ChartedUntil { cpu, cycles } = running.known;
                running.known = ChartedUntil { cpu: fixed(cpu), cycles: fixed(cycles) };
                running.since = NOW;
            }
        }
        Arc::new(snapshot)
    }
}

/// Returns a recording in which everything went well so far.
pub fn full() -> Arc<LiveSnapshot> {
    let mut story = Story::new();
    for sequence in 1..=10 {
        for cell in 0..6 {
            let run = if cell < 3 { 1 } else { 100 };
            story.ran(cell, sequence, run + u64::from(sequence));
        }
    }
    story.snapshot()
}

/// Clicks a place on the screen that is in sight.
pub(crate) fn click(model: &mut Model, column: u16, row: u16) -> Vec<Effect> {
    use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
    let kind = MouseEventKind::Down(MouseButton::Left);
    frame::lay_out(model);
    let event = MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
    update(model, AppMessage::Mouse(event))
}

/// Presses a key, written as users write it, on the screen that is in sight.
pub fn press(model: &mut Model, key: &str) -> Vec<Effect> {
    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
    let plain = |code| KeyEvent::new(code, KeyModifiers::NONE);
    let event = match key {
        "enter" => plain(KeyCode::Enter),
        "esc" => plain(KeyCode::Esc),
        "tab" => plain(KeyCode::Tab),
        "space" => plain(KeyCode::Char(' ')),
        "up" => plain(KeyCode::Up),
        "down" => plain(KeyCode::Down),
        "left" => plain(KeyCode::Left),
        "right" => plain(KeyCode::Right),
        "backspace" => plain(KeyCode::Backspace),
        other => plain(KeyCode::Char(other.chars().next().expect("a key"))),
    };
    frame::lay_out(model);
    update(model, AppMessage::Key(event))
}

/// Draws the screen into a buffer.
pub fn buffer(model: &Model) -> Buffer {
    let (width, height) = model.size;
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a buffer");
    terminal.draw(|frame| frame::render(frame, model)).expect("drawn");
    terminal.backend().buffer().clone()
}

/// Draws the screen as text.
pub fn text(model: &Model) -> String {
    let buffer = buffer(model);
    let line = |y| {
        let line: String = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
        line.trim_end().to_owned()
    };
    (0..buffer.area.height).map(line).collect::<Vec<_>>().join("\n")
}

/// Writes a trace of 15 days with three functions; returns its number. Of 400 invocations,
/// `thumbnail` has 900 s at 10 GiB with a peak of 4000 MiB; `api` has 128 MiB, which its peak
/// needs; of `etl` no peak is known.
pub(crate) fn write_trace(path: &std::path::Path) -> i64 {
    const SQL: &str = "
        INSERT INTO recording (id, label, started_at, ended_at, status, owner, plan, host, kind)
        VALUES (5, 'october', '2026-10-01T00:00:00.000Z', '2026-10-16T00:00:00.000Z', 'done', '',
            '{}', '{}', 'trace');
        INSERT INTO lane (id, recording_id, name) VALUES (51, 5, 'aws-lambda');
        INSERT INTO lane_meter (lane_id, start, meter, source, note) VALUES
            (51, 'warm', 'wall', 'log', 'Duration'),
            (51, 'warm', 'cpu_time', NULL, 'not in REPORT lines');
        INSERT INTO cell (id, recording_id, lane_id, workload, preset, start, region,
            offset_base_ns) VALUES
            (51, 5, 51, 'thumbnail', '10240MB', 'warm', 'us-east-1', 1790812800000000000),
            (52, 5, 51, 'api', '128MB', 'warm', 'us-east-1', 1790812800000000000),
            (53, 5, 51, 'etl', '2048MB', 'cold', 'us-east-1', 1790812800000000000);
        WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 399)
        INSERT INTO invocation (cell_id, sequence, status, offset_ns, run_ns, wall_ns,
            memory_peak_bytes, memory_allocated_bytes)
        SELECT 51, i + 1, 'ok', 1790812800000000000 + i * 3248120300751, 900000000000,
            900000000000, 4194304000, 10737418240 FROM n;
        INSERT INTO invocation (cell_id, sequence, status, offset_ns, run_ns, wall_ns,
            memory_peak_bytes, memory_allocated_bytes) VALUES
            (52, 1, 'ok', 1790812800000000000, 50400000, 50400000, 115343360, 134217728),
            (52, 2, 'failed', 1790812800000000001, 100000, 100000, 94371840, 134217728),
            (53, 1, 'ok', 1792108800000000000, 60000000000, 60000000000, NULL, 2147483648);
        INSERT INTO trace_file (id, recording_id, position, path, format, bytes, identity, records,
            rows, digest, checkpoint) VALUES
            (1, 5, 0, '/logs/october.log.gz', 'aws-lambda-report', 81920, 'x', 1209, 403,
                '0123456789abcdef0123456789abcdef', NULL);
        INSERT INTO trace_leftover (file_id, kind, cause, records, first_lines) VALUES
            (1, 'other', 'START and END lines', 804, '[1,3,4]'),
            (1, 'rejected', 'the duration is negative', 2, '[17,95]');";
    let store = cyclometer_store::Store::open(path).expect("a database");
    drop(store);
    let connection = rusqlite::Connection::open(path).expect("opened");
    connection.execute_batch(SQL).expect("a trace");
    5
}
