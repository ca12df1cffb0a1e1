//! Mapping files: how a CSV, JSON or Parquet file of anybody is read into rows.
//!
//! A mapping names the columns, the unit of each meter, the notation of times, and what values
//! mean. Nothing is guessed: a meter without a unit is an error with its place in the file.

mod compile;
mod fill;
mod numbers;
mod options;
mod reader;
mod schema;
mod units;

pub use options::parse_map_options;

use cyclometer_core::meter::{Meter, Provenance};
use cyclometer_core::toml_text::{line_and_column, to_printable_line, with_nearest_key};
use thiserror::Error;

use crate::format::{Framing, ImportSettings, RecordReader};

pub(crate) use fill::{Filler, Values};
use reader::MappedReader;

use crate::reading::time_notation::TimeNotation;

/// Maximum size of a mapping file, in bytes.
pub const MAX_FILE_BYTES: usize = 64 * 1024;

/// Error from a mapping, with its place in the file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MappingError {
    /// The text is larger than [`MAX_FILE_BYTES`].
    #[error(
        "{origin} has {size} bytes, and a mapping may have {MAX_FILE_BYTES}: is this the right \
         file?"
    )]
    TooLarge {
        /// File of the text.
        origin: String,
        /// Size of the text in bytes.
        size: usize,
    },
    /// The text is not TOML, or not a mapping.
    #[error("{origin}:{line}:{column}: {message}")]
    Invalid {
        /// File of the text.
        origin: String,
        /// Line number, from 1.
        line: usize,
        /// Column number in characters, from 1.
        column: usize,
        /// Description of what is wrong and what would be accepted.
        message: String,
    },
}

/// Mapping of the columns of a file to meters and fields.
#[derive(Debug, Clone)]
pub struct Mapping {
    name: String,
    platform: String,
    layout: Layout,
    columns: Vec<Column>,
    plan: fill::Plan,
    meters: Vec<(Meter, Provenance)>,
}

/// How a mapping reads a column of times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MappedTime {
    /// Notation, as the mapping writes it.
    pub notation: &'static str,
    /// Nanoseconds of its unit, if it is a number since 1970.
    pub nanos: Option<u64>,
    /// Zone of times without one, in minutes ahead of UTC.
    pub zone_minutes: Option<i32>,
}

/// Kind of file, with what is needed to divide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Csv { delimiter: u8, header: bool },
    Json { array_keys: &'static [&'static str] },
    Parquet,
}

/// Column that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    selector: schema::Selector,
    /// Cause for which rows without it are rejected.
    missing: &'static str,
}

impl Mapping {
    /// Returns the name of the mapping, which stands where others have a format.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the platform of its rows.
    #[must_use]
    pub fn platform(&self) -> &str {
        &self.platform
    }

    /// Returns how an input is divided into records.
    #[must_use]
    pub const fn framing(&self) -> Framing {
        match self.layout {
            Layout::Csv { delimiter: b',', header: true } => Framing::Csv,
            Layout::Csv { delimiter, .. } => Framing::Delimited { delimiter },
            Layout::Json { array_keys } => Framing::JsonValues { array_keys },
            Layout::Parquet => Framing::Columns,
        }
    }

    /// Returns the meters that it maps, with their sources, and the main ones that it lacks.
    #[must_use]
    pub fn meters(&self) -> &[(Meter, Provenance)] {
        &self.meters
    }

    /// Opens a reader for one input; `file` is its name without folder and endings.
    ///
    /// A file of columns has none of these: see [`crate::parquet_file::read_parquet`].
    #[must_use]
    pub fn open(&self, settings: &ImportSettings, file: &str) -> Box<dyn RecordReader> {
        Box::new(MappedReader::new(self, settings, file))
    }

    /// Returns the keys of the columns, for a file of columns.
    pub(crate) fn column_keys(&self) -> impl Iterator<Item = (Vec<String>, &'static str)> {
        self.columns.iter().map(|column| (column.selector.keys(), column.missing))
    }

    /// Returns how the mapping reads a column of times; `None` if it is no such column.
    pub(crate) fn find_time(&self, column: usize) -> Option<MappedTime> {
        let times = [self.plan.started.as_ref(), self.plan.ended.as_ref()];
        let time = times.into_iter().flatten().find(|time| time.column == column)?;
        let (notation, nanos) = match &time.notation {
            TimeNotation::Epoch(scale) => {
                let units = [(1, "ns"), (1_000, "us"), (1_000_000, "ms")];
                let unit = units.iter().find(|(nanos, _)| *nanos == scale.multiply);
                (unit.map_or("s", |(_, name)| *name), Some(scale.multiply))
            }
            TimeNotation::Iso => ("iso", None),
            TimeNotation::Pattern(_) => ("a pattern", None),
        };
        Some(MappedTime { notation, nanos, zone_minutes: time.zone_minutes })
    }

    /// Returns a filler of rows.
    pub(crate) fn open_filler(&self, settings: &ImportSettings, file: &str) -> Filler {
        Filler::new(self.plan.clone(), &self.platform, settings, file)
    }
}

/// Parses the text of a mapping file; `origin` is its name, for messages.
///
/// # Errors
///
/// Returns an error with the line and column of what is wrong.
pub fn parse_mapping(text: &str, origin: &str) -> Result<Mapping, MappingError> {
    if text.len() > MAX_FILE_BYTES {
        return Err(MappingError::TooLarge { origin: origin.to_owned(), size: text.len() });
    }
    let raw: Result<schema::RawMapping, toml::de::Error> = toml::from_str(text);
    let problem = match raw {
        Ok(raw) => match compile::compile_mapping(&raw, origin) {
            Ok(mapping) => return Ok(mapping),
            Err(problem) => problem,
        },
        Err(error) => compile::Problem {
            at: error.span().map_or(0, |span| span.start),
            message: with_nearest_key(error.message()),
        },
    };
    let (line, column) = line_and_column(text, problem.at);
    let message = to_printable_line(&problem.message);
    Err(MappingError::Invalid { origin: origin.to_owned(), line, column, message })
}

/// Returns the text of a new mapping file, with all keys explained.
#[must_use]
pub const fn template() -> &'static str {
    include_str!("template.toml")
}

#[cfg(test)]
mod tests;
