//! Google's billing catalog: pages of
//! `https://cloudbilling.googleapis.com/v1/services/152E-C115-5142/skus`, the SKUs of Cloud Run.

use std::io::Read;

use serde::Deserialize;

use super::stream::{SmallList, WrittenNumber, read_pages};
use super::{
    NOT_YET, PriceCollector, PriceListError, PriceListImport, PricePlace, PriceTier, find_in_force,
    is_region_code, price_of,
};
use crate::number::Exact;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CatalogSku {
    #[serde(default)]
    description: String,
    #[serde(default)]
    category: SkuCategory,
    #[serde(default)]
    service_regions: SmallList<String>,
    #[serde(default)]
    pricing_info: SmallList<PricingInfo>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SkuCategory {
    #[serde(default)]
    usage_type: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PricingInfo {
    pricing_expression: PricingExpression,
    #[serde(default)]
    effective_time: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PricingExpression {
    #[serde(default)]
    usage_unit: String,
    #[serde(default)]
    tiered_rates: SmallList<TieredRate>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TieredRate {
    unit_price: UnitPrice,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UnitPrice {
    #[serde(default)]
    currency_code: String,
    units: Option<WrittenNumber>,
    nanos: Option<WrittenNumber>,
}

const RUN: &str = "google-cloud-run";
const INSTANCE: &str = "google-cloud-run-instance";
const JOBS: &str = "google-cloud-run-jobs";

const fn weight_of(position: &'static str) -> PricePlace {
    PricePlace { model: RUN, position, is_weight: true }
}

/// Descriptions without tier and region, the unit of their usage, the place of their price, and the
/// number of units that the model's price is for.
const DESCRIPTIONS: &[(&str, &str, PricePlace, u64)] = &[
    ("Services CPU (Request-based billing)", "s", weight_of("cpu time"), 1),
    ("CPU Allocation Time", "s", weight_of("cpu time"), 1),
    ("Services Memory (Request-based billing)", "GiBy.s", price_of(RUN, "memory"), 1),
    ("Memory Allocation Time", "GiBy.s", price_of(RUN, "memory"), 1),
    ("Services Min Instance CPU (Request-based billing)", "s", weight_of("idle cpu"), 1),
    // The model has one price for memory: it must be the same.
    ("Services Min Instance Memory (Request-based billing)", "GiBy.s", price_of(RUN, "memory"), 1),
    ("Requests", "count", price_of(RUN, "requests"), 1_000_000),
    ("Services CPU (Instance-based billing)", "s", price_of(INSTANCE, "cpu"), 1),
    ("Services Memory (Instance-based billing)", "GiBy.s", price_of(INSTANCE, "memory"), 1),
    ("Jobs CPU", "s", price_of(JOBS, "cpu"), 1),
    ("Jobs Memory", "GiBy.s", price_of(JOBS, "memory"), 1),
];

/// Reads pages of SKUs.
pub(super) fn read_skus(reader: impl Read, today: &str) -> Result<PriceListImport, PriceListError> {
    let mut collector = PriceCollector::default();
    let mut too_many = false;
    let read = read_pages(reader, ("skus", "nextPageToken"), &mut |sku: CatalogSku| {
        add_sku(&mut collector, &sku, today).map_err(|error| {
            too_many = true;
            error.to_string()
        })
    });
    if too_many {
        return Err(PriceListError::TooManyPrices);
    }
    collector.is_partial = read?;
    Ok(collector.into_import("Google Cloud billing catalog".to_owned()))
}

fn add_sku(
    collector: &mut PriceCollector,
    sku: &CatalogSku,
    today: &str,
) -> Result<(), PriceListError> {
    collector.count_sku();
    let usage_type = &sku.category.usage_type;
    if !usage_type.is_empty() && usage_type != "OnDemand" {
        collector.count_unused(&format!("{usage_type}: a commitment, or another offer"));
        return Ok(());
    }
    let name = plain_description(&sku.description);
    let Some((_, unit, place, per)) = DESCRIPTIONS.iter().find(|(known, ..)| *known == name) else {
        collector.count_unused(if name.is_empty() { "(no description)" } else { &name });
        return Ok(());
    };
    let infos = &sku.pricing_info.0;
    let in_force = find_in_force(infos.iter().map(|info| info.effective_time.as_str()), today);
    let Some(info) = in_force.map(|at| &infos[at]) else {
        let why = if infos.is_empty() { "no price" } else { NOT_YET };
        collector.count_unused(&format!("{name}: {why}"));
        return Ok(());
    };
    let used_by = &info.pricing_expression.usage_unit;
    if !used_by.is_empty() && used_by != unit {
        collector.count_unused(&format!("{name}: by `{used_by}`"));
        return Ok(());
    }
    let Some(price) = read_rate(&info.pricing_expression.tiered_rates.0) else {
        collector.count_unused(&format!("{name}: no single price in USD"));
        return Ok(());
    };
    let tiers = vec![PriceTier { up_to: None, price: &price * &Exact::from(*per) }];
    for region in &sku.service_regions.0 {
        let region = if region == "global" { "" } else { region };
        if region.is_empty() || is_region_code(region) {
            collector.add_price(region, *place, tiers.clone(), Some(&info.effective_time))?;
        } else {
            collector.count_unused(&format!("{name}: no region"));
        }
    }
    Ok(())
}

/// Returns a description without its price tier and its region.
fn plain_description(description: &str) -> String {
    let words: Vec<&str> = description.split_whitespace().collect();
    let joined = words.join(" ").replace(" (tier 2)", "").replace(" Tier 2", "");
    match joined.rsplit_once(" in ") {
        Some((name, region)) if is_region_code(region) => name.to_owned(),
        _ => joined,
    }
}

/// Returns the price after the free quantity, which is an allowance of the model.
fn read_rate(rates: &[TieredRate]) -> Option<Exact> {
    let mut prices = Vec::with_capacity(rates.len());
    for rate in rates {
        let price = &rate.unit_price;
        if !price.currency_code.is_empty() && price.currency_code != "USD" {
            return None;
        }
        let whole = |number: &Option<WrittenNumber>| {
            number.as_ref().map_or(Some(Exact::default()), WrittenNumber::to_exact)
        };
        let nanos = whole(&price.nanos)?.checked_div(&Exact::from(1_000_000_000))?;
        prices.push(&whole(&price.units)? + &nanos);
    }
    let paid: Vec<Exact> = prices.iter().filter(|price| !price.is_zero()).cloned().collect();
    match paid.as_slice() {
        [price] => Some(price.clone()),
        _ => None,
    }
}
