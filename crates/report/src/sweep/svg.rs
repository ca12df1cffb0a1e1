//! Chart of a sweep as one self-contained SVG: time over size, and below it the cost under each
//! tariff, with intervals and the three choices.

use std::fmt::Write;

use super::{Figure, Standing, SweepReport, Tariff, format_amount, format_size};
use crate::text_format::format_time;
use cyclometer_core::visible_text::escape_xml;

/// Sizes of the parts of the chart, in pixels.
const LEFT: f64 = 110.0;
const PLOT: f64 = 640.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 76.0;
const PANEL: f64 = 170.0;
const GAP: f64 = 96.0;
const BOTTOM: f64 = 92.0;

const TIME_COLOR: &str = "#5a67d8";
const COST_COLOR: &str = "#d98032";

/// Panel of the chart: one figure over the sizes.
struct Panel<'a> {
    title: String,
    color: &'static str,
    /// Figure of each row.
    figures: Vec<Option<Figure>>,
    format: fn(f64) -> String,
    /// Standing of each row.
    marks: Vec<Mark>,
    report: &'a SweepReport,
}

/// Standing of a row in the choices.
#[derive(Debug, Clone, Default)]
struct Mark {
    /// Names of the choices, in brackets where it only cannot be told apart from the chosen one.
    names: Vec<String>,
    is_chosen: bool,
    is_candidate: bool,
}

/// Draws the report.
#[must_use]
pub fn render_svg(report: &SweepReport) -> String {
    let mut panels = vec![time_panel(report)];
    panels.extend(report.tariffs.iter().map(|tariff| cost_panel(report, tariff)));
    #[expect(clippy::cast_precision_loss, reason = "a few panels")]
    let height = TOP + (PANEL + GAP) * panels.len() as f64 - GAP + BOTTOM;
    let width = LEFT + PLOT + RIGHT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    let _ = writeln!(
        svg,
        "<text x=\"12\" y=\"24\" font-size=\"16\" font-weight=\"bold\">{}</text>",
        escape_xml(&format!("{} by memory size", report.plan.function))
    );
    let rule = report.plan.cpu_rule.as_deref();
    let shares = rule.map_or("whole CPUs at every size".to_owned(), |rule| match rule {
        "aws" | "google" | "azure" => format!("CPU share by memory as {rule} gives it"),
        number => format!("{number} CPUs at every size"),
    });
    let _ = writeln!(
        svg,
        "<text x=\"12\" y=\"42\" fill=\"#555555\">{}</text>",
        escape_xml(&format!("{}; {shares}", report.place))
    );
    let mut top = TOP;
    for panel in &panels {
        draw_panel(&mut svg, panel, top);
        top += PANEL + GAP;
    }
    let _ = writeln!(
        svg,
        "<text x=\"12\" y=\"{}\" fill=\"#555555\">whiskers: the {} interval; hollow: cannot be \
         recommended (head-room, failed runs or no price); brackets: not distinguishable</text>",
        height - 14.0,
        report.confidence
    );
    svg.push_str("</svg>\n");
    svg
}

fn time_panel(report: &SweepReport) -> Panel<'_> {
    let is_candidate =
        |at: usize| report.tariffs.iter().any(|tariff| tariff.candidates.contains(&at));
    let mark = |at: usize| Mark { is_candidate: is_candidate(at), ..Mark::default() };
    Panel {
        title: "median wall time".to_owned(),
        color: TIME_COLOR,
        figures: report.rows.iter().map(|row| row.wall).collect(),
        format: format_time,
        marks: (0..report.rows.len()).map(mark).collect(),
        report,
    }
}

fn cost_panel<'a>(report: &'a SweepReport, tariff: &Tariff) -> Panel<'a> {
    let mark = |at: usize| {
        let standings = || {
            let picks = tariff.named_picks().into_iter();
            picks.map(|(name, pick)| (name, tariff.standing_of(at, pick)))
        };
        let names = standings().filter_map(|(name, standing)| match standing {
            Standing::Chosen => Some(name.to_owned()),
            Standing::Alike => Some(format!("({name})")),
            Standing::Other => None,
        });
        Mark {
            names: names.collect(),
            is_chosen: standings().any(|(_, standing)| standing == Standing::Chosen),
            is_candidate: tariff.candidates.contains(&at),
        }
    };
    let figure = |cost: &Result<super::SizeCost, String>| Some(cost.as_ref().ok()?.figure);
    Panel {
        title: format!("{} a million, {}", tariff.currency, tariff.id),
        color: COST_COLOR,
        figures: tariff.costs.iter().map(figure).collect(),
        format: format_amount,
        marks: (0..report.rows.len()).map(mark).collect(),
        report,
    }
}

