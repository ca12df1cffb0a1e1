//! Quotas, memory and CPU time of families of processes.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cyclometer::meter::function_group::FunctionGroup;
use cyclometer::meter::own_groups::OwnGroups;
use cyclometer_testkit::skip;

use crate::common::{PROGRAM, Place, Run, column, compile, numbers};

/// An account without any rights, on every system.
const NOBODY: u32 = 65_534;

/// Compiles a program of `programs/` as a workload of that name.
fn make_workload(place: &Place, name: &str) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/all/programs/{name}.c"));
    let source = std::fs::read_to_string(path).expect("a program");
    let Some(program) = compile(place, name, &source) else { return false };
    let manifest = format!(
        "title = \"{name}\"\nstresses = \"metering\"\nnative = \"program\"\n\
         [limits]\nmemory = \"128MiB\"\ntimeout = \"60s\"\n[preset.quick]\n"
    );
    place.write(&format!("w/{name}/workload.toml"), manifest);
    std::fs::copy(program, place.path().join(format!("w/{name}/program"))).expect("copied");
    true
}

fn arguments<'a>(folder: &'a str, name: &'a str) -> Vec<&'a str> {
    let runs = ["--lane", "native", "--start", "cold", "--runs", "2", "--warmup", "0"];
    [&["record", "--workloads", folder, "--workload", name], &runs[..]].concat()
}

/// Records two cold native runs of a program of `programs/`.
fn record(place: &Place, name: &str) -> Option<Run> {
    if !make_workload(place, name) {
        return None;
    }
    let folder = place.path().join("w").display().to_string();
    Some(place.run(&arguments(&folder, name)))
}

/// Whether functions get control groups here; says so if not.
fn has_groups() -> bool {
    FunctionGroup::create().map_err(|error| skip(&error.to_string())).is_ok()
}

fn values(place: &Place, expression: &str) -> Vec<i64> {
    numbers(&place.open(), &format!("SELECT {expression} FROM v_invocation"))
}

fn source(place: &Place, meter: &str) -> Vec<String> {
    let sql = format!(
        "SELECT COALESCE(source, 'none') || ': ' || note FROM v_meter_source WHERE meter = '{meter}'"
    );
    column(&place.open(), &sql)
}

#[test]
fn shared_memory_and_files_in_memory_are_under_the_limit() {
    if !has_groups() {
        return;
    }
    for name in ["shared_memory", "memory_file"] {
        let place = Place::new();
        let Some(run) = record(&place, name) else { return };
        assert_eq!(run.code, 1, "{name}: {}", run.stderr);
        let ends = column(&place.open(), "SELECT status || ': ' || reason FROM v_invocation");
        assert_eq!(ends.len(), 2);
        for end in ends {
            let told = end.starts_with("failed: out of memory: over its memory limit of 128 MiB");
            assert!(told, "{name}: {end}");
        }
    }
}

#[test]
fn the_peak_of_a_family_is_that_of_all_its_processes() {
    if !has_groups() {
        return;
    }
    let place = Place::new();
    let Some(run) = record(&place, "family") else { return };
    assert_eq!(run.code, 0, "{}", run.stderr);
    // 5 processes x 20 MiB, written in full; the rest is code, stacks, page tables.
    let held = 5 * (20 << 20);
    for peak in values(&place, "memory_peak_bytes") {
        assert!((held..held + held / 20).contains(&peak), "{peak} bytes, but {held} were held");
    }
    assert!(source(&place, "memory_peak")[0].starts_with("cgroup: "));
    // Counters lose a fifth of the CPU time of such a family on some kernels.
    for gap in values(&place, "abs(cpu_ns - cpu_user_ns - cpu_system_ns) * 100 / cpu_ns") {
        assert!(gap <= 5, "the parts are {gap} % off the whole");
    }
}

#[test]
fn the_peak_of_one_process_is_exact() {
    let place = Place::new();
    place.ok(&["record", "--workload", "nop", "--lane", "native", "--runs", "3", "--warmup", "0"]);
    // A static program of 667 KiB that does nothing; a control group would add
    // batches of pages and what the launcher holds.
    for peak in values(&place, "memory_peak_bytes") {
        assert!((100 << 10..1 << 20).contains(&peak), "{peak}");
    }
    assert!(source(&place, "memory_peak")[0].starts_with("rusage: "));
}

