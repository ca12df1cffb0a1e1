//! Runtimes that are described by a command line each: `runtimes/*.toml`.
//!
//! A profile says how a runtime is found and asked for its version, what it takes (a WebAssembly
//! module, a plain program, an OCI bundle, a machine's image), how it compiles ahead of time, its
//! command lines, how it limits memory, and which failures are known. It holds no code and no shell
//! command: only programs, and lists of arguments with placeholders. [`crate::command`] runs what
//! it says.
//!
//! A file may hold variants: the same runtime with other settings. Each is a
//! lane of its own, `NAME:VARIANT`, and a [`Profile`] of its own here.

mod catalog;
mod error;
pub(crate) mod resolve;
mod schema;
pub mod template;
mod trust;

pub use catalog::{ProfileCatalog, current_catalog, install_catalog, load_profile};
pub use error::{MAX_PROFILE_BYTES, ProfileError};
pub use resolve::{ReadScript, parse_profiles};
pub use trust::check_trust;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use cyclometer_core::units::{Bytes, Nanos};
use template::CommandLine;

/// Form of a function that a runtime takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AcceptedForm {
    /// A WebAssembly module that speaks WASI preview 1.
    Module,
    /// The workload's native program.
    Program,
    /// A folder with `config.json` and `rootfs/`, after the OCI runtime
    /// specification.
    Bundle,
    /// An archive with the native program that a Linux kernel unpacks.
    Machine,
}

impl AcceptedForm {
    /// Returns the word in the file.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Program => "program",
            Self::Bundle => "bundle",
            Self::Machine => "machine",
        }
    }

    /// Returns the placeholders that its command lines may use, without those of files that the
    /// profile needs.
    const fn placeholders(self) -> &'static [&'static str] {
        match self {
            Self::Module => &["module", "artifact"],
            Self::Program => &["file"],
            Self::Bundle => &["bundle", "id", "state", "crash_log"],
            Self::Machine => &["initramfs"],
        }
    }
}

/// Mechanism that holds a function to its memory limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemoryEnforcement {
    /// An option of the runtime, among the arguments.
    Option,
    /// The kernel, by a limit on the whole process, the runtime included.
    Process,
    /// The container's control group, or the machine's size.
    Sandbox,
    /// No mechanism.
    None,
}

impl MemoryEnforcement {
    /// Returns a sentence for the description of the lane.
    #[must_use]
    pub(crate) const fn describe_limit(self) -> &'static str {
        match self {
            Self::Option => "memory is limited by an option of the runtime",
            Self::Process => "the memory limit holds for the whole process, the runtime included",
            Self::Sandbox => "memory is limited by the sandbox",
            Self::None => "the memory limit is NOT enforced by this runtime",
        }
    }
}

/// A runtime, or a variant of one: a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Name of the lane: the file's, and after a colon the variant's.
    pub name: String,
    /// Name of the file, for messages.
    pub origin: String,
    /// Display name of the runtime.
    pub title: String,
    /// Home page of the runtime.
    pub homepage: Option<String>,
    /// Further facts that a reader of its figures must know.
    pub note: Option<String>,
    /// Form of a function that it takes.
    pub takes: AcceptedForm,
    /// Advice where it is not installed.
    pub install: String,
    /// Search for its program.
    pub program: RuntimeProgram,
    /// Complete environment of the runtime.
    pub environment: Vec<(String, String)>,
    /// A file that comes with the profile, such as a script for an engine.
    pub script: Option<ProfileScript>,
    /// A file that is written for each cell, such as a machine's settings.
    pub config: Option<CommandLine>,
    /// Mechanism that holds functions to their memory limit.
    pub memory: MemoryEnforcement,
    /// Memory that the runtime needs beside the function's, where it limits that itself or not at
    /// all.
    pub allowance: Option<Bytes>,
    /// Parts of the host that functions see.
    pub sees: HostVisibility,
    /// Reason why meters of the started process miss a part: what runs outside of it.
    pub outside: Option<String>,
    /// Files whose size counts beside the program and its libraries.
    pub footprint: Vec<PathBuf>,
    /// Files and devices that must exist.
    pub needs: Vec<RequiredFile>,
    /// Ahead-of-time compilation, if this lane uses one.
    pub compile: Option<CompileStep>,
    /// Command line of an invocation.
    pub cold: CommandLine,
    /// Command line of a worker that stays, if there is one.
    pub warm: Option<CommandLine>,
    /// Command line that removes the remains of an invocation that was cut off.
    pub cleanup: Option<CommandLine>,
    /// Signs of a trap, where it can be distinguished from an exit status.
    pub trap: Option<TrapSigns>,
    /// Text on standard error by which it refuses the function's exit code: the status is then the
    /// runtime's own.
    pub refused_exit: Option<String>,
    /// Failures that are known.
    pub known_failures: Vec<KnownFailure>,
}

