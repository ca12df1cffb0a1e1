use std::collections::BTreeMap;

use serde_json::Value;

use super::{explain_bill, explain_period};
use cyclometer_core::meter::{Meter, Usage};
use cyclometer_core::units::Nanos;
use cyclometer_pricing::{
    Exact, PriceModel, Terms, UsageBuilder, builtin_models, find_builtin_model,
};

fn exact(text: &str) -> Exact {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Returns the page for one group of requests.
fn page(model: &str, said: &[&str]) -> String {
    let model = find_builtin_model(model).unwrap();
    let mut given = UsageBuilder::new(model, Terms::for_model(model));
    for text in said {
        given.apply_assignment(text).unwrap();
    }
    let (group, notes) = given.build_group().unwrap();
    let groups = [group];
    explain_period(model, &groups, given.terms(), model.rounding())
        .unwrap()
        .with_notes(notes)
        .to_text()
}

/// Asserts that all these lines occur, in this order, however far apart their words are.
fn holds(text: &str, lines: &[&str]) {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rest = text.lines();
    for line in lines {
        assert!(rest.any(|it| words(it) == *line), "no `{line}` (here) in\n{text}");
    }
}

#[test]
fn three_million_times_120_ms_at_1536_mb() {
    // https://aws.amazon.com/lambda/pricing/, example 1.
    let text = page(
        "aws-lambda-x86",
        &["requests=3M", "wall=120ms", "memory_allocated=1536MB", "tmp_storage=0.5GB"],
    );
    assert_eq!(
        text,
        "\
AWS Lambda x86, us-east-1 (aws-lambda-x86), from 2025-08-01, USD
3,000,000 requests of: run 120 ms, memory_allocated 1.5 GiB

  duration, GB-s
    memory_allocated                  1.5 GiB
    run                               120 ms = 0.12 s
    1.5 GiB x 0.12 s                = 0.18 GB-s a request
    x 3,000,000 requests            = 540,000 GB-s
    free                            - 400,000 GB-s
    to pay                          = 140,000 GB-s
    x $0.0000166667                 = $2.333338         -> $2.33

  requests
    invocations
      requests                        3,000,000 requests
    free                            - 1,000,000 requests
    to pay                          = 2,000,000 requests
    x $0.20 / 1,000,000             = $0.40             -> $0.40

  duration                            $2.33
  requests                          + $0.40
  total (line_half_up, 2 decimals)  = $2.73
  nothing of: large events, tmp storage, streaming, provisioned capacity,
    snapstart cache, snapstart restores, tenant environments,
    durable operations, durable writes, durable storage, kafka pollers,
    sqs pollers
  switched off: provisioned invocations (provisioned is off),
    large provisioned events (provisioned is off), provisioned duration
    (provisioned is off)

  note: MB as Amazon Web Services writes it: 1536 MiB
  note: GB as Amazon Web Services writes it: 0.5 GiB
  note: run is taken to be wall, 120 ms: the model bills phases
"
    );
}

#[test]
fn whole_packages_of_requests_and_messages() {
    // 259,200,000 / 20 + 100 = 12,960,100; 100 x 2,592,000 s x 0.128 = 33,177,600.
    let text = page(
        "cloudflare-durable-objects",
        &["requests=100", "instances=100", "instance_time=30day", "websocket_messages=259.2M"],
    );
    holds(
        &text,
        &[
            "100 requests in 100 instance stretches of 30 days",
            "requests 100 requests",
            "websocket_messages 259,200,000 messages",
            "x 0.05 = 12,960,000 requests",
            "together = 12,960,100 requests",
            "free - 1,000,000 requests",
            "to pay = 11,960,100 requests",
            "up to a multiple of 1,000,000 = 12,000,000 requests",
            "x $0.15 / 1,000,000 = $1.80 -> $1.80",
            "in s = 2,592,000 s",
            "x 0.128 = 331,776 GB-s",
            "x 100 instance stretches = 33,177,600 GB-s",
            "up to a multiple of 1,000,000 = 33,000,000 GB-s",
            "x $12.50 / 1,000,000 = $412.50 -> $412.50",
            "total (line_half_up, 2 decimals) = $419.30",
        ],
    );
}

#[test]
fn an_allowance_that_is_money() {
    // 10,000,000 x 0.2 s x 0.5 GiB x 0.0000025 = 2.50; 360,000 x 0.0000025 = 0.90.
    let text = page("google-cloud-run", &["requests=10M", "run=130ms", "memory_allocated=512MiB"]);
    holds(
        &text,
        &[
            "note: 1 vCPU assumed, what a service has unless configured",
            "up to the next 100 ms = 200 ms = 0.2 s",
            "x 0.000024 = 48 USD",
            "free - 4.32 USD",
            "0.5 GiB x 0.2 s = 0.1 GiB-s a request",
            "x $0.0000025 = $2.50",
            "free, as money 360,000 GiB-s",
            "x $0.0000025 - $0.90",
            "to pay = $1.60 -> $1.60",
            "note: each request has an instance to itself; those at the same time would",
        ],
    );
    // 1,000,000 x 0.1 s x 0.5 GiB x 0.0000025 = 0.125, less than the allowance.
    let text = page("google-cloud-run", &["requests=1M", "run=100ms", "memory_allocated=512MiB"]);
    holds(&text, &["no more than there is - $0.125", "to pay = $0.00 -> $0.00"]);
}

#[test]
fn each_tier_at_its_own_price() {
    // 18,250,000,000 x 2.048 s x 2 GiB = 74,752,000,000 GB-s.
    let text =
        page("aws-lambda-arm", &["requests=18.25G", "run=2048ms", "memory_allocated=2048MB"]);
    holds(
        &text,
        &[
            "to pay = 74,751,600,000 GB-s",
            "first 7,500,000,000 GB-s",
            "x $0.0000133334 = $100,000.50",
            "next 11,250,000,000 GB-s",
            "x $0.0000120001 = $135,001.125",
            "the rest 56,001,600,000 GB-s",
            "x $0.0000106667 = $597,352.26672",
            "together = $832,353.89172 -> $832,353.89",
        ],
    );
}

#[test]
fn a_virtual_currency() {
    // 5,000,000 + 1,000,000 cycles at 755,000,000,000 a dollar.
    let text = page("internet-computer", &["wasm_ops=1M"]);
    holds(
        &text,
        &[
            "update_messages 1 message",
            "x 5,000,000 = 5,000,000 cycles",
            "wasm_ops 1,000,000 events",
            "1,000,000 events x 1 share = 1,000,000 instructions a request",
            "together = 6,000,000 cycles",
            "x $1.00 / 755,000,000,000 = ~$0.00000794701986754967",
            "~: cut to 15 digits; --format json has them all",
        ],
    );
}

#[test]
fn all_that_is_missing_is_named_at_once() {
    let model = find_builtin_model("aws-lambda-x86").unwrap();
    let mut given = UsageBuilder::new(model, Terms::for_model(model));
    given.apply_assignment("requests=3M").unwrap();
    let groups = [given.build_group().unwrap().0];
    let refusals = explain_period(model, &groups, given.terms(), model.rounding()).unwrap_err();
    let texts: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "`memory_allocated` was not measured (needed by the charge `duration`)",
            "no phase `start` or `run` was measured (needed by the charge `duration`)",
        ]
    );
}

