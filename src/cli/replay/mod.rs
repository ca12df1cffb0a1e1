//! `replay`: bills recordings and traces under price models.

mod break_even;
mod calendar;
mod explain;
mod savings;
mod selection;
mod sweep;

use std::io::Write;
use std::process::ExitCode;

use super::{CommandFailure, CommandOutcome, CommonOptions, say};
use crate::output::text_output;
use crate::pricing::Granularity;
use crate::replay::{Contract, ModelInfo, ReplaySummary};
use crate::report::{self, Format, list_stand_ins, terminal_width};
use crate::store::{BillRetention, ReplayPlan, SavedSimulation, Selection, Store};

pub(super) use selection::{
    HEADLINE_MODELS, SelectionOptions, TermOptions, headline_contracts, select_contracts,
    select_recordings,
};

/// Options of `replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer replay                                coarse beside fine
  cyclometer replay --model all                    every model, cheapest first
  cyclometer replay --model current --per-month 3000000
  cyclometer replay my-logs --by-month --model all what each month would have cost
  cyclometer replay --waste --model aws-lambda-x86 what the bill is for
  cyclometer replay --memory sweep                 cheapest size that the peak allows
  cyclometer replay --explain nbody/native/cold    the arithmetic, step by step
  cyclometer replay mine --savings                 which function could cost less
  cyclometer replay --break-even                   at which fine price revenue is the same
  cyclometer replay 3 4 --lane docker --workload nbody --format csv

