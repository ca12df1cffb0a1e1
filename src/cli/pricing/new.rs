//! `pricing new` and `pricing schema`: a template for a price file, and the schema of
//! price files.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use crate::cli::{CommandFailure, CommandOutcome, CommonOptions, say};
use crate::files::{create_new, display_path};
use crate::meter::Meter;
use crate::output::{json_text, text_output};
use crate::pricing::{Dimension, PriceModel, PricingError, contract_json_schema, json_schema};
use crate::report::{Cell, Column, Table};

/// Options of `pricing new`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer pricing new my-cloud --file my-cloud.toml
  cyclometer pricing check my-cloud.toml
  cyclometer pricing new --contract our-lambda --extends aws-lambda-x86
  cyclometer --pricing my-cloud.toml replay latest")]
pub(super) struct PricingNewOptions {
    /// Id of the new model: a-z, 0-9 and -
    id: String,
    /// Write a contract: discounts, region, tax and so on over the prices of another model
    #[arg(long, requires = "extends")]
    contract: bool,
    /// Model that the contract extends
    #[arg(long, value_name = "MODEL", requires = "contract")]
    extends: Option<String>,
    /// File to write, which must not exist yet [default: standard output]
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
}

/// Options of `pricing schema`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The schema is JSON Schema, draft 2020-12. Editors with TOML support take it \
as the first line of a price file:
  #:schema ./price-model.schema.json"
)]
pub(super) struct SchemaOptions {
    /// List the meters instead, with their dimension and units
    #[arg(long)]
    meters: bool,
    /// Print the schema of contracts instead
    #[arg(long, conflicts_with = "meters")]
    contract: bool,
}

/// Returns a price file that passes `pricing check` as it is.
fn fill_template(id: &str) -> Result<String, CommandFailure> {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let day = now.split('T').next().unwrap_or("2026-01-01");
    let text = include_str!("template.toml")
        .replace("id = ID", &format!("id = {}", toml::Value::from(id)))
        .replace("= DAY", &format!("= {day}"));
    match PriceModel::parse_first(&text, "the new file") {
        Ok(_) => Ok(text),
        // Only the id can be invalid.
        Err(PricingError::Invalid { message, .. }) => Err(CommandFailure::usage(message)),
        Err(error) => Err(CommandFailure::usage(error)),
    }
}

/// Runs `pricing new`.
pub(super) fn run(common: &CommonOptions, options: &PricingNewOptions) -> CommandOutcome {
    let text = match &options.extends {
        None => fill_template(&options.id)?,
        Some(base) => {
            let catalog = common.price_catalog()?;
            let base = catalog.find_model(base).map_err(CommandFailure::usage)?;
            super::contract_template::write_contract(&options.id, base)?
        }
    };
    if let Ok(other) = common.price_catalog()?.find_model(&options.id) {
        say(&format!("note: there is a `{}` already, from {}", other.id(), other.origin()));
    }
    let Some(path) = &options.file else {
        text_output().write_all(text.as_bytes())?;
        say_hints("FILE");
        return Ok(ExitCode::SUCCESS);
    };
    let shown = display_path(path);
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => {
            CommandFailure::failed(format!("{shown} exists and is left alone: choose another name"))
        }
        _ => CommandFailure::failed(format!("cannot write {shown}: {error}")),
    };
    create_new(path, text.as_bytes(), 0o666).map_err(failed)?;
    say_hints(&shown);
    Ok(ExitCode::SUCCESS)
}

/// Explains how to use the file.
fn say_hints(file: &str) {
    say(&format!("check it:  cyclometer pricing check {file}"));
    say(&format!("use it:    cyclometer --pricing {file} ..."));
    if let Some(folder) = crate::paths::config_folder() {
        say(&format!("keep it:   in {}, which is always read", folder.join("pricing").display()));
    }
}

/// Runs `pricing schema`.
pub(super) fn run_schema(common: &CommonOptions, options: &SchemaOptions) -> CommandOutcome {
    if options.meters {
        common.print_table(&meter_table())?;
        return Ok(ExitCode::SUCCESS);
    }
    let schema = if options.contract { contract_json_schema() } else { json_schema() };
    let mut out = text_output();
    writeln!(out, "{}", json_text(&schema, true))?;
    Ok(ExitCode::SUCCESS)
}

fn meter_table() -> Table {
    let mut table = Table::new(&[
        Column::text("meter", "meter"),
        Column::text("dimension", "dimension"),
        Column::text("meaning", "meaning"),
        Column::hidden("units"),
    ]);
    let mut row = |name: &str, dimension: Dimension, meaning: &str| {
        let units: Vec<&str> = dimension.units().iter().map(|(unit, _)| *unit).collect();
        table.push(vec![
            Cell::text(name),
            Cell::text(dimension.name()),
            Cell::text(meaning),
            Cell::text(units.join(" ")),
        ]);
    };
    for meter in Meter::ALL {
        row(meter.name(), Dimension::for_meter(*meter), meter.meaning());
    }
    row("requests", Dimension::Requests, "1 for each invocation.");
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_passes_its_own_example() {
        let Ok(text) = fill_template("my-cloud") else { panic!("the template is no model") };
        let model = PriceModel::parse_first(&text, "my-cloud.toml").unwrap();
        assert_eq!(model.id(), "my-cloud");
        assert_eq!(model.examples().len(), 1);
        model.examples()[0].check_against(&model).unwrap();
        // Every charge takes part: an example with none of them would prove nothing.
        let wrong = text.replace("\"4.65\"", "\"4.66\"");
        let model = PriceModel::parse_first(&wrong, "my-cloud.toml").unwrap();
        assert!(model.examples()[0].check_against(&model).is_err());
    }

    #[test]
    fn an_id_cannot_smuggle_keys_into_the_file() {
        for id in ["", "Big", "a b", "x\"\nname = \"y", "-x", &"x".repeat(65)] {
            let refused = matches!(fill_template(id), Err(CommandFailure::Usage(text)) if text.contains("an id has 1 to 64"));
            assert!(refused, "{id:?}");
        }
    }
}
