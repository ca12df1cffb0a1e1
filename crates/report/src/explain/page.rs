//! A page of 80 columns for a calculation: terms on the left, results on the right.

use super::number_format::TIED;
use cyclometer_core::word_wrap::wrap_line;

/// Number of columns of a page.
const WIDTH: usize = 80;

/// Column of the results.
const RESULT: usize = 36;

/// Column of the printed form of a result.
const ARROW: usize = 56;

/// Lines of at most 80 characters.
#[derive(Debug, Default)]
pub(super) struct TextPage {
    lines: Vec<String>,
}

impl TextPage {
    /// Adds an empty line, but never two in a row.
    pub(super) fn add_gap(&mut self) {
        if self.lines.last().is_some_and(|line| !line.is_empty()) {
            self.lines.push(String::new());
        }
    }

    /// Adds running text; continuation lines are indented further.
    pub(super) fn add_text(&mut self, indent: usize, text: &str) {
        let first = " ".repeat(indent);
        let next = " ".repeat(indent + 2);
        for (index, line) in wrap_line(text, WIDTH - indent - 2).into_iter().enumerate() {
            self.lines.push(format!("{}{line}", if index == 0 { &first } else { &next }));
        }
    }

    /// Adds `left` and, further right, a result after its sign (`=`, `-`, `+`).
    pub(super) fn add_row(&mut self, indent: usize, left: &str, sign: &str, result: &str) {
        let mut before = wrap_line(left, WIDTH - indent - 2);
        let fits_all = before.len() == 1 && {
            let used = (indent + count_chars(left) + 1).max(RESULT);
            used + 2 + count_chars(result) <= WIDTH
        };
        if !fits_all && indent + count_chars(left) + 1 > RESULT {
            before = wrap_line(left, RESULT - indent - 1);
        }
        let last = before.pop().unwrap_or_default();
        for (index, line) in before.iter().enumerate() {
            self.lines.push(format!("{}{line}", " ".repeat(indent + usize::from(index > 0) * 2)));
        }
        let indent = indent + usize::from(!before.is_empty()) * 2;
        let mut line = format!("{}{last}", " ".repeat(indent));
        let fits = count_chars(&line) < RESULT
            || (count_chars(&line) + 3 + count_chars(result) <= WIDTH && before.is_empty());
        if !fits {
            self.lines.push(line);
            line = String::new();
        }
        let start = (count_chars(&line) + usize::from(!line.is_empty())).max(RESULT);
        let results = wrap_line(result, WIDTH - start - 2);
        for (index, result) in results.iter().enumerate() {
            let sign = if index == 0 { sign } else { "" };
            let text = format!("{line:start$}{sign:<2}{result}");
            self.lines.push(text.trim_end().to_owned());
            line.clear();
        }
    }

    /// Adds a row with a result and its printed form.
    pub(super) fn add_printed_row(
        &mut self,
        indent: usize,
        left: &str,
        result: &str,
        printed: &str,
    ) {
        let column = ARROW - RESULT - 2;
        let arrow = format!("->{TIED}{printed}");
        if count_chars(result) < column && column + count_chars(&arrow) + RESULT + 2 <= WIDTH {
            // Tied spaces, so that no line is broken in the padding.
            let pad = TIED.to_string().repeat(column - count_chars(result));
            self.add_row(indent, left, "=", &format!("{result}{pad}{arrow}"));
        } else {
            self.add_row(indent, left, "=", &format!("{result} {arrow}"));
        }
    }

    /// Returns the text of the page.
    pub(super) fn into_text(mut self) -> String {
        while self.lines.last().is_some_and(String::is_empty) {
            self.lines.pop();
        }
        let lines = self.lines.iter().map(|line| line.replace(TIED, " "));
        lines.map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    /// Returns whether a number was cut.
    pub(super) fn has_cut(&self) -> bool {
        self.lines.iter().any(|line| line.contains('~'))
    }
}

fn count_chars(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(write: impl FnOnce(&mut TextPage)) -> String {
        let mut page = TextPage::default();
        write(&mut page);
        page.into_text()
    }

    #[test]
    fn results_stand_below_each_other() {
        let text = page(|page| {
            page.add_row(4, "run", "", "120 ms");
            page.add_row(4, "x 3 requests", "=", "360 ms");
            page.add_printed_row(4, "x $1.00", "$2.333338", "$2.33");
        });
        assert_eq!(
            text,
            "    run                               120 ms\n    \
             x 3 requests                    = 360 ms\n    \
             x $1.00                         = $2.333338         -> $2.33\n"
        );
    }

    #[test]
    fn nothing_is_wider_than_the_page_and_nothing_is_lost() {
        let long = "word ".repeat(40) + &"x".repeat(200);
        let text = page(|page| {
            page.add_row(4, &long, "=", &long);
            page.add_row(4, "short", "=", &"9".repeat(150));
            page.add_printed_row(4, &long, &"9".repeat(45), &"8".repeat(45));
            page.add_text(2, &long);
        });
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let count = |c| text.chars().filter(|it| *it == c).count();
        assert_eq!((count('x'), count('9'), count('8')), (800, 195, 45));
    }
}
