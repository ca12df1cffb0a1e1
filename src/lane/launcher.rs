//! The launcher process, seen from here: see `launcher.c` for what it is for.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use thiserror::Error;

use super::Cancel;
use crate::meter::own_groups::KillCount;
use crate::units::{Bytes, Nanos};
use crate::workload::Input;

/// The static program that `build.rs` compiled.
const LAUNCHER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/launcher"));

const MAGIC: u32 = 0x6379_636c;
/// Leaves a child's `oom_score_adj` alone.
const OOM_KEEP: i32 = -10_000;
const MAX_ARGS: usize = 1024;
const MAX_ENV: usize = 128;
const MAX_MESSAGE: usize = 60 << 10;

/// What went wrong between the launcher and here, or at the start of a function.
#[derive(Debug, Error)]
pub(super) enum LauncherError {
    /// The launcher cannot be started, or has gone.
    #[error("the launcher process {action}: {source}")]
    Process { action: &'static str, source: io::Error },
    /// The function could not be started.
    #[error("cannot start the program: {stage}: {source}")]
    Start { stage: &'static str, source: io::Error },
    /// More or longer arguments than the launcher takes.
    #[error("{0}")]
    Arguments(String),
}

/// A program to start.
pub(super) enum Program<'a> {
    /// An open executable.
    File(BorrowedFd<'a>),
    /// A path, which may name a script.
    Path(&'a Path),
}

/// How to start it.
pub(super) struct Spawn<'a> {
    pub program: Program<'a>,
    /// With argument 0.
    pub args: &'a [&'a str],
    /// Its environment, as `NAME=VALUE`; nothing else is in it.
    pub env: &'a [&'a str],
    pub stdin: BorrowedFd<'a>,
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
    /// Found by the child as descriptor 3.
    pub extra: Option<BorrowedFd<'a>>,
    pub timeout: Option<Nanos>,
    /// Limit of all its memory, which only a control group can set: see
    /// [`super::process::Runner`].
    pub memory_limit: Option<Bytes>,
    /// Limit of private writable memory, each process for itself.
    pub data_limit: Option<Bytes>,
    /// Limit of each file's size, standard output included.
    pub file_limit: Option<Bytes>,
    pub cpu: Option<u16>,
}

/// A program that was started.
#[derive(Debug, Clone, Copy)]
pub(super) struct Started {
    pub pid: u32,
    pub requested: Nanos,
    /// When exec was called, by the new process itself: whenever the launcher
    /// gets its turn again says nothing about that.
    pub executed: Nanos,
    /// CPU time that it had used by then, for its set-up.
    pub used: Nanos,
}

/// Why a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Itself,
    Timeout,
    Cancelled,
}

/// How a program ended, and the kernel's account of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    /// As of `wait(2)`.
    pub status: i32,
    pub why: Why,
    /// Processes that it left behind, killed since.
    pub stray: u32,
    pub at: Nanos,
    /// CPU time of all its processes, those left behind included.
    pub user: Nanos,
    pub system: Nanos,
    /// Of its largest process.
    pub peak: Bytes,
    /// Whether it had other processes.
    pub family: bool,
    /// Whether meanwhile the kernel killed something in cyclometer's own control
    /// group for want of memory.
    pub starved: bool,
    pub page_faults: u64,
    pub context_switches: u64,
}

/// A running launcher. Dropping it kills and reaps what it started.
#[derive(Debug)]
pub(super) struct Launcher {
    socket: OwnedFd,
    process: Child,
    /// What its children's `oom_score_adj` is set to, where its own differs.
    oom_score: Option<i32>,
    /// Kills for want of memory, and how many there were before what runs.
    kills: Option<KillCount>,
    killed_before: AtomicU64,
}

impl Launcher {
    /// Starts one.
    pub fn start() -> Result<Self, LauncherError> {
        let failed = |source| LauncherError::Process { action: "cannot be started", source };
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .map_err(|error| failed(error.into()))?;
        let mut image = crate::workload::memory_file("cyclometer-run").map_err(failed)?;
        image.write_all(LAUNCHER).map_err(failed)?;
        let process = Command::new(format!("/proc/self/fd/{}", image.as_raw_fd()))
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let (kills, killed_before) = (KillCount::find(), AtomicU64::new(0));
        Ok(Self { socket: ours, process, oom_score: None, kills, killed_before })
    }

