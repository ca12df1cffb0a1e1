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

pub use claims::{Claim, ClaimFinding, ClaimVerdict, format_ratio};
pub use footprint::LaneFootprint;
pub use plan::{MARK, PaperPart, PaperPreset, PaperRun, UnfinishedPart};
pub use published::{Published, PublishedValue};
pub use report::{
    BILLED, CompileRow, MeanBills, PaperLane, PaperReport, PaperRow, PaperTable, ReportMaterial,
    TimeFigure,
};
