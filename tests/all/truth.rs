//! Figures held against sources that know nothing of this program. Each is alone:
//! tests beside it take caches, and halves of cores, from what a test measures.

use std::process::Command;

use crate::common::{self, Place, column, numbers, turns};
use cyclometer::meter::host;

/// What `perf stat -x,` wrote: task-clock in nanoseconds.
fn task_clock(text: &str) -> f64 {
    let line = text.lines().find(|line| line.contains("task-clock")).expect("a count");
    let mut fields = line.split(',');
    let value: f64 = fields.next().expect("a value").parse().expect("a number");
    // Older versions give milliseconds, newer ones nanoseconds; the unit says.
    if fields.next() == Some("msec") { value * 1e6 } else { value }
}

/// Becomes `perf stat` of the program and argument that it is given.
const UNDER_PERF: &str = r#"
#include <unistd.h>
int main(int argc, char **argv) {
    (void)argc;
    execl(argv[1], "perf", "stat", "-x", ",", "-o", argv[2], "-e", "task-clock", "--",
          argv[3], argv[4], (char *)0);
    return 127;
}
"#;

/// A workload that runs `nbody` under `perf stat`, which writes to `counts`.
fn under_perf(place: &Place, perf: &str, counts: &std::path::Path) -> Option<std::path::PathBuf> {
    let wrapper = common::compile(place, "under-perf", UNDER_PERF)?;
    let nbody = program(place, "nbody");
    let folder = place.path().join("w");
    std::fs::create_dir_all(&folder).expect("made");
    std::fs::copy(wrapper, folder.join("wrapper")).expect("copied");
    let [counts, nbody] = [counts, &nbody].map(|path| path.to_str().expect("UTF-8"));
    let args = |steps: &str| format!("[{perf:?}, {counts:?}, {nbody:?}, {steps:?}]");
    let manifest = format!(
        "title = \"nbody under perf\"\nstresses = \"counting\"\nnative = \"wrapper\"\n\
         [limits]\nmemory = \"512MiB\"\ntimeout = \"60s\"\n\
         [preset.none]\nargs = {}\n[preset.second]\nargs = {}\n",
        args("1"),
        args("14000000")
    );
    std::fs::write(folder.join("workload.toml"), manifest).expect("written");
    Some(folder)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The native program of a built-in workload, as a file.
fn program(place: &Place, name: &str) -> std::path::PathBuf {
    let catalog = cyclometer::workload::Catalog::load_builtin().expect("valid");
    let native = catalog.get(name).expect("known").native.clone().expect("native");
    let path = place.write(name, native.read_bytes().expect("embedded"));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("executable");
    path
}

/// One and the same run, counted by both: two runs differ by more than counters.
#[test]
#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a second")]
fn native_cpu_time_is_what_perf_stat_says() {
    let _alone = turns::run_alone();
    let place = Place::new();
    let found = Command::new("sh").args(["-c", "perf stat true && command -v perf"]).output();
    let found = found.expect("a shell");
    if !found.status.success() {
        return cyclometer_testkit::skip("no `perf stat`");
    }
    let perf = String::from_utf8(found.stdout).expect("text").trim().to_owned();
    let counts = place.path().join("counts");
    let Some(folder) = under_perf(&place, &perf, &counts) else { return };
    let mut recording = 0;
    let mut run = |preset: &str| {
        let workloads = folder.to_str().expect("UTF-8");
        let args = ["record", "--workloads", workloads, "--workload", "w", "--lane", "native"];
        place.ok(&[&args[..], &["--preset", preset, "--runs", "1", "--warmup", "0"]].concat());
        recording += 1;
        let sql = format!("SELECT cpu_ns FROM v_invocation WHERE recording = {recording}");
        let ours = numbers(&place.open(), &sql)[0] as f64;
        (ours, task_clock(&std::fs::read_to_string(&counts).expect("counted")))
    };
    // What perf itself takes is in ours, and not in its own count.
    let perf_itself = median((0..5).map(|_| run("none")).map(|(ours, it)| ours - it).collect());
    let ratios: Vec<f64> =
        (0..3).map(|_| run("second")).map(|(ours, it)| (ours - perf_itself) / it).collect();
    let ratio = median(ratios.clone());
    assert!((ratio - 1.0).abs() < 0.01, "ours / perf stat: {ratio:.4} of {ratios:.4?}");
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "ticks of a second")]
fn ref_cycles_per_cpu_time_is_the_tsc_frequency_in_every_lane() {
    let _alone = turns::run_alone();
    let Some(hz) = host::tsc_hz() else {
        return cyclometer_testkit::skip("no time-stamp counter");
    };
    let place = Place::new();
    let lanes = if common::docker() { "native,wasmtime,docker" } else { "native,wasmtime" };
    place.ok(&[
        "record",
        "--workload",
        "nbody",
        "--preset",
        "second",
        "--lane",
        lanes,
        "--runs",
        "2",
        "--warmup",
        "0",
    ]);
    let connection = place.open();
    let sources = column(
        &connection,
        "SELECT DISTINCT source FROM v_meter_source WHERE meter = 'ref_cycles'",
    );
    if sources.iter().any(|source| source == "estimate") {
        cyclometer_testkit::skip("ref_cycles is an estimate in some lane, so equal by definition");
    }
    let mut statement = connection
        .prepare("SELECT lane || ' ' || start, ref_cycles, cpu_ns FROM v_invocation")
        .expect("valid");
    let rows = statement
        .query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })
        .expect("rows");
    let mut seen = 0;
    for row in rows {
        let (lane, ticks, nanos) = row.expect("measured");
        let found = ticks as f64 / nanos as f64 * 1e9;
        let off = (found / hz as f64 - 1.0).abs();
        assert!(off < 0.005, "{lane}: {found:.0} Hz, TSC {hz} Hz");
        seen += 1;
    }
    assert!(seen >= 6, "{seen} invocations");
}

