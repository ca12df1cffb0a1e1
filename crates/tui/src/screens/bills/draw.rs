//! Layout and table of the bills screen.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::figures::{Figures, Row, counted};
use super::request::{SIZES, VOLUMES};
use super::{Held, NOTICEABLE, State, panel};
use crate::action::Action;
use crate::frame;
use crate::model::Model;
use crate::theme::Role;
use crate::widgets::bar;
use crate::widgets::grid::{self, Cell, Column, Grid};
use crate::widgets::text::{fit, fit_middle, pad, width, wrap};
use cyclometer_core::units::Nanos;
use cyclometer_pricing::{Exact, Granularity};
use cyclometer_report::grouped;

/// Smallest width of a detail panel beside the table.
const DETAIL: u16 = 56;

/// Width of granularity and currency, including their separators.
const KIND: usize = 12;

/// Areas of the parts of the screen.
#[derive(Debug)]
struct Layout {
    /// Status lines: what is shown, and the keys that change it.
    state: Rect,
    table: Rect,
    detail: Rect,
}

/// Segment of the status lines above the table.
struct Segment {
    keys: String,
    text: String,
    role: Role,
}

fn layout(model: &Model, area: Rect) -> Layout {
    let lines = flow(&segments(model), usize::from(area.width));
    // Without a table there is room for the whole error message.
    let figures = model.bills.held.is_some();
    let trouble = usize::from(figures && model.bills.trouble.is_some());
    let high = u16::try_from(lines.len() + trouble).unwrap_or(1).min(area.height / 4);
    let state = Rect { height: high, ..area };
    let rest = Rect { y: area.y + high, height: area.height - high, ..area };
    if !figures {
        return Layout { state, table: rest, detail: Rect { height: 0, ..rest } };
    }
    // The detail panel stands beside the table only if all lanes stay visible.
    let natural = model.bills.held.as_ref().map_or(0, |held| natural_width(&held.figures));
    let natural = u16::try_from(natural).unwrap_or(u16::MAX);
    if rest.width >= natural.saturating_add(DETAIL) {
        let detail = (rest.width * 2 / 5).clamp(DETAIL, 92).min(rest.width - natural);
        let table = Rect { width: rest.width - detail, ..rest };
        let detail = Rect { x: table.right(), width: detail, ..rest };
        return Layout { state, table, detail };
    }
    let detail = match rest.height {
        0..=9 => 0,
        10..=15 => 4,
        16..=29 => 8,
        high => high * 2 / 5,
    };
    let table = Rect { height: rest.height - detail, ..rest };
    Layout { state, table, detail: Rect { y: table.bottom(), height: detail, ..rest } }
}

/// Returns the width of the longest id with its marks.
fn longest_id(figures: &Figures) -> usize {
    let name = |row: &Row| width(&row.id) + width(&row.marks);
    figures.rows.iter().map(name).max().unwrap_or(0).max(5)
}

/// Returns the width of a table with all ids and lanes, including its frame.
fn natural_width(figures: &Figures) -> usize {
    let lanes = figures.lanes.len().max(1);
    4 + longest_id(figures) + KIND + lanes * (lane_width(figures) + 1)
}

/// Column widths of the table, and the lanes that fit.
struct Columns {
    /// Width of id and marks; granularity and currency follow in the same column.
    id: usize,
    lane: usize,
    first: usize,
    count: usize,
    /// Width of the bars; 0 if there is no room.
    bar: usize,
}

impl Columns {
    fn of(figures: &Figures, state: &State, room: usize) -> Self {
        let longest = longest_id(figures);
        let all = figures.lanes.len().max(1);
        let lane = lane_width(figures);
        let taken = |id: usize, lanes: usize| 2 + id + KIND + lanes * (lane + 1);
        // Lanes scroll before ids are truncated.
        let id = longest.min(room.saturating_sub(taken(0, 1))).max(1);
        let count = (room.saturating_sub(taken(id, 0)) / (lane + 1)).clamp(1, all);
        let left = room.saturating_sub(taken(id, count) + 1);
        let bar = if left >= 10 { left.min(64) } else { 0 };
        Self { id, lane, first: (state.lane + 1).saturating_sub(count), count, bar }
    }

