//! Client side of the launcher process: see `launcher.c` for its purpose.

mod fence;
pub(crate) mod messages;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
    UnixCredentials, recvmsg, sendmsg, setsockopt, socketpair, sockopt,
};
use thiserror::Error;

pub(super) use self::fence::{Privileges, ProcessFence};
use self::messages::{LauncherMessage, MessageKind};
use super::{Cancel, monotonic_now};
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_meter::own_groups::OomKillCounter;
use cyclometer_system::sys::explain_file_size_limit;
use cyclometer_workload::{CpuShare, FunctionInput};

/// The static program that `build.rs` compiled.
const LAUNCHER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/launcher"));

const MAGIC: u32 = 0x6379_636c;
/// Value that leaves a child's `oom_score_adj` alone.
const OOM_KEEP: i32 = -10_000;
const MAX_ARGS: usize = 1024;
const MAX_ENV: usize = 128;
const MAX_MESSAGE: usize = 60 << 10;
/// Stands for a count of kills that could not be read.
const UNKNOWN_KILLS: u64 = u64::MAX;
/// Most descriptors that a program can be given from 3 on.
const MAX_EXTRA: usize = 4;

/// Longest wait for a response that does not depend on a function's end: a busy machine may take
/// long, but not for ever.
const RESPONSE_TIMEOUT: Nanos = Nanos(30_000_000_000);
/// Longest time from a function's time limit, or from a request to kill it, to its end. The
/// launcher itself gives up on processes that do not end after 5 s.
const END_GRACE: Nanos = Nanos(10_000_000_000);
/// Longest time for a program without a limit to end, once its end is waited for.
const UNLIMITED_END_TIMEOUT: Nanos = Nanos(5_000_000_000);
/// Longest time for the launcher to end, with everything that it started.
const LAUNCHER_END_TIMEOUT: Duration = Duration::from_secs(10);

/// Failure between the launcher and the lane, or at the start of a function.
#[derive(Debug, Error)]
pub(super) enum LauncherError {
    /// The launcher cannot be started, or has ended.
    #[error("the launcher process {action}: {source}")]
    Process { action: &'static str, source: io::Error },
    /// The function could not be started.
    #[error("cannot start the program: {stage}: {source}")]
    Start { stage: &'static str, source: io::Error },
    /// A limit of the function is above the hard limit of this process.
    #[error(
        "cannot start the program: its limit of {what} cannot be set to {wanted}: {source}; the \
         hard limit here is {most} (`ulimit -H{letter}`): {remedy}"
    )]
    Limit {
        what: &'static str,
        wanted: String,
        most: String,
        letter: char,
        remedy: &'static str,
        source: io::Error,
    },
    /// The program cannot start in its folder.
    #[error("cannot start the program in {folder}: {source}")]
    Folder { folder: String, source: io::Error },
    /// There are more or longer arguments than the launcher takes.
    #[error("{0}")]
    Arguments(String),
}

/// A program to start.
pub(super) enum SpawnTarget<'a> {
    /// An open executable.
    File(BorrowedFd<'a>),
    /// A path, which may name a script.
    Path(&'a Path),
}

/// Request to start a program.
pub(super) struct SpawnRequest<'a> {
    pub program: SpawnTarget<'a>,
    /// Arguments with argument 0.
    pub args: &'a [&'a str],
    /// Complete environment, as `NAME=VALUE`.
    pub env: &'a [&'a str],
    pub stdin: BorrowedFd<'a>,
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
    /// Descriptors that the child finds from 3 on; it has no others.
    pub extra: &'a [BorrowedFd<'a>],
    pub timeout: Option<Nanos>,
    /// Limit of all memory of the program, which only a control group can set: see
    /// [`super::program_run::Runner`].
    pub memory_limit: Option<Bytes>,
    /// Limit of private writable memory, for each process by itself.
    pub data_limit: Option<Bytes>,
    /// Limit of each file's size, standard output included.
    pub file_limit: Option<Bytes>,
    pub cpu: Option<u16>,
    /// Absolute path of the folder in which it starts.
    pub start_folder: &'a Path,
    /// Share of CPUs of everything in the launcher's control group.
    pub cpu_share: Option<CpuShare>,
}

/// A program that was started.
#[derive(Debug, Clone, Copy)]
pub(super) struct StartedProgram {
    pub pid: u32,
    pub requested: Nanos,
    /// Time at which exec was called, taken by the new process itself: when the launcher is
    /// scheduled again says nothing about that.
    pub executed: Nanos,
    /// CPU time that the process had used by then, for its set-up.
    pub setup_cpu_time: Nanos,
}

