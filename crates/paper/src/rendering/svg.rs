//! Bar charts on a logarithmic axis, as in the paper's figures, with the published
//! figures as marks beside the bars.

use std::fmt::Write;

use super::{format_time, smaller_arguments_note};
use crate::{PaperPart, PaperReport, PaperRow, PaperTable};
use cyclometer_core::visible_text::escape_xml;

/// Sizes of the parts of a chart, in pixels.
const LABELS: f64 = 230.0;
const PLOT: f64 = 560.0;
const FIGURES: f64 = 110.0;
const LINE: f64 = 24.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 86.0;

/// Kind of lane, which determines the colour of a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BarKind {
    Native,
    Wasm,
    Container,
    Other,
}

impl BarKind {
    const fn color(self) -> &'static str {
        match self {
            Self::Native => "#7a7a7a",
            Self::Wasm => "#5a67d8",
            Self::Container => "#d98032",
            Self::Other => "#4a9a6a",
        }
    }
}

/// A bar; times are in seconds.
struct Bar {
    label: String,
    kind: BarKind,
    median: f64,
    ends: Option<(f64, f64)>,
    /// Host and seconds.
    published: Vec<(String, f64)>,
}

/// Draws the charts of a report: file names and contents.
#[must_use]
pub fn render_charts(report: &PaperReport) -> Vec<(String, String)> {
    let drawn = report.tables.iter().filter_map(|table| {
        Some((format!("{}.svg", table.part.key()), render_chart(report, table)?))
    });
    drawn.collect()
}

/// Draws one table as a chart; `None` if nothing in it was measured.
#[must_use]
pub fn render_chart(report: &PaperReport, table: &PaperTable) -> Option<String> {
    let mut groups: Vec<(&str, Vec<Bar>)> = Vec::new();
    for row in &table.rows {
        let Some(bar) = build_bar(report, row) else { continue };
        match groups.iter_mut().find(|(workload, _)| *workload == row.workload) {
            Some((_, bars)) => bars.push(bar),
            None => groups.push((&row.workload, vec![bar])),
        }
    }
    let axis = LogAxis::for_bars(groups.iter().flat_map(|(_, bars)| bars))?;
    let note = smaller_arguments_note(report, table.part)
        .map(|note| format!("; {note}"))
        .unwrap_or_default();
    Some(draw_chart(table.part, &groups, &axis, &note))
}

fn build_bar(report: &PaperReport, row: &PaperRow) -> Option<Bar> {
    let time = row.time.as_ref()?;
    let about = report.lanes.iter().find(|about| about.name == row.lane);
    let kind = match about {
        Some(about) if about.wasm => BarKind::Wasm,
        Some(about) if about.docker => BarKind::Container,
        _ if row.lane == "native" => BarKind::Native,
        _ => BarKind::Other,
    };
    let published = row.published.iter();
    Some(Bar {
        label: format!("{}, {}", row.lane, row.start),
        kind,
        median: time.median / 1e9,
        ends: time.interval.map(|it| (it.low / 1e9, it.high / 1e9)),
        published: published.filter_map(|it| Some((it.host.clone(), it.seconds?))).collect(),
    })
}

/// A logarithmic axis over whole decades.
struct LogAxis {
    first: i32,
    last: i32,
}

impl LogAxis {
    fn for_bars<'a>(bars: impl Iterator<Item = &'a Bar>) -> Option<Self> {
        let mut ends: Option<(f64, f64)> = None;
        for bar in bars {
            let (low, high) = bar.ends.unwrap_or((bar.median, bar.median));
            let published = bar.published.iter().map(|(_, seconds)| *seconds);
            for value in published.chain([bar.median, low, high]).filter(|it| *it > 0.0) {
                let (from, to) = ends.unwrap_or((value, value));
                ends = Some((from.min(value), to.max(value)));
            }
        }
        let (from, to) = ends?;
        #[expect(clippy::cast_possible_truncation, reason = "the decades of a time in seconds")]
        let (first, last) = (from.log10().floor() as i32, to.log10().ceil() as i32);
        Some(Self { first, last: last.max(first + 1) })
    }

    fn position_of(&self, seconds: f64) -> f64 {
        let first = f64::from(self.first);
        let share = (seconds.log10() - first) / (f64::from(self.last) - first);
        LABELS + PLOT * share.clamp(0.0, 1.0)
    }
}

