//! Exact bills at any moment of a part of a recording: sums are kept at checkpoints every
//! [`CHECKPOINT_INTERVAL`] invocations, and the invocations since then are replayed.
//!
//! Sums of invocations can be added in any order, except for per-instance time: warm
//! invocations of a cell that overlap share it, so that their bill is only known when
//! they are replayed together. Such a tangle enters the checkpoints once all of its
//! invocations have ended; until then those that have ended are replayed at every seek.

use std::collections::HashMap;
use std::sync::Arc;

use super::{CellKey, Contract, ReplaySummary, Replayer, SignalValues, WhatIf};
use cyclometer_core::invocation::Cancel;
use cyclometer_core::units::Nanos;
use cyclometer_pricing::compile::{Signal, SignalSet};

/// Number of invocations between two checkpoints.
pub const CHECKPOINT_INTERVAL: usize = 1_024;

/// Invocation that is billed at checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointRow {
    /// Number of the invocation in the database.
    pub invocation: i64,
    /// Index of its cell, whose key is that of its group.
    pub cell: u32,
    /// Time of the request, since the recording began.
    pub offset: Nanos,
    /// Whether it is billed at all.
    pub billed: bool,
    /// Whether it failed or ran out of time.
    pub failed: bool,
    /// Signals that were measured.
    pub present: SignalSet,
}

/// Invocation, and the tangle that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CheckpointEntry {
    row: CheckpointRow,
    tangle: Option<u32>,
}

/// Bills of all earlier parts, as the starting point of the next one.
#[derive(Clone, Default)]
pub struct CarriedBills {
    /// Sums of the settled invocations; `None`: there are none yet.
    sums: Option<ReplaySummary>,
    /// Invocations of tangles that continue in the next part.
    open_entries: Vec<CheckpointEntry>,
    values: Vec<u64>,
}

/// Bills of a part at any moment.
pub struct BillCheckpoints {
    contracts: Arc<Vec<Contract>>,
    signals: Vec<Signal>,
    keys: Vec<CellKey>,
    /// Invocations of earlier parts whose tangles continue, then those of this part.
    entries: Vec<CheckpointEntry>,
    /// Values, one for each entry and wanted signal.
    values: Vec<u64>,
    carried: usize,
    /// Number of entries after which each tangle is settled.
    settled: HashMap<u32, usize>,
    /// Indices of the entries that belong to tangles.
    tangled: Vec<usize>,
    /// Checkpoints: number of entries, and the sums of the settled ones among them.
    checkpoints: Vec<(usize, ReplaySummary)>,
}

impl std::fmt::Debug for BillCheckpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bills of {} invocations", self.entries.len())
    }
}

impl std::fmt::Debug for CarriedBills {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bills of earlier parts, {} open", self.open_entries.len())
    }
}

/// Takes the invocations of a part, in the order of their ends.
#[derive(Debug)]
pub struct CheckpointBuilder {
    unfinished: BillCheckpoints,
    before: ReplaySummary,
    required: SignalSet,
    needs_request_order: bool,
}

impl CheckpointBuilder {
    /// Starts with the bills of everything before the part. `keys` has the group of each
    /// cell.
    #[must_use]
    pub fn new(contracts: &Arc<Vec<Contract>>, keys: Vec<CellKey>, carry: &CarriedBills) -> Self {
        let replayer = Replayer::new(Arc::clone(contracts), WhatIf::default());
        let required = replayer.required_signals();
        let unfinished = BillCheckpoints {
            contracts: Arc::clone(contracts),
            signals: Signal::iter_all().filter(|signal| required.contains(*signal)).collect(),
            keys,
            entries: carry.open_entries.clone(),
            values: carry.values.clone(),
            carried: carry.open_entries.len(),
            settled: HashMap::new(),
            tangled: Vec::new(),
            checkpoints: Vec::new(),
        };
        Self {
            unfinished,
            before: carry.sums.clone().unwrap_or_else(|| ReplaySummary::for_contracts(contracts)),
            required,
            needs_request_order: replayer.usage_request().in_request_order,
        }
    }

    /// Returns the signals that are used of a row, where they were measured.
    #[must_use]
    pub const fn required_signals(&self) -> SignalSet {
        self.required
    }

    /// Returns whether invocations that overlap on an instance are billed together, so
    /// that [`Self::tie_overlapping`] has to know them.
    #[must_use]
    pub const fn needs_overlaps(&self) -> bool {
        self.needs_request_order
    }

