//! Check of a user's image before any work: whether the engine has it, and whether it can be run
//! here.

use super::engine::{Engine, EngineError, REQUEST_TIMEOUT};
use super::responses::{InspectedImage, parse_inspected_image, sanitize_engine_text};
use super::transport::percent_encode;
use crate::image_config::ImageConfig;
use crate::lane_spec::is_image_name;
use crate::{Cancel, LaneError};
use cyclometer_core::units::Bytes;

/// Asks the engine for an image: its id (a digest of its content), its configuration, and its size
/// if the engine states it. Nothing is fetched.
///
/// # Errors
/// [`LaneError::Unavailable`] without an engine, and [`LaneError::Unsupported`] when it has no such
/// image or does not tell.
pub fn inspect_image(reference: &str) -> Result<(String, ImageConfig, Option<Bytes>), LaneError> {
    let (engine, _) = Engine::connect()?;
    let found = require_image(&engine, reference, &Cancel::for_process())?;
    Ok((found.id, found.config, found.size))
}

/// Checks that the engine has an image which can be run here with these arguments. Nothing is
/// fetched.
///
/// # Errors
/// Errors of [`inspect_image`], and [`LaneError::Unsupported`] when the image is for another machine
/// or says nothing about what to run.
pub fn check_image(reference: &str, args: &[String]) -> Result<ImageConfig, LaneError> {
    let (_, config, _) = inspect_image(reference)?;
    check_runnable(&config, args)?;
    Ok(config)
}

/// Refuses an image that cannot be run here with these arguments.
pub(super) fn check_runnable(config: &ImageConfig, args: &[String]) -> Result<(), LaneError> {
    let refused = config.check_machine().and_then(|()| config.command_line(args).map(drop));
    refused.map_err(|refusal| LaneError::Unsupported { reason: refusal.to_string() })
}

/// Finds an image that must be there.
pub(super) fn require_image(
    engine: &Engine,
    reference: &str,
    cancel: &Cancel,
) -> Result<InspectedImage, LaneError> {
    let unsupported = |reason: String| LaneError::Unsupported { reason };
    let shown = sanitize_engine_text(reference);
    if !is_image_reference(reference) {
        let reason = format!("`{shown}` is no name of an image, such as debian:12 or me/fn");
        return Err(unsupported(reason));
    }
    match engine.block_on(ask_for_image(engine, reference, cancel)) {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(unsupported(format!(
            "the engine has no image {shown}: `docker pull {shown}`, or --pull"
        ))),
        Err(EngineError::Cancelled) => Err(LaneError::Cancelled),
        Err(error) => Err(unsupported(error.to_string())),
    }
}

/// Returns whether a text can be the name of an image, and names nothing else to an engine.
pub(super) fn is_image_reference(text: &str) -> bool {
    text.len() <= 512 && is_image_name(text) && !text.contains("..") && !text.ends_with('/')
}

/// Asks for an image; `None`: the engine does not have it.
pub(super) async fn ask_for_image(
    engine: &Engine,
    reference: &str,
    cancel: &Cancel,
) -> Result<Option<InspectedImage>, EngineError> {
    const ACTION: &str = "look for the image";
    let path = format!("/images/{}/json", percent_encode(reference));
    let parse = |answer: &[u8]| parse_inspected_image(reference, answer);
    match engine.fetch_parsed(ACTION, REQUEST_TIMEOUT, Some(cancel), &path, parse).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_name_nothing_else() {
        for good in
            ["debian", "debian:12-slim", "localhost:5000/me/fn", "sha256:0a1b", "a@sha256:0"]
        {
            assert!(is_image_reference(good), "{good}");
        }
        for bad in ["", "-x", "a b", "../info", "a/../../info", "a?b=c", "a#b", "a/", "a\n"] {
            assert!(!is_image_reference(bad), "{bad}");
        }
    }
}
