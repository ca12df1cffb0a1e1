//! JSON Schema of price files, for editors and other programs. Keys and choices come from serde,
//! units from [`Dimension`], limits from `resolve`; the meaning of each key is in `keys`, and
//! tests keep the two consistent.

mod contract;
mod keys;
mod probe;

use serde_json::{Map, Value, json};

pub use self::contract::contract_json_schema;
use self::keys::{SchemaKey, ValueShape};
use super::money::RoundingPolicy;
use super::scalars::MAX_LABEL_CHARS;
use super::schema::{self, ChargeBasis, Granularity, ModelInputKind};
use super::unit::{Dimension, Gigabyte, Phase};
use cyclometer_core::meter::Meter;
use cyclometer_core::quantity::MAX_CHARS;

/// Characters of the first plane that are invisible or that terminals interpret, as listed in
/// `visible_text`: JSON Schema has no character classes.
const HIDDEN: &str = concat!(
    r"\u0000-\u001F\u007F-\u009F\u00AD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180F\u200B-\u200F",
    r"\u2028-\u202E\u2060-\u206F\u3164\uE000-\uF8FF\uFDD0-\uFDEF\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFB\uFFFE\uFFFF"
);

const DECIMAL: &str = concat!(
    r"([0-9]+(_[0-9]+)*|[1-9][0-9]{0,2}(,[0-9]{3}){2,}|[1-9][0-9]{0,2},[0-9]{3}(?=\.))",
    r"(\.[0-9]+(_[0-9]+)*)?([eE][+-]?0*([0-2]?[0-9]|30))?"
);
/// Returns the pattern of a fraction: one decimal over another that is not 0.
fn fraction_pattern() -> String {
    format!(r"{DECIMAL}/(?![0._]*([eE].*)?$){DECIMAL}")
}

const INPUT_NAME: &str = "[a-z][a-z0-9_]{0,63}";

/// Dimensions that a meter can have, and requests.
const MEASURED: &[Dimension] = &[
    Dimension::Time,
    Dimension::Size,
    Dimension::SizeTime,
    Dimension::CpuShare,
    Dimension::Cycles,
    Dimension::Events,
    Dimension::Requests,
];

/// Table: its name in `$defs`, the keys that serde reads, the descriptions of the keys, and the
/// rules between keys.
type TableSchema = (&'static str, &'static [&'static str], &'static [SchemaKey], fn() -> Value);

fn table_schemas() -> [TableSchema; 13] {
    use keys::{
        CHARGE, EXAMPLE, FACTOR, FALLBACK, INPUT, MEASURE, MODEL, PHASES, POOL, ROW, TIER_KEYS,
        USAGE, VARIANT,
    };
    let free = || json!({});
    [
        ("model", probe::field_names::<schema::ModelFile>(), MODEL, free),
        ("variant", probe::field_names::<schema::ModelVariantFile>(), VARIANT, free),
        ("input", probe::field_names::<schema::InputFile>(), INPUT, free),
        ("pool", probe::field_names::<schema::PoolFile>(), POOL, || {
            price_rules(&["price", "tier"])
        }),
        ("tier", probe::field_names::<schema::TierFile>(), TIER_KEYS, free),
        ("charge", probe::field_names::<schema::ChargeFile>(), CHARGE, charge_rules),
        ("factor", probe::field_names::<schema::FactorFile>(), FACTOR, factor_rules),
        ("row", probe::field_names::<schema::RowFile>(), ROW, free),
        (
            "measure",
            probe::field_names::<schema::MeasureFile>(),
            MEASURE,
            || json!({ "oneOf": require_each(&["meter", "phases", "input"]) }),
        ),
        (
            "fallback",
            probe::field_names::<schema::FallbackFile>(),
            FALLBACK,
            || json!({ "oneOf": require_each(&["meter", "value"]) }),
        ),
        (
            "example",
            probe::field_names::<schema::ExampleFile>(),
            EXAMPLE,
            || json!({ "anyOf": require_each(&["amount", "lines", "quantities", "billable"]) }),
        ),
        ("usage", probe::field_names::<schema::UsageFile>(), USAGE, || {
            json!({ "dependentRequired": {
                "instances": ["instance_time"], "instance_time": ["instances"],
            } })
        }),
        ("phases", probe::field_names::<schema::PhasesFile>(), PHASES, free),
    ]
}

/// Returns the JSON Schema (draft 2020-12) of a price file. Days are strings in it, since JSON
/// has no days; TOML has them, and requires them without quotes.
#[must_use]
pub fn json_schema() -> Value {
    let mut defs = value_definitions();
    for (name, keys, known, between) in table_schemas() {
        defs.insert(name.to_owned(), build_table_schema(keys, known, between()));
    }
    defs.insert("meters".to_owned(), meter_values_schema());
    let mut root = defs.remove("model").unwrap_or_default();
    merge_object(
        &mut root,
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "cyclometer price model",
            "description": "A dated tariff, as a TOML file: see docs/price-models.md. \
                            Rules between values are checked by `cyclometer pricing check`.",
            "$defs": defs,
        }),
    );
    root
}

