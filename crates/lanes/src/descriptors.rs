//! Limit of open files: checked before a recording, rather than missed in its middle.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::StartKind;
use cyclometer_meter::perf::{CounterTarget, Counters};

/// Soft and hard limit that this process was started with: functions get these.
static INITIAL_LIMITS: OnceLock<(u64, u64)> = OnceLock::new();

/// Files that an open lane holds open, with room for one more set of its counters.
const FILES_PER_LANE: u64 = 24;
/// Files that a waiting instance holds open beside its counters.
const FILES_PER_INSTANCE: u64 = 8;
/// Files that any command holds open at once beside those it was started with: the database with
/// its log and index, signals, files of /proc.
const FILES_PER_COMMAND: u64 = 13;
/// Files that are open for moments: files of /proc, a program's output, the database.
const RESERVE: u64 = 32;

/// Raises this process' soft limit of open files to its hard limit. The programs that it starts get
/// the limit that there was before.
pub fn raise_soft_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        let _ = INITIAL_LIMITS.set((soft, hard));
    }
}

/// Returns the soft and the hard limit for programs that are started, where this process has raised
/// its own.
pub(crate) fn initial_limits() -> Option<(u64, u64)> {
    INITIAL_LIMITS.get().copied()
}

/// Checks that as many files can be open as any command needs, before the first is opened.
///
/// # Errors
/// Fails when they cannot be, with what is needed and how to get it.
pub fn check_least() -> Result<(), String> {
    let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    // Where even that cannot be read, standard input, output and error are open.
    let needed = count_open_files().max(3) + FILES_PER_COMMAND;
    if needed <= limit {
        return Ok(());
    }
    Err(format!(
        "cyclometer needs at least {needed} open files at once, and the limit here is {limit}: \
         raise it by `ulimit -n 1024`, which beyond the hard limit takes root (or \
         LimitNOFILE=1024 of a service)"
    ))
}

/// Checks that so many more files can be open.
///
/// # Errors
/// Fails when they cannot be, with what is needed and how to get it.
pub fn check_available(more: u64) -> Result<(), String> {
    let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    let needed = count_open_files() + more + RESERVE;
    if needed <= limit {
        return Ok(());
    }
    Err(format!(
        "this needs about {needed} open files at once, and the limit here is {limit}: raise it by \
         `ulimit -n {needed}`, which beyond the hard limit takes root (or LimitNOFILE={needed} of \
         a service); or take fewer workloads or lanes, or --start cold, which keeps none open \
         between runs"
    ))
}

/// Returns the number of files that opening so many lanes needs.
#[must_use]
pub fn needed_for_lanes(count: usize) -> u64 {
    FILES_PER_LANE * u64::try_from(count).unwrap_or(u64::MAX / FILES_PER_LANE)
}

/// Returns the number of files that cells hold open until the recording ends, by the names of their
/// lanes.
pub fn needed_for_cells<'a>(cells: impl Iterator<Item = (&'a str, StartKind)> + Clone) -> u64 {
    let warm = cells.filter(|(_, start)| *start == StartKind::Warm);
    if warm.clone().next().is_none() {
        return 0;
    }
    let counters = Counters::open(CounterTarget::ThisThread).descriptor_count();
    warm.map(|(lane, _)| FILES_PER_INSTANCE + counters * counter_sets_for(lane)).sum()
}

/// Returns the number of counter sets of a waiting instance: its own and those of its processes, or
/// one on each CPU where a control group is counted.
fn counter_sets_for(lane: &str) -> u64 {
    if lane.starts_with("docker") {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        return u64::try_from(cpus).unwrap_or(1).max(2);
    }
    2
}

fn count_open_files() -> u64 {
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    // The folder itself is open only while it is read.
    u64::try_from(open.saturating_sub(1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_told_with_its_number() {
        assert_eq!(check_available(0), Ok(()));
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).expect("known");
        let text = check_available(limit).expect_err("more than there may be");
        assert!(text.contains(&format!("the limit here is {limit}")), "{text}");
        assert!(text.contains("`ulimit -n "), "{text}");
    }

    #[test]
    fn only_instances_that_wait_hold_files_open() {
        let cells = |start| [("wasmtime", start), ("docker:runc", start)].into_iter();
        assert_eq!(needed_for_cells(cells(StartKind::Cold)), 0);
        let one = needed_for_cells([("wasmtime", StartKind::Warm)].into_iter());
        assert!(one >= FILES_PER_INSTANCE && needed_for_cells(cells(StartKind::Warm)) >= 2 * one);
    }
}
