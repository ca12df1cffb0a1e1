//! Drawing of the functions view: a line a function, and what could be saved on the selected one.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::SLOW_AFTER;
use super::bill_table::align_decimal_points;
use super::functions::{LoadedFunctions, selected_function, shown_functions};
use super::layout::BillsLayout;
use crate::action::UserAction;
use crate::frame::inner_area;
use crate::model::Model;
use crate::theme::StyleRole;
use crate::widgets::bar;
use crate::widgets::grid::{GridCell, GridColumn, SelectionGrid, first_visible_row};
use crate::widgets::text::{display_width, fit, fit_middle, wrap};
use cyclometer_core::quantity::separate_thousands;
use cyclometer_core::units::Count;
use cyclometer_report::format_bill;
use cyclometer_report::savings::{
    Basis, FunctionSavings, Grouping, SavingsReport, describe_advice, describe_change,
    format_amount, format_step, list_notes,
};
use cyclometer_report::sweep::format_size;

/// Least width of the name of a function.
const NAME: usize = 14;

/// Draws table and detail.
pub(super) fn render(frame: &mut Frame<'_>, layout: &BillsLayout, model: &Model) {
    render_table(frame, layout.table, model);
    render_detail(frame, layout.detail, model);
}

fn render_table(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let theme = &model.theme;
    let inside = inner_area(area);
    let room = usize::from(inside.width);
    let Some(held) = shown_functions(model) else {
        frame.render_widget(theme.panel_block("functions", true), area);
        let lines: Vec<Line<'_>> = wrap(&explain_missing_functions(model), room.saturating_sub(2))
            .into_iter()
            .map(|it| Line::from(format!(" {it}")))
            .collect();
        return frame.render_widget(Paragraph::new(lines), inside);
    };
    let wide = usize::from(area.width).saturating_sub(6);
    let mut block = theme.panel_block(fit(&format_heading(model, held, wide), wide), true);
    let notes = list_notes(&held.report);
    if let Some(basis) = notes.first() {
        let basis = fit(&format!(" {basis} "), usize::from(area.width).saturating_sub(4));
        block = block.title_bottom(Line::from(Span::styled(basis, theme.style(StyleRole::Dim))));
    }
    frame.render_widget(block, area);
    if model.screens.bills.functions.visible.is_empty() {
        let text = format!(" no function has all of: {}", model.screens.bills.filter_words);
        return frame.render_widget(Paragraph::new(fit(&text, room)), inside);
    }
    build_grid(model, held, inside).render(frame, inside, theme);
}

/// Explains why there is no table.
fn explain_missing_functions(model: &Model) -> String {
    let state = &model.screens.bills.functions;
    if let Some(error) = &state.error {
        return error.message.clone();
    }
    let since = state.pending.as_ref().map(|(_, since)| *since);
    match since {
        Some(since) if model.now.saturating_since(since) > SLOW_AFTER => {
            "computing what each function costs, and what could be saved".to_owned()
        }
        _ => String::new(),
    }
}

/// Formats the heading in the longest wording that fits.
fn format_heading(model: &Model, held: &LoadedFunctions, room: usize) -> String {
    let report = &held.report;
    let noun = match report.grouping {
        Grouping::Function => "function",
        Grouping::Cell => "cell",
    };
    let (all, shown) = (report.functions.len(), model.screens.bills.functions.visible.len());
    let thousands = |count: usize| separate_thousands(&count.to_string());
    let plural = if all == 1 { "" } else { "s" };
    let count = if all == shown {
        format!("{} {noun}{plural}", thousands(all))
    } else {
        format!("{} of {} {noun}s", thousands(shown), thousands(all))
    };
    let unit = report.basis.unit();
    let Some((total, saving)) = report.total.as_ref().zip(report.saving.as_ref()) else {
        return format!("{count}: {unit} invocations of each, list prices");
    };
    let amount = |it| format_amount(it, &report.currency);
    let (total, saving) = (amount(total), amount(saving));
    let long = format!("{count}: {total} {unit} at list prices, {saving} could be saved");
    if display_width(&long) <= room {
        return long;
    }
    format!("{count}: {total} {unit}, {saving} to save")
}

