//! Reports of sweeps whose figures are known by hand.

use std::convert::Infallible;

use super::*;
use cyclometer_core::cell_key::CellKey;
use cyclometer_core::invocation::StartKind;
use cyclometer_core::meter::{Meter, Usage};
use cyclometer_pricing::{Terms, find_builtin_model};
use cyclometer_replay::{UsageRow, replay_rows};
use cyclometer_store::PricedCells;

const MIB: u64 = 1 << 20;

/// One size of a fixture: memory in MiB, CPU share, run times in milliseconds.
type Size<'a> = (u64, u32, &'a [u64]);

fn size(mib: u64, share: u32) -> PlannedSize {
    PlannedSize {
        memory: Bytes(mib * MIB),
        workload: format!("fn@{mib}MiB"),
        cpu_share: Some(share),
        refused: None,
    }
}

fn plan(sizes: &[Size<'_>]) -> SweepPlan {
    SweepPlan {
        function: "fn".to_owned(),
        sizes: sizes.iter().map(|(mib, share, _)| size(*mib, *share)).collect(),
        present: Some(Bytes(512 * MIB)),
        head_room: 200,
        cpu_rule: Some("aws".to_owned()),
        models: vec!["aws-lambda-x86".to_owned()],
    }
}

fn key(mib: u64) -> CellKey {
    CellKey::new("native", &format!("fn@{mib}MiB"), "quick", StartKind::Cold)
}

fn usage(mib: u64, run_ms: u64) -> Usage {
    let mut usage = Usage::new(true);
    usage.phases.run = Some(Nanos(run_ms * 1_000_000));
    usage.set(Meter::MemoryAllocated, mib * MIB);
    usage
}

/// Builds the report of runs whose peak is `peak` MiB; sizes without runs failed.
fn report_of(sizes: &[Size<'_>], peak: u64, plan: SweepPlan, models: &[&str]) -> SweepReport {
    let contracts: Vec<Contract> = models
        .iter()
        .map(|id| {
            let model = find_builtin_model(id).expect("built in");
            (model.clone(), Terms::for_model(model))
        })
        .collect();
    let (mut series, mut rows, mut priced) = (Vec::new(), Vec::new(), PricedCells::default());
    for (mib, _, times) in sizes {
        let mut cell = CellSeries::new(key(*mib));
        if times.is_empty() {
            (cell.failed, cell.reason) =
                (3, Some("out of memory: 128 MiB are its limit".to_owned()));
        }
        for (at, ms) in (0..).zip(*times) {
            cell.runs.push(SeriesRun {
                wall: Some(Nanos(ms * 1_000_000)),
                cpu: Some(Nanos(100_000_000)),
                throttled: Some(Nanos(5_000_000)),
                memory_peak: Some(Bytes(peak * MIB)),
                ..SeriesRun::default()
            });
            let usage = usage(*mib, *ms);
            for (model, terms) in &contracts {
                let Ok(bill) = model.bill_under(&usage, terms) else { continue };
                let about = (model.id(), model.currency());
                let rounded = bill.total.to_f64().expect("small");
                priced.add_bill(&key(*mib), about, (at, rounded), &bill.total);
            }
            rows.push(Ok::<_, Infallible>(UsageRow {
                invocation: at,
                key: key(*mib),
                offset: Nanos(0),
                failed: false,
                usage,
            }));
        }
        series.push(cell);
    }
    let Ok(summary) = replay_rows(rows, &contracts);
    build_report(plan, &series, &summary, &priced.into_cells(), Confidence::default())
}

/// A function of 100 ms of CPU time: 1,400 ms, 345 ms, 100 ms and 100 ms (it has one thread).
const COMPUTES: [Size<'static>; 4] = [
    (128, 72, &[1_400; 6]),
    (512, 289, &[345; 6]),
    (1_769, 1_000, &[100; 6]),
    (3_008, 1_700, &[100; 6]),
];

fn computing() -> SweepReport {
    report_of(&COMPUTES, 50, plan(&COMPUTES), &["aws-lambda-x86"])
}

#[test]
fn sizes_are_chosen_as_by_hand() {
    let report = computing();
    let tariff = &report.tariffs[0];
    // By hand: $0.20 for a million requests, and $16.66670 a second and GiB.
    // 0.125 x 1.4 = 0.175 -> 2.9166725 + 0.2; 0.5 x 0.345 = 0.1725 -> 2.87500575 + 0.2;
    // 1.7275390625 x 0.1 -> 2.879238 + 0.2; 2.9375 x 0.1 -> 4.895843125 + 0.2.
    let costs: Vec<String> = tariff
        .costs
        .iter()
        .map(|cost| cost.as_ref().expect("a cost").mean.to_rounded_string(6))
        .collect();
    assert_eq!(costs, ["3.116673", "3.075006", "3.079238", "5.095843"]);
    // Scores: 0.6116 / 2 + 0.5 = 0.8058; 0.30172 + 0.12321 = 0.42493;
    // 0.30213 + 0.03571 = 0.33784; 0.5 + 0.03571 = 0.53571.
    let memory = |pick: &Pick| report.rows[tariff.candidates[pick.best]].planned.memory.0 / MIB;
    let choice = tariff.choice.as_ref().expect("a choice");
    assert_eq!(memory(&choice.cheapest), 512);
    assert_eq!(memory(&choice.fastest), 1_769, "of equal times the cheaper");
    assert_eq!(memory(&choice.balanced), 1_769);
    assert!((choice.balanced.figure.value - 0.337_84).abs() < 1e-5, "{choice:?}");
    let told = describe_choices(&report);
    assert_eq!(
        told,
        [
            "aws-lambda-x86: cheapest 512 MiB (3.075 [3.075, 3.075] USD a million); fastest 1769 MiB \
          (100 ms [100 ms, 100 ms]), not distinguishable from 3008 MiB; balanced 1769 MiB. Against \
          512 MiB, a million cost: cheapest the same; fastest and balanced +0.004232 USD (+0.1 %)."
        ]
    );
}

#[test]
fn nothing_below_the_peak_and_its_head_room_is_recommended() {
    // 120 MiB and a fifth are 144 MiB.
    let report = report_of(&COMPUTES, 120, plan(&COMPUTES), &["aws-lambda-x86"]);
    assert_eq!(report.least, Some(Bytes(144 * MIB)));
    assert_eq!(report.tariffs[0].candidates, [1, 2, 3]);
    let notes = list_notes(&report).join("\n");
    let said = "sizes below 144 MiB are not recommended: the largest peak, 120 MiB at 128 MiB, and \
                20 % head-room";
    assert!(notes.contains(said), "{notes}");
    let none = report_of(&COMPUTES, 3_000, plan(&COMPUTES), &["aws-lambda-x86"]);
    assert_eq!(none.tariffs[0].choice, None);
    let told = describe_choices(&none).join(" ");
    assert!(
        told.contains("no size can be recommended: none of those") && told.contains("3600 MiB"),
        "{told}"
    );
}

#[test]
fn sizes_out_of_memory_are_rows_with_their_reason() {
    let sizes: [Size<'_>; 2] = [(128, 72, &[]), (512, 289, &[345; 6])];
    let report = report_of(&sizes, 100, plan(&sizes), &["aws-lambda-x86"]);
    let rows = build_program_table(&report).to_json();
    assert_eq!(rows[0]["reason"], "out of memory: 128 MiB are its limit");
    assert_eq!(
        (&rows[0]["failed"], &rows[0]["wall_p50_ns"]),
        (&3.into(), &serde_json::Value::Null)
    );
    assert_eq!(
        (&rows[1]["cheapest"], &rows[1]["cost_per_million"]),
        (&"chosen".into(), &"3.07500575".into())
    );
    assert_eq!(rows[1]["change_per_million"], "0");
    let notes = list_notes(&report).join("\n");
    assert!(notes.contains("128 MiB: all 3 runs failed: out of memory"), "{notes}");
    // A size that was refused is there too.
    let mut planned = plan(&sizes);
    planned.sizes[0].refused = Some("a share of 9 CPUs is more than 2".to_owned());
    let report = report_of(&sizes[1..], 100, planned, &["aws-lambda-x86"]);
    assert_eq!((report.rows.len(), report.rows[0].ok), (2, 0));
    let notes = list_notes(&report).join("\n");
    assert!(notes.contains("128 MiB: not measured: a share of 9 CPUs"), "{notes}");
}

#[test]
fn tariffs_with_other_sizes_price_the_one_they_would_bill() {
    // Flex: 512 MiB is the smallest instance, and a second the least; 3008 MiB is 4 GB.
    let report =
        report_of(&COMPUTES, 50, plan(&COMPUTES), &["azure-flex", "google-cloud-functions"]);
    let cost = |tariff: usize, at: usize| {
        report.tariffs[tariff].costs[at].as_ref().expect("a cost").mean.to_rounded_string(2)
    };
    // 0.5 GB x 1.4 s x $26 + $0.40, 0.5 x 1 x 26 + 0.40, 2 x 26 + 0.40, 4 x 26 + 0.40.
    assert_eq!([0, 1, 2, 3].map(|at| cost(0, at)), ["18.60", "13.40", "52.40", "104.40"]);
    assert_ne!(cost(1, 2), cost(1, 3), "2 GB and 4 GB");
    let notes = list_notes(&report).join("\n");
    assert!(
        notes.contains("azure-flex and google-cloud-functions have others: before you"),
        "{notes}"
    );
    let far: [Size<'_>; 1] = [(10_240, 5_789, &[100; 6])];
    let beyond = report_of(&far, 50, plan(&far), &["azure-flex"]);
    let told = list_notes(&beyond).join("\n") + &describe_choices(&beyond).join("\n");
    assert!(told.contains("azure-flex: no price at 10240 MiB: "), "{told}");
    assert!(told.contains("none has a price"), "{told}");
}

#[test]
fn without_enough_runs_or_a_share_that_is_said() {
    let sizes: [Size<'_>; 2] = [(128, 72, &[250; 3]), (256, 145, &[250; 3])];
    let mut planned = plan(&sizes);
    (planned.cpu_rule, planned.present) = (None, Some(Bytes(64 * MIB)));
    let report = report_of(&sizes, 20, planned.clone(), &["aws-lambda-x86"]);
    let told = describe_choices(&report).join(" ");
    assert!(
        told.contains("cheapest 128 MiB") && told.contains("Without intervals it is not known"),
        "{told}"
    );
    assert!(told.contains("--present 64MiB"), "{told}");
    let notes = list_notes(&report).join("\n");
    assert!(notes.contains("whole CPUs at every size") && notes.contains("--runs 6"), "{notes}");
    planned.cpu_rule = Some("0.5".to_owned());
    let notes = list_notes(&report_of(&sizes, 20, planned, &["aws-lambda-x86"])).join("\n");
    assert!(notes.contains("functions had 0.5 CPUs at every size"), "{notes}");
}

#[test]
fn the_chart_fits_eighty_columns_and_plain_terminals() {
    let report = report_of(
        &COMPUTES,
        50,
        plan(&COMPUTES),
        &["aws-lambda-x86", "google-cloud-functions", "azure-flex"],
    );
    for ascii in [false, true] {
        let chart = render_chart(&report, 80, ascii);
        assert!(chart.lines().all(|line| line.chars().count() <= 80), "{chart}");
        assert_eq!(chart.is_ascii(), ascii, "{chart}");
    }
    let chart = render_chart(&report, 80, true);
    let lines: Vec<&str> = chart.lines().collect();
    assert!(lines[1].starts_with("  128 MiB  ####################"), "{chart}");
    assert!(lines[2].ends_with("3.075 C"), "{chart}");
    assert!(lines[3].ends_with("3.079  FB"), "{chart}");
    assert!(lines[4].ends_with("5.096  f"), "{chart}");
    let table = build_people_table(&report).render_within(80, 1);
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
}

#[test]
fn the_svg_is_one_file_in_which_names_are_text() {
    let mut planned = plan(&COMPUTES);
    planned.function = "<script>&\u{1b}".to_owned();
    let report = report_of(&COMPUTES, 120, planned, &["aws-lambda-x86", "azure-flex"]);
    let svg = render_svg(&report);
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("&lt;script&gt;&amp;\\x1b by memory size"), "{svg}");
    assert!(!svg.contains("href") && !svg.contains("<script"));
    // Three panels of four points, of which the size below the head-room is hollow in each.
    assert_eq!((svg.matches("<circle").count(), svg.matches("<polyline").count()), (12, 3));
    assert_eq!(svg.matches("fill=\"#ffffff\" stroke").count(), 3);
    assert!(
        svg.contains(">fastest</text>")
            && svg.contains(">balanced</text>")
            && svg.contains(">(fastest)</text>"),
        "{svg}"
    );
    // Tags are closed: the same number of each kind.
    for tag in ["text", "title", "circle"] {
        let (open, closed) = (format!("<{tag}"), format!("</{tag}>"));
        assert_eq!(svg.matches(&open).count(), svg.matches(&closed).count(), "{tag}");
    }
}

#[test]
fn plans_are_read_as_they_were_written() {
    let planned = plan(&COMPUTES);
    let text = serde_json::to_value(&planned).expect("JSON");
    assert_eq!(text["sizes"][1]["memory"], 512 * MIB);
    assert_eq!(serde_json::from_value::<SweepPlan>(text).expect("read"), planned);
}

#[test]
fn sizes_and_amounts_are_exact_enough_to_be_told_apart() {
    assert_eq!(format_size(Bytes(1_769 * MIB)), "1769 MiB");
    assert_eq!(format_size(Bytes(1_000_000)), "1000000 B");
    for (amount, text) in
        [(0.0, "0"), (0.000_123_456, "0.0001235"), (12.345_6, "12.35"), (1_234_567.0, "1234567")]
    {
        assert_eq!(format_amount(amount), text);
    }
}
