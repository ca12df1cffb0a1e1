//! Details of the selected lane: all meters with unit and source, and the
//! reason for each that is missing.

use std::fmt::Write as _;

use super::selection;
use crate::model::Model;
use crate::overlay::Overlay;
use cyclometer_core::units::{Bytes, Count, Nanos};
use cyclometer_meter::{Meter, Unit};
use cyclometer_record::live::{CellState, CellView};

/// Returns an overlay with the details of the selected lane.
pub(crate) fn selected_lane_overlay(model: &Model) -> Option<Overlay> {
    let snapshot = super::shown_snapshot(model);
    let lane = snapshot.lanes.get(model.screens.live.lane)?;
    let mut text = String::new();
    let mut say = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    if !lane.version.is_empty() {
        say(&lane.version);
    }
    if !lane.note.is_empty() {
        say(&lane.note);
    }
    if let Some(reason) = &lane.unavailable {
        say(&format!("cannot run here: {reason}"));
    }
    if let Some(reason) = &lane.failing {
        say(&format!("the newest invocation failed: {reason}"));
    }
    for start in selection::shown_starts(model, snapshot) {
        say("");
        match selection::shown_cell(model, snapshot, model.screens.live.lane, start) {
            Some(cell) => say(&cell_text(cell)),
            None => say(&selection::missing_cell_reason(model, snapshot, &lane.name, start)),
        }
    }
    Some(Overlay::Text { title: lane.name.to_string(), text, scroll: 0 })
}

fn cell_text(cell: &CellView) -> String {
    let mut text = format!("{}, {}, preset {}\n", cell.workload, cell.start, cell.preset);
    match &cell.state {
        CellState::Waiting => text.push_str("not prepared yet\n"),
        CellState::Failed(reason) => {
            let _ = writeln!(text, "cannot be prepared: {reason}");
        }
        CellState::Ready { took, footprint } => {
            if let Some(took) = took {
                let _ = writeln!(text, "prepared in {took}");
            }
            if let Some(size) = footprint {
                let _ = writeln!(text, "footprint {size}");
            }
        }
    }
    for note in cell.notes.iter() {
        let _ = writeln!(text, "{note}");
    }
    let _ =
        writeln!(text, "{} ended well, {} did not, {} were cut off", cell.ok, cell.bad, cell.cut);
    if let Some(reason) = &cell.reason {
        let _ = writeln!(text, "the newest that did not: {reason}");
    }
    if let Some(run) = cell.run.filter(|run| run.total > run.count as u64) {
        let _ = writeln!(text, "median and p95 are of the newest {} of {}", run.count, run.total);
    }
    text.push_str("\nthe newest invocation, meter by meter\n");
    for meter in Meter::ALL {
        let source = cell.sources.get(*meter);
        let from = source.and_then(|it| it.source).map_or("", |it| it.label());
        let note = source.map_or("", |it| it.note.as_str());
        let _ = match cell.newest_meter_value(*meter) {
            Ok(value) => {
                let colon = if note.is_empty() { "" } else { ": " };
                writeln!(
                    text,
                    "{:<17} {:>10}  {from}{colon}{note}",
                    meter.name(),
                    format_meter_value(*meter, value)
                )
            }
            Err(reason) => writeln!(text, "{:<17} {:>10}  {reason}", meter.name(), "-"),
        };
    }
    text
}

/// Formats a value with its unit.
pub(crate) fn format_meter_value(meter: Meter, value: u64) -> String {
    match meter.unit() {
        Unit::Nanosecond => Nanos(value).to_string(),
        Unit::Byte => Bytes(value).to_string(),
        Unit::Cycle | Unit::Event => Count(value).to_string(),
        Unit::MilliCpu => format!("{}.{:03} CPU", value / 1_000, value % 1_000),
        // A byte-millisecond is too small a unit to read.
        Unit::ByteMillisecond => format!("{} s", Bytes(value / 1_000)),
    }
}
