//! One usage through one charge, exactly and step by step: the definition that
//! the [compiled](super::compile) form is held against.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::charge::{Charge, Factor, Measure, Row, StandIn, Times};
use super::model::PriceModel;
use super::money::Money;
use super::number::Exact;
use super::terms::Terms;
use super::unit::{Dimension, Phase, one_of};
use cyclometer_core::meter::{Meter, Usage};

/// What one charge comes to for one invocation, at the list price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineItem {
    /// The charge that was applied.
    pub charge: Arc<Charge>,
    /// How much was billed, in [`Charge::unit`], after grids and minimums.
    pub quantity: Exact,
    /// quantity x rate, exact.
    pub amount: Money,
    /// What a reader must know, such as a meter that stood in for another.
    pub note: Option<Arc<str>>,
}

/// A price model applied to one usage, itemised, at list prices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// One line for each charge that is counted by requests or instances.
    pub lines: Vec<LineItem>,
    /// The exact sum of the lines.
    pub total: Money,
}

/// Why a usage cannot be billed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
#[error("{missing} (needed by the charge `{charge}`)")]
pub struct Refusal {
    /// The charge that needs it.
    pub charge: Arc<str>,
    /// What is missing.
    pub missing: Missing,
}

/// What a usage lacks, or has too much of.
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
    /// An input that nobody gave.
    Input(Arc<str>),
    /// More of a meter than the provider offers: the limit, for people.
    Limit {
        /// What there is too much of.
        of: Arc<str>,
        /// The most that is offered.
        most: Arc<str>,
    },
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
            Self::Input(name) => {
                write!(f, "`{name}` is not known: no meter has it, give it with --set {name}=...")
            }
            Self::Limit { of, most } => write!(f, "`{of}` is above {most}, the most on offer"),
        }
    }
}

/// What happened to a value on its way to the bill, for people to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it is or what was done: `start + run`, `up to the next 1 ms`.
    pub what: String,
    /// Whether it was read, rather than made of the step before.
    pub read: bool,
    /// The value after it, in the metered unit.
    pub value: Exact,
    /// What kind of value it is.
    pub dimension: Dimension,
    /// The unit of a plain number that is not in the factor's unit yet.
    pub unit: Option<Arc<str>>,
}

/// A factor's value and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactorTrace {
    /// The steps, measured value first.
    pub steps: Vec<Step>,
    /// The billed value, in [`FactorTrace::unit`].
    pub billed: Exact,
    /// The factor's unit.
    pub unit: Arc<str>,
    /// What stood in for what is missing.
    pub note: Option<Arc<str>>,
}

/// What is looked at: a usage under terms.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub model: &'a PriceModel,
    pub usage: &'a Usage,
    pub terms: &'a Terms,
}

/// A factor's value, in the metered unit.
pub(super) struct Reading {
    /// After grids and minimums.
    pub billed: Exact,
    /// Before them.
    pub raw: Exact,
    pub note: Option<Arc<str>>,
}

type Trace<'a> = Option<&'a mut Vec<Step>>;

fn tell(trace: &mut Trace<'_>, value: &Exact, dimension: Dimension, what: impl FnOnce() -> String) {
    if let Some(steps) = trace {
        steps.push(Step { what: what(), read: false, value: value.clone(), dimension, unit: None });
    }
}

/// The same of a value that was read.
fn tell_read(
    trace: &mut Trace<'_>,
    value: &Exact,
    dimension: Dimension,
    what: impl FnOnce() -> String,
) {
    tell(trace, value, dimension, what);
    if let Some(step) = trace.as_mut().and_then(|steps| steps.last_mut()) {
        step.read = true;
    }
}

