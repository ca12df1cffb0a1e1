//! Actions on recordings and simulations: open, close, mark, compare, label,
//! delete.

use super::list::Row;
use super::{Ask, filter};
use crate::action::{Action, Effect};
use crate::model::Model;
use crate::overlay::{Overlay, Purpose};
use crate::screens::Screen;
use crate::update::go;
use cyclometer_report::what_goes;
use cyclometer_store::{Extent, Item};

/// Opens the selected item: the bills of a recording, or the amounts of a
/// simulation.
pub(super) fn open(model: &mut Model) -> Vec<Effect> {
    let Some(item) = model.history.selected().map(|row| row.item) else { return Vec::new() };
    match item {
        Item::Recording(id) => {
            model.opened = Some(id);
            let effects = go(model, Screen::Bills);
            let key = |action| model.keymap.key_of(action, Screen::History).unwrap_or_default();
            let text = format!(
                "recording {id} is open: {} bills, {} timeline; {} in history closes it",
                key(Action::Go(Screen::Bills)),
                key(Action::Go(Screen::Timeline)),
                key(Action::Back)
            );
            model.say(text);
            effects
        }
        Item::Simulation(_) => {
            model.history.opening = Some(item);
            vec![Effect::History(Ask::Text { item, width: text_width(model) })]
        }
    }
}

/// Returns the number of columns of a text in an overlay.
fn text_width(model: &Model) -> usize {
    usize::from(model.size.0.saturating_sub(4))
}

/// Shows a text above the screen, if no overlay is open and the user is still
/// on this screen; returns whether it was shown.
pub(super) fn text_above(model: &mut Model, title: String, text: String) -> bool {
    let free = model.overlay.is_none() && model.screen == Screen::History;
    if free {
        model.overlay = Some(Overlay::Text { title, text, scroll: 0 });
    }
    free
}

pub(super) fn back(model: &mut Model) -> Vec<Effect> {
    // A filter, which hides rows, is cleared first: the list says that this key
    // shows all again.
    if !model.history.words.is_empty() {
        filter(model, String::new());
    } else if let Some(id) = model.opened.take() {
        let of = model.snapshot.recording.map_or_else(
            || "bills and timeline wait for a recording".to_owned(),
            |live| format!("bills and timeline are of recording {live} again"),
        );
        model.say(format!("recording {id} is closed: {of}"));
    } else if model.history.focus {
        model.history.focus = false;
    } else {
        model.history.marked = None;
    }
    Vec::new()
}

pub(super) fn mark(model: &mut Model) -> Vec<Effect> {
    let Some(item) = model.history.selected().map(|row| row.item) else { return Vec::new() };
    let again = model.history.marked == Some(item);
    model.history.marked = (!again).then_some(item);
    if !again {
        let key = model.keymap.key_of(Action::Compare, model.screen).unwrap_or_default();
        model.say(format!("{item} is marked: {key} on another compares them"));
    }
    Vec::new()
}

pub(super) fn compare(model: &mut Model) -> Vec<Effect> {
    let state = &model.history;
    let Some(second) = state.selected().map(|row| row.item) else { return Vec::new() };
    let complaint = match state.marked {
        None => {
            let key = model.keymap.key_of(Action::Mark, model.screen).unwrap_or_default();
            Some(format!("mark the first of the two with {key}, then compare with another"))
        }
        Some(first) if first == second => {
            Some(format!("{first} is the marked one: select another to compare it with"))
        }
        Some(Item::Recording(_)) if matches!(second, Item::Recording(_)) => None,
        Some(Item::Simulation(_)) if matches!(second, Item::Simulation(_)) => None,
        Some(first) => Some(format!(
            "{first} and {second} cannot be compared: two recordings can, or two simulations"
        )),
    };
    if let Some(text) = complaint {
        model.complain(text);
        return Vec::new();
    }
    let Some(first) = state.marked else { return Vec::new() };
    model.say(format!("comparing {second} with {first}; this can take some seconds"));
    if model.history.comparing == Some((first, second)) {
        return Vec::new();
    }
    model.history.comparing = Some((first, second));
    vec![Effect::History(Ask::Compare { first, second, width: text_width(model) })]
}

pub(super) fn label(model: &mut Model) -> Vec<Effect> {
    let Some(row) = model.history.selected() else { return Vec::new() };
    let (item, text) = (row.item, row.label.clone());
    let title = format!("label of {item}, empty for none");
    model.overlay = Some(Overlay::Prompt { title, text, purpose: Purpose::Label(item) });
    Vec::new()
}

/// Submits a label that the user wrote.
pub fn labelled(_model: &mut Model, item: Item, label: &str) -> Vec<Effect> {
    vec![Effect::History(Ask::Label { item, label: label.to_owned() })]
}

pub(super) fn prepare_deletion(model: &mut Model) -> Vec<Effect> {
    let Some(item) = model.history.selected().map(|row| row.item) else { return Vec::new() };
    let live = model.snapshot.recording.map(Item::Recording);
    if model.snapshot.phase.is_active() && live == Some(item) {
        model.complain(format!("{item} is being made: stop it first, or wait for its end"));
        return Vec::new();
    }
    if model.history.deleting == Some(item) {
        return Vec::new();
    }
    model.history.deleting = Some(item);
    vec![Effect::History(Ask::Extent { item })]
}

/// Deletes items, which the user confirmed twice.
pub fn delete(_model: &mut Model, items: Vec<Item>) -> Vec<Effect> {
    vec![Effect::History(Ask::Delete { items })]
}

pub(super) fn confirm(model: &mut Model, item: Item, result: Result<Extent, String>) {
    if model.history.deleting.take() != Some(item) {
        return;
    }
    let extent = match result {
        Ok(extent) => extent,
        Err(reason) => return fail(model, &format!("{item} stays"), &reason),
    };
    let still = model.history.selected().map(|row| row.item) == Some(item);
    if model.overlay.is_some() || model.screen != Screen::History || !still {
        return;
    }
    let title = model.history.row(item).map_or_else(|| item.to_string(), Row::title);
    let question = format!("Delete {title}? {} would go.", what_goes(&extent));
    let purpose = Purpose::Delete(vec![item]);
    model.overlay = Some(Overlay::Confirm { question, purpose, again: false });
}

pub(super) fn deleted(model: &mut Model, items: &[Item], result: Result<Extent, String>) {
    let names: Vec<String> = items.iter().map(ToString::to_string).collect();
    let names = names.join(", ");
    match result {
        Ok(extent) => {
            if model.opened.is_some_and(|id| items.contains(&Item::Recording(id))) {
                model.opened = None;
            }
            model.say(format!("deleted {names}: {}", what_goes(&extent)));
        }
        Err(reason) => fail(model, &format!("{names} stays"), &reason),
    }
}

pub(super) fn compared(
    model: &mut Model,
    first: Item,
    second: Item,
    result: Result<String, String>,
) {
    if model.history.comparing != Some((first, second)) {
        return;
    }
    model.history.comparing = None;
    match result {
        Ok(text) => {
            model.notice = None;
            if !text_above(model, format!("{second} against {first}"), text) {
                model.say(format!("{second} is compared with {first}: ask again to see it"));
            }
        }
        Err(reason) => fail(model, "nothing was compared", &reason),
    }
}

/// Reports a failure: in the footer if it fits there, otherwise as a text that
/// can be read in full.
pub(super) fn fail(model: &mut Model, what: &str, reason: &str) {
    let text = format!("{what}: {reason}");
    let fits = text.chars().count() < usize::from(model.size.0);
    if fits || !text_above(model, what.to_owned(), reason.to_owned()) {
        model.complain(text);
    }
}
