//! Replays recorded usage through price models.
//!
//! Replay is a stream: rows come in, are batched by group and by the signals
//! that were measured, and run through the
//! [compiled](cyclometer_pricing::compile) models. Only sums are kept, so that
//! memory does not grow with the recording. This crate opens no file and prints
//! nothing; which invocations are billed is the caller's choice.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod bill_checkpoints;
pub mod break_even;
mod cell_usage;
mod instance_span;
mod parts;
#[cfg(test)]
mod source_tests;
mod summary;
#[cfg(test)]
mod tests;
mod usage_source;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

pub use bill_checkpoints::{
    BillCheckpoints, CHECKPOINT_INTERVAL, CarriedBills, CheckpointBuilder, CheckpointRow,
};
pub use cell_usage::{CellUsage, ResizedSource, SummedSource, UsageByCell};
pub use cyclometer_core::cell_key::CellKey;
pub use parts::{PartError, replay_source, replay_sources};
pub use summary::{
    ChargeTotal, GroupTotal, ModelInfo, ModelTotal, MonthlyBillError, RatioError, ReplaySummary,
};
pub use usage_source::{CellIndex, RowSource, UsageColumns, UsageRequest, UsageSource};

use instance_span::InstanceSpans;
use usage_source::RowRun;

use cyclometer_core::invocation::StartKind;
use cyclometer_core::meter::{Meter, Usage};
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_pricing::compile::{PricingProgram, Signal, SignalSet, Sums, UsageBatch};
use cyclometer_pricing::{ChargeBasis, PriceModel, Terms};

/// Rows that are collected before a batch runs.
const BATCH: usize = 4_096;

/// One invocation to be billed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// Number of the invocation in the database.
    pub invocation: i64,
    /// Group in which the row is summed.
    pub key: CellKey,
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
    pub fn apply_to(&self, mut usage: Usage) -> Usage {
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
    requests: PricingProgram,
    /// Charges by instance, where there are any.
    instances: Option<PricingProgram>,
    what_if: WhatIf,
    signals: SignalSet,
    groups: Vec<GroupState>,
    group_handles: HashMap<CellKey, usize>,
}

/// Running state of one group: rows that have not run yet, and the sums of
/// those that have.
#[derive(Debug)]
struct GroupState {
    key: CellKey,
    row_batches: PendingBatches,
    span_batches: PendingBatches,
    open_spans: InstanceSpans,
    peak: Option<Bytes>,
    over_allocation: u64,
    failed: u64,
}

/// Batches of one program that have not run yet, one for each set of measured
/// signals, and the sums of those that have.
#[derive(Debug, Default)]
struct PendingBatches {
    batches: Vec<UsageBatch>,
    sums: Sums,
}

impl PendingBatches {
    fn push_row(
        &mut self,
        program: &mut PricingProgram,
        present: SignalSet,
        values: impl Fn(Signal) -> u64,
    ) {
        let Self { batches, sums } = self;
        let batch = find_batch(batches, present);
        batch.push_row(values);
        if batch.len() >= BATCH {
            program.run_batch(batch, sums);
            batch.clear();
        }
    }

    /// Adds rows of a block, all of which have the signals in `present`.
    fn push_rows(
        &mut self,
        program: &mut PricingProgram,
        present: SignalSet,
        columns: &UsageColumns,
        mut rows: Range<usize>,
    ) {
        let Self { batches, sums } = self;
        let batch = find_batch(batches, present);
        while !rows.is_empty() {
            let room = BATCH.saturating_sub(batch.len()).max(1);
            let end = rows.end.min(rows.start + room);
            let fitting = rows.start..end;
            batch.extend_rows(fitting.len(), |signal| {
                columns.column_values(signal, fitting.clone())
            });
            rows.start = end;
            if batch.len() >= BATCH {
                program.run_batch(batch, sums);
                batch.clear();
            }
        }
    }

    fn run_pending(&mut self, program: &mut PricingProgram) {
        for batch in &mut self.batches {
            program.run_batch(batch, &mut self.sums);
            batch.clear();
        }
    }
}

/// Returns the batch for rows that have the signals in `present`.
fn find_batch(batches: &mut Vec<UsageBatch>, present: SignalSet) -> &mut UsageBatch {
    let known = batches.iter().position(|batch| batch.signals() == present);
    let at = known.unwrap_or_else(|| {
        batches.push(UsageBatch::new(present));
        batches.len() - 1
    });
    &mut batches[at]
}

