//! Cold starts of `nop` in every lane that runs here, interleaved, as ratios
//! to docker; and warm instantiate + run: `cargo bench --bench cold_start`.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

mod common;

use std::collections::BTreeMap;

use cyclometer::lane::{StartKind, Status};
use cyclometer::record::{Event, Starts};

const RUNS: u32 = 40;
const WARM_RUNS: u32 = 20_000;

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of less than a second")]
fn main() {
    common::set_up();
    let request = common::request("nop", "quick", Starts::Cold, RUNS);
    let session = common::open(&common::options(&["native", "wasmtime", "docker"], request));
    let cells = session.plan().cells.clone();
    let mut events: Vec<Event> = Vec::new();
    common::record(session, &mut events);
    let names = common::lane_names(&events);
    let mut starts: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for event in &events {
        if let Event::Finished { cell, outcome, .. } = event {
            assert_eq!(outcome.status, Status::Ok, "{:?}", outcome.reason);
            let startup = outcome.usage.phases.startup_time().expect("timed");
            starts.entry(*cell).or_default().push(startup.0 as f64);
        }
    }
    let mut medians = BTreeMap::new();
    for (cell, mut values) in starts {
        let lane = names[cells[cell].lane].clone();
        let median = common::median(&mut values);
        let p95 = values[values.len() * 95 / 100];
        println!("{lane:<10} cold start p50 {:>8.3} ms  p95 {:>8.3} ms", median / 1e6, p95 / 1e6);
        medians.insert(lane, median);
    }
    if let (Some(docker), Some(wasmtime)) = (medians.get("docker"), medians.get("wasmtime")) {
        let ratio = docker / wasmtime;
        let met = if ratio >= 40.0 { "met" } else { "NOT MET" };
        println!("docker / wasmtime: {ratio:.0}x; target: at least 40x: {met}");
    }

    let request = common::request("nop", "quick", Starts::Warm, WARM_RUNS);
    let session = common::open(&common::options(&["wasmtime"], request));
    assert_eq!(session.plan().cells[0].job.start, StartKind::Warm);
    let mut events: Vec<Event> = Vec::new();
    common::record(session, &mut events);
    let mut warm: Vec<f64> = Vec::new();
    for event in &events {
        if let Event::Finished { outcome, .. } = event {
            assert!(!outcome.usage.cold);
            let phases = outcome.usage.phases;
            let both = phases.start.zip(phases.run).expect("timed");
            warm.push((both.0.0 + both.1.0) as f64);
        }
    }
    let median = common::median(&mut warm);
    let met = if median < 30_000.0 { "met" } else { "NOT MET" };
    println!("warm instantiate + run p50 {:.2} us; target: under 30 us: {met}", median / 1e3);
}
