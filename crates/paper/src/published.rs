//! What the paper, and its authors' repository, give.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// All published figures.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    #[serde(rename = "value")]
    values: Vec<PublishedValue>,
    runtime: BTreeMap<String, Runtime>,
    /// Sizes.
    pub footprint: PublishedFootprint,
}

/// One published figure.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedValue {
    /// `table-1`, `figure-1` or `figure-2`.
    pub table: String,
    /// `Azure` or `AWS`.
    pub host: String,
    /// The runtime, by its name of then.
    pub runtime: String,
    /// The workload.
    pub workload: String,
    /// Seconds; `None` where it failed.
    pub seconds: Option<f64>,
    /// Standard deviation in seconds, where given.
    pub sd: Option<f64>,
    /// Whether the paper says that it failed.
    #[serde(default)]
    pub failed: bool,
    /// What to know about it.
    pub note: Option<String>,
}

/// What became of a runtime.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Runtime {
    /// What it is called today.
    today: Option<String>,
    /// The lanes that stand for it, the best first.
    lanes: Vec<String>,
}

/// Published sizes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedFootprint {
    /// The Docker image, in MB.
    pub docker_image_mb: u64,
    /// SSVM, in MB: "under".
    pub ssvm_mb: u64,
}

impl Published {
    /// The figures, which come with the program.
    #[must_use]
    pub fn all() -> &'static Self {
        static ALL: OnceLock<Published> = OnceLock::new();
        ALL.get_or_init(|| {
            // A test parses it; without it there is nothing to set figures beside.
            toml::from_str(include_str!("published.toml")).unwrap_or_else(|_| Self {
                values: Vec::new(),
                runtime: BTreeMap::new(),
                footprint: PublishedFootprint { docker_image_mb: 188, ssvm_mb: 6 },
            })
        })
    }

    /// The runtime that `lane` stands for, of those whose other lanes were not
    /// measured or come after it.
    #[must_use]
    pub fn runtime_of(&self, lane: &str, measured: &[&str]) -> Option<&str> {
        let stands = |runtime: &Runtime| {
            runtime.lanes.iter().find(|it| measured.contains(&it.as_str())).map(String::as_str)
                == Some(lane)
        };
        self.runtime.iter().find(|(_, runtime)| stands(runtime)).map(|(name, _)| name.as_str())
    }

    /// What the runtime is today, where that has another name.
    #[must_use]
    pub fn today(&self, runtime: &str) -> Option<&str> {
        self.runtime.get(runtime)?.today.as_deref()
    }

    /// The figures of a runtime in a table.
    pub fn of<'a>(
        &'a self,
        table: &'a str,
        runtime: &'a str,
        workload: &'a str,
    ) -> impl Iterator<Item = &'a PublishedValue> {
        self.values
            .iter()
            .filter(move |it| it.table == table && it.runtime == runtime && it.workload == workload)
    }

    /// All figures of a table.
    pub fn table<'a>(&'a self, table: &'a str) -> impl Iterator<Item = &'a PublishedValue> {
        self.values.iter().filter(move |it| it.table == table)
    }
}
