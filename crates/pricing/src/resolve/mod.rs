//! Resolution of the written form into price models: every rule that concerns more than one
//! value, with the place in the file of each problem.

mod charge;
mod effort;
mod example;
mod factor;
mod variant;

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;

pub(super) use example::{set, usage_groups};

use super::charge::Input;
use super::error::Problem;
use super::model::{Identity, PriceModel, hex_digest};
use super::money::Rounding;
use super::number::Exact;
use super::schema::{InputFile, InputValue, ModelFile};
use super::terms;
use super::unit::Gigabyte;
use cyclometer_core::suggest::nearest;

/// Maximum numbers of elements in a file.
pub(super) mod limits {
    pub(crate) const CHARGES: usize = 64;
    pub(crate) const FACTORS: usize = 6;
    pub(crate) const INPUTS: usize = 64;
    pub(crate) const VARIANTS: usize = 64;
    pub(crate) const EXAMPLES: usize = 200;
    pub(crate) const ROWS: usize = 256;
    /// Measures in `max_of`.
    pub(crate) const ALTERNATIVES: usize = 4;
    /// Decimals that amounts are rounded to.
    pub(crate) const DIGITS: u32 = 18;
}

type Resolved<T> = Result<T, Problem>;

/// Resolves all models of a file: the first, then its variants.
pub(super) fn models(mut file: ModelFile, text: &str, origin: &str) -> Resolved<Vec<PriceModel>> {
    let examples = std::mem::take(&mut file.example);
    let variants = std::mem::take(&mut file.variant);
    if variants.len() > limits::VARIANTS || examples.len() > limits::EXAMPLES {
        let (variants, examples) = (limits::VARIANTS, limits::EXAMPLES);
        let text = format!("more than {variants} variants or {examples} examples");
        return Err(Problem::new(0..0, text));
    }
    let source =
        Source { text: text.into(), digest: hex_digest(text).into(), origin: origin.into() };
    let mut models = vec![model(file.clone(), &source)?];
    let mut spans = vec![(file.id.span(), file.effective_from.span())];
    for written in variants {
        let id = written.get_ref().id.span();
        let from = written.get_ref().effective_from.as_ref().map_or(id.clone(), Spanned::span);
        models.push(model(variant::apply(&file, written)?, &source)?);
        spans.push((id, from));
    }
    distinct(&models, &spans)?;
    for written in examples {
        example::attach(written, &mut models)?;
    }
    Ok(models)
}

/// Checks that ids are unique, and that versions of one tariff are in effect at different times.
fn distinct(models: &[PriceModel], spans: &[(Range<usize>, Range<usize>)]) -> Resolved<()> {
    for (index, (model, (id, from))) in models.iter().zip(spans).enumerate() {
        for other in &models[..index] {
            if other.id() == model.id() {
                let text = format!("there are two models `{}` in this file", model.id());
                return Err(Problem::new(id.clone(), text));
            }
            if let Some(text) = overlap(other, model) {
                return Err(Problem::new(from.clone(), text));
            }
        }
    }
    Ok(())
}

/// Returns a message if two versions of one tariff are in effect on the same day.
pub(super) fn overlap(one: &PriceModel, other: &PriceModel) -> Option<String> {
    let ends_before = |first: &PriceModel, second: &PriceModel| {
        first.effective_until().is_some_and(|end| end <= second.effective_from())
    };
    if one.tariff() != other.tariff() || ends_before(one, other) || ends_before(other, one) {
        return None;
    }
    Some(format!(
        "`{}` and `{}` are versions of the tariff `{}` and hold on the same days: give the \
         earlier one an `effective_until`",
        one.id(),
        other.id(),
        one.tariff()
    ))
}

struct Source {
    text: Arc<str>,
    digest: Arc<str>,
    origin: Arc<str>,
}

fn model(file: ModelFile, source: &Source) -> Resolved<PriceModel> {
    if let Some(until) = file.effective_until.as_ref()
        && until.get_ref() <= file.effective_from.get_ref()
    {
        let text = "`effective_until` is the first day it no longer holds: after `effective_from`";
        return Err(Problem::new(until.span(), text));
    }
    let digits = digits(file.digits.as_ref())?.unwrap_or(2);
    let month = file.month_days.map_or_else(thirty_days, |days| days.into_inner().0);
    let inputs = inputs(file.input, file.gb, &month)?;
    let written = file.charge.span();
    let (pools, charges) = charge::charges(file.charge, file.pool, &inputs)?;
    effort::bounded(&charges, written)?;
    let id = file.id.into_inner().0;
    let identity = Identity {
        tariff: file.tariff.map_or_else(|| id.clone(), |tariff| tariff.0),
        id,
        name: file.name.0,
        provider: file.provider.map(|label| label.0),
        currency: file.currency.0,
        granularity: file.granularity,
        effective_from: file.effective_from.into_inner().0,
        effective_until: file.effective_until.map(|date| date.into_inner().0),
        retrieved: file.retrieved.0,
        source: file.source.0,
        uncertain: file.uncertain.map(|label| label.0),
    };
    Ok(PriceModel {
        identity,
        rounding: Rounding { policy: file.rounding, digits },
        gb: file.gb,
        month,
        inputs,
        pools,
        charges,
        examples: Vec::new(),
        text: Arc::clone(&source.text),
        digest: Arc::clone(&source.digest),
        origin: Arc::clone(&source.origin),
    })
}

