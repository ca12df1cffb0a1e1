//! Google Cloud Run and Cloud Run functions: request logs as `gcloud logging read --format json`
//! and sinks write them; 1st generation functions, whose log has the execution time in a text; and
//! the printed entries of the data set ubc-cirrus-lab/demystifying-serverless-costs.

use std::borrow::Cow;

use cyclometer_core::invocation::{StartKind, Status};
use cyclometer_core::meter::{Meter, Source};
use cyclometer_core::units::Nanos;
use serde::Deserialize;

use crate::batch::{CellLabel, RowBatch, TraceNames, memory_configuration};
use crate::clock_text::parse_timestamp;
use crate::exact_number::parse_scaled;
use crate::format::{
    Detection, FormatMeter, Framing, ImportSettings, Record, RecordOutcome, RecordReader, Reject,
    TraceFormat,
};
use crate::json_text::{Field, begins_like_json, contains, field_text, parse_record};
use crate::row::{RequestId, TraceRow};

/// Platform of Cloud Run, and of functions of the 2nd generation, which run there.
const CLOUD_RUN: &str = "google-cloud-run";
/// Platform of functions of the 1st generation, which have another tariff.
const CLOUD_FUNCTIONS: &str = "google-cloud-functions";

/// Entries of Cloud Logging.
pub static CLOUD_RUN_REQUESTS: TraceFormat = TraceFormat {
    name: "google-cloud-run",
    platform: Some(CLOUD_RUN),
    about: "Google Cloud Run and Functions: request logs of Cloud Logging as JSON",
    schema: "https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry and \
             https://cloud.google.com/run/docs/logging",
    framing: Framing::JsonValues { array_keys: &["entries", "server"] },
    meters: &[
        FormatMeter {
            meter: Meter::Wall,
            source: Some(Source::Log),
            note: "httpRequest.latency, which includes waiting for an instance and its cold start; \
                   the log does not say which requests had one, so that all are warm here",
        },
        FormatMeter {
            meter: Meter::MemoryAllocated,
            source: Some(Source::Plan),
            note: "the log has no memory: --memory gives it, and it is missing without",
        },
        FormatMeter {
            meter: Meter::VcpuAllocated,
            source: Some(Source::Plan),
            note: "the log has no vCPU: --vcpu gives it, and it is missing without",
        },
        FormatMeter { meter: Meter::MemoryPeak, source: None, note: "request logs have no memory" },
        FormatMeter { meter: Meter::CpuTime, source: None, note: "request logs have no CPU time" },
    ],
    detect: |start| {
        let is_request = contains(start, "\"httpRequest\"") && contains(start, "\"latency\"");
        let is_of_run = contains(start, "\"cloud_run_revision\"");
        let is_of_functions = contains(start, "\"cloud_function\"");
        let is_printed = contains(start, "LogEntry(log_name=") || contains(start, "\"client\"");
        let found = is_of_run || is_of_functions || (is_printed && contains(start, "google.cloud"));
        if !begins_like_json(start) {
            Detection::No
        } else if found || is_printed_data_set(start) {
            Detection::Certain
        } else if is_request {
            Detection::Possible
        } else {
            Detection::No
        }
    },
    open: |settings, _| Box::new(CloudRunReader { settings: settings.clone() }),
};

/// Returns whether an input is an object with what clients measured first, and the entries of the
/// server after them, which may be far behind.
fn is_printed_data_set(start: &[u8]) -> bool {
    let keys = ["\"client\"", "\"Invocation Timestamp\"", "x-cloud-trace-context"];
    keys.iter().all(|key| contains(start, key))
}

struct CloudRunReader {
    settings: ImportSettings,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogEntry<'a> {
    #[serde(borrow)]
    http_request: Option<HttpRequest<'a>>,
    #[serde(borrow)]
    resource: Option<Resource<'a>>,
    #[serde(borrow)]
    labels: Option<EntryLabels<'a>>,
    #[serde(borrow)]
    timestamp: Field<'a>,
    #[serde(borrow)]
    insert_id: Field<'a>,
    #[serde(borrow)]
    text_payload: Field<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpRequest<'a> {
    #[serde(borrow)]
    latency: Field<'a>,
    #[serde(borrow)]
    status: Field<'a>,
    #[serde(borrow)]
    user_agent: Field<'a>,
}

