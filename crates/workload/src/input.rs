//! Standard input of a function.

use std::fs::File;
use std::io::{Seek, Write};
use std::sync::{Arc, OnceLock};

use cyclometer_system::sys::explain_file_size_limit;
use nix::sys::memfd::{MFdFlags, memfd_create};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Largest input in bytes.
pub(crate) const MAX_INPUT: u64 = 1 << 30;

/// Content that a function reads from standard input. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct FunctionInput {
    recipe: InputRecipe,
    content: Arc<OnceLock<Arc<[u8]>>>,
}

#[derive(Debug, Clone, Default)]
enum InputRecipe {
    #[default]
    Empty,
    Given(Arc<[u8]>),
    Counter(u64),
}

/// Error of preparing an input.
#[derive(Debug, Error)]
#[error("cannot prepare the function's standard input: {0}")]
pub struct InputError(#[from] std::io::Error);

impl FunctionInput {
    /// Creates an input of exactly these bytes.
    #[must_use]
    pub fn from_bytes(content: impl Into<Arc<[u8]>>) -> Self {
        Self { recipe: InputRecipe::Given(content.into()), content: Arc::default() }
    }

    /// Creates an input of consecutive 64-bit little-endian integers from 0, cut after
    /// `bytes`.
    #[must_use]
    pub fn from_counter(bytes: u64) -> Self {
        Self { recipe: InputRecipe::Counter(bytes.min(MAX_INPUT)), content: Arc::default() }
    }

    /// Returns an identifier of the content: `none`, `counter`, or the SHA-256 of given
    /// bytes.
    #[must_use]
    pub fn content_identity(&self) -> String {
        match &self.recipe {
            _ if self.is_empty() => "none".to_owned(),
            InputRecipe::Empty => "none".to_owned(),
            InputRecipe::Given(content) => super::hex(&Sha256::digest(content)),
            InputRecipe::Counter(_) => "counter".to_owned(),
        }
    }

    /// Returns whether there is nothing to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.recipe {
            InputRecipe::Empty => 0,
            InputRecipe::Given(content) => content.len() as u64,
            InputRecipe::Counter(bytes) => *bytes,
        }
    }

    /// Returns the content, which is generated on first use.
    #[must_use]
    pub fn content(&self) -> Arc<[u8]> {
        match &self.recipe {
            InputRecipe::Empty => Arc::from([]),
            InputRecipe::Given(content) => Arc::clone(content),
            InputRecipe::Counter(bytes) => {
                Arc::clone(self.content.get_or_init(|| counter_bytes(*bytes).into()))
            }
        }
    }

    /// Opens a memory file with the content, with the read position at its start.
    ///
    /// # Errors
    /// Returns an error when the memory file cannot be made or written.
    pub fn open_file(&self) -> Result<File, InputError> {
        if self.is_empty() {
            return Ok(std::fs::OpenOptions::new().read(true).open("/dev/null")?);
        }
        let mut file = memory_file("cyclometer-stdin")?;
        file.write_all(&self.content()).map_err(explain_file_size_limit)?;
        file.rewind()?;
        Ok(file)
    }
}

/// Creates an empty file in memory that is closed on exec.
///
/// # Errors
/// Returns an error when the system refuses one.
pub fn memory_file(name: &str) -> std::io::Result<File> {
    Ok(memfd_create(name, MFdFlags::MFD_CLOEXEC)?.into())
}

fn counter_bytes(bytes: u64) -> Vec<u8> {
    let length = usize::try_from(bytes).unwrap_or(usize::MAX);
    (0..bytes.div_ceil(8)).flat_map(u64::to_le_bytes).take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_counter_counts() {
        let input = FunctionInput::from_counter(12);
        assert_eq!(&*input.content(), &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(input.len(), 12);
    }

    #[test]
    fn opened_inputs_are_read_from_the_start() {
        let mut text = String::new();
        FunctionInput::from_bytes(*b"abc")
            .open_file()
            .expect("opened")
            .read_to_string(&mut text)
            .expect("read");
        assert_eq!(text, "abc");
    }
}
