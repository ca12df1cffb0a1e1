//! Execution of a compiled model over batches, and the sums that result.

use std::collections::BTreeMap;
use std::sync::Arc;

use num_bigint::BigUint;

use super::batch::{Batch, Signals};
use super::op::{MOST, Op, Operands};
use super::plan::{ChargePlan, ModelPlan, Term};
use super::{Plan, Program};
use crate::evaluate::{Refusal, Scene};
use crate::model::PriceModel;
use crate::number::Exact;
use crate::terms::Terms;
use crate::waste::{self, Waste};

/// Number of rows in a block: small enough for its columns to stay in the nearer caches.
pub(super) const STRETCH: usize = 512;

/// Sums over the rows of a group, by model.
#[derive(Debug, Clone, Default)]
pub struct Sums {
    rows: u64,
    by_signals: BTreeMap<Signals, Integers>,
    /// Sums of the rows that were evaluated by the definition, by model.
    exact: Vec<ModelSums>,
}

/// Sums of products over rows that have the same signals.
#[derive(Debug, Clone, Default)]
struct Integers {
    /// Number of rows that each model billed in columns.
    rows: Vec<u64>,
    /// Sums, one list per model: models may leave out batches that others take.
    sums: Vec<Vec<Total>>,
    plan: Option<Arc<Plan>>,
}

/// A sum that is extended to more digits before it overflows.
#[derive(Debug, Clone, Default)]
struct Total {
    low: u128,
    high: BigUint,
}

impl Total {
    fn add(&mut self, more: u128) {
        if let Some(sum) = self.low.checked_add(more) {
            self.low = sum;
        } else {
            self.high += self.low;
            self.low = more;
        }
    }

    fn merge(&mut self, other: &Self) {
        self.high += &other.high;
        self.add(other.low);
    }

    fn exact(&self) -> Exact {
        Exact::whole(&self.high + self.low)
    }
}

/// Result of one model over the rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelSums {
    /// Number of rows that the model billed.
    pub billed: u64,
    /// Sums by charge, in the order of the model's counted charges.
    pub charges: Vec<ChargeSum>,
    /// Number of refused rows, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// Number of rows with a note, by note.
    pub notes: BTreeMap<Arc<str>, u64>,
}

/// Sum of one charge, in its unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChargeSum {
    /// Quantity after grids and minimums.
    pub quantity: Exact,
    /// Parts of the quantity; all 0 where bills are not decomposed.
    pub waste: Waste<Exact>,
}

