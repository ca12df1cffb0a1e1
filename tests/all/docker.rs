//! What only a real Docker engine can show.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::common::engine::Engine;
use crate::common::{Place, column, docker, numbers, turns};

/// Asks the engine through its own client; `None`, said aloud, without one.
fn client(args: &[&str]) -> Option<String> {
    match Command::new("docker").args(args).output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Err(error) => {
            cyclometer_testkit::skip(&format!("no docker client: {error}"));
            None
        }
    }
}

/// Owners of containers whose cyclometer is dead; other tests have live ones.
fn dead_owners() -> Option<Vec<String>> {
    let format = "{{.Label \"cyclometer.owner\"}}";
    let owners = client(&["ps", "-a", "--filter", "label=cyclometer.owner", "--format", format])?;
    let dead = |owner: &&str| {
        let pid = owner.split('-').next().unwrap_or(owner);
        !std::path::Path::new("/proc").join(pid).exists()
    };
    Some(owners.lines().filter(dead).map(str::to_owned).collect())
}

/// Control groups, and folders of files in memory, of owners that are dead.
fn dead_groups() -> Vec<String> {
    let mut found = Vec::new();
    let roots = [
        "/sys/fs/cgroup",
        "/sys/fs/cgroup/unified",
        "/sys/fs/cgroup/memory",
        "/sys/fs/cgroup/cpuacct",
        "/dev/shm",
    ];
    for entry in roots.iter().filter_map(|root| std::fs::read_dir(root).ok()).flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let rest = name.strip_prefix("cyclometer-");
        // Process, start, boot and tag; others have groups of such a name, too.
        let owner = rest.filter(|rest| rest.split('-').count() == 4);
        let owner = owner.and_then(|rest| rest.split('-').next());
        if let Some(pid) = owner
            && !std::path::Path::new("/proc").join(pid).exists()
        {
            found.push(name);
        }
    }
    found
}

#[test]
fn all_outputs_are_equal_in_all_lanes() {
    if !docker() {
        return;
    }
    let place = Place::new();
    let run = place.ok(&["workloads", "check", "--format", "json"]);
    let rows = run.json();
    let rows = rows.as_array().expect("rows");
    // Eight workloads: native, wasmtime and docker cold and warm.
    assert_eq!(rows.len(), 40, "{}", run.stdout);
    for row in rows {
        assert_eq!(row["status"], "ok", "{row}");
        assert_eq!(row["sha256"], row["expected_sha256"], "{row}");
    }
}

#[test]
fn a_container_is_charged_with_its_runtimes_start() {
    let _alone = turns::run_alone();
    if !docker() {
        return;
    }
    let place = Place::new();
    place.ok(&[
        "record",
        "--workload",
        "nop",
        "--lane",
        "docker",
        "--start",
        "cold",
        "--runs",
        "3",
    ]);
    let connection = place.open();
    let cpu = numbers(&connection, "SELECT cpu_ns FROM v_invocation");
    assert_eq!(cpu.len(), 3);
    assert!(cpu.iter().all(|nanos| (5_000_000..500_000_000).contains(nanos)), "{cpu:?}");
    let phases = "SELECT COUNT(*) FROM v_invocation WHERE create_ns > 0 AND start_ns > 0
                  AND run_ns > 0 AND teardown_ns > 0";
    assert_eq!(numbers(&connection, phases), [3]);
    // A function that does nothing is not billed for what the engine does.
    let run = numbers(&connection, "SELECT run_ns FROM v_invocation ORDER BY run_ns");
    let start = numbers(&connection, "SELECT start_ns FROM v_invocation ORDER BY start_ns");
    assert!(run[0] < start[0] / 4, "run {run:?}, start {start:?}");
    let parts = column(&connection, "SELECT name FROM v_footprint ORDER BY position");
    assert!(parts.iter().any(|part| part == "program layer"), "{parts:?}");
    assert!(parts.iter().any(|part| part.starts_with("runtime /")), "{parts:?}");
    let shown = place.ok(&["history", "show"]).stdout;
    assert!(shown.contains("program layer") && shown.contains("containerd-shim"), "{shown}");
}

#[test]
fn gvisor_gives_the_outputs_of_all_workloads() {
    if !docker() || !has_gvisor() {
        return;
    }
    let place = Place::new();
    let run =
        place.ok(&["workloads", "check", "--lane", "docker:runsc", "--format", "json"]).json();
    let rows = run.as_array().expect("rows");
    assert_eq!(rows.len(), 16, "eight workloads, cold and warm");
    for row in rows {
        assert_eq!((&row["status"], &row["sha256"]), (&"ok".into(), &row["expected_sha256"]));
    }
}

