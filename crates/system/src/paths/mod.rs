//! Folders of the user (home, cache, data, configuration, temporary), and checks whether
//! they can be trusted.
//!
//! `XDG_CACHE_HOME` and its like are used if they are absolute, as their specification
//! says; else folders below the home. The home is `HOME` if that is absolute, else the one
//! in the user database. There is no fallback in `/tmp`: somebody else may already have
//! taken a name that everybody can guess.
//!
//! [`OwnFolder`] opens a folder if every part of its path belongs to this user or to root.

mod own_folder;
mod trust;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub use own_folder::partial_name;
pub use own_folder::{OwnFolder, OwnFolderEntry};
pub use trust::{FolderPurpose, TrustError, check_file_trust, check_folder_trust};

/// Name of this program's folder in each of the user's.
const OURS: &str = "cyclometer";

/// Returns the home of this user: `HOME` if it is absolute, else the one in the
/// user database.
#[must_use]
pub fn home_folder() -> Option<PathBuf> {
    let of_user = || nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    absolute_path_from_env("HOME")
        .or_else(|| Some(of_user()?.dir).filter(|home| home.is_absolute()))
}

/// Returns the cache folder of this program, for files that can be recreated. It may not
/// exist.
#[must_use]
pub fn cache_folder() -> Option<PathBuf> {
    xdg_folder("XDG_CACHE_HOME", ".cache")
}

/// Returns the data folder of this program, for files that are to stay. It may not exist.
#[must_use]
pub fn data_folder() -> Option<PathBuf> {
    xdg_folder("XDG_DATA_HOME", ".local/share")
}

/// Returns the configuration folder of this program. It may not exist.
#[must_use]
pub fn config_folder() -> Option<PathBuf> {
    xdg_folder("XDG_CONFIG_HOME", ".config")
}

fn xdg_folder(variable: &str, usual: &str) -> Option<PathBuf> {
    let base = absolute_path_from_env(variable).or_else(|| Some(home_folder()?.join(usual)))?;
    Some(base.join(OURS))
}

/// Returns the value of an environment variable if it is an absolute path.
fn absolute_path_from_env(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Message for users where no folder of the user can be found.
pub const NO_HOME: &str =
    "HOME is not set to an absolute path, and the user database knows no home";

/// Returns the first trusted folder for temporary files, in which nobody else can remove or
/// replace our files: `TMPDIR`, `/tmp`, `/var/tmp`, or `XDG_RUNTIME_DIR`, which lasts until
/// log-out.
///
/// # Errors
/// Returns the problem of the first candidate.
pub fn temporary_folder() -> io::Result<PathBuf> {
    find_temporary_folder(|_| true)
}

/// Returns the first trusted temporary folder with `bytes` of free space, or the first of
/// all where none has.
///
/// # Errors
/// Fails like [`temporary_folder`].
pub fn temporary_folder_with_room(bytes: u64) -> io::Result<PathBuf> {
    find_temporary_folder(|path| has_room(path, bytes)).or_else(|_| temporary_folder())
}

/// Returns whether a folder has `bytes` of free space; `true` where that is unknown.
#[must_use]
pub fn has_room(folder: &Path, bytes: u64) -> bool {
    let Ok(disk) = nix::sys::statvfs::statvfs(folder) else { return true };
    let is_root = nix::unistd::geteuid().is_root();
    let free = if is_root { disk.blocks_free() } else { disk.blocks_available() };
    // A file system without a size of its own has no blocks at all.
    disk.blocks() == 0 || free.saturating_mul(disk.fragment_size()) >= bytes
}

/// Returns all trusted folders for temporary files.
#[must_use]
pub fn temporary_folders() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = Vec::new();
    for candidate in temporary_candidates() {
        let found = find_temporary_folder(|path| path == candidate);
        all.extend(found.into_iter().filter(|path| !all.contains(path)).collect::<Vec<_>>());
    }
    all
}

fn temporary_candidates() -> impl Iterator<Item = PathBuf> {
    let candidates = [
        absolute_path_from_env("TMPDIR"),
        Some(PathBuf::from("/tmp")),
        Some(PathBuf::from("/var/tmp")),
        absolute_path_from_env("XDG_RUNTIME_DIR"),
    ];
    candidates.into_iter().flatten()
}

fn find_temporary_folder(is_wanted: impl Fn(&Path) -> bool) -> io::Result<PathBuf> {
    let mut first = None;
    for path in temporary_candidates().filter(|path| is_wanted(path)) {
        match check_folder_trust(&path, FolderPurpose::Parent) {
            Err(_) if is_system_temporary_folder(&path) => return Ok(path),
            Ok(true) => return path.canonicalize(),
            Ok(false) => {
                let missing = || io::Error::other(format!("there is no {}", path.display()));
                first.get_or_insert_with(missing);
            }
            Err(reason) => {
                first.get_or_insert_with(|| io::Error::other(reason.to_string()));
            }
        }
    }
    let none = || io::Error::other("there is no folder for temporary files");
    Err(first.unwrap_or_else(none))
}

