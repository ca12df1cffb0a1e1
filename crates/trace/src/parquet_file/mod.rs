//! Reading of Parquet files by a mapping, in batches of rows.
//!
//! Only the columns of the mapping are read, a page at a time. What a file claims of its sizes is
//! checked before memory is taken for it, and failures of the library end in an error.

mod columns;
mod page_guard;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;

use cyclometer_system::panics::catch_quiet_panic;
use parquet::errors::ParquetError as LibraryError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use thiserror::Error;

use crate::batch::{RowBatch, TraceNames};
use crate::format::{ImportSettings, RecordOutcome, Reject};
use crate::mapping::{Filler, MappedTime, Mapping, Values};
use columns::{ColumnText, TimeType, Writing, find_time_type, find_writing};
use page_guard::{PageProblem, check_pages};

/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 4_096;

/// Largest footer: it has about 150 bytes for a column of a row group.
const MAX_FOOTER_BYTES: u64 = 16 << 20;

/// Most row groups, and columns, of a file.
const MAX_GROUPS: usize = 100_000;

/// Most memory for the pages of all columns at one time.
const MAX_PAGES_BYTES: u64 = 512 << 20;

/// Characters of a rejected row's values after which the others are left out.
const MAX_EXCERPT: usize = 256;

/// Error from a Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParquetError {
    /// The file cannot be read, or is no Parquet file.
    #[error("it cannot be read as Parquet: {0}")]
    Unreadable(String),
    /// The file has no such column.
    #[error("{0}")]
    NoColumn(&'static str),
    /// The column is a list or a map.
    #[error("column `{0}` is a list: a mapping needs one value a row")]
    Repeated(String),
    /// The unit of a time is another than the mapping says.
    #[error("column `{column}` has times in {type_unit} by its type, and the mapping says {given}")]
    OtherUnit {
        /// Column.
        column: String,
        /// Unit of its type.
        type_unit: &'static str,
        /// Notation of the mapping.
        given: &'static str,
    },
    /// The type of a column of times is of no point in time.
    #[error("column `{column}` has {kind} by its type, which are no points in time")]
    NoMoments {
        /// Column.
        column: String,
        /// What it has.
        kind: &'static str,
    },
    /// The times of a column count from 1970 in an unknown zone.
    #[error(
        "column `{0}` has times without a zone by its type: give `zone` in the mapping, or --zone \
         (+00:00 if they are in UTC)"
    )]
    NoZone(String),
    /// The file claims sizes beyond the bounds.
    #[error("{0}")]
    TooLarge(String),
    /// The pages have an encoding that is not read.
    #[error(
        "column `{column}` has the encoding {encoding}, which is not read: write the file again \
         with dictionaries or PLAIN"
    )]
    Encoding {
        /// Column.
        column: String,
        /// Encoding.
        encoding: &'static str,
    },
    /// The library failed where it must not.
    #[error("the reader of Parquet failed: the file is damaged, or it is a bug")]
    Failed,
}

/// Row of a file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRow {
    /// Number in the file, from 1.
    pub row: u64,
    /// Cause.
    pub cause: Reject,
    /// First of its values, each with its column.
    pub excerpt: String,
}

/// Rows that were read together.
#[derive(Debug)]
pub struct ParquetRows<'a> {
    /// Rows of the trace, which may be taken out: one for each row of the file that is neither
    /// among the others nor rejected.
    pub batch: &'a mut RowBatch,
    /// Names that they refer to.
    pub names: &'a mut TraceNames,
    /// Number of the first of these rows in the file, from 1.
    pub first_row: u64,
    /// Row of the file at which to go on after these, from 0.
    pub next_row: u64,
    /// Rows of the file that are no invocations, from 1, with their kinds.
    pub others: &'a [(u64, &'static str)],
    /// Rows of the file that were rejected.
    pub rejects: &'a [RejectedRow],
}

