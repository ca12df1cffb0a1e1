//! `replay --savings`: what each function costs, what of that is waste, and which change would
//! save how much.

use std::process::ExitCode;

use super::ReplayOptions;
use crate::cli::{CommandFailure, CommandOutcome, CommonOptions, say};
use crate::pricing::Terms;
use crate::replay::Contract;
use crate::report::savings::{
    MARGIN, SavingsPlan, build_people_table, build_program_table, describe_advice, describe_split,
    format_amount, list_notes, load_savings, present_model,
};
use crate::store::{ReplayPlan, Store};

/// Most functions in the table for people.
const SHOWN_FUNCTIONS: usize = 30;

/// Most pieces of advice in sentences.
const SHOWN_ADVICE: usize = 5;

/// Runs the command.
pub(super) fn run(
    common: &CommonOptions,
    options: &ReplayOptions,
    store: &Store,
    plan: ReplayPlan,
) -> CommandOutcome {
    let [recording] = plan.selection.recordings[..] else {
        return Err(CommandFailure::usage("--savings is of one trace or recording: name it"));
    };
    let contracts = if options.choice.model.is_empty() {
        default_contracts(common, options, store, recording)?
    } else {
        plan.contracts.to_vec()
    };
    let looked_for = SavingsPlan {
        selection: plan.selection,
        requests: plan.per_month,
        margin: MARGIN,
        ..SavingsPlan::for_recording(recording, contracts)
    };
    let report = load_savings(store, &looked_for).map_err(CommandFailure::failed)?;
    if !common.format.is_for_people() {
        common.print_table(&build_program_table(&report))?;
        list_notes(&report).iter().for_each(|note| say(note));
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines: Vec<String> = report
        .functions
        .iter()
        .filter_map(|function| Some(describe_advice(&report, function, function.advice.first()?)))
        .take(SHOWN_ADVICE)
        .collect();
    if lines.is_empty() {
        let reason = report.functions.iter().find_map(|function| function.refusals.first());
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        lines.push(format!("no change that was looked at saves anything{reason}"));
    }
    if let (Some(total), Some(saving)) = (&report.total, &report.saving) {
        lines.push(format!(
            "{} {} in all; the best change of each function saves {} of it",
            format_amount(total, &report.currency),
            report.basis.unit(),
            format_amount(saving, &report.currency)
        ));
    }
    if let Some(split) = report.split.as_ref().filter(|split| !split.total().is_zero()) {
        lines.push(format!("what that is for: {}", describe_split(split)));
    }
    common.print_table(&build_people_table(&report, SHOWN_FUNCTIONS))?;
    common.print_lines(&lines)?;
    let all = report.functions.len();
    if all > SHOWN_FUNCTIONS {
        say(&format!("{} more functions: --format csv has all", all - SHOWN_FUNCTIONS));
    }
    list_notes(&report).iter().for_each(|note| say(note));
    Ok(ExitCode::SUCCESS)
}

/// Returns the model of the platform that the trace comes from, and those to compare it with.
fn default_contracts(
    common: &CommonOptions,
    options: &ReplayOptions,
    store: &Store,
    recording: i64,
) -> Result<Vec<Contract>, CommandFailure> {
    let cells = store.recorded_cells(recording).map_err(CommandFailure::failed)?;
    let lane = options.choice.lane.first().map(String::as_str);
    let platform = lane.or_else(|| cells.first().map(|cell| cell.lane.as_str()));
    let catalog = common.price_catalog()?;
    let mut contracts = Vec::new();
    for id in present_model(platform.unwrap_or_default()) {
        let model = catalog.find_model(id).map_err(CommandFailure::failed)?;
        contracts.push((model.clone(), Terms::for_model(model)));
    }
    options.terms.apply_to(&mut contracts)?;
    Ok(contracts)
}

#[cfg(test)]
mod tests {
    use super::super::HEADLINE_MODELS;
    use super::*;

    #[test]
    fn every_platform_has_models_that_are_shipped() {
        for platform in ["aws-lambda", "google-cloud-run", "azure-functions", "native", ""] {
            for id in present_model(platform) {
                assert!(crate::pricing::find_builtin_model(id).is_some(), "{platform}: {id}");
            }
        }
        assert_eq!(present_model("native")[0], HEADLINE_MODELS[0]);
    }
}
