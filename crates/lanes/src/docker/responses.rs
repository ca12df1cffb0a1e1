//! Parsers for the engine's responses. Nothing here sends a request.
//!
//! Anything may listen at the engine's address. No input makes these functions panic,
//! and none takes more memory than a few times its length, which is at most
//! [`MOST_ANSWER`]: lists and tables have a limit of entries, and fields that are not
//! needed are not kept.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use super::starter_report::{StarterReport, StarterToken};
use crate::image_config::ImageConfig;
use crate::program_run::one_line;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_system::procfs::ProcessIdentity;

/// Longest response that is parsed at all, in bytes.
pub(crate) const MOST_ANSWER: usize = 16 << 20;
/// Most entries of a list or a table.
const MOST_ENTRIES: usize = 20_000;
/// Most characters of an engine's text that are shown.
const MOST_TEXT: usize = 500;
/// Largest size of an image or a layer that is believed, in bytes: a pebibyte.
const LARGEST_SIZE: i64 = 1 << 50;

/// Error: a response does not have the expected form.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("its answer is not understood: {0}")]
pub(crate) struct InvalidResponse(String);

impl InvalidResponse {
    pub(crate) fn from_reason(why: impl fmt::Display) -> Self {
        Self(sanitize_engine_text(&why.to_string()))
    }
}

/// Returns an engine's text on one line, without control characters and of limited length.
#[must_use]
pub(crate) fn sanitize_engine_text(text: &str) -> String {
    // Cut first: the steps below look at each character several times.
    let cut: String = text.chars().take(MOST_TEXT + 1).collect();
    let line = one_line(&cut);
    match line.char_indices().nth(MOST_TEXT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if cut.len() < text.len() => format!("{line}…"),
        None => line,
    }
}

/// Returns whether an engine's identifier of a container, an image or a command can
/// stand in the path of a request without changing it.
#[must_use]
pub(crate) fn is_path_safe_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    (1..=256).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(is_plain)
}

pub(crate) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, InvalidResponse> {
    if bytes.len() > MOST_ANSWER {
        return Err(InvalidResponse::from_reason(format!("it is longer than {MOST_ANSWER} bytes")));
    }
    serde_json::from_slice(bytes).map_err(InvalidResponse::from_reason)
}

/// A list or a table with a limited number of entries; `null` is an empty one.
#[derive(Debug, Default)]
struct BoundedEntries<T>(T);

struct EntriesVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<Vec<T>> {
    type Value = BoundedEntries<Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or null")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(BoundedEntries(Vec::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element()? {
            entries.push(entry);
            if entries.len() > MOST_ENTRIES {
                return Err(serde::de::Error::custom(format!("more than {MOST_ENTRIES} entries")));
            }
        }
        Ok(BoundedEntries(entries))
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<HashMap<String, T>> {
    type Value = BoundedEntries<HashMap<String, T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table or null")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(BoundedEntries(HashMap::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Self::Value, A::Error> {
        let mut entries = HashMap::new();
        while let Some((name, entry)) = table.next_entry()? {
            entries.insert(name, entry);
            if entries.len() > MOST_ENTRIES {
                return Err(serde::de::Error::custom(format!("more than {MOST_ENTRIES} entries")));
            }
        }
        Ok(BoundedEntries(entries))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for BoundedEntries<Vec<T>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntriesVisitor::<Vec<T>>(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for BoundedEntries<HashMap<String, T>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntriesVisitor::<HashMap<String, T>>(PhantomData))
    }
}

/// A set of texts as engines write it: the names of a table whose values say nothing. They are
/// sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct StringSet(pub Vec<String>);

impl<'de> Deserialize<'de> for StringSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[expect(clippy::zero_sized_map_values, reason = "a set is no table to serde")]
        type Table = BoundedEntries<HashMap<String, serde::de::IgnoredAny>>;
        let mut names: Vec<_> = Table::deserialize(deserializer)?.0.into_keys().collect();
        names.sort_unstable();
        Ok(Self(names))
    }
}

/// Version of an engine's interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EngineVersion {
    /// Major and minor version of the interface.
    pub interface: (usize, usize),
}

/// Parses the response to `GET /version`.
///
/// # Errors
/// When the bytes are not such a response.
pub(crate) fn parse_version(bytes: &[u8]) -> Result<EngineVersion, InvalidResponse> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct VersionResponse {
        api_version: String,
    }
    let VersionResponse { api_version } = parse_json(bytes)?;
    let numbers = api_version.split_once('.').and_then(|(major, minor)| {
        let number = |text: &str| text.parse::<u16>().ok().map(usize::from);
        Some((number(major)?, number(minor)?))
    });
    let unlike = || InvalidResponse::from_reason(format!("`{api_version}` is no version"));
    Ok(EngineVersion { interface: numbers.ok_or_else(unlike)? })
}

