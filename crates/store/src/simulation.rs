//! Replaying recordings through price models and storing the result.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::database_file::has_room_for_index;
use super::error_text::describe_missing_room;
use super::invocation_scan::{self, RecordedUsage, Selection};
use super::open::{AsStoreError, Store, StoreError};
use super::simulation_writer;
use cyclometer_core::invocation::StartKind;
use cyclometer_core::units::Bytes;
use cyclometer_pricing::Exact;
use cyclometer_replay::{
    CellKey, Contract, PartError, ReplaySummary, ResizedSource, SummedSource, UsageByCell,
    UsageRequest, UsageSource, WhatIf, replay_source, replay_sources,
};
use cyclometer_workload::hex;

/// Number of rows that are worth a thread of their own.
const ROWS_PER_THREAD: i64 = 100_000;

/// Most bills of single invocations that are kept unless requested otherwise.
/// They follow from the recording and the models: above this number, keeping
/// them costs more than computing them again.
const MAX_AUTOMATIC_BILLS: u64 = 250_000;

/// Version of the rule by which bills are split; part of the identity of a
/// simulation, so that one that was split by another rule is never taken for
/// the same. 2: CPU time of the run without that of the start-up.
const SPLIT_RULE: &str = "split 2, ";

/// Reason why a replay could not be computed or stored.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing in the recordings can be billed.
    #[error(
        "nothing can be billed: no invocation of {0} ran and is selected (interrupted ones are \
         not billed); `cyclometer history` lists what there is"
    )]
    Empty(String),
}

impl AsStoreError for ReplayError {
    fn as_store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Empty(_) => None,
        }
    }
}

/// Whether bills of single invocations are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BillRetention {
    /// Kept if there are not too many.
    #[default]
    Automatic,
    /// All are kept.
    All,
    /// None is kept.
    None,
}

/// Recordings to replay, and the models and assumptions to replay them under.
#[derive(Debug, Clone)]
pub struct ReplayPlan {
    /// Invocations that are replayed.
    pub selection: Selection,
    /// Models, with the terms they are applied under.
    pub contracts: Arc<Vec<Contract>>,
    /// Values that are assumed instead of the measured ones.
    pub what_if: WhatIf,
    /// Number of requests of a month; `None`: the invocations as they are, at
    /// list prices.
    pub per_month: Option<Exact>,
    /// Whether bills of single invocations are kept.
    pub bills: BillRetention,
}

/// Result of a replay that was stored, if that was possible.
#[derive(Debug, Clone)]
pub struct SavedSimulation {
    /// Number of the simulation; `None` if it is not stored.
    pub id: Option<i64>,
    /// Reason why it is not stored.
    pub not_saved: Option<String>,
    /// Whether it was stored before: same recordings, models and terms.
    pub already_saved: bool,
    /// Whether it has the bill of each invocation.
    pub with_bills: bool,
    /// Totals of the replay.
    pub summary: ReplaySummary,
}

impl ReplayPlan {
    /// Creates the plan of replaying whole recordings through models on their
    /// own terms.
    #[must_use]
    pub fn for_recordings(recordings: Vec<i64>, contracts: Vec<Contract>) -> Self {
        Self {
            selection: Selection { recordings, ..Selection::default() },
            contracts: Arc::new(contracts),
            what_if: WhatIf::default(),
            per_month: None,
            bills: BillRetention::Automatic,
        }
    }

    /// Returns the options of the plan, for people and for the digest.
    pub(super) fn options_json(&self) -> serde_json::Value {
        let what_if: serde_json::Map<_, _> = self
            .what_if
            .0
            .iter()
            .map(|(meter, value)| (meter.name().to_owned(), (*value).into()))
            .collect();
        let terms: serde_json::Map<_, _> = self
            .contracts
            .iter()
            .map(|(model, terms)| (model.id().to_owned(), terms.describe(model).into()))
            .collect();
        serde_json::json!({
            "lanes": self.selection.lanes,
            "workloads": self.selection.workloads,
            "start": self.selection.start.map(StartKind::label),
            "what_if": what_if,
            "per_month": self.per_month.as_ref().map(Exact::to_plain_string),
            "terms": terms,
        })
    }
}

