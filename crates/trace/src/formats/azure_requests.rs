//! Azure Functions: requests that Application Insights recorded.

use std::borrow::Cow;

use cyclometer_core::invocation::Status;
use cyclometer_core::meter::{Meter, Source};
use cyclometer_core::units::Nanos;

use crate::batch::{RowBatch, TraceNames};
use crate::format::{Detection, FormatMeter, Framing, RecordOutcome, Reject, TraceFormat};
use crate::reading::csv_reader::{CsvColumn, CsvRow, has_columns, open_csv_reader};
use crate::reading::json_object::{JsonObject, JsonValue, parse_array, scalar_text};
use crate::reading::json_reader::{begins_like_json, contains_all, open_json_reader};
use crate::reading::quantity::{COUNT, DURATION, UnitScale, parse_quantity};
use crate::reading::row_maker::{RowMaker, RowNames};
use crate::reading::time_notation::{TimeNotation, parse_iso_time};
use crate::row::RequestId;

const SCHEMA: &str = "https://learn.microsoft.com/azure/azure-monitor/reference/tables/apprequests";

const METERS: &[FormatMeter] = &[
    FormatMeter {
        meter: Meter::Wall,
        source: Some(Source::Log),
        note: "duration in ms; the run is customDimensions.FunctionExecutionTimeMs where it is \
               there; a row stands for itemCount requests, since Application Insights samples",
    },
    FormatMeter {
        meter: Meter::MemoryPeak,
        source: None,
        note: "Application Insights has no memory by request",
    },
    FormatMeter {
        meter: Meter::MemoryAllocated,
        source: None,
        note: "requests do not name the instance's size: give --memory",
    },
    FormatMeter {
        meter: Meter::CpuTime,
        source: None,
        note: "Application Insights has no CPU time by request",
    },
];

/// Requests as JSON objects, or as the tables of a query's result.
pub static AZURE_REQUESTS: TraceFormat = TraceFormat {
    name: "azure-app-insights",
    platform: Some("azure-functions"),
    about: "Azure Functions: `requests` of Application Insights (JSON, query results)",
    schema: SCHEMA,
    framing: Framing::JsonValues { array_keys: &["records", "tables", "value"] },
    meters: METERS,
    detect: |start| {
        let old = contains_all(start, &["\"itemCount\"", "\"duration\"", "\"timestamp\""]);
        let new = contains_all(start, &["\"ItemCount\"", "\"DurationMs\""]);
        if begins_like_json(start) && (old || new) { Detection::Certain } else { Detection::No }
    },
    open: |settings, file| open_json_reader("azure-functions", settings, file, read_object),
};

/// Requests as the portal exports them.
pub static AZURE_REQUESTS_CSV: TraceFormat = TraceFormat {
    name: "azure-app-insights-csv",
    platform: Some("azure-functions"),
    about: "Azure Functions: `requests` of Application Insights (CSV of the portal)",
    schema: SCHEMA,
    framing: Framing::Csv,
    meters: METERS,
    detect: |start| {
        let old = has_columns(start, &["itemCount", "duration", "success"]);
        let new = has_columns(start, &["ItemCount", "DurationMs", "Success"]);
        if old || new { Detection::Certain } else { Detection::No }
    },
    open: |settings, file| open_csv_reader("azure-functions", settings, file, COLUMNS, read_row),
};

/// Most rows of a table, which become rows of the trace together.
const MAX_TABLE_ROWS: usize = 100_000;

/// Names of a field: in the table `requests`, in `AppRequests`, in the portal's export.
const FIELDS: [&[&str]; 12] = [
    &["timestamp", "TimeGenerated", "time", "timestamp [UTC]", "TimeGenerated [UTC]"],
    &["duration", "DurationMs"],
    &["itemCount", "ItemCount"],
    &["success", "Success"],
    &["operation_Name", "OperationName"],
    &["name", "Name"],
    &["cloud_RoleName", "AppRoleName"],
    &["cloud_RoleInstance", "AppRoleInstance"],
    &["id", "Id"],
    &["customDimensions", "Properties"],
    &["itemType", "Type"],
    &["timestamp [Local Time]", "TimeGenerated [Local Time]"],
];

const COLUMNS: &[CsvColumn] = &[
    CsvColumn { names: FIELDS[0], missing: None },
    CsvColumn { names: FIELDS[1], missing: Some("below a header without duration") },
    CsvColumn { names: FIELDS[2], missing: Some("below a header without itemCount") },
    CsvColumn { names: FIELDS[3], missing: None },
    CsvColumn { names: FIELDS[4], missing: None },
    CsvColumn { names: FIELDS[5], missing: None },
    CsvColumn { names: FIELDS[6], missing: None },
    CsvColumn { names: FIELDS[7], missing: None },
    CsvColumn { names: FIELDS[8], missing: None },
    CsvColumn { names: FIELDS[9], missing: None },
    CsvColumn { names: FIELDS[10], missing: None },
    CsvColumn { names: FIELDS[11], missing: None },
];

