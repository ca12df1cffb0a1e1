//! The three files of ubc-cirrus-lab/demystifying-serverless-costs (MIT) in
//! `tests/data/traces/ubc`: every record of them is read or told what it is.

use std::path::Path;

use cyclometer_core::meter::Meter;
use cyclometer_core::units::Nanos;
use cyclometer_trace::formats::detect_format;
use cyclometer_trace::testing::{ReadInput, read_records};
use cyclometer_trace::{ImportSettings, TraceFormat};
use serde_json::value::RawValue;

fn read_array(name: &str) -> (&'static TraceFormat, ReadInput) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/traces/ubc");
    let text = std::fs::read(folder.join(name)).expect("a file of the data set");
    let format = detect_format(&text[..text.len().min(1 << 16)]).expect("a known format");
    let records: Vec<Box<RawValue>> = serde_json::from_slice(&text).expect("an array");
    let records = records.iter().map(|record| record.get().as_bytes());
    (format, read_records(format, &ImportSettings::default(), records))
}

/// Returns how many rows were billed for their duration rounded up to whole milliseconds, and how
/// many for one millisecond more.
fn count_billed(input: &ReadInput) -> (usize, usize) {
    let excess = |row: &cyclometer_trace::TraceRow| {
        let run = row.usage.phases.run.expect("a duration").0;
        row.billed.expect("billed").0 - run.div_ceil(1_000_000) * 1_000_000
    };
    let count = |wanted| input.rows.iter().filter(|row| excess(row) == wanted).count();
    (count(0), count(1_000_000))
}

/// `grep -c 'REPORT RequestId'` is 120, `grep -c '"message"'` 360. None has a duration in whole
/// milliseconds: `grep -c '\.00 ms'` is 0.
#[test]
fn cloudwatch_events_are_read_in_full() {
    let (format, input) = read_array("aws_1_cloudwatch.json");
    assert_eq!(format.name, "aws-cloudwatch-json");
    assert_eq!((input.rows.len(), input.others.len(), input.rejects.len()), (120, 240, 0));
    let kinds = |kind: &str| input.others.iter().filter(|other| **other == kind).count();
    assert_eq!((kinds("START line"), kinds("END line")), (120, 120));
    assert_eq!(count_billed(&input), (120, 0));
    let row = &input.rows[0];
    assert_eq!(row.usage.phases.run, Some(Nanos(155_510_000)));
    assert_eq!(row.usage.get(Meter::MemoryAllocated), Some(1769 << 20));
    assert_eq!(input.names.instances().len(), 1);
}

/// `grep -c '"RequestId"'` is 500; `grep -c '"Duration": [0-9]*\.0,'` is 2: 22.0, billed 23, and
/// 17.0, billed 17.
#[test]
fn the_batch_is_read_in_full() {
    let (format, input) = read_array("aws_MEM1000_BATCH0.json");
    assert_eq!(format.name, "ubc-aws-lambda");
    assert_eq!((input.rows.len(), input.others.len(), input.rejects.len()), (500, 0, 0));
    assert_eq!(count_billed(&input), (499, 1));
    assert!(input.rows.iter().all(|row| row.usage.get(Meter::MemoryAllocated) == Some(1000 << 20)));
}

/// `grep -c '"latency"'` is 120, all with status 200 and an instance.
#[test]
fn cloud_run_requests_are_read_in_full() {
    let (format, input) = read_array("gcp_1_cloud_log.json");
    assert_eq!(format.name, "google-cloud-run");
    assert_eq!((input.rows.len(), input.others.len(), input.rejects.len()), (120, 0, 0));
    assert!(input.rows.iter().all(|row| row.instance.is_some() && row.started_at.is_some()));
    assert_eq!(input.names.cells().len(), 1);
}
