//! What only a real Docker engine can show.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use common::engine::Engine;
use common::{Place, column, docker, numbers};

/// Asks the engine through its own client; `None`, said aloud, without one.
fn client(args: &[&str]) -> Option<String> {
    match Command::new("docker").args(args).output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Err(error) => {
            cyclometer::testing::skip(&format!("no docker client: {error}"));
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

/// Control groups of owners that are dead.
fn dead_groups() -> Vec<String> {
    let mut found = Vec::new();
    let roots = [
        "/sys/fs/cgroup",
        "/sys/fs/cgroup/unified",
        "/sys/fs/cgroup/memory",
        "/sys/fs/cgroup/cpuacct",
    ];
    for entry in roots.iter().filter_map(|root| std::fs::read_dir(root).ok()).flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("cyclometer-").and_then(|rest| rest.split('-').next());
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
    // Eight workloads: native, wasmtime cold and warm, docker.
    assert_eq!(rows.len(), 32, "{}", run.stdout);
    for row in rows {
        assert_eq!(row["status"], "ok", "{row}");
        assert_eq!(row["sha256"], row["expected_sha256"], "{row}");
    }
}

#[test]
fn a_container_is_charged_with_its_runtimes_start() {
    if !docker() {
        return;
    }
    let place = Place::new();
    place.ok(&["record", "--workload", "nop", "--lane", "docker", "--runs", "3"]);
    let connection = place.open();
    let cpu = numbers(&connection, "SELECT cpu_ns FROM v_invocation");
    assert_eq!(cpu.len(), 3);
    assert!(cpu.iter().all(|nanos| (5_000_000..500_000_000).contains(nanos)), "{cpu:?}");
    let phases = "SELECT COUNT(*) FROM v_invocation WHERE create_ns > 0 AND start_ns > 0
                  AND run_ns > 0 AND teardown_ns > 0";
    assert_eq!(numbers(&connection, phases), [3]);
}

#[test]
fn kill_9_leaves_no_container_and_no_group_after_the_next_start() {
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
    let info = cyclometer::lane::docker::inspect().expect("it answered a moment ago");
    if !info.runtimes.iter().any(|name| name == "runsc") {
        return cyclometer::testing::skip("the engine has no runsc (gVisor)");
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
    let done = lines
        .find(|line| line.as_ref().is_ok_and(|line| line.contains("wait in docker, cold #2: ok")));
    assert!(done.is_some(), "docker never ran");
    engine.kill();
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().expect("ended").code(), Some(3), "{rest:#?}");
    let connection = place.open();
    let native = "SELECT COUNT(*) FROM v_invocation WHERE lane = 'native' AND status = 'ok'";
    assert_eq!(numbers(&connection, native), [6]);
    let failed = column(
        &connection,
        "SELECT reason FROM v_invocation WHERE lane = 'docker' AND status = 'failed'",
    );
    assert!(!failed.is_empty() && failed.iter().all(|reason| reason != "NULL"), "{failed:?}");
}
