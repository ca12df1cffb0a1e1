//! Invocations of AWS Lambda in the data set of ubc-cirrus-lab/demystifying-serverless-costs
//! (`dataset/cpu_overallocation/aws`): the fields of REPORT lines, as numbers.

use serde::Deserialize;

use super::lambda::json_records::BAD_DURATION;
use super::lambda::{LambdaReport, LambdaRows, REPORT_METERS, ReportPlace};
use crate::batch::{RowBatch, TraceNames};
use crate::exact_number::parse_exact;
use crate::format::{Detection, Framing, Record, RecordOutcome, RecordReader, Reject, TraceFormat};
use crate::json_text::{Field, begins_like_json, contains, field_scaled, field_text, parse_record};

/// Elements of an array, with the labels of REPORT lines as keys.
pub static UBC_LAMBDA: TraceFormat = TraceFormat {
    name: "ubc-aws-lambda",
    platform: Some("aws-lambda"),
    about: "AWS Lambda in the data set `demystifying-serverless-costs` of the UBC",
    schema: "https://github.com/ubc-cirrus-lab/demystifying-serverless-costs at d772931, \
             os-scheduling/Overallocation_AWS.ipynb",
    framing: Framing::JsonValues { array_keys: &[] },
    meters: REPORT_METERS,
    detect: |start| {
        let found = contains(start, "\"Billed Duration\"") && contains(start, "\"Memory Size\"");
        if found && begins_like_json(start) { Detection::Certain } else { Detection::No }
    },
    open: |settings, file| Box::new(UbcReader { rows: LambdaRows::new(settings, file) }),
};

struct UbcReader {
    rows: LambdaRows,
}

#[derive(Deserialize)]
struct UbcRecord<'a> {
    #[serde(borrow, rename = "RequestId")]
    request: Field<'a>,
    #[serde(borrow, rename = "Duration")]
    duration: Field<'a>,
    #[serde(borrow, rename = "Billed Duration")]
    billed: Field<'a>,
    #[serde(borrow, rename = "Init Duration")]
    init: Field<'a>,
    #[serde(borrow, rename = "Memory Size")]
    memory: Field<'a>,
    #[serde(borrow, rename = "Max Memory Used")]
    memory_peak: Field<'a>,
    /// Nanoseconds since 1970, of the clock of the client.
    #[serde(borrow, rename = "Invocation Timestamp")]
    asked_at: Field<'a>,
    #[serde(borrow, rename = "Function Name")]
    function: Field<'a>,
}

impl RecordReader for UbcReader {
    fn read_record(
        &mut self,
        record: &Record<'_>,
        names: &mut TraceNames,
        batch: &mut RowBatch,
    ) -> Result<RecordOutcome, Reject> {
        let read: UbcRecord<'_> = parse_record(record.bytes)?;
        let time = |field| field_scaled(field, 6, BAD_DURATION);
        let report = LambdaReport {
            request: field_text(read.request),
            duration: time(read.duration)?,
            billed: time(read.billed)?,
            init: time(read.init)?,
            memory: read_megabytes(read.memory)?,
            memory_peak: read_megabytes(read.memory_peak)?,
            ..LambdaReport::default()
        };
        let asked_at = field_text(read.asked_at).map(|text| {
            let nanos = parse_exact(text.as_bytes(), 0).and_then(|nanos| i64::try_from(nanos).ok());
            nanos.ok_or(Reject::new("a time that is no number of nanoseconds since 1970"))
        });
        let place = ReportPlace {
            function: field_text(read.function),
            started_at: asked_at.transpose()?,
            ..ReportPlace::default()
        };
        self.rows.push_report(&report, &place, names, batch)
    }
}

/// Returns bytes: `MB` are MiB at this provider.
fn read_megabytes(field: Field<'_>) -> Result<Option<u64>, Reject> {
    const CAUSE: &str = "a memory size that is no number of MB";
    let size = field_scaled(field, 0, CAUSE)?;
    size.map(|size| size.checked_mul(1 << 20).ok_or(Reject::new(CAUSE))).transpose()
}

#[cfg(test)]
mod tests {
    use cyclometer_core::meter::Meter;
    use cyclometer_core::units::Nanos;

    use super::*;
    use crate::format::ImportSettings;
    use crate::testing::read_records;

    /// The first record of `MEM1000_BATCH0.json` (MIT), without its payload.
    #[test]
    fn the_fields_have_the_units_of_report_lines() {
        let record = br#"{"RequestId": "16783458-47d8-43bb-8648-45629448d5c3", "Duration": 17.36,
            "Billed Duration": 18.0, "Memory Size": 1000.0, "Max Memory Used": 39.0,
            "Invocation Timestamp": 1745570818782089249, "Function Name": "875a"}"#;
        let input = read_records(&UBC_LAMBDA, &ImportSettings::default(), [&record[..]]);
        let row = &input.rows[0];
        assert_eq!(row.usage.phases.run, Some(Nanos(17_360_000)));
        assert_eq!(row.billed, Some(Nanos(18_000_000)));
        assert_eq!(row.usage.get(Meter::MemoryAllocated), Some(1000 << 20));
        // Not 1745570818782089200, which the nearest binary number would be written as.
        assert_eq!(row.started_at, Some(1_745_570_818_782_089_249));
        assert_eq!(input.names.cells()[0].function, "875a");
    }
}
