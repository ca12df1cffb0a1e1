//! Errors of profiles.

use std::ops::Range;
use std::path::PathBuf;

use thiserror::Error;

use cyclometer_core::toml_text::{line_and_column, to_printable_line, with_nearest_key};
use cyclometer_system::files::display_path;

/// Size of the largest profile that is read, in bytes.
pub const MAX_PROFILE_BYTES: u64 = 64 << 10;

/// Reason why a profile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProfileError {
    /// The file or folder cannot be read.
    #[error(
        "cannot read {}: {cause}; --runtimes takes a folder of .toml files, or one such file",
        display_path(path)
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
pub(super) struct ProfileProblem {
    pub span: Range<usize>,
    pub message: String,
}

impl ProfileProblem {
    pub fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }

    /// Converts the position in `text` to line and column.
    pub(crate) fn into_profile_error(self, text: &str, origin: &str) -> ProfileError {
        let (line, column) = line_and_column(text, self.span.start);
        let message = to_printable_line(&self.message);
        ProfileError::Invalid { origin: origin.to_owned(), line, column, message }
    }
}

impl From<toml::de::Error> for ProfileProblem {
    fn from(error: toml::de::Error) -> Self {
        let message = with_nearest_key(error.message());
        // Without a span the error concerns the whole file: a missing key, for instance.
        Self::new(error.span().unwrap_or(0..0), message)
    }
}
