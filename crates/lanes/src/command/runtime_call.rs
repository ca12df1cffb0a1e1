//! One call of a runtime's program, as the launcher takes it.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::super::Job;
use super::super::launcher::{SpawnRequest, SpawnTarget, Stdio3};
use super::super::outer_memory_limit::OuterMemoryLimit;
use super::super::program_run::Runner;
use crate::profile::{MemoryEnforcement, Profile};
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_workload::CpuShare;

/// A program with its arguments, streams and limits.
pub(super) struct RuntimeCall<'a> {
    pub profile: &'a Profile,
    pub program: &'a Path,
    /// Arguments without argument 0.
    pub args: &'a [String],
    pub files: &'a Stdio3,
    /// Descriptors that the program finds from 3 on.
    pub extra: &'a [BorrowedFd<'a>],
    pub timeout: Option<Nanos>,
    /// Limit of all processes together, where there is a control group.
    pub memory_limit: Option<Bytes>,
    /// Limit of the private memory of each process.
    pub data_limit: Option<Bytes>,
    pub file_limit: Option<Bytes>,
    pub cpu: Option<u16>,
    /// Share of CPUs of the runtime with its function.
    pub cpu_share: Option<CpuShare>,
}

impl<'a> RuntimeCall<'a> {
    /// Creates a call without limits, for no invocation.
    pub fn new(
        profile: &'a Profile,
        program: &'a Path,
        args: &'a [String],
        files: &'a Stdio3,
        timeout: Nanos,
    ) -> Self {
        Self {
            profile,
            program,
            args,
            files,
            extra: &[],
            timeout: Some(timeout),
            memory_limit: None,
            data_limit: None,
            file_limit: None,
            cpu: None,
            cpu_share: None,
        }
    }

    /// Bounds the memory of the call: by the function's limit where that holds for the whole
    /// process, else by a limit around function and runtime.
    pub(crate) fn with_memory_bounds(self, job: &Job, runner: &Runner) -> Self {
        let limit = job.limits.memory;
        let (memory_limit, data_limit) = match outer_limit_for(self.profile, limit, runner) {
            Some(wall) => (Some(wall.total()), wall.data_limit(runner)),
            None if self.profile.memory == MemoryEnforcement::Process => (Some(limit), Some(limit)),
            None => (None, None),
        };
        Self { memory_limit, data_limit, ..self }
    }

    /// Passes the call to `start`. The environment is exactly that of the profile.
    pub(crate) fn with_spawn_request<T>(&self, start: impl FnOnce(&SpawnRequest<'_>) -> T) -> T {
        let name = self.program.display().to_string();
        let args: Vec<&str> =
            std::iter::once(&*name).chain(self.args.iter().map(String::as_str)).collect();
        let variable = |(name, value): &(String, String)| format!("{name}={value}");
        let environment: Vec<String> = self.profile.environment.iter().map(variable).collect();
        start(&SpawnRequest {
            program: SpawnTarget::Path(self.program),
            args: &args,
            env: &environment.iter().map(String::as_str).collect::<Vec<_>>(),
            stdin: self.files.stdin.as_fd(),
            stdout: self.files.stdout.as_fd(),
            stderr: self.files.stderr.as_fd(),
            extra: self.extra,
            timeout: self.timeout,
            memory_limit: self.memory_limit,
            data_limit: self.data_limit,
            file_limit: self.file_limit,
            cpu: self.cpu,
            start_folder: Path::new("/"),
            cpu_share: self.cpu_share,
        })
    }
}

/// Memory that a runtime may use beside its function's unless its profile says otherwise: node, the
/// largest of those shipped, needs 60 MiB for itself, and output is held in memory, too.
const DEFAULT_ALLOWANCE: Bytes = Bytes(256 << 20);

/// Allowance without a control group, where requested memory counts, used or not: JavaScript
/// engines request some 500 MiB.
const UNGROUPED_ALLOWANCE: Bytes = Bytes(1 << 30);

/// Returns the limit around a runtime that limits its function's memory itself, or not at all;
/// `None` where another limit holds for everything that runs.
pub(super) fn outer_limit_for(
    profile: &Profile,
    function: Bytes,
    runner: &Runner,
) -> Option<OuterMemoryLimit> {
    Some(OuterMemoryLimit { function, allowance: runtime_allowance(profile, runner)? })
}

/// Returns the memory that the runtime may use beside the function's limit.
pub(super) fn runtime_allowance(profile: &Profile, runner: &Runner) -> Option<Bytes> {
    let own = matches!(profile.memory, MemoryEnforcement::Option | MemoryEnforcement::None);
    let usual = if runner.group().is_ok() { DEFAULT_ALLOWANCE } else { UNGROUPED_ALLOWANCE };
    (own && profile.outside.is_none()).then(|| profile.allowance.unwrap_or(usual))
}
