//! Violations of every rule of factors: the message, and the place that it points to.

use super::refusals::refused;
use super::{CHARGE, HEAD, parse, with};

#[test]
fn factors() {
    for (from, to, message) in [
        ("\"cpu_time\"", "▸\"cpu_tine\"", "there is no meter `cpu_tine`: did you mean `cpu_time`?"),
        ("\"cpu_time\"", "▸\"gold\"", "there is no meter `gold`: there is `wall`, `cpu_time`"),
        ("meter = \"cpu_time\"", "phases = ▸[]", "`phases` names one phase or more, each once"),
        (
            "meter = \"cpu_time\"",
            "phases = ▸[\"run\", \"run\"]",
            "`phases` names one phase or more",
        ),
        (
            "meter = \"cpu_time\"",
            "phases = [▸\"stop\"]",
            "unknown variant `stop`, expected one of `create`",
        ),
        ("meter = \"cpu_time\"", "input = ▸\"x\"", "there is no input `x`: there is none"),
        ("meter = \"cpu_time\"", "period = ▸false", "leave `period` out, or write true"),
        ("unit = \"s\"", "unit = ▸\"GB-s\"", "`GB-s` is not a unit of time: use `ns`, `us`"),
        ("unit = \"s\"", "unit = ▸\"seconds\"", "`seconds` is not a unit of time"),
        ("unit = \"s\"", "unit = ▸\"month\"", "`month` is not a unit of time"),
    ] {
        refused(&with("", "").replace(from, to), message);
    }
    for (lines, message) in [
        ("grid = ▸\"0 ms\"", "a grid has steps larger than 0"),
        ("grid = ▸\"1 MiB\"", "`MiB` is not a unit of time"),
        ("minimum = ▸\"-1 ms\"", "`-1 ms` is negative"),
        ("above = ▸\"1\"", "`1`: time has a unit: write 1 with one of `ns`"),
        ("at_most = ▸\"ms\"", "`ms` is not a number: write digits"),
        ("limit = ▸\"1.2.3 ms\"", "`1.2.3 ms` has more than one point"),
        ("times = ▸\"8x\"", "`8x`: `x` is not understood here: write 8 alone"),
        ("times = ▸\"x\"", "there is no input `x`"),
        ("each = ▸true", "`each` is for phases with `minimum` and `grid`"),
        ("table = [▸{ up_to = \"1 s\", value = \"1\" }]", "a `table` belongs to a `lookup`"),
        ("▸grit = \"1 ms\"", "unknown field `grit`: did you mean `grid`?"),
        ("fallback = [▸{ note = \"x\" }]", "a fallback is a `meter` or a `value`, one of the two"),
        (
            "fallback = [{ meter = ▸\"cycles\", note = \"x\" }]",
            "`cycles` cannot stand in for `cpu_time`: it is not time",
        ),
        ("fallback = [▸{ meter = \"cpu_time\", note = \"x\" }]", "this is named twice"),
        (
            "fallback = [{ value = \"1 s\", note = \"x\" }, ▸{ value = \"1000 ms\", note = \"y\" }]",
            "this is named twice",
        ),
        ("fallback = [{ value = ▸\"1 B\", note = \"x\" }]", "`B` is not a unit of time"),
    ] {
        refused(&with("", lines), message);
    }
    let two = with("", "phases = [\"run\"]").replace("[[charge.factor]]", "▸[[charge.factor]]");
    refused(&two, "a factor is measured by exactly one of `meter`, `phases`");
    let none = two.replace("meter = \"cpu_time\"\n", "").replace("phases = [\"run\"]", "");
    refused(&none, "a factor is measured by exactly one of `meter`, `phases`");
    let seven = "[[charge.factor]]\nmeter = \"wall\"\nunit = \"s\"\n".repeat(6);
    let many = with("", &seven).replacen("[[charge]]", "▸[[charge]]", 1);
    refused(&many, "there are 7 [[charge.factor]] here: 1 to 6 are allowed");
}

#[test]
fn factors_of_phases_and_requests() {
    let phases =
        |lines: &str| with("", lines).replace("meter = \"cpu_time\"", "phases = [\"run\"]");
    parse(&phases("each = true\nminimum = \"1 ms\"\ngrid = \"1 ms\""));
    for key in ["times = \"2\"", "above = \"1 s\"", "at_most = \"1 s\"", "limit = \"1 s\""] {
        refused(&phases(&format!("each = ▸true\n{key}")), "`each` is for phases with");
    }
    let fallback = "fallback = [▸{ value = \"1 s\", note = \"x\" }]";
    refused(&phases(fallback), "only a meter can be missing, so only a meter has a fallback");
    let requests = with("", fallback)
        .replace("cpu_time", "requests")
        .replace("unit = \"s\"", "unit = \"request\"");
    refused(&requests, "only a meter can be missing");
}

