//! Reading recordings and simulations for comparison.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::open::{Store, StoreError};
use super::overview::RecordingDetails;
use super::query::query_list;
use super::saved_amounts::parse_money;
use super::stored_words::read_cell_key;
use cyclometer_core::cell_key::CellKey;
use cyclometer_core::clock::{ACCOUNTING_RESOLUTION, MonotonicClock, TICK_RESOLUTION};
use cyclometer_core::invocation::StartKind;
use cyclometer_core::units::Nanos;
use cyclometer_pricing::Money;
use cyclometer_stats::Quantum;

/// Figure of an invocation that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComparedMeter {
    /// Title for people.
    pub title: &'static str,
    /// Key for programs, with the unit.
    pub key: &'static str,
    /// Name of the meter in `lane_meter`; empty for a phase, which has no
    /// source.
    pub source: &'static str,
    sql: &'static str,
}

impl ComparedMeter {
    /// All compared figures, in the order of the report. `ref_cycles` stand in
    /// where one side has no cycles.
    pub const ALL: [Self; 8] = [
        Self::new(
            "start-up",
            "startup_ns",
            "",
            "CASE WHEN create_ns IS NOT NULL OR start_ns IS NOT NULL
                THEN COALESCE(create_ns, 0) + COALESCE(start_ns, 0) END",
        ),
        Self::new("run", "run_ns", "", "run_ns"),
        Self::new("wall", "wall_ns", "wall", "wall_ns"),
        Self::new("CPU", "cpu_ns", "cpu_time", "cpu_ns"),
        Self::new("cycles", "cycles", "cycles", "cycles"),
        Self::new("TSC ticks", "ref_cycles", "ref_cycles", "ref_cycles"),
        Self::new("Wasm ops", "wasm_ops", "wasm_ops", "wasm_ops"),
        Self::new("peak mem", "memory_peak_bytes", "memory_peak", "memory_peak_bytes"),
    ];

    const fn new(
        title: &'static str,
        key: &'static str,
        source: &'static str,
        sql: &'static str,
    ) -> Self {
        Self { title, key, source, sql }
    }
}

/// Runs of a cell, with the values that are compared.
#[derive(Debug, Clone, PartialEq)]
pub struct RunsOfCell {
    /// Key of the cell.
    pub key: CellKey,
    /// Number of runs that ended well.
    pub ok: u64,
    /// Number of runs that failed or ran out of time.
    pub bad: u64,
    /// Memory that the function was given, in bytes.
    pub memory_allocated: Option<i64>,
    /// Values of each of [`ComparedMeter::ALL`], of runs that ended well, in
    /// the order of time.
    pub values: Vec<Vec<f64>>,
    /// Quantum of each of [`ComparedMeter::ALL`], where it is known.
    pub quanta: Vec<Option<Quantum>>,
}

/// Circumstances that may make recordings differ though the functions do not.
#[derive(Debug, Clone, PartialEq)]
pub struct Circumstances {
    /// Plan, machine and status of the recording.
    pub about: RecordingDetails,
    /// Name of each lane that ran, with its version and remarks.
    pub lanes: Vec<(String, String)>,
    /// Sources of each meter, by lane, kind of start and meter.
    pub sources: BTreeMap<(String, StartKind, String), String>,
}

/// Bills of a cell under one model.
#[derive(Debug, Clone, PartialEq)]
pub struct PricedCell {
    /// Key of the cell.
    pub key: CellKey,
    /// Id of the model.
    pub model: String,
    /// Currency of the bills.
    pub currency: String,
    /// Invocation and bill; floating point, for statistics only.
    pub bills: Vec<(i64, f64)>,
    /// Exact sum of the bills.
    pub total: Money,
}

/// Bills of cells under models, gathered bill by bill.
#[derive(Debug, Default)]
pub struct PricedCells(BTreeMap<PricedCellOrder, PricedCell>);

/// Workload, preset, lane, start and model: the order of the cells.
type PricedCellOrder = ([Arc<str>; 3], StartKind, String);

impl PricedCells {
    /// Adds the bill of an invocation under a model, whose id and currency are given: the
    /// number of the invocation with the bill in floating point, and the exact amount.
    pub fn add_bill(
        &mut self,
        key: &CellKey,
        (model, currency): (&str, &str),
        bill: (i64, f64),
        exact: &Money,
    ) {
        let names = [&key.workload, &key.preset, &key.lane].map(Arc::clone);
        let cell = self.0.entry((names, key.start, model.to_owned()));
        let cell = cell.or_insert_with(|| PricedCell {
            key: key.clone(),
            model: model.to_owned(),
            currency: currency.to_owned(),
            bills: Vec::new(),
            total: Money::default(),
        });
        cell.total += exact;
        cell.bills.push(bill);
    }