impl Scene<'_> {
    /// Whether the charge applies under these terms: its switch says so, and no
    /// input makes it nothing for every invocation.
    pub(super) fn applies(&self, charge: &Charge) -> bool {
        let nothing = |factor: &Factor| {
            let constant = factor.measure.is_constant();
            constant && self.factor(factor, None).is_ok_and(|reading| reading.billed.is_zero())
        };
        charge.condition.is_none_or(|(switch, on)| self.terms.is_on(switch) == on)
            && !charge.factors.iter().any(nothing)
    }

    /// The billed quantity of a charge, in its unit.
    pub(super) fn quantity(&self, charge: &Charge) -> Result<(Exact, Option<Arc<str>>), Refusal> {
        let mut quantity = Exact::from(1);
        let mut notes: Vec<Arc<str>> = Vec::new();
        if !self.applies(charge) {
            return Ok((Exact::default(), None));
        }
        for factor in &charge.factors {
            let reading = self.factor(factor, None).map_err(|missing| refusal(charge, missing))?;
            quantity = &quantity * &reading.billed.over(&factor.size).unwrap_or_default();
            notes.extend(reading.note);
        }
        Ok((quantity, joined(&notes)))
    }

    /// The same with every step.
    pub(super) fn traced(&self, charge: &Charge) -> Result<Vec<FactorTrace>, Refusal> {
        let trace = |factor: &Factor| {
            let mut steps = Vec::new();
            let reading = self.factor(factor, Some(&mut steps))?;
            let billed = reading.billed.over(&factor.size).unwrap_or_default();
            let unit = Arc::clone(factor.billed_unit());
            Ok(FactorTrace { steps, billed, unit, note: reading.note })
        };
        let traces = charge.factors.iter().map(trace).collect::<Result<_, _>>();
        traces.map_err(|missing| refusal(charge, missing))
    }

    pub(super) fn factor(&self, factor: &Factor, mut trace: Trace<'_>) -> Result<Reading, Missing> {
        if factor.each {
            return self.each_phase(factor, trace);
        }
        if !factor.inner_grids.is_empty() {
            return self.largest(factor, trace);
        }
        let (measured, note) = self.measured(factor, &mut trace)?;
        let value = self.product(factor, &measured, &mut trace)?;
        let raw = shape(factor, value, &mut trace).ok_or_else(|| limit_of(factor))?;
        let billed = on_grid(factor, &raw, &mut trace);
        Ok(Reading { billed, raw, note })
    }

    /// The largest of several alternatives with grids of their own; raw without
    /// those.
    fn largest(&self, factor: &Factor, mut trace: Trace<'_>) -> Result<Reading, Missing> {
        let Measure::MaxOf(several) = &factor.measure else {
            return Err(Missing::Phases(Arc::new([])));
        };
        let mut largest = Exact::default();
        for ((measure, times), grid) in several.iter().zip(&factor.inner_grids) {
            let value = self.read(measure, &mut trace)?;
            let stepped = value.up_to_multiple(grid);
            let dimension = self.dimension(measure);
            if stepped != value {
                tell(&mut trace, &stepped, dimension, || {
                    format!("up to the next {}", dimension.shown(grid))
                });
            }
            largest = largest.max(self.times(&stepped, times, dimension, &mut trace)?);
        }
        tell(&mut trace, &largest, factor.dimension, || self.name(&factor.measure));
        let value = self.product(factor, &largest, &mut trace)?;
        let beyond = || limit_of(factor);
        let stepped = shape(factor, value, &mut trace).ok_or_else(beyond)?;
        let billed = on_grid(factor, &stepped, &mut trace);
        let raw = self.product(factor, &self.value(&factor.measure)?, &mut None)?;
        let raw = shape(factor, raw, &mut None).ok_or_else(beyond)?;
        Ok(Reading { billed, raw, note: None })
    }

    /// A factor's value x its multiplier, told in the unit that it is then in.
    fn product(
        &self,
        factor: &Factor,
        value: &Exact,
        trace: &mut Trace<'_>,
    ) -> Result<Exact, Missing> {
        if factor.product_unit.is_none() {
            return self.times(value, &factor.times, factor.dimension, trace);
        }
        // What is multiplied is told in the unit that the multiplier is for.
        let own = Some(Arc::clone(&factor.unit));
        let in_unit = value.over(&factor.size).unwrap_or_default();
        tell(trace, &in_unit, Dimension::Number, || format!("in {}", factor.unit));
        if let Some(steps) = trace {
            let plain = steps.iter_mut().filter(|step| step.dimension == Dimension::Number);
            plain.for_each(|step| step.unit.clone_from(&own));
        }
        let product = self.times(value, &factor.times, factor.dimension, trace)?;
        if let Some(step) = trace.as_mut().and_then(|steps| steps.last_mut()) {
            (step.value, step.dimension) = factor.told(&product);
        }
        Ok(product)
    }

    /// Each phase on the grid by itself, then the sum.
    fn each_phase(&self, factor: &Factor, mut trace: Trace<'_>) -> Result<Reading, Missing> {
        let Measure::Phases(phases) = &factor.measure else {
            return Err(Missing::Phases(Arc::new([])));
        };
        let mut reading = Reading { billed: Exact::default(), raw: Exact::default(), note: None };
        let mut any = false;
        for phase in phases.iter() {
            let Some(span) = phase.of(&self.usage.phases) else { continue };
            any = true;
            let value = Exact::from(span.0);
            tell_read(&mut trace, &value, Dimension::Time, || phase.to_string());
            reading.billed += &on_grid(factor, &value, &mut trace);
            reading.raw += &value;
        }
        if !any {
            return Err(Missing::Phases(Arc::clone(phases)));
        }
        tell(&mut trace, &reading.billed, Dimension::Time, || "sum".to_owned());
        Ok(reading)
    }

    /// The value of the measure, or of what stands in for it.
    fn measured(
        &self,
        factor: &Factor,
        trace: &mut Trace<'_>,
    ) -> Result<(Exact, Option<Arc<str>>), Missing> {
        let missing = match self.read(&factor.measure, trace) {
            Ok(value) => return Ok((value, None)),
            Err(missing @ Missing::Limit { .. }) => return Err(missing),
            Err(missing) => missing,
        };
        for fallback in &factor.fallbacks {
            let (value, what) = match &fallback.stand_in {
                StandIn::Meter(meter) => (self.usage.get(*meter).map(Exact::from), meter.name()),
                StandIn::Value(value) => (Some(value.clone()), "assumed"),
            };
            let Some(value) = value else { continue };
            let value = match &factor.measure {
                Measure::Lookup { of, rows } => row_for(rows, &value, what, self.dimension(of))?,
                _ => value,
            };
            tell_read(trace, &value, factor.dimension, || what.to_owned());
            return Ok((value, Some(Arc::clone(&fallback.note))));
        }
        Err(with_fallbacks(missing, factor))
    }

    fn read(&self, measure: &Measure, trace: &mut Trace<'_>) -> Result<Exact, Missing> {
        let value = match measure {
            Measure::Requests | Measure::Month => Exact::from(1),
            Measure::Meter(meter) => {
                let missing = || Missing::Meter { meter: *meter, fallbacks: Vec::new() };
                Exact::from(self.usage.get(*meter).ok_or_else(missing)?)
            }
            Measure::Phases(phases) => self.phases(phases)?,
            Measure::Input(input) => {
                let name = &self.model.inputs()[*input].name;
                let value = self.terms.input(*input);
                value.cloned().ok_or_else(|| Missing::Input(Arc::clone(name)))?
            }
            Measure::Period => self.terms.period.clone(),
            Measure::Lookup { of, rows } => {
                let key = self.read(of, trace)?;
                row_for(rows, &key, &self.name(of), self.dimension(of))?
            }
            Measure::MaxOf(several) => {
                let mut largest = Exact::default();
                for (measure, times) in several {
                    let value = self.read(measure, trace)?;
                    let value = self.times(&value, times, self.dimension(measure), trace)?;
                    largest = largest.max(value);
                }
                largest
            }
        };
        match measure {
            Measure::Lookup { .. } | Measure::MaxOf(_) => {
                tell(trace, &value, self.dimension(measure), || self.name(measure));
            }
            _ => tell_read(trace, &value, self.dimension(measure), || self.name(measure)),
        }
        Ok(value)
    }

    /// Adds before any rounding. A phase that is `None` does not exist in that
    /// lane and adds nothing; if none exists, there is nothing to bill by.
    fn phases(&self, phases: &Arc<[Phase]>) -> Result<Exact, Missing> {
        let spans = phases.iter().filter_map(|phase| phase.of(&self.usage.phases));
        let sum = spans.map(|span| u128::from(span.0)).reduce(|sum, span| sum + span);
        sum.map(Exact::whole).ok_or_else(|| Missing::Phases(Arc::clone(phases)))
    }

    fn times(
        &self,
        value: &Exact,
        times: &Times,
        dimension: Dimension,
        trace: &mut Trace<'_>,
    ) -> Result<Exact, Missing> {
        if matches!(times, Times::Once) {
            return Ok(value.clone());
        }
        let by = self.multiplier(times)?;
        let product = value * &by;
        let by_text = || by.fraction().unwrap_or_else(|| by.to_plain_string());
        tell(trace, &product, dimension, || format!("x {}", by_text()));
        Ok(product)
    }

    pub(super) fn multiplier(&self, times: &Times) -> Result<Exact, Missing> {
        match times {
            Times::Once => Ok(Exact::from(1)),
            Times::By(by) => Ok(by.clone()),
            Times::Input(input) => {
                let name = &self.model.inputs()[*input].name;
                let value = self.terms.input(*input).cloned();
                value.ok_or_else(|| Missing::Input(Arc::clone(name)))
            }
        }
    }

    /// The value of a measure, in the metered unit.
    pub(super) fn value(&self, measure: &Measure) -> Result<Exact, Missing> {
        self.read(measure, &mut None)
    }

    fn dimension(&self, measure: &Measure) -> Dimension {
        match measure {
            Measure::Meter(meter) => Dimension::of(*meter),
            Measure::Input(input) => self.model.inputs()[*input].dimension(),
            Measure::Phases(_) | Measure::Period => Dimension::Time,
            Measure::Requests => Dimension::Requests,
            Measure::Lookup { .. } | Measure::Month => Dimension::Number,
            Measure::MaxOf(several) => {
                several.first().map_or(Dimension::Number, |(measure, _)| self.dimension(measure))
            }
        }
    }

    /// What people call a measure.
    fn name(&self, measure: &Measure) -> String {
        match measure {
            Measure::Requests => "requests".to_owned(),
            Measure::Meter(meter) => meter.name().to_owned(),
            Measure::Phases(phases) => {
                let there = phases.iter().filter(|phase| phase.of(&self.usage.phases).is_some());
                there.map(|phase| phase.name()).collect::<Vec<_>>().join(" + ")
            }
            Measure::Input(input) => self.model.inputs()[*input].name.to_string(),
            Measure::Period | Measure::Month => "billing period".to_owned(),
            Measure::Lookup { of, .. } => format!("by {}", self.name(of)),
            Measure::MaxOf(_) => "the largest".to_owned(),
        }
    }
}

