//! Workloads: functions to run, with manifest, inputs, expected outputs and limits; the
//! catalog of built-in and user-supplied workloads; and the jobs, outcomes and events of
//! recordings.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod build;
mod catalog;
mod control;
mod event;
pub mod function_line;
mod function_settings;
mod input;
mod job;
mod limits;
mod line_completion;
mod manifest;
pub mod metering;
pub mod own_function;
pub mod preset_values;
mod recording_header;
pub mod wasm_call;
pub mod wasm_form;

pub use catalog::{Catalog, WorkloadError, find_common_preset};
pub use control::Control;
pub use cyclometer_core::invocation::{
    Cancel, ProbeSampler, Sample, StartKind, Status, monotonic_now,
};
pub use event::{Event, MAX_RUNS, MedianPrecision, SamplerReport, Sink, SinkError};
pub use function_settings::{
    CpuByMemory, CpuShare, CpuShareRule, EnvironmentVariable, SandboxRules, SharedFolder,
};
pub use input::{FunctionInput, InputError, memory_file};
pub use job::{FootprintPart, Job, Outcome, PartKind, Prepared};
pub use limits::{
    Limits, MEMORY, OUTPUT, TIMEOUT, check_range, parse_memory_limit, parse_output_limit,
    parse_time_limit,
};
pub use line_completion::{LineCompletion, complete_function_line};
pub use manifest::{MAX_MANIFEST, Manifest, ManifestError};
pub use recording_header::RecordingHeader;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use cyclometer_core::units::Bytes;
use cyclometer_system::files::{Bound, FileError, Folder, LinkPolicy, RegularFile};

/// Size limit of a user's module or program.
pub(crate) const PROGRAM: Bound = Bound::new("a program", 256 << 20);

/// Function to run, with all that is needed to run and check it.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Name of the workload, which is that of its folder.
    pub name: String,
    /// Title in one line, for users.
    pub title: String,
    /// Resources that the function stresses.
    pub stresses: String,
    /// The C source, relative to the folder.
    pub source: Option<String>,
    /// The WebAssembly module; `None`: no Wasm lane can run it.
    pub wasm: Option<Arc<[u8]>>,
    /// The native program; `None`: no native or container lane can run it.
    pub native: Option<NativeProgram>,
    /// The container image, by the name that an engine knows it by; `None`: container lanes run
    /// the native program.
    pub image: Option<String>,
    /// Named argument sets.
    pub presets: BTreeMap<String, Preset>,
    /// The folder on disk, for a user's own workload.
    pub folder: Option<PathBuf>,
}

impl Workload {
    /// Creates a workload of that name, with nothing that could be run.
    #[must_use]
    pub fn without_forms(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            title: String::new(),
            stresses: String::new(),
            source: None,
            wasm: None,
            native: None,
            image: None,
            presets: BTreeMap::new(),
            folder: None,
        }
    }

    /// Returns whether it is built into this program.
    #[must_use]
    pub const fn is_builtin(&self) -> bool {
        matches!(self.native, Some(NativeProgram::Embedded(_)))
    }

    /// Returns argument 0 of its native program: the name by which the user called it, or that of
    /// the workload.
    #[must_use]
    pub fn argument_zero(&self) -> &str {
        match &self.native {
            Some(NativeProgram::File(NativeFile { argument_zero: Some(text), .. })) => text,
            _ => self.function_name(),
        }
    }

    /// Returns its name without the size of [`Self::at_memory_size`]: that of the function, by
    /// which it is called and known.
    #[must_use]
    pub fn function_name(&self) -> &str {
        strip_size(&self.name)
    }

    /// Returns the same function with that much memory in all of its presets, under a name that
    /// says so: `nbody@256MiB`. It is called by its own name all the same.
    #[must_use]
    pub fn at_memory_size(&self, memory: Bytes) -> Self {
        const MIB: u64 = 1 << 20;
        let size = match memory.0 {
            whole if whole % MIB == 0 => format!("{}MiB", whole / MIB),
            bytes => format!("{bytes}B"),
        };
        let mut sized = Self { name: format!("{}@{size}", self.name), ..self.clone() };
        for preset in sized.presets.values_mut() {
            preset.limits.memory = memory;
        }
        sized
    }
}

