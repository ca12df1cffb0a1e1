//! Resolution of worked examples, and of files of usage groups, which have the same form.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;

use super::{ResolveResult, resolve_digits, unknown_name};
use crate::error::SpannedProblem;
use crate::example::{Example, ExampleFigure, PrintedFigure};
use crate::model::PriceModel;
use crate::money::Rounding;
use crate::number::Exact;
use crate::scalars::Price;
use crate::schema::{ExampleFile, InputValue, PhasesFile, UsageFile};
use crate::settle::UsageGroup;
use crate::terms::{Terms, TermsError};
use crate::unit::{Dimension, Gigabyte};
use cyclometer_core::meter::{Phases, Usage};
use cyclometer_core::units::Nanos;

type InputValues = BTreeMap<Spanned<String>, Spanned<InputValue>>;
type PrintedFigures = BTreeMap<Spanned<String>, Price>;

/// Resolves an example and adds it to the model that it belongs to.
pub(crate) fn attach_example(
    file: Spanned<ExampleFile>,
    models: &mut [PriceModel],
) -> ResolveResult<()> {
    let span = file.span();
    let file = file.into_inner();
    let index = match &file.variant {
        None => 0,
        Some(name) => {
            let found = models.iter().position(|model| model.id() == name.get_ref());
            found.ok_or_else(|| unknown_name("model", name, models.iter().map(PriceModel::id)))?
        }
    };
    let nothing = file.amount.is_none()
        && file.lines.is_empty()
        && file.quantities.is_empty()
        && file.billable.is_empty();
    if nothing {
        let text = "an example expects an `amount`, `lines`, `quantities` or `billable`";
        return Err(SpannedProblem::new(span, text));
    }
    let example = resolve_example(file, &models[index])?;
    models[index].examples.push(example);
    Ok(())
}

fn resolve_example(file: ExampleFile, model: &PriceModel) -> ResolveResult<Example> {
    let mut terms = Terms::for_model(model);
    // Usage is written with the provider's units, as on a command line and in a usage file: the
    // same text is the same value in all three.
    set_inputs(&mut terms, model, &file.set, model.gigabyte_convention())?;
    if let Some(days) = &file.days {
        terms.set_period(days.get_ref().0.clone());
    }
    if !file.free {
        terms.exclude_allowances();
    }
    let mut expected = Vec::new();
    expected.extend(file.amount.map(|price| (ExampleFigure::Amount, printed_figure(price))));
    let positions = model.pools().iter().map(|pool| &pool.name);
    let charges = model.shared_charges().iter().map(|charge| &charge.name);
    let adjustments = model.adjustment_names();
    let lines = positions.clone().chain(&adjustments);
    resolve_figures(file.lines, lines, ExampleFigure::Line, &mut expected)?;
    resolve_figures(file.quantities, charges, ExampleFigure::Quantity, &mut expected)?;
    resolve_figures(file.billable, positions, ExampleFigure::Billable, &mut expected)?;
    Ok(Example {
        name: file.name.0,
        source: file.source.0,
        rounding: Rounding {
            policy: file.rounding.unwrap_or(model.rounding().policy),
            digits: resolve_digits(file.digits.as_ref())?.unwrap_or(model.rounding().digits),
        },
        usage: usage_groups(file.usage, model, &terms, model.gigabyte_convention())?,
        terms,
        expected,
        disputed: file.disputed.map(|label| label.0),
    })
}

fn printed_figure(price: Price) -> PrintedFigure {
    PrintedFigure { value: price.value, decimals: price.decimals }
}

/// Resolves figures by the name of a charge or position, which must exist.
fn resolve_figures<'a>(
    written: PrintedFigures,
    known: impl Iterator<Item = &'a Arc<str>> + Clone,
    kind: impl Fn(Arc<str>) -> ExampleFigure,
    expected: &mut Vec<(ExampleFigure, PrintedFigure)>,
) -> ResolveResult<()> {
    for (name, price) in written {
        let Some(found) = known.clone().find(|known| &***known == name.get_ref()) else {
            return Err(unknown_name("charge", &name, known.map(|name| &**name)));
        };
        expected.push((kind(Arc::clone(found)), printed_figure(price)));
    }
    Ok(())
}

pub(crate) fn set_inputs(
    terms: &mut Terms,
    model: &PriceModel,
    values: &InputValues,
    gb: Gigabyte,
) -> ResolveResult<()> {
    for (name, value) in values {
        let written = value.get_ref().to_command_line_text();
        terms.set_input(model, name.get_ref(), &written, gb).map_err(|error| match error {
            TermsError::Unknown { .. } => SpannedProblem::new(name.span(), error.to_string()),
            TermsError::Value { message, .. } => SpannedProblem::new(value.span(), message),
        })?;
    }
    Ok(())
}

/// Resolves groups of identical invocations; `terms` apply to all of them, and `gb` is what the
/// writer means by MB and GB.
pub(crate) fn usage_groups(
    files: Vec<Spanned<UsageFile>>,
    model: &PriceModel,
    terms: &Terms,
    gb: Gigabyte,
) -> ResolveResult<Vec<UsageGroup>> {
    files.into_iter().map(|file| usage_group(file, model, terms, gb)).collect()
}

fn usage_group(
    file: Spanned<UsageFile>,
    model: &PriceModel,
    terms: &Terms,
    gb: Gigabyte,
) -> ResolveResult<UsageGroup> {
    let span = file.span();
    let file = file.into_inner();
    let whole = |dimension: Dimension, text: &Spanned<String>| {
        let read = dimension.parse_whole(text.get_ref(), gb);
        read.map_err(|error| SpannedProblem::new(text.span(), error.to_string()))
    };
    let mut usage = Usage::new(file.cold);
    for (meter, text) in file.meters {
        usage.set(meter, whole(Dimension::for_meter(meter), &text)?);
    }
    let PhasesFile { create, start, run, teardown } = file.phases;
    let time = |text: Option<Spanned<String>>| {
        text.map(|text| whole(Dimension::Time, &text).map(Nanos)).transpose()
    };
    usage.phases = Phases {
        create: time(create)?,
        start: time(start)?,
        run: time(run)?,
        teardown: time(teardown)?,
        ..Phases::default()
    };
    let mut own = terms.clone();
    set_inputs(&mut own, model, &file.set, gb)?;
    let stretches = match (file.instances, time(file.instance_time)?) {
        (Some(count), Some(time)) => Some((Exact::from(count.0), time)),
        (None, None) => None,
        _ => {
            let text = "`instances` and `instance_time` belong together";
            return Err(SpannedProblem::new(span, text));
        }
    };
    Ok(UsageGroup {
        requests: Exact::from(file.requests.0),
        usage,
        terms: own,
        instance_spans: stretches,
    })
}
