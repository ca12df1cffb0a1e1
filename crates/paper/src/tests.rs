use super::*;
use cyclometer_core::cell_key::CellKey;
use cyclometer_core::invocation::StartKind;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_stats::Confidence;
use cyclometer_store::CellSeries;

const COLD: StartKind = StartKind::Cold;
const WARM: StartKind = StartKind::Warm;

/// Returns `count` runs around `ms` milliseconds, one per cent apart from end to end.
fn runs(count: u32, ms: f64) -> Vec<cyclometer_store::SeriesRun> {
    let one = |at: u32| {
        let factor = 0.995 + 0.01 * f64::from(at) / f64::from(count - 1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a test")]
        let time = Some(Nanos((ms * factor * 1e6) as u64));
        cyclometer_store::SeriesRun {
            wall: time,
            run: time,
            ..cyclometer_store::SeriesRun::default()
        }
    };
    (0..count).map(one).collect()
}

fn series(lane: &str, workload: &str, start: StartKind, ms: f64) -> CellSeries {
    CellSeries {
        function: Some(Bytes(700_000)),
        runs: runs(20, ms),
        ..CellSeries::new(CellKey::new(lane, workload, "quick", start))
    }
}

fn lane(name: &str) -> PaperLane {
    PaperLane {
        name: name.to_owned(),
        wasm: name.starts_with("wasm"),
        docker: name.starts_with("docker"),
        ..PaperLane::default()
    }
}

fn report(series: &[(PaperPart, Vec<CellSeries>)], lanes: Vec<PaperLane>) -> PaperReport {
    let names = lanes.iter().map(|lane| lane.name.clone()).collect();
    let run = PaperRun::new("now".to_owned(), PaperPreset::Quick, names);
    PaperReport::new(ReportMaterial {
        run: &run,
        host: serde_json::Value::Null,
        lanes,
        series,
        bills: None,
        quantum: None,
        confidence: Confidence::default(),
        unfinished: Vec::new(),
    })
}

/// Returns claim 1 where Docker's cold `nop` takes the given number of milliseconds and
/// wasmtime's takes ten.
fn first_claim(docker: f64) -> Claim {
    let nop = vec![
        series("native", "nop", COLD, 0.5),
        series("wasmtime", "nop", COLD, 10.0),
        series("docker:runc", "nop", COLD, docker),
    ];
    let lanes = vec![lane("native"), lane("wasmtime"), lane("docker:runc")];
    report(&[(PaperPart::Nop, nop)], lanes).claims.remove(0)
}

#[test]
fn all_that_was_published_is_there() {
    let all = Published::builtin();
    assert_eq!(
        all.figures_in_table("table-1").count(),
        44,
        "5 runtimes, 4 workloads, 2 hosts; native once"
    );
    assert_eq!(
        (all.figures_in_table("figure-1").count(), all.figures_in_table("figure-2").count()),
        (6, 6)
    );
    let docker: Vec<_> = all.figures_of("table-1", "Docker", "nbody").collect();
    assert_eq!(
        (docker[0].seconds, docker[0].sd, docker[1].seconds),
        (Some(4.1), Some(0.05), Some(4.14))
    );
    for value in all.figures_in_table("table-1") {
        assert_eq!(value.failed, value.seconds.is_none(), "{value:?}");
    }
    assert_eq!(all.footprint.docker_image_mb, 188);
}

#[test]
fn a_lane_stands_for_a_runtime_where_no_better_one_was_measured() {
    let all = Published::builtin();
    assert_eq!(all.runtime_of("wasmedge", &["wasmedge"]), Some("SSVM"));
    assert_eq!(all.runtime_of("wasmedge", &["wasmedge", "wasmedge:aot"]), None);
    assert_eq!(all.runtime_of("wasmtime", &["wasmtime"]), Some("Lucet"));
    assert_eq!(all.runtime_of("wasmi", &["wasmi"]), None);
}

#[test]
fn a_claim_follows_from_the_interval_and_not_from_the_median() {
    // Twenty times as long: all of the interval is above ten.
    let claim = first_claim(200.0);
    assert_eq!(claim.holds, ClaimVerdict::Yes);
    let ratio = claim.findings[0].ratio.expect("a ratio");
    assert!(
        (ratio.ratio - 20.0).abs() < 0.01 && ratio.low > 19.8 && ratio.high < 20.2,
        "{ratio:?}"
    );
    // Exactly ten, give or take: that is not known.
    assert_eq!(first_claim(100.0).holds, ClaimVerdict::Undecided);
    assert_eq!(first_claim(98.0).holds, ClaimVerdict::No);
    assert_eq!(first_claim(102.0).holds, ClaimVerdict::Yes);
}

#[test]
fn ends_of_intervals_that_touch_the_claim() {
    let change = |low: f64, high: f64| cyclometer_stats::Change {
        ratio: f64::midpoint(low, high),
        low,
        high,
        confidence: Confidence::default(),
    };
    assert_eq!(ClaimVerdict::at_least(&change(10.0, 11.0), 10.0), ClaimVerdict::Yes);
    assert_eq!(ClaimVerdict::at_least(&change(9.0, 9.999), 10.0), ClaimVerdict::No);
    assert_eq!(ClaimVerdict::at_least(&change(9.0, 10.0), 10.0), ClaimVerdict::Undecided);
}

#[test]
fn what_was_not_measured_is_said_with_its_reason() {
    let nop = vec![series("native", "nop", COLD, 0.5), series("wasmtime", "nop", COLD, 10.0)];
    let docker = PaperLane { unavailable: Some("no engine".to_owned()), ..lane("docker:runc") };
    let report = report(&[(PaperPart::Nop, nop)], vec![lane("native"), lane("wasmtime"), docker]);
    let rows = &report.tables[0].rows;
    let absent = rows.iter().find(|row| row.lane == "docker:runc").expect("a row all the same");
    assert_eq!((absent.time.is_none(), absent.why.as_deref()), (true, Some("no engine")));
    assert_eq!(report.claims[0].holds, ClaimVerdict::Untested);
}

#[test]
fn claims_stand_before_the_tables_that_they_are_drawn_from() {
    let nop = vec![series("native", "nop", COLD, 0.5), series("wasmtime", "nop", COLD, 10.0)];
    let report = report(&[(PaperPart::Nop, nop)], vec![lane("native"), lane("wasmtime")]);
    for text in [
        crate::rendering::render_text(&report, 100),
        crate::rendering::render_markdown(&report).to_lowercase(),
    ] {
        let place = |word: &str| text.to_lowercase().find(word);
        let (claims, table) = (place("claims"), place(&PaperPart::Nop.title().to_lowercase()));
        assert!(claims.is_some() && claims < table, "{claims:?} {table:?}: {text}");
    }
}

#[test]
fn too_few_runs_are_no_ratio() {
    let mut few = series("wasmtime", "nop", COLD, 10.0);
    few.runs.truncate(5);
    let nop = vec![few, series("docker", "nop", COLD, 500.0)];
    let report = report(&[(PaperPart::Nop, nop)], vec![lane("wasmtime"), lane("docker")]);
    let finding = &report.claims[0].findings[0];
    assert_eq!(finding.holds, ClaimVerdict::Untested);
    assert!(finding.text.contains("too few runs"), "{}", finding.text);
}

#[test]
fn warm_runs_are_held_against_dockers_warm_ones() {
    let benchmarks = vec![
        series("wasmtime", "nbody", COLD, 90.0),
        series("wasmtime", "nbody", WARM, 80.0),
        series("docker", "nbody", COLD, 300.0),
        series("docker", "nbody", WARM, 100.0),
    ];
    let report =
        report(&[(PaperPart::Benchmarks, benchmarks)], vec![lane("wasmtime"), lane("docker")]);
    let claim = &report.claims[3];
    let nbody: Vec<_> = claim.findings.iter().filter(|it| it.workload == "nbody").collect();
    assert_eq!((claim.number, nbody.len()), (4, 1), "the warm row stands for the lane");
    let ratio = nbody[0].ratio.expect("a ratio");
    assert!((ratio.ratio - 1.25).abs() < 0.001, "100 ms over 80 ms, not 300 over 80");
    assert_eq!(claim.holds, ClaimVerdict::Yes);
    let cold =
        report.tables[0].rows.iter().find(|row| row.workload == "nbody" && row.start == COLD);
    let cold = cold.expect("a row");
    let cold = cold.docker_over.expect("beside Docker").expect("a ratio");
    assert!((cold.ratio - 300.0 / 90.0).abs() < 0.01);
}

#[test]
fn findings_that_differ_hold_in_part() {
    let finding = |holds| ClaimFinding {
        lane: String::new(),
        workload: String::new(),
        holds,
        ratio: None,
        text: String::new(),
    };
    let together = |all: &[ClaimVerdict]| {
        ClaimVerdict::combine(&all.iter().map(|holds| finding(*holds)).collect::<Vec<_>>())
    };
    assert_eq!(together(&[]), ClaimVerdict::Untested);
    assert_eq!(together(&[ClaimVerdict::Yes, ClaimVerdict::Untested]), ClaimVerdict::Yes);
    assert_eq!(together(&[ClaimVerdict::Yes, ClaimVerdict::Undecided]), ClaimVerdict::Undecided);
    assert_eq!(
        together(&[ClaimVerdict::Yes, ClaimVerdict::No, ClaimVerdict::Undecided]),
        ClaimVerdict::Partly
    );
    assert_eq!(together(&[ClaimVerdict::No, ClaimVerdict::No]), ClaimVerdict::No);
}

#[test]
fn operators_that_differ_between_runs_are_no_measure() {
    let counted = |counts: &[u64]| {
        let mut series = series("wasmtime:fuel", "nbody", COLD, 5.0);
        series.runs = counts
            .iter()
            .map(|count| cyclometer_store::SeriesRun {
                wasm_ops: Some(*count),
                ..cyclometer_store::SeriesRun::default()
            })
            .collect();
        report(&[(PaperPart::Counting, vec![series])], vec![lane("wasmtime:fuel")]).claims[5].holds
    };
    assert_eq!(counted(&[15, 15, 15]), ClaimVerdict::Yes);
    assert_eq!(counted(&[15, 16, 15]), ClaimVerdict::No);
    assert_eq!(counted(&[]), ClaimVerdict::Untested);
}

#[test]
fn a_lane_in_which_nop_fails_is_tried_no_further_and_says_why() {
    let mut broken = series("wasmi", "nop", COLD, 1.0);
    broken.runs.clear();
    (broken.failed, broken.reason) = (2, Some("no end within its limit".to_owned()));
    // One that fails cold and not warm is not hopeless.
    let half = CellSeries { failed: 1, runs: Vec::new(), ..series("node", "nop", COLD, 1.0) };
    let nop = vec![broken, half, series("node", "nop", WARM, 1.0)];
    assert_eq!(super::plan::hopeless_lanes(&nop), ["wasmi"]);
    let parts =
        [(PaperPart::Nop, nop), (PaperPart::CatSync, vec![series("node", "cat-sync", COLD, 5.0)])];
    let report = report(&parts, vec![lane("wasmi"), lane("node")]);
    let row = report.tables[1].rows.iter().find(|row| row.lane == "wasmi").expect("a row");
    let why = row.why.as_deref();
    assert_eq!(why, Some("not tried, since nop fails in it: no end within its limit"));
}

#[test]
fn runtimes_are_held_against_the_image_of_a_distribution() {
    let sized = |lane: &str, function: u64, runtime: u64| CellSeries {
        function: Some(Bytes(function)),
        runtime: Some(Bytes(runtime)),
        ..series(lane, "nop", COLD, 1.0)
    };
    let small = vec![sized("wasmtime-cli", 14_000, 9_000_000), sized("docker:runc", 1, 100)];
    let lanes = || vec![lane("wasmtime-cli"), lane("wasm-large"), lane("docker:runc")];
    let untested = &report(&[(PaperPart::Nop, small.clone())], lanes()).claims[4];
    assert_eq!(untested.holds, ClaimVerdict::Untested, "an image of the program alone is none");
    assert!(untested.note.contains("--base-image"), "{}", untested.note);
    let mut all = small;
    all.push(sized("wasm-large", 1, 9_000_001));
    all.push(sized("docker:runc@debian:12", 90_000_000, 100_000_000));
    let mut lanes = lanes();
    lanes.push(lane("docker:runc@debian:12"));
    let claim = &report(&[(PaperPart::Nop, all)], lanes).claims[4];
    let holds: Vec<_> = claim.findings.iter().map(|it| (it.lane.as_str(), it.holds)).collect();
    assert_eq!(holds, [("wasmtime-cli", ClaimVerdict::Yes), ("wasm-large", ClaimVerdict::No)]);
    assert_eq!(claim.holds, ClaimVerdict::Partly);
}

#[test]
fn published_times_stand_beside_the_start_that_they_are_of() {
    let rows = |part: PaperPart, workload: &str, starts: &[StartKind]| {
        let series = starts.iter().map(|start| series("node", workload, *start, 5.0)).collect();
        let report = report(&[(part, series)], vec![lane("node")]);
        let rows = report.tables[0].rows.iter().filter(|row| !row.published.is_empty());
        rows.map(|row| row.start).collect::<Vec<_>>()
    };
    assert_eq!(rows(PaperPart::Nop, "nop", &[COLD, WARM]), [COLD]);
    assert_eq!(rows(PaperPart::Benchmarks, "nbody", &[COLD, WARM]), [WARM]);
    assert_eq!(rows(PaperPart::Benchmarks, "nbody", &[COLD]), [COLD]);
}
