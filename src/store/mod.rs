//! The database: opening, migrating, writing while recording, and typed queries.

mod open;
mod query;
mod simulation;
mod writer;

pub use open::{Recovered, Store, StoreError, default_path};
pub use query::{CellStats, MeterSource, RecordingInfo, RecordingRef, SimulationInfo};
pub use simulation::{ReplayError, SavedSimulation};
pub use writer::{RecordingHeader, Stored, Writer};
