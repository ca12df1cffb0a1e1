//! Resolution of factors: what is measured, in what unit, and with what bounds and grid.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;

use super::{ResolveResult, check_count, input_position, limits, unknown_name};
use crate::charge::{Factor, Fallback, LookupRow, Measure, ModelInput, Multiplier, StandIn};
use crate::error::SpannedProblem;
use crate::number::Exact;
use crate::schema::{FactorFile, FallbackFile, MeasureFile, ModelInputKind, RowFile};
use crate::unit::{Dimension, Gigabyte, Phase};
use cyclometer_core::meter::Meter;

/// Name of the measure that is not a meter: one per invocation.
pub(super) const REQUESTS: &str = "requests";

/// Unit of the whole billing period.
const MONTH: &str = "month";

type DimensionedMeasure = (Measure, Dimension);

pub(super) fn resolve_factor(
    file: Spanned<FactorFile>,
    inputs: &[ModelInput],
) -> ResolveResult<Factor> {
    let span = file.span();
    let mut file = file.into_inner();
    let inner_grids = resolve_inner_grids(file.max_of.as_ref(), inputs)?;
    let (measure, dimension) = resolve_measure(&mut file, inputs, &span)?;
    let size = match &measure {
        Measure::Month => 1,
        _ => dimension
            .size_of_unit(file.unit.get_ref())
            .map_err(|text| SpannedProblem::new(file.unit.span(), text))?,
    };
    let each = resolve_each(&file, &measure)?;
    let product_unit = resolve_product_unit(&file)?;
    let label = product_unit.as_deref().unwrap_or(file.unit.get_ref()).to_owned();
    // The unit named by `as` is a plain number; `size` metered units make one of it.
    let scale = Exact::from(if product_unit.is_some() { size } else { 1 });
    let counted = if product_unit.is_some() { Dimension::Number } else { dimension };
    let quantity = |text: &Option<Spanned<String>>| {
        let read = text.as_ref().map(|text| parse_bound(counted, &label, text)).transpose();
        read.map(|value| value.map(|value| &value * &scale))
    };
    let grid = quantity(&file.grid)?;
    if let (Some(grid), Some(text)) = (&grid, &file.grid)
        && grid.is_zero()
    {
        return Err(SpannedProblem::new(text.span(), "a grid has steps larger than 0"));
    }
    Ok(Factor {
        times: resolve_multiplier(file.times.as_ref(), inputs)?,
        product_unit,
        inner_grids,
        above: quantity(&file.above)?,
        at_most: quantity(&file.at_most)?,
        limit: quantity(&file.limit)?,
        minimum: quantity(&file.minimum)?.unwrap_or_default(),
        grid: grid.unwrap_or_default(),
        fallbacks: resolve_fallbacks(file.fallback, &measure)?,
        each,
        unit: file.unit.into_inner().into(),
        size: Exact::from(size),
        measure,
        dimension,
    })
}

/// Resolves the unit of the product with `times`, which is also that of limits, minimum and grid.
fn resolve_product_unit(file: &FactorFile) -> ResolveResult<Option<Arc<str>>> {
    let Some(unit) = &file.product_unit else { return Ok(None) };
    if file.times.is_none() {
        let text = "`as` names what `times` makes of the unit: it needs `times`";
        return Err(SpannedProblem::new(unit.span(), text));
    }
    // Any word is accepted, as for a plain number.
    Dimension::Number
        .size_of_unit(unit.get_ref())
        .map_err(|text| SpannedProblem::new(unit.span(), text))?;
    Ok(Some(unit.get_ref().as_str().into()))
}

/// Resolves the grid of each alternative of `max_of`; empty if no alternative has one.
fn resolve_inner_grids(
    several: Option<&Spanned<Vec<Spanned<MeasureFile>>>>,
    inputs: &[ModelInput],
) -> ResolveResult<Vec<Exact>> {
    let alternatives = several.map_or(&[][..], |several| several.get_ref().as_slice());
    if alternatives.iter().all(|file| file.get_ref().grid.is_none()) {
        return Ok(Vec::new());
    }
    let mut grids = Vec::with_capacity(alternatives.len());
    for file in alternatives {
        let span = file.span();
        let file = file.get_ref();
        let Some(text) = &file.grid else {
            grids.push(Exact::default());
            continue;
        };
        let (_, dimension) = resolve_single_measure(
            file.meter.as_ref(),
            file.phases.clone(),
            file.input.as_ref(),
            inputs,
            &span,
        )?;
        let grid = parse_quantity(dimension, text)?;
        if grid.is_zero() {
            return Err(SpannedProblem::new(text.span(), "a grid has steps larger than 0"));
        }
        grids.push(grid);
    }
    Ok(grids)
}

fn resolve_each(file: &FactorFile, measure: &Measure) -> ResolveResult<bool> {
    let Some(each) = file.each.as_ref().filter(|each| *each.get_ref()) else {
        return Ok(false);
    };
    let shaped = [&file.times, &file.above, &file.at_most, &file.limit];
    if !matches!(measure, Measure::Phases(_)) || shaped.iter().any(|key| key.is_some()) {
        let text = "`each` is for phases with `minimum` and `grid`, and nothing else";
        return Err(SpannedProblem::new(each.span(), text));
    }
    Ok(true)
}

