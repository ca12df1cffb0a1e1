//! Live aggregation of the running recording: events in, an immutable snapshot
//! a frame out.
//!
//! A thread of its own takes the events; whoever shows them takes the newest snapshot
//! when it needs one. Memory does not grow with the recording: it holds the newest
//! values of each cell, sums of bills, and charts of fixed length. An event
//! that finds the queue full is counted, and the count is shown.

mod chart;
mod feed;
mod quantile_window;
mod snapshot;
mod snapshot_builder;
#[cfg(test)]
mod tests;

pub use chart::{ChartedUntil, KEPT, Point, SPANS};
pub use feed::{Feed, FeedItem, LiveHandle, spawn_aggregator};
pub use quantile_window::WindowQuantiles;
pub use snapshot::{
    CellState, CellView, LaneView, LiveSnapshot, PlanView, Running, SessionPhase, StorageState,
};
pub use snapshot_builder::SnapshotBuilder;
