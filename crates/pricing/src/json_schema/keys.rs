//! Description of every key of a price file: its purpose and the form of its value.

use super::super::resolve::limits;

/// Key of a table.
pub(super) struct SchemaKey {
    pub name: &'static str,
    pub required: bool,
    pub value: ValueShape,
    pub about: &'static str,
}

/// Form of a value.
#[derive(Clone, Copy)]
pub(super) enum ValueShape {
    /// The definition of that name in `$defs`.
    Definition(&'static str),
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

pub(super) const fn required_key(
    name: &'static str,
    value: ValueShape,
    about: &'static str,
) -> SchemaKey {
    SchemaKey { name, required: true, value, about }
}

pub(super) const fn optional_key(
    name: &'static str,
    value: ValueShape,
    about: &'static str,
) -> SchemaKey {
    SchemaKey { name, required: false, value, about }
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
const REST: &str =
    "free is what the allowance of that position leaves, in the same unit: \"active vCPU\"";
const PACKAGE: &str = "what is left after the allowance is billed up to whole packages";
const PER: &str = "how many units the price is for, such as 1_000_000; 1 unless given";
const PRICE: &str = "the price of `per` units";
const TIER: &str = "prices by quantity, ascending; instead of `price`";

pub(super) const MODEL: &[SchemaKey] = &[
    required_key("id", ValueShape::Definition("id"), "the name on the command line"),
    required_key("name", ValueShape::Definition("label"), NAME),
    optional_key("provider", ValueShape::Definition("label"), "whose tariff it is"),
    required_key(
        "currency",
        ValueShape::Definition("currency"),
        "of all amounts; different ones are never compared",
    ),
    required_key(
        "granularity",
        ValueShape::Definition("granularity"),
        "bills what was allocated, what was used, or both",
    ),
    required_key("effective_from", ValueShape::Definition("day"), "the first day it holds"),
    optional_key("effective_until", ValueShape::Definition("day"), UNTIL),
    optional_key("tariff", ValueShape::Definition("id"), TARIFF),
    required_key("retrieved", ValueShape::Definition("day"), "the day the source was read"),
    required_key("source", ValueShape::Definition("label"), "where the figures are from"),
    optional_key(
        "uncertain",
        ValueShape::Definition("label"),
        "what of it is not certain; shown with every bill",
    ),
    required_key(
        "rounding",
        ValueShape::Definition("rounding"),
        "where the bill of a period is rounded, and which way",
    ),
    optional_key("digits", ValueShape::Whole(0, limits::DIGITS as u64), DIGITS),
    optional_key("gb", ValueShape::Definition("gb"), GB),
    optional_key("month_days", ValueShape::Definition("period"), MONTH),
    optional_key(
        "input",
        ValueShape::List("input", 0, limits::INPUTS),
        "what a bill depends on and no meter has",
    ),
    optional_key("pool", ValueShape::List("pool", 0, MANY), "prices that several charges share"),
    required_key(
        "charge",
        ValueShape::List("charge", 1, limits::CHARGES),
        "what is measured and paid for",
    ),
    optional_key(
        "variant",
        ValueShape::List("variant", 0, limits::VARIANTS),
        "the same with some keys replaced",
    ),
    optional_key(
        "example",
        ValueShape::List("example", 0, limits::EXAMPLES),
        "the provider's own arithmetic",
    ),
];

pub(super) const VARIANT: &[SchemaKey] = &[
    required_key("id", ValueShape::Definition("id"), "the name on the command line"),
    required_key("name", ValueShape::Definition("label"), NAME),
    optional_key("provider", ValueShape::Definition("label"), "whose tariff it is"),
    optional_key("currency", ValueShape::Definition("currency"), "of all amounts"),
    optional_key(
        "granularity",
        ValueShape::Definition("granularity"),
        "bills what was allocated, what was used, or both",
    ),
    optional_key("effective_from", ValueShape::Definition("day"), "the first day it holds"),
    optional_key("effective_until", ValueShape::Definition("day"), UNTIL),
    optional_key(
        "tariff",
        ValueShape::Definition("id"),
        "the variant is another tariff unless it says so here",
    ),
    optional_key("retrieved", ValueShape::Definition("day"), "the day the source was read"),
    optional_key("source", ValueShape::Definition("label"), "where the figures are from"),
    optional_key(
        "uncertain",
        ValueShape::Definition("label"),
        "what of it is not certain; shown with every bill",
    ),
    optional_key(
        "rounding",
        ValueShape::Definition("rounding"),
        "where the bill of a period is rounded, and which way",
    ),
    optional_key("digits", ValueShape::Whole(0, limits::DIGITS as u64), DIGITS),
    optional_key("gb", ValueShape::Definition("gb"), GB),
    optional_key("month_days", ValueShape::Definition("period"), MONTH),
    optional_key(
        "prices",
        ValueShape::Map("decimal"),
        "other prices, by the name of a charge or pool",
    ),
    optional_key(
        "without",
        ValueShape::List("name", 0, MANY),
        "charges, pools and inputs that it does not have",
    ),
    optional_key(
        "input",
        ValueShape::List("input", 0, MANY),
        "replaces the input of that name, or is added",
    ),
    optional_key(
        "pool",
        ValueShape::List("pool", 0, MANY),
        "replaces the pool of that name, or is added",
    ),
    optional_key(
        "charge",
        ValueShape::List("charge", 0, MANY),
        "replaces the charge of that name, or is added",
    ),
];

pub(super) const INPUT: &[SchemaKey] = &[
    required_key("name", ValueShape::Definition("input_name"), "the name that --set knows"),
    required_key("kind", ValueShape::Definition("kind"), "what it is"),
    optional_key(
        "default",
        ValueShape::Definition("input_value"),
        "without: a usage that does not say is refused; \"period\" is the length of the period",
    ),
    required_key("about", ValueShape::Definition("label"), NAME),
];

pub(super) const POOL: &[SchemaKey] = &[
    required_key("name", ValueShape::Definition("label"), "shown on the bill"),
    required_key("unit", ValueShape::Definition("label"), "of its quantity"),
    optional_key("price", ValueShape::Definition("decimal"), PRICE),
    optional_key("per", ValueShape::Definition("per"), PER),
    optional_key("free", ValueShape::Definition("quantity"), FREE),
    optional_key("credit_price", ValueShape::Definition("decimal"), CREDIT),
    optional_key("free_rest_of", ValueShape::Definition("name"), REST),
    optional_key("package", ValueShape::Definition("quantity"), PACKAGE),
    optional_key("tier", ValueShape::List("tier", 0, MANY), TIER),
];

pub(super) const TIER_KEYS: &[SchemaKey] = &[
    optional_key(
        "up_to",
        ValueShape::Definition("quantity"),
        "where it ends, after the allowance; the last one has no end",
    ),
    required_key("price", ValueShape::Definition("decimal"), PRICE),
];

pub(super) const CHARGE: &[SchemaKey] = &[
    required_key("name", ValueShape::Definition("label"), "shown on the bill"),
    optional_key(
        "unit",
        ValueShape::Definition("label"),
        "shown on the bill; the factors' units unless given",
    ),
    optional_key(
        "basis",
        ValueShape::Definition("basis"),
        "what it is counted by; every request unless given",
    ),
    optional_key("price", ValueShape::Definition("decimal"), PRICE),
    optional_key("per", ValueShape::Definition("per"), PER),
    optional_key("free", ValueShape::Definition("quantity"), FREE),
    optional_key("credit_price", ValueShape::Definition("decimal"), CREDIT),
    optional_key("free_rest_of", ValueShape::Definition("name"), REST),
    optional_key("package", ValueShape::Definition("quantity"), PACKAGE),
    optional_key("tier", ValueShape::List("tier", 0, MANY), TIER),
    optional_key("pool", ValueShape::Definition("name"), "the pool that has the price"),
    optional_key(
        "weight",
        ValueShape::Definition("ratio"),
        "units of the pool for one unit of the charge; 1 unless given",
    ),
    optional_key("when", ValueShape::Definition("input_name"), "only if this switch is on"),
    optional_key("unless", ValueShape::Definition("input_name"), "only if this switch is off"),
    optional_key(
        "factor",
        ValueShape::List("factor", 0, limits::FACTORS),
        "multiplied with each other",
    ),
];

pub(super) const FACTOR: &[SchemaKey] = &[
    optional_key(
        "meter",
        ValueShape::Definition("meter_or_requests"),
        "the value of that meter; `requests` is 1",
    ),
    optional_key("phases", ValueShape::List("phase", 1, 4), "the sum of these phases"),
    optional_key("input", ValueShape::Definition("input_name"), "a quantity that nobody measures"),
    optional_key("period", ValueShape::True, "the length of the billing period"),
    optional_key(
        "lookup",
        ValueShape::Definition("name"),
        "the meter or input that the table is looked up by",
    ),
    optional_key(
        "table",
        ValueShape::List("row", 0, limits::ROWS),
        "the value of the first row that reaches up",
    ),
    optional_key(
        "max_of",
        ValueShape::List("measure", 2, limits::ALTERNATIVES),
        "the largest of several",
    ),
    required_key("unit", ValueShape::Definition("name"), "what the value is counted in"),
    optional_key(
        "times",
        ValueShape::Definition("times"),
        "multiplied by a decimal, a fraction or an input",
    ),
    optional_key(
        "as",
        ValueShape::Definition("name"),
        "what the product with `times` is counted in, where that is another unit",
    ),
    optional_key("above", ValueShape::Definition("quantity"), "only what is above that"),
    optional_key("at_most", ValueShape::Definition("quantity"), "never more than that"),
    optional_key(
        "limit",
        ValueShape::Definition("quantity"),
        "a usage beyond it is refused: it is not on offer",
    ),
    optional_key("minimum", ValueShape::Definition("quantity"), "at least that, before the grid"),
    optional_key("grid", ValueShape::Definition("quantity"), "up to the next multiple"),
    optional_key("each", ValueShape::Bool, "minimum and grid for each phase, then the sum"),
    optional_key(
        "fallback",
        ValueShape::List("fallback", 0, MANY),
        "what stands in for a meter, in this order",
    ),
];

pub(super) const ROW: &[SchemaKey] = &[
    required_key("up_to", ValueShape::Definition("quantity"), "how far the row reaches; ascending"),
    required_key("value", ValueShape::Definition("decimal"), "what the factor is then"),
];

pub(super) const MEASURE: &[SchemaKey] = &[
    optional_key("meter", ValueShape::Definition("meter_or_requests"), "the value of that meter"),
    optional_key("phases", ValueShape::List("phase", 1, 4), "the sum of these phases"),
    optional_key("input", ValueShape::Definition("input_name"), "a quantity that nobody measures"),
    optional_key(
        "grid",
        ValueShape::Definition("quantity"),
        "up to the next multiple, before `times`",
    ),
    optional_key(
        "times",
        ValueShape::Definition("times"),
        "multiplied by a decimal, a fraction or an input",
    ),
];

pub(super) const FALLBACK: &[SchemaKey] = &[
    optional_key("meter", ValueShape::Definition("meter"), "of the same dimension"),
    optional_key("value", ValueShape::Definition("quantity"), "a constant"),
    required_key("note", ValueShape::Definition("label"), "put on every line it is used for"),
];

pub(super) const EXAMPLE: &[SchemaKey] = &[
    required_key("name", ValueShape::Definition("label"), NAME),
    required_key("source", ValueShape::Definition("label"), "where it is worked out"),
    optional_key(
        "variant",
        ValueShape::Definition("id"),
        "the model it is of; the first unless given",
    ),
    optional_key("free", ValueShape::Bool, "whether allowances apply; true unless given"),
    optional_key(
        "days",
        ValueShape::Definition("period"),
        "length of the period; `month_days` unless given",
    ),
    optional_key(
        "rounding",
        ValueShape::Definition("rounding"),
        "this source rounds in another way than the model",
    ),
    optional_key(
        "digits",
        ValueShape::Whole(0, limits::DIGITS as u64),
        "decimals that this source rounds to",
    ),
    optional_key("set", ValueShape::Map("input_value"), "values of inputs"),
    optional_key("amount", ValueShape::Definition("decimal"), "the total as printed"),
    optional_key(
        "lines",
        ValueShape::Map("decimal"),
        "amounts of positions (charges or pools) as printed",
    ),
    optional_key(
        "quantities",
        ValueShape::Map("decimal"),
        "quantities of charges before the allowance",
    ),
    optional_key(
        "billable",
        ValueShape::Map("decimal"),
        "quantities of positions after allowance and packages",
    ),
    optional_key(
        "disputed",
        ValueShape::Definition("label"),
        "why it does NOT come out; it must not, then",
    ),
    optional_key(
        "usage",
        ValueShape::List("usage", 0, MANY),
        "groups of invocations that are alike",
    ),
];

pub(super) const USAGE: &[SchemaKey] = &[
    required_key("requests", ValueShape::Definition("count"), "how many invocations"),
    optional_key(
        "cold",
        ValueShape::Bool,
        "whether the sandbox was made for them; false unless given",
    ),
    optional_key("phases", ValueShape::Definition("phases"), "how long each phase took"),
    optional_key("meters", ValueShape::Definition("meters"), "what was measured of each"),
    optional_key("set", ValueShape::Map("input_value"), "inputs of this group only"),
    optional_key(
        "instances",
        ValueShape::Definition("count"),
        "stretches, for charges by instance",
    ),
    optional_key("instance_time", ValueShape::Definition("time"), "how long each stretch is"),
];

pub(super) const PHASES: &[SchemaKey] = &[
    optional_key("create", ValueShape::Definition("time"), "making the sandbox"),
    optional_key(
        "start",
        ValueShape::Definition("time"),
        "bringing the function to its first instruction",
    ),
    optional_key("run", ValueShape::Definition("time"), "the function itself"),
    optional_key("teardown", ValueShape::Definition("time"), "taking the sandbox down"),
];