impl Replayer {
    /// Creates a replayer without any rows.
    #[must_use]
    pub fn new(contracts: Arc<Vec<Contract>>, what_if: WhatIf) -> Self {
        let by_instance = contracts.iter().any(|(model, _)| model.has_instance_charges());
        let program = |basis| PricingProgram::new(contracts.to_vec(), true, basis);
        let (requests, instances) = if by_instance {
            (program(Some(ChargeBasis::Request)), Some(program(Some(ChargeBasis::Instance))))
        } else {
            (program(None), None)
        };
        let mut signals = requests.required_signals();
        if let Some(program) = &instances {
            signals = signals.union(program.required_signals());
            // Signals that an instance span is made of.
            signals = signals.union(InstanceSpans::SIGNALS.into_iter().collect());
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
            group_handles: HashMap::new(),
        }
    }

    /// Returns the signals that the replayer uses of a row, where they were
    /// measured.
    #[must_use]
    pub const fn required_signals(&self) -> SignalSet {
        self.signals
    }

    /// Returns the usage that the replayer needs of a source.
    #[must_use]
    pub(crate) const fn usage_request(&self) -> UsageRequest {
        UsageRequest { signals: self.signals, in_request_order: self.instances.is_some() }
    }

    /// Returns the handle of a group, which is created on first use.
    pub(crate) fn group_handle(&mut self, key: &CellKey) -> usize {
        if let Some(at) = self.group_handles.get(key) {
            return *at;
        }
        self.groups.push(GroupState {
            key: key.clone(),
            row_batches: PendingBatches::default(),
            span_batches: PendingBatches::default(),
            open_spans: InstanceSpans::new(key.start == StartKind::Cold),
            peak: None,
            over_allocation: 0,
            failed: 0,
        });
        self.group_handles.insert(key.clone(), self.groups.len() - 1);
        self.groups.len() - 1
    }

    /// Returns the handle of the group for the rows of another cell. These
    /// belong to other instances, whose clocks start anew, so that the open
    /// span of the group ends here.
    pub(crate) fn start_cell(&mut self, key: &CellKey) -> usize {
        let at = self.group_handle(key);
        if let (Some(program), Some(group)) = (&mut self.instances, self.groups.get_mut(at))
            && let Some(done) = group.open_spans.close_span()
        {
            done.push_to(&mut group.span_batches, program);
        }
        at
    }

    /// Adds a row to a group: the signals that were measured, and the value of
    /// each of them.
    pub(crate) fn push_signals(
        &mut self,
        group: usize,
        offset: Nanos,
        mut present: SignalSet,
        values: &mut SignalValues,
    ) {
        for (meter, value) in &self.what_if.0 {
            present.insert(Signal::Meter(*meter));
            values[Signal::Meter(*meter).column_index()] = *value;
        }
        let Some(gathering) = self.groups.get_mut(group) else { return };
        gathering.track_memory(present, values);
        let own = present.intersection(self.requests.required_signals());
        gathering
            .row_batches
            .push_row(&mut self.requests, own, |signal| values[signal.column_index()]);
        if let Some(program) = &mut self.instances
            && let Some(done) = gathering.open_spans.add_request(offset, present, values)
        {
            done.push_to(&mut gathering.span_batches, program);
        }
    }

    /// Adds all rows of a source.
    ///
    /// # Errors
    /// Returns the error of the source; rows before it were added.
    pub fn add_source<E>(&mut self, source: &mut dyn UsageSource<Error = E>) -> Result<(), E> {
        let mut groups: Vec<Option<usize>> = Vec::new();
        source.read_usage(self.usage_request(), &mut |columns| {
            self.push_columns(columns, &mut groups);
        })
    }

    /// Adds the rows of a block; `groups` has the handle of each cell that has
    /// had rows.
    fn push_columns(&mut self, columns: &mut UsageColumns, groups: &mut Vec<Option<usize>>) {
        for (meter, value) in &self.what_if.0 {
            columns.replace_values(Signal::Meter(*meter), *value);
        }
        let mut next = 0;
        while let Some(run) = columns.run_from(next) {
            next = run.rows.end;
            if groups.len() <= run.cell {
                groups.resize(run.cell + 1, None);
            }
            let known = groups[run.cell];
            let started = || columns.cell_key(run.cell).map(|key| self.start_cell(key));
            let Some(group) = known.or_else(started) else { continue };
            groups[run.cell] = Some(group);
            self.push_run(group, columns, &run);
        }
    }

    fn push_run(&mut self, group: usize, columns: &UsageColumns, run: &RowRun) {
        let Some(gathering) = self.groups.get_mut(group) else { return };
        gathering.failed += columns.count_failures(run.rows.clone());
        gathering.track_memory_of_run(columns, run);
        let own = run.present.intersection(self.requests.required_signals());
        gathering.row_batches.push_rows(&mut self.requests, own, columns, run.rows.clone());
        let Some(program) = &mut self.instances else { return };
        let mut values: SignalValues = [0; Signal::COUNT];
        for row in run.rows.clone() {
            columns.copy_row(row, &mut values);
            let offset = columns.offset(row);
            if let Some(done) = gathering.open_spans.add_request(offset, run.present, &values) {
                done.push_to(&mut gathering.span_batches, program);
            }
        }
    }

