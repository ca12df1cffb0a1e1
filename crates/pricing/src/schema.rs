//! TOML form of a price model, as written: shapes and spans. The rules between values are checked
//! by [`super::resolve`].

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::money::RoundingPolicy;
use super::number::Exact;
use super::scalars::{Currency, Date, Id, InputName, Label, Per, Price, Ratio};
use super::terms::DAY;
use super::unit::{Gigabyte, Phase};
use cyclometer_core::meter::Meter;
use cyclometer_core::quantity::{Decimal, parse_whole_number};
use cyclometer_core::units::{TIME, advise_unit, unit_size};

/// A whole price file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelFile {
    pub id: Spanned<Id>,
    pub name: Label,
    pub provider: Option<Label>,
    pub currency: Currency,
    pub granularity: Granularity,
    pub effective_from: Spanned<Date>,
    pub effective_until: Option<Spanned<Date>>,
    pub tariff: Option<Id>,
    pub retrieved: Date,
    pub source: Label,
    pub uncertain: Option<Label>,
    pub rounding: RoundingPolicy,
    pub digits: Option<Spanned<u32>>,
    #[serde(default)]
    pub gb: Gigabyte,
    pub month_days: Option<Spanned<PeriodLength>>,
    #[serde(default)]
    pub input: Vec<Spanned<InputFile>>,
    #[serde(default)]
    pub pool: Vec<Spanned<PoolFile>>,
    pub charge: Spanned<Vec<Spanned<ChargeFile>>>,
    #[serde(default)]
    pub variant: Vec<Spanned<ModelVariantFile>>,
    #[serde(default)]
    pub example: Vec<Spanned<ExampleFile>>,
}

