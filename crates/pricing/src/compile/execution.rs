//! Execution of a compiled model over batches, and the sums that result.

use std::collections::BTreeMap;
use std::sync::Arc;

use num_bigint::BigUint;

use super::batch::{SignalSet, UsageBatch};
use super::op::{ColumnSource, MAX_COLUMN_VALUE, Op};
use super::plan::{ChargePlan, ModelPlan, ScaledSum};
use super::{ColumnPlan, PricingProgram};
use crate::evaluate::{EvalContext, Refusal};
use crate::model::PriceModel;
use crate::number::Exact;
use crate::terms::Terms;
use crate::waste::{self, Waste};

/// Number of rows in a block: small enough for its columns to stay in the nearer caches.
pub(super) const ROWS_PER_BLOCK: usize = 512;

/// Sums over the rows of a group, by model.
#[derive(Debug, Clone, Default)]
pub struct Sums {
    rows: u64,
    by_signals: BTreeMap<SignalSet, ColumnSums>,
    /// Sums of the rows that were evaluated by the definition, by model.
    exact: Vec<ModelSums>,
}

/// Sums of products over rows that have the same signals.
#[derive(Debug, Clone, Default)]
struct ColumnSums {
    /// Number of rows that each model billed in columns.
    rows: Vec<u64>,
    /// Sums, one list per model: models may leave out batches that others take.
    sums: Vec<Vec<IntegerSum>>,
    plan: Option<Arc<ColumnPlan>>,
}

/// A sum that is extended to more digits before it overflows.
#[derive(Debug, Clone, Default)]
struct IntegerSum {
    low: u128,
    high: BigUint,
}

impl IntegerSum {
    fn add_integer(&mut self, more: u128) {
        if let Some(sum) = self.low.checked_add(more) {
            self.low = sum;
        } else {
            self.high += self.low;
            self.low = more;
        }
    }

    fn merge(&mut self, other: &Self) {
        self.high += &other.high;
        self.add_integer(other.low);
    }

    fn to_exact(&self) -> Exact {
        Exact::from_integer(&self.high + self.low)
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
    pub fn add_instance_spans(&mut self, of: &Self) {
        for (mine, ChargeSum { quantity, waste }) in self.charges.iter_mut().zip(&of.charges) {
            mine.quantity += quantity;
            mine.waste += waste;
        }
    }
}

impl Sums {
    /// Returns the number of rows.
    #[must_use]
    pub const fn row_count(&self) -> u64 {
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
    pub fn model_sums(&self, program: &PricingProgram) -> Vec<ModelSums> {
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
                mine.merge(&collect_model_sums(model, *rows, sums));
            }
        }
        for (mine, (model, terms)) in models.iter_mut().zip(program.models()) {
            mine.charges.resize_with(model.invocation_charges(terms).count(), ChargeSum::default);
        }
        models
    }
}