fn has_gvisor() -> bool {
    let info = cyclometer::lane::docker::inspect_engine().expect("it answered a moment ago");
    let has = info.runtimes.iter().any(|name| name == "runsc");
    if !has {
        // An engine may be required; gVisor is not.
        cyclometer_testkit::skip("the engine has no runtime runsc (gVisor)");
    }
    has
}

#[test]
fn a_base_image_that_is_not_there_is_one_line() {
    if !docker() {
        return;
    }
    let place = Place::new();
    let run = place.run(&[
        "record",
        "--workload",
        "nop",
        "--lane",
        "native,docker",
        "--base-image",
        "cyclometer-test/none:1",
        "--runs",
        "1",
    ]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    let lines: Vec<_> = run.stderr.lines().filter(|line| line.contains("never fetched")).collect();
    assert_eq!(lines.len(), 1, "{}", run.stderr);
    assert!(lines[0].contains("docker@cyclometer-test/none:1"), "{}", lines[0]);
    let bad = place.run(&["record", "--base-image", "no image", "--lane", "docker"]);
    assert_eq!(bad.code, 2, "{}", bad.stderr);
}

#[test]
fn kill_9_leaves_no_container_and_no_group_after_the_next_start() {
    let _alone = turns::run_alone();
    if !docker() {
        return;
    }
    let place = Place::new();
    for round in 0..20_u64 {
        let mut child = place.spawn(&[
            "record",
            "--workload",
            "wait",
            "--lane",
            "docker",
            "--start",
            // A warm container is there between invocations, too.
            if round % 2 == 0 { "cold" } else { "warm" },
            "--runs",
            "100",
            "--warmup",
            "0",
        ]);
        let stderr = child.stderr.take().expect("piped");
        let first = BufReader::new(stderr)
            .lines()
            .find(|line| line.as_ref().is_ok_and(|line| line.contains(": ok ")));
        assert!(first.is_some(), "nothing was recorded");
        std::thread::sleep(std::time::Duration::from_millis(60 + 37 * round % 500));
        child.kill().expect("killed");
        child.wait().expect("reaped");
        let run = place.ok(&["history"]);
        assert!(run.stderr.contains("was cut off"), "{}", run.stderr);
        let Some(left) = dead_owners() else { return };
        assert!(left.is_empty(), "round {round}: {left:?}");
        assert!(dead_groups().is_empty(), "round {round}: {:?}", dead_groups());
    }
    assert_eq!(column(&place.open(), "SELECT DISTINCT status FROM recording"), ["interrupted"]);
}

#[test]
fn gvisor_runs_the_same_function() {
    if !docker() {
        return;
    }
    if !has_gvisor() {
        return;
    }
    let place = Place::new();
    place.ok(&["record", "--workload", "nop,nbody", "--lane", "docker:runsc", "--runs", "2"]);
    let connection = place.open();
    let cpu = numbers(&connection, "SELECT cpu_ns FROM v_invocation");
    assert!(cpu.iter().all(|nanos| *nanos > 5_000_000), "{cpu:?}");
    let source =
        column(&connection, "SELECT DISTINCT source FROM v_meter_source WHERE meter = 'cpu_time'");
    assert_eq!(source, ["cgroup"], "gVisor's sandbox is not in perf's hierarchy");
}

#[test]
fn an_engine_that_dies_fails_its_invocations_and_the_rest_goes_on() {
    engine_dies("cold");
}

#[test]
fn an_engine_that_dies_fails_its_warm_invocations_and_the_rest_goes_on() {
    engine_dies("warm");
}

fn engine_dies(start: &str) {
    if !docker() {
        return;
    }
    let Some(mut engine) = Engine::start() else { return };
    let place = Place::new();
    let mut child = place
        .command(&[
            "record",
            "--workload",
            "wait",
            "--lane",
            "native,docker",
            "--start",
            if start == "warm" { "both" } else { start },
            "--runs",
            "6",
            "--warmup",
            "0",
        ])
        .env("DOCKER_HOST", format!("unix://{}", engine.socket().display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let done = lines.find(|line| {
        line.as_ref().is_ok_and(|line| line.contains(&format!("wait in docker, {start} #2: ok")))
    });
    assert!(done.is_some(), "docker never ran");
    engine.kill();
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().expect("ended").code(), Some(3), "{rest:#?}");
    let connection = place.open();
    let native = "SELECT COUNT(*) FROM v_invocation WHERE lane = 'native' AND status = 'ok'";
    assert_eq!(numbers(&connection, native), [6]);
    let failed = column(
        &connection,
        &format!(
            "SELECT reason FROM v_invocation
             WHERE lane = 'docker' AND start = '{start}' AND status = 'failed'"
        ),
    );
    assert!(!failed.is_empty() && failed.iter().all(|reason| reason != "NULL"), "{failed:?}");
}