/// Returns the name of a function without the size of [`Workload::at_memory_size`].
fn strip_size(name: &str) -> &str {
    let is_size = |text: &str| {
        let digits = text.strip_suffix("MiB").or_else(|| text.strip_suffix('B'));
        digits.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match name.rsplit_once('@') {
        Some((function, size)) if !function.is_empty() && is_size(size) => function,
        _ => name,
    }
}

/// Native program of a workload.
#[derive(Debug, Clone)]
pub enum NativeProgram {
    /// Embedded in this program.
    Embedded(&'static [u8]),
    /// File of the user.
    File(NativeFile),
}

/// Native program in a user's folder. It is opened when it is needed, below the folder that
/// was opened when the workload was loaded; the file that is then checked to be regular is
/// the one that is run.
#[derive(Debug, Clone)]
pub struct NativeFile {
    root: Arc<Folder>,
    inside: PathBuf,
    name: PathBuf,
    /// Argument 0, where it is not the workload's name.
    argument_zero: Option<String>,
    /// Folder in which it starts, unless its preset says otherwise; `None`: `/`.
    start_folder: Option<PathBuf>,
}

impl NativeFile {
    /// Finds the file of the program.
    ///
    /// # Errors
    /// Returns an error when the program is missing or no regular file, or a link leads out
    /// of the workload's folder.
    pub fn find_file(&self) -> Result<RegularFile, FileError> {
        self.root.open_folder(&self.inside)?.find_regular(&self.name)
    }

    /// Returns the path of the program, for messages.
    #[must_use]
    pub fn full_path(&self) -> PathBuf {
        self.root.path().join(&self.inside).join(&self.name)
    }
}

impl NativeProgram {
    /// Finds a user's program by its path.
    ///
    /// # Errors
    /// Returns an error when there is none, or it is no regular file.
    pub fn from_path(path: &Path) -> Result<Self, FileError> {
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let root = Arc::new(Folder::open(folder.unwrap_or(Path::new(".")), LinkPolicy::Anywhere)?);
        let name = PathBuf::from(path.file_name().unwrap_or_default());
        let file = NativeFile {
            root,
            inside: PathBuf::new(),
            name,
            argument_zero: None,
            start_folder: None,
        };
        file.find_file()?;
        Ok(Self::File(file))
    }

    /// Sets argument 0 of a user's program, and the folder in which it starts.
    #[must_use]
    pub fn with_command_line(mut self, zero: &str, start_folder: Option<PathBuf>) -> Self {
        if let Self::File(file) = &mut self {
            (file.argument_zero, file.start_folder) = (Some(zero.to_owned()), start_folder);
        }
        self
    }

    /// Returns the folder in which it starts on this machine, unless its preset says otherwise.
    #[must_use]
    pub fn start_folder(&self) -> &Path {
        match self {
            Self::File(NativeFile { start_folder: Some(folder), .. }) => folder,
            _ => Path::new("/"),
        }
    }

    /// Returns the variables that it is given beside those of its preset: a user's program finds
    /// others by the `PATH` of this process.
    #[must_use]
    pub fn inherited_variables(&self) -> Vec<EnvironmentVariable> {
        let path = std::env::var("PATH").ok().filter(|_| matches!(self, Self::File(_)));
        path.map(|value| EnvironmentVariable { name: "PATH".to_owned(), value })
            .into_iter()
            .collect()
    }

    /// Returns the bytes of the program.
    ///
    /// # Errors
    /// Returns an error when the user's file cannot be read, or is larger than 256 MiB.
    pub fn read_bytes(&self) -> std::io::Result<std::borrow::Cow<'static, [u8]>> {
        match self {
            Self::Embedded(bytes) => Ok((*bytes).into()),
            Self::File(file) => Ok(file.find_file()?.read_content(PROGRAM)?.into()),
        }
    }
}

/// Arguments, input, expected output and limits of one run.
#[derive(Debug, Clone)]
pub struct Preset {
    /// Name of the preset.
    pub name: String,
    /// Arguments without the program's name.
    pub args: Vec<String>,
    /// Content of standard input.
    pub stdin: FunctionInput,
    /// Digest of the expected standard output; `None` if only the exit status is checked.
    pub expected: Option<OutputDigest>,
    /// Limits of memory, time and output.
    pub limits: Limits,
    /// Environment of the function, beside that of its image.
    pub env: Vec<EnvironmentVariable>,
    /// Folders of this machine that it sees.
    pub dirs: Vec<SharedFolder>,
    /// Absolute path of the folder in which it starts; `None`: the image's, or `/`.
    pub workdir: Option<String>,
    /// Name of the export to call, with the arguments as its parameters; `None`: the command's
    /// own entry.
    pub invoke: Option<String>,
    /// Exit code of a success.
    pub expected_exit: i32,
}

impl Preset {
    /// Creates a preset without arguments and input, with default limits.
    #[must_use]
    pub fn with_defaults(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            args: Vec::new(),
            stdin: FunctionInput::default(),
            expected: None,
            limits: Limits::default(),
            env: Vec::new(),
            dirs: Vec::new(),
            workdir: None,
            invoke: None,
            expected_exit: 0,
        }
    }
}

/// Length and SHA-256 of an output, by which lanes are compared, and the first bytes of it,
/// for display.
#[derive(Debug, Clone, Copy)]
pub struct OutputDigest {
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 of the content.
    pub sha256: [u8; 32],
    /// First bytes, as many as there are and fit; `None` if they were not kept.
    head: Option<[u8; Self::HEAD]>,
}

impl OutputDigest {
    /// Number of bytes of an output that are kept; outputs up to this length are shown
    /// whole.
    pub const HEAD: usize = 64;

    /// Number of bytes that are shown of a longer output.
    const GLIMPSE: usize = 24;

