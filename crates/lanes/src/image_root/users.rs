//! The user database of an unpacked root.

use std::path::Path;

use crate::image_user::AccountFiles;
use cyclometer_system::files::{Bound, FileError, Folder};

const DATABASE: Bound = Bound::new("a user database of a root", 4 << 20);

/// Reads the user database of a root, which is empty where there is none.
///
/// # Errors
/// The file that cannot be read, and why.
pub(crate) fn read_account_files(root: &Folder) -> Result<AccountFiles, String> {
    let read = |name: &str| read_database(root, name);
    Ok(AccountFiles { passwd: read("etc/passwd")?, group: read("etc/group")? })
}

fn read_database(root: &Folder, name: &str) -> Result<String, String> {
    match root.read_file(Path::new(name), DATABASE) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(FileError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(String::new())
        }
        Err(error) => Err(format!("its /{name} cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyclometer_system::files::LinkPolicy;

    #[test]
    fn users_are_those_of_the_root_and_of_nothing_outside() {
        let place = tempfile::tempdir().expect("a folder");
        let read = || {
            let root = Folder::open(place.path(), LinkPolicy::Beneath).expect("there");
            read_account_files(&root)
        };
        assert_eq!(read(), Ok(AccountFiles::default()));
        std::fs::create_dir(place.path().join("etc")).expect("made");
        let passwd = place.path().join("etc/passwd");
        std::fs::write(&passwd, "app:x:1000:1001::/srv:/bin/sh\n").expect("written");
        let user = read().expect("read").resolve_user("me/fn", "app").expect("there");
        assert_eq!((user.uid, user.gid), (1000, 1001));
        std::fs::remove_file(&passwd).expect("removed");
        std::os::unix::fs::symlink("/etc/passwd", &passwd).expect("linked");
        assert!(read().is_err_and(|text| text.contains("leads out")));
    }
}
