//! The database: opening, migrating, writing while recording, and typed queries.

mod keep;
mod open;
mod query;
mod scan;
mod simulation;
mod writer;

pub use open::{Recovered, Store, StoreError, default_path};
pub use query::{CellStats, MeterSource, RecordingInfo, RecordingRef, SimulationInfo};
pub use scan::Selection;
pub use simulation::{Bills, ReplayError, ReplayPlan, SavedSimulation};
pub use writer::{RecordingHeader, Stored, Writer};
