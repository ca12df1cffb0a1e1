//! Footprints of recorded workloads, part by part.

use super::open::{Store, StoreError};
use super::query::query_list;
use cyclometer_core::units::Bytes;

/// Part of the footprint of one or several workloads in a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPart {
    /// Name of the lane.
    pub lane: String,
    /// Workloads that have the part, separated by commas.
    pub workloads: String,
    /// Name of the part.
    pub name: String,
    /// Size of the part.
    pub bytes: Bytes,
}

impl Store {
    /// Returns the parts of all footprints of a recording, each once for a
    /// lane.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn footprint_parts(&self, recording: i64) -> Result<Vec<StoredPart>, StoreError> {
        query_list(
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
