//! The same recording with the observatory watching and without it, in turn.
//!
//! Compared are wall and CPU time. How the wall time of a native process of less
//! than a millisecond is split into create and run depends on when its launcher
//! is scheduled, which differs from machine to machine and hour to hour.

use std::path::Path;
use std::process::Command;

use cyclometer::stats::{Confidence, compare_medians};
use cyclometer::store::Store;

use super::pty::Tty;

/// Recordings of each kind.
const PAIRS: usize = 12;
const PLAN: [&str; 7] =
    ["--workload", "nop,nbody,memory-burst", "--lane", "native,wasmtime", "--runs", "5", "--label"];

/// Medians of the cells of one recording: its name, wall and CPU time.
type Cells = Vec<(String, [f64; 2])>;

fn headless(database: &Path) {
    let status = Command::new(env!("CARGO_BIN_EXE_cyclometer"))
        .arg("record")
        .args(PLAN)
        .arg("headless")
        .env("CYCLOMETER_DB", database)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .expect("run");
    assert!(status.success());
}

fn watched(database: &Path) {
    let args: Vec<&str> = ["live"].into_iter().chain(PLAN).chain(["watched"]).collect();
    let mut tty = Tty::start(&args, (200, 60), &[("CYCLOMETER_DB", database)]);
    tty.shows(" done 45 ");
    tty.press("q");
    assert!(tty.ends().success());
}

fn medians(database: &Path, recording: i64) -> Cells {
    let store = Store::open(database).expect("a database");
    let cells = store.cell_stats(recording).expect("cells");
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a second")]
    let middle = |values: Vec<u64>| values[values.len() / 2] as f64;
    cells
        .into_iter()
        .map(|cell| {
            let name = format!("{} {} {}", cell.key.workload, cell.key.lane, cell.key.start);
            let wall = middle(cell.wall.iter().map(|it| it.0).collect());
            let cpu = middle(cell.cpu.iter().map(|it| it.0).collect());
            (name, [wall, cpu])
        })
        .collect()
}

/// Runs the pairs and says how much the figures differ.
pub fn run() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("paired.db");
    let mut kinds: [Vec<Cells>; 2] = [Vec::new(), Vec::new()];
    let mut recording = 0;
    for pair in 0..PAIRS {
        // First the one, then the other: neither always has the warmer caches.
        for kind in if pair % 2 == 0 { [0, 1] } else { [1, 0] } {
            if kind == 0 {
                headless(&database);
            } else {
                watched(&database);
            }
            recording += 1;
            kinds[kind].push(medians(&database, recording));
        }
    }
    let sure = Confidence::new(0.99).expect("a share");
    let mut ratios = [Vec::new(), Vec::new()];
    for cell in 0..kinds[0][0].len() {
        for (meter, name) in ["wall", "CPU"].into_iter().enumerate() {
            let of = |kind: usize| -> Vec<f64> {
                kinds[kind].iter().map(|cells| cells[cell].1[meter]).collect()
            };
            let (without, with) = (of(0), of(1));
            let verdict = compare_medians(&without, &with, sure);
            let paired: Vec<f64> = with.iter().zip(&without).map(|(a, b)| a / b).collect();
            ratios[meter].extend(paired);
            println!("paired {:<28} {name}: {verdict}", kinds[0][0][cell].0);
        }
    }
    for (ratios, name) in ratios.iter_mut().zip(["wall", "CPU"]) {
        ratios.sort_by(f64::total_cmp);
        let median = (ratios[ratios.len() / 2] - 1.0) * 100.0;
        println!(
            "paired, watched against headless, median of {} ratios, {name}: {median:+.2} %",
            ratios.len()
        );
    }
}
