//! Nothing that was measured is lost, and what only reads leaves nothing:
//! terminals that go away, signals, and files that are moved, removed, full or
//! read-only.
//!
//! Exit statuses are those of shells for a command that a signal ended: 128 and
//! the signal's number (POSIX: SIGHUP 1, SIGINT 2, SIGTERM 15).

mod terminal;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusqlite::{Connection, OpenFlags};

use super::common::{PROGRAM, Place, Run, column, docker, numbers};
use terminal::{PATIENCE, Window};

const HANGUP: i32 = 129;
const TERMINATED: i32 = 143;

/// Invocations that are stored so far, whatever state the file is in.
fn stored(database: &Path) -> i64 {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    Connection::open_with_flags(database, flags)
        .and_then(|it| it.query_row("SELECT COUNT(*) FROM invocation", [], |row| row.get(0)))
        .unwrap_or(0)
}

/// Waits until so many invocations are stored.
fn wait_for(database: &Path, count: i64) {
    let begun = Instant::now();
    while stored(database) < count {
        assert!(begun.elapsed() < PATIENCE, "only {} invocations", stored(database));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), signal).expect("sent");
}

const LONG: [&str; 6] = ["--start", "cold", "--runs", "1000", "--warmup", "0"];

fn record(place: &Place, lanes: &str) -> Command {
    let mut command = place.command(&["record", "--workload", "wait", "--lane", lanes]);
    command.args(LONG);
    command
}

fn observe(place: &Place, lanes: &str) -> Command {
    place.command(&["live", "--workload", "wait,nop", "--lane", lanes, "--loop"])
}

/// The recording is over, is marked, and has what had finished.
fn is_interrupted(place: &Place) {
    let connection = place.open();
    let ended = "SELECT status || ' ' || (ended_at IS NOT NULL) FROM recording";
    assert_eq!(column(&connection, ended), ["interrupted 1"]);
    let failed = "SELECT lane || ': ' || reason FROM v_invocation
                  WHERE status NOT IN ('ok', 'interrupted')";
    assert_eq!(column(&connection, failed), Vec::<String>::new(), "none of it is a failure");
}

#[test]
fn a_terminal_that_goes_away_interrupts_a_recording_and_leaves_nothing() {
    let mut lanes = vec!["native", "wasmtime", "native,wasmtime"];
    if docker() {
        lanes.push("native,docker");
    }
    for lanes in lanes {
        for command in [observe, record] {
            let place = Place::new();
            let mut window = Window::open(&command(&place, lanes));
            window.until("invocations", || stored(&place.db()) >= 3);
            window.close();
            assert_eq!(window.ends().code(), Some(HANGUP), "{lanes}");
            is_interrupted(&place);
            assert_eq!(window.remains(), Vec::<String>::new(), "{lanes}");
            if lanes.contains("docker") {
                let left = place.ok(&["clean", "--only", "containers", "--format", "csv"]);
                let own = format!("cyclometer-{}-", window.child.id());
                assert!(!left.stdout.contains(&own), "{}", left.stdout);
            }
        }
    }
}

#[test]
fn every_command_that_runs_functions_ends_with_its_terminal() {
    let tax = ["tax", "--workload", "wait", "--lane", "native", "--runs", "1000"];
    let paper = ["paper", "--lane", "native", "--runs", "1000"];
    for args in [&tax[..], &paper[..]] {
        let place = Place::new();
        let mut window = Window::open(&place.command(args));
        window.until("invocations", || stored(&place.db()) >= 2);
        window.close();
        assert_eq!(window.ends().code(), Some(HANGUP), "{args:?}");
        let status = column(&place.open(), "SELECT status FROM recording ORDER BY id DESC LIMIT 1");
        assert_eq!(status, ["interrupted"], "{args:?}");
        assert_eq!(window.remains(), Vec::<String>::new(), "{args:?}");
    }
    // Ten seconds, if it is not stopped; it stores nothing to wait for.
    let place = Place::new();
    let check = [
        "workloads",
        "check",
        "--workload",
        "nbody",
        "--preset",
        "paper",
        "--lane",
        "native,wasmtime",
    ];
    let mut window = Window::open(&place.command(&check));
    let program = i32::try_from(window.child.id()).expect("a pid");
    window.until("a launcher of functions", || {
        let all = procfs::process::all_processes().expect("/proc").flatten();
        all.filter_map(|it| it.stat().ok()).any(|it| it.ppid == program)
    });
    window.close();
    assert_eq!(window.ends().code(), Some(HANGUP));
    assert_eq!(window.remains(), Vec::<String>::new());
}

