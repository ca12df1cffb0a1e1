use super::*;
use std::io::{Read, Seek};

fn run(path: &str, args: &[&str], timeout: Nanos, cancel: &Cancel) -> (ProgramEnd, String) {
    let launcher = Launcher::start(Privileges::Function).expect("the launcher starts");
    let mut files =
        Stdio3::with_input(&FunctionInput::from_bytes(*b"hello")).expect("memory files");
    let spawn = SpawnRequest {
        program: SpawnTarget::Path(Path::new(path)),
        args,
        env: &[],
        stdin: files.stdin.as_fd(),
        stdout: files.stdout.as_fd(),
        stderr: files.stderr.as_fd(),
        extra: &[],
        timeout: Some(timeout),
        memory_limit: None,
        data_limit: None,
        file_limit: Some(Bytes(4096)),
        cpu: None,
        start_folder: Path::new("/"),
        cpu_share: None,
    };
    let started = launcher.spawn_program(&spawn).expect("started");
    assert!(started.executed >= started.requested);
    let ended = launcher.wait_for_end(cancel).expect("ended");
    let mut text = String::new();
    files.stdout.rewind().expect("memory file");
    files.stdout.read_to_string(&mut text).expect("text");
    (ended, text)
}

const LONG: Nanos = Nanos(20_000_000_000);

/// A launcher that is delayed between vfork and its response, as on a busy machine, does not shift
/// the time of exec.
#[test]
fn the_moment_of_exec_is_not_that_of_the_launchers_next_turn() {
    use nix::sys::signal::{Signal, kill};
    use std::time::{Duration, Instant};
    let launcher = Launcher::start(Privileges::Function).expect("the launcher starts");
    let pid = launcher.pid();
    let files = Stdio3::with_input(&FunctionInput::default()).expect("memory files");
    let children = format!("/proc/{pid}/task/{pid}/children");
    for round in 0..5 {
        let children = children.clone();
        // Stops the launcher as soon as there is a child; reports when it is resumed.
        let holder = std::thread::spawn(move || {
            let wait = Instant::now() + Duration::from_secs(10);
            while std::fs::read_to_string(&children).expect("procfs").is_empty() {
                assert!(Instant::now() < wait, "no child");
            }
            let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid"));
            kill(pid, Signal::SIGSTOP).expect("stopped");
            std::thread::sleep(Duration::from_millis(60));
            let until = crate::monotonic_now();
            kill(pid, Signal::SIGCONT).expect("goes on");
            until
        });
        let spawn = SpawnRequest {
            program: SpawnTarget::Path(Path::new("/bin/sleep")),
            args: &["sleep", "0.1"],
            env: &[],
            stdin: files.stdin.as_fd(),
            stdout: files.stdout.as_fd(),
            stderr: files.stderr.as_fd(),
            extra: &[],
            timeout: Some(LONG),
            memory_limit: None,
            data_limit: None,
            file_limit: None,
            cpu: None,
            start_folder: Path::new("/"),
            cpu_share: None,
        };
        let started = launcher.spawn_program(&spawn).expect("started");
        let ended = launcher.wait_for_end(&Cancel::default()).expect("ended");
        let until = holder.join().expect("the thread that held it");
        assert_eq!(ended.status, 0);
        assert!(started.requested <= started.executed, "round {round}");
        assert!(started.executed < until, "round {round}: the launcher's turn, not exec");
    }
}

#[test]
fn a_program_runs_and_its_memory_is_its_own() {
    // This test process is large; its children must not appear so.
    let ballast = vec![1_u8; 64 << 20];
    let (ended, text) = run("/bin/cat", &["cat"], LONG, &Cancel::default());
    assert_eq!((ended.status, ended.why, text.as_str()), (0, EndCause::ByItself, "hello"));
    assert!(ended.peak < Bytes(16 << 20), "peak {} with ballast {}", ended.peak, ballast.len());
    assert!(ended.peak > Bytes(100 << 10));
}

