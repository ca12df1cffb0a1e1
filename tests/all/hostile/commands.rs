//! Runtimes and workers that end badly, or never.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cyclometer_testkit::skip;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::common::{Place, Run, column, compile, numbers, processes};

/// A runtime of that misbehaviour, and a function for it.
struct Fake {
    place: Place,
    program: PathBuf,
}

impl Fake {
    fn new() -> Option<Self> {
        let place = Place::new();
        let program = compile(&place, "fake_worker", include_str!("../programs/fake_worker.c"))?;
        let module = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
        place.write("w/f/m.wasm", wat::parse_str(module).expect("valid text"));
        let manifest = "title = \"f\"\nstresses = \"s\"\nwasm = \"m.wasm\"\n[preset.quick]\n";
        place.write("w/f/workload.toml", manifest);
        Some(Self { place, program })
    }

    fn profile(&self, mode: &str, rest: &str) {
        let program = self.program.display();
        let text = format!(
            "title = \"Fake\"\ntakes = \"module\"\ninstall = \"none\"\nmemory = \"none\"\n\
             [program]\nnames = [\"{program}\"]\nversion = [\"{mode}\", \"--version\"]\nafter = \"fake \"\n\
             [cold]\nargs = [\"{mode}\", \"cold\", \"{{module}}\", \"{{args...}}\"]\n\
             [warm]\nargs = [\"{mode}\", \"warm\", \"{{module}}\", \"{{args...}}\"]\n{rest}"
        );
        self.place.write("runtimes/fake.toml", text);
    }

    fn command(&self, more: &[&str]) -> Command {
        let at = |name: &str| self.place.path().join(name).display().to_string();
        let mut command = self.place.command(&["record", "--workload", "f", "--lane", "fake"]);
        command
            .args(["--workloads", &at("w"), "--runtimes", &at("runtimes"), "--warmup", "0"])
            .args(more)
            .env("XDG_CACHE_HOME", at("cache"));
        command
    }

    /// Statuses and reasons of two warm runs of a worker of that misbehaviour.
    fn warm(&self, mode: &str, runs: &str) -> Vec<String> {
        self.profile(mode, "");
        let begun = Instant::now();
        let mut command = self.command(&["--start", "warm", "--runs", runs, "--timeout", "2s"]);
        let run = Run::of(&command.output().expect("run"));
        let took = begun.elapsed();
        assert!(took < Duration::from_mins(1), "{mode} took {took:?}");
        assert!([0, 1, 3].contains(&run.code), "{mode}: {}", run.stderr);
        let told = run.stderr.contains(|c: char| c.is_control() && c != '\n');
        assert!(!told, "{mode}: {:?}", run.stderr);
        let program = self.program.display().to_string();
        assert_eq!(processes(&program), Vec::<i32>::new(), "{mode} left something");
        let connection = self.place.open();
        let latest = "recording = (SELECT MAX(recording) FROM v_recording)";
        let wall = format!("SELECT COALESCE(MAX(wall_ns), 0) FROM v_invocation WHERE {latest}");
        let wall = Duration::from_nanos(numbers(&connection, &wall)[0].unsigned_abs());
        assert!(wall <= took, "{mode}: {wall:?} of {took:?} is absurd");
        let sql = format!(
            "SELECT status || ': ' || COALESCE(reason, '') FROM v_invocation WHERE {latest}
             ORDER BY sequence"
        );
        column(&connection, &sql)
    }
}

