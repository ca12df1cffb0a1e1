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
mod bills;
mod desk;
mod detail;
mod draw;
mod layout;
mod ledger;
mod pair;
mod player;
mod recording;
mod spread;
mod strip;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ratatui::layout::{Position, Rect};

use crate::store::PlayedInvocation;
use crate::tui::action::{Action, Effect};
use crate::tui::frame;
use crate::tui::model::Model;
use crate::units::Nanos;

pub use desk::{Answer, Ask, answer};
pub use draw::draw;
pub use table::table;

use axis::Axis;
use bills::BillsAt;
use layout::{Layout, Track};
use ledger::{Carry, Ledger};
use pair::Pair;
use player::Player;
use recording::{PART, Played};
use spread::{Spread, What};
use strip::{Column, Whose};

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

/// How often a recording that runs is read anew.
const AGAIN: Nanos = Nanos(2_000_000_000);

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
    /// When the recording was read last, and how many invocations had ended.
    read: Option<(Nanos, u64)>,
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

/// Columns of the tracks, kept while what is in sight is the same.
#[derive(Debug, Default)]
struct Strips {
    of: Option<(usize, u64, Axis)>,
    columns: Vec<(Whose, Vec<Column>)>,
}

impl Strips {
    /// What a part is known by here.
    fn identity(played: &Played) -> (usize, u64) {
        (played.part, played.about.invocations ^ played.about.id.unsigned_abs().rotate_left(40))
    }

    /// The columns, if they are of this.
    fn columns(&self, played: &Played, whose: Whose, axis: Axis) -> Option<&[Column]> {
        let (part, state) = Self::identity(played);
        if self.of != Some((part, state, axis)) {
            return None;
        }
        let found = self.columns.iter().find(|(known, _)| *known == whose);
        found.map(|(_, columns)| columns.as_slice())
    }

    fn refresh(&mut self, played: &Played, layout: &Layout, axis: Axis) {
        let (part, state) = Self::identity(played);
        if self.of != Some((part, state, axis)) {
            self.columns.clear();
            self.of = Some((part, state, axis));
        }
        for (track, _) in &layout.tracks {
            let whose = match track {
                Track::Swim(whose) => *whose,
                Track::Cpu(lane) | Track::Memory(lane) => Whose { lane: *lane, cell: None },
            };
            if !self.columns.iter().any(|(known, _)| *known == whose) {
                let columns = strip::columns(played, whose, axis, Nanos(u64::MAX));
                self.columns.push((whose, columns));
            }
        }
    }
}

/// The screen comes into sight.
pub fn entered(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.timeline;
    let wanted = model.opened.or(model.snapshot.recording);
    let here = state.played.as_ref().map(|played| played.about.id);
    if here == wanted && wanted.is_some() {
        return if grown(model) { reload(model) } else { next(model) };
    }
    open(model, wanted)
}

/// Forgets what is shown and reads another recording.
fn open(model: &mut Model, recording: Option<i64>) -> Vec<Effect> {
    let state = &mut model.timeline;
    let already = recording.is_some() && state.loading.map(|it| it.recording) == recording;
    if already {
        return Vec::new();
    }
    let limit = state.limit;
    *state = State { limit, ..State::default() };
    match recording {
        Some(recording) => load(model, Loading { recording, part: 0, then: Then::End }),
        None => Vec::new(),
    }
}

/// Reads a part.
fn load(model: &mut Model, loading: Loading) -> Vec<Effect> {
    let done = model.snapshot.done;
    let state = &mut model.timeline;
    state.loading = Some(loading);
    state.read = Some((model.now, done));
    let Loading { recording, part, .. } = loading;
    if state.afters.is_empty() {
        state.afters.push((-1, 0));
    }
    let after = state.afters.get(part).copied().unwrap_or((-1, 0));
    let limit = state.limit.unwrap_or(PART);
    let before = part * limit;
    vec![Effect::Timeline(Ask::Load { recording, part, after, limit, before })]
}

