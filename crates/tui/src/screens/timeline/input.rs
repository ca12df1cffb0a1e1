//! Actions and clicks of the timeline screen.

use std::sync::Arc;

use ratatui::layout::Position;

use super::layout::TimelineTrack;
use super::loading::{load_adjacent_part, open_recording, reload_part, request_missing};
use super::queries::TimelineRequest;
use super::{TimelineOverlay, TimelineState, invocation_panel, lane_overlay};
use crate::action::{Effect, UserAction};
use crate::model::Model;
use crate::screens::ListedScreen;
use cyclometer_core::units::Nanos;
use cyclometer_store::PlayedPart;

/// Handles an action.
pub(crate) fn apply_action(model: &mut Model, action: UserAction) -> Vec<Effect> {
    if model.screens.timeline.overlay.is_some()
        && let Some(effects) = apply_overlay_action(model, action)
    {
        return effects;
    }
    let Some(played) = model.screens.timeline.played.clone() else {
        return if action == UserAction::Refresh { retry_loading(model) } else { Vec::new() };
    };
    let now = model.now;
    let state = &mut model.screens.timeline;
    let lanes = played.about.lanes.len().max(1);
    let ends = (state.player.is_at_begin(), state.player.is_at_end());
    match action {
        UserAction::Left | UserAction::PageUp if ends.0 => {
            return load_adjacent_or_notify(model, false);
        }
        UserAction::Right | UserAction::PageDown | UserAction::Last | UserAction::NextWorkload
            if ends.1 =>
        {
            return load_adjacent_or_notify(model, true);
        }
        UserAction::Left => state.player.seek_by_share(-1, 20),
        UserAction::Right => state.player.seek_by_share(1, 20),
        UserAction::PageUp => state.player.seek_by_share(-1, 1),
        UserAction::PageDown => state.player.seek_by_share(1, 1),
        UserAction::First => state.player.seek_to_begin(),
        UserAction::Last => state.player.seek_to_end(),
        UserAction::Pause => state.player.toggle_playback(now),
        UserAction::Slower => state.player.change_speed(false),
        UserAction::Faster => state.player.change_speed(true),
        UserAction::ZoomIn => state.player.zoom(true),
        UserAction::ZoomOut => state.player.zoom(false),
        UserAction::ZoomReset => state.player.zoom_reset(),
        UserAction::NextPanel | UserAction::Down => state.lane = (state.lane + 1) % lanes,
        UserAction::PreviousPanel | UserAction::Up => state.lane = (state.lane + lanes - 1) % lanes,
        UserAction::NextWorkload | UserAction::PreviousWorkload => {
            return seek_adjacent_end(model, &played, action == UserAction::NextWorkload);
        }
        UserAction::Mark => mark_invocation(model, &played),
        UserAction::Compare => return compare_invocations(model, &played),
        UserAction::Overlay => return compare_lanes(model, &played),
        UserAction::Enter => {
            model.overlay = invocation_panel::build_text_overlay(model, &played);
            if model.overlay.is_none() {
                model.notify("nothing is known here yet");
            }
        }
        UserAction::Refresh => return retry_loading(model),
        UserAction::Back => state.marked = None,
        _ => {}
    }
    request_missing(model)
}

/// Reads everything again after an error.
fn retry_loading(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.screens.timeline;
    state.bills_error = None;
    state.detail_error = None;
    state.error = None;
    if state.played.is_some() {
        return reload_part(model);
    }
    state.loading = None;
    let wanted = model.shown_recording();
    open_recording(model, wanted)
}

/// Loads the adjacent part, or notifies the user that there is none.
fn load_adjacent_or_notify(model: &mut Model, forward: bool) -> Vec<Effect> {
    let effects = load_adjacent_part(model, forward);
    if effects.is_empty() && model.screens.timeline.loading.is_none() {
        model.notify(if forward { "this is the end" } else { "this is the beginning" });
    }
    effects
}

/// Seeks to the end of the next or previous invocation of the selected lane.
fn seek_adjacent_end(model: &mut Model, played: &PlayedPart, forward: bool) -> Vec<Effect> {
    let state = &mut model.screens.timeline;
    let at = state.player.position();
    let found =
        if forward { played.next_end(state.lane, at) } else { played.previous_end(state.lane, at) };
    if let Some(end) = found {
        state.player.seek(end);
        return request_missing(model);
    }
    let effects = load_adjacent_part(model, forward);
    if effects.is_empty() {
        let lane = played.lane_name(model.screens.timeline.lane);
        let which = if forward { "later" } else { "earlier" };
        model.notify(format!("{lane} has no {which} invocation"));
    }
    effects
}

