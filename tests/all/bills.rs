//! Every requested model has a bill or a refusal.

use serde_json::Value;

use crate::common::{Place, column, numbers};

/// A database with one recording in the lane `native`: 4 runs of `f` (120 ms,
/// 64 MiB of 1 GiB touched), 3 of `bad` that all failed after 1 s, and 4 of
/// `some` of which one failed (120 ms each).
fn place() -> Place {
    let place = Place::new();
    drop(cyclometer::store::Store::open(&place.db()).expect("an empty database"));
    place
        .open()
        .execute_batch(
            "INSERT INTO recording (id, started_at, status, owner, plan, host)
                VALUES (1, '2026-11-21T10:00:00.000Z', 'done', '', '{}', '{}');
             INSERT INTO lane (id, recording_id, name) VALUES (1, 1, 'native');
             INSERT INTO cell (id, recording_id, lane_id, workload, preset, start)
                VALUES (1, 1, 1, 'f', 'small', 'cold'), (2, 1, 1, 'bad', 'small', 'cold'),
                    (3, 1, 1, 'some', 'small', 'cold');
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 4)
             INSERT INTO invocation (cell_id, sequence, status, reason, offset_ns, run_ns, wall_ns,
                cpu_ns, cycles, memory_peak_bytes, memory_allocated_bytes)
             SELECT 1, i, 'ok', NULL, i, 120000000, 120000000, 60000000, 150000000,
                64 * 1048576, 1024 * 1048576 FROM n
             UNION ALL
             SELECT 2, i, 'failed', 'exit code 7', i, 1000000000, 1000000000, 60000000, 150000000,
                64 * 1048576, 1024 * 1048576 FROM n WHERE i < 4
             UNION ALL
             SELECT 3, i, iif(i = 2, 'timeout', 'ok'), iif(i = 2, 'too slow', NULL), i, 120000000,
                120000000, 60000000, 150000000, 64 * 1048576, 1024 * 1048576 FROM n;",
        )
        .expect("a recording");
    place
}

fn rows<'a>(rows: &'a Value, model: &str) -> Vec<&'a Value> {
    rows.as_array().expect("rows").iter().filter(|row| row["model"] == model).collect()
}

fn keys(row: &Value) -> Vec<&String> {
    row.as_object().expect("an object").keys().collect()
}

/// Sets of models that once lost some: several of one granularity, one alone,
/// hybrids, several currencies, one that refuses, one named twice.
const SETS: [&[&str]; 8] = [
    &["aws-lambda-x86", "google-cloud-functions"],
    &["azure-consumption"],
    &["vercel-fluid"],
    &["azure-consumption", "per-cycle"],
    &["per-cycle", "per-cpu-ms"],
    &["aws-lambda-x86", "per-wasm-op"],
    &["per-wasm-op"],
    &["aws-lambda-x86", "per-cycle", "azure-consumption", "vercel-fluid"],
];

#[test]
fn every_requested_model_is_in_every_output_as_a_bill_or_a_refusal() {
    let place = place();
    for set in SETS {
        let model = format!("{},{}", set.join(","), set[0]);
        for form in [&[][..], &["--waste"], &["--per-month", "3M"], &["--memory", "sweep"]] {
            for format in ["table", "markdown", "csv", "json", "jsonl"] {
                let args = [&["replay", "--model", &model, "--format", format], form].concat();
                let run = place.run(&args);
                let refuses = set.contains(&"per-wasm-op");
                let code = if refuses && form != ["--memory", "sweep"] { 3 } else { 0 };
                assert_eq!(run.code, code, "{args:?}: {}", run.stderr);
                for id in set {
                    // With one model, its name stands in no column of people's tables.
                    let named = set.len() > 1 || format != "table" && format != "markdown";
                    let named = named || form != ["--waste"] && form != ["--memory", "sweep"];
                    assert!(!named || run.stdout.contains(id), "{id} in {args:?}: {}", run.stdout);
                }
                // Markdown has marks before the quotes.
                let says =
                    run.stdout.contains("wasm_ops") && run.stdout.contains(" was not measured");
                assert_eq!(says, refuses, "{args:?}: {}", run.stdout);
            }
        }
    }
}

