//! Bill panel of the live screen: the cost of the chosen workload in each lane,
//! coarse beside fine, their ratio, and the parts of the coarse bill.

use std::num::NonZeroU64;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::selection;
use crate::model::Model;
use crate::theme::StyleRole;
use crate::widgets::bar;
use crate::widgets::text::{fit, pad};
use cyclometer_lanes::StartKind;
use cyclometer_pricing::Granularity;
use cyclometer_record::live::{CellView, LiveSnapshot};
use cyclometer_replay::{GroupTotal, ModelInfo, ModelTotal, ReplaySummary};

const DIGITS: NonZeroU64 = NonZeroU64::MIN.saturating_add(3);
/// Height of the screen from which on each part has its own line.
const TALL: u16 = 44;
/// Highest number of price models shown, beside a line with the number of
/// further ones.
const MODELS: u16 = 6;

/// Returns the number of lines that the panel should have, of `rest`.
pub(crate) fn panel_height(model: &Model, snapshot: &LiveSnapshot, wide: u16, rest: u16) -> u16 {
    let count =
        snapshot.bills.as_ref().map_or(model.screens.live.models.len(), |it| it.models().len());
    let models = u16::try_from(count).unwrap_or(u16::MAX).clamp(1, MODELS);
    // Shares of three digits would need two lines in a narrow terminal.
    let legend = if wide >= 100 { 1 } else { 2 };
    let parts = if rest >= TALL { 7 } else { legend };
    let warm = if rest >= TALL && has_warm(model, snapshot) { models + 1 } else { 0 };
    // Frame, lanes, ratio and bar take five lines.
    5 + models + parts + warm
}

fn has_warm(model: &Model, snapshot: &LiveSnapshot) -> bool {
    let starts = selection::shown_starts(model, snapshot);
    starts.first() == Some(&StartKind::Cold) && starts.contains(&StartKind::Warm)
}

/// Draws the panel.
pub fn render(frame: &mut Frame<'_>, area: Rect, model: &Model, snapshot: &LiveSnapshot) {
    let workload = selection::shown_workload(model, snapshot).unwrap_or("nothing");
    let start = selection::billed_start(model, snapshot);
    let title = if model.screens.live.per_million {
        format!("bills of a million {start} {workload}, list prices")
    } else {
        format!("sums of the {start} {workload} so far, list prices")
    };
    let block =
        model.theme.panel_block(fit(&title, usize::from(area.width).saturating_sub(6)), false);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let lines = match &snapshot.bills {
        Some(summary) => LiveBillPanel::new(model, snapshot, summary, inner).to_lines(),
        None => vec![Line::from(Span::styled(
            " nothing has been billed yet",
            model.theme.style(StyleRole::Dim),
        ))],
    };
    frame.render_widget(Paragraph::new(lines), inner);
}

/// Cell of a lane, and its sums.
type Billed<'a> = Option<(&'a CellView, &'a GroupTotal)>;

struct LiveBillPanel<'a> {
    model: &'a Model,
    snapshot: &'a LiveSnapshot,
    summary: &'a ReplaySummary,
    /// Lanes in view.
    lanes: std::ops::Range<usize>,
    label: usize,
    lane: usize,
    room: Rect,
}

impl<'a> LiveBillPanel<'a> {
    fn new(
        model: &'a Model,
        snapshot: &'a LiveSnapshot,
        summary: &'a ReplaySummary,
        room: Rect,
    ) -> Self {
        let wide = usize::from(room.width);
        let label = (wide / 4).clamp(12, 34);
        let all = snapshot.lanes.len();
        let count = (wide.saturating_sub(label) / 15).clamp(1, all.max(1));
        let lane = wide.saturating_sub(label + 1) / count;
        let first = (model.screens.live.lane + 1).saturating_sub(count);
        let lanes = first..(first + count).min(all);
        Self { model, snapshot, summary, lanes, label, lane, room }
    }

