//! Sums, refusals and ratios of small replays.

use std::convert::Infallible;
use std::str::FromStr;

use proptest::prelude::*;

use super::*;
use cyclometer_core::units::Nanos;
use cyclometer_pricing::{Exact, Money, PriceModel, Terms, find_builtin_model};

const COLD: StartKind = StartKind::Cold;
const WARM: StartKind = StartKind::Warm;

fn contract(model: &PriceModel) -> Contract {
    (model.clone(), Terms::for_model(model))
}

fn models() -> [Contract; 2] {
    [
        contract(find_builtin_model("aws-lambda-x86").unwrap()),
        contract(find_builtin_model("per-cycle").unwrap()),
    ]
}

fn row(
    invocation: i64,
    lane: &str,
    start: StartKind,
    run_ms: u64,
    cycles: Option<u64>,
) -> UsageRow {
    let mut usage = Usage::new(start == COLD);
    usage.phases.run = Some(Nanos(run_ms * 1_000_000));
    usage.set(Meter::MemoryAllocated, 1 << 30);
    usage.set(Meter::Cycles, cycles);
    let key = CellKey::new(lane, "nbody", "small", start);
    UsageRow { invocation, key, offset: Nanos(0), failed: false, usage }
}

fn run(rows: Vec<UsageRow>) -> ReplaySummary {
    replay_rows(rows.into_iter().map(Ok::<_, Infallible>), &models()).unwrap()
}

#[test]
fn coarse_beside_fine_and_their_ratio() {
    // 10 ms at 1 GiB: 0.000000166667 + 0.0000002; 10^9 cycles: 0.0000115.
    let summary = run(vec![
        row(1, "native", WARM, 10, Some(1_000_000_000)),
        row(2, "native", WARM, 10, Some(1_000_000_000)),
    ]);
    let (key, group) = summary.groups().next().unwrap();
    assert_eq!((&*key.lane, &*key.workload, group.invocations), ("native", "nbody", 2));
    let [coarse, fine] = &group.models[..] else { panic!("two models") };
    assert_eq!(coarse.total.to_plain_string(), "0.000000733334");
    assert_eq!(coarse.charges[0].quantity.to_plain_string(), "0.02");
    assert_eq!(coarse.charges[1].amount.to_plain_string(), "0.0000004");
    assert_eq!((fine.billed, fine.total.to_plain_string().as_str()), (2, "0.000023"));
    assert_eq!(summary.coarse_fine_pairs().collect::<Vec<_>>(), [(0, 1)]);
    // 0.733334 / 23 = 0.03188408...
    assert_eq!(summary.coarse_to_fine_ratio(group, 0, 1, 4).unwrap().to_plain_string(), "0.0319");
    assert_eq!(summary.coarse_to_fine_ratio(group, 0, 9, 4), Err(RatioError::NoSuchModel));
}

#[test]
fn a_refused_lane_is_counted_and_the_others_go_on() {
    let summary = run(vec![row(1, "a", COLD, 1, None), row(2, "b", COLD, 1, Some(5))]);
    let by_lane = summary.group_by(|key| key.lane.to_string());
    let refused = &by_lane["a"].models[1];
    assert_eq!((refused.billed, refused.refusal_count()), (0, 1));
    let (reason, count) = refused.refused.iter().next().unwrap();
    assert_eq!(reason.missing.to_string(), "`cycles` (or `ref_cycles`) was not measured");
    assert_eq!(*count, 1);
    assert_eq!(summary.coarse_to_fine_ratio(&by_lane["a"], 0, 1, 2), Err(RatioError::Refused));
    assert!(summary.coarse_to_fine_ratio(&by_lane["b"], 0, 1, 2).is_ok());
    assert_eq!(
        summary.coarse_to_fine_ratio(&summary.overall_group(), 0, 1, 2),
        Err(RatioError::Refused)
    );
    assert_eq!(
        summary.coarse_to_fine_ratio(&summary.overall_group(), 1, 0, 2),
        Err(RatioError::Refused)
    );
}

#[test]
fn free_work_has_no_ratio() {
    let summary = run(vec![row(1, "a", WARM, 1, Some(0))]);
    assert_eq!(
        summary.coarse_to_fine_ratio(&summary.overall_group(), 0, 1, 2),
        Err(RatioError::ZeroDivisor)
    );
    let nothing = run(Vec::new());
    assert_eq!(nothing.groups().len(), 0);
    assert_eq!(nothing.overall_group().models.len(), 2);
}

#[test]
fn stand_ins_are_counted_by_their_note() {
    let mut ticks = row(1, "a", WARM, 1, None);
    ticks.usage.set(Meter::RefCycles, 7);
    let summary = run(vec![ticks, row(2, "a", WARM, 1, Some(7))]);
    let notes = summary.overall_group().models[1].notes.clone();
    let notes: Vec<_> = notes.iter().map(|(note, count)| (&**note, *count)).collect();
    assert_eq!(notes, [("ref_cycles (TSC ticks) instead of cycles", 1)]);
}

