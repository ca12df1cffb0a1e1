//! Description of every key of a price file: its purpose and the form of its value.

use super::super::resolve::limits;

/// Key of a table.
pub(super) struct Key {
    pub name: &'static str,
    pub required: bool,
    pub value: Is,
    pub about: &'static str,
}

/// Form of a value.
#[derive(Clone, Copy)]
pub(super) enum Is {
    /// The definition of that name in `$defs`.
    A(&'static str),
    /// A list of values with that definition, with minimum and maximum length.
    List(&'static str, usize, usize),
    /// A table of values with that definition, keyed by names in the file.
    Map(&'static str),
    /// `true` or `false`.
    Bool,
    /// `true` only, never `false`.
    True,
    /// A whole number with minimum and maximum.
    Whole(u64, u64),
}

const fn must(name: &'static str, value: Is, about: &'static str) -> Key {
    Key { name, required: true, value, about }
}

const fn may(name: &'static str, value: Is, about: &'static str) -> Key {
    Key { name, required: false, value, about }
}

/// No limit other than the size of the file.
const MANY: usize = usize::MAX;

const NAME: &str = "for people";
const TARIFF: &str = "versions of one tariff share it, and must not hold on the same days";
const UNTIL: &str = "the first day it no longer holds; without: it holds still";
const DIGITS: &str = "decimals of the currency that are rounded to; 2 unless given";
const GB: &str = "the provider's MB and GB are MiB and GiB (binary) or 10^6 and 10^9 (decimal, the \
                  default); for what people give later: a file means what it writes";
const MONTH: &str = "days of a billing period, or a time such as \"730 h\", unless a bill says otherwise; 30 \
                     unless given";
const FREE: &str = "monthly allowance, in the unit of the position: \"400000 GB-s\"";
const CREDIT: &str = "the allowance is money: `free` at this price, off the amount, never below 0";
const PACKAGE: &str = "what is left after the allowance is billed up to whole packages";
const PER: &str = "how many units the price is for, such as 1_000_000; 1 unless given";
const PRICE: &str = "the price of `per` units";
const TIER: &str = "prices by quantity, ascending; instead of `price`";

pub(super) const MODEL: &[Key] = &[
    must("id", Is::A("id"), "the name on the command line"),
    must("name", Is::A("label"), NAME),
    may("provider", Is::A("label"), "whose tariff it is"),
    must("currency", Is::A("currency"), "of all amounts; different ones are never compared"),
    must("granularity", Is::A("granularity"), "bills what was allocated, what was used, or both"),
    must("effective_from", Is::A("day"), "the first day it holds"),
    may("effective_until", Is::A("day"), UNTIL),
    may("tariff", Is::A("id"), TARIFF),
    must("retrieved", Is::A("day"), "the day the source was read"),
    must("source", Is::A("label"), "where the figures are from"),
    may("uncertain", Is::A("label"), "what of it is not certain; shown with every bill"),
    must("rounding", Is::A("rounding"), "where the bill of a period is rounded, and which way"),
    may("digits", Is::Whole(0, limits::DIGITS as u64), DIGITS),
    may("gb", Is::A("gb"), GB),
    may("month_days", Is::A("period"), MONTH),
    may("input", Is::List("input", 0, limits::INPUTS), "what a bill depends on and no meter has"),
    may("pool", Is::List("pool", 0, MANY), "prices that several charges share"),
    must("charge", Is::List("charge", 1, limits::CHARGES), "what is measured and paid for"),
    may("variant", Is::List("variant", 0, limits::VARIANTS), "the same with some keys replaced"),
    may("example", Is::List("example", 0, limits::EXAMPLES), "the provider's own arithmetic"),
];

pub(super) const VARIANT: &[Key] = &[
    must("id", Is::A("id"), "the name on the command line"),
    must("name", Is::A("label"), NAME),
    may("provider", Is::A("label"), "whose tariff it is"),
    may("currency", Is::A("currency"), "of all amounts"),
    may("granularity", Is::A("granularity"), "bills what was allocated, what was used, or both"),
    may("effective_from", Is::A("day"), "the first day it holds"),
    may("effective_until", Is::A("day"), UNTIL),
    may("tariff", Is::A("id"), "the variant is another tariff unless it says so here"),
    may("retrieved", Is::A("day"), "the day the source was read"),
    may("source", Is::A("label"), "where the figures are from"),
    may("uncertain", Is::A("label"), "what of it is not certain; shown with every bill"),
    may("rounding", Is::A("rounding"), "where the bill of a period is rounded, and which way"),
    may("digits", Is::Whole(0, limits::DIGITS as u64), DIGITS),
    may("gb", Is::A("gb"), GB),
    may("month_days", Is::A("period"), MONTH),
    may("prices", Is::Map("decimal"), "other prices, by the name of a charge or pool"),
    may("without", Is::List("name", 0, MANY), "charges, pools and inputs that it does not have"),
    may("input", Is::List("input", 0, MANY), "replaces the input of that name, or is added"),
    may("pool", Is::List("pool", 0, MANY), "replaces the pool of that name, or is added"),
    may("charge", Is::List("charge", 0, MANY), "replaces the charge of that name, or is added"),
];

pub(super) const INPUT: &[Key] = &[
    must("name", Is::A("input_name"), "the name that --set knows"),
    must("kind", Is::A("kind"), "what it is"),
    may(
        "default",
        Is::A("input_value"),
        "without: a usage that does not say is refused; \"period\" is the length of the period",
    ),
    must("about", Is::A("label"), NAME),
];

pub(super) const POOL: &[Key] = &[
    must("name", Is::A("label"), "shown on the bill"),
    must("unit", Is::A("label"), "of its quantity"),
    may("price", Is::A("decimal"), PRICE),
    may("per", Is::A("per"), PER),
    may("free", Is::A("quantity"), FREE),
    may("credit_price", Is::A("decimal"), CREDIT),
    may("package", Is::A("quantity"), PACKAGE),
    may("tier", Is::List("tier", 0, MANY), TIER),
];

pub(super) const TIER_KEYS: &[Key] = &[
    may("up_to", Is::A("quantity"), "where it ends, after the allowance; the last one has no end"),
    must("price", Is::A("decimal"), PRICE),
];

pub(super) const CHARGE: &[Key] = &[
    must("name", Is::A("label"), "shown on the bill"),
    may("unit", Is::A("label"), "shown on the bill; the factors' units unless given"),
    may("basis", Is::A("basis"), "what it is counted by; every request unless given"),
    may("price", Is::A("decimal"), PRICE),
    may("per", Is::A("per"), PER),
    may("free", Is::A("quantity"), FREE),
    may("credit_price", Is::A("decimal"), CREDIT),
    may("package", Is::A("quantity"), PACKAGE),
    may("tier", Is::List("tier", 0, MANY), TIER),
    may("pool", Is::A("name"), "the pool that has the price"),
    may("weight", Is::A("ratio"), "units of the pool for one unit of the charge; 1 unless given"),
    may("when", Is::A("input_name"), "only if this switch is on"),
    may("unless", Is::A("input_name"), "only if this switch is off"),
    may("factor", Is::List("factor", 0, limits::FACTORS), "multiplied with each other"),
];

pub(super) const FACTOR: &[Key] = &[
    may("meter", Is::A("meter_or_requests"), "the value of that meter; `requests` is 1"),
    may("phases", Is::List("phase", 1, 4), "the sum of these phases"),
    may("input", Is::A("input_name"), "a quantity that nobody measures"),
    may("period", Is::True, "the length of the billing period"),
    may("lookup", Is::A("name"), "the meter or input that the table is looked up by"),
    may("table", Is::List("row", 0, limits::ROWS), "the value of the first row that reaches up"),
    may("max_of", Is::List("measure", 2, limits::ALTERNATIVES), "the largest of several"),
    must("unit", Is::A("name"), "what the value is counted in"),
    may("times", Is::A("times"), "multiplied by a decimal, a fraction or an input"),
    may(
        "as",
        Is::A("name"),
        "what the product with `times` is counted in, where that is another unit",
    ),
    may("above", Is::A("quantity"), "only what is above that"),
    may("at_most", Is::A("quantity"), "never more than that"),
    may("limit", Is::A("quantity"), "a usage beyond it is refused: it is not on offer"),
    may("minimum", Is::A("quantity"), "at least that, before the grid"),
    may("grid", Is::A("quantity"), "up to the next multiple"),
    may("each", Is::Bool, "minimum and grid for each phase, then the sum"),
    may("fallback", Is::List("fallback", 0, MANY), "what stands in for a meter, in this order"),
];

pub(super) const ROW: &[Key] = &[
    must("up_to", Is::A("quantity"), "how far the row reaches; ascending"),
    must("value", Is::A("decimal"), "what the factor is then"),
];

pub(super) const MEASURE: &[Key] = &[
    may("meter", Is::A("meter_or_requests"), "the value of that meter"),
    may("phases", Is::List("phase", 1, 4), "the sum of these phases"),
    may("input", Is::A("input_name"), "a quantity that nobody measures"),
    may("grid", Is::A("quantity"), "up to the next multiple, before `times`"),
    may("times", Is::A("times"), "multiplied by a decimal, a fraction or an input"),
];

pub(super) const FALLBACK: &[Key] = &[
    may("meter", Is::A("meter"), "of the same dimension"),
    may("value", Is::A("quantity"), "a constant"),
    must("note", Is::A("label"), "put on every line it is used for"),
];

pub(super) const EXAMPLE: &[Key] = &[
    must("name", Is::A("label"), NAME),
    must("source", Is::A("label"), "where it is worked out"),
    may("variant", Is::A("id"), "the model it is of; the first unless given"),
    may("free", Is::Bool, "whether allowances apply; true unless given"),
    may("days", Is::A("period"), "length of the period; `month_days` unless given"),
    may("rounding", Is::A("rounding"), "this source rounds in another way than the model"),
    may("digits", Is::Whole(0, limits::DIGITS as u64), "decimals that this source rounds to"),
    may("set", Is::Map("input_value"), "values of inputs"),
    may("amount", Is::A("decimal"), "the total as printed"),
    may("lines", Is::Map("decimal"), "amounts of positions (charges or pools) as printed"),
    may("quantities", Is::Map("decimal"), "quantities of charges before the allowance"),
    may("billable", Is::Map("decimal"), "quantities of positions after allowance and packages"),
    may("disputed", Is::A("label"), "why it does NOT come out; it must not, then"),
    may("usage", Is::List("usage", 0, MANY), "groups of invocations that are alike"),
];

pub(super) const USAGE: &[Key] = &[
    must("requests", Is::A("count"), "how many invocations"),
    may("cold", Is::Bool, "whether the sandbox was made for them; false unless given"),
    may("phases", Is::A("phases"), "how long each phase took"),
    may("meters", Is::A("meters"), "what was measured of each"),
    may("set", Is::Map("input_value"), "inputs of this group only"),
    may("instances", Is::A("count"), "stretches, for charges by instance"),
    may("instance_time", Is::A("time"), "how long each stretch is"),
];

pub(super) const PHASES: &[Key] = &[
    may("create", Is::A("time"), "making the sandbox"),
    may("start", Is::A("time"), "bringing the function to its first instruction"),
    may("run", Is::A("time"), "the function itself"),
    may("teardown", Is::A("time"), "taking the sandbox down"),
];