    /// Creates a digest that was computed elsewhere, of an output that is not available.
    #[must_use]
    pub const fn new(bytes: u64, sha256: [u8; 32]) -> Self {
        Self { bytes, sha256, head: None }
    }

    /// Computes the digest of `content`.
    #[must_use]
    pub fn from_content(content: &[u8]) -> Self {
        Self::new(content.len() as u64, Sha256::digest(content).into()).with_head(content)
    }

    /// Adds the first bytes of the output; `head` must hold a short output completely.
    #[must_use]
    pub fn with_head(mut self, head: &[u8]) -> Self {
        let mut kept = [0; Self::HEAD];
        for (kept, byte) in kept.iter_mut().zip(head) {
            *kept = *byte;
        }
        self.head = Some(kept);
        self
    }

    /// Returns the first bytes of the output, if they were kept.
    #[must_use]
    pub fn head(&self) -> Option<&[u8]> {
        let length = usize::try_from(self.bytes).unwrap_or(usize::MAX).min(Self::HEAD);
        self.head.as_ref().and_then(|head| head.get(..length))
    }
}

impl PartialEq for OutputDigest {
    /// Compares the contents only, not how much of them was kept.
    fn eq(&self, other: &Self) -> bool {
        (self.bytes, self.sha256) == (other.bytes, other.sha256)
    }
}

impl Eq for OutputDigest {}

impl std::fmt::Display for OutputDigest {
    /// Writes a short output itself, quoted and with control characters escaped, or the
    /// beginning, the length and the digest of a longer one.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digest = &hex(&self.sha256)[..12];
        match self.head() {
            Some(head) if head.len() as u64 == self.bytes => f.write_str(&quote_bytes(head)),
            Some(head) => {
                let glimpse = quote_bytes(head.get(..Self::GLIMPSE).unwrap_or(head));
                write!(f, "{glimpse}... ({} bytes, sha256 {digest})", self.bytes)
            }
            None => write!(f, "{} bytes, sha256 {digest}", self.bytes),
        }
    }
}

/// Quotes bytes as a string literal; unprintable characters and invalid UTF-8 are escaped.
fn quote_bytes(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        text.extend(chunk.valid().chars().flat_map(char::escape_debug));
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text.push('"');
    text
}

/// Formats bytes in lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_changes_the_name_and_the_limit_and_not_how_a_function_is_called() {
        let presets = ["quick", "big"].map(|name| (name.to_owned(), Preset::with_defaults(name)));
        let function = Workload { presets: presets.into(), ..Workload::without_forms("a@b") };
        let sized = function.at_memory_size(Bytes(1_769 << 20));
        assert_eq!((sized.name.as_str(), sized.argument_zero()), ("a@b@1769MiB", "a@b"));
        assert!(sized.presets.values().all(|it| it.limits.memory == Bytes(1_769 << 20)));
        let odd = function.at_memory_size(Bytes(7_000_000));
        assert_eq!((odd.name.as_str(), odd.argument_zero()), ("a@b@7000000B", "a@b"));
        assert_eq!(Workload::without_forms("@1MiB").argument_zero(), "@1MiB");
        assert_eq!(Workload::without_forms("fn@MiB").argument_zero(), "fn@MiB");
    }

    #[test]
    fn short_outputs_are_shown_and_long_ones_begin_to_be() {
        assert_eq!(OutputDigest::from_content(b"42\n").to_string(), r#""42\n""#);
        assert_eq!(OutputDigest::from_content(b"").to_string(), r#""""#);
        // Neither colours nor bells reach a terminal, and text stays text.
        let hostile =
            OutputDigest::from_content("\u{1b}[31m\u{7}\"\\ Z\u{fc}rich \u{202e}".as_bytes());
        assert_eq!(hostile.to_string(), "\"\\u{1b}[31m\\u{7}\\\"\\\\ Z\u{fc}rich \\u{202e}\"");
        assert_eq!(OutputDigest::from_content(b"a\xff\x00").to_string(), r#""a\xff\0""#);
        let whole = OutputDigest::from_content(&[b'x'; OutputDigest::HEAD]).to_string();
        assert_eq!(whole, format!("\"{}\"", "x".repeat(64)));
        let long = OutputDigest::from_content(&[b'x'; 65]).to_string();
        let begins = format!("\"{}\"... (65 bytes, sha256 ", "x".repeat(24));
        assert!(long.starts_with(&begins) && long.ends_with(')'), "{long}");
        // A digest from a manifest shows only length and digest.
        let bare = OutputDigest::new(3, OutputDigest::from_content(b"42\n").sha256);
        assert!(bare.to_string().starts_with("3 bytes, sha256 "), "{bare}");
        assert_eq!(bare, OutputDigest::from_content(b"42\n"));
    }

    #[test]
    fn digests_are_sha256() {
        // The digest of the empty message, from FIPS 180-4's examples.
        assert_eq!(
            hex(&OutputDigest::from_content(b"").sha256),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