/// Receiver of rows; it may stop the reading.
pub type EachRows<'a> = &'a mut dyn FnMut(ParquetRows<'_>) -> ControlFlow<()>;

/// Reads a file by a mapping from a row on (from 0), and hands over its rows in batches of 4,096
/// or less; `name` stands for a function that no column names.
///
/// # Errors
///
/// Returns an error if the file is no Parquet file, lacks a column, or claims sizes beyond the
/// bounds; batches before it were handed over.
pub fn read_parquet(
    file: &File,
    mapping: &Mapping,
    settings: &ImportSettings,
    name: &str,
    from_row: u64,
    names: &mut TraceNames,
    each: EachRows<'_>,
) -> Result<(), ParquetError> {
    check_footer(file)?;
    let filler = mapping.open_filler(settings, name);
    let read = AssertUnwindSafe(|| {
        let copy = file.try_clone().map_err(|error| describe_error(&error.into()))?;
        let reader = SerializedFileReader::new(copy).map_err(|error| describe_error(&error))?;
        let leaves = find_leaves(&reader, mapping, settings.zone_minutes)?;
        let labels = leaves.iter().map(|leaf| leaf.name.clone()).collect();
        let sink = Sink { names, filler, labels, batch: RowBatch::default(), each };
        read_groups(file, &reader, &leaves, from_row, sink)
    });
    // The library has assertions that a damaged file may reach.
    catch_quiet_panic(read).unwrap_or(Err(ParquetError::Failed))
}

/// Returns the number of rows that a file says it has.
///
/// # Errors
///
/// Returns an error if it is no Parquet file.
pub fn count_parquet_rows(file: &File) -> Result<u64, ParquetError> {
    check_footer(file)?;
    let count = AssertUnwindSafe(|| {
        let copy = file.try_clone().map_err(|error| describe_error(&error.into()))?;
        let reader = SerializedFileReader::new(copy).map_err(|error| describe_error(&error))?;
        let groups = reader.metadata().row_groups().iter();
        groups.map(count_rows).try_fold(0_u64, |sum, rows| Ok(sum.saturating_add(rows?)))
    });
    catch_quiet_panic(count).unwrap_or(Err(ParquetError::Failed))
}

fn describe_error(error: &LibraryError) -> ParquetError {
    let text = error.to_string();
    ParquetError::Unreadable(cyclometer_core::visible_text::summarize_text(&text, 200))
}

/// Checks the end of the file before the library takes memory for it.
fn check_footer(file: &File) -> Result<(), ParquetError> {
    let unreadable = |why: &str| ParquetError::Unreadable(why.to_owned());
    let read = || -> std::io::Result<([u8; 8], u64)> {
        let mut file = file.try_clone()?;
        let size = file.seek(SeekFrom::End(0))?;
        let mut end = [0; 8];
        if size >= 12 {
            file.seek(SeekFrom::End(-8))?;
            file.read_exact(&mut end)?;
        }
        Ok((end, size))
    };
    let (end, size) = read().map_err(|error| ParquetError::Unreadable(error.to_string()))?;
    let [a, b, c, d, magic @ ..] = end;
    match &magic {
        b"PAR1" => {}
        b"PARE" => return Err(unreadable("it is encrypted")),
        _ => return Err(unreadable("it does not end in PAR1: it may be cut off")),
    }
    let footer = u64::from(u32::from_le_bytes([a, b, c, d]));
    if footer > size - 12 {
        return Err(unreadable("its footer is longer than the file"));
    }
    if footer > MAX_FOOTER_BYTES {
        return Err(ParquetError::TooLarge("its footer has more than 16 MiB".to_owned()));
    }
    Ok(())
}

/// Column of the file that the mapping reads.
struct Leaf {
    place: usize,
    name: String,
    writing: Writing,
    max_level: i16,
}

fn find_leaves(
    reader: &SerializedFileReader<File>,
    mapping: &Mapping,
    zone_minutes: Option<i32>,
) -> Result<Vec<Leaf>, ParquetError> {
    let metadata = reader.metadata();
    let schema = metadata.file_metadata().schema_descr();
    if metadata.num_row_groups() > MAX_GROUPS || schema.num_columns() > MAX_GROUPS {
        let message = format!("it has more than {MAX_GROUPS} row groups or columns");
        return Err(ParquetError::TooLarge(message));
    }
    let mut leaves = Vec::new();
    for (number, (keys, missing)) in mapping.column_keys().enumerate() {
        let found = schema.columns().iter().position(|column| {
            // A name with points may be the name of one column.
            let parts = column.path().parts();
            parts == keys || (parts.len() == 1 && parts[0] == keys.join("."))
        });
        let place = found.ok_or(ParquetError::NoColumn(missing))?;
        let column = schema.column(place);
        let name = cyclometer_core::visible_text::summarize_text(&keys.join("."), 80);
        if column.max_rep_level() > 0 {
            return Err(ParquetError::Repeated(name));
        }
        let mut writing = find_writing(&column);
        if let (Some(kind), Some(time)) = (find_time_type(&column), mapping.find_time(number)) {
            let zone = time.zone_minutes.or(zone_minutes);
            if let Some(shift) = check_time(&name, kind, time, zone)? {
                writing = Writing::Less(shift);
            }
        }
        leaves.push(Leaf { place, name, writing, max_level: column.max_def_level() });
    }
    Ok(leaves)
}

/// Checks a column of times, and returns what its numbers are ahead of those of UTC.
fn check_time(
    name: &str,
    kind: TimeType,
    time: MappedTime,
    zone_minutes: Option<i32>,
) -> Result<Option<i64>, ParquetError> {
    let column = name.to_owned();
    let (nanos, utc) = match kind {
        TimeType::Moment { nanos, utc } => (nanos, utc),
        TimeType::Other(kind) => return Err(ParquetError::NoMoments { column, kind }),
    };
    if time.nanos != Some(nanos) {
        let type_unit = match nanos {
            1 => "ns",
            1_000 => "us",
            _ => "ms",
        };
        return Err(ParquetError::OtherUnit { column, type_unit, given: time.notation });
    }
    if utc {
        return Ok(None);
    }
    let minutes = zone_minutes.ok_or(ParquetError::NoZone(column))?;
    let a_minute = i64::try_from(60_000_000_000 / nanos).unwrap_or(0);
    Ok(Some(i64::from(minutes).saturating_mul(a_minute)))
}

/// Where rows go.
struct Sink<'a> {
    names: &'a mut TraceNames,
    filler: Filler,
    /// Names of the columns.
    labels: Vec<String>,
    batch: RowBatch,
    each: EachRows<'a>,
}

