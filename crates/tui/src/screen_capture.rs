//! Capture of the screen as text and as an SVG picture.

use std::fmt::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use cyclometer_core::visible_text::escape_xml;

/// Width and height of a character in the picture, in pixels.
const CELL: (usize, usize) = (9, 19);

/// Colours of the picture where the terminal uses its default ones.
const TEXT: &str = "#d0d0d0";
const PAPER: &str = "#16181d";

/// Returns the lines of the screen, without trailing blanks.
#[must_use]
pub fn to_text(buffer: &Buffer) -> String {
    let area = buffer.area;
    let mut text = String::new();
    for y in area.top()..area.bottom() {
        let line: String = (area.left()..area.right()).map(|x| buffer[(x, y)].symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Style of a cell in the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CellStyle {
    text: &'static str,
    paper: Option<&'static str>,
    bold: bool,
    dim: bool,
}

impl CellStyle {
    fn from_cell(cell: &Cell) -> Self {
        let mut text = color_hex(cell.fg).unwrap_or(TEXT);
        let mut paper = color_hex(cell.bg);
        if cell.modifier.contains(Modifier::REVERSED) {
            (text, paper) = (paper.unwrap_or(PAPER), Some(text));
        }
        Self {
            text,
            paper,
            bold: cell.modifier.contains(Modifier::BOLD),
            dim: cell.modifier.contains(Modifier::DIM),
        }
    }
}

/// Returns a picture of the screen as SVG.
#[must_use]
pub(crate) fn to_svg(buffer: &Buffer) -> String {
    let area = buffer.area;
    let (wide, high) = CELL;
    let (width, height) =
        (usize::from(area.width) * wide + 16, usize::from(area.height) * high + 16);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"'DejaVu Sans Mono', Menlo, Consolas, \
         monospace\" font-size=\"15\">\n<rect width=\"100%\" height=\"100%\" rx=\"6\" \
         fill=\"{PAPER}\"/>\n"
    );
    for y in area.top()..area.bottom() {
        write_line(&mut svg, buffer, y);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Writes a line of the screen; runs of cells that look alike are drawn at once.
fn write_line(svg: &mut String, buffer: &Buffer, y: u16) {
    let area = buffer.area;
    let mut x = area.left();
    while x < area.right() {
        let look = CellStyle::from_cell(&buffer[(x, y)]);
        let first = x;
        let mut run = Vec::new();
        while x < area.right() && CellStyle::from_cell(&buffer[(x, y)]) == look {
            run.push(buffer[(x, y)].symbol());
            x += 1;
        }
        write_run(svg, look, &run, (first - area.left(), y - area.top()));
    }
}

fn write_run(svg: &mut String, look: CellStyle, run: &[&str], (column, line): (u16, u16)) {
    let (wide, high) = CELL;
    let (x, y) = (usize::from(column) * wide + 8, usize::from(line) * high + 8);
    if let Some(paper) = look.paper {
        write_rect(svg, (x, y, run.len() * wide, high), paper, "");
    }
    // Each word is an element at its own place: columns stay aligned with any
    // font, even in renderers that respect only the first position of an
    // element (librsvg).
    let mut word = String::new();
    let mut from = 0;
    for (at, symbol) in run.iter().enumerate() {
        let left = x + at * wide;
        if symbol.trim().is_empty() || write_shape(svg, symbol, (left, y), look.text) {
            write_text(svg, look, &std::mem::take(&mut word), (x + from * wide, y));
            continue;
        }
        if !symbol.is_ascii() || word.is_empty() {
            // Other signs may be wider than the font's letters.
            write_text(svg, look, &std::mem::take(&mut word), (x + from * wide, y));
            from = at;
        }
        word.push_str(symbol);
        if !symbol.is_ascii() {
            write_text(svg, look, &std::mem::take(&mut word), (left, y));
        }
    }
    write_text(svg, look, &word, (x + from * wide, y));
}

fn write_text(svg: &mut String, look: CellStyle, text: &str, (x, y): (usize, usize)) {
    if text.is_empty() {
        return;
    }
    let bold = if look.bold { " font-weight=\"bold\"" } else { "" };
    let dim = if look.dim { " opacity=\"0.6\"" } else { "" };
    let letters = text.chars().count();
    // Stretched to the width of its columns, where the font has other widths.
    let fit = match letters {
        1 => String::new(),
        _ => format!(" textLength=\"{}\"", letters * CELL.0),
    };
    let _ = writeln!(
        svg,
        "<text x=\"{x}\" y=\"{}\" fill=\"{}\"{bold}{dim}{fit}>{}</text>",
        y + 15,
        look.text,
        escape_xml(text)
    );
}

fn write_rect(
    svg: &mut String,
    (x, y, width, height): (usize, usize, usize, usize),
    fill: &str,
    more: &str,
) {
    let _ = writeln!(
        svg,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{fill}\"{more}/>"
    );
}

/// Draws a sign that is a shape rather than a letter, so that shapes of
/// neighbouring cells meet; returns whether it is one.
fn write_shape(svg: &mut String, symbol: &str, (x, y): (usize, usize), color: &str) -> bool {
    const EIGHTHS: &str = "▁▂▃▄▅▆▇█";
    const SHADES: [(&str, &str); 3] = [("░", "0.3"), ("▒", "0.5"), ("▓", "0.75")];
    let (wide, high) = CELL;
    if let Some(level) = EIGHTHS.chars().position(|it| symbol.starts_with(it)) {
        let filled = (high * (level + 1)).div_ceil(8);
        write_rect(svg, (x, y + high - filled, wide, filled), color, "");
        return true;
    }
    if let Some((_, opacity)) = SHADES.iter().find(|(shade, _)| *shade == symbol) {
        write_rect(svg, (x, y, wide, high), color, &format!(" opacity=\"{opacity}\""));
        return true;
    }
    let (middle, half) = (x + wide / 2, y + high / 2);
    let (right, bottom) = (x + wide, y + high);
    let path = match symbol {
        "─" => format!("M{x} {half}H{right}"),
        "│" => format!("M{middle} {y}V{bottom}"),
        "┌" => format!("M{right} {half}H{middle}V{bottom}"),
        "┐" => format!("M{x} {half}H{middle}V{bottom}"),
        "└" => format!("M{right} {half}H{middle}V{y}"),
        "┘" => format!("M{x} {half}H{middle}V{y}"),
        _ => return false,
    };
    let _ = writeln!(svg, "<path d=\"{path}\" stroke=\"{color}\" fill=\"none\"/>");
    true
}

const fn color_hex(color: Color) -> Option<&'static str> {
    Some(match color {
        Color::Black => "#1b1d23",
        Color::Red => "#e06c75",
        Color::Green => "#98c379",
        Color::Yellow => "#e5c07b",
        Color::Blue => "#61afef",
        Color::Magenta => "#c678dd",
        Color::Cyan => "#56b6c2",
        Color::Gray => "#abb2bf",
        Color::DarkGray => "#7f848e",
        Color::LightRed => "#ff7b86",
        Color::LightGreen => "#b5e890",
        Color::LightYellow => "#ffd68a",
        Color::LightBlue => "#7cc4ff",
        Color::LightMagenta => "#dd91f3",
        Color::LightCyan => "#6fd3df",
        Color::White => "#ffffff",
        Color::Reset | Color::Rgb(..) | Color::Indexed(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    fn buffer() -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 8, 2));
        buffer.set_string(0, 0, "a<b & c", Style::new());
        buffer.set_string(0, 1, "run", Style::new().fg(Color::Green).add_modifier(Modifier::BOLD));
        buffer.set_string(3, 1, "it", Style::new().add_modifier(Modifier::REVERSED));
        buffer
    }

    #[test]
    fn text_has_the_lines() {
        assert_eq!(to_text(&buffer()), "a<b & c\nrunit\n");
    }

    #[test]
    fn a_picture_has_colours_marks_and_no_raw_text() {
        let svg = to_svg(&buffer());
        // A word a place: columns of 9, the first at 8.
        let word = |x, text: &str| {
            svg.contains(&format!("<text x=\"{x}\" y=\"23\"")) && svg.contains(text)
        };
        assert!(word(8, " textLength=\"27\">a&lt;b</text>"), "{svg}");
        assert!(word(8 + 4 * 9, ">&amp;</text>") && word(8 + 6 * 9, ">c</text>"), "{svg}");
        assert!(
            svg.contains("fill=\"#98c379\" font-weight=\"bold\" textLength=\"27\">run<"),
            "{svg}"
        );
        // An element has one position: some programs use only the first of several.
        assert!(!svg.contains("x=\"8 "), "{svg}");
        // Reversed: a box in the colour of the text, and text in that of the paper.
        let paper = "<rect x=\"35\" y=\"27\" width=\"18\" height=\"19\" fill=\"#d0d0d0\"/>";
        assert!(svg.contains(paper));
        assert!(svg.contains(&format!("fill=\"{PAPER}\" textLength=\"18\">it<")));
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
    }

    #[test]
    fn bars_and_frames_are_shapes_that_meet() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 4, 1));
        buffer.set_string(0, 0, "█▄░─", Style::new());
        let svg = to_svg(&buffer);
        assert!(svg.contains("<rect x=\"8\" y=\"8\" width=\"9\" height=\"19\""), "{svg}");
        // Half of 19 lines, rounded up, from the bottom.
        assert!(svg.contains("<rect x=\"17\" y=\"17\" width=\"9\" height=\"10\""), "{svg}");
        assert!(svg.contains(
            "<rect x=\"26\" y=\"8\" width=\"9\" height=\"19\" fill=\"#d0d0d0\" opacity=\"0.3\"/>"
        ));
        assert!(svg.contains("<path d=\"M35 17H44\""), "{svg}");
        assert!(!svg.contains("<text"), "{svg}");
    }
}
