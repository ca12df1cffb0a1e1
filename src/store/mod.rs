//! The database: opening, migrating, writing while recording, typed queries, and
//! reading by SQL.

mod compare;
mod delete;
mod history;
mod keep;
mod open;
mod playback;
mod query;
mod reader;
mod saved;
mod scan;
mod simulation;
mod writer;

pub use compare::{Circumstances, ComparedMeter, PricedCell, RunsOfCell, UsedModel};
pub use delete::Extent;
pub use history::{Filter, Item, RecordingInfo, Reference, SimulationInfo};
pub use open::{Recovered, Store, StoreError, default_path};
pub use playback::{
    PlayedCell, PlayedInvocation, PlayedLane, PlayedRecording, PlayedRow, RecordingPart, Tangle,
};
pub use query::{CellStats, MeterSource, RecordingRef};
pub use reader::{Datum, QueryError, Reader, Sink as RowSink, Stop, ViewColumn};
pub use saved::{Amounts, Part};
pub use scan::Selection;
pub use simulation::{Bills, ReplayError, ReplayPlan, SavedSimulation};
pub use writer::{RecordingHeader, Stored, Writer};
