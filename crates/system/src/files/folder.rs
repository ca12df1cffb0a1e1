//! Folders that are opened once, and regular files in them.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fstat};

use super::beneath::open_beneath;
use super::{Bound, FileError, FileKind, handle_path, read_handle, reopen_for_reading};

/// Most entries that are read from a folder.
const MAX_ENTRIES: usize = 10_000;

/// Policy that decides which symbolic links among a folder's entries are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkPolicy {
    /// Only links that stay below the folder, which may come from anyone.
    Beneath,
    /// All links: the folder is the user's own, such as the configuration folder, whose
    /// files may be links to other places.
    Anywhere,
}

/// Paths of files, and their content.
pub(crate) type TomlFiles<'a> =
    Box<dyn Iterator<Item = (PathBuf, Result<Vec<u8>, FileError>)> + 'a>;

/// Folder that was opened once. Even if it is renamed or replaced, its entries are those of
/// the folder that was opened.
#[derive(Debug)]
pub struct Folder {
    handle: OwnedFd,
    path: PathBuf,
    links: LinkPolicy,
}

impl Folder {
    /// Opens a folder by its name, which may be a link.
    ///
    /// # Errors
    /// Returns an error when there is none, or it is no folder.
    pub fn open(path: &Path, links: LinkPolicy) -> Result<Self, FileError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let handle = open(path, flags, Mode::empty())?;
        Ok(Self { handle, path: path.to_owned(), links })
    }

    /// Opens a folder below this one.
    ///
    /// # Errors
    /// Returns an error when there is none, it is no folder, or a link leads out.
    pub fn open_folder(&self, name: &Path) -> Result<Self, FileError> {
        let handle = self.open_entry(name)?;
        match handle_kind(&handle)? {
            FileKind::Folder => Ok(Self { handle, path: self.path.join(name), links: self.links }),
            _ => Err(FileError::Io(std::io::ErrorKind::NotADirectory.into())),
        }
    }

    /// Returns the path by which the folder was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the kind of an entry; for a link that is followed, the kind of its target.
    ///
    /// # Errors
    /// Returns an error when there is none, or a link leads out.
    pub fn entry_kind(&self, name: &Path) -> Result<FileKind, FileError> {
        handle_kind(&self.open_entry(name)?)
    }

    /// Returns the kind of an entry, or that it is a link.
    ///
    /// # Errors
    /// Returns an error when there is none.
    pub fn own_kind(&self, name: &Path) -> Result<FileKind, FileError> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        handle_kind(&openat(&self.handle, name, flags, Mode::empty())?)
    }

    /// Reads a regular file.
    ///
    /// # Errors
    /// Returns an error when the file cannot be read, is not regular, leads out of the
    /// folder, or is larger than `bound`.
    pub fn read_file(&self, name: &Path, bound: Bound) -> Result<Vec<u8>, FileError> {
        read_handle(self.open_entry(name)?.as_fd(), bound)
    }

    /// Reads a regular file as UTF-8 text.
    ///
    /// # Errors
    /// Fails like [`Folder::read_file`], and when the file is not UTF-8.
    pub fn read_text_file(&self, name: &Path, bound: Bound) -> Result<String, FileError> {
        super::into_text(self.read_file(name, bound)?)
    }

    /// Finds a regular file that is to be executed or read later: its handle (`O_PATH`)
    /// refers to the same file even if the name is reused.
    ///
    /// # Errors
    /// Returns an error when there is none, or a link leads out.
    pub fn find_regular(&self, name: &Path) -> Result<RegularFile, FileError> {
        RegularFile::from_handle(self.open_entry(name)?, self.path.join(name))
    }

    /// Lists the names of all entries, sorted.
    ///
    /// # Errors
    /// Returns an error when the folder cannot be read, or has more than 10,000 entries.
    pub fn entry_names(&self) -> Result<Vec<OsString>, FileError> {
        self.entry_names_up_to(MAX_ENTRIES)
    }

    /// Lists the names of all entries like [`Folder::entry_names`], up to another limit.
    ///
    /// # Errors
    /// Returns an error when the folder cannot be read, or has more than `most` entries.
    pub fn entry_names_up_to(&self, most: usize) -> Result<Vec<OsString>, FileError> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(handle_path(self.handle.as_fd()))? {
            if names.len() == most {
                return Err(FileError::TooMany(most));
            }
            names.push(entry?.file_name());
        }
        names.sort();
        Ok(names)
    }

    /// Reads the files whose names end in `.toml`, at most `most` of them, one after the other
    /// in the order of their names. Each has its path and its content, or why it has none: one
    /// that cannot be read does not hide the others.
    ///
    /// # Errors
    /// Fails like [`Folder::entry_names`], and when there are more of them.
    pub fn read_toml_files(&self, most: usize, bound: Bound) -> Result<TomlFiles<'_>, FileError> {
        let is_toml = |name: &PathBuf| name.extension().is_some_and(|kind| kind == "toml");
        let names = self.entry_names()?.into_iter().map(PathBuf::from);
        let names: Vec<PathBuf> = names.filter(is_toml).collect();
        if names.len() > most {
            return Err(FileError::TooManyToml(most));
        }
        Ok(Box::new(names.into_iter().map(move |name| {
            let content = self.read_file(&name, bound);
            (self.path.join(name), content)
        })))
    }

    pub(super) fn as_handle(&self) -> &OwnedFd {
        &self.handle
    }

    fn open_entry(&self, name: &Path) -> Result<OwnedFd, FileError> {
        match self.links {
            LinkPolicy::Beneath => open_beneath(self.handle.as_fd(), name, &self.path),
            LinkPolicy::Anywhere => {
                let name = if name.as_os_str().is_empty() { Path::new(".") } else { name };
                let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
                Ok(openat(&self.handle, name, flags, Mode::empty())?)
            }
        }
    }
}

