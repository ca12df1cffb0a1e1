//! WebAssembly that wants more memory or time than it may have.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cyclometer::meter::function_group::FunctionGroup;
use cyclometer_testkit::skip;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{PROGRAM, Place, Run, column, numbers};

/// An account without any rights, on every system.
const NOBODY: u32 = 65_534;

/// Longest wait for what comes at once on an idle machine.
const PATIENCE: Duration = Duration::from_mins(1);

const MIB: u64 = 1 << 20;

/// A workload of one module.
struct Workload<'a> {
    name: &'a str,
    body: &'a str,
    memory: &'a str,
    timeout: &'a str,
}

impl<'a> Workload<'a> {
    /// With 16 MiB and ten seconds.
    const fn of(name: &'a str, body: &'a str) -> Self {
        Self { name, body, memory: "16MiB", timeout: "10s" }
    }

    fn write(&self, place: &Place) {
        let Self { name, body, memory, timeout } = self;
        let module = wat::parse_str(format!("(module {body})")).expect("valid text");
        place.write(&format!("w/{name}/m.wasm"), module);
        let manifest = format!(
            "title = \"{name}\"\nstresses = \"nothing\"\nwasm = \"m.wasm\"\n[limits]\n\
             memory = \"{memory}\"\ntimeout = \"{timeout}\"\n[preset.quick]\n"
        );
        place.write(&format!("w/{name}/workload.toml"), manifest);
    }
}

fn command(place: &Place, names: &str, lanes: &str, more: &[&str]) -> Command {
    let folder = place.path().join("w");
    let folder = folder.to_str().expect("UTF-8");
    let plain = ["record", "--workloads", folder, "--workload", names, "--lane", lanes];
    let mut command = place.command(&[&plain[..], &["--warmup", "0"], more].concat());
    command.env("XDG_CACHE_HOME", place.path().join("cache"));
    command
}

fn record(place: &Place, names: &str, lanes: &str) -> Run {
    let output = command(place, names, lanes, &["--runs", "1"]).output();
    Run::of(&output.expect("the program starts"))
}

/// `start: status: reason` of all invocations of a workload.
fn ends(place: &Place, name: &str) -> Vec<String> {
    let sql = format!(
        "SELECT start || ': ' || status || ': ' || COALESCE(reason, '') FROM v_invocation
         WHERE workload = '{name}' ORDER BY start"
    );
    column(&place.open(), &sql)
}

/// Whether `lane` is here; says so if not.
fn has_lane(place: &Place, lane: &str) -> bool {
    let lanes = place.ok(&["lanes", "--format", "json"]).json();
    let mut all = lanes.as_array().expect("lanes").iter();
    let is_there = all.any(|it| it["lane"] == lane && it["state"] == "available");
    if !is_there {
        skip(&format!("no lane {lane}"));
    }
    is_there
}

