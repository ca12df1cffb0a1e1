//! Loading of the timeline: requests the parts of the recording and the data of the
//! current moment, and handles the responses.

use std::sync::Arc;

use super::player::Player;
use super::queries::{TimelineRequest, TimelineResponse};
use super::{FailedBills, PendingLoad, PositionAfterLoad, TimelineOverlay, TimelineState};
use crate::action::Effect;
use crate::model::Model;
use crate::screens::ListedScreen;
use cyclometer_core::units::Nanos;
use cyclometer_replay::CarriedBills;
use cyclometer_store::PartBills;
use cyclometer_store::{MAX_PART_INVOCATIONS, PlayedPart};

/// Interval in which a running recording is read again.
const REREAD_INTERVAL: Nanos = Nanos(2_000_000_000);

/// Handles that the screen comes into view.
pub(super) fn enter(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.screens.timeline;
    let wanted = model.opened.or(model.snapshot.recording);
    let here = state.played.as_ref().map(|played| played.about.id);
    if here == wanted && wanted.is_some() {
        return if has_grown(model) { reload_part(model) } else { request_missing(model) };
    }
    open_recording(model, wanted)
}

/// Discards the current recording and reads another one.
pub(super) fn open_recording(model: &mut Model, recording: Option<i64>) -> Vec<Effect> {
    let state = &mut model.screens.timeline;
    let already = recording.is_some() && state.loading.map(|it| it.recording) == recording;
    if already {
        return Vec::new();
    }
    let limit = state.part_limit;
    *state = TimelineState { part_limit: limit, ..TimelineState::default() };
    match recording {
        Some(recording) => {
            request_part(model, PendingLoad { recording, part: 0, then: PositionAfterLoad::End })
        }
        None => Vec::new(),
    }
}

/// Requests a part.
fn request_part(model: &mut Model, loading: PendingLoad) -> Vec<Effect> {
    let now = (model.snapshot.done, model.snapshot.phase.is_active());
    let state = &mut model.screens.timeline;
    state.loading = Some(loading);
    state.last_read = Some((model.now, now));
    let PendingLoad { recording, part, .. } = loading;
    if state.part_starts.is_empty() {
        state.part_starts.push((-1, 0));
    }
    let after = state.part_starts.get(part).copied().unwrap_or((-1, 0));
    let limit = state.part_limit.unwrap_or(MAX_PART_INVOCATIONS);
    let before = part * limit;
    vec![TimelineState::query(TimelineRequest::LoadPart { recording, part, after, limit, before })]
}

/// Requests the current part again.
pub(super) fn reload_part(model: &mut Model) -> Vec<Effect> {
    let state = &model.screens.timeline;
    match (&state.played, state.loading) {
        (Some(played), None) => {
            let (recording, part) = (played.about.id, played.part);
            request_part(model, PendingLoad { recording, part, then: PositionAfterLoad::Stay })
        }
        _ => Vec::new(),
    }
}

/// Whether the recording has grown since it was read.
fn has_grown(model: &Model) -> bool {
    let state = &model.screens.timeline;
    let Some(played) = &state.played else { return false };
    let here = model.snapshot.recording == Some(played.about.id);
    let now = (model.snapshot.done, model.snapshot.phase.is_active());
    here && state.last_read.is_none_or(|(_, read)| read != now)
}

/// Handles the passage of time.
pub(super) fn advance(model: &mut Model) -> Vec<Effect> {
    let wanted = model.shown_recording();
    let shown = model.screens.timeline.played.as_ref().map(|it| it.about.id);
    let loading = model.screens.timeline.loading.map(|it| it.recording);
    if wanted != loading.or(shown) && (wanted.is_none() || model.screens.timeline.error.is_none()) {
        return open_recording(model, wanted);
    }
    let now = model.now;
    let state = &mut model.screens.timeline;
    if state.player.is_playing() && state.loading.is_none() && state.player.advance_to(now) {
        let effects = load_adjacent_part(model, true);
        if !effects.is_empty() {
            return effects;
        }
        model.screens.timeline.player.pause();
    }
    let state = &model.screens.timeline;
    let due = state.last_read.is_none_or(|(at, _)| now.saturating_since(at) >= REREAD_INTERVAL);
    let idle = !state.player.is_playing() && state.player.is_at_end() && state.loading.is_none();
    if idle && due && has_grown(model) {
        return reload_part(model);
    }
    request_missing(model)
}

/// Requests the next or the previous part; returns nothing if there is none.
pub(super) fn load_adjacent_part(model: &mut Model, forward: bool) -> Vec<Effect> {
    let state = &mut model.screens.timeline;
    let Some(played) = state.played.as_ref().filter(|_| state.loading.is_none()) else {
        return Vec::new();
    };
    let (recording, part) = (played.about.id, played.part);
    let loading = if forward {
        let Some(after) = played.next_after() else { return Vec::new() };
        state.part_starts.truncate(part + 1);
        state.part_starts.push(after);
        PendingLoad { recording, part: part + 1, then: PositionAfterLoad::Begin }
    } else {
        let Some(part) = part.checked_sub(1) else { return Vec::new() };
        PendingLoad { recording, part, then: PositionAfterLoad::End }
    };
    request_part(model, loading)
}

