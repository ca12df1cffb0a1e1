//! Overlay of two lanes: all invocations of a workload and start in each, aligned at
//! their requests.

use std::collections::HashMap;
use std::sync::Arc;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::invocation_overlay::{SIDES, build_tick_line, format_ratio};
use super::invocation_panel::explain_missing_samples;
use super::time_axis::TimelineAxis;
use crate::action::UserAction;
use crate::model::Model;
use crate::theme::StyleRole;
use crate::widgets::plot;
use crate::widgets::text::{fit, pad, wrap};
use cyclometer_core::cell_key::CellKey;
use cyclometer_core::invocation::StartKind;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_stats::integer_quantile;
use cyclometer_store::{CompactInvocation, PlayedPart};
use cyclometer_store::{Store, StoreError};

/// Number of points of a curve of CPU time.
const CURVE_POINTS: u16 = 200;

/// Most invocations whose samples are read.
const MAX_SAMPLED_INVOCATIONS: u32 = 1_000;

/// 5th percentile, median and 95th percentile.
type QuantileTriple = [u64; 3];

/// Lanes and workload to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ComparedLanes {
    /// Indices of the lanes.
    pub lanes: [usize; 2],
    /// Workload that both ran.
    pub workload: Arc<str>,
    /// Preset of the workload.
    pub preset: Arc<str>,
    /// Kind of start.
    pub start: StartKind,
}

/// Comparison of two lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LaneOverlay {
    /// Length of the curves of CPU time, in nanoseconds.
    pub span: u64,
    /// Statistics of the lanes.
    pub lanes: [LaneStatistics; 2],
}

/// Statistics of the successful invocations of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LaneStatistics {
    /// Number of invocations.
    pub count: usize,
    /// Durations of create, start, run and the whole invocation, and CPU time, in
    /// nanoseconds.
    pub times: [Option<QuantileTriple>; 5],
    /// Memory peaks in bytes.
    pub peak: Option<QuantileTriple>,
    /// Number of invocations that have samples.
    pub sampled: usize,
    /// CPU time since the request: [`CURVE_POINTS`] values, or none.
    pub curve: Vec<QuantileTriple>,
}

const TIME_NAMES: [&str; 5] = ["create", "start", "run", "wall", "CPU time"];

fn compute_quantiles(mut values: Vec<u64>) -> Option<QuantileTriple> {
    values.sort_unstable();
    Some([
        integer_quantile(&values, 1, 20)?,
        integer_quantile(&values, 1, 2)?,
        integer_quantile(&values, 19, 20)?,
    ])
}

/// Finds the next lane after `after` that ran the workload, preset and start of a cell.
pub(crate) fn find_compared_lanes(
    played: &PlayedPart,
    cell: usize,
    after: usize,
) -> Option<ComparedLanes> {
    let about = &played.about;
    let own = about.cells.get(cell)?;
    let same =
        |lane: usize| about.cells.iter().any(|it| it.lane == lane && runs_same(&it.key, &own.key));
    let count = about.lanes.len();
    let others = (1..=count).map(|step| (after + step) % count).filter(|lane| *lane != own.lane);
    let other = others.into_iter().find(|lane| same(*lane))?;
    Some(ComparedLanes {
        lanes: [own.lane, other],
        workload: Arc::clone(&own.key.workload),
        preset: Arc::clone(&own.key.preset),
        start: own.key.start,
    })
}

/// Returns whether two cells run the same in the same way, in whichever lanes.
fn runs_same(one: &CellKey, two: &CellKey) -> bool {
    one.workload == two.workload && one.preset == two.preset && one.start == two.start
}

