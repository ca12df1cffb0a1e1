//! Drawing of the host screen: rows under headings, and the selected one in full.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::check_rows::{HostRow, HostSection, RowStatus, visible_rows};
use super::layout::{HostLayout, WIDE};
use crate::action::UserAction;
use crate::frame::inner_area;
use crate::model::Model;
use crate::theme::{StyleRole, Theme};
use crate::widgets::grid::first_visible_row;
use crate::widgets::text::{display_width, fit, pad, wrap};
use cyclometer_doctor::HostCheckState;
use cyclometer_report::format_count;

/// Width of the sign and word of a state.
const STATE: usize = 10;

/// Heading, or a row by its position.
#[derive(Clone, Copy)]
enum ListEntry {
    Heading(HostSection),
    Row(usize),
}

fn list_entries(rows: &[HostRow]) -> Vec<ListEntry> {
    let mut entries = Vec::new();
    for section in HostSection::ALL {
        let of = rows.iter().enumerate().filter(|(_, row)| row.section == section);
        let mut of = of.map(|(at, _)| ListEntry::Row(at)).peekable();
        if of.peek().is_some() {
            entries.push(ListEntry::Heading(section));
        }
        entries.extend(of);
    }
    entries
}

/// Returns the first entry in view.
fn first_visible_entry(entries: &[ListEntry], cursor: usize, height: usize) -> usize {
    let place =
        entries.iter().position(|entry| matches!(entry, ListEntry::Row(at) if *at == cursor));
    first_visible_row(place.unwrap_or(0), entries.len(), height)
}

/// Returns the row that is drawn at a position.
pub fn row_at(model: &Model, layout: &HostLayout, at: Position) -> Option<usize> {
    let inner = inner_area(layout.list);
    if !inner.contains(at) {
        return None;
    }
    let rows = visible_rows(model);
    let entries = list_entries(&rows);
    let first = first_visible_entry(&entries, model.screens.host.cursor, usize::from(inner.height));
    match entries.get(first + usize::from(at.y - inner.y)) {
        Some(ListEntry::Row(row)) => Some(*row),
        _ => None,
    }
}

/// Draws the screen.
pub fn render(frame: &mut Frame<'_>, layout: &HostLayout, model: &Model) {
    let rows = visible_rows(model);
    let cursor = model.screens.host.cursor.min(rows.len().saturating_sub(1));
    draw_list(frame, layout.list, model, &rows, cursor);
    draw_selected(frame, layout.selected, model, rows.get(cursor));
}

fn draw_list(frame: &mut Frame<'_>, area: Rect, model: &Model, rows: &[HostRow], cursor: usize) {
    let theme = &model.theme;
    let title = fit(&list_title(model, rows), usize::from(area.width).saturating_sub(6));
    let block = theme.panel_block(title, true);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let entries = list_entries(rows);
    let height = usize::from(inner.height);
    let first = first_visible_entry(&entries, cursor, height);
    let columns = HostColumns::new(rows, usize::from(inner.width));
    let mut lines: Vec<Line<'_>> = Vec::with_capacity(height);
    for entry in entries.iter().skip(first).take(height) {
        lines.push(match entry {
            ListEntry::Heading(section) => Line::from(Span::styled(
                fit(&format!(" {}", section.title()), columns.room),
                theme.style(StyleRole::Title),
            )),
            ListEntry::Row(at) => columns.row_line(*theme, &rows[*at], *at == cursor),
        });
    }
    if rows.is_empty() {
        let key = model.keymap.key_for(UserAction::Back, model.screen).unwrap_or_default();
        let text =
            format!(" no line has `{}`; {key} shows all again", model.screens.host.filter_words);
        lines.push(Line::from(Span::styled(fit(&text, columns.room), theme.style(StyleRole::Dim))));
    }
    frame.render_widget(Paragraph::new(lines), inner);
}

/// Returns the title of the list: how many rows there are, and how many report
/// a problem.
fn list_title(model: &Model, rows: &[HostRow]) -> String {
    let count = |wanted: fn(HostCheckState) -> bool| {
        let known = |row: &&HostRow| matches!(row.mark, RowStatus::Known(state) if wanted(state));
        i64::try_from(rows.iter().filter(known).count()).unwrap_or(i64::MAX)
    };
    let missing =
        count(|state| matches!(state, HostCheckState::Missing | HostCheckState::Unusable));
    let mut parts = vec![
        "this machine".to_owned(),
        format!("{} ok", count(|state| state == HostCheckState::Ok)),
        format_count(count(|state| state == HostCheckState::Warning), "warning"),
        format!("{missing} missing"),
    ];
    if !model.screens.host.filter_words.is_empty() {
        parts.push(format!("with `{}`", model.screens.host.filter_words));
    }
    parts.join(model.theme.sign(" · ", ", "))
}

