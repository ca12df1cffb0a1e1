//! Planning of charges as columns: what one model needs of rows that have the same signals
//! measured.

use std::sync::Arc;

use num_integer::Integer;

use super::batch::{Signal, SignalSet};
use super::grid::GridDivisor;
use super::op::{ColumnRegistry, Op};
use super::waste_plan;
use crate::charge::{Charge, Factor, LookupRow, Measure, Multiplier, StandIn};
use crate::evaluate::{EvalContext, Missing, Refusal, join_notes, refuse_charge};
use crate::model::PriceModel;
use crate::number::Exact;
use crate::schema::ChargeBasis;
use crate::terms::Terms;
use cyclometer_core::meter::Usage;

/// Reason why a model cannot be computed in columns for these rows.
pub(super) enum PlanFailure {
    /// The model cannot bill the rows.
    Refused(Missing),
    /// The numbers do not fit integers of 64 bits, so the rows are evaluated one by one.
    NotInColumns,
}

impl From<Missing> for PlanFailure {
    fn from(missing: Missing) -> Self {
        Self::Refused(missing)
    }
}

pub(super) type PlanResult<T> = Result<T, PlanFailure>;

/// Sum over rows of a product of columns, and the value of one unit of it.
#[derive(Debug, Clone)]
pub(super) struct ScaledSum {
    pub sum: usize,
    pub scale: Exact,
}

/// Plan of a charge in columns.
#[derive(Debug, Clone)]
pub(super) struct ChargePlan {
    pub billed: ScaledSum,
    pub split: Option<waste_plan::SplitPlan>,
    pub note: Option<Arc<str>>,
}

impl ChargePlan {
    /// Returns the indices of the sums that the plan reads.
    pub(super) fn sum_indices(&self) -> Vec<usize> {
        let mut sums = vec![self.billed.sum];
        sums.extend(self.split.iter().flat_map(waste_plan::SplitPlan::sum_indices));
        sums
    }
}

/// Plan of a model for rows that have the same signals.
#[derive(Debug, Clone)]
pub(super) enum ModelPlan {
    /// The model is not expressible in integers of 64 bits.
    RowByRow,
    /// Columns with their limits, beyond which rows are evaluated one by one; and the outcome of
    /// all other rows.
    Columns { limits: Vec<(usize, u64)>, outcome: Result<Vec<ChargePlan>, Refusal> },
}

/// A column and its denominator, in metered units; a constant has no column.
#[derive(Debug, Clone)]
pub(super) enum PlannedValue {
    Column { at: usize, per: u64 },
    Constant(Exact),
}

/// Plan of a factor in columns: value = column x scale.
pub(super) struct FactorPlan {
    pub billed: (Option<usize>, Exact),
    pub raw: PlannedValue,
    pub note: Option<Arc<str>>,
}

/// Columns and sums that the plans of several models share.
#[derive(Debug, Default)]
pub(super) struct SharedColumns {
    pub columns: ColumnRegistry,
    pub sums: Vec<Vec<usize>>,
}

impl SharedColumns {
    pub(super) fn intern_sum(&mut self, mut columns: Vec<usize>) -> usize {
        columns.sort_unstable();
        if let Some(at) = self.sums.iter().position(|known| *known == columns) {
            return at;
        }
        self.sums.push(columns);
        self.sums.len() - 1
    }
}

/// Planner of one model.
pub(super) struct Planner<'a> {
    pub model: &'a PriceModel,
    pub terms: &'a Terms,
    pub present: SignalSet,
    /// Basis of the rows; charges counted by another basis are 0.
    pub basis: Option<ChargeBasis>,
    pub shared: &'a mut SharedColumns,
    pub limits: Vec<(usize, u64)>,
}

