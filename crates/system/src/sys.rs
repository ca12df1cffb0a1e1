//! Calls of the system that take `unsafe` code: how this process was started, and
//! what it was handed; how its threads are interrupted; limits of another
//! process; the guard of a helper; and random numbers.
#![expect(unsafe_code, reason = "kept here, in one small place, so that it can be read at once")]

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use cyclometer_core::units::Bytes;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, raise, sigaction};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, getpid, getppid, setpgid};

use crate::helper::HelperLimits;

/// Takes the descriptor that the next message of a socket brings.
///
/// # Errors
/// When it brings none.
pub fn receive_descriptor(socket: &OwnedFd) -> std::io::Result<OwnedFd> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    use std::os::fd::FromRawFd;
    let mut word = [0; 1];
    let mut parts = [std::io::IoSliceMut::new(&mut word)];
    let mut room = nix::cmsg_space!([i32; 1]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut room), flags)?;
    let brought = message.cmsgs()?.find_map(|it| match it {
        ControlMessageOwned::ScmRights(all) => all.first().copied(),
        _ => None,
    });
    let descriptor = brought.ok_or_else(|| std::io::Error::other("no descriptor was sent"))?;
    // SAFETY: the kernel has just opened it for this process, and there is room
    // for one, which is taken here alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Takes over a descriptor that this process was started with.
