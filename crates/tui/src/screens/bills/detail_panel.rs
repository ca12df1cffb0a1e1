//! Detail panel: the selected cell with its amount, its parts, and comparisons.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::detail::BillDetail;
use crate::action::UserAction;
use crate::model::Model;
use crate::theme::{StyleRole, Theme};
use crate::widgets::bar;
use crate::widgets::text::{display_width, fit, pad, wrap};

/// Height in lines from which on everything is shown.
const MIN_FULL_HEIGHT: u16 = 15;

/// Draws the panel.
pub fn render(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    if area.height < 3 || area.width < 4 {
        return;
    }
    let theme = &model.theme;
    // The filter may leave no row to select.
    let Some(detail) = &model.screens.bills.detail else {
        return frame.render_widget(theme.panel_block("", false), area);
    };
    let key = model.keymap.key_for(UserAction::Enter, model.screen).unwrap_or_default();
    let title = format!("{}, {key} explains", detail.title);
    let title = fit(&title, usize::from(area.width).saturating_sub(6));
    let block = theme.panel_block(title, false);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
    let mut page = BillDetailPage { theme, room: usize::from(inner.width), lines: Vec::new() };
    if inner.height >= MIN_FULL_HEIGHT {
        page.push_full(detail);
    } else {
        page.push_compact(detail);
    }
    frame.render_widget(Paragraph::new(page.lines), inner);
}

struct BillDetailPage<'a> {
    theme: &'a Theme,
    room: usize,
    lines: Vec<Line<'static>>,
}