#[test]
fn exit_codes_signals_and_timeouts_are_told_apart() {
    let none = Cancel::default();
    let (ended, _) = run("/bin/sh", &["sh", "-c", "exit 7"], LONG, &none);
    assert_eq!(ended.status, 7 << 8);
    let (ended, _) = run("/bin/sh", &["sh", "-c", "kill -SEGV $$"], LONG, &none);
    assert_eq!(ended.status & 0x7f, libc::SIGSEGV);
    let (ended, _) = run("/bin/sleep", &["sleep", "30"], Nanos(30_000_000), &none);
    assert_eq!(ended.why, EndCause::Timeout);
    let cancel = Cancel::default();
    cancel.cancel();
    let (ended, _) = run("/bin/sleep", &["sleep", "30"], LONG, &cancel);
    assert_eq!(ended.why, EndCause::Cancelled);
}

#[test]
fn output_stops_at_the_limit() {
    let (ended, text) = run(
        "/bin/sh",
        &["sh", "-c", "while echo 0123456789; do :; done"],
        LONG,
        &Cancel::default(),
    );
    assert_eq!(ended.status & 0x7f, libc::SIGXFSZ);
    assert!(text.len() <= 4096);
}

#[test]
fn stray_processes_are_killed_and_counted() {
    let script = "setsid sleep 300 & (sleep 301 &) ; exit 0";
    let (ended, _) = run("/bin/sh", &["sh", "-c", script], LONG, &Cancel::default());
    assert_eq!((ended.status, ended.stray_processes), (0, 2));
}

#[test]
fn families_are_noticed_and_what_ended_by_itself_is_no_stray() {
    for (script, family) in [
        ("exit 0", false),
        ("/bin/true; exit 0", true),
        // Ends before the function does, which does not wait for it.
        ("(setsid /bin/true &) ; sleep 0.3; exit 0", true),
    ] {
        let (ended, _) = run("/bin/sh", &["sh", "-c", script], LONG, &Cancel::default());
        assert_eq!((ended.status, ended.stray_processes), (0, 0), "{script}");
        assert_eq!(ended.had_children, family, "{script}");
    }
    let (ended, _) = run("/bin/cat", &["a name (with 0) brackets"], LONG, &Cancel::default());
    assert!(!ended.had_children);
}

#[test]
fn cpu_time_of_what_was_left_behind_is_in_the_account() {
    let burn = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done >&3; sleep 300";
    let script = format!(
        "(setsid sh -c '{burn}' 3>&1 &) ; \
         while ! [ -s /proc/self/fd/1 ]; do sleep 0.05; done; exit 0"
    );
    let (ended, text) = run("/bin/sh", &["sh", "-c", &script], LONG, &Cancel::default());
    assert_eq!((ended.status, text.trim()), (0, "done"));
    // A shell needs more than 100 ns for a round.
    assert!(ended.user.0 + ended.system.0 > 20_000_000, "{:?}", ended.user);
    assert!(ended.stray_processes >= 1);
}

/// A launcher that the test itself replaces, with the socket for that.
fn impersonated() -> (Launcher, OwnedFd) {
    let mut launcher = Launcher::start(Privileges::Function).expect("the launcher starts");
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .expect("sockets");
    setsockopt(&ours, sockopt::PassCred, &true).expect("set");
    (launcher.socket, launcher.grace) = (ours, Nanos(50_000_000));
    launcher.number = AtomicU64::new(77);
    launcher.deadline = AtomicU64::new(monotonic_now().0 + 300_000_000);
    (launcher, theirs)
}

/// An end as launcher.c lays it out: magic, kind, number, status; the rest zero.
fn ended(number: u64) -> Vec<u8> {
    let mut bytes = [MAGIC.to_ne_bytes(), 2_u32.to_ne_bytes()].concat();
    bytes.extend(number.to_ne_bytes());
    bytes.extend((7_i32 << 8).to_ne_bytes());
    bytes.resize(104, 0);
    bytes
}

