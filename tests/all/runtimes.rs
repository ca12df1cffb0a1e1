//! Runtimes that have a profile, run for real where they are installed. In CI
//! `CYCLOMETER_REQUIRE_RUNTIMES` names those that must be.

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{self, Place, Run, column, numbers};
use cyclometer::profile::{AcceptedForm, ProfileCatalog};
use cyclometer_testkit::skip;
use serde_json::Value;

/// The rows of a table that was printed as JSON.
fn rows(run: &Run) -> Vec<Value> {
    run.json().as_array().expect("rows").clone()
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

/// Names that CI promises.
fn required() -> BTreeSet<String> {
    let names = std::env::var("CYCLOMETER_REQUIRE_RUNTIMES").unwrap_or_default();
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The lanes of profiles that are here; those that are required must be.
fn installed(place: &Place) -> Vec<String> {
    let listed = rows(&place.ok(&["lanes", "--format", "json"]));
    let required = required();
    for row in &listed {
        let (lane, state) = (text(row, "lane"), text(row, "state"));
        let there = state == "available";
        assert!(there || !required.contains(lane), "{lane} is required here: {row}");
    }
    let profiles = ProfileCatalog::builtin();
    let here = listed.iter().filter(|row| text(row, "state") == "available");
    here.map(|row| text(row, "lane").to_owned()).filter(|it| profiles.get(it).is_some()).collect()
}

/// Lanes that run every workload.
const WHOLE: [&str; 7] =
    ["node", "deno", "bun", "wasmi", "wasmtime-cli", "wasmtime-cli:jit", "wasmtime-cli:winch"];

/// Whether a lane is left to whoever has a machine for it.
fn needs_a_machine(lane: &str) -> bool {
    // KVM inside of a virtual machine hangs as often as not.
    lane.starts_with("qemu") || lane.starts_with("firecracker") || lane == "runsc:kvm"
}

#[test]
fn every_profile_is_listed_with_its_version_or_with_what_to_do() {
    let place = Place::new();
    let listed = rows(&place.ok(&["lanes", "--format", "json"]));
    for profile in ProfileCatalog::builtin().iter() {
        let row = listed.iter().find(|row| text(row, "lane") == profile.name).expect("listed");
        let note = text(row, "note");
        if text(row, "state") == "available" {
            let version = text(row, "version");
            assert!(version.contains(|c: char| c.is_ascii_digit()), "{row}");
            assert!(note.contains("memory"), "who limits memory? {row}");
        } else {
            let mut remedies = profile.needs.iter().map(|need| &need.install);
            let told = note.contains(&profile.install) || remedies.any(|it| note.contains(it));
            assert!(told, "{row}");
        }
    }
}

#[test]
fn all_workloads_give_the_expected_outputs_in_every_runtime_that_is_here() {
    let place = Place::new();
    let lanes: Vec<String> =
        installed(&place).into_iter().filter(|lane| !needs_a_machine(lane)).collect();
    if lanes.is_empty() {
        return skip("no runtime with a profile is installed: see runtimes/install");
    }
    let run = place.run(&["workloads", "check", "--lane", &lanes.join(","), "--format", "json"]);
    let checked = rows(&run);
    assert!(checked.len() >= 8 * lanes.len(), "{}", run.stderr);
    for row in checked {
        let (lane, reason) = (text(&row, "lane"), text(&row, "reason"));
        if text(&row, "status") == "ok" {
            assert_eq!(row["sha256"], row["expected_sha256"], "{row}");
            continue;
        }
        // What a runtime cannot is in its profile; those that are required can all.
        assert!(reason.contains("(known: "), "{row}");
        assert!(!WHOLE.contains(&lane), "{row}");
    }
}

#[test]
fn runtimes_that_are_here_keep_the_contract() {
    let place = Place::new();
    let lanes = installed(&place);
    for lane in lanes.iter().filter(|lane| !needs_a_machine(lane)) {
        let run = place.run(&["lanes", "check", lane, "--format", "json"]);
        for row in rows(&run) {
            let known = text(&row, "came").contains("(known: ");
            assert!(text(&row, "state") != "failed" || known, "{row}");
        }
    }
}

#[test]
fn a_recording_tells_what_a_runtime_measures_and_compiles_once() {
    let place = Place::new();
    let Some(lane) = installed(&place).into_iter().find(|lane| lane == "wasmtime-cli") else {
        return skip("the Wasmtime CLI is not installed");
    };
    let record = |place: &Place| {
        let args = ["record", "--workload", "nbody", "--lane", &lane, "--runs", "2"];
        let mut command = place.command(&args);
        command.env("XDG_CACHE_HOME", place.path().join("cache"));
        let run = Run::of(&command.output().expect("it starts"));
        assert_eq!(run.code, 0, "{}", run.stderr);
    };
    record(&place);
    record(&place);
    let connection = place.open();
    let compiled = "SELECT duration_ns FROM phase WHERE name = 'prepare'";
    let compiled = numbers(&connection, compiled);
    assert_eq!(compiled.len(), 1, "compiled in the first recording only: {compiled:?}");
    assert!(compiled[0] > 1_000_000, "{compiled:?}");
    // The program alone has megabytes; the module has kilobytes.
    let footprint = numbers(&connection, "SELECT footprint_bytes FROM cell");
    let program = std::fs::metadata(which("wasmtime").expect("found")).expect("there").len();
    assert!(footprint.iter().all(|size| *size > i64::try_from(program).expect("small")));
    assert!(numbers(&connection, "SELECT MIN(cpu_ns) FROM v_invocation")[0] > 1_000_000);
    let unexplained =
        "SELECT lane || ' ' || meter FROM v_meter_source WHERE source IS NULL AND note = ''";
    assert!(column(&connection, unexplained).is_empty());
}

#[test]
fn what_runs_outside_of_the_process_tree_is_missing_and_not_wrong() {
    let place = Place::new();
    if !installed(&place).iter().any(|lane| lane == "runsc") {
        return skip("gVisor's runsc is not installed");
    }
    let run = place.run(&["record", "--workload", "nop", "--lane", "runsc", "--runs", "1"]);
    if run.code != 0 {
        return skip(&format!("runsc does not run here: {}", run.stderr));
    }
    let connection = place.open();
    let missing = "SELECT meter FROM v_meter_source WHERE note LIKE '%sandbox, whose account%'";
    let missing = column(&connection, missing);
    for meter in ["cpu_user", "memory_peak", "memory_time"] {
        assert!(missing.iter().any(|it| it == meter), "{meter} is not in {missing:?}");
    }
    assert_eq!(column(&connection, "SELECT memory_peak_bytes FROM v_invocation"), ["NULL"]);
}

#[test]
fn a_warm_worker_outlives_traps_and_is_replaced_when_it_hangs() {
    let place = Place::new();
    if !installed(&place).iter().any(|lane| lane == "node") {
        return skip("node is not installed");
    }
    let module = include_bytes!("../../runtimes/contract/contract.wasm");
    for (name, arg, limit) in
        [("traps", "trap", "30s"), ("spins", "spin", "400ms"), ("ends", "exit", "30s")]
    {
        let manifest = format!(
            "title = \"t\"\nstresses = \"s\"\nwasm = \"m.wasm\"\n[preset.quick]\nargs = [\"{arg}\", \"5\"]\n\
             limits = {{ timeout = \"{limit}\" }}\n"
        );
        place.write(&format!("w/{name}/workload.toml"), manifest);
        place.write(&format!("w/{name}/m.wasm"), module);
    }
    let workloads = place.path().join("w");
    let workloads = workloads.to_str().expect("UTF-8");
    let run = place.run(&[
        "record",
        "--workloads",
        workloads,
        "--workload",
        "traps,spins,ends,nbody",
        "--lane",
        "node",
        "--start",
        "warm",
        "--runs",
        "2",
        "--warmup",
        "0",
    ]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    let connection = place.open();
    let ends = "SELECT workload || ' ' || status || ' ' || COALESCE(exit_code, '-') || ' ' || COALESCE(reason, '')
                FROM v_invocation ORDER BY workload, sequence";
    let ends = column(&connection, ends);
    let trap = "traps failed - trap: unreachable";
    assert_eq!(
        ends,
        [
            "ends failed 5 exit code 5",
            "ends failed 5 exit code 5",
            "nbody ok 0 ",
            "nbody ok 0 ",
            "spins timeout - no end within its limit of 400 ms",
            "spins timeout - no end within its limit of 400 ms",
            trap,
            trap,
        ]
    );
    // A second of work is in the counters, and not the worker's own start again.
    let cpu = numbers(&connection, "SELECT cpu_ns FROM v_invocation WHERE workload = 'nbody'");
    let run = numbers(&connection, "SELECT run_ns FROM v_invocation WHERE workload = 'nbody'");
    assert!(
        cpu.iter().zip(&run).all(|(cpu, run)| cpu * 2 > *run / 4 && *run > 1_000_000),
        "{cpu:?} {run:?}"
    );
}

/// Without KVM a machine takes seconds: only where a kernel is named.
#[test]
fn a_machine_gives_the_output_and_status_of_its_function() {
    let place = Place::new();
    if !installed(&place).iter().any(|lane| lane == "qemu:emulated") {
        return skip("no QEMU, or CYCLOMETER_RUNTIME_QEMU_KERNEL names no kernel");
    }
    let args =
        ["workloads", "check", "--lane", "qemu:emulated", "--workload", "nop,fannkuch-redux"];
    place.ok(&args);
}

/// A folder on `PATH` with the runtime of `tests/data/profiles` and a real one
/// beside it.
struct Faulty {
    place: Place,
    path: std::ffi::OsString,
}

impl Faulty {
    /// `None`, said aloud, without a runtime to build on.
    fn new() -> Option<Self> {
        let Some(real) = ["wasmi", "wasmtime"].iter().find_map(|name| which(name)) else {
            assert!(required().is_empty(), "a runtime is required here");
            skip("neither wasmi nor the Wasmtime CLI is installed: see runtimes/install");
            return None;
        };
        let place = Place::new();
        let program =
            place.write("bin/cyclometer-test-runtime", include_bytes!("../data/profiles/runtime"));
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("set");
        symlink(real, place.path().join("bin/real")).expect("linked");
        let old = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(place.path().join("bin")).chain(std::env::split_paths(&old));
        let path = std::env::join_paths(folders).expect("no colons");
        Some(Self { place, path })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.place.command(args);
        command.env("PATH", &self.path).env("XDG_CACHE_HOME", self.place.path().join("cache"));
        command
    }

    fn check(&self, file: &str) -> Run {
        let file = profiles().join(file);
        let args = ["lanes", "check", file.to_str().expect("UTF-8"), "--format", "json"];
        Run::of(&self.command(&args).output().expect("it starts"))
    }
}

fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn profiles() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/profiles")
}

/// The file, the only check that fails, and what is told of it.
const BROKEN: [(&str, &str, &str); 16] = [
    ("swallow-status", "exit status 7", "exit status 0"),
    ("drop-stdin", "standard input", "no output; the same for 0 bytes"),
    ("join-arguments", "arguments", "; the same for 0 bytes"),
    ("split-arguments", "arguments", "; the same for "),
    ("truncate-output", "large output", "8388608 bytes; the same for 8388608 bytes"),
    ("append-newline", "output bytes", "\\xfe\\tend\\n\"; the same for 11 bytes"),
    ("drop-zeroes", "output bytes", "\"ab\\r\\n\\xff\\xfe\\tend\"; the same for 1 bytes"),
    ("hide-crash", "crash", "exit status 0, after \"before\\n\""),
    ("merge-stderr", "standard error", "\"out\\nerr\\nput\\n\"; the same for 4 bytes"),
    ("leak-environment", "environment", "it sees LEAKED"),
    ("pass-environment", "environment", "it sees CYCLOMETER_CANARY"),
    ("show-files", "files", "it sees /"),
    ("ignore-limit", "memory", "exit status 0"),
    ("compile-nothing", "prepare", "the compile step ended well but made no file"),
    (
        "version",
        "runtime",
        "does not tell its version as the profile says, by a number after \"version \"; it said: runtime 1.0",
    ),
    (
        "too-old",
        "runtime",
        "is version 1.0, and the profile is for 2.1 and later; it comes with the tests",
    ),
];

#[test]
fn each_broken_profile_fails_the_check_that_it_breaks_and_no_other() {
    let Some(faulty) = Faulty::new() else { return };
    let sound = faulty.check("sound.toml");
    assert_eq!(sound.code, 0, "{}{}", sound.stdout, sound.stderr);
    assert!(rows(&sound).len() >= 14, "{}", sound.stdout);
    for (name, check, told) in BROKEN {
        let run = faulty.check(&format!("broken-{name}.toml"));
        assert_eq!(run.code, 1, "{name}: {}", run.stdout);
        let rows = rows(&run);
        let failed: Vec<&Value> =
            rows.iter().filter(|row| text(row, "state") == "failed").collect();
        let [row] = &failed[..] else { panic!("{name}: {failed:?}") };
        assert_eq!(text(row, "check"), check, "{name}: {row}");
        assert!(text(row, "came").contains(told), "{name}: {row}");
        assert!(run.stderr.contains("1 of "), "{name}: {}", run.stderr);
    }
}

#[test]
fn a_profile_that_cannot_be_read_says_where() {
    let place = Place::new();
    let check = |file: &str| {
        let file = profiles().join(file);
        place.run(&["lanes", "check", file.to_str().expect("UTF-8")])
    };
    let run = check("broken-placeholder.toml");
    assert_eq!(run.code, 1);
    let told =
        "broken-placeholder.toml:12:17: unknown placeholder `{modul}`; did you mean `module`?";
    assert!(run.stderr.contains(told), "{}", run.stderr);
    let run = check("broken-not-there.toml");
    assert_eq!(run.code, 1);
    let told = "no cyclometer-no-such-runtime on PATH; it comes with the tests";
    assert!(
        run.stdout.split_whitespace().collect::<Vec<_>>().join(" ").contains(told),
        "{}",
        run.stdout
    );
    let run = check("no-such-file.toml");
    assert!(run.code == 1 && run.stderr.contains("No such file"), "{}", run.stderr);
}

#[test]
fn a_dropped_file_is_a_lane_and_a_broken_one_does_not_stop_the_others() {
    let Some(faulty) = Faulty::new() else { return };
    let folder = faulty.place.path().join("config/cyclometer/runtimes");
    std::fs::create_dir_all(&folder).expect("made");
    std::fs::copy(profiles().join("sound.toml"), folder.join("mine.toml")).expect("copied");
    std::fs::write(folder.join("broken.toml"), "title = 3\n").expect("written");
    let run = |args: &[&str]| {
        let mut command = faulty.command(args);
        command.env("XDG_CONFIG_HOME", faulty.place.path().join("config"));
        Run::of(&command.output().expect("it starts"))
    };
    let recorded = run(&["record", "--workload", "nop", "--lane", "mine", "--runs", "2"]);
    assert_eq!(recorded.code, 0, "{}", recorded.stderr);
    let told =
        "broken.toml:1:9: invalid type: integer `3`, expected a string (this runtime is left out)";
    assert!(recorded.stderr.contains(told), "{}", recorded.stderr);
    let connection = faulty.place.open();
    assert_eq!(column(&connection, "SELECT DISTINCT lane FROM v_invocation"), ["mine"]);
    let mistyped = run(&["record", "--lane", "mien"]);
    assert_eq!(mistyped.code, 2);
    assert!(
        mistyped.stderr.contains("unknown lane `mien`; did you mean `mine`?"),
        "{}",
        mistyped.stderr
    );
    let wrong = faulty.place.run(&["lanes", "--runtimes", "/no/such/folder"]);
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
    let shipped = faulty.place.run(&["record", "--lane", "wasmtim-cli"]);
    assert!(shipped.stderr.contains("did you mean `wasmtime-cli`?"), "{}", shipped.stderr);
}

#[test]
fn a_runtime_that_hangs_is_ended_and_leaves_nothing_behind() {
    let Some(faulty) = Faulty::new() else { return };
    let word = format!("3{}", std::process::id());
    let text = std::fs::read_to_string(profiles().join("sound.toml")).expect("there");
    let text = text.replace(
        "\"none\", \"{module}\", \"{args...}\"",
        &format!("\"-c\", \"setsid sleep {word} & sleep {word}\", \"{{module}}\", \"{{args...}}\""),
    );
    let text = text
        .replace("cyclometer-test-runtime", "/bin/sh")
        .replace("[\"--version\"]", "[\"-c\", \"echo runtime 1\"]");
    let file = faulty.place.write("hangs.toml", text);
    let file = file.to_str().expect("UTF-8");
    let args = [
        "record",
        "--runtimes",
        file,
        "--lane",
        "hangs",
        "--workload",
        "nop",
        "--runs",
        "1",
        "--timeout",
        "300ms",
    ];
    let run = Run::of(&faulty.command(&args).output().expect("it starts"));
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert_eq!(column(&faulty.place.open(), "SELECT status FROM v_invocation"), ["timeout"]);
    assert_eq!(common::processes(&word), Vec::<i32>::new());
}

/// Programs that answer as the real ones do, so that detection is tried for
/// runtimes that no package brings here.
#[test]
fn versions_are_found_in_what_each_program_says() {
    let says = [
        ("wasmtime", "wasmtime 48.0.8 (5d1ffa4a8 2026-08-01)", "48.0.8"),
        ("wasmer", "wasmer 7.4.2", "7.4.2"),
        ("wasmi", "wasmi 2.0.0", "2.0.0"),
        ("wasm3", "Wasm3 v0.5.0 on x86_64\nBuild: Jun  2 2021 12:00:00, GCC 10.2.1", "0.5.0"),
        ("iwasm", "iwasm 2.4.4", "2.4.4"),
        ("wamrc", "", ""),
        ("wasmedge", "wasmedge version 0.16.1", "0.16.1"),
        ("wavm", "WAVM version 0.0.0-prerelease", "0.0.0-prerelease"),
        ("node", "v20.20.2", "20.20.2"),
        ("deno", "deno 2.9.8 (stable, release, x86_64-unknown-linux-gnu)\nv8 14.9.1", "2.9.8"),
        ("bun", "1.4.5", "1.4.5"),
        ("podman", "podman version 4.3.1", "4.3.1"),
        ("runc", "runc version 1.1.5+ds1\ncommit: 1.1.5", "1.1.5+ds1"),
        ("crun", "crun version 1.8.1\ncommit: f8a096be0", "1.8.1"),
        ("youki", "youki 0.5.3", "0.5.3"),
        ("runsc", "runsc version release-20260101.0\nspec: 1.1.0-rc.1", "20260101.0"),
        ("firecracker", "Firecracker v1.14.0\n\n2026-01-01 [main] exiting", "1.14.0"),
        ("qemu-system-x86_64", "QEMU emulator version 7.2.22 (Debian 1:7.2)", "7.2.22"),
    ];
    let place = Place::new();
    for (name, said, _) in says {
        let script = format!("#!/bin/sh\ncat <<'EOF'\n{said}\nEOF\n");
        let program = place.write(&format!("bin/{name}"), script);
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("set");
    }
    let kernel = place.write("kernel", "a kernel");
    let mut command = place.command(&["lanes", "--format", "json"]);
    command.env("PATH", place.path().join("bin")).env("XDG_CACHE_HOME", place.path().join("cache"));
    for lane in ["QEMU", "FIRECRACKER"] {
        command.env(format!("CYCLOMETER_RUNTIME_{lane}_KERNEL"), &kernel);
    }
    let listed = rows(&Run::of(&command.output().expect("it starts")));
    for profile in ProfileCatalog::builtin().iter() {
        let row = listed.iter().find(|row| text(row, "lane") == profile.name).expect("listed");
        let needs_kvm = profile.takes == AcceptedForm::Machine && !Path::new("/dev/kvm").exists();
        if needs_kvm {
            assert!(text(row, "note").contains("/dev/kvm is not there"), "{row}");
            continue;
        }
        let (_, _, version) = says
            .iter()
            .find(|(name, _, _)| profile.program.names.iter().any(|it| it == name))
            .expect("a program");
        assert_eq!(text(row, "version"), format!("{} {version}", profile.title), "{row}");
    }
}