impl Planner<'_> {
    pub(super) fn plan_model(mut self, with_split: bool) -> ModelPlan {
        let (model, terms) = (self.model, self.terms);
        let mut charges = Vec::new();
        for charge in model.invocation_charges(terms) {
            match self.plan_charge(charge, with_split) {
                // Planned nevertheless, to find out which rows it refuses.
                Ok(plan) if self.basis.is_some_and(|basis| basis != charge.basis) => {
                    let billed = ScaledSum {
                        sum: self.shared.intern_sum(Vec::new()),
                        scale: Exact::default(),
                    };
                    let split = with_split.then_some(waste_plan::SplitPlan::Fee);
                    charges.push(ChargePlan { billed, split, note: plan.note });
                }
                Ok(plan) => charges.push(plan),
                Err(PlanFailure::NotInColumns) => return ModelPlan::RowByRow,
                Err(PlanFailure::Refused(missing)) => {
                    let outcome = Err(refuse_charge(charge, missing));
                    return ModelPlan::Columns { limits: self.limits, outcome };
                }
            }
        }
        ModelPlan::Columns { limits: self.limits, outcome: Ok(charges) }
    }

    fn plan_charge(&mut self, charge: &Charge, with_split: bool) -> PlanResult<ChargePlan> {
        let mut columns = Vec::new();
        let mut scale = Exact::from(1);
        let mut notes = Vec::new();
        let mut factors = Vec::new();
        for factor in &charge.factors {
            let plan = self.plan_factor(factor)?;
            let (column, by) = &plan.billed;
            columns.extend(*column);
            scale = (&scale * by).checked_div(&factor.size).unwrap_or_default();
            notes.extend(plan.note.clone());
            factors.push((factor, plan));
        }
        let billed = ScaledSum { sum: self.shared.intern_sum(columns), scale };
        let split = if with_split { Some(self.plan_split(&factors)?) } else { None };
        Ok(ChargePlan { billed, split, note: join_notes(&notes) })
    }

    fn plan_factor(&mut self, factor: &Factor) -> PlanResult<FactorPlan> {
        if factor.each {
            return self.plan_each_phase(factor);
        }
        if !factor.inner_grids.is_empty() && !factor.measure.is_constant() {
            return self.plan_gridded_max_of(factor);
        }
        let (measured, note) =
            match self.plan_measure_or_fallback(&factor.measure, &factor.fallback_notes()) {
                Ok(found) => found,
                Err(stop) => return Err(self.with_fallback_meters(stop, factor)),
            };
        let PlannedValue::Column { at, per } = self.plan_multiplier(measured, &factor.times)?
        else {
            // The value is the same for every row, so the definition computes it.
            let usage = Usage::new(false);
            let scene = EvalContext { model: self.model, usage: &usage, terms: self.terms };
            let reading = scene.evaluate_factor(factor, None)?;
            let billed = (None, reading.billed);
            return Ok(FactorPlan {
                billed,
                raw: PlannedValue::Constant(reading.raw),
                note: reading.note,
            });
        };
        let at = self.plan_bounds(factor, at, per)?;
        let billed = self.plan_grid(factor, at, per)?;
        Ok(FactorPlan { billed, raw: PlannedValue::Column { at, per }, note })
    }

    /// Plans the largest of alternatives that have their own grids: billed with them, raw
    /// without.
    fn plan_gridded_max_of(&mut self, factor: &Factor) -> PlanResult<FactorPlan> {
        let Measure::MaxOf(several) = &factor.measure else {
            return Err(PlanFailure::NotInColumns);
        };
        let mut plans = Vec::new();
        for grids in [factor.inner_grids.as_slice(), &[]] {
            let value = self.plan_max_of(several, grids)?;
            let PlannedValue::Column { at, per } = self.plan_multiplier(value, &factor.times)?
            else {
                return Err(PlanFailure::NotInColumns);
            };
            plans.push((self.plan_bounds(factor, at, per)?, per));
        }
        let [(billed, billed_per), (raw, raw_per)] = plans[..] else {
            return Err(PlanFailure::NotInColumns);
        };
        Ok(FactorPlan {
            billed: self.plan_grid(factor, billed, billed_per)?,
            raw: PlannedValue::Column { at: raw, per: raw_per },
            note: None,
        })
    }

    /// Adds the stand-ins that were not measured either to a refusal.
    fn with_fallback_meters(&self, stop: PlanFailure, factor: &Factor) -> PlanFailure {
        match stop {
            PlanFailure::Refused(Missing::Meter { .. }) if !factor.fallbacks.is_empty() => {
                let usage = Usage::new(false);
                let scene = EvalContext { model: self.model, usage: &usage, terms: self.terms };
                match scene.evaluate_factor(factor, None) {
                    Err(missing) => PlanFailure::Refused(missing),
                    Ok(_) => stop,
                }
            }
            other => other,
        }
    }

    fn plan_each_phase(&mut self, factor: &Factor) -> PlanResult<FactorPlan> {
        let Measure::Phases(phases) = &factor.measure else {
            return Err(PlanFailure::NotInColumns);
        };
        let (mut billed, mut raw): (Option<usize>, Option<usize>) = (None, None);
        let mut step = Exact::from(1);
        for phase in phases.iter() {
            let signal = Signal::Phase(*phase);
            if !self.present.contains(signal) {
                continue;
            }
            let read = self.shared.columns.intern_op(Op::Read(signal));
            let (own, scale) = self.plan_grid(factor, read, 1)?;
            step = scale;
            billed = self.add_columns(billed, own);
            raw = self.add_columns(raw, Some(read));
        }
        let at = raw.ok_or_else(|| Missing::Phases(Arc::clone(phases)))?;
        Ok(FactorPlan {
            billed: (billed, step),
            raw: PlannedValue::Column { at, per: 1 },
            note: None,
        })
    }

    fn add_columns(&mut self, sum: Option<usize>, more: Option<usize>) -> Option<usize> {
        match (sum, more) {
            (Some(sum), Some(more)) => Some(self.shared.columns.intern_op(Op::Add(sum, more))),
            (sum, more) => sum.or(more),
        }
    }

    fn plan_measure_or_fallback(
        &mut self,
        measure: &Measure,
        fallbacks: &[(StandIn, Arc<str>)],
    ) -> PlanResult<(PlannedValue, Option<Arc<str>>)> {
        let missing = match self.plan_measure(measure) {
            Ok(value) => return Ok((value, None)),
            Err(PlanFailure::Refused(missing @ Missing::Meter { .. })) => missing,
            Err(stop) => return Err(stop),
        };
        for (stand_in, note) in fallbacks {
            let value = match stand_in {
                StandIn::Value(value) => PlannedValue::Constant(value.clone()),
                StandIn::Meter(meter) if self.present.contains(Signal::Meter(*meter)) => {
                    self.plan_stand_in_meter(measure, Signal::Meter(*meter))?
                }
                StandIn::Meter(_) => continue,
            };
            return Ok((value, Some(Arc::clone(note))));
        }
        Err(missing.into())
    }

    /// Plans a meter that stands in for another, through the lookup table if there is one.
    fn plan_stand_in_meter(
        &mut self,
        measure: &Measure,
        signal: Signal,
    ) -> PlanResult<PlannedValue> {
        let at = self.shared.columns.intern_op(Op::Read(signal));
        match measure {
            Measure::Lookup { rows, .. } => self.plan_lookup(at, rows),
            _ => Ok(PlannedValue::Column { at, per: 1 }),
        }
    }

    fn plan_measure(&mut self, measure: &Measure) -> PlanResult<PlannedValue> {
        if measure.is_constant() {
            let usage = Usage::new(false);
            let scene = EvalContext { model: self.model, usage: &usage, terms: self.terms };
            return Ok(PlannedValue::Constant(scene.measure_value(measure)?));
        }
        match measure {
            Measure::Meter(meter) if self.present.contains(Signal::Meter(*meter)) => {
                let at = self.shared.columns.intern_op(Op::Read(Signal::Meter(*meter)));
                Ok(PlannedValue::Column { at, per: 1 })
            }
            Measure::Meter(meter) => {
                Err(Missing::Meter { meter: *meter, fallbacks: Vec::new() }.into())
            }
            Measure::Phases(phases) => {
                let mut sum = None;
                for phase in phases.iter().filter(|it| self.present.contains(Signal::Phase(**it))) {
                    let read = self.shared.columns.intern_op(Op::Read(Signal::Phase(*phase)));
                    sum = match sum {
                        Some(sum) => Some(self.shared.columns.intern_op(Op::Add(sum, read))),
                        None => Some(read),
                    };
                }
                let at = sum.ok_or_else(|| Missing::Phases(Arc::clone(phases)))?;
                Ok(PlannedValue::Column { at, per: 1 })
            }
            Measure::Lookup { of, rows } => match self.plan_measure(of)? {
                PlannedValue::Column { at, per: 1 } => self.plan_lookup(at, rows),
                _ => Err(PlanFailure::NotInColumns),
            },
            Measure::MaxOf(several) => self.plan_max_of(several, &[]),
            Measure::Requests | Measure::Input(_) | Measure::Period | Measure::Month => {
                Err(PlanFailure::NotInColumns)
            }
        }
    }

    /// Plans the largest of alternatives, each rounded up to its own grid of `grids`, if any.
    fn plan_max_of(
        &mut self,
        several: &[(Measure, Multiplier)],
        grids: &[Exact],
    ) -> PlanResult<PlannedValue> {
        let mut values = Vec::new();
        let mut common = 1_u64;
        for (index, (measure, times)) in several.iter().enumerate() {
            let grid = grids.get(index).cloned().unwrap_or_default();
            let value = match self.plan_measure(measure)? {
                PlannedValue::Constant(value) => {
                    PlannedValue::Constant(value.up_to_multiple(&grid))
                }
                PlannedValue::Column { at, per: 1 } if !grid.is_zero() => {
                    self.plan_next_multiple(at, &grid)?
                }
                PlannedValue::Column { .. } if !grid.is_zero() => {
                    return Err(PlanFailure::NotInColumns);
                }
                column @ PlannedValue::Column { .. } => column,
            };
            let value = self.plan_multiplier(value, times)?;
            common = common_multiple(common, value_denominator(&value)?)?;
            values.push(value);
        }
        let mut largest = None;
        for value in values {
            let at = self.column_over_denominator(&value, common)?;
            largest = match largest {
                Some(largest) => Some(self.shared.columns.intern_op(Op::Max(largest, at))),
                None => Some(at),
            };
        }
        largest.map(|at| PlannedValue::Column { at, per: common }).ok_or(PlanFailure::NotInColumns)
    }

    /// Returns the column of `value` x `per`.
    pub(super) fn column_over_denominator(
        &mut self,
        value: &PlannedValue,
        per: u64,
    ) -> PlanResult<usize> {
        match value {
            PlannedValue::Column { at, per: own } => Ok(self.multiply_column(*at, per / own)),
            PlannedValue::Constant(value) => {
                let whole =
                    (value * &Exact::from(per)).to_u64().ok_or(PlanFailure::NotInColumns)?;
                Ok(self.shared.columns.intern_op(Op::Const(whole)))
            }
        }
    }

    pub(super) fn multiply_column(&mut self, at: usize, by: u64) -> usize {
        if by == 1 { at } else { self.shared.columns.intern_op(Op::Times(at, by)) }
    }

    fn plan_lookup(&mut self, key: usize, rows: &[LookupRow]) -> PlanResult<PlannedValue> {
        let mut per = 1;
        for row in rows {
            per = common_multiple(
                per,
                value_denominator(&PlannedValue::Constant(row.value.clone()))?,
            )?;
        }
        let ends: Option<Vec<u64>> = rows.iter().map(|row| row.up_to.to_u64()).collect();
        let scaled = |row: &LookupRow| (&row.value * &Exact::from(per)).to_u64();
        let values: Option<Vec<u64>> = rows.iter().map(scaled).collect();
        let (ends, values) = ends.zip(values).ok_or(PlanFailure::NotInColumns)?;
        if let Some(end) = ends.last() {
            self.limits.push((key, *end));
        }
        // Tables with the same ends but different values share the search.
        let rank = self.shared.columns.intern_op(Op::Rank(key, ends.into()));
        let at = self.shared.columns.intern_op(Op::Pick(rank, values.into()));
        Ok(PlannedValue::Column { at, per })
    }

    fn plan_multiplier(
        &mut self,
        value: PlannedValue,
        times: &Multiplier,
    ) -> PlanResult<PlannedValue> {
        let usage = Usage::new(false);
        let scene = EvalContext { model: self.model, usage: &usage, terms: self.terms };
        if matches!(times, Multiplier::Once) {
            return Ok(value);
        }
        let by = scene.resolve_multiplier(times)?;
        match value {
            PlannedValue::Constant(value) => Ok(PlannedValue::Constant(&value * &by)),
            PlannedValue::Column { at, per } => {
                let (numerator, denominator) = fraction_parts(&by)?;
                let at = self.multiply_column(at, numerator);
                Ok(PlannedValue::Column {
                    at,
                    per: per.checked_mul(denominator).ok_or(PlanFailure::NotInColumns)?,
                })
            }
        }
    }

    /// Plans `above`, `at_most` and the limit, on a column with a denominator.
    fn plan_bounds(&mut self, factor: &Factor, mut at: usize, per: u64) -> PlanResult<usize> {
        if let Some(limit) = &factor.limit {
            self.limits.push((at, scaled_constant(limit, per)?));
        }
        if let Some(floor) = &factor.above {
            at = self.shared.columns.intern_op(Op::Above(at, scaled_constant(floor, per)?));
        }
        if let Some(most) = &factor.at_most {
            at = self.shared.columns.intern_op(Op::AtMost(at, scaled_constant(most, per)?));
        }
        Ok(at)
    }

    /// Plans rounding up to the next multiple of a grid, in metered units.
    fn plan_next_multiple(&mut self, at: usize, grid: &Exact) -> PlanResult<PlannedValue> {
        let step = scaled_constant(grid, 1)?;
        let steps = GridDivisor::new(step).ok_or(PlanFailure::NotInColumns)?;
        let at = if step == 1 { at } else { self.shared.columns.intern_op(Op::Steps(at, steps)) };
        Ok(PlannedValue::Column { at: self.multiply_column(at, step), per: 1 })
    }

    /// Plans minimum and grid; returns the column of whole steps and the size of one step in
    /// metered units.
    fn plan_grid(
        &mut self,
        factor: &Factor,
        mut at: usize,
        per: u64,
    ) -> PlanResult<(Option<usize>, Exact)> {
        if !factor.minimum.is_zero() {
            at = self
                .shared
                .columns
                .intern_op(Op::AtLeast(at, scaled_constant(&factor.minimum, per)?));
        }
        if factor.grid.is_zero() {
            return Ok((Some(at), Exact::from(per).reciprocal().unwrap_or_default()));
        }
        let grid = GridDivisor::new(scaled_constant(&factor.grid, per)?)
            .ok_or(PlanFailure::NotInColumns)?;
        let at =
            if grid.step() == 1 { at } else { self.shared.columns.intern_op(Op::Steps(at, grid)) };
        Ok((Some(at), factor.grid.clone()))
    }
}

