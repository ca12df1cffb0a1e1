//! What is read of files of all kinds, and told.

use std::io::Write as _;
use std::process::Stdio;

use super::{gzip, import, report_log};
use crate::common::{Place, Run, column, numbers};

#[test]
fn a_trace_is_replayed_like_a_recording() {
    let place = Place::new();
    let log = place.write("thumbnail.log", report_log(0, 3));
    let summary = import(&place, &[log.to_str().expect("text")], 0);
    assert_eq!(summary["rows"], 3);
    assert_eq!(summary["platforms"], serde_json::json!(["aws-lambda"]));
    let connection = place.open();
    let found = numbers(&connection, "SELECT billed_ns FROM v_invocation ORDER BY run_ns");
    assert_eq!(found, [2_000_000, 3_000_000, 4_000_000]);
    let names = column(&connection, "SELECT workload || ' ' || preset FROM v_invocation LIMIT 1");
    assert_eq!(names, ["thumbnail 128MB"]);
    let list = place.ok(&["history"]);
    assert!(list.stdout.contains("thumbnail"), "{}", list.stdout);
    let bills = place.run(&["replay", "latest", "--model", "aws-lambda-x86", "--format", "json"]);
    assert_eq!(bills.code, 0, "{}", bills.stderr);
    assert_eq!(bills.json()[0]["outcome"], "billed", "{}", bills.stdout);
    for more in
        [&["history", "show", "latest"][..], &["replay", "--waste"], &["replay", "--break-even"]]
    {
        place.ok(more);
    }
}

#[test]
fn files_of_a_folder_are_each_of_their_own_format() {
    let place = Place::new();
    place.write("logs/a.log", report_log(0, 2));
    place.write("logs/b/c.log.gz", gzip(report_log(10, 3).as_bytes()));
    place.write("logs/d.txt", "no log at all\n");
    place.write("logs/e.zip", b"PK\x03\x04");
    let cut = gzip(report_log(100, 5_000).as_bytes());
    place.write("logs/f.log.gz", &cut[..cut.len() / 2]);
    std::os::unix::fs::symlink("/etc/passwd", place.path().join("logs/g.log")).expect("linked");
    let folder = place.path().join("logs");
    let summary = import(&place, &[folder.to_str().expect("text")], 3);
    let files = summary["files"].as_array().expect("files");
    let rows: Vec<_> = files.iter().map(|file| file["rows"].as_u64().expect("a count")).collect();
    // By name, and then what lies deeper.
    assert_eq!((rows[0], rows[1], rows[2], rows[4]), (2, 0, 0, 3), "{summary:#}");
    assert!(rows[3] > 1_000, "what is before the cut: {}", rows[3]);
    let told = |at: usize| files[at]["leftovers"].to_string();
    assert!(told(1).contains("of no known format"), "{}", told(1));
    assert!(told(2).contains("zip archive"), "{}", told(2));
    assert!(told(3).contains("the input breaks off"), "{}", told(3));
    assert_eq!(summary["skipped"][0]["reason"], "a symbolic link");
}

#[test]
fn what_cannot_be_read_is_counted_and_written_down() {
    let place = Place::new();
    let mut log = report_log(0, 2).into_bytes();
    log.extend_from_slice(b"START RequestId: 1 Version: $LATEST\r\n");
    log.extend_from_slice(b"REPORT RequestId: 2\tDuration: -1 ms\tMemory Size: 128 MB\t\n");
    log.extend_from_slice(&vec![b'x'; 100_000_000]);
    log.extend_from_slice(b"\n");
    log.extend_from_slice(b"REPORT RequestId: \0\tDuration: 1 ms\tMemory Size: 128 MB\t\n");
    log.extend_from_slice(report_log(5, 1).as_bytes());
    let path = place.write("a.log", log);
    let rejects = place.path().join("bad.ndjson");
    let path = path.to_str().expect("text");
    let summary = import(&place, &[path, "--rejects", rejects.to_str().expect("text")], 3);
    assert_eq!(summary["rows"], 3);
    let leftovers = summary["files"][0]["leftovers"].as_array().expect("counts").clone();
    let lines = |cause: &str| {
        let found = leftovers.iter().find(|it| it["cause"] == cause);
        found.unwrap_or_else(|| panic!("{cause}: {leftovers:?}"))["first_lines"].clone()
    };
    assert_eq!(lines("a line of more than 16 MiB"), serde_json::json!([5]));
    assert_eq!(lines("a NUL byte"), serde_json::json!([6]));
    let told = std::fs::read_to_string(&rejects).expect("written");
    let told: Vec<serde_json::Value> =
        told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let numbers: Vec<_> = told.iter().map(|it| it["line"].as_u64().expect("a line")).collect();
    assert_eq!(numbers, [4, 5, 6]);
    assert!(told[1]["record"].as_str().expect("text").len() <= 256);
    let table = place.run(&["import", path, "--again"]);
    assert_eq!(table.code, 3);
    assert!(table.stdout.contains("a NUL byte") && table.stdout.contains("a.log:6"));
}

