//! What the benchmarks share: lanes, plans and a place for the database.
#![expect(dead_code, reason = "each benchmark uses a part of it")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyclometer::lane::LaneSpec;
use cyclometer::procfs::ProcessIdentity;
use cyclometer::record::{
    Control, Event, OpenLane, Plan, PlanRequest, Recorder, Sampling, Sink, Starts, open_lanes,
};
use cyclometer::store::{RecordingHeader, Store, Writer};
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

pub fn set_up() -> ProcessIdentity {
    cyclometer::lane::wasmtime::set_executable(Path::new(env!("CARGO_BIN_EXE_cyclometer")));
    ProcessIdentity::current().expect("/proc is mounted")
}

/// Opens those of `names` that run here, saying why the others do not.
pub fn lanes(owner: &ProcessIdentity, names: &[&str]) -> Vec<OpenLane> {
    let specs: Vec<LaneSpec> = names.iter().map(|name| name.parse().expect("a lane")).collect();
    let mut events = Vec::new();
    let lanes = open_lanes(&specs, owner, &mut events).expect("a vector takes all");
    for event in events {
        if let Event::Lane { name, unavailable: Some(reason), .. } = event {
            println!("skipped: {name}: {reason}");
        }
    }
    lanes
}

pub fn plan(lanes: &[OpenLane], workload: &str, preset: &str, starts: Starts, runs: u32) -> Plan {
    let catalog = Catalog::load_builtin().expect("valid");
    let request = PlanRequest {
        workloads: vec![Arc::clone(catalog.get(workload).expect("a workload"))],
        preset: preset.to_owned(),
        starts,
        runs,
        warmup: 2,
        memory: None,
        timeout: None,
        cpu: None,
        until_stopped: false,
        race: false,
        until: None,
        seed: 0,
    };
    Plan::new(&request, lanes).expect("a plan")
}

pub fn writer(path: &Path, owner: &ProcessIdentity) -> Writer {
    let header = RecordingHeader {
        label: None,
        owner: owner.to_string(),
        plan: "{}".to_owned(),
        host: "{}".to_owned(),
        sample_interval: None,
    };
    let store = Store::open(path).expect("a database");
    Writer::start(store, &header, Box::new(|_| {})).expect("a writer")
}

pub fn record(
    lanes: &mut [OpenLane],
    plan: &Plan,
    sampling: Option<Sampling<'_>>,
    sink: &mut dyn Sink,
) {
    let recorder = Recorder::new(lanes, plan, sampling, Control::default()).expect("threads");
    recorder.run(sink).expect("recorded");
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
