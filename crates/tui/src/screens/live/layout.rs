//! Layout of the live screen: its parts, the tabs of workloads and the columns of lanes.

use ratatui::layout::Rect;

use super::{bill_panel, lane_columns, selection, shown_snapshot, urgent_notice};
use crate::model::Model;
use crate::widgets::text::display_width;

/// Least useful width of a lane's column.
const LANE_WIDTH: u16 = 26;

/// Height of the screen from which on a line is reserved for the most important
/// message, even if there is none.
const ROOMY: u16 = 28;

/// Areas of the parts of the screen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LiveLayout {
    /// Workloads, and the plan.
    pub tabs: Rect,
    /// Most important facts.
    pub summary: Rect,
    /// Columns of the lanes.
    pub lanes: Rect,
    /// Panel of the bills.
    pub bills: Rect,
    /// Panel of the messages; without height where there is no room.
    pub messages: Rect,
}

impl LiveLayout {
    /// Layout before anything was drawn.
    pub(crate) const EMPTY: Self = Self {
        tabs: Rect::ZERO,
        summary: Rect::ZERO,
        lanes: Rect::ZERO,
        bills: Rect::ZERO,
        messages: Rect::ZERO,
    };

    /// Divides an area into the parts of the screen.
    pub fn new(model: &Model, area: Rect) -> Self {
        let snapshot = shown_snapshot(model);
        let part = |y: u16, height: u16| Rect { y, height, ..area };
        let tabs = area.height.min(1);
        let matters = urgent_notice(model, snapshot).is_some();
        let summary = u16::from(area.height >= ROOMY || matters).min(area.height - tabs);
        let rest = area.height.saturating_sub(tabs + summary);
        // A short terminal has no room for messages: the newest is shown above.
        let said = u16::try_from(snapshot.log.len()).unwrap_or(u16::MAX).min(4);
        let messages = if rest >= 40 && said > 0 { said + 2 } else { 0 };
        let wish = bill_panel::panel_height(model, snapshot, area.width, rest);
        let bills = wish.min(rest.saturating_sub(11)).max(rest.min(5));
        let lanes = rest.saturating_sub(bills + messages);
        let top = area.y + tabs + summary;
        Self {
            tabs: part(area.y, tabs),
            summary: part(area.y + tabs, summary),
            lanes: part(top, lanes),
            bills: part(top + lanes, bills.min(rest)),
            messages: part(top + lanes + bills, messages),
        }
    }
}

/// Returns the tab of each workload: name, text and position.
pub(crate) fn workload_tabs(model: &Model) -> Vec<(String, String, u16)> {
    let snapshot = shown_snapshot(model);
    let here = selection::shown_workload(model, snapshot);
    let mut x = 0;
    selection::available_workloads(model, snapshot)
        .iter()
        .map(|name| {
            // The brackets mark the tab on terminals that show no reversed text.
            let is_here = here == Some(name.as_str());
            let text = if is_here { format!("[{name}]") } else { format!(" {name} ") };
            let at = x;
            x += u16::try_from(display_width(&text)).unwrap_or(u16::MAX);
            (name.clone(), text, at)
        })
        .collect()
}

/// Returns the lanes in view, with the area of each.
pub(crate) fn visible_lanes(model: &Model, area: Rect) -> Vec<(usize, Rect)> {
    let count = lane_columns::lane_names(model).len().max(1);
    let fit = usize::from(area.width / LANE_WIDTH).clamp(1, count);
    let first = (model.screens.live.lane + 1).saturating_sub(fit).min(count - fit);
    let share = area.width / u16::try_from(fit).unwrap_or(1);
    (0..fit)
        .map(|at| {
            let x = area.x + share * u16::try_from(at).unwrap_or(0);
            // The last lane gets the width that division leaves.
            let width = if at + 1 == fit { area.right().saturating_sub(x) } else { share };
            (first + at, Rect { x, width, ..area })
        })
        .collect()
}
