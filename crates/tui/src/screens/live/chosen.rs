//! Selection of the workload and the kinds of start that are shown, common to
//! all lanes.

use crate::live::{CellState, CellView, Snapshot};
use crate::model::Model;
use cyclometer_lanes::StartKind;

/// Returns the workloads to choose from: those that are recorded, or those of
/// the next recording.
pub fn workloads<'a>(model: &'a Model, snapshot: &'a Snapshot) -> &'a [String] {
    match &snapshot.plan.workloads[..] {
        [] => &model.live.wanted.workloads,
        recorded => recorded,
    }
}

/// Returns the workload that is shown: the one that was chosen, or the first of
/// the plan that can run in some lane. It does not depend on what runs now.
pub fn workload<'a>(model: &'a Model, snapshot: &'a Snapshot) -> Option<&'a str> {
    let names = workloads(model, snapshot);
    let is_there = |name: &&String| model.live.workload.as_ref() == Some(*name);
    let can_run = |name: &&String| {
        let mut cells = snapshot.cells.iter().filter(|cell| *cell.workload == **name);
        snapshot.cells.is_empty() || cells.any(|cell| !matches!(cell.state, CellState::Failed(_)))
    };
    let found = names.iter().find(is_there).or_else(|| names.iter().find(can_run));
    found.or(names.first()).map(String::as_str)
}

/// Returns the kinds of start of the workload that are shown, cold first.
pub fn starts(model: &Model, snapshot: &Snapshot) -> Vec<StartKind> {
    let workload = workload(model, snapshot).unwrap_or_default();
    let wanted = |start: &StartKind| model.live.start.is_none_or(|it| it == *start);
    let recorded = |start: &StartKind| {
        let mut cells = snapshot.cells.iter().filter(|cell| cell.start == *start);
        cells.any(|cell| &*cell.workload == workload)
    };
    [StartKind::Cold, StartKind::Warm]
        .into_iter()
        .filter(wanted)
        .filter(|start| model.live.start.is_some() || recorded(start))
        .collect()
}

/// Returns the kind of start that is billed: the one that was chosen, or the
/// first available one.
pub fn start(model: &Model, snapshot: &Snapshot) -> StartKind {
    starts(model, snapshot).first().copied().unwrap_or(StartKind::Cold)
}

/// Returns the cell of a lane that is shown for a kind of start.
pub fn cell<'a>(
    model: &Model,
    snapshot: &'a Snapshot,
    lane: usize,
    start: StartKind,
) -> Option<&'a CellView> {
    snapshot.cell(lane, workload(model, snapshot)?, start)
}

/// Returns the reason why a lane has no such cell.
pub fn missing(model: &Model, snapshot: &Snapshot, lane: &str, start: StartKind) -> String {
    let workload = workload(model, snapshot).unwrap_or_default();
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
