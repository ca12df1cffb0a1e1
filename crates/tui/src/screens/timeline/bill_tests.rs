//! Tests that compare the bills of arbitrary moments with full replays.

use std::sync::Arc;

use super::loading::request_missing;
use super::queries::contracts_for_models;
use super::testing::MS;
use cyclometer_core::units::Nanos;
use cyclometer_lanes::{Cancel, StartKind};
use cyclometer_meter::Meter;
use cyclometer_replay::CarriedBills;
use cyclometer_store::PartBills;
use cyclometer_store::{ReplayPlan, Store};

use super::fixture::*;

#[test]
fn bills_at_the_end_are_those_of_a_replay_to_the_last_digit() {
    let place = record_three_lanes(Some(10));
    let model = open_screen(&place, (80, 24));
    let played = model.screens.timeline.played.clone().expect("read");
    let store = Store::open(&place.database_path()).expect("opened");
    let ids: Vec<String> =
        model.settings.prices.models().iter().map(|it| it.id().to_owned()).collect();
    let contracts = contracts_for_models(&model.settings.prices, &ids);
    let cancel = Cancel::default();
    let carry = CarriedBills::default();
    let ledger =
        PartBills::from_store(&store, &played, played.key, &ids, &contracts, &carry, &cancel)
            .expect("billed");
    let replayed = store
        .replay_without_saving(&ReplayPlan::for_recordings(vec![1], contracts.to_vec()))
        .expect("billed");
    // All shipped models, by lane: totals, decompositions, refusals.
    let by_lane = |key: &cyclometer_replay::CellKey| Arc::clone(&key.lane);
    assert_eq!(ledger.bills_after(13).group_by(by_lane), replayed.group_by(by_lane));
    assert_eq!(ledger.count_invocations(), 13);
}

#[test]
fn bills_of_a_moment_are_of_those_that_had_ended() {
    let place = record_three_lanes(Some(10));
    let mut model = open_screen(&place, (80, 24));
    press_and_settle(&mut model, "g");
    // Five runs of 8 ms end by 50 ms; three of them have ended at 35 ms.
    model.screens.timeline.player.seek(Nanos(35 * MS));
    let effects = request_missing(&mut model);
    answer_all_requests(&mut model, effects);
    let bills = model.screens.timeline.bills.clone().expect("known");
    assert_eq!((bills.ended, bills.at), (3, Nanos(35 * MS)));
    let native = bills.lanes[0].as_ref().expect("billed");
    // 9 ms since the start x 0.125 GiB x 0.0000166667 + 0.0000002 is
    // 0.0000002187500375: three times that, to five digits.
    assert_eq!(native.totals[0].as_deref(), Ok("0.00000065625"));
    assert_eq!(bills.lanes[1], None, "wasmtime had nothing to bill");
}

#[test]
fn a_bill_counts_only_the_invocations_that_have_a_price() {
    let mut place = TimelineFixture::new(None);
    place.add_lane("wasmtime", None);
    let well = place.add_cell("wasmtime", "nop", StartKind::Cold);
    let never = place.add_cell("wasmtime", "nbody", StartKind::Cold);
    for at in 0..2 {
        place.add_invocation_at(u64::from(at) * 100, well, at, 8, None);
    }
    for at in 2..5 {
        place.add_invocation_at(u64::from(at) * 100, never, at, 8, Some("exit code 3"));
    }
    place.finish_recording();
    let model = open_screen(&place, (120, 40));
    let bills = model.screens.timeline.bills.clone().expect("known");
    let lane = bills.lanes[0].as_ref().expect("billed");
    assert_eq!((lane.invocations, lane.unpriced), (2, 3));
    // Two of 9 ms x 0.125 GiB x 0.0000166667 + 0.0000002.
    let total = lane.totals[0].as_deref().expect("billed");
    assert!(total.starts_with("0.0000004375"), "{total}");
    let shown = crate::testing::text(&model);
    assert!(shown.contains("wasmtime 2"), "{shown}");
    assert!(shown.contains("3 more, of cells in which all failed, have no price"), "{shown}");
}

