//! Runtimes that are a command line each: `runtimes/*.toml`.
//!
//! A profile says how a runtime is found and asked for its version, what it
//! takes (a WebAssembly module, a plain program, an OCI bundle, a machine's
//! image), how it compiles ahead of time, its command lines, how it limits
//! memory, and what is known to go wrong. It holds no code and no shell's line:
//! programs, and lists of arguments with placeholders. [`crate::command`]
//! runs what it says.
//!
//! A file may hold variants: the same runtime with other settings. Each is a
//! lane of its own, `NAME:VARIANT`, and a [`Profile`] of its own here.

mod catalog;
mod error;
pub(crate) mod resolve;
mod schema;
pub mod template;
mod trust;

pub use catalog::{ProfileCatalog, catalog, install, load};
pub use error::{MAX_PROFILE_BYTES, ProfileError};
pub use resolve::{ReadScript, parse};
pub use trust::check_trust;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use cyclometer_core::units::{Bytes, Nanos};
use template::CommandLine;

/// What a runtime is given to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Takes {
    /// A WebAssembly module that speaks WASI preview 1.
    Module,
    /// The native program.
    Program,
    /// A folder with `config.json` and `rootfs/`, after the OCI runtime
    /// specification.
    Bundle,
    /// An archive with the native program that a Linux kernel unpacks.
    Machine,
}

impl Takes {
    /// The word in the file.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Program => "program",
            Self::Bundle => "bundle",
            Self::Machine => "machine",
        }
    }

    /// The placeholders that its command lines may use, those of files that
    /// the profile needs left out.
    const fn placeholders(self) -> &'static [&'static str] {
        match self {
            Self::Module => &["module", "artifact"],
            Self::Program => &["file"],
            Self::Bundle => &["bundle", "id", "state", "crash_log"],
            Self::Machine => &["initramfs"],
        }
    }
}

/// Who holds a function to its memory limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemoryLimit {
    /// An option of the runtime, among the arguments.
    Option,
    /// The kernel, by a limit on the whole process, the runtime included.
    Process,
    /// The container's control group, or the machine's size.
    Sandbox,
    /// Nobody.
    None,
}

impl MemoryLimit {
    /// For the description of the lane.
    #[must_use]
    pub const fn about(self) -> &'static str {
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
    /// The lane's name: the file's, and after a colon the variant's.
    pub name: String,
    /// The file, for messages.
    pub origin: String,
    /// The runtime's name for people.
    pub title: String,
    /// Where it is at home.
    pub homepage: Option<String>,
    /// What else a reader of its figures must know.
    pub note: Option<String>,
    /// What it runs.
    pub takes: Takes,
    /// What to do where it is not installed.
    pub install: String,
    /// How its program is found.
    pub program: Program,
    /// Its environment: nothing else is in it.
    pub environment: Vec<(String, String)>,
    /// A file that comes with the profile, such as a script for an engine.
    pub script: Option<Script>,
    /// A file that is written for each cell, such as a machine's settings.
    pub config: Option<CommandLine>,
    /// Who holds functions to their memory limit.
    pub memory: MemoryLimit,
    /// What the runtime needs beside the function's memory, where it limits that
    /// itself or not at all.
    pub allowance: Option<Bytes>,
    /// What functions see of the host.
    pub sees: Sees,
    /// Why meters of the started process miss a part: what runs outside of it.
    pub outside: Option<String>,
    /// Files whose size counts beside the program and its libraries.
    pub footprint: Vec<PathBuf>,
    /// Files and devices that must be there.
    pub needs: Vec<Need>,
    /// Its ahead-of-time compilation, if this lane uses one.
    pub compile: Option<Compile>,
    /// The command line of an invocation.
    pub cold: CommandLine,
    /// The command line of a worker that stays, if there is one.
    pub warm: Option<CommandLine>,
    /// What removes the rest of an invocation that was cut off.
    pub cleanup: Option<CommandLine>,
    /// How a trap shows, where it can be told from an exit status.
    pub trap: Option<Trap>,
    /// What it writes to standard error when it refuses the function's exit
    /// code: the status is then the runtime's own.
    pub refused_exit: Option<String>,
    /// What is known to go wrong.
    pub known_failures: Vec<KnownFailure>,
}

/// How a runtime's program is found and asked for its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Names looked for on `PATH`, or absolute paths; the first that is there.
    pub names: Vec<String>,
    /// Arguments that make it tell its version.
    pub version_args: CommandLine,
    /// The text before the version in what it then writes.
    pub version_after: String,
    /// The oldest version that is known to work.
    pub least: Option<String>,
}

/// A file that comes with a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Its name.
    pub name: String,
    /// Its content.
    pub content: Arc<[u8]>,
}

/// What functions see of the host, beyond what they are given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sees {
    /// Files of the host.
    pub files: bool,
    /// Variables that the runtime itself puts in a function's environment.
    pub environment: Vec<String>,
}

/// A file or device that must be there for the lane to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Its placeholder in command lines.
    pub name: String,
    /// What it is, for people.
    pub what: String,
    /// Where it is, unless the environment says otherwise; `None`: only the
    /// environment says.
    pub path: Option<PathBuf>,
    /// What to do where it is missing.
    pub install: String,
}

/// An ahead-of-time compilation: a phase of its own, done once per module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compile {
    /// The compiler's names, if it is another program.
    pub names: Option<Vec<String>>,
    /// Its command line.
    pub args: CommandLine,
    /// Ending of the file it writes.
    pub extension: String,
    /// Most time it may take.
    pub timeout: Nanos,
}

/// How a trap shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trap {
    /// The runtime's exit status, or 128 and its signal; `None`: any.
    pub status: Option<i32>,
    /// What it then writes to standard error, where the status alone could be
    /// the function's own; `None`: anything.
    pub stderr: Option<String>,
}

/// What is known to go wrong, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFailure {
    /// In which workload; `None`: any.
    pub workload: Option<String>,
    /// What the failure's reason contains; `None`: any failure.
    pub contains: Option<String>,
    /// Why, for people.
    pub reason: String,
}

impl Profile {
    /// The file's name: that of the lane without its variant.
    #[must_use]
    pub fn base(&self) -> &str {
        self.name.split_once(':').map_or(&*self.name, |(base, _)| base)
    }

    /// The environment variable that names the program.
    #[must_use]
    pub fn variable(&self) -> String {
        variable("CYCLOMETER_RUNTIME", self.base())
    }

    /// The environment variable that names a needed file.
    #[must_use]
    pub fn need_variable(&self, need: &Need) -> String {
        variable(&self.variable(), &need.name)
    }

    /// What is known of a failure of `workload` with that reason.
    #[must_use]
    pub fn known(&self, workload: &str, reason: &str) -> Option<&KnownFailure> {
        self.known_failures.iter().find(|known| {
            known.workload.as_deref().is_none_or(|name| name == workload)
                && known.contains.as_deref().is_none_or(|text| reason.contains(text))
        })
    }
}

fn variable(start: &str, name: &str) -> String {
    let name = name.chars().map(|c| match c {
        c if c.is_ascii_alphanumeric() => c.to_ascii_uppercase(),
        _ => '_',
    });
    format!("{start}_{}", name.collect::<String>())
}

#[cfg(test)]
mod tests;