fn say(socket: &OwnedFd, message: &[u8]) {
    nix::sys::socket::send(socket.as_raw_fd(), message, MsgFlags::empty()).expect("sent");
}

#[test]
fn a_launcher_that_takes_no_request_is_spent() {
    let (launcher, socket) = impersonated();
    drop(socket);
    let files = Stdio3::with_input(&FunctionInput::default()).expect("memory files");
    let spawn = SpawnRequest {
        program: SpawnTarget::Path(Path::new("/bin/true")),
        args: &["true"],
        env: &[],
        stdin: files.stdin.as_fd(),
        stdout: files.stdout.as_fd(),
        stderr: files.stderr.as_fd(),
        extra: &[],
        timeout: None,
        memory_limit: None,
        data_limit: None,
        file_limit: None,
        cpu: None,
        start_folder: Path::new("/"),
        cpu_share: None,
    };
    assert!(!launcher.is_spent());
    let error = launcher.spawn_program(&spawn).expect_err("nobody is there").to_string();
    assert!(error.contains("is gone"), "{error}");
    assert!(launcher.is_spent(), "it is to be replaced");
}

#[test]
fn an_end_that_is_not_the_launchers_is_not_believed() {
    let (launcher, socket) = impersonated();
    // The number is right, but another process sent it: this one.
    say(&socket, &ended(77));
    let error = launcher.wait_for_end(&Cancel::default()).expect_err("not believed").to_string();
    assert!(error.contains("gives no answer"), "{error}");
    assert!(launcher.is_spent());

    let (mut launcher, socket) = impersonated();
    launcher.pid = std::process::id();
    let right = ended(77);
    let mut started = right.clone();
    started[4] = 1;
    let (long, short) = (vec![0xff; 60_000], &right[..80]);
    for forged in [&ended(76), &ended(0), &started, &long, short, &[][..], &[0]] {
        say(&socket, forged);
    }
    say(&socket, &right);
    // A surplus message does not stay for the next invocation.
    say(&socket, &ended(0));
    let ended = launcher.wait_for_end(&Cancel::default()).expect("the right one");
    assert_eq!((ended.status, ended.discarded_messages), (7 << 8, 8));
    assert!(launcher.is_spent(), "it is to be replaced");
    assert!(launcher.read_message().is_err(), "nothing is left");
}

#[test]
fn a_launcher_that_is_stopped_from_outside_is_waited_for_no_longer_than_its_grace() {
    use nix::sys::signal::{Signal, kill};
    for wanted in [true, false] {
        let mut launcher =
            Launcher::start_fenced(Privileges::Function, wanted).expect("the launcher starts");
        launcher.grace = Nanos(300_000_000);
        let files = Stdio3::with_input(&FunctionInput::default()).expect("memory files");
        let args = ["sleep", "300"];
        let pid = nix::unistd::Pid::from_raw(i32::try_from(launcher.pid()).expect("a pid"));
        let started =
            launcher.spawn_program(&plain_spawn("/bin/sleep", &args, &files)).expect("started");
        launcher.deadline = AtomicU64::new(monotonic_now().0);
        kill(pid, Signal::SIGSTOP).expect("stopped");
        let error = launcher.wait_for_end(&Cancel::default()).expect_err("no answer").to_string();
        assert!(error.contains("gives no answer"), "{error}");
        drop(launcher);
        assert!(ends_soon(started.pid), "{wanted}: what it ran goes with it");
    }
}

fn plain_spawn<'a>(path: &'a str, args: &'a [&'a str], files: &'a Stdio3) -> SpawnRequest<'a> {
    SpawnRequest {
        program: SpawnTarget::Path(Path::new(path)),
        args,
        env: &[],
        stdin: files.stdin.as_fd(),
        stdout: files.stdout.as_fd(),
        stderr: files.stderr.as_fd(),
        extra: &[],
        timeout: Some(LONG),
        memory_limit: None,
        data_limit: None,
        file_limit: None,
        cpu: None,
        start_folder: Path::new("/"),
        cpu_share: None,
    }
}

