//! Reading of records: JSON objects, rows of CSV files, and numbers with units.

pub(crate) mod csv_reader;
pub(crate) mod csv_record;
pub(crate) mod json_object;
pub(crate) mod json_reader;
pub(crate) mod quantity;
pub(crate) mod row_maker;
pub(crate) mod time_notation;
