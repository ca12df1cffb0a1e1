//! Evaluation of one usage under one charge: every way to measure and to bound. All figures are
//! worked out by hand.

use super::{HEAD, parse, with};
use crate::{Gigabyte, Refusal, Terms};
use cyclometer_core::meter::{Meter, Usage};
use cyclometer_core::units::Nanos;

const MS: u64 = 1_000_000;

fn cpu(milliseconds: u64) -> Usage {
    let mut usage = Usage::new(false);
    usage.set(Meter::CpuTime, milliseconds * MS);
    usage
}

fn phases(start: Option<u64>, run: Option<u64>) -> Usage {
    let mut usage = Usage::new(start.is_some());
    usage.phases.start = start.map(Nanos);
    usage.phases.run = run.map(Nanos);
    usage
}

/// Returns the billed quantity of the first charge.
fn try_quantity(text: &str, usage: &Usage) -> Result<String, Refusal> {
    Ok(parse(text).bill(usage)?.lines[0].quantity.to_plain_string())
}

fn quantity(text: &str, usage: &Usage) -> String {
    try_quantity(text, usage).unwrap()
}

fn refusal(text: &str, usage: &Usage) -> String {
    try_quantity(text, usage).unwrap_err().to_string()
}

#[test]
fn each_way_to_shape_alone() {
    for (factor, billed) in [
        ("", "1.5"),
        ("times = \"2\"", "3"),
        ("times = \"0.5\"", "0.75"),
        ("above = \"1 s\"", "0.5"),
        ("above = \"1500 ms\"", "0"),
        ("above = \"2 s\"", "0"),
        ("at_most = \"1 s\"", "1"),
        ("at_most = \"2 s\"", "1.5"),
        ("limit = \"1.5 s\"", "1.5"),
        ("minimum = \"2 s\"", "2"),
        ("minimum = \"1 s\"", "1.5"),
        ("grid = \"1 s\"", "2"),
        ("grid = \"500 ms\"", "1.5"),
        ("grid = \"0.7 s\"", "2.1"),
    ] {
        assert_eq!(quantity(&with("", factor), &cpu(1_500)), billed, "{factor}");
    }
    let refused = refusal(&with("", "limit = \"1499 ms\""), &cpu(1_500));
    assert_eq!(
        refused,
        "`cpu_time` is above 1499 ms, the most on offer (needed by the charge `cpu`)"
    );
}

#[test]
fn shaping_has_an_order() {
    // 1.5 s: x 2 = 3; above 1 = 2; at most 2.5; at least 0.1; steps of 0.3: 2.1.
    let all = "grid = \"0.3 s\"\nminimum = \"0.1 s\"\nat_most = \"2.5 s\"\nabove = \"1 s\"\n\
               times = \"2\"\nlimit = \"3 s\"";
    assert_eq!(quantity(&with("", all), &cpu(1_500)), "2.1");
    // The limit is compared with the product, before anything is subtracted.
    let tighter = all.replace("\"3 s\"", "\"2.9 s\"");
    assert!(refusal(&with("", &tighter), &cpu(1_500)).contains("above 2.9 s"));
    // The minimum comes before the grid: 1 s is four steps of 0.3 s.
    assert_eq!(quantity(&with("", "minimum = \"1 s\"\ngrid = \"0.3 s\""), &cpu(50)), "1.2");
}

#[test]
fn phases_are_added_before_or_after_they_are_rounded() {
    let text = |more: &str| {
        let factor = format!("grid = \"1 ms\"\n{more}");
        with("", &factor).replace("meter = \"cpu_time\"", "phases = [\"start\", \"run\"]")
    };
    // 1307.68 ms and 1058.15 ms: 2365.83 ms, or 1308 ms and 1059 ms.
    let usage = phases(Some(1_307_680_000), Some(1_058_150_000));
    assert_eq!(quantity(&text(""), &usage), "2.366");
    assert_eq!(quantity(&text("each = true"), &usage), "2.367");
    assert_eq!(quantity(&text("minimum = \"2 s\""), &usage), "2.366");
    assert_eq!(quantity(&text("each = true\nminimum = \"2 s\""), &usage), "4");
    for each in ["", "each = true"] {
        let run = quantity(&text(each), &phases(None, Some(1_058_150_000)));
        assert_eq!(run, "1.059", "a lane without a start phase");
        assert_eq!(quantity(&text(each), &phases(Some(0), Some(0))), "0");
        let refused = refusal(&text(each), &phases(None, None));
        let expected = "no phase `start` or `run` was measured (needed by the charge `cpu`)";
        assert_eq!(refused, expected);
    }
}