/// Reads the part anew.
fn reload(model: &mut Model) -> Vec<Effect> {
    let state = &model.timeline;
    match (&state.played, state.loading) {
        (Some(played), None) => {
            let (recording, part) = (played.about.id, played.part);
            load(model, Loading { recording, part, then: Then::Stay })
        }
        _ => Vec::new(),
    }
}

/// Whether the recording that is shown has more by now.
fn grown(model: &Model) -> bool {
    let state = &model.timeline;
    let Some(played) = &state.played else { return false };
    let here = model.snapshot.recording == Some(played.about.id);
    let read = state.read.map_or(0, |(_, done)| done);
    here && (model.snapshot.done != read
        || (played.about.status == "running" && !model.snapshot.phase.is_active()))
}

/// Some time went by.
pub fn tick(model: &mut Model) -> Vec<Effect> {
    let wanted = model.recording();
    let shown = model.timeline.played.as_ref().map(|it| it.about.id);
    let loading = model.timeline.loading.map(|it| it.recording);
    if wanted != loading.or(shown) && (wanted.is_none() || model.timeline.error.is_none()) {
        return open(model, wanted);
    }
    let now = model.now;
    let state = &mut model.timeline;
    if state.player.playing() && state.loading.is_none() && state.player.advance(now) {
        let effects = turn(model, true);
        if !effects.is_empty() {
            return effects;
        }
        model.timeline.player.pause();
    }
    let state = &model.timeline;
    let due = state.read.is_none_or(|(at, _)| now.since(at) >= AGAIN);
    let idle = !state.player.playing() && state.player.at_end() && state.loading.is_none();
    if idle && due && grown(model) {
        return reload(model);
    }
    next(model)
}

/// Goes to the next part, or the one before; nothing if there is none.
fn turn(model: &mut Model, forward: bool) -> Vec<Effect> {
    let state = &mut model.timeline;
    let Some(played) = state.played.as_ref().filter(|_| state.loading.is_none()) else {
        return Vec::new();
    };
    let (recording, part) = (played.about.id, played.part);
    let loading = if forward {
        let Some(after) = played.next_after() else { return Vec::new() };
        state.afters.truncate(part + 1);
        state.afters.push(after);
        Loading { recording, part: part + 1, then: Then::Begin }
    } else {
        let Some(part) = part.checked_sub(1) else { return Vec::new() };
        Loading { recording, part, then: Then::End }
    };
    load(model, loading)
}

/// Keeps what is drawn in step, and asks for what is missing of the moment.
fn next(model: &mut Model) -> Vec<Effect> {
    let Some(played) = model.timeline.played.clone() else { return Vec::new() };
    keep_strips(model, &played);
    let mut effects = Vec::new();
    let models = model.live.models.clone();
    let state = &mut model.timeline;
    let current = state.ledger.as_ref().filter(|it| it.key == played.key && it.models == models);
    match current {
        None if !state.ledger_pending && !models.is_empty() && state.bills_error.is_none() => {
            if state.ledger.as_ref().is_some_and(|it| it.models != models) {
                state.carries.clear();
                state.bills = None;
            }
            state.ledger_pending = true;
            let (afters, carries) = (state.afters.clone(), state.carries.clone());
            let ask = Ask::Ledger { played: Arc::clone(&played), models, afters, carries };
            effects.push(Effect::Timeline(ask));
        }
        Some(ledger) if !state.bills_pending => {
            let at = state.player.position();
            if !state.bills.as_ref().is_some_and(|it| it.is_of(&played, at)) {
                state.bills_pending = true;
                let ended = played.ended(at);
                let (ledger, played) = (Arc::clone(ledger), Arc::clone(&played));
                effects.push(Effect::Timeline(Ask::Bills { ledger, played, ended, at }));
            }
        }
        _ => {}
    }
    let under = played.under(state.lane, state.player.position());
    let known = state.detail.as_ref().map(|it| it.row.invocation);
    if let Some(row) = under.filter(|row| Some(row.id) != known)
        && !state.detail_pending
        && state.detail_error.is_none()
    {
        state.detail_pending = true;
        effects.push(Effect::Timeline(Ask::Detail { id: row.id }));
    }
    effects
}

