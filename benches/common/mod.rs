//! What the benchmarks share: lanes, plans and a place for the database.
#![expect(dead_code, reason = "each benchmark uses a part of it")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyclometer::record::{
    Control, Event, PlanRequest, RecordingHeader, RecordingSession, SessionObserver,
    SessionOptions, Sink, Starts,
};
use cyclometer::store::{Store, Writer};
use cyclometer::workload::Catalog;

/// A folder that goes away.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("cyclometer-bench-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder for the benchmark");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn set_up() {
    cyclometer::lane::wasmtime::set_executable(Path::new(env!("CARGO_BIN_EXE_cyclometer")));
}

/// Says why lanes do not run here.
struct SkippedLanes;

impl SessionObserver for SkippedLanes {
    fn lane_opened(&mut self, event: &Event) {
        if let Event::Lane { name, unavailable: Some(reason), .. } = event {
            println!("skipped: {name}: {reason}");
        }
    }
}

/// A request for one of the workloads that are built in.
pub fn request(workload: &str, preset: &str, starts: Starts, runs: u32) -> PlanRequest {
    let catalog = Catalog::load_builtin().expect("valid");
    let workload = Arc::clone(catalog.get(workload).expect("a workload"));
    PlanRequest {
        starts,
        runs,
        warmup: 2,
        seed: 0,
        ..PlanRequest::for_workloads(vec![workload], preset)
    }
}

/// Options of a session in lanes by their names.
pub fn options(lanes: &[&str], request: PlanRequest) -> SessionOptions {
    let specs = lanes.iter().map(|name| name.parse().expect("a lane")).collect();
    SessionOptions::for_lanes(specs, request)
}

/// Opens a session in those of the lanes that run here.
pub fn open(options: &SessionOptions) -> RecordingSession {
    RecordingSession::open(options, &mut SkippedLanes).expect("a session")
}

pub fn record(session: RecordingSession, sink: &mut dyn Sink) {
    session.run(sink, Control::default(), &mut ()).expect("recorded");
}

/// The names of the lanes that were opened, by their index in the plan.
pub fn lane_names(events: &[Event]) -> Vec<String> {
    let opened = events.iter().filter_map(|event| match event {
        Event::Lane { name, unavailable: None, .. } => Some(name.clone()),
        _ => None,
    });
    opened.collect()
}

pub fn writer(path: &Path, header: &RecordingHeader) -> Writer {
    let store = Store::open(path).expect("a database");
    Writer::start(store, header, Box::new(|_| {})).expect("a writer")
}

pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}
