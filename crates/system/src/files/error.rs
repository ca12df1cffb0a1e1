//! Errors of file access, and kinds of files.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Bound;
use cyclometer_core::units::Bytes;
use cyclometer_core::visible_text::is_hidden;

/// Kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A folder.
    Folder,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A device such as a terminal or `/dev/zero`.
    CharacterDevice,
    /// A device such as a disk.
    BlockDevice,
    /// A symbolic link.
    Link,
    /// Something else.
    Other,
}

impl FileKind {
    /// Converts from `st_mode`.
    #[must_use]
    pub(super) const fn from_mode(mode: libc::mode_t) -> Self {
        match mode & libc::S_IFMT {
            libc::S_IFREG => Self::Regular,
            libc::S_IFDIR => Self::Folder,
            libc::S_IFIFO => Self::Fifo,
            libc::S_IFSOCK => Self::Socket,
            libc::S_IFCHR => Self::CharacterDevice,
            libc::S_IFBLK => Self::BlockDevice,
            libc::S_IFLNK => Self::Link,
            _ => Self::Other,
        }
    }

    /// Returns the kind in words, with its article.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Regular => "a regular file",
            Self::Folder => "a folder",
            Self::Fifo => "a FIFO (a named pipe)",
            Self::Socket => "a socket",
            Self::CharacterDevice => "a character device",
            Self::BlockDevice => "a block device",
            Self::Link => "a symbolic link",
            Self::Other => "no regular file",
        }
    }
}

/// Error of file access. Its text leaves out the path, which callers put first.
#[derive(Debug, Error)]
pub enum FileError {
    /// Error of the system call.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Not a regular file.
    #[error("it is {}, and only regular files are read: put a file in its place", .0.label())]
    Kind(FileKind),
    /// A link that leads out of its folder.
    #[error(
        "{} is a symbolic link to {}, which leads out of the folder {}: put a copy in its place",
        display_path(link),
        display_path(target),
        display_path(folder)
    )]
    LeadsOut {
        /// Path of the link, relative to the folder.
        link: PathBuf,
        /// Target of the link.
        target: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
    /// A path that leads out of its folder without a link.
    #[error("the path leads out of the folder {}", display_path(.0))]
    Outside(PathBuf),
    /// Links that lead to each other.
    #[error("its symbolic links lead in a circle")]
    Circle,
    /// Larger than the bound for its kind.
    #[error("it is larger than {}, the most that {} may have", .0.most, .0.what)]
    TooLarge(Bound),
    /// All files of a folder together are larger than the limit.
    #[error("the files of the folder are larger than {0} together: name a smaller folder")]
    TooLargeTogether(Bytes),
    /// A folder with too many entries.
    #[error("it has more than {0} entries: name a smaller folder")]
    TooMany(usize),
    /// A folder with too many TOML files.
    #[error("it has more than {0} .toml files")]
    TooManyToml(usize),
    /// Content that is not UTF-8; with the offset of the first invalid byte.
    #[error("it is no text: byte {} is not UTF-8", .0 + 1)]
    NotText(usize),
}

impl From<nix::Error> for FileError {
    fn from(error: nix::Error) -> Self {
        match error {
            nix::Error::ELOOP => Self::Circle,
            other => Self::Io(other.into()),
        }
    }
}

impl From<std::io::ErrorKind> for FileError {
    fn from(kind: std::io::ErrorKind) -> Self {
        Self::Io(kind.into())
    }
}

impl From<FileError> for std::io::Error {
    fn from(problem: FileError) -> Self {
        match problem {
            FileError::Io(error) => error,
            other => Self::other(other.to_string()),
        }
    }
}

impl FileError {
    /// Returns whether the error means that there is no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == std::io::ErrorKind::NotFound)
    }
}

/// Renders a path on one line: hidden characters and invalid UTF-8 are escaped.
#[must_use]
pub fn display_path(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_hidden(c) {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn paths_stay_on_their_line_and_keep_every_byte() {
        let shown = |bytes: &[u8]| display_path(Path::new(OsStr::from_bytes(bytes)));
        assert_eq!(shown(b"/a b/\xc3\xa9.toml"), "/a b/\u{e9}.toml");
        assert_eq!(shown(b"a\nerror: b\x1b[2J"), "a\\nerror: b\\u{1b}[2J");
        assert_eq!(shown(b"\xff\xfe"), "\\xff\\xfe");
        assert_eq!(shown("\u{202e}lmot".as_bytes()), "\\u{202e}lmot");
        // Soft hyphen, Arabic mark, variation selector, tag: none of them can be seen.
        for hidden in ['\u{ad}', '\u{61c}', '\u{fe0f}', '\u{e0041}'] {
            let escape = hidden.escape_default().to_string();
            assert_eq!(shown(format!("a{hidden}b").as_bytes()), format!("a{escape}b"));
        }
    }
}
