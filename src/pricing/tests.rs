//! The shipped models against their own examples, the rules of the format, and
//! properties that must hold for every usage and every text.

use proptest::prelude::*;

use super::*;
use crate::meter::{Meter, Usage};
use crate::units::Nanos;

const HEAD: &str = r#"
id = "test"
name = "Test"
currency = "USD"
granularity = "coarse"
effective_from = 2025-08-01
retrieved = 2025-08-02
source = "by hand"
rounding = "none"
"#;

/// One charge on the CPU time, with more lines for the charge and its factor.
fn with(charge: &str, factor: &str) -> String {
    format!(
        "{HEAD}[[charge]]\nname = \"cpu\"\nprice = \"0.02\"\n{charge}\n\
         [[charge.factor]]\nmeter = \"cpu_time\"\nunit = \"s\"\n{factor}\n"
    )
}

fn parse(text: &str) -> PriceModel {
    PriceModel::parse(text, "test.toml").unwrap()
}

fn complaint(text: &str) -> String {
    PriceModel::parse(text, "test.toml").unwrap_err().to_string()
}

fn lambda_usage(start: Option<u64>, run: Option<u64>, memory: u64) -> Usage {
    let mut usage = Usage::new(start.is_some());
    usage.phases.create = Some(Nanos(5_000_000_000));
    usage.phases.start = start.map(Nanos);
    usage.phases.run = run.map(Nanos);
    usage.phases.teardown = Some(Nanos(7_000_000_000));
    usage.set(Meter::MemoryAllocated, memory);
    usage
}

#[test]
fn every_shipped_file_is_accepted_and_bills_its_examples() {
    assert_eq!(builtin().len(), SHIPPED.len());
    for (origin, text) in SHIPPED {
        let model = PriceModel::parse(text, origin).unwrap();
        assert!(model.examples().len() >= 4, "{origin} proves too little");
        for example in model.examples() {
            example.check(&model).unwrap();
        }
    }
}

#[test]
fn a_wrong_example_is_noticed() {
    let text = SHIPPED[0].1.replace("amount = \"40.00\"", "amount = \"40.01\"");
    let model = parse(&text);
    let failure = model.examples()[0].check(&model).unwrap_err().to_string();
    assert_eq!(
        failure,
        "the example `60 million times 28 ms at 1 GB` expects 40.01 in total, and the model bills 40"
    );
    let text = SHIPPED[0].1.replace("amount = \"40.00\"", "amount = \"39.99\"");
    let model = parse(&text);
    assert!(model.examples()[0].check(&model).is_err());
    let text = SHIPPED[0].1.replace("duration = \"2.366\"", "duration = \"2.367\"");
    let model = parse(&text);
    let failed = model.examples().iter().filter(|example| example.check(&model).is_err());
    assert_eq!(failed.count(), 1);
}

#[test]
fn an_example_must_prove_something_about_this_file() {
    let usage = "[[example.usage]]\nrequests = 1\n";
    let refused = |body: &str| {
        complaint(&with("", &format!("[[example]]\nname = \"e\"\nsource = \"s\"\n{body}")))
    };
    assert!(refused(usage).contains("an example expects an `amount` or some `quantities`"));
    assert!(refused("amount = \"1\"").contains("at least one [[example.usage]]"));
    let elsewhere = refused(&format!("quantities = {{ gpu = \"1\" }}\n{usage}"));
    assert!(elsewhere.contains("there is no charge of that name here: there is `cpu`"));
    let unknown = format!("amount = \"1\"\n{usage}meters = {{ gold = \"1 B\" }}");
    assert!(refused(&unknown).contains("unknown meter `gold`"));
}

