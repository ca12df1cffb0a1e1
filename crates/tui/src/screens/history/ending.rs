//! Conclusion of a recording: what it shows, in sentences, once it is over.

use super::work::Ask;
use crate::action::Effect;
use crate::live::Phase;
use crate::model::{Model, Settings};
use crate::overlay::Overlay;
use crate::screens::Screen;
use cyclometer_report::answer;
use cyclometer_store::{Store, StoreError};

/// Requests the conclusion of the recording that has just ended, once, as soon
/// as nothing prevents it from being shown.
pub fn tick(model: &mut Model) -> Vec<Effect> {
    let over = matches!(model.snapshot.phase, Phase::Ended { .. });
    match model.snapshot.recording.filter(|_| over && is_free(model)) {
        Some(recording) if model.history.concluded != Some(recording) => {
            model.history.concluded = Some(recording);
            vec![Effect::History(Ask::Conclude { recording })]
        }
        _ => Vec::new(),
    }
}

/// Returns whether the live screen is shown without an overlay.
fn is_free(model: &Model) -> bool {
    model.overlay.is_none() && model.screen == Screen::Live
}

/// Shows the conclusion above the live screen; if something else is open by
/// then, it is requested again later.
pub fn conclude(model: &mut Model, recording: i64, result: Result<String, String>) {
    if model.snapshot.recording != Some(recording) {
        return;
    }
    if !is_free(model) {
        model.history.concluded = None;
        return;
    }
    let Some(text) = result.ok().filter(|text| !text.is_empty()) else { return };
    let title = format!("recording {recording}: what it shows");
    model.overlay = Some(Overlay::Answer { title, text, scroll: 0 });
}

/// Returns what a recording shows, one paragraph for each workload.
///
/// # Errors
/// Fails when the database cannot be read.
pub fn sentences(
    store: &Store,
    settings: &Settings,
    recording: i64,
) -> Result<Vec<String>, StoreError> {
    let answers = answer::of_recording(store, &settings.prices, recording)?;
    Ok(answers.iter().map(ToString::to_string).collect())
}
