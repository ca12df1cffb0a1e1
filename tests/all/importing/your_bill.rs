//! The walk of `docs/your-bill.md`, with the figures that are worked out by hand there.

use crate::common::Place;

/// Returns the path of a file beside the document.
fn file(name: &str) -> String {
    format!("{}/docs/your-bill/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_document_comes_out_as_it_stands_there() {
    let place = Place::new();
    let (log, mapping) = (file("october.csv"), file("october.toml"));
    place.ok(&["import", &log, "--mapping", &mapping, "--label", "october"]);
    let savings = place.ok(&["replay", "october", "--savings"]);
    // 2048 to 512 MiB: 7,016,044 GB-s less three quarters of them, at $0.0000166667.
    assert!(
        savings.stdout.contains("moving `thumbnail` from 2048 MiB to 512 MiB saves $87.70 a month"),
        "{}",
        savings.stdout
    );
    let contract = file("our-contract.toml");
    let with = |args: &[&str]| place.ok(&[&["--pricing", &contract][..], args].concat());
    let checked = with(&["pricing", "check", &contract, "--format", "json"]).json();
    assert_eq!(checked[0]["fail"], 0, "{checked:#}");
    let models = "our-lambda,aws-lambda-x86-eu-central-1";
    let bills = with(&["replay", "october", "--by-month", "--model", models, "--format", "json"]);
    let rows = bills.json();
    assert_eq!(rows[0]["month"], "2026-10");
    assert_eq!(rows[0]["bill"], "116.88");
    // 128.189362... at list, less 400,000 x 0.0000166667 and 0.20.
    assert_eq!(rows[1]["bill"], "121.32");
    assert_eq!(rows[1]["invocations"], 11_098_488);
    let bill = file("bill.csv");
    let held = place.ok(&["reconcile", "october", "--bill", &bill]);
    assert!(held.stdout.starts_with("100.00 % of what AWS Lambda was billed is explained"));
}

#[test]
fn known_files_of_a_folder_are_left_out_and_new_ones_are_read() {
    let place = Place::new();
    place.write("logs/a.log", super::report_log(0, 2));
    let folder = place.path().join("logs");
    let folder = folder.to_str().expect("text");
    place.ok(&["import", folder]);
    let again = place.run(&["import", folder]);
    assert_eq!(again.code, 1, "{}", again.stderr);
    place.write("logs/b.log", super::report_log(10, 3));
    place.write("logs/LICENSE", "no log at all\n");
    let more = super::import(&place, &[folder], 0);
    assert_eq!(more["rows"], 3, "{more:#}");
    let reason = more["skipped"][0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("trace 1 has it already"), "{more:#}");
}