#[test]
fn the_documented_file_is_one() {
    let page = include_str!("../../docs/price-models.md");
    let blocks = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let [file, fallback, example] = blocks.collect::<Vec<_>>()[..] else { panic!("three blocks") };
    let model = parse(&format!("{file}{example}"));
    model.examples()[0].check(&model).unwrap();
    let head = HEAD.replace("\"coarse\"", "\"fine\"");
    let charge = "[[charge]]\nname = \"cycles\"\nprice = \"1\"\n";
    let factor = "[[charge.factor]]\nmeter = \"cycles\"\nunit = \"cycle\"\n";
    assert_eq!(parse(&format!("{head}{charge}{factor}{fallback}")).meters().len(), 2);
}

#[test]
fn models_are_found_by_id_or_by_a_hint() {
    assert_eq!(find("per-cycle").unwrap().granularity(), Granularity::Fine);
    assert_eq!(
        find("aws-lambda").unwrap_err().to_string(),
        "there is no price model `aws-lambda` (did you mean `aws-lambda-x86`?): \
         there are aws-lambda-x86, per-cycle"
    );
    assert!(find("gold").unwrap_err().nearest.is_none());
}

#[test]
fn identity_and_digest_are_those_of_the_file() {
    let model = find("aws-lambda-x86").unwrap();
    assert_eq!((model.currency(), model.effective_from()), ("USD", "2025-08-01"));
    assert_eq!(model.rounding(), Rounding::LineHalfUp);
    assert_eq!(model.digest().len(), 64);
    assert_ne!(model.digest(), parse(&format!("{}\n", model.text())).digest());
    assert_eq!(model.meters().into_iter().collect::<Vec<_>>(), [Meter::MemoryAllocated]);
    let per_cycle = find("per-cycle").unwrap().meters();
    assert_eq!(per_cycle.into_iter().collect::<Vec<_>>(), [Meter::Cycles, Meter::RefCycles]);
}

#[test]
fn a_lambda_bill_is_exact_to_the_last_digit() {
    // 1 ns of start-up and 1.5 ms of run are 2 ms; 200 MiB and 1 byte are 201 MiB.
    let usage = lambda_usage(Some(1), Some(1_500_000), (200 << 20) + 1);
    let bill = find("aws-lambda-x86").unwrap().bill(&usage).unwrap();
    let [duration, requests] = &bill.lines[..] else { panic!("two lines") };
    assert_eq!(duration.quantity.to_plain_string(), "0.000392578125");
    assert_eq!(duration.amount.to_plain_string(), "0.0000000065429818359375");
    assert_eq!((duration.charge.name(), duration.charge.unit()), ("duration", "GiB-s"));
    assert_eq!(requests.amount.to_plain_string(), "0.0000002");
    assert_eq!(requests.charge.per().to_plain_string(), "1000000");
    assert_eq!(bill.total.to_plain_string(), "0.0000002065429818359375");
}

#[test]
fn making_and_removing_the_sandbox_is_not_billed() {
    let model = find("aws-lambda-x86").unwrap();
    let usage = lambda_usage(Some(10), Some(20), 128 << 20);
    let mut bare = usage;
    bare.phases.create = None;
    bare.phases.teardown = None;
    assert_eq!(model.bill(&usage), model.bill(&bare));
}

#[test]
fn a_lane_without_a_start_phase_is_billed_for_its_run() {
    let model = find("aws-lambda-x86").unwrap();
    let absent = model.bill(&lambda_usage(None, Some(2_000_000), 128 << 20)).unwrap();
    let zero = model.bill(&lambda_usage(Some(0), Some(2_000_000), 128 << 20)).unwrap();
    assert_eq!(absent, zero);
    let only_start = model.bill(&lambda_usage(Some(2_000_000), None, 128 << 20)).unwrap();
    assert_eq!(absent, only_start);
}

