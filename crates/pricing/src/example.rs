//! Worked examples: what a provider's own tariff comes to, according to the provider.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::evaluate::Refusal;
use super::model::PriceModel;
use super::money::{Money, Rounding};
use super::number::{Exact, RoundingDirection};
use super::settle::{Settlement, Subtotal, UsageGroup};
use super::terms::Terms;

/// A usage and its expected cost, from a price model's own file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    pub(super) name: Arc<str>,
    pub(super) source: Arc<str>,
    pub(super) terms: Terms,
    pub(super) rounding: Rounding,
    pub(super) expected: Vec<(ExampleFigure, PrintedFigure)>,
    pub(super) usage: Vec<UsageGroup>,
    pub(super) disputed: Option<Arc<str>>,
}

/// Quantity that a figure of an example states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExampleFigure {
    /// Total amount.
    Amount,
    /// Amount of a position, or of a line that a contract adds or takes off, without its sign.
    Line(Arc<str>),
    /// Quantity of a charge, before the allowance.
    Quantity(Arc<str>),
    /// Quantity of a position, after allowance and packages.
    Billable(Arc<str>),
}

impl fmt::Display for ExampleFigure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Amount => f.write_str("the total"),
            Self::Line(name) => write!(f, "the amount of `{name}`"),
            Self::Quantity(name) => write!(f, "the quantity of `{name}`"),
            Self::Billable(name) => write!(f, "the billable quantity of `{name}`"),
        }
    }
}

/// A figure as printed in a source, whose precision is that of its digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrintedFigure {
    /// Value of the figure.
    pub value: Exact,
    /// Number of digits after the decimal point.
    pub decimals: u32,
}

/// Mismatch of a figure at its printed precision.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{of} to be {expected}, and the model gives {found} (exactly {exact})")]
pub struct FigureDifference {
    /// Figure that differs.
    pub of: ExampleFigure,
    /// Expected figure, as printed in the source.
    pub expected: String,
    /// Figure computed by the model, at the same precision.
    pub found: String,
    /// Exact value computed by the model.
    pub exact: Exact,
}

/// Failure of a price model's own example.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExampleFailure {
    /// The example's usage could not be billed.
    #[error("the example `{example}` cannot be billed: {refusal}")]
    Refused {
        /// Name of the example.
        example: Arc<str>,
        /// Reason for the refusal.
        refusal: Refusal,
    },
    /// A figure differs at its printed precision.
    #[error("the example `{example}` expects {figures}")]
    Differs {
        /// Name of the example.
        example: Arc<str>,
        /// Expected and computed figures.
        figures: Box<FigureDifference>,
    },
    /// The example is marked as disputed, but its figures match.
    #[error("the example `{example}` is marked as disputed, and comes out")]
    Undisputed {
        /// Name of the example.
        example: Arc<str>,
    },
}

impl Example {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the source that the example was taken from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns the reason why the source's figure is considered wrong; it must not match then.
    #[must_use]
    pub fn dispute_reason(&self) -> Option<&str> {
        self.disputed.as_deref()
    }

    /// Returns the groups of invocations that the example bills.
    #[must_use]
    pub fn usage_groups(&self) -> &[UsageGroup] {
        &self.usage
    }

    /// Returns the terms that the example is billed under.
    #[must_use]
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Returns the rounding used by the source.
    #[must_use]
    pub const fn rounding(&self) -> Rounding {
        self.rounding
    }

    /// Returns whether the source rounds in another way than `model` does.
    #[must_use]
    pub fn has_own_rounding(&self, model: &PriceModel) -> bool {
        self.rounding != model.rounding()
    }

    /// Bills the example's usage with `model` and compares each figure at the
    /// precision it is printed with.
    ///
    /// # Errors
    ///
    /// Returns the figure that differs, or the reason why the usage could not be billed.
    pub fn check_against(&self, model: &PriceModel) -> Result<(), ExampleFailure> {
        match (self.compare_figures(model), &self.disputed) {
            (Err(ExampleFailure::Differs { .. }), Some(_)) => Ok(()),
            (Ok(()), Some(_)) => {
                Err(ExampleFailure::Undisputed { example: Arc::clone(&self.name) })
            }
            (result, _) => result,
        }
    }

    fn compare_figures(&self, model: &PriceModel) -> Result<(), ExampleFailure> {
        let refused =
            |refusal| ExampleFailure::Refused { example: Arc::clone(&self.name), refusal };
        let subtotals = model.charge_subtotals(&self.usage, &self.terms).map_err(refused)?;
        let settlement = model.settle(&subtotals, &self.terms, self.rounding);
        for (of, printed) in &self.expected {
            let exact = self.compute_figure(of, printed, &subtotals, &settlement);
            let found = exact.round_to(printed.decimals, RoundingDirection::HalfUp);
            if found != printed.value {
                let figures = Box::new(FigureDifference {
                    of: of.clone(),
                    expected: printed.value.to_rounded_string(printed.decimals),
                    found: found.to_rounded_string(printed.decimals),
                    exact,
                });
                let example = Arc::clone(&self.name);
                return Err(ExampleFailure::Differs { example, figures });
            }
        }
        Ok(())
    }

    /// Computes the figure with the model. A figure with more decimals than the rounding leaves
    /// is an exact one.
    fn compute_figure(
        &self,
        of: &ExampleFigure,
        printed: &PrintedFigure,
        subtotals: &[Subtotal],
        settlement: &Settlement,
    ) -> Exact {
        let finer = printed.decimals > self.rounding.digits;
        let money = |exact: &Money, rounded: &Money| {
            if finer { exact.as_exact().clone() } else { rounded.as_exact().clone() }
        };
        let position = |name: &Arc<str>| settlement.positions.iter().find(|it| it.name == *name);
        let found = match of {
            ExampleFigure::Amount => Some(money(&settlement.exact, &settlement.total)),
            ExampleFigure::Line(name) => {
                let line = settlement.adjustments.iter().find(|it| it.name == *name);
                let line = line.map(|it| money(&it.amount, &it.rounded).without_sign());
                line.or_else(|| position(name).map(|it| money(&it.amount, &it.rounded)))
            }
            ExampleFigure::Billable(name) => position(name).map(|it| it.billable.clone()),
            ExampleFigure::Quantity(name) => {
                let subtotal = subtotals.iter().find(|it| it.charge.name == *name);
                subtotal.map(|it| it.quantity.clone())
            }
        };
        // Names were checked when the file was read.
        found.unwrap_or_default()
    }
}
