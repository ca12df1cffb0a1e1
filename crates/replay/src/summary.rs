//! Result of a replay: sums by lane, workload, preset and kind of start.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use super::Contract;
use cyclometer_core::cell_key::CellKey;
use cyclometer_core::units::Bytes;
use cyclometer_pricing::compile::ModelSums;
use cyclometer_pricing::{
    Exact, Granularity, Money, PriceModel, Refusal, Settlement, Subtotal, Terms, Waste,
};

/// Facts about a model that are needed to read its totals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// Id of the model.
    pub id: String,
    /// Currency of its totals.
    pub currency: String,
    /// Granularity of the model: coarse or fine.
    pub granularity: Granularity,
    /// Names and units of its charges, in the order of [`ModelTotal::charges`].
    pub charges: Vec<(Arc<str>, Arc<str>)>,
}

/// Sums of one group of invocations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupTotal {
    /// Number of invocations, billed or refused.
    pub invocations: u64,
    /// Number of invocations that failed or ran out of time.
    pub failed: u64,
    /// Totals of each model, in the order of [`ReplaySummary::models`].
    pub models: Vec<ModelTotal>,
    /// Largest peak of memory.
    pub peak: Option<Bytes>,
    /// Number of invocations that touched more memory than they are billed for.
    pub over_allocation: u64,
}

/// Totals of one model over a group, at list prices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelTotal {
    /// Number of invocations that the model billed.
    pub billed: u64,
    /// Exact sum of their bills.
    pub total: Money,
    /// Split of that sum into used and wasted parts.
    pub waste: Waste<Money>,
    /// Sums of each charge.
    pub charges: Vec<ChargeTotal>,
    /// Number of invocations that the model refused, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// Number of line items that carried a note, by note.
    pub notes: BTreeMap<Arc<str>, u64>,
}

/// Sums of one charge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChargeTotal {
    /// Billed quantity, in the unit of the charge.
    pub quantity: Exact,
    /// Exact amount.
    pub amount: Money,
    /// Split of that amount into used and wasted parts.
    pub waste: Waste<Money>,
}

/// Reason why two totals cannot be compared as a ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RatioError {
    /// One of them leaves out invocations that the other has.
    #[error("one of the models refused some of the invocations")]
    Refused,
    /// The two totals are in different currencies.
    #[error("the models have different currencies")]
    DifferentCurrencies,
    /// The divisor is 0.
    #[error("the finer total is 0")]
    ZeroDivisor,
    /// There is no such model in this summary.
    #[error("there is no such model in this replay")]
    NoSuchModel,
}

/// Reason why there is no bill of a month.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MonthlyBillError {
    /// The model cannot bill a month of such invocations.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No invocation was billed.
    #[error("no invocation was billed")]
    NothingBilled,
    /// There is no such model in this summary.
    #[error("there is no such model in this replay")]
    NoSuchModel,
}

/// Sums of a whole replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplaySummary {
    contracts: Arc<Vec<Contract>>,
    models: Vec<ModelInfo>,
    groups: BTreeMap<CellKey, GroupTotal>,
}

impl ModelInfo {
    fn from_contract((model, terms): &Contract) -> Self {
        Self {
            id: model.id().to_owned(),
            currency: model.currency().to_owned(),
            granularity: model.granularity(),
            charges: model
                .invocation_charges(terms)
                .map(|charge| (charge.name().into(), charge.unit().into()))
                .collect(),
        }
    }
}

impl GroupTotal {
    fn for_models(models: &[ModelInfo]) -> Self {
        let total = |model: &ModelInfo| ModelTotal {
            charges: vec![ChargeTotal::default(); model.charges.len()],
            ..ModelTotal::default()
        };
        Self { models: models.iter().map(total).collect(), ..Self::default() }
    }

    /// Returns whether there are invocations and all of them failed: the cost
    /// of such a cell is not a price of the function.
    #[must_use]
    pub const fn only_failed(&self) -> bool {
        self.invocations > 0 && self.failed == self.invocations
    }

    /// Describes how many invocations failed, where any did: `all 3 invocations
    /// failed`, `1 of 3 invocations failed`.
    #[must_use]
    pub fn describe_failures(&self) -> Option<String> {
        let Self { failed, invocations, .. } = self;
        match (failed, invocations) {
            (0, _) => None,
            (1, 1) => Some("the only invocation failed".to_owned()),
            _ if self.only_failed() => Some(format!("all {failed} invocations failed")),
            _ => Some(format!("{failed} of {invocations} invocations failed")),
        }
    }

