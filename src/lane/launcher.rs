//! The launcher process, seen from here: see `launcher.c` for what it is for.

mod answers;
mod fence;

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
    UnixCredentials, recvmsg, sendmsg, setsockopt, socketpair, sockopt,
};
use thiserror::Error;

use self::answers::{Answer, Kind};
pub(super) use self::fence::{Fence, Privileges};
use super::{Cancel, now};
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
/// Descriptors that a program can be given from 3 on.
const MAX_EXTRA: usize = 4;

/// Most time for an answer that needs no function to end: a busy machine may
/// take long, but not for ever.
const PATIENCE: Nanos = Nanos(30_000_000_000);
/// Most time from a function's limit, or from a word to kill it, to its end. The
/// launcher itself gives up on processes that do not go after 5 s.
const GRACE: Nanos = Nanos(10_000_000_000);
/// Most time for a program without a limit to end, once its end is waited for.
const ENDLESS: Nanos = Nanos(5_000_000_000);
/// Most time for the launcher to end, and what it started with it.
const ENDING: Duration = Duration::from_secs(10);

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
    /// Found by the child as descriptors 3 and up; it has no others.
    pub extra: &'a [BorrowedFd<'a>],
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
    pub page_faults: u64,
    pub context_switches: u64,
    /// Whether some of its processes were killed and did not go.
    pub unended: bool,
    /// Whether the launcher's limits or its place in the schedule were changed.
    pub tampered: bool,
    /// Messages that came in the launcher's name and were not its own.
    pub discarded: u32,
}

/// A running launcher. Dropping it kills and reaps what it started.
#[derive(Debug)]
pub(super) struct Launcher {
    socket: OwnedFd,
    process: Child,
    /// The process that starts functions, as the kernel names it to us; where
    /// there is a namespace, a child of `process`.
    pid: u32,
    fence: Fence,
    /// What its children's `oom_score_adj` is set to, where its own differs.
    oom_score: Option<i32>,
    /// Most processes of the user that a child may bring about.
    process_limit: Option<u64>,
    /// Number of the last request, which answers to it repeat.
    number: AtomicU64,
    /// When that program must have ended, on the monotonic clock; 0: any time.
    deadline: AtomicU64,
    /// Most time from a limit to the end: [`GRACE`], but for tests.
    grace: Nanos,
    /// Messages of others since the last end.
    discarded: AtomicU32,
    /// Whether it is not to be trusted or waited for any more.
    is_spent: AtomicBool,
}

impl Launcher {
    /// Starts one, with the best fence that can be had.
    pub fn start(privileges: Privileges) -> Result<Self, LauncherError> {
        match Self::start_fenced(privileges, true) {
            Ok(launcher) => Ok(launcher),
            // A namespace that was half made.
            Err(first) => {
                let mut launcher = Self::start_fenced(privileges, false)?;
                launcher.fence.set_refusal(first.to_string());
                Ok(launcher)
            }
        }
    }

    /// Starts one, without namespaces if `wanted` is false.
    fn start_fenced(privileges: Privileges, wanted: bool) -> Result<Self, LauncherError> {
        let failed = |source| LauncherError::Process { action: "cannot be started", source };
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .map_err(|error| failed(error.into()))?;
        setsockopt(&ours, sockopt::PassCred, &true).map_err(|error| failed(error.into()))?;
        let mut image = crate::workload::memory_file("cyclometer-run").map_err(failed)?;
        image.write_all(LAUNCHER).map_err(failed)?;
        let process = Command::new(format!("/proc/self/fd/{}", image.as_raw_fd()))
            .arg(privileges.mask())
            .arg(if wanted { "fenced" } else { "plain" })
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let mut launcher = Self {
            socket: ours,
            pid: process.id(),
            process,
            fence: Fence::default(),
            oom_score: None,
            process_limit: None,
            number: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            grace: GRACE,
            discarded: AtomicU32::new(0),
            is_spent: AtomicBool::new(false),
        };
        let (hello, pid) = launcher.receive(Kind::Hello, None)?;
        launcher.fence = Fence::new(hello.u32(8), hello.i32(12), privileges);
        if launcher.fence.is_broken() {
            return Err(failed(io::ErrorKind::PermissionDenied.into()));
        }
        launcher.pid = pid;
        launcher.fence.protect_recorder();
        Ok(launcher)
    }

    /// The launcher's process id: the parent of all it starts.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What keeps functions from other processes.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Whether it has to be replaced: it is lost, or somebody wrote in its name.
    pub fn is_spent(&self) -> bool {
        self.is_spent.load(Ordering::Relaxed)
    }

