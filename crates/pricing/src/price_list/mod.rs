//! Import of the price lists that providers publish: AWS's offer files, the items of Azure's
//! retail price API and the SKUs of Google's billing catalog. Each gives the prices of a model in
//! a region, which are written as a contract over the built-in model.
//!
//! Lists are read as a stream: a file of 500 MB takes as much memory as the few prices of it that
//! a model has. Amounts are exact; numbers of JSON are read as they are written.

mod aws_offer;
mod azure_retail;
mod google_skus;
mod stream;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use thiserror::Error;

pub use writer::PriceOrigin;

use super::number::Exact;
use cyclometer_core::visible_text::escape_line;

/// Largest price list that is read, in bytes.
pub const MAX_PRICE_LIST_BYTES: u64 = 4 << 30;
/// Most prices that are kept.
const MAX_PRICES: usize = 20_000;
/// Most kinds of unused SKUs that are told apart.
const MAX_KINDS: usize = 500;
/// What some programs write before a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// Why a price is left out that begins later.
const NOT_YET: &str = "not in force yet";
/// Kind of those beyond.
const OTHER_KINDS: &str = "(other kinds)";

/// Format of a price list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PriceListFormat {
    /// AWS's offer file of a service, or the answer of its `GetProducts`.
    AwsOffer,
    /// Pages of Azure's retail price API.
    AzureRetail,
    /// Pages of the SKUs of a service in Google's billing catalog.
    GoogleSkus,
}

/// Error from reading a price list.
#[derive(Debug, Error)]
pub enum PriceListError {
    /// The list is not JSON, or not of the expected shape.
    #[error("this is no such price list: {0}")]
    Json(#[from] serde_json::Error),
    /// The list has more prices of the known kinds than the limit.
    #[error(
        "there are more than {MAX_PRICES} prices of the known kinds: name a file of one service"
    )]
    TooManyPrices,
}

/// Prices of a model in a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionalPrices {
    /// Id of the built-in model.
    pub model: &'static str,
    /// Region, as the provider writes it.
    pub region: String,
    /// Latest day since when one of the prices holds, `YYYY-MM-DD`.
    pub effective_from: Option<String>,
    pub(crate) prices: BTreeMap<&'static str, Vec<PriceTier>>,
    pub(crate) weights: BTreeMap<&'static str, Exact>,
}

impl RegionalPrices {
    /// Returns the number of positions and charges that have a price.
    #[must_use]
    pub fn price_count(&self) -> usize {
        self.prices.len() + self.weights.len()
    }
}

/// Price up to a quantity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PriceTier {
    /// End, in the unit of the position; `None`: unbounded.
    pub up_to: Option<Exact>,
    /// Price of as many units as the position is priced by.
    pub price: Exact,
}

/// Result of reading a price list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceListImport {
    /// Prices by model and region, in order.
    pub regions: Vec<RegionalPrices>,
    /// Number of SKUs in the list.
    pub sku_count: u64,
    /// SKUs that no model has a price for, or that could not be used, by kind.
    pub unused: BTreeMap<String, u64>,
    /// Description of the list: its name, version and date, as far as it says.
    pub description: String,
    /// Whether the list says that a page follows, and the file does not have it.
    pub is_partial: bool,
}

/// Reads a price list. Of several prices of one thing, the one in force on the day `today`,
/// `YYYY-MM-DD`, is taken; one that begins later is left out.
///
/// # Errors
///
/// Returns an error if the list is not JSON, has a string of more than a megabyte, is larger than
/// [`MAX_PRICE_LIST_BYTES`], or is not of that format.
pub fn read_price_list(
    format: PriceListFormat,
    mut source: impl Read,
    today: &str,
) -> Result<PriceListImport, PriceListError> {
    let mut head = Vec::new();
    source.by_ref().take(3).read_to_end(&mut head).map_err(serde_json::Error::io)?;
    if head == BYTE_ORDER_MARK {
        head.clear();
    }
    let reader = stream::guard_reader(head.chain(source));
    match format {
        PriceListFormat::AwsOffer => aws_offer::read_offer(reader, today),
        PriceListFormat::AzureRetail => azure_retail::read_items(reader, today),
        PriceListFormat::GoogleSkus => google_skus::read_skus(reader, today),
    }
}

/// Place of a price: a position of a built-in model, or the weight of a charge in a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PricePlace {
    pub model: &'static str,
    pub position: &'static str,
    pub is_weight: bool,
}

/// Returns the place of a position's price.
pub(crate) const fn price_of(model: &'static str, position: &'static str) -> PricePlace {
    PricePlace { model, position, is_weight: false }
}