#[test]
fn a_termination_has_a_status_of_its_own_and_several_signals_are_as_one() {
    for command in [observe, record] {
        let place = Place::new();
        let mut window = Window::open(&command(&place, "native"));
        window.until("invocations", || stored(&place.db()) >= 2);
        // As shells and session managers do: more than one.
        for signal in [Signal::SIGHUP, Signal::SIGHUP, Signal::SIGTERM, Signal::SIGTERM] {
            send(window.child.id(), signal);
        }
        let code = window.ends().code();
        assert!([Some(TERMINATED), Some(HANGUP)].contains(&code), "{code:?}");
        is_interrupted(&place);
    }
    let place = Place::new();
    let mut window = Window::open(&record(&place, "native"));
    window.until("invocations", || stored(&place.db()) >= 2);
    send(window.child.id(), Signal::SIGTERM);
    assert_eq!(window.ends().code(), Some(TERMINATED));
}

#[test]
fn under_nohup_a_recording_outlives_its_terminal() {
    let place = Place::new();
    let output = place.path().join("out");
    let script = format!(
        "trap '' HUP; exec {PROGRAM} record --workload wait --lane native --start cold --runs 8 \
         --warmup 0 > {} 2>&1",
        output.display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).env("CYCLOMETER_DB", place.db());
    let mut window = Window::open(&command);
    window.until("invocations", || stored(&place.db()) >= 2);
    window.close();
    assert_eq!(window.ends().code(), Some(0));
    assert_eq!(column(&place.open(), "SELECT status FROM recording"), ["done"]);
    let text = std::fs::read_to_string(output).expect("text");
    assert!(text.contains("recording 1"), "{text}");
}

#[test]
fn without_its_terminal_the_observatory_ends_also_where_hangups_are_ignored() {
    let place = Place::new();
    let script = format!("trap '' HUP; exec {PROGRAM} live --workload wait --lane native --loop");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).env("CYCLOMETER_DB", place.db());
    let mut window = Window::open(&command);
    window.until("invocations", || stored(&place.db()) >= 2);
    window.close();
    assert_eq!(window.ends().code(), Some(HANGUP));
    is_interrupted(&place);
}

