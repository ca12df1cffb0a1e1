//! Resolution of factors: what is measured, in what unit, and with what bounds and grid.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;

use super::{Resolved, bounded, input_position, limits, unknown};
use crate::charge::{Factor, Fallback, Input, Measure, Row, StandIn, Times};
use crate::error::Problem;
use crate::number::Exact;
use crate::schema::{FactorFile, FallbackFile, Kind, MeasureFile, RowFile};
use crate::unit::{Dimension, Gigabyte, Phase};
use cyclometer_core::meter::Meter;

/// Name of the measure that is not a meter: one per invocation.
pub(super) const REQUESTS: &str = "requests";

/// Unit of the whole billing period.
const MONTH: &str = "month";

type Measured = (Measure, Dimension);

pub(super) fn factor(file: Spanned<FactorFile>, inputs: &[Input]) -> Resolved<Factor> {
    let span = file.span();
    let mut file = file.into_inner();
    let inner_grids = inner_grids(file.max_of.as_ref(), inputs)?;
    let (measure, dimension) = measure(&mut file, inputs, &span)?;
    let size = match &measure {
        Measure::Month => 1,
        _ => dimension
            .unit(file.unit.get_ref())
            .map_err(|text| Problem::new(file.unit.span(), text))?,
    };
    let each = each(&file, &measure)?;
    let product_unit = product_unit(&file)?;
    let label = product_unit.as_deref().unwrap_or(file.unit.get_ref()).to_owned();
    // The unit named by `as` is a plain number; `size` metered units make one of it.
    let scale = Exact::from(if product_unit.is_some() { size } else { 1 });
    let counted = if product_unit.is_some() { Dimension::Number } else { dimension };
    let quantity = |text: &Option<Spanned<String>>| {
        let read = text.as_ref().map(|text| shaped(counted, &label, text)).transpose();
        read.map(|value| value.map(|value| &value * &scale))
    };
    let grid = quantity(&file.grid)?;
    if let (Some(grid), Some(text)) = (&grid, &file.grid)
        && grid.is_zero()
    {
        return Err(Problem::new(text.span(), "a grid has steps larger than 0"));
    }
    Ok(Factor {
        times: times(file.times.as_ref(), inputs)?,
        product_unit,
        inner_grids,
        above: quantity(&file.above)?,
        at_most: quantity(&file.at_most)?,
        limit: quantity(&file.limit)?,
        minimum: quantity(&file.minimum)?.unwrap_or_default(),
        grid: grid.unwrap_or_default(),
        fallbacks: fallbacks(file.fallback, &measure)?,
        each,
        unit: file.unit.into_inner().into(),
        size: Exact::from(size),
        measure,
        dimension,
    })
}

/// Resolves the unit of the product with `times`, which is also that of limits, minimum and grid.
fn product_unit(file: &FactorFile) -> Resolved<Option<Arc<str>>> {
    let Some(unit) = &file.product_unit else { return Ok(None) };
    if file.times.is_none() {
        let text = "`as` names what `times` makes of the unit: it needs `times`";
        return Err(Problem::new(unit.span(), text));
    }
    // Any word is accepted, as for a plain number.
    Dimension::Number.unit(unit.get_ref()).map_err(|text| Problem::new(unit.span(), text))?;
    Ok(Some(unit.get_ref().as_str().into()))
}

/// Resolves the grid of each alternative of `max_of`; empty if no alternative has one.
fn inner_grids(
    several: Option<&Spanned<Vec<Spanned<MeasureFile>>>>,
    inputs: &[Input],
) -> Resolved<Vec<Exact>> {
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
        let (_, dimension) =
            one(file.meter.as_ref(), file.phases.clone(), file.input.as_ref(), inputs, &span)?;
        let grid = quantity(dimension, text)?;
        if grid.is_zero() {
            return Err(Problem::new(text.span(), "a grid has steps larger than 0"));
        }
        grids.push(grid);
    }
    Ok(grids)
}

fn each(file: &FactorFile, measure: &Measure) -> Resolved<bool> {
    let Some(each) = file.each.as_ref().filter(|each| *each.get_ref()) else {
        return Ok(false);
    };
    let shaped = [&file.times, &file.above, &file.at_most, &file.limit];
    if !matches!(measure, Measure::Phases(_)) || shaped.iter().any(|key| key.is_some()) {
        let text = "`each` is for phases with `minimum` and `grid`, and nothing else";
        return Err(Problem::new(each.span(), text));
    }
    Ok(true)
}

