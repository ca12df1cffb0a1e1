//! Fields of one record of a CSV file.

use csv_core::{ReadRecordResult, Reader};

use crate::format::Reject;

/// Most fields of a record.
const MAX_FIELDS: usize = 2000;

/// Place in a record that comes in pieces.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordPlace {
    written: usize,
    count: usize,
}

/// Parser of records, whose memory is used again.
#[derive(Debug, Default)]
pub struct CsvFields {
    text: Vec<u8>,
    ends: Vec<usize>,
    count: usize,
}

impl CsvFields {
    /// Parses a record with commas, and quotes around fields that need them.
    ///
    /// # Errors
    ///
    /// Rejects a record with more than 2,000 fields, or text after its end.
    pub fn parse_record(&mut self, record: &[u8]) -> Result<(), Reject> {
        let mut place = self.begin_record();
        // Quotes only make a record shorter.
        let most = self.text.len().max(record.len());
        self.text.resize(most, 0);
        let mut reader = Reader::new();
        let mut begin = 0;
        loop {
            // Nothing more to read is the end of the record.
            let is_end = begin == record.len();
            let (result, read) = self.feed(&mut reader, &record[begin..], &mut place);
            begin += read;
            match result {
                ReadRecordResult::InputEmpty if !is_end => {}
                ReadRecordResult::InputEmpty | ReadRecordResult::Record | ReadRecordResult::End => {
                    break;
                }
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    return Err(Reject::new("more than 2,000 fields"));
                }
            }
        }
        if !record[begin..].iter().all(u8::is_ascii_whitespace) {
            return Err(Reject::new("a line break outside of quotes"));
        }
        self.end_record(&place);
        Ok(())
    }

    /// Begins a record that comes in pieces.
    pub fn begin_record(&mut self) -> RecordPlace {
        let least = self.text.len().max(1 << 10);
        self.text.resize(least, 0);
        self.ends.resize(MAX_FIELDS, 0);
        self.count = 0;
        RecordPlace::default()
    }

    /// Takes a piece of a record, and returns what came of it and how much was taken.
    pub fn feed(
        &mut self,
        reader: &mut Reader,
        bytes: &[u8],
        place: &mut RecordPlace,
    ) -> (ReadRecordResult, usize) {
        let text = &mut self.text[place.written..];
        let (result, read, written, ends) =
            reader.read_record(bytes, text, &mut self.ends[place.count..]);
        place.written += written;
        place.count += ends;
        (result, read)
    }

    /// Makes room for a longer record; `false` if it is longer than `most` or has too many fields.
    pub fn grow_within(&mut self, most: usize) -> bool {
        let size = self.text.len().saturating_mul(2);
        let grows = size <= most;
        if grows {
            self.text.resize(size, 0);
        }
        grows
    }

    /// Ends a record.
    pub const fn end_record(&mut self, place: &RecordPlace) {
        self.count = place.count;
    }

    /// Returns the number of fields.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Returns a field.
    pub fn get(&self, at: usize) -> Option<&[u8]> {
        let begin = if at == 0 { 0 } else { *self.ends[..self.count].get(at - 1)? };
        self.text.get(begin..*self.ends[..self.count].get(at)?)
    }

    /// Returns a field as text without blanks around it; `None` if it is empty or absent.
    ///
    /// # Errors
    ///
    /// Rejects text that is not in UTF-8.
    pub fn text(&self, at: Option<usize>) -> Result<Option<&str>, Reject> {
        let Some(bytes) = at.and_then(|at| self.get(at)) else { return Ok(None) };
        let text = std::str::from_utf8(bytes).map_err(|_| Reject::new("text not in UTF-8"))?;
        let text = text.trim();
        Ok((!text.is_empty()).then_some(text))
    }

    /// Returns all fields of a header.
    ///
    /// # Errors
    ///
    /// Rejects text that is not in UTF-8, and a name that stands there twice.
    pub fn read_header(&self) -> Result<Vec<String>, Reject> {
        let mut names: Vec<String> = Vec::with_capacity(self.count);
        for at in 0..self.count {
            let name = self.text(Some(at))?.unwrap_or("");
            let name = name.strip_prefix('\u{feff}').unwrap_or(name).trim_matches('"');
            if !name.is_empty() && names.iter().any(|known| known == name) {
                return Err(Reject::new("a header with one name twice"));
            }
            names.push(name.to_owned());
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_line_breaks_stay_inside_fields() {
        let mut fields = CsvFields::default();
        fields.parse_record(b"a,\"b, \"\"c\"\"\nd\",,e").expect("a record");
        let texts: Vec<&[u8]> = (0..fields.len()).filter_map(|at| fields.get(at)).collect();
        assert_eq!(texts, [&b"a"[..], b"b, \"c\"\nd", b"", b"e"]);
        assert_eq!(fields.get(4), None);
        fields.parse_record(b"x\r\n").expect("a record");
        assert_eq!((fields.len(), fields.get(0)), (1, Some(&b"x"[..])));
        assert_eq!(
            fields.parse_record(b"x\ny,z"),
            Err(Reject::new("a line break outside of quotes"))
        );
        assert_eq!(
            fields.parse_record(&b",".repeat(3000)),
            Err(Reject::new("more than 2,000 fields"))
        );
        fields.parse_record(b"a,b,a").expect("a record");
        assert_eq!(fields.read_header(), Err(Reject::new("a header with one name twice")));
    }
}