/// A variant: the tariff with some keys replaced.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelVariantFile {
    pub id: Spanned<Id>,
    pub name: Label,
    pub provider: Option<Label>,
    pub currency: Option<Currency>,
    pub granularity: Option<Granularity>,
    pub effective_from: Option<Spanned<Date>>,
    pub effective_until: Option<Spanned<Date>>,
    pub tariff: Option<Id>,
    pub retrieved: Option<Date>,
    pub source: Option<Label>,
    pub uncertain: Option<Label>,
    pub rounding: Option<RoundingPolicy>,
    pub digits: Option<Spanned<u32>>,
    pub gb: Option<Gigabyte>,
    pub month_days: Option<Spanned<PeriodLength>>,
    #[serde(default)]
    pub prices: BTreeMap<Spanned<String>, Price>,
    #[serde(default)]
    pub without: Vec<Spanned<String>>,
    #[serde(default)]
    pub input: Vec<Spanned<InputFile>>,
    #[serde(default)]
    pub pool: Vec<Spanned<PoolFile>>,
    #[serde(default)]
    pub charge: Vec<Spanned<ChargeFile>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InputFile {
    pub name: Spanned<InputName>,
    pub kind: ModelInputKind,
    pub default: Option<Spanned<InputValue>>,
    pub about: Label,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PoolFile {
    pub name: Spanned<Label>,
    pub unit: Label,
    pub price: Option<Price>,
    pub per: Option<Spanned<Per>>,
    pub free: Option<Spanned<String>>,
    pub credit_price: Option<Spanned<Price>>,
    pub free_rest_of: Option<Spanned<String>>,
    pub package: Option<Spanned<String>>,
    #[serde(default)]
    pub tier: Vec<Spanned<TierFile>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TierFile {
    pub up_to: Option<Spanned<String>>,
    pub price: Price,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChargeFile {
    pub name: Spanned<Label>,
    pub unit: Option<Label>,
    pub basis: Option<ChargeBasis>,
    pub price: Option<Price>,
    pub per: Option<Spanned<Per>>,
    pub free: Option<Spanned<String>>,
    pub credit_price: Option<Spanned<Price>>,
    pub free_rest_of: Option<Spanned<String>>,
    pub package: Option<Spanned<String>>,
    #[serde(default)]
    pub tier: Vec<Spanned<TierFile>>,
    pub pool: Option<Spanned<String>>,
    pub weight: Option<Spanned<Ratio>>,
    pub when: Option<Spanned<String>>,
    pub unless: Option<Spanned<String>>,
    #[serde(default)]
    pub factor: Vec<Spanned<FactorFile>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FactorFile {
    pub meter: Option<Spanned<String>>,
    pub phases: Option<Spanned<Vec<Phase>>>,
    pub input: Option<Spanned<String>>,
    pub period: Option<Spanned<bool>>,
    pub lookup: Option<Spanned<String>>,
    #[serde(default)]
    pub table: Vec<Spanned<RowFile>>,
    pub max_of: Option<Spanned<Vec<Spanned<MeasureFile>>>>,
    pub unit: Spanned<String>,
    pub times: Option<Spanned<String>>,
    #[serde(rename = "as")]
    pub product_unit: Option<Spanned<String>>,
    pub above: Option<Spanned<String>>,
    pub at_most: Option<Spanned<String>>,
    pub limit: Option<Spanned<String>>,
    pub minimum: Option<Spanned<String>>,
    pub grid: Option<Spanned<String>>,
    pub each: Option<Spanned<bool>>,
    #[serde(default)]
    pub fallback: Vec<Spanned<FallbackFile>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RowFile {
    pub up_to: Spanned<String>,
    pub value: Price,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MeasureFile {
    pub meter: Option<Spanned<String>>,
    pub phases: Option<Spanned<Vec<Phase>>>,
    pub input: Option<Spanned<String>>,
    pub grid: Option<Spanned<String>>,
    pub times: Option<Spanned<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FallbackFile {
    pub meter: Option<Spanned<String>>,
    pub value: Option<Spanned<String>>,
    pub note: Label,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExampleFile {
    pub name: Label,
    pub source: Label,
    pub variant: Option<Spanned<String>>,
    #[serde(default = "yes")]
    pub free: bool,
    pub days: Option<Spanned<PeriodLength>>,
    pub rounding: Option<RoundingPolicy>,
    pub digits: Option<Spanned<u32>>,
    #[serde(default)]
    pub set: BTreeMap<Spanned<String>, Spanned<InputValue>>,
    pub amount: Option<Price>,
    #[serde(default)]
    pub lines: BTreeMap<Spanned<String>, Price>,
    #[serde(default)]
    pub quantities: BTreeMap<Spanned<String>, Price>,
    #[serde(default)]
    pub billable: BTreeMap<Spanned<String>, Price>,
    pub disputed: Option<Label>,
    #[serde(default)]
    pub usage: Vec<Spanned<UsageFile>>,
}

const fn yes() -> bool {
    true
}

/// A group of identical invocations: of an example, or of a file for `explain`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UsageFile {
    pub requests: CountValue,
    #[serde(default)]
    pub cold: bool,
    #[serde(default)]
    pub phases: PhasesFile,
    #[serde(default)]
    pub meters: BTreeMap<Meter, Spanned<String>>,
    #[serde(default)]
    pub set: BTreeMap<Spanned<String>, Spanned<InputValue>>,
    pub instances: Option<CountValue>,
    pub instance_time: Option<Spanned<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PhasesFile {
    pub create: Option<Spanned<String>>,
    pub start: Option<Spanned<String>>,
    pub run: Option<Spanned<String>>,
    pub teardown: Option<Spanned<String>>,
}

/// A file of usage groups, for `explain --usage`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UsageGroupsFile {
    #[serde(default)]
    pub set: BTreeMap<Spanned<String>, Spanned<InputValue>>,
    #[serde(default)]
    pub usage: Vec<Spanned<UsageFile>>,
}

/// Granularity of a tariff: how closely a bill follows the work that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    /// Bills what was allocated, on a grid.
    Coarse,
    /// Bills what was used.
    Fine,
    /// Bills some of both.
    Hybrid,
}

impl Granularity {
    /// Returns the name used in price models.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Coarse => "coarse",
            Self::Fine => "fine",
            Self::Hybrid => "hybrid",
        }
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Unit that a charge is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChargeBasis {
    /// Every invocation.
    Request,
    /// Every span of time in which an instance serves at least one invocation.
    Instance,
    /// Once per billing period.
    Period,
}

/// Kind of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelInputKind {
    /// A span of time.
    Time,
    /// Memory or data.
    Size,
    /// Memory over time.
    SizeTime,
    /// A count of something.
    Count,
    /// A plain number, such as a rate or a share.
    Number,
    /// On or off.
    Switch,
}

/// Value of an input as written: a quantity with its unit, a number, or whether a switch is on.
#[derive(Debug, Clone)]
pub(super) enum InputValue {
    Switch(bool),
    Whole(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for InputValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputValueVisitor)
    }
}

struct InputValueVisitor;

impl Visitor<'_> for InputValueVisitor {
    type Value = InputValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a whole number, true or false, or in quotes a number and its unit such as \"0.0457\" \
             or \"2 GiB\": a bare fraction would go through binary floating point",
        )
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<InputValue, E> {
        Ok(InputValue::Switch(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<InputValue, E> {
        let whole = u64::try_from(value).map(InputValue::Whole);
        whole.map_err(|_| E::custom(format!("`{value}` is negative: write 0 or more")))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<InputValue, E> {
        Ok(InputValue::Text(text.to_owned()))
    }
}

/// A count: a whole number, or in quotes `\"4e6\"` or `\"4M\"`.
#[derive(Debug, Clone, Copy)]
pub(super) struct CountValue(pub u64);

impl<'de> Deserialize<'de> for CountValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor)
    }
}

struct CountVisitor;

impl Visitor<'_> for CountVisitor {
    type Value = CountValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number such as 4_000_000, or in quotes \"4e6\" or \"4M\"")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<CountValue, E> {
        let whole = u64::try_from(value).map(CountValue);
        whole.map_err(|_| E::custom(format!("`{value}` is negative: write 0 or more")))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<CountValue, E> {
        parse_whole_number(text).map(CountValue).map_err(E::custom)
    }
}

impl InputValue {
    /// Returns the value as a user would write it on a command line.
    pub(super) fn to_command_line_text(&self) -> String {
        match self {
            Self::Switch(true) => "on".to_owned(),
            Self::Switch(false) => "off".to_owned(),
            Self::Whole(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// Length of a billing period: whole days, or in quotes a number of days or a
/// time such as `730 h`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PeriodLength(pub Exact);

impl<'de> Deserialize<'de> for PeriodLength {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DaysVisitor)
    }
}

struct DaysVisitor;

impl Visitor<'_> for DaysVisitor {
    type Value = PeriodLength;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("days, or in quotes a time such as \"730 h\"")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<PeriodLength, E> {
        parse_period(&value.to_string()).map(PeriodLength).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<PeriodLength, E> {
        parse_period(text).map(PeriodLength).map_err(E::custom)
    }
}

/// Parses the length of a billing period, in nanoseconds: days, or a time with
/// its unit, such as `730h`.
///
/// # Errors
///
/// Returns an error if it is neither, or not from 1 to 366 days.
pub fn parse_period(text: &str) -> Result<Exact, String> {
    let (number, unit) = Decimal::parse_prefix(text).map_err(|error| error.to_string())?;
    let unit = if unit.is_empty() { "day" } else { unit };
    let size = unit_size(TIME, unit).ok_or_else(|| {
        let advice = advise_unit(TIME, unit);
        format!("`{text}`: `{unit}` is not a unit of time: use {advice}, or none for days")
    })?;
    let period = &Exact::from(&number) * &Exact::from(size);
    if period < Exact::from(DAY) || period > &Exact::from(366) * &Exact::from(DAY) {
        return Err(format!(
            "a billing period has 1 to 366 days, not {text}: write 30, or a time such as 730h"
        ));
    }
    Ok(period)
}
