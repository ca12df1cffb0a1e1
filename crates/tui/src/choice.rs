//! Choice among items, in a box above a screen: items that cannot be chosen are dim, with their
//! reason.

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::action::{Effect, UserAction};
use super::export::ExportFormat;
use super::model::Model;
use super::overlay::{self, DialogAnswer, DialogPurpose, Overlay, OverlayOutcome, centered_area};
use super::theme::StyleRole;
use super::widgets::grid::first_visible_row;
use super::widgets::text::{display_width, fit, pad, wrap};

/// Item of a choice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ChoiceItem {
    /// Name of the item.
    pub name: String,
    /// Remark shown beside the name.
    pub note: String,
    /// Whether the item is chosen.
    pub on: bool,
    /// Reason why it cannot be chosen.
    pub refusal: Option<String>,
    /// Whether it opens another dialog, and is no item to choose.
    pub opens: bool,
    /// Whether it is chosen by itself only, and not together with all others.
    pub alone: bool,
}

/// Handles a key in a choice.
pub(crate) fn handle_key(
    model: &mut Model,
    overlay: &mut Overlay,
    event: &KeyEvent,
) -> OverlayOutcome {
    let Overlay::Choice { items, cursor, single, purpose, .. } = overlay else {
        return OverlayOutcome::Close;
    };
    let last = items.len().saturating_sub(1);
    let page = model.overlay_layout.page;
    // Where one item is chosen its first letter is enough, whatever else the
    // key means.
    if let (true, KeyCode::Char(letter)) = (*single, event.code)
        && let Some(item) = items.iter().find(|item| item.name.starts_with(letter))
    {
        let name = item.name.clone();
        return OverlayOutcome::Effects(submit_choice(model, purpose, &[name]));
    }
    match model.keymap.action_for(event, model.screen) {
        Some(UserAction::Down | UserAction::NextPanel) => *cursor = (*cursor + 1).min(last),
        Some(UserAction::Up | UserAction::PreviousPanel) => *cursor = cursor.saturating_sub(1),
        Some(UserAction::PageDown) => *cursor = (*cursor + page).min(last),
        Some(UserAction::PageUp) => *cursor = cursor.saturating_sub(page),
        Some(UserAction::First) => *cursor = 0,
        Some(UserAction::Last) => *cursor = last,
        Some(UserAction::Back | UserAction::Quit) => return OverlayOutcome::Close,
        Some(UserAction::Enter) => {
            if *single && let Some(item) = items.get_mut(*cursor) {
                item.on = true;
            }
            let opens = items.get(*cursor).is_some_and(|item| item.opens);
            return OverlayOutcome::Effects(submit_items(model, purpose, items, opens));
        }
        _ if event.code == KeyCode::Char(' ') => match items.get_mut(*cursor) {
            Some(ChoiceItem { opens: true, .. }) => {
                return OverlayOutcome::Effects(submit_items(model, purpose, items, true));
            }
            Some(ChoiceItem { refusal: Some(reason), name, .. }) => {
                model.notify_error(format!("{name} cannot be chosen: {reason}"));
            }
            Some(item) => item.on = !item.on,
            None => {}
        },
        _ if event.code == KeyCode::Char('*') && !*single => toggle_all(items),
        // The first letter of a name selects that item.
        _ => {
            if let KeyCode::Char(letter) = event.code {
                let found = items.iter().position(|item| item.name.starts_with(letter));
                *cursor = found.unwrap_or(*cursor);
            }
        }
    }
    OverlayOutcome::Keep
}

/// Turns all items on that can be chosen; if they are, turns all off.
fn toggle_all(items: &mut [ChoiceItem]) {
    let can = |item: &ChoiceItem| item.refusal.is_none() && !item.opens && !item.alone;
    let on = items.iter().any(|item| can(item) && !item.on);
    items.iter_mut().filter(|item| can(item)).for_each(|item| item.on = on);
}

/// Submits what is chosen among the items; `opened`: because one of them was opened.
fn submit_items(
    model: &mut Model,
    purpose: &DialogPurpose,
    items: &[ChoiceItem],
    opened: bool,
) -> Vec<Effect> {
    let chosen = items.iter().filter(|item| item.on);
    let chosen: Vec<String> = chosen.map(|item| item.name.clone()).collect();
    match purpose {
        DialogPurpose::Screen(dialog) if opened => {
            dialog.submit(model, DialogAnswer::Opened(&chosen))
        }
        _ => submit_choice(model, purpose, &chosen),
    }
}

fn submit_choice(model: &mut Model, purpose: &DialogPurpose, chosen: &[String]) -> Vec<Effect> {
    match purpose {
        DialogPurpose::Screen(dialog) => dialog.submit(model, DialogAnswer::Chosen(chosen)),
        DialogPurpose::Export => chosen
            .first()
            .and_then(|name| ExportFormat::ALL.iter().find(|form| form.name() == name))
            .map(|form| vec![Effect::Export(*form)])
            .unwrap_or_default(),
        DialogPurpose::Filter => Vec::new(),
    }
}

/// Widest reason beside the name of an item, for which a box becomes wider.
const REASON_WIDTH: usize = 44;

/// Most lines for the whole reason why the selected item cannot be chosen.
const REASON_LINES: usize = 5;

/// Layout of the box of a choice.
struct ChoiceLayout {
    /// Area of the box.
    place: Rect,
    /// First item in view.
    first: usize,
    /// Number of lines for items.
    height: usize,
    /// Width of the names.
    names: usize,
    /// Width within the frame.
    room: usize,
    /// Number of lines for the reason of the selected item, with a line between.
    below: usize,
    /// Keys of the choice.
    keys: String,
}

