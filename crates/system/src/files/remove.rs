//! Recursive removal that leaves mounted file systems alone.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::display_path;

/// Removes a file, or a folder with its content. Links are removed, not followed. File
/// systems that are mounted on the folder or below it are not entered, since they may hold
/// anybody's data.
///
/// # Errors
/// Returns the error of the system call, with the path that it is about; what was removed
/// before stays removed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let folder = open(folder.unwrap_or(Path::new(".")), flags, Mode::empty())?;
    remove_entry(folder.as_fd(), name, path)
}

/// Removes the entry called `name` from a folder; `path` is its path for messages.
fn remove_entry(folder: BorrowedFd<'_>, name: &OsStr, path: &Path) -> io::Result<()> {
    let failed = |error: Errno| error_with_path(path, error);
    match unlinkat(folder, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR) => {}
        other => return other.map_err(failed),
    }
    let inside = match open_same_mount(folder, name) {
        Err(Errno::EXDEV) => {
            let told = format!(
                "something is mounted on {0}: `umount {0}`, if it is not needed",
                display_path(path)
            );
            return Err(io::Error::other(told));
        }
        other => other.map_err(failed)?,
    };
    for entry in std::fs::read_dir(format!("/proc/self/fd/{}", inside.as_raw_fd()))? {
        let name = entry?.file_name();
        remove_entry(inside.as_fd(), &name, &path.join(&name))?;
    }
    unlinkat(folder, name, UnlinkatFlags::RemoveDir).map_err(failed)
}

fn error_with_path(path: &Path, error: Errno) -> io::Error {
    let kind = io::Error::from(error).kind();
    io::Error::new(kind, format!("{}: {}", display_path(path), error.desc()))
}

/// Opens a folder if it lies in the same mount as its parent, or fails with `EXDEV`.
fn open_same_mount(folder: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS);
    match openat2(folder, name, how) {
        // Linux before 5.6, or a filter of system calls.
        Err(Errno::ENOSYS | Errno::EPERM) => {}
        other => return other,
    }
    let inside = openat(folder, name, flags, Mode::empty())?;
    // The mount number also reveals a bind mount of the same file system.
    let is_same = fstat(folder)?.st_dev == fstat(&inside)?.st_dev
        && mount_number(folder)? == mount_number(inside.as_fd())?;
    if is_same { Ok(inside) } else { Err(Errno::EXDEV) }
}

/// Returns the number of the mount in which an open file lies.
fn mount_number(file: BorrowedFd<'_>) -> Result<String, Errno> {
    let text = super::read_kernel_text(format!("/proc/self/fdinfo/{}", file.as_raw_fd()));
    let text = text.map_err(|_| Errno::ENOSYS)?;
    let number = text.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    number.map(|number| number.trim().to_owned()).ok_or(Errno::ENOSYS)
}