impl BillDetailPage<'_> {
    fn push_wrapped(&mut self, text: &str, role: StyleRole) {
        for line in wrap(text, self.room) {
            self.lines.push(Line::from(Span::styled(line, self.theme.style(role))));
        }
    }

    fn push_truncated(&mut self, text: &str, role: StyleRole) {
        let text = fit(text, self.room);
        self.lines.push(Line::from(Span::styled(text, self.theme.style(role))));
    }

    fn push_heading(&mut self, text: &str) {
        self.lines.push(Line::default());
        self.push_truncated(text, StyleRole::Title);
    }

    fn push_price(&mut self, detail: &BillDetail) {
        let role = if detail.missing { StyleRole::Warn } else { StyleRole::Title };
        self.push_wrapped(&detail.price, role);
    }

    /// Appends a short form for panels of a few lines.
    fn push_compact(&mut self, detail: &BillDetail) {
        match detail.comparisons.first().filter(|_| !detail.missing) {
            Some(first) => {
                self.push_truncated(&format!("{}; {first}", detail.price), StyleRole::Title);
            }
            None => self.push_price(detail),
        }
        if let Some(shares) = &detail.shares {
            self.lines.push(Line::from(bar::bar_spans(self.theme, shares, self.room)));
            self.push_parts_legend(detail, shares);
        }
        if let Some(beyond) = &detail.memory_warning {
            self.push_truncated(beyond, StyleRole::Warn);
        }
        for line in detail.comparisons.iter().skip(1).rev() {
            self.push_truncated(line, StyleRole::Text);
        }
        for note in &detail.notes {
            self.push_truncated(note, StyleRole::Dim);
        }
        if let Some(what) = &detail.uncertain {
            self.push_wrapped(&format!("uncertain: {what}"), StyleRole::Dim);
        }
        self.push_charges(detail);
    }

    /// Appends line items of the month or charges; those beyond the panel's height are
    /// cut off.
    fn push_charges(&mut self, detail: &BillDetail) {
        let currency = &detail.currency;
        for [name, quantity, _, billable, amount] in &detail.line_items {
            let amount = amount.trim();
            let text = format!("{name}: {quantity}, billable {billable}, {amount} {currency}");
            self.push_truncated(&text, StyleRole::Text);
        }
        if detail.line_items.is_empty() {
            for [name, quantity, amount, share] in &detail.charges {
                let amount = amount.trim();
                self.push_truncated(
                    &format!("{name}: {quantity}, {amount} {currency}, {share}"),
                    StyleRole::Text,
                );
            }
        }
    }

    /// Appends sign, name, amount and share of each part, side by side.
    fn push_parts_legend(&mut self, detail: &BillDetail, shares: &[u64; 7]) {
        let mut spans: Vec<Span<'static>> = Vec::new();
        let mut used = 0;
        for (at, amount) in detail.parts.iter().enumerate() {
            let text = match shares[at] {
                0 => format!("{}  ", bar::NAMES[at]),
                share => {
                    let share = bar::format_percent(share);
                    format!("{} {} {share}  ", bar::NAMES[at], amount.trim())
                }
            };
            if used > 0 && used + display_width(&text) > self.room {
                self.lines.push(Line::from(std::mem::take(&mut spans)));
                used = 0;
            }
            used += display_width(&text) + 1;
            let style = self.theme.style(StyleRole::Part(at));
            spans.push(Span::styled(self.theme.part_sign(at).to_string(), style));
            spans.push(Span::raw(text));
        }
        self.lines.push(Line::from(spans));
    }

    /// Appends everything.
    fn push_full(&mut self, detail: &BillDetail) {
        for line in &detail.about {
            self.push_truncated(line, StyleRole::Dim);
        }
        self.lines.push(Line::default());
        self.push_price(detail);
        if !detail.scope.is_empty() {
            self.push_truncated(&detail.scope, StyleRole::Text);
        }
        if let Some(beyond) = &detail.memory_warning {
            self.push_truncated(beyond, StyleRole::Warn);
        }
        for line in &detail.comparisons {
            self.push_truncated(line, StyleRole::Text);
        }
        self.push_parts(detail);
        self.push_tables(detail);
        if !detail.notes.is_empty() {
            self.push_heading("what stands in for something");
            for note in &detail.notes {
                self.push_wrapped(note, StyleRole::Text);
            }
        }
        if let Some(what) = &detail.uncertain {
            self.push_heading("what is not certain");
            self.push_wrapped(what, StyleRole::Text);
        }
    }

    fn push_parts(&mut self, detail: &BillDetail) {
        let Some(shares) = &detail.shares else { return };
        self.push_heading(&detail.parts_heading);
        self.lines.push(Line::from(bar::bar_spans(self.theme, shares, self.room)));
        for (at, amount) in detail.parts.iter().enumerate() {
            let style = self.theme.style(StyleRole::Part(at));
            let name = pad(bar::NAMES[at], 12, false);
            let text = format!(" {name} {amount} {:>6}", bar::format_percent(shares[at]));
            let role = if shares[at] == 0 { StyleRole::Dim } else { StyleRole::Text };
            self.lines.push(Line::from(vec![
                Span::styled(self.theme.part_sign(at).to_string(), style),
                Span::styled(fit(&text, self.room.saturating_sub(1)), self.theme.style(role)),
            ]));
        }
    }

    fn push_tables(&mut self, detail: &BillDetail) {
        let currency = &detail.currency;
        if !detail.line_items.is_empty() {
            self.push_heading("the month, position by position");
            self.push_table(
                ["position", "quantity", "free", "billable", currency],
                &detail.line_items,
            );
        } else if !detail.charges.is_empty() {
            self.push_heading(&detail.charges_heading);
            self.push_table(["charge", "quantity", currency, "share"], &detail.charges);
        }
        if detail.lanes.len() > 1 {
            self.push_heading(&format!("in every lane, {currency}"));
            self.push_lane_table(detail);
        }
        if !detail.cheapest.is_empty() {
            self.push_heading(&format!("cheapest offers in this lane, {currency}"));
            self.push_table(["model", "amount", "times"], &detail.cheapest);
        }
        if !detail.volumes.is_empty() {
            self.push_heading("by requests a month");
            self.push_table(["requests", currency, "for a million"], &detail.volumes);
        }
    }

    /// Appends a table whose first column is left-aligned and whose others are
    /// right-aligned.
    fn push_table<const N: usize>(&mut self, heads: [&str; N], rows: &[[String; N]]) {
        let mut wide = heads.map(display_width);
        for row in rows {
            for (wide, text) in wide.iter_mut().zip(row) {
                *wide = (*wide).max(display_width(text));
            }
        }
        let line = |cells: [&str; N]| {
            let padded = cells.iter().zip(wide).enumerate();
            let texts = padded.map(|(at, (cell, wide))| pad(cell, wide, at > 0));
            texts.collect::<Vec<_>>().join("  ")
        };
        self.push_truncated(&line(heads), StyleRole::Dim);
        for row in rows {
            self.push_truncated(&line(row.each_ref().map(String::as_str)), StyleRole::Text);
        }
    }

    fn push_lane_table(&mut self, detail: &BillDetail) {
        let name = detail.lanes.iter().map(|it| display_width(&it.0)).max().unwrap_or(0).min(24);
        let amount = detail.lanes.iter().map(|it| display_width(&it.1)).max().unwrap_or(0);
        let rest = self.room.saturating_sub(name + amount + 4);
        for (lane, price, shares) in &detail.lanes {
            let text = format!("{}  {}  ", pad(lane, name, false), pad(price, amount, true));
            let mut spans = vec![Span::raw(text)];
            if let Some(shares) = shares {
                spans.extend(bar::bar_spans(self.theme, shares, rest));
            }
            self.lines.push(Line::from(spans));
        }
    }
}
