//! From a recording in the database to the kept simulation, against `SQLite`'s
//! own sums over the same file. Each run is a process of its own, so that peak
//! memory is that of one replay.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use cyclometer::pricing::Exact;
use cyclometer::store::{BillRetention, ReplayPlan, Store};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::unistd::Pid;
use rusqlite::{Connection, Transaction, params};

use super::rows::{Random, Row};
use super::{POSITIONS, common, in_units, models, same};

pub const ROWS: usize = 2_000_000;

/// Each kind as often as the others, in turns.
const ROUNDS: usize = 5;

const CELLS: u64 = 8;

const TARGET_SECONDS: f64 = 3.0;

/// What `exact.sql` sums in memory, as an `SQLite` program would.
const SQL: &str = "
    SELECT count(*),
        sum((max(memory_allocated_bytes, 134217728) + 1048575) / 1048576
            * ((coalesce(start_ns, 0) + run_ns + 999999) / 1000000)),
        sum(CASE WHEN memory_allocated_bytes <= 134217728 THEN 125
                 WHEN memory_allocated_bytes <= 268435456 THEN 250
                 WHEN memory_allocated_bytes <= 536870912 THEN 500
                 WHEN memory_allocated_bytes <= 1073741824 THEN 1000
                 WHEN memory_allocated_bytes <= 2147483648 THEN 2000
                 WHEN memory_allocated_bytes <= 4294967296 THEN 4000
                 WHEN memory_allocated_bytes <= 8589934592 THEN 8000 END
            * ((run_ns + 99999999) / 100000000)),
        sum(CASE WHEN memory_allocated_bytes <= 134217728 THEN 2
                 WHEN memory_allocated_bytes <= 268435456 THEN 4
                 WHEN memory_allocated_bytes <= 536870912 THEN 8
                 WHEN memory_allocated_bytes <= 1073741824 THEN 14
                 WHEN memory_allocated_bytes <= 2147483648 THEN 24
                 WHEN memory_allocated_bytes <= 8589934592 THEN 48 END
            * ((run_ns + 99999999) / 100000000)),
        sum((min(max(memory_peak_bytes, 134217728), 1610612736) + 134217727) / 134217728
            * ((max(run_ns, 100000000) + 999999) / 1000000)),
        sum(coalesce(cycles, ref_cycles)),
        sum(cpu_ns)
    FROM invocation
    WHERE cell_id IN (SELECT id FROM cell WHERE recording_id = 1)
        AND status IN ('ok', 'failed', 'timeout') AND wall_ns IS NOT NULL";

const INSERT: &str = "
    INSERT INTO invocation (cell_id, sequence, status, reason, exit_code, offset_ns, create_ns,
        start_ns, run_ns, teardown_ns, wall_ns, cpu_ns, cpu_user_ns, cpu_system_ns, cycles,
        ref_cycles, instructions, branch_misses, cache_misses, wasm_ops, page_faults,
        context_switches, migrations, memory_peak_bytes, linear_memory_bytes,
        memory_allocated_bytes, memory_time_byte_ms, io_read_bytes, io_write_bytes, output_bytes,
        counter_coverage_ppm)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,
        ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31)";

/// A recording with every column that a lane fills, cells in turns.
fn generate(path: &Path, rows: usize) -> rusqlite::Result<()> {
    drop(Store::open(path).expect("a database"));
    let mut connection = Connection::open(path)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(
        "INSERT INTO recording (id, started_at, ended_at, status, owner, plan, host)
            VALUES (1, '2026-11-21T00:00:00Z', '2026-11-21T12:00:00Z', 'done', '1-1-0', '{}', '{}');
         INSERT INTO lane (id, recording_id, name) VALUES (1, 1, 'native'), (2, 1, 'wasmtime');",
    )?;
    for cell in 0..CELLS {
        let workload = if cell & 2 == 0 { "nbody" } else { "json" };
        let start = if cell & 1 == 0 { "cold" } else { "warm" };
        let preset = if cell & 4 == 0 { "quick" } else { "second" };
        transaction.execute(
            "INSERT INTO cell (id, recording_id, lane_id, workload, preset, start)
             VALUES (?1, 1, ?2, ?3, ?4, ?5)",
            params![integer(cell + 1), integer(1 + cell / 4), workload, preset, start],
        )?;
    }
    insert(&transaction, rows)?;
    transaction.commit()?;
    // As a recording that was closed: nothing is left to move into the file.
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
}

/// Status, reason and exit code: some failed, and a few were cut off.
const fn outcome(at: u64) -> (&'static str, Option<&'static str>, Option<i64>) {
    match at {
        it if it % 5_000 == 4_999 => ("interrupted", Some("stopped"), None),
        it if it % 1_000 == 999 => ("failed", Some("exit code 1"), Some(1)),
        _ => ("ok", None, Some(0)),
    }
}

