//! Contracts: what a customer agreed on, over the prices of a model, without a copy of it.
//!
//! A contract is read into a model of its own: prices by name, discounts and the rate of a
//! currency scale what is charged, so that bills at list prices, waste and replays follow. What
//! only a whole bill can have (a commitment, a minimum, a credit, a tax) are [`Adjustment`]s of a
//! settlement.

mod adjust;
pub(crate) mod file;
mod period_terms;
mod resolve;
#[cfg(test)]
pub(super) mod tests;

use std::sync::Arc;

use super::charge::Pool;
use super::example::{Example, ExampleFailure};
use super::model::PriceModel;
use super::money::Money;
use super::number::Exact;

pub use adjust::{Adjustment, AdjustmentKind};
pub use file::MeasuredAt;
pub(crate) use resolve::{BaseModels, TheseModels, models_from_contract};

/// Most contracts over each other, the last one over a price model.
pub const MAX_DEPTH: usize = 4;

/// What a contract changes of the model that it extends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractDetails {
    pub(super) base: Arc<PriceModel>,
    pub(super) region: Option<Arc<str>>,
    pub(super) depth: usize,
    /// Steps from the price of the extended model to the contract's, by pool.
    pub(super) price_steps: Vec<Vec<PriceStep>>,
    /// Changes other than of prices, in words.
    pub(super) other_steps: Vec<String>,
    pub(super) commitment: Option<Commitment>,
    pub(super) minimum: Option<Minimum>,
    pub(super) credit: Option<NamedAmount>,
    pub(super) tax: Option<Tax>,
    /// The contract and all that it builds on, in one text.
    pub(super) complete_text: Arc<str>,
}

/// A step from one list price to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceStep {
    /// What is done: `discount 12 %`.
    pub name: Arc<str>,
    /// Number that the price is multiplied by; `None`: another price takes its place.
    pub factor: Option<Exact>,
    /// Price of the first tier after it.
    pub price: Money,
    /// Currency of that price.
    pub currency: Arc<str>,
}

/// Spend that was committed to by the hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commitment {
    pub(super) name: Arc<str>,
    pub(super) per_hour: Money,
    pub(super) measured_at: MeasuredAt,
    /// Covered pools.
    pub(super) covered: Vec<CoveredPool>,
    /// What one unit of the commitment's currency is on the bill.
    pub(super) conversion: Exact,
    /// Currency of `per_hour`.
    pub(super) currency: Arc<str>,
}

/// A pool that a commitment pays for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CoveredPool {
    pub pool: usize,
    /// Discounted price over list price.
    pub rate: Exact,
    /// Price on the bill over list price: the contract's other discounts, and the currency.
    pub billed: Exact,
}

/// The least that a bill comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Minimum {
    pub name: Arc<str>,
    pub amount: Money,
    /// Pools that count; `None`: the whole bill.
    pub pools: Option<Vec<usize>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedAmount {
    pub name: Arc<str>,
    pub amount: Money,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tax {
    pub name: Arc<str>,
    pub rate: Exact,
}

/// An example of the extended model that does not hold under the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAsideExample<'a> {
    /// The example.
    pub example: &'a Example,
    /// Figure that differs, or why the usage cannot be billed.
    pub failure: ExampleFailure,
}

impl ContractDetails {
    /// Returns the model that the contract extends, which may be a contract itself.
    #[must_use]
    pub fn base(&self) -> &PriceModel {
        &self.base
    }

    /// Returns the ids of all that it builds on, nearest first; the last is a price model.
    #[must_use]
    pub fn base_ids(&self) -> Vec<&str> {
        let mut ids = vec![self.base.id()];
        let mut next = self.base.contract();
        while let Some(contract) = next {
            ids.push(contract.base.id());
            next = contract.base.contract();
        }
        ids
    }

    /// Returns the region that the prices are of.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// Returns the steps from the extended model's price of a pool to the contract's.
    #[must_use]
    pub fn price_steps(&self, pool: usize) -> &[PriceStep] {
        self.price_steps.get(pool).map_or(&[], Vec::as_slice)
    }

    /// Describes what else the contract changes: allowances, the month, the currency.
    #[must_use]
    pub fn other_steps(&self) -> &[String] {
        &self.other_steps
    }