#[test]
fn the_bill_of_one_invocation_and_what_it_is_for() {
    let model = find_builtin_model("aws-lambda-x86").unwrap();
    let mut usage = Usage::new(true);
    usage.phases.start = Some(Nanos(50_000_000));
    usage.phases.run = Some(Nanos(203_400_000));
    usage.set(Meter::MemoryAllocated, 128 << 20);
    usage.set(Meter::MemoryPeak, 32 << 20);
    usage.set(Meter::CpuTime, 54_000_000);
    usage.set(Meter::CpuStartup, 50_000_000);
    let bill = explain_bill(model, &usage, &Terms::for_model(model)).unwrap();
    // 0.125 GiB x 254 ms x 0.0000166667, of which 0.6 ms are the grid's, 50 ms
    // the start's, and 4 ms of CPU were worked in a quarter of the memory.
    assert_eq!(*bill.total().as_exact(), exact("0.000000729167725"));
    let ms = exact("0.0000000020833375");
    let of = |count: &str| &ms * &exact(count);
    assert_eq!(*bill.waste().rounding.as_exact(), of("0.6"));
    assert_eq!(*bill.waste().startup.as_exact(), of("50"));
    assert_eq!(*bill.waste().idle.as_exact(), of("199.4"));
    assert_eq!(*bill.waste().used.as_exact(), of("1"));
    assert_eq!(*bill.waste().headroom.as_exact(), of("3"));
    assert_eq!(*bill.waste().fees.as_exact(), exact("0.0000002"));
    holds(
        &bill.to_text(),
        &[
            "one invocation at the list price: start 50 ms, run 203.4 ms,",
            "start + run 253.4 ms",
            "up to the next 1 ms = 254 ms = 0.254 s",
            "0.125 GiB x 0.254 s = 0.03175 GB-s",
            "x $0.0000166667 = $0.000000529167725",
            "the request 1 request",
            "x $0.20 / 1,000,000 = $0.0000002",
            "total $0.000000729167725",
            "used $0.0000000020833375 (0.3 %)",
            "4 ms of CPU after the start-up, 32 MiB of memory touched",
            "idle $0.0000004154174975 (57.0 %)",
            "254 ms billed, 4 ms of CPU after the start-up",
            "headroom $0.0000000062500125 (0.9 %)",
            "128 MiB allocated, 32 MiB touched",
            "rounding $0.0000000012500025 (0.2 %)",
            "253.4 ms is billed as 254 ms",
            "startup $0.000000104166875 (14.3 %)",
            "until the first instruction: start 50 ms",
            "fees $0.0000002 (27.4 %)",
            "whatever it does: invocations",
        ],
    );
    assert_eq!(bill.to_json()["total"], "0.000000729167725");
    let idle = "254 ms billed, 4 ms of CPU after the start-up";
    assert_eq!(bill.to_json()["reasons"]["idle"], idle);
    // With the same CPU time, but without its split by phase: 203.4 ms of run.
    usage.set(Meter::CpuStartup, None);
    let bill = explain_bill(model, &usage, &Terms::for_model(model)).unwrap();
    assert_eq!(*bill.waste().unmeasured.as_exact(), of("203.4"));
    assert!(bill.waste().idle.is_zero() && bill.waste().used.is_zero());
    holds(
        &bill.to_text(),
        &["unmeasured $0.0000004237508475 (58.1 %)", "used or not? not measured: cpu_startup"],
    );
    assert_eq!(bill.to_json()["reasons"]["unmeasured"], "used or not? not measured: cpu_startup");
}

