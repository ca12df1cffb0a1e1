//! `query` through the program itself: what it answers, and what it refuses.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::fixture::{self, invocation};
use crate::common::{self, Place, Run, column, numbers, turns};
use serde_json::{Value, json};

/// The rows of a saved query.
fn saved(place: &Place, name: &str, more: &[&str]) -> Vec<Value> {
    let args = [&["query", "--saved", name, "--format", "json"], more].concat();
    place.ok(&args).json().as_array().expect("rows").clone()
}

/// The values of a row, in the order of `keys`.
fn picked(row: &Value, keys: &[&str]) -> Vec<Value> {
    keys.iter().map(|key| row[key].clone()).collect()
}

#[test]
fn cold_starts_are_nearest_rank_percentiles() {
    let place = fixture::place();
    // Cold starts of nop, native: 1 to 20 ms. Half of 20 values is the 10th, and
    // 95 of 100 of them the 19th.
    let rows = saved(&place, "cold-starts", &["--param", "recording=1"]);
    assert_eq!(
        picked(&rows[1], &["workload", "lane", "runs", "p50_ns", "p95_ns", "max_ns"]),
        [
            json!("nop"),
            json!("native"),
            json!(20),
            json!(10_000_000),
            json!(19_000_000),
            json!(20_000_000)
        ]
    );
    // Only what ended well: the one that failed took 999 ms.
    assert_eq!(rows.len(), 2);
    // The quickest first.
    assert_eq!(picked(&rows[0], &["lane", "runs"]), [json!("wasmtime"), json!(6)]);
}

#[test]
fn failures_are_counted_by_their_reason() {
    let place = fixture::place();
    let rows = saved(&place, "failures", &["--param", "recording=1"]);
    assert_eq!(rows.len(), 1);
    assert_eq!(
        picked(&rows[0], &["workload", "lane", "status", "invocations", "exit_code", "reason"]),
        [json!("nop"), json!("native"), json!("failed"), json!(1), json!(7), json!("exit code 7")]
    );
}

#[test]
fn ratios_are_those_by_hand() {
    let place = fixture::place();
    let recording = &["--param", "recording=1"][..];
    // wasmtime: cold walls 10, 11, ..., 15 ms, mean 12.5; warm 2 ms, six times.
    let rows = saved(&place, "cold-over-warm", recording);
    assert_eq!(
        picked(&rows[0], &["lane", "cold_mean_ns", "warm_mean_ns", "cold_over_warm"]),
        [json!("wasmtime"), json!(12_500_000), json!(2_000_000), json!(6.25)]
    );
    // Warm: 2 ms each, so 500 a second.
    let rows = saved(&place, "throughput", recording);
    assert_eq!(picked(&rows[0], &["runs", "invocations_per_second"]), [json!(6), json!(500)]);
    // 3 cycles for each nanosecond of CPU time; ticks were not measured.
    let rows = saved(&place, "clock", recording);
    assert_eq!(
        picked(&rows[0], &["lane", "cycles_per_second", "ref_cycles_per_second"]),
        [json!("native"), json!(3_000_000_000_i64), Value::Null]
    );
    // A peak of 32 MiB of 128.
    let rows = saved(&place, "headroom", recording);
    assert_eq!(rows[0]["unused_percent"], json!(75.0));
    let rows = saved(&place, "missing-meters", recording);
    assert_eq!(
        picked(&rows[0], &["lane", "meter", "reason"]),
        [json!("native"), json!("ref_cycles"), json!("no counter here")]
    );
}

