//! Bills panel: the cost of the invocations that had ended at a moment, lane by lane.

use std::num::NonZeroU64;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::time_axis::format_moment;
use crate::action::UserAction;
use crate::model::Model;
use crate::screens::ScreenId;
use crate::theme::StyleRole;
use crate::widgets::bar;
use crate::widgets::text::{fit, pad};
use cyclometer_core::units::Nanos;
use cyclometer_pricing::Granularity;
use cyclometer_replay::{GroupTotal, ModelTotal, RatioError, ReplaySummary};
use cyclometer_store::PlayedPart;
use cyclometer_store::RecordingPart;

const SIGNIFICANT_DIGITS: NonZeroU64 = NonZeroU64::MIN.saturating_add(4);

/// Text of an amount, or the reason why there is none.
type AmountOrReason = Result<String, String>;

/// Bills at a moment, ready to be drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BillsAtMoment {
    /// Part of the recording that they belong to.
    pub key: RecordingPart,
    /// Number of invocations of the part that had ended.
    pub ended: usize,
    /// Moment of the request.
    pub at: Nanos,
    /// Models: id with currency, and the role that colours their granularity.
    pub models: Vec<(String, StyleRole)>,
    /// Bills by lane; `None` if nothing was billed.
    pub lanes: Vec<Option<LaneBill>>,
    /// Model whose bar is drawn.
    pub bar: Option<String>,
    /// Ids of the two models of the ratio.
    pub pair: Option<String>,
}

/// Bills of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LaneBill {
    /// Number of invocations that were billed or refused.
    pub invocations: u64,
    /// Number of other invocations, in cells where none succeeded: they have no price.
    pub unpriced: u64,
    /// Totals by model.
    pub totals: Vec<AmountOrReason>,
    /// Ratio of the coarse bill to the fine one.
    pub ratio: AmountOrReason,
    /// Shares of the bar's parts, in parts per million.
    pub shares: Option<[u64; 7]>,
}

impl BillsAtMoment {
    /// Formats a summary.
    pub(crate) fn from_summary(
        summary: &ReplaySummary,
        played: &PlayedPart,
        ended: usize,
        at: Nanos,
    ) -> Self {
        let infos = summary.models();
        let coarse = infos.iter().position(|info| info.granularity == Granularity::Coarse);
        let bar = coarse.or((!infos.is_empty()).then_some(0));
        let pair = summary.coarse_fine_pairs().next();
        let mut groups = summary.group_by(|key| key.lane.clone());
        let lanes = played.about.lanes.iter().map(|lane| {
            let group = groups.remove(&lane.name).filter(|group| group.invocations > 0)?;
            let in_lane = summary.groups().filter(|(key, _)| key.lane == lane.name);
            let unpriced = in_lane.map(|(_, group)| group).filter(|group| group.only_failed());
            let unpriced = unpriced.map(|group| group.invocations).sum();
            Some(LaneBill::from_group(summary, &group, unpriced, bar, pair))
        });
        let role = |granularity| match granularity {
            Granularity::Coarse => StyleRole::Coarse,
            Granularity::Hybrid => StyleRole::Text,
            Granularity::Fine => StyleRole::Fine,
        };
        let id = |at: usize| infos.get(at).map_or("", |info| info.id.as_str());
        Self {
            key: played.key,
            ended,
            at,
            lanes: lanes.collect(),
            models: infos
                .iter()
                .map(|info| (format!("{} {}", info.id, info.currency), role(info.granularity)))
                .collect(),
            bar: bar.map(|at| id(at).to_owned()),
            pair: pair.map(|(coarse, fine)| format!("{} / {}", id(coarse), id(fine))),
        }
    }
}

impl BillsAtMoment {
    /// Whether these are the bills of a moment.
    pub(crate) fn is_for_moment(&self, played: &PlayedPart, at: Nanos) -> bool {
        self.key == played.key && self.ended == played.count_ended(at)
    }
}

