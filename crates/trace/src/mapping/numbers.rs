//! Numbers in the notation of a locale.

use std::borrow::Cow;

use crate::format::Reject;

/// Marks of numbers: `1.234,5` has a comma before decimals, and a point between thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NumberNotation {
    /// Mark before decimals.
    pub decimal: char,
    /// Mark between thousands; numbers with one are rejected unless it is given.
    pub group: Option<char>,
}

impl NumberNotation {
    /// `1234.5`.
    pub const PLAIN: Self = Self { decimal: '.', group: None };

    /// Writes a number in plain notation.
    ///
    /// # Errors
    ///
    /// Rejects a number whose marks are not those of the notation: `1.23,5`.
    pub fn to_plain<'a>(self, text: &'a str, cause: &'static str) -> Result<Cow<'a, str>, Reject> {
        if self == Self::PLAIN {
            return Ok(Cow::Borrowed(text));
        }
        let reject = Reject::new(cause);
        let mut parts = text.trim().split(self.decimal);
        let (whole, fraction) = (parts.next().unwrap_or_default(), parts.next());
        if parts.next().is_some() {
            return Err(reject);
        }
        let whole = self.join_groups(whole).ok_or(reject)?;
        Ok(match fraction {
            // No mark has a place behind that of the decimals.
            Some(fraction) if fraction.contains(['.', ',']) => return Err(reject),
            Some(fraction) => Cow::Owned(format!("{whole}.{fraction}")),
            None => Cow::Owned(whole),
        })
    }

    fn join_groups(self, whole: &str) -> Option<String> {
        let Some(group) = self.group else {
            let foreign = self.decimal != '.' && whole.contains('.');
            return (!foreign).then(|| whole.to_owned());
        };
        let is_mark = |character: char| {
            // Blanks between thousands may be narrow, or hold lines together.
            character == group
                || (group == ' ' && matches!(character, '\u{a0}' | '\u{202f}' | '\u{2009}'))
        };
        let mut parts = whole.split(is_mark);
        let first = parts.next()?;
        let digits = first.trim_start_matches(['-', '+']).len();
        let mut joined = first.to_owned();
        let mut grouped = false;
        for part in parts {
            if part.len() != 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            grouped = true;
            joined.push_str(part);
        }
        let fits = !grouped || (1..=3).contains(&digits);
        (fits && (self.decimal == '.' || !joined.contains('.'))).then_some(joined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_a_locale_are_read_and_others_rejected() {
        let german = NumberNotation { decimal: ',', group: Some('.') };
        let french = NumberNotation { decimal: ',', group: Some(' ') };
        let english = NumberNotation { decimal: '.', group: Some(',') };
        let comma = NumberNotation { decimal: ',', group: None };
        for (notation, text, wanted) in [
            (german, "1.234,5", Some("1234.5")),
            (german, "-1.234.567", Some("-1234567")),
            (german, "1234,5", Some("1234.5")),
            (german, "1.23,5", None),
            (german, "1.2345", None),
            (german, "1234.567", None),
            (german, "1,234.5", None),
            (german, "1,2,3", None),
            (french, "1\u{202f}234,5", Some("1234.5")),
            (french, "1.5", None),
            (english, "1,234.5", Some("1234.5")),
            (english, "1,23", None),
            (english, "1.234,5", None),
            (comma, "12,5", Some("12.5")),
            (comma, "12.5", None),
            (NumberNotation::PLAIN, "12.5", Some("12.5")),
        ] {
            let given = notation.to_plain(text, "x").ok();
            assert_eq!(given.as_deref(), wanted, "{text}");
        }
    }
}
