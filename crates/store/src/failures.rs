//! Reasons why cells have no bill, or only bills of failures.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, params};

use super::invocation_scan::{self, BILLABLE, Selection};
use super::open::{Store, StoreError};
use cyclometer_replay::CellKey;

impl Store {
    /// Returns the reason of the first failure of each selected cell that
    /// `wanted` accepts.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn first_failures(
        &self,
        selection: &Selection,
        wanted: impl Fn(&CellKey) -> bool,
    ) -> Result<HashMap<CellKey, String>, StoreError> {
        let mut cells: Vec<_> =
            invocation_scan::select_cells(&self.connection, selection)?.into_iter().collect();
        cells.sort_unstable_by_key(|(cell, _)| *cell);
        let mut reasons = HashMap::new();
        for (cell, key) in cells.into_iter().filter(|(_, key)| wanted(key)) {
            if let Some(reason) = self.first_failure(cell)? {
                reasons.entry(key).or_insert(reason);
            }
        }
        Ok(reasons)
    }

    fn first_failure(&self, cell: i64) -> Result<Option<String>, StoreError> {
        let reason: Option<Option<String>> = self
            .connection
            .query_row(
                "SELECT reason FROM invocation
                 WHERE cell_id = ?1 AND status IN ('failed', 'timeout') AND reason IS NOT NULL
                 ORDER BY sequence LIMIT 1",
                [cell],
                |row| row.get(0),
            )
            .optional()
            .map_err(StoreError::for_action("search for a failure"))?;
        Ok(reason.flatten())
    }

    /// Returns the selected cells without any invocation that could be billed,
    /// and the reason, in the order of the plan.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn cells_without_runs(
        &self,
        selection: &Selection,
    ) -> Result<Vec<(CellKey, String)>, StoreError> {
        let failed = StoreError::for_action("search for cells without runs");
        let mut cells: Vec<_> =
            invocation_scan::select_cells(&self.connection, selection)?.into_iter().collect();
        cells.sort_unstable_by_key(|(cell, _)| *cell);
        let sql = format!(
            "SELECT note FROM cell WHERE id = ?1
             AND NOT EXISTS (SELECT 1 FROM invocation WHERE cell_id = ?1 AND {BILLABLE})"
        );
        let mut statement = self.connection.prepare(&sql).map_err(failed)?;
        let mut found = Vec::new();
        for (cell, key) in cells {
            let note: Option<Option<String>> = statement
                .query_row(params![cell], |row| row.get(0))
                .optional()
                .map_err(StoreError::for_action("search for cells without runs"))?;
            let Some(note) = note else { continue };
            let why = self.first_failure(cell)?.or(note);
            let why = why.unwrap_or_else(|| "no invocation has run to its end".to_owned());
            found.push((key, why));
        }
        Ok(found)
    }
}