    /// Limits the processes of the user that all children may bring about.
    pub fn limit_processes(&mut self, limit: u64) {
        self.process_limit = Some(limit);
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
        let lost =
            |errno: Errno| LauncherError::Process { action: "is gone", source: errno.into() };
        self.discard_pending();
        let number = crate::sys::random_number()
            .map_err(|source| LauncherError::Process { action: "gets no number", source })?;
        self.number.store(number, Ordering::Relaxed);
        let (message, fds) = encode(spawn, number, self.oom_score, self.process_limit)?;
        let fds: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        sendmsg::<()>(
            self.socket.as_raw_fd(),
            &[IoSlice::new(&message)],
            &[ControlMessage::ScmRights(&fds)],
            MsgFlags::MSG_NOSIGNAL,
            None,
        )
        .map_err(lost)?;
        let (answer, pid) = self.receive(Kind::Started, None)?;
        let (stage, error) = (answer.u32(16), answer.i32(20));
        let stage = match stage {
            0 => {
                let executed = Nanos(answer.u64(40));
                let deadline = spawn.timeout.map_or(0, |timeout| {
                    executed.0.saturating_add(timeout.0).saturating_add(self.grace.0)
                });
                self.deadline.store(deadline, Ordering::Relaxed);
                return Ok(Started {
                    pid: if self.fence.is_namespace() { pid } else { answer.u32(24) },
                    requested: Nanos(answer.u64(32)),
                    executed,
                    used: Nanos(answer.u64(48)),
                });
            }
            2 => "no new process",
            3 => "its limits cannot be set",
            4 => "exec",
            _ => "the request was not understood",
        };
        // Whatever it lacks for that, another may have.
        if !matches!(stage, "exec" | "its limits cannot be set") {
            self.is_spent.store(true, Ordering::Relaxed);
        }
        Err(LauncherError::Start { stage, source: io::Error::from_raw_os_error(error) })
    }

    /// Waits for the program's end, asking for it when `cancel` says so, or when
    /// a program without a limit takes longer than some seconds.
    pub fn wait(&self, cancel: &Cancel) -> Result<Ended, LauncherError> {
        let (answer, _) = self.receive(Kind::Ended, Some(cancel))?;
        // What was written before all had ended and is not read yet.
        self.discard_pending();
        let trouble = answer.u32(28);
        let discarded = self.discarded.swap(0, Ordering::Relaxed);
        if trouble != 0 || discarded > 0 {
            self.is_spent.store(true, Ordering::Relaxed);
        }
        Ok(Ended {
            status: answer.i32(16),
            why: match answer.u32(20) {
                0 => Why::Itself,
                1 => Why::Timeout,
                _ => Why::Cancelled,
            },
            stray: answer.u32(24),
            at: Nanos(answer.u64(32)),
            user: Nanos(answer.u64(40).saturating_mul(1_000)),
            system: Nanos(answer.u64(48).saturating_mul(1_000)),
            peak: Bytes(answer.u64(56).saturating_mul(1 << 10)),
            page_faults: answer.u64(64).saturating_add(answer.u64(72)),
            context_switches: answer.u64(80).saturating_add(answer.u64(88)),
            family: answer.u64(96) != 0,
            unended: trouble & 1 != 0,
            tampered: trouble & 2 != 0,
            discarded,
        })
    }

    /// Asks for the end of what runs; [`Self::wait`] then returns soon.
    pub fn kill(&self) {
        // Fails only when the launcher is gone, which `wait` reports.
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let _ = nix::sys::socket::send(self.socket.as_raw_fd(), &[0], flags);
    }

    /// Reads until there is the answer that is due, and leaves out what others
    /// wrote. Returns it with the process that it tells of. Ends in any case.
    fn receive(&self, kind: Kind, cancel: Option<&Cancel>) -> Result<(Answer, u32), LauncherError> {
        let limit = self.deadline.load(Ordering::Relaxed);
        let is_endless = limit == 0;
        let mut deadline = match cancel {
            Some(_) if is_endless => now().0 + ENDLESS.0,
            Some(_) => limit,
            None => now().0 + PATIENCE.0,
        };
        let mut asked = false;
        loop {
            let late = now().0 >= deadline;
            let wants_end = |it: &Cancel| it.is_cancelled() || (late && is_endless);
            if cancel.is_some_and(wants_end) && !asked {
                self.kill();
                asked = true;
                deadline = now().0 + self.grace.0;
            } else if late {
                return Err(self.lost("gives no answer", io::ErrorKind::TimedOut.into()));
            }
            let mut watched = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut watched, PollTimeout::from(Cancel::POLL_MS)) {
                Ok(0) | Err(Errno::EINTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(self.lost("is gone", error.into())),
            }
            match self.read() {
                Ok(Some((answer, sender))) if self.is_due(&answer, kind, sender) => {
                    return Ok((answer, sender));
                }
                Ok(_) => _ = self.discarded.fetch_add(1, Ordering::Relaxed),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(error) => return Err(self.lost("is gone", error.into())),
            }
        }
    }