/// Texts of a row.
struct RowTexts {
    name: String,
    cell: Option<[String; 2]>,
    platform: String,
    invocations: String,
    memory: String,
    peak: String,
    cost: String,
    saving: String,
    change: String,
}

fn row_texts(report: &SavingsReport, function: &FunctionSavings) -> RowTexts {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let usage = &function.usage;
    let best = function.advice.first();
    RowTexts {
        name: function.key.function.clone(),
        cell: function
            .key
            .cell
            .as_ref()
            .map(|(preset, start)| [preset.clone(), start.label().to_owned()]),
        platform: function.key.platform.clone(),
        invocations: Count(function.invocations).to_string(),
        memory: or_dash(usage.given.map(|(least, most)| {
            if least == most { format_size(most) } else { format!("to {}", format_size(most)) }
        })),
        peak: or_dash((usage.peak.0 > 0).then(|| usage.peak.1.to_string())),
        cost: or_dash(function.cost.as_ref().ok().map(|cost| format_bill(cost, true))),
        saving: or_dash(best.map(|advice| format_bill(&advice.saving, true))),
        change: or_dash(best.map(|advice| describe_change(report, &advice.change))),
    }
}

fn build_grid(model: &Model, held: &LoadedFunctions, area: Rect) -> SelectionGrid {
    let state = &model.screens.bills.functions;
    let report = &held.report;
    let height = usize::from(area.height.saturating_sub(1));
    let first = first_visible_row(state.cursor, state.visible.len(), height);
    let visible = state.visible.iter().skip(first).take(height);
    let functions = visible.filter_map(|at| report.functions.get(*at));
    let mut rows: Vec<RowTexts> = functions.map(|it| row_texts(report, it)).collect();
    let aligned = |texts: Vec<String>| align_decimal_points(&texts);
    let costs = aligned(rows.iter().map(|row| row.cost.clone()).collect());
    let savings = aligned(rows.iter().map(|row| row.saving.clone()).collect());
    for ((row, cost), saving) in rows.iter_mut().zip(costs).zip(savings) {
        (row.cost, row.saving) = (cost, saving);
    }
    let by_cell = report.grouping == Grouping::Cell;
    let platforms = report.functions.first().is_some_and(|first| {
        report.functions.iter().any(|it| it.key.platform != first.key.platform)
    });
    let widest = |text: fn(&RowTexts) -> &str| {
        rows.iter().map(|row| display_width(text(row))).max().unwrap_or(0)
    };
    let fixed = 2
        + widest(|row| &row.invocations).max(4)
        + widest(|row| &row.memory).max(6)
        + widest(|row| &row.peak).max(4)
        + widest(|row| &row.cost).max(7)
        + widest(|row| &row.saving).max(5)
        + 5
        + if by_cell { 14 } else { 0 };
    let name_width = usize::from(area.width)
        .saturating_sub(fixed)
        .clamp(NAME, 48)
        .min(widest(|row| &row.name).max(8));
    let cost_title = match report.basis {
        Basis::Trace => "cost",
        _ => report.basis.unit(),
    };
    let mut columns = vec![GridColumn::for_text("function", name_width)];
    if by_cell {
        columns.push(GridColumn::for_text("size", 8));
        columns.push(GridColumn::for_text("start", 5));
    }
    columns.extend([
        GridColumn::for_numbers("runs", 4),
        GridColumn::for_numbers("memory", 6),
        GridColumn::for_numbers("peak", 4),
        GridColumn::for_numbers(cost_title, 7),
        GridColumn::for_numbers("saves", 5),
        GridColumn::for_text("by", 8).growing(),
    ]);
    if platforms {
        columns.push(GridColumn::for_text("platform", 8));
    }
    let cells = |row: RowTexts| {
        let mut cells = vec![GridCell::new(fit_middle(&row.name, name_width))];
        cells.extend(row.cell.into_iter().flatten().map(GridCell::new));
        cells.extend([row.invocations, row.memory, row.peak, row.cost].map(GridCell::new));
        let role = if row.saving.trim() == "-" { StyleRole::Dim } else { StyleRole::Good };
        cells.push(GridCell::with_role(row.saving, role));
        cells.push(GridCell::new(row.change));
        if platforms {
            cells.push(GridCell::with_role(row.platform, StyleRole::Dim));
        }
        cells
    };
    SelectionGrid {
        columns,
        rows: rows.into_iter().map(cells).collect(),
        selected: Some(state.cursor - first),
        ..SelectionGrid::default()
    }
}

