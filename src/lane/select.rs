//! Names of lanes, and opening them.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::docker::DockerLane;
use super::wasmtime::WasmtimeLane;
use super::wasmtime::settings::Settings;
use super::{Lane, LaneError, NativeLane};
use crate::meter::host;
use crate::meter::procfs::ProcessIdentity;
use crate::suggest::suggestion;

/// A lane as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LaneSpec {
    /// A plain process.
    Native,
    /// WebAssembly by wasmtime.
    Wasmtime(Settings),
    /// A container.
    Docker {
        /// An OCI runtime of the daemon; `None`: its default.
        runtime: Option<String>,
    },
}

/// The text names no lane.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("unknown lane `{given}`{hint}")]
pub struct SpecError {
    given: String,
    hint: String,
}

impl SpecError {
    fn of(text: &str) -> Self {
        let names: Vec<String> = LaneSpec::all().iter().map(ToString::to_string).collect();
        let hint = suggestion(text, names.iter().map(String::as_str));
        Self { given: text.to_owned(), hint }
    }
}

impl LaneSpec {
    /// The lanes of a recording that names none.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        vec![Self::Native, Self::Wasmtime(Settings::default()), Self::Docker { runtime: None }]
    }

    /// Every lane that `lanes` shows, without runtimes that only the daemon knows.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let wasmtime = Settings::all().map(Self::Wasmtime);
        std::iter::once(Self::Native)
            .chain(wasmtime)
            .chain([Self::Docker { runtime: None }])
            .collect()
    }
}

impl FromStr for LaneSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        match (text, text.split_once(':')) {
            ("native", _) => Ok(Self::Native),
            ("wasmtime", _) => Ok(Self::Wasmtime(Settings::default())),
            ("docker", _) => Ok(Self::Docker { runtime: None }),
            (_, Some(("wasmtime", variant))) => match variant.parse() {
                Ok(settings) => Ok(Self::Wasmtime(settings)),
                Err(()) => Err(SpecError::of(text)),
            },
            (_, Some(("docker", runtime))) if is_runtime_name(runtime) => {
                Ok(Self::Docker { runtime: Some(runtime.to_owned()) })
            }
            _ => Err(SpecError::of(text)),
        }
    }
}

fn is_runtime_name(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

impl fmt::Display for LaneSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native => f.pad("native"),
            Self::Wasmtime(settings) if settings.words().is_empty() => f.pad("wasmtime"),
            Self::Wasmtime(settings) => f.pad(&format!("wasmtime:{settings}")),
            Self::Docker { runtime: None } => f.pad("docker"),
            Self::Docker { runtime: Some(runtime) } => f.pad(&format!("docker:{runtime}")),
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
        LaneSpec::Wasmtime(settings) => Box::new(WasmtimeLane::open(*settings)?),
        LaneSpec::Docker { runtime } => {
            Box::new(DockerLane::open(runtime.as_deref(), owner, host::tsc_hz())?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_parsing() {
        for name in ["native", "wasmtime", "wasmtime:winch+fuel", "docker", "docker:runsc"] {
            assert_eq!(name.parse::<LaneSpec>().map(|lane| lane.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn typos_get_the_nearest() {
        let error = "wasmtme".parse::<LaneSpec>().expect_err("unknown");
        assert_eq!(error.to_string(), "unknown lane `wasmtme`; did you mean `wasmtime`?");
        let error = "wasmtime:feul".parse::<LaneSpec>().expect_err("unknown").to_string();
        assert_eq!(error, "unknown lane `wasmtime:feul`; did you mean `wasmtime:fuel`?");
        assert!("docker:".parse::<LaneSpec>().is_err());
        assert!("docker:a b".parse::<LaneSpec>().is_err());
    }
}
