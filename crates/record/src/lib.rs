//! Recording: the session, its plan, scheduling of runs, sampler, and the events they produce.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod limits;
pub mod live;
mod output_comparison;
mod plan;
mod race;
mod recorder;
mod sampler;
mod scheduler;
mod session;
mod stopping_rule;
pub mod tax;
#[cfg(test)]
mod tests;
mod throttle_watch;

pub use cyclometer_workload::{
    Control, Event, MAX_RUNS, MedianPrecision, RecordingHeader, SamplerReport, Sink, SinkError,
};
pub use limits::DEMO;
pub use output_comparison::OutputComparison;
pub use plan::{Cell, Plan, PlanError, PlanRequest, Starts, check_share_fits, fresh_seed};
pub use recorder::{InvocationTally, OpenLane, Recorder, open_lanes};
pub use sampler::{Sampler, SamplerTap, Sampling};
pub use session::{RecordingSession, SessionError, SessionLanes, SessionObserver, SessionOptions};
pub use stopping_rule::StoppingRule;
