//! Processes that hold the locks of a database, as the kernel reports them.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::database_file::path_beside;
use cyclometer_system::files::read_kernel_text;

/// Bytes of the index that `SQLite` locks to write to the log, and to read an
/// earlier state of it (the format of its files, section 2.3.1).
const WRITES: Range<u64> = 120..121;
const READS: Range<u64> = 123..128;
/// Bytes of the file itself that are locked: from the pending byte on.
const OF_FILE: Range<u64> = 0x4000_0000..0x4000_0200;

/// Describes the processes that hold the lock for writing, other than this one.
pub(super) fn describe_writers(path: &Path) -> Option<String> {
    let log = lock_holders(&path_beside(path, "-shm"), &WRITES, "WRITE");
    let all = if log.is_empty() { lock_holders(path, &OF_FILE, "WRITE") } else { log };
    describe_processes(&all)
}

/// Describes the processes that read, other than this one: while they do, the
/// log is not restarted.
pub(super) fn describe_readers(path: &Path) -> Option<String> {
    describe_processes(&lock_holders(&path_beside(path, "-shm"), &READS, "READ"))
}

fn lock_holders(file: &Path, bytes: &Range<u64>, kind: &str) -> Vec<u32> {
    let (Ok(data), Ok(locks)) = (fs::metadata(file), read_kernel_text("/proc/locks")) else {
        return Vec::new();
    };
    let (major, minor) = (libc::major(data.dev()), libc::minor(data.dev()));
    let place = format!("{major:02x}:{minor:02x}:{}", data.ino());
    let mut found = parse_locks(&locks, &place, bytes, kind);
    found.retain(|pid| *pid != std::process::id());
    found
}

/// Returns the processes in a text such as /proc/locks that hold a lock of that
/// kind on some of those bytes.
fn parse_locks(locks: &str, place: &str, bytes: &Range<u64>, kind: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for line in locks.lines() {
        let mut words = line.split_whitespace().skip(1);
        let (class, _, held) = (words.next(), words.next(), words.next());
        let (pid, at, from, to) = (words.next(), words.next(), words.next(), words.next());
        // A waiting process has an arrow where others have the class.
        if class != Some("POSIX") || held != Some(kind) || at != Some(place) {
            continue;
        }
        let from = from.and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
        let to = to.and_then(|it| it.parse::<u64>().ok()).unwrap_or(u64::MAX);
        let Some(pid) = pid.and_then(|it| it.parse::<u32>().ok()).filter(|pid| *pid > 0) else {
            // A lock of another container.
            continue;
        };
        if from < bytes.end && to >= bytes.start && !found.contains(&pid) {
            found.push(pid);
        }
    }
    found
}

/// Describes a few processes by name and number.
fn describe_processes(pids: &[u32]) -> Option<String> {
    let names: Vec<String> = pids
        .iter()
        .take(3)
        .map(|pid| {
            let command = read_kernel_text(format!("/proc/{pid}/comm")).unwrap_or_default();
            let plain: String = command.trim().chars().filter(char::is_ascii_graphic).collect();
            if plain.is_empty() { format!("process {pid}") } else { format!("{plain}, {pid}") }
        })
        .collect();
    (!names.is_empty()).then(|| names.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_read_as_proc_5_describes_them() {
        let locks = "1: POSIX  ADVISORY  WRITE 4711 fe:00:77 120 120\n\
                     1: -> POSIX  ADVISORY  WRITE 4712 fe:00:77 120 120\n\
                     2: POSIX  ADVISORY  READ 4713 fe:00:77 124 124\n\
                     3: POSIX  ADVISORY  WRITE 0 fe:00:77 120 120\n\
                     4: FLOCK  ADVISORY  WRITE 4714 fe:00:77 0 EOF\n\
                     5: POSIX  ADVISORY  WRITE 4715 fe:00:78 120 EOF\n";
        assert_eq!(parse_locks(locks, "fe:00:77", &WRITES, "WRITE"), [4711]);
        assert_eq!(parse_locks(locks, "fe:00:78", &WRITES, "WRITE"), [4715]);
        assert_eq!(parse_locks(locks, "fe:00:77", &READS, "READ"), [4713]);
        assert_eq!(parse_locks(locks, "fe:00:79", &READS, "READ"), Vec::<u32>::new());
    }
}