#[test]
fn nothing_to_read_leaves_nothing() {
    let place = Place::new();
    let path = place.write("a.log", "hello\n");
    let run = place.run(&["import", path.to_str().expect("text")]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("no invocation could be read"), "{}", run.stderr);
    assert!(run.stderr.contains("of no known format"), "{}", run.stderr);
    assert_eq!(numbers(&place.open(), "SELECT COUNT(*) FROM recording"), [0]);
    let run = place.run(&["import", "/no/such/file"]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert_eq!(place.run(&["import"]).code, 2);
    let path = path.to_str().expect("text");
    let run = place.run(&["import", path, "--from", "aws-lambda-reprot"]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("did you mean `aws-lambda-report`?"), "{}", run.stderr);
}

#[test]
fn standard_input_is_read_and_has_no_name() {
    let place = Place::new();
    let mut command = place.command(&["import", "-", "--function", "=cmd()", "--format", "csv"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(&gzip(report_log(0, 4).as_bytes())).expect("written");
    drop(stdin);
    let run = Run::of(&child.wait_with_output().expect("ends"));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.contains(",aws-lambda-report,,4,4,0,0,0,"), "{}", run.stdout);
    // A spreadsheet would run it as a formula.
    for command in [
        &["query", "SELECT workload FROM v_invocation", "--format", "csv"][..],
        &["replay", "--model", "aws-lambda-x86", "--format", "csv"],
        &["history", "--format", "csv"],
    ] {
        let run = place.ok(command);
        assert!(run.stdout.contains("'=cmd()"), "{command:?}: {}", run.stdout);
    }
}

#[test]
fn a_file_is_imported_once() {
    let place = Place::new();
    let path = place.write("logs/a.log", report_log(0, 3));
    place.write("logs/copy.log", report_log(0, 3));
    let folder = place.path().join("logs");
    let summary = import(&place, &[folder.to_str().expect("text")], 0);
    assert_eq!(summary["rows"], 3, "the copy is left out");
    assert!(summary["skipped"][0]["reason"].as_str().expect("text").contains("the same content"));
    let run = place.run(&["import", path.to_str().expect("text")]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("trace 1 has it"), "{}", run.stderr);
    place.ok(&["import", path.to_str().expect("text"), "--again"]);
    // One byte more makes another file.
    std::fs::write(&path, report_log(0, 4)).expect("written");
    place.ok(&["import", path.to_str().expect("text")]);
    assert_eq!(numbers(&place.open(), "SELECT COUNT(*) FROM recording"), [3]);
}

#[test]
fn copies_of_a_request_are_stored_once_and_further_attempts_stay() {
    let place = Place::new();
    place.write("logs/a.log", report_log(0, 10));
    // Another exporter's copy of five, a further attempt at one with another duration, and five new
    // ones.
    let again = "REPORT RequestId: 00000000000000000000000000000003\tDuration: 900.00 ms\t\
        Billed Duration: 900 ms\tMemory Size: 128 MB\tMax Memory Used: 40 MB\t\n";
    place.write("logs/b.log", format!("{}{again}{}", report_log(5, 5), report_log(10, 5)));
    let folder = place.path().join("logs");
    let summary = import(&place, &[folder.to_str().expect("text"), "--function", "resize"], 0);
    assert_eq!(summary["rows"], 10 + 1 + 5);
    let leftovers = summary["files"][1]["leftovers"].to_string();
    assert!(leftovers.contains("\"cause\":\"duplicate of a request\""), "{leftovers}");
    assert!(leftovers.contains("[1,2,3,4,5]"), "{leftovers}");
    assert!(leftovers.contains("[6]"), "{leftovers}");
    let connection = place.open();
    assert_eq!(numbers(&connection, "SELECT COUNT(*) FROM v_invocation"), [16]);
    assert_eq!(numbers(&connection, "SELECT COUNT(*) FROM trace_candidate"), [0]);
}

#[test]
fn any_csv_is_read_by_a_mapping() {
    let place = Place::new();
    let path = place.write("usage.csv", "fn,dur_ms,mem\na,1.5,128\nb,2,256\nb,x,256\n");
    let maps =
        ["--map", "fn=function", "--map", "dur_ms=run:ms", "--map", "mem=memory_allocated:MiB"];
    let summary = import(&place, &[&[path.to_str().expect("text")], &maps[..]].concat(), 3);
    assert_eq!((&summary["rows"], &summary["functions"]), (&2.into(), &2.into()), "{summary:#}");
    let found = numbers(&place.open(), "SELECT run_ns FROM v_invocation ORDER BY run_ns");
    assert_eq!(found, [1_500_000, 2_000_000]);
    let formats = place.ok(&["import", "formats"]);
    assert!(formats.stdout.contains("aws-lambda-report"));
    let template = place.ok(&["import", "new"]);
    assert!(template.stdout.contains("[trace]"));
}

#[test]
fn parquet_is_read_by_a_mapping_and_told_by_its_rows() {
    let place = Place::new();
    let sample = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/traces/parquet/pyarrow-zstd.parquet");
    let path = place.path().join("usage.parquet");
    std::fs::copy(sample, &path).expect("copied");
    let path = path.to_str().expect("text");
    let without = place.run(&["import", path]);
    assert_eq!(without.code, 1, "{}", without.stderr);
    assert!(without.stderr.contains("a Parquet file: say with --map"), "{}", without.stderr);
    let summary = import(&place, &[path, "--map", "fn=function", "--map", "dur=run:ms"], 3);
    // Five rows: the third has no duration, the fifth a negative one.
    assert_eq!((&summary["rows"], &summary["files"][0]["records"]), (&3.into(), &5.into()));
    let found = numbers(&place.open(), "SELECT run_ns FROM v_invocation ORDER BY run_ns");
    assert_eq!(found, [1_000, 100_000, 155_510_000]);
    let again = place.run(&["import", path, "--map", "fn=function", "--map", "dur=run:ms"]);
    assert!(again.stderr.contains("trace 1 has it"), "{}", again.stderr);
    let mapping = place.write(
        "m.toml",
        "[trace]\nformat = \"parquet\"\nplatform = \"mine\"\n[fields]\n\
         function = { column = \"fn\" }\n[meters]\nrun = { column = \"dur\", unit = \"ms\" }\n",
    );
    let mapped = ["import", path, "--again", "--mapping", mapping.to_str().expect("text")];
    let run = place.run(&mapped);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stdout.contains("usage.parquet:5"), "{}", run.stdout);
    let mut command = place.command(&["import", "-", "--map", "dur=run:ms"]);
    let piped = command.stdin(Stdio::null()).output().expect("starts");
    assert_eq!(Run::of(&piped).code, 2);
}

#[test]
fn what_was_not_read_is_shown_again_by_the_history() {
    let place = Place::new();
    let cut = gzip(report_log(0, 5_000).as_bytes());
    let path = place.write("a.log.gz", &cut[..cut.len() / 2]);
    let run = place.run(&["import", path.to_str().expect("text"), "--label", "cut"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stdout.contains("the input breaks off"), "{}", run.stdout);
    let shown = place.ok(&["history", "show", "cut"]);
    for text in ["the input breaks off", "a.log.gz", "aws-lambda-report", "missing", "memory_peak"]
    {
        assert!(shown.stdout.contains(text), "{text}: {}", shown.stdout);
    }
    let notes = &shown.stderr;
    assert!(notes.contains("trace 1") && !notes.contains("recording 1"), "{notes}");
    assert!(!notes.contains("not kept by the version"), "{notes}");
    let bills = place.run(&["replay", "cut", "--model", "aws-lambda-x86"]);
    assert!(bills.stderr.contains("trace 1: "), "{}", bills.stderr);
    let list = place.ok(&["history"]);
    assert!(list.stdout.contains("trace"), "{}", list.stdout);
    let compared = place.ok(&["history", "compare", "cut", "cut"]);
    assert!(compared.stderr.contains("both are trace 1"), "{}", compared.stderr);
    let deleted = place.ok(&["history", "delete", "cut", "--yes"]);
    assert!(deleted.stderr.contains("deleted trace 1: 1 trace,"), "{}", deleted.stderr);
}
