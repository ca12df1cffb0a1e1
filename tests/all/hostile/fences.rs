//! Native functions that leave processes behind, or attack their supervisor.
//!
//! Each test that starts something dangerous does so inside of a control group of
//! its own, with a limit of processes, so that a test that fails leaves the
//! machine as it was.

use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cyclometer::meter::own_groups::OwnGroups;
use cyclometer_testkit::skip;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{PROGRAM, Place, Run, column, compile};

/// An account without any rights, on every system.
const NOBODY: u32 = 65_534;

/// More than the program's own limit of a lane, and what the machine can bear.
const MOST: u32 = 1_500;

/// Longest time that a recording of these may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A control group with a limit of processes, inside of this process' own.
struct Pen {
    folder: PathBuf,
}

impl Pen {
    /// Makes one; `None`, said aloud, where that cannot be.
    fn create() -> Option<Self> {
        let groups = OwnGroups::for_this_process().ok()?;
        let made = groups.pids.as_ref().or(groups.unified.as_ref()).and_then(|own| {
            static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
            let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let name = format!("trial-{}-{number}", std::process::id());
            let folder = own.directory.join(name);
            std::fs::create_dir(&folder).ok()?;
            let pen = Self { folder };
            std::fs::write(pen.folder.join("pids.max"), MOST.to_string()).ok().map(|()| pen)
        });
        if made.is_none() {
            skip("no control group can be made that would stop a fork bomb");
        }
        made
    }

    /// The folders of the group and of those that the program made inside.
    fn folders(&self) -> Vec<PathBuf> {
        let nested = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let nested = nested.map(|entry| entry.path()).filter(|path| path.is_dir());
        nested.chain([self.folder.clone()]).collect()
    }

    /// The processes inside.
    fn inside(&self) -> Vec<i32> {
        let read = |folder: PathBuf| std::fs::read_to_string(folder.join("cgroup.procs"));
        let texts = self.folders().into_iter().filter_map(|folder| read(folder).ok());
        let numbers = |text: String| -> Vec<i32> {
            text.lines().filter_map(|line| line.parse().ok()).collect()
        };
        texts.flat_map(numbers).collect()
    }

    /// Whether all inside have ended, within some seconds.
    fn empties(&self) -> bool {
        let until = Instant::now() + Duration::from_secs(20);
        while !self.inside().is_empty() {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// A command of the program, started inside.
    fn command(&self, place: &Place, program: &Path, args: &[&str]) -> Command {
        let procs = self.folder.join("cgroup.procs");
        let script = format!("echo $$ > {} && exec \"$@\"", procs.display());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script, "sh"]).arg(program).args(args);
        command.env("CYCLOMETER_DB", place.db()).stdin(Stdio::null());
        cyclometer_testkit::usual_signals(&mut command);
        command
    }

    /// Runs the program inside; ends it after some time, which is an error.
    fn run(&self, place: &Place, args: &[&str]) -> Run {
        self.finish(self.command(place, Path::new(PROGRAM), args))
    }

    fn finish(&self, mut command: Command) -> Run {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("a shell");
        if !ends(&mut child, PATIENCE) {
            self.clear();
            let output = child.wait_with_output().expect("killed");
            panic!("the recorder hung: {}", String::from_utf8_lossy(&output.stderr));
        }
        Run::of(&child.wait_with_output().expect("it ended"))
    }

