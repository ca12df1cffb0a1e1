//! JSON for programs: times in nanoseconds, sizes in bytes, money as text.

use serde_json::{Value, json};

use crate::{BILLED, Claim, PaperReport, PaperRow};
use cyclometer_pricing::Exact;
use cyclometer_stats::{Change, RatioRefusal, Summary};

/// Returns the report as JSON.
#[must_use]
pub fn render_json(report: &PaperReport) -> Value {
    let tables: serde_json::Map<String, Value> = report
        .tables
        .iter()
        .map(|table| {
            let rows: Vec<Value> = table.rows.iter().map(row_json).collect();
            (table.part.key().to_owned(), Value::Array(rows))
        })
        .collect();
    json!({
        "preset": report.preset.name(),
        "confidence": report.confidence.share(),
        "host": report.host,
        "recordings": report.recordings,
        "unfinished": report.unfinished.iter().map(|part| part.key()).collect::<Vec<_>>(),
        "lanes": report.lanes.iter().map(|lane| json!({
            "lane": lane.name,
            "version": lane.version,
            "note": lane.note,
            "unavailable": lane.unavailable,
        })).collect::<Vec<_>>(),
        "tables": tables,
        "compile": report.compile.iter().map(|row| json!({
            "lane": row.lane,
            "workload": row.workload,
            "time": time_json(&row.time),
        })).collect::<Vec<_>>(),
        "footprint": report.footprint.iter().map(|it| json!({
            "lane": it.lane,
            "function_bytes": it.function.map(|size| size.0),
            "runtime_bytes": it.runtime.map(|size| size.0),
        })).collect::<Vec<_>>(),
        "claims": report.claims.iter().map(claim_json).collect::<Vec<_>>(),
        "warnings": report.warnings,
    })
}

fn time_json(time: &Summary) -> Value {
    json!({
        "runs": time.count,
        "median_ns": time.median,
        "low_ns": time.interval.map(|it| it.low),
        "high_ns": time.interval.map(|it| it.high),
        "mean_ns": time.mean,
        "sd_ns": time.deviation,
        "min_ns": time.min,
        "max_ns": time.max,
        "p95_ns": time.p95,
    })
}

fn ratio_json(ratio: Option<&Result<Change, RatioRefusal>>) -> Value {
    match ratio {
        None => Value::Null,
        Some(Ok(change)) => self::change_json(change),
        Some(Err(refusal)) => json!({ "refused": refusal.to_string() }),
    }
}

fn change_json(change: &Change) -> Value {
    json!({ "ratio": change.ratio, "low": change.low, "high": change.high })
}

fn row_json(row: &PaperRow) -> Value {
    let [create, start, run, teardown] = row.phases;
    json!({
        "workload": row.workload,
        "lane": row.lane,
        "start": row.start,
        "time": row.time.as_ref().map(time_json),
        "phases_p50_ns": {
            "create": create,
            "start": start,
            "run": run,
            "teardown": teardown,
        },
        "failed": row.bad,
        "why": row.why,
        "over_native": ratio_json(row.over_native.as_ref()),
        "docker_over": ratio_json(row.docker_over.as_ref()),
        "runtime_2020": row.runtime,
        "published": row.published,
        "usd_per_million": BILLED.iter().zip(&row.usd).map(|(model, usd)| {
            ((*model).to_owned(), json!(usd.as_ref().map(Exact::to_plain_string)))
        }).collect::<serde_json::Map<_, _>>(),
    })
}

fn claim_json(claim: &Claim) -> Value {
    json!({
        "number": claim.number,
        "claim": claim.claim,
        "holds": claim.holds.label(),
        "note": claim.note,
        "findings": claim.findings.iter().map(|it| json!({
            "lane": it.lane,
            "workload": it.workload,
            "holds": it.holds.label(),
            "ratio": it.ratio.as_ref().map(change_json),
            "text": it.text,
        })).collect::<Vec<_>>(),
    })
}
