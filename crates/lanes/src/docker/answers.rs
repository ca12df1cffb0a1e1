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

use super::report::{Report, Token};
use crate::process::one_line;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_system::procfs::ProcessIdentity;

/// Longest response that is parsed at all, in bytes.
pub const MOST_ANSWER: usize = 16 << 20;
/// Most entries of a list or a table.
const MOST_ENTRIES: usize = 20_000;
/// Most characters of an engine's text that are shown.
const MOST_TEXT: usize = 500;
/// Largest size of an image or a layer that is believed, in bytes: a pebibyte.
const LARGEST: i64 = 1 << 50;

/// Error: a response does not have the expected form.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("its answer is not understood: {0}")]
pub struct Misunderstood(String);

impl Misunderstood {
    fn because(why: impl fmt::Display) -> Self {
        Self(shown(&why.to_string()))
    }
}

/// Returns an engine's text on one line, without control characters and of limited length.
#[must_use]
pub fn shown(text: &str) -> String {
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
pub fn is_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    (1..=256).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(is_plain)
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Misunderstood> {
    if bytes.len() > MOST_ANSWER {
        return Err(Misunderstood::because(format!("it is longer than {MOST_ANSWER} bytes")));
    }
    serde_json::from_slice(bytes).map_err(Misunderstood::because)
}

/// A list or a table with a limited number of entries; `null` is an empty one.
#[derive(Debug, Default)]
struct Limited<T>(T);

struct Entries<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<Vec<T>> {
    type Value = Limited<Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or null")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Limited(Vec::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element()? {
            entries.push(entry);
            if entries.len() > MOST_ENTRIES {
                return Err(serde::de::Error::custom(format!("more than {MOST_ENTRIES} entries")));
            }
        }
        Ok(Limited(entries))
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<HashMap<String, T>> {
    type Value = Limited<HashMap<String, T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table or null")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Limited(HashMap::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Self::Value, A::Error> {
        let mut entries = HashMap::new();
        while let Some((name, entry)) = table.next_entry()? {
            entries.insert(name, entry);
            if entries.len() > MOST_ENTRIES {
                return Err(serde::de::Error::custom(format!("more than {MOST_ENTRIES} entries")));
            }
        }
        Ok(Limited(entries))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Limited<Vec<T>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Entries::<Vec<T>>(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Limited<HashMap<String, T>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Entries::<HashMap<String, T>>(PhantomData))
    }
}

/// Version of an engine's interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Major and minor version of the interface.
    pub interface: (usize, usize),
}

/// Parses the response to `GET /version`.
///
/// # Errors
/// When the bytes are not such a response.
pub fn parse_version(bytes: &[u8]) -> Result<Version, Misunderstood> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        api_version: String,
    }
    let Answer { api_version } = read(bytes)?;
    let numbers = api_version.split_once('.').and_then(|(major, minor)| {
        let number = |text: &str| text.parse::<u16>().ok().map(usize::from);
        Some((number(major)?, number(minor)?))
    });
    let unlike = || Misunderstood::because(format!("`{api_version}` is no version"));
    Ok(Version { interface: numbers.ok_or_else(unlike)? })
}

