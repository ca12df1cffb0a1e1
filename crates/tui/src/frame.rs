//! Frame of the whole screen: tabs, the body that the screen draws, and the footer.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::keymap::KeyContext;
use super::model::{LEAST_SIZE, Model};
use super::overlay;
use super::screens::{self, ScreenId};
use super::theme::StyleRole;
use super::widgets::text::{clear_hidden, display_width, fit};
use cyclometer_core::units::Nanos;
use cyclometer_lanes::Status;
use cyclometer_record::live::{SessionPhase, StorageState};

/// Areas of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameAreas {
    /// Names of the screens.
    pub tabs: Rect,
    /// Body that the screen draws.
    pub body: Rect,
    /// Keys, or a notice.
    pub footer: Rect,
}

/// Splits a terminal of that size into its areas.
#[must_use]
pub(crate) fn split_areas(area: Rect) -> FrameAreas {
    let line = |y: u16| Rect { y, height: 1.min(area.height), ..area };
    FrameAreas {
        tabs: line(area.y),
        body: Rect { y: area.y + 1, height: area.height.saturating_sub(2), ..area },
        footer: line(area.bottom().saturating_sub(1)),
    }
}

/// Returns the inside of a panel's frame.
#[must_use]
pub(crate) const fn inner_area(area: Rect) -> Rect {
    Rect {
        x: area.x + 1,
        y: area.y + 1,
        width: area.width.saturating_sub(2),
        height: area.height.saturating_sub(2),
    }
}

/// Lays out the screen in sight, and the overlay above it, as the next frame will draw
/// them.
pub fn lay_out(model: &mut Model) {
    model.overlay_layout = overlay::OverlayLayout::new(model);
    let area = Rect::new(0, 0, model.size.0, model.size.1);
    if !is_too_small(area) {
        screens::lay_out(model, split_areas(area).body);
    }
}

const fn is_too_small(area: Rect) -> bool {
    area.width < LEAST_SIZE.0 || area.height < LEAST_SIZE.1
}

/// Name of the program, in front of the tabs.
const NAME: &str = " cyclometer ";

/// Returns the tab of each screen: text and position.
fn tab_positions(narrow: bool) -> impl Iterator<Item = (ScreenId, String, u16)> {
    let mut x = if narrow { 0 } else { NAME.len() };
    ScreenId::ALL.into_iter().zip(1..).map(move |(screen, digit)| {
        let text = format!(" {digit} {} ", screen.name());
        let at = u16::try_from(x).unwrap_or(u16::MAX);
        x += text.len();
        (screen, text, at)
    })
}

/// Returns the screen whose tab is at that position.
#[must_use]
pub(crate) fn tab_at(area: Rect, at: Position) -> Option<ScreenId> {
    if !area.contains(at) {
        return None;
    }
    let x = at.x - area.x;
    let hit = tab_positions(is_narrow(area)).find(|(_, text, from)| {
        (*from..*from + u16::try_from(text.len()).unwrap_or(0)).contains(&x)
    });
    hit.map(|(screen, _, _)| screen)
}

const fn is_narrow(area: Rect) -> bool {
    area.width < 80
}

/// Draws the whole screen.
pub fn render(frame: &mut Frame<'_>, model: &Model) {
    let area = frame.area();
    if is_too_small(area) {
        return render_too_small(frame, area);
    }
    let parts = split_areas(area);
    draw_tabs(frame, parts.tabs, model);
    screens::render(frame, parts.body, model);
    draw_footer(frame, parts.footer, model);
    overlay::render(frame, area, model);
    clear_hidden(frame.buffer_mut());
}