/// Parses a bound or grid of a factor; a plain number may name the factor's unit.
fn shaped(dimension: Dimension, label: &str, text: &Spanned<String>) -> Resolved<Exact> {
    let written = text.get_ref();
    let bare = [label, label.strip_suffix('s').unwrap_or(label), &format!("{label}s")]
        .into_iter()
        .find_map(|label| written.trim_end().strip_suffix(label))
        .filter(|bare| dimension == Dimension::Number && !bare.trim().is_empty());
    match bare {
        Some(bare) => quantity(dimension, &Spanned::new(text.span(), bare.to_owned())),
        None => quantity(dimension, text),
    }
}

/// Parses a quantity, in which GB always is 10^9 bytes: units in a file are literal.
fn quantity(dimension: Dimension, text: &Spanned<String>) -> Resolved<Exact> {
    let read = dimension.quantity(text.get_ref(), Gigabyte::Decimal);
    read.map_err(|error| Problem::new(text.span(), error.to_string()))
}

fn measure(file: &mut FactorFile, inputs: &[Input], span: &Range<usize>) -> Resolved<Measured> {
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
        return Err(Problem::new(span.clone(), text));
    }
    if let (Some(row), None) = (file.table.first(), &file.lookup) {
        return Err(Problem::new(row.span(), "a `table` belongs to a `lookup`"));
    }
    if let Some(period) = &file.period {
        if !period.get_ref() {
            return Err(Problem::new(period.span(), "leave `period` out, or write true"));
        }
        let month = file.unit.get_ref() == MONTH;
        let measure = if month { Measure::Month } else { Measure::Period };
        return Ok((measure, if month { Dimension::Number } else { Dimension::Time }));
    }
    if let Some(name) = file.lookup.take() {
        return lookup(&name, std::mem::take(&mut file.table), inputs);
    }
    if let Some(several) = file.max_of.take() {
        return max_of(several, inputs);
    }
    one(file.meter.as_ref(), file.phases.take(), file.input.as_ref(), inputs, span)
}

/// Resolves a single measure: a meter, phases or an input.
fn one(
    meter: Option<&Spanned<String>>,
    phases: Option<Spanned<Vec<Phase>>>,
    input: Option<&Spanned<String>>,
    inputs: &[Input],
    span: &Range<usize>,
) -> Resolved<Measured> {
    match (meter, phases, input) {
        (Some(name), None, None) => meter_of(name),
        (None, Some(phases), None) => phases_of(phases),
        (None, None, Some(name)) => input_of(name, inputs),
        _ => {
            let text = "name exactly one of `meter`, `phases` and `input`";
            Err(Problem::new(span.clone(), text))
        }
    }
}

fn meter_of(name: &Spanned<String>) -> Resolved<Measured> {
    if name.get_ref() == REQUESTS {
        return Ok((Measure::Requests, Dimension::Requests));
    }
    let meter = known_meter(name)?;
    Ok((Measure::Meter(meter), Dimension::of(meter)))
}

fn known_meter(name: &Spanned<String>) -> Resolved<Meter> {
    let names = Meter::ALL.iter().map(|meter| meter.name()).chain([REQUESTS]);
    Meter::from_name(name.get_ref()).ok_or_else(|| unknown("meter", name, names))
}

fn phases_of(phases: Spanned<Vec<Phase>>) -> Resolved<Measured> {
    let span = phases.span();
    let phases = phases.into_inner();
    let mut distinct = phases.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if phases.is_empty() || distinct.len() != phases.len() {
        let text = "`phases` names one phase or more, each once: it would be billed twice";
        return Err(Problem::new(span, text));
    }
    Ok((Measure::Phases(phases.into()), Dimension::Time))
}

fn input_of(name: &Spanned<String>, inputs: &[Input]) -> Resolved<Measured> {
    let position = input_position(inputs, name)?;
    let input = &inputs[position];
    if input.kind == Kind::Switch {
        let text = "a switch is not a quantity: use `when` or `unless` of the charge";
        return Err(Problem::new(name.span(), text));
    }
    Ok((Measure::Input(position), input.dimension()))
}

