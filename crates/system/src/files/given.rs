//! Files by name: what a person names, what lies at a usual place, and what the
//! kernel tells.

use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::folder::RegularFile;
use super::{Bound, FileKind, FileProblem, read_bounded};

/// Reads a file that a person named: links are followed, and a pipe or `-`
/// (standard input) is read as well, since that was asked for. It is to be read
/// before signals have handlers, so that Ctrl-C ends the wait for a pipe.
///
/// # Errors
/// When it cannot be read, or has more than `bound`.
pub fn read_given(path: &Path, bound: Bound) -> Result<Vec<u8>, FileProblem> {
    if path == Path::new("-") {
        return read_standard_input(bound);
    }
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NOCTTY).open(path)?;
    if file.metadata()?.is_dir() {
        return Err(FileProblem::Kind(FileKind::Folder));
    }
    read_bounded(file, bound)
}

/// Reads standard input to its end.
///
/// # Errors
/// When it cannot be read, or has more than `bound`.
pub fn read_standard_input(bound: Bound) -> Result<Vec<u8>, FileProblem> {
    read_bounded(std::io::stdin().lock(), bound)
}

/// Reads a regular file at a usual place, such as a configuration file or one of
/// a cache: links are followed, but a pipe or a device there was put by nobody
/// who means well.
///
/// # Errors
/// When it cannot be read, is no regular file, or has more than `bound`.
pub fn read_regular(path: &Path, bound: Bound) -> Result<Vec<u8>, FileProblem> {
    super::read_handle(RegularFile::find(path)?.as_fd(), bound)
}

/// Reads a file of procfs or sysfs, which is as long as the kernel makes it.
///
/// # Errors
/// The system's answer.
#[expect(clippy::disallowed_methods, reason = "nobody but the kernel writes these")]
pub fn read_kernel_text(path: impl AsRef<Path>) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

/// Takes bytes for text.
///
/// # Errors
/// When they are not UTF-8, with the place.
pub fn into_text(content: Vec<u8>) -> Result<String, FileProblem> {
    String::from_utf8(content)
        .map_err(|error| FileProblem::NotText(error.utf8_error().valid_up_to()))
}
