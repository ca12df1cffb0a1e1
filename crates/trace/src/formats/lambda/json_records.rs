//! Reports in JSON: `platform.report` of the JSON log format and of the Telemetry API, and the
//! events of Lambda Insights.

use serde::Deserialize;

use super::{Ending, LambdaMessage, LambdaReport};
use crate::clock_text::parse_timestamp;
use crate::exact_number::parse_exact;
use crate::format::Reject;
use crate::json_text::{Field, field_scaled, field_text, parse_record};

/// Causes of rejects that all JSON of Lambda shares.
pub const BAD_DURATION: &str = "a duration that is no number of milliseconds";
const BAD_MEMORY: &str = "a memory size that is no number of MB";

/// Event of the platform, or of Lambda Insights, or of the function itself.
#[derive(Deserialize, Default)]
pub struct PlatformEvent<'a> {
    #[serde(borrow)]
    time: Field<'a>,
    #[serde(borrow, rename = "type")]
    kind: Field<'a>,
    #[serde(borrow)]
    record: Field<'a>,
    #[serde(borrow, rename = "_aws")]
    metadata: Field<'a>,
    #[serde(borrow)]
    pub function_name: Field<'a>,
    #[serde(borrow)]
    request_id: Field<'a>,
    #[serde(borrow)]
    duration: Field<'a>,
    #[serde(borrow)]
    billed_duration: Field<'a>,
    #[serde(borrow)]
    init_duration: Field<'a>,
    #[serde(borrow)]
    cold_start: Field<'a>,
    #[serde(borrow)]
    used_memory_max: Field<'a>,
    #[serde(borrow)]
    total_memory: Field<'a>,
    #[serde(borrow)]
    cpu_total_time: Field<'a>,
    #[serde(borrow)]
    cpu_user_time: Field<'a>,
    #[serde(borrow)]
    cpu_system_time: Field<'a>,
}

#[derive(Deserialize)]
struct ReportRecord<'a> {
    #[serde(borrow, rename = "requestId")]
    request: Field<'a>,
    #[serde(borrow)]
    status: Field<'a>,
    #[serde(borrow, rename = "errorType")]
    error: Field<'a>,
    #[serde(borrow)]
    metrics: Option<ReportMetrics<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReportMetrics<'a> {
    #[serde(borrow)]
    duration_ms: Field<'a>,
    #[serde(borrow)]
    billed_duration_ms: Field<'a>,
    #[serde(borrow)]
    init_duration_ms: Field<'a>,
    #[serde(borrow)]
    restore_duration_ms: Field<'a>,
    #[serde(borrow)]
    billed_restore_duration_ms: Field<'a>,
    #[serde(borrow, rename = "memorySizeMB")]
    memory_size: Field<'a>,
    #[serde(borrow, rename = "maxMemoryUsedMB")]
    max_memory_used: Field<'a>,
}

#[derive(Deserialize)]
struct EmbeddedMetadata<'a> {
    #[serde(borrow, rename = "Timestamp")]
    timestamp: Field<'a>,
}

/// Reads a message that is JSON; what is none, or nothing of the platform, comes from the
/// function.
pub fn read_json_message(text: &str) -> Result<LambdaMessage<'_>, Reject> {
    match serde_json::from_str::<PlatformEvent<'_>>(text) {
        Ok(event) => read_event(&event),
        Err(_) => Ok(LambdaMessage::Other("line of the function")),
    }
}

/// Reads an event of the platform.
pub fn read_event<'a>(event: &PlatformEvent<'a>) -> Result<LambdaMessage<'a>, Reject> {
    let kind = field_text(event.kind);
    match kind.as_deref() {
        Some("platform.report") => {
            let ended = field_text(event.time).map(|time| parse_timestamp(&time, None));
            Ok(LambdaMessage::Report(read_platform_report(event.record)?, ended.transpose()?))
        }
        Some("platform.initReport") => Ok(LambdaMessage::Other("platform.initReport")),
        Some("platform.start") => Ok(LambdaMessage::Other("platform.start")),
        Some("platform.runtimeDone") => Ok(LambdaMessage::Other("platform.runtimeDone")),
        Some(kind) if kind.starts_with("platform.") => {
            Ok(LambdaMessage::Other("other event of the platform"))
        }
        _ if event.metadata.is_some() && event.cpu_total_time.is_some() => read_insights(event),
        _ => Ok(LambdaMessage::Other("line of the function")),
    }
}

fn milliseconds(field: Field<'_>) -> Result<Option<u64>, Reject> {
    field_scaled(field, 6, BAD_DURATION)
}

/// Returns bytes: `MB` are MiB at this provider.
fn megabytes(field: Field<'_>) -> Result<Option<u64>, Reject> {
    let size = field_scaled(field, 0, BAD_MEMORY)?;
    let bytes = size.map(|size| size.checked_mul(1 << 20).ok_or(Reject::new(BAD_MEMORY)));
    bytes.transpose()
}

fn read_platform_report(record: Field<'_>) -> Result<LambdaReport<'_>, Reject> {
    let record = record.ok_or(Reject::new("a platform.report without a record"))?;
    let record: ReportRecord<'_> = parse_record(record.get().as_bytes())?;
    let metrics = record.metrics.ok_or(Reject::new("a platform.report without metrics"))?;
    let status = field_text(record.status);
    let ending = match status.as_deref() {
        Some(word) => Ending::from_word(word),
        None if field_text(record.error).is_some() => Ending::Failed,
        None => Ending::Well,
    };
    Ok(LambdaReport {
        request: field_text(record.request),
        duration: milliseconds(metrics.duration_ms)?,
        billed: milliseconds(metrics.billed_duration_ms)?,
        init: milliseconds(metrics.init_duration_ms)?,
        restore: milliseconds(metrics.restore_duration_ms)?,
        billed_restore: milliseconds(metrics.billed_restore_duration_ms)?,
        memory: megabytes(metrics.memory_size)?,
        memory_peak: megabytes(metrics.max_memory_used)?,
        ending,
        ..LambdaReport::default()
    })
}

/// Reads an event of Lambda Insights, the only source of CPU time.
fn read_insights<'a>(event: &PlatformEvent<'a>) -> Result<LambdaMessage<'a>, Reject> {
    let metadata = event.metadata.ok_or(Reject::new("no _aws"))?;
    let metadata: EmbeddedMetadata<'a> = parse_record(metadata.get().as_bytes())?;
    let report = LambdaReport {
        function: field_text(event.function_name),
        request: field_text(event.request_id),
        duration: milliseconds(event.duration)?,
        billed: milliseconds(event.billed_duration)?,
        init: milliseconds(event.init_duration)?,
        memory: megabytes(event.total_memory)?,
        memory_peak: megabytes(event.used_memory_max)?,
        cpu: milliseconds(event.cpu_total_time)?,
        cpu_user: milliseconds(event.cpu_user_time)?,
        cpu_system: milliseconds(event.cpu_system_time)?,
        cold: field_text(event.cold_start).and_then(|text| text.parse().ok()),
        ..LambdaReport::default()
    };
    Ok(LambdaMessage::Report(report, read_epoch_milliseconds(metadata.timestamp)?))
}

/// Returns a time in milliseconds since 1970 as nanoseconds; `None` if it is absent.
pub fn read_epoch_milliseconds(field: Field<'_>) -> Result<Option<i64>, Reject> {
    let Some(text) = field_text(field) else { return Ok(None) };
    let nanos = parse_exact(text.as_bytes(), 6).and_then(|nanos| i64::try_from(nanos).ok());
    nanos.map(Some).ok_or(Reject::new("a time that is no number of milliseconds since 1970"))
}
