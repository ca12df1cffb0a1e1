//! A replay of columns gives what a replay of single rows gives.

use std::convert::Infallible;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use cyclometer_pricing::{Exact, find_builtin_model};

/// Models that charge by request and by instance, in coarse and in fine.
fn contracts() -> Arc<Vec<Contract>> {
    let ids = ["aws-lambda-x86", "per-cycle", "google-cloud-run"];
    let contract = |id| {
        let model = find_builtin_model(id).expect("it is built in").clone();
        let terms = Terms::for_model(&model);
        (model, terms)
    };
    Arc::new(ids.into_iter().map(contract).collect())
}

/// Lane, kind of start, run time and cycles of an invocation, the time until
/// the next one, and whether it failed.
type Facts = (usize, bool, u64, Option<u64>, u64, bool);

fn rows(facts: &[Facts]) -> Vec<UsageRow> {
    let mut offset = 0;
    let row = |(invocation, fact): (i64, &Facts)| {
        let (lane, cold, run, cycles, later, failed) = *fact;
        let mut usage = Usage::new(cold);
        usage.phases.run = Some(Nanos(run * 1_000_000));
        usage.set(Meter::MemoryAllocated, 1 << 30);
        usage.set(Meter::MemoryPeak, (run % 3 > 0).then_some((run % 3) << 30));
        usage.set(Meter::Cycles, cycles);
        offset += later * 1_000_000;
        let start = if cold { StartKind::Cold } else { StartKind::Warm };
        let key = CellKey::new(["native", "wasmtime"][lane], "nbody", "small", start);
        UsageRow { invocation, key, offset: Nanos(offset), failed, usage }
    };
    (1..).zip(facts).map(row).collect()
}

fn in_memory(rows: &[UsageRow]) -> RowSource<impl Iterator<Item = Result<UsageRow, Infallible>>> {
    RowSource::new(rows.iter().cloned().map(Ok))
}

/// Sums the rows one by one, as they come.
fn sum_rows(rows: &[UsageRow], what_if: &WhatIf) -> ReplaySummary {
    let mut replayer = Replayer::new(contracts(), what_if.clone());
    for row in rows {
        replayer.push_row(row);
    }
    replayer.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn columns_give_what_single_rows_give(
        facts in proptest::collection::vec(
            (
                0_usize..2, any::<bool>(), 0_u64..3_000,
                proptest::option::weighted(0.8, any::<u64>()), 0_u64..2_000, any::<bool>(),
            ),
            0..60,
        ),
        memory in proptest::option::of(1_u64..4 << 30),
    ) {
        let what_if = WhatIf(memory.map(|it| (Meter::MemoryAllocated, it)).into_iter().collect());
        let rows = rows(&facts);
        let expected = sum_rows(&rows, &what_if);
        let found = replay_source(&mut in_memory(&rows), &contracts(), &what_if);
        prop_assert_eq!(found, Ok(expected));
    }
}

/// Several blocks and several batches, whose ends do not meet: every third row
/// lacks its cycles.
#[test]
fn rows_beyond_one_block_are_all_summed() {
    let facts: Vec<Facts> = (0..10_000)
        .map(|at| {
            (
                usize::from(at / 2_500 % 2 == 1),
                false,
                at % 7,
                (at % 3 > 0).then_some(at),
                1,
                at % 5 == 0,
            )
        })
        .collect();
    let rows = rows(&facts);
    let none = WhatIf::default();
    let summary = replay_source(&mut in_memory(&rows), &contracts(), &none).expect("rows");
    assert_eq!(summary, sum_rows(&rows, &none));
    let total = summary.overall_group();
    assert_eq!((total.invocations, total.failed), (10_000, 2_000));
    // Of 0 to 9,999, 3,334 are multiples of 3.
    assert_eq!((total.models[1].billed, total.models[1].refusal_count()), (6_666, 3_334));
    // Sum of 0 to 9,999 without the multiples of 3.
    let cycles = 49_995_000 - 3 * (3_333 * 3_334 / 2);
    assert_eq!(total.models[1].charges[0].quantity, Exact::from(cycles));
}

/// Two cells with the same key, such as those of two recordings, whose clocks
/// both begin at 0.
struct TwoCells(UsageRow);

impl UsageSource for TwoCells {
    type Error = Infallible;

    fn read_usage(
        &mut self,
        request: UsageRequest,
        take: &mut dyn FnMut(&mut UsageColumns),
    ) -> Result<(), Infallible> {
        let mut columns = UsageColumns::for_request(request);
        // Both are known before the first row.
        let cells = [0, 1].map(|_| columns.add_cell(self.0.key.clone()));
        for cell in cells {
            columns.push_row(cell, self.0.offset, self.0.failed);
            for signal in Signal::iter_all() {
                if let Some(value) = signal.value_in(&self.0.usage) {
                    columns.set_value(signal, value);
                }
            }
        }
        take(&mut columns);
        Ok(())
    }
}

#[test]
fn cells_with_one_key_share_a_group_but_no_instance() {
    let mut rows = rows(&[(0, false, 1_000, Some(1), 0, false)]);
    let mut source = TwoCells(rows.remove(0));
    let Ok(summary) = replay_source(&mut source, &contracts(), &WhatIf::default());
    let total = summary.overall_group();
    assert_eq!(summary.groups().len(), 1);
    let charges = summary.models()[2].charges.iter().zip(&total.models[2].charges);
    let mut seconds = charges.filter(|((_, unit), _)| &**unit == "vCPU-s");
    assert_eq!(seconds.next().map(|(_, it)| it.quantity.clone()), Some(2.into()));
}

struct Broken;

impl UsageSource for Broken {
    type Error = &'static str;

    fn read_usage(
        &mut self,
        _: UsageRequest,
        _: &mut dyn FnMut(&mut UsageColumns),
    ) -> Result<(), &'static str> {
        Err("unreadable row")
    }
}

#[test]
fn sources_on_threads_add_up_and_tell_their_own_errors() {
    let facts: Vec<Facts> = (0..30).map(|at| (0, true, at, Some(at), 1, false)).collect();
    let rows = rows(&facts);
    let (first, second) = rows.split_at(11);
    let none = WhatIf::default();
    let parts = vec![in_memory(first), in_memory(second)];
    assert_eq!(replay_sources(parts, &contracts(), &none), Ok(sum_rows(&rows, &none)));
    let broken = replay_sources(vec![Broken, Broken], &contracts(), &none);
    assert_eq!(broken, Err(PartError::Source("unreadable row")));
    let nothing = replay_sources(Vec::<Broken>::new(), &contracts(), &none).expect("empty");
    assert_eq!(nothing.overall_group().invocations, 0);
}
