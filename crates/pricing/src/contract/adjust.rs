//! Adjustments of a settlement: what a contract adds to and takes off the bill of a period, one
//! printed line each, in the order commitment, minimum, credit, tax.

use std::sync::Arc;

use super::{Commitment, ContractDetails, CoveredPool, MeasuredAt, Minimum, format_percent};
use crate::model::PriceModel;
use crate::money::{Money, Rounding};
use crate::number::Exact;
use crate::settle::{Position, Subtotal};
use crate::terms::Terms;

/// An hour in nanoseconds.
const HOUR: u64 = 3_600_000_000_000;

/// Kind of an adjustment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdjustmentKind {
    /// Usage that a commitment pays for, taken off.
    Covered,
    /// Part of the committed amount that usage took up.
    CommitmentUsed,
    /// Part of the committed amount that nothing took up, and that is paid all the same.
    CommitmentUnused,
    /// What is missing to a minimum.
    Minimum,
    /// A credit, taken off.
    Credit,
    /// A tax on all of it.
    Tax,
}

impl AdjustmentKind {
    /// Returns the name used in tables and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Covered => "covered",
            Self::CommitmentUsed => "commitment_used",
            Self::CommitmentUnused => "commitment_unused",
            Self::Minimum => "minimum",
            Self::Credit => "credit",
            Self::Tax => "tax",
        }
    }
}

/// A line of a bill that is no position of the tariff: what a contract adds or takes off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    /// Kind of the line.
    pub kind: AdjustmentKind,
    /// Name of the line.
    pub name: Arc<str>,
    /// Amount that the line is computed from, in the currency of the bill.
    pub basis: Money,
    /// Share of the basis; `None`: the amount is no fixed share.
    pub rate: Option<Exact>,
    /// Exact amount; negative where something is taken off.
    pub amount: Money,
    /// Amount as it is printed and added up under the rounding policy.
    pub rounded: Money,
    /// Explanation for the reader.
    pub note: String,
}

/// Sum of a bill so far, exact and as printed.
struct Ledger {
    rounding: Rounding,
    exact: Exact,
    printed: Exact,
    lines: Vec<Adjustment>,
}

/// A line before it is rounded.
struct Line {
    kind: AdjustmentKind,
    name: Arc<str>,
    basis: Exact,
    rate: Option<Exact>,
    amount: Exact,
    note: String,
}

impl Ledger {
    fn add_line(&mut self, line: Line) {
        let printed = self.round_signed(&line.amount);
        self.add_printed(line, printed);
    }

    fn add_printed(&mut self, line: Line, printed: Exact) {
        self.exact += &line.amount;
        self.printed += &printed;
        self.lines.push(Adjustment {
            kind: line.kind,
            name: line.name,
            basis: Money::new(line.basis),
            rate: line.rate,
            amount: Money::new(line.amount),
            rounded: Money::new(printed),
            note: line.note,
        });
    }

    /// Rounds the size of an amount and keeps its sign.
    fn round_signed(&self, amount: &Exact) -> Exact {
        let zero = Exact::default();
        if *amount < zero {
            let size = self.rounding.round_line(&Money::new(&zero - amount));
            return &zero - size.as_exact();
        }
        self.rounding.round_line(&Money::new(amount.clone())).as_exact().clone()
    }
}

/// Result of the adjustments of a bill.
pub(crate) struct AdjustedBill {
    pub lines: Vec<Adjustment>,
    pub total: Money,
    pub exact: Money,
}

impl PriceModel {
    /// Computes the adjustments of a settled period; `hours` has the subtotals of each hour where
    /// they are known.
    pub(crate) fn adjust_bill(
        &self,
        contract: &ContractDetails,
        positions: &[Position],
        terms: &Terms,
        rounding: Rounding,
        hours: Option<&[Vec<Subtotal>]>,
    ) -> AdjustedBill {
        let exact = positions.iter().fold(Exact::default(), |sum, it| &sum + it.amount.as_exact());
        let printed =
            positions.iter().fold(Exact::default(), |sum, it| &sum + it.rounded.as_exact());
        let mut ledger = Ledger { rounding, exact, printed, lines: Vec::new() };
        if let Some(commitment) = &contract.commitment {
            let spend = match hours {
                Some(hours) => self.spend_by_hour(commitment, terms, rounding, hours),
                None => HourlySpend::spread_evenly(commitment, positions, terms),
            };
            spend.add_lines(commitment, positions, &mut ledger);
        }
        if let Some(minimum) = &contract.minimum {
            add_minimum(minimum, positions, &mut ledger);
        }
        if let Some(credit) = &contract.credit {
            let zero = Exact::default();
            let take = |sum: &Exact| credit.amount.as_exact().min(sum).max(&zero).clone();
            let amount = &zero - &take(&ledger.exact);
            let printed = {
                let rounded = rounding.round_line(&credit.amount);
                &zero - rounded.as_exact().min(&ledger.printed).max(&zero)
            };
            let line = Line {
                kind: AdjustmentKind::Credit,
                name: Arc::clone(&credit.name),
                basis: credit.amount.as_exact().clone(),
                rate: None,
                amount,
                note: "taken off, never below 0".to_owned(),
            };
            ledger.add_printed(line, printed);
        }
        // A tax is on the net amount as it is printed, also where only sums are rounded.
        ledger.printed = rounding.round_sum(&Money::new(ledger.printed)).as_exact().clone();
        if let Some(tax) = &contract.tax {
            let net = ledger.printed.clone();
            let line = Line {
                kind: AdjustmentKind::Tax,
                name: Arc::clone(&tax.name),
                basis: net.clone(),
                rate: Some(tax.rate.clone()),
                amount: &ledger.exact * &tax.rate,
                note: format!("{} of the net amount", format_percent(&tax.rate)),
            };
            let printed = Money::new(&net * &tax.rate);
            let printed = rounding.round_sum(&rounding.round_line(&printed));
            ledger.add_printed(line, printed.as_exact().clone());
        }
        AdjustedBill {
            lines: ledger.lines,
            total: Money::new(ledger.printed),
            exact: Money::new(ledger.exact),
        }
    }