#[test]
fn refusals_name_what_nobody_measured() {
    let lambda = find("aws-lambda-x86").unwrap();
    let refusal = lambda.bill(&lambda_usage(None, None, 1)).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "no phase `start` or `run` was measured (needed by the charge `duration`)"
    );
    let mut usage = lambda_usage(None, Some(1), 1);
    usage.set(Meter::MemoryAllocated, None);
    let refusal = lambda.bill(&usage).unwrap_err();
    assert!(refusal.to_string().starts_with("`memory_allocated` was not measured"));
    let refusal = find("per-cycle").unwrap().bill(&usage).unwrap_err();
    assert_eq!(refusal.missing.to_string(), "`cycles` (or `ref_cycles`) was not measured");
}

#[test]
fn a_stand_in_is_labelled_and_only_used_when_needed() {
    let model = find("per-cycle").unwrap();
    let mut usage = Usage::new(false);
    usage.set(Meter::RefCycles, 1_000);
    let line = model.bill(&usage).unwrap().lines.remove(0);
    assert_eq!(line.note.as_deref(), Some("ref_cycles (TSC ticks) instead of cycles"));
    assert_eq!(line.amount.to_plain_string(), "0.0000000000115");
    usage.set(Meter::Cycles, 2_000);
    let line = model.bill(&usage).unwrap().lines.remove(0);
    assert_eq!((line.note, line.quantity.to_plain_string().as_str()), (None, "2000"));
}

#[test]
fn the_per_cycle_price_is_the_one_its_comment_derives() {
    let lambda = find("aws-lambda-x86").unwrap();
    let one_vcpu_second = lambda_usage(None, Some(1_000_000_000), 1769 << 20);
    let second = lambda.bill(&one_vcpu_second).unwrap().lines.remove(0).amount;
    assert_eq!(second.to_plain_string(), "0.00002879237529296875");
    // 2.5e9 cycles a second: 10^12 cycles are 400 seconds.
    let derived = second.times(400);
    assert_eq!(derived.to_plain_string(), "0.0115169501171875");
    let price = find("per-cycle").unwrap().charges().next().unwrap().price();
    assert_eq!(price.to_plain_string(), derived.significant(3.try_into().unwrap()));
}

#[test]
fn the_largest_meters_do_not_overflow() {
    let mut usage = lambda_usage(Some(u64::MAX), Some(u64::MAX), u64::MAX);
    usage.set(Meter::Cycles, u64::MAX);
    for model in builtin() {
        let bill = model.bill(&usage).unwrap();
        assert_eq!(bill.total.to_plain_string().parse(), Ok(bill.total));
    }
    // 4 times 2^64 ns x 2^64 B, each rounded up to a step of the largest grid.
    let text = with(
        "per = \"0.0000000000000000000000000000000000001\"",
        "grid = \"18446744073.709551615 s\"\n[[charge.factor]]\nmeter = \"memory_time\"\n\
         unit = \"GiB-s\"\ngrid = \"18446744073709551615 B-ms\"\n[[charge.factor]]\n\
         phases = [\"create\", \"start\", \"run\", \"teardown\"]\nunit = \"ns\"\n\
         [[charge.factor]]\nmeter = \"io_read\"\nunit = \"GiB\"",
    );
    for meter in [Meter::CpuTime, Meter::MemoryTime, Meter::IoRead] {
        usage.set(meter, u64::MAX);
    }
    let total = parse(&text).bill(&usage).unwrap().total;
    assert_eq!(total.to_plain_string().parse(), Ok(total));
}

