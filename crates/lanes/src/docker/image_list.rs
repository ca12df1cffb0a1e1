//! Images that the engine has, for choosing one as a function.

use super::engine::Engine;
use super::leftover::is_cyclometer_reference;
use super::responses::{ListedImage, parse_images};
use crate::LaneError;
use cyclometer_core::units::Bytes;
use cyclometer_core::visible_text::is_hidden;

/// Most images that are listed.
const MAX_IMAGES: usize = 200;

/// Image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineImage {
    /// Name with its tag.
    pub name: String,
    /// Size; `None` if the engine does not state it.
    pub size: Option<Bytes>,
}

/// Lists the images of the engine that have a name, without those that this program made; at most
/// 200, ordered by name.
///
/// # Errors
/// [`LaneError::Unavailable`] when there is no engine, or it does not answer.
pub fn list_engine_images() -> Result<Vec<EngineImage>, LaneError> {
    let (engine, _) = Engine::connect()?;
    let path = "/images/json";
    let asked = engine.block_on(async {
        engine
            .fetch_parsed("list images", super::engine::REQUEST_TIMEOUT, None, path, parse_images)
            .await
    });
    let listed = asked.map_err(|error| LaneError::Unavailable { reason: error.to_string() })?;
    Ok(choose_named_images(listed))
}

/// Returns the images by their names.
fn choose_named_images(listed: Vec<ListedImage>) -> Vec<EngineImage> {
    let mut images: Vec<EngineImage> = listed
        .into_iter()
        .flat_map(|image| {
            image.tags.into_iter().map(move |name| EngineImage { name, size: image.size })
        })
        .filter(|image| {
            let name = &image.name;
            let is_named =
                !name.is_empty() && !name.contains("<none>") && !name.contains(is_hidden);
            is_named && !is_cyclometer_reference(name)
        })
        .collect();
    images.sort_by(|one, other| one.name.cmp(&other.name));
    images.truncate(MAX_IMAGES);
    images
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_images_of_others_that_have_a_name_are_listed() {
        let id = format!("sha256:{}", "0a".repeat(32));
        let image = |tags: &str| format!(r#"{{"Id":"{id}","RepoTags":[{tags}],"Size":2048}}"#);
        let answer = format!(
            "[{},{},{},{}]",
            image(r#""me/fn:2","me/fn:1""#),
            image(r#""cyclometer/nop:0a0a0a0a0a0a""#),
            image(r#""<none>:<none>""#),
            image(r#""a\u001b[2J:1""#),
        );
        let images = choose_named_images(parse_images(answer.as_bytes()).expect("a response"));
        let names: Vec<&str> = images.iter().map(|image| &*image.name).collect();
        assert_eq!(names, ["me/fn:1", "me/fn:2"]);
        assert_eq!(images[0].size, Some(Bytes(2048)));
    }
}