/// Reason why a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndCause {
    ByItself,
    Timeout,
    Cancelled,
}

/// End of a program, and the kernel's account of it.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that was seen")]
pub(super) struct ProgramEnd {
    /// Status as of `wait(2)`.
    pub status: i32,
    pub why: EndCause,
    /// Number of processes that it left behind, killed since.
    pub stray_processes: u32,
    pub at: Nanos,
    /// CPU time of all its processes, those left behind included.
    pub user: Nanos,
    pub system: Nanos,
    /// Peak resident memory of its largest process.
    pub peak: Bytes,
    /// Whether the program had other processes.
    pub had_children: bool,
    /// Whether meanwhile the kernel killed something in cyclometer's own control
    /// group for want of memory.
    pub is_memory_starved: bool,
    pub page_faults: u64,
    pub context_switches: u64,
    /// Whether some of its processes were killed and did not end.
    pub has_unended_processes: bool,
    /// Whether the launcher's limits or its scheduling priority were changed.
    pub is_tampered: bool,
    /// Number of messages that came in the launcher's name and were not its own.
    pub discarded_messages: u32,
}

#[cfg(test)]
impl ProgramEnd {
    /// Creates an end that used nothing, for tests to change.
    pub(crate) fn for_test(status: i32, why: EndCause) -> Self {
        Self {
            status,
            why,
            stray_processes: 0,
            at: Nanos(0),
            user: Nanos(0),
            system: Nanos(0),
            peak: Bytes(0),
            had_children: false,
            is_memory_starved: false,
            page_faults: 0,
            context_switches: 0,
            has_unended_processes: false,
            is_tampered: false,
            discarded_messages: 0,
        }
    }
}

/// A running launcher. Dropping it kills and reaps everything that it started.
#[derive(Debug)]
pub(super) struct Launcher {
    socket: OwnedFd,
    process: Child,
    /// Process that starts functions, by its id in our namespace; where there is a PID namespace, a
    /// child of `process`.
    pid: u32,
    fence: ProcessFence,
    /// Value for its children's `oom_score_adj`, where the launcher's own differs.
    oom_score: Option<i32>,
    /// Limit of the user's processes for its children.
    process_limit: Option<u64>,
    /// Number of the last request, which responses to it repeat.
    number: AtomicU64,
    /// Time at which that program must have ended, on the monotonic clock; 0: none.
    deadline: AtomicU64,
    /// Longest time from a limit to the end: [`END_GRACE`], except in tests.
    grace: Nanos,
    /// Number of foreign messages since the last end.
    discarded: AtomicU32,
    /// Whether the launcher can no longer be trusted or waited for.
    is_spent: AtomicBool,
    /// Kills for want of memory, and how many there were before the present run.
    kills: Option<OomKillCounter>,
    killed_before: AtomicU64,
}

impl Launcher {
    /// Starts a launcher, with the best process fence that is available.
    pub fn start(privileges: Privileges) -> Result<Self, LauncherError> {
        match Self::start_fenced(privileges, true) {
            Ok(launcher) => Ok(launcher),
            // A namespace that was only half set up.
            Err(first) => {
                let mut launcher = Self::start_fenced(privileges, false)?;
                launcher.fence.set_refusal(first.to_string());
                Ok(launcher)
            }
        }
    }

