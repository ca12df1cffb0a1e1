//! Settlement of a month: allowances, tiers, packages, pools and fees. All figures are worked out
//! by hand.

use super::refusals::refused;
use super::{HEAD, parse, with};
use crate::{Charge, Exact, Gigabyte, PriceModel, Settlement, Terms, UsageGroup};
use cyclometer_core::meter::{Meter, Usage};
use cyclometer_core::units::Nanos;

const SECOND: u64 = 1_000_000_000;

/// Returns a group of invocations with that many seconds of CPU time each, and 1 GiB.
fn group(model: &PriceModel, requests: u64, seconds: u64) -> UsageGroup {
    let mut usage = Usage::new(false);
    usage.set(Meter::CpuTime, seconds * SECOND);
    usage.set(Meter::MemoryAllocated, 1 << 30);
    usage.phases.run = Some(Nanos(seconds * SECOND));
    UsageGroup {
        requests: Exact::from(requests),
        usage,
        terms: Terms::for_model(model),
        instance_spans: None,
    }
}

fn settle(model: &PriceModel, groups: &[UsageGroup], terms: &Terms) -> Settlement {
    let subtotals = model.charge_subtotals(groups, terms).unwrap();
    model.settle(&subtotals, terms, model.rounding())
}

/// Returns total and billable quantity of the first position, for that many seconds.
fn seconds(text: &str, seconds: u64) -> (String, String) {
    let model = parse(text);
    let bill = settle(&model, &[group(&model, seconds, 1)], &Terms::for_model(&model));
    (bill.total.to_plain_string(), bill.positions[0].billable.to_plain_string())
}

fn pair(total: &str, billable: &str) -> (String, String) {
    (total.to_owned(), billable.to_owned())
}

#[test]
fn an_allowance_comes_off_the_quantity() {
    let text = with("free = \"100 s\"", "");
    assert_eq!(seconds(&text, 250), pair("3", "150"));
    assert_eq!(seconds(&text, 100), pair("0", "0"));
    assert_eq!(seconds(&text, 101), pair("0.02", "1"));
    assert_eq!(seconds(&text, 1), pair("0", "0"));
    let model = parse(&text);
    let mut terms = Terms::for_model(&model);
    let groups = [group(&model, 250, 1)];
    assert_eq!(settle(&model, &groups, &terms).positions[0].free.to_plain_string(), "100");
    terms.exclude_allowances();
    let bill = settle(&model, &groups, &terms);
    assert_eq!(bill.total.to_plain_string(), "5");
    assert!(bill.positions[0].free.is_zero());
    // The bill of one invocation is independent of the month.
    assert_eq!(model.bill(&groups[0].usage).unwrap().total.to_plain_string(), "0.02");
}

#[test]
fn a_credit_comes_off_the_amount_and_never_below_nothing() {
    let text = with("free = \"180000 vCPU-s\"\ncredit_price = \"0.000024\"\nunit = \"vCPU-s\"", "")
        .replace("\"0.02\"", "\"0.0000336\"");
    // 300,000 x 0.0000336 = 10.08, less 180,000 x 0.000024 = 4.32.
    assert_eq!(seconds(&text, 300_000), pair("5.76", "300000"));
    // 100,000 x 0.0000336 = 3.36.
    assert_eq!(seconds(&text, 100_000), pair("0", "100000"));
    let model = parse(&text);
    let bill = settle(&model, &[group(&model, 100_000, 1)], &Terms::for_model(&model));
    assert_eq!(bill.positions[0].credit.to_plain_string(), "3.36");
    let mut terms = Terms::for_model(&model);
    terms.exclude_allowances();
    let bill = settle(&model, &[group(&model, 100_000, 1)], &terms);
    assert_eq!(bill.total.to_plain_string(), "3.36");
}

/// Returns a model with a price of 1 up to 10 s, 0.5 up to 20 s, then 0.1.
fn tiered(more: &str) -> String {
    let tiers = "[[charge.tier]]\nup_to = \"10 s\"\nprice = \"1\"\n[[charge.tier]]\nup_to = \"20 s\"\n\
                 price = \"0.5\"\n[[charge.tier]]\nprice = \"0.1\"\n";
    with(more, tiers).replace("price = \"0.02\"\n", "")
}

