//! Results of `CloudWatch` Logs Insights: CSV of the console, and JSON of the console or of
//! `get-query-results`.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;

use super::csv_fields::CsvFields;
use super::lambda::json_records::BAD_DURATION;
use super::lambda::{
    Ending, LambdaMessage, LambdaReport, LambdaRows, REPORT_METERS, ReportPlace, function_of_group,
    function_of_stream, read_message,
};
use crate::batch::{RowBatch, TraceNames};
use crate::clock_text::parse_timestamp;
use crate::exact_number::parse_exact;
use crate::format::{Detection, Framing, Record, RecordOutcome, RecordReader, Reject, TraceFormat};
use crate::json_text::{Field, begins_like_json, contains, field_text, parse_record, scale_text};

const SCHEMA: &str = "https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/\
                      CWL_AnalyzeLogData-discoverable-fields.html";

/// CSV that the console exports.
pub static INSIGHTS_CSV: TraceFormat = TraceFormat {
    name: "aws-logs-insights-csv",
    platform: Some("aws-lambda"),
    about: "AWS CloudWatch Logs Insights as CSV: @duration, @billedDuration, @memorySize",
    schema: SCHEMA,
    framing: Framing::Csv,
    meters: REPORT_METERS,
    detect: |start| {
        let line = start.split(|byte| *byte == b'\n').next().unwrap_or(start);
        let found = has_report_fields(line) && !begins_like_json(start);
        if found { Detection::Certain } else { Detection::No }
    },
    open: |settings, file| {
        Box::new(CsvReader {
            rows: LambdaRows::new(settings, file),
            fields: CsvFields::default(),
            header: None,
        })
    },
};

/// JSON: objects of the console's export, or lists of fields of the API.
pub static INSIGHTS_JSON: TraceFormat = TraceFormat {
    name: "aws-logs-insights-json",
    platform: Some("aws-lambda"),
    about: "AWS CloudWatch Logs Insights as JSON, of the console or of get-query-results",
    schema: SCHEMA,
    framing: Framing::JsonValues { array_keys: &["results"] },
    meters: REPORT_METERS,
    detect: |start| {
        let found = has_report_fields(start) && begins_like_json(start);
        if found { Detection::Certain } else { Detection::No }
    },
    open: |settings, file| Box::new(JsonReader { rows: LambdaRows::new(settings, file) }),
};

fn has_report_fields(text: &[u8]) -> bool {
    ["@duration", "@billedDuration", "@message"].iter().any(|name| contains(text, name))
}

/// Fields of a row, by their names.
#[derive(Default)]
struct InsightsRow<'a> {
    values: HashMap<&'a str, Cow<'a, str>>,
}

impl InsightsRow<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    fn milliseconds(&self, name: &str) -> Result<Option<u64>, Reject> {
        scale_text(self.get(name), 6, BAD_DURATION)
    }

    /// Returns bytes: the log has the megabytes of the function times a million, where the
    /// provider's megabytes are MiB.
    fn decimal_megabytes(&self, name: &str) -> Result<Option<u64>, Reject> {
        const CAUSE: &str = "a memory size that is no number of decimal megabytes";
        let Some(bytes) = scale_text(self.get(name), 0, CAUSE)? else { return Ok(None) };
        let size = Some(bytes / 1_000_000).filter(|_| bytes % 1_000_000 == 0);
        let bytes = size.and_then(|size| size.checked_mul(1 << 20));
        bytes.map(Some).ok_or(Reject::new(CAUSE))
    }

    fn read_report(&self) -> Result<LambdaReport<'_>, Reject> {
        let status = self.get("@status");
        Ok(LambdaReport {
            request: self.get("@requestId").map(Cow::Borrowed),
            duration: self.milliseconds("@duration")?,
            billed: self.milliseconds("@billedDuration")?,
            init: self.milliseconds("@initDuration")?,
            memory: self.decimal_megabytes("@memorySize")?,
            memory_peak: self.decimal_megabytes("@maxMemoryUsed")?,
            ending: status.map_or(Ending::Well, Ending::from_word),
            ..LambdaReport::default()
        })
    }

    /// Reads the fields, or the message where a query selected no fields; the message has more
    /// digits, and knows of restoring.
    fn read(&self) -> Result<LambdaMessage<'_>, Reject> {
        if let Some(message) = self.get("@message") {
            match read_message(message)? {
                LambdaMessage::Other(_) if self.get("@duration").is_some() => {}
                message => return Ok(message),
            }
        }
        if self.get("@type").is_some_and(|kind| kind != "REPORT") {
            return Ok(LambdaMessage::Other("row of another @type"));
        }
        if self.get("@duration").is_none() && self.get("@type").is_none() {
            return Ok(LambdaMessage::Other("row without @duration"));
        }
        Ok(LambdaMessage::Report(self.read_report()?, None))
    }

    /// Reads what stands around the report. Times are UTC, as the API has them, unless a zone is
    /// given: the console can write those of the reader's own zone.
    fn read_place(&self, zone: Option<i32>) -> Result<ReportPlace<'_>, Reject> {
        let stream = self.get("@logStream");
        let function = self.get("@log").and_then(function_of_group);
        let function = function.or_else(|| stream.and_then(function_of_stream));
        let time = self.get("@timestamp").map(|text| read_time(text, zone)).transpose()?;
        Ok(ReportPlace {
            function: function.map(Cow::Borrowed),
            instance: stream.map(Cow::Borrowed),
            ended_at: time,
            started_at: None,
        })
    }
}

