//! Notations of times: ISO 8601, numbers since 1970, and patterns such as `%d.%m.%Y %H:%M:%S`.

use time::{Date, Month, PrimitiveDateTime, Time, UtcOffset};

use crate::clock_text::{ClockTextError, parse_timestamp};
use crate::format::Reject;
use crate::reading::quantity::{EPOCH, UnitScale, parse_quantity};

/// Notation of the times of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TimeNotation {
    /// `2025-05-12T20:24:06.154Z`, see [`parse_timestamp`].
    Iso,
    /// A number since 1970 UTC, and the scale to nanoseconds.
    Epoch(UnitScale),
    /// Characters, and directives of `strftime`.
    Pattern(Vec<PatternPart>),
}

/// Part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatternPart {
    /// This character.
    Literal(char),
    /// Letter of a directive.
    Directive(char),
}

/// Directives that a pattern may have.
pub(crate) const DIRECTIVES: &str = "%Y %m %b %d %H %I %p %M %S %f %z";

const NO_MATCH: Reject = Reject::new("a time that is not in the notation of its column");

impl TimeNotation {
    /// Parses a pattern of `strftime` directives.
    ///
    /// # Errors
    ///
    /// Returns a message if there is an unknown directive, or not enough for a time.
    pub fn parse_pattern(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            parts.push(
                match (character, if character == '%' { characters.next() } else { None }) {
                    ('%', Some('%')) => PatternPart::Literal('%'),
                    ('%', Some(letter)) if "YmbdHIpMSfz".contains(letter) => {
                        PatternPart::Directive(letter)
                    }
                    ('%', other) => {
                        let other = other.map_or(String::new(), |it| it.to_string());
                        return Err(format!("`%{other}` is no directive: there are {DIRECTIVES}"));
                    }
                    (literal, _) => PatternPart::Literal(literal),
                },
            );
        }
        let has = |letters: &str| {
            letters.chars().any(|letter| parts.contains(&PatternPart::Directive(letter)))
        };
        if has("I") != has("p") {
            return Err("`%I` and `%p` belong together".to_owned());
        }
        if !(has("Y") && has("mb") && has("d") && has("HI") && has("M") && has("S")) {
            return Err("a pattern needs year, month, day, hour, minute and second".to_owned());
        }
        Ok(Self::Pattern(parts))
    }

    /// Returns whether times in the notation may come without a zone.
    pub fn may_lack_zone(&self) -> bool {
        match self {
            Self::Iso => true,
            Self::Epoch(_) => false,
            Self::Pattern(parts) => !parts.contains(&PatternPart::Directive('z')),
        }
    }

    /// Parses a time into nanoseconds since 1970 UTC; `zone_minutes` is that of times without a
    /// zone.
    ///
    /// # Errors
    ///
    /// Rejects a time in another notation, without a zone, or out of range.
    pub fn parse_time(&self, text: &str, zone_minutes: Option<i32>) -> Result<i64, Reject> {
        match self {
            Self::Iso => parse_iso_time(text, zone_minutes),
            Self::Epoch(scale) => parse_epoch(text.as_bytes(), *scale),
            Self::Pattern(parts) => parse_by_pattern(parts, text, zone_minutes),
        }
    }
}

/// Parses a time such as `2025-05-12T20:24:06.154Z`.
pub(crate) fn parse_iso_time(text: &str, zone_minutes: Option<i32>) -> Result<i64, Reject> {
    parse_timestamp(text, zone_minutes).map_err(|error| {
        Reject::new(match error {
            ClockTextError::Notation => "a time that is not like 2025-05-12T20:24:06.154Z",
            ClockTextError::NoZone => "a time without a zone: give --zone",
            ClockTextError::Range => "a time before 1970 or after 2262",
        })
    })
}

/// Parses a number since 1970 UTC.
pub(crate) fn parse_epoch(text: &[u8], scale: UnitScale) -> Result<i64, Reject> {
    let nanos = parse_quantity(text, scale, EPOCH)?;
    i64::try_from(nanos).map_err(|_| Reject::new(EPOCH.range))
}

/// Fields that were read by a pattern.
#[derive(Default)]
struct TimeFields {
    year: i32,
    month: u8,
    day: u8,
    hour: u8,
    afternoon: Option<bool>,
    minute: u8,
    second: u8,
    nanos: u32,
    zone: Option<i32>,
}

