//! Drawing of the history screen.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::DetailLine;
use super::layout::HistoryLayout;
use super::list::{HistoryList, HistoryRow, HistoryWidths};
use crate::action::UserAction;
use crate::model::Model;
use crate::screens::ScreenId;
use crate::theme::{StyleRole, Theme};
use crate::widgets::grid::{GridCell, GridColumn, SelectionGrid, first_visible_row};
use crate::widgets::text::{fit, wrap};
use cyclometer_report::{format_count, format_timestamp};
use cyclometer_store::HistoryItem;

/// Draws the screen.
pub fn render(frame: &mut Frame<'_>, layout: &HistoryLayout, model: &Model) {
    render_list(frame, layout.list, model);
    render_details(frame, layout.details, model);
    if layout.database.height > 2 {
        render_database(frame, layout.database, model);
    }
}

fn render_list(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let state = &model.screens.history;
    let room = usize::from(area.width).saturating_sub(6);
    let block = model.theme.panel_block(fit(&list_title(model), room), !state.focus);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let Some(lists) = state.lists.as_ref().filter(|_| !state.visible.is_empty()) else {
        let (text, role) = empty_list_text(model);
        let lines = wrap(&text, usize::from(inner.width).saturating_sub(2));
        let style = model.theme.style(role);
        let lines: Vec<Line<'_>> = lines
            .into_iter()
            .map(|line| Line::from(Span::styled(format!(" {line}"), style)))
            .collect();
        return frame.render_widget(Paragraph::new(lines), inner);
    };
    build_grid(model, lists, inner).render(frame, inner, &model.theme);
}

/// Returns the title of the list: how many items there are, and which of them
/// are shown in which order.
fn list_title(model: &Model) -> String {
    let state = &model.screens.history;
    let Some(lists) = &state.lists else { return "recordings and simulations".to_owned() };
    let mut parts = vec!["recordings and simulations".to_owned()];
    let (shown, all) = (state.visible.len(), lists.rows.len());
    if lists.left_out() > 0 {
        parts.push(format!("newest {all} of {}", all as u64 + lists.left_out()));
    } else {
        parts.push(all.to_string());
    }
    if !state.filter_words.is_empty() {
        parts.push(format!("{shown} with `{}`", state.filter_words));
    }
    let order = if state.reverse { ", turned round" } else { "" };
    parts.push(format!("by {}{order}", state.sort.name()));
    parts.join(model.theme.sign(" · ", ", "))
}

/// Returns the text shown in place of rows.
fn empty_list_text(model: &Model) -> (String, StyleRole) {
    let state = &model.screens.history;
    match (&state.lists, &state.problem) {
        (None, None) => ("reading the database".to_owned(), StyleRole::Dim),
        (None, Some(reason)) => (reason.clone(), StyleRole::Bad),
        (Some(lists), _) if lists.rows.is_empty() => {
            let key = model.keymap.key_for(UserAction::Start, ScreenId::Live).unwrap_or_default();
            (
                format!("nothing has been recorded yet: {key} on the live screen records"),
                StyleRole::Dim,
            )
        }
        (Some(_), _) => {
            let key = model.keymap.key_for(UserAction::Back, model.screen).unwrap_or_default();
            (format!("none has `{}`; {key} shows all again", state.filter_words), StyleRole::Dim)
        }
    }
}

/// Least width of a column of names.
const NAMES: usize = 5;

/// Returns the widths of the columns that share the remaining room: label,
/// lanes, and workloads or models. Where not everything fits, the widest give
/// way.
fn shared_widths(widths: &HistoryWidths, used: usize, room: usize) -> [usize; 3] {
    let room = room.saturating_sub(used);
    let mut shares = [widths.label, widths.lanes.max(NAMES), widths.contents.max(NAMES)];
    if widths.label > 0 {
        shares[0] = widths.label.max(NAMES);
    }
    while shares.iter().sum::<usize>() > room.max(3 * NAMES) {
        let Some(widest) = shares.iter_mut().max() else { break };
        *widest -= 1;
    }
    shares
}

