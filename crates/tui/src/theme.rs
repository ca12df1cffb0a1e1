//! Colours and signs, chosen by meaning.
//!
//! Colours are the terminal's own sixteen, so that light and dark themes both
//! work. Nothing is expressed by colour alone: whatever is selected, marked,
//! failed or part of a bar has a sign of its own as well.

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;
use ratatui::widgets::{Block, Borders};
use serde::Deserialize;

/// Set of colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Palette {
    /// The terminal's own colours.
    #[default]
    Terminal,
    /// Brighter variants of the terminal's colours, for low contrast.
    Bright,
    /// No colours.
    Mono,
}

/// Meaning of a piece of text, which determines its style.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StyleRole {
    /// Plain text.
    Text,
    /// Less important text: labels, units.
    Dim,
    /// Headings and the names of panels.
    Title,
    /// The frame of a panel.
    Border,
    /// The frame of the focused panel.
    Focus,
    /// The selected row.
    Selected,
    /// Success, or something that runs.
    Good,
    /// A warning.
    Warn,
    /// A failure.
    Bad,
    /// A coarse bill.
    Coarse,
    /// A fine bill.
    Fine,
    /// A key in footer and help.
    Key,
    /// A part of a bill, in the order of [`cyclometer_pricing::Waste::named_parts`].
    Part(usize),
    /// A lane, by its position.
    Lane(usize),
}

/// Colours, and signs that the terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    palette: Palette,
    ascii: bool,
    parts: [char; 7],
    levels: [char; 9],
}

/// Signs of the parts of a bill without colour: used, idle, head-room,
/// rounding, start-up, fees, unmeasured.
const PARTS: [char; 7] = ['█', '·', '░', '▒', '▓', '=', '?'];
const ASCII_PARTS: [char; 7] = ['#', '.', ':', '%', '@', '=', '?'];
/// Columns of a chart from empty to full.
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII_LEVELS: [char; 9] = [' ', '.', '.', ':', ':', '|', '|', '#', '#'];
const PART_COLORS: [Color; 7] = [
    Color::Green,
    Color::DarkGray,
    Color::Blue,
    Color::Yellow,
    Color::Red,
    Color::Magenta,
    Color::DarkGray,
];
const LANE_COLORS: [Color; 6] =
    [Color::Cyan, Color::Green, Color::Yellow, Color::Magenta, Color::Blue, Color::Red];

impl Theme {
    /// Creates a theme.
    #[must_use]
    pub const fn new(palette: Palette, ascii: bool) -> Self {
        let (parts, levels) = if ascii { (ASCII_PARTS, ASCII_LEVELS) } else { (PARTS, LEVELS) };
        Self { palette, ascii, parts, levels }
    }

    /// Returns whether only ASCII signs are used.
    #[must_use]
    pub const fn is_ascii(&self) -> bool {
        self.ascii
    }

    /// Returns the style of a role.
    #[must_use]
    pub fn style(&self, role: StyleRole) -> Style {
        let plain = Style::new();
        if self.palette == Palette::Mono {
            return match role {
                StyleRole::Title | StyleRole::Focus | StyleRole::Key | StyleRole::Bad => {
                    plain.add_modifier(Modifier::BOLD)
                }
                StyleRole::Selected => plain.add_modifier(Modifier::REVERSED),
                _ => plain,
            };
        }
        match role {
            StyleRole::Text => plain,
            StyleRole::Dim | StyleRole::Border => plain.fg(self.brighten(Color::DarkGray)),
            StyleRole::Title => plain.add_modifier(Modifier::BOLD),
            StyleRole::Selected => plain.add_modifier(Modifier::REVERSED),
            StyleRole::Good => plain.fg(self.brighten(Color::Green)),
            StyleRole::Warn => plain.fg(self.brighten(Color::Yellow)),
            StyleRole::Bad => plain.fg(self.brighten(Color::Red)).add_modifier(Modifier::BOLD),
            StyleRole::Coarse => plain.fg(self.brighten(Color::Magenta)),
            StyleRole::Focus | StyleRole::Fine => plain.fg(self.brighten(Color::Cyan)),
            StyleRole::Key => plain.fg(self.brighten(Color::Cyan)).add_modifier(Modifier::BOLD),
            StyleRole::Part(at) => plain.fg(self.brighten(PART_COLORS[at % PART_COLORS.len()])),
            StyleRole::Lane(at) => plain.fg(self.brighten(LANE_COLORS[at % LANE_COLORS.len()])),
        }
    }

