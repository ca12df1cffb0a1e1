//! Violations of every rule of the format: the message, and the place that it points to.

use super::{CHARGE, HEAD, complaint, parse, with};

/// Sign that marks where the message must point: before this sign, which is not part of the text.
const HERE: char = '▸';

/// Asserts that the text is refused at the sign, with a message that starts with the given text.
pub(super) fn refused(marked: &str, message: &str) {
    let (before, after) = marked.split_once(HERE).expect("a sign");
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let found = complaint(&format!("{before}{after}"));
    let expected = format!("test.toml:{line}:{column}: {message}");
    assert!(found.starts_with(&expected), "expected {expected}\n     got {found}\n{marked}");
}

/// Cases about the head of a file: a line that replaces another, and the message.
#[test]
fn heads() {
    parse(&format!("{HEAD}{CHARGE}"));
    for (from, to, message) in [
        ("id = \"test\"", "id = ▸\"Te st\"", "an id has 1 to 64 characters"),
        ("id = \"test\"", "id = ▸\"-test\"", "an id has 1 to 64 characters"),
        ("id = \"test\"", "▸idd = \"test\"", "unknown field `idd`: did you mean `id`?"),
        ("name = \"Test\"", "name = ▸\" \"", "this text is empty"),
        ("name = \"Test\"", "name = ▸\"a\\nb\"", "this text holds a control character"),
        ("name = \"Test\"", "name = ▸\"a\\u202eb\"", "this text holds a control character"),
        ("\"USD\"", "▸\"$\"", "a currency is three to five capital letters"),
        ("\"USD\"", "▸\"DOLLAR\"", "a currency is three to five capital letters"),
        ("\"coarse\"", "▸\"rough\"", "unknown variant `rough`, expected one of `coarse`"),
        ("\"coarse\"", "▸\"corse\"", "unknown variant `corse`: did you mean `coarse`?"),
        (
            "\"none\"",
            "▸\"sum_half_upp\"",
            "unknown variant `sum_half_upp`: did you mean `sum_half_up`?",
        ),
        ("2025-08-01", "▸\"2025-08-01\"", "a day has no quotes and no time"),
        ("2025-08-01", "▸2025-08-01T10:00:00Z", "a day has no quotes and no time"),
        (
            "retrieved",
            "effective_until = ▸2025-08-01\nretrieved",
            "`effective_until` is the first day",
        ),
        (
            "retrieved",
            "effective_until = ▸2025-07-31\nretrieved",
            "`effective_until` is the first day",
        ),
        ("retrieved", "digits = ▸19\nretrieved", "amounts are rounded to 0 to 18 decimals"),
        ("retrieved", "month_days = ▸0\nretrieved", "a billing period has 1 to 366 days, not 0"),
        (
            "retrieved",
            "month_days = ▸367\nretrieved",
            "a billing period has 1 to 366 days, not 367",
        ),
        (
            "retrieved",
            "gb = ▸\"metric\"\nretrieved",
            "unknown variant `metric`, expected `binary` or",
        ),
        (
            "retrieved",
            "▸efective_until = 2026-01-01\nretrieved",
            "unknown field `efective_until`: did you mean `effective_until`?",
        ),
        ("id = \"test\"\n", "▸", "missing field `id`"),
        ("effective_from = 2025-08-01\n", "", "missing field `effective_from`"),
        ("retrieved = 2025-08-02\n", "", "missing field `retrieved`"),
        ("source = \"by hand\"\n", "", "missing field `source`"),
    ] {
        let mut text = format!("{HEAD}{CHARGE}").replacen(from, to, 1);
        if !text.contains(HERE) {
            text.insert(0, HERE);
        }
        refused(&text, message);
    }
    refused(&format!("▸{HEAD}"), "missing field `charge`");
    refused(&format!("{HEAD}charge = ▸[]"), "there are 0 [[charge]] here: 1 to 64 are allowed");
}

#[test]
fn decimals() {
    for (written, message) in [
        (
            "0.02",
            "invalid type: floating point `0.02`, expected a decimal in quotes, such as \"0.20\"",
        ),
        ("2", "invalid type: integer `2`, expected a decimal in quotes"),
        ("inf", "invalid type: floating point `inf`"),
        ("\"-0.02\"", "`-0.02` is negative"),
        ("\"1e9999\"", "`1e9999`: an exponent is -30 to 30"),
        ("\"0,02\"", "`0,02`: write 0.02, with a point"),
        ("\"1/3\"", "`1/3`: `/3` is not understood here: write 1 alone"),
        ("\".5\"", "`.5`: write a digit before the point, as in 0.5"),
        ("\"\"", "``: write a number, such as 4000000 or 0.5"),
        (
            "\"11111111111111111111111111111111111111111\"",
            "`1111111111111111111111111111111111111111\u{2026}` has more than 40 characters",
        ),
    ] {
        let text = format!("{HEAD}{CHARGE}").replace("\"0.02\"", &format!("▸{written}"));
        refused(&text, message);
    }
    for (per, message) in [
        ("0", "a price is for more than 0"),
        ("\"0.00\"", "a price is for more than 0"),
        ("-5", "`-5` is negative"),
        ("0.5", "invalid type: floating point `0.5`, expected an integer, or a decimal in quotes"),
    ] {
        refused(&with(&format!("per = ▸{per}"), ""), message);
    }
}