fn build_grid(model: &Model, lists: &HistoryList, area: Rect) -> SelectionGrid {
    let state = &model.screens.history;
    let height = usize::from(area.height.saturating_sub(1));
    let first = first_visible_row(state.cursor, state.visible.len(), height);
    let rows: Vec<&HistoryRow> = state
        .visible
        .iter()
        .skip(first)
        .take(height)
        .filter_map(|at| lists.rows.get(*at))
        .collect();
    let widths = &lists.widths;
    let (number, status, runs) =
        ((widths.number + 1).max(3), widths.status.max(6), widths.runs.max(4));
    // Signs, the moment, `failed`, and the gaps between all nine columns.
    let used = 3 + number + 16 + status + runs + 6 + 10;
    let [label, lanes, of] = shared_widths(widths, used, usize::from(area.width));
    let long = "workloads / models";
    let mut columns = vec![
        GridColumn::for_text("", 3),
        GridColumn::for_numbers("no.", number),
        GridColumn::for_text("begun (UTC)", 16),
        GridColumn::for_text("status", status),
        GridColumn::for_numbers("runs", runs),
        GridColumn::for_numbers("failed", 6),
        GridColumn::for_text("label", label),
        GridColumn::for_text("lanes", lanes),
        GridColumn::for_text(if of < long.len() { "workloads" } else { long }, of).growing(),
    ];
    let mut rows: Vec<Vec<GridCell>> =
        rows.iter().map(|row| row_cells(model, row, [label, lanes, of])).collect();
    // A column without any content is left out.
    if widths.label == 0 {
        columns.remove(LABEL);
        for row in &mut rows {
            row.remove(LABEL);
        }
    }
    SelectionGrid {
        columns,
        rows,
        selected: Some(state.cursor - first),
        ..SelectionGrid::default()
    }
}

/// Position of the label among the columns.
const LABEL: usize = 6;

fn row_cells(model: &Model, row: &HistoryRow, [label, lanes, of]: [usize; 3]) -> Vec<GridCell> {
    let bad = row.bad.map_or_else(|| "-".to_owned(), |bad| bad.to_string());
    let bad_role = if row.bad.is_some_and(|bad| bad > 0) { StyleRole::Bad } else { StyleRole::Dim };
    vec![
        GridCell::with_role(row_signs(model, row.item), StyleRole::Key),
        GridCell::new(indented_number(model, row)),
        GridCell::new(format_timestamp(&row.begun).chars().take(16).collect::<String>()),
        GridCell::with_role(row.shown_status().to_owned(), status_role(row.shown_status())),
        GridCell::new(row.invocations.to_string()),
        GridCell::with_role(bad, bad_role),
        GridCell::new(fit(&row.label, label)),
        GridCell::new(fit(&row.lanes, lanes)),
        GridCell::new(fit(&row.short_contents(), of)),
    ]
}

/// Returns the number of a row, indented under that of its recording.
fn indented_number(model: &Model, row: &HistoryRow) -> String {
    let branch = if row.under.is_some() { model.theme.sign("└", "-") } else { "" };
    format!("{branch}{}", row.number)
}

/// Returns the signs of an item: whether it is open, whether it is marked, and
/// whether simulations are under it.
fn row_signs(model: &Model, item: HistoryItem) -> String {
    let open = model.opened.map(HistoryItem::Recording) == Some(item);
    let open = if open { model.theme.sign("■", "#") } else { " " };
    let marked = if model.screens.history.marked == Some(item) { "*" } else { " " };
    let lists = model.screens.history.lists.as_ref();
    let fold = match lists.is_some_and(|lists| lists.has_simulations(item)) {
        true if model.screens.history.unfolded.contains(&item) => "-",
        true => "+",
        false => " ",
    };
    format!("{open}{marked}{fold}")
}