/// Converts the sums of one plan to quantities.
fn collect_model_sums(model: &ModelPlan, rows: u64, sums: &[IntegerSum]) -> ModelSums {
    let mut read = ModelSums::default();
    match model {
        ModelPlan::RowByRow => {}
        ModelPlan::Columns { outcome: Err(refusal), .. } => {
            if rows > 0 {
                read.refused.insert(refusal.clone(), rows);
            }
        }
        ModelPlan::Columns { outcome: Ok(charges), .. } => {
            read.billed = rows;
            for charge in charges {
                let sum = |term: &ScaledSum| {
                    let sum = sums.get(term.sum).map(IntegerSum::to_exact).unwrap_or_default();
                    &sum * &term.scale
                };
                let quantity = sum(&charge.billed);
                let waste = charge.split.as_ref().map(|split| split.collect_waste(&quantity, sum));
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
struct RowBlock<'a> {
    batch: &'a UsageBatch,
    ops: &'a [Op],
    computed: &'a [[u64; ROWS_PER_BLOCK]],
    from: usize,
    len: usize,
}

impl ColumnSource for RowBlock<'_> {
    fn column_rows(&self, column: usize) -> &[u64] {
        match self.ops.get(column) {
            Some(Op::Read(signal)) => {
                &self.batch.column_values(*signal)[self.from..self.from + self.len]
            }
            _ => &self.computed[column][..self.len],
        }
    }
}

impl PricingProgram {
    /// Adds the rows of a batch to `sums`.
    pub fn run_batch(&mut self, batch: &UsageBatch, sums: &mut Sums) {
        if batch.is_empty() {
            return;
        }
        let plan = self.plan_for_signals(batch.signals());
        sums.rows += u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let mut bounds = Vec::with_capacity(plan.ops.len());
        for op in &plan.ops {
            bounds.push(op.value_bound(batch, &bounds));
        }
        let group = sums.by_signals.entry(batch.signals()).or_default();
        if group.plan.is_none() {
            group.rows = vec![0; plan.models.len()];
            group.sums = vec![vec![IntegerSum::default(); plan.sums.len()]; plan.models.len()];
            group.plan = Some(Arc::clone(&plan));
        }
        // Columns are used if every bound holds; models that cannot use them are evaluated row by
        // row, without affecting the others.
        let fits = bounds.iter().all(|bound| *bound <= MAX_COLUMN_VALUE)
            && plan.sums.iter().all(|columns| product_bound(columns, &bounds).is_some());
        let mut in_columns = vec![false; plan.models.len()];
        let mut found = None;
        if fits {
            found = Some(sum_batch(&plan, batch, &bounds));
        }
        let found = found.as_ref();
        for (index, model) in plan.models.iter().enumerate() {
            in_columns[index] = match (model, found) {
                (ModelPlan::RowByRow, _) | (_, None) => false,
                (ModelPlan::Columns { limits, .. }, Some((_, largest))) => limits
                    .iter()
                    .all(|(column, most)| largest.get(column).is_none_or(|it| it <= most)),
            };
            if in_columns[index] {
                group.rows[index] += u64::try_from(batch.len()).unwrap_or(u64::MAX);
                add_model_totals(
                    model,
                    found.map(|(totals, _)| &totals[..]),
                    &mut group.sums[index],
                );
            }
        }
        if in_columns.iter().all(|it| *it) {
            return;
        }
        sums.exact.resize_with(plan.models.len(), ModelSums::default);
        for (index, (model, terms)) in self.models().iter().enumerate() {
            if !in_columns[index] {
                self.evaluate_rows(model, terms, batch, &mut sums.exact[index]);
            }
        }
    }
}

/// Adds the sums that a model reads.
fn add_model_totals(model: &ModelPlan, totals: Option<&[IntegerSum]>, sums: &mut [IntegerSum]) {
    let (ModelPlan::Columns { outcome: Ok(charges), .. }, Some(totals)) = (model, totals) else {
        return;
    };
    let mut wanted: Vec<usize> = charges.iter().flat_map(ChargePlan::sum_indices).collect();
    wanted.sort_unstable();
    wanted.dedup();
    for at in wanted {
        if let (Some(sum), Some(more)) = (sums.get_mut(at), totals.get(at)) {
            sum.merge(more);
        }
    }
}

/// Returns a bound of a product of columns, if a sum of [`ROWS_PER_BLOCK`] of them fits.
fn product_bound(columns: &[usize], bounds: &[u128]) -> Option<u128> {
    let product =
        columns.iter().try_fold(1_u128, |product, at| product.checked_mul(bounds[*at]))?;
    (product <= u128::MAX / ROWS_PER_BLOCK as u128).then_some(product)
}

/// Width of the products of a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProductWidth {
    /// Factors fit 32 bits, and the sum of a block of products fits 64 bits.
    Narrow,
    /// The sum of a block of products fits 64 bits.
    Small,
    Wide,
}

impl ProductWidth {
    fn for_columns(columns: &[usize], bounds: &[u128]) -> Self {
        let most = u128::from(u64::MAX) / ROWS_PER_BLOCK as u128;
        if product_bound(columns, bounds).is_none_or(|product| product > most) {
            Self::Wide
        } else if columns.iter().all(|at| bounds[*at] <= u32::MAX.into()) {
            Self::Narrow
        } else {
            Self::Small
        }
    }
}

type ColumnMaxima = BTreeMap<usize, u64>;

/// Computes the sums over a batch, and the largest values of the columns that have limits.
fn sum_batch(
    plan: &ColumnPlan,
    batch: &UsageBatch,
    bounds: &[u128],
) -> (Vec<IntegerSum>, ColumnMaxima) {
    let mut totals = vec![IntegerSum::default(); plan.sums.len()];
    let widths: Vec<ProductWidth> =
        plan.sums.iter().map(|sum| ProductWidth::for_columns(sum, bounds)).collect();
    let mut largest = limited_columns(plan, bounds);
    let mut computed = vec![[0_u64; ROWS_PER_BLOCK]; plan.ops.len()];
    let mut from = 0;
    while from < batch.len() {
        let len = ROWS_PER_BLOCK.min(batch.len() - from);
        for (at, op) in plan.ops.iter().enumerate() {
            let (done, rest) = computed.split_at_mut(at);
            let stretch = RowBlock { batch, ops: &plan.ops, computed: done, from, len };
            if let Some(out) = rest.first_mut() {
                op.compute_rows(&mut out[..len], &stretch, bounds);
            }
        }
        let stretch = RowBlock { batch, ops: &plan.ops, computed: &computed, from, len };
        for ((columns, width), total) in plan.sums.iter().zip(&widths).zip(&mut totals) {
            total.add_integer(sum_of_products(columns, &stretch, *width));
        }
        for (column, most) in &mut largest {
            *most = stretch.column_rows(*column).iter().fold(*most, |most, value| most.max(*value));
        }
        from += len;
    }
    (totals, largest)
}

/// Returns the columns whose bound exceeds a limit: their largest value must be determined.
fn limited_columns(plan: &ColumnPlan, bounds: &[u128]) -> ColumnMaxima {
    let mut watched = ColumnMaxima::new();
    for model in &plan.models {
        if let ModelPlan::Columns { limits, .. } = model {
            let beyond = limits.iter().filter(|(at, most)| bounds[*at] > u128::from(*most));
            watched.extend(beyond.map(|(at, _)| (*at, 0)));
        }
    }
    watched
}

/// Returns the sum of products of columns over a block of rows.
fn sum_of_products(columns: &[usize], stretch: &RowBlock<'_>, width: ProductWidth) -> u128 {
    let column = |index: usize| columns.get(index).map(|at| stretch.column_rows(*at));
    match (column(0), column(1), column(2)) {
        (None, ..) => stretch.len as u128,
        (Some(one), None, _) if width == ProductWidth::Wide => {
            one.iter().map(|it| u128::from(*it)).sum()
        }
        (Some(one), None, _) => one.iter().sum::<u64>().into(),
        (Some(one), Some(other), None) => {
            let pairs = one.iter().zip(other);
            match width {
                ProductWidth::Wide => pairs.map(|(a, b)| u128::from(*a) * u128::from(*b)).sum(),
                ProductWidth::Small => pairs.map(|(a, b)| a * b).sum::<u64>().into(),
                // The masks change nothing; they tell the compiler that 32 bits are multiplied,
                // which processors do for several values at once.
                ProductWidth::Narrow => {
                    let narrow = |value: &u64| value & 0xffff_ffff;
                    pairs.map(|(a, b)| narrow(a) * narrow(b)).sum::<u64>().into()
                }
            }
        }
        _ => {
            let row = |index: usize| {
                columns
                    .iter()
                    .map(|at| u128::from(stretch.column_rows(*at)[index]))
                    .product::<u128>()
            };
            (0..stretch.len).map(row).sum()
        }
    }
}

impl PricingProgram {
    /// Evaluates rows by the definition.
    fn evaluate_rows(
        &self,
        model: &PriceModel,
        terms: &Terms,
        batch: &UsageBatch,
        sums: &mut ModelSums,
    ) {
        let charges: Vec<_> = model.invocation_charges(terms).collect();
        sums.charges.resize_with(charges.len(), ChargeSum::default);
        for row in 0..batch.len() {
            let usage = batch.usage_at_row(row);
            let scene = EvalContext { model, usage: &usage, terms };
            let billed = charges.iter().map(|charge| {
                let (quantity, note) = scene.billed_quantity(charge)?;
                let waste = if self.with_split {
                    waste::split_charge(&scene, charge)?
                } else {
                    Waste::default()
                };
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
