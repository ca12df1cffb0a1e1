//! The database: opening, migrating, writing while recording, typed queries,
//! and reading by SQL.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod access;
mod busy_retry;
mod calendar;
mod cell_subject;
mod comparison_data;
mod connection_guard;
mod database_file;
mod deletion;
mod error_text;
mod event_rows;
mod failures;
mod file_watch;
mod footprint;
mod history;
mod invocation_scan;
mod lock_holders;
mod open;
mod overview;
mod part_bills;
mod playback;
mod played_part;
mod provider_rows;
mod query;
mod reader;
mod recorded_cells;
mod recovery;
mod rescue;
mod saved_amounts;
mod series;
mod simulation;
mod simulation_writer;
mod stored_words;
mod throttling;
mod trace_duplicates;
mod trace_imports;
mod trace_overview;
mod trace_rows;
mod trace_writer;
mod writer;

pub use access::is_writable;
pub use busy_retry::{NoticeCallback, RetryPolicy, WriteNotice};
pub use calendar::{CalendarPeriod, CalendarReplay, CalendarUnit};
pub use cell_subject::CellSubject;
pub use comparison_data::{
    Circumstances, ComparedMeter, PricedCell, PricedCells, RunsOfCell, UsedModel,
};
pub use deletion::DeletionExtent;
pub use footprint::StoredPart;
pub use history::{HistoryFilter, HistoryItem, HistoryReference, SimulationInfo};
pub use invocation_scan::Selection;
pub use open::{RecoveredRecording, Store, StoreError, default_path};
pub use overview::{RecordingCounts, RecordingDetails, RecordingSize, RecordingSummary};
pub use part_bills::PartBills;
pub use playback::{
    OverlapGroup, PlaybackCell, PlaybackInvocation, PlaybackLane, PlaybackRecording, PlaybackRow,
    RecordingPart,
};
pub use played_part::{CompactInvocation, CompactOption, MAX_PART_INVOCATIONS, PlayedPart};
pub use provider_rows::ProviderRow;
pub use query::{CellStats, MeterSource, RecordingRef};
pub use reader::{Datum, QueryError, QueryStop, RowSink, SeenDatum, SqlReader, ViewColumn};
pub use recorded_cells::RecordedCell;
pub use saved_amounts::{AmountKind, AmountSum};
pub use series::{CellSeries, SeriesRun, StoredLane};
pub use simulation::{BillRetention, ReplayError, ReplayPlan, SavedSimulation};
pub use throttling::ThrottlingCounts;
pub use trace_imports::{ImportedFile, TraceFile, TraceMeter, TraceOverview, UnfinishedImport};
pub use trace_overview::{FunctionRows, TraceContents, TraceLeftover};
pub use trace_writer::{FileProgress, TraceInput, TraceWriter};
pub use writer::{StoredCallback, Writer};
