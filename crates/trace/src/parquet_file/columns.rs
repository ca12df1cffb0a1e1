//! Values of columns, as text for a mapping.

use std::borrow::Cow;

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray, Int96};
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescriptor;

use crate::format::Reject;

/// How a column's values are written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    /// As they are.
    Plain,
    /// Integers without a sign.
    Unsigned,
    /// Decimals, with so many places.
    Decimal(u32),
    /// Sixteen bytes of a UUID.
    Uuid,
    /// Integers, less this: times that count from 1970 in another zone.
    Less(i64),
}

/// Type of a column of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeType {
    /// Numbers since 1970, with the nanoseconds of their unit; whether in UTC.
    Moment { nanos: u64, utc: bool },
    /// Days, or times of a day.
    Other(&'static str),
}

/// Returns how a column's values are written.
pub(super) fn find_writing(column: &ColumnDescriptor) -> Writing {
    match column.logical_type_ref() {
        Some(LogicalType::Decimal(decimal)) => {
            u32::try_from(decimal.scale).map_or(Writing::Plain, Writing::Decimal)
        }
        Some(LogicalType::Integer(integer)) if !integer.is_signed => Writing::Unsigned,
        Some(LogicalType::Uuid) => Writing::Uuid,
        _ => match column.converted_type() {
            // Old writers have these alone.
            ConvertedType::DECIMAL => {
                u32::try_from(column.type_scale()).map_or(Writing::Plain, Writing::Decimal)
            }
            ConvertedType::UINT_8
            | ConvertedType::UINT_16
            | ConvertedType::UINT_32
            | ConvertedType::UINT_64 => Writing::Unsigned,
            _ => Writing::Plain,
        },
    }
}

/// Returns the type of a column of times; `None` for numbers and text.
pub(super) fn find_time_type(column: &ColumnDescriptor) -> Option<TimeType> {
    if column.physical_type() == Type::INT96 {
        return Some(TimeType::Moment { nanos: 1, utc: true });
    }
    match column.logical_type_ref() {
        Some(LogicalType::Timestamp(time)) => {
            let nanos = match time.unit {
                TimeUnit::MILLIS => 1_000_000,
                TimeUnit::MICROS => 1_000,
                TimeUnit::NANOS => 1,
            };
            return Some(TimeType::Moment { nanos, utc: time.is_adjusted_to_u_t_c });
        }
        Some(LogicalType::Date) => return Some(TimeType::Other("days")),
        Some(LogicalType::Time(_)) => return Some(TimeType::Other("times of a day")),
        _ => {}
    }
    match column.converted_type() {
        ConvertedType::TIMESTAMP_MILLIS => Some(TimeType::Moment { nanos: 1_000_000, utc: true }),
        ConvertedType::TIMESTAMP_MICROS => Some(TimeType::Moment { nanos: 1_000, utc: true }),
        ConvertedType::DATE => Some(TimeType::Other("days")),
        ConvertedType::TIME_MILLIS | ConvertedType::TIME_MICROS => {
            Some(TimeType::Other("times of a day"))
        }
        _ => None,
    }
}

/// Values of one column that were read at once.
enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<Int96>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

/// Reader of one column of a row group.
pub(super) struct ColumnText {
    reader: ColumnReader,
    writing: Writing,
    max_level: i16,
    levels: Vec<i16>,
    values: Values,
    /// Position in the values of the row that is asked for next.
    next_value: usize,
}

impl ColumnText {
    /// Creates a reader.
    pub fn new(reader: ColumnReader, writing: Writing, max_level: i16) -> Self {
        let values = match &reader {
            ColumnReader::BoolColumnReader(_) => Values::Bool(Vec::new()),
            ColumnReader::Int32ColumnReader(_) => Values::Int32(Vec::new()),
            ColumnReader::Int64ColumnReader(_) => Values::Int64(Vec::new()),
            ColumnReader::Int96ColumnReader(_) => Values::Int96(Vec::new()),
            ColumnReader::FloatColumnReader(_) => Values::Float(Vec::new()),
            ColumnReader::DoubleColumnReader(_) => Values::Double(Vec::new()),
            ColumnReader::ByteArrayColumnReader(_) => Values::Bytes(Vec::new()),
            ColumnReader::FixedLenByteArrayColumnReader(_) => Values::Fixed(Vec::new()),
        };
        Self { reader, writing, max_level, levels: Vec::new(), values, next_value: 0 }
    }

