//! The public trace of Azure Functions of 2021.

use cyclometer_core::meter::{Meter, Source};
use cyclometer_core::units::Nanos;

use crate::batch::{RowBatch, TraceNames};
use crate::format::{Detection, FormatMeter, Framing, RecordOutcome, Reject, TraceFormat};
use crate::reading::csv_reader::{CsvColumn, CsvRow, has_columns, open_csv_reader};
use crate::reading::quantity::{DURATION, EPOCH, UnitScale};
use crate::reading::row_maker::{RowMaker, RowNames};

/// Invocations of two weeks.
pub static AZURE_TRACE_2021: TraceFormat = TraceFormat {
    name: "azure-trace-2021",
    platform: Some("azure-functions"),
    about: "Azure Functions Invocation Trace 2021 (app, func, end_timestamp, duration)",
    schema: "https://github.com/Azure/AzurePublicDataset/blob/master/AzureFunctionsInvocationTrace2021.md",
    framing: Framing::Csv,
    meters: &[
        FormatMeter {
            meter: Meter::Wall,
            source: Some(Source::Log),
            note: "duration in s; the start is end_timestamp less duration, counted from \
                   2021-01-31 00:00 UTC, on which the trace begins",
        },
        FormatMeter {
            meter: Meter::MemoryAllocated,
            source: None,
            note: "the trace has no memory: give --memory",
        },
        FormatMeter { meter: Meter::MemoryPeak, source: None, note: "the trace has no memory" },
        FormatMeter { meter: Meter::CpuTime, source: None, note: "the trace has no CPU time" },
    ],
    detect: |start| {
        let found = has_columns(start, &["app", "func", "end_timestamp", "duration"]);
        if found { Detection::Certain } else { Detection::No }
    },
    open: |settings, file| open_csv_reader("azure-functions", settings, file, COLUMNS, read_row),
};

/// Beginning of the trace, 2021-01-31 00:00 UTC, in nanoseconds since 1970.
const BEGINNING: i64 = 1_612_051_200_000_000_000;

const COLUMNS: &[CsvColumn] = &[
    CsvColumn { names: &["app"], missing: Some("below a header without app") },
    CsvColumn { names: &["func"], missing: Some("below a header without func") },
    CsvColumn { names: &["end_timestamp"], missing: Some("below a header without end_timestamp") },
    CsvColumn { names: &["duration"], missing: Some("below a header without duration") },
];

fn read_row(
    row: &CsvRow<'_>,
    maker: &mut RowMaker,
    names: &mut TraceNames,
    batch: &mut RowBatch,
) -> Result<RecordOutcome, Reject> {
    let name = |column| row.text(column)?.ok_or(Reject::new("an empty app or func"));
    // A function's name is unique within its app only.
    let function = format!("{}/{}", name(0)?, name(1)?);
    let end = row.quantity(2, UnitScale::SECONDS, EPOCH)?;
    let end = end.ok_or(Reject::new("no end_timestamp"))?;
    let duration = row.quantity(3, UnitScale::SECONDS, DURATION)?;
    let duration = duration.ok_or(Reject::new("no duration"))?;
    let given = RowNames { function: Some(&function), ..RowNames::default() };
    let mut out = maker.make_row(names, &given)?;
    let from_begin = i64::try_from(end).ok().zip(i64::try_from(duration).ok());
    let start = from_begin.and_then(|(end, duration)| {
        end.checked_add(BEGINNING)?.checked_sub(duration).filter(|start| *start >= 0)
    });
    out.started_at = Some(start.ok_or(Reject::new(EPOCH.range))?);
    out.usage.set(Meter::Wall, duration);
    out.usage.phases.run = Some(Nanos(duration));
    batch.push(out);
    Ok(RecordOutcome::Rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ImportSettings;
    use crate::testing::read_lines;

    #[test]
    fn the_published_rows_are_exact() {
        // Two rows of the table in AzureFunctionsInvocationTrace2021.md (CC-BY, Zhang et al.,
        // SOSP 2021), and two that were made.
        let text = "app,func,end_timestamp,duration\n\
            734272c01926d19690e5ec308bab64ef97950b75b1c7582283e0783fce1751d8,313c03f53a0d31f70aec25f62efb33e7dd779725ca4af579018452d1204beaad,5160.142570018768,0.134\n\
            7fa05b607ae861b85ec53cea12d3efaed8be0f9a92f5d6e8067244161d491e96,9bc86d6cd1ee254aaa313492f0fd88be8bd7b92d50d4237ff52d7685440c0906,5241.567729949951,42.356\n\
            a,f,1.0,2.5e0\n\
            a,f,1.0,-0.001\n\
            a,f,9223372036,1\n";
        let input = read_lines(&AZURE_TRACE_2021, &ImportSettings::default(), text);
        let [first, second, early] = &input.rows[..] else { panic!("{:?}", input.rejects) };
        assert_eq!(first.usage.get(Meter::Wall), Some(134_000_000));
        // 5160.142570019 s less 0.134 s; `date -u -d 2021-01-31 +%s` is 1612051200.
        assert_eq!(first.started_at, Some(1_612_051_200_000_000_000 + 5_160_008_570_019));
        assert_eq!(second.usage.phases.run, Some(Nanos(42_356_000_000)));
        // 5241.567729950 s less 42.356 s.
        assert_eq!(second.started_at, Some(1_612_051_200_000_000_000 + 5_199_211_729_950));
        // 1.5 s before the trace.
        assert_eq!(early.started_at, Some(1_612_051_198_500_000_000));
        assert_eq!(
            input.rejects,
            [(5, Reject::new(DURATION.negative)), (6, Reject::new(EPOCH.range))]
        );
        assert!(input.names.cells()[0].function.ends_with("1204beaad"));
        assert_eq!(input.others, ["header"]);
    }

    #[test]
    fn a_reader_goes_on_below_its_header() {
        let settings = ImportSettings::default();
        let mut first = (AZURE_TRACE_2021.open)(&settings, "t");
        let (mut names, mut batch) = (TraceNames::default(), RowBatch::default());
        let header = crate::format::Record { bytes: b"duration,app,func,end_timestamp", line: 1 };
        assert!(first.read_record(&header, &mut names, &mut batch).is_ok());
        let mut second = (AZURE_TRACE_2021.open)(&settings, "t");
        second.restore_state(&first.save_state().expect("a header"));
        let row = crate::format::Record { bytes: b"1,a,f,2", line: 9 };
        assert_eq!(second.read_record(&row, &mut names, &mut batch), Ok(RecordOutcome::Rows));
        assert_eq!(batch.rows()[0].started_at, Some(1_612_051_201_000_000_000));
    }
}
