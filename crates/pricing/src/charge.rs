//! Components of a price model: inputs, charges made of factors, and pools with prices.

use std::sync::Arc;

use super::money::Money;
use super::number::Exact;
use super::schema::{ChargeBasis, ModelInputKind};
use super::unit::{Dimension, Phase};
use cyclometer_core::meter::Meter;

/// A quantity that no meter measures: configuration, rented capacity, data sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInput {
    pub(super) name: Arc<str>,
    pub(super) kind: ModelInputKind,
    /// Default in the metered unit of the dimension; a switch is 1 when on.
    pub(super) default: Option<Exact>,
    /// Whether the default is the length of the billing period, whatever that is.
    pub(super) follows_period: bool,
    pub(super) about: Arc<str>,
}

impl ModelInput {
    /// Returns the name, as used by `--set`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the kind of quantity.
    #[must_use]
    pub const fn kind(&self) -> ModelInputKind {
        self.kind
    }

    /// Returns the value used unless one is given, in the metered unit of the dimension.
    #[must_use]
    pub const fn default_value(&self) -> Option<&Exact> {
        self.default.as_ref()
    }

    /// Returns a description for users.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.about
    }

    /// Formats a value for display: in a fitting unit, or as on or off for a switch.
    #[must_use]
    pub fn format_value(&self, value: &Exact) -> String {
        match self.kind {
            ModelInputKind::Switch if value.is_zero() => "off".to_owned(),
            ModelInputKind::Switch => "on".to_owned(),
            _ => self.dimension().format_value(value),
        }
    }

    /// Returns the dimension that its values are written in.
    #[must_use]
    pub const fn dimension(&self) -> Dimension {
        match self.kind {
            ModelInputKind::Time => Dimension::Time,
            ModelInputKind::Size => Dimension::Size,
            ModelInputKind::SizeTime => Dimension::SizeTime,
            ModelInputKind::Count | ModelInputKind::Number | ModelInputKind::Switch => {
                Dimension::Number
            }
        }
    }
}

/// A position of the monthly bill: the cost of one charge, or of several together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub(super) name: Arc<str>,
    pub(super) unit: Arc<str>,
    /// Tiers in ascending order; the last one has no end.
    pub(super) tiers: Vec<Tier>,
    /// Number of units that each price is for.
    pub(super) per: Exact,
    pub(super) free: Option<MonthlyAllowance>,
    /// Name of the position whose allowance this one uses up as far as that one leaves it.
    pub(super) rest_of: Option<Arc<str>>,
    pub(super) package: Option<Exact>,
    /// Whether several charges may feed it, by name.
    pub(super) shared: bool,
}

/// A price and the quantity up to which it applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// End in the unit of the pool, after the allowance; `None`: unbounded.
    pub up_to: Option<Exact>,
    /// Price of as many units as the pool is priced by (`per`).
    pub price: Money,
}

/// A monthly allowance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonthlyAllowance {
    /// Quantity in the unit of the pool.
    pub quantity: Exact,
    /// Set if the allowance is money: the quantity at this price is taken off the amount.
    pub credit_price: Option<Money>,
}

impl Pool {
    /// Returns the name shown on the bill.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the unit of the quantity, such as `GB-s`.
    #[must_use]
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// Returns the prices by tier; the first is the list price.
    #[must_use]
    pub fn tiers(&self) -> &[Tier] {
        &self.tiers
    }

    /// Returns the number of units that a price is for.
    #[must_use]
    pub const fn units_per_price(&self) -> &Exact {
        &self.per
    }

    /// Returns the monthly allowance.
    #[must_use]
    pub const fn allowance(&self) -> Option<&MonthlyAllowance> {
        self.free.as_ref()
    }

    /// Returns the name of the position whose allowance is shared: this one gets what it leaves.
    #[must_use]
    pub fn shares_allowance_of(&self) -> Option<&str> {
        self.rest_of.as_deref()
    }

    /// Returns the package size that quantities are rounded up to.
    #[must_use]
    pub const fn package_size(&self) -> Option<&Exact> {
        self.package.as_ref()
    }

    /// Returns the list price of one unit.
    pub(super) fn list_rate(&self) -> Exact {
        let price = self.tiers.first().map(|tier| tier.price.as_exact().checked_div(&self.per));
        price.flatten().unwrap_or_default()
    }
}

/// One thing that is measured and paid for: a product of factors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    pub(super) name: Arc<str>,
    pub(super) unit: Arc<str>,
    pub(super) basis: ChargeBasis,
    /// Index of the pool in the model.
    pub(super) pool: usize,
    /// Units of the pool per unit of the charge.
    pub(super) weight: Exact,
    /// List price of one unit: weight x price / per of the pool.
    pub(super) rate: Exact,
    /// Applies only when this switch (an index into the inputs) is on, or off.
    pub(super) condition: Option<(usize, bool)>,
    pub(super) factors: Vec<Factor>,
}