/// Facts that an engine states about itself; `None`: not stated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct EngineFacts {
    /// Version of the engine.
    pub version: Option<String>,
    /// Programs of the OCI runtimes, by the runtime's name.
    pub runtimes: HashMap<String, String>,
    /// Runtime of containers that request none.
    pub default_runtime: Option<String>,
    /// Driver that names control groups.
    pub cgroup_driver: Option<String>,
    /// Version of control groups: `1` or `2`.
    pub cgroup_version: Option<String>,
    /// Driver that stores image layers.
    pub storage_driver: Option<String>,
    /// Data folder of the engine.
    pub root: Option<String>,
    /// Name of the host that the engine runs on.
    pub host: Option<String>,
    /// Kernel version of that host.
    pub kernel: Option<String>,
    /// Whether the kernel can limit swap.
    pub limits_swap: Option<bool>,
}

/// Parses the response to `GET /info`.
///
/// # Errors
/// When the bytes are not such a response.
pub(crate) fn parse_info(bytes: &[u8]) -> Result<EngineFacts, InvalidResponse> {
    #[derive(Deserialize)]
    struct RuntimeEntry {
        path: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct InfoResponse {
        server_version: Option<String>,
        #[serde(default)]
        runtimes: BoundedEntries<HashMap<String, RuntimeEntry>>,
        default_runtime: Option<String>,
        cgroup_driver: Option<String>,
        cgroup_version: Option<String>,
        driver: Option<String>,
        docker_root_dir: Option<String>,
        name: Option<String>,
        kernel_version: Option<String>,
        swap_limit: Option<bool>,
    }
    let answer: InfoResponse = parse_json(bytes)?;
    let text = |text: Option<String>| {
        text.map(|text| sanitize_engine_text(&text)).filter(|it| !it.is_empty())
    };
    let runtimes = answer.runtimes.0.into_iter().map(|(name, program)| {
        (
            sanitize_engine_text(&name),
            program.path.map_or_else(String::new, |path| sanitize_engine_text(&path)),
        )
    });
    Ok(EngineFacts {
        version: text(answer.server_version),
        runtimes: runtimes.collect(),
        default_runtime: text(answer.default_runtime),
        cgroup_driver: text(answer.cgroup_driver),
        cgroup_version: text(answer.cgroup_version),
        storage_driver: text(answer.driver),
        root: text(answer.docker_root_dir),
        host: text(answer.name),
        kernel: text(answer.kernel_version),
        limits_swap: answer.swap_limit,
    })
}

/// Labels that this program sets, as far as an object has them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub(crate) struct OwnershipLabels {
    /// Process that made the object.
    #[serde(rename = "cyclometer.owner")]
    pub owner: Option<String>,
    /// Machine of that process.
    #[serde(rename = "cyclometer.host")]
    pub host: Option<String>,
    /// Name of an image's base image; empty for none.
    #[serde(rename = "cyclometer.base")]
    pub base: Option<String>,
}

impl OwnershipLabels {
    /// Returns the process that made the object, if a label names one.
    #[must_use]
    pub(crate) fn owner_process(&self) -> Option<ProcessIdentity> {
        self.owner.as_deref()?.parse().ok()
    }
}

/// A container in a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ListedContainer {
    /// Identifier of the container.
    pub id: String,
    /// First name of the container.
    pub name: Option<String>,
    /// Identifier of the container's image.
    pub image: Option<String>,
    /// Labels that this program has set.
    pub labels: OwnershipLabels,
}

/// Parses the response to `GET /containers/json`. Containers whose identifier cannot
/// be used in a request are left out.
///
/// # Errors
/// When the bytes are not such a response.
pub(crate) fn parse_containers(bytes: &[u8]) -> Result<Vec<ListedContainer>, InvalidResponse> {
    #[derive(Deserialize)]
    struct ContainerEntry {
        #[serde(rename = "Id")]
        id: Option<String>,
        #[serde(rename = "Names", default)]
        names: BoundedEntries<Vec<String>>,
        #[serde(rename = "ImageID")]
        image: Option<String>,
        #[serde(rename = "Labels", default)]
        labels: Option<OwnershipLabels>,
    }
    let entries: BoundedEntries<Vec<ContainerEntry>> = parse_json(bytes)?;
    let listed = entries.0.into_iter().filter_map(|entry| {
        Some(ListedContainer {
            id: entry.id.filter(|id| is_path_safe_id(id))?,
            name: entry
                .names
                .0
                .first()
                .map(|name| sanitize_engine_text(name.trim_start_matches('/'))),
            image: entry.image.filter(|id| is_path_safe_id(id)),
            labels: entry.labels.unwrap_or_default(),
        })
    });
    Ok(listed.collect())
}

