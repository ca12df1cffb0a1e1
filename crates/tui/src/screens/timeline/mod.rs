//! The timeline screen: plays back a recording.
//!
//! ```text
//! ┌ paused 1x · 12.3 s of 60.2 s ────────────────────────┐
//! │ what ran when, lane by lane      │ the moment        │
//! │ CPUs in use, memory              │                   │
//! │ time axis                        ▲                   │
//! ├ native nop cold #3 ──────────────────────────────────┤
//! │ the invocation under the cursor  its samples         │
//! ├ bills at 12.3 s ─────────────────────────────────────┤
//! │ models x lanes, ratio, what the coarse bill is for   │
//! └──────────────────────────────────────────────────────┘
//! ```
//!
//! A recording is read in parts, one of which is in memory. The query worker computes
//! the bills and reads the samples of the current moment. Only one request of each kind
//! is pending at a time; its response triggers the request for the moment that is
//! current by then.

mod bill_panel;
#[cfg(test)]
mod bill_tests;
mod draw;
mod export;
#[cfg(test)]
mod fixture;
mod input;
mod invocation_overlay;
mod invocation_panel;
mod keys;
mod lane_columns;
mod lane_overlay;
mod layout;
mod loading;
#[cfg(test)]
mod pictures;
mod player;
mod queries;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod time_axis;

use std::convert::Infallible;
use std::sync::Arc;

use ratatui::Frame;
use ratatui::layout::{Position, Rect};

use crate::action::{Effect, UserAction};
use crate::keymap::ScreenKey;
use crate::model::Model;
use crate::overlay::DialogAnswer;
use crate::screens::{AnswerFunction, Screen};
use cyclometer_core::units::Nanos;
use cyclometer_replay::CarriedBills;
use cyclometer_report::Table;
use cyclometer_store::{PartBills, PlaybackInvocation, PlayedPart};

pub use queries::{FailedBills, TimelineRequest, TimelineResponse};

use bill_panel::BillsAtMoment;
use invocation_overlay::InvocationOverlay;
use lane_columns::ColumnCache;
use lane_overlay::{ComparedLanes, LaneOverlay};
use layout::TimelineLayout;
use player::Player;

/// Explanation of the picture, shown in the help.
const LEGEND: &str = "A line a lane, or a workload of it, on one axis of time: dashes are \
    start-up, the heavy line is a run, a cross is where one ended that failed or was cut off; \
    from three invocations in a column on, its height is how many there are. What is right of \
    the cursor had not happened yet and is only dotted. CPU is CPUs in use: CPU time of an \
    invocation is spread evenly over it. mem is the largest peak of those under way. Below: the \
    newest invocation of the selected lane that had begun, and its samples; cycles: r ticks of \
    the time-stamp counter, e estimated from CPU time, u user mode only. Bills are at list \
    prices, of exactly the invocations that had ended. Long recordings are read in parts: going \
    on past an end reads the next. In overlays a is the marked invocation or the selected lane, \
    b the other, * both. - is missing: enter says why.";

/// State of the timeline screen.
#[derive(Debug, Default)]
pub(crate) struct TimelineState {
    /// Part that is in memory.
    played: Option<Arc<PlayedPart>>,
    /// Error of the last attempt to read a part.
    error: Option<String>,
    /// Part that is being read, and where to seek afterwards.
    loading: Option<PendingLoad>,
    /// Current moment, speed and visible time.
    player: Player,
    /// Index of the selected lane.
    lane: usize,
    /// Cached columns of the visible tracks.
    column_cache: ColumnCache,
    /// Bills of the part.
    checkpoints: Option<Arc<PartBills>>,
    /// Whether the bills of the part are being computed.
    checkpoints_pending: bool,
    /// Bills of the earlier parts, for the same models.
    carried_bills: Vec<Arc<CarriedBills>>,
    bills: Option<Arc<BillsAtMoment>>,
    bills_pending: bool,
    bills_error: Option<FailedBills>,
    detail: Option<Arc<PlaybackInvocation>>,
    detail_pending: bool,
    /// Id of the invocation that could not be read, and why.
    detail_error: Option<(i64, String)>,
    /// Id and name of the marked invocation.
    marked: Option<(i64, String)>,
    /// Overlay that is open.
    overlay: Option<TimelineOverlay>,
    /// Beginnings of the parts so far: end and id of the invocation before each.
    part_starts: Vec<(i64, i64)>,
    /// Time of the last read, the number of invocations that had ended by then, and
    /// whether the recording was still running.
    last_read: Option<(Nanos, (u64, bool))>,
    /// Most invocations of a part, set only in tests.
    part_limit: Option<usize>,
    /// Layout of the last frame.
    layout: TimelineLayout,
}

/// Part that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PendingLoad {
    recording: i64,
    part: usize,
    then: PositionAfterLoad,
}

/// Position after a part was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PositionAfterLoad {
    /// Unchanged: the recording has grown.
    Stay,
    /// Beginning of the part.
    Begin,
    /// End of the part.
    End,
}

/// Overlay of two invocations or two lanes.
#[derive(Debug)]
enum TimelineOverlay {
    /// Two invocations.
    Invocations {
        of: (i64, i64),
        answer: Option<Result<Arc<InvocationOverlay>, String>>,
        selected: usize,
    },
    /// Two lanes.
    Lanes { what: ComparedLanes, answer: Option<Result<Arc<LaneOverlay>, String>> },
}

impl Screen for TimelineState {
    const NAME: &'static str = "Timeline";
    const TITLE: &'static str = "timeline";
    const LEGEND: &'static str = LEGEND;
    const KEYS: &'static [ScreenKey] = keys::KEYS;

    type Request = TimelineRequest;
    type Response = TimelineResponse;
    type Layout = TimelineLayout;
    type Dialog = Infallible;

    const ANSWER: Option<AnswerFunction<Self>> = Some(queries::answer);

    fn answered(model: &mut Model, response: TimelineResponse) -> Vec<Effect> {
        loading::handle_response(model, response)
    }

    fn entered(model: &mut Model) -> Vec<Effect> {
        loading::enter(model)
    }

    fn tick(model: &mut Model) -> Vec<Effect> {
        loading::advance(model)
    }

    fn apply_action(model: &mut Model, action: UserAction) -> Vec<Effect> {
        input::apply_action(model, action)
    }

    fn click(model: &mut Model, at: Position) -> Vec<Effect> {
        input::click(model, at)
    }

    fn is_animated(model: &Model) -> bool {
        model.screens.timeline.player.is_playing()
    }

    fn lay_out(model: &Model, area: Rect) -> TimelineLayout {
        match &model.screens.timeline.played {
            Some(played) => TimelineLayout::new(area, model, played),
            None => TimelineLayout { whole: area, ..TimelineLayout::default() },
        }
    }

    fn keep_layout(model: &mut Model, layout: TimelineLayout) {
        let axis = layout.visible_axis(model);
        let state = &mut model.screens.timeline;
        if let Some(played) = &state.played {
            state.column_cache.compute_missing(played, &layout, axis);
        }
        state.layout = layout;
    }

    fn render(frame: &mut Frame<'_>, layout: &TimelineLayout, model: &Model) {
        draw::render(frame, layout, model);
    }

    fn table(model: &Model) -> Table {
        export::export_table(model)
    }

    fn submit_dialog(_: &mut Model, dialog: &Infallible, _: DialogAnswer<'_>) -> Vec<Effect> {
        match *dialog {}
    }
}
