//! A table with one content and several output formats: text, Markdown, CSV and JSON.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::num::NonZeroU64;

use comfy_table::{CellAlignment, ContentArrangement, presets};
use serde_json::{Map, Value};

use super::row_writer::RowWriter;
use cyclometer_core::units::{Bytes, Count, Nanos};
use cyclometer_core::visible_text::{escape_line, escape_lines, escape_markdown};
use cyclometer_pricing::{Exact, Money};
use cyclometer_system::output::json_text;

/// Output format of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Aligned text with units.
    #[default]
    Table,
    /// One array of objects, values in base units
    Json,
    /// A header, then one line per row, values in base units; an apostrophe precedes text that a
    /// spreadsheet would take for a formula
    Csv,
    /// One object per line, values in base units
    Jsonl,
    /// A Markdown table with units, for summaries of CI and for documents.
    Markdown,
}

impl Format {
    /// Returns whether the format is for people: units, few digits, no hidden columns.
    #[must_use]
    pub const fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::Markdown)
    }
}

/// A column: its heading for people, its key for programs.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Heading; if empty, only programs see the column.
    pub title: &'static str,
    /// Key, which carries the unit.
    pub key: &'static str,
    /// Whether the column is aligned as a number.
    pub number: bool,
}

impl Column {
    /// Returns a column of text.
    #[must_use]
    pub const fn text(title: &'static str, key: &'static str) -> Self {
        Self { title, key, number: false }
    }

    /// Returns a column of numbers.
    #[must_use]
    pub const fn number(title: &'static str, key: &'static str) -> Self {
        Self { title, key, number: true }
    }

    /// Returns a column that only programs see.
    #[must_use]
    pub const fn hidden(key: &'static str) -> Self {
        Self { title: "", key, number: false }
    }
}

/// One value, as text for people and as JSON for programs.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    value: Value,
}

impl Cell {
    /// Returns a cell with the same text in all formats.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { value: Value::String(text.clone()), text: shorten_text(text) }
    }

    /// Returns a cell with a value and its unit for people, and the bare value for
    /// programs.
    #[must_use]
    pub fn new(text: impl std::fmt::Display, value: impl Into<Value>) -> Self {
        Self { text: shorten_text(text.to_string()), value: value.into() }
    }

    /// Returns a cell for a value that may be missing: `-` for people, null for programs.
    #[must_use]
    pub fn optional<T: Into<Value>>(found: Option<(String, T)>) -> Self {
        match found {
            Some((text, value)) => Self { text: shorten_text(text), value: value.into() },
            None => Self { text: "-".to_owned(), value: Value::Null },
        }
    }

    /// Returns a cell for text that may be missing, the same in all formats.
    #[must_use]
    pub fn optional_text(text: Option<String>) -> Self {
        Self::optional(text.map(|text| (text.clone(), text)))
    }

    /// Returns a cell for a time: with its unit for people, in nanoseconds for programs.
    #[must_use]
    pub fn optional_time(time: Option<Nanos>) -> Self {
        Self::optional(time.map(|time| (time.to_string(), time.0)))
    }

    /// Returns a cell for a size: with its unit for people, in bytes for programs.
    #[must_use]
    pub fn optional_size(size: Option<Bytes>) -> Self {
        Self::optional(size.map(|size| (size.to_string(), size.0)))
    }

    /// Returns a cell for a large count: with a suffix such as `M` for people, all digits
    /// for programs.
    #[must_use]
    pub fn optional_count(count: Option<u64>) -> Self {
        Self::optional(count.map(|count| (Count(count).to_string(), count)))
    }

    /// Returns a cell for an amount: to so many significant digits for people, all digits
    /// for programs.
    #[must_use]
    pub fn optional_money(amount: Option<&Money>, digits: NonZeroU64) -> Self {
        let shown = |it: &Money| (it.to_significant_string(digits), it.to_plain_string());
        Self::optional(amount.map(shown))
    }

    /// Returns a cell for the mean bill of a million: to four decimals for people, all
    /// digits for programs.
    #[must_use]
    pub(crate) fn optional_mean_bill(mean: Option<&Exact>) -> Self {
        Self::optional(mean.map(|it| (it.to_rounded_string(4), it.to_plain_string())))
    }
}

/// Maximum size in bytes of a cell's text: a longer name or message was made to be long,
/// and laying it out takes minutes.
const LONGEST: usize = 4_096;

