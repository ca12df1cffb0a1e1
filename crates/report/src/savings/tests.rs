//! Savings against figures computed by hand from the prices of AWS Lambda in us-east-1:
//! 0.0000166667 USD a GB-second on x86, 0.0000133334 on arm64, 0.0000002 USD a request.

use super::*;
use cyclometer_core::meter::{Meter, Usage};
use cyclometer_pricing::{Terms, find_builtin_model};
use cyclometer_store::{FileProgress, TraceInput, TraceWriter};
use cyclometer_trace::{CellLabel, RowBatch, TraceNames, TraceRow, memory_configuration};

const MIB: u64 = 1 << 20;
const MS: u64 = 1_000_000;
const DAY_NS: i64 = 86_400 * 1_000_000_000;
/// 2026-10-01 00:00 UTC.
const OCTOBER: i64 = 1_790_812_800 * 1_000_000_000;

/// Invocations of a function, all alike.
#[derive(Clone, Copy)]
struct Rows {
    name: &'static str,
    count: i64,
    mib: u64,
    ms: u64,
    cpu_ms: Option<u64>,
    peak_mib: Option<u64>,
    timed: bool,
}

const THUMBNAIL: Rows = Rows {
    name: "thumbnail",
    count: 1_000,
    mib: 1_024,
    ms: 400,
    cpu_ms: None,
    peak_mib: Some(400),
    timed: true,
};

/// Writes a trace of 15 days.
fn write_trace(path: &std::path::Path, all: &[Rows]) -> i64 {
    let mut writer =
        TraceWriter::begin(Store::open(path).expect("made"), None, "{}").expect("begun");
    let recording = writer.recording();
    let input = TraceInput {
        position: 0,
        path: "a.log".into(),
        format: "aws-lambda-report".into(),
        bytes: Some(1),
        identity: "x".into(),
    };
    let file = writer.begin_file(&input).expect("a file");
    let (mut names, mut batch) = (TraceNames::default(), RowBatch::default());
    for rows in all {
        let label = CellLabel {
            platform: "aws-lambda".into(),
            function: rows.name.into(),
            configuration: memory_configuration(Some(rows.mib * MIB)),
            region: None,
            start: StartKind::Warm,
        };
        let cell = names.find_or_add_cell(&label).expect("a cell");
        for at in 0..rows.count {
            let mut row = TraceRow::new(cell, false);
            let apart = 15 * DAY_NS / (rows.count - 1).max(1);
            let end = if at == rows.count - 1 { 15 * DAY_NS } else { at * apart };
            row.started_at = rows.timed.then_some(OCTOBER + end);
            row.usage = Usage::new(false);
            row.usage.phases.run = Some(Nanos(rows.ms * MS));
            row.usage.set(Meter::Wall, rows.ms * MS);
            row.usage.set(Meter::MemoryAllocated, rows.mib * MIB);
            row.usage.set(Meter::MemoryPeak, rows.peak_mib.map(|mib| mib * MIB));
            row.usage.set(Meter::CpuTime, rows.cpu_ms.map(|ms| ms * MS));
            batch.push(row);
        }
    }
    writer
        .store_batch(&names, &batch, &FileProgress { file, ..FileProgress::default() })
        .expect("stored");
    writer.finish(&[]).expect("finished");
    recording
}

fn look_for_savings(all: &[Rows], ids: &[&str], grouping: Grouping) -> SavingsReport {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.db");
    let recording = write_trace(&path, all);
    let contract = |id: &&str| {
        let model = find_builtin_model(id).expect("built in");
        (model.clone(), Terms::for_model(model))
    };
    let contracts = ids.iter().map(contract).collect();
    let plan = SavingsPlan { grouping, ..SavingsPlan::for_recording(recording, contracts) };
    let store = Store::open_read_only(&path).expect("opened");
    load_savings(&store, &plan).expect("looked for")
}

