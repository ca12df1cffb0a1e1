//! The measurements of Long et al. 2020, "A lightweight design for serverless
//! Function-as-a-Service", made again on this machine with today's runtimes.
//!
//! ```text
//!  preset ─▶ parts (nop, cat-sync, the four benchmarks, counting) ─▶ recordings
//!  recordings ─▶ series ─▶ report: tables beside what was published, claims
//! ```
//!
//! Every part is a recording like any other, marked in its plan, so that a run
//! that was cut off goes on where it was, and every figure can be queried.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod claims;
mod footprint;
mod plan;
mod published;
pub mod rendering;
mod report;
#[cfg(test)]
mod tests;

pub use claims::{Claim, Finding, Holds, times};
pub use footprint::Footprint;
pub use plan::{MARK, Part, Preset, Run, Unfinished};
pub use published::{Published, PublishedValue};
pub use report::{BILLED, CompileRow, Figure, LaneAbout, Material, Report, Row, Table, Usd};
