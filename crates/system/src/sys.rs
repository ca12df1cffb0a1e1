//! System calls that need `unsafe` code: inherited descriptors, interruption of threads,
//! resource limits, the guard process of a helper, and random numbers.
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

/// Receives the descriptor that the next message of a socket carries.
///
/// # Errors
/// Returns an error when the message carries none.
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

/// Takes ownership of a descriptor that this process was started with.
///
/// Returns `None` if the descriptor is not open. Call it once for each descriptor, before
/// anything else in the process opens files.
#[must_use]
pub fn take_inherited_descriptor(descriptor: i32) -> Option<OwnedFd> {
    use std::os::fd::FromRawFd;
    std::fs::metadata(format!("/proc/self/fd/{descriptor}")).ok()?;
    // SAFETY: it is open, and the caller is the only one to take it.
    Some(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Returns an unpredictable number from the kernel's generator.
///
/// # Errors
/// Returns an error when the kernel provides none, which does not happen since Linux 3.17.
pub fn random_number() -> std::io::Result<u64> {
    let mut bytes = [0_u8; 8];
    // SAFETY: the kernel writes no more than the bytes that there are.
    let size = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if size == 8 { Ok(u64::from_ne_bytes(bytes)) } else { Err(std::io::Error::last_os_error()) }
}

/// Returns whether SIGHUP is ignored, as after a start by `nohup`, so that the process is
/// to outlive its terminal.
#[must_use]
pub fn ignores_hangup() -> bool {
    let process = procfs::process::Process::myself();
    let status = process.and_then(|process| process.status());
    status.is_ok_and(|status| status.sigign & (1 << (libc::SIGHUP - 1)) != 0)
}

/// Interrupts blocking system calls of all threads of this process. It has no effect
/// without a handler for SIGURG.
pub fn interrupt_threads() {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return };
    let numbers = threads.filter_map(|it| it.ok()?.file_name().to_str()?.parse::<i32>().ok());
    for thread in numbers {
        // SAFETY: takes numbers only; without such a thread it fails.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGURG) };
    }
}

/// Whether a write of this process has hit the file size limit.
static REACHED_FILE_SIZE: AtomicBool = AtomicBool::new(false);

/// Makes writes beyond the file size limit (`ulimit -f`) fail instead of ending this
/// process silently. Programs that it starts get the default action back, since a handler
/// does not survive exec.
pub fn fail_at_file_size_limit() {
    extern "C" fn record_file_size_signal(_: i32) {
        REACHED_FILE_SIZE.store(true, Ordering::Relaxed);
    }
    let action = SigAction::new(
        SigHandler::Handler(record_file_size_signal),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    // SAFETY: the handler stores one atomic value.
    let former = unsafe { sigaction(Signal::SIGXFSZ, &action) };
    // If SIGXFSZ was ignored at the start, it stays ignored, also in programs that are
    // started.
    if let Ok(former) = former.as_ref()
        && matches!(former.handler(), SigHandler::SigIgn)
    {
        // SAFETY: restores the previous action.
        let _ = unsafe { sigaction(Signal::SIGXFSZ, former) };
    }
}

/// Returns the file size limit in bytes, if a write of this process has failed because of
/// it.
#[must_use]
pub fn reached_file_size_limit() -> Option<u64> {
    file_size_limit().filter(|_| REACHED_FILE_SIZE.load(Ordering::Relaxed))
}

/// Adds the cause to a write error, where that is the file size limit; it also holds for
/// files in memory.
#[must_use]
pub fn explain_file_size_limit(error: std::io::Error) -> std::io::Error {
    match file_size_limit().filter(|_| error.kind() == std::io::ErrorKind::FileTooLarge) {
        Some(limit) => std::io::Error::new(
            error.kind(),
            format!("{error}: it is the file size limit of {} (ulimit -f)", Bytes(limit)),
        ),
        None => error,
    }
}

/// Returns the limit in bytes for files that this process writes, if there is one.
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

/// Seconds of CPU time between the signal at the soft limit and the end at the hard limit.
const GRACE: u64 = 5;

/// Sets up a command to begin with its limits, in a process group of its own that is killed
/// when this process dies, even by SIGKILL.
///
/// The kernel notifies only a child of its parent's death, not the processes that the child
/// started in turn, such as the compiler proper behind its driver. Therefore a guard stands
/// between: a fork of this process that waits for both, and ends with the status of the
/// program.
pub(crate) fn guard_command(command: &mut Command, limits: HelperLimits) {
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

/// Limits this process and its children, unless a tighter limit already holds.
fn limit_self(what: Resource, soft: u64, hard: u64) -> Result<(), Errno> {
    let (_, most) = getrlimit(what)?;
    setrlimit(what, soft.min(most), hard.min(most))
}

/// Forks: returns in the child, which is to execute the program, while this process stays
/// as its guard. Both are descendants of `parent`.
fn become_guard(parent: Pid) -> Result<(), Errno> {
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    limit_self(Resource::RLIMIT_CORE, 0, 0)?;
    // Signals are blocked until the guard waits for them.
    SigSet::all().thread_set_mask()?;
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: sets no handler. If it were ignored, the child could not be waited for.
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

/// Waits for the end of `child`, or of `parent`, in which case the whole group is killed.
fn guard_child(parent: Pid, child: Pid) -> ! {
    // Open pipe ends here would keep their readers waiting. SAFETY: nothing of this process
    // uses a descriptor from here on.
    unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
    let _ = prctl::set_name(c"cyclometer-tool");
    let mut awaited = SigSet::empty();
    awaited.add(Signal::SIGCHLD);
    awaited.add(Signal::SIGTERM);
    loop {
        // Also covers a parent that died before the notification was set up.
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

/// Ends a fork of this process without running exit handlers.
fn exit_at_once(code: i32) -> ! {
    // SAFETY: takes a number, and runs nothing of this process.
    unsafe { libc::_exit(code) }
}
