//! Recorders that find the database locked, or descriptors scarce.
//!
//! The locks are those of an independent connection, which takes them as any
//! other program would.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusqlite::Connection;

use super::super::common::{PROGRAM, Place, Run, column, compile, fixture, numbers};

/// For what takes a moment on an idle machine.
const PATIENCE: Duration = Duration::from_mins(2);

const WAITS: &str = "waiting for the database: locked by another process since ";
const GOES_ON: &str = "the database takes rows again, after ";

fn record(place: &Place, runs: &str) -> Command {
    let args = ["record", "--workload", "nop", "--lane", "native", "--start", "cold"];
    let mut command = place.command(&args);
    command.args(["--warmup", "0", "--runs", runs]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn end(child: Child) -> Run {
    Run::of(&child.wait_with_output().expect("ended"))
}

/// A connection that waits for locks rather than failing.
fn other(place: &Place) -> Connection {
    let connection = Connection::open(place.db()).expect("a database");
    connection.busy_timeout(PATIENCE).expect("set");
    connection
}

/// Waits until a statement gives at least that number.
fn until(connection: &Connection, sql: &str, least: i64) {
    let begun = Instant::now();
    loop {
        let found = connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap_or(0);
        if found >= least {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{sql} gives {found}, not {least}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

const STORED: &str = "SELECT COUNT(*) FROM invocation";

/// Every invocation of a recording is there, once.
fn is_whole(place: &Place, recording: i64, runs: i64) {
    let connection = place.open();
    let sql = format!(
        "SELECT sequence FROM v_invocation WHERE recording = {recording} AND status = 'ok'
         ORDER BY sequence"
    );
    assert_eq!(numbers(&connection, &sql), (1..=runs).collect::<Vec<_>>(), "{recording}");
    let status = format!("SELECT status FROM recording WHERE id = {recording}");
    assert_eq!(column(&connection, &status), ["done"]);
}

#[test]
fn a_recording_waits_for_a_lock_however_long_it_is_held_and_keeps_everything() {
    let place = Place::new();
    fixture::empty(&place);
    let lock = other(&place);
    let child = record(&place, "60").spawn().expect("started");
    until(&lock, STORED, 3);
    lock.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    // Three times as long as any try waits.
    std::thread::sleep(Duration::from_secs(10));
    lock.execute_batch("COMMIT").expect("let go");
    let run = end(child);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.stderr.matches(WAITS).count(), 1, "{}", run.stderr);
    assert_eq!(run.stderr.matches(GOES_ON).count(), 1, "{}", run.stderr);
    // The kernel says who it was: this process.
    let own = format!(", {})", std::process::id());
    assert!(run.stderr.contains(&own), "{own} in {}", run.stderr);
    is_whole(&place, 1, 60);
    // The pause is in no measured time: none took as long.
    let longest = numbers(&place.open(), "SELECT MAX(wall_ns) FROM invocation")[0];
    assert!(longest < 5_000_000_000, "{longest}");
}

#[test]
fn commands_that_write_begin_when_the_lock_is_let_go() {
    let place = fixture::place();
    let lock = other(&place);
    lock.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    let commands: Vec<Child> = [
        &["history", "label", "1", "renamed"][..],
        &["history", "delete", "2", "--yes"],
        &["replay", "1", "--model", "per-cycle", "--bills", "all"],
        &["tax", "--workload", "nop", "--lane", "native", "--runs", "1"],
    ]
    .into_iter()
    .map(|args| place.spawn(args))
    .chain([record(&place, "3").spawn().expect("started")])
    .collect();
    std::thread::sleep(Duration::from_secs(7));
    lock.execute_batch("COMMIT").expect("let go");
    for child in commands {
        let run = end(child);
        assert!([0, 3].contains(&run.code), "{}", run.stderr);
        assert!(run.stderr.contains(WAITS), "{}", run.stderr);
    }
    assert_eq!(column(&lock, "SELECT label FROM recording WHERE id = 1"), ["renamed"]);
    assert_eq!(
        numbers(&lock, "SELECT COUNT(*) FROM recording WHERE id = 2 AND label = 'second'"),
        [0]
    );
    let bills = "SELECT COUNT(*) FROM v_bill WHERE model LIKE 'per-cycle%'";
    assert!(numbers(&lock, bills)[0] > 0);
}

#[test]
fn what_only_reads_does_not_wait_for_a_lock() {
    let place = fixture::place();
    let lock = other(&place);
    lock.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    for args in [&["history"][..], &["history", "show", "1"], &["query", "--saved", "recordings"]] {
        assert_eq!(place.run(args).code, 0, "{args:?}");
    }
}

/// The path that the message tells to name with `--db`.
fn named(run: &Run) -> std::path::PathBuf {
    let (_, path) = run.stderr.rsplit_once("--db ").expect("a path in the message");
    path.trim().into()
}

#[test]
fn a_recording_that_waits_ends_with_ctrl_c_and_tells_where_the_rest_is() {
    for until_stopped in [false, true] {
        let place = Place::new();
        fixture::empty(&place);
        let lock = other(&place);
        let mut command = record(&place, "1000");
        if until_stopped {
            command = place.command(&["record", "--workload", "nop", "--lane", "native"]);
            command.args(["--start", "cold", "--until-stopped"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        let child = command.spawn().expect("started");
        until(&lock, STORED, 3);
        lock.execute_batch("BEGIN EXCLUSIVE").expect("locked");
        let stored = numbers(&lock, STORED)[0];
        std::thread::sleep(Duration::from_secs(4));
        let begun = Instant::now();
        let pid = i32::try_from(child.id()).expect("a pid");
        kill(Pid::from_raw(pid), Signal::SIGINT).expect("sent");
        let run = end(child);
        // A second or two; the rest is for busy machines.
        assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?}", begun.elapsed());
        assert_eq!(run.code, 130, "{}", run.stderr);
        assert!(run.stderr.contains("another program holds its lock"), "{}", run.stderr);
        let rescued = Connection::open(named(&run)).expect("a database");
        let kept = numbers(&rescued, "SELECT sequence FROM invocation ORDER BY sequence");
        let count = i64::try_from(kept.len()).expect("few");
        assert_eq!(kept, (1..=count).collect::<Vec<_>>());
        assert!(count > stored, "{count} and {stored}");
        assert_eq!(column(&rescued, "SELECT status FROM recording"), ["interrupted"]);
        lock.execute_batch("COMMIT").expect("let go");
    }
}

/// Runs a command and sends it Ctrl-C after two seconds: how it ended.
fn interrupt(mut command: Command) -> Run {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    std::thread::sleep(Duration::from_secs(2));
    let begun = Instant::now();
    let pid = i32::try_from(child.id()).expect("a pid");
    kill(Pid::from_raw(pid), Signal::SIGINT).expect("it waits");
    let run = end(child);
    // A moment; the rest is for busy machines, and less than the waits' own ends.
    assert!(begun.elapsed() < Duration::from_secs(8), "it took {:?}", begun.elapsed());
    run
}

#[test]
fn waits_before_the_first_invocation_end_with_ctrl_c_and_its_status() {
    let place = Place::new();
    // An engine that takes connections and never answers, many times over.
    let socket = place.path().join("engine");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    let lanes: Vec<String> = (0..30).map(|number| format!("docker:r{number}")).collect();
    let lanes = lanes.join(",");
    for args in [&["record", "--workload", "nop", "--lane", &lanes][..], &["paper"]] {
        let mut command = place.command(args);
        command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        let run = interrupt(command);
        assert_eq!(run.code, 130, "{args:?}: {}", run.stderr);
        assert!(!run.stderr.contains("error:"), "{args:?}: {}", run.stderr);
    }
    // A database that somebody holds, which must be opened first.
    let place = Place::new();
    fixture::empty(&place);
    let lock = other(&place);
    lock.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    let run = interrupt(record(&place, "3"));
    assert_eq!(run.code, 130, "{}", run.stderr);
    assert!(run.stderr.contains("locked"), "{}", run.stderr);
    lock.execute_batch("COMMIT").expect("let go");
}

/// So many invocations of a recording of their own, as if they had been
/// recorded.
fn fill(connection: &Connection, recording: i64, count: i64) {
    fixture::recording(connection, recording, "many");
    let cell = fixture::cell(connection, recording, recording * 10, "native", "nop", "cold");
    connection
        .execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
             INSERT INTO invocation (cell_id, sequence, status, offset_ns, create_ns, run_ns,
                wall_ns, cpu_ns, cycles, memory_peak_bytes, memory_allocated_bytes)
             SELECT ?1, i, 'ok', i * 1000000, 500000, 100000 + i, 600000 + i, 100000, 3 * i,
                1000000, 134217728 FROM n",
            [cell, count],
        )
        .expect("filled");
}

#[test]
fn recorders_and_a_replay_beside_each_other_keep_everything() {
    let place = Place::new();
    fixture::empty(&place);
    fill(&other(&place), 1, 6_000);
    let models = ["--model", "aws-lambda-x86,aws-lambda-arm"];
    let replay = place.spawn(&[&["replay", "1", "--bills", "all"][..], &models].concat());
    let recorders: Vec<Child> =
        (0..4).map(|_| record(&place, "50").spawn().expect("started")).collect();
    for recorder in recorders {
        let run = end(recorder);
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    let run = end(replay);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for recording in 2..=5 {
        is_whole(&place, recording, 50);
    }
    // 6,000 invocations under two models; the headline of each recording has its
    // own simulation.
    let sql = "SELECT COUNT(*) FROM v_bill WHERE recording = 1";
    assert_eq!(numbers(&place.open(), sql), [12_000]);
}

#[test]
fn recorders_that_make_the_database_together_all_succeed() {
    let place = Place::new();
    let recorders: Vec<Child> =
        (0..4).map(|_| record(&place, "2").spawn().expect("started")).collect();
    for recorder in recorders {
        let run = end(recorder);
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    for recording in 1..=4 {
        is_whole(&place, recording, 2);
    }
}

#[test]
fn programs_that_migrate_a_database_together_all_succeed() {
    for _ in 0..5 {
        let place = Place::new();
        let old = Connection::open(place.db()).expect("made");
        old.execute_batch(include_str!("../../../db/migrations/20261121060000_first_schema.sql"))
            .expect("the first schema");
        // "cycm", as every cyclometer has marked its files.
        old.execute_batch("PRAGMA application_id = 0x6379636d; PRAGMA user_version = 1")
            .expect("marked");
        drop(old);
        let programs: Vec<Child> = (0..4).map(|_| place.spawn(&["history"])).collect();
        for program in programs {
            let run = end(program);
            assert_eq!(run.code, 0, "{}", run.stderr);
        }
        let version = numbers(&place.open(), "PRAGMA user_version")[0];
        assert!(version >= 9, "{version}");
    }
}

#[test]
fn bills_are_stored_in_turns_and_nobody_sees_a_part_of_them() {
    let place = Place::new();
    fixture::empty(&place);
    let connection = other(&place);
    fill(&connection, 1, 40_000);
    let mut replay = place.spawn(&["replay", "1", "--model", "all", "--bills", "all"]);
    until(&connection, "SELECT COUNT(*) FROM bill", 1);
    // Who writes beside it has the lock within the usual time.
    connection.busy_timeout(Duration::from_secs(3)).expect("set");
    let (mut turns, mut longest) = (0, Duration::ZERO);
    while replay.try_wait().expect("known").is_none() && turns < 20 {
        let begun = Instant::now();
        connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK").expect("a turn");
        longest = longest.max(begun.elapsed());
        turns += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(turns >= 2, "it was over before anybody could ask");
    assert!(longest < Duration::from_secs(3), "{longest:?}");
    let seen = "SELECT (SELECT COUNT(*) FROM v_bill) + (SELECT COUNT(*) FROM v_line_item)
                + (SELECT COUNT(*) FROM v_simulation WHERE models IS NOT NULL)";
    assert_eq!(numbers(&connection, seen), [0]);
    replay.kill().expect("killed");
    end(replay);
    let left = numbers(&connection, "SELECT COUNT(*) FROM bill")[0];
    assert!(left > 0);
    drop(connection);

    // What it had begun is taken back by the next one.
    let history = place.ok(&["history", "--format", "json"]);
    assert!(!history.stdout.contains("aws-lambda"), "{}", history.stdout);
    let rows = "SELECT (SELECT COUNT(*) FROM bill) + (SELECT COUNT(*) FROM simulation)";
    assert_eq!(numbers(&place.open(), rows), [0]);
}

#[test]
fn a_simulation_whose_recording_is_deleted_meanwhile_leaves_nothing() {
    let place = Place::new();
    fixture::empty(&place);
    let connection = other(&place);
    connection.execute_batch("PRAGMA foreign_keys = ON").expect("set");
    fill(&connection, 1, 40_000);
    let replay = place.spawn(&["replay", "1", "--model", "all", "--bills", "all"]);
    until(&connection, "SELECT COUNT(*) FROM bill", 1);
    connection.execute_batch("DELETE FROM recording").expect("deleted");
    let run = end(replay);
    assert!(run.stderr.contains("the simulation is not kept"), "{}", run.stderr);
    let rows = "SELECT (SELECT COUNT(*) FROM bill) + (SELECT COUNT(*) FROM simulation)";
    assert_eq!(numbers(&connection, rows), [0]);
}

/// Runs the program in a shell that has limited its open files.
fn limited(place: &Place, limits: &str, args: &str) -> Run {
    let script = format!("{limits}; exec {PROGRAM} {args}");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).env("CYCLOMETER_DB", place.db()).stdin(Stdio::null());
    Run::of(&command.output().expect("a shell"))
}

const WASM: &str = "wasmtime,wasmtime:winch,wasmtime:fuel,wasmtime:epoch,wasmtime:ondemand";

#[test]
fn a_plan_that_needs_more_open_files_than_there_may_be_is_refused_with_their_number() {
    let place = Place::new();
    let plan =
        format!("record --workload nop,wait,nbody,memory-burst,mandelbrot --lane {WASM} --runs 1");
    let run = limited(&place, "ulimit -n 200", &plan);
    assert_eq!(run.code, 1, "{}", run.stderr);
    let (_, number) = run.stderr.split_once("`ulimit -n ").expect("what to do");
    let needed: u32 = number.split('`').next().unwrap_or("").parse().expect("a number");
    assert!(needed > 200 && needed < 2_000, "{needed}");
    assert_eq!(numbers(&place.open(), "SELECT COUNT(*) FROM recording"), [0]);
    // Fewer do with that.
    let few = "record --workload nop --lane native,wasmtime --runs 2";
    let run = limited(&place, "ulimit -n 200", few);
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn a_low_soft_limit_is_raised_for_the_recorder_and_not_for_functions() {
    let place = Place::new();
    let source = "#include <sys/resource.h>
        int main(void) {
            struct rlimit limit;
            return getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur != 77 || limit.rlim_max != 1000;
        }";
    let Some(program) = compile(&place, "files", source) else { return };
    let manifest = "title = \"files\"\nstresses = \"nothing\"\nnative = \"p\"\n[preset.quick]\n";
    place.write("w/files/workload.toml", manifest);
    std::fs::copy(program, place.path().join("w/files/p")).expect("copied");
    let folder = place.path().join("w");
    let plan = format!(
        "record --workloads {} --workload files,nop,wait --lane native,{WASM} --runs 2",
        folder.display()
    );
    let run = limited(&place, "ulimit -Sn 77; ulimit -Hn 1000", &plan);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let failed = "SELECT reason FROM v_invocation WHERE status <> 'ok'";
    assert_eq!(column(&place.open(), failed), Vec::<String>::new());
}

/// The usual default: a soft limit below the hard one. The launcher's own limits are
/// not changed then, and no run is taken for one that did.
#[test]
fn a_low_soft_limit_makes_no_function_an_attacker() {
    let place = Place::new();
    let lanes = ["native", "runc", "wasmtime-cli"];
    for lane in lanes {
        let plan =
            format!("record --workload nop,wait --lane {lane} --start cold --runs 3 --warmup 0");
        let run = limited(&place, "ulimit -Sn 1024", &plan);
        if lane != "native" && run.code != 0 && run.stderr.contains("unavailable") {
            eprintln!("skipped: {lane}: {}", run.stderr);
            continue;
        }
        assert_eq!(run.code, 0, "{lane}: {}", run.stderr);
    }
    // The first run of each lane included.
    let said = "SELECT lane || ': ' || status || ': ' || COALESCE(reason, '') FROM v_invocation
        WHERE status <> 'ok' OR reason IS NOT NULL";
    assert_eq!(column(&place.open(), said), Vec::<String>::new());
    let runs = "SELECT COUNT(*) FROM v_invocation WHERE lane = 'native'";
    assert_eq!(numbers(&place.open(), runs), [6]);
}

/// Makes workloads of one program, each with its mode as argument; `None`: no compiler.
fn workloads_of(place: &Place, source: &str, modes: &[&str]) -> Option<String> {
    let program = compile(place, "modes", source)?;
    for mode in modes {
        let manifest = format!(
            "title = \"{mode}\"\nstresses = \"nothing\"\nnative = \"p\"\n\n[limits]\n\
             output = \"1MiB\"\n\n[preset.quick]\nargs = [\"{mode}\"]\n"
        );
        place.write(&format!("w/{mode}/workload.toml"), manifest);
        std::fs::copy(&program, place.path().join(format!("w/{mode}/p"))).expect("copied");
    }
    Some(place.path().join("w").display().to_string())
}

/// Records each once or more in the native lane.
fn record_modes(place: &Place, folder: &str, modes: &[&str], more: &[&str]) -> Run {
    let mut args = vec!["record", "--workloads", folder, "--lane", "native", "--start", "cold"];
    let names = modes.join(",");
    args.extend(["--workload", &names, "--warmup", "0"]);
    args.extend(more);
    place.run(&args)
}

/// What a mode came to.
fn end_of(place: &Place, mode: &str) -> String {
    let sql = format!(
        "SELECT DISTINCT status || ': ' || COALESCE(reason, '') FROM v_invocation
         WHERE workload = '{mode}'"
    );
    column(&place.open(), &sql).join(" / ")
}

#[test]
fn only_output_at_its_limit_is_told_as_such() {
    let place = Place::new();
    let source = r#"#define _GNU_SOURCE
        #include <signal.h>
        #include <string.h>
        #include <fcntl.h>
        #include <unistd.h>
        static char block[1 << 16];
        static void fill(int file) { while (write(file, block, sizeof block) > 0) { } }
        int main(int count, char **args) {
            if (!strcmp(args[1], "raises")) raise(SIGXFSZ);
            if (!strcmp(args[1], "elsewhere")) {
                fill(open("/dev/shm", O_TMPFILE | O_RDWR, 0600));
                return 9;
            }
            if (!strcmp(args[1], "ignores")) signal(SIGXFSZ, SIG_IGN);
            fill(1);
            return 3;
        }"#;
    let modes = ["raises", "elsewhere", "ignores", "fills"];
    let Some(folder) = workloads_of(&place, source, &modes) else { return };
    let run = record_modes(&place, &folder, &modes, &["--runs", "1"]);
    for mode in ["raises", "elsewhere"] {
        let end = end_of(&place, mode);
        assert!(end.starts_with("failed: killed by SIGXFSZ, "), "{mode}: {end} {}", run.stderr);
        assert!(!end.contains("output limit"), "{mode}: {end}");
    }
    let end = end_of(&place, "ignores");
    assert_eq!(end, "failed: exit code 3; its output is at the output limit of 1.00 MiB");
    assert_eq!(end_of(&place, "fills"), "failed: wrote more than the output limit of 1.00 MiB");
}

#[test]
fn what_a_run_that_ended_well_left_is_told_once() {
    let place = Place::new();
    let source = "#include <unistd.h>
        int main(void) {
            for (int i = 0; i < 5; i++) if (fork() == 0) { pause(); _exit(0); }
            return 0;
        }";
    let modes = ["leaves"];
    let Some(folder) = workloads_of(&place, source, &modes) else { return };
    let run = record_modes(&place, &folder, &modes, &["--runs", "4"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let line = "4 x leaves in native, cold: ok, but: left 5 process(es) behind, which were killed";
    assert_eq!(run.stderr.matches(line).count(), 1, "{}", run.stderr);
    assert_eq!(run.stderr.matches("process(es) behind").count(), 1, "{}", run.stderr);
    let shown = place.ok(&["history", "show"]);
    assert_eq!(shown.stderr.matches(line).count(), 1, "{}", shown.stderr);
}

#[test]
fn a_limit_that_cannot_be_set_is_named_with_what_there_is_and_what_to_do() {
    let place = Place::new();
    if !nix::unistd::geteuid().is_root() || has_no_setpriv() {
        return cyclometer_testkit::skip("needs root and `setpriv`, to do without a capability");
    }
    let without = "exec setpriv --inh-caps=-all --bounding-set=-sys_resource";
    let run = |memory: &str| {
        let script = format!(
            "ulimit -d 60000; {without} {PROGRAM} record --workload nop --lane native \
             --start cold --runs 1 --warmup 0 --memory {memory}"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env("CYCLOMETER_DB", place.db()).stdin(Stdio::null());
        Run::of(&command.output().expect("a shell"))
    };
    let refused = run("128MiB");
    // 60000 KiB are 58.6 MiB.
    for told in [
        "its limit of private memory (RLIMIT_DATA) cannot be set to 128 MiB: Operation not",
        "the hard limit here is 58.6 MiB (`ulimit -Hd`): raise that, which takes root, or take a \
         smaller --memory",
    ] {
        assert!(refused.stderr.contains(told), "{told}: {}", refused.stderr);
    }
    let smaller = run("32MiB");
    assert_eq!(smaller.code, 0, "{}", smaller.stderr);
}

fn has_no_setpriv() -> bool {
    let found = Command::new("setpriv").arg("--version").stdout(Stdio::null()).status();
    !found.is_ok_and(|status| status.success())
}
