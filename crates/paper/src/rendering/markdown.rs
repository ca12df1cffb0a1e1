//! Markdown for a page that people read and keep.

use std::fmt::Write;

use super::{ABOUT, dollars, machine, multiple, published, reach, reasons, smaller, span};
use crate::{Part, Published, Report, Row, times};
use cyclometer_core::visible_text::escape_markdown;

/// Returns the report as Markdown; the charts are files beside it.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let mut out = String::from(
        "# The tables of Long et al. 2020, made again\n\n\"A lightweight design for serverless \
         Function-as-a-Service\" (arXiv 2010.07115) beside what was measured here.\n\n",
    );
    let _ = writeln!(out, "- {}", escape_markdown(&machine(report)));
    let _ =
        writeln!(out, "- preset `{}`, intervals of {}", report.preset.name(), report.confidence);
    for part in &report.unfinished {
        let _ = writeln!(out, "- **not finished**: {}", part.title());
    }
    let _ = writeln!(out, "\n{ABOUT}");
    claims(&mut out, report);
    for table in &report.tables {
        let _ = writeln!(out, "\n## {}\n", table.part.title());
        let _ = writeln!(out, "![{}]({}.svg)\n", table.part.title(), table.part.key());
        if let Some(note) = smaller(report, table.part) {
            let _ = writeln!(out, "{note}\n");
        }
        if table.part == Part::Benchmarks {
            matrix(&mut out, &table.rows);
        }
        rows(&mut out, &table.rows);
    }
    compile(&mut out, report);
    footprint(&mut out, report);
    lanes(&mut out, report);
    if !report.warnings.is_empty() {
        let _ = writeln!(out, "\n## Before believing the figures\n");
        for warning in &report.warnings {
            let _ = writeln!(out, "- {}", escape_markdown(warning));
        }
    }
    out
}

fn line(out: &mut String, cells: &[String]) {
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}

fn head(out: &mut String, titles: &[&str], text: usize) {
    line(out, &titles.iter().map(|title| (*title).to_owned()).collect::<Vec<_>>());
    let rule = |at: usize| if at < text { "---" } else { "---:" };
    line(out, &(0..titles.len()).map(|at| rule(at).to_owned()).collect::<Vec<_>>());
}

fn claims(out: &mut String, report: &Report) {
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
fn matrix(out: &mut String, rows: &[Row]) {
    let workloads = Part::Benchmarks.workloads();
    let titles: Vec<&str> =
        ["lane", "start"].into_iter().chain(workloads.iter().copied()).collect();
    head(out, &titles, 2);
    let mut lanes: Vec<(&str, &str)> = Vec::new();
    for row in rows.iter().filter(|row| row.time.is_some()) {
        if !lanes.contains(&(&row.lane, &row.start)) {
            lanes.push((&row.lane, &row.start));
        }
    }
    for (lane, start) in lanes {
        let mut cells = vec![escape_markdown(lane), escape_markdown(start)];
        for workload in workloads {
            let row = rows
                .iter()
                .find(|it| it.lane == lane && it.start == start && it.workload == *workload);
            let time = row.and_then(|row| row.time.as_ref());
            cells.push(time.map_or_else(|| "-".to_owned(), |time| span(time.median)));
        }
        line(out, &cells);
    }
    for host in ["Azure", "AWS"] {
        for runtime in ["native", "Docker", "Lucet", "SSVM", "V8", "WAVM"] {
            let all = Published::all();
            let cells: Vec<String> = workloads
                .iter()
                .map(|workload| {
                    let values: Vec<_> =
                        all.of(Part::Benchmarks.key(), runtime, workload).cloned().collect();
                    published(&values, host).unwrap_or_else(|| "-".to_owned())
                })
                .collect();
            if cells.iter().any(|cell| cell != "-") {
                let mut all = vec![format!("*{runtime}, 2020*"), host.to_owned()];
                all.extend(cells);
                line(out, &all);
            }
        }
    }
    let _ = writeln!(out);
}

fn rows(out: &mut String, rows: &[Row]) {
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
    head(out, &titles, 3);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for row in rows.iter().filter(|row| row.was_tried()) {
        let change = |of: &Option<Result<cyclometer_stats::Change, _>>| {
            let change = of.as_ref().and_then(|it| it.as_ref().ok());
            let ends = change.map(|it| format!(" [{}, {}]", times(it.low), times(it.high)));
            format!("{}{}", multiple(change), ends.unwrap_or_default())
        };
        let time = row.time.as_ref();
        let mut cells = vec![
            escape_markdown(&row.workload),
            escape_markdown(&row.lane),
            escape_markdown(&row.start),
            time.map_or(0, |time| time.count).to_string(),
            or_dash(time.map(|time| span(time.median))),
            or_dash(reach(row)),
        ];
        cells.extend(row.phases.iter().map(|phase| or_dash(phase.map(span))));
        cells.extend([
            change(&row.over_native),
            change(&row.docker_over),
            or_dash(published(&row.published, "Azure")),
            or_dash(published(&row.published, "AWS")),
        ]);
        cells.extend(row.usd.iter().map(|usd| or_dash(usd.as_ref().map(dollars))));
        line(out, &cells);
    }
    let _ = writeln!(out);
    for reason in reasons(rows) {
        let _ = writeln!(out, "- {}", escape_markdown(&reason));
    }
}

fn compile(out: &mut String, report: &Report) {
    if report.compile.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n## Compiling ahead of time\n\nNo part of the times above.\n");
    head(out, &["lane", "workload", "times", "median", "±"], 2);
    for row in &report.compile {
        let reach = row.time.reach().map(|reach| format!("±{:.1} %", reach * 100.0));
        line(
            out,
            &[
                escape_markdown(&row.lane),
                escape_markdown(&row.workload),
                row.time.count.to_string(),
                span(row.time.median),
                reach.unwrap_or_else(|| "-".to_owned()),
            ],
        );
    }
}

fn footprint(out: &mut String, report: &Report) {
    let _ = writeln!(out, "\n## Footprint\n");
    head(out, &["lane", "function", "runtime", "together"], 1);
    let size = |size: Option<cyclometer_core::units::Bytes>| {
        size.map_or_else(|| "-".to_owned(), |it| it.to_string())
    };
    for it in &report.footprint {
        let cells =
            [escape_markdown(&it.lane), size(it.function), size(it.runtime), size(it.total())];
        line(out, &cells);
    }
}

fn lanes(out: &mut String, report: &Report) {
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
