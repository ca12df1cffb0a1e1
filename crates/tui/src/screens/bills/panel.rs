//! Detail panel: the selected cell with its amount, its parts, and comparisons.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::detail::Detail;
use crate::action::Action;
use crate::model::Model;
use crate::theme::{Role, Theme};
use crate::widgets::bar;
use crate::widgets::text::{fit, pad, width, wrap};

/// Height in lines from which on everything is shown.
const FULL: u16 = 15;

/// Draws the panel.
pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    if area.height < 3 || area.width < 4 {
        return;
    }
    let theme = &model.theme;
    // The filter may leave no row to select.
    let Some(detail) = &model.bills.detail else {
        return frame.render_widget(theme.panel("", false), area);
    };
    let key = model.keymap.key_of(Action::Enter, model.screen).unwrap_or_default();
    let title = format!("{}, {key} explains", detail.title);
    let title = fit(&title, usize::from(area.width).saturating_sub(6));
    let block = theme.panel(title, false);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
    let mut page = Page { theme, room: usize::from(inner.width), lines: Vec::new() };
    if inner.height >= FULL {
        page.full(detail);
    } else {
        page.compact(detail);
    }
    frame.render_widget(Paragraph::new(page.lines), inner);
}

struct Page<'a> {
    theme: &'a Theme,
    room: usize,
    lines: Vec<Line<'static>>,
}

