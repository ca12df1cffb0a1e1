//! Recordings that are stopped, politely and not.

use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::time::{Duration, Instant};

use crate::common::{Place, column, numbers, processes, turns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).expect("a pid");
    kill(Pid::from_raw(pid), signal).expect("sent");
}

/// Waits until no process with `word` in its command line is left.
fn gone(word: &str) -> bool {
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        if processes(word).is_empty() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// Reads progress until `wanted` invocations are reported as stored.
fn read_until(child: &mut Child, wanted: usize) -> usize {
    let stderr = child.stderr.as_mut().expect("piped");
    let mut stored = 0;
    for line in BufReader::new(stderr).lines() {
        stored += usize::from(line.expect("text").contains(": ok "));
        if stored >= wanted {
            break;
        }
    }
    stored
}

#[test]
fn ctrl_c_ends_cleanly_and_keeps_what_was_done() {
    let _alone = turns::run_alone();
    let place = Place::new();
    let mut child = place.spawn(&[
        "record",
        "--workload",
        "wait",
        "--lane",
        "native,wasmtime",
        "--runs",
        "1000",
        "--warmup",
        "0",
    ]);
    let stored = read_until(&mut child, 4);
    signal(&child, Signal::SIGINT);
    let begun = Instant::now();
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(3), "it took {:?}", begun.elapsed());
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("native"), "the comparison of what was done: {table}");
    let connection = place.open();
    assert_eq!(column(&connection, "SELECT status FROM recording"), ["interrupted"]);
    let ok = numbers(&connection, "SELECT COUNT(*) FROM v_invocation WHERE status = 'ok'")[0];
    assert!(ok >= i64::try_from(stored).expect("small"), "{ok} of {stored}");
    // The one in flight is there, and says so.
    let cut = column(&connection, "SELECT status FROM v_invocation WHERE status <> 'ok'");
    assert!(cut.len() <= 1 && cut.iter().all(|status| status == "interrupted"), "{cut:?}");
}

fn until_stopped(place: &Place, preset: &str, race: bool) -> Child {
    let mut args = vec!["record", "--workload", "wait", "--lane", "native,wasmtime"];
    args.extend(["--preset", preset]);
    args.extend(["--start", "cold", "--warmup", "0", "--until-stopped"]);
    args.extend(race.then_some("--race"));
    place.spawn(&args)
}

#[test]
fn a_recording_until_stopped_ends_well_at_ctrl_c() {
    for race in [false, true] {
        let place = Place::new();
        let mut child = until_stopped(&place, "quick", race);
        read_until(&mut child, 3);
        signal(&child, Signal::SIGINT);
        let output = child.wait_with_output().expect("ended");
        assert_eq!(output.status.code(), Some(0), "race: {race}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("native"), "the comparison");
        let connection = place.open();
        assert_eq!(column(&connection, "SELECT status FROM recording"), ["done"]);
        // What was in flight went on to its end.
        assert_eq!(column(&connection, "SELECT DISTINCT status FROM v_invocation"), ["ok"]);
        let planned = "SELECT (plan ->> 'until_stopped') || (plan ->> 'race') FROM recording";
        assert_eq!(column(&connection, planned), [if race { "11" } else { "10" }]);
    }
}

#[test]
fn a_recording_until_stopped_that_keeps_nothing_was_interrupted() {
    let place = Place::new();
    // Runs that are not recorded, more than anybody waits for.
    let mut child = place.spawn(&[
        "record",
        "--workload",
        "wait",
        "--lane",
        "native",
        "--start",
        "cold",
        "--warmup",
        "100000",
        "--until-stopped",
    ]);
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut told = String::new();
    while !told.contains("random order") {
        assert!(stderr.read_line(&mut told).expect("text") > 0, "{told}");
    }
    signal(&child, Signal::SIGINT);
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("text");
    assert_eq!(child.wait().expect("ended").code(), Some(130), "{rest}");
    assert!(rest.contains("nothing is kept"), "{rest}");
}

#[test]
fn ctrl_c_twice_stops_at_once() {
    let place = Place::new();
    // Seconds long: what is in flight does not end between the two.
    let mut child = until_stopped(&place, "paper", true);
    read_until(&mut child, 2);
    signal(&child, Signal::SIGINT);
    // Otherwise the two may be delivered as one.
    std::thread::sleep(Duration::from_millis(20));
    signal(&child, Signal::SIGINT);
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(column(&place.open(), "SELECT status FROM recording"), ["interrupted"]);
}

#[test]
fn kill_9_loses_nothing_that_had_finished_twenty_times_over() {
    let _alone = turns::run_alone();
    let place = Place::new();
    for round in 0..20_u64 {
        let mut child = place.spawn(&[
            "record",
            "--workload",
            "nop,wait",
            "--lane",
            "native,wasmtime",
            "--runs",
            "1000",
            "--warmup",
            "0",
            "--sample-interval",
            "2ms",
        ]);
        let stored = read_until(&mut child, 1 + usize::try_from(round % 7).expect("small"));
        // Land at different moments of an invocation.
        std::thread::sleep(Duration::from_micros(round * 7_919 % 40_000));
        signal(&child, Signal::SIGKILL);
        drop(child.wait());
        let recording = i64::try_from(round).expect("small") + 1;
        {
            let connection = place.open();
            let sql = format!(
                "SELECT COUNT(*) FROM v_invocation WHERE recording = {recording} AND status = 'ok'"
            );
            let kept = numbers(&connection, &sql)[0];
            let stored = i64::try_from(stored).expect("small");
            assert!(kept >= stored, "round {round}: {kept} kept of {stored} that were told");
        }
        let next = place.ok(&["history", "--format", "json"]);
        assert!(next.stderr.contains("was cut off"), "round {round}: {}", next.stderr);
        assert_eq!(next.json()["recordings"][0]["status"], "interrupted");
    }
    assert!(gone("cyclometer-worker"), "a worker is left");
    let orphans = processes("/proc/self/fd/").len();
    assert!(gone("/proc/self/fd/"), "{orphans} launchers are left");
}

#[test]
fn a_living_recording_is_not_taken_for_a_dead_one() {
    let place = Place::new();
    let mut child = place.spawn(&[
        "record",
        "--workload",
        "wait",
        "--lane",
        "native",
        "--runs",
        "1000",
        "--warmup",
        "0",
    ]);
    read_until(&mut child, 1);
    let list = place.ok(&["history", "--format", "json"]);
    assert_eq!(list.json()["recordings"][0]["status"], "running");
    assert!(!list.stderr.contains("cut off"));
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().expect("ended").code(), Some(143), "128 + SIGTERM");
    assert_eq!(column(&place.open(), "SELECT status FROM recording"), ["interrupted"]);
}
