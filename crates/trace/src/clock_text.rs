//! Times of logs, as nanoseconds since 1970 UTC.

use thiserror::Error;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

use crate::format::Reject;

/// Error from a time that is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ClockTextError {
    /// The text is no time in a known notation.
    #[error("a time that is not like 2025-05-12T20:24:06.154Z")]
    Notation,
    /// The time has no zone, and the user gave none.
    #[error("a time without a zone: give --zone")]
    NoZone,
    /// The time is before 1970 or after 2262.
    #[error("a time before 1970 or after 2262")]
    Range,
}

impl From<ClockTextError> for Reject {
    fn from(error: ClockTextError) -> Self {
        Self::new(match error {
            ClockTextError::Notation => "a time that is not like 2025-05-12T20:24:06.154Z",
            ClockTextError::NoZone => "a time without a zone: give --zone",
            ClockTextError::Range => "a time before 1970 or after 2262",
        })
    }
}

/// Parses a time such as `2025-05-12T20:24:06.154Z`, with a space for the `T`, another offset, or
/// none if `zone_minutes` says how many minutes it is ahead of UTC.
///
/// # Errors
///
/// Returns an error that says which of these it is not.
pub fn parse_timestamp(text: &str, zone_minutes: Option<i32>) -> Result<i64, ClockTextError> {
    let text = text.trim();
    if text.len() < 19 || text.len() > 40 || !text.is_ascii() {
        return Err(ClockTextError::Notation);
    }
    let mut iso = text.to_owned();
    if iso.as_bytes()[10] == b' ' {
        iso.replace_range(10..11, "T");
    }
    let zoned = OffsetDateTime::parse(&iso, &Rfc3339).ok();
    let time = match zoned {
        Some(time) => time,
        None => parse_without_zone(&iso, zone_minutes)?,
    };
    let nanos = i64::try_from(time.unix_timestamp_nanos()).ok().filter(|nanos| *nanos >= 0);
    nanos.ok_or(ClockTextError::Range)
}

fn parse_without_zone(iso: &str, zone: Option<i32>) -> Result<OffsetDateTime, ClockTextError> {
    let zulu = PrimitiveDateTime::parse(&format!("{iso}Z"), &Rfc3339);
    let time = zulu.map_err(|_| ClockTextError::Notation)?;
    let minutes = zone.ok_or(ClockTextError::NoZone)?;
    let offset = UtcOffset::from_whole_seconds(minutes.saturating_mul(60));
    Ok(time.assume_offset(offset.map_err(|_| ClockTextError::Range)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_their_zones() {
        // `date -u -d 2025-05-12T20:24:06Z +%s` is 1747081446.
        let wanted = 1_747_081_446_154_000_000;
        for text in [
            "2025-05-12T20:24:06.154Z",
            "2025-05-12 20:24:06.154Z",
            "2025-05-12T22:24:06.154+02:00",
        ] {
            assert_eq!(parse_timestamp(text, None), Ok(wanted), "{text}");
        }
        let local = "2025-05-12 22:24:06.154";
        assert_eq!(parse_timestamp(local, Some(120)), Ok(wanted));
        assert_eq!(parse_timestamp(local, None), Err(ClockTextError::NoZone));
        for text in ["", "12.05.2025 20:24:06", "05/12/2025 08:24:06 PM", "2025-13-12T20:24:06Z"] {
            assert_eq!(parse_timestamp(text, Some(0)), Err(ClockTextError::Notation), "{text}");
        }
        assert_eq!(parse_timestamp("1969-12-31T23:59:59Z", None), Err(ClockTextError::Range));
    }
}
