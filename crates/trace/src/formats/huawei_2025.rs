//! The public trace of Huawei's cloud of 2025: its tables of requests.

use cyclometer_core::meter::{Meter, Source};
use cyclometer_core::units::Nanos;

use crate::batch::{RowBatch, TraceNames};
use crate::format::{Detection, FormatMeter, Framing, RecordOutcome, Reject, TraceFormat};
use crate::reading::csv_reader::{CsvColumn, CsvRow, has_columns, open_csv_reader};
use crate::reading::quantity::{DURATION, EPOCH, NumberCauses, SIZE, UnitScale, parse_quantity};
use crate::reading::row_maker::{RowMaker, RowNames};
use crate::row::RequestId;

const CPU: NumberCauses = NumberCauses {
    number: "a cpu_usage that is no number",
    negative: "a negative cpu_usage",
    range: "a cpu_usage beyond 63 bits",
};

/// Requests of one day.
pub static HUAWEI_2025: TraceFormat = TraceFormat {
    name: "huawei-trace-2025",
    platform: Some("huawei-functiongraph"),
    about: "Huawei Public Cloud Trace 2025: request tables",
    schema: "https://github.com/sir-lab/data-release/blob/main/README_data_release_2025.md",
    framing: Framing::Csv,
    meters: &[
        FormatMeter {
            meter: Meter::Wall,
            source: Some(Source::Log),
            note: "totalCost_worker in s; the run is runtimeCost; times are from the beginning of \
                   the trace, which stands as 1970",
        },
        FormatMeter {
            meter: Meter::CpuTime,
            source: Some(Source::Estimate),
            note: "cpu_usage in cores times totalCost_worker: the average of the whole pod, which \
                   may serve other requests at the same time",
        },
        FormatMeter {
            meter: Meter::MemoryTime,
            source: Some(Source::Estimate),
            note: "memory_usage, whose MB are MiB, times totalCost_worker: the average of the pod",
        },
        FormatMeter {
            meter: Meter::MemoryAllocated,
            source: Some(Source::Log),
            note: "memory limit of the pool in podID, whose MB are MiB",
        },
        FormatMeter {
            meter: Meter::VcpuAllocated,
            source: Some(Source::Log),
            note: "CPU limit of the pool in podID, in millicores",
        },
        FormatMeter {
            meter: Meter::MemoryPeak,
            source: None,
            note: "the trace has averages of the memory only",
        },
    ],
    detect: |start| {
        let found = has_columns(start, &["podID", "totalCost_worker", "cpu_usage"]);
        if found { Detection::Certain } else { Detection::No }
    },
    open: |settings, file| {
        open_csv_reader("huawei-functiongraph", settings, file, COLUMNS, read_row)
    },
};

const COLUMNS: &[CsvColumn] = &[
    CsvColumn { names: &["time_worker"], missing: None },
    CsvColumn { names: &["requestID"], missing: None },
    CsvColumn { names: &["funcName"], missing: Some("below a header without funcName") },
    CsvColumn { names: &["userID"], missing: None },
    CsvColumn { names: &["podID"], missing: Some("below a header without podID") },
    CsvColumn {
        names: &["totalCost_worker"],
        missing: Some("below a header without totalCost_worker"),
    },
    CsvColumn { names: &["runtimeCost"], missing: None },
    CsvColumn { names: &["cpu_usage"], missing: None },
    CsvColumn { names: &["memory_usage"], missing: None },
];

/// Pool of a pod: `pool22-300-128` has 300 millicores and 128 MB.
struct Pool<'a> {
    name: &'a str,
    vcpu_milli: u64,
    memory: u64,
}

fn parse_pool(pod: &str) -> Option<Pool<'_>> {
    let mut parts = pod.split('-');
    let [name, cpu, memory] = [parts.next()?, parts.next()?, parts.next()?];
    if !name.starts_with("pool") {
        return None;
    }
    let length = name.len() + cpu.len() + memory.len() + 2;
    let number = |text: &str| text.parse::<u64>().ok().filter(|it| *it > 0);
    let memory = number(memory)?.checked_mul(1 << 20)?;
    Some(Pool { name: pod.get(..length)?, vcpu_milli: number(cpu)?, memory })
}

