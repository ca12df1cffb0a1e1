//! Robustness checks for untrusted price models and usage files: every text yields a bill, or a
//! refusal with its place in the text.

use crate::{Exact, MAX_FILE_BYTES, Money, PriceModel, PricingError, Terms, UsageGroup};
use cyclometer_core::meter::{Meter, Phases, Usage};
use cyclometer_core::units::Nanos;
use cyclometer_core::visible_text::is_visible;

/// Runs a text through everything that parses, bills and prints a price model: the checks shared
/// by fuzzing and by the mutation tests.
///
/// # Panics
/// If the text is neither a model nor refused with a place in it, or if a
/// model cannot be used or does not survive being printed.
pub fn price_model_survives(text: &str) {
    let models = match PriceModel::parse_all(text, "mutant.toml") {
        Ok(models) => models,
        Err(error) => return refusal_is_usable(text, &error),
    };
    assert!(!models.is_empty(), "a file without a model was accepted");
    for model in &models {
        let terms = Terms::for_model(model);
        let mut groups: Vec<UsageGroup> = extreme_usages()
            .into_iter()
            .map(|usage| UsageGroup {
                requests: Exact::from(u64::MAX),
                usage,
                terms: terms.clone(),
                instance_spans: None,
            })
            .collect();
        for group in &groups {
            let _ = model.bill(&group.usage);
            for charge in model.charges() {
                let _ = model.trace_charge(charge, &group.usage, &terms);
            }
        }
        if model.charge_subtotals(&groups, &terms).is_err() {
            groups.clear();
        }
        if let Ok(subtotals) = model.charge_subtotals(&groups, &terms) {
            let settlement = model.settle(&subtotals, &terms, model.rounding());
            survives_storing(&settlement.total);
        }
        for example in model.examples() {
            let _ = example.check_against(model).map_err(|failure| failure.to_string());
        }
        survives_printing(model);
    }
}

fn refusal_is_usable(text: &str, error: &PricingError) {
    let message = error.to_string();
    assert!(is_visible(&message), "something hidden in {message:?}");
    assert!(message.len() < 4096, "{} bytes of message", message.len());
    match error {
        PricingError::TooLarge { size, .. } => assert_eq!(*size, text.len()),
        PricingError::Invalid { line, column, message, .. } => {
            // After a final line break there is one more, empty line.
            let Some(at) = line.checked_sub(1).and_then(|it| text.split('\n').nth(it)) else {
                panic!("line {line} is not in the file: {message}");
            };
            let within = 1..=at.chars().count() + 1;
            assert!(within.contains(column), "column {column} is not in line {line}: {message}");
        }
    }
}

/// Returns extreme usages: nothing measured but a run, everything 0, and every value at its
/// maximum.
fn extreme_usages() -> [Usage; 3] {
    let filled = |value: u64| {
        let mut usage = Usage::new(true);
        for meter in Meter::ALL {
            usage.set(*meter, value);
        }
        let span = Some(Nanos(value));
        usage.phases =
            Phases { create: span, start: span, run: span, teardown: span, ..Phases::default() };
        usage
    };
    let mut run = Usage::new(false);
    run.phases.run = Some(Nanos(27_550_000));
    [run, filled(0), filled(u64::MAX)]
}

/// Checks that the stored text parses to the same amount, unless it is absurdly long.
fn survives_storing(amount: &Money) {
    let text = amount.to_fraction_string().unwrap_or_else(|| amount.to_plain_string());
    if text.len() <= 4096 {
        assert_eq!(text.parse().as_ref(), Ok(amount), "{text}");
    }
}

fn survives_printing(model: &PriceModel) {
    if model.contract().is_some() {
        let again = PriceModel::parse_complete(model.complete_text(), model.origin());
        let again = again.unwrap_or_else(|error| panic!("the complete text is refused: {error}"));
        let same = again.iter().find(|it| it.id() == model.id());
        assert!(same.is_some_and(|it| it.same_tariff(model)), "{}", model.complete_text());
        return;
    }
    let text = model.to_toml();
    if text.len() > MAX_FILE_BYTES {
        return;
    }
    let again = match PriceModel::parse_first(&text, model.origin()) {
        Ok(again) => again,
        Err(error) => panic!("what was printed is refused: {error}\n{text}"),
    };
    assert!(model.same_tariff(&again), "what was printed is another model:\n{text}");
}

/// Runs a text through everything that parses and bills a file of usage groups, under a model of
/// each shape.
///
/// # Panics
/// If the text is neither usage that can be billed nor refused with a place in
/// it.
pub fn usage_file_survives(text: &str) {
    for id in ["aws-lambda-x86", "cloudflare-workers", "google-cloud-run"] {
        let model = crate::find_builtin_model(id).expect("a shipped model");
        match model.read_usage(text, "usage.toml", &Terms::for_model(model), |_| ()) {
            Ok((groups, terms)) => {
                if let Ok(subtotals) = model.charge_subtotals(&groups, &terms) {
                    survives_storing(&model.settle(&subtotals, &terms, model.rounding()).total);
                }
            }
            Err(error) => refusal_is_usable(text, &error),
        }
    }
}
