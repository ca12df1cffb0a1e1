//! Recording: plan, scheduling of runs, sampler, and the events they produce.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod limits;
mod plan;
mod race;
mod recorder;
mod sampler;
pub mod tax;
#[cfg(test)]
mod tests;
mod throttle;
mod track;
mod until;

pub use cyclometer_workload::{Control, Event, MOST_RUNS, SamplerReport, Sink, SinkError, Width};
pub use limits::DEMO;
pub use plan::{Cell, Plan, PlanError, PlanRequest, Starts, fresh_seed};
pub use recorder::{OpenLane, Recorder, Tally, open_lanes};
pub use sampler::{Sampler, Sampling, Tap};
pub use until::Until;