impl Charge {
    /// Returns the name shown on the bill.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the unit of the billed quantity, such as `GB-s`.
    #[must_use]
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// Returns what the charge is counted by.
    #[must_use]
    pub const fn basis(&self) -> ChargeBasis {
        self.basis
    }

    /// Returns the list price of one [`Charge::unit`].
    #[must_use]
    pub const fn list_rate(&self) -> &Exact {
        &self.rate
    }

    /// Returns the index of its pool in the model.
    #[must_use]
    pub const fn pool_index(&self) -> usize {
        self.pool
    }

    /// Returns the units of its pool per unit of the charge.
    #[must_use]
    pub const fn pool_weight(&self) -> &Exact {
        &self.weight
    }
}

/// One factor of a charge's quantity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Factor {
    pub measure: Measure,
    pub dimension: Dimension,
    pub unit: Arc<str>,
    /// Number of metered units in one `unit`.
    pub size: Exact,
    pub times: Multiplier,
    /// Unit of the product with `times`, where that is not `unit`.
    pub product_unit: Option<Arc<str>>,
    /// Grids of the alternatives of [`Measure::MaxOf`], before their multipliers; 0: none. Empty
    /// for other measures, and where no alternative has one.
    pub inner_grids: Vec<Exact>,
    pub above: Option<Exact>,
    pub at_most: Option<Exact>,
    pub limit: Option<Exact>,
    pub minimum: Exact,
    /// Step that values are rounded up to; 0: no grid.
    pub grid: Exact,
    /// Whether minimum and grid apply to each phase before the sum.
    pub each: bool,
    pub fallbacks: Vec<Fallback>,
}

impl Factor {
    /// Returns the unit that its billed value is counted in.
    pub(super) fn billed_unit(&self) -> &Arc<str> {
        self.product_unit.as_ref().unwrap_or(&self.unit)
    }
}

/// Origin of a factor's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Measure {
    /// One per invocation.
    Requests,
    /// The value of a meter.
    Meter(Meter),
    /// The sum of the given phases, as far as the lane has them.
    Phases(Arc<[Phase]>),
    /// An input, by index.
    Input(usize),
    /// The length of the billing period.
    Period,
    /// The billing period as one whole.
    Month,
    /// The value of the first row whose end reaches the measured value.
    Lookup { of: Box<Measure>, rows: Arc<[LookupRow]> },
    /// The largest of several measures.
    MaxOf(Vec<(Measure, Multiplier)>),
}

/// Row of a lookup table: its end in the metered unit, and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LookupRow {
    pub up_to: Exact,
    pub value: Exact,
}

/// Multiplier of a measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Multiplier {
    Once,
    By(Exact),
    Input(usize),
}

/// Substitute for a missing meter, and the note that the bill then carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fallback {
    pub stand_in: StandIn,
    pub note: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StandIn {
    Meter(Meter),
    Value(Exact),
}

impl Measure {
    /// Calls `each` with every meter that the measure may read.
    pub(super) fn for_each_meter(&self, each: &mut impl FnMut(Meter)) {
        match self {
            Self::Meter(meter) => each(*meter),
            Self::Lookup { of, .. } => of.for_each_meter(each),
            Self::MaxOf(several) => {
                for (measure, _) in several {
                    measure.for_each_meter(each);
                }
            }
            Self::Requests | Self::Phases(_) | Self::Input(_) | Self::Period | Self::Month => {}
        }
    }

    /// Calls `each` with every phase that the measure may read.
    pub(super) fn for_each_phase(&self, each: &mut impl FnMut(Phase)) {
        match self {
            Self::Phases(phases) => phases.iter().for_each(|phase| each(*phase)),
            Self::Lookup { of, .. } => of.for_each_phase(each),
            Self::MaxOf(several) => {
                for (measure, _) in several {
                    measure.for_each_phase(each);
                }
            }
            Self::Requests | Self::Meter(_) | Self::Input(_) | Self::Period | Self::Month => {}
        }
    }

    /// Returns whether the value is the same for every invocation.
    pub(super) fn is_constant(&self) -> bool {
        match self {
            Self::Requests | Self::Input(_) | Self::Period | Self::Month => true,
            Self::Meter(_) | Self::Phases(_) => false,
            Self::Lookup { of, .. } => of.is_constant(),
            Self::MaxOf(several) => several.iter().all(|(measure, _)| measure.is_constant()),
        }
    }
}
