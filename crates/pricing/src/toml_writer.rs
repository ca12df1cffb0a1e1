//! Writer of price files: prints a model as a file of its own, with the keys of a variant merged
//! with those of the file that it varies.

use std::fmt::Write;

use super::charge::{
    Charge, Factor, Fallback, LookupRow, Measure, ModelInput, Multiplier, Pool, StandIn, Tier,
};
use super::example::{Example, ExampleFigure, PrintedFigure};
use super::model::PriceModel;
use super::number::Exact;
use super::schema::{ChargeBasis, ModelInputKind};
use super::settle::UsageGroup;
use super::terms::{DAY, PERIOD, Terms};
use super::unit::{Dimension, Gigabyte, Phase};
use cyclometer_core::meter::{Meter, Phases};
use cyclometer_core::quantity::MAX_CHARS;

/// Writer of the keys of a table, in order.
struct TomlWriter(String);

impl TomlWriter {
    fn write_table_header(&mut self, name: &str) {
        self.write_raw(&format!("\n[[{name}]]\n"));
    }

    fn write_raw(&mut self, text: &str) {
        self.0.push_str(text);
    }

    /// Writes `key = value`, where the value is already TOML.
    fn write_key(&mut self, key: &str, value: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{key} = {value}");
    }

    fn write_text(&mut self, key: &str, value: &str) {
        self.write_key(key, quote_toml(value));
    }

    fn write_texts<'a>(&mut self, pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) {
        for (key, value) in pairs {
            if let Some(value) = value {
                self.write_text(key, value);
            }
        }
    }

    /// Writes an inline table, unless it is empty.
    fn write_inline_table(&mut self, key: &str, pairs: &[(String, String)]) {
        if !pairs.is_empty() {
            self.write_key(key, inline_table(pairs));
        }
    }
}

