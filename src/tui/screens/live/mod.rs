//! The live screen: lanes side by side while they are recorded, and what they
//! cost.
//!
//! ```text
//! nop nbody · 10 runs · one lane at a time · shown: what runs
//! ┌ native ────────┐┌ wasmtime ──────┐┌ docker ────────┐
//! │ times, charts, ││                ││                │
//! │ memory, meters ││                ││                │
//! └────────────────┘└────────────────┘└────────────────┘
//! ┌ bills so far ──────────────────────────────────────┐
//! │ models x lanes, ratio, what the coarse bill is for │
//! └────────────────────────────────────────────────────┘
//! ┌ messages ──────────────────────────────────────────┐  where there is room
//! ```

mod bills;
mod detail;
mod lane;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::lane::{LaneSpec, StartKind, Status};
use crate::tui::action::{Action, Effect};
use crate::tui::live::{CellState, CellView, Phase, SPANS, Snapshot, StorageState};
use crate::tui::model::Model;
use crate::tui::overlay::{Item, Overlay, Purpose};
use crate::tui::session::{Wanted, Wish};
use crate::tui::theme::Role;
use crate::tui::widgets::text::fit;
use crate::units::Nanos;

pub use table::table;

/// What help says of the figures.
pub const LEGEND: &str = "A column a lane. start: from the request to the function's first \
    instruction; run: from there to the end; last, median and 95th percentile of the newest 4096 \
    that ended well. CPU: CPUs in use; cyc: cycles a second; r: ticks of the \
    time-stamp counter where no cycle counter is shown, e estimated from CPU time, u user mode \
    only. mem: the largest peak of what is allocated. ops: Wasm operators of a separate counting \
    run. Bills are at list prices. The bar is what the coarse bill is for. - is missing: enter on \
    the lane says why, and where every figure comes from.";

/// The resolution of the charts at first: half a second a column.
const ZOOM: usize = 1;
/// Narrowest useful column.
const LANE_WIDTH: u16 = 26;

/// What the screen remembers.
#[derive(Debug)]
pub struct State {
    /// What is recorded next.
    pub wanted: Wanted,
    /// Ids of the models whose bills are shown.
    pub models: Vec<String>,
    /// What is shown while frozen.
    pub frozen: Option<Arc<Snapshot>>,
    /// Since when.
    pub frozen_at: Nanos,
    /// The workload shown; `None`: what runs.
    pub workload: Option<String>,
    /// The start shown; `None`: what runs.
    pub start: Option<StartKind>,
    /// The selected lane.
    pub lane: usize,
    /// Bills of a million invocations, rather than of those so far.
    pub per_million: bool,
    /// Resolution of the charts.
    pub zoom: usize,
    /// Whether there was no recording before.
    pub first: bool,
}

impl State {
    /// Before the first recording.
    #[must_use]
    pub const fn new(wanted: Wanted, models: Vec<String>, first: bool) -> Self {
        Self {
            wanted,
            models,
            frozen: None,
            frozen_at: Nanos(0),
            workload: None,
            start: None,
            lane: 0,
            per_million: false,
            zoom: ZOOM,
            first,
        }
    }
}

/// What is shown: the newest, or what was frozen.
fn shown(model: &Model) -> &Snapshot {
    model.live.frozen.as_deref().unwrap_or(&model.snapshot)
}

/// What an action does.
pub fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    let lanes = shown(model).lanes.len().max(1);
    match action {
        Action::Start => return start(model),
        Action::Stop => return stop(model),
        Action::Pause => freeze(model),
        Action::Loop => toggle(model, |wanted| wanted.until_stopped = !wanted.until_stopped),
        Action::Race => toggle(model, |wanted| wanted.race = !wanted.race),
        Action::Workloads => choose_workloads(model),
        Action::Lanes => return choose_lanes(model),
        Action::Models => choose_models(model),
        Action::NextWorkload => model.live.workload = neighbour(model, true),
        Action::PreviousWorkload => model.live.workload = neighbour(model, false),
        Action::StartKind => {
            model.live.start = match model.live.start {
                None => Some(StartKind::Cold),
                Some(StartKind::Cold) => Some(StartKind::Warm),
                Some(StartKind::Warm) => None,
            };
        }
        Action::Unit => model.live.per_million = !model.live.per_million,
        Action::ZoomIn => model.live.zoom = model.live.zoom.saturating_sub(1),
        Action::ZoomOut => model.live.zoom = (model.live.zoom + 1).min(SPANS.len() - 1),
        Action::ZoomReset => model.live.zoom = ZOOM,
        Action::Right | Action::NextPanel | Action::Down => {
            model.live.lane = (model.live.lane + 1) % lanes;
        }
        Action::Left | Action::PreviousPanel | Action::Up => {
            model.live.lane = (model.live.lane + lanes - 1) % lanes;
        }
        Action::First => model.live.lane = 0,
        Action::Last => model.live.lane = lanes - 1,
        Action::Enter => model.overlay = detail::of(model),
        Action::Back => {
            model.live.frozen = None;
            model.live.workload = None;
            model.live.start = None;
        }
        _ => {}
    }
    Vec::new()
}