impl ModelSums {
    pub(super) fn merge(&mut self, other: &Self) {
        let Self { billed, charges, refused, notes } = other;
        self.billed += billed;
        self.charges.resize_with(self.charges.len().max(charges.len()), ChargeSum::default);
        for (mine, ChargeSum { quantity, waste }) in self.charges.iter_mut().zip(charges) {
            mine.quantity += quantity;
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

impl ModelSums {
    /// Adds the sums of charges by instance. Their rows are spans of instances, whose refusals
    /// were already counted for each request.
    pub fn add_stretches(&mut self, of: &Self) {
        for (mine, ChargeSum { quantity, waste }) in self.charges.iter_mut().zip(&of.charges) {
            mine.quantity += quantity;
            mine.waste += waste;
        }
    }
}

impl Sums {
    /// Returns the number of rows.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    #[cfg(test)]
    pub(super) const fn all_in_columns(&self) -> bool {
        self.exact.is_empty()
    }

    /// Adds the sums of other rows of the same program.
    pub fn merge(&mut self, other: &Self) {
        let Self { rows, by_signals, exact } = other;
        self.rows += rows;
        for (signals, theirs) in by_signals {
            let mine = self.by_signals.entry(*signals).or_default();
            if mine.plan.is_none() {
                *mine = theirs.clone();
                continue;
            }
            for (rows, more) in mine.rows.iter_mut().zip(&theirs.rows) {
                *rows += more;
            }
            let pairs = mine.sums.iter_mut().flatten().zip(theirs.sums.iter().flatten());
            pairs.for_each(|(sum, more)| sum.merge(more));
        }
        self.exact.resize_with(self.exact.len().max(exact.len()), ModelSums::default);
        for (mine, theirs) in self.exact.iter_mut().zip(exact) {
            mine.merge(theirs);
        }
    }

    /// Returns the sums of each model, in the order of the program.
    #[must_use]
    pub fn models(&self, program: &Program) -> Vec<ModelSums> {
        let mut models: Vec<ModelSums> = vec![ModelSums::default(); program.models().len()];
        for (mine, exact) in models.iter_mut().zip(&self.exact) {
            mine.merge(exact);
        }
        for group in self.by_signals.values() {
            let Some(plan) = &group.plan else { continue };
            for (index, (mine, model)) in models.iter_mut().zip(&plan.models).enumerate() {
                let (Some(rows), Some(sums)) = (group.rows.get(index), group.sums.get(index))
                else {
                    continue;
                };
                mine.merge(&read(model, *rows, sums));
            }
        }
        for (mine, (model, terms)) in models.iter_mut().zip(program.models()) {
            mine.charges.resize_with(model.counted(terms).count(), ChargeSum::default);
        }
        models
    }
}

/// Converts the sums of one plan to quantities.
fn read(model: &ModelPlan, rows: u64, sums: &[Total]) -> ModelSums {
    let mut read = ModelSums::default();
    match model {
        ModelPlan::Slow => {}
        ModelPlan::Columns { outcome: Err(refusal), .. } => {
            if rows > 0 {
                read.refused.insert(refusal.clone(), rows);
            }
        }
        ModelPlan::Columns { outcome: Ok(charges), .. } => {
            read.billed = rows;
            for charge in charges {
                let sum = |term: &Term| {
                    let sum = sums.get(term.sum).map(Total::exact).unwrap_or_default();
                    &sum * &term.scale
                };
                let quantity = sum(&charge.billed);
                let waste = charge.split.as_ref().map(|split| split.read(&quantity, sum));
                read.charges.push(ChargeSum { quantity, waste: waste.unwrap_or_default() });
                if let Some(note) = charge.note.as_ref().filter(|_| rows > 0) {
                    *read.notes.entry(Arc::clone(note)).or_default() += rows;
                }
            }
        }
    }
    read
}

/// Columns of one block of rows.
struct Stretch<'a> {
    batch: &'a Batch,
    ops: &'a [Op],
    computed: &'a [[u64; STRETCH]],
    from: usize,
    len: usize,
}

impl Operands for Stretch<'_> {
    fn get(&self, column: usize) -> &[u64] {
        match self.ops.get(column) {
            Some(Op::Read(signal)) => &self.batch.column(*signal)[self.from..self.from + self.len],
            _ => &self.computed[column][..self.len],
        }
    }
}

impl Program {
    /// Adds the rows of a batch to `sums`.
    pub fn run(&mut self, batch: &Batch, sums: &mut Sums) {
        if batch.is_empty() {
            return;
        }
        let plan = self.plan(batch.present());
        sums.rows += u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let mut bounds = Vec::with_capacity(plan.ops.len());
        for op in &plan.ops {
            bounds.push(op.bound(batch, &bounds));
        }
        let group = sums.by_signals.entry(batch.present()).or_default();
        if group.plan.is_none() {
            group.rows = vec![0; plan.models.len()];
            group.sums = vec![vec![Total::default(); plan.sums.len()]; plan.models.len()];
            group.plan = Some(Arc::clone(&plan));
        }
        // Columns are used if every bound holds; models that cannot use them are evaluated row by
        // row, without affecting the others.
        let fits = bounds.iter().all(|bound| *bound <= MOST)
            && plan.sums.iter().all(|columns| product_bound(columns, &bounds).is_some());
        let mut in_columns = vec![false; plan.models.len()];
        let mut found = None;
        if fits {
            found = Some(sum_up(&plan, batch, &bounds));
        }
        let found = found.as_ref();
        for (index, model) in plan.models.iter().enumerate() {
            in_columns[index] = match (model, found) {
                (ModelPlan::Slow, _) | (_, None) => false,
                (ModelPlan::Columns { limits, .. }, Some((_, largest))) => limits
                    .iter()
                    .all(|(column, most)| largest.get(column).is_none_or(|it| it <= most)),
            };
            if in_columns[index] {
                group.rows[index] += u64::try_from(batch.len()).unwrap_or(u64::MAX);
                add_used(model, found.map(|(totals, _)| &totals[..]), &mut group.sums[index]);
            }
        }
        if in_columns.iter().all(|it| *it) {
            return;
        }
        sums.exact.resize_with(plan.models.len(), ModelSums::default);
        for (index, (model, terms)) in self.models().iter().enumerate() {
            if !in_columns[index] {
                self.one_by_one(model, terms, batch, &mut sums.exact[index]);
            }
        }
    }
}

/// Adds the sums that a model reads.
fn add_used(model: &ModelPlan, totals: Option<&[Total]>, sums: &mut [Total]) {
    let (ModelPlan::Columns { outcome: Ok(charges), .. }, Some(totals)) = (model, totals) else {
        return;
    };
    let mut wanted: Vec<usize> = charges.iter().flat_map(ChargePlan::sums).collect();
    wanted.sort_unstable();
    wanted.dedup();
    for at in wanted {
        if let (Some(sum), Some(more)) = (sums.get_mut(at), totals.get(at)) {
            sum.merge(more);
        }
    }
}

/// Returns a bound of a product of columns, if a sum of [`STRETCH`] of them fits.
fn product_bound(columns: &[usize], bounds: &[u128]) -> Option<u128> {
    let product =
        columns.iter().try_fold(1_u128, |product, at| product.checked_mul(bounds[*at]))?;
    (product <= u128::MAX / STRETCH as u128).then_some(product)
}

/// Width of the products of a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    /// Factors fit 32 bits, and the sum of a block of products fits 64 bits.
    Narrow,
    /// The sum of a block of products fits 64 bits.
    Small,
    Wide,
}

