//! CPU time and memory by phase in containers.

use rusqlite::{Connection, params};
use serde_json::Value;

use super::common::{Place, docker, numbers};

fn record(workloads: &str) -> Place {
    let place = Place::new();
    let place_args = ["record", "--workload", workloads, "--lane", "docker", "--start", "cold"];
    place.ok(&[&place_args[..], &["--runs", "3", "--sample-interval", "2ms"]].concat());
    place
}

/// A part of the bills of a workload, as a share of the rest of them.
fn share(place: &Place, workload: &str, parts: &[&str], of: &[&str]) -> f64 {
    let args = ["replay", "--waste", "--model", "aws-lambda-x86", "--format", "json"];
    let rows = place.ok(&args).json();
    let rows = rows.as_array().expect("rows");
    let row = rows.iter().find(|row| row["workload"] == workload).expect("a row");
    let sum = |parts: &[&str]| -> f64 {
        let amount = |part: &&str| match &row[*part] {
            Value::String(text) => text.parse::<f64>().expect("an amount"),
            other => panic!("{part} is {other}"),
        };
        parts.iter().map(amount).sum()
    };
    sum(parts) / sum(of)
}

const WORKED: [&str; 2] = ["used", "headroom"];
const RUNNING: [&str; 4] = ["used", "headroom", "idle", "unmeasured"];

/// How much of the runs a CPU worked, by samples alone: CPU time between the
/// first and the last sample inside a run, over the time between them.
fn sampled(connection: &Connection, workload: &str) -> f64 {
    let sql = "SELECT MAX(value) - MIN(value), MAX(at_ns) - MIN(at_ns) FROM v_sample s
               JOIN v_invocation i USING (invocation)
               WHERE i.workload = ?1 AND s.meter = 'cpu_time' AND at_ns < i.wall_ns
                 AND at_ns > i.wall_ns - i.run_ns
               GROUP BY invocation";
    let mut statement = connection.prepare(sql).expect("valid SQL");
    let rows = statement
        .query_map(params![workload], |row| Ok((row.get::<_, f64>(0)?, row.get::<_, f64>(1)?)));
    let sums = rows
        .expect("rows")
        .map(|row| row.expect("samples"))
        .fold((0.0, 0.0), |(cpu, time), (more_cpu, more_time)| (cpu + more_cpu, time + more_time));
    sums.0 / sums.1
}

/// Samples are the independent source: they see the control group from outside,
/// and no phase.
#[test]
fn idle_is_what_samples_see_no_cpu_work_in() {
    if !docker() {
        return;
    }
    let place = record("nbody,wait,nop");
    let connection = place.open();
    let startups = "SELECT cpu_startup_ns FROM v_invocation WHERE cpu_startup_ns <= cpu_ns";
    if numbers(&connection, "SELECT COUNT(*) FROM v_invocation WHERE cpu_ns > 0") == [0] {
        return cyclometer_testkit::skip("no control groups");
    }
    assert_eq!(numbers(&connection, startups).len(), 9);
    let worked = share(&place, "nbody", &WORKED, &RUNNING);
    let seen = sampled(&connection, "nbody");
    println!("nbody: {worked:.3} of the runs worked by the bill, {seen:.3} by samples");
    assert!((worked - seen).abs() < 0.15, "{worked} by the bill, {seen} by samples");
    assert!(worked > 0.02, "{worked}");
    // It sleeps for 250 ms, in steps of a millisecond or less.
    let waited = share(&place, "wait", &["idle"], &RUNNING);
    assert!(waited > 0.9, "{waited}");
    // Nearly all CPU time of a function that does nothing is that of its start.
    let sql = "SELECT 100 * SUM(cpu_startup_ns) / SUM(cpu_ns) FROM v_invocation
               WHERE workload = 'nop'";
    let before = numbers(&connection, sql)[0];
    assert!((80..=100).contains(&before), "{before} %");
}

/// A recording of an earlier version has no CPU time by phase.
#[test]
fn a_split_that_was_kept_by_another_rule_is_not_used_again() {
    if !docker() {
        return;
    }
    let place = record("nop");
    place.ok(&["replay", "--model", "aws-lambda-x86"]);
    let connection = place.open();
    // As an earlier version kept it: the digest alone, and no reading.
    connection
        .execute_batch(
            "UPDATE invocation SET cpu_startup_ns = NULL;
             UPDATE simulation SET inputs = replace(inputs, 'split 2, ', '');
             UPDATE waste SET amount = '7' WHERE part = 'idle';",
        )
        .expect("aged");
    let old = place.ok(&["history", "show", "s1"]).stdout + &place.ok(&["history"]).stdout;
    let simulations = |sql: &str| numbers(&connection, sql);
    let before = simulations("SELECT COUNT(*) FROM simulation");
    let unmeasured = share(&place, "nop", &["unmeasured"], &RUNNING);
    assert!((unmeasured - 1.0).abs() < 1e-9, "{unmeasured}");
    assert_eq!(simulations("SELECT COUNT(*) FROM simulation")[0], before[0] + 1, "{old}");
    let query = place.ok(&["query", "--saved", "waste", "--format", "csv"]).stdout;
    assert!(query.contains("unmeasured") && !query.contains(",7,"), "{query}");
}
