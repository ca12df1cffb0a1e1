//! What is left of imports that were stopped in any way, and how they go on.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{import, report_log};
use crate::common::{Place, Run, numbers};

/// Rows that take an import long enough to be killed in the middle of.
const MANY: u32 = 300_000;

/// Rows of an import that is killed twenty times.
const KILLED: u32 = 800_000;

fn digest(place: &Place) -> String {
    place.ok(&["query", "SELECT digest FROM v_trace_file", "--format", "csv"]).stdout
}

/// Waits until an import has stored rows, or has ended.
fn wait_for_rows(place: &Place, child: &mut Child, more_than: i64) -> i64 {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_mins(1) {
        if let Some(rows) = stored_rows(place).filter(|rows| *rows > more_than) {
            return rows;
        }
        if child.try_wait().expect("asked").is_some() {
            return i64::MAX;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("nothing was stored in a minute");
}

fn stored_rows(place: &Place) -> Option<i64> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = rusqlite::Connection::open_with_flags(place.db(), flags).ok()?;
    let sql = "SELECT TOTAL(rows) FROM trace_file";
    #[expect(clippy::cast_possible_truncation, reason = "a count")]
    let rows = connection.query_row(sql, [], |row| row.get::<_, f64>(0)).ok()? as i64;
    Some(rows)
}

#[test]
fn an_import_that_is_killed_twenty_times_ends_the_same() {
    let whole = Place::new();
    let log = report_log(0, KILLED);
    let path = whole.write("a.log", &log);
    let path = path.to_str().expect("text");
    import(&whole, &[path], 0);
    let wanted = digest(&whole);
    let place = Place::new();
    let (mut kills, mut rows) = (0, -1);
    let mut resumed = 0;
    while kills < 20 {
        let mut child = place.spawn(&["import", path]);
        // Some are killed before anything is stored, some in the middle.
        if kills % 3 == 0 {
            std::thread::sleep(Duration::from_millis(10 * kills));
        } else {
            rows = wait_for_rows(&place, &mut child, rows);
        }
        let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
        let run = Run::of(&child.wait_with_output().expect("ends"));
        resumed += u32::from(run.stderr.contains("resuming at line"));
        kills += 1;
        if run.code == 0 {
            break;
        }
        if !place.db().exists() {
            continue;
        }
        let list = place.ok(&["history", "list", "--format", "json"]);
        assert_eq!(list.json()["recordings"], serde_json::json!([]), "nothing is half seen");
    }
    assert!(resumed > 5, "{resumed} of {kills} went on");
    let end = place.run(&["import", path]);
    assert!(end.code == 0 || end.stderr.contains("imported already"), "{}", end.stderr);
    assert_eq!(digest(&place), wanted);
    let connection = place.open();
    assert_eq!(numbers(&connection, "SELECT COUNT(*) FROM v_invocation"), [i64::from(KILLED)]);
    let sums = |place: &Place| numbers(&place.open(), "SELECT SUM(run_ns) FROM v_invocation");
    assert_eq!(sums(&place), sums(&whole));
    assert_eq!(numbers(&connection, "SELECT COUNT(*) FROM recording"), [1]);
    // The file is known although it was read in parts.
    let again = place.run(&["import", path]);
    assert_eq!(again.code, 1, "{}", again.stderr);
}

#[test]
fn ctrl_c_stops_with_130_and_the_same_command_goes_on() {
    let place = Place::new();
    let path = place.write("a.log", report_log(0, MANY));
    let path = path.to_str().expect("text");
    let mut child = place.spawn(&["import", path]);
    assert_ne!(wait_for_rows(&place, &mut child, 0), i64::MAX, "it was too quick");
    // A second import of the file says that there is one.
    let second = place.run(&["import", path]);
    assert!(second.code == 1, "{}", second.stderr);
    assert!(second.stderr.contains("is importing the same files"), "{}", second.stderr);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("sent");
    let run = Run::of(&child.wait_with_output().expect("ends"));
    assert_eq!(run.code, 130, "{}", run.stderr);
    assert!(run.stderr.contains("the same command goes on"), "{}", run.stderr);
    let run = place.run(&["import", path]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("resuming at line"), "{}", run.stderr);
    assert_eq!(numbers(&place.open(), "SELECT COUNT(*) FROM v_invocation"), [i64::from(MANY)]);
}

#[test]
fn a_pipe_that_is_waited_for_ends_with_ctrl_c_and_leaves_nothing() {
    let place = Place::new();
    let mut command = place.command(&["import", "-", "--from", "aws-lambda-report"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    let mut stdin = child.stdin.take().expect("piped");
    std::io::Write::write_all(&mut stdin, report_log(0, 5_000).as_bytes()).expect("written");
    assert!(wait_for_rows(&place, &mut child, 0) < i64::MAX);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("sent");
    let run = Run::of(&child.wait_with_output().expect("ends"));
    assert_eq!(run.code, 130, "{}", run.stderr);
    drop(stdin);
    assert_eq!(numbers(&place.open(), "SELECT COUNT(*) FROM recording"), [0]);
}

#[test]
fn an_unfinished_import_is_told_and_can_be_discarded() {
    let place = Place::new();
    let path = place.write("a.log", report_log(0, MANY));
    let mut child = place.spawn(&["import", path.to_str().expect("text")]);
    assert_ne!(wait_for_rows(&place, &mut child, 0), i64::MAX, "it was too quick");
    child.kill().expect("killed");
    child.wait().expect("ends");
    let other = place.write("b.log", report_log(0, 3));
    let run = place.ok(&["import", other.to_str().expect("text")]);
    assert!(run.stderr.contains("--discard 1"), "{}", run.stderr);
    let list = place.ok(&["history"]);
    assert!(list.stderr.contains("--discard 1"), "{}", list.stderr);
    assert!(list.stderr.contains("`cyclometer import /"), "how it goes on: {}", list.stderr);
    let clean = place.ok(&["clean", "--only", "caches"]);
    assert!(clean.stderr.contains("--discard 1"), "{}", clean.stderr);
    assert_eq!(place.run(&["import", "--discard", "2"]).code, 1, "a trace is no unfinished import");
    place.ok(&["import", "--discard", "1"]);
    assert_eq!(numbers(&place.open(), "SELECT id FROM recording"), [2]);
    assert_eq!(numbers(&place.open(), "SELECT COUNT(*) FROM invocation"), [3]);
}

#[test]
fn a_full_disk_is_told_and_gone_on_from() {
    let place = Place::new();
    let disk = place.path().join("disk");
    std::fs::create_dir(&disk).expect("made");
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=12m", "none"])
        .arg(&disk)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        return cyclometer_testkit::skip("no tmpfs can be mounted here");
    }
    let path = place.write("a.log", report_log(0, MANY));
    let db = disk.join("c.db");
    let run = |place: &Place| {
        let mut command = place.command(&["import", path.to_str().expect("text")]);
        Run::of(&command.env("CYCLOMETER_DB", &db).output().expect("starts"))
    };
    let full = run(&place);
    let remount = std::process::Command::new("mount")
        .args(["-o", "remount,size=400m"])
        .arg(&disk)
        .status()
        .expect("mount");
    let end = run(&place);
    let listed = Run::of(
        &place
            .command(&["query", "SELECT COUNT(*) FROM v_invocation", "--format", "csv"])
            .env("CYCLOMETER_DB", &db)
            .output()
            .expect("starts"),
    );
    let _ = std::process::Command::new("umount").arg(&disk).status();
    assert!(remount.success());
    assert_eq!(full.code, 1, "{}", full.stderr);
    assert!(full.stderr.contains("the disk is full"), "{}", full.stderr);
    assert_eq!(end.code, 0, "{}", end.stderr);
    assert!(listed.stdout.contains(&MANY.to_string()), "{} {}", listed.stdout, end.stderr);
}

#[test]
fn a_gibibyte_of_addresses_is_enough_for_a_file_of_any_size() {
    let place = Place::new();
    let mut log = report_log(0, MANY).into_bytes();
    log.extend_from_slice(&vec![b'x'; 200_000_000]);
    log.extend_from_slice(b"\n");
    log.extend_from_slice(report_log(MANY, 10).as_bytes());
    let path = place.write("a.log", log);
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "ulimit -v 1048576 && exec \"$0\" import \"$1\""])
        .arg(crate::common::PROGRAM)
        .arg(&path)
        .env("CYCLOMETER_DB", place.db());
    let run = Run::of(&command.output().expect("starts"));
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert_eq!(numbers(&place.open(), "SELECT COUNT(*) FROM v_invocation"), [i64::from(MANY) + 10]);
}