pub(super) fn refusal(charge: &Charge, missing: Missing) -> Refusal {
    Refusal { charge: Arc::clone(&charge.name), missing }
}

fn with_fallbacks(missing: Missing, factor: &Factor) -> Missing {
    match missing {
        Missing::Meter { meter, .. } => {
            let meters = factor.fallbacks.iter().filter_map(|it| match &it.stand_in {
                StandIn::Meter(meter) => Some(*meter),
                StandIn::Value(_) => None,
            });
            Missing::Meter { meter, fallbacks: meters.collect() }
        }
        other => other,
    }
}

/// The value of the first row that reaches up to `key`.
fn row_for(rows: &[Row], key: &Exact, of: &str, dimension: Dimension) -> Result<Exact, Missing> {
    // They ascend.
    let found = rows.get(rows.partition_point(|row| row.up_to < *key));
    found.map(|row| row.value.clone()).ok_or_else(|| Missing::Limit {
        of: of.into(),
        most: rows.last().map_or_else(String::new, |row| dimension.shown(&row.up_to)).into(),
    })
}

pub(super) fn limit_of(factor: &Factor) -> Missing {
    let of = match &factor.measure {
        Measure::Meter(meter) => meter.name(),
        Measure::Phases(_) | Measure::Period => "time",
        Measure::MaxOf(_) if factor.dimension == Dimension::Time => "time",
        _ => "value",
    };
    let most = factor.limit.as_ref().map(|most| factor.shown(most));
    Missing::Limit { of: of.into(), most: most.unwrap_or_default().into() }
}

