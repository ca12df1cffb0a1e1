//! Questions to the database, and price files, that take for ever or fill the
//! terminal.

use std::fmt::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusqlite::Connection;

use super::super::common::{Place, Run, column, fixture, numbers};

/// Far below what these took, far above what they take.
const BOUND: Duration = Duration::from_secs(20);

fn query(place: &Place, sql: &str, more: &[&str]) -> Run {
    let begun = Instant::now();
    let run = place.run(&[&["query", sql][..], more].concat());
    assert!(begun.elapsed() < BOUND, "{sql} took {:?}", begun.elapsed());
    run
}

fn place() -> Place {
    let place = Place::new();
    fixture::empty(&place);
    place
}

#[test]
fn a_huge_word_is_cut_in_a_table_and_whole_for_programs() {
    let place = place();
    let sql = "SELECT 1 AS one, printf('%.*c', 20000000, 'x') AS word";
    for format in ["table", "markdown"] {
        let run = query(&place, sql, &["--format", format]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(run.stdout.len() < 20_000, "{} bytes", run.stdout.len());
        assert!(run.stderr.contains("1 cell(s) are cut") && run.stderr.contains("--format json"));
    }
    for format in ["json", "jsonl", "csv"] {
        let run = query(&place, sql, &["--format", format]);
        assert_eq!(run.stdout.matches('x').count(), 20_000_000, "{format}: {}", run.stderr);
    }
    let blob = query(&place, "SELECT zeroblob(30000000)", &["--format", "csv"]);
    assert_eq!(blob.stdout.lines().last().map(str::len), Some(60_000_000));
}

/// One call of a function, which looks at no clock, that takes days: at each of
/// 15 million places it compares 15 million bytes.
const ENDLESS_STEP: &str = "SELECT length(replace(printf('%.*c', 30000000, 'a'),
    printf('%.*c', 15000000, 'a') || 'b', 'c'))";

#[test]
fn the_time_limit_holds_also_within_one_step() {
    let place = place();
    let run = query(&place, ENDLESS_STEP, &["--timeout", "1s"]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("the time is over"), "{}", run.stderr);
}

fn interrupted(mut command: Command) -> Run {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    std::thread::sleep(Duration::from_secs(2));
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    let begun = Instant::now();
    kill(pid, Signal::SIGINT).expect("sent");
    let run = Run::of(&child.wait_with_output().expect("ended"));
    assert!(begun.elapsed() < BOUND, "it took {:?}", begun.elapsed());
    run
}

#[test]
fn the_first_ctrl_c_ends_a_query_also_within_one_step() {
    let place = place();
    for sql in [
        ENDLESS_STEP,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n",
    ] {
        let run = interrupted(place.command(&["query", sql]));
        assert_eq!(run.code, 130, "{}", run.stderr);
    }
}

