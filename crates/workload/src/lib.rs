//! Functions to run: manifest, inputs, expected outputs, and the catalog of
//! those that come with the program and those that a user brings.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod build;
mod catalog;
mod control;
mod event;
mod input;
mod job;
mod limits;
mod manifest;
pub mod metering;

pub use catalog::{Catalog, CatalogError};
pub use control::Control;
pub use cyclometer_core::invocation::{Cancel, Sample, StartKind, Status, Watch, now};
pub use event::{Event, MOST_RUNS, SamplerReport, Sink, SinkError, Width};
pub use input::{Input, InputError, memory_file};
pub use job::{FootprintPart, Job, Outcome, PartKind, Prepared};
pub use limits::{
    Limits, MEMORY, OUTPUT, TIMEOUT, parse_memory_limit, parse_output_limit, parse_time_limit,
    within,
};
pub use manifest::{MAX_MANIFEST, Manifest, ManifestError};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use cyclometer_system::files::{Bound, FileProblem, Folder, Links, RegularFile};

/// Bound of a module or a program of a user's.
pub(crate) const PROGRAM: Bound = Bound::new("a program", 256 << 20);

/// A function to run, with all that is needed to run and check it.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The folder's name.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// What it stresses.
    pub stresses: String,
    /// The C source, relative to the folder.
    pub source: Option<String>,
    /// The WebAssembly module; `None`: no Wasm lane can run it.
    pub wasm: Option<Arc<[u8]>>,
    /// The native program; `None`: no native or container lane can run it.
    pub native: Option<Native>,
    /// Named argument sets.
    pub presets: BTreeMap<String, Preset>,
    /// The folder on disk, for a user's own workload.
    pub folder: Option<PathBuf>,
}

/// A native program.
#[derive(Debug, Clone)]
pub enum Native {
    /// Carried inside this program.
    Embedded(&'static [u8]),
    /// A file of the user's.
    File(NativeFile),
}

/// A native program in a folder of the user's. It is opened when it is needed,
/// below the folder that was opened when the workload was loaded; what is then
/// found to be a regular file is what is run.
#[derive(Debug, Clone)]
pub struct NativeFile {
    root: Arc<Folder>,
    inside: PathBuf,
    name: PathBuf,
}

impl NativeFile {
    /// Finds the program.
    ///
    /// # Errors
    /// When there is none, it is no regular file, or a link leads out of the
    /// workload's folder.
    pub fn find(&self) -> Result<RegularFile, FileProblem> {
        self.root.open_folder(&self.inside)?.find_regular(&self.name)
    }

    /// Returns its name, for messages.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.root.path().join(&self.inside).join(&self.name)
    }
}

impl Native {
    /// Finds a user's program by its path.
    ///
    /// # Errors
    /// When there is none, or it is no regular file.
    pub fn find(path: &Path) -> Result<Self, FileProblem> {
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let root = Arc::new(Folder::open(folder.unwrap_or(Path::new(".")), Links::Anywhere)?);
        let name = PathBuf::from(path.file_name().unwrap_or_default());
        let file = NativeFile { root, inside: PathBuf::new(), name };
        file.find()?;
        Ok(Self::File(file))
    }

    /// The program's bytes.
    ///
    /// # Errors
    /// When the user's file cannot be read, or is larger than 256 MiB.
    pub fn bytes(&self) -> std::io::Result<std::borrow::Cow<'static, [u8]>> {
        match self {
            Self::Embedded(bytes) => Ok((*bytes).into()),
            Self::File(file) => Ok(file.find()?.read(PROGRAM)?.into()),
        }
    }
}

/// Arguments, input, expected output and limits of one run.
#[derive(Debug, Clone)]
pub struct Preset {
    /// The preset's name.
    pub name: String,
    /// Arguments without the program's name.
    pub args: Vec<String>,
    /// What is given on standard input.
    pub stdin: Input,
    /// What standard output must be; `None`: only the exit status is checked.
    pub expected: Option<OutputDigest>,
    /// Limits of memory, time and output.
    pub limits: Limits,
}

/// Length and SHA-256 of an output, which two lanes are compared by; and how it
/// begins, for people.
#[derive(Debug, Clone, Copy)]
pub struct OutputDigest {
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 of the content.
    pub sha256: [u8; 32],
    /// The first bytes, as many as there are and fit; `None` where nobody kept
    /// them.
    head: Option<[u8; Self::HEAD]>,
}

