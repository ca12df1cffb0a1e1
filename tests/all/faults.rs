//! Functions that misbehave, and databases that cannot be used.

use std::time::{Duration, Instant};

use crate::common::{self, Place, column, compile, numbers};

/// A user's workload folder with one module or program.
fn workload(place: &Place, name: &str, program: &str, limits: &str) {
    let text = format!(
        "title = \"{name}\"\nstresses = \"nothing\"\n{program}\n[limits]\n{limits}\n[preset.quick]\n"
    );
    place.write(&format!("w/{name}/workload.toml"), text);
}

fn module(place: &Place, name: &str, wat: &str, limits: &str) {
    place.write(&format!("w/{name}/m.wasm"), wat::parse_str(wat).expect("valid text"));
    workload(place, name, "wasm = \"m.wasm\"", limits);
}

/// Records `name` in both starts of a lane and returns status and reason.
fn outcome(place: &Place, name: &str, lane: &str) -> Vec<(String, String)> {
    let folder = place.path().join("w");
    let begun = Instant::now();
    let run = place.run(&[
        "record",
        "--workloads",
        folder.to_str().expect("UTF-8"),
        "--workload",
        &format!("{name},nop"),
        "--lane",
        lane,
        "--runs",
        "2",
        "--warmup",
        "0",
    ]);
    assert!(begun.elapsed() < Duration::from_mins(1), "{name} took {:?}", begun.elapsed());
    assert_eq!(run.code, 3, "{name}: the rest goes on, and the exit code tells: {}", run.stderr);
    let connection = place.open();
    let healthy = numbers(
        &connection,
        "SELECT COUNT(*) FROM v_invocation
        WHERE recording = (SELECT MAX(id) FROM recording) AND workload = 'nop' AND status = 'ok'",
    );
    assert!(healthy[0] >= 2, "{name} took others with it: {}", run.stderr);
    let sql = format!(
        "SELECT status || '|' || COALESCE(reason, '') FROM v_invocation
         WHERE recording = (SELECT MAX(id) FROM recording) AND workload = '{name}'"
    );
    let rows = column(&connection, &sql);
    assert!(!rows.is_empty());
    rows.iter()
        .map(|row| row.split_once('|').expect("both"))
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .collect()
}

/// Records a workload of the folder and `nop` in the lane wasmtime.
fn record_with_nop(place: &Place, name: &str) -> common::Run {
    let folder = place.path().join("w").display().to_string();
    let names = format!("{name},nop");
    let plan = ["--lane", "wasmtime", "--runs", "1", "--warmup", "0"];
    place.run(&[&["record", "--workloads", &folder, "--workload", &names][..], &plan].concat())
}

fn assert_all(outcomes: &[(String, String)], status: &str, word: &str) {
    for (found, reason) in outcomes {
        assert_eq!(found, status, "{reason}");
        assert!(reason.contains(word), "`{reason}` does not say `{word}`");
        assert!(!reason.contains('\n') && !reason.contains('\x1b'));
    }
}

#[test]
fn a_module_that_traps() {
    let place = Place::new();
    module(
        &place,
        "trap",
        r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#,
        "",
    );
    assert_all(&outcome(&place, "trap", "wasmtime"), "failed", "unreachable");
}

#[test]
fn a_module_that_never_ends() {
    let place = Place::new();
    let wat = r#"(module (memory (export "memory") 1) (func (export "_start") (loop br 0)))"#;
    module(&place, "forever", wat, "timeout = \"300ms\"");
    assert_all(&outcome(&place, "forever", "wasmtime"), "timeout", "300 ms");
    // What a killed worker could not report is missing, with the reason.
    let connection = place.open();
    let reason = "SELECT note FROM v_meter_source WHERE start = 'warm' AND meter = 'cpu_time' AND source IS NULL";
    assert_eq!(column(&connection, reason), ["the worker ended before it could report"]);
    let cpu =
        "SELECT DISTINCT cpu_ns FROM v_invocation WHERE start = 'warm' AND status = 'timeout'";
    assert_eq!(column(&connection, cpu), ["NULL"]);
}