fn read_time(text: &str, zone: Option<i32>) -> Result<i64, Reject> {
    let is_text = text.get(1..).is_some_and(|rest| rest.contains('-'));
    if is_text {
        return Ok(parse_timestamp(text, Some(zone.unwrap_or(0)))?);
    }
    let nanos = parse_exact(text.as_bytes(), 6).and_then(|nanos| i64::try_from(nanos).ok());
    nanos.ok_or(Reject::new("a time that is no number of milliseconds since 1970"))
}

fn push_row(
    rows: &mut LambdaRows,
    row: &InsightsRow<'_>,
    names: &mut TraceNames,
    batch: &mut RowBatch,
) -> Result<RecordOutcome, Reject> {
    match row.read()? {
        LambdaMessage::Other(kind) => Ok(RecordOutcome::Other(kind)),
        LambdaMessage::Report(report, ended_at) => {
            let place = row.read_place(rows.zone_minutes())?;
            let place = ReportPlace { ended_at: ended_at.or(place.ended_at), ..place };
            rows.push_report(&report, &place, names, batch)
        }
    }
}

struct CsvReader {
    rows: LambdaRows,
    fields: CsvFields,
    header: Option<Vec<String>>,
}

impl RecordReader for CsvReader {
    fn read_record(
        &mut self,
        record: &Record<'_>,
        names: &mut TraceNames,
        batch: &mut RowBatch,
    ) -> Result<RecordOutcome, Reject> {
        self.fields.parse_record(record.bytes)?;
        let Some(header) = &self.header else {
            // Also of a header that cannot be used, so that its rows are no headers.
            let header = self.fields.read_header();
            self.header = Some(header.clone().unwrap_or_default());
            return header.map(|_| RecordOutcome::Other("header"));
        };
        if self.fields.len() != header.len() {
            return Err(Reject::new("another number of fields than the header"));
        }
        let mut row = InsightsRow::default();
        for (at, name) in header.iter().enumerate() {
            if let Some(text) = self.fields.text(Some(at))? {
                row.values.insert(name, Cow::Borrowed(text));
            }
        }
        push_row(&mut self.rows, &row, names, batch)
    }

    fn save_state(&self) -> Option<String> {
        self.header.as_ref().and_then(|header| serde_json::to_string(header).ok())
    }

    fn restore_state(&mut self, state: &str) {
        self.header = serde_json::from_str(state).ok();
    }
}

struct JsonReader {
    rows: LambdaRows,
}

#[derive(Deserialize)]
struct FieldValue<'a> {
    #[serde(borrow)]
    field: Field<'a>,
    #[serde(borrow)]
    value: Field<'a>,
}

impl RecordReader for JsonReader {
    fn read_record(
        &mut self,
        record: &Record<'_>,
        names: &mut TraceNames,
        batch: &mut RowBatch,
    ) -> Result<RecordOutcome, Reject> {
        let is_list = record.bytes.trim_ascii_start().first() == Some(&b'[');
        let pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = if is_list {
            let list: Vec<FieldValue<'_>> = parse_record(record.bytes)?;
            list.iter()
                .filter_map(|pair| Some((field_text(pair.field)?, field_text(pair.value)?)))
                .collect()
        } else {
            let object: HashMap<Cow<'_, str>, Field<'_>> = parse_record(record.bytes)?;
            object
                .into_iter()
                .filter_map(|(name, value)| Some((name, field_text(value)?)))
                .collect()
        };
        let mut row = InsightsRow::default();
        for (name, value) in &pairs {
            row.values.insert(name, Cow::Borrowed(value));
        }
        push_row(&mut self.rows, &row, names, batch)
    }
}

#[cfg(test)]
mod tests {
    use cyclometer_core::meter::Meter;
    use cyclometer_core::units::Nanos;

    use super::*;
    use crate::format::ImportSettings;
    use crate::testing::{ReadInput, read_records};

    fn read(format: &TraceFormat, records: &[&str]) -> ReadInput {
        let records = records.iter().map(|record| record.as_bytes());
        read_records(format, &ImportSettings::default(), records)
    }

