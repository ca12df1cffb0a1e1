//! The only module with `unsafe` code: a CPU instruction, and loading a
//! compiled module that this program wrote itself; how this process was
//! started; how its threads are interrupted; and random numbers.
#![expect(unsafe_code, reason = "kept here, in one small place, so that it can be read at once")]

use std::path::Path;

use wasmtime::{Engine, Module};

/// The time-stamp counter; `None` where the CPU has none that we can read.
#[must_use]
pub fn tsc() -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: every x86-64 CPU has RDTSC, and Linux leaves it to user mode.
        Some(unsafe { core::arch::x86_64::_rdtsc() })
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// Maps a module that [`Engine::precompile_module`] made.
///
/// # Errors
/// When the file is not there, or made by another version or setting.
pub fn load_compiled(engine: &Engine, path: &Path) -> wasmtime::Result<Module> {
    // SAFETY: the file is in the user's own cache folder (mode 0700), written
    // under another name and then renamed by this program, so it is whole and
    // as trustworthy as the program itself. wasmtime checks version and settings.
    unsafe { Module::deserialize_file(engine, path) }
}

/// Takes over a descriptor that this process was started with.
///
/// Returns `None` for one that is not open. To be called once for each, before
/// anything else in the process opens files.
#[must_use]
pub fn inherited(descriptor: i32) -> Option<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    std::fs::metadata(format!("/proc/self/fd/{descriptor}")).ok()?;
    // SAFETY: it is open, and the caller is the only one to take it.
    Some(unsafe { std::os::fd::OwnedFd::from_raw_fd(descriptor) })
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