fn thirty_days() -> Exact {
    Exact::from(30 * terms::DAY)
}

fn digits(written: Option<&Spanned<u32>>) -> Resolved<Option<u32>> {
    match written {
        Some(digits) if *digits.get_ref() > limits::DIGITS => {
            let text = format!("amounts are rounded to 0 to {} decimals", limits::DIGITS);
            Err(Problem::new(digits.span(), text))
        }
        other => Ok(other.map(|digits| *digits.get_ref())),
    }
}

/// Resolves the inputs of the file.
fn inputs(list: Vec<Spanned<InputFile>>, gb: Gigabyte, month: &Exact) -> Resolved<Vec<Input>> {
    let mut inputs: Vec<Input> = Vec::with_capacity(list.len());
    for file in list {
        let span = file.span();
        let file = file.into_inner();
        let name = file.name.get_ref().0.clone();
        if inputs.len() == limits::INPUTS {
            return Err(Problem::new(span, format!("more than {} inputs", limits::INPUTS)));
        }
        if inputs.iter().any(|other| other.name == name) {
            return Err(Problem::new(file.name.span(), format!("there are two inputs `{name}`")));
        }
        if cyclometer_core::meter::Meter::from_name(&name).is_some()
            || name.as_ref() == factor::REQUESTS
        {
            let text = format!("`{name}` is a meter: an input is what no meter measures");
            return Err(Problem::new(file.name.span(), text));
        }
        let mut input = Input {
            name,
            kind: file.kind,
            default: None,
            follows_period: false,
            about: file.about.0,
        };
        if let Some(text) = file.default {
            default(&mut input, &text, gb, month)?;
        } else if input.kind == super::schema::Kind::Switch {
            input.default = Some(Exact::default());
        }
        inputs.push(input);
    }
    Ok(inputs)
}

/// Sets the default of an input. Where the provider's MB is MiB, an example and `--set` use that
/// meaning, so a default must state which one it means.
fn default(
    input: &mut Input,
    text: &Spanned<InputValue>,
    gb: Gigabyte,
    month: &Exact,
) -> Resolved<()> {
    let written = text.get_ref().text();
    let problem = |message: String| Problem::new(text.span(), message);
    if written == terms::PERIOD {
        if input.kind != super::schema::Kind::Time {
            return Err(problem("only a time can be as long as the period".to_owned()));
        }
        input.follows_period = true;
        input.default = Some(month.clone());
        return Ok(());
    }
    let value = terms::read(input, &written, gb).map_err(problem)?;
    if terms::read(input, &written, Gigabyte::Decimal).as_ref() != Ok(&value) {
        return Err(problem(format!(
            "`{written}` is {} to this provider, and 10^6 or 10^9 bytes elsewhere: write MiB or \
             GiB, or all bytes",
            input.shown(&value)
        )));
    }
    input.default = Some(value);
    Ok(())
}

fn bounded(
    count: usize,
    least: usize,
    most: usize,
    what: &str,
    span: Range<usize>,
) -> Resolved<()> {
    if (least..=most).contains(&count) {
        return Ok(());
    }
    Err(Problem::new(span, format!("there are {count} {what} here: {least} to {most} are allowed")))
}

/// Creates the problem that a name is unknown, with the nearest known name.
fn unknown<'a>(
    what: &str,
    name: &Spanned<String>,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Problem {
    let shown: String = name.get_ref().chars().take(64).collect();
    let text = if let Some(near) = nearest(&shown, known.clone()) {
        format!("there is no {what} `{shown}`: did you mean `{near}`?")
    } else {
        let all: Vec<&str> = known.collect();
        let all = if all.is_empty() { "none".to_owned() } else { super::unit::one_of(&all) };
        format!("there is no {what} `{shown}`: there is {all}")
    };
    Problem::new(name.span(), text)
}

/// Returns the index of the input with that name.
fn input_position(inputs: &[Input], name: &Spanned<String>) -> Resolved<usize> {
    let found = inputs.iter().position(|input| &*input.name == name.get_ref());
    found.ok_or_else(|| unknown("input", name, inputs.iter().map(Input::name)))
}
