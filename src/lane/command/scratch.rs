//! Private folders of lanes: gone when the lane is closed, or when a later one
//! finds that their owner died.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

const PREFIX: &str = "cyclometer-lane-";

/// A folder that goes away with the value.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// A new folder, readable by its owner only.
    pub fn new() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let base = crate::paths::temporary()?;
        sweep(&base);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("{PREFIX}{}-{number}", std::process::id()));
        // One of that name belongs to a dead process that had our id, or to
        // somebody who wants us to use theirs.
        if path.symlink_metadata().is_ok_and(|data| data.is_dir() && is_ours(&data)) {
            fs::remove_dir_all(&path)?;
        }
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        // Whatever the umask says.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is swept by a later lane.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn is_ours(data: &fs::Metadata) -> bool {
    data.uid() == nix::unistd::geteuid().as_raw()
}

/// Removes our folders whose owners are gone.
fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let owner = owner.and_then(|rest| rest.split_once('-')).map(|(pid, _)| pid);
        let Some(owner) = owner.and_then(|pid| pid.parse::<u32>().ok()) else { continue };
        let ours = entry.metadata().is_ok_and(|data| data.is_dir() && is_ours(&data));
        if ours && !Path::new(&format!("/proc/{owner}")).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_go_with_their_owner() {
        let base = crate::paths::temporary().expect("there");
        // Process ids are at most 4194304: nobody has this one.
        let dead = base.join(format!("{PREFIX}4194999-0"));
        fs::create_dir_all(dead.join("rootfs")).expect("made");
        let scratch = Scratch::new().expect("made");
        assert!(!dead.exists(), "what a dead owner left is swept");
        let path = scratch.path().to_owned();
        fs::write(path.join("x"), "y").expect("written");
        let other = Scratch::new().expect("made");
        assert!(path.exists() && other.path() != path);
        drop(scratch);
        assert!(!path.exists());
    }
}
