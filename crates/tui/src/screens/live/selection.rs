//! Selection of the workload and the kinds of start that are shown, common to
//! all lanes.

use crate::model::Model;
use cyclometer_lanes::StartKind;
use cyclometer_record::live::{CellState, CellView, LiveSnapshot};

/// Returns the workloads to choose from: those that are recorded, or those of
/// the next recording.
pub(crate) fn available_workloads<'a>(
    model: &'a Model,
    snapshot: &'a LiveSnapshot,
) -> &'a [String] {
    match &snapshot.plan.workloads[..] {
        [] => &model.screens.live.options.workloads,
        recorded => recorded,
    }
}

/// Returns the workload that is shown: the one that was chosen, or the first of
/// the plan that can run in some lane. It does not depend on what runs now.
pub(crate) fn shown_workload<'a>(model: &'a Model, snapshot: &'a LiveSnapshot) -> Option<&'a str> {
    let names = available_workloads(model, snapshot);
    let is_there = |name: &&String| model.screens.live.workload.as_ref() == Some(*name);
    let can_run = |name: &&String| {
        let mut cells = snapshot.cells.iter().filter(|cell| *cell.workload == **name);
        snapshot.cells.is_empty() || cells.any(|cell| !matches!(cell.state, CellState::Failed(_)))
    };
    let found = names.iter().find(is_there).or_else(|| names.iter().find(can_run));
    found.or(names.first()).map(String::as_str)
}

/// Returns the kinds of start of the workload that are shown, cold first.
pub(crate) fn shown_starts(model: &Model, snapshot: &LiveSnapshot) -> Vec<StartKind> {
    let workload = shown_workload(model, snapshot).unwrap_or_default();
    let wanted = |start: &StartKind| model.screens.live.start.is_none_or(|it| it == *start);
    let recorded = |start: &StartKind| {
        let mut cells = snapshot.cells.iter().filter(|cell| cell.start == *start);
        cells.any(|cell| &*cell.workload == workload)
    };
    [StartKind::Cold, StartKind::Warm]
        .into_iter()
        .filter(wanted)
        .filter(|start| model.screens.live.start.is_some() || recorded(start))
        .collect()
}

/// Returns the kind of start that is billed: the one that was chosen, or the
/// first available one.
pub(crate) fn billed_start(model: &Model, snapshot: &LiveSnapshot) -> StartKind {
    shown_starts(model, snapshot).first().copied().unwrap_or(StartKind::Cold)
}

/// Returns the cell of a lane that is shown for a kind of start.
pub(crate) fn shown_cell<'a>(
    model: &Model,
    snapshot: &'a LiveSnapshot,
    lane: usize,
    start: StartKind,
) -> Option<&'a CellView> {
    snapshot.find_cell(lane, shown_workload(model, snapshot)?, start)
}

/// Returns the reason why a lane has no such cell.
pub(crate) fn missing_cell_reason(
    model: &Model,
    snapshot: &LiveSnapshot,
    lane: &str,
    start: StartKind,
) -> String {
    let workload = shown_workload(model, snapshot).unwrap_or_default();
    if snapshot.cells.is_empty() {
        return "not yet".to_owned();
    }
    let tells = |text: &&String| text.contains(lane) && text.contains(workload);
    let reason = snapshot.plan.remarks.iter().find(tells);
    match reason.map(|text| text.trim_start_matches("left out: ")) {
        Some(reason) => format!("does not run here: {reason}"),
        None => format!("no {start} start here"),
    }
}