#[test]
fn cpu_time_of_orphans_has_a_user_and_a_system_part() {
    let place = Place::new();
    let Some(run) = record(&place, "orphan") else { return };
    assert_eq!(run.code, 0, "{}", run.stderr);
    // The orphan stops by its own clock at 200 ms.
    for time in values(&place, "cpu_user_ns + cpu_system_ns") {
        assert!(time >= 198_000_000, "{time} ns of 200 ms");
    }
    for time in values(&place, "cpu_user_ns") {
        assert!(time > 100_000_000, "{time} ns, but it hardly enters the kernel");
    }
    for gap in values(&place, "abs(cpu_ns - cpu_user_ns - cpu_system_ns) * 100 / cpu_ns") {
        assert!(gap <= 15, "the parts are {gap} % off the whole");
    }
    let left = column(&place.open(), "SELECT reason FROM v_invocation");
    assert_eq!(left[0], "left 1 process(es) behind, which were killed", "not the one that ended");
}

#[test]
fn cpu_time_that_the_kernel_forgets_is_in_the_account_of_the_group() {
    if !has_groups() {
        return;
    }
    let place = Place::new();
    let Some(run) = record(&place, "ignored_child") else { return };
    assert_eq!(run.code, 0, "{}", run.stderr);
    for time in values(&place, "cpu_ns") {
        assert!(time >= 198_000_000, "{time} ns of 200 ms");
    }
    // The group counts ticks of up to 10 ms.
    for time in values(&place, "cpu_user_ns + cpu_system_ns") {
        assert!(time >= 150_000_000, "{time} ns of 200 ms");
    }
}

#[test]
fn without_a_group_the_peak_of_a_family_is_missing_and_said() {
    if !nix::unistd::geteuid().is_root() {
        return skip("needs root, to become somebody without rights");
    }
    let place = Place::new();
    if !make_workload(&place, "family") || !make_workload(&place, "orphan") {
        return;
    }
    // A folder of theirs, with the program, which they may not find where it is.
    let own = place.path().join("own");
    std::fs::create_dir(&own).expect("made");
    let program = own.join("cyclometer");
    std::fs::copy(PROGRAM, &program).expect("copied");
    for path in [place.path(), &own] {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("given away");
    }
    let folder = place.path().join("w").display().to_string();
    let record = |name: &str| {
        let mut command = Command::new(&program);
        command.args(arguments(&folder, name)).env_clear().current_dir("/").uid(NOBODY).gid(NOBODY);
        command.env("CYCLOMETER_DB", place.db()).env("HOME", &own).env("XDG_CACHE_HOME", &own);
        let run = Run::of(&command.output().expect("the program starts"));
        assert_eq!(run.code, 0, "{name}: {}", run.stderr);
    };
    record("family");
    let peaks = column(&place.open(), "SELECT memory_peak_bytes FROM v_invocation");
    assert_eq!(peaks, ["NULL", "NULL"]);
    let why = source(&place, "memory_peak");
    assert!(why.iter().any(|it| it.starts_with("none: it had several processes")), "{why:?}");
    record("nop");
    let sql = "SELECT memory_peak_bytes FROM v_invocation WHERE workload = 'nop'";
    assert!(numbers(&place.open(), sql).iter().all(|peak| *peak > 100 << 10));
    record("orphan");
    let sql = "SELECT cpu_user_ns + cpu_system_ns FROM v_invocation WHERE workload = 'orphan'";
    assert!(numbers(&place.open(), sql).iter().all(|time| *time >= 198_000_000));
}

#[test]
fn what_was_used_before_run_is_no_part_of_the_cpu_time() {
    let place = Place::new();
    place.ok(&["record", "--workload", "nop", "--lane", "native", "--runs", "3", "--warmup", "0"]);
    let source = source(&place, "cpu_startup");
    let startup = values(&place, "cpu_startup_ns");
    if source[0].starts_with("perf:sw: ") {
        assert_eq!(startup, [0; 3], "counters are switched on by exec");
    } else {
        assert!(source[0].starts_with("clock: "), "{source:?}");
        assert!(startup.iter().all(|time| (1..50_000_000).contains(time)), "{startup:?}");
    }
}

/// A control group with a CPU quota, inside of this process' own.
struct Limited {
    folder: PathBuf,
}

