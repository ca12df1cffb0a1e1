//! Step-by-step evaluation of one usage under one charge, exactly: the definition against which
//! the [compiled](super::compile) form is tested.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::charge::{Charge, Factor, LookupRow, Measure, Multiplier, StandIn};
use super::model::PriceModel;
use super::money::Money;
use super::number::Exact;
use super::terms::Terms;
use super::unit::{Dimension, Phase, one_of};
use cyclometer_core::meter::{Meter, Usage};

/// Cost of one charge for one invocation, at the list price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineItem {
    /// Charge that was applied.
    pub charge: Arc<Charge>,
    /// Billed quantity in [`Charge::unit`], after grids and minimums.
    pub quantity: Exact,
    /// Exact amount: quantity x rate.
    pub amount: Money,
    /// Note for the reader, such as that a meter stood in for another.
    pub note: Option<Arc<str>>,
}

/// A price model applied to one usage, itemised, at list prices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// One line for each charge that is counted by requests or instances.
    pub lines: Vec<LineItem>,
    /// Exact sum of the lines.
    pub total: Money,
}

/// Reason why a usage cannot be billed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
#[error("{missing} (needed by the charge `{charge}`)")]
pub struct Refusal {
    /// Charge that needs the missing value.
    pub charge: Arc<str>,
    /// Value that is missing.
    pub missing: Missing,
}

/// Value that a usage lacks, or that exceeds a limit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Missing {
    /// A meter was not measured, nor any of its substitutes.
    Meter {
        /// Meter that the charge is defined on.
        meter: Meter,
        /// Meters that could have stood in for it.
        fallbacks: Vec<Meter>,
    },
    /// None of these phases was measured, and at least one is needed.
    Phases(Arc<[Phase]>),
    /// An input was not given a value.
    Input(Arc<str>),
    /// More of a meter was used than the provider offers.
    Limit {
        /// Quantity that exceeds the limit.
        of: Arc<str>,
        /// Most that is offered, formatted for display.
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

/// Step of a value on its way to the bill, for display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceStep {
    /// Description of the value or of the operation: `start + run`, `up to the next 1 ms`.
    pub description: String,
    /// Whether the value was measured, rather than derived from the previous step.
    pub is_measured: bool,
    /// Value after the step, in the metered unit.
    pub value: Exact,
    /// Dimension of the value.
    pub dimension: Dimension,
    /// Unit of a plain number that is not yet in the factor's unit.
    pub unit: Option<Arc<str>>,
}

/// A factor's billed value and the steps that led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactorTrace {
    /// Steps, starting with the measured value.
    pub steps: Vec<TraceStep>,
    /// Billed value in [`FactorTrace::unit`].
    pub billed: Exact,
    /// Unit of the factor.
    pub unit: Arc<str>,
    /// Note on the substitute for a missing value.
    pub note: Option<Arc<str>>,
}

/// Evaluation context: a usage of a model under terms.
#[derive(Clone, Copy)]
pub(super) struct EvalContext<'a> {
    pub model: &'a PriceModel,
    pub usage: &'a Usage,
    pub terms: &'a Terms,
}

/// Value of a factor, in the metered unit.
pub(super) struct FactorValue {
    /// Value after grids and minimums.
    pub billed: Exact,
    /// Value before grids and minimums.
    pub raw: Exact,
    pub note: Option<Arc<str>>,
}

type StepRecorder<'a> = Option<&'a mut Vec<TraceStep>>;

fn record_step(
    trace: &mut StepRecorder<'_>,
    value: &Exact,
    dimension: Dimension,
    what: impl FnOnce() -> String,
) {
    if let Some(steps) = trace {
        steps.push(TraceStep {
            description: what(),
            is_measured: false,
            value: value.clone(),
            dimension,
            unit: None,
        });
    }
}

/// Like `record_step`, for a value that was measured.
fn record_measured_step(
    trace: &mut StepRecorder<'_>,
    value: &Exact,
    dimension: Dimension,
    what: impl FnOnce() -> String,
) {
    record_step(trace, value, dimension, what);
    if let Some(step) = trace.as_mut().and_then(|steps| steps.last_mut()) {
        step.is_measured = true;
    }
}