#[test]
fn a_worker_that_says_nonsense_is_refused_with_the_reason_and_replaced() {
    let Some(fake) = Fake::new() else { return };
    let outside = "it reported a moment outside of its request: ";
    for (mode, status, reason) in [
        ("garbage", "failed", "the worker did not get ready: it said `"),
        ("eager", "failed", "the worker did not get ready: it said more than it was asked for"),
        ("endless", "failed", "it said a line of more than 8192 bytes"),
        ("newlines", "failed", "it said ``, which is no answer"),
        ("future", "failed", outside),
        ("past", "failed", outside),
        ("negative", "failed", "it reported the moment `-1`, which is not a number of nanoseconds"),
        ("huge", "failed", "which is not a number of nanoseconds"),
        ("order", "failed", "it reported moments that are not in order"),
        ("escapes", "failed", "trap: \\x1b[31mred\\x1b]0;t"),
        (
            "exitbig",
            "failed",
            "it reported the exit code `99999999999`, which does not fit 32 bits",
        ),
        ("latin", "failed", "which is no answer"),
        ("nul", "failed", "which is not a number of nanoseconds"),
        ("ready", "failed", "it said `ready` when something else was asked"),
        // In two pieces: the second may come before or after the next question.
        ("extra", "ok", "its worker was replaced after it: it said"),
    ] {
        let ends = fake.warm(mode, "2");
        assert_eq!(ends.len(), 2, "{mode}: {ends:?}");
        for end in &ends {
            assert!(end.starts_with(&format!("{status}: ")), "{mode}: {end}");
            assert!(end.contains(reason), "{mode}: `{end}` does not say `{reason}`");
        }
    }
    assert_eq!(fake.warm("good", "2"), ["ok: ", "ok: "]);
}

#[test]
fn a_worker_that_is_silent_hangs_up_or_dies_hangs_nobody() {
    let Some(fake) = Fake::new() else { return };
    let late = "the worker before it was replaced: it said more than it was asked for";
    for (mode, runs, wanted) in [
        ("close", "2", "failed: it closed its connection and went on running"),
        ("die", "2", "failed: it ended: exit status 3"),
        ("never", "2", "timeout: no end within its limit of 2.00 s"),
        ("stop", "2", "timeout: no end within its limit of 2.00 s"),
        ("norest", "1", "ok: its worker was replaced after it: no answer in time"),
    ] {
        let ends = fake.warm(mode, runs);
        assert!(!ends.is_empty(), "{mode}");
        for end in &ends {
            assert!(end.starts_with(wanted), "{mode}: {end}");
        }
    }
    let ends = fake.warm("late", "5");
    assert!(ends.iter().all(|end| end.starts_with("ok: ")), "{ends:?}");
    assert!(ends.iter().any(|end| end.contains(late) || end.contains("after it: ")), "{ends:?}");
}

#[test]
fn ctrl_c_ends_waits_for_workers_versions_and_compilers() {
    let Some(fake) = Fake::new() else { return };
    let compile = "[compile]\nargs = [\"x\", \"compile\", \"{module}\", \"{artifact}\"]\ntimeout = \"100s\"\n";
    let cold = |text: &str| text.replace("{module}\", \"{args", "{artifact}\", \"{args");
    for (mode, more) in
        [("noready", ""), ("never", ""), ("norest", ""), ("hangs", ""), ("x", compile)]
    {
        fake.profile(mode, more);
        if !more.is_empty() {
            let path = fake.place.path().join("runtimes/fake.toml");
            let text = std::fs::read_to_string(&path).expect("there");
            std::fs::write(&path, cold(&text)).expect("written");
        }
        let args = ["--start", "warm", "--runs", "1", "--timeout", "100s"];
        let mut child = fake.command(&args).stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
        let child = child.as_mut().expect("run");
        let program = fake.program.display().to_string();
        let begun = Instant::now();
        while processes(&program).is_empty() && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(700));
        let asked = Instant::now();
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        kill(pid, Signal::SIGINT).expect("sent");
        let status = child.wait().expect("ended");
        assert!(asked.elapsed() < Duration::from_secs(8), "{mode}: {:?}", asked.elapsed());
        assert_eq!(status.code(), Some(130), "{mode}");
        assert_eq!(processes(&program), Vec::<i32>::new(), "{mode} left something");
    }
}

