//! What two recordings are compared by, and gates.

use std::path::Path;

use crate::common::{Place, column};

/// Adds a recording of `f` in `native` and `wasmtime`, cold, with 12 runs a
/// lane that take `run_ms` give or take 1 %; `failed` fails those of `wasmtime`.
fn add(place: &Place, id: i64, label: &str, run_ms: u64, failed: bool) {
    let status = if failed { "failed" } else { "ok" };
    let run = run_ms * 1_000_000;
    let step = run / 1_000;
    place
        .open()
        .execute_batch(&format!(
            "INSERT INTO recording (id, label, started_at, status, owner, plan, host)
                VALUES ({id}, '{label}', '2026-11-21T10:00:0{id}.000Z', 'done', '', '{{}}', '{{}}');
             INSERT INTO lane (id, recording_id, name)
                VALUES ({id}1, {id}, 'native'), ({id}2, {id}, 'wasmtime');
             INSERT INTO cell (id, recording_id, lane_id, workload, preset, start)
                VALUES ({id}1, {id}, {id}1, 'f', 'small', 'cold'),
                    ({id}2, {id}, {id}2, 'f', 'small', 'cold');
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 12)
             INSERT INTO invocation (cell_id, sequence, status, reason, offset_ns, run_ns, wall_ns,
                cpu_ns, cycles, memory_peak_bytes, memory_allocated_bytes)
             SELECT c.column1, i, iif(c.column1 = {id}2, '{status}', 'ok'), NULL, i,
                {run} + (i % 5) * {step}, {run} + (i % 5) * {step}, 60000000, 150000000,
                64 * 1048576, 1024 * 1048576 FROM n, (VALUES ({id}1), ({id}2)) c;"
        ))
        .expect("a recording");
}

/// Text without its line breaks: sentences are wrapped to the terminal.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `before` runs 100 ms, `after` 120 ms.
fn place() -> Place {
    let place = Place::new();
    drop(cyclometer::store::Store::open(&place.db()).expect("an empty database"));
    add(&place, 1, "before", 100, false);
    add(&place, 2, "after", 120, false);
    place
}

#[test]
fn a_gate_fails_by_the_interval_and_not_below_it() {
    let place = place();
    let gate = |most: &str, meter: &str| {
        place.run(&["history", "compare", "1", "2", "--fail-above", most, "--meter", meter])
    };
    // 120 ms beside 100 ms, give or take 0.4 %: certainly more than 10 % and
    // less than 30 %. The threshold of 20 % lies within the interval.
    let run = gate("10%", "run");
    assert_eq!(run.code, 4, "{}{}", run.stdout, run.stderr);
    let said = "gate not met: of 2 figures 2 rose by more than 10 % for certain";
    assert!(flat(&run.stdout).contains(said), "{}", run.stdout);
    assert_eq!(gate("30%", "run").code, 0);
    let undecided = gate("20%", "run");
    assert_eq!(undecided.code, 0, "{}", undecided.stdout);
    assert!(flat(&undecided.stdout).contains("2 are undecided"), "{}", undecided.stdout);
    // Bills follow the time: (0.12 GB-s x 0.0000166667 + 0.0000002) beside
    // 0.1 GB-s is 18 % more; cycles are the same, so the other model is not.
    let bill = gate("10%", "bill");
    assert_eq!(bill.code, 4, "{}", bill.stdout);
    assert!(bill.stdout.contains("bill of aws-lambda-x86"), "{}", bill.stdout);
    assert_eq!(gate("25%", "start,run,bill").code, 0);
    // The other way around everything is faster.
    let back = place.run(&["history", "compare", "2", "1", "--fail-above", "0%"]);
    assert_eq!(back.code, 0, "{}", back.stdout);
}

#[test]
fn a_meter_that_is_missing_is_said_and_nothing_compared_is_not_met() {
    let place = place();
    let args = ["history", "compare", "1", "2", "--fail-above", "50%", "--meter"];
    let some = place.run(&[&args[..], &["ops,run"]].concat());
    assert_eq!(some.code, 0, "{}", some.stdout);
    assert!(some.stdout.contains("ops: not compared"), "{}", some.stdout);
    assert_eq!(place.run(&[&args[..], &["ops"]].concat()).code, 4);
    for wrong in [
        &["--fail-above", "10"][..],
        &["--meter", "run"],
        &["--fail-above", "1%", "--meter", "speed"],
    ] {
        let run = place.run(&[&["history", "compare", "1", "2"][..], wrong].concat());
        assert_eq!(run.code, 2, "{wrong:?}: {}", run.stderr);
    }
}

#[test]
fn a_cell_that_fails_or_vanishes_does_not_pass_a_gate() {
    let place = place();
    add(&place, 3, "broken", 100, true);
    let args = ["history", "compare", "before", "broken", "--fail-above", "50%", "--meter", "run"];
    let failed = place.run(&args);
    assert_eq!(failed.code, 4, "{}", failed.stdout);
    assert!(failed.stdout.contains("f, small, wasmtime, cold: all failed in the second"));
    place.open().execute_batch("DELETE FROM cell WHERE id = 32").expect("deleted");
    let gone = place.run(&args);
    assert_eq!(gone.code, 4, "{}", gone.stdout);
    assert!(gone.stdout.contains("f, small, wasmtime, cold: only in the first"), "{}", gone.stdout);
}

