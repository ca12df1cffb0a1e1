//! Fence between functions and other processes.

use std::io;

/// Rights of root that a launcher's programs keep. Ordinary users have none to hand down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Privileges {
    /// Functions: root may read and write any files, and nothing more.
    Function,
    /// Workers of this program, which run functions: counters as well.
    Worker,
    /// Runtimes that the user chose: all rights, as they create namespaces and control groups, and
    /// mount file systems.
    Runtime,
}

/// `CAP_CHOWN`, `CAP_DAC_OVERRIDE`, `CAP_DAC_READ_SEARCH`, `CAP_FOWNER` and `CAP_FSETID`: rights on
/// files of any owner.
const FILES: u64 = 0b1_1111;
/// `CAP_PERFMON`.
const COUNTERS: u64 = 1 << 38;

impl Privileges {
    /// Returns the capabilities that are kept, in hexadecimal.
    pub(super) fn capability_mask(self) -> String {
        let mask = match self {
            Self::Function => FILES,
            Self::Worker => FILES | COUNTERS,
            Self::Runtime => u64::MAX,
        };
        format!("{mask:x}")
    }
}

const PID_NAMESPACE: u32 = 1;
const USER_NAMESPACE: u32 = 2;
const OWN_PROC: u32 = 4;
const BOUNDED_CAPABILITIES: u32 = 8;
const BROKEN_FENCE: u32 = 16;

/// Parts of a launcher's fence that are in place.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct ProcessFence {
    flags: u32,
    /// Reason why there is no PID namespace.
    refusal: Option<String>,
    keeps_privileges: bool,
}

impl ProcessFence {
    pub(super) fn new(flags: u32, error: i32, privileges: Privileges) -> Self {
        let refusal = match error {
            0 => None,
            libc::ENOSPC => Some("no more namespaces (/proc/sys/user)".to_owned()),
            libc::EPERM => {
                Some("not permitted (needs CAP_SYS_ADMIN, or user namespaces for all)".to_owned())
            }
            _ => Some(io::Error::from_raw_os_error(error).to_string()),
        };
        Self { flags, refusal, keeps_privileges: privileges == Privileges::Runtime }
    }

    fn has_flag(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn set_refusal(&mut self, reason: String) {
        self.refusal = Some(reason);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.has_flag(BROKEN_FENCE)
    }

    /// Returns whether everything that is started is in a PID namespace, which ends as a whole.
    pub(crate) fn is_namespace(&self) -> bool {
        self.has_flag(PID_NAMESPACE)
    }

    /// Returns whether that is inside a user namespace, where a user's processes are counted apart.
    pub(crate) fn is_user_namespace(&self) -> bool {
        self.has_flag(USER_NAMESPACE)
    }

    /// Prevents functions from reading this process' memory or taking its descriptors. A user
    /// namespace does that, and for root the smaller set of capabilities of functions; otherwise
    /// this process must not be dumpable, so that its own user cannot attach a debugger to it
    /// either.
    pub(super) fn protect_recorder(&self) {
        let is_root = nix::unistd::geteuid().is_root();
        let is_apart = self.has_flag(USER_NAMESPACE)
            || (is_root && (self.has_flag(BOUNDED_CAPABILITIES) || self.keeps_privileges));
        if !is_apart {
            // Never fails on Linux.
            let _ = nix::sys::prctl::set_dumpable(false);
        }
    }

    /// Describes the fence in one line, with how the number of processes is limited.
    pub fn describe(&self, limit: &str) -> String {
        let kind = match (
            &self.refusal,
            self.has_flag(PID_NAMESPACE),
            self.has_flag(USER_NAMESPACE),
        ) {
            (_, true, true) => "PID namespace in a user namespace".to_owned(),
            (_, true, false) => "PID namespace".to_owned(),
            (Some(reason), ..) => format!(
                "orphans are found and killed one by one, and functions can signal processes of \
                 the same user; no PID namespace: {reason}"
            ),
            (None, ..) => "orphans are found and killed one by one".to_owned(),
        };
        let mut text = format!("process fence: {kind}");
        if self.has_flag(PID_NAMESPACE) && !self.has_flag(OWN_PROC) {
            text.push_str(", with the /proc of the machine");
        }
        text.push_str("; ");
        text.push_str(limit);
        let is_root = nix::unistd::geteuid().is_root();
        if is_root && !self.keeps_privileges && !self.has_flag(BOUNDED_CAPABILITIES) {
            text.push_str("; capabilities of root cannot be dropped (needs CAP_SETPCAP)");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_says_what_it_is_and_why_it_is_no_better() {
        let limit = "at most 9 processes";
        let told =
            |flags, error| ProcessFence::new(flags, error, Privileges::Runtime).describe(limit);
        assert_eq!(
            told(PID_NAMESPACE | OWN_PROC, 0),
            "process fence: PID namespace; at most 9 processes"
        );
        let users = told(PID_NAMESPACE | USER_NAMESPACE | OWN_PROC, 0);
        assert!(users.starts_with("process fence: PID namespace in a user namespace; "), "{users}");
        assert!(told(PID_NAMESPACE, 0).contains("with the /proc of the machine"));
        let none = told(0, libc::EPERM);
        assert!(none.contains("no PID namespace: not permitted"), "{none}");
    }

    /// After `capability.h` of Linux, written out by hand.
    #[test]
    fn functions_keep_no_capability_that_opens_the_fence() {
        const KILL: u32 = 5;
        const SETPCAP: u32 = 8;
        const SYS_PTRACE: u32 = 19;
        const SYS_ADMIN: u32 = 21;
        let mask =
            |it: Privileges| u64::from_str_radix(&it.capability_mask(), 16).expect("a number");
        for capability in [KILL, SETPCAP, SYS_PTRACE, SYS_ADMIN] {
            assert_eq!(mask(Privileges::Function) >> capability & 1, 0, "{capability}");
            assert_eq!(mask(Privileges::Worker) >> capability & 1, 0, "{capability}");
            assert_eq!(mask(Privileges::Runtime) >> capability & 1, 1, "{capability}");
        }
    }
}