impl EvalContext<'_> {
    /// Returns whether the charge applies under these terms: its switch allows it, and no input
    /// makes the quantity 0 for every invocation.
    pub(super) fn charge_applies(&self, charge: &Charge) -> bool {
        let nothing = |factor: &Factor| {
            let constant = factor.measure.is_constant();
            constant
                && self.evaluate_factor(factor, None).is_ok_and(|reading| reading.billed.is_zero())
        };
        charge.condition.is_none_or(|(switch, on)| self.terms.is_on(switch) == on)
            && !charge.factors.iter().any(nothing)
    }

    /// Returns the billed quantity of a charge in its unit, and a note.
    pub(super) fn billed_quantity(
        &self,
        charge: &Charge,
    ) -> Result<(Exact, Option<Arc<str>>), Refusal> {
        let mut quantity = Exact::from(1);
        let mut notes: Vec<Arc<str>> = Vec::new();
        if !self.charge_applies(charge) {
            return Ok((Exact::default(), None));
        }
        for factor in &charge.factors {
            let reading = self
                .evaluate_factor(factor, None)
                .map_err(|missing| refuse_charge(charge, missing))?;
            quantity = &quantity * &reading.billed.checked_div(&factor.size).unwrap_or_default();
            notes.extend(reading.note);
        }
        Ok((quantity, join_notes(&notes)))
    }

    /// Evaluates every factor of a charge and records each step.
    pub(super) fn trace_factors(&self, charge: &Charge) -> Result<Vec<FactorTrace>, Refusal> {
        let trace = |factor: &Factor| {
            let mut steps = Vec::new();
            let reading = self.evaluate_factor(factor, Some(&mut steps))?;
            let billed = reading.billed.checked_div(&factor.size).unwrap_or_default();
            let unit = Arc::clone(factor.billed_unit());
            Ok(FactorTrace { steps, billed, unit, note: reading.note })
        };
        let traces = charge.factors.iter().map(trace).collect::<Result<_, _>>();
        traces.map_err(|missing| refuse_charge(charge, missing))
    }

    pub(super) fn evaluate_factor(
        &self,
        factor: &Factor,
        mut trace: StepRecorder<'_>,
    ) -> Result<FactorValue, Missing> {
        if factor.each {
            return self.evaluate_each_phase(factor, trace);
        }
        if !factor.inner_grids.is_empty() {
            return self.evaluate_gridded_max_of(factor, trace);
        }
        let (measured, note) = self.measure_or_fallback(factor, &mut trace)?;
        let value = self.evaluate_product(factor, &measured, &mut trace)?;
        let raw = apply_bounds(factor, value, &mut trace).ok_or_else(|| limit_exceeded(factor))?;
        let billed = round_up_to_grid(factor, &raw, &mut trace);
        Ok(FactorValue { billed, raw, note })
    }

    /// Evaluates the largest of several alternatives that have their own grids; the raw value is
    /// computed without those grids.
    fn evaluate_gridded_max_of(
        &self,
        factor: &Factor,
        mut trace: StepRecorder<'_>,
    ) -> Result<FactorValue, Missing> {
        let Measure::MaxOf(several) = &factor.measure else {
            return Err(Missing::Phases(Arc::new([])));
        };
        let mut largest = Exact::default();
        for ((measure, times), grid) in several.iter().zip(&factor.inner_grids) {
            let value = self.evaluate_measure(measure, &mut trace)?;
            let stepped = value.up_to_multiple(grid);
            let dimension = self.measure_dimension(measure);
            if stepped != value {
                record_step(&mut trace, &stepped, dimension, || {
                    format!("up to the next {}", dimension.format_value(grid))
                });
            }
            largest = largest.max(self.apply_multiplier(&stepped, times, dimension, &mut trace)?);
        }
        record_step(&mut trace, &largest, factor.dimension, || self.measure_label(&factor.measure));
        let value = self.evaluate_product(factor, &largest, &mut trace)?;
        let beyond = || limit_exceeded(factor);
        let stepped = apply_bounds(factor, value, &mut trace).ok_or_else(beyond)?;
        let billed = round_up_to_grid(factor, &stepped, &mut trace);
        let raw =
            self.evaluate_product(factor, &self.measure_value(&factor.measure)?, &mut None)?;
        let raw = apply_bounds(factor, raw, &mut None).ok_or_else(beyond)?;
        Ok(FactorValue { billed, raw, note: None })
    }

    /// Multiplies a factor's value by its multiplier, and records it in the unit that results.
    fn evaluate_product(
        &self,
        factor: &Factor,
        value: &Exact,
        trace: &mut StepRecorder<'_>,
    ) -> Result<Exact, Missing> {
        if factor.product_unit.is_none() {
            return self.apply_multiplier(value, &factor.times, factor.dimension, trace);
        }
        // The multiplicand is recorded in the unit that the multiplier is defined for.
        let own = Some(Arc::clone(&factor.unit));
        let in_unit = value.checked_div(&factor.size).unwrap_or_default();
        record_step(trace, &in_unit, Dimension::Number, || format!("in {}", factor.unit));
        if let Some(steps) = trace {
            let plain = steps.iter_mut().filter(|step| step.dimension == Dimension::Number);
            plain.for_each(|step| step.unit.clone_from(&own));
        }
        let product = self.apply_multiplier(value, &factor.times, factor.dimension, trace)?;
        if let Some(step) = trace.as_mut().and_then(|steps| steps.last_mut()) {
            (step.value, step.dimension) = factor.displayed_value(&product);
        }
        Ok(product)
    }

    /// Rounds each phase up to the grid by itself, then adds them up.
    fn evaluate_each_phase(
        &self,
        factor: &Factor,
        mut trace: StepRecorder<'_>,
    ) -> Result<FactorValue, Missing> {
        let Measure::Phases(phases) = &factor.measure else {
            return Err(Missing::Phases(Arc::new([])));
        };
        let mut reading =
            FactorValue { billed: Exact::default(), raw: Exact::default(), note: None };
        let mut any = false;
        for phase in phases.iter() {
            let Some(span) = phase.duration_in(&self.usage.phases) else { continue };
            any = true;
            let value = Exact::from(span.0);
            record_measured_step(&mut trace, &value, Dimension::Time, || phase.to_string());
            reading.billed += &round_up_to_grid(factor, &value, &mut trace);
            reading.raw += &value;
        }
        if !any {
            return Err(Missing::Phases(Arc::clone(phases)));
        }
        record_step(&mut trace, &reading.billed, Dimension::Time, || "sum".to_owned());
        Ok(reading)
    }

    /// Returns the value of the measure, or of its first available substitute with a note.
    fn measure_or_fallback(
        &self,
        factor: &Factor,
        trace: &mut StepRecorder<'_>,
    ) -> Result<(Exact, Option<Arc<str>>), Missing> {
        let missing = match self.evaluate_measure(&factor.measure, trace) {
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
                Measure::Lookup { of, rows } => {
                    find_row(rows, &value, what, self.measure_dimension(of))?
                }
                _ => value,
            };
            record_measured_step(trace, &value, factor.dimension, || what.to_owned());
            return Ok((value, Some(Arc::clone(&fallback.note))));
        }
        Err(with_fallbacks(missing, factor))
    }

    fn evaluate_measure(
        &self,
        measure: &Measure,
        trace: &mut StepRecorder<'_>,
    ) -> Result<Exact, Missing> {
        let value = match measure {
            Measure::Requests | Measure::Month => Exact::from(1),
            Measure::Meter(meter) => {
                let missing = || Missing::Meter { meter: *meter, fallbacks: Vec::new() };
                Exact::from(self.usage.get(*meter).ok_or_else(missing)?)
            }
            Measure::Phases(phases) => self.sum_phases(phases)?,
            Measure::Input(input) => {
                let name = &self.model.inputs()[*input].name;
                let value = self.terms.input_value(*input);
                value.cloned().ok_or_else(|| Missing::Input(Arc::clone(name)))?
            }
            Measure::Period => self.terms.period.clone(),
            Measure::Lookup { of, rows } => {
                let key = self.evaluate_measure(of, trace)?;
                find_row(rows, &key, &self.measure_label(of), self.measure_dimension(of))?
            }
            Measure::MaxOf(several) => {
                let mut largest = Exact::default();
                for (measure, times) in several {
                    let value = self.evaluate_measure(measure, trace)?;
                    let value = self.apply_multiplier(
                        &value,
                        times,
                        self.measure_dimension(measure),
                        trace,
                    )?;
                    largest = largest.max(value);
                }
                largest
            }
        };
        match measure {
            Measure::Lookup { .. } | Measure::MaxOf(_) => {
                record_step(trace, &value, self.measure_dimension(measure), || {
                    self.measure_label(measure)
                });
            }
            _ => record_measured_step(trace, &value, self.measure_dimension(measure), || {
                self.measure_label(measure)
            }),
        }
        Ok(value)
    }

    /// Adds the phases before any rounding. A phase that is `None` does not exist in that lane
    /// and adds nothing; if none exists, there is nothing to bill by.
    fn sum_phases(&self, phases: &Arc<[Phase]>) -> Result<Exact, Missing> {
        let spans = phases.iter().filter_map(|phase| phase.duration_in(&self.usage.phases));
        let sum = spans.map(|span| u128::from(span.0)).reduce(|sum, span| sum + span);
        sum.map(Exact::from_integer).ok_or_else(|| Missing::Phases(Arc::clone(phases)))
    }

    fn apply_multiplier(
        &self,
        value: &Exact,
        times: &Multiplier,
        dimension: Dimension,
        trace: &mut StepRecorder<'_>,
    ) -> Result<Exact, Missing> {
        if matches!(times, Multiplier::Once) {
            return Ok(value.clone());
        }
        let by = self.resolve_multiplier(times)?;
        let product = value * &by;
        let by_text = || by.to_fraction_string().unwrap_or_else(|| by.to_plain_string());
        record_step(trace, &product, dimension, || format!("x {}", by_text()));
        Ok(product)
    }

    pub(super) fn resolve_multiplier(&self, times: &Multiplier) -> Result<Exact, Missing> {
        match times {
            Multiplier::Once => Ok(Exact::from(1)),
            Multiplier::By(by) => Ok(by.clone()),
            Multiplier::Input(input) => {
                let name = &self.model.inputs()[*input].name;
                let value = self.terms.input_value(*input).cloned();
                value.ok_or_else(|| Missing::Input(Arc::clone(name)))
            }
        }
    }

    /// Returns the value of a measure, in the metered unit.
    pub(super) fn measure_value(&self, measure: &Measure) -> Result<Exact, Missing> {
        self.evaluate_measure(measure, &mut None)
    }

    fn measure_dimension(&self, measure: &Measure) -> Dimension {
        match measure {
            Measure::Meter(meter) => Dimension::for_meter(*meter),
            Measure::Input(input) => self.model.inputs()[*input].dimension(),
            Measure::Phases(_) | Measure::Period => Dimension::Time,
            Measure::Requests => Dimension::Requests,
            Measure::Lookup { .. } | Measure::Month => Dimension::Number,
            Measure::MaxOf(several) => several
                .first()
                .map_or(Dimension::Number, |(measure, _)| self.measure_dimension(measure)),
        }
    }

    /// Returns the name of a measure for display.
    fn measure_label(&self, measure: &Measure) -> String {
        match measure {
            Measure::Requests => "requests".to_owned(),
            Measure::Meter(meter) => meter.name().to_owned(),
            Measure::Phases(phases) => {
                let there =
                    phases.iter().filter(|phase| phase.duration_in(&self.usage.phases).is_some());
                there.map(|phase| phase.name()).collect::<Vec<_>>().join(" + ")
            }
            Measure::Input(input) => self.model.inputs()[*input].name.to_string(),
            Measure::Period | Measure::Month => "billing period".to_owned(),
            Measure::Lookup { of, .. } => format!("by {}", self.measure_label(of)),
            Measure::MaxOf(_) => "the largest".to_owned(),
        }
    }
}

