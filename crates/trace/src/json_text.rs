//! Values of JSON records as their text, so that no number passes through binary floating point.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::exact_number::parse_exact;
use crate::format::Reject;

/// Value of a field that may be absent.
pub type Field<'a> = Option<&'a RawValue>;

/// Parses a record.
///
/// # Errors
///
/// Rejects what is no JSON of this shape.
pub fn parse_record<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Reject> {
    serde_json::from_slice(bytes).map_err(|_| Reject::new("no JSON of this format"))
}

/// Returns the text of a string, or the notation of another value; `None` for `null` and for an
/// absent field.
#[must_use]
pub fn field_text(field: Field<'_>) -> Option<Cow<'_, str>> {
    let raw = field?.get();
    if !raw.starts_with('"') {
        return (raw != "null").then_some(Cow::Borrowed(raw));
    }
    let inside = raw.get(1..raw.len().checked_sub(1)?)?;
    if inside.contains('\\') {
        return serde_json::from_str(raw).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inside))
}

/// Returns a number, written as such or as a string, times 10^`power`; `None` if it is absent or
/// empty.
///
/// # Errors
///
/// Rejects what is no number from 0 on, with `cause`.
pub fn field_scaled(
    field: Field<'_>,
    power: i32,
    cause: &'static str,
) -> Result<Option<u64>, Reject> {
    scale_text(field_text(field).as_deref(), power, cause)
}

/// Returns a number times 10^`power`; `None` if there is no text in it.
///
/// # Errors
///
/// Rejects what is no number from 0 on, with `cause`.
pub fn scale_text(
    text: Option<&str>,
    power: i32,
    cause: &'static str,
) -> Result<Option<u64>, Reject> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    let Some(text) = text else { return Ok(None) };
    parse_exact(text.as_bytes(), power).map(Some).ok_or(Reject::new(cause))
}

/// Returns whether bytes contain a text.
#[must_use]
pub fn contains(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

/// Returns whether an input begins like JSON: with a brace or a bracket.
#[must_use]
pub fn begins_like_json(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    matches!(start.trim_ascii_start().first(), Some(b'{' | b'['))
}