fn render_detail(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    if area.height < 3 || area.width < 4 {
        return;
    }
    let theme = &model.theme;
    let Some((report, function)) = selected_function(model) else {
        return frame.render_widget(theme.panel_block("", false), area);
    };
    let key = model.keymap.key_for(UserAction::Enter, model.screen).unwrap_or_default();
    let title = format!("{}, {key} shows all", function.key.function);
    let title = fit(&title, usize::from(area.width).saturating_sub(6));
    let block = theme.panel_block(title, false);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
    let lines = build_detail_lines(model, report, function, usize::from(inner.width));
    frame.render_widget(Paragraph::new(lines), inner);
}

fn build_detail_lines(
    model: &Model,
    report: &SavingsReport,
    function: &FunctionSavings,
    room: usize,
) -> Vec<Line<'static>> {
    let theme = &model.theme;
    let mut lines: Vec<Line<'static>> = Vec::new();
    let mut push = |text: &str, role: StyleRole| {
        for line in wrap(text, room) {
            lines.push(Line::from(Span::styled(line, theme.style(role))));
        }
    };
    match (function.advice.first(), &function.cost) {
        (_, Err(reason)) => push(&format!("no price: {reason}"), StyleRole::Warn),
        (Some(best), _) => push(&describe_advice(report, function, best), StyleRole::Good),
        (None, _) => {
            let reason =
                function.refusals.first().map_or("no change saves anything", String::as_str);
            push(&format!("nothing to save: {reason}"), StyleRole::Text);
        }
    }
    push(&describe_function(report, function), StyleRole::Text);
    let shares = function.split.as_ref().and_then(bar::waste_shares);
    if let Some(shares) = &shares {
        lines.push(Line::from(bar::bar_spans(theme, shares, room)));
        lines.extend(parts_legend(model, shares, room));
    }
    let mut push = |text: &str, role: StyleRole| {
        for line in wrap(text, room) {
            lines.push(Line::from(Span::styled(line, theme.style(role))));
        }
    };
    for advice in function.advice.iter().skip(1) {
        push(&format!("or {}", describe_advice(report, function, advice)), StyleRole::Text);
    }
    let told = usize::from(function.advice.is_empty());
    for reason in function.refusals.iter().skip(told) {
        push(reason, StyleRole::Dim);
    }
    for note in list_notes(report) {
        push(&note, StyleRole::Dim);
    }
    lines
}

/// Describes the invocations of a function and their cost in a line.
fn describe_function(report: &SavingsReport, function: &FunctionSavings) -> String {
    let cost = function.cost.as_ref().map_or_else(
        |_| "no price".to_owned(),
        |cost| format!("{} {}", format_amount(cost, &report.currency), report.basis.unit()),
    );
    let count = separate_thousands(&function.invocations.to_string());
    let mean = function.mean_wall().map(|mean| format!(", mean {mean}")).unwrap_or_default();
    let step = report
        .time_step
        .filter(|step| step.step.0 > 0)
        .map(|step| format!(", billed in steps of {}", format_step(step.step)))
        .unwrap_or_default();
    format!("{cost} by {}: {count} invocations{mean}{step}", report.models[0])
}

/// Lists the parts of a bill that there are, with their shares.
fn parts_legend(model: &Model, shares: &[u64; 7], room: usize) -> Vec<Line<'static>> {
    let theme = &model.theme;
    let mut lines = Vec::new();
    let mut spans: Vec<Span<'static>> = Vec::new();
    let mut used = 0;
    for (at, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0) {
        let text = format!("{} {}  ", bar::NAMES[at], bar::format_percent(*share));
        if used > 0 && used + display_width(&text) > room {
            lines.push(Line::from(std::mem::take(&mut spans)));
            used = 0;
        }
        used += display_width(&text) + 1;
        let style = theme.style(StyleRole::Part(at));
        spans.push(Span::styled(theme.part_sign(at).to_string(), style));
        spans.push(Span::raw(text));
    }
    lines.push(Line::from(spans));
    lines
}