fn render_too_small(frame: &mut Frame<'_>, area: Rect) {
    let text = format!(
        "cyclometer needs {} x {}; this is {} x {}. q quits.",
        LEAST_SIZE.0, LEAST_SIZE.1, area.width, area.height
    );
    let lines = super::widgets::text::wrap(&text, usize::from(area.width));
    let lines: Vec<Line<'_>> = lines.into_iter().map(Line::from).collect();
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_tabs(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let theme = &model.theme;
    let mut spans = Vec::new();
    if !is_narrow(area) {
        spans.push(Span::styled(NAME, theme.style(StyleRole::Title)));
    }
    for (screen, text, _) in tab_positions(is_narrow(area)) {
        let here = screen == model.screen;
        // The brackets mark the tab on terminals that show no reversed text.
        let text = if here { format!("[{}]", text.trim()) } else { text };
        let role = if here { StyleRole::Selected } else { StyleRole::Text };
        spans.push(Span::styled(text, theme.style(role)));
    }
    let used: usize = spans.iter().map(Span::width).sum();
    let room = usize::from(area.width).saturating_sub(used + 2);
    let (words, role) = recording_status(model);
    // Words that do not fit are dropped from the end.
    let mut fitting = (0..words.len()).rev().map(|last| words[..=last].join(" "));
    let text = fitting
        .find(|text| display_width(text) <= room)
        .unwrap_or_else(|| fit(words.first().map_or("", String::as_str), room));
    let blank = usize::from(area.width).saturating_sub(used + display_width(&text) + 1);
    spans.push(Span::raw(" ".repeat(blank)));
    spans.push(Span::styled(text, theme.style(role)));
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

/// Returns the progress of the recording, the most important word first.
fn recording_status(model: &Model) -> (Vec<String>, StyleRole) {
    let snapshot = &model.snapshot;
    let done = match snapshot.planned_invocations() {
        Some(planned) if snapshot.phase.is_active() => format!("{}/{planned}", snapshot.done),
        _ => snapshot.done.to_string(),
    };
    let (word, role) = match (&snapshot.storage, &snapshot.phase) {
        (StorageState::Waiting { .. }, _) => ("database waits", StyleRole::Bad),
        (_, SessionPhase::Idle) => return (vec!["idle".to_owned()], StyleRole::Dim),
        (_, SessionPhase::Opening) => return (vec!["opening".to_owned()], StyleRole::Warn),
        (_, SessionPhase::Running) => ("rec", StyleRole::Good),
        (_, SessionPhase::Finishing) => ("stopping", StyleRole::Warn),
        (_, SessionPhase::Ended { status: Status::Ok }) => ("done", StyleRole::Text),
        (_, SessionPhase::Ended { status }) => (status.label(), StyleRole::Warn),
        (_, SessionPhase::Failed { .. }) => ("failed", StyleRole::Bad),
    };
    let mut words = vec![word.to_owned(), done];
    if let Some(began) = snapshot.began {
        words.push(format_clock(snapshot.ended.unwrap_or(model.now).saturating_since(began)));
    }
    words.extend(snapshot.recording.map(|number| format!("#{number}")));
    (words, role)
}

/// Formats a time span as `0:12` or `1:02:03`.
#[must_use]
pub(crate) fn format_clock(span: Nanos) -> String {
    let seconds = span.0 / 1_000_000_000;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

fn draw_footer(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let theme = &model.theme;
    let room = usize::from(area.width);
    if let Some(notice) = model.current_notice() {
        let role = if notice.bad { StyleRole::Bad } else { StyleRole::Good };
        let text = fit(&format!(" {}", notice.text), room);
        return frame.render_widget(
            Paragraph::new(Line::from(Span::styled(text, theme.style(role)))),
            area,
        );
    }
    let mut spans: Vec<Span<'_>> = Vec::new();
    let mut used = 0;
    let ends = footer_keys(model, KeyContext::Everywhere);
    let reserved: usize = ends.iter().map(|(key, text)| key.len() + text.len() + 3).sum();
    for (index, (key, text)) in
        footer_keys(model, KeyContext::On(model.screen)).into_iter().chain(ends.clone()).enumerate()
    {
        let takes =
            display_width(&key) + display_width(&text) + if text.is_empty() { 2 } else { 3 };
        let own = index + ends.len() < usize::MAX && !ends.contains(&(key.clone(), text.clone()));
        let room = if own { room.saturating_sub(reserved) } else { room };
        if used + takes > room {
            continue;
        }
        used += takes;
        spans.push(Span::styled(format!(" {key}"), theme.style(StyleRole::Key)));
        let text = if text.is_empty() { " ".to_owned() } else { format!(" {text} ") };
        spans.push(Span::styled(text, theme.style(StyleRole::Dim)));
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

/// Returns keys and their short texts. A text that names its own keys replaces
/// them.
fn footer_keys(model: &Model, context: KeyContext) -> Vec<(String, String)> {
    let shown = model.keymap.iter().filter(|(it, _)| it.context == context && !it.short.is_empty());
    shown
        .filter_map(|(binding, keys)| {
            let key = keys.first()?.to_string();
            Some(match binding.short.split_once(": ") {
                // Two keys that belong together are shown as a pair as long as
                // they are those of the table.
                Some((both, text)) if both.split(' ').any(|it| it == key) => {
                    (both.to_owned(), text.to_owned())
                }
                Some((_, text)) => (key, text.to_owned()),
                None => (key, binding.short.to_owned()),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_read_like_clocks() {
        let second = 1_000_000_000;
        assert_eq!(format_clock(Nanos(0)), "0:00");
        assert_eq!(format_clock(Nanos(72 * second)), "1:12");
        assert_eq!(format_clock(Nanos(3_723 * second)), "1:02:03");
    }

    #[test]
    fn clicks_on_a_tab_find_its_screen() {
        let area = Rect::new(0, 0, 80, 1);
        let at = |x| tab_at(area, Position::new(x, 0));
        assert_eq!(at(0), None);
        assert_eq!(at(13), Some(ScreenId::Live));
        assert_eq!(at(20), Some(ScreenId::Bills));
        assert_eq!(tab_at(area, Position::new(13, 1)), None);
    }
}
