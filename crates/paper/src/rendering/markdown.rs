//! Markdown for a page that people read and keep.

use std::fmt::Write;

use super::{
    ABOUT, describe_host, format_dollars, format_multiple, format_published, format_reach,
    format_time, list_reasons, smaller_arguments_note,
};
use crate::{PaperPart, PaperReport, PaperRow, Published, format_ratio};
use cyclometer_core::invocation::StartKind;
use cyclometer_core::visible_text::escape_markdown;

/// Returns the report as Markdown; the charts are files beside it.
#[must_use]
pub fn render_markdown(report: &PaperReport) -> String {
    let mut out = String::from(
        "# The tables of Long et al. 2020, made again\n\n\"A lightweight design for serverless \
         Function-as-a-Service\" (arXiv 2010.07115) beside what was measured here.\n\n",
    );
    let _ = writeln!(out, "- {}", escape_markdown(&describe_host(report)));
    let _ =
        writeln!(out, "- preset `{}`, intervals of {}", report.preset.name(), report.confidence);
    for part in &report.unfinished {
        let _ = writeln!(out, "- **not finished**: {}", part.title());
    }
    let _ = writeln!(out, "\n{ABOUT}");
    write_claims(&mut out, report);
    for table in &report.tables {
        let _ = writeln!(out, "\n## {}\n", table.part.title());
        let _ = writeln!(out, "![{}]({}.svg)\n", table.part.title(), table.part.key());
        if let Some(note) = smaller_arguments_note(report, table.part) {
            let _ = writeln!(out, "{note}\n");
        }
        if table.part == PaperPart::Benchmarks {
            write_matrix(&mut out, &table.rows);
        }
        write_rows(&mut out, &table.rows);
    }
    write_compile_times(&mut out, report);
    write_footprints(&mut out, report);
    write_lanes(&mut out, report);
    if !report.warnings.is_empty() {
        let _ = writeln!(out, "\n## Before believing the figures\n");
        for warning in &report.warnings {
            let _ = writeln!(out, "- {}", escape_markdown(warning));
        }
    }
    out
}

fn write_table_row(out: &mut String, cells: &[String]) {
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}

fn write_table_head(out: &mut String, titles: &[&str], text: usize) {
    write_table_row(out, &titles.iter().map(|title| (*title).to_owned()).collect::<Vec<_>>());
    let rule = |at: usize| if at < text { "---" } else { "---:" };
    write_table_row(out, &(0..titles.len()).map(|at| rule(at).to_owned()).collect::<Vec<_>>());
}

fn write_claims(out: &mut String, report: &PaperReport) {
    let _ = writeln!(out, "\n## Claims\n");
    for claim in &report.claims {
        let _ = writeln!(
            out,
            "{}. {} **{}** ({})",
            claim.number,
            claim.claim,
            claim.holds.label(),
            escape_markdown(&claim.note)
        );
        for finding in &claim.findings {
            let workload = if finding.workload.is_empty() {
                String::new()
            } else {
                format!(", {}", escape_markdown(&finding.workload))
            };
            let _ = writeln!(
                out,
                "   - {}{workload}: {}: {}",
                escape_markdown(&finding.lane),
                finding.holds.label(),
                escape_markdown(&finding.text)
            );
        }
    }
}

/// Writes lanes by workloads, as in the paper, with the published figures below.
fn write_matrix(out: &mut String, rows: &[PaperRow]) {
    let workloads = PaperPart::Benchmarks.workloads();
    let titles: Vec<&str> =
        ["lane", "start"].into_iter().chain(workloads.iter().copied()).collect();
    write_table_head(out, &titles, 2);
    let mut lanes: Vec<(&str, StartKind)> = Vec::new();
    for row in rows.iter().filter(|row| row.time.is_some()) {
        if !lanes.contains(&(&row.lane, row.start)) {
            lanes.push((&row.lane, row.start));
        }
    }
    for (lane, start) in lanes {
        let mut cells = vec![escape_markdown(lane), start.to_string()];
        for workload in workloads {
            let row = rows
                .iter()
                .find(|it| it.lane == lane && it.start == start && it.workload == *workload);
            let time = row.and_then(|row| row.time.as_ref());
            cells.push(time.map_or_else(|| "-".to_owned(), |time| format_time(time.median)));
        }
        write_table_row(out, &cells);
    }
    for host in ["Azure", "AWS"] {
        for runtime in ["native", "Docker", "Lucet", "SSVM", "V8", "WAVM"] {
            let all = Published::builtin();
            let cells: Vec<String> = workloads
                .iter()
                .map(|workload| {
                    let values: Vec<_> = all
                        .figures_of(PaperPart::Benchmarks.key(), runtime, workload)
                        .cloned()
                        .collect();
                    format_published(&values, host).unwrap_or_else(|| "-".to_owned())
                })
                .collect();
            if cells.iter().any(|cell| cell != "-") {
                let mut all = vec![format!("*{runtime}, 2020*"), host.to_owned()];
                all.extend(cells);
                write_table_row(out, &all);
            }
        }
    }
    let _ = writeln!(out);
}