#[test]
fn no_kind_of_module_has_more_memory_than_its_limit() {
    let place = Place::new();
    let tables = "(table 20000 funcref)".repeat(8);
    let globals = "(global i64 (i64.const 1))".repeat(100_000);
    let elements = "(elem (i32.const 0) $f)".repeat(50_000);
    let data = r#"(data (i32.const 0) "x")"#.repeat(50_000);
    let start = r#"(func (export "_start"))"#;
    let text = |parts: &[&str]| [parts, &[start]].concat().concat();
    // Name, module, and how it must end in a cold start: `ok` with the size of its
    // memories in bytes, or a piece of the reason.
    let kinds: &[(&str, String, Result<u64, &str>)] = &[
        // 200 + 200 pages are 25 MiB of 16.
        ("two", text(&["(memory 200) (memory 200)"]), Err("memory limit of 16.0 MiB")),
        ("wide", text(&["(memory i64 0x1000000000)"]), Err("memory limit of 16.0 MiB")),
        ("maximum", text(&["(memory i64 1 0x1000000000000)"]), Ok(65_536)),
        // 8 x 20,000 elements, where 100,000 are the most.
        ("tables", text(&[&tables]), Err("exceeds table limits")),
        // A heap for objects is made when the first one is.
        ("struct", text(&["(type $s (struct (field i32)))"]), Ok(0)),
        ("tag", text(&["(tag)"]), Ok(0)),
        ("pages", text(&["(memory 16777216 (pagesize 1))"]), Err("custom page sizes")),
        // Grows as long as it may in its start section: 1 + 25 x 10 of 256 pages.
        (
            "start",
            text(&["(memory 1) (func $s (loop $l
                (br_if $l (i32.ne (memory.grow (i32.const 10)) (i32.const -1)))) ) (start $s)"]),
            Ok(251 * 65_536),
        ),
        ("globals", text(&[&globals]), Ok(0)),
        ("elements", text(&["(func $f) (table 1 funcref)", &elements]), Ok(0)),
        ("data", text(&["(memory 1)", &data]), Ok(65_536)),
    ];
    for (name, body, _) in kinds {
        Workload::of(name, body).write(&place);
    }
    let names: Vec<&str> = kinds.iter().map(|kind| kind.0).collect();
    record(&place, &names.join(","), "wasmtime");
    for (name, _, expected) in kinds {
        let ends = ends(&place, name);
        assert_eq!(ends.len(), 2, "{name}");
        match expected {
            Ok(size) => {
                assert_eq!(ends[0], "cold: ok: ", "{name}");
                let sql = "SELECT linear_memory_bytes FROM v_invocation WHERE start = 'cold'";
                let sizes = numbers(&place.open(), &format!("{sql} AND workload = '{name}'"));
                assert_eq!(sizes, [i64::try_from(*size).expect("small")], "{name}");
            }
            Err(piece) => {
                let told = |it: &String| it.contains("failed: ") && it.contains(piece);
                assert!(told(&ends[0]), "{name}: {}", ends[0]);
            }
        }
        // A warm instance comes from a pool: what does not fit into its places is
        // refused, and that is told.
        assert!(ends[1].starts_with("warm: "), "{ends:?}");
        assert!(!ends[1].contains("cache"), "a path of the cache: {}", ends[1]);
    }
}

/// A worker that a recorder of `place` has started, when there is one.
fn worker(place: &Place, word: &str) -> Option<u32> {
    let mark = place.path().display().to_string();
    let all = procfs::process::all_processes().expect("/proc");
    let line = |process: &procfs::process::Process| {
        process.cmdline().map(|line| line.join(" ")).unwrap_or_default()
    };
    let is_of_place = |process: &procfs::process::Process| {
        let mut parent = process.stat().map_or(0, |stat| stat.ppid);
        while let Ok(process) = procfs::process::Process::new(parent) {
            if line(&process).contains(&mark) {
                return true;
            }
            parent = process.stat().map_or(0, |stat| stat.ppid);
        }
        false
    };
    all.flatten()
        .find(|process| line(process).contains(word) && is_of_place(process))
        .map(|process| process.pid.unsigned_abs())
}

fn wait_for<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "no {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The memory limit of the control group that process `pid` is in; `None` if that
/// is none of cyclometer's.
fn group_limit(pid: u32) -> Option<u64> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let of = |line: &str, mount: &str, file: &str| {
        let path = line.rsplit(':').next()?.trim_start_matches('/').to_owned();
        let limit = Path::new(mount).join(&path).join(file);
        path.contains("cyclometer-").then(|| std::fs::read_to_string(limit).ok())?
    };
    let v1 = groups.lines().find(|line| line.contains(":memory:"));
    let text = match v1 {
        Some(line) => of(line, "/sys/fs/cgroup/memory", "memory.limit_in_bytes")?,
        None => of(groups.lines().last()?, "/sys/fs/cgroup", "memory.max")?,
    };
    text.trim().parse().ok()
}

