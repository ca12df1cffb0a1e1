//! Invocation panel: the measurements of one invocation and its samples.

use std::fmt::Write as _;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::time_axis::{TimelineAxis, format_moment};
use crate::model::Model;
use crate::overlay::Overlay;
use crate::theme::StyleRole;
use crate::widgets::chart;
use crate::widgets::text::{fit, wrap};
use cyclometer_core::units::{Bytes, Count, Nanos};
use cyclometer_lanes::{Sample, Status};
use cyclometer_meter::{Meter, Unit};
use cyclometer_store::PlaybackInvocation;
use cyclometer_store::{CompactInvocation, PlayedPart};

/// Smallest width of a panel with charts beside the text.
const MIN_WIDTH_WITH_CHARTS: u16 = 70;

/// Formats a meter's value with its unit.
pub(crate) fn format_meter_value(meter: Meter, value: u64) -> String {
    match meter.unit() {
        Unit::Nanosecond => Nanos(value).to_string(),
        Unit::Byte => Bytes(value).to_string(),
        Unit::Cycle | Unit::Event => Count(value).to_string(),
        Unit::MilliCpu => format!("{}.{:03} CPU", value / 1_000, value % 1_000),
        Unit::ByteMillisecond => format!("{} s", Bytes(value / 1_000)),
    }
}

/// Formats a duration in nanoseconds; `-` if it is missing.
fn format_duration(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |it| Nanos(it).to_string())
}

/// Resamples a meter's samples onto the columns of an axis that begins at the request.
/// CPU time is interpolated linearly between samples, memory keeps its last value.
/// `whole` is the end of the invocation and the final value. Columns without a known
/// value are `None`.
pub(crate) fn resample_meter(
    samples: &[Sample],
    meter: Meter,
    whole: Option<(u64, u64)>,
    axis: TimelineAxis,
) -> Vec<Option<u64>> {
    let level = meter != Meter::CpuTime;
    let mut points: Vec<(u64, u64)> = if level { Vec::new() } else { vec![(0, 0)] };
    points.extend(samples.iter().filter(|it| it.meter == meter).map(|it| (it.at.0, it.value)));
    if points.len() == usize::from(!level) {
        return Vec::new();
    }
    // The end is known as well, and may precede the last sample.
    if let Some((end, value)) = whole {
        points.retain(|(at, _)| *at < end);
        let last = points.last().map_or(value, |(_, known)| *known);
        points.push((end, if level { last } else { value.max(last) }));
    }
    let value = |at: u64| {
        let next = points.partition_point(|(moment, _)| *moment <= at);
        let (from, low) = *points.get(next.checked_sub(1)?)?;
        match points.get(next) {
            None if at == from => Some(low),
            None => None,
            Some(_) if level => Some(low),
            Some((to, high)) => {
                let rise = u128::from(high.saturating_sub(low)) * u128::from(at - from);
                Some(low + u64::try_from(rise / u128::from(to - from)).unwrap_or(0))
            }
        }
    };
    let last = points.last().map_or(0, |(at, _)| *at);
    // The last column with a known value shows the newest one.
    let end = axis.column_at(last);
    let in_column = |column: u16| {
        if end == Some(column) { value(last) } else { value(axis.column_middle(column)) }
    };
    (0..axis.width).map(in_column).collect()
}

/// Draws the panel of the invocation under the cursor.
pub fn render(frame: &mut Frame<'_>, area: Rect, model: &Model, played: &PlayedPart) {
    let state = &model.screens.timeline;
    let position = state.player.position();
    let under = played.invocation_at(state.lane, position);
    let room = usize::from(area.width).saturating_sub(6);
    let name = played.lane_name(state.lane);
    let title = match under {
        Some(row) => invocation_title(played, row),
        None => format!("{name}: nothing ran yet"),
    };
    let block = model.theme.panel_block(fit(&title, room), false);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let Some(row) = under else {
        return frame.render_widget(
            Paragraph::new(build_idle_lines(model, played, usize::from(inner.width))),
            inner,
        );
    };
    let beside = inner.width >= MIN_WIDTH_WITH_CHARTS && inner.height >= 3;
    let text = if beside { (inner.width / 2).clamp(46, 64).min(inner.width) } else { inner.width };
    let left = Rect { width: text, ..inner };
    let detail = state.detail.as_deref().filter(|it| it.row.invocation == row.id);
    let lines = build_text_lines(model, played, row, detail, usize::from(text));
    frame.render_widget(Paragraph::new(lines), left);
    if beside {
        let right = Rect { x: inner.x + text + 1, width: inner.width - text - 1, ..inner };
        render_sample_charts(frame, right, model, played, row, detail);
    }
}