#[test]
fn a_version_that_never_ends_and_a_compiler_that_hangs_are_bounded_and_told() {
    let Some(fake) = Fake::new() else { return };
    fake.profile("talks", "");
    let run = Run::of(&fake.command(&["--runs", "1"]).output().expect("run"));
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("--version` failed: killed by signal 25"), "{}", run.stderr);
    let compile =
        "[compile]\nargs = [\"x\", \"compile\", \"{module}\", \"{artifact}\"]\ntimeout = \"1s\"\n";
    fake.profile("x", compile);
    let path = fake.place.path().join("runtimes/fake.toml");
    let text = std::fs::read_to_string(&path).expect("there");
    let text = text.replace("{module}\", \"{args", "{artifact}\", \"{args");
    std::fs::write(&path, text).expect("written");
    let run = Run::of(&fake.command(&["--runs", "1"]).output().expect("run"));
    assert!(run.stderr.contains("the compile step failed: no end in time"), "{}", run.stderr);
}

fn installed(lane: &str) -> bool {
    use cyclometer::lane::LaneSpec;
    let spec: LaneSpec = lane.parse().expect("a lane");
    let owner = cyclometer::procfs::ProcessIdentity::current().expect("/proc");
    let is_here = cyclometer::lane::open_lane(&spec, &owner).is_ok();
    if !is_here {
        skip(&format!("{lane} is not here"));
    }
    is_here
}

/// Records every workload of `w` once in a lane.
fn ends(place: &Place, lane: &str, more: &[&str]) -> Vec<String> {
    let folder = place.path().join("w");
    let names: Vec<String> = std::fs::read_dir(&folder)
        .expect("there")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    let args = ["record", "--workloads", folder.to_str().expect("UTF-8"), "--workload"];
    let run = place.run(
        &[&args[..], &[&names.join(","), "--lane", lane, "--runs", "1", "--warmup", "0"], more]
            .concat(),
    );
    assert!([1, 3].contains(&run.code), "{lane}: {}", run.stderr);
    let sql = "SELECT workload || ' ' || start || ' ' || status || ' ' || COALESCE(exit_code, '-')
               || ' ' || COALESCE(reason, '') FROM v_invocation
               WHERE recording = (SELECT MAX(recording) FROM v_recording)
               ORDER BY workload, start";
    column(&place.open(), sql)
}

#[test]
fn an_exit_code_is_told_as_it_is_or_refused_and_never_cut() {
    let place = Place::new();
    for code in [126, 127, 134, 137, 255, 256] {
        let module = format!(
            r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (memory (export "memory") 1)
                (func (export "_start") (call $exit (i32.const {code}))))"#
        );
        place.write(&format!("w/e{code}/m.wasm"), wat::parse_str(module).expect("valid text"));
        let manifest = "title = \"e\"\nstresses = \"s\"\nwasm = \"m.wasm\"\n[preset.quick]\n";
        place.write(&format!("w/e{code}/workload.toml"), manifest);
    }
    for lane in ["wasmtime", "node", "deno", "bun", "wasmi", "wasmtime-cli"] {
        if !installed(lane) {
            continue;
        }
        let refuses_all = lane.starts_with("wasm") && lane != "wasmtime";
        for end in ends(&place, lane, &[]) {
            let mut words = end.split(' ');
            let code = words.next().and_then(|word| word.strip_prefix('e')).expect("a name");
            let is_warm = words.next() == Some("warm");
            let fits = code != "256" || lane == "wasmtime" || is_warm;
            let rest = words.collect::<Vec<_>>().join(" ");
            if fits && !refuses_all {
                assert_eq!(rest, format!("failed {code} exit code {code}"), "{lane}: {end}");
            } else {
                let wanted = "failed - an exit code that this runtime does not pass on: ";
                assert!(rest.starts_with(wanted), "{lane}: {end}");
            }
        }
    }
}