#[test]
fn tiers_are_prices_of_parts() {
    for (quantity, total) in
        [(0, "0"), (1, "1"), (10, "10"), (11, "10.5"), (20, "15"), (21, "15.1"), (120, "25")]
    {
        assert_eq!(seconds(&tiered(""), quantity).0, total, "{quantity} s");
    }
    // Tiers apply to what is left after the allowance.
    assert_eq!(seconds(&tiered("free = \"5 s\""), 26), pair("15.1", "21"));
    assert_eq!(seconds(&tiered("per = 10"), 21).0, "1.51");
    let model = parse(&tiered(""));
    let bill = settle(&model, &[group(&model, 120, 1)], &Terms::for_model(&model));
    let parts: Vec<(String, String)> = bill.positions[0]
        .tiers
        .iter()
        .map(|tier| (tier.quantity.to_plain_string(), tier.amount.to_plain_string()))
        .collect();
    assert_eq!(parts, [pair("10", "10"), pair("10", "5"), pair("100", "10")]);
    // The list price is that of the first tier.
    assert_eq!(model.charges().next().unwrap().list_rate().to_plain_string(), "1");
}

#[test]
fn nine_billion_requests_are_what_infracost_says() {
    // infracost's lambda_function_test: 9,000,000,000 x 1024 ms x 1 GB.
    let text = format!(
        "{HEAD}[[charge]]\nname = \"duration\"\nunit = \"GB-s\"\n\
         [[charge.factor]]\nmeter = \"memory_allocated\"\nunit = \"GiB\"\n\
         [[charge.factor]]\nphases = [\"run\"]\nunit = \"s\"\ngrid = \"1 ms\"\n\
         [[charge.tier]]\nup_to = \"6000000000 GB-s\"\nprice = \"0.0000166667\"\n\
         [[charge.tier]]\nup_to = \"15000000000 GB-s\"\nprice = \"0.000015\"\n\
         [[charge.tier]]\nprice = \"0.0000133334\"\n\
         [[charge]]\nname = \"requests\"\nprice = \"0.20\"\nper = 1_000_000\n\
         [[charge.factor]]\nmeter = \"requests\"\nunit = \"request\"\n"
    );
    let model = parse(&text);
    let mut group = group(&model, 9_000_000_000, 1);
    group.usage.phases.run = Some(Nanos(1_024_000_000));
    let bill = settle(&model, &[group], &Terms::for_model(&model));
    let tiers: Vec<String> =
        bill.positions[0].tiers.iter().map(|tier| tier.amount.to_plain_string()).collect();
    assert_eq!(tiers, ["100000.2", "48240"]);
    assert_eq!(bill.positions[1].amount.to_plain_string(), "1800");
    assert_eq!(bill.total.to_plain_string(), "150040.2");
}

#[test]
fn packages_are_whole_after_the_allowance() {
    let text = with("free = \"500 s\"\npackage = \"1000 s\"", "");
    for (quantity, total, billable) in
        [(500, "0", "0"), (501, "20", "1000"), (1_500, "20", "1000"), (1_501, "40", "2000")]
    {
        assert_eq!(seconds(&text, quantity), pair(total, billable), "{quantity} s");
    }
}

/// Two charges in one pool: CPU seconds count 2.5, requests a half.
const POOLED: &str = "[[pool]]\nname = \"units\"\nunit = \"CU\"\nfree = \"10 CU\"\n\
    [[pool.tier]]\nup_to = \"100 CU\"\nprice = \"0.2\"\n[[pool.tier]]\nprice = \"0.1\"\n\
    [[charge]]\nname = \"cpu\"\npool = \"units\"\nweight = \"2.5\"\n\
    [[charge.factor]]\nmeter = \"cpu_time\"\nunit = \"s\"\n\
    [[charge]]\nname = \"requests\"\npool = \"units\"\nweight = \"0.5\"\n\
    [[charge.factor]]\nmeter = \"requests\"\nunit = \"request\"\n";

#[test]
fn a_pool_has_one_allowance_and_one_set_of_tiers() {
    let model = parse(&format!("{HEAD}{POOLED}"));
    // 20 invocations of 3 s: 60 s x 2.5 + 20 x 0.5 = 160 CU, less 10: 100 at 0.2, 50 at 0.1.
    let bill = settle(&model, &[group(&model, 20, 3)], &Terms::for_model(&model));
    assert_eq!(bill.positions.len(), 1);
    let position = &bill.positions[0];
    assert_eq!(position.quantity.to_plain_string(), "160");
    assert_eq!(position.billable.to_plain_string(), "150");
    assert_eq!(bill.total.to_plain_string(), "25");
    assert_eq!((&*position.name, &*position.unit), ("units", "CU"));
    let from: Vec<(&str, String)> = position
        .subtotals
        .iter()
        .map(|it| (it.charge.name(), it.quantity.to_plain_string()))
        .collect();
    assert_eq!(from, [("cpu", "60".to_owned()), ("requests", "20".to_owned())]);
    // One invocation, at the first tier's price: (3 x 2.5 + 0.5) x 0.2.
    let one = model.bill(&group(&model, 1, 3).usage).unwrap();
    assert_eq!(one.total.to_plain_string(), "1.6");
}