    /// Returns the sums of each lane in view for a kind of start. A cell that
    /// never ended well has no price.
    fn billed_cells(&self, start: StartKind) -> Vec<Billed<'a>> {
        let of = |lane| {
            let cell = selection::shown_cell(self.model, self.snapshot, lane, start)?;
            let group = self.snapshot.bill_group(cell)?;
            (cell.ok > 0).then_some((cell, group))
        };
        self.lanes.clone().map(of).collect()
    }

    fn row_line(
        &self,
        (label, role): (&str, StyleRole),
        cells: impl IntoIterator<Item = (String, StyleRole)>,
    ) -> Line<'static> {
        let theme = &self.model.theme;
        let label = format!(" {}", pad(label, self.label - 1, false));
        let mut spans = vec![Span::styled(label, theme.style(role))];
        spans.extend(
            cells
                .into_iter()
                .map(|(text, role)| Span::styled(pad(&text, self.lane, true), theme.style(role))),
        );
        Line::from(spans)
    }

    fn to_lines(&self) -> Vec<Line<'static>> {
        let start = selection::billed_start(self.model, self.snapshot);
        let billed = self.billed_cells(start);
        let high = usize::from(self.room.height);
        let mut lines = vec![self.heading_line(&billed)];
        let tall = high >= self.summary.models().len().min(usize::from(MODELS)) + 10;
        let parts = self.waste_lines(&billed, tall);
        // Heading, ratio, bar and legend matter more than the last of many models.
        let ratio = self.ratio_line(&billed);
        let left = high.saturating_sub(1 + parts.len() + usize::from(ratio.is_some()));
        // The first two models matter more than what is shown about them.
        let least = self.summary.models().len().clamp(1, 2);
        self.push_model_lines(&billed, left.clamp(least, usize::from(MODELS)), &mut lines);
        lines.extend(ratio);
        lines.extend(parts);
        if has_warm(self.model, self.snapshot) && high > lines.len() + 1 {
            let style = self.model.theme.style(StyleRole::Title);
            lines.push(Line::from(Span::styled(" warm starts of it", style)));
            let left = high - lines.len();
            self.push_model_lines(&self.billed_cells(StartKind::Warm), left, &mut lines);
        }
        if let Some(note) = &self.snapshot.bills_note {
            let text = format!(" {note}");
            // The note is more useful than the last line of the legend.
            lines.truncate(high.saturating_sub(1));
            lines.push(Line::from(Span::styled(text, self.model.theme.style(StyleRole::Warn))));
        }
        lines
    }

    fn heading_line(&self, billed: &[Billed<'_>]) -> Line<'static> {
        let names = self.lanes.clone().zip(billed).map(|(lane, billed)| {
            let name = &self.snapshot.lanes[lane].name;
            let count = billed.map_or(0, |(_, group)| group.invocations);
            let failed = billed.map_or(0, |(cell, _)| cell.bad);
            let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
            (format!("{name} {count}{failed}"), StyleRole::Title)
        });
        self.row_line(("invocations", StyleRole::Dim), names)
    }

    fn push_model_lines(&self, billed: &[Billed<'_>], room: usize, lines: &mut Vec<Line<'static>>) {
        let many = self.summary.models().len();
        let shown = if many > room { room.saturating_sub(1) } else { many };
        for (at, info) in self.summary.models().iter().enumerate().take(shown) {
            let role = granularity_role(info);
            let label = format!("{} {}", info.id, info.currency);
            let cells = billed.iter().map(|billed| {
                let total = billed.and_then(|(_, group)| group.models.get(at));
                format_amount(total, self.model.screens.live.per_million)
                    .map_or(("-".to_owned(), StyleRole::Dim), |it| (it, role))
            });
            lines.push(self.row_line((&label, role), cells));
        }
        if many > shown {
            let text = format!(" and {} more models: screen 2 has all", many - shown);
            lines.push(Line::from(Span::styled(text, self.model.theme.style(StyleRole::Dim))));
        }
    }

    fn ratio_line(&self, billed: &[Billed<'_>]) -> Option<Line<'static>> {
        let (coarse, fine) = cyclometer_report::only_pair(self.summary)?;
        let cells = billed.iter().map(|billed| {
            let dearer = billed
                .and_then(|(_, group)| self.summary.describe_dearer(group, coarse, fine).ok());
            dearer.map_or(("-".to_owned(), StyleRole::Dim), |it| (it, StyleRole::Title))
        });
        Some(self.row_line(("dearer", StyleRole::Dim), cells))
    }

    /// Returns the parts of the bill of the first coarse model: a bar for each
    /// lane, and all parts, each on its own line where there is room.
    fn waste_lines(&self, billed: &[Billed<'_>], tall: bool) -> Vec<Line<'static>> {
        let models = self.summary.models();
        let coarse = models.iter().position(|info| info.granularity == Granularity::Coarse);
        let Some(at) = coarse.or((!models.is_empty()).then_some(0)) else { return Vec::new() };
        let shares: Vec<Option<[u64; 7]>> = billed
            .iter()
            .map(|billed| bar::waste_shares(&billed.as_ref()?.1.models.get(at)?.waste))
            .collect();
        let theme = &self.model.theme;
        let label = format!("for {}", models[at].id);
        let label = format!(" {}", pad(&label, self.label - 1, false));
        let mut spans = vec![Span::styled(label, theme.style(StyleRole::Dim))];
        for shares in &shares {
            let wide = self.lane.saturating_sub(2);
            spans.push(Span::raw("  "));
            match shares {
                Some(shares) => spans.extend(bar::bar_spans(theme, shares, wide)),
                None => spans.push(Span::raw(pad("-", wide, true))),
            }
        }
        let mut lines = vec![Line::from(spans)];
        if tall {
            lines.extend((0..7).map(|part| self.waste_part_line(part, &shares)));
        } else {
            let chosen = self.model.screens.live.lane.saturating_sub(self.lanes.start);
            let shares = shares.get(chosen).and_then(Option::as_ref);
            lines.extend(bar::legend_lines(theme, shares, usize::from(self.room.width)));
        }
        lines
    }

    /// Returns the line of a part, with its share in every lane.
    fn waste_part_line(&self, part: usize, shares: &[Option<[u64; 7]>]) -> Line<'static> {
        let theme = &self.model.theme;
        let name = pad(bar::NAMES[part], self.label.saturating_sub(4), false);
        let mut spans = vec![
            Span::raw("  "),
            Span::styled(theme.part_sign(part).to_string(), theme.style(StyleRole::Part(part))),
            Span::raw(format!(" {name}")),
        ];
        for shares in shares {
            let share = shares.map_or_else(|| "-".to_owned(), |it| bar::format_percent(it[part]));
            let none = shares.is_none_or(|it| it[part] == 0);
            let role = if none { StyleRole::Dim } else { StyleRole::Text };
            spans.push(Span::styled(pad(&share, self.lane, true), theme.style(role)));
        }
        Line::from(spans)
    }
}

fn granularity_role(info: &ModelInfo) -> StyleRole {
    match info.granularity {
        Granularity::Coarse => StyleRole::Coarse,
        Granularity::Hybrid => StyleRole::Text,
        Granularity::Fine => StyleRole::Fine,
    }
}

/// Formats the amount so far, or that of a million; `None` where it was refused.
pub fn format_amount(total: Option<&ModelTotal>, per_million: bool) -> Option<String> {
    let total = total.filter(|total| total.billed > 0 && total.refusal_count() == 0)?;
    let shown = if per_million { total.project_cost(1_000_000)? } else { total.total.clone() };
    Some(shown.to_significant_string(DIGITS))
}