fn write_rows(out: &mut String, rows: &[PaperRow]) {
    let titles = [
        "workload",
        "lane",
        "start",
        "runs",
        "median",
        "±",
        "create",
        "start",
        "run",
        "teardown",
        "/ native",
        "Docker /",
        "2020 Azure",
        "2020 AWS",
        "coarse $/M",
        "cycle $/M",
        "op $/M",
    ];
    write_table_head(out, &titles, 3);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for row in rows.iter().filter(|row| row.was_tried()) {
        let change = |of: &Option<Result<cyclometer_stats::Change, _>>| {
            let change = of.as_ref().and_then(|it| it.as_ref().ok());
            let ends =
                change.map(|it| format!(" [{}, {}]", format_ratio(it.low), format_ratio(it.high)));
            format!("{}{}", format_multiple(change), ends.unwrap_or_default())
        };
        let time = row.time.as_ref();
        let mut cells = vec![
            escape_markdown(&row.workload),
            escape_markdown(&row.lane),
            row.start.to_string(),
            time.map_or(0, |time| time.count).to_string(),
            or_dash(time.map(|time| format_time(time.median))),
            or_dash(format_reach(row)),
        ];
        cells.extend(row.phases.iter().map(|phase| or_dash(phase.map(format_time))));
        cells.extend([
            change(&row.over_native),
            change(&row.docker_over),
            or_dash(format_published(&row.published, "Azure")),
            or_dash(format_published(&row.published, "AWS")),
        ]);
        cells.extend(row.usd.iter().map(|usd| or_dash(usd.as_ref().map(format_dollars))));
        write_table_row(out, &cells);
    }
    let _ = writeln!(out);
    for reason in list_reasons(rows) {
        let _ = writeln!(out, "- {}", escape_markdown(&reason));
    }
}

fn write_compile_times(out: &mut String, report: &PaperReport) {
    if report.compile.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n## Compiling ahead of time\n\nNo part of the times above.\n");
    write_table_head(out, &["lane", "workload", "times", "median", "±"], 2);
    for row in &report.compile {
        let reach = row.time.relative_reach().map(|reach| format!("±{:.1} %", reach * 100.0));
        write_table_row(
            out,
            &[
                escape_markdown(&row.lane),
                escape_markdown(&row.workload),
                row.time.count.to_string(),
                format_time(row.time.median),
                reach.unwrap_or_else(|| "-".to_owned()),
            ],
        );
    }
}

fn write_footprints(out: &mut String, report: &PaperReport) {
    let _ = writeln!(out, "\n## Footprint\n");
    write_table_head(out, &["lane", "function", "runtime", "together"], 1);
    let size = |size: Option<cyclometer_core::units::Bytes>| {
        size.map_or_else(|| "-".to_owned(), |it| it.to_string())
    };
    for it in &report.footprint {
        let cells =
            [escape_markdown(&it.lane), size(it.function), size(it.runtime), size(it.total_size())];
        write_table_row(out, &cells);
    }
}

fn write_lanes(out: &mut String, report: &PaperReport) {
    let _ = writeln!(out, "\n## Lanes\n");
    for lane in &report.lanes {
        match &lane.unavailable {
            None => {
                let _ = writeln!(
                    out,
                    "- {}: {}; {}",
                    escape_markdown(&lane.name),
                    escape_markdown(&lane.version),
                    escape_markdown(&lane.note)
                );
            }
            Some(why) => {
                let _ = writeln!(
                    out,
                    "- {}: not measured: {}",
                    escape_markdown(&lane.name),
                    escape_markdown(why)
                );
            }
        }
    }
}