fn keep_strips(model: &mut Model, played: &Arc<Played>) {
    let body = frame::parts(Rect::new(0, 0, model.size.0, model.size.1)).body;
    let layout = Layout::new(body, model, played);
    let axis = layout.in_sight(model);
    model.timeline.strips.refresh(played, &layout, axis);
}

/// What an action does.
pub fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    if model.timeline.over.is_some()
        && let Some(effects) = act_over(model, action)
    {
        return effects;
    }
    let Some(played) = model.timeline.played.clone() else {
        return if action == Action::Refresh { retry(model) } else { Vec::new() };
    };
    let now = model.now;
    let state = &mut model.timeline;
    let lanes = played.about.lanes.len().max(1);
    let ends = (state.player.at_begin(), state.player.at_end());
    match action {
        Action::Left | Action::PageUp if ends.0 => return turned(model, false),
        Action::Right | Action::PageDown | Action::Last | Action::NextWorkload if ends.1 => {
            return turned(model, true);
        }
        Action::Left => state.player.step(-1, 20),
        Action::Right => state.player.step(1, 20),
        Action::PageUp => state.player.step(-1, 1),
        Action::PageDown => state.player.step(1, 1),
        Action::First => state.player.first(),
        Action::Last => state.player.last(),
        Action::Pause => state.player.toggle(now),
        Action::Slower => state.player.change_speed(false),
        Action::Faster => state.player.change_speed(true),
        Action::ZoomIn => state.player.zoom(true),
        Action::ZoomOut => state.player.zoom(false),
        Action::ZoomReset => state.player.zoom_reset(),
        Action::NextPanel | Action::Down => state.lane = (state.lane + 1) % lanes,
        Action::PreviousPanel | Action::Up => state.lane = (state.lane + lanes - 1) % lanes,
        Action::NextWorkload | Action::PreviousWorkload => {
            return neighbour(model, &played, action == Action::NextWorkload);
        }
        Action::Mark => mark(model, &played),
        Action::Compare => return compare(model, &played),
        Action::Overlay => return overlay(model, &played),
        Action::Enter => {
            model.overlay = detail::text(model, &played);
            if model.overlay.is_none() {
                model.say("nothing is known here yet");
            }
        }
        Action::Refresh => return retry(model),
        Action::Back => state.marked = None,
        _ => {}
    }
    next(model)
}

/// Reads anew, whatever failed before.
fn retry(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.timeline;
    state.bills_error = None;
    state.detail_error = None;
    state.error = None;
    if state.played.is_some() {
        return reload(model);
    }
    state.loading = None;
    let wanted = model.recording();
    open(model, wanted)
}

/// Goes to another part, or says that there is none.
fn turned(model: &mut Model, forward: bool) -> Vec<Effect> {
    let effects = turn(model, forward);
    if effects.is_empty() && model.timeline.loading.is_none() {
        model.say(if forward { "this is the end" } else { "this is the beginning" });
    }
    effects
}

/// To the end of the next invocation of the lane, or of the one before.
fn neighbour(model: &mut Model, played: &Played, forward: bool) -> Vec<Effect> {
    let state = &mut model.timeline;
    let at = state.player.position();
    let found =
        if forward { played.next_end(state.lane, at) } else { played.previous_end(state.lane, at) };
    match found {
        Some(end) => state.player.seek(end),
        None => {
            let effects = turn(model, forward);
            if effects.is_empty() {
                let lane = played.lane_name(model.timeline.lane);
                let which = if forward { "later" } else { "earlier" };
                model.say(format!("{lane} has no {which} invocation"));
            }
            return effects;
        }
    }
    next(model)
}