fn quote_toml(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn inline_table(pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{} = {value}", quote_toml(key))).collect();
    format!("{{ {} }}", pairs.join(", "))
}

/// Formats a value of the metered unit in the unit that gives the shortest text: exact, and
/// within the length that a file allows.
fn format_quantity(dimension: Dimension, value: &Exact) -> String {
    format_shortest(dimension, value, |_| true)
}

/// Like [`format_quantity`], for places where MB and GB are read as the provider means them: uses only
/// units with a single meaning.
fn format_unambiguous_quantity(dimension: Dimension, value: &Exact, gb: Gigabyte) -> String {
    format_shortest(dimension, value, |unit| gb.unit_meant_by(unit).is_none())
}

fn format_shortest(dimension: Dimension, value: &Exact, fits: impl Fn(&str) -> bool) -> String {
    let in_unit = |(unit, size): &(&str, u64)| {
        let amount = value.checked_div(&Exact::from(*size))?;
        let text = amount.to_plain_string();
        let short = amount.to_fraction_string().is_none() && text.len() <= MAX_CHARS;
        (short && fits(unit)).then(|| format!("{text} {unit}"))
    };
    // The unit in which the value was written is among them.
    let shortest = dimension.units().iter().filter_map(in_unit).min_by_key(String::len);
    quote_toml(&shortest.unwrap_or_else(|| value.to_plain_string()))
}

/// Formats whole days, or otherwise a time in quotes.
fn format_period(value: &Exact) -> String {
    let days = value.checked_div(&Exact::from(DAY)).and_then(|days| days.to_u64());
    days.map_or_else(|| format_quantity(Dimension::Time, value), |days| days.to_string())
}

fn format_decimal(value: &Exact) -> String {
    quote_toml(&value.to_plain_string())
}

/// Formats a decimal where there is a finite one, and otherwise a fraction.
fn format_ratio(value: &Exact) -> String {
    value
        .to_fraction_string()
        .map_or_else(|| format_decimal(value), |fraction| quote_toml(&fraction))
}

impl PriceModel {
    /// Prints the model as a price file of its own, with its variant merged and its figures in
    /// the shortest unit that is exact. Parsing it again returns an equal model, apart from where
    /// it was read.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut keys = TomlWriter(String::new());
        self.print_head(&mut keys);
        for input in &self.inputs {
            print_input(input, self.gb, &mut keys);
        }
        for pool in self.pools.iter().filter(|pool| pool.shared) {
            keys.write_table_header("pool");
            keys.write_text("name", &pool.name);
            keys.write_text("unit", &pool.unit);
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
            contract: _,
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

    fn print_head(&self, keys: &mut TomlWriter) {
        let it = &self.identity;
        keys.write_texts([
            ("id", Some(it.id.as_str())),
            ("name", Some(&*it.name)),
            ("provider", it.provider.as_deref()),
            ("currency", Some(&it.currency)),
            ("granularity", Some(it.granularity.name())),
        ]);
        keys.write_key("effective_from", &it.effective_from);
        if let Some(until) = &it.effective_until {
            keys.write_key("effective_until", until);
        }
        if it.tariff != it.id {
            keys.write_text("tariff", &it.tariff);
        }
        keys.write_key("retrieved", &it.retrieved);
        keys.write_texts([("source", Some(&*it.source)), ("uncertain", it.uncertain.as_deref())]);
        keys.write_text("rounding", self.rounding.policy.name());
        keys.write_key("digits", self.rounding.digits);
        if self.gb == Gigabyte::Binary {
            keys.write_text("gb", "binary");
        }
        keys.write_key("month_days", format_period(&self.month));
    }

    fn input_name(&self, position: usize) -> &str {
        self.inputs.get(position).map_or("", ModelInput::name)
    }

    fn print_charge(&self, charge: &Charge, keys: &mut TomlWriter) {
        keys.write_table_header("charge");
        keys.write_text("name", &charge.name);
        keys.write_text("unit", &charge.unit);
        match charge.basis {
            ChargeBasis::Request => {}
            ChargeBasis::Instance => keys.write_text("basis", "instance"),
            ChargeBasis::Period => keys.write_text("basis", "period"),
        }
        if let Some((switch, on)) = charge.condition {
            keys.write_text(if on { "when" } else { "unless" }, self.input_name(switch));
        }
        if let Some(pool) = self.pools.get(charge.pool) {
            if pool.shared {
                keys.write_text("pool", &pool.name);
                keys.write_key("weight", format_ratio(&charge.weight));
            } else {
                print_prices(pool, "charge", keys);
            }
        }
        for factor in &charge.factors {
            self.print_factor(factor, keys);
        }
    }

    fn print_factor(&self, factor: &Factor, keys: &mut TomlWriter) {
        keys.write_table_header("charge.factor");
        for (key, value) in self.measure_keys(&factor.measure, &factor.inner_grids) {
            keys.write_key(key, value);
        }
        keys.write_text("unit", &factor.unit);
        if let Some(times) = self.multiplier_value(&factor.times) {
            keys.write_key("times", times);
        }
        if let Some(unit) = &factor.product_unit {
            keys.write_text("as", unit);
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
                    None => format_quantity(factor.dimension, value),
                    Some(unit) => {
                        let amount = value.checked_div(&factor.size).unwrap_or_default();
                        quote_toml(&format!("{} {unit}", amount.to_plain_string()))
                    }
                };
                keys.write_key(key, written);
            }
        }
        if factor.each {
            keys.write_key("each", true);
        }
        for fallback in &factor.fallbacks {
            print_fallback(fallback, &factor.measure, keys);
        }
    }

    /// Returns the keys that define the measure, with their values as TOML.
    fn measure_keys(&self, measure: &Measure, grids: &[Exact]) -> Vec<(&'static str, String)> {
        match measure {
            Measure::Requests => vec![("meter", quote_toml("requests"))],
            Measure::Meter(meter) => vec![("meter", quote_toml(meter.name()))],
            Measure::Phases(phases) => {
                let names: Vec<String> =
                    phases.iter().map(|phase| quote_toml(phase.name())).collect();
                vec![("phases", format!("[{}]", names.join(", ")))]
            }
            Measure::Input(input) => vec![("input", quote_toml(self.input_name(*input)))],
            Measure::Period | Measure::Month => vec![("period", true.to_string())],
            Measure::Lookup { of, rows } => {
                // The name of a meter or an input.
                let name = self.measure_keys(of, &[]).pop().unwrap_or_default().1;
                vec![("lookup", name), ("table", self.lookup_rows(of, rows))]
            }
            Measure::MaxOf(several) => {
                let one = |(index, (measure, times)): (usize, &(Measure, Multiplier))| {
                    let mut keys = self.measure_keys(measure, &[]);
                    let grid = grids.get(index).filter(|grid| !grid.is_zero());
                    let of = self.dimension_of(measure);
                    keys.extend(grid.map(|grid| ("grid", format_quantity(of, grid))));
                    keys.extend(self.multiplier_value(times).map(|times| ("times", times)));
                    let keys: Vec<(String, String)> =
                        keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
                    inline_table(&keys)
                };
                let several: Vec<String> = several.iter().enumerate().map(one).collect();
                vec![("max_of", format!("[{}]", several.join(", ")))]
            }
        }
    }

    fn dimension_of(&self, measure: &Measure) -> Dimension {
        match measure {
            Measure::Meter(meter) => Dimension::for_meter(*meter),
            Measure::Phases(_) => Dimension::Time,
            Measure::Input(input) => {
                self.inputs.get(*input).map_or(Dimension::Number, ModelInput::dimension)
            }
            _ => Dimension::Requests,
        }
    }

    fn lookup_rows(&self, of: &Measure, rows: &[LookupRow]) -> String {
        let dimension = self.dimension_of(of);
        let row = |row: &LookupRow| {
            let up_to = format_quantity(dimension, &row.up_to);
            format!("\n  {{ up_to = {up_to}, value = {} }},", format_decimal(&row.value))
        };
        format!("[{}\n]", rows.iter().map(row).collect::<String>())
    }

    fn multiplier_value(&self, times: &Multiplier) -> Option<String> {
        match times {
            Multiplier::Once => None,
            Multiplier::By(by) => Some(format_ratio(by)),
            Multiplier::Input(input) => Some(quote_toml(self.input_name(*input))),
        }
    }

    fn print_example(&self, example: &Example, keys: &mut TomlWriter) {
        keys.write_table_header("example");
        keys.write_text("name", &example.name);
        keys.write_text("source", &example.source);
        keys.write_key("free", example.terms.free);
        keys.write_key("days", format_period(&example.terms.period));
        keys.write_text("rounding", example.rounding.policy.name());
        keys.write_key("digits", example.rounding.digits);
        keys.write_inline_table(
            "set",
            &self.changed_inputs(&example.terms, &Terms::for_model(self)),
        );
        print_expected(&example.expected, keys);
        if let Some(reason) = &example.disputed {
            keys.write_text("disputed", reason);
        }
        for group in &example.usage {
            self.print_usage(group, &example.terms, keys);
        }
    }

    /// Returns the inputs whose value differs from that in `unless`, with their values as TOML.
    fn changed_inputs(&self, terms: &Terms, unless: &Terms) -> Vec<(String, String)> {
        let mut set = Vec::new();
        for (position, input) in self.inputs.iter().enumerate() {
            let value = terms.input_value(position).filter(|_| !terms.follows_period(position));
            if let Some(value) = value.filter(|_| value != unless.input_value(position)) {
                set.push((input.name.to_string(), input_value(input, value, self.gb)));
            }
        }
        set
    }

    fn print_usage(&self, group: &UsageGroup, terms: &Terms, keys: &mut TomlWriter) {
        keys.write_table_header("example.usage");
        keys.write_key("requests", &group.requests);
        keys.write_key("cold", group.usage.cold);
        keys.write_inline_table("phases", &phase_pairs(&group.usage.phases));
        let measured = |meter: &Meter| {
            let value = Exact::from(group.usage.get(*meter)?);
            Some((
                meter.name().to_owned(),
                format_unambiguous_quantity(Dimension::for_meter(*meter), &value, self.gb),
            ))
        };
        keys.write_inline_table(
            "meters",
            &Meter::ALL.iter().filter_map(measured).collect::<Vec<_>>(),
        );
        keys.write_inline_table("set", &self.changed_inputs(&group.terms, terms));
        if let Some((count, time)) = &group.instance_spans {
            keys.write_key("instances", count);
            keys.write_key("instance_time", format_quantity(Dimension::Time, &Exact::from(time.0)));
        }
    }
}