    /// Distributes the commitment over hours whose usage is known: allowances and tiers are used
    /// up in the order of the hours.
    fn spend_by_hour(
        &self,
        commitment: &Commitment,
        terms: &Terms,
        rounding: Rounding,
        hours: &[Vec<Subtotal>],
    ) -> HourlySpend {
        let mut spend = HourlySpend::new(commitment, false);
        let mut sums: Vec<(Exact, Exact)> =
            vec![(Exact::default(), Exact::default()); commitment.covered.len()];
        let whole = hours.concat();
        let left_for = |covered: &CoveredPool| {
            self.pools().get(covered.pool).and_then(|pool| self.allowance_left_for(pool, &whole))
        };
        let rests: Vec<Option<Exact>> = commitment.covered.iter().map(left_for).collect();
        for hour in hours {
            let mut amounts = Vec::with_capacity(sums.len());
            let covered = commitment.covered.iter().zip(&rests);
            for ((covered, rest), (quantity, before)) in covered.zip(&mut sums) {
                for subtotal in hour.iter().filter(|it| it.charge.pool == covered.pool) {
                    *quantity += &(&subtotal.quantity * &subtotal.charge.weight);
                }
                let so_far = (&*quantity, rest.as_ref());
                let after = self.amount_of_quantity(covered.pool, so_far, terms, rounding);
                amounts.push(&after - before);
                *before = after;
            }
            spend.add_hours(commitment, &amounts, &Exact::from(1));
        }
        let period = hours_of(terms);
        let counted = Exact::from(u64::try_from(hours.len()).unwrap_or(u64::MAX));
        if period > counted {
            let nothing = vec![Exact::default(); sums.len()];
            spend.add_hours(commitment, &nothing, &(&period - &counted));
        }
        spend
    }
}

/// Returns the length of the period in hours.
fn hours_of(terms: &Terms) -> Exact {
    terms.period.checked_div(&Exact::from(HOUR)).unwrap_or_default()
}

/// What a commitment paid for, over all hours.
struct HourlySpend {
    hours: Exact,
    /// Amounts on the bill that are covered, by covered pool.
    covered: Vec<Exact>,
    /// Used part of the commitment, in its currency.
    used: Exact,
    /// Whether the usage was spread over the hours, for want of better knowledge.
    estimated: bool,
}

impl HourlySpend {
    fn new(commitment: &Commitment, estimated: bool) -> Self {
        let covered = vec![Exact::default(); commitment.covered.len()];
        Self { hours: Exact::default(), covered, used: Exact::default(), estimated }
    }

    fn spread_evenly(commitment: &Commitment, positions: &[Position], terms: &Terms) -> Self {
        let hours = hours_of(terms);
        let mut spend = Self::new(commitment, true);
        let amount = |covered: &CoveredPool| {
            let position = positions.iter().find(|it| it.pool == covered.pool);
            let amount = position.map(|it| it.amount.as_exact().clone()).unwrap_or_default();
            amount.checked_div(&hours).unwrap_or_default()
        };
        let amounts: Vec<Exact> = commitment.covered.iter().map(amount).collect();
        spend.add_hours(commitment, &amounts, &hours);
        spend
    }

