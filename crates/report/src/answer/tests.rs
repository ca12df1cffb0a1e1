//! Sentences about cells whose ratios are known in advance.

use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use cyclometer_core::meter::{Meter, Usage};
use cyclometer_core::units::Nanos;
use cyclometer_pricing::find_builtin_model;
use cyclometer_replay::{UsageRow, replay_rows};
use cyclometer_stats::Quantum;

const COLD: StartKind = StartKind::Cold;
const WARM: StartKind = StartKind::Warm;

/// Ten container starts and ten of a sandbox in process, in milliseconds.
const CONTAINER: [f64; 10] = [181.2, 176.9, 215.4, 180.3, 178.8, 190.1, 183.7, 179.5, 204.2, 182.6];
const SANDBOX: [f64; 10] = [2.31, 2.25, 2.62, 2.29, 2.41, 2.27, 2.35, 2.88, 2.26, 2.33];
/// Runs: steady ones, steady ones that take a third longer, and scattered ones.
const STEADY: [f64; 10] = [100.1, 99.2, 101.0, 100.4, 99.7, 100.9, 100.2, 99.9, 100.6, 99.5];
const SLOWER: [f64; 10] = [131.0, 128.2, 129.9, 133.4, 130.2, 127.6, 131.8, 130.7, 129.1, 132.3];
const SCATTERED: [f64; 10] = [80.0, 95.0, 102.0, 131.0, 99.0, 118.0, 91.0, 107.0, 125.0, 88.0];

/// Returns a cell of `nbody` whose times are in milliseconds.
fn cell(lane: &str, start: StartKind, startup: &[f64], run: &[f64]) -> RunsOfCell {
    let nanos = |values: &[f64]| values.iter().map(|value| value * 1e6).collect::<Vec<f64>>();
    let values = ComparedMeter::ALL
        .iter()
        .map(|meter| match meter.key {
            "startup_ns" => nanos(startup),
            "run_ns" => nanos(run),
            "memory_peak_bytes" => vec![f64::from(4 << 20), f64::from(5 << 20)],
            _ => Vec::new(),
        })
        .collect();
    RunsOfCell {
        key: CellKey::new(lane, "nbody", "quick", start),
        ok: run.len().max(startup.len()) as u64,
        bad: 0,
        memory_allocated: None,
        values,
        quanta: vec![None; ComparedMeter::ALL.len()],
    }
}

fn told(cells: &[RunsOfCell]) -> String {
    let answers = build_answers(cells, None);
    let [answer] = answers.as_slice() else { panic!("one workload: {answers:?}") };
    answer.to_string()
}

// scipy 1.17: bootstrap of the ratio of the medians, percentile method, 200,000
// resamples, 99 %: 78.41 [69.69, 87.26], 1.3025 [1.2801, 1.3220] and 0.9965
// [0.8024, 1.1375].
#[test]
fn a_winner_is_named_with_the_interval_that_scipy_finds() {
    let cells = [
        cell("native", COLD, &[0.07; 10], &STEADY),
        cell("wasmtime", COLD, &SANDBOX, &SLOWER),
        cell("docker", COLD, &CONTAINER, &SCATTERED),
    ];
    let text = told(&cells);
    // The ends of an interval of so few values are themselves a little uncertain.
    let (_, rest) = text.split_once("starts cold 78x [").expect("by the medians");
    let ends: Vec<f64> =
        rest.split([',', ']']).take(2).filter_map(|it| it.trim().parse().ok()).collect();
    let near = |found: f64, expected: f64| (found - expected).abs() <= 0.03 * expected;
    assert!(matches!(ends[..], [low, high] if near(low, 69.7) && near(high, 87.3)), "{text}");
    assert!(
        text.contains(
            "] faster than docker and runs 1.30x [1.28, 1.32] slower than native; docker runs with \
             no difference from native shown [0.80x, 1.14x]. Where no difference is shown, more \
             runs may tell."
        ),
        "{text}"
    );
    assert!(text.contains("Peak memory: 5.00 MiB in native, "), "{text}");
}