#[test]
fn parts_carry_bills_on_exactly() {
    let place = record_three_lanes(None);
    let whole = read_all_checkpoints(&place, 1_000, &["aws-lambda-x86", "per-cycle"]);
    let parts = read_all_checkpoints(&place, 4, &["aws-lambda-x86", "per-cycle"]);
    assert_eq!(parts.iter().map(|(it, _)| it.rows.len()).collect::<Vec<_>>(), [4, 4, 4, 1]);
    assert_eq!(parts[2].0.parts, 4);
    for (part, (_, ledger)) in parts.iter().enumerate() {
        for ended in 0..=ledger.count_invocations() {
            assert_eq!(
                ledger.bills_after(ended),
                whole[0].1.bills_after(part * 4 + ended),
                "{part} {ended}"
            );
        }
    }
}

/// Returns the ids of the built-in models that bill by instance.
fn instance_billed_models() -> Vec<&'static str> {
    let all = cyclometer_pricing::builtin_models().iter();
    all.filter(|model| model.has_instance_charges())
        .map(cyclometer_pricing::PriceModel::id)
        .collect()
}

#[test]
fn overlapping_requests_on_one_instance_are_billed_together_at_any_moment() {
    let mut place = TimelineFixture::new(None);
    place.add_lane("wasmtime", None);
    let cell = place.add_cell("wasmtime", "nop", StartKind::Warm);
    // 0-102 contains two short ones; 40-62 overlaps the second of them; 200 is
    // separate. Ends: 12, 52, 62, 102, 212.
    for (sequence, (at, run)) in
        [(0, 100), (2, 8), (32, 18), (40, 20), (200, 10)].iter().enumerate()
    {
        let sequence = u32::try_from(sequence).expect("small");
        place.add_invocation_at(*at, cell, sequence, *run, None);
    }
    place.finish_recording();
    let models = instance_billed_models();
    assert!(!models.is_empty(), "no shipped model bills by instance");
    let store = Store::open(&place.database_path()).expect("opened");
    assert_eq!(store.overlap_groups(1, i64::MAX).expect("read")[0].invocations, [1, 2, 3, 4]);
    for limit in [1, 2, 1_000] {
        let found = read_all_checkpoints(&place, limit, &models);
        let mut before = 0;
        for (played, ledger) in &found {
            for ended in 0..=ledger.count_invocations() {
                let moment = match ended.checked_sub(1) {
                    Some(last) => played.rows[last].end,
                    None => played.begin,
                };
                assert_eq!(
                    ledger.bills_after(ended),
                    replay_until(&place, &models, moment),
                    "{limit} {before} {ended}"
                );
            }
            before += ledger.count_invocations();
        }
    }
}

/// Replays the invocations that had ended by a moment, in the order of their requests.
fn replay_until(
    place: &TimelineFixture,
    models: &[&str],
    at: Nanos,
) -> cyclometer_replay::ReplaySummary {
    use cyclometer_replay::{Replayer, WhatIf};
    let store = Store::open(&place.database_path()).expect("opened");
    let ids: Vec<String> = models.iter().map(|it| (*it).to_owned()).collect();
    let contracts =
        contracts_for_models(&cyclometer_pricing::PriceCatalog::with_builtin_models(), &ids);
    let mut rows = Vec::new();
    let selection = cyclometer_store::Selection { recordings: vec![1], ..Default::default() };
    store
        .for_each_invocation(&selection, |row| {
            rows.push(row);
            Ok::<(), cyclometer_store::StoreError>(())
        })
        .expect("read");
    rows.retain(|row| row.offset.0 + row.usage.get(Meter::Wall).expect("measured") <= at.0);
    rows.sort_by_key(|row| (row.offset, row.invocation));
    let mut replayer = Replayer::new(contracts, WhatIf::default());
    for row in &rows {
        replayer.push_row(row);
    }
    replayer.finish()
}

#[test]
fn many_invocations_have_checkpoints_that_agree_with_replays() {
    let mut place = TimelineFixture::new(None);
    place.add_lane("native", None);
    let cell = place.add_cell("native", "nop", StartKind::Cold);
    for sequence in 0..2_100_u64 {
        let run = 1 + sequence % 7;
        place.add_invocation(cell, u32::try_from(sequence).expect("small"), run);
    }
    place.finish_recording();
    let models = ["aws-lambda-x86", "per-cycle"];
    let found = read_all_checkpoints(&place, 1_000_000, &models);
    let (played, ledger) = &found[0];
    for ended in [0_usize, 1, 1_023, 1_024, 1_025, 2_048, 2_099, 2_100] {
        let at = ended.checked_sub(1).map_or(Nanos(0), |last| played.rows[last].end);
        assert_eq!(ledger.bills_after(ended), replay_until(&place, &models, at), "{ended}");
    }
}