/// Interpolates the CPU time of an invocation linearly between its samples; from the
/// end on it is constant.
fn interpolate_cpu_curve(
    points: &[(Nanos, u64)],
    row: &CompactInvocation,
    axis: TimelineAxis,
) -> Vec<u64> {
    let length = row.end.saturating_since(row.offset).0;
    let mut known = vec![(0, 0)];
    known.extend(points.iter().map(|(at, value)| (at.0, *value)).filter(|it| it.0 < length));
    let last = known.last().map_or(0, |it| it.1);
    let whole = row.cpu.get().unwrap_or(last).max(last);
    known.push((length, whole));
    let value = |at: u64| {
        let next = known.partition_point(|it| it.0 <= at);
        let Some((to, high)) = known.get(next) else { return whole };
        let (from, low) = next.checked_sub(1).map_or((0, 0), |before| known[before]);
        let rise = u128::from(high.saturating_sub(low)) * u128::from(at - from);
        low + u64::try_from(rise / u128::from((to - from).max(1))).unwrap_or(0)
    };
    (1..=axis.width).map(|column| value(axis.column_start(column))).collect()
}

impl LaneOverlay {
    /// Reads the invocations of both lanes in the part, and computes their statistics.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub fn from_store(
        store: &Store,
        played: &PlayedPart,
        what: &ComparedLanes,
    ) -> Result<Self, StoreError> {
        let cells = |lane: usize| {
            let cells = played.about.cells.iter().enumerate().filter(move |(_, cell)| {
                cell.lane == lane
                    && cell.key.workload == what.workload
                    && cell.key.preset == what.preset
                    && cell.key.start == what.start
            });
            cells.map(|(at, cell)| (at, cell.id)).collect::<Vec<_>>()
        };
        let rows = what.lanes.map(|lane| {
            let cells = cells(lane);
            let of = |row: &&CompactInvocation| {
                !row.is_unsuccessful() && cells.iter().any(|(cell, _)| *cell == row.cell_index())
            };
            played.lane_invocations(lane).filter(of).copied().collect::<Vec<_>>()
        });
        let lengths = |rows: &Vec<CompactInvocation>| {
            let all = rows.iter().map(|row| row.end.saturating_since(row.offset).0).collect();
            compute_quantiles(all).map_or(1, |it| it[2])
        };
        let span = rows.iter().map(lengths).max().unwrap_or(1).max(1);
        let axis = TimelineAxis { left: 0, span, width: CURVE_POINTS };
        let mut lanes = rows.each_ref().map(|rows| LaneStatistics::from_invocations(rows));
        for ((spread, rows), lane) in lanes.iter_mut().zip(&rows).zip(what.lanes) {
            let known: HashMap<i64, &CompactInvocation> =
                rows.iter().map(|row| (row.id, row)).collect();
            let mut curves = Vec::new();
            for (_, cell) in cells(lane) {
                let series = store.cpu_samples(cell, played.key.newest, MAX_SAMPLED_INVOCATIONS)?;
                let own = series.iter().filter_map(|(id, it)| Some((known.get(id)?, it)));
                curves.extend(own.map(|(row, points)| interpolate_cpu_curve(points, row, axis)));
            }
            spread.sampled = curves.len();
            if !curves.is_empty() {
                let of = |at: u16| curves.iter().map(|it| it[usize::from(at)]).collect();
                spread.curve =
                    (0..CURVE_POINTS).filter_map(|at| compute_quantiles(of(at))).collect();
            }
        }
        Ok(Self { span, lanes })
    }
}

impl LaneStatistics {
    fn from_invocations(rows: &[CompactInvocation]) -> Self {
        let of = |pick: fn(&CompactInvocation) -> Option<u64>| {
            compute_quantiles(rows.iter().filter_map(pick).collect())
        };
        Self {
            count: rows.len(),
            times: [
                of(|row| row.create.get()),
                of(|row| row.start.get()),
                of(|row| row.run.get()),
                of(|row| Some(row.end.saturating_since(row.offset).0)),
                of(|row| row.cpu.get()),
            ],
            peak: of(|row| row.peak.get()),
            ..Self::default()
        }
    }
}