#[test]
fn as_fast_is_said_only_of_what_lies_within_the_band() {
    let scaled = |by: f64| STEADY.map(|value| value * by);
    let text = |by: f64| {
        told(&[cell("native", COLD, &[], &STEADY), cell("wasmtime", COLD, &[], &scaled(by))])
    };
    assert!(text(1.0).contains("wasmtime runs as fast as native (within 5 %)"), "{}", text(1.0));
    assert!(text(1.03).contains("as fast as native"), "{}", text(1.03));
    assert!(text(0.97).contains("as fast as native"), "{}", text(0.97));
    // The medians are within the band, but the interval leaves it.
    assert!(text(1.048).contains(" slower than native"), "{}", text(1.048));
    assert!(text(0.9).contains("1.11x [1.1"), "{}", text(0.9));
    // A lower end that is above 1 never reads as 1.
    let near = LaneTiming::new("b", &STEADY, None);
    let far = scaled(1.06);
    let far = LaneTiming::new("a", &far, None);
    assert!(matches!(speed::compare_timings(&far, &near), speed::Relation::Slower(_)));
    let change = cyclometer_stats::Change {
        ratio: 1.07,
        low: 1.0004,
        high: 1.2,
        confidence: cyclometer_stats::Confidence::default(),
    };
    assert_eq!(phrasing::format_ratio(&change), "1.0700x [1.0004, 1.2000]");
}

// A run of a process begins at exec: compared with it, a short run in a worker mostly
// shows the loading of the program, not faster execution.
#[test]
fn a_much_shorter_run_beside_a_process_is_said_to_leave_out_loading() {
    let scaled = |by: f64| STEADY.map(|value| value * by);
    let text = |lane: &str, other: &str, by: f64| {
        told(&[cell(other, COLD, &[], &STEADY), cell(lane, COLD, &[], &scaled(by))])
    };
    let loading = "faster than native, whose run includes loading the program";
    assert!(text("wasmtime", "native", 0.1).contains(loading));
    assert!(text("wasmtime:fuel", "docker:runsc", 0.1).contains("whose run includes loading"));
    assert!(!text("wasmtime", "native", 0.8).contains("loading"), "a fifth is no matter of that");
    assert!(!text("native", "docker", 0.1).contains("loading"), "both load the program");
    assert!(!text("wasmtime", "node", 0.1).contains("loading"));
}

#[test]
fn only_like_is_set_beside_like() {
    // Cold containers compared with warm sandboxes would be 78 times slower.
    let text = told(&[
        cell("docker", COLD, &CONTAINER, &STEADY),
        cell("wasmtime", WARM, &SANDBOX, &STEADY),
    ]);
    assert!(!text.contains("faster") && !text.contains("as fast"), "{text}");
    assert!(text.contains("docker starts cold in 182 ms and runs for 100 ms."), "{text}");
    assert!(text.contains("wasmtime starts warm in 2.32 ms and runs for 100 ms."), "{text}");
    // A plain process has no sandbox to start: the two others are compared with each
    // other.
    let text = told(&[
        cell("native", COLD, &[0.07; 10], &STEADY),
        cell("wasmtime", COLD, &SANDBOX, &STEADY),
    ]);
    assert!(
        text.contains("wasmtime starts cold ") && text.contains(" slower than native"),
        "{text}"
    );
}

#[test]
fn too_few_runs_name_no_winner_and_say_how_many_there_must_be() {
    let text = told(&[
        cell("docker", COLD, &CONTAINER[..3], &STEADY[..3]),
        cell("wasmtime", COLD, &SANDBOX[..3], &STEADY[..3]),
    ]);
    assert!(text.contains("wasmtime starts cold in 2.31 ms (docker: 181 ms)"), "{text}");
    assert!(!text.contains("faster") && !text.contains("slower"), "{text}");
    let advice =
        "3 runs are too few for an interval, and so for a comparison: use --runs 6 or more.";
    assert!(text.contains(advice), "{text}");
    // Where runs failed, more runs are no cure.
    let mut failing = cell("docker", COLD, &CONTAINER[..3], &STEADY[..3]);
    failing.bad = 7;
    let text = told(&[failing, cell("wasmtime", COLD, &SANDBOX, &STEADY)]);
    assert!(!text.contains("--runs"), "{text}");
}

#[test]
fn what_the_clock_cannot_tell_is_no_ratio() {
    let mut short = cell("wasmtime", COLD, &[0.001; 10], &STEADY);
    let at = ComparedMeter::ALL.iter().position(|meter| meter.key == "startup_ns").expect("there");
    short.quanta[at] = Some(Quantum { span: Nanos(200), origin: "clock" });
    let text = told(&[short, cell("docker", COLD, &CONTAINER, &STEADY)]);
    assert!(
        text.contains(
            "wasmtime starts cold in 1.00 us (docker: 182 ms; no ratio, since the shorter is below \
             10 x 200 ns of the clock)"
        ),
        "{text}"
    );
}

