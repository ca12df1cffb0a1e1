//! A folder of this user, opened once: whatever happens to its path later, what
//! is read and written is in the folder that was looked at.

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

use super::chain::{Distrust, Purpose, walk};
use crate::procfs::ProcessIdentity;

/// First word of the names of files that are being written.
const PARTIAL: &str = "partial-cyclometer-";

/// A folder that belongs to this user and that nobody else can write.
#[derive(Debug)]
pub struct OwnFolder {
    folder: File,
    path: PathBuf,
}

/// Something in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it takes on the disk, with all that is in it.
    pub bytes: u64,
    /// When it was last used or written.
    pub used: SystemTime,
}

impl OwnFolder {
    /// Opens a folder, made for this user alone where it is missing.
    ///
    /// # Errors
    /// Why it is not to be relied on, or cannot be made.
    pub fn open(path: &Path) -> Result<Self, Distrust> {
        let path = std::path::absolute(path).map_err(|error| Distrust::of(path, error))?;
        let looked_up = walk(&path, Purpose::Keep, true)?;
        let folder = looked_up.ok_or(Errno::ENOENT).and_then(|folder| reopen(&folder));
        let folder = folder.map_err(|error| Distrust::of(&path, error.desc()))?;
        Ok(Self { folder: folder.into(), path })
    }

    /// Its path. Nobody but this user and root can put another folder there.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder itself, to be locked.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.folder
    }

    /// Opens a folder in it, made where it is missing.
    ///
    /// # Errors
    /// When something else has its name, or the file system says no.
    pub fn subfolder(&self, name: &str) -> io::Result<Self> {
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

    /// Reads a file of at most `most` bytes; `None`: there is none that this
    /// user alone can write and that has no other name.
    #[must_use]
    pub fn read(&self, name: &str, most: u64) -> Option<Vec<u8>> {
        let file = self.open_file(name)?;
        let size = file.metadata().ok()?.len();
        if size > most {
            return None;
        }
        let mut content = Vec::with_capacity(usize::try_from(size).ok()?);
        (&file).take(most.saturating_add(1)).read_to_end(&mut content).ok()?;
        (content.len() as u64 <= most).then_some(content)
    }

    /// Opens a regular file that is ours alone.
    fn open_file(&self, name: &str) -> Option<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.folder, name, flags, Mode::empty()).ok()?);
        let data = file.metadata().ok()?;
        (data.is_file() && data.nlink() == 1 && is_ours(&data)).then_some(file)
    }

    /// Notes that a file was used now, for [`Entry::used`].
    pub fn mark_used(&self, name: &str) {
        // Failing to makes it look older than it is, which costs time at most.
        if let Some(file) = self.open_file(name) {
            let _ = file.set_times(FileTimes::new().set_modified(SystemTime::now()));
        }
    }

    /// Whether a file has that mode.
    #[must_use]
    pub fn has_mode(&self, name: &str, mode: u32) -> bool {
        let data = self.open_file(name).and_then(|file| file.metadata().ok());
        data.is_some_and(|data| data.permissions().mode() & 0o7777 == mode)
    }

    /// Writes a file at once or not at all, in the place of whatever has its
    /// name. It is not forced to the disk: after a crash of the machine the
    /// content may be missing, which whoever reads it has to notice.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, name: &str, content: &[u8], mode: u32) -> io::Result<()> {
        let partial = partial_name(name)?;
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let bits = Mode::S_IRUSR | Mode::S_IWUSR;
        let mut file = File::from(openat(&self.folder, partial.as_str(), flags, bits)?);
        let written = file
            .set_permissions(fs::Permissions::from_mode(mode))
            .and_then(|()| file.write_all(content));
        drop(file);
        let placed = written.and_then(|()| self.rename(&partial, name));
        if placed.is_err() {
            self.remove(&partial);
        }
        placed
    }

    /// Gives a file another name, in the place of whatever has that.
    ///
    /// # Errors
    /// What the file system says.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        match renameat(&self.folder, from, &self.folder, to) {
            // A folder is in the way, which nobody but this user put there.
            Err(Errno::EISDIR | Errno::ENOTEMPTY | Errno::EEXIST) => {
                self.remove(to);
                Ok(renameat(&self.folder, from, &self.folder, to)?)
            }
            other => Ok(other?),
        }
    }

    /// Sets the mode of a file of ours.
    ///
    /// # Errors
    /// When there is none, or the file system says no.
    pub fn set_mode(&self, name: &str, mode: u32) -> io::Result<()> {
        let file = self.open_file(name).ok_or(io::ErrorKind::NotFound)?;
        file.set_permissions(fs::Permissions::from_mode(mode))
    }

    /// Removes what has that name, be it a folder with all in it.
    pub fn remove(&self, name: &str) {
        // What cannot be removed is in nobody's way, and tried again later.
        if unlinkat(&self.folder, name, UnlinkatFlags::NoRemoveDir) == Err(Errno::EISDIR) {
            let _ = crate::files::remove_tree(&self.by_descriptor().join(name));
        }
    }

    /// All that is in it.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let all = fs::read_dir(self.by_descriptor()).into_iter().flatten().flatten();
        all.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (bytes, used) = measure(&entry.path())?;
            Some(Entry { name, bytes, used })
        })
        .collect()
    }

    /// Removes files that were being written by processes that are gone.
    pub fn sweep(&self) {
        for entry in self.entries() {
            if is_abandoned(&entry.name) {
                self.remove(&entry.name);
            }
        }
    }

    fn by_descriptor(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.folder.as_raw_fd()))
    }
}

