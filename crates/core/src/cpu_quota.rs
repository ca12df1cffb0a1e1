//! CPU quotas, as recordings keep them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Limit of the CPU time that a control group may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuQuota {
    /// Name of the group, as `/a/b`.
    pub group: String,
    /// Microseconds of CPU time in each period.
    pub quota_us: u64,
    /// Microseconds from one period to the next.
    pub period_us: u64,
}

impl CpuQuota {
    /// Returns the quota in thousandths of a CPU.
    #[must_use]
    pub const fn milli_cpus(&self) -> u64 {
        match self.quota_us.saturating_mul(1_000).checked_div(self.period_us) {
            Some(share) => share,
            None => u64::MAX,
        }
    }

    /// Returns whether its share of CPUs is smaller than that of `other`.
    #[must_use]
    pub fn is_tighter(&self, other: &Self) -> bool {
        u128::from(self.quota_us) * u128::from(other.period_us)
            < u128::from(other.quota_us) * u128::from(self.period_us)
    }
}

impl fmt::Display for CpuQuota {
    /// Writes `0.2 CPUs (cgroup /trial)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = self.milli_cpus();
        let decimals = format!("{}.{:03}", share / 1_000, share % 1_000);
        let short = decimals.trim_end_matches('0').trim_end_matches('.');
        let noun = if share == 1_000 { "CPU" } else { "CPUs" };
        write!(f, "{short} {noun} (cgroup {})", self.group)
    }
}