fn print_input(input: &ModelInput, gb: Gigabyte, keys: &mut TomlWriter) {
    keys.write_table_header("input");
    keys.write_text("name", &input.name);
    keys.write_text(
        "kind",
        match input.kind {
            ModelInputKind::Time => "time",
            ModelInputKind::Size => "size",
            ModelInputKind::SizeTime => "size_time",
            ModelInputKind::Count => "count",
            ModelInputKind::Number => "number",
            ModelInputKind::Switch => "switch",
        },
    );
    if input.follows_period {
        keys.write_text("default", PERIOD);
    } else if let Some(value) = &input.default {
        keys.write_key("default", input_value(input, value, gb));
    }
    keys.write_text("about", &input.about);
}

fn input_value(input: &ModelInput, value: &Exact, gb: Gigabyte) -> String {
    match input.kind {
        ModelInputKind::Switch => (!value.is_zero()).to_string(),
        _ => format_unambiguous_quantity(input.dimension(), value, gb),
    }
}

fn print_prices(pool: &Pool, table: &str, keys: &mut TomlWriter) {
    let plain = match pool.tiers.as_slice() {
        [Tier { up_to: None, price }] => Some(price),
        _ => None,
    };
    let in_unit = |value: &Exact| quote_toml(&format!("{} {}", value.to_plain_string(), pool.unit));
    if let Some(price) = plain {
        keys.write_key("price", format_decimal(price.as_exact()));
    }
    keys.write_key("per", format_decimal(&pool.per));
    if let Some(free) = &pool.free {
        keys.write_key("free", in_unit(&free.quantity));
        if let Some(price) = &free.credit_price {
            keys.write_key("credit_price", format_decimal(price.as_exact()));
        }
    }
    keys.write_texts([("free_rest_of", pool.rest_of.as_deref())]);
    if let Some(package) = &pool.package {
        keys.write_key("package", in_unit(package));
    }
    for tier in pool.tiers.iter().filter(|_| plain.is_none()) {
        keys.write_table_header(&format!("{table}.tier"));
        if let Some(end) = &tier.up_to {
            keys.write_key("up_to", in_unit(end));
        }
        keys.write_key("price", format_decimal(tier.price.as_exact()));
    }
}