    /// Adds the sums of `other`, a group of the same models.
    fn merge(&mut self, other: &Self) {
        let Self { invocations, failed, models, peak, over_allocation: beyond } = other;
        self.invocations += invocations;
        self.failed += failed;
        self.peak = self.peak.max(*peak);
        self.over_allocation += beyond;
        for (mine, theirs) in self.models.iter_mut().zip(models) {
            mine.merge(theirs);
        }
    }
}

impl ModelTotal {
    /// Computes the totals from quantities at the list prices of their charges.
    fn from_sums(sums: &ModelSums, (model, terms): &Contract) -> Self {
        let charge = |(sum, charge): (&cyclometer_pricing::compile::ChargeSum, &Arc<_>)| {
            let charge: &cyclometer_pricing::Charge = charge;
            ChargeTotal {
                amount: Money::from(&sum.quantity * charge.list_rate()),
                waste: sum.waste.priced_at(charge.list_rate()),
                quantity: sum.quantity.clone(),
            }
        };
        let charges: Vec<ChargeTotal> =
            sums.charges.iter().zip(model.invocation_charges(terms)).map(charge).collect();
        let mut waste = Waste::default();
        for charge in &charges {
            waste += &charge.waste;
        }
        Self {
            billed: sums.billed,
            total: charges.iter().map(|charge| &charge.amount).sum(),
            waste,
            charges,
            refused: sums.refused.clone(),
            notes: sums.notes.clone(),
        }
    }

    /// Returns the mean bill of the group's invocations times a million, to 12
    /// digits after the point, since a mean need not be a finite decimal;
    /// `None` where one was refused, or none was billed.
    #[must_use]
    pub fn mean_per_million(&self) -> Option<Exact> {
        if self.billed == 0 || self.refusal_count() > 0 {
            return None;
        }
        self.total.multiplied_by(1_000_000).as_exact().ratio_to(&Exact::from(self.billed), 12)
    }

    /// Returns the exact cost of `count` invocations like these at list prices;
    /// `None` if none was billed.
    #[must_use]
    pub fn project_cost(&self, count: u64) -> Option<Money> {
        let total = self.total.multiplied_by(count);
        total.as_exact().checked_div(&Exact::from(self.billed)).map(Money::from)
    }

    /// Returns the number of invocations that were refused, for whatever
    /// reason.
    #[must_use]
    pub fn refusal_count(&self) -> u64 {
        self.refused.values().sum()
    }

    fn merge(&mut self, other: &Self) {
        let Self { billed, total, waste, charges, refused, notes } = other;
        self.billed += billed;
        self.total += total;
        self.waste += waste;
        for (mine, ChargeTotal { quantity, amount, waste }) in self.charges.iter_mut().zip(charges)
        {
            mine.quantity += quantity;
            mine.amount += amount;
            mine.waste += waste;
        }
        for (refusal, count) in refused {
            *self.refused.entry(refusal.clone()).or_default() += count;
        }
        for (note, count) in notes {
            *self.notes.entry(Arc::clone(note)).or_default() += count;
        }
    }
}

impl ReplaySummary {
    /// Creates a summary without any rows.
    #[must_use]
    pub fn for_contracts(contracts: &Arc<Vec<Contract>>) -> Self {
        let models = contracts.iter().map(ModelInfo::from_contract).collect();
        Self { contracts: Arc::clone(contracts), models, groups: BTreeMap::new() }
    }

    /// Adds the sums of the rows of a group.
    pub(super) fn add_group(&mut self, key: CellKey, counts: &GroupTotal, sums: &[ModelSums]) {
        let pairs = sums.iter().zip(self.contracts.iter());
        let models = pairs.map(|(sums, contract)| ModelTotal::from_sums(sums, contract)).collect();
        let group = GroupTotal { models, ..counts.clone() };
        let infos = &self.models;
        self.groups.entry(key).or_insert_with(|| GroupTotal::for_models(infos)).merge(&group);
    }

    /// Adds the groups of another part of the same replay.
    pub fn merge(&mut self, other: &Self) {
        for (key, group) in &other.groups {
            let infos = &self.models;
            self.groups
                .entry(key.clone())
                .or_insert_with(|| GroupTotal::for_models(infos))
                .merge(group);
        }
    }

    /// Clears the amounts of groups in which every invocation failed: the time
    /// until a failure is not a price of the function. Sums over groups then
    /// leave them out.
    pub(crate) fn unprice_failed_groups(&mut self) {
        for group in self.groups.values_mut().filter(|group| group.only_failed()) {
            group.models = GroupTotal::for_models(&self.models).models;
        }
    }

    /// Returns the model at a position, and the terms it was applied under.
    #[must_use]
    pub fn contract(&self, model: usize) -> Option<(&PriceModel, &Terms)> {
        self.contracts.get(model).map(|(model, terms)| (model, terms))
    }