fn plain(amount: &Money) -> String {
    amount.to_plain_string()
}

#[test]
fn a_smaller_size_and_another_architecture_save_what_they_save_by_hand() {
    let report =
        look_for_savings(&[THUMBNAIL], &["aws-lambda-x86", "aws-lambda-arm"], Grouping::Function);
    // 15 days are scaled to 30: 2 x 1,000 x (0.4 s x 1 GB x 0.0000166667 + 0.0000002) USD.
    assert_eq!(report.total.as_ref().map(plain).as_deref(), Some("0.01373336"));
    let function = &report.functions[0];
    // 400 MiB and 20 % are 480: the next size is 512 MiB, half of the 0.01333336 for time.
    let memory = &function.advice[0];
    let to = Change::Memory { from: Bytes(1_024 * MIB), to: Bytes(512 * MIB) };
    assert_eq!((&memory.change, &*plain(&memory.saving)), (&to, "0.00666668"));
    assert_eq!(plain(&memory.cost), "0.00706668");
    assert_eq!(memory.break_even, Some(Exact::from(2)));
    // 2 x 1,000 x 0.4 x (0.0000166667 - 0.0000133334).
    let arm = &function.advice[1];
    assert_eq!((&arm.change, &*plain(&arm.saving)), (&Change::Model(1), "0.00266664"));
    assert_eq!(report.saving.as_ref().map(plain).as_deref(), Some("0.00666668"));
    // 0.0000166667 / 0.0000133334 is 1.249996..., which must not become 1.25.
    assert_eq!(
        [memory, arm].map(|advice| describe_advice(&report, function, advice)),
        [
            "moving `thumbnail` from 1024 MiB to 512 MiB saves $0.006667 a month (48.5 %): its \
             largest peak is 400 MiB, with 20 % head-room 480 MiB; an estimate, durations assumed \
             unchanged: worth it while it runs less than 2.00 times as long",
            "moving `thumbnail` to aws-lambda-arm saves $0.002667 a month (19.4 %): an estimate, \
             durations assumed unchanged: worth it while it runs less than 1.24 times as long",
        ]
    );
    assert_eq!(
        list_notes(&report)[..2],
        [
            "a month: 15.0 days from 2026-10-01 00:00:00 to 2026-10-16 00:00:00 UTC, scaled to 30 \
             days, by aws-lambda-x86 at list prices, without allowances and tiers",
            "aws-lambda-x86 bills time in steps of 1 ms",
        ]
    );
}

#[test]
fn without_a_peak_there_is_no_advice_on_memory() {
    let without = Rows { peak_mib: None, ..THUMBNAIL };
    let report = look_for_savings(&[without], &["aws-lambda-x86"], Grouping::Function);
    let function = &report.functions[0];
    assert_eq!(function.advice, []);
    assert_eq!(function.refusals, ["no peak of memory in the log: no advice on memory"]);
    assert!(function.cost.is_ok() && report.saving.as_ref().is_some_and(Money::is_zero));
    // A peak in some invocations is none for all.
    let some = Rows { mib: 512, count: 2, ..THUMBNAIL };
    let report = look_for_savings(&[without, some], &["aws-lambda-x86"], Grouping::Function);
    assert_eq!(
        report.functions[0].refusals,
        ["a peak of memory in 2 of 1002 invocations only: no advice on memory"]
    );
    // 480 MiB do not fit below 512.
    let tight = Rows { mib: 480, ..THUMBNAIL };
    let report = look_for_savings(&[tight], &["aws-lambda-x86"], Grouping::Function);
    assert!(report.functions[0].refusals[0].starts_with("memory stays: "), "{report:?}");
}

