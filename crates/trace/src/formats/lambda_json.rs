//! AWS Lambda logs in JSON: events of `CloudWatch` Logs, events of the platform, and Lambda Insights.

use std::borrow::Cow;

use cyclometer_core::meter::{Meter, Source};
use serde::Deserialize;

use super::lambda::json_records::{PlatformEvent, read_epoch_milliseconds, read_event};
use super::lambda::{
    LambdaMessage, LambdaRows, REPORT_METERS, ReportPlace, function_of_group, function_of_stream,
    read_message,
};
use crate::batch::{RowBatch, TraceNames};
use crate::clock_text::parse_timestamp;
use crate::format::{
    Detection, FormatMeter, Framing, ImportSettings, Record, RecordOutcome, RecordReader, Reject,
    TraceFormat,
};
use crate::json_text::{Field, begins_like_json, contains, field_text, parse_record};

/// Events of `CloudWatch` Logs, alone, in an array, under `events`, or many in one record of a
/// subscription under `logEvents`.
pub static CLOUDWATCH_JSON: TraceFormat = TraceFormat {
    name: "aws-cloudwatch-json",
    platform: Some("aws-lambda"),
    about: "AWS Lambda logs as JSON of CloudWatch Logs: get-log-events, filter-log-events, Firehose",
    schema: "https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/\
             API_FilteredLogEvent.html and \
             https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html",
    framing: Framing::JsonValues { array_keys: &["events"] },
    meters: REPORT_METERS,
    detect: |start| {
        let is_event = contains(start, "\"message\"") && contains(start, "\"timestamp\"");
        let is_cloudwatch =
            ["\"ingestionTime\"", "\"logEvents\"", "\"logStreamName\"", "\"eventId\""]
                .iter()
                .any(|key| contains(start, key));
        detect_json(start, is_event && is_cloudwatch)
    },
    open: open_reader,
};

/// Events of the platform: the JSON log format, or what an extension gets of the Telemetry API.
pub static LAMBDA_PLATFORM: TraceFormat = TraceFormat {
    name: "aws-lambda-json",
    platform: Some("aws-lambda"),
    about: "AWS Lambda logs in the JSON log format or of the Telemetry API: platform.report",
    schema: "https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html",
    framing: Framing::JsonValues { array_keys: &[] },
    meters: REPORT_METERS,
    detect: |start| {
        let found = contains(start, "\"platform.") && !contains(start, "\"ingestionTime\"");
        detect_json(start, found)
    },
    open: open_reader,
};

/// Events of Lambda Insights in the embedded metric format.
pub static LAMBDA_INSIGHTS: TraceFormat = TraceFormat {
    name: "aws-lambda-insights",
    platform: Some("aws-lambda"),
    about: "AWS Lambda Insights: the only log of Lambda with CPU time",
    schema: "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/\
             Lambda-Insights-example-event.html",
    framing: Framing::JsonValues { array_keys: &[] },
    meters: &[
        FormatMeter {
            meter: Meter::CpuTime,
            source: Some(Source::Log),
            note: "cpu_total_time, in whole milliseconds, of the whole sandbox",
        },
        FormatMeter {
            meter: Meter::CpuUser,
            source: Some(Source::Log),
            note: "cpu_user_time, in whole milliseconds",
        },
        FormatMeter {
            meter: Meter::CpuSystem,
            source: Some(Source::Log),
            note: "cpu_system_time, in whole milliseconds",
        },
        FormatMeter {
            meter: Meter::Wall,
            source: Some(Source::Log),
            note: "duration plus init_duration; its start is computed back from _aws.Timestamp",
        },
        FormatMeter {
            meter: Meter::MemoryAllocated,
            source: Some(Source::Log),
            note: "total_memory, whose MB are MiB",
        },
        FormatMeter {
            meter: Meter::MemoryPeak,
            source: Some(Source::Log),
            note: "used_memory_max, whose MB are MiB, of the whole sandbox",
        },
    ],
    detect: |start| {
        let found = contains(start, "\"cpu_total_time\"") && contains(start, "\"_aws\"");
        detect_json(start, found && !contains(start, "\"ingestionTime\""))
    },
    open: open_reader,
};

fn detect_json(start: &[u8], found: bool) -> Detection {
    if found && begins_like_json(start) { Detection::Certain } else { Detection::No }
}