    /// Computes the bill of a month of `requests` invocations like those of
    /// `group`.
    ///
    /// # Errors
    ///
    /// When the model billed none of them, or not all, or needs to know more.
    pub fn monthly_bill(
        &self,
        group: &GroupTotal,
        model: usize,
        requests: &Exact,
    ) -> Result<Settlement, MonthlyBillError> {
        let (contract, terms) = self.contract(model).ok_or(MonthlyBillError::NoSuchModel)?;
        let total = group.models.get(model).ok_or(MonthlyBillError::NoSuchModel)?;
        if let Some(refusal) = total.refused.keys().next() {
            return Err(refusal.clone().into());
        }
        let billed = Exact::from(total.billed);
        let scale = requests.checked_div(&billed).ok_or(MonthlyBillError::NothingBilled)?;
        let subtotals = self.group_subtotals(group, model, terms, &scale)?;
        Ok(contract.settle(&subtotals, terms, contract.rounding()))
    }

    /// Computes the bill of a period of `length` nanoseconds in which the invocations of a group
    /// were all there were.
    ///
    /// # Errors
    ///
    /// When the model did not bill all of them, or needs to know more.
    pub fn period_bill(
        &self,
        group: &GroupTotal,
        model: usize,
        length: Exact,
    ) -> Result<Settlement, MonthlyBillError> {
        let (contract, terms) = self.contract(model).ok_or(MonthlyBillError::NoSuchModel)?;
        let mut terms = terms.clone();
        terms.set_period(length);
        let subtotals = self.group_subtotals(group, model, &terms, &Exact::from(1))?;
        Ok(contract.settle(&subtotals, &terms, contract.rounding()))
    }

    /// Computes a bill like [`Self::period_bill`], with the commitment of a contract used up hour
    /// by hour. `hours` are all hours of the period in order, with the sums of those in which
    /// there was an invocation. What is charged by the period, such as provisioned capacity, is
    /// there in every hour; what an instance served beyond the end of an hour counts once.
    ///
    /// # Errors
    ///
    /// Like [`Self::period_bill`].
    pub fn period_bill_by_hour(
        &self,
        group: &GroupTotal,
        hours: &[Option<&GroupTotal>],
        model: usize,
        length: Exact,
    ) -> Result<Settlement, MonthlyBillError> {
        let (contract, terms) = self.contract(model).ok_or(MonthlyBillError::NoSuchModel)?;
        let mut terms = terms.clone();
        terms.set_period(length);
        let one = Exact::from(1);
        let whole = self.group_subtotals(group, model, &terms, &one)?;
        let mut parts: Vec<Vec<Subtotal>> = Vec::with_capacity(hours.len());
        for hour in hours {
            let subtotals = hour.map(|hour| self.group_subtotals(hour, model, &terms, &one));
            parts.push(subtotals.transpose()?.unwrap_or_default());
        }
        spread_over_hours(&whole, &mut parts);
        Ok(contract.settle_by_hour(&parts, &terms, contract.rounding()))
    }

    /// Returns the quantities of all charges for `scale` times the invocations of a group.
    fn group_subtotals(
        &self,
        group: &GroupTotal,
        model: usize,
        terms: &Terms,
        scale: &Exact,
    ) -> Result<Vec<Subtotal>, MonthlyBillError> {
        let pair = self.contract(model).zip(group.models.get(model));
        let ((contract, _), total) = pair.ok_or(MonthlyBillError::NoSuchModel)?;
        if let Some(refusal) = total.refused.keys().next() {
            return Err(refusal.clone().into());
        }
        let mut subtotals = Vec::new();
        let mut counted = contract.invocation_charges(terms).zip(&total.charges).peekable();
        for charge in contract.shared_charges() {
            let quantity = if counted.peek().is_some_and(|(next, _)| Arc::ptr_eq(next, charge)) {
                counted.next().map(|(_, total)| &total.quantity * scale)
            } else if charge.basis() == cyclometer_pricing::ChargeBasis::Period {
                Some(contract.period_quantity(charge, terms)?)
            } else {
                // A charge that is switched off amounts to nothing, and is not
                // missing.
                None
            };
            let charge = Arc::clone(charge);
            subtotals.push(Subtotal { charge, quantity: quantity.unwrap_or_default() });
        }
        Ok(subtotals)
    }

    /// Returns the models, in the order they were given.
    #[must_use]
    pub fn models(&self) -> &[ModelInfo] {
        &self.models
    }

