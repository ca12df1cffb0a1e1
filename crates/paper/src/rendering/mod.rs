//! The paper's tables made again, as text, Markdown, JSON and SVG.

mod json;
mod markdown;
mod svg;
mod text;

pub use json::render_json;
pub use markdown::render_markdown;
pub use svg::{render_chart, render_charts};
pub use text::render_text;

use crate::{PaperPart, PaperPreset, PaperReport, PaperRow, PublishedValue};
use cyclometer_pricing::Exact;
use cyclometer_report::format_time;
use cyclometer_stats::Change;

/// Formats the relative reach of the interval: `±1.2 %`.
fn format_reach(row: &PaperRow) -> Option<String> {
    let reach = row.time.as_ref()?.relative_reach()?;
    Some(format!("±{:.1} %", reach * 100.0))
}

/// Formats a ratio, or a dash.
fn format_multiple(ratio: Option<&Change>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |change| crate::format_ratio(change.ratio))
}

/// Formats the cost of a million invocations; an amount too small for its digits does not
/// become zero.
fn format_dollars(usd: &Exact) -> String {
    let text = usd.to_rounded_string(4);
    if usd > &Exact::default() && text == "0.0000" { "<0.0001".to_owned() } else { text }
}

/// Lists why rows have no time, or some invocations failed: once for a lane if the reason
/// is the same for all functions.
fn list_reasons(rows: &[PaperRow]) -> Vec<String> {
    let mut said: Vec<(&str, &str, Vec<String>)> = Vec::new();
    for row in rows {
        let Some(why) = row.why.as_deref() else { continue };
        let of = format!("{} {}", row.workload, row.start);
        match said.iter_mut().find(|(lane, other, _)| *lane == row.lane && *other == why) {
            Some((_, _, all)) => all.push(of),
            None => said.push((&row.lane, why, vec![of])),
        }
    }
    said.into_iter().map(|(lane, why, of)| format!("{lane} ({}): {why}", of.join(", "))).collect()
}

/// Formats the figure published for one host: `0.881 s`, `16.9 s ±0.9`, `failed`.
fn format_published(values: &[PublishedValue], host: &str) -> Option<String> {
    let value = values.iter().find(|value| value.host == host)?;
    Some(match (value.seconds, value.sd) {
        (Some(seconds), Some(sd)) => format!("{seconds} s ±{sd}"),
        (Some(seconds), None) => format!("{seconds} s"),
        (None, _) => "failed".to_owned(),
    })
}

/// Returns why the times of a table cannot be compared with those of the paper.
fn smaller_arguments_note(report: &PaperReport, part: PaperPart) -> Option<&'static str> {
    (report.preset == PaperPreset::Quick && part == PaperPart::Benchmarks)
        .then_some("the arguments are smaller than the paper's: compare ratios, not times")
}

/// Describes the host in one line.
fn describe_host(report: &PaperReport) -> String {
    let text = |key: &str| report.host.get(key).and_then(serde_json::Value::as_str).unwrap_or("?");
    let cpus = report.host.get("cpus").and_then(serde_json::Value::as_u64);
    format!(
        "{} x {}, {}, kernel {}, cyclometer {}",
        cpus.map_or_else(|| "?".to_owned(), |it| it.to_string()),
        text("cpu"),
        text("os"),
        text("kernel"),
        text("cyclometer"),
    )
}

/// Explanation of the columns of all tables.
const ABOUT: &str = "Times are medians; ± is how far the farther end of the interval is from it. \
Cold: a new process, worker or container; warm: a fresh instance, or a new process, in one that \
runs. / native: a multiple of the native lane's time; Docker /: Docker's time as a multiple of \
this lane's. $/M: mean bills of a million in USD, by aws-lambda-x86 (memory that was allocated, \
time rounded), per-cycle and per-wasm-op.";