fn program(place: &Place, name: &str, source: &str, preset: &str) -> bool {
    let Some(program) = compile(place, name, source) else { return false };
    let bytes = std::fs::read(program).expect("there");
    let file = place.write(&format!("w/{name}/p"), bytes);
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).expect("set");
    let manifest =
        format!("title = \"p\"\nstresses = \"s\"\nnative = \"p\"\n[preset.quick]\n{preset}\n");
    place.write(&format!("w/{name}/workload.toml"), manifest);
    true
}

/// Takes 256 MiB and uses it.
const EATER: &str = "#include <stdlib.h>\n#include <string.h>\nint main(void) { \
     for (int i = 0; i < 256; i++) { char *p = malloc(1 << 20); if (!p) return 9; memset(p, i + 1, 1 << 20); } \
     return 0; }";

#[test]
fn exit_statuses_of_programs_are_their_own() {
    let place = Place::new();
    for code in [126, 137, 255] {
        let source = format!("int main(void) {{ return {code}; }}");
        if !program(&place, &format!("e{code}"), &source, "") {
            return;
        }
    }
    for lane in ["native", "runc"] {
        if installed(lane) {
            let wanted = ["126", "137", "255"];
            let wanted = wanted.map(|it| format!("e{it} cold failed {it} exit code {it}"));
            assert_eq!(ends(&place, lane, &[]), wanted, "{lane}");
        }
    }
}

#[test]
fn want_of_memory_in_a_container_without_an_engine_is_told_as_such() {
    let place = Place::new();
    if !program(&place, "eats", EATER, "") {
        return;
    }
    for lane in ["runc", "runsc"] {
        if !installed(lane) || !nix::unistd::geteuid().is_root() {
            continue;
        }
        let found = ends(&place, lane, &["--memory", "64MiB"]);
        let wanted = "out of memory: over its memory limit of 64.0 MiB";
        assert!(found[0].contains(wanted), "{lane}: {found:?}");
    }
}

/// A control group with a memory limit, for whoever enters it.
struct Cramped(PathBuf);

impl Cramped {
    fn new(limit: u64) -> Option<Self> {
        let folder = format!("/sys/fs/cgroup/memory/cramped-{}", std::process::id());
        let folder = PathBuf::from(folder);
        if std::fs::create_dir(&folder).is_err() {
            skip("no v1 control group can be made");
            return None;
        }
        let cramped = Self(folder);
        let set = |name: &str| std::fs::write(cramped.0.join(name), limit.to_string());
        set("memory.limit_in_bytes").expect("a limit");
        let _ = set("memory.memsw.limit_in_bytes");
        Some(cramped)
    }
}

impl Drop for Cramped {
    fn drop(&mut self) {
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_limit_around_the_recorder_is_told_as_want_of_memory() {
    let Some(cramped) = Cramped::new(160 << 20) else { return };
    let place = Place::new();
    // 4096 pages of 64 KiB, each touched.
    let module = r#"(module (memory (export "memory") 1)
        (func (export "_start") (local $at i32)
            (drop (memory.grow (i32.const 4095)))
            (loop $next
                (i32.store (local.get $at) (i32.const 7))
                (local.set $at (i32.add (local.get $at) (i32.const 4096)))
                (br_if $next (i32.lt_u (local.get $at) (i32.const 268369920))))))"#;
    place.write("w/touch/m.wasm", wat::parse_str(module).expect("valid text"));
    let manifest = "title = \"e\"\nstresses = \"s\"\nwasm = \"m.wasm\"\n[preset.quick]\n";
    place.write("w/touch/workload.toml", manifest);
    let script = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", cramped.0.display());
    let folder = place.path().join("w");
    let folder = folder.to_str().expect("UTF-8");
    let program = super::super::common::PROGRAM;
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            &script,
            "sh",
            program,
            "record",
            "--workloads",
            folder,
            "--workload",
            "touch",
        ])
        .args(["--lane", "wasmtime", "--memory", "512MiB", "--runs", "1", "--warmup", "0"])
        .env("CYCLOMETER_DB", place.db());
    let run = Run::of(&command.output().expect("run"));
    let ends = column(&place.open(), "SELECT start || ' ' || reason FROM v_invocation");
    assert!(!ends.is_empty(), "{}", run.stderr);
    for end in &ends {
        assert!(end.contains("out of memory"), "{end}; {}", run.stderr);
    }
}

