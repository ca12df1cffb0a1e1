//! Inserting the rows of a recording: one or several for each event.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, Transaction, params};

use super::cell_subject;
use super::open::StoreError;
use cyclometer_core::meter::{Meter, Provenances};
use cyclometer_core::units::Nanos;
use cyclometer_workload::{Event, SamplerReport};
use cyclometer_workload::{Job, Outcome, Sample, Status};

/// Statements of the hot path, prepared once for each connection.
pub(super) struct Statements<'a> {
    invocation: CachedStatement<'a>,
    /// Numbers that are bound to the parameters of `invocation`, from the first on: one that stays
    /// the same is not bound again.
    bound: [Option<i64>; INVOCATION_PARAMETERS],
    /// Status and reason that are bound.
    status: Option<Status>,
    has_reason: bool,
    sample: CachedStatement<'a>,
}

impl<'a> Statements<'a> {
    pub fn prepare(connection: &'a Connection) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Sql { action: "preparation of a statement", source };
        let mut invocation = connection.prepare_cached(INSERT_INVOCATION).map_err(failed)?;
        invocation.clear_bindings();
        Ok(Self {
            invocation,
            bound: [None; INVOCATION_PARAMETERS],
            status: None,
            has_reason: false,
            sample: connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO sample (invocation_id, at_ns, meter, value)
                     VALUES (?1, ?2, ?3, ?4)",
                )
                .map_err(failed)?,
        })
    }
}

impl Statements<'_> {
    fn insert_invocation(
        &mut self,
        cell: i64,
        sequence: u32,
        began: Nanos,
        outcome: &Outcome,
    ) -> rusqlite::Result<()> {
        let usage = &outcome.usage;
        let phases = &usage.phases;
        let nanos = |span: Option<Nanos>| span.map(|span| to_sql_integer(span.0));
        self.bind_number(1, Some(cell))?;
        self.bind_number(2, Some(sequence.into()))?;
        if self.status != Some(outcome.status) {
            self.invocation.raw_bind_parameter(3, outcome.status.label())?;
            self.status = Some(outcome.status);
        }
        if self.has_reason || outcome.reason.is_some() {
            self.invocation.raw_bind_parameter(4, outcome.reason.as_deref())?;
            self.has_reason = outcome.reason.is_some();
        }
        self.bind_number(5, outcome.exit_code.map(i64::from))?;
        let offset = outcome.requested.saturating_since(began);
        self.bind_number(6, Some(to_sql_integer(offset.0)))?;
        let spans = [phases.create, phases.start, phases.run, phases.teardown];
        for (index, span) in (7..).zip(spans) {
            self.bind_number(index, nanos(span))?;
        }
        self.bind_number(11, outcome.output.map(|output| to_sql_integer(output.bytes)))?;
        self.bind_number(12, usage.counter_coverage_ppm.map(i64::from))?;
        for (index, (meter, _)) in (13..).zip(COLUMNS) {
            self.bind_number(index, usage.get(meter).map(to_sql_integer))?;
        }
        let parts = [phases.deserialize, phases.instantiate, phases.release];
        for (index, part) in (13 + COLUMNS.len()..).zip(parts) {
            self.bind_number(index, nanos(part))?;
        }
        self.invocation.raw_execute().map(drop)
    }

    /// Binds a number to a parameter, or its absence, unless it is bound already.
    fn bind_number(&mut self, index: usize, value: Option<i64>) -> rusqlite::Result<()> {
        if let Some(bound) = self.bound.get_mut(index - 1)
            && *bound != value
        {
            self.invocation.raw_bind_parameter(index, value)?;
            *bound = value;
        }
        Ok(())
    }
}

/// Number of parameters of [`INSERT_INVOCATION`].
const INVOCATION_PARAMETERS: usize = 15 + COLUMNS.len();

const INSERT_INVOCATION: &str = "INSERT INTO invocation (
    cell_id, sequence, status, reason, exit_code, offset_ns,
    create_ns, start_ns, run_ns, teardown_ns, output_bytes, counter_coverage_ppm,
    wall_ns, cpu_ns, cpu_user_ns, cpu_system_ns, cpu_startup_ns, throttled_ns,
    cycles, ref_cycles, instructions,
    branch_misses, cache_misses, wasm_ops, page_faults, context_switches, migrations,
    memory_peak_bytes, memory_startup_bytes, linear_memory_bytes, memory_grow_failed,
    memory_allocated_bytes, vcpu_allocated_milli, memory_time_byte_ms, io_read_bytes, io_write_bytes, deserialize_ns, instantiate_ns, release_ns)
  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
    ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34,
    ?35, ?36, ?37, ?38, ?39)";

