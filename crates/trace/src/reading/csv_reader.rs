//! Readers of formats whose records are rows of a CSV file with a header.

use crate::batch::{RowBatch, TraceNames};
use crate::format::{ImportSettings, Record, RecordOutcome, RecordReader, Reject};
use crate::reading::csv_record::{CsvFields, strip_mark};
use crate::reading::quantity::{NumberCauses, UnitScale, parse_quantity};
use crate::reading::row_maker::RowMaker;

/// Column that a format reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CsvColumn {
    /// Names that its header may have; letters' case does not count.
    pub names: &'static [&'static str],
    /// Cause for which a file without it is rejected; `None` if it may be missing.
    pub missing: Option<&'static str>,
}

/// Fields of a row, by the positions of the columns in the list of its format.
#[derive(Debug)]
pub(crate) struct CsvRow<'a> {
    fields: &'a CsvFields,
    places: &'a [Option<usize>],
}

impl CsvRow<'_> {
    /// Returns the text of a column; `None` if it is missing or empty.
    ///
    /// # Errors
    ///
    /// Rejects text that is no UTF-8.
    pub fn text(&self, column: usize) -> Result<Option<&str>, Reject> {
        let place = self.places.get(column).copied().flatten();
        let bytes = place.and_then(|place| self.fields.field(place));
        let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
        std::str::from_utf8(bytes).map(Some).map_err(|_| Reject::new("text that is no UTF-8"))
    }

    /// Returns the number of a column in the unit that is stored.
    pub fn quantity(
        &self,
        column: usize,
        scale: UnitScale,
        causes: NumberCauses,
    ) -> Result<Option<u64>, Reject> {
        self.text(column)?.map(|text| parse_quantity(text.as_bytes(), scale, causes)).transpose()
    }
}

/// Reads one row into rows of a trace.
pub(crate) type ReadRow =
    fn(&CsvRow<'_>, &mut RowMaker, &mut TraceNames, &mut RowBatch) -> Result<RecordOutcome, Reject>;

/// Reader of rows below a header.
struct CsvReader {
    maker: RowMaker,
    columns: &'static [CsvColumn],
    read: ReadRow,
    fields: CsvFields,
    header: Header,
}

/// Header of an input.
enum Header {
    /// It did not come yet.
    Expected,
    /// It was read: positions of the columns, number of all, and its text.
    Found { places: Vec<Option<usize>>, width: usize, text: String },
    /// It cannot be used, nor what is below.
    Refused(Reject),
}

/// Opens a reader of rows below a header.
pub(crate) fn open_csv_reader(
    platform: &str,
    settings: &ImportSettings,
    file: &str,
    columns: &'static [CsvColumn],
    read: ReadRow,
) -> Box<dyn RecordReader> {
    let maker = RowMaker::new(platform, settings, file);
    let fields = CsvFields::new(b',');
    Box::new(CsvReader { maker, columns, read, fields, header: Header::Expected })
}

impl CsvReader {
    fn read_header(&mut self, bytes: &[u8]) -> Result<Header, Reject> {
        let bytes = strip_mark(bytes);
        self.fields.read_row(bytes)?;
        let places = find_columns(&self.fields, self.columns)?;
        let text = String::from_utf8_lossy(bytes).into_owned();
        Ok(Header::Found { places, width: self.fields.len(), text })
    }
}

/// Finds the columns of a format in a header.
pub(crate) fn find_columns(
    header: &CsvFields,
    columns: &[CsvColumn],
) -> Result<Vec<Option<usize>>, Reject> {
    let mut places = Vec::new();
    for column in columns {
        let is_named = |field: &[u8]| {
            column.names.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(field))
        };
        let mut found = header.fields().enumerate().filter(|(_, field)| is_named(field));
        let first = found.next().map(|(place, _)| place);
        if found.next().is_some() {
            return Err(Reject::new("below a header that names one column twice"));
        }
        match (first, column.missing) {
            (None, Some(cause)) => return Err(Reject::new(cause)),
            (place, _) => places.push(place),
        }
    }
    Ok(places)
}

impl RecordReader for CsvReader {
    fn read_record(
        &mut self,
        record: &Record<'_>,
        names: &mut TraceNames,
        batch: &mut RowBatch,
    ) -> Result<RecordOutcome, Reject> {
        if record.bytes.trim_ascii().is_empty() {
            return Ok(RecordOutcome::Other("empty line"));
        }
        match &self.header {
            Header::Refused(cause) => Err(*cause),
            Header::Expected => {
                let header = self.read_header(record.bytes);
                self.header = header.unwrap_or_else(Header::Refused);
                match &self.header {
                    Header::Refused(cause) => Err(*cause),
                    _ => Ok(RecordOutcome::Other("header")),
                }
            }
            Header::Found { places, width, .. } => {
                self.fields.read_row(record.bytes)?;
                if self.fields.len() != *width {
                    return Err(Reject::new("a row with more or fewer fields than its header"));
                }
                let row = CsvRow { fields: &self.fields, places };
                (self.read)(&row, &mut self.maker, names, batch)
            }
        }
    }

    fn save_state(&self) -> Option<String> {
        match &self.header {
            Header::Expected => None,
            Header::Found { text, .. } => Some(text.clone()),
            // Refused again from the same text: that of the cause would not be a header.
            Header::Refused(_) => Some(String::new()),
        }
    }

    fn restore_state(&mut self, state: &str) {
        self.header = self.read_header(state.as_bytes()).unwrap_or_else(Header::Refused);
    }
}

/// Returns whether the first line of a text is a header with all of these columns, whatever
/// letters' case.
pub(crate) fn has_columns(start: &[u8], names: &[&str]) -> bool {
    let Some(fields) = read_first_line(start, b',') else { return false };
    names.iter().all(|name| fields.fields().any(|it| it.eq_ignore_ascii_case(name.as_bytes())))
}

/// Returns whether the first line of a text is a header with exactly these columns, and perhaps
/// others, if its fields are divided by `delimiter`.
pub(crate) fn has_columns_divided(start: &[u8], names: &[&str], delimiter: u8) -> bool {
    let Some(fields) = read_first_line(start, delimiter) else { return false };
    names.iter().all(|name| fields.fields().any(|it| it == name.as_bytes()))
}

fn read_first_line(start: &[u8], delimiter: u8) -> Option<CsvFields> {
    let start = strip_mark(start);
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut fields = CsvFields::new(delimiter);
    fields.read_row(line).ok()?;
    Some(fields)
}
