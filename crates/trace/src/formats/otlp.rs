//! OpenTelemetry: spans of functions in OTLP's JSON.

use std::borrow::Cow;

use cyclometer_core::invocation::Status;
use cyclometer_core::meter::{Meter, Source};
use cyclometer_core::units::Nanos;

use crate::batch::{RowBatch, TraceNames};
use crate::format::{Detection, FormatMeter, Framing, RecordOutcome, Reject, TraceFormat};
use crate::reading::json_object::{JsonObject, scalar_text};
use crate::reading::json_reader::{begins_like_json, contains_all, open_json_reader};
use crate::reading::quantity::{DURATION, SIZE, UnitScale, parse_quantity};
use crate::reading::row_maker::{RowMaker, RowNames};
use crate::reading::time_notation::parse_epoch;
use crate::row::RequestId;

/// Spans that functions were served by.
pub static OTLP_SPANS: TraceFormat = TraceFormat {
    name: "otlp-faas-spans",
    platform: None,
    about: "OpenTelemetry: OTLP JSON, of which server spans with `faas.*` attributes are read",
    schema: "https://opentelemetry.io/docs/specs/semconv/faas/faas-spans/",
    framing: Framing::JsonValues { array_keys: &["resourceSpans"] },
    meters: &[
        FormatMeter {
            meter: Meter::Wall,
            source: Some(Source::Log),
            note: "from the span's start to its end, which is not the time that is billed; \
                   exporters may sample",
        },
        FormatMeter {
            meter: Meter::MemoryAllocated,
            source: Some(Source::Log),
            note: "faas.max_memory, in bytes",
        },
        FormatMeter {
            meter: Meter::MemoryPeak,
            source: None,
            note: "spans have no memory that was used",
        },
        FormatMeter { meter: Meter::CpuTime, source: None, note: "spans have no CPU time" },
    ],
    detect: |start| {
        let spans = contains_all(start, &["\"resourceSpans\""]);
        match (begins_like_json(start) && spans, contains_all(start, &["\"faas."])) {
            (false, _) => Detection::No,
            (true, true) => Detection::Certain,
            (true, false) => Detection::Possible,
        }
    },
    open: |settings, file| open_json_reader("otlp", settings, file, read_batch),
};

/// Attributes of a resource or a span.
struct Attributes<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Attributes<'a> {
    fn parse(owner: &JsonObject<'a>) -> Result<Self, Reject> {
        let mut list = Vec::new();
        for attribute in owner.array("attributes")? {
            let attribute = JsonObject::parse(attribute.get().as_bytes())?;
            let value = attribute.object("value")?;
            // A value of one of the types; arrays and the like are of no use here.
            let text = value.fields().first().and_then(|(_, value)| scalar_text(value).ok());
            if let (Some(key), Some(text)) = (attribute.text("key")?, text) {
                list.push((key, text));
            }
        }
        Ok(Self(list))
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, text)| text.as_ref())
    }
}

fn read_batch(
    object: &JsonObject<'_>,
    maker: &mut RowMaker,
    names: &mut TraceNames,
    batch: &mut RowBatch,
) -> Result<RecordOutcome, Reject> {
    let before = batch.len();
    if object.value("resourceSpans")?.is_some() {
        for resource in object.array("resourceSpans")? {
            let resource = JsonObject::parse(resource.get().as_bytes())?;
            read_resource(&resource, maker, names, batch)?;
        }
    } else if object.value("scopeSpans")?.is_some() {
        read_resource(object, maker, names, batch)?;
    } else {
        return Ok(RecordOutcome::Other("record without spans"));
    }
    if batch.len() > before {
        return Ok(RecordOutcome::Rows);
    }
    Ok(RecordOutcome::Other("spans that serve no function"))
}

fn read_resource(
    resource: &JsonObject<'_>,
    maker: &mut RowMaker,
    names: &mut TraceNames,
    batch: &mut RowBatch,
) -> Result<(), Reject> {
    let attributes = Attributes::parse(&resource.object("resource")?)?;
    for scope in resource.array("scopeSpans")? {
        let scope = JsonObject::parse(scope.get().as_bytes())?;
        for span in scope.array("spans")? {
            let span = JsonObject::parse(span.get().as_bytes());
            let read = span.and_then(|span| read_span(&span, &attributes, maker, names, batch));
            if let Err(cause) = read {
                batch.reject_part(cause);
            }
        }
    }
    Ok(())
}

