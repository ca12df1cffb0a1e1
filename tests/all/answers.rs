//! Answers at the end, and what the help says.

use std::path::PathBuf;
use std::process::Command;

use super::common::{self, Place};

/// A folder with one workload, a C program; `None` without a compiler.
fn own(place: &Place, name: &str, source: &str, manifest: &str) -> Option<PathBuf> {
    let folder = place.path().join("own").join(name);
    let code = place.write(&format!("own/{name}/p.c"), source);
    let cc = Command::new("cc").arg("-static").arg("-o").arg(folder.join("p")).arg(&code).status();
    if !cc.is_ok_and(|status| status.success()) {
        cyclometer_testkit::skip("no C compiler");
        return None;
    }
    place.write(
        &format!("own/{name}/workload.toml"),
        format!("title = \"t\"\nstresses = \"s\"\nnative = \"p\"\n[preset.quick]\n{manifest}"),
    );
    Some(folder)
}

/// The sentences of a workload on standard output.
fn answer<'a>(text: &'a str, workload: &str) -> Vec<&'a str> {
    let begins = format!("{workload}: ");
    text.lines().filter(|line| line.starts_with(&begins)).collect()
}

#[test]
fn a_recording_ends_in_a_paragraph_a_workload_and_so_does_history() {
    let place = Place::new();
    let run = place.ok(&[
        "record",
        "--workload",
        "nop,nbody",
        "--lane",
        "native,wasmtime",
        "--start",
        "cold",
        "--runs",
        "8",
    ]);
    for workload in ["nop", "nbody"] {
        let told = answer(&run.stdout, workload);
        assert_eq!(told.len(), 1, "{}", run.stdout);
        assert!(told[0].contains("wasmtime starts cold "), "{}", told[0]);
        assert!(told[0].contains("A million cold runs in wasmtime cost $"), "{}", told[0]);
        assert!(told[0].contains(" on AWS Lambda x86 ("), "{}", told[0]);
        for again in [&["history", "latest"][..], &["history", "show", "1"]] {
            assert_eq!(answer(&place.ok(again).stdout, workload), told, "{again:?}");
        }
    }
    // Programs get rows, and nothing besides.
    let rows = place.ok(&["history", "latest", "--format", "json"]).json();
    assert_eq!(rows.as_array().map(Vec::len), Some(4));
    let csv = place.ok(&["history", "latest", "--format", "csv"]).stdout;
    assert_eq!(csv.lines().count(), 5, "{csv}");
}

#[test]
fn two_runs_have_no_winner_and_say_how_many_would() {
    let place = Place::new();
    let run =
        place.ok(&["record", "--workload", "nop", "--lane", "native,wasmtime", "--runs", "2"]);
    let told = answer(&run.stdout, "nop").concat();
    assert!(!told.contains("faster") && !told.contains("slower"), "{told}");
    assert!(told.contains("2 runs are too few for an interval"), "{told}");
    assert!(told.contains("use --runs 6 or more"), "{told}");
}