fn start(model: &mut Model) -> Vec<Effect> {
    if model.snapshot.phase.is_active() {
        model.complain("a recording is under way: stop it first");
        return Vec::new();
    }
    model.live.frozen = None;
    model.live.first = false;
    model.opened = None;
    vec![Effect::Session(Wish::Start(Box::new(model.live.wanted.clone())))]
}

fn stop(model: &mut Model) -> Vec<Effect> {
    match model.snapshot.phase {
        Phase::Opening | Phase::Running => {
            let key = model.keymap.key_of(Action::Stop, model.screen).unwrap_or_default();
            model.say(format!("stops after this invocation; {key} again stops at once"));
        }
        Phase::Finishing => model.say("stops at once"),
        Phase::Idle | Phase::Ended { .. } | Phase::Failed { .. } => {
            model.complain("nothing is being recorded");
            return Vec::new();
        }
    }
    vec![Effect::Session(Wish::Stop)]
}

fn freeze(model: &mut Model) {
    model.live.frozen_at = model.now;
    model.live.frozen = match model.live.frozen.take() {
        Some(_) => None,
        None => Some(Arc::clone(&model.snapshot)),
    };
}

fn toggle(model: &mut Model, change: fn(&mut Wanted)) {
    change(&mut model.live.wanted);
    let wanted = &model.live.wanted;
    let text = format!("next recording: {}, {}", wanted.length(), wanted.order());
    model.say(text);
}

/// The next workload to be shown, or none after the last.
fn neighbour(model: &Model, forward: bool) -> Option<String> {
    let names = &shown(model).plan.workloads;
    let at = model.live.workload.as_ref().and_then(|it| names.iter().position(|name| name == it));
    let next = match (at, forward) {
        (None, true) => Some(0),
        (None, false) => names.len().checked_sub(1),
        (Some(at), true) => Some(at + 1),
        (Some(at), false) => at.checked_sub(1),
    };
    next.and_then(|at| names.get(at)).cloned()
}

fn choice(title: &str, items: Vec<Item>, purpose: Purpose) -> Overlay {
    Overlay::Choice { title: title.to_owned(), items, cursor: 0, single: false, purpose }
}

fn choose_workloads(model: &mut Model) {
    let wanted = &model.live.wanted.workloads;
    let item =
        |name: &String| Item { name: name.clone(), note: String::new(), on: wanted.contains(name) };
    let items = model.settings.workloads.iter().map(item).collect();
    model.overlay = Some(choice("workloads of the next recording", items, Purpose::Workloads));
}

fn choose_lanes(model: &mut Model) -> Vec<Effect> {
    let mut specs = LaneSpec::all();
    specs.extend(model.host.runtimes());
    specs.extend(model.live.wanted.lanes.iter().cloned());
    let mut items: Vec<Item> = Vec::new();
    for spec in specs {
        let name = spec.to_string();
        if items.iter().any(|item| item.name == name) {
            continue;
        }
        let lane = model.snapshot.lanes.iter().find(|lane| *lane.name == *name);
        let note = lane.map(|lane| match &lane.unavailable {
            Some(_) => "did not run here".to_owned(),
            None => lane.version.to_string(),
        });
        let on = model.live.wanted.lanes.contains(&spec);
        items.push(Item { name, note: note.unwrap_or_default(), on });
    }
    model.overlay = Some(choice("lanes of the next recording", items, Purpose::Lanes));
    // The engine's runtimes are known the next time, if they are not yet.
    crate::tui::screens::host::entered(model)
}

