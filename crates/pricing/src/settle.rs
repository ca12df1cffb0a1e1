//! Settlement of a billing period: quantities of all its invocations, minus allowances, in
//! packages, tier by tier, and rounded where the model's policy says.

use std::sync::Arc;

use super::charge::{Charge, Pool};
use super::contract::Adjustment;
use super::evaluate::{EvalContext, Refusal};
use super::model::PriceModel;
use super::money::{Money, Rounding};
use super::number::Exact;
use super::schema::ChargeBasis;
use super::terms::Terms;
use cyclometer_core::meter::Usage;
use cyclometer_core::units::Nanos;

/// Total quantity of a charge over a billing period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subtotal {
    /// Charge that was counted.
    pub charge: Arc<Charge>,
    /// Quantity in the unit of the charge.
    pub quantity: Exact,
}

/// Part of a position at one price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierLine {
    /// Quantity in the unit of the position.
    pub quantity: Exact,
    /// Price of as many units as the pool is priced by (`per`).
    pub price: Money,
    /// Amount: quantity x price / per.
    pub amount: Money,
}

/// Position of the bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Index of its pool in the model.
    pub pool: usize,
    /// Name of the position.
    pub name: Arc<str>,
    /// Unit of its quantities.
    pub unit: Arc<str>,
    /// Charges that feed the position.
    pub subtotals: Vec<Subtotal>,
    /// Total quantity, before the allowance.
    pub quantity: Exact,
    /// Quantity covered by the allowance.
    pub free: Exact,
    /// Quantity that is paid for, after allowance and packages.
    pub billable: Exact,
    /// Parts of the billable quantity by tier.
    pub tiers: Vec<TierLine>,
    /// Amount covered by an allowance in money.
    pub credit: Money,
    /// Exact amount.
    pub amount: Money,
    /// Amount as it is printed and added up under the model's rounding policy.
    pub rounded: Money,
}

/// The bill of a billing period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Positions, in the order of the model.
    pub positions: Vec<Position>,
    /// Rounding that was applied.
    pub rounding: Rounding,
    /// Sum of the positions after rounding, before adjustments.
    pub subtotal: Money,
    /// What a contract adds and takes off, in this order.
    pub adjustments: Vec<Adjustment>,
    /// Total after rounding and adjustments.
    pub total: Money,
    /// Exact sum of the positions and adjustments.
    pub exact: Money,
}

/// A group of identical invocations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageGroup {
    /// Number of invocations.
    pub requests: Exact,
    /// Usage of each invocation.
    pub usage: Usage,
    /// Terms of this group.
    pub terms: Terms,
    /// Number and length of the time spans in which instances serve, for charges by instance;
    /// `None`: every request is a span of its own.
    pub instance_spans: Option<(Exact, Nanos)>,
}

impl UsageGroup {
    /// Returns the number of instance spans and the usage that charges by instance see: each span
    /// as one long run.
    pub(super) fn instance_usage(&self) -> (Exact, Usage) {
        let Some((count, time)) = &self.instance_spans else {
            return (self.requests.clone(), self.usage);
        };
        let mut usage = self.usage;
        usage.phases = cyclometer_core::meter::Phases { run: Some(*time), ..Default::default() };
        (count.clone(), usage)
    }
}

impl PriceModel {
    /// Adds up the quantity of each charge over all groups; charges by period are counted once,
    /// under `terms`.
    ///
    /// # Errors
    ///
    /// Returns a refusal that names the first charge that cannot be billed, and the reason.
    pub fn charge_subtotals(
        &self,
        groups: &[UsageGroup],
        terms: &Terms,
    ) -> Result<Vec<Subtotal>, Refusal> {
        let mut sums = Vec::new();
        for charge in self.shared_charges() {
            let mut quantity = Exact::default();
            if charge.basis == ChargeBasis::Period {
                quantity = self.period_quantity(charge, terms)?;
            }
            for group in groups.iter().filter(|_| charge.basis != ChargeBasis::Period) {
                let (count, usage) = match charge.basis {
                    ChargeBasis::Instance => group.instance_usage(),
                    _ => (group.requests.clone(), group.usage),
                };
                let scene = EvalContext { model: self, usage: &usage, terms: &group.terms };
                quantity += &(&scene.billed_quantity(charge)?.0 * &count);
            }
            sums.push(Subtotal { charge: Arc::clone(charge), quantity });
        }
        Ok(sums)
    }

    /// Returns the quantity of a charge that is counted once per period.
    ///
    /// # Errors
    ///
    /// Returns a refusal if an input that the charge needs was not given.
    pub fn period_quantity(&self, charge: &Charge, terms: &Terms) -> Result<Exact, Refusal> {
        let usage = Usage::new(false);
        let scene = EvalContext { model: self, usage: &usage, terms };
        scene.billed_quantity(charge).map(|(quantity, _)| quantity)
    }

    /// Computes the bill of a period from its subtotals.
    #[must_use]
    pub fn settle(&self, subtotals: &[Subtotal], terms: &Terms, rounding: Rounding) -> Settlement {
        self.settle_period(subtotals, terms, rounding, None)
    }

    /// Computes the bill of a period from the subtotals of each of its hours, the first hour
    /// first: what a contract commits to by the hour is then used as the usage came, and
    /// allowances and tiers are used up in that order. Hours beyond those given have no usage.
    #[must_use]
    pub fn settle_by_hour(
        &self,
        hours: &[Vec<Subtotal>],
        terms: &Terms,
        rounding: Rounding,
    ) -> Settlement {
        let mut sums: Vec<Subtotal> = Vec::new();
        for subtotal in hours.iter().flatten() {
            match sums.iter_mut().find(|sum| Arc::ptr_eq(&sum.charge, &subtotal.charge)) {
                Some(sum) => sum.quantity += &subtotal.quantity,
                None => sums.push(subtotal.clone()),
            }
        }
        self.settle_period(&sums, terms, rounding, Some(hours))
    }