    /// A row that a user has published, with the figures of its REPORT line beside it: 128 MB and
    /// 79 MB are 1.28E8 and 7.9E7.
    #[test]
    fn decimal_megabytes_mean_binary_ones() {
        let header = "@timestamp,@log,@logStream,@requestId,@type,@duration,@billedDuration,\
                      @initDuration,@memorySize,@maxMemoryUsed";
        assert_eq!((INSIGHTS_CSV.detect)(header.as_bytes()), Detection::Certain);
        let input = read(
            &INSIGHTS_CSV,
            &[
                header,
                "2023-03-04 06:58:52.235,265627204426:/aws/lambda/killSwitch-nodejs,\
                 2023/03/04/[$LATEST]3a3b,0fc78b42-f6e0-400a-be91-71c5d1eadb9a,REPORT,1394.6,\
                 1395.0,428.6,1.28E8,7.9E7",
                "2023-03-04 06:58:52.235,,,,START,,,,,",
                "2023-03-04 06:58:52.235,,,,REPORT,1.0,1.0,,134217728,7.9E7",
                "2023-03-04 06:58:52.235,,,,REPORT,-1.0,1.0,,1.28E8,7.9E7",
                "a,b",
            ],
        );
        assert_eq!(input.others, ["header", "row of another @type"]);
        let causes: Vec<_> = input.rejects.iter().map(|(line, cause)| (*line, cause.0)).collect();
        assert_eq!(
            causes,
            [
                (4, "a memory size that is no number of decimal megabytes"),
                (5, "a duration that is no number of milliseconds"),
                (6, "another number of fields than the header")
            ]
        );
        check_published_row(&input);
    }

    fn check_published_row(input: &ReadInput) {
        let row = &input.rows[0];
        assert_eq!(row.usage.get(Meter::MemoryAllocated), Some(128 << 20));
        assert_eq!(row.usage.get(Meter::MemoryPeak), Some(79 << 20));
        assert_eq!(row.usage.phases.run, Some(Nanos(1_394_600_000)));
        assert_eq!(row.usage.phases.start, Some(Nanos(428_600_000)));
        assert_eq!(row.billed, Some(Nanos(1_395_000_000)));
        assert_eq!(input.names.cells()[0].function, "killSwitch-nodejs");
        // 1677913132235 ms, less 1394.6 and 428.6 ms.
        assert_eq!(row.started_at, Some(1_677_913_130_411_800_000));
    }

    #[test]
    fn json_of_the_console_and_of_the_api_are_one() {
        let api = r#"[{"field":"@timestamp","value":"2023-03-04 06:58:52.235"},
            {"field":"@log","value":"265627204426:/aws/lambda/killSwitch-nodejs"},
            {"field":"@duration","value":"1394.6"},{"field":"@billedDuration","value":"1395.0"},
            {"field":"@initDuration","value":"428.6"},{"field":"@memorySize","value":"1.28E8"},
            {"field":"@maxMemoryUsed","value":"7.9E7"},{"field":"@type","value":"REPORT"},
            {"field":"@ptr","value":"Cmg"}]"#;
        let console = r#"{"@timestamp":1677913132235,"@log":"265627204426:/aws/lambda/killSwitch-nodejs",
            "@duration":1394.6,"@billedDuration":1395.0,"@initDuration":428.6,"@memorySize":1.28E8,
            "@maxMemoryUsed":7.9E7}"#;
        let message = r#"{"@timestamp":"2023-03-04 06:58:52.235","@log":"265627204426:/aws/lambda/killSwitch-nodejs",
            "@message":"REPORT RequestId: 0fc78b42\tDuration: 1394.60 ms\tBilled Duration: 1395 ms\tMemory Size: 128 MB\tMax Memory Used: 79 MB\tInit Duration: 428.60 ms\t\n"}"#;
        for record in [api, console, message] {
            let input = read(&INSIGHTS_JSON, &[record]);
            assert_eq!(input.rejects, [], "{record}");
            check_published_row(&input);
        }
    }

    #[test]
    fn a_reader_goes_on_with_the_header_it_had() {
        let settings = ImportSettings::default();
        let mut first = (INSIGHTS_CSV.open)(&settings, "a");
        let (mut names, mut batch) = (TraceNames::default(), RowBatch::default());
        let header = Record { bytes: b"@duration,@memorySize", line: 1 };
        first.read_record(&header, &mut names, &mut batch).expect("a header");
        let mut second = (INSIGHTS_CSV.open)(&settings, "a");
        second.restore_state(&first.save_state().expect("a state"));
        let row = Record { bytes: b"1.5,2.56E8", line: 2 };
        second.read_record(&row, &mut names, &mut batch).expect("a row");
        assert_eq!(batch.rows()[0].usage.get(Meter::MemoryAllocated), Some(256 << 20));
    }
}
