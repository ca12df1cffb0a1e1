//! `history` through the program itself: lists, simulations, comparisons, names
//! and deletions.

use crate::common::fixture::{self, invocation};
use crate::common::{Place, column, numbers};
use cyclometer::procfs::ProcessIdentity;
use cyclometer::stats::Random;
use rusqlite::Connection;
use serde_json::{Value, json};

fn rows(place: &Place, args: &[&str]) -> Vec<Value> {
    place.ok(&[args, &["--format", "json"]].concat()).json().as_array().expect("rows").clone()
}

/// Numbers of the recordings that a filter leaves.
fn listed(place: &Place, filter: &[&str]) -> Vec<i64> {
    let args = [&["history", "list", "--kind", "recordings"], filter].concat();
    rows(place, &args).iter().map(|row| row["recording"].as_i64().expect("a number")).collect()
}

#[test]
fn lists_are_filtered() {
    let place = fixture::place();
    assert_eq!(listed(&place, &[]), [2, 1]);
    assert_eq!(listed(&place, &["--limit", "1"]), [2]);
    assert_eq!(listed(&place, &["--label", "FIR"]), [1]);
    assert_eq!(listed(&place, &["--lane", "wasmtime", "--workload", "nop"]), [2, 1]);
    assert_eq!(listed(&place, &["--status", "failed"]), Vec::<i64>::new());
    // They began on the 21st and the 22nd, at ten.
    assert_eq!(listed(&place, &["--since", "2026-11-22"]), [2]);
    assert_eq!(listed(&place, &["--until", "2026-11-21"]), [1]);
    assert_eq!(listed(&place, &["--until", "2026-11-21T10:00"]), Vec::<i64>::new());
    assert_eq!(
        listed(&place, &["--since", "2026-11-21T10:00", "--until", "2026-11-22T10:01"]),
        [2, 1]
    );
    let none = place.ok(&["history", "list", "--lane", "docker"]);
    assert!(none.stdout.is_empty() && none.stderr.contains("nothing matches"), "{}", none.stderr);

    let simulations =
        rows(&place, &["history", "list", "--kind", "simulations", "--lane", "native"]);
    assert_eq!(simulations[0]["models"], "coarse fine");
    assert_eq!(simulations[0]["recordings"], "1");
    assert!(rows(&place, &["history", "--kind", "simulations", "--lane", "docker"]).is_empty());
    let lines = place.ok(&["history", "--format", "jsonl"]).stdout;
    let kinds: Vec<bool> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON").get("simulation").is_some())
        .collect();
    assert_eq!(kinds, [false, false, true]);
}

#[test]
fn a_simulation_is_shown_with_exact_sums() {
    let place = fixture::place();
    let shown = place.ok(&["history", "show", "s1", "--format", "json"]).json();
    assert_eq!(shown["options"], json!({"requests": 1000}));
    assert_eq!(shown["recordings"], json!([1]));
    assert_eq!(shown["models"][1]["granularity"], "fine");
    let total = |at: usize| {
        let row = &shown["totals"][at];
        [&row["model"], &row["lane"], &row["invocations"], &row["total"], &row["mean_per_million"]]
            .map(Clone::clone)
    };
    // 0.1 + 0.2; a mean of 0.1 each, a million times. In floating point the sum
    // is 0.30000000000000004.
    assert_eq!(
        total(0),
        [json!("coarse"), json!("native"), json!(3), json!("0.3"), json!("100000")]
    );
    assert_eq!(total(2), [json!("fine"), json!("native"), json!(3), json!("0.06"), json!("20000")]);
    assert_eq!(total(3), [json!("fine"), json!("wasmtime"), json!(0), Value::Null, Value::Null]);
    assert_eq!(shown["totals"][3]["refused"], "cycles were not measured");
    assert_eq!(shown["settlement"][0]["amount"], "1234.5");
    assert_eq!(shown["settlement"][0]["requests"], "1000");
    // Three quarters.
    assert_eq!(shown["waste"][1]["part"], "used");
    assert_eq!(shown["waste"][1]["share"], "0.75");

    let text = place.ok(&["history", "slatest"]).stdout;
    assert!(
        text.starts_with("simulation 1 of recording 1, made 2026-11-21 10:02:00 UTC"),
        "{text}"
    );
    assert!(text.contains("75.0 %") && text.contains("1234.5"), "{text}");
    let csv = place.ok(&["history", "show", "s1", "--format", "csv"]).stdout;
    assert!(csv.starts_with("model,lane,invocations,total,"), "{csv}");
    assert_eq!(csv.lines().count(), 5);
}