/// Facts that an engine states about itself; `None`: not stated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
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
pub fn parse_info(bytes: &[u8]) -> Result<Facts, Misunderstood> {
    #[derive(Deserialize)]
    struct Program {
        path: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        server_version: Option<String>,
        #[serde(default)]
        runtimes: Limited<HashMap<String, Program>>,
        default_runtime: Option<String>,
        cgroup_driver: Option<String>,
        cgroup_version: Option<String>,
        driver: Option<String>,
        docker_root_dir: Option<String>,
        name: Option<String>,
        kernel_version: Option<String>,
        swap_limit: Option<bool>,
    }
    let answer: Answer = read(bytes)?;
    let text = |text: Option<String>| text.map(|text| shown(&text)).filter(|it| !it.is_empty());
    let runtimes = answer.runtimes.0.into_iter().map(|(name, program)| {
        (shown(&name), program.path.map_or_else(String::new, |path| shown(&path)))
    });
    Ok(Facts {
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
pub struct Labels {
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

impl Labels {
    /// Returns the process that made the object, if a label names one.
    #[must_use]
    pub fn owner(&self) -> Option<ProcessIdentity> {
        self.owner.as_deref()?.parse().ok()
    }
}

/// A container in a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListedContainer {
    /// Identifier of the container.
    pub id: String,
    /// First name of the container.
    pub name: Option<String>,
    /// Identifier of the container's image.
    pub image: Option<String>,
    /// Labels that this program has set.
    pub labels: Labels,
}

/// Parses the response to `GET /containers/json`. Containers whose identifier cannot
/// be used in a request are left out.
///
/// # Errors
/// When the bytes are not such a response.
pub fn parse_containers(bytes: &[u8]) -> Result<Vec<ListedContainer>, Misunderstood> {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(rename = "Id")]
        id: Option<String>,
        #[serde(rename = "Names", default)]
        names: Limited<Vec<String>>,
        #[serde(rename = "ImageID")]
        image: Option<String>,
        #[serde(rename = "Labels", default)]
        labels: Option<Labels>,
    }
    let entries: Limited<Vec<Entry>> = read(bytes)?;
    let listed = entries.0.into_iter().filter_map(|entry| {
        Some(ListedContainer {
            id: entry.id.filter(|id| is_id(id))?,
            name: entry.names.0.first().map(|name| shown(name.trim_start_matches('/'))),
            image: entry.image.filter(|id| is_id(id)),
            labels: entry.labels.unwrap_or_default(),
        })
    });
    Ok(listed.collect())
}

/// An image in a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListedImage {
    /// Identifier of the image.
    pub id: String,
    /// Repositories and tags of the image.
    pub tags: Vec<String>,
    /// Size on the engine's disk.
    pub size: Option<Bytes>,
    /// Time of creation, in seconds since 1970.
    pub created: i64,
    /// Labels that this program has set.
    pub labels: Labels,
}

/// Parses the response to `GET /images/json`.
///
/// # Errors
/// When the bytes are not such a response.
pub fn parse_images(bytes: &[u8]) -> Result<Vec<ListedImage>, Misunderstood> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Entry {
        id: Option<String>,
        #[serde(default)]
        repo_tags: Limited<Vec<String>>,
        size: Option<i64>,
        created: Option<i64>,
        labels: Option<Labels>,
    }
    let entries: Limited<Vec<Entry>> = read(bytes)?;
    let listed = entries.0.into_iter().filter_map(|entry| {
        Some(ListedImage {
            id: entry.id.filter(|id| is_id(id))?,
            tags: entry.repo_tags.0,
            size: entry.size.and_then(believed),
            created: entry.created.unwrap_or_default(),
            labels: entry.labels.unwrap_or_default(),
        })
    });
    Ok(listed.collect())
}

/// An image that was looked up by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundImage {
    /// Digest of its content.
    pub id: String,
    /// Size of the image; `None` if the engine does not state it.
    pub size: Option<Bytes>,
    /// Volumes: folders that the engine lets each container of the image write to.
    pub volumes: Vec<String>,
}

/// Parses the response to `GET /images/NAME/json`.
///
/// # Errors
/// When the bytes are not such a response.
pub fn parse_image(bytes: &[u8]) -> Result<FoundImage, Misunderstood> {
    #[expect(clippy::zero_sized_map_values, reason = "a set is no table to serde")]
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase")]
    struct Config {
        #[serde(default)]
        volumes: Limited<HashMap<String, serde::de::IgnoredAny>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        id: String,
        size: Option<i64>,
        config: Option<Config>,
    }
    let answer: Answer = read(bytes)?;
    if !is_id(&answer.id) {
        return Err(Misunderstood::because(format!("`{}` is no image's id", shown(&answer.id))));
    }
    let mut volumes: Vec<_> = answer.config.unwrap_or_default().volumes.0.into_keys().collect();
    volumes.sort_unstable();
    Ok(FoundImage { id: answer.id, size: answer.size.and_then(believed), volumes })
}

