//! A column: one lane, what it does, its times, and its use of the machine.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::lane::StartKind;
use crate::meter::{Meter, Source};
use crate::tui::frame::clock;
use crate::tui::live::{CellState, CellView, LaneView, Phase, Quantiles, SPANS, Snapshot};
use crate::tui::model::Model;
use crate::tui::theme::{Role, Theme};
use crate::tui::widgets::chart;
use crate::tui::widgets::text::{fit, pad, wrap};
use crate::units::{Bytes, Count, Nanos};

/// Names of the lanes: those that were opened, or those that will be.
pub fn names(model: &Model) -> Vec<String> {
    let snapshot = super::shown(model);
    let mut names: Vec<String> = snapshot.lanes.iter().map(|lane| lane.name.to_string()).collect();
    if matches!(snapshot.phase, Phase::Idle | Phase::Opening) {
        for spec in &model.live.wanted.lanes {
            let name = spec.to_string();
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// The cells of a lane that are shown: of the chosen workload and start, or of
/// what runs.
pub fn cells<'a>(
    model: &Model,
    snapshot: &'a Snapshot,
    at: usize,
    start: Option<StartKind>,
) -> Option<&'a CellView> {
    let lane = snapshot.lanes.get(at)?;
    let current = lane.current.and_then(|place| snapshot.cells.get(place));
    let first = || snapshot.cells.iter().find(|cell| cell.lane == at);
    let workload: &str = match &model.live.workload {
        Some(name) => name,
        None => &current.or_else(first)?.workload,
    };
    let start = start.or(model.live.start).or(current.map(|cell| cell.start));
    match start {
        Some(start) => snapshot.cell(at, workload, start),
        None => snapshot.cells.iter().find(|cell| cell.lane == at && &*cell.workload == workload),
    }
}

/// Draws the lane at a place.
pub fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    snapshot: &Snapshot,
    at: usize,
    hidden: usize,
) {
    let theme = &model.theme;
    let selected = at == model.live.lane;
    let name = names(model).get(at).cloned().unwrap_or_default();
    let more = if hidden > 0 && selected { format!(" (+{hidden})") } else { String::new() };
    let cpu = snapshot.lanes.get(at).and_then(|lane| lane.cpu);
    let cpu = cpu.map_or_else(String::new, |cpu| format!(" on CPU {cpu}"));
    let title = fit(&format!("{name}{cpu}{more}"), usize::from(area.width).saturating_sub(6));
    let block = theme.panel(title, selected);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    if inner.height == 0 || inner.width == 0 {
        return;
    }
    let Some(lane) = snapshot.lanes.get(at) else {
        let text = if snapshot.phase == Phase::Opening { "opening" } else { "" };
        return frame.render_widget(Paragraph::new(text), inner);
    };
    if let Some(reason) = &lane.unavailable {
        return told(frame, inner, theme, "cannot run here", reason, Role::Warn);
    }
    let cell = cells(model, snapshot, at, None);
    let mut column = Column { theme, room: inner, y: inner.y };
    column.line(frame, state(model, snapshot, lane, theme));
    let rest = usize::from(inner.height);
    let both = rest >= 20 && model.live.start.is_none();
    if both {
        for start in [StartKind::Cold, StartKind::Warm] {
            if let Some(cell) = cells(model, snapshot, at, Some(start)) {
                times(&mut column, frame, cell);
            }
        }
    } else if let Some(cell) = cell {
        times(&mut column, frame, cell);
    } else {
        let start = model.live.start.map_or_else(String::new, |it| format!("{it} "));
        let text = format!("no {start}start of this here");
        column.line(frame, vec![Span::styled(text, theme.style(Role::Dim))]);
    }
    let Some(cell) = cell else { return };
    match &cell.state {
        CellState::Failed(reason) => {
            let rest = column.rest();
            return told(frame, rest, theme, "cannot be prepared", reason, Role::Bad);
        }
        CellState::Waiting | CellState::Ready { .. } => {}
    }
    // Where there is little room, a failure matters more than charts.
    if let (Some(reason), None, true) = (&lane.failing, lane.running, rest < 20) {
        return told(frame, column.rest(), theme, "the newest failed", reason, Role::Bad);
    }
    use_of_machine(&mut column, frame, model, snapshot, lane, cell);
}

/// A heading and a reason, wrapped.
fn told(frame: &mut Frame<'_>, area: Rect, theme: &Theme, what: &str, why: &str, role: Role) {
    let mut lines = vec![Line::from(Span::styled(what.to_owned(), theme.style(role)))];
    lines.extend(wrap(why, usize::from(area.width)).into_iter().map(Line::from));
    frame.render_widget(Paragraph::new(lines), area);
}

/// Lines from the top of a column down.
struct Column<'a> {
    theme: &'a Theme,
    room: Rect,
    y: u16,
}