    /// The launcher's process id: the parent of all it starts.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Exempts the launcher, and nothing that it starts, from being killed when
    /// memory runs out in its control group. Only root may; where it is not done,
    /// the kernel still prefers what uses more memory.
    pub fn survive_out_of_memory(&mut self) {
        let path = format!("/proc/{}/oom_score_adj", self.pid());
        let Ok(usual) = std::fs::read_to_string(&path) else { return };
        let Ok(usual) = usual.trim().parse() else { return };
        if std::fs::write(&path, "-1000").is_ok() {
            self.oom_score = Some(usual);
        }
    }

    /// Starts a program. Nothing else may run in this launcher.
    pub fn spawn(&self, spawn: &Spawn<'_>) -> Result<Started, LauncherError> {
        let (message, fds) = encode(spawn, self.oom_score)?;
        self.killed_before.store(self.killed_for_memory(), Ordering::Relaxed);
        let fds: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let lost =
            |errno: Errno| LauncherError::Process { action: "is gone", source: errno.into() };
        sendmsg::<()>(
            self.socket.as_raw_fd(),
            &[IoSlice::new(&message)],
            &[ControlMessage::ScmRights(&fds)],
            MsgFlags::MSG_NOSIGNAL,
            None,
        )
        .map_err(lost)?;
        let answer = Fields::new(self.receive(None)?);
        let (stage, error) = (answer.u32(4), answer.i32(8));
        let stage = match stage {
            0 => {
                return Ok(Started {
                    pid: answer.u32(12),
                    requested: Nanos(answer.u64(16)),
                    executed: Nanos(answer.u64(24)),
                    used: Nanos(answer.u64(32)),
                });
            }
            2 => "no new process",
            3 => "its limits cannot be set",
            4 => "exec",
            _ => "the request was not understood",
        };
        Err(LauncherError::Start { stage, source: io::Error::from_raw_os_error(error) })
    }

    /// Waits for the program's end, asking for it when `cancel` says so.
    pub fn wait(&self, cancel: &Cancel) -> Result<Ended, LauncherError> {
        let answer = Fields::new(self.receive(Some(cancel))?);
        Ok(Ended {
            status: answer.i32(4),
            why: match answer.u32(8) {
                0 => Why::Itself,
                1 => Why::Timeout,
                _ => Why::Cancelled,
            },
            stray: answer.u32(12),
            at: Nanos(answer.u64(16)),
            user: Nanos(answer.u64(24) * 1_000),
            system: Nanos(answer.u64(32) * 1_000),
            peak: Bytes(answer.u64(40) << 10),
            page_faults: answer.u64(48) + answer.u64(56),
            context_switches: answer.u64(64) + answer.u64(72),
            family: answer.u64(80) != 0,
            starved: self.killed_for_memory() > self.killed_before.load(Ordering::Relaxed),
        })
    }

    fn killed_for_memory(&self) -> u64 {
        self.kills.as_ref().and_then(KillCount::read).unwrap_or(0)
    }

    /// Asks for the end of what runs; [`Self::wait`] then returns soon.
    pub fn kill(&self) {
        // Fails only when the launcher is gone, which `wait` reports.
        let _ = nix::sys::socket::send(self.socket.as_raw_fd(), &[0], MsgFlags::MSG_NOSIGNAL);
    }