/// What is wrong, and a part of the message that it must give.
#[test]
fn mistakes_in_a_file_are_explained_where_they_are() {
    let head = HEAD.lines().count();
    let (charge_line, factor_line) = (head + 4, head + 8);
    let cases = [
        (with("prise = \"1\"", ""), charge_line, "1: unknown field `prise`, expected one of"),
        (with("per = 0", ""), charge_line, "7: `0` does not divide exactly"),
        (with("per = 3_600", ""), charge_line, "7: `3600` does not divide exactly"),
        (with("per = -5", ""), charge_line, "7: `-5` is negative"),
        (with("per = 0.5", ""), charge_line, "7: invalid type: floating point"),
        (with("unit = \"\"", ""), charge_line, "8: this text is empty"),
        (with("unit = \"a\\nb\"", ""), charge_line, "8: this text holds a control character"),
        (with("", "grid = \"0 ms\""), factor_line, "8: a grid has steps larger than 0"),
        (with("", "grid = \"1 MiB\""), factor_line, "8: `MiB` is not a unit of time"),
        (with("", "minimum = \"-1 ms\""), factor_line, "11: `-1 ms` is not an amount of time"),
        (with("", "phases = [\"run\"]"), factor_line - 3, "1: a factor is measured by either"),
        (
            with("", "fallback = [{ meter = \"cycles\", note = \"x\" }]"),
            factor_line,
            "23: `cycles` cannot stand in for `cpu_time`: it is not time",
        ),
        (
            with("", "fallback = [{ meter = \"cpu_time\", note = \"x\" }]"),
            factor_line,
            "23: `cpu_time` is named twice",
        ),
        (with("", "[[free]]\nquantity = 1"), factor_line, "3: unknown field `free`"),
        (with("", "[tiers"), factor_line, "7: unclosed table"),
    ];
    for (text, line, expected) in cases {
        let message = complaint(&text);
        let expected = format!("test.toml:{line}:{expected}");
        assert!(message.starts_with(&expected), "expected {expected}\n     got {message}");
    }
}

#[test]
fn a_value_that_is_refused_says_what_would_be_accepted() {
    let swap = |from: &str, to: &str| complaint(&with("", "").replace(from, to));
    let cases = [
        ("\"0.02\"", "0.02", "expected a decimal in quotes, such as \"0.20\": a bare number"),
        ("\"0.02\"", "2", "invalid type: integer `2`, expected a decimal in quotes"),
        ("\"0.02\"", "\"-0.02\"", "`-0.02` is negative"),
        ("\"0.02\"", "\"1e999999999\"", "`1e999999999` has an exponent: write the digits out"),
        ("\"0.02\"", "1e999999999", "floating-point number overflowed"),
        ("\"0.02\"", "inf", "expected a decimal in quotes"),
        ("\"0.02\"", "\"0,02\"", "`0,02` is not a decimal number such as 0.20"),
        ("\"cpu_time\"", "\"cpu_tine\"", "there is no meter `cpu_tine`: did you mean `cpu_time`?"),
        ("\"cpu_time\"", "\"gold\"", "there is no meter `gold`: there are `wall`, `cpu_time`"),
        ("meter = \"cpu_time\"", "phases = []", "`phases` names one phase or more, each once"),
        ("meter = \"cpu_time\"", "phases = [\"run\", \"run\"]", "it would be billed twice"),
        ("meter = \"cpu_time\"", "phases = [\"stop\"]", "unknown variant `stop`, expected one of"),
        ("unit = \"s\"", "unit = \"GB-s\"", "`GB-s` is not a unit of time: use `ns`, `us`"),
        ("unit = \"s\"", "unit = \"h\"", "`h` does not divide exactly in decimals"),
        ("\"coarse\"", "\"rough\"", "unknown variant `rough`, expected `coarse` or `fine`"),
        ("\"none\"", "\"up\"", "unknown variant `up`, expected `none` or `line_half_up`"),
        ("\"USD\"", "\"$\"", "three capital letters"),
        ("\"test\"", "\"Te st\"", "out of a-z, 0-9 and -"),
        ("2025-08-01", "2025-08-01T10:00:00Z", ":18: a day has no quotes and no time"),
        ("2025-08-01", "\"2025-08-01\"", ":6:18: a day has no quotes and no time"),
        ("source = \"by hand\"\n", "", "missing field `source`"),
    ];
    for (from, to, expected) in cases {
        let message = swap(from, to);
        assert!(message.contains(expected), "{from} -> {to}\n     got {message}");
    }
    let long = format!("\"{}\"", "9".repeat(60_000));
    let message = swap("\"0.02\"", &long);
    assert!(message.contains("has more than 40 characters") && message.len() < 200, "{message}");
}

