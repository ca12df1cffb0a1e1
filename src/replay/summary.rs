//! What a replay comes to: sums by lane, workload, preset and kind of start.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use super::Row;
use crate::pricing::{Bill, Exact, Granularity, Money, PriceModel, Refusal};

/// What rows are summed by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The lane.
    pub lane: Arc<str>,
    /// The workload.
    pub workload: Arc<str>,
    /// The workload's preset.
    pub preset: Arc<str>,
    /// `cold` or `warm`.
    pub start: Arc<str>,
}

/// What must be known of a model to read its totals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// The model's id.
    pub id: String,
    /// The currency of its totals.
    pub currency: String,
    /// Whether it is coarse or fine.
    pub granularity: Granularity,
    /// Names and units of its charges, in the order of [`ModelTotal::charges`].
    pub charges: Vec<(Arc<str>, Arc<str>)>,
}

/// The sums of one group of invocations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// How many invocations there were, billed or refused.
    pub invocations: u64,
    /// One entry for each model, in the order of [`Summary::models`].
    pub models: Vec<ModelTotal>,
}

/// What one model makes of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelTotal {
    /// How many invocations it billed.
    pub billed: u64,
    /// The exact sum of their bills.
    pub total: Money,
    /// The sums of each charge.
    pub charges: Vec<ChargeTotal>,
    /// How many invocations it refused, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// How many line items carried a note, by note.
    pub notes: BTreeMap<Arc<str>, u64>,
}

/// The sums of one charge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChargeTotal {
    /// Billed quantity, in the charge's unit.
    pub quantity: Exact,
    /// The exact amount.
    pub amount: Money,
}

/// Why two totals cannot be set against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoRatio {
    /// One of them leaves out invocations that the other has.
    #[error("one of the models refused some of the invocations")]
    Refused,
    /// They are in different money.
    #[error("the models have different currencies")]
    Currencies,
    /// The divisor is nothing.
    #[error("the finer total is 0")]
    Zero,
    /// There is no such model in this summary.
    #[error("there is no such model in this replay")]
    NoSuchModel,
}

/// The sums of a whole replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    models: Vec<ModelInfo>,
    groups: BTreeMap<Key, Group>,
}

impl ModelInfo {
    fn of(model: &PriceModel) -> Self {
        Self {
            id: model.id().to_owned(),
            currency: model.currency().to_owned(),
            granularity: model.granularity(),
            charges: model
                .charges()
                .map(|charge| (charge.name().into(), charge.unit().into()))
                .collect(),
        }
    }
}

impl Key {
    fn of(row: &Row) -> Self {
        Self {
            lane: Arc::clone(&row.lane),
            workload: Arc::clone(&row.workload),
            preset: Arc::clone(&row.preset),
            start: Arc::clone(&row.start),
        }
    }
}

impl Group {
    fn new(models: &[ModelInfo]) -> Self {
        let total = |model: &ModelInfo| ModelTotal {
            charges: vec![ChargeTotal::default(); model.charges.len()],
            ..ModelTotal::default()
        };
        Self { invocations: 0, models: models.iter().map(total).collect() }
    }

    /// Adds the sums of `other`, a group of the same models.
    fn merge(&mut self, other: &Self) {
        let Self { invocations, models } = other;
        self.invocations += invocations;
        for (mine, theirs) in self.models.iter_mut().zip(models) {
            mine.merge(theirs);
        }
    }
}

impl ModelTotal {
    /// How many invocations were refused, for whatever reason.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }

    pub(super) fn add(&mut self, bill: &Bill) {
        self.billed += 1;
        self.total += &bill.total;
        for (charge, line) in self.charges.iter_mut().zip(&bill.lines) {
            charge.quantity += &line.quantity;
            charge.amount += &line.amount;
            if let Some(note) = &line.note {
                *self.notes.entry(Arc::clone(note)).or_default() += 1;
            }
        }
    }

    pub(super) fn refuse(&mut self, refusal: Refusal) {
        *self.refused.entry(refusal).or_default() += 1;
    }

    fn merge(&mut self, other: &Self) {
        let Self { billed, total, charges, refused, notes } = other;
        self.billed += billed;
        self.total += total;
        for (mine, ChargeTotal { quantity, amount }) in self.charges.iter_mut().zip(charges) {
            mine.quantity += quantity;
            mine.amount += amount;
        }
        for (refusal, count) in refused {
            *self.refused.entry(refusal.clone()).or_default() += count;
        }
        for (note, count) in notes {
            *self.notes.entry(Arc::clone(note)).or_default() += count;
        }
    }
}

impl Summary {
    /// No rows yet.
    #[must_use]
    pub fn new(models: &[&PriceModel]) -> Self {
        let models = models.iter().map(|model| ModelInfo::of(model)).collect();
        Self { models, groups: BTreeMap::new() }
    }

    /// Counts `row` and gives the totals of its group.
    pub(super) fn group_of(&mut self, row: &Row) -> &mut [ModelTotal] {
        let models = &self.models;
        let group = self.groups.entry(Key::of(row)).or_insert_with(|| Group::new(models));
        group.invocations += 1;
        &mut group.models
    }

    /// The models, in the order they were given.
    #[must_use]
    pub fn models(&self) -> &[ModelInfo] {
        &self.models
    }

    /// All groups, in the order of their keys.
    #[must_use]
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&Key, &Group)> {
        self.groups.iter()
    }

    /// Sums the groups by something coarser than their keys, such as lane and
    /// workload.
    pub fn by<K: Ord>(&self, key: impl Fn(&Key) -> K) -> BTreeMap<K, Group> {
        let mut sums = BTreeMap::new();
        for (group_key, group) in &self.groups {
            sums.entry(key(group_key)).or_insert_with(|| Group::new(&self.models)).merge(group);
        }
        sums
    }

    /// The sum of everything.
    #[must_use]
    pub fn overall(&self) -> Group {
        let mut sum = Group::new(&self.models);
        self.groups.values().for_each(|group| sum.merge(group));
        sum
    }

    /// Every coarse model beside every fine one of the same currency, as
    /// positions in [`Summary::models`].
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
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

    /// The coarse total of `group` divided by its fine total, half up to
    /// `digits` decimals; `coarse` and `fine` are positions in
    /// [`Summary::models`].
    ///
    /// # Errors
    ///
    /// If the two do not bill the same invocations in the same currency, or
    /// the fine total is 0.
    pub fn ratio(
        &self,
        group: &Group,
        coarse: usize,
        fine: usize,
        digits: u32,
    ) -> Result<Exact, NoRatio> {
        let model = |at| Some((self.models.get(at)?, group.models.get(at)?));
        let (above, numerator) = model(coarse).ok_or(NoRatio::NoSuchModel)?;
        let (below, denominator) = model(fine).ok_or(NoRatio::NoSuchModel)?;
        if above.currency != below.currency {
            return Err(NoRatio::Currencies);
        }
        if numerator.refusals() > 0 || denominator.refusals() > 0 {
            return Err(NoRatio::Refused);
        }
        numerator.total.ratio(&denominator.total, digits).ok_or(NoRatio::Zero)
    }
}
