//! Loading of the timeline: requests the parts of the recording and the data of the
//! current moment, and handles the responses.

use std::sync::Arc;

use ratatui::layout::Rect;

use super::desk::{Answer, Ask};
use super::layout::Layout;
use super::ledger::{Carry, Ledger};
use super::player::Player;
use super::recording::{PART, Played};
use super::{Loading, Over, State, Then};
use crate::action::Effect;
use crate::frame;
use crate::model::Model;
use cyclometer_core::units::Nanos;

/// Interval in which a running recording is read again.
const AGAIN: Nanos = Nanos(2_000_000_000);

/// Handles that the screen comes into view.
pub fn entered(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.timeline;
    let wanted = model.opened.or(model.snapshot.recording);
    let here = state.played.as_ref().map(|played| played.about.id);
    if here == wanted && wanted.is_some() {
        return if grown(model) { reload(model) } else { next(model) };
    }
    open(model, wanted)
}

/// Discards the current recording and reads another one.
pub(super) fn open(model: &mut Model, recording: Option<i64>) -> Vec<Effect> {
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

/// Requests a part.
fn load(model: &mut Model, loading: Loading) -> Vec<Effect> {
    let now = (model.snapshot.done, model.snapshot.phase.is_active());
    let state = &mut model.timeline;
    state.loading = Some(loading);
    state.read = Some((model.now, now));
    let Loading { recording, part, .. } = loading;
    if state.afters.is_empty() {
        state.afters.push((-1, 0));
    }
    let after = state.afters.get(part).copied().unwrap_or((-1, 0));
    let limit = state.limit.unwrap_or(PART);
    let before = part * limit;
    vec![Effect::Timeline(Ask::Load { recording, part, after, limit, before })]
}

/// Requests the current part again.
pub(super) fn reload(model: &mut Model) -> Vec<Effect> {
    let state = &model.timeline;
    match (&state.played, state.loading) {
        (Some(played), None) => {
            let (recording, part) = (played.about.id, played.part);
            load(model, Loading { recording, part, then: Then::Stay })
        }
        _ => Vec::new(),
    }
}

/// Whether the recording has grown since it was read.
fn grown(model: &Model) -> bool {
    let state = &model.timeline;
    let Some(played) = &state.played else { return false };
    let here = model.snapshot.recording == Some(played.about.id);
    let now = (model.snapshot.done, model.snapshot.phase.is_active());
    here && state.read.is_none_or(|(_, read)| read != now)
}

/// Handles the passage of time.
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

/// Requests the next or the previous part; returns nothing if there is none.
pub(super) fn turn(model: &mut Model, forward: bool) -> Vec<Effect> {
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

/// Updates the cached columns, and requests the data that is missing for the current
/// moment.
pub(super) fn next(model: &mut Model) -> Vec<Effect> {
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

/// Handles a response of the query worker.
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
            // Bills of another part or other models are requested again.
            let same = state.ledger.as_ref().is_some_and(|it| it.key == key);
            if same {
                state.bills = Some(bills);
            }
            next(model)
        }
        Answer::Detail { id, result } => {
            let state = &mut model.timeline;
            state.detail_pending = false;
            match result {
                Ok(detail) if detail.row.invocation == id => state.detail = Some(detail),
                Ok(_) => {}
                Err(error) => state.detail_error = Some(error),
            }
            next(model)
        }
        Answer::Pair { of, result } => {
            if let Some(Over::Pair { of: wanted, answer, .. }) = &mut model.timeline.over
                && *wanted == of
            {
                *answer = Some(result);
            }
            Vec::new()
        }
        Answer::Lanes { what, result } => {
            if let Some(Over::Lanes { what: wanted, answer }) = &mut model.timeline.over
                && *wanted == what
            {
                *answer = Some(result);
            }
            Vec::new()
        }
    }
}

fn entered_bills(model: &mut Model, result: Result<(Arc<Ledger>, Vec<Arc<Carry>>), String>) {
    let models = &model.live.models;
    let state = &mut model.timeline;
    match result {
        // The chosen models have changed in the meantime.
        Ok((ledger, _)) if ledger.models != *models => {}
        Ok((ledger, carries)) => {
            let here = state.played.as_ref().is_some_and(|played| played.key == ledger.key);
            if here {
                state.carries = carries;
                state.ledger = Some(ledger);
            }
        }
        Err(error) => state.bills_error = Some(error),
    }
}

fn loaded(
    model: &mut Model,
    recording: i64,
    part: usize,
    result: Result<Arc<Played>, String>,
) -> Vec<Effect> {
    let state = &mut model.timeline;
    let Some(loading) = state.loading.filter(|it| (it.recording, it.part) == (recording, part))
    else {
        return Vec::new();
    };
    state.loading = None;
    let played = match result {
        Ok(played) => played,
        Err(error) => {
            state.error = Some(error);
            state.player.pause();
            return Vec::new();
        }
    };
    state.error = None;
    let (begin, end) = (played.begin, played.end);
    match loading.then {
        // A late invocation belonged to an earlier part: start from the beginning
        // again.
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
    // Later invocations may overlap those that were taken as settled.
    if state.played.as_ref().is_some_and(|it| it.key.newest != played.key.newest) {
        state.carries.clear();
    }
    state.played = Some(played);
    state.detail_error = None;
    next(model)
}
