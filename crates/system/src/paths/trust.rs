//! Trust in folders: walks to a folder part by part, and checks the owner and the writers
//! of each part. In a trusted path every part belongs to this user or to root, so that
//! nobody else can replace the folder, now or later.
//!
//! Each part is opened without following links; a link of this user or of root is followed
//! by walking to where it leads in the same way. A world-writable folder with the sticky
//! bit (mode 1777, as `/tmp`) may lie on the way: the owner of what is below it is checked
//! as well. POSIX access control lists show in the mode of the group; those of `NFSv4` do
//! not, and are not checked.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, fchmodat, fstat, mkdirat};

use super::{describe_user, is_in_user_namespace};

/// User id that stands for all users that a user namespace does not know, unless
/// `/proc/sys/kernel/overflowuid` sets another.
const UNKNOWN: u32 = 65_534;

/// Most links in one path, as many as the kernel follows.
const MOST_LINKS: u32 = 40;

/// Reason why a folder or file is not trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustError {
    /// Problem, with the path of the part that has it.
    pub cause: String,
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl TrustError {
    pub(super) fn for_path(path: &Path, cause: impl fmt::Display) -> Self {
        Self { cause: format!("{}: {cause}", path.display()) }
    }
}

/// Intended use of a folder, which decides how strictly it is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderPurpose {
    /// Writing into it: it must be this user's own, and nobody else can write it.
    Keep,
    /// Reading from it: it must belong to this user or root, and nobody else can write it.
    Read,
    /// Making a folder in it: it may be world-writable if it has the sticky bit.
    Parent,
}

/// Checks a folder without changing anything. Returns `false` if it does not exist yet and
/// the existing part of its path is trusted.
///
/// # Errors
/// Returns the reason why it is not trusted.
pub fn check_folder_trust(path: &Path, purpose: FolderPurpose) -> Result<bool, TrustError> {
    walk_to_folder(path, purpose, false).map(|found| found.is_some())
}

/// Checks a file, or the target of a link of that name: nobody but this user and root may
/// be able to replace it or, unless the folder is checked as a [`FolderPurpose::Parent`], put
/// anything beside it. A missing file passes.
///
/// # Errors
/// Returns the reason why it is not trusted.
pub fn check_file_trust(path: &Path, folder_purpose: FolderPurpose) -> Result<(), TrustError> {
    let mut path = std::path::absolute(path).map_err(|error| TrustError::for_path(path, error))?;
    for _ in 0..MOST_LINKS {
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        check_folder_trust(&folder, folder_purpose)?;
        let Ok(data) = path.symlink_metadata() else { return Ok(()) };
        check_owned_by(&path, data.uid(), data.is_symlink())?;
        if !data.is_symlink() {
            return Ok(());
        }
        let target =
            std::fs::read_link(&path).map_err(|error| TrustError::for_path(&path, error))?;
        path = folder.join(target);
    }
    Err(TrustError::for_path(&path, Errno::ELOOP.desc()))
}

/// Folder on the path that was entered and checked.
struct WalkedFolder {
    folder: OwnedFd,
    path: PathBuf,
    state: FileStat,
}

/// Walks to a folder; with `create`, makes missing folders for this user alone. Returns
/// `None` if it does not exist. The descriptor can only be used to look up names.
pub(super) fn walk_to_folder(
    path: &Path,
    purpose: FolderPurpose,
    create: bool,
) -> Result<Option<OwnedFd>, TrustError> {
    let absolute = std::path::absolute(path).map_err(|error| TrustError::for_path(path, error))?;
    let mut walk =
        FolderWalk { parts: vec![WalkedFolder::open_root()?], ahead: VecDeque::new(), links: 0 };
    walk.push_ahead(&absolute);
    while let Some(name) = walk.ahead.pop_front() {
        if name == ".." {
            if walk.parts.len() > 1 {
                walk.parts.pop();
            }
        } else if !walk.enter_folder(&name, create)? {
            return Ok(None);
        }
    }
    let Some(last) = walk.parts.pop() else { return Ok(None) };
    last.check_purpose(purpose)?;
    Ok(Some(last.folder))
}

struct FolderWalk {
    parts: Vec<WalkedFolder>,
    ahead: VecDeque<OsString>,
    links: u32,
}

impl FolderWalk {
    /// Queues the parts of a path before those still ahead; an absolute path restarts at
    /// the root.
    fn push_ahead(&mut self, path: &Path) {
        let mut names = Vec::new();
        for part in path.components() {
            match part {
                Component::RootDir => self.parts.truncate(1),
                Component::Normal(name) => names.push(name.to_owned()),
                Component::ParentDir => names.push("..".into()),
                Component::CurDir | Component::Prefix(_) => {}
            }
        }
        for name in names.into_iter().rev() {
            self.ahead.push_front(name);
        }
    }

