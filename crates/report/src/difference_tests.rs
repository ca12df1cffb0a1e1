//! Differences reported between two recordings or two simulations.

use serde_json::json;

use super::*;
use crate::Format;
use cyclometer_core::invocation::StartKind;
use cyclometer_stats::Quantum;
use cyclometer_store::RecordingDetails;

fn cell(lane: &str, cycles: &[f64], ticks: &[f64], run: &[f64]) -> RunsOfCell {
    let mut values = vec![Vec::new(); ComparedMeter::ALL.len()];
    for (key, of) in [("cycles", cycles), ("ref_cycles", ticks), ("run_ns", run)] {
        let at = ComparedMeter::ALL.iter().position(|meter| meter.key == key).expect("known");
        values[at] = of.to_vec();
    }
    RunsOfCell {
        key: CellKey::new(lane, "nop", "quick", StartKind::Cold),
        ok: run.len() as u64,
        bad: 0,
        memory_allocated: Some(1 << 27),
        values,
        quanta: Vec::new(),
    }
}

fn rows(difference: &Difference) -> Vec<Value> {
    difference.table.to_json().as_array().expect("rows").clone()
}

#[test]
fn cells_are_matched_by_their_names() {
    let times: Vec<f64> = (100..110).map(f64::from).collect();
    let half: Vec<f64> = times.iter().map(|it| it / 2.0).collect();
    let first = [cell("native", &[], &times, &times), cell("docker", &[], &[], &times)];
    let mut second = [cell("wasmtime", &[], &[], &times), cell("native", &[], &times, &half)];
    second[1].bad = 2;
    second[1].memory_allocated = Some(1 << 28);
    let difference = compare_cells(&first, &second, Confidence::default());
    let rows = rows(&difference);
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
            format!("{} {} {}", text("lane"), text("meter"), text("verdict"))
        })
        .collect();
    assert_eq!(
        told,
        [
            "native run_ns lower",
            "native ref_cycles no difference shown",
            "docker - only in the first",
            "wasmtime - only in the second",
        ]
    );
    assert_eq!(rows[0]["first_median"], 104);
    assert_eq!(rows[0]["ratio"], 0.5);
    assert_eq!(rows[0]["runs"], json!([10, 10]));
    assert_eq!(difference.shown, (1, 2));
    assert_eq!(
        difference.notes,
        [
            "nop, quick, native, cold: 2 of 12 failed in the second",
            "nop, quick, native, cold: had 128 MiB in the first, 256 MiB in the second"
        ]
    );
}

#[test]
fn what_is_too_short_for_its_clock_has_no_ratio() {
    let quantum = Quantum { span: Nanos(50), origin: "clock" };
    let at = ComparedMeter::ALL.iter().position(|meter| meter.key == "run_ns").expect("known");
    let with = |middle: u32| {
        let times: Vec<f64> = (middle..middle + 10).map(f64::from).collect();
        let mut cell = cell("native", &[], &[], &times);
        cell.quanta = vec![None; ComparedMeter::ALL.len()];
        cell.quanta[at] = Some(quantum);
        [cell]
    };
    let told = |first: u32, second: u32| {
        let difference = compare_cells(&with(first), &with(second), Confidence::default());
        (rows(&difference).remove(0), difference.shown, difference.refused)
    };
    let (row, shown, refused) = told(490, 4_900);
    assert_eq!((&row["verdict"], &row["ratio"]), (&json!("refused"), &Value::Null));
    assert_eq!(row["told"], "no ratio: 494 ns < 10 x 50 ns (clock)");
    assert_eq!((shown, refused), ((0, 0), 1));
    let (row, shown, refused) = told(4_900, 490);
    assert_eq!(row["verdict"], "lower");
    assert_eq!((shown, refused), ((1, 1), 0));
}

fn host(clock: &Value) -> Circumstances {
    let mut around = circumstances(json!({ "clock": clock }));
    for (lane, source) in [("a", " perf:sw"), ("b", " rusage"), ("c", " procfs"), ("d", " none")] {
        let key = (lane.to_owned(), StartKind::Cold, "cpu_time".to_owned());
        around.sources.insert(key, source.to_owned());
    }
    around
}

#[test]
fn every_time_has_the_quantum_of_its_source() {
    let clock = json!({"resolution_ns": 1, "step_ns": 20, "read_ns": 40, "counters_ns": 700});
    let (around, old) = (host(&clock), host(&Value::Null));
    let quantum = |around: &Circumstances, key: &str, lane: &str| {
        let meter = ComparedMeter::ALL.iter().find(|meter| meter.key == key).expect("known");
        around.meter_quantum(meter, lane, StartKind::Cold).map(|quantum| quantum.span.0)
    };
    for key in ["startup_ns", "run_ns", "wall_ns"] {
        assert_eq!(quantum(&around, key, "a"), Some(40), "{key}");
        assert_eq!(quantum(&old, key, "a"), None, "{key}");
    }
    let cpu = |around: &Circumstances| ["a", "b", "c", "d"].map(|it| quantum(around, "cpu_ns", it));
    assert_eq!(cpu(&around), [Some(700), Some(1_000), Some(10_000_000), None]);
    assert_eq!(cpu(&old), [None, Some(1_000), Some(10_000_000), None]);
    assert_eq!(quantum(&around, "cycles", "a"), None);
}

