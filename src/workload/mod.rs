//! Functions to run: manifest, inputs, expected outputs, and the catalog of
//! those that come with the program and those that a user brings.

pub mod build;
mod catalog;
mod input;
mod manifest;

pub use catalog::{Catalog, CatalogError};
pub use input::{Input, InputError, memory_file};
pub use manifest::{Limits, ManifestError};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};

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
    File(PathBuf),
}

impl Native {
    /// The program's bytes.
    ///
    /// # Errors
    /// When the user's file cannot be read.
    pub fn bytes(&self) -> std::io::Result<std::borrow::Cow<'static, [u8]>> {
        match self {
            Self::Embedded(bytes) => Ok((*bytes).into()),
            Self::File(path) => std::fs::read(path).map(Into::into),
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

/// Length and SHA-256 of an output: what two lanes are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OutputDigest {
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 of the content.
    pub sha256: [u8; 32],
}

impl OutputDigest {
    /// The digest of `content`.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self { bytes: content.len() as u64, sha256: Sha256::digest(content).into() }
    }
}

impl std::fmt::Display for OutputDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, sha256 {}", self.bytes, &hex(&self.sha256)[..12])
    }
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
    fn digests_are_sha256() {
        // The digest of the empty message, from FIPS 180-4's examples.
        assert_eq!(
            hex(&OutputDigest::of(b"").sha256),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
