//! AWS Lambda logs in plain text, of which the REPORT lines are read.

use std::borrow::Cow;

use super::lambda::report_text::{find_report, name_line, read_report};
use super::lambda::{
    LambdaMessage, LambdaRows, REPORT_METERS, ReportPlace, function_of_stream, read_message,
};
use crate::batch::{RowBatch, TraceNames};
use crate::clock_text::parse_timestamp;
use crate::format::{Detection, Framing, Record, RecordOutcome, RecordReader, Reject, TraceFormat};
use crate::json_text::{begins_like_json, contains};

/// Plain log of a function; also with a time and a log stream before each line, as
/// `aws logs tail`, `sam logs` and exports to S3 have them.
pub static LAMBDA_REPORT: TraceFormat = TraceFormat {
    name: "aws-lambda-report",
    platform: Some("aws-lambda"),
    about: "AWS Lambda logs in plain text, of which the REPORT lines are read",
    schema: "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-view.html; \
             restoring: https://docs.aws.amazon.com/lambda/latest/dg/snapstart-monitoring.html",
    framing: Framing::Lines,
    meters: REPORT_METERS,
    detect: |start| {
        let found = contains(start, "REPORT RequestI") && !begins_like_json(start);
        if found { Detection::Possible } else { Detection::No }
    },
    open: |settings, file| Box::new(ReportReader { rows: LambdaRows::new(settings, file) }),
};

/// Reader of REPORT lines.
struct ReportReader {
    rows: LambdaRows,
}

impl RecordReader for ReportReader {
    fn read_record(
        &mut self,
        record: &Record<'_>,
        names: &mut TraceNames,
        batch: &mut RowBatch,
    ) -> Result<RecordOutcome, Reject> {
        let line = record.bytes;
        let Some(at) = find_report(line) else { return self.read_other(line, names, batch) };
        let report = read_report(&line[at..])?;
        let place = read_prefix(&line[..at], self.rows.zone_minutes())?;
        self.rows.push_report(&report, &place, names, batch)
    }
}

impl ReportReader {
    /// Reads a line without a report; a plain log may have those of the JSON log format too.
    fn read_other(
        &mut self,
        line: &[u8],
        names: &mut TraceNames,
        batch: &mut RowBatch,
    ) -> Result<RecordOutcome, Reject> {
        let brace = memchr::memchr(b'{', line).filter(|_| contains(line, "\"platform.report\""));
        let Some(brace) = brace else { return Ok(RecordOutcome::Other(name_line(line))) };
        let text = std::str::from_utf8(&line[brace..]);
        let text = text.map_err(|_| Reject::new("text not in UTF-8"))?;
        match read_message(text)? {
            LambdaMessage::Report(report, ended_at) => {
                let place = read_prefix(&line[..brace], self.rows.zone_minutes())?;
                let place = ReportPlace { ended_at: ended_at.or(place.ended_at), ..place };
                self.rows.push_report(&report, &place, names, batch)
            }
            LambdaMessage::Other(kind) => Ok(RecordOutcome::Other(kind)),
        }
    }
}

/// Reads the time and the log stream before a report.
fn read_prefix(prefix: &[u8], zone: Option<i32>) -> Result<ReportPlace<'_>, Reject> {
    let mut place = ReportPlace::default();
    if prefix.is_empty() {
        return Ok(place);
    }
    let text = std::str::from_utf8(prefix).map_err(|_| Reject::new("text not in UTF-8"))?;
    let mut words = text.split_ascii_whitespace().peekable();
    while let Some(word) = words.next() {
        if word.contains('/') && word.contains('[') {
            place.function = function_of_stream(word).map(Cow::Borrowed);
            place.instance = Some(Cow::Borrowed(word));
        } else if is_date(word) && place.ended_at.is_none() {
            let time = match words.peek() {
                Some(clock) if word.len() == 10 => format!("{word}T{clock}"),
                _ => word.to_owned(),
            };
            place.ended_at = Some(parse_timestamp(&time, zone)?);
        }
    }
    Ok(place)
}

