//! How an invocation ended, in the words of the store, seen through what the
//! profile says of its runtime.

use super::super::launcher::{Ended, Why};
use super::super::process::verdict;
use super::super::{Job, Status};
use crate::profile::Profile;

/// Status, reason and the function's own exit code.
pub(super) type Verdict = (Status, Option<String>, Option<i32>);

/// Judges an end.
pub(super) fn judge(profile: &Profile, job: &Job, ended: &Ended, stderr: &str) -> Verdict {
    let (status, mut reason, mut code) = verdict(job, ended, stderr);
    if matches!(status, Status::Failed | Status::Timeout) {
        if is_trap(profile, ended, stderr) {
            // The status is the runtime's word for it, not the function's.
            code = None;
            reason = Some(if stderr.is_empty() {
                format!("trap: {}", how(ended))
            } else {
                format!("trap: {stderr}")
            });
        }
        reason = reason.map(|reason| with_known(profile, &job.workload.name, reason));
    }
    (status, reason, code)
}

/// Whether the profile takes this end for a trap.
pub(super) fn is_trap(profile: &Profile, ended: &Ended, stderr: &str) -> bool {
    profile.trap.as_ref().is_some_and(|trap| {
        ended.why == Why::Itself
            && trap.status.is_none_or(|status| observed(ended) == status)
            && trap.stderr.as_deref().is_none_or(|text| stderr.contains(text))
    })
}

/// Adds what the profile knows of such a failure.
pub(super) fn with_known(profile: &Profile, workload: &str, reason: String) -> String {
    match profile.known(workload, &reason) {
        Some(known) => format!("{} (known: {})", reason, known.reason),
        None => reason,
    }
}

/// The exit status as a shell tells it: 128 and the signal, if there was one.
pub(super) const fn observed(ended: &Ended) -> i32 {
    let signal = ended.status & 0x7f;
    if signal == 0 { (ended.status >> 8) & 0xff } else { 128 + signal }
}

/// An end in words, for a program that is no function.
pub(super) fn how(ended: &Ended) -> String {
    match (ended.why, ended.status & 0x7f) {
        (Why::Timeout, _) => "no end in time".to_owned(),
        (Why::Cancelled, _) => "stopped".to_owned(),
        (Why::Itself, 0) => format!("exit status {}", (ended.status >> 8) & 0xff),
        (Why::Itself, signal) => format!("killed by signal {signal}"),
    }
}
