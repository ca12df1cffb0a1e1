//! The main job through the program itself: record, compare, replay, history.

use crate::common::{self, Place, column, numbers};
use serde_json::Value;

#[test]
fn two_lanes_are_recorded_compared_and_billed() {
    let place = Place::new();
    let run = place.ok(&[
        "record",
        "--workload",
        "nop,nbody",
        "--lane",
        "native,wasmtime",
        "--runs",
        "4",
        "--format",
        "json",
    ]);
    let table = run.json();
    let rows = table.as_array().expect("rows");
    // Two workloads; native has cold starts only.
    assert_eq!(rows.len(), 6);
    for row in rows {
        assert_eq!((&row["runs"], &row["failed"]), (&Value::from(4), &Value::from(0)), "{row}");
        for key in
            ["start_p50_ns", "run_p50_ns", "cycles_p50", "memory_peak_bytes", "footprint_bytes"]
        {
            if row["lane"] == "native" && key == "cycles_p50" && row["cycles_p50"].is_null() {
                continue; // no counter and no TSC: said in the sources
            }
            assert!(row[key].as_u64().is_some_and(|value| value > 0), "{key} of {row}");
        }
        let counts_ops = row["lane"] == "wasmtime";
        assert_eq!(row["wasm_ops"].is_u64(), counts_ops, "{row}");
    }
    let connection = place.open();
    assert_eq!(numbers(&connection, "SELECT COUNT(*) FROM v_invocation"), [24]);
    assert_eq!(column(&connection, "SELECT DISTINCT status FROM v_invocation"), ["ok"]);
    assert_eq!(column(&connection, "SELECT status FROM recording"), ["done"]);
    // Every meter that is NULL has a reason, and none is a silent 0.
    let unexplained =
        "SELECT lane || ' ' || meter FROM v_meter_source WHERE source IS NULL AND note = ''";
    assert!(column(&connection, unexplained).is_empty());
    // No counter was lost on the way: every meter kept its source.
    let changed = "SELECT lane || ' ' || start || ' ' || meter FROM v_meter_source
                   GROUP BY lane, start, meter HAVING COUNT(*) > 1";
    assert_eq!(column(&connection, changed), Vec::<String>::new());
    assert!(numbers(&connection, "SELECT MIN(cpu_ns) FROM v_invocation")[0] > 0);
    // Phases add up to the wall time.
    let off = "SELECT COUNT(*) FROM v_invocation
               WHERE wall_ns <> COALESCE(create_ns, 0) + COALESCE(start_ns, 0) + run_ns";
    assert_eq!(numbers(&connection, off), [0]);
}

#[test]
fn every_workload_gives_its_expected_output_in_both_process_lanes() {
    let place = Place::new();
    let lanes = "native,wasmtime,wasmtime:winch,wasmtime:fuel,wasmtime:epoch,wasmtime:pooling,\
                 wasmtime:ondemand,wasmtime:nocow,wasmtime:winch+fuel+epoch+ondemand+nocow";
    let run = place.ok(&["workloads", "check", "--lane", lanes, "--format", "json"]);
    let rows = run.json();
    let rows = rows.as_array().expect("rows");
    // Eight workloads: native, and eight Wasm variants cold and warm.
    assert_eq!(rows.len(), 8 * (1 + 8 * 2));
    for row in rows {
        assert_eq!((&row["status"], &row["sha256"]), (&Value::from("ok"), &row["expected_sha256"]));
    }
}

#[test]
fn parts_of_phases_are_inside_of_their_phases() {
    let place = Place::new();
    let lanes = "native,wasmtime,wasmtime:nocow";
    place.ok(&["record", "--workload", "cat-sync", "--lane", lanes, "--runs", "3"]);
    let connection = place.open();
    let told = "SELECT DISTINCT lane || ' ' || start || ' ' || (deserialize_ns IS NOT NULL)
            || (instantiate_ns IS NOT NULL) || (release_ns IS NOT NULL)
        FROM v_invocation ORDER BY 1";
    let expected = [
        "native cold 000",
        "wasmtime cold 111",
        // The module was loaded before.
        "wasmtime warm 011",
        "wasmtime:nocow cold 111",
        "wasmtime:nocow warm 011",
    ];
    assert_eq!(column(&connection, told), expected);
    let off = "SELECT COUNT(*) FROM v_invocation WHERE lane <> 'native' AND (
        COALESCE(deserialize_ns, 0) + instantiate_ns > start_ns OR release_ns > teardown_ns
        OR instantiate_ns = 0 OR release_ns = 0)";
    assert_eq!(numbers(&connection, off), [0]);
}

