//! Planning of charges as columns: what one model needs of rows that have the same signals
//! measured.

use std::sync::Arc;

use num_integer::Integer;

use super::batch::{Signal, Signals};
use super::grid::Grid;
use super::op::{Columns, Op};
use super::split;
use crate::charge::{Charge, Factor, Measure, Row, StandIn, Times};
use crate::evaluate::{Missing, Refusal, Scene, joined, refusal};
use crate::model::PriceModel;
use crate::number::Exact;
use crate::schema::Basis;
use crate::terms::Terms;
use cyclometer_core::meter::Usage;

/// Reason why a model cannot be computed in columns for these rows.
pub(super) enum Stop {
    /// The model cannot bill the rows.
    Refused(Missing),
    /// The numbers do not fit integers of 64 bits, so the rows are evaluated one by one.
    Slow,
}

impl From<Missing> for Stop {
    fn from(missing: Missing) -> Self {
        Self::Refused(missing)
    }
}

pub(super) type Planned<T> = Result<T, Stop>;

/// Sum over rows of a product of columns, and the value of one unit of it.
#[derive(Debug, Clone)]
pub(super) struct Term {
    pub sum: usize,
    pub scale: Exact,
}

/// Plan of a charge in columns.
#[derive(Debug, Clone)]
pub(super) struct ChargePlan {
    pub billed: Term,
    pub split: Option<split::SplitPlan>,
    pub note: Option<Arc<str>>,
}

impl ChargePlan {
    /// Returns the indices of the sums that the plan reads.
    pub(super) fn sums(&self) -> Vec<usize> {
        let mut sums = vec![self.billed.sum];
        sums.extend(self.split.iter().flat_map(split::SplitPlan::sums));
        sums
    }
}

/// Plan of a model for rows that have the same signals.
#[derive(Debug, Clone)]
pub(super) enum ModelPlan {
    /// The model is not expressible in integers of 64 bits.
    Slow,
    /// Columns with their limits, beyond which rows are evaluated one by one; and the outcome of
    /// all other rows.
    Columns { limits: Vec<(usize, u64)>, outcome: Result<Vec<ChargePlan>, Refusal> },
}

/// A column and its denominator, in metered units; a constant has no column.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Column { at: usize, per: u64 },
    Constant(Exact),
}

/// Plan of a factor in columns: value = column x scale.
pub(super) struct FactorPlan {
    pub billed: (Option<usize>, Exact),
    pub raw: Value,
    pub note: Option<Arc<str>>,
}

/// Columns and sums that the plans of several models share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub columns: Columns,
    pub sums: Vec<Vec<usize>>,
}

impl Shared {
    pub(super) fn sum(&mut self, mut columns: Vec<usize>) -> usize {
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
    pub present: Signals,
    /// Basis of the rows; charges counted by another basis are 0.
    pub basis: Option<Basis>,
    pub shared: &'a mut Shared,
    pub limits: Vec<(usize, u64)>,
}

impl Planner<'_> {
    pub(super) fn plan(mut self, with_split: bool) -> ModelPlan {
        let (model, terms) = (self.model, self.terms);
        let mut charges = Vec::new();
        for charge in model.counted(terms) {
            match self.charge(charge, with_split) {
                // Planned nevertheless, to find out which rows it refuses.
                Ok(plan) if self.basis.is_some_and(|basis| basis != charge.basis) => {
                    let billed = Term { sum: self.shared.sum(Vec::new()), scale: Exact::default() };
                    let split = with_split.then_some(split::SplitPlan::Fee);
                    charges.push(ChargePlan { billed, split, note: plan.note });
                }
                Ok(plan) => charges.push(plan),
                Err(Stop::Slow) => return ModelPlan::Slow,
                Err(Stop::Refused(missing)) => {
                    let outcome = Err(refusal(charge, missing));
                    return ModelPlan::Columns { limits: self.limits, outcome };
                }
            }
        }
        ModelPlan::Columns { limits: self.limits, outcome: Ok(charges) }
    }

    fn charge(&mut self, charge: &Charge, with_split: bool) -> Planned<ChargePlan> {
        let mut columns = Vec::new();
        let mut scale = Exact::from(1);
        let mut notes = Vec::new();
        let mut factors = Vec::new();
        for factor in &charge.factors {
            let plan = self.factor(factor)?;
            let (column, by) = &plan.billed;
            columns.extend(*column);
            scale = (&scale * by).over(&factor.size).unwrap_or_default();
            notes.extend(plan.note.clone());
            factors.push((factor, plan));
        }
        let billed = Term { sum: self.shared.sum(columns), scale };
        let split = if with_split { Some(self.split(&factors)?) } else { None };
        Ok(ChargePlan { billed, split, note: joined(&notes) })
    }