/// Calls `each` with the explanation of every example.
fn every_example(mut each: impl FnMut(&PriceModel, &str, &super::Explanation<'_>)) {
    for model in builtin_models() {
        for example in model.examples() {
            let explained =
                explain_period(model, example.usage_groups(), example.terms(), example.rounding());
            let name = format!("{}: {}", model.id(), example.name());
            if let Ok(explanation) = explained {
                each(model, &name, &explanation);
            }
        }
    }
}

#[test]
fn nothing_is_wider_than_80_columns() {
    let mut pages = 0;
    every_example(|model, name, explanation| {
        let mut texts = vec![explanation.to_text()];
        for group in explanation.groups {
            texts.extend(explain_bill(model, &group.usage, &group.terms).map(|it| it.to_text()));
        }
        for text in texts {
            let wide = text.lines().find(|line| line.chars().count() > 80);
            assert_eq!(wide, None, "{name}");
            assert!(!text.contains('\u{a0}'), "{name}");
            pages += 1;
        }
    });
    assert!(pages > 400, "{pages}");
}

/// Returns the number under a key: its fraction, if it has one.
fn number(object: &Value, key: &str) -> Exact {
    let fraction = object.get(format!("{key}_fraction"));
    exact(fraction.unwrap_or(&object[key]).as_str().unwrap_or_else(|| panic!("{key}: {object}")))
}

fn each<'a>(object: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + Clone {
    object[key].as_array().unwrap_or_else(|| panic!("no {key} in {object}")).iter()
}