impl Width {
    fn of(columns: &[usize], bounds: &[u128]) -> Self {
        let most = u128::from(u64::MAX) / STRETCH as u128;
        if product_bound(columns, bounds).is_none_or(|product| product > most) {
            Self::Wide
        } else if columns.iter().all(|at| bounds[*at] <= u32::MAX.into()) {
            Self::Narrow
        } else {
            Self::Small
        }
    }
}

type Largest = BTreeMap<usize, u64>;

/// Computes the sums over a batch, and the largest values of the columns that have limits.
fn sum_up(plan: &Plan, batch: &Batch, bounds: &[u128]) -> (Vec<Total>, Largest) {
    let mut totals = vec![Total::default(); plan.sums.len()];
    let widths: Vec<Width> = plan.sums.iter().map(|sum| Width::of(sum, bounds)).collect();
    let mut largest = watched(plan, bounds);
    let mut computed = vec![[0_u64; STRETCH]; plan.ops.len()];
    let mut from = 0;
    while from < batch.len() {
        let len = STRETCH.min(batch.len() - from);
        for (at, op) in plan.ops.iter().enumerate() {
            let (done, rest) = computed.split_at_mut(at);
            let stretch = Stretch { batch, ops: &plan.ops, computed: done, from, len };
            if let Some(out) = rest.first_mut() {
                op.run(&mut out[..len], &stretch, bounds);
            }
        }
        let stretch = Stretch { batch, ops: &plan.ops, computed: &computed, from, len };
        for ((columns, width), total) in plan.sums.iter().zip(&widths).zip(&mut totals) {
            total.add(products(columns, &stretch, *width));
        }
        for (column, most) in &mut largest {
            *most = stretch.get(*column).iter().fold(*most, |most, value| most.max(*value));
        }
        from += len;
    }
    (totals, largest)
}

/// Returns the columns whose bound exceeds a limit: their largest value must be determined.
fn watched(plan: &Plan, bounds: &[u128]) -> Largest {
    let mut watched = Largest::new();
    for model in &plan.models {
        if let ModelPlan::Columns { limits, .. } = model {
            let beyond = limits.iter().filter(|(at, most)| bounds[*at] > u128::from(*most));
            watched.extend(beyond.map(|(at, _)| (*at, 0)));
        }
    }
    watched
}

/// Returns the sum of products of columns over a block of rows.
fn products(columns: &[usize], stretch: &Stretch<'_>, width: Width) -> u128 {
    let column = |index: usize| columns.get(index).map(|at| stretch.get(*at));
    match (column(0), column(1), column(2)) {
        (None, ..) => stretch.len as u128,
        (Some(one), None, _) if width == Width::Wide => one.iter().map(|it| u128::from(*it)).sum(),
        (Some(one), None, _) => one.iter().sum::<u64>().into(),
        (Some(one), Some(other), None) => {
            let pairs = one.iter().zip(other);
            match width {
                Width::Wide => pairs.map(|(a, b)| u128::from(*a) * u128::from(*b)).sum(),
                Width::Small => pairs.map(|(a, b)| a * b).sum::<u64>().into(),
                // The masks change nothing; they tell the compiler that 32 bits are multiplied,
                // which processors do for several values at once.
                Width::Narrow => {
                    let narrow = |value: &u64| value & 0xffff_ffff;
                    pairs.map(|(a, b)| narrow(a) * narrow(b)).sum::<u64>().into()
                }
            }
        }
        _ => {
            let row = |index: usize| {
                columns.iter().map(|at| u128::from(stretch.get(*at)[index])).product::<u128>()
            };
            (0..stretch.len).map(row).sum()
        }
    }
}

impl Program {
    /// Evaluates rows by the definition.
    fn one_by_one(&self, model: &PriceModel, terms: &Terms, batch: &Batch, sums: &mut ModelSums) {
        let charges: Vec<_> = model.counted(terms).collect();
        sums.charges.resize_with(charges.len(), ChargeSum::default);
        for row in 0..batch.len() {
            let usage = batch.usage(row);
            let scene = Scene { model, usage: &usage, terms };
            let billed = charges.iter().map(|charge| {
                let (quantity, note) = scene.quantity(charge)?;
                let waste =
                    if self.with_split { waste::split(&scene, charge)? } else { Waste::default() };
                if self.basis.is_some_and(|basis| basis != charge.basis()) {
                    return Ok((ChargeSum::default(), note));
                }
                Ok((ChargeSum { quantity, waste }, note))
            });
            match billed.collect::<Result<Vec<_>, Refusal>>() {
                Err(refusal) => *sums.refused.entry(refusal).or_default() += 1,
                Ok(billed) => {
                    sums.billed += 1;
                    for (sum, (charge, note)) in sums.charges.iter_mut().zip(billed) {
                        sum.quantity += &charge.quantity;
                        sum.waste += &charge.waste;
                        if let Some(note) = note {
                            *sums.notes.entry(note).or_default() += 1;
                        }
                    }
                }
            }
        }
    }
}