fn parse_by_pattern(
    parts: &[PatternPart],
    text: &str,
    zone_minutes: Option<i32>,
) -> Result<i64, Reject> {
    let mut rest = text.trim();
    let mut fields = TimeFields::default();
    for part in parts {
        rest = match part {
            PatternPart::Literal(' ') => {
                let after = rest.trim_start();
                if after.len() == rest.len() {
                    return Err(NO_MATCH);
                }
                after
            }
            PatternPart::Literal(literal) => rest.strip_prefix(*literal).ok_or(NO_MATCH)?,
            PatternPart::Directive(letter) => {
                read_directive(*letter, rest, &mut fields).ok_or(NO_MATCH)?
            }
        };
    }
    if !rest.is_empty() {
        return Err(NO_MATCH);
    }
    let minutes = fields.zone.or(zone_minutes);
    let minutes = minutes.ok_or(Reject::new("a time without a zone: give --zone"))?;
    let time = fields.join(minutes).ok_or(NO_MATCH)?;
    let nanos = i64::try_from(time).ok().filter(|nanos| *nanos >= 0);
    nanos.ok_or(Reject::new("a time before 1970 or after 2262"))
}

impl TimeFields {
    /// Returns the nanoseconds since 1970 UTC.
    fn join(&self, zone_minutes: i32) -> Option<i128> {
        let hour = match self.afternoon {
            None => self.hour,
            Some(afternoon) if (1..=12).contains(&self.hour) => {
                self.hour % 12 + if afternoon { 12 } else { 0 }
            }
            Some(_) => return None,
        };
        let month = Month::try_from(self.month).ok()?;
        let date = Date::from_calendar_date(self.year, month, self.day).ok()?;
        let time = Time::from_hms_nano(hour, self.minute, self.second, self.nanos).ok()?;
        let zone = UtcOffset::from_whole_seconds(zone_minutes.checked_mul(60)?).ok()?;
        Some(PrimitiveDateTime::new(date, time).assume_offset(zone).unix_timestamp_nanos())
    }
}

/// Reads what a directive stands for, and returns the rest.
fn read_directive<'a>(letter: char, text: &'a str, fields: &mut TimeFields) -> Option<&'a str> {
    let two = |text| take_digits(text, 1, 2);
    let (value, rest) = match letter {
        'Y' => take_digits(text, 4, 4)?,
        'b' => take_month(text)?,
        'f' => take_fraction(text)?,
        'z' => {
            let (zone, rest) = take_zone(text)?;
            fields.zone = Some(zone);
            return Some(rest);
        }
        'p' => {
            let (word, rest) = text.split_at_checked(2)?;
            fields.afternoon = Some(word.eq_ignore_ascii_case("PM"));
            return (word.eq_ignore_ascii_case("PM") || word.eq_ignore_ascii_case("AM"))
                .then_some(rest);
        }
        _ => two(text)?,
    };
    let small = u8::try_from(value).ok();
    match letter {
        'Y' => fields.year = i32::try_from(value).ok()?,
        'm' | 'b' => fields.month = small?,
        'd' => fields.day = small?,
        'H' | 'I' => fields.hour = small?,
        'M' => fields.minute = small?,
        'S' => fields.second = small?,
        _ => fields.nanos = value,
    }
    Some(rest)
}

fn take_digits(text: &str, least: usize, most: usize) -> Option<(u32, &str)> {
    let digits = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at_checked(digits)?;
    if digits < least {
        return None;
    }
    Some((number.parse().ok()?, rest))
}

/// Takes a fraction of a second; digits beyond nanoseconds are dropped.
fn take_fraction(text: &str) -> Option<(u32, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at_checked(digits)?;
    if digits == 0 {
        return None;
    }
    let nine: String = number.chars().chain(std::iter::repeat('0')).take(9).collect();
    Some((nine.parse().ok()?, rest))
}

fn take_month(text: &str) -> Option<(u32, &str)> {
    const MONTHS: &str = "janfebmaraprmayjunjulaugsepoctnovdec";
    let (name, rest) = text.split_at_checked(3)?;
    let at = MONTHS.find(&name.to_ascii_lowercase()).filter(|at| at % 3 == 0)?;
    Some((u32::try_from(at / 3 + 1).ok()?, rest))
}

