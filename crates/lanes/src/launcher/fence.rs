//! What keeps functions away from other processes.

use std::io;

/// What programs of a launcher may do with the rights of root. Ordinary users
/// have none to hand down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Privileges {
    /// Functions: root may read and write what files it likes, and no more.
    Function,
    /// Workers of this program, which run functions: counters, too.
    Worker,
    /// Runtimes that the user chose: all, as they make namespaces and control
    /// groups, and mount file systems.
    Runtime,
}

/// `CAP_CHOWN`, `CAP_DAC_OVERRIDE`, `CAP_DAC_READ_SEARCH`, `CAP_FOWNER` and
/// `CAP_FSETID`: whose files they are does not matter.
const FILES: u64 = 0b1_1111;
/// `CAP_PERFMON`.
const COUNTERS: u64 = 1 << 38;

impl Privileges {
    /// Capabilities that are kept, in hexadecimal.
    pub(super) fn mask(self) -> String {
        let mask = match self {
            Self::Function => FILES,
            Self::Worker => FILES | COUNTERS,
            Self::Runtime => u64::MAX,
        };
        format!("{mask:x}")
    }
}

const PIDS: u32 = 1;
const USER: u32 = 2;
const PROC: u32 = 4;
const BOUNDED: u32 = 8;
const BROKEN: u32 = 16;

/// What there is of a launcher's fence.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Fence {
    flags: u32,
    /// Why there is no namespace of processes.
    refusal: Option<String>,
    keeps_privileges: bool,
}

impl Fence {
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

    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn set_refusal(&mut self, reason: String) {
        self.refusal = Some(reason);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.has(BROKEN)
    }

    /// Whether all that is started is in a namespace of processes, which ends as
    /// a whole.
    pub fn is_namespace(&self) -> bool {
        self.has(PIDS)
    }

    /// Whether that is in a namespace of users, where processes of a user are
    /// counted apart.
    pub fn is_user_namespace(&self) -> bool {
        self.has(USER)
    }

    /// Sees to it that functions do not read this process' memory or take its
    /// descriptors. A user namespace does that, and for root that functions have
    /// fewer capabilities; else this process must not be dumpable, so that its
    /// own user cannot attach a debugger to it either.
    pub(super) fn protect_recorder(&self) {
        let is_root = nix::unistd::geteuid().is_root();
        let is_apart = self.has(USER) || (is_root && (self.has(BOUNDED) || self.keeps_privileges));
        if !is_apart {
            // Fails on no Linux.
            let _ = nix::sys::prctl::set_dumpable(false);
        }
    }

    /// Tells it in one line, with how the number of processes is limited.
    pub fn describe(&self, limit: &str) -> String {
        let kind = match (&self.refusal, self.has(PIDS), self.has(USER)) {
            (_, true, true) => "PID namespace in a user namespace".to_owned(),
            (_, true, false) => "PID namespace".to_owned(),
            (Some(reason), ..) => format!(
                "orphans are found and killed one by one, and functions can signal processes of \
                 the same user; no PID namespace: {reason}"
            ),
            (None, ..) => "orphans are found and killed one by one".to_owned(),
        };
        let mut text = format!("process fence: {kind}");
        if self.has(PIDS) && !self.has(PROC) {
            text.push_str(", with the /proc of the machine");
        }
        text.push_str("; ");
        text.push_str(limit);
        let is_root = nix::unistd::geteuid().is_root();
        if is_root && !self.keeps_privileges && !self.has(BOUNDED) {
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
        let told = |flags, error| Fence::new(flags, error, Privileges::Runtime).describe(limit);
        assert_eq!(told(PIDS | PROC, 0), "process fence: PID namespace; at most 9 processes");
        let users = told(PIDS | USER | PROC, 0);
        assert!(users.starts_with("process fence: PID namespace in a user namespace; "), "{users}");
        assert!(told(PIDS, 0).contains("with the /proc of the machine"));
        let none = told(0, libc::EPERM);
        assert!(none.contains("no PID namespace: not permitted"), "{none}");
    }

    /// By `capability.h` of Linux, written out by hand.
    #[test]
    fn functions_keep_no_capability_that_opens_the_fence() {
        const KILL: u32 = 5;
        const SETPCAP: u32 = 8;
        const SYS_PTRACE: u32 = 19;
        const SYS_ADMIN: u32 = 21;
        let mask = |it: Privileges| u64::from_str_radix(&it.mask(), 16).expect("a number");
        for capability in [KILL, SETPCAP, SYS_PTRACE, SYS_ADMIN] {
            assert_eq!(mask(Privileges::Function) >> capability & 1, 0, "{capability}");
            assert_eq!(mask(Privileges::Worker) >> capability & 1, 0, "{capability}");
            assert_eq!(mask(Privileges::Runtime) >> capability & 1, 1, "{capability}");
        }
    }
}