#[test]
fn the_sandbox_is_billed_only_where_it_is_named() {
    let text =
        |list: &str| with("", "").replace("meter = \"cpu_time\"", &format!("phases = {list}"));
    let mut usage = phases(Some(MS), Some(2 * MS));
    usage.phases.create = Some(Nanos(4 * MS));
    usage.phases.teardown = Some(Nanos(8 * MS));
    for (list, billed) in [
        ("[\"run\"]", "0.002"),
        ("[\"start\", \"run\"]", "0.003"),
        ("[\"run\", \"create\"]", "0.006"),
        ("[\"create\", \"start\", \"run\", \"teardown\"]", "0.015"),
    ] {
        assert_eq!(quantity(&text(list), &usage), billed, "{list}");
    }
}

#[test]
fn a_stand_in_is_labelled_and_used_only_when_it_must() {
    let text = with(
        "",
        "fallback = [{ meter = \"wall\", note = \"wall instead\" }, { value = \"3 s\", note = \"assumed\" }]",
    );
    let line = |usage: &Usage| {
        let line = parse(&text).bill(usage).unwrap().lines.remove(0);
        (line.quantity.to_plain_string(), line.note.map(|note| note.to_string()))
    };
    let mut usage = Usage::new(false);
    assert_eq!(line(&usage), ("3".to_owned(), Some("assumed".to_owned())));
    usage.set(Meter::Wall, 2_000 * MS);
    assert_eq!(line(&usage), ("2".to_owned(), Some("wall instead".to_owned())));
    // Nothing was used, and this was measured: no reason for a stand-in.
    usage.set(Meter::CpuTime, 0);
    assert_eq!(line(&usage), ("0".to_owned(), None));
    let meters = with("", "fallback = [{ meter = \"wall\", note = \"x\" }]");
    let expected = "`cpu_time` (or `wall`) was not measured (needed by the charge `cpu`)";
    assert_eq!(refusal(&meters, &Usage::new(false)), expected);
    let expected = "`cpu_time` was not measured (needed by the charge `cpu`)";
    assert_eq!(refusal(&with("", ""), &Usage::new(false)), expected);
}

#[test]
fn a_table_gives_the_value_of_the_first_row_that_reaches_up() {
    let text = with(
        "",
        "table = [{ up_to = \"128 MiB\", value = \"0.2\" }, { up_to = \"256 MiB\", value = \"0.4\" }]",
    );
    let text = text
        .replace("meter = \"cpu_time\"", "lookup = \"memory_allocated\"")
        .replace("unit = \"s\"", "unit = \"GHz\"");
    let given = |bytes: u64| {
        let mut usage = Usage::new(false);
        usage.set(Meter::MemoryAllocated, bytes);
        usage
    };
    assert_eq!(quantity(&text, &given(0)), "0.2");
    assert_eq!(quantity(&text, &given(128 << 20)), "0.2");
    assert_eq!(quantity(&text, &given((128 << 20) + 1)), "0.4");
    assert_eq!(quantity(&text, &given(256 << 20)), "0.4");
    let above = refusal(&text, &given((256 << 20) + 1));
    assert!(above.starts_with("`memory_allocated` is above 256 MiB, the most on offer"), "{above}");
    assert!(refusal(&text, &Usage::new(false)).starts_with("`memory_allocated` was not measured"));
    // A stand-in is looked up too, and can be too large as well.
    let fallback =
        |value: &str| format!("{text}fallback = [{{ value = \"{value}\", note = \"n\" }}]\n");
    assert_eq!(quantity(&fallback("200 MiB"), &Usage::new(false)), "0.4");
    let above = refusal(&fallback("1 GiB"), &Usage::new(false));
    assert!(above.starts_with("`assumed` is above 256 MiB"), "{above}");
}