impl Page<'_> {
    fn say(&mut self, text: &str, role: Role) {
        for line in wrap(text, self.room) {
            self.lines.push(Line::from(Span::styled(line, self.theme.style(role))));
        }
    }

    fn cut(&mut self, text: &str, role: Role) {
        let text = fit(text, self.room);
        self.lines.push(Line::from(Span::styled(text, self.theme.style(role))));
    }

    fn head(&mut self, text: &str) {
        self.lines.push(Line::default());
        self.cut(text, Role::Title);
    }

    fn price(&mut self, detail: &Detail) {
        let role = if detail.missing { Role::Warn } else { Role::Title };
        self.say(&detail.price, role);
    }

    /// Appends a short form for panels of a few lines.
    fn compact(&mut self, detail: &Detail) {
        match detail.compared.first().filter(|_| !detail.missing) {
            Some(first) => self.cut(&format!("{}; {first}", detail.price), Role::Title),
            None => self.price(detail),
        }
        if let Some(shares) = &detail.shares {
            self.lines.push(Line::from(bar::spans(self.theme, shares, self.room)));
            self.legend(detail, shares);
        }
        if let Some(beyond) = &detail.beyond {
            self.cut(beyond, Role::Warn);
        }
        for line in detail.compared.iter().skip(1).rev() {
            self.cut(line, Role::Text);
        }
        for note in &detail.notes {
            self.cut(note, Role::Dim);
        }
        if let Some(what) = &detail.uncertain {
            self.say(&format!("uncertain: {what}"), Role::Dim);
        }
        self.charged(detail);
    }

    /// Appends line items of the month or charges; those beyond the panel's height are
    /// cut off.
    fn charged(&mut self, detail: &Detail) {
        let currency = &detail.currency;
        for [name, quantity, _, billable, amount] in &detail.positions {
            let amount = amount.trim();
            let text = format!("{name}: {quantity}, billable {billable}, {amount} {currency}");
            self.cut(&text, Role::Text);
        }
        if detail.positions.is_empty() {
            for [name, quantity, amount, share] in &detail.charges {
                let amount = amount.trim();
                self.cut(&format!("{name}: {quantity}, {amount} {currency}, {share}"), Role::Text);
            }
        }
    }

    /// Appends sign, name, amount and share of each part, side by side.
    fn legend(&mut self, detail: &Detail, shares: &[u64; 7]) {
        let mut spans: Vec<Span<'static>> = Vec::new();
        let mut used = 0;
        for (at, amount) in detail.parts.iter().enumerate() {
            let text = match shares[at] {
                0 => format!("{}  ", bar::NAMES[at]),
                share => {
                    let share = bar::percent(share);
                    format!("{} {} {share}  ", bar::NAMES[at], amount.trim())
                }
            };
            if used > 0 && used + width(&text) > self.room {
                self.lines.push(Line::from(std::mem::take(&mut spans)));
                used = 0;
            }
            used += width(&text) + 1;
            let style = self.theme.style(Role::Part(at));
            spans.push(Span::styled(self.theme.part(at).to_string(), style));
            spans.push(Span::raw(text));
        }
        self.lines.push(Line::from(spans));
    }

    /// Appends everything.
    fn full(&mut self, detail: &Detail) {
        for line in &detail.about {
            self.cut(line, Role::Dim);
        }
        self.lines.push(Line::default());
        self.price(detail);
        if !detail.of.is_empty() {
            self.cut(&detail.of, Role::Text);
        }
        if let Some(beyond) = &detail.beyond {
            self.cut(beyond, Role::Warn);
        }
        for line in &detail.compared {
            self.cut(line, Role::Text);
        }
        self.parts(detail);
        self.tables(detail);
        if !detail.notes.is_empty() {
            self.head("what stands in for something");
            for note in &detail.notes {
                self.say(note, Role::Text);
            }
        }
        if let Some(what) = &detail.uncertain {
            self.head("what is not certain");
            self.say(what, Role::Text);
        }
    }

    fn parts(&mut self, detail: &Detail) {
        let Some(shares) = &detail.shares else { return };
        self.head(&detail.parts_of);
        self.lines.push(Line::from(bar::spans(self.theme, shares, self.room)));
        for (at, amount) in detail.parts.iter().enumerate() {
            let style = self.theme.style(Role::Part(at));
            let name = pad(bar::NAMES[at], 12, false);
            let text = format!(" {name} {amount} {:>6}", bar::percent(shares[at]));
            let role = if shares[at] == 0 { Role::Dim } else { Role::Text };
            self.lines.push(Line::from(vec![
                Span::styled(self.theme.part(at).to_string(), style),
                Span::styled(fit(&text, self.room.saturating_sub(1)), self.theme.style(role)),
            ]));
        }
    }

    fn tables(&mut self, detail: &Detail) {
        let currency = &detail.currency;
        if !detail.positions.is_empty() {
            self.head("the month, position by position");
            self.rows(["position", "quantity", "free", "billable", currency], &detail.positions);
        } else if !detail.charges.is_empty() {
            self.head(&detail.charged_of);
            self.rows(["charge", "quantity", currency, "share"], &detail.charges);
        }
        if detail.lanes.len() > 1 {
            self.head(&format!("in every lane, {currency}"));
            self.lanes(detail);
        }
        if !detail.cheapest.is_empty() {
            self.head(&format!("cheapest offers in this lane, {currency}"));
            self.rows(["model", "amount", "times"], &detail.cheapest);
        }
        if !detail.volumes.is_empty() {
            self.head("by requests a month");
            self.rows(["requests", currency, "for a million"], &detail.volumes);
        }
    }

    /// Appends a table whose first column is left-aligned and whose others are
    /// right-aligned.
    fn rows<const N: usize>(&mut self, heads: [&str; N], rows: &[[String; N]]) {
        let mut wide = heads.map(width);
        for row in rows {
            for (wide, text) in wide.iter_mut().zip(row) {
                *wide = (*wide).max(width(text));
            }
        }
        let line = |cells: [&str; N]| {
            let padded = cells.iter().zip(wide).enumerate();
            let texts = padded.map(|(at, (cell, wide))| pad(cell, wide, at > 0));
            texts.collect::<Vec<_>>().join("  ")
        };
        self.cut(&line(heads), Role::Dim);
        for row in rows {
            self.cut(&line(row.each_ref().map(String::as_str)), Role::Text);
        }
    }

    fn lanes(&mut self, detail: &Detail) {
        let name = detail.lanes.iter().map(|it| width(&it.0)).max().unwrap_or(0).min(24);
        let amount = detail.lanes.iter().map(|it| width(&it.1)).max().unwrap_or(0);
        let rest = self.room.saturating_sub(name + amount + 4);
        for (lane, price, shares) in &detail.lanes {
            let text = format!("{}  {}  ", pad(lane, name, false), pad(price, amount, true));
            let mut spans = vec![Span::raw(text)];
            if let Some(shares) = shares {
                spans.extend(bar::spans(self.theme, shares, rest));
            }
            self.lines.push(Line::from(spans));
        }
    }
}
