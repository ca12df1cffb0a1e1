//! Other running processes of this program: between two invocations only these show that an image
//! or compiled code is still needed.

use std::collections::HashMap;
use std::ffi::OsString;

use procfs::process::Process;

use crate::docker::{Endpoint, EndpointOrigin};

/// Subcommands that need neither images nor compiled code.
const HARMLESS_SUBCOMMANDS: [&str; 9] =
    ["clean", "history", "query", "replay", "pricing", "doctor", "completions", "man", "--help"];
/// Subcommands that need them, even if a harmless word stands beside them.
const RECORDING_SUBCOMMANDS: [&str; 5] = ["record", "live", "tax", "paper", "check"];

/// A running process and its environment, if that may be read.
struct RunningProcess {
    pid: i32,
    environment: Option<HashMap<OsString, OsString>>,
}

fn list_running() -> Vec<RunningProcess> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let all = procfs::process::all_processes().into_iter().flatten().flatten();
    all.filter(|process| process.pid != own && is_running_functions(process))
        .map(|process| RunningProcess { pid: process.pid, environment: process.environ().ok() })
        .collect()
}

fn is_running_functions(process: &Process) -> bool {
    // The name of the main thread, since the executable of another user's process cannot be read.
    let named = process.stat().is_ok_and(|stat| stat.comm.starts_with("cyclometer"));
    named && process.cmdline().is_ok_and(|words| runs_functions(&words))
}

/// Returns whether a command line is one that runs functions.
fn runs_functions(words: &[String]) -> bool {
    let has = |known: &[&str]| words.iter().skip(1).any(|word| known.contains(&word.as_str()));
    has(&RECORDING_SUBCOMMANDS) || !has(&HARMLESS_SUBCOMMANDS)
}

fn describe_process(worker: &RunningProcess) -> String {
    format!("a recording may need it (process {})", worker.pid)
}

/// Returns why images of this engine may be needed now, if so.
pub(super) fn find_engine_user(endpoint: &Endpoint) -> Option<String> {
    let variable = OsString::from("DOCKER_HOST");
    let needs = |worker: &&RunningProcess| {
        let Some(environment) = &worker.environment else { return true };
        match environment.get(&variable).filter(|host| !host.is_empty()) {
            Some(host) => host.to_string_lossy() == endpoint.host,
            // The process chooses the engine by its Docker context, as this one does.
            None => endpoint.from != EndpointOrigin::Environment,
        }
    };
    list_running().iter().find(needs).map(describe_process)
}

/// Returns why the compiled code of this user may be needed now, if so.
pub(super) fn find_cache_user() -> Option<String> {
    let own = ["XDG_CACHE_HOME", "HOME"].map(std::env::var_os);
    let needs = |worker: &&RunningProcess| {
        let Some(environment) = &worker.environment else { return false };
        let theirs = ["XDG_CACHE_HOME", "HOME"].map(|name| environment.get(&OsString::from(name)));
        match (&own[0], theirs[0]) {
            (Some(own), Some(theirs)) => own == theirs,
            (None, None) => own[1].as_ref() == theirs[1],
            _ => false,
        }
    };
    list_running().iter().find(needs).map(describe_process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_that_run_functions_are_told_from_others() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for text in ["c", "c record", "c --db x live", "c workloads check", "c lanes check node"] {
            assert!(runs_functions(&words(text)), "{text}");
        }
        for text in ["c clean", "c --db x history", "c query x", "c replay latest", "c doctor"] {
            assert!(!runs_functions(&words(text)), "{text}");
        }
    }
}
