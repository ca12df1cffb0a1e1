//! Names of lanes, and opening lanes by them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use super::command::CommandLane;
use super::docker::DockerLane;
use super::wasmtime::WasmtimeLane;
use super::wasmtime::settings::WasmtimeSettings;
use super::{Lane, LaneError, NativeLane};
use crate::profile::{self, Profile};
use cyclometer_core::suggest::format_suggestion;
use cyclometer_meter::host;
use cyclometer_system::procfs::ProcessIdentity;

/// A lane as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LaneSpec {
    /// A plain process.
    Native,
    /// WebAssembly in wasmtime.
    Wasmtime(WasmtimeSettings),
    /// A container.
    Docker {
        /// OCI runtime of the daemon; `None`: its default.
        runtime: Option<String>,
        /// Image of the daemon below the program; `None`: an empty root.
        base: Option<String>,
    },
    /// A runtime that a profile describes.
    Command {
        /// Name of the profile, and after a colon the variant's.
        profile: String,
    },
}

/// The text names no lane.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("unknown lane `{given}`{hint}")]
pub struct LaneSpecError {
    given: String,
    hint: String,
}

impl LaneSpecError {
    fn for_unknown(text: &str) -> Self {
        let names: Vec<String> = LaneSpec::all_known().iter().map(ToString::to_string).collect();
        let hint = format_suggestion(text, names.iter().map(String::as_str));
        Self { given: text.to_owned(), hint }
    }
}

impl LaneSpec {
    /// Returns the lanes of a recording that names none.
    #[must_use]
    pub fn default_lanes() -> Vec<Self> {
        vec![Self::Native, Self::Wasmtime(WasmtimeSettings::default()), Self::default_docker()]
    }

    /// Returns the lane of containers in the daemon's default runtime.
    const fn default_docker() -> Self {
        Self::Docker { runtime: None, base: None }
    }

    /// Sets this base image for containers that have none yet.
    #[must_use]
    pub fn with_base(self, image: &str) -> Self {
        match self {
            Self::Docker { runtime, base: None } => {
                Self::Docker { runtime, base: Some(image.to_owned()) }
            }
            other => other,
        }
    }

    /// Returns every lane that `lanes` shows, without runtimes that only the daemon knows.
    #[must_use]
    pub fn all_known() -> Vec<Self> {
        let wasmtime = WasmtimeSettings::all_variants().map(Self::Wasmtime);
        let profile = |it: &Arc<Profile>| Self::Command { profile: it.name.clone() };
        std::iter::once(Self::Native)
            .chain(wasmtime)
            .chain([Self::default_docker()])
            .chain(profile::current_catalog().iter().map(profile))
            .collect()
    }
}

impl FromStr for LaneSpec {
    type Err = LaneSpecError;

    fn from_str(text: &str) -> Result<Self, LaneSpecError> {
        match (text, text.split_once(':')) {
            ("native", _) => Ok(Self::Native),
            ("wasmtime", _) => Ok(Self::Wasmtime(WasmtimeSettings::default())),
            (_, Some(("wasmtime", variant))) => match variant.parse() {
                Ok(settings) => Ok(Self::Wasmtime(settings)),
                Err(()) => Err(LaneSpecError::for_unknown(text)),
            },
            _ if let Some(docker) = parse_docker(text) => Ok(docker),
            _ if profile::current_catalog().get(text).is_some() => {
                Ok(Self::Command { profile: text.to_owned() })
            }
            _ => Err(LaneSpecError::for_unknown(text)),
        }
    }
}

/// Parses `docker[:RUNTIME][@IMAGE]`.
fn parse_docker(text: &str) -> Option<LaneSpec> {
    let rest = text.strip_prefix("docker")?;
    // A digest has an `@` of its own.
    let (runtime, base) = match rest.split_once('@') {
        Some((runtime, base)) => (runtime, Some(base)),
        None => (rest, None),
    };
    let runtime = if runtime.is_empty() { None } else { Some(runtime.strip_prefix(':')?) };
    let fits = runtime.is_none_or(is_runtime_name) && base.is_none_or(is_image_name);
    let [runtime, base] = [runtime, base].map(|name| name.map(str::to_owned));
    fits.then_some(LaneSpec::Docker { runtime, base })
}

