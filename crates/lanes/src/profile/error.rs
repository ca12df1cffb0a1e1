//! Errors of profiles.

use std::ops::Range;
use std::path::PathBuf;

use thiserror::Error;

use cyclometer_core::toml_text::{place, printable, with_nearest};
use cyclometer_system::files::shown_path;

/// Size of the largest profile that is read, in bytes.
pub const MAX_PROFILE_BYTES: u64 = 64 << 10;

/// Reason why a profile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProfileError {
    /// The file or folder cannot be read.
    #[error(
        "cannot read {}: {cause}; --runtimes takes a folder of .toml files, or one such file",
        shown_path(path)
    )]
    Read {
        /// Path of the file or folder.
        path: PathBuf,
        /// Error of the system.
        cause: String,
    },
    /// The text is not TOML, or not a profile.
    #[error("{origin}:{line}:{column}: {message}")]
    Invalid {
        /// Name of the file.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// Description of the error, and of what would be accepted.
        message: String,
    },
}

/// An error at a position in the text.
#[derive(Debug)]
pub(super) struct Problem {
    pub span: Range<usize>,
    pub message: String,
}

impl Problem {
    pub fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }

    /// Converts the position in `text` to line and column.
    pub fn locate(self, text: &str, origin: &str) -> ProfileError {
        let (line, column) = place(text, self.span.start);
        let message = printable(&self.message);
        ProfileError::Invalid { origin: origin.to_owned(), line, column, message }
    }
}

impl From<toml::de::Error> for Problem {
    fn from(error: toml::de::Error) -> Self {
        let message = with_nearest(error.message());
        // Without a span the error concerns the whole file: a missing key, for instance.
        Self::new(error.span().unwrap_or(0..0), message)
    }
}
