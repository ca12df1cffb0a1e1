//! The database: opening, migrating, writing while recording, typed queries,
//! and reading by SQL.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod access;
mod compare;
mod delete;
mod entry;
mod failures;
mod file;
mod footprint;
mod guard;
mod history;
mod holders;
mod keep;
mod open;
mod overview;
mod patience;
mod playback;
mod query;
mod reader;
mod recorded;
mod recover;
mod rescue;
mod saved;
mod scan;
mod series;
mod simulation;
mod subject;
mod throttling;
mod watch;
mod words;
mod writer;

pub use access::is_writable;
pub use compare::{Circumstances, ComparedMeter, PricedCell, RunsOfCell, UsedModel};
pub use delete::Extent;
pub use footprint::StoredPart;
pub use history::{Filter, Item, RecordingInfo, Reference, SimulationInfo};
pub use open::{Recovered, Store, StoreError, default_path};
pub use overview::{RecordingAbout, RecordingHead, Size, Tally};
pub use patience::{Notice, Patience, Tell};
pub use playback::{
    PlayedCell, PlayedInvocation, PlayedLane, PlayedRecording, PlayedRow, RecordingPart, Tangle,
};
pub use query::{CellStats, MeterSource, RecordingRef};
pub use reader::{Datum, QueryError, Reader, SeenDatum, Sink as RowSink, Stop, ViewColumn};
pub use recorded::RecordedCell;
pub use saved::{Amounts, Part};
pub use scan::Selection;
pub use series::{Planned, Run, Series, StoredLane};
pub use simulation::{Bills, ReplayError, ReplayPlan, SavedSimulation};
pub use subject::Subject;
pub use throttling::Throttling;
pub use writer::{RecordingHeader, Stored, Writer};