#[test]
fn currencies_are_not_mixed() {
    let euros =
        find_builtin_model("per-cycle").unwrap().source_text().replace("\"USD\"", "\"EUR\"");
    let euros = PriceModel::parse_first(&euros, "euro.toml").unwrap();
    let rows = [Ok::<_, Infallible>(row(1, "a", WARM, 1, Some(1)))];
    let models = [contract(find_builtin_model("aws-lambda-x86").unwrap()), contract(&euros)];
    let summary = replay_rows(rows, &models).unwrap();
    assert_eq!(summary.coarse_fine_pairs().count(), 0);
    assert_eq!(
        summary.coarse_to_fine_ratio(&summary.overall_group(), 0, 1, 2),
        Err(RatioError::DifferentCurrencies)
    );
}

#[test]
fn the_first_error_ends_the_replay() {
    let rows = [Ok(row(1, "a", WARM, 1, Some(1))), Err("unreadable row")];
    assert_eq!(replay_rows(rows, &models()).unwrap_err(), "unreadable row");
}

#[test]
fn a_month_has_its_allowances_and_tiers() {
    // 3 M x 120 ms at 1 GiB: 360,000 GB-s are free, 2 M requests are not.
    let summary = run(vec![row(1, "a", WARM, 120, Some(1)), row(2, "a", WARM, 120, Some(1))]);
    let month = summary.monthly_bill(&summary.overall_group(), 0, &Exact::from(3_000_000)).unwrap();
    assert_eq!(month.total.to_plain_string(), "0.4");
    let million =
        summary.monthly_bill(&summary.overall_group(), 0, &Exact::from(100_000_000)).unwrap();
    // 12,000,000 GB-s - 400,000 = 11.6 M x 0.0000166667 = 193.33372; 99 x 0.20.
    assert_eq!(million.exact.to_plain_string(), "213.13372");
    assert_eq!(million.total.to_plain_string(), "213.13");
    let refused = run(vec![row(1, "a", WARM, 120, None)]);
    let why = refused.monthly_bill(&refused.overall_group(), 1, &Exact::from(1)).unwrap_err();
    assert!(why.to_string().starts_with("`cycles` (or `ref_cycles`) was not measured"), "{why}");
}

#[test]
fn overlapping_requests_pay_for_one_instance() {
    let model = find_builtin_model("google-cloud-run").unwrap();
    let at = |offset_ms: u64, start: StartKind| {
        let mut row = row(1, "a", start, 1_000, None);
        row.offset = Nanos(offset_ms * 1_000_000);
        Ok::<_, Infallible>(row)
    };
    let vcpu = |rows: Vec<Result<UsageRow, Infallible>>| {
        let summary = replay_rows(rows, &[contract(model)]).unwrap();
        let total = summary.overall_group().models[0].clone();
        assert_eq!(total.refusal_count(), 0);
        let charges = summary.models()[0].charges.iter().zip(&total.charges);
        let of = |wanted: &str| {
            let mut charges = charges.clone();
            let found = charges.find(|((_, unit), _)| &**unit == wanted);
            found.map(|(_, total)| total.quantity.to_plain_string())
        };
        (of("vCPU-s"), of("requests"))
    };
    let pair = |time: &str| (Some(time.to_owned()), Some("2".to_owned()));
    // 0 to 1 s and 0.5 to 1.5 s: 1.5 s on one instance, 2 requests.
    assert_eq!(vcpu(vec![at(0, WARM), at(500, WARM)]), pair("1.5"));
    assert_eq!(vcpu(vec![at(0, WARM), at(5_000, WARM)]), pair("2"));
    assert_eq!(vcpu(vec![at(0, COLD), at(500, COLD)]), pair("2"));
}

/// Two recordings of the same lane both begin at 0: their requests share no
/// instance, though their offsets overlap.
#[test]
fn instances_of_another_recording_are_others() {
    let contracts = Arc::new(vec![contract(find_builtin_model("google-cloud-run").unwrap())]);
    let mut replayer = Replayer::new(contracts, WhatIf::default());
    let row = row(1, "a", WARM, 1_000, None);
    for _ in 0..2 {
        assert_eq!(replayer.start_cell(&row.key), 0);
        replayer.push_row(&row);
    }
    let summary = replayer.finish();
    let total = summary.overall_group();
    let charges = summary.models()[0].charges.iter().zip(&total.models[0].charges);
    let mut seconds = charges.filter(|((_, unit), _)| &**unit == "vCPU-s");
    assert_eq!(seconds.next().map(|(_, it)| it.quantity.clone()), Some(Exact::from(2)));
}