    fn receive(&self, cancel: Option<&Cancel>) -> Result<Vec<u8>, LauncherError> {
        let lost = |source| LauncherError::Process { action: "is gone", source };
        let mut asked = false;
        loop {
            if let Some(cancel) = cancel {
                let mut watched = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
                let ready = match poll(&mut watched, PollTimeout::from(Cancel::POLL_MS)) {
                    Ok(ready) => ready,
                    Err(Errno::EINTR) => 0,
                    Err(error) => return Err(lost(error.into())),
                };
                if ready == 0 {
                    if cancel.is_cancelled() && !asked {
                        self.kill();
                        asked = true;
                    }
                    continue;
                }
            }
            let mut buffer = vec![0; 128];
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let received =
                recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, None, MsgFlags::empty());
            match received.map(|message| message.bytes) {
                Ok(0) => return Err(lost(io::ErrorKind::UnexpectedEof.into())),
                Ok(size) => {
                    buffer.truncate(size);
                    return Ok(buffer);
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(lost(error.into())),
            }
        }
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        // The hang-up tells it to kill what runs and to end.
        let _ =
            nix::sys::socket::shutdown(self.socket.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        let _ = self.process.wait();
    }
}

/// The request as `launcher.c` reads it, with the descriptors to send along.
fn encode<'a>(
    spawn: &Spawn<'a>,
    oom_score: Option<i32>,
) -> Result<(Vec<u8>, Vec<BorrowedFd<'a>>), LauncherError> {
    let mut strings = Vec::new();
    let (by_path, executable) = match &spawn.program {
        Program::File(file) => (0_u32, *file),
        Program::Path(path) => {
            strings.extend_from_slice(path.as_os_str().as_encoded_bytes());
            // Any descriptor: the launcher does not look at it.
            (1, spawn.stdin)
        }
    };
    strings.push(0);
    for arg in spawn.args.iter().chain(spawn.env) {
        strings.extend_from_slice(arg.as_bytes());
        strings.push(0);
    }
    let too_many = spawn.args.len() > MAX_ARGS || spawn.env.len() > MAX_ENV;
    if too_many || strings.len() > MAX_MESSAGE {
        return Err(LauncherError::Arguments(format!(
            "{} arguments of {} bytes are more than the {MAX_ARGS} of {MAX_MESSAGE} bytes that fit",
            spawn.args.len(),
            strings.len()
        )));
    }
    let mut fds = vec![executable, spawn.stdin, spawn.stdout, spawn.stderr];
    fds.extend(spawn.extra);
    let size = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_ne_bytes();
    let mut message = Vec::with_capacity(56 + strings.len());
    message.extend(MAGIC.to_ne_bytes());
    message.extend(size(strings.len()));
    message.extend(size(fds.len()));
    message.extend(size(spawn.args.len()));
    message.extend(spawn.timeout.map_or(0, |limit| limit.0).to_ne_bytes());
    message.extend(spawn.data_limit.map_or(0, |limit| limit.0).to_ne_bytes());
    message.extend(spawn.file_limit.map_or(0, |limit| limit.0).to_ne_bytes());
    message.extend(spawn.cpu.map_or(-1, i32::from).to_ne_bytes());
    message.extend(by_path.to_ne_bytes());
    message.extend(size(spawn.env.len()));
    message.extend(oom_score.unwrap_or(OOM_KEEP).to_ne_bytes());
    message.extend(strings);
    Ok((message, fds))
}

/// Fields of an answer by byte offset; both sides are compiled together.
struct Fields(Vec<u8>);

impl Fields {
    fn new(mut bytes: Vec<u8>) -> Self {
        // Short answers do not happen; they would read as zeroes.
        bytes.resize(96, 0);
        Self(bytes)
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(&self.0[at..at + N]);
        array
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.array(at))
    }

    fn i32(&self, at: usize) -> i32 {
        i32::from_ne_bytes(self.array(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.array(at))
    }
}

/// The three standard files of a program, in memory.
pub(super) struct Stdio3 {
    pub stdin: File,
    pub stdout: File,
    pub stderr: File,
}

