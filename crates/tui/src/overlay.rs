//! Overlays above a screen: help, texts, confirmations, choices.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::action::{Action, Effect};
use super::export::Form;
use super::keymap::{Context, Key};
use super::model::Model;
use super::screens::{bills, history, host, live, timeline};
use super::theme::Role;
use super::widgets::bar;
use super::widgets::text::{fit, pad, width, wrap};
use cyclometer_core::visible_text::{escape_line, is_hidden};

/// Overlay above the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overlay {
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
    Answer {
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
        purpose: Purpose,
    },
    /// Question to be confirmed.
    Confirm {
        /// Question to the user.
        question: String,
        /// Purpose of the confirmation.
        purpose: Purpose,
        /// Whether it has been confirmed once already.
        again: bool,
    },
    /// Choice among several items.
    Choice {
        /// Title of the choice.
        title: String,
        /// Items to choose from.
        items: Vec<Item>,
        /// Index of the selected item.
        cursor: usize,
        /// Whether exactly one item is chosen, rather than several.
        single: bool,
        /// Purpose of the choice.
        purpose: Purpose,
    },
}

/// Item of a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Name of the item.
    pub name: String,
    /// Remark shown beside the name.
    pub note: String,
    /// Whether the item is chosen.
    pub on: bool,
}

/// Purpose of an answer in an overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// Words that lines of the screen must contain; applied while they are written.
    Filter,
    /// Workloads to record.
    Workloads,
    /// Lanes to record.
    Lanes,
    /// Price models of the live view.
    Models,
    /// Format of an export.
    Export,
    /// Label for a recording or simulation.
    Label(cyclometer_store::Item),
    /// Recordings and simulations to delete.
    Delete(Vec<cyclometer_store::Item>),
}

/// Outcome of a key in an overlay.
enum Step {
    Keep,
    Close,
    Effects(Vec<Effect>),
}

/// Handles a key if an overlay is open; otherwise returns `None`, so that the
/// screen gets it.
///
/// # Errors
/// Returns `None` when no overlay takes the key.
pub fn key(model: &mut Model, event: &KeyEvent) -> Option<Vec<Effect>> {
    let mut overlay = model.overlay.take()?;
    // Ctrl-C quits everywhere.
    if event.modifiers.contains(KeyModifiers::CONTROL) && event.code == KeyCode::Char('c') {
        return Some(vec![Effect::Quit]);
    }
    let step = match &mut overlay {
        Overlay::Help { scroll } => {
            let lines = help(model).len();
            reading(model, scroll, lines, event)
        }
        Overlay::Text { scroll, text, .. } => {
            let lines = wrap(text, usize::from(model.size.0.saturating_sub(4))).len();
            reading(model, scroll, lines, event)
        }
        Overlay::Answer { scroll, text, .. } => {
            match model.keymap.action(event, model.screen) {
                // The overlay is closed, and the screen gets the key.
                Some(action) if !scrolls(action) => return None,
                _ => {
                    let room = usize::from(model.size.0.saturating_sub(4));
                    reading(model, scroll, wrap(text, room).len(), event)
                }
            }
        }
        Overlay::Prompt { text, purpose, .. } => {
            let purpose = purpose.clone();
            writing(model, text, &purpose, event)
        }
        Overlay::Confirm { question, purpose, again } => {
            confirming(model, question, purpose, again, event)
        }
        Overlay::Choice { .. } => choosing(model, &mut overlay, event),
    };
    Some(match step {
        Step::Keep => {
            model.overlay = Some(overlay);
            Vec::new()
        }
        Step::Close => Vec::new(),
        Step::Effects(effects) => effects,
    })
}

fn reading(model: &Model, scroll: &mut usize, lines: usize, event: &KeyEvent) -> Step {
    let page = usize::from(model.size.1.saturating_sub(6)).max(1);
    let last = lines.saturating_sub(usize::from(model.size.1.saturating_sub(2)));
    match model.keymap.action(event, model.screen) {
        Some(Action::Down | Action::NextPanel) => *scroll += 1,
        Some(Action::Up | Action::PreviousPanel) => *scroll = scroll.saturating_sub(1),
        Some(Action::PageDown | Action::Pause) => *scroll += page,
        Some(Action::PageUp) => *scroll = scroll.saturating_sub(page),
        Some(Action::First) => *scroll = 0,
        Some(Action::Last) => *scroll = last,
        Some(Action::Back | Action::Help | Action::Enter | Action::Quit) => return Step::Close,
        _ => {}
    }
    *scroll = (*scroll).min(last);
    Step::Keep
}

