//! Field of a dialog: a box with one line of text, what can be written there, and what is wrong
//! with it.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::model::Model;
use super::overlay::centered_area;
use super::screens::ScreenDialog;
use super::theme::StyleRole;
use super::widgets::text::{display_width, fit, pad, wrap};
use cyclometer_core::visible_text::{escape_line, is_hidden};

/// Longest text, in characters.
const MAX_TEXT: usize = 4_096;
/// Widest box, in columns.
const MAX_WIDTH: usize = 100;
/// Most lines below the text.
const MAX_LINES: usize = 8;

/// Field in which one line of text is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// Title of the box.
    pub title: String,
    /// Explanation of what can be written.
    pub about: String,
    /// Text written so far.
    pub text: String,
    /// Remark on the text.
    pub state: FieldState,
    /// Purpose of the text.
    pub purpose: ScreenDialog,
}

/// Remark on the text of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FieldState {
    /// Nothing: it is being written.
    Writing,
    /// It was submitted, and the answer is awaited.
    Busy,
    /// It is wrong, for this reason.
    Failed(String),
    /// The last word can be one of these.
    Candidates(Vec<String>),
}

/// Outcome of a key in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldOutcome {
    Keep,
    Close,
    Submit,
    Complete,
}

impl Field {
    /// Creates an empty field.
    #[must_use]
    pub fn new(title: &str, about: &str, purpose: ScreenDialog) -> Self {
        let (title, about) = (title.to_owned(), about.to_owned());
        Self { title, about, text: String::new(), state: FieldState::Writing, purpose }
    }

    /// Handles a key. While an answer is awaited, the field can only be closed.
    pub(crate) fn handle_key(&mut self, event: &KeyEvent) -> FieldOutcome {
        let is_command = event.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
        match event.code {
            KeyCode::Esc => return FieldOutcome::Close,
            _ if self.state == FieldState::Busy => return FieldOutcome::Keep,
            KeyCode::Enter => return FieldOutcome::Submit,
            KeyCode::Tab => return FieldOutcome::Complete,
            KeyCode::Backspace => drop(self.text.pop()),
            KeyCode::Char('u') if is_command => self.text.clear(),
            KeyCode::Char('w') if is_command => self.remove_last_word(),
            KeyCode::Char(letter) if !is_command && self.text.chars().count() < MAX_TEXT => {
                self.text.push(letter);
            }
            _ => return FieldOutcome::Keep,
        }
        self.state = FieldState::Writing;
        FieldOutcome::Keep
    }

    fn remove_last_word(&mut self) {
        let kept = self.text.trim_end();
        let end = kept.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        self.text.truncate(end);
    }

    /// Inserts pasted text, without what would not be seen.
    pub(crate) fn insert_pasted(&mut self, pasted: &str) {
        if self.state != FieldState::Busy {
            let room = MAX_TEXT.saturating_sub(self.text.chars().count());
            self.text.extend(pasted.chars().filter(|it| !is_hidden(*it)).take(room));
            self.state = FieldState::Writing;
        }
    }

    /// Draws the field.
    pub(crate) fn render(&self, frame: &mut Frame<'_>, area: Rect, model: &Model) {
        let wide = usize::from(area.width).min(MAX_WIDTH);
        let room = wide.saturating_sub(4);
        let (plain, key) = (model.theme.style(StyleRole::Text), model.theme.style(StyleRole::Key));
        let mut lines: Vec<Line<'_>> =
            wrap(&self.about, room).into_iter().map(Line::from).collect();
        lines.push(Line::default());
        lines.push(Line::from(vec![
            Span::styled("> ", key),
            Span::styled(fit_end(&self.text, room.saturating_sub(3)), plain),
            Span::styled("_", key),
        ]));
        let above = lines.len();
        lines.extend(self.state_lines(model, room));
        // The box keeps its height for a message of two lines.
        let below = lines.len().saturating_sub(above).max(2);
        lines.resize_with(above + below, Line::default);
        lines.push(Line::default());
        let how = "enter: add   tab: complete   esc: as before";
        lines.push(Line::styled(fit(how, room), model.theme.style(StyleRole::Dim)));
        let place = centered_area(area, wide, lines.len() + 2);
        let block = model.theme.panel_block(self.title.clone(), true);
        let inner = block.inner(place);
        let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
        frame.render_widget(Clear, place);
        frame.render_widget(block, place);
        frame.render_widget(Paragraph::new(lines), inner);
    }

    /// Returns the lines below the text.
    fn state_lines(&self, model: &Model, room: usize) -> Vec<Line<'static>> {
        let styled = |lines: Vec<String>, role| {
            let style = model.theme.style(role);
            lines.into_iter().map(|text| Line::styled(text, style)).collect()
        };
        match &self.state {
            FieldState::Writing => Vec::new(),
            FieldState::Busy => styled(vec!["reading it ...".to_owned()], StyleRole::Dim),
            FieldState::Failed(reason) => {
                let mut lines = wrap(reason, room);
                lines.truncate(MAX_LINES);
                styled(lines, StyleRole::Bad)
            }
            FieldState::Candidates(names) => styled(arrange_columns(names, room), StyleRole::Dim),
        }
    }
}

/// Arranges names in columns, as many as there is room for; says how many are left out.
fn arrange_columns(names: &[String], room: usize) -> Vec<String> {
    let widest = names.iter().map(|name| display_width(name)).max().unwrap_or(0);
    let column = (widest + 2).clamp(1, room.max(1));
    let columns = (room / column).max(1);
    let shown = names.len().min(columns * MAX_LINES);
    let mut lines: Vec<String> = names[..shown]
        .chunks(columns)
        .map(|row| row.iter().map(|name| pad(name, column, false)).collect::<String>())
        .collect();
    if shown < names.len() {
        lines.push(format!("and {} more", names.len() - shown));
    }
    lines
}

/// Returns the end of the text in at most `width` columns: it is what is being written.
pub(crate) fn fit_end(text: &str, width: usize) -> String {
    let text = escape_line(text);
    let mut shown = &*text;
    while display_width(shown) > width {
        let Some(first) = shown.chars().next() else { break };
        shown = &shown[first.len_utf8()..];
    }
    shown.to_owned()
}