    /// Reads up to `rows` rows, and returns how many there were.
    pub fn read_rows(&mut self, rows: usize) -> Result<usize, ParquetError> {
        self.next_value = 0;
        self.levels.clear();
        let levels = &mut self.levels;
        match (&mut self.reader, &mut self.values) {
            (ColumnReader::BoolColumnReader(it), Values::Bool(to)) => read(it, rows, levels, to),
            (ColumnReader::Int32ColumnReader(it), Values::Int32(to)) => read(it, rows, levels, to),
            (ColumnReader::Int64ColumnReader(it), Values::Int64(to)) => read(it, rows, levels, to),
            (ColumnReader::Int96ColumnReader(it), Values::Int96(to)) => read(it, rows, levels, to),
            (ColumnReader::FloatColumnReader(it), Values::Float(to)) => read(it, rows, levels, to),
            (ColumnReader::DoubleColumnReader(it), Values::Double(to)) => {
                read(it, rows, levels, to)
            }
            (ColumnReader::ByteArrayColumnReader(it), Values::Bytes(to)) => {
                read(it, rows, levels, to)
            }
            (ColumnReader::FixedLenByteArrayColumnReader(it), Values::Fixed(to)) => {
                read(it, rows, levels, to)
            }
            _ => Err(ParquetError::General("another type of column".to_owned())),
        }
    }

    /// Passes over rows.
    pub fn skip_rows(&mut self, rows: usize) -> Result<usize, ParquetError> {
        match &mut self.reader {
            ColumnReader::BoolColumnReader(it) => it.skip_records(rows),
            ColumnReader::Int32ColumnReader(it) => it.skip_records(rows),
            ColumnReader::Int64ColumnReader(it) => it.skip_records(rows),
            ColumnReader::Int96ColumnReader(it) => it.skip_records(rows),
            ColumnReader::FloatColumnReader(it) => it.skip_records(rows),
            ColumnReader::DoubleColumnReader(it) => it.skip_records(rows),
            ColumnReader::ByteArrayColumnReader(it) => it.skip_records(rows),
            ColumnReader::FixedLenByteArrayColumnReader(it) => it.skip_records(rows),
        }
    }

    /// Returns the place of the value of the row `row`, which are asked for in order; `None` if
    /// it is missing.
    pub fn next_place(&mut self, row: usize) -> Option<usize> {
        let there = self.max_level == 0 || self.levels.get(row) == Some(&self.max_level);
        let place = there.then_some(self.next_value);
        self.next_value += usize::from(there);
        place
    }

    /// Returns the text of a value.
    ///
    /// # Errors
    ///
    /// Rejects bytes that are no text.
    pub fn text(&self, place: usize) -> Result<Option<Cow<'_, str>>, Reject> {
        let writing = self.writing;
        Ok(Some(match &self.values {
            Values::Bool(all) => {
                let Some(value) = all.get(place) else { return Ok(None) };
                Cow::Borrowed(if *value { "true" } else { "false" })
            }
            Values::Int32(all) => {
                let Some(value) = all.get(place) else { return Ok(None) };
                let bits = i128::from(value.cast_unsigned());
                write_integer(i128::from(*value), bits, writing)
            }
            Values::Int64(all) => {
                let Some(value) = all.get(place) else { return Ok(None) };
                let bits = i128::from(value.cast_unsigned());
                write_integer(i128::from(*value), bits, writing)
            }
            Values::Int96(all) => {
                let Some(value) = all.get(place) else { return Ok(None) };
                Cow::Owned(int96_nanos(value.data()).to_string())
            }
            Values::Float(all) => {
                let Some(value) = all.get(place) else { return Ok(None) };
                Cow::Owned(value.to_string())
            }
            Values::Double(all) => {
                let Some(value) = all.get(place) else { return Ok(None) };
                Cow::Owned(value.to_string())
            }
            Values::Bytes(all) => {
                let Some(value) = all.get(place) else { return Ok(None) };
                write_bytes(value.data(), writing)?
            }
            Values::Fixed(all) => {
                let Some(value) = all.get(place) else { return Ok(None) };
                write_bytes(value.data(), writing)?
            }
        }))
    }
}

fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    levels: &mut Vec<i16>,
    values: &mut Vec<T::T>,
) -> Result<usize, ParquetError> {
    values.clear();
    reader.read_records(rows, Some(levels), None, values).map(|(records, ..)| records)
}

fn write_integer(signed: i128, unsigned: i128, writing: Writing) -> Cow<'static, str> {
    Cow::Owned(match writing {
        Writing::Unsigned => unsigned.to_string(),
        Writing::Decimal(scale) => write_decimal(signed, scale),
        Writing::Less(shift) => (signed - i128::from(shift)).to_string(),
        Writing::Plain | Writing::Uuid => signed.to_string(),
    })
}

fn write_decimal(value: i128, scale: u32) -> String {
    // Decimals of Parquet have 38 digits at most.
    let scale = usize::try_from(scale.min(100)).unwrap_or(100);
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

fn write_bytes(bytes: &[u8], writing: Writing) -> Result<Cow<'_, str>, Reject> {
    match writing {
        Writing::Decimal(scale) => {
            let reject = Reject::new("a decimal of more than 38 digits");
            let first = bytes.first().copied().unwrap_or(0);
            let mut full = [if first >= 0x80 { 0xff } else { 0 }; 16];
            let at = full.len().checked_sub(bytes.len()).ok_or(reject)?;
            full[at..].copy_from_slice(bytes);
            Ok(Cow::Owned(write_decimal(i128::from_be_bytes(full), scale)))
        }
        Writing::Uuid => {
            let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
            let pairs = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0f)]);
            Ok(Cow::Owned(pairs.collect()))
        }
        Writing::Plain | Writing::Unsigned | Writing::Less(_) => std::str::from_utf8(bytes)
            .map(Cow::Borrowed)
            .map_err(|_| Reject::new("text that is no UTF-8")),
    }
}

/// Nanoseconds since 1970 of the day and the time of day in an old kind of timestamp.
fn int96_nanos(parts: &[u32]) -> i128 {
    /// Julian day of 1970-01-01.
    const EPOCH_DAY: i128 = 2_440_588;
    let [low, high, day] = parts else { return -1 };
    let nanos = (i128::from(*high) << 32) | i128::from(*low);
    (i128::from(*day) - EPOCH_DAY) * 86_400_000_000_000 + nanos
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_exactly() {
        assert_eq!(write_decimal(12_345, 2), "123.45");
        assert_eq!(write_decimal(-5, 3), "-0.005");
        assert_eq!(write_decimal(7, 0), "7");
        let decimal = |bytes| write_bytes(bytes, Writing::Decimal(1)).map(Cow::into_owned);
        assert_eq!(decimal(&[0xff, 0x85]), Ok("-12.3".to_owned()));
        assert!(decimal(&[1; 17]).is_err());
        let uuid = write_bytes(&[0x94, 0xf4], Writing::Uuid).map(Cow::into_owned);
        assert_eq!(uuid, Ok("94f4".to_owned()));
        assert!(write_bytes(&[0xff], Writing::Plain).is_err());
        // 1970-01-02 00:00:00.000000001.
        assert_eq!(int96_nanos(&[1, 0, 2_440_589]), 86_400_000_000_001);
        assert_eq!(
            write_integer(-1, i128::from(u64::MAX), Writing::Unsigned),
            "18446744073709551615"
        );
    }
}
