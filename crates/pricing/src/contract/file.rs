//! TOML form of a contract, as written: shapes and spans. The rules between values are checked by
//! [`super::resolve`].

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

use crate::money::RoundingPolicy;
use crate::number::Exact;
use crate::scalars::{Currency, Date, Id, Label, Price, Ratio};
use crate::schema::{ExampleFile, PeriodLength, TierFile};
use cyclometer_core::quantity::Decimal;

/// Names with a value each, as written.
pub(crate) type Named<T> = BTreeMap<Spanned<String>, Spanned<T>>;

/// A whole contract file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContractFile {
    pub extends: Spanned<String>,
    pub id: Spanned<Id>,
    pub name: Label,
    pub region: Option<Spanned<RegionKey>>,
    pub source: Option<Label>,
    pub retrieved: Option<Date>,
    pub effective_from: Option<Spanned<Date>>,
    pub effective_until: Option<Spanned<Date>>,
    pub tariff: Option<Id>,
    pub uncertain: Option<Label>,
    pub rounding: Option<RoundingPolicy>,
    pub digits: Option<Spanned<u32>>,
    pub month: Option<Spanned<PeriodLength>>,
    #[serde(default)]
    pub prices: Named<PriceChange>,
    #[serde(default)]
    pub weights: BTreeMap<Spanned<String>, Spanned<Ratio>>,
    pub discount: Option<Percent>,
    #[serde(default)]
    pub discounts: Named<Percent>,
    pub allowances: Option<Spanned<AllowanceKey>>,
    #[serde(default)]
    pub allowances_used: Named<String>,
    pub currency: Option<Spanned<CurrencyFile>>,
    pub commitment: Option<Spanned<CommitmentFile>>,
    pub minimum: Option<Spanned<ShortOr<Price, MinimumFile>>>,
    pub credit: Option<Spanned<ShortOr<Price, CreditFile>>>,
    pub tax: Option<Spanned<ShortOr<Percent, TaxFile>>>,
    #[serde(default)]
    pub example: Vec<Spanned<ExampleFile>>,
    pub base: Option<Spanned<Vec<BaseFile>>>,
}

/// One of several regions of a contract file, each a model of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegionFile {
    pub region: Spanned<Label>,
    pub id: Option<Spanned<Id>>,
    pub name: Option<Label>,
    pub source: Option<Label>,
    pub retrieved: Option<Date>,
    pub effective_from: Option<Spanned<Date>>,
    pub effective_until: Option<Spanned<Date>>,
    pub uncertain: Option<Label>,
    #[serde(default)]
    pub prices: Named<PriceChange>,
    #[serde(default)]
    pub weights: BTreeMap<Spanned<String>, Spanned<Ratio>>,
}

/// A file that the contract builds on, carried along so that it can be read without any other.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BaseFile {
    pub text: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommitmentFile {
    pub name: Option<Label>,
    pub per_hour: Spanned<Price>,
    pub measured_at: Option<MeasuredAt>,
    pub covers: Option<Spanned<Vec<Spanned<String>>>>,
    pub discount: Option<Spanned<Percent>>,
    #[serde(default)]
    pub discounts: Named<Percent>,
    #[serde(default)]
    pub rates: Named<Price>,
    #[serde(default)]
    pub discounted: bool,
}

/// Prices that the hourly amount of a commitment is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeasuredAt {
    /// The discounted prices: the amount is paid, and pays for usage at those.
    DiscountedPrices,
    /// The list prices: the amount is usage at those, and is paid less the discount.
    ListPrices,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MinimumFile {
    pub amount: Price,
    pub name: Option<Label>,
    pub charges: Option<Vec<Spanned<String>>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreditFile {
    pub amount: Price,
    pub name: Option<Label>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaxFile {
    pub rate: Percent,
    pub name: Option<Label>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CurrencyFile {
    pub code: Spanned<Currency>,
    pub rate: Spanned<Price>,
    pub per: Spanned<Currency>,
    pub date: Date,
    pub source: Label,
}

/// A share in percent, from 0 to 100, in quotes with its sign: `"12 %"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Percent(pub Exact);

impl Percent {
    /// Returns what is left of 1.
    pub(crate) fn remainder(&self) -> Exact {
        &Exact::from(1) - &self.0
    }

    /// Parses `12 %`.
    fn parse(text: &str) -> Result<Self, String> {
        let shown: String = text.chars().take(64).collect();
        let Some(number) = text.trim().strip_suffix('%') else {
            return Err(format!("`{shown}` has no percent sign: write it as \"12 %\""));
        };
        let number = number.trim_end();
        if number.trim_start().starts_with('-') {
            return Err(format!("`{shown}` is negative: a share is from 0 % to 100 %"));
        }
        let percent = Exact::from(&Decimal::parse(number).map_err(|error| error.to_string())?);
        if percent > Exact::from(100) {
            return Err(format!("`{shown}` is more than 100 %: a share is from 0 % to 100 %"));
        }
        Ok(Self(percent.checked_div(&Exact::from(100)).unwrap_or_default()))
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PercentVisitor)
    }
}

struct PercentVisitor;

impl Visitor<'_> for PercentVisitor {
    type Value = Percent;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share in quotes with its sign, such as \"12 %\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Percent, E> {
        Percent::parse(text).map_err(E::custom)
    }
}