///
/// Returns `None` for one that is not open. To be called once for each, before
/// anything else in the process opens files.
#[must_use]
pub fn inherited(descriptor: i32) -> Option<OwnedFd> {
    use std::os::fd::FromRawFd;
    std::fs::metadata(format!("/proc/self/fd/{descriptor}")).ok()?;
    // SAFETY: it is open, and the caller is the only one to take it.
    Some(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// A number from the kernel's generator, which nobody can guess.
///
/// # Errors
/// Where the kernel gives none: not since Linux 3.17.
pub fn random_number() -> std::io::Result<u64> {
    let mut bytes = [0_u8; 8];
    // SAFETY: the kernel writes no more than the bytes that there are.
    let size = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if size == 8 { Ok(u64::from_ne_bytes(bytes)) } else { Err(std::io::Error::last_os_error()) }
}

/// Whether whoever started this process wants it to outlive its terminal, as
/// `nohup` does.
#[must_use]
pub fn ignores_hangup() -> bool {
    let process = procfs::process::Process::myself();
    let status = process.and_then(|process| process.status());
    status.is_ok_and(|status| status.sigign & (1 << (libc::SIGHUP - 1)) != 0)
}

/// Interrupts system calls that threads of this process wait in. There must be
/// a handler for SIGURG, or nothing comes of it.
pub fn interrupt_threads() {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return };
    let numbers = threads.filter_map(|it| it.ok()?.file_name().to_str()?.parse::<i32>().ok());
    for thread in numbers {
        // SAFETY: takes numbers only; without such a thread it fails.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGURG) };
    }
}

/// Whether a write of this process would have made a file larger than it may be.
static REACHED_FILE_SIZE: AtomicBool = AtomicBool::new(false);

/// Makes writes beyond the file size limit (`ulimit -f`) fail rather than end
/// this process without a word. A program that it starts gets the usual end back,
/// for a handler does not outlive the start of one.
pub fn fail_at_file_size_limit() {
    extern "C" fn remember(_: i32) {
        REACHED_FILE_SIZE.store(true, Ordering::Relaxed);
    }
    let action =
        SigAction::new(SigHandler::Handler(remember), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler stores one atomic value.
    let former = unsafe { sigaction(Signal::SIGXFSZ, &action) };
    // Who started this process has it ignored, and so have those that it starts.
    if let Ok(former) = former.as_ref()
        && matches!(former.handler(), SigHandler::SigIgn)
    {
        // SAFETY: sets what was set before.
        let _ = unsafe { sigaction(Signal::SIGXFSZ, former) };
    }
}

/// Returns the bytes that a file may have, if a write of this process has failed
/// for that.
#[must_use]
pub fn reached_file_size_limit() -> Option<u64> {
    file_size_limit().filter(|_| REACHED_FILE_SIZE.load(Ordering::Relaxed))
}

/// Returns an error of a write with its cause, where that is the file size limit:
/// files in memory have one, too.
#[must_use]
pub fn name_file_size_limit(error: std::io::Error) -> std::io::Error {
    match file_size_limit().filter(|_| error.kind() == std::io::ErrorKind::FileTooLarge) {
        Some(limit) => std::io::Error::new(
            error.kind(),
            format!("{error}: it is the file size limit of {} (ulimit -f)", Bytes(limit)),
        ),
        None => error,
    }
}

/// Returns the bytes that a file may have which this process writes, if there is
/// a limit.
#[must_use]
pub fn file_size_limit() -> Option<u64> {
    soft_limit(Resource::RLIMIT_FSIZE)
}

/// Returns the soft limit of this process, if there is one, in the unit of the
/// resource.
pub(crate) fn soft_limit(resource: Resource) -> Option<u64> {
    let (limit, _) = getrlimit(resource).ok()?;
    Some(limit).filter(|limit| *limit != RLIM_INFINITY)
}

/// Seconds of CPU time between the signal that tells of a limit and the end.
const GRACE: u64 = 5;

/// Sees to it that a command begins with its limits, in a process group of its
/// own, all of which is killed when this process dies, even by SIGKILL.
///
/// The kernel tells only a child of its parent's death, not what that child
/// started in turn, such as the compiler proper behind its driver. So a guard
/// stands between: a fork of this process that waits for both, and ends as the
/// program did.
pub fn guard_command(command: &mut Command, limits: HelperLimits) {
    let parent = getpid();
    let set_up = move || {
        become_guard(parent)?;
        limit_self(Resource::RLIMIT_CPU, limits.cpu, limits.cpu + GRACE)?;
        limit_self(Resource::RLIMIT_AS, limits.memory, limits.memory)?;
        Ok(())
    };
    // SAFETY: between fork and exec it makes nothing but system calls, and takes
    // no memory and no lock.
    unsafe { command.pre_exec(set_up) };
}

/// Limits this process, and what it starts, unless it is limited more already.
fn limit_self(what: Resource, soft: u64, hard: u64) -> Result<(), Errno> {
    let (_, most) = getrlimit(what)?;
    setrlimit(what, soft.min(most), hard.min(most))
}

/// Returns in a child that is to execute the program; this process stays its
/// guard. Both are forks of `parent`.
fn become_guard(parent: Pid) -> Result<(), Errno> {
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    limit_self(Resource::RLIMIT_CORE, 0, 0)?;
    // Signals wait until the guard takes them.
    SigSet::all().thread_set_mask()?;
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: sets no handler. Were it ignored, nobody could be waited for.
    unsafe { sigaction(Signal::SIGCHLD, &default) }?;
    prctl::set_pdeathsig(Signal::SIGTERM)?;
    let guard = getpid();
    // SAFETY: this process has one thread, a fork itself.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => guard_child(parent, child),
        ForkResult::Child => {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if getppid() != guard {
                return Err(Errno::ESRCH);
            }
            SigSet::empty().thread_set_mask()
        }
    }
}

/// Waits for the end of `child`, or of `parent`, which takes the group with it.
fn guard_child(parent: Pid, child: Pid) -> ! {
    // Nobody is to wait for the ends of pipes that are open here.
    // SAFETY: nothing of this process uses a descriptor from here on.
    unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
    let _ = prctl::set_name(c"cyclometer-tool");
    let mut awaited = SigSet::empty();
    awaited.add(Signal::SIGCHLD);
    awaited.add(Signal::SIGTERM);
    loop {
        // Also if it was gone before it could be told.
        if getppid() != parent {
            let _ = kill(Pid::from_raw(0), Signal::SIGKILL);
        }
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => exit_at_once(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                let _ = SigSet::empty().thread_set_mask();
                let _ = raise(signal);
                exit_at_once(128 + signal as i32);
            }
            Ok(_) | Err(Errno::EINTR) => _ = awaited.wait(),
            Err(_) => exit_at_once(1),
        }
    }
}

/// Ends a fork of this process without what the process would do at its end.
fn exit_at_once(code: i32) -> ! {
    // SAFETY: takes a number, and runs nothing of this process.
    unsafe { libc::_exit(code) }
}
