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

mod axis;
#[cfg(test)]
mod bill_tests;
mod bills;
mod control;
mod desk;
mod detail;
mod draw;
#[cfg(test)]
mod fixture;
mod layout;
mod ledger;
mod pair;
#[cfg(test)]
mod pictures;
mod player;
mod reading;
mod recording;
mod spread;
mod strip;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use cyclometer_core::units::Nanos;
use cyclometer_store::PlayedInvocation;

pub use control::{act, click};
pub use desk::{Answer, Ask, answer};
pub use draw::draw;
pub use reading::{answered, entered, tick};
pub use table::table;

use bills::BillsAt;
use ledger::{Carry, Ledger};
use pair::Pair;
use player::Player;
use recording::Played;
use spread::{Spread, What};
use strip::Strips;

/// Explanation of the picture, shown in the help.
pub const LEGEND: &str = "A line a lane, or a workload of it, on one axis of time: dashes are \
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
pub struct State {
    /// Part that is in memory.
    played: Option<Arc<Played>>,
    /// Error of the last attempt to read a part.
    error: Option<String>,
    /// Part that is being read, and where to seek afterwards.
    loading: Option<Loading>,
    /// Current moment, speed and visible time.
    player: Player,
    /// Index of the selected lane.
    lane: usize,
    /// Cached columns of the visible tracks.
    strips: Strips,
    /// Bills of the part.
    ledger: Option<Arc<Ledger>>,
    /// Whether the bills of the part are being computed.
    ledger_pending: bool,
    /// Bills of the earlier parts, for the same models.
    carries: Vec<Arc<Carry>>,
    bills: Option<Arc<BillsAt>>,
    bills_pending: bool,
    bills_error: Option<String>,
    detail: Option<Arc<PlayedInvocation>>,
    detail_pending: bool,
    detail_error: Option<String>,
    /// Id and name of the marked invocation.
    marked: Option<(i64, String)>,
    /// Overlay that is open.
    over: Option<Over>,
    /// Beginnings of the parts so far: end and id of the invocation before each.
    afters: Vec<(i64, i64)>,
    /// Time of the last read, the number of invocations that had ended by then, and
    /// whether the recording was still running.
    read: Option<(Nanos, (u64, bool))>,
    /// Most invocations of a part, set only in tests.
    limit: Option<usize>,
}

/// Part that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Loading {
    recording: i64,
    part: usize,
    then: Then,
}

/// Position after a part was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Unchanged: the recording has grown.
    Stay,
    /// Beginning of the part.
    Begin,
    /// End of the part.
    End,
}

/// Overlay of two invocations or two lanes.
#[derive(Debug)]
enum Over {
    /// Two invocations.
    Pair { of: (i64, i64), answer: Option<Result<Arc<Pair>, String>>, selected: usize },
    /// Two lanes.
    Lanes { what: What, answer: Option<Result<Arc<Spread>, String>> },
}

/// Whether the screen changes by itself, during playback.
pub const fn moves(model: &crate::model::Model) -> bool {
    model.timeline.player.playing()
}