/// New price of a position: a plain one, or all of its tiers.
#[derive(Debug, Clone)]
pub(crate) enum PriceChange {
    Plain(Price),
    Tiers(Vec<Spanned<TierFile>>),
}

/// Regions of a contract: the name of one, or a list of tables.
#[derive(Debug, Clone)]
pub(crate) enum RegionKey {
    Name(Label),
    List(Vec<Spanned<RegionFile>>),
}

/// Monthly allowances: `"none"`, or new ones by position.
#[derive(Debug, Clone)]
pub(crate) enum AllowanceKey {
    All(String),
    ByName(Named<String>),
}

/// A value in its short form, or a table with more keys.
#[derive(Debug, Clone)]
pub(crate) enum ShortOr<S, T> {
    Short(S),
    Table(T),
}

/// Deserializes a value whose form tells which of several things it is.
struct FormVisitor<T>(&'static str, PhantomData<T>);

macro_rules! deserialize_by_form {
    ([$($generics:tt)*] $type:ty, $expected:expr, { $($visit:item)* }) => {
        impl<'de, $($generics)*> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(FormVisitor::<$type>($expected, PhantomData))
            }
        }

        impl<'de, $($generics)*> Visitor<'de> for FormVisitor<$type> {
            type Value = $type;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }

            $($visit)*
        }
    };
}

deserialize_by_form!(
    [] PriceChange,
    "a decimal in quotes such as \"0.20\", or a list of tiers such as \
     [{ up_to = \"6e9 GB-s\", price = \"0.2\" }, { price = \"0.1\" }]",
    {
        fn visit_str<E: Error>(self, text: &str) -> Result<PriceChange, E> {
            let text = serde::de::value::StrDeserializer::<E>::new(text);
            Price::deserialize(text).map(PriceChange::Plain)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<PriceChange, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list)).map(PriceChange::Tiers)
        }
    }
);

deserialize_by_form!(
    [] RegionKey,
    "a region in quotes, or [[region]] tables",
    {
        fn visit_str<E: Error>(self, text: &str) -> Result<RegionKey, E> {
            Label::try_from(text.to_owned()).map(RegionKey::Name).map_err(E::custom)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<RegionKey, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list)).map(RegionKey::List)
        }
    }
);

deserialize_by_form!(
    [] AllowanceKey,
    "\"none\", or a table such as { requests = \"none\", duration = \"100000 GB-s\" }",
    {
        fn visit_str<E: Error>(self, text: &str) -> Result<AllowanceKey, E> {
            Ok(AllowanceKey::All(text.to_owned()))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AllowanceKey, A::Error> {
            Named::deserialize(MapAccessDeserializer::new(map)).map(AllowanceKey::ByName)
        }
    }
);

deserialize_by_form!(
    [S: Deserialize<'de>, T: Deserialize<'de>] ShortOr<S, T>,
    "a value in quotes, or a table",
    {
        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            let text = serde::de::value::StrDeserializer::<E>::new(text);
            S::deserialize(text).map(ShortOr::Short)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(ShortOr::Table)
        }
    }
);

/// Keys that tell a contract from a price model, whatever else is in the file.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ContractProbe {
    pub extends: Spanned<String>,
    id: Option<String>,
    region: Option<toml::Value>,
}

impl ContractProbe {
    /// Returns the ids of the models that the file has.
    pub(crate) fn model_ids(&self) -> Vec<String> {
        let id = self.id.as_deref().unwrap_or_default();
        let Some(regions) = self.region.as_ref().and_then(toml::Value::as_array) else {
            return vec![id.to_owned()];
        };
        let text = |region: &toml::Value, key| {
            region.get(key).and_then(toml::Value::as_str).map(str::to_owned)
        };
        let of_region = |region: &toml::Value| {
            text(region, "id").or_else(|| text(region, "region").map(|it| region_model_id(id, &it)))
        };
        regions.iter().filter_map(of_region).collect()
    }
}

/// Returns the id of a region's model that is given none.
pub(crate) fn region_model_id(id: &str, region: &str) -> String {
    format!("{id}-{}", region.to_ascii_lowercase())
}

/// Returns a text without the mark that some programs write before it.
pub(crate) fn without_byte_order_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Returns whether the text is that of a contract: `extends` is among its first keys.
#[must_use]
pub fn is_contract(text: &str) -> bool {
    let head = without_byte_order_mark(text)
        .lines()
        .map(str::trim_start)
        .take_while(|line| !line.starts_with('['));
    head.filter_map(|line| line.split_once('=')).any(|(key, _)| {
        let key = key.trim();
        key.trim_matches('"') == "extends" || key.trim_matches('\'') == "extends"
    })
}
