//! Replays recorded usage through price models.
//!
//! Replay is a stream: rows come in, are batched by group and by the signals
//! that were measured, and run through the
//! [compiled](cyclometer_pricing::compile) models. Only sums are kept, so that
//! memory does not grow with the recording. This crate opens no file and prints
//! nothing; which invocations are billed is the caller's choice.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod break_even;
mod stretch;
mod summary;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

pub use summary::{ChargeTotal, Group, Key, ModelInfo, ModelTotal, NoMonth, NoRatio, Summary};

use stretch::Stretches;

use cyclometer_core::meter::{Meter, Usage};
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_pricing::compile::{Batch, Program, Signal, Signals, Sums};
use cyclometer_pricing::{Basis, PriceModel, Terms};

/// Rows that are collected before a batch runs.
const BATCH: usize = 4_096;

/// One invocation to be billed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Number of the invocation in the database.
    pub invocation: i64,
    /// Group in which the row is summed.
    pub key: Key,
    /// Time of the request, since the recording began.
    pub offset: Nanos,
    /// Whether it failed or ran out of time; providers bill that too.
    pub failed: bool,
    /// Usage of the invocation.
    pub usage: Usage,
}

/// A price model and the terms it is applied under.
pub type Contract = (PriceModel, Terms);

/// Values that replace measured ones in a what-if replay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WhatIf(pub Vec<(Meter, u64)>);

impl WhatIf {
    /// Returns `usage` with the values replaced.
    #[must_use]
    pub fn apply(&self, mut usage: Usage) -> Usage {
        for (meter, value) in &self.0 {
            usage.set(*meter, *value);
        }
        usage
    }
}

/// Sums rows by group under every contract.
#[derive(Debug)]
pub struct Replayer {
    contracts: Arc<Vec<Contract>>,
    /// All charges; those by instance only where no model has overlapping rows.
    requests: Program,
    /// Charges by instance, where there are any.
    instances: Option<Program>,
    what_if: WhatIf,
    signals: Signals,
    groups: Vec<Gathering>,
    known: HashMap<Key, usize>,
}

/// Running state of one group: rows that have not run yet, and the sums of
/// those that have.
#[derive(Debug)]
struct Gathering {
    key: Key,
    rows: Lot,
    stretches: Lot,
    open: Stretches,
    peak: Option<Bytes>,
    beyond: u64,
    failed: u64,
}

/// Batches of one program that have not run yet, one for each set of measured
/// signals, and the sums of those that have.
#[derive(Debug, Default)]
struct Lot {
    batches: Vec<Batch>,
    sums: Sums,
}

impl Lot {
    fn push(&mut self, program: &mut Program, present: Signals, values: impl Fn(Signal) -> u64) {
        let known = self.batches.iter().position(|batch| batch.present() == present);
        let at = known.unwrap_or_else(|| {
            self.batches.push(Batch::new(present));
            self.batches.len() - 1
        });
        let batch = &mut self.batches[at];
        batch.push(values);
        if batch.len() >= BATCH {
            program.run(batch, &mut self.sums);
            batch.clear();
        }
    }

    fn finish(&mut self, program: &mut Program) {
        for batch in &mut self.batches {
            program.run(batch, &mut self.sums);
            batch.clear();
        }
    }
}