fn open_reader(settings: &ImportSettings, file: &str) -> Box<dyn RecordReader> {
    Box::new(LambdaJsonReader { rows: LambdaRows::new(settings, file) })
}

/// Reader of any JSON of AWS Lambda: one input may mix them.
struct LambdaJsonReader {
    rows: LambdaRows,
}

/// Event of `CloudWatch` Logs, or record of a subscription.
#[derive(Deserialize)]
struct LogEvent<'a> {
    #[serde(borrow)]
    message: Field<'a>,
    #[serde(borrow)]
    timestamp: Field<'a>,
    #[serde(borrow, rename = "logStreamName")]
    stream_name: Field<'a>,
    #[serde(borrow, rename = "logStream")]
    stream: Field<'a>,
    #[serde(borrow, rename = "logGroupName")]
    group_name: Field<'a>,
    #[serde(borrow, rename = "logGroup")]
    group: Field<'a>,
    #[serde(borrow, rename = "logEvents")]
    events: Field<'a>,
}

impl RecordReader for LambdaJsonReader {
    fn read_record(
        &mut self,
        record: &Record<'_>,
        names: &mut TraceNames,
        batch: &mut RowBatch,
    ) -> Result<RecordOutcome, Reject> {
        let event: LogEvent<'_> = parse_record(record.bytes)?;
        if let Some(events) = event.events {
            let events: Vec<LogEvent<'_>> = parse_record(events.get().as_bytes())?;
            return Ok(self.read_events(&event, &events, names, batch));
        }
        // The function's own lines in the JSON log format have a `message` too.
        let is_envelope = event.stream_name.is_some()
            || (event.message.is_some() && !contains(record.bytes, "\"type\""));
        if is_envelope {
            return self.read_event(&event, None, names, batch);
        }
        let platform: PlatformEvent<'_> = parse_record(record.bytes)?;
        let message = read_event(&platform)?;
        let place =
            ReportPlace { function: field_text(platform.function_name), ..ReportPlace::default() };
        self.push_message(message, place, names, batch)
    }
}

impl LambdaJsonReader {
    fn read_events(
        &mut self,
        envelope: &LogEvent<'_>,
        events: &[LogEvent<'_>],
        names: &mut TraceNames,
        batch: &mut RowBatch,
    ) -> RecordOutcome {
        let mut outcome = RecordOutcome::Other("record of a subscription without a report");
        for event in events {
            match self.read_event(event, Some(envelope), names, batch) {
                Ok(RecordOutcome::Rows) => outcome = RecordOutcome::Rows,
                Ok(RecordOutcome::Other(_)) => {}
                Err(cause) => batch.reject_part(cause),
            }
        }
        outcome
    }

    fn read_event(
        &mut self,
        event: &LogEvent<'_>,
        envelope: Option<&LogEvent<'_>>,
        names: &mut TraceNames,
        batch: &mut RowBatch,
    ) -> Result<RecordOutcome, Reject> {
        let message = event.message.ok_or(Reject::new("an event without a message"))?;
        let text = field_text(Some(message)).unwrap_or(Cow::Borrowed(""));
        let message = read_message(&text)?;
        let outer = envelope.unwrap_or(event);
        let stream = outer.stream_name.or(outer.stream);
        let instance = field_text(stream);
        let group = field_text(outer.group_name.or(outer.group));
        let function = group.as_deref().and_then(function_of_group);
        let function = function.or_else(|| instance.as_deref().and_then(function_of_stream));
        let function = function.map(|name| Cow::Owned(name.to_owned()));
        let ended_at = if matches!(message, LambdaMessage::Report(..)) {
            read_event_time(event.timestamp, self.rows.zone_minutes())?
        } else {
            None
        };
        let place = ReportPlace { function, instance, ended_at, started_at: None };
        self.push_message(message, place, names, batch)
    }

    fn push_message(
        &mut self,
        message: LambdaMessage<'_>,
        place: ReportPlace<'_>,
        names: &mut TraceNames,
        batch: &mut RowBatch,
    ) -> Result<RecordOutcome, Reject> {
        match message {
            LambdaMessage::Other(kind) => Ok(RecordOutcome::Other(kind)),
            LambdaMessage::Report(report, ended_at) => {
                // The platform's own time is finer than that of CloudWatch Logs.
                let place = ReportPlace { ended_at: ended_at.or(place.ended_at), ..place };
                self.rows.push_report(&report, &place, names, batch)
            }
        }
    }
}

/// Reads the time of an event: a number of milliseconds, or text.
fn read_event_time(field: Field<'_>, zone: Option<i32>) -> Result<Option<i64>, Reject> {
    let text = field_text(field);
    match text.as_deref() {
        Some(text) if text.contains('-') => Ok(Some(parse_timestamp(text, zone)?)),
        _ => read_epoch_milliseconds(field),
    }
}

#[cfg(test)]
mod tests {
    use cyclometer_core::invocation::Status;
    use cyclometer_core::units::Nanos;

