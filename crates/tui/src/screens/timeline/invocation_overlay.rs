//! Overlay of two invocations, aligned at their requests.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::invocation_panel::{self, resample_meter};
use super::time_axis::TimelineAxis;
use crate::action::UserAction;
use crate::model::Model;
use crate::theme::{StyleRole, Theme};
use crate::widgets::grid::{GridCell, GridColumn, SelectionGrid};
use crate::widgets::plot;
use crate::widgets::text::{fit, pad, wrap};
use cyclometer_core::units::Nanos;
use cyclometer_meter::Meter;
use cyclometer_store::PlaybackInvocation;
use cyclometer_store::PlayedPart;

/// Letters and colours of the two sides.
pub(crate) const SIDES: [(char, StyleRole); 2] =
    [('a', StyleRole::Lane(0)), ('b', StyleRole::Lane(3))];

/// Comparison of two invocations.
#[derive(Debug)]
pub(crate) struct InvocationOverlay {
    /// The marked invocation and the one that was under the cursor.
    pub invocations: [PlaybackInvocation; 2],
    /// Rows of the table.
    pub rows: Vec<InvocationOverlayRow>,
}

/// Row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvocationOverlayRow {
    /// Name of the meter or phase.
    pub name: &'static str,
    /// Both values, their difference (second less first) and their ratio (second over
    /// first).
    pub cells: [String; 4],
    /// Reason why a value or the ratio is missing.
    pub reason: Option<String>,
}

impl InvocationOverlay {
    /// Compares two invocations, `a` being the marked one.
    pub fn new(a: PlaybackInvocation, b: PlaybackInvocation, played: &PlayedPart) -> Self {
        let of = [a, b];
        let mut rows = Vec::new();
        let phases = [
            ("create", of.each_ref().map(|it| it.row.usage.phases.create)),
            ("start", of.each_ref().map(|it| it.row.usage.phases.start)),
            ("run", of.each_ref().map(|it| it.row.usage.phases.run)),
            ("teardown", of.each_ref().map(|it| it.row.usage.phases.teardown)),
        ];
        for (name, values) in phases {
            let values = values.map(|it| it.map(|it| it.0));
            let reason = |side: usize| format!("{}: there is no such phase", SIDES[side].0);
            rows.push(build_row(name, values, |it| Nanos(it).to_string(), &reason));
        }
        for meter in Meter::ALL.iter().filter(|it| **it != Meter::MemoryRss) {
            let values = of.each_ref().map(|it| it.row.usage.get(*meter));
            let reason = |side: usize| {
                let key = &of[side].row.key;
                let why = played.explain_missing_meter(&key.lane, key.start, meter.name());
                format!("{} in {}: {why}", SIDES[side].0, key.lane)
            };
            rows.push(build_row(
                meter.name(),
                values,
                |it| invocation_panel::format_meter_value(*meter, it),
                &reason,
            ));
        }
        // Rows without any value come last.
        rows.sort_by_key(|row| row.cells[0] == "-" && row.cells[1] == "-");
        Self { invocations: of, rows }
    }
}

fn build_row(
    name: &'static str,
    [a, b]: [Option<u64>; 2],
    text: impl Fn(u64) -> String,
    reason: &dyn Fn(usize) -> String,
) -> InvocationOverlayRow {
    let dash = || "-".to_owned();
    let value = |it: Option<u64>| it.map_or_else(dash, &text);
    let both = a.zip(b);
    let difference = both.map_or_else(dash, |(a, b)| match b.checked_sub(a) {
        Some(0) => text(0),
        Some(more) => format!("+{}", text(more)),
        None => format!("-{}", text(a - b)),
    });
    let ratio = both.and_then(|(a, b)| format_ratio(a, b)).unwrap_or_else(dash);
    let missing: Vec<String> = [a, b]
        .iter()
        .enumerate()
        .filter(|(_, value)| value.is_none())
        .map(|(side, _)| reason(side))
        .collect();
    let zero = (both.is_some() && a == Some(0)).then(|| "no ratio: a is 0".to_owned());
    let reason = if missing.is_empty() { zero } else { Some(missing.join("; ")) };
    InvocationOverlayRow { name, cells: [value(a), value(b), difference, ratio], reason }
}

/// Formats the ratio of the second value to the first with two decimals: `1.25x`;
/// `None` if the first is 0.
pub fn format_ratio(a: u64, b: u64) -> Option<String> {
    let (a, b) = (u128::from(a), u128::from(b));
    let hundredths = (b * 100 + a / 2).checked_div(a)?;
    Some(format!("{}.{:02}x", hundredths / 100, hundredths % 100))
}