/// A name for a file that is to get another one when it is whole. It ends like
/// that one, and tells who writes it.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn partial_name(name: &str) -> io::Result<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let owner = ProcessIdentity::current().map_err(io::Error::other)?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Ok(format!("{PARTIAL}{owner}-keep{number}-{name}"))
}

/// Whether a name is that of a file whose writer is gone.
fn is_abandoned(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PARTIAL) else {
        // As earlier versions named them; whatever they compiled is long done.
        return name.ends_with(".partial") || name.starts_with("partial-");
    };
    let owner: Vec<&str> = rest.splitn(4, '-').take(3).collect();
    owner.join("-").parse::<ProcessIdentity>().map_or(true, |owner| !owner.is_alive())
}

fn is_ours(data: &fs::Metadata) -> bool {
    data.uid() == nix::unistd::geteuid().as_raw() && data.mode() & 0o022 == 0
}

fn reopen(folder: &OwnedFd) -> nix::Result<OwnedFd> {
    openat(folder, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// What a file or folder takes on the disk, and when anything of it was last
/// written; links are not followed.
fn measure(path: &Path) -> Option<(u64, SystemTime)> {
    let data = path.symlink_metadata().ok()?;
    // Blocks of 512 bytes, whatever the file system's own are.
    let (mut bytes, mut used) = (data.blocks() * 512, data.modified().ok()?);
    if data.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            if let Some((more, later)) = measure(&entry.path()) {
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
        folder.write("good", b"content", 0o600).expect("written");
        assert_eq!(folder.read("good", 7).as_deref(), Some(&b"content"[..]));
        assert_eq!(folder.read("good", 6), None, "larger than asked for");
        assert_eq!(folder.read("none", 100), None);
        symlink("good", at("link")).expect("linked");
        fs::create_dir(at("folder")).expect("made");
        nix::unistd::mkfifo(&at("pipe"), Mode::S_IRWXU).expect("made");
        folder.write("open", b"x", 0o622).expect("written");
        folder.write("first", b"x", 0o600).expect("written");
        fs::hard_link(at("first"), place.path().join("second")).expect("linked");
        for name in ["link", "folder", "pipe", "open", "first"] {
            assert_eq!(folder.read(name, 100), None, "{name}");
            folder.write(name, b"healed", 0o600).expect("written");
            assert_eq!(folder.read(name, 100).as_deref(), Some(&b"healed"[..]), "{name}");
        }
        assert_eq!(folder.read("good", 7).as_deref(), Some(&b"content"[..]), "behind the link");
    }

    #[test]
    fn the_folder_stays_the_one_that_was_looked_at() {
        let (place, folder) = folder();
        folder.write("x", b"mine", 0o600).expect("written");
        fs::rename(place.path().join("a"), place.path().join("gone")).expect("moved");
        fs::create_dir_all(place.path().join("a/b")).expect("made");
        fs::write(place.path().join("a/b/x"), "planted").expect("written");
        assert_eq!(folder.read("x", 100).as_deref(), Some(&b"mine"[..]));
        folder.write("y", b"mine", 0o600).expect("written");
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
        folder.sweep();
        let mut left: Vec<String> = folder.entries().into_iter().map(|it| it.name).collect();
        left.sort();
        assert_eq!(left, ["kept".to_owned(), mine]);
    }
}
