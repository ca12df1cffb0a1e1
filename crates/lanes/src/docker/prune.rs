//! Removal of images that a newer one supersedes, at the time when that one is made.
//!
//! An image is removed only if it has this program's label and name, was made by this
//! machine, and is in no container; and nothing is removed as long as another process
//! of this program may be using the engine, since between two invocations nothing
//! else shows that it needs an image.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

use bollard::query_parameters::RemoveImageOptionsBuilder;
use parking_lot::Mutex;
use tokio::time::timeout;

use super::endpoint::Endpoint;
use super::engine::{Engine, REQUEST_TIMEOUT, run_unless_cancelled};
use super::image::Image;
use super::leftover::host_name;
use super::leftover::{is_cyclometer_reference, list_images};
use super::responses::ListedImage;
use crate::Cancel;
use crate::clean;

/// Most images that are kept; these are the newest.
pub(super) const MOST_IMAGES: usize = 64;
/// Longest time for the whole removal, for which the recording waits.
const PRUNE_TIMEOUT: Duration = Duration::from_secs(10);

/// Images that this process has used, and that any of its lanes may use again.
static USED_IMAGES: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

/// Marks an image as needed until this process ends.
pub(super) fn mark_used(image: &Image) {
    USED_IMAGES.lock().insert(image.reference.clone());
}

/// Removes images that `new` supersedes, and the oldest beyond [`MOST_IMAGES`].
/// Images that cannot be removed stay.
pub(super) fn remove_superseded(
    engine: &Engine,
    endpoint: &Endpoint,
    new: &Image,
    base: Option<&Image>,
    cancel: &Cancel,
) {
    if clean::find_engine_user(endpoint).is_none() {
        prune_unused(engine, new, base, cancel);
    }
}

fn prune_unused(engine: &Engine, new: &Image, base: Option<&Image>, cancel: &Cancel) {
    let base = base.map_or("", |base| &base.reference);
    let host = host_name();
    let used = USED_IMAGES.lock().clone();
    let work = async {
        let Ok(listed) = list_images(engine).await else { return };
        for reference in superseded_names(&listed, &new.reference, base, host.as_deref(), &used) {
            // Not by force: an image that a container uses stays.
            let options = RemoveImageOptionsBuilder::new().force(false).build();
            let request = engine.docker.remove_image(&reference, Some(options), None);
            if let Err(error) =
                engine.send_request("remove the image", REQUEST_TIMEOUT, None, request).await
                && error.is_unanswered()
            {
                return;
            }
        }
    };
    // Images that are left when the time is up are removed next time.
    let _ =
        engine.block_on(async { timeout(PRUNE_TIMEOUT, run_unless_cancelled(cancel, work)).await });
}

/// Returns the names of images that can be removed once `new` exists.
fn superseded_names(
    listed: &[ListedImage],
    new: &str,
    base: &str,
    host: Option<&str>,
    used: &HashSet<String>,
) -> Vec<String> {
    let is_labelled =
        |image: &&ListedImage| image.labels.base.is_some() && image.labels.host.as_deref() == host;
    let mut ours: Vec<_> = listed.iter().filter(is_labelled).collect();
    ours.sort_by_key(|image| std::cmp::Reverse(image.created));
    let repository = |name: &str| name.rsplit_once(':').map(|(name, _)| name.to_owned());
    let wanted = repository(new);
    let mut names = Vec::new();
    for (at, image) in ours.into_iter().enumerate() {
        for name in
            image.tags.iter().filter(|name| is_cyclometer_reference(name) && !used.contains(*name))
        {
            let is_older = repository(name) == wanted && image.labels.base.as_deref() == Some(base);
            if name != new && (is_older || at >= MOST_IMAGES) {
                names.push(name.clone());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bytes::Bytes as Buffer;

    use super::super::container_spec::HOST_LABEL;
    use super::super::image::{ImagePayload, ImageRecipe, find_image};
    use super::super::responses::OwnershipLabels;
    use super::super::tests::bench;
    use super::*;

    fn image(tag: &str, base: Option<&str>, host: &str, created: i64) -> ListedImage {
        let labels = OwnershipLabels {
            owner: None,
            host: Some(host.to_owned()),
            base: base.map(str::to_owned),
        };
        let tags = vec![tag.to_owned()];
        ListedImage { id: "sha256:1".to_owned(), tags, created, labels, size: None }
    }

    fn gone(listed: &[ListedImage], used: &[&str]) -> Vec<String> {
        let used = used.iter().map(|&name| name.to_owned()).collect();
        superseded_names(listed, "cyclometer/a:000000000001", "", Some("here"), &used)
    }

    #[test]
    fn an_older_build_of_the_workload_goes_and_nothing_else() {
        let listed = [
            image("cyclometer/a:000000000001", Some(""), "here", 9),
            image("cyclometer/a:000000000002", Some(""), "here", 5),
            image("cyclometer/a:000000000003", Some("debian:12"), "here", 5),
            image("cyclometer/a:000000000004", None, "here", 5),
            image("cyclometer/a:000000000005", Some(""), "elsewhere", 5),
            image("cyclometer/a:latest", Some(""), "here", 5),
            image("cyclometer/b:000000000006", Some(""), "here", 5),
            image("mine/a:000000000007", Some(""), "here", 5),
            image("cyclometer/a:000000000008", Some(""), "here", 5),
        ];
        let used = ["cyclometer/a:000000000008"];
        assert_eq!(gone(&listed, &used), ["cyclometer/a:000000000002"]);
    }

    #[test]
    fn the_oldest_beyond_the_limit_go_too() {
        let name = |at: usize| format!("cyclometer/w{at}:00000000000a");
        let mut listed: Vec<_> = (0..MOST_IMAGES + 2)
            .map(|at| image(&name(at), Some(""), "here", i64::try_from(at).expect("few")))
            .collect();
        assert_eq!(gone(&listed, &[]), [name(1), name(0)]);
        assert_eq!(gone(&listed, &[&name(1)]), [name(0)], "one that is in use stays");
        listed.truncate(MOST_IMAGES);
        assert!(gone(&listed, &[]).is_empty());
    }

    /// Checks with three builds of one workload, the second of which this process needs.
    #[test]
    fn an_engine_keeps_the_newest_build_and_what_is_in_use() {
        let Some(bench) = bench(None) else { return };
        let engine = &bench.lane.engine;
        let cancel = Cancel::default();
        let labels = HashMap::from([(HOST_LABEL.to_owned(), host_name().expect("a name"))]);
        let made = ["one", "two", "three"].map(|content| {
            let payload = ImagePayload::Program(Buffer::from_static(content.as_bytes()));
            let labels = labels.clone();
            let recipe = ImageRecipe {
                workload: "prune-test",
                payload: &payload,
                base: None,
                labels,
                scratch: "cyclometer-prune-test",
            };
            let image = engine.block_on(recipe.find_or_build(engine, &cancel)).expect("made").0;
            if content == "two" {
                mark_used(&image);
            }
            image
        });
        prune_unused(engine, &made[2], None, &cancel);
        let is_there = |image: &Image| {
            engine.block_on(find_image(engine, &image.reference, &cancel)).expect("asked").is_some()
        };
        let there = made.each_ref().map(is_there);
        for image in &made {
            let options = RemoveImageOptionsBuilder::new().build();
            let request = engine.docker.remove_image(&image.reference, Some(options), None);
            let _ = engine.block_on(request);
        }
        assert_eq!(there, [false, true, true]);
    }
}
