//! Deleting recordings and simulations, with all rows that belong to them.

use rusqlite::params;

use super::history::HistoryItem;
use super::open::{Store, StoreError};

/// Number of rows that are deleted in less time than a recording waits for the
/// database.
const MAX_QUICK_ROWS: i64 = 500_000;

/// Number of rows that a deletion removes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeletionExtent {
    /// Recordings.
    pub recordings: i64,
    /// Traces.
    pub traces: i64,
    /// Invocations of the recordings and traces.
    pub invocations: i64,
    /// Samples of the invocations.
    pub samples: i64,
    /// Simulations, including those of the recordings.
    pub simulations: i64,
    /// Bills of the simulations.
    pub bills: i64,
}

impl DeletionExtent {
    const fn deleted_rows(&self) -> i64 {
        self.invocations + self.samples + self.bills
    }
}

/// Recordings and simulations to delete, as temporary tables: lists of any
/// length, which every statement here can read.
const CREATE_DELETION_TABLES: &str =
    "CREATE TEMP TABLE IF NOT EXISTS doomed_recording (id INTEGER PRIMARY KEY);
    CREATE TEMP TABLE IF NOT EXISTS doomed_simulation (id INTEGER PRIMARY KEY);
    DELETE FROM doomed_recording;
    DELETE FROM doomed_simulation;";

impl Store {
    /// Counts the rows that deleting `items` would remove. A simulation goes
    /// with any of its recordings: without it, its totals would be wrong.
    ///
    /// # Errors
    /// Fails when one of the recordings is running, or the database fails.
    pub fn deletion_extent(&self, items: &[HistoryItem]) -> Result<DeletionExtent, StoreError> {
        let failed = StoreError::for_action;
        self.connection
            .execute_batch(CREATE_DELETION_TABLES)
            .map_err(failed("list of what to delete"))?;
        for item in items {
            let (sql, id) = match item {
                HistoryItem::Recording(id) => {
                    ("INSERT OR IGNORE INTO doomed_recording VALUES (?1)", id)
                }
                HistoryItem::Simulation(id) => {
                    ("INSERT OR IGNORE INTO doomed_simulation VALUES (?1)", id)
                }
            };
            self.connection.execute(sql, params![id]).map_err(failed("list of what to delete"))?;
        }
        self.connection
            .execute_batch(
                "INSERT OR IGNORE INTO doomed_simulation SELECT id FROM simulation
                    WHERE recording_id IN (SELECT id FROM doomed_recording);
                 INSERT OR IGNORE INTO doomed_simulation SELECT simulation_id
                    FROM simulation_recording
                    WHERE recording_id IN (SELECT id FROM doomed_recording);",
            )
            .map_err(failed("list of what to delete"))?;
        let count = |sql: &str| {
            self.connection
                .query_row(sql, [], |row| row.get::<_, i64>(0))
                .map_err(failed("count of what to delete"))
        };
        if let Some(running) =
            self.find_running_recording("id IN (SELECT id FROM doomed_recording)")?
        {
            return Err(StoreError::NotFound(format!(
                "recording {running} is still being made: stop it first, or wait for its end"
            )));
        }
        Ok(DeletionExtent {
            recordings: count(
                "SELECT COUNT(*) FROM doomed_recording d LEFT JOIN recording r ON r.id = d.id
                 WHERE r.kind IS NOT 'trace'",
            )?,
            traces: count(
                "SELECT COUNT(*) FROM doomed_recording d JOIN recording r ON r.id = d.id
                 WHERE r.kind = 'trace'",
            )?,
            invocations: count(
                "SELECT COUNT(*) FROM doomed_recording d JOIN cell c ON c.recording_id = d.id
                 JOIN invocation i ON i.cell_id = c.id",
            )?,
            samples: count(
                "SELECT COUNT(*) FROM doomed_recording d JOIN cell c ON c.recording_id = d.id
                 JOIN invocation i ON i.cell_id = c.id JOIN sample s ON s.invocation_id = i.id",
            )?,
            simulations: count("SELECT COUNT(*) FROM doomed_simulation")?,
            bills: count(
                "SELECT COUNT(*) FROM doomed_simulation d JOIN bill b ON b.simulation_id = d.id",
            )?,
        })
    }

    /// Deletes `items` and all rows that belong to them, all or nothing.
    ///
    /// # Errors
    /// Fails like [`Self::deletion_extent`], and when there is so much to delete that
    /// another recording, which is running, would fail while it waits. Nothing
    /// is deleted then.
    pub fn delete_items(&self, items: &[HistoryItem]) -> Result<DeletionExtent, StoreError> {
        self.retry_while_busy(|| self.delete_once(items))
    }

    fn delete_once(&self, items: &[HistoryItem]) -> Result<DeletionExtent, StoreError> {
        let failed = StoreError::for_action;
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(failed("deletion"))?;
        // Counted within the transaction, so that a recording that began
        // meanwhile is seen.
        let deleted = self.deletion_extent(items).and_then(|extent| {
            if extent.deleted_rows() > MAX_QUICK_ROWS {
                self.ensure_nothing_runs("so much cannot be deleted beside it")?;
            }
            self.connection
                .execute_batch(
                    "DELETE FROM simulation WHERE id IN (SELECT id FROM doomed_simulation);
                     DELETE FROM recording WHERE id IN (SELECT id FROM doomed_recording);",
                )
                .map_err(failed("deletion"))?;
            Ok(extent)
        });
        let end = if deleted.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = self.connection.execute_batch(end).map_err(failed("deletion"));
        let extent = deleted?;
        ended?;
        Ok(extent)
    }

    /// Checks that no recording is running.
    ///
    /// # Errors
    /// Fails when one is, or the database cannot be read.
    pub fn ensure_nothing_runs(&self, because: &str) -> Result<(), StoreError> {
        match self.find_running_recording("1")? {
            None => Ok(()),
            Some(running) => Err(StoreError::NotFound(format!(
                "recording {running} is being made, and {because}: wait for its end"
            ))),
        }
    }

    fn find_running_recording(&self, which: &str) -> Result<Option<i64>, StoreError> {
        self.connection
            .query_row(
                &format!("SELECT MIN(id) FROM recording WHERE status = 'running' AND {which}"),
                [],
                |row| row.get(0),
            )
            .map_err(StoreError::for_action("search for running recordings"))
    }

    /// Returns the number of unused bytes in the file; new rows fill them
    /// first.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        let value =
            |name| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        value("freelist_count")
            .and_then(|pages| Ok((pages * value("page_size")?).unsigned_abs()))
            .map_err(StoreError::for_action("count of free pages"))
    }

    /// Rewrites the file without its unused pages, and returns the space to the
    /// disk. Needs as much space again while it runs.
    ///
    /// # Errors
    /// Fails when a recording is running, another program reads the database,
    /// or the disk is full; the database is unchanged then.
    pub fn compact(&self) -> Result<(), StoreError> {
        self.ensure_nothing_runs("it would fail while the file is written anew")?;
        self.connection
            .execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")
            .map_err(StoreError::for_action("compaction"))
    }
}