fn data_limit(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = text.lines().find(|line| line.starts_with("Max data size"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

const LOOP: &str = r#"(memory (export "memory") 1) (func (export "_start") (loop $l (br $l)))"#;

/// What the wall of a worker allows beside the memory limit, as documented: 192
/// MiB, the size of the compiled module (less than 1 MiB here), and twice 16 MiB
/// of output, the default limit.
const ALLOWANCE: u64 = 192 * MIB + MIB + 2 * 16 * MIB;

#[test]
fn each_worker_is_behind_a_wall_of_its_own() {
    let has_groups = FunctionGroup::create().map_err(|error| skip(&error.to_string())).is_ok();
    for start in ["cold", "warm"] {
        let place = Place::new();
        Workload { timeout: "4s", ..Workload::of("endless", LOOP) }.write(&place);
        let mut command = command(&place, "endless", "wasmtime", &["--runs", "1"]);
        let mut child =
            command.args(["--start", start]).stderr(Stdio::null()).spawn().expect("started");
        let limit = wait_for("worker behind a wall", || {
            let pid = worker(&place, "__worker")?;
            if has_groups { group_limit(pid) } else { data_limit(pid) }
        });
        child.wait().expect("ended");
        assert_eq!(limit, 16 * MIB + ALLOWANCE, "{start}");
    }
}

#[test]
fn without_a_control_group_the_wall_is_the_limit_of_private_memory() {
    if !nix::unistd::geteuid().is_root() {
        return skip("needs root, to become somebody without rights");
    }
    let place = Place::new();
    Workload { timeout: "4s", ..Workload::of("endless", LOOP) }.write(&place);
    Workload::of("fine", &LOOP.replace("(loop $l (br $l))", "")).write(&place);
    let mut command = command(&place, "fine,endless", "wasmtime", &["--runs", "1"]);
    command.args(["--start", "both"]).uid(NOBODY).gid(NOBODY).env_remove("HOME");
    let chown = |path: &Path| std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY));
    chown(place.path()).expect("given away");
    let program = Command::new(PROGRAM).arg("--version").uid(NOBODY).gid(NOBODY).output();
    if !program.is_ok_and(|output| output.status.success()) {
        return skip("the program lies where nobody may execute it");
    }
    let child = command.stderr(Stdio::piped()).spawn().expect("started");
    let limit = wait_for("worker", || data_limit(worker(&place, "__worker")?));
    let said = child.wait_with_output().expect("ended");
    assert_eq!(limit, 16 * MIB + ALLOWANCE, "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(ends(&place, "fine"), ["cold: ok: ", "warm: ok: "], "the wall leaves enough");
}

/// Grows by 1 MiB at a time, up to 768, and writes to each; 9: it got them all.
const GROW: &str = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1) (func (export "_start") (local $at i32) (local $n i32)
    (loop $l (local.set $at (i32.mul (memory.size) (i32.const 65536)))
        (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (return)))
        (memory.fill (local.get $at) (i32.const 1) (i32.const 1048576))
        (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 768))))
    (call $exit (i32.const 9)))"#;

#[test]
fn a_runtime_without_a_limit_of_its_own_ends_at_the_wall_and_its_name_is_told() {
    if let Err(error) = FunctionGroup::create() {
        return skip(&error.to_string());
    }
    let place = Place::new();
    Workload { memory: "64MiB", ..Workload::of("grow", GROW) }.write(&place);
    for lane in ["node", "deno", "bun"] {
        if !has_lane(&place, lane) {
            continue;
        }
        let place = Place::new();
        Workload { memory: "64MiB", ..Workload::of("grow", GROW) }.write(&place);
        record(&place, "grow", lane);
        let all = ends(&place, "grow");
        assert!(!all.is_empty(), "{lane}");
        for end in all {
            let told = "failed: out of memory: over the wall of its memory control group, \
                        64.0 MiB of the function and 256 MiB for its runtime";
            assert!(end.contains(told), "{lane}: {end}");
        }
    }
    let lanes = place.ok(&["lanes", "--format", "json"]).json();
    for lane in lanes.as_array().expect("lanes") {
        let (name, note) = (lane["lane"].as_str().expect("text"), lane["note"].to_string());
        let walled = ["wasmtime", "wasmtime-cli", "node", "deno", "bun"];
        if lane["state"] == "available" && walled.contains(&name) {
            assert!(note.contains("more than the memory limit (memory control group)"), "{note}");
        }
    }
}