/// Returns whether that process, which is no child of this one, ends within seconds.
fn ends_soon(pid: u32) -> bool {
    let path = format!("/proc/{pid}");
    let until = Instant::now() + Duration::from_secs(10);
    while Path::new(&path).exists() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    !Path::new(&path).exists()
}

#[test]
fn without_a_namespace_what_is_left_is_found_and_killed() {
    let launcher =
        Launcher::start_fenced(Privileges::Function, false).expect("the launcher starts");
    assert!(!launcher.fence().is_namespace());
    let files = Stdio3::with_input(&FunctionInput::default()).expect("memory files");
    let script = "setsid sleep 300 & (sleep 301 &) ; exit 0";
    let args = ["sh", "-c", script];
    launcher.spawn_program(&plain_spawn("/bin/sh", &args, &files)).expect("started");
    let ended = launcher.wait_for_end(&Cancel::default()).expect("ended");
    assert_eq!((ended.status, ended.stray_processes, ended.has_unended_processes), (0, 2, false));
}

#[test]
fn what_a_killed_launcher_had_started_is_killed_without_a_namespace_too() {
    use nix::sys::signal::{Signal, kill};
    for wanted in [true, false] {
        let launcher =
            Launcher::start_fenced(Privileges::Function, wanted).expect("the launcher starts");
        let files = Stdio3::with_input(&FunctionInput::default()).expect("memory files");
        // Two of them, as one could be noticed by its parent's death.
        let args = ["sh", "-c", "sleep 300 & sleep 301"];
        let started =
            launcher.spawn_program(&plain_spawn("/bin/sh", &args, &files)).expect("started");
        let child = || {
            let path = format!("/proc/{0}/task/{0}/children", started.pid);
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.split_whitespace().next().and_then(|it| it.parse::<u32>().ok())
        };
        let until = Instant::now() + Duration::from_secs(10);
        while child().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let child = child().expect("the shell starts one");
        let pid = nix::unistd::Pid::from_raw(i32::try_from(launcher.pid()).expect("a pid"));
        kill(pid, Signal::SIGKILL).expect("killed");
        let error = launcher.wait_for_end(&Cancel::default()).expect_err("gone").to_string();
        assert!(error.contains("is gone"), "{error}");
        assert!(ends_soon(started.pid) && ends_soon(child), "fenced: {wanted}");
    }
}

#[test]
fn what_cannot_start_says_so() {
    let launcher = Launcher::start(Privileges::Function).expect("the launcher starts");
    let files = Stdio3::with_input(&FunctionInput::default()).expect("memory files");
    let spawn = SpawnRequest {
        program: SpawnTarget::Path(Path::new("/no/such/program")),
        args: &["x"],
        env: &[],
        stdin: files.stdin.as_fd(),
        stdout: files.stdout.as_fd(),
        stderr: files.stderr.as_fd(),
        extra: &[],
        timeout: None,
        memory_limit: None,
        data_limit: None,
        file_limit: None,
        cpu: None,
        start_folder: Path::new("/"),
        cpu_share: None,
    };
    let error = launcher.spawn_program(&spawn).expect_err("refused").to_string();
    assert!(error.starts_with("cannot start the program: exec: No such file"), "{error}");
    let pinned = SpawnRequest {
        cpu: Some(1023),
        start_folder: Path::new("/"),
        cpu_share: None,
        program: SpawnTarget::Path(Path::new("/bin/true")),
        ..spawn
    };
    let error = launcher.spawn_program(&pinned).expect_err("refused").to_string();
    assert!(error.contains("limits cannot be set"), "{error}");
}
