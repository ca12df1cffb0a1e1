//! Worked examples: what a provider says its own tariff comes to.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::evaluate::Refusal;
use super::model::PriceModel;
use super::money::{Money, Rounding};
use super::number::{Direction, Exact};
use super::settle::{Settlement, Subtotal, UsageGroup};
use super::terms::Terms;

/// A usage and what it must cost, from a price model's own file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    pub(super) name: Arc<str>,
    pub(super) source: Arc<str>,
    pub(super) terms: Terms,
    pub(super) rounding: Rounding,
    pub(super) expected: Vec<(Expected, Printed)>,
    pub(super) usage: Vec<UsageGroup>,
    pub(super) disputed: Option<Arc<str>>,
}

/// What a figure of an example is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// The total.
    Amount,
    /// The amount of a position.
    Line(Arc<str>),
    /// The quantity of a charge, before the allowance.
    Quantity(Arc<str>),
    /// The quantity of a position after allowance and packages.
    Billable(Arc<str>),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Amount => f.write_str("the total"),
            Self::Line(name) => write!(f, "the amount of `{name}`"),
            Self::Quantity(name) => write!(f, "the quantity of `{name}`"),
            Self::Billable(name) => write!(f, "the billable quantity of `{name}`"),
        }
    }
}

/// A figure as a source prints it: it says no more than its digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed {
    /// The figure.
    pub value: Exact,
    /// Digits after its point.
    pub decimals: u32,
}

/// A figure that differs at the precision it is printed with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{of} to be {expected}, and the model gives {found} (exactly {exact})")]
pub struct Difference {
    /// Which figure.
    pub of: Expected,
    /// As the source prints it.
    pub expected: String,
    /// What the model says, at the same precision.
    pub found: String,
    /// All its digits.
    pub exact: Exact,
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
    /// A figure differs at the precision it is printed with.
    #[error("the example `{example}` expects {figures}")]
    Differs {
        /// The example's name.
        example: Arc<str>,
        /// Both figures.
        figures: Box<Difference>,
    },
    /// The example is said not to come out, and does.
    #[error("the example `{example}` is marked as disputed, and comes out")]
    Undisputed {
        /// The example's name.
        example: Arc<str>,
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

    /// Why the source's figure is held to be wrong; it must not come out then.
    #[must_use]
    pub fn disputed(&self) -> Option<&str> {
        self.disputed.as_deref()
    }

    /// The groups of invocations that it bills.
    #[must_use]
    pub fn usage(&self) -> &[UsageGroup] {
        &self.usage
    }

    /// The terms it is billed under.
    #[must_use]
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// How its source rounds.
    #[must_use]
    pub const fn rounding(&self) -> Rounding {
        self.rounding
    }

    /// Whether its source rounds in another way than `model` says.
    #[must_use]
    pub fn has_own_rounding(&self, model: &PriceModel) -> bool {
        self.rounding != model.rounding()
    }

    /// Bills the example's usage with `model` and compares each figure at the
    /// precision it is printed with.
    ///
    /// # Errors
    ///
    /// Says which figure differs, or why there is none.
    pub fn check(&self, model: &PriceModel) -> Result<(), ExampleFailure> {
        match (self.compare(model), &self.disputed) {
            (Err(ExampleFailure::Differs { .. }), Some(_)) => Ok(()),
            (Ok(()), Some(_)) => {
                Err(ExampleFailure::Undisputed { example: Arc::clone(&self.name) })
            }
            (result, _) => result,
        }
    }

    fn compare(&self, model: &PriceModel) -> Result<(), ExampleFailure> {
        let refused =
            |refusal| ExampleFailure::Refused { example: Arc::clone(&self.name), refusal };
        let subtotals = model.subtotals(&self.usage, &self.terms).map_err(refused)?;
        let settlement = model.settle(&subtotals, &self.terms, self.rounding);
        for (of, printed) in &self.expected {
            let exact = self.figure(of, printed, &subtotals, &settlement);
            let found = exact.round(printed.decimals, Direction::HalfUp);
            if found != printed.value {
                let figures = Box::new(Difference {
                    of: of.clone(),
                    expected: printed.value.rounded(printed.decimals),
                    found: found.rounded(printed.decimals),
                    exact,
                });
                let example = Arc::clone(&self.name);
                return Err(ExampleFailure::Differs { example, figures });
            }
        }
        Ok(())
    }

    /// What the model says. A figure with more decimals than are rounded to is
    /// an exact one.
    fn figure(
        &self,
        of: &Expected,
        printed: &Printed,
        subtotals: &[Subtotal],
        settlement: &Settlement,
    ) -> Exact {
        let finer = printed.decimals > self.rounding.digits;
        let money = |exact: &Money, rounded: &Money| {
            if finer { exact.as_exact().clone() } else { rounded.as_exact().clone() }
        };
        let position = |name: &Arc<str>| settlement.positions.iter().find(|it| it.name == *name);
        let found = match of {
            Expected::Amount => Some(money(&settlement.exact, &settlement.total)),
            Expected::Line(name) => position(name).map(|it| money(&it.amount, &it.rounded)),
            Expected::Billable(name) => position(name).map(|it| it.billable.clone()),
            Expected::Quantity(name) => {
                let subtotal = subtotals.iter().find(|it| it.charge.name == *name);
                subtotal.map(|it| it.quantity.clone())
            }
        };
        // Names were checked when the file was read.
        found.unwrap_or_default()
    }
}
