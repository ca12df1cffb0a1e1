//! Drawing of the tracks: swimlanes, CPU and memory charts, and the cursor.

use std::fmt::Write as _;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::lane_columns::{self, ColumnActivity, ColumnSign, LaneFilter};
use super::layout::{TimelineLayout, TimelineTrack};
use super::time_axis::{TimelineAxis, format_moment};
use super::{TimelineOverlay, bill_panel, invocation_overlay, invocation_panel, lane_overlay};
use crate::action::UserAction;
use crate::model::Model;
use crate::theme::{StyleRole, Theme};
use crate::widgets::chart;
use crate::widgets::text::{fit, wrap};
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_store::PlayedPart;

/// Draws the screen.
pub fn render(frame: &mut Frame<'_>, layout: &TimelineLayout, model: &Model) {
    let (state, area) = (&model.screens.timeline, layout.whole);
    let Some(played) = &state.played else { return render_unloaded(frame, area, model) };
    if played.rows.is_empty() {
        return render_without_invocations(frame, area, model, played);
    }
    match &state.overlay {
        Some(TimelineOverlay::Invocations { answer: Some(Ok(pair)), selected, .. }) => {
            return invocation_overlay::render(frame, area, model, played, pair, *selected);
        }
        Some(TimelineOverlay::Lanes { what, answer: Some(Ok(spread)) }) => {
            return lane_overlay::render(frame, area, model, played, what, spread);
        }
        Some(
            TimelineOverlay::Invocations { answer: Some(Err(text)), .. }
            | TimelineOverlay::Lanes { answer: Some(Err(text)), .. },
        ) => {
            return render_overlay_message(frame, area, model, text, StyleRole::Bad);
        }
        Some(_) => {
            return render_overlay_message(frame, area, model, "being read", StyleRole::Dim);
        }
        None => {}
    }
    render_tracks(frame, layout, model, played);
    invocation_panel::render(frame, layout.invocation, model, played);
    bill_panel::render(frame, layout.bills, model, played);
}

/// Draws a message in place of an overlay that has nothing to show.
fn render_overlay_message(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    text: &str,
    role: StyleRole,
) {
    let back = model.keymap.key_for(UserAction::Back, model.screen).unwrap_or_default();
    render_message(frame, area, model, &format!("overlay; {back} closes"), text, role);
}

fn render_message(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    title: &str,
    text: &str,
    role: StyleRole,
) {
    let block =
        model.theme.panel_block(fit(title, usize::from(area.width).saturating_sub(6)), false);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let room = usize::from(inner.width).saturating_sub(2);
    let lines = wrap(text, room).into_iter();
    let lines: Vec<Line<'_>> = lines
        .map(|it| Line::from(Span::styled(format!(" {it}"), model.theme.style(role))))
        .collect();
    frame.render_widget(Paragraph::new(lines), inner);
}

fn render_unloaded(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let state = &model.screens.timeline;
    let (text, role) = match (&state.error, model.shown_recording()) {
        (Some(error), Some(_)) => (format!("there is nothing to play: {error}"), StyleRole::Bad),
        (_, Some(number)) => (format!("recording {number} is being read"), StyleRole::Dim),
        (_, None) => {
            let live =
                model.keymap.key_for(UserAction::Go(super::super::ScreenId::Live), model.screen);
            let past =
                model.keymap.key_for(UserAction::Go(super::super::ScreenId::History), model.screen);
            let text = format!(
                "No recording is open. Make one on the live screen ({}), or open one in the \
                 history ({}).",
                live.unwrap_or_default(),
                past.unwrap_or_default()
            );
            (text, StyleRole::Text)
        }
    };
    render_message(frame, area, model, "timeline", &text, role);
}

fn render_without_invocations(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    played: &PlayedPart,
) {
    let mut text = match played.about.status.as_str() {
        "running" => "No invocation has ended yet; they appear here as they do.".to_owned(),
        status => format!("This recording has no invocations; it is {status}."),
    };
    for lane in &played.about.lanes {
        if let Some(reason) = &lane.unavailable {
            let _ = write!(text, "\n{} could not run: {reason}", lane.name);
        }
    }
    render_message(
        frame,
        area,
        model,
        &format!("recording {}", played.about.id),
        &text,
        StyleRole::Text,
    );
}

