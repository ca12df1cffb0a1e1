//! `pricing check`: checks every rule of every file, and every worked example.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::{CommandFailure, CommandOutcome, CommonOptions, say};
use crate::files::display_path;
use crate::pricing::{self, Example, PriceModel, is_contract};
use crate::report::{Cell, Column, Table};

/// Options of `pricing check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer pricing check
  cyclometer pricing check ./my-tariff.toml

Nothing is run and nothing is stored. An example passes if the model's figure,
rounded as the model's policy says, is the printed one to its last digit. An
example that its source rounds in its own way says nothing about the policy;
such examples are counted separately.")]
pub(super) struct PricingCheckOptions {
    /// Price files, `-` for standard input [default: all models there are]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print one row per example instead of one per model
    #[arg(long)]
    examples: bool,
}

/// Result of a worked example.
enum ExampleVerdict {
    Passes,
    Disputed(String),
    Fails(String),
}

impl ExampleVerdict {
    fn for_example(example: &Example, model: &PriceModel) -> Self {
        match (example.check_against(model), example.dispute_reason()) {
            (Err(failure), _) => Self::Fails(failure.to_string()),
            (Ok(()), Some(reason)) => Self::Disputed(reason.to_owned()),
            (Ok(()), None) => Self::Passes,
        }
    }
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, options: &PricingCheckOptions) -> CommandOutcome {
    let mut failed = false;
    let mut models: Vec<PriceModel> = Vec::new();
    if options.files.is_empty() {
        let catalog = common.price_catalog()?;
        for (origin, text) in pricing::builtin_files().iter().chain(pricing::regional_files()) {
            if let Err(error) = PriceModel::parse_all(text, origin) {
                say(&format!("error: {error}"));
                failed = true;
            }
        }
        for overlap in catalog.describe_overlaps() {
            say(&format!("error: {overlap}"));
            failed = true;
        }
        models.extend_from_slice(catalog.models());
        let has_examples = |model: &&PriceModel| !model.examples().is_empty();
        models.extend(pricing::regional_models().iter().filter(has_examples).cloned());
    }
    let mut texts = Vec::new();
    for file in &options.files {
        let text = pricing::read_price_file(file).map_err(CommandFailure::failed)?;
        texts.push((display_path(file), text));
    }
    // A contract may extend a model whose file comes later.
    texts.sort_by_key(|(_, text)| is_contract(text));
    let mut known: Vec<PriceModel> = Vec::new();
    if texts.iter().any(|(_, text)| is_contract(text)) {
        known.extend_from_slice(common.price_catalog()?.models());
    }
    for (origin, text) in texts {
        match PriceModel::parse_with(&text, &origin, &known) {
            Ok(found) => {
                known.retain(|old| !found.iter().any(|new| new.id() == old.id()));
                known.extend_from_slice(&found);
                models.extend(found);
            }
            Err(error) => {
                say(&format!("error: {error}"));
                failed = true;
            }
        }
    }
    failed |= print_results(common, options, &models)?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints the tables; returns whether an example fails.
fn print_results(
    common: &CommonOptions,
    options: &PricingCheckOptions,
    models: &[PriceModel],
) -> Result<bool, CommandFailure> {
    let (mut counts, mut own_rounding) = ([0_usize; 3], 0);
    let mut by_model = Table::new(&[
        Column::text("model", "model"),
        Column::number("examples", "examples"),
        Column::number("pass", "pass"),
        Column::number("disputed", "disputed"),
        Column::number("fail", "fail"),
        Column::number("own rounding", "own_rounding"),
        Column::text("rounding", "rounding"),
        if models.iter().any(|model| model.contract().is_some()) {
            Column::number("set aside", "set_aside")
        } else {
            Column::hidden("set_aside")
        },
    ]);
    let mut set_aside = 0;
    let mut by_example = Table::new(&[
        Column::text("model", "model"),
        Column::text("example", "example"),
        Column::text("result", "result"),
        Column::text("rounding", "rounding"),
        Column::text("of", "rounding_of"),
        Column::hidden("source"),
        Column::hidden("reason"),
    ]);
    for model in models {
        let (held, aside) = model.inherited_examples();
        let (mut own, mut apart) = ([held, 0, 0], 0);
        for it in &aside {
            by_example.push(vec![
                Cell::text(model.id()),
                Cell::text(it.example.name()),
                Cell::text("set aside"),
                Cell::text(it.example.rounding().policy.name()),
                Cell::text("example"),
                Cell::text(it.example.source()),
                Cell::text(it.failure.to_string()),
            ]);
        }
        set_aside += aside.len();
        for example in model.examples() {
            let (slot, word, reason) = match ExampleVerdict::for_example(example, model) {
                ExampleVerdict::Passes => (0, "passes", String::new()),
                ExampleVerdict::Disputed(reason) => (1, "disputed", reason),
                ExampleVerdict::Fails(reason) => (2, "FAILS", reason),
            };
            own[slot] += 1;
            let brings = example.has_own_rounding(model);
            apart += usize::from(slot == 0 && brings);
            if slot > 0 {
                let example = example.name();
                say(&format!("{}: {word}: {example}: {reason}", model.id()));
            }
            by_example.push(vec![
                Cell::text(model.id()),
                Cell::text(example.name()),
                Cell::text(word),
                Cell::text(example.rounding().policy.name()),
                Cell::text(if brings { "example" } else { "model" }),
                Cell::text(example.source()),
                Cell::text(reason),
            ]);
        }
        by_model.push(vec![
            Cell::text(model.id()),
            Cell::new(model.examples().len() + held, model.examples().len() + held),
            Cell::new(own[0], own[0]),
            Cell::new(own[1], own[1]),
            Cell::new(own[2], own[2]),
            Cell::new(apart, apart),
            Cell::text(model.rounding().policy.name()),
            Cell::new(aside.len(), aside.len()),
        ]);
        own_rounding += apart;
        for (sum, own) in counts.iter_mut().zip(own) {
            *sum += own;
        }
    }
    if !models.is_empty() {
        common.print_table(if options.examples { &by_example } else { &by_model })?;
    }
    let [pass, disputed, fail] = counts;
    let apart = match own_rounding {
        0 => String::new(),
        several => format!(
            "; of those that pass, {several} bring a rounding of their own and do not test the \
             model's"
        ),
    };
    let aside = match set_aside {
        0 => String::new(),
        several => format!(
            "; {several} of models that a contract extends are set aside, since they no longer hold \
             (--examples --format json has the reasons)"
        ),
    };
    say(&format!(
        "{} models, {} examples: {pass} pass, {disputed} disputed, {fail} fail{apart}{aside}",
        models.len(),
        pass + disputed + fail
    ));
    Ok(fail > 0)
}