#[test]
fn what_only_fails_is_left_out_and_named() {
    let mut failing = cell("docker", COLD, &[], &[]);
    (failing.ok, failing.bad) = (0, 12);
    let text = told(&[failing, cell("wasmtime", COLD, &SANDBOX, &STEADY)]);
    assert!(text.contains("wasmtime starts cold in 2.32 ms"), "{text}");
    assert!(
        text.ends_with("Left out, and without a price: cold in docker (all 12 runs failed)."),
        "{text}"
    );
    let mut only = cell("docker", COLD, &[], &[]);
    (only.ok, only.bad) = (0, 1);
    assert!(told(&[only]).ends_with("cold in docker (its only run failed)."));
}

#[test]
fn what_was_not_measured_is_said() {
    let mut bare = cell("docker", COLD, &[], &STEADY);
    bare.values.iter_mut().last().expect("meters").clear();
    let text = told(&[bare, cell("wasmtime", COLD, &SANDBOX, &STEADY)]);
    assert!(text.contains("Peak memory: 5.00 MiB in wasmtime; not measured in docker."), "{text}");
    let text = told(&[cell("docker", COLD, &[], &[1.0; 8])]);
    assert!(text.contains("How long a cold start-up takes was not measured."), "{text}");
    assert_eq!(build_answers(&[], None), []);
}

#[test]
fn of_many_lanes_the_ends_are_named_and_who_is_as_good_as_the_best() {
    let mut cells =
        vec![cell("native", COLD, &[0.07; 10], &STEADY), cell("docker", COLD, &CONTAINER, &STEADY)];
    for at in 1..10 {
        let startup = SANDBOX.map(|value| value * f64::from(at * at));
        let run = SLOWER.map(|value| value * f64::from(at));
        cells.push(cell(&format!("lane{at}"), COLD, &startup, &run));
    }
    cells.push(cell("twin", COLD, &SANDBOX.map(|value| value * 1.001), &SLOWER));
    let text = told(&cells);
    assert!(text.starts_with("nbody: Of 11 lanes, lane1 starts cold 78x ["), "{text}");
    assert!(
        text.contains("] faster than docker (not told apart from it: twin); lane9 starts cold ")
    );
    // docker runs as fast as native; nine times 1.30 is the slowest.
    assert!(
        text.contains("Of 12 lanes, docker runs, when started cold, as fast as native"),
        "{text}"
    );
    assert!(
        text.contains("; lane9 runs, when started cold, 11.7x [11.5, 11.9] slower than native."),
        "{text}"
    );
    assert!(text.contains("the least and the most of 12 lanes"), "{text}");
    assert!(text.len() < 700, "{} characters: {text}", text.len());
}

#[test]
fn workloads_have_a_paragraph_each() {
    let mut other = cell("wasmtime", COLD, &SANDBOX, &STEADY);
    other.key.workload = "nop".into();
    let cells = [cell("wasmtime", COLD, &SANDBOX, &STEADY), other.clone()];
    let answers_of_two = build_answers(&cells, None);
    assert_eq!(answers_of_two.iter().map(|it| &*it.workload).collect::<Vec<_>>(), ["nbody", "nop"]);
    other.key = CellKey::new("wasmtime", "nbody", "paper", COLD);
    let names: Vec<String> =
        build_answers(&[cells[0].clone(), other], None).into_iter().map(|it| it.workload).collect();
    assert_eq!(names, ["nbody (quick)", "nbody (paper)"]);
    let wrapped = render_answers(&answers_of_two, 40);
    assert!(wrapped.lines().all(|line| line.chars().count() <= 40), "{wrapped}");
    assert_eq!(wrapped.replace("\n  ", " "), render_answers(&answers_of_two, 10_000));
}

/// Returns the bills of one warm invocation of 10 ms at 1 GiB.
fn bills(lane: &str, cpu_ms: Option<u64>, cycles: Option<u64>) -> ReplaySummary {
    let mut usage = Usage::new(false);
    usage.phases.run = Some(Nanos(10_000_000));
    usage.set(Meter::MemoryAllocated, 1 << 30);
    usage.set(Meter::MemoryPeak, 1 << 29);
    usage.set(Meter::CpuTime, cpu_ms.map(|it| it * 1_000_000));
    usage.set(Meter::Cycles, cycles);
    let key = CellKey::new(lane, "nbody", "quick", WARM);
    let row = UsageRow { invocation: 1, key, offset: Nanos(0), failed: false, usage };
    let contracts = HEADLINE_MODELS.map(|id| {
        let model = find_builtin_model(id).expect("built in");
        (model.clone(), Terms::for_model(model))
    });
    replay_rows(std::iter::once(Ok::<_, Infallible>(row)), &contracts).expect("rows")
}

fn priced(lane: &str, cpu_ms: Option<u64>, cycles: Option<u64>) -> String {
    let cells = [cell(lane, WARM, &SANDBOX, &STEADY)];
    build_answers(&cells, Some(&bills(lane, cpu_ms, cycles)))[0].to_string()
}