impl AsFd for Folder {
    /// Borrows the folder as a handle (`O_PATH`).
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

fn handle_kind(handle: &OwnedFd) -> Result<FileKind, FileError> {
    Ok(FileKind::from_mode(fstat(handle)?.st_mode))
}

/// Regular file, held by its handle (`O_PATH`).
#[derive(Debug)]
pub struct RegularFile {
    handle: OwnedFd,
    path: PathBuf,
}

impl RegularFile {
    /// Finds a file by its path, which may be a link.
    ///
    /// # Errors
    /// Returns an error when there is none, or it is no regular file.
    pub fn from_path(path: &Path) -> Result<Self, FileError> {
        let handle = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
        Self::from_handle(handle, path.to_owned())
    }

    fn from_handle(handle: OwnedFd, path: PathBuf) -> Result<Self, FileError> {
        match handle_kind(&handle)? {
            FileKind::Regular => Ok(Self { handle, path }),
            other => Err(FileError::Kind(other)),
        }
    }

    /// Returns the path by which the file was found.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file for reading.
    ///
    /// # Errors
    /// Returns an error when that is not permitted.
    pub fn open_for_reading(&self) -> std::io::Result<File> {
        reopen_for_reading(self.handle.as_fd())
    }

    /// Returns the size of the file in bytes.
    ///
    /// # Errors
    /// Returns an error when the system cannot tell.
    pub fn size_in_bytes(&self) -> std::io::Result<u64> {
        Ok(u64::try_from(fstat(&self.handle)?.st_size).unwrap_or(0))
    }

    /// Reads the content of the file.
    ///
    /// # Errors
    /// Returns an error when it cannot be read, or is larger than `bound`.
    pub fn read_content(&self, bound: Bound) -> Result<Vec<u8>, FileError> {
        read_handle(self.handle.as_fd(), bound)
    }
}

impl AsFd for RegularFile {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.handle.as_fd()
    }
}