/// Formats the title of the timeline panel.
fn format_title(model: &Model, played: &PlayedPart, hidden: usize) -> String {
    let at = &model.screens.timeline.player;
    let theme = &model.theme;
    let about = &played.about;
    let dot = theme.sign(" · ", ", ");
    let (sign, state) = if at.is_playing() {
        (theme.sign("▶", ">"), "plays")
    } else {
        (theme.sign("■", "="), "paused")
    };
    let mut parts = vec![
        format!("{sign} {state} {}", at.speed_label()),
        format!("{} of {}", format_moment(at.position().0), format_moment(about.end.0)),
    ];
    if played.parts > 1 {
        parts.push(format!("part {} of {}", played.part + 1, played.parts));
    }
    let (_, span) = at.visible_span();
    if span < played.end.saturating_since(played.begin).0 {
        parts.push(format!("{} in sight", Nanos(span)));
    }
    let label = about.label.as_ref().map_or_else(String::new, |it| format!(" {it}"));
    parts.push(format!("recording {}{label}", about.id));
    if about.status != "done" {
        parts.push(about.status.clone());
    }
    if hidden > 0 {
        parts.push(format!("+{hidden} lanes"));
    }
    if let Some(marked) = &model.screens.timeline.marked {
        parts.push(format!("a: {}", marked.1));
    }
    if let Some(error) = &model.screens.timeline.error {
        parts.push(error.clone());
    }
    parts.join(dot)
}

fn render_tracks(
    frame: &mut Frame<'_>,
    layout: &TimelineLayout,
    model: &Model,
    played: &PlayedPart,
) {
    let room = usize::from(layout.timeline.width).saturating_sub(6);
    let block =
        model.theme.panel_block(fit(&format_title(model, played, layout.hidden), room), true);
    frame.render_widget(block, layout.timeline);
    let axis = layout.visible_axis(model);
    if axis.width == 0 || layout.axis.height == 0 {
        return;
    }
    let position = model.screens.timeline.player.position();
    let cursor = axis.column_at(position.0);
    for (track, place) in &layout.tracks {
        let picture =
            Rect { x: place.x + layout.gutter, width: place.width - layout.gutter, ..*place };
        let gutter = Rect { width: layout.gutter.saturating_sub(1), ..*place };
        let view = TrackView { model, played, axis, cursor, picture, gutter };
        match track {
            TimelineTrack::Swimlane(whose) => render_swimlane(frame, &view, *whose),
            TimelineTrack::Cpu(lane) => render_cpu_chart(frame, &view, *lane),
            TimelineTrack::Memory(lane) => render_memory_chart(frame, &view, *lane),
        }
    }
    let picture = Rect { x: layout.axis.x + layout.gutter, width: axis.width, ..layout.axis };
    render_ticks(frame, picture, model.theme, axis);
    let at = Rect { width: layout.gutter.saturating_sub(1), ..layout.axis };
    let text = fit(" time", usize::from(at.width));
    frame.render_widget(Paragraph::new(Span::styled(text, model.theme.style(StyleRole::Dim))), at);
    if let Some(cursor) = cursor {
        render_cursor(frame, layout, model, played, picture.x + cursor);
    }
}

/// Everything that a track is drawn with.
struct TrackView<'a> {
    model: &'a Model,
    played: &'a PlayedPart,
    axis: TimelineAxis,
    cursor: Option<u16>,
    picture: Rect,
    gutter: Rect,
}

impl TrackView<'_> {
    /// Returns the columns of the track, cached or computed now; that of the cursor
    /// only up to the current moment.
    fn current_columns(&self, whose: LaneFilter) -> Vec<ColumnActivity> {
        let state = &self.model.screens.timeline;
        let known = state.column_cache.cached_columns(self.played, whose, self.axis);
        let mut columns = match known {
            Some(columns) => columns.to_vec(),
            None => lane_columns::compute_columns(self.played, whose, self.axis, Nanos(u64::MAX)),
        };
        if let Some(cursor) = self.cursor {
            let until = state.player.position();
            let left = self.axis.column_start(cursor);
            let narrow =
                TimelineAxis { left, span: self.axis.column_start(cursor + 1) - left, width: 1 };
            let newest = lane_columns::compute_columns(self.played, whose, narrow, until);
            if let (Some(column), Some(newest)) =
                (columns.get_mut(usize::from(cursor)), newest.first())
            {
                *column = *newest;
            }
        }
        columns
    }

    /// Returns the number of columns up to and including the cursor.
    fn reached_columns(&self) -> usize {
        let before = self.axis.left > self.model.screens.timeline.player.position().0;
        match self.cursor {
            Some(cursor) => usize::from(cursor) + 1,
            None if before => 0,
            None => usize::from(self.axis.width),
        }
    }

    fn render_label(&self, frame: &mut Frame<'_>, text: &str, role: StyleRole) {
        let text = fit(text, usize::from(self.gutter.width));
        let line = Rect { height: self.gutter.height.min(1), ..self.gutter };
        frame.render_widget(Paragraph::new(Span::styled(text, self.model.theme.style(role))), line);
    }
}