#[test]
fn a_module_that_wants_4_gib() {
    let place = Place::new();
    module(
        &place,
        "greedy",
        r#"(module (memory (export "memory") 65536) (func (export "_start")))"#,
        "",
    );
    assert_all(&outcome(&place, "greedy", "wasmtime"), "failed", "memory");
}

#[test]
fn a_module_that_grows_past_its_limit_gets_no_more() {
    let place = Place::new();
    let wat = r#"(module (memory (export "memory") 1)
        (func (export "_start")
            (if (i32.ne (memory.grow (i32.const 4096)) (i32.const -1)) (then unreachable))))"#;
    module(&place, "grower", wat, "");
    let folder = place.path().join("w");
    // 256 MiB over a limit of 128 MiB: memory.grow says -1, and all is well.
    place.ok(&[
        "record",
        "--workloads",
        folder.to_str().expect("UTF-8"),
        "--workload",
        "grower",
        "--lane",
        "wasmtime",
        "--runs",
        "1",
    ]);
    let sizes = column(&place.open(), "SELECT DISTINCT linear_memory_bytes FROM v_invocation");
    assert_eq!(sizes, ["65536"]);
}

#[test]
fn a_module_with_an_unknown_import() {
    let place = Place::new();
    let wat = r#"(module (import "env" "steal" (func)) (func (export "_start")))"#;
    module(&place, "importer", wat, "");
    let run = record_with_nop(&place, "importer");
    assert!(run.stderr.contains("another host, which has env.steal"), "{}", run.stderr);
    assert_eq!(run.code, 0, "the rest goes on: {}", run.stderr);
}

#[test]
fn a_module_without_an_entry() {
    let place = Place::new();
    module(&place, "headless", "(module)", "");
    let run = record_with_nop(&place, "headless");
    assert!(run.stderr.contains("headless exports no function `_start`"), "{}", run.stderr);
    assert_eq!(run.code, 0, "the rest goes on: {}", run.stderr);
}

#[test]
fn a_file_that_is_no_module() {
    let place = Place::new();
    place.write("w/text/m.wasm", "this is no module");
    workload(&place, "text", "wasm = \"m.wasm\"", "");
    let run = record_with_nop(&place, "text");
    assert!(run.stderr.contains("text, but no WebAssembly text"), "{}", run.stderr);
    assert_eq!(run.code, 2, "it was named, and is not there: {}", run.stderr);
    // Whole, but not valid.
    let place = Place::new();
    module(&place, "empty-handed", r#"(module (func (export "_start") (drop)))"#, "");
    assert_all(&outcome(&place, "empty-handed", "wasmtime"), "failed", "not a module");
}

#[test]
fn a_module_has_no_authority() {
    let place = Place::new();
    // path_open on descriptor 3, which would be the first preopened folder.
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 64) "etc/passwd")
        (func (export "_start")
            (if (i32.eqz (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 10)
                (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 0)))
                (then unreachable))
            (drop (call $env (i32.const 0) (i32.const 4)))
            (if (i32.load (i32.const 0)) (then unreachable))))"#;
    module(&place, "thief", wat, "");
    let folder = place.path().join("w");
    place.ok(&[
        "record",
        "--workloads",
        folder.to_str().expect("UTF-8"),
        "--workload",
        "thief",
        "--lane",
        "wasmtime",
        "--runs",
        "1",
    ]);
}

fn native(place: &Place, name: &str, source: &str, limits: &str) -> bool {
    let Some(program) = compile(place, name, source) else { return false };
    place.write(&format!("w/{name}/p"), std::fs::read(&program).expect("read"));
    let path = place.path().join(format!("w/{name}/p"));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("executable");
    workload(place, name, "native = \"p\"", limits);
    true
}

#[test]
fn a_program_that_crashes() {
    let place = Place::new();
    if native(&place, "crash", "int main(void) { *(volatile int *)0 = 1; return 0; }", "") {
        assert_all(&outcome(&place, "crash", "native"), "failed", "SIGSEGV");
    }
}