fn merge_object(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

/// Builds the schema of one table. A key without a description gets no type, which a test
/// refuses.
fn build_table_schema(keys: &[&str], known: &[SchemaKey], between: Value) -> Value {
    let property = |name: &&str| {
        let key = known.iter().find(|key| key.name == *name);
        ((*name).to_owned(), key.map_or_else(|| json!({}), key_schema))
    };
    let must = known.iter().filter(|key| key.required).map(|key| key.name);
    let mut table = json!({
        "type": "object",
        "properties": keys.iter().map(property).collect::<Map<_, _>>(),
        "additionalProperties": false,
        "required": must.collect::<Vec<_>>(),
    });
    merge_object(&mut table, between);
    table
}

fn key_schema(key: &SchemaKey) -> Value {
    let def = |name: &str| json!({ "$ref": format!("#/$defs/{name}") });
    let mut value = match key.value {
        ValueShape::Definition(name) => def(name),
        ValueShape::List(of, least, most) => {
            let mut list = json!({ "type": "array", "items": def(of), "minItems": least });
            if most < usize::MAX {
                merge_object(&mut list, json!({ "maxItems": most }));
            }
            list
        }
        ValueShape::Map(of) => json!({ "type": "object", "additionalProperties": def(of) }),
        ValueShape::Bool => json!({ "type": "boolean" }),
        ValueShape::True => json!({ "const": true }),
        ValueShape::Whole(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
    };
    merge_object(&mut value, json!({ "description": key.about }));
    value
}

/// Returns one `required` rule per key, for `oneOf` and `anyOf`.
fn require_each(keys: &[&str]) -> Vec<Value> {
    keys.iter().map(|key| json!({ "required": [key] })).collect()
}

fn price_rules(one_of: &[&str]) -> Value {
    json!({
        "oneOf": require_each(one_of),
        "dependentRequired": { "credit_price": ["free"] },
        "dependentSchemas": { "free_rest_of": { "not": { "required": ["free"] } } },
    })
}

fn charge_rules() -> Value {
    let mut charge = price_rules(&["price", "tier", "pool"]);
    let own = require_each(&["per", "free", "credit_price", "free_rest_of", "package"]);
    merge_object(
        &mut charge,
        json!({
            "not": { "required": ["when", "unless"] },
            "allOf": [
                {
                    "if": { "required": ["pool"] },
                    "then": { "not": { "anyOf": own } },
                    "else": { "not": { "required": ["weight"] } },
                },
                {
                    "if": { "required": ["basis"], "properties": { "basis": { "const": "period" } } },
                    "else": { "required": ["factor"], "properties": { "factor": { "minItems": 1 } } },
                },
            ],
        }),
    );
    charge
}

/// Builds the rules of factors: the measure determines the units.
fn factor_rules() -> Value {
    let mut rules: Vec<Value> = Vec::new();
    for dimension in MEASURED {
        let meters = meter_names_of(*dimension);
        let is = json!({ "required": ["meter"], "properties": { "meter": { "enum": meters } } });
        rules.push(json!({ "if": is, "then": quantities_in_units(*dimension) }));
    }
    let phases = json!({ "required": ["phases"] });
    rules.push(json!({ "if": phases, "then": quantities_in_units(Dimension::Time) }));
    for rule in &mut rules {
        // The unit named by `as` is a plain number, and limits and grids are written in it.
        merge_object(&mut rule["if"], json!({ "not": { "required": ["as"] } }));
    }
    let each = json!({ "required": ["each"], "properties": { "each": { "const": true } } });
    let shaped = require_each(&["times", "above", "at_most", "limit"]);
    rules.push(json!({
        "if": each, "then": { "required": ["phases"], "not": { "anyOf": shaped } },
    }));
    json!({
        "oneOf": require_each(&["meter", "phases", "input", "period", "lookup", "max_of"]),
        "dependentRequired": { "table": ["lookup"], "lookup": ["table"], "as": ["times"] },
        "allOf": rules,
    })
}

fn meter_names_of(dimension: Dimension) -> Vec<&'static str> {
    if dimension == Dimension::Requests {
        return vec!["requests"];
    }
    let all = Meter::ALL.iter().filter(|meter| Dimension::for_meter(**meter) == dimension);
    all.map(|meter| meter.name()).collect()
}

fn quantities_in_units(dimension: Dimension) -> Value {
    let quantity = json!({ "$ref": format!("#/$defs/{}", dimension.name()) });
    let mut properties = Map::new();
    for key in ["above", "at_most", "limit", "minimum", "grid"] {
        properties.insert(key.to_owned(), quantity.clone());
    }
    properties.insert("unit".to_owned(), json!({ "enum": dimension.unit_names() }));
    json!({ "properties": properties })
}

/// Builds the definitions of values that are not tables.
fn value_definitions() -> Map<String, Value> {
    let text = |pattern: &str, about: &str| json!({ "type": "string", "pattern": format!("^({pattern})$"), "description": about });
    let choice = |names: &[&str]| json!({ "enum": names });
    let mut decimal = text(DECIMAL, "a decimal in quotes, without a sign: 0.20 or 4.57e-2");
    merge_object(&mut decimal, json!({ "maxLength": MAX_CHARS }));
    let quantity = format!(r"{DECIMAL}(\s*|\s+\S.*|[^0-9.\s].*)");
    let time = Dimension::Time.unit_names().join("|");
    let switch = "on|off|yes|no|true|false";
    let texts = json!({
        "id": text("[a-z0-9][a-z0-9-]{0,63}", "a-z, 0-9 and -"),
        "input_name": text(INPUT_NAME, "a-z, 0-9 and _"),
        "currency": text("[A-Z]{3,5}", "three to five capital letters"),
        "day": text("[0-9]{4}-[0-9]{2}-[0-9]{2}", "a day; in TOML without quotes"),
        "label": {
            "type": "string",
            "maxLength": MAX_LABEL_CHARS,
            "pattern": format!(r"^(?=.*\S)[^{HIDDEN}]+$"),
            "description": "text on one line",
        },
        "name": { "type": "string" },
        "decimal": decimal,
        "per": { "anyOf": [
            { "type": "integer", "minimum": 1 },
            { "$ref": "#/$defs/decimal", "not": { "pattern": r"^[0._]*([eE].*)?$" } },
        ] },
        "ratio": text(&format!("{DECIMAL}|{}", fraction_pattern()), "a decimal or a fraction such as 5/48"),
        "times": text(
            &format!("{DECIMAL}|{}|{INPUT_NAME}", fraction_pattern()),
            "a decimal, a fraction, or the name of an input",
        ),
        "quantity": text(&quantity, "a decimal and a unit"),
        "input_value": { "anyOf": [
            { "type": "boolean" },
            { "type": "integer", "minimum": 0 },
            text(&format!("{quantity}|{switch}|period"), "a decimal and a unit, on or off, or period"),
        ] },
        "count": { "anyOf": [
            { "type": "integer", "minimum": 0 },
            text(&format!(r"{DECIMAL}\s*[kKMGBT]?\s*"), "a whole number: 4e6 or 4M"),
        ] },
        "period": { "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": 366 },
            text(&format!(r"{DECIMAL}\s*({time})?\s*"), "days, or a time such as 730 h"),
        ] },
        "granularity": choice(probe::variant_names::<Granularity>()),
        "rounding": choice(probe::variant_names::<RoundingPolicy>()),
        "gb": choice(probe::variant_names::<Gigabyte>()),
        "basis": choice(probe::variant_names::<ChargeBasis>()),
        "kind": choice(probe::variant_names::<ModelInputKind>()),
        "phase": choice(probe::variant_names::<Phase>()),
    });
    let mut defs = if let Value::Object(defs) = texts { defs } else { Map::new() };
    let mut names: Vec<&str> = Meter::ALL.iter().map(|meter| meter.name()).collect();
    defs.insert("meter".to_owned(), choice(&names));
    names.push("requests");
    defs.insert("meter_or_requests".to_owned(), choice(&names));
    for dimension in MEASURED {
        let mut units = dimension.unit_names().join("|");
        if *dimension == Dimension::Size {
            // KB is accepted where the provider's units are binary.
            units.push_str("|KB");
        }
        // A bare number is complete for a count, but not for a time.
        let pattern = if dimension.accepts_bare_numbers() {
            format!(r"{DECIMAL}\s*([kKMGBT]\s*|([kKMGBT]\s+)?({units})\s*)?")
        } else {
            format!(r"{DECIMAL}\s*({units})\s*")
        };
        let name = dimension.name();
        defs.insert(name.to_owned(), text(&pattern, &format!("an amount of {dimension}")));
    }
    defs
}

