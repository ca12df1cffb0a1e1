//! What metering costs, through the program itself.

use crate::common::{Place, column, numbers, turns};
use serde_json::Value;

#[test]
fn each_way_to_meter_does_what_it_says_and_no_more() {
    let _alone = turns::run_alone();
    let place = Place::new();
    // A quarter of a second each: time for samples.
    let args = ["tax", "--workload", "wait", "--lane", "native", "--runs", "1", "--warmup", "0"];
    let run = place.run(&[&args[..], &["--format", "json"]].concat());
    let rows = run.json();
    let rows = rows.as_array().expect("rows");
    let words: Vec<_> = rows.iter().map(|row| row["metering"].as_str().expect("a word")).collect();
    assert_eq!(words, ["plain", "counters", "100ms", "10ms", "1ms"]);
    let connection = place.open();
    let source = |lane: &str| {
        let sql = format!(
            "SELECT source FROM v_meter_source WHERE lane = '{lane}' AND meter = 'cpu_time'"
        );
        column(&connection, &sql)
    };
    assert_eq!(source("native/plain"), ["rusage"], "no counters");
    if rows[1]["reason"].is_string() {
        assert_eq!(run.code, 3);
        eprintln!("skipped: counted runs: {}", rows[1]["reason"]);
        return;
    }
    assert_eq!(run.code, 0, "{}", run.stderr);
    // One run says nothing, and says so.
    assert_eq!((&rows[1]["run_ratio"], &rows[0]["run_ratio"]), (&Value::Null, &Value::from(1.0)));
    assert_eq!(rows[1]["run_told"], "too few runs to say: 1, and 6 are needed");
    assert!(source("native/counters")[0].starts_with("perf"));
    let samples = |lane: &str| {
        let sql =
            format!("SELECT COUNT(DISTINCT at_ns) FROM v_sample WHERE lane = 'native/{lane}'");
        numbers(&connection, &sql)[0]
    };
    assert_eq!((samples("plain"), samples("counters")), (0, 0));
    let (rare, usual, often) = (samples("100ms"), samples("10ms"), samples("1ms"));
    // 250 ms, on a machine that may be busy.
    assert!((1..=5).contains(&rare), "{rare}");
    assert!(usual > rare && usual <= 60, "{usual}");
    assert!(often > 2 * usual, "{often} every 1 ms, {usual} every 10 ms");
}

#[test]
fn a_tax_is_kept_and_shown_again() {
    let _alone = turns::run_alone();
    let place = Place::new();
    let args = ["tax", "--workload", "nop", "--runs", "6", "--seed", "3", "--format", "csv"];
    let first = place.run(&args);
    assert!([0, 3].contains(&first.code), "{}", first.stderr);
    let again = place.ok(&["tax", "--show", "latest", "--format", "csv"]);
    assert_eq!(first.stdout, again.stdout);
    let rows = place.ok(&["tax", "--show", "1", "--format", "json"]).json();
    let row = |lane: &str, word: &str| {
        let rows = rows.as_array().expect("rows");
        let found = rows.iter().find(|row| row["lane"] == lane && row["metering"] == word);
        found.cloned().expect("a row")
    };
    for word in ["fuel", "epoch"] {
        let row = row("wasmtime", word);
        // Of CPU time: nop's own is long enough for any clock, its run is not.
        let [low, ratio, high] = ["cpu_ratio_low", "cpu_ratio", "cpu_ratio_high"]
            .map(|key| row[key].as_f64().expect("a figure"));
        assert!(low <= ratio && ratio <= high, "{row}");
    }
    let stored = column(&place.open(), "SELECT label || ' ' || (plan ->> 'seed') FROM recording");
    assert_eq!(stored, ["tax 3"]);
    // Fuel is counted in the runs of its lane only.
    let notes = "SELECT lane FROM v_meter_source WHERE meter = 'wasm_ops'
                 AND note LIKE '%in the timed run%'";
    assert_eq!(column(&place.open(), notes), ["wasmtime/fuel"]);
    let wrong = place.run(&["tax", "--show", "7"]);
    assert_eq!(wrong.code, 1, "{}", wrong.stderr);
}
