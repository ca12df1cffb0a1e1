//! Files of others: read within bounds, written through no link.
//!
//! Folders of workloads, profiles and prices may come from anyone: they may hold
//! links that lead elsewhere, pipes that never end, devices and files of any
//! size. Whatever this program reads from outside goes through here, so that
//! each read has an end and each refusal says what the file is:
//!
//! - [`Folder`]: a folder that is opened once; its entries are opened relative
//!   to it, and nothing but regular files below it is read;
//! - [`read_regular`]: a file at a usual place, such as a configuration;
//! - [`read_given`]: a file that a person named on the command line, which may
//!   be a pipe;
//! - [`Folder::replace`], [`create_new`] and [`PrivateFolder`]: writing;
//! - [`remove_tree`]: removing, and nothing that is mounted there.
//!
//! Clippy forbids the standard library's ways to read a file elsewhere
//! (`clippy.toml`).

mod beneath;
mod folder;
mod given;
mod problem;
mod remove;
mod write;

pub use folder::{Folder, Links, RegularFile};
pub use given::{into_text, read_given, read_kernel_text, read_regular, read_standard_input};
pub use problem::is_plain;
pub use problem::{FileKind, FileProblem, shown_path};
pub use remove::remove_tree;
pub use write::{PrivateFolder, create_new};

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use cyclometer_core::units::Bytes;

/// Most bytes that are read of one kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The kind, with its article: `a manifest`.
    pub what: &'static str,
    /// The bound itself.
    pub most: Bytes,
}

impl Bound {
    /// A kind of file, and its bound.
    #[must_use]
    pub const fn new(what: &'static str, most: u64) -> Self {
        Self { what, most: Bytes(most) }
    }
}

/// Reads `source` to its end, unless that lies beyond `bound`.
fn read_bounded(mut source: impl Read, bound: Bound) -> Result<Vec<u8>, FileProblem> {
    let mut content = Vec::new();
    source.by_ref().take(bound.most.0.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > bound.most.0 {
        return Err(FileProblem::TooLarge(bound));
    }
    Ok(content)
}

/// Reads a regular file that `handle` (opened with `O_PATH`) stands for.
///
/// The file is looked at before it is opened for reading, which for a device
/// could already have an effect; and what was looked at is what is read.
fn read_handle(handle: BorrowedFd<'_>, bound: Bound) -> Result<Vec<u8>, FileProblem> {
    let status = nix::sys::stat::fstat(handle)?;
    match FileKind::from_mode(status.st_mode) {
        FileKind::Regular => {}
        other => return Err(FileProblem::Kind(other)),
    }
    // Files that change while they are read are caught by the reading itself.
    if u64::try_from(status.st_size).unwrap_or(u64::MAX) > bound.most.0 {
        return Err(FileProblem::TooLarge(bound));
    }
    read_bounded(reopen(handle)?, bound)
}

/// Opens what `handle` stands for again, to read it.
fn reopen(handle: BorrowedFd<'_>) -> std::io::Result<File> {
    std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(handle_path(handle.as_fd()))
}

/// A path that leads to what `handle` stands for, whatever its name became.
fn handle_path(handle: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}

#[cfg(test)]
mod tests;
