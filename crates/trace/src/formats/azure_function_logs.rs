//! Azure Functions: the resource log `FunctionAppLogs`.

use std::borrow::Cow;

use cyclometer_core::invocation::Status;
use cyclometer_core::meter::{Meter, Source};
use cyclometer_core::units::Nanos;

use crate::batch::{RowBatch, TraceNames};
use crate::format::{Detection, FormatMeter, Framing, RecordOutcome, Reject, TraceFormat};
use crate::formats::azure_requests::join_names;
use crate::reading::json_object::JsonObject;
use crate::reading::json_reader::{begins_like_json, contains_all, open_json_reader};
use crate::reading::quantity::{DURATION, UnitScale, parse_quantity};
use crate::reading::row_maker::{RowMaker, RowNames};
use crate::reading::time_notation::parse_iso_time;
use crate::row::RequestId;

/// Lines of the functions' host, of which those on finished executions are read.
pub static AZURE_FUNCTION_LOGS: TraceFormat = TraceFormat {
    name: "azure-function-app-logs",
    platform: Some("azure-functions"),
    about: "Azure Functions: FunctionAppLogs, of which `Executed ... Duration=..` is read",
    schema: "https://learn.microsoft.com/azure/azure-monitor/reference/tables/functionapplogs",
    framing: Framing::JsonValues { array_keys: &["records", "value"] },
    meters: &[
        FormatMeter {
            meter: Meter::Wall,
            source: Some(Source::Log),
            note: "Duration of the host's message, in whole ms; the start is the message's time \
                   less the duration",
        },
        FormatMeter {
            meter: Meter::MemoryPeak,
            source: None,
            note: "FunctionAppLogs have no memory by execution",
        },
        FormatMeter {
            meter: Meter::MemoryAllocated,
            source: None,
            note: "FunctionAppLogs do not name the instance's size: give --memory",
        },
        FormatMeter {
            meter: Meter::CpuTime,
            source: None,
            note: "FunctionAppLogs have no CPU time",
        },
    ],
    detect: |start| {
        let category = contains_all(start, &["FunctionAppLogs"]);
        let found = begins_like_json(start) && category;
        if found { Detection::Certain } else { Detection::No }
    },
    open: |settings, file| open_json_reader("azure-functions", settings, file, read_object),
};

/// Message of a finished execution: `Executed 'Functions.F' (Succeeded, Id=.., Duration=50ms)`.
struct Executed<'a> {
    function: &'a str,
    succeeded: bool,
    id: &'a str,
    duration: u64,
}

fn read_object(
    object: &JsonObject<'_>,
    maker: &mut RowMaker,
    names: &mut TraceNames,
    batch: &mut RowBatch,
) -> Result<RecordOutcome, Reject> {
    // An object, the text of one, or text like one with single quotes.
    let properties = object.value("properties")?;
    let text = match properties {
        Some(value) if value.get().starts_with('{') => Some(Cow::Borrowed(value.get())),
        _ => object.text("properties")?,
    };
    let inner = text.as_deref().and_then(|text| JsonObject::parse(text.as_bytes()).ok());
    let inner = inner.unwrap_or_default();
    let message = match inner.text("message")? {
        Some(message) => Some(message),
        None => object.first_text(&["message", "Message"])?.or_else(|| text.clone()),
    };
    let Some(message) = message else { return Ok(RecordOutcome::Other("line without a message")) };
    let Some(executed) = parse_message(&message)? else {
        return Ok(RecordOutcome::Other("line that is no finished execution"));
    };
    let quoted = |key| text.as_deref().and_then(|text| find_quoted(text, key)).map(Cow::Borrowed);
    let app = match inner.text("appName")?.or_else(|| quoted("appName")) {
        Some(app) => Some(app).filter(|app| !app.is_empty()),
        None => object.first_text(&["AppName", "appName"])?,
    };
    let function = join_names(app.as_deref(), Some(executed.function));
    let region = object.first_text(&["location", "Location"])?;
    let mut row = maker.make_row(
        names,
        &RowNames {
            function: function.as_deref(),
            region: region.as_deref(),
            ..RowNames::default()
        },
    )?;
    let ended = object.first_text(&["time", "TimeGenerated"])?;
    let ended = ended.map(|text| parse_iso_time(&text, Some(0))).transpose()?;
    row.started_at = start_before(ended, executed.duration)?;
    row.usage.phases.run = Some(Nanos(executed.duration));
    row.usage.set(Meter::Wall, executed.duration);
    row.status = if executed.succeeded { Status::Ok } else { Status::Failed };
    row.request = Some(RequestId::from_text(executed.id));
    let instance = match inner.text("hostInstanceId")?.or_else(|| quoted("hostInstanceId")) {
        Some(instance) => Some(instance),
        None => object.first_text(&["HostInstanceId", "hostInstanceId"])?,
    };
    let instance = instance.filter(|name| !name.is_empty());
    row.instance = instance.map(|name| names.find_or_add_instance(&name)).transpose()?;
    batch.push(row);
    Ok(RecordOutcome::Rows)
}

