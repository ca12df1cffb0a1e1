//! One call of a runtime's program, as the launcher takes it.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::super::launcher::{Program, Spawn, Stdio3};
use crate::profile::Profile;
use crate::units::{Bytes, Nanos};

/// A program with its arguments, streams and limits.
pub(super) struct Call<'a> {
    pub profile: &'a Profile,
    pub program: &'a Path,
    /// Without argument 0.
    pub args: &'a [String],
    pub files: &'a Stdio3,
    /// Found by the program as descriptors 3 and up.
    pub extra: &'a [BorrowedFd<'a>],
    pub timeout: Option<Nanos>,
    /// Of each process, and where there is a control group of all together.
    pub memory_limit: Option<Bytes>,
    pub file_limit: Option<Bytes>,
    pub cpu: Option<u16>,
}

impl<'a> Call<'a> {
    /// A call without limits, for no invocation.
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
            file_limit: None,
            cpu: None,
        }
    }

    /// Hands the call to `start`. Its environment is the profile's, and nothing
    /// else.
    pub fn with<T>(&self, start: impl FnOnce(&Spawn<'_>) -> T) -> T {
        let name = self.program.display().to_string();
        let args: Vec<&str> =
            std::iter::once(&*name).chain(self.args.iter().map(String::as_str)).collect();
        let variable = |(name, value): &(String, String)| format!("{name}={value}");
        let environment: Vec<String> = self.profile.environment.iter().map(variable).collect();
        start(&Spawn {
            program: Program::Path(self.program),
            args: &args,
            env: &environment.iter().map(String::as_str).collect::<Vec<_>>(),
            stdin: self.files.stdin.as_fd(),
            stdout: self.files.stdout.as_fd(),
            stderr: self.files.stderr.as_fd(),
            extra: self.extra,
            timeout: self.timeout,
            memory_limit: self.memory_limit,
            data_limit: self.memory_limit,
            file_limit: self.file_limit,
            cpu: self.cpu,
        })
    }
}