#[test]
fn counting_an_endless_module_takes_its_time_limit_once_for_all_lanes() {
    let place = Place::new();
    Workload { timeout: "3s", ..Workload::of("endless", LOOP) }.write(&place);
    let begun = Instant::now();
    let run = record(&place, "endless", "wasmtime,wasmtime:winch");
    let took = begun.elapsed();
    let told = "Wasm operators not counted: given up: all counting runs of a module together \
                may take as long as one invocation, 3.00 s";
    let notes = run.stderr.lines().filter(|line| line.starts_with("note: "));
    assert_eq!(notes.filter(|note| note.ends_with(told)).count(), 4, "{}", run.stderr);
    assert_eq!(column(&place.open(), "SELECT DISTINCT wasm_ops FROM v_invocation"), ["NULL"]);
    // Counting 3 s once, and four invocations of 3 s: 15. Four times as much for
    // each of two lanes, as it once was, are 36.
    assert!(took < Duration::from_secs(27), "{took:?}");
}

#[test]
fn exit_codes_from_126_on_are_told_whole_and_are_no_traps() {
    let place = Place::new();
    let codes = [1, 126, 137, 255, 256, 4096, i32::MAX];
    let names: Vec<String> = codes.iter().map(|code| format!("exit{code}")).collect();
    for (name, code) in names.iter().zip(codes) {
        let body = format!(
            r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func (export "_start") (call $exit (i32.const {code})))"#
        );
        Workload::of(name, &body).write(&place);
    }
    record(&place, &names.join(","), "wasmtime,wasmtime:fuel");
    for (name, code) in names.iter().zip(codes) {
        let sql = format!("SELECT DISTINCT exit_code FROM v_invocation WHERE workload = '{name}'");
        assert_eq!(column(&place.open(), &sql), [code.to_string()]);
        for end in ends(&place, name) {
            assert!(end.ends_with(&format!(": failed: exit code {code}")), "{end}");
        }
    }
}

/// Modules that would keep each phase of an invocation busy for minutes, with the
/// word by which the process of that phase is known.
fn phases() -> Vec<(&'static str, String, [&'static str; 3])> {
    // Each function takes the compiler some time: 10,000 of them half a minute.
    let work = "(local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 3)) (i32.const 7)))";
    let function = format!("(func (param i32) (result i32) {} (local.get 0))", work.repeat(200));
    let compile = format!("{}{LOOP}", function.repeat(4_000));
    let start = format!("(func $s (loop $l (br $l))) (start $s) {LOOP}");
    // One clock, monotonic (1), for 2^60 ns, 36 years.
    let sleep = r#"(import "wasi_snapshot_preview1" "poll_oneoff"
            (func $poll (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 16) "\01\00\00\00\00\00\00\00\00\00\00\00\00\00\00\10")
        (func (export "_start")
            (drop (call $poll (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 512))))"#;
    // The variant with fuel counts in the timed run.
    vec![
        ("compile", compile, ["wasmtime", "cold", "__compile"]),
        ("counting", LOOP.to_owned(), ["wasmtime", "cold", "__worker"]),
        ("start", start, ["wasmtime:fuel", "cold", "__worker"]),
        ("host-call", sleep.to_owned(), ["wasmtime:fuel", "cold", "__worker"]),
        ("warm", LOOP.to_owned(), ["wasmtime:fuel", "warm", "__worker"]),
    ]
}

