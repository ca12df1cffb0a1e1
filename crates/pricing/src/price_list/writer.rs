//! Writing of regional prices as contracts.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{PriceTier, RegionalPrices, is_region_code};
use crate::catalog::find_builtin_model;
use crate::error::PricingError;
use crate::model::PriceModel;
use crate::number::Exact;
use crate::scalars::MAX_LABEL_CHARS;

/// Origin of a contract's prices.
#[derive(Debug, Clone, Copy)]
pub struct PriceOrigin<'a> {
    /// Name of the list, with its version and date.
    pub source: &'a str,
    /// Day on which the list was read, `YYYY-MM-DD`.
    pub retrieved: &'a str,
}

impl RegionalPrices {
    /// Returns the id of the contract: that of the model with the region behind.
    #[must_use]
    pub fn contract_id(&self) -> String {
        format!("{}-{}", self.model, self.region)
    }

    /// Writes the prices as a contract over the model, and reads it again: what is returned is
    /// known to be accepted.
    ///
    /// # Errors
    ///
    /// Returns the problem that a reader of the contract would have, such as a currency that is
    /// not the model's.
    pub fn to_contract(&self, origin: PriceOrigin<'_>) -> Result<String, PricingError> {
        let id = self.contract_id();
        let base = find_builtin_model(self.model).ok();
        let name = base.map_or(self.model, PriceModel::name);
        // Names of models end in the region that their prices are of.
        let is_region = |part: &str| {
            (is_region_code(part) && part.contains('-'))
                || part.ends_with(" regions")
                || part == "East US"
        };
        let name = match name.rsplit_once(", ") {
            Some((name, region)) if is_region(region) => name,
            _ => name,
        };
        let mut text = String::new();
        // Writing to a string cannot fail.
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(text, "{key} = {value}");
        };
        let quoted = |value: &str| toml::Value::from(value).to_string();
        line("extends", &quoted(self.model));
        line("id", &quoted(&id));
        line("name", &quoted(&format!("{name}, {}", self.region)));
        line("region", &quoted(&self.region));
        line("source", &quoted(&shorten(origin.source)));
        line("retrieved", origin.retrieved);
        if let Some(day) = &self.effective_from {
            line("effective_from", day);
        }
        if let Some(others) = base.and_then(|base| self.describe_others(base)) {
            line("uncertain", &quoted(&shorten(&others)));
        }
        let prices =
            self.prices.iter().map(|(name, tiers)| (*name, Self::price_text(name, tiers, base)));
        write_table(&mut text, "prices", prices.collect());
        let weights = self.weights.iter().map(|(name, weight)| (*name, quote_number(weight)));
        write_table(&mut text, "weights", weights.collect());
        PriceModel::parse_all(&text, &format!("the contract {id}"))?;
        Ok(text)
    }

    /// Names the positions whose price is not in the list.
    fn describe_others(&self, base: &PriceModel) -> Option<String> {
        let weighted = |pool: usize| {
            let mut charges = base.charges().filter(|charge| charge.pool_index() == pool);
            charges.any(|charge| self.weights.contains_key(charge.name()))
        };
        let others: Vec<&str> = base
            .pools()
            .iter()
            .enumerate()
            .filter(|(at, pool)| !self.prices.contains_key(pool.name()) && !weighted(*at))
            .map(|(_, pool)| pool.name())
            .collect();
        (!others.is_empty())
            .then(|| format!("Not in the list, and so as in {}: {}.", base.id(), others.join(", ")))
    }

    /// Formats a price: plain, or a list of tiers where there are several or the model has some.
    fn price_text(name: &str, tiers: &[PriceTier], base: Option<&PriceModel>) -> String {
        let pool = base.and_then(|base| base.pools().iter().find(|pool| pool.name() == name));
        let tiered = pool.is_some_and(|pool| pool.tiers().len() > 1);
        if let ([tier], false) = (tiers, tiered) {
            return quote_number(&tier.price);
        }
        let unit = pool.map_or("", |pool| pool.unit());
        let tier = |tier: &PriceTier| match &tier.up_to {
            Some(end) => format!(
                "    {{ up_to = \"{} {unit}\", price = {} }},\n",
                end.to_plain_string(),
                quote_number(&tier.price)
            ),
            None => format!("    {{ price = {} }},\n", quote_number(&tier.price)),
        };
        format!("[\n{}]", tiers.iter().map(tier).collect::<String>())
    }
}

fn write_table(text: &mut String, table: &str, entries: BTreeMap<&str, String>) {
    if entries.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n[{table}]");
    for (name, value) in entries {
        let _ = writeln!(text, "{} = {value}", toml::Value::from(name));
    }
}

fn quote_number(number: &Exact) -> String {
    format!("\"{}\"", number.to_plain_string())
}

/// Shortens a text to what a file allows.
fn shorten(text: &str) -> String {
    if text.chars().count() <= MAX_LABEL_CHARS {
        return text.to_owned();
    }
    text.chars().take(MAX_LABEL_CHARS - 4).chain(" ...".chars()).collect()
}
