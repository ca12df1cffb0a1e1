//! Plot of lines made of signs, several in one picture, with bands behind them.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::theme::{StyleRole, Theme};

/// Line of a plot: a value for each column; `None` leaves a gap.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlotLine<'a> {
    /// Value of each column.
    pub values: &'a [Option<u64>],
    /// Sign that the line is drawn with.
    pub sign: char,
    /// Role that determines the colour.
    pub role: StyleRole,
}

/// Band of a plot between two values of each column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlotBand<'a> {
    /// Lower value of each column.
    pub low: &'a [Option<u64>],
    /// Upper value of each column.
    pub high: &'a [Option<u64>],
    /// Sign that the band is drawn with.
    pub sign: char,
    /// Role that determines the colour.
    pub role: StyleRole,
}

/// Sign where lines cross.
pub(crate) const CROSSING_SIGN: char = '*';

/// Returns the line, counted from the top of `height`, in which a value lies.
fn line_for_value(value: u64, top: u64, height: u16) -> u16 {
    let rows = u128::from(height.saturating_sub(1));
    let top = u128::from(top.max(1));
    let up = (u128::from(value).min(top) * rows + top / 2) / top;
    height.saturating_sub(1) - u16::try_from(up).unwrap_or(0)
}

/// Draws bands, then lines; `top` is the value of the upper edge.
pub(crate) fn draw_plot(
    buffer: &mut Buffer,
    area: Rect,
    theme: Theme,
    bands: &[PlotBand<'_>],
    lines: &[PlotLine<'_>],
    top: u64,
) {
    let area = area.intersection(buffer.area);
    if area.height == 0 {
        return;
    }
    let mut put = |x: usize, line: u16, sign: char, role: StyleRole, meets: bool| {
        let x = area.x.saturating_add(u16::try_from(x).unwrap_or(u16::MAX));
        if x >= area.right() {
            return;
        }
        if let Some(cell) = buffer.cell_mut((x, area.y + line)) {
            let taken = meets
                && lines.iter().any(|it| it.sign != sign && cell.symbol() == it.sign.to_string());
            let sign = if taken || cell.symbol() == "*" { CROSSING_SIGN } else { sign };
            cell.set_char(sign).set_style(theme.style(role));
        }
    };
    for band in bands {
        for (x, (low, high)) in band.low.iter().zip(band.high).enumerate() {
            let Some((low, high)) = low.zip(*high) else { continue };
            let rows =
                line_for_value(high, top, area.height)..=line_for_value(low, top, area.height);
            rows.for_each(|line| put(x, line, band.sign, band.role, false));
        }
    }
    for line in lines {
        let mut before: Option<u16> = None;
        for (x, value) in line.values.iter().enumerate() {
            let here = value.map(|value| line_for_value(value, top, area.height));
            if let Some(here) = here {
                // A steep line is drawn without gaps.
                let from = match before {
                    Some(before) if before > here + 1 => before - 1,
                    Some(before) if before + 1 < here => before + 1,
                    _ => here,
                };
                for row in from.min(here)..=from.max(here) {
                    put(x, row, line.sign, line.role, true);
                }
            }
            before = here;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::Palette;

    fn drawn(
        width: u16,
        height: u16,
        bands: &[PlotBand<'_>],
        lines: &[PlotLine<'_>],
        top: u64,
    ) -> Vec<String> {
        let theme = Theme::new(Palette::Mono, false);
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        draw_plot(&mut buffer, area, theme, bands, lines, top);
        (0..height).map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect()).collect()
    }

    #[test]
    fn lines_are_told_apart_and_meet() {
        let a = [Some(0), Some(1), Some(2), None];
        let b = [Some(2), Some(1), Some(2), Some(0)];
        let line = |values, sign| PlotLine { values, sign, role: StyleRole::Text };
        let text = drawn(4, 3, &[], &[line(&a, 'a'), line(&b, 'b')], 2);
        assert_eq!(text, ["b * ", " * b", "a  b"]);
    }

    #[test]
    fn steep_lines_have_no_gaps_and_bands_lie_behind() {
        let steep = [Some(0), Some(4)];
        let line = PlotLine { values: &steep, sign: 'a', role: StyleRole::Text };
        assert_eq!(drawn(2, 5, &[], &[line], 4), [" a", " a", " a", " a", "a "]);
        let (low, high, middle) = ([Some(0); 2], [Some(2); 2], [Some(1); 2]);
        let band = PlotBand { low: &low, high: &high, sign: '.', role: StyleRole::Dim };
        let line = PlotLine { values: &middle, ..line };
        assert_eq!(drawn(2, 3, &[band], &[line], 2), ["..", "aa", ".."]);
        drawn(1, 1, &[band], &[line], 0);
        drawn(0, 0, &[band], &[line], 0);
    }
}