impl Store {
    /// Replays recordings through price models and stores the result, all or
    /// nothing. The same replay again gives the same bills and is not stored
    /// twice.
    ///
    /// Where the database cannot be written, the bills are computed all the
    /// same, and the result says why they are not stored.
    ///
    /// # Errors
    /// Fails when there is nothing to bill, or the database cannot be read.
    pub fn replay_and_save(&mut self, plan: &ReplayPlan) -> Result<SavedSimulation, ReplayError> {
        let cells = invocation_scan::select_cells(&self.connection, &plan.selection)?;
        let summary = self.sum_plan(plan, &cells)?;
        let rows = summary.overall_group().invocations;
        if rows == 0 {
            return Err(ReplayError::Empty(self.name_recordings(&plan.selection.recordings)?));
        }
        let models = u64::try_from(plan.contracts.len()).unwrap_or(u64::MAX);
        let with_bills = match plan.bills {
            BillRetention::All => true,
            BillRetention::None => false,
            BillRetention::Automatic => rows.saturating_mul(models) <= MAX_AUTOMATIC_BILLS,
        };
        let inputs = self.inputs_digest(plan, with_bills)?;
        let saved =
            |id: Result<i64, String>, known: bool, summary: ReplaySummary| SavedSimulation {
                id: id.as_ref().ok().copied(),
                not_saved: id.err(),
                already_saved: known,
                with_bills,
                summary,
            };
        if let Some(id) = self.find_saved_simulation(&inputs)? {
            return Ok(saved(Ok(id), true, summary));
        }
        if !self.is_writable() {
            let path = self.path().display();
            let reason = if has_room_for_index(self.path()) {
                format!("the database {path} may only be read")
            } else {
                let (why, _) = describe_missing_room();
                format!("nothing can be written beside the database {path}: {why}")
            };
            return Ok(saved(Err(reason), false, summary));
        }
        match simulation_writer::save_simulation(self, plan, &cells, &inputs, with_bills, &summary)
        {
            Ok(id) => Ok(saved(Ok(id), false, summary)),
            // The bills are right all the same.
            Err(ReplayError::Store(StoreError::Sql { action, source })) => {
                let error = StoreError::Sql { action, source };
                Ok(saved(Err(error.to_string()), false, summary))
            }
            Err(error) => Err(error),
        }
    }

    /// Replays without storing anything.
    ///
    /// # Errors
    /// Fails when there is nothing to bill, or the database fails.
    pub fn replay_without_saving(&self, plan: &ReplayPlan) -> Result<ReplaySummary, ReplayError> {
        let cells = invocation_scan::select_cells(&self.connection, &plan.selection)?;
        let summary = self.sum_plan(plan, &cells)?;
        if summary.overall_group().invocations == 0 {
            return Err(ReplayError::Empty(self.name_recordings(&plan.selection.recordings)?));
        }
        Ok(summary)
    }