#[test]
fn runs_are_interleaved() {
    let place = Place::new();
    let args = ["record", "--workload", "nop", "--lane", "native,wasmtime", "--runs", "3"];
    place.ok(&[&args[..], &["--seed", "5"]].concat());
    let order = |recording: u32| {
        let sql = format!(
            "SELECT lane || ' ' || start FROM v_invocation WHERE recording = {recording}
             ORDER BY offset_ns"
        );
        column(&place.open(), &sql)
    };
    let first = order(1);
    assert_eq!(first.len(), 9);
    for round in first.chunks(3) {
        let mut round = round.to_vec();
        round.sort_unstable();
        assert_eq!(round, ["native cold", "wasmtime cold", "wasmtime warm"]);
    }
    // The seed is kept, told, and repeats the order; another draws another.
    let seed = numbers(&place.open(), "SELECT plan ->> 'seed' FROM recording");
    assert_eq!(seed, [5]);
    place.ok(&[&args[..], &["--seed", "5"]].concat());
    assert_eq!(order(2), first);
    let run = place.ok(&args);
    let told = run.stderr.lines().find(|line| line.starts_with("runs come in a random order"));
    let seed =
        told.and_then(|line| line.split("--seed ").nth(1)).and_then(|it| it.split(' ').next());
    let stored = column(&place.open(), "SELECT plan ->> 'seed' FROM recording WHERE id = 3");
    assert_eq!(seed, stored.first().map(String::as_str));
}

#[test]
fn medians_are_recorded_until_they_are_known() {
    let place = Place::new();
    // Anything is known to 50 % after the fewest runs there are.
    let args = ["record", "--workload", "wait", "--lane", "native", "--until", "50%"];
    let run = place.ok(&[&args[..], &["--format", "json"]].concat());
    let rows = run.json();
    assert_eq!(rows[0]["runs"], 12);
    let figure = |key: &str| rows[0][key].as_f64().expect(key);
    assert!(figure("wall_p50_reach") < 0.5 && figure("confidence") > 0.98);
    for what in ["run", "wall"] {
        let at = |which: &str| figure(&format!("{what}_p50{which}_ns"));
        assert!(at("_low") <= at("") && at("") <= at("_high"), "{rows}");
    }
    assert!(run.stderr.contains("wait in native, cold: median wall "), "{}", run.stderr);

    // Nothing is to a ten-thousandth after twelve: it says so, and how it ends.
    let few =
        ["record", "--workload", "nop", "--lane", "native", "--until", "0.01%", "--runs", "12"];
    let run = place.run(&few);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stderr.contains(", not ±0.01 %: it would take about "), "{}", run.stderr);
    let shown = place.ok(&["history", "show", "2"]);
    assert!(shown.stderr.contains(", not ±0.01 %: it would take about "), "{}", shown.stderr);
}

#[test]
fn lanes_that_race_overlap() {
    let place = Place::new();
    let args = ["record", "--workload", "wait", "--lane", "native,wasmtime", "--start", "cold"];
    place.ok(&[&args[..], &["--runs", "3", "--race"]].concat());
    let connection = place.open();
    assert_eq!(numbers(&connection, "SELECT COUNT(*) FROM v_invocation"), [6]);
    assert_eq!(column(&connection, "SELECT status FROM recording"), ["done"]);
    // Each takes a quarter of a second: in turn, none would overlap another.
    let pairs = "SELECT COUNT(*) FROM v_invocation a JOIN v_invocation b
        ON a.lane = 'native' AND b.lane = 'wasmtime'
        AND a.offset_ns < b.offset_ns + b.wall_ns AND b.offset_ns < a.offset_ns + a.wall_ns";
    assert!(numbers(&connection, pairs)[0] >= 2);
}