    fn factor(&mut self, factor: &Factor) -> Planned<FactorPlan> {
        if factor.each {
            return self.each_phase(factor);
        }
        if !factor.inner_grids.is_empty() && !factor.measure.is_constant() {
            return self.largest(factor);
        }
        let (measured, note) = match self.value(&factor.measure, &factor.fallbacks_note()) {
            Ok(found) => found,
            Err(stop) => return Err(self.named(stop, factor)),
        };
        let Value::Column { at, per } = self.times(measured, &factor.times)? else {
            // The value is the same for every row, so the definition computes it.
            let usage = Usage::new(false);
            let scene = Scene { model: self.model, usage: &usage, terms: self.terms };
            let reading = scene.factor(factor, None)?;
            let billed = (None, reading.billed);
            return Ok(FactorPlan {
                billed,
                raw: Value::Constant(reading.raw),
                note: reading.note,
            });
        };
        let at = self.shape(factor, at, per)?;
        let billed = self.on_grid(factor, at, per)?;
        Ok(FactorPlan { billed, raw: Value::Column { at, per }, note })
    }

    /// Plans the largest of alternatives that have their own grids: billed with them, raw
    /// without.
    fn largest(&mut self, factor: &Factor) -> Planned<FactorPlan> {
        let Measure::MaxOf(several) = &factor.measure else { return Err(Stop::Slow) };
        let mut plans = Vec::new();
        for grids in [factor.inner_grids.as_slice(), &[]] {
            let value = self.max_of(several, grids)?;
            let Value::Column { at, per } = self.times(value, &factor.times)? else {
                return Err(Stop::Slow);
            };
            plans.push((self.shape(factor, at, per)?, per));
        }
        let [(billed, billed_per), (raw, raw_per)] = plans[..] else { return Err(Stop::Slow) };
        Ok(FactorPlan {
            billed: self.on_grid(factor, billed, billed_per)?,
            raw: Value::Column { at: raw, per: raw_per },
            note: None,
        })
    }

    /// Adds the stand-ins that were not measured either to a refusal.
    fn named(&self, stop: Stop, factor: &Factor) -> Stop {
        match stop {
            Stop::Refused(Missing::Meter { .. }) if !factor.fallbacks.is_empty() => {
                let usage = Usage::new(false);
                let scene = Scene { model: self.model, usage: &usage, terms: self.terms };
                match scene.factor(factor, None) {
                    Err(missing) => Stop::Refused(missing),
                    Ok(_) => stop,
                }
            }
            other => other,
        }
    }

    fn each_phase(&mut self, factor: &Factor) -> Planned<FactorPlan> {
        let Measure::Phases(phases) = &factor.measure else { return Err(Stop::Slow) };
        let (mut billed, mut raw): (Option<usize>, Option<usize>) = (None, None);
        let mut step = Exact::from(1);
        for phase in phases.iter() {
            let signal = Signal::Phase(*phase);
            if !self.present.has(signal) {
                continue;
            }
            let read = self.shared.columns.add(Op::Read(signal));
            let (own, scale) = self.on_grid(factor, read, 1)?;
            step = scale;
            billed = self.plus(billed, own);
            raw = self.plus(raw, Some(read));
        }
        let at = raw.ok_or_else(|| Missing::Phases(Arc::clone(phases)))?;
        Ok(FactorPlan { billed: (billed, step), raw: Value::Column { at, per: 1 }, note: None })
    }

    fn plus(&mut self, sum: Option<usize>, more: Option<usize>) -> Option<usize> {
        match (sum, more) {
            (Some(sum), Some(more)) => Some(self.shared.columns.add(Op::Add(sum, more))),
            (sum, more) => sum.or(more),
        }
    }

    fn value(
        &mut self,
        measure: &Measure,
        fallbacks: &[(StandIn, Arc<str>)],
    ) -> Planned<(Value, Option<Arc<str>>)> {
        let missing = match self.read(measure) {
            Ok(value) => return Ok((value, None)),
            Err(Stop::Refused(missing @ Missing::Meter { .. })) => missing,
            Err(stop) => return Err(stop),
        };
        for (stand_in, note) in fallbacks {
            let value = match stand_in {
                StandIn::Value(value) => Value::Constant(value.clone()),
                StandIn::Meter(meter) if self.present.has(Signal::Meter(*meter)) => {
                    self.meter(measure, Signal::Meter(*meter))?
                }
                StandIn::Meter(_) => continue,
            };
            return Ok((value, Some(Arc::clone(note))));
        }
        Err(missing.into())
    }