fn insert(transaction: &Transaction<'_>, rows: usize) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare(INSERT)?;
    let mut random = Random(2);
    let mut offset = 0;
    for at in 0..rows as u64 {
        let row = Row::random(&mut random);
        let cell = at % CELLS;
        // Only cold starts have a start; only one lane has a linear memory.
        let start = (cell & 1 == 0).then_some(row.start);
        let wasm = cell / 4 == 1;
        let (status, reason, exit) = outcome(at);
        let (create, teardown) =
            (1_000_000 + random.below(900_000), 100_000 + random.below(90_000));
        let wall = create + start.unwrap_or(0) + row.run;
        let system = row.cpu / 16;
        offset += wall + teardown;
        let integers = [
            Some(row.run),
            Some(teardown),
            Some(wall),
            Some(row.cpu),
            Some(row.cpu - system),
            Some(system),
            Some(row.cycles),
            Some(row.ref_cycles),
            Some(row.cycles + row.cycles / 2),
            Some(row.cycles / 2_000),
            Some(row.cycles / 50_000),
            wasm.then_some(row.cycles / 3),
            Some(200 + random.below(2_000)),
            Some(random.below(30)),
            Some(random.below(3)),
            Some(row.peak),
            wasm.then_some(1 << 20),
            Some(row.memory),
            Some((row.peak >> 1) * (wall / 1_000_000)),
            Some(random.below(1_000) * 4_096),
            Some(random.below(100) * 4_096),
            Some(64),
            Some(1_000_000 - random.below(2) * 250_000),
        ];
        statement.raw_bind_parameter(1, integer(cell + 1))?;
        statement.raw_bind_parameter(2, integer(at / CELLS + 1))?;
        statement.raw_bind_parameter(3, status)?;
        statement.raw_bind_parameter(4, reason)?;
        statement.raw_bind_parameter(5, exit)?;
        let before = [Some(offset), Some(create), start];
        for (at, value) in before.into_iter().chain(integers).enumerate() {
            statement.raw_bind_parameter(6 + at, value.map(integer))?;
        }
        statement.raw_execute()?;
    }
    Ok(())
}

fn integer(value: u64) -> i64 {
    i64::try_from(value).expect("an SQLite integer")
}

/// What a child process prints: seconds of the clock and of CPUs, peak memory
/// in KiB, and the sums.
struct Run {
    seconds: f64,
    cpu: f64,
    peak_mib: f64,
    sums: Vec<Exact>,
}

fn in_child(what: &str, path: &Path, cores: &str) -> Run {
    if what == "replay" {
        // The same replay is not kept twice: this one shall be.
        let connection = Connection::open(path).expect("a database");
        connection.execute_batch("PRAGMA foreign_keys = ON; DELETE FROM simulation").expect("gone");
    }
    let output = Command::new(std::env::current_exe().expect("a name"))
        .args(["sqlite-child", what])
        .arg(path)
        .arg(cores)
        .output()
        .expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let mut words = text.split_whitespace();
    let mut number = || words.next().and_then(|it| it.parse().ok()).expect("a number");
    let (seconds, cpu, kib): (f64, f64, f64) = (number(), number(), number());
    let sums = words.map(|it| it.parse().expect("a fraction")).collect();
    Run { seconds, cpu, peak_mib: kib / 1024.0, sums }
}

/// In the child: `what` over the database, on one CPU or all.
pub fn child(what: &str, path: &str, cores: &str) {
    if cores == "one" {
        // A replay starts a thread for each CPU that it may run on.
        let all = sched_getaffinity(Pid::from_raw(0)).expect("a process has CPUs");
        let allowed = |cpu: &usize| all.is_set(*cpu).unwrap_or(false);
        // The last one: the first is where interrupts go.
        let cpu = (0..CpuSet::count()).rev().find(allowed).expect("one at least");
        let mut one = CpuSet::new();
        one.set(cpu).expect("it is one of them");
        sched_setaffinity(Pid::from_raw(0), &one).expect("a process may give up CPUs");
    }
    let begun = Instant::now();
    let sums = match what {
        "replay" => replayed(Path::new(path)),
        _ => summed(Path::new(path)).expect("sums"),
    };
    let seconds = begun.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|it| it.split_whitespace().next()).expect("a peak");
    let sums: Vec<String> = sums.iter().map(ratio).collect();
    println!("{seconds} {} {peak} {}", cpu_seconds(), sums.join(" "));
}

