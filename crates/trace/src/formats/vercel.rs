//! Vercel: log drains, of which the REPORT lines of older projects are read.

use cyclometer_core::invocation::Status;
use cyclometer_core::meter::{Meter, Source};

use crate::batch::{RowBatch, TraceNames};
use crate::format::{
    Detection, FormatMeter, Framing, ImportSettings, Record, RecordOutcome, RecordReader, Reject,
    TraceFormat,
};
use crate::formats::lambda_report::LAMBDA_REPORT;
use crate::reading::json_object::JsonObject;
use crate::reading::json_reader::{begins_like_json, contains_all, open_json_reader};
use crate::reading::quantity::UnitScale;
use crate::reading::row_maker::{RowMaker, RowNames};
use crate::reading::time_notation::parse_epoch;

/// Lines of a log drain.
pub static VERCEL_LOG_DRAIN: TraceFormat = TraceFormat {
    name: "vercel-log-drain",
    platform: Some("vercel"),
    about: "Vercel: log drains (JSON, NDJSON), of which REPORT lines in `message` are read",
    schema: "https://vercel.com/docs/drains/reference/logs",
    framing: Framing::JsonValues { array_keys: &[] },
    meters: &[
        FormatMeter {
            meter: Meter::Wall,
            source: Some(Source::Log),
            note: "Duration (and Init Duration) of the REPORT line in `message`, which projects \
                   before fluid compute have; the start is the time of the request or line; drains may be \
                   sampled",
        },
        FormatMeter {
            meter: Meter::MemoryAllocated,
            source: Some(Source::Log),
            note: "Memory Size, whose MB are MiB",
        },
        FormatMeter {
            meter: Meter::MemoryPeak,
            source: Some(Source::Log),
            note: "Max Memory Used, whose MB are MiB, of the whole sandbox",
        },
        FormatMeter {
            meter: Meter::CpuTime,
            source: None,
            note: "log drains have no active CPU: Vercel tells it by day",
        },
    ],
    detect: |start| {
        let found = contains_all(start, &["\"deploymentId\"", "\"projectId\"", "\"source\""]);
        if begins_like_json(start) && found { Detection::Certain } else { Detection::No }
    },
    open: |settings, file| open_json_reader("vercel", settings, file, read_line),
};

fn read_line(
    line: &JsonObject<'_>,
    maker: &mut RowMaker,
    names: &mut TraceNames,
    batch: &mut RowBatch,
) -> Result<RecordOutcome, Reject> {
    let source = line.text("source")?;
    if source.as_deref().is_some_and(|source| !matches!(source, "lambda" | "edge")) {
        return Ok(RecordOutcome::Other("line of a build, a static file or a proxy"));
    }
    let Some(message) = line.text("message")? else {
        return Ok(RecordOutcome::Other("request without a REPORT, which has no duration"));
    };
    let Some(report) = find_report(&message) else {
        return Ok(RecordOutcome::Other("line without a REPORT, which has no duration"));
    };
    let Some(mut row) = read_report(report)? else {
        return Ok(RecordOutcome::Other("line without a REPORT, which has no duration"));
    };
    let proxy = line.object("proxy")?;
    let project = line.first_text(&["projectName", "projectId"])?;
    let path = line.first_text(&["entrypoint", "path"])?;
    let function = super::azure_requests::join_names(project.as_deref(), path.as_deref());
    let region = match line.text("executionRegion")? {
        Some(region) => Some(region),
        None => proxy.first_text(&["lambdaRegion", "region"])?,
    };
    let given = RowNames {
        function: function.as_deref(),
        region: region.as_deref(),
        memory: row.usage.get(Meter::MemoryAllocated),
        cold: row.usage.cold,
        ..RowNames::default()
    };
    let cell = maker.make_row(names, &given)?;
    row.cell = cell.cell;
    row.instance = None;
    // What AWS billed Vercel for, not what Vercel bills.
    row.billed = None;
    // The line is written when the invocation ends; its start is not in it.
    let written = line.text("timestamp")?;
    let scale = UnitScale::MILLISECONDS;
    row.started_at = match proxy.text("timestamp")?.or(written) {
        Some(text) => Some(parse_epoch(text.as_bytes(), scale)?),
        None => None,
    };
    if row.status == Status::Ok && has_failed(line, &proxy)? {
        row.status = Status::Failed;
    }
    batch.push(row);
    Ok(RecordOutcome::Rows)
}