    /// Adds an invocation with the values of its signals.
    pub fn push_row(&mut self, row: CheckpointRow, values: &SignalValues) {
        let BillCheckpoints { entries, values: kept, signals, .. } = &mut self.unfinished;
        entries.push(CheckpointEntry { row, tangle: None });
        kept.extend(signals.iter().map(|signal| values[signal.column_index()]));
    }

    /// Returns the number of invocations that were added.
    #[must_use]
    pub const fn count_rows(&self) -> usize {
        self.unfinished.count_invocations()
    }

    /// Ties the invocations of each tangle, given by their numbers, together: they
    /// overlap each other on one instance, directly or through others. A tangle is
    /// complete once all of its invocations were added.
    pub fn tie_overlapping<'a>(&mut self, tangles: impl IntoIterator<Item = &'a [i64]>) {
        let BillCheckpoints { entries, tangled, settled, .. } = &mut self.unfinished;
        let (mut of, mut missing) = (HashMap::new(), Vec::new());
        for (number, tangle) in (0_u32..).zip(tangles) {
            of.extend(tangle.iter().map(|id| (*id, number)));
            missing.push(tangle.len());
        }
        for (at, entry) in entries.iter_mut().enumerate() {
            entry.tangle = of.get(&entry.row.invocation).copied();
            let Some(tangle) = entry.tangle else { continue };
            tangled.push(at);
            if let Some(missing) = missing.get_mut(tangle as usize) {
                *missing = missing.saturating_sub(1);
                if *missing == 0 {
                    settled.insert(tangle, at + 1);
                }
            }
        }
    }

    /// Sums the checkpoints. Once it is cancelled, the sums are of no use.
    #[must_use]
    pub fn sum_checkpoints(self, cancel: &Cancel) -> BillCheckpoints {
        let mut checkpoints = self.unfinished;
        checkpoints.sum_checkpoints(self.before, cancel);
        checkpoints
    }
}

impl BillCheckpoints {
    /// Returns the number of entries after which an entry is settled, together with its
    /// tangle; `usize::MAX` if the tangle is not complete in this part.
    fn settled_at(&self, at: usize) -> usize {
        match self.entries[at].tangle {
            None => at + 1,
            Some(tangle) => self.settled.get(&tangle).copied().unwrap_or(usize::MAX),
        }
    }

    fn sum_checkpoints(&mut self, before: ReplaySummary, cancel: &Cancel) {
        let mut sums = before;
        self.checkpoints.push((self.carried, sums.clone()));
        let mut from = self.carried;
        while from < self.entries.len() && !cancel.is_cancelled() {
            let to = (from + CHECKPOINT_INTERVAL).min(self.entries.len());
            let plain = (from..to).filter(|at| self.entries[*at].tangle.is_none());
            let tied = self.tangled.iter().copied().filter(|at| {
                let settled = self.settled_at(*at);
                settled > from && settled <= to
            });
            sums.merge(&self.replay_entries(plain.chain(tied).collect()));
            self.checkpoints.push((to, sums.clone()));
            from = to;
        }
    }

    /// Replays a selection of entries.
    fn replay_entries(&self, mut chosen: Vec<usize>) -> ReplaySummary {
        let mut replayer = Replayer::new(Arc::clone(&self.contracts), WhatIf::default());
        if replayer.usage_request().in_request_order {
            chosen.sort_by_key(|at| {
                let entry = &self.entries[*at].row;
                (entry.cell, entry.offset, entry.invocation)
            });
        }
        let mut values: SignalValues = [0; Signal::COUNT];
        let mut current = None;
        for at in chosen {
            let entry = &self.entries[at].row;
            if !entry.billed {
                continue;
            }
            let group = match current {
                Some((cell, group)) if cell == entry.cell => group,
                _ => replayer.start_cell(&self.keys[entry.cell as usize]),
            };
            current = Some((entry.cell, group));
            let own = &self.values[at * self.signals.len()..];
            for (signal, value) in self.signals.iter().zip(own) {
                values[signal.column_index()] = *value;
            }
            if entry.failed {
                replayer.count_failure(group);
            }
            replayer.push_signals(group, entry.offset, entry.present, &mut values);
        }
        replayer.finish_part()
    }

