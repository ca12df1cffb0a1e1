//! What a price model is made of: inputs, charges of factors, pools with prices.

use std::sync::Arc;

use super::money::Money;
use super::number::Exact;
use super::schema::{Basis, Kind};
use super::unit::{Dimension, Phase};
use cyclometer_core::meter::Meter;

/// A quantity that nobody measures: configuration, rented capacity, data sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    pub(super) name: Arc<str>,
    pub(super) kind: Kind,
    /// In the metered unit of its dimension; a switch is 1 when on.
    pub(super) default: Option<Exact>,
    /// Whether its default is the length of the billing period, whatever that is.
    pub(super) follows_period: bool,
    pub(super) about: Arc<str>,
}

impl Input {
    /// The name that `--set` knows.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Its value unless one is given, in the metered unit of its dimension.
    #[must_use]
    pub const fn default(&self) -> Option<&Exact> {
        self.default.as_ref()
    }

    /// What it is for people.
    #[must_use]
    pub fn about(&self) -> &str {
        &self.about
    }

    /// For people: a value in a unit that fits, or whether it is on.
    #[must_use]
    pub fn shown(&self, value: &Exact) -> String {
        match self.kind {
            Kind::Switch if value.is_zero() => "off".to_owned(),
            Kind::Switch => "on".to_owned(),
            _ => self.dimension().shown(value),
        }
    }

    /// The dimension its values are written in.
    #[must_use]
    pub const fn dimension(&self) -> Dimension {
        match self.kind {
            Kind::Time => Dimension::Time,
            Kind::Size => Dimension::Size,
            Kind::SizeTime => Dimension::SizeTime,
            Kind::Count | Kind::Number | Kind::Switch => Dimension::Number,
        }
    }
}

/// A position of the monthly bill: what one charge, or several together, cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub(super) name: Arc<str>,
    pub(super) unit: Arc<str>,
    /// Ascending; the last one has no end.
    pub(super) tiers: Vec<Tier>,
    /// What the prices are for.
    pub(super) per: Exact,
    pub(super) free: Option<Free>,
    pub(super) package: Option<Exact>,
    /// Whether several charges may feed it, by its name.
    pub(super) shared: bool,
}

/// A price and how far it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// In the unit of the pool, after the allowance; `None`: without end.
    pub up_to: Option<Exact>,
    /// The price of [`Pool::per`] units.
    pub price: Money,
}

/// A monthly allowance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Free {
    /// In the unit of the pool.
    pub quantity: Exact,
    /// The allowance is money: the quantity at this price, off the amount.
    pub credit_price: Option<Money>,
}

impl Pool {
    /// The name shown on the bill.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The unit of its quantity, such as `GB-s`.
    #[must_use]
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// Its prices; the first is the list price.
    #[must_use]
    pub fn tiers(&self) -> &[Tier] {
        &self.tiers
    }

    /// How many units a price is for.
    #[must_use]
    pub const fn per(&self) -> &Exact {
        &self.per
    }

    /// The monthly allowance.
    #[must_use]
    pub const fn free(&self) -> Option<&Free> {
        self.free.as_ref()
    }

    /// The package that quantities are rounded up to.
    #[must_use]
    pub const fn package(&self) -> Option<&Exact> {
        self.package.as_ref()
    }

    /// The list price of one unit.
    pub(super) fn list_rate(&self) -> Exact {
        let price = self.tiers.first().map(|tier| tier.price.as_exact().over(&self.per));
        price.flatten().unwrap_or_default()
    }
}

/// One thing that is measured and paid for: a product of factors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    pub(super) name: Arc<str>,
    pub(super) unit: Arc<str>,
    pub(super) basis: Basis,
    /// Position in the model's pools.
    pub(super) pool: usize,
    /// Units of the pool for one unit of the charge.
    pub(super) weight: Exact,
    /// The list price of one unit: weight x price / per of the pool.
    pub(super) rate: Exact,
    /// Only when this switch (a position in the inputs) is on, or off.
    pub(super) condition: Option<(usize, bool)>,
    pub(super) factors: Vec<Factor>,
}

