//! Overlays above a screen: help, texts, confirmations, choices.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::action::{Effect, UserAction};
use super::export::ExportFormat;
use super::field::{Field, FieldOutcome, FieldState, fit_end};
use super::keymap::{KeyChord, KeyContext};
use super::model::Model;
use super::screens::{self, ScreenDialog};
use super::theme::StyleRole;
use super::widgets::bar;
use super::widgets::text::{display_width, fit, pad, wrap};
use cyclometer_core::visible_text::is_hidden;

/// Overlay above the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Overlay {
    /// Help with the keys.
    Help {
        /// First line in view.
        scroll: usize,
    },
    /// Text to read.
    Text {
        /// Title of the text.
        title: String,
        /// Text, wrapped when it is drawn.
        text: String,
        /// First line in view.
        scroll: usize,
    },
    /// Text that appeared by itself: any key except those that scroll closes
    /// it, and then acts as it would without the text.
    Popup {
        /// Title of the text.
        title: String,
        /// Text, wrapped when it is drawn.
        text: String,
        /// First line in view.
        scroll: usize,
    },
    /// Prompt for a line of text.
    Prompt {
        /// Question to the user.
        title: String,
        /// Text written so far.
        text: String,
        /// Purpose of the text.
        purpose: DialogPurpose,
    },
    /// Question to be confirmed.
    Confirm {
        /// Question to the user.
        question: String,
        /// Purpose of the confirmation.
        purpose: DialogPurpose,
        /// Whether it has been confirmed once already.
        again: bool,
    },
    /// Choice among several items.
    Choice {
        /// Title of the choice.
        title: String,
        /// Items to choose from.
        items: Vec<ChoiceItem>,
        /// Index of the selected item.
        cursor: usize,
        /// Whether exactly one item is chosen, rather than several.
        single: bool,
        /// Purpose of the choice.
        purpose: DialogPurpose,
    },
    /// Line of text of a dialog, with what is wrong with it.
    Field(Field),
}

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

/// Purpose of an answer in an overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DialogPurpose {
    /// Words that lines of the screen must contain; applied while they are written.
    Filter,
    /// Format of an export.
    Export,
    /// Purpose of the screen that opened the overlay.
    Screen(ScreenDialog),
}

