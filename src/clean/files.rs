//! Folders that were left: in memory, for temporary files, and caches.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use procfs::process::Process;

use super::{Handle, Kind, Leftover};
use crate::lane::cache;
use crate::meter::procfs::ProcessIdentity;
use crate::units::Bytes;

/// Folders with the standard files of containers.
pub(super) fn in_memory() -> Vec<Leftover> {
    in_folder(Kind::Memory, Path::new("/dev/shm"), &["cyclometer-"])
}

/// Folders for temporary files of lanes, and copies of databases.
pub(super) fn temporary() -> Vec<Leftover> {
    let Ok(folder) = crate::paths::temporary() else { return Vec::new() };
    in_folder(Kind::Folders, &folder, &["cyclometer-lane-", "cyclometer-copy-"])
}

/// Folders of this user below `root` whose name holds their owner.
fn in_folder(kind: Kind, root: &Path, prefixes: &[&str]) -> Vec<Leftover> {
    let user = nix::unistd::geteuid().as_raw();
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let data = entry.metadata().ok().filter(|data| data.is_dir() && data.uid() == user)?;
            let rest = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix))?;
            let owner = Owner::in_name(rest)?;
            Some(Leftover {
                kind,
                in_use: owner.in_use(&data),
                place: root.display().to_string(),
                size: Some(size_of(&entry.path())),
                handle: Handle::Path(entry.path()),
                name,
            })
        })
        .collect()
}

/// Who made a folder, as its name says.
enum Owner {
    Process(ProcessIdentity),
    /// Only the number, which another process may have by now.
    Number(i32),
}

impl Owner {
    /// From `IDENTITY-TAG`, or `PID-NUMBER`.
    fn in_name(text: &str) -> Option<Self> {
        let (owner, _tag) = text.rsplit_once('-')?;
        match owner.parse() {
            Ok(identity) => Some(Self::Process(identity)),
            Err(()) => owner.parse().ok().map(Self::Number),
        }
    }

    fn in_use(&self, data: &fs::Metadata) -> Option<String> {
        let pid = match self {
            Self::Process(identity) => identity.is_alive().then(|| identity.pid())?,
            Self::Number(pid) => {
                let began = began(*pid)?;
                // One that began later than the folder was last changed has
                // only the number of its owner.
                let changed = data.modified().ok()?;
                (began <= changed + Duration::from_secs(2)).then_some(*pid)?
            }
        };
        Some(format!("process {pid} uses it"))
    }
}

/// When a process that runs began.
fn began(pid: i32) -> Option<SystemTime> {
    let stat = Process::new(pid).ok()?.stat().ok()?;
    let boot = procfs::boot_time_secs().ok()?;
    let since_boot = stat.starttime / procfs::ticks_per_second();
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(boot + since_boot))
}

/// The folders of the cache.
pub(super) fn caches(in_use: Option<&str>) -> Vec<Leftover> {
    // In a folder of somebody else nothing is ours, whatever it seems to be.
    let Ok(root) = cache::place() else { return Vec::new() };
    let user = nix::unistd::geteuid().as_raw();
    let entries = fs::read_dir(&root).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let known = cache::NAMES.iter().any(|name| entry.file_name() == *name);
            let ours = entry.metadata().is_ok_and(|data| data.is_dir() && data.uid() == user);
            known && ours
        })
        .map(|entry| Leftover {
            kind: Kind::Caches,
            name: entry.file_name().to_string_lossy().into_owned(),
            place: root.display().to_string(),
            size: Some(size_of(&entry.path())),
            in_use: in_use.map(str::to_owned),
            handle: Handle::Path(entry.path()),
        })
        .collect()
}

/// Bytes on the disk of a folder and all in it; links are not followed.
fn size_of(path: &Path) -> Bytes {
    let Ok(data) = path.symlink_metadata() else { return Bytes(0) };
    // Blocks of 512 bytes, whatever the file system's own are.
    let own = data.blocks() * 512;
    if !data.is_dir() {
        return Bytes(own);
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    Bytes(own + entries.map(|entry| size_of(&entry.path()).0).sum::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_living_processes_are_in_use_and_others_are_not() {
        let root = tempfile::tempdir().expect("a folder");
        let me = ProcessIdentity::current().expect("/proc");
        let pid = std::process::id();
        let names = [
            format!("cyclometer-copy-{me}-0"),
            "cyclometer-copy-1-2-nosuchboot-0".to_owned(),
            format!("cyclometer-lane-{pid}-0"),
            // Process ids are at most 4194304: nobody has this one.
            "cyclometer-lane-4194999-1".to_owned(),
            "cyclometer-lane-nobody".to_owned(),
            "something-else-1-1".to_owned(),
        ];
        for name in &names {
            fs::create_dir(root.path().join(name)).expect("made");
        }
        let prefixes = ["cyclometer-lane-", "cyclometer-copy-"];
        let mut found = in_folder(Kind::Folders, root.path(), &prefixes);
        found.sort_by_key(|it| names.iter().position(|name| *name == it.name));
        let in_use: Vec<(&str, bool)> =
            found.iter().map(|it| (it.name.as_str(), it.in_use.is_some())).collect();
        let wanted = [(0, true), (1, false), (2, true), (3, false)];
        assert_eq!(in_use, wanted.map(|(at, used): (usize, bool)| (names[at].as_str(), used)));
        found[1].remove().expect("removed");
        assert!(!root.path().join(&names[1]).exists() && root.path().join(&names[0]).exists());
    }

    #[test]
    fn a_process_that_began_after_the_folder_is_not_its_owner() {
        let root = tempfile::tempdir().expect("a folder");
        let data = root.path().metadata().expect("there");
        // The first process of this machine began long before it.
        assert!(Owner::Number(1).in_use(&data).is_some());
        let file = fs::File::open(root.path()).expect("opened");
        let early = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        file.set_times(fs::FileTimes::new().set_modified(early)).expect("set");
        let data = root.path().metadata().expect("there");
        assert!(Owner::Number(1).in_use(&data).is_none());
    }

    #[test]
    fn sizes_are_those_on_the_disk() {
        let root = tempfile::tempdir().expect("a folder");
        let before = size_of(root.path()).0;
        fs::create_dir(root.path().join("a")).expect("made");
        fs::write(root.path().join("a/b"), vec![1; 1 << 20]).expect("written");
        let size = size_of(root.path()).0 - before;
        assert!((1 << 20..(1 << 20) + (64 << 10)).contains(&size), "{size}");
    }
}