impl Charge {
    /// The name shown on the bill.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The unit of the billed quantity, such as `GB-s`.
    #[must_use]
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// What it is counted by.
    #[must_use]
    pub const fn basis(&self) -> Basis {
        self.basis
    }

    /// The list price of one [`Charge::unit`].
    #[must_use]
    pub const fn rate(&self) -> &Exact {
        &self.rate
    }

    /// Position of its pool in the model's.
    #[must_use]
    pub const fn pool(&self) -> usize {
        self.pool
    }

    /// Units of its pool for one unit of the charge.
    #[must_use]
    pub const fn weight(&self) -> &Exact {
        &self.weight
    }
}

/// One factor of a charge's quantity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Factor {
    pub measure: Measure,
    pub dimension: Dimension,
    pub unit: Arc<str>,
    /// Metered units in one `unit`.
    pub size: Exact,
    pub times: Times,
    /// What the product with `times` is counted in, where that is not `unit`.
    pub product_unit: Option<Arc<str>>,
    /// Grids of the alternatives of [`Measure::MaxOf`], before their multipliers;
    /// 0: none. Empty for other measures, and where no alternative has one.
    pub inner_grids: Vec<Exact>,
    pub above: Option<Exact>,
    pub at_most: Option<Exact>,
    pub limit: Option<Exact>,
    pub minimum: Exact,
    /// 0: no grid.
    pub grid: Exact,
    /// Minimum and grid for each phase, then the sum.
    pub each: bool,
    pub fallbacks: Vec<Fallback>,
}

impl Factor {
    /// What its billed value is counted in.
    pub(super) fn billed_unit(&self) -> &Arc<str> {
        self.product_unit.as_ref().unwrap_or(&self.unit)
    }
}

/// Where a factor's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Measure {
    /// One an invocation.
    Requests,
    /// A meter.
    Meter(Meter),
    /// The sum of the phases that the lane has.
    Phases(Arc<[Phase]>),
    /// An input, by position.
    Input(usize),
    /// The length of the billing period.
    Period,
    /// The billing period as one whole.
    Month,
    /// The value of the first row that reaches up to what is measured.
    Lookup { of: Box<Measure>, rows: Arc<[Row]> },
    /// The largest of several.
    MaxOf(Vec<(Measure, Times)>),
}

/// A row of a lookup table: in the metered unit, and the value it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub up_to: Exact,
    pub value: Exact,
}

/// What a measure is multiplied by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Times {
    Once,
    By(Exact),
    Input(usize),
}

/// What may stand in for a meter, and what the bill says then.
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
    /// Calls `each` with every meter it may read.
    pub(super) fn meters(&self, each: &mut impl FnMut(Meter)) {
        match self {
            Self::Meter(meter) => each(*meter),
            Self::Lookup { of, .. } => of.meters(each),
            Self::MaxOf(several) => several.iter().for_each(|(measure, _)| measure.meters(each)),
            Self::Requests | Self::Phases(_) | Self::Input(_) | Self::Period | Self::Month => {}
        }
    }

    /// Calls `each` with every phase it may read.
    pub(super) fn phases(&self, each: &mut impl FnMut(Phase)) {
        match self {
            Self::Phases(phases) => phases.iter().for_each(|phase| each(*phase)),
            Self::Lookup { of, .. } => of.phases(each),
            Self::MaxOf(several) => several.iter().for_each(|(measure, _)| measure.phases(each)),
            Self::Requests | Self::Meter(_) | Self::Input(_) | Self::Period | Self::Month => {}
        }
    }

    /// Whether it is the same for every invocation.
    pub(super) fn is_constant(&self) -> bool {
        match self {
            Self::Requests | Self::Input(_) | Self::Period | Self::Month => true,
            Self::Meter(_) | Self::Phases(_) => false,
            Self::Lookup { of, .. } => of.is_constant(),
            Self::MaxOf(several) => several.iter().all(|(measure, _)| measure.is_constant()),
        }
    }
}
