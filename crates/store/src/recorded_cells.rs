//! Cells that a recording was meant to run, whether they ran or not.

use super::open::{Store, StoreError};
use super::query::query_list;
use super::stored_words::read_start;
use cyclometer_core::invocation::StartKind;

/// Cell of a recording; a lane without cells has one without a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedCell {
    /// Name of the lane.
    pub lane: String,
    /// Reason why the lane could not run.
    pub unavailable: Option<String>,
    /// Name of the workload.
    pub workload: Option<String>,
    /// Kind of start.
    pub start: Option<StartKind>,
    /// Remarks, or the reason why the cell could not be prepared.
    pub note: Option<String>,
}

impl Store {
    /// Returns all lanes of a recording with their cells, in the order of the
    /// plan.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn recorded_cells(&self, recording: i64) -> Result<Vec<RecordedCell>, StoreError> {
        query_list(
            &self.connection,
            "list of cells",
            "SELECT l.name, l.unavailable, c.workload, c.start, c.note
             FROM lane l LEFT JOIN cell c ON c.lane_id = l.id
             WHERE l.recording_id = ?1 ORDER BY l.id, c.id",
            [recording],
            |row| {
                let lane: String = row.get(0)?;
                let workload: Option<String> = row.get(2)?;
                let start = workload
                    .as_ref()
                    .map(|workload| read_start(row, 3, format_args!("{workload} in lane {lane}")));
                Ok(RecordedCell {
                    lane,
                    unavailable: row.get(1)?,
                    workload,
                    start: start.transpose()?,
                    note: row.get(4)?,
                })
            },
        )
    }
}