#[test]
fn a_query_that_nobody_reads_ends_in_time() {
    let place = place();
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
    let mut command = place.command(&["query", sql, "--format", "csv", "--timeout", "1s"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("started");
    let begun = Instant::now();
    // The pipe is full at once, and stays so.
    let status = loop {
        if let Some(status) = child.try_wait().expect("known") {
            break status;
        }
        assert!(begun.elapsed() < BOUND, "it writes for ever");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(status.code(), Some(1));
}

#[test]
fn memory_of_a_query_is_bounded() {
    let place = place();
    let twelve = format!("SELECT {}", ["printf('%.*c', 60000000, 'x')"; 12].join(", "));
    for (sql, word) in [
        ("SELECT zeroblob(1000000000)", "larger than 64.0 MiB"),
        ("SELECT printf('%.*c', 999999999, 'x')", "larger than 64.0 MiB"),
        (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200)
             SELECT length(group_concat(printf('%.*c', 1000000, 'x'), '')) FROM n",
            "larger than 64.0 MiB",
        ),
        (&twelve, "more than 512 MiB of memory"),
    ] {
        // 1.5 GiB of address space, threads and program included.
        let script =
            format!("ulimit -v 1572864; exec {} query \"$1\"", super::super::common::PROGRAM);
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh", sql]).env("CYCLOMETER_DB", place.db());
        let run = Run::of(&command.output().expect("a shell"));
        assert!(run.stderr.contains(word), "{sql}: {}", run.stderr);
        assert!([0, 2].contains(&run.code), "{sql}: {}: {}", run.code, run.stderr);
    }
}

#[test]
fn tables_of_many_rows_or_columns_are_bounded_and_say_so() {
    let place = place();
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
    let run = query(&place, numbers, &["--limit", "5000000"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("the first 100000 rows"), "{}", run.stderr);
    let columns = vec!["i"; 2_000].join(", ");
    let run =
        query(&place, &numbers.replace("SELECT i FROM", &format!("SELECT {columns} FROM")), &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("the first 10 rows"), "{}", run.stderr);
}

#[test]
fn statements_that_are_only_large_are_refused() {
    let place = place();
    let deep = format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    let sum = format!("SELECT 1{}", " + 1".repeat(50_000));
    let compound = vec!["SELECT 1"; 10_000].join(" UNION ALL ");
    let pattern = format!("SELECT 'a' LIKE '{}'", "%a".repeat(40_000));
    for sql in [deep, sum, compound, pattern] {
        let mut command = place.command(&["query", "-"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut input = child.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut input, sql.as_bytes()).expect("read");
        drop(input);
        let run = Run::of(&child.wait_with_output().expect("ended"));
        assert_eq!(run.code, 2, "{}", &sql[..40]);
        assert!(run.stderr.len() < 10_000, "{} bytes", run.stderr.len());
    }
}

#[test]
fn a_database_of_others_runs_nothing_when_it_is_used() {
    let place = fixture::place();
    let theirs = Connection::open(place.db()).expect("opened");
    theirs
        .execute_batch(
            "CREATE TRIGGER t AFTER INSERT ON recording BEGIN
                DELETE FROM invocation; DELETE FROM cell; END;
             CREATE TRIGGER u AFTER UPDATE ON recording BEGIN DELETE FROM invocation; END;
             CREATE TRIGGER d BEFORE DELETE ON recording BEGIN SELECT RAISE(IGNORE); END;",
        )
        .expect("made");
    drop(theirs);
    place.ok(&["history", "label", "1", "x"]);
    let args =
        ["record", "--workload", "nop", "--lane", "native", "--start", "cold", "--runs", "2"];
    place.ok(&args);
    place.ok(&["history", "delete", "2", "--yes"]);
    let connection = place.open();
    assert_eq!(numbers(&connection, "SELECT id FROM recording"), [1, 3]);
    // 33 of the fixture and 2 more.
    assert_eq!(numbers(&connection, "SELECT COUNT(*) FROM v_invocation"), [35]);
}

#[test]
fn views_of_others_that_never_end_end_in_time() {
    let place = fixture::place();
    let theirs = Connection::open(place.db()).expect("opened");
    theirs
        .execute_batch(
            "DROP VIEW v_invocation;
             CREATE VIEW v_invocation AS
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
                SELECT i AS recording, i AS invocation, 'ok' AS status, i AS lane FROM n;",
        )
        .expect("made");
    drop(theirs);
    // The newest recording is asked of that view, before the query itself runs.
    let sql = "SELECT :recording";
    let run = query(&place, sql, &["--timeout", "1s"]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("the time is over"), "{}", run.stderr);
    let run = interrupted(place.command(&["query", sql]));
    assert_eq!(run.code, 130, "{}", run.stderr);
}

#[test]
fn names_of_a_database_of_others_do_not_fill_the_terminal() {
    let place = fixture::place();
    let theirs = Connection::open(place.db()).expect("opened");
    theirs
        .execute_batch("UPDATE recording SET label = printf('%.*c', 20000000, 'x')")
        .expect("renamed");
    drop(theirs);
    let begun = Instant::now();
    let run = place.ok(&["history"]);
    assert!(begun.elapsed() < BOUND, "it took {:?}", begun.elapsed());
    assert!(run.stdout.len() < 100_000, "{} bytes", run.stdout.len());
    let json = place.ok(&["history", "--format", "json"]).stdout;
    assert!(json.len() > 40_000_000, "programs have both labels whole");
}

/// Charges whose prices are for numbers of units without a common factor.
fn dear_model() -> String {
    let mut text = "id = \"dear\"\nname = \"Dear\"\ncurrency = \"USD\"\ngranularity = \"coarse\"\n\
        effective_from = 2026-01-01\nretrieved = 2026-01-01\nsource = \"none\"\n\
        rounding = \"none\"\n"
        .to_owned();
    for index in 0..64 {
        let _ = write!(
            text,
            "[[charge]]\nname = \"c{index}\"\nprice = \"1\"\nper = \"{}{:03}\"\n\
             [[charge.factor]]\nmeter = \"wall\"\nunit = \"s\"\n",
            "9".repeat(37),
            2 * index + 1
        );
    }
    text
}

#[test]
fn a_model_whose_bills_take_long_is_refused_before_the_first() {
    let place = fixture::place();
    let model = place.write("dear.toml", dear_model());
    let model = model.to_str().expect("a path");
    let check = place.run(&["pricing", "check", model]);
    assert_ne!(check.code, 0);
    let told = format!("{}{}", check.stdout, check.stderr);
    assert!(told.contains("steps of arithmetic"), "{told}");
    let replay = place.run(&["replay", "1", "--pricing", model, "--model", "dear"]);
    assert_eq!(replay.code, 2, "{}", replay.stderr);
    let stored = column(&place.open(), "SELECT model FROM simulation_model WHERE model = 'dear'");
    assert_eq!(stored, Vec::<String>::new());
}