    /// Returns the width of the first column.
    const fn model(&self) -> usize {
        self.id + KIND
    }

    /// Returns the lane whose column is `x` columns from the left.
    fn lane_at(&self, x: usize) -> Option<usize> {
        let from = x.checked_sub(1 + self.model())?;
        let at = from / (self.lane + 1);
        (at < self.count).then_some(self.first + at)
    }
}

fn lane_width(figures: &Figures) -> usize {
    let amounts = figures.rows.iter().flat_map(|row| &row.cells);
    let amounts = amounts.filter_map(|cell| cell.price.as_ref().ok());
    let amounts = amounts.map(|price| width(&price.shown));
    let names = figures.lanes.iter().map(|lane| width(&lane.name).min(14));
    amounts.chain(names).max().unwrap_or(0).clamp(6, 14)
}

/// Returns the number of rows that fit the table.
pub fn page(model: &Model) -> usize {
    let body = frame::parts(Rect::new(0, 0, model.size.0, model.size.1)).body;
    usize::from(layout(model, body).table.height.saturating_sub(3)).max(1)
}

fn inner(area: Rect) -> Rect {
    Rect {
        x: area.x + 1,
        y: area.y + 1,
        width: area.width.saturating_sub(2),
        height: area.height.saturating_sub(2),
    }
}

/// Returns row and lane at a position in the table, for mouse clicks.
pub fn hit(model: &Model, area: Rect, at: Position) -> Option<(Option<usize>, Option<usize>)> {
    let held = model.bills.held.as_ref()?;
    let inside = inner(layout(model, area).table);
    if !inside.contains(at) {
        return None;
    }
    let columns = Columns::of(&held.figures, &model.bills, usize::from(inside.width));
    let lines = Lines::of(held, &model.bills);
    let drawn = grid::row_at(inside, at.y, lines.line_of(model.bills.row), lines.count());
    let row = drawn.and_then(|drawn| lines.row_at(drawn));
    let lane = columns.lane_at(usize::from(at.x - inside.x));
    Some((row, lane.filter(|lane| *lane < held.figures.lanes.len())))
}

/// Draws the screen.
pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let layout = layout(model, area);
    state(frame, layout.state, model);
    table(frame, layout.table, model);
    panel::draw(frame, layout.detail, model);
}

