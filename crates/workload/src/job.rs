//! Jobs for lanes, and their outcomes.

use std::sync::Arc;

use serde_json::Value;

use cyclometer_core::invocation::{StartKind, Status, monotonic_now};
use cyclometer_core::meter::{Provenances, Usage};
use cyclometer_core::units::{Bytes, Nanos};

use crate::{CpuShare, Limits, OutputDigest, Preset, SandboxRules, Workload};

/// Work for a lane: one cell of a plan.
#[derive(Debug, Clone)]
pub struct Job {
    /// Number of the cell in its plan, by which lanes key their warm instances.
    pub cell: usize,
    /// The function.
    pub workload: Arc<Workload>,
    /// Arguments and input.
    pub preset: Arc<Preset>,
    /// Cold or warm.
    pub start: StartKind,
    /// Limits of memory, time and output that hold for it.
    pub limits: Limits,
    /// The only CPU it may run on, if any.
    pub cpu: Option<u16>,
    /// Rules of the sandbox that are loosened.
    pub rules: SandboxRules,
    /// Share of CPUs that it may use; `None`: whole ones.
    pub cpu_share: Option<CpuShare>,
}

impl Job {
    /// Creates a job with the limits of the preset, strict rules, and whole CPUs.
    #[must_use]
    pub fn new(
        cell: usize,
        workload: Arc<Workload>,
        preset: Arc<Preset>,
        start: StartKind,
    ) -> Self {
        let limits = preset.limits;
        let rules = SandboxRules::default();
        Self { cell, workload, preset, start, limits, cpu: None, rules, cpu_share: None }
    }
}

impl Job {
    /// Returns what the function is given beside arguments, input and limits, as recordings keep
    /// it; `None` if nothing. Of the environment it has the names only, since values may be
    /// secrets.
    #[must_use]
    pub fn settings_json(&self) -> Option<serde_json::Value> {
        let Preset { env, dirs, workdir, invoke, expected_exit, .. } = &*self.preset;
        let mut names: Vec<&str> = env.iter().map(|it| it.name.as_str()).collect();
        names.sort_unstable();
        let dirs: Vec<String> = dirs.iter().map(ToString::to_string).collect();
        let entries = [
            ("image", self.workload.image.as_deref().map(Value::from)),
            ("invoke", invoke.as_deref().map(Value::from)),
            ("environment", (!names.is_empty()).then(|| Value::from(names))),
            ("dirs", (!dirs.is_empty()).then(|| Value::from(dirs))),
            ("workdir", workdir.as_deref().map(Value::from)),
            ("expected_exit", (*expected_exit != 0).then(|| Value::from(*expected_exit))),
            ("loosened", self.rules.describe_loosened().map(Value::from)),
            ("cpu_share", self.cpu_share.map(|share| Value::from(share.0))),
        ];
        let given = entries.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        let given: serde_json::Map<String, Value> = given.collect();
        (!given.is_empty()).then_some(Value::Object(given))
    }
}

/// Outcome of one invocation.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// End state.
    pub status: Status,
    /// Reason why it did not succeed, or a remark.
    pub reason: Option<String>,
    /// The function's exit code, if it exited.
    pub exit_code: Option<i32>,
    /// Time of the request, on the monotonic clock.
    pub requested: Nanos,
    /// Time of the end, on the monotonic clock.
    pub ended: Nanos,
    /// All measured values.
    pub usage: Usage,
    /// Source of each meter.
    pub provenances: Arc<Provenances>,
    /// Digest of the standard output that it wrote.
    pub output: Option<OutputDigest>,
}

impl Outcome {
    /// Returns the outcome of an invocation that could not even start.
    #[must_use]
    pub fn failed_to_start(job: &Job, requested: Nanos, reason: impl Into<String>) -> Self {
        Self {
            status: Status::Failed,
            reason: Some(reason.into()),
            exit_code: None,
            requested,
            ended: monotonic_now(),
            usage: Usage::new(job.start == StartKind::Cold),
            provenances: Arc::default(),
            output: None,
        }
    }

    /// Appends a remark to the reason.
    #[must_use]
    pub fn with_remark(mut self, remark: &str) -> Self {
        self.reason = Some(match self.reason {
            Some(reason) => format!("{reason}; {remark}"),
            None => remark.to_owned(),
        });
        self
    }

    /// Turns the exit code that the preset expects into a success, and any other into a failure.
    fn with_exit_code_checked(mut self, expected: i32) -> Self {
        let Some(code) = self.exit_code.filter(|_| expected != 0) else { return self };
        if self.status == Status::Ok && code != expected {
            self.status = Status::Failed;
            let wrong = format!("exit code {code}, and {expected} is expected");
            self.reason =
                Some(wrong + &self.reason.map_or_else(String::new, |it| format!("; {it}")));
            return self;
        }
        let told =
            self.reason.as_deref().and_then(|it| it.strip_prefix(&format!("exit code {code}")));
        if let (Status::Failed, true, Some(rest)) = (self.status, code == expected, told) {
            let rest = match rest.split_at_checked(2) {
                Some(("; ", remark)) => Some(remark.to_owned()),
                Some((": ", text)) => Some(format!("it wrote to standard error: {text}")),
                None | Some(_) if rest.is_empty() => None,
                _ => return self,
            };
            (self.status, self.reason) = (Status::Ok, rest);
        }
        self
    }