#[test]
fn ticks_stand_in_only_where_one_side_has_no_cycles() {
    let some = [5.0; 8];
    let meters = |one: RunsOfCell, two: RunsOfCell| -> Vec<String> {
        let difference = compare_cells(&[one], &[two], Confidence::default());
        rows(&difference)
            .iter()
            .map(|row| row["meter"].as_str().expect("text").to_owned())
            .collect()
    };
    let both = || cell("a", &some, &some, &[]);
    let ticks = || cell("a", &[], &some, &[]);
    assert_eq!(meters(both(), both()), ["cycles"]);
    assert_eq!(meters(both(), ticks()), ["ref_cycles"]);
    assert_eq!(meters(ticks(), ticks()), ["ref_cycles"]);
    // A meter that the two sides do not share is reported rather than passed over.
    assert_eq!(meters(cell("a", &some, &[], &[]), ticks()), ["cycles", "ref_cycles"]);
}

#[test]
fn rows_fit_eighty_columns() {
    let times: Vec<f64> = (0..30).map(|at| 1e9 + f64::from(at) * 1e7).collect();
    let first = [cell("native", &[], &times, &times)];
    let difference = compare_cells(&first, &first, Confidence::default());
    let text = difference.table.render_grouped(NAME_COLUMNS);
    assert!(text.contains("\nnop, quick, native, cold\n"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let mut csv = Vec::new();
    difference.table.print(Format::Csv, &mut csv).expect("memory takes all");
}

fn priced(model: &str, currency: &str, bills: &[(i64, f64)], total: &str) -> PricedCell {
    let key = CellKey::new("native", "nop", "quick", StartKind::Cold);
    let total = total.parse().expect("an amount");
    let (model, currency) = (model.to_owned(), currency.to_owned());
    PricedCell { key, model, currency, bills: bills.to_vec(), total }
}

#[test]
fn bills_of_the_same_invocations_are_compared_in_pairs() {
    let bills: Vec<(i64, f64)> = (1..=10_i32).map(|at| (i64::from(at), f64::from(at))).collect();
    let dearer: Vec<_> = bills.iter().map(|(at, bill)| (*at, bill * 1.1)).collect();
    let others: Vec<_> = dearer.iter().map(|(at, bill)| (at + 10, *bill)).collect();
    let verdict = |second: &[(i64, f64)]| {
        let (one, two) = (priced("m", "USD", &bills, "55"), priced("m", "USD", second, "60.5"));
        rows(&compare_priced_cells(&[one], &[two], Confidence::default())).remove(0)
    };
    let row = verdict(&dearer);
    assert_eq!(row["verdict"], "higher");
    // 55 / 10 x 10^6, exactly.
    assert_eq!(row["first_mean_per_million"], "5500000");
    assert_eq!(row["second_mean_per_million"], "6050000");
    assert_eq!(verdict(&others)["verdict"], "no difference shown");
    assert_eq!(verdict(&bills)["verdict"], "identical");
    let euros = priced("m", "EUR", &bills, "55");
    let row = rows(&compare_priced_cells(
        &[priced("m", "USD", &bills, "55")],
        &[euros],
        Confidence::default(),
    ));
    assert_eq!(row[0]["verdict"], "currencies differ");
}

fn circumstances(host: Value) -> Circumstances {
    Circumstances {
        about: RecordingDetails {
            id: 1,
            label: None,
            started_at: String::new(),
            ended_at: None,
            status: "done".to_owned(),
            plan: json!({}),
            host,
            sample_interval_ns: Some(10_000_000),
            sampler_cpu_ns: None,
            sampler_ticks: None,
            samples_dropped: 0,
            is_trace: false,
        },
        lanes: vec![("docker".to_owned(), "docker 24, runc".to_owned())],
        sources: std::iter::once((
            ("docker".to_owned(), StartKind::Cold, "cpu_time".to_owned()),
            " cgroup".to_owned(),
        ))
        .collect(),
    }
}

#[test]
fn what_else_differed_is_said() {
    let first = circumstances(json!({"cpu": "A", "tsc_hz": 2_000_000_000_u64}));
    let same = circumstances(json!({"cpu": "A", "tsc_hz": 2_000_000_100_u64}));
    assert_eq!(list_warnings(&first, &same), Vec::<String>::new());

    let mut other = circumstances(json!({"cpu": "B", "tsc_hz": 2_100_000_000_u64}));
    other.about.sample_interval_ns = None;
    other.about.plan = json!({"pin": 1, "race": true});
    other.lanes[0].1 = "docker 25, runc".to_owned();
    other.about.status = "interrupted".to_owned();
    other.sources.values_mut().for_each(|source| *source = " procfs".to_owned());
    assert_eq!(
        list_warnings(&first, &other),
        [
            "the machines differ: cpu A and B; tsc_hz 2000000000 and 2100000000",
            "the first is not pinned, the second pinned to CPU 1",
            "the lanes of the first ran in turn, those of the second at the same time",
            "the first was sampled every 10.0 ms, the second not at all",
            "lane docker: docker 24, runc in the first, docker 25, runc in the second",
            "cpu_time of lane docker: from cgroup in the first, procfs in the second",
            "the second is not complete: interrupted",
        ]
    );
}
