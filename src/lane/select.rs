//! Names of lanes, and opening them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use super::command::CommandLane;
use super::docker::DockerLane;
use super::wasmtime::WasmtimeLane;
use super::{Lane, LaneError, NativeLane};
use crate::meter::host;
use crate::meter::procfs::ProcessIdentity;
use crate::profile::{self, Profile};
use crate::suggest::suggestion;

/// Lanes that can be named without an argument.
const NAMES: [&str; 4] = ["native", "wasmtime", "wasmtime:fuel", "docker"];

/// A lane as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LaneSpec {
    /// A plain process.
    Native,
    /// WebAssembly by wasmtime.
    Wasmtime {
        /// The variant that counts fuel in every run.
        fuel: bool,
    },
    /// A container.
    Docker {
        /// An OCI runtime of the daemon; `None`: its default.
        runtime: Option<String>,
    },
    /// A runtime that a profile describes.
    Command {
        /// Its name, and after a colon the variant's.
        profile: String,
    },
}

/// The text names no lane.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("unknown lane `{given}`{hint}")]
pub struct SpecError {
    given: String,
    hint: String,
}

impl LaneSpec {
    /// The lanes of a recording that names none.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        vec![Self::Native, Self::Wasmtime { fuel: false }, Self::Docker { runtime: None }]
    }

    /// Every lane that `lanes` shows, without runtimes that only the daemon knows.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let own = NAMES.iter().filter_map(|name| name.parse().ok());
        let profile = |it: &Arc<Profile>| Self::Command { profile: it.name.clone() };
        own.chain(profile::catalog().iter().map(profile)).collect()
    }
}

impl FromStr for LaneSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        match (text, text.split_once(':')) {
            ("native", _) => Ok(Self::Native),
            ("wasmtime", _) => Ok(Self::Wasmtime { fuel: false }),
            ("wasmtime:fuel", _) => Ok(Self::Wasmtime { fuel: true }),
            ("docker", _) => Ok(Self::Docker { runtime: None }),
            (_, Some(("docker", runtime))) if is_runtime_name(runtime) => {
                Ok(Self::Docker { runtime: Some(runtime.to_owned()) })
            }
            _ => by_profile(text),
        }
    }
}

/// The lane of a profile; without one, what may have been meant.
fn by_profile(text: &str) -> Result<LaneSpec, SpecError> {
    let catalog = profile::catalog();
    if catalog.get(text).is_some() {
        return Ok(LaneSpec::Command { profile: text.to_owned() });
    }
    let known = NAMES.into_iter().chain(catalog.iter().map(|it| &*it.name));
    Err(SpecError { given: text.to_owned(), hint: suggestion(text, known) })
}

fn is_runtime_name(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

impl fmt::Display for LaneSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native => f.pad("native"),
            Self::Wasmtime { fuel: false } => f.pad("wasmtime"),
            Self::Wasmtime { fuel: true } => f.pad("wasmtime:fuel"),
            Self::Docker { runtime: None } => f.pad("docker"),
            Self::Docker { runtime: Some(runtime) } => f.pad(&format!("docker:{runtime}")),
            Self::Command { profile } => f.pad(profile),
        }
    }
}

/// Opens a lane for use by this process.
///
/// # Errors
/// [`LaneError::Unavailable`] with what was tried and what to do.
pub fn open(spec: &LaneSpec, owner: &ProcessIdentity) -> Result<Box<dyn Lane>, LaneError> {
    Ok(match spec {
        LaneSpec::Native => Box::new(NativeLane::open()?),
        LaneSpec::Wasmtime { fuel } => Box::new(WasmtimeLane::open(*fuel)?),
        LaneSpec::Docker { runtime } => {
            Box::new(DockerLane::open(runtime.as_deref(), owner, host::tsc_hz())?)
        }
        LaneSpec::Command { profile } => {
            let catalog = profile::catalog();
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
        for name in ["native", "wasmtime", "wasmtime:fuel", "docker", "docker:runsc"] {
            assert_eq!(name.parse::<LaneSpec>().map(|lane| lane.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn typos_get_the_nearest() {
        let error = "wasmtme".parse::<LaneSpec>().expect_err("unknown");
        assert_eq!(error.to_string(), "unknown lane `wasmtme`; did you mean `wasmtime`?");
        assert!("docker:".parse::<LaneSpec>().is_err());
        assert!("docker:a b".parse::<LaneSpec>().is_err());
    }
}
