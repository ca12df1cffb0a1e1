//! Text for a terminal.

use std::fmt::Write;

use super::{
    ABOUT, describe_host, format_dollars, format_multiple, format_published, format_reach,
    format_time, smaller_arguments_note,
};
use crate::{Claim, PaperPart, PaperReport, PaperRow};
use cyclometer_core::visible_text::escape_line;
use cyclometer_core::word_wrap::fill_paragraph;
use cyclometer_report::{Cell, Column, Table};

/// Renders the report, at most `width` columns wide.
#[must_use]
pub fn render_text(report: &PaperReport, width: usize) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}", escape_line(&describe_host(report)));
    let _ = writeln!(
        out,
        "preset {}, intervals of {}; recordings {}",
        report.preset.name(),
        report.confidence,
        report.recordings.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    );
    for part in &report.unfinished {
        let _ = writeln!(out, "not finished: {}", part.title());
    }
    let _ = writeln!(out, "\nClaims of the paper");
    for claim in &report.claims {
        let _ = writeln!(out, "{}", render_claim(claim, width));
    }
    for table in &report.tables {
        let _ = writeln!(out, "\n{}", part_heading(table.part));
        if let Some(note) = smaller_arguments_note(report, table.part) {
            let _ = writeln!(out, "{note}");
        }
        let keys = if table.part == PaperPart::Benchmarks { 3 } else { 2 };
        let _ = writeln!(out, "{}", build_table(table).render_within(width, keys));
        write_reasons(&mut out, &table.rows, width);
    }
    if !report.compile.is_empty() {
        let _ = writeln!(out, "\nCompiling ahead of time (no part of the times above)");
        let _ = writeln!(out, "{}", compile_table(report).render_within(width, 2));
    }
    let _ = writeln!(out, "\nFootprint");
    let _ = writeln!(out, "{}", footprint_table(report).render_within(width, 1));
    if !report.warnings.is_empty() {
        let _ = writeln!(out, "\nBefore believing the figures");
        for warning in &report.warnings {
            let _ = writeln!(out, "{}", wrap_text(warning, width, 2));
        }
    }
    let _ = writeln!(out, "\n{}", wrap_text(ABOUT, width, 0));
    out
}

fn part_heading(part: PaperPart) -> String {
    match part {
        PaperPart::Benchmarks => format!("{} of the function alone", part.title()),
        _ => part.title().to_owned(),
    }
}

/// Builds the rows of a table or figure.
fn build_table(table: &crate::PaperTable) -> Table {
    let workload = Column::text("workload", "workload");
    let of_many = table.part == PaperPart::Benchmarks;
    let bad = table.rows.iter().any(|row| row.bad > 0);
    let tried = table.rows.iter().filter(|row| row.was_tried());
    let mut columns = vec![
        Column::text("lane", "lane"),
        Column::text("start", "start"),
        Column::number("runs", "runs"),
        if bad { Column::number("failed", "failed") } else { Column::hidden("failed") },
        Column::number("median", "median_ns"),
        Column::number("±", "reach"),
        Column::number("/ native", "over_native"),
        Column::number("Docker /", "docker_over"),
        Column::number("2020 Azure", "published_azure"),
        Column::number("2020 AWS", "published_aws"),
        Column::number("coarse $/M", "coarse_usd_per_million"),
        Column::number("cycle $/M", "cycle_usd_per_million"),
        Column::number("op $/M", "op_usd_per_million"),
    ];
    if of_many {
        columns.insert(0, workload);
    }
    let mut out = Table::new(&columns);
    for row in tried {
        let mut cells = row_cells(row);
        if of_many {
            cells.insert(0, Cell::text(&*row.workload));
        }
        out.push(cells);
    }
    out
}

fn row_cells(row: &PaperRow) -> Vec<Cell> {
    let runs = row.time.as_ref().map_or(0, |time| time.count);
    let text = Cell::optional_text;
    let ratio = |ratio: &Option<Result<cyclometer_stats::Change, _>>| {
        let change = ratio.as_ref().and_then(|it| it.as_ref().ok());
        Cell::optional(change.map(|change| (format_multiple(Some(change)), change.ratio)))
    };
    let usd = |at: usize| text(row.usd[at].as_ref().map(format_dollars));
    vec![
        Cell::text(&*row.lane),
        Cell::text(row.start.label()),
        Cell::new(runs, runs),
        Cell::new(row.bad, row.bad),
        Cell::optional(row.time.as_ref().map(|time| (format_time(time.median), time.median))),
        text(format_reach(row)),
        ratio(&row.over_native),
        ratio(&row.docker_over),
        text(format_published(&row.published, "Azure")),
        text(format_published(&row.published, "AWS")),
        usd(0),
        usd(1),
        usd(2),
    ]
}

/// Writes why rows have no time, or some invocations failed.
fn write_reasons(out: &mut String, rows: &[PaperRow], width: usize) {
    for line in super::list_reasons(rows) {
        let _ = writeln!(out, "{}", wrap_text(&line, width, 2));
    }
}

/// Wraps text into lines of at most `width` columns, each indented by `indent` spaces.
fn wrap_text(text: &str, width: usize, indent: usize) -> String {
    let blanks = " ".repeat(indent);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    fill_paragraph(&escape_line(&text), width, &blanks, &blanks)
}

fn compile_table(report: &PaperReport) -> Table {
    let mut table = Table::new(&[
        Column::text("lane", "lane"),
        Column::text("workload", "workload"),
        Column::number("times", "count"),
        Column::number("median", "median_ns"),
        Column::number("±", "reach"),
    ]);
    for row in &report.compile {
        let reach = row.time.relative_reach().map(|reach| format!("±{:.1} %", reach * 100.0));
        table.push(vec![
            Cell::text(&*row.lane),
            Cell::text(&*row.workload),
            Cell::new(row.time.count, row.time.count),
            Cell::new(format_time(row.time.median), row.time.median),
            Cell::optional_text(reach),
        ]);
    }
    table
}

fn footprint_table(report: &PaperReport) -> Table {
    let mut table = Table::new(&[
        Column::text("lane", "lane"),
        Column::number("function", "function_bytes"),
        Column::number("runtime", "runtime_bytes"),
        Column::number("together", "total_bytes"),
    ]);
    let size = Cell::optional_size;
    for it in &report.footprint {
        table.push(vec![
            Cell::text(&*it.lane),
            size(it.function),
            size(it.runtime),
            size(it.total_size()),
        ]);
    }
    table
}

/// Renders a claim with its findings.
fn render_claim(claim: &Claim, width: usize) -> String {
    let note = format!("{} ({})", claim.holds.label(), claim.note);
    let claimed = format!("{}. {}", claim.number, claim.claim);
    let mut out = format!("{}\n{}", wrap_text(&claimed, width, 0), wrap_text(&note, width, 3));
    let widest =
        |of: fn(&crate::ClaimFinding) -> usize| claim.findings.iter().map(of).max().unwrap_or(0);
    let (lanes, workloads) = (widest(|it| it.lane.len()), widest(|it| it.workload.len()));
    for finding in &claim.findings {
        let _ = write!(
            out,
            "\n   {:lanes$}  {:workloads$}  {:13}  {}",
            escape_line(&finding.lane),
            escape_line(&finding.workload),
            finding.holds.label(),
            escape_line(&finding.text)
        );
    }
    out
}