// By hand: 10 ms of 1 GiB at 0.0000166667 are 0.16667, and a request 0.20, of a
// million: $0.37. 10^9 cycles are 0.0115, or $11.50 of a million, 31.4 times as
// much. 6 of 10 ms without a CPU are 0.1, half of the memory in the other 4 is
// 0.0333: 0.1333 of 0.36667 are 36 %.
#[test]
fn prices_and_their_ratio_are_those_of_a_hand_computation() {
    let text = priced("wasmtime", Some(4), Some(1_000_000_000));
    assert!(
        text.contains(
            "A million warm runs in wasmtime cost $0.37 on AWS Lambda x86 (36 % of it for no work) \
             and $11.50 per cycle, which is 31 times as much, since the former bills time and \
             memory, whatever is computed in them."
        ),
        "{text}"
    );
    // 2,000,000 cycles: $0.023, a sixteenth (0.36667 / 0.023 = 15.94); the
    // request is 0.2 / 0.36667 = 55 % of it.
    let text = priced("wasmtime", Some(4), Some(2_000_000));
    assert!(
        text.contains(
            "and $0.023 per cycle; on AWS Lambda x86 it is 16 times as much, since 55 % of that \
             bill is for the request itself, whatever it does."
        ),
        "{text}"
    );
    // 31,884,000 cycles are $0.366666.
    let text = priced("wasmtime", Some(4), Some(31_884_000));
    assert!(text.contains("and $0.37 per cycle, which is about the same."), "{text}");
}

// The duration is 0.16667 of 0.36667: 45 %.
#[test]
fn a_share_that_was_not_measured_is_said_to_be_so() {
    let text = priced("wasmtime", None, Some(1_000_000_000));
    assert!(text.contains("(what 45 % of it is for was not measured)"), "{text}");
    let text = priced("wasmtime", Some(4), None);
    assert!(text.contains("what they cost per cycle is not known: `cycles` (or"), "{text}");
}

#[test]
fn what_never_ended_well_has_no_price() {
    let mut failing = cell("wasmtime", WARM, &[], &[]);
    (failing.ok, failing.bad) = (0, 3);
    let summary = bills("wasmtime", Some(4), Some(1_000_000));
    let text = build_answers(&[failing], Some(&summary))[0].to_string();
    assert!(!text.contains('$'), "{text}");
}

/// Generates times around a middle value.
fn times() -> impl Strategy<Value = Vec<f64>> {
    (6_usize..20, 0.001_f64..0.5)
        .prop_flat_map(|(count, spread)| prop::collection::vec(1.0 - spread..1.0 + spread, count))
}

/// Returns the winner that a text names, or its statement in the place of one.
fn verdict(first: &[f64], second: &[f64]) -> &'static str {
    let (first, second) = (LaneTiming::new("a", first, None), LaneTiming::new("b", second, None));
    match speed::compare_timings(&first, &second) {
        speed::Relation::Faster(_) => "faster",
        speed::Relation::Slower(_) => "slower",
        speed::Relation::Alike => "alike",
        speed::Relation::Undecided(_) => "undecided",
        speed::Relation::Apart(_) => "apart",
        speed::Relation::Refused(_) => "refused",
    }
}

proptest! {
    // Equal values in another order have no winner, however they are spread.
    #[test]
    fn nothing_is_faster_than_itself(values in times()) {
        let mut other = values.clone();
        other.reverse();
        let verdict = verdict(&values, &other);
        prop_assert!(matches!(verdict, "alike" | "undecided"), "{}", verdict);
    }

    // Where every value of one side is below every value of the other, and by more than
    // the band, no resample contradicts that.
    #[test]
    fn what_is_always_faster_is_faster_and_the_other_way_round(values in times(), by in 3.2_f64..50.0) {
        let slow: Vec<f64> = values.iter().map(|value| value * by).collect();
        prop_assert_eq!(verdict(&values, &slow), "faster");
        prop_assert_eq!(verdict(&slow, &values), "slower");
    }

    #[test]
    fn the_sides_of_a_comparison_never_both_win(one in times(), two in times()) {
        let there = verdict(&one, &two);
        let back = verdict(&two, &one);
        prop_assert!(!(there == "faster" && back == "faster"));
        prop_assert!(!(there == "slower" && back == "slower"));
        // The unit does not change the result.
        let scaled = |values: &[f64]| values.iter().map(|it| it * 1e6).collect::<Vec<f64>>();
        prop_assert_eq!(verdict(&scaled(&one), &scaled(&two)), there);
    }
}
