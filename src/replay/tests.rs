//! Sums, refusals and ratios of small replays.

use std::convert::Infallible;
use std::str::FromStr;

use proptest::prelude::*;

use super::*;
use crate::meter::Meter;
use crate::pricing::{Exact, Money, find};
use crate::units::Nanos;

fn models() -> [&'static PriceModel; 2] {
    [find("aws-lambda-x86").unwrap(), find("per-cycle").unwrap()]
}

fn row(invocation: i64, lane: &str, start: &str, run_ms: u64, cycles: Option<u64>) -> Row {
    let mut usage = Usage::new(start == "cold");
    usage.phases.run = Some(Nanos(run_ms * 1_000_000));
    usage.set(Meter::MemoryAllocated, 1 << 30);
    usage.set(Meter::Cycles, cycles);
    let (workload, preset) = ("nbody".into(), "small".into());
    Row { invocation, lane: lane.into(), workload, preset, start: start.into(), usage }
}

fn run(rows: Vec<Row>) -> Summary {
    replay(rows.into_iter().map(Ok::<_, Infallible>), &models(), |_, _, _| Ok(())).unwrap()
}

#[test]
fn coarse_beside_fine_and_their_ratio() {
    // 10 ms at 1 GiB: 0.000000166667 + 0.0000002; 10^9 cycles: 0.0000115.
    let summary = run(vec![
        row(1, "native", "warm", 10, Some(1_000_000_000)),
        row(2, "native", "warm", 10, Some(1_000_000_000)),
    ]);
    let (key, group) = summary.groups().next().unwrap();
    assert_eq!((&*key.lane, &*key.workload, group.invocations), ("native", "nbody", 2));
    let [coarse, fine] = &group.models[..] else { panic!("two models") };
    assert_eq!(coarse.total.to_plain_string(), "0.000000733334");
    assert_eq!(coarse.charges[0].quantity.to_plain_string(), "0.02");
    assert_eq!(coarse.charges[1].amount.to_plain_string(), "0.0000004");
    assert_eq!((fine.billed, fine.total.to_plain_string().as_str()), (2, "0.000023"));
    assert_eq!(summary.pairs().collect::<Vec<_>>(), [(0, 1)]);
    // 0.733334 / 23 = 0.03188408...
    assert_eq!(summary.ratio(group, 0, 1, 4).unwrap().to_plain_string(), "0.0319");
    assert_eq!(summary.ratio(group, 0, 9, 4), Err(NoRatio::NoSuchModel));
}

#[test]
fn a_refused_lane_is_counted_and_the_others_go_on() {
    let mut billed = Vec::new();
    let rows = [row(1, "a", "cold", 1, None), row(2, "b", "cold", 1, Some(5))];
    let summary = replay(rows.map(Ok::<_, Infallible>), &models(), |row, model, bill| {
        billed.push((row.invocation, model.id().to_owned(), bill.lines.len()));
        Ok(())
    });
    let summary = summary.unwrap();
    let ids: Vec<_> = billed.iter().map(|(row, id, lines)| (*row, id.as_str(), *lines)).collect();
    assert_eq!(ids, [(1, "aws-lambda-x86", 2), (2, "aws-lambda-x86", 2), (2, "per-cycle", 1)]);
    let by_lane = summary.by(|key| key.lane.to_string());
    let refused = &by_lane["a"].models[1];
    assert_eq!((refused.billed, refused.refusals()), (0, 1));
    let (reason, count) = refused.refused.iter().next().unwrap();
    assert_eq!(reason.missing.to_string(), "`cycles` (or `ref_cycles`) was not measured");
    assert_eq!(*count, 1);
    assert_eq!(summary.ratio(&by_lane["a"], 0, 1, 2), Err(NoRatio::Refused));
    assert!(summary.ratio(&by_lane["b"], 0, 1, 2).is_ok());
    assert_eq!(summary.ratio(&summary.overall(), 0, 1, 2), Err(NoRatio::Refused));
    assert_eq!(summary.ratio(&summary.overall(), 1, 0, 2), Err(NoRatio::Refused));
}