/// Draws the overlay.
pub fn render(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    played: &PlayedPart,
    pair: &InvocationOverlay,
    selected: usize,
) {
    let theme = &model.theme;
    let room = usize::from(area.width).saturating_sub(6);
    let back = model.keymap.key_for(UserAction::Back, model.screen).unwrap_or_default();
    let names = [0, 1].map(|at| invocation_name(pair, at));
    let title = fit(&format!("{} over {}; {back} closes", names[0], names[1]), room);
    let block = theme.panel_block(title, true);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let high = (inner.height / 3).clamp(4, 20);
    let part = |y: u16, height: u16| {
        let y = (inner.y + y).min(inner.bottom());
        Rect { y, height: height.min(inner.bottom() - y), ..inner }
    };
    render_phases(frame, part(0, 4), *theme, pair);
    render_charts(frame, part(4, high), model, played, pair);
    let table = part(4 + high, u16::MAX / 2);
    let (rows, foot) = if table.height > 3 { (table.height - 2, 2) } else { (table.height, 0) };
    build_grid(pair, selected).render(frame, Rect { height: rows, ..table }, theme);
    let foot = Rect { y: table.y + rows, height: foot, ..table };
    let reason = pair.rows.get(selected).and_then(|row| row.reason.as_ref());
    if let Some(reason) = reason {
        let lines = wrap(reason, usize::from(foot.width).saturating_sub(2)).into_iter().take(2);
        let lines: Vec<Line<'_>> = lines
            .map(|it| Line::from(Span::styled(format!(" {it}"), theme.style(StyleRole::Warn))))
            .collect();
        frame.render_widget(Paragraph::new(lines), foot);
    }
}

fn invocation_name(pair: &InvocationOverlay, side: usize) -> String {
    let it = &pair.invocations[side];
    let key = &it.row.key;
    format!("{} {} {} {} #{}", SIDES[side].0, key.lane, key.workload, key.start, it.sequence)
}

/// Returns the duration of an invocation from its request, in nanoseconds.
fn invocation_duration(invocation: &PlaybackInvocation) -> u64 {
    let usage = &invocation.row.usage;
    let phases = &usage.phases;
    let sum = [phases.create, phases.start, phases.run];
    let sum: u64 = sum.iter().flatten().map(|it| it.0).sum();
    usage.get(Meter::Wall).unwrap_or(sum)
}

/// Returns name, symbol and colour of each phase.
fn phase_signs(theme: Theme) -> [(&'static str, &'static str, StyleRole); 3] {
    [
        ("create", theme.sign("░", "."), StyleRole::Part(2)),
        ("start", theme.sign("▒", ":"), StyleRole::Part(3)),
        ("run", theme.sign("█", "#"), StyleRole::Part(0)),
    ]
}

fn render_phases(frame: &mut Frame<'_>, area: Rect, theme: Theme, pair: &InvocationOverlay) {
    let longest = pair.invocations.iter().map(invocation_duration).max().unwrap_or(0).max(1);
    let axis = TimelineAxis { left: 0, span: longest, width: area.width.saturating_sub(3) };
    let mut lines = Vec::new();
    for (side, invocation) in pair.invocations.iter().enumerate() {
        let (sign, role) = SIDES[side];
        let mut spans = vec![Span::styled(format!(" {sign} "), theme.style(role))];
        let phases = &invocation.row.usage.phases;
        let values = [phases.create, phases.start, phases.run];
        let (mut at, mut column) = (0, 0);
        for (value, (_, sign, role)) in values.into_iter().zip(phase_signs(theme)) {
            let Some(value) = value.filter(|value| value.0 > 0) else { continue };
            at += value.0;
            // A phase that took place is visible, however short it was.
            let end = axis.column_at(at).unwrap_or(axis.width.saturating_sub(1)) + 1;
            let cells = end.saturating_sub(column).max(u16::from(column < axis.width));
            spans.push(Span::styled(sign.repeat(usize::from(cells)), theme.style(role)));
            column += cells;
        }
        lines.push(Line::from(spans));
    }
    let mut spans = vec![Span::raw("   ")];
    for (name, sign, role) in phase_signs(theme) {
        spans.push(Span::styled(sign, theme.style(role)));
        spans.push(Span::raw(format!(" {name}  ")));
    }
    lines.push(build_tick_line(theme, axis, 3));
    lines.push(Line::from(spans));
    frame.render_widget(Paragraph::new(lines), area);
}

/// Returns a line of tick labels below a chart that begins after `gutter` columns.
pub(crate) fn build_tick_line(theme: Theme, axis: TimelineAxis, gutter: usize) -> Line<'static> {
    let mut text = " ".repeat(gutter);
    for (column, label) in axis.ticks() {
        let at = gutter + usize::from(column);
        text = pad(&text, at, false) + &label;
    }
    Line::from(Span::styled(text, theme.style(StyleRole::Dim)))
}