#[test]
fn cpu_time_tells_whether_less_memory_pays() {
    // A CPU has 1769 MiB: 1769 / 1024 = 1.7275 and 1769 / 512 = 3.4551 times slower. 550 of
    // 1,000 ms: 1 + 0.55 x 1.7275 = 1.9501 times as long at half the price.
    let bound = Rows { ms: 1_000, cpu_ms: Some(550), ..THUMBNAIL };
    let report = look_for_savings(&[bound], &["aws-lambda-x86"], Grouping::Function);
    let function = &report.functions[0];
    let Evidence::CpuTime { share, stretch } = &function.advice[0].evidence else {
        panic!("{function:?}")
    };
    assert_eq!(
        (share.to_plain_string(), stretch.to_rounded_string(4)),
        ("0.55".into(), "1.9501".into())
    );
    // 2,000 x 0.0000166667 x (1 - 1.9501 / 2) = 0.00083...: 0.0333334 x 0.02493....
    let one = Exact::from(1);
    let half = stretch.checked_div(&Exact::from(2)).expect("not 0");
    let whole: Exact = "0.0333334".parse().expect("a number");
    assert_eq!(*function.advice[0].saving.as_exact(), &whole * &(&one - &half));
    // 600 of 1,000 ms: 2.04 times as long at half the price.
    let report = look_for_savings(
        &[Rows { cpu_ms: Some(600), ..bound }],
        &["aws-lambda-x86"],
        Grouping::Function,
    );
    assert_eq!(report.functions[0].advice, []);
    assert_eq!(
        report.functions[0].refusals,
        [
            "512 MiB instead of 1024 MiB: CPU-bound, with CPU time of 60 % of its duration: with the \
          CPU of that size it would take about 2.04 times as long, and it saves below 2.00 times"
        ]
    );
    // Above 1769 MiB there is more than one CPU, of which one thread uses one.
    let large = Rows { mib: 8_192, peak_mib: Some(2_000), cpu_ms: Some(990), ..bound };
    let report = look_for_savings(&[large], &["aws-lambda-x86"], Grouping::Function);
    let advice = &report.functions[0].advice[0];
    assert!(matches!(&advice.evidence, Evidence::CpuTime { stretch, .. } if *stretch == one));
    assert_eq!(advice.change, Change::Memory { from: Bytes(8_192 * MIB), to: Bytes(2_560 * MIB) });
}

#[test]
fn durations_at_another_size_in_the_same_trace_are_measured() {
    // 500 ms at 512 MiB are 1.25 times the 400 ms at 1024 MiB, in 30 invocations; 29 are too few.
    let there = Rows { mib: 512, ms: 500, count: 30, ..THUMBNAIL };
    let report = look_for_savings(&[THUMBNAIL, there], &["aws-lambda-x86"], Grouping::Function);
    let function = &report.functions[0];
    let advice = &function.advice[0];
    let stretch: Exact = "1.25".parse().expect("a number");
    assert_eq!(advice.evidence, Evidence::Measured { stretch, runs: 30, sweep: None });
    // Of 0.01333336 a month, 1.25 halves stay; the 30 at 512 MiB are as they were.
    assert_eq!(plain(&advice.saving), "0.00500001");
    let told = describe_advice(&report, function, advice);
    assert!(told.contains("measured at that size in 30 invocations: 1.25 times as long"), "{told}");
    let few = Rows { count: 29, ..there };
    let report = look_for_savings(&[THUMBNAIL, few], &["aws-lambda-x86"], Grouping::Function);
    assert_eq!(report.functions[0].advice[0].evidence, Evidence::Unchanged);
    // By cells, only the larger one can move.
    let report = look_for_savings(&[THUMBNAIL, there], &["aws-lambda-x86"], Grouping::Cell);
    let cells: Vec<_> = report
        .functions
        .iter()
        .map(|it| (it.key.cell.clone().expect("a cell").0, it.advice.len()))
        .collect();
    assert_eq!(cells, [("1024MB".to_owned(), 1), ("512MB".to_owned(), 0)]);
}