#[test]
fn nobody_has_to_read_the_output_or_the_messages() {
    for closes_output in [true, false] {
        let place = Place::new();
        let args = ["record", "--workload", "nop", "--lane", "native", "--start", "cold"];
        let mut command = place.command(&args);
        command.args(["--runs", "3"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("started");
        if closes_output {
            drop(child.stdout.take());
        } else {
            drop(child.stderr.take());
        }
        let run = Run::of(&child.wait_with_output().expect("ended"));
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(column(&place.open(), "SELECT status FROM recording"), ["done"]);
        let read = if closes_output { &run.stderr } else { &run.stdout };
        assert!(read.contains(if closes_output { "recording 1" } else { "native" }), "{read}");
    }
}

#[test]
fn a_failure_is_told_by_the_status_though_nobody_reads_the_output() {
    let place = Place::new();
    let manifest = "title = \"false\"\nstresses = \"nothing\"\nnative = \"p\"\n\
                    [preset.quick]\n";
    place.write("w/false/workload.toml", manifest);
    std::fs::copy("/bin/false", place.path().join("w/false/p")).expect("copied");
    let folder = place.path().join("w");
    let mut command = place.command(&["record", "--workload", "false,nop", "--lane", "native"]);
    command.args(["--start", "cold", "--runs", "2", "--workloads"]).arg(folder);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("started");
    drop(child.stdout.take());
    let run = Run::of(&child.wait_with_output().expect("ended"));
    assert_eq!(run.code, 3, "{}", run.stderr);
}

/// Records into `database`, does `meddle` after some invocations, and gives the
/// end. At least `kept` invocations had finished by then.
fn meddled(place: &Place, database: &Path, meddle: impl FnOnce()) -> (Run, i64) {
    let mut command = place.command(&["record", "--workload", "wait", "--lane", "native"]);
    command.args(LONG).arg("--db").arg(database);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    wait_for(database, 3);
    let kept = stored(database);
    meddle();
    let run = Run::of(&child.wait_with_output().expect("ended"));
    (run, kept)
}

/// The path that the message tells to name with `--db`.
fn named(run: &Run) -> PathBuf {
    let (_, path) = run.stderr.rsplit_once("--db ").expect("a path in the message");
    PathBuf::from(path.trim())
}

fn holds(database: &Path, kept: i64) {
    let connection = Connection::open(database).expect("a database");
    assert_eq!(column(&connection, "PRAGMA integrity_check"), ["ok"]);
    assert_eq!(column(&connection, "SELECT status FROM recording"), ["interrupted"]);
    let count = numbers(&connection, "SELECT COUNT(*) FROM invocation WHERE status = 'ok'")[0];
    assert!(count >= kept, "{count} of {kept}");
}

#[test]
fn a_database_that_is_removed_while_recording_is_rescued_and_named() {
    let place = Place::new();
    let folder = place.path().join("f");
    std::fs::create_dir(&folder).expect("made");
    let database = folder.join("x.db");
    let (run, kept) = meddled(&place, &database, || {
        for suffix in ["", "-wal", "-shm"] {
            std::fs::remove_file(folder.join(format!("x.db{suffix}"))).expect("removed");
        }
    });
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("was removed"), "{}", run.stderr);
    assert_eq!(named(&run), folder.join("x.rescued.db"));
    holds(&named(&run), kept);

    // Only the file, so that its log is left behind.
    let (run, kept) =
        meddled(&place, &database, || std::fs::remove_file(&database).expect("removed"));
    assert_eq!((run.code, named(&run)), (1, folder.join("x.rescued-2.db")), "{}", run.stderr);
    holds(&named(&run), kept);
    let log = folder.join("x.db-wal");
    assert!(!log.exists(), "a log that belongs to no database");
}

#[test]
fn a_folder_that_is_removed_while_recording_leaves_a_copy_in_the_temporary_folder() {
    let place = Place::new();
    let temporary = place.path().join("tmp");
    std::fs::create_dir_all(&temporary).expect("made");
    let folder = place.path().join("f");
    std::fs::create_dir(&folder).expect("made");
    let database = folder.join("x.db");
    let mut command = record(&place, "native");
    command.arg("--db").arg(&database).env("TMPDIR", &temporary);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    wait_for(&database, 3);
    std::fs::remove_dir_all(&folder).expect("removed");
    let run = Run::of(&child.wait_with_output().expect("ended"));
    assert_eq!((run.code, named(&run)), (1, temporary.join("x.rescued.db")), "{}", run.stderr);
    holds(&named(&run), 3);
}

#[test]
fn a_database_that_is_moved_while_recording_is_whole_and_named() {
    let place = Place::new();
    let at = |name: &str| place.path().canonicalize().expect("there").join(name);
    std::fs::create_dir(at("f")).expect("made");
    let (run, kept) = meddled(&place, &at("f/x.db"), || {
        std::fs::rename(at("f/x.db"), at("f/y.db")).expect("moved");
    });
    assert_eq!((run.code, named(&run)), (1, at("f/y.db")), "{}", run.stderr);
    holds(&at("f/y.db"), kept);
    assert!(!at("f/x.db-wal").exists() && !at("f/x.db").exists());

    let (run, kept) = meddled(&place, &at("f/z.db"), || {
        std::fs::rename(at("f"), at("g")).expect("moved");
    });
    assert_eq!((run.code, named(&run)), (1, at("g/z.db")), "{}", run.stderr);
    holds(&at("g/z.db"), kept);
}

#[test]
fn a_file_that_takes_the_databases_place_is_left_alone() {
    let place = Place::new();
    let database = place.path().join("x.db");
    let other = place.write("other", "something else");
    let (run, kept) =
        meddled(&place, &database, || std::fs::rename(&other, &database).expect("moved"));
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("was replaced"), "{}", run.stderr);
    assert_eq!(std::fs::read_to_string(&database).expect("text"), "something else");
    holds(&named(&run), kept);
}