#[test]
fn outliers_and_drift_are_found_by_medians() {
    let place = fixture::place();
    let recording = &["--param", "recording=1"][..];
    // The first third of 1..20 ms is 1..7, its median 4; the last 15..20, its
    // lower median 17.
    let rows = saved(&place, "drift", recording);
    let native: Vec<_> = rows.iter().filter(|row| row["lane"] == "native").collect();
    assert_eq!(
        picked(native[0], &["first_third_ns", "last_third_ns", "change_percent"]),
        [json!(4_000_000), json!(17_000_000), json!(325.0)]
    );
    // Walls of native are 2 to 40 ms, their median 20: nothing is beyond 60, and
    // beyond 1.9 times are 40 alone (38 is not).
    assert_eq!(saved(&place, "outliers", recording).len(), 0);
    let rows = saved(&place, "outliers", &[recording, &["--param", "factor=1.9"]].concat());
    assert_eq!(
        picked(&rows[0], &["sequence", "wall_ns", "times"]),
        [json!(20), json!(40_000_000), json!(2.0)]
    );
    assert_eq!(rows.len(), 1);
    let rows = saved(&place, "recordings", &[]);
    assert_eq!(
        picked(
            &rows[1],
            &["recording", "label", "invocations", "bad", "lanes", "sampler_cpu_seconds"]
        ),
        [json!(1), json!("first"), json!(33), json!(1), json!(2), json!(0.25)]
    );
}

#[test]
fn money_is_added_exactly() {
    let place = fixture::place();
    // Three bills of 0.1 under `coarse` in native: floating point has
    // 0.30000000000000004.
    let rows = saved(&place, "bills", &[]);
    assert_eq!(
        picked(&rows[0], &["model", "lane", "currency", "invocations", "total"]),
        [json!("coarse"), json!("native"), json!("USD"), json!(3), json!("0.3")]
    );
    assert_eq!(
        picked(&rows[1], &["model", "lane", "invocations", "total"]),
        [json!("fine"), json!("native"), json!(3), json!("30.0000000000000000001")]
    );
    // By amount, not by text: 20 before 9.
    let rows = saved(&place, "dearest", &["--param", "count=2", "--param", "simulation=s1"]);
    let dearest: Vec<_> = rows.iter().filter(|row| row["model"] == "fine").collect();
    assert_eq!(dearest[0]["amount"], "20");
    assert_eq!(dearest[1]["amount"], "9");
    assert_eq!(dearest.len(), 2);
    // 0.3 / 0.06, of the one cell that neither refused.
    let rows = saved(&place, "coarse-over-fine", &[]);
    assert_eq!(picked(&rows[0], &["lane", "coarse_over_fine"]), [json!("native"), json!(5.0)]);
    assert_eq!(rows.len(), 1);
    let rows = saved(&place, "refusals", &[]);
    assert_eq!(
        picked(&rows[0], &["model", "lane", "reason"]),
        [json!("fine"), json!("wasmtime"), json!("cycles were not measured")]
    );
    // Three parts used, one headroom.
    let rows = saved(&place, "waste", &[]);
    assert_eq!(
        picked(&rows[0], &["part", "amount", "percent"]),
        [json!("used"), json!("0.3"), json!(75.0)]
    );
    assert_eq!(
        picked(&rows[1], &["part", "amount", "percent"]),
        [json!("headroom"), json!("0.1"), json!(25.0)]
    );
    let rows = saved(&place, "months", &[]);
    assert_eq!(
        picked(&rows[0], &["model", "lane", "total", "cells"]),
        [json!("coarse"), json!("native"), json!("1234.56"), json!(1)]
    );
}

#[test]
fn nothing_can_be_changed() {
    let place = fixture::place();
    let before = std::fs::read(place.db()).expect("readable");
    let elsewhere = place.path().join("other.db");
    let attach = format!("ATTACH '{}' AS other", elsewhere.display());
    let vacuum = format!("VACUUM INTO '{}'", elsewhere.display());
    for sql in [
        "INSERT INTO recording (id) VALUES (9)",
        "DELETE FROM recording",
        "UPDATE recording SET label = 'x'",
        "DROP TABLE bill",
        "CREATE TABLE t (x)",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA user_version = 99",
        "PRAGMA query_only = OFF",
        "SELECT 1; DELETE FROM recording",
        "DELETE FROM recording; SELECT 1",
        "BEGIN IMMEDIATE",
        "",
        &attach,
        &vacuum,
    ] {
        let run = place.run(&["query", sql]);
        assert_eq!(run.code, 2, "{sql}: {}", run.stderr);
        assert!(
            run.stderr.starts_with("error: ") && run.stdout.is_empty(),
            "{sql}: {}",
            run.stderr
        );
    }
    assert_eq!(std::fs::read(place.db()).expect("readable"), before, "the file was changed");
    assert!(!elsewhere.exists());
    assert_eq!(column(&place.open(), "PRAGMA journal_mode"), ["wal"]);
}

