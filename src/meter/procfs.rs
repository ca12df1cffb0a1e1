//! Readings from `/proc`: resident memory, process identity and liveness.

use std::fmt;
use std::str::FromStr;

use procfs::process::Process;

use crate::units::Bytes;

/// Identity of a process that no later process can share: its id, its start
/// time in clock ticks after boot, and the boot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProcessIdentity {
    pid: i32,
    start_ticks: u64,
    boot: String,
}

impl ProcessIdentity {
    /// The identity of the calling process.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn current() -> Result<Self, procfs::ProcError> {
        let stat = Process::myself()?.stat()?;
        Ok(Self { pid: stat.pid, start_ticks: stat.starttime, boot: boot_id()? })
    }

    /// The number of the process.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether that very process still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let start = Process::new(self.pid).and_then(|process| process.stat());
        start.is_ok_and(|stat| {
            stat.starttime == self.start_ticks && !matches!(stat.state, 'Z' | 'X')
        }) && boot_id().is_ok_and(|boot| boot == self.boot)
    }
}

/// The first group of the kernel's random boot id: enough to tell boots apart.
fn boot_id() -> Result<String, procfs::ProcError> {
    let id = procfs::sys::kernel::random::boot_id()?;
    Ok(id.trim().split('-').next().unwrap_or(&id).to_owned())
}

impl fmt::Display for ProcessIdentity {
    /// `pid-ticks-boot`: fit for a file name and a container label.
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

/// Memory of a process that is resident now; `None` when it has ended.
#[must_use]
pub fn resident(pid: u32) -> Option<Bytes> {
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
        let other_boot = ProcessIdentity { boot: "00000000".to_owned(), ..me };
        assert!(!other_boot.is_alive());
    }

    #[test]
    fn garbage_is_no_identity() {
        for text in ["", "1", "1-2", "x-2-b", "1-x-b"] {
            assert!(text.parse::<ProcessIdentity>().is_err(), "{text}");
        }
    }

    #[test]
    fn resident_memory_of_the_dead_is_none() {
        assert!(resident(std::process::id()).is_some_and(|bytes| bytes.0 > 100_000));
        assert_eq!(resident(u32::MAX), None);
    }
}