/// Answer of the user in a dialog of a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DialogAnswer<'a> {
    /// Line that was written.
    Text(&'a str),
    /// Names of the items that were chosen.
    Chosen(&'a [String]),
    /// An item was opened; these were chosen so far.
    Opened(&'a [String]),
    /// The line is to be completed.
    Complete(&'a str),
    /// The question was answered with yes, twice.
    Confirmed,
}

/// Sizes of an overlay in the last frame, which keys that scroll refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct OverlayLayout {
    /// Lines of a text on a page.
    page: usize,
    /// First line in view at the end of a text.
    last_scroll: usize,
}

impl OverlayLayout {
    /// Lays out the overlay that is open.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let (columns, rows) = model.size;
        let lines = match &model.overlay {
            Some(Overlay::Help { .. }) => help_lines(model).len(),
            Some(Overlay::Text { text, .. } | Overlay::Popup { text, .. }) => {
                wrap(text, usize::from(columns.saturating_sub(4))).len()
            }
            _ => 0,
        };
        Self {
            page: usize::from(rows.saturating_sub(6)).max(1),
            last_scroll: lines.saturating_sub(usize::from(rows.saturating_sub(2))),
        }
    }
}

/// Outcome of a key in an overlay.
enum OverlayOutcome {
    Keep,
    Close,
    Effects(Vec<Effect>),
}

/// Handles a key if an overlay is open; otherwise returns `None`, so that the
/// screen gets it.
///
/// # Errors
/// Returns `None` when no overlay takes the key.
pub(crate) fn handle_key(model: &mut Model, event: &KeyEvent) -> Option<Vec<Effect>> {
    let mut overlay = model.overlay.take()?;
    // Ctrl-C quits everywhere.
    if event.modifiers.contains(KeyModifiers::CONTROL) && event.code == KeyCode::Char('c') {
        return Some(vec![Effect::Quit]);
    }
    let step = match &mut overlay {
        Overlay::Help { scroll } | Overlay::Text { scroll, .. } => {
            handle_text_key(model, scroll, event)
        }
        Overlay::Popup { scroll, .. } => {
            match model.keymap.action_for(event, model.screen) {
                // The overlay is closed, and the screen gets the key.
                Some(action) if !is_scroll_action(action) => return None,
                _ => handle_text_key(model, scroll, event),
            }
        }
        Overlay::Prompt { text, purpose, .. } => {
            let purpose = purpose.clone();
            handle_prompt_key(model, text, &purpose, event)
        }
        Overlay::Confirm { question, purpose, again } => {
            handle_confirm_key(model, question, purpose, again, event)
        }
        Overlay::Choice { .. } => handle_choice_key(model, &mut overlay, event),
        Overlay::Field(field) => match field.handle_key(event) {
            FieldOutcome::Keep => OverlayOutcome::Keep,
            FieldOutcome::Close => OverlayOutcome::Close,
            FieldOutcome::Submit => {
                let (purpose, text) = (field.purpose.clone(), field.text.clone());
                field.state = FieldState::Busy;
                model.overlay = Some(overlay);
                return Some(purpose.submit(model, DialogAnswer::Text(&text)));
            }
            FieldOutcome::Complete => {
                let (purpose, text) = (field.purpose.clone(), field.text.clone());
                model.overlay = Some(overlay);
                return Some(purpose.submit(model, DialogAnswer::Complete(&text)));
            }
        },
    };
    Some(match step {
        OverlayOutcome::Keep => {
            model.overlay = Some(overlay);
            Vec::new()
        }
        OverlayOutcome::Close => Vec::new(),
        OverlayOutcome::Effects(effects) => effects,
    })
}

fn handle_text_key(model: &Model, scroll: &mut usize, event: &KeyEvent) -> OverlayOutcome {
    let OverlayLayout { page, last_scroll: last } = model.overlay_layout;
    match model.keymap.action_for(event, model.screen) {
        Some(UserAction::Down | UserAction::NextPanel) => *scroll += 1,
        Some(UserAction::Up | UserAction::PreviousPanel) => *scroll = scroll.saturating_sub(1),
        Some(UserAction::PageDown | UserAction::Pause) => *scroll += page,
        Some(UserAction::PageUp) => *scroll = scroll.saturating_sub(page),
        Some(UserAction::First) => *scroll = 0,
        Some(UserAction::Last) => *scroll = last,
        Some(UserAction::Back | UserAction::Help | UserAction::Enter | UserAction::Quit) => {
            return OverlayOutcome::Close;
        }
        _ => {}
    }
    *scroll = (*scroll).min(last);
    OverlayOutcome::Keep
}

/// Returns whether the action scrolls a text that is read, or closes it.
const fn is_scroll_action(action: UserAction) -> bool {
    matches!(
        action,
        UserAction::Down
            | UserAction::Up
            | UserAction::PageDown
            | UserAction::PageUp
            | UserAction::First
            | UserAction::Last
            | UserAction::Back
            | UserAction::Enter
    )
}

fn handle_prompt_key(
    model: &mut Model,
    text: &mut String,
    purpose: &DialogPurpose,
    event: &KeyEvent,
) -> OverlayOutcome {
    match event.code {
        KeyCode::Esc => {
            if *purpose == DialogPurpose::Filter {
                text.clear();
                apply_filter(model, text);
            }
            return OverlayOutcome::Close;
        }
        KeyCode::Enter => return OverlayOutcome::Effects(submit_prompt(model, text, purpose)),
        KeyCode::Backspace => {
            text.pop();
        }
        KeyCode::Char('u') if event.modifiers.contains(KeyModifiers::CONTROL) => text.clear(),
        KeyCode::Char(character)
            if !event.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) =>
        {
            text.push(character);
        }
        _ => {}
    }
    if *purpose == DialogPurpose::Filter {
        apply_filter(model, text);
    }
    OverlayOutcome::Keep
}

