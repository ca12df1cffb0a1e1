//! A database that the version of 21 November 2026 made: what it stored is shown
//! as it was, its recordings are billed to the same digit, and it is migrated with
//! nothing changed. All that is compared with was printed by the program of then:
//! see `tests/data/old-database/README.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::common::{Place, column, numbers};

/// The schema of then.
const SCHEMA: i64 = 7;

/// Models whose totals are others since, and why. A model of which a price or rule
/// is changed with intent comes here.
const CHANGED: [(&str, Change); 5] = [
    ("aws-ec2-c6g-medium", Change::MonthlyChargesOnly),
    ("aws-fargate-arm", Change::MonthlyChargesOnly),
    ("vercel-fluid", Change::DecimalGigabytes),
    ("vercel-fluid-included", Change::DecimalGigabytes),
    ("vercel-legacy", Change::DecimalGigabytes),
];

#[derive(Clone, Copy)]
enum Change {
    /// What has monthly charges only has no list price, where it had one of 0.
    MonthlyChargesOnly,
    /// Memory is billed in GB of 10^9 bytes, where it was in GB of 2^30.
    DecimalGigabytes,
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/old-database").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).expect("a file of the repository")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn version(place: &Place) -> i64 {
    numbers(&place.open(), "PRAGMA user_version")[0]
}

/// A place with a copy of it.
fn unpack() -> Place {
    let place = Place::new();
    let output = Command::new("gzip").arg("-dc").arg(file("v7.db.gz")).output().expect("gzip");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    place.write("c.db", output.stdout);
    assert_eq!(version(&place), SCHEMA);
    place
}

/// Insists that all of `old` is in `new`, which may have more keys.
fn insist_on_all(old: &Value, new: &Value, path: &str) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in old {
                let path = format!("{path}/{key}");
                insist_on_all(value, new.get(key).unwrap_or_else(|| panic!("no {path}")), &path);
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            assert_eq!(old.len(), new.len(), "{path}");
            for (at, (old, new)) in old.iter().zip(new).enumerate() {
                insist_on_all(old, new, &format!("{path}/{at}"));
            }
        }
        _ => assert_eq!(old, new, "{path}"),
    }
}

/// Rows of a replay by model and cell.
fn bills_by_cell(rows: Vec<Value>) -> BTreeMap<[String; 4], Value> {
    let key = |row: &Value| {
        ["model", "workload", "lane", "start"].map(|key| row[key].as_str().expect(key).to_owned())
    };
    rows.into_iter().map(|row| (key(&row), row)).collect()
}

fn amount(row: &Value, key: &str) -> f64 {
    row[key].as_str().expect(key).parse().expect("a number")
}

fn insist_on_change(change: Change, old: &Value, new: &Value) {
    match change {
        Change::MonthlyChargesOnly => {
            assert_eq!((&old["list_total"], &new["list_total"]), (&"0".into(), &Value::Null));
        }
        Change::DecimalGigabytes => {
            let besides_fees = |row: &Value| amount(row, "list_total") - amount(row, "fees");
            let ratio = besides_fees(new) / besides_fees(old);
            let whole = f64::from(1 << 30) / 1e9;
            if old["model"] == "vercel-legacy" {
                assert!((ratio - whole).abs() < 1e-12, "memory alone: {ratio}");
            } else {
                assert!(ratio > 1.0 && ratio < whole, "memory beside CPU time: {ratio}");
            }
        }
    }
}

#[test]
fn its_recordings_are_billed_by_every_model_to_the_same_digit() {
    let place = unpack();
    let rows = |value: Value| value.as_array().expect("rows").clone();
    let new = place.ok(&["replay", "1", "2", "--model", "all", "--format", "json"]).json();
    let new = bills_by_cell(rows(new));
    let old = bills_by_cell(text("replay-all.jsonl").lines().map(json).collect());
    // Sixty-seven models, and four cells of five invocations.
    assert_eq!(old.len(), 67 * 4);
    let mut same = 0;
    for (cell, old) in &old {
        let new = new.get(cell).unwrap_or_else(|| panic!("{cell:?} is not billed any more"));
        if let Some((_, change)) = CHANGED.iter().find(|(model, _)| *model == cell[0]) {
            insist_on_change(*change, old, new);
            continue;
        }
        for key in ["list_total", "list_per_million", "fees", "rounding", "startup"] {
            assert_eq!(new[key], old[key], "{key} of {cell:?}");
        }
        for key in ["currency", "granularity", "invocations", "preset"] {
            assert_eq!(new[key], old[key], "{key} of {cell:?}");
        }
        same += 1;
    }
    assert_eq!(same, (67 - CHANGED.len()) * 4);
}

#[test]
fn what_it_has_is_shown_as_it_was() {
    let place = unpack();
    let show = |what: &str| place.ok(&["history", "show", what, "--format", "json"]).json();
    insist_on_all(&json(&text("simulation-3.json")), &show("s3"), "s3");
    // Its bills are made anew, by the prices of today: the other test has them.
    let mut recording = json(&text("recording-1.json"));
    for row in recording.as_array_mut().expect("rows") {
        let row = row.as_object_mut().expect("a row");
        for key in ["coarse_over_fine", "coarse_usd_per_million", "fine_usd_per_million"] {
            row.remove(key).expect(key);
        }
    }
    insist_on_all(&recording, &show("1"), "1");
}

#[test]
fn a_label_migrates_it_and_changes_no_stored_amount() {
    let place = unpack();
    place.ok(&["history", "label", "1", "words of today"]);
    assert!(version(&place) > SCHEMA, "it is migrated");
    let connection = place.open();
    let labels = column(&connection, "SELECT label FROM v_recording ORDER BY recording");
    assert_eq!(labels, ["words of today", "memory-burst"]);
    // What is new since was not measured then.
    let new = "SELECT COUNT(*) || ' ' || COUNT(cpu_startup_ns) || ' ' || COUNT(throttled_ns)
               FROM v_invocation";
    assert_eq!(column(&connection, new), ["20 0 0"]);
    let stored = place.ok(&["query", &text("stored.sql"), "--format", "csv"]).stdout;
    let wanted = text("stored.csv");
    let differ: Vec<_> =
        wanted.lines().zip(stored.lines()).filter(|(old, new)| old != new).collect();
    assert!(
        differ.is_empty(),
        "{} of them differ: {:?}",
        differ.len(),
        &differ[..differ.len().min(5)]
    );
    assert_eq!(stored.lines().count(), wanted.lines().count());
}