impl Replayer {
    /// Creates a replayer without any rows.
    #[must_use]
    pub fn new(contracts: Arc<Vec<Contract>>, what_if: WhatIf) -> Self {
        let by_instance = contracts.iter().any(|(model, _)| model.by_instance());
        let program = |basis| Program::new(contracts.to_vec(), true, basis);
        let (requests, instances) = if by_instance {
            (program(Some(Basis::Request)), Some(program(Some(Basis::Instance))))
        } else {
            (program(None), None)
        };
        let mut signals = requests.signals();
        if let Some(program) = &instances {
            signals = signals.union(program.signals());
            // Signals that an instance span is made of.
            signals = signals.union(Stretches::SIGNALS.into_iter().collect());
        }
        signals.insert(Signal::Meter(Meter::MemoryPeak));
        signals.insert(Signal::Meter(Meter::MemoryAllocated));
        Self {
            contracts,
            requests,
            instances,
            what_if,
            signals,
            groups: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// Returns the signals that the replayer uses of a row, where they were
    /// measured.
    #[must_use]
    pub const fn signals(&self) -> Signals {
        self.signals
    }

    /// Returns whether the rows of a group must come in the order of their
    /// requests, since some share an instance.
    #[must_use]
    pub const fn wants_order(&self) -> bool {
        self.instances.is_some()
    }

    /// Returns the handle of a group, which is created on first use.
    pub fn group(&mut self, key: &Key) -> usize {
        if let Some(at) = self.known.get(key) {
            return *at;
        }
        self.groups.push(Gathering {
            key: key.clone(),
            rows: Lot::default(),
            stretches: Lot::default(),
            open: Stretches::new(&*key.start == "cold"),
            peak: None,
            beyond: 0,
            failed: 0,
        });
        self.known.insert(key.clone(), self.groups.len() - 1);
        self.groups.len() - 1
    }

    /// Returns the handle of the group for the rows of another cell. These
    /// belong to other instances, whose clocks start anew, so that the open
    /// span of the group ends here.
    pub fn cell(&mut self, key: &Key) -> usize {
        let at = self.group(key);
        if let (Some(program), Some(group)) = (&mut self.instances, self.groups.get_mut(at))
            && let Some(done) = group.open.finish()
        {
            done.push(&mut group.stretches, program);
        }
        at
    }

    /// Adds a row to a group: the signals that were measured, and the value of
    /// each of them.
    pub fn push(&mut self, group: usize, offset: Nanos, mut present: Signals, values: &mut Values) {
        for (meter, value) in &self.what_if.0 {
            present.insert(Signal::Meter(*meter));
            values[Signal::Meter(*meter).index()] = *value;
        }
        let Some(gathering) = self.groups.get_mut(group) else { return };
        gathering.watch(present, values);
        let own = present.and(self.requests.signals());
        gathering.rows.push(&mut self.requests, own, |signal| values[signal.index()]);
        if let Some(program) = &mut self.instances
            && let Some(done) = gathering.open.add(offset, present, values)
        {
            done.push(&mut gathering.stretches, program);
        }
    }

    /// Adds a row given as a [`Row`].
    pub fn push_row(&mut self, row: &Row) {
        let present = self.signals.of(&row.usage);
        let mut values = [0; Signal::COUNT];
        for signal in Signal::all().filter(|signal| present.has(*signal)) {
            values[signal.index()] = signal.of(&row.usage).unwrap_or(0);
        }
        let group = self.group(&row.key);
        if row.failed {
            self.count_failure(group);
        }
        self.push(group, row.offset, present, &mut values);
    }

    /// Counts one row of a group as failed.
    pub fn count_failure(&mut self, group: usize) {
        if let Some(gathering) = self.groups.get_mut(group) {
            gathering.failed += 1;
        }
    }

    /// Runs what is left, and returns the totals.
    #[must_use]
    pub fn finish(mut self) -> Summary {
        self.so_far()
    }

    /// Runs what is left of one part of a replay. Only when all parts are
    /// merged is it known which cells failed altogether: call
    /// [`Summary::unprice_failed_groups`] then.
    #[must_use]
    pub fn finish_part(mut self) -> Summary {
        self.sum_up()
    }

    /// Returns the totals so far; rows can be added afterwards. Instances that
    /// still serve a request count as if they ended now, but stay open.
    pub fn so_far(&mut self) -> Summary {
        let mut summary = self.sum_up();
        summary.unprice_failed_groups();
        summary
    }

    fn sum_up(&mut self) -> Summary {
        let mut summary = Summary::new(&self.contracts);
        for group in &mut self.groups {
            group.rows.finish(&mut self.requests);
            let mut models = group.rows.sums.models(&self.requests);
            if let Some(program) = &mut self.instances {
                let of_stretches = group.stretches_so_far(program).models(program);
                for (mine, of_stretches) in models.iter_mut().zip(&of_stretches) {
                    mine.add_stretches(of_stretches);
                }
            }
            let counts = Group {
                invocations: group.rows.sums.rows(),
                failed: group.failed,
                models: Vec::new(),
                peak: group.peak,
                beyond: group.beyond,
            };
            summary.enter(group.key.clone(), &counts, &models);
        }
        summary
    }
}

/// Values of all signals, by [`Signal::index`].
pub type Values = [u64; Signal::COUNT];

impl Gathering {
    /// Returns the sums of the spans that have ended, and of the open one as it
    /// is now.
    fn stretches_so_far(&mut self, program: &mut Program) -> Sums {
        self.stretches.finish(program);
        let mut sums = self.stretches.sums.clone();
        if let Some(open) = self.open.open() {
            let mut alone = Lot { batches: Vec::new(), sums };
            open.push(&mut alone, program);
            alone.finish(program);
            sums = alone.sums;
        }
        sums
    }

    /// Records the largest peak, and counts rows whose peak exceeds the
    /// allocated memory.
    fn watch(&mut self, present: Signals, values: &Values) {
        let peak = Signal::Meter(Meter::MemoryPeak);
        if !present.has(peak) {
            return;
        }
        let peak = values[peak.index()];
        self.peak = self.peak.max(Some(Bytes(peak)));
        let given = Signal::Meter(Meter::MemoryAllocated);
        if present.has(given) && peak > values[given.index()] {
            self.beyond += 1;
        }
    }
}

/// Replays rows in the order in which they come.
///
/// # Errors
///
/// Returns the first error of `rows`, which ends the replay.
pub fn replay<E>(
    rows: impl IntoIterator<Item = Result<Row, E>>,
    contracts: &[Contract],
) -> Result<Summary, E> {
    let mut replayer = Replayer::new(Arc::new(contracts.to_vec()), WhatIf::default());
    for row in rows {
        replayer.push_row(&row?);
    }
    Ok(replayer.finish())
}
