//! Interpretation of the way a container ended: status, reason and exit code.

use nix::sys::signal::Signal;

use super::super::program_run::{file_limit_reason, output_limit_reason, with_output_limit};
use super::cold::join_reasons;
use super::engine::EngineError;
use super::function_call::FunctionCall;
use super::starter_report::StarterReport;
use crate::Status;
use cyclometer_core::units::Bytes;
use cyclometer_workload::Limits;

/// Base of the exit codes of signals: Docker reports a program that signal n ended as 128 + n.
const SIGNAL_EXIT_BASE: i64 = 128;

/// Reason why the lane itself ended a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    /// The time limit was reached.
    Timeout,
    /// The recording was stopped.
    Cancelled,
    /// The function exceeded the output limit.
    Output,
    /// Too much was written to the stream of the starter.
    StarterFlood,
}

impl StopReason {
    /// Returns status and reason of an invocation that was ended for this reason.
    pub(crate) fn status_and_reason(self, limits: &Limits) -> (Status, String) {
        match self {
            Self::Timeout => (Status::Timeout, format!("no end within {}", limits.timeout)),
            Self::Cancelled => (Status::Interrupted, "stopped on request".to_owned()),
            Self::Output => (Status::Failed, output_limit_reason(limits.output)),
            Self::StarterFlood => {
                (Status::Failed, "what came from the container's starter is too long".to_owned())
            }
        }
    }
}

/// Returns the exit code of a container that ended by itself, or status and reason of
/// the invocation.
pub(super) fn exit_code_unless_stopped(
    result: &Result<i64, EngineError>,
    stop: Option<StopReason>,
    limits: &Limits,
) -> Result<i64, (Status, String)> {
    let stopped = stop.map(|stop| stop.status_and_reason(limits));
    match (result, stopped) {
        (Ok(code), None) => Ok(*code),
        (Ok(_), Some(verdict)) => Err(verdict),
        (Err(EngineError::Cancelled), _) => Err(StopReason::Cancelled.status_and_reason(limits)),
        (Err(error), None) => Err((Status::Failed, error.to_string())),
        (Err(error), Some((Status::Interrupted, reason))) => {
            Err((Status::Interrupted, format!("{reason}; {error}")))
        }
        // Whether it ended in time is not known.
        (Err(error), Some((_, reason))) => Err((Status::Failed, format!("{reason}; {error}"))),
    }
}

/// Remark on a kill whose cause neither engine nor control group reports.
const UNKNOWN_CAUSE: &str = ", and nothing here tells whether memory ran out";

/// Facts about the end of a function that the lane did not end.
#[derive(Debug, Default)]
pub(super) struct FunctionExit<'a> {
    /// Exit code that the engine reports, of the starter or of the function itself.
    pub code: i64,
    /// Report of the starter; `None`: there was no starter, or it was killed.
    pub report: Option<StarterReport>,
    /// Whether the engine reports that the kernel killed something in the container
    /// for memory; `None` if it could not be asked.
    pub out_of_memory: Option<bool>,
    /// Most memory that its control group held, in bytes.
    pub peak: Option<u64>,
    /// End of its standard error.
    pub stderr: Option<String>,
    /// Subject of the run.
    pub call: Option<&'a FunctionCall>,
    /// Size in bytes of the longer of its outputs, where they are files.
    pub written: Option<u64>,
}

