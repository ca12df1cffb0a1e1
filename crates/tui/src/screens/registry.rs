//! Properties of all screens, made from one list.

use std::io;
use std::sync::Arc;

use ratatui::Frame;
use ratatui::layout::{Position, Rect};

use super::Screen;
use crate::action::{Effect, UserAction};
use crate::keymap::ScreenKey;
use crate::model::{Model, TuiSettings};
use crate::query_worker::{QueryContext, WorkerHandle};
use cyclometer_lanes::Cancel;
use cyclometer_report::Table;

/// Constants and functions of a screen, for callers that know only its
/// [`ScreenId`](super::ScreenId).
#[derive(Debug)]
pub(crate) struct ScreenFunctions {
    pub name: &'static str,
    pub config_name: &'static str,
    pub title: &'static str,
    pub legend: &'static str,
    pub keys: &'static [ScreenKey],
    pub shows_bill_parts: bool,
    pub entered: fn(&mut Model) -> Vec<Effect>,
    pub apply_action: fn(&mut Model, UserAction) -> Vec<Effect>,
    pub click: fn(&mut Model, Position) -> Vec<Effect>,
    pub lay_out: fn(&mut Model, Rect),
    pub tick: fn(&mut Model) -> Vec<Effect>,
    pub set_filter: fn(&mut Model, String),
    pub is_animated: fn(&Model) -> bool,
    pub render: fn(&mut Frame<'_>, Rect, &Model),
    pub table: fn(&Model) -> Table,
}

impl ScreenFunctions {
    /// Returns those of a screen.
    pub const fn of<S: Screen>(config_name: &'static str) -> Self {
        Self {
            name: S::NAME,
            config_name,
            title: S::TITLE,
            legend: S::LEGEND,
            keys: S::KEYS,
            shows_bill_parts: S::SHOWS_BILL_PARTS,
            entered: S::entered,
            apply_action: S::apply_action,
            click: S::click,
            tick: S::tick,
            set_filter: S::set_filter,
            is_animated: S::is_animated,
            lay_out: lay_out_screen::<S>,
            render: render_screen::<S>,
            table: S::table,
        }
    }
}

fn lay_out_screen<S: Screen>(model: &mut Model, area: Rect) {
    let layout = S::lay_out(model, area);
    S::keep_layout(model, layout);
}

/// Draws a screen into an area, which may be another than the one of the kept layout
/// while the terminal is being resized.
fn render_screen<S: Screen>(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    S::render(frame, &S::lay_out(model, area), model);
}

/// Starts the worker of a screen, if it has one.
///
/// # Errors
/// Fails when the system provides no thread.
pub(crate) fn spawn_worker<S: Screen>(
    thread: &str,
    settings: &Arc<TuiSettings>,
    tell: impl Fn(S::Response) -> bool + Send + 'static,
) -> io::Result<Option<WorkerHandle<S::Request>>> {
    let Some(answer) = S::ANSWER else { return Ok(None) };
    let context = QueryContext::new(Arc::clone(settings), Cancel::default());
    WorkerHandle::spawn(thread, context, answer, tell).map(Some)
}

/// Makes from a list of screens, in the order of their digits: [`ScreenId`],
/// the states of all screens, and the requests, responses, dialogs and workers of
/// each with their own types.
///
/// [`ScreenId`]: super::ScreenId
macro_rules! list_screens {
    ($($(#[$about:meta])* $id:ident: $module:ident::$state:ident,)+) => {
        /// Screen of the observatory.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ScreenId {
            $($(#[$about])* $id,)+
        }

        /// Functions of all screens, in the order of [`ScreenId`].
        static FUNCTIONS: [ScreenFunctions; ScreenId::ALL.len()] =
            [$(ScreenFunctions::of::<$module::$state>(stringify!($module))),+];

        impl ScreenId {
            /// All screens, in the order of their digits.
            pub const ALL: [Self; [$(stringify!($id)),+].len()] = [$(Self::$id),+];

            const fn functions(self) -> &'static ScreenFunctions {
                &FUNCTIONS[self as usize]
            }
        }

        /// States of all screens.
        #[derive(Debug, Default)]
        pub(crate) struct Screens {
            $($(#[$about])* pub $module: $module::$state,)+
        }

        /// Request to the worker of a screen.
        #[derive(Debug)]
        pub(crate) enum ScreenRequest {
            $($(#[$about])* $id(<$module::$state as Screen>::Request),)+
        }

        /// Response of the worker of a screen.
        #[derive(Debug)]
        pub(crate) enum ScreenResponse {
            $($(#[$about])* $id(Box<<$module::$state as Screen>::Response>),)+
        }

        impl ScreenResponse {
            /// Hands the response to its screen.
            pub fn apply_to(self, model: &mut Model) -> Vec<Effect> {
                match self {
                    $(Self::$id(response) => $module::$state::answered(model, *response),)+
                }
            }
        }

        /// Purpose of a dialog that a screen opened.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) enum ScreenDialog {
            $($(#[$about])* $id(<$module::$state as Screen>::Dialog),)+
        }

        impl ScreenDialog {
            /// Hands what the user answered to the screen.
            pub(crate) fn submit(&self, model: &mut Model, answer: DialogAnswer<'_>) -> Vec<Effect> {
                match self {
                    $(Self::$id(dialog) => {
                        $module::$state::submit_dialog(model, dialog, answer)
                    })+
                }
            }
        }

        $(impl ListedScreen for $module::$state {
            fn wrap_request(request: Self::Request) -> ScreenRequest {
                ScreenRequest::$id(request)
            }

            fn wrap_dialog(dialog: Self::Dialog) -> ScreenDialog {
                ScreenDialog::$id(dialog)
            }
        })+

        /// Workers of all screens that have one.
        pub(crate) struct QueryWorkers {
            $($module: Option<WorkerHandle<<$module::$state as Screen>::Request>>,)+
        }

        impl QueryWorkers {
            /// Starts all workers; `tell` passes a response on and returns whether
            /// anyone still listens.
            ///
            /// # Errors
            /// Fails when the system provides no thread.
            pub(crate) fn spawn_all(
                settings: &Arc<TuiSettings>,
                tell: impl Fn(ScreenResponse) -> bool + Clone + Send + 'static,
            ) -> io::Result<Self> {
                Ok(Self {
                    $($module: {
                        let tell = tell.clone();
                        spawn_worker::<$module::$state>(
                            stringify!($module),
                            settings,
                            move |response| tell(ScreenResponse::$id(Box::new(response))),
                        )?
                    },)+
                })
            }

            /// Sends a request to the worker of its screen.
            pub fn send_request(&self, request: ScreenRequest) {
                match request {
                    $(ScreenRequest::$id(request) => {
                        if let Some(worker) = &self.$module {
                            worker.send_request(request);
                        }
                    })+
                }
            }

            /// Shuts all workers down after their current requests; returns their
            /// threads.
            pub(crate) fn shut_down(self) -> Vec<JoinHandle<()>> {
                let workers = [$(self.$module.map(WorkerHandle::shut_down)),+];
                workers.into_iter().flatten().collect()
            }
        }
    };
}
pub(super) use list_screens;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::screens::bills::BillsState;
    use crate::screens::history::{HistoryRequest, HistoryState};
    use crate::screens::host::HostState;
    use crate::screens::live::{LiveRequest, LiveState};
    use crate::screens::timeline::{TimelineRequest, TimelineState};
    use crate::screens::{ListedScreen, QueryWorkers, ScreenId, ScreenResponse};
    use crate::testing;

    #[test]
    fn every_screen_has_the_functions_of_its_state() {
        // The order of the digits, as `docs/observatory.md` has it.
        let names = ["Live", "Bills", "Timeline", "History", "Host"];
        assert_eq!(ScreenId::ALL.map(ScreenId::name)[..5], names);
        let states = [
            LiveState::NAME,
            BillsState::NAME,
            TimelineState::NAME,
            HistoryState::NAME,
            HostState::NAME,
        ];
        assert_eq!(states, names);
        for screen in ScreenId::ALL {
            // Files of the configuration name screens like this.
            assert_eq!(screen.config_name(), screen.name().to_lowercase());
            assert!(!screen.title().is_empty() && !screen.legend().is_empty());
        }
    }

    #[test]
    fn a_frame_of_another_size_than_the_kept_layout_is_drawn_whole() {
        for screen in ScreenId::ALL {
            let mut model = testing::model((60, 16));
            model.screen = screen;
            let small = testing::text(&model);
            model.size = (200, 60);
            crate::frame::lay_out(&mut model);
            let mut terminal = ratatui::Terminal::new(ratatui::backend::TestBackend::new(60, 16));
            let terminal = terminal.as_mut().expect("memory");
            let frame = terminal.draw(|frame| crate::frame::render(frame, &model));
            let drawn = crate::screen_capture::to_text(frame.expect("drawn").buffer);
            assert_eq!(drawn.trim_end(), small.trim_end(), "{screen:?}");
        }
    }

    #[test]
    fn responses_come_from_the_worker_of_the_screen_that_asked() {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let settings = testing::model((80, 24)).settings;
        let tell = move |response| sender.send(response).is_ok();
        let workers = QueryWorkers::spawn_all(&settings, tell).expect("threads");
        let wait = || receiver.recv_timeout(Duration::from_mins(1)).expect("a response");
        for effect in [
            HistoryState::query(HistoryRequest::List { known: None }),
            TimelineState::query(TimelineRequest::Detail { id: 1 }),
            LiveState::query(LiveRequest::Complete { line: String::new(), images: Vec::new() }),
        ] {
            let Effect::Query(request) = effect else { panic!("not a query") };
            let asked = format!("{request:?}");
            workers.send_request(request);
            match wait() {
                ScreenResponse::History(_) => assert!(asked.starts_with("History("), "{asked}"),
                ScreenResponse::Live(_) => assert!(asked.starts_with("Live("), "{asked}"),
                ScreenResponse::Timeline(_) => assert!(asked.starts_with("Timeline("), "{asked}"),
                other => panic!("{asked} is answered with {other:?}"),
            }
        }
    }
}
