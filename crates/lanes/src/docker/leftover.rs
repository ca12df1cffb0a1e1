//! Images and containers of this program in every engine that answers.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use bollard::query_parameters::RemoveImageOptionsBuilder;

use super::container::remove_container;
use super::endpoint::{self, Endpoint};
use super::engine::{Engine, EngineError, REQUEST_TIMEOUT};
use super::responses::{
    ListedContainer, ListedImage, parse_containers, parse_images, sanitize_engine_text,
};
use super::transport::percent_encode;
use cyclometer_core::units::Bytes;
use cyclometer_system::owner::Owner;

/// Longest time for the removal of an image, whose layers are deleted from the disk.
const REMOVAL_TIMEOUT: Duration = Duration::from_mins(1);
/// Number of digits in an image's tag, which identify its content.
const TAG_DIGITS: usize = 12;

/// Returns the name of this machine as labels hold it.
pub(super) fn host_name() -> Option<String> {
    let name = cyclometer_system::files::read_kernel_text("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// An image or a container of this program.
#[derive(Debug, Clone)]
pub(crate) struct EngineLeftover {
    /// Whether it is an image.
    pub is_image: bool,
    /// Name of the image or container.
    pub name: String,
    /// Size on the engine's disk.
    pub size: Option<Bytes>,
    /// Reason why it must stay; `None`: it can be removed.
    pub in_use: Option<String>,
    /// Handle to remove it by.
    pub handle: LeftoverHandle,
}

/// Reference to an image or a container of an engine.
#[derive(Debug, Clone)]
pub(crate) struct LeftoverHandle {
    endpoint: Endpoint,
    is_image: bool,
    /// The image's repository and tag, or the container's id.
    reference: String,
}

impl LeftoverHandle {
    /// Returns the engine's address.
    pub(crate) fn host(&self) -> &str {
        &self.endpoint.host
    }
}

/// Returns the engines to search, and the problems with the configuration of others.
/// `DOCKER_HOST` names the only one; otherwise there are the one in use, those of all
/// other contexts, and that of the default socket.
#[must_use]
pub(crate) fn searched_endpoints() -> (Vec<Endpoint>, Vec<String>) {
    let (found, problems) = endpoint::resolve_all_endpoints();
    let here = |endpoint: &Endpoint| endpoint.socket_path().is_none_or(Path::exists);
    let mut seen = HashSet::new();
    let found = found.into_iter().filter(here).filter(|it| seen.insert(it.host.clone()));
    (found.collect(), problems)
}

/// Returns the engine in use, unless there is none.
#[must_use]
pub(crate) fn endpoint_in_use() -> Option<Endpoint> {
    let endpoint = endpoint::resolve_endpoint().ok()?;
    // Without a socket there is no engine, and no connection is needed to see that.
    endpoint.socket_path().is_none_or(Path::exists).then_some(endpoint)
}

/// Lists the containers of this program in an engine, and its images on request.
/// Changes nothing.
///
/// # Errors
/// A text, when the engine does not answer.
pub(crate) fn list_leftovers(
    endpoint: &Endpoint,
    with_images: bool,
) -> Result<Vec<EngineLeftover>, String> {
    let (engine, _) = Engine::connect_to(endpoint).map_err(|error| error.to_string())?;
    let (images, containers) = engine
        .block_on(async {
            let path = "/containers/json?all=true";
            let asked = engine.fetch_parsed(
                "list containers",
                REQUEST_TIMEOUT,
                None,
                path,
                parse_containers,
            );
            let containers = asked.await?;
            let images = if with_images { list_images(&engine).await? } else { Vec::new() };
            Ok::<_, EngineError>((images, containers))
        })
        .map_err(|error| error.to_string())?;
    let host = host_name();
    let mut found: Vec<EngineLeftover> = containers
        .iter()
        .filter_map(|it| describe_container(it, endpoint, host.as_deref()))
        .collect();
    // Containers that are about to be removed do not keep their image.
    let staying: HashSet<&str> = containers
        .iter()
        .filter(|it| {
            !found.iter().any(|found| found.handle.reference == it.id && found.in_use.is_none())
        })
        .filter_map(|it| it.image.as_deref())
        .collect();
    let images: Vec<EngineLeftover> = images
        .iter()
        .flat_map(|it| describe_image(it, endpoint, host.as_deref(), &staying))
        .collect();
    found.extend(images);
    Ok(found)
}

/// Lists images in this program's repositories.
pub(super) async fn list_images(engine: &Engine) -> Result<Vec<ListedImage>, EngineError> {
    let filter = percent_encode("{\"reference\":[\"cyclometer/*\"]}");
    let path = format!("/images/json?filters={filter}");
    engine.fetch_parsed("list images", REQUEST_TIMEOUT, None, &path, parse_images).await
}

fn describe_container(
    container: &ListedContainer,
    endpoint: &Endpoint,
    host: Option<&str>,
) -> Option<EngineLeftover> {
    let owner = Owner::Process(container.labels.owner_process()?);
    let in_use = match container.labels.host.as_deref() {
        theirs if theirs.is_none() || theirs != host => Some(foreign_host_reason(theirs)),
        _ => owner.in_use_reason(None),
    };
    let reference = container.id.clone();
    Some(EngineLeftover {
        is_image: false,
        name: container.name.clone().unwrap_or_else(|| reference.clone()),
        size: None,
        in_use,
        handle: LeftoverHandle { endpoint: endpoint.clone(), is_image: false, reference },
    })
}

fn foreign_host_reason(host: Option<&str>) -> String {
    let host = host.map_or_else(|| "of unknown name".to_owned(), sanitize_engine_text);
    format!("made by another machine ({host}), which alone can tell whether it is in use")
}

fn describe_image(
    image: &ListedImage,
    endpoint: &Endpoint,
    host: Option<&str>,
    staying: &HashSet<&str>,
) -> Vec<EngineLeftover> {
    let theirs = image.labels.host.as_deref();
    let in_use = if staying.contains(image.id.as_str()) {
        Some("a container uses it".to_owned())
    } else {
        theirs
            .filter(|theirs| host != Some(*theirs))
            .map(|theirs| foreign_host_reason(Some(theirs)))
    };
    let tags = image.tags.iter().filter(|tag| is_cyclometer_reference(tag));
    tags.enumerate()
        .map(|(at, tag)| EngineLeftover {
            is_image: true,
            name: tag.clone(),
            // A second name takes no further space.
            size: image.size.filter(|_| at == 0),
            in_use: in_use.clone(),
            handle: LeftoverHandle {
                endpoint: endpoint.clone(),
                is_image: true,
                reference: tag.clone(),
            },
        })
        .collect()
}

/// Returns whether a repository and tag have the form that this program gives them:
/// the name of the workload, and the digits that identify the content.
pub(super) fn is_cyclometer_reference(reference: &str) -> bool {
    let Some((repository, tag)) = reference.rsplit_once(':') else { return false };
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let name = repository.strip_prefix("cyclometer/").unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let has_name = !name.is_empty() && name.bytes().all(is_plain);
    has_name && tag.len() == TAG_DIGITS && tag.bytes().all(is_digit)
}

/// Removes an image or a container.
///
/// # Errors
/// A text that says why it could not be removed.
pub(crate) fn remove_leftover(handle: &LeftoverHandle) -> Result<(), String> {
    let (engine, _) = Engine::connect_to(&handle.endpoint).map_err(|error| error.to_string())?;
    let removed = if handle.is_image {
        // Not by force: an image that is in use by now stays.
        let options = RemoveImageOptionsBuilder::new().force(false).build();
        let request = engine.docker.remove_image(&handle.reference, Some(options), None);
        engine.block_on(async {
            match engine.send_request("remove the image", REMOVAL_TIMEOUT, None, request).await {
                Err(error) if error.is_missing() => Ok(()),
                other => other.map(drop),
            }
        })
    } else {
        engine
            .block_on(remove_container(&engine, &handle.reference, REQUEST_TIMEOUT, None))
            .map(drop)
    };
    removed.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::responses::OwnershipLabels;
    use super::*;
    use crate::docker::EndpointOrigin;
    use cyclometer_system::procfs::ProcessIdentity;

    fn endpoint() -> Endpoint {
        Endpoint { host: "unix:///x".to_owned(), from: EndpointOrigin::Default }
    }

    #[test]
    fn only_names_that_this_program_gives_are_ours() {
        assert!(is_cyclometer_reference("cyclometer/nbody:0123456789ab"));
        for other in [
            "cyclometer/nbody:latest",
            "cyclometer/nbody:0123456789abc",
            "cyclometer/nbody:0123456789AB",
            "registry/cyclometer/nbody:0123456789ab",
            "cyclometer/a/b:0123456789ab",
            "cyclometer:0123456789ab",
            "mycyclometer/nbody:0123456789ab",
        ] {
            assert!(!is_cyclometer_reference(other), "{other}");
        }
    }

    #[test]
    fn containers_of_the_living_and_of_other_machines_stay() {
        let me = ProcessIdentity::current().expect("/proc").to_string();
        let stays = |owner: &str, machine: &str| {
            let (owner, host) = (Some(owner.to_owned()), Some(machine.to_owned()));
            let labels = OwnershipLabels { owner, host, base: None };
            let container =
                ListedContainer { id: "1".to_owned(), labels, ..ListedContainer::default() };
            let found = describe_container(&container, &endpoint(), Some("here"));
            found.map(|it| it.in_use.is_some())
        };
        assert_eq!(stays("1-2-nosuchboot", "here"), Some(false));
        assert_eq!(stays(&me, "here"), Some(true));
        assert_eq!(stays("1-2-nosuchboot", "elsewhere"), Some(true));
        assert_eq!(stays("nonsense", "here"), None, "not made by this program");
    }

    #[test]
    fn an_image_with_a_container_that_stays_stays() {
        let image = ListedImage {
            id: "sha256:1".to_owned(),
            tags: vec!["cyclometer/a:0123456789ab".to_owned(), "mine/a:1".to_owned()],
            size: Some(Bytes(5)),
            ..ListedImage::default()
        };
        let none = HashSet::new();
        let found = describe_image(&image, &endpoint(), Some("here"), &none);
        assert_eq!(found.len(), 1, "a name that a person gave is left alone");
        assert_eq!((found[0].size, found[0].in_use.clone()), (Some(Bytes(5)), None));
        let used = HashSet::from(["sha256:1"]);
        assert!(describe_image(&image, &endpoint(), None, &used)[0].in_use.is_some());
    }
}