#[test]
fn a_replay_is_exact_repeatable_and_stored_once() {
    let place = Place::new();
    place.ok(&["record", "--workload", "nop,wait", "--lane", "wasmtime", "--runs", "3"]);
    let first = place.ok(&["replay", "latest", "--format", "json"]).json();
    let again = place.ok(&["replay", "1", "--format", "json"]).json();
    assert_eq!(first, again);
    let connection = place.open();
    assert_eq!(numbers(&connection, "SELECT COUNT(*) FROM simulation"), [1]);

    // Bills by hand, from the stored usage, in integers: Lambda's price is
    // 166667e-10 per GiB-second; a request is 2000e-10. `wait` has 128 MiB.
    let mut statement = connection
        .prepare(
            "SELECT b.amount, v.start_ns + v.run_ns, v.memory_allocated_bytes FROM bill b
             JOIN v_invocation v ON v.invocation = b.invocation_id
             WHERE b.model = 'aws-lambda-x86'",
        )
        .expect("valid");
    let bills = statement
        .query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })
        .expect("rows");
    let mut count = 0;
    for bill in bills {
        let (amount, nanos, memory) = bill.expect("a row");
        assert_eq!(memory, 128 << 20);
        let millis = (nanos + 999_999) / 1_000_000;
        // 128 MiB is 1/8 GiB: times 1e-3 s and 1e-10 and 1/8 = 125e-3 gives 1e-16.
        let exact = i128::from(millis) * 166_667 * 125 + 2_000 * 1_000_000;
        assert_eq!(amount.trim_end_matches('0'), decimal(exact, 16).trim_end_matches('0'));
        count += 1;
    }
    assert_eq!(count, 12);
}

/// `value` times ten to the minus `digits`.
fn decimal(value: i128, digits: usize) -> String {
    let text = format!("{value:0width$}", width = digits + 1);
    let (whole, fraction) = text.split_at(text.len() - digits);
    format!("{whole}.{fraction}")
}

#[test]
fn history_lists_what_there_is() {
    let place = Place::new();
    let empty = place.ok(&["history"]);
    assert!(empty.stderr.contains("no recordings yet"), "{}", empty.stderr);
    assert!(!place.db().exists(), "reading makes no database");
    place.ok(&[
        "record",
        "--workload",
        "nop",
        "--lane",
        "native",
        "--runs",
        "2",
        "--label",
        "first one",
    ]);
    let all = place.ok(&["history", "--format", "json"]).json();
    assert_eq!(all["recordings"][0]["label"], "first one");
    assert_eq!(all["recordings"][0]["invocations"], 2);
    assert_eq!(all["simulations"][0]["models"], "aws-lambda-x86 per-cycle");
    let shown = place.ok(&["history", "latest"]);
    assert!(shown.stdout.contains("memory_peak") && shown.stdout.contains("rusage"));
    let missing = place.run(&["history", "77"]);
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("there is no recording 77"), "{}", missing.stderr);
}

#[test]
fn the_sampler_keeps_a_time_series_and_its_own_cost() {
    let place = Place::new();
    place.ok(&[
        "record",
        "--workload",
        "wait",
        "--lane",
        "native,wasmtime",
        "--start",
        "cold",
        "--runs",
        "1",
        "--warmup",
        "0",
        "--sample-interval",
        "5ms",
    ]);
    let connection = place.open();
    for lane in ["native", "wasmtime"] {
        let samples = numbers(
            &connection,
            &format!(
                "SELECT COUNT(*) FROM v_sample WHERE lane = '{lane}' AND meter = 'memory_rss'"
            ),
        )[0];
        // 250 ms of sleep at 5 ms; a loaded machine may be late.
        assert!((20..=60).contains(&samples), "{samples} samples in {lane}");
    }
    let falling = "SELECT COUNT(*) FROM (SELECT value - LAG(value) OVER
        (PARTITION BY invocation, meter ORDER BY at_ns) AS step FROM v_sample WHERE meter = 'cpu_time')
        WHERE step < 0";
    assert_eq!(numbers(&connection, falling), [0], "CPU time ran backwards");
    assert!(numbers(&connection, "SELECT sampler_cpu_ns FROM recording")[0] > 0);

    let off = Place::new();
    off.ok(&[
        "record",
        "--workload",
        "wait",
        "--lane",
        "native",
        "--runs",
        "1",
        "--warmup",
        "0",
        "--sample-interval",
        "off",
    ]);
    assert_eq!(numbers(&off.open(), "SELECT COUNT(*) FROM sample"), [0]);
}