impl Limited {
    /// A tenth of a CPU, in periods of 100 ms: less than other work on the machine
    /// leaves.
    fn create() -> Option<Self> {
        let groups = OwnGroups::for_this_process().ok()?;
        let own = groups.cpu.as_ref().or(groups.unified.as_ref())?;
        let folder = own.directory.join(format!("trial-{}", std::process::id()));
        std::fs::create_dir(&folder).ok()?;
        let limited = Self { folder };
        let write = |name: &str, value: &str| std::fs::write(limited.folder.join(name), value);
        let set = if groups.cpu.is_some() {
            write("cpu.cfs_period_us", "100000").and_then(|()| write("cpu.cfs_quota_us", "10000"))
        } else {
            write("cpu.max", "10000 100000")
        };
        set.is_ok().then_some(limited)
    }

    fn run(&self, place: &Place, args: &[&str]) -> Run {
        let procs = self.folder.join("cgroup.procs");
        let script = format!("echo $$ > {} && exec \"$@\"", procs.display());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script, "sh", PROGRAM]).args(args).env("CYCLOMETER_DB", place.db());
        Run::of(&command.output().expect("a shell"))
    }

    /// Time throttled in nanoseconds, by the kernel's own file.
    fn throttled(&self) -> i64 {
        let text = std::fs::read_to_string(self.folder.join("cpu.stat")).expect("its figures");
        let find = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        let nanos = find("throttled_time ").map(|it| it.parse::<i64>().expect("a number"));
        let micros = || find("throttled_usec ").expect("one of them").parse::<i64>();
        nanos.unwrap_or_else(|| micros().expect("a number") * 1_000)
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        for _ in 0..100 {
            if std::fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_cpu_quota_is_told_recorded_and_warned_of() {
    let Some(limited) = Limited::create() else {
        return skip("no control group with a CPU quota can be made");
    };
    // Compiles outside of the group, which would take long inside.
    Place::new().ok(&["record", "--workload", "nbody", "--lane", "wasmtime", "--runs", "1"]);
    let place = Place::new();
    let record = ["record", "--workload", "nbody", "--runs", "3", "--warmup", "0"];
    for (lane, start) in [("native", "cold"), ("wasmtime", "warm")] {
        let args = [&record[..], &["--lane", lane, "--start", start]].concat();
        let run = limited.run(&place, &args);
        assert_eq!(run.code, 0, "{}", run.stderr);
        let quota = "throttled by a CPU quota of 0.1 CPUs (cgroup ";
        assert!(run.stderr.contains(quota), "{lane}: {}", run.stderr);
        assert!(place.ok(&["history", "show"]).stderr.contains(quota), "{lane}");
        assert!(place.ok(&["replay"]).stderr.contains(quota), "{lane}");
    }
    // 100 ms of CPU time cannot be had in one period. The kernel's file also has
    // what was between the invocations.
    let times = values(&place, "throttled_ns");
    assert!(times.iter().all(|time| *time > 0), "{times:?}");
    assert!(times.iter().sum::<i64>() <= limited.throttled(), "{times:?}");
    let doctor = limited.run(&place, &["doctor", "--format", "json"]).json();
    let rows = doctor.as_array().expect("rows");
    let row = rows.iter().find(|row| row["check"] == "CPU quota").expect("a row");
    assert_eq!(row["state"], "warning", "{row}");
    assert!(row["found"].as_str().is_some_and(|it| it.starts_with("0.1 CPUs")), "{row}");
}

#[test]
fn a_cpu_share_is_enforced_kept_and_told_as_one() {
    if let Err(error) = probe_cpu_share() {
        return skip(&error);
    }
    let place = Place::new();
    let record = ["record", "--workload", "nbody", "--lane", "native,wasmtime", "--runs", "2"];
    let run = place.ok(&[&record[..], &["--cpus", "0.1"]].concat());
    let told = "more cells: a share of 0.1 CPUs, which held back ";
    assert!(run.stderr.contains(told), "{}", run.stderr);
    assert!(!run.stderr.contains("throttled by"), "it is no disturbance: {}", run.stderr);
    assert_eq!(values(&place, "vcpu_allocated_milli"), [100; 6]);
    let (cpu, wall) = (values(&place, "cpu_ns"), values(&place, "wall_ns"));
    for (cpu, wall) in cpu.iter().zip(&wall) {
        // A tenth of the time; a quota at the start, and ticks of two CPUs.
        assert!(*cpu <= wall / 10 + 16_000_000, "{cpu} ns in {wall} ns");
    }
    let throttled = values(&place, "throttled_ns");
    assert!(throttled.iter().any(|time| *time > 0), "{throttled:?}");
    let memory = ["--memory", "128MiB", "--cpu-by-memory", "aws"];
    let run = place.ok(&[&record[..4], &["native", "--runs", "1"], &memory].concat());
    assert!(run.stderr.contains("a share of 0.072 CPUs"), "{}", run.stderr);
    let run = place.ok(&["record", "--workload", "nop", "--lane", "native", "--runs", "1"]);
    assert!(run.stderr.contains("functions had whole CPUs"), "{}", run.stderr);
}

/// Checks that a group for functions can be held to a share.
fn probe_cpu_share() -> Result<(), String> {
    use cyclometer::meter::{function_group::FunctionGroup, quota::CpuLimit};
    let limit = CpuLimit::from_thousandths(100);
    let limited = FunctionGroup::create().and_then(|group| group.limit_cpu(Some(limit)));
    limited.map_err(|error| error.to_string())
}

#[test]
fn a_cpu_share_that_cannot_be_had_is_refused_before_any_work() {
    let place = Place::new();
    let record = ["record", "--workload", "nop", "--lane", "native", "--runs", "1"];
    for (args, reason) in [
        (&["--cpus", "0"][..], "`0` is no number of CPUs"),
        (&["--cpus", "-1"], "`-1` is no number of CPUs"),
        (&["--cpus", "100000"], "a share of 100000 CPUs is more than the "),
        (&["--cpus", "1", "--cpu-by-memory", "aws"], "cannot be used with"),
        (&["--cpu-by-memory", "azure", "--memory", "5GiB"], "has no functions of 5120 MiB"),
    ] {
        let run = place.run(&[&record[..], args].concat());
        assert_eq!(run.code, 2, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(reason), "{args:?}: {}", run.stderr);
    }
    let Some(limited) = Limited::create() else {
        return skip("no control group with a CPU quota can be made");
    };
    let run = limited.run(&place, &[&record[..], &["--cpus", "0.5"]].concat());
    assert_eq!(run.code, 2, "{}", run.stderr);
    let reason = "a CPU quota of 0.1 CPUs (cgroup ";
    assert!(run.stderr.contains(reason), "{}", run.stderr);
    let doctor = limited.run(&place, &["doctor", "--format", "json"]).json();
    let rows = doctor.as_array().expect("rows");
    let row = rows.iter().find(|row| row["check"] == "CPU shares").expect("a row");
    assert_eq!(row["state"], "ok", "{row}");
}

#[test]
fn without_a_quota_nothing_is_throttled_and_nothing_said() {
    let place = Place::new();
    let run = place.ok(&["record", "--workload", "nop", "--lane", "native", "--runs", "3"]);
    if cyclometer::meter::quota::find_cpu_quota().is_ok_and(|quota| quota.is_none()) {
        assert_eq!(values(&place, "throttled_ns"), [0; 3]);
    }
    assert!(!run.stderr.contains("throttled"), "{}", run.stderr);
}

/// The control groups of the process with that id.
fn groups_of(pid: u32) -> Vec<PathBuf> {
    fn walk(folder: &Path, prefix: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().starts_with(prefix) {
                    found.push(entry.path());
                }
                walk(&entry.path(), prefix, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), &format!("cyclometer-{pid}-"), &mut found);
    found
}

#[test]
fn groups_of_a_recorder_that_was_killed_are_removed_at_the_next_start() {
    if !has_groups() {
        return;
    }
    let place = Place::new();
    let wait = ["record", "--workload", "wait", "--lane", "native", "--runs", "1000"];
    let mut recorder = place.spawn(&wait);
    let until = Instant::now() + Duration::from_secs(30);
    while groups_of(recorder.id()).is_empty() {
        assert!(Instant::now() < until, "no group was made");
        std::thread::sleep(Duration::from_millis(20));
    }
    recorder.kill().expect("killed");
    recorder.wait().expect("gone");
    // What it ran goes with it, and leaves the groups empty.
    std::thread::sleep(Duration::from_millis(300));
    place.ok(&["record", "--workload", "nop", "--lane", "native", "--runs", "1"]);
    assert_eq!(groups_of(recorder.id()), Vec::<PathBuf>::new());
}