#[test]
fn inputs() {
    let input = |name: &str, kind: &str, rest: &str| {
        format!("[[input]]\nname = {name}\nkind = {kind}\nabout = \"x\"\n{rest}\n")
    };
    for (input, message) in [
        (input("▸\"Disk\"", "\"size\"", ""), "an input's name has up to 64 characters"),
        (input("▸\"2nd\"", "\"size\"", ""), "an input's name has up to 64 characters"),
        (
            input("▸\"wall\"", "\"time\"", ""),
            "`wall` is a meter: an input is what no meter measures",
        ),
        (input("▸\"requests\"", "\"count\"", ""), "`requests` is a meter"),
        (input("\"disk\"", "▸\"bytes\"", ""), "unknown variant `bytes`, expected one of `time`"),
        (
            input("\"disk\"", "\"size\"", "default = ▸\"5 ms\""),
            "`ms` is not a unit of memory or data",
        ),
        (
            input("\"disk\"", "\"size\"", "default = ▸\"5\""),
            "`5`: memory or data has a unit: write 5 with one of",
        ),
        (
            input("\"disk\"", "\"size\"", "default = ▸5"),
            "`5`: memory or data has a unit: write 5 with one of",
        ),
        (
            input("\"on\"", "\"switch\"", "default = ▸\"maybe\""),
            "`maybe` is neither `on` nor `off`",
        ),
        (input("\"n\"", "\"number\"", "default = ▸\"-1\""), "`-1` is negative: write 0 or more"),
        (
            input("\"a\"", "\"count\"", "") + &input("▸\"a\"", "\"size\"", ""),
            "there are two inputs `a`",
        ),
    ] {
        refused(&format!("{HEAD}{input}{CHARGE}"), message);
    }
    let many: String = (0..64).map(|at| input(&format!("\"i{at}\""), "\"time\"", "")).collect();
    parse(&format!("{HEAD}{many}{CHARGE}"));
    let more = format!("▸{}", input("\"more\"", "\"time\"", ""));
    refused(&format!("{HEAD}{many}{more}{CHARGE}"), "more than 64 inputs");
}

#[test]
fn charges() {
    for (lines, message) in [
        ("▸prise = \"1\"", "unknown field `prise`: did you mean `price`?"),
        ("unit = ▸\"\"", "this text is empty"),
        ("free = ▸\"5 GB-s\"", "`GB-s` is not the unit of this position: write a number and `s`"),
        ("free = ▸\"5\"", "`` is not the unit of this position"),
        ("free = ▸\"s\"", "`s` is not a number: write digits"),
        ("package = ▸\"10 ms\"", "`ms` is not the unit of this position"),
        ("package = ▸\"0 s\"", "a package holds more than 0"),
        ("credit_price = ▸\"1\"", "`credit_price` is what `free` is worth: it has none"),
        ("free = \"1 s\"\nfree_rest_of = ▸\"x\"", "a position has `free` or `free_rest_of`"),
        ("free_rest_of = ▸\"cpu\"", "there is no other position `cpu`: there is none"),
        ("weight = ▸\"2\"", "a weight is for charges with a `pool`"),
        ("pool = ▸\"x\"", "a charge with a `pool` has no prices of its own"),
        ("when = ▸\"x\"", "there is no input `x`: there is none"),
        ("when = \"x\"\nunless = ▸\"x\"", "a charge has `when` or `unless`, not both"),
        ("basis = ▸\"day\"", "unknown variant `day`, expected one of `request`"),
    ] {
        refused(&with(lines, ""), message);
    }
    let twice = CHARGE.replace("name = ", "name = ▸");
    refused(&format!("{HEAD}{CHARGE}{twice}"), "there are two charges `cpu`");
    refused(
        &format!("{HEAD}▸[[charge]]\nname = \"x\"\nprice = \"1\""),
        "there are 0 [[charge.factor]]",
    );
    let many: String = (0..65).map(|at| CHARGE.replace("cpu\"", &format!("c{at}\""))).collect();
    let found = complaint(&format!("{HEAD}{many}"));
    assert!(found.contains("there are 65 [[charge]] here: 1 to 64 are allowed"), "{found}");
    let priceless = "▸".to_owned() + &CHARGE.replace("price = \"0.02\"\n", "");
    refused(&format!("{HEAD}{priceless}"), "`cpu` has a `price` or [[tier]]s, one of the two");
    let switch = "[[input]]\nname = \"disk\"\nkind = \"size\"\nabout = \"x\"\n";
    let when = CHARGE.replace("name = \"cpu\"", "name = \"cpu\"\nunless = ▸\"disk\"");
    refused(&format!("{HEAD}{switch}{when}"), "`disk` is no switch");
}

