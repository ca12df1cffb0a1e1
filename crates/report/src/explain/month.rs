//! Explanation of the bill of a month of invocations like the recorded ones.

use super::Explanation;
use super::contract::write_contract_head;
use super::number_format::{TIED, format_amount, format_factor, format_number};
use super::page::TextPage;
use super::text::{is_same_unit, title_with_unit};
use cyclometer_pricing::{ChargeBasis, Exact, Position, PriceModel, Settlement, Subtotal, Terms};

const INDENT: usize = 4;

/// Explains how the bill of a month of `requests` follows from the summed usage of
/// `billed` invocations: quantities, allowances, tiers and rounding, position by
/// position. No line is longer than 80 characters.
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
    let mut page = TextPage::default();
    page.add_text(
        0,
        &format!(
            "a month of {} like those: allowances, tiers and monthly charges apply",
            format_amount(requests, "request")
        ),
    );
    write_contract_head(&mut page, model, None);
    for position in settlement.positions.iter().filter(|it| !it.quantity.is_zero()) {
        page.add_gap();
        scale.write_quantities(&mut page, model, position);
        let pool = &model.pools()[position.pool];
        Explanation::write_allowance(&mut page, position, pool);
        explanation.write_price(&mut page, position, pool);
    }
    page.add_gap();
    explanation.write_total(&mut page);
    if page.has_cut() {
        page.add_text(2, "~: cut to 15 digits");
    }
    page.into_text()
}

/// Scales the recorded invocations to those of a month.
struct Scale<'a> {
    requests: &'a Exact,
    billed: Exact,
}

impl Scale<'_> {
    fn write_quantities(&self, page: &mut TextPage, model: &PriceModel, position: &Position) {
        let pool = &model.pools()[position.pool];
        let unit = pool.unit();
        page.add_text(2, &title_with_unit(pool.name(), unit, pool.name()));
        let fed: Vec<&Subtotal> =
            position.subtotals.iter().filter(|it| !it.quantity.is_zero()).collect();
        for subtotal in &fed {
            let charge = &subtotal.charge;
            let plain = fed.len() == 1 && *charge.pool_weight() == Exact::from(1);
            let indent = if plain { INDENT } else { INDENT + 2 };
            if !plain {
                page.add_text(INDENT, &title_with_unit(charge.name(), charge.unit(), unit));
            }
            self.write_quantity(page, indent, subtotal);
            if *charge.pool_weight() != Exact::from(1) || !is_same_unit(charge.unit(), unit) {
                let left = format!("x{TIED}{}", format_factor(charge.pool_weight()));
                let fed = &subtotal.quantity * charge.pool_weight();
                page.add_row(indent, &left, "=", &format_amount(&fed, unit));
            }
        }
        if fed.len() > 1 {
            page.add_row(INDENT, "together", "=", &format_amount(&position.quantity, unit));
        }
    }

    fn write_quantity(&self, page: &mut TextPage, indent: usize, subtotal: &Subtotal) {
        let unit = subtotal.charge.unit();
        let all = format_amount(&subtotal.quantity, unit);
        if subtotal.charge.basis() == ChargeBasis::Period {
            return page.add_row(indent, "by the month", "", &all);
        }
        let sum =
            (&subtotal.quantity * &self.billed).checked_div(self.requests).unwrap_or_default();
        let left = format!(
            "{} /{TIED}{} x{TIED}{}",
            format_amount(&sum, unit),
            format_number(&self.billed),
            format_number(self.requests)
        );
        page.add_row(indent, &left, "=", &all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyclometer_core::invocation::StartKind;
    use cyclometer_core::meter::{Meter, Usage};
    use cyclometer_core::units::Nanos;
    use cyclometer_pricing::find_builtin_model;
    use cyclometer_replay::{CellKey, UsageRow, replay_rows};

    #[test]
    fn a_month_can_be_followed_by_hand() {
        let model = find_builtin_model("aws-lambda-x86").unwrap();
        let terms = Terms::for_model(model);
        let rows = [120, 240].map(|ms| {
            let mut usage = Usage::new(true);
            usage.phases.run = Some(Nanos(ms * 1_000_000));
            usage.set(Meter::MemoryAllocated, 2 << 30);
            let key = CellKey::new("native", "f", "small", StartKind::Cold);
            Ok::<_, std::convert::Infallible>(UsageRow {
                invocation: 1,
                key,
                offset: Nanos(0),
                failed: false,
                usage,
            })
        });
        let contract = (model.clone(), terms.clone());
        let summary = replay_rows(rows, &[contract]).unwrap();
        let requests = Exact::from(3_000_000);
        let month = summary.monthly_bill(&summary.overall_group(), 0, &requests).unwrap();
        let text = month_text((model, &terms), &month, &requests, 2);
        // 2 GB x 0.36 s / 2 x 3,000,000 = 1,080,000; less 400,000 free ones.
        for line in [
            "    0.72 GB-s / 2 x 3,000,000       = 1,080,000 GB-s",
            "    free                            - 400,000 GB-s",
            "    to pay                          = 680,000 GB-s",
            "    x $0.0000166667                 = $11.333356        -> $11.33",
            "    2 requests / 2 x 3,000,000      = 3,000,000 requests",
            "    x $0.20 / 1,000,000             = $0.40             -> $0.40",
            "  total (line_half_up, 2 decimals)  = $11.73",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
