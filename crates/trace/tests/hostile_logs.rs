//! Records of provider logs with bytes changed, cut and doubled: each is a row, something else or
//! a reject, and never the end of the program.

use cyclometer_trace::bill_file::BillReader;
use cyclometer_trace::formats::find_format;
use cyclometer_trace::testing::read_records;
use cyclometer_trace::{ImportSettings, RecordOutcome};

const SAMPLES: [(&str, &str); 9] = [
    (
        "aws-lambda-report",
        "2023-06-02T11:27:25.060000+00:00 2023/06/02/f[72]88ab REPORT RequestId: 8c360c87\t\
         Duration: 2338.66 ms\tBilled Duration: 2521 ms\tMemory Size: 3009 MB\tMax Memory Used: \
         173 MB\tRestore Duration: 398.97 ms\tBilled Restore Duration: 182 ms\tStatus: timeout",
    ),
    (
        "aws-cloudwatch-json",
        r#"{"logStreamName":"a[b]","timestamp":1747081446310,"message":"REPORT RequestId: 94f4a28a\tDuration: 155.51 ms\tBilled Duration: 156 ms\tMemory Size: 1769 MB\t\n"}"#,
    ),
    (
        "aws-lambda-json",
        r#"{"time":"2026-03-01T10:00:02.000Z","type":"platform.report","record":{"requestId":"6d68","status":"success","metrics":{"durationMs":1233.96,"billedDurationMs":1698,"memorySizeMB":128,"maxMemoryUsedMB":91,"initDurationMs":463.512}}}"#,
    ),
    (
        "aws-lambda-insights",
        r#"{"_aws":{"Timestamp":1605034324256},"function_name":"f","duration":45191,"init_duration":130,"total_memory":256,"used_memory_max":63,"cpu_total_time":6690}"#,
    ),
    ("aws-logs-insights-csv", "@timestamp,@duration,@memorySize,@log"),
    (
        "aws-logs-insights-json",
        r#"[{"field":"@timestamp","value":"2023-03-04 06:58:52.235"},{"field":"@duration","value":"1394.6"},{"field":"@memorySize","value":"1.28E8"}]"#,
    ),
    (
        "ubc-aws-lambda",
        r#"{"RequestId":"16783458","Duration":17.36,"Billed Duration":18.0,"Memory Size":1000.0,"Invocation Timestamp":1745570818782089249}"#,
    ),
    (
        "google-cloud-run",
        r#"{"httpRequest":{"status":200,"latency":"0.162307150s"},"resource":{"type":"cloud_run_revision","labels":{"service_name":"a"}},"timestamp":"2025-05-12T21:45:32.338627Z"}"#,
    ),
    (
        "google-cloud-run",
        r#""LogEntry(labels={'instanceId': '0'}, http_request={'status': 200, 'latency': '0.1s'}, timestamp=datetime.datetime(2025, 4, 26, 8, 20, 2, 42028, tzinfo=datetime.timezone.utc), resource=Resource(labels={'service_name': 'a'}))""#,
    ),
];

/// Bytes that mean something in these formats.
const WORDS: [&[u8]; 12] = [
    b"-",
    b"e99",
    b"\0",
    b"\xff",
    b"\"",
    b"{",
    b":",
    b"\t",
    b"99999999999999999999",
    b"\xc3\xa9",
    b"]",
    b"\\",
];

/// Returns the next number of a simple sequence (Knuth's MMIX), so that failures repeat.
const fn advance(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

fn change(sample: &[u8], state: &mut u64) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for _ in 0..=advance(state) % 3 {
        let at = advance(state) % bytes.len().max(1);
        match advance(state) % 4 {
            0 => bytes.truncate(at),
            1 => drop(bytes.splice(at..at, WORDS[advance(state) % WORDS.len()].iter().copied())),
            2 => drop(bytes.drain(at..(at + 1 + advance(state) % 8).min(bytes.len()))),
            _ => {
                let part = bytes[at..].to_vec();
                bytes.extend_from_slice(&part);
            }
        }
    }
    bytes
}

#[test]
fn changed_records_are_rows_others_or_rejects() {
    let settings = ImportSettings::default();
    let mut state = 14;
    for (name, sample) in SAMPLES {
        let format = find_format(name).expect(name);
        let good = read_records(format, &settings, [sample.as_bytes()]);
        assert_eq!(good.rows.len() + good.others.len(), 1, "{name}: {:?}", good.rejects);
        for _ in 0..3_000 {
            let bytes = change(sample.as_bytes(), &mut state);
            let _ = (format.detect)(&bytes);
            let read = read_records(format, &settings, [&bytes[..], sample.as_bytes()]);
            let told = read.others.len() + read.rejects.len();
            assert!(read.rows.len() + told >= 2, "{name}: a record is lost");
        }
    }
    // Both are what a reader may say.
    assert_ne!(RecordOutcome::Rows, RecordOutcome::Other("line"));
}

#[test]
fn changed_bills_are_read_or_refused() {
    let sample = b"ServiceName,ChargeCategory,BilledCost,BillingCurrency,ChargePeriodStart,RegionId\n\
        \"AWS, Lambda\",Usage,0.5,USD,2026-03-01T00:00:00Z,us-east-1\nx,Tax,-1E-3,USD,2026-03-01 00:00:00,\n";
    let mut state = 15;
    for _ in 0..3_000 {
        let bytes = change(sample, &mut state);
        let Ok(mut reader) = BillReader::open_bill(&bytes[..]) else { continue };
        while let Ok(Some(_)) = reader.next_line() {}
    }
}
