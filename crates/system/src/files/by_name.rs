//! Reading files by name: files that a user names, files at well-known places, and files of
//! the kernel.

use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::folder::RegularFile;
use super::{Bound, FileError, FileKind, read_bounded};

/// Reads a file that the user named: links are followed, and a pipe or `-` (standard input)
/// is read as well, since the user asked for it. Call this before signal handlers are
/// installed, so that Ctrl-C ends the wait for a pipe.
///
/// # Errors
/// Returns an error when it cannot be read, or is larger than `bound`.
pub fn read_user_file(path: &Path, bound: Bound) -> Result<Vec<u8>, FileError> {
    if path == Path::new("-") {
        return read_standard_input(bound);
    }
    read_bounded(open_user_file(path)?, bound)
}

/// Opens a file that the user named, for reading of any length: links are followed, and a pipe
/// or a device is read as well, since the user asked for it.
///
/// # Errors
/// Returns an error when it cannot be opened, or is a folder.
pub fn open_user_file(path: &Path) -> Result<std::fs::File, FileError> {
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NOCTTY).open(path)?;
    if file.metadata()?.is_dir() {
        return Err(FileError::Kind(FileKind::Folder));
    }
    Ok(file)
}

/// Reads standard input to its end.
///
/// # Errors
/// Returns an error when it cannot be read, or is larger than `bound`.
pub fn read_standard_input(bound: Bound) -> Result<Vec<u8>, FileError> {
    read_bounded(std::io::stdin().lock(), bound)
}

/// Reads a regular file at a well-known place, such as a configuration or cache file: links
/// are followed, but a pipe or a device is refused as hostile.
///
/// # Errors
/// Returns an error when it cannot be read, is no regular file, or is larger than `bound`.
pub fn read_regular(path: &Path, bound: Bound) -> Result<Vec<u8>, FileError> {
    super::read_handle(RegularFile::from_path(path)?.as_fd(), bound)
}

/// Reads a file of procfs or sysfs, without a bound: only the kernel writes these.
///
/// # Errors
/// Returns the error of the system call.
#[expect(clippy::disallowed_methods, reason = "nobody but the kernel writes these")]
pub fn read_kernel_text(path: impl AsRef<Path>) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

/// Converts bytes to text.
///
/// # Errors
/// Returns an error when the bytes are not UTF-8, with the offset of the first invalid one.
pub fn into_text(content: Vec<u8>) -> Result<String, FileError> {
    String::from_utf8(content).map_err(|error| FileError::NotText(error.utf8_error().valid_up_to()))
}
