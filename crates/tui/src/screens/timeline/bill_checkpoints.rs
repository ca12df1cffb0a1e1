//! Exact bills at any moment of a part: sums are kept at checkpoints every [`CHECKPOINT_INTERVAL`]
//! invocations, and the invocations since then are replayed.
//!
//! Sums of invocations can be added in any order, except for per-instance time: warm
//! invocations of a cell that overlap share it, so that their bill is only known when
//! they are replayed together. Such a tangle enters the checkpoints once all of its
//! invocations have ended; until then those that have ended are replayed at every seek.

use std::collections::HashMap;
use std::sync::Arc;

use super::played_part::PlayedPart;
use cyclometer_core::units::Nanos;
use cyclometer_lanes::{Cancel, Status};
use cyclometer_pricing::PriceCatalog;
use cyclometer_pricing::Terms;
use cyclometer_pricing::compile::{Signal, SignalSet};
use cyclometer_replay::{CellKey, Contract, ReplaySummary, Replayer, SignalValues, WhatIf};
use cyclometer_store::{RecordingPart, Store, StoreError};

/// Number of invocations between two checkpoints.
pub const CHECKPOINT_INTERVAL: usize = 1_024;

/// Data of an invocation that is kept for replaying it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CheckpointEntry {
    id: i64,
    cell: u32,
    offset: Nanos,
    billed: bool,
    /// Whether it failed or ran out of time.
    failed: bool,
    present: SignalSet,
    /// Number of the tangle that it belongs to.
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
    /// Part that was read.
    pub key: RecordingPart,
    /// Ids of the models.
    pub models: Vec<String>,
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

/// Returns the models with these ids under their default terms; unknown ids are
/// skipped.
pub fn contracts_for_models(prices: &PriceCatalog, models: &[String]) -> Arc<Vec<Contract>> {
    let found = models.iter().filter_map(|id| prices.find_model(id).ok());
    Arc::new(found.map(|model| (model.clone(), Terms::for_model(model))).collect())
}

impl BillCheckpoints {
    /// Reads and bills a part; `carry` holds the bills of everything before it.
    ///
    /// # Errors
    /// Fails if the database cannot be read, or if it changed in the meantime.
    pub fn from_store(
        store: &Store,
        played: &PlayedPart,
        key: RecordingPart,
        models: &[String],
        contracts: &Arc<Vec<Contract>>,
        carry: &CarriedBills,
        cancel: &Cancel,
    ) -> Result<Self, StoreError> {
        let replayer = Replayer::new(Arc::clone(contracts), WhatIf::default());
        let signals = replayer.required_signals();
        let about = &played.about;
        // Sums are kept by cell, since a cell that only fails has no price, and since only
        // warm invocations of one cell share an instance.
        let keys = about.cells.iter().map(|cell| cell.key.clone());
        let mut ledger = Self {
            key,
            models: models.to_vec(),
            contracts: Arc::clone(contracts),
            signals: Signal::iter_all().filter(|signal| signals.contains(*signal)).collect(),
            keys: keys.collect(),
            entries: carry.open_entries.clone(),
            values: carry.values.clone(),
            carried: carry.open_entries.len(),
            settled: HashMap::new(),
            tangled: Vec::new(),
            checkpoints: Vec::new(),
        };
        let again;
        let rows = if key == played.key {
            &played.rows
        } else {
            let found = store.playback_rows(&key)?;
            again = PlayedPart::from_rows(about.clone(), key, 0, &found).rows;
            &again
        };
        ledger.read_entries(store, rows, signals)?;
        if replayer.usage_request().in_request_order {
            ledger.find_tangles(store)?;
        }
        let before = carry.sums.clone().unwrap_or_else(|| ReplaySummary::for_contracts(contracts));
        ledger.sum_checkpoints(before, cancel);
        Ok(ledger)
    }

    fn read_entries(
        &mut self,
        store: &Store,
        rows: &[super::played_part::CompactInvocation],
        signals: SignalSet,
    ) -> Result<(), StoreError> {
        let Self { entries, values, signals: wanted, key, .. } = self;
        let mut next = rows.iter();
        store.playback_signals(key, signals, |billed, present, row| {
            let Some(at) = next.next() else { return };
            let (id, cell, offset) = (at.id, at.cell, at.offset);
            let failed = matches!(at.status, Status::Failed | Status::Timeout);
            entries.push(CheckpointEntry {
                id,
                cell,
                offset,
                billed,
                failed,
                present,
                tangle: None,
            });
            values.extend(wanted.iter().map(|signal| row[signal.column_index()]));
        })?;
        if entries.len() == self.carried + rows.len() {
            return Ok(());
        }
        Err(StoreError::NotFound("the recording has changed while it was read".to_owned()))
    }

    /// Finds the entries that must be replayed together, and when each tangle is
    /// complete.
    fn find_tangles(&mut self, store: &Store) -> Result<(), StoreError> {
        let tangles = store.overlap_groups(self.key.recording, self.key.newest)?;
        let mut of = HashMap::new();
        for (number, tangle) in (0_u32..).zip(&tangles) {
            of.extend(tangle.invocations.iter().map(|id| (*id, number)));
        }
        let mut missing: Vec<usize> = tangles.iter().map(|it| it.invocations.len()).collect();
        for (at, entry) in self.entries.iter_mut().enumerate() {
            entry.tangle = of.get(&entry.id).copied();
            let Some(tangle) = entry.tangle else { continue };
            self.tangled.push(at);
            if let Some(missing) = missing.get_mut(tangle as usize) {
                *missing = missing.saturating_sub(1);
                if *missing == 0 {
                    self.settled.insert(tangle, at + 1);
                }
            }
        }
        Ok(())
    }

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
                let entry = &self.entries[*at];
                (entry.cell, entry.offset, entry.id)
            });
        }
        let mut values: SignalValues = [0; Signal::COUNT];
        let mut current = None;
        for at in chosen {
            let entry = &self.entries[at];
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
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.len() - self.carried
    }
}
