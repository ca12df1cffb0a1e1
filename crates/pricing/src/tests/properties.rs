//! Properties that must hold for every usage and every model.

use proptest::prelude::*;

use super::{parse, with};
use crate::{
    Exact, Money, PriceModel, Settlement, Subtotal, Terms, UsageGroup, builtin_models,
    find_builtin_model,
};
use cyclometer_core::meter::{Meter, Usage};
use cyclometer_core::units::Nanos;

fn usages() -> impl Strategy<Value = Usage> {
    let span = || proptest::option::weighted(0.9, 0_u64..20_000_000_000);
    let value = || proptest::option::weighted(0.8, 0_u64..1 << 34);
    (span(), span(), proptest::collection::vec(value(), Meter::COUNT)).prop_map(
        |(start, run, values)| {
            let mut usage = Usage::new(start.is_some());
            usage.phases.start = start.map(Nanos);
            usage.phases.run = run.map(Nanos);
            for (meter, value) in Meter::ALL.iter().zip(values) {
                usage.set(*meter, value);
            }
            usage
        },
    )
}

/// Strategy for groups of invocations, as numbers and seconds of CPU time.
fn loads() -> impl Strategy<Value = Vec<(u64, u64)>> {
    proptest::collection::vec((0_u64..10_000, 0_u64..5_000_000_000), 0..6)
}

fn groups(model: &PriceModel, loads: &[(u64, u64)]) -> Vec<UsageGroup> {
    let group = |(requests, time): &(u64, u64)| {
        let mut usage = Usage::new(false);
        usage.set(Meter::CpuTime, *time);
        let terms = Terms::for_model(model);
        UsageGroup { requests: Exact::from(*requests), usage, terms, instance_spans: None }
    };
    loads.iter().map(group).collect()
}

fn settle(model: &PriceModel, loads: &[(u64, u64)], free: bool) -> Settlement {
    let mut terms = Terms::for_model(model);
    if !free {
        terms.exclude_allowances();
    }
    let subtotals = model.charge_subtotals(&groups(model, loads), &terms).unwrap();
    model.settle(&subtotals, &terms, model.rounding())
}

/// Returns a model with a charge per CPU-second on that grid and minimum, in nanoseconds.
fn gridded(grid: u64, minimum: u64) -> PriceModel {
    parse(&with("", &format!("grid = \"{grid} ns\"\nminimum = \"{minimum} ns\"")))
}

/// Returns a model with falling prices, and an allowance and packages of that many seconds.
fn full(free: u64, package: u64, credit: bool) -> PriceModel {
    let credit = if credit { "credit_price = \"0.75\"\n" } else { "" };
    let tiers = "[[charge.tier]]\nup_to = \"100 s\"\nprice = \"1\"\n[[charge.tier]]\n\
                 up_to = \"10000 s\"\nprice = \"0.5\"\n[[charge.tier]]\nprice = \"0.1\"\n";
    let head = format!("free = \"{free} s\"\npackage = \"{package} s\"\n{credit}");
    parse(&with(&head, tiers).replace("price = \"0.02\"\n", ""))
}

