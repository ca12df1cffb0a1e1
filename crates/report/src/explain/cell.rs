//! Explanation of the bills of a group of invocations at list prices: every billed
//! quantity, how often it occurs, and their sum.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::contract::{describe_period_terms, write_contract_head, write_price_steps};
use super::number_format::{CurrencyFormat, TIED, format_amount, format_factor};
use super::page::TextPage;
use cyclometer_core::meter::Usage;
use cyclometer_pricing::{Charge, Exact, FactorTrace, Money, PriceModel, Refusal, Terms};

const INDENT: usize = 4;

/// Number of different quantities of a charge that are listed; more of them are only
/// summed.
const MOST_LISTED: usize = 40;

/// The bills of a group of invocations, collected charge by charge.
#[derive(Debug)]
pub struct CellExplanation<'a> {
    model: &'a PriceModel,
    terms: &'a Terms,
    charges: Vec<ChargeLines>,
    invocations: u64,
    refused: BTreeMap<Refusal, u64>,
}

/// Billed quantities of a charge, with how often they occur.
#[derive(Debug)]
struct ChargeLines {
    charge: Arc<Charge>,
    /// Derivation and number of occurrences, by quantity.
    quantities: BTreeMap<Exact, (String, u64)>,
    sum: Exact,
}

impl<'a> CellExplanation<'a> {
    /// Starts an explanation without invocations.
    #[must_use]
    pub fn new(model: &'a PriceModel, terms: &'a Terms) -> Self {
        let lines = |charge: &Arc<Charge>| ChargeLines {
            charge: Arc::clone(charge),
            quantities: BTreeMap::new(),
            sum: Exact::default(),
        };
        let charges = model.invocation_charges(terms).map(lines).collect();
        Self { model, terms, charges, invocations: 0, refused: BTreeMap::new() }
    }

    /// Adds an invocation.
    pub fn add_invocation(&mut self, usage: &Usage) {
        self.invocations += 1;
        let traced: Result<Vec<Vec<FactorTrace>>, Refusal> = self
            .charges
            .iter()
            .map(|lines| self.model.trace_charge(&lines.charge, usage, self.terms))
            .collect();
        match traced {
            Err(refusal) => *self.refused.entry(refusal).or_default() += 1,
            Ok(traced) => {
                for (lines, factors) in self.charges.iter_mut().zip(traced) {
                    lines.add_quantity(&factors);
                }
            }
        }
    }

    /// Returns the number of billed invocations.
    #[must_use]
    pub fn billed_invocations(&self) -> u64 {
        self.invocations - self.refused.values().sum::<u64>()
    }

    /// Returns the exact total.
    #[must_use]
    pub fn total(&self) -> Money {
        let amounts = self.charges.iter().map(|it| Money::from(&it.sum * it.charge.list_rate()));
        amounts.sum()
    }

    /// Renders the whole calculation; no line is longer than 80 characters. `of` names
    /// the group of the invocations.
    #[must_use]
    pub fn to_text(&self, of: &str) -> String {
        let mut page = TextPage::default();
        let model = self.model;
        let billed = self.billed_invocations();
        page.add_text(0, &format!("{} ({}), {}", model.name(), model.id(), model.currency()));
        write_contract_head(&mut page, model, None);
        page.add_text(0, &format!("{of}: {billed} invocations at list prices"));
        for (refusal, count) in &self.refused {
            page.add_text(2, &format!("refused {count} more: {refusal}"));
        }
        for lines in self.charges.iter().filter(|lines| !lines.sum.is_zero()) {
            page.add_gap();
            self.write_charge(&mut page, lines);
        }
        page.add_gap();
        let currency = CurrencyFormat(model.currency());
        let total = self.total();
        page.add_row(2, "total", "", &currency.format_exact(total.as_exact()));
        if let Some(million) =
            total.multiplied_by(1_000_000).as_exact().checked_div(&Exact::from(billed))
        {
            page.add_row(
                2,
                &format!("/ {billed} x 1,000,000"),
                "=",
                &currency.format_exact(&million),
            );
        }
        if let Some(text) = model.contract().and_then(describe_period_terms) {
            page.add_text(2, &text);
        }
        if let Some(what) = model.uncertainty_note() {
            page.add_gap();
            page.add_text(2, &format!("uncertain: {what}"));
        }
        if page.has_cut() {
            page.add_text(2, "~: cut to 15 digits");
        }
        page.into_text()
    }