/// Cuts a long text and appends an ellipsis and its size; programs get the whole text.
fn shorten_text(mut text: String) -> String {
    let size = text.len();
    if size > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        let _ = write!(text, "\u{2026} ({size} bytes in all)");
    }
    text
}

/// A column of a table; unlike [`Column`], its names may be built at run time.
#[derive(Debug, Clone)]
struct Heading {
    title: Cow<'static, str>,
    key: Cow<'static, str>,
    number: bool,
}

/// Rows under columns.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<Heading>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Creates a table without rows.
    #[must_use]
    pub fn new(columns: &[Column]) -> Self {
        let heading = |column: &Column| Heading {
            title: column.title.into(),
            key: column.key.into(),
            number: column.number,
        };
        Self { columns: columns.iter().map(heading).collect(), rows: Vec::new() }
    }

    /// Creates a table without rows whose columns have one name for people and programs;
    /// the flag says whether a column is aligned as a number.
    #[must_use]
    pub fn with_headings(columns: impl IntoIterator<Item = (String, bool)>) -> Self {
        let heading = |(name, number): (String, bool)| Heading {
            title: name.clone().into(),
            key: name.into(),
            number,
        };
        Self { columns: columns.into_iter().map(heading).collect(), rows: Vec::new() }
    }

    /// Adds a row: one cell a column.
    pub fn push(&mut self, row: Vec<Cell>) {
        debug_assert_eq!(row.len(), self.columns.len(), "a cell for each column");
        self.rows.push(row);
    }

    /// Returns whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Prints the table.
    ///
    /// # Errors
    /// Returns an error if `out` accepts no more bytes.
    pub fn print(&self, format: Format, out: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Table => writeln!(out, "{}", self.render_wrapped(terminal_width())),
            Format::Markdown => writeln!(out, "{}", self.to_markdown()),
            Format::Json => {
                writeln!(out, "{}", json_text(&self.to_json(), true))
            }
            Format::Csv | Format::Jsonl => {
                let keys = self.columns.iter().map(|column| column.key.to_string()).collect();
                let mut writer = RowWriter::start(format, keys, Box::new(out))?;
                for row in &self.rows {
                    writer.write_row(row.iter().map(|cell| &cell.value))?;
                }
                writer.finish()
            }
        }
    }

    /// Renders a Markdown table of the visible columns; an empty string without columns.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let shown: Vec<usize> = (0..self.columns.len())
            .filter(|index| !self.columns[*index].title.is_empty())
            .collect();
        let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
        let heading = |index: &usize| {
            let lines = self.columns[*index].title.lines().map(escape_markdown);
            lines.collect::<Vec<_>>().join("<br>")
        };
        let rule =
            |index: &usize| if self.columns[*index].number { "--:" } else { ":--" }.to_owned();
        let mut lines =
            vec![line(shown.iter().map(heading).collect()), line(shown.iter().map(rule).collect())];
        for row in &self.rows {
            let text = |index: &usize| escape_markdown(&row[*index].text);
            lines.push(line(shown.iter().map(text).collect()));
        }
        lines.join("\n")
    }

    /// Renders text no wider than `width`, as far as single columns allow: columns that
    /// do not fit beside the first `shared` ones follow below, in further tables that
    /// begin with those columns again.
    #[must_use]
    pub fn render_within(&self, width: usize, shared: usize) -> String {
        let shown: Vec<usize> = (0..self.columns.len())
            .filter(|index| !self.columns[*index].title.is_empty())
            .collect();
        let (names, rest) = shown.split_at(shared.min(shown.len()));
        let mut parts: Vec<Vec<usize>> = vec![names.to_vec()];
        for index in rest {
            let Some(part) = parts.last_mut() else { break };
            part.push(*index);
            if part.len() > shared + 1
                && max_width(&self.render_columns(&|it| part.contains(&it))) > width
            {
                part.pop();
                parts.push([names, &[*index]].concat());
            }
        }
        let texts: Vec<_> =
            parts.iter().map(|part| self.render_columns(&|index| part.contains(&index))).collect();
        texts.join("\n\n")
    }

    /// Renders text in which rows with the same first `keys` cells stand together below a
    /// line with those cells, so that the names of a cell need no columns.
    #[must_use]
    pub fn render_grouped(&self, keys: usize) -> String {
        self.group_rows(keys, None)
    }

    /// Like `render_grouped`, but puts the last column below each row if the text would
    /// be wider than `width`.
    #[must_use]
    pub fn render_grouped_within(&self, width: usize, keys: usize) -> String {
        let whole = self.group_rows(keys, None);
        let last = self.columns.iter().rposition(|column| !column.title.is_empty());
        match last.filter(|last| *last > keys && max_width(&whole) > width) {
            Some(last) => self.group_rows(keys, Some(last)),
            None => whole,
        }
    }

    fn group_rows(&self, keys: usize, below: Option<usize>) -> String {
        let text = self.render_columns(&|index| index >= keys && below != Some(index));
        let mut lines = text.lines();
        let mut result: Vec<String> = lines.next().map(ToOwned::to_owned).into_iter().collect();
        let mut last = String::new();
        for (row, line) in self.rows.iter().zip(lines) {
            let shown = row.iter().zip(&self.columns).take(keys);
            let names: Vec<_> = shown
                .filter(|(_, column)| !column.title.is_empty())
                .map(|(cell, _)| escape_line(&cell.text))
                .collect();
            let group = names.join(", ");
            if group != last {
                result.extend([String::new(), group.clone()]);
                last = group;
            }
            result.push(line.to_owned());
            result.extend(below.map(|index| format!("    {}", escape_line(&row[index].text))));
        }
        result.join("\n")
    }

    /// Renders text in which long cells are wrapped if the table is wider than `width`.
    #[must_use]
    pub fn render_wrapped(&self, width: usize) -> String {
        let whole = self.render_columns(&|_| true);
        if max_width(&whole) <= width {
            return whole;
        }
        let mut table = self.lay_out(&|_| true);
        let width = u16::try_from(width).unwrap_or(u16::MAX);
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        trimmed_lines(&table)
    }

    fn render_columns(&self, wanted: &dyn Fn(usize) -> bool) -> String {
        trimmed_lines(&self.lay_out(wanted))
    }

    fn lay_out(&self, wanted: &dyn Fn(usize) -> bool) -> comfy_table::Table {
        let shown: Vec<usize> = (0..self.columns.len())
            .filter(|index| !self.columns[*index].title.is_empty() && wanted(*index))
            .collect();
        let mut table = comfy_table::Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(shown.iter().map(|index| escape_heading(&self.columns[*index].title)));
        for row in &self.rows {
            table.add_row(shown.iter().map(|index| escape_line(&row[*index].text)));
        }
        for (position, index) in shown.iter().enumerate() {
            if let Some(column) = table.column_mut(position) {
                let padding = if position == 0 { (0, 1) } else { (1, 1) };
                column.set_padding(padding);
                if self.columns[*index].number {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        table
    }

    /// Returns the rows as JSON objects.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let object = |row: &Vec<Cell>| {
            let pairs = self.columns.iter().zip(row);
            Value::Object(
                pairs
                    .map(|(column, cell)| (column.key.to_string(), cell.value.clone()))
                    .collect::<Map<_, _>>(),
            )
        };
        Value::Array(self.rows.iter().map(object).collect())
    }
}