    /// Starts a launcher, without namespaces if `wanted` is false.
    fn start_fenced(privileges: Privileges, wanted: bool) -> Result<Self, LauncherError> {
        let failed = |source| LauncherError::Process { action: "cannot be started", source };
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .map_err(|error| failed(error.into()))?;
        setsockopt(&ours, sockopt::PassCred, &true).map_err(|error| failed(error.into()))?;
        let mut image = cyclometer_workload::memory_file("cyclometer-run").map_err(failed)?;
        image.write_all(LAUNCHER).map_err(explain_file_size_limit).map_err(failed)?;
        // Two zeros leave the limit alone. The launcher itself keeps ours: it checks that nobody
        // changes its own limits.
        let (soft, hard) = crate::descriptors::initial_limits().unwrap_or((0, 0));
        let process = Command::new(format!("/proc/self/fd/{}", image.as_raw_fd()))
            .arg(privileges.capability_mask())
            .arg(if wanted { "fenced" } else { "plain" })
            .args([soft.to_string(), hard.to_string()])
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
            fence: ProcessFence::default(),
            oom_score: None,
            process_limit: None,
            number: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            grace: END_GRACE,
            discarded: AtomicU32::new(0),
            is_spent: AtomicBool::new(false),
            kills: OomKillCounter::for_this_process(),
            killed_before: AtomicU64::new(0),
        };
        let (hello, pid) = launcher.receive_response(MessageKind::Hello, None)?;
        launcher.fence = ProcessFence::new(hello.u32_at(8), hello.i32_at(12), privileges);
        if launcher.fence.is_broken() {
            return Err(failed(io::ErrorKind::PermissionDenied.into()));
        }
        launcher.pid = pid;
        launcher.fence.protect_recorder();
        Ok(launcher)
    }

    /// Returns the launcher's process id: the parent of everything that it starts.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the fence between functions and other processes.
    pub fn fence(&self) -> &ProcessFence {
        &self.fence
    }

    /// Returns whether the launcher has to be replaced: it is lost, or another process wrote in its
    /// name.
    pub(crate) fn is_spent(&self) -> bool {
        self.is_spent.load(Ordering::Relaxed)
    }

    /// Limits the number of the user's processes for all children.
    pub fn limit_processes(&mut self, limit: u64) {
        self.process_limit = Some(limit);
    }

    /// Exempts the launcher, and nothing that it starts, from being killed when memory runs out in
    /// its control group. Only root may; where it is not possible, the kernel still prefers
    /// processes that use more memory.
    pub(crate) fn survive_out_of_memory(&mut self) {
        let path = format!("/proc/{}/oom_score_adj", self.pid());
        let Ok(usual) = cyclometer_system::files::read_kernel_text(&path) else { return };
        let Ok(usual) = usual.trim().parse() else { return };
        if std::fs::write(&path, "-1000").is_ok() {
            self.oom_score = Some(usual);
        }
    }

    /// Starts a program. No other may run in this launcher at that time.
    pub(crate) fn spawn_program(
        &self,
        spawn: &SpawnRequest<'_>,
    ) -> Result<StartedProgram, LauncherError> {
        let lost = |errno: Errno| self.mark_lost("is gone", errno.into());
        self.discard_pending();
        self.killed_before.store(self.count_memory_kills(), Ordering::Relaxed);
        let number = cyclometer_system::sys::random_number()
            .map_err(|source| self.mark_lost("gets no number", source))?;
        self.number.store(number, Ordering::Relaxed);
        let (message, fds) = encode_request(spawn, number, self.oom_score, self.process_limit)?;
        let fds: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        sendmsg::<()>(
            self.socket.as_raw_fd(),
            &[IoSlice::new(&message)],
            &[ControlMessage::ScmRights(&fds)],
            MsgFlags::MSG_NOSIGNAL,
            None,
        )
        .map_err(lost)?;
        let (answer, pid) = self.receive_response(MessageKind::Started, None)?;
        let (stage, error) = (answer.u32_at(16), answer.i32_at(20));
        let stage = match stage {
            0 => {
                let executed = Nanos(answer.u64_at(40));
                let deadline = spawn.timeout.map_or(0, |timeout| {
                    executed.0.saturating_add(timeout.0).saturating_add(self.grace.0)
                });
                self.deadline.store(deadline, Ordering::Relaxed);
                return Ok(StartedProgram {
                    pid: if self.fence.is_namespace() { pid } else { answer.u32_at(24) },
                    requested: Nanos(answer.u64_at(32)),
                    executed,
                    setup_cpu_time: Nanos(answer.u64_at(48)),
                });
            }
            2 => "no new process",
            3 => "its limits cannot be set",
            4 => "exec",
            8 => return Err(folder_error(spawn.start_folder, error)),
            5..=7 => return Err(limit_error(stage, spawn, self.process_limit, error)),
            _ => "the request was not understood",
        };
        // Another launcher may have the resources that this one lacks.
        if !matches!(stage, "exec" | "its limits cannot be set") {
            self.is_spent.store(true, Ordering::Relaxed);
        }
        Err(LauncherError::Start { stage, source: io::Error::from_raw_os_error(error) })
    }

    /// Waits for the program's end, and requests it when `cancel` says so, or when a program
    /// without a limit takes longer than some seconds.
    pub(crate) fn wait_for_end(&self, cancel: &Cancel) -> Result<ProgramEnd, LauncherError> {
        let (answer, _) = self.receive_response(MessageKind::Ended, Some(cancel))?;
        // Messages that were written before all processes had ended and are not read yet.
        self.discard_pending();
        let trouble = answer.u32_at(28);
        let discarded = self.discarded.swap(0, Ordering::Relaxed);
        if trouble != 0 || discarded > 0 {
            self.is_spent.store(true, Ordering::Relaxed);
        }
        Ok(ProgramEnd {
            status: answer.i32_at(16),
            why: match answer.u32_at(20) {
                0 => EndCause::ByItself,
                1 => EndCause::Timeout,
                _ => EndCause::Cancelled,
            },
            stray_processes: answer.u32_at(24),
            at: Nanos(answer.u64_at(32)),
            user: Nanos(answer.u64_at(40).saturating_mul(1_000)),
            system: Nanos(answer.u64_at(48).saturating_mul(1_000)),
            peak: Bytes(answer.u64_at(56).saturating_mul(1 << 10)),
            page_faults: answer.u64_at(64).saturating_add(answer.u64_at(72)),
            context_switches: answer.u64_at(80).saturating_add(answer.u64_at(88)),
            had_children: answer.u64_at(96) != 0,
            is_memory_starved: self.was_killed_for_memory(),
            has_unended_processes: trouble & 1 != 0,
            is_tampered: trouble & 2 != 0,
            discarded_messages: discarded,
        })
    }

    /// Returns the kills so far, or [`UNKNOWN_KILLS`]: a count that cannot be read is not 0.
    fn count_memory_kills(&self) -> u64 {
        self.kills.as_ref().and_then(OomKillCounter::read_count).unwrap_or(UNKNOWN_KILLS)
    }

    /// Returns whether there were kills since the start of the run, as far as both counts are
    /// known.
    fn was_killed_for_memory(&self) -> bool {
        let (before, now) = (self.killed_before.load(Ordering::Relaxed), self.count_memory_kills());
        before != UNKNOWN_KILLS && now != UNKNOWN_KILLS && now > before
    }

    /// Requests the end of the running program; [`Self::wait_for_end`] then returns soon.
    pub fn kill(&self) {
        // Fails only when the launcher is gone, which `wait` reports.
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let _ = nix::sys::socket::send(self.socket.as_raw_fd(), &[0], flags);
    }

    /// Reads until the expected response arrives, and discards messages of others. Returns it with
    /// the process that it concerns. Always ends.
    fn receive_response(
        &self,
        kind: MessageKind,
        cancel: Option<&Cancel>,
    ) -> Result<(LauncherMessage, u32), LauncherError> {
        let limit = self.deadline.load(Ordering::Relaxed);
        let is_endless = limit == 0;
        let mut deadline = match cancel {
            Some(_) if is_endless => monotonic_now().0 + UNLIMITED_END_TIMEOUT.0,
            Some(_) => limit,
            None => monotonic_now().0 + RESPONSE_TIMEOUT.0,
        };
        let mut asked = false;
        loop {
            let late = monotonic_now().0 >= deadline;
            let wants_end = |it: &Cancel| it.is_cancelled() || (late && is_endless);
            if cancel.is_some_and(wants_end) && !asked {
                self.kill();
                asked = true;
                deadline = monotonic_now().0 + self.grace.0;
            } else if late {
                return Err(self.mark_lost("gives no answer", io::ErrorKind::TimedOut.into()));
            }
            let mut watched = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut watched, PollTimeout::from(Cancel::POLL_MS)) {
                Ok(0) | Err(Errno::EINTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(self.mark_lost("is gone", error.into())),
            }
            match self.read_message() {
                Ok(Some((answer, sender))) if self.is_due(&answer, kind, sender) => {
                    return Ok((answer, sender));
                }
                Ok(_) => _ = self.discarded.fetch_add(1, Ordering::Relaxed),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(error) => return Err(self.mark_lost("is gone", error.into())),
            }
        }
    }

    /// Reads a message with its sender's process id; `None`: it is not one that a launcher writes.
    fn read_message(&self) -> Result<Option<(LauncherMessage, u32)>, Errno> {
        let mut buffer = [0; LauncherMessage::LONGEST + 1];
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
        // An empty message and a hang-up differ only in the sender.
        match (size, sender) {
            (0, None | Some(0)) => Err(Errno::EPIPE),
            (_, Some(sender)) if !cut => {
                Ok(LauncherMessage::decode(&buffer[..size]).map(|answer| (answer, sender)))
            }
            _ => Ok(None),
        }
    }

    /// Returns whether a message is the expected response, from the expected process.
    fn is_due(&self, answer: &LauncherMessage, kind: MessageKind, sender: u32) -> bool {
        answer.kind() == kind
            && match kind {
                MessageKind::Hello => true,
                // In a namespace the kernel reports the new process as the sender instead.
                MessageKind::Started => {
                    answer.request_number() == self.number.load(Ordering::Relaxed)
                }
                MessageKind::Ended => {
                    answer.request_number() == self.number.load(Ordering::Relaxed)
                        && sender == self.pid
                }
            }
    }

    /// Discards pending messages that were not requested, which only another process can have
    /// written.
    fn discard_pending(&self) {
        const MOST: u32 = 1 << 16;
        while self.discarded.load(Ordering::Relaxed) < MOST && self.read_message().is_ok() {
            self.discarded.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn mark_lost(&self, action: &'static str, source: io::Error) -> LauncherError {
        self.is_spent.store(true, Ordering::Relaxed);
        LauncherError::Process { action, source }
    }

    /// Returns whether the process that we started ends within that time.
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
        // The hang-up makes the launcher kill the running program and end.
        let _ =
            nix::sys::socket::shutdown(self.socket.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        if !self.ends_within(LAUNCHER_END_TIMEOUT) {
            // Where there is a PID namespace, everything in it ends with this process.
            let _ = self.process.kill();
            self.ends_within(LAUNCHER_END_TIMEOUT);
        }
    }
}

/// Builds the error for a limit that could not be set, with the present hard limit.
fn limit_error(
    stage: u32,
    spawn: &SpawnRequest<'_>,
    process_limit: Option<u64>,
    error: i32,
) -> LauncherError {
    let bytes = |limit: Option<Bytes>| limit.map_or_else(String::new, |limit| limit.to_string());
    let (what, resource, wanted, letter) = match stage {
        5 => ("private memory (RLIMIT_DATA)", Resource::RLIMIT_DATA, bytes(spawn.data_limit), 'd'),
        6 => ("file size (RLIMIT_FSIZE)", Resource::RLIMIT_FSIZE, bytes(spawn.file_limit), 'f'),
        _ => (
            "processes (RLIMIT_NPROC)",
            Resource::RLIMIT_NPROC,
            process_limit.map_or_else(String::new, |limit| limit.to_string()),
            'u',
        ),
    };
    let most = match getrlimit(resource) {
        Ok((_, hard)) if hard == libc::RLIM_INFINITY => "unlimited".to_owned(),
        Ok((_, hard)) if stage == 7 => hard.to_string(),
        Ok((_, hard)) => Bytes(hard).to_string(),
        Err(_) => "unknown".to_owned(),
    };
    let remedy = match stage {
        5 => "raise that, which takes root, or take a smaller --memory",
        _ => "raise that, which takes root",
    };
    LauncherError::Limit {
        what,
        wanted,
        most,
        letter,
        remedy,
        source: io::Error::from_raw_os_error(error),
    }
}

/// Builds the error for a folder in which the program cannot start.
fn folder_error(folder: &Path, error: i32) -> LauncherError {
    let folder = folder.display().to_string();
    LauncherError::Folder { folder, source: io::Error::from_raw_os_error(error) }
}

/// Encodes the request as `launcher.c` reads it, with the descriptors to send along.
fn encode_request<'a>(
    spawn: &SpawnRequest<'a>,
    number: u64,
    oom_score: Option<i32>,
    process_limit: Option<u64>,
) -> Result<(Vec<u8>, Vec<BorrowedFd<'a>>), LauncherError> {
    let mut strings = Vec::new();
    let (by_path, executable) = match &spawn.program {
        SpawnTarget::File(file) => (0_u32, *file),
        SpawnTarget::Path(path) => {
            strings.extend_from_slice(path.as_os_str().as_encoded_bytes());
            // Any descriptor: the launcher does not use it.
            (1, spawn.stdin)
        }
    };
    strings.push(0);
    for arg in spawn.args.iter().chain(spawn.env) {
        strings.extend_from_slice(arg.as_bytes());
        strings.push(0);
    }
    strings.extend_from_slice(spawn.start_folder.as_os_str().as_encoded_bytes());
    strings.push(0);
    let too_many = spawn.args.len() > MAX_ARGS || spawn.env.len() > MAX_ENV;
    if too_many || strings.len() > MAX_MESSAGE {
        return Err(LauncherError::Arguments(format!(
            "{} arguments and {} variables of {} bytes are more than the {MAX_ARGS} and {MAX_ENV} \
             of {MAX_MESSAGE} bytes that fit",
            spawn.args.len(),
            spawn.env.len(),
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
    /// Opens standard input at its start, and empty outputs.
    pub(crate) fn with_input(input: &FunctionInput) -> io::Result<Self> {
        Ok(Self {
            stdin: input.open_file().map_err(io::Error::other)?,
            stdout: cyclometer_workload::memory_file("cyclometer-stdout")?,
            stderr: cyclometer_workload::memory_file("cyclometer-stderr")?,
        })
    }
}