    fn brighten(&self, color: Color) -> Color {
        if self.palette != Palette::Bright {
            return color;
        }
        match color {
            Color::DarkGray => Color::Gray,
            Color::Red => Color::LightRed,
            Color::Green => Color::LightGreen,
            Color::Yellow => Color::LightYellow,
            Color::Blue => Color::LightBlue,
            Color::Magenta => Color::LightMagenta,
            Color::Cyan => Color::LightCyan,
            other => other,
        }
    }

    /// Returns a sign, or its substitute in ASCII.
    #[must_use]
    pub const fn sign<'a>(&self, sign: &'a str, ascii: &'a str) -> &'a str {
        if self.ascii { ascii } else { sign }
    }

    /// Returns the marker of the selected row.
    #[must_use]
    pub(crate) const fn pointer(&self) -> &'static str {
        self.sign("▶", ">")
    }

    /// Returns the sign of a part of a bill.
    #[must_use]
    pub(crate) const fn part_sign(&self, at: usize) -> char {
        self.parts[at % 7]
    }

    /// Returns the columns of a chart from empty to full.
    #[must_use]
    pub(crate) const fn level_signs(&self) -> [char; 9] {
        self.levels
    }

    /// Creates a panel.
    #[must_use]
    pub(crate) fn panel_block<'a>(&self, title: impl Into<String>, focused: bool) -> Block<'a> {
        let mark = if focused { self.sign("● ", "* ") } else { "" };
        let role = if focused { StyleRole::Focus } else { StyleRole::Border };
        Block::new()
            .borders(Borders::ALL)
            .border_set(self.border_set())
            .border_style(self.style(role))
            .title_style(self.style(StyleRole::Title))
            .title(format!(" {mark}{} ", title.into()))
    }

    const fn border_set(&self) -> border::Set<'static> {
        if self.ascii {
            border::Set {
                top_left: "+",
                top_right: "+",
                bottom_left: "+",
                bottom_right: "+",
                vertical_left: "|",
                vertical_right: "|",
                horizontal_top: "-",
                horizontal_bottom: "-",
            }
        } else {
            border::PLAIN
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles() -> Vec<StyleRole> {
        let mut roles = vec![
            StyleRole::Text,
            StyleRole::Dim,
            StyleRole::Title,
            StyleRole::Border,
            StyleRole::Focus,
            StyleRole::Selected,
            StyleRole::Good,
            StyleRole::Warn,
            StyleRole::Bad,
            StyleRole::Coarse,
            StyleRole::Fine,
            StyleRole::Key,
        ];
        roles.extend((0..7).flat_map(|at| [StyleRole::Part(at), StyleRole::Lane(at)]));
        roles
    }

    #[test]
    fn without_colours_there_are_none() {
        let theme = Theme::new(Palette::Mono, false);
        for role in roles() {
            let style = theme.style(role);
            assert_eq!((style.fg, style.bg), (None, None), "{role:?}");
        }
    }

    #[test]
    fn colours_are_the_terminals_own_and_never_the_background() {
        for palette in [Palette::Terminal, Palette::Bright] {
            for role in roles() {
                let style = Theme::new(palette, false).style(role);
                assert_eq!(style.bg, None, "{role:?}");
                let own = !matches!(style.fg, Some(Color::Rgb(..) | Color::Indexed(_)));
                assert!(own, "{role:?}");
                // White text would be invisible in a light theme.
                assert_ne!(style.fg, Some(Color::White), "{role:?}");
            }
        }
    }

    #[test]
    fn parts_are_told_apart_without_colour() {
        for ascii in [false, true] {
            let theme = Theme::new(Palette::Mono, ascii);
            let mut signs: Vec<char> = (0..7).map(|at| theme.part_sign(at)).collect();
            assert!(!ascii || signs.iter().all(char::is_ascii));
            signs.sort_unstable();
            signs.dedup();
            assert_eq!(signs.len(), 7);
        }
    }
}
