//! What the recording costs so far, lane by lane: coarse beside fine, their
//! ratio, and what the coarse bill is for.

use std::num::NonZeroU64;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::pricing::{Exact, Granularity, Money};
use crate::replay::{Group, ModelInfo, ModelTotal, Summary};
use crate::tui::live::{Bills, Snapshot};
use crate::tui::model::Model;
use crate::tui::theme::Role;
use crate::tui::widgets::bar;
use crate::tui::widgets::text::{fit, pad};

const DIGITS: NonZeroU64 = NonZeroU64::MIN.saturating_add(4);

/// Draws the panel.
pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, snapshot: &Snapshot) {
    let what = if model.live.per_million { "bills of a million" } else { "bills so far" };
    let of = match (&model.live.workload, model.live.start) {
        (None, None) => "all runs".to_owned(),
        (workload, start) => {
            let workload = workload.as_deref().unwrap_or("all");
            start.map_or_else(|| workload.to_owned(), |start| format!("{workload} {start}"))
        }
    };
    let title = format!("{what}, list prices, of {of}");
    let block = model.theme.panel(fit(&title, usize::from(area.width).saturating_sub(6)), false);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let lines = match &snapshot.bills {
        Some(bills) => lines(model, snapshot, bills, inner),
        None => vec![Line::from(Span::styled(
            " nothing has been billed yet",
            model.theme.style(Role::Dim),
        ))],
    };
    frame.render_widget(Paragraph::new(lines), inner);
}

/// The sums of each lane for what is shown.
pub fn groups(model: &Model, snapshot: &Snapshot, bills: &Bills) -> Vec<Option<Group>> {
    let state = &model.live;
    if state.workload.is_none() && state.start.is_none() {
        return bills.lanes.clone();
    }
    let chosen = |workload: &str, start: &str| {
        state.workload.as_deref().is_none_or(|it| it == workload)
            && state.start.is_none_or(|it| it.label() == start)
    };
    let mut sums = bills.summary.by(|key| (key.lane.clone(), chosen(&key.workload, &key.start)));
    snapshot.lanes.iter().map(|lane| sums.remove(&(lane.name.clone(), true))).collect()
}

struct Layout {
    label: usize,
    lane: usize,
    first: usize,
    count: usize,
}

impl Layout {
    fn new(width: usize, lanes: usize, selected: usize) -> Self {
        let label = (width / 4).clamp(12, 34);
        let least = 15;
        let count = (width.saturating_sub(label) / least).clamp(1, lanes.max(1));
        let lane = (width.saturating_sub(label) / count).min(36);
        let first = (selected + 1).saturating_sub(count);
        Self { label, lane, first, count }
    }

    fn row(
        &self,
        model: &Model,
        label: (&str, Role),
        cells: impl Iterator<Item = (String, Role)>,
    ) -> Line<'static> {
        let theme = &model.theme;
        let mut spans = vec![Span::styled(
            format!(" {}", pad(label.0, self.label - 1, false)),
            theme.style(label.1),
        )];
        let shown = cells.skip(self.first).take(self.count);
        spans.extend(
            shown.map(|(text, role)| Span::styled(pad(&text, self.lane, true), theme.style(role))),
        );
        Line::from(spans)
    }
}