/// An image in a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ListedImage {
    /// Identifier of the image.
    pub id: String,
    /// Repositories and tags of the image.
    pub tags: Vec<String>,
    /// Size on the engine's disk.
    pub size: Option<Bytes>,
    /// Time of creation, in seconds since 1970.
    pub created: i64,
    /// Labels that this program has set.
    pub labels: OwnershipLabels,
}

/// Parses the response to `GET /images/json`.
///
/// # Errors
/// When the bytes are not such a response.
pub(crate) fn parse_images(bytes: &[u8]) -> Result<Vec<ListedImage>, InvalidResponse> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct ImageEntry {
        id: Option<String>,
        #[serde(default)]
        repo_tags: BoundedEntries<Vec<String>>,
        size: Option<i64>,
        created: Option<i64>,
        labels: Option<OwnershipLabels>,
    }
    let entries: BoundedEntries<Vec<ImageEntry>> = parse_json(bytes)?;
    let listed = entries.0.into_iter().filter_map(|entry| {
        Some(ListedImage {
            id: entry.id.filter(|id| is_path_safe_id(id))?,
            tags: entry.repo_tags.0,
            size: entry.size.and_then(plausible_size),
            created: entry.created.unwrap_or_default(),
            labels: entry.labels.unwrap_or_default(),
        })
    });
    Ok(listed.collect())
}

/// An image that was looked up by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct InspectedImage {
    /// Digest of its content.
    pub id: String,
    /// Size of the image; `None` if the engine does not state it.
    pub size: Option<Bytes>,
    /// Configuration by its author: command, user, environment.
    pub config: ImageConfig,
}

/// Parses the response to `GET /images/NAME/json` about the image of that name.
///
/// # Errors
/// When the bytes are not such a response.
pub(crate) fn parse_inspected_image(
    reference: &str,
    bytes: &[u8],
) -> Result<InspectedImage, InvalidResponse> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct ImageResponse {
        id: String,
        size: Option<i64>,
    }
    let answer: ImageResponse = parse_json(bytes)?;
    if !is_path_safe_id(&answer.id) {
        return Err(InvalidResponse::from_reason(format!(
            "`{}` is no image's id",
            sanitize_engine_text(&answer.id)
        )));
    }
    let config = ImageConfig::parse(reference, bytes)?;
    Ok(InspectedImage { id: answer.id, size: answer.size.and_then(plausible_size), config })
}

/// Parses the response to `GET /images/NAME/history`: sizes of an image's layers that
/// are not empty, from the lowest up.
///
/// # Errors
/// When the bytes are not such a response.
pub(crate) fn parse_layer_sizes(bytes: &[u8]) -> Result<Vec<Bytes>, InvalidResponse> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Layer {
        size: Option<i64>,
    }
    let layers: BoundedEntries<Vec<Layer>> = parse_json(bytes)?;
    let sizes = layers.0.into_iter().rev().filter_map(|layer| plausible_size(layer.size?));
    Ok(sizes.filter(|size| size.0 > 0).collect())
}

/// Returns a size that is plausible: not negative, and at most a pebibyte.
fn plausible_size(size: i64) -> Option<Bytes> {
    u64::try_from(size).ok().filter(|_| size <= LARGEST_SIZE).map(Bytes)
}

/// State of a container as the engine reports it; `None`: not reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ContainerState {
    /// Whether it runs.
    pub running: Option<bool>,
    /// Whether the kernel killed a process in it for memory.
    pub out_of_memory: Option<bool>,
    /// Time of its start, on the engine's wall clock.
    pub started: Option<Nanos>,
    /// Time of its end, on the engine's wall clock.
    pub finished: Option<Nanos>,
}

/// Parses the response to `GET /containers/NAME/json`.
///
/// # Errors
/// When the bytes are not such a response, or describe another container.
pub(crate) fn parse_container_state(
    bytes: &[u8],
    name: &str,
) -> Result<ContainerState, InvalidResponse> {
    #[derive(Deserialize)]
    struct StateResponse {
        #[serde(rename = "Running")]
        running: Option<bool>,
        #[serde(rename = "OOMKilled")]
        out_of_memory: Option<bool>,
        #[serde(rename = "StartedAt")]
        started: Option<String>,
        #[serde(rename = "FinishedAt")]
        finished: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct ContainerResponse {
        name: Option<String>,
        state: Option<StateResponse>,
    }
    let answer: ContainerResponse = parse_json(bytes)?;
    if let Some(other) = answer.name.filter(|it| it.trim_start_matches('/') != name) {
        let other = sanitize_engine_text(&other);
        return Err(InvalidResponse::from_reason(format!(
            "it is about `{other}` instead of {name}"
        )));
    }
    let Some(state) = answer.state else { return Ok(ContainerState::default()) };
    Ok(ContainerState {
        running: state.running,
        out_of_memory: state.out_of_memory,
        started: state.started.as_deref().and_then(parse_timestamp),
        finished: state.finished.as_deref().and_then(parse_timestamp),
    })
}

/// Parses a timestamp of the engine; `None` also for its zero time.
#[must_use]
pub(crate) fn parse_timestamp(text: &str) -> Option<Nanos> {
    let time = humantime::parse_rfc3339(text).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok().map(Nanos)
}

/// State of a command in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CommandState {
    /// Whether it runs; `None`: not reported.
    pub running: Option<bool>,
    /// Exit code; `None`: not reported.
    pub exit_code: Option<i64>,
}

