//! Writer of price files: prints a model as a file of its own, with the keys of a variant merged
//! with those of the file that it varies.

use std::fmt::Write;

use super::charge::{Charge, Factor, Fallback, Input, Measure, Pool, Row, StandIn, Tier, Times};
use super::example::{Example, Expected, Printed};
use super::model::PriceModel;
use super::number::Exact;
use super::schema::{Basis, Kind};
use super::settle::UsageGroup;
use super::terms::{DAY, PERIOD, Terms};
use super::unit::{Dimension, Gigabyte, Phase};
use cyclometer_core::meter::{Meter, Phases};
use cyclometer_core::quantity::MAX_CHARS;

/// Writer of the keys of a table, in order.
struct Keys(String);

impl Keys {
    fn header(&mut self, name: &str) {
        self.raw(&format!("\n[[{name}]]\n"));
    }

    fn raw(&mut self, text: &str) {
        self.0.push_str(text);
    }

    /// Writes `key = value`, where the value is already TOML.
    fn put(&mut self, key: &str, value: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{key} = {value}");
    }

    fn text(&mut self, key: &str, value: &str) {
        self.put(key, quoted(value));
    }

    fn texts<'a>(&mut self, pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) {
        for (key, value) in pairs {
            if let Some(value) = value {
                self.text(key, value);
            }
        }
    }

    /// Writes an inline table, unless it is empty.
    fn table(&mut self, key: &str, pairs: &[(String, String)]) {
        if !pairs.is_empty() {
            self.put(key, inline(pairs));
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn inline(pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{} = {value}", quoted(key))).collect();
    format!("{{ {} }}", pairs.join(", "))
}

/// Formats a value of the metered unit in the unit that gives the shortest text: exact, and
/// within the length that a file allows.
fn quantity(dimension: Dimension, value: &Exact) -> String {
    shortest(dimension, value, |_| true)
}

/// Like [`quantity`], for places where MB and GB are read as the provider means them: uses only
/// units with a single meaning.
fn spoken(dimension: Dimension, value: &Exact, gb: Gigabyte) -> String {
    shortest(dimension, value, |unit| gb.meant(unit).is_none())
}

fn shortest(dimension: Dimension, value: &Exact, fits: impl Fn(&str) -> bool) -> String {
    let in_unit = |(unit, size): &(&str, u64)| {
        let amount = value.over(&Exact::from(*size))?;
        let text = amount.to_plain_string();
        let short = amount.fraction().is_none() && text.len() <= MAX_CHARS;
        (short && fits(unit)).then(|| format!("{text} {unit}"))
    };
    // The unit in which the value was written is among them.
    let shortest = dimension.units().iter().filter_map(in_unit).min_by_key(String::len);
    quoted(&shortest.unwrap_or_else(|| value.to_plain_string()))
}

/// Formats whole days, or otherwise a time in quotes.
fn period(value: &Exact) -> String {
    let days = value.over(&Exact::from(DAY)).and_then(|days| days.to_u64());
    days.map_or_else(|| quantity(Dimension::Time, value), |days| days.to_string())
}

fn decimal(value: &Exact) -> String {
    quoted(&value.to_plain_string())
}

/// Formats a decimal where there is a finite one, and otherwise a fraction.
fn ratio(value: &Exact) -> String {
    value.fraction().map_or_else(|| decimal(value), |fraction| quoted(&fraction))
}

impl PriceModel {
    /// Prints the model as a price file of its own, with its variant merged and its figures in
    /// the shortest unit that is exact. Parsing it again returns an equal model, apart from where
    /// it was read.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut keys = Keys(String::new());
        self.print_head(&mut keys);
        for input in &self.inputs {
            print_input(input, self.gb, &mut keys);
        }
        for pool in self.pools.iter().filter(|pool| pool.shared) {
            keys.header("pool");
            keys.text("name", &pool.name);
            keys.text("unit", &pool.unit);
            print_prices(pool, "pool", &mut keys);
        }
        for charge in &self.charges {
            self.print_charge(charge, &mut keys);
        }
        for example in &self.examples {
            self.print_example(example, &mut keys);
        }
        keys.0
    }

    /// Returns whether both are the same model, wherever they were read.
    #[must_use]
    pub fn same_tariff(&self, other: &Self) -> bool {
        let Self {
            identity,
            rounding,
            gb,
            month,
            inputs,
            pools,
            charges,
            examples,
            text: _,
            digest: _,
            origin: _,
        } = self;
        *identity == other.identity
            && *rounding == other.rounding
            && *gb == other.gb
            && *month == other.month
            && *inputs == other.inputs
            && *pools == other.pools
            && *charges == other.charges
            && *examples == other.examples
    }

    fn print_head(&self, keys: &mut Keys) {
        let it = &self.identity;
        keys.texts([
            ("id", Some(it.id.as_str())),
            ("name", Some(&*it.name)),
            ("provider", it.provider.as_deref()),
            ("currency", Some(&it.currency)),
            ("granularity", Some(it.granularity.name())),
        ]);
        keys.put("effective_from", &it.effective_from);
        if let Some(until) = &it.effective_until {
            keys.put("effective_until", until);
        }
        if it.tariff != it.id {
            keys.text("tariff", &it.tariff);
        }
        keys.put("retrieved", &it.retrieved);
        keys.texts([("source", Some(&*it.source)), ("uncertain", it.uncertain.as_deref())]);
        keys.text("rounding", self.rounding.policy.name());
        keys.put("digits", self.rounding.digits);
        if self.gb == Gigabyte::Binary {
            keys.text("gb", "binary");
        }
        keys.put("month_days", period(&self.month));
    }

    fn input_name(&self, position: usize) -> &str {
        self.inputs.get(position).map_or("", Input::name)
    }

    fn print_charge(&self, charge: &Charge, keys: &mut Keys) {
        keys.header("charge");
        keys.text("name", &charge.name);
        keys.text("unit", &charge.unit);
        match charge.basis {
            Basis::Request => {}
            Basis::Instance => keys.text("basis", "instance"),
            Basis::Period => keys.text("basis", "period"),
        }
        if let Some((switch, on)) = charge.condition {
            keys.text(if on { "when" } else { "unless" }, self.input_name(switch));
        }
        if let Some(pool) = self.pools.get(charge.pool) {
            if pool.shared {
                keys.text("pool", &pool.name);
                keys.put("weight", ratio(&charge.weight));
            } else {
                print_prices(pool, "charge", keys);
            }
        }
        for factor in &charge.factors {
            self.print_factor(factor, keys);
        }
    }

    fn print_factor(&self, factor: &Factor, keys: &mut Keys) {
        keys.header("charge.factor");
        for (key, value) in self.measure(&factor.measure, &factor.inner_grids) {
            keys.put(key, value);
        }
        keys.text("unit", &factor.unit);
        if let Some(times) = self.times(&factor.times) {
            keys.put("times", times);
        }
        if let Some(unit) = &factor.product_unit {
            keys.text("as", unit);
        }
        let shaped = [
            ("above", factor.above.as_ref()),
            ("at_most", factor.at_most.as_ref()),
            ("limit", factor.limit.as_ref()),
            ("minimum", Some(&factor.minimum).filter(|value| !value.is_zero())),
            ("grid", Some(&factor.grid).filter(|value| !value.is_zero())),
        ];
        for (key, value) in shaped {
            if let Some(value) = value {
                let written = match &factor.product_unit {
                    None => quantity(factor.dimension, value),
                    Some(unit) => {
                        let amount = value.over(&factor.size).unwrap_or_default();
                        quoted(&format!("{} {unit}", amount.to_plain_string()))
                    }
                };
                keys.put(key, written);
            }
        }
        if factor.each {
            keys.put("each", true);
        }
        for fallback in &factor.fallbacks {
            print_fallback(fallback, &factor.measure, keys);
        }
    }

    /// Returns the keys that define the measure, with their values as TOML.
    fn measure(&self, measure: &Measure, grids: &[Exact]) -> Vec<(&'static str, String)> {
        match measure {
            Measure::Requests => vec![("meter", quoted("requests"))],
            Measure::Meter(meter) => vec![("meter", quoted(meter.name()))],
            Measure::Phases(phases) => {
                let names: Vec<String> = phases.iter().map(|phase| quoted(phase.name())).collect();
                vec![("phases", format!("[{}]", names.join(", ")))]
            }
            Measure::Input(input) => vec![("input", quoted(self.input_name(*input)))],
            Measure::Period | Measure::Month => vec![("period", true.to_string())],
            Measure::Lookup { of, rows } => {
                // The name of a meter or an input.
                let name = self.measure(of, &[]).pop().unwrap_or_default().1;
                vec![("lookup", name), ("table", self.table(of, rows))]
            }
            Measure::MaxOf(several) => {
                let one = |(index, (measure, times)): (usize, &(Measure, Times))| {
                    let mut keys = self.measure(measure, &[]);
                    let grid = grids.get(index).filter(|grid| !grid.is_zero());
                    let of = self.dimension_of(measure);
                    keys.extend(grid.map(|grid| ("grid", quantity(of, grid))));
                    keys.extend(self.times(times).map(|times| ("times", times)));
                    let keys: Vec<(String, String)> =
                        keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
                    inline(&keys)
                };
                let several: Vec<String> = several.iter().enumerate().map(one).collect();
                vec![("max_of", format!("[{}]", several.join(", ")))]
            }
        }
    }

    fn dimension_of(&self, measure: &Measure) -> Dimension {
        match measure {
            Measure::Meter(meter) => Dimension::of(*meter),
            Measure::Phases(_) => Dimension::Time,
            Measure::Input(input) => {
                self.inputs.get(*input).map_or(Dimension::Number, Input::dimension)
            }
            _ => Dimension::Requests,
        }
    }

    fn table(&self, of: &Measure, rows: &[Row]) -> String {
        let dimension = self.dimension_of(of);
        let row = |row: &Row| {
            let up_to = quantity(dimension, &row.up_to);
            format!("\n  {{ up_to = {up_to}, value = {} }},", decimal(&row.value))
        };
        format!("[{}\n]", rows.iter().map(row).collect::<String>())
    }

    fn times(&self, times: &Times) -> Option<String> {
        match times {
            Times::Once => None,
            Times::By(by) => Some(ratio(by)),
            Times::Input(input) => Some(quoted(self.input_name(*input))),
        }
    }

    fn print_example(&self, example: &Example, keys: &mut Keys) {
        keys.header("example");
        keys.text("name", &example.name);
        keys.text("source", &example.source);
        keys.put("free", example.terms.free);
        keys.put("days", period(&example.terms.period));
        keys.text("rounding", example.rounding.policy.name());
        keys.put("digits", example.rounding.digits);
        keys.table("set", &self.set(&example.terms, &Terms::of(self)));
        print_expected(&example.expected, keys);
        if let Some(reason) = &example.disputed {
            keys.text("disputed", reason);
        }
        for group in &example.usage {
            self.print_usage(group, &example.terms, keys);
        }
    }

    /// Returns the inputs whose value differs from that in `unless`, with their values as TOML.
    fn set(&self, terms: &Terms, unless: &Terms) -> Vec<(String, String)> {
        let mut set = Vec::new();
        for (position, input) in self.inputs.iter().enumerate() {
            let value = terms.input(position).filter(|_| !terms.follows_period(position));
            if let Some(value) = value.filter(|_| value != unless.input(position)) {
                set.push((input.name.to_string(), input_value(input, value, self.gb)));
            }
        }
        set
    }

    fn print_usage(&self, group: &UsageGroup, terms: &Terms, keys: &mut Keys) {
        keys.header("example.usage");
        keys.put("requests", &group.requests);
        keys.put("cold", group.usage.cold);
        keys.table("phases", &phases(&group.usage.phases));
        let measured = |meter: &Meter| {
            let value = Exact::from(group.usage.get(*meter)?);
            Some((meter.name().to_owned(), spoken(Dimension::of(*meter), &value, self.gb)))
        };
        keys.table("meters", &Meter::ALL.iter().filter_map(measured).collect::<Vec<_>>());
        keys.table("set", &self.set(&group.terms, terms));
        if let Some((count, time)) = &group.stretches {
            keys.put("instances", count);
            keys.put("instance_time", quantity(Dimension::Time, &Exact::from(time.0)));
        }
    }
}

fn print_input(input: &Input, gb: Gigabyte, keys: &mut Keys) {
    keys.header("input");
    keys.text("name", &input.name);
    keys.text(
        "kind",
        match input.kind {
            Kind::Time => "time",
            Kind::Size => "size",
            Kind::SizeTime => "size_time",
            Kind::Count => "count",
            Kind::Number => "number",
            Kind::Switch => "switch",
        },
    );
    if input.follows_period {
        keys.text("default", PERIOD);
    } else if let Some(value) = &input.default {
        keys.put("default", input_value(input, value, gb));
    }
    keys.text("about", &input.about);
}

fn input_value(input: &Input, value: &Exact, gb: Gigabyte) -> String {
    match input.kind {
        Kind::Switch => (!value.is_zero()).to_string(),
        _ => spoken(input.dimension(), value, gb),
    }
}

fn print_prices(pool: &Pool, table: &str, keys: &mut Keys) {
    let plain = match pool.tiers.as_slice() {
        [Tier { up_to: None, price }] => Some(price),
        _ => None,
    };
    let in_unit = |value: &Exact| quoted(&format!("{} {}", value.to_plain_string(), pool.unit));
    if let Some(price) = plain {
        keys.put("price", decimal(price.as_exact()));
    }
    keys.put("per", decimal(&pool.per));
    if let Some(free) = &pool.free {
        keys.put("free", in_unit(&free.quantity));
        if let Some(price) = &free.credit_price {
            keys.put("credit_price", decimal(price.as_exact()));
        }
    }
    if let Some(package) = &pool.package {
        keys.put("package", in_unit(package));
    }
    for tier in pool.tiers.iter().filter(|_| plain.is_none()) {
        keys.header(&format!("{table}.tier"));
        if let Some(end) = &tier.up_to {
            keys.put("up_to", in_unit(end));
        }
        keys.put("price", decimal(tier.price.as_exact()));
    }
}

fn print_fallback(fallback: &Fallback, measure: &Measure, keys: &mut Keys) {
    keys.header("charge.factor.fallback");
    match (&fallback.stand_in, measure) {
        (StandIn::Meter(meter), _) => keys.text("meter", meter.name()),
        (StandIn::Value(value), measure) => {
            let of = if let Measure::Lookup { of, .. } = measure { &**of } else { measure };
            let dimension = if let Measure::Meter(meter) = of {
                Dimension::of(*meter)
            } else {
                Dimension::Number
            };
            keys.put("value", quantity(dimension, value));
        }
    }
    keys.text("note", &fallback.note);
}

fn phases(phases: &Phases) -> Vec<(String, String)> {
    let all = [Phase::Create, Phase::Start, Phase::Run, Phase::Teardown];
    let there = all.into_iter().filter_map(|phase| {
        let span = phase.of(phases)?;
        Some((phase.name().to_owned(), quantity(Dimension::Time, &Exact::from(span.0))))
    });
    there.collect()
}

/// Writes expected figures with their printed digits.
fn print_expected(expected: &[(Expected, Printed)], keys: &mut Keys) {
    let figure = |printed: &Printed| quoted(&printed.value.rounded(printed.decimals));
    let mut tables = [("lines", vec![]), ("quantities", vec![]), ("billable", vec![])];
    for (of, printed) in expected {
        let (slot, name) = match of {
            Expected::Amount => {
                keys.put("amount", figure(printed));
                continue;
            }
            Expected::Line(name) => (0, name),
            Expected::Quantity(name) => (1, name),
            Expected::Billable(name) => (2, name),
        };
        tables[slot].1.push((name.to_string(), figure(printed)));
    }
    for (key, pairs) in &tables {
        keys.table(key, pairs);
    }
}
