//! `workloads build`: what a compiler may use, and that none outlives its build.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{Place, Run, processes};

/// Longest wait for anything; a busy machine is no failure.
const PATIENCE: Duration = Duration::from_mins(1);

/// A workload whose compiler is a script.
fn place(script: &str) -> (Place, PathBuf) {
    let place = Place::new();
    let manifest = "title = \"t\"\nstresses = \"s\"\nsource = \"m.c\"\nwasm = \"m.wasm\"\n\
                    native = \"m\"\n[preset.quick]\n";
    place.write("w/a/workload.toml", manifest);
    place.write("w/a/m.c", "int main(void) { return 0; }\n");
    place.write("w/a/m.wasm", b"\0asm\x01\0\0\0");
    place.write("w/a/m", "x");
    let compiler = place.write("compiler", format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(&compiler, PermissionsExt::from_mode(0o755)).expect("executable");
    std::fs::create_dir(place.path().join("tmp")).expect("made");
    (place, compiler)
}

fn build(place: &Place, compiler: &Path) -> Command {
    let folder = place.path().join("w").display().to_string();
    let mut command = place.command(&["workloads", "build", "--workloads", &folder]);
    command.env("CYCLOMETER_CLANG", compiler).env("CC", compiler);
    command.env("TMPDIR", place.path().join("tmp"));
    command
}

fn temporary(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.path().join("tmp")).expect("there");
    entries.map(|it| it.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

/// What docs/files.md promises: 300 s and 4 GiB, for all that a compiler starts.
#[test]
fn compilers_have_the_limits_that_are_promised() {
    let wasm = "cat /proc/self/limits >&2; exit 1";
    // The native program comes after the module, which this one makes.
    let native = "case \"$*\" in *-static*|*\" -s \"*) ;; *) \
                  while [ \"$1\" != -o ]; do shift; done; : > \"$2\"; exit 0;; esac\n";
    for script in [wasm.to_owned(), format!("{native}{wasm}")] {
        let (place, compiler) = place(&script);
        let run = Run::of(&build(&place, &compiler).output().expect("run"));
        assert_eq!(run.code, 1, "{}", run.stderr);
        let limit = |name: &str| {
            let line = run.stderr.lines().map(str::trim_start).find(|line| line.starts_with(name));
            let line = line.unwrap_or_else(|| panic!("no {name} in {}", run.stderr));
            line[name.len()..].split_whitespace().next().map(str::to_owned)
        };
        assert_eq!(limit("Max cpu time").as_deref(), Some("300"));
        assert_eq!(limit("Max address space").as_deref(), Some("4294967296"));
        assert!(!run.stderr.contains("ulimit"), "{}", run.stderr);
        assert_eq!(temporary(&place), Vec::<String>::new());
    }
}

#[test]
fn a_compiler_that_is_ended_at_a_limit_is_told_as_such() {
    // 24 is SIGXCPU (signal(7)): what the kernel sends at the limit.
    for (script, wanted) in [
        ("kill -24 $$", "it used more than the 300 s of CPU time that a compiler may"),
        ("echo 'LLVM ERROR: out of memory' >&2; kill -6 $$", "a compiler may use 4.00 GiB"),
    ] {
        let (place, compiler) = place(script);
        let run = Run::of(&build(&place, &compiler).output().expect("run"));
        assert_eq!(run.code, 1, "{}", run.stderr);
        assert!(run.stderr.contains(wanted), "{}", run.stderr);
    }
}

/// Starts a build whose compiler has a process of its own that never ends, as a
/// driver has its compiler, and waits until that runs. Each has its marker.
fn endless() -> (Place, PathBuf, Child, String) {
    let (place, compiler) = place(": > \"$TMPDIR/left\"; sh -c 'sleep 600; :' \"$0-proper\"; :");
    let marker = compiler.display().to_string();
    let child = build(&place, &compiler).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("started");
    let begun = Instant::now();
    while processes(&format!("{marker}-proper")).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the compiler does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    (place, compiler, child, marker)
}

fn is_gone_soon(marker: &str) {
    let begun = Instant::now();
    while !processes(marker).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "left: {:?}", processes(marker));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).expect("a pid")), signal).expect("sent");
}

#[test]
fn a_signal_ends_a_build_its_compiler_and_its_folder() {
    for (signal, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let (place, _, child, marker) = endless();
        assert_eq!(temporary(&place).len(), 1);
        send(&child, signal);
        let run = Run::of(&child.wait_with_output().expect("ended"));
        assert_eq!(run.code, status, "{}", run.stderr);
        is_gone_soon(&marker);
        assert_eq!(temporary(&place), Vec::<String>::new());
    }
}

#[test]
fn a_build_that_is_killed_takes_its_compiler_along_and_its_folder_is_swept() {
    let (place, compiler, mut child, marker) = endless();
    send(&child, Signal::SIGKILL);
    child.wait().expect("ended");
    is_gone_soon(&marker);
    let left = temporary(&place);
    let owner = format!("cyclometer-{}-", child.id());
    assert!(left.len() == 1 && left[0].starts_with(&owner), "{left:?}");
    // By the next build, and by `clean`.
    let listed = place.command(&["clean"]).env("TMPDIR", place.path().join("tmp")).output();
    let listed = Run::of(&listed.expect("run"));
    assert!(listed.stdout.contains(&left[0]), "{}{}", listed.stdout, listed.stderr);
    std::fs::write(&compiler, "#!/bin/sh\nexit 1\n").expect("written");
    let run = Run::of(&build(&place, &compiler).output().expect("run"));
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert_eq!(temporary(&place), Vec::<String>::new());
}
