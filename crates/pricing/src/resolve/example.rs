//! Resolution of worked examples, and of files of usage groups, which have the same form.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;

use super::{Resolved, digits, unknown};
use crate::error::Problem;
use crate::example::{Example, Expected, Printed};
use crate::model::PriceModel;
use crate::money::Rounding;
use crate::number::Exact;
use crate::schema::{ExampleFile, InputValue, PhasesFile, UsageFile};
use crate::settle::UsageGroup;
use crate::terms::{Terms, TermsError};
use crate::text::Price;
use crate::unit::{Dimension, Gigabyte};
use cyclometer_core::meter::{Phases, Usage};
use cyclometer_core::units::Nanos;

type Sets = BTreeMap<Spanned<String>, Spanned<InputValue>>;
type Figures = BTreeMap<Spanned<String>, Price>;

/// Resolves an example and adds it to the model that it belongs to.
pub(super) fn attach(file: Spanned<ExampleFile>, models: &mut [PriceModel]) -> Resolved<()> {
    let span = file.span();
    let file = file.into_inner();
    let index = match &file.variant {
        None => 0,
        Some(name) => {
            let found = models.iter().position(|model| model.id() == name.get_ref());
            found.ok_or_else(|| unknown("model", name, models.iter().map(PriceModel::id)))?
        }
    };
    let nothing = file.amount.is_none()
        && file.lines.is_empty()
        && file.quantities.is_empty()
        && file.billable.is_empty();
    if nothing {
        let text = "an example expects an `amount`, `lines`, `quantities` or `billable`";
        return Err(Problem::new(span, text));
    }
    let example = example(file, &models[index])?;
    models[index].examples.push(example);
    Ok(())
}

fn example(file: ExampleFile, model: &PriceModel) -> Resolved<Example> {
    let mut terms = Terms::of(model);
    // Usage is written with the provider's units, as on a command line and in a usage file: the
    // same text is the same value in all three.
    set(&mut terms, model, &file.set, model.gb())?;
    if let Some(days) = &file.days {
        terms.set_period(days.get_ref().0.clone());
    }
    if !file.free {
        terms.without_free();
    }
    let mut expected = Vec::new();
    expected.extend(file.amount.map(|price| (Expected::Amount, printed(price))));
    let positions = model.pools().iter().map(|pool| &pool.name);
    let charges = model.shared().iter().map(|charge| &charge.name);
    figures(file.lines, positions.clone(), Expected::Line, &mut expected)?;
    figures(file.quantities, charges, Expected::Quantity, &mut expected)?;
    figures(file.billable, positions, Expected::Billable, &mut expected)?;
    Ok(Example {
        name: file.name.0,
        source: file.source.0,
        rounding: Rounding {
            policy: file.rounding.unwrap_or(model.rounding().policy),
            digits: digits(file.digits.as_ref())?.unwrap_or(model.rounding().digits),
        },
        usage: usage_groups(file.usage, model, &terms, model.gb())?,
        terms,
        expected,
        disputed: file.disputed.map(|label| label.0),
    })
}

fn printed(price: Price) -> Printed {
    Printed { value: price.value, decimals: price.decimals }
}

/// Resolves figures by the name of a charge or position, which must exist.
fn figures<'a>(
    written: Figures,
    known: impl Iterator<Item = &'a Arc<str>> + Clone,
    kind: impl Fn(Arc<str>) -> Expected,
    expected: &mut Vec<(Expected, Printed)>,
) -> Resolved<()> {
    for (name, price) in written {
        let Some(found) = known.clone().find(|known| &***known == name.get_ref()) else {
            return Err(unknown("charge", &name, known.map(|name| &**name)));
        };
        expected.push((kind(Arc::clone(found)), printed(price)));
    }
    Ok(())
}

pub(crate) fn set(
    terms: &mut Terms,
    model: &PriceModel,
    values: &Sets,
    gb: Gigabyte,
) -> Resolved<()> {
    for (name, value) in values {
        let written = value.get_ref().text();
        terms.set(model, name.get_ref(), &written, gb).map_err(|error| match error {
            TermsError::Unknown { .. } => Problem::new(name.span(), error.to_string()),
            TermsError::Value { message, .. } => Problem::new(value.span(), message),
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
) -> Resolved<Vec<UsageGroup>> {
    files.into_iter().map(|file| usage_group(file, model, terms, gb)).collect()
}

fn usage_group(
    file: Spanned<UsageFile>,
    model: &PriceModel,
    terms: &Terms,
    gb: Gigabyte,
) -> Resolved<UsageGroup> {
    let span = file.span();
    let file = file.into_inner();
    let whole = |dimension: Dimension, text: &Spanned<String>| {
        let read = dimension.whole(text.get_ref(), gb);
        read.map_err(|error| Problem::new(text.span(), error.to_string()))
    };
    let mut usage = Usage::new(file.cold);
    for (meter, text) in file.meters {
        usage.set(meter, whole(Dimension::of(meter), &text)?);
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
    set(&mut own, model, &file.set, gb)?;
    let stretches = match (file.instances, time(file.instance_time)?) {
        (Some(count), Some(time)) => Some((Exact::from(count.0), time)),
        (None, None) => None,
        _ => {
            let text = "`instances` and `instance_time` belong together";
            return Err(Problem::new(span, text));
        }
    };
    Ok(UsageGroup { requests: Exact::from(file.requests.0), usage, terms: own, stretches })
}