/// Meters in the order of their columns in [`INSERT_INVOCATION`].
pub(super) const COLUMNS: [(Meter, &str); 24] = [
    (Meter::Wall, "wall_ns"),
    (Meter::CpuTime, "cpu_ns"),
    (Meter::CpuUser, "cpu_user_ns"),
    (Meter::CpuSystem, "cpu_system_ns"),
    (Meter::CpuStartup, "cpu_startup_ns"),
    (Meter::Throttled, "throttled_ns"),
    (Meter::Cycles, "cycles"),
    (Meter::RefCycles, "ref_cycles"),
    (Meter::Instructions, "instructions"),
    (Meter::BranchMisses, "branch_misses"),
    (Meter::CacheMisses, "cache_misses"),
    (Meter::WasmOps, "wasm_ops"),
    (Meter::PageFaults, "page_faults"),
    (Meter::ContextSwitches, "context_switches"),
    (Meter::Migrations, "migrations"),
    (Meter::MemoryPeak, "memory_peak_bytes"),
    (Meter::MemoryStartup, "memory_startup_bytes"),
    (Meter::LinearMemory, "linear_memory_bytes"),
    (Meter::MemoryGrowFailed, "memory_grow_failed"),
    (Meter::MemoryAllocated, "memory_allocated_bytes"),
    (Meter::VcpuAllocated, "vcpu_allocated_milli"),
    (Meter::MemoryTime, "memory_time_byte_ms"),
    (Meter::IoRead, "io_read_bytes"),
    (Meter::IoWrite, "io_write_bytes"),
];

/// SQL condition: an invocation of `recording` ended by itself, well or not.
pub(super) const HAS_FINISHED: &str = "EXISTS (SELECT 1 FROM cell c
    JOIN invocation i ON i.cell_id = c.id
    WHERE c.recording_id = recording.id AND c.importing = 0 AND i.status <> 'interrupted')";

#[derive(Debug, Clone)]
struct CellIds {
    id: i64,
    lane: i64,
    start: &'static str,
    /// Sources that are in `lane_meter` already.
    stored_sources: Option<Arc<Provenances>>,
}

/// Row ids of the lanes and cells that were inserted. A transaction works on a
/// copy, which is dropped with it if it fails.
#[derive(Debug, Clone)]
pub(super) struct RowIds {
    recording: i64,
    began: Nanos,
    lanes: HashMap<String, i64>,
    cells: HashMap<usize, CellIds>,
}

impl RowIds {
    /// Creates an empty set of ids for a recording that began at that moment.
    pub fn new(recording: i64, began: Nanos) -> Self {
        Self { recording, began, lanes: HashMap::new(), cells: HashMap::new() }
    }

    /// Creates an empty set of ids for the same recording under another number.
    pub(crate) fn for_another(&self, recording: i64) -> Self {
        Self::new(recording, self.began)
    }

    /// Returns the number of the recording.
    pub const fn recording(&self) -> i64 {
        self.recording
    }

    /// Deletes the recording if it has ended and no invocation had finished:
    /// there is nothing to show, to compare or to bill.
    pub(crate) fn delete_if_empty(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = format!(
            "DELETE FROM recording WHERE id = ?1 AND status <> 'running' AND NOT {HAS_FINISHED}"
        );
        connection.execute(&sql, [self.recording]).map(drop)
    }

    /// Inserts the rows of an event.
    pub(crate) fn insert_event(
        &mut self,
        transaction: &Transaction<'_>,
        statements: &mut Statements<'_>,
        event: &Event,
    ) -> rusqlite::Result<()> {
        match event {
            Event::Lane { name, version, note, unavailable } => {
                transaction.execute(
                    "INSERT INTO lane (recording_id, name, version, note, unavailable)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![self.recording, name, version, note, unavailable],
                )?;
                self.lanes.insert(name.clone(), transaction.last_insert_rowid());
                Ok(())
            }
            Event::Cell { lane, job } => self.insert_cell(transaction, lane, job),
            Event::Preparing { .. }
            | Event::Started { .. }
            | Event::WarmedUp { .. }
            | Event::PrecisionChecked { .. } => Ok(()),
            Event::Prepared { cell, result } => self.update_prepared(transaction, *cell, result),
            Event::Finished { cell, sequence, outcome, samples } => {
                self.insert_invocation(transaction, statements, *cell, *sequence, outcome, samples)
            }
            Event::Ended { status, sampler } => {
                self.update_ended(transaction, *status, sampler.as_ref())
            }
        }
    }

    fn insert_cell(
        &mut self,
        transaction: &Transaction<'_>,
        lane: &str,
        job: &Job,
    ) -> rusqlite::Result<()> {
        let lane = self.lanes.get(lane).copied().ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        let start = job.start.label();
        transaction.execute(
            "INSERT INTO cell (recording_id, lane_id, workload, preset, start)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![self.recording, lane, job.workload.name, job.preset.name, start],
        )?;
        let id = transaction.last_insert_rowid();
        cell_subject::insert_subject(transaction, id, job)?;
        self.cells.insert(job.cell, CellIds { id, lane, start, stored_sources: None });
        Ok(())
    }