Invocations that ended well, failed or timed out are billed, as providers do;
interrupted ones are not. A cell whose invocations all failed has no price.
Every requested model is shown, as a bill or as a refusal. CSV and JSON have one
row per model and cell, always with the same columns; `outcome` is billed, partly
refused, refused or failed. Without --per-month, bills are at list prices: no
allowances, no tiers, no monthly fees. A repeated replay is stored once.")]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(super) struct ReplayOptions {
    /// Recordings and traces by number or label, or `latest` [default: latest]
    #[arg(value_name = "RECORDING")]
    recordings: Vec<String>,
    #[command(flatten)]
    choice: selection::SelectionOptions,
    #[command(flatten)]
    terms: selection::TermOptions,
    /// Requests of a month: allowances, tiers and fees apply to that volume
    #[arg(long, value_name = "REQUESTS")]
    per_month: Option<String>,
    /// Bill each calendar month of a trace as one account, with its allowances, tiers and fees
    #[arg(long, conflicts_with_all = ["per_month", "waste", "break_even", "explain", "days"])]
    by_month: bool,
    /// Split each bill into used, idle, head-room, rounding, start-up and fees
    #[arg(long)]
    waste: bool,
    /// Show the fine prices that would yield the revenue of each coarse model
    #[arg(long, conflicts_with_all = ["waste", "per_month"])]
    break_even: bool,
    /// Show what each function costs a month, what of that is waste, and which change
    /// would save how much: less memory, or another of the models
    #[arg(long, conflicts_with_all = ["waste", "break_even", "memory"])]
    savings: bool,
    /// Print the arithmetic of an invocation by its number, or of a cell such as
    /// nbody/docker/cold, step by step
    #[arg(long, value_name = "INVOCATION|CELL", conflicts_with_all = ["waste", "per_month", "break_even", "savings"])]
    explain: Option<String>,
    /// Bills of single invocations to keep: auto, all or none
    #[arg(long, value_name = "WHICH", default_value = "auto", value_parser = ["auto", "all", "none"])]
    bills: String,
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, options: &ReplayOptions) -> CommandOutcome {
    let catalog = common.price_catalog()?;
    let named = !options.choice.model.is_empty();
    let headline = HEADLINE_MODELS.map(str::to_owned);
    let ids = if named { &options.choice.model[..] } else { &headline };
    // What is wrong with the arguments is told before a database is looked for.
    let mut contracts = selection::select_contracts(&catalog, ids, &options.terms)?;
    let mut store = common.open_for_results()?;
    let recordings = selection::select_recordings(&store, &options.recordings, &options.choice)?;
    if !named {
        let ids = report::list_default_models(&store, &recordings, &catalog, options.by_month)
            .map_err(CommandFailure::failed)?;
        contracts = selection::select_contracts(&catalog, &ids, &options.terms)?;
    }
    let plan = build_plan(options, recordings, contracts)?;
    if options.savings {
        return savings::run(common, options, &store, plan);
    }
    if options.terms.is_sweep() {
        return sweep::run(common, &store, &plan);
    }
    if let Some(what) = &options.explain {
        return explain::run(common, &store, &plan, what);
    }
    if options.by_month {
        return calendar::run(common, &store, &plan, named);
    }
    if options.break_even {
        let named = !options.choice.model.is_empty();
        return break_even::run(common, &store, &plan, named);
    }
    let simulation = store.replay_and_save(&plan).map_err(CommandFailure::failed)?;
    let summary = &simulation.summary;
    print_bills(common, options, &plan, summary)?;
    say_remarks(common, &store, &plan, summary)?;
    let name = store.name_recordings(&plan.selection.recordings).map_err(CommandFailure::failed)?;
    say(&format!("{name}: {}", describe_keeping(&simulation)));
    // With all models requested, some will not apply; models that were named all should.
    let named = options.choice.names_models();
    let refused =
        named && summary.overall_group().models.iter().any(|total| total.refusal_count() > 0);
    Ok(if refused { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

/// Describes under which number a simulation is stored, or why it is not.
fn describe_keeping(simulation: &SavedSimulation) -> String {
    let Some(id) = simulation.id else {
        let reason = simulation.not_saved.as_deref().unwrap_or("nobody said why");
        return format!("the simulation is not kept: {reason}");
    };
    let stored = if simulation.already_saved { "was stored before" } else { "is stored" };
    let bills = if simulation.with_bills { "" } else { ", without the bill of each invocation" };
    format!("simulation {id} {stored}{bills}")
}

fn build_plan(
    options: &ReplayOptions,
    recordings: Vec<i64>,
    contracts: Vec<Contract>,
) -> Result<ReplayPlan, CommandFailure> {
    let per_month = options.per_month.as_deref().map(selection::parse_request_count).transpose()?;
    Ok(ReplayPlan {
        selection: Selection {
            recordings,
            lanes: options.choice.lane.clone(),
            workloads: options.choice.workload.clone(),
            start: options.choice.start,
        },
        what_if: options.terms.what_if(&contracts)?,
        contracts: contracts.into(),
        per_month,
        bills: match options.bills.as_str() {
            "all" => BillRetention::All,
            "none" => BillRetention::None,
            _ => BillRetention::Automatic,
        },
    })
}

fn print_bills(
    common: &CommonOptions,
    options: &ReplayOptions,
    plan: &ReplayPlan,
    summary: &ReplaySummary,
) -> Result<(), CommandFailure> {
    let month = plan.per_month.as_ref();
    let refusals = report::list_refusals(summary);
    if options.waste {
        common.print_table(&report::waste_table(summary))?;
        report::unmeasured_note(summary).into_iter().for_each(say);
        return if common.format.is_for_people() { common.print_lines(&refusals) } else { Ok(()) };
    }
    if !common.format.is_for_people() {
        return common.print_table(&report::price_table(summary, month));
    }
    if report::has_few_models(summary) && month.is_none() {
        common.print_table(&report::totals_table(summary))?;
        return common.print_lines(&refusals);
    }
    let matrix = report::price_matrix(summary, month);
    if common.format == Format::Markdown {
        common.print_table(&matrix)?;
    } else {
        let width = terminal_width().min(100);
        writeln!(text_output(), "{}", matrix.render_within(width, 1))?;
    }
    let mut lines = report::describe_extremes(summary, month);
    // A month has charges that no single invocation has.
    let monthly = |line: &String| month.is_some() && line.starts_with("monthly charges only");
    lines.extend(refusals.into_iter().filter(|line| !monthly(line)));
    common.print_lines(&lines)
}

/// Reports the notes needed to read the bills: estimates, stand-ins, refusals, memory
/// beyond the allocation.
fn say_remarks(
    common: &CommonOptions,
    store: &Store,
    plan: &ReplayPlan,
    summary: &ReplaySummary,
) -> Result<(), CommandFailure> {
    let (mut has_share, mut has_recording) = (false, false);
    for recording in &plan.selection.recordings {
        has_recording |= !store.is_trace(*recording).map_err(CommandFailure::failed)?;
        let sources = store.meter_sources(*recording).map_err(CommandFailure::failed)?;
        has_share |= sources.iter().any(|it| it.meter == "vcpu_allocated" && it.source.is_some());
        let estimates = sources
            .iter()
            .filter(|it| it.meter == "ref_cycles" && it.source.as_deref() == Some("estimate"));
        for it in estimates {
            say(&format!("ref_cycles in {}, {}: an estimate, {}", it.lane, it.start, it.note));
        }
        let held = store.throttling_counts(*recording).map_err(CommandFailure::failed)?;
        if let Some(line) = report::precision::describe_throttling(&held) {
            let name = store.name_recordings(&[*recording]).map_err(CommandFailure::failed)?;
            say(&format!("{name}: {line}"));
        }
    }
    let by_share = |model: &ModelInfo| model.granularity == Granularity::Coarse;
    // A log is of functions that had the share of their platform.
    if !has_share && has_recording && summary.models().iter().any(by_share) {
        say(report::comparison::WHOLE_CPUS);
    }
    for note in list_stand_ins(summary) {
        say(&note);
    }
    let models = plan.contracts.iter().map(|(model, _)| model);
    for note in report::explain::list_contract_notes(models, plan.per_month.is_some()) {
        say(&note);
    }
    if !common.format.is_for_people() {
        // Readers of tables have them below the table.
        for note in report::list_refusals(summary) {
            say(&note);
        }
    }
    let failures = store
        .first_failures(&plan.selection, |wanted| {
            summary.groups().any(|(key, group)| key == wanted && group.failed > 0)
        })
        .map_err(CommandFailure::failed)?;
    for note in report::failure_notes(summary, |key| failures.get(key).cloned()) {
        say(&note);
    }
    for (key, why) in store.cells_without_runs(&plan.selection).map_err(CommandFailure::failed)? {
        say(&format!("{key}: no price: {why}"));
    }
    for (key, group) in summary.groups().filter(|(_, group)| group.over_allocation > 0) {
        let peak = group.peak.map(|peak| format!(" (largest peak {peak})")).unwrap_or_default();
        say(&format!(
            "{key}: {} of {} touched more memory than they are billed for{peak}",
            group.over_allocation, group.invocations
        ));
    }
    if common.format.is_for_people() {
        say("--format json has all digits; --waste, --break-even and --explain say more");
    }
    Ok(())
}
