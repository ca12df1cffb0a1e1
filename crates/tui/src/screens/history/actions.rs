//! Actions on recordings and simulations: open, close, mark, compare, label,
//! delete.

use super::list::HistoryRow;
use super::{HistoryDialog, HistoryRequest, HistoryState};
use crate::action::{Effect, UserAction};
use crate::model::Model;
use crate::overlay::Overlay;
use crate::screens::{ListedScreen, Screen, ScreenId};
use crate::update::go_to_screen;
use cyclometer_report::describe_extent;
use cyclometer_store::{DeletionExtent, HistoryItem};

/// Opens the selected item: the bills of a recording, or the amounts of a
/// simulation.
pub(super) fn open_selected(model: &mut Model) -> Vec<Effect> {
    let selected = model.screens.history.selected_row().map(|row| (row.item, row.is_trace));
    let Some((item, is_trace)) = selected else { return Vec::new() };
    match item {
        HistoryItem::Recording(id) => {
            model.opened = Some(id);
            let effects = go_to_screen(model, ScreenId::Bills);
            let key = |action| model.keymap.key_for(action, ScreenId::History).unwrap_or_default();
            let (bills, back) = (key(UserAction::Go(ScreenId::Bills)), key(UserAction::Back));
            let text = if is_trace {
                format!("trace {id} is open: {bills} bills; {back} in history closes it")
            } else {
                let timeline = key(UserAction::Go(ScreenId::Timeline));
                format!(
                    "recording {id} is open: {bills} bills, {timeline} timeline; {back} in \
                     history closes it"
                )
            };
            model.notify(text);
            effects
        }
        HistoryItem::Simulation(_) => {
            model.screens.history.opening = Some(item);
            vec![HistoryState::query(HistoryRequest::Text { item, width: text_width(model) })]
        }
    }
}

/// Returns the number of columns of a text in an overlay.
fn text_width(model: &Model) -> usize {
    usize::from(model.size.0.saturating_sub(4))
}

/// Shows a text above the screen, if no overlay is open and the user is still
/// on this screen; returns whether it was shown.
pub(super) fn show_text(model: &mut Model, title: String, text: String) -> bool {
    let free = model.overlay.is_none() && model.screen == ScreenId::History;
    if free {
        model.overlay = Some(Overlay::Text { title, text, scroll: 0 });
    }
    free
}

pub(super) fn go_back(model: &mut Model) -> Vec<Effect> {
    // A filter, which hides rows, is cleared first: the list says that this key
    // shows all again.
    if !model.screens.history.filter_words.is_empty() {
        HistoryState::set_filter(model, String::new());
    } else if let Some(id) = model.opened.take() {
        let of = model.snapshot.recording.map_or_else(
            || "bills and timeline wait for a recording".to_owned(),
            |live| format!("bills and timeline are of recording {live} again"),
        );
        model.notify(format!("recording {id} is closed: {of}"));
    } else if model.screens.history.focus {
        model.screens.history.focus = false;
    } else {
        model.screens.history.marked = None;
    }
    Vec::new()
}

pub(super) fn toggle_mark(model: &mut Model) -> Vec<Effect> {
    let Some(item) = model.screens.history.selected_row().map(|row| row.item) else {
        return Vec::new();
    };
    let again = model.screens.history.marked == Some(item);
    model.screens.history.marked = (!again).then_some(item);
    if !again {
        let key = model.keymap.key_for(UserAction::Compare, model.screen).unwrap_or_default();
        model.notify(format!("{item} is marked: {key} on another compares them"));
    }
    Vec::new()
}

pub(super) fn compare_with_marked(model: &mut Model) -> Vec<Effect> {
    let state = &model.screens.history;
    let Some(second) = state.selected_row().map(|row| row.item) else { return Vec::new() };
    let complaint = match state.marked {
        None => {
            let key = model.keymap.key_for(UserAction::Mark, model.screen).unwrap_or_default();
            Some(format!("mark the first of the two with {key}, then compare with another"))
        }
        Some(first) if first == second => {
            Some(format!("{first} is the marked one: select another to compare it with"))
        }
        Some(first) if trace_name(state, [first, second]).is_some() => {
            let name = trace_name(state, [first, second]).unwrap_or_default();
            Some(format!("{name} has no runs that can be compared: a log has other work each time"))
        }
        Some(HistoryItem::Recording(_)) if matches!(second, HistoryItem::Recording(_)) => None,
        Some(HistoryItem::Simulation(_)) if matches!(second, HistoryItem::Simulation(_)) => None,
        Some(first) => Some(format!(
            "{first} and {second} cannot be compared: two recordings can, or two simulations"
        )),
    };
    if let Some(text) = complaint {
        model.notify_error(text);
        return Vec::new();
    }
    let Some(first) = state.marked else { return Vec::new() };
    model.notify(format!("comparing {second} with {first}; this can take some seconds"));
    if model.screens.history.comparing == Some((first, second)) {
        return Vec::new();
    }
    model.screens.history.comparing = Some((first, second));
    vec![HistoryState::query(HistoryRequest::Compare { first, second, width: text_width(model) })]
}

