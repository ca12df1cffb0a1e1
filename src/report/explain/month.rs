//! The bill of a month of invocations like those that were recorded.

use super::Explanation;
use super::figures::{TIED, amount, factor, number};
use super::page::Page;
use super::text::{alike, titled};
use crate::pricing::{Basis, Exact, Position, PriceModel, Settlement, Subtotal, Terms};

const INDENT: usize = 4;

/// How a month of `requests` comes about from what `billed` invocations used
/// together: quantities, allowances, tiers and rounding, position by position.
/// No line is longer than 80 characters.
#[must_use]
pub fn month_text(
    (model, terms): (&PriceModel, &Terms),
    settlement: &Settlement,
    requests: &Exact,
    billed: u64,
) -> String {
    let explanation = Explanation {
        model,
        groups: &[],
        terms,
        traces: Vec::new(),
        settlement: settlement.clone(),
        notes: Vec::new(),
    };
    let scale = Scale { requests, billed: Exact::from(billed) };
    let mut page = Page::default();
    page.text(
        0,
        &format!(
            "a month of {} like those: allowances, tiers and monthly charges apply",
            amount(requests, "request")
        ),
    );
    for position in settlement.positions.iter().filter(|it| !it.quantity.is_zero()) {
        page.gap();
        scale.quantities(&mut page, model, position);
        let pool = &model.pools()[position.pool];
        Explanation::allowance(&mut page, position, pool);
        explanation.price(&mut page, position, pool);
    }
    page.gap();
    explanation.total(&mut page);
    if page.has_cut() {
        page.text(2, "~: cut to 15 digits");
    }
    page.finish()
}

/// From the invocations there are to those of a month.
struct Scale<'a> {
    requests: &'a Exact,
    billed: Exact,
}

impl Scale<'_> {
    fn quantities(&self, page: &mut Page, model: &PriceModel, position: &Position) {
        let pool = &model.pools()[position.pool];
        let unit = pool.unit();
        page.text(2, &titled(pool.name(), unit, pool.name()));
        let fed: Vec<&Subtotal> =
            position.from.iter().filter(|it| !it.quantity.is_zero()).collect();
        for subtotal in &fed {
            let charge = &subtotal.charge;
            let plain = fed.len() == 1 && *charge.weight() == Exact::from(1);
            let indent = if plain { INDENT } else { INDENT + 2 };
            if !plain {
                page.text(INDENT, &titled(charge.name(), charge.unit(), unit));
            }
            self.quantity(page, indent, subtotal);
            if *charge.weight() != Exact::from(1) || !alike(charge.unit(), unit) {
                let left = format!("x{TIED}{}", factor(charge.weight()));
                let fed = &subtotal.quantity * charge.weight();
                page.row(indent, &left, "=", &amount(&fed, unit));
            }
        }
        if fed.len() > 1 {
            page.row(INDENT, "together", "=", &amount(&position.quantity, unit));
        }
    }

    fn quantity(&self, page: &mut Page, indent: usize, subtotal: &Subtotal) {
        let unit = subtotal.charge.unit();
        let all = amount(&subtotal.quantity, unit);
        if subtotal.charge.basis() == Basis::Period {
            return page.row(indent, "by the month", "", &all);
        }
        let sum = (&subtotal.quantity * &self.billed).over(self.requests).unwrap_or_default();
        let left = format!(
            "{} /{TIED}{} x{TIED}{}",
            amount(&sum, unit),
            number(&self.billed),
            number(self.requests)
        );
        page.row(indent, &left, "=", &all);
    }
}