fn sum<'a>(objects: impl Iterator<Item = &'a Value>, key: &str) -> Exact {
    objects.fold(Exact::default(), |sum, it| &sum + &number(it, key))
}

#[test]
fn every_product_and_sum_of_the_json_comes_out() {
    let mut products = 0;
    every_example(|_, name, explanation| {
        let json = explanation.to_json();
        for charge in each(&json, "charges") {
            for part in each(charge, "parts") {
                let billed = each(part, "factors").map(|factor| number(factor, "billed"));
                let product = billed.reduce(|one, other| &one * &other);
                // Without factors: a flat fee, or nothing.
                let product = product.unwrap_or_else(|| number(part, "each"));
                assert_eq!(product, number(part, "each"), "{name}: {part}");
                let all = &number(part, "each") * &number(part, "count");
                assert_eq!(all, number(part, "quantity"), "{name}: {part}");
                products += 2;
            }
            let all = sum(each(charge, "parts"), "quantity");
            assert_eq!(all, number(charge, "quantity"), "{name}: {charge}");
        }
        for position in each(&json, "positions") {
            for from in each(position, "from") {
                let adds = &number(from, "quantity") * &number(from, "weight");
                assert_eq!(adds, number(from, "adds"), "{name}: {from}");
            }
            assert_eq!(sum(each(position, "from"), "adds"), number(position, "quantity"));
            let mut left = &number(position, "quantity") - &number(position, "free");
            if position.get("package").is_some() {
                left = left.up_to_multiple(&number(position, "package"));
            }
            assert_eq!(left, number(position, "billable"), "{name}: {position}");
            assert_eq!(sum(each(position, "tiers"), "quantity"), left, "{name}: {position}");
            for tier in each(position, "tiers") {
                let amount = &number(tier, "quantity") * &number(tier, "price");
                let amount = amount.checked_div(&number(position, "per")).unwrap();
                assert_eq!(amount, number(tier, "amount"), "{name}: {tier}");
                products += 1;
            }
            let net = &sum(each(position, "tiers"), "amount") - &number(position, "credit");
            assert_eq!(net, number(position, "amount"), "{name}: {position}");
        }
        assert_eq!(sum(each(&json, "positions"), "amount"), number(&json, "exact_total"));
        let policy = json["rounding"]["policy"].as_str().unwrap_or_default();
        if policy.starts_with("line") {
            assert_eq!(sum(each(&json, "positions"), "rounded"), number(&json, "total"));
        }
    });
    assert!(products > 2000, "{products}");
}

/// Parses a number of a page, in the base unit of its dimension: `120 ms`, `$0.20`.
fn shown(text: &str) -> Option<(Exact, Exact)> {
    let text = text.trim();
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let rest = text.get(start..)?;
    let end = rest.find(|c: char| !matches!(c, '0'..='9' | ',' | '.')).unwrap_or(rest.len());
    let (digits, unit) = rest.split_at(end);
    let value: Exact = digits.replace(',', "").parse().ok()?;
    let sizes: BTreeMap<&str, &str> = BTreeMap::from([
        ("ns", "0.000001"),
        ("us", "0.001"),
        ("ms", "1"),
        ("s", "1000"),
        ("min", "60000"),
        ("h", "3600000"),
        ("day", "86400000"),
        ("days", "86400000"),
        ("mvCPU", "0.001"),
    ]);
    let unit = unit.split_whitespace().next().unwrap_or_default();
    let size = sizes.get(unit).map_or_else(|| Exact::from(1), |size| exact(size));
    Some((value.clone(), &value * &size))
}

