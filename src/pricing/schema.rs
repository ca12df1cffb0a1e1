//! The TOML form of a price model, as written: shapes and spans. What the
//! values mean together is checked by [`super::resolve`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::value::Datetime;

use super::money::{Money, Rounding};
use super::number::{Exact, MAX_FILE_CHARS};
use super::unit::Phase;
use crate::meter::Meter;

/// Longest name, source or note, in characters.
const MAX_LABEL_CHARS: usize = 500;

/// A whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelFile {
    pub id: Id,
    pub name: Label,
    pub currency: Currency,
    pub granularity: Granularity,
    pub effective_from: Date,
    pub retrieved: Date,
    pub source: Label,
    pub rounding: Rounding,
    pub charge: Spanned<Vec<Spanned<ChargeFile>>>,
    #[serde(default)]
    pub example: Vec<Spanned<ExampleFile>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChargeFile {
    pub name: Spanned<Label>,
    pub unit: Option<Label>,
    pub price: Price,
    pub per: Option<Spanned<Per>>,
    #[serde(default)]
    pub factor: Vec<Spanned<FactorFile>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FactorFile {
    pub meter: Option<Spanned<String>>,
    pub phases: Option<Spanned<Vec<Phase>>>,
    pub unit: Spanned<String>,
    pub grid: Option<Spanned<String>>,
    pub minimum: Option<Spanned<String>>,
    #[serde(default)]
    pub fallback: Vec<FallbackFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FallbackFile {
    pub meter: Spanned<Meter>,
    pub note: Label,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExampleFile {
    pub name: Label,
    pub source: Label,
    pub amount: Option<Price>,
    #[serde(default)]
    pub quantities: BTreeMap<String, Spanned<Price>>,
    #[serde(default)]
    pub usage: Vec<UsageFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UsageFile {
    pub requests: u64,
    #[serde(default)]
    pub cold: bool,
    #[serde(default)]
    pub phases: PhasesFile,
    #[serde(default)]
    pub meters: BTreeMap<Meter, Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PhasesFile {
    pub create: Option<Spanned<String>>,
    pub start: Option<Spanned<String>>,
    pub run: Option<Spanned<String>>,
    pub teardown: Option<Spanned<String>>,
}

/// How closely a bill follows the work that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    /// Bills what was allocated, on a grid.
    Coarse,
    /// Bills what was used.
    Fine,
}

impl Granularity {
    /// The name used in price models.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Coarse => "coarse",
            Self::Fine => "fine",
        }
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that can be typed on a command line.
#[derive(Debug, Deserialize)]
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

/// Text that is shown to people.
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
        if text.contains(char::is_control) {
            return Err("this text holds a control character, such as a line break".to_owned());
        }
        Ok(Self(text.into()))
    }
}

/// An ISO 4217 code.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Currency(pub String);

impl TryFrom<String> for Currency {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Ok(Self(text));
        }
        Err("a currency is three capital letters, such as \"USD\"".to_owned())
    }
}

/// A calendar day, written without quotes, as TOML has it.
#[derive(Debug)]
pub(super) struct Date(pub String);

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Datetime::deserialize(deserializer) {
            Ok(Datetime { date: Some(date), time: None, offset: None }) => {
                Ok(Self(date.to_string()))
            }
            // The library's own message speaks of datetimes; this covers both.
            _ => Err(D::Error::custom("a day has no quotes and no time, as in 2025-08-01")),
        }
    }
}

/// A quoted decimal: a price, an amount, a billed quantity.
#[derive(Debug)]
pub(super) struct Price(pub Exact);

impl Price {
    pub(super) fn into_money(self) -> Money {
        Money::new(self.0)
    }
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DecimalVisitor { integers: false }).map(Self)
    }
}

/// The quantity that a price is for: a quoted decimal or a bare integer.
#[derive(Debug)]
pub(super) struct Per(pub Exact);

impl<'de> Deserialize<'de> for Per {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DecimalVisitor { integers: true }).map(Self)
    }
}

struct DecimalVisitor {
    integers: bool,
}

impl Visitor<'_> for DecimalVisitor {
    type Value = Exact;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.integers {
            "an integer, or a decimal in quotes such as \"0.5\""
        } else {
            "a decimal in quotes, such as \"0.20\": a bare number would go through binary \
             floating point, which has no exact 0.20"
        })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Exact, E> {
        Exact::parse(text, MAX_FILE_CHARS).map_err(|error| {
            let start: String = text.chars().take(MAX_FILE_CHARS).collect();
            E::custom(format!("`{start}` {error}"))
        })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Exact, E> {
        if !self.integers {
            return Err(E::invalid_type(serde::de::Unexpected::Signed(value), &self));
        }
        u64::try_from(value)
            .map(Exact::from)
            .map_err(|_| E::custom(format!("`{value}` is negative")))
    }
}