#[test]
fn a_comparison_begins_with_the_largest_certain_differences() {
    let place = place();
    let run = place.ok(&["history", "compare", "1", "2"]);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(lines[0].starts_with("first: recording 1"), "{}", run.stdout);
    // After the two names and a blank line.
    assert!(lines[3].starts_with("f in native, cold: run "), "{}", run.stdout);
    let sentences = lines[3..].iter().take_while(|line| !line.is_empty());
    let begun = sentences.filter(|line| line.starts_with("f in ")).count();
    assert_eq!(begun, 3, "{}", run.stdout);
}

#[test]
fn a_summary_in_markdown_stands_on_standard_output() {
    let place = place();
    let args = ["history", "compare", "1", "2", "--fail-above", "10%", "--format", "markdown"];
    let run = place.run(&args);
    assert_eq!(run.code, 4);
    assert!(run.stdout.starts_with("### cyclometer: gate not met"), "{}", run.stdout);
    assert!(run.stdout.contains("| failed | f | small | native | cold | run |"), "{}", run.stdout);
    for args in [
        &["history"][..],
        &["history", "show", "1"],
        &["replay", "--model", "all"],
        &["replay", "--waste"],
        &["pricing", "list"],
        &["query", "SELECT 'a|b' AS x"],
        &["lanes"],
        &["workloads", "list"],
        &["doctor"],
    ] {
        let run = place.run(&[args, &["--format", "markdown"]].concat());
        assert_eq!(run.code, 0, "{args:?}: {}", run.stderr);
        assert!(run.stdout.contains("| :-- |") || run.stdout.contains("| --: |"), "{args:?}");
    }
}

#[test]
fn a_label_names_a_recording_wherever_one_is_named() {
    let place = place();
    for args in [
        &["replay", "before"][..],
        &["history", "before"],
        &["history", "show", "before"],
        &["history", "compare", "before", "after"],
        &["query", "--saved", "throughput", "--param", "recording=before"],
        &["history", "label", "before", "the baseline"],
        &["history", "show", "the baseline"],
        &["history", "delete", "after", "--yes"],
    ] {
        place.ok(args);
    }
    assert_eq!(column(&place.open(), "SELECT label FROM recording"), ["the baseline"]);
    for args in [
        &["replay", "nothing"][..],
        &["history", "show", "nothing"],
        &["query", "--saved", "throughput", "--param", "recording=nothing"],
        &["record", "--against", "nothing", "--workload", "nop", "--lane", "native"],
    ] {
        let run = place.run(args);
        assert_eq!(run.code, 2, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains("nothing"), "{args:?}: {}", run.stderr);
    }
}

/// A workload of one's own: a program that ends at once, with arguments.
fn workload(place: &Place, arguments: &str) {
    place.write(
        "own/workload.toml",
        format!(
            "title = \"own\"\nstresses = \"nothing\"\nnative = \"run\"\n[preset.quick]\n\
             args = [{arguments}]\n"
        ),
    );
    let program = place.write("own/run", "#!/bin/sh\nexit 0\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(program, mode).expect("executable");
}

fn record(place: &Place, more: &[&str]) -> crate::common::Run {
    let folder = place.path().join("own");
    let folder: &Path = &folder;
    let folder = folder.to_str().expect("text");
    let args = ["record", "--workloads", folder, "--workload", "own", "--lane", "native"];
    let runs = ["--start", "cold", "--runs", "6", "--warmup", "0"];
    place.run(&[&args[..], &runs, more].concat())
}

#[test]
fn other_arguments_are_said_before_any_difference() {
    let place = Place::new();
    workload(&place, "\"1000000\"");
    let first = record(&place, &["--label", "main"]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    workload(&place, "\"2000000\", \"x\"");
    // A gate of everything: what is said matters here, not what comes out.
    let run = record(&place, &["--against", "main", "--fail-above", "10000%", "--meter", "run"]);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let said =
        "arguments of own differ: 1000000 beside 2000000 x: these are two different functions";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    assert!(run.stdout.contains("gate met"), "{}", run.stdout);
    let shown = place.ok(&["history", "show", "1"]).stdout;
    assert!(shown.contains("1000000"), "{shown}");
    let kept = column(&place.open(), "SELECT arguments FROM v_subject ORDER BY recording");
    assert_eq!(kept, ["[\"1000000\"]", "[\"2000000\",\"x\"]"]);
    // sha256sum of the program above.
    let digests = column(&place.open(), "SELECT DISTINCT program_sha256 FROM v_subject");
    assert_eq!(digests, ["306c6ca7407560340797866e077e053627ad409277d1b9da58106fce4cf717cb"]);
}

#[test]
fn a_baseline_may_be_in_another_database_which_is_only_read() {
    let here = Place::new();
    workload(&here, "");
    let there = place();
    let file = there.db();
    let before = std::fs::read(&file).expect("the file");
    let file = file.to_str().expect("text");
    let run = record(&here, &["--against", file, "--fail-above", "10%", "--meter", "run"]);
    // Nothing of the baseline was recorded here.
    assert_eq!(run.code, 4, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("first: recording 2"), "{}", run.stdout);
    assert_eq!(std::fs::read(file).expect("the file"), before);
    let old = "arguments, input and program of the first were not kept";
    assert!(run.stderr.contains(old), "{}", run.stderr);
}