/// Requests the data that is missing for the current moment.
pub(super) fn request_missing(model: &mut Model) -> Vec<Effect> {
    let Some(played) = model.screens.timeline.played.clone() else { return Vec::new() };
    let mut effects = Vec::new();
    let models = model.screens.live.models.clone();
    let state = &mut model.screens.timeline;
    // What failed is not requested again, but it is no reason to request nothing else.
    state.bills_error.take_if(|it| it.key != played.key || it.models != models);
    let current =
        state.checkpoints.as_ref().filter(|it| it.key == played.key && it.models == models);
    match current {
        None if !state.checkpoints_pending && !models.is_empty() && state.bills_error.is_none() => {
            if state.checkpoints.as_ref().is_some_and(|it| it.models != models) {
                state.carried_bills.clear();
                state.bills = None;
            }
            state.checkpoints_pending = true;
            let (afters, carries) = (state.part_starts.clone(), state.carried_bills.clone());
            let ask = TimelineRequest::Checkpoints {
                played: Arc::clone(&played),
                models,
                afters,
                carries,
            };
            effects.push(TimelineState::query(ask));
        }
        Some(ledger) if !state.bills_pending => {
            let at = state.player.position();
            if !state.bills.as_ref().is_some_and(|it| it.is_for_moment(&played, at)) {
                state.bills_pending = true;
                let ended = played.count_ended(at);
                let (ledger, played) = (Arc::clone(ledger), Arc::clone(&played));
                effects.push(TimelineState::query(TimelineRequest::Bills {
                    ledger,
                    played,
                    ended,
                    at,
                }));
            }
        }
        _ => {}
    }
    let under = played.invocation_at(state.lane, state.player.position());
    state.detail_error.take_if(|(id, _)| under.is_none_or(|row| row.id != *id));
    let known = state.detail.as_ref().map(|it| it.row.invocation);
    if let Some(row) = under.filter(|row| Some(row.id) != known)
        && !state.detail_pending
        && state.detail_error.is_none()
    {
        state.detail_pending = true;
        effects.push(TimelineState::query(TimelineRequest::Detail { id: row.id }));
    }
    effects
}

/// Handles a response of the query worker.
pub(super) fn handle_response(model: &mut Model, answer: TimelineResponse) -> Vec<Effect> {
    match answer {
        TimelineResponse::Loaded { recording, part, result } => {
            handle_loaded_part(model, recording, part, result)
        }
        TimelineResponse::Checkpoints { result } => {
            model.screens.timeline.checkpoints_pending = false;
            handle_checkpoints(model, result);
            request_missing(model)
        }
        TimelineResponse::Bills { key, bills } => {
            let state = &mut model.screens.timeline;
            state.bills_pending = false;
            // Bills of another part or other models are requested again.
            let same = state.checkpoints.as_ref().is_some_and(|it| it.key == key);
            if same {
                state.bills = Some(bills);
            }
            request_missing(model)
        }
        TimelineResponse::Detail { id, result } => {
            let state = &mut model.screens.timeline;
            state.detail_pending = false;
            match result {
                Ok(detail) if detail.row.invocation == id => state.detail = Some(detail),
                Ok(_) => {}
                Err(error) => state.detail_error = Some((id, error)),
            }
            request_missing(model)
        }
        TimelineResponse::InvocationsCompared { of, result } => {
            if let Some(TimelineOverlay::Invocations { of: wanted, answer, .. }) =
                &mut model.screens.timeline.overlay
                && *wanted == of
            {
                *answer = Some(result);
            }
            Vec::new()
        }
        TimelineResponse::LanesCompared { what, result } => {
            if let Some(TimelineOverlay::Lanes { what: wanted, answer }) =
                &mut model.screens.timeline.overlay
                && *wanted == what
            {
                *answer = Some(result);
            }
            Vec::new()
        }
    }
}

fn handle_checkpoints(
    model: &mut Model,
    result: Result<(Arc<PartBills>, Vec<Arc<CarriedBills>>), FailedBills>,
) {
    let models = &model.screens.live.models;
    let state = &mut model.screens.timeline;
    match result {
        // The chosen models have changed in the meantime.
        Ok((ledger, _)) if ledger.models != *models => {}
        Ok((ledger, carries)) => {
            let here = state.played.as_ref().is_some_and(|played| played.key == ledger.key);
            if here {
                state.carried_bills = carries;
                state.checkpoints = Some(ledger);
            }
        }
        Err(error) => state.bills_error = Some(error),
    }
}

fn handle_loaded_part(
    model: &mut Model,
    recording: i64,
    part: usize,
    result: Result<Arc<PlayedPart>, String>,
) -> Vec<Effect> {
    let state = &mut model.screens.timeline;
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
            state.part_starts.truncate(1);
            state.carried_bills.clear();
            state.player = Player::new(begin, end);
        }
        PositionAfterLoad::Stay => state.player.extend_to(end),
        PositionAfterLoad::Begin => state.player = state.player.in_part(begin, end, false),
        PositionAfterLoad::End => state.player = state.player.in_part(begin, end, true),
    }
    state.lane = state.lane.min(played.about.lanes.len().saturating_sub(1));
    if state.played.is_none()
        && let Some(first) = played.rows.last()
    {
        state.lane = played.lane_of(first);
    }
    // Later invocations may overlap those that were taken as settled.
    if state.played.as_ref().is_some_and(|it| it.key.newest != played.key.newest) {
        state.carried_bills.clear();
    }
    state.played = Some(played);
    state.detail_error = None;
    request_missing(model)
}