#[test]
fn a_program_that_leaves_children_behind() {
    let place = Place::new();
    let source = "#include <unistd.h>\nint main(void) { for (int i = 0; i < 3; i++)
        if (fork() == 0) { setsid(); for (;;) pause(); } return 0; }";
    if native(&place, "forker", source, "") {
        let folder = place.path().join("w");
        place.ok(&[
            "record",
            "--workloads",
            folder.to_str().expect("UTF-8"),
            "--workload",
            "forker",
            "--lane",
            "native",
            "--runs",
            "1",
            "--warmup",
            "0",
        ]);
        let reasons = column(&place.open(), "SELECT reason FROM v_invocation");
        assert_eq!(reasons, ["left 3 process(es) behind, which were killed"]);
        assert!(common::processes("forker").is_empty());
    }
}

#[test]
fn a_program_that_prints_a_gigabyte() {
    let place = Place::new();
    let source = "#include <unistd.h>\nstatic char block[65536];\nint main(void) {
        for (int i = 0; i < 16384; i++) if (write(1, block, sizeof block) < 0) return 1; return 0; }";
    if native(&place, "printer", source, "output = \"4MiB\"") {
        assert_all(&outcome(&place, "printer", "native"), "failed", "output limit of 4.00 MiB");
    }
}

#[test]
fn a_program_that_wants_more_memory_than_it_is_given() {
    let place = Place::new();
    let source = "#include <stdlib.h>\n#include <string.h>\n#include <stdio.h>\nint main(void) {
        char *p = malloc(512u << 20); if (!p) { fprintf(stderr, \"out of memory\\n\"); return 1; }
        memset(p, 1, 512u << 20); return p[12345] - 1; }";
    if native(&place, "hog", source, "") {
        assert_all(&outcome(&place, "hog", "native"), "failed", "out of memory");
    }
}

#[test]
fn a_program_with_the_wrong_output() {
    let place = Place::new();
    if native(&place, "liar", "#include <stdio.h>\nint main(void) { puts(\"no\"); return 0; }", "")
    {
        let path = place.path().join("w/liar/workload.toml");
        let text =
            std::fs::read_to_string(&path).expect("read") + "expected = { text = \"yes\\n\" }\n";
        std::fs::write(&path, text).expect("written");
        assert_all(&outcome(&place, "liar", "native"), "failed", "wrong output");
        let run = place.run(&[
            "workloads",
            "check",
            "--workloads",
            place.path().join("w").to_str().expect("UTF-8"),
            "--workload",
            "liar",
            "--lane",
            "native",
        ]);
        assert_eq!(run.code, 1);
    }
}

#[test]
fn unusable_databases_are_refused_before_any_work() {
    let place = Place::new();
    place.write("c.db", "not a database at all, but long enough to be taken for one".repeat(40));
    let before = std::fs::read(place.db()).expect("read");
    let run = place.run(&["record", "--workload", "nop", "--lane", "native"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("not an SQLite database"), "{}", run.stderr);
    assert!(!run.stderr.contains("nop in native"), "work was done: {}", run.stderr);
    assert_eq!(std::fs::read(place.db()).expect("read"), before);
    let run = place.run(&["record", "--db", "/proc/no/such/c.db"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("--db"), "{}", run.stderr);
}

#[test]
fn a_full_disk_is_told_and_keeps_what_was_stored() {
    let place = Place::new();
    let mount = place.path().join("small");
    std::fs::create_dir(&mount).expect("made");
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(&mount)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        return cyclometer_testkit::skip("a small file system cannot be mounted here");
    }
    let db = mount.join("c.db");
    let run = place.run(&[
        "record",
        "--db",
        db.to_str().expect("UTF-8"),
        "--workload",
        "nop",
        "--lane",
        "wasmtime",
        "--start",
        "warm",
        "--runs",
        "200000",
    ]);
    std::fs::copy(&db, place.db()).expect("copied");
    let wal = mount.join("c.db-wal");
    if wal.exists() {
        std::fs::copy(&wal, place.path().join("c.db-wal")).expect("copied");
    }
    let unmounted = std::process::Command::new("umount").arg(&mount).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("full"), "{}", run.stderr);
    let kept = numbers(&place.open(), "SELECT COUNT(*) FROM v_invocation WHERE status = 'ok'")[0];
    // What was told was stored; a line is written only after its commit.
    let told = run.stderr.lines().filter(|line| line.contains(": ok ")).count();
    let told = i64::try_from(told).expect("small");
    assert!(told > 0 && kept >= told, "{kept} invocations were kept of {told} that were told");
}
