//! Folders and files that were left behind: in memory, in temporary folders, and in caches.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use procfs::process::Process;

use super::{LeftoverItem, LeftoverKind, RemovalHandle};
use crate::cache;
use cyclometer_core::units::Bytes;
use cyclometer_system::files::remove_tree;
use cyclometer_system::owner::Owner;
use cyclometer_system::paths;

/// Lists the folders with the standard files of containers.
pub(super) fn find_memory_folders() -> Vec<LeftoverItem> {
    find_owned_entries(LeftoverKind::Memory, Path::new("/dev/shm"), true)
}

/// Lists the temporary folders of lanes, and copies of databases, which lie wherever there was
/// room.
pub(super) fn find_temporary_folders() -> Vec<LeftoverItem> {
    let usual = paths::temporary_folder().ok();
    let listed = |folder: &PathBuf| find_owned_entries(LeftoverKind::Folders, folder, true);
    let mut found: Vec<LeftoverItem> = usual.iter().flat_map(listed).collect();
    let others =
        paths::temporary_folders().into_iter().filter(|folder| Some(folder) != usual.as_ref());
    let is_copy =
        |it: &LeftoverItem| it.name.rsplit('-').next().is_some_and(|it| it.starts_with("copy"));
    found.extend(others.flat_map(|folder| listed(&folder)).filter(is_copy));
    found
}

/// Lists the files that were to become entries of the cache, and roots of images that were to.
pub(super) fn find_unfinished_files() -> Vec<LeftoverItem> {
    let Ok(root) = cache::cache_root() else { return Vec::new() };
    let folders = cache::FOLDER_NAMES.iter().map(|name| root.join(name));
    let is_folder = |path: &PathBuf| path.symlink_metadata().is_ok_and(|data| data.is_dir());
    let inside = |folder: PathBuf| {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let below: Vec<PathBuf> = entries.map(|it| it.path()).filter(is_folder).collect();
        std::iter::once(folder).chain(below)
    };
    let folders = folders.filter(is_folder).flat_map(inside);
    let files =
        folders.flat_map(|folder| find_owned_entries(LeftoverKind::Unfinished, &folder, false));
    let roots = find_owned_entries(LeftoverKind::Unfinished, &root.join(cache::IMAGES), true);
    files.chain(roots).collect()
}

/// Lists folders, or files, of this user below `root` whose names hold their owner.
fn find_owned_entries(kind: LeftoverKind, root: &Path, folders: bool) -> Vec<LeftoverItem> {
    let user = nix::unistd::geteuid().as_raw();
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let data = entry.metadata().ok()?;
            let fits = if folders { data.is_dir() } else { data.is_file() };
            if !fits || data.uid() != user {
                return None;
            }
            let owner = Owner::from_name(&name).or_else(|| owner_of_partial_file(&name))?;
            Some(LeftoverItem {
                kind,
                in_use: owner.in_use_reason(data.modified().ok()),
                place: root.display().to_string(),
                size: None,
                handle: RemovalHandle::Path(entry.path()),
                name,
            })
        })
        .collect()
}

/// Parses the owner in the names that unfinished files had in earlier versions:
/// `partial-PID-N-NAME` and `NAME.PID.partial`.
fn owner_of_partial_file(name: &str) -> Option<Owner> {
    let number = match name.strip_prefix("partial-") {
        Some(rest) => rest.split('-').next(),
        None => name.strip_suffix(".partial").and_then(|rest| rest.rsplit('.').next()),
    };
    number?.parse().ok().filter(|pid| *pid > 0).map(Owner::Number)
}

/// Removes a file, or a folder with everything in it. Mounts that a runtime made inside are
/// unmounted and never searched, since they may hold anything. A folder that somebody else mounted
/// something on stays, with the mount.
pub(crate) fn remove_path_and_mounts(path: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot remove it: {error}");
    let data = path.symlink_metadata().map_err(failed)?;
    if !data.is_dir() {
        return fs::remove_file(path).map_err(failed);
    }
    // The kernel lists mounts by their canonical paths.
    let path = &path.canonicalize().map_err(failed)?;
    let mounts = Process::myself().and_then(|process| process.mountinfo());
    let mut points: Vec<PathBuf> = mounts
        .into_iter()
        .flatten()
        .map(|mount| mount.mount_point)
        .filter(|point| point.starts_with(path))
        .collect();
    if !points.contains(path) {
        // Innermost first.
        points.sort_unstable_by_key(|point| std::cmp::Reverse(point.components().count()));
        points.iter().try_for_each(|point| unmount_point(point))?;
    }
    // Reports a mount on the folder itself as well.
    remove_tree(path).map_err(failed)
}