    /// Returns the bills after `ended` invocations of the part had ended.
    #[must_use]
    pub fn bills_after(&self, ended: usize) -> ReplaySummary {
        let to = (self.carried + ended).min(self.entries.len());
        let next = self.checkpoints.partition_point(|(known, _)| *known <= to);
        let Some((from, sums)) = next.checked_sub(1).and_then(|it| self.checkpoints.get(it)) else {
            return ReplaySummary::for_contracts(&self.contracts);
        };
        let plain = (*from..to).filter(|at| self.entries[*at].tangle.is_none());
        let tied = self.tangled.iter().copied();
        let tied = tied.filter(|at| *at < to && self.settled_at(*at) > *from);
        let mut sums = sums.clone();
        sums.merge(&self.replay_entries(plain.chain(tied).collect()));
        sums.unprice_failed_groups();
        sums
    }

    /// Returns the bills that the next part starts from.
    #[must_use]
    pub fn carry_over(&self) -> CarriedBills {
        let end = self.entries.len();
        let sums = self.checkpoints.last().map(|(_, sums)| sums.clone());
        let mut carry = CarriedBills { sums, ..CarriedBills::default() };
        for at in self.tangled.iter().copied().filter(|at| self.settled_at(*at) > end) {
            carry.open_entries.push(CheckpointEntry { tangle: None, ..self.entries[at] });
            let wide = self.signals.len();
            carry.values.extend(&self.values[at * wide..(at + 1) * wide]);
        }
        carry
    }

