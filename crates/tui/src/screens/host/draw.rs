//! Drawing of the host screen: rows under headings, and the selected one in full.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::rows::{Mark, Row, Section, rows};
use crate::action::Action;
use crate::frame::parts;
use crate::model::Model;
use crate::theme::{Role, Theme};
use crate::widgets::grid::offset;
use crate::widgets::text::{fit, pad, width, wrap};
use cyclometer_doctor::State;
use cyclometer_report::counted;

/// Width of a terminal from which on remedies stand beside the findings.
const WIDE: usize = 140;
/// Width of the sign and word of a state.
const STATE: usize = 10;

/// Splits an area into the list, and the selected row in full.
fn layout(area: Rect) -> (Rect, Rect) {
    // A wide terminal needs fewer lines for a text.
    let most = if usize::from(area.width) >= WIDE { 6 } else { 9 };
    let below = (area.height / 3).min(most);
    let list = area.height - below;
    (Rect { height: list, ..area }, Rect { y: area.y + list, height: below, ..area })
}

const fn inside(area: Rect) -> Rect {
    Rect {
        x: area.x + 1,
        y: area.y + 1,
        width: area.width.saturating_sub(2),
        height: area.height.saturating_sub(2),
    }
}

/// Returns the number of rows of a page.
pub fn page(model: &Model) -> usize {
    let body = parts(Rect::new(0, 0, model.size.0, model.size.1)).body;
    usize::from(layout(body).0.height.saturating_sub(4)).max(1)
}

/// Heading, or a row by its position.
#[derive(Clone, Copy)]
enum Entry {
    Heading(Section),
    Row(usize),
}

fn entries(rows: &[Row]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for section in Section::ALL {
        let of = rows.iter().enumerate().filter(|(_, row)| row.section == section);
        let mut of = of.map(|(at, _)| Entry::Row(at)).peekable();
        if of.peek().is_some() {
            entries.push(Entry::Heading(section));
        }
        entries.extend(of);
    }
    entries
}

/// Returns the first entry in view.
fn first(entries: &[Entry], cursor: usize, height: usize) -> usize {
    let place = entries.iter().position(|entry| matches!(entry, Entry::Row(at) if *at == cursor));
    offset(place.unwrap_or(0), entries.len(), height)
}

/// Returns the row that is drawn at a position.
pub fn row_at(model: &Model, area: Rect, at: Position) -> Option<usize> {
    let inner = inside(layout(area).0);
    if !inner.contains(at) {
        return None;
    }
    let rows = rows(model);
    let entries = entries(&rows);
    let first = first(&entries, model.host.cursor, usize::from(inner.height));
    match entries.get(first + usize::from(at.y - inner.y)) {
        Some(Entry::Row(row)) => Some(*row),
        _ => None,
    }
}

/// Draws the screen.
pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let (list, below) = layout(area);
    let rows = rows(model);
    let cursor = model.host.cursor.min(rows.len().saturating_sub(1));
    draw_list(frame, list, model, &rows, cursor);
    draw_selected(frame, below, model, rows.get(cursor));
}

fn draw_list(frame: &mut Frame<'_>, area: Rect, model: &Model, rows: &[Row], cursor: usize) {
    let theme = &model.theme;
    let title = fit(&title(model, rows), usize::from(area.width).saturating_sub(6));
    let block = theme.panel(title, true);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let entries = entries(rows);
    let height = usize::from(inner.height);
    let first = first(&entries, cursor, height);
    let columns = Columns::new(rows, usize::from(inner.width));
    let mut lines: Vec<Line<'_>> = Vec::with_capacity(height);
    for entry in entries.iter().skip(first).take(height) {
        lines.push(match entry {
            Entry::Heading(section) => Line::from(Span::styled(
                fit(&format!(" {}", section.title()), columns.room),
                theme.style(Role::Title),
            )),
            Entry::Row(at) => columns.line(*theme, &rows[*at], *at == cursor),
        });
    }
    if rows.is_empty() {
        let key = model.keymap.key_of(Action::Back, model.screen).unwrap_or_default();
        let text = format!(" no line has `{}`; {key} shows all again", model.host.words);
        lines.push(Line::from(Span::styled(fit(&text, columns.room), theme.style(Role::Dim))));
    }
    frame.render_widget(Paragraph::new(lines), inner);
}

