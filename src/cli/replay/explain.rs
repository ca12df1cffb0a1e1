//! `replay --explain`: prints the arithmetic of one invocation, or of a cell.

use std::io::Write;
use std::process::ExitCode;

use crate::cli::{CommandFailure, CommandOutcome, CommonOptions, say};
use crate::output::{json_text, text_output};
use crate::replay::{CellKey, UsageRow};
use crate::report::explain::{CellExplanation, explain_bill};
use crate::report::{Format, markdown_code};
use crate::store::{ReplayPlan, Store, StoreError};
use crate::suggest::find_nearest_name;
use crate::visible_text::escape_line;

/// Explains an invocation, given by its number, or the cells selected by names of a
/// workload, lane and start, with `/` between them.
pub(super) fn run(
    common: &CommonOptions,
    store: &Store,
    plan: &ReplayPlan,
    what: &str,
) -> CommandOutcome {
    if matches!(common.format, Format::Csv | Format::Jsonl) {
        return Err(CommandFailure::usage("--explain is text or --format json"));
    }
    match what.parse::<i64>() {
        Ok(number) => explain_invocation(common, store, plan, number),
        Err(_) => explain_cell(common, store, plan, what),
    }
}

fn explain_invocation(
    common: &CommonOptions,
    store: &Store,
    plan: &ReplayPlan,
    number: i64,
) -> CommandOutcome {
    let (recording, row) = store.find_invocation(number).map_err(CommandFailure::failed)?;
    let UsageRow { key, usage, .. } = row;
    let usage = plan.what_if.apply_to(usage);
    let mut out = text_output();
    let mut objects = Vec::new();
    let mut refused = false;
    for (index, (model, terms)) in plan.contracts.iter().enumerate() {
        match explain_bill(model, &usage, terms) {
            Err(refusal) => {
                refused = true;
                let reason = refusal.to_string();
                if common.format == Format::Json {
                    objects.push(serde_json::json!({ "model": model.id(), "refused": reason }));
                } else {
                    let blank = if index > 0 { "\n" } else { "" };
                    writeln!(out, "{blank}{}: refused: {reason}", model.id())?;
                }
            }
            Ok(bill) if common.format == Format::Json => objects.push(bill.to_json()),
            Ok(bill) => {
                if index > 0 {
                    writeln!(out)?;
                }
                write!(out, "{}", format_text(common.format, bill.to_text()))?;
            }
        }
    }
    if common.format == Format::Json {
        writeln!(out, "{}", json_text(&serde_json::Value::Array(objects), true))?;
    } else {
        let name = store.name_recordings(&[recording]).map_err(CommandFailure::failed)?;
        say(&format!("invocation {number} of {name}: {key}"));
    }
    Ok(if refused { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

/// Formats the text as it is, or as a code block in Markdown.
fn format_text(format: Format, text: String) -> String {
    if format == Format::Markdown { markdown_code(&text) } else { text }
}

/// Returns whether every part of `what` names the workload, the lane or the start. Names of
/// functions may have a `/` themselves.
fn is_selected(key: &CellKey, what: &str) -> bool {
    [&*key.workload, &*key.lane, key.start.label()].into_iter().any(|name| {
        let rest = what.strip_prefix(name);
        rest.is_some_and(|rest| {
            rest.is_empty() || rest.strip_prefix('/').is_some_and(|rest| is_selected(key, rest))
        })
    })
}

/// Says what the arithmetic of single requests leaves out.
fn say_shared_instances(plan: &ReplayPlan) {
    for (model, _) in plan.contracts.iter().filter(|(model, _)| model.has_instance_charges()) {
        say(&format!(
            "{} bills an instance for as long as it serves: requests at the same time share it in \
             `replay`, and each stands for itself here",
            model.id()
        ));
    }
}

fn explain_cell(
    common: &CommonOptions,
    store: &Store,
    plan: &ReplayPlan,
    what: &str,
) -> CommandOutcome {
    if common.format == Format::Json {
        return Err(CommandFailure::usage(
            "a cell is explained as text; --explain INVOCATION has --format json",
        ));
    }
    let mut cells: Vec<CellExplanation<'_>> =
        plan.contracts.iter().map(|(model, terms)| CellExplanation::new(model, terms)).collect();
    let mut names: Vec<String> = Vec::new();
    let mut known: Vec<String> = Vec::new();
    let mut failures = (0_u64, 0_u64);
    let read = store.for_each_invocation(&plan.selection, |row| {
        let UsageRow { key, usage, failed, .. } = row;
        let name = key.to_string();
        for part in [&*key.workload, &*key.lane, key.start.label()] {
            if !known.iter().any(|it| it == part) {
                known.push(part.to_owned());
            }
        }
        if is_selected(&key, what) {
            if !names.contains(&name) {
                names.push(name);
            }
            failures = (failures.0 + u64::from(failed), failures.1 + 1);
            let usage = plan.what_if.apply_to(usage);
            for cell in &mut cells {
                cell.add_invocation(&usage);
            }
        }
        Ok::<(), StoreError>(())
    });
    read.map_err(CommandFailure::failed)?;
    if names.is_empty() {
        let bad = what.split('/').find(|part| !known.iter().any(|it| it == part));
        let near = bad.and_then(|part| find_nearest_name(part, known.iter().map(String::as_str)));
        let hint = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
        return Err(CommandFailure::usage(format!(
            "`{what}` selects nothing{hint} (an invocation's number, or names of workload, lane \
             and start such as nbody/docker/cold)"
        )));
    }
    let mut out = text_output();
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        write!(
            out,
            "{}",
            format_text(common.format, cell.to_text(&escape_line(&names.join("; "))))
        )?;
    }
    say_shared_instances(plan);
    if failures.0 > 0 {
        say(&format!("{} of these {} invocations failed", failures.0, failures.1));
    }
    let refused = cells.iter().any(|cell| cell.billed_invocations() == 0);
    Ok(if refused { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::StartKind;

    #[test]
    fn cells_are_selected_by_their_names_in_any_order() {
        let key = CellKey::new("openwhisk", "guest/hello", "any", StartKind::Warm);
        for what in ["guest/hello", "guest/hello/openwhisk/warm", "warm/guest/hello", "openwhisk"] {
            assert!(is_selected(&key, what), "{what}");
        }
        for what in ["guest", "hello", "guest/hello/", "guest/hello/cold", "", "/warm"] {
            assert!(!is_selected(&key, what), "{what}");
        }
    }
}
