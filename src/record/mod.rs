//! Recording: a plan, who runs when, the sampler, and the events that come of it.

mod event;
pub mod limits;
mod plan;
mod recorder;
mod sampler;

pub use limits::DEMO;
pub use event::{Event, Sink, SinkError};
pub use plan::{Plan, PlanError, PlanRequest, Starts};
pub use recorder::{OpenLane, Recorder, Tally, open_lanes};
pub use sampler::{Sampler, SamplerReport};