impl Column<'_> {
    fn rest(&self) -> Rect {
        Rect { y: self.y, height: self.room.bottom().saturating_sub(self.y), ..self.room }
    }

    fn width(&self) -> usize {
        usize::from(self.room.width)
    }

    /// The next `height` lines, if they are there.
    fn take(&mut self, height: u16) -> Option<Rect> {
        let rest = self.rest();
        if rest.height < height || height == 0 {
            return None;
        }
        self.y += height;
        Some(Rect { height, ..rest })
    }

    fn line(&mut self, frame: &mut Frame<'_>, spans: Vec<Span<'static>>) {
        if let Some(area) = self.take(1) {
            frame.render_widget(Paragraph::new(Line::from(spans)), area);
        }
    }

    fn dim(&mut self, frame: &mut Frame<'_>, text: &str) {
        let text = fit(text, self.width());
        self.line(frame, vec![Span::styled(text, self.theme.style(Role::Dim))]);
    }

    /// A label and a value.
    fn pair(&mut self, frame: &mut Frame<'_>, label: &str, value: &str, role: Role) {
        let room = self.width().saturating_sub(label.len() + 1);
        let spans = vec![
            Span::styled(format!("{label} "), self.theme.style(Role::Dim)),
            Span::styled(fit(value, room), self.theme.style(role)),
        ];
        self.line(frame, spans);
    }
}

/// What the lane does now.
fn state(model: &Model, snapshot: &Snapshot, lane: &LaneView, theme: &Theme) -> Vec<Span<'static>> {
    let failing = lane.failing.as_ref();
    let (sign, text, role) = match (&lane.running, failing) {
        (Some(running), _) => {
            let cell = snapshot.cells.get(running.cell);
            let name = cell.map_or("", |cell| &*cell.workload);
            let start = cell.map_or("", |cell| cell.start.label());
            let what = match running.sequence {
                None => "prepares".to_owned(),
                Some(0) => "warms up".to_owned(),
                Some(sequence) => format!("#{sequence}"),
            };
            // A clock that always says 0:00 would only flicker.
            let since = model.now.since(running.since);
            let since =
                if since.0 > 1_000_000_000 { format!(" {}", clock(since)) } else { String::new() };
            (theme.sign("● ", "* "), format!("{name} {start} {what}{since}"), Role::Good)
        }
        (None, Some(_)) => (theme.sign("✗ ", "! "), "failed".to_owned(), Role::Bad),
        (None, None) if snapshot.phase.is_active() => {
            (theme.sign("○ ", "o "), "waits for its turn".to_owned(), Role::Dim)
        }
        (None, None) => (theme.sign("○ ", "o "), lane.version.to_string(), Role::Dim),
    };
    vec![Span::styled(format!("{sign}{text}"), theme.style(role))]
}

/// Last, median and 95th percentile of start and run.
fn times(column: &mut Column<'_>, frame: &mut Frame<'_>, cell: &CellView) {
    let theme = column.theme;
    let label = 8;
    let value = column.width().saturating_sub(label) / 2;
    let count = format!("{} {}", cell.start, Count(cell.ok));
    let heading = format!(
        "{}{}{}",
        pad(&count, label, false),
        pad("start", value, true),
        pad("run", value, true)
    );
    column.line(frame, vec![Span::styled(heading, theme.style(Role::Title))]);
    let newest = cell.last.as_ref().map(|last| last.usage.phases);
    let text =
        |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |it| Nanos(it).to_string());
    let of = |quantiles: Option<Quantiles>, pick: fn(Quantiles) -> u64| text(quantiles.map(pick));
    let rows = [
        (
            "last",
            text(newest.and_then(|it| it.startup()).map(|it| it.0)),
            text(newest.and_then(|it| it.run).map(|it| it.0)),
        ),
        ("p50", of(cell.startup, |it| it.p50), of(cell.run, |it| it.p50)),
        ("p95", of(cell.startup, |it| it.p95), of(cell.run, |it| it.p95)),
    ];
    for (name, start, run) in rows {
        let spans = vec![
            Span::styled(pad(name, label, false), theme.style(Role::Dim)),
            Span::raw(pad(&start, value, true)),
            Span::raw(pad(&run, value, true)),
        ];
        column.line(frame, spans);
    }
}