fn status_role(status: &str) -> StyleRole {
    match status {
        "running" => StyleRole::Good,
        "failed" => StyleRole::Bad,
        "interrupted" => StyleRole::Warn,
        "done" | "trace" => StyleRole::Text,
        _ => StyleRole::Dim,
    }
}

fn render_details(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let state = &model.screens.history;
    let room = usize::from(area.width.saturating_sub(4));
    let mut lines: Vec<Line<'_>> = Vec::new();
    let style = |role| model.theme.style(role);
    if let Some(reason) = state.problem.as_ref().filter(|_| state.lists.is_some()) {
        let text = format!("what is shown is what was read before: {reason}");
        lines.extend(
            wrap(&text, room)
                .into_iter()
                .map(|line| styled_line(model.theme, StyleRole::Bad, &line)),
        );
    }
    let height = usize::from(area.height.saturating_sub(2)).saturating_sub(lines.len());
    let selected = state.selected_row().map(|row| row.item);
    let known = state.detail.as_ref().filter(|detail| Some(detail.row.item) == selected);
    let mut title = state.selected_row().map_or_else(|| "details".to_owned(), HistoryRow::name);
    match known.map(|detail| &detail.result) {
        None if selected.is_some() => {
            lines.push(Line::from(Span::styled(" reading", style(StyleRole::Dim))));
        }
        None => {}
        Some(Err(reason)) => {
            let text = wrap(reason, room);
            lines.extend(text.iter().map(|line| styled_line(model.theme, StyleRole::Bad, line)));
        }
        Some(Ok(told)) => {
            let first = state.scroll.min(told.len().saturating_sub(height));
            title = detail_title(model, &title, first, height, told.len());
            let shown = told.iter().skip(first).take(height);
            lines.extend(shown.map(|DetailLine { role, text }| {
                styled_line(model.theme, *role, &fit(text, room))
            }));
        }
    }
    let title = fit(&title, usize::from(area.width).saturating_sub(6));
    let block = model.theme.panel_block(title, state.focus);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    frame.render_widget(Paragraph::new(lines), inner);
}

/// Returns the title of the details with the keys that apply, and which of the
/// lines are in view.
fn detail_title(model: &Model, title: &str, first: usize, height: usize, all: usize) -> String {
    let key = |action| model.keymap.key_for(action, model.screen).unwrap_or_default();
    let title = format!("{title}, {} opens it", key(UserAction::Enter));
    if all <= height {
        return title;
    }
    let last = (first + height).min(all);
    format!("{title}; {}-{last} of {all}, {} scrolls", first + 1, key(UserAction::NextPanel))
}

fn styled_line(theme: Theme, role: StyleRole, text: &str) -> Line<'static> {
    Line::from(vec![Span::raw(" "), Span::styled(text.to_owned(), theme.style(role))])
}

/// Draws the panel of the database.
fn render_database(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let block = model.theme.panel_block("database", false);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let room = usize::from(inner.width).saturating_sub(2);
    let mut texts = vec![model.settings.database.display().to_string()];
    if let Some(lists) = &model.screens.history.lists {
        let recordings = format_count(lists.recordings, "recording");
        texts.push(format!("{recordings}, {}", format_count(lists.simulations, "simulation")));
        if let Some(size) = lists.size {
            let free = lists.free.filter(|free| free.0 > 0);
            let free = free.map_or_else(String::new, |free| {
                format!(", {free} of that free for new recordings")
            });
            texts.push(format!("{size}{free}"));
        }
    }
    let signs = format!(
        "{} open   * marked for a comparison   + has simulations",
        model.theme.sign("■", "#")
    );
    texts.push(signs);
    let lines: Vec<Line<'_>> = texts
        .iter()
        .map(|text| styled_line(model.theme, StyleRole::Text, &fit(text, room)))
        .collect();
    frame.render_widget(Paragraph::new(lines), inner);
}
