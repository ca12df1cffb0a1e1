//! Settings of a function beside its arguments and input: its environment, the folders that it
//! sees, the rules of its sandbox, and its share of CPUs.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

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
    /// One share for all functions.
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
    ///
    /// # Errors
    /// The reason why the provider has no function with that much memory.
    pub fn share_for(self, memory: Bytes) -> Result<CpuShare, String> {
        match self {
            Self::Fixed(share) => Ok(share),
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

/// Bytes of what AWS, Google and Azure call a megabyte of a function's memory: all three mean a
/// mebibyte.
const MEGABYTE: u64 = 1 << 20;

/// Memory in megabytes at which AWS Lambda gives one CPU, and its smallest and largest memory, in
/// steps of one megabyte: <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>,
/// "At 1,769 MB, a function has the equivalent of one vCPU".
const AWS_MEGABYTES_PER_CPU: u64 = 1_769;
const AWS_LEAST: u64 = 128;
const AWS_MOST: u64 = 10_240;

/// CPU of Google Cloud Run functions by memory in megabytes, in thousandths of a CPU, unless the
/// CPU is set by itself (2nd generation only):
/// <https://cloud.google.com/functions/docs/configuring/memory>. The 1st generation has the same
/// table up to 8 GiB.
const GOOGLE_TIERS: [(u64, u32); 9] = [
    (128, 83),
    (256, 167),
    (512, 333),
    (1_024, 583),
    (2_048, 1_000),
    (4_096, 2_000),
    (8_192, 2_000),
    (16_384, 4_000),
    (32_768, 8_000),
];

/// CPU of the instances of Azure Functions' Flex Consumption plan by their memory in megabytes, in
/// thousandths of a CPU:
/// <https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan#instance-sizes>. The
/// older Consumption plan has one size only, 1.5 GB and one CPU, whatever a function needs.
const AZURE_TIERS: [(u64, u32); 3] = [(512, 250), (2_048, 1_000), (4_096, 2_000)];

impl CpuByMemory {
    /// Returns the name of the service.
    const fn service(self) -> &'static str {
        match self {
            Self::Aws => "AWS Lambda",
            Self::Google => "Google Cloud Run functions",
            Self::Azure => "Azure Functions (Flex Consumption)",
        }
    }

    /// Returns the share of a function with that much memory, to the nearest thousandth of a CPU.
    /// Where the service has no such size, it is that of the next larger one, which the function
    /// would need.
    ///
    /// # Errors
    /// The reason why the service has no function with that much memory.
    pub fn share_for(self, memory: Bytes) -> Result<CpuShare, String> {
        let megabytes = memory.0.div_ceil(MEGABYTE);
        let found = match self {
            Self::Aws => share_by_proportion(megabytes),
            Self::Google => share_by_tier(&GOOGLE_TIERS, megabytes),
            Self::Azure => share_by_tier(&AZURE_TIERS, megabytes),
        };
        found.map_err(|most| {
            format!(
                "{} has no functions of {megabytes} MiB, but at most {most} MiB: use less --memory, \
                 or --cpus",
                self.service()
            )
        })
    }
}

/// Returns the share of a Lambda function; the error is the largest memory in megabytes.
fn share_by_proportion(megabytes: u64) -> Result<CpuShare, u64> {
    if megabytes > AWS_MOST {
        return Err(AWS_MOST);
    }
    let thousandths = megabytes.max(AWS_LEAST) * 1_000;
    // Rounded half up; a share of the largest memory fits.
    let nearest = (thousandths + AWS_MEGABYTES_PER_CPU / 2) / AWS_MEGABYTES_PER_CPU;
    Ok(CpuShare(u32::try_from(nearest).unwrap_or(u32::MAX)))
}

/// Returns the share of the smallest tier with that much memory; the error is the memory of the
/// largest tier, in megabytes.
fn share_by_tier(tiers: &[(u64, u32)], megabytes: u64) -> Result<CpuShare, u64> {
    let fits = tiers.iter().find(|(size, _)| megabytes <= *size);
    let most = tiers.last().map_or(0, |(size, _)| *size);
    fits.map(|(_, share)| CpuShare(*share)).ok_or(most)
}

/// Error of reading a number of CPUs.
const SHARE_FORM: &str = "is no number of CPUs, such as 0.5 or 2: it takes up to three decimals, \
     and at least 0.001";

impl FromStr for CpuShare {
    type Err = String;

    /// Reads a number of CPUs in decimals, exactly: `0.5`, `2`, `.07`.
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("`{text}` {SHARE_FORM}");
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        let part = part.trim_end_matches('0');
        let has_digits = text.bytes().any(|byte| byte.is_ascii_digit());
        if !has_digits || !is_number(whole) || !is_number(part) || part.len() > 3 {
            return Err(refused());
        }
        let whole: u32 = format!("0{whole}").parse().map_err(|_| refused())?;
        let thousandths: u32 = format!("{part:0<3}").parse().map_err(|_| refused())?;
        let share = whole.checked_mul(1_000).and_then(|it| it.checked_add(thousandths));
        share.filter(|share| *share > 0).map(Self).ok_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(provider: CpuByMemory, megabytes: u64) -> Result<u32, String> {
        provider.share_for(Bytes(megabytes << 20)).map(|share| share.0)
    }

    #[test]
    fn lambda_gives_a_cpu_for_1769_megabytes_in_proportion() {
        // By hand: 128 / 1769 = 0.07236, 512 / 1769 = 0.28943, 1024 / 1769 = 0.57886 (which is
        // 0.579, not 0.578), 3008 / 1769 = 1.70040, 10240 / 1769 = 5.78858.
        for (megabytes, thousandths) in [
            (128, 72),
            (512, 289),
            (1_024, 579),
            (1_768, 999),
            (1_769, 1_000),
            (3_008, 1_700),
            (3_538, 2_000),
            (10_240, 5_789),
        ] {
            assert_eq!(share(CpuByMemory::Aws, megabytes), Ok(thousandths), "{megabytes} MB");
        }
        assert_eq!(share(CpuByMemory::Aws, 6), Ok(72), "the smallest function has 128 MB");
        // 1768.5 MB are 1769 MB there.
        let half = CpuByMemory::Aws.share_for(Bytes((1_768 << 20) + (1 << 19)));
        assert_eq!(half, Ok(CpuShare(1_000)));
        let error = share(CpuByMemory::Aws, 10_241).expect_err("there is none");
        assert!(
            error.starts_with("AWS Lambda has no functions of 10241 MiB, but at most 10240 MiB"),
            "{error}"
        );
    }

    #[test]
    fn tiers_are_those_of_the_next_size_that_is_large_enough() {
        for (megabytes, thousandths) in [
            (64, 83),
            (128, 83),
            (129, 167),
            (512, 333),
            (1_000, 583),
            (2_048, 1_000),
            (4_096, 2_000),
            (8_192, 2_000),
            (32_768, 8_000),
        ] {
            assert_eq!(share(CpuByMemory::Google, megabytes), Ok(thousandths), "{megabytes} MB");
        }
        for (megabytes, thousandths) in [(128, 250), (512, 250), (513, 1_000), (4_096, 2_000)] {
            assert_eq!(share(CpuByMemory::Azure, megabytes), Ok(thousandths), "{megabytes} MB");
        }
        assert!(share(CpuByMemory::Google, 32_769).is_err());
        assert!(share(CpuByMemory::Azure, 4_097).is_err());
    }

    #[test]
    fn numbers_of_cpus_are_read_exactly_or_refused() {
        for (text, thousandths) in [
            ("0.5", 500),
            ("2", 2_000),
            (".07", 70),
            ("0.001", 1),
            ("1.2500", 1_250),
            ("3.", 3_000),
        ] {
            assert_eq!(text.parse(), Ok(CpuShare(thousandths)), "{text}");
        }
        for text in [
            "0", "0.0", "-1", "-0.5", "", ".", "1.2.3", "0.0005", "1e3", "+1", "half", "99999999",
            "1,5",
        ] {
            let error = text.parse::<CpuShare>().expect_err(text);
            assert!(error.contains("is no number of CPUs"), "{error}");
        }
        assert_eq!(CpuShare(72).to_string(), "0.072");
        assert_eq!(CpuShare(2_000).to_string(), "2");
    }
}