/// Returns whether the action scrolls a text that is read, or closes it.
const fn scrolls(action: Action) -> bool {
    matches!(
        action,
        Action::Down
            | Action::Up
            | Action::PageDown
            | Action::PageUp
            | Action::First
            | Action::Last
            | Action::Back
            | Action::Enter
    )
}

fn writing(model: &mut Model, text: &mut String, purpose: &Purpose, event: &KeyEvent) -> Step {
    match event.code {
        KeyCode::Esc => {
            if *purpose == Purpose::Filter {
                text.clear();
                filter(model, text);
            }
            return Step::Close;
        }
        KeyCode::Enter => return Step::Effects(written(model, text, purpose)),
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
    if *purpose == Purpose::Filter {
        filter(model, text);
    }
    Step::Keep
}

/// Inserts pasted text into the line that is being written.
pub fn pasted(model: &mut Model, pasted: &str) {
    let Some(Overlay::Prompt { text, purpose, .. }) = &mut model.overlay else { return };
    text.extend(pasted.chars().filter(|it| !is_hidden(*it)).take(200));
    if *purpose == Purpose::Filter {
        let text = text.clone();
        filter(model, &text);
    }
}

fn filter(model: &mut Model, text: &str) {
    use super::screens::Screen;
    let words = text.to_lowercase();
    match model.screen {
        Screen::Bills => bills::filter(model, words),
        Screen::History => history::filter(model, words),
        Screen::Host => host::filter(model, words),
        Screen::Live | Screen::Timeline => {}
    }
}

fn written(model: &mut Model, text: &str, purpose: &Purpose) -> Vec<Effect> {
    match purpose {
        Purpose::Label(item) => history::labelled(model, *item, text.trim()),
        _ => Vec::new(),
    }
}

fn confirming(
    model: &mut Model,
    question: &mut String,
    purpose: &Purpose,
    again: &mut bool,
    event: &KeyEvent,
) -> Step {
    if event.code != KeyCode::Char('y') {
        model.say("nothing was deleted");
        return Step::Close;
    }
    if *again {
        return Step::Effects(match purpose {
            Purpose::Delete(items) => history::delete(model, items.clone()),
            _ => Vec::new(),
        });
    }
    *again = true;
    *question = format!("Really? This cannot be undone. {question}");
    Step::Keep
}

fn choosing(model: &mut Model, overlay: &mut Overlay, event: &KeyEvent) -> Step {
    let Overlay::Choice { items, cursor, single, purpose, .. } = overlay else {
        return Step::Close;
    };
    let last = items.len().saturating_sub(1);
    let page = usize::from(model.size.1.saturating_sub(6)).max(1);
    // Where one item is chosen its first letter is enough, whatever else the
    // key means.
    if let (true, KeyCode::Char(letter)) = (*single, event.code)
        && let Some(item) = items.iter().find(|item| item.name.starts_with(letter))
    {
        let name = item.name.clone();
        return Step::Effects(chose(model, purpose, &[name]));
    }
    match model.keymap.action(event, model.screen) {
        Some(Action::Down | Action::NextPanel) => *cursor = (*cursor + 1).min(last),
        Some(Action::Up | Action::PreviousPanel) => *cursor = cursor.saturating_sub(1),
        Some(Action::PageDown) => *cursor = (*cursor + page).min(last),
        Some(Action::PageUp) => *cursor = cursor.saturating_sub(page),
        Some(Action::First) => *cursor = 0,
        Some(Action::Last) => *cursor = last,
        Some(Action::Back | Action::Quit) => return Step::Close,
        Some(Action::Enter) => {
            if *single && let Some(item) = items.get_mut(*cursor) {
                item.on = true;
            }
            let chosen: Vec<String> =
                items.iter().filter(|item| item.on).map(|item| item.name.clone()).collect();
            return Step::Effects(chose(model, purpose, &chosen));
        }
        _ if event.code == KeyCode::Char(' ') => {
            if let Some(item) = items.get_mut(*cursor) {
                item.on = !item.on;
            }
        }
        // The first letter of a name selects that item.
        _ => {
            if let KeyCode::Char(letter) = event.code {
                let found = items.iter().position(|item| item.name.starts_with(letter));
                *cursor = found.unwrap_or(*cursor);
            }
        }
    }
    Step::Keep
}

fn chose(model: &mut Model, purpose: &Purpose, chosen: &[String]) -> Vec<Effect> {
    match purpose {
        Purpose::Workloads => live::chose_workloads(model, chosen),
        Purpose::Lanes => live::chose_lanes(model, chosen),
        Purpose::Models => live::chose_models(model, chosen),
        Purpose::Export => chosen
            .first()
            .and_then(|name| Form::ALL.iter().find(|form| form.name() == name))
            .map(|form| vec![Effect::Export(*form)])
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Returns the choice of export formats.
#[must_use]
pub fn export_choice() -> Overlay {
    let items = Form::ALL
        .iter()
        .map(|form| Item { name: form.name().to_owned(), note: form.about().to_owned(), on: false })
        .collect();
    Overlay::Choice {
        title: "write this view as".to_owned(),
        items,
        cursor: 0,
        single: true,
        purpose: Purpose::Export,
    }
}

/// Draws the overlay above the screen.
pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    match &model.overlay {
        None => {}
        Some(Overlay::Help { scroll }) => {
            let lines = help(model);
            lines_in_box(frame, area, model, "help", &lines, *scroll);
        }
        Some(Overlay::Text { title, text, scroll } | Overlay::Answer { title, text, scroll }) => {
            let room = usize::from(area.width.saturating_sub(4));
            let lines: Vec<Line<'_>> = wrap(text, room).into_iter().map(Line::from).collect();
            lines_in_box(frame, area, model, title, &lines, *scroll);
        }
        Some(Overlay::Prompt { title, text, .. }) => prompt(frame, area, model, title, text),
        Some(Overlay::Confirm { question, .. }) => {
            let room = usize::from(area.width.saturating_sub(4)).min(72);
            let mut lines: Vec<Line<'_>> =
                wrap(question, room).into_iter().map(Line::from).collect();
            lines.push(Line::default());
            lines.push(Line::from("y: yes    any other key: no"));
            lines_in_box(frame, area, model, "sure?", &lines, 0);
        }
        Some(Overlay::Choice { title, items, cursor, single, .. }) => {
            choice(frame, area, model, title, items, *cursor, *single);
        }
    }
}

/// Returns the area of a centred box of that size.
fn middle(area: Rect, wide: usize, high: usize) -> Rect {
    let wide = u16::try_from(wide).unwrap_or(u16::MAX).min(area.width);
    let high = u16::try_from(high).unwrap_or(u16::MAX).min(area.height);
    Rect {
        x: area.x + (area.width - wide) / 2,
        y: area.y + (area.height - high) / 2,
        width: wide,
        height: high,
    }
}

fn lines_in_box(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    title: &str,
    lines: &[Line<'_>],
    scroll: usize,
) {
    let widest = lines.iter().map(Line::width).max().unwrap_or(0).max(width(title) + 2);
    let place = middle(area, widest + 4, lines.len() + 2);
    let height = usize::from(place.height.saturating_sub(2));
    let first = scroll.min(lines.len().saturating_sub(height));
    let more = if lines.len() > height {
        format!("{title} {}-{} of {}", first + 1, first + height, lines.len())
    } else {
        title.to_owned()
    };
    let block = model.theme.panel(more, true);
    let inner = block.inner(place);
    let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
    frame.render_widget(Clear, place);
    frame.render_widget(block, place);
    let shown: Vec<Line<'_>> = lines.iter().skip(first).take(height).cloned().collect();
    frame.render_widget(Paragraph::new(shown), inner);
}

fn prompt(frame: &mut Frame<'_>, area: Rect, model: &Model, title: &str, text: &str) {
    let line = Rect { y: area.bottom().saturating_sub(1), height: 1.min(area.height), ..area };
    let room = usize::from(line.width).saturating_sub(width(title) + 5);
    // The end of a long text is what is being written, so its start is cut.
    let text = escape_line(text);
    let mut shown = &*text;
    while width(shown) > room {
        let Some(first) = shown.chars().next() else { break };
        shown = &shown[first.len_utf8()..];
    }
    let spans = vec![
        Span::styled(format!(" {title}: "), model.theme.style(Role::Key)),
        Span::raw(shown.to_owned()),
        Span::styled("_", model.theme.style(Role::Key)),
    ];
    frame.render_widget(Clear, line);
    frame.render_widget(Paragraph::new(Line::from(spans)), line);
}

fn choice(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    title: &str,
    items: &[Item],
    cursor: usize,
    single: bool,
) {
    let names = items.iter().map(|item| width(&item.name)).max().unwrap_or(0);
    let notes = items.iter().map(|item| width(&item.note)).max().unwrap_or(0);
    let how = if single {
        "enter: this one   esc: none"
    } else {
        "space: on or off   enter: done   esc: as before"
    };
    let wide = (names + notes + 12).max(width(title) + 8).max(width(how) + 2);
    let place = middle(area, wide, items.len() + 4);
    let block = model.theme.panel(title, true);
    let inner = block.inner(place);
    let room = usize::from(inner.width);
    let height = usize::from(inner.height.saturating_sub(2));
    let first = super::widgets::grid::offset(cursor, items.len(), height);
    let mut lines = Vec::new();
    for (at, item) in items.iter().enumerate().skip(first).take(height) {
        let here = at == cursor;
        let pointer = if here { model.theme.pointer() } else { " " };
        let mark = match (single, item.on) {
            (true, _) => "",
            (false, true) => "[x] ",
            (false, false) => "[ ] ",
        };
        let text = format!("{mark}{}  {}", pad(&item.name, names, false), item.note);
        let role = if here { Role::Selected } else { Role::Text };
        lines.push(Line::from(vec![
            Span::raw(format!("{pointer} ")),
            Span::styled(fit(&text, room.saturating_sub(2)), model.theme.style(role)),
        ]));
    }
    lines.push(Line::default());
    lines.push(Line::from(Span::styled(fit(how, room), model.theme.style(Role::Dim))));
    frame.render_widget(Clear, place);
    frame.render_widget(block, place);
    frame.render_widget(Paragraph::new(lines), inner);
}

/// Returns the lines of the help: the legend of the screen, then its keys and
/// those that work everywhere.
fn help(model: &Model) -> Vec<Line<'static>> {
    let about = match model.screen {
        super::screens::Screen::Live => live::LEGEND,
        super::screens::Screen::Bills => bills::LEGEND,
        super::screens::Screen::Timeline => timeline::LEGEND,
        super::screens::Screen::History => history::LEGEND,
        super::screens::Screen::Host => host::LEGEND,
    };
    let head = |text: String| Line::from(Span::styled(text, model.theme.style(Role::Title)));
    let mut lines = vec![head("what is shown".to_owned())];
    let room = usize::from(model.size.0.saturating_sub(6)).clamp(20, 90);
    lines.extend(wrap(about, room).into_iter().map(Line::from));
    if matches!(model.screen, super::screens::Screen::Live | super::screens::Screen::Bills) {
        lines.extend(parts(model, room));
    }
    let sections = [
        (Context::On(model.screen), format!("keys of the {} screen", model.screen.name())),
        (Context::Everywhere, "keys everywhere".to_owned()),
    ];
    for (context, title) in sections {
        lines.push(Line::default());
        lines.push(head(title));
        for (binding, keys) in model.keymap.iter().filter(|(it, _)| it.context == context) {
            let keys: Vec<String> = keys.iter().map(Key::to_string).collect();
            lines.push(Line::from(vec![
                Span::styled(pad(&keys.join(" "), 14, false), model.theme.style(Role::Key)),
                Span::raw(binding.help),
            ]));
        }
    }
    lines
}

/// Returns a line for each part of a bill: its sign, its name and its meaning.
fn parts(model: &Model, room: usize) -> Vec<Line<'static>> {
    let mut lines = vec![Line::default()];
    for (at, (name, about)) in bar::NAMES.iter().zip(bar::ABOUT).enumerate() {
        let text = format!("{} {about}", pad(name, 11, false));
        lines.push(Line::from(vec![
            Span::styled(model.theme.part(at).to_string(), model.theme.style(Role::Part(at))),
            Span::raw(format!(" {}", fit(&text, room.saturating_sub(2)))),
        ]));
    }
    lines
}

#[cfg(test)]
#[path = "overlay_tests.rs"]
mod tests;