fn count_rows(group: &RowGroupMetaData) -> Result<u64, ParquetError> {
    let wrong = || ParquetError::Unreadable("a row group has a negative number of rows".to_owned());
    u64::try_from(group.num_rows()).map_err(|_| wrong())
}

fn read_groups(
    file: &File,
    reader: &SerializedFileReader<File>,
    leaves: &[Leaf],
    from_row: u64,
    mut sink: Sink<'_>,
) -> Result<(), ParquetError> {
    let mut before = 0_u64;
    for (number, group) in reader.metadata().row_groups().iter().enumerate() {
        let rows = count_rows(group)?;
        let after = before.saturating_add(rows);
        if after > from_row {
            check_group(file, group, leaves)?;
            let opened = reader.get_row_group(number).map_err(|error| describe_error(&error))?;
            let mut columns = Vec::new();
            for leaf in leaves {
                let column = opened.get_column_reader(leaf.place);
                let column = column.map_err(|error| describe_error(&error))?;
                columns.push(ColumnText::new(column, leaf.writing, leaf.max_level));
            }
            let skip = from_row.saturating_sub(before);
            let place = GroupPlace { first_row: before, rows, skip };
            if read_group(&mut columns, &place, &mut sink)?.is_break() {
                return Ok(());
            }
        }
        before = after;
    }
    Ok(())
}

/// Checks the pages of the columns that are read.
fn check_group(file: &File, group: &RowGroupMetaData, leaves: &[Leaf]) -> Result<(), ParquetError> {
    let mut total = 0_u64;
    for leaf in leaves {
        let column = group.columns().get(leaf.place);
        let column = column.ok_or(ParquetError::Failed)?;
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let range = (u64::try_from(start), u64::try_from(column.compressed_size()));
        let (Ok(start), Ok(length)) = range else { return Err(ParquetError::Failed) };
        let name = leaf.name.clone();
        let largest = check_pages(file, start, length).map_err(|problem| match problem {
            PageProblem::Broken => {
                ParquetError::Unreadable(format!("the pages of column `{name}` are damaged"))
            }
            PageProblem::TooLarge => {
                ParquetError::TooLarge(format!("column `{name}` has a page of more than 64 MiB"))
            }
            PageProblem::Dictionary => ParquetError::Unreadable(format!(
                "the dictionary of column `{name}` claims more values than it has"
            )),
            PageProblem::Encoding(encoding) => ParquetError::Encoding { column: name, encoding },
        })?;
        total = total.saturating_add(largest);
    }
    if total > MAX_PAGES_BYTES {
        let message = "the pages of its columns have more than 512 MiB together".to_owned();
        return Err(ParquetError::TooLarge(message));
    }
    Ok(())
}

