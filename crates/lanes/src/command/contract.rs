//! Contract tests of a runtime: check that it does what every lane must do, as its profile says. A
//! small program does one thing at a time in it, and the observed result is compared with the
//! expected one.

use std::sync::Arc;

use super::super::program_run::one_line;
use super::super::{Cancel, Job, Lane, NoSampling, Outcome, StartKind, Status, monotonic_now};
use super::CommandLane;
use crate::profile::{AcceptedForm, MemoryEnforcement, Profile};
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_workload::{FunctionInput, Limits, NativeProgram, Preset, Workload};

/// The test program as a WebAssembly module and as a native program.
const MODULE: &[u8] = include_bytes!("../../../../runtimes/contract/contract.wasm");
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/native-contract"));

/// Bytes of the large output, as `contract.c` writes it.
const LARGE_OUTPUT_BYTES: usize = 12 << 20;

/// Memory limit of all cases, and the amount that one of them requests.
const MEMORY_LIMIT: Bytes = Bytes(96 << 20);
const TOO_MUCH_MIB: u64 = 256;

/// Time limit of all cases but the one that never ends.
const TIMEOUT: Nanos = Nanos(60_000_000_000);
const SHORT_TIMEOUT: Nanos = Nanos(1_500_000_000);

/// Variable of the runtime's own environment, which functions must not see.
const CANARY: &str = "CYCLOMETER_CANARY";

/// Result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckState {
    /// The observed result is the expected one.
    Ok,
    /// The observed result differs from the expected one.
    Failed,
    /// The profile says that the requirement does not hold.
    NotChecked,
}

impl CheckState {
    /// Returns the word that is shown.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::NotChecked => "not checked",
        }
    }
}

/// Result of one check, with what was expected and observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractFinding {
    /// Name of the check.
    pub check: &'static str,
    /// Result of the check.
    pub state: CheckState,
    /// Expected result, in words.
    pub expected: String,
    /// Observed result, in words.
    pub observed: String,
}

