//! The folder of what lanes keep between recordings.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;

/// The cache folder of that name, readable by its owner only.
///
/// # Errors
/// When it cannot be made, or belongs to somebody else.
pub(super) fn folder(name: &str) -> std::io::Result<PathBuf> {
    let folder = root().join(name);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    // What is compiled is code: nobody else may put any here.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
    Ok(folder)
}

/// The names of all cache folders.
pub(crate) const NAMES: [&str; 2] = ["wasmtime", "runtimes"];

/// The folder of the cache folders, which may not be there.
pub(crate) fn root() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(|| {
            std::env::temp_dir().join(format!("cyclometer-{}", nix::unistd::getuid()))
        });
    base.join("cyclometer")
}
