//! Calls of the system that take `unsafe` code: how this process was started, and
//! what it was handed; how its threads are interrupted; limits of another
//! process; and random numbers.
#![expect(unsafe_code, reason = "kept here, in one small place, so that it can be read at once")]

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use cyclometer_core::units::Bytes;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

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
    let (limit, _) = getrlimit(Resource::RLIMIT_FSIZE).ok()?;
    Some(limit).filter(|limit| *limit != RLIM_INFINITY)
}
