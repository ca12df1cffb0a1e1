//! JSON Schema of contracts.

use serde_json::{Value, json};

use super::keys::{SchemaKey, ValueShape, optional_key, required_key};
use super::{TableSchema, build_table_schema, merge_object, probe, table_schemas};
use crate::contract::MAX_DEPTH;
use crate::contract::file::{
    BaseFile, CommitmentFile, ContractFile, CreditFile, CurrencyFile, MeasuredAt, MinimumFile,
    RegionFile, TaxFile,
};
use crate::resolve::limits;

const NAME: &str = "for people";
const SOURCE: &str = "where the figures are from";
const UNCERTAIN: &str = "what of it is not certain; shown with every bill";
const PRICES: &str = "other prices, by the name of a position: a decimal, or a list of all tiers";
const WEIGHTS: &str = "other weights, by the name of a charge that feeds a pool";
const LINE: &str = "the name of its line on the bill";

const CONTRACT: &[SchemaKey] = &[
    required_key("extends", ValueShape::Definition("id"), "the model whose prices it is over"),
    required_key("id", ValueShape::Definition("id"), "the name on the command line"),
    required_key("name", ValueShape::Definition("label"), NAME),
    optional_key(
        "region",
        ValueShape::Definition("regions"),
        "where the prices are of, or [[region]] tables: a model for each, with the id of the file \
         and the region",
    ),
    optional_key("source", ValueShape::Definition("label"), SOURCE),
    optional_key("retrieved", ValueShape::Definition("day"), "the day the source was read"),
    optional_key("effective_from", ValueShape::Definition("day"), "the first day it holds"),
    optional_key("effective_until", ValueShape::Definition("day"), "the first day it does not"),
    optional_key(
        "tariff",
        ValueShape::Definition("id"),
        "versions of one contract share it, and must not hold on the same days",
    ),
    optional_key("uncertain", ValueShape::Definition("label"), UNCERTAIN),
    optional_key("rounding", ValueShape::Definition("rounding"), "as of a model"),
    optional_key(
        "digits",
        ValueShape::Whole(0, limits::DIGITS as u64),
        "decimals of the currency that are rounded to",
    ),
    optional_key("month", ValueShape::Definition("period"), "length of a month"),
    optional_key("prices", ValueShape::Map("price_change"), PRICES),
    optional_key("weights", ValueShape::Map("ratio"), WEIGHTS),
    optional_key(
        "discount",
        ValueShape::Definition("percent"),
        "off all prices; allowances and tiers keep their quantities",
    ),
    optional_key("discounts", ValueShape::Map("percent"), "off the prices of single positions"),
    optional_key(
        "allowances",
        ValueShape::Definition("allowances"),
        "\"none\", or other monthly allowances by position",
    ),
    optional_key(
        "allowances_used",
        ValueShape::Map("quantity"),
        "what of the monthly allowances is used up elsewhere, by position",
    ),
    optional_key("currency", ValueShape::Definition("exchange"), "the currency of the bill"),
    optional_key(
        "commitment",
        ValueShape::Definition("commitment"),
        "spend that is committed to by the hour",
    ),
    optional_key(
        "minimum",
        ValueShape::Definition("minimum_or_amount"),
        "the least that the bill comes to, in its currency",
    ),
    optional_key(
        "credit",
        ValueShape::Definition("credit_or_amount"),
        "off the bill before tax, never below 0, in its currency",
    ),
    optional_key("tax", ValueShape::Definition("tax_or_rate"), "last, on all of it"),
    optional_key(
        "example",
        ValueShape::List("example", 0, limits::EXAMPLES),
        "bills that must come out; lines of the contract are without a sign",
    ),
    optional_key(
        "base",
        ValueShape::List("base", 1, MAX_DEPTH),
        "files that the contract builds on, carried along, nearest first",
    ),
];

const REGION: &[SchemaKey] = &[
    required_key("region", ValueShape::Definition("label"), "where the prices are of"),
    optional_key(
        "id",
        ValueShape::Definition("id"),
        "the name on the command line; that of the file and the region unless given",
    ),
    optional_key("name", ValueShape::Definition("label"), NAME),
    optional_key("source", ValueShape::Definition("label"), SOURCE),
    optional_key("retrieved", ValueShape::Definition("day"), "the day the source was read"),
    optional_key("effective_from", ValueShape::Definition("day"), "the first day it holds"),
    optional_key("effective_until", ValueShape::Definition("day"), "the first day it does not"),
    optional_key("uncertain", ValueShape::Definition("label"), UNCERTAIN),
    optional_key("prices", ValueShape::Map("price_change"), PRICES),
    optional_key("weights", ValueShape::Map("ratio"), WEIGHTS),
];

const BASE: &[SchemaKey] =
    &[required_key("text", ValueShape::Definition("name"), "the text of the file")];