    /// Plans a meter that stands in for another, through the lookup table if there is one.
    fn meter(&mut self, measure: &Measure, signal: Signal) -> Planned<Value> {
        let at = self.shared.columns.add(Op::Read(signal));
        match measure {
            Measure::Lookup { rows, .. } => self.lookup(at, rows),
            _ => Ok(Value::Column { at, per: 1 }),
        }
    }

    fn read(&mut self, measure: &Measure) -> Planned<Value> {
        if measure.is_constant() {
            let usage = Usage::new(false);
            let scene = Scene { model: self.model, usage: &usage, terms: self.terms };
            return Ok(Value::Constant(scene.value(measure)?));
        }
        match measure {
            Measure::Meter(meter) if self.present.has(Signal::Meter(*meter)) => {
                let at = self.shared.columns.add(Op::Read(Signal::Meter(*meter)));
                Ok(Value::Column { at, per: 1 })
            }
            Measure::Meter(meter) => {
                Err(Missing::Meter { meter: *meter, fallbacks: Vec::new() }.into())
            }
            Measure::Phases(phases) => {
                let mut sum = None;
                for phase in phases.iter().filter(|it| self.present.has(Signal::Phase(**it))) {
                    let read = self.shared.columns.add(Op::Read(Signal::Phase(*phase)));
                    sum = match sum {
                        Some(sum) => Some(self.shared.columns.add(Op::Add(sum, read))),
                        None => Some(read),
                    };
                }
                let at = sum.ok_or_else(|| Missing::Phases(Arc::clone(phases)))?;
                Ok(Value::Column { at, per: 1 })
            }
            Measure::Lookup { of, rows } => match self.read(of)? {
                Value::Column { at, per: 1 } => self.lookup(at, rows),
                _ => Err(Stop::Slow),
            },
            Measure::MaxOf(several) => self.max_of(several, &[]),
            Measure::Requests | Measure::Input(_) | Measure::Period | Measure::Month => {
                Err(Stop::Slow)
            }
        }
    }

    /// Plans the largest of alternatives, each rounded up to its own grid of `grids`, if any.
    fn max_of(&mut self, several: &[(Measure, Times)], grids: &[Exact]) -> Planned<Value> {
        let mut values = Vec::new();
        let mut common = 1_u64;
        for (index, (measure, times)) in several.iter().enumerate() {
            let grid = grids.get(index).cloned().unwrap_or_default();
            let value = match self.read(measure)? {
                Value::Constant(value) => Value::Constant(value.up_to_multiple(&grid)),
                Value::Column { at, per: 1 } if !grid.is_zero() => self.stepped(at, &grid)?,
                Value::Column { .. } if !grid.is_zero() => return Err(Stop::Slow),
                column @ Value::Column { .. } => column,
            };
            let value = self.times(value, times)?;
            common = common_multiple(common, denominator(&value)?)?;
            values.push(value);
        }
        let mut largest = None;
        for value in values {
            let at = self.over(&value, common)?;
            largest = match largest {
                Some(largest) => Some(self.shared.columns.add(Op::Max(largest, at))),
                None => Some(at),
            };
        }
        largest.map(|at| Value::Column { at, per: common }).ok_or(Stop::Slow)
    }

    /// Returns the column of `value` x `per`.
    pub(super) fn over(&mut self, value: &Value, per: u64) -> Planned<usize> {
        match value {
            Value::Column { at, per: own } => Ok(self.by(*at, per / own)),
            Value::Constant(value) => {
                let whole = (value * &Exact::from(per)).to_u64().ok_or(Stop::Slow)?;
                Ok(self.shared.columns.add(Op::Const(whole)))
            }
        }
    }

    pub(super) fn by(&mut self, at: usize, by: u64) -> usize {
        if by == 1 { at } else { self.shared.columns.add(Op::Times(at, by)) }
    }

