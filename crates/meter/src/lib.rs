//! Readers of perf counters, control groups, CPU quotas, memory limits, clocks and the
//! host.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]
#![expect(
    clippy::disallowed_methods,
    reason = "procfs, sysfs and control groups, which the kernel alone writes"
)]

pub mod cgroup;
pub mod clock;
pub mod function_group;
pub mod host;
pub mod memory_limit;
pub mod own_groups;
pub mod perf;
pub mod quota;
pub mod tsc;

pub use cyclometer_core::meter::*;