/// Converts a constant of a factor to units of a column with that denominator.
fn scaled_constant(value: &Exact, per: u64) -> PlanResult<u64> {
    (value * &Exact::from(per)).to_u64().ok_or(PlanFailure::NotInColumns)
}

fn value_denominator(value: &PlannedValue) -> PlanResult<u64> {
    match value {
        PlannedValue::Column { per, .. } => Ok(*per),
        PlannedValue::Constant(value) => Ok(fraction_parts(value)?.1),
    }
}

/// Returns numerator and denominator, if they fit integers of 64 bits.
pub(super) fn fraction_parts(value: &Exact) -> PlanResult<(u64, u64)> {
    let (numerator, denominator) = value.as_fraction();
    match (u64::try_from(numerator), u64::try_from(denominator)) {
        (Ok(numerator), Ok(denominator)) => Ok((numerator, denominator)),
        _ => Err(PlanFailure::NotInColumns),
    }
}

fn common_multiple(one: u64, other: u64) -> PlanResult<u64> {
    let multiple = u128::from(one).lcm(&u128::from(other));
    u64::try_from(multiple).map_err(|_| PlanFailure::NotInColumns)
}

impl Factor {
    fn fallback_notes(&self) -> Vec<(StandIn, Arc<str>)> {
        self.fallbacks.iter().map(|it| (it.stand_in.clone(), Arc::clone(&it.note))).collect()
    }
}