/// Parses the response to `GET /images/NAME/history`: sizes of an image's layers that
/// are not empty, from the lowest up.
///
/// # Errors
/// When the bytes are not such a response.
pub fn parse_layers(bytes: &[u8]) -> Result<Vec<Bytes>, Misunderstood> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Layer {
        size: Option<i64>,
    }
    let layers: Limited<Vec<Layer>> = read(bytes)?;
    let sizes = layers.0.into_iter().rev().filter_map(|layer| believed(layer.size?));
    Ok(sizes.filter(|size| size.0 > 0).collect())
}

/// Returns a size that is plausible: not negative, and at most a pebibyte.
fn believed(size: i64) -> Option<Bytes> {
    u64::try_from(size).ok().filter(|_| size <= LARGEST).map(Bytes)
}

/// State of a container as the engine reports it; `None`: not reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stated {
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
pub fn parse_state(bytes: &[u8], name: &str) -> Result<Stated, Misunderstood> {
    #[derive(Deserialize)]
    struct State {
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
    struct Answer {
        name: Option<String>,
        state: Option<State>,
    }
    let answer: Answer = read(bytes)?;
    if let Some(other) = answer.name.filter(|it| it.trim_start_matches('/') != name) {
        let other = shown(&other);
        return Err(Misunderstood::because(format!("it tells of `{other}` instead of {name}")));
    }
    let Some(state) = answer.state else { return Ok(Stated::default()) };
    Ok(Stated {
        running: state.running,
        out_of_memory: state.out_of_memory,
        started: state.started.as_deref().and_then(parse_moment),
        finished: state.finished.as_deref().and_then(parse_moment),
    })
}

/// Parses a timestamp of the engine; `None` also for its zero time.
#[must_use]
pub fn parse_moment(text: &str) -> Option<Nanos> {
    let time = humantime::parse_rfc3339(text).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok().map(Nanos)
}

/// State of a command in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommandState {
    /// Whether it runs; `None`: not reported.
    pub running: Option<bool>,
    /// Exit code; `None`: not reported.
    pub exit_code: Option<i64>,
}

/// Parses the response to `GET /exec/ID/json`.
///
/// # Errors
/// When the bytes are not such a response.
pub fn parse_command(bytes: &[u8]) -> Result<CommandState, Misunderstood> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        running: Option<bool>,
        exit_code: Option<i64>,
    }
    let Answer { running, exit_code } = read(bytes)?;
    Ok(CommandState { running, exit_code })
}

/// An event of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEvent {
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
pub fn parse_event(line: &[u8]) -> Option<ContainerEvent> {
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
    struct Message {
        #[serde(rename = "Action")]
        action: Option<String>,
        #[serde(rename = "Actor")]
        actor: Option<Actor>,
        #[serde(rename = "timeNano")]
        time: Option<i64>,
    }
    let message: Message = read(line).ok()?;
    Some(ContainerEvent {
        container: message.actor?.attributes?.name?,
        action: message.action?,
        at: Nanos(u64::try_from(message.time?).ok()?),
    })
}

/// Parses the body of an error response: its message, or the whole body if it has none.
#[must_use]
pub fn parse_refusal(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    // No more of it is shown in any case.
    let start = &body[..body.len().min(64 << 10)];
    let message = serde_json::from_slice(start).map(|Refusal { message }| message);
    shown(&message.unwrap_or_else(|_| String::from_utf8_lossy(start).into_owned()))
}

/// End of a function, as its starter reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionEnd {
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
pub fn parse_report(bytes: &[u8], token: [u8; 16]) -> Result<Option<FunctionEnd>, &'static str> {
    let report = Report::parse(bytes, &Token::known(token))?;
    Ok(report.map(|report| FunctionEnd {
        status: report.status,
        ran: report.ran(),
        cpu: report.cpu,
        stray: report.stray,
    }))
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