#[test]
fn wrong_usage_is_exit_2_with_the_nearest_name() {
    let place = Place::new();
    drop(cyclometer::store::Store::open(&place.db()).expect("an empty database"));
    for (args, word) in [
        (&["record", "--workload", "nbdy"][..], "did you mean `nbody`?"),
        (&["record", "--lane", "dokcer"], "did you mean `docker`?"),
        (&["record", "--preset", "papr"], "did you mean `paper`?"),
        (&["record", "--wrkload", "nop"], "--workload"),
        (&["recrod"], "record"),
        (&["replay", "latest", "--model", "aws-lamda"], "aws-lambda-x86"),
        (&["replay", "newest"], "neither a recording's number nor `latest`, and no recording has"),
        (&["record", "--runs", "0"], "--runs"),
        (&["record", "--sample-interval", "10us"], "less than 1.00 ms"),
        (&["record", "--memory", "12"], "128MiB"),
        (&["record", "--memory", "1MiB"], "less than 6.00 MiB"),
        (&["record", "--pin", "9999"], "no CPU 9999"),
        (
            &["record", "--workload", "nop", "--lane", "native", "--race", "--pin", "0"],
            "a CPU each",
        ),
        (&["record", "--until-stopped", "--runs", "3"], "--runs"),
        (&["record", "--workload", "nop", "--lane", "native", "--start", "warm"], "no warm start"),
        (&["record", "--workloads", "/no/such/folder"], "/no/such/folder"),
    ] {
        let run = place.run(args);
        assert_eq!(run.code, 2, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(word), "{args:?}: {}", run.stderr);
        assert!(run.stdout.is_empty(), "{args:?} wrote to standard output");
    }
}

#[test]
fn without_docker_one_line_says_why_and_the_rest_succeeds() {
    let place = Place::new();
    let args = ["record", "--workload", "nop", "--runs", "1"];
    let output = place
        .command(&args)
        .env("DOCKER_HOST", "unix:///no/such/docker.sock")
        .output()
        .expect("started");
    let run = common::Run::of(&output);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let lines: Vec<_> = run.stderr.lines().filter(|line| line.contains("docker")).collect();
    assert_eq!(lines.len(), 1, "{}", run.stderr);
    assert!(lines[0].contains("/no/such/docker.sock"), "{}", lines[0]);
    // Asked for by name, its absence is not a full success.
    let output = place
        .command(&["record", "--workload", "nop", "--runs", "1", "--lane", "native,docker"])
        .env("DOCKER_HOST", "unix:///no/such/docker.sock")
        .output()
        .expect("started");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn pinned_functions_stay_on_their_cpu() {
    let place = Place::new();
    place.ok(&[
        "record",
        "--workload",
        "nbody",
        "--lane",
        "native,wasmtime",
        "--runs",
        "2",
        "--pin",
        "0",
    ]);
    let moves = column(
        &place.open(),
        "SELECT DISTINCT COALESCE(migrations, 0) FROM v_invocation WHERE start = 'warm'",
    );
    assert_eq!(moves, ["0"]);
}

#[test]
fn every_command_prints_all_formats() {
    let place = Place::new();
    place.ok(&["record", "--workload", "nop", "--lane", "native", "--runs", "1"]);
    for command in [&["workloads", "list"][..], &["lanes"], &["doctor"], &["history"], &["replay"]]
    {
        let json = [command, &["--format", "json"]].concat();
        assert!(!place.ok(&json).json().is_null(), "{command:?}");
        let csv = place.ok(&[command, &["--format", "csv"]].concat()).stdout;
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let rows =
            reader.records().filter(|row| row.as_ref().expect("even rows").len() > 1).count();
        assert!(rows > 0, "{command:?}: {csv}");
        let lines = place.ok(&[command, &["--format", "jsonl"]].concat()).stdout;
        assert!(lines.lines().count() > 0, "{command:?}");
        for line in lines.lines() {
            let row: Value = serde_json::from_str(line).expect("JSON on every line");
            assert!(row.is_object(), "{command:?}: {line}");
        }
        assert!(place.ok(command).stdout.lines().count() > 1, "{command:?}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let place = Place::new();
    let mut child = place.spawn(&["doctor"]);
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