#[test]
fn a_log_that_is_removed_while_recording_takes_nothing_with_it() {
    let place = Place::new();
    let mut command = place.command(&["record", "--workload", "wait", "--lane", "native"]);
    command.args(["--start", "cold", "--runs", "12", "--warmup", "0"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    wait_for(&place.db(), 3);
    for suffix in ["-wal", "-shm"] {
        let mut name = place.db().into_os_string();
        name.push(suffix);
        std::fs::remove_file(name).expect("removed");
    }
    let run = Run::of(&child.wait_with_output().expect("ended"));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let counted = "SELECT COUNT(*) FROM invocation WHERE status = 'ok'";
    assert_eq!(numbers(&place.open(), counted), [12]);
}

#[test]
fn a_full_disk_ends_a_recording_with_all_of_it_kept_elsewhere() {
    let place = Place::new();
    let Some(small) = Mounted::small(&place.path().join("small")) else { return };
    let temporary = place.path().join("tmp");
    std::fs::create_dir_all(&temporary).expect("made");
    let database = small.0.join("x.db");
    let mut command = place.command(&["record", "--workload", "nop", "--lane", "native"]);
    command.args(["--start", "cold", "--runs", "20000", "--warmup", "0", "--sample-interval"]);
    command.args(["off", "--db"]).arg(&database).env("TMPDIR", &temporary);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    wait_for(&database, 5);
    // It fills up as it goes on, or at once.
    std::fs::write(small.0.join("ballast"), vec![1; 4 << 20]).expect_err("full");
    let run = Run::of(&child.wait_with_output().expect("ended"));
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("free some space"), "{}", run.stderr);
    assert!(named(&run).starts_with(&temporary), "{}", run.stderr);
    let told = run.stderr.lines().filter(|line| line.contains(": ok ")).count();
    holds(&named(&run), i64::try_from(told).expect("few"));
}

/// A folder that nobody may write, root neither.
struct Mounted(PathBuf);

impl Mounted {
    fn run(args: &[&str], path: &Path) -> bool {
        let status = Command::new("mount").args(args).arg(path).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    /// A file system of 2 MiB.
    fn small(path: &Path) -> Option<Self> {
        std::fs::create_dir_all(path).expect("made");
        if Self::run(&["-t", "tmpfs", "-o", "size=2m", "tmpfs"], path) {
            return Some(Self(path.to_owned()));
        }
        cyclometer_testkit::skip("a small file system cannot be mounted here");
        None
    }

    /// That folder, read-only: by a mount for root, by its mode for others.
    fn read_only(path: &Path) -> Option<Self> {
        if nix::unistd::geteuid().is_root() {
            let itself = path.to_str().expect("text");
            let bound =
                Self::run(&["--bind", itself], path) && Self::run(&["-o", "remount,ro,bind"], path);
            if !bound {
                cyclometer_testkit::skip("a folder cannot be mounted read-only here");
                return None;
            }
        } else {
            for file in std::fs::read_dir(path).expect("listed").flatten() {
                let mode = std::fs::Permissions::from_mode(0o444);
                std::fs::set_permissions(file.path(), mode).expect("set");
            }
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o555)).expect("set");
        }
        Some(Self(path.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if nix::unistd::geteuid().is_root() {
            let _ = Command::new("umount").args(["-l"]).arg(&self.0).status();
        } else {
            let _ = std::fs::set_permissions(&self.0, std::fs::Permissions::from_mode(0o755));
        }
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        found.push(entry.path());
        found.extend(files(&entry.path()));
    }
    found.sort();
    found
}

const READING: [&[&str]; 9] = [
    &["history", "list"],
    &["history", "show", "latest"],
    &["history", "compare", "latest", "latest"],
    &["replay", "latest"],
    &["replay", "latest", "--memory", "128MiB"],
    &["query", "SELECT COUNT(*) FROM v_invocation"],
    &["query", "--saved", "recordings"],
    &["doctor"],
    &["pricing", "list"],
];

fn recorded(folder: &Path) -> Place {
    let place = Place::new();
    std::fs::create_dir_all(folder).expect("made");
    let mut command = place.command(&["record", "--workload", "nop", "--lane", "native"]);
    command.args(["--start", "cold", "--runs", "6", "--db"]).arg(folder.join("x.db"));
    let run = Run::of(&command.output().expect("run"));
    assert_eq!(run.code, 0, "{}", run.stderr);
    place
}

fn read(place: &Place, args: &[&str], database: &Path) -> Run {
    let mut command = place.command(args);
    command.arg("--db").arg(database);
    // Caches are another matter.
    command.env("XDG_CACHE_HOME", place.path().join("cache"));
    Run::of(&command.output().expect("run"))
}

#[test]
fn a_read_only_database_is_read_by_all_that_reads_and_left_alone() {
    let outer = tempfile::tempdir().expect("a folder");
    let folder = outer.path().join("a b%?#");
    let place = recorded(&folder);
    let database = folder.join("x.db");
    let before = files(&folder);
    assert_eq!(before, std::slice::from_ref(&database), "recording leaves one file");
    let Some(_mounted) = Mounted::read_only(&folder) else { return };
    for args in READING {
        let run = read(&place, args, &database);
        assert_eq!(run.code, 0, "{args:?}: {}", run.stderr);
        assert_eq!(files(&folder), before, "{args:?}");
    }
    let other = ["replay", "latest", "--model", "per-cycle,aws-lambda-arm"];
    let bills = read(&place, &other, &database);
    assert!(bills.stdout.contains("nop"), "{}", bills.stdout);
    assert!(bills.stderr.contains("the simulation is not kept"), "{}", bills.stderr);
    for args in [&["history", "label", "1", "x"][..], &["history", "delete", "1", "--yes"]] {
        let run = read(&place, args, &database);
        assert_eq!(run.code, 1, "{args:?}");
        assert!(run.stderr.contains("read-only"), "{}", run.stderr);
    }
}

#[test]
fn what_was_written_last_is_read_from_a_log_that_may_not_be_touched() {
    let outer = tempfile::tempdir().expect("a folder");
    let folder = outer.path().join("f");
    let place = recorded(&folder);
    let database = folder.join("x.db");
    // As after a crash: the label is in the log alone, which has no index.
    let connection = Connection::open(&database).expect("opened");
    connection.execute("UPDATE recording SET label = 'late'", []).expect("written");
    let copy = outer.path().join("copy");
    std::fs::create_dir(&copy).expect("made");
    for name in ["x.db", "x.db-wal"] {
        std::fs::copy(folder.join(name), copy.join(name)).expect("copied");
    }
    drop(connection);
    let before = files(&copy);
    let Some(_mounted) = Mounted::read_only(&copy) else { return };
    let run = read(&place, &["history", "list"], &copy.join("x.db"));
    assert!(run.code == 0 && run.stdout.contains("late"), "{}{}", run.stdout, run.stderr);
    let run = read(&place, &["query", "SELECT label FROM v_recording"], &copy.join("x.db"));
    assert!(run.code == 0 && run.stdout.contains("late"), "{}{}", run.stdout, run.stderr);
    assert_eq!(files(&copy), before);
}

#[test]
fn a_read_only_database_of_an_earlier_version_is_read_from_a_copy() {
    let outer = tempfile::tempdir().expect("a folder");
    let folder = outer.path().join("f");
    let place = recorded(&folder);
    let database = folder.join("x.db");
    {
        // As before the seven newest migrations, which added nothing but these.
        let connection = Connection::open(&database).expect("opened");
        let version = numbers(&connection, "PRAGMA user_version")[0];
        connection.pragma_update(None, "user_version", version - 7).expect("set");
        let mut views = connection
            .prepare("SELECT name, sql FROM sqlite_master WHERE type = 'view'")
            .expect("views");
        let views: Vec<(String, String)> = views
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect)
            .expect("views");
        for (name, _) in &views {
            connection.execute_batch(&format!("DROP VIEW {name}")).expect("dropped");
        }
        for column in [
            "cpu_startup_ns",
            "throttled_ns",
            "memory_startup_bytes",
            "memory_grow_failed",
            "vcpu_allocated_milli",
            "billed_ns",
            "weight",
            "instance_id",
            "request_id",
        ] {
            let sql = format!("ALTER TABLE invocation DROP COLUMN {column}");
            connection.execute_batch(&sql).expect("dropped");
        }
        connection
            .execute_batch(
                "DROP TABLE trace_candidate; DROP TABLE trace_leftover; DROP TABLE trace_file;
                 DROP TABLE trace_instance;
                 ALTER TABLE cell DROP COLUMN importing; ALTER TABLE cell DROP COLUMN region;
                 ALTER TABLE cell DROP COLUMN offset_base_ns;
                 ALTER TABLE recording DROP COLUMN importing;
                 ALTER TABLE recording DROP COLUMN kind;",
            )
            .expect("dropped");
        connection
            .execute_batch("DROP TABLE subject; ALTER TABLE lane_meter DROP COLUMN user_only")
            .expect("dropped");
        for (_, sql) in views.iter().filter(|(name, _)| {
            !["v_invocation", "v_subject"].contains(&name.as_str()) && !name.starts_with("v_trace")
        }) {
            let _ = connection.execute_batch(sql);
        }
        connection
            .execute_batch("CREATE VIEW v_invocation AS SELECT 1 AS x")
            .expect("a view to be made anew");
    }
    let before = files(&folder);
    let Some(_mounted) = Mounted::read_only(&folder) else { return };
    let run = read(&place, &["history", "show", "latest"], &database);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(files(&folder), before);
}

#[test]
fn where_there_is_no_database_nothing_makes_one_but_a_recording() {
    let place = Place::new();
    let database = place.path().join("deep/er/x.db");
    let list = read(&place, &["history"], &database);
    assert_eq!((list.code, list.stdout.trim()), (0, ""), "{}", list.stderr);
    assert!(list.stderr.contains("no recordings yet"), "{}", list.stderr);
    let json = read(&place, &["history", "--format", "json"], &database).json();
    assert_eq!(json["recordings"].as_array().map(Vec::len), Some(0));
    for args in [
        &["history", "show", "latest"][..],
        &["history", "label", "1", "x"],
        &["history", "delete", "1", "--yes"],
        &["replay"],
        &["query", "SELECT 1"],
        &["tax", "--show", "latest"],
        &["paper", "--show"],
    ] {
        let run = read(&place, args, &database);
        assert_eq!(run.code, 1, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains("`cyclometer record` makes one"), "{args:?}: {}", run.stderr);
    }
    assert_eq!(read(&place, &["doctor"], &database).code, 0);
    assert!(!place.path().join("deep").exists(), "a folder was made");
}

#[test]
fn reading_leaves_no_log_and_no_index() {
    let outer = tempfile::tempdir().expect("a folder");
    let folder = outer.path().join("f");
    let place = recorded(&folder);
    let before = files(&folder);
    for args in READING {
        let run = read(&place, args, &folder.join("x.db"));
        assert_eq!(run.code, 0, "{args:?}: {}", run.stderr);
        assert_eq!(files(&folder), before, "{args:?}");
    }
}

#[test]
fn opening_the_observatory_and_leaving_records_nothing() {
    let outer = tempfile::tempdir().expect("a folder");
    let folder = outer.path().join("f");
    let place = recorded(&folder);
    let database = folder.join("x.db");
    // A run that takes longer than anybody stays.
    let mut command = place.command(&["live", "--workload", "nbody", "--preset", "paper"]);
    command.args(["--lane", "native", "--db"]).arg(&database);
    let mut window = Window::open(&command);
    let running = "SELECT COUNT(*) FROM recording WHERE status = 'running'";
    let begun = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let opened = Connection::open_with_flags(&database, flags).ok();
        opened.is_some_and(|connection| {
            connection.query_row(running, [], |row| row.get(0)).unwrap_or(0) == 1
        })
    };
    window.until("a recording", begun);
    // While it runs it is not the latest either.
    let latest = read(&place, &["replay", "latest"], &database);
    assert!(latest.stderr.contains("recording 1"), "{}", latest.stderr);
    send(window.child.id(), Signal::SIGTERM);
    assert_eq!(window.ends().code(), Some(TERMINATED));
    let connection = Connection::open(&database).expect("opened");
    assert_eq!(numbers(&connection, "SELECT id FROM recording"), [1]);
    assert_eq!(numbers(&connection, "SELECT COUNT(DISTINCT cell_id) FROM invocation"), [1]);
}