fn read_row(
    row: &CsvRow<'_>,
    maker: &mut RowMaker,
    names: &mut TraceNames,
    batch: &mut RowBatch,
) -> Result<RecordOutcome, Reject> {
    let pod = row.text(4)?.ok_or(Reject::new("no podID"))?;
    let pool = parse_pool(pod).ok_or(Reject::new("a podID that is not like pool22-300-128-1"))?;
    let wall = row.quantity(5, UnitScale::SECONDS, DURATION)?;
    let wall = wall.ok_or(Reject::new("no totalCost_worker"))?;
    let name = row.text(2)?.ok_or(Reject::new("no funcName"))?;
    // The release names a function by these three.
    let function = format!("{name}---{}---{}", row.text(3)?.unwrap_or("-"), pool.name);
    let mut out = maker.make_row(
        names,
        &RowNames {
            function: Some(&function),
            memory: Some(pool.memory),
            vcpu_milli: Some(pool.vcpu_milli),
            ..RowNames::default()
        },
    )?;
    let start = row.quantity(0, UnitScale::SECONDS, EPOCH)?;
    out.started_at = start.and_then(|start| i64::try_from(start).ok());
    out.usage.set(Meter::Wall, wall);
    out.usage.phases.run = row.quantity(6, UnitScale::SECONDS, DURATION)?.map(Nanos);
    if let Some(text) = row.text(7)? {
        // Billionths of a core.
        let cores = parse_quantity(text.as_bytes(), UnitScale::SECONDS, CPU)?;
        out.usage.set(Meter::CpuTime, multiply(cores, wall, 1_000_000_000)?);
    }
    if let Some(memory) = row.quantity(8, UnitScale::MEBIBYTES, SIZE)? {
        out.usage.set(Meter::MemoryTime, multiply(memory, wall, 1_000_000)?);
    }
    out.request = row.text(1)?.map(RequestId::from_text);
    out.instance = Some(names.find_or_add_instance(pod)?);
    batch.push(out);
    Ok(RecordOutcome::Rows)
}

/// Returns the product over a divisor, rounded half up.
fn multiply(one: u64, other: u64, divide: u128) -> Result<u64, Reject> {
    let product = u128::from(one) * u128::from(other);
    let rounded = (product + divide / 2) / divide;
    let value = i64::try_from(rounded).ok().and_then(|value| u64::try_from(value).ok());
    value.ok_or(Reject::new("a product of usage and time beyond 63 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ImportSettings;
    use crate::testing::read_lines;

    #[test]
    fn the_documented_example_has_its_units() {
        // The column `Example` of the release's schema.
        let text = "time_worker,time_frontend,requestID,clusterName,funcName,podID,userID,totalCost_worker,workerCost,runtimeCost,totalCost_frontend,cpu_usage,memory_usage,requestBodySize\n\
            2600186.994,2600186.995,763ff09a,1,296,pool22-300-128-0000618412,224,0.023749,0.000112,0.023637,0.026421,0.291506,32.308594,1018\n\
            1,1,b,1,296,pool22-300-128-0000618412,224,0.5,0,0.5,0.5,,,1\n\
            1,1,c,1,296,worker-1,224,0.5,0,0.5,0.5,,,1\n\
            1,1,d,1,296,pool22-300-128-1,224,0.5,0,0.5,0.5,nan,,1\n";
        assert_eq!((HUAWEI_2025.detect)(text.as_bytes()), Detection::Certain);
        let input = read_lines(&HUAWEI_2025, &ImportSettings::default(), text);
        let [row, bare] = &input.rows[..] else { panic!("{:?}", input.rejects) };
        assert_eq!(row.usage.get(Meter::Wall), Some(23_749_000));
        assert_eq!(row.usage.phases.run, Some(Nanos(23_637_000)));
        // 0.291506 cores x 23,749,000 ns = 6,922,975.994 ns.
        assert_eq!(row.usage.get(Meter::CpuTime), Some(6_922_976));
        // 32.308594 MiB are 33,878,016.262 B, or 33,878,016; x 23.749 ms = 804,569,001.98.
        assert_eq!(row.usage.get(Meter::MemoryTime), Some(804_569_002));
        assert_eq!(row.usage.get(Meter::MemoryPeak), None);
        assert_eq!(row.usage.get(Meter::MemoryAllocated), Some(128 << 20));
        assert_eq!(row.usage.get(Meter::VcpuAllocated), Some(300));
        assert_eq!(row.started_at, Some(2_600_186_994_000_000));
        assert_eq!(input.names.cells()[0].function, "296---224---pool22-300-128");
        assert_eq!(bare.usage.get(Meter::CpuTime), None, "missing, not 0");
        let causes: Vec<_> = input.rejects.iter().map(|(line, cause)| (*line, cause.0)).collect();
        assert_eq!(causes, [(4, "a podID that is not like pool22-300-128-1"), (5, CPU.number)]);
    }
}
