//! Tests of all formats together: each knows its own inputs, and none fails on those of others.

use crate::batch::{RowBatch, TraceNames};
use crate::format::{Framing, ImportSettings, Record};
use crate::formats::{FORMATS, detect_format};

/// First records of inputs, made by the schemas that the formats name.
const SAMPLES: &[(&str, &str)] = &[
    (
        "azure-app-insights",
        r#"{"timestamp":"2025-05-12T20:24:06.154Z","id":"a","name":"f","success":"True","duration":1.5,"itemType":"request","itemCount":5}"#,
    ),
    (
        "azure-app-insights",
        r#"{"tables":[{"name":"PrimaryResult","columns":[{"name":"TimeGenerated"},{"name":"DurationMs"},{"name":"ItemCount"}],"rows":[]}]}"#,
    ),
    ("azure-app-insights-csv", "timestamp [UTC],name,success,duration,itemCount\n"),
    (
        "azure-function-app-logs",
        r#"{"time":"2021-02-04T07:45:44Z","category":"FunctionAppLogs","properties":"{'message':'Executed 'Functions.f' (Succeeded, Id=1, Duration=50ms)'}"}"#,
    ),
    (
        "cloudflare-workers-trace",
        r#"{"CPUTimeMs":3,"EventTimestampMs":1747081446154,"Outcome":"ok","ScriptName":"s","WallTimeMs":5}"#,
    ),
    (
        "cloudflare-workers-trace",
        "{\n  \"outcome\": \"ok\",\n  \"scriptName\": \"s\",\n  \"eventTimestamp\": 1747081446154\n}",
    ),
    (
        "cloudflare-workers-analytics",
        r#"{"dimensions":{"scriptName":"s"},"sum":{"requests":4,"cpuTimeUs":5002}}"#,
    ),
    (
        "vercel-log-drain",
        r#"[{"id":"1","deploymentId":"d","projectId":"p","source":"lambda","timestamp":1,"message":"REPORT RequestId: a\tDuration: 1 ms\tBilled Duration: 1 ms\tMemory Size: 128 MB\tMax Memory Used: 1 MB\t"}]"#,
    ),
    (
        "otlp-faas-spans",
        r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"faas.name","value":{"stringValue":"f"}}]},"scopeSpans":[]}]}"#,
    ),
    (
        "openwhisk-activations",
        r#"{"activationId":"1","annotations":[{"key":"initTime","value":1}],"duration":2,"start":3}"#,
    ),
    (
        "openwhisk-events",
        r#"{"body":{"duration":3,"memory":256},"eventType":"Activation","timestamp":9,"namespace":"n"}"#,
    ),
    (
        "knative-requests",
        r#"{"httpRequest": {"status": 200, "latency": "0.1s", "protocol": "HTTP/1.1"}, "traceId": "[]"}"#,
    ),
    ("azure-trace-2021", "app,func,end_timestamp,duration\n"),
    ("huawei-trace-2025", "time_worker,requestID,funcName,podID,totalCost_worker,cpu_usage\n"),
];

#[test]
fn each_input_is_of_its_own_format() {
    for (name, text) in SAMPLES {
        for text in [(*text).to_owned(), format!("\u{feff}{text}"), format!("\r\n{text}")] {
            let is_csv = FORMATS.iter().any(|it| it.name == *name && it.framing == Framing::Csv);
            if is_csv && text.starts_with('\r') {
                continue;
            }
            let found = detect_format(text.as_bytes()).map(|format| format.name);
            assert_eq!(found, Some(*name), "{text}");
        }
    }
    for text in ["", "\n", "{}", "[]", "hello,world\n1,2\n", "\0\0\0\0", "{\"a\":1}\n"] {
        assert_eq!(detect_format(text.as_bytes()).map(|format| format.name), None, "{text:?}");
    }
}

#[test]
fn names_are_unique_and_meters_are_told_once() {
    for (place, format) in FORMATS.iter().enumerate() {
        let same = FORMATS.iter().position(|other| other.name == format.name);
        assert_eq!(same, Some(place), "{}", format.name);
        for meter in format.meters {
            let times = format.meters.iter().filter(|other| other.meter == meter.meter).count();
            assert_eq!((times, meter.note.is_empty()), (1, false), "{}", format.name);
        }
    }
}

#[test]
fn no_reader_fails_on_any_bytes() {
    // A fixed sequence (xorshift) damages the samples; each reader gets those of all formats.
    let mut seed = 88_172_645_463_325_252_u64;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let odd = [
        b"-1".as_slice(),
        b"1e999",
        b"\"",
        b"{",
        b"\0",
        b"\xff",
        b"null",
        b",",
        b"9223372036",
        b"9223372036854775807",
        b"99999999999999999999",
    ];
    for format in FORMATS {
        for (_, text) in SAMPLES {
            let mut reader = (format.open)(&ImportSettings::default(), "input");
            let (mut names, mut batch) = (TraceNames::default(), RowBatch::default());
            for line in 1..=40 {
                let mut bytes = text.as_bytes().to_vec();
                for _ in 0..next() % 3 {
                    let at = usize::try_from(next()).unwrap_or(0) % bytes.len();
                    let piece = odd[usize::try_from(next()).unwrap_or(0) % odd.len()];
                    bytes.splice(at..at, piece.iter().copied());
                }
                let record = Record { bytes: &bytes, line };
                let _any = reader.read_record(&record, &mut names, &mut batch);
            }
            if let Some(state) = reader.save_state() {
                reader.restore_state(&state);
            }
        }
    }
}