fn is_runtime_name(text: &str) -> bool {
    // With slashes, the path of a containerd shim.
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    !text.is_empty() && text.chars().all(fits)
}

/// Returns whether a text can be a reference to an image; its meaning is up to the daemon.
pub(crate) fn is_image_name(text: &str) -> bool {
    let fits =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | ':' | '@');
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(fits)
}

impl fmt::Display for LaneSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native => f.pad("native"),
            Self::Wasmtime(settings) if settings.variant_words().is_empty() => f.pad("wasmtime"),
            Self::Wasmtime(settings) => f.pad(&format!("wasmtime:{settings}")),
            Self::Docker { runtime, base } => {
                let with = |sign, name: &Option<String>| {
                    name.as_ref().map_or_else(String::new, |name| format!("{sign}{name}"))
                };
                f.pad(&format!("docker{}{}", with(':', runtime), with('@', base)))
            }
            Self::Command { profile } => f.pad(profile),
        }
    }
}

/// Opens a lane for use by this process.
///
/// # Errors
/// [`LaneError::Unavailable`] with what was tried and what to do.
pub fn open_lane(spec: &LaneSpec, owner: &ProcessIdentity) -> Result<Box<dyn Lane>, LaneError> {
    Ok(match spec {
        LaneSpec::Native => Box::new(NativeLane::open()?),
        LaneSpec::Wasmtime(settings) => Box::new(WasmtimeLane::open(*settings)?),
        LaneSpec::Docker { runtime, base } => {
            Box::new(DockerLane::open(runtime.as_deref(), base.as_deref(), owner, host::tsc_hz())?)
        }
        LaneSpec::Command { profile } => {
            let catalog = profile::current_catalog();
            let known = catalog.get(profile).ok_or_else(|| LaneError::Unavailable {
                reason: format!("there is no profile `{profile}` any more"),
            })?;
            Box::new(CommandLane::open(known)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_parsing() {
        let digest = format!("docker@debian@sha256:{}", "0a".repeat(32));
        for name in [
            "native",
            "wasmtime",
            "wasmtime:winch+fuel",
            "docker",
            "docker:runsc",
            "docker:io.containerd.wasmtime.v1",
            "docker:/opt/kata/containerd-shim-kata-v2",
            "docker@debian:12",
            "docker:runc@localhost:5000/team/debian:12-slim",
            &digest,
        ] {
            assert_eq!(name.parse::<LaneSpec>().map(|lane| lane.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn typos_get_the_nearest() {
        let error = "wasmtme".parse::<LaneSpec>().expect_err("unknown");
        assert_eq!(error.to_string(), "unknown lane `wasmtme`; did you mean `wasmtime`?");
        let error = "wasmtime:feul".parse::<LaneSpec>().expect_err("unknown").to_string();
        assert_eq!(error, "unknown lane `wasmtime:feul`; did you mean `wasmtime:fuel`?");
        for bad in ["docker:", "docker:a b", "docker@", "docker:@debian", "docker@-x", "dockerrunc"]
        {
            assert!(bad.parse::<LaneSpec>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_base_image_for_all_spares_those_that_have_one() {
        let with = |name: &str| {
            name.parse::<LaneSpec>().map(|lane| lane.with_base("debian:12").to_string())
        };
        assert_eq!(with("docker:runsc"), Ok("docker:runsc@debian:12".to_owned()));
        assert_eq!(with("docker@alpine"), Ok("docker@alpine".to_owned()));
        assert_eq!(with("native"), Ok("native".to_owned()));
    }
}