#[test]
fn a_recording_does_not_differ_from_itself() {
    let place = fixture::place();
    let args = ["history", "compare", "1", "1"];
    let compared = rows(&place, &args);
    let verdicts: Vec<_> =
        compared.iter().map(|row| row["verdict"].as_str().expect("text")).collect();
    assert!(
        verdicts.iter().all(|it| ["identical", "no difference shown"].contains(it)),
        "{verdicts:?}"
    );
    let run = place.ok(&args);
    assert!(run.stderr.contains("both are recording 1"), "{}", run.stderr);
    assert!(run.stderr.contains("0 of"), "{}", run.stderr);
    assert!(!run.stderr.contains("warning"), "{}", run.stderr);
    let ops = compared.iter().find(|row| row["meter"] == "wasm_ops").expect("measured");
    assert_eq!(ops["told"], "identical in all 12 runs");
    // 1 to 20 ms.
    let start = compared.iter().find(|row| row["meter"] == "startup_ns").expect("measured");
    assert_eq!((&start["first_median"], &start["ratio"]), (&json!(10_500_000), &json!(1.0)));
    assert_eq!(start["runs"], json!([20, 20]));
    assert!(run.stdout.lines().all(|line| line.chars().count() <= 80), "{}", run.stdout);
    assert!(run.stderr.contains("1 of 21 failed in the first"), "{}", run.stderr);
}

/// A recording of thirty runs around `mean`, with a spread of 3 %.
fn noisy(connection: &Connection, id: i64, mean: f64, random: &mut Random) {
    fixture::recording(connection, id, "noisy");
    let cell = fixture::cell(connection, id, id * 10, "native", "nbody", "cold");
    for at in 1..=30 {
        let mut value = || {
            let value = mean * (0.03 * random.next_normal()).exp();
            #[expect(clippy::cast_possible_truncation, reason = "a time of some milliseconds")]
            let whole = value as i64;
            whole
        };
        let (create, run, cpu) = (value(), value(), value());
        invocation(connection, cell, at)
            .with("create_ns", create)
            .with("run_ns", run)
            .with("wall_ns", create + run)
            .with("cpu_ns", cpu)
            .with("ref_cycles", value())
            .save();
    }
}

#[test]
fn recordings_of_the_same_do_not_differ_and_of_others_do() {
    let place = Place::new();
    fixture::empty(&place);
    let connection = place.open();
    let mut random = Random::from_seed(42);
    noisy(&connection, 1, 5e6, &mut random);
    noisy(&connection, 2, 5e6, &mut random);
    noisy(&connection, 3, 4e6, &mut random);
    drop(connection);
    let verdicts = |second: &str| -> Vec<String> {
        let rows = rows(&place, &["history", "compare", "1", second]);
        rows.iter().map(|row| row["verdict"].as_str().expect("text").to_owned()).collect()
    };
    assert_eq!(verdicts("2"), ["no difference shown"; 5]);
    // A fifth lower, with a spread of 3 % and thirty runs.
    assert_eq!(verdicts("3"), ["lower"; 5]);
    let text = place.ok(&["history", "compare", "1", "3"]).stdout;
    assert!(text.contains(" % lower [") && text.contains("99 % sure"), "{text}");
    let text = place.ok(&["history", "compare", "1", "3", "--confidence", "95"]).stdout;
    assert!(text.contains("95 % sure"), "{text}");
}

