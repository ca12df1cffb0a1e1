//! Verdict on an invocation's end, in the words of the store, in the light of what the profile says
//! about its runtime.

use super::super::launcher::{EndCause, ProgramEnd};
use super::super::program_run::{EndVerdict, judge_end, with_output_limit, with_remarks};
use super::super::{Job, Status};
use crate::profile::Profile;
use cyclometer_meter::function_group::GroupUsage;

/// Judges an end; `written` is the size of the longer of both outputs, in bytes.
pub(super) fn judge_invocation(
    profile: &Profile,
    job: &Job,
    ended: &ProgramEnd,
    grouped: Option<&GroupUsage>,
    stderr: &str,
    written: u64,
) -> EndVerdict {
    let (status, mut reason, mut code) = judge_end(job, ended, grouped, stderr, written);
    if matches!(status, Status::Failed | Status::Timeout) {
        let killed = grouped.is_some_and(|group| group.killed > 0);
        if !killed && is_refused_exit(profile, ended, stderr) {
            // The code is not the function's, and there was no trap of its own.
            code = None;
            reason = Some(format!("an exit code that this runtime does not pass on: {stderr}"));
        } else if !killed && is_trap(profile, ended, stderr) {
            // The status is the runtime's sign of a trap, not the function's code.
            code = None;
            reason = Some(if stderr.is_empty() {
                format!("trap: {}", describe_end(ended))
            } else {
                format!("trap: {stderr}")
            });
        }
        reason =
            reason.map(|reason| with_known_failure(profile, job.workload.function_name(), reason));
    }
    let verdict = with_output_limit((status, reason, code), written, job.limits.output);
    with_remarks(verdict, ended, grouped)
}

/// Returns whether this end is a trap by the profile.
pub(super) fn is_trap(profile: &Profile, ended: &ProgramEnd, stderr: &str) -> bool {
    profile.trap.as_ref().is_some_and(|trap| {
        ended.why == EndCause::ByItself
            && trap.status.is_none_or(|status| shell_exit_status(ended) == status)
            && trap.stderr.as_deref().is_none_or(|text| stderr.contains(text))
    })
}

/// Returns whether the runtime reports that it did not let the function exit with its code.
fn is_refused_exit(profile: &Profile, ended: &ProgramEnd, stderr: &str) -> bool {
    profile.refused_exit.as_ref().is_some_and(|text| {
        ended.why == EndCause::ByItself
            && shell_exit_status(ended) != 0
            && stderr.contains(text.as_str())
    })
}

/// Adds the profile's explanation of such a failure, if there is one.
pub(super) fn with_known_failure(profile: &Profile, workload: &str, reason: String) -> String {
    match profile.find_known_failure(workload, &reason) {
        Some(known) => format!("{} (known: {})", reason, known.reason),
        None => reason,
    }
}

/// Returns the exit status as a shell shows it: 128 plus the signal, if there was one.
pub(super) const fn shell_exit_status(ended: &ProgramEnd) -> i32 {
    let signal = ended.status & 0x7f;
    if signal == 0 { (ended.status >> 8) & 0xff } else { 128 + signal }
}

