//! Causes and remedies of missing counters: the real cause, not the most common one.

use std::fmt;
use std::io;

use procfs::process::Process;

use super::event::PerfEvent;
use super::kernel::CounterTarget;
use crate::Source;

/// Privileges of a process, as far as they matter for perf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PerfPrivileges {
    /// `/proc/sys/kernel/perf_event_paranoid`; `None` if unreadable.
    pub paranoid: Option<i32>,
    /// Whether a seccomp filter is in force.
    pub seccomp: bool,
    /// Whether it has `CAP_PERFMON` or `CAP_SYS_ADMIN`.
    pub capable: bool,
    /// Whether its user namespace is not that of the machine, in which case perf ignores
    /// its capabilities.
    pub user_namespace: bool,
}

impl PerfPrivileges {
    pub fn for_this_process() -> Self {
        // From linux/capability.h.
        const SYS_ADMIN: u32 = 21;
        const PERFMON: u32 = 38;
        let status = Process::myself().and_then(|process| process.status()).ok();
        let has = |bit: u32| status.as_ref().is_some_and(|it| it.capeff >> bit & 1 == 1);
        let map = std::fs::read_to_string("/proc/self/uid_map").ok();
        Self {
            paranoid: super::read_paranoid_level(),
            seccomp: status.as_ref().is_some_and(|it| it.seccomp == Some(2)),
            capable: has(SYS_ADMIN) || has(PERFMON),
            user_namespace: map.is_some_and(|map| !maps_everyone(&map)),
        }
    }

    /// Returns whether perf's own rules allow an action that needs `perf_event_paranoid` to
    /// be at most `level`.
    fn allows_level(&self, level: i32) -> bool {
        (self.capable && !self.user_namespace) || self.paranoid.is_some_and(|it| it <= level)
    }
}