proptest! {
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
    fn a_gridded_bill_is_what_integers_say(value in 0_u64..1 << 60, grid in 1_u64..1 << 40, minimum in 0_u64..1 << 50) {
        let mut usage = Usage::new(false);
        usage.set(Meter::CpuTime, value);
        let amount = gridded(grid, minimum).bill(&usage).unwrap().total;
        // At 0.02 a second, 5 x 10^10 ns cost 1.
        let steps = u128::from(value.max(minimum)).div_ceil(u128::from(grid));
        let scaled = amount.as_exact() * &Exact::from(50_000_000_000);
        prop_assert_eq!(scaled, Exact::from_integer(steps * u128::from(grid)));
    }

    #[test]
    fn two_halves_of_a_month_cost_what_the_month_does(one in loads(), other in loads()) {
        let model = gridded(1_000_000, 3_000_000);
        let both: Vec<(u64, u64)> = one.iter().chain(&other).copied().collect();
        let apart = settle(&model, &one, true).total + settle(&model, &other, true).total;
        prop_assert_eq!(settle(&model, &both, true).total, apart);
    }

    #[test]
    fn where_prices_fall_a_larger_month_is_no_dearer(one in loads(), other in loads(), package in 1_u64..50) {
        let model = full(0, package, false);
        let both: Vec<(u64, u64)> = one.iter().chain(&other).copied().collect();
        let apart = settle(&model, &one, true).exact + settle(&model, &other, true).exact;
        prop_assert!(settle(&model, &both, true).exact <= apart);
    }

    #[test]
    fn an_allowance_never_raises_a_bill(load in loads(), free in 0_u64..20_000, package in 1_u64..50, credit: bool) {
        let model = full(free, package, credit);
        prop_assert!(settle(&model, &load, true).exact <= settle(&model, &load, false).exact);
    }

    #[test]
    fn more_never_costs_less_in_a_month(load in loads(), more in 0_u64..1_000, at: prop::sample::Index, free in 0_u64..20_000, package in 1_u64..50, credit: bool) {
        let model = full(free, package, credit);
        let mut larger = load.clone();
        if !larger.is_empty() {
            let at = at.index(larger.len());
            larger[at].0 += more;
        }
        prop_assert!(settle(&model, &load, true).exact <= settle(&model, &larger, true).exact);
    }

    #[test]
    fn settled_months_of_shipped_models_grow_with_their_quantities(
        which: prop::sample::Index,
        quantities in proptest::collection::vec((0_u64..1 << 50, 0_u64..1 << 50), 64),
    ) {
        let model = &builtin_models()[which.index(builtin_models().len())];
        let terms = Terms::for_model(model);
        let model = &PriceModel::parse_first(&model.to_toml(), "printed").unwrap();
        let bill = |pick: fn(&(u64, u64)) -> u64| {
            let empty = model.charge_subtotals(&[], &terms);
            let subtotals = empty.map(|list| {
                let pairs = list.into_iter().zip(&quantities);
                let sum = |(it, pair): (Subtotal, &(u64, u64))| {
                    Subtotal { charge: it.charge, quantity: Exact::from(pick(pair)) }
                };
                pairs.map(sum).collect::<Vec<_>>()
            });
            subtotals.ok().map(|subtotals| model.settle(&subtotals, &terms, model.rounding()))
        };
        let (Some(small), Some(large)) = (bill(|pair| pair.0), bill(|pair| pair.0 + pair.1)) else {
            return Ok(());
        };
        prop_assert!(small.total <= large.total, "{}", model.id());
        for (small, large) in small.positions.iter().zip(&large.positions) {
            prop_assert!(small.amount <= large.amount, "{}: {}", model.id(), small.name);
            let parts: Money = small.tiers.iter().map(|tier| &tier.amount).sum();
            prop_assert_eq!(parts.as_exact(), &(small.amount.as_exact() + small.credit.as_exact()));
        }
    }

    #[test]
    fn lines_add_up_and_a_second_bill_is_the_same(usage in usages()) {
        for model in builtin_models() {
            let bill = model.bill(&usage);
            prop_assert_eq!(&bill, &model.bill(&usage));
            if let Ok(bill) = bill {
                let sum: Money = bill.lines.iter().map(|line| &line.amount).sum();
                prop_assert_eq!(&sum, &bill.total);
                for line in &bill.lines {
                    let amount = &line.quantity * line.charge.list_rate();
                    prop_assert_eq!(&amount, line.amount.as_exact());
                }
            }
        }
    }

    #[test]
    fn more_usage_never_costs_less(usage in usages(), more: u32) {
        let mut larger = usage;
        larger.phases.run = usage.phases.run.map(|span| Nanos(span.0 + u64::from(more)));
        for meter in Meter::ALL {
            larger.set(*meter, usage.get(*meter).map(|value| value + u64::from(more)));
        }
        for model in builtin_models() {
            if let (Ok(before), Ok(after)) = (model.bill(&usage), model.bill(&larger)) {
                prop_assert!(before.total <= after.total, "{}", model.id());
            }
        }
    }

    #[test]
    fn a_lambda_bill_is_what_integers_say(
        start in 0_u64..1 << 38,
        run in 0_u64..1 << 38,
        mib in 0_u64..10_000,
    ) {
        // In units of 10^-13 USD x 1 MiB-ms / (1024 x 1000).
        let billed_ms = u128::from((start + run).div_ceil(1_000_000));
        let expected = billed_ms * u128::from(mib.max(128)) * 166_667;
        let mut usage = Usage::new(true);
        usage.phases.start = Some(Nanos(start));
        usage.phases.run = Some(Nanos(run));
        usage.set(Meter::MemoryAllocated, mib << 20);
        let bill = find_builtin_model("aws-lambda-x86").unwrap().bill(&usage).unwrap();
        let duration = bill.lines.iter().find(|line| line.charge.name() == "duration").unwrap();
        let scaled = duration.amount.as_exact() * &Exact::from(1024 * 1000 * 10_000_000_000);
        prop_assert_eq!(scaled, Exact::from_integer(expected));
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
    fn fractions_survive_being_stored(a: u64, b in 1_u64..) {
        let value = Exact::from(a).checked_div(&Exact::from(b)).unwrap();
        let stored = value.to_fraction_string().unwrap_or_else(|| value.to_plain_string());
        prop_assert_eq!(stored.parse(), Ok(value));
    }

    #[test]
    fn ratios_are_within_half_a_step(a in 0_u64..1 << 40, b in 1_u64..1 << 40, digits in 0_u32..12) {
        let ratio = Exact::from(a).ratio_to(&Exact::from(b), digits).unwrap();
        // 2 x |ratio x b - a| <= b x 10^-digits, in integers.
        let scale = 10_u128.pow(digits);
        let scaled: u128 = (&ratio * &Exact::from_integer(scale)).to_plain_string().parse().unwrap();
        let error = (scaled * u128::from(b)).abs_diff(u128::from(a) * scale);
        prop_assert!(2 * error <= u128::from(b));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
        crate::survival::price_model_survives(&text);
        let _ = text.parse::<Money>();
    }
}
