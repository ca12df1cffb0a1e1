//! What the starter says of a function that it ran: see `starter.c`.

use std::io;

use crate::units::Nanos;

/// The static program that `build.rs` compiled.
pub(super) const STARTER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/starter"));

const MAGIC: u32 = 0x6379_6373;
const SIZE: usize = 96;

/// A moment on the two clocks of the container. A sandbox with a kernel of its
/// own (gVisor, a virtual machine) has a monotonic clock of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub monotonic: Nanos,
    pub realtime: Nanos,
}

/// What became of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub failure: Option<StartFailure>,
    /// As of `wait(2)`.
    pub status: i32,
    /// Just before its exec.
    pub began: Moment,
    pub ended: Moment,
    /// CPU time of the function alone, by its kernel's account.
    pub cpu: Nanos,
    /// Processes that it left behind, killed since.
    pub stray: u64,
    /// What the container's control group had used when the function began.
    pub before: Before,
}

/// What a container's control group had used by its own account, as read from
/// inside, just before the function's exec; `None`: it cannot be read there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Before {
    pub cpu: Option<Nanos>,
    pub memory: Option<u64>,
    pub memory_peak: Option<u64>,
}

/// Why a function did not run at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StartFailure {
    stage: u32,
    errno: i32,
}

impl std::fmt::Display for StartFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let error = io::Error::from_raw_os_error(self.errno);
        match (self.stage, self.errno) {
            (2, _) => write!(
                f,
                "the container cannot open its standard files: {error}; does a security module \
                 keep containers from files of this host?"
            ),
            (3, _) => write!(f, "the function's limits cannot be set in the container: {error}"),
            (4, _) => write!(f, "the container allows no new process: {error}"),
            (5, libc::ENOENT) => f.write_str(
                "the program cannot be executed in this image: it, or the loader that it is \
                 linked for, is not there; link it with `-static`, or use a base image that has it",
            ),
            (5, libc::ENOEXEC) => f.write_str(
                "the program cannot be executed in this image: it is for another machine, or \
                 no program at all",
            ),
            (5, _) => write!(f, "the program cannot be executed in this image: {error}"),
            _ => f.write_str("the container's starter was called in a wrong way"),
        }
    }
}

impl Report {
    /// The report in what the starter wrote; `None` if it wrote nothing, since
    /// it was killed before.
    ///
    /// # Errors
    /// For anything else: a sandbox that lets functions into other processes'
    /// files lets them write there.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let fields = Fields(bytes);
        if bytes.len() != SIZE || fields.u32(0) != MAGIC {
            return Err("what the container's starter reported was tampered with");
        }
        let (stage, errno) = (fields.u32(4), fields.u32(8).cast_signed());
        let moment = |at| Moment { monotonic: fields.nanos(at), realtime: fields.nanos(at + 8) };
        let micros = fields.u64(48).saturating_add(fields.u64(56));
        Ok(Some(Self {
            failure: (stage != 0).then_some(StartFailure { stage, errno }),
            status: fields.u32(12).cast_signed(),
            began: moment(16),
            ended: moment(32),
            cpu: Nanos(micros.saturating_mul(1_000)),
            stray: fields.u64(64),
            before: Before {
                cpu: fields.known(72).map(Nanos),
                memory: fields.known(80),
                memory_peak: fields.known(88),
            },
        }))
    }

    /// The signal that ended the function, or 0.
    pub const fn signal(&self) -> i32 {
        self.status & 0x7f
    }

    /// A report of a function that ended so.
    #[cfg(test)]
    pub const fn test(status: i32, stray: u64) -> Self {
        let moment = Moment { monotonic: Nanos(1), realtime: Nanos(1) };
        let before = Before { cpu: None, memory: None, memory_peak: None };
        Self { failure: None, status, began: moment, ended: moment, cpu: Nanos(0), stray, before }
    }

    /// How long the function ran, on its own clock.
    pub fn ran(&self) -> Nanos {
        self.ended.monotonic.since(self.began.monotonic)
    }
}

/// Fields by byte offset; both sides are compiled together.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut array = [0; N];
        if let Some(bytes) = self.0.get(at..at + N) {
            array.copy_from_slice(bytes);
        }
        array
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.array(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.array(at))
    }

    /// A value, if the starter could read it.
    fn known(&self, at: usize) -> Option<u64> {
        Some(self.u64(at)).filter(|value| *value != u64::MAX)
    }

    fn nanos(&self, at: usize) -> Nanos {
        Nanos(self.u64(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report with the numbers 1 to 9 in its long fields, and nothing in the
    /// last.
    fn bytes(stage: u32, errno: i32) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(MAGIC.to_ne_bytes());
        bytes.extend(stage.to_ne_bytes());
        bytes.extend(errno.to_ne_bytes());
        bytes.extend(0x0300_i32.to_ne_bytes());
        for field in (1..=9).chain([u64::MAX]) {
            bytes.extend(field.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn fields_are_where_the_starter_puts_them() {
        let report = Report::parse(&bytes(0, 0)).expect("sound").expect("a report");
        assert_eq!((report.failure, report.status), (None, 0x300));
        assert_eq!(report.began, Moment { monotonic: Nanos(1), realtime: Nanos(2) });
        assert_eq!(report.ended, Moment { monotonic: Nanos(3), realtime: Nanos(4) });
        assert_eq!((report.cpu, report.stray, report.ran()), (Nanos(11_000), 7, Nanos(2)));
        let before = Before { cpu: Some(Nanos(8)), memory: Some(9), memory_peak: None };
        assert_eq!(report.before, before);
    }

    #[test]
    fn nothing_is_no_report_and_anything_else_is_refused() {
        assert_eq!(Report::parse(b""), Ok(None));
        let twice = [bytes(0, 0), bytes(0, 0)].concat();
        for bad in [&twice[..], &twice[1..97], &twice[..95], b"x"] {
            assert!(Report::parse(bad).is_err(), "{} bytes", bad.len());
        }
    }

    #[test]
    fn failures_say_what_to_do() {
        let failure = |stage, errno| {
            let report = Report::parse(&bytes(stage, errno)).expect("sound").expect("a report");
            report.failure.expect("a failure").to_string()
        };
        assert!(failure(5, libc::ENOENT).contains("-static"));
        assert!(failure(5, libc::EACCES).contains("Permission denied"));
        assert!(failure(2, libc::EACCES).contains("security module"));
    }
}