#[test]
fn the_larger_of_two_wins_either_way() {
    let several = "max_of = [{ phases = [\"run\"] }, { meter = \"cpu_time\", times = \"8\" }]";
    let text = with("", "grid = \"1 s\"").replace("meter = \"cpu_time\"", several);
    let usage = |run: Option<u64>, cpu: Option<u64>| {
        let mut usage = phases(None, run.map(|run| run * MS));
        usage.set(Meter::CpuTime, cpu.map(|cpu| cpu * MS));
        usage
    };
    assert_eq!(quantity(&text, &usage(Some(3_000), Some(100))), "3");
    assert_eq!(quantity(&text, &usage(Some(3_000), Some(500))), "4");
    assert_eq!(quantity(&text, &usage(Some(4_000), Some(500))), "4");
    assert!(refusal(&text, &usage(Some(1), None)).starts_with("`cpu_time` was not measured"));
    assert!(refusal(&text, &usage(None, Some(1))).starts_with("no phase `run` was measured"));
    let limited = format!("{text}limit = \"2 s\"\n");
    let above = refusal(&limited, &usage(Some(3_000), Some(1)));
    assert!(above.starts_with("`time` is above 2 s"), "{above}");
}

const INPUTS: &str = "[[input]]\nname = \"disk\"\nkind = \"size\"\nabout = \"x\"\n\
                      [[input]]\nname = \"share\"\nkind = \"number\"\ndefault = \"0.5\"\nabout = \"x\"\n\
                      [[input]]\nname = \"rented\"\nkind = \"switch\"\nabout = \"x\"\n";

#[test]
fn inputs_are_given_have_a_default_or_are_missed() {
    let disk = "[[charge]]\nname = \"disk\"\nprice = \"1\"\n[[charge.factor]]\ninput = \"disk\"\n\
                unit = \"GiB\"\ntimes = \"share\"\nabove = \"1 GiB\"\n";
    let model = parse(&format!("{HEAD}gb = \"binary\"\n{INPUTS}{disk}"));
    let usage = Usage::new(false);
    let refused = model.bill(&usage).unwrap_err().to_string();
    assert_eq!(
        refused,
        "`disk` is not known: no meter has it, give it with --set disk=... \
         (needed by the charge `disk`)"
    );
    let billed = |terms: &Terms| {
        model.bill_under(&usage, terms).unwrap().lines[0].quantity.to_plain_string()
    };
    let mut terms = Terms::for_model(&model);
    // The provider's GB are GiB where users write in its terms.
    terms.set_input(&model, "disk", "8 GB", model.gigabyte_convention()).unwrap();
    assert_eq!(billed(&terms), "3");
    terms.set_input(&model, "disk", "8 GB", Gigabyte::Decimal).unwrap();
    // 4,000,000,000 B less 2^30 B, in 2^30 B.
    assert_eq!(billed(&terms), "2.7252902984619140625");
    terms.set_input(&model, "share", "0.25", Gigabyte::Decimal).unwrap();
    terms.set_input(&model, "disk", "8 GiB", Gigabyte::Decimal).unwrap();
    assert_eq!(billed(&terms), "1");
    let unknown = terms.set_input(&model, "disc", "1", Gigabyte::Decimal).unwrap_err().to_string();
    assert_eq!(unknown, "`test` has no input `disc`: did you mean `disk`?");
    let value = terms.set_input(&model, "disk", "1 s", Gigabyte::Decimal).unwrap_err().to_string();
    assert!(value.starts_with("`disk`: `s` is not a unit of memory or data"), "{value}");
    let changed: Vec<&str> = terms.changed_inputs(&model).map(|(input, _)| input.name()).collect();
    assert_eq!(changed, ["disk", "share"]);
}

#[test]
fn switches_choose_between_charges() {
    let charge = |name: &str, condition: &str| {
        format!(
            "[[charge]]\nname = \"{name}\"\nprice = \"1\"\n{condition}\n[[charge.factor]]\n\
             meter = \"requests\"\nunit = \"request\"\n"
        )
    };
    let model = parse(&format!(
        "{HEAD}{INPUTS}{}{}{}",
        charge("always", ""),
        charge("rented", "when = \"rented\""),
        charge("on demand", "unless = \"rented\"")
    ));
    let names = |terms: &Terms| -> Vec<String> {
        let bill = model.bill_under(&Usage::new(false), terms).unwrap();
        bill.lines.iter().map(|line| line.charge.name().to_owned()).collect()
    };
    let mut terms = Terms::for_model(&model);
    assert_eq!(names(&terms), ["always", "on demand"]);
    terms.set_input(&model, "rented", "on", Gigabyte::Decimal).unwrap();
    assert_eq!(names(&terms), ["always", "rented"]);
    terms.set_input(&model, "rented", "no", Gigabyte::Decimal).unwrap();
    assert_eq!(names(&terms), ["always", "on demand"]);
}

