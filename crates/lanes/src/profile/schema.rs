//! The TOML form of a profile, as written: shapes and spans. [`super::resolve`] checks what the
//! values mean together.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::{AcceptedForm, MemoryEnforcement};

/// A text with its position.
pub(super) type Text = Spanned<String>;

/// A list of texts with its position and theirs.
pub(super) type Texts = Spanned<Vec<Text>>;

/// A whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileFile {
    pub title: Text,
    pub homepage: Option<Text>,
    pub note: Option<Text>,
    pub takes: AcceptedForm,
    pub install: Text,
    pub program: ProgramFile,
    #[serde(default)]
    pub environment: BTreeMap<Text, Text>,
    pub script: Option<Text>,
    pub config: Option<Text>,
    pub memory: Spanned<MemoryEnforcement>,
    pub allowance: Option<Text>,
    #[serde(default)]
    pub sees: SeesFile,
    pub outside: Option<Text>,
    #[serde(default)]
    pub footprint: FootprintFile,
    #[serde(default)]
    pub need: Vec<NeedFile>,
    pub compile: Option<CompileFile>,
    pub cold: CommandFile,
    pub warm: Option<CommandFile>,
    pub cleanup: Option<CommandFile>,
    pub trap: Option<Spanned<TrapFile>>,
    pub refused_exit: Option<Text>,
    #[serde(default)]
    pub known_failure: Vec<KnownFailureFile>,
    #[serde(default)]
    pub variant: BTreeMap<Text, ProfileVariantFile>,
}

/// Search for the program, and the request for its version.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProgramFile {
    pub names: Texts,
    pub version: Texts,
    pub after: Text,
    pub least: Option<Text>,
}

/// Parts of the host that the function sees.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SeesFile {
    #[serde(default)]
    pub files: bool,
    #[serde(default)]
    pub environment: Vec<Text>,
}

/// Files whose size counts beside the program and its libraries.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FootprintFile {
    #[serde(default)]
    pub files: Vec<Text>,
}

/// A file or device that must exist.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NeedFile {
    pub name: Text,
    pub what: Text,
    pub path: Option<Text>,
    pub install: Text,
}

/// The step that compiles ahead of time.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CompileFile {
    pub names: Option<Texts>,
    pub args: Texts,
    pub extension: Option<Text>,
    pub timeout: Option<Text>,
}

/// One command line.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommandFile {
    pub args: Texts,
}

/// Signs of a trap or crash.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrapFile {
    pub status: Option<Spanned<i64>>,
    pub stderr: Option<Text>,
}

/// A failure that is known, and why it happens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KnownFailureFile {
    pub workload: Option<Text>,
    pub contains: Option<Text>,
    pub reason: Text,
}

/// A variant of the runtime with other settings: a lane of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileVariantFile {
    pub note: Option<Text>,
    pub install: Option<Text>,
    pub memory: Option<Spanned<MemoryEnforcement>>,
    pub compile: Option<CompileFile>,
    pub cold: Option<CommandFile>,
    pub warm: Option<CommandFile>,
    #[serde(default)]
    pub known_failure: Vec<KnownFailureFile>,
}
