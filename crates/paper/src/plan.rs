//! Plan of a run: what is recorded, and which recordings exist already.

use std::sync::Arc;

use serde_json::{Value, json};

use cyclometer_core::units::Nanos;
use cyclometer_record::{PlanRequest, Starts};
use cyclometer_store::{CellSeries, RecordingDetails, Store, StoreError};
use cyclometer_workload::{Catalog, WorkloadError};

/// Key in a recording's plan that names its run and part.
pub const MARK: &str = "paper";

/// Timeout of the functions that do almost nothing: one that takes this long will not
/// end.
const STUCK: Nanos = Nanos(20_000_000_000);

/// Extent of the measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PaperPreset {
    /// Small arguments, 10 to 20 runs: minutes.
    Quick,
    /// The arguments of the paper, 50 runs: hours.
    Paper,
}

/// A table or figure of the paper, or the measurements for a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PaperPart {
    /// Figure 1: an empty function from a cold start.
    Nop,
    /// Figure 2: a function that copies its input, from a cold start.
    CatSync,
    /// Table 1: four benchmarks.
    Benchmarks,
    /// Whether operators can be counted, and their counts are the same each time.
    Counting,
}

impl PaperPreset {
    /// Returns the name, which is also that of the workloads' preset.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Paper => "paper",
        }
    }

    const fn runs_per_cell(self, part: PaperPart) -> u32 {
        match (self, part) {
            (_, PaperPart::Counting) => 3,
            (Self::Quick, PaperPart::Nop | PaperPart::CatSync) => 20,
            (Self::Quick, PaperPart::Benchmarks) => 10,
            (Self::Paper, _) => 50,
        }
    }

    /// Returns how often the compilation of each module is timed.
    #[must_use]
    pub const fn compile_count(self) -> u32 {
        match self {
            Self::Quick => 6,
            Self::Paper => 20,
        }
    }
}

impl PaperPart {
    /// All parts, in the order in which they are recorded.
    pub const ALL: [Self; 4] = [Self::Nop, Self::CatSync, Self::Benchmarks, Self::Counting];

    /// Returns the name in files and in plans.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Nop => "figure-1",
            Self::CatSync => "figure-2",
            Self::Benchmarks => "table-1",
            Self::Counting => "counting",
        }
    }

    /// Returns the part with the key `key`.
    #[must_use]
    pub(crate) fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.key() == key)
    }

    /// Returns the title.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Nop => "Figure 1: nop, from the request to its end",
            Self::CatSync => "Figure 2: cat-sync, from the request to its end",
            Self::Benchmarks => "Table 1: execution time",
            Self::Counting => "Counting operators",
        }
    }

    /// Returns the functions of the part.
    #[must_use]
    pub const fn workloads(self) -> &'static [&'static str] {
        match self {
            Self::Nop => &["nop"],
            Self::CatSync => &["cat-sync"],
            Self::Benchmarks => &["binary-trees", "fannkuch-redux", "mandelbrot", "nbody"],
            Self::Counting => {
                &["nop", "cat-sync", "binary-trees", "fannkuch-redux", "mandelbrot", "nbody"]
            }
        }
    }

    /// Returns the lanes that the part needs, given the requested ones.
    #[must_use]
    pub fn required_lanes(self, asked: &[String]) -> Vec<String> {
        match self {
            Self::Counting => vec!["wasmtime:fuel".to_owned()],
            _ => asked.to_vec(),
        }
    }
}

/// A run of all parts, as stored in the database.
#[derive(Debug, Clone, PartialEq)]
pub struct PaperRun {
    /// Time at which the run began, which identifies it.
    pub id: String,
    /// Extent of the measurements.
    pub preset: PaperPreset,
    /// The requested lanes.
    pub lanes: Vec<String>,
    /// Runs of each cell, if not the preset's number.
    pub runs: Option<u32>,
    /// Recordings of the run, oldest first, with their status.
    pub recordings: Vec<(PaperPart, i64, String)>,
    /// Fingerprint of the host.
    pub host: Value,
}

/// A part that is still to be recorded, in whole or in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnfinishedPart {
    /// The part.
    pub part: PaperPart,
    /// Number of rounds that all its cells have.
    pub done: u32,
}

impl PaperRun {
    /// Creates a run without recordings.
    #[must_use]
    pub fn new(id: String, preset: PaperPreset, lanes: Vec<String>) -> Self {
        Self { id, preset, lanes, runs: None, recordings: Vec::new(), host: Value::Null }
    }

    /// Returns the request for the rest of a part, of which `done` rounds are recorded
    /// already.
    ///
    /// # Errors
    /// Returns an error if the catalog lacks a workload.
    pub fn request_rest(
        &self,
        part: PaperPart,
        catalog: &Catalog,
        done: u32,
    ) -> Result<PlanRequest, WorkloadError> {
        let workloads: Result<Vec<_>, _> =
            part.workloads().iter().map(|name| catalog.get(name).map(Arc::clone)).collect();
        let runs = self.runs.unwrap_or(self.preset.runs_per_cell(part));
        let starts = if part == PaperPart::Counting { Starts::Cold } else { Starts::Both };
        let timeout = matches!(part, PaperPart::Nop | PaperPart::CatSync).then_some(STUCK);
        Ok(PlanRequest {
            starts,
            timeout,
            runs: runs.saturating_sub(done).max(1),
            ..PlanRequest::for_workloads(workloads?, self.preset.name())
        })
    }

