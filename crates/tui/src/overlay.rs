//! Overlays above a screen: help, texts, confirmations, choices.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::action::{Effect, UserAction};
use super::choice::{self, ChoiceItem};
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
    pub page: usize,
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
pub(crate) enum OverlayOutcome {
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
        Overlay::Choice { .. } => choice::handle_key(model, &mut overlay, event),
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
        Some(overlay @ Overlay::Choice { .. }) => choice::render(frame, area, model, overlay),
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