    /// Replays without storing anything, and sums up what each cell used.
    ///
    /// # Errors
    /// Fails when there is nothing to bill, or the database fails.
    pub fn replay_with_usage(
        &self,
        plan: &ReplayPlan,
    ) -> Result<(ReplaySummary, UsageByCell), ReplayError> {
        let cells = invocation_scan::select_cells(&self.connection, &plan.selection)?;
        let sums = Mutex::default();
        let summary = self.sum_plan_through(
            plan,
            &cells,
            |it| SummedSource::new(it, &sums),
            |it| SummedSource::new(it, &sums),
        )?;
        if summary.overall_group().invocations == 0 {
            return Err(ReplayError::Empty(self.name_recordings(&plan.selection.recordings)?));
        }
        Ok((summary, sums.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Replays, without storing anything, as if the cells in `sizes` had had at most that much
    /// memory. Times stay as they were measured.
    ///
    /// # Errors
    /// Fails when the database fails.
    pub fn replay_resized(
        &self,
        plan: &ReplayPlan,
        sizes: &HashMap<CellKey, Bytes>,
    ) -> Result<ReplaySummary, StoreError> {
        let cells = invocation_scan::select_cells(&self.connection, &plan.selection)?;
        self.sum_plan_through(
            plan,
            &cells,
            |it| ResizedSource::new(it, sizes),
            |it| ResizedSource::new(it, sizes),
        )
    }

    pub(super) fn find_saved_simulation(&self, inputs: &str) -> Result<Option<i64>, StoreError> {
        self.connection
            .query_row("SELECT id FROM simulation WHERE inputs = ?1", [inputs], |row| row.get(0))
            .optional()
            .map_err(StoreError::for_action("search for the simulation"))
    }

    /// Returns a digest of everything that a replay depends on.
    fn inputs_digest(&self, plan: &ReplayPlan, with_bills: bool) -> Result<String, StoreError> {
        let mut hasher = Sha256::new();
        for recording in &plan.selection.recordings {
            let (count, newest): (i64, Option<i64>) = self
                .connection
                .query_row(
                    "SELECT COUNT(*), MAX(i.id) FROM invocation i JOIN cell c ON c.id = i.cell_id
                     WHERE c.recording_id = ?1",
                    [recording],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .map_err(StoreError::for_action("count of invocations"))?;
            hasher.update(format!("{recording} {count} {newest:?} "));
        }
        hasher.update(format!("{} {with_bills}", plan.options_json()));
        for (model, _) in plan.contracts.iter() {
            hasher.update(format!(" {} {}", model.id(), model.source_digest()));
        }
        Ok(format!("{SPLIT_RULE}{}", hex(&hasher.finalize())))
    }

    /// Returns whether the bills of a simulation were split by the current
    /// rule.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn is_split_by_current_rule(&self, simulation: i64) -> Result<bool, StoreError> {
        let inputs: Option<String> = self
            .connection
            .query_row("SELECT inputs FROM simulation WHERE id = ?1", [simulation], |row| {
                row.get(0)
            })
            .optional()
            .map_err(StoreError::for_action("read of the simulation"))?;
        Ok(inputs.is_some_and(|inputs| inputs.starts_with(SPLIT_RULE)))
    }

    fn sum_plan(
        &self,
        plan: &ReplayPlan,
        cells: &HashMap<i64, CellKey>,
    ) -> Result<ReplaySummary, StoreError> {
        self.sum_plan_through(plan, cells, |it| it, |it| it)
    }

    /// Sums up a plan, whose rows pass through the sources that `wrap` and `wrap_part` make: the
    /// first where all are read at once, the second where they are read in several parts.
    fn sum_plan_through<'a, S, P>(
        &'a self,
        plan: &ReplayPlan,
        cells: &'a HashMap<i64, CellKey>,
        wrap: impl Fn(RecordedUsage<'a, &'a Connection>) -> S,
        wrap_part: impl Fn(RecordedUsage<'a, Connection>) -> P,
    ) -> Result<ReplaySummary, StoreError>
    where
        S: UsageSource<Error = StoreError>,
        P: UsageSource<Error = StoreError> + Send,
    {
        let (contracts, what_if) = (&plan.contracts, &plan.what_if);
        let Some((first, last)) = invocation_scan::invocation_range(&self.connection, cells)?
        else {
            return Ok(ReplaySummary::for_contracts(contracts));
        };
        let ordered = UsageRequest::for_contracts(contracts).in_request_order;
        let parts = split_range(first, last, ordered);
        if let [only] = parts.as_slice() {
            let mut source = wrap(RecordedUsage::new(&self.connection, cells, *only));
            return replay_source(&mut source, contracts, what_if);
        }
        let reader =
            |range| Ok(wrap_part(RecordedUsage::new(self.open_another_reader()?, cells, range)));
        let sources = parts.into_iter().map(reader).collect::<Result<Vec<_>, StoreError>>()?;
        replay_sources(sources, contracts, what_if).map_err(|error| match error {
            PartError::Source(error) => error,
            PartError::Thread(text) => StoreError::NotFound(text),
        })
    }
}

/// Returns ranges of invocations, one for each thread. Rows that share an
/// instance must not be torn apart.
fn split_range(first: i64, last: i64, ordered: bool) -> Vec<(i64, i64)> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cores = i64::try_from(cores).unwrap_or(1);
    let rows = last - first + 1;
    let threads = if ordered { 1 } else { (rows / ROWS_PER_THREAD).clamp(1, cores) };
    let step = rows / threads;
    (0..threads)
        .map(|at| {
            let from = first + at * step;
            (from, if at + 1 == threads { last } else { from + step - 1 })
        })
        .collect()
}

impl Store {
    /// Returns the recordings that began at or after `since` (RFC 3339, UTC).
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn recordings_since(&self, since: &str) -> Result<Vec<i64>, StoreError> {
        self.connection
            .prepare(
                "SELECT id FROM recording WHERE started_at >= ?1 AND importing = 0 ORDER BY id",
            )
            .and_then(|mut statement| {
                statement.query_map(params![since], |row| row.get(0))?.collect()
            })
            .map_err(StoreError::for_action("search for recordings"))
    }
}