#[test]
fn a_sweep_that_measured_both_sizes_tells_the_durations() {
    let sizes = vec![(Bytes(512 * MIB), 150e6, 20), (Bytes(1_024 * MIB), 100e6, 20)];
    let sweep = SweptSizes { recording: 7, sizes };
    let found = sweep.stretch_between(Bytes(512 * MIB), Bytes(1_024 * MIB));
    let stretch: Exact = "1.5".parse().expect("a number");
    assert_eq!(found, Some(Evidence::Measured { stretch, runs: 20, sweep: Some(7) }));
    let told = describe_evidence(found.as_ref().expect("known"));
    assert_eq!(told, "measured by the sweep in recording 7 in 20 invocations: 1.50 times as long");
    assert_eq!(sweep.stretch_between(Bytes(512 * MIB), Bytes(2_048 * MIB)), None);
    assert_eq!(
        ["100ms", "1s", "0.5s"].map(|it| match it {
            "100ms" => format_step(Nanos(100 * MS)),
            "1s" => format_step(Nanos(1_000 * MS)),
            _ => format_step(Nanos(500_001)),
        }),
        ["100 ms", "1 s", "500001 ns"]
    );
}

#[test]
fn another_model_says_what_it_assumes() {
    let report =
        look_for_savings(&[THUMBNAIL], &["aws-lambda-x86", "google-cloud-run"], Grouping::Function);
    let function = &report.functions[0];
    let to_model = |advice: &&Advice| advice.change == Change::Model(1);
    // Cloud Run bills CPUs, of which a log of Lambda has none.
    let told = match function.advice.iter().find(to_model) {
        Some(advice) => describe_advice(&report, function, advice),
        None => function.refusals.join("; "),
    };
    assert!(told.contains("; assumed: ") || told.contains("google-cloud-run: "), "{told}");
}

#[test]
fn functions_are_ranked_and_a_trace_without_times_has_no_month() {
    let small = Rows { name: "api", count: 10, ..THUMBNAIL };
    let tight = Rows { name: "report", mib: 480, count: 3_000, ..THUMBNAIL };
    let mut report =
        look_for_savings(&[small, tight, THUMBNAIL], &["aws-lambda-x86"], Grouping::Function);
    let names = |report: &SavingsReport| {
        report.functions.iter().map(|it| it.key.function.clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&report), "thumbnail api report");
    report.sort_by(FunctionOrder::Amount);
    assert_eq!(names(&report), "report thumbnail api", "3,000 x 0.46875 GB are more");
    report.sort_by(FunctionOrder::Name);
    assert_eq!(names(&report), "api report thumbnail");
    let untimed = Rows { timed: false, ..THUMBNAIL };
    let report = look_for_savings(&[untimed], &["aws-lambda-x86"], Grouping::Function);
    assert_eq!(report.basis, Basis::Trace);
    assert_eq!(report.total.as_ref().map(plain).as_deref(), Some("0.00686668"));
}

#[test]
fn tables_have_a_row_a_function_and_a_row_a_change() {
    let hostile = Rows { name: "=cmd|' /C calc'!A0\u{1b}[31m", ..THUMBNAIL };
    let report = look_for_savings(
        &[THUMBNAIL, hostile],
        &["aws-lambda-x86", "aws-lambda-arm", "scaleway-functions"],
        Grouping::Function,
    );
    let shown = build_people_table(&report, 1).to_markdown();
    assert!(shown.contains("thumbnail") || shown.contains("cmd"), "{shown}");
    assert!(!shown.contains('\u{1b}'));
    let mut out = Vec::new();
    build_program_table(&report).print(crate::Format::Csv, &mut out).expect("printed");
    let text = String::from_utf8(out).expect("text");
    assert_eq!(text.lines().count(), 1 + 2 * 2, "{text}");
    assert!(!text.contains("\n1,1,=cmd") && !text.contains('\u{1b}'), "{text}");
    let function = &report.functions[0];
    assert!(function.refusals.contains(&"scaleway-functions: bills in EUR, not in USD".to_owned()));
}