/// Resolves a lookup: a table with a meter or an input as its key.
fn lookup(
    name: &Spanned<String>,
    table: Vec<Spanned<RowFile>>,
    inputs: &[Input],
) -> Resolved<Measured> {
    bounded(table.len(), 1, limits::ROWS, "rows of the `table`", name.span())?;
    let (of, dimension) = if inputs.iter().any(|input| &*input.name == name.get_ref()) {
        input_of(name, inputs)?
    } else {
        meter_of(name)?
    };
    let mut rows: Vec<Row> = Vec::with_capacity(table.len());
    for row in table {
        let row = row.into_inner();
        let up_to = quantity(dimension, &row.up_to)?;
        if rows.last().is_some_and(|before| up_to <= before.up_to) {
            return Err(Problem::new(row.up_to.span(), "the rows of a table ascend"));
        }
        rows.push(Row { up_to, value: row.value.value });
    }
    let measure = Measure::Lookup { of: Box::new(of), rows: rows.into() };
    Ok((measure, Dimension::Number))
}

fn max_of(several: Spanned<Vec<Spanned<MeasureFile>>>, inputs: &[Input]) -> Resolved<Measured> {
    let span = several.span();
    let several = several.into_inner();
    bounded(several.len(), 2, limits::ALTERNATIVES, "measures in `max_of`", span)?;
    let mut measures = Vec::with_capacity(several.len());
    let mut common = None;
    for file in several {
        let span = file.span();
        let file = file.into_inner();
        let (measure, dimension) =
            one(file.meter.as_ref(), file.phases, file.input.as_ref(), inputs, &span)?;
        if *common.get_or_insert(dimension) != dimension {
            let text = "the measures of `max_of` are of one dimension: these cannot be compared";
            return Err(Problem::new(span, text));
        }
        measures.push((measure, times(file.times.as_ref(), inputs)?));
    }
    Ok((Measure::MaxOf(measures), common.unwrap_or(Dimension::Number)))
}

/// Resolves a multiplier: a decimal, a fraction, or the name of an input that is a number.
fn times(text: Option<&Spanned<String>>, inputs: &[Input]) -> Resolved<Times> {
    let Some(text) = text else { return Ok(Times::Once) };
    if text.get_ref().starts_with(|c: char| c.is_ascii_digit()) {
        return Exact::parse_fraction(text.get_ref())
            .map(Times::By)
            .map_err(|error| Problem::new(text.span(), error.to_string()));
    }
    let position = input_position(inputs, text)?;
    if !matches!(inputs[position].kind, Kind::Number | Kind::Count) {
        let text = (text.span(), "only a number or a count can multiply");
        return Err(Problem::new(text.0, text.1));
    }
    Ok(Times::Input(position))
}

fn fallbacks(files: Vec<Spanned<FallbackFile>>, measure: &Measure) -> Resolved<Vec<Fallback>> {
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
                Err(Problem::new(file.span(), text))
            }
        };
    };
    let mut accepted: Vec<Fallback> = Vec::new();
    for file in files {
        let span = file.span();
        let stand_in = stand_in(&file, meter)?;
        let twice = stand_in == StandIn::Meter(meter)
            || accepted.iter().any(|other| other.stand_in == stand_in);
        if twice {
            return Err(Problem::new(span, "this is named twice"));
        }
        let note = Arc::clone(&file.get_ref().note.0);
        accepted.push(Fallback { stand_in, note });
    }
    Ok(accepted)
}

fn stand_in(file: &Spanned<FallbackFile>, meter: Meter) -> Resolved<StandIn> {
    let dimension = Dimension::of(meter);
    match (&file.get_ref().meter, &file.get_ref().value) {
        (Some(name), None) => {
            let stand_in = known_meter(name)?;
            if Dimension::of(stand_in) != dimension {
                let text =
                    format!("`{stand_in}` cannot stand in for `{meter}`: it is not {dimension}");
                return Err(Problem::new(name.span(), text));
            }
            Ok(StandIn::Meter(stand_in))
        }
        (None, Some(text)) => quantity(dimension, text).map(StandIn::Value),
        _ => Err(Problem::new(file.span(), "a fallback is a `meter` or a `value`, one of the two")),
    }
}
