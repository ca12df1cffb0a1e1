//! Knative Serving: request logs of the queue proxy.

use cyclometer_core::invocation::Status;
use cyclometer_core::meter::{Meter, Source};

use crate::batch::{RowBatch, TraceNames};
use crate::format::{Detection, FormatMeter, Framing, RecordOutcome, Reject, TraceFormat};
use crate::reading::json_object::JsonObject;
use crate::reading::json_reader::{begins_like_json, contains_all, open_json_reader};
use crate::reading::quantity::{DURATION, UnitScale, parse_quantity};
use crate::reading::row_maker::{RowMaker, RowNames};
use crate::reading::time_notation::parse_iso_time;

/// Request logs by the template that Knative ships.
pub static KNATIVE_REQUESTS: TraceFormat = TraceFormat {
    name: "knative-requests",
    platform: Some("knative"),
    about: "Knative Serving: request logs by the documented template, perhaps with `revision`",
    schema: "https://knative.dev/docs/serving/observability/logging/request-logging/",
    framing: Framing::JsonValues { array_keys: &[] },
    meters: &[
        FormatMeter {
            meter: Meter::Wall,
            source: Some(Source::Log),
            note: "httpRequest.latency in s, which includes waiting in the queue proxy",
        },
        FormatMeter {
            meter: Meter::MemoryAllocated,
            source: None,
            note: "request logs do not name the container's limits: give --memory",
        },
        FormatMeter { meter: Meter::MemoryPeak, source: None, note: "request logs have no memory" },
        FormatMeter { meter: Meter::CpuTime, source: None, note: "request logs have no CPU time" },
    ],
    detect: |start| {
        // Cloud Run's log has a resource, and no address of the server's pod.
        let own = contains_all(start, &["\"httpRequest\"", "\"latency\"", "\"protocol\""]);
        let cloud = contains_all(start, &["\"resource\"", "\"logName\""]);
        let found = begins_like_json(start) && own && !cloud;
        if found { Detection::Possible } else { Detection::No }
    },
    open: |settings, file| open_json_reader("knative", settings, file, read_request),
};

fn read_request(
    object: &JsonObject<'_>,
    maker: &mut RowMaker,
    names: &mut TraceNames,
    batch: &mut RowBatch,
) -> Result<RecordOutcome, Reject> {
    let request = object.object("httpRequest")?;
    let Some(latency) = request.text("latency")? else {
        return Ok(RecordOutcome::Other("line that is no request"));
    };
    let user = request.text("userAgent")?.unwrap_or_default();
    if user.starts_with("kube-probe") || user.starts_with("Knative-") {
        return Ok(RecordOutcome::Other("probe"));
    }
    let seconds = latency.strip_suffix('s');
    let seconds = seconds.ok_or(Reject::new("a latency that is not in s"))?;
    let wall = parse_quantity(seconds.as_bytes(), UnitScale::SECONDS, DURATION)?;
    let revision = object.object("revision")?;
    let function = revision.first_text(&["service", "configuration", "name"])?;
    let function = function.as_deref();
    let mut row = maker.make_row(names, &RowNames { function, ..RowNames::default() })?;
    row.usage.set(Meter::Wall, wall);
    let time = object.first_text(&["timestamp", "time"])?;
    row.started_at = time.map(|text| parse_iso_time(&text, None)).transpose()?;
    let failed = request.text("status")?.is_some_and(|status| status.starts_with('5'));
    row.status = if failed { Status::Failed } else { Status::Ok };
    let instance = match revision.text("podName")? {
        Some(pod) => Some(pod),
        None => request.text("serverIp")?,
    };
    let instance = instance.filter(|name| !name.is_empty());
    row.instance = instance.map(|name| names.find_or_add_instance(&name)).transpose()?;
    batch.push(row);
    Ok(RecordOutcome::Rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ImportSettings;
    use crate::testing::read_lines;

    #[test]
    fn the_template_of_knative_is_read() {
        // Filled in by hand: the default of `logging.request-log-template`, and one with the
        // fields of `.Revision`. Go writes small latencies with an exponent.
        let text = concat!(
            r#"{"httpRequest": {"requestMethod": "GET", "requestUrl": "/", "requestSize": "0", "status": 200, "responseSize": "12", "userAgent": "curl/8", "remoteIp": "10.0.0.1:1", "serverIp": "10.0.0.7", "referer": "", "latency": "0.162307150s", "protocol": "HTTP/1.1"}, "traceId": "[]"}"#,
            "\n",
            r#"{"httpRequest": {"status": 503, "latency": "9.5e-05s", "protocol": "HTTP/1.1"}, "revision": {"name": "shop-00001", "service": "shop", "podName": "shop-00001-x"}, "timestamp": "2025-05-12T20:24:06.154Z"}"#,
            "\n",
            r#"{"httpRequest": {"status": 200, "userAgent": "kube-probe/1.29", "latency": "0.001s", "protocol": "HTTP/1.1"}}"#,
            "\n",
            r#"{"httpRequest": {"status": 200, "latency": "12ms", "protocol": "HTTP/1.1"}}"#,
        );
        assert_eq!((KNATIVE_REQUESTS.detect)(text.as_bytes()), Detection::Possible);
        let input = read_lines(&KNATIVE_REQUESTS, &ImportSettings::default(), text);
        let [first, second] = &input.rows[..] else { panic!("{:?}", input.rejects) };
        assert_eq!(first.usage.get(Meter::Wall), Some(162_307_150));
        assert_eq!(first.usage.phases.run, None, "the queue is in it");
        assert_eq!(second.usage.get(Meter::Wall), Some(95_000));
        assert_eq!(second.status, Status::Failed);
        assert_eq!(input.names.cells()[0].function, "input");
        assert_eq!(input.names.cells()[1].function, "shop");
        assert_eq!(input.names.instances(), ["10.0.0.7", "shop-00001-x"]);
        assert_eq!(input.others, ["probe"]);
        assert_eq!(input.rejects.len(), 1);
    }
}