fn lines(model: &Model, snapshot: &Snapshot, bills: &Bills, area: Rect) -> Vec<Line<'static>> {
    let width = usize::from(area.width);
    let summary = &bills.summary;
    let groups = groups(model, snapshot, bills);
    let layout = Layout::new(width, groups.len(), model.live.lane);
    let names = snapshot.lanes.iter().map(|lane| (lane.name.to_string(), Role::Title));
    let mut lines = vec![layout.row(model, ("invocations", Role::Dim), {
        let counts = groups.iter().map(|group| group.as_ref().map_or(0, |it| it.invocations));
        names.zip(counts).map(|((name, role), count)| (format!("{name} {count}"), role))
    })];
    // Heading, ratio, bar and legend matter more than the last of many models.
    let room = usize::from(area.height).saturating_sub(4).max(1);
    let many = summary.models().len();
    let shown = if many > room { room - 1 } else { many };
    for (at, info) in summary.models().iter().enumerate().take(shown) {
        let role = role(info);
        let label = format!("{} {}", info.id, info.currency);
        let cells = groups.iter().map(|group| {
            let total = group.as_ref().and_then(|group| group.models.get(at));
            amount(total, model.live.per_million)
                .map_or(("-".to_owned(), Role::Dim), |it| (it, role))
        });
        lines.push(layout.row(model, (&label, role), cells));
    }
    if many > shown {
        let text = format!(" and {} more models: screen 2 has all", many - shown);
        lines.push(Line::from(Span::styled(text, model.theme.style(Role::Dim))));
    }
    if let Some(pair) = crate::report::only_pair(summary) {
        lines.push(ratio_row(model, summary, &layout, &groups, pair));
    }
    waste_rows(model, summary, &layout, &groups, &mut lines);
    if let Some(note) = &snapshot.bills_note {
        lines.push(Line::from(Span::styled(format!(" {note}"), model.theme.style(Role::Warn))));
    }
    lines
}

fn role(info: &ModelInfo) -> Role {
    match info.granularity {
        Granularity::Coarse => Role::Coarse,
        Granularity::Hybrid => Role::Text,
        Granularity::Fine => Role::Fine,
    }
}

/// The amount so far, or of a million; `None` where it was refused.
pub fn amount(total: Option<&ModelTotal>, per_million: bool) -> Option<String> {
    let total = total.filter(|total| total.billed > 0 && total.refusals() == 0)?;
    let shown = if per_million {
        Money::from(total.total.times(1_000_000).as_exact().over(&Exact::from(total.billed))?)
    } else {
        total.total.clone()
    };
    Some(shown.significant(DIGITS))
}

fn ratio_row(
    model: &Model,
    summary: &Summary,
    layout: &Layout,
    groups: &[Option<Group>],
    (coarse, fine): (usize, usize),
) -> Line<'static> {
    let cells = groups.iter().map(|group| {
        let ratio = group.as_ref().and_then(|it| summary.ratio(it, coarse, fine, 2).ok());
        ratio.map_or(("-".to_owned(), Role::Dim), |it| (format!("{}x", it.rounded(2)), Role::Title))
    });
    layout.row(model, ("coarse / fine", Role::Dim), cells)
}

/// The bar of each lane under the first coarse model, and what its signs mean.
fn waste_rows(
    model: &Model,
    summary: &Summary,
    layout: &Layout,
    groups: &[Option<Group>],
    lines: &mut Vec<Line<'static>>,
) {
    let coarse = summary.models().iter().position(|info| info.granularity == Granularity::Coarse);
    let Some(at) = coarse.or((!summary.models().is_empty()).then_some(0)) else { return };
    let shares: Vec<Option<[u64; 7]>> = groups
        .iter()
        .map(|group| {
            let total = group.as_ref()?.models.get(at)?;
            bar::shares(&total.waste)
        })
        .collect();
    let theme = &model.theme;
    let mut spans = vec![Span::styled(
        format!(" {}", pad("what it is for", layout.label - 1, false)),
        theme.style(Role::Dim),
    )];
    for shares in shares.iter().skip(layout.first).take(layout.count) {
        let wide = layout.lane.saturating_sub(2);
        spans.push(Span::raw("  "));
        match shares {
            Some(shares) => spans.extend(bar::spans(theme, shares, wide)),
            None => spans.push(Span::raw(pad("-", wide, true))),
        }
    }
    lines.push(Line::from(spans));
    let selected = shares.get(model.live.lane).copied().flatten();
    if let Some(shares) = selected {
        let mut spans = vec![Span::raw(" ")];
        spans.extend(bar::legend(theme, &shares));
        lines.push(Line::from(spans));
    }
}