/// Takes `Z`, `UTC`, `GMT`, `+02:00` or `+0200`, and returns minutes.
fn take_zone(text: &str) -> Option<(i32, &str)> {
    for name in ["Z", "UTC", "GMT"] {
        if let Some(rest) = text.strip_prefix(name) {
            return Some((0, rest));
        }
    }
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, rest) = take_digits(rest, 2, 2)?;
    let (minutes, rest) = take_digits(rest.strip_prefix(':').unwrap_or(rest), 2, 2)?;
    Some((sign * i32::try_from(hours * 60 + minutes).ok()?, rest))
}

/// Parses an offset from UTC that a user wrote, such as `+02:00` or `UTC`, into minutes.
pub(crate) fn parse_zone(text: &str) -> Option<i32> {
    take_zone(text)
        .filter(|(minutes, rest)| rest.is_empty() && minutes.abs() < 24 * 60)
        .map(|it| it.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `date -u -d 2025-05-12T20:24:06Z +%s` is 1747081446.
    const WANTED: i64 = 1_747_081_446_154_000_000;

    fn read(pattern: &str, text: &str, zone: Option<i32>) -> Result<i64, Reject> {
        TimeNotation::parse_pattern(pattern).expect("a pattern").parse_time(text, zone)
    }

    #[test]
    fn patterns_read_times_of_other_locales() {
        for (pattern, text, zone) in [
            ("%d.%m.%Y %H:%M:%S,%f", "12.05.2025 20:24:06,154", Some(0)),
            ("%d.%m.%Y %H:%M:%S.%f", "12.5.2025   22:24:06.154", Some(120)),
            ("%m/%d/%Y, %I:%M:%S.%f %p", "5/12/2025, 8:24:06.154 PM", Some(0)),
            ("%d/%b/%Y:%H:%M:%S.%f %z", "12/May/2025:22:24:06.1540000009 +0200", None),
            ("%Y-%m-%d %H:%M:%S.%f %z", "2025-05-12 20:24:06.154 UTC", Some(60)),
            ("%Y%m%dT%H%M%S.%f%z", "20250512T142406.154-06:00", None),
        ] {
            assert_eq!(read(pattern, text, zone), Ok(WANTED), "{text}");
        }
        // Midnight and noon.
        let hours = "%Y-%m-%d %I:%M:%S %p";
        assert_eq!(read(hours, "1970-01-01 12:00:01 AM", Some(0)), Ok(1_000_000_000));
        assert_eq!(read(hours, "1970-01-01 12:00:00 PM", Some(0)), Ok(43_200_000_000_000));
    }

    #[test]
    fn times_that_do_not_fit_are_rejected() {
        let plain = "%Y-%m-%d %H:%M:%S";
        for text in [
            "2025-02-29 00:00:00",
            "2025-13-01 00:00:00",
            "25-01-01 00:00:00",
            "",
            "2025-01-01 24:00:00",
            "2025-01-01 00:00:00x",
            "2025-01-01",
            "ä2025-01-01 00:00:00",
        ] {
            assert_eq!(read(plain, text, Some(0)), Err(NO_MATCH), "{text}");
        }
        assert!(read(plain, "1969-12-31 23:59:59", Some(0)).is_err());
        assert!(read(plain, "2263-01-01 00:00:00", Some(0)).is_err());
        assert!(read(plain, "2025-01-01 00:00:00", None).is_err_and(|it| it.0.contains("--zone")));
        assert!(read(plain, "2025-01-01 00:00:00", Some(i32::MAX)).is_err());
        for pattern in ["%Y", "%Q", "%", "%Y-%m-%d %I:%M:%S"] {
            assert!(TimeNotation::parse_pattern(pattern).is_err(), "{pattern}");
        }
        let epoch = TimeNotation::Epoch(UnitScale::MILLISECONDS);
        assert_eq!(epoch.parse_time("1747081446154", None), Ok(WANTED));
        assert_eq!(epoch.parse_time("1747081446154.5", None), Ok(WANTED + 500_000));
        assert_eq!(epoch.parse_time("-1", None), Err(Reject::new(EPOCH.negative)));
        assert_eq!(epoch.parse_time("9223372036855", None), Err(Reject::new(EPOCH.range)));
        assert_eq!(parse_zone("+02:00"), Some(120));
        assert_eq!(parse_zone("+24:00"), None);
        assert_eq!(parse_zone("+02:00 "), None);
    }
}