impl Stdio3 {
    /// Standard input at its start, empty outputs.
    pub fn open(input: &Input) -> io::Result<Self> {
        Ok(Self {
            stdin: input.open().map_err(io::Error::other)?,
            stdout: crate::workload::memory_file("cyclometer-stdout")?,
            stderr: crate::workload::memory_file("cyclometer-stderr")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};

    fn run(path: &str, args: &[&str], timeout: Nanos, cancel: &Cancel) -> (Ended, String) {
        let launcher = Launcher::start().expect("the launcher starts");
        let mut files = Stdio3::open(&Input::given(*b"hello")).expect("memory files");
        let spawn = Spawn {
            program: Program::Path(Path::new(path)),
            args,
            env: &[],
            stdin: files.stdin.as_fd(),
            stdout: files.stdout.as_fd(),
            stderr: files.stderr.as_fd(),
            extra: None,
            timeout: Some(timeout),
            memory_limit: None,
            data_limit: None,
            file_limit: Some(Bytes(4096)),
            cpu: None,
        };
        let started = launcher.spawn(&spawn).expect("started");
        assert!(started.executed >= started.requested);
        let ended = launcher.wait(cancel).expect("ended");
        let mut text = String::new();
        files.stdout.rewind().expect("memory file");
        files.stdout.read_to_string(&mut text).expect("text");
        (ended, text)
    }

    const LONG: Nanos = Nanos(20_000_000_000);

    /// A launcher that is held up between vfork and its answer, as on a busy
    /// machine, does not move the moment of exec.
    #[test]
    fn the_moment_of_exec_is_not_that_of_the_launchers_next_turn() {
        use nix::sys::signal::{Signal, kill};
        use std::time::{Duration, Instant};
        let launcher = Launcher::start().expect("the launcher starts");
        let pid = launcher.pid();
        let files = Stdio3::open(&Input::default()).expect("memory files");
        let children = format!("/proc/{pid}/task/{pid}/children");
        for round in 0..5 {
            let children = children.clone();
            // Stops the launcher as soon as there is a child; says when it
            // lets it go on.
            let holder = std::thread::spawn(move || {
                let wait = Instant::now() + Duration::from_secs(10);
                while std::fs::read_to_string(&children).expect("procfs").is_empty() {
                    assert!(Instant::now() < wait, "no child");
                }
                let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid"));
                kill(pid, Signal::SIGSTOP).expect("stopped");
                std::thread::sleep(Duration::from_millis(60));
                let until = crate::lane::now();
                kill(pid, Signal::SIGCONT).expect("goes on");
                until
            });
            let spawn = Spawn {
                program: Program::Path(Path::new("/bin/sleep")),
                args: &["sleep", "0.1"],
                env: &[],
                stdin: files.stdin.as_fd(),
                stdout: files.stdout.as_fd(),
                stderr: files.stderr.as_fd(),
                extra: None,
                timeout: Some(LONG),
                memory_limit: None,
                data_limit: None,
                file_limit: None,
                cpu: None,
            };
            let started = launcher.spawn(&spawn).expect("started");
            let ended = launcher.wait(&Cancel::default()).expect("ended");
            let until = holder.join().expect("the thread that held it");
            assert_eq!(ended.status, 0);
            assert!(started.requested <= started.executed, "round {round}");
            assert!(started.executed < until, "round {round}: the launcher's turn, not exec");
        }
    }

    #[test]
    fn a_program_runs_and_its_memory_is_its_own() {
        // This test process is large; its children must not look so.
        let ballast = vec![1_u8; 64 << 20];
        let (ended, text) = run("/bin/cat", &["cat"], LONG, &Cancel::default());
        assert_eq!((ended.status, ended.why, text.as_str()), (0, Why::Itself, "hello"));
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
        assert_eq!(ended.why, Why::Timeout);
        let cancel = Cancel::default();
        cancel.cancel();
        let (ended, _) = run("/bin/sleep", &["sleep", "30"], LONG, &cancel);
        assert_eq!(ended.why, Why::Cancelled);
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
        assert_eq!((ended.status, ended.stray), (0, 2));
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
            assert_eq!((ended.status, ended.stray), (0, 0), "{script}");
            assert_eq!(ended.family, family, "{script}");
        }
        let (ended, _) = run("/bin/cat", &["a name (with 0) brackets"], LONG, &Cancel::default());
        assert!(!ended.family);
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
        assert!(ended.stray >= 1);
    }

    #[test]
    fn what_cannot_start_says_so() {
        let launcher = Launcher::start().expect("the launcher starts");
        let files = Stdio3::open(&Input::default()).expect("memory files");
        let spawn = Spawn {
            program: Program::Path(Path::new("/no/such/program")),
            args: &["x"],
            env: &[],
            stdin: files.stdin.as_fd(),
            stdout: files.stdout.as_fd(),
            stderr: files.stderr.as_fd(),
            extra: None,
            timeout: None,
            memory_limit: None,
            data_limit: None,
            file_limit: None,
            cpu: None,
        };
        let error = launcher.spawn(&spawn).expect_err("refused").to_string();
        assert!(error.starts_with("cannot start the program: exec: No such file"), "{error}");
        let pinned =
            Spawn { cpu: Some(1023), program: Program::Path(Path::new("/bin/true")), ..spawn };
        let error = launcher.spawn(&pinned).expect_err("refused").to_string();
        assert!(error.contains("limits cannot be set"), "{error}");
    }
}