/// Checks the products and differences of a page as a reader would; returns their number.
fn follow(text: &str) -> usize {
    let mut before: Option<(Exact, Exact)> = None;
    let mut due: Option<Exact> = None;
    let mut checked = 0;
    // Product of a line that goes on in the next one.
    let mut begun: Option<Exact> = None;
    for line in text.lines().filter(|line| line.starts_with("    ")) {
        if !line.contains('=') {
            let (goes_on, rest) = match line.trim().strip_prefix("x ") {
                Some(rest) => (begun.take(), rest),
                None => (None, line.trim()),
            };
            let factors = rest.split(" x ").filter_map(shown).map(|(value, _)| value);
            begun = goes_on.into_iter().chain(factors).reduce(|one, other| &one * &other);
        }
        if line.len() <= 38 {
            continue;
        }
        let Some((left, right)) = line.split_at_checked(36).or(Some((line, ""))) else { continue };
        let (left, right) = match line.rfind("  = ").or_else(|| line.find(" = ")) {
            Some(at) if !right.starts_with(['=', '-', '+', ' ']) => line.split_at(at),
            _ => (left, right),
        };
        let left = left.trim();
        let sign = right.trim_start().chars().next();
        let right = right.split("->").next().unwrap_or_default();
        let mut results = right.trim_start_matches(['=', '-', '+', ' ']).split(" = ");
        let (Some(first), last) = (results.next(), results.last()) else { continue };
        let result = shown(first).filter(|_| !line.contains('~'));
        if let (Some((value, base)), Some(rest)) = (&result, left.strip_prefix("x ")) {
            let (by, per) = rest.split_once(" / ").unwrap_or((rest, "1"));
            if let (true, Some(begun)) = (rest.contains(" x "), begun.take()) {
                let factors = rest.split(" x ").filter_map(shown).map(|(value, _)| value);
                let product = factors.fold(begun, |one, other| &one * &other);
                assert_eq!(product, *value, "{line}\n in {text}");
                checked += 1;
            } else if let (Some((last, last_base)), Some((by, _)), Some((per, _))) =
                (&before, shown(by), shown(per))
                && !by_is_fraction(rest)
            {
                let times = |one: &Exact| (one * &by).checked_div(&per).unwrap();
                assert!(times(last) == *value || times(last_base) == *base, "{line}\n in {text}");
                checked += 1;
            }
        } else if let (Some((value, _)), true) = (&result, left.contains(" x ")) {
            let factors = left.split(" x ").filter_map(shown).map(|(value, _)| value);
            let product = factors.reduce(|one, other| &one * &other).unwrap();
            assert_eq!(product, *value, "{line}\n in {text}");
            checked += 1;
        } else if left == "to pay"
            && let (Some((value, _)), Some(due)) = (&result, due.take())
        {
            assert_eq!(due, *value, "{line}\n in {text}");
            checked += 1;
        }
        if let (Some('-'), Some((less, _)), Some((all, _))) = (sign, &result, &before)
            && left == "free"
        {
            due = Some(all - less);
        }
        before = last.map_or(result, |last| shown(last).filter(|_| !line.contains('~')));
    }
    checked
}

/// Returns whether a weight such as 5/48 is shown as a fraction.
fn by_is_fraction(text: &str) -> bool {
    text.split(' ').next().is_some_and(|word| word.contains('/'))
}

#[test]
fn a_reader_with_a_calculator_gets_the_same() {
    let mut checked = 0;
    every_example(|_, _, explanation| checked += follow(&explanation.to_text()));
    assert!(checked > 800, "{checked}");
    // The check itself can fail.
    let wrong = "    run                               2 s\n    \
                 x 3 requests                    = 7 s\n";
    assert!(std::panic::catch_unwind(|| follow(wrong)).is_err());
}
