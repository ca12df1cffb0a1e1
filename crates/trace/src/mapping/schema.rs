//! Text of a mapping file, as TOML has it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use toml::Spanned;

/// A mapping file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMapping {
    pub trace: RawTrace,
    #[serde(default)]
    pub fields: RawFields,
    pub meters: BTreeMap<Spanned<String>, Spanned<RawMeter>>,
}

/// What the file is like.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTrace {
    pub format: Spanned<RawLayout>,
    pub name: Option<String>,
    pub platform: Spanned<String>,
    pub delimiter: Option<Spanned<String>>,
    pub header: Option<Spanned<bool>>,
    pub array: Option<Spanned<String>>,
    pub decimal: Option<Spanned<String>>,
    pub group: Option<Spanned<String>>,
    pub zone: Option<Spanned<String>>,
}

/// Kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawLayout {
    Csv,
    Json,
    Ndjson,
    Parquet,
}

/// Columns that are no meters.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFields {
    pub function: Option<Spanned<RawName>>,
    pub region: Option<Spanned<RawName>>,
    pub instance: Option<Spanned<RawName>>,
    pub request: Option<Spanned<RawName>>,
    pub started: Option<Spanned<RawTime>>,
    pub ended: Option<Spanned<RawTime>>,
    pub status: Option<Spanned<RawStatus>>,
    pub cold: Option<Spanned<RawValues>>,
    pub only: Option<Spanned<RawValues>>,
    pub weight: Option<Spanned<RawWeight>>,
}

/// A name: of a column, or the same for all rows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawName {
    pub column: Option<Selector>,
    pub value: Option<String>,
}

/// A point in time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTime {
    pub column: Selector,
    pub notation: Spanned<String>,
    pub zone: Option<Spanned<String>>,
}

/// End state, by values; a `*` at the end stands for anything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStatus {
    pub column: Selector,
    #[serde(default)]
    pub ok: Vec<String>,
    #[serde(default)]
    pub failed: Vec<String>,
    #[serde(default)]
    pub timeout: Vec<String>,
}

/// Values of a column that matter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawValues {
    pub column: Selector,
    pub values: Vec<String>,
}

/// Number of invocations that a row stands for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWeight {
    pub column: Selector,
}

/// A meter: of a column, or the same for all rows, in its unit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMeter {
    pub column: Option<Selector>,
    pub value: Option<Spanned<toml::Value>>,
    pub unit: Spanned<String>,
    #[serde(default)]
    pub estimate: bool,
    pub note: Option<String>,
}

/// Column: its name or path, its keys, or its position from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selector {
    Name(String),
    Keys(Vec<String>),
    Position(usize),
}

impl Selector {
    /// Returns the column as messages name it.
    pub fn label(&self) -> String {
        match self {
            Self::Name(name) => format!("`{name}`"),
            Self::Keys(keys) => format!("`{}`", keys.join("`.`")),
            Self::Position(position) => format!("number {position}"),
        }
    }

    /// Returns the keys of a JSON path, or of a column of Parquet.
    pub fn keys(&self) -> Vec<String> {
        match self {
            Self::Name(name) => name.split('.').map(str::to_owned).collect(),
            Self::Keys(keys) => keys.clone(),
            Self::Position(_) => Vec::new(),
        }
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Column;
        impl<'de> Visitor<'de> for Column {
            type Value = Selector;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column's name, its position from 1, or a list of keys")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Selector, E> {
                if text.is_empty() {
                    return Err(E::custom("a column without a name"));
                }
                Ok(Selector::Name(text.to_owned()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Selector, E> {
                match usize::try_from(number) {
                    Ok(position) if (1..=4_096).contains(&position) => {
                        Ok(Selector::Position(position))
                    }
                    _ => Err(E::custom("positions of columns are from 1 to 4,096")),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Selector, A::Error> {
                let mut keys = Vec::new();
                while let Some(key) = list.next_element::<String>()? {
                    keys.push(key);
                }
                if keys.is_empty() {
                    return Err(A::Error::custom("a column without keys"));
                }
                Ok(Selector::Keys(keys))
            }
        }
        deserializer.deserialize_any(Column)
    }
}