/// Parses the response to `GET /exec/ID/json`.
///
/// # Errors
/// When the bytes are not such a response.
pub(crate) fn parse_command_state(bytes: &[u8]) -> Result<CommandState, InvalidResponse> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct CommandResponse {
        running: Option<bool>,
        exit_code: Option<i64>,
    }
    let CommandResponse { running, exit_code } = parse_json(bytes)?;
    Ok(CommandState { running, exit_code })
}

/// An event of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerEvent {
    /// Name of the container.
    pub container: String,
    /// The engine's word for the event.
    pub action: String,
    /// Time of the event, on the engine's wall clock.
    pub at: Nanos,
}

/// Parses one line of the response to `GET /events`; `None` if it lacks the
/// container's name, the action or the time.
#[must_use]
pub(crate) fn parse_event(line: &[u8]) -> Option<ContainerEvent> {
    #[derive(Deserialize)]
    struct Attributes {
        name: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Actor {
        attributes: Option<Attributes>,
    }
    #[derive(Deserialize)]
    struct EventLine {
        #[serde(rename = "Action")]
        action: Option<String>,
        #[serde(rename = "Actor")]
        actor: Option<Actor>,
        #[serde(rename = "timeNano")]
        time: Option<i64>,
    }
    let message: EventLine = parse_json(line).ok()?;
    Some(ContainerEvent {
        container: message.actor?.attributes?.name?,
        action: message.action?,
        at: Nanos(u64::try_from(message.time?).ok()?),
    })
}

/// A line of an engine's account of a pull.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PullLine {
    /// The engine's word for what it does.
    pub status: String,
    /// Layer that it is about.
    pub id: Option<String>,
    /// Bytes that have arrived, and all.
    pub progress: Option<(u64, u64)>,
    /// Reason why there will be no image.
    pub error: Option<String>,
}

/// Parses one line of the response to `POST /images/create`; `None` if it is none.
#[must_use]
pub(crate) fn parse_pull_line(line: &[u8]) -> Option<PullLine> {
    #[derive(Deserialize)]
    struct Detail {
        current: Option<u64>,
        total: Option<u64>,
    }
    #[derive(Deserialize)]
    struct Line {
        status: Option<String>,
        id: Option<String>,
        #[serde(rename = "progressDetail")]
        detail: Option<Detail>,
        error: Option<String>,
    }
    let line: Line = parse_json(line).ok()?;
    let is_plausible = |(_, total): &(u64, u64)| *total <= LARGEST_SIZE.cast_unsigned();
    let progress = line.detail.and_then(|detail| Some((detail.current?, detail.total?)));
    Some(PullLine {
        status: line.status.unwrap_or_default(),
        id: line.id.filter(|id| is_path_safe_id(id)),
        progress: progress.filter(is_plausible),
        error: line.error,
    })
}

/// Parses the body of an error response: its message, or the whole body if it has none.
#[must_use]
pub(crate) fn parse_error_message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct ErrorResponse {
        message: String,
    }
    // No more of it is shown in any case.
    let start = &body[..body.len().min(64 << 10)];
    let message = serde_json::from_slice(start).map(|ErrorResponse { message }| message);
    sanitize_engine_text(&message.unwrap_or_else(|_| String::from_utf8_lossy(start).into_owned()))
}

/// End of a function, as its starter reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FunctionEnd {
    /// Wait status, as in `wait(2)`.
    pub status: i32,
    /// Run time of the function.
    pub ran: Nanos,
    /// CPU time that it used.
    pub cpu: Nanos,
    /// Number of processes that it left running.
    pub stray: u64,
}

/// Parses the output of a container's starter, which was given this token; `None` if
/// there is no output.
///
/// # Errors
/// When there is output, and not exactly one report of that starter in it.
pub(crate) fn parse_starter_report(
    bytes: &[u8],
    token: [u8; 16],
) -> Result<Option<FunctionEnd>, &'static str> {
    let report = StarterReport::parse(bytes, &StarterToken::from_bytes(token))?;
    Ok(report.map(|report| FunctionEnd {
        status: report.status,
        ran: report.run_time(),
        cpu: report.cpu,
        stray: report.stray,
    }))
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