#[test]
fn bills_have_one_schema_whatever_the_number_of_models() {
    let place = place();
    let all = place.ok(&["replay", "--model", "all", "--format", "json"]).json();
    let expected = keys(&all[0]);
    for set in SETS {
        let run = place.run(&["replay", "--model", &set.join(","), "--format", "json"]);
        let found = run.json();
        for id in set {
            // A row a model and cell.
            assert_eq!(rows(&found, id).len(), 3, "{id} of {set:?}");
        }
        assert_eq!(found.as_array().map(Vec::len), Some(3 * set.len()), "{set:?}");
        assert_eq!(keys(&found[0]), expected, "{set:?}");
    }
    let month = ["replay", "--model", "per-cycle", "--per-month", "3M", "--format", "json"];
    assert_eq!(keys(&place.ok(&month).json()[0]), expected);
}

#[test]
fn a_stored_simulation_names_every_model_too() {
    let place = place();
    place.run(&["replay", "--model", "azure-consumption,per-wasm-op,aws-lambda-arm"]);
    for format in ["table", "markdown", "csv", "json", "jsonl"] {
        let run = place.ok(&["history", "show", "slatest", "--format", format]);
        for id in ["azure-consumption", "per-wasm-op", "aws-lambda-arm"] {
            assert!(run.stdout.contains(id), "{id}, {format}: {}", run.stdout);
        }
        assert!(run.stdout.contains(" was not measured"), "{format}: {}", run.stdout);
    }
}

#[test]
fn an_explanation_of_an_invocation_names_the_models_that_refuse() {
    let place = place();
    let args = ["replay", "--explain", "1", "--model", "aws-lambda-x86,per-wasm-op"];
    let run = place.run(&args);
    assert_eq!(run.code, 3);
    assert!(run.stdout.contains("per-wasm-op: refused: `wasm_ops` was not"), "{}", run.stdout);
    let found = place.run(&[&args[..], &["--format", "json"]].concat()).json();
    assert_eq!(found.as_array().map(Vec::len), Some(2));
    assert!(found[1]["refused"].as_str().is_some_and(|why| why.contains("`wasm_ops`")));
}

#[test]
fn break_even_prices_are_of_the_fine_models_that_were_asked_for() {
    let place = place();
    let args = |model| ["replay", "--break-even", "--model", model, "--format", "json"];
    let run = place.run(&args("aws-lambda-x86,google-cloud-functions,per-wasm-op,per-cycle"));
    assert_eq!(run.code, 3, "{}", run.stderr);
    let found = run.json();
    for coarse in ["aws-lambda-x86", "google-cloud-functions"] {
        let of = |fine: &str| {
            let all = found.as_array().expect("rows");
            let both = |row: &&Value| row["coarse_model"] == coarse && row["fine_model"] == fine;
            all.iter().filter(both).collect::<Vec<_>>()
        };
        // `f` and `some`: that `bad` has no price is said.
        assert_eq!(of("per-cycle").len(), 2, "{found:#}");
        assert_eq!(of("per-wasm-op")[0]["note"], "no invocation is billed by both");
        assert!(of("per-cpu-ms").is_empty());
    }
    // Where no fine model is named, the usual ones are looked for.
    let usual = place.run(&args("aws-lambda-x86")).json();
    assert!(usual.as_array().expect("rows").iter().any(|row| row["fine_model"] == "per-cpu-ms"));
}

