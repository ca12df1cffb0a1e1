//! Layout of the host screen.

use ratatui::layout::Rect;

/// Width of a terminal from which on remedies stand beside the findings.
pub(crate) const WIDE: usize = 140;

/// Areas of the parts of the screen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HostLayout {
    /// Rows under headings.
    pub list: Rect,
    /// Selected row in full.
    pub selected: Rect,
}

impl HostLayout {
    /// Divides an area into the parts of the screen.
    pub fn new(area: Rect) -> Self {
        // A wide terminal needs fewer lines for a text.
        let most = if usize::from(area.width) >= WIDE { 6 } else { 9 };
        let below = (area.height / 3).min(most);
        let list = area.height - below;
        Self {
            list: Rect { height: list, ..area },
            selected: Rect { y: area.y + list, height: below, ..area },
        }
    }

    /// Returns the number of rows of a page.
    pub(crate) fn page_height(&self) -> usize {
        usize::from(self.list.height.saturating_sub(4)).max(1)
    }
}
