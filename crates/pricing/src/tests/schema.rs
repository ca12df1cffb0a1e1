//! Comparison of the JSON Schema with the reader of price files: what the reader accepts is
//! valid, and what is valid has the shape that the reader requires.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use super::mutations::mutants;
use super::{HEAD, with};
use crate::schema::ModelFile;
use crate::{PriceModel, builtin_files, contract_json_schema, is_contract, json_schema};
use cyclometer_testkit::skip;

#[test]
fn the_committed_schema_is_the_generated_one() {
    let committed = include_str!("../../../../docs/price-model.schema.json");
    assert!(
        committed == format!("{:#}\n", json_schema()),
        "regenerate it: cyclometer pricing schema > docs/price-model.schema.json"
    );
}

#[test]
fn the_committed_schema_of_contracts_is_the_generated_one() {
    let committed = include_str!("../../../../docs/price-contract.schema.json");
    assert!(
        committed == format!("{:#}\n", contract_json_schema()),
        "regenerate it: cyclometer pricing schema --contract > docs/price-contract.schema.json"
    );
}

/// Validates each text with Python; returns `None` without Python and its jsonschema.
fn verdicts(texts: &[String]) -> Option<Vec<Option<bool>>> {
    verdicts_by(&json_schema(), texts)
}

fn verdicts_by(schema: &serde_json::Value, texts: &[String]) -> Option<Vec<Option<bool>>> {
    let python = |arguments: &[&str]| {
        let mut command = Command::new("python3");
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let there = python(&["-c", "import jsonschema, tomllib"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        skip("no python3 (3.11 or newer) with jsonschema");
        return None;
    }
    let mut child = python(&["-c", include_str!("validate.py")]).spawn().unwrap();
    let job = json!({ "schema": schema, "texts": texts }).to_string();
    child.stdin.take().unwrap().write_all(job.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn accepted(text: &str) -> bool {
    PriceModel::parse_all(text, "test.toml").is_ok()
}

fn has_the_shape(text: &str) -> bool {
    toml::from_str::<ModelFile>(text).is_ok()
}

#[test]
fn shipped_files_are_valid() {
    for (contracts, schema) in [(false, json_schema()), (true, contract_json_schema())] {
        let files: Vec<_> =
            builtin_files().iter().filter(|(_, text)| is_contract(text) == contracts).collect();
        let texts: Vec<String> = files.iter().map(|(_, text)| (*text).to_owned()).collect();
        let Some(verdicts) = verdicts_by(&schema, &texts) else { return };
        for ((origin, _), verdict) in files.iter().zip(verdicts) {
            assert_eq!(verdict, Some(true), "{origin}");
        }
    }
}

#[test]
fn contracts_are_valid_and_what_is_valid_has_the_shape() {
    let texts: Vec<String> = crate::contract::tests::CONFORMANCE
        .iter()
        .flat_map(|(origin, text)| {
            let whole = ("the whole", (*text).to_owned());
            std::iter::once(whole).chain(mutants(origin, text).take(40))
        })
        .map(|(_, text)| text)
        .filter(|text| !text.contains("a.a.a.a."))
        .collect();
    let Some(verdicts) = verdicts_by(&contract_json_schema(), &texts) else { return };
    let mut valid = 0;
    for (text, verdict) in texts.iter().zip(verdicts) {
        let Some(verdict) = verdict else { continue };
        valid += usize::from(verdict);
        let takes = accepted(text) && is_contract(text);
        assert!(verdict || !takes, "accepted, but not valid:\n{text}");
        let shape = toml::from_str::<crate::contract::file::ContractFile>(text).err();
        // The schema knows neither the ends of percentages and periods nor quoted days.
        let ends = ["more than 100 %", "a billing period has", "a day has no quotes"];
        let known =
            shape.as_ref().is_none_or(|it| ends.iter().any(|end| it.message().contains(end)));
        assert!(!verdict || known, "valid, but refused:\n{text}");
    }
    assert!(valid > 20, "{valid}");
}

#[test]
fn what_is_accepted_is_valid_and_what_is_valid_has_the_shape() {
    let mut texts: Vec<String> = builtin_files()
        .iter()
        .filter(|(_, text)| !is_contract(text))
        .flat_map(|(origin, text)| mutants(origin, text).take(11))
        .map(|(_, mutant)| mutant)
        // Python's parser takes minutes for keys as deep as this.
        .filter(|mutant| !mutant.contains("a.a.a.a."))
        // The schema knows the hidden characters of the first plane only.
        .filter(|mutant| !mutant.contains('\u{10ffff}'))
        .collect();
    texts.extend(every_key_another_value());
    let Some(verdicts) = verdicts(&texts) else { return };
    let mut both = [0_usize; 2];
    for (text, verdict) in texts.iter().zip(&verdicts) {
        // A day in quotes looks like one without in JSON.
        let Some(valid) = verdict.filter(|_| !text.contains("= \"2025-08-01\"")) else { continue };
        both[usize::from(valid)] += 1;
        assert!(valid || !accepted(text), "accepted, but not valid:\n{text}");
        assert!(!valid || has_the_shape(text), "valid, but refused:\n{text}");
    }
    assert!(both.iter().all(|count| *count > 100), "one-sided: {both:?}");
}

/// A file with every existing key, in several charges and factors.
const EVERYTHING: &str = include_str!("everything.toml");

/// Returns the file with each of its keys removed, or with another kind of value.
fn every_key_another_value() -> Vec<String> {
    let lines: Vec<&str> = EVERYTHING.lines().collect();
    let mut texts = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some((key, _)) = line.split_once(" = ") else { continue };
        let mut with_line = |line: &str| {
            let mut lines = lines.clone();
            lines[at] = line;
            texts.push(lines.join("\n"));
        };
        with_line("");
        with_line("surplus = 1");
        for other in ["1", "-1", "true", "\"x\"", "\"5\"", "{}"] {
            with_line(&format!("{key} = {other}"));
        }
    }
    texts
}

#[test]
fn the_file_with_everything_has_every_key() {
    assert!(
        accepted(EVERYTHING),
        "{:?}",
        PriceModel::parse_all(EVERYTHING, "everything.toml").err()
    );
    let schema = json_schema();
    let mut tables = vec![&schema];
    tables.extend(schema["$defs"].as_object().unwrap().values());
    for key in tables.iter().filter_map(|table| table["properties"].as_object()).flatten() {
        // Meters are listed one by one, and need not all be present.
        let there = EVERYTHING.contains(&format!("{} = ", key.0))
            || EVERYTHING.contains(&format!(".{}]]", key.0))
            || EVERYTHING.contains(&format!("[[{}]]", key.0));
        assert!(there || cyclometer_core::meter::Meter::from_name(key.0).is_some(), "{}", key.0);
    }
}

#[test]
fn required_keys_are_those_that_the_reader_misses() {
    let schema = json_schema();
    let required = |table: &str| -> Vec<String> {
        let table = if table.is_empty() { &schema } else { &schema["$defs"][table] };
        serde_json::from_value(table["required"].clone()).unwrap()
    };
    let lines: Vec<&str> = EVERYTHING.lines().collect();
    let mut count = 0;
    let mut table = String::new();
    for (at, line) in lines.iter().enumerate() {
        if let Some(name) = line.strip_prefix("[[") {
            let name = name.trim_end_matches(']');
            table = name.rsplit('.').next().unwrap().to_owned();
        }
        let Some((key, _)) = line.split_once(" = ") else { continue };
        let mut lines = lines.clone();
        lines.remove(at);
        let error = toml::from_str::<ModelFile>(&lines.join("\n")).err();
        let misses =
            error.is_some_and(|error| error.message().contains(&format!("missing field `{key}`")));
        let required = required(&table).iter().any(|name| name == key);
        assert_eq!(misses, required, "[[{table}]] {key}");
        count += usize::from(misses);
    }
    assert!(count > 20, "{count}");
}

#[test]
fn contradictions_between_keys_are_not_valid() {
    let charge = |lines: &str| with(lines, "");
    let factor = |lines: &str| with("", lines);
    let texts = [
        charge("tier = [{ price = \"1\" }]"),
        charge("pool = \"x\""),
        charge("weight = \"2\""),
        charge("credit_price = \"2\""),
        charge("free = \"1 s\"\nfree_rest_of = \"x\""),
        charge("when = \"a\"\nunless = \"b\""),
        charge("surplus = 1"),
        charge("per = 0"),
        charge("per = \"0.0\""),
        charge("basis = \"day\""),
        charge("free = \"-5 s\""),
        factor("phases = [\"run\"]"),
        factor("table = [{ up_to = \"1 s\", value = \"1\" }]"),
        factor("each = true"),
        factor("grid = \"1 MiB\""),
        factor("limit = \"10\""),
        factor("times = \"-1\""),
        factor("fallback = [{ meter = \"wall\", value = \"1 s\", note = \"x\" }]"),
        factor("fallback = [{ value = \"1 s\" }]"),
        factor("").replace("\"s\"", "\"GiB\""),
        factor("").replace("\"cpu_time\"", "\"gold\""),
        factor("").replace("\"0.02\"", "0.02"),
        factor("").replace("\"0.02\"", "\"-0.02\""),
        factor("").replace("\"0.02\"", "\"1e5 \\u20ac\""),
        factor("").replace("\"USD\"", "\"usd\""),
        factor("").replace("\"coarse\"", "\"rough\""),
        factor("").replace("\"Test\"", "\" \""),
        factor("").replace("\"Test\"", "\"a\\u001bb\""),
        factor("").replace("\"test\"", "\"Te st\""),
        factor("digits = 1"),
        factor("[[example]]\nname = \"e\"\nsource = \"s\""),
        factor(
            "[[example]]\nname = \"e\"\nsource = \"s\"\namount = \"1\"\nusage = [{ requests = 1, instances = 1 }]",
        ),
        HEAD.to_owned(),
        format!("{HEAD}charge = []"),
    ];
    for text in &texts {
        assert!(!accepted(text), "accepted:\n{text}");
    }
    let Some(verdicts) = verdicts(&texts) else { return };
    for (text, verdict) in texts.iter().zip(verdicts) {
        assert_eq!(verdict, Some(false), "{text}");
    }
}