/// Values of a request, in the order of [`FIELDS`].
type Fields<'a> = [Option<Cow<'a, str>>; FIELDS.len()];

fn read_object(
    object: &JsonObject<'_>,
    maker: &mut RowMaker,
    names: &mut TraceNames,
    batch: &mut RowBatch,
) -> Result<RecordOutcome, Reject> {
    if object.value("columns")?.is_some() && object.value("rows")?.is_some() {
        return read_table(object, maker, names, batch);
    }
    let mut fields: Fields<'_> = Default::default();
    for (field, keys) in fields.iter_mut().zip(FIELDS) {
        if let Some(value) = object.first_value(keys)? {
            *field = Some(text_or_object(value)?);
        }
    }
    read_request(&fields, maker, names, batch)
}

/// Returns the text of a value; custom dimensions are an object, or the text of one.
fn text_or_object(value: JsonValue<'_>) -> Result<Cow<'_, str>, Reject> {
    if value.get().starts_with('{') { Ok(Cow::Borrowed(value.get())) } else { scalar_text(value) }
}

/// Reads `{"name":"PrimaryResult","columns":[{"name":..}],"rows":[[..]]}`.
fn read_table(
    table: &JsonObject<'_>,
    maker: &mut RowMaker,
    names: &mut TraceNames,
    batch: &mut RowBatch,
) -> Result<RecordOutcome, Reject> {
    let mut places: [Option<usize>; FIELDS.len()] = [None; FIELDS.len()];
    for (column, value) in table.array("columns")?.into_iter().enumerate() {
        let name = JsonObject::parse(value.get().as_bytes())?.text("name")?.unwrap_or_default();
        if let Some(field) = FIELDS.iter().position(|known| known.contains(&name.as_ref())) {
            if places[field].is_some() {
                return Err(Reject::new("a table that names one column twice"));
            }
            places[field] = Some(column);
        }
    }
    let mut outcome = RecordOutcome::Other("table without rows");
    let rows = table.array("rows")?;
    if rows.len() > MAX_TABLE_ROWS {
        return Err(Reject::new("a table of more than 100,000 rows: export it as lines or CSV"));
    }
    for row in rows {
        match read_table_row(row, &places, maker, names, batch) {
            Ok(RecordOutcome::Rows) => outcome = RecordOutcome::Rows,
            Ok(RecordOutcome::Other(kind)) if outcome != RecordOutcome::Rows => {
                outcome = RecordOutcome::Other(kind);
            }
            Ok(RecordOutcome::Other(_)) => {}
            Err(cause) => batch.reject_part(cause),
        }
    }
    Ok(outcome)
}

fn read_table_row(
    row: JsonValue<'_>,
    places: &[Option<usize>; FIELDS.len()],
    maker: &mut RowMaker,
    names: &mut TraceNames,
    batch: &mut RowBatch,
) -> Result<RecordOutcome, Reject> {
    let values = parse_array(row)?;
    let mut fields: Fields<'_> = Default::default();
    for (field, place) in fields.iter_mut().zip(places) {
        let value = place.and_then(|place| values.get(place));
        if let Some(value) = value.filter(|value| value.get() != "null") {
            *field = Some(text_or_object(value)?);
        }
    }
    read_request(&fields, maker, names, batch)
}

fn read_row(
    row: &CsvRow<'_>,
    maker: &mut RowMaker,
    names: &mut TraceNames,
    batch: &mut RowBatch,
) -> Result<RecordOutcome, Reject> {
    let mut fields: Fields<'_> = Default::default();
    for (column, field) in fields.iter_mut().enumerate() {
        *field = row.text(column)?.map(Cow::Borrowed);
    }
    read_request(&fields, maker, names, batch)
}

fn read_request(
    fields: &Fields<'_>,
    maker: &mut RowMaker,
    names: &mut TraceNames,
    batch: &mut RowBatch,
) -> Result<RecordOutcome, Reject> {
    let [time, duration, count, success, operation, name, app, instance, id, custom, kind, local] =
        fields.each_ref().map(|field| field.as_deref().filter(|text| !text.is_empty()));
    if kind.is_some_and(|kind| !matches!(kind, "request" | "AppRequests")) {
        return Ok(RecordOutcome::Other("telemetry that is no request"));
    }
    let duration = duration.ok_or(Reject::new("no duration"))?;
    let duration = parse_quantity(duration.as_bytes(), UnitScale::MILLISECONDS, DURATION)?;
    let function = join_names(app, operation.or(name));
    let given = RowNames { function: function.as_deref(), ..RowNames::default() };
    let mut row = maker.make_row(names, &given)?;
    row.started_at = match (time, local) {
        (Some(time), _) => Some(parse_portal_time(time, Some(0))?),
        (None, Some(time)) => Some(parse_portal_time(time, maker.zone_minutes())?),
        (None, None) => None,
    };
    let custom = custom.map(CustomDimensions::parse).transpose()?.unwrap_or_default();
    row.usage.phases.run = Some(Nanos(custom.execution.unwrap_or(duration)));
    row.usage.set(Meter::Wall, duration);
    row.status = match success {
        Some(text) if text.eq_ignore_ascii_case("false") => Status::Failed,
        Some(text) if !text.eq_ignore_ascii_case("true") => {
            return Err(Reject::new("a `success` that is neither true nor false"));
        }
        _ => Status::Ok,
    };
    row.weight = parse_weight(count.unwrap_or("1"))?;
    row.request = custom.invocation.as_deref().or(id).map(RequestId::from_text);
    row.instance = instance.map(|name| names.find_or_add_instance(name)).transpose()?;
    batch.push(row);
    Ok(RecordOutcome::Rows)
}

/// Joins the names of a function app and of its function.
pub(super) fn join_names(app: Option<&str>, function: Option<&str>) -> Option<String> {
    match (app, function) {
        (Some(app), Some(function)) => Some(format!("{app}/{function}")),
        (one, other) => one.or(other).map(str::to_owned),
    }
}

/// Parses the number of invocations that a row stands for.
pub(super) fn parse_weight(text: &str) -> Result<u32, Reject> {
    let weight = parse_quantity(text.as_bytes(), UnitScale::ONE, COUNT)?;
    match u32::try_from(weight) {
        Ok(0) => Err(Reject::new("a row that stands for no invocation")),
        Ok(weight) if text.bytes().all(|it| it != b'.') => Ok(weight),
        _ => Err(Reject::new("a weight that is no whole number below 2^32")),
    }
}

/// What the functions' host adds to a request.
#[derive(Debug, Default)]
struct CustomDimensions {
    invocation: Option<String>,
    /// Time of the function without the host's, in nanoseconds.
    execution: Option<u64>,
}

impl CustomDimensions {
    fn parse(text: &str) -> Result<Self, Reject> {
        let Ok(object) = JsonObject::parse(text.as_bytes()) else { return Ok(Self::default()) };
        let scale = UnitScale::MILLISECONDS;
        Ok(Self {
            invocation: object.text("InvocationId")?.map(Cow::into_owned),
            execution: object.quantity("FunctionExecutionTimeMs", scale, DURATION)?,
        })
    }
}

/// Parses ISO times, and those of the portal in English of the United States.
fn parse_portal_time(text: &str, zone: Option<i32>) -> Result<i64, Reject> {
    if !text.contains('/') {
        return parse_iso_time(text, zone);
    }
    let fraction = text.contains('.');
    let pattern = if fraction { "%m/%d/%Y, %I:%M:%S.%f %p" } else { "%m/%d/%Y, %I:%M:%S %p" };
    let notation = TimeNotation::parse_pattern(pattern);
    let notation = notation.map_err(|_| Reject::new("a time in an unknown notation"))?;
    // Without AM or PM, the day may come before the month.
    notation.parse_time(text, zone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ImportSettings;
    use crate::testing::read_lines;

    /// `date -u -d 2025-05-12T20:24:06Z +%s` is 1747081446.
    const AT: i64 = 1_747_081_446_154_000_000;

    /// Made by the tables `requests` and `AppRequests` of Azure Monitor's reference.
    const OLD: &str = r#"{"timestamp":"2025-05-12T20:24:06.1540000Z","id":"79cca9db3e2a9f11","name":"Resize","success":"False","resultCode":"0","duration":155.5103,"itemType":"request","customDimensions":{"InvocationId":"94f4a28a-dbe3-4114-9f2b-0b3ae40f4dbc"},"operation_Name":"Resize","cloud_RoleName":"shop","cloud_RoleInstance":"a1","itemCount":5}"#;

    #[test]
    fn a_request_has_its_units_and_weight() {
        let new = r#"{"TimeGenerated":"2025-05-12T20:24:06.154Z","Id":"79cca9db3e2a9f11","Name":"Resize","Success":true,"DurationMs":2.0e2,"ItemCount":1,"Type":"AppRequests","Properties":"{\"InvocationId\":\"94f4a28a-dbe3-4114-9f2b-0b3ae40f4dbc\",\"FunctionExecutionTimeMs\":\"4.7239\"}"}"#;
        let other = r#"{"timestamp":"2025-05-12T20:24:06.154Z","itemType":"trace","itemCount":1}"#;
        let text = format!("{OLD}\n{new}\n{other}\n");
        let settings = ImportSettings { memory: Some(512 << 20), ..ImportSettings::default() };
        let input = read_lines(&AZURE_REQUESTS, &settings, &text);
        assert_eq!(input.rejects, []);
        assert_eq!(input.others, ["telemetry that is no request"]);
        let [old, new] = &input.rows[..] else { panic!("two rows") };
        // 155.5103 ms.
        assert_eq!(old.usage.get(Meter::Wall), Some(155_510_300));
        assert_eq!(old.usage.phases.run, Some(Nanos(155_510_300)));
        assert_eq!(old.started_at, Some(AT));
        assert_eq!((old.weight, old.status), (5, Status::Failed));
        assert_eq!(input.names.cells()[0].function, "shop/Resize");
        assert_eq!(input.names.cells()[0].configuration, "512MB");
        assert_eq!(new.usage.get(Meter::Wall), Some(200_000_000));
        assert_eq!(new.usage.phases.run, Some(Nanos(4_723_900)), "without the host");
        assert_eq!(new.request, old.request, "one invocation, told twice");
        assert_eq!(old.usage.get(Meter::CpuTime), None);
    }

    #[test]
    fn a_bad_row_of_a_table_takes_no_other_with_it() {
        let text = r#"{"name":"PrimaryResult","columns":[{"name":"timestamp"},{"name":"duration"},{"name":"itemCount"},{"name":"name"}],"rows":[["2025-05-12T20:24:06.154Z",1.5,2,"f"],["2025-05-12T20:24:06.154Z",-3,1,"f"],["2025-05-12T20:24:06.154Z",3,1,"f"]]}"#;
        let input = crate::testing::read_records(
            &AZURE_REQUESTS,
            &ImportSettings::default(),
            [text.as_bytes()],
        );
        assert_eq!(input.rows.len(), 2);
        assert_eq!(input.rejects.len(), 1);
    }

    #[test]
    fn tables_of_query_results_are_read() {
        // The shape of the query API's answer.
        let text = r#"{"name":"PrimaryResult","columns":[{"name":"timestamp","type":"datetime"},{"name":"duration","type":"real"},{"name":"itemCount","type":"int"},{"name":"name","type":"string"}],"rows":[["2025-05-12T20:24:06.154Z",1.5,2,"f"],["2025-05-12T20:24:06.154Z",3,1,"f"]]}"#;
        let input = read_lines(&AZURE_REQUESTS, &ImportSettings::default(), text);
        let read: Vec<_> =
            input.rows.iter().map(|row| (row.usage.get(Meter::Wall), row.weight)).collect();
        assert_eq!(read, [(Some(1_500_000), 2), (Some(3_000_000), 1)]);
        assert_eq!((AZURE_REQUESTS.detect)(OLD.as_bytes()), Detection::Certain);
    }

    #[test]
    fn the_portals_export_is_read_and_odd_values_are_rejected() {
        let text = "\u{feff}timestamp [UTC],id,name,success,duration,itemCount,customDimensions\n\
            \"5/12/2025, 8:24:06.154 PM\",a,\"re\"\"size\",True,12.5,1,\"{\"\"InvocationId\"\":\"\"x\"\"}\"\n\
            \"12.05.2025, 20:24:06\",a,f,True,12.5,1,\n\
            \"5/12/2025, 8:24:06 PM\",a,f,True,-1,1,\n\
            \"5/12/2025, 8:24:06 PM\",a,f,maybe,1,1,\n\
            \"5/12/2025, 8:24:06 PM\",a,f,True,1,0,\n\
            \"5/12/2025, 8:24:06 PM\",a,f,True,\"1,5\",1,\n\
            short,row\n";
        let start = text.as_bytes();
        assert_eq!((AZURE_REQUESTS_CSV.detect)(start), Detection::Certain);
        let input = read_lines(&AZURE_REQUESTS_CSV, &ImportSettings::default(), text);
        assert_eq!(input.rows.len(), 1);
        assert_eq!(input.rows[0].started_at, Some(AT));
        assert_eq!(input.rows[0].usage.get(Meter::Wall), Some(12_500_000));
        assert_eq!(input.names.cells()[0].function, "re\"size");
        let causes: Vec<_> = input.rejects.iter().map(|(line, cause)| (*line, cause.0)).collect();
        assert_eq!(
            causes,
            [
                (3, "a time that is not like 2025-05-12T20:24:06.154Z"),
                (4, DURATION.negative),
                (5, "a `success` that is neither true nor false"),
                (6, "a row that stands for no invocation"),
                (7, DURATION.number),
                (8, "a row with more or fewer fields than its header"),
            ]
        );
        let twice = "duration,itemCount,Duration,success\n1,1,1,True\n";
        let input = read_lines(&AZURE_REQUESTS_CSV, &ImportSettings::default(), twice);
        assert_eq!(input.rejects.len(), 2);
        assert!(input.rejects[1].1.0.contains("twice"));
    }
}