    use super::*;
    use crate::testing::{ReadInput, read_records};

    fn read(format: &TraceFormat, records: &[&str]) -> ReadInput {
        let records = records.iter().map(|record| record.as_bytes());
        read_records(format, &ImportSettings::default(), records)
    }

    #[test]
    fn events_of_cloudwatch_name_function_and_instance() {
        let input = read(
            &CLOUDWATCH_JSON,
            &[
                r#"{"logStreamName":"2025/05/12/[$LATEST]5b11","timestamp":1747081446310,
                    "message":"REPORT RequestId: 94f4a28a-dbe3-4114-9f2b-0b3ae40f4dbc\tDuration: 155.51 ms\tBilled Duration: 156 ms\tMemory Size: 1769 MB\tMax Memory Used: 40 MB\t\n",
                    "ingestionTime":1747081455176,"eventId":"3896"}"#,
                r#"{"logStreamName":"2025/05/12/[$LATEST]5b11","timestamp":1747081446310,
                    "message":"END RequestId: 94f4a28a\n","ingestionTime":1747081455176}"#,
                // A subscription has the group and the stream around its events.
                r#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"/aws/lambda/thumbnail",
                    "logStream":"2025/05/12/[$LATEST]77","subscriptionFilters":["f"],"logEvents":[
                    {"id":"1","timestamp":1747081446310,"message":"START RequestId: a\n"},
                    {"id":"2","timestamp":1747081446310,"message":"REPORT RequestId: b\tDuration: 1.00 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 40 MB\t\n"}]}"#,
                r#"{"messageType":"CONTROL_MESSAGE","logEvents":[{"id":"","timestamp":1,"message":"CWL CONTROL MESSAGE"}]}"#,
            ],
        );
        assert_eq!(input.rejects, []);
        assert_eq!(input.others, ["END line", "record of a subscription without a report"]);
        let functions: Vec<_> = input.names.cells().iter().map(|it| it.function.as_str()).collect();
        assert_eq!(functions, ["input", "thumbnail"]);
        assert_eq!(input.names.instances(), ["2025/05/12/[$LATEST]5b11", "2025/05/12/[$LATEST]77"]);
        // 1747081446310 ms less 155.51 ms.
        assert_eq!(input.rows[0].started_at, Some(1_747_081_446_154_490_000));
    }

    /// The fields are those of AWS's guide to Lambda Insights.
    #[test]
    fn insights_in_a_log_group_of_its_own_name_their_function() {
        let input = read(
            &CLOUDWATCH_JSON,
            &[
                r#"{"logStreamName":"thumbnail/2025/05/12/[1]ab","timestamp":1747081446310,"ingestionTime":1747081455176,
                    "message":"{\"_aws\":{\"Timestamp\":1747081446310},\"function_name\":\"thumbnail\",\"request_id\":\"a\",\"duration\":20,\"billed_duration\":20,\"total_memory\":128,\"used_memory_max\":40,\"cpu_total_time\":12,\"event_type\":\"performance\"}"}"#,
            ],
        );
        assert_eq!(input.rejects, []);
        assert_eq!(input.names.cells()[0].function, "thumbnail");
        assert_eq!(input.rows[0].usage.get(Meter::CpuTime), Some(12_000_000));
    }

    /// The two reports have the fields of one schema, and are of 2026 and of January 2025.
    #[test]
    fn platform_reports_are_read_bare_and_as_messages() {
        let late = r#"{"time":"2026-03-01T10:00:02.000Z","type":"platform.report","record":{"requestId":"6d68","status":"success","metrics":{"durationMs":1233.96,"billedDurationMs":1698,"memorySizeMB":128,"maxMemoryUsedMB":91,"initDurationMs":463.512}}}"#;
        let early = r#"{"timestamp":1736942400000,"message":"{\"time\":\"2025-01-15T12:00:00.000Z\",\"type\":\"platform.report\",\"record\":{\"requestId\":\"6d69\",\"status\":\"timeout\",\"metrics\":{\"durationMs\":329.177,\"billedDurationMs\":330,\"memorySizeMB\":128,\"maxMemoryUsedMB\":91,\"initDurationMs\":503.083}}}"}"#;
        // The shape of alexcasalboni/aws-lambda-power-tuning's test of SnapStart.
        let restored = r#"{"time":"2024-02-09T08:42:44.080Z","type":"platform.report","record":{"requestId":"d661","status":"success","metrics":{"durationMs": 147.156,"billedDurationMs": 201, "memorySizeMB": 512,"maxMemoryUsedMB": 91,"restoreDurationMs": 500.795,"billedRestoreDurationMs": 53 }}}"#;
        let others = [
            r#"{"time":"2024-02-09T08:42:44.078Z","type":"platform.start","record":{"requestId":"d661","version":"8"}}"#,
            r#"{"timestamp":"2024-02-09T08:42:44.078Z","level":"INFO","requestId":"d661","message":"a line"}"#,
            r#"{"time":"2024-02-09T08:42:44.078Z","type":"function","record":"hello"}"#,
        ];
        let input =
            read(&LAMBDA_PLATFORM, &[late, early, restored, others[0], others[1], others[2]]);
        assert_eq!(input.rejects, []);
        assert_eq!(
            input.others,
            ["platform.start", "line of the function", "line of the function"]
        );
        let billed: Vec<_> = input.rows.iter().map(|row| row.billed).collect();
        assert_eq!(
            billed,
            [1_698_000_000, 330_000_000, 201_000_000].map(|nanos| Some(Nanos(nanos)))
        );
        let starts: Vec<_> = input.rows.iter().map(|row| row.usage.phases.start).collect();
        assert_eq!(starts, [463_512_000, 503_083_000, 53_000_000].map(|nanos| Some(Nanos(nanos))));
        assert_eq!(input.rows[1].status, Status::Timeout);
        assert_eq!(input.rows[2].usage.phases.create, Some(Nanos(447_795_000)));
    }

    /// The example event of the `CloudWatch` user guide, without what is not read.
    #[test]
    fn lambda_insights_has_cpu_time() {
        let event = r#"{"_aws":{"Timestamp":1605034324256,"CloudWatchMetrics":[],"LambdaInsights":{"ShareTelemetry":true}},
            "event_type":"performance","function_name":"cpu-intensive","version":"Blue","request_id":"12345678-8bcc-42f7-b1de-123456789012",
            "duration":45191,"billed_duration":45200,"billed_mb_ms":11571200,"cold_start":true,"init_duration":130,
            "used_memory_max":63,"total_memory":256,"memory_utilization":24,"cpu_user_time":6640,"cpu_system_time":50,"cpu_total_time":6690,
            "fd_use":416,"rx_bytes":4500,"tx_bytes":500}"#;
        assert_eq!((LAMBDA_INSIGHTS.detect)(event.as_bytes()), Detection::Certain);
        let input = read(&LAMBDA_INSIGHTS, &[event]);
        let row = &input.rows[0];
        assert_eq!(row.usage.get(Meter::CpuTime), Some(6_690_000_000));
        assert_eq!(row.usage.get(Meter::CpuUser), Some(6_640_000_000));
        assert_eq!(row.usage.get(Meter::MemoryAllocated), Some(256 << 20));
        assert_eq!(row.usage.get(Meter::MemoryPeak), Some(63 << 20));
        assert_eq!(row.usage.phases.start, Some(Nanos(130_000_000)));
        assert_eq!(row.usage.phases.run, Some(Nanos(45_191_000_000)));
        assert_eq!(input.names.cells()[0].function, "cpu-intensive");
        // billed_mb_ms is 256 x 45200.
        assert_eq!(row.billed, Some(Nanos(45_200_000_000)));
    }
}