fn choose_models(model: &mut Model) {
    let item = |it: &crate::pricing::PriceModel| Item {
        name: it.id().to_owned(),
        note: it.name().to_owned(),
        on: model.live.models.iter().any(|id| id == it.id()),
    };
    let items = model.settings.prices.models().iter().map(item).collect();
    model.overlay = Some(choice("models whose bills are shown", items, Purpose::Models));
}

/// Workloads were chosen.
pub fn chose_workloads(model: &mut Model, names: &[String]) -> Vec<Effect> {
    if names.is_empty() {
        model.complain("at least one workload is needed; as before");
    } else {
        model.live.wanted.workloads = names.to_vec();
        model.say("r records these");
    }
    Vec::new()
}

/// Lanes were chosen.
pub fn chose_lanes(model: &mut Model, names: &[String]) -> Vec<Effect> {
    let lanes: Vec<LaneSpec> = names.iter().filter_map(|name| name.parse().ok()).collect();
    if lanes.is_empty() {
        model.complain("at least one lane is needed; as before");
    } else {
        model.live.wanted.lanes = lanes;
        model.say("r records in these");
    }
    Vec::new()
}

/// Models were chosen.
pub fn chose_models(model: &mut Model, ids: &[String]) -> Vec<Effect> {
    if ids.is_empty() {
        model.complain("at least one model is needed; as before");
        return Vec::new();
    }
    model.live.models = ids.to_vec();
    vec![Effect::Session(Wish::Models(ids.to_vec()))]
}

/// Where the parts of the screen lie.
#[derive(Debug, Clone, Copy)]
struct Layout {
    summary: Rect,
    lanes: Rect,
    bills: Rect,
    messages: Rect,
}

fn layout(area: Rect, models: usize) -> Layout {
    let part = |y: u16, height: u16| Rect { y, height, ..area };
    let wish = u16::try_from(models).unwrap_or(u16::MAX).clamp(1, 6) + 6;
    let rest = area.height.saturating_sub(1);
    // A short terminal has no room for messages: the newest stands above.
    let messages = if rest >= 40 { 6 } else { 0 };
    let bills = wish.min(rest.saturating_sub(13)).max(rest.min(5));
    let lanes = rest.saturating_sub(bills + messages);
    Layout {
        summary: part(area.y, area.height.min(1)),
        lanes: part(area.y + 1, lanes),
        bills: part(area.y + 1 + lanes, bills.min(rest)),
        messages: part(area.y + 1 + lanes + bills, messages),
    }
}

/// The lanes in sight, with the place of each.
fn columns(model: &Model, area: Rect) -> Vec<(usize, Rect)> {
    let count = lane::names(model).len().max(1);
    let fit = usize::from(area.width / LANE_WIDTH).clamp(1, count);
    let first = (model.live.lane + 1).saturating_sub(fit).min(count - fit);
    let share = area.width / u16::try_from(fit).unwrap_or(1);
    (0..fit)
        .map(|at| {
            let x = area.x + share * u16::try_from(at).unwrap_or(0);
            // The last takes what division leaves.
            let width = if at + 1 == fit { area.right().saturating_sub(x) } else { share };
            (first + at, Rect { x, width, ..area })
        })
        .collect()
}

/// What a click does: it selects a lane.
pub fn click(model: &mut Model, area: Rect, at: Position) -> Vec<Effect> {
    let lanes = layout(area, model.live.models.len()).lanes;
    let hit = columns(model, lanes).into_iter().find(|(_, place)| place.contains(at));
    if let Some((lane, _)) = hit {
        model.live.lane = lane;
    }
    Vec::new()
}

/// Draws the screen.
pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let snapshot = shown(model);
    let layout = layout(area, model.live.models.len());
    let (text, role) = summary(model, snapshot);
    let text = fit(&format!(" {text}"), usize::from(layout.summary.width));
    let line = Line::from(Span::styled(text, model.theme.style(role)));
    frame.render_widget(Paragraph::new(line), layout.summary);
    let columns = columns(model, layout.lanes);
    let out_of_sight = lane::names(model).len().saturating_sub(columns.len());
    for (at, place) in columns {
        lane::draw(frame, place, model, snapshot, at, out_of_sight);
    }
    bills::draw(frame, layout.bills, model, snapshot);
    if layout.messages.height > 2 {
        messages(frame, layout.messages, model, snapshot);
    }
}