    /// Returns the mark in the plan of a recording of `part`.
    #[must_use]
    pub fn plan_mark(&self, part: PaperPart) -> Value {
        json!({
            "run": self.id,
            "preset": self.preset.name(),
            "part": part.key(),
            "lanes": self.lanes,
            "runs": self.runs,
        })
    }

    /// Returns the runs in the database, oldest first.
    ///
    /// # Errors
    /// Returns an error if it cannot be read.
    pub fn load_all(store: &Store) -> Result<Vec<Self>, StoreError> {
        let mut all: Vec<Self> = Vec::new();
        for planned in store.recordings_with_plan_key(MARK)? {
            let Some((mut run, part)) = Self::from_plan(&planned) else { continue };
            let recording = (part, planned.id, planned.status);
            let same = |other: &Self| other.id == run.id && other.preset == run.preset;
            if let Some(known) = all.iter_mut().find(|other| same(other)) {
                known.recordings.push(recording);
            } else {
                run.recordings.push(recording);
                all.push(run);
            }
        }
        Ok(all)
    }

    fn from_plan(planned: &RecordingDetails) -> Option<(Self, PaperPart)> {
        let mark = planned.plan.get(MARK)?;
        let preset = match mark.get("preset")?.as_str()? {
            "quick" => PaperPreset::Quick,
            "paper" => PaperPreset::Paper,
            _ => return None,
        };
        let lanes = mark.get("lanes")?.as_array()?;
        let lanes =
            lanes.iter().map(|lane| lane.as_str().map(str::to_owned)).collect::<Option<_>>();
        let part = PaperPart::from_key(mark.get("part")?.as_str()?)?;
        let id = mark.get("run")?.as_str()?.to_owned();
        let runs = mark.get("runs").and_then(Value::as_u64);
        let runs = runs.and_then(|runs| u32::try_from(runs).ok());
        Some((Self { runs, host: planned.host.clone(), ..Self::new(id, preset, lanes?) }, part))
    }

    /// Returns the ids of all recordings.
    #[must_use]
    pub fn recording_ids(&self) -> Vec<i64> {
        self.recordings.iter().map(|(_, recording, _)| *recording).collect()
    }

    /// Returns the ids of the recordings of one part.
    #[must_use]
    pub fn recordings_of(&self, part: PaperPart) -> Vec<i64> {
        let of = self.recordings.iter().filter(|(other, _, _)| *other == part);
        of.map(|(_, recording, _)| *recording).collect()
    }

    /// Returns whether a recording of the part was completed.
    fn is_recorded(&self, part: PaperPart) -> bool {
        let ended = |status: &str| matches!(status, "done" | "failed");
        self.recordings.iter().any(|(other, _, status)| *other == part && ended(status))
    }

    /// Returns the parts that are still to be recorded, in order.
    ///
    /// # Errors
    /// Returns an error if the database cannot be read.
    pub fn find_unfinished(&self, store: &Store) -> Result<Vec<UnfinishedPart>, StoreError> {
        let missing = PaperPart::ALL.into_iter().filter(|part| !self.is_recorded(*part));
        missing
            .map(|part| {
                let series = store.cell_series(&self.recordings_of(part))?;
                Ok(UnfinishedPart { part, done: complete_rounds(&series) })
            })
            .collect()
    }

    /// Returns the lanes in which even `nop` never succeeded: nothing else is tried
    /// there.
    ///
    /// # Errors
    /// Returns an error if the database cannot be read.
    pub fn find_hopeless_lanes(&self, store: &Store) -> Result<Vec<String>, StoreError> {
        Ok(hopeless_lanes(&store.cell_series(&self.recordings_of(PaperPart::Nop))?))
    }

    /// Returns whether the run can be continued here: on the same host, with the same
    /// program.
    #[must_use]
    pub fn can_continue_on(&self, host: &Value) -> bool {
        // Clocks are calibrated anew each time.
        let named = |of: &Value| {
            let mut of = of.clone();
            if let Some(of) = of.as_object_mut() {
                of.retain(|key, _| key != "tsc_hz" && key != "clock");
            }
            of
        };
        named(&self.host) == named(host)
    }
}

pub(super) fn hopeless_lanes(nop: &[CellSeries]) -> Vec<String> {
    let well = |lane: &str| nop.iter().any(|it| &*it.key.lane == lane && !it.runs.is_empty());
    let failed = nop.iter().filter(|it| it.failed > 0 && !well(&it.key.lane));
    failed.map(|it| it.key.lane.to_string()).collect()
}

/// Returns the number of rounds that all cells have, without those that cannot run.
fn complete_rounds(series: &[CellSeries]) -> u32 {
    let able = series.iter().filter(|it| !it.runs.is_empty());
    let least = able.map(CellSeries::tried_invocations).min().unwrap_or(0);
    u32::try_from(least).unwrap_or(u32::MAX)
}
