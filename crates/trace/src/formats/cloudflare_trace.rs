//! Cloudflare Workers: trace events of Logpush, of tail Workers and of `wrangler tail`.

use cyclometer_core::invocation::Status;
use cyclometer_core::meter::{Meter, Source};
use cyclometer_core::units::Nanos;

use crate::batch::{RowBatch, TraceNames};
use crate::format::{Detection, FormatMeter, Framing, RecordOutcome, Reject, TraceFormat};
use crate::reading::json_object::JsonObject;
use crate::reading::json_reader::{begins_like_json, contains_all, open_json_reader};
use crate::reading::quantity::{DURATION, UnitScale, parse_quantity};
use crate::reading::row_maker::{RowMaker, RowNames};
use crate::reading::time_notation::{parse_epoch, parse_iso_time};
use crate::row::RequestId;

/// Trace events, with the keys of Logpush or of `wrangler tail`.
pub static CLOUDFLARE_TRACE: TraceFormat = TraceFormat {
    name: "cloudflare-workers-trace",
    platform: Some("cloudflare-workers"),
    about: "Cloudflare Workers: trace events of Logpush, tail Workers and `wrangler tail`",
    schema: "https://developers.cloudflare.com/logs/logpush/logpush-job/datasets/account/workers_trace_events/",
    framing: Framing::JsonValues { array_keys: &["result"] },
    meters: &[
        FormatMeter {
            meter: Meter::Wall,
            source: Some(Source::Log),
            note: "WallTimeMs, in whole ms: 0 is below 1 ms",
        },
        FormatMeter {
            meter: Meter::CpuTime,
            source: Some(Source::Log),
            note: "CPUTimeMs, in whole ms: 0 is below 1 ms; jobs set up before April 2025 lack it",
        },
        FormatMeter {
            meter: Meter::MemoryPeak,
            source: None,
            note: "trace events have no memory: an isolate may use 128 MB",
        },
    ],
    detect: |start| {
        let push = contains_all(start, &["\"ScriptName\"", "\"Outcome\""]);
        let tail = contains_all(start, &["\"scriptName\"", "\"outcome\"", "\"eventTimestamp\""]);
        let found = begins_like_json(start) && (push || tail);
        if found { Detection::Certain } else { Detection::No }
    },
    open: |settings, file| open_json_reader("cloudflare-workers", settings, file, read_event),
};

const TIMES: [&str; 4] = ["EventTimestampMs", "eventTimestamp", "EventTimestamp", "timestamp"];

fn read_event(
    event: &JsonObject<'_>,
    maker: &mut RowMaker,
    names: &mut TraceNames,
    batch: &mut RowBatch,
) -> Result<RecordOutcome, Reject> {
    let Some(outcome) = event.first_text(&["Outcome", "outcome"])? else {
        return Ok(RecordOutcome::Other("record without an outcome"));
    };
    let milliseconds = |keys: [&str; 3]| -> Result<Option<u64>, Reject> {
        let text = event.first_text(&keys)?;
        let scale = UnitScale::MILLISECONDS;
        text.map(|text| parse_quantity(text.as_bytes(), scale, DURATION)).transpose()
    };
    let cpu = milliseconds(["CPUTimeMs", "cpuTime", "CpuTimeMs"])?;
    let wall = milliseconds(["WallTimeMs", "wallTime", "WallTime"])?;
    let script = event.first_text(&["ScriptName", "scriptName"])?;
    let function = script.as_deref();
    let mut row = maker.make_row(names, &RowNames { function, ..RowNames::default() })?;
    let time = event.first_text(&TIMES)?;
    row.started_at = time.as_deref().map(parse_time).transpose()?;
    row.usage.set(Meter::Wall, wall);
    row.usage.set(Meter::CpuTime, cpu);
    row.usage.phases.run = wall.map(Nanos);
    row.status = match outcome.as_ref() {
        "ok" | "responseStreamDisconnected" => Status::Ok,
        "exceededCpu" | "exceededWallTime" => Status::Timeout,
        _ => Status::Failed,
    };
    row.request = find_request(event, function, time.as_deref())?;
    batch.push(row);
    Ok(RecordOutcome::Rows)
}