#[test]
fn circumstances_that_differ_are_told() {
    let place = fixture::place();
    let connection = place.open();
    connection
        .execute_batch(
            "UPDATE recording SET host = '{\"cpu\":\"B\"}', sample_interval_ns = NULL WHERE id = 2;
             UPDATE lane SET version = '2' WHERE recording_id = 2 AND name = 'wasmtime';
             UPDATE cell SET workload = 'nbody' WHERE id = 6;",
        )
        .expect("changed");
    drop(connection);
    let run = place.ok(&["history", "compare", "1", "2"]);
    for word in [
        "warning: the machines differ: cpu A and B",
        "warning: the first was sampled every 10.0 ms, the second not at all",
        "warning: lane wasmtime: 1 in the first, 2 in the second",
    ] {
        assert!(run.stderr.contains(word), "{}", run.stderr);
    }
    assert!(run.stdout.contains("only in the first"), "{}", run.stdout);
    assert!(run.stdout.contains("nbody, quick, wasmtime, warm"), "{}", run.stdout);
    assert!(run.stdout.contains("only in the second"), "{}", run.stdout);
}

#[test]
fn simulations_are_compared_by_their_bills() {
    let place = Place::new();
    place.ok(&["record", "--workload", "nop", "--lane", "native", "--runs", "6"]);
    place.ok(&["replay", "1", "--model", "aws-lambda-x86"]);
    let same = rows(&place, &["history", "compare", "s1", "s2"]);
    let verdicts: Vec<_> = same.iter().map(|row| (&row["model"], &row["verdict"])).collect();
    assert_eq!(
        verdicts,
        [
            (&json!("aws-lambda-x86"), &json!("identical")),
            (&json!("per-cycle"), &json!("only in the first"))
        ]
    );
    assert_eq!(same[0]["first_mean_per_million"], same[0]["second_mean_per_million"]);
}

#[test]
fn names_are_given_and_taken() {
    let place = fixture::place();
    place.ok(&["history", "label", "latest", "quiet machine"]);
    place.ok(&["history", "label", "s1", "what if"]);
    place.ok(&["history", "label", "1", ""]);
    let connection = place.open();
    assert_eq!(
        column(&connection, "SELECT label FROM recording ORDER BY id"),
        ["NULL", "quiet machine"]
    );
    assert_eq!(column(&connection, "SELECT label FROM simulation"), ["what if"]);
    assert_eq!(place.run(&["history", "label", "9", "x"]).code, 1);
}