/// Parses a bound or grid of a factor; a plain number may name the factor's unit.
fn parse_bound(dimension: Dimension, label: &str, text: &Spanned<String>) -> ResolveResult<Exact> {
    let written = text.get_ref();
    let bare = [label, label.strip_suffix('s').unwrap_or(label), &format!("{label}s")]
        .into_iter()
        .find_map(|label| written.trim_end().strip_suffix(label))
        .filter(|bare| dimension == Dimension::Number && !bare.trim().is_empty());
    match bare {
        Some(bare) => parse_quantity(dimension, &Spanned::new(text.span(), bare.to_owned())),
        None => parse_quantity(dimension, text),
    }
}

/// Parses a quantity, in which GB always is 10^9 bytes: units in a file are literal.
fn parse_quantity(dimension: Dimension, text: &Spanned<String>) -> ResolveResult<Exact> {
    let read = dimension.parse_quantity(text.get_ref(), Gigabyte::Decimal);
    read.map_err(|error| SpannedProblem::new(text.span(), error.to_string()))
}

fn resolve_measure(
    file: &mut FactorFile,
    inputs: &[ModelInput],
    span: &Range<usize>,
) -> ResolveResult<DimensionedMeasure> {
    let given = [
        file.meter.is_some(),
        file.phases.is_some(),
        file.input.is_some(),
        file.period.is_some(),
        file.lookup.is_some(),
        file.max_of.is_some(),
    ];
    if given.iter().filter(|given| **given).count() != 1 {
        let text = "a factor is measured by exactly one of `meter`, `phases`, `input`, `period`, \
                    `lookup` and `max_of`";
        return Err(SpannedProblem::new(span.clone(), text));
    }
    if let (Some(row), None) = (file.table.first(), &file.lookup) {
        return Err(SpannedProblem::new(row.span(), "a `table` belongs to a `lookup`"));
    }
    if let Some(period) = &file.period {
        if !period.get_ref() {
            return Err(SpannedProblem::new(period.span(), "leave `period` out, or write true"));
        }
        let month = file.unit.get_ref() == MONTH;
        let measure = if month { Measure::Month } else { Measure::Period };
        return Ok((measure, if month { Dimension::Number } else { Dimension::Time }));
    }
    if let Some(name) = file.lookup.take() {
        return resolve_lookup(&name, std::mem::take(&mut file.table), inputs);
    }
    if let Some(several) = file.max_of.take() {
        return resolve_max_of(several, inputs);
    }
    resolve_single_measure(
        file.meter.as_ref(),
        file.phases.take(),
        file.input.as_ref(),
        inputs,
        span,
    )
}

/// Resolves a single measure: a meter, phases or an input.
fn resolve_single_measure(
    meter: Option<&Spanned<String>>,
    phases: Option<Spanned<Vec<Phase>>>,
    input: Option<&Spanned<String>>,
    inputs: &[ModelInput],
    span: &Range<usize>,
) -> ResolveResult<DimensionedMeasure> {
    match (meter, phases, input) {
        (Some(name), None, None) => resolve_meter(name),
        (None, Some(phases), None) => resolve_phases(phases),
        (None, None, Some(name)) => resolve_input(name, inputs),
        _ => {
            let text = "name exactly one of `meter`, `phases` and `input`";
            Err(SpannedProblem::new(span.clone(), text))
        }
    }
}

fn resolve_meter(name: &Spanned<String>) -> ResolveResult<DimensionedMeasure> {
    if name.get_ref() == REQUESTS {
        return Ok((Measure::Requests, Dimension::Requests));
    }
    let meter = find_meter(name)?;
    Ok((Measure::Meter(meter), Dimension::for_meter(meter)))
}

fn find_meter(name: &Spanned<String>) -> ResolveResult<Meter> {
    let names = Meter::ALL.iter().map(|meter| meter.name()).chain([REQUESTS]);
    Meter::from_name(name.get_ref()).ok_or_else(|| unknown_name("meter", name, names))
}

fn resolve_phases(phases: Spanned<Vec<Phase>>) -> ResolveResult<DimensionedMeasure> {
    let span = phases.span();
    let phases = phases.into_inner();
    let mut distinct = phases.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if phases.is_empty() || distinct.len() != phases.len() {
        let text = "`phases` names one phase or more, each once: it would be billed twice";
        return Err(SpannedProblem::new(span, text));
    }
    Ok((Measure::Phases(phases.into()), Dimension::Time))
}

fn resolve_input(
    name: &Spanned<String>,
    inputs: &[ModelInput],
) -> ResolveResult<DimensionedMeasure> {
    let position = input_position(inputs, name)?;
    let input = &inputs[position];
    if input.kind == ModelInputKind::Switch {
        let text = "a switch is not a quantity: use `when` or `unless` of the charge";
        return Err(SpannedProblem::new(name.span(), text));
    }
    Ok((Measure::Input(position), input.dimension()))
}