#[test]
fn tiers() {
    let tiered = |tiers: &str| format!("{}{tiers}", CHARGE.replace("price = \"0.02\"\n", ""));
    let tier = |up_to: &str| match up_to {
        "" => "[[charge.tier]]\nprice = \"1\"\n".to_owned(),
        end => format!("[[charge.tier]]\nprice = \"1\"\nup_to = {end}\n"),
    };
    parse(&format!("{HEAD}{}", tiered(&[tier("\"1 s\""), tier("\"2 s\""), tier("")].concat())));
    for (tiers, message) in [
        (vec![tier("\"1 s\""), tier("▸\"2 s\"")], "the last tier has no `up_to`"),
        (vec!["▸".to_owned() + &tier(""), tier("")], "only the last tier has no `up_to`"),
        (
            vec![tier("\"2 s\""), tier("▸\"2 s\""), tier("")],
            "tiers ascend: this one ends at 2, the one before at 2",
        ),
        (vec![tier("\"2 s\""), tier("▸\"1.5 s\""), tier("")], "tiers ascend: this one ends at 1.5"),
        (vec![tier("▸\"2 ms\""), tier("")], "`ms` is not the unit of this position"),
        (vec![tier("").replace("price", "▸prize")], "unknown field `prize`: did you mean `price`?"),
    ] {
        refused(&format!("{HEAD}{}", tiered(&tiers.concat())), message);
    }
    let both = format!("{HEAD}▸{CHARGE}{}", tier(""));
    refused(&both, "`cpu` has a `price` or [[tier]]s, one of the two");
}

#[test]
fn pools() {
    let pool = "[[pool]]\nname = \"p\"\nunit = \"CU\"\nprice = \"1\"\n";
    let feeding = CHARGE.replace("price = \"0.02\"", "pool = \"p\"");
    parse(&format!("{HEAD}{pool}{feeding}"));
    let named = |text: &str| text.replace("name = \"p\"", "name = ▸\"p\"");
    refused(&format!("{HEAD}{}{CHARGE}", named(pool)), "no charge feeds the pool `p`");
    refused(&format!("{HEAD}{pool}{}{feeding}", named(pool)), "there are two pools `p`");
    let unpriced = pool.replace("price = \"1\"\n", "");
    refused(&format!("{HEAD}▸{unpriced}{feeding}"), "`p` has a `price` or [[tier]]s");
    let unknown = feeding.replace("\"p\"", "▸\"pp\"");
    refused(&format!("{HEAD}{pool}{unknown}"), "there is no pool `pp`: there is `p`");
    let same = CHARGE.replace("\"cpu\"", "▸\"p\"");
    refused(&format!("{HEAD}{pool}{feeding}{same}"), "a pool and a charge are both called `p`");
    let free = format!("{pool}free = ▸\"1 s\"\n");
    refused(&format!("{HEAD}{free}{feeding}"), "`s` is not the unit of this position");
}

#[test]
fn variants() {
    let variant =
        |lines: &str| format!("{HEAD}{CHARGE}[[variant]]\nid = \"v\"\nname = \"V\"\n{lines}\n");
    parse(&variant(""));
    for (lines, message) in [
        ("prices = { ▸cpuu = \"1\" }", "there is no charge or pool `cpuu`: did you mean `cpu`?"),
        ("prices = { cpu = ▸1 }", "invalid type: integer `1`, expected a decimal in quotes"),
        ("without = [▸\"gold\"]", "there is no charge, pool or input `gold`: there is `cpu`"),
        ("without = [\"cpu\", ▸\"cpu\"]", "there is no charge, pool or input `cpu`"),
        (
            "tariff = \"test\"",
            "`test` and `v` are versions of the tariff `test` and hold on the same days",
        ),
        ("▸price = \"1\"", "unknown field `price`: did you mean `prices`?"),
    ] {
        let text = variant(lines);
        // For overlapping dates, the message points to the id where there is no date.
        let text = if text.contains(HERE) { text } else { text.replace("\"v\"", "▸\"v\"") };
        refused(&text, message);
    }
    let later = variant("tariff = \"test\"\neffective_from = ▸2026-01-01");
    refused(&later, "`test` and `v` are versions of the tariff `test`");
    let earlier = |until: &str| {
        variant(&format!(
            "tariff = \"test\"\neffective_from = ▸2025-01-01\neffective_until = {until}"
        ))
    };
    parse(&earlier("2025-08-01").replace(HERE, ""));
    refused(&earlier("2025-08-02"), "`test` and `v` are versions of the tariff `test`");
    refused(&variant("").replace("\"v\"", "▸\"test\""), "there are two models `test` in this file");
    let tiered = variant("prices = { ▸cpu = \"1\" }").replace("price = \"0.02\"\n", "");
    let tiered = tiered.replace("[[variant]]", "[[charge.tier]]\nprice = \"1\"\n[[variant]]");
    refused(&tiered, "`cpu` has no plain price: a variant replaces its tiers");
    let many = "[[variant]]\nid = \"v\"\nname = \"V\"\n".repeat(65);
    refused(&format!("▸{HEAD}{CHARGE}{many}"), "more than 64 variants or 200 examples");
}