/// Returns the title of the list: how many rows there are, and how many report
/// a problem.
fn title(model: &Model, rows: &[Row]) -> String {
    let count = |wanted: fn(State) -> bool| {
        let known = |row: &&Row| matches!(row.mark, Mark::Known(state) if wanted(state));
        i64::try_from(rows.iter().filter(known).count()).unwrap_or(i64::MAX)
    };
    let missing = count(|state| matches!(state, State::Missing | State::Unusable));
    let mut parts = vec![
        "this machine".to_owned(),
        format!("{} ok", count(|state| state == State::Ok)),
        counted(count(|state| state == State::Warning), "warning"),
        format!("{missing} missing"),
    ];
    if !model.host.words.is_empty() {
        parts.push(format!("with `{}`", model.host.words));
    }
    parts.join(model.theme.sign(" · ", ", "))
}

struct Columns {
    room: usize,
    check: usize,
    found: usize,
    fix: usize,
}

impl Columns {
    fn new(rows: &[Row], room: usize) -> Self {
        let widest = rows.iter().map(|row| width(&row.check)).max().unwrap_or(0);
        let check = widest.min(room / 3);
        // The pointer, and a gap after each column.
        let rest = room.saturating_sub(1 + STATE + 1 + check + 1);
        let fix = if room >= WIDE { rest / 3 } else { 0 };
        Self { room, check, found: rest.saturating_sub(fix), fix }
    }

    fn line(&self, theme: Theme, row: &Row, selected: bool) -> Line<'static> {
        let style = |role| {
            let style = theme.style(role);
            if selected { style.patch(theme.style(Role::Selected)) } else { style }
        };
        let (sign, role) = sign(theme, row.mark);
        let pointer = if selected { theme.pointer() } else { " " };
        let state = pad(&format!("{sign} {}", row.mark.word()), STATE, false);
        let mut spans = vec![
            Span::raw(pointer.to_owned()),
            Span::styled(state, style(role)),
            Span::styled(format!(" {} ", pad(&row.check, self.check, false)), style(Role::Text)),
        ];
        if self.fix == 0 {
            spans.push(Span::styled(fit(&row.found, self.found), style(Role::Text)));
        } else {
            let found = pad(&row.found, self.found.saturating_sub(1), false);
            spans.push(Span::styled(format!("{found} "), style(Role::Text)));
            spans.push(Span::styled(fit(&row.fix, self.fix), style(Role::Dim)));
        }
        Line::from(spans)
    }
}

/// Returns the sign of a state and the role of its style.
const fn sign(theme: Theme, mark: Mark) -> (&'static str, Role) {
    match mark {
        Mark::Known(State::Ok) => (theme.sign("✓", "+"), Role::Good),
        Mark::Known(State::Warning) => ("!", Role::Warn),
        Mark::Known(State::Absent) => (theme.sign("·", "."), Role::Dim),
        Mark::Known(State::Missing | State::Unusable) => (theme.sign("✗", "x"), Role::Bad),
        Mark::Looking | Mark::Later => (theme.sign("…", "~"), Role::Dim),
    }
}

fn draw_selected(frame: &mut Frame<'_>, area: Rect, model: &Model, row: Option<&Row>) {
    let theme = &model.theme;
    let room = usize::from(area.width.saturating_sub(4));
    let title = row
        .map_or_else(|| "no line".to_owned(), |row| format!("{}: {}", row.check, row.mark.word()));
    let block = theme.panel(fit(&title, usize::from(area.width).saturating_sub(6)), false);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let Some(row) = row else { return };
    let mut texts: Vec<(String, Role)> =
        wrap(&row.found, room).into_iter().map(|line| (line, Role::Text)).collect();
    if row.mark == Mark::Looking {
        texts.push(("it is being looked at".to_owned(), Role::Dim));
    }
    if !row.fix.is_empty() {
        let fix = format!("what to do: {}", row.fix);
        texts.extend(wrap(&fix, room).into_iter().map(|line| (line, Role::Warn)));
    }
    let height = usize::from(inner.height);
    if texts.len() > height && height > 0 {
        texts.truncate(height - 1);
        let key = model.keymap.key_of(Action::Enter, model.screen).unwrap_or_default();
        texts.push((format!("{key} shows all of it"), Role::Dim));
    }
    let lines: Vec<Line<'_>> = texts
        .into_iter()
        .map(|(text, role)| {
            Line::from(vec![Span::raw(" "), Span::styled(fit(&text, room), theme.style(role))])
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), inner);
}