/// Expected result of a case.
enum ContractExpectation {
    /// This exit status, as the function's own.
    Exit(i32),
    /// Success, and this output.
    Output(Vec<u8>),
    /// Success, this output, and this text on standard error.
    Streams(&'static [u8], &'static str),
    /// Success, and an output without other lines than those that start like this.
    OnlyNames(Vec<String>),
    /// A failure that is reported as one, after this output.
    Crash(&'static [u8]),
    /// An end by the time limit.
    Timeout,
    /// Any result but a grant of the requested memory.
    Refusal,
    /// Any result but success: an exit code that does not fit must not be truncated to 0.
    NoSuccess,
}

struct ContractCase {
    check: &'static str,
    args: Vec<String>,
    stdin: FunctionInput,
    timeout: Nanos,
    expect: ContractExpectation,
}

/// Everything that was observed of a case.
pub(super) struct ObservedRun {
    pub outcome: Outcome,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// Runs all checks of a profile, and passes each finding to `tell`.
pub fn run_checks(profile: &Profile, cancel: &Cancel, tell: &mut dyn FnMut(ContractFinding)) {
    let mut probed = profile.clone();
    probed.environment.push((CANARY.to_owned(), "seen".to_owned()));
    let mut lane = match CommandLane::open(&Arc::new(probed)) {
        Ok(lane) => lane,
        Err(error) => {
            return tell(failed_finding("runtime", "is here and reports its version", error));
        }
    };
    tell(ContractFinding {
        check: "runtime",
        state: CheckState::Ok,
        expected: "is here and reports its version".to_owned(),
        observed: lane.describe().version,
    });
    for (check, why) in list_exempt_checks(profile) {
        let (state, expected) = (CheckState::NotChecked, String::new());
        tell(ContractFinding { check, state, expected, observed: why.to_owned() });
    }
    for (cell, case) in build_cases(profile, &lane).iter().enumerate() {
        if cancel.is_cancelled() {
            break;
        }
        let job = build_job(case, cell);
        // The first preparation may compile, and fail: then nothing can run.
        if let Err(error) = lane.prepare(&job, cancel) {
            tell(failed_finding("prepare", "the program is made ready to run", error));
            break;
        }
        if cell == 0 && lane.profile.compile.is_some() {
            tell(ContractFinding {
                check: "prepare",
                state: CheckState::Ok,
                expected: "the program is made ready to run".to_owned(),
                observed: "compiled".to_owned(),
            });
        }
        let (expected, came) = match lane.observe_run(&job, &mut NoSampling, cancel) {
            Ok(seen) => compare_observation(&case.expect, &seen),
            Err(reason) => (String::new(), Err(reason)),
        };
        let state = if came.is_ok() { CheckState::Ok } else { CheckState::Failed };
        let came = came.unwrap_or_else(|came| came);
        tell(ContractFinding { check: case.check, state, expected, observed: came });
    }
    lane.close();
}

fn failed_finding(
    check: &'static str,
    expected: &str,
    came: impl std::fmt::Display,
) -> ContractFinding {
    let (expected, came) = (expected.to_owned(), came.to_string());
    ContractFinding { check, state: CheckState::Failed, expected, observed: came }
}

/// Lists the checks that the profile exempts the runtime from, with the reasons.
fn list_exempt_checks(profile: &Profile) -> Vec<(&'static str, &'static str)> {
    let mut all = Vec::new();
    if sees_files(profile) {
        all.push(("files", "the profile says that functions see files of the host"));
    }
    if profile.memory == MemoryEnforcement::None {
        all.push(("memory", "the profile says that nobody enforces the memory limit"));
    }
    all
}

const fn sees_files(profile: &Profile) -> bool {
    profile.sees.files || matches!(profile.takes, AcceptedForm::Program)
}

fn build_job(case: &ContractCase, cell: usize) -> Job {
    let limits = Limits { memory: MEMORY_LIMIT, timeout: case.timeout, output: Bytes(64 << 20) };
    let preset = Preset {
        args: case.args.clone(),
        stdin: case.stdin.clone(),
        limits,
        ..Preset::with_defaults(case.check)
    };
    let workload = Workload {
        title: "Contract".to_owned(),
        wasm: Some(Arc::from(MODULE)),
        native: Some(NativeProgram::Embedded(PROGRAM)),
        ..Workload::without_forms("contract")
    };
    Job::new(cell, Arc::new(workload), Arc::new(preset), StartKind::Cold)
}

fn build_cases(profile: &Profile, lane: &CommandLane) -> Vec<ContractCase> {
    let case = |check, args: &[&str], expect| ContractCase {
        check,
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        stdin: FunctionInput::default(),
        timeout: TIMEOUT,
        expect,
    };
    let echoed = FunctionInput::from_counter(300_001);
    let odd = ["", "two words", " ", "*", "$HOME", "a=b", "--help", "-v", "ä€😀", "'\"\\", "last"];
    let mut all = vec![
        case("exit status 0", &["exit", "0"], ContractExpectation::Exit(0)),
        case("exit status 7", &["exit", "7"], ContractExpectation::Exit(7)),
        case(
            "output bytes",
            &["bytes"],
            ContractExpectation::Output(b"a\0b\r\n\xff\xfe\tend".to_vec()),
        ),
        ContractCase {
            stdin: echoed.clone(),
            ..case(
                "standard input",
                &["echo"],
                ContractExpectation::Output(echoed.content().to_vec()),
            )
        },
        case("no standard input", &["echo"], ContractExpectation::Output(Vec::new())),
        case(
            "arguments",
            &[&["arguments"][..], &odd].concat(),
            ContractExpectation::Output(format_arguments(&odd)),
        ),
        case("large output", &["big"], ContractExpectation::Output(large_output())),
        case("standard error", &["streams"], ContractExpectation::Streams(b"out\nput\n", "err")),
        case("crash", &["trap"], ContractExpectation::Crash(b"before\n")),
        case(
            "environment",
            &["environment"],
            ContractExpectation::OnlyNames(profile.sees.environment.clone()),
        ),
        ContractCase {
            timeout: SHORT_TIMEOUT,
            ..case("timeout", &["spin"], ContractExpectation::Timeout)
        },
    ];
    if profile.takes == AcceptedForm::Module {
        all.push(case("exit status 256", &["exit", "256"], ContractExpectation::NoSuccess));
    }
    if !sees_files(profile) {
        let script = lane.scratch.path().join("secret");
        let secret = script.display().to_string();
        // Without this file the check finds the other files only.
        let _ = std::fs::write(&script, "secret");
        let mut paths = vec!["files", &secret, "/etc/passwd", "/etc/machine-id", "etc/passwd"];
        if profile.takes == AcceptedForm::Module {
            // A sandbox may have a /proc of its own.
            paths.push("/proc/version");
        }
        all.push(case("files", &paths, ContractExpectation::OnlyNames(Vec::new())));
    }
    if profile.memory != MemoryEnforcement::None {
        let much = TOO_MUCH_MIB.to_string();
        let taken = ContractExpectation::Output(b"taken\n".to_vec());
        all.push(case("some memory", &["memory", "8"], taken));
        all.push(case("memory", &["memory", &much], ContractExpectation::Refusal));
    }
    all
}

/// Formats arguments as `contract.c` prints them.
fn format_arguments(args: &[&str]) -> Vec<u8> {
    args.iter().flat_map(|arg| format!("{}:{arg}\n", arg.len()).into_bytes()).collect()
}

fn large_output() -> Vec<u8> {
    (0..=250_u8).cycle().take(LARGE_OUTPUT_BYTES).collect()
}

/// Compares the observed result with the expected one: returns the expectation in words, and the
/// observed result, as an error if it differs.
fn compare_observation(
    expect: &ContractExpectation,
    seen: &ObservedRun,
) -> (String, Result<String, String>) {
    match expect {
        ContractExpectation::Exit(code) => {
            let right = seen.outcome.exit_code == Some(*code)
                && (seen.outcome.status == Status::Ok) == (*code == 0);
            (format!("exit status {code}"), pass_if(right, describe_end(seen)))
        }
        ContractExpectation::Output(bytes) => (describe_bytes(bytes), check_output(seen, bytes)),
        ContractExpectation::Streams(stdout, text) => {
            let expected = format!("{}, and `{text}` on standard error", describe_bytes(stdout));
            let stderr = String::from_utf8_lossy(&seen.stderr);
            let came = check_output(seen, stdout).and_then(|came| {
                if stderr.contains(text) {
                    return Ok(format!("{came}, and {}", quote_text(&stderr)));
                }
                Err(format!("{came}, and on standard error {}", quote_text(&stderr)))
            });
            (expected, came)
        }
        ContractExpectation::OnlyNames(allowed) => {
            let expected = match allowed.join(" ") {
                names if names.is_empty() => "none is seen".to_owned(),
                names => format!("none is seen but {names}"),
            };
            (expected, check_allowed_names(seen, allowed))
        }
        ContractExpectation::Crash(before) => {
            let told = seen.outcome.status == Status::Failed && seen.stdout == *before;
            let came = format!("{}, after {}", describe_end(seen), describe_bytes(&seen.stdout));
            (format!("a failure, after {}", describe_bytes(before)), pass_if(told, came))
        }
        ContractExpectation::Timeout => {
            let right = seen.outcome.status == Status::Timeout;
            (format!("stopped after {SHORT_TIMEOUT}"), pass_if(right, describe_end(seen)))
        }
        ContractExpectation::NoSuccess => {
            let told = seen.outcome.status == Status::Failed;
            ("told, or refused, and not taken for 0".to_owned(), pass_if(told, describe_end(seen)))
        }
        ContractExpectation::Refusal => {
            let expected = format!("no {TOO_MUCH_MIB} MiB where {MEMORY_LIMIT} are the limit");
            (expected, pass_if(seen.outcome.status == Status::Failed, describe_end(seen)))
        }
    }
}

fn pass_if(right: bool, came: String) -> Result<String, String> {
    if right { Ok(came) } else { Err(came) }
}

fn check_output(seen: &ObservedRun, expected: &[u8]) -> Result<String, String> {
    if seen.outcome.status != Status::Ok {
        return Err(format!("{}, after {}", describe_end(seen), describe_bytes(&seen.stdout)));
    }
    if seen.stdout == expected {
        return Ok(describe_bytes(expected));
    }
    let same = expected.iter().zip(&seen.stdout).take_while(|(one, other)| one == other).count();
    Err(format!("{}; the same for {same} bytes", describe_bytes(&seen.stdout)))
}

/// Checks that no line `LENGTH:TEXT` has a text `NAME` or `NAME=...` whose name is not allowed.
fn check_allowed_names(seen: &ObservedRun, allowed: &[String]) -> Result<String, String> {
    if seen.outcome.status != Status::Ok {
        return Err(describe_end(seen));
    }
    let text = String::from_utf8_lossy(&seen.stdout);
    let entries = text.lines().map(|line| line.split_once(':').map_or(line, |(_, entry)| entry));
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let seen: Vec<String> = entries.map(name).collect();
    let extra: Vec<&str> =
        seen.iter().filter(|name| !allowed.contains(name)).map(String::as_str).collect();
    match (extra.is_empty(), seen.is_empty()) {
        (true, true) => Ok("none".to_owned()),
        (true, false) => Ok(seen.join(" ")),
        (false, _) => Err(format!("it sees {}", extra.join(" "))),
    }
}

fn describe_end(seen: &ObservedRun) -> String {
    let outcome = &seen.outcome;
    match (&outcome.reason, outcome.exit_code) {
        (Some(reason), _) => shorten_text(reason),
        (None, Some(code)) => format!("exit status {code}"),
        (None, None) => outcome.status.label().to_owned(),
    }
}

/// Formats bytes for display: their text if they are few, else their number.
fn describe_bytes(bytes: &[u8]) -> String {
    match bytes.len() {
        0 => "no output".to_owned(),
        1..=60 => format!("\"{}\"", bytes.escape_ascii()),
        many => format!("{many} bytes"),
    }
}

fn quote_text(text: &str) -> String {
    let line = one_line(text);
    if line.is_empty() { "nothing".to_owned() } else { format!("`{}`", shorten_text(&line)) }
}

fn shorten_text(text: &str) -> String {
    let short: String = text.chars().take(200).collect();
    if short.len() < text.len() { format!("{short}...") } else { short }
}

impl CommandLane {
    /// Runs a case and collects everything that came of it.
    pub(super) fn observe_run(
        &mut self,
        job: &Job,
        watch: &mut dyn super::ProbeSampler,
        cancel: &Cancel,
    ) -> Result<ObservedRun, String> {
        use std::io::{Read, Seek};
        let begun = monotonic_now();
        let mut ran = self.execute_runtime(job, watch, cancel)?;
        let outcome = self.build_outcome(job, &mut ran);
        let mut files = ran.files;
        debug_assert!(outcome.ended >= begun);
        let read = |file: &mut std::fs::File| {
            let mut bytes = Vec::new();
            file.rewind().and_then(|()| file.read_to_end(&mut bytes)).map(|_| bytes)
        };
        let stdout = read(&mut files.stdout).map_err(|error| error.to_string())?;
        let stderr = read(&mut files.stderr).map_err(|error| error.to_string())?;
        Ok(ObservedRun { outcome, stdout, stderr })
    }
}
