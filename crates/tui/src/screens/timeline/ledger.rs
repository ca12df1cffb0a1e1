//! Bills as they stood at any moment of a part, exactly: sums are kept for
//! every so many invocations, and the rest is replayed.
//!
//! Sums of invocations add up whatever their order, but for per-instance time:
//! warm invocations of a cell that overlap share it, so that their bill is only
//! known when they are replayed together. Such tangles enter the kept sums once
//! all of them have ended; until then those that have are replayed at every
//! seek.

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

/// Invocations between two sums that are kept.
pub const STEP: usize = 1_024;

/// What is kept of an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    id: i64,
    cell: u32,
    offset: Nanos,
    billed: bool,
    /// Whether it failed or ran out of time.
    failed: bool,
    present: Signals,
    /// Of which tangle it is.
    tangle: Option<u32>,
}

/// What the parts before came to.
#[derive(Clone, Default)]
pub struct Carry {
    /// Sums of what is settled; `None`: nothing yet.
    sums: Option<Summary>,
    /// Invocations of tangles that go on.
    open: Vec<Entry>,
    values: Vec<u64>,
}

/// The bills of a part.
pub struct Ledger {
    /// Which part.
    pub key: RecordingPart,
    /// Ids of its models.
    pub models: Vec<String>,
    contracts: Arc<Vec<Contract>>,
    wanted: Vec<Signal>,
    keys: Vec<Key>,
    /// Those of parts before that are open, then those of the part.
    entries: Vec<Entry>,
    /// A value for each entry and wanted signal.
    values: Vec<u64>,
    carried: usize,
    /// By tangle: after how many entries it is settled.
    settled: HashMap<u32, usize>,
    /// Entries of tangles.
    tangled: Vec<usize>,
    /// Sums of the settled among so many entries.
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

/// The models of those ids, on their own terms.
pub fn contracts(prices: &PriceCatalog, models: &[String]) -> Arc<Vec<Contract>> {
    let found = models.iter().filter_map(|id| prices.find(id).ok());
    Arc::new(found.map(|model| (model.clone(), Terms::of(model))).collect())
}

/// Names what is summed: a cell, since one that only fails has no price, and
/// since only warm invocations of a cell share an instance.
fn key_of(cell: &PlayedCell, lane: &Arc<str>) -> Key {
    Key {
        lane: Arc::clone(lane),
        workload: Arc::clone(&cell.workload),
        preset: Arc::clone(&cell.preset),
        start: Arc::clone(&cell.start),
    }
}

impl Ledger {
    /// Reads and bills a part. What ended before it is in `carry`.
    ///
    /// # Errors
    /// When the database cannot be read, or is not what it was.
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

    /// Finds which entries must be replayed together, and when all are there.
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

    /// After how many entries one of a tangle is settled.
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

    /// Replays some entries.
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

    /// The bills when so many invocations of the part had ended.
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

    /// What the next part begins with.
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

    /// How many invocations of the part there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.len() - self.carried
    }
}