#[test]
fn examples() {
    let input = "[[input]]\nname = \"disk\"\nkind = \"size\"\nabout = \"x\"\n";
    let example = |lines: &str| {
        format!("{HEAD}{input}{CHARGE}[[example]]\nname = \"e\"\nsource = \"s\"\n{lines}\n")
    };
    parse(&example("amount = \"1\""));
    for (lines, message) in [
        ("lines = { ▸gold = \"1\" }", "there is no charge `gold`: there is `cpu`"),
        ("quantities = { ▸cpuu = \"1\" }", "there is no charge `cpuu`: did you mean `cpu`?"),
        ("billable = { ▸cpuu = \"1\" }", "there is no charge `cpuu`: did you mean `cpu`?"),
        ("amount = ▸1", "invalid type: integer `1`, expected a decimal in quotes"),
        ("amount = \"1\"\nvariant = ▸\"tost\"", "there is no model `tost`: did you mean `test`?"),
        ("amount = \"1\"\ndays = ▸400", "a billing period has 1 to 366 days"),
        ("amount = \"1\"\ndigits = ▸99", "amounts are rounded to 0 to 18 decimals"),
        (
            "amount = \"1\"\nset = { ▸disc = \"1 B\" }",
            "`test` has no input `disc`: did you mean `disk`?",
        ),
        ("amount = \"1\"\nset = { disk = ▸\"1 s\" }", "`s` is not a unit of memory or data"),
        (
            "amount = \"1\"\n▸[[example.usage]]\nrequests = 1\ninstances = 1",
            "`instances` and `instance_time` belong together",
        ),
        (
            "amount = \"1\"\n▸[[example.usage]]\nrequests = 1\ninstance_time = \"1 s\"",
            "`instances` and",
        ),
        ("amount = \"1\"\n[[example.usage]]\nrequests = ▸-1", "`-1` is negative: write 0 or more"),
        (
            "amount = \"1\"\n[[example.usage]]\nrequests = 1\nphases = { run = ▸\"0.5 ns\" }",
            "`0.5 ns` is 0.5 ns, no whole number: write 0 ns or 1 ns",
        ),
        (
            "amount = \"1\"\n[[example.usage]]\nrequests = 1\nphases = { ▸ruin = \"1 s\" }",
            "unknown field `ruin`: did you mean `run`?",
        ),
        (
            "amount = \"1\"\n[[example.usage]]\nrequests = 1\nmeters = { wall = ▸\"1 B\" }",
            "`B` is not a unit of time",
        ),
        (
            "amount = \"1\"\n[[example.usage]]\nrequests = 1\nmeters = { ▸gold = \"1 B\" }",
            "unknown meter `gold`",
        ),
    ] {
        refused(&example(lines), message);
    }
    let nothing = example("").replace("[[example]]", "▸[[example]]");
    refused(&nothing, "an example expects an `amount`, `lines`, `quantities` or `billable`");
    let many = "[[example]]\nname = \"e\"\nsource = \"s\"\namount = \"1\"\n".repeat(201);
    refused(&format!("▸{HEAD}{CHARGE}{many}"), "more than 64 variants or 200 examples");
}

#[test]
fn what_is_no_toml() {
    for (text, message) in [
        (with("", "▸[tiers"), "unclosed table"),
        (with("", "grid = ▸"), "string values must be quoted"),
        (format!("{HEAD}{CHARGE}name = \"again\"\n▸unit = \"s\""), "duplicate key"),
    ] {
        let (before, _) = text.split_once(HERE).unwrap();
        let line = before.matches('\n').count() + 1;
        let found = complaint(&text.replace(HERE, ""));
        assert!(found.starts_with(&format!("test.toml:{line}:")), "{found}");
        assert!(found.contains(message), "{found}");
    }
    let large = format!("{}{}", with("", ""), "#".repeat(65_536));
    assert!(
        complaint(&large).contains("and a price model may have 65536: is this the right file?")
    );
}
