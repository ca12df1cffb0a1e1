//! Data from `/proc`: resident memory, process identity and liveness.

use std::fmt;
use std::str::FromStr;

use procfs::process::Process;

use cyclometer_core::units::Bytes;

/// Identity of a process that no later process can share: its id, its start time in clock
/// ticks after boot, and the boot. Outside of the machine's first PID namespace, where ids
/// mean other processes, the namespace is part of the identity, too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProcessIdentity {
    pid: i32,
    start_ticks: u64,
    /// Digits of the boot id, followed by `n` and the digits of the PID namespace unless
    /// that is the first.
    boot: String,
}

/// Number of the first PID namespace: `PROC_PID_INIT_INO` of the kernel.
const FIRST_NAMESPACE: u64 = 0xEFFF_FFFC;

impl ProcessIdentity {
    /// Returns the identity of the calling process.
    ///
    /// # Errors
    /// Returns an error when `/proc` cannot be read.
    pub fn current() -> Result<Self, procfs::ProcError> {
        let stat = Process::myself()?.stat()?;
        let boot = match own_namespace() {
            Some(FIRST_NAMESPACE) | None => boot_id()?,
            Some(other) => format!("{}n{other:x}", boot_id()?),
        };
        Ok(Self { pid: stat.pid, start_ticks: stat.starttime, boot })
    }

    /// Returns the process id.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// Returns whether exactly this process still runs, as far as can be seen from here.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let (boot, namespace) = self.boot_and_namespace();
        if !boot_id().is_ok_and(|now| now == boot) {
            return false;
        }
        let is_this = |stat: &procfs::process::Stat| {
            stat.starttime == self.start_ticks && !matches!(stat.state, 'Z' | 'X')
        };
        if own_namespace().is_none_or(|own| own == namespace) {
            let start = Process::new(self.pid).and_then(|process| process.stat());
            return start.is_ok_and(|stat| is_this(&stat));
        }
        // If it is visible at all, its namespace is inside of ours: it has a number here, and the
        // known one there.
        let is_inside = |process: &Process| {
            let numbers = process.status().ok().and_then(|status| status.nspid);
            numbers.is_some_and(|it| it.len() > 1 && it.last() == Some(&self.pid))
        };
        let all = procfs::process::all_processes().into_iter().flatten().flatten();
        all.filter(is_inside).any(|process| process.stat().is_ok_and(|stat| is_this(&stat)))
    }

    /// Returns whether it is unknown from here if the process runs: it belongs to this boot
    /// and to another PID namespace, and not all processes are visible from here.
    #[must_use]
    pub(crate) fn is_out_of_sight(&self) -> bool {
        let (boot, namespace) = self.boot_and_namespace();
        let own = own_namespace();
        boot_id().is_ok_and(|now| now == boot)
            && own.is_some_and(|own| own != namespace && own != FIRST_NAMESPACE)
    }

    /// Returns the boot id and the PID namespace.
    fn boot_and_namespace(&self) -> (&str, u64) {
        let split = self
            .boot
            .split_once('n')
            .and_then(|(boot, namespace)| Some((boot, u64::from_str_radix(namespace, 16).ok()?)));
        split.unwrap_or((&self.boot, FIRST_NAMESPACE))
    }
}

/// Returns the number of the PID namespace of this process.
fn own_namespace() -> Option<u64> {
    let link = std::fs::read_link("/proc/self/ns/pid").ok()?;
    link.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok()
}

/// Returns the first group of the kernel's random boot id, which is enough to tell boots
/// apart.
fn boot_id() -> Result<String, procfs::ProcError> {
    let id = procfs::sys::kernel::random::boot_id()?;
    Ok(id.trim().split('-').next().unwrap_or(&id).to_owned())
}

impl fmt::Display for ProcessIdentity {
    /// Writes `pid-ticks-boot`, which is valid in a file name and a container label.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.pid, self.start_ticks, self.boot)
    }
}

impl FromStr for ProcessIdentity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '-');
        let mut next = || parts.next().ok_or(());
        Ok(Self {
            pid: next()?.parse().map_err(drop)?,
            start_ticks: next()?.parse().map_err(drop)?,
            boot: next()?.to_owned(),
        })
    }
}

/// Returns the resident memory of a process; `None` when it has ended.
#[must_use]
pub fn resident_memory(pid: u32) -> Option<Bytes> {
    let pid = i32::try_from(pid).ok()?;
    let pages = Process::new(pid).ok()?.statm().ok()?.resident;
    Some(Bytes(pages * procfs::page_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_its_identity_survives_text() {
        let me = ProcessIdentity::current().expect("/proc is mounted");
        assert!(me.is_alive());
        assert_eq!(me.to_string().parse(), Ok(me.clone()));
        let later = ProcessIdentity { start_ticks: me.start_ticks + 1, ..me.clone() };
        assert!(!later.is_alive(), "a reused pid was taken for the old process");
        let other_boot = ProcessIdentity { boot: "00000000".to_owned(), ..me.clone() };
        assert!(!other_boot.is_alive() && !other_boot.is_out_of_sight());
        let (boot, own) = me.boot_and_namespace();
        let elsewhere = ProcessIdentity { boot: format!("{boot}n{:x}", own - 1), ..me.clone() };
        assert!(!elsewhere.is_alive(), "the same number in another namespace is another process");
    }

    #[test]
    fn garbage_is_no_identity() {
        for text in ["", "1", "1-2", "x-2-b", "1-x-b"] {
            assert!(text.parse::<ProcessIdentity>().is_err(), "{text}");
        }
    }

    #[test]
    fn resident_memory_of_the_dead_is_none() {
        assert!(resident_memory(std::process::id()).is_some_and(|bytes| bytes.0 > 100_000));
        assert_eq!(resident_memory(u32::MAX), None);
    }
}
