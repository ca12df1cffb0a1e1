//! Errors of price files: what is wrong, and where.

use std::ops::Range;

use thiserror::Error;

use cyclometer_core::toml_text::{line_and_column, to_printable_line, with_nearest_key};

/// Maximum size of a price model file, in bytes.
pub const MAX_FILE_BYTES: usize = 64 * 1024;

/// Error from parsing a price model, with its place in the file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PricingError {
    /// The text is larger than [`MAX_FILE_BYTES`].
    #[error(
        "{origin} has {size} bytes, and a price model may have {MAX_FILE_BYTES}: \
         is this the right file?"
    )]
    TooLarge {
        /// File or other origin of the text.
        origin: String,
        /// Size of the text in bytes.
        size: usize,
    },
    /// The text is not TOML, or not a price model.
    #[error("{origin}:{line}:{column}: {message}")]
    Invalid {
        /// File or other origin of the text.
        origin: String,
        /// Line number, from 1.
        line: usize,
        /// Column number in characters, from 1.
        column: usize,
        /// Description of what is wrong and what would be accepted.
        message: String,
    },
}

/// Error: no price model has the requested id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", describe_unknown(self))]
pub struct UnknownModel {
    /// Requested id.
    pub id: String,
    /// Most similar known id.
    pub nearest: Option<String>,
    /// All known ids, as a readable list.
    pub known: String,
    /// Error of the file that names the model and is none; `None`: no file names it.
    pub broken: Option<String>,
    /// Regions that there are, if the id is that of a model with a region behind it.
    pub regions: Option<Box<KnownRegions>>,
}

/// Regions that a model has prices of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRegions {
    /// Id of the model.
    pub model: String,
    /// What most resembles the requested region: another one, or the end of another model's id.
    pub nearest: Option<String>,
    /// All regions, as a readable list.
    pub regions: String,
}

/// Says why there is no such model, and suggests the nearest id, or lists all known ids.
fn describe_unknown(error: &UnknownModel) -> String {
    let UnknownModel { id, nearest, known, broken, regions } = error;
    match (broken, regions.as_deref(), nearest) {
        (Some(reason), ..) => format!("price model `{id}` cannot be used: {reason}"),
        (None, Some(KnownRegions { model, nearest: Some(near), .. }), _) => format!(
            "there is no price model `{id}`: did you mean `{model}-{near}`? (`cyclometer pricing \
             list` has all, and with --regions those of regions)"
        ),
        (None, Some(KnownRegions { model, regions, .. }), _) => format!(
            "there is no price model `{id}`: of `{model}` there are the regions {regions}, and \
             `cyclometer pricing import` reads the provider's price list for others"
        ),
        (None, None, Some(near)) => format!(
            "there is no price model `{id}`: did you mean `{near}`? (`cyclometer pricing list` \
             has all)"
        ),
        (None, None, None) => format!("there is no price model `{id}`: there are {known}"),
    }
}

/// A problem at a place in the text.
#[derive(Debug)]
pub(super) struct SpannedProblem {
    pub span: Range<usize>,
    pub message: String,
}

impl SpannedProblem {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }

    /// Converts the byte offset in `text` to a line and a column.
    pub(super) fn into_located_error(self, text: &str, origin: &str) -> PricingError {
        let (line, column) = line_and_column(text, self.span.start);
        PricingError::Invalid {
            origin: origin.to_owned(),
            line,
            column,
            message: to_printable_line(&self.message),
        }
    }
}

impl From<toml::de::Error> for SpannedProblem {
    fn from(error: toml::de::Error) -> Self {
        let message = with_nearest_key(error.message());
        // Without a span the problem concerns the whole file: a missing key, for instance.
        Self::new(error.span().unwrap_or(0..0), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_start_at_one() {
        let text = "a = 1\né = 2\n";
        let at = |offset| {
            SpannedProblem::new(offset..offset, "x").into_located_error(text, "f.toml").to_string()
        };
        assert_eq!(at(0), "f.toml:1:1: x");
        assert_eq!(at(6), "f.toml:2:1: x");
        assert_eq!(at(text.find('2').unwrap()), "f.toml:2:5: x");
        assert_eq!(at(10_000), "f.toml:3:1: x");
    }

    #[test]
    fn messages_cannot_move_the_cursor_nor_fill_the_screen() {
        let message = format!("unknown field `\u{1b}[2J`\nhere {}", "x".repeat(70_000));
        let error = SpannedProblem::new(0..0, message).into_located_error("", "f").to_string();
        assert!(!error.contains(char::is_control), "{error}");
        assert!(error.len() < 700);
    }
}
