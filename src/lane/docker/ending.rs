//! What to make of the way a container ended.

use nix::sys::signal::Signal;

use crate::lane::Status;
use crate::units::Bytes;
use crate::workload::Limits;

/// Docker reports a program that signal n ended as exit code 128 + n.
const SIGNALLED: i64 = 128;
const KILLED: i64 = SIGNALLED + Signal::SIGKILL as i64;

/// Why the lane ended a container itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Its time was up.
    Timeout,
    /// The recording was stopped.
    Cancelled,
    /// It wrote more than it may.
    Output,
}

impl Stop {
    /// Status and reason for an invocation that ended so.
    pub fn verdict(self, limits: &Limits) -> (Status, String) {
        match self {
            Self::Timeout => (Status::Timeout, format!("no end within {}", limits.timeout)),
            Self::Cancelled => (Status::Interrupted, "stopped on request".to_owned()),
            Self::Output => {
                (Status::Failed, format!("wrote more than the output limit of {}", limits.output))
            }
        }
    }
}

/// What is known of a container that ended by itself.
#[derive(Debug, Default)]
pub(super) struct Exit {
    pub code: i64,
    /// The engine says that the kernel killed something in it for memory;
    /// `None` if it could not be asked.
    pub out_of_memory: Option<bool>,
    /// Most memory that its control group held.
    pub peak: Option<u64>,
    /// The end of what it wrote to standard error.
    pub stderr: Option<String>,
}

impl Exit {
    /// Status, reason and the function's exit code.
    pub fn verdict(&self, limits: &Limits) -> (Status, Option<String>, Option<i32>) {
        let code = i32::try_from(self.code).ok();
        if self.code == 0 {
            return (Status::Ok, None, code);
        }
        let (reason, code) = if self.ran_out_of_memory(limits.memory) {
            (format!("out of memory: killed at its limit of {}", limits.memory), None)
        } else {
            (self.named_code(), code)
        };
        let stderr = self.stderr.as_deref().map_or_else(String::new, |text| format!(": {text}"));
        (Status::Failed, Some(format!("{reason}{stderr}")), code)
    }

    /// Not every runtime tells the engine about it: gVisor's sandbox is killed
    /// as a whole. A peak at the limit then tells.
    fn ran_out_of_memory(&self, limit: Bytes) -> bool {
        let at_limit = self.peak.is_none_or(|peak| peak >= limit.0 - limit.0 / 64);
        self.out_of_memory == Some(true) || (self.code == KILLED && at_limit)
    }

    fn named_code(&self) -> String {
        let code = self.code;
        let signal = i32::try_from(code - SIGNALLED).ok().and_then(|n| Signal::try_from(n).ok());
        match signal {
            Some(signal) => format!("exit code {code} (ended by {signal})"),
            None => format!("exit code {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Nanos;

    fn limits() -> Limits {
        Limits { memory: Bytes(128 << 20), timeout: Nanos(60_000_000_000), output: Bytes(1 << 20) }
    }

    #[test]
    fn endings_by_the_lane_are_explained() {
        let text = |stop: Stop| stop.verdict(&limits());
        assert_eq!(text(Stop::Timeout), (Status::Timeout, "no end within 60.0 s".to_owned()));
        assert_eq!(text(Stop::Cancelled).0, Status::Interrupted);
        assert_eq!(text(Stop::Output).1, "wrote more than the output limit of 1.00 MiB");
    }

    #[test]
    fn exit_codes_are_told_apart() {
        let end = |code, out_of_memory, peak| {
            let exit = Exit { code, out_of_memory, peak, stderr: Some("bad".to_owned()) };
            let (status, reason, code) = exit.verdict(&limits());
            (status, reason.unwrap_or_else(|| "fine".to_owned()), code)
        };
        let oom = "out of memory: killed at its limit of 128 MiB: bad".to_owned();
        assert_eq!(end(0, None, None), (Status::Ok, "fine".to_owned(), Some(0)));
        assert_eq!(end(3, Some(false), None), (Status::Failed, "exit code 3: bad".into(), Some(3)));
        assert_eq!(end(137, Some(true), Some(5)), (Status::Failed, oom.clone(), None));
        assert_eq!(end(2, Some(true), None), (Status::Failed, oom.clone(), None));
        assert_eq!(end(137, Some(false), Some(127 << 20)), (Status::Failed, oom.clone(), None));
        assert_eq!(end(137, None, None).1, oom);
        let killed = "exit code 137 (ended by SIGKILL): bad";
        assert_eq!(end(137, Some(false), Some(1 << 20)).1, killed);
        assert_eq!(end(139, Some(false), None).1, "exit code 139 (ended by SIGSEGV): bad");
        assert_eq!(end(255, Some(false), None).1, "exit code 255: bad");
    }
}
