//! Live aggregation of the running recording: events in, an immutable snapshot
//! a frame out.
//!
//! A thread of its own takes the events; the screen takes the newest snapshot
//! when it draws. Memory does not grow with the recording: it holds the newest
//! values of each cell, sums of bills, and charts of fixed length. An event
//! that finds the queue full is counted, and the count is shown.

mod chart;
mod feed;
mod snapshot;
mod view;
mod window;

pub use chart::{KEPT, Known, Point, SPANS};
pub use feed::{Feed, Item, LiveHandle, start};
pub use snapshot::{
    CellState, CellView, LaneView, Phase, PlanView, Running, Snapshot, StorageState,
};
pub use view::View;
pub use window::Quantiles;