/// Inserts pasted text into the line that is being written.
pub(crate) fn insert_pasted(model: &mut Model, pasted: &str) {
    if let Some(Overlay::Field(field)) = &mut model.overlay {
        return field.insert_pasted(pasted);
    }
    let Some(Overlay::Prompt { text, purpose, .. }) = &mut model.overlay else { return };
    text.extend(pasted.chars().filter(|it| !is_hidden(*it)).take(200));
    if *purpose == DialogPurpose::Filter {
        let text = text.clone();
        apply_filter(model, &text);
    }
}

fn apply_filter(model: &mut Model, text: &str) {
    screens::set_filter(model, text.to_lowercase());
}

fn submit_prompt(model: &mut Model, text: &str, purpose: &DialogPurpose) -> Vec<Effect> {
    match purpose {
        DialogPurpose::Screen(dialog) => dialog.submit(model, DialogAnswer::Text(text)),
        DialogPurpose::Filter | DialogPurpose::Export => Vec::new(),
    }
}

fn handle_confirm_key(
    model: &mut Model,
    question: &mut String,
    purpose: &DialogPurpose,
    again: &mut bool,
    event: &KeyEvent,
) -> OverlayOutcome {
    if event.code != KeyCode::Char('y') {
        model.notify("nothing was deleted");
        return OverlayOutcome::Close;
    }
    if *again {
        return OverlayOutcome::Effects(match purpose {
            DialogPurpose::Screen(dialog) => dialog.submit(model, DialogAnswer::Confirmed),
            DialogPurpose::Filter | DialogPurpose::Export => Vec::new(),
        });
    }
    *again = true;
    *question = format!("Really? This cannot be undone. {question}");
    OverlayOutcome::Keep
}

