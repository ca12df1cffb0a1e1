//! Tests with files that pyarrow wrote, and with damaged ones.

use std::io::Write;
use std::path::PathBuf;

use cyclometer_core::meter::Meter;
use cyclometer_core::units::Nanos;

use super::*;
use crate::mapping::parse_mapping;
use crate::row::TraceRow;

const MAPPING: &str = r#"
[trace]
format = "parquet"
platform = "p"
[fields]
function = { column = "fn" }
started = { column = "at", notation = "us" }
instance = { column = "who.pod" }
cold = { column = "cold", values = ["true"] }
[meters]
run = { column = "dur", unit = "ms" }
memory_allocated = { column = "mem", unit = "MiB" }
cycles = { column = "cycles", unit = "cycles" }
cpu_time = { column = "cpu", unit = "s" }
"#;

#[derive(Debug, Default)]
struct Read {
    names: TraceNames,
    rows: Vec<TraceRow>,
    rejects: Vec<(u64, &'static str)>,
    next_rows: Vec<u64>,
}

fn sample(name: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/traces/parquet");
    PathBuf::from(folder).join(name)
}

fn read_file(file: &File, mapping: &str, from_row: u64) -> Result<Read, ParquetError> {
    let mapping = parse_mapping(mapping, "m.toml").expect("a mapping");
    let mut out = Read::default();
    let mut names = TraceNames::default();
    let settings = ImportSettings::default();
    let mut each = |part: ParquetRows<'_>| {
        out.rows.extend_from_slice(part.batch.rows());
        out.rejects.extend(part.rejects.iter().map(|it| (it.row, it.cause.0)));
        out.next_rows.push(part.next_row);
        ControlFlow::Continue(())
    };
    read_parquet(file, &mapping, &settings, "input", from_row, &mut names, &mut each)?;
    out.names = names;
    Ok(out)
}

fn read_sample(name: &str, mapping: &str, from_row: u64) -> Result<Read, ParquetError> {
    read_file(&File::open(sample(name)).expect("a sample"), mapping, from_row)
}

#[test]
fn files_of_each_compression_are_read_exactly() {
    for codec in ["snappy", "zstd", "gzip", "lz4", "none"] {
        let read = read_sample(&format!("pyarrow-{codec}.parquet"), MAPPING, 0);
        let read = read.unwrap_or_else(|error| panic!("{codec}: {error}"));
        let [first, second, third, fourth] = &read.rows[..] else { panic!("{codec}: {read:?}") };
        assert_eq!(first.usage.phases.run, Some(Nanos(155_510_000)));
        assert_eq!(second.usage.phases.run, Some(Nanos(100_000)), "0.1 ms");
        assert_eq!(third.usage.phases.run, None, "null is missing");
        assert_eq!(fourth.usage.phases.run, Some(Nanos(1_000)));
        assert_eq!(first.usage.get(Meter::Cycles), Some(9_007_199_254_740_993));
        assert_eq!(second.usage.get(Meter::Cycles), Some(9_223_372_036_854_775_807));
        assert_eq!(first.usage.get(Meter::CpuTime), Some(1_234_567_000));
        assert_eq!(second.usage.get(Meter::CpuTime), Some(1_000));
        assert_eq!(first.usage.get(Meter::MemoryAllocated), Some(128 << 20));
        assert_eq!(first.started_at, Some(1_747_081_446_154_001_000));
        assert_eq!(fourth.started_at, None);
        assert!(first.usage.cold && !second.usage.cold && !third.usage.cold);
        assert_eq!(read.names.instances(), ["p1", "p2"]);
        assert_eq!(read.names.cells()[0].function, "a");
        // The fourth has no name: that of the file.
        assert!(read.names.cells().iter().any(|cell| cell.function == "input"));
        assert_eq!(read.rejects, [(5, "column `dur`: a negative number")]);
        assert_eq!(read.next_rows, [2, 4, 5]);
    }
}