    /// Turns a success into a failure if the output or the exit code is not the expected one.
    #[must_use]
    pub fn with_output_checked(self, preset: &Preset) -> Self {
        self.with_exit_code_checked(preset.expected_exit).with_output_compared(preset)
    }

    fn with_output_compared(mut self, preset: &Preset) -> Self {
        if let (Status::Ok, Some(expected), Some(found)) =
            (self.status, preset.expected, self.output)
            && expected != found
        {
            self.status = Status::Failed;
            let wrong = format!("wrong output: expected {expected}, but it wrote {found}");
            // The remark on the success is kept.
            self.reason = Some(match self.reason {
                Some(remark) => format!("{wrong}; {remark}"),
                None => wrong,
            });
        }
        self
    }
}

/// Results of preparing a cell.
#[derive(Debug, Clone, Default)]
pub struct Prepared {
    /// Duration; `None` if there was nothing to do.
    pub took: Option<Nanos>,
    /// Size of everything that must be shipped to run the function.
    pub footprint: Option<Bytes>,
    /// Description of what `footprint` is the size of.
    pub footprint_of: &'static str,
    /// Sizes of the single parts of the function and of the runtime; may be empty.
    pub parts: Vec<FootprintPart>,
    /// Operators counted in a separate run, for lanes that can count.
    pub wasm_ops: Option<u64>,
    /// Durations of compilations that were made only to be measured.
    pub compiles: Vec<Nanos>,
    /// Remarks for the user who started the recording.
    pub notes: Vec<String>,
}

/// Kind of a part of a footprint: shipped with each function, or shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
    /// Shipped with each function.
    Function,
    /// There once for all functions.
    Runtime,
}

impl PartKind {
    /// Returns the word that is stored and shown.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Runtime => "runtime",
        }
    }
}

/// Part of the footprint that is needed to run a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FootprintPart {
    /// Name, such as a layer or a program with its path.
    pub name: String,
    /// Kind: shipped with each function, or there once for all.
    pub kind: PartKind,
    /// Size of the part.
    pub bytes: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalog;

    #[test]
    fn the_expected_exit_code_is_a_success_and_no_other_is() {
        let workload = Arc::new(Workload::without_forms("w"));
        let job = |expected_exit| {
            let preset = Preset { expected_exit, ..Preset::with_defaults("quick") };
            Job::new(0, Arc::clone(&workload), Arc::new(preset), StartKind::Cold)
        };
        let judge = |expected: i32, status, code, reason: &str| {
            let job = job(expected);
            let mut outcome = Outcome::failed_to_start(&job, Nanos(0), reason);
            (outcome.status, outcome.exit_code) = (status, Some(code));
            outcome.reason = outcome.reason.filter(|it| !it.is_empty());
            let judged = outcome.with_output_checked(&job.preset);
            (judged.status, judged.reason.unwrap_or_default())
        };
        let ok = |remark: &str| (Status::Ok, remark.to_owned());
        let failed = |reason: &str| (Status::Failed, reason.to_owned());
        assert_eq!(judge(3, Status::Failed, 3, "exit code 3"), ok(""));
        assert_eq!(judge(3, Status::Failed, 3, "exit code 3; left 2"), ok("left 2"));
        let told = "it wrote to standard error: no such key";
        assert_eq!(judge(3, Status::Failed, 3, "exit code 3: no such key"), ok(told));
        assert_eq!(judge(3, Status::Failed, 4, "exit code 4"), failed("exit code 4"));
        let zero = "exit code 0, and 3 is expected; left 2";
        assert_eq!(judge(3, Status::Ok, 0, "left 2"), failed(zero));
        // What failed for another reason stays a failure.
        assert_eq!(judge(3, Status::Failed, 3, "out of memory"), failed("out of memory"));
        assert_eq!(judge(3, Status::Failed, 3, "exit code 31"), failed("exit code 31"));
        assert_eq!(judge(0, Status::Ok, 0, ""), ok(""));
        assert_eq!(judge(0, Status::Failed, 1, "exit code 1"), failed("exit code 1"));
    }

    #[test]
    fn wrong_output_does_not_hide_what_else_is_told() {
        let catalog = Catalog::load_builtin().expect("valid");
        let workload = Arc::clone(catalog.get("nop").expect("there"));
        let right = OutputDigest::from_content(b"right");
        let mut preset = workload.find_preset("quick").expect("there").clone();
        preset.expected = Some(right);
        let job = Job::new(0, workload, Arc::new(preset.clone()), StartKind::Cold);
        let mut outcome = Outcome::failed_to_start(&job, Nanos(0), "left 5 process(es) behind");
        (outcome.status, outcome.output) = (Status::Ok, Some(right));
        let good = outcome.clone().with_output_checked(&preset);
        assert_eq!(good.reason.as_deref(), Some("left 5 process(es) behind"));
        outcome.output = Some(OutputDigest::from_content(b"wrong"));
        let bad = outcome.with_output_checked(&preset);
        assert_eq!(bad.status, Status::Failed);
        let reason = bad.reason.expect("told");
        assert!(reason.starts_with("wrong output: expected "), "{reason}");
        assert!(reason.ends_with("; left 5 process(es) behind"), "{reason}");
    }
}
