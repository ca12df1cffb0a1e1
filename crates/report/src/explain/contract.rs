//! What a contract changes of a bill, step by step: prices, terms, and lines of its own.

use super::number_format::{CurrencyFormat, TIED, format_factor};
use super::page::TextPage;
use cyclometer_pricing::{Adjustment, ContractDetails, Exact, PriceModel, Settlement};

const INDENT: usize = 4;

/// Writes what the model is a contract over, and what it changes other than prices.
///
/// `billed` is the length of the billed period where it is not the contract's month.
pub(super) fn write_contract_head(page: &mut TextPage, model: &PriceModel, billed: Option<&str>) {
    let Some(contract) = model.contract() else { return };
    let region = contract.region().map(|it| format!(", region {it}")).unwrap_or_default();
    page.add_text(0, &format!("contract over {}{region}", contract.base_ids().join(", over ")));
    for step in contract.other_steps() {
        match billed.filter(|_| step.starts_with("a month of ")) {
            Some(billed) => page.add_text(2, &format!("{step}; billed here are {billed}")),
            None => page.add_text(2, step),
        }
    }
}

/// Writes the steps from the extended model's price of a pool to the contract's.
pub(super) fn write_price_steps(page: &mut TextPage, model: &PriceModel, pool: usize) {
    let Some(contract) = model.contract() else { return };
    let steps = contract.price_steps(pool);
    let Some(found) = contract.base().pools().get(pool).filter(|_| !steps.is_empty()) else {
        return;
    };
    let first = found.tiers().first().map(|tier| tier.price.as_exact().clone());
    let currency = CurrencyFormat(contract.base().currency());
    let price = currency.format_exact(&first.unwrap_or_default());
    page.add_row(INDENT, &format!("price of {}", contract.base().id()), "", &price);
    for step in steps {
        let price = CurrencyFormat(&step.currency).format_exact(step.price.as_exact());
        let left = match &step.factor {
            None => step.name.to_string(),
            Some(factor) => format!("{}: x{TIED}{}", step.name, format_factor(factor)),
        };
        page.add_row(INDENT + 2, &left, "=", &price);
    }
}

/// Writes the lines that a contract adds to the sum of the positions.
pub(super) fn write_adjustments(
    page: &mut TextPage,
    settlement: &Settlement,
    amount_of: impl Fn(&Adjustment) -> String,
) {
    for line in &settlement.adjustments {
        let sign = if *line.rounded.as_exact() < Exact::default() { "-" } else { "+" };
        page.add_row(2, &line.name, sign, &amount_of(line));
        page.add_text(INDENT + 2, &line.note);
    }
}

/// Describes of each contract what bills at list prices are without, or how a month has it.
pub fn list_contract_notes<'a>(
    models: impl IntoIterator<Item = &'a PriceModel>,
    of_month: bool,
) -> Vec<String> {
    let note = |model: &PriceModel| {
        let terms = model.contract()?.period_terms();
        let (id, all) = (model.id(), terms.join(", "));
        (!terms.is_empty()).then(|| {
            if of_month {
                format!(
                    "{id}: each row is a month of its own, with the whole {all}; usage is spread \
                     evenly over its hours"
                )
            } else {
                format!("{id}: list prices are without {all}; --per-month has them")
            }
        })
    };
    models.into_iter().filter_map(note).collect()
}

/// Describes what a bill of a single invocation cannot have.
pub(super) fn describe_period_terms(contract: &ContractDetails) -> Option<String> {
    let terms = contract.period_terms();
    (!terms.is_empty()).then(|| format!("without what only a whole bill has: {}", terms.join(", ")))
}
