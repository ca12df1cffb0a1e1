//! Settings of a function beside its arguments and input: its environment, the folders that it
//! sees, the rules of its sandbox, and its share of CPUs.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use cyclometer_core::units::Bytes;

/// Variable of a function's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentVariable {
    /// Name: not empty, without `=` and NUL.
    pub name: String,
    /// Value, without NUL. It may be a secret: recordings keep names only.
    pub value: String,
}

impl fmt::Display for EnvironmentVariable {
    /// Writes `NAME=VALUE`, as programs get it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// Folder of this machine that a function sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedFolder {
    /// Absolute path on this machine, without links.
    pub host: PathBuf,
    /// Absolute path at which the function finds it.
    pub guest: String,
    /// Whether the function may only read it.
    pub is_read_only: bool,
}

impl SharedFolder {
    /// Returns whether the function finds it where it is on this machine, which plain processes
    /// always do.
    #[must_use]
    pub fn is_at_host_path(&self) -> bool {
        self.host.to_str() == Some(&self.guest)
    }
}

impl fmt::Display for SharedFolder {
    /// Writes `HOST:GUEST[:ro]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.is_read_only { ":ro" } else { "" };
        write!(f, "{}:{}{mode}", self.host.display(), self.guest)
    }
}

/// Rules of a sandbox that were loosened. Only the person who records can loosen one: a manifest
/// cannot. The default loosens none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SandboxRules {
    /// Whether functions reach the network.
    pub network: bool,
    /// Whether functions may write to their root file system.
    pub writable: bool,
    /// User in place of the usual one: `USER[:GROUP]`, names or numbers.
    pub user: Option<String>,
}

impl SandboxRules {
    /// Returns whether no rule is loosened.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        *self == Self::default()
    }

    /// Describes what is loosened, such as `network, user 0`; `None` if nothing is.
    #[must_use]
    pub fn describe_loosened(&self) -> Option<String> {
        let network = self.network.then(|| "network".to_owned());
        let writable = self.writable.then(|| "writable root".to_owned());
        let user = self.user.as_ref().map(|user| format!("user {user}"));
        let words: Vec<String> = [network, writable, user].into_iter().flatten().collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

/// Share of the machine's CPUs that a function may use, in thousandths of a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CpuShare(pub u32);

impl fmt::Display for CpuShare {
    /// Writes the number of CPUs: `0.5`, `2`, `0.072`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{}.{:03}", self.0 / 1_000, self.0 % 1_000);
        f.pad(decimals.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// Rule by which functions get a share of CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuShareRule {
    /// The same share for all.
    Fixed(CpuShare),
    /// A provider's share for the memory of the function.
    ByMemory(CpuByMemory),
}

/// Provider whose CPU share follows the memory of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuByMemory {
    /// AWS Lambda.
    Aws,
    /// Google Cloud Run functions.
    Google,
    /// Azure Functions.
    Azure,
}

impl CpuShareRule {
    /// Returns the share of a function with that much memory.
    #[must_use]
    pub fn share_for(self, memory: Bytes) -> CpuShare {
        match self {
            Self::Fixed(share) => share,
            Self::ByMemory(provider) => provider.share_for(memory),
        }
    }
}

impl fmt::Display for CpuShareRule {
    /// Writes the number of CPUs, or the provider: `0.5`, `aws`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(share) => share.fmt(f),
            Self::ByMemory(CpuByMemory::Aws) => f.pad("aws"),
            Self::ByMemory(CpuByMemory::Google) => f.pad("google"),
            Self::ByMemory(CpuByMemory::Azure) => f.pad("azure"),
        }
    }
}

impl CpuByMemory {
    /// Returns the share of a function with that much memory.
    #[must_use]
    pub fn share_for(self, memory: Bytes) -> CpuShare {
        // One CPU at 1,769 MiB, as AWS documents it for Lambda; the other tables follow.
        let milli = u128::from(memory.0) * 1_000 / (1_769 << 20);
        CpuShare(u32::try_from(milli).unwrap_or(u32::MAX).max(1))
    }
}