    /// Enters the folder called `name`, or queues the target of a link; returns `false` if
    /// there is no such entry.
    fn enter_folder(&mut self, name: &OsStr, create: bool) -> Result<bool, TrustError> {
        let Some(parent) = self.parts.last() else { return Ok(false) };
        let path = parent.path.join(name);
        let failed = |error: Errno| TrustError::for_path(&path, error.desc());
        let opened = match parent.open_entry(name) {
            Err(Errno::ENOENT) if create => parent
                .make_folder(name)
                .and_then(|()| parent.open_entry(name))
                .map_err(|error| {
                    TrustError::for_path(&path, format!("it cannot be made: {}", error.desc()))
                })?,
            Err(Errno::ENOENT) => return Ok(false),
            other => other.map_err(failed)?,
        };
        let state = fstat(&opened).map_err(failed)?;
        check_owner(&path, &state)?;
        match state.st_mode & libc::S_IFMT {
            libc::S_IFDIR => {
                let part = WalkedFolder { folder: opened, path, state };
                part.check_writers()?;
                self.parts.push(part);
            }
            libc::S_IFLNK => {
                self.links += 1;
                if self.links > MOST_LINKS {
                    return Err(failed(Errno::ELOOP));
                }
                let target = readlinkat(&opened, "").map_err(failed)?;
                self.push_ahead(Path::new(&target));
            }
            _ => return Err(failed(Errno::ENOTDIR)),
        }
        Ok(true)
    }
}

impl WalkedFolder {
    fn open_root() -> Result<Self, TrustError> {
        let path = PathBuf::from("/");
        let failed = |error: Errno| TrustError::for_path(Path::new("/"), error.desc());
        let folder = openat(AT_FDCWD, "/", lookup_flags(), Mode::empty()).map_err(failed)?;
        let state = fstat(&folder).map_err(failed)?;
        check_owner(&path, &state)?;
        let root = Self { folder, path, state };
        root.check_writers()?;
        Ok(root)
    }

    /// Opens the entry called `name`, without following a link.
    fn open_entry(&self, name: &OsStr) -> nix::Result<OwnedFd> {
        openat(&self.folder, name, lookup_flags(), Mode::empty())
    }

    /// Makes a folder for this user alone, independent of the umask.
    fn make_folder(&self, name: &OsStr) -> nix::Result<()> {
        match mkdirat(&self.folder, name, Mode::S_IRWXU) {
            Ok(()) => fchmodat(&self.folder, name, Mode::S_IRWXU, FchmodatFlags::FollowSymlink),
            // Somebody else made it first; the caller checks the owner.
            Err(Errno::EEXIST) => Ok(()),
            Err(error) => Err(error),
        }
    }

    const fn has_mode_bits(&self, bits: libc::mode_t) -> bool {
        self.state.st_mode & bits != 0
    }

    /// Checks that nobody else can write the folder, unless it has the sticky bit.
    fn check_writers(&self) -> Result<(), TrustError> {
        if self.has_mode_bits(0o022) && !self.has_mode_bits(libc::S_ISVTX) {
            Err(self.writable_by_others())
        } else {
            Ok(())
        }
    }

    fn check_purpose(&self, purpose: FolderPurpose) -> Result<(), TrustError> {
        if purpose != FolderPurpose::Parent && self.has_mode_bits(0o022) {
            return Err(self.writable_by_others());
        }
        if purpose == FolderPurpose::Keep && self.state.st_uid != nix::unistd::geteuid().as_raw() {
            let owner = describe_user(self.state.st_uid);
            return Err(TrustError::for_path(
                &self.path,
                format!("it belongs to {owner}, not to this user"),
            ));
        }
        Ok(())
    }

    fn writable_by_others(&self) -> TrustError {
        let who = if self.has_mode_bits(0o002) { "everybody" } else { "its group" };
        let bits = self.state.st_mode & 0o7777;
        let advice = format!("`chmod go-w {}`", self.path.display());
        TrustError::for_path(&self.path, format!("{who} can write it (mode {bits:04o}): {advice}"))
    }
}