    fn settle_period(
        &self,
        subtotals: &[Subtotal],
        terms: &Terms,
        rounding: Rounding,
        hours: Option<&[Vec<Subtotal>]>,
    ) -> Settlement {
        let position = |(index, pool): (usize, &Pool)| {
            let from: Vec<Subtotal> =
                subtotals.iter().filter(|sum| sum.charge.pool == index).cloned().collect();
            (!from.is_empty()).then(|| {
                let rest = self.allowance_left_for(pool, subtotals);
                settle_pool(index, pool, from, rest.as_ref(), terms, rounding)
            })
        };
        let positions: Vec<Position> =
            self.pools().iter().enumerate().filter_map(position).collect();
        let amounts = || positions.iter().map(|position| &position.amount);
        let (subtotal, exact) = (rounding.round_total(amounts()), amounts().sum());
        let Some(contract) = self.contract() else {
            let (total, adjustments) = (subtotal.clone(), Vec::new());
            return Settlement { positions, rounding, subtotal, adjustments, total, exact };
        };
        let adjusted = self.adjust_bill(contract, &positions, terms, rounding, hours);
        Settlement {
            positions,
            rounding,
            subtotal,
            adjustments: adjusted.lines,
            total: adjusted.total,
            exact: adjusted.exact,
        }
    }

    /// Returns the exact amount of a quantity of a pool, after allowances and tiers.
    pub(super) fn amount_of_quantity(
        &self,
        pool: usize,
        (quantity, rest): (&Exact, Option<&Exact>),
        terms: &Terms,
        rounding: Rounding,
    ) -> Exact {
        let Some(found) = self.pools().get(pool) else { return Exact::default() };
        let position =
            settle_quantity(pool, found, (Vec::new(), quantity.clone()), rest, terms, rounding);
        position.amount.as_exact().clone()
    }

    /// Returns what another position leaves of its allowance, if this one uses it up.
    pub(super) fn allowance_left_for(&self, pool: &Pool, subtotals: &[Subtotal]) -> Option<Exact> {
        let name = pool.rest_of.as_deref().filter(|_| pool.free.is_none())?;
        let (index, other) =
            self.pools().iter().enumerate().find(|(_, other)| &*other.name == name)?;
        let taken = sum_quantities(subtotals.iter().filter(|sum| sum.charge.pool == index));
        let whole = &other.free.as_ref()?.quantity;
        Some(if taken < *whole { whole - &taken } else { Exact::default() })
    }
}

/// Adds up the subtotals of a position, in its unit.
fn sum_quantities<'a>(subtotals: impl Iterator<Item = &'a Subtotal>) -> Exact {
    subtotals.fold(Exact::default(), |sum, subtotal| {
        &sum + &(&subtotal.quantity * &subtotal.charge.weight)
    })
}

fn settle_pool(
    index: usize,
    pool: &Pool,
    from: Vec<Subtotal>,
    rest: Option<&Exact>,
    terms: &Terms,
    rounding: Rounding,
) -> Position {
    let quantity = sum_quantities(from.iter());
    settle_quantity(index, pool, (from, quantity), rest, terms, rounding)
}

/// Settles a quantity of a pool, and the subtotals that it is the sum of.
fn settle_quantity(
    index: usize,
    pool: &Pool,
    (from, quantity): (Vec<Subtotal>, Exact),
    rest: Option<&Exact>,
    terms: &Terms,
    rounding: Rounding,
) -> Position {
    let allowance = pool.free.as_ref().filter(|_| terms.free);
    let (mut free, mut credit) = (Exact::default(), Exact::default());
    if let Some(allowance) = allowance {
        match &allowance.credit_price {
            None => free = allowance.quantity.clone().min(quantity.clone()),
            Some(price) => {
                let worth = &allowance.quantity * price.as_exact();
                credit = worth.checked_div(&pool.per).unwrap_or_default();
            }
        }
    }
    if let Some(rest) = rest.filter(|_| terms.free) {
        free = rest.clone().min(quantity.clone());
    }
    let mut billable = &quantity - &free;
    if let Some(package) = &pool.package {
        billable = billable.up_to_multiple(package);
    }
    let tiers = split_by_tier(pool, &billable);
    let gross = tiers.iter().fold(Exact::default(), |sum, tier| &sum + tier.amount.as_exact());
    let credit = credit.min(gross.clone());
    let amount = Money::new(&gross - &credit);
    Position {
        pool: index,
        name: Arc::clone(&pool.name),
        unit: Arc::clone(&pool.unit),
        subtotals: from,
        quantity,
        free,
        billable,
        tiers,
        credit: Money::new(credit),
        rounded: rounding.round_line(&amount),
        amount,
    }
}

/// Splits the quantity by tier and prices each part.
fn split_by_tier(pool: &Pool, billable: &Exact) -> Vec<TierLine> {
    let mut lines = Vec::new();
    let mut done = Exact::default();
    for tier in &pool.tiers {
        let end = tier.up_to.as_ref().map_or(billable, |end| end.min(billable));
        if *end <= done && !lines.is_empty() {
            break;
        }
        let quantity = end - &done;
        let amount = (&quantity * tier.price.as_exact()).checked_div(&pool.per).unwrap_or_default();
        lines.push(TierLine { quantity, price: tier.price.clone(), amount: Money::new(amount) });
        done = end.clone();
    }
    lines
}