fn unmount_point(point: &Path) -> Result<(), String> {
    umount2(point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).map_err(|error| {
        format!("{} is mounted in it and cannot be unmounted: {error}", point.display())
    })
}

/// Lists the folders of the cache.
pub(super) fn find_cache_folders(in_use: Option<&str>) -> Vec<LeftoverItem> {
    // In a folder of somebody else nothing is ours, whatever it looks like.
    let Ok(root) = cache::cache_root() else { return Vec::new() };
    let user = nix::unistd::geteuid().as_raw();
    let entries = fs::read_dir(&root).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let known = cache::FOLDER_NAMES.iter().any(|name| entry.file_name() == *name);
            let ours = entry.metadata().is_ok_and(|data| data.is_dir() && data.uid() == user);
            known && ours
        })
        .map(|entry| LeftoverItem {
            kind: LeftoverKind::Caches,
            name: entry.file_name().to_string_lossy().into_owned(),
            place: root.display().to_string(),
            size: None,
            in_use: in_use.map(str::to_owned),
            handle: RemovalHandle::Path(entry.path()),
        })
        .collect()
}

/// Returns the bytes on the disk of a folder and everything in it; links are not followed.
pub(super) fn disk_size(path: &Path) -> Bytes {
    let Ok(data) = path.symlink_metadata() else { return Bytes(0) };
    // Blocks of 512 bytes, whatever the block size of the file system is.
    let own = data.blocks() * 512;
    if !data.is_dir() {
        return Bytes(own);
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    Bytes(own + entries.map(|entry| disk_size(&entry.path()).0).sum::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyclometer_system::procfs::ProcessIdentity;

    #[test]
    fn what_bears_the_name_of_the_living_is_in_use_and_other_things_are_not() {
        let root = tempfile::tempdir().expect("a folder");
        let me = ProcessIdentity::current().expect("/proc");
        let pid = std::process::id();
        let names = [
            format!("cyclometer-{me}-copy0"),
            "cyclometer-1-2-nosuchboot-lane0".to_owned(),
            format!("cyclometer-lane-{pid}-0"),
            // Process ids are at most 4194304: no process has this one.
            "cyclometer-lane-4194999-1".to_owned(),
            "cyclometer-copy-1-2-nosuchboot-0".to_owned(),
            "cyclometer-lane-nobody".to_owned(),
            "something-else-1-1".to_owned(),
        ];
        for name in &names {
            fs::create_dir(root.path().join(name)).expect("made");
        }
        fs::write(root.path().join("cyclometer-1-2-nosuchboot-file"), "").expect("no folder");
        let mut found = find_owned_entries(LeftoverKind::Folders, root.path(), true);
        found.sort_by_key(|it| names.iter().position(|name| *name == it.name));
        let in_use: Vec<(&str, bool)> =
            found.iter().map(|it| (it.name.as_str(), it.in_use.is_some())).collect();
        let wanted = [(0, true), (1, false), (2, true), (3, false), (4, false)];
        assert_eq!(in_use, wanted.map(|(at, used): (usize, bool)| (names[at].as_str(), used)));
        found[1].remove().expect("removed");
        assert!(!root.path().join(&names[1]).exists() && root.path().join(&names[0]).exists());
    }

    #[test]
    fn unfinished_files_are_told_from_those_of_the_cache() {
        let root = tempfile::tempdir().expect("a folder");
        for name in [
            "partial-cyclometer-1-2-nosuchboot-keep3-nop.wasm",
            "0123abcd-48.0.8-plain-0.cwasm.4194999.partial",
            "partial-4194999-0-nop.wasm",
            // Complete entries, and a file of somebody else.
            "0123abcd-48.0.8-plain-0.cwasm",
            "partial-nop.wasm",
            "notes.partial",
        ] {
            fs::write(root.path().join(name), "x").expect("written");
        }
        let found = find_owned_entries(LeftoverKind::Unfinished, root.path(), false);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().all(|it| it.in_use.is_none()));
        for leftover in found {
            leftover.remove().expect("removed");
        }
        assert_eq!(fs::read_dir(root.path()).expect("there").count(), 3);
    }

    #[test]
    fn roots_of_images_that_were_never_complete_are_told_from_those_that_are_kept() {
        let root = tempfile::tempdir().expect("a folder");
        let mine = cyclometer_system::paths::partial_name("cell0").expect("/proc");
        for name in ["partial-cyclometer-1-2-nosuchboot-keep3-0a1b.root1", &mine, "0a1b.root1"] {
            fs::create_dir_all(root.path().join(name).join("rootfs/bin")).expect("made");
        }
        let found = find_owned_entries(LeftoverKind::Unfinished, root.path(), true);
        let (used, unused): (Vec<_>, Vec<_>) = found.iter().partition(|it| it.in_use.is_some());
        assert_eq!((used.len(), unused.len()), (1, 1), "{found:?}");
        unused[0].remove().expect("removed");
        assert!(root.path().join("0a1b.root1").exists() && root.path().join(mine).exists());
    }

    #[test]
    fn a_link_in_the_place_of_a_folder_is_not_followed() {
        let root = tempfile::tempdir().expect("a folder");
        let target = root.path().join("target");
        fs::create_dir(&target).expect("made");
        fs::write(target.join("kept"), "x").expect("written");
        let name = root.path().join("cyclometer-1-2-nosuchboot-lane0");
        std::os::unix::fs::symlink(&target, &name).expect("a link");
        assert_eq!(find_owned_entries(LeftoverKind::Folders, root.path(), true).len(), 0);
        let folder = root.path().join("cyclometer-1-2-nosuchboot-lane1");
        fs::create_dir(&folder).expect("made");
        std::os::unix::fs::symlink(&target, folder.join("link")).expect("a link");
        remove_path_and_mounts(&folder).expect("removed");
        assert!(target.join("kept").exists());
    }

    #[test]
    fn what_is_mounted_in_a_folder_is_unmounted_and_what_is_mounted_on_it_stays() {
        use nix::mount::{MsFlags, mount};
        let root = tempfile::tempdir().expect("a folder");
        let target = root.path().join("target");
        fs::create_dir(&target).expect("made");
        fs::write(target.join("kept"), "x").expect("written");
        for inside in ["rootfs/deep", ""] {
            let folder = root.path().join("cyclometer-1-2-nosuchboot-lane0");
            let point = folder.join(inside);
            fs::create_dir_all(&point).expect("made");
            let flags = MsFlags::MS_BIND;
            if let Err(error) = mount(Some(&target), &point, None::<&str>, flags, None::<&str>) {
                return cyclometer_testkit::skip(&format!("nothing can be mounted: {error}"));
            }
            let removed = remove_path_and_mounts(&folder);
            let is_mounted = umount2(&point, MntFlags::MNT_DETACH).is_ok();
            assert!(target.join("kept").exists(), "{inside}: {removed:?}");
            if inside.is_empty() {
                let told = removed.expect_err("something is mounted on it");
                let wanted = format!("something is mounted on {0}: `umount {0}`", folder.display());
                assert!(is_mounted && told.contains(&wanted), "{told}");
            } else {
                removed.expect("removed");
                assert!(!is_mounted && !folder.exists());
            }
        }
    }

    #[test]
    fn sizes_are_those_on_the_disk() {
        let root = tempfile::tempdir().expect("a folder");
        let before = disk_size(root.path()).0;
        fs::create_dir(root.path().join("a")).expect("made");
        fs::write(root.path().join("a/b"), vec![1; 1 << 20]).expect("written");
        let size = disk_size(root.path()).0 - before;
        assert!((1 << 20..(1 << 20) + (64 << 10)).contains(&size), "{size}");
    }
}