impl LaneBill {
    fn from_group(
        summary: &ReplaySummary,
        group: &GroupTotal,
        unpriced: u64,
        bar: Option<usize>,
        pair: Option<(usize, usize)>,
    ) -> Self {
        let ratio = match pair {
            None => Err("there is no coarse and fine model of one currency".to_owned()),
            Some((coarse, fine)) => summary
                .describe_dearer(group, coarse, fine)
                .map_err(|error: RatioError| error.to_string()),
        };
        let shares = bar.and_then(|at| group.models.get(at)).filter(|total| total.billed > 0);
        Self {
            invocations: group.invocations.saturating_sub(unpriced),
            unpriced,
            totals: group.models.iter().map(format_total).collect(),
            ratio,
            shares: shares.and_then(|total| bar::waste_shares(&total.waste)),
        }
    }
}

fn format_total(total: &ModelTotal) -> AmountOrReason {
    match total.refused.iter().next() {
        Some((refusal, count)) => {
            Err(format!("{count} of {}: {refusal}", total.billed + total.refusal_count()))
        }
        None if total.billed == 0 => Err("nothing was billed".to_owned()),
        None => Ok(total.total.to_significant_string(SIGNIFICANT_DIGITS)),
    }
}

struct BillsPanelColumns {
    label: usize,
    wide: usize,
    first: usize,
    count: usize,
}

impl BillsPanelColumns {
    fn new(width: usize, lanes: usize, selected: usize) -> Self {
        let label = (width / 4).clamp(12, 34);
        let count = (width.saturating_sub(label) / 15).clamp(1, lanes.max(1));
        let wide = (width.saturating_sub(label) / count).min(40);
        Self { label, wide, first: (selected + 1).saturating_sub(count), count }
    }

    fn build_line(
        &self,
        model: &Model,
        (label, role): (&str, StyleRole),
        cells: impl Iterator<Item = (String, StyleRole)>,
    ) -> Line<'static> {
        let style = |role| model.theme.style(role);
        let mut spans =
            vec![Span::styled(format!(" {}", pad(label, self.label - 1, false)), style(role))];
        let shown = cells.skip(self.first).take(self.count);
        spans.extend(shown.map(|(text, role)| {
            let room = self.wide.saturating_sub(1);
            Span::styled(format!(" {}", pad(&text, room, true)), style(role))
        }));
        Line::from(spans)
    }
}

/// Draws the panel.
pub fn render(frame: &mut Frame<'_>, area: Rect, model: &Model, played: &PlayedPart) {
    let state = &model.screens.timeline;
    let position = state.player.position();
    let now = format_moment(position.0);
    let room = usize::from(area.width).saturating_sub(6);
    let title = match &state.bills {
        Some(bills) if bills.is_for_moment(played, position) => {
            format!("bills at {now}, list prices")
        }
        Some(bills) => format!("bills at {}; those at {now} follow", format_moment(bills.at.0)),
        None => format!("bills at {now}"),
    };
    let block = model.theme.panel_block(fit(&title, room), false);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let lines = match (&state.bills, &state.bills_error) {
        (_, Some(failed)) => wrap_message(model, inner, &failed.reason, StyleRole::Bad),
        (None, None) if model.screens.live.models.is_empty() => {
            let key = |action, screen| model.keymap.key_for(action, screen).unwrap_or_default();
            let live = key(UserAction::Go(ScreenId::Live), model.screen);
            let models = key(UserAction::Models, ScreenId::Live);
            let text =
                format!("no price models are chosen: on screen {live}, {models} chooses some");
            wrap_message(model, inner, &text, StyleRole::Dim)
        }
        (None, None) => wrap_message(model, inner, "bills are being worked out", StyleRole::Dim),
        (Some(bills), None) => build_lines(model, played, bills, inner),
    };
    frame.render_widget(Paragraph::new(lines), inner);
}

fn wrap_message(model: &Model, area: Rect, text: &str, role: StyleRole) -> Vec<Line<'static>> {
    let room = usize::from(area.width).saturating_sub(2);
    let lines = crate::widgets::text::wrap(text, room).into_iter();
    lines.map(|it| Line::from(Span::styled(format!(" {it}"), model.theme.style(role)))).collect()
}