    /// Returns the cells by workload, preset, lane, start and model.
    #[must_use]
    pub fn into_cells(self) -> Vec<PricedCell> {
        self.0.into_values().collect()
    }
}

/// Price model in the version that a simulation used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedModel {
    /// Id of the model.
    pub model: String,
    /// Digest of its text.
    pub digest: String,
    /// Granularity: `coarse` or `fine`.
    pub granularity: String,
    /// Currency of the model.
    pub currency: String,
}

impl Circumstances {
    /// Returns the smallest meaningful value of a meter in a lane: for times
    /// read from the clock, the resolution that was measured when the recording
    /// began; for CPU time, the unit of its source. `None` for counts, and in
    /// recordings that were made before this was kept.
    #[must_use]
    pub fn meter_quantum(
        &self,
        meter: &ComparedMeter,
        lane: &str,
        start: StartKind,
    ) -> Option<Quantum> {
        let clock = || MonotonicClock::deserialize(self.about.host.get("clock")?).ok();
        if meter.key != "cpu_ns" {
            let timed = meter.key.ends_with("_ns");
            return clock()
                .filter(|_| timed)
                .map(|clock| Quantum { span: clock.quantum(), origin: "clock" });
        }
        let key = (lane.to_owned(), start, meter.source.to_owned());
        let source = self.sources.get(&key)?.trim();
        match source {
            "rusage" | "cgroup" => {
                Some(Quantum { span: ACCOUNTING_RESOLUTION, origin: "kernel's accounts" })
            }
            "procfs" => Some(Quantum { span: TICK_RESOLUTION, origin: "kernel's ticks" }),
            _ if source.starts_with("perf") => {
                let span = Nanos(clock()?.counters_ns?);
                Some(Quantum { span, origin: "counters" })
            }
            _ => None,
        }
    }
}

impl Store {
    /// Returns the circumstances of a recording.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn recording_circumstances(&self, recording: i64) -> Result<Circumstances, StoreError> {
        let about = self.recording_details(recording)?;
        let mut found = Circumstances { about, lanes: Vec::new(), sources: BTreeMap::new() };
        found.lanes = query_list(
            &self.connection,
            "list of lanes",
            "SELECT name, COALESCE(version, '') || COALESCE(', ' || note, '') FROM lane
             WHERE recording_id = ?1 AND unavailable IS NULL ORDER BY id",
            [recording],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        for source in self.meter_sources(recording)? {
            let key = (source.lane, source.start, source.meter);
            let text: &mut String = found.sources.entry(key).or_default();
            // Several sources: the source changed during the recording.
            *text = format!("{text} {}", source.source.as_deref().unwrap_or("none"));
        }
        Ok(found)
    }

    /// Returns the runs of each cell of a recording, in the order of the plan.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn cell_runs(&self, recording: i64) -> Result<Vec<RunsOfCell>, StoreError> {
        let failed = StoreError::for_action;
        let columns: Vec<_> = ComparedMeter::ALL.iter().map(|meter| meter.sql).collect();
        let sql = format!(
            "SELECT cell, workload, preset, lane, start, status, memory_allocated_bytes, {}
             FROM v_invocation WHERE recording = ?1 AND status <> 'interrupted'
             ORDER BY cell, sequence",
            columns.join(", ")
        );
        let mut statement = self.connection.prepare(&sql).map_err(failed("read of the runs"))?;
        let mut rows = statement.query([recording]).map_err(failed("read of the runs"))?;
        let mut cells: Vec<(i64, RunsOfCell)> = Vec::new();
        while let Some(row) = rows.next().map_err(failed("read of the runs"))? {
            add_run(&mut cells, row).map_err(failed("read of a run"))?;
        }
        let around = self.recording_circumstances(recording)?;
        let mut cells: Vec<RunsOfCell> = cells.into_iter().map(|(_, cell)| cell).collect();
        for cell in &mut cells {
            let (lane, start) = (&cell.key.lane, cell.key.start);
            let quantum = |meter: &ComparedMeter| around.meter_quantum(meter, lane, start);
            cell.quanta = ComparedMeter::ALL.iter().map(quantum).collect();
        }
        Ok(cells)
    }

    /// Returns the bills of a simulation, by cell and model.
    ///
    /// # Errors
    /// Fails when the database cannot be read, or holds an amount that is not a
    /// number.
    pub fn priced_cells(&self, simulation: i64) -> Result<Vec<PricedCell>, StoreError> {
        let failed = StoreError::for_action;
        let mut statement = self
            .connection
            .prepare(
                "SELECT workload, preset, lane, start, model, currency, invocation, amount
                 FROM v_bill WHERE simulation = ?1",
            )
            .map_err(failed("read of the bills"))?;
        let mut rows = statement.query([simulation]).map_err(failed("read of the bills"))?;
        let mut cells = PricedCells::default();
        while let Some(row) = rows.next().map_err(failed("read of the bills"))? {
            let text = |at| row.get::<_, String>(at).map_err(failed("read of a bill"));
            let (model, currency, amount) = (text(4)?, text(5)?, text(7)?);
            let invocation: i64 = row.get(6).map_err(failed("read of a bill"))?;
            let whose = format_args!("invocation {invocation}");
            let key = read_cell_key(row, [2, 0, 1, 3], whose);
            let key = key.map_err(failed("read of a bill"))?;
            let exact = parse_money(&amount)?;
            // Rounded to a double for the bootstrap; the sum below is exact.
            let rounded = exact.to_f64().ok_or_else(|| {
                StoreError::NotFound(format!("a bill of {amount} is too large to be compared"))
            })?;
            cells.add_bill(&key, (&model, &currency), (invocation, rounded), &exact);
        }
        let mut cells = cells.into_cells();
        for cell in &mut cells {
            cell.bills.sort_unstable_by_key(|(invocation, _)| *invocation);
        }
        Ok(cells)
    }

    /// Returns the price models of a simulation.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn used_models(&self, simulation: i64) -> Result<Vec<UsedModel>, StoreError> {
        query_list(
            &self.connection,
            "list of price models",
            "SELECT model, digest, granularity, currency FROM simulation_model
             WHERE simulation_id = ?1 ORDER BY model",
            [simulation],
            |row| {
                Ok(UsedModel {
                    model: row.get(0)?,
                    digest: row.get(1)?,
                    granularity: row.get(2)?,
                    currency: row.get(3)?,
                })
            },
        )
    }
}