/// Accumulator of the prices of a list.
#[derive(Debug, Default)]
pub(crate) struct PriceCollector {
    /// Whether the list ends with the mark of a page that follows.
    pub(crate) is_partial: bool,
    /// Prices by region; `None`: the list has two that differ.
    prices: BTreeMap<(String, PricePlace), Option<CollectedPrice>>,
    sku_count: u64,
    unused: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct CollectedPrice {
    tiers: Vec<PriceTier>,
    since: Option<String>,
}

impl PriceCollector {
    pub(crate) fn count_sku(&mut self) {
        self.sku_count += 1;
    }

    /// Counts a SKU that is not used.
    pub(crate) fn count_unused(&mut self, kind: &str) {
        let short: String = kind.chars().take(100).collect();
        let mut kind = escape_line(&short).into_owned();
        if self.unused.len() >= MAX_KINDS && !self.unused.contains_key(&kind) {
            OTHER_KINDS.clone_into(&mut kind);
        }
        *self.unused.entry(kind).or_default() += 1;
    }

    /// Adds the price of a position. Of two that differ neither is used.
    pub(crate) fn add_price(
        &mut self,
        region: &str,
        place: PricePlace,
        tiers: Vec<PriceTier>,
        since: Option<&str>,
    ) -> Result<(), PriceListError> {
        if self.prices.len() >= MAX_PRICES {
            return Err(PriceListError::TooManyPrices);
        }
        let price = CollectedPrice { tiers, since: since.and_then(day_of) };
        let known = self.prices.entry((region.to_owned(), place)).or_insert(Some(price.clone()));
        if known.as_ref().is_some_and(|known| known.tiers != price.tiers) {
            *known = None;
        }
        Ok(())
    }

    /// Returns the prices by model and region. Global prices, whose region is empty, are those of
    /// every region of their model that has none of its own.
    pub(crate) fn into_import(mut self, description: String) -> PriceListImport {
        let mut regions: BTreeMap<(&'static str, String), RegionalPrices> = BTreeMap::new();
        let mut conflicts = Vec::new();
        let mut unclear = BTreeSet::new();
        let (global, regional): (Vec<_>, Vec<_>) =
            self.prices.into_iter().partition(|((region, _), _)| region.is_empty());
        for ((region, place), price) in regional {
            let Some(price) = price else {
                conflicts.push(format!("{} of {}: two prices that differ", place.position, region));
                unclear.insert((region, place));
                continue;
            };
            let found = regions.entry((place.model, region.clone()));
            let found = found.or_insert_with(|| RegionalPrices {
                model: place.model,
                region,
                effective_from: None,
                prices: BTreeMap::new(),
                weights: BTreeMap::new(),
            });
            found.add_price(place, price);
        }
        for ((_, place), price) in global {
            let Some(price) = price else {
                conflicts.push(format!("{}, global: two prices that differ", place.position));
                continue;
            };
            for found in regions.values_mut().filter(|it| it.model == place.model) {
                let has_own = found.prices.contains_key(place.position)
                    || found.weights.contains_key(place.position)
                    || unclear.contains(&(found.region.clone(), place));
                if !has_own {
                    found.add_price(place, price.clone());
                }
            }
        }
        for kind in conflicts {
            *self.unused.entry(kind).or_default() += 1;
        }
        PriceListImport {
            regions: regions.into_values().collect(),
            sku_count: self.sku_count,
            unused: self.unused,
            description,
            is_partial: self.is_partial,
        }
    }
}

impl RegionalPrices {
    fn add_price(&mut self, place: PricePlace, price: CollectedPrice) {
        self.effective_from = self.effective_from.take().max(price.since);
        match (place.is_weight, price.tiers.as_slice()) {
            (true, [tier]) => {
                self.weights.insert(place.position, tier.price.clone());
            }
            (true, _) => {}
            (false, _) => {
                self.prices.insert(place.position, price.tiers);
            }
        }
    }
}

/// Returns the day of a moment such as `2026-09-01T00:00:00Z`.
fn day_of(moment: &str) -> Option<String> {
    let day = moment.get(..10)?;
    let date: toml::value::Date = day.parse::<toml::value::Datetime>().ok()?.date?;
    Some(date.to_string())
}

/// Returns the index of the latest of some moments that is not after the day `today`; a moment that
/// cannot be read is before all others.
fn find_in_force<'a>(moments: impl Iterator<Item = &'a str>, today: &str) -> Option<usize> {
    let days = moments.map(day_of).enumerate();
    let begun = days.filter(|(_, day)| day.as_deref().is_none_or(|day| day <= today));
    begun.max_by(|(_, one), (_, other)| one.cmp(other)).map(|(at, _)| at)
}

/// Returns whether a region can be part of a model's id.
fn is_region_code(region: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=30).contains(&region.len()) && region.bytes().all(allowed) && !region.starts_with('-')
}
