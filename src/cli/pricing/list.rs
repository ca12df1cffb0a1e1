//! `pricing list` and `pricing show`: list price models and show one of them.

use std::io::Write;
use std::process::ExitCode;

use crate::cli::{CommandFailure, CommandOutcome, CommonOptions, say};
use crate::meter::Meter;
use crate::output::text_output;
use crate::pricing::{
    ChargeBasis, ContractDetails, Dimension, Exact, Granularity, ModelInput, Phase, PriceModel,
    Tier, regional_models,
};
use crate::report::{Cell, Column, Format, Table};

/// Options of `pricing list`.
#[derive(Debug, clap::Args)]
pub(super) struct PricingListOptions {
    /// The models with regional prices instead, such as aws-lambda-x86-eu-central-1
    #[arg(long)]
    regions: bool,
    /// Only models valid today
    #[arg(long)]
    current: bool,
    /// Only models of this granularity
    #[arg(long, value_name = "coarse|fine|hybrid")]
    granularity: Option<String>,
}

/// Options of `pricing show`.
#[derive(Debug, clap::Args)]
pub(super) struct ShowOptions {
    /// The model's id
    model: String,
    /// Print the model's file instead
    #[arg(long)]
    text: bool,
    /// With --text: print a variant as a complete file of its own, and a contract
    /// with all files that it builds on
    #[arg(long, requires = "text")]
    resolved: bool,
}

/// Runs `pricing list`.
pub(super) fn run(common: &CommonOptions, options: &PricingListOptions) -> CommandOutcome {
    let wanted = match options.granularity.as_deref() {
        None => None,
        Some("coarse") => Some(Granularity::Coarse),
        Some("fine") => Some(Granularity::Fine),
        Some("hybrid") => Some(Granularity::Hybrid),
        Some(other) => {
            let text = format!("`{other}` is not a granularity: use coarse, fine or hybrid");
            return Err(CommandFailure::usage(text));
        }
    };
    let catalog = common.price_catalog()?;
    let is_listed = |model: &&PriceModel| {
        let fits = wanted.is_none_or(|wanted| wanted == model.granularity());
        let ended = model.effective_until().is_some();
        fits && !(options.current && ended)
    };
    let all = if options.regions { regional_models() } else { catalog.models() };
    let listed: Vec<&PriceModel> = all.iter().filter(is_listed).collect();
    let mut table = Table::new(&[
        Column::text("model", "model"),
        Column::text("from", "effective_from"),
        Column::text("until", "effective_until"),
        Column::text("grain", "granularity"),
        Column::text("", "currency"),
        Column::text("needs", "needs"),
        Column::hidden("name"),
        Column::hidden("provider"),
        Column::hidden("tariff"),
        Column::hidden("rounding"),
        Column::hidden("inputs"),
        Column::hidden("uncertain"),
        Column::hidden("retrieved"),
        Column::hidden("source"),
        Column::hidden("origin"),
        Column::hidden("digest"),
        if listed.iter().any(|model| model.contract().is_some()) {
            Column::text("contract over", "extends")
        } else {
            Column::hidden("extends")
        },
        Column::hidden("region"),
    ]);
    for model in listed {
        table.push(model_row(model));
    }
    common.print_table(&table)?;
    if common.format.is_for_people() {
        say("needs: phases and meters that are read; `pricing show MODEL` has charges and inputs");
    }
    Ok(ExitCode::SUCCESS)
}

fn model_row(model: &PriceModel) -> Vec<Cell> {
    let maybe = |text: Option<&str>| Cell::optional(text.map(|it| (it.to_owned(), it.to_owned())));
    let inputs: Vec<&str> = model.inputs().iter().map(ModelInput::name).collect();
    vec![
        Cell::text(model.id()),
        Cell::text(model.effective_from()),
        maybe(model.effective_until()),
        Cell::text(model.granularity().name()),
        Cell::text(model.currency()),
        Cell::text(needed_meters(model)),
        Cell::text(model.name()),
        maybe(model.provider()),
        Cell::text(model.tariff()),
        Cell::text(model.rounding().policy.name()),
        Cell::text(inputs.join(" ")),
        maybe(model.uncertainty_note()),
        Cell::text(model.retrieved_on()),
        Cell::text(model.source()),
        Cell::text(model.origin()),
        Cell::text(model.source_digest()),
        Cell::optional_text(model.contract().map(|it| it.base_ids().join(" "))),
        maybe(model.contract().and_then(ContractDetails::region)),
    ]
}

/// Returns the phases and meters that a model reads.
fn needed_meters(model: &PriceModel) -> String {
    let phases: Vec<&str> = model.used_phases().into_iter().map(Phase::name).collect();
    let meters: Vec<&str> = model.used_meters().into_iter().map(Meter::name).collect();
    let time = (!phases.is_empty()).then(|| phases.join("+"));
    time.into_iter().chain(meters.into_iter().map(str::to_owned)).collect::<Vec<_>>().join(" ")
}

