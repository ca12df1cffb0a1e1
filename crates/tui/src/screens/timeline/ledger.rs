//! Exact bills at any moment of a part: sums are kept at checkpoints every [`STEP`]
//! invocations, and the invocations since then are replayed.
//!
//! Sums of invocations can be added in any order, except for per-instance time: warm
//! invocations of a cell that overlap share it, so that their bill is only known when
//! they are replayed together. Such a tangle enters the checkpoints once all of its
//! invocations have ended; until then those that have ended are replayed at every seek.

use std::collections::HashMap;
use std::sync::Arc;

use super::recording::Played;
use cyclometer_core::units::Nanos;
use cyclometer_lanes::{Cancel, Status};
use cyclometer_pricing::PriceCatalog;
use cyclometer_pricing::Terms;
use cyclometer_pricing::compile::{Signal, Signals};
use cyclometer_replay::{Contract, Key, Replayer, Summary, Values, WhatIf};
use cyclometer_store::{PlayedCell, RecordingPart, Store, StoreError};

/// Number of invocations between two checkpoints.
pub const STEP: usize = 1_024;

/// Data of an invocation that is kept for replaying it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    id: i64,
    cell: u32,
    offset: Nanos,
    billed: bool,
    /// Whether it failed or ran out of time.
    failed: bool,
    present: Signals,
    /// Number of the tangle that it belongs to.
    tangle: Option<u32>,
}

/// Bills of all earlier parts, as the starting point of the next one.
#[derive(Clone, Default)]
pub struct Carry {
    /// Sums of the settled invocations; `None`: there are none yet.
    sums: Option<Summary>,
    /// Invocations of tangles that continue in the next part.
    open: Vec<Entry>,
    values: Vec<u64>,
}

/// Bills of a part at any moment.
pub struct Ledger {
    /// Part that was read.
    pub key: RecordingPart,
    /// Ids of the models.
    pub models: Vec<String>,
    contracts: Arc<Vec<Contract>>,
    wanted: Vec<Signal>,
    keys: Vec<Key>,
    /// Invocations of earlier parts whose tangles continue, then those of this part.
    entries: Vec<Entry>,
    /// Values, one for each entry and wanted signal.
    values: Vec<u64>,
    carried: usize,
    /// Number of entries after which each tangle is settled.
    settled: HashMap<u32, usize>,
    /// Indices of the entries that belong to tangles.
    tangled: Vec<usize>,
    /// Checkpoints: number of entries, and the sums of the settled ones among them.
    checkpoints: Vec<(usize, Summary)>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bills of {} invocations", self.entries.len())
    }
}

impl std::fmt::Debug for Carry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bills of earlier parts, {} open", self.open.len())
    }
}

/// Returns the models with these ids under their default terms; unknown ids are
/// skipped.
pub fn contracts(prices: &PriceCatalog, models: &[String]) -> Arc<Vec<Contract>> {
    let found = models.iter().filter_map(|id| prices.find(id).ok());
    Arc::new(found.map(|model| (model.clone(), Terms::of(model))).collect())
}

/// Returns the key that a cell is summed under. Sums are kept by cell, since a cell
/// that only fails has no price, and since only warm invocations of one cell share an
/// instance.
fn key_of(cell: &PlayedCell, lane: &Arc<str>) -> Key {
    Key {
        lane: Arc::clone(lane),
        workload: Arc::clone(&cell.workload),
        preset: Arc::clone(&cell.preset),
        start: Arc::clone(&cell.start),
    }
}

impl Ledger {
    /// Reads and bills a part; `carry` holds the bills of everything before it.
    ///
    /// # Errors
    /// Fails if the database cannot be read, or if it changed in the meantime.
    pub fn read(
        store: &Store,
        played: &Played,
        key: RecordingPart,
        models: &[String],
        contracts: &Arc<Vec<Contract>>,
        carry: &Carry,
        cancel: &Cancel,
    ) -> Result<Self, StoreError> {
        let replayer = Replayer::new(Arc::clone(contracts), WhatIf::default());
        let signals = replayer.signals();
        let about = &played.about;
        let keys = about.cells.iter().map(|cell| key_of(cell, &about.lanes[cell.lane].name));
        let mut ledger = Self {
            key,
            models: models.to_vec(),
            contracts: Arc::clone(contracts),
            wanted: Signal::all().filter(|signal| signals.has(*signal)).collect(),
            keys: keys.collect(),
            entries: carry.open.clone(),
            values: carry.values.clone(),
            carried: carry.open.len(),
            settled: HashMap::new(),
            tangled: Vec::new(),
            checkpoints: Vec::new(),
        };
        let again;
        let rows = if key == played.key {
            &played.rows
        } else {
            let found = store.played_rows(&key)?;
            again = Played::of(about.clone(), key, 0, &found).rows;
            &again
        };
        ledger.enter(store, rows, signals)?;
        if replayer.wants_order() {
            ledger.untangle(store)?;
        }
        let before = carry.sums.clone().unwrap_or_else(|| Summary::new(contracts));
        ledger.sum_up(before, cancel);
        Ok(ledger)
    }

