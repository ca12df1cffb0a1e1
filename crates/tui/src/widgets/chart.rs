//! Chart of values over time, as columns of blocks.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::theme::{StyleRole, Theme};

/// Draws `values`, the newest at the right edge, as columns as high as the
/// area; `None` leaves a gap. `top` is the value that fills the area.
pub(crate) fn draw_columns(
    buffer: &mut Buffer,
    area: Rect,
    theme: &Theme,
    role: StyleRole,
    values: &[Option<u64>],
    top: u64,
) {
    let area = area.intersection(buffer.area);
    let shown = values.len().min(usize::from(area.width));
    let values = &values[values.len() - shown..];
    let first = area.right() - u16::try_from(shown).unwrap_or(area.width);
    let levels = theme.level_signs();
    for (value, x) in values.iter().zip(first..) {
        let Some(value) = value else { continue };
        let eighths = height_in_eighths(*value, top, area.height);
        for row in 0..area.height {
            let filled = eighths.saturating_sub(usize::from(row) * 8).min(8);
            let y = area.bottom() - 1 - row;
            if filled > 0
                && let Some(cell) = buffer.cell_mut((x, y))
            {
                cell.set_char(levels[filled]).set_style(theme.style(role));
            }
        }
    }
}

/// Marks those of the newest columns that are `unknown`, at the bottom of the
/// area: a gap would look as if nothing had been used.
pub(crate) fn mark_unknown(buffer: &mut Buffer, area: Rect, theme: &Theme, unknown: &[bool]) {
    let area = area.intersection(buffer.area);
    if area.height == 0 {
        return;
    }
    let shown = unknown.len().min(usize::from(area.width));
    let first = area.right() - u16::try_from(shown).unwrap_or(area.width);
    for (is_unknown, x) in unknown[unknown.len() - shown..].iter().zip(first..) {
        if *is_unknown && let Some(cell) = buffer.cell_mut((x, area.bottom() - 1)) {
            cell.set_char('?').set_style(theme.style(StyleRole::Dim));
        }
    }
}

/// Returns the eighths of a line that a value fills: at least one unless it is 0.
fn height_in_eighths(value: u64, top: u64, height: u16) -> usize {
    if value == 0 || top == 0 {
        return 0;
    }
    let full = u128::from(height) * 8;
    let part = (u128::from(value) * full).div_ceil(u128::from(top)).min(full);
    usize::try_from(part).unwrap_or(0).max(1)
}

/// Returns a horizontal gauge of `width` cells that shows `part` of `whole`.
#[must_use]
pub(crate) fn format_gauge(theme: &Theme, part: u64, whole: u64, width: usize) -> String {
    let filled = if whole == 0 {
        0
    } else {
        let exact = (u128::from(part) * width as u128).div_ceil(u128::from(whole));
        usize::try_from(exact).unwrap_or(width).min(width)
    };
    let (on, off) = (theme.sign("█", "#"), theme.sign("░", "."));
    on.repeat(filled) + &off.repeat(width - filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::Palette;

    #[test]
    fn columns_are_as_high_as_their_share() {
        let theme = Theme::new(Palette::Mono, false);
        let area = Rect::new(0, 0, 4, 2);
        let mut buffer = Buffer::empty(area);
        draw_columns(
            &mut buffer,
            area,
            &theme,
            StyleRole::Text,
            &[Some(0), Some(1), None, Some(100)],
            100,
        );
        let line = |y| (0..4).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        assert_eq!(line(0), "   █");
        assert_eq!(line(1), " ▁ █", "what is not 0 shows");
    }

    #[test]
    fn only_the_newest_fit_and_nothing_is_drawn_outside() {
        let theme = Theme::new(Palette::Mono, true);
        let mut buffer = Buffer::empty(Rect::new(0, 0, 2, 1));
        let values: Vec<_> = (0..10).map(|_| Some(5)).collect();
        draw_columns(&mut buffer, Rect::new(1, 0, 9, 9), &theme, StyleRole::Text, &values, 5);
        assert_eq!(buffer[(0, 0)].symbol(), " ");
        assert_eq!(buffer[(1, 0)].symbol(), "#");
    }

    #[test]
    fn what_is_not_known_has_a_sign() {
        let theme = Theme::new(Palette::Mono, false);
        let area = Rect::new(0, 0, 3, 2);
        let mut buffer = Buffer::empty(area);
        mark_unknown(&mut buffer, area, &theme, &[true, false, false, true]);
        let line = |y| (0..3).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        assert_eq!([line(0), line(1)], ["   ", "  ?"], "the newest fit");
    }

    #[test]
    fn a_gauge_is_full_at_the_whole() {
        let theme = Theme::new(Palette::Mono, true);
        assert_eq!(format_gauge(&theme, 0, 100, 4), "....");
        assert_eq!(format_gauge(&theme, 1, 100, 4), "#...");
        assert_eq!(format_gauge(&theme, 100, 100, 4), "####");
        assert_eq!(format_gauge(&theme, 200, 100, 4), "####");
        assert_eq!(format_gauge(&theme, 1, 0, 4), "....");
    }
}
