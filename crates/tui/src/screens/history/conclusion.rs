//! Conclusion of a recording: what it shows, in sentences, once it is over.

use super::{HistoryRequest, HistoryState};
use crate::action::Effect;
use crate::model::{Model, TuiSettings};
use crate::overlay::Overlay;
use crate::screens::{ListedScreen, ScreenId};
use cyclometer_record::live::SessionPhase;
use cyclometer_report::answer;
use cyclometer_store::{Store, StoreError};

/// Requests the conclusion of the recording that has just ended, once, as soon
/// as nothing prevents it from being shown.
pub(crate) fn request_conclusion(model: &mut Model) -> Vec<Effect> {
    let over = matches!(model.snapshot.phase, SessionPhase::Ended { .. });
    match model.snapshot.recording.filter(|_| over && can_show(model)) {
        Some(recording) if model.screens.history.concluded != Some(recording) => {
            model.screens.history.concluded = Some(recording);
            vec![HistoryState::query(HistoryRequest::Conclude { recording })]
        }
        _ => Vec::new(),
    }
}

/// Returns whether the live screen is shown without an overlay.
fn can_show(model: &Model) -> bool {
    model.overlay.is_none() && model.screen == ScreenId::Live
}

/// Shows the conclusion above the live screen; if something else is open by
/// then, it is requested again later.
pub(crate) fn show_conclusion(model: &mut Model, recording: i64, result: Result<String, String>) {
    if model.snapshot.recording != Some(recording) {
        return;
    }
    if !can_show(model) {
        model.screens.history.concluded = None;
        return;
    }
    let Some(text) = result.ok().filter(|text| !text.is_empty()) else { return };
    let title = format!("recording {recording}: what it shows");
    model.overlay = Some(Overlay::Popup { title, text, scroll: 0 });
}

/// Returns what a recording shows, one paragraph for each workload.
///
/// # Errors
/// Fails when the database cannot be read.
pub(crate) fn conclusion_sentences(
    store: &Store,
    settings: &TuiSettings,
    recording: i64,
) -> Result<Vec<String>, StoreError> {
    let answers = answer::load_answers(store, &settings.prices, recording)?;
    Ok(answers.iter().map(ToString::to_string).collect())
}
