//! Figures published in the paper and in its authors' repository.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// All published figures.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    #[serde(rename = "value")]
    values: Vec<PublishedValue>,
    runtime: BTreeMap<String, PublishedRuntime>,
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
    /// The runtime, by its name in 2020.
    pub runtime: String,
    /// The workload.
    pub workload: String,
    /// Seconds; `None` where it failed.
    pub seconds: Option<f64>,
    /// Standard deviation in seconds, where given.
    pub sd: Option<f64>,
    /// Whether the paper reports a failure.
    #[serde(default)]
    pub failed: bool,
    /// Remark on the figure.
    pub note: Option<String>,
}

/// Current state of a runtime of the paper.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishedRuntime {
    /// The runtime's name today.
    today: Option<String>,
    /// The lanes that represent the runtime, the best first.
    lanes: Vec<String>,
}

/// Published sizes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedFootprint {
    /// The Docker image, in MB.
    pub docker_image_mb: u64,
    /// Upper bound of the size of SSVM, in MB.
    pub ssvm_mb: u64,
}

impl Published {
    /// Returns the figures, which are compiled into the program.
    #[must_use]
    pub fn builtin() -> &'static Self {
        static ALL: OnceLock<Published> = OnceLock::new();
        ALL.get_or_init(|| {
            // A test parses the file; without it there is nothing to compare with.
            toml::from_str(include_str!("published.toml")).unwrap_or_else(|_| Self {
                values: Vec::new(),
                runtime: BTreeMap::new(),
                footprint: PublishedFootprint { docker_image_mb: 188, ssvm_mb: 6 },
            })
        })
    }

    /// Returns the runtime that `lane` represents: each runtime is represented by the first
    /// of its lanes that was measured.
    #[must_use]
    pub(crate) fn runtime_of(&self, lane: &str, measured: &[&str]) -> Option<&str> {
        let stands = |runtime: &PublishedRuntime| {
            runtime.lanes.iter().find(|it| measured.contains(&it.as_str())).map(String::as_str)
                == Some(lane)
        };
        self.runtime.iter().find(|(_, runtime)| stands(runtime)).map(|(name, _)| name.as_str())
    }

    /// Returns the current name of a runtime, if it was renamed.
    #[must_use]
    pub fn current_name(&self, runtime: &str) -> Option<&str> {
        self.runtime.get(runtime)?.today.as_deref()
    }

    /// Returns the figures of a runtime in a table.
    pub(crate) fn figures_of<'a>(
        &'a self,
        table: &'a str,
        runtime: &'a str,
        workload: &'a str,
    ) -> impl Iterator<Item = &'a PublishedValue> {
        self.values
            .iter()
            .filter(move |it| it.table == table && it.runtime == runtime && it.workload == workload)
    }

    /// Returns all figures of a table.
    pub fn figures_in_table<'a>(
        &'a self,
        table: &'a str,
    ) -> impl Iterator<Item = &'a PublishedValue> {
        self.values.iter().filter(move |it| it.table == table)
    }
}
