//! From the written form to a price model: every rule that concerns more than
//! one value, each complaint with its place in the file.

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;

use super::bill::{Charge, Factor, Fallback, Measure};
use super::error::Problem;
use super::example::{Example, UsageGroup};
use super::number::Exact;
use super::schema::{ChargeFile, ExampleFile, FactorFile, FallbackFile, PhasesFile, UsageFile};
use super::unit::{Dimension, Phase, one_of};
use crate::meter::{Meter, Phases, Usage};
use crate::suggest::nearest;
use crate::units::Nanos;

/// The measure that is not a meter: one an invocation.
const REQUESTS: &str = "requests";

const MAX_CHARGES: usize = 32;
const MAX_FACTORS: usize = 4;

type Resolved<T> = Result<T, Problem>;

/// All charges of a file.
pub(super) fn charges(list: Spanned<Vec<Spanned<ChargeFile>>>) -> Resolved<Vec<Arc<Charge>>> {
    let span = list.span();
    let list = list.into_inner();
    bounded(list.len(), MAX_CHARGES, "[[charge]]", span)?;
    let mut charges: Vec<Arc<Charge>> = Vec::with_capacity(list.len());
    for file in list {
        let name = file.get_ref().name.span();
        let charge = charge(file)?;
        if charges.iter().any(|other| other.name == charge.name) {
            return Err(Problem::new(name, format!("there are two charges `{}`", charge.name)));
        }
        charges.push(Arc::new(charge));
    }
    Ok(charges)
}

fn bounded(count: usize, most: usize, what: &str, span: Range<usize>) -> Resolved<()> {
    if (1..=most).contains(&count) {
        return Ok(());
    }
    Err(Problem::new(span, format!("there are {count} {what} here: 1 to {most} are allowed")))
}

fn charge(file: Spanned<ChargeFile>) -> Resolved<Charge> {
    let span = file.span();
    let file = file.into_inner();
    bounded(file.factor.len(), MAX_FACTORS, "[[charge.factor]]", span)?;
    let (per, rate) = per(file.per)?;
    let mut scale = Exact::from(1);
    let mut units = Vec::new();
    let mut factors = Vec::new();
    for written in file.factor {
        let (factor, unit, size) = factor(written)?;
        scale = &scale * &size;
        units.push(unit);
        factors.push(factor);
    }
    Ok(Charge {
        name: file.name.into_inner().0,
        unit: file.unit.map_or_else(|| units.join("-").into(), |label| label.0),
        rate: &file.price.0 * &rate,
        price: file.price.into_money(),
        per,
        scale,
        factors,
    })
}

/// `per` and its reciprocal.
fn per(written: Option<Spanned<super::schema::Per>>) -> Resolved<(Exact, Exact)> {
    let Some(written) = written else {
        return Ok((Exact::from(1), Exact::from(1)));
    };
    let span = written.span();
    let per = written.into_inner().0;
    let reciprocal = per.reciprocal().ok_or_else(|| {
        Problem::new(
            span,
            format!(
                "`{per}` does not divide exactly in decimals: `per` has no prime factors but 2 \
                 and 5, as 1000000 has"
            ),
        )
    })?;
    Ok((per, reciprocal))
}

/// The factor, its unit's name, and the exact size of one metered unit in it.
fn factor(file: Spanned<FactorFile>) -> Resolved<(Factor, &'static str, Exact)> {
    let span = file.span();
    let file = file.into_inner();
    let (measure, dimension) = match (file.meter, file.phases) {
        (Some(meter), None) => meter_measure(&meter, file.fallback)?,
        (None, Some(phases)) => phase_measure(phases, &file.fallback)?,
        _ => {
            return Err(Problem::new(
                span,
                "a factor is measured by either `meter = \"...\"` or `phases = [...]`",
            ));
        }
    };
    let (unit, size) =
        dimension.unit(file.unit.get_ref()).map_err(|text| Problem::new(file.unit.span(), text))?;
    let one = Exact::from(size).reciprocal().ok_or_else(|| {
        let text = format!("`{unit}` does not divide exactly in decimals: use a smaller unit");
        Problem::new(file.unit.span(), text)
    })?;
    let minimum = file.minimum.map_or(Ok(0), |text| quantity(dimension, &text))?;
    let grid = match &file.grid {
        None => NonZeroU64::MIN,
        Some(text) => NonZeroU64::new(quantity(dimension, text)?)
            .ok_or_else(|| Problem::new(text.span(), "a grid has steps larger than 0"))?,
    };
    Ok((Factor { measure, minimum, grid }, unit, one))
}

