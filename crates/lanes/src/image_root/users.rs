//! The user database of an unpacked root.

use std::io::{self, Read};
use std::path::Path;

use nix::errno::Errno;

use super::entry_program::open_in_root;
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
    match read_bounded(root, name) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(FileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(format!("its /{name} cannot be read: {error}")),
    }
}

fn read_bounded(root: &Folder, name: &str) -> Result<Vec<u8>, FileError> {
    let file = match open_in_root(root, name) {
        // Linux before 5.6, or a filter of system calls.
        Err(Errno::ENOSYS | Errno::EPERM) => return root.read_file(Path::new(name), DATABASE),
        other => other?,
    };
    if !file.metadata()?.is_file() {
        return Err(FileError::Io(io::Error::other("it is no regular file")));
    }
    let mut content = Vec::new();
    file.take(DATABASE.most.0 + 1).read_to_end(&mut content)?;
    if content.len() as u64 > DATABASE.most.0 {
        return Err(FileError::TooLarge(DATABASE));
    }
    Ok(content)
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
        // An absolute link is one within the root, and never leads to this machine's users.
        std::fs::rename(&passwd, place.path().join("users")).expect("moved");
        std::os::unix::fs::symlink("/users", &passwd).expect("linked");
        assert_eq!(read().expect("read").passwd, "app:x:1000:1001::/srv:/bin/sh\n");
        std::fs::remove_file(&passwd).expect("removed");
        std::os::unix::fs::symlink("/etc/passwd", &passwd).expect("linked");
        assert!(read().is_err_and(|text| text.contains("/etc/passwd cannot be read")));
        std::fs::remove_file(&passwd).expect("removed");
        nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRWXU).expect("made");
        assert!(read().is_err_and(|text| text.contains("no regular file")));
        std::fs::remove_file(&passwd).expect("removed");
        let large = std::fs::File::create(&passwd).expect("made");
        large.set_len((4 << 20) + 1).expect("grown");
        assert!(read().is_err_and(|text| text.contains("larger than 4.00 MiB")), "{:?}", read());
    }
}
