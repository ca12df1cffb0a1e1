//! User actions, and the effects that the program carries out for them.

use super::screens::{ScreenId, ScreenRequest};
use super::session::SessionCommand;

/// Action of the user. Keys are bound to actions in [`super::keymap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UserAction {
    /// Quits the program.
    Quit,
    /// Suspends the program as a shell does with Ctrl-Z.
    Suspend,
    /// Closes the overlay, or goes back.
    Back,
    /// Shows the keys.
    Help,
    /// Goes to a screen.
    Go(ScreenId),
    /// Moves to the next panel or lane.
    NextPanel,
    /// Moves to the previous panel or lane.
    PreviousPanel,
    /// Moves up by one.
    Up,
    /// Moves down by one.
    Down,
    /// Moves left; in time: back.
    Left,
    /// Moves right; in time: forward.
    Right,
    /// Moves up by a page.
    PageUp,
    /// Moves down by a page.
    PageDown,
    /// Moves to the first item.
    First,
    /// Moves to the last item.
    Last,
    /// Opens, explains or confirms the selected item.
    Enter,
    /// Freezes the view, or plays and pauses.
    Pause,
    /// Prompts for a filter.
    Filter,
    /// Sorts by the next column.
    Sort,
    /// Reverses the order.
    Reverse,
    /// Zooms in.
    ZoomIn,
    /// Zooms out.
    ZoomOut,
    /// Resets the zoom.
    ZoomReset,
    /// Exports the view to a file.
    Export,
    /// Turns the mouse on or off.
    Mouse,
    /// Redraws everything.
    Redraw,
    /// Live: starts a recording.
    Start,
    /// Live: stops the recording; pressed twice: at once.
    Stop,
    /// Live: toggles between a fixed number of runs and running until stopped.
    Loop,
    /// Live: toggles between lanes one after the other and lanes at the same time.
    Race,
    /// Live: chooses workloads.
    Workloads,
    /// Live: adds a function of the user's own.
    AddFunction,
    /// Live: chooses lanes.
    Lanes,
    /// Live, bills: chooses price models.
    Models,
    /// Selects the previous workload.
    PreviousWorkload,
    /// Selects the next workload.
    NextWorkload,
    /// Chooses cold or warm starts.
    StartKind,
    /// Toggles between bills so far and bills of a million invocations.
    Unit,
    /// Bills: lowers the memory.
    LessMemory,
    /// Bills: raises the memory.
    MoreMemory,
    /// Bills: lowers the number of requests a month.
    LessVolume,
    /// Bills: raises the number of requests a month.
    MoreVolume,
    /// Timeline: plays slower.
    Slower,
    /// Timeline: plays faster.
    Faster,
    /// Timeline, history: marks the first of two items to compare.
    Mark,
    /// Timeline, history: compares the marked item with the selected one.
    Compare,
    /// Timeline: overlays two whole lanes.
    Overlay,
    /// History: shows or hides simulations under their recording. Bills: groups by function, by
    /// cell or by price model.
    Fold,
    /// History: labels an item.
    Label,
    /// History: deletes an item.
    Delete,
    /// Host, history: reads again.
    Refresh,
}

/// Work to be done outside of the model.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Leaves the program.
    Quit,
    /// Suspends the program as Ctrl-Z does.
    Suspend,
    /// Captures the mouse, or leaves it to the terminal.
    Mouse(bool),
    /// Forgets what the terminal is believed to show, so that the next frame is
    /// drawn whole.
    Redraw,
    /// Sends a command to the session.
    Session(SessionCommand),
    /// Exports the current view.
    Export(super::export::ExportFormat),
    /// Sends a request to the worker of its screen.
    Query(ScreenRequest),
}