const RENTED: &str = "[[input]]\nname = \"disk\"\nkind = \"size\"\ndefault = \"2 GiB\"\nabout = \"x\"\n\
    [[charge]]\nname = \"plan\"\nbasis = \"period\"\nprice = \"5\"\n\
    [[charge]]\nname = \"disk\"\nbasis = \"period\"\nprice = \"0.01\"\n\
    [[charge.factor]]\ninput = \"disk\"\nunit = \"GiB\"\n[[charge.factor]]\nperiod = true\nunit = \"day\"\n\
    [[charge]]\nname = \"seat\"\nbasis = \"period\"\nprice = \"3\"\n\
    [[charge.factor]]\nperiod = true\nunit = \"month\"\n";

#[test]
fn what_is_rented_is_paid_for_without_any_invocation() {
    let model = parse(&format!("{HEAD}{RENTED}"));
    let mut terms = Terms::for_model(&model);
    // 5, and 2 GiB x 30 days x 0.01, and 3 a month.
    assert_eq!(settle(&model, &[], &terms).total.to_plain_string(), "8.6");
    terms.set_period(crate::parse_period("31").unwrap());
    assert_eq!(settle(&model, &[], &terms).total.to_plain_string(), "8.62");
    terms.set_input(&model, "disk", "0 B", Gigabyte::Decimal).unwrap();
    assert_eq!(settle(&model, &[], &terms).total.to_plain_string(), "8");
    let invoked = settle(&model, &[group(&model, 1_000_000, 1)], &terms);
    assert_eq!(invoked.total.to_plain_string(), "8");
    let units: Vec<&str> = model.charges().map(Charge::unit).collect();
    assert_eq!(units, ["month", "GiB-day", "month"]);
}

#[test]
fn an_instance_is_paid_for_once_however_much_it_serves() {
    let text = with("basis = \"instance\"", "minimum = \"60 s\"")
        .replace("meter = \"cpu_time\"", "phases = [\"start\", \"run\"]");
    let model = parse(&text);
    let mut one = group(&model, 1_000, 1);
    // Without instance spans each request is a span of its own: 1000 x 60 s x 0.02.
    assert_eq!(
        settle(&model, &[one.clone()], &Terms::for_model(&model)).total.to_plain_string(),
        "1200"
    );
    one.instance_spans = Some((Exact::from(2), Nanos(100 * SECOND)));
    assert_eq!(
        settle(&model, &[one.clone()], &Terms::for_model(&model)).total.to_plain_string(),
        "4"
    );
    one.instance_spans = Some((Exact::from(2), Nanos(SECOND)));
    assert_eq!(settle(&model, &[one], &Terms::for_model(&model)).total.to_plain_string(), "2.4");
}

#[test]
fn positions_are_rounded_where_the_policy_says() {
    let second = "[[charge]]\nname = \"requests\"\nprice = \"0.005\"\n[[charge.factor]]\n\
                  meter = \"requests\"\nunit = \"request\"\n";
    let text = with("", second).replace("\"0.02\"", "\"0.005\"");
    for (policy, total, first) in [
        ("none", "0.01", "0.005"),
        ("line_half_up", "0.02", "0.01"),
        ("line_half_down", "0", "0"),
        ("line_half_even", "0", "0"),
        ("line_up", "0.02", "0.01"),
        ("sum_half_up", "0.01", "0.005"),
        ("sum_up", "0.01", "0.005"),
    ] {
        let model = parse(&text.replace("\"none\"", &format!("\"{policy}\"")));
        let bill = settle(&model, &[group(&model, 1, 1)], &Terms::for_model(&model));
        assert_eq!(bill.total.to_plain_string(), total, "{policy}");
        assert_eq!(bill.exact.to_plain_string(), "0.01", "{policy}");
        assert_eq!(bill.positions[0].rounded.to_plain_string(), first, "{policy}");
    }
    let digits = text.replace("\"none\"", "\"line_up\"\ndigits = 0");
    let model = parse(&digits);
    let bill = settle(&model, &[group(&model, 1, 1)], &Terms::for_model(&model));
    assert_eq!(bill.total.to_plain_string(), "2");
}

