//! Worked examples: what a provider says its own tariff comes to.

use std::sync::Arc;

use thiserror::Error;

use super::bill::Refusal;
use super::model::PriceModel;
use super::money::Money;
use super::number::Exact;
use crate::meter::Usage;

/// A usage and what it must cost, from a price model's own file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    pub(super) name: Arc<str>,
    pub(super) source: Arc<str>,
    /// The settled total that is expected.
    pub(super) amount: Option<Money>,
    /// The billed quantities that are expected, by charge.
    pub(super) quantities: Vec<(Arc<str>, Exact)>,
    pub(super) usage: Vec<UsageGroup>,
}

/// Invocations that are all alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UsageGroup {
    pub requests: u64,
    pub usage: Usage,
}

/// How a price model contradicts its own example.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExampleFailure {
    /// The example's usage could not be billed.
    #[error("the example `{example}` cannot be billed: {refusal}")]
    Refused {
        /// The example's name.
        example: Arc<str>,
        /// Why not.
        refusal: Refusal,
    },
    /// The settled total differs.
    #[error("the example `{example}` expects {expected} in total, and the model bills {billed}")]
    Amount {
        /// The example's name.
        example: Arc<str>,
        /// What the example says.
        expected: Money,
        /// What the model says.
        billed: Money,
    },
    /// A billed quantity differs.
    #[error("the example `{example}` expects {expected} {charge}, and the model bills {billed}")]
    Quantity {
        /// The example's name.
        example: Arc<str>,
        /// The charge's name.
        charge: Arc<str>,
        /// What the example says.
        expected: Exact,
        /// What the model says.
        billed: Exact,
    },
}

impl Example {
    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it was read.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Bills the example's usage with `model` and compares, to the last digit.
    ///
    /// # Errors
    ///
    /// Says which figure differs, or why there is none.
    pub fn check(&self, model: &PriceModel) -> Result<(), ExampleFailure> {
        let lines = self.billed(model)?;
        for (charge, expected) in &self.quantities {
            let billed = lines.iter().find(|line| line.charge == *charge);
            let billed = billed.map(|line| line.quantity.clone()).unwrap_or_default();
            if billed != *expected {
                return Err(ExampleFailure::Quantity {
                    example: Arc::clone(&self.name),
                    charge: Arc::clone(charge),
                    expected: expected.clone(),
                    billed,
                });
            }
        }
        let billed = model.rounding().settle(lines.iter().map(|line| &line.amount));
        match &self.amount {
            Some(expected) if *expected != billed => Err(ExampleFailure::Amount {
                example: Arc::clone(&self.name),
                expected: expected.clone(),
                billed,
            }),
            _ => Ok(()),
        }
    }

    /// The exact totals of each charge over all groups.
    fn billed(&self, model: &PriceModel) -> Result<Vec<ChargeSum>, ExampleFailure> {
        let mut sums: Vec<ChargeSum> = model.charges().map(ChargeSum::new).collect();
        for group in &self.usage {
            let bill = model.bill(&group.usage).map_err(|refusal| ExampleFailure::Refused {
                example: Arc::clone(&self.name),
                refusal,
            })?;
            let requests = Exact::from(group.requests);
            for (sum, line) in sums.iter_mut().zip(&bill.lines) {
                sum.quantity += &(&line.quantity * &requests);
                sum.amount += &line.amount.times(group.requests);
            }
        }
        Ok(sums)
    }
}

/// What one charge adds up to.
struct ChargeSum {
    charge: Arc<str>,
    quantity: Exact,
    amount: Money,
}

impl ChargeSum {
    fn new(charge: &super::Charge) -> Self {
        Self { charge: charge.name().into(), quantity: Exact::default(), amount: Money::default() }
    }
}
