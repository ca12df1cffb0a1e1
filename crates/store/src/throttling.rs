//! Counts of invocations that a CPU quota held back.

use rusqlite::OptionalExtension;

use super::invocation_scan::rows_in_order;
use super::open::{Store, StoreError};
use cyclometer_core::cpu_quota::CpuQuota;

/// Number of invocations that a CPU quota held back, among those for which this
/// is known and which had no CPU share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ThrottlingCounts {
    /// Invocations that were held back.
    pub throttled: u64,
    /// Invocations for which it is known whether they were.
    pub known: u64,
    /// CPU quota around the recorder, if there was one.
    pub quota: Option<CpuQuota>,
}

impl ThrottlingCounts {
    /// Adds the counts of other invocations of the same recording.
    pub fn add_counts(&mut self, other: &Self) {
        self.throttled += other.throttled;
        self.known += other.known;
        if self.quota.is_none() {
            self.quota.clone_from(&other.quota);
        }
    }
}

impl Store {
    /// Counts the invocations of a recording that a CPU quota held back, without those that had a
    /// share of CPUs: that is to hold them back.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn throttling_counts(&self, recording: i64) -> Result<ThrottlingCounts, StoreError> {
        let sql = format!(
            "SELECT COUNT(*) FILTER (WHERE i.throttled_ns > 0), COUNT(i.throttled_ns)
             FROM invocation i NOT INDEXED WHERE {} AND i.vcpu_allocated_milli IS NULL",
            rows_in_order("recording_id = ?1")
        );
        let count = |value: i64| u64::try_from(value).unwrap_or(0);
        let (throttled, known) = self
            .connection
            .prepare_cached(&sql)
            .and_then(|mut statement| {
                statement.query_row([recording], |row| Ok((row.get(0)?, row.get(1)?)))
            })
            .map_err(StoreError::for_action("count of throttled invocations"))?;
        let quota = self.cpu_quota(recording)?;
        Ok(ThrottlingCounts { throttled: count(throttled), known: count(known), quota })
    }

    /// Returns the CPU quota around the recorder, as the recording keeps it.
    pub(super) fn cpu_quota(&self, recording: i64) -> Result<Option<CpuQuota>, StoreError> {
        let sql = "SELECT json_extract(host, '$.cpu_quota') FROM recording WHERE id = ?1";
        let text: Option<Option<String>> = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row([recording], |row| row.get(0)).optional())
            .map_err(StoreError::for_action("read of the recording's host"))?;
        Ok(text.flatten().and_then(|text| serde_json::from_str(&text).ok()))
    }
}