/// Draws the overlay.
pub fn render(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    played: &PlayedPart,
    what: &ComparedLanes,
    spread: &LaneOverlay,
) {
    let theme = &model.theme;
    let names = what.lanes.map(|lane| played.lane_name(lane));
    let key = |action| model.keymap.key_for(action, model.screen).unwrap_or_default();
    let (next, back) = (key(UserAction::Overlay), key(UserAction::Back));
    let title = format!(
        "{} {}: a {} ({}) over b {} ({}); {next} next lane, {back} closes",
        what.workload, what.start, names[0], spread.lanes[0].count, names[1], spread.lanes[1].count
    );
    let block = theme.panel_block(fit(&title, usize::from(area.width).saturating_sub(6)), true);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let room = usize::from(inner.width);
    let mut lines = build_time_lines(model, spread, room);
    lines.push(build_peak_line(model, spread));
    let high = u16::try_from(lines.len()).unwrap_or(u16::MAX).min(inner.height);
    frame.render_widget(Paragraph::new(lines), Rect { height: high, ..inner });
    let rest = Rect { y: inner.y + high, height: inner.height - high, ..inner };
    render_cpu_curves(frame, rest, model, played, spread);
}

/// Formats each duration as a range on one scale, with its values.
fn build_time_lines(model: &Model, spread: &LaneOverlay, room: usize) -> Vec<Line<'static>> {
    let theme = &model.theme;
    let figures = 9 * 3 + 8;
    let label = 12;
    let width = u16::try_from(room.saturating_sub(figures + label + 1)).unwrap_or(0);
    let all = spread.lanes.iter().flat_map(|lane| lane.times).flatten();
    let top = all.map(|it| it[2]).max().unwrap_or(1).max(1);
    let axis = TimelineAxis { left: 0, span: top, width };
    let heading = format!(
        "{}{}{}{}{}{}",
        pad(" median [p5 to p95]", label + usize::from(width), false),
        pad("p5", 9, true),
        pad("median", 9, true),
        pad("p95", 9, true),
        pad("b / a", 8, true),
        ""
    );
    let mut lines =
        vec![Line::from(Span::styled(fit(&heading, room), theme.style(StyleRole::Dim)))];
    for (at, name) in TIME_NAMES.iter().enumerate() {
        let medians = spread.lanes.each_ref().map(|lane| lane.times[at].map(|it| it[1]));
        if medians == [None, None] {
            continue;
        }
        for (side, (sign, role)) in SIDES.into_iter().enumerate() {
            let found = spread.lanes[side].times[at];
            let mut text = format!(" {sign} {}", pad(name, label - 3, false));
            text.push_str(&format_range(model, found, axis));
            let figure =
                |at: usize| found.map_or_else(|| "-".to_owned(), |it| Nanos(it[at]).to_string());
            for at in 0..3 {
                text.push_str(&pad(&figure(at), 9, true));
            }
            let against = medians[0].zip(medians[1]).filter(|_| side == 1);
            let against = against.and_then(|(a, b)| format_ratio(a, b)).unwrap_or_default();
            text.push_str(&pad(&against, 8, true));
            lines.push(Line::from(Span::styled(fit(&text, room), theme.style(role))));
        }
    }
    lines
}

/// Formats a range at its place on the scale: `[--|-----]`.
fn format_range(model: &Model, found: Option<QuantileTriple>, axis: TimelineAxis) -> String {
    let theme = &model.theme;
    let width = usize::from(axis.width);
    let Some(places) = found.map(|it| it.map(|at| axis.column_at(at).map_or(0, usize::from)))
    else {
        return " ".repeat(width);
    };
    let mut cells: Vec<&str> = vec![" "; width];
    for (at, cell) in cells.iter_mut().enumerate() {
        if at > places[0] && at < places[2] {
            *cell = theme.sign("─", "-");
        }
    }
    let signs = [theme.sign("├", "["), theme.sign("┤", "]"), theme.sign("┃", "|")];
    for (place, sign) in [places[0], places[2], places[1]].into_iter().zip(signs) {
        if let Some(cell) = cells.get_mut(place) {
            *cell = sign;
        }
    }
    cells.concat()
}

