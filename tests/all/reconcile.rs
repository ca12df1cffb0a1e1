//! `reconcile`: billed durations of provider logs, and the lines of a bill.

use std::path::Path;

use cyclometer::store::{FileProgress, Store, TraceInput, TraceWriter};
use cyclometer::trace::formats::detect_format;
use cyclometer::trace::testing::{read_lines, read_records};
use cyclometer::trace::{ImportSettings, RowBatch};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::common::Place;

/// Stores a log as a trace with a label.
fn import_text(place: &Place, label: &str, text: &str, settings: &ImportSettings) {
    let format = detect_format(&text.as_bytes()[..text.len().min(1 << 16)]).expect("a format");
    let input = match serde_json::from_str::<Vec<Box<RawValue>>>(text) {
        Ok(records) => read_records(format, settings, records.iter().map(|it| it.get().as_bytes())),
        Err(_) => read_lines(format, settings, text),
    };
    assert_eq!(input.rejects, []);
    let mut batch = RowBatch::default();
    input.rows.iter().for_each(|row| batch.push(row.clone()));
    let store = Store::open(&place.db()).expect("made");
    let mut writer = TraceWriter::begin(store, Some(label), "{}").expect("begun");
    let file = TraceInput {
        position: 0,
        path: label.to_owned(),
        format: format.name.to_owned(),
        bytes: Some(text.len() as u64),
        identity: label.to_owned(),
    };
    let file = writer.begin_file(&file).expect("a file");
    let progress = FileProgress { file, ..FileProgress::default() };
    writer.store_batch(&input.names, &batch, &progress).expect("stored");
    writer.finish(&[]).expect("finished");
}

fn read_data(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/traces/ubc");
    std::fs::read_to_string(folder.join(name)).expect("a file of the data set")
}

