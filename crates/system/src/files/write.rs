//! Atomic writing of files, which follows no links.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, linkat, mkdtemp, unlinkat};

use super::{FileError, Folder, remove_tree};
use crate::owner::{self, Owner};

impl Folder {
    /// Writes a file and replaces one of that name: it is written under another name and
    /// then renamed, so that a partial file is never visible. A link of that name is itself
    /// replaced, not its target. `mode` is the mode of a new file before the umask.
    ///
    /// # Errors
    /// Returns the error of the system call; no partial file is left behind.
    pub fn replace_file(&self, name: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
        let inside = name.parent().filter(|parent| !parent.as_os_str().is_empty());
        let sub = inside.map(|parent| self.open_folder(parent)).transpose()?;
        let folder = sub.as_ref().unwrap_or(self);
        let Some(name) = name.file_name() else {
            return Err(FileError::Outside(self.path().to_owned()));
        };
        let (partial, mut file) = folder.new_partial(mode)?;
        let written = file
            .write_all(content)
            .map_err(FileError::from)
            .and_then(|()| Ok(renameat(folder.as_handle(), &*partial, folder.as_handle(), name)?));
        if written.is_err() {
            let _ = unlinkat(folder.as_handle(), &*partial, UnlinkatFlags::NoRemoveDir);
        }
        written
    }

    /// Creates a file under an unused name.
    fn new_partial(&self, mode: u32) -> Result<(String, File), FileError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!(".cyclometer-partial-{}-{number}", std::process::id());
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
            let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            match openat(self.as_handle(), &*name, flags, Mode::from_bits_truncate(mode)) {
                Ok(file) => return Ok((name, file.into())),
                Err(Errno::EEXIST) if number < 1_000 => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Writes a new file with `mode`, less the umask; an existing file or link is left alone.
/// Where the file system supports it, the file gets its name only once its content is
/// written; elsewhere, a partial file is removed.
///
/// # Errors
/// Returns `AlreadyExists` where there is something of that name, or the error of the
/// system call.
pub fn create_new(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let nameless = std::fs::OpenOptions::new()
        .write(true)
        .mode(mode)
        .custom_flags(libc::O_TMPFILE)
        .open(folder.unwrap_or(Path::new(".")));
    if let Ok(mut file) = nameless {
        file.write_all(content)?;
        let from = format!("/proc/self/fd/{}", file.as_raw_fd());
        // Fails where there is something of that name, a link included.
        return Ok(linkat(AT_FDCWD, from.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)?);
    }
    let mut options = std::fs::OpenOptions::new();
    // `create_new` is O_EXCL, which follows no link either.
    let flags = libc::O_NOFOLLOW;
    let mut file =
        options.write(true).create_new(true).mode(mode).custom_flags(flags).open(path)?;
    let written = file.write_all(content);
    if written.is_err() {
        let _ = std::fs::remove_file(path);
    }
    written
}

/// Temporary folder for this process alone (mode 0700), removed when the value is dropped.
#[derive(Debug)]
pub struct PrivateFolder(PathBuf);

impl PrivateFolder {
    /// Creates a folder among the temporary files. Its name carries its owner ([`owner`])
    /// and `purpose`, a single word. Folders of that purpose whose process is gone are
    /// removed.
    ///
    /// # Errors
    /// Returns an error when no folder can be created, or others could replace it.
    pub fn new(purpose: &str) -> std::io::Result<Self> {
        let base = std::env::temp_dir().canonicalize()?;
        check_shared(&base)?;
        remove_abandoned(&base, purpose);
        let template = base.join(format!("{}-XXXXXX", owner::new_name(purpose)?));
        Ok(Self(mkdtemp(&template)?))
    }

    /// Returns the path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        // A later process removes what cannot be removed now.
        let _ = remove_tree(&self.0);
    }
}

/// Checks that others cannot rename entries of a folder: either they cannot write it, or it
/// has the sticky bit.
fn check_shared(base: &Path) -> std::io::Result<()> {
    let data = base.metadata()?;
    let (mode, me) = (data.mode(), nix::unistd::geteuid().as_raw());
    let foreign = data.uid() != me && data.uid() != 0;
    // Where the umask lets the group write, each user usually has a private group.
    let group = mode & 0o020 != 0 && data.gid() != nix::unistd::getegid().as_raw();
    let shared = mode & 0o002 != 0 || group;
    if foreign || (shared && mode & libc::S_ISVTX == 0) {
        return Err(std::io::Error::other(format!(
            "others may replace what is put into {}: set TMPDIR to a folder of your own",
            super::display_path(base)
        )));
    }
    Ok(())
}

/// Removes this user's folders for `purpose` whose process is gone.
fn remove_abandoned(base: &Path, purpose: &str) {
    let me = nix::unistd::geteuid().as_raw();
    let tag = format!("-{purpose}");
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(owner) = Owner::from_name(&name).filter(|_| name.contains(&tag)) else { continue };
        let Ok(data) = entry.metadata() else { continue };
        let ours = data.is_dir() && data.uid() == me;
        if ours && owner.in_use_reason(data.modified().ok()).is_none() {
            // A leftover does no harm here; `clean` reports why it stays.
            let _ = remove_tree(&entry.path());
        }
    }
}