fn handle_choice_key(model: &mut Model, overlay: &mut Overlay, event: &KeyEvent) -> OverlayOutcome {
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

/// Returns the choice of export formats.
#[must_use]
pub(crate) fn export_choice() -> Overlay {
    let items = ExportFormat::ALL
        .iter()
        .map(|form| ChoiceItem {
            name: form.name().to_owned(),
            note: form.description().to_owned(),
            ..ChoiceItem::default()
        })
        .collect();
    Overlay::Choice {
        title: "write this view as".to_owned(),
        items,
        cursor: 0,
        single: true,
        purpose: DialogPurpose::Export,
    }
}

/// Draws the overlay above the screen.
pub fn render(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    match &model.overlay {
        None => {}
        Some(Overlay::Help { scroll }) => {
            let lines = help_lines(model);
            render_text_box(frame, area, model, "help", &lines, *scroll);
        }
        Some(Overlay::Text { title, text, scroll } | Overlay::Popup { title, text, scroll }) => {
            let room = usize::from(area.width.saturating_sub(4));
            let lines: Vec<Line<'_>> = wrap(text, room).into_iter().map(Line::from).collect();
            render_text_box(frame, area, model, title, &lines, *scroll);
        }
        Some(Overlay::Prompt { title, text, .. }) => render_prompt(frame, area, model, title, text),
        Some(Overlay::Confirm { question, .. }) => {
            let room = usize::from(area.width.saturating_sub(4)).min(72);
            let mut lines: Vec<Line<'_>> =
                wrap(question, room).into_iter().map(Line::from).collect();
            lines.push(Line::default());
            lines.push(Line::from("y: yes    any other key: no"));
            render_text_box(frame, area, model, "sure?", &lines, 0);
        }
        Some(overlay @ Overlay::Choice { .. }) => render_choice(frame, area, model, overlay),
        Some(Overlay::Field(field)) => field.render(frame, area, model),
    }
}

/// Returns the area of a centred box of that size.
pub(crate) fn centered_area(area: Rect, wide: usize, high: usize) -> Rect {
    let wide = u16::try_from(wide).unwrap_or(u16::MAX).min(area.width);
    let high = u16::try_from(high).unwrap_or(u16::MAX).min(area.height);
    Rect {
        x: area.x + (area.width - wide) / 2,
        y: area.y + (area.height - high) / 2,
        width: wide,
        height: high,
    }
}

fn render_text_box(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    title: &str,
    lines: &[Line<'_>],
    scroll: usize,
) {
    let widest = lines.iter().map(Line::width).max().unwrap_or(0).max(display_width(title) + 2);
    let place = centered_area(area, widest + 4, lines.len() + 2);
    let height = usize::from(place.height.saturating_sub(2));
    let first = scroll.min(lines.len().saturating_sub(height));
    let more = if lines.len() > height {
        format!("{title} {}-{} of {}", first + 1, first + height, lines.len())
    } else {
        title.to_owned()
    };
    let block = model.theme.panel_block(more, true);
    let inner = block.inner(place);
    let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
    frame.render_widget(Clear, place);
    frame.render_widget(block, place);
    let shown: Vec<Line<'_>> = lines.iter().skip(first).take(height).cloned().collect();
    frame.render_widget(Paragraph::new(shown), inner);
}

fn render_prompt(frame: &mut Frame<'_>, area: Rect, model: &Model, title: &str, text: &str) {
    let line = Rect { y: area.bottom().saturating_sub(1), height: 1.min(area.height), ..area };
    let room = usize::from(line.width).saturating_sub(display_width(title) + 5);
    let spans = vec![
        Span::styled(format!(" {title}: "), model.theme.style(StyleRole::Key)),
        Span::raw(fit_end(text, room)),
        Span::styled("_", model.theme.style(StyleRole::Key)),
    ];
    frame.render_widget(Clear, line);
    frame.render_widget(Paragraph::new(Line::from(spans)), line);
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
    let first = super::widgets::grid::first_visible_row(*cursor, items.len(), height);
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
    handle_key(model, &KeyEvent::from(code)).unwrap_or_default()
}

fn render_choice(frame: &mut Frame<'_>, area: Rect, model: &Model, overlay: &Overlay) {
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

/// Returns the lines of the help: the legend of the screen, then its keys and
/// those that work everywhere.
fn help_lines(model: &Model) -> Vec<Line<'static>> {
    let head = |text: String| Line::from(Span::styled(text, model.theme.style(StyleRole::Title)));
    let mut lines = vec![head("what is shown".to_owned())];
    let room = usize::from(model.size.0.saturating_sub(6)).clamp(20, 90);
    lines.extend(wrap(model.screen.legend(), room).into_iter().map(Line::from));
    if model.screen.shows_bill_parts() {
        lines.extend(bill_part_lines(model, room));
    }
    let sections = [
        (KeyContext::On(model.screen), format!("keys of the {} screen", model.screen.name())),
        (KeyContext::Everywhere, "keys everywhere".to_owned()),
    ];
    for (context, title) in sections {
        lines.push(Line::default());
        lines.push(head(title));
        for (binding, keys) in model.keymap.iter().filter(|(it, _)| it.context == context) {
            let keys: Vec<String> = keys.iter().map(KeyChord::to_string).collect();
            lines.push(Line::from(vec![
                Span::styled(pad(&keys.join(" "), 14, false), model.theme.style(StyleRole::Key)),
                Span::raw(binding.help),
            ]));
        }
    }
    lines
}

/// Returns a line for each part of a bill: its sign, its name and its meaning.
fn bill_part_lines(model: &Model, room: usize) -> Vec<Line<'static>> {
    let mut lines = vec![Line::default()];
    for (at, (name, about)) in bar::NAMES.iter().zip(bar::ABOUT).enumerate() {
        let text = format!("{} {about}", pad(name, 11, false));
        lines.push(Line::from(vec![
            Span::styled(
                model.theme.part_sign(at).to_string(),
                model.theme.style(StyleRole::Part(at)),
            ),
            Span::raw(format!(" {}", fit(&text, room.saturating_sub(2)))),
        ]));
    }
    lines
}

#[cfg(test)]
#[path = "overlay_tests.rs"]
mod tests;