#[test]
fn all_formats_keep_values_and_their_order() {
    let place = fixture::place();
    let sql = "SELECT 9007199254740993 AS z, NULL AS gone, x'00ff' AS bytes, 'a,b' AS a, 0.1 AS r, 2 AS a";
    let with = |format: &str| place.ok(&["query", sql, "--format", format]).stdout;
    assert_eq!(with("csv"), "z,gone,bytes,a,r,a_2\n9007199254740993,,00ff,\"a,b\",0.1,2\n");
    let object = "{\"z\":9007199254740993,\"gone\":null,\"bytes\":\"00ff\",\"a\":\"a,b\",\"r\":0.1,\"a_2\":2}";
    assert_eq!(with("jsonl"), format!("{object}\n"));
    assert_eq!(with("json"), format!("[\n  {object}\n]\n"));
    assert_eq!(
        with("table"),
        "               z  gone  bytes  a      r  a_2\n9007199254740993     -  00ff   a,b  0.1    2\n"
    );
}

const MILLION: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000)
    SELECT i, i * i AS square FROM n";

#[test]
fn a_reader_that_leaves_a_million_rows_is_no_error() {
    let place = fixture::place();
    for format in ["csv", "jsonl", "json"] {
        let mut child = place.spawn(&["query", MILLION, "--format", format]);
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        assert!(lines.next().is_some_and(|line| line.is_ok()));
        drop(lines);
        let run = Run::of(&child.wait_with_output().expect("ended"));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{format}");
    }
}

#[test]
fn many_rows_stream_and_tables_end() {
    let place = fixture::place();
    let run = place.ok(&["query", MILLION, "--format", "csv"]);
    assert_eq!(run.stdout.lines().count(), 1_000_001);
    assert!(run.stdout.ends_with("\n1000000,1000000000000\n"));
    let run = place.ok(&["query", MILLION]);
    assert_eq!(run.stdout.lines().count(), 1_001);
    assert!(run.stderr.contains("the first 1000 rows"), "{}", run.stderr);
    let run = place.ok(&["query", MILLION, "--limit", "1500"]);
    assert_eq!((run.stdout.lines().count(), run.stderr.as_str()), (1_501, ""));
    let run = place.ok(&["query", MILLION, "--limit", "3", "--format", "jsonl"]);
    assert_eq!(run.stdout.lines().count(), 3);
}

const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n";

#[test]
fn a_runaway_query_ends_by_time_or_by_a_signal() {
    let _alone = turns::run_alone();
    let place = fixture::place();
    let begun = Instant::now();
    let run = place.run(&["query", ENDLESS, "--timeout", "200ms"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("--timeout") && run.stdout.is_empty(), "{}", run.stderr);
    assert!(begun.elapsed() < Duration::from_secs(20));

    let child = place.spawn(&["query", ENDLESS]);
    // Until it can be interrupted: before, the signal ends it as any program.
    std::thread::sleep(Duration::from_millis(500));
    let id = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("an id"));
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT).expect("sent");
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(130));
}

#[test]
fn wrong_usage_says_what_was_meant() {
    let place = fixture::place();
    for (args, word) in [
        (&["query"][..], "--saved"),
        (&["query", "SELECT 1", "--list"], "cannot be used with"),
        (&["query", "SELECT * FROM v_invocations"], "did you mean `v_invocation`?"),
        (&["query", "SELECT wal_ns FROM v_invocation"], "did you mean `wall_ns`?"),
        (&["query", "SELEC 1"], "SELEC 1\n  ^"),
        (&["query", "--saved", "cold-strats"], "did you mean `cold-starts`?"),
        (&["query", "--saved", "bills", "--param", "simulatoin=1"], "did you mean `simulation`?"),
        (&["query", "SELECT 1", "--param", "a=1"], "it has none"),
        (&["query", "SELECT :a"], "--param a="),
        (&["query", "SELECT ?"], "with names"),
        (&["query", "SELECT 1", "--param", "a"], "recording=3"),
        (&["query", "SELECT 1", "--timeout", "5"], "1.5s"),
    ] {
        let run = place.run(args);
        assert_eq!(run.code, 2, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(word), "{args:?}: {}", run.stderr);
        assert!(run.stdout.is_empty(), "{args:?} wrote to standard output");
    }
}

