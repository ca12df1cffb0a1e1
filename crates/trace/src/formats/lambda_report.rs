//! AWS Lambda REPORT lines in plain text.

use cyclometer_core::invocation::StartKind;
use cyclometer_core::meter::{Meter, Source};
use cyclometer_core::units::Nanos;

use crate::batch::{CellId, CellLabel, RowBatch, TraceNames, memory_configuration};
use crate::exact_number::{parse_milliseconds, parse_scaled};
use crate::format::{
    Detection, FormatMeter, Framing, ImportSettings, Record, RecordOutcome, RecordReader, Reject,
    TraceFormat,
};
use crate::row::{RequestId, TraceRow};

/// Plain log of a function, of which the REPORT lines are read.
pub static LAMBDA_REPORT: TraceFormat = TraceFormat {
    name: "aws-lambda-report",
    platform: Some("aws-lambda"),
    about: "AWS Lambda logs in plain text, of which the REPORT lines are read",
    schema: "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-view.html",
    framing: Framing::Lines,
    meters: &[
        FormatMeter {
            meter: Meter::MemoryAllocated,
            source: Some(Source::Log),
            note: "Memory Size, whose MB are MiB",
        },
        FormatMeter {
            meter: Meter::MemoryPeak,
            source: Some(Source::Log),
            note: "Max Memory Used, whose MB are MiB, of the whole sandbox",
        },
        FormatMeter {
            meter: Meter::CpuTime,
            source: None,
            note: "REPORT lines have no CPU time: Lambda Insights has it",
        },
    ],
    detect: |start| {
        let found = start.windows(17).any(|it| it == b"REPORT RequestId:");
        if found { Detection::Possible } else { Detection::No }
    },
    open: |settings, file| Box::new(ReportReader::new(settings, file)),
};

/// Reader of REPORT lines.
struct ReportReader {
    function: String,
    region: Option<String>,
    /// Cell of the last row, with what it is found by.
    last_cell: Option<(u64, StartKind, CellId)>,
}

impl ReportReader {
    fn new(settings: &ImportSettings, file: &str) -> Self {
        Self {
            function: settings.function.clone().unwrap_or_else(|| file.to_owned()),
            region: settings.region.clone(),
            last_cell: None,
        }
    }

    fn find_cell(
        &mut self,
        names: &mut TraceNames,
        memory: u64,
        start: StartKind,
    ) -> Result<CellId, Reject> {
        if let Some((known, kind, cell)) = self.last_cell
            && known == memory
            && kind == start
        {
            return Ok(cell);
        }
        let cell = names.find_or_add_cell(&CellLabel {
            platform: "aws-lambda".to_owned(),
            function: self.function.clone(),
            configuration: memory_configuration(Some(memory)),
            region: self.region.clone(),
            start,
        })?;
        self.last_cell = Some((memory, start, cell));
        Ok(cell)
    }
}

impl RecordReader for ReportReader {
    fn read_record(
        &mut self,
        record: &Record<'_>,
        names: &mut TraceNames,
        batch: &mut RowBatch,
    ) -> Result<RecordOutcome, Reject> {
        let Some(report) = find_report(record.bytes) else {
            return Ok(RecordOutcome::Other("line without a REPORT"));
        };
        let duration = field_milliseconds(report, b"\tDuration: ")?;
        let duration = duration.ok_or(Reject::new("no Duration"))?;
        let billed = field_milliseconds(report, b"Billed Duration: ")?;
        let init = field_milliseconds(report, b"Init Duration: ")?;
        let memory = field_megabytes(report, b"Memory Size: ")?;
        let memory = memory.ok_or(Reject::new("no Memory Size"))?;
        let start = if init.is_some() { StartKind::Cold } else { StartKind::Warm };
        let cell = self.find_cell(names, memory, start)?;
        let mut row = TraceRow::new(cell, init.is_some());
        row.usage.phases.start = init.map(Nanos);
        row.usage.phases.run = Some(Nanos(duration));
        row.usage.set(Meter::Wall, duration.saturating_add(init.unwrap_or(0)));
        row.usage.set(Meter::MemoryAllocated, memory);
        row.usage.set(Meter::MemoryPeak, field_megabytes(report, b"Max Memory Used: ")?);
        row.billed = billed.map(Nanos);
        row.request = field_text(report, b"RequestId: ").map(RequestId::from_text);
        batch.push(row);
        Ok(RecordOutcome::Rows)
    }
}

fn find_report(line: &[u8]) -> Option<&[u8]> {
    let at = line.windows(17).position(|it| it == b"REPORT RequestId:")?;
    line.get(at..)
}

/// Returns the text after a label, up to the next blank or tab.
fn field_text<'a>(report: &'a [u8], label: &[u8]) -> Option<&'a str> {
    let at = report.windows(label.len()).position(|it| it == label)?;
    let rest = report.get(at + label.len()..)?;
    let end = rest.iter().position(|it| matches!(it, b' ' | b'\t' | b'\r')).unwrap_or(rest.len());
    std::str::from_utf8(&rest[..end]).ok()
}

fn field_milliseconds(report: &[u8], label: &[u8]) -> Result<Option<u64>, Reject> {
    let Some(text) = field_text(report, label) else { return Ok(None) };
    let nanos = parse_milliseconds(text.as_bytes());
    nanos.map(Some).ok_or(Reject::new("a duration that is no number of milliseconds"))
}

fn field_megabytes(report: &[u8], label: &[u8]) -> Result<Option<u64>, Reject> {
    let Some(text) = field_text(report, label) else { return Ok(None) };
    let bytes = parse_scaled(text.as_bytes(), 0).and_then(|it| it.checked_mul(1 << 20));
    bytes.map(Some).ok_or(Reject::new("a memory size that is no number of MB"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::read_lines;

    #[test]
    fn a_report_line_has_its_units() {
        let text = "START RequestId: 94f4a28a-dbe3-4114-9f2b-0b3ae40f4dbc Version: $LATEST\n\
            REPORT RequestId: 94f4a28a-dbe3-4114-9f2b-0b3ae40f4dbc\tDuration: 155.51 ms\t\
            Billed Duration: 156 ms\tMemory Size: 1769 MB\tMax Memory Used: 40 MB\t\n\
            REPORT RequestId: 94f4a28a\tDuration: -1 ms\tMemory Size: 128 MB\n";
        let input = read_lines(&LAMBDA_REPORT, &ImportSettings::default(), text);
        assert_eq!(input.rows.len(), 1);
        let row = &input.rows[0];
        assert_eq!(row.usage.phases.run, Some(Nanos(155_510_000)));
        assert_eq!(row.billed, Some(Nanos(156_000_000)));
        assert_eq!(row.usage.get(Meter::MemoryAllocated), Some(1769 << 20));
        assert_eq!(row.usage.get(Meter::MemoryPeak), Some(40 << 20));
        assert_eq!(input.names.cells()[0].configuration, "1769MB");
        assert_eq!(input.others.len(), 1);
        assert_eq!(input.rejects.len(), 1);
        assert_eq!(input.rejects[0].0, 3);
    }
}