    fn lookup(&mut self, key: usize, rows: &[Row]) -> Planned<Value> {
        let mut per = 1;
        for row in rows {
            per = common_multiple(per, denominator(&Value::Constant(row.value.clone()))?)?;
        }
        let ends: Option<Vec<u64>> = rows.iter().map(|row| row.up_to.to_u64()).collect();
        let scaled = |row: &Row| (&row.value * &Exact::from(per)).to_u64();
        let values: Option<Vec<u64>> = rows.iter().map(scaled).collect();
        let (ends, values) = ends.zip(values).ok_or(Stop::Slow)?;
        if let Some(end) = ends.last() {
            self.limits.push((key, *end));
        }
        // Tables with the same ends but different values share the search.
        let rank = self.shared.columns.add(Op::Rank(key, ends.into()));
        let at = self.shared.columns.add(Op::Pick(rank, values.into()));
        Ok(Value::Column { at, per })
    }

    fn times(&mut self, value: Value, times: &Times) -> Planned<Value> {
        let usage = Usage::new(false);
        let scene = Scene { model: self.model, usage: &usage, terms: self.terms };
        if matches!(times, Times::Once) {
            return Ok(value);
        }
        let by = scene.multiplier(times)?;
        match value {
            Value::Constant(value) => Ok(Value::Constant(&value * &by)),
            Value::Column { at, per } => {
                let (numerator, denominator) = parts(&by)?;
                let at = self.by(at, numerator);
                Ok(Value::Column { at, per: per.checked_mul(denominator).ok_or(Stop::Slow)? })
            }
        }
    }

    /// Plans `above`, `at_most` and the limit, on a column with a denominator.
    fn shape(&mut self, factor: &Factor, mut at: usize, per: u64) -> Planned<usize> {
        if let Some(limit) = &factor.limit {
            self.limits.push((at, constant(limit, per)?));
        }
        if let Some(floor) = &factor.above {
            at = self.shared.columns.add(Op::Above(at, constant(floor, per)?));
        }
        if let Some(most) = &factor.at_most {
            at = self.shared.columns.add(Op::AtMost(at, constant(most, per)?));
        }
        Ok(at)
    }

    /// Plans rounding up to the next multiple of a grid, in metered units.
    fn stepped(&mut self, at: usize, grid: &Exact) -> Planned<Value> {
        let step = constant(grid, 1)?;
        let steps = Grid::new(step).ok_or(Stop::Slow)?;
        let at = if step == 1 { at } else { self.shared.columns.add(Op::Steps(at, steps)) };
        Ok(Value::Column { at: self.by(at, step), per: 1 })
    }

    /// Plans minimum and grid; returns the column of whole steps and the size of one step in
    /// metered units.
    fn on_grid(
        &mut self,
        factor: &Factor,
        mut at: usize,
        per: u64,
    ) -> Planned<(Option<usize>, Exact)> {
        if !factor.minimum.is_zero() {
            at = self.shared.columns.add(Op::AtLeast(at, constant(&factor.minimum, per)?));
        }
        if factor.grid.is_zero() {
            return Ok((Some(at), Exact::from(per).reciprocal().unwrap_or_default()));
        }
        let grid = Grid::new(constant(&factor.grid, per)?).ok_or(Stop::Slow)?;
        let at = if grid.step() == 1 { at } else { self.shared.columns.add(Op::Steps(at, grid)) };
        Ok((Some(at), factor.grid.clone()))
    }
}

/// Converts a constant of a factor to units of a column with that denominator.
fn constant(value: &Exact, per: u64) -> Planned<u64> {
    (value * &Exact::from(per)).to_u64().ok_or(Stop::Slow)
}

fn denominator(value: &Value) -> Planned<u64> {
    match value {
        Value::Column { per, .. } => Ok(*per),
        Value::Constant(value) => Ok(parts(value)?.1),
    }
}

/// Returns numerator and denominator, if they fit integers of 64 bits.
pub(super) fn parts(value: &Exact) -> Planned<(u64, u64)> {
    let (numerator, denominator) = value.parts();
    match (u64::try_from(numerator), u64::try_from(denominator)) {
        (Ok(numerator), Ok(denominator)) => Ok((numerator, denominator)),
        _ => Err(Stop::Slow),
    }
}

fn common_multiple(one: u64, other: u64) -> Planned<u64> {
    let multiple = u128::from(one).lcm(&u128::from(other));
    u64::try_from(multiple).map_err(|_| Stop::Slow)
}

impl Factor {
    fn fallbacks_note(&self) -> Vec<(StandIn, Arc<str>)> {
        self.fallbacks.iter().map(|it| (it.stand_in.clone(), Arc::clone(&it.note))).collect()
    }
}