impl FunctionExit<'_> {
    /// Returns status, reason and the function's exit code.
    pub(crate) fn status_and_reason(
        &self,
        limits: &Limits,
    ) -> (Status, Option<String>, Option<i32>) {
        if let Some(failure) = self.report.as_ref().and_then(|report| report.failure) {
            return (Status::Failed, Some(failure.explain_for(self.call)), None);
        }
        let (ended, code) = self.failure_and_code(limits);
        let remark = self.report.as_ref().and_then(describe_leftovers);
        let stderr = self.stderr.as_deref().map_or_else(String::new, |text| format!(": {text}"));
        let verdict = match ended {
            None => (Status::Ok, None, code),
            Some(ended) => (Status::Failed, Some(format!("{ended}{stderr}")), code),
        };
        // Output that passed through the engine was checked there, so no remark is added.
        let (status, reason, code) = match self.written {
            Some(written) => with_output_limit(verdict, written, limits.output),
            None => verdict,
        };
        (status, join_reasons(reason, remark), code)
    }

    /// Returns how it failed, if it did, and its exit code.
    fn failure_and_code(&self, limits: &Limits) -> (Option<String>, Option<i32>) {
        let report = self.report.as_ref();
        let signal = report.map_or_else(|| self.signal_of_code(), StarterReport::signal);
        let code = match report {
            Some(report) => (signal == 0).then_some((report.status >> 8) & 0xff),
            None => i32::try_from(self.code).ok(),
        };
        if signal == Signal::SIGXFSZ as i32 && self.report.is_some() {
            // The signal tells neither which file it was nor whether there was one.
            let is_output = self.written.is_some_and(|written| written >= limits.output.0);
            let explain = if is_output { output_limit_reason } else { file_limit_reason };
            return (Some(explain(limits.output)), None);
        }
        if code == Some(0) {
            return (None, code);
        }
        if self.ran_out_of_memory(signal, limits.memory) {
            let reason = format!("out of memory: killed at its limit of {}", limits.memory);
            return (Some(reason), None);
        }
        let unknown = if self.may_have_run_out_of_memory(signal) { UNKNOWN_CAUSE } else { "" };
        let name = Signal::try_from(signal).ok();
        let reason = match (code, name) {
            (Some(code), Some(name)) => format!("exit code {code} (ended by {name})"),
            (Some(code), None) => format!("exit code {code}"),
            (None, Some(name)) => format!("killed by {name}"),
            (None, None) if signal == 0 => format!("no exit code that there is: {}", self.code),
            (None, None) => format!("killed by signal {signal}"),
        };
        (Some(format!("{reason}{unknown}")), code)
    }

    /// Returns the signal that the engine's exit code stands for, or 0.
    fn signal_of_code(&self) -> i32 {
        let signal =
            self.code.checked_sub(SIGNAL_EXIT_BASE).map_or(0, |it| i32::try_from(it).unwrap_or(0));
        Signal::try_from(signal).map_or(0, |signal| signal as i32)
    }

    /// Returns whether the kernel killed it for memory. Not every runtime reports
    /// that to the engine: gVisor's sandbox is killed as a whole. Then a peak at the
    /// limit is the evidence.
    fn ran_out_of_memory(&self, signal: i32, limit: Bytes) -> bool {
        let at_limit = self.peak.is_some_and(|peak| peak >= limit.0 - limit.0 / 64);
        self.out_of_memory == Some(true) || (signal == Signal::SIGKILL as i32 && at_limit)
    }

    /// Returns whether a lack of memory is possible but unknown: somebody else may
    /// have killed it.
    fn may_have_run_out_of_memory(&self, signal: i32) -> bool {
        signal == Signal::SIGKILL as i32 && self.peak.is_none()
    }
}