/// Search for a runtime's program, and the request for its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeProgram {
    /// Names to look for on `PATH`, or absolute paths; the first that exists is used.
    pub names: Vec<String>,
    /// Arguments that make it print its version.
    pub version_args: CommandLine,
    /// Text before the version in that output.
    pub version_after: String,
    /// Oldest version that is known to work.
    pub least: Option<String>,
}

/// A file that comes with a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileScript {
    /// Name of the file.
    pub name: String,
    /// Content of the file.
    pub content: Arc<[u8]>,
}

/// Parts of the host that functions see, beyond what they are given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostVisibility {
    /// Whether functions see files of the host.
    pub files: bool,
    /// Variables that the runtime itself puts in a function's environment.
    pub environment: Vec<String>,
}

/// A file or device that must exist for the lane to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredFile {
    /// Placeholder in command lines.
    pub name: String,
    /// Description for users.
    pub what: String,
    /// Usual path, unless the environment says otherwise; `None`: only the environment says.
    pub path: Option<PathBuf>,
    /// Advice where it is missing.
    pub install: String,
}

/// An ahead-of-time compilation: a phase of its own, done once per module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileStep {
    /// Names of the compiler, if it is another program.
    pub names: Option<Vec<String>>,
    /// Command line of the compiler.
    pub args: CommandLine,
    /// Extension of the file that it writes.
    pub extension: String,
    /// Longest time that it may take.
    pub timeout: Nanos,
}

/// Signs by which a trap is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrapSigns {
    /// Exit status of the runtime, or 128 plus its signal; `None`: any.
    pub status: Option<i32>,
    /// Text that it then writes to standard error, where the status alone could be the function's
    /// own; `None`: anything.
    pub stderr: Option<String>,
}

/// A failure that is known, and why it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFailure {
    /// Workload in which it occurs; `None`: any.
    pub workload: Option<String>,
    /// Text that the failure's reason contains; `None`: any failure.
    pub contains: Option<String>,
    /// Explanation for users.
    pub reason: String,
}

impl Profile {
    /// Returns the name of the file: that of the lane without its variant.
    #[must_use]
    pub(crate) fn base_name(&self) -> &str {
        self.name.split_once(':').map_or(&*self.name, |(base, _)| base)
    }

    /// Returns the environment variable that names the program.
    #[must_use]
    pub(crate) fn program_variable(&self) -> String {
        variable_name("CYCLOMETER_RUNTIME", self.base_name())
    }

    /// Returns the environment variable that names a needed file.
    #[must_use]
    pub(crate) fn need_variable(&self, need: &RequiredFile) -> String {
        variable_name(&self.program_variable(), &need.name)
    }

    /// Finds the known failure that matches a failure of `workload` with that reason.
    #[must_use]
    pub(crate) fn find_known_failure(&self, workload: &str, reason: &str) -> Option<&KnownFailure> {
        self.known_failures.iter().find(|known| {
            known.workload.as_deref().is_none_or(|name| name == workload)
                && known.contains.as_deref().is_none_or(|text| reason.contains(text))
        })
    }
}

fn variable_name(start: &str, name: &str) -> String {
    let name = name.chars().map(|c| match c {
        c if c.is_ascii_alphanumeric() => c.to_ascii_uppercase(),
        _ => '_',
    });
    format!("{start}_{}", name.collect::<String>())
}

#[cfg(test)]
mod tests;
