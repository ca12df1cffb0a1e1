//! What a person can ask for, and what the program has to do about it.

use super::screens::Screen;
use super::screens::{bills, history, host, timeline};
use super::session::Wish;

/// Something a person wants. Keys are bound to actions in [`super::keymap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Leave the program.
    Quit,
    /// Stop the program as a shell does with Ctrl-Z.
    Suspend,
    /// Close what lies above, or go back.
    Back,
    /// Show the keys.
    Help,
    /// Go to a screen.
    Go(Screen),
    /// The next panel, or lane.
    NextPanel,
    /// The one before.
    PreviousPanel,
    /// Up by one.
    Up,
    /// Down by one.
    Down,
    /// To the left; in time: back.
    Left,
    /// To the right; in time: on.
    Right,
    /// Up by a page.
    PageUp,
    /// Down by a page.
    PageDown,
    /// To the first.
    First,
    /// To the last.
    Last,
    /// Open, explain or agree to what is selected.
    Enter,
    /// Freeze the view, or play and pause.
    Pause,
    /// Ask for a filter.
    Filter,
    /// Sort by the next column.
    Sort,
    /// Turn the order round.
    Reverse,
    /// Look closer.
    ZoomIn,
    /// Look from further away.
    ZoomOut,
    /// Look as at first.
    ZoomReset,
    /// Write the view to a file.
    Export,
    /// Mouse on and off.
    Mouse,
    /// Draw everything anew.
    Redraw,
    /// Live: start a recording.
    Start,
    /// Live: stop it; twice: at once.
    Stop,
    /// Live: once, or until stopped.
    Loop,
    /// Live: lanes one after the other, or at the same time.
    Race,
    /// Live: choose workloads.
    Workloads,
    /// Live: choose lanes.
    Lanes,
    /// Live, bills: choose price models.
    Models,
    /// The workload before.
    PreviousWorkload,
    /// The next workload.
    NextWorkload,
    /// Cold or warm starts.
    StartKind,
    /// Bills so far, or of a million.
    Unit,
    /// Bills: less memory.
    LessMemory,
    /// Bills: more memory.
    MoreMemory,
    /// Bills: fewer requests a month.
    LessVolume,
    /// Bills: more requests a month.
    MoreVolume,
    /// Timeline: slower.
    Slower,
    /// Timeline: faster.
    Faster,
    /// Timeline, history: mark one of two.
    Mark,
    /// Timeline, history: the marked one beside the selected one.
    Compare,
    /// Timeline: whole lanes over each other.
    Overlay,
    /// History: simulations under their recording, shown or hidden.
    Fold,
    /// History: name.
    Label,
    /// History: delete.
    Delete,
    /// Host, history: read anew.
    Refresh,
}

/// What is to be done outside of the model.
#[derive(Debug)]
pub enum Effect {
    /// Leave.
    Quit,
    /// Stop like any program at Ctrl-Z.
    Suspend,
    /// Take the mouse, or leave it to the terminal.
    Mouse(bool),
    /// Forget what the terminal is believed to show.
    Redraw,
    /// Tell the session.
    Session(Wish),
    /// Write the current view.
    Export(super::export::Form),
    /// Ask the desk of bills.
    Bills(bills::Ask),
    /// Ask the desk of recordings played back.
    Timeline(timeline::Ask),
    /// Ask the desk of history.
    History(history::Ask),
    /// Ask the desk of the machine.
    Host(host::Ask),
}