/// Times are whole ms since 1970, unless a job was told to write RFC 3339.
fn parse_time(text: &str) -> Result<i64, Reject> {
    if text.contains('-') {
        return parse_iso_time(text, None);
    }
    parse_epoch(text.as_bytes(), UnitScale::MILLISECONDS)
}

/// Returns the identity of an event with a ray; Workers that call each other share the ray.
fn find_request(
    event: &JsonObject<'_>,
    script: Option<&str>,
    time: Option<&str>,
) -> Result<Option<RequestId>, Reject> {
    let (large, small) = (event.value("Event")?, event.value("event")?);
    let Some(inner) = large.or(small).filter(|value| value.get().starts_with('{')) else {
        return Ok(None);
    };
    let inner = JsonObject::parse(inner.get().as_bytes())?;
    let ray = match inner.first_text(&["RayID", "rayId"])? {
        Some(ray) => Some(ray),
        None => inner.object("request")?.object("headers")?.text("cf-ray")?,
    };
    let entry = event.first_text(&["Entrypoint", "entrypoint"])?.unwrap_or_default();
    Ok(ray.filter(|ray| !ray.is_empty()).map(|ray| {
        // Logpush writes the ray without the data centre.
        let ray = ray.split('-').next().unwrap_or_default();
        let [script, time] = [script, time].map(Option::unwrap_or_default);
        RequestId::from_text(&format!("{script}\n{entry}\n{ray}\n{time}"))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ImportSettings;
    use crate::testing::read_lines;

    #[test]
    fn each_spelling_has_whole_milliseconds() {
        // Made by the data set's fields, and by the messages of `wrangler tail --format json`.
        let text = concat!(
            r#"{"CPUTimeMs":3,"Event":{"RayID":"6b8a1a3c0f1e2d3c","Request":{"Method":"GET"}},"EventTimestampMs":1747081446154,"EventType":"fetch","Outcome":"ok","ScriptName":"shop","WallTimeMs":155}"#,
            "\n",
            r#"{"outcome":"ok","scriptName":"shop","cpuTime":3,"wallTime":155,"eventTimestamp":1747081446154,"event":{"request":{"headers":{"cf-ray":"6b8a1a3c0f1e2d3c-FRA"}}},"logs":[],"exceptions":[]}"#,
            "\n",
            r#"{"CPUTimeMs":0,"EventTimestampMs":1747081446154,"Outcome":"exceededCpu","ScriptName":"shop","WallTimeMs":0,"Event":null}"#,
            "\n",
            r#"{"EventTimestampMs":1747081446154,"Outcome":"exception","ScriptName":"shop"}"#,
            "\n",
            r#"{"CPUTimeMs":-1,"EventTimestampMs":1747081446154,"Outcome":"ok","ScriptName":"shop"}"#,
        );
        assert_eq!((CLOUDFLARE_TRACE.detect)(text.as_bytes()), Detection::Certain);
        let input = read_lines(&CLOUDFLARE_TRACE, &ImportSettings::default(), text);
        let [push, tail, short, old] = &input.rows[..] else { panic!("{:?}", input.rejects) };
        assert_eq!(push.usage.get(Meter::CpuTime), Some(3_000_000));
        assert_eq!(push.usage.get(Meter::Wall), Some(155_000_000));
        assert_eq!(push.started_at, Some(1_747_081_446_154_000_000));
        assert_eq!(tail, push, "the same event, exported twice");
        assert!(push.request.is_some());
        assert_eq!(short.usage.get(Meter::CpuTime), Some(0));
        assert_eq!(short.status, Status::Timeout);
        // Nothing is invented where an old job has no times.
        assert_eq!(old.usage.get(Meter::CpuTime), None);
        assert_eq!(old.status, Status::Failed);
        assert_eq!(input.rejects, [(5, Reject::new(DURATION.negative))]);
        assert_eq!(input.names.cells()[0].function, "shop");
    }
}