#[derive(Deserialize)]
struct Resource<'a> {
    #[serde(borrow, rename = "type")]
    kind: Field<'a>,
    #[serde(borrow)]
    labels: Option<ResourceLabels<'a>>,
}

#[derive(Deserialize)]
struct ResourceLabels<'a> {
    #[serde(borrow)]
    service_name: Field<'a>,
    #[serde(borrow)]
    function_name: Field<'a>,
    #[serde(borrow)]
    location: Field<'a>,
    #[serde(borrow)]
    region: Field<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryLabels<'a> {
    #[serde(borrow)]
    instance_id: Field<'a>,
    #[serde(borrow, rename = "execution_id")]
    execution: Field<'a>,
}

/// What is read of an entry, in whichever form.
#[derive(Debug, Default)]
struct RequestEntry<'a> {
    is_function: bool,
    function: Option<Cow<'a, str>>,
    region: Option<Cow<'a, str>>,
    instance: Option<Cow<'a, str>>,
    request: Option<Cow<'a, str>>,
    latency: Option<u64>,
    status: Option<Cow<'a, str>>,
    user_agent: Option<Cow<'a, str>>,
    started_at: Option<i64>,
    ending: Option<Status>,
}

impl RecordReader for CloudRunReader {
    fn read_record(
        &mut self,
        record: &Record<'_>,
        names: &mut TraceNames,
        batch: &mut RowBatch,
    ) -> Result<RecordOutcome, Reject> {
        if record.bytes.trim_ascii_start().first() == Some(&b'"') {
            let text: Cow<'_, str> = parse_record(record.bytes)?;
            let entry = read_printed_entry(&text)?;
            return self.push_entry(&entry, names, batch);
        }
        let entry: LogEntry<'_> = parse_record(record.bytes)?;
        match read_entry(&entry)? {
            Ok(read) => self.push_entry(&read, names, batch),
            Err(kind) => Ok(RecordOutcome::Other(kind)),
        }
    }
}

impl CloudRunReader {
    fn push_entry(
        &self,
        entry: &RequestEntry<'_>,
        names: &mut TraceNames,
        batch: &mut RowBatch,
    ) -> Result<RecordOutcome, Reject> {
        if let Some(kind) = name_unbilled(entry) {
            return Ok(RecordOutcome::Other(kind));
        }
        let latency = entry.latency.ok_or(Reject::new("a request without its latency"))?;
        let function = entry.function.as_deref().or(self.settings.function.as_deref());
        let function = function.ok_or(Reject::new("no service, and no --function is given"))?;
        let memory = self.settings.memory;
        let cell = names.find_or_add_cell(&CellLabel {
            platform: (if entry.is_function { CLOUD_FUNCTIONS } else { CLOUD_RUN }).to_owned(),
            function: function.to_owned(),
            configuration: memory_configuration(memory),
            region: entry.region.as_deref().map(str::to_owned).or(self.settings.region.clone()),
            start: StartKind::Warm,
        })?;
        let mut row = TraceRow::new(cell, false);
        row.started_at = entry.started_at;
        row.usage.phases.run = Some(Nanos(latency));
        row.usage.set(Meter::Wall, latency);
        row.usage.set(Meter::MemoryAllocated, memory);
        row.usage.set(Meter::VcpuAllocated, self.settings.vcpu_milli);
        row.status = entry.ending.unwrap_or_else(|| read_status(entry.status.as_deref()));
        row.request = entry.request.as_deref().map(RequestId::from_text);
        let instance = entry.instance.as_deref();
        row.instance = instance.map(|name| names.find_or_add_instance(name)).transpose()?;
        batch.push(row);
        Ok(RecordOutcome::Rows)
    }
}