    /// Returns the number of invocations of the part.
    #[must_use]
    pub const fn count_invocations(&self) -> usize {
        self.entries.len() - self.carried
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::{UsageRow, replay_rows};
    use cyclometer_core::invocation::StartKind;
    use cyclometer_core::meter::{Meter, Usage};
    use cyclometer_pricing::{Terms, find_builtin_model};

    const MS: u64 = 1_000_000;

    fn contracts(ids: &[&str]) -> Arc<Vec<Contract>> {
        let models = ids.iter().map(|id| find_builtin_model(id).expect("a shipped model"));
        Arc::new(models.map(|model| (model.clone(), Terms::for_model(model))).collect())
    }

    /// Returns a model of each kind: by cycle, and by instance.
    fn all_kinds() -> Arc<Vec<Contract>> {
        let mut all = cyclometer_pricing::builtin_models().iter();
        let by_instance = all.find(|model| model.has_instance_charges()).expect("one is shipped");
        contracts(&["per-cycle", by_instance.id()])
    }

    /// Returns the key of a cell: the first is warm, the others are cold.
    fn key(cell: u32) -> CellKey {
        CellKey {
            lane: "native".into(),
            workload: format!("w{cell}").into(),
            preset: "quick".into(),
            start: if cell == 0 { StartKind::Warm } else { StartKind::Cold },
        }
    }

    /// Returns an invocation of a cell: the millisecond of its request, and how many it ran.
    fn row(invocation: i64, cell: u32, at: u64, run: u64, failed: bool) -> (u32, UsageRow) {
        let mut usage = Usage::new(cell != 0);
        usage.phases.run = Some(Nanos(run * MS));
        usage.set(Meter::Wall, run * MS);
        usage.set(Meter::MemoryAllocated, 128 << 20);
        usage.set(Meter::CpuTime, run * MS / 2);
        usage.set(Meter::Cycles, run * 1_000_000);
        (cell, UsageRow { invocation, key: key(cell), offset: Nanos(at * MS), failed, usage })
    }

    fn end(row: &UsageRow) -> u64 {
        row.offset.0 + row.usage.get(Meter::Wall).expect("set")
    }

    /// Returns the warm invocations that overlap, as groups of numbers.
    fn find_overlaps(rows: &[(u32, UsageRow)]) -> Vec<Vec<i64>> {
        let mut warm: Vec<&UsageRow> =
            rows.iter().filter(|(cell, _)| *cell == 0).map(|(_, row)| row).collect();
        warm.sort_by_key(|row| (row.offset, row.invocation));
        let (mut groups, mut until): (Vec<Vec<i64>>, u64) = (Vec::new(), 0);
        for row in warm {
            match groups.last_mut().filter(|_| row.offset.0 < until) {
                Some(group) => group.push(row.invocation),
                None => groups.push(vec![row.invocation]),
            }
            until = until.max(end(row));
        }
        groups.retain(|group| group.len() > 1);
        groups
    }

    /// Bills rows in the order of their ends, in parts of `limit`.
    fn bill_parts(
        rows: &[(u32, UsageRow)],
        limit: usize,
        contracts: &Arc<Vec<Contract>>,
    ) -> Vec<BillCheckpoints> {
        let overlaps = find_overlaps(rows);
        let (mut carry, mut parts) = (CarriedBills::default(), Vec::new());
        for part in rows.chunks(limit) {
            let mut builder = CheckpointBuilder::new(contracts, (0..3).map(key).collect(), &carry);
            for (cell, row) in part {
                let present = builder.required_signals().measured_in(&row.usage);
                let mut values: SignalValues = [0; Signal::COUNT];
                for signal in Signal::iter_all().filter(|signal| present.contains(*signal)) {
                    values[signal.column_index()] = signal.value_in(&row.usage).expect("present");
                }
                let (invocation, offset, failed) = (row.invocation, row.offset, row.failed);
                let row = CheckpointRow {
                    invocation,
                    cell: *cell,
                    offset,
                    billed: true,
                    failed,
                    present,
                };
                builder.push_row(row, &values);
            }
            assert_eq!(builder.count_rows(), part.len());
            if builder.needs_overlaps() {
                builder.tie_overlapping(overlaps.iter().map(Vec::as_slice));
            }
            let checkpoints = builder.sum_checkpoints(&Cancel::default());
            carry = checkpoints.carry_over();
            parts.push(checkpoints);
        }
        parts
    }

    /// Replays the first `count` rows to have ended, in the order of their requests.
    fn replay_ended(
        rows: &[(u32, UsageRow)],
        count: usize,
        contracts: &Arc<Vec<Contract>>,
    ) -> ReplaySummary {
        let mut ended: Vec<&UsageRow> = rows[..count].iter().map(|(_, row)| row).collect();
        ended.sort_by_key(|row| (row.offset, row.invocation));
        let rows = ended.into_iter().cloned().map(Ok::<_, Infallible>);
        replay_rows(rows, contracts).expect("no errors")
    }

    fn assert_like_replays(rows: &[(u32, UsageRow)], limit: usize, at: impl Fn(usize) -> bool) {
        let contracts = all_kinds();
        for (part, bills) in bill_parts(rows, limit, &contracts).iter().enumerate() {
            for ended in (0..=bills.count_invocations()).filter(|ended| at(*ended)) {
                let all = part * limit + ended;
                assert_eq!(
                    bills.bills_after(ended),
                    replay_ended(rows, all, &contracts),
                    "parts of {limit}, after {all}"
                );
            }
        }
    }

    #[test]
    fn bills_grow_with_what_has_ended() {
        let contracts = contracts(&["aws-lambda-x86"]);
        let rows: Vec<_> = (0..3).map(|at| row(at + 1, 1, 0, 8, false)).collect();
        let bills = &bill_parts(&rows, 10, &contracts)[0];
        let total = |ended| {
            let summary = bills.bills_after(ended);
            let group = summary.groups().next().map(|(_, group)| group.models[0].total.clone());
            group.map(|total| total.to_plain_string())
        };
        // 8 ms x 0.125 GiB x 0.0000166667 + 0.0000002, by hand.
        assert_eq!(total(0), None);
        assert_eq!(total(1).as_deref(), Some("0.0000002166667"));
        assert_eq!(total(3).as_deref(), Some("0.0000006500001"));
    }

    #[test]
    fn overlapping_requests_on_one_instance_are_billed_together_at_any_moment() {
        // 0-100 contains two short ones; 40-60 overlaps the second of them; 200 is apart.
        let rows = [(2, 2, 8), (3, 32, 18), (4, 40, 20), (1, 0, 100), (5, 200, 10)];
        let rows = rows.map(|(number, at, run)| row(number, 0, at, run, false));
        assert_eq!(find_overlaps(&rows), [[1, 2, 3, 4]]);
        for limit in [1, 2, 100] {
            assert_like_replays(&rows, limit, |_| true);
        }
    }

    #[test]
    fn checkpoints_agree_with_replays_around_them() {
        let rows: Vec<_> = (0..2_100_u32)
            .map(|at| row(i64::from(at) + 1, 1, u64::from(at) * 10, 1 + u64::from(at % 7), false))
            .collect();
        let around = [0, 1, 1_023, 1_024, 1_025, 2_048, 2_099, 2_100];
        assert_like_replays(&rows, 10_000, |ended| around.contains(&ended));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_moment_of_any_recording_is_billed_like_its_replay(
            given in prop::collection::vec((0_u32..3, 0_u64..60, 1_u64..20, any::<bool>()), 1..24),
            limit in 1_usize..12,
        ) {
            let mut rows: Vec<_> = (1_i64..)
                .zip(&given)
                .map(|(id, (cell, at, run, failed))| row(id, *cell, *at, *run, *failed))
                .collect();
            rows.sort_by_key(|(_, row)| (end(row), row.invocation));
            assert_like_replays(&rows, limit, |_| true);
        }
    }
}
