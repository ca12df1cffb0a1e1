//! The lanes' cache between recordings: compiled code, counts of operators, and unpacked roots of
//! images.
//!
//! Entries are executed or believed later, so they are kept only in a folder that this user (or
//! root) owns all the way and that nobody else can write: see [`cyclometer_system::paths`]. Where
//! there is no such folder, nothing is kept, and the lane says so.
//!
//! Each entry ends with a digest of its name and content. The digest does not prove who wrote the
//! entry (the folder does), but it reveals entries that were cut off, damaged, or stored under
//! another name: these count as missing and are made again.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use cyclometer_core::units::Bytes;
use cyclometer_system::paths::{self, FolderPurpose, OwnFolder, TrustError};

/// Names of all cache folders.
pub const FOLDER_NAMES: [&str; 3] = ["wasmtime", "runtimes", IMAGES];

/// Name of the cache folder of unpacked images.
pub(crate) const IMAGES: &str = "images";

/// Returns the most bytes that the cache folder of that name may hold; the least recently used
/// entries go first.
#[must_use]
pub fn max_folder_bytes(name: &str) -> u64 {
    if name == IMAGES { 8 << 30 } else { 512 << 20 }
}

/// Size of the largest entry that is kept and read, in bytes.
pub(crate) const MAX_ENTRY_BYTES: u64 = 256 << 20;

/// Separator of content and digest.
const DIGEST_MARK: &[u8] = b"\ncyclometer keeps 1\n";

/// A cache folder, or why there is none.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: Result<OwnFolder, String>,
    /// Reason why the first entry that could not be written was not.
    unwritten: OnceLock<String>,
}

impl Cache {
    /// Opens the cache folder of that name, creates it if need be, and removes outdated entries
    /// from it; `is_current` recognises entries of this version by their names.
    pub fn open(name: &str, is_current: &dyn Fn(&str) -> bool) -> Self {
        let opened = open_cache_folder(name);
        if let Ok(folder) = &opened
            && lock_folder(folder) == FolderLock::Alone
        {
            folder.remove_abandoned_files();
            prune_entries(folder, is_current, max_folder_bytes(name));
            // Other processes may use the folder from now on, but not prune it.
            let _ = folder.as_file().try_lock_shared();
        }
        Self { folder: opened, unwritten: OnceLock::new() }
    }

    #[cfg(test)]
    pub(crate) fn in_folder(path: &std::path::Path) -> Self {
        let folder = OwnFolder::open(path).map_err(|TrustError { cause }| cause);
        Self { folder, unwritten: OnceLock::new() }
    }

    /// Returns the folder, if there is one.
    pub fn folder(&self) -> Option<&OwnFolder> {
        self.folder.as_ref().ok()
    }

    /// Returns a message that says why nothing is kept, if so.
    pub fn refusal_reason(&self) -> Option<String> {
        let cause = self.folder.as_ref().err().or_else(|| self.unwritten.get());
        cause.map(|cause| format_refusal(cause))
    }

    /// Returns the cause why there is no folder, if so.
    pub(crate) fn refusal_cause(&self) -> Option<&str> {
        self.folder.as_ref().err().map(String::as_str)
    }

    /// Like [`Self::refusal_reason`], but only the first time in this process.
    pub(crate) fn refusal_reason_once(&self) -> Option<String> {
        static TOLD: AtomicBool = AtomicBool::new(false);
        let refusal = self.refusal_reason()?;
        (!TOLD.swap(true, Ordering::Relaxed)).then_some(refusal)
    }

    /// Returns the content of an entry, unless it is missing or damaged.
    pub(crate) fn read_entry(&self, name: &str) -> Option<Vec<u8>> {
        let folder = self.folder()?;
        let room = (DIGEST_MARK.len() + 32) as u64;
        let content = unseal_entry(name, folder.read_file(name, MAX_ENTRY_BYTES + room)?)?;
        folder.mark_used(name);
        Some(content)
    }

    /// Stores an entry and replaces any other of that name. A failure costs nothing but time;
    /// [`Self::refusal_reason`] reports it.
    pub(crate) fn store_entry(&self, name: &str, content: &[u8]) {
        if let Some(folder) = self.folder()
            && content.len() as u64 <= MAX_ENTRY_BYTES
            && let Err(error) = folder.write_file(name, &seal_entry(name, content), 0o600)
        {
            let cause = format!("cannot write {}: {error}", folder.path().display());
            self.unwritten.get_or_init(|| cause);
        }
    }
}

/// Returns the folder that holds the caches, without creating anything.
///
/// # Errors
/// The reason, where nothing can be kept.
pub fn cache_root() -> Result<std::path::PathBuf, String> {
    let place = paths::cache_folder().ok_or_else(|| paths::NO_HOME.to_owned())?;
    for path in [place.clone()].into_iter().chain(FOLDER_NAMES.map(|name| place.join(name))) {
        paths::check_folder_trust(&path, FolderPurpose::Keep)
            .map_err(|reason| reason.to_string())?;
        if !paths::may_write_or_make(&path) {
            return Err(format!("{}: this user may neither write nor make it", path.display()));
        }
    }
    Ok(place)
}

/// Opens the cache folder of that name and creates it if need be.
fn open_cache_folder(name: &str) -> Result<OwnFolder, String> {
    let place = paths::cache_folder().ok_or_else(|| paths::NO_HOME.to_owned())?;
    OwnFolder::open(&place.join(name)).map_err(|TrustError { cause }| cause)
}

/// Formats the message that says why nothing is kept.
pub(crate) fn format_refusal(cause: &str) -> String {
    format!(
        "nothing that is compiled is kept, and it is compiled again each time: {cause}; set \
         XDG_CACHE_HOME to a folder of yours"
    )
}