fn add_run(cells: &mut Vec<(i64, RunsOfCell)>, row: &rusqlite::Row<'_>) -> rusqlite::Result<()> {
    let id: i64 = row.get(0)?;
    if cells.last().is_none_or(|(last, _)| *last != id) {
        let key = read_cell_key(row, [3, 1, 2, 4], format_args!("cell {id}"))?;
        let values = vec![Vec::new(); ComparedMeter::ALL.len()];
        let quanta = Vec::new();
        let cell = RunsOfCell { key, ok: 0, bad: 0, memory_allocated: None, values, quanta };
        cells.push((id, cell));
    }
    let Some((_, cell)) = cells.last_mut() else { return Ok(()) };
    cell.memory_allocated = cell.memory_allocated.max(row.get(6)?);
    if row.get_ref(5)?.as_str()? != "ok" {
        cell.bad += 1;
        return Ok(());
    }
    cell.ok += 1;
    for (at, values) in cell.values.iter_mut().enumerate() {
        // A double holds integers up to 2^53 exactly: times of a hundred days.
        values.extend(row.get::<_, Option<f64>>(7 + at)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stores a simulation of one bill of that amount.
    fn priced(amount: &str) -> Result<Vec<PricedCell>, StoreError> {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("c.db")).expect("made");
        store
            .connection
            .execute_batch(&format!(
                "INSERT INTO recording (id, started_at, status, owner, plan, host)
                    VALUES (1, '', 'done', '', '{{}}', '{{}}');
                 INSERT INTO lane (id, recording_id, name) VALUES (1, 1, 'native');
                 INSERT INTO cell (id, recording_id, lane_id, workload, preset, start)
                    VALUES (1, 1, 1, 'nop', 'quick', 'cold');
                 INSERT INTO invocation (id, cell_id, sequence, status, offset_ns)
                    VALUES (5, 1, 1, 'ok', 0);
                 INSERT INTO simulation (id, recording_id, created_at, inputs, invocations)
                    VALUES (1, 1, '', '', 1);
                 INSERT INTO simulation_model
                    (simulation_id, model, digest, granularity, currency, text)
                    VALUES (1, 'm', '', 'coarse', 'USD', '');
                 INSERT INTO bill (simulation_id, model, invocation_id, amount)
                    VALUES (1, 'm', 5, '{amount}');"
            ))
            .expect("filled");
        store.priced_cells(1)
    }

    #[test]
    fn an_amount_is_never_0_for_want_of_a_better_reading() {
        let bills = |amount| priced(amount).expect("read").remove(0).bills;
        assert_eq!(bills("0.0000002"), [(5, 0.000_000_2)]);
        assert_eq!(bills("0"), [(5, 0.0)]);
        // Some amounts of money cannot be read by the parser of doubles.
        assert_eq!(bills("1/4"), [(5, 0.25)]);
        for wrong in ["", "free", "1e-7", "-1"] {
            let error = priced(wrong).expect_err(wrong).to_string();
            assert!(error.contains("an amount that is none"), "{error}");
        }
        let huge = format!("1{}", "0".repeat(400));
        let error = priced(&huge).expect_err("beyond a double").to_string();
        assert!(error.ends_with("is too large to be compared"), "{error}");
    }
}