fn interrupt(child: &Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    kill(pid, Signal::SIGINT).expect("sent");
}

/// Ctrl-C twice ends at once whatever runs, once what is prepared.
#[test]
fn every_phase_of_a_module_can_be_interrupted() {
    for (name, body, [lane, start, word]) in phases() {
        let place = Place::new();
        Workload { timeout: "10min", ..Workload::of(name, &body) }.write(&place);
        let mut command = command(&place, name, lane, &["--runs", "1", "--start", start]);
        let mut child = command.stderr(Stdio::null()).spawn().expect("started");
        wait_for(name, || worker(&place, word));
        interrupt(&child);
        std::thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        if child.try_wait().expect("waited for").is_none() {
            interrupt(&child);
        }
        let code = wait_for("end", || child.try_wait().expect("waited for"));
        // Half a second is meant; other tests share the machine.
        assert!(begun.elapsed() < Duration::from_secs(10), "{name}: {:?}", begun.elapsed());
        assert_eq!(code.code(), Some(130), "{name}");
        assert_eq!(worker(&place, word), None, "{name}: left behind");
    }
}

#[test]
fn hostile_host_calls_end_and_what_they_ask_for_is_not_taken() {
    let place = Place::new();
    let import = |name: &str, parameters: &str| {
        format!(
            r#"(import "wasi_snapshot_preview1" "{name}" (func $call (param {parameters}) (result i32)))
            (memory (export "memory") 1 200)"#
        )
    };
    let start = |call: &str| format!(r#"(func (export "_start") (drop {call}))"#);
    let four = "i32 i32 i32 i32";
    let all = [
        ("random", import("random_get", "i32 i32"), "(call $call (i32.const 0) (i32.const -1))"),
        (
            "write",
            import("fd_write", four),
            "(call $call (i32.const 1) (i32.const 16) (i32.const -1) (i32.const 8))",
        ),
        (
            "read",
            import("fd_read", four),
            "(call $call (i32.const 0) (i32.const 16) (i32.const -1) (i32.const 8))",
        ),
        (
            "poll",
            import("poll_oneoff", four),
            "(call $call (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 8))",
        ),
        ("args", import("args_get", "i32 i32"), "(call $call (i32.const -1) (i32.const -8))"),
        ("environ", import("environ_get", "i32 i32"), "(call $call (i32.const -1) (i32.const -8))"),
    ];
    for (name, import, call) in &all {
        Workload::of(name, &format!("{import}{}", start(call))).write(&place);
    }
    let names: Vec<&str> = all.iter().map(|call| call.0).collect();
    record(&place, &names.join(","), "wasmtime");
    for name in names {
        let ends = ends(&place, name);
        assert_eq!(ends.len(), 2, "{name}");
        for end in ends {
            let (_, end) = end.split_once(": ").expect("a start");
            assert!(end.starts_with("ok") || end.starts_with("failed: trap: "), "{name}: {end}");
        }
    }
    // A worker takes some 25 MiB, its code included.
    let peaks = numbers(
        &place.open(),
        "SELECT memory_peak_bytes FROM v_invocation WHERE memory_peak_bytes IS NOT NULL",
    );
    assert!(!peaks.is_empty());
    let most = i64::try_from(16 * MIB + ALLOWANCE).expect("small");
    assert!(peaks.iter().all(|peak| *peak < most), "{peaks:?}");
}

/// A module that the compiler refuses is not tried again for each preset or start.
#[test]
fn a_module_that_does_not_compile_is_compiled_once() {
    let place = Place::new();
    Workload::of("bad", r#"(func (export "_start") (drop))"#).write(&place);
    let run = record(&place, "bad", "wasmtime");
    assert_eq!(run.code, 1, "{}", run.stderr);
    for end in ends(&place, "bad") {
        assert!(end.contains("not a module that wasmtime compiles"), "{end}");
    }
}
