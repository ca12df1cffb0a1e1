//! Lanes side by side: the activity of each, the times of the chosen workload,
//! and its use of the machine. Rows and axes are shared by all lanes.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::chart_axes::LABELS;
use super::lane_layout::{LaneDrawing, LaneRows};
use super::selection;
use crate::frame::format_clock;
use crate::model::Model;
use crate::theme::{StyleRole, Theme};
use crate::widgets::chart;
use crate::widgets::text::{display_width, fit, pad, wrap};
use cyclometer_core::units::{Bytes, Count, Nanos};
use cyclometer_lanes::StartKind;
use cyclometer_meter::{Meter, Source};
use cyclometer_record::live::{
    CellState, CellView, LaneView, LiveSnapshot, SessionPhase, WindowQuantiles,
};

/// Returns the names of the lanes: those that were opened, or those that will be.
pub fn lane_names(model: &Model) -> Vec<String> {
    let snapshot = super::shown_snapshot(model);
    let mut names: Vec<String> = snapshot.lanes.iter().map(|lane| lane.name.to_string()).collect();
    if matches!(snapshot.phase, SessionPhase::Idle | SessionPhase::Opening) {
        for spec in &model.screens.live.options.lanes {
            let name = spec.to_string();
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// Draws the lanes in their areas; `hidden` of them are out of view.
pub fn render(
    frame: &mut Frame<'_>,
    places: &[(usize, Rect)],
    model: &Model,
    snapshot: &LiveSnapshot,
    hidden: usize,
) {
    let drawing = LaneDrawing::new(model, snapshot, places);
    let names = lane_names(model);
    for (at, area) in places {
        let name = names.get(*at).map_or("", String::as_str);
        render_lane(frame, *area, (*at, name, hidden), &drawing);
    }
}

fn render_lane(
    frame: &mut Frame<'_>,
    area: Rect,
    (at, name, hidden): (usize, &str, usize),
    drawing: &LaneDrawing<'_>,
) {
    let LaneDrawing { model, snapshot, .. } = *drawing;
    let theme = &model.theme;
    let selected = at == model.screens.live.lane;
    let block = theme
        .panel_block(lane_title(drawing, (at, name, hidden), usize::from(area.width)), selected);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    if inner.height == 0 || inner.width == 0 {
        return;
    }
    let Some(lane) = snapshot.lanes.get(at) else {
        let text = if snapshot.phase == SessionPhase::Opening { "opening" } else { "" };
        return frame.render_widget(Paragraph::new(text), inner);
    };
    if let Some(reason) = &lane.unavailable {
        return render_message(frame, inner, theme, "cannot run here", reason, StyleRole::Warn);
    }
    let mut column = ColumnCursor { theme, room: inner, y: inner.y };
    column.push_line(frame, status_spans(drawing, lane));
    if drawing.rows.starts.is_empty() {
        return column.push_dim(frame, "nothing of this workload runs here");
    }
    for start in &drawing.rows.starts {
        render_start(&mut column, frame, drawing, at, *start);
    }
    render_usage(&mut column, frame, drawing, at);
}

/// Returns the title of a lane: its name and the workload that is shown.
fn lane_title(
    drawing: &LaneDrawing<'_>,
    (at, name, hidden): (usize, &str, usize),
    width: usize,
) -> String {
    let LaneDrawing { model, snapshot, .. } = *drawing;
    let selected = at == model.screens.live.lane;
    let more = if hidden > 0 && selected { format!(" (+{hidden})") } else { String::new() };
    let cpu = snapshot.lanes.get(at).and_then(|lane| lane.cpu);
    let cpu = cpu.map_or_else(String::new, |cpu| format!(" on CPU {cpu}"));
    let dot = model.theme.sign(" · ", ": ");
    let workload = selection::shown_workload(model, snapshot).unwrap_or_default();
    let room = width.saturating_sub(if selected { 6 } else { 4 });
    let full = format!("{name}{dot}{workload}{cpu}{more}");
    let short = format!("{name}{cpu}{more}");
    // The workload is in the headings below as well, so it may be left out here.
    fit(if full.chars().count() <= room { &full } else { &short }, room)
}

/// Draws a heading and a reason, wrapped.
fn render_message(
    frame: &mut Frame<'_>,
    area: Rect,
    theme: &Theme,
    what: &str,
    why: &str,
    role: StyleRole,
) {
    let mut lines = vec![Line::from(Span::styled(what.to_owned(), theme.style(role)))];
    lines.extend(wrap(why, usize::from(area.width)).into_iter().map(Line::from));
    frame.render_widget(Paragraph::new(lines), area);
}

/// Cursor that fills a column line by line from the top.
struct ColumnCursor<'a> {
    theme: &'a Theme,
    room: Rect,
    y: u16,
}

impl ColumnCursor<'_> {
    fn remaining_area(&self) -> Rect {
        Rect { y: self.y, height: self.room.bottom().saturating_sub(self.y), ..self.room }
    }

    fn width(&self) -> usize {
        usize::from(self.room.width)
    }

    /// Takes the next `height` lines, if there are as many.
    fn take_lines(&mut self, height: u16) -> Option<Rect> {
        let rest = self.remaining_area();
        if rest.height < height || height == 0 {
            return None;
        }
        self.y += height;
        Some(Rect { height, ..rest })
    }

    fn push_line(&mut self, frame: &mut Frame<'_>, spans: Vec<Span<'static>>) {
        if let Some(area) = self.take_lines(1) {
            frame.render_widget(Paragraph::new(Line::from(spans)), area);
        }
    }

    fn push_dim(&mut self, frame: &mut Frame<'_>, text: &str) {
        let text = fit(text, self.width());
        self.push_line(frame, vec![Span::styled(text, self.theme.style(StyleRole::Dim))]);
    }

    /// Appends a label and a value.
    fn push_pair(&mut self, frame: &mut Frame<'_>, label: &str, value: &str, role: StyleRole) {
        let room = self.width().saturating_sub(label.len() + 1);
        let spans = vec![
            Span::styled(format!("{label} "), self.theme.style(StyleRole::Dim)),
            Span::styled(fit(value, room), self.theme.style(role)),
        ];
        self.push_line(frame, spans);
    }

    /// Appends the longest label that fits, and a value aligned to the right.
    fn push_ends(&mut self, frame: &mut Frame<'_>, labels: [&str; 2], value: &str) {
        let room = self.width();
        let fits = |label: &&str| display_width(label) < room.saturating_sub(display_width(value));
        let label = labels.into_iter().find(fits).unwrap_or("");
        let rest = room.saturating_sub(display_width(label));
        let spans = vec![
            Span::styled(label.to_owned(), self.theme.style(StyleRole::Dim)),
            Span::raw(pad(value, rest, true)),
        ];
        self.push_line(frame, spans);
    }
}

/// Describes what the lane does now, whichever workload is shown.
fn status_spans(drawing: &LaneDrawing<'_>, lane: &LaneView) -> Vec<Span<'static>> {
    let LaneDrawing { model, snapshot, .. } = *drawing;
    let theme = &model.theme;
    let (sign, text, role) = match (&lane.running, lane.failing.as_ref()) {
        (Some(running), _) => {
            // A clock that is always at 0:00 would only flicker.
            let since = model.now.saturating_since(running.since);
            let since = if since.0 > 1_000_000_000 {
                format!(" {}", format_clock(since))
            } else {
                String::new()
            };
            let what = super::running_text(snapshot, running);
            (theme.sign("● ", "* "), format!("{what}{since}"), StyleRole::Good)
        }
        (None, Some(_)) => (theme.sign("✗ ", "! "), "the newest failed".to_owned(), StyleRole::Bad),
        (None, None) if snapshot.phase.is_active() => {
            let other = snapshot.lanes.iter().find(|other| other.running.is_some());
            let text = match other {
                Some(other) if !snapshot.plan.race => format!("waits: {} runs", other.name),
                _ => "waits for its turn".to_owned(),
            };
            (theme.sign("○ ", "o "), text, StyleRole::Dim)
        }
        (None, None) => (theme.sign("○ ", "o "), lane.version.to_string(), StyleRole::Dim),
    };
    vec![Span::styled(format!("{sign}{text}"), theme.style(role))]
}

/// Draws heading and times of a kind of start, or the reason why there are
/// none. It takes the same number of lines either way.
fn render_start(
    column: &mut ColumnCursor<'_>,
    frame: &mut Frame<'_>,
    drawing: &LaneDrawing<'_>,
    lane: usize,
    start: StartKind,
) {
    let LaneDrawing { model, snapshot, .. } = *drawing;
    let Some(area) = column.take_lines(drawing.rows.section_height()) else { return };
    let mut part = ColumnCursor { theme: column.theme, room: area, y: area.y };
    let name = drawing.start_heading(start);
    let Some(cell) = selection::shown_cell(model, snapshot, lane, start) else {
        part.push_dim(frame, &name);
        let lane = snapshot.lanes.get(lane).map_or("", |lane| &*lane.name);
        let text = selection::missing_cell_reason(model, snapshot, lane, start);
        return render_reason(&mut part, frame, &text, StyleRole::Dim);
    };
    if let CellState::Failed(why) = &cell.state {
        part.push_dim(frame, &name);
        return render_reason(
            &mut part,
            frame,
            &format!("cannot be prepared: {why}"),
            StyleRole::Bad,
        );
    }
    if cell.ok == 0 && cell.bad > 0 {
        let why = cell.reason.as_deref().unwrap_or_default();
        part.push_dim(frame, &name);
        return render_reason(
            &mut part,
            frame,
            &format!("{} failed: {why}", cell.bad),
            StyleRole::Bad,
        );
    }
    render_times(&mut part, frame, drawing, cell, &name);
}

fn render_reason(part: &mut ColumnCursor<'_>, frame: &mut Frame<'_>, text: &str, role: StyleRole) {
    let style = part.theme.style(role);
    let lines = wrap(text, part.width()).into_iter();
    let lines: Vec<Line<'_>> = lines.map(|line| Line::from(Span::styled(line, style))).collect();
    frame.render_widget(Paragraph::new(lines), part.remaining_area());
}

/// Draws last, median and 95th percentile of start and run. Before anything was
/// recorded, those of the newest warm-up, dimmed.
fn render_times(
    column: &mut ColumnCursor<'_>,
    frame: &mut Frame<'_>,
    drawing: &LaneDrawing<'_>,
    cell: &CellView,
    name: &str,
) {
    let theme = column.theme;
    let warms_up = cell.ok == 0 && cell.last.is_none();
    let count = match (warms_up, cell.bad) {
        (true, _) if cell.warmup.is_some() => "warm-up".to_owned(),
        (_, 0) => Count(cell.ok).to_string(),
        (_, bad) => format!("{}, {bad} failed", Count(cell.ok)),
    };
    let name = format!("{name} {count}");
    let LaneRows { label, value, one_line, .. } = drawing.rows;
    let heads = format!("{}{}", pad("start", value, true), pad("run", value, true));
    let style = theme.style(StyleRole::Title);
    if one_line {
        let text = format!("{}{heads}", pad(&name, label, false));
        column.push_line(frame, vec![Span::styled(text, style)]);
    } else {
        let text = fit(&name, column.width());
        column.push_line(frame, vec![Span::styled(text, style)]);
        let text = format!("{}{heads}", pad("", label, false));
        column.push_line(frame, vec![Span::styled(text, theme.style(StyleRole::Dim))]);
    }
    let role = if warms_up { StyleRole::Dim } else { StyleRole::Text };
    for (name, start, run) in time_cells(cell, warms_up) {
        let spans = vec![
            Span::styled(pad(name, label, false), theme.style(StyleRole::Dim)),
            Span::styled(pad(&start, value, true), theme.style(role)),
            Span::styled(pad(&run, value, true), theme.style(role)),
        ];
        column.push_line(frame, spans);
    }
}

fn time_cells(cell: &CellView, warms_up: bool) -> [(&'static str, String, String); 3] {
    let newest = if warms_up { cell.warmup } else { cell.last.as_ref().map(|last| last.usage) };
    let newest = newest.map(|usage| usage.phases);
    let text =
        |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |it| Nanos(it).to_string());
    let of = |quantiles: Option<WindowQuantiles>, pick: fn(WindowQuantiles) -> u64| {
        text(quantiles.map(pick))
    };
    [
        (
            "last",
            text(newest.and_then(|it| it.startup_time()).map(|it| it.0)),
            text(newest.and_then(|it| it.run).map(|it| it.0)),
        ),
        ("p50", of(cell.startup, |it| it.p50), of(cell.run, |it| it.p50)),
        ("p95", of(cell.startup, |it| it.p95), of(cell.run, |it| it.p95)),
    ]
}

/// Draws charts, memory, operators and sources.
fn render_usage(
    column: &mut ColumnCursor<'_>,
    frame: &mut Frame<'_>,
    drawing: &LaneDrawing<'_>,
    lane: usize,
) {
    let rows = &drawing.rows;
    let shown =
        |start: &StartKind| selection::shown_cell(drawing.model, drawing.snapshot, lane, *start);
    let Some(cell) = rows.starts.iter().find_map(shown) else { return };
    if rows.cpu > 0 {
        column.push_ends(frame, ["CPUs in use", "CPU"], &newest_value_text(cell, Meter::CpuTime));
        render_chart(column, frame, drawing, lane, ChartKind::Cpu);
    }
    if rows.cycles > 0 {
        column.push_ends(frame, cycle_chart_labels(cell), &newest_value_text(cell, Meter::Cycles));
        render_chart(column, frame, drawing, lane, ChartKind::Cycles);
    }
    if rows.cpu > 0 && column.take_lines(1).is_some() {
        let end = if drawing.is_over { "end" } else { "now" };
        let area = Rect { y: column.y - 1, height: 1, ..column.room };
        let marks =
            Span::styled(drawing.axis.format_marks(end), column.theme.style(StyleRole::Dim));
        let wide = u16::try_from(drawing.axis.count).unwrap_or(u16::MAX).min(area.width);
        let place = Rect { x: area.right() - wide, width: wide, ..area };
        frame.render_widget(Paragraph::new(Line::from(marks)), place);
    }
    if rows.memory {
        render_memory(column, frame, drawing, lane, cell);
    }
    if rows.gauge {
        render_gauge(column, frame, drawing, lane, cell);
    }
    if rows.sources {
        let (ops, role) = match cell.newest_meter_value(Meter::WasmOps) {
            Ok(count) => (Count(count).to_string(), StyleRole::Text),
            Err(_) => ("-".to_owned(), StyleRole::Dim),
        };
        column.push_pair(frame, "ops", &ops, role);
        let room = column.width().saturating_sub(5);
        column.push_pair(frame, "from", &source_names(cell, room), StyleRole::Dim);
    }
}

/// Returns the labels of the chart of cycles, which say what it counts.
fn cycle_chart_labels(cell: &CellView) -> [&'static str; 2] {
    match cycle_mark(cell) {
        " r" => ["r: ticks of the time-stamp counter a second", "ticks/s"],
        " e" => ["e: cycles a second, estimated", "cycles/s"],
        " u" => ["u: cycles a second in user mode", "cycles/s"],
        _ => ["cycles a second", "cycles/s"],
    }
}

/// Formats CPU time or cycles of the newest invocation.
fn newest_value_text(cell: &CellView, meter: Meter) -> String {
    let usage = cell.last.as_ref().map(|last| last.usage).or(cell.warmup);
    let value = |meter| usage.and_then(|usage| usage.get(meter));
    let text = match meter {
        Meter::Cycles => value(meter)
            .or_else(|| value(Meter::RefCycles))
            .map(|count| format!("{}{}", Count(count), cycle_mark(cell))),
        _ => value(meter).map(|span| Nanos(span).to_string()),
    };
    format!("last {} {}", cell.start, text.unwrap_or_else(|| "-".to_owned()))
}

/// Quantity that a chart shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChartKind {
    Cpu,
    Cycles,
}

/// Draws a chart with the ends of its range to the left.
fn render_chart(
    column: &mut ColumnCursor<'_>,
    frame: &mut Frame<'_>,
    drawing: &LaneDrawing<'_>,
    lane: usize,
    kind: ChartKind,
) {
    let (high, range, top) = match kind {
        ChartKind::Cpu => (drawing.rows.cpu, drawing.cpu, drawing.cpu.format_cpus()),
        ChartKind::Cycles => (drawing.rows.cycles, drawing.cycles, drawing.cycles.format_count()),
    };
    let Some(area) = column.take_lines(high) else { return };
    let Some(points) = drawing.points.iter().find(|(at, _)| *at == lane) else { return };
    let pick = |point: &Option<cyclometer_record::live::Point>| {
        point.map(|point| if kind == ChartKind::Cpu { point.cpu } else { point.cycles })
    };
    let points: Vec<Option<Option<u64>>> = points.1.iter().map(pick).collect();
    let values: Vec<Option<u64>> = points.iter().map(|point| point.flatten()).collect();
    let unknown: Vec<bool> = points.iter().map(|point| *point == Some(None)).collect();
    let theme = column.theme;
    let dim = theme.style(StyleRole::Dim);
    let label = usize::from(LABELS) - 1;
    let edge = theme.sign("│", "|");
    for line in 0..area.height {
        let text = match line {
            0 => top.as_str(),
            last if last + 1 == area.height => "0",
            _ => "",
        };
        let text = format!("{}{edge}", pad(text, label, true));
        frame.buffer_mut().set_string(area.x, area.y + line, fit(&text, column.width()), dim);
    }
    let wide = u16::try_from(drawing.axis.count).unwrap_or(u16::MAX);
    let wide = wide.min(area.width.saturating_sub(LABELS));
    let place = Rect { x: area.right() - wide, width: wide, ..area };
    chart::draw_columns(
        frame.buffer_mut(),
        place,
        theme,
        StyleRole::Lane(lane),
        &values,
        range.top,
    );
    chart::mark_unknown(frame.buffer_mut(), place, theme, &unknown);
}

/// Returns the mark of ticks and estimates, as `record` prints it.
pub(crate) fn cycle_mark(cell: &CellView) -> &'static str {
    let source = |meter| cell.sources.get(meter).and_then(|it| it.source);
    let usage = cell.last.as_ref().map(|last| last.usage).or(cell.warmup);
    if usage.and_then(|usage| usage.get(Meter::Cycles)).is_some() {
        let user = cell.sources.get(Meter::Cycles);
        let user = user.is_some_and(|it| it.user_only);
        return if user { " u" } else { "" };
    }
    match source(Meter::RefCycles) {
        Some(Source::Estimate) => " e",
        Some(_) => " r",
        None => "",
    }
}