fn build_peak_line(model: &Model, spread: &LaneOverlay) -> Line<'static> {
    let theme = &model.theme;
    let mut spans = vec![Span::styled(" memory peak, median", theme.style(StyleRole::Dim))];
    for (lane, (sign, role)) in spread.lanes.iter().zip(SIDES) {
        let text = lane.peak.map_or_else(|| "-".to_owned(), |it| Bytes(it[1]).to_string());
        spans.push(Span::styled(format!("  {sign} {text}"), theme.style(role)));
    }
    let medians = spread.lanes.each_ref().map(|lane| lane.peak.map(|it| it[1]));
    if let Some(ratio) = medians[0].zip(medians[1]).and_then(|(a, b)| format_ratio(a, b)) {
        spans.push(Span::raw(format!("  b / a {ratio}")));
    }
    Line::from(spans)
}

/// Draws the CPU time since the request: medians as lines, 5th to 95th percentiles as
/// bands.
fn render_cpu_curves(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    played: &PlayedPart,
    spread: &LaneOverlay,
) {
    let theme = &model.theme;
    if area.height < 3 || area.width < 4 {
        return;
    }
    let area = Rect { x: area.x + 1, width: area.width - 2, ..area };
    let room = usize::from(area.width);
    let sampled = spread.lanes.each_ref().map(|lane| lane.sampled);
    let line = Rect { height: 1, ..area };
    let below = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let all = spread.lanes.iter().flat_map(|lane| &lane.curve).map(|it| it[2]);
    let Some(top) = all.max() else {
        let shortest = spread.lanes.iter().filter_map(|it| it.times[3]).map(|it| it[1]).min();
        let text = explain_missing_samples(played, shortest.unwrap_or(0));
        let lines: Vec<Line<'_>> = wrap(&text, room)
            .into_iter()
            .map(|it| Line::from(Span::styled(it, theme.style(StyleRole::Dim))))
            .collect();
        return frame.render_widget(Paragraph::new(lines), below);
    };
    let title = format!(
        "CPU time, top {}: a b medians, {} {} p5 to p95; sampled {} and {}",
        Nanos(top),
        BAND_SIGNS[usize::from(theme.is_ascii())][0],
        BAND_SIGNS[usize::from(theme.is_ascii())][1],
        sampled[0],
        sampled[1]
    );
    let title = Span::styled(fit(&title, room), theme.style(StyleRole::Title));
    frame.render_widget(Paragraph::new(title), line);
    let picture = Rect { height: below.height - 1, ..below };
    let axis = TimelineAxis { left: 0, span: spread.span, width: picture.width };
    let columns = spread.lanes.each_ref().map(|lane| {
        [0, 1, 2].map(|which: usize| {
            let at = |column: u16| {
                usize::from(column) * usize::from(CURVE_POINTS) / usize::from(axis.width.max(1))
            };
            let value = |column: u16| lane.curve.get(at(column)).map(|it| it[which]);
            (0..axis.width).map(value).collect::<Vec<Option<u64>>>()
        })
    });
    let signs = BAND_SIGNS[usize::from(theme.is_ascii())];
    let mut bands = Vec::new();
    let mut lines = Vec::new();
    for ((side, sign), (letter, role)) in columns.iter().zip(signs).zip(SIDES) {
        bands.push(plot::PlotBand { low: &side[0], high: &side[2], sign, role });
        lines.push(plot::PlotLine { values: &side[1], sign: letter, role });
    }
    plot::draw_plot(frame.buffer_mut(), picture, *theme, &bands, &lines, top);
    let foot = Rect { y: below.bottom() - 1, height: 1, ..below };
    frame.render_widget(Paragraph::new(build_tick_line(*theme, axis, 0)), foot);
}

/// Characters of the bands, in Unicode and in ASCII.
const BAND_SIGNS: [[char; 2]; 2] = [['·', '░'], ['.', ':']];