#[test]
fn profiles_of_others_are_not_run_unless_they_are_trusted() {
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can give files away");
    }
    let place = Place::new();
    let mark = place.path().join("mark");
    let text = format!(
        "title = \"Evil\"\ntakes = \"module\"\ninstall = \"none\"\nmemory = \"none\"\n\
         [program]\nnames = [\"/usr/bin/touch\", \"/bin/touch\"]\nversion = [\"{}\"]\nafter = \"\"\n\
         [cold]\nargs = [\"{{module}}\", \"{{args...}}\"]\n",
        mark.display()
    );
    let file = place.write("config/cyclometer/runtimes/evil.toml", text);
    chown(&file, Some(65_534), None).expect("given away");
    let run = |args: &[&str]| {
        let mut command = place.command(args);
        Run::of(&command.env("XDG_CONFIG_HOME", place.path().join("config")).output().expect("run"))
    };
    let path = file.display().to_string();
    for args in [
        &["lanes"][..],
        &["doctor"],
        &["record", "--workload", "nop", "--lane", "evil", "--runs", "1"],
        &["lanes", "check", &path],
        &["lanes", "--runtimes", &path],
    ] {
        let run = run(args);
        assert!(run.stderr.contains("evil.toml belongs to "), "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains("--trust-profiles"), "{args:?}: {}", run.stderr);
        assert!(!mark.exists(), "{args:?} ran it");
    }
    run(&["lanes", "--trust-profiles"]);
    assert!(mark.exists(), "trusted, it is run");
}

#[test]
fn what_the_dead_left_goes_with_its_processes_and_what_others_have_stays() {
    let place = Place::new();
    let temporary = place.path().join("tmp");
    let cache = place.path().join("cache");
    let make = |path: &Path| std::fs::create_dir_all(path).expect("made");
    let dead = "cyclometer-1-2-nosuchboot";
    make(&temporary.join(format!("{dead}-lane0/state")));
    // Of another user, who is no business of ours.
    let theirs = temporary.join(format!("{dead}-lane1"));
    make(&theirs);
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        chown(&theirs, Some(65_534), None).expect("given away");
    }
    let partial = format!("cache/cyclometer/runtimes/0123/partial-{dead}-keep0-nop.wasm");
    place.write(&partial, "half a module");
    let group = PathBuf::from(format!("/sys/fs/cgroup/memory/{dead}-c{}", std::process::id()));
    let mut child = None;
    if std::fs::create_dir_all(group.join("container")).is_ok() {
        let started = Command::new("sleep").arg("600").spawn().expect("run");
        std::fs::write(group.join("container/cgroup.procs"), started.id().to_string()).expect("in");
        child = Some(started);
    } else {
        skip("no v1 control group can be made");
    }
    let run = Run::of(
        &place
            .command(&["record", "--workload", "nop", "--lane", "native", "--runs", "1"])
            .envs([("TMPDIR", &temporary), ("XDG_CACHE_HOME", &cache)])
            .output()
            .expect("run"),
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let told = "note: removed what killed processes had left behind: ";
    assert!(run.stderr.contains(told), "{}", run.stderr);
    assert!(run.stderr.contains("1 temporary folder, 1 unfinished file"), "{}", run.stderr);
    assert!(!temporary.join(format!("{dead}-lane0")).exists());
    assert_eq!(theirs.exists(), is_root, "{}", run.stderr);
    assert!(!place.path().join(partial).exists());
    if let Some(mut child) = child {
        assert!(!group.exists(), "{}", run.stderr);
        assert!(!child.wait().expect("ended").success(), "what was in the group was killed");
    }
}
