//! Folder of this user that is opened once: whatever happens to its path later, reads and
//! writes go to the folder that was checked.

use std::fs::{self, File, FileTimes};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::trust::{FolderPurpose, TrustError, walk_to_folder};
use crate::procfs::ProcessIdentity;

/// Prefix of the names of files that are being written.
const PARTIAL: &str = "partial-cyclometer-";

/// Open folder that belongs to this user and that nobody else can write.
#[derive(Debug)]
pub struct OwnFolder {
    folder: File,
    path: PathBuf,
}

/// Entry of an [`OwnFolder`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFolderEntry {
    /// Name of the entry.
    pub name: String,
    /// Size on the disk in bytes, with its content.
    pub bytes: u64,
    /// Time when it was last used or written.
    pub used: SystemTime,
}

impl OwnFolder {
    /// Opens a folder; a missing one is made for this user alone.
    ///
    /// # Errors
    /// Returns the reason why the folder is not trusted or cannot be made.
    pub fn open(path: &Path) -> Result<Self, TrustError> {
        let path = std::path::absolute(path).map_err(|error| TrustError::for_path(path, error))?;
        let looked_up = walk_to_folder(&path, FolderPurpose::Keep, true)?;
        let folder = looked_up.ok_or(Errno::ENOENT).and_then(|folder| reopen_folder(&folder));
        let folder = folder.map_err(|error| TrustError::for_path(&path, error.desc()))?;
        Ok(Self { folder: folder.into(), path })
    }

    /// Returns the path of the folder. Nobody but this user and root can replace it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the folder as a file, to be locked.
    #[must_use]
    pub const fn as_file(&self) -> &File {
        &self.folder
    }

    /// Opens a folder in this one; a missing one is made.
    ///
    /// # Errors
    /// Returns an error when something else has its name, or the file system refuses.
    pub fn open_subfolder(&self, name: &str) -> io::Result<Self> {
        match mkdirat(&self.folder, name, Mode::S_IRWXU) {
            Ok(()) => fchmodat(&self.folder, name, Mode::S_IRWXU, FchmodatFlags::FollowSymlink)?,
            Err(Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let folder = File::from(openat(&self.folder, name, flags, Mode::empty())?);
        if !is_ours(&folder.metadata()?) {
            return Err(io::Error::other(format!("others can write the folder {name}")));
        }
        Ok(Self { folder, path: self.path.join(name) })
    }

    /// Reads a file of at most `most` bytes. Returns `None` unless there is a file that
    /// only this user can write and that has no other hard link.
    #[must_use]
    pub fn read_file(&self, name: &str, most: u64) -> Option<Vec<u8>> {
        let file = self.open_file(name)?;
        let size = file.metadata().ok()?.len();
        if size > most {
            return None;
        }
        let mut content = Vec::with_capacity(usize::try_from(size).ok()?);
        (&file).take(most.saturating_add(1)).read_to_end(&mut content).ok()?;
        (content.len() as u64 <= most).then_some(content)
    }

    /// Opens a regular file that only this user can write and that has one hard link.
    fn open_file(&self, name: &str) -> Option<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.folder, name, flags, Mode::empty()).ok()?);
        let data = file.metadata().ok()?;
        (data.is_file() && data.nlink() == 1 && is_ours(&data)).then_some(file)
    }

    /// Sets the time of last use to now, for [`OwnFolderEntry::used`].
    pub fn mark_used(&self, name: &str) {
        // On failure the file looks older than it is, which costs only time.
        if let Some(file) = self.open_file(name) {
            let _ = file.set_times(FileTimes::new().set_modified(SystemTime::now()));
        }
    }

    /// Returns whether a file has the mode `mode`.
    #[must_use]
    pub fn has_mode(&self, name: &str, mode: u32) -> bool {
        let data = self.open_file(name).and_then(|file| file.metadata().ok());
        data.is_some_and(|data| data.permissions().mode() & 0o7777 == mode)
    }

    /// Writes a file atomically, replacing whatever has its name. The file is not synced to
    /// the disk: after a crash of the machine its content may be missing, which readers
    /// must detect.
    ///
    /// # Errors
    /// Returns the error of the file system.
    pub fn write_file(&self, name: &str, content: &[u8], mode: u32) -> io::Result<()> {
        let partial = partial_name(name)?;
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let bits = Mode::S_IRUSR | Mode::S_IWUSR;
        let mut file = File::from(openat(&self.folder, partial.as_str(), flags, bits)?);
        let written = file
            .set_permissions(fs::Permissions::from_mode(mode))
            .and_then(|()| file.write_all(content));
        drop(file);
        let placed = written.and_then(|()| self.rename_file(&partial, name));
        if placed.is_err() {
            self.remove_entry(&partial);
        }
        placed
    }

    /// Renames a file, replacing whatever has the new name.
    ///
    /// # Errors
    /// Returns the error of the file system.
    pub fn rename_file(&self, from: &str, to: &str) -> io::Result<()> {
        match renameat(&self.folder, from, &self.folder, to) {
            // A folder has the name; only this user can have made it.
            Err(Errno::EISDIR | Errno::ENOTEMPTY | Errno::EEXIST) => {
                self.remove_entry(to);
                Ok(renameat(&self.folder, from, &self.folder, to)?)
            }
            other => Ok(other?),
        }
    }

    /// Sets the mode of a file in the folder.
    ///
    /// # Errors
    /// Returns an error when there is no such file, or the file system refuses.
    pub fn set_mode(&self, name: &str, mode: u32) -> io::Result<()> {
        let file = self.open_file(name).ok_or(io::ErrorKind::NotFound)?;
        file.set_permissions(fs::Permissions::from_mode(mode))
    }

    /// Removes the entry called `name`, also a folder with its content.
    pub fn remove_entry(&self, name: &str) {
        // A leftover does no harm, and its removal is tried again later.
        if unlinkat(&self.folder, name, UnlinkatFlags::NoRemoveDir) == Err(Errno::EISDIR) {
            let _ = crate::files::remove_tree(&self.descriptor_path().join(name));
        }
    }

    /// Returns all entries of the folder.
    #[must_use]
    pub fn list_entries(&self) -> Vec<OwnFolderEntry> {
        let all = fs::read_dir(self.descriptor_path()).into_iter().flatten().flatten();
        all.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (bytes, used) = measure_disk_usage(&entry.path())?;
            Some(OwnFolderEntry { name, bytes, used })
        })
        .collect()
    }

    /// Removes partial files whose writers are gone.
    pub fn remove_abandoned_files(&self) {
        for entry in self.list_entries() {
            if is_abandoned(&entry.name) {
                self.remove_entry(&entry.name);
            }
        }
    }

    fn descriptor_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.folder.as_raw_fd()))
    }
}

