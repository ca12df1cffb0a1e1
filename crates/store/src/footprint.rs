//! What footprints consist of.

use super::open::{Store, StoreError};
use super::query::list;
use cyclometer_core::units::Bytes;

/// A part of the footprint of one or several workloads in a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPart {
    /// The lane.
    pub lane: String,
    /// The workloads that have it, with commas between them.
    pub workloads: String,
    /// What it is.
    pub name: String,
    /// Its size.
    pub bytes: Bytes,
}

impl Store {
    /// The parts of all footprints of a recording, each once a lane.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn footprints(&self, recording: i64) -> Result<Vec<StoredPart>, StoreError> {
        list(
            &self.connection,
            "list of footprints",
            "SELECT lane, GROUP_CONCAT(DISTINCT workload), name, bytes
             FROM v_footprint WHERE recording = ?1
             GROUP BY lane, name, bytes ORDER BY MIN(cell), MIN(position)",
            [recording],
            |row| {
                let bytes: i64 = row.get(3)?;
                Ok(StoredPart {
                    lane: row.get(0)?,
                    workloads: row.get(1)?,
                    name: row.get(2)?,
                    bytes: Bytes(u64::try_from(bytes).unwrap_or(0)),
                })
            },
        )
    }
}