    /// Returns all groups, in the order of their keys.
    #[must_use]
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&CellKey, &GroupTotal)> {
        self.groups.iter()
    }

    /// Sums the groups by a coarser key, such as lane and workload.
    pub fn group_by<K: Ord>(&self, key: impl Fn(&CellKey) -> K) -> BTreeMap<K, GroupTotal> {
        let mut sums = BTreeMap::new();
        for (group_key, group) in &self.groups {
            sums.entry(key(group_key))
                .or_insert_with(|| GroupTotal::for_models(&self.models))
                .merge(group);
        }
        sums
    }

    /// Returns the sum of all groups.
    #[must_use]
    pub fn overall_group(&self) -> GroupTotal {
        let mut sum = GroupTotal::for_models(&self.models);
        self.groups.values().for_each(|group| sum.merge(group));
        sum
    }

    /// Returns every coarse model paired with every fine one of the same
    /// currency, as positions in [`ReplaySummary::models`].
    pub fn coarse_fine_pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let of = |granularity| {
            let models = self.models.iter().enumerate();
            models.filter(move |(_, model)| model.granularity == granularity)
        };
        of(Granularity::Coarse).flat_map(move |(coarse, one)| {
            of(Granularity::Fine)
                .filter(move |(_, other)| one.currency == other.currency)
                .map(move |(fine, _)| (coarse, fine))
        })
    }

    /// Divides the coarse total of `group` by its fine total, rounded half up
    /// to `digits` decimals; `coarse` and `fine` are positions in
    /// [`ReplaySummary::models`].
    ///
    /// # Errors
    ///
    /// When the two do not bill the same invocations in the same currency, or
    /// the fine total is 0.
    pub fn coarse_to_fine_ratio(
        &self,
        group: &GroupTotal,
        coarse: usize,
        fine: usize,
        digits: u32,
    ) -> Result<Exact, RatioError> {
        let model = |at| Some((self.models.get(at)?, group.models.get(at)?));
        let (above, numerator) = model(coarse).ok_or(RatioError::NoSuchModel)?;
        let (below, denominator) = model(fine).ok_or(RatioError::NoSuchModel)?;
        if above.currency != below.currency {
            return Err(RatioError::DifferentCurrencies);
        }
        if numerator.refusal_count() > 0 || denominator.refusal_count() > 0 {
            return Err(RatioError::Refused);
        }
        numerator.total.ratio_to(&denominator.total, digits).ok_or(RatioError::ZeroDivisor)
    }

    /// Describes which of a coarse and a fine bill is the larger, and how many
    /// times as large: `fine 6.25x`. A bare ratio is easily read the wrong way
    /// round.
    ///
    /// # Errors
    ///
    /// Like [`Self::coarse_to_fine_ratio`].
    pub fn describe_dearer(
        &self,
        group: &GroupTotal,
        coarse: usize,
        fine: usize,
    ) -> Result<String, RatioError> {
        let ratio = self.coarse_to_fine_ratio(group, coarse, fine, 12)?;
        let one = Exact::from(1);
        let (name, times) = match ratio.cmp(&one) {
            Ordering::Equal => return Ok("neither".to_owned()),
            Ordering::Greater => ("coarse", ratio),
            Ordering::Less => ("fine", one.checked_div(&ratio).ok_or(RatioError::ZeroDivisor)?),
        };
        Ok(format!("{name} {}x", times.to_rounded_string(2)))
    }
}

/// Makes the quantities of the hours add up to those of the whole period: what is charged by the
/// period is spread evenly, and the hours' shares of the rest are kept.
fn spread_over_hours(whole: &[Subtotal], hours: &mut [Vec<Subtotal>]) {
    let count = Exact::from(u64::try_from(hours.len()).unwrap_or(u64::MAX));
    let mut spread: Vec<Vec<Subtotal>> = vec![Vec::with_capacity(whole.len()); hours.len()];
    for (at, total) in whole.iter().enumerate() {
        let in_hour = |hour: &Vec<Subtotal>| hour.get(at).map(|sum| sum.quantity.clone());
        let sum = hours.iter().filter_map(in_hour).fold(Exact::default(), |sum, it| &sum + &it);
        let by_period = total.charge.basis() == cyclometer_pricing::ChargeBasis::Period;
        for (hour, spread) in hours.iter().zip(&mut spread) {
            let even = || total.quantity.checked_div(&count).unwrap_or_default();
            let quantity = if by_period || sum.is_zero() {
                even()
            } else {
                let used = &in_hour(hour).unwrap_or_default() * &total.quantity;
                used.checked_div(&sum).unwrap_or_default()
            };
            spread.push(Subtotal { charge: Arc::clone(&total.charge), quantity });
        }
    }
    for (hour, spread) in hours.iter_mut().zip(spread) {
        *hour = spread;
    }
}