pub(super) fn refuse_charge(charge: &Charge, missing: Missing) -> Refusal {
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

/// Returns the value of the first row whose end reaches `key`.
fn find_row(
    rows: &[LookupRow],
    key: &Exact,
    of: &str,
    dimension: Dimension,
) -> Result<Exact, Missing> {
    // The rows are in ascending order.
    let found = rows.get(rows.partition_point(|row| row.up_to < *key));
    found.map(|row| row.value.clone()).ok_or_else(|| Missing::Limit {
        of: of.into(),
        most: rows.last().map_or_else(String::new, |row| dimension.format_value(&row.up_to)).into(),
    })
}

pub(super) fn limit_exceeded(factor: &Factor) -> Missing {
    let of = match &factor.measure {
        Measure::Meter(meter) => meter.name(),
        Measure::Phases(_) | Measure::Period => "time",
        Measure::MaxOf(_) if factor.dimension == Dimension::Time => "time",
        _ => "value",
    };
    let most = factor.limit.as_ref().map(|most| factor.format_limit(most));
    Missing::Limit { of: of.into(), most: most.unwrap_or_default().into() }
}

impl Factor {
    /// Converts a value after `times` to what a step shows: where `as` names its unit, a plain
    /// number of that unit.
    fn displayed_value(&self, value: &Exact) -> (Exact, Dimension) {
        match self.product_unit {
            Some(_) => (value.checked_div(&self.size).unwrap_or_default(), Dimension::Number),
            None => (value.clone(), self.dimension),
        }
    }

    /// Formats a limit, minimum or grid for display.
    fn format_limit(&self, limit: &Exact) -> String {
        let (value, dimension) = self.displayed_value(limit);
        match &self.product_unit {
            Some(unit) => format!("{value} {unit}"),
            None => dimension.format_value(&value),
        }
    }

    fn record_step(
        &self,
        trace: &mut StepRecorder<'_>,
        value: &Exact,
        what: impl FnOnce() -> String,
    ) {
        let (value, dimension) = self.displayed_value(value);
        record_step(trace, &value, dimension, what);
    }
}

/// Applies `above` and `at_most`; returns `None` beyond the limit.
fn apply_bounds(factor: &Factor, mut value: Exact, trace: &mut StepRecorder<'_>) -> Option<Exact> {
    if factor.limit.as_ref().is_some_and(|limit| value > *limit) {
        return None;
    }
    if let Some(floor) = &factor.above {
        value = value.excess_over(floor);
        factor.record_step(trace, &value, || format!("above {}", factor.format_limit(floor)));
    }
    if let Some(most) = factor.at_most.as_ref().filter(|most| value > **most) {
        value = most.clone();
        factor.record_step(trace, &value, || format!("at most {}", factor.format_limit(most)));
    }
    Some(value)
}

/// Applies the minimum, then rounds up to the next step of the grid.
fn round_up_to_grid(factor: &Factor, value: &Exact, trace: &mut StepRecorder<'_>) -> Exact {
    let mut billed = value.clone();
    if billed < factor.minimum {
        billed = factor.minimum.clone();
        factor.record_step(trace, &billed, || {
            format!("at least {}", factor.format_limit(&factor.minimum))
        });
    }
    let stepped = billed.up_to_multiple(&factor.grid);
    if stepped != billed {
        factor.record_step(trace, &stepped, || {
            format!("up to the next {}", factor.format_limit(&factor.grid))
        });
    }
    stepped
}

pub(super) fn join_notes(notes: &[Arc<str>]) -> Option<Arc<str>> {
    match notes {
        [] => None,
        [note] => Some(Arc::clone(note)),
        several => Some(several.join("; ").into()),
    }
}

/// Bills one usage: one line for each charge that invocations are counted by, and their sum.
pub(super) fn bill_usage(
    model: &PriceModel,
    usage: &Usage,
    terms: &Terms,
) -> Result<Bill, Refusal> {
    let scene = EvalContext { model, usage, terms };
    let mut lines = Vec::new();
    for charge in model.invocation_charges(terms) {
        let (quantity, note) = scene.billed_quantity(charge)?;
        let amount = Money::new(&quantity * &charge.rate);
        lines.push(LineItem { charge: Arc::clone(charge), quantity, amount, note });
    }
    let total = lines.iter().map(|line| &line.amount).sum();
    Ok(Bill { lines, total })
}
