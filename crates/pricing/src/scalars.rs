//! Scalar values of a price file: names, days, currencies and decimals, each with the check of
//! what is accepted.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use toml::value::Datetime;

use super::money::Money;
use super::number::Exact;
use cyclometer_core::quantity::Decimal;
use cyclometer_core::visible_text::is_visible;

/// Maximum length of a name, source or note, in characters.
pub(super) const MAX_LABEL_CHARS: usize = 600;

/// An identifier that can be typed on a command line.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Id(pub String);

impl TryFrom<String> for Id {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if text.is_empty() || text.len() > 64 || text.starts_with('-') || !text.bytes().all(allowed)
        {
            return Err("an id has 1 to 64 characters out of a-z, 0-9 and -".to_owned());
        }
        Ok(Self(text))
    }
}

/// Name of an input.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct InputName(pub Arc<str>);

impl TryFrom<String> for InputName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        if text.len() > 64
            || !text.starts_with(|c: char| c.is_ascii_lowercase())
            || !text.bytes().all(allowed)
        {
            return Err("an input's name has up to 64 characters out of a-z, 0-9 and _, \
                        a letter first"
                .to_owned());
        }
        Ok(Self(text.into()))
    }
}

/// Text that is shown to users.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Label(pub Arc<str>);

impl TryFrom<String> for Label {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("this text is empty".to_owned());
        }
        if text.chars().count() > MAX_LABEL_CHARS {
            return Err(format!("this text has more than {MAX_LABEL_CHARS} characters"));
        }
        // Marks that reverse the direction of writing could make one price look like another.
        if !is_visible(&text) {
            return Err("this text holds a control character, such as a line break, or one that \
                        cannot be seen"
                .to_owned());
        }
        Ok(Self(text.into()))
    }
}

/// An ISO 4217 code, or the ticker of a currency that is not issued by a state.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Currency(pub String);

impl TryFrom<String> for Currency {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if (3..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Ok(Self(text));
        }
        Err("a currency is three to five capital letters, such as \"USD\"".to_owned())
    }
}

/// A calendar day, written without quotes, as TOML has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Date(pub String);

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Datetime::deserialize(deserializer) {
            Ok(Datetime { date: Some(date), time: None, offset: None }) => {
                Ok(Self(date.to_string()))
            }
            Err(error) if error.to_string().starts_with("missing field") => Err(error),
            // The library's own message mentions datetimes; this one covers both.
            _ => Err(D::Error::custom("a day has no quotes and no time, as in 2025-08-01")),
        }
    }
}

/// A quoted decimal: a price, an amount, a billed quantity.
#[derive(Debug, Clone)]
pub(super) struct Price {
    pub value: Exact,
    /// Number of digits after the point as written: the precision of a printed figure.
    pub decimals: u32,
}

impl Price {
    pub(super) fn into_money(self) -> Money {
        Money::new(self.value)
    }
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DecimalVisitor { integers: false })
    }
}

/// A quoted decimal, or a fraction such as `5/48`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Ratio(pub Exact);

impl TryFrom<String> for Ratio {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Exact::parse_fraction(&text).map(Self).map_err(|error| error.to_string())
    }
}

/// Quantity that a price is for: a quoted decimal or a bare integer.
#[derive(Debug, Clone)]
pub(super) struct Per(pub Exact);

impl<'de> Deserialize<'de> for Per {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = deserializer.deserialize_any(DecimalVisitor { integers: true })?;
        if read.value.is_zero() {
            return Err(D::Error::custom("a price is for more than 0"));
        }
        Ok(Self(read.value))
    }
}

struct DecimalVisitor {
    integers: bool,
}

impl Visitor<'_> for DecimalVisitor {
    type Value = Price;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.integers {
            "an integer, or a decimal in quotes such as \"0.5\""
        } else {
            "a decimal in quotes, such as \"0.20\": a bare number would go through binary \
             floating point, which has no exact 0.20"
        })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Price, E> {
        let number = Decimal::parse(text).map_err(E::custom)?;
        Ok(Price { value: Exact::from(&number), decimals: number.decimal_places() })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Price, E> {
        if !self.integers {
            return Err(E::invalid_type(serde::de::Unexpected::Signed(value), &self));
        }
        u64::try_from(value)
            .map(|value| Price { value: Exact::from(value), decimals: 0 })
            .map_err(|_| E::custom(format!("`{value}` is negative")))
    }
}
