//! Screens of the observatory: what each of them is ([`Screen`]), and the list of
//! them ([`ScreenId`]).

pub mod bills;
pub mod history;
pub mod host;
pub mod live;
mod registry;
pub mod timeline;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use ratatui::Frame;
use ratatui::layout::{Position, Rect};

use super::action::{Effect, UserAction};
use super::keymap::ScreenKey;
use super::model::{Model, TuiSettings};
use super::overlay::{DialogAnswer, DialogPurpose};
use super::query_worker::{QueryContext, QueryRequest, WorkerHandle};
use cyclometer_report::Table;
use registry::{ScreenFunctions, list_screens, spawn_worker};

list_screens! {
    /// Recording that runs now.
    Live: live::LiveState,
    /// Bills of price models beside lanes.
    Bills: bills::BillsState,
    /// Timeline of a recording that is played back.
    Timeline: timeline::TimelineState,
    /// History of recordings and simulations.
    History: history::HistoryState,
    /// Host machine.
    Host: host::HostState,
}

/// Function that computes the response to a request of a screen, on the thread of its
/// worker.
pub(crate) type AnswerFunction<S> =
    fn(&mut QueryContext, <S as Screen>::Request) -> <S as Screen>::Response;

/// Screen, implemented by its state, which is a part of the model. Its functions
/// get the whole model, since an action can show a notice, open an overlay or
/// go to another screen.
pub(crate) trait Screen: Debug + Default + 'static {
    /// Name in its tab and, in lower case, in the names of exported files.
    const NAME: &'static str;
    /// Description in the help.
    const TITLE: &'static str;
    /// Explanation of what is shown, for the help.
    const LEGEND: &'static str;
    /// Keys that mean something on this screen alone.
    const KEYS: &'static [ScreenKey];
    /// Whether the help explains the parts of a bill.
    const SHOWS_BILL_PARTS: bool = false;

    /// Request to its worker; [`Infallible`](std::convert::Infallible) without one.
    type Request: QueryRequest + Debug;
    /// Response of its worker.
    type Response: Debug + Send + 'static;
    /// Areas of its parts.
    type Layout: Debug + Default + 'static;
    /// Purpose of its dialogs: prompts, choices and confirmations, except those
    /// that every screen has.
    type Dialog: Debug + Clone + PartialEq + Eq;

    /// Function that computes a response on the worker's thread; `None`: the
    /// screen has no worker.
    const ANSWER: Option<AnswerFunction<Self>>;

    /// Handles a response of the worker.
    fn answered(model: &mut Model, response: Self::Response) -> Vec<Effect>;

    /// Handles that the screen comes into sight.
    fn entered(_model: &mut Model) -> Vec<Effect> {
        Vec::new()
    }

    /// Advances whatever moves by itself; called for every frame.
    fn tick(_model: &mut Model) -> Vec<Effect> {
        Vec::new()
    }

    /// Applies an action.
    fn apply_action(model: &mut Model, action: UserAction) -> Vec<Effect>;

    /// Handles a click; the kept layout says what was hit.
    fn click(model: &mut Model, at: Position) -> Vec<Effect>;

    /// Shows only what contains these words, given in lower case.
    fn set_filter(_model: &mut Model, _words: String) {}

    /// Handles what the user answered in a dialog of this screen.
    fn submit_dialog(
        model: &mut Model,
        dialog: &Self::Dialog,
        answer: DialogAnswer<'_>,
    ) -> Vec<Effect>;

    /// Returns whether the screen changes without input.
    fn is_animated(_model: &Model) -> bool {
        false
    }

    /// Divides an area into the parts of the screen.
    fn lay_out(model: &Model, area: Rect) -> Self::Layout;

    /// Keeps the layout of the next frame. Actions and clicks that come after the
    /// frame refer to it: how long a page is, and what is where.
    fn keep_layout(model: &mut Model, layout: Self::Layout);

    /// Draws the screen.
    fn render(frame: &mut Frame<'_>, layout: &Self::Layout, model: &Model);

    /// Returns the figures of the screen, for an export as CSV or JSON.
    fn table(model: &Model) -> Table;
}

/// Screen that is in the list, which alone implements this.
pub(crate) trait ListedScreen: Screen {
    /// Marks a request as one of this screen.
    fn wrap_request(request: Self::Request) -> ScreenRequest;

    /// Marks a dialog as one of this screen.
    fn wrap_dialog(dialog: Self::Dialog) -> ScreenDialog;

    /// Returns the effect that sends a request to the worker of this screen.
    fn query(request: Self::Request) -> Effect {
        Effect::Query(Self::wrap_request(request))
    }

    /// Returns the purpose of an overlay whose answer this screen gets.
    fn purpose(dialog: Self::Dialog) -> DialogPurpose {
        DialogPurpose::Screen(Self::wrap_dialog(dialog))
    }
}

impl ScreenId {
    /// Returns the name of the screen.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.functions().name
    }

    /// Returns the name of the screen in the configuration.
    #[must_use]
    pub(crate) const fn config_name(self) -> &'static str {
        self.functions().config_name
    }

    /// Returns the description of the screen in the help.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.functions().title
    }

    /// Returns the explanation of what the screen shows.
    #[must_use]
    pub(crate) const fn legend(self) -> &'static str {
        self.functions().legend
    }

    /// Returns the keys that mean something on this screen alone.
    #[must_use]
    pub const fn keys(self) -> &'static [ScreenKey] {
        self.functions().keys
    }

    /// Returns whether the help of the screen explains the parts of a bill.
    #[must_use]
    pub(crate) const fn shows_bill_parts(self) -> bool {
        self.functions().shows_bill_parts
    }
}

/// Handles that the screen comes into sight.
pub fn entered(model: &mut Model) -> Vec<Effect> {
    (model.screen.functions().entered)(model)
}

/// Applies an action to the screen in sight.
pub(crate) fn apply_action(model: &mut Model, action: UserAction) -> Vec<Effect> {
    (model.screen.functions().apply_action)(model, action)
}

/// Handles a click on the screen in sight.
pub(crate) fn click(model: &mut Model, at: Position) -> Vec<Effect> {
    (model.screen.functions().click)(model, at)
}

/// Advances whatever moves by itself; called for every frame.
pub fn tick(model: &mut Model) -> Vec<Effect> {
    (model.screen.functions().tick)(model)
}

/// Shows only what contains these words, given in lower case, on the screen in
/// sight.
pub(crate) fn set_filter(model: &mut Model, words: String) {
    (model.screen.functions().set_filter)(model, words);
}

/// Returns whether the screen in sight changes without input.
pub(crate) fn is_animated(model: &Model) -> bool {
    (model.screen.functions().is_animated)(model)
}

/// Lays the screen in sight out in an area, and keeps its layout.
pub fn lay_out(model: &mut Model, area: Rect) {
    (model.screen.functions().lay_out)(model, area);
}

/// Draws the screen in sight.
pub fn render(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    (model.screen.functions().render)(frame, area, model);
}

/// Returns the figures of the screen in sight, for an export as CSV or JSON.
pub fn table(model: &Model) -> Table {
    (model.screen.functions().table)(model)
}