#[test]
fn a_failure_is_told_once_with_its_count_and_has_no_price() {
    let place = Place::new();
    let source = "int main(void) { return 3; }";
    let Some(folder) = own(&place, "three", source, "") else { return };
    let folder = folder.to_str().expect("UTF-8");
    let run = place.run(&[
        "record",
        "--workloads",
        folder,
        "--workload",
        "three",
        "--lane",
        "native",
        "--runs",
        "12",
        "--warmup",
        "0",
    ]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    let lines: Vec<&str> = run.stderr.lines().filter(|it| it.contains("exit code 3")).collect();
    assert_eq!(
        lines,
        [
            "failed: three in native, cold #1: exit code 3",
            "12 x three in native, cold: exit code 3"
        ]
    );
    let told = answer(&run.stdout, "three").concat();
    assert_eq!(told, "three: Left out, and without a price: cold in native (all 12 runs failed).");
    let rows = place.ok(&["history", "latest", "--format", "json"]).json();
    assert_eq!(rows[0]["failed"], 12);
    assert!(rows[0]["coarse_usd_per_million"].is_null(), "{rows}");
}

#[test]
fn what_holds_for_many_cells_is_told_once() {
    let place = Place::new();
    let source = "int main(void) { return 3; }";
    let Some(folder) = own(&place, "three", source, "") else { return };
    let Some(twin) = own(&place, "twin", source, "") else { return };
    let (folder, twin) = (folder.to_str().expect("UTF-8"), twin.to_str().expect("UTF-8"));
    let run = place.run(&[
        "record",
        "--workloads",
        folder,
        "--workloads",
        twin,
        "--workload",
        "three,twin",
        "--lane",
        "native",
        "--runs",
        "2",
    ]);
    let told: Vec<&str> = run.stderr.lines().filter(|it| it.contains("no price")).collect();
    assert_eq!(
        told,
        ["three in native, cold; twin in native, cold: all 2 failed, so there is no price"],
        "{}",
        run.stderr
    );
}

#[test]
fn short_outputs_are_shown_in_every_lane() {
    let place = Place::new();
    let source = "#include <stdio.h>\nint main(void) { puts(\"41\"); return 0; }";
    let Some(folder) = own(&place, "sum", source, "expected = { text = \"42\\n\" }\n") else {
        return;
    };
    let folder = folder.to_str().expect("UTF-8");
    let lanes = if common::docker() { "native,docker" } else { "native" };
    place.run(&[
        "record",
        "--workloads",
        folder,
        "--workload",
        "sum",
        "--lane",
        lanes,
        "--runs",
        "1",
    ]);
    let reasons = common::column(&place.open(), "SELECT DISTINCT reason FROM v_invocation");
    assert_eq!(reasons, ["wrong output: expected \"42\\n\", but it wrote \"41\\n\""]);
}

#[test]
fn names_given_for_folders_and_folders_for_names_are_understood() {
    let place = Place::new();
    let folder = place.write("mine/x/workload.toml", "title = \"t\"");
    let folder = folder.parent().and_then(|it| it.to_str()).expect("UTF-8");
    let file = place.write("mine/own.toml", "");
    let file = file.to_str().expect("UTF-8");
    let cases: [(&[&str], String); 8] = [
        // A path is a path: its manifest is read, and told to be broken.
        (&["record", "--workload", folder], format!("{folder}/workload.toml:")),
        (&["live", "--workload", folder], String::new()),
        (&["workloads", "check", "--workload", "./x"], "`--workloads ./x`".to_owned()),
        (&["record", "--workloads", "nbody"], "`--workload nbody`".to_owned()),
        (&["record", "--workloads", "nbody,nop"], "`--workload nbody,nop`".to_owned()),
        (&["record", "--lane", file], format!("`--runtimes {file}`")),
        (&["lanes", "--runtimes", "wasmtime"], "`--lane wasmtime`".to_owned()),
        (&["record", "--pricing", "per-cycle"], "`--model per-cycle`".to_owned()),
    ];
    for (args, hint) in cases {
        let run = place.run(args);
        assert_eq!(run.code, 2, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(&hint), "{args:?}: {}", run.stderr);
    }
    let run = place.run(&["replay", "--model", file]);
    assert!(run.stderr.contains(&format!("`--pricing {file}`")), "{}", run.stderr);
    // What is neither stays a plain mistake.
    let run = place.run(&["record", "--workload", "nbodyy"]);
    assert!(run.stderr.contains("did you mean `nbody`?"), "{}", run.stderr);
    let run = place.run(&["record", "--workloads", "/nowhere"]);
    assert!(!run.stderr.contains("--workload "), "{}", run.stderr);
}

#[test]
fn options_of_every_command_stand_apart_in_each_help() {
    let place = Place::new();
    for command in [
        "record",
        "replay",
        "history",
        "lanes",
        "doctor",
        "workloads",
        "paper",
        "tax",
        "sweep",
        "query",
    ] {
        for help in ["-h", "--help"] {
            let text = place.ok(&[command, help]).stdout;
            let (own, global) = text.split_once("\nGlobal options:\n").expect("a heading");
            for option in ["--db ", "--workloads ", "--pricing ", "--runtimes ", "--format "] {
                let listed =
                    |part: &str| part.lines().any(|line| line.trim_start().starts_with(option));
                assert!(listed(global) && !listed(own), "{command} {help}: {option}\n{text}");
            }
            assert!(!text.contains("CYCLOMETER_DB="), "the value is nobody's help: {text}");
        }
    }
}

#[test]
fn a_recording_has_its_simulations_beside_it_in_the_list() {
    let place = Place::new();
    place.ok(&["record", "--workload", "nop", "--lane", "native", "--runs", "1"]);
    place.ok(&["replay", "--model", "all"]);
    place.ok(&["history", "label", "s2", "all models"]);
    let text = place.ok(&["history"]).stdout;
    assert_eq!(text.lines().count(), 2, "a heading and a recording: {text}");
    assert!(text.contains("simulations") && text.contains("s1 s2 (all models)"), "{text}");
    // A simulation that is listed without its recording is listed by itself.
    let text = place.ok(&["history", "--label", "all models"]).stdout;
    assert!(text.contains("s2") && text.contains("price models"), "{text}");
    // For programs nothing changed.
    let both = place.ok(&["history", "--format", "json"]).json();
    assert_eq!(both["simulations"].as_array().map(Vec::len), Some(2));
    assert!(both["recordings"][0].get("simulations").is_none(), "{both}");
}
