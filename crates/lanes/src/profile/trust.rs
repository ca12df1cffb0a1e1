//! Trust in profiles: a profile names programs, and a script beside it is one. So only files that
//! this user or root owns are trusted, at every level from the root of the file system down, and
//! only where nobody else can write.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Write permission of the group and of others.
const OTHERS_WRITE: u32 = 0o022;
/// Bit of a folder, such as `/tmp`, in which only owners rename and remove.
const STICKY: u32 = 0o1000;

/// Checks a profile, or a folder of profiles and everything in it.
///
/// # Errors
/// The owner who is not trusted, or who else can write it, and what to do about it.
pub fn check_trust(path: &Path) -> Result<(), String> {
    let user = nix::unistd::geteuid().as_raw();
    check_chain(path, user)?;
    let Ok(data) = fs::metadata(path) else { return Ok(()) };
    if data.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            check_chain(&entry.path(), user)?;
        }
    } else if data.is_file() {
        // A script lies beside the profile; one that cannot be read is reported later.
        let folder = path.parent().unwrap_or(Path::new(""));
        for profile in super::load_profile(path).into_iter().flatten() {
            if let Some(script) = &profile.script {
                check_chain(&folder.join(&script.name), user)?;
            }
        }
    }
    Ok(())
}

/// Checks everything on the way to `path`, and on the way to where links lead.
fn check_chain(path: &Path, user: u32) -> Result<(), String> {
    let Ok(absolute) = std::path::absolute(path) else { return Ok(()) };
    // A missing file is reported by whoever reads it.
    let Ok(resolved) = absolute.canonicalize() else { return Ok(()) };
    let mut levels: Vec<PathBuf> = absolute.ancestors().map(Path::to_owned).collect();
    levels.extend(resolved.ancestors().map(Path::to_owned));
    for level in levels {
        let Ok(data) = level.symlink_metadata() else { continue };
        check_one(&level, &data, user)?;
    }
    Ok(())
}

fn check_one(path: &Path, data: &Metadata, user: u32) -> Result<(), String> {
    // Devices, pipes and the like are refused by whoever reads them.
    if !data.is_dir() && !data.is_file() && !data.is_symlink() {
        return Ok(());
    }
    let advice = "--trust-profiles runs it all the same";
    let owner = data.uid();
    if owner != user && owner != 0 {
        let name = nix::unistd::User::from_uid(owner.into()).ok().flatten();
        let name = name.map_or_else(|| format!("user {owner}"), |user| user.name);
        return Err(format!(
            "{} belongs to {name}, who could make you run any program: look at it, then `chown` \
             it, or {advice}",
            path.display()
        ));
    }
    let is_shared_safely = data.is_dir() && data.mode() & STICKY != 0;
    // The mode of a link has no effect.
    if data.is_symlink() || is_shared_safely || data.mode() & OTHERS_WRITE == 0 {
        return Ok(());
    }
    Err(format!(
        "{} can be written by others, who could make you run any program: look at it, then \
         `chmod go-w` it, or {advice}",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A user who is neither this one nor root.
    const STRANGER: u32 = 54_321;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    }

    #[test]
    fn only_what_this_user_or_root_alone_can_write_is_trusted() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("mine.toml");
        fs::write(&file, "").expect("written");
        mode(&file, 0o644);
        assert_eq!(check_trust(&file), Ok(()), "below the sticky /tmp");
        assert_eq!(check_trust(folder.path()), Ok(()));
        for (path, bad, good) in [(file.as_path(), 0o664, 0o644), (folder.path(), 0o757, 0o700)] {
            mode(path, bad);
            for whole in [file.as_path(), folder.path()] {
                let reason = check_trust(whole).expect_err("others can write");
                assert!(reason.contains("can be written by others"), "{reason}");
                assert!(reason.contains("--trust-profiles"), "{reason}");
            }
            mode(path, good);
        }
    }

    #[test]
    fn the_way_through_links_is_looked_at_as_well() {
        let folder = tempfile::tempdir().expect("a folder");
        let shared = folder.path().join("shared");
        fs::create_dir(&shared).expect("made");
        fs::write(shared.join("x.toml"), "").expect("written");
        let link = folder.path().join("x.toml");
        std::os::unix::fs::symlink(shared.join("x.toml"), &link).expect("a link");
        assert_eq!(check_trust(&link), Ok(()));
        mode(&shared, 0o777);
        assert!(check_trust(&link).is_err_and(|reason| reason.contains("shared")));
    }

    #[test]
    fn profiles_of_somebody_else_are_told_with_their_owner() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().symlink_metadata().expect("there");
        let reason = check_one(folder.path(), &data, STRANGER);
        if data.uid() == 0 {
            assert_eq!(reason, Ok(()), "root's are everybody's");
        } else {
            assert!(reason.is_err_and(|reason| reason.contains(" belongs to ")));
        }
        if !nix::unistd::geteuid().is_root() {
            return cyclometer_testkit::skip("only root can give a file away");
        }
        let file = folder.path().join("x.toml");
        fs::write(&file, "").expect("written");
        std::os::unix::fs::chown(&file, Some(STRANGER), None).expect("given away");
        for path in [file.as_path(), folder.path()] {
            let reason = check_trust(path).expect_err("not ours");
            assert!(reason.contains("x.toml belongs to user 54321"), "{reason}");
        }
    }
}
