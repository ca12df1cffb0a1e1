//! The control group around a container that a runtime makes without an engine:
//! its name tells whose it is, its limit holds for all inside, and it is there
//! still when the runtime has removed what it made itself.

use crate::meter::cgroup::{Driver, Group, Hierarchy, MemoryWatch};
use crate::meter::function_group::GroupUsage;
use crate::meter::procfs::ProcessIdentity;
use crate::units::Bytes;

/// A group for one container, which goes with this value and all that is in it.
#[derive(Debug)]
pub(super) struct Sandbox {
    group: Group,
    memory: MemoryWatch,
    /// Where the runtime is to make its own, below the mounts.
    pub path: String,
}

impl Sandbox {
    /// Makes one for the container of that name, which has an owner; `None` where
    /// this user may make none: the runtime then does what it can.
    pub fn around(container: &str, limit: Bytes) -> Option<Self> {
        let owner = ProcessIdentity::current().ok()?;
        let (_, tag) = container.rsplit_once('-')?;
        let group =
            Group::create(&Hierarchy::detect().ok()?, &owner, tag, Driver::Cgroupfs).ok()?;
        let memory = group.watch_memory(limit).ok()?;
        let path = format!("{}/{container}", group.parent_name());
        Some(Self { group, memory, path })
    }

    /// Returns what is known if the kernel killed something in it.
    pub fn killed(&self) -> Option<GroupUsage> {
        self.memory.usage()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.group.kill();
    }
}