#[test]
fn a_file_is_bounded_in_every_direction() {
    let padded = format!("{}{}", with("", ""), "#".repeat(MAX_FILE_BYTES));
    assert!(complaint(&padded).contains("a price model may have 65536"));
    assert!(complaint(HEAD).contains("missing field `charge`"));
    assert!(complaint(&format!("{HEAD}charge = []")).contains("there are 0 [[charge]] here"));
    let factor = "[[charge.factor]]\nmeter = \"wall\"\nunit = \"s\"\n";
    assert!(complaint(&with("", &factor.repeat(4))).contains("there are 5 [[charge.factor]] here"));
    let twice = with("", "").replace(HEAD, "");
    let double = complaint(&format!("{HEAD}{twice}{twice}"));
    assert!(double.contains("there are two charges `cpu`"), "{double}");
    let nested = format!("{HEAD}x = {}", "[".repeat(60_000));
    assert!(complaint(&nested).starts_with("test.toml:"));
}

#[test]
fn phases_are_summed_before_the_minimum_and_the_grid() {
    let text = with("", "").replace(
        "meter = \"cpu_time\"",
        "phases = [\"run\", \"create\"]\nminimum = \"10 ms\"\ngrid = \"4 ms\"",
    );
    let billed = |create, run| {
        let mut usage = Usage::new(true);
        usage.phases.create = Some(Nanos(create));
        usage.phases.run = Some(Nanos(run));
        parse(&text).bill(&usage).unwrap().lines[0].quantity.to_plain_string()
    };
    assert_eq!(billed(0, 0), "0.012");
    assert_eq!(billed(6_000_000, 6_000_000), "0.012");
    assert_eq!(billed(6_000_000, 6_000_001), "0.016");
}

fn usages() -> impl Strategy<Value = Usage> {
    let span = || proptest::option::weighted(0.9, 0_u64..20_000_000_000);
    let value = || proptest::option::weighted(0.8, any::<u64>());
    (span(), span(), value(), value(), value()).prop_map(|(start, run, memory, cycles, ticks)| {
        let mut usage = Usage::new(start.is_some());
        usage.phases.start = start.map(Nanos);
        usage.phases.run = run.map(Nanos);
        usage.set(Meter::MemoryAllocated, memory);
        usage.set(Meter::Cycles, cycles);
        usage.set(Meter::RefCycles, ticks);
        usage
    })
}

/// A charge per CPU-second on that grid and minimum, in nanoseconds.
fn gridded(grid: u64, minimum: u64) -> PriceModel {
    parse(&with("", &format!("grid = \"{grid} ns\"\nminimum = \"{minimum} ns\"")))
}