    /// Adds a row given as a [`UsageRow`].
    pub fn push_row(&mut self, row: &UsageRow) {
        let present = self.signals.measured_in(&row.usage);
        let mut values = [0; Signal::COUNT];
        for signal in Signal::iter_all().filter(|signal| present.contains(*signal)) {
            values[signal.column_index()] = signal.value_in(&row.usage).unwrap_or(0);
        }
        let group = self.group_handle(&row.key);
        if row.failed {
            self.count_failure(group);
        }
        self.push_signals(group, row.offset, present, &mut values);
    }

    /// Counts one row of a group as failed.
    pub(crate) fn count_failure(&mut self, group: usize) {
        if let Some(gathering) = self.groups.get_mut(group) {
            gathering.failed += 1;
        }
    }

    /// Runs what is left, and returns the totals.
    #[must_use]
    pub fn finish(mut self) -> ReplaySummary {
        self.totals_so_far()
    }

    /// Runs what is left of one part of a replay. Only when all parts are
    /// merged is it known which cells failed altogether: call
    /// [`ReplaySummary::unprice_failed_groups`] then.
    #[must_use]
    pub(crate) fn finish_part(mut self) -> ReplaySummary {
        self.sum_groups()
    }

    /// Returns the totals so far; rows can be added afterwards. Instances that
    /// still serve a request count as if they ended now, but stay open.
    pub fn totals_so_far(&mut self) -> ReplaySummary {
        let mut summary = self.sum_groups();
        summary.unprice_failed_groups();
        summary
    }

    fn sum_groups(&mut self) -> ReplaySummary {
        let mut summary = ReplaySummary::for_contracts(&self.contracts);
        for group in &mut self.groups {
            group.row_batches.run_pending(&mut self.requests);
            let mut models = group.row_batches.sums.model_sums(&self.requests);
            if let Some(program) = &mut self.instances {
                let of_stretches = group.span_sums_so_far(program).model_sums(program);
                for (mine, of_stretches) in models.iter_mut().zip(&of_stretches) {
                    mine.add_instance_spans(of_stretches);
                }
            }
            let counts = GroupTotal {
                invocations: group.row_batches.sums.row_count(),
                failed: group.failed,
                models: Vec::new(),
                peak: group.peak,
                over_allocation: group.over_allocation,
            };
            summary.add_group(group.key.clone(), &counts, &models);
        }
        summary
    }
}

/// Values of all signals, by [`Signal::column_index`].
pub type SignalValues = [u64; Signal::COUNT];

impl GroupState {
    /// Returns the sums of the spans that have ended, and of the open one as it
    /// is now.
    fn span_sums_so_far(&mut self, program: &mut PricingProgram) -> Sums {
        self.span_batches.run_pending(program);
        let mut sums = self.span_batches.sums.clone();
        if let Some(open) = self.open_spans.open_span() {
            let mut alone = PendingBatches { batches: Vec::new(), sums };
            open.push_to(&mut alone, program);
            alone.run_pending(program);
            sums = alone.sums;
        }
        sums
    }

    /// Records the largest peak, and counts rows whose peak exceeds the
    /// allocated memory.
    fn track_memory(&mut self, present: SignalSet, values: &SignalValues) {
        let peak = Signal::Meter(Meter::MemoryPeak);
        if !present.contains(peak) {
            return;
        }
        let peak = values[peak.column_index()];
        self.peak = self.peak.max(Some(Bytes(peak)));
        let given = Signal::Meter(Meter::MemoryAllocated);
        if present.contains(given) && peak > values[given.column_index()] {
            self.over_allocation += 1;
        }
    }

    /// Does for adjacent rows what [`Self::track_memory`] does for one.
    fn track_memory_of_run(&mut self, columns: &UsageColumns, run: &RowRun) {
        let peak = Signal::Meter(Meter::MemoryPeak);
        if !run.present.contains(peak) {
            return;
        }
        let peaks = columns.column_values(peak, run.rows.clone());
        self.peak = self.peak.max(peaks.iter().max().copied().map(Bytes));
        let given = Signal::Meter(Meter::MemoryAllocated);
        if run.present.contains(given) {
            let given = columns.column_values(given, run.rows.clone());
            let beyond = peaks.iter().zip(given).filter(|(peak, given)| peak > given);
            self.over_allocation += beyond.count() as u64;
        }
    }
}

/// Replays rows in the order in which they come.
///
/// # Errors
///
/// Returns the first error of `rows`, which ends the replay.
pub fn replay_rows<E>(
    rows: impl IntoIterator<Item = Result<UsageRow, E>>,
    contracts: &[Contract],
) -> Result<ReplaySummary, E> {
    let mut source = RowSource::new(rows.into_iter());
    replay_source(&mut source, &Arc::new(contracts.to_vec()), &WhatIf::default())
}