/// Returns the memory that is in use now, or the largest peak of the cell shown.
fn used_memory(drawing: &LaneDrawing<'_>, lane: usize, cell: &CellView) -> Option<u64> {
    let LaneDrawing { model, snapshot, .. } = *drawing;
    let running = snapshot.lanes.get(lane).and_then(|lane| lane.running);
    let of_this =
        |cell: &CellView| Some(&*cell.workload) == selection::shown_workload(model, snapshot);
    let now = running
        .filter(|running| snapshot.cells.get(running.cell).is_some_and(of_this))
        .and_then(|running| running.memory);
    let warmup = || cell.warmup.and_then(|usage| usage.get(Meter::MemoryPeak));
    now.or(cell.peak).or_else(warmup)
}

fn render_memory(
    column: &mut ColumnCursor<'_>,
    frame: &mut Frame<'_>,
    drawing: &LaneDrawing<'_>,
    lane: usize,
    cell: &CellView,
) {
    let shown = used_memory(drawing, lane, cell);
    let text = shown.map_or_else(|| "-".to_owned(), |bytes| Bytes(bytes).to_string());
    let over = shown.is_some_and(|bytes| bytes > cell.allocated.0);
    let role = if over { StyleRole::Bad } else { StyleRole::Text };
    column.push_pair(frame, "mem", &format!("{text} of {}", cell.allocated), role);
}

