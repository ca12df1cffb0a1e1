//! Counters of hybrid CPUs, and where there are none. Other kernels and CPUs
//! than this machine's are in the unit tests of the perf module.

use std::path::PathBuf;
use std::process::Command;

use crate::common::{PROGRAM, Place, Run, column, compile};

/// Compiles the program that denies `perf_event_open` to what it starts.
fn deny_perf(place: &Place) -> Option<PathBuf> {
    compile(place, "deny_perf", include_str!("programs/deny_perf.c"))
}

/// Runs cyclometer where `perf_event_open` answers `errno`.
fn run_denied(place: &Place, deny: &std::path::Path, errno: i32, args: &[&str]) -> Run {
    let output = Command::new(deny)
        .arg(errno.to_string())
        .arg(PROGRAM)
        .args(args)
        .env("CYCLOMETER_DB", place.db())
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .output()
        .expect("the program starts");
    Run::of(&output)
}

#[test]
fn doctor_names_the_filter_that_denies_perf_and_not_the_paranoid_level() {
    let place = Place::new();
    let Some(deny) = deny_perf(&place) else { return };
    // Docker's profile answers EPERM, newer ones of other engines ENOSYS.
    for errno in [libc::EPERM, libc::ENOSYS] {
        let run = run_denied(&place, &deny, errno, &["doctor", "--format", "json"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        let rows = run.json();
        let rows = rows.as_array().expect("rows");
        let missing: Vec<_> = rows
            .iter()
            .filter(|row| row["check"].as_str().is_some_and(|check| check.contains("meter")))
            .collect();
        assert_eq!(missing.len(), 1, "all counters are missing for one reason: {missing:?}");
        let (found, fix) = (missing[0]["found"].as_str(), missing[0]["fix"].as_str());
        assert!(found.is_some_and(|text| text.contains("seccomp filter")), "{found:?}");
        assert!(found.is_some_and(|text| text.contains("cpu_time")), "{found:?}");
        assert!(fix.is_some_and(|text| text.contains("--cap-add PERFMON")), "{fix:?}");
    }
}

#[test]
fn a_recording_without_perf_says_why_counters_are_missing_and_none_reads_0() {
    let place = Place::new();
    let Some(deny) = deny_perf(&place) else { return };
    let args = ["record", "--workload", "nbody", "--lane", "native,wasmtime", "--runs", "3"];
    let run = run_denied(&place, &deny, libc::EPERM, &args);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let connection = place.open();
    let counted = column(
        &connection,
        "SELECT COUNT(*) FROM v_invocation WHERE cycles IS NOT NULL OR instructions IS NOT NULL
         OR branch_misses IS NOT NULL OR cache_misses IS NOT NULL",
    );
    assert_eq!(counted, ["0"]);
    let reasons = column(
        &connection,
        "SELECT DISTINCT note FROM v_meter_source WHERE meter = 'cycles' AND source IS NULL",
    );
    assert!(!reasons.is_empty());
    assert!(reasons.iter().all(|note| note.contains("seccomp")), "{reasons:?}");
    // CPU time has other sources than perf in every lane and kind of start.
    let without = column(&connection, "SELECT COUNT(*) FROM v_invocation WHERE cpu_ns IS NULL");
    assert_eq!(without, ["0"]);
    let busy = column(
        &connection,
        "SELECT COUNT(*) FROM v_invocation WHERE cpu_ns < 20000000 AND status = 'ok'",
    );
    assert_eq!(busy, ["0"], "nbody computes for some 70 ms");
}
