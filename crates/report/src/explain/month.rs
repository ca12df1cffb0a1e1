//! Explanation of the bill of a month of invocations like the recorded ones.

use super::Explanation;
use super::figures::{TIED, amount, factor, number};
use super::page::Page;
use super::text::{alike, titled};
use cyclometer_pricing::{Basis, Exact, Position, PriceModel, Settlement, Subtotal, Terms};

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

/// Scales the recorded invocations to those of a month.
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

#[cfg(test)]
mod tests {
    use super::*;
    use cyclometer_core::meter::{Meter, Usage};
    use cyclometer_core::units::Nanos;
    use cyclometer_pricing::find;
    use cyclometer_replay::{Key, Row, replay};

    #[test]
    fn a_month_can_be_followed_by_hand() {
        let model = find("aws-lambda-x86").unwrap();
        let terms = Terms::of(model);
        let rows = [120, 240].map(|ms| {
            let mut usage = Usage::new(true);
            usage.phases.run = Some(Nanos(ms * 1_000_000));
            usage.set(Meter::MemoryAllocated, 2 << 30);
            let name = |text: &str| text.into();
            let (lane, workload, preset, start) =
                (name("native"), name("f"), name("small"), name("cold"));
            let key = Key { lane, workload, preset, start };
            Ok::<_, std::convert::Infallible>(Row {
                invocation: 1,
                key,
                offset: Nanos(0),
                failed: false,
                usage,
            })
        });
        let contract = (model.clone(), terms.clone());
        let summary = replay(rows, &[contract]).unwrap();
        let requests = Exact::from(3_000_000);
        let month = summary.month(&summary.overall(), 0, &requests).unwrap();
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
