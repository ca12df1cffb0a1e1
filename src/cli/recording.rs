//! The part of a recording that all commands share: its lanes are reported as they are
//! opened, and its session runs into the database with progress on the terminal.

use std::sync::Arc;

use parking_lot::Mutex;

use super::progress::{RecordingProgress, ShownMessages};
use super::{CommandFailure, say};
use crate::record::{
    Control, Event, InvocationTally, OutputComparison, PlanError, RecordingSession, SessionError,
    SessionObserver,
};
use crate::store::{Store, Writer};

/// Observer that reports lanes that cannot run.
#[derive(Default)]
pub(super) struct MissingLaneMessages {
    /// Whether there are any.
    pub any: bool,
}

impl SessionObserver for MissingLaneMessages {
    fn lane_opened(&mut self, event: &Event) {
        if let Event::Lane { name, unavailable: Some(reason), .. } = event {
            say(&format!("skipped: lane {name}: {reason}"));
            self.any = true;
        }
    }
}

/// Recording that was stored to its end.
pub(super) struct StoredRecording {
    /// Number of the recording.
    pub number: i64,
    pub tally: InvocationTally,
    pub store: Store,
    /// Messages that were shown while it ran.
    pub told: ShownMessages,
    /// Outputs of functions of which nothing is expected.
    pub outputs: Arc<Mutex<OutputComparison>>,
}

/// Runs a session into the database, and shows its progress.
pub(super) fn store_recording(
    session: RecordingSession,
    store: Store,
    control: impl Into<Control>,
) -> Result<StoredRecording, CommandFailure> {
    let mut progress = RecordingProgress::new(session.plan().total_runs());
    let told = progress.shown_messages();
    let outputs: Arc<Mutex<OutputComparison>> = Arc::default();
    let seen = Arc::clone(&outputs);
    let stored = Box::new(move |event: Box<Event>| {
        seen.lock().observe_event(&event);
        progress.handle_event(&event);
    });
    let mut writer =
        Writer::start(store, session.header(), stored).map_err(CommandFailure::failed)?;
    let number = writer.recording();
    let recorded = session.run(&mut writer, control, &mut ());
    let finished = writer.finish();
    let tally = recorded.map_err(CommandFailure::failed)?;
    let store = finished.map_err(CommandFailure::failed)?;
    Ok(StoredRecording { number, tally, store, told, outputs })
}

/// Converts the error of a session that cannot be opened: what is wrong with its plan is
/// wrong usage, except files that cannot be opened.
pub(super) fn session_failure(error: SessionError) -> CommandFailure {
    match error {
        SessionError::Plan(PlanError::TooFewFiles(_)) => CommandFailure::failed(error),
        SessionError::Plan(_) => CommandFailure::usage(error),
        other => CommandFailure::failed(other),
    }
}
