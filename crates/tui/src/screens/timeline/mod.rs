//! The timeline: a recording played back.
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
//! A recording is read in parts; a part is in memory. Bills and samples of the
//! moment are worked out by the desk: one question of a kind at a time, and
//! when its answer comes, that of where one is by then.

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

/// What help says of the figures.
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

/// What the screen remembers.
#[derive(Debug, Default)]
pub struct State {
    /// The part that is in memory.
    played: Option<Arc<Played>>,
    /// Why it could not be read.
    error: Option<String>,
    /// Recording and part that are being read, and where to go then.
    loading: Option<Loading>,
    /// Where one is.
    player: Player,
    /// The selected lane.
    lane: usize,
    /// Columns of what is in sight.
    strips: Strips,
    /// Bills of the part.
    ledger: Option<Arc<Ledger>>,
    /// Whether they are being worked out.
    ledger_pending: bool,
    /// What the parts before came to, for the same models.
    carries: Vec<Arc<Carry>>,
    bills: Option<Arc<BillsAt>>,
    bills_pending: bool,
    bills_error: Option<String>,
    detail: Option<Arc<PlayedInvocation>>,
    detail_pending: bool,
    detail_error: Option<String>,
    /// The marked invocation and what it is called.
    marked: Option<(i64, String)>,
    /// What is laid over each other.
    over: Option<Over>,
    /// Where the parts before begin: end and number of the invocation before.
    afters: Vec<(i64, i64)>,
    /// When the recording was read last, how many invocations had ended, and
    /// whether it ran.
    read: Option<(Nanos, (u64, bool))>,
    /// Invocations of a part; other than usual in tests.
    limit: Option<usize>,
}

/// A part that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Loading {
    recording: i64,
    part: usize,
    then: Then,
}

/// Where one is once a part is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// As before: the recording has grown.
    Stay,
    /// At its beginning.
    Begin,
    /// At its end.
    End,
}

/// What is laid over each other.
#[derive(Debug)]
enum Over {
    /// Two invocations.
    Pair { of: (i64, i64), answer: Option<Result<Arc<Pair>, String>>, selected: usize },
    /// Two lanes.
    Lanes { what: What, answer: Option<Result<Arc<Spread>, String>> },
}

/// Whether the picture changes by itself: it plays.
pub const fn moves(model: &crate::model::Model) -> bool {
    model.timeline.player.playing()
}