#[test]
fn factors_multiply_and_bills_add_up() {
    let memory = "[[charge.factor]]\nmeter = \"memory_allocated\"\nunit = \"GiB\"\ngrid = \"1 MiB\"\n\
                  minimum = \"128 MiB\"\n";
    let requests = "[[charge]]\nname = \"requests\"\nprice = \"0.20\"\nper = 1_000_000\n\
                    [[charge.factor]]\nmeter = \"requests\"\nunit = \"request\"\n\
                    [[charge]]\nname = \"plan\"\nbasis = \"period\"\nprice = \"5\"\n";
    let text = with("unit = \"GB-s\"", &format!("grid = \"1 ms\"\n{memory}{requests}"));
    let model = parse(&text.replace("\"0.02\"", "\"0.0000166667\""));
    // 1.000001 ms are 2 ms; 200 MiB and a byte are 201 MiB.
    let mut usage = Usage::new(false);
    usage.set(Meter::CpuTime, 1_000_001);
    usage.set(Meter::MemoryAllocated, (200 << 20) + 1);
    let bill = model.bill(&usage).unwrap();
    let [duration, requests] = &bill.lines[..] else { panic!("a plan is no invocation's") };
    assert_eq!(duration.quantity.to_plain_string(), "0.000392578125");
    assert_eq!(duration.amount.to_plain_string(), "0.0000000065429818359375");
    assert_eq!((duration.charge.name(), duration.charge.unit()), ("cpu", "GB-s"));
    assert_eq!(requests.amount.to_plain_string(), "0.0000002");
    assert_eq!(requests.charge.unit(), "request");
    assert_eq!(bill.total.to_plain_string(), "0.0000002065429818359375");
    let joined = with("", memory);
    assert_eq!(parse(&joined).charges().next().unwrap().unit(), "s-GiB");
}

#[test]
fn the_largest_meters_do_not_overflow() {
    let mut usage = Usage::new(false);
    for meter in Meter::ALL {
        usage.set(*meter, u64::MAX);
    }
    let span = Some(Nanos(u64::MAX));
    usage.phases.create = span;
    usage.phases.start = span;
    usage.phases.run = span;
    usage.phases.teardown = span;
    let text = with(
        "per = \"0.0000000000000000000000000000000000001\"",
        "grid = \"18446744073.709551615 s\"\n[[charge.factor]]\nmeter = \"memory_time\"\n\
         unit = \"GiB-s\"\ngrid = \"18446744073709551615 B-ms\"\n[[charge.factor]]\n\
         phases = [\"create\", \"start\", \"run\", \"teardown\"]\nunit = \"ns\"\n\
         [[charge.factor]]\nmeter = \"io_read\"\nunit = \"GiB\"",
    );
    // (2^64 - 1)^4 x 4 / (10^9 x 1000 x 2^30 x 2^30) x 0.02 x 10^37.
    let total = parse(&text).bill(&usage).unwrap().total;
    let nines = "18446744073709551615".parse::<crate::Exact>().unwrap();
    let square = &nines * &nines;
    let expected = &(&square * &square) * &"800000000000000000000000".parse().unwrap();
    let expected = expected.checked_div(&"1152921504606846976".parse().unwrap()).unwrap();
    assert_eq!(*total.as_exact(), expected);
    assert_eq!(total.to_plain_string().parse(), Ok(total));
}

#[test]
fn every_step_is_told() {
    let text = with("", "times = \"2\"\nabove = \"1 s\"\nminimum = \"3 s\"\ngrid = \"2 s\"");
    let model = parse(&text);
    let charge = model.charges().next().unwrap();
    let trace = model.trace_charge(charge, &cpu(1_500), &Terms::for_model(&model)).unwrap();
    let steps: Vec<String> = trace[0]
        .steps
        .iter()
        .map(|step| format!("{}: {}", step.description, step.dimension.format_value(&step.value)))
        .collect();
    let expected = [
        "cpu_time: 1.5 s",
        "x 2: 3 s",
        "above 1 s: 2 s",
        "at least 3 s: 3 s",
        "up to the next 2 s: 4 s",
    ];
    assert_eq!(steps, expected);
    assert_eq!((trace[0].billed.to_plain_string().as_str(), &*trace[0].unit), ("4", "s"));
}
