//! The paper's tables made again: cut off, gone on with, and told.

use std::io::{BufRead, BufReader};

use crate::common::{Place, column, numbers};

/// Few runs in two lanes: what counts here is not the figures.
const SMALL: [&str; 5] = ["paper", "--runs", "6", "--lane", "native,wasmtime"];

#[test]
fn a_run_that_was_killed_goes_on_where_it_was() {
    let place = Place::new();
    let mut child = place.spawn(&SMALL);
    let stderr = child.stderr.take().expect("piped");
    // Figure 1 is done, and figure 2 under way.
    for line in BufReader::new(stderr).lines() {
        if line.expect("text").contains("cat-sync in wasmtime, warm #2: ok") {
            break;
        }
    }
    child.kill().expect("killed");
    child.wait().expect("gone");

    let run = place.ok(&SMALL);
    assert!(run.stderr.contains("continues the run that was started at"), "{}", run.stderr);
    let connection = place.open();
    let label = "SELECT label || ' ' || status FROM recording ORDER BY id";
    let expected = [
        "paper quick: figure-1 done",
        "paper quick: figure-2 interrupted",
        "paper quick: figure-2 done",
        "paper quick: table-1 done",
        "paper quick: counting done",
    ];
    assert_eq!(column(&connection, label), expected);
    // Every cell has its six, over both recordings; one more where a round was
    // cut in the middle.
    let runs = "SELECT COUNT(*) FROM v_invocation WHERE workload = 'cat-sync' AND status = 'ok'
        AND lane <> 'wasmtime:fuel' GROUP BY lane, start";
    let runs = numbers(&connection, runs);
    assert!(runs.len() == 3 && runs.iter().all(|count| (6..=7).contains(count)), "{runs:?}");
    assert_eq!(
        numbers(&connection, "SELECT COUNT(*) FROM v_invocation WHERE recording = 1"),
        [18],
        "what was done is not done again"
    );
    told(&place);
}

/// What `--show` says of it, without measuring anything.
fn told(place: &Place) {
    let report = place.ok(&["paper", "--show", "--format", "json"]).json();
    assert_eq!(report["recordings"].as_array().map(Vec::len), Some(5));
    assert_eq!(report["unfinished"].as_array().map(Vec::len), Some(0));
    let rows = report["tables"]["table-1"].as_array().expect("rows");
    assert_eq!(rows.len(), 12, "four workloads, native and wasmtime cold and warm");
    for row in rows {
        assert_eq!(row["time"]["runs"], 6, "{row}");
        let time = |key: &str| row["time"][key].as_f64().expect("a time");
        assert!(time("low_ns") <= time("median_ns") && time("median_ns") <= time("high_ns"));
        assert!(row["usd_per_million"]["aws-lambda-x86"].is_string(), "billed: {row}");
    }
    // The median is that of the database, by another way.
    let row = rows.iter().find(|row| row["lane"] == "native" && row["workload"] == "nbody");
    let median = row.expect("a row")["time"]["median_ns"].as_f64().expect("a time");
    let times = "SELECT run_ns FROM v_invocation WHERE workload = 'nbody' AND lane = 'native'
        ORDER BY run_ns";
    let times = numbers(&place.open(), times);
    #[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 ns")]
    let middle = (times[2] + times[3]) as f64 / 2.0;
    assert!((median - middle).abs() < 0.5, "{median} is not {middle}");
    let claims = report["claims"].as_array().expect("claims");
    assert_eq!(claims.len(), 6);
    assert_eq!(claims[5]["holds"], "holds", "operators are the same each time");
    assert_eq!(claims[0]["holds"], "not tested", "Docker was not asked for");
    assert!(report["compile"].as_array().is_some_and(|rows| rows.len() == 6), "each module");
}

#[test]
fn the_report_is_written_as_files() {
    let place = Place::new();
    let out = place.path().join("out");
    let folder = out.to_str().expect("UTF-8");
    let run = place.ok(&["paper", "--runs", "1", "--lane", "native", "--output", folder]);
    assert!(run.stdout.contains("Table 1: execution time"), "{}", run.stdout);
    for name in ["report.md", "report.json", "figure-1.svg", "figure-2.svg", "table-1.svg"] {
        let text = std::fs::read_to_string(out.join(name)).expect(name);
        assert!(!text.is_empty() && !text.contains("NaN"), "{name}");
    }
    let page = std::fs::read_to_string(out.join("report.md")).expect("a page");
    assert!(page.contains("| *Docker, 2020* | Azure | 16.9 s ±0.9 | 26.1 s ±0.1 |"), "{page}");
    let refused = place.run(&["paper", "--show", "--format", "csv"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    let none = place.run(&["paper", "--show", "--preset", "paper"]);
    assert_eq!(none.code, 1);
    assert!(none.stderr.contains("there is no run of preset paper"), "{}", none.stderr);
}

#[test]
fn without_a_lane_that_runs_nop_nothing_else_is_recorded() {
    let place = Place::new();
    // Its program takes no module for a time.
    place.write(
        "runtimes/broken.toml",
        "title = \"Broken\"\ntakes = \"module\"\ninstall = \"nothing to do\"\nmemory = \"process\"\n\
         [program]\nnames = [\"sleep\"]\nversion = [\"--version\"]\nafter = \"coreutils) \"\n[cold]\nargs = [\"{module}\", \"{args...}\"]\n",
    );
    let folder = place.path().join("runtimes");
    let folder = folder.to_str().expect("UTF-8");
    let run = place.run(&["paper", "--runs", "1", "--lane", "broken", "--runtimes", folder]);
    assert!(run.stderr.contains("nop fails in every lane"), "{}", run.stderr);
    let lanes = column(&place.open(), "SELECT DISTINCT name FROM lane ORDER BY name");
    assert_eq!(lanes, ["broken", "wasmtime:fuel"], "not the usual lanes in its place");
    assert_eq!(run.code, 3, "the report is not whole: {}", run.stderr);
}
