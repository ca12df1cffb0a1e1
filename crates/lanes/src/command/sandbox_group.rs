//! Control group around a container that a runtime creates without an engine: its name shows its
//! owner, its limit holds for everything inside, and it remains when the runtime has removed its
//! own groups.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::super::cpu_share::{REMEDY, ShareMeter, limit_for};
use super::super::launcher::{EndCause, ProgramEnd};
use super::super::program_run::one_line;
use super::invocation_verdict::shell_exit_status;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_meter::cgroup::{Driver, Hierarchy, InvocationGroup, MemoryWatch};
use cyclometer_meter::function_group::GroupUsage;
use cyclometer_system::procfs::ProcessIdentity;
use cyclometer_workload::CpuShare;

/// Reason why an invocation with a CPU share did not have it.
pub(super) const NOT_INSIDE: &str = "its container ran outside of the control group that was to enforce its CPU share: leave the \
     lane out, or the share";

/// Description of what is under a CPU share.
pub(super) const SHARE_SCOPE: &str = "the container with all that its runtime does in it";

/// A group for one container; dropping it removes the group with everything in it.
#[derive(Debug)]
pub(super) struct SandboxGroup {
    group: InvocationGroup,
    memory: MemoryWatch,
    /// Path below the mounts at which the runtime is to create its own group.
    pub path: String,
}

impl SandboxGroup {
    /// Creates a group for the container of that name, which has an owner; `None` where this user
    /// may create none: the runtime then does what it can.
    pub(crate) fn create_around(container: &str, limit: Bytes) -> Option<Self> {
        Self::try_create(container, limit).ok()
    }

    fn try_create(container: &str, limit: Bytes) -> Result<Self, String> {
        let owner = ProcessIdentity::current().map_err(|error| error.to_string())?;
        let (_, tag) = container.rsplit_once('-').ok_or("the container's name has no owner")?;
        let hierarchy = Hierarchy::detect().map_err(|error| error.to_string())?;
        let group = InvocationGroup::create(&hierarchy, &owner, tag, Driver::Cgroupfs)
            .map_err(|error| error.to_string())?;
        let memory = group.watch_memory(limit).map_err(|error| error.to_string())?;
        let path = format!("{}/{container}", group.parent_name());
        Ok(Self { group, memory, path })
    }

    /// Creates a group like [`Self::create_around`] that has a share of CPUs, and its meter.
    ///
    /// # Errors
    /// The reason why there is none, and what to do.
    pub(crate) fn create_with_share(
        container: &str,
        limit: Bytes,
        share: CpuShare,
    ) -> Result<(Self, ShareMeter), String> {
        let refused = |reason: String| format!("no CPU share can be enforced: {reason}; {REMEDY}");
        let sandbox = Self::try_create(container, limit).map_err(refused)?;
        let limited = sandbox.group.limit_cpu(limit_for(share));
        limited.map_err(|error| refused(error.to_string()))?;
        let meter = ShareMeter::for_container(&sandbox.group, share);
        Ok((sandbox, meter))
    }

    /// Returns whether nothing has run in the group.
    pub(crate) fn is_unused(&self) -> bool {
        self.group.cpu_time() == Some(Nanos(0))
    }

    /// Returns the group's usage if the kernel killed something in it.
    pub fn usage_if_killed(&self) -> Option<GroupUsage> {
        self.memory.usage_if_killed()
    }
}

impl Drop for SandboxGroup {
    fn drop(&mut self) {
        self.group.kill_members();
    }
}

/// Most bytes that are read of a crash log: its first line says what happened.
const MAX_CRASH_LOG_BYTES: u64 = 4_096;

/// Explains that the runtime's sandbox crashed, which is no exit of the function, if it left a
/// message of that in `crash_log`.
pub(super) fn explain_crash(crash_log: &Path, ended: &ProgramEnd) -> Option<String> {
    if ended.why != EndCause::ByItself || shell_exit_status(ended) == 0 {
        return None;
    }
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(crash_log);
    let mut head = Vec::new();
    file.ok()?.take(MAX_CRASH_LOG_BYTES).read_to_end(&mut head).ok()?;
    let text = String::from_utf8_lossy(&head);
    let line = text.lines().find(|line| !line.trim().is_empty())?;
    Some(format!("the sandbox crashed, not the function: {}", one_line(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failure_with_a_crash_log_is_a_crash() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("crash-log");
        let ended = |status| ProgramEnd::for_test(status, EndCause::ByItself);
        assert_eq!(explain_crash(&log, &ended(2 << 8)), None, "there is none");
        std::fs::write(&log, "").expect("written");
        assert_eq!(explain_crash(&log, &ended(2 << 8)), None, "it is empty");
        // The first line of Go's runtime when the kernel refuses it a thread.
        let text = "\nruntime: failed to create new OS thread (have 26 already; errno=11)\nmore";
        std::fs::write(&log, text).expect("written");
        let why = "the sandbox crashed, not the function: runtime: failed to create new OS thread \
                   (have 26 already; errno=11)";
        assert_eq!(explain_crash(&log, &ended(2 << 8)).as_deref(), Some(why));
        assert_eq!(explain_crash(&log, &ended(0)), None, "the function ended well");
        assert_eq!(
            explain_crash(&log, &ProgramEnd::for_test(9, EndCause::Timeout)),
            None,
            "the lane ended it"
        );
    }
}