/// Formats text as a Markdown code block.
#[must_use]
pub fn markdown_code(text: &str) -> String {
    let text = escape_lines(text);
    // A fence has to be longer than any run of its character in the text.
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{}\n{fence}\n", text.trim_end())
}

/// Escapes a heading, which may have several lines.
fn escape_heading(title: &str) -> String {
    title.lines().map(escape_line).collect::<Vec<_>>().join("\n")
}

fn trimmed_lines(table: &comfy_table::Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn max_width(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

/// Returns the number of columns of the terminal on standard output, or 200 where there
/// is none.
#[must_use]
pub fn terminal_width() -> usize {
    terminal_size::terminal_size().map_or(200, |(width, _)| usize::from(width.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&[
            Column::text("lane", "lane"),
            Column::number("run", "run_ns"),
            Column::hidden("secret"),
            Column::number("bill", "bill"),
        ]);
        table.push(vec![
            Cell::text("native"),
            Cell::new("1.00 ms", 1_000_000_u64),
            Cell::text("x"),
            Cell::optional::<u64>(None),
        ]);
        table
    }

    fn printed(format: Format) -> String {
        let mut out = Vec::new();
        sample().print(format, &mut out).expect("memory takes all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn all_forms_of_one_table() {
        assert_eq!(printed(Format::Table), "lane        run  bill\nnative  1.00 ms     -\n");
        assert_eq!(printed(Format::Csv), "lane,run_ns,secret,bill\nnative,1000000,x,\n");
        let json: Value = serde_json::from_str(&printed(Format::Json)).expect("JSON");
        assert_eq!(json[0]["run_ns"], 1_000_000);
        assert_eq!(json[0]["bill"], Value::Null);
        assert_eq!(
            printed(Format::Jsonl),
            "{\"lane\":\"native\",\"run_ns\":1000000,\"secret\":\"x\",\"bill\":null}\n"
        );
    }

    #[test]
    fn markdown_shows_text_as_it_is_and_nothing_hidden() {
        let mut table = sample();
        let cells = ["a|b `x` *y*\n<script>\x1b[2J", "1", "s", "_z_ a_b"].map(Cell::text);
        table.push(cells.to_vec());
        assert_eq!(
            table.to_markdown(),
            "| lane | run | bill |\n| :-- | --: | --: |\n| native | 1.00 ms | - |\n\
             | a\\|b \\`x\\` \\*y\\*\\\\n&lt;script&gt;\\\\x1b\\[2J | 1 | \\_z\\_ a_b |"
        );
        assert_eq!(printed(Format::Markdown).lines().count(), 3);
    }

    proptest::proptest! {
        #[test]
        fn no_format_lets_anything_hidden_through(
            name in ".{0,6}",
            text in proptest::collection::vec(proptest::char::any(), 0..30),
        ) {
            let text: String = text.into_iter().chain("\u{202e}\x1b".chars()).collect();
            let mut table = Table::with_headings([(format!("k{name}"), false)]);
            table.push(vec![Cell::text(text.as_str())]);
            let formats =
                [Format::Table, Format::Markdown, Format::Json, Format::Jsonl, Format::Csv];
            for format in formats {
                let mut out = Vec::new();
                table.print(format, &mut out).expect("memory takes all");
                let printed = String::from_utf8(out).expect("text");
                proptest::prop_assert_eq!(escape_lines(&printed), printed.as_str());
                if format == Format::Json {
                    let read: Value = serde_json::from_str(&printed).expect("JSON");
                    proptest::prop_assert_eq!(read, table.to_json());
                }
            }
            let grouped = table.render_grouped(1) + &table.render_within(20, 0);
            proptest::prop_assert_eq!(escape_lines(&grouped), grouped.as_str());
        }
    }

    #[test]
    fn a_long_text_is_cut_for_people_and_whole_for_programs() {
        let mut table = Table::new(&[Column::text("name", "name")]);
        table.push(vec![Cell::text("\u{e4}".repeat(5_000_000))]);
        let text = table.render_wrapped(80);
        assert!(text.len() < 10_000 && text.contains("(10000000"), "{} bytes", text.len());
        assert_eq!(table.to_json()[0]["name"].as_str().map(str::len), Some(10_000_000));
    }

    #[test]
    fn groups_stand_below_their_names() {
        let mut table = sample();
        for lane in ["native", "wasm\x1b[2J"] {
            let cells = ["2 s", "", "7"].map(Cell::text).into_iter();
            table.push(std::iter::once(Cell::text(lane)).chain(cells).collect());
        }
        assert_eq!(
            table.render_grouped(1),
            "    run  bill\n\nnative\n1.00 ms     -\n    2 s     7\n\nwasm\\x1b[2J\n    2 s     7"
        );
    }

    #[test]
    fn what_does_not_fit_beside_a_group_stands_below() {
        let table = sample();
        assert_eq!(table.render_grouped_within(80, 1), table.render_grouped(1));
        assert_eq!(table.render_grouped_within(10, 1), "    run\n\nnative\n1.00 ms\n    -");
    }

    #[test]
    fn a_narrow_terminal_gets_more_tables() {
        let text = sample().render_within(16, 1);
        assert_eq!(text, "lane        run\nnative  1.00 ms\n\nlane    bill\nnative     -");
        assert_eq!(sample().render_within(80, 1), sample().render_columns(&|_| true));
    }

    #[test]
    fn long_cells_are_wrapped_rather_than_cut() {
        let mut table = Table::new(&[Column::text("a", "a"), Column::text("note", "note")]);
        table.push(vec![Cell::text("x"), Cell::text("many words that do not fit")]);
        let text = table.render_wrapped(20);
        assert!(max_width(&text) <= 20, "{text}");
        assert!(text.contains("fit"), "{text}");
    }
}