/// Returns the name of the first of two items that is a trace.
fn trace_name(state: &HistoryState, items: [HistoryItem; 2]) -> Option<String> {
    let mut rows = items.into_iter().filter_map(|item| state.find_row(item));
    rows.find(|row| row.is_trace).map(HistoryRow::name)
}

pub(super) fn prompt_for_label(model: &mut Model) -> Vec<Effect> {
    let Some(row) = model.screens.history.selected_row() else { return Vec::new() };
    let (item, text) = (row.item, row.label.clone());
    let title = format!("label of {item}, empty for none");
    model.overlay = Some(Overlay::Prompt {
        title,
        text,
        purpose: HistoryState::purpose(HistoryDialog::Label(item)),
    });
    Vec::new()
}

/// Submits a label that the user wrote.
pub(super) fn submit_label(item: HistoryItem, label: &str) -> Vec<Effect> {
    vec![HistoryState::query(HistoryRequest::Label { item, label: label.to_owned() })]
}

pub(super) fn prepare_deletion(model: &mut Model) -> Vec<Effect> {
    let Some(item) = model.screens.history.selected_row().map(|row| row.item) else {
        return Vec::new();
    };
    let live = model.snapshot.recording.map(HistoryItem::Recording);
    if model.snapshot.phase.is_active() && live == Some(item) {
        model.notify_error(format!("{item} is being made: stop it first, or wait for its end"));
        return Vec::new();
    }
    if model.screens.history.deleting == Some(item) {
        return Vec::new();
    }
    model.screens.history.deleting = Some(item);
    vec![HistoryState::query(HistoryRequest::Extent { item })]
}

/// Deletes items, which the user confirmed twice.
pub(super) fn submit_deletion(items: Vec<HistoryItem>) -> Vec<Effect> {
    vec![HistoryState::query(HistoryRequest::Delete { items })]
}

pub(super) fn confirm_deletion(
    model: &mut Model,
    item: HistoryItem,
    result: Result<DeletionExtent, String>,
) {
    if model.screens.history.deleting.take() != Some(item) {
        return;
    }
    let extent = match result {
        Ok(extent) => extent,
        Err(reason) => return report_failure(model, &format!("{item} stays"), &reason),
    };
    let still = model.screens.history.selected_row().map(|row| row.item) == Some(item);
    if model.overlay.is_some() || model.screen != ScreenId::History || !still {
        return;
    }
    let title =
        model.screens.history.find_row(item).map_or_else(|| item.to_string(), HistoryRow::title);
    let question = format!("Delete {title}? {} would go.", describe_extent(&extent));
    let purpose = HistoryState::purpose(HistoryDialog::Delete(vec![item]));
    model.overlay = Some(Overlay::Confirm { question, purpose, again: false });
}

pub(super) fn show_deletion_result(
    model: &mut Model,
    items: &[HistoryItem],
    result: Result<DeletionExtent, String>,
) {
    let names: Vec<String> = items.iter().map(ToString::to_string).collect();
    let names = names.join(", ");
    match result {
        Ok(extent) => {
            if model.opened.is_some_and(|id| items.contains(&HistoryItem::Recording(id))) {
                model.opened = None;
            }
            model.notify(format!("deleted {names}: {}", describe_extent(&extent)));
        }
        Err(reason) => report_failure(model, &format!("{names} stays"), &reason),
    }
}

pub(super) fn show_comparison(
    model: &mut Model,
    first: HistoryItem,
    second: HistoryItem,
    result: Result<String, String>,
) {
    if model.screens.history.comparing != Some((first, second)) {
        return;
    }
    model.screens.history.comparing = None;
    match result {
        Ok(text) => {
            model.notice = None;
            if !show_text(model, format!("{second} against {first}"), text) {
                model.notify(format!("{second} is compared with {first}: ask again to see it"));
            }
        }
        Err(reason) => report_failure(model, "nothing was compared", &reason),
    }
}

/// Reports a failure: in the footer if it fits there, otherwise as a text that
/// can be read in full.
pub(super) fn report_failure(model: &mut Model, what: &str, reason: &str) {
    let text = format!("{what}: {reason}");
    let fits = text.chars().count() < usize::from(model.size.0);
    if fits || !show_text(model, what.to_owned(), reason.to_owned()) {
        model.notify_error(text);
    }
}