/// Returns whether a folder is a temporary folder of the system, in a user namespace that
/// does not know its owner: mostly root outside.
fn is_system_temporary_folder(path: &Path) -> bool {
    let known = [Path::new("/tmp"), Path::new("/var/tmp")].contains(&path);
    let data = path.symlink_metadata().ok().filter(|data| known && data.is_dir());
    let is_sticky = data.is_some_and(|data| data.permissions().mode() & libc::S_ISVTX != 0);
    is_sticky && is_in_user_namespace()
}

/// Checks a file, or a folder with the files in it: all of them must belong to this user or
/// to root, and nobody else may be able to write or replace them. Links in the folder are
/// checked at their targets.
///
/// # Errors
/// Returns the reason why it may not be relied on.
pub fn check_content_trust(path: &Path) -> Result<(), TrustError> {
    if !path.is_dir() {
        return check_readable_trust(path);
    }
    check_folder_trust(path, FolderPurpose::Read)?;
    let entries = fs::read_dir(path).map_err(|error| TrustError::for_path(path, error))?;
    entries.flatten().try_for_each(|entry| {
        let path = entry.path();
        if path.is_dir() {
            check_folder_trust(&path, FolderPurpose::Read).map(drop)
        } else {
            check_readable_trust(&path)
        }
    })
}

/// Checks like [`check_file_trust`], and also that nobody else can write the file.
fn check_readable_trust(path: &Path) -> Result<(), TrustError> {
    check_file_trust(path, FolderPurpose::Parent)?;
    let mode = fs::metadata(path).map_or(0, |data| data.permissions().mode() & 0o7777);
    if mode & 0o022 == 0 {
        return Ok(());
    }
    let shown = path.display();
    Err(TrustError::for_path(
        path,
        format!("others can write it (mode {mode:04o}): `chmod go-w {shown}`"),
    ))
}

/// Makes a folder and its missing parents for this user alone, independent of the umask.
/// Existing folders stay as they are.
///
/// # Errors
/// Returns the error of the file system.
pub fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    let mut at = Some(folder);
    while let Some(path) = at.filter(|path| !path.as_os_str().is_empty() && !path.exists()) {
        missing.push(path);
        at = path.parent();
    }
    for path in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(0o700))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns whether this user may write the path, or create it where it is missing.
#[must_use]
pub fn may_write_or_make(path: &Path) -> bool {
    use nix::fcntl::{AT_FDCWD, AtFlags};
    use nix::unistd::{AccessFlags, faccessat};
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find(|path| path.exists());
    there.is_some_and(|path| {
        faccessat(AT_FDCWD, path, AccessFlags::W_OK, AtFlags::AT_EACCESS).is_ok()
    })
}

/// Creates an empty file for this user alone, independent of the umask, where there is none
/// yet. Where a link of this name has no target, the target is created.
///
/// # Errors
/// Returns the error of the file system; an existing file is no error.
pub fn make_private_file(path: &Path) -> io::Result<()> {
    /// Most links that are followed, as many as the kernel follows.
    const LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match create_private(&path) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let Ok(target) = fs::read_link(&path) else { return Ok(()) };
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

/// Creates a file for this user alone, independent of the umask.
///
/// # Errors
/// Returns the error of the file system, also when there is something of that name.
pub fn create_private(path: &Path) -> io::Result<fs::File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Returns whether this process is in a user namespace that maps user ids, so that some
/// users are unknown here.
#[must_use]
pub fn is_in_user_namespace() -> bool {
    let map = crate::files::read_kernel_text("/proc/self/uid_map").unwrap_or_default();
    let words: Vec<&str> = map.split_whitespace().collect();
    !words.is_empty() && words != ["0", "0", "4294967295"]
}

/// Returns the name and the number of a user, for messages.
#[must_use]
pub fn describe_user(uid: u32) -> String {
    let known = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
    match known {
        Some(user) => format!("{} ({uid})", user.name),
        None => format!("user {uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o7777
    }

    #[test]
    fn what_is_made_is_for_its_user_alone_and_what_was_there_stays() {
        let place = tempfile::tempdir().expect("a folder");
        let old = place.path().join("old");
        fs::create_dir(&old).expect("made");
        fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).expect("set");
        make_private_folder(&old.join("a/b")).expect("made");
        assert_eq!(
            [mode(&old), mode(&old.join("a")), mode(&old.join("a/b"))],
            [0o755, 0o700, 0o700]
        );
        let file = old.join("a/b/file");
        make_private_file(&file).expect("made");
        assert_eq!(mode(&file), 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("set");
        fs::write(&file, "kept").expect("written");
        make_private_file(&file).expect("nothing to do");
        assert_eq!((mode(&file), fs::read(&file).expect("read")), (0o644, b"kept".to_vec()));
    }

    #[test]
    fn a_file_is_made_private_behind_a_link_that_leads_nowhere() {
        let place = tempfile::tempdir().expect("a folder");
        let (link, target) = (place.path().join("link"), place.path().join("target"));
        std::os::unix::fs::symlink("target", &link).expect("linked");
        make_private_file(&link).expect("made");
        assert_eq!(mode(&target), 0o600);
        let ring = place.path().join("ring");
        std::os::unix::fs::symlink("ring", &ring).expect("linked");
        assert!(make_private_file(&ring).is_err());
    }
}
