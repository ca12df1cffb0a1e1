//! `pricing list` and `pricing show`: list price models and show one of them.

use std::io::Write;
use std::process::ExitCode;

use crate::cli::{Common, Failure, Outcome, say};
use crate::meter::Meter;
use crate::output::text_output;
use crate::pricing::{Basis, Dimension, Exact, Granularity, Input, Phase, PriceModel, Tier};
use crate::report::{Cell, Column, Format, Table};

/// Options of `pricing list`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Only models that hold today
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
    /// Print its file instead
    #[arg(long)]
    text: bool,
    /// With --text: as a file of its own, with its variant worked out
    #[arg(long, requires = "text")]
    resolved: bool,
}

/// Runs `pricing list`.
pub(super) fn run(common: &Common, options: &Options) -> Outcome {
    let wanted = match options.granularity.as_deref() {
        None => None,
        Some("coarse") => Some(Granularity::Coarse),
        Some("fine") => Some(Granularity::Fine),
        Some("hybrid") => Some(Granularity::Hybrid),
        Some(other) => {
            let text = format!("`{other}` is not a granularity: use coarse, fine or hybrid");
            return Err(Failure::usage(text));
        }
    };
    let catalog = common.price_catalog()?;
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
    ]);
    for model in catalog.models() {
        let other = wanted.is_some_and(|wanted| wanted != model.granularity());
        if other || (options.current && model.effective_until().is_some()) {
            continue;
        }
        table.push(row(model));
    }
    common.print(&table)?;
    if common.format.is_for_people() {
        say("needs: phases and meters that are read; `pricing show MODEL` has charges and inputs");
    }
    Ok(ExitCode::SUCCESS)
}

fn row(model: &PriceModel) -> Vec<Cell> {
    let maybe = |text: Option<&str>| Cell::maybe(text.map(|it| (it.to_owned(), it.to_owned())));
    let inputs: Vec<&str> = model.inputs().iter().map(Input::name).collect();
    vec![
        Cell::text(model.id()),
        Cell::text(model.effective_from()),
        maybe(model.effective_until()),
        Cell::text(model.granularity().name()),
        Cell::text(model.currency()),
        Cell::text(needs(model)),
        Cell::text(model.name()),
        maybe(model.provider()),
        Cell::text(model.tariff()),
        Cell::text(model.rounding().policy.name()),
        Cell::text(inputs.join(" ")),
        maybe(model.uncertain()),
        Cell::text(model.retrieved()),
        Cell::text(model.source()),
        Cell::text(model.origin()),
        Cell::text(model.digest()),
    ]
}

/// Returns the phases and meters that a model reads.
fn needs(model: &PriceModel) -> String {
    let phases: Vec<&str> = model.phases().into_iter().map(Phase::name).collect();
    let meters: Vec<&str> = model.meters().into_iter().map(Meter::name).collect();
    let time = (!phases.is_empty()).then(|| phases.join("+"));
    time.into_iter().chain(meters.into_iter().map(str::to_owned)).collect::<Vec<_>>().join(" ")
}

/// Runs `pricing show`.
pub(super) fn show(common: &Common, options: &ShowOptions) -> Outcome {
    let catalog = common.price_catalog()?;
    let model = catalog.find(&options.model).map_err(Failure::usage)?;
    if options.text {
        let resolved = options.resolved.then(|| model.to_toml());
        let text = resolved.as_deref().unwrap_or(model.text());
        text_output().write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    if common.format == Format::Table {
        head(model)?;
    }
    common.print(&charges(model))?;
    if common.format.is_for_people() && !model.inputs().is_empty() {
        writeln!(text_output())?;
        common.print(&inputs(model))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Formats a period as `30 days` or, if it is not a whole number of days, as a time: `730
/// h`.
fn period_in_words(period: &Exact) -> String {
    let day = Exact::from(86_400_000_000_000);
    match period.over(&day).and_then(|days| days.to_u64()) {
        Some(1) => "1 day".to_owned(),
        Some(days) => format!("{days} days"),
        None => Dimension::Time.shown(period),
    }
}

fn head(model: &PriceModel) -> Result<(), Failure> {
    let mut out = text_output();
    writeln!(out, "{} ({})", model.name(), model.id())?;
    let until = model.effective_until().map(|day| format!(" until {day}")).unwrap_or_default();
    writeln!(
        out,
        "{}, {}, from {}{until}, month of {}",
        model.currency(),
        model.granularity(),
        model.effective_from(),
        period_in_words(model.month())
    )?;
    let rounding = model.rounding();
    writeln!(out, "rounding {} to {} decimals", rounding.policy.name(), rounding.digits)?;
    writeln!(out, "source, read {}: {}", model.retrieved(), model.source())?;
    if let Some(what) = model.uncertain() {
        writeln!(out, "uncertain: {what}")?;
    }
    writeln!(out)?;
    Ok(())
}

fn charges(model: &PriceModel) -> Table {
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
        let pool = &model.pools()[charge.pool()];
        let prices: Vec<String> =
            pool.tiers().iter().map(|tier| price(tier, charge.weight())).collect();
        let shown = |value: Option<&Exact>| {
            Cell::maybe(value.map(|value| (value.to_plain_string(), value.to_plain_string())))
        };
        table.push(vec![
            Cell::text(charge.name()),
            Cell::text(match charge.basis() {
                Basis::Request => "request",
                Basis::Instance => "instance",
                Basis::Period => "month",
            }),
            Cell::text(charge.unit()),
            Cell::text(pool.name()),
            Cell::text(prices.join(", ")),
            shown(Some(pool.per())),
            shown(pool.free().map(|free| &free.quantity)),
            shown(pool.package()),
        ]);
    }
    table
}

/// Returns the price of a charge's own unit, at its weight in the pool.
fn price(tier: &Tier, weight: &Exact) -> String {
    let price = tier.price.as_exact() * weight;
    price.fraction().unwrap_or_else(|| price.to_plain_string())
}

fn inputs(model: &PriceModel) -> Table {
    let mut table = Table::new(&[
        Column::text("input", "input"),
        Column::text("unless given", "default"),
        Column::text("about", "about"),
    ]);
    for input in model.inputs() {
        let default = input.default().map(|value| input.shown(value));
        table.push(vec![
            Cell::text(input.name()),
            Cell::maybe(default.map(|it| (it.clone(), it))),
            Cell::text(input.about()),
        ]);
    }
    table
}
