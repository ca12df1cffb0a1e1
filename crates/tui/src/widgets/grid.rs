//! Table with a selected row, scrolled so that the selection is in view.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::text::{display_width, pad};
use crate::theme::{StyleRole, Theme};

/// Column of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GridColumn {
    /// Heading of the column.
    pub title: String,
    /// Whether the column is aligned as a number.
    pub number: bool,
    /// Least useful width; columns that do not fit with it are left out from
    /// the right.
    pub least: usize,
    /// Whether the column takes the remaining width.
    pub grows: bool,
}

/// Cell: text with a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GridCell {
    /// Text of the cell.
    pub text: String,
    /// Meaning of the text, which determines its style.
    pub role: StyleRole,
}

/// Table to be drawn.
#[derive(Debug, Clone, Default)]
pub(crate) struct SelectionGrid {
    /// Columns of the table.
    pub columns: Vec<GridColumn>,
    /// Rows, with a cell for each column.
    pub rows: Vec<Vec<GridCell>>,
    /// Selected row.
    pub selected: Option<usize>,
    /// Selected column, if cells are selected.
    pub column: Option<usize>,
    /// First column after the fixed one that is drawn: columns before it are
    /// scrolled away.
    pub skip: usize,
}

impl GridColumn {
    /// Creates a column of text.
    #[must_use]
    pub(crate) fn for_text(title: impl Into<String>, least: usize) -> Self {
        Self { title: title.into(), number: false, least, grows: false }
    }

    /// Creates a column of numbers.
    #[must_use]
    pub(crate) fn for_numbers(title: impl Into<String>, least: usize) -> Self {
        Self { title: title.into(), number: true, least, grows: false }
    }

    /// Lets the column take the remaining width.
    #[must_use]
    pub fn growing(self) -> Self {
        Self { grows: true, ..self }
    }
}

impl GridCell {
    /// Creates a cell of plain text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), role: StyleRole::Text }
    }

    /// Creates a cell of text with a role.
    #[must_use]
    pub(crate) fn with_role(text: impl Into<String>, role: StyleRole) -> Self {
        Self { text: text.into(), role }
    }
}

/// Returns the first row in view when row `selected` of `count` has to be, in
/// `height` lines.
#[must_use]
pub(crate) const fn first_visible_row(selected: usize, count: usize, height: usize) -> usize {
    if count <= height || height == 0 {
        return 0;
    }
    let middle = selected.saturating_sub(height / 2);
    if middle > count - height { count - height } else { middle }
}

/// Returns the row at line `y` of `area`, whose first line is the heading.
#[must_use]
pub fn row_at(area: Rect, y: u16, selected: usize, count: usize) -> Option<usize> {
    let height = usize::from(area.height.saturating_sub(1));
    let line = usize::from(y.checked_sub(area.y + 1)?);
    let row = first_visible_row(selected, count, height) + line;
    (line < height && row < count).then_some(row)
}