proptest! {
    #[test]
    fn the_lines_add_up_and_a_second_bill_is_the_same(usage in usages()) {
        for model in builtin() {
            let bill = model.bill(&usage);
            prop_assert_eq!(&bill, &model.bill(&usage));
            if let Ok(bill) = bill {
                let sum: Money = bill.lines.iter().map(|line| &line.amount).sum();
                prop_assert_eq!(&sum, &bill.total);
                for line in &bill.lines {
                    let price = &line.quantity * line.charge.price().as_exact();
                    let amount = line.amount.as_exact() * line.charge.per();
                    prop_assert_eq!(price, amount);
                }
            }
        }
    }

    #[test]
    fn a_lambda_bill_is_what_integers_say(start in 0..1_u64 << 40, run in 0..1_u64 << 40, mib in 0_u64..20_000) {
        // In units of 10^-13 USD x 1 MiB-ms / (1024 x 1000).
        let billed_ms = u128::from((start + run).div_ceil(1_000_000));
        let expected = billed_ms * u128::from(mib.max(128)) * 166_667;
        let usage = lambda_usage(Some(start), Some(run), mib << 20);
        let line = find("aws-lambda-x86").unwrap().bill(&usage).unwrap().lines.remove(0);
        let scaled = line.amount.as_exact() * &Exact::from(1024 * 1000 * 10_000_000_000);
        prop_assert_eq!(scaled, Exact::product([expected]));
    }

    #[test]
    fn a_finer_grid_never_bills_more(
        value: u64,
        fine in 1_u64..1_000_000_000,
        steps in 1_u64..1_000,
        minimum in 0_u64..1_000_000_000,
    ) {
        let mut usage = Usage::new(false);
        usage.set(Meter::CpuTime, value);
        let total = |model: PriceModel| model.bill(&usage).unwrap().total;
        let billed = total(gridded(fine, minimum));
        prop_assert!(billed <= total(gridded(fine * steps, minimum)));
        prop_assert!(total(gridded(1, minimum)) <= billed);
        prop_assert!(total(gridded(fine, 0)) <= billed);
    }

    #[test]
    fn more_usage_never_costs_less(usage in usages(), more: u32) {
        let mut larger = usage;
        larger.phases.run = usage.phases.run.map(|span| Nanos(span.0 + u64::from(more)));
        for meter in [Meter::MemoryAllocated, Meter::Cycles, Meter::RefCycles] {
            larger.set(meter, usage.get(meter).map(|value| value.saturating_add(more.into())));
        }
        for model in builtin() {
            if let (Ok(before), Ok(after)) = (model.bill(&usage), model.bill(&larger)) {
                prop_assert!(before.total <= after.total);
            }
        }
    }

    #[test]
    fn decimals_survive_being_stored(digits in "[0-9]{1,30}", decimals in "[0-9]{0,40}") {
        let text = if decimals.is_empty() { digits } else { format!("{digits}.{decimals}") };
        let value: Exact = text.parse().unwrap();
        let plain = value.to_plain_string();
        prop_assert_eq!(plain.parse(), Ok(value));
        prop_assert!(!plain.contains(['e', 'E', '-', '+']));
    }

    #[test]
    fn ratios_are_within_half_a_step(a in 0_u64..1 << 40, b in 1_u64..1 << 40, digits in 0_u32..12) {
        let ratio = Exact::from(a).ratio(&Exact::from(b), digits).unwrap();
        // 2 x |ratio x b - a| <= b x 10^-digits, in integers.
        let scale = 10_u128.pow(digits);
        let scaled: u128 = (&ratio * &Exact::product([scale])).to_plain_string().parse().unwrap();
        let error = (scaled * u128::from(b)).abs_diff(u128::from(a) * scale);
        prop_assert!(2 * error <= u128::from(b));
    }

    #[test]
    fn reciprocals_times_the_number_are_one(twos in 0_u32..62, fives in 0_u32..27) {
        let value = Exact::product([1 << twos, 5_u128.pow(fives)]);
        let one = &value * &value.reciprocal().unwrap();
        prop_assert_eq!(one, Exact::from(1));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
        let _ = PriceModel::parse(&text, "garbage.toml");
        let _ = text.parse::<Money>();
    }

    #[test]
    fn no_mutation_of_a_shipped_file_makes_the_parser_panic(
        which in 0..SHIPPED.len(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..12, "\\PC{0,4}"), 1..6),
    ) {
        let mut text = SHIPPED[which].1.to_owned();
        for (at, cut, insert) in edits {
            let mut start = at.index(text.len());
            while !text.is_char_boundary(start) {
                start -= 1;
            }
            let mut end = (start + cut).min(text.len());
            while !text.is_char_boundary(end) {
                end += 1;
            }
            text.replace_range(start..end, &insert);
        }
        match PriceModel::parse(&text, "mutant.toml") {
            Ok(model) => {
                for example in model.examples() {
                    let _ = example.check(&model);
                }
            }
            Err(error) => prop_assert!(error.to_string().starts_with("mutant.toml:")),
        }
    }
}