impl OutputDigest {
    /// Bytes of an output that are kept; outputs up to this length are shown
    /// whole.
    pub const HEAD: usize = 64;

    /// Bytes that are shown of an output that is longer.
    const GLIMPSE: usize = 24;

    /// A digest that was made elsewhere, of an output that nobody has.
    #[must_use]
    pub const fn new(bytes: u64, sha256: [u8; 32]) -> Self {
        Self { bytes, sha256, head: None }
    }

    /// Computes the digest of `content`.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self::new(content.len() as u64, Sha256::digest(content).into()).beginning(content)
    }

    /// Keeps how the output begins; `head` has all of a short one.
    #[must_use]
    pub fn beginning(mut self, head: &[u8]) -> Self {
        let mut kept = [0; Self::HEAD];
        for (kept, byte) in kept.iter_mut().zip(head) {
            *kept = *byte;
        }
        self.head = Some(kept);
        self
    }

    /// Returns how the output begins, if that was kept.
    #[must_use]
    pub fn head(&self) -> Option<&[u8]> {
        let length = usize::try_from(self.bytes).unwrap_or(usize::MAX).min(Self::HEAD);
        self.head.as_ref().and_then(|head| head.get(..length))
    }
}

impl PartialEq for OutputDigest {
    /// Compares the contents; how much of them was kept is no part of it.
    fn eq(&self, other: &Self) -> bool {
        (self.bytes, self.sha256) == (other.bytes, other.sha256)
    }
}

impl Eq for OutputDigest {}

impl std::fmt::Display for OutputDigest {
    /// A short output itself, in quotes and without what a terminal would obey;
    /// of a longer one the beginning, the length and the digest.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digest = &hex(&self.sha256)[..12];
        match self.head() {
            Some(head) if head.len() as u64 == self.bytes => f.write_str(&quoted(head)),
            Some(head) => {
                let glimpse = quoted(head.get(..Self::GLIMPSE).unwrap_or(head));
                write!(f, "{glimpse}... ({} bytes, sha256 {digest})", self.bytes)
            }
            None => write!(f, "{} bytes, sha256 {digest}", self.bytes),
        }
    }
}

/// Quotes bytes as a string literal; what is neither printable nor UTF-8 is
/// escaped.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        text.extend(chunk.valid().chars().flat_map(char::escape_debug));
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text.push('"');
    text
}

/// Lower-case hexadecimal.
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
    fn short_outputs_are_shown_and_long_ones_begin_to_be() {
        assert_eq!(OutputDigest::of(b"42\n").to_string(), r#""42\n""#);
        assert_eq!(OutputDigest::of(b"").to_string(), r#""""#);
        // Neither colours nor bells reach a terminal, and text stays text.
        let hostile = OutputDigest::of("\u{1b}[31m\u{7}\"\\ Z\u{fc}rich \u{202e}".as_bytes());
        assert_eq!(hostile.to_string(), "\"\\u{1b}[31m\\u{7}\\\"\\\\ Z\u{fc}rich \\u{202e}\"");
        assert_eq!(OutputDigest::of(b"a\xff\x00").to_string(), r#""a\xff\0""#);
        let whole = OutputDigest::of(&[b'x'; OutputDigest::HEAD]).to_string();
        assert_eq!(whole, format!("\"{}\"", "x".repeat(64)));
        let long = OutputDigest::of(&[b'x'; 65]).to_string();
        let begins = format!("\"{}\"... (65 bytes, sha256 ", "x".repeat(24));
        assert!(long.starts_with(&begins) && long.ends_with(')'), "{long}");
        // A digest of a manifest says what it is.
        let bare = OutputDigest::new(3, OutputDigest::of(b"42\n").sha256);
        assert!(bare.to_string().starts_with("3 bytes, sha256 "), "{bare}");
        assert_eq!(bare, OutputDigest::of(b"42\n"));
    }

    #[test]
    fn digests_are_sha256() {
        // The digest of the empty message, from FIPS 180-4's examples.
        assert_eq!(
            hex(&OutputDigest::of(b"").sha256),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