#[test]
fn reading_goes_on_at_a_row() {
    let whole = read_sample("pyarrow-snappy.parquet", MAPPING, 0).expect("rows");
    for from in 0..=5 {
        let rest = read_sample("pyarrow-snappy.parquet", MAPPING, from).expect("rows");
        let skip = usize::try_from(from).expect("small").min(whole.rows.len());
        let spans = |rows: &[TraceRow]| {
            rows.iter().map(|row| (row.started_at, row.usage.phases.run)).collect::<Vec<_>>()
        };
        assert_eq!(spans(&rest.rows), spans(&whole.rows[skip..]), "from {from}");
    }
    let file = File::open(sample("pyarrow-snappy.parquet")).expect("a sample");
    assert_eq!(count_parquet_rows(&file), Ok(5));
}

#[test]
fn columns_that_do_not_fit_are_named() {
    let error = |from: &str, to: &str| {
        let mapping = MAPPING.replace(from, to);
        let read = read_sample("pyarrow-snappy.parquet", &mapping, 0);
        read.expect_err("wrong").to_string()
    };
    assert_eq!(error("\"dur\"", "\"duration\""), "there is no column `duration` of the mapping");
    assert_eq!(
        error("notation = \"us\"", "notation = \"ms\""),
        "column `at` has times in us by its type, and the mapping says ms"
    );
    assert_eq!(
        error("\"who.pod\"", "\"who.tags.list.element\""),
        "column `who.tags.list.element` is a list: a mapping needs one value a row"
    );
    let delta = "[trace]\nformat = \"parquet\"\nplatform = \"p\"\n[fields]\n\
        function = { column = \"fn\" }\n[meters]\nrun = { column = \"dur\", unit = \"ms\" }\n";
    let read = read_sample("pyarrow-delta.parquet", delta, 0).expect_err("an encoding");
    assert!(read.to_string().contains("DELTA_BYTE_ARRAY"), "{read}");
    let plain = delta.replace("function = { column = \"fn\" }\n", "");
    let read = read_sample("pyarrow-delta.parquet", &plain, 0).expect("rows");
    assert_eq!(read.rows[1].usage.phases.run, Some(Nanos(2_000_000)));
}

#[test]
fn times_of_other_zones_and_types_are_not_guessed() {
    let mapping = "[trace]\nformat = \"parquet\"\nplatform = \"p\"\n[fields]\n\
        started = { column = \"naive\", notation = \"ms\" }\n\
        [meters]\nrun = { column = \"dur\", unit = \"ms\" }\n";
    let local = "pyarrow-local.parquet";
    let error = read_sample(local, mapping, 0).expect_err("no zone").to_string();
    assert!(error.starts_with("column `naive` has times without a zone"), "{error}");
    let zoned = mapping.replace("\"ms\" }\n[meters]", "\"ms\", zone = \"+02:00\" }\n[meters]");
    let read = read_sample(local, &zoned, 0).expect("rows");
    // 1747088646.154 s by the clock there are 7,200 s more than in UTC.
    assert_eq!(read.rows[0].started_at, Some(1_747_081_446_154_000_000));
    assert_eq!(read.rows[0].usage.phases.run, Some(Nanos(1_500_000)), "a decimal of one place");
    let days = mapping.replace("naive", "day");
    let error = read_sample(local, &days, 0).expect_err("days").to_string();
    assert_eq!(error, "column `day` has days by its type, which are no points in time");
    let old = mapping.replace("naive", "at");
    let read = read_sample("pyarrow-old.parquet", &old, 0).expect("rows");
    assert_eq!(read.rows[0].started_at, Some(1_747_081_446_154_000_000));
}

#[test]
fn damaged_files_end_in_errors() {
    let whole = std::fs::read(sample("pyarrow-zstd.parquet")).expect("a sample");
    let read_bytes = |bytes: &[u8]| {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        read_file(&file, MAPPING, 0)
    };
    for bytes in [&b""[..], b"PAR1", b"PAR1PAR1", b"PAR1\xff\xff\xff\xffPAR1", b"a,b\n1,2\n"] {
        assert!(read_bytes(bytes).is_err());
    }
    let half = read_bytes(&whole[..whole.len() / 2]).expect_err("cut off");
    assert!(half.to_string().contains("cut off"), "{half}");
    // Bytes all over the file, and the claims of sizes among them: no abort, no endless loop.
    // Values may be read that are others than before.
    let mut refused = 0;
    for at in (0..whole.len()).step_by(13) {
        for flip in [0xff, 0x01] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            refused += u32::from(read_bytes(&bytes).is_err());
        }
    }
    assert!(refused > 100, "{refused}");
}