fn print_fallback(fallback: &Fallback, measure: &Measure, keys: &mut TomlWriter) {
    keys.write_table_header("charge.factor.fallback");
    match (&fallback.stand_in, measure) {
        (StandIn::Meter(meter), _) => keys.write_text("meter", meter.name()),
        (StandIn::Value(value), measure) => {
            let of = if let Measure::Lookup { of, .. } = measure { &**of } else { measure };
            let dimension = if let Measure::Meter(meter) = of {
                Dimension::for_meter(*meter)
            } else {
                Dimension::Number
            };
            keys.write_key("value", format_quantity(dimension, value));
        }
    }
    keys.write_text("note", &fallback.note);
}

fn phase_pairs(phases: &Phases) -> Vec<(String, String)> {
    let all = [Phase::Create, Phase::Start, Phase::Run, Phase::Teardown];
    let there = all.into_iter().filter_map(|phase| {
        let span = phase.duration_in(phases)?;
        Some((phase.name().to_owned(), format_quantity(Dimension::Time, &Exact::from(span.0))))
    });
    there.collect()
}

/// Writes expected figures with their printed digits.
fn print_expected(expected: &[(ExampleFigure, PrintedFigure)], keys: &mut TomlWriter) {
    let figure =
        |printed: &PrintedFigure| quote_toml(&printed.value.to_rounded_string(printed.decimals));
    let mut tables = [("lines", vec![]), ("quantities", vec![]), ("billable", vec![])];
    for (of, printed) in expected {
        let (slot, name) = match of {
            ExampleFigure::Amount => {
                keys.write_key("amount", figure(printed));
                continue;
            }
            ExampleFigure::Line(name) => (0, name),
            ExampleFigure::Quantity(name) => (1, name),
            ExampleFigure::Billable(name) => (2, name),
        };
        tables[slot].1.push((name.to_string(), figure(printed)));
    }
    for (key, pairs) in &tables {
        keys.write_inline_table(key, pairs);
    }
}
