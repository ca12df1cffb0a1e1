//! Safe access to files of unknown origin: reads are bounded, and writes follow no links.
//!
//! Folders of workloads, profiles and prices may come from anyone: they may hold links that
//! lead elsewhere, pipes that never end, devices and files of any size. All files from
//! outside are read through this module, so that each read is bounded and each error says
//! what the file is:
//!
//! - [`Folder`]: a folder that is opened once; its entries are opened relative to it, and
//!   only regular files below it are read;
//! - [`read_regular`]: a file at a well-known place, such as a configuration;
//! - [`read_user_file`], [`open_user_file`]: a file that the user named on the command line, which
//!   may be a pipe;
//! - [`Folder::replace_file`], [`create_new`] and [`PrivateFolder`]: writing;
//! - [`remove_tree`]: removing, which leaves mounted file systems alone.
//!
//! Clippy forbids the standard library's ways to read a file elsewhere
//! (`clippy.toml`).

mod beneath;
mod by_name;
mod error;
mod folder;
mod remove;
mod write;

pub use by_name::{
    into_text, open_user_file, read_kernel_text, read_regular, read_standard_input, read_user_file,
};
pub use error::{FileError, FileKind, display_path};
pub use folder::{Folder, LinkPolicy, RegularFile};
pub use remove::remove_tree;
pub use write::{PrivateFolder, create_new};

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use cyclometer_core::units::Bytes;

/// Size limit for one kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Kind of file, with its article: `a manifest`.
    pub what: &'static str,
    /// Largest size that is read.
    pub most: Bytes,
}

impl Bound {
    /// Creates a bound of `most` bytes for a kind of file.
    #[must_use]
    pub const fn new(what: &'static str, most: u64) -> Self {
        Self { what, most: Bytes(most) }
    }
}

/// Reads `source` to its end, or fails if it is larger than `bound`.
fn read_bounded(mut source: impl Read, bound: Bound) -> Result<Vec<u8>, FileError> {
    let mut content = Vec::new();
    source.by_ref().take(bound.most.0.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > bound.most.0 {
        return Err(FileError::TooLarge(bound));
    }
    Ok(content)
}

/// Reads a regular file that `handle` (opened with `O_PATH`) stands for.
///
/// The kind of file is checked before it is opened for reading, since opening a device can
/// already have an effect; the file that was checked is the one that is read.
fn read_handle(handle: BorrowedFd<'_>, bound: Bound) -> Result<Vec<u8>, FileError> {
    let status = nix::sys::stat::fstat(handle)?;
    match FileKind::from_mode(status.st_mode) {
        FileKind::Regular => {}
        other => return Err(FileError::Kind(other)),
    }
    // Files that grow while they are read are caught by `read_bounded`.
    if u64::try_from(status.st_size).unwrap_or(u64::MAX) > bound.most.0 {
        return Err(FileError::TooLarge(bound));
    }
    read_bounded(reopen_for_reading(handle)?, bound)
}

/// Reopens the file behind `handle` for reading.
fn reopen_for_reading(handle: BorrowedFd<'_>) -> std::io::Result<File> {
    std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(handle_path(handle.as_fd()))
}

/// Returns a path to the file behind `handle`, independent of its name.
fn handle_path(handle: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}

#[cfg(test)]
mod tests;