/// Names an invocation by lane, workload, start and sequence number.
pub(crate) fn invocation_title(played: &PlayedPart, row: &CompactInvocation) -> String {
    let lane = played.lane_name(played.lane_of(row));
    let Some(cell) = played.about.cells.get(row.cell_index()) else { return lane.to_string() };
    format!("{lane} {} {} #{}", cell.key.workload, cell.key.start, row.sequence)
}

fn build_idle_lines(model: &Model, played: &PlayedPart, room: usize) -> Vec<Line<'static>> {
    let lane = played.about.lanes.get(model.screens.timeline.lane);
    let text = match lane.and_then(|lane| lane.unavailable.as_ref()) {
        Some(reason) => format!("this lane could not run: {reason}"),
        None => "no invocation of this lane had begun at this moment".to_owned(),
    };
    wrap(&text, room.saturating_sub(1))
        .into_iter()
        .map(|it| Line::from(Span::styled(format!(" {it}"), model.theme.style(StyleRole::Dim))))
        .collect()
}

fn build_text_lines(
    model: &Model,
    played: &PlayedPart,
    row: &CompactInvocation,
    detail: Option<&PlaybackInvocation>,
    room: usize,
) -> Vec<Line<'static>> {
    let theme = &model.theme;
    let position = model.screens.timeline.player.position();
    let running = row.end > position;
    let (text, role) = match (running, row.status) {
        (true, _) => ("runs".to_owned(), StyleRole::Good),
        (false, Status::Ok) => ("ok".to_owned(), StyleRole::Good),
        (false, status) => (status.label().to_owned(), StyleRole::Bad),
    };
    let mut lines = vec![Line::from(vec![
        Span::styled(format!(" {text}"), theme.style(role)),
        Span::styled(
            fit(
                &format!(
                    "{}{} to {}",
                    if running { " from " } else { ", " },
                    format_moment(row.offset.0),
                    format_moment(row.end.0)
                ),
                room.saturating_sub(text.len() + 1),
            ),
            theme.style(StyleRole::Dim),
        ),
    ])];
    let mut say = |label: &str, value: String| {
        let value = fit(&value, room.saturating_sub(label.len() + 3));
        lines.push(Line::from(vec![
            Span::styled(format!(" {label} "), theme.style(StyleRole::Dim)),
            Span::raw(value),
        ]));
    };
    if !running && let Some(reason) = detail.and_then(|it| it.reason.as_ref()) {
        say("why", reason.clone());
    }
    let phases = [("create", row.create), ("start", row.start), ("run", row.run)];
    let [create, start, run] = phases.map(|(name, value)| (name, format_duration(value.get())));
    say(create.0, format!("{}  {} {}  {} {}", create.1, start.0, start.1, run.0, run.1));
    let cycles = played
        .cycles_with_mark(row)
        .map_or_else(|| "-".to_owned(), |(value, mark)| format!("{}{mark}", Count(value)));
    let ops = match detail {
        None => "...".to_owned(),
        Some(detail) => detail
            .row
            .usage
            .get(Meter::WasmOps)
            .map_or_else(|| "-".to_owned(), |it| Count(it).to_string()),
    };
    say("CPU", format!("{}  cycles {cycles}  ops {ops}", format_duration(row.cpu.get())));
    let bytes =
        |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |it| Bytes(it).to_string());
    say("mem", format!("{} of {}", bytes(row.peak.get()), bytes(row.allocated.get())));
    if let Some((_, error)) = &model.screens.timeline.detail_error {
        say("!", error.clone());
    }
    for (name, value) in detail.map(list_other_meters).unwrap_or_default() {
        say(name, value);
    }
    lines
}

