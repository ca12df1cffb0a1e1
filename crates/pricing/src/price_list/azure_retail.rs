//! Azure's retail prices: pages of `https://prices.azure.com/api/retail/prices`, with the items
//! of Functions, Container Apps and Container Instances.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;

use super::stream::{WrittenNumber, read_pages};
use super::{
    MAX_PRICES, NOT_YET, PriceCollector, PriceListError, PriceListImport, PricePlace, PriceTier,
    is_region_code, price_of,
};
use crate::number::Exact;
use cyclometer_core::quantity::Decimal;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RetailItem {
    #[serde(default)]
    currency_code: String,
    tier_minimum_units: Option<WrittenNumber>,
    retail_price: Option<WrittenNumber>,
    unit_price: Option<WrittenNumber>,
    #[serde(default)]
    arm_region_name: String,
    #[serde(default)]
    effective_start_date: String,
    #[serde(default)]
    meter_name: String,
    #[serde(default)]
    product_name: String,
    #[serde(default)]
    service_name: String,
    #[serde(default)]
    unit_of_measure: String,
    #[serde(rename = "type", default)]
    kind: String,
}

/// A meter: a word of its product or service, its name, its unit after the number, the place of
/// its price, and the number of units that the model's price is for.
type RetailMeter = (&'static str, &'static str, &'static str, PricePlace, u64);

const CONSUMPTION: &str = "azure-consumption";
const FLEX: &str = "azure-flex";
const APPS: &str = "azure-container-apps";
const INSTANCES: &str = "azure-container-instances";
const MILLION: u64 = 1_000_000;

const METERS: &[RetailMeter] = &[
    (
        "Functions",
        "Standard Execution Time",
        "GB Second",
        price_of(CONSUMPTION, "execution time"),
        1,
    ),
    ("Functions", "Standard Total Executions", "", price_of(CONSUMPTION, "executions"), MILLION),
    ("Flex", "On Demand Execution Time", "GB Second", price_of(FLEX, "execution time"), 1),
    ("Flex", "On Demand Total Executions", "", price_of(FLEX, "executions"), MILLION),
    ("Flex", "Always Ready Baseline", "GB Second", price_of(FLEX, "always ready baseline"), 1),
    (
        "Flex",
        "Always Ready Execution Time",
        "GB Second",
        price_of(FLEX, "always ready execution time"),
        1,
    ),
    (
        "Flex",
        "Always Ready Total Executions",
        "",
        price_of(FLEX, "always ready executions"),
        MILLION,
    ),
    ("Container Apps", "Standard vCPU Active Usage", "Second", price_of(APPS, "active vCPU"), 1),
    ("Container Apps", "Standard vCPU Idle Usage", "Second", price_of(APPS, "idle vCPU"), 1),
    ("Container Apps", "Standard Memory Active Usage", "GiB Second", price_of(APPS, "memory"), 1),
    // The model has one price for memory: it must be the same.
    ("Container Apps", "Standard Memory Idle Usage", "GiB Second", price_of(APPS, "memory"), 1),
    ("Container Apps", "Standard Requests", "", price_of(APPS, "requests"), MILLION),
    ("Container Instances", "Standard vCPU Duration", "Hour", price_of(INSTANCES, "vCPU"), 1),
    (
        "Container Instances",
        "Standard Memory Duration",
        "GB Hour",
        price_of(INSTANCES, "memory"),
        1,
    ),
];

/// Steps of the price of a meter in a region: where each begins, in units of the model.
type PriceSteps = Vec<(Exact, Exact)>;

#[derive(Default)]
struct RetailReader {
    collector: PriceCollector,
    steps: BTreeMap<(String, usize), (PriceSteps, String)>,
}

/// Reads pages of items.
pub(super) fn read_items(
    reader: impl Read,
    today: &str,
) -> Result<PriceListImport, PriceListError> {
    let mut retail = RetailReader::default();
    let mut too_many = false;
    let read = read_pages(reader, ("Items", "NextPageLink"), &mut |item: RetailItem| {
        retail.add_item(&item, today).map_err(|error| {
            too_many = true;
            error.to_string()
        })
    });
    if too_many {
        return Err(PriceListError::TooManyPrices);
    }
    let is_partial = read?;
    let RetailReader { mut collector, steps } = retail;
    collector.is_partial = is_partial;
    for ((region, meter), (steps, since)) in steps {
        let (_, name, _, place, per) = METERS[meter];
        match price_tiers(steps, per) {
            Some(tiers) => collector.add_price(&region, place, tiers, Some(&since))?,
            None => collector.count_unused(&format!("{name}: steps of prices that are not clear")),
        }
    }
    Ok(collector.into_import("Azure retail prices".to_owned()))
}

impl RetailReader {
    fn add_item(&mut self, item: &RetailItem, today: &str) -> Result<(), PriceListError> {
        self.collector.count_sku();
        let unused = |reader: &mut Self, why: &str| {
            let name = if item.meter_name.is_empty() { "(no meter)" } else { &item.meter_name };
            reader.collector.count_unused(&format!("{name}{why}"));
            Ok(())
        };
        let is_of =
            |word: &str| item.product_name.contains(word) || item.service_name.contains(word);
        let found =
            METERS.iter().position(|(word, name, ..)| *name == item.meter_name && is_of(word));
        let Some(meter) = found else { return unused(self, "") };
        if !item.kind.is_empty() && item.kind != "Consumption" {
            return unused(self, &format!(": {}", item.kind));
        }
        if !item.currency_code.is_empty() && item.currency_code != "USD" {
            return unused(self, &format!(": in {}", item.currency_code));
        }
        if !is_region_code(&item.arm_region_name) {
            return unused(self, ": no region");
        }
        if super::day_of(&item.effective_start_date).is_some_and(|day| *day > *today) {
            return unused(self, &format!(": {NOT_YET}"));
        }
        let written = item.retail_price.as_ref().or(item.unit_price.as_ref());
        let price = written.and_then(WrittenNumber::to_exact);
        if price.is_none() {
            let written = written.map_or("nothing", WrittenNumber::as_written);
            return unused(self, &format!(": no price can be {written}"));
        }
        let units = read_units(&item.unit_of_measure, METERS[meter].2);
        let (Some(price), Some(units)) = (price, units) else {
            return unused(self, &format!(": by `{}`", item.unit_of_measure));
        };
        let begin = item
            .tier_minimum_units
            .as_ref()
            .map_or(Some(Exact::default()), WrittenNumber::to_exact);
        let Some(begin) = begin else { return unused(self, ": no quantity") };
        let price = price.checked_div(&units).unwrap_or_default();
        if self.steps.len() >= MAX_PRICES {
            return Err(PriceListError::TooManyPrices);
        }
        let entry = self.steps.entry((item.arm_region_name.clone(), meter)).or_default();
        if entry.0.len() > 64 {
            return unused(self, ": more than 64 steps");
        }
        let step = (&begin * &units, price);
        if !entry.0.contains(&step) {
            entry.0.push(step);
        }
        if item.effective_start_date > entry.1 {
            entry.1.clone_from(&item.effective_start_date);
        }
        Ok(())
    }
}

/// Reads the number of a unit such as `10`, `1M` or `1 GB Second`.
fn read_units(text: &str, unit: &str) -> Option<Exact> {
    let (number, rest) = Decimal::parse_count_prefix(text).ok()?;
    let number = Exact::from(&number);
    (rest.trim() == unit && !number.is_zero()).then_some(number)
}

/// Returns the tiers of a price, without the free quantity: that is an allowance of the model.
fn price_tiers(mut steps: PriceSteps, per: u64) -> Option<Vec<PriceTier>> {
    steps.sort();
    let mut free = Exact::default();
    if steps.first().is_some_and(|(_, price)| price.is_zero()) {
        // Where the list has the free step only, the others are on a page that is missing.
        free = steps.get(1)?.0.clone();
        steps.remove(0);
    }
    // Regions with two prices from one quantity on are not clear.
    if steps.windows(2).any(|pair| pair[0].0 == pair[1].0) || steps.first()?.0 > free {
        return None;
    }
    let ends = steps.iter().skip(1).map(|(begin, _)| Some(begin - &free)).chain([None]);
    let tiers: Vec<PriceTier> = steps
        .iter()
        .zip(ends)
        .map(|((_, price), up_to)| PriceTier { up_to, price: price * &Exact::from(per) })
        .collect();
    Some(tiers)
}