fn mark(model: &mut Model, played: &Played) {
    let state = &mut model.timeline;
    match played.under(state.lane, state.player.position()) {
        Some(row) => {
            let name = detail::title(played, row);
            state.marked = Some((row.id, name.clone()));
            let key = model.keymap.key_of(Action::Compare, model.screen).unwrap_or_default();
            model.say(format!("{name} is marked; {key} lays it over another"));
        }
        None => model.complain("there is no invocation here to be marked"),
    }
}

fn compare(model: &mut Model, played: &Played) -> Vec<Effect> {
    let key = model.keymap.key_of(Action::Mark, model.screen).unwrap_or_default();
    let state = &mut model.timeline;
    let under = played.under(state.lane, state.player.position()).map(|row| row.id);
    let of = match (&state.marked, under) {
        (None, _) => {
            model.complain(format!("mark one invocation first: {key}"));
            return Vec::new();
        }
        (Some(_), None) => {
            model.complain("there is no invocation here");
            return Vec::new();
        }
        (Some((marked, _)), Some(under)) if *marked == under => {
            model.complain("that is the marked one itself: go to another");
            return Vec::new();
        }
        (Some((marked, _)), Some(under)) => (*marked, under),
    };
    state.over = Some(Over::Pair { of, answer: None, selected: 0 });
    vec![Effect::Timeline(Ask::Pair { of, played: model.timeline.played.clone() })]
}

/// The selected lane and the next that ran the same as is under the cursor.
fn overlay(model: &mut Model, played: &Arc<Played>) -> Vec<Effect> {
    let state = &mut model.timeline;
    let Some(row) = played.under(state.lane, state.player.position()) else {
        model.complain("there is no invocation here: its workload would be compared");
        return Vec::new();
    };
    let after = match &state.over {
        Some(Over::Lanes { what, .. }) => what.lanes[1],
        _ => state.lane,
    };
    let Some(what) = spread::partner(played, row.cell(), after) else {
        let name = detail::title(played, row);
        model.complain(format!("no other lane ran what {name} is of"));
        return Vec::new();
    };
    state.over = Some(Over::Lanes { what: what.clone(), answer: None });
    vec![Effect::Timeline(Ask::Lanes { what, played: Arc::clone(played) })]
}

/// What an action does to what lies over the picture; `None`: as always.
fn act_over(model: &mut Model, action: Action) -> Option<Vec<Effect>> {
    let page = usize::from(model.size.1 / 2).max(1);
    let step = |selected: usize, last: usize| match action {
        Action::Down | Action::NextPanel => (selected + 1).min(last),
        Action::Up | Action::PreviousPanel => selected.saturating_sub(1),
        Action::PageDown => (selected + page).min(last),
        Action::PageUp => selected.saturating_sub(page),
        Action::First => 0,
        Action::Last => last,
        _ => selected,
    };
    match &mut model.timeline.over {
        _ if action == Action::Back => model.timeline.over = None,
        Some(Over::Lanes { .. }) if action == Action::Overlay => {
            let played = model.timeline.played.clone()?;
            return Some(overlay(model, &played));
        }
        Some(Over::Pair { answer: Some(Ok(pair)), selected, .. }) => {
            *selected = step(*selected, pair.rows.len().saturating_sub(1));
        }
        _ => {}
    }
    Some(Vec::new())
}

/// What a click does: in the picture it goes to that moment, and selects the
/// lane.
pub fn click(model: &mut Model, area: Rect, at: Position) -> Vec<Effect> {
    let state = &model.timeline;
    let Some(played) = state.played.clone().filter(|_| state.over.is_none()) else {
        return Vec::new();
    };
    let layout = Layout::new(area, model, &played);
    let axis = layout.in_sight(model);
    let hit = layout.tracks.iter().find(|(_, place)| place.contains(at));
    let lane = hit.map(|(track, _)| match track {
        Track::Swim(whose) => whose.lane,
        Track::Cpu(lane) | Track::Memory(lane) => *lane,
    });
    if let Some(lane) = lane {
        model.timeline.lane = lane;
    }
    let column = at.x.checked_sub(layout.axis.x + layout.gutter).filter(|it| *it < axis.width);
    if let Some(column) = column.filter(|_| hit.is_some() || layout.axis.contains(at)) {
        model.timeline.player.seek(Nanos(axis.middle(column)));
    }
    next(model)
}

