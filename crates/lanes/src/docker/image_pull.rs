//! Pulling a user's image from its registry, which is done only on request.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::engine::{Engine, EngineError, POLL_INTERVAL};
use super::image_check::{is_image_reference, require_image};
use super::responses::{PullLine, parse_pull_line, sanitize_engine_text};
use super::transport::percent_encode;
use crate::image_config::{ImageConfig, machine_architecture};
use crate::{Cancel, LaneError};
use cyclometer_core::units::Bytes;

const ACTION: &str = "pull the image";
/// Longest time without a sign of life of the engine, whose registry may be slow.
const SILENCE_TIMEOUT: Duration = Duration::from_mins(2);
/// Most layers that are counted; images have at most 127.
const MOST_LAYERS: usize = 1000;

/// Progress of a pull: what has arrived of the layers that the engine has named until now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PullProgress {
    /// Number of layers that are there.
    pub layers_done: usize,
    /// Number of layers.
    pub layers: usize,
    /// Bytes that have arrived.
    pub arrived: Bytes,
    /// Bytes of the layers whose size is known.
    pub total: Bytes,
}

impl fmt::Display for PullProgress {
    /// Writes `3 of 7 layers, 12.0 MiB of 40.0 MiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} layers", self.layers_done, self.layers)?;
        if self.total.0 > 0 {
            write!(f, ", {} of {}", self.arrived, self.total)?;
        }
        Ok(())
    }
}

/// Pulls an image for this machine's architecture, whether or not the engine has one of that name,
/// and passes each change of the progress to `progress`. Private registries are out of reach: no
/// password is sent.
///
/// # Errors
/// [`LaneError::Unavailable`] without an engine, [`LaneError::Unsupported`] when the image cannot
/// be pulled or is for another machine, and [`LaneError::Cancelled`].
pub fn pull_image(
    reference: &str,
    progress: &mut dyn FnMut(&PullProgress),
    cancel: &Cancel,
) -> Result<ImageConfig, LaneError> {
    let (engine, _) = Engine::connect()?;
    pull_from(&engine, reference, progress, cancel)
}

fn pull_from(
    engine: &Engine,
    reference: &str,
    progress: &mut dyn FnMut(&PullProgress),
    cancel: &Cancel,
) -> Result<ImageConfig, LaneError> {
    let unsupported = |reason: String| LaneError::Unsupported { reason };
    let shown = sanitize_engine_text(reference);
    if !is_image_reference(reference) {
        return Err(unsupported(format!("`{shown}` is no name of an image, such as debian:12")));
    }
    match engine.block_on(receive_image(engine, reference, progress, cancel)) {
        Ok(()) => {}
        Err(EngineError::Cancelled) => return Err(LaneError::Cancelled),
        Err(error) => return Err(unsupported(format!("{shown}: {error}"))),
    }
    let found = require_image(engine, reference, cancel)?;
    let check = found.config.check_machine();
    check.map_err(|refusal| unsupported(refusal.to_string()))?;
    Ok(found.config)
}

/// Returns the path of the request. Without a tag, an engine would pull every one there is.
fn request_path(reference: &str) -> String {
    let name = reference.rsplit_once('/').map_or(reference, |(_, name)| name);
    let tag = if name.contains([':', '@']) { "" } else { "&tag=latest" };
    format!(
        "/images/create?fromImage={}{tag}&platform=linux/{}",
        percent_encode(reference),
        machine_architecture()
    )
}

/// Asks for the image, and follows the engine's account of it to the end.
async fn receive_image(
    engine: &Engine,
    reference: &str,
    progress: &mut dyn FnMut(&PullProgress),
    cancel: &Cancel,
) -> Result<(), EngineError> {
    let path = request_path(reference);
    let asked = engine.transport.post_for_lines(&path);
    let mut lines = engine
        .send_request(ACTION, SILENCE_TIMEOUT, Some(cancel), asked)
        .await
        .map_err(with_remedy)?;
    let mut layers = LayerTable::default();
    let mut failure = None;
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        let before = layers.progress();
        let mut take = |line: &[u8]| match parse_pull_line(line) {
            Some(PullLine { error: Some(error), .. }) => failure = Some(error),
            Some(line) => layers.note(line),
            None => {}
        };
        tokio::select! {
            goes_on = lines.pass_next_lines(&mut take) => {
                heard = Instant::now();
                if !goes_on {
                    break;
                }
            }
            // The engine ends its work when nobody listens any more.
            _ = ticks.tick() => {
                if cancel.is_cancelled() {
                    return Err(EngineError::Cancelled);
                }
                if heard.elapsed() > SILENCE_TIMEOUT {
                    let limit = SILENCE_TIMEOUT.into();
                    return Err(EngineError::TimedOut {
                        host: engine.host.clone(), action: ACTION, limit,
                    });
                }
            }
        }
        let after = layers.progress();
        if after != before {
            progress(&after);
        }
    }
    let message = failure.map(|text| sanitize_engine_text(&text));
    message.map_or(Ok(()), |message| {
        let refused = EngineError::Refused { action: ACTION, status: None, message, remedy: "" };
        Err(with_remedy(refused))
    })
}

/// Adds advice to the reason why an image was not pulled.
fn with_remedy(error: EngineError) -> EngineError {
    let EngineError::Refused { action, status, message, .. } = error else { return error };
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let remedy = if says(&["no matching manifest"]) {
        "; build it for this machine, or name another tag"
    } else if says(&["unauthorized", "denied", "authentication required", "no basic auth"]) {
        "; is its name right? A private image has to be pulled with `docker login` and \
         `docker pull`"
    } else if says(&["manifest unknown", "not found"]) {
        "; is its name right?"
    } else if says(&["lookup", "dial tcp", "timeout", "connection refused"]) {
        "; the engine does not reach its registry"
    } else {
        ""
    };
    EngineError::Refused { action, status, message, remedy }
}

/// Layers of an image, by the engine's names of them.
#[derive(Debug, Default)]
struct LayerTable(HashMap<String, LayerState>);

#[derive(Debug, Clone, Copy, Default)]
struct LayerState {
    arrived: u64,
    total: u64,
    is_done: bool,
}

impl LayerTable {
    fn note(&mut self, line: PullLine) {
        let Some(id) = line.id else { return };
        let is_layer = matches!(
            line.status.as_str(),
            "Pulling fs layer"
                | "Waiting"
                | "Downloading"
                | "Verifying Checksum"
                | "Download complete"
                | "Extracting"
                | "Pull complete"
                | "Already exists"
        );
        if !is_layer || (self.0.len() >= MOST_LAYERS && !self.0.contains_key(&id)) {
            return;
        }
        let layer = self.0.entry(id).or_default();
        match (line.status.as_str(), line.progress) {
            ("Downloading", Some((arrived, total))) => {
                layer.total = total.max(layer.total);
                layer.arrived = arrived.min(layer.total).max(layer.arrived);
            }
            ("Download complete" | "Extracting", _) => layer.arrived = layer.total,
            ("Pull complete" | "Already exists", _) => {
                (layer.arrived, layer.is_done) = (layer.total, true);
            }
            _ => {}
        }
    }

    fn progress(&self) -> PullProgress {
        let sum = |of: fn(&LayerState) -> u64| {
            Bytes(self.0.values().map(of).fold(0, u64::saturating_add))
        };
        PullProgress {
            layers_done: self.0.values().filter(|layer| layer.is_done).count(),
            layers: self.0.len(),
            arrived: sum(|layer| layer.arrived),
            total: sum(|layer| layer.total),
        }
    }
}

#[cfg(test)]
#[path = "image_pull_tests.rs"]
mod tests;
