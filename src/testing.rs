//! Helpers that tests, inside and outside of the library, have in common.

use crate::meter::{Meter, Phases, Usage};
use crate::pricing::{Exact, MAX_FILE_BYTES, Money, PriceModel, PricingError, Terms, UsageGroup};
use crate::units::Nanos;

/// Says on standard error that a test was skipped, past the test harness'
/// capture, so that a green run shows what it did not try.
///
/// # Panics
/// In CI, where `CYCLOMETER_REQUIRE_DOCKER=1` promises a Docker engine, for a
/// reason that has to do with it.
pub fn skip(reason: &str) {
    let required = std::env::var_os("CYCLOMETER_REQUIRE_DOCKER").is_some_and(|value| value == "1");
    let about_docker = reason.to_ascii_lowercase().contains("docker");
    assert!(!(required && about_docker), "Docker is required here, but: {reason}");
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    crate::output::write_message(&format!("skipped: {test}: {reason}"));
}

/// CPU time of this thread: for limits that a busy machine must not break.
///
/// # Panics
/// Never on Linux, which has this clock.
#[must_use]
pub fn cpu_time() -> std::time::Duration {
    let clock = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID;
    nix::time::clock_gettime(clock).expect("a clock of this thread").into()
}

/// Puts a text through everything that reads, bills and prints a price model:
/// what fuzzing and the mutated files of the tests have in common.
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
        let terms = Terms::of(model);
        let mut groups: Vec<UsageGroup> = usages()
            .into_iter()
            .map(|usage| UsageGroup {
                requests: Exact::from(u64::MAX),
                usage,
                terms: terms.clone(),
                stretches: None,
            })
            .collect();
        for group in &groups {
            let _ = model.bill(&group.usage);
            for charge in model.charges() {
                let _ = model.trace(charge, &group.usage, &terms);
            }
        }
        if model.subtotals(&groups, &terms).is_err() {
            groups.clear();
        }
        if let Ok(subtotals) = model.subtotals(&groups, &terms) {
            let settlement = model.settle(&subtotals, &terms, model.rounding());
            survives_storing(&settlement.total);
        }
        for example in model.examples() {
            let _ = example.check(model).map_err(|failure| failure.to_string());
        }
        survives_printing(model);
    }
}

fn refusal_is_usable(text: &str, error: &PricingError) {
    let message = error.to_string();
    assert!(!message.contains(char::is_control), "a control character in {message:?}");
    assert!(message.len() < 4096, "{} bytes of message", message.len());
    match error {
        PricingError::TooLarge { size, .. } => assert_eq!(*size, text.len()),
        PricingError::Invalid { line, column, message, .. } => {
            // After a last line break there is one more line to be at.
            let Some(at) = line.checked_sub(1).and_then(|it| text.split('\n').nth(it)) else {
                panic!("line {line} is not in the file: {message}");
            };
            let within = 1..=at.chars().count() + 1;
            assert!(within.contains(column), "column {column} is not in line {line}: {message}");
        }
    }
}

/// Nothing measured but a run, everything 0, and the most there can be.
fn usages() -> [Usage; 3] {
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

/// The text that is stored is the amount, unless it is absurdly long.
fn survives_storing(amount: &Money) {
    let text = amount.fraction().unwrap_or_else(|| amount.to_plain_string());
    if text.len() <= 4096 {
        assert_eq!(text.parse().as_ref(), Ok(amount), "{text}");
    }
}

fn survives_printing(model: &PriceModel) {
    let text = model.to_toml();
    if text.len() > MAX_FILE_BYTES {
        return;
    }
    let again = match PriceModel::parse(&text, model.origin()) {
        Ok(again) => again,
        Err(error) => panic!("what was printed is refused: {error}\n{text}"),
    };
    assert!(model.same_tariff(&again), "what was printed is another model:\n{text}");
}
