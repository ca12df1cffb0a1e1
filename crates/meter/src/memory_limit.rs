//! Memory limit around this process, set by its own control group or one above it.
//! Functions of process lanes run inside of it; when it is exceeded, the kernel kills
//! processes, perhaps the recorder first.

use std::fmt;
use std::fs;
use std::path::Path;

use super::cgroup::CgroupError;
use super::own_groups::{OwnGroup, OwnGroups};
use cyclometer_core::units::Bytes;

/// Limit of the memory that a control group may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMemoryLimit {
    /// Name of the group, as `/a/b`.
    pub group: String,
    /// Limit of the group.
    pub limit: Bytes,
    /// Memory that the group uses now, page cache included.
    pub used: Option<Bytes>,
}

impl fmt::Display for GroupMemoryLimit {
    /// Writes `512 MiB (cgroup /trial), 80.0 MiB of it used`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (cgroup {})", self.limit, self.group)?;
        match self.used {
            Some(used) => write!(f, ", {used} of it used"),
            None => Ok(()),
        }
    }
}

/// Lowest value that means no limit: without one, v1 reports the most that it can count,
/// which is more than any machine has.
const NO_LIMIT: u64 = 1 << 62;

/// Finds the lowest limit that holds for this process; `None` when no group that
/// can be seen has one.
///
/// # Errors
/// Returns an error when control groups cannot be read, so that the limit is unknown.
pub fn find_memory_limit() -> Result<Option<GroupMemoryLimit>, CgroupError> {
    let groups = OwnGroups::for_this_process()?;
    // In v1 the controller is in one hierarchy only.
    let group = groups.memory.as_ref().or(groups.unified.as_ref());
    Ok(lowest_limit(group.ok_or(CgroupError::NotMounted)?))
}

fn lowest_limit(group: &OwnGroup) -> Option<GroupMemoryLimit> {
    let limits = group.visible_levels().filter_map(|level| {
        let limit = read_either(level, "memory.max", "memory.limit_in_bytes")?;
        (limit < NO_LIMIT).then(|| GroupMemoryLimit {
            group: group.group_name(level),
            limit: Bytes(limit),
            used: read_either(level, "memory.current", "memory.usage_in_bytes").map(Bytes),
        })
    });
    limits.min_by_key(|it| it.limit)
}

/// Reads a number of the group in `directory`, as v2 or else v1 names it.
fn read_either(directory: &Path, v2: &str, v1: &str) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
    // `max` of v2 is no number.
    read(v2).or_else(|| read(v1))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(path).expect("a folder");
        for (name, content) in files {
            fs::write(path.join(name), content).expect("written");
        }
    }

    #[test]
    fn the_lowest_limit_up_the_tree_counts_in_both_versions() {
        let mount = tempfile::tempdir().expect("a folder");
        let root = mount.path();
        let group = OwnGroup { directory: root.join("pod/box"), mount: root.to_owned() };
        // v2: 256 MiB outside of 512 MiB; the root has no such files.
        write(&root.join("pod"), &[("memory.max", "268435456\n"), ("memory.current", "4096\n")]);
        write(&root.join("pod/box"), &[("memory.max", "536870912\n")]);
        let limit = lowest_limit(&group).expect("a limit");
        assert_eq!(limit.to_string(), "256 MiB (cgroup /pod), 4.00 KiB of it used");
        write(&root.join("pod"), &[("memory.max", "max\n")]);
        let limit = lowest_limit(&group).expect("a limit");
        assert_eq!(limit.to_string(), "512 MiB (cgroup /pod/box)");
        // v1 reports this, LONG_MAX in whole pages, where there is no limit.
        fs::remove_file(root.join("pod/memory.max")).expect("removed");
        fs::remove_file(root.join("pod/box/memory.max")).expect("removed");
        write(&root.join("pod/box"), &[("memory.limit_in_bytes", "9223372036854771712\n")]);
        assert_eq!(lowest_limit(&group), None);
        write(&root.join("pod"), &[("memory.limit_in_bytes", "104857600\n")]);
        assert_eq!(lowest_limit(&group).map(|it| it.limit), Some(Bytes(100 << 20)));
    }
}
