//! Private folders of lanes: removed when the lane is closed, or when a later command finds that
//! their owner is gone.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cyclometer_system::owner;

/// A folder that is removed when the value is dropped.
#[derive(Debug)]
pub(super) struct ScratchFolder(PathBuf);

impl ScratchFolder {
    /// Creates a new folder, readable by its owner only.
    pub fn new() -> io::Result<Self> {
        let path = cyclometer_system::paths::temporary_folder()?.join(owner::new_name("lane")?);
        // An existing one of that name was made by somebody who wants us to use theirs.
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        // Whatever the umask says.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        // A folder that cannot be removed now is removed by the clean-up of the next command.
        let _ = crate::clean::remove_path(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_go_with_their_value_and_bear_their_owner() {
        let scratch = ScratchFolder::new().expect("made");
        let path = scratch.path().to_owned();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let owner = owner::Owner::from_name(name).expect("an owner");
        assert!(owner.in_use_reason(None).is_some(), "this process");
        fs::write(path.join("x"), "y").expect("written");
        let other = ScratchFolder::new().expect("made");
        assert!(path.exists() && other.path() != path);
        drop(scratch);
        assert!(!path.exists());
    }
}