/// Kind of lock that is held on a cache folder.
#[derive(Debug, PartialEq, Eq)]
enum FolderLock {
    /// No other process uses the folder.
    Alone,
    /// Other processes may use the folder, or the lock could not be had.
    Shared,
}

/// Locks the folder for as long as it is open, so that no other process removes entries that are in
/// use.
fn lock_folder(folder: &OwnFolder) -> FolderLock {
    if folder.as_file().try_lock().is_ok() {
        return FolderLock::Alone;
    }
    // A process that holds the folder exclusively is pruning it, which is soon done.
    let deadline = Instant::now() + Duration::from_secs(1);
    while folder.as_file().try_lock_shared().is_err() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    FolderLock::Shared
}

/// Removes entries of other versions, and then the least recently used ones until the others take
/// no more than `most` bytes; returns the size of those.
fn prune_entries(folder: &OwnFolder, is_current: &dyn Fn(&str) -> bool, most: u64) -> Bytes {
    let mut left = Vec::new();
    for entry in folder.list_entries() {
        if is_current(&entry.name) { left.push(entry) } else { folder.remove_entry(&entry.name) }
    }
    left.sort_by_key(|entry| std::cmp::Reverse(entry.used));
    let mut kept = 0;
    for entry in left {
        if kept + entry.bytes > most {
            folder.remove_entry(&entry.name);
        } else {
            kept += entry.bytes;
        }
    }
    Bytes(kept)
}

/// Computes the digest of that name and content.
pub(crate) fn digest_entry(name: &str, content: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update((name.len() as u64).to_le_bytes());
    hasher.update(name.as_bytes());
    hasher.update(content);
    hasher.finalize().into()
}

fn seal_entry(name: &str, content: &[u8]) -> Vec<u8> {
    [content, DIGEST_MARK, &digest_entry(name, content)].concat()
}

/// Returns the content that [`seal_entry`] stored under that name; `None` for anything else.
fn unseal_entry(name: &str, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
    let (rest, told) = sealed.split_last_chunk::<32>()?;
    let content = rest.strip_suffix(DIGEST_MARK)?;
    if digest_entry(name, content) != *told {
        return None;
    }
    let length = content.len();
    sealed.truncate(length);
    Some(sealed)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn folder() -> (tempfile::TempDir, OwnFolder) {
        let place = tempfile::tempdir().expect("a folder");
        let folder = OwnFolder::open(&place.path().join("cache")).expect("ours");
        (place, folder)
    }

    #[test]
    fn what_is_cut_off_damaged_or_renamed_is_not_there() {
        let whole = seal_entry("name", b"content");
        assert_eq!(unseal_entry("name", whole.clone()).as_deref(), Some(&b"content"[..]));
        assert_eq!(unseal_entry("other", whole.clone()), None);
        for length in 0..whole.len() {
            assert_eq!(unseal_entry("name", whole[..length].to_vec()), None, "{length}");
        }
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 1;
            assert_eq!(unseal_entry("name", damaged), None, "{position}");
        }
        assert_eq!(unseal_entry("", seal_entry("", b"")).as_deref(), Some(&b""[..]));
    }

    #[test]
    fn entries_survive_and_heal() {
        let (_place, folder) = folder();
        let path = folder.path().to_owned();
        let cache = Cache::in_folder(&path);
        cache.store_entry("a", b"content");
        assert_eq!(cache.read_entry("a").as_deref(), Some(&b"content"[..]));
        std::fs::write(path.join("a"), "").expect("cut off");
        assert_eq!(cache.read_entry("a"), None);
        cache.store_entry("a", b"again");
        assert_eq!(cache.read_entry("a").as_deref(), Some(&b"again"[..]));
        let none = Cache { folder: Err("no home".to_owned()), unwritten: OnceLock::new() };
        none.store_entry("a", b"content");
        assert_eq!(none.read_entry("a"), None);
        assert!(none.refusal_reason().is_some_and(|it| it.contains("no home")));
        assert_eq!(cache.refusal_reason(), None);
        std::fs::remove_dir_all(&path).expect("removed");
        cache.store_entry("b", b"content");
        assert!(cache.refusal_reason().is_some_and(|it| it.contains("cannot write")));
    }

    #[test]
    fn other_versions_go_first_and_then_what_was_not_used_for_longest() {
        let (_place, folder) = folder();
        // 64 KiB each on the disk, and the first is the least recently used.
        for (age, name) in ["new-a", "new-b", "new-c", "old-d"].iter().enumerate() {
            folder.write_file(name, &vec![1; 64 << 10], 0o600).expect("written");
            let at = SystemTime::now() - Duration::from_secs(100 - age as u64);
            let file = std::fs::File::open(folder.path().join(name)).expect("there");
            file.set_times(std::fs::FileTimes::new().set_modified(at)).expect("set");
        }
        folder.mark_used("new-a");
        let kept = prune_entries(&folder, &|name| name.starts_with("new"), 150 << 10);
        let mut names: Vec<String> = folder.list_entries().into_iter().map(|it| it.name).collect();
        names.sort();
        assert_eq!(names, ["new-a", "new-c"]);
        assert!(kept.0 <= 150 << 10 && kept.0 >= 128 << 10, "{kept}");
    }

    #[test]
    fn a_folder_that_another_uses_is_not_pruned() {
        let (_place, folder) = folder();
        assert_eq!(lock_folder(&folder), FolderLock::Alone);
        folder.as_file().try_lock_shared().expect("held for use");
        let again = OwnFolder::open(folder.path()).expect("ours");
        assert_eq!(lock_folder(&again), FolderLock::Shared);
    }
}