struct HostColumns {
    room: usize,
    check: usize,
    found: usize,
    fix: usize,
}

impl HostColumns {
    fn new(rows: &[HostRow], room: usize) -> Self {
        let widest = rows.iter().map(|row| display_width(&row.check)).max().unwrap_or(0);
        let check = widest.min(room / 3);
        // The pointer, and a gap after each column.
        let rest = room.saturating_sub(1 + STATE + 1 + check + 1);
        let fix = if room >= WIDE { rest / 3 } else { 0 };
        Self { room, check, found: rest.saturating_sub(fix), fix }
    }

    fn row_line(&self, theme: Theme, row: &HostRow, selected: bool) -> Line<'static> {
        let style = |role| {
            let style = theme.style(role);
            if selected { style.patch(theme.style(StyleRole::Selected)) } else { style }
        };
        let (sign, role) = status_sign(theme, row.mark);
        let pointer = if selected { theme.pointer() } else { " " };
        let state = pad(&format!("{sign} {}", row.mark.label()), STATE, false);
        let mut spans = vec![
            Span::raw(pointer.to_owned()),
            Span::styled(state, style(role)),
            Span::styled(
                format!(" {} ", pad(&row.check, self.check, false)),
                style(StyleRole::Text),
            ),
        ];
        if self.fix == 0 {
            spans.push(Span::styled(fit(&row.found, self.found), style(StyleRole::Text)));
        } else {
            let found = pad(&row.found, self.found.saturating_sub(1), false);
            spans.push(Span::styled(format!("{found} "), style(StyleRole::Text)));
            spans.push(Span::styled(fit(&row.fix, self.fix), style(StyleRole::Dim)));
        }
        Line::from(spans)
    }
}

/// Returns the sign of a state and the role of its style.
const fn status_sign(theme: Theme, mark: RowStatus) -> (&'static str, StyleRole) {
    match mark {
        RowStatus::Known(HostCheckState::Ok) => (theme.sign("✓", "+"), StyleRole::Good),
        RowStatus::Known(HostCheckState::Warning) => ("!", StyleRole::Warn),
        RowStatus::Known(HostCheckState::Absent) => (theme.sign("·", "."), StyleRole::Dim),
        RowStatus::Known(HostCheckState::Missing | HostCheckState::Unusable) => {
            (theme.sign("✗", "x"), StyleRole::Bad)
        }
        RowStatus::Looking | RowStatus::Later => (theme.sign("…", "~"), StyleRole::Dim),
    }
}

fn draw_selected(frame: &mut Frame<'_>, area: Rect, model: &Model, row: Option<&HostRow>) {
    let theme = &model.theme;
    let room = usize::from(area.width.saturating_sub(4));
    let title = row
        .map_or_else(|| "no line".to_owned(), |row| format!("{}: {}", row.check, row.mark.label()));
    let block = theme.panel_block(fit(&title, usize::from(area.width).saturating_sub(6)), false);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let Some(row) = row else { return };
    let mut texts: Vec<(String, StyleRole)> =
        wrap(&row.found, room).into_iter().map(|line| (line, StyleRole::Text)).collect();
    if row.mark == RowStatus::Looking {
        texts.push(("it is being looked at".to_owned(), StyleRole::Dim));
    }
    if !row.fix.is_empty() {
        let fix = format!("what to do: {}", row.fix);
        texts.extend(wrap(&fix, room).into_iter().map(|line| (line, StyleRole::Warn)));
    }
    let height = usize::from(inner.height);
    if texts.len() > height && height > 0 {
        texts.truncate(height - 1);
        let key = model.keymap.key_for(UserAction::Enter, model.screen).unwrap_or_default();
        texts.push((format!("{key} shows all of it"), StyleRole::Dim));
    }
    let lines: Vec<Line<'_>> = texts
        .into_iter()
        .map(|(text, role)| {
            Line::from(vec![Span::raw(" "), Span::styled(fit(&text, room), theme.style(role))])
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), inner);
}