/// Place of a row group in the file.
struct GroupPlace {
    first_row: u64,
    rows: u64,
    /// Rows that were read before.
    skip: u64,
}

fn read_group(
    columns: &mut [ColumnText],
    place: &GroupPlace,
    sink: &mut Sink<'_>,
) -> Result<ControlFlow<()>, ParquetError> {
    let short = || ParquetError::Unreadable("a column has fewer rows than its group".to_owned());
    let skip = usize::try_from(place.skip).map_err(|_| short())?;
    for column in columns.iter_mut().filter(|_| skip > 0) {
        let skipped = column.skip_rows(skip).map_err(|error| describe_error(&error))?;
        if skipped != skip {
            return Err(short());
        }
    }
    let mut row = place.skip;
    while row < place.rows {
        let left = usize::try_from(place.rows - row).unwrap_or(ROWS_AT_ONCE);
        let wanted = left.min(ROWS_AT_ONCE);
        for column in columns.iter_mut() {
            let read = column.read_rows(wanted).map_err(|error| describe_error(&error))?;
            if read != wanted {
                return Err(short());
            }
        }
        let first = place.first_row.saturating_add(row);
        if hand_over(columns, first, wanted, sink).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        row += u64::try_from(wanted).unwrap_or(u64::MAX);
    }
    Ok(ControlFlow::Continue(()))
}

/// Fills a batch with rows that were read, and hands it over.
fn hand_over(
    columns: &mut [ColumnText],
    first_row: u64,
    rows: usize,
    sink: &mut Sink<'_>,
) -> ControlFlow<()> {
    sink.batch.clear();
    let (mut others, mut rejects) = (Vec::new(), Vec::new());
    let mut row_number = first_row;
    for row in 0..rows {
        row_number += 1;
        let places: Vec<_> = columns.iter_mut().map(|column| column.next_place(row)).collect();
        let values: Result<Values<'_>, Reject> = columns
            .iter()
            .zip(places)
            .map(|(column, place)| place.map_or(Ok(None), |place| column.text(place)))
            .collect();
        sink.batch.begin_record();
        let outcome = values.as_ref().map_err(|cause| *cause).and_then(|values| {
            let outcome = sink.filler.push_row(values, sink.names, &mut sink.batch)?;
            let has_nul = values.iter().flatten().any(|text| text.contains('\0'));
            match outcome {
                RecordOutcome::Rows if has_nul => Err(Reject::new("a NUL byte")),
                outcome => Ok(outcome),
            }
        });
        match outcome {
            Ok(RecordOutcome::Rows) => {}
            Ok(RecordOutcome::Other(kind)) => others.push((row_number, kind)),
            Err(cause) => {
                sink.batch.remove_record();
                let excerpt =
                    values.map(|it| describe_values(&sink.labels, &it)).unwrap_or_default();
                rejects.push(RejectedRow { row: row_number, cause, excerpt });
            }
        }
    }
    (sink.each)(ParquetRows {
        batch: &mut sink.batch,
        names: sink.names,
        first_row: first_row + 1,
        next_row: row_number,
        others: &others,
        rejects: &rejects,
    })
}

/// Writes the values of a row, each with its column, as far as a rejected record is shown.
fn describe_values(labels: &[String], values: &Values<'_>) -> String {
    let mut text = String::new();
    for (label, value) in labels.iter().zip(values) {
        let Some(value) = value.as_ref().filter(|_| text.len() <= MAX_EXCERPT) else { continue };
        text.push_str(if text.is_empty() { "" } else { ", " });
        text.push_str(label);
        text.push('=');
        text.extend(value.chars().take(MAX_EXCERPT));
    }
    text
}

#[cfg(test)]
mod tests;