    /// Reads a message with its sender's process id; `None`: it is none that a
    /// launcher writes.
    fn read(&self) -> Result<Option<(Answer, u32)>, Errno> {
        let mut buffer = [0; Answer::LONGEST + 1];
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let mut space = nix::cmsg_space!(UnixCredentials);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
        let size = message.bytes;
        let cut = message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC);
        let sender = message.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmCredentials(it) => u32::try_from(it.pid()).ok(),
            _ => None,
        });
        // An empty message and a hang-up look alike but for who sent it.
        match (size, sender) {
            (0, None | Some(0)) => Err(Errno::EPIPE),
            (_, Some(sender)) if !cut => {
                Ok(Answer::decode(&buffer[..size]).map(|answer| (answer, sender)))
            }
            _ => Ok(None),
        }
    }

    /// Whether a message is the answer that is waited for, from whom it must be.
    fn is_due(&self, answer: &Answer, kind: Kind, sender: u32) -> bool {
        answer.kind() == kind
            && match kind {
                Kind::Hello => true,
                // In a namespace the kernel names the new process instead.
                Kind::Started => answer.number() == self.number.load(Ordering::Relaxed),
                Kind::Ended => {
                    answer.number() == self.number.load(Ordering::Relaxed) && sender == self.pid
                }
            }
    }

    /// Takes what lies there unasked, which is nothing unless somebody else wrote
    /// it.
    fn discard_pending(&self) {
        const MOST: u32 = 1 << 16;
        while self.discarded.load(Ordering::Relaxed) < MOST && self.read().is_ok() {
            self.discarded.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn lost(&self, action: &'static str, source: io::Error) -> LauncherError {
        self.is_spent.store(true, Ordering::Relaxed);
        LauncherError::Process { action, source }
    }

    /// Whether the process that we started ends within that time.
    fn ends_within(&mut self, time: Duration) -> bool {
        let start = Instant::now();
        let mut pause = Duration::from_micros(200);
        loop {
            match self.process.try_wait() {
                Ok(None) if start.elapsed() < time => std::thread::sleep(pause),
                Ok(None) => return false,
                _ => return true,
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        // The hang-up tells it to kill what runs and to end.
        let _ =
            nix::sys::socket::shutdown(self.socket.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        if !self.ends_within(ENDING) {
            // Where there is a namespace, all in it ends with this.
            let _ = self.process.kill();
            self.ends_within(ENDING);
        }
    }
}

/// The request as `launcher.c` reads it, with the descriptors to send along.
fn encode<'a>(
    spawn: &Spawn<'a>,
    number: u64,
    oom_score: Option<i32>,
    process_limit: Option<u64>,
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
    if spawn.extra.len() > MAX_EXTRA {
        let message = format!("more than {MAX_EXTRA} descriptors for a program");
        return Err(LauncherError::Arguments(message));
    }
    let mut fds = vec![executable, spawn.stdin, spawn.stdout, spawn.stderr];
    fds.extend(spawn.extra);
    let size = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_ne_bytes();
    let mut message = Vec::with_capacity(72 + strings.len());
    message.extend(MAGIC.to_ne_bytes());
    message.extend(size(strings.len()));
    message.extend(size(fds.len()));
    message.extend(size(spawn.args.len()));
    message.extend(number.to_ne_bytes());
    message.extend(spawn.timeout.map_or(0, |limit| limit.0).to_ne_bytes());
    message.extend(spawn.data_limit.map_or(0, |limit| limit.0).to_ne_bytes());
    message.extend(spawn.file_limit.map_or(0, |limit| limit.0).to_ne_bytes());
    message.extend(process_limit.unwrap_or(0).to_ne_bytes());
    message.extend(spawn.cpu.map_or(-1, i32::from).to_ne_bytes());
    message.extend(by_path.to_ne_bytes());
    message.extend(size(spawn.env.len()));
    message.extend(oom_score.unwrap_or(OOM_KEEP).to_ne_bytes());
    message.extend(strings);
    Ok((message, fds))
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
        let launcher = Launcher::start(Privileges::Function).expect("the launcher starts");
        let mut files = Stdio3::open(&Input::given(*b"hello")).expect("memory files");
        let spawn = Spawn {
            program: Program::Path(Path::new(path)),
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
        let launcher = Launcher::start(Privileges::Function).expect("the launcher starts");
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
                extra: &[],
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

    /// A launcher whose place the test itself takes, with the socket for that.
    fn impersonated() -> (Launcher, OwnedFd) {
        let mut launcher = Launcher::start(Privileges::Function).expect("the launcher starts");
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .expect("sockets");
        setsockopt(&ours, sockopt::PassCred, &true).expect("set");
        (launcher.socket, launcher.grace) = (ours, Nanos(50_000_000));
        launcher.number = AtomicU64::new(77);
        launcher.deadline = AtomicU64::new(now().0 + 300_000_000);
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
    fn an_end_that_is_not_the_launchers_is_not_believed() {
        let (launcher, socket) = impersonated();
        // The number is right, but another process sent it: this one.
        say(&socket, &ended(77));
        let error = launcher.wait(&Cancel::default()).expect_err("not believed").to_string();
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
        // A surplus one does not wait for the next invocation.
        say(&socket, &ended(0));
        let ended = launcher.wait(&Cancel::default()).expect("the right one");
        assert_eq!((ended.status, ended.discarded), (7 << 8, 8));
        assert!(launcher.is_spent(), "it is to be replaced");
        assert!(launcher.read().is_err(), "nothing is left");
    }

    #[test]
    fn a_launcher_that_is_stopped_from_outside_is_waited_for_no_longer_than_its_grace() {
        use nix::sys::signal::{Signal, kill};
        for wanted in [true, false] {
            let mut launcher =
                Launcher::start_fenced(Privileges::Function, wanted).expect("the launcher starts");
            launcher.grace = Nanos(300_000_000);
            let files = Stdio3::open(&Input::default()).expect("memory files");
            let args = ["sleep", "300"];
            let pid = nix::unistd::Pid::from_raw(i32::try_from(launcher.pid()).expect("a pid"));
            let started =
                launcher.spawn(&plain_spawn("/bin/sleep", &args, &files)).expect("started");
            launcher.deadline = AtomicU64::new(now().0);
            kill(pid, Signal::SIGSTOP).expect("stopped");
            let error = launcher.wait(&Cancel::default()).expect_err("no answer").to_string();
            assert!(error.contains("gives no answer"), "{error}");
            drop(launcher);
            assert!(ends_soon(started.pid), "{wanted}: what it ran goes with it");
        }
    }

    fn plain_spawn<'a>(path: &'a str, args: &'a [&'a str], files: &'a Stdio3) -> Spawn<'a> {
        Spawn {
            program: Program::Path(Path::new(path)),
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
        }
    }

    /// Whether that process, which is a child of nobody here, ends within seconds.
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
        let files = Stdio3::open(&Input::default()).expect("memory files");
        let script = "setsid sleep 300 & (sleep 301 &) ; exit 0";
        let args = ["sh", "-c", script];
        launcher.spawn(&plain_spawn("/bin/sh", &args, &files)).expect("started");
        let ended = launcher.wait(&Cancel::default()).expect("ended");
        assert_eq!((ended.status, ended.stray, ended.unended), (0, 2, false));
    }

    #[test]
    fn what_a_killed_launcher_had_started_is_killed_without_a_namespace_too() {
        use nix::sys::signal::{Signal, kill};
        for wanted in [true, false] {
            let launcher =
                Launcher::start_fenced(Privileges::Function, wanted).expect("the launcher starts");
            let files = Stdio3::open(&Input::default()).expect("memory files");
            // Two of them, as one could be told by its parent's death.
            let args = ["sh", "-c", "sleep 300 & sleep 301"];
            let started = launcher.spawn(&plain_spawn("/bin/sh", &args, &files)).expect("started");
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
            let error = launcher.wait(&Cancel::default()).expect_err("gone").to_string();
            assert!(error.contains("is gone"), "{error}");
            assert!(ends_soon(started.pid) && ends_soon(child), "fenced: {wanted}");
        }
    }

    #[test]
    fn what_cannot_start_says_so() {
        let launcher = Launcher::start(Privileges::Function).expect("the launcher starts");
        let files = Stdio3::open(&Input::default()).expect("memory files");
        let spawn = Spawn {
            program: Program::Path(Path::new("/no/such/program")),
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
        };
        let error = launcher.spawn(&spawn).expect_err("refused").to_string();
        assert!(error.starts_with("cannot start the program: exec: No such file"), "{error}");
        let pinned =
            Spawn { cpu: Some(1023), program: Program::Path(Path::new("/bin/true")), ..spawn };
        let error = launcher.spawn(&pinned).expect_err("refused").to_string();
        assert!(error.contains("limits cannot be set"), "{error}");
    }
}