    fn update_prepared(
        &self,
        transaction: &Transaction<'_>,
        cell: usize,
        result: &Result<cyclometer_workload::Prepared, String>,
    ) -> rusqlite::Result<()> {
        let Some(ids) = self.cells.get(&cell) else { return Ok(()) };
        match result {
            Ok(prepared) => {
                let notes = prepared.notes.join("; ");
                transaction.execute(
                    "UPDATE cell SET footprint_bytes = ?2, footprint_of = ?3, wasm_ops = ?4,
                        note = ?5 WHERE id = ?1",
                    params![
                        ids.id,
                        prepared.footprint.map(|size| to_sql_integer(size.0)),
                        prepared.footprint_of,
                        prepared.wasm_ops.map(to_sql_integer),
                        (!notes.is_empty()).then_some(notes),
                    ],
                )?;
                for (index, took) in prepared.compiles.iter().enumerate() {
                    transaction.execute(
                        "INSERT INTO compile (cell_id, sequence, duration_ns) VALUES (?1, ?2, ?3)",
                        params![ids.id, to_sql_integer(index as u64 + 1), to_sql_integer(took.0)],
                    )?;
                }
                for (position, part) in prepared.parts.iter().enumerate() {
                    transaction.execute(
                        "INSERT INTO footprint (cell_id, position, name, kind, bytes)
                         VALUES (?1, ?2, ?3, ?4, ?5)",
                        params![
                            ids.id,
                            to_sql_integer(position as u64),
                            part.name,
                            part.kind.label(),
                            to_sql_integer(part.bytes.0)
                        ],
                    )?;
                }
                if let Some(took) = prepared.took {
                    transaction.execute(
                        "INSERT INTO phase (cell_id, name, duration_ns) VALUES (?1, 'prepare', ?2)",
                        params![ids.id, to_sql_integer(took.0)],
                    )?;
                }
            }
            Err(reason) => {
                transaction
                    .execute("UPDATE cell SET note = ?2 WHERE id = ?1", params![ids.id, reason])?;
            }
        }
        Ok(())
    }

    fn insert_invocation(
        &mut self,
        transaction: &Transaction<'_>,
        statements: &mut Statements<'_>,
        cell: usize,
        sequence: u32,
        outcome: &Outcome,
        samples: &[Sample],
    ) -> rusqlite::Result<()> {
        let Some(ids) = self.cells.get_mut(&cell) else { return Ok(()) };
        statements.insert_invocation(ids.id, sequence, self.began, outcome)?;
        let invocation = transaction.last_insert_rowid();
        for sample in samples {
            let at = to_sql_integer(sample.at.saturating_since(outcome.requested).0);
            statements.sample.execute(params![
                invocation,
                at,
                sample.meter.name(),
                to_sql_integer(sample.value)
            ])?;
        }
        ids.insert_sources(transaction, &outcome.provenances)
    }

    fn update_ended(
        &self,
        transaction: &Transaction<'_>,
        status: Status,
        sampler: Option<&SamplerReport>,
    ) -> rusqlite::Result<()> {
        let status = match status {
            Status::Ok => "done",
            Status::Interrupted => "interrupted",
            Status::Failed | Status::Timeout => "failed",
        };
        transaction.execute(
            "UPDATE recording SET status = ?2, ended_at = ?3, sampler_cpu_ns = ?4,
                sampler_ticks = ?5, samples_dropped = ?6 WHERE id = ?1",
            params![
                self.recording,
                status,
                current_timestamp(),
                sampler.map(|report| to_sql_integer(report.cpu.0)),
                sampler.map(|report| to_sql_integer(report.ticks)),
                sampler.map_or(0, |report| to_sql_integer(report.dropped)),
            ],
        )?;
        Ok(())
    }
}

impl CellIds {
    /// Inserts the provenances of the meters, unless they are stored already.
    fn insert_sources(
        &mut self,
        transaction: &Transaction<'_>,
        all: &Arc<Provenances>,
    ) -> rusqlite::Result<()> {
        let known = self
            .stored_sources
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, all) || known == all);
        if known {
            return Ok(());
        }
        let mut insert = transaction.prepare_cached(
            "INSERT OR IGNORE INTO lane_meter (lane_id, start, meter, source, note, user_only)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS (
                SELECT 1 FROM lane_meter WHERE lane_id = ?1 AND start = ?2 AND meter = ?3
                AND source IS ?4 AND note = ?5)",
        )?;
        for (meter, provenance) in all.iter() {
            let source = provenance.source.map(cyclometer_core::meter::Source::label);
            insert.execute(params![
                self.lane,
                self.start,
                meter.name(),
                source,
                provenance.note,
                provenance.user_only
            ])?;
        }
        self.stored_sources = Some(Arc::clone(all));
        Ok(())
    }
}

/// Converts to the signed integers of `SQLite`; no meter comes near the limit.
pub(super) fn to_sql_integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Returns the current time in UTC, RFC 3339, to the millisecond.
pub(super) fn current_timestamp() -> String {
    humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string()
}