fn mark_invocation(model: &mut Model, played: &PlayedPart) {
    let state = &mut model.screens.timeline;
    match played.invocation_at(state.lane, state.player.position()) {
        Some(row) => {
            let name = invocation_panel::invocation_title(played, row);
            state.marked = Some((row.id, name.clone()));
            let key = model.keymap.key_for(UserAction::Compare, model.screen).unwrap_or_default();
            model.notify(format!("{name} is marked; {key} lays it over another"));
        }
        None => model.notify_error("there is no invocation here to be marked"),
    }
}

fn compare_invocations(model: &mut Model, played: &PlayedPart) -> Vec<Effect> {
    let key = model.keymap.key_for(UserAction::Mark, model.screen).unwrap_or_default();
    let state = &mut model.screens.timeline;
    let under = played.invocation_at(state.lane, state.player.position()).map(|row| row.id);
    let of = match (&state.marked, under) {
        (None, _) => {
            model.notify_error(format!("mark one invocation first: {key}"));
            return Vec::new();
        }
        (Some(_), None) => {
            model.notify_error("there is no invocation here");
            return Vec::new();
        }
        (Some((marked, _)), Some(under)) if *marked == under => {
            model.notify_error("that is the marked one itself: go to another");
            return Vec::new();
        }
        (Some((marked, _)), Some(under)) => (*marked, under),
    };
    state.overlay = Some(TimelineOverlay::Invocations { of, answer: None, selected: 0 });
    vec![TimelineState::query(TimelineRequest::CompareInvocations {
        of,
        played: model.screens.timeline.played.clone(),
    })]
}

/// Overlays the selected lane with the next one that ran the same workload as the
/// invocation under the cursor.
fn compare_lanes(model: &mut Model, played: &Arc<PlayedPart>) -> Vec<Effect> {
    let state = &mut model.screens.timeline;
    let Some(row) = played.invocation_at(state.lane, state.player.position()) else {
        model.notify_error("there is no invocation here: its workload would be compared");
        return Vec::new();
    };
    let after = match &state.overlay {
        Some(TimelineOverlay::Lanes { what, .. }) => what.lanes[1],
        _ => state.lane,
    };
    let Some(what) = lane_overlay::find_compared_lanes(played, row.cell_index(), after) else {
        let name = invocation_panel::invocation_title(played, row);
        model.notify_error(format!("no other lane ran what {name} is of"));
        return Vec::new();
    };
    state.overlay = Some(TimelineOverlay::Lanes { what: what.clone(), answer: None });
    vec![TimelineState::query(TimelineRequest::CompareLanes { what, played: Arc::clone(played) })]
}

/// Handles an action while an overlay is open; `None` if the action has its usual
/// meaning.
fn apply_overlay_action(model: &mut Model, action: UserAction) -> Option<Vec<Effect>> {
    let page = usize::from(model.size.1 / 2).max(1);
    let step = |selected: usize, last: usize| match action {
        UserAction::Down | UserAction::NextPanel => (selected + 1).min(last),
        UserAction::Up | UserAction::PreviousPanel => selected.saturating_sub(1),
        UserAction::PageDown => (selected + page).min(last),
        UserAction::PageUp => selected.saturating_sub(page),
        UserAction::First => 0,
        UserAction::Last => last,
        _ => selected,
    };
    match &mut model.screens.timeline.overlay {
        _ if action == UserAction::Back => model.screens.timeline.overlay = None,
        Some(TimelineOverlay::Lanes { .. }) if action == UserAction::Overlay => {
            let played = model.screens.timeline.played.clone()?;
            return Some(compare_lanes(model, &played));
        }
        Some(TimelineOverlay::Invocations { answer: Some(Ok(pair)), selected, .. }) => {
            *selected = step(*selected, pair.rows.len().saturating_sub(1));
        }
        _ => {}
    }
    Some(Vec::new())
}

/// Handles a click: one on the tracks or the axis seeks to its moment and selects the
/// lane.
pub(crate) fn click(model: &mut Model, at: Position) -> Vec<Effect> {
    let state = &model.screens.timeline;
    if state.played.is_none() || state.overlay.is_some() {
        return Vec::new();
    }
    let layout = state.layout.clone();
    let axis = layout.visible_axis(model);
    let hit = layout.tracks.iter().find(|(_, place)| place.contains(at));
    let lane = hit.map(|(track, _)| match track {
        TimelineTrack::Swimlane(whose) => whose.lane,
        TimelineTrack::Cpu(lane) | TimelineTrack::Memory(lane) => *lane,
    });
    if let Some(lane) = lane {
        model.screens.timeline.lane = lane;
    }
    let column = at.x.checked_sub(layout.axis.x + layout.gutter).filter(|it| *it < axis.width);
    if let Some(column) = column.filter(|_| hit.is_some() || layout.axis.contains(at)) {
        model.screens.timeline.player.seek(Nanos(axis.column_middle(column)));
    }
    request_missing(model)
}