/// Wraps segments into lines, as many per line as fit; returns their indices.
fn flow(segments: &[Segment], room: usize) -> Vec<Vec<usize>> {
    let mut lines: Vec<Vec<usize>> = vec![Vec::new()];
    let mut used = 0;
    for (at, segment) in segments.iter().enumerate() {
        let takes = width(&segment.keys) + width(&segment.text) + 3;
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

fn state(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let theme = &model.theme;
    let room = usize::from(area.width);
    let segments = segments(model);
    let mut lines: Vec<Line<'_>> = Vec::new();
    if let Some(trouble) = model.bills.trouble.as_ref().filter(|_| model.bills.held.is_some()) {
        let text = fit(&format!(" {}", trouble.text), room);
        lines.push(Line::from(Span::styled(text, theme.style(Role::Bad))));
    }
    for line in flow(&segments, room) {
        let mut spans = Vec::new();
        for segment in line.into_iter().map(|at| &segments[at]) {
            let keys = if segment.keys.is_empty() {
                " ".to_owned()
            } else {
                format!(" {} ", segment.keys)
            };
            spans.push(Span::styled(keys, theme.style(Role::Key)));
            spans.push(Span::styled(format!("{} ", segment.text), theme.style(segment.role)));
        }
        lines.push(Line::from(spans));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// Builds the status segments: every setting that decides what is shown.
fn segments(model: &Model) -> Vec<Segment> {
    let state = &model.bills;
    let key = |action: Action| model.keymap.key_of(action, model.screen).unwrap_or_default();
    let both = |less: Action, more: Action| format!("{} {}", key(less), key(more));
    let plain = |keys: String, text: String| Segment { keys, text, role: Role::Text };
    let workload = state.workload.as_deref().unwrap_or("all workloads");
    let start = state.start.map_or("cold+warm", cyclometer_lanes::StartKind::label);
    let models = if state.live_only { "live models" } else { "current models" };
    let month = VOLUMES.get(state.volume).copied().flatten().map_or_else(
        || "no month".to_owned(),
        |requests| format!("{} a month", grouped(&Exact::from(requests))),
    );
    let lanes = state.held.as_ref().map(|held| &held.figures.lanes);
    let lane = lanes.and_then(|lanes| lanes.get(state.lane)).map_or("a lane", |lane| &lane.name);
    let mut segments = vec![
        plain(String::new(), recording(model)),
        plain(key(Action::NextWorkload), workload.to_owned()),
        plain(key(Action::StartKind), start.to_owned()),
        plain(both(Action::LessVolume, Action::MoreVolume), month),
        memory(model, both(Action::LessMemory, Action::MoreMemory)),
        plain(key(Action::Models), models.to_owned()),
        plain(key(Action::Sort), state.sort.words(state.reverse, lane)),
    ];
    if !state.words.is_empty() {
        segments.push(Segment {
            keys: key(Action::Filter),
            text: format!("only with: {}", state.words),
            role: Role::Warn,
        });
    }
    segments
}

fn recording(model: &Model) -> String {
    let Some(number) = model.recording() else { return "no recording".to_owned() };
    match &model.bills.held {
        Some(held) => format!("recording {number}: {}", counted(held.figures.invocations)),
        None => format!("recording {number}"),
    }
}

/// Builds the segment of the assumed memory. Sizes below the largest peak are marked,
/// since the function would not have run with them.
fn memory(model: &Model, keys: String) -> Segment {
    let state = &model.bills;
    let Some(size) = SIZES.get(state.memory).copied().flatten() else {
        let text = "memory as measured".to_owned();
        return Segment { keys, text, role: Role::Text };
    };
    let peak = state.held.as_ref().and_then(|held| held.figures.peak);
    let size_text = mib(size.0);
    match peak.filter(|peak| *peak > size) {
        Some(peak) => {
            let text = format!("memory {size_text} ! would not fit: peak {peak}");
            Segment { keys, text, role: Role::Warn }
        }
        None => Segment { keys, text: format!("memory {size_text}"), role: Role::Good },
    }
}

/// Formats memory in the form that providers write: 1769 MiB, but 10 GiB.
fn mib(bytes: u64) -> String {
    let mib = bytes >> 20;
    if mib >= 1_024 && mib.is_multiple_of(1_024) {
        format!("{} GiB", mib / 1_024)
    } else {
        format!("{mib} MiB")
    }
}

/// Formats the heading: what the amounts are, in the longest wording that fits. The
/// visible lanes, and the keys to reach the others, are dropped last.
fn heading(model: &Model, held: &Held, columns: &Columns, room: usize) -> String {
    let [long, short, brief] = held.request.view.month.map_or_else(
        || {
            let of =
                ["mean bill of a million invocations at", "a million invocations,", "a million,"];
            of.map(|of| format!("{of} list prices"))
        },
        |requests| {
            let month = format!("a month of {} requests", grouped(&Exact::from(requests)));
            [format!("bill of {month}"), month.clone(), month]
        },
    );
    let count = model.bills.order.len();
    let all = held.figures.rows.len();
    let models =
        if count == all { format!("{all} models") } else { format!("{count} of {all} models") };
    let all = held.figures.lanes.len();
    let more = if all > columns.count {
        let key = |action| model.keymap.key_of(action, model.screen).unwrap_or_default();
        let (first, last) = (columns.first + 1, columns.first + columns.count);
        format!(", lanes {first}-{last} of {all}, {} {}", key(Action::Left), key(Action::Right))
    } else {
        String::new()
    };
    let explaining = model.bills.explaining.as_ref().map(|(_, since)| *since);
    let again = match () {
        () if is_slow(model, asked(model)) => "recomputing: ",
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
    since.is_some_and(|since| model.now.since(since) > NOTICEABLE)
}

fn asked(model: &Model) -> Option<Nanos> {
    model.bills.asked.as_ref().map(|(_, since)| *since)
}

fn table(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let theme = &model.theme;
    let inside = inner(area);
    let room = usize::from(inside.width);
    let Some(held) = &model.bills.held else {
        frame.render_widget(theme.panel("bills", true), area);
        let lines: Vec<Line<'_>> = wrap(&nothing(model), room.saturating_sub(2))
            .into_iter()
            .map(|it| Line::from(format!(" {it}")))
            .collect();
        return frame.render_widget(Paragraph::new(lines), inside);
    };
    let columns = Columns::of(&held.figures, &model.bills, room);
    let wide = usize::from(area.width).saturating_sub(6);
    let title = fit(&heading(model, held, &columns, wide), wide);
    let marks = fit(&marks(held, &model.bills), usize::from(area.width).saturating_sub(4));
    let marks = Span::styled(format!(" {marks} "), theme.style(Role::Dim));
    frame.render_widget(theme.panel(title, true).title_bottom(Line::from(marks)), area);
    if model.bills.order.is_empty() {
        let text = format!(" no model has all of: {}", model.bills.words);
        return frame.render_widget(Paragraph::new(fit(&text, room)), inside);
    }
    let height = usize::from(inside.height.saturating_sub(1));
    let lines = Lines::of(held, &model.bills);
    let first = grid::offset(lines.line_of(model.bills.row), lines.count(), height);
    let seen = Seen { held, columns, lines, first, height };
    seen.grid(model).draw(frame, inside, theme);
    if seen.columns.bar > 0 {
        seen.bars(frame, inside, model);
    }
}

/// Explains why there is no table.
fn nothing(model: &Model) -> String {
    let key = |action: Action| model.keymap.key_of(action, model.screen).unwrap_or_default();
    let Some(recording) = model.recording() else {
        use crate::screens::Screen::{History, Live};
        let (live, history) = (key(Action::Go(Live)), key(Action::Go(History)));
        return format!(
            "nothing is recorded yet: {live} goes to where that is done, {history} opens what was recorded before"
        );
    };
    if let Some(trouble) = &model.bills.trouble {
        return trouble.text.clone();
    }
    if is_slow(model, asked(model)) {
        return format!("computing the bills of recording {recording}");
    }
    String::new()
}

/// Explains the marks that occur in the visible rows.
fn marks(held: &Held, state: &State) -> String {
    const ABOUT: [(char, &str); 4] =
        [('*', "ended"), ('+', "monthly charges on top"), ('!', "stand-in"), ('?', "uncertain")];
    let rows = || state.order.iter().filter_map(|at| held.figures.rows.get(*at));
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
struct Lines {
    sold: usize,
    rows: usize,
}

impl Lines {
    fn of(held: &Held, state: &State) -> Self {
        let is_sold = |at: &&usize| held.figures.rows.get(**at).is_some_and(Row::is_sold);
        let sold = state.order.iter().filter(is_sold).count();
        Self { sold, rows: state.order.len() }
    }

    const fn has_heading(self) -> bool {
        self.sold < self.rows
    }

    const fn count(self) -> usize {
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
struct Seen<'a> {
    held: &'a Held,
    columns: Columns,
    lines: Lines,
    first: usize,
    height: usize,
}

impl Seen<'_> {
    /// Returns the row on each visible line; `None` for the heading of models that
    /// nobody sells.
    fn rows(&self, state: &State) -> Vec<Option<&Row>> {
        let last = (self.first + self.height).min(self.lines.count());
        let row = |line| {
            let at = state.order.get(self.lines.row_at(line)?)?;
            self.held.figures.rows.get(*at)
        };
        (self.first..last).map(row).collect()
    }

    fn lanes(&self) -> std::ops::Range<usize> {
        let Columns { first, count, .. } = self.columns;
        first..(first + count).min(self.held.figures.lanes.len())
    }

    fn heads(&self, state: &State) -> Vec<Column> {
        let Columns { id, lane: wide, bar, .. } = self.columns;
        let lanes = &self.held.figures.lanes;
        let title = format!("{} grain  cur", pad("model", id, false));
        let mut heads = vec![Column::text(title, self.columns.model())];
        let names = self.lanes().map(|lane| fit(&lanes[lane].name, wide));
        heads.extend(names.map(|name| Column::number(name, wide)));
        if bar > 0 {
            let lane = lanes.get(state.lane).map_or("", |lane| &lane.name);
            let long = format!("what {lane} is for");
            let head = if long.chars().count() > bar { "what for".to_owned() } else { long };
            heads.push(Column::text(fit(&head, bar), bar));
        }
        heads
    }

    fn grid(&self, model: &Model) -> Grid {
        let state = &model.bills;
        let selected = self.lines.line_of(state.row).saturating_sub(self.first);
        let line = |(place, row): (usize, Option<&Row>)| {
            let Some(row) = row else { return vec![Cell::of("nobody sells these:", Role::Title)] };
            let mut cells = vec![model_cell(row, &self.columns, place == selected)];
            cells.extend(self.lanes().map(|lane| match &row.cells[lane].price {
                Ok(price) => Cell::new(price.shown.clone()),
                Err(_) => Cell::of("-", Role::Dim),
            }));
            if self.columns.bar > 0 {
                cells.push(Cell::new(""));
            }
            cells
        };
        Grid {
            columns: self.heads(state),
            rows: self.rows(state).into_iter().enumerate().map(line).collect(),
            selected: Some(selected),
            column: Some(1 + state.lane - self.columns.first.min(state.lane)),
            skip: 0,
        }
    }

    /// Draws the bar of every row for the selected lane.
    fn bars(&self, frame: &mut Frame<'_>, area: Rect, model: &Model) {
        let Columns { lane, count, bar, .. } = self.columns;
        let skip = 2 + self.columns.model() + count * (lane + 1);
        let x = area.x + u16::try_from(skip).unwrap_or(u16::MAX);
        let wide = u16::try_from(bar).unwrap_or(0).min(area.right().saturating_sub(x));
        for (y, row) in (area.y + 1..area.bottom()).zip(self.rows(&model.bills)) {
            let cell = row.and_then(|row| row.cells.get(model.bills.lane));
            let Some(shares) = cell.and_then(|cell| cell.shares) else { continue };
            let line = Line::from(bar::spans(&model.theme, &shares, usize::from(wide)));
            frame.buffer_mut().set_line(x, y, &line, wide);
        }
    }
}

fn model_cell(row: &Row, columns: &Columns, selected: bool) -> Cell {
    let marks = width(&row.marks);
    let id = fit_middle(&row.id, columns.id.saturating_sub(marks));
    let name = pad(&format!("{id}{}", row.marks), columns.id, false);
    let role = match row.granularity {
        _ if selected => Role::Title,
        Granularity::Coarse => Role::Coarse,
        Granularity::Hybrid => Role::Text,
        Granularity::Fine => Role::Fine,
    };
    let grain = pad(row.granularity.name(), 6, false);
    Cell::of(format!("{name} {grain} {}", fit(&row.currency, 4)), role)
}