/// Returns the place of a row: sizes are on a logarithmic axis.
fn row_position(report: &SweepReport, at: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53 bytes")]
    let log = |at: usize| {
        report.rows.get(at).map_or(0.0, |row| (row.planned.memory.0.max(1) as f64).log2())
    };
    let (first, last) = (log(0), log(report.rows.len().saturating_sub(1)));
    let share = if last > first { (log(at) - first) / (last - first) } else { 0.5 };
    // Half a label stays free at either end.
    LEFT + 30.0 + (PLOT - 60.0) * share
}

fn draw_panel(svg: &mut String, panel: &Panel<'_>, top: f64) {
    let (bottom, report) = (top + PANEL, panel.report);
    let upper = |it: &Figure| it.ends.map_or(it.value, |(_, high)| high.max(it.value));
    let most = panel.figures.iter().flatten().map(upper).fold(0.0, f64::max);
    let most = if most > 0.0 { most } else { 1.0 };
    let height = |value: f64| bottom - (PANEL - 26.0) * (value / most).clamp(0.0, 1.0);
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{}</text>",
        top - 6.0,
        escape_xml(&panel.title)
    );
    for step in 0..=2 {
        let value = most * f64::from(step) / 2.0;
        let y = height(value);
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555555\">{}</text>",
            LEFT + PLOT,
            LEFT - 8.0,
            y + 4.0,
            escape_xml(&(panel.format)(value))
        );
    }
    for (at, row) in report.rows.iter().enumerate() {
        let x = row_position(report, at);
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555555\">{}</text>",
            bottom + 17.0,
            format_size(row.planned.memory)
        );
        let names = panel.marks.get(at).into_iter().flat_map(|mark| &mark.names);
        let mut y = bottom + 32.0;
        for name in names {
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\" font-size=\"11\">{}</text>",
                escape_xml(name)
            );
            y += 13.0;
        }
    }
    draw_line(svg, panel, &height);
    for (at, figure) in panel.figures.iter().enumerate() {
        if let Some(figure) = figure {
            draw_point(svg, panel, (at, figure), &height);
        }
    }
}

/// Draws the line through the figures.
fn draw_line(svg: &mut String, panel: &Panel<'_>, height: &dyn Fn(f64) -> f64) {
    let points = panel.figures.iter().enumerate().filter_map(|(at, figure)| {
        Some(format!("{:.1},{:.1}", row_position(panel.report, at), height(figure.as_ref()?.value)))
    });
    let points: Vec<String> = points.collect();
    if points.len() > 1 {
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>",
            points.join(" "),
            panel.color
        );
    }
}

fn draw_point(
    svg: &mut String,
    panel: &Panel<'_>,
    (at, figure): (usize, &Figure),
    height: &dyn Fn(f64) -> f64,
) {
    let (x, y) = (row_position(panel.report, at), height(figure.value));
    if let Some((low, high)) = figure.ends {
        let (low, high) = (height(low), height(high));
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {low:.1} h8 m-4 0 V{high:.1} m-4 0 h8\" fill=\"none\" \
             stroke=\"#111111\"/>",
            x - 4.0
        );
    }
    let mark = panel.marks.get(at).cloned().unwrap_or_default();
    let fill = if mark.is_candidate { panel.color } else { "#ffffff" };
    let radius = if mark.is_chosen { 6 } else { 4 };
    let _ = writeln!(
        svg,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{fill}\" stroke=\"{}\">\
         <title>{}: {}</title></circle>",
        panel.color,
        escape_xml(&format_size(panel.report.rows[at].planned.memory)),
        escape_xml(&(panel.format)(figure.value))
    );
}