impl Factor {
    /// A value after `times`, as a step shows it: where `as` names its unit, it
    /// is a plain number of that.
    fn told(&self, value: &Exact) -> (Exact, Dimension) {
        match self.product_unit {
            Some(_) => (value.over(&self.size).unwrap_or_default(), Dimension::Number),
            None => (value.clone(), self.dimension),
        }
    }

    /// A limit, minimum or grid, for people.
    fn shown(&self, limit: &Exact) -> String {
        let (value, dimension) = self.told(limit);
        match &self.product_unit {
            Some(unit) => format!("{value} {unit}"),
            None => dimension.shown(&value),
        }
    }

    fn tell(&self, trace: &mut Trace<'_>, value: &Exact, what: impl FnOnce() -> String) {
        let (value, dimension) = self.told(value);
        tell(trace, &value, dimension, what);
    }
}

/// `above` and `at_most`; `None` beyond the limit.
fn shape(factor: &Factor, mut value: Exact, trace: &mut Trace<'_>) -> Option<Exact> {
    if factor.limit.as_ref().is_some_and(|limit| value > *limit) {
        return None;
    }
    if let Some(floor) = &factor.above {
        value = value.above(floor);
        factor.tell(trace, &value, || format!("above {}", factor.shown(floor)));
    }
    if let Some(most) = factor.at_most.as_ref().filter(|most| value > **most) {
        value = most.clone();
        factor.tell(trace, &value, || format!("at most {}", factor.shown(most)));
    }
    Some(value)
}

