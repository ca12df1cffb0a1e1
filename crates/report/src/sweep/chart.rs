//! Chart of a sweep for terminals: time and cost of each size as bars, one block a tariff.

use std::fmt::Write;

use super::{Figure, Standing, SweepReport, Tariff, format_amount, format_size};
use crate::text_format::format_time;
use cyclometer_core::visible_text::escape_line;

/// Columns of the names of sizes, of a figure, and of the marks of the choices.
const NAME: usize = 9;
const FIGURE: usize = 9;
const MARKS: usize = 4;

/// Signs of a bar: certain, within its interval, and blank.
#[derive(Debug, Clone, Copy)]
struct Signs {
    full: char,
    partial: char,
}

const UNICODE: Signs = Signs { full: '\u{2588}', partial: '\u{2592}' };
const ASCII: Signs = Signs { full: '#', partial: '-' };

/// Draws the chart in at most `width` columns, in ASCII if the terminal shows nothing else; an
/// empty text where nothing has a price.
#[must_use]
pub fn render_chart(report: &SweepReport, width: usize, ascii: bool) -> String {
    let signs = if ascii { ASCII } else { UNICODE };
    let fixed = NAME + 2 * (FIGURE + 3) + MARKS;
    let bar = (width.clamp(fixed + 20, 80) - fixed) / 2;
    let mut chart = String::new();
    let is_priced = |tariff: &&Tariff| tariff.costs.iter().any(Result::is_ok);
    for tariff in report.tariffs.iter().filter(is_priced) {
        draw_tariff(&mut chart, report, tariff, (bar, signs));
    }
    if report.tariffs.iter().any(|tariff| tariff.choice.is_some()) {
        let _ = write!(
            chart,
            "C cheapest, F fastest, B balanced; lower case: not distinguishable from it\n{} up to the \
             end of the interval",
            signs.partial
        );
    }
    chart
}

fn draw_tariff(
    chart: &mut String,
    report: &SweepReport,
    tariff: &Tariff,
    (bar, signs): (usize, Signs),
) {
    let most = |figures: &mut dyn Iterator<Item = Figure>| {
        figures
            .map(|it| it.ends.map_or(it.value, |(_, high)| high.max(it.value)))
            .fold(0.0, f64::max)
    };
    let slowest = most(&mut report.rows.iter().filter_map(|row| row.wall));
    let dearest = most(&mut tariff.costs.iter().filter_map(|it| Some(it.as_ref().ok()?.figure)));
    let title = format!("{} a million, {}", tariff.currency, escape_line(&tariff.id));
    let _ = writeln!(
        chart,
        "{:NAME$}  {:<wide$} {title}",
        "memory",
        "median wall time",
        wide = bar + 1 + FIGURE
    );
    for (at, row) in report.rows.iter().enumerate() {
        let cost = tariff.costs.get(at).and_then(|cost| Some(cost.as_ref().ok()?.figure));
        let time = draw_bar(row.wall, slowest, bar, signs);
        let time_text = row.wall.map_or_else(|| "-".to_owned(), |it| format_time(it.value));
        let cost_text = cost.map_or_else(|| "-".to_owned(), |it| format_amount(it.value));
        let line = format!(
            "{:>NAME$}  {time} {time_text:>FIGURE$} {} {cost_text:>FIGURE$} {}",
            format_size(row.planned.memory),
            draw_bar(cost, dearest, bar, signs),
            mark_choices(tariff, at)
        );
        let _ = writeln!(chart, "{}", line.trim_end());
    }
    chart.push('\n');
}

/// Returns a letter for each choice that a row stands in: a capital if it is the choice itself.
fn mark_choices(tariff: &Tariff, row: usize) -> String {
    let mark = |(name, pick): (&'static str, &super::Pick)| {
        let letter = name.chars().next().unwrap_or(' ');
        match tariff.standing_of(row, pick) {
            Standing::Chosen => letter.to_ascii_uppercase(),
            Standing::Alike => letter,
            Standing::Other => ' ',
        }
    };
    tariff.named_picks().into_iter().map(mark).collect()
}

/// Draws a bar of `width` columns from 0 to the upper end of its interval; `whole` fills it.
fn draw_bar(figure: Option<Figure>, whole: f64, width: usize, signs: Signs) -> String {
    let Some(figure) = figure.filter(|_| whole > 0.0) else { return " ".repeat(width) };
    #[expect(clippy::cast_precision_loss, reason = "the width of a terminal")]
    let columns = |value: f64| (value / whole * width as f64).round().clamp(0.0, width as f64);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the width of a terminal"
    )]
    let columns = |value: f64| columns(value) as usize;
    let (low, high) = figure.ends.unwrap_or((figure.value, figure.value));
    // What is there at all is seen.
    let high = columns(high).max(usize::from(figure.value > 0.0));
    let low = columns(low).min(high);
    let bar = |sign: char, count: usize| std::iter::repeat_n(sign, count);
    bar(signs.full, low)
        .chain(bar(signs.partial, high - low))
        .chain(bar(' ', width - high))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_the_interval_and_never_more_than_their_width() {
        let bar = |value, ends| draw_bar(Some(Figure { value, ends }), 100.0, 10, ASCII);
        assert_eq!(bar(50.0, Some((40.0, 60.0))), "####--    ");
        assert_eq!(bar(100.0, Some((100.0, 100.0))), "##########");
        assert_eq!(bar(1.0, Some((1.0, 1.0))), "-         ", "a thin bar is seen");
        assert_eq!(bar(30.0, None), "###       ");
        assert_eq!(bar(0.0, None), "          ");
        assert_eq!(draw_bar(None, 100.0, 3, ASCII), "   ");
        assert_eq!(draw_bar(Some(Figure { value: 0.0, ends: None }), 0.0, 3, ASCII), "   ");
    }
}