#[test]
fn parameters_are_given_or_the_newest() {
    let place = fixture::place();
    let one = |args: &[&str]| {
        let all = [&["query"], args, &["--format", "csv"]].concat();
        place.ok(&all).stdout.lines().nth(1).expect("a row").to_owned()
    };
    assert_eq!(one(&["SELECT :recording"]), "2");
    assert_eq!(one(&["SELECT :recording", "--param", "recording=1"]), "1");
    assert_eq!(one(&["SELECT :recording", "--param", "recording=latest"]), "2");
    assert_eq!(one(&["SELECT :simulation", "--param", ":simulation=s7"]), "7");
    assert_eq!(
        one(&["SELECT :a || ' ' || typeof(:b)", "--param", "a=x=y", "--param", "b=1.5"]),
        "x=y real"
    );
}

#[test]
fn sql_comes_from_standard_input_too() {
    let place = fixture::place();
    let mut child = Command::new(common::PROGRAM)
        .args(["query", "-", "--format", "csv"])
        .env("CYCLOMETER_DB", place.db())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    child.stdin.take().expect("piped").write_all(b"SELECT 40 + 2 AS answer;\n").expect("written");
    let run = Run::of(&child.wait_with_output().expect("ended"));
    assert_eq!((run.code, run.stdout.as_str()), (0, "answer\n42\n"));
}

#[test]
fn lists_and_texts_need_no_database() {
    let place = Place::new();
    let list = place.ok(&["query", "--list", "--format", "json"]).json();
    let rows = list.as_array().expect("rows");
    assert!(rows.len() >= 16, "{}", rows.len());
    for row in rows {
        let name = row["query"].as_str().expect("a name");
        let text = place.ok(&["query", "--saved", name, "--show"]).stdout;
        assert!(text.starts_with(&format!("-- {}\n", row["answers"].as_str().expect("text"))));
    }
    assert!(!place.db().exists());
    for args in [&["query", "SELECT 1"][..], &["query", "--schema"], &["query", "--saved", "bills"]]
    {
        let run = place.run(args);
        assert_eq!(run.code, 1, "{args:?}");
        assert!(
            run.stderr.contains("there is no database") && run.stderr.contains("record"),
            "{}",
            run.stderr
        );
        assert!(!place.db().exists(), "{args:?} made it");
    }
}

#[test]
fn the_schema_is_told_with_units() {
    let place = fixture::place();
    let schema = place.ok(&["query", "--schema", "--format", "json"]).json();
    let rows = schema.as_array().expect("rows");
    let wall = rows.iter().find(|row| row["view"] == "v_invocation" && row["column"] == "wall_ns");
    assert_eq!(wall.expect("documented")["unit"], "ns");
    assert!(rows.iter().all(|row| row["meaning"] != ""));
}

#[test]
fn an_older_database_is_read_as_it_is() {
    let place = fixture::place();
    let connection = place.open();
    connection.execute_batch("DROP VIEW v_waste; PRAGMA user_version = 3").expect("aged");
    drop(connection);
    let run = place.run(&["query", "--saved", "waste"]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("cyclometer history"), "{}", run.stderr);
    place.ok(&["query", "--saved", "cold-starts"]);
}

#[test]
fn a_recording_without_rows_gives_no_rows() {
    let place = Place::new();
    fixture::empty(&place);
    let run = place.run(&["query", "--saved", "bills"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("there is no simulation yet"), "{}", run.stderr);
    let connection = place.open();
    fixture::recording(&connection, 1, "nothing");
    let cell = fixture::cell(&connection, 1, 1, "native", "nop", "cold");
    invocation(&connection, cell, 1).save();
    assert_eq!(numbers(&connection, "SELECT COUNT(*) FROM v_invocation"), [1]);
    for name in ["failures", "outliers", "throughput", "cold-over-warm", "missing-meters"] {
        assert_eq!(saved(&place, name, &[]).len(), 0, "{name}");
        let run = place.ok(&["query", "--saved", name]);
        assert!(run.stderr.contains("no rows"), "{name}: {}", run.stderr);
    }
}