/// Returns the remaining measured meters, two per line, to be shown where there is
/// room.
fn list_other_meters(detail: &PlaybackInvocation) -> Vec<(&'static str, String)> {
    let known = [
        Meter::Wall,
        Meter::CpuTime,
        Meter::Cycles,
        Meter::RefCycles,
        Meter::WasmOps,
        Meter::MemoryPeak,
        Meter::MemoryRss,
        Meter::MemoryAllocated,
    ];
    let rest = Meter::ALL.iter().filter(|meter| !known.contains(meter));
    let usage = &detail.row.usage;
    let values: Vec<(&'static str, String)> = rest
        .filter_map(|meter| Some((meter.name(), format_meter_value(*meter, usage.get(*meter)?))))
        .collect();
    let pair = |pair: &[(&'static str, String)]| {
        let [(name, value), rest @ ..] = pair else { return ("", String::new()) };
        let rest = rest.iter().map(|(name, value)| format!("  {name} {value}"));
        (*name, format!("{value}{}", rest.collect::<String>()))
    };
    values.chunks(2).map(pair).collect()
}

/// Draws the samples of the invocation up to the current moment.
fn render_sample_charts(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    played: &PlayedPart,
    row: &CompactInvocation,
    detail: Option<&PlaybackInvocation>,
) {
    let theme = &model.theme;
    let length = row.end.saturating_since(row.offset).0.max(1);
    let told = |frame: &mut Frame<'_>, text: &str| {
        let lines = wrap(text, usize::from(area.width)).into_iter();
        let lines: Vec<Line<'_>> =
            lines.map(|it| Line::from(Span::styled(it, theme.style(StyleRole::Dim)))).collect();
        frame.render_widget(Paragraph::new(lines), area);
    };
    let Some(detail) = detail else { return told(frame, "its samples are being read") };
    let gutter = 13.min(area.width);
    let axis = TimelineAxis { left: 0, span: length, width: area.width - gutter };
    let whole = |meter| detail.row.usage.get(meter).map(|value| (length, value));
    let cpu = resample_meter(&detail.samples, Meter::CpuTime, whole(Meter::CpuTime), axis);
    let memory = resample_meter(&detail.samples, Meter::MemoryRss, Some((length, 0)), axis);
    if cpu.is_empty() && memory.is_empty() {
        return told(frame, &explain_missing_samples(played, length));
    }
    let now = model.screens.timeline.player.position().saturating_since(row.offset).0;
    let shown = axis.column_at(now).map_or(usize::from(axis.width), |it| usize::from(it) + 1);
    let half = area.height / 2;
    let lane = model.screens.timeline.lane;
    let charts = [(Meter::CpuTime, "CPU", cpu), (Meter::MemoryRss, "mem", memory)];
    let mut y = area.y;
    for (meter, name, values) in charts {
        let high = if meter == Meter::CpuTime { area.height - half } else { half };
        let place = Rect { y, height: high, x: area.x + gutter, width: axis.width };
        y += high;
        let top = values.iter().flatten().copied().max();
        let text = top.map_or_else(
            || format!("{name} -"),
            |it| format!("{name} {}", self::format_meter_value(meter, it)),
        );
        render_chart_label(frame, model, Rect { x: area.x, width: gutter, ..place }, &text);
        let cut = values.iter().enumerate().map(|(at, value)| value.filter(|_| at < shown));
        let cut: Vec<Option<u64>> = cut.collect();
        chart::draw_columns(
            frame.buffer_mut(),
            place,
            theme,
            StyleRole::Lane(lane),
            &cut,
            top.unwrap_or(0),
        );
    }
}

fn render_chart_label(frame: &mut Frame<'_>, model: &Model, area: Rect, text: &str) {
    let text = fit(text, usize::from(area.width).saturating_sub(1));
    let line = Rect { height: area.height.min(1), ..area };
    frame
        .render_widget(Paragraph::new(Span::styled(text, model.theme.style(StyleRole::Dim))), line);
}

/// Explains why an invocation of this length in nanoseconds has no samples.
pub(crate) fn explain_missing_samples(played: &PlayedPart, length: u64) -> String {
    match played.about.sample_interval {
        None => "no samples: sampling was off in this recording".to_owned(),
        Some(interval) => {
            format!("no samples: it took {}, and a sample is taken every {interval}", Nanos(length))
        }
    }
}

/// Builds a text overlay of everything that is known of the invocation under the
/// cursor; `None` until it is loaded.
pub(crate) fn build_text_overlay(model: &Model, played: &PlayedPart) -> Option<Overlay> {
    let row = played
        .invocation_at(model.screens.timeline.lane, model.screens.timeline.player.position())?;
    let detail =
        model.screens.timeline.detail.as_deref().filter(|it| it.row.invocation == row.id)?;
    let key = &detail.row.key;
    let mut text = format!("preset {}, invocation {}\n", key.preset, row.id);
    let _ = writeln!(text, "{}", detail.status.label());
    if let Some(reason) = &detail.reason {
        let _ = writeln!(text, "{reason}");
    }
    let _ = writeln!(
        text,
        "requested at {}, ended at {}",
        format_moment(row.offset.0),
        format_moment(row.end.0)
    );
    let phases = &detail.row.usage.phases;
    let phases = [
        ("create", phases.create),
        ("start", phases.start),
        ("  deserialize", phases.deserialize),
        ("  instantiate", phases.instantiate),
        ("run", phases.run),
        ("teardown", phases.teardown),
        ("  release", phases.release),
    ];
    // Few lanes measure sub-phases; the others get no lines for them.
    let told = |(name, value): &(&str, Option<Nanos>)| value.is_some() || !name.starts_with(' ');
    for (name, value) in phases.into_iter().filter(told) {
        let why = if value.is_none() { "  there is no such phase here" } else { "" };
        let _ = writeln!(text, "{name:<17} {:>10}{why}", format_duration(value.map(|it| it.0)));
    }
    for meter in Meter::ALL.iter().filter(|it| **it != Meter::MemoryRss) {
        let value = detail.row.usage.get(*meter).map(|value| format_meter_value(*meter, value));
        let reason =
            || format!("  {}", played.explain_missing_meter(&key.lane, key.start, meter.name()));
        let why = if value.is_none() { reason() } else { String::new() };
        let value = value.unwrap_or_else(|| "-".to_owned());
        let _ = writeln!(text, "{:<17} {value:>10}{why}", meter.name());
    }
    let count = detail.samples.len();
    if count == 0 {
        let _ = writeln!(
            text,
            "{}",
            explain_missing_samples(played, row.end.saturating_since(row.offset).0)
        );
    } else {
        let _ = writeln!(text, "{count} values of its time series");
    }
    if let Some(bills) = &model.screens.timeline.bills {
        for (name, reason) in super::bill_panel::missing_amounts(bills, model.screens.timeline.lane)
        {
            let _ = writeln!(text, "no bill of {name}: {reason}");
        }
    }
    Some(Overlay::Text { title: invocation_title(played, row), text, scroll: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: u64, meter: Meter, value: u64) -> Sample {
        Sample { at: Nanos(at), meter, value }
    }

    #[test]
    fn cpu_time_rises_evenly_and_memory_stays() {
        let axis = TimelineAxis { left: 0, span: 80, width: 8 };
        let cpu = [sample(20, Meter::CpuTime, 10), sample(40, Meter::CpuTime, 50)];
        let found = resample_meter(&cpu, Meter::CpuTime, Some((60, 50)), axis);
        // Column middles are 5, 15, ...: half of the time up to 20, then 2 per
        // nanosecond, then nothing.
        let rising = [2, 7, 20, 40, 50, 50, 50].map(Some);
        assert_eq!(found[..7], rising);
        assert_eq!(found[7], None, "it had ended at 60");
        let memory = [sample(20, Meter::MemoryRss, 7), sample(40, Meter::MemoryRss, 9)];
        let found = resample_meter(&memory, Meter::MemoryRss, Some((60, 0)), axis);
        assert_eq!(found, [None, None, Some(7), Some(7), Some(9), Some(9), Some(9), None]);
        assert!(resample_meter(&cpu, Meter::MemoryRss, Some((60, 0)), axis).is_empty());
    }
}