/// Returns a temporary name for a file that is renamed to `name` when it is complete. It
/// ends in `name`, and identifies the writer.
///
/// # Errors
/// Returns an error when `/proc` cannot be read.
pub fn partial_name(name: &str) -> io::Result<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let owner = ProcessIdentity::current().map_err(io::Error::other)?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Ok(format!("{PARTIAL}{owner}-keep{number}-{name}"))
}

/// Returns whether a name is that of a partial file whose writer is gone.
fn is_abandoned(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PARTIAL) else {
        // Names of earlier versions, whose writers ended long ago.
        return name.ends_with(".partial") || name.starts_with("partial-");
    };
    let owner: Vec<&str> = rest.splitn(4, '-').take(3).collect();
    owner.join("-").parse::<ProcessIdentity>().map_or(true, |owner| !owner.is_alive())
}

fn is_ours(data: &fs::Metadata) -> bool {
    data.uid() == nix::unistd::geteuid().as_raw() && data.mode() & 0o022 == 0
}

fn reopen_folder(folder: &OwnedFd) -> nix::Result<OwnedFd> {
    openat(folder, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Returns the size on the disk of a file or folder, and the time of the last write to any
/// part of it; links are not followed.
fn measure_disk_usage(path: &Path) -> Option<(u64, SystemTime)> {
    let data = path.symlink_metadata().ok()?;
    // `blocks` counts units of 512 bytes, independent of the block size of the file system.
    let (mut bytes, mut used) = (data.blocks() * 512, data.modified().ok()?);
    if data.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            if let Some((more, later)) = measure_disk_usage(&entry.path()) {
                bytes += more;
                used = used.max(later);
            }
        }
    }
    Some((bytes, used))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> (tempfile::TempDir, OwnFolder) {
        let place = tempfile::tempdir().expect("a folder");
        let folder = OwnFolder::open(&place.path().join("a/b")).expect("ours");
        (place, folder)
    }

    #[test]
    fn only_plain_files_of_ours_with_one_name_are_read() {
        let (place, folder) = folder();
        let at = |name: &str| folder.path().join(name);
        folder.write_file("good", b"content", 0o600).expect("written");
        assert_eq!(folder.read_file("good", 7).as_deref(), Some(&b"content"[..]));
        assert_eq!(folder.read_file("good", 6), None, "larger than asked for");
        assert_eq!(folder.read_file("none", 100), None);
        symlink("good", at("link")).expect("linked");
        fs::create_dir(at("folder")).expect("made");
        nix::unistd::mkfifo(&at("pipe"), Mode::S_IRWXU).expect("made");
        folder.write_file("open", b"x", 0o622).expect("written");
        folder.write_file("first", b"x", 0o600).expect("written");
        fs::hard_link(at("first"), place.path().join("second")).expect("linked");
        for name in ["link", "folder", "pipe", "open", "first"] {
            assert_eq!(folder.read_file(name, 100), None, "{name}");
            folder.write_file(name, b"healed", 0o600).expect("written");
            assert_eq!(folder.read_file(name, 100).as_deref(), Some(&b"healed"[..]), "{name}");
        }
        assert_eq!(
            folder.read_file("good", 7).as_deref(),
            Some(&b"content"[..]),
            "behind the link"
        );
    }

    #[test]
    fn the_folder_stays_the_one_that_was_looked_at() {
        let (place, folder) = folder();
        folder.write_file("x", b"mine", 0o600).expect("written");
        fs::rename(place.path().join("a"), place.path().join("gone")).expect("moved");
        fs::create_dir_all(place.path().join("a/b")).expect("made");
        fs::write(place.path().join("a/b/x"), "planted").expect("written");
        assert_eq!(folder.read_file("x", 100).as_deref(), Some(&b"mine"[..]));
        folder.write_file("y", b"mine", 0o600).expect("written");
        assert!(place.path().join("gone/b/y").exists());
    }

    #[test]
    fn what_the_dead_were_writing_is_swept_and_what_the_living_write_is_not() {
        let (_place, folder) = folder();
        let mine = partial_name("x").expect("/proc");
        let gone =
            ["partial-cyclometer-4194999-1-nosuchboot-keep0-x", "k.123.partial", "partial-123-0-x"];
        for name in gone.iter().copied().chain([&*mine, "kept"]) {
            fs::write(folder.path().join(name), "x").expect("written");
        }
        folder.remove_abandoned_files();
        let mut left: Vec<String> = folder.list_entries().into_iter().map(|it| it.name).collect();
        left.sort();
        assert_eq!(left, ["kept".to_owned(), mine]);
    }
}