fn render_gauge(
    column: &mut ColumnCursor<'_>,
    frame: &mut Frame<'_>,
    drawing: &LaneDrawing<'_>,
    lane: usize,
    cell: &CellView,
) {
    let shown = used_memory(drawing, lane, cell);
    let bar = |bytes| chart::format_gauge(column.theme, bytes, cell.allocated.0, column.width());
    // An empty line keeps the lines below in place.
    let spans = shown.map(|bytes| Span::raw(bar(bytes))).into_iter().collect();
    column.push_line(frame, spans);
}

/// Lists the sources of the figures, each once; those of perf by their short
/// names where there is little room.
fn source_names(cell: &CellView, room: usize) -> String {
    let wanted =
        [Meter::Cycles, Meter::RefCycles, Meter::CpuTime, Meter::MemoryPeak, Meter::WasmOps];
    let mut names: Vec<&str> = Vec::new();
    for meter in wanted {
        let source = cell.sources.get(meter).and_then(|it| it.source);
        if let Some(source) = source
            && !names.contains(&source.label())
        {
            names.push(source.label());
        }
    }
    let text = names.join(" ");
    match text.as_str() {
        "" => "-".to_owned(),
        long if long.len() > room => long.replace("perf:", ""),
        short => short.to_owned(),
    }
}