fn build_lines(
    model: &Model,
    played: &PlayedPart,
    bills: &BillsAtMoment,
    area: Rect,
) -> Vec<Line<'static>> {
    let selected = model.screens.timeline.lane;
    let columns = BillsPanelColumns::new(usize::from(area.width), bills.lanes.len(), selected);
    let figure = |figure: Option<&AmountOrReason>, role| match figure {
        Some(Ok(text)) => (text.clone(), role),
        _ => ("-".to_owned(), StyleRole::Dim),
    };
    let names =
        played.about.lanes.iter().zip(&bills.lanes).enumerate().map(|(at, (lane, bill))| {
            let pointer = if at == selected { model.theme.pointer() } else { "" };
            let count = bill.as_ref().map_or(0, |bill| bill.invocations);
            // The name of a lane is truncated before its count is.
            let end = format!(" {count}");
            let room = columns.wide.saturating_sub(1 + pointer.chars().count() + end.len());
            (format!("{pointer}{}{end}", fit(&lane.name, room)), StyleRole::Title)
        });
    let mut lines = vec![columns.build_line(model, ("lane, invocations", StyleRole::Dim), names)];
    for (at, (name, role)) in bills.models.iter().enumerate() {
        let cells = bills
            .lanes
            .iter()
            .map(|bill| figure(bill.as_ref().and_then(|bill| bill.totals.get(at)), *role));
        lines.push(columns.build_line(model, (name, *role), cells));
    }
    if bills.pair.is_some() {
        let cells =
            bills.lanes.iter().map(|it| figure(it.as_ref().map(|it| &it.ratio), StyleRole::Title));
        lines.push(columns.build_line(model, ("dearer", StyleRole::Dim), cells));
    }
    if let Some(name) = &bills.bar {
        lines.push(build_bar_line(model, bills, &columns, name));
    }
    let bill = bills.lanes.get(selected).and_then(Option::as_ref);
    if let Some(shares) = bill.and_then(|bill| bill.shares) {
        lines.extend(bar::legend_lines(&model.theme, Some(&shares), usize::from(area.width)));
    }
    if let Some(count) = bill.map(|bill| bill.unpriced).filter(|count| *count > 0) {
        let text = format!(" {count} more, of cells in which all failed, have no price");
        let text = fit(&text, usize::from(area.width));
        lines.push(Line::from(Span::styled(text, model.theme.style(StyleRole::Warn))));
    }
    // Missing amounts of the selected lane are explained where there is room.
    for (name, reason) in missing_amounts(bills, selected) {
        let text = fit(&format!(" - {name}: {reason}"), usize::from(area.width));
        lines.push(Line::from(Span::styled(text, model.theme.style(StyleRole::Warn))));
    }
    lines
}

/// Returns the models and ratios that a lane has no amount for, with the reasons.
pub(crate) fn missing_amounts(bills: &BillsAtMoment, lane: usize) -> Vec<(String, String)> {
    let Some(bill) = bills.lanes.get(lane).and_then(Option::as_ref) else { return Vec::new() };
    let totals = bills.models.iter().zip(&bill.totals);
    let mut missing: Vec<(String, String)> = totals
        .filter_map(|((name, _), total)| Some((name.clone(), total.as_ref().err()?.clone())))
        .collect();
    if let (Some(pair), Err(reason)) = (&bills.pair, &bill.ratio) {
        missing.push((pair.clone(), reason.clone()));
    }
    missing
}

fn build_bar_line(
    model: &Model,
    bills: &BillsAtMoment,
    columns: &BillsPanelColumns,
    name: &str,
) -> Line<'static> {
    let theme = &model.theme;
    let label = pad(&format!("for, {name}"), columns.label - 1, false);
    let mut spans = vec![Span::styled(format!(" {label}"), theme.style(StyleRole::Dim))];
    for bill in bills.lanes.iter().skip(columns.first).take(columns.count) {
        let wide = columns.wide.saturating_sub(2);
        spans.push(Span::raw("  "));
        match bill.as_ref().and_then(|bill| bill.shares) {
            Some(shares) => spans.extend(bar::bar_spans(theme, &shares, wide)),
            None => spans.push(Span::styled(pad("-", wide, true), theme.style(StyleRole::Dim))),
        }
    }
    Line::from(spans)
}