/// Returns the character of a column in a swimlane, and whether it marks a failure;
/// `None` if the column is idle.
fn column_character(theme: Theme, sign: ColumnSign, most: u32) -> Option<(char, bool)> {
    let pick = |sign: char, ascii: char| if theme.is_ascii() { ascii } else { sign };
    Some(match sign {
        ColumnSign::Idle => return None,
        ColumnSign::Startup => (pick('╌', '-'), false),
        ColumnSign::Run => (pick('━', '='), false),
        ColumnSign::Failed => (pick('✗', '!'), true),
        ColumnSign::Many(count) => {
            let level = (u64::from(count) * 8).div_ceil(u64::from(most.max(1))).clamp(1, 8);
            let level = usize::try_from(level).unwrap_or(8);
            // In ASCII a level must not look like the cursor.
            let ascii = [' ', '.', '.', ':', ':', '+', '+', '#', '#'];
            (if theme.is_ascii() { ascii[level] } else { theme.level_signs()[level] }, false)
        }
    })
}

fn render_swimlane(frame: &mut Frame<'_>, view: &TrackView<'_>, whose: LaneFilter) {
    let state = &view.model.screens.timeline;
    let theme = &view.model.theme;
    let selected = whose.lane == state.lane;
    let name = view.played.lane_name(whose.lane);
    let cell = whose.cell.and_then(|cell| view.played.about.cells.get(cell));
    let first = cell.is_none_or(|cell| {
        let own = |it: &cyclometer_store::PlaybackCell| it.lane == whose.lane;
        view.played.about.cells.iter().find(|it| own(it)).is_some_and(|it| it.id == cell.id)
    });
    let pointer = if selected && first { theme.pointer() } else { " " };
    let text = match cell {
        Some(cell) => format!("{pointer}{name} {} {}", cell.key.workload, cell.key.start),
        None => format!("{pointer}{name}"),
    };
    view.render_label(frame, &text, if selected { StyleRole::Title } else { StyleRole::Text });
    let columns = view.current_columns(whose);
    let most = columns.iter().map(|column| column.in_progress).max().unwrap_or(0);
    let shown = view.reached_columns();
    let buffer = frame.buffer_mut();
    for (at, column) in columns.iter().enumerate() {
        let Some((mut character, bad)) = column_character(*theme, column.sign(), most) else {
            continue;
        };
        let mut role = if bad { StyleRole::Bad } else { StyleRole::Lane(whose.lane) };
        if at >= shown {
            // Columns after the cursor are only dotted.
            character = if theme.is_ascii() { ',' } else { '·' };
            role = StyleRole::Dim;
        }
        let x = view.picture.x + u16::try_from(at).unwrap_or(u16::MAX);
        if let Some(cell) = buffer.cell_mut((x, view.picture.y)) {
            cell.set_char(character).set_style(theme.style(role));
        }
    }
    if let Some(reason) =
        view.played.about.lanes.get(whose.lane).and_then(|it| it.unavailable.as_ref())
    {
        let text = fit(&format!("could not run: {reason}"), usize::from(view.picture.width));
        let text = Span::styled(text, theme.style(StyleRole::Warn));
        frame.render_widget(Paragraph::new(text), view.picture);
    }
}

/// Draws the left edge of a chart: its label with the value at the cursor, and its
/// upper bound.
fn render_gutter(frame: &mut Frame<'_>, view: &TrackView<'_>, now: &str, top: &str) {
    if view.gutter.height > 1 {
        view.render_label(frame, &format!(" {now}"), StyleRole::Dim);
        let below = Rect { y: view.gutter.y + 1, height: 1, ..view.gutter };
        let text = fit(&format!(" top {top}"), usize::from(below.width));
        let text = Span::styled(text, view.model.theme.style(StyleRole::Dim));
        frame.render_widget(Paragraph::new(text), below);
    } else {
        view.render_label(frame, &format!(" {now}"), StyleRole::Dim);
    }
}

/// Returns the value at the cursor, or the one before it if its column has no value
/// yet.
fn newest_value(values: &[Option<u64>]) -> Option<u64> {
    let (last, before) = values.split_last()?;
    last.or_else(|| before.last().copied().flatten())
}

/// Rounds thousandths of a CPU up to the upper bound of a chart: 0.1, 0.2, 0.5, 1, 2,
/// 5, 10 CPUs and so on.
fn round_up_to_bound(thousandths: u64) -> u64 {
    let mut tens = 100;
    loop {
        let found = [tens, tens * 2, tens * 5].into_iter().find(|top| *top >= thousandths);
        if let Some(top) = found {
            return top;
        }
        if tens > u64::MAX / 100 {
            return thousandths;
        }
        tens *= 10;
    }
}