#[test]
fn examples_are_held_to_their_printed_digits() {
    let example = |figure: &str| {
        let text = format!(
            "{}[[example]]\nname = \"e\"\nsource = \"s\"\n{figure}\n[[example.usage]]\nrequests = 7\n\
             meters = {{ cpu_time = \"100 ms\" }}\n",
            with("free = \"0.2 s\"", "")
        );
        let model = parse(&text.replace("\"none\"", "\"line_half_up\""));
        model.examples()[0].check_against(&model).map_err(|failure| failure.to_string())
    };
    // 0.7 s less 0.2 s at 0.02: 0.01 exactly.
    for figure in [
        "amount = \"0.01\"",
        "amount = \"0.010\"",
        "amount = \"0.0\"",
        "lines = { cpu = \"0.01\" }",
        "quantities = { cpu = \"0.7\" }",
        "billable = { cpu = \"0.5\" }",
        "free = false\namount = \"0.014\"",
        "amount = \"0.02\"\ndisputed = \"it is 0.01\"",
    ] {
        assert_eq!(example(figure), Ok(()), "{figure}");
    }
    for (figure, failure) in [
        (
            "amount = \"0.02\"",
            "the example `e` expects the total to be 0.02, and the model gives 0.01 (exactly 0.01)",
        ),
        (
            "quantities = { cpu = \"0.5\" }",
            "the example `e` expects the quantity of `cpu` to be 0.5, and the model gives 0.7 \
             (exactly 0.7)",
        ),
        (
            "billable = { cpu = \"0.70\" }",
            "the example `e` expects the billable quantity of `cpu` to be 0.70, and the model \
             gives 0.50 (exactly 0.5)",
        ),
        (
            "lines = { cpu = \"0.011\" }",
            "the example `e` expects the amount of `cpu` to be 0.011, and the model gives 0.010 \
             (exactly 0.01)",
        ),
        (
            "amount = \"0.01\"\ndisputed = \"it is 0.02\"",
            "the example `e` is marked as disputed, and comes out",
        ),
    ] {
        assert_eq!(example(figure), Err(failure.to_owned()), "{figure}");
    }
    // A free month costs nothing, and 0.014 is 0.01 on a bill by the cent.
    assert_eq!(example("free = false\namount = \"0.01\""), Ok(()));
}

#[test]
fn a_position_uses_up_what_another_leaves_of_its_allowance() {
    let idle = "[[input]]\nname = \"idle\"\nkind = \"time\"\ndefault = \"30 s\"\nabout = \"x\"\n";
    let text = with(
        "free = \"100 s\"",
        &format!(
            "[[charge]]\nname = \"idle\"\nbasis = \"period\"\nprice = \"0.01\"\n\
         free_rest_of = \"cpu\"\n[[charge.factor]]\ninput = \"idle\"\nunit = \"s\"\n{idle}"
        ),
    );
    let model = parse(&text);
    let mut terms = Terms::for_model(&model);
    let free = |used: u64, terms: &Terms| {
        let bill = settle(&model, &[group(&model, used, 1)], terms);
        let free = bill.positions[1].free.to_plain_string();
        (free, bill.total.to_plain_string())
    };
    // Of 100 s, 80 are used: 20 of the 30 idle ones are free, and 10 cost 0.01 each.
    assert_eq!(free(80, &terms), pair("20", "0.1"));
    // More is left than there are idle ones.
    assert_eq!(free(10, &terms), pair("30", "0"));
    // Nothing is left: 1 x 0.02 + 30 x 0.01.
    assert_eq!(free(100, &terms), pair("0", "0.3"));
    assert_eq!(free(101, &terms), pair("0", "0.32"));
    terms.exclude_allowances();
    assert_eq!(free(10, &terms), pair("0", "0.5"));
}

#[test]
fn an_allowance_that_cannot_be_shared_is_refused() {
    let second = |keys: &str| {
        format!(
            "[[charge]]\nname = \"wall\"\nprice = \"1\"\n{keys}\n[[charge.factor]]\n\
             meter = \"wall\"\nunit = \"s\"\n"
        )
    };
    let text = |first: &str, keys: &str| with(first, &second(keys));
    let rest = "free_rest_of = ▸\"cpu\"";
    refused(&text("", rest), "`cpu` has no allowance that it could leave");
    let money = "free = \"1 s\"\ncredit_price = \"1\"";
    refused(&text(money, rest), "the allowance of `cpu` is money: its rest is no quantity");
    let unit = format!("unit = \"h\"\n{rest}");
    refused(
        &text("free = \"1 s\"", &unit),
        "the allowance of `cpu` is in s, and this position in h",
    );
    refused(
        &text("free = \"1 s\"", "free_rest_of = ▸\"cpi\""),
        "there is no other position `cpi`: did you mean `cpu`?",
    );
    parse(&text("free = \"1 s\"", &rest.replace('▸', "")));
}