/// The desk answered.
pub fn answered(model: &mut Model, answer: Answer) -> Vec<Effect> {
    match answer {
        Answer::Loaded { recording, part, result } => loaded(model, recording, part, result),
        Answer::Ledger { result } => {
            model.timeline.ledger_pending = false;
            entered_bills(model, result);
            next(model)
        }
        Answer::Bills { key, bills } => {
            let state = &mut model.timeline;
            state.bills_pending = false;
            // Of another part or other models: they are asked for anew.
            let same = state.ledger.as_ref().is_some_and(|it| it.key == key);
            if same {
                state.bills = Some(Arc::new(bills));
            }
            next(model)
        }
        Answer::Detail { id, result } => {
            let state = &mut model.timeline;
            state.detail_pending = false;
            match result {
                Ok(detail) if detail.row.invocation == id => state.detail = Some(Arc::new(detail)),
                Ok(_) => {}
                Err(error) => state.detail_error = Some(error),
            }
            next(model)
        }
        Answer::Pair { of, result } => {
            if let Some(Over::Pair { of: wanted, answer, .. }) = &mut model.timeline.over
                && *wanted == of
            {
                *answer = Some(result.map(Arc::new));
            }
            Vec::new()
        }
        Answer::Lanes { what, result } => {
            if let Some(Over::Lanes { what: wanted, answer }) = &mut model.timeline.over
                && *wanted == what
            {
                *answer = Some(result.map(Arc::new));
            }
            Vec::new()
        }
    }
}

fn entered_bills(model: &mut Model, result: Result<(Ledger, Vec<Arc<Carry>>), String>) {
    let models = &model.live.models;
    let state = &mut model.timeline;
    match result {
        // What is wanted has changed meanwhile.
        Ok((ledger, _)) if ledger.models != *models => {}
        Ok((ledger, carries)) => {
            let here = state.played.as_ref().is_some_and(|played| played.key == ledger.key);
            if here {
                state.carries = carries;
                state.ledger = Some(Arc::new(ledger));
            }
        }
        Err(error) => state.bills_error = Some(error),
    }
}

fn loaded(
    model: &mut Model,
    recording: i64,
    part: usize,
    result: Result<Played, String>,
) -> Vec<Effect> {
    let state = &mut model.timeline;
    let Some(loading) = state.loading.filter(|it| (it.recording, it.part) == (recording, part))
    else {
        return Vec::new();
    };
    state.loading = None;
    let played = match result {
        Ok(played) => Arc::new(played),
        Err(error) => {
            state.error = Some(error);
            state.player.pause();
            return Vec::new();
        }
    };
    state.error = None;
    let (begin, end) = (played.begin, played.end);
    match loading.then {
        // What was recorded late belonged into a part before: from the start.
        _ if played.part != part => {
            state.afters.truncate(1);
            state.carries.clear();
            state.player = Player::new(begin, end);
        }
        Then::Stay => state.player.grow(end),
        Then::Begin => state.player = state.player.in_part(begin, end, false),
        Then::End => state.player = state.player.in_part(begin, end, true),
    }
    state.lane = state.lane.min(played.about.lanes.len().saturating_sub(1));
    if state.played.is_none()
        && let Some(first) = played.rows.last()
    {
        state.lane = played.lane_of(first);
    }
    // Later invocations may overlap what was thought to be settled.
    if state.played.as_ref().is_some_and(|it| it.key.newest != played.key.newest) {
        state.carries.clear();
    }
    state.played = Some(played);
    state.detail_error = None;
    next(model)
}

/// Whether the picture changes by itself: it plays.
pub fn moves(model: &Model) -> bool {
    model.timeline.player.playing()
}
