//! Actions and clicks of the timeline screen.

use std::sync::Arc;

use ratatui::layout::{Position, Rect};

use super::desk::Ask;
use super::layout::{Layout, Track};
use super::reading::{next, open, reload, turn};
use super::recording::Played;
use super::{Over, detail, spread};
use crate::action::{Action, Effect};
use crate::model::Model;
use cyclometer_core::units::Nanos;

/// Handles an action.
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

/// Reads everything again after an error.
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

/// Loads the adjacent part, or notifies the user that there is none.
fn turned(model: &mut Model, forward: bool) -> Vec<Effect> {
    let effects = turn(model, forward);
    if effects.is_empty() && model.timeline.loading.is_none() {
        model.say(if forward { "this is the end" } else { "this is the beginning" });
    }
    effects
}

/// Seeks to the end of the next or previous invocation of the selected lane.
fn neighbour(model: &mut Model, played: &Played, forward: bool) -> Vec<Effect> {
    let state = &mut model.timeline;
    let at = state.player.position();
    let found =
        if forward { played.next_end(state.lane, at) } else { played.previous_end(state.lane, at) };
    if let Some(end) = found {
        state.player.seek(end);
        return next(model);
    }
    let effects = turn(model, forward);
    if effects.is_empty() {
        let lane = played.lane_name(model.timeline.lane);
        let which = if forward { "later" } else { "earlier" };
        model.say(format!("{lane} has no {which} invocation"));
    }
    effects
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

/// Overlays the selected lane with the next one that ran the same workload as the
/// invocation under the cursor.
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

/// Handles an action while an overlay is open; `None` if the action has its usual
/// meaning.
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

/// Handles a click: one on the tracks or the axis seeks to its moment and selects the
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