/// Lays out a choice; `None` if the overlay is none.
fn lay_out_choice(area: Rect, model: &Model, overlay: &Overlay) -> Option<ChoiceLayout> {
    let Overlay::Choice { title, items, cursor, single, .. } = overlay else { return None };
    let names = items.iter().map(|item| display_width(&item.name)).max().unwrap_or(0);
    let names = names.min(usize::from(area.width / 2));
    let note_width = |item: &ChoiceItem| match &item.refusal {
        Some(reason) => display_width(reason).min(REASON_WIDTH),
        None => display_width(&item.note),
    };
    let notes = items.iter().map(note_width).max().unwrap_or(0);
    let key = |action| model.keymap.key_for(action, model.screen).unwrap_or_default();
    let (enter, back) = (key(UserAction::Enter), key(UserAction::Back));
    let keys = if *single {
        format!("{enter}: this one   {back}: none")
    } else {
        format!("space: on or off   {enter}: done   {back}: as before   *: all")
    };
    let wide = (names + notes + 12).max(display_width(title) + 8).max(display_width(&keys) + 2);
    let room = wide.min(usize::from(area.width)).saturating_sub(2);
    // The box keeps its height while the cursor moves.
    let reasons = items.iter().filter_map(|item| item.refusal.as_ref());
    let below = reasons.map(|reason| wrap(reason, room.saturating_sub(2)).len()).max();
    let below = below.map_or(0, |lines| (lines + 1).min(REASON_LINES + 1));
    let below = below.min(usize::from(area.height) / 3);
    let place = centered_area(area, wide, items.len() + 4 + below);
    let height = usize::from(place.height).saturating_sub(4 + below);
    let first = first_visible_row(*cursor, items.len(), height);
    Some(ChoiceLayout { place, first, height, names, room, below, keys })
}

/// Handles a click: on an item of a choice it does what space does there, or enter where one item
/// is chosen.
pub(crate) fn click(model: &mut Model, at: Position) -> Vec<Effect> {
    let area = Rect::new(0, 0, model.size.0, model.size.1);
    let layout = model.overlay.as_ref().and_then(|it| lay_out_choice(area, model, it));
    let Some(layout) = layout.filter(|it| it.place.contains(at)) else { return Vec::new() };
    let Some(line) = at.y.checked_sub(layout.place.y + 1).map(usize::from) else {
        return Vec::new();
    };
    let Some(Overlay::Choice { items, cursor, single, .. }) = &mut model.overlay else {
        return Vec::new();
    };
    let item = layout.first + line;
    if line >= layout.height || item >= items.len() {
        return Vec::new();
    }
    *cursor = item;
    let code = if *single { KeyCode::Enter } else { KeyCode::Char(' ') };
    overlay::handle_key(model, &KeyEvent::from(code)).unwrap_or_default()
}

/// Draws a choice.
pub(crate) fn render(frame: &mut Frame<'_>, area: Rect, model: &Model, overlay: &Overlay) {
    let Overlay::Choice { title, items, cursor, single, .. } = overlay else { return };
    let Some(layout) = lay_out_choice(area, model, overlay) else { return };
    let ChoiceLayout { place, first, height, names, room, below, keys } = layout;
    let block = model.theme.panel_block(title.as_str(), true);
    let inner = block.inner(place);
    let mut lines = Vec::new();
    for (at, item) in items.iter().enumerate().skip(first).take(height) {
        lines.push(choice_line(model, item, at == *cursor, (names, room), *single));
    }
    lines.resize_with(height.min(items.len()) + 1, Line::default);
    if below > 0 {
        let reason = items.get(*cursor).and_then(|item| item.refusal.as_deref()).unwrap_or("");
        let mut reason = wrap(reason, room.saturating_sub(2));
        reason.resize(below - 1, String::new());
        let style = model.theme.style(StyleRole::Warn);
        lines.extend(reason.into_iter().map(|text| Line::styled(format!(" {text}"), style)));
        lines.push(Line::default());
    }
    lines.push(Line::from(Span::styled(fit(&keys, room), model.theme.style(StyleRole::Dim))));
    frame.render_widget(Clear, place);
    frame.render_widget(block, place);
    frame.render_widget(Paragraph::new(lines), inner);
}

/// Returns the line of an item, with names padded to the first of the widths, in the second one.
fn choice_line(
    model: &Model,
    item: &ChoiceItem,
    is_here: bool,
    (names, room): (usize, usize),
    single: bool,
) -> Line<'static> {
    let pointer = if is_here { model.theme.pointer() } else { " " };
    let mark = match item {
        _ if single => "",
        ChoiceItem { opens: true, .. } => " +  ",
        ChoiceItem { refusal: Some(_), .. } => " -  ",
        ChoiceItem { on: true, .. } => "[x] ",
        ChoiceItem { on: false, .. } => "[ ] ",
    };
    let note = item.refusal.as_ref().unwrap_or(&item.note);
    let text = format!("{mark}{}  {note}", pad(&item.name, names, false));
    let role = match item.refusal {
        _ if is_here => StyleRole::Selected,
        Some(_) => StyleRole::Dim,
        None => StyleRole::Text,
    };
    Line::from(vec![
        Span::raw(format!("{pointer} ")),
        Span::styled(fit(&text, room.saturating_sub(2)), model.theme.style(role)),
    ])
}