#[test]
fn wasm_operations_are_the_same_in_twenty_runs_and_those_of_the_counting_run() {
    let _alone = turns::run_alone();
    let place = Place::new();
    place.ok(&[
        "record",
        "--workload",
        "nbody,memory-burst,nop,wait",
        "--lane",
        "wasmtime,wasmtime:fuel",
        "--runs",
        "20",
        "--warmup",
        "0",
        "--sample-interval",
        "off",
    ]);
    let connection = place.open();
    let counts = column(
        &connection,
        "SELECT workload || ' ' || COUNT(DISTINCT wasm_ops) || ' ' || COUNT(wasm_ops)
         FROM v_invocation GROUP BY workload ORDER BY workload",
    );
    // Twenty runs in two lanes, cold and warm: eighty, one count.
    assert_eq!(counts, ["memory-burst 1 80", "nbody 1 80", "nop 1 80", "wait 1 80"]);
}

#[test]
fn memory_peaks_are_the_functions_own() {
    let _alone = turns::run_alone();
    let place = Place::new();
    let lanes = if common::docker() { "native,wasmtime,docker" } else { "native,wasmtime" };
    place.ok(&["record", "--workload", "nop,memory-burst", "--lane", lanes, "--runs", "2"]);
    let connection = place.open();
    let least = numbers(
        &connection,
        "SELECT MIN(memory_peak_bytes) FROM v_invocation WHERE workload = 'memory-burst' GROUP BY lane, start",
    );
    assert!(least.len() >= 3);
    assert!(least.iter().all(|bytes| *bytes >= 200 << 20), "{least:?}");
    let most = numbers(
        &connection,
        "SELECT MAX(memory_peak_bytes) FROM v_invocation
         WHERE workload = 'nop' AND lane <> 'docker' GROUP BY lane, start",
    );
    assert!(most.iter().all(|bytes| *bytes < 32 << 20), "{most:?}");
}

#[test]
fn peak_memory_is_what_gnu_time_says() {
    let _alone = turns::run_alone();
    let place = Place::new();
    let burst = program(&place, "memory-burst");
    let output = Command::new("/usr/bin/time").args(["-f", "%M"]).arg(&burst).arg("100").output();
    let Ok(output) = output else {
        return cyclometer_testkit::skip("no /usr/bin/time");
    };
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let theirs: i64 = text.trim().parse().expect("kibibytes");
    place.ok(&["record", "--workload", "memory-burst", "--lane", "native", "--runs", "1"]);
    let ours = numbers(&place.open(), "SELECT memory_peak_bytes / 1024 FROM v_invocation")[0];
    assert!((ours - theirs).abs() < 1024, "ours {ours} KiB, GNU time {theirs} KiB");
}
