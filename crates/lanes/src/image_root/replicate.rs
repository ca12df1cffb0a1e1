//! Copies of a root, so that neither a runtime nor a function changes the one that is kept.

use std::fs::{self, DirBuilder, File, FileTimes, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, lchown, symlink,
};
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::Cancel;

/// How files get into a copy of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileSharing {
    /// Hard links: for roots that nobody can write to. The folders are new, so that runtimes can
    /// make what they mount something on.
    Linked,
    /// Copies, which may be written.
    Copied,
}

/// Makes the folder `to`, with the content of the root `from`. Nobody else may change `from`
/// meanwhile.
///
/// # Errors
/// The error of the file system; the copy is then incomplete.
pub(crate) fn replicate_root(
    from: &Path,
    to: &Path,
    sharing: FileSharing,
    cancel: &Cancel,
) -> io::Result<()> {
    let keeps_owners = nix::unistd::geteuid().is_root();
    let mut waiting = vec![PathBuf::new()];
    while let Some(inside) = waiting.pop() {
        if cancel.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let (folder, copy) = (from.join(&inside), to.join(&inside));
        let data = folder.symlink_metadata()?;
        DirBuilder::new().mode(0o700).create(&copy)?;
        if keeps_owners {
            chown(&copy, Some(data.uid()), Some(data.gid()))?;
        }
        fs::set_permissions(&copy, data.permissions())?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                waiting.push(inside.join(entry.file_name()));
                continue;
            }
            let target = copy.join(entry.file_name());
            let is_linked =
                sharing == FileSharing::Linked && fs::hard_link(entry.path(), &target).is_ok();
            if !is_linked {
                copy_entry(&entry.path(), &target, keeps_owners)?;
            }
        }
    }
    Ok(())
}

/// Copies what is no folder.
fn copy_entry(from: &Path, to: &Path, keeps_owners: bool) -> io::Result<()> {
    let data = from.symlink_metadata()?;
    let kind = data.file_type();
    if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else if kind.is_fifo() {
        mkfifo(to, Mode::S_IRUSR | Mode::S_IWUSR)?;
    } else {
        return copy_file(from, to, &data, keeps_owners);
    }
    if keeps_owners {
        lchown(to, Some(data.uid()), Some(data.gid()))?;
    }
    if kind.is_fifo() {
        fs::set_permissions(to, Permissions::from_mode(data.mode() & 0o1777))?;
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path, data: &Metadata, keeps_owners: bool) -> io::Result<()> {
    let nofollow = libc::O_NOFOLLOW;
    let mut source = OpenOptions::new().read(true).custom_flags(nofollow).open(from)?;
    let mut copy: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut source, &mut copy)?;
    if keeps_owners {
        std::os::unix::fs::fchown(&copy, Some(data.uid()), Some(data.gid()))?;
    }
    copy.set_permissions(data.permissions())?;
    copy.set_times(FileTimes::new().set_modified(data.modified()?))
}
