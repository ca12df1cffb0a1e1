//! Containers: what output costs beside a plain process, how long starts take
//! in each OCI runtime, and how late the engine's events are:
//! `cargo bench --bench containers`.
//!
//! Output is compared three ways, interleaved: the native lane, a plain process
//! whose output file was allocated beforehand as the docker lane's is, and the
//! docker lane.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

mod common;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use cyclometer::lane::{LaneSpec, Status, docker};
use cyclometer::meter::Meter;
use cyclometer::record::{Event, PlanRequest, Starts};
use cyclometer::units::Bytes;
use cyclometer::workload::{Limits, NativeProgram, Preset, Workload};

const RUNS: u32 = 15;
const AMOUNT: u64 = 100_000_000;

/// Writes as many bytes as it is told to, 64 KiB at a time.
const WRITER: &str = r"
#include <stdlib.h>
#include <unistd.h>
static char block[1 << 16];
int main(int argc, char **argv) {
    for (long left = argc > 1 ? atol(argv[1]) : 0; left > 0;) {
        ssize_t put = write(1, block, left < (long)sizeof block ? left : (long)sizeof block);
        if (put <= 0) return 1;
        left -= put;
    }
    return 0;
}
";

fn main() {
    common::set_up();
    let scratch = common::Scratch::new("containers");
    output(&scratch.0);
    starts();
}

fn writer(folder: &Path) -> Option<PathBuf> {
    let (source, program) = (folder.join("w.c"), folder.join("w"));
    std::fs::write(&source, WRITER).expect("written");
    let status =
        Command::new("cc").args(["-O2", "-static", "-o"]).arg(&program).arg(&source).status();
    status.is_ok_and(|status| status.success()).then_some(program)
}

/// A request for a program of ours.
fn request(program: &Path) -> PlanRequest {
    let limits = Limits { output: Bytes(128 << 20), ..Limits::default() };
    let preset = Preset {
        args: vec![AMOUNT.to_string()],
        stdin: cyclometer::workload::FunctionInput::default(),
        limits,
        ..Preset::with_defaults("bench")
    };
    let workload = Workload {
        native: Some(NativeProgram::from_path(program).expect("a program")),
        presets: BTreeMap::from([("bench".to_owned(), preset)]),
        ..Workload::without_forms("writer")
    };
    PlanRequest {
        runs: RUNS,
        warmup: 2,
        ..PlanRequest::for_workloads(vec![Arc::new(workload)], "bench")
    }
}

fn output(folder: &Path) {
    let Some(program) = writer(folder) else {
        return println!("skipped: output: no C compiler with a static library");
    };
    let session = common::open(&common::options(&["native", "docker"], request(&program)));
    let cells = session.plan().cells.clone();
    let mut events: Vec<Event> = Vec::new();
    common::record(session, &mut events);
    let names = common::lane_names(&events);
    let mut medians: BTreeMap<String, [f64; 3]> = BTreeMap::new();
    for (cell, planned) in cells.iter().enumerate() {
        let name = format!("{}, {}", names[planned.lane], planned.job.start);
        let of_cell = |event| match event {
            &Event::Finished { cell: of, ref outcome, .. } if of == cell => Some(outcome),
            _ => None,
        };
        let outcomes: Vec<_> = events.iter().filter_map(of_cell).collect();
        let value = |get: &dyn Fn(&cyclometer::lane::Outcome) -> Option<u64>| {
            let mut values: Vec<f64> =
                outcomes.iter().filter_map(|outcome| get(outcome)).map(millis).collect();
            if values.is_empty() { f64::NAN } else { common::median(&mut values) }
        };
        for outcome in &outcomes {
            assert_eq!(outcome.status, Status::Ok, "{name}: {:?}", outcome.reason);
            assert_eq!(outcome.output.map(|output| output.bytes), Some(AMOUNT), "{name}");
        }
        let all = [
            value(&|it| it.usage.phases.run.map(|span| span.0)),
            value(&|it| it.usage.get(Meter::CpuTime)),
            value(&|it| it.usage.get(Meter::Wall)),
        ];
        println!(
            "{name:<14} run {:>7.2} ms  CPU {:>7.2} ms  wall {:>7.2} ms",
            all[0], all[1], all[2]
        );
        medians.insert(name, all);
    }
    let beforehand = allocated_beforehand(&program, folder);
    println!("plain process, output allocated beforehand: wall {beforehand:>7.2} ms");
    let Some(native) = medians.get("native, cold") else { return };
    for (name, docker) in medians.iter().filter(|(name, _)| name.starts_with("docker")) {
        let ratio = docker[0] / native[0];
        let met = if ratio <= 1.3 { "met" } else { "NOT MET" };
        println!("{name} / native, run: {ratio:.2}x; target: at most 1.3x: {met}");
        println!("{name} / plain process allocated beforehand: {:.2}x", docker[0] / beforehand);
    }
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of less than a second")]
fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

/// Median wall time in milliseconds, from fork to end.
fn allocated_beforehand(program: &Path, folder: &Path) -> f64 {
    use nix::fcntl::{FallocateFlags, fallocate};
    let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
    let path = Path::new("/dev/shm").join(name);
    let mut walls = Vec::new();
    for _ in 0..RUNS {
        let file = std::fs::File::create(&path).expect("a file in memory");
        fallocate(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, 128 << 20).expect("memory");
        let begun = Instant::now();
        let mut command = Command::new(program);
        command.arg(AMOUNT.to_string()).stdin(Stdio::null()).stdout(file);
        assert!(command.status().expect("started").success());
        walls.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let _ = std::fs::remove_file(path);
    common::median(&mut walls)
}

/// `nop` in every runtime that the engine lists by a short name.
fn starts() {
    let Ok(info) = docker::inspect_engine() else { return };
    let short = info.runtimes.iter().filter(|name| !name.starts_with("io.containerd."));
    let names: Vec<String> = short.map(|name| format!("docker:{name}")).collect();
    let names: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| name.parse::<LaneSpec>().is_ok()).collect();
    let request = common::request("nop", "quick", Starts::Both, RUNS);
    let session = common::open(&common::options(&names, request));
    let cells = session.plan().cells.clone();
    let mut events: Vec<Event> = Vec::new();
    common::record(session, &mut events);
    let mut phases: HashMap<usize, [Vec<f64>; 4]> = HashMap::new();
    for event in &events {
        let Event::Finished { cell, outcome, .. } = event else { continue };
        if outcome.status != Status::Ok {
            println!("{}: {:?}", names[cells[*cell].lane], outcome.reason);
            continue;
        }
        let found = outcome.usage.phases;
        let all = [found.create, found.start, found.run, found.teardown];
        let lists = phases.entry(*cell).or_default();
        for (values, span) in lists.iter_mut().zip(all) {
            values.extend(span.map(|span| millis(span.0)));
        }
    }
    println!("nop, p50 in ms: create, start, run, teardown");
    for (cell, of) in cells.iter().enumerate() {
        let Some(values) = phases.get_mut(&cell) else { continue };
        let medians = values
            .each_mut()
            .map(|values| if values.is_empty() { f64::NAN } else { common::median(values) });
        println!("{:<16} {:<4} {medians:>8.2?}", names[of.lane], of.job.start.label());
    }
}