/// Formats thousandths of a CPU as CPUs: `0.98`.
fn format_cpus(thousandths: u64) -> String {
    let rounded = (thousandths + 5) / 10;
    format!("{}.{:02}", rounded / 100, rounded % 100)
}

fn render_cpu_chart(frame: &mut Frame<'_>, view: &TrackView<'_>, lane: usize) {
    let until = view.model.screens.timeline.player.position();
    let columns = view.current_columns(LaneFilter { lane, cell: None });
    let shown = view.reached_columns();
    let values: Vec<Option<u64>> = (0_u16..)
        .zip(&columns)
        .map(|(at, column)| {
            let end = if Some(at) == view.cursor { until } else { Nanos(u64::MAX) };
            lane_columns::cpu_thousandths(column, view.axis, at, end)
                .filter(|_| usize::from(at) < shown)
        })
        .collect();
    // The upper bound covers everything visible, so that it does not jump during
    // playback.
    let all = (0_u16..).zip(&columns).filter_map(|(at, column)| {
        lane_columns::cpu_thousandths(column, view.axis, at, Nanos(u64::MAX))
    });
    let top = round_up_to_bound(all.max().unwrap_or(0));
    let now = newest_value(&values[..shown.min(values.len())]);
    let now = now.map_or_else(|| "CPU -".to_owned(), |it| format!("{} CPU", format_cpus(it)));
    render_gutter(frame, view, &now, &format_cpus(top));
    let theme = &view.model.theme;
    chart::draw_columns(
        frame.buffer_mut(),
        view.picture,
        theme,
        StyleRole::Lane(lane),
        &values,
        top,
    );
}

fn render_memory_chart(frame: &mut Frame<'_>, view: &TrackView<'_>, lane: usize) {
    let columns = view.current_columns(LaneFilter { lane, cell: None });
    let shown = view.reached_columns();
    let peaks = columns.iter().enumerate().map(|(at, column)| column.peak.filter(|_| at < shown));
    let values: Vec<Option<u64>> = peaks.collect();
    let top = columns.iter().filter_map(|column| column.peak.max(column.allocated)).max();
    let now = newest_value(&values[..shown.min(values.len())]);
    let now = now.map_or_else(|| "mem -".to_owned(), |it| format!("mem {}", Bytes(it)));
    let text = top.map_or_else(|| "-".to_owned(), |it| Bytes(it).to_string());
    render_gutter(frame, view, &now, &text);
    let top = top.unwrap_or(0);
    let theme = &view.model.theme;
    chart::draw_columns(
        frame.buffer_mut(),
        view.picture,
        theme,
        StyleRole::Lane(lane),
        &values,
        top,
    );
}

/// Draws the axis with its ticks.
fn render_ticks(frame: &mut Frame<'_>, area: Rect, theme: Theme, axis: TimelineAxis) {
    let buffer = frame.buffer_mut();
    let rule = theme.sign("─", "-");
    for x in area.left()..area.right() {
        if let Some(cell) = buffer.cell_mut((x, area.y)) {
            cell.set_symbol(rule).set_style(theme.style(StyleRole::Dim));
        }
    }
    for (column, text) in axis.ticks() {
        let x = area.x + column;
        buffer.set_string(x, area.y, text, theme.style(StyleRole::Text));
    }
}

/// Draws the cursor: a line through all tracks, and its foot on the axis.
fn render_cursor(
    frame: &mut Frame<'_>,
    layout: &TimelineLayout,
    model: &Model,
    played: &PlayedPart,
    x: u16,
) {
    let theme = &model.theme;
    let style = theme.style(StyleRole::Key);
    let buffer = frame.buffer_mut();
    for (track, place) in &layout.tracks {
        // The reason why a lane could not run stays readable.
        let reads = matches!(track, TimelineTrack::Swimlane(whose)
            if played.about.lanes.get(whose.lane).is_some_and(|it| it.unavailable.is_some()));
        for y in (place.top()..place.bottom()).filter(|_| !reads) {
            if let Some(cell) = buffer.cell_mut((x, y)) {
                cell.set_symbol(theme.sign("│", "|")).set_style(style);
            }
        }
    }
    // Tick labels stay readable.
    if let Some(cell) = buffer.cell_mut((x, layout.axis.y))
        && cell.symbol() == theme.sign("─", "-")
    {
        cell.set_symbol(theme.sign("▲", "^")).set_style(style);
    }
}