impl SelectionGrid {
    /// Returns the columns that fit into `room`, with the width of each.
    fn visible_columns(&self, room: usize) -> Vec<(usize, usize)> {
        let natural = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            let widest = cells.map(|cell| display_width(&cell.text)).max().unwrap_or(0);
            let column = &self.columns[at];
            // Growing columns take what they need from the remaining width.
            let wish = if column.grows { column.least } else { widest.max(column.least) };
            wish.max(display_width(&column.title).min(column.least.max(1)))
        };
        let order = (0..self.columns.len()).filter(|at| *at == 0 || *at > self.skip);
        let mut shown: Vec<(usize, usize)> = Vec::new();
        let mut used = 1;
        for at in order {
            let least = self.columns[at].least;
            if used + 1 + least > room && !shown.is_empty() {
                break;
            }
            let wide = natural(at).min(room.saturating_sub(used + 1)).max(least.min(room));
            used += 1 + wide;
            shown.push((at, wide));
        }
        let growing = shown.iter().position(|(at, _)| self.columns[*at].grows);
        if let Some(growing) = growing {
            shown[growing].1 += room.saturating_sub(used);
        }
        shown
    }

    /// Draws the table in an area.
    pub fn render(&self, frame: &mut Frame<'_>, area: Rect, theme: &Theme) {
        let room = usize::from(area.width);
        if room == 0 || area.height == 0 {
            return;
        }
        let layout = self.visible_columns(room);
        let heading = layout.iter().map(|(at, wide)| {
            let column = &self.columns[*at];
            format!(" {}", pad(&column.title, *wide, column.number))
        });
        let mut lines = vec![Line::from(Span::styled(
            heading.collect::<String>(),
            theme.style(StyleRole::Dim),
        ))];
        let height = usize::from(area.height - 1);
        let first = first_visible_row(self.selected.unwrap_or(0), self.rows.len(), height);
        for (index, row) in self.rows.iter().enumerate().skip(first).take(height) {
            lines.push(self.row_line(row, index, &layout, theme));
        }
        frame.render_widget(ratatui::widgets::Paragraph::new(lines), area);
    }

    fn row_line(
        &self,
        row: &[GridCell],
        index: usize,
        layout: &[(usize, usize)],
        theme: &Theme,
    ) -> Line<'static> {
        let selected = self.selected == Some(index);
        let mut spans = Vec::with_capacity(layout.len() + 1);
        for (place, (at, wide)) in layout.iter().enumerate() {
            let Some(cell) = row.get(*at) else { continue };
            let text = pad(&cell.text, *wide, self.columns[*at].number);
            let chosen = selected && self.column.is_none_or(|column| column == *at);
            let mut style = theme.style(cell.role);
            if chosen {
                style = style.patch(theme.style(StyleRole::Selected));
            }
            // Without colours and without reversed text the pointer still marks
            // the row.
            let points =
                selected && (self.column == Some(*at) || (self.column.is_none() && place == 0));
            let lead = if points { theme.pointer() } else { " " };
            spans.push(Span::styled(lead.to_owned(), Style::new()));
            spans.push(Span::styled(text, style));
        }
        Line::from(spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::Palette;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn grid(rows: usize) -> SelectionGrid {
        SelectionGrid {
            columns: vec![
                GridColumn::for_text("name", 4).growing(),
                GridColumn::for_numbers("n", 3),
            ],
            rows: (0..rows)
                .map(|row| {
                    vec![GridCell::new(format!("row {row}")), GridCell::new(row.to_string())]
                })
                .collect(),
            selected: Some(0),
            ..SelectionGrid::default()
        }
    }

    fn drawn(grid: &SelectionGrid, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a buffer");
        let theme = Theme::new(Palette::Mono, true);
        terminal.draw(|frame| grid.render(frame, frame.area(), &theme)).expect("drawn");
        let buffer = terminal.backend().buffer().clone();
        (0..height).map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect()).collect()
    }

    #[test]
    fn the_selected_row_is_marked_and_in_sight() {
        let mut grid = grid(20);
        assert_eq!(drawn(&grid, 14, 3), [" name       n ", ">row 0      0 ", " row 1      1 "]);
        grid.selected = Some(19);
        assert_eq!(drawn(&grid, 14, 3)[1..], [" row 18    18 ", ">row 19    19 "]);
    }

    #[test]
    fn columns_that_do_not_fit_are_left_out_and_nothing_panics() {
        let grid = grid(3);
        assert_eq!(drawn(&grid, 6, 2)[0], " name ");
        for (width, height) in [(1, 1), (2, 1), (1, 2), (3, 3)] {
            drawn(&grid, width, height);
        }
    }

    #[test]
    fn clicks_find_the_row_that_is_drawn_there() {
        let area = Rect::new(0, 5, 10, 4);
        assert_eq!(row_at(area, 5, 0, 20), None, "the heading");
        assert_eq!(row_at(area, 6, 0, 20), Some(0));
        assert_eq!(row_at(area, 8, 19, 20), Some(19));
        assert_eq!(row_at(area, 9, 0, 20), None);
        assert_eq!(row_at(area, 8, 0, 2), None);
    }
}