/// An open span counts as if it ended now, and goes on afterwards.
#[test]
fn sums_so_far_do_not_end_an_instance() {
    let contracts = Arc::new(vec![contract(find_builtin_model("google-cloud-run").unwrap())]);
    let mut replayer = Replayer::new(contracts, WhatIf::default());
    let seconds = |summary: &ReplaySummary| {
        let total = summary.overall_group();
        let mut charges = summary.models()[0].charges.iter().zip(&total.models[0].charges);
        charges.find(|((_, unit), _)| &**unit == "vCPU-s").map(|(_, it)| it.quantity.clone())
    };
    let half = |halves: u64| Exact::from(halves).checked_div(&Exact::from(2));
    let mut at = |offset_ms: u64, expected: u64| {
        let mut row = row(1, "a", WARM, 1_000, None);
        row.offset = Nanos(offset_ms * 1_000_000);
        replayer.push_row(&row);
        assert_eq!(seconds(&replayer.totals_so_far()), half(expected), "after {offset_ms} ms");
        assert_eq!(replayer.totals_so_far(), replayer.totals_so_far(), "it only looks");
    };
    // 0 to 1 s; with 0.5 to 1.5 s one span of 1.5 s; 5 to 6 s is another.
    at(0, 2);
    at(500, 3);
    at(5_000, 5);
    assert_eq!(seconds(&replayer.finish()), half(5));
}

#[test]
fn what_if_replaces_what_was_measured() {
    let contracts = Arc::new(models().to_vec());
    let what_if = WhatIf(vec![(Meter::MemoryAllocated, 128 << 20)]);
    let mut replayer = Replayer::new(contracts, what_if);
    let mut row = row(1, "a", WARM, 1_000, Some(1));
    row.usage.set(Meter::MemoryPeak, 200 << 20);
    replayer.push_row(&row);
    let group = replayer.finish().overall_group();
    // An eighth of a GiB for a second.
    assert_eq!(group.models[0].charges[0].quantity.to_plain_string(), "0.125");
    assert_eq!((group.over_allocation, group.peak), (1, Some(Bytes(200 << 20))));
}

proptest! {
    #[test]
    fn groups_add_up_to_the_whole(
        rows in proptest::collection::vec((0_usize..3, any::<bool>(), 0_u64..5_000, proptest::option::weighted(0.8, any::<u64>())), 0..40),
    ) {
        let lanes = ["native", "wasmtime", "docker"];
        let rows: Vec<UsageRow> = rows
            .into_iter()
            .zip(1..)
            .map(|((lane, cold, ms, cycles), invocation)| {
                row(invocation, lanes[lane], if cold { COLD } else { WARM }, ms, cycles)
            })
            .collect();
        let count = rows.len() as u64;
        let mut streamed = [Money::default(), Money::default()];
        for row in &rows {
            for ((model, _), sum) in models().iter().zip(&mut streamed) {
                *sum += &model.bill(&row.usage).map(|bill| bill.total).unwrap_or_default();
            }
        }
        let summary = run(rows);
        let overall = summary.overall_group();
        prop_assert_eq!(overall.invocations, count);
        for (model, streamed) in overall.models.iter().zip(&streamed) {
            prop_assert_eq!(&model.total, streamed);
            prop_assert_eq!(model.billed + model.refusal_count(), count);
            let charges: Money = model.charges.iter().map(|charge| &charge.amount).sum();
            prop_assert_eq!(&charges, &model.total);
            prop_assert_eq!(&model.waste.total(), &model.total);
        }
        let cycles = streamed[1].ratio_to(&Money::from_str("0.0115").unwrap(), 12).unwrap();
        let million_millions = Exact::from(1_000_000_000_000);
        prop_assert_eq!(&(&cycles * &million_millions), &overall.models[1].charges[0].quantity);
        let lanes = summary.group_by(|key| key.lane.clone());
        let total: Money = lanes.values().map(|group| &group.models[0].total).sum();
        prop_assert_eq!(&total, &overall.models[0].total);
    }

    #[test]
    fn looking_at_the_sums_changes_nothing(
        rows in proptest::collection::vec(
            (0_usize..2, any::<bool>(), 0_u64..3_000, 0_u64..2_000, proptest::option::weighted(0.8, any::<u64>()), any::<bool>()),
            0..40,
        ),
    ) {
        // Charges by request and by instance, in coarse and in fine.
        let mut contracts = models().to_vec();
        contracts.push(contract(find_builtin_model("google-cloud-run").unwrap()));
        let contracts = Arc::new(contracts);
        let new = || Replayer::new(Arc::clone(&contracts), WhatIf::default());
        let (mut watched, mut plain) = (new(), new());
        let mut offset = 0;
        for ((lane, cold, ms, later, cycles, look), invocation) in rows.into_iter().zip(1..) {
            let start = if cold { COLD } else { WARM };
            let mut row = row(invocation, ["native", "wasmtime"][lane], start, ms, cycles);
            offset += later;
            row.offset = Nanos(offset * 1_000_000);
            watched.push_row(&row);
            plain.push_row(&row);
            if look {
                // As if there had been no more rows.
                let invocations = watched.totals_so_far().overall_group().invocations;
                prop_assert_eq!(invocations, u64::try_from(invocation).unwrap());
            }
        }
        let last = watched.totals_so_far();
        prop_assert_eq!(&last, &watched.finish());
        prop_assert_eq!(&last, &plain.finish());
    }
}