/// Names a request that never reached an instance, or that the platform made: neither is billed.
fn name_unbilled(entry: &RequestEntry<'_>) -> Option<&'static str> {
    if entry.status.as_deref() == Some("429") {
        return Some("request that was refused with 429: not billed");
    }
    if entry.user_agent.as_deref().is_some_and(|agent| agent.starts_with("GoogleHC/")) {
        return Some("health check: not billed");
    }
    let refused = entry.instance.is_none() && entry.latency.is_none() && !entry.is_function;
    refused.then_some("request without latency and instance: not billed")
}

/// Returns how a request ended: a function that answers 404 has done its work, one that answers
/// 500 has not.
fn read_status(status: Option<&str>) -> Status {
    match status {
        Some("504") => Status::Timeout,
        Some(status) if status.starts_with('5') => Status::Failed,
        _ => Status::Ok,
    }
}

/// Reads an entry, or names what it is instead of a request.
fn read_entry<'a>(entry: &LogEntry<'a>) -> Result<Result<RequestEntry<'a>, &'static str>, Reject> {
    let resource = entry.resource.as_ref();
    let kind = resource.and_then(|it| field_text(it.kind));
    let labels = resource.and_then(|it| it.labels.as_ref());
    let instance = entry.labels.as_ref().and_then(|it| field_text(it.instance_id));
    let is_function = kind.as_deref() == Some("cloud_function");
    let mut read = RequestEntry {
        is_function,
        function: labels.and_then(|it| field_text(it.service_name.or(it.function_name))),
        region: labels.and_then(|it| field_text(it.location.or(it.region))),
        instance: instance.filter(|name| !name.is_empty()),
        request: field_text(entry.insert_id),
        ..RequestEntry::default()
    };
    if is_function {
        let text = field_text(entry.text_payload).unwrap_or_default();
        let Some((duration, ending)) = read_execution(&text)? else {
            return Ok(Err("entry that is no end of an execution"));
        };
        let execution = entry.labels.as_ref().and_then(|it| field_text(it.execution));
        read.request = execution.or(read.request);
        read.latency = Some(duration);
        read.ending = Some(ending);
        // The entry is written at the end.
        let ended = read_time(entry.timestamp)?;
        let span = i64::try_from(duration).unwrap_or(i64::MAX);
        read.started_at = ended.map(|ended| ended.saturating_sub(span).max(0));
        return Ok(Ok(read));
    }
    let Some(request) = &entry.http_request else {
        return Ok(Err("entry that is no request"));
    };
    read.started_at = read_time(entry.timestamp)?;
    read.latency = field_text(request.latency).map(|text| read_seconds(&text)).transpose()?;
    read.status = field_text(request.status);
    read.user_agent = field_text(request.user_agent);
    Ok(Ok(read))
}

fn read_time(field: Field<'_>) -> Result<Option<i64>, Reject> {
    let time = field_text(field).map(|text| parse_timestamp(&text, None));
    Ok(time.transpose()?)
}

/// Reads a span such as `0.162307150s`.
fn read_seconds(text: &str) -> Result<u64, Reject> {
    let seconds = text.strip_suffix('s').and_then(|text| parse_scaled(text.as_bytes(), 9));
    seconds.ok_or(Reject::new("a latency that is no number of seconds"))
}

/// Reads `Function execution took 800 ms, finished with status: 'ok'`, or `status code: 200`.
fn read_execution(text: &str) -> Result<Option<(u64, Status)>, Reject> {
    let Some(rest) = text.strip_prefix("Function execution took ") else { return Ok(None) };
    let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let nanos = parse_scaled(number.as_bytes(), 6).filter(|_| rest.starts_with("ms"));
    let nanos = nanos.ok_or(Reject::new("an execution time that is no number of ms"))?;
    let status = rest.split("status").nth(1).unwrap_or("");
    let word = status.trim_start_matches(" code").trim_matches([':', ' ', '\'', '.']);
    let ending = match word {
        "ok" => Status::Ok,
        "timeout" => Status::Timeout,
        "error" | "crash" | "connection error" => Status::Failed,
        code => read_status(Some(code)),
    };
    Ok(Some((nanos, ending)))
}

/// Reads an entry as Python's client library prints it: `LogEntry(log_name='..', ..)`.
fn read_printed_entry(text: &str) -> Result<RequestEntry<'_>, Reject> {
    if !text.starts_with("LogEntry(") {
        return Err(Reject::new("text that is no printed entry"));
    }
    let value = |name: &str| {
        let begin = text.find(name)? + name.len();
        let rest = text.get(begin..)?;
        Some(Cow::Borrowed(&rest[..rest.find('\'')?]))
    };
    let latency = value("'latency': '").map(|text| read_seconds(&text)).transpose()?;
    let status = text.find("'status': ").map(|at| &text[at + "'status': ".len()..]);
    let digits = status
        .map(|rest| rest.len() - rest.trim_start_matches(|it: char| it.is_ascii_digit()).len());
    Ok(RequestEntry {
        function: value("'service_name': '"),
        region: value("'location': '"),
        instance: value("'instanceId': '"),
        request: value("insert_id='"),
        latency,
        status: status.zip(digits).map(|(rest, digits)| Cow::Borrowed(&rest[..digits])),
        user_agent: value("'userAgent': '"),
        started_at: read_printed_time(text)?,
        ..RequestEntry::default()
    })
}