/// At least the minimum, then up to the next step of the grid.
fn on_grid(factor: &Factor, value: &Exact, trace: &mut Trace<'_>) -> Exact {
    let mut billed = value.clone();
    if billed < factor.minimum {
        billed = factor.minimum.clone();
        factor.tell(trace, &billed, || format!("at least {}", factor.shown(&factor.minimum)));
    }
    let stepped = billed.up_to_multiple(&factor.grid);
    if stepped != billed {
        factor.tell(trace, &stepped, || format!("up to the next {}", factor.shown(&factor.grid)));
    }
    stepped
}

pub(super) fn joined(notes: &[Arc<str>]) -> Option<Arc<str>> {
    match notes {
        [] => None,
        [note] => Some(Arc::clone(note)),
        several => Some(several.join("; ").into()),
    }
}

/// One line for each charge that invocations are counted by, and their sum.
pub(super) fn bill(model: &PriceModel, usage: &Usage, terms: &Terms) -> Result<Bill, Refusal> {
    let scene = Scene { model, usage, terms };
    let mut lines = Vec::new();
    for charge in model.counted(terms) {
        let (quantity, note) = scene.quantity(charge)?;
        let amount = Money::new(&quantity * &charge.rate);
        lines.push(LineItem { charge: Arc::clone(charge), quantity, amount, note });
    }
    let total = lines.iter().map(|line| &line.amount).sum();
    Ok(Bill { lines, total })
}
