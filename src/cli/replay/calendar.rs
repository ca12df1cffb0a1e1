//! `replay --by-month`: bills a trace by calendar month, as one account.

use crate::cli::{CommandFailure, CommandOutcome, CommonOptions, say};
use crate::report::{calendar_table, needs_hours};
use crate::store::{CalendarUnit, ReplayPlan, Store};
use std::process::ExitCode;

/// Runs the command. Unless models were named, each month is billed by the versions in force.
pub(super) fn run(
    common: &CommonOptions,
    store: &Store,
    plan: &ReplayPlan,
    named: bool,
) -> CommandOutcome {
    let replay =
        store.replay_by_period(plan, CalendarUnit::Month).map_err(CommandFailure::failed)?;
    let hours = needs_hours(&plan.contracts)
        .then(|| store.replay_by_period(plan, CalendarUnit::Hour))
        .transpose()
        .map_err(CommandFailure::failed)?;
    common.print_table(&calendar_table(&replay, hours.as_ref(), !named))?;
    if common.format.is_for_people() {
        say("months are UTC; each has its own allowances, tiers and fees; list prices have none");
    }
    let refused =
        replay.summary.overall_group().models.iter().any(|total| total.refusal_count() > 0);
    Ok(if refused { ExitCode::from(3) } else { ExitCode::SUCCESS })
}