    /// Returns whether spend is committed by the hour, so that a bill depends on when usage came.
    #[must_use]
    pub const fn has_commitment(&self) -> bool {
        self.commitment.is_some()
    }

    /// Describes what only the bill of a whole period has: a commitment, a minimum, a credit, a
    /// tax. A bill of one invocation is without them.
    #[must_use]
    pub fn period_terms(&self) -> Vec<String> {
        let mut terms = Vec::new();
        if let Some(it) = &self.commitment {
            let amount = it.per_hour.to_plain_string();
            terms.push(format!("{} of {amount} {} an hour", it.name, it.currency));
        }
        terms.extend(self.minimum.iter().map(|it| {
            let pools = it.pools.as_ref().map(|pools| {
                let names = pools.iter().filter_map(|pool| self.base.pools().get(*pool));
                let names: Vec<&str> = names.map(Pool::name).collect();
                format!(" for {}", names.join(" and "))
            });
            format!("{} of {}{}", it.name, it.amount, pools.unwrap_or_default())
        }));
        terms.extend(self.credit.iter().map(|it| format!("{} of {}", it.name, it.amount)));
        terms.extend(
            self.tax.iter().map(|it| format!("{} of {}", it.name, format_percent(&it.rate))),
        );
        terms
    }
}

impl PriceModel {
    /// Returns what the contract changes, if the model is one.
    #[must_use]
    pub fn contract(&self) -> Option<&ContractDetails> {
        self.contract.as_deref()
    }

    /// Returns the price model that a contract is over at last; itself, if it is no contract.
    pub(super) fn root(&self) -> &Self {
        let mut model = self;
        while let Some(contract) = model.contract() {
            model = contract.base();
        }
        model
    }

    /// Returns whether the quantity of a pool is an amount of money: its own price is then a rate
    /// of exchange, and the prices are the weights of the charges that feed it.
    #[must_use]
    pub fn is_counted_in_money(&self, pool: &Pool) -> bool {
        pool.shared && *pool.unit == *self.root().currency()
    }

    /// Returns the names of the lines that a contract adds to a settlement.
    pub(super) fn adjustment_names(&self) -> Vec<Arc<str>> {
        let Some(contract) = &self.contract else { return Vec::new() };
        let mut names: Vec<Arc<str>> = Vec::new();
        if let Some(commitment) = &contract.commitment {
            names.push(adjust::used_name(&commitment.name).into());
            names.push(adjust::unused_name(&commitment.name).into());
            let covered = commitment.covered.iter().map(|it| &self.pools[it.pool].name);
            names.extend(covered.map(|name| adjust::covered_name(&commitment.name, name).into()));
        }
        names.extend(contract.minimum.iter().map(|it| Arc::clone(&it.name)));
        names.extend(contract.credit.iter().map(|it| Arc::clone(&it.name)));
        names.extend(contract.tax.iter().map(|it| Arc::clone(&it.name)));
        names
    }

    /// Returns a text from which the model can be read without any other file: its own, and for a
    /// contract also those that it builds on.
    #[must_use]
    pub fn complete_text(&self) -> &str {
        self.contract.as_ref().map_or(&*self.text, |contract| &*contract.complete_text)
    }

    /// Checks the examples of the models that a contract extends under the contract, and returns
    /// how many still hold, and those that do not, which are set aside.
    #[must_use]
    pub fn inherited_examples(&self) -> (usize, Vec<SetAsideExample<'_>>) {
        let (mut held, mut aside) = (0, Vec::new());
        let mut next = self.contract.as_ref();
        while let Some(contract) = next {
            for example in contract.base.examples().iter().filter(|it| it.disputed.is_none()) {
                match example.check_against(self) {
                    Ok(()) => held += 1,
                    Err(failure) => aside.push(SetAsideExample { example, failure }),
                }
            }
            next = contract.base.contract.as_ref();
        }
        (held, aside)
    }
}

/// Formats a share of 1 as a percentage: `12 %`.
pub(crate) fn format_percent(share: &Exact) -> String {
    format!("{} %", (share * &Exact::from(100)).to_plain_string())
}