/// Reads a span, if it is the server's of a function: what the function calls, and what it does
/// within, are spans of their own.
fn read_span(
    span: &JsonObject<'_>,
    resource: &Attributes<'_>,
    maker: &mut RowMaker,
    names: &mut TraceNames,
    batch: &mut RowBatch,
) -> Result<(), Reject> {
    let kind = span.text("kind")?;
    let serves =
        matches!(kind.as_deref(), Some("2" | "SPAN_KIND_SERVER" | "5" | "SPAN_KIND_CONSUMER"));
    let own = Attributes::parse(span)?;
    let marks = ["faas.invocation_id", "faas.execution", "faas.trigger", "faas.coldstart"];
    if !serves || !marks.iter().any(|key| own.get(key).is_some()) {
        return Ok(());
    }
    let find =
        |keys: &[&str]| keys.iter().find_map(|key| own.get(key).or_else(|| resource.get(key)));
    let time = |key| -> Result<i64, Reject> {
        let text = span.text(key)?.ok_or(Reject::new("a span without its start or end"))?;
        parse_epoch(text.as_bytes(), UnitScale::ONE)
    };
    let (start, end) = (time("startTimeUnixNano")?, time("endTimeUnixNano")?);
    let duration = u64::try_from(end - start).map_err(|_| Reject::new(DURATION.negative))?;
    let memory = find(&["faas.max_memory"]);
    let memory =
        memory.map(|text| parse_quantity(text.as_bytes(), UnitScale::ONE, SIZE)).transpose()?;
    let platform = find(&["cloud.platform"]).map(name_platform);
    let mut row = maker.make_row(
        names,
        &RowNames {
            platform: platform.as_deref(),
            function: find(&["faas.name", "service.name"]),
            region: find(&["cloud.region"]),
            memory,
            cold: own.get("faas.coldstart") == Some("true"),
            ..RowNames::default()
        },
    )?;
    row.started_at = Some(start);
    row.usage.set(Meter::Wall, duration);
    row.usage.phases.run = Some(Nanos(duration));
    let state = span.object("status")?.text("code")?;
    let failed = matches!(state.as_deref(), Some("2" | "STATUS_CODE_ERROR"));
    row.status = if failed { Status::Failed } else { Status::Ok };
    row.request = find_request(span, &own)?;
    let instance = find(&["faas.instance"]).filter(|name| !name.is_empty());
    row.instance = instance.map(|name| names.find_or_add_instance(name)).transpose()?;
    batch.push(row);
    Ok(())
}

fn find_request(span: &JsonObject<'_>, own: &Attributes<'_>) -> Result<Option<RequestId>, Reject> {
    if let Some(id) = own.get("faas.invocation_id").or_else(|| own.get("faas.execution")) {
        return Ok(Some(RequestId::from_text(id)));
    }
    let (trace, id) = (span.text("traceId")?, span.text("spanId")?);
    Ok(match (trace, id) {
        (Some(trace), Some(id)) => Some(RequestId::from_text(&format!("{trace}/{id}"))),
        _ => None,
    })
}

/// Returns the platform as traces of its own logs have it.
fn name_platform(platform: &str) -> String {
    match platform {
        "gcp_cloud_run" | "gcp.cloud_run" => "google-cloud-run".to_owned(),
        "gcp_cloud_functions" | "gcp.cloud_functions" => "google-cloud-functions".to_owned(),
        other => other.replace(['_', '.'], "-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ImportSettings;
    use crate::testing::read_lines;

    /// Made by OTLP's JSON encoding (64-bit integers are strings) and the conventions for `faas`.
    const BATCH: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"faas.name","value":{"stringValue":"resize"}},{"key":"faas.max_memory","value":{"intValue":"134217728"}},{"key":"cloud.region","value":{"stringValue":"eu-central-1"}},{"key":"cloud.platform","value":{"stringValue":"aws_lambda"}},{"key":"faas.instance","value":{"stringValue":"2025/05/12/[$LATEST]ab"}}]},"scopeSpans":[{"spans":[
{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","kind":2,"startTimeUnixNano":"1747081446154000001","endTimeUnixNano":"1747081446309510002","attributes":[{"key":"faas.invocation_id","value":{"stringValue":"94f4a28a-dbe3-4114-9f2b-0b3ae40f4dbc"}},{"key":"faas.coldstart","value":{"boolValue":true}}],"status":{"code":2}},
{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b175","kind":3,"startTimeUnixNano":"1","endTimeUnixNano":"2","attributes":[{"key":"faas.invoked_name","value":{"stringValue":"other"}}]},
{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b176","kind":1,"startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}"#;

    #[test]
    fn the_servers_span_of_a_function_is_a_row() {
        let one_line = BATCH.replace('\n', "");
        let client = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":3}]}]}]}"#;
        let text = format!("{one_line}\n{client}\n");
        assert_eq!((OTLP_SPANS.detect)(text.as_bytes()), Detection::Certain);
        let input = read_lines(&OTLP_SPANS, &ImportSettings::default(), &text);
        assert_eq!(input.rejects, []);
        assert_eq!(input.others, ["spans that serve no function"]);
        let [row] = &input.rows[..] else { panic!("one row") };
        // 309,510,002 less 154,000,001 ns; floats would have lost the last digits.
        assert_eq!(row.usage.get(Meter::Wall), Some(155_510_001));
        assert_eq!(row.started_at, Some(1_747_081_446_154_000_001));
        assert_eq!(row.usage.get(Meter::MemoryAllocated), Some(128 << 20));
        assert!(row.usage.cold);
        assert_eq!(row.status, Status::Failed);
        let cell = &input.names.cells()[0];
        assert_eq!((cell.platform.as_str(), cell.configuration.as_str()), ("aws-lambda", "128MB"));
        assert_eq!(input.names.instances(), ["2025/05/12/[$LATEST]ab"]);
    }

    #[test]
    fn a_span_that_ends_before_it_starts_is_rejected() {
        let text = BATCH.replace('\n', "").replace("1747081446309510002", "1747081446154000000");
        let input = read_lines(&OTLP_SPANS, &ImportSettings::default(), &text);
        assert_eq!(input.rejects, [(1, Reject::new(DURATION.negative))]);
        assert!(input.rows.is_empty());
    }
}
