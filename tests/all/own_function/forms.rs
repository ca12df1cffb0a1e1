//! Commands, modules and components.

use std::process::Command;

use super::{compile_rust, text, value};
use crate::common::{self, Place, column, turns};

fn median(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Time and memory of a command as `time` measures them: seconds of wall and CPU time, and KiB.
fn measure_by_time(command: &[&str]) -> Option<(f64, f64, i64)> {
    let run = Command::new("/usr/bin/time").args(["-f", "%e %U %S %M"]).args(command).output();
    let Ok(run) = run else {
        cyclometer_testkit::skip("no /usr/bin/time");
        return None;
    };
    let told = String::from_utf8(run.stderr).expect("text");
    let fields: Vec<f64> = told
        .lines()
        .last()
        .expect("a line")
        .split(' ')
        .map(|field| field.parse().expect("a number"))
        .collect();
    #[expect(clippy::cast_possible_truncation, reason = "KiB of a small program")]
    Some((fields[0], fields[1] + fields[2], fields[3] as i64))
}

#[test]
fn a_command_has_the_time_and_the_memory_that_time_measures() {
    let _alone = turns::run_alone();
    let place = Place::new();
    let Some((wall, _, peak_kib)) = measure_by_time(&["sh", "-c", "sleep 0.1"]) else { return };
    let run = place.ok(&["record", "--runs", "5", "--", "sh", "-c", "sleep 0.1"]);
    let ours = median(value(&place, "wall_ns"));
    // `time` tells hundredths of a second.
    assert!((0.09..0.2).contains(&wall), "{wall}");
    assert!((100_000_000..150_000_000).contains(&ours), "{ours} ns, time says {wall} s");
    // It sleeps: hardly any CPU time.
    assert!(median(value(&place, "cpu_ns")) < 30_000_000);
    // Both are of the largest process; a control group counts all of it and of sleep.
    let peak = median(value(&place, "memory_peak_bytes")) / 1_024;
    assert!(peak >= peak_kib / 4 && peak <= peak_kib * 4, "{peak} KiB, time says {peak_kib} KiB");
    assert!(run.stdout.contains("sh: native starts cold"), "{}", run.stdout);
    assert!(run.stderr.contains("nothing is expected of its output"), "{}", run.stderr);
    assert_eq!(column(&place.open(), "SELECT DISTINCT lane FROM v_invocation"), ["native"]);
}

#[test]
fn a_program_gets_its_input_environment_folder_and_arguments() {
    let place = Place::new();
    place.write("in/message", "from a file\n");
    place.write("stdin", "from standard input\n");
    let script = place.write(
        "tool",
        "#!/bin/sh\ncat; cat message; echo \"$0 $1 $2 $A ${HOME:-no home}\"; exit 3\n",
    );
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).expect("executable");
    let folder = place.path().join("in");
    let all = |exit: &str| {
        place.run(&[
            "workloads",
            "check",
            text(&script),
            "--stdin",
            text(&place.path().join("stdin")),
            "--env",
            "A=b c",
            "--workdir",
            text(&folder),
            "--expected-exit",
            exit,
            "--format",
            "json",
            "--",
            "one",
            "t w o",
        ])
    };
    let run = all("3");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let expected =
        format!("from standard input\nfrom a file\n{} one t w o b c no home\n", script.display());
    let digest = cyclometer::workload::OutputDigest::from_content(expected.as_bytes()).sha256;
    let row = &run.json()[0];
    assert_eq!(row["sha256"], cyclometer::workload::hex(&digest), "{row}");
    let wrong = all("0");
    assert_eq!(wrong.code, 1, "{}", wrong.stderr);
    assert!(wrong.json()[0]["reason"].as_str().expect("told").starts_with("exit code 3"));
}

