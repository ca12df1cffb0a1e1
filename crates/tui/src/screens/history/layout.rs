//! Layout of the history screen.

use ratatui::layout::Rect;

/// Width of a terminal from which on the details stand beside the list.
const WIDE: u16 = 140;

/// Areas of the panels.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HistoryLayout {
    /// List of recordings and simulations.
    pub list: Rect,
    /// Details of the selected item.
    pub details: Rect,
    /// Database panel; without height where there is no room.
    pub database: Rect,
}

impl HistoryLayout {
    /// Divides an area into panels; the focused one gets most of the room.
    pub fn new(area: Rect, focus: bool) -> Self {
        if area.width >= WIDE {
            let left = area.width - (area.width * 2 / 5).max(60);
            let below = if area.height >= 24 { 6 } else { 0 };
            return Self {
                list: Rect { width: left, height: area.height - below, ..area },
                details: Rect { x: area.x + left, width: area.width - left, ..area },
                database: Rect { y: area.bottom() - below, width: left, height: below, ..area },
            };
        }
        let list = if focus { (area.height / 3).max(6) } else { area.height * 11 / 20 };
        let list = list.min(area.height);
        Self {
            list: Rect { height: list, ..area },
            details: Rect { y: area.y + list, height: area.height - list, ..area },
            database: Rect { height: 0, ..area },
        }
    }

    /// Returns the number of columns of the details' text.
    pub(crate) fn detail_width(&self) -> usize {
        usize::from(self.details.width.saturating_sub(4))
    }

    /// Returns the number of rows of the list and of lines of the details in view.
    pub(crate) fn visible_heights(&self) -> (usize, usize) {
        let lines = |area: Rect, less: u16| usize::from(area.height.saturating_sub(less));
        (lines(self.list, 3), lines(self.details, 2))
    }
}
