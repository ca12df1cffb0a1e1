//! Replaying a recording and keeping the result.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, params};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::open::{Store, StoreError};
use super::writer::timestamp;
use crate::pricing::{Bill, PriceModel};
use crate::replay::{Key, Row, Summary};
use crate::workload::hex;

/// Why a replay could not be made or kept.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing in the recording can be billed.
    #[error(
        "recording {0} has no invocation that can be billed: it was interrupted, or nothing started"
    )]
    Empty(i64),
}

/// A replay, kept.
#[derive(Debug, Clone)]
pub struct SavedSimulation {
    /// Its number.
    pub id: i64,
    /// Whether it was kept before: same recording, same models, same bills.
    pub known: bool,
    /// The recording.
    pub recording: i64,
    /// Its totals.
    pub summary: Summary,
}

impl Store {
    /// Replays a recording through price models, in one transaction. The same
    /// replay again gives the same bills and is not kept twice.
    ///
    /// # Errors
    /// When there is nothing to bill, or the database fails; nothing is kept then.
    pub fn replay(
        &mut self,
        recording: i64,
        models: &[&PriceModel],
    ) -> Result<SavedSimulation, ReplayError> {
        let inputs = self.inputs(recording, models)?;
        let known = self
            .connection
            .query_row("SELECT id FROM simulation WHERE inputs = ?1", [&inputs], |row| row.get(0))
            .optional()
            .map_err(StoreError::sql("search for the simulation"))?;
        if let Some(id) = known {
            let summary = self.summarise(recording, models, |_, _, _| Ok(()))?;
            return Ok(SavedSimulation { id, known: true, recording, summary });
        }
        // By statements: rows are read and bills written over one connection,
        // which a `Transaction` would borrow.
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::sql("begin"))?;
        let saved = self.save(recording, models, &inputs);
        let end = if saved.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = self.connection.execute_batch(end).map_err(StoreError::sql("commit"));
        let (id, summary) = saved?;
        ended?;
        Ok(SavedSimulation { id, known: false, recording, summary })
    }

    /// Identifies what a replay depends on.
    fn inputs(&self, recording: i64, models: &[&PriceModel]) -> Result<String, StoreError> {
        let (count, newest): (i64, Option<i64>) = self
            .connection
            .query_row(
                "SELECT COUNT(*), MAX(invocation) FROM v_invocation WHERE recording = ?1",
                [recording],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .map_err(StoreError::sql("count of invocations"))?;
        let mut hasher = Sha256::new();
        hasher.update(format!("{recording} {count} {newest:?}"));
        for model in models {
            hasher.update(format!(" {} {}", model.id(), model.digest()));
        }
        Ok(hex(&hasher.finalize()))
    }

    fn summarise(
        &self,
        recording: i64,
        models: &[&PriceModel],
        mut sink: impl FnMut(&Row, &PriceModel, &Bill) -> Result<(), ReplayError>,
    ) -> Result<Summary, ReplayError> {
        let mut summary = Summary::new(models);
        self.billable(recording, |row| {
            crate::replay::bill_row(&mut summary, &row, models, &mut sink)
        })?;
        if summary.overall().invocations == 0 {
            return Err(ReplayError::Empty(recording));
        }
        Ok(summary)
    }

    fn save(
        &self,
        recording: i64,
        models: &[&PriceModel],
        inputs: &str,
    ) -> Result<(i64, Summary), ReplayError> {
        let failed = |source| StoreError::Sql { action: "write of the simulation", source };
        self.connection
            .execute(
                "INSERT INTO simulation (recording_id, created_at, inputs, invocations)
                 VALUES (?1, ?2, ?3, 0)",
                params![recording, timestamp(), inputs],
            )
            .map_err(failed)?;
        let id = self.connection.last_insert_rowid();
        for model in models {
            self.connection
                .execute(
                    "INSERT INTO simulation_model
                        (simulation_id, model, digest, currency, granularity, text)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![
                        id,
                        model.id(),
                        model.digest(),
                        model.currency(),
                        model.granularity().name(),
                        model.text()
                    ],
                )
                .map_err(failed)?;
        }
        let mut bill_of = self
            .connection
            .prepare_cached(
                "INSERT INTO bill (simulation_id, model, invocation_id, amount)
                 VALUES (?1, ?2, ?3, ?4)",
            )
            .map_err(failed)?;
        let summary = self.summarise(recording, models, |row, model, bill| {
            let amount = bill.total.to_plain_string();
            bill_of
                .execute(params![id, model.id(), row.invocation, amount])
                .map(drop)
                .map_err(|source| failed(source).into())
        })?;
        self.save_totals(id, recording, &summary).map_err(failed)?;
        Ok((id, summary))
    }

    fn save_totals(&self, id: i64, recording: i64, summary: &Summary) -> rusqlite::Result<()> {
        let cells: HashMap<Key, i64> = self
            .connection
            .prepare(
                "SELECT c.id, l.name, c.workload, c.preset, c.start
                 FROM cell c JOIN lane l ON l.id = c.lane_id WHERE c.recording_id = ?1",
            )?
            .query_map([recording], |row| {
                let text = |at: usize| Ok::<_, rusqlite::Error>(row.get_ref(at)?.as_str()?.into());
                let key =
                    Key { lane: text(1)?, workload: text(2)?, preset: text(3)?, start: text(4)? };
                Ok((key, row.get(0)?))
            })?
            .collect::<Result<_, _>>()?;
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO line_item
                (simulation_id, model, cell_id, charge, amount, invocations, refused, note)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        for (key, group) in summary.groups() {
            let Some(cell) = cells.get(key) else { continue };
            for (info, total) in summary.models().iter().zip(&group.models) {
                let refused = total.refused.keys().map(ToString::to_string).collect::<Vec<_>>();
                let refused = (!refused.is_empty()).then(|| refused.join("; "));
                let notes = total.notes.keys().map(AsRef::as_ref).collect::<Vec<&str>>().join("; ");
                for ((charge, _), sums) in info.charges.iter().zip(&total.charges) {
                    let amount = (total.billed > 0).then(|| sums.amount.to_plain_string());
                    insert.execute(params![
                        id,
                        info.id,
                        cell,
                        &**charge,
                        amount,
                        super::writer::integer(total.billed),
                        refused,
                        (!notes.is_empty()).then_some(&notes),
                    ])?;
                }
            }
        }
        self.connection.execute(
            "UPDATE simulation SET invocations = ?2 WHERE id = ?1",
            params![id, super::writer::integer(summary.overall().invocations)],
        )?;
        Ok(())
    }
}