/// Describes the end of a program that is no function.
pub(super) fn describe_end(ended: &ProgramEnd) -> String {
    match (ended.why, ended.status & 0x7f) {
        (EndCause::Timeout, _) => "no end in time".to_owned(),
        (EndCause::Cancelled, _) => "stopped".to_owned(),
        (EndCause::ByItself, 0) => format!("exit status {}", (ended.status >> 8) & 0xff),
        (EndCause::ByItself, libc::SIGKILL) if ended.is_memory_starved => {
            "killed by the kernel because memory ran out".to_owned()
        }
        (EndCause::ByItself, signal) => format!("killed by signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::StartKind;
    use crate::profile::{KnownFailure, ProfileCatalog, TrapSigns};
    use cyclometer_workload::{Catalog, Limits};

    fn judged(status: i32, stderr: &str, trap: Option<TrapSigns>) -> EndVerdict {
        judged_end(&ProgramEnd::for_test(status, EndCause::ByItself), stderr, trap, 0)
    }

    fn judged_end(
        ended: &ProgramEnd,
        stderr: &str,
        trap: Option<TrapSigns>,
        written: u64,
    ) -> EndVerdict {
        let catalog = Catalog::load_builtin().expect("valid");
        let workload = Arc::clone(catalog.get("nop").expect("there"));
        let preset = Arc::new(workload.find_preset("quick").expect("there").clone());
        let limits = Limits::default();
        let job = Job { limits, ..Job::new(0, workload, preset, StartKind::Cold) };
        let known = |workload: &str, contains: &str| KnownFailure {
            workload: Some(workload.to_owned()),
            contains: Some(contains.to_owned()),
            reason: format!("{workload} is so"),
        };
        let mut profile = (**ProfileCatalog::builtin().get("wasmi").expect("shipped")).clone();
        profile.trap = trap;
        profile.known_failures = vec![known("nbody", "boom"), known("nop", "boom")];
        judge_invocation(&profile, &job, ended, None, stderr, written)
    }

    #[test]
    fn a_runtimes_word_for_a_trap_is_not_the_functions_exit_code() {
        let trap = |status, stderr: Option<&str>| {
            Some(TrapSigns { status, stderr: stderr.map(str::to_owned) })
        };
        let failed = |reason: &str, code| (Status::Failed, Some(reason.to_owned()), code);
        let both = || trap(Some(1), Some("wasm trap"));
        assert_eq!(judged(1 << 8, "wasm trap: x", both()), failed("trap: wasm trap: x", None));
        assert_eq!(judged(1 << 8, "x", both()), failed("exit code 1: x", Some(1)));
        assert_eq!(judged(2 << 8, "wasm trap", both()), failed("exit code 2: wasm trap", Some(2)));
        // 134 is an exit status as well as 128 and SIGABRT.
        let abort = || trap(Some(134), None);
        assert_eq!(judged(134 << 8, "", abort()), failed("trap: exit status 134", None));
        assert_eq!(judged(6, "", abort()), failed("trap: killed by signal 6", None));
        assert_eq!(judged(134 << 8, "", None), failed("exit code 134", Some(134)));
        let text = || trap(None, Some("wasm trap"));
        assert_eq!(judged(45 << 8, "wasm trap", text()), failed("trap: wasm trap", None));
        assert_eq!(judged(0, "wasm trap", text()), (Status::Ok, None, Some(0)));
    }

    #[test]
    fn a_trap_and_an_exit_code_that_is_not_passed_on_keep_what_else_is_told() {
        let ended =
            ProgramEnd { stray_processes: 2, ..ProgramEnd::for_test(1 << 8, EndCause::ByItself) };
        let trap = Some(TrapSigns { status: Some(1), stderr: None });
        let (_, reason, _) = judged_end(&ended, "boom", trap, 0);
        let all = "trap: boom (known: nop is so); left 2 process(es) behind, which were killed";
        assert_eq!(reason.as_deref(), Some(all));
        let full = Limits::default().output;
        let (_, reason, _) = judged_end(&ended, "else", None, full.0);
        let all = format!(
            "exit code 1: else; its output is at the output limit of {full}; left 2 process(es) \
             behind, which were killed"
        );
        assert_eq!(reason, Some(all));
    }

    #[test]
    fn exit_codes_from_126_on_are_no_traps() {
        // 128 and the signal, as a shell shows it, and as wasmtime's WASI shows traps.
        for code in [126, 127, 134, 137, 255] {
            let (status, reason, exit_code) = judged(code << 8, "", None);
            assert_eq!((status, exit_code), (Status::Failed, Some(code)));
            assert_eq!(reason, Some(format!("exit code {code}")));
        }
    }

    #[test]
    fn a_refused_exit_code_is_neither_a_trap_nor_the_runtimes_status() {
        let text = "Error: failed during execution of _start: exit with invalid exit status";
        let trap = Some(TrapSigns { status: Some(1), stderr: Some("failed during".to_owned()) });
        let (status, reason, code) = judged(1 << 8, text, trap);
        assert_eq!((status, code), (Status::Failed, None));
        let reason = reason.expect("a reason");
        assert!(
            reason.starts_with("an exit code that this runtime does not pass on: "),
            "{reason}"
        );
    }

    #[test]
    fn what_is_known_is_said_beside_the_failure_of_that_workload() {
        let (_, reason, _) = judged(1 << 8, "boom", None);
        assert_eq!(reason.as_deref(), Some("exit code 1: boom (known: nop is so)"));
        let (_, reason, _) = judged(1 << 8, "else", None);
        assert_eq!(reason.as_deref(), Some("exit code 1: else"));
    }
}
