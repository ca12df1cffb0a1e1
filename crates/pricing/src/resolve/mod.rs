//! Resolution of the written form into price models: every rule that concerns more than one
//! value, with the place in the file of each problem.

mod arithmetic_cost;
mod charge;
mod example;
mod factor;
mod variant;

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;

pub(crate) use arithmetic_cost::check_bill_cost;
pub(crate) use charge::{parse_in_unit, resolve_tiers};
pub(crate) use example::attach_example;
pub(super) use example::{set_inputs, usage_groups};

use super::charge::ModelInput;
use super::error::SpannedProblem;
use super::model::{ModelIdentity, PriceModel, hex_digest};
use super::money::Rounding;
use super::number::Exact;
use super::schema::{InputFile, InputValue, ModelFile};
use super::terms;
use super::unit::Gigabyte;
use cyclometer_core::suggest::find_nearest_name;

/// Maximum numbers of elements in a file.
pub(crate) mod limits {
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

pub(crate) type ResolveResult<T> = Result<T, SpannedProblem>;

/// Resolves all models of a file: the first, then its variants.
pub(super) fn models_from_file(
    mut file: ModelFile,
    text: &str,
    origin: &str,
) -> ResolveResult<Vec<PriceModel>> {
    let examples = std::mem::take(&mut file.example);
    let variants = std::mem::take(&mut file.variant);
    if variants.len() > limits::VARIANTS || examples.len() > limits::EXAMPLES {
        let (variants, examples) = (limits::VARIANTS, limits::EXAMPLES);
        let text = format!("more than {variants} variants or {examples} examples");
        return Err(SpannedProblem::new(0..0, text));
    }
    let source =
        SourceFile { text: text.into(), digest: hex_digest(text).into(), origin: origin.into() };
    let mut models = vec![resolve_model(file.clone(), &source)?];
    let mut spans = vec![(file.id.span(), file.effective_from.span())];
    for written in variants {
        let id = written.get_ref().id.span();
        let from = written.get_ref().effective_from.as_ref().map_or(id.clone(), Spanned::span);
        models.push(resolve_model(variant::apply_variant(&file, written)?, &source)?);
        spans.push((id, from));
    }
    check_distinct(&models, &spans)?;
    for written in examples {
        attach_example(written, &mut models)?;
    }
    Ok(models)
}

/// Checks that ids are unique, and that versions of one tariff are in effect at different times.
pub(crate) fn check_distinct(
    models: &[PriceModel],
    spans: &[(Range<usize>, Range<usize>)],
) -> ResolveResult<()> {
    for (index, (model, (id, from))) in models.iter().zip(spans).enumerate() {
        for other in &models[..index] {
            if other.id() == model.id() {
                let text = format!("there are two models `{}` in this file", model.id());
                return Err(SpannedProblem::new(id.clone(), text));
            }
            if let Some(text) = describe_overlap(other, model) {
                return Err(SpannedProblem::new(from.clone(), text));
            }
        }
    }
    Ok(())
}

/// Returns a message if two versions of one tariff are in effect on the same day.
pub(super) fn describe_overlap(one: &PriceModel, other: &PriceModel) -> Option<String> {
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

struct SourceFile {
    text: Arc<str>,
    digest: Arc<str>,
    origin: Arc<str>,
}

fn resolve_model(file: ModelFile, source: &SourceFile) -> ResolveResult<PriceModel> {
    if let Some(until) = file.effective_until.as_ref()
        && until.get_ref() <= file.effective_from.get_ref()
    {
        let text = "`effective_until` is the first day it no longer holds: after `effective_from`";
        return Err(SpannedProblem::new(until.span(), text));
    }
    let digits = resolve_digits(file.digits.as_ref())?.unwrap_or(2);
    let month = file.month_days.map_or_else(thirty_days, |days| days.into_inner().0);
    let inputs = resolve_inputs(file.input, file.gb, &month)?;
    let written = file.charge.span();
    let (pools, charges) = charge::resolve_charges(file.charge, file.pool, &inputs)?;
    check_bill_cost(&charges, written)?;
    let id = file.id.into_inner().0;
    let identity = ModelIdentity {
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
        contract: None,
    })
}

fn thirty_days() -> Exact {
    Exact::from(30 * terms::DAY)
}

pub(crate) fn resolve_digits(written: Option<&Spanned<u32>>) -> ResolveResult<Option<u32>> {
    match written {
        Some(digits) if *digits.get_ref() > limits::DIGITS => {
            let text = format!("amounts are rounded to 0 to {} decimals", limits::DIGITS);
            Err(SpannedProblem::new(digits.span(), text))
        }
        other => Ok(other.map(|digits| *digits.get_ref())),
    }
}

/// Resolves the inputs of the file.
fn resolve_inputs(
    list: Vec<Spanned<InputFile>>,
    gb: Gigabyte,
    month: &Exact,
) -> ResolveResult<Vec<ModelInput>> {
    let mut inputs: Vec<ModelInput> = Vec::with_capacity(list.len());
    for file in list {
        let span = file.span();
        let file = file.into_inner();
        let name = file.name.get_ref().0.clone();
        if inputs.len() == limits::INPUTS {
            return Err(SpannedProblem::new(span, format!("more than {} inputs", limits::INPUTS)));
        }
        if inputs.iter().any(|other| other.name == name) {
            return Err(SpannedProblem::new(
                file.name.span(),
                format!("there are two inputs `{name}`"),
            ));
        }
        if cyclometer_core::meter::Meter::from_name(&name).is_some()
            || name.as_ref() == factor::REQUESTS
        {
            let text = format!("`{name}` is a meter: an input is what no meter measures");
            return Err(SpannedProblem::new(file.name.span(), text));
        }
        let mut input = ModelInput {
            name,
            kind: file.kind,
            default: None,
            follows_period: false,
            about: file.about.0,
        };
        if let Some(text) = file.default {
            resolve_default(&mut input, &text, gb, month)?;
        } else if input.kind == super::schema::ModelInputKind::Switch {
            input.default = Some(Exact::default());
        }
        inputs.push(input);
    }
    Ok(inputs)
}

/// Sets the default of an input. Where the provider's MB is MiB, an example and `--set` use that
/// meaning, so a default must state which one it means.
fn resolve_default(
    input: &mut ModelInput,
    text: &Spanned<InputValue>,
    gb: Gigabyte,
    month: &Exact,
) -> ResolveResult<()> {
    let written = text.get_ref().to_command_line_text();
    let problem = |message: String| SpannedProblem::new(text.span(), message);
    if written == terms::PERIOD {
        if input.kind != super::schema::ModelInputKind::Time {
            return Err(problem("only a time can be as long as the period".to_owned()));
        }
        input.follows_period = true;
        input.default = Some(month.clone());
        return Ok(());
    }
    let value = terms::parse_input_value(input, &written, gb).map_err(problem)?;
    if terms::parse_input_value(input, &written, Gigabyte::Decimal).as_ref() != Ok(&value) {
        return Err(problem(format!(
            "`{written}` is {} to this provider, and 10^6 or 10^9 bytes elsewhere: write MiB or \
             GiB, or all bytes",
            input.format_value(&value)
        )));
    }
    input.default = Some(value);
    Ok(())
}

pub(crate) fn check_count(
    count: usize,
    least: usize,
    most: usize,
    what: &str,
    span: Range<usize>,
) -> ResolveResult<()> {
    if (least..=most).contains(&count) {
        return Ok(());
    }
    Err(SpannedProblem::new(
        span,
        format!("there are {count} {what} here: {least} to {most} are allowed"),
    ))
}

/// Creates the problem that a name is unknown, with the nearest known name.
pub(crate) fn unknown_name<'a>(
    what: &str,
    name: &Spanned<String>,
    known: impl Iterator<Item = &'a str> + Clone,
) -> SpannedProblem {
    let shown: String = name.get_ref().chars().take(64).collect();
    let text = if let Some(near) = find_nearest_name(&shown, known.clone()) {
        format!("there is no {what} `{shown}`: did you mean `{near}`?")
    } else {
        let all: Vec<&str> = known.collect();
        let all = if all.is_empty() { "none".to_owned() } else { super::unit::one_of(&all) };
        format!("there is no {what} `{shown}`: there is {all}")
    };
    SpannedProblem::new(name.span(), text)
}

/// Returns the index of the input with that name.
fn input_position(inputs: &[ModelInput], name: &Spanned<String>) -> ResolveResult<usize> {
    let found = inputs.iter().position(|input| &*input.name == name.get_ref());
    found.ok_or_else(|| unknown_name("input", name, inputs.iter().map(ModelInput::name)))
}
