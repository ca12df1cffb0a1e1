//! Watching the file of an open database: `SQLite` goes on writing to a file
//! that was removed, and reports nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::database_file::path_beside;

/// Location of the file of an open database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileLocation {
    /// At the path where it was opened, or the location cannot be determined.
    InPlace,
    /// Under another name, or in another folder.
    Moved(PathBuf),
    /// Removed: the data go when the file is closed.
    Removed,
    /// Removed, and another file has its name.
    Replaced,
}

/// Watch over the file of an open database.
#[derive(Debug)]
pub(super) struct FileWatch {
    path: PathBuf,
    /// Device and inode; `None` if there is no such file.
    identity: Option<(u64, u64)>,
    /// Descriptor under which it was found last.
    descriptor: PathBuf,
}

fn file_identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|data| (data.dev(), data.ino()))
}

impl FileWatch {
    /// Watches the file that is open as `path`. No descriptor of it is opened,
    /// since closing that would release the locks of `SQLite`.
    pub(super) fn for_path(path: &Path) -> Self {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut watch = Self { identity: file_identity(&path), path, descriptor: PathBuf::new() };
        watch.descriptor = watch.open_descriptors().into_iter().next().unwrap_or_default();
        watch
    }

    /// Returns the descriptors of this process that are open on the file.
    fn open_descriptors(&self) -> Vec<PathBuf> {
        let all = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        all.map(|entry| entry.path())
            .filter(|path| self.identity.is_some() && file_identity(path) == self.identity)
            .collect()
    }

    /// Returns whether the connection that is watched is the only one of this
    /// process.
    pub(super) fn is_alone(&self) -> bool {
        self.open_descriptors().len() <= 1
    }

    /// Locates the file.
    pub(super) fn locate_file(&mut self) -> FileLocation {
        if self.identity.is_none() {
            return FileLocation::InPlace;
        }
        if file_identity(&self.descriptor) != self.identity {
            // That descriptor belonged to another connection, which is closed.
            match self.open_descriptors().into_iter().next() {
                Some(descriptor) => self.descriptor = descriptor,
                None => return FileLocation::InPlace,
            }
        }
        let Ok(now) = fs::read_link(&self.descriptor) else { return FileLocation::InPlace };
        if now == self.path {
            return FileLocation::InPlace;
        }
        let links = fs::metadata(&self.descriptor).map_or(1, |data| data.nlink());
        match links {
            0 if self.path.exists() => FileLocation::Replaced,
            0 => FileLocation::Removed,
            // Another name of the same file was used to open it.
            _ if file_identity(&self.path) == self.identity => FileLocation::InPlace,
            _ => FileLocation::Moved(now),
        }
    }

    /// Removes the log and the index that a file left behind when it was moved
    /// or removed by itself, if they are those that this process has open.
    pub(super) fn remove_log(&self) {
        for suffix in ["-wal", "-shm"] {
            let left = path_beside(&self.path, suffix);
            let open =
                Self { identity: file_identity(&left), ..Self::without_path() }.open_descriptors();
            if !open.is_empty() {
                let _ = fs::remove_file(left);
            }
        }
    }

    fn without_path() -> Self {
        Self { path: PathBuf::new(), identity: None, descriptor: PathBuf::new() }
    }

    /// Returns whether the log and its index are beside the file.
    pub(super) fn has_log(&self) -> bool {
        self.identity.is_none()
            || ["-wal", "-shm"].iter().all(|suffix| path_beside(&self.path, suffix).exists())
    }
}

/// Returns paths for a copy of the database at `path`, the best first: beside
/// it, or, where that is no longer a place to write, in the folder for
/// temporary files.
pub(super) fn rescue_paths(path: &Path, disk_is_full: bool) -> Vec<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut folders = vec![folder.unwrap_or_else(|| Path::new(".")).to_owned()];
    folders.extend(cyclometer_system::paths::temporary_folder());
    if disk_is_full {
        folders.reverse();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let stem = if stem.is_empty() { "cyclometer".into() } else { stem };
    folders
        .into_iter()
        .filter(|folder| folder.is_dir())
        .filter_map(|folder| {
            (1..100)
                .map(|number| match number {
                    1 => folder.join(format!("{stem}.rescued.db")),
                    number => folder.join(format!("{stem}.rescued-{number}.db")),
                })
                .find(|path| path.symlink_metadata().is_err())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> (fs::File, FileWatch) {
        let file = fs::File::create(path).expect("made");
        (file, FileWatch::for_path(path))
    }

    #[test]
    fn a_file_is_followed_wherever_it_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().canonicalize().expect("there");
        let at = |name: &str| folder.join(name);

        let (_file, mut watch) = open(&at("a"));
        assert_eq!(watch.locate_file(), FileLocation::InPlace);
        fs::rename(at("a"), at("b")).expect("moved");
        assert_eq!(watch.locate_file(), FileLocation::Moved(at("b")));
        fs::rename(at("b"), at("a")).expect("moved back");
        assert_eq!(watch.locate_file(), FileLocation::InPlace);
        fs::remove_file(at("a")).expect("removed");
        assert_eq!(watch.locate_file(), FileLocation::Removed);
        fs::write(at("a"), "another").expect("written");
        assert_eq!(watch.locate_file(), FileLocation::Replaced);

        fs::create_dir(at("f")).expect("made");
        let (_file, mut watch) = open(&at("f/a"));
        fs::rename(at("f"), at("g")).expect("moved");
        assert_eq!(watch.locate_file(), FileLocation::Moved(at("g/a")));
        fs::remove_dir_all(at("g")).expect("removed");
        assert_eq!(watch.locate_file(), FileLocation::Removed);
    }

    #[test]
    fn another_name_of_the_same_file_is_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let (_file, mut watch) = open(&at("a"));
        fs::hard_link(at("a"), at("b")).expect("linked");
        assert_eq!(watch.locate_file(), FileLocation::InPlace);
        std::os::unix::fs::symlink(at("a"), at("c")).expect("linked");
        assert_eq!(FileWatch::for_path(&at("c")).locate_file(), FileLocation::InPlace);
    }

    #[test]
    fn a_rescue_never_takes_the_name_of_a_file_that_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.db");
        assert_eq!(rescue_paths(&path, false)[0], folder.path().join("x.rescued.db"));
        fs::write(folder.path().join("x.rescued.db"), "").expect("written");
        assert_eq!(rescue_paths(&path, false)[0], folder.path().join("x.rescued-2.db"));
        assert_eq!(rescue_paths(&path, true)[1], folder.path().join("x.rescued-2.db"));
        let gone = folder.path().join("gone/x.db");
        let temporary = cyclometer_system::paths::temporary_folder().expect("a folder");
        assert!(rescue_paths(&gone, false).iter().all(|path| path.starts_with(&temporary)));
    }
}
