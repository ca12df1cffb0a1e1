//! Charges, and what they make of a usage: the arithmetic of a bill.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use thiserror::Error;

use super::money::Money;
use super::number::Exact;
use super::unit::{Phase, one_of};
use crate::meter::{Meter, Usage};

/// One position of a price model: a product of factors, at a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    pub(super) name: Arc<str>,
    pub(super) unit: Arc<str>,
    pub(super) price: Money,
    pub(super) per: Exact,
    /// The price of one `unit`: price / per.
    pub(super) rate: Exact,
    /// What one product of metered units is in `unit`, such as 1 byte-ns in GiB-s.
    pub(super) scale: Exact,
    pub(super) factors: Vec<Factor>,
}

/// One factor of a charge's quantity, in metered units (ns, bytes, cycles).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Factor {
    pub measure: Measure,
    pub minimum: u64,
    pub grid: NonZeroU64,
}

/// Where a factor's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Measure {
    /// One an invocation.
    Requests,
    /// A meter, or the first of its stand-ins that was measured.
    Meter { meter: Meter, fallbacks: Vec<Fallback> },
    /// The sum of the phases that the lane has.
    Phases(Arc<[Phase]>),
}

/// A meter that may stand in for another, and what the bill says then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fallback {
    pub meter: Meter,
    pub note: Arc<str>,
}

/// What one charge comes to for one invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineItem {
    /// The charge that was applied.
    pub charge: Arc<Charge>,
    /// How much was billed, in [`Charge::unit`], after grids and minimums.
    pub quantity: Exact,
    /// quantity x price / per, exact.
    pub amount: Money,
    /// What a reader must know, such as a meter that stood in for another.
    pub note: Option<Arc<str>>,
}

/// A price model applied to one usage, itemised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// One line for each charge, in the order of the model.
    pub lines: Vec<LineItem>,
    /// The exact sum of the lines.
    pub total: Money,
}

/// Why a usage cannot be billed: something the model needs was not measured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
#[error("{missing} (needed by the charge `{charge}`)")]
pub struct Refusal {
    /// The charge that needs it.
    pub charge: Arc<str>,
    /// What nobody measured.
    pub missing: Missing,
}

/// What nobody measured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Missing {
    /// A meter, and those that could have stood in for it.
    Meter {
        /// The meter that the charge is defined on.
        meter: Meter,
        /// Its stand-ins.
        fallbacks: Vec<Meter>,
    },
    /// Phases of which at least one is needed.
    Phases(Arc<[Phase]>),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meter { meter, fallbacks } if fallbacks.is_empty() => {
                write!(f, "`{meter}` was not measured")
            }
            Self::Meter { meter, fallbacks } => {
                write!(f, "`{meter}` (or {}) was not measured", one_of(fallbacks))
            }
            Self::Phases(phases) => write!(f, "no phase {} was measured", one_of(&**phases)),
        }
    }
}

/// The value of a factor, and the note of the stand-in it was taken from.
type Reading<'a> = (u128, Option<&'a Arc<str>>);

impl Charge {
    /// The name shown on the bill.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The unit of the billed quantity, such as `GiB-s`.
    #[must_use]
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// The price of [`Charge::per`] units.
    #[must_use]
    pub const fn price(&self) -> &Money {
        &self.price
    }

    /// How many units the price is for.
    #[must_use]
    pub const fn per(&self) -> &Exact {
        &self.per
    }

    /// Applies the charge to one invocation.
    pub(super) fn line(self: &Arc<Self>, usage: &Usage) -> Result<LineItem, Refusal> {
        let mut values = Vec::with_capacity(self.factors.len());
        let mut notes = Vec::new();
        for factor in &self.factors {
            let (value, note) = factor
                .measure
                .read(usage)
                .map_err(|missing| Refusal { charge: Arc::clone(&self.name), missing })?;
            values.push(factor.billed(value));
            notes.extend(note);
        }
        let quantity = &Exact::product(values) * &self.scale;
        let amount = Money::new(&quantity * &self.rate);
        Ok(LineItem { charge: Arc::clone(self), quantity, amount, note: joined(&notes) })
    }
}

impl Factor {
    /// At least the minimum, then up to the next step of the grid.
    fn billed(&self, value: u128) -> u128 {
        let grid = u128::from(self.grid.get());
        // At most four 64-bit phases and one step: far from 128 bits.
        value.max(u128::from(self.minimum)).div_ceil(grid) * grid
    }
}

impl Measure {
    fn read(&self, usage: &Usage) -> Result<Reading<'_>, Missing> {
        match self {
            Self::Requests => Ok((1, None)),
            Self::Meter { meter, fallbacks } => read_meter(usage, *meter, fallbacks),
            Self::Phases(phases) => read_phases(usage, phases),
        }
    }
}

fn read_meter<'a>(
    usage: &Usage,
    meter: Meter,
    fallbacks: &'a [Fallback],
) -> Result<Reading<'a>, Missing> {
    if let Some(value) = usage.get(meter) {
        return Ok((value.into(), None));
    }
    fallbacks
        .iter()
        .find_map(|fallback| Some((usage.get(fallback.meter)?.into(), Some(&fallback.note))))
        .ok_or_else(|| Missing::Meter {
            meter,
            fallbacks: fallbacks.iter().map(|fallback| fallback.meter).collect(),
        })
}

/// Adds before any rounding. A phase that is `None` does not exist in that
/// lane and adds nothing; if none exists, there is nothing to bill by.
fn read_phases(usage: &Usage, phases: &Arc<[Phase]>) -> Result<Reading<'static>, Missing> {
    let mut spans = phases.iter().filter_map(|phase| phase.of(&usage.phases)).peekable();
    if spans.peek().is_none() {
        return Err(Missing::Phases(Arc::clone(phases)));
    }
    Ok((spans.map(|span| u128::from(span.0)).sum(), None))
}

fn joined(notes: &[&Arc<str>]) -> Option<Arc<str>> {
    match notes {
        [] => None,
        [note] => Some(Arc::clone(note)),
        several => {
            let texts: Vec<&str> = several.iter().map(|note| &***note).collect();
            Some(texts.join("; ").into())
        }
    }
}

/// One line for each charge and their exact sum.
pub(super) fn bill(charges: &[Arc<Charge>], usage: &Usage) -> Result<Bill, Refusal> {
    let lines: Vec<LineItem> =
        charges.iter().map(|charge| charge.line(usage)).collect::<Result<_, _>>()?;
    let total = lines.iter().map(|line| &line.amount).sum();
    Ok(Bill { lines, total })
}