/// All 620 rows of the two files are billed as the model says; one of them needs a rule: 22.0 ms
/// were billed as 23 (`grep -A1 '"Duration": 22.0'`).
#[test]
fn every_row_of_the_data_set_is_explained() {
    let place = Place::new();
    let settings = ImportSettings::default();
    for (label, file) in [("events", "aws_1_cloudwatch.json"), ("batch", "aws_MEM1000_BATCH0.json")]
    {
        import_text(&place, label, &read_data(file), &settings);
    }
    let run = place.ok(&["reconcile", "events", "--model", "aws-lambda-x86"]);
    assert!(
        run.stdout
            .starts_with("100.00 % of 120 billed durations explained: 120 exact, 0 by a rule"),
        "{}",
        run.stdout
    );
    // May 2025: INIT was free.
    assert!(run.stdout.contains("aws-lambda-x86-2020"), "{}", run.stdout);
    let run = place.ok(&["reconcile", "batch", "--format", "json"]);
    let found: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(found["billed_invocations"], 500);
    assert_eq!(found["explained_invocations"], 500);
    let rows = found["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["rule"], "whole_millisecond");
    assert_eq!(rows[0]["run_ns"], 22_000_000);
    assert_eq!(rows[0]["billed_ns"], 23_000_000);
    let text = read_data("aws_MEM1000_BATCH0.json");
    let request = rows[0]["request"].as_str().expect("a request");
    let record = text.split('{').find(|record| record.contains(request)).expect("a record");
    assert!(record.contains("\"Duration\": 22.0"), "{record}");
}

#[test]
fn what_no_rule_explains_is_listed_with_its_request() {
    let place = Place::new();
    let line = |id: &str, time: &str, fields: &str| {
        format!(
            "{time} REPORT RequestId: {id}\t{fields}\tMemory Size: 128 MB\tMax Memory Used: 40 MB\t\n"
        )
    };
    let text = [
        line(
            "94f4a28a-dbe3-4114-9f2b-0b3ae40f4dba",
            "2026-03-01T00:00:00Z",
            "Duration: 1233.96 ms\tBilled Duration: 1698 ms\tInit Duration: 463.512 ms",
        ),
        line(
            "94f4a28a-dbe3-4114-9f2b-0b3ae40f4dbb",
            "2025-01-15T00:00:00Z",
            "Duration: 329.177 ms\tBilled Duration: 330 ms\tInit Duration: 503.083 ms",
        ),
        line(
            "94f4a28a-dbe3-4114-9f2b-0b3ae40f4dbc",
            "2026-03-01T00:00:00Z",
            "Duration: 5.50 ms\tBilled Duration: 9 ms",
        ),
    ]
    .concat();
    import_text(&place, "mine", &text, &ImportSettings::default());
    let run = place.run(&["reconcile", "mine"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(
        run.stdout.starts_with(
            "66.67 % of 3 billed durations explained: 2 exact, 0 by a rule, 1 unexplained"
        ),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains("94f4a28a-dbe3-4114-9f2b-0b3ae40f4dbc"), "{}", run.stdout);
    assert!(run.stdout.contains("INIT billed"), "{}", run.stdout);
    assert!(run.stdout.contains("INIT free"), "{}", run.stdout);
    // A model that bills no time is wrong usage.
    let run = place.run(&["reconcile", "mine", "--model", "per-cycle"]);
    assert_eq!(run.code, 2, "{}", run.stdout);
    assert!(run.stderr.contains("bills no time by the invocation"), "{}", run.stderr);
}

/// 6 ms at 128 MB are 0.00075 GB-s.
#[test]
fn a_bill_is_held_against_the_trace() {
    let place = Place::new();
    let text = "2026-03-01T12:00:00Z REPORT RequestId: a\tDuration: 5.50 ms\tBilled Duration: 6 ms\t\
                Memory Size: 128 MB\tMax Memory Used: 40 MB\t\n";
    let settings = ImportSettings {
        function: Some("thumbnail".into()),
        region: Some("us-east-1".into()),
        ..ImportSettings::default()
    };
    import_text(&place, "mine", text, &settings);
    let bill = place.path().join("bill.csv");
    let rows = "line_item_line_item_type,line_item_product_code,line_item_usage_type,\
                line_item_usage_amount,line_item_unblended_cost,line_item_currency_code,\
                line_item_usage_start_date,product_region_code,line_item_resource_id\n\
                Usage,AWSLambda,Lambda-GB-Second,0.00075,0.0000000125,USD,2026-03-01T00:00:00Z,\
                us-east-1,arn:aws:lambda:us-east-1:1:function:thumbnail\n\
                Usage,AWSLambda,Request,1,0.0000002,USD,2026-03-01T00:00:00Z,us-east-1,\
                arn:aws:lambda:us-east-1:1:function:thumbnail\n\
                Tax,AWSLambda,,1,0.00000004,USD,2026-03-01T00:00:00Z,,\n\
                Usage,AmazonS3,\"=cmd|' /C calc'!A0\",1,3,USD,2026-03-01T00:00:00Z,us-east-1,\n";
    std::fs::write(&bill, rows).expect("written");
    let bill = bill.to_str().expect("a path");
    let run = place.ok(&["reconcile", "mine", "--bill", bill]);
    assert!(
        run.stdout.starts_with("100.00 % of what AWS Lambda was billed is explained"),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains("AmazonS3"), "{}", run.stdout);
    // Bills come compressed; a cut one is not taken for a shorter one.
    let packed = crate::importing::gzip(rows.as_bytes());
    let path = place.path().join("bill.csv.gz");
    std::fs::write(&path, &packed).expect("written");
    let same = place.ok(&["reconcile", "mine", "--bill", path.to_str().expect("a path")]);
    assert_eq!(same.stdout, run.stdout);
    let cut = place.path().join("cut.gz");
    std::fs::write(&cut, &packed[..packed.len() - 20]).expect("written");
    let cut = place.run(&["reconcile", "mine", "--bill", cut.to_str().expect("a path")]);
    assert_eq!(cut.code, 1, "{}", cut.stdout);
    assert!(cut.stderr.contains("cut.gz cannot be read"), "{}", cut.stderr);
    std::fs::write(bill, rows.replace("0.00075", "0.00085")).expect("written");
    let run = place.run(&["reconcile", "mine", "--bill", bill, "--format", "csv"]);
    assert_eq!(run.code, 3, "{}", run.stdout);
    assert!(run.stdout.contains("DIFFERENT"), "{}", run.stdout);
    let run = place.ok(&["reconcile", "mine", "--bill", bill, "--tolerance", "20"]);
    assert!(run.stdout.contains("same but for rounded quantities"), "{}", run.stdout);
    std::fs::write(bill, "a,b\n").expect("written");
    let run = place.run(&["reconcile", "mine", "--bill", bill]);
    assert_eq!(run.code, 1, "{}", run.stdout);
    assert!(run.stderr.contains("is no bill that is known"), "{}", run.stderr);
}