#[test]
fn a_recording_that_is_stopped_before_an_invocation_has_finished_is_not_kept() {
    let place = Place::new();
    let mut command = place.command(&["record", "--workload", "nbody", "--preset", "paper"]);
    command.args(["--lane", "native", "--start", "cold", "--warmup", "0"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let begun = Instant::now();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let cells = || {
        let opened = Connection::open_with_flags(place.db(), flags).ok();
        opened.map_or(0, |connection| {
            connection.query_row("SELECT COUNT(*) FROM cell", [], |row| row.get(0)).unwrap_or(0)
        })
    };
    while cells() == 0 {
        assert!(begun.elapsed() < PATIENCE, "no cell");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    send(child.id(), Signal::SIGINT);
    let run = Run::of(&child.wait_with_output().expect("ended"));
    assert_eq!(run.code, 130, "{}", run.stderr);
    assert!(run.stderr.contains("no invocation had finished"), "{}", run.stderr);
    assert_eq!(numbers(&place.open(), "SELECT COUNT(*) FROM recording"), [0]);
}

#[test]
fn a_full_disk_is_told_and_does_not_keep_anyone_from_reading() {
    let place = Place::new();
    let folder = place.path().join("full");
    let Some(_mounted) = Mounted::small(&folder) else { return };
    let database = folder.join("a.db");
    let database = database.to_str().expect("text");
    let record =
        ["--db", database, "record", "--workload", "nop", "--lane", "native", "--runs", "2"];
    place.ok(&record);
    // To its last byte.
    let filler = std::fs::File::create(folder.join("filler"));
    let full = std::io::copy(&mut std::io::repeat(7), &mut filler.expect("made"));
    assert_eq!(full.expect_err("full").kind(), std::io::ErrorKind::StorageFull);
    let before = files(&folder);
    for args in [
        &["--db", database, "history"][..],
        &["--db", database, "history", "show", "1"],
        &["--db", database, "query", "SELECT COUNT(*) FROM v_invocation"],
        &["--db", database, "replay", "1"],
    ] {
        let run = place.ok(args);
        assert!(!run.stdout.is_empty(), "{args:?}: {}", run.stderr);
    }
    for args in [
        &record[..],
        &["--db", database, "history", "label", "1", "x"],
        &["--db", database, "history", "delete", "1", "--yes"],
        &["--db", database, "tax", "--runs", "1"],
    ] {
        let run = place.run(args);
        assert_eq!(run.code, 1, "{args:?}: {}", run.stderr);
        let told = "the disk is full; free some space, or use another disk";
        assert!(run.stderr.contains(told), "{args:?}: {}", run.stderr);
    }
    assert_eq!(files(&folder), before, "nothing is left");
    // Where somebody else has made an index before it was full, too.
    let other = Connection::open(database).expect("opened");
    std::fs::remove_file(folder.join("filler")).expect("removed");
    other.execute_batch("SELECT COUNT(*) FROM recording").expect("read");
    let filler = std::fs::File::create(folder.join("filler"));
    std::io::copy(&mut std::io::repeat(7), &mut filler.expect("made")).expect_err("full");
    place.ok(&["--db", database, "history"]);
    let run = place.run(&["--db", database, "history", "label", "1", "x"]);
    assert!(run.stderr.contains("the disk is full: free some space"), "{}", run.stderr);
    drop(other);
    std::fs::remove_file(folder.join("filler")).expect("removed");
    place.ok(&["--db", database, "history", "label", "1", "x"]);
}