/// The one line above the lanes: what matters most.
fn summary(model: &Model, snapshot: &Snapshot) -> (String, Role) {
    if let Some(frozen) = &model.live.frozen {
        let behind = model.snapshot.events.saturating_sub(frozen.events);
        let key = model.keymap.key_of(Action::Pause, model.screen).unwrap_or_default();
        return (format!("frozen, {behind} events behind; {key} goes on"), Role::Warn);
    }
    if let StorageState::Waiting { reason, since } = &snapshot.storage {
        let clock = crate::tui::frame::clock(model.now.since(*since));
        return (format!("recording waits for the database, {clock}: {reason}"), Role::Bad);
    }
    if let Phase::Failed { reason } = &snapshot.phase {
        return (reason.clone(), Role::Bad);
    }
    if snapshot.dropped > 0 {
        let text = format!(
            "{} events came too fast to be shown; they are in the database",
            snapshot.dropped
        );
        return (text, Role::Warn);
    }
    if let Some(text) = failing(snapshot) {
        return (text, Role::Bad);
    }
    if model.live.first && snapshot.phase.is_active() {
        let text = "First run: four functions in every lane that runs here. ? explains, x stops";
        return (text.to_owned(), Role::Good);
    }
    (plan_line(model, snapshot), Role::Dim)
}

/// The cells whose newest invocation failed, and why the first of them did.
fn failing(snapshot: &Snapshot) -> Option<String> {
    let failed = |cell: &&CellView| {
        let newest = cell.last.as_ref().map(|last| last.status);
        matches!(cell.state, CellState::Failed(_))
            || matches!(newest, Some(Status::Failed | Status::Timeout))
    };
    let mut cells = snapshot.cells.iter().filter(failed);
    let first = cells.next()?;
    let others = match cells.count() {
        0 => String::new(),
        1 => ", and another".to_owned(),
        more => format!(", and {more} others"),
    };
    let lane = snapshot.lanes.get(first.lane).map_or("", |lane| &*lane.name);
    let reason = match &first.state {
        CellState::Failed(reason) => reason,
        _ => first.reason.as_ref()?,
    };
    Some(format!("{} in {lane}, {} fails{others}: {reason}", first.workload, first.start))
}

fn plan_line(model: &Model, snapshot: &Snapshot) -> String {
    let plan = &snapshot.plan;
    let dot = model.theme.sign(" · ", ", ");
    let mut parts = Vec::new();
    if snapshot.phase == Phase::Idle {
        let wanted = &model.live.wanted;
        let key = model.keymap.key_of(Action::Start, model.screen).unwrap_or_default();
        parts.push(format!("{key} records {}", wanted.workloads.join(" ")));
        parts.push(wanted.length());
        parts.push(wanted.order().to_owned());
    } else {
        parts.push(plan.workloads.join(" "));
        parts.push(plan.runs.map_or_else(|| "until stopped".to_owned(), |it| format!("{it} runs")));
        parts.push((if plan.race { "race" } else { "one lane at a time" }).to_owned());
    }
    let start = model.live.start.map_or_else(String::new, |start| format!(" {start}"));
    let shown = model.live.workload.as_deref().unwrap_or("what runs");
    parts.push(format!("shown: {shown}{start}"));
    parts.push(format!("{} a column", SPANS[model.live.zoom.min(SPANS.len() - 1)]));
    if usize::from(model.size.1) < 42
        && let Some(newest) = snapshot.log.back()
    {
        parts.push(newest.to_string());
    }
    parts.join(dot)
}

fn messages(frame: &mut Frame<'_>, area: Rect, model: &Model, snapshot: &Snapshot) {
    let block = model.theme.panel("messages", false);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let height = usize::from(inner.height);
    let first = snapshot.log.len().saturating_sub(height);
    let room = usize::from(inner.width).saturating_sub(2);
    let lines: Vec<Line<'_>> = snapshot
        .log
        .iter()
        .skip(first)
        .map(|text| Line::from(format!(" {}", fit(text, room))))
        .collect();
    frame.render_widget(Paragraph::new(lines), inner);
}
