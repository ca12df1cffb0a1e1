//! Status lines and table of the bills screen.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::bill_query::{MEMORY_SIZES, MONTHLY_REQUESTS};
use super::bill_table::{BillTable, ModelRow};
use super::functions::BillsRows;
use super::layout::BillsLayout;
use super::{BillsState, LoadedBills, SLOW_AFTER, detail_panel, functions, functions_draw};
use crate::action::UserAction;
use crate::frame::inner_area;
use crate::model::Model;
use crate::theme::StyleRole;
use crate::widgets::bar;
use crate::widgets::grid::{self, GridCell, GridColumn, SelectionGrid};
use crate::widgets::text::{display_width, fit, fit_middle, pad, wrap};
use cyclometer_core::units::Nanos;
use cyclometer_pricing::{Exact, Granularity};
use cyclometer_report::{format_count, format_thousands};

/// Width of granularity and currency, including their separators.
const KIND_WIDTH: usize = 12;

/// Segment of the status lines above the table.
struct StatusSegment {
    keys: String,
    text: String,
    role: StyleRole,
}

/// Returns the width of the longest id with its marks.
fn longest_id(figures: &BillTable) -> usize {
    let name = |row: &ModelRow| display_width(&row.id) + display_width(&row.marks);
    figures.rows.iter().map(name).max().unwrap_or(0).max(5)
}

/// Returns the width of a table with all ids and lanes, including its frame.
pub(crate) fn natural_width(figures: &BillTable) -> usize {
    let lanes = figures.lanes.len().max(1);
    4 + longest_id(figures) + KIND_WIDTH + lanes * (lane_width(figures) + 1)
}

/// Column widths of the table, and the lanes that fit.
struct BillsColumnWidths {
    /// Width of id and marks; granularity and currency follow in the same column.
    id: usize,
    lane: usize,
    first: usize,
    count: usize,
    /// Width of the bars; 0 if there is no room.
    bar: usize,
}

impl BillsColumnWidths {
    fn for_width(figures: &BillTable, state: &BillsState, room: usize) -> Self {
        let longest = longest_id(figures);
        let all = figures.lanes.len().max(1);
        let lane = lane_width(figures);
        let taken = |id: usize, lanes: usize| 2 + id + KIND_WIDTH + lanes * (lane + 1);
        // Lanes scroll before ids are truncated.
        let id = longest.min(room.saturating_sub(taken(0, 1))).max(1);
        let count = (room.saturating_sub(taken(id, 0)) / (lane + 1)).clamp(1, all);
        let left = room.saturating_sub(taken(id, count) + 1);
        let bar = if left >= 10 { left.min(64) } else { 0 };
        Self { id, lane, first: (state.selected_lane + 1).saturating_sub(count), count, bar }
    }

    /// Returns the width of the first column.
    const fn first_column_width(&self) -> usize {
        self.id + KIND_WIDTH
    }

    /// Returns the lane whose column is `x` columns from the left.
    fn lane_at(&self, x: usize) -> Option<usize> {
        let from = x.checked_sub(1 + self.first_column_width())?;
        let at = from / (self.lane + 1);
        (at < self.count).then_some(self.first + at)
    }
}

fn lane_width(figures: &BillTable) -> usize {
    let amounts = figures.rows.iter().flat_map(|row| &row.cells);
    let amounts = amounts.filter_map(|cell| cell.price.as_ref().ok());
    let amounts = amounts.map(|price| display_width(&price.text));
    let names = figures.lanes.iter().map(|lane| display_width(&lane.name).min(14));
    amounts.chain(names).max().unwrap_or(0).clamp(6, 14)
}

/// Returns row and lane at a position in the table, for mouse clicks.
pub(crate) fn cell_at_position(
    model: &Model,
    layout: &BillsLayout,
    at: Position,
) -> Option<(Option<usize>, Option<usize>)> {
    let held = model.screens.bills.loaded.as_ref()?;
    let inside = inner_area(layout.table);
    if !inside.contains(at) {
        return None;
    }
    let columns =
        BillsColumnWidths::for_width(&held.table, &model.screens.bills, usize::from(inside.width));
    let lines = BillsTableLines::from_state(held, &model.screens.bills);
    let drawn = grid::row_at(
        inside,
        at.y,
        lines.line_of(model.screens.bills.selected_row),
        lines.line_count(),
    );
    let row = drawn.and_then(|drawn| lines.row_at(drawn));
    let lane = columns.lane_at(usize::from(at.x - inside.x));
    Some((row, lane.filter(|lane| *lane < held.table.lanes.len())))
}