/// Runs `pricing show`.
pub(super) fn run_show(common: &CommonOptions, options: &ShowOptions) -> CommandOutcome {
    let catalog = common.price_catalog()?;
    let model = catalog.find_model(&options.model).map_err(CommandFailure::usage)?;
    if options.text {
        // A contract has all that it builds on in it.
        let complete = || match model.contract() {
            Some(_) => model.complete_text().to_owned(),
            None => model.to_toml(),
        };
        let resolved = options.resolved.then(complete);
        let text = resolved.as_deref().unwrap_or(model.source_text());
        text_output().write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    if common.format == Format::Table {
        print_head(model)?;
    }
    common.print_table(&charge_table(model))?;
    if common.format.is_for_people() && !model.inputs().is_empty() {
        writeln!(text_output())?;
        common.print_table(&input_table(model))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Formats a period as `30 days` or, if it is not a whole number of days, as a time: `730
/// h`.
fn format_period(period: &Exact) -> String {
    let day = Exact::from(86_400_000_000_000);
    match period.checked_div(&day).and_then(|days| days.to_u64()) {
        Some(1) => "1 day".to_owned(),
        Some(days) => format!("{days} days"),
        None => Dimension::Time.format_value(period),
    }
}

fn print_head(model: &PriceModel) -> Result<(), CommandFailure> {
    let mut out = text_output();
    writeln!(out, "{} ({})", model.name(), model.id())?;
    let until = model.effective_until().map(|day| format!(" until {day}")).unwrap_or_default();
    writeln!(
        out,
        "{}, {}, from {}{until}, month of {}",
        model.currency(),
        model.granularity(),
        model.effective_from(),
        format_period(model.default_period())
    )?;
    let rounding = model.rounding();
    writeln!(out, "rounding {} to {} decimals", rounding.policy.name(), rounding.digits)?;
    writeln!(out, "source, read {}: {}", model.retrieved_on(), model.source())?;
    if let Some(what) = model.uncertainty_note() {
        writeln!(out, "uncertain: {what}")?;
    }
    if let Some(contract) = model.contract() {
        let region = contract.region().map(|it| format!(", region {it}")).unwrap_or_default();
        writeln!(out, "contract over {}{region}", contract.base_ids().join(", over "))?;
        for step in contract.other_steps() {
            writeln!(out, "  {step}")?;
        }
        for term in contract.period_terms() {
            writeln!(out, "  on the bill of a period: {term}")?;
        }
    }
    writeln!(out)?;
    Ok(())
}

fn charge_table(model: &PriceModel) -> Table {
    let mut table = Table::new(&[
        Column::text("charge", "charge"),
        Column::text("counted by", "basis"),
        Column::text("unit", "unit"),
        Column::text("position", "position"),
        Column::number("price", "price"),
        Column::number("per", "per"),
        Column::number("free a month", "free"),
        Column::number("package", "package"),
    ]);
    for charge in model.charges() {
        let pool = &model.pools()[charge.pool_index()];
        let prices: Vec<String> =
            pool.tiers().iter().map(|tier| unit_price(tier, charge.pool_weight())).collect();
        let shown = |value: Option<&Exact>| {
            Cell::optional(value.map(|value| (value.to_plain_string(), value.to_plain_string())))
        };
        table.push(vec![
            Cell::text(charge.name()),
            Cell::text(match charge.basis() {
                ChargeBasis::Request => "request",
                ChargeBasis::Instance => "instance",
                ChargeBasis::Period => "month",
            }),
            Cell::text(charge.unit()),
            Cell::text(pool.name()),
            Cell::text(prices.join(", ")),
            shown(Some(pool.units_per_price())),
            shown(pool.allowance().map(|free| &free.quantity)),
            shown(pool.package_size()),
        ]);
    }
    table
}

/// Returns the price of a charge's own unit, at its weight in the pool.
fn unit_price(tier: &Tier, weight: &Exact) -> String {
    let price = tier.price.as_exact() * weight;
    price.to_fraction_string().unwrap_or_else(|| price.to_plain_string())
}

fn input_table(model: &PriceModel) -> Table {
    let mut table = Table::new(&[
        Column::text("input", "input"),
        Column::text("unless given", "default"),
        Column::text("about", "about"),
    ]);
    for input in model.inputs() {
        let default = input.default_value().map(|value| input.format_value(value));
        table.push(vec![
            Cell::text(input.name()),
            Cell::optional_text(default),
            Cell::text(input.description()),
        ]);
    }
    table
}