/// Returns flags for looking up names, without following links or needing read permission.
fn lookup_flags() -> OFlag {
    OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

fn check_owner(path: &Path, state: &FileStat) -> Result<(), TrustError> {
    check_owned_by(path, state.st_uid, state.st_mode & libc::S_IFMT == libc::S_IFLNK)
}

/// Checks that the owner is this user or root, who can do everything anyway.
fn check_owned_by(path: &Path, owner: u32, is_link: bool) -> Result<(), TrustError> {
    if owner == 0 || owner == nix::unistd::geteuid().as_raw() {
        return Ok(());
    }
    let unknown = owner == UNKNOWN && is_in_user_namespace();
    let owner = if unknown {
        "a user that this user namespace does not know".to_owned()
    } else {
        describe_user(owner)
    };
    let what = if is_link { "this link" } else { "it" };
    let cause = format!("{what} belongs to {owner}, who is neither this user nor root");
    Err(TrustError::for_path(path, cause))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn place() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    fn folder(path: &Path, mode: u32) {
        fs::create_dir_all(path).expect("made");
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
    }

    fn refused(path: &Path, purpose: FolderPurpose) -> String {
        check_folder_trust(path, purpose).expect_err("refused").to_string()
    }

    #[test]
    fn a_folder_that_others_can_write_anywhere_on_the_way_is_refused() {
        let place = place();
        for (mode, who) in [(0o777, "everybody"), (0o770, "its group"), (0o702, "everybody")] {
            let middle = place.path().join(format!("{mode:o}"));
            folder(&middle.join("mine"), 0o700);
            folder(&middle, mode);
            for path in [middle.join("mine"), middle.clone(), middle.join("not/yet")] {
                let why = refused(&path, FolderPurpose::Keep);
                assert!(
                    why.contains(&format!("{}: {who} can write it", middle.display())),
                    "{why}"
                );
            }
        }
        // In a sticky folder nobody else can touch our entries, but it is no folder to keep.
        let sticky = place.path().join("sticky");
        folder(&sticky.join("mine"), 0o700);
        folder(&sticky, 0o1777);
        assert_eq!(check_folder_trust(&sticky.join("mine"), FolderPurpose::Keep), Ok(true));
        assert_eq!(check_folder_trust(&sticky, FolderPurpose::Parent), Ok(true));
        assert!(
            refused(&sticky, FolderPurpose::Keep).contains("everybody can write it (mode 1777)")
        );
        assert_eq!(check_folder_trust(&sticky.join("new/folder"), FolderPurpose::Keep), Ok(false));
    }

    #[test]
    fn links_are_followed_only_to_what_may_be_relied_on() {
        let place = place();
        let at = |name: &str| place.path().join(name);
        folder(&at("good/deep"), 0o700);
        folder(&at("open/deep"), 0o700);
        folder(&at("open"), 0o777);
        symlink("good", at("relative")).expect("linked");
        symlink(at("open"), at("absolute")).expect("linked");
        symlink("../open/deep", at("good/up")).expect("linked");
        symlink("ring", at("ring")).expect("linked");
        fs::write(at("file"), "").expect("written");
        assert_eq!(check_folder_trust(&at("relative/deep"), FolderPurpose::Keep), Ok(true));
        assert!(refused(&at("absolute/deep"), FolderPurpose::Keep).contains("open: everybody"));
        assert!(refused(&at("good/up"), FolderPurpose::Keep).contains("open: everybody"));
        assert!(refused(&at("good/deep/../up"), FolderPurpose::Keep).contains("open: everybody"));
        assert!(refused(&at("ring"), FolderPurpose::Keep).contains("symbolic links"));
        assert!(refused(&at("file/x"), FolderPurpose::Keep).contains("Not a directory"));
    }

    #[test]
    fn what_belongs_to_somebody_else_is_refused_as_part_link_and_end() {
        if !nix::unistd::geteuid().is_root() {
            cyclometer_testkit::skip("only root can give files away");
            return;
        }
        let place = place();
        let give = |path: &Path| std::os::unix::fs::lchown(path, Some(65_534), Some(65_534));
        let at = |name: &str| place.path().join(name);
        folder(&at("theirs/mine"), 0o700);
        give(&at("theirs")).expect("given");
        folder(&at("mine"), 0o700);
        symlink("mine", at("link")).expect("linked");
        give(&at("link")).expect("given");
        for purpose in [FolderPurpose::Keep, FolderPurpose::Read, FolderPurpose::Parent] {
            assert!(refused(&at("theirs"), purpose).contains("neither this user nor root"));
            assert!(refused(&at("theirs/mine"), purpose).contains("theirs: it belongs to"));
            assert!(refused(&at("link"), purpose).contains("this link belongs to"));
        }
        assert_eq!(check_folder_trust(&at("mine"), FolderPurpose::Keep), Ok(true));
    }
}