fn draw_chart(part: PaperPart, groups: &[(&str, Vec<Bar>)], axis: &LogAxis, note: &str) -> String {
    let headed = groups.len() > 1;
    let lines: usize = groups.iter().map(|(_, bars)| bars.len() + usize::from(headed)).sum();
    #[expect(clippy::cast_precision_loss, reason = "a few dozen lines")]
    let bottom = TOP + LINE * lines as f64;
    let (width, height) = (LABELS + PLOT + FIGURES, bottom + BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    let _ = writeln!(
        svg,
        "<text x=\"12\" y=\"26\" font-size=\"16\" font-weight=\"bold\">{}</text>",
        escape_xml(part.title())
    );
    draw_grid(&mut svg, axis, bottom);
    let mut y = TOP;
    for (workload, bars) in groups {
        if headed {
            let _ = writeln!(
                svg,
                "<text x=\"12\" y=\"{}\" font-weight=\"bold\">{}</text>",
                y + 17.0,
                escape_xml(workload)
            );
            y += LINE;
        }
        for bar in bars {
            draw_bar(&mut svg, bar, axis, y);
            y += LINE;
        }
    }
    draw_legend(&mut svg, bottom + 46.0, note);
    svg.push_str("</svg>\n");
    svg
}

/// Draws lines at the decades, labelled with their times.
fn draw_grid(svg: &mut String, axis: &LogAxis, bottom: f64) {
    for decade in axis.first..=axis.last {
        let x = axis.position_of(10f64.powi(decade));
        let label = format_time(10f64.powi(decade + 9));
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#dddddd\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555555\">{label}</text>",
            TOP - 6.0,
            bottom + 18.0
        );
    }
}

fn draw_bar(svg: &mut String, bar: &Bar, axis: &LogAxis, y: f64) {
    let (end, middle) = (axis.position_of(bar.median), y + 12.0);
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
         <rect x=\"{LABELS}\" y=\"{}\" width=\"{:.1}\" height=\"14\" fill=\"{}\"/>\
         <text x=\"{}\" y=\"{}\">{}</text>",
        LABELS - 8.0,
        y + 17.0,
        escape_xml(&bar.label),
        y + 5.0,
        (end - LABELS).max(1.0),
        bar.kind.color(),
        LABELS + PLOT + 10.0,
        y + 17.0,
        format_time(bar.median * 1e9)
    );
    if let Some((low, high)) = bar.ends {
        let (low, high) = (axis.position_of(low), axis.position_of(high));
        let _ = writeln!(
            svg,
            "<path d=\"M{low:.1} {} v8 m0 -4 H{high:.1} m0 -4 v8\" fill=\"none\" \
             stroke=\"#111111\"/>",
            middle - 4.0
        );
    }
    for (host, seconds) in &bar.published {
        let x = axis.position_of(*seconds);
        let fill = if host == "Azure" { "#ffffff" } else { "#111111" };
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {} l5 6 l-5 6 l-5 -6 z\" fill=\"{fill}\" stroke=\"#111111\">\
             <title>{} in 2020: {seconds} s</title></path>",
            middle - 6.0,
            escape_xml(host)
        );
    }
}

fn draw_legend(svg: &mut String, y: f64, note: &str) {
    let kinds = [
        (BarKind::Native, "native"),
        (BarKind::Wasm, "WebAssembly"),
        (BarKind::Container, "container"),
        (BarKind::Other, "other"),
    ];
    let mut x = 12.0;
    for (kind, name) in kinds {
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{}\"/>\
             <text x=\"{}\" y=\"{}\">{name}</text>",
            y - 10.0,
            kind.color(),
            x + 18.0,
            y
        );
        x += 120.0;
    }
    let _ = writeln!(
        svg,
        "<path d=\"M{} {} l5 6 l-5 6 l-5 -6 z\" fill=\"#ffffff\" stroke=\"#111111\"/>\
         <text x=\"{}\" y=\"{y}\">2020, Azure</text>\
         <path d=\"M{} {} l5 6 l-5 6 l-5 -6 z\" fill=\"#111111\" stroke=\"#111111\"/>\
         <text x=\"{}\" y=\"{y}\">2020, AWS</text>\
         <text x=\"12\" y=\"{}\" fill=\"#555555\">whiskers: the interval of the median{}</text>",
        x + 5.0,
        y - 10.0,
        x + 16.0,
        x + 120.0,
        y - 10.0,
        x + 131.0,
        y + 22.0,
        escape_xml(note)
    );
}