/// Of this process, which has done nothing else: what others on the machine
/// leave alone.
#[expect(clippy::cast_precision_loss, reason = "microseconds of minutes")]
fn cpu_seconds() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process has used something");
    let micros = |time: TimeVal| (time.tv_sec() * 1_000_000 + time.tv_usec()) as f64;
    (micros(usage.user_time()) + micros(usage.system_time())) / 1e6
}

fn ratio(number: &Exact) -> String {
    number.to_fraction_string().unwrap_or_else(|| number.to_plain_string())
}

fn replayed(path: &Path) -> Vec<Exact> {
    let mut store = Store::open(path).expect("a database");
    // As it is by default for so many: bills of single invocations follow from
    // the recording.
    let plan =
        ReplayPlan { bills: BillRetention::None, ..ReplayPlan::for_recordings(vec![1], models()) };
    let saved = store.replay_and_save(&plan).expect("replayed");
    assert!(!saved.already_saved, "the one before was deleted");
    let overall = saved.summary.overall_group();
    let position = |position: &super::Position| {
        let models = saved.summary.models();
        let index = models.iter().position(|it| it.id == position.model)?;
        let charges = &models[index].charges;
        let charge = charges.iter().position(|(name, _)| **name == *position.charge)?;
        Some(overall.models[index].charges[charge].quantity.clone())
    };
    let all = POSITIONS.iter().map(|it| position(it).expect("the model has it"));
    std::iter::once(Exact::from(overall.invocations)).chain(all).collect()
}

fn summed(path: &Path) -> rusqlite::Result<Vec<Exact>> {
    let connection = Connection::open(path)?;
    connection.query_row(SQL, [], |row| {
        let sums: Result<Vec<String>, _> = (0..=POSITIONS.len())
            .map(|at| row.get::<_, i64>(at).map(|it| it.to_string()))
            .collect();
        Ok(in_units(sums?.iter().map(String::as_str)))
    })
}

/// What [`ROUNDS`] runs of a kind came to.
struct Figures {
    best: f64,
    median: f64,
    cpu: f64,
    peak_mib: f64,
}

impl Figures {
    fn of(runs: &[Run]) -> Self {
        let mut times: Vec<f64> = runs.iter().map(|run| run.seconds).collect();
        let median = common::median(&mut times);
        let least = |least: f64, run: &Run| least.min(run.cpu);
        Self {
            best: times[0],
            median,
            cpu: runs.iter().fold(f64::INFINITY, least),
            peak_mib: runs.iter().fold(0.0, |most, run| most.max(run.peak_mib)),
        }
    }
}

fn measure(path: &Path, kinds: &[(&str, &str)]) -> Vec<Figures> {
    let mut runs: Vec<Vec<Run>> = kinds.iter().map(|_| Vec::new()).collect();
    let mut expected = None;
    for _ in 0..ROUNDS {
        for (runs, (what, cores)) in runs.iter_mut().zip(kinds) {
            let run = in_child(what, path, cores);
            same("replay and SQL", &run.sums, expected.get_or_insert_with(|| run.sums.clone()));
            runs.push(run);
        }
    }
    runs.iter().map(|runs| Figures::of(runs)).collect()
}

pub fn run(rows: usize) {
    let tenth = rows / 10;
    println!("\nfive models over a recording of {rows} invocations in a database");
    let scratch = common::Scratch::new("replay-sqlite");
    let [large, small] = [rows, tenth].map(|rows| {
        let path = scratch.0.join(format!("{rows}.db"));
        generate(&path, rows).expect("a recording");
        path
    });
    let kinds = [("replay", "one"), ("replay", "all"), ("sum", "one")];
    let names =
        ["replayed and kept, one core", "the same, all cores", "SQLite's own sums, one core"];
    let found = measure(&large, &kinds);
    for (name, Figures { best, median, cpu, peak_mib }) in names.iter().zip(&found) {
        println!(
            "{name:<28} {best:>6.2} s, median {median:>5.2} s, CPU {cpu:>5.2} s, \
             peak {peak_mib:>5.1} MiB"
        );
    }
    let met = |met| if met { "met" } else { "NOT MET" };
    let (one, own) = (&found[0], &found[2]);
    println!("{:.2}x the CPU time of SQLite's sums, bills decomposed too", one.cpu / own.cpu);
    println!("target: under {TARGET_SECONDS} s on one core: {}", met(one.median < TARGET_SECONDS));
    let (few, many) = (measure(&small, &kinds[..1])[0].peak_mib, one.peak_mib);
    println!(
        "peak memory, {tenth} and {rows} invocations: {few:.1} and {many:.1} MiB; target: flat: {}",
        met(many < few * 1.25)
    );
}