/// Draws CPU time and memory of both invocations, side by side.
fn render_charts(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    played: &PlayedPart,
    pair: &InvocationOverlay,
) {
    let half = area.width / 2;
    let left = Rect { width: half, ..area };
    let right = Rect { x: area.x + half, width: area.width - half, ..area };
    let charts = [(left, Meter::CpuTime, "CPU time"), (right, Meter::MemoryRss, "memory")];
    for (place, meter, name) in charts {
        let place = Rect { x: place.x + 1, width: place.width.saturating_sub(2), ..place };
        render_chart(frame, place, model, played, pair, (meter, name));
    }
}

fn render_chart(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    played: &PlayedPart,
    pair: &InvocationOverlay,
    (meter, name): (Meter, &str),
) {
    let theme = &model.theme;
    let longest = pair.invocations.iter().map(invocation_duration).max().unwrap_or(0).max(1);
    let axis = TimelineAxis { left: 0, span: longest, width: area.width };
    let values = pair.invocations.each_ref().map(|it| {
        let whole = it.row.usage.get(meter).or((meter != Meter::CpuTime).then_some(0));
        let sampled = it.samples.iter().any(|sample| sample.meter == meter);
        let whole = whole.map(|value| (invocation_duration(it), value));
        if sampled { resample_meter(&it.samples, meter, whole, axis) } else { Vec::new() }
    });
    let top = values.iter().flatten().flatten().copied().max();
    let without: Vec<String> = values
        .iter()
        .zip(SIDES)
        .filter(|(values, _)| values.is_empty())
        .map(|(_, (sign, _))| sign.to_string())
        .collect();
    let mut title = match top {
        Some(top) => format!("{name}, top {}", invocation_panel::format_meter_value(meter, top)),
        None => name.to_owned(),
    };
    if top.is_some() && !without.is_empty() {
        title = format!("{title}; no samples of {}", without.join(" and "));
    }
    let line = Rect { height: area.height.min(1), ..area };
    let title = fit(&title, usize::from(area.width));
    frame.render_widget(Paragraph::new(Span::styled(title, theme.style(StyleRole::Title))), line);
    let rest = area.height.saturating_sub(2);
    let picture = Rect { y: area.y + line.height, height: rest, ..area };
    let Some(top) = top else {
        let shortest = pair.invocations.iter().map(invocation_duration).min().unwrap_or(0);
        let text = invocation_panel::explain_missing_samples(played, shortest);
        let lines: Vec<Line<'_>> = wrap(&text, usize::from(area.width).max(1))
            .into_iter()
            .map(|it| Line::from(Span::styled(it, theme.style(StyleRole::Dim))))
            .collect();
        return frame.render_widget(Paragraph::new(lines), picture);
    };
    let lines: Vec<plot::PlotLine<'_>> = values
        .iter()
        .zip(SIDES)
        .map(|(values, (sign, role))| plot::PlotLine { values, sign, role })
        .collect();
    plot::draw_plot(frame.buffer_mut(), picture, *theme, &[], &lines, top);
    if area.height > 1 {
        let foot = Rect { y: area.bottom() - 1, height: 1, ..area };
        frame.render_widget(Paragraph::new(build_tick_line(*theme, axis, 0)), foot);
    }
}

fn build_grid(pair: &InvocationOverlay, selected: usize) -> SelectionGrid {
    let columns = vec![
        GridColumn::for_text("meter", 16),
        GridColumn::for_numbers("a", 10),
        GridColumn::for_numbers("b", 10),
        GridColumn::for_numbers("b - a", 11),
        GridColumn::for_numbers("b / a", 8),
        GridColumn::for_text("why something is missing", 40).growing(),
    ];
    let role = |text: &str| if text == "-" { StyleRole::Dim } else { StyleRole::Text };
    let rows = pair.rows.iter().map(|row| {
        let mut cells = vec![GridCell::new(row.name)];
        cells.extend(row.cells.iter().map(|text| GridCell::with_role(text.as_str(), role(text))));
        cells.push(GridCell::with_role(row.reason.clone().unwrap_or_default(), StyleRole::Dim));
        cells
    });
    SelectionGrid {
        columns,
        rows: rows.collect(),
        selected: Some(selected),
        ..SelectionGrid::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_and_ratios_are_of_the_second_against_the_first() {
        let text = |it: u64| format!("{it} ns");
        let reason = |side: usize| format!("{} is missing", SIDES[side].0);
        let cells = |a, b| build_row("x", [a, b], text, &reason).cells.join(" ");
        assert_eq!(cells(Some(4), Some(5)), "4 ns 5 ns +1 ns 1.25x");
        assert_eq!(cells(Some(3), Some(1)), "3 ns 1 ns -2 ns 0.33x");
        assert_eq!(cells(None, Some(1)), "- 1 ns - -");
        assert_eq!(
            build_row("x", [None, Some(1)], text, &reason).reason.as_deref(),
            Some("a is missing")
        );
        let zero = build_row("x", [Some(0), Some(1)], text, &reason);
        assert_eq!(
            (zero.cells[3].as_str(), zero.reason.as_deref()),
            ("-", Some("no ratio: a is 0"))
        );
    }
}
