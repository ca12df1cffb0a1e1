//! Layout of the bills screen.

use ratatui::layout::Rect;

use super::draw;
use super::functions::{self, BillsRows};
use crate::model::Model;

/// Smallest width of a detail panel beside the table.
const MIN_DETAIL_WIDTH: u16 = 56;

/// Areas of the parts of the screen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BillsLayout {
    /// Status lines: what is shown, and the keys that change it.
    pub status: Rect,
    /// Table with its frame.
    pub table: Rect,
    /// Panel of the selected cell.
    pub detail: Rect,
}

impl BillsLayout {
    /// Divides an area into the parts of the screen.
    pub fn new(model: &Model, area: Rect) -> Self {
        let lines = draw::count_status_lines(model, area.width);
        let rows = model.screens.bills.functions.rows_for(model.shown_recording());
        if rows != BillsRows::Models {
            return functions::lay_out(lines, area);
        }
        // Without a table there is room for the whole error message.
        let figures = model.screens.bills.loaded.is_some();
        let trouble = usize::from(figures && model.screens.bills.error.is_some());
        let high = u16::try_from(lines + trouble).unwrap_or(1).min(area.height / 4);
        let state = Rect { height: high, ..area };
        let rest = Rect { y: area.y + high, height: area.height - high, ..area };
        if !figures {
            return Self { status: state, table: rest, detail: Rect { height: 0, ..rest } };
        }
        // The detail panel stands beside the table only if all lanes stay visible.
        let natural =
            model.screens.bills.loaded.as_ref().map_or(0, |held| draw::natural_width(&held.table));
        let natural = u16::try_from(natural).unwrap_or(u16::MAX);
        if rest.width >= natural.saturating_add(MIN_DETAIL_WIDTH) {
            let detail = (rest.width * 2 / 5).clamp(MIN_DETAIL_WIDTH, 92).min(rest.width - natural);
            let table = Rect { width: rest.width - detail, ..rest };
            let detail = Rect { x: table.right(), width: detail, ..rest };
            return Self { status: state, table, detail };
        }
        let detail = match rest.height {
            0..=9 => 0,
            10..=15 => 4,
            16..=29 => 8,
            high => high * 2 / 5,
        };
        let table = Rect { height: rest.height - detail, ..rest };
        Self { status: state, table, detail: Rect { y: table.bottom(), height: detail, ..rest } }
    }

    /// Returns the number of rows that fit the table.
    pub(crate) fn rows_per_page(&self) -> usize {
        usize::from(self.table.height.saturating_sub(3)).max(1)
    }
}