/// Draws the screen.
pub fn render(frame: &mut Frame<'_>, layout: &BillsLayout, model: &Model) {
    render_status(frame, layout.status, model);
    let rows = model.screens.bills.functions.rows_for(model.shown_recording());
    if rows != BillsRows::Models {
        return functions_draw::render(frame, layout, model);
    }
    render_table(frame, layout.table, model);
    detail_panel::render(frame, layout.detail, model);
}

/// Returns the number of status lines in that width.
pub(crate) fn count_status_lines(model: &Model, width: u16) -> usize {
    wrap_segments(&build_status_segments(model), usize::from(width)).len()
}

/// Wraps segments into lines, as many per line as fit; returns their indices.
fn wrap_segments(segments: &[StatusSegment], room: usize) -> Vec<Vec<usize>> {
    let mut lines: Vec<Vec<usize>> = vec![Vec::new()];
    let mut used = 0;
    for (at, segment) in segments.iter().enumerate() {
        let takes = display_width(&segment.keys) + display_width(&segment.text) + 3;
        if used > 0 && used + takes > room {
            lines.push(Vec::new());
            used = 0;
        }
        used += takes;
        if let Some(line) = lines.last_mut() {
            line.push(at);
        }
    }
    lines
}

fn render_status(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let theme = &model.theme;
    let room = usize::from(area.width);
    let segments = build_status_segments(model);
    let mut lines: Vec<Line<'_>> = Vec::new();
    if let Some(trouble) =
        model.screens.bills.error.as_ref().filter(|_| model.screens.bills.loaded.is_some())
    {
        let text = fit(&format!(" {}", trouble.message), room);
        lines.push(Line::from(Span::styled(text, theme.style(StyleRole::Bad))));
    }
    for line in wrap_segments(&segments, room) {
        let mut spans = Vec::new();
        for segment in line.into_iter().map(|at| &segments[at]) {
            let keys = if segment.keys.is_empty() {
                " ".to_owned()
            } else {
                format!(" {} ", segment.keys)
            };
            spans.push(Span::styled(keys, theme.style(StyleRole::Key)));
            spans.push(Span::styled(format!("{} ", segment.text), theme.style(segment.role)));
        }
        lines.push(Line::from(spans));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// Builds the status segments: every setting that decides what is shown.
fn build_status_segments(model: &Model) -> Vec<StatusSegment> {
    let state = &model.screens.bills;
    let rows = state.functions.rows_for(model.shown_recording());
    if rows != BillsRows::Models {
        return build_function_segments(model, rows);
    }
    let key = |action: UserAction| model.keymap.key_for(action, model.screen).unwrap_or_default();
    let both = |less: UserAction, more: UserAction| format!("{} {}", key(less), key(more));
    let plain = |keys: String, text: String| StatusSegment { keys, text, role: StyleRole::Text };
    let workload = state.workload.as_deref().unwrap_or("all workloads");
    let start = state.start.map_or("cold+warm", cyclometer_lanes::StartKind::label);
    let models = if state.live_only { "live models" } else { "current models" };
    let month = MONTHLY_REQUESTS.get(state.volume).copied().flatten().map_or_else(
        || "no month".to_owned(),
        |requests| format!("{} a month", format_thousands(&Exact::from(requests))),
    );
    let lanes = state.loaded.as_ref().map(|held| &held.table.lanes);
    let lane =
        lanes.and_then(|lanes| lanes.get(state.selected_lane)).map_or("a lane", |lane| &lane.name);
    let mut segments = vec![
        plain(String::new(), recording_label(model)),
        plain(key(UserAction::NextWorkload), workload.to_owned()),
        plain(key(UserAction::StartKind), start.to_owned()),
        plain(both(UserAction::LessVolume, UserAction::MoreVolume), month),
        build_memory_segment(model, both(UserAction::LessMemory, UserAction::MoreMemory)),
        plain(key(UserAction::Models), models.to_owned()),
        plain(key(UserAction::Sort), state.sort.describe(state.reverse, lane)),
    ];
    segments.extend(build_filter_segment(model));
    segments
}

/// Builds the status segments of the view by functions.
fn build_function_segments(model: &Model, rows: BillsRows) -> Vec<StatusSegment> {
    let state = &model.screens.bills.functions;
    let key = |action: UserAction| model.keymap.key_for(action, model.screen).unwrap_or_default();
    let plain = |keys: String, text: String| StatusSegment { keys, text, role: StyleRole::Text };
    let number = model.shown_recording().unwrap_or_default();
    let report = functions::shown_functions(model).map(|held| &held.report);
    let is_trace = state.is_trace(number) || report.is_some_and(|report| report.is_trace);
    let name = format!("{} {number}", if is_trace { "trace" } else { "recording" });
    let present = report.and_then(|report| report.models.first()).map(|id| format!("by {id}"));
    let mut segments = vec![plain(String::new(), name)];
    segments.extend(present.map(|text| plain(String::new(), text)));
    segments.push(plain(key(UserAction::Fold), rows.describe().to_owned()));
    segments.push(plain(key(UserAction::Sort), state.describe_order()));
    if is_slow(model, state.pending.as_ref().map(|(_, since)| *since)) {
        segments.push(plain(String::new(), "computing".to_owned()));
    }
    if let Some(error) = state.error.as_ref().filter(|_| report.is_some()) {
        let text = error.message.clone();
        segments.push(StatusSegment { keys: String::new(), text, role: StyleRole::Bad });
    }
    segments.extend(build_filter_segment(model));
    segments
}

fn build_filter_segment(model: &Model) -> Option<StatusSegment> {
    let words = &model.screens.bills.filter_words;
    (!words.is_empty()).then(|| StatusSegment {
        keys: model.keymap.key_for(UserAction::Filter, model.screen).unwrap_or_default(),
        text: format!("only with: {words}"),
        role: StyleRole::Warn,
    })
}

fn recording_label(model: &Model) -> String {
    let Some(number) = model.shown_recording() else { return "no recording".to_owned() };
    match &model.screens.bills.loaded {
        Some(held) => {
            format!("recording {number}: {}", format_count(held.table.invocations, "invocation"))
        }
        None => format!("recording {number}"),
    }
}

/// Builds the segment of the assumed memory. Sizes below the largest peak are marked,
/// since the function would not have run with them.
fn build_memory_segment(model: &Model, keys: String) -> StatusSegment {
    let state = &model.screens.bills;
    let Some(size) = MEMORY_SIZES.get(state.memory).copied().flatten() else {
        let text = "memory as measured".to_owned();
        return StatusSegment { keys, text, role: StyleRole::Text };
    };
    let peak = state.loaded.as_ref().and_then(|held| held.table.peak);
    let size_text = format_memory_size(size.0);
    match peak.filter(|peak| *peak > size) {
        Some(peak) => {
            let text = format!("memory {size_text} ! would not fit: peak {peak}");
            StatusSegment { keys, text, role: StyleRole::Warn }
        }
        None => StatusSegment { keys, text: format!("memory {size_text}"), role: StyleRole::Good },
    }
}

/// Formats memory in the form that providers write: 1769 MiB, but 10 GiB.
fn format_memory_size(bytes: u64) -> String {
    let mib = bytes >> 20;
    if mib >= 1_024 && mib.is_multiple_of(1_024) {
        format!("{} GiB", mib / 1_024)
    } else {
        format!("{mib} MiB")
    }
}

/// Formats the heading: what the amounts are, in the longest wording that fits. The
/// visible lanes, and the keys to reach the others, are dropped last.
fn format_table_heading(
    model: &Model,
    held: &LoadedBills,
    columns: &BillsColumnWidths,
    room: usize,
) -> String {
    let [long, short, brief] = held.request.view.month.map_or_else(
        || {
            let of =
                ["mean bill of a million invocations at", "a million invocations,", "a million,"];
            of.map(|of| format!("{of} list prices"))
        },
        |requests| {
            let month = format!("a month of {} requests", format_thousands(&Exact::from(requests)));
            [format!("bill of {month}"), month.clone(), month]
        },
    );
    let count = model.screens.bills.visible_rows.len();
    let all = held.table.rows.len();
    let models =
        if count == all { format!("{all} models") } else { format!("{count} of {all} models") };
    let all = held.table.lanes.len();
    let more = if all > columns.count {
        let key = |action| model.keymap.key_for(action, model.screen).unwrap_or_default();
        let (first, last) = (columns.first + 1, columns.first + columns.count);
        format!(
            ", lanes {first}-{last} of {all}, {} {}",
            key(UserAction::Left),
            key(UserAction::Right)
        )
    } else {
        String::new()
    };
    let explaining = model.screens.bills.pending_explanation.as_ref().map(|(_, since)| *since);
    let again = match () {
        () if is_slow(model, pending_since(model)) => "recomputing: ",
        () if is_slow(model, explaining) => "explaining: ",
        () => "",
    };
    let full = format!("{again}{long}, {models}{more}");
    let shorter = [format!("{again}{short}, {models}{more}"), format!("{again}{brief}{more}")];
    let mut fitting = std::iter::once(full.clone()).chain(shorter);
    fitting.find(|text| text.chars().count() <= room).unwrap_or(full)
}

/// Whether a response takes noticeably long.
fn is_slow(model: &Model, since: Option<Nanos>) -> bool {
    since.is_some_and(|since| model.now.saturating_since(since) > SLOW_AFTER)
}

fn pending_since(model: &Model) -> Option<Nanos> {
    model.screens.bills.pending.as_ref().map(|(_, since)| *since)
}

fn render_table(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let theme = &model.theme;
    let inside = inner_area(area);
    let room = usize::from(inside.width);
    let Some(held) = &model.screens.bills.loaded else {
        frame.render_widget(theme.panel_block("bills", true), area);
        let lines: Vec<Line<'_>> = wrap(&explain_missing_table(model), room.saturating_sub(2))
            .into_iter()
            .map(|it| Line::from(format!(" {it}")))
            .collect();
        return frame.render_widget(Paragraph::new(lines), inside);
    };
    let columns = BillsColumnWidths::for_width(&held.table, &model.screens.bills, room);
    let wide = usize::from(area.width).saturating_sub(6);
    let title = fit(&format_table_heading(model, held, &columns, wide), wide);
    let marks = fit(
        &format_mark_legend(held, &model.screens.bills),
        usize::from(area.width).saturating_sub(4),
    );
    let marks = Span::styled(format!(" {marks} "), theme.style(StyleRole::Dim));
    frame.render_widget(theme.panel_block(title, true).title_bottom(Line::from(marks)), area);
    if model.screens.bills.visible_rows.is_empty() {
        let text = format!(" no model has all of: {}", model.screens.bills.filter_words);
        return frame.render_widget(Paragraph::new(fit(&text, room)), inside);
    }
    let height = usize::from(inside.height.saturating_sub(1));
    let lines = BillsTableLines::from_state(held, &model.screens.bills);
    let first = grid::first_visible_row(
        lines.line_of(model.screens.bills.selected_row),
        lines.line_count(),
        height,
    );
    let seen = VisibleTable { held, columns, lines, first, height };
    seen.build_grid(model).render(frame, inside, theme);
    if seen.columns.bar > 0 {
        seen.render_bars(frame, inside, model);
    }
}

/// Explains why there is no table.
fn explain_missing_table(model: &Model) -> String {
    let key = |action: UserAction| model.keymap.key_for(action, model.screen).unwrap_or_default();
    let Some(recording) = model.shown_recording() else {
        use crate::screens::ScreenId::{History, Live};
        let (live, history) = (key(UserAction::Go(Live)), key(UserAction::Go(History)));
        return format!(
            "no recording or trace is open: {live} records, {history} opens what was recorded or imported before"
        );
    };
    if let Some(trouble) = &model.screens.bills.error {
        return trouble.message.clone();
    }
    if is_slow(model, pending_since(model)) {
        return format!("computing the bills of recording {recording}");
    }
    String::new()
}

/// Explains the marks that occur in the visible rows.
fn format_mark_legend(held: &LoadedBills, state: &BillsState) -> String {
    const ABOUT: [(char, &str); 4] =
        [('*', "ended"), ('+', "monthly charges on top"), ('!', "stand-in"), ('?', "uncertain")];
    let rows = || state.visible_rows.iter().filter_map(|at| held.table.rows.get(*at));
    let mut texts: Vec<String> = ABOUT
        .iter()
        .filter(|(sign, _)| rows().any(|row| row.marks.contains(*sign)))
        .map(|(sign, about)| format!("{sign} {about}"))
        .collect();
    if rows().any(|row| row.cells.iter().any(|cell| cell.price.is_err())) {
        texts.push("- missing".to_owned());
    }
    texts.join("  ")
}

/// Line numbering of the table: its rows, and a heading above the models that nobody
/// sells.
#[derive(Debug, Clone, Copy)]
struct BillsTableLines {
    sold: usize,
    rows: usize,
}

impl BillsTableLines {
    fn from_state(held: &LoadedBills, state: &BillsState) -> Self {
        let is_sold = |at: &&usize| held.table.rows.get(**at).is_some_and(ModelRow::is_sold);
        let sold = state.visible_rows.iter().filter(is_sold).count();
        Self { sold, rows: state.visible_rows.len() }
    }

    const fn has_heading(self) -> bool {
        self.sold < self.rows
    }

    const fn line_count(self) -> usize {
        self.rows + if self.has_heading() { 1 } else { 0 }
    }

    const fn line_of(self, row: usize) -> usize {
        if row >= self.sold && self.has_heading() { row + 1 } else { row }
    }

    /// Returns the row on a line; `None` on the heading.
    const fn row_at(self, line: usize) -> Option<usize> {
        match line {
            line if line < self.sold => Some(line),
            line if line == self.sold => None,
            line => Some(line - 1),
        }
    }
}

/// Visible part of the table.
struct VisibleTable<'a> {
    held: &'a LoadedBills,
    columns: BillsColumnWidths,
    lines: BillsTableLines,
    first: usize,
    height: usize,
}

impl VisibleTable<'_> {
    /// Returns the row on each visible line; `None` for the heading of models that
    /// nobody sells.
    fn rows_in_view(&self, state: &BillsState) -> Vec<Option<&ModelRow>> {
        let last = (self.first + self.height).min(self.lines.line_count());
        let row = |line| {
            let at = state.visible_rows.get(self.lines.row_at(line)?)?;
            self.held.table.rows.get(*at)
        };
        (self.first..last).map(row).collect()
    }

    fn lanes_in_view(&self) -> std::ops::Range<usize> {
        let BillsColumnWidths { first, count, .. } = self.columns;
        first..(first + count).min(self.held.table.lanes.len())
    }

    fn build_headings(&self, state: &BillsState) -> Vec<GridColumn> {
        let BillsColumnWidths { id, lane: wide, bar, .. } = self.columns;
        let lanes = &self.held.table.lanes;
        let title = format!("{} grain  cur", pad("model", id, false));
        let mut heads = vec![GridColumn::for_text(title, self.columns.first_column_width())];
        let names = self.lanes_in_view().map(|lane| fit(&lanes[lane].name, wide));
        heads.extend(names.map(|name| GridColumn::for_numbers(name, wide)));
        if bar > 0 {
            let lane = lanes.get(state.selected_lane).map_or("", |lane| &lane.name);
            let long = format!("what {lane} is for");
            let head = if long.chars().count() > bar { "what for".to_owned() } else { long };
            heads.push(GridColumn::for_text(fit(&head, bar), bar));
        }
        heads
    }

    fn build_grid(&self, model: &Model) -> SelectionGrid {
        let state = &model.screens.bills;
        let selected = self.lines.line_of(state.selected_row).saturating_sub(self.first);
        let line = |(place, row): (usize, Option<&ModelRow>)| {
            let Some(row) = row else {
                return vec![GridCell::with_role("nobody sells these:", StyleRole::Title)];
            };
            let mut cells = vec![build_model_cell(row, &self.columns, place == selected)];
            cells.extend(self.lanes_in_view().map(|lane| match &row.cells[lane].price {
                Ok(price) => GridCell::new(price.text.clone()),
                Err(_) => GridCell::with_role("-", StyleRole::Dim),
            }));
            if self.columns.bar > 0 {
                cells.push(GridCell::new(""));
            }
            cells
        };
        SelectionGrid {
            columns: self.build_headings(state),
            rows: self.rows_in_view(state).into_iter().enumerate().map(line).collect(),
            selected: Some(selected),
            column: Some(1 + state.selected_lane - self.columns.first.min(state.selected_lane)),
            skip: 0,
        }
    }

    /// Draws the bar of every row for the selected lane.
    fn render_bars(&self, frame: &mut Frame<'_>, area: Rect, model: &Model) {
        let BillsColumnWidths { lane, count, bar, .. } = self.columns;
        let skip = 2 + self.columns.first_column_width() + count * (lane + 1);
        let x = area.x + u16::try_from(skip).unwrap_or(u16::MAX);
        let wide = u16::try_from(bar).unwrap_or(0).min(area.right().saturating_sub(x));
        for (y, row) in (area.y + 1..area.bottom()).zip(self.rows_in_view(&model.screens.bills)) {
            let cell = row.and_then(|row| row.cells.get(model.screens.bills.selected_lane));
            let Some(shares) = cell.and_then(|cell| cell.shares) else { continue };
            let line = Line::from(bar::bar_spans(&model.theme, &shares, usize::from(wide)));
            frame.buffer_mut().set_line(x, y, &line, wide);
        }
    }
}

fn build_model_cell(row: &ModelRow, columns: &BillsColumnWidths, selected: bool) -> GridCell {
    let marks = display_width(&row.marks);
    let id = fit_middle(&row.id, columns.id.saturating_sub(marks));
    let name = pad(&format!("{id}{}", row.marks), columns.id, false);
    let role = match row.granularity {
        _ if selected => StyleRole::Title,
        Granularity::Coarse => StyleRole::Coarse,
        Granularity::Hybrid => StyleRole::Text,
        Granularity::Fine => StyleRole::Fine,
    };
    let grain = pad(row.granularity.name(), 6, false);
    GridCell::with_role(format!("{name} {grain} {}", fit(&row.currency, 4)), role)
}