/// Reads `timestamp=datetime.datetime(2025, 4, 26, 8, 20, 2, 42028, tzinfo=datetime.timezone.utc)`,
/// in which zeros at the end are left out.
fn read_printed_time(text: &str) -> Result<Option<i64>, Reject> {
    const BEGIN: &str = "timestamp=datetime.datetime(";
    let Some(at) = text.find(BEGIN) else { return Ok(None) };
    let rest = &text[at + BEGIN.len()..];
    let (numbers, _) = rest
        .split_once(", tzinfo=datetime.timezone.utc)")
        .ok_or(Reject::new("a printed time that is not in UTC"))?;
    let bad = Reject::new("a printed time that is none");
    let mut parts = [0_u32; 7];
    for (place, number) in numbers.split(", ").enumerate() {
        let part = parts.get_mut(place).ok_or(bad)?;
        *part = number.parse().map_err(|_| bad)?;
    }
    let [year, month, day, hour, minute, second, micros] = parts;
    let text =
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z");
    Ok(Some(parse_timestamp(&text, None)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ReadInput, read_records};

    fn read(settings: &ImportSettings, records: &[&str]) -> ReadInput {
        read_records(&CLOUD_RUN_REQUESTS, settings, records.iter().map(|it| it.as_bytes()))
    }

    /// The first record of `gcp_1_cloud_log.json` (MIT), shortened.
    const REQUEST: &str = r#"{"insertId":"68226bfc0007abba3db8adc5","httpRequest":{"requestMethod":"GET","status":200,"userAgent":"oha/1.8.0","latency":"0.162307150s"},
        "resource":{"type":"cloud_run_revision","labels":{"revision_name":"test-1-00003-5hp","service_name":"test-1","location":"northamerica-northeast2"}},
        "timestamp":"2025-05-12T21:45:32.338627Z","labels":{"instanceId":"007f65c6"}}"#;

    #[test]
    fn latency_is_the_wall_time_and_the_rest_is_given() {
        let settings = ImportSettings {
            memory: Some(512 << 20),
            vcpu_milli: Some(1000),
            ..ImportSettings::default()
        };
        let input = read(&settings, &[REQUEST]);
        let row = &input.rows[0];
        assert_eq!(row.usage.phases.run, Some(Nanos(162_307_150)));
        assert_eq!(row.usage.get(Meter::VcpuAllocated), Some(1000));
        assert_eq!(row.usage.get(Meter::MemoryAllocated), Some(512 << 20));
        // `date -u -d 2025-05-12T21:45:32Z +%s` is 1747086332.
        assert_eq!(row.started_at, Some(1_747_086_332_338_627_000));
        let cell = &input.names.cells()[0];
        assert_eq!((cell.function.as_str(), cell.platform.as_str()), ("test-1", CLOUD_RUN));
        assert_eq!(cell.region.as_deref(), Some("northamerica-northeast2"));
        assert_eq!(input.names.instances(), ["007f65c6"]);
        let without = read(&ImportSettings::default(), &[REQUEST]);
        assert_eq!(without.rows[0].usage.get(Meter::MemoryAllocated), None);
        assert_eq!(without.names.cells()[0].configuration, "any");
    }

    #[test]
    fn what_is_not_billed_is_no_invocation() {
        let change = |from: &str, to: &str| {
            assert!(REQUEST.contains(from), "{from}");
            REQUEST.replace(from, to)
        };
        let refused = change("200", "429");
        let probe = change("oha/1.8.0", "GoogleHC/1.0");
        let failed = change("200", "503");
        let late = change("200", "504");
        let missing = change(r#","latency":"0.162307150s""#, "");
        let negative = change("0.162307150s", "-0.1s");
        let unit = change("0.162307150s", "162ms");
        let nowhere = missing.replace(r#""instanceId":"007f65c6""#, "");
        let system = r#"{"resource":{"type":"cloud_run_revision","labels":{}},"textPayload":"Default STARTUP TCP probe succeeded"}"#;
        let records = [&refused, &probe, &failed, &late, &missing, &negative, &unit, &nowhere];
        let mut records: Vec<&str> = records.iter().map(|it| it.as_str()).collect();
        records.push(system);
        let input = read(&ImportSettings::default(), &records);
        let endings: Vec<_> = input.rows.iter().map(|row| row.status).collect();
        assert_eq!(endings, [Status::Failed, Status::Timeout]);
        assert_eq!(
            input.others,
            [
                "request that was refused with 429: not billed",
                "health check: not billed",
                "request without latency and instance: not billed",
                "entry that is no request"
            ]
        );
        let causes: Vec<_> = input.rejects.iter().map(|(line, cause)| (*line, cause.0)).collect();
        assert_eq!(
            causes,
            [
                (5, "a request without its latency"),
                (6, "a latency that is no number of seconds"),
                (7, "a latency that is no number of seconds")
            ]
        );
    }

    /// Texts of the 1st generation as users quote them.
    #[test]
    fn first_generation_functions_have_their_time_in_a_text() {
        let entry = |text: &str| {
            format!(
                r#"{{"resource":{{"type":"cloud_function","labels":{{"function_name":"start","region":"us-central1"}}}},
                "labels":{{"execution_id":"q1w2"}},"timestamp":"2025-05-12T21:45:32.800Z","textPayload":"{text}"}}"#
            )
        };
        let texts = [
            "Function execution took 800 ms, finished with status: 'ok'",
            "Function execution took 60002 ms. Finished with status: timeout",
            "Function execution took 12 ms, finished with status code: 200",
            "Function execution took 13 ms, finished with status code: 500",
            "Function execution started",
            "Function execution took too long",
        ];
        let records: Vec<String> = texts.iter().map(|text| entry(text)).collect();
        let records: Vec<&str> = records.iter().map(String::as_str).collect();
        let input = read(&ImportSettings::default(), &records);
        let rows: Vec<_> =
            input.rows.iter().map(|row| (row.usage.get(Meter::Wall), row.status)).collect();
        assert_eq!(
            rows,
            [
                (Some(800_000_000), Status::Ok),
                (Some(60_002_000_000), Status::Timeout),
                (Some(12_000_000), Status::Ok),
                (Some(13_000_000), Status::Failed)
            ]
        );
        assert_eq!(input.rows[0].started_at, Some(1_747_086_332_000_000_000));
        assert_eq!(input.names.cells()[0].platform, CLOUD_FUNCTIONS);
        assert_eq!(input.others, ["entry that is no end of an execution"]);
        assert_eq!(input.rejects.len(), 1);
    }

    /// The second entry of `dataset/cpu_overallocation/gcp/VCPU0.085_BATCH0.json` (MIT), shortened.
    #[test]
    fn printed_entries_are_read() {
        let entry = r#""LogEntry(log_name='projects/1/logs/run.googleapis.com%2Frequests', labels={'instanceId': '007f65c6'}, insert_id='680c97320002f307d7a750e5', severity='INFO', http_request={'requestMethod': 'GET', 'status': 200, 'userAgent': 'python-requests/2.32.3', 'latency': '0.149823266s', 'protocol': 'HTTP/1.1'}, timestamp=datetime.datetime(2025, 4, 26, 8, 20, 2, 42028, tzinfo=datetime.timezone.utc), resource=Resource(type='cloud_run_revision', labels={'revision_name': 'py311-2-00153-8d8', 'service_name': 'py311-2', 'location': 'northamerica-northeast2'}), trace_sampled=None, payload=None)""#;
        let input = read(&ImportSettings::default(), &[entry, r#""LogEntry(""#, r#""x""#]);
        let row = &input.rows[0];
        assert_eq!(row.usage.get(Meter::Wall), Some(149_823_266));
        // `date -u -d 2025-04-26T08:20:02Z +%s` is 1745655602.
        assert_eq!(row.started_at, Some(1_745_655_602_042_028_000));
        assert_eq!(input.names.cells()[0].function, "py311-2");
        assert_eq!(input.names.instances(), ["007f65c6"]);
        assert_eq!(input.rejects.len(), 1);
        assert_eq!(input.others.len(), 1);
    }
}