    /// Adds `hours` equal hours with these amounts on the bill, by covered pool. The pools are in
    /// the order in which the commitment is applied: the highest discount first.
    fn add_hours(&mut self, commitment: &Commitment, amounts: &[Exact], hours: &Exact) {
        let mut left = commitment.per_hour.as_exact().clone();
        for ((covered, amount), sum) in
            commitment.covered.iter().zip(amounts).zip(&mut self.covered)
        {
            // Nothing is saved on what costs nothing.
            let Some(list) = amount.checked_div(&covered.billed) else { continue };
            let per_list = match commitment.measured_at {
                MeasuredAt::DiscountedPrices => covered.rate.clone(),
                MeasuredAt::ListPrices => Exact::from(1),
            };
            let wanted = &list * &per_list;
            let taken = wanted.clone().min(left.clone());
            let share = taken.checked_div(&wanted).unwrap_or_else(|| {
                // A price of 0 under the plan takes nothing of it.
                Exact::from(1)
            });
            left = &left - &taken;
            *sum += &(&(amount * &share) * hours);
            self.used += &(&taken * hours);
        }
        self.hours += hours;
    }

    fn add_lines(self, commitment: &Commitment, positions: &[Position], ledger: &mut Ledger) {
        let Self { hours, covered, used, estimated } = self;
        let zero = Exact::default();
        for (pool, amount) in commitment.covered.iter().zip(covered) {
            let Some(position) = positions.iter().find(|it| it.pool == pool.pool) else { continue };
            let all = position.amount.as_exact();
            let Some(share) = amount.checked_div(all) else { continue };
            ledger.add_line(Line {
                kind: AdjustmentKind::Covered,
                name: covered_name(&commitment.name, &position.name).into(),
                basis: all.clone(),
                rate: None,
                amount: &zero - &amount,
                note: format!("{} % of it is covered", percent_text(&share)),
            });
        }
        // Under list prices the fee is the committed amount less the discount.
        let fee = match commitment.measured_at {
            MeasuredAt::DiscountedPrices => Exact::from(1),
            MeasuredAt::ListPrices => {
                commitment.covered.first().map_or(Exact::from(1), |it| it.rate.clone())
            }
        };
        let fee = &fee * &commitment.conversion;
        let all = commitment.per_hour.as_exact() * &hours;
        let share = used.checked_div(&all).unwrap_or_default();
        let spread = if estimated { "; usage spread evenly: an estimate" } else { "" };
        let parts = [
            (AdjustmentKind::CommitmentUsed, used_name(&commitment.name), share.clone()),
            (
                AdjustmentKind::CommitmentUnused,
                unused_name(&commitment.name),
                &Exact::from(1) - &share,
            ),
        ];
        for (kind, name, share) in parts {
            let basis = &all * &fee;
            let note = format!(
                "{} % of {} {} x {} h{spread}",
                percent_text(&share),
                commitment.per_hour.to_plain_string(),
                commitment.currency,
                percent_text_of(&hours),
            );
            let amount = &basis * &share;
            ledger.add_line(Line {
                kind,
                name: name.into(),
                basis,
                rate: Some(share),
                amount,
                note,
            });
        }
    }
}

/// Returns the name of the line of covered usage.
pub(super) fn covered_name(commitment: &str, position: &str) -> String {
    format!("{commitment}: {position} covered")
}

/// Returns the name of the line of the used part.
pub(super) fn used_name(commitment: &str) -> String {
    format!("{commitment}: used")
}

/// Returns the name of the line of the unused part.
pub(super) fn unused_name(commitment: &str) -> String {
    format!("{commitment}: unused")
}

fn percent_text(share: &Exact) -> String {
    percent_text_of(&(share * &Exact::from(100)))
}

/// Formats a number with at most two decimals.
fn percent_text_of(value: &Exact) -> String {
    let text = value.to_rounded_string(2);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn add_minimum(minimum: &Minimum, positions: &[Position], ledger: &mut Ledger) {
    let counts = |position: &&Position| {
        minimum.pools.as_ref().is_none_or(|pools| pools.contains(&position.pool))
    };
    let over = |of: &dyn Fn(&Position) -> &Money| {
        let counted = positions.iter().filter(counts);
        counted.fold(Exact::default(), |sum, it| &sum + of(it).as_exact())
    };
    let (exact, printed) = match minimum.pools {
        None => (ledger.exact.clone(), ledger.printed.clone()),
        Some(_) => (over(&|it| &it.amount), over(&|it| &it.rounded)),
    };
    let missing = |sum: &Exact, least: &Exact| {
        if sum < least { least - sum } else { Exact::default() }
    };
    let least = minimum.amount.as_exact();
    let rounded = ledger.rounding.round_line(&minimum.amount);
    let amount = missing(&exact, least);
    let printed = missing(&printed, rounded.as_exact());
    let names: Vec<&str> = positions.iter().filter(counts).map(|it| &*it.name).collect();
    let of = match minimum.pools {
        None => "the bill so far".to_owned(),
        Some(_) => names.join(" and "),
    };
    let note = if amount.is_zero() {
        format!("{} is reached by {of}", minimum.amount.to_plain_string())
    } else {
        format!("what is missing to {}: {of}", minimum.amount.to_plain_string())
    };
    let line = Line {
        kind: AdjustmentKind::Minimum,
        name: Arc::clone(&minimum.name),
        basis: exact,
        rate: None,
        amount,
        note,
    };
    ledger.add_printed(line, printed);
}
