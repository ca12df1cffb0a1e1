//! Too little of something, such as open files, memory or the size of a file: the
//! message names it, and nobody is killed without a word.

use std::process::Command;

use super::super::common::{PROGRAM, Place, Run, compile};

/// Runs the program under limits that a shell sets first.
fn run_under(place: &Place, limits: &str, args: &[&str]) -> Run {
    let mut command = Command::new("bash");
    let script = format!("{limits}; exec \"$0\" \"$@\"");
    command.args(["-c", &script, PROGRAM]).args(args).env("CYCLOMETER_DB", place.db());
    Run::of(&command.output().expect("a shell"))
}

const RECORD: [&str; 9] =
    ["record", "--workload", "nop", "--lane", "native", "--start", "cold", "--runs", "3"];

#[test]
fn a_file_that_may_not_grow_is_told_and_kills_nobody() {
    let place = Place::new();
    place.ok(&RECORD);
    let label = ["history", "label", "1", "x"];
    // In units of 1024 bytes: less than a database has, and than the index of its log.
    for limit in ["ulimit -f 20", "ulimit -f 50", "ulimit -f 100"] {
        for args in [&label[..], &RECORD] {
            let run = run_under(&place, limit, args);
            let is_told = run.code == 1 && run.stderr.contains("(ulimit -f)");
            // A log may be small enough.
            assert!(run.code == 0 || is_told, "{limit} {args:?}: {} {}", run.code, run.stderr);
        }
        // Reading needs no more than there is.
        for args in [&["history"][..], &["replay", "1"], &["query", "SELECT 1"]] {
            let run = run_under(&place, limit, args);
            assert_eq!(run.code, 0, "{limit} {args:?}: {}", run.stderr);
        }
    }
    let nowhere = Place::new();
    for limit in ["ulimit -f 20", "ulimit -f 50", "ulimit -f 100"] {
        let run = run_under(&nowhere, limit, &RECORD);
        assert_eq!(run.code, 1, "{limit}: {}", run.stderr);
        assert!(run.stderr.contains("(ulimit -f)"), "{limit}: {}", run.stderr);
    }
}

#[test]
fn a_function_is_started_with_the_usual_end_of_too_large_files() {
    let place = Place::new();
    let source = "#include <signal.h>\nint main(void) { struct sigaction it;\n\
        return sigaction(SIGXFSZ, 0, &it) || it.sa_handler != SIG_DFL; }\n";
    let Some(program) = compile(&place, "asks", source) else { return };
    place.write(
        "w/asks/workload.toml",
        "title = \"t\"\nstresses = \"s\"\nnative = \"asks\"\n[preset.quick]\n",
    );
    std::fs::copy(program, place.path().join("w/asks/asks")).expect("copied");
    let folder = place.path().join("w");
    let folder = folder.to_str().expect("text");
    let mut args = RECORD.to_vec();
    args[2] = "asks";
    args.extend(["--workloads", folder]);
    let run = run_under(&place, "ulimit -f 100000", &args);
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn too_few_open_files_are_told_with_the_number() {
    let place = Place::new();
    place.ok(&RECORD);
    for limit in [5, 8, 12, 15] {
        for args in [&["history"][..], &RECORD, &["doctor"], &["query", "SELECT 1"]] {
            let run = run_under(&place, &format!("ulimit -n {limit}"), args);
            assert_eq!(run.code, 1, "{limit} {args:?}: {}", run.stderr);
            let told = format!("open files at once, and the limit here is {limit}: raise it");
            assert!(run.stderr.contains(&told), "{limit} {args:?}: {}", run.stderr);
        }
    }
    // Beyond what whoever runs the tests has left open.
    for limit in 24..32 {
        let run = run_under(&place, &format!("ulimit -n {limit}"), &["history"]);
        assert_eq!(run.code, 0, "{limit}: {}", run.stderr);
    }
}

#[test]
fn a_thread_that_the_system_does_not_give_is_named_with_the_limit() {
    let place = Place::new();
    // Some amounts of memory are too little to start at all, or enough.
    let mut named = 0;
    for kib in (60_000..400_000).step_by(10_000) {
        let run = run_under(&place, &format!("ulimit -v {kib}"), &RECORD);
        assert!(!run.stderr.contains("cannot write the output"), "{kib}: {}", run.stderr);
        if run.stderr.contains("cannot start the thread `") {
            assert!(run.stderr.contains("(raise that by `ulimit -v`)"), "{kib}: {}", run.stderr);
            named += 1;
        }
    }
    assert!(named > 0, "no limit was too low for a thread");
}