/// Describes what a function left behind, and output that its starter did not write.
fn describe_leftovers(report: &StarterReport) -> Option<String> {
    let stray = (report.stray > 0)
        .then(|| format!("left {} process(es) behind, which were killed", report.stray));
    let left = (!report.residue.is_empty())
        .then(|| format!("left {} behind: the next gets a new container", report.residue));
    let surplus = (report.surplus > 0)
        .then(|| format!("{} bytes beside its starter's report were discarded", report.surplus));
    let remarks: Vec<_> = [stray, left, surplus].into_iter().flatten().collect();
    (!remarks.is_empty()).then(|| remarks.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyclometer_core::units::Nanos;

    fn limits() -> Limits {
        Limits { memory: Bytes(128 << 20), timeout: Nanos(60_000_000_000), output: Bytes(1 << 20) }
    }

    #[test]
    fn endings_by_the_lane_are_explained() {
        let text = |stop: StopReason| stop.status_and_reason(&limits());
        assert_eq!(text(StopReason::Timeout), (Status::Timeout, "no end within 60.0 s".to_owned()));
        assert_eq!(text(StopReason::Cancelled).0, Status::Interrupted);
        assert_eq!(text(StopReason::Output).1, "wrote more than the output limit of 1.00 MiB");
    }

    #[test]
    fn exit_codes_are_told_apart() {
        let end = |code, out_of_memory, peak| {
            let stderr = Some("bad".to_owned());
            let exit =
                FunctionExit { code, out_of_memory, peak, stderr, ..FunctionExit::default() };
            let (status, reason, code) = exit.status_and_reason(&limits());
            (status, reason.unwrap_or_else(|| "fine".to_owned()), code)
        };
        let oom = "out of memory: killed at its limit of 128 MiB: bad".to_owned();
        assert_eq!(end(0, None, None), (Status::Ok, "fine".to_owned(), Some(0)));
        assert_eq!(end(3, Some(false), None), (Status::Failed, "exit code 3: bad".into(), Some(3)));
        assert_eq!(end(137, Some(true), Some(5)), (Status::Failed, oom.clone(), None));
        assert_eq!(end(2, Some(true), None), (Status::Failed, oom.clone(), None));
        assert_eq!(end(137, Some(false), Some(127 << 20)), (Status::Failed, oom.clone(), None));
        let unknown = "exit code 137 (ended by SIGKILL), and nothing here tells whether \
                       memory ran out: bad";
        assert_eq!(end(137, None, None), (Status::Failed, unknown.to_owned(), Some(137)));
        // gVisor does not report it to the engine.
        assert_eq!(end(137, Some(false), None).1, unknown);
        let killed = "exit code 137 (ended by SIGKILL): bad";
        assert_eq!(end(137, Some(false), Some(1 << 20)).1, killed);
        assert_eq!(end(139, Some(false), None).1, "exit code 139 (ended by SIGSEGV): bad");
        assert_eq!(end(255, Some(false), None).1, "exit code 255: bad");
        let impossible = "no exit code that there is: -9223372036854775808: bad";
        assert_eq!(end(i64::MIN, Some(false), None).1, impossible);
    }

    #[test]
    fn the_starter_knows_more_than_an_exit_code() {
        let end = |status, stray, out_of_memory| {
            let report = StarterReport::for_test(status, stray);
            let exit = FunctionExit {
                report: Some(report),
                out_of_memory,
                peak: Some(5),
                ..FunctionExit::default()
            };
            let (status, reason, code) = exit.status_and_reason(&limits());
            (status, reason.unwrap_or_else(|| "fine".to_owned()), code)
        };
        // With a core dump.
        let (xfsz, kill, segv) = (25, 9, 0x8b);
        assert_eq!(end(0, 0, None), (Status::Ok, "fine".to_owned(), Some(0)));
        assert_eq!(end(0, 2, None).1, "left 2 process(es) behind, which were killed");
        assert_eq!(end(139 << 8, 0, None).1, "exit code 139", "it exited, no signal ended it");
        assert_eq!(end(segv, 0, None), (Status::Failed, "killed by SIGSEGV".to_owned(), None));
        let xfsz_told = "killed by SIGXFSZ, the signal of a file that grows beyond the limit for \
                         files, here 1.00 MiB";
        assert_eq!(end(xfsz, 0, None).1, xfsz_told, "nobody knows what it wrote");
        let wrote = |status, written| {
            let report = Some(StarterReport::for_test(status, 2));
            let exit = FunctionExit { report, written: Some(written), ..FunctionExit::default() };
            let (status, reason, _) = exit.status_and_reason(&limits());
            (status, reason.unwrap_or_default())
        };
        let left = "left 2 process(es) behind, which were killed";
        let over = format!("wrote more than the output limit of 1.00 MiB; {left}");
        assert_eq!(wrote(xfsz, 1 << 20), (Status::Failed, over));
        assert_eq!(wrote(xfsz, (1 << 20) - 1), (Status::Failed, format!("{xfsz_told}; {left}")));
        let at = format!("its output is at the output limit of 1.00 MiB; {left}");
        assert_eq!(wrote(3 << 8, 1 << 20), (Status::Failed, format!("exit code 3; {at}")));
        assert_eq!(wrote(0, 1 << 20), (Status::Ok, at));
        assert!(end(kill, 0, Some(true)).1.starts_with("out of memory"));
        assert_eq!(end(kill, 0, Some(false)).1, "killed by SIGKILL");
    }
}