const COMMITMENT: &[SchemaKey] = &[
    optional_key("name", ValueShape::Definition("label"), LINE),
    required_key(
        "per_hour",
        ValueShape::Definition("decimal"),
        "the amount of each hour, in the currency of the model",
    ),
    optional_key(
        "measured_at",
        ValueShape::Definition("measured_at"),
        "prices that the amount is counted in; discounted_prices unless given",
    ),
    optional_key(
        "covers",
        ValueShape::List("name", 1, limits::CHARGES),
        "positions that it pays for; those with a rate unless given",
    ),
    optional_key("discount", ValueShape::Definition("percent"), "off their list prices"),
    optional_key("discounts", ValueShape::Map("percent"), "off the list prices of single ones"),
    optional_key(
        "rates",
        ValueShape::Map("decimal"),
        "discounted prices by position; of tiers the first, and the others in proportion",
    ),
    optional_key(
        "discounted",
        ValueShape::Bool,
        "whether the contract's discount in total is off the committed amount as well",
    ),
];

const MINIMUM: &[SchemaKey] = &[
    required_key("amount", ValueShape::Definition("decimal"), "the least"),
    optional_key("name", ValueShape::Definition("label"), LINE),
    optional_key(
        "charges",
        ValueShape::List("name", 0, usize::MAX),
        "positions that count, after allowances; the whole bill unless given",
    ),
];

const CREDIT: &[SchemaKey] = &[
    required_key("amount", ValueShape::Definition("decimal"), "what is taken off"),
    optional_key("name", ValueShape::Definition("label"), LINE),
];

const TAX: &[SchemaKey] = &[
    required_key("rate", ValueShape::Definition("percent"), "of the net amount"),
    optional_key("name", ValueShape::Definition("label"), LINE),
];

const CURRENCY: &[SchemaKey] = &[
    required_key("code", ValueShape::Definition("currency"), "the currency of the bill"),
    required_key("rate", ValueShape::Definition("decimal"), "units of it for one of `per`"),
    required_key("per", ValueShape::Definition("currency"), "the currency of the model"),
    required_key("date", ValueShape::Definition("day"), "the day of the rate"),
    required_key("source", ValueShape::Definition("label"), "where the rate is from"),
];

fn contract_tables() -> [TableSchema; 8] {
    let free = || json!({});
    [
        ("contract", probe::field_names::<ContractFile>(), CONTRACT, free),
        ("region", probe::field_names::<RegionFile>(), REGION, free),
        ("base", probe::field_names::<BaseFile>(), BASE, free),
        ("commitment", probe::field_names::<CommitmentFile>(), COMMITMENT, free),
        ("minimum", probe::field_names::<MinimumFile>(), MINIMUM, free),
        ("credit", probe::field_names::<CreditFile>(), CREDIT, free),
        ("tax", probe::field_names::<TaxFile>(), TAX, free),
        ("exchange", probe::field_names::<CurrencyFile>(), CURRENCY, free),
    ]
}

/// Returns the JSON Schema (draft 2020-12) of a contract file.
#[must_use]
pub fn contract_json_schema() -> Value {
    let def = |name: &str| json!({ "$ref": format!("#/$defs/{name}") });
    let either = |one: Value, other: Value| json!({ "anyOf": [one, other] });
    let list = |of: &str| json!({ "type": "array", "items": def(of), "minItems": 1 });
    let mut defs = super::value_definitions();
    let examples = ["tier", "example", "usage", "phases"];
    let shared = table_schemas().into_iter().filter(|(name, ..)| examples.contains(name));
    for (name, keys, known, between) in shared.chain(contract_tables()) {
        defs.insert(name.to_owned(), build_table_schema(keys, known, between()));
    }
    defs.insert("meters".to_owned(), super::meter_values_schema());
    let shapes = json!({
        "percent": {
            "type": "string",
            "pattern": format!(r"^\s*{}\s*%\s*$", super::DECIMAL),
            "description": "a share from 0 % to 100 %",
        },
        "measured_at": { "enum": probe::variant_names::<MeasuredAt>() },
        "price_change": either(def("decimal"), list("tier")),
        "regions": either(def("label"), list("region")),
        "allowances": either(
            json!({ "const": "none" }),
            json!({ "type": "object", "additionalProperties":
                either(json!({ "const": "none" }), def("quantity")) }),
        ),
        "minimum_or_amount": either(def("decimal"), def("minimum")),
        "credit_or_amount": either(def("decimal"), def("credit")),
        "tax_or_rate": either(def("percent"), def("tax")),
    });
    if let Value::Object(shapes) = shapes {
        defs.extend(shapes);
    }
    let mut root = defs.remove("contract").unwrap_or_default();
    merge_object(
        &mut root,
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "cyclometer contract",
            "description": "What a customer agreed on, over the prices of a model: see \
                            docs/price-models.md. Rules between values are checked by \
                            `cyclometer pricing check`.",
            "$defs": defs,
        }),
    );
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_contract_is_described_and_no_other() {
        for (table, keys, known, _) in contract_tables() {
            let described: Vec<&str> = known.iter().map(|key| key.name).collect();
            assert_eq!(described, keys, "{table}");
        }
    }
}