/// A status of -1 means that the function crashed.
fn has_failed(line: &JsonObject<'_>, proxy: &JsonObject<'_>) -> Result<bool, Reject> {
    let status = match line.text("statusCode")? {
        Some(status) => Some(status),
        None => proxy.text("statusCode")?,
    };
    Ok(status.is_some_and(|status| status == "-1" || status.starts_with('5')))
}

/// Returns the line of a message, which may have several, that is a REPORT.
fn find_report(message: &str) -> Option<&str> {
    let at = message.find("REPORT RequestId:")?;
    let rest = &message[at..];
    Some(rest.split('\n').next().unwrap_or(rest))
}

/// Reads the line as AWS writes it; its names are dropped.
fn read_report(report: &str) -> Result<Option<crate::row::TraceRow>, Reject> {
    let mut reader: Box<dyn RecordReader> =
        (LAMBDA_REPORT.open)(&ImportSettings::default(), "vercel");
    let (mut names, mut batch) = (TraceNames::default(), RowBatch::default());
    let record = Record { bytes: report.as_bytes(), line: 1 };
    reader.read_record(&record, &mut names, &mut batch)?;
    Ok(batch.rows().first().cloned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::read_lines;
    use cyclometer_core::units::Nanos;

    #[test]
    fn report_lines_of_a_drain_are_read() {
        // Made by the reference of log drains; the REPORT is that of AWS Lambda.
        let text = concat!(
            r#"{"id":"1","deploymentId":"dpl_2","projectId":"prj","projectName":"shop","source":"lambda","host":"h","timestamp":1747081446154,"level":"info","statusCode":200,"entrypoint":"api/index.js","executionRegion":"sfo1","message":"START RequestId: 94f4a28a-dbe3-4114-9f2b-0b3ae40f4dbc Version: $LATEST\nEND RequestId: 94f4a28a-dbe3-4114-9f2b-0b3ae40f4dbc\nREPORT RequestId: 94f4a28a-dbe3-4114-9f2b-0b3ae40f4dbc\tDuration: 155.51 ms\tBilled Duration: 156 ms\tMemory Size: 1024 MB\tMax Memory Used: 40 MB\tInit Duration: 20 ms\t\n"}"#,
            "\n",
            r#"{"id":"2","deploymentId":"dpl_2","projectId":"prj","source":"lambda","host":"h","timestamp":1747081446154,"level":"info","message":"hello","proxy":{"statusCode":200}}"#,
            "\n",
            r#"{"id":"3","deploymentId":"dpl_2","projectId":"prj","source":"build","host":"h","timestamp":1,"level":"info"}"#,
        );
        assert_eq!((VERCEL_LOG_DRAIN.detect)(text.as_bytes()), Detection::Certain);
        let input = read_lines(&VERCEL_LOG_DRAIN, &ImportSettings::default(), text);
        assert_eq!(input.rejects, []);
        assert_eq!(input.others.len(), 2);
        let row = &input.rows[0];
        assert_eq!(row.usage.phases.run, Some(Nanos(155_510_000)));
        assert_eq!(row.usage.phases.start, Some(Nanos(20_000_000)));
        assert_eq!(row.billed, None);
        assert_eq!(row.usage.get(Meter::MemoryAllocated), Some(1 << 30));
        assert_eq!(row.started_at, Some(1_747_081_446_154_000_000));
        let cell = &input.names.cells()[0];
        assert_eq!(
            (cell.platform.as_str(), cell.function.as_str()),
            ("vercel", "shop/api/index.js")
        );
        assert_eq!(cell.region.as_deref(), Some("sfo1"));
        assert_eq!(cell.configuration, "1024MB");
    }
}
