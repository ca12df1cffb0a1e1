//! Containers: functions that attack what runs them or leave something behind,
//! and engines that answer in every wrong way.

use std::path::Path;

use cyclometer::testing::skip;

use crate::common::{Place, Run, column, compile, docker, numbers};

/// Compiles a program of `programs/` and makes a workload of each set of
/// arguments. `false`, said aloud, without a compiler.
fn make_workloads(place: &Place, program: &str, timeout: &str, sets: &[(&str, &str)]) -> bool {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all/programs");
    let source = std::fs::read_to_string(folder.join(format!("{program}.c"))).expect("a program");
    let Some(binary) = compile(place, program, &source) else { return false };
    for (name, arguments) in sets {
        let manifest = format!(
            "title = \"{name}\"\nstresses = \"its container\"\nnative = \"program\"\n\
             [limits]\nmemory = \"128MiB\"\ntimeout = \"{timeout}\"\n\
             [preset.quick]\nargs = [{arguments}]\n"
        );
        place.write(&format!("w/{name}/workload.toml"), manifest);
        std::fs::copy(&binary, place.path().join(format!("w/{name}/program"))).expect("copied");
    }
    true
}

/// Records runs of such a workload, and insists that no container is left.
fn record(place: &Place, name: &str, lane: &str, start: &str, runs: &str) -> Run {
    let folder = place.path().join("w").display().to_string();
    let what = ["record", "--workloads", &folder, "--workload", name, "--lane", lane];
    let how = ["--start", start, "--runs", runs, "--warmup", "0"];
    let child = place.spawn(&[&what[..], &how].concat());
    let name = format!("cyclometer-{}-", child.id());
    let run = Run::of(&child.wait_with_output().expect("it ends"));
    let left = place.ok(&["clean", "--only", "containers", "--format", "csv"]).stdout;
    assert!(!left.contains(&name), "{left}");
    run
}

/// Status and reason of each invocation, in order.
fn ends(place: &Place) -> Vec<String> {
    let sql = "SELECT status || ': ' || COALESCE(reason, '') FROM v_invocation ORDER BY invocation";
    column(&place.open(), sql)
}

/// The lanes of containers that there are: the engine's default, and gVisor.
fn lanes() -> Vec<&'static str> {
    match cyclometer::lane::docker::inspect() {
        Ok(info) if info.runtimes.iter().any(|name| name == "runsc") => {
            vec!["docker", "docker:runsc"]
        }
        Ok(_) => {
            eprintln!("skipped: the engine has no runtime `runsc`");
            vec!["docker"]
        }
        Err(_) => Vec::new(),
    }
}

#[test]
fn a_function_gets_at_neither_its_starter_nor_process_1() {
    if !docker() {
        return;
    }
    for lane in lanes() {
        for start in ["cold", "warm"] {
            let place = Place::new();
            if !make_workloads(&place, "intruder", "20s", &[("intruder", "")]) {
                return;
            }
            let run = record(&place, "intruder", lane, start, "2");
            assert_eq!(ends(&place), ["ok: ", "ok: "], "{lane} {start}: {}", run.stderr);
        }
    }
}

#[test]
fn nothing_of_a_function_is_found_by_the_next_in_its_container() {
    if !docker() {
        return;
    }
    let place = Place::new();
    let sets = [
        ("file", "\"file\""),
        ("system-v", "\"shm\", \"sem\", \"msg\""),
        ("queue", "\"queue\""),
        ("attribute", "\"xattr\""),
        ("process", "\"process\""),
    ];
    if !make_workloads(&place, "leaver", "20s", &sets) {
        return;
    }
    for lane in lanes() {
        for (name, told) in [
            ("file", "left files in /dev/shm behind"),
            ("system-v", "left System V objects behind"),
            ("queue", "left message queues behind"),
            ("attribute", "left attributes of its output files behind"),
            ("process", "process(es) behind, which were killed"),
        ] {
            let _ = std::fs::remove_file(place.db());
            let run = record(&place, name, lane, "warm", "3");
            let ends = ends(&place);
            assert_eq!(ends.len(), 3, "{lane} {name}: {}", run.stderr);
            for end in &ends {
                // A sandbox may not have such a thing at all.
                let nothing = lane != "docker" && end == "ok: ";
                assert!(end.starts_with("ok: "), "{lane} {name}: {end}");
                assert!(end.contains(told) || nothing, "{lane} {name}: {end}");
            }
        }
    }
}

/// 30 MiB of files: whoever comes next would start with them.
#[test]
fn memory_that_a_function_leaves_is_its_own_and_not_of_the_next() {
    if !docker() {
        return;
    }
    let place = Place::new();
    if !make_workloads(&place, "leaver", "20s", &[("file", "\"file\"")]) {
        return;
    }
    record(&place, "file", "docker", "warm", "3");
    let connection = place.open();
    let known = "memory_startup_bytes IS NOT NULL AND memory_peak_bytes IS NOT NULL";
    let rows = |what: &str| {
        numbers(&connection, &format!("SELECT {what} FROM v_invocation WHERE {known}"))
    };
    let (starts, peaks) = (rows("memory_startup_bytes"), rows("memory_peak_bytes"));
    if starts.is_empty() {
        return skip("no memory of control groups");
    }
    assert!(starts.iter().all(|start| *start < 15 << 20), "{starts:?}");
    assert!(peaks.iter().all(|peak| (30 << 20..50 << 20).contains(peak)), "{peaks:?}");
}

#[test]
fn families_that_grow_for_ever_end_with_their_invocation_and_are_told() {
    if !docker() {
        return;
    }
    let place = Place::new();
    let sets =
        [("for-ever", "\"for-ever\""), ("and-return", "\"and-return\""), ("comets", "\"comets\"")];
    if !make_workloads(&place, "bomb", "3s", &sets) {
        return;
    }
    for lane in lanes() {
        for start in ["cold", "warm"] {
            for (name, _) in sets {
                let _ = std::fs::remove_file(place.db());
                let run = record(&place, name, lane, start, "2");
                let ends = ends(&place);
                assert_eq!(ends.len(), 2, "{lane} {start} {name}: {}", run.stderr);
                for end in ends {
                    let killed = end.contains("process(es) behind, which were killed");
                    let stopped = end.starts_with("timeout: no end within 3.00 s");
                    // A sandbox holds as many processes as its memory does.
                    let full = lane != "docker" && end.contains("out of memory");
                    let told = stopped || full || (killed && name != "for-ever");
                    assert!(told, "{lane} {start} {name}: {end}");
                }
            }
        }
    }
}
