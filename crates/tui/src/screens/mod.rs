//! Screens of the observatory. Each has a state, a reaction to actions, a
//! drawing, and a table for exports.

pub mod bills;
pub mod history;
pub mod host;
pub mod live;
pub mod timeline;

use ratatui::Frame;
use ratatui::layout::{Position, Rect};

use super::action::{Effect, UserAction};
use super::model::Model;
use cyclometer_report::Table;

/// Screen of the observatory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScreenId {
    /// Recording that runs now.
    Live,
    /// Bills of price models beside lanes.
    Bills,
    /// Timeline of a recording that is played back.
    Timeline,
    /// History of recordings and simulations.
    History,
    /// Host machine.
    Host,
}

impl ScreenId {
    /// All screens, in the order of their digits.
    pub const ALL: [Self; 5] = [Self::Live, Self::Bills, Self::Timeline, Self::History, Self::Host];

    /// Returns the name of the screen.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "Live",
            Self::Bills => "Bills",
            Self::Timeline => "Timeline",
            Self::History => "History",
            Self::Host => "Host",
        }
    }
}

/// Handles that the screen comes into sight.
pub fn entered(model: &mut Model) -> Vec<Effect> {
    match model.screen {
        ScreenId::Live => Vec::new(),
        ScreenId::Bills => bills::entered(model),
        ScreenId::Timeline => timeline::entered(model),
        ScreenId::History => history::entered(model),
        ScreenId::Host => host::entered(model),
    }
}

/// Applies an action to the screen in sight.
pub fn apply_action(model: &mut Model, action: UserAction) -> Vec<Effect> {
    match model.screen {
        ScreenId::Live => live::apply_action(model, action),
        ScreenId::Bills => bills::apply_action(model, action),
        ScreenId::Timeline => timeline::apply_action(model, action),
        ScreenId::History => history::apply_action(model, action),
        ScreenId::Host => host::apply_action(model, action),
    }
}

/// Handles a click on the screen in sight.
pub fn click(model: &mut Model, area: Rect, at: Position) -> Vec<Effect> {
    match model.screen {
        ScreenId::Live => live::click(model, area, at),
        ScreenId::Bills => bills::click(model, area, at),
        ScreenId::Timeline => timeline::click(model, area, at),
        ScreenId::History => history::click(model, area, at),
        ScreenId::Host => host::click(model, area, at),
    }
}

/// Advances whatever moves by itself; called for every frame.
pub fn tick(model: &mut Model) -> Vec<Effect> {
    match model.screen {
        ScreenId::Bills => bills::tick(model),
        ScreenId::Timeline => timeline::tick(model),
        ScreenId::History => history::tick(model),
        ScreenId::Host => host::tick(model),
        ScreenId::Live => history::conclusion::request_conclusion(model),
    }
}

/// Draws the screen in sight.
pub fn render(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    match model.screen {
        ScreenId::Live => live::render(frame, area, model),
        ScreenId::Bills => bills::render(frame, area, model),
        ScreenId::Timeline => timeline::render(frame, area, model),
        ScreenId::History => history::render(frame, area, model),
        ScreenId::Host => host::render(frame, area, model),
    }
}

/// Returns the figures of the screen in sight, for an export as CSV or JSON.
pub fn table(model: &Model) -> Table {
    match model.screen {
        ScreenId::Live => live::table(model),
        ScreenId::Bills => bills::export_table(model),
        ScreenId::Timeline => timeline::export_table(model),
        ScreenId::History => history::table(model),
        ScreenId::Host => host::table(model),
    }
}