fn quantity(dimension: Dimension, text: &Spanned<String>) -> Resolved<u64> {
    dimension.quantity(text.get_ref()).map_err(|message| Problem::new(text.span(), message))
}

fn meter_measure(
    name: &Spanned<String>,
    fallbacks: Vec<FallbackFile>,
) -> Resolved<(Measure, Dimension)> {
    if name.get_ref() == REQUESTS {
        if let Some(fallback) = fallbacks.first() {
            return Err(Problem::new(fallback.meter.span(), "requests are always counted"));
        }
        return Ok((Measure::Requests, Dimension::Requests));
    }
    let meter = Meter::from_name(name.get_ref())
        .ok_or_else(|| Problem::new(name.span(), unknown_meter(name.get_ref())))?;
    let dimension = Dimension::of(meter);
    let mut accepted: Vec<Fallback> = Vec::new();
    for file in fallbacks {
        let span = file.meter.span();
        let stand_in = file.meter.into_inner();
        if stand_in == meter || accepted.iter().any(|other| other.meter == stand_in) {
            return Err(Problem::new(span, format!("`{stand_in}` is named twice")));
        }
        if Dimension::of(stand_in) != dimension {
            let text = format!("`{stand_in}` cannot stand in for `{meter}`: it is not {dimension}");
            return Err(Problem::new(span, text));
        }
        accepted.push(Fallback { meter: stand_in, note: file.note.0 });
    }
    Ok((Measure::Meter { meter, fallbacks: accepted }, dimension))
}

fn unknown_meter(name: &str) -> String {
    let known = || Meter::ALL.iter().map(|meter| meter.name()).chain([REQUESTS]);
    let name: String = name.chars().take(64).collect();
    match nearest(&name, known()) {
        Some(near) => format!("there is no meter `{name}`: did you mean `{near}`?"),
        None => format!("there is no meter `{name}`: there are {}", one_of(known())),
    }
}

fn phase_measure(
    phases: Spanned<Vec<Phase>>,
    fallbacks: &[FallbackFile],
) -> Resolved<(Measure, Dimension)> {
    let span = phases.span();
    let phases = phases.into_inner();
    if let Some(fallback) = fallbacks.first() {
        let text = "phases have no fallback: name every phase that may count in `phases`";
        return Err(Problem::new(fallback.meter.span(), text));
    }
    let mut distinct = phases.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if phases.is_empty() || distinct.len() != phases.len() {
        let text = "`phases` names one phase or more, each once: it would be billed twice";
        return Err(Problem::new(span, text));
    }
    Ok((Measure::Phases(phases.into()), Dimension::Time))
}

/// One worked example; `charges` are those of the same file.
pub(super) fn example(file: Spanned<ExampleFile>, charges: &[Arc<Charge>]) -> Resolved<Example> {
    let span = file.span();
    let file = file.into_inner();
    if file.amount.is_none() && file.quantities.is_empty() {
        return Err(Problem::new(span, "an example expects an `amount` or some `quantities`"));
    }
    if file.usage.is_empty() {
        return Err(Problem::new(span, "an example has at least one [[example.usage]]"));
    }
    let mut quantities = Vec::new();
    for (name, expected) in file.quantities {
        let charge = charges.iter().find(|charge| *charge.name == *name).ok_or_else(|| {
            let known = one_of(charges.iter().map(|charge| charge.name()));
            let text = format!("there is no charge of that name here: there is {known}");
            Problem::new(expected.span(), text)
        })?;
        quantities.push((Arc::clone(&charge.name), expected.into_inner().0));
    }
    Ok(Example {
        name: file.name.0,
        source: file.source.0,
        amount: file.amount.map(super::schema::Price::into_money),
        quantities,
        usage: file.usage.into_iter().map(usage).collect::<Resolved<_>>()?,
    })
}

fn usage(file: UsageFile) -> Resolved<UsageGroup> {
    let mut usage = Usage::new(file.cold);
    for (meter, text) in file.meters {
        usage.set(meter, quantity(Dimension::of(meter), &text)?);
    }
    let PhasesFile { create, start, run, teardown } = file.phases;
    let span = |text: Option<Spanned<String>>| {
        text.map(|text| quantity(Dimension::Time, &text).map(Nanos)).transpose()
    };
    usage.phases = Phases {
        create: span(create)?,
        start: span(start)?,
        run: span(run)?,
        teardown: span(teardown)?,
    };
    Ok(UsageGroup { requests: file.requests, usage })
}