    fn write_charge(&self, page: &mut TextPage, lines: &ChargeLines) {
        let charge = &lines.charge;
        let pool = &self.model.pools()[charge.pool_index()];
        page.add_text(2, &format!("{}, {}", charge.name(), charge.unit()));
        let listed = lines.quantities.len() <= MOST_LISTED;
        for (quantity, (how, count)) in lines.quantities.iter().filter(|_| listed) {
            if !how.is_empty() {
                page.add_row(INDENT, how, "=", &format_amount(quantity, charge.unit()));
            } else if lines.quantities.len() > 1 {
                page.add_row(INDENT, "an invocation", "", &format_amount(quantity, charge.unit()));
            }
            if *count > 1 {
                let all = quantity * &Exact::from(*count);
                let times = format!("x{TIED}{count} invocations");
                page.add_row(INDENT, &times, "=", &format_amount(&all, charge.unit()));
            }
        }
        if !listed {
            let kinds = lines.quantities.len();
            page.add_text(
                INDENT,
                &format!("{kinds} different quantities, the sum of which is below"),
            );
        }
        if lines.quantities.len() > 1 {
            page.add_row(INDENT, "sum", "=", &format_amount(&lines.sum, charge.unit()));
        }
        let weight = charge.pool_weight();
        if *weight != Exact::from(1) {
            let fed = &lines.sum * weight;
            let times = format!("x{TIED}{}", format_factor(weight));
            page.add_row(INDENT, &times, "=", &format_amount(&fed, pool.unit()));
        }
        write_price_steps(page, self.model, charge.pool_index());
        let currency = CurrencyFormat(self.model.currency());
        let price = pool.tiers().first().map(|tier| tier.price.as_exact().clone());
        let left = currency.format_price(&price.unwrap_or_default(), pool.units_per_price());
        page.add_row(
            INDENT,
            &left,
            "=",
            &currency.format_exact(&(&lines.sum * charge.list_rate())),
        );
    }
}

impl ChargeLines {
    fn add_quantity(&mut self, factors: &[FactorTrace]) {
        let mut quantity = Exact::from(1);
        let mut how = Vec::new();
        for factor in factors {
            quantity = &quantity * &factor.billed;
            how.push(format_amount(&factor.billed, &factor.unit));
        }
        self.sum += &quantity;
        let how = if how.len() > 1 { how.join(" x ") } else { String::new() };
        let entry = self.quantities.entry(quantity).or_insert((how, 0));
        entry.1 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyclometer_core::meter::Meter;
    use cyclometer_core::units::Nanos;
    use cyclometer_pricing::find_builtin_model;

    #[test]
    fn a_group_can_be_followed_by_hand() {
        let model = find_builtin_model("aws-lambda-x86").unwrap();
        let terms = Terms::for_model(model);
        let mut cell = CellExplanation::new(model, &terms);
        for micros in [119_500, 119_900, 127_000] {
            let mut usage = Usage::new(true);
            usage.phases.run = Some(Nanos(micros * 1_000));
            usage.set(Meter::MemoryAllocated, 128 << 20);
            cell.add_invocation(&usage);
        }
        // 0.125 GB x (0.12 + 0.12 + 0.127) s = 0.045875 GB-s x 0.0000166667.
        assert_eq!(cell.total().to_plain_string(), "0.0000013645848625");
        let text = cell.to_text("nbody in native, cold");
        for shown in ["= 0.015 GB-s", "2 invocations", "= 0.03 GB-s", "0.045875"] {
            let found = text.contains(shown);
            assert!(found, "{shown} in\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