/// Rows of every table.
fn counts(connection: &Connection) -> Vec<(String, i64)> {
    let tables =
        column(connection, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name");
    let count = |name: &String| numbers(connection, &format!("SELECT COUNT(*) FROM {name}"))[0];
    tables.iter().map(|name| (name.clone(), count(name))).collect()
}

#[test]
fn deletion_leaves_no_orphans() {
    let place = fixture::place();
    place
        .open()
        .execute_batch(
            "INSERT INTO trace_file (id, recording_id, position, path, format, identity)
                VALUES (1, 1, 0, 'a.log', 'aws-lambda-report', 'x');
             INSERT INTO trace_leftover (file_id, kind, cause, records)
                VALUES (1, 'other', 'START line', 1);
             INSERT INTO trace_instance (recording_id, name) VALUES (1, 'i');
             INSERT INTO trace_candidate VALUES (1, 1, 1, 1);",
        )
        .expect("a file of a trace");
    let before = counts(&place.open());
    assert!(
        before.iter().all(|(_, count)| *count > 0),
        "the test is to see every table: {before:?}"
    );

    // Without a terminal and without --yes nothing happens.
    let refused = place.run(&["history", "delete", "1"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    assert_eq!(counts(&place.open()), before);

    let run = place.ok(&["history", "delete", "1", "1", "--yes"]);
    // 20 + 1 + 6 + 6 invocations, two samples of each of 20, two bills of each of 3.
    assert!(
        run.stderr.contains(
            "deleted recording 1: 1 recording, 33 invocations, 40 samples, 1 simulation and 6 bills"
        ),
        "{}",
        run.stderr
    );
    let connection = place.open();
    assert_eq!(
        column(&connection, "SELECT \"table\" FROM pragma_foreign_key_check"),
        Vec::<String>::new()
    );
    assert_eq!(column(&connection, "SELECT label FROM recording"), ["second"]);
    let expected = |name: &str| match name {
        "recording" | "lane_meter" | "phase" | "footprint" | "compile" | "subject" => 1,
        "lane" => 2,
        "cell" => 3,
        "invocation" => 33,
        "sample" => 40,
        _ => 0,
    };
    for (name, count) in counts(&connection) {
        assert_eq!(count, expected(&name), "{name}");
    }
    drop(connection);
    place.ok(&["history", "delete", "2", "--yes", "--compact"]);
    assert!(counts(&place.open()).iter().all(|(_, count)| *count == 0));
}

#[test]
fn a_simulation_goes_with_any_of_its_recordings() {
    let place = fixture::place();
    let connection = place.open();
    connection.execute_batch("INSERT INTO simulation_recording VALUES (1, 2)").expect("added");
    drop(connection);
    place.ok(&["history", "delete", "2", "--yes"]);
    let connection = place.open();
    assert_eq!(numbers(&connection, "SELECT COUNT(*) FROM simulation"), [0]);
    assert_eq!(numbers(&connection, "SELECT COUNT(*) FROM v_line_item"), [0]);
    assert_eq!(numbers(&connection, "SELECT id FROM recording"), [1]);
}

#[test]
fn a_running_recording_is_not_deleted() {
    let place = fixture::place();
    let me = ProcessIdentity::current().expect("/proc").to_string();
    let connection = place.open();
    connection
        .execute("UPDATE recording SET status = 'running', owner = ?1 WHERE id = 2", [me])
        .expect("changed");
    drop(connection);
    let run = place.run(&["history", "delete", "1", "2", "--yes"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("recording 2 is still being made"), "{}", run.stderr);
    let run = place.run(&["history", "delete", "1", "--yes", "--compact"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("recording 2 is being made"), "{}", run.stderr);
    assert_eq!(numbers(&place.open(), "SELECT id FROM recording"), [1, 2]);
    place.ok(&["history", "delete", "1", "--yes"]);
}

#[test]
fn compaction_gives_space_back() {
    let place = fixture::place();
    let connection = place.open();
    connection
        .execute_batch(
            "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n LIMIT 100000)
             INSERT INTO sample SELECT 1, i, 'memory_rss', i FROM n",
        )
        .expect("filled");
    drop(connection);
    let size = || std::fs::metadata(place.db()).expect("there").len();
    let full = size();
    let run = place.ok(&["history", "delete", "1", "--yes"]);
    assert!(run.stderr.contains("--compact gives them back"), "{}", run.stderr);
    assert_eq!(size(), full);
    place.ok(&["history", "delete", "2", "--yes", "--compact"]);
    assert!(size() < full / 4, "{} of {full}", size());
}

#[test]
fn wrong_usage_is_said() {
    let place = fixture::place();
    for (args, code, word) in [
        (&["history", "compare", "1", "s1"][..], 2, "cannot be compared"),
        (&["history", "compare", "1"], 2, "SECOND"),
        (&["history", "compare", "1", "7"], 1, "there is no recording 7"),
        (&["history", "compare", "s1", "s7"], 1, "there is no simulation 7"),
        (&["history", "compare", "1", "2", "--confidence", "100"], 2, "per cent"),
        (&["history", "shwo"], 2, "did you mean `history show`?"),
        (&["history", "show", "x1"], 2, "`s12`"),
        (&["history", "list", "--since", "yesterday"], 2, "2026-11-21"),
        (&["history", "list", "--status", "don"], 2, "done"),
        (&["history", "list", "--kind", "simulations", "--status", "done"], 2, "no status"),
        (&["history", "--kind", "recordings", "list"], 2, "after the subcommand"),
        (&["history", "1", "--limit", "3"], 2, "leave one of the two out"),
        (&["history", "delete", "--yes"], 2, "RECORDING"),
        (&["history", "delete", "1", "77", "--yes"], 1, "there is no recording 77"),
    ] {
        let run = place.run(args);
        assert_eq!(run.code, code, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(word), "{args:?}: {}", run.stderr);
        assert!(run.stdout.is_empty(), "{args:?} wrote to standard output");
    }
    assert_eq!(numbers(&place.open(), "SELECT COUNT(*) FROM recording"), [2]);
}