/// Charts, memory, operators and sources.
fn use_of_machine(
    column: &mut Column<'_>,
    frame: &mut Frame<'_>,
    model: &Model,
    snapshot: &Snapshot,
    lane: &LaneView,
    cell: &CellView,
) {
    let zoom = model.live.zoom.min(SPANS.len() - 1);
    let known = lane.running.map(|running| running.known);
    let points = lane.chart.last(zoom, moment(model, snapshot), column.width() + 1, known);
    // The newest point is still growing.
    let full = &points[..points.len().saturating_sub(1)];
    let cpu: Vec<Option<u64>> = full.iter().map(|it| it.and_then(|it| it.cpu)).collect();
    let cycles: Vec<Option<u64>> = full.iter().map(|it| it.and_then(|it| it.cycles)).collect();
    let newest = |values: &[Option<u64>]| values.last().copied().flatten();
    let in_use = format!("CPU {}", cores(newest(&cpu), SPANS[zoom]));
    let rate = format!("cyc {}", rate(newest(&cycles), SPANS[zoom], cell));
    let role = Role::Lane(cell.lane);
    let tops = (top(&cpu, SPANS[zoom].0), top(&cycles, 1));
    // Text of CPU, memory, operators and sources; what is left is for pictures.
    let spare = column.rest().height.saturating_sub(4);
    if spare < 5 {
        column.dim(frame, &format!("{in_use} {rate}"));
        chart_of(column, frame, &cpu, tops.0, (spare.clamp(1, 2), role));
        memory(column, frame, lane, cell, spare > 2);
    } else {
        let high = ((spare - 2) / 2).clamp(1, 12);
        column.dim(frame, &in_use);
        chart_of(column, frame, &cpu, tops.0, (high, role));
        column.dim(frame, &rate);
        chart_of(column, frame, &cycles, tops.1, (high, role));
        memory(column, frame, lane, cell, true);
    }
    let (ops, role) = match cell.meter(Meter::WasmOps) {
        Ok(count) => (Count(count).to_string(), Role::Text),
        Err(_) => ("-".to_owned(), Role::Dim),
    };
    column.pair(frame, "ops", &ops, role);
    let room = column.width().saturating_sub(5);
    column.pair(frame, "from", &sources(cell, room), Role::Dim);
    failures(column, frame, cell);
}

/// The moment whose figures are shown.
fn moment(model: &Model, snapshot: &Snapshot) -> Nanos {
    let frozen = model.live.frozen.is_some();
    let end = snapshot.ended;
    end.unwrap_or(if frozen { model.live.frozen_at } else { model.now })
}

/// CPUs in use: CPU time over time, to two digits.
fn cores(cpu: Option<u64>, span: Nanos) -> String {
    let Some(cpu) = cpu else { return "-".to_owned() };
    let hundredths = u128::from(cpu) * 100 / u128::from(span.0.max(1));
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// How many did not end well, and why the newest did not.
fn failures(column: &mut Column<'_>, frame: &mut Frame<'_>, cell: &CellView) {
    if cell.bad == 0 {
        return;
    }
    let reason = cell.reason.as_deref().unwrap_or_default();
    let area = column.rest();
    told(frame, area, column.theme, &format!("{} failed", cell.bad), reason, Role::Bad);
}

/// A full CPU, or the largest value.
fn top(values: &[Option<u64>], least: u64) -> u64 {
    values.iter().flatten().copied().max().unwrap_or(0).max(least)
}

/// Cycles a second while on a CPU in that span, with the mark of its source.
fn rate(cycles: Option<u64>, span: Nanos, cell: &CellView) -> String {
    let cycles = match cycles {
        None => return "-".to_owned(),
        Some(0) => return "0/s".to_owned(),
        Some(cycles) => cycles,
    };
    let per_second = u128::from(cycles) * 1_000_000_000 / u128::from(span.0.max(1));
    let mark = mark(cell);
    format!("{}/s{mark}", Count(u64::try_from(per_second).unwrap_or(u64::MAX)))
}

/// Marks ticks and estimates, as `record` does.
pub fn mark(cell: &CellView) -> &'static str {
    let source = |meter| cell.sources.get(meter).and_then(|it| it.source);
    let cycles = cell.last.as_ref().and_then(|last| last.usage.get(Meter::Cycles));
    if cycles.is_some() {
        let user = cell.sources.get(Meter::Cycles);
        let user = user.is_some_and(|it| it.note.starts_with(crate::meter::perf::USER_ONLY));
        return if user { " u" } else { "" };
    }
    match source(Meter::RefCycles) {
        Some(Source::Estimate) => " e",
        Some(_) => " r",
        None => "",
    }
}

/// The next lines as a chart.
fn chart_of(
    column: &mut Column<'_>,
    frame: &mut Frame<'_>,
    values: &[Option<u64>],
    top: u64,
    (high, role): (u16, Role),
) {
    let theme = column.theme;
    if let Some(area) = column.take(high) {
        chart::columns(frame.buffer_mut(), area, theme, role, values, top);
    }
}

fn memory(
    column: &mut Column<'_>,
    frame: &mut Frame<'_>,
    lane: &LaneView,
    cell: &CellView,
    gauge: bool,
) {
    let now = lane.running.and_then(|running| running.memory);
    let shown = now.or(cell.peak);
    let text = shown.map_or_else(|| "-".to_owned(), |bytes| Bytes(bytes).to_string());
    let over = shown.is_some_and(|bytes| bytes > cell.allocated.0);
    let role = if over { Role::Bad } else { Role::Text };
    column.pair(frame, "mem", &format!("{text} of {}", cell.allocated), role);
    if gauge {
        let bar = |bytes| chart::gauge(column.theme, bytes, cell.allocated.0, column.width());
        let style = column.theme.style(role);
        // An empty line keeps what is below in its place.
        column
            .line(frame, shown.map(|bytes| Span::styled(bar(bytes), style)).into_iter().collect());
    }
}

/// Where the figures come from, each source once; perf's by their short names
/// where there is little room.
fn sources(cell: &CellView, room: usize) -> String {
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