/// Returns whether a `uid_map` is that of the machine's own user namespace.
fn maps_everyone(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Cause why an event is not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PerfRefusal {
    /// The machine shows no PMU.
    NoPmu,
    /// The counter opens and never runs.
    NeverRuns,
    /// The counter runs and reads 0 where there was something to count.
    ReadsZero,
    /// A seccomp filter forbids the system call.
    Seccomp,
    /// `perf_event_paranoid` is above this level, and nothing else grants it.
    Paranoid { level: Option<i32>, needed: i32 },
    /// Like `Paranoid`, for the root of a user namespace.
    UserNamespace { level: Option<i32>, needed: i32 },
    /// Perf's rules allow it, but something else, such as a security module, does not.
    SecurityModule,
    /// Another process may not be watched.
    OtherProcess,
    /// The kernel has no perf.
    NoPerf,
    /// The kernel or the CPU has no `msr` PMU.
    NoMsr,
    /// Too many open files.
    Files,
    /// Another program holds the counters exclusively.
    Busy,
    /// One of several kinds of cores cannot count it.
    HybridPart { pmu: String, error: String },
    /// Anything else.
    Other(String),
}

/// Returns the level of `perf_event_paranoid` up to which an ordinary user may count.
fn needed_level(target: CounterTarget<'_>, user_mode_will_do: bool) -> i32 {
    match target {
        // Counted on whole CPUs.
        CounterTarget::Cgroup(_) => 0,
        _ if user_mode_will_do => 2,
        _ => 1,
    }
}

impl PerfRefusal {
    /// Determines the cause of an error of `perf_event_open`.
    pub(crate) fn from_error(
        event: PerfEvent,
        target: CounterTarget<'_>,
        error: &io::Error,
        standing: PerfPrivileges,
    ) -> Self {
        let hardware = event.source() == Source::PerfHardware;
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV) if hardware => Self::NoPmu,
            Some(libc::EACCES | libc::EPERM) => Self::from_denial(event, target, error, standing),
            Some(libc::ENOSYS) if standing.seccomp && standing.paranoid.is_some() => Self::Seccomp,
            Some(libc::ENOSYS) => Self::NoPerf,
            Some(libc::EMFILE | libc::ENFILE) => Self::Files,
            Some(libc::EBUSY) => Self::Busy,
            _ if event == PerfEvent::MsrTsc && error.kind() == io::ErrorKind::NotFound => {
                Self::NoMsr
            }
            // A filter may return any error number; those of the kernel are handled above.
            Some(_) if standing.seccomp && !hardware => Self::Seccomp,
            _ => Self::Other(error.to_string()),
        }
    }

    fn from_denial(
        event: PerfEvent,
        target: CounterTarget<'_>,
        error: &io::Error,
        standing: PerfPrivileges,
    ) -> Self {
        let needed = needed_level(target, event.counts_in_user_mode());
        let level = standing.paranoid;
        // Perf's own rules return EACCES, filters EPERM by default.
        if standing.seccomp
            && (error.raw_os_error() == Some(libc::EPERM) || standing.allows_level(needed))
        {
            return Self::Seccomp;
        }
        if standing.allows_level(needed) {
            return match target {
                CounterTarget::Process(_) | CounterTarget::Children(_) => Self::OtherProcess,
                _ => Self::SecurityModule,
            };
        }
        if standing.capable && standing.user_namespace {
            return Self::UserNamespace { level, needed };
        }
        Self::Paranoid { level, needed }
    }

    /// Returns the remedy; empty if nothing helps.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoPmu | Self::NeverRuns | Self::ReadsZero => {
                "a machine, or a kind of virtual machine, that exposes the PMU".to_owned()
            }
            Self::Seccomp => "in a container: --cap-add PERFMON, or --security-opt \
                              seccomp=PROFILE with one that allows perf_event_open"
                .to_owned(),
            Self::Paranoid { needed, .. } => {
                format!("as root: sysctl kernel.perf_event_paranoid={needed}, or grant CAP_PERFMON")
            }
            Self::UserNamespace { needed, .. } => {
                format!("as root of the machine: sysctl kernel.perf_event_paranoid={needed}")
            }
            Self::SecurityModule => "allow perf events in the policy of SELinux or AppArmor, or \
                                     leave the kernel's lockdown"
                .to_owned(),
            Self::OtherProcess => {
                "run as the user of that process, or grant CAP_PERFMON and CAP_SYS_PTRACE"
                    .to_owned()
            }
            Self::NoPerf => "a kernel with CONFIG_PERF_EVENTS".to_owned(),
            Self::Files => "raise the limit of open files: ulimit -n".to_owned(),
            Self::Busy => "end other profilers, or sysctl kernel.nmi_watchdog=0".to_owned(),
            Self::HybridPart { .. } => {
                "Linux 5.13 or newer; or keep to one kind of core with taskset".to_owned()
            }
            Self::NoMsr | Self::Other(_) => String::new(),
        }
    }
}

/// Formats the reason for users.
impl fmt::Display for PerfRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = |level: &Option<i32>| level.map_or("?".to_owned(), |level| level.to_string());
        match self {
            Self::NoPmu => {
                f.write_str("no hardware PMU is visible (a virtual machine without one?)")
            }
            Self::NeverRuns => {
                f.write_str("it can be opened, but never runs (a hypervisor without a PMU?)")
            }
            Self::ReadsZero => {
                f.write_str("it runs, but reads 0 whatever is done (a hypervisor without a PMU?)")
            }
            Self::Seccomp => f.write_str("perf_event_open is denied by a seccomp filter"),
            Self::Paranoid { level: it, .. } => {
                write!(f, "denied by perf_event_paranoid={}", level(it))
            }
            Self::UserNamespace { level: it, .. } => write!(
                f,
                "denied by perf_event_paranoid={}: root of a user namespace is not root here",
                level(it)
            ),
            Self::SecurityModule => f.write_str(
                "denied, although perf_event_paranoid allows it (a security module or lockdown?)",
            ),
            Self::OtherProcess => f.write_str("this user may not watch that process"),
            Self::NoPerf => f.write_str("this kernel has no perf_event_open"),
            Self::NoMsr => f.write_str("no `msr` PMU: this kernel or CPU has none"),
            Self::Files => f.write_str("too many open files for another counter"),
            Self::Busy => f.write_str("somebody else holds the counters for themselves"),
            Self::HybridPart { pmu, error } => write!(
                f,
                "this CPU has several kinds of cores, and those of `{pmu}` cannot count it: {error}"
            ),
            Self::Other(error) => write!(f, "perf_event_open: {error}"),
        }
    }
}
