//! Layout of the timeline screen.

use ratatui::layout::Rect;

use super::lane_columns::LaneFilter;
use super::time_axis::TimelineAxis;
use crate::model::Model;
use cyclometer_store::PlayedPart;

/// Band of lines on the shared time axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimelineTrack {
    /// Swimlane of invocations.
    Swimlane(LaneFilter),
    /// Chart of CPUs in use, for a lane.
    Cpu(usize),
    /// Chart of the memory peak, for a lane.
    Memory(usize),
}

/// Areas of the parts of the screen.
#[derive(Debug, Clone, Default)]
pub(crate) struct TimelineLayout {
    /// Area of the whole screen.
    pub whole: Rect,
    /// Panel of the tracks and the time axis.
    pub timeline: Rect,
    /// Time axis: one line.
    pub axis: Rect,
    /// Width of the names at the left of the tracks.
    pub gutter: u16,
    /// Tracks from top to bottom with their areas.
    pub tracks: Vec<(TimelineTrack, Rect)>,
    /// Number of lanes without room.
    pub hidden: usize,
    /// Panel of the invocation under the cursor.
    pub invocation: Rect,
    /// Panel of the bills.
    pub bills: Rect,
}

impl TimelineLayout {
    /// Divides an area into the parts of the screen.
    pub fn new(area: Rect, model: &Model, played: &PlayedPart) -> Self {
        let models = u16::try_from(model.screens.live.models.len()).unwrap_or(u16::MAX).clamp(1, 6);
        let roomy = area.height >= 36;
        let bills = if roomy { models + 7 } else { models.min(3) + 5 };
        let bills = bills.min(area.height / 3);
        let invocation = if roomy { 13 } else { 7.min(area.height / 3) };
        let timeline = area.height.saturating_sub(bills + invocation);
        let part = |y: u16, height: u16| Rect { y: area.y + y, height, ..area };
        let mut layout = Self {
            whole: area,
            timeline: part(0, timeline),
            invocation: part(timeline, invocation),
            bills: part(timeline + invocation, bills),
            ..Self::default()
        };
        layout.place_tracks(model, played);
        layout
    }

    fn place_tracks(&mut self, model: &Model, played: &PlayedPart) {
        let inner = Rect {
            x: self.timeline.x + 1.min(self.timeline.width),
            y: self.timeline.y + 1.min(self.timeline.height),
            width: self.timeline.width.saturating_sub(2),
            height: self.timeline.height.saturating_sub(2),
        };
        let lanes = played.about.lanes.len();
        self.gutter = (inner.width / 6).clamp(14, 30).min(inner.width);
        let height = usize::from(inner.height);
        let tracks =
            choose_tracks(height.saturating_sub(1), lanes, model.screens.timeline.lane, played);
        self.hidden = lanes.saturating_sub(
            tracks
                .iter()
                .filter(|it| matches!(it.0, TimelineTrack::Swimlane(whose) if whose.cell.is_none()))
                .count(),
        );
        if tracks
            .iter()
            .any(|it| matches!(it.0, TimelineTrack::Swimlane(whose) if whose.cell.is_some()))
        {
            self.hidden = 0;
        }
        let mut y = inner.y;
        for (track, high) in tracks {
            let high = u16::try_from(high).unwrap_or(0);
            self.tracks.push((track, Rect { y, height: high, ..inner }));
            y += high;
        }
        self.axis = Rect {
            y: inner.bottom().saturating_sub(1).max(inner.y),
            height: inner.height.min(1),
            ..inner
        };
    }

    /// Returns the axis of the visible time.
    pub(crate) fn visible_axis(&self, model: &Model) -> TimelineAxis {
        let (left, span) = model.screens.timeline.player.visible_span();
        TimelineAxis { left, span, width: self.axis.width.saturating_sub(self.gutter) }
    }
}

/// Chooses the tracks for a number of lines, with the height of each.
fn choose_tracks(
    height: usize,
    lanes: usize,
    selected: usize,
    played: &PlayedPart,
) -> Vec<(TimelineTrack, usize)> {
    if lanes == 0 || height == 0 {
        return Vec::new();
    }
    let cells: Vec<Vec<usize>> = (0..lanes)
        .map(|lane| {
            let all = played.about.cells.iter().enumerate();
            all.filter(|(_, cell)| cell.lane == lane).map(|(at, _)| at).collect()
        })
        .collect();
    let split: usize = cells.iter().map(|it| it.len().max(1)).sum();
    // Each cell gets its own line if that leaves room for the charts of every lane.
    let by_cell = split + 4 * lanes.min(cells.iter().filter(|it| !it.is_empty()).count()) <= height;
    let swims = if by_cell { split } else { lanes.min(height) };
    let spare = height - swims;
    // Lanes without invocations need no charts.
    let busy = cells.iter().filter(|it| !it.is_empty()).count().max(1);
    let each = spare / busy;
    let mut tracks = Vec::new();
    let first = if by_cell { 0 } else { (selected + 1).saturating_sub(swims) };
    let last = if by_cell { lanes } else { first + swims };
    for lane in first..last {
        match cells.get(lane) {
            Some(cells) if by_cell && !cells.is_empty() => {
                let swim = |cell: &usize| {
                    (TimelineTrack::Swimlane(LaneFilter { lane, cell: Some(*cell) }), 1)
                };
                tracks.extend(cells.iter().map(swim));
            }
            _ => tracks.push((TimelineTrack::Swimlane(LaneFilter { lane, cell: None }), 1)),
        }
        if each >= 3 && cells.get(lane).is_some_and(|it| !it.is_empty()) {
            push_charts(&mut tracks, lane, each);
        }
    }
    if each < 3 && spare > 0 {
        push_charts(&mut tracks, selected, spare);
    }
    tracks
}

/// Appends the charts of a lane: CPU gets the larger part, memory the rest if there is
/// room for both.
fn push_charts(tracks: &mut Vec<(TimelineTrack, usize)>, lane: usize, height: usize) {
    let memory = if height >= 2 { (height / 3).max(1) } else { 0 };
    tracks.push((TimelineTrack::Cpu(lane), height - memory));
    if memory > 0 {
        tracks.push((TimelineTrack::Memory(lane), memory));
    }
}