    fn enter(
        &mut self,
        store: &Store,
        rows: &[super::recording::Invocation],
        signals: Signals,
    ) -> Result<(), StoreError> {
        let Self { entries, values, wanted, key, .. } = self;
        let mut next = rows.iter();
        store.played_signals(key, signals, |billed, present, row| {
            let Some(at) = next.next() else { return };
            let (id, cell, offset) = (at.id, at.cell, at.offset);
            let failed = matches!(at.status, Status::Failed | Status::Timeout);
            entries.push(Entry { id, cell, offset, billed, failed, present, tangle: None });
            values.extend(wanted.iter().map(|signal| row[signal.index()]));
        })?;
        if entries.len() == self.carried + rows.len() {
            return Ok(());
        }
        Err(StoreError::NotFound("the recording has changed while it was read".to_owned()))
    }

    /// Finds the entries that must be replayed together, and when each tangle is
    /// complete.
    fn untangle(&mut self, store: &Store) -> Result<(), StoreError> {
        let tangles = store.tangles(self.key.recording, self.key.newest)?;
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

    fn sum_up(&mut self, before: Summary, cancel: &Cancel) {
        let mut sums = before;
        self.checkpoints.push((self.carried, sums.clone()));
        let mut from = self.carried;
        while from < self.entries.len() && !cancel.is_cancelled() {
            let to = (from + STEP).min(self.entries.len());
            let plain = (from..to).filter(|at| self.entries[*at].tangle.is_none());
            let tied = self.tangled.iter().copied().filter(|at| {
                let settled = self.settled_at(*at);
                settled > from && settled <= to
            });
            sums.merge(&self.replay(plain.chain(tied).collect()));
            self.checkpoints.push((to, sums.clone()));
            from = to;
        }
    }

    /// Replays a selection of entries.
    fn replay(&self, mut chosen: Vec<usize>) -> Summary {
        let mut replayer = Replayer::new(Arc::clone(&self.contracts), WhatIf::default());
        if replayer.wants_order() {
            chosen.sort_by_key(|at| {
                let entry = &self.entries[*at];
                (entry.cell, entry.offset, entry.id)
            });
        }
        let mut values: Values = [0; Signal::COUNT];
        let mut current = None;
        for at in chosen {
            let entry = &self.entries[at];
            if !entry.billed {
                continue;
            }
            let group = match current {
                Some((cell, group)) if cell == entry.cell => group,
                _ => replayer.cell(&self.keys[entry.cell as usize]),
            };
            current = Some((entry.cell, group));
            let own = &self.values[at * self.wanted.len()..];
            for (signal, value) in self.wanted.iter().zip(own) {
                values[signal.index()] = *value;
            }
            if entry.failed {
                replayer.count_failure(group);
            }
            replayer.push(group, entry.offset, entry.present, &mut values);
        }
        replayer.finish_part()
    }

    /// Returns the bills after `ended` invocations of the part had ended.
    pub fn at(&self, ended: usize) -> Summary {
        let to = (self.carried + ended).min(self.entries.len());
        let next = self.checkpoints.partition_point(|(known, _)| *known <= to);
        let Some((from, sums)) = next.checked_sub(1).and_then(|it| self.checkpoints.get(it)) else {
            return Summary::new(&self.contracts);
        };
        let plain = (*from..to).filter(|at| self.entries[*at].tangle.is_none());
        let tied = self.tangled.iter().copied();
        let tied = tied.filter(|at| *at < to && self.settled_at(*at) > *from);
        let mut sums = sums.clone();
        sums.merge(&self.replay(plain.chain(tied).collect()));
        sums.unprice_failed_groups();
        sums
    }

    /// Returns the bills that the next part starts from.
    pub fn carry(&self) -> Carry {
        let end = self.entries.len();
        let sums = self.checkpoints.last().map(|(_, sums)| sums.clone());
        let mut carry = Carry { sums, ..Carry::default() };
        for at in self.tangled.iter().copied().filter(|at| self.settled_at(*at) > end) {
            carry.open.push(Entry { tangle: None, ..self.entries[at] });
            let wide = self.wanted.len();
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
