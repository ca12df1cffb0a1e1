//! The arithmetic of a bill, step by step, so that a person can follow it with a pocket
//! calculator.

mod bill;
mod cell;
mod contract;
mod json;
mod month;
mod number_format;
mod page;
mod steps;
#[cfg(test)]
mod tests;
mod text;

pub use bill::{BillExplanation, explain_bill};
pub use cell::CellExplanation;
pub use contract::list_contract_notes;
pub use month::month_text;

use crate::{Cell, Column, Table};
use cyclometer_pricing::{
    ChargeTrace, PriceModel, Refusal, Rounding, Settlement, Subtotal, Terms, UsageGroup,
};

/// The bill of a period with all its parts.
#[derive(Debug, Clone)]
pub struct Explanation<'a> {
    model: &'a PriceModel,
    groups: &'a [UsageGroup],
    terms: &'a Terms,
    traces: Vec<ChargeTrace>,
    settlement: Settlement,
    notes: Vec<String>,
}

/// Bills groups of invocations and keeps every step.
///
/// # Errors
///
/// Returns a refusal for each input that the model needs and nobody gave.
pub fn explain_period<'a>(
    model: &'a PriceModel,
    groups: &'a [UsageGroup],
    terms: &'a Terms,
    rounding: Rounding,
) -> Result<Explanation<'a>, Vec<Refusal>> {
    let traces = model.trace_charges(groups, terms)?;
    let subtotals: Vec<Subtotal> = traces.iter().map(ChargeTrace::to_subtotal).collect();
    let settlement = model.settle(&subtotals, terms, rounding);
    Ok(Explanation { model, groups, terms, traces, settlement, notes: Vec::new() })
}

impl Explanation<'_> {
    /// Adds notes on where the usage comes from.
    #[must_use]
    pub fn with_notes(mut self, notes: impl IntoIterator<Item = String>) -> Self {
        self.notes.extend(notes);
        self
    }

    /// Returns the bill itself.
    #[must_use]
    pub const fn settlement(&self) -> &Settlement {
        &self.settlement
    }

    /// Returns the notes on where the usage comes from.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Builds one row a position, without the steps.
    #[must_use]
    pub fn position_table(&self) -> Table {
        let mut table = Table::new(&[
            Column::text("position", "position"),
            Column::text("unit", "unit"),
            Column::number("quantity", "quantity"),
            Column::number("free", "free"),
            Column::number("billable", "billable"),
            Column::number("list price", "list_price"),
            Column::number("per", "per"),
            Column::number("credit", "credit"),
            Column::number("amount", "amount"),
            Column::number("printed", "rounded"),
            Column::text("currency", "currency"),
            Column::hidden("kind"),
            Column::hidden("note"),
        ]);
        for position in &self.settlement.positions {
            let pool = &self.model.pools()[position.pool];
            let price = pool.tiers().first().map(|tier| tier.price.to_plain_string());
            table.push(vec![
                Cell::text(&*position.name),
                Cell::text(&*position.unit),
                Cell::text(position.quantity.to_plain_string()),
                Cell::text(position.free.to_plain_string()),
                Cell::text(position.billable.to_plain_string()),
                Cell::text(price.unwrap_or_default()),
                Cell::text(pool.units_per_price().to_plain_string()),
                Cell::text(position.credit.to_plain_string()),
                Cell::text(position.amount.to_plain_string()),
                Cell::text(position.rounded.to_plain_string()),
                Cell::text(self.model.currency()),
                Cell::text("position"),
                Cell::text(""),
            ]);
        }
        for line in &self.settlement.adjustments {
            let rate = line
                .rate
                .as_ref()
                .map(|rate| rate.to_fraction_string().unwrap_or_else(|| rate.to_plain_string()));
            let basis = line.basis.to_plain_string();
            table.push(vec![
                Cell::text(&*line.name),
                Cell::text(self.model.currency()),
                Cell::text(&basis),
                Cell::text("0"),
                Cell::text(&basis),
                Cell::text(rate.unwrap_or_default()),
                Cell::text("1"),
                Cell::text("0"),
                Cell::text(line.amount.to_plain_string()),
                Cell::text(line.rounded.to_plain_string()),
                Cell::text(self.model.currency()),
                Cell::text(line.kind.name()),
                Cell::text(&line.note),
            ]);
        }
        table
    }
}