/// Returns whether a word begins like `2025-05-12`.
fn is_date(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() >= 10
        && bytes[..10].iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

#[cfg(test)]
mod tests {
    use cyclometer_core::invocation::{StartKind, Status};
    use cyclometer_core::meter::Meter;
    use cyclometer_core::units::Nanos;

    use super::*;
    use crate::format::ImportSettings;
    use crate::testing::{ReadInput, read_lines};

    fn read(text: &str) -> ReadInput {
        read_lines(&LAMBDA_REPORT, &ImportSettings::default(), text)
    }

    #[test]
    fn a_report_line_has_its_units() {
        let text = "START RequestId: 94f4a28a-dbe3-4114-9f2b-0b3ae40f4dbc Version: $LATEST\n\
            REPORT RequestId: 94f4a28a-dbe3-4114-9f2b-0b3ae40f4dbc\tDuration: 155.51 ms\t\
            Billed Duration: 156 ms\tMemory Size: 1769 MB\tMax Memory Used: 40 MB\t\n\
            REPORT RequestId: 94f4a28a\tDuration: -1 ms\tMemory Size: 128 MB\n";
        let input = read(text);
        assert_eq!(input.rows.len(), 1);
        let row = &input.rows[0];
        assert_eq!(row.usage.phases.run, Some(Nanos(155_510_000)));
        assert_eq!(row.usage.phases.start, None);
        assert_eq!(row.billed, Some(Nanos(156_000_000)));
        assert_eq!(row.usage.get(Meter::MemoryAllocated), Some(1769 << 20));
        assert_eq!(row.usage.get(Meter::MemoryPeak), Some(40 << 20));
        assert_eq!(input.names.cells()[0].configuration, "1769MB");
        assert_eq!(input.others, ["START line"]);
        assert_eq!(input.rejects, [(3, Reject::new("a duration that is no number of ms"))]);
    }

    /// The line of aws-samples' `SnapStart` demonstration, as `sam logs` prints it.
    #[test]
    fn restoring_a_snapshot_is_billed_in_part() {
        let input = read(
            "2023/06/02/[72]88ab219a63d343d294d0a9947e8ab36a 2023-06-02T11:27:25.060000+00:00 \
             REPORT RequestId: 8c360c87-d4b7-4423-b5f3-af02be3c1763\tDuration: 2338.66 ms\t\
             Billed Duration: 2521 ms\tMemory Size: 3009 MB\tMax Memory Used: 173 MB\t\
             Restore Duration: 398.97 ms\tBilled Restore Duration: 182 ms\t\n",
        );
        let row = &input.rows[0];
        // 398.97 - 182 = 216.97 ms are not billed; 2338.66 + 182 = 2520.66, billed 2521.
        assert_eq!(row.usage.phases.create, Some(Nanos(216_970_000)));
        assert_eq!(row.usage.phases.start, Some(Nanos(182_000_000)));
        assert_eq!(row.usage.phases.run, Some(Nanos(2_338_660_000)));
        assert_eq!(row.billed, Some(Nanos(2_521_000_000)));
        assert_eq!(row.usage.get(Meter::Wall), Some(2_737_630_000));
        // `date -u -d 2023-06-02T11:27:25.060Z +%s%N`, less 2737.63 ms.
        assert_eq!(row.started_at, Some(1_685_705_245_060_000_000 - 2_737_630_000));
        assert_eq!(input.names.instances()[0], "2023/06/02/[72]88ab219a63d343d294d0a9947e8ab36a");
        assert_eq!(input.names.cells()[0].start, StartKind::Cold);
    }

    #[test]
    fn old_blank_separated_and_emulated_reports_are_read() {
        // Before December 2020 a blank stood before the tab; emulators have INIT first; consoles
        // replace tabs by blanks.
        let input = read(
            "REPORT RequestId: a\tDuration: 169.04 ms\tBilled Duration: 200 ms \t\
             Memory Size: 1024 MB\tMax Memory Used: 40 MB\n\
             REPORT RequestId: b\tInit Duration: 0.14 ms\tDuration: 73.20 ms\t\
             Billed Duration: 74 ms\tMemory Size: 128 MB\tMax Memory Used: 128 MB\t\n\
             REPORT RequestId: c  Duration: 0.31 ms       Billed Duration: 100 ms Memory Size: \
             1024 MB    Max Memory Used: 35 MB  Init Duration: 166.62 ms \n",
        );
        assert_eq!(input.rejects, []);
        let runs: Vec<_> = input.rows.iter().map(|row| row.usage.phases.run).collect();
        assert_eq!(runs, [169_040_000, 73_200_000, 310_000].map(|nanos| Some(Nanos(nanos))));
        let starts: Vec<_> = input.rows.iter().map(|row| row.usage.phases.start).collect();
        assert_eq!(starts, [None, Some(Nanos(140_000)), Some(Nanos(166_620_000))]);
        assert_eq!(input.rows[0].billed, Some(Nanos(200_000_000)));
    }

    #[test]
    fn endings_and_other_lines_are_told_apart() {
        let input = read(
            "REPORT RequestId: a\tDuration: 3000.00 ms\tBilled Duration: 3000 ms\tMemory Size: 128 \
             MB\tMax Memory Used: 30 MB\tStatus: timeout\n\
             REPORT RequestId: b\tDuration: 12.00 ms\tBilled Duration: 12 ms\tMemory Size: 128 MB\t\
             Max Memory Used: 30 MB\tStatus: error\tError Type: Runtime.ExitError\n\
             REPORT RequestId: c\tDuration: 1.00 ms\tBilled Duration: 1 ms\tMemory Size: 128 MB\t\
             Max Memory Used: 30 MB\tXRAY TraceId: 1-5d9d007f-0a8c7fd0\tSegmentId: 3d75\tSampled: \
             true\n\
             INIT_REPORT Init Duration: 10000.00 ms\tPhase: init\tStatus: timeout\n\
             INIT_START Runtime Version: python:3.13.v30\tRuntime Version ARN: arn:aws:lambda\n\
             XRAY TraceId: 1-5d9d007f-0a8c7fd0\tSegmentId: 3d75\tSampled: true\n\
             END RequestId: a\n\
             hello: world\n\n",
        );
        assert_eq!(input.rejects, []);
        let endings: Vec<_> = input.rows.iter().map(|row| row.status).collect();
        assert_eq!(endings, [Status::Timeout, Status::Failed, Status::Ok]);
        assert_eq!(
            input.others,
            [
                "INIT_REPORT line",
                "INIT_START line",
                "XRAY line",
                "END line",
                "line of the function",
                "empty line"
            ]
        );
    }

    /// A line of Yandex Cloud's documentation of `yc serverless function logs`.
    #[test]
    fn yandex_is_a_platform_of_its_own() {
        let text = "2023-03-03 12:44:12  INFO REPORT RequestID: 5906fbf3-7ff5-4fe4-a0b2-b35ca126ac9d \
            Duration: 8.951 ms Billed Duration: 100 ms Memory Size: 128 MB Max Memory Used: 48 MB \
            Queuing Duration: 0.066 ms Function Init Duration: 5.892 ms\n";
        let input = read(text);
        assert_eq!(input.rejects, [(1, Reject::new("a time without a zone: give --zone"))]);
        let settings = ImportSettings { zone_minutes: Some(180), ..ImportSettings::default() };
        let input = read_lines(&LAMBDA_REPORT, &settings, text);
        let row = &input.rows[0];
        assert_eq!(input.names.cells()[0].platform, "yandex-cloud");
        assert_eq!(row.usage.phases.run, Some(Nanos(8_951_000)));
        assert_eq!(row.usage.phases.start, Some(Nanos(5_892_000)));
        // `date -u -d 2023-03-03T09:44:12Z +%s`, less 8.951 and 5.892 ms.
        assert_eq!(row.started_at, Some(1_677_836_652_000_000_000 - 14_843_000));
    }

    #[test]
    fn other_units_and_fields_twice_are_rejected() {
        let input = read(
            "REPORT RequestId: a\tDuration: 1.5 s\tMemory Size: 128 MB\n\
             REPORT RequestId: a\tDuration: 1.5 ms\tMemory Size: 1 GB\n\
             REPORT RequestId: a\tDuration: 1.5 ms\tDuration: 2.5 ms\tMemory Size: 128 MB\n\
             REPORT RequestId: a\tMemory Size: 128 MB\n\
             REPORT RequestId: a\tDuration: 1,5 ms\tMemory Size: 128 MB\n\
             REPORT RequestId: a\tDuration: 1.5 ms\n\
             REPORT RequestId:\n",
        );
        let causes: Vec<&str> = input.rejects.iter().map(|(_, cause)| cause.0).collect();
        assert_eq!(
            causes,
            [
                "a duration that is no number of ms",
                "a memory size that is no number of MB",
                "a field twice in one REPORT",
                "no Duration",
                "a duration that is no number of ms",
                "no Memory Size, and no --memory is given",
                "no Duration"
            ]
        );
    }
}