#[test]
fn secrets_of_the_environment_are_not_kept() {
    let place = Place::new();
    let args = ["record", "--runs", "1", "--env", "TOKEN=s3cr3t-value", "--", "true"];
    place.ok(&args);
    let settings = column(&place.open(), "SELECT settings FROM v_subject");
    assert_eq!(settings, [r#"{"environment":["TOKEN"]}"#]);
    for file in std::fs::read_dir(place.path()).expect("a folder") {
        let bytes = std::fs::read(file.expect("an entry").path()).unwrap_or_default();
        assert!(!bytes.windows(6).any(|part| part == b"s3cr3t"));
    }
}

const ADD: &str = r#"(module
  (global $ready (mut i32) (i32.const 0))
  (func (export "_initialize") (global.set $ready (i32.const 1)))
  (func (export "add") (param i32 i32) (result i32)
    (i32.mul (global.get $ready) (i32.add (local.get 0) (local.get 1)))))"#;

#[test]
fn an_export_of_a_module_is_called_with_its_parameters() {
    let place = Place::new();
    let module = place.write("add.wat", ADD);
    let check = ["workloads", "check", text(&module), "--format", "json", "--invoke", "add"];
    let run = place.ok(&[&check[..], &["2", "3"]].concat());
    let digest = cyclometer::workload::OutputDigest::from_content(b"5\n").sha256;
    for row in run.json().as_array().expect("rows") {
        assert_eq!(row["sha256"], cyclometer::workload::hex(&digest), "{row}");
    }
    let negative = place.ok(&[&check[..], &["-2", "-3"]].concat());
    let digest = cyclometer::workload::OutputDigest::from_content(b"-5\n").sha256;
    assert_eq!(negative.json()[0]["sha256"], cyclometer::workload::hex(&digest));
    place.ok(&["record", text(&module), "--runs", "3", "--invoke", "add", "2", "3"]);
    let operators = column(&place.open(), "SELECT DISTINCT wasm_ops FROM v_invocation");
    assert_eq!(operators.len(), 1, "{operators:?}");
}

#[test]
fn a_component_and_its_native_twin_are_one_function() {
    let place = Place::new();
    let Some(component) = compile_rust(&place, Some("wasm32-wasip2")) else { return };
    let Some(native) = compile_rust(&place, None) else { return };
    let forms = ["--native", text(&native), "--wasm", text(&component)];
    let record = ["record", "--runs", "3", "--name", "sum"];
    let run = place.ok(&[&record[..], &forms, &["--", "2", "3"]].concat());
    assert!(run.stderr.contains("so lanes were compared by it"), "{}", run.stderr);
    assert!(run.stdout.contains("\nsum: "), "{}", run.stdout);
    let lanes = column(&place.open(), "SELECT DISTINCT lane FROM v_invocation ORDER BY 1");
    assert_eq!(lanes, ["native", "wasmtime"]);
    // Deterministic in its arguments, so that every run has the same operators.
    let sql = "SELECT DISTINCT wasm_ops FROM v_invocation WHERE lane = 'wasmtime'";
    let operators = common::numbers(&place.open(), sql);
    assert!(operators.len() == 1 && operators[0] > 2_000_000, "{operators:?}");
    // Without arguments both end with exit code 1.
    let record = ["record", "--runs", "1", "--warmup", "0", "--expected-exit", "1"];
    let failing = place.run(&[&record[..], &forms].concat());
    assert_eq!(failing.code, 0, "{}", failing.stderr);
    let plain = place.run(&[&["record", "--runs", "1", "--warmup", "0"][..], &forms].concat());
    assert_eq!(plain.code, 1, "{}", plain.stderr);
}

#[test]
fn outputs_that_differ_between_lanes_are_told() {
    let place = Place::new();
    let Some(native) = common::compile(
        &place,
        "five",
        "#include <stdio.h>\nint main(void) { puts(\"5\"); return 0; }\n",
    ) else {
        return;
    };
    let module = place.write("add.wat", ADD);
    // The same name of the program in both forms, and another output.
    let run = place.run(&[
        "record",
        "--runs",
        "2",
        "--native",
        text(&native),
        "--wasm",
        text(&module),
        "--invoke",
        "add",
        "2",
        "4",
    ]);
    assert!(run.stderr.contains("OUTPUTS DIFFER"), "{}", run.stderr);
    assert_eq!(run.code, 3, "{}", run.stderr);
}