/// Returns the value of a key in text like JSON with single quotes: `'key':'value'`.
fn find_quoted<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("'{key}':'"))?;
    rest.split_once('\'').map(|(value, _)| value)
}

/// Returns the start of what ended after a duration.
pub(super) fn start_before(ended: Option<i64>, duration: u64) -> Result<Option<i64>, Reject> {
    let Some(ended) = ended else { return Ok(None) };
    let start = i64::try_from(duration).ok().and_then(|duration| ended.checked_sub(duration));
    let start = start.filter(|start| *start >= 0);
    start.map(Some).ok_or(Reject::new("a duration that began before 1970"))
}

fn parse_message(message: &str) -> Result<Option<Executed<'_>>, Reject> {
    let Some((_, rest)) = message.split_once("Executed") else { return Ok(None) };
    // Exporters write other quotes than the host, and leave out blanks.
    let quote = |character: char| matches!(character, '\'' | '"' | '\\' | ' ');
    let Some((name, rest)) = rest.split_once(" (") else { return Ok(None) };
    let Some((fields, _)) = rest.split_once("ms)") else { return Ok(None) };
    let mut parts = fields.split(", ");
    let state = parts.next().unwrap_or_default();
    let mut field = |label: &str| parts.next().and_then(|part| part.strip_prefix(label));
    let (Some(id), Some(duration)) = (field("Id="), field("Duration=")) else { return Ok(None) };
    let succeeded = match state {
        "Succeeded" => true,
        "Failed" => false,
        _ => return Err(Reject::new("an execution that neither succeeded nor failed")),
    };
    let name = name.trim_matches(quote);
    let function = name.strip_prefix("Functions.").unwrap_or(name);
    let duration = parse_quantity(duration.as_bytes(), UnitScale::MILLISECONDS, DURATION)?;
    Ok(Some(Executed { function, succeeded, id, duration }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ImportSettings;
    use crate::testing::read_lines;

    #[test]
    fn finished_executions_are_read_in_each_spelling() {
        // By the table's reference and the host's messages; as streamed to an event hub
        // (properties as text with single quotes), repaired by a shipper, and as a table.
        let text = concat!(
            r#"{"time":"2021-02-04T07:45:44.5864815Z","resourceId":"/SUBSCRIPTIONS/X","category":"FunctionAppLogs","level":"Informational","location":"West Europe","properties":"{'appName':'','message':'Executed 'Functions.ingest' (Succeeded, Id=26849b40-bba5-41ee-9521-fc3205a39b5e, Duration=50ms)','hostInstanceId':'a1b2','eventName':'FunctionCompleted'}"}"#,
            "\n",
            r#"{"time":"2021-02-04T07:45:44.5864815Z","category":"FunctionAppLogs","properties":{"message":"Executed\"Functions.ingest\" (Failed, Id=36849b40-bba5-41ee-9521-fc3205a39b5e, Duration=7ms)","hostInstanceId":"d7e093b6","appName":"shop"}}"#,
            "\n",
            r#"{"TimeGenerated":"2021-02-04T07:45:44.586Z","Message":"Executing 'Functions.ingest' (Reason='', Id=1)","Category":"Function.ingest"}"#,
            "\n",
            r#"{"TimeGenerated":"2021-02-04T07:45:44.586Z","Message":"Executed 'Functions.ingest' (Succeeded, Id=1, Duration=-3ms)"}"#,
        );
        let input = read_lines(&AZURE_FUNCTION_LOGS, &ImportSettings::default(), text);
        let [first, second] = &input.rows[..] else { panic!("two rows: {:?}", input.rejects) };
        assert_eq!(first.usage.get(Meter::Wall), Some(50_000_000));
        // `date -u -d 2021-02-04T07:45:44Z +%s` is 1612424744; .5864815 s less 50 ms.
        assert_eq!(first.started_at, Some(1_612_424_744_536_481_500));
        assert_eq!(first.request, Some(RequestId::from_text("26849b40bba541ee9521fc3205a39b5e")));
        assert_eq!(second.status, Status::Failed);
        assert_eq!(input.names.cells()[0].region.as_deref(), Some("West Europe"));
        assert_eq!(input.names.cells()[0].function, "ingest");
        assert_eq!(input.names.cells()[1].function, "shop/ingest");
        assert_eq!(input.names.instances(), ["a1b2", "d7e093b6"]);
        assert_eq!(input.others, ["line that is no finished execution"]);
        assert_eq!(input.rejects, [(4, Reject::new(DURATION.negative))]);
    }
}
