//! Reading of CSV rows and JSON objects by a mapping.

use std::borrow::Cow;

use crate::batch::{RowBatch, TraceNames};
use crate::format::{ImportSettings, Record, RecordOutcome, RecordReader, Reject};
use crate::mapping::schema::Selector;
use crate::mapping::{Column, Filler, Layout, Mapping, Values};
use crate::reading::csv_record::{CsvFields, strip_mark};
use crate::reading::json_object::{JsonObject, scalar_text};

/// Reader of one input.
pub(super) struct MappedReader {
    layout: Layout,
    columns: Vec<Column>,
    filler: Filler,
    fields: CsvFields,
    header: Header,
}

/// Header of a CSV file.
enum Header {
    Expected,
    /// Places of the columns; number of all of them, unless there is no header.
    Known {
        places: Vec<usize>,
        width: Option<usize>,
        text: Option<String>,
    },
    Refused(Reject),
}

impl MappedReader {
    pub(super) fn new(mapping: &Mapping, settings: &ImportSettings, file: &str) -> Self {
        let (delimiter, header) = match mapping.layout {
            Layout::Csv { delimiter, header } => (delimiter, header),
            _ => (b',', true),
        };
        let mut reader = Self {
            layout: mapping.layout,
            columns: mapping.columns.clone(),
            filler: mapping.open_filler(settings, file),
            fields: CsvFields::new(delimiter),
            header: Header::Expected,
        };
        if !header {
            reader.header = Header::Known {
                places: reader.columns.iter().map(|it| place_of(&it.selector)).collect(),
                width: None,
                text: None,
            };
        }
        reader
    }

    fn read_header(&mut self, bytes: &[u8]) -> Result<Header, Reject> {
        let bytes = strip_mark(bytes);
        self.fields.read_row(bytes)?;
        let mut places = Vec::new();
        for column in &self.columns {
            places.push(match &column.selector {
                Selector::Position(position) if *position <= self.fields.len() => position - 1,
                Selector::Position(_) => return Err(Reject::new(column.missing)),
                Selector::Name(name) => self.find_name(name, column)?,
                Selector::Keys(keys) => self.find_name(&keys.join("."), column)?,
            });
        }
        let text = Some(String::from_utf8_lossy(bytes).into_owned());
        Ok(Header::Known { places, width: Some(self.fields.len()), text })
    }

    fn find_name(&self, name: &str, column: &Column) -> Result<usize, Reject> {
        let all = self.fields.fields().enumerate();
        let mut found = all.filter(|(_, field)| *field == name.as_bytes()).map(|(place, _)| place);
        let first = found.next().ok_or(Reject::new(column.missing))?;
        match found.next() {
            Some(_) => Err(Reject::new("below a header that names a column of the mapping twice")),
            None => Ok(first),
        }
    }

    fn read_csv(
        &mut self,
        record: &Record<'_>,
        names: &mut TraceNames,
        batch: &mut RowBatch,
    ) -> Result<RecordOutcome, Reject> {
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
            Header::Known { places, width, .. } => {
                let start = if record.line == 1 { strip_mark(record.bytes) } else { record.bytes };
                self.fields.read_row(start)?;
                if width.is_some_and(|width| width != self.fields.len()) {
                    return Err(Reject::new("a row with more or fewer fields than its header"));
                }
                let mut values: Values<'_> = Vec::with_capacity(places.len());
                for (place, column) in places.iter().zip(&self.columns) {
                    let field = self.fields.field(*place).ok_or(Reject::new(column.missing))?;
                    let text = std::str::from_utf8(field);
                    let text = text.map_err(|_| Reject::new("text that is no UTF-8"))?;
                    values.push(Some(Cow::Borrowed(text)));
                }
                self.filler.push_row(&values, names, batch)
            }
        }
    }

    fn read_json(
        &mut self,
        record: &Record<'_>,
        names: &mut TraceNames,
        batch: &mut RowBatch,
    ) -> Result<RecordOutcome, Reject> {
        let object = JsonObject::parse(strip_mark(record.bytes))?;
        let mut values: Values<'_> = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            values.push(match &column.selector {
                Selector::Name(path) => find_path(&object, path)?,
                Selector::Keys(keys) => follow_keys(&object, keys.iter().map(String::as_str))?,
                Selector::Position(_) => None,
            });
        }
        self.filler.push_row(&values, names, batch)
    }
}

/// Returns the place of a column without a header.
fn place_of(selector: &Selector) -> usize {
    match selector {
        Selector::Position(position) => position.saturating_sub(1),
        _ => usize::MAX,
    }
}

/// Finds `a.b.c`: a key of this name, or a key within an object within an object.
fn find_path<'a>(object: &JsonObject<'a>, path: &str) -> Result<Option<Cow<'a, str>>, Reject> {
    match object.value(path)? {
        Some(value) => scalar_text(value).map(Some),
        None if path.contains('.') => follow_keys(object, path.split('.')),
        None => Ok(None),
    }
}

fn follow_keys<'a, 'k>(
    object: &JsonObject<'a>,
    keys: impl Iterator<Item = &'k str>,
) -> Result<Option<Cow<'a, str>>, Reject> {
    let mut keys = keys.peekable();
    let mut inner: Option<JsonObject<'a>> = None;
    while let Some(key) = keys.next() {
        let value = inner.as_ref().unwrap_or(object).value(key)?;
        let Some(value) = value else { return Ok(None) };
        if keys.peek().is_none() {
            return scalar_text(value).map(Some);
        }
        inner = Some(JsonObject::parse(value.get().as_bytes())?);
    }
    Ok(None)
}

impl RecordReader for MappedReader {
    fn read_record(
        &mut self,
        record: &Record<'_>,
        names: &mut TraceNames,
        batch: &mut RowBatch,
    ) -> Result<RecordOutcome, Reject> {
        if record.bytes.trim_ascii().is_empty() {
            return Ok(RecordOutcome::Other("empty line"));
        }
        match self.layout {
            Layout::Csv { .. } => self.read_csv(record, names, batch),
            Layout::Json { .. } => self.read_json(record, names, batch),
            Layout::Parquet => Err(Reject::new("a file of columns, which has no records")),
        }
    }

    fn save_state(&self) -> Option<String> {
        match &self.header {
            Header::Known { text, .. } => text.clone(),
            Header::Expected => None,
            Header::Refused(_) => Some(String::new()),
        }
    }

    fn restore_state(&mut self, state: &str) {
        self.header = self.read_header(state.as_bytes()).unwrap_or_else(Header::Refused);
    }
}