#[test]
fn a_cell_that_only_failed_has_no_price_and_says_why() {
    let place = place();
    let args = ["replay", "--model", "aws-lambda-x86", "--format"];
    let found = place.ok(&[&args[..], &["json"]].concat());
    let found = found.json();
    let of = |name: &str| {
        let all = rows(&found, "aws-lambda-x86");
        all.into_iter().find(|row| row["workload"] == name).expect("a row")
    };
    let bad = of("bad");
    assert_eq!((&bad["list_total"], &bad["list_per_million"]), (&Value::Null, &Value::Null));
    assert_eq!((&bad["used"], &bad["outcome"]), (&Value::Null, &"failed".into()));
    assert_eq!((&bad["failed"], &bad["billed"]), (&3.into(), &0.into()));
    assert_eq!(bad["note"], "all 3 invocations failed");
    // 0.12 GB-s x 0.0000166667 + 0.0000002, times a million: as providers bill,
    // the one that ran out of time is in the bill.
    let some = of("some");
    assert_eq!((&some["failed"], &some["billed"]), (&1.into(), &4.into()));
    assert_eq!(some["list_per_million"], "2.200004");
    assert_eq!(some["note"], "1 of 4 invocations failed");

    let text = place.ok(&[&args[..], &["table"]].concat());
    let line = text.stdout.lines().find(|line| line.starts_with("bad")).expect("a line");
    assert!(line.ends_with('-'), "{line}");
    // 8 x 0.000002200004: `all` is without what has no price.
    let all = text.stdout.lines().find(|line| line.starts_with("all")).expect("a line");
    assert!(all.ends_with("0.0000176"), "{all}");
    for said in [
        "bad in native, cold: no price: all 3 invocations failed, the first: exit code 7",
        "some in native, cold: failures are billed too: 1 of 4 invocations failed, the first: too",
    ] {
        assert!(text.stderr.contains(said), "{}", text.stderr);
    }
}

#[test]
fn no_price_of_failures_is_stored_or_shown_elsewhere() {
    let place = place();
    let shown = place.ok(&["history", "show", "1", "--format", "json"]).json();
    let bad = shown.as_array().expect("rows").iter().find(|row| row["workload"] == "bad");
    assert_eq!(bad.expect("a row")["coarse_usd_per_million"], Value::Null);
    let connection = place.open();
    let of_bad = |view: &str, column: &str| {
        format!("SELECT {column} FROM {view} WHERE workload = 'bad' AND model = 'aws-lambda-x86'")
    };
    assert_eq!(numbers(&connection, &of_bad("v_bill", "COUNT(*)")), [0]);
    assert_eq!(numbers(&connection, &of_bad("v_waste", "COUNT(*)")), [0]);
    let refused = column(&connection, &of_bad("v_line_item", "refused"));
    assert!(!refused.is_empty());
    assert!(refused.iter().all(|why| why == "all 3 invocations failed"), "{refused:?}");
    let amounts = column(&connection, &of_bad("v_line_item", "amount"));
    assert!(amounts.iter().all(|amount| amount == "NULL"), "{amounts:?}");
    let sweep = place.ok(&["replay", "--memory", "sweep", "--format", "json"]).json();
    let all = sweep.as_array().expect("rows").iter();
    let notes: Vec<_> =
        all.filter(|row| row["workload"] == "bad").map(|row| &row["note"]).collect();
    assert_eq!(notes, ["no price: all 3 invocations failed"; 2]);
}

#[test]
fn a_cell_that_never_ran_is_not_passed_over() {
    let place = place();
    place
        .open()
        .execute_batch(
            "INSERT INTO cell (id, recording_id, lane_id, workload, preset, start, note)
                VALUES (9, 1, 1, 'g', 'small', 'warm', 'the image is gone');",
        )
        .expect("a cell");
    let run = place.ok(&["replay", "--model", "aws-lambda-x86"]);
    let said = "g in native, warm: no price: the image is gone";
    assert!(run.stderr.contains(said), "{}", run.stderr);
}

#[test]
fn a_ratio_is_shown_for_one_pair_only_and_says_what_it_divides() {
    let place = place();
    let pair = place.ok(&["replay"]).stdout;
    assert!(pair.lines().next().is_some_and(|line| line.ends_with("dearer")), "{pair}");
    // 1 GiB x 0.12 s x 0.0000166667 + 0.0000002 = 2.200004 a million; 150 M cycles
    // x 0.0115 / 10^12 = 1.725 a million: 1.275 times as much.
    assert!(pair.contains("coarse 1.28x"), "{pair}");
    // At 128 MiB it is 0.4500005 a million, and cycles are 3.833 times as dear.
    let less = place.ok(&["replay", "--memory", "128MiB"]).stdout;
    assert!(less.contains("fine 3.83x"), "{less}");
    let more = place.ok(&["replay", "--model", "per-cycle,per-cpu-ms"]).stdout;
    assert!(!more.contains("dearer"), "{more}");
}