#[test]
fn free_work_has_no_ratio() {
    let summary = run(vec![row(1, "a", "warm", 1, Some(0))]);
    assert_eq!(summary.ratio(&summary.overall(), 0, 1, 2), Err(NoRatio::Zero));
    let nothing = run(Vec::new());
    assert_eq!(nothing.groups().len(), 0);
    assert_eq!(nothing.overall().models.len(), 2);
}

#[test]
fn stand_ins_are_counted_by_their_note() {
    let mut ticks = row(1, "a", "warm", 1, None);
    ticks.usage.set(Meter::RefCycles, 7);
    let summary = run(vec![ticks, row(2, "a", "warm", 1, Some(7))]);
    let notes = summary.overall().models[1].notes.clone();
    let notes: Vec<_> = notes.iter().map(|(note, count)| (&**note, *count)).collect();
    assert_eq!(notes, [("ref_cycles (TSC ticks) instead of cycles", 1)]);
}

#[test]
fn currencies_are_not_mixed() {
    let euros = find("per-cycle").unwrap().text().replace("\"USD\"", "\"EUR\"");
    let euros = PriceModel::parse(&euros, "euro.toml").unwrap();
    let rows = [Ok::<_, Infallible>(row(1, "a", "warm", 1, Some(1)))];
    let models = [find("aws-lambda-x86").unwrap(), &euros];
    let summary = replay(rows, &models, |_, _, _| Ok(())).unwrap();
    assert_eq!(summary.pairs().count(), 0);
    assert_eq!(summary.ratio(&summary.overall(), 0, 1, 2), Err(NoRatio::Currencies));
}

#[test]
fn the_first_error_ends_the_replay() {
    let rows = || vec![Ok(row(1, "a", "warm", 1, Some(1))), Err("unreadable row")];
    assert_eq!(replay(rows(), &models(), |_, _, _| Ok(())).unwrap_err(), "unreadable row");
    let mut calls = 0;
    let full = replay(rows(), &models(), |_, _, _| {
        calls += 1;
        Err("disk full")
    });
    assert_eq!((full.unwrap_err(), calls), ("disk full", 1));
}

proptest! {
    #[test]
    fn groups_add_up_to_the_whole(
        rows in proptest::collection::vec((0_usize..3, any::<bool>(), 0_u64..5_000, proptest::option::weighted(0.8, any::<u64>())), 0..40),
    ) {
        let lanes = ["native", "wasmtime", "docker"];
        let rows: Vec<Row> = rows
            .into_iter()
            .zip(1..)
            .map(|((lane, cold, ms, cycles), invocation)| {
                row(invocation, lanes[lane], if cold { "cold" } else { "warm" }, ms, cycles)
            })
            .collect();
        let count = rows.len() as u64;
        let mut streamed = [Money::default(), Money::default()];
        let summary = replay(rows.into_iter().map(Ok::<_, Infallible>), &models(), |_, model, bill| {
            let at = models().iter().position(|other| other.id() == model.id()).unwrap();
            streamed[at] += &bill.total;
            Ok(())
        })
        .unwrap();
        let overall = summary.overall();
        prop_assert_eq!(overall.invocations, count);
        for (model, streamed) in overall.models.iter().zip(&streamed) {
            prop_assert_eq!(&model.total, streamed);
            prop_assert_eq!(model.billed + model.refusals(), count);
            let charges: Money = model.charges.iter().map(|charge| &charge.amount).sum();
            prop_assert_eq!(&charges, &model.total);
        }
        let cycles = streamed[1].ratio(&Money::from_str("0.0115").unwrap(), 12).unwrap();
        let million_millions = Exact::from(1_000_000_000_000);
        prop_assert_eq!(&(&cycles * &million_millions), &overall.models[1].charges[0].quantity);
        let lanes = summary.by(|key| key.lane.clone());
        let total: Money = lanes.values().map(|group| &group.models[0].total).sum();
        prop_assert_eq!(&total, &overall.models[0].total);
    }
}