#[test]
fn periods() {
    let period = "basis = \"period\"";
    let factor = |measure: &str| {
        with(period, "").replace("[[charge.factor]]\nmeter = \"cpu_time\"", measure)
    };
    parse(&factor("[[charge.factor]]\nperiod = true"));
    for measured in ["meter = \"wall\"", "phases = [\"run\"]"] {
        let text = factor(&format!("▸[[charge.factor]]\n{measured}"));
        refused(&text, "a charge by period has inputs and `period` for factors");
    }
    let requests =
        factor("▸[[charge.factor]]\nmeter = \"requests\"").replace("\"s\"", "\"request\"");
    refused(&requests, "a charge by period has inputs");
    for basis in ["request", "instance"] {
        let text =
            factor("▸[[charge.factor]]\nperiod = true").replace("period\"", &format!("{basis}\""));
        refused(&text, "the length of the period is for charges with basis = \"period\"");
    }
}

#[test]
fn inputs_as_factors() {
    let inputs = "[[input]]\nname = \"on\"\nkind = \"switch\"\nabout = \"x\"\n\
                  [[input]]\nname = \"disk\"\nkind = \"size\"\nabout = \"x\"\n";
    let factor = |lines: &str| {
        format!(
            "{HEAD}{inputs}{}{lines}\n",
            CHARGE.replace("meter = \"cpu_time\"\nunit = \"s\"\n", "")
        )
    };
    parse(&factor("input = \"disk\"\nunit = \"GiB\""));
    refused(&factor("input = ▸\"on\"\nunit = \"x\""), "a switch is not a quantity");
    refused(
        &factor("input = ▸\"disc\"\nunit = \"GiB\""),
        "there is no input `disc`: did you mean `disk`?",
    );
    refused(&factor("input = \"disk\"\nunit = ▸\"s\""), "`s` is not a unit of memory or data");
    refused(
        &factor("meter = \"wall\"\nunit = \"s\"\ntimes = ▸\"disk\""),
        "only a number or a count can multiply",
    );
    refused(
        &factor("lookup = ▸\"on\"\nunit = \"x\"\ntable = [{ up_to = \"1\", value = \"1\" }]"),
        "a switch is not a quantity",
    );
}

#[test]
fn lookups() {
    let lookup = |name: &str, unit: &str, rows: &str| {
        with("", &format!("table = [{rows}]"))
            .replace("meter = \"cpu_time\"", &format!("lookup = {name}"))
            .replace("unit = \"s\"", &format!("unit = {unit}"))
    };
    let row = |up_to: &str| format!("{{ up_to = {up_to}, value = \"1\" }}");
    let two = |one: &str, other: &str| [row(one), row(other)].join(", ");
    parse(&lookup("\"cpu_time\"", "\"GHz\"", &two("\"1 s\"", "\"2 s\"")));
    for (text, message) in [
        (
            lookup("\"cpu_time\"", "\"GHz\"", &two("\"2 s\"", "▸\"2 s\"")),
            "the rows of a table ascend",
        ),
        (
            lookup("\"cpu_time\"", "\"GHz\"", &two("\"2 s\"", "▸\"1 s\"")),
            "the rows of a table ascend",
        ),
        (lookup("\"cpu_time\"", "\"GHz\"", &row("▸\"1 B\"")), "`B` is not a unit of time"),
        (lookup("▸\"cpu_time\"", "\"GHz\"", ""), "there are 0 rows of the `table` here: 1 to 256"),
        (lookup("▸\"gold\"", "\"GHz\"", &row("\"1 s\"")), "there is no meter `gold`"),
        (
            lookup("\"cpu_time\"", "▸\"\"", &row("\"1 s\"")),
            "a unit is one word of 1 to 40 characters",
        ),
        (lookup("\"cpu_time\"", "▸\"a b\"", &row("\"1 s\"")), "a unit is one word"),
        (lookup("\"cpu_time\"", "▸\"\\u001b[2J\"", &row("\"1 s\"")), "a unit is one word"),
    ] {
        refused(&text, message);
    }
}

#[test]
fn the_largest_of_several() {
    let max_of = |several: &str| {
        with("", "").replace("meter = \"cpu_time\"", &format!("max_of = {several}"))
    };
    parse(&max_of("[{ meter = \"wall\" }, { phases = [\"run\"], times = \"2\" }]"));
    for (several, message) in [
        (
            "[{ meter = \"wall\" }, ▸{ meter = \"io_read\" }]",
            "the measures of `max_of` are of one dimension",
        ),
        ("▸[{ meter = \"wall\" }]", "there are 1 measures in `max_of` here: 2 to 4"),
        ("[▸{}, { meter = \"wall\" }]", "name exactly one of `meter`, `phases` and `input`"),
        (
            "[▸{ meter = \"wall\", phases = [\"run\"] }, { meter = \"wall\" }]",
            "name exactly one of",
        ),
        (
            "[{ meter = \"wall\" }, { meter = ▸\"walk\" }]",
            "there is no meter `walk`: did you mean `wall`?",
        ),
        ("[{ meter = \"wall\" }, { meter = \"wall\", times = ▸\"x\" }]", "there is no input `x`"),
        (
            "[{ meter = \"wall\" }, { meter = \"wall\", ▸time = \"2\" }]",
            "unknown field `time`: did you mean `times`?",
        ),
    ] {
        refused(&max_of(several), message);
    }
}
