//! Recording: a plan, who runs when, the sampler, and the events that come of it.

mod control;
mod event;
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

pub use control::Control;
pub use event::{Event, Sink, SinkError};
pub use limits::DEMO;
pub use plan::{Cell, Plan, PlanError, PlanRequest, Starts, fresh_seed};
pub use recorder::{OpenLane, Recorder, Tally, open_lanes};
pub use sampler::{Sampler, SamplerReport, Sampling, Tap};
pub use until::{MOST_RUNS, Until, Width};
