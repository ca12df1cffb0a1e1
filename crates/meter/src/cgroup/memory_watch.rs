//! Memory limit around everything in a group, and detection of kills by the kernel. That
//! includes nested groups that a runtime makes, which are gone before anybody can look at
//! them.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{CgroupError, InvocationGroup};
use crate::function_group::GroupUsage;
use crate::own_groups::kills_in;
use cyclometer_core::units::Bytes;

/// Slack between a limit and a peak that hit it: memory is charged in batches of pages.
const BATCHES: u64 = 1 << 20;

/// Watches the memory limit of a group for one invocation.
#[derive(Debug)]
pub struct MemoryWatch {
    limit: Bytes,
    /// Folder of the group that has the memory controller.
    folder: PathBuf,
    /// In v1 the kernel counts a kill in the group of the killed process, which is gone
    /// when the runtime ends. The group whose limit was hit is notified by an event.
    event: Option<EventFd>,
}

impl InvocationGroup {
    /// Sets the limit of all memory inside, swap included, and watches it.
    ///
    /// # Errors
    /// Returns an error when the kernel accepts no limit, or no request for events.
    pub fn watch_memory(&self, limit: Bytes) -> Result<MemoryWatch, CgroupError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| CgroupError::Io { action, path, source }
        };
        let value = limit.0.to_string();
        if let Some(root) = &self.hierarchy.memory {
            let folder = root.join(&self.relative);
            let path = folder.join("memory.limit_in_bytes");
            fs::write(&path, &value).map_err(failed("set the memory limit in", &path))?;
            // Not every kernel accounts for swap.
            let _ = fs::write(folder.join("memory.memsw.limit_in_bytes"), &value);
            let event = register_oom_event(&folder)
                .map_err(failed("watch", &folder.join("memory.oom_control")))?;
            return Ok(MemoryWatch { limit, folder, event: Some(event) });
        }
        let root = self.hierarchy.unified.as_ref().ok_or(CgroupError::NotMounted)?;
        let folder = root.join(&self.relative);
        let path = folder.join("memory.max");
        fs::write(&path, &value).map_err(failed("set the memory limit in", &path))?;
        let _ = fs::write(folder.join("memory.swap.max"), "0");
        Ok(MemoryWatch { limit, folder, event: None })
    }

    /// Kills everything inside and removes the groups below this one, so that it can be
    /// removed itself.
    pub fn kill_members(&self) {
        for root in &self.hierarchy.all {
            // A leftover is removed by the next command.
            let _ = super::remove_group_tree(&root.join(&self.relative), true);
        }
    }
}

/// Registers a descriptor in which a v1 kernel counts how often the group ran out of
/// memory.
fn register_oom_event(folder: &Path) -> io::Result<EventFd> {
    let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
    let control = File::open(folder.join("memory.oom_control"))?;
    let request = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
    fs::write(folder.join("cgroup.event_control"), request)?;
    Ok(event)
}

impl MemoryWatch {
    /// Returns the usage if the kernel killed a process for lack of memory. Call it once,
    /// before the group is removed.
    #[must_use]
    pub fn usage_if_killed(&self) -> Option<GroupUsage> {
        let killed = match &self.event {
            // The descriptor holds the number of events; reading fails if there were none.
            Some(event) => u64::from(event.read().is_ok_and(|count| count > 0)),
            // Counts the group and all groups inside of it.
            None => fs::read_to_string(self.folder.join("memory.events"))
                .ok()
                .and_then(|text| kills_in(&text))
                .unwrap_or(0),
        };
        let name = if self.event.is_some() { "memory.max_usage_in_bytes" } else { "memory.peak" };
        let peak = fs::read_to_string(self.folder.join(name)).ok();
        let peak = peak.and_then(|text| text.trim().parse().ok()).map(Bytes);
        (killed > 0).then(|| GroupUsage {
            cpu: None,
            split: None,
            // Before Linux 5.19 there is no peak in v2: then the limit is assumed to be hit.
            at_limit: peak.is_none_or(|peak| peak.0.saturating_add(BATCHES) >= self.limit.0),
            peak: peak.ok_or_else(|| "this kernel keeps no peak for a group".to_owned()),
            page_cache: Bytes(0),
            killed,
            refused: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Driver, Hierarchy};
    use super::*;
    use cyclometer_system::procfs::ProcessIdentity;

    #[test]
    fn kills_in_groups_inside_are_told_after_those_are_gone() {
        let Ok(hierarchy) = Hierarchy::detect() else {
            return cyclometer_testkit::skip("no cgroup file system");
        };
        let owner = ProcessIdentity::current().expect("/proc is mounted");
        let group = match InvocationGroup::create(&hierarchy, &owner, "watch", Driver::Cgroupfs) {
            Ok(group) => group,
            Err(error) => return cyclometer_testkit::skip(&error.to_string()),
        };
        let limit = Bytes(24 << 20);
        let watch = match group.watch_memory(limit) {
            Ok(watch) => watch,
            Err(error) => return cyclometer_testkit::skip(&error.to_string()),
        };
        assert_eq!(watch.usage_if_killed(), None, "nothing has run yet");
        let inside = watch.folder.join("container");
        fs::create_dir(&inside).expect("made");
        // A shell that enters the group and then allocates 200 MB.
        let script = format!(
            "echo $$ > {}/cgroup.procs && exec head -c 200000000 /dev/zero | tail",
            inside.display()
        );
        let status = std::process::Command::new("sh").args(["-c", &script]).status();
        assert!(!status.expect("run").success(), "tail keeps what has no line break");
        super::super::remove_group_tree(&inside, true).expect("removed, as a runtime does");
        let usage = watch.usage_if_killed().expect("told");
        assert!(usage.killed > 0 && usage.at_limit, "{usage:?}");
    }
}