    /// Kills all inside, of which none can fork any more.
    fn clear(&self) {
        let _ = std::fs::write(self.folder.join("pids.max"), "0");
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let inside = self.inside();
            if inside.is_empty() || Instant::now() > until {
                return;
            }
            for pid in inside {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        self.clear();
        for _ in 0..200 {
            // What is nested stands before the group itself.
            if self.folders().into_iter().all(|folder| std::fs::remove_dir(folder).is_ok()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn ends(child: &mut Child, time: Duration) -> bool {
    let until = Instant::now() + time;
    while child.try_wait().expect("a child").is_none() {
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Writes workloads that are the program `hostile.c` in those modes; `None`
/// without a compiler.
fn make_workloads(place: &Place, modes: &[&str]) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all/programs/hostile.c");
    let source = std::fs::read_to_string(path).expect("a program");
    let program = compile(place, "hostile", &source)?;
    for mode in modes {
        let manifest = format!(
            "title = \"{mode}\"\nstresses = \"the fence\"\nnative = \"program\"\n\
             [limits]\nmemory = \"256MiB\"\ntimeout = \"3s\"\n[preset.quick]\nargs = [\"{mode}\"]\n"
        );
        place.write(&format!("w/{mode}/workload.toml"), manifest);
        std::fs::copy(&program, place.path().join(format!("w/{mode}/program"))).expect("copied");
    }
    Some(place.path().join("w").display().to_string())
}

const RUNS: [&str; 8] = ["--lane", "native", "--start", "cold", "--runs", "2", "--warmup", "0"];

fn arguments<'a>(folder: &'a str, workloads: &'a str) -> Vec<&'a str> {
    [&["record", "--workloads", folder, "--workload", workloads], &RUNS[..]].concat()
}

/// Status and reason of each invocation of a workload.
fn outcomes(place: &Place, workload: &str) -> Vec<(String, String)> {
    let sql = format!(
        "SELECT status || '|' || COALESCE(reason, '') FROM v_invocation
         WHERE workload = '{workload}'"
    );
    let rows = column(&place.open(), &sql);
    let split = |row: &String| {
        let (status, reason) = row.split_once('|').expect("both");
        (status.to_owned(), reason.to_owned())
    };
    rows.iter().map(split).collect()
}

/// Records two runs of each mode inside of a pen and checks that nothing is left,
/// and that what comes after is sound.
fn record(modes: &[&str]) -> Option<Place> {
    let pen = Pen::create()?;
    let place = Place::new();
    let folder = make_workloads(&place, modes)?;
    let workloads = format!("{},nop", modes.join(","));
    let run = pen.run(&place, &arguments(&folder, &workloads));
    assert!(pen.empties(), "{:?} are left of {modes:?}: {}", pen.inside(), run.stderr);
    let sound = vec![("ok".to_owned(), String::new()); 2];
    assert_eq!(outcomes(&place, "nop"), sound, "after {modes:?}: {}", run.stderr);
    for mode in modes {
        assert_eq!(outcomes(&place, mode).len(), 2, "{mode}: {}", run.stderr);
    }
    Some(place)
}

#[test]
fn a_fork_bomb_whose_parent_returns_ends_with_its_invocation() {
    let modes = ["fork-return", "comet", "comets", "comet-vfork"];
    let Some(place) = record(&modes) else { return };
    for mode in modes {
        for (status, reason) in outcomes(&place, mode) {
            assert_eq!(status, "ok", "{mode}: {reason}");
            assert!(reason.starts_with("left "), "{mode}: {reason}");
            assert!(reason.contains("behind, which were killed"), "{mode}: {reason}");
        }
    }
    // It forks until the limit, long before its parent returns.
    let (_, reason) = &outcomes(&place, "fork-return")[0];
    assert!(reason.contains("over its limit of "), "{reason}");
}

#[test]
fn a_fork_bomb_that_goes_on_is_bounded_and_ends_at_its_limit_of_time() {
    let modes = ["fork", "comet-stay"];
    let Some(place) = record(&modes) else { return };
    for mode in modes {
        for (status, reason) in outcomes(&place, mode) {
            assert_eq!(status, "timeout", "{mode}: {reason}");
            assert!(reason.starts_with("no end within its limit of 3.00 s"), "{mode}: {reason}");
        }
    }
    let (_, reason) = &outcomes(&place, "fork")[0];
    assert!(reason.contains("over its limit of "), "{reason}");
}

#[test]
fn orphans_that_ignore_signals_are_killed_and_counted() {
    let Some(place) = record(&["daemon", "strays"]) else { return };
    for (mode, left) in [("daemon", 1), ("strays", 5)] {
        let reason = format!("left {left} process(es) behind, which were killed");
        assert_eq!(outcomes(&place, mode), vec![("ok".to_owned(), reason); 2], "{mode}");
    }
}

#[test]
fn the_launcher_can_be_neither_stopped_nor_killed() {
    let modes = ["stop-parent", "kill-parent", "kill-parent-stay", "kill-all"];
    let Some(place) = record(&modes) else { return };
    for mode in ["stop-parent", "kill-parent", "kill-all"] {
        let fine = vec![("ok".to_owned(), String::new()); 2];
        assert_eq!(outcomes(&place, mode), fine, "{mode}");
    }
    for (status, reason) in outcomes(&place, "kill-parent-stay") {
        assert_eq!((&*status, &*reason), ("timeout", "no end within its limit of 3.00 s"));
    }
}

#[test]
fn a_launcher_whose_limits_a_function_changed_is_replaced_and_the_attack_told() {
    let Some(place) = record(&["tamper"]) else { return };
    for (status, reason) in outcomes(&place, "tamper") {
        assert_eq!(status, "ok", "{reason}");
        assert!(reason.starts_with("changed limits or priority of its launcher"), "{reason}");
    }
}

/// Starts a recording of a comet inside of a pen, which a signal then ends.
fn ends_with_the_recorder(signal: Signal) {
    let Some(pen) = Pen::create() else { return };
    let place = Place::new();
    let modes = ["comet-stay", "kill-parent-stay"];
    let Some(folder) = make_workloads(&place, &modes) else { return };
    for mode in modes {
        let mut command = pen.command(&place, Path::new(PROGRAM), &arguments(&folder, mode));
        cyclometer_testkit::usual_signals(&mut command);
        let mut recorder =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell");
        // Until it runs: the recorder, two processes of the launcher, the function.
        let until = Instant::now() + PATIENCE;
        while !pen.inside().iter().any(|pid| is_named(*pid, mode)) {
            assert!(Instant::now() < until, "{mode} was not started");
            std::thread::sleep(Duration::from_millis(5));
        }
        // Until it has done what it is there for.
        std::thread::sleep(Duration::from_millis(500));
        let pid = Pid::from_raw(i32::try_from(recorder.id()).expect("a pid"));
        kill(pid, signal).expect("it runs, or has ended and was not waited for");
        assert!(ends(&mut recorder, PATIENCE), "{signal} does not end it");
        assert!(pen.empties(), "{:?} outlive {signal} of the recorder", pen.inside());
    }
}

fn is_named(pid: i32, name: &str) -> bool {
    let process = procfs::process::Process::new(pid).and_then(|process| process.cmdline());
    process.is_ok_and(|line| line.first().is_some_and(|it| it == name))
}

#[test]
fn killing_the_recorder_ends_all_that_it_started() {
    ends_with_the_recorder(Signal::SIGKILL);
}

#[test]
fn interrupting_the_recorder_ends_all_that_it_started() {
    ends_with_the_recorder(Signal::SIGINT);
}

#[test]
fn recorder_and_launcher_are_out_of_reach_of_a_function() {
    let Some(place) = record(&["reach", "forge", "root"]) else { return };
    for mode in ["reach", "forge", "root"] {
        let fine = vec![("ok".to_owned(), String::new()); 2];
        assert_eq!(outcomes(&place, mode), fine, "{mode}");
    }
}

#[test]
fn descriptors_of_the_caller_reach_no_function() {
    let place = Place::new();
    let Some(folder) = make_workloads(&place, &["descriptors"]) else { return };
    let file = std::fs::File::open("/etc/passwd").expect("there");
    // Above all that the recorder opens, and handed on.
    let script = format!("exec 7<&{0} 200<&{0}; exec \"$@\"", file.as_raw_fd());
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))
        .expect("an open file");
    let mut command = Command::new("/bin/bash");
    command.args(["-c", &script, "bash", PROGRAM]).args(arguments(&folder, "descriptors"));
    let output = command.env("CYCLOMETER_DB", place.db()).output().expect("a shell");
    let run = Run::of(&output);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(outcomes(&place, "descriptors"), vec![("ok".to_owned(), String::new()); 2]);
}

/// Lanes, but containers, that run here.
fn lanes_here(place: &Place) -> Vec<String> {
    let rows = place.ok(&["lanes", "--format", "json"]).json();
    let lanes = rows.as_array().expect("rows").iter();
    lanes
        .filter(|row| row["state"] == "available")
        .filter_map(|row| row["lane"].as_str().map(str::to_owned))
        .filter(|name| !name.starts_with("docker"))
        .collect()
}

/// Command lines of the processes that have `file` open, and keep it.
///
/// An exec gives a process its new command line before it closes what is marked
/// to be closed, so a process counts that still has the file a moment later. One
/// without a command line has no memory any more: it ends, and runs nothing.
fn holders(file: &Path) -> Vec<String> {
    let holds = |process: &procfs::process::Process| {
        let files = process.fd().into_iter().flatten().flatten();
        files
            .into_iter()
            .any(|it| matches!(it.target, procfs::process::FDTarget::Path(path) if path == file))
    };
    let all = procfs::process::all_processes().expect("/proc").flatten();
    let mut suspects: Vec<_> = all.filter(holds).collect();
    for pause in [10, 40] {
        std::thread::sleep(Duration::from_millis(pause));
        suspects.retain(holds);
    }
    let lines = suspects.into_iter().filter_map(|process| process.cmdline().ok());
    lines.map(|line| line.join(" ")).filter(|line| !line.is_empty()).collect()
}

#[test]
fn descriptors_of_the_caller_reach_nothing_that_a_lane_starts() {
    let place = Place::new();
    let secret = place.write("secret", "x");
    let lanes = lanes_here(&place);
    assert!(lanes.iter().any(|lane| lane == "native"), "{lanes:?}");
    for lane in lanes {
        let script = "exec 7<\"$0\"; exec \"$@\"";
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).arg(&secret).arg(PROGRAM);
        command.args(["record", "--workload", "wait", "--runs", "3", "--warmup", "0"]);
        command.args(["--lane", &lane]).env("CYCLOMETER_DB", place.db());
        let mut recorder =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell");
        let mut seen = 0;
        // Some runtimes hang on machines that lack what they need.
        let until = Instant::now() + Duration::from_secs(20);
        while recorder.try_wait().expect("a child").is_none() && Instant::now() < until {
            let holders = holders(&secret);
            seen += usize::from(!holders.is_empty());
            let others: Vec<_> =
                holders.iter().filter(|line| !line.contains(" record --workload wait")).collect();
            assert_eq!(others, Vec::<&String>::new(), "{lane}");
        }
        let pid = Pid::from_raw(i32::try_from(recorder.id()).expect("a pid"));
        if recorder.try_wait().expect("a child").is_none() {
            kill(pid, Signal::SIGINT).expect("it runs");
        }
        assert!(ends(&mut recorder, PATIENCE), "{lane}");
        assert!(seen > 0, "{lane}: the recorder was not seen with the file");
    }
}

/// Runs the recorder as somebody without rights, inside of a pen; before that, a
/// line of the shell.
fn record_as_nobody(modes: &[&str], before: &str) -> Option<Place> {
    if !nix::unistd::geteuid().is_root() {
        skip("needs root, to become somebody without rights");
        return None;
    }
    let pen = Pen::create()?;
    let place = Place::new();
    make_workloads(&place, modes)?;
    // A folder of theirs, with the program, which they may not find where it is.
    let own = place.path().join("own");
    std::fs::create_dir(&own).expect("made");
    let program = own.join("cyclometer");
    std::fs::copy(PROGRAM, &program).expect("copied");
    for path in [place.path(), &own] {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("given away");
    }
    let folder = place.path().join("w").display().to_string();
    let procs = pen.folder.join("cgroup.procs");
    let workloads = format!("{},nop", modes.join(","));
    let script = format!(
        "echo $$ > {} && exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups \
         --inh-caps=-all {before} \"$@\"",
        procs.display()
    );
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script, "sh"]).arg(&program).args(arguments(&folder, &workloads));
    command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").current_dir("/");
    command.env("CYCLOMETER_DB", place.db()).env("HOME", &own).env("XDG_CACHE_HOME", &own);
    let run = pen.finish(command);
    assert!(pen.empties(), "{:?} are left of {modes:?}: {}", pen.inside(), run.stderr);
    let sound = vec![("ok".to_owned(), String::new()); 2];
    assert_eq!(outcomes(&place, "nop"), sound, "after {modes:?}: {}", run.stderr);
    Some(place)
}

/// Whether an ordinary user can make user namespaces here; says so if not.
fn has_user_namespaces() -> bool {
    let mut command = Command::new("unshare");
    command.args(["-U", "-p", "--fork", "true"]);
    if nix::unistd::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let made = command.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !made {
        skip("no user namespaces for ordinary users, or no `unshare`");
    }
    made
}

#[test]
fn an_ordinary_user_has_the_same_fence() {
    if !has_user_namespaces() {
        return;
    }
    let modes =
        ["fork-return", "comet", "strays", "stop-parent", "kill-all", "reach", "forge", "fork"];
    let Some(place) = record_as_nobody(&modes, "") else { return };
    for mode in ["stop-parent", "kill-all", "reach", "forge"] {
        let fine = vec![("ok".to_owned(), String::new()); 2];
        assert_eq!(outcomes(&place, mode), fine, "{mode}");
    }
    for mode in ["fork-return", "comet", "strays"] {
        for (status, reason) in outcomes(&place, mode) {
            assert_eq!(status, "ok", "{mode}: {reason}");
            assert!(reason.starts_with("left "), "{mode}: {reason}");
        }
    }
    let strays = outcomes(&place, "strays");
    assert!(strays[0].1.starts_with("left 5 process(es) behind"), "{strays:?}");
    assert!(outcomes(&place, "fork").iter().all(|(status, _)| status == "timeout"));
}

/// Inside of a user namespace that allows no others, and where nobody is root.
const CONFINED: &str = "#!/bin/sh\n\
    exec unshare -U --map-current-user --keep-caps sh -c '\
    echo 0 > /proc/sys/user/max_user_namespaces && \
    exec setpriv --inh-caps=-all --ambient-caps=-all --bounding-set=-all \"$@\"' sh \"$@\"\n";

#[test]
fn without_namespaces_nothing_is_left_either_and_the_launcher_may_be_attacked_in_vain() {
    if !has_user_namespaces() {
        return;
    }
    let place = Place::new();
    let confined = place.write("confined", CONFINED);
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    for path in [place.path(), &confined] {
        std::fs::set_permissions(path, std::fs::Permissions::clone(&readable)).expect("set");
    }
    let modes =
        ["strays", "fork-return", "comet", "reach", "forge", "stop-parent", "kill-parent-stay"];
    let before = confined.display().to_string();
    let Some(place) = record_as_nobody(&modes, &before) else { return };
    for mode in ["reach", "forge"] {
        let fine = vec![("ok".to_owned(), String::new()); 2];
        assert_eq!(outcomes(&place, mode), fine, "{mode}");
    }
    for mode in ["strays", "fork-return", "comet"] {
        for (status, reason) in outcomes(&place, mode) {
            assert_eq!(status, "ok", "{mode}: {reason}");
            assert!(reason.starts_with("left "), "{mode}: {reason}");
        }
    }
    for (mode, told) in [("stop-parent", "gives no answer"), ("kill-parent-stay", "is gone")] {
        for (status, reason) in outcomes(&place, mode) {
            assert_eq!(status, "failed", "{mode}: {reason}");
            assert!(reason.contains(told), "{mode}: {reason}");
        }
    }
    let told = column(&place.open(), "SELECT note FROM lane WHERE name = 'native'");
    assert!(told[0].contains("no PID namespace: "), "{told:?}");
}

#[test]
fn lanes_say_which_fence_they_have() {
    let place = Place::new();
    let rows = place.ok(&["lanes", "--format", "json"]).json();
    let rows = rows.as_array().expect("rows");
    for lane in ["native", "wasmtime"] {
        let row = rows.iter().find(|row| row["lane"] == lane).expect("a lane that is always there");
        assert!(row.to_string().contains("process fence: "), "{row}");
    }
    let rows = place.ok(&["doctor", "--format", "json"]).json();
    let rows = rows.as_array().expect("rows");
    let row = rows.iter().find(|row| row["check"] == "process fence").expect("a row");
    assert!(row["found"].as_str().is_some_and(|it| !it.is_empty()), "{row}");
}