/// Builds the schema of meter values, each in units of its dimension.
fn meter_values_schema() -> Value {
    let property = |meter: &Meter| {
        let dimension = Dimension::for_meter(*meter).name();
        let about = format!("{dimension}: {}", meter.meaning());
        let value = json!({ "$ref": format!("#/$defs/{dimension}"), "description": about });
        (meter.name().to_owned(), value)
    };
    json!({
        "type": "object",
        "properties": Meter::ALL.iter().map(property).collect::<Map<_, _>>(),
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_is_read_is_described_and_no_other() {
        for (table, keys, known, _) in table_schemas() {
            let described: Vec<&str> = known.iter().map(|key| key.name).collect();
            assert_eq!(described, keys, "[[{table}]]: src/pricing/json_schema/keys.rs");
            assert!(known.iter().all(|key| !key.about.is_empty()), "{table}");
        }
    }

    #[test]
    fn choices_are_those_of_the_reader() {
        assert_eq!(
            probe::variant_names::<RoundingPolicy>(),
            RoundingPolicy::ALL.iter().map(|it| it.1).collect::<Vec<_>>()
        );
        assert_eq!(probe::variant_names::<ChargeBasis>(), ["request", "instance", "period"]);
        assert_eq!(probe::variant_names::<Phase>(), ["create", "start", "run", "teardown"]);
        assert_eq!(probe::field_names::<String>(), [""; 0]);
    }
}
