//! Screens of the observatory. Each has a state, a reaction to actions, a
//! drawing, and a table for exports.

pub mod bills;
pub mod history;
pub mod host;
pub mod live;
pub mod timeline;

use ratatui::Frame;
use ratatui::layout::{Position, Rect};

use super::action::{Action, Effect};
use super::model::Model;
use cyclometer_report::Table;

/// Screen of the observatory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Screen {
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

impl Screen {
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
        Screen::Live => Vec::new(),
        Screen::Bills => bills::entered(model),
        Screen::Timeline => timeline::entered(model),
        Screen::History => history::entered(model),
        Screen::Host => host::entered(model),
    }
}

/// Applies an action to the screen in sight.
pub fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    match model.screen {
        Screen::Live => live::act(model, action),
        Screen::Bills => bills::act(model, action),
        Screen::Timeline => timeline::act(model, action),
        Screen::History => history::act(model, action),
        Screen::Host => host::act(model, action),
    }
}

/// Handles a click on the screen in sight.
pub fn click(model: &mut Model, area: Rect, at: Position) -> Vec<Effect> {
    match model.screen {
        Screen::Live => live::click(model, area, at),
        Screen::Bills => bills::click(model, area, at),
        Screen::Timeline => timeline::click(model, area, at),
        Screen::History => history::click(model, area, at),
        Screen::Host => host::click(model, area, at),
    }
}

/// Advances whatever moves by itself; called for every frame.
pub fn tick(model: &mut Model) -> Vec<Effect> {
    match model.screen {
        Screen::Bills => bills::tick(model),
        Screen::Timeline => timeline::tick(model),
        Screen::History => history::tick(model),
        Screen::Host => host::tick(model),
        Screen::Live => history::ending::tick(model),
    }
}

/// Draws the screen in sight.
pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    match model.screen {
        Screen::Live => live::draw(frame, area, model),
        Screen::Bills => bills::draw(frame, area, model),
        Screen::Timeline => timeline::draw(frame, area, model),
        Screen::History => history::draw(frame, area, model),
        Screen::Host => host::draw(frame, area, model),
    }
}

/// Returns the figures of the screen in sight, for an export as CSV or JSON.
pub fn table(model: &Model) -> Table {
    match model.screen {
        Screen::Live => live::table(model),
        Screen::Bills => bills::table(model),
        Screen::Timeline => timeline::table(model),
        Screen::History => history::table(model),
        Screen::Host => host::table(model),
    }
}