/// Resolves a lookup: a table with a meter or an input as its key.
fn resolve_lookup(
    name: &Spanned<String>,
    table: Vec<Spanned<RowFile>>,
    inputs: &[ModelInput],
) -> ResolveResult<DimensionedMeasure> {
    check_count(table.len(), 1, limits::ROWS, "rows of the `table`", name.span())?;
    let (of, dimension) = if inputs.iter().any(|input| &*input.name == name.get_ref()) {
        resolve_input(name, inputs)?
    } else {
        resolve_meter(name)?
    };
    let mut rows: Vec<LookupRow> = Vec::with_capacity(table.len());
    for row in table {
        let row = row.into_inner();
        let up_to = parse_quantity(dimension, &row.up_to)?;
        if rows.last().is_some_and(|before| up_to <= before.up_to) {
            return Err(SpannedProblem::new(row.up_to.span(), "the rows of a table ascend"));
        }
        rows.push(LookupRow { up_to, value: row.value.value });
    }
    let measure = Measure::Lookup { of: Box::new(of), rows: rows.into() };
    Ok((measure, Dimension::Number))
}

fn resolve_max_of(
    several: Spanned<Vec<Spanned<MeasureFile>>>,
    inputs: &[ModelInput],
) -> ResolveResult<DimensionedMeasure> {
    let span = several.span();
    let several = several.into_inner();
    check_count(several.len(), 2, limits::ALTERNATIVES, "measures in `max_of`", span)?;
    let mut measures = Vec::with_capacity(several.len());
    let mut common = None;
    for file in several {
        let span = file.span();
        let file = file.into_inner();
        let (measure, dimension) = resolve_single_measure(
            file.meter.as_ref(),
            file.phases,
            file.input.as_ref(),
            inputs,
            &span,
        )?;
        if *common.get_or_insert(dimension) != dimension {
            let text = "the measures of `max_of` are of one dimension: these cannot be compared";
            return Err(SpannedProblem::new(span, text));
        }
        measures.push((measure, resolve_multiplier(file.times.as_ref(), inputs)?));
    }
    Ok((Measure::MaxOf(measures), common.unwrap_or(Dimension::Number)))
}

/// Resolves a multiplier: a decimal, a fraction, or the name of an input that is a number.
fn resolve_multiplier(
    text: Option<&Spanned<String>>,
    inputs: &[ModelInput],
) -> ResolveResult<Multiplier> {
    let Some(text) = text else { return Ok(Multiplier::Once) };
    if text.get_ref().starts_with(|c: char| c.is_ascii_digit()) {
        return Exact::parse_fraction(text.get_ref())
            .map(Multiplier::By)
            .map_err(|error| SpannedProblem::new(text.span(), error.to_string()));
    }
    let position = input_position(inputs, text)?;
    if !matches!(inputs[position].kind, ModelInputKind::Number | ModelInputKind::Count) {
        let text = (text.span(), "only a number or a count can multiply");
        return Err(SpannedProblem::new(text.0, text.1));
    }
    Ok(Multiplier::Input(position))
}

fn resolve_fallbacks(
    files: Vec<Spanned<FallbackFile>>,
    measure: &Measure,
) -> ResolveResult<Vec<Fallback>> {
    let meter = match measure {
        Measure::Meter(meter) => Some(*meter),
        Measure::Lookup { of, .. } => match **of {
            Measure::Meter(meter) => Some(meter),
            _ => None,
        },
        _ => None,
    };
    let Some(meter) = meter else {
        return match files.first() {
            None => Ok(Vec::new()),
            Some(file) => {
                let text = "only a meter can be missing, so only a meter has a fallback";
                Err(SpannedProblem::new(file.span(), text))
            }
        };
    };
    let mut accepted: Vec<Fallback> = Vec::new();
    for file in files {
        let span = file.span();
        let stand_in = resolve_stand_in(&file, meter)?;
        let twice = stand_in == StandIn::Meter(meter)
            || accepted.iter().any(|other| other.stand_in == stand_in);
        if twice {
            return Err(SpannedProblem::new(span, "this is named twice"));
        }
        let note = Arc::clone(&file.get_ref().note.0);
        accepted.push(Fallback { stand_in, note });
    }
    Ok(accepted)
}

fn resolve_stand_in(file: &Spanned<FallbackFile>, meter: Meter) -> ResolveResult<StandIn> {
    let dimension = Dimension::for_meter(meter);
    match (&file.get_ref().meter, &file.get_ref().value) {
        (Some(name), None) => {
            let stand_in = find_meter(name)?;
            if Dimension::for_meter(stand_in) != dimension {
                let text =
                    format!("`{stand_in}` cannot stand in for `{meter}`: it is not {dimension}");
                return Err(SpannedProblem::new(name.span(), text));
            }
            Ok(StandIn::Meter(stand_in))
        }
        (None, Some(text)) => parse_quantity(dimension, text).map(StandIn::Value),
        _ => Err(SpannedProblem::new(
            file.span(),
            "a fallback is a `meter` or a `value`, one of the two",
        )),
    }
}
