//! The report: tables of measurements beside the published ones.

use std::collections::BTreeMap;

use serde_json::Value;

use super::claims::{self, Claim};
use super::footprint::{self, LaneFootprint};
use super::plan::hopeless_lanes;
use super::{PaperPart, PaperPreset, PaperRun, Published, PublishedValue};
use cyclometer_core::invocation::StartKind;
use cyclometer_core::units::Nanos;
use cyclometer_pricing::Exact;
use cyclometer_replay::ReplaySummary as Bills;
use cyclometer_stats::{Change, Confidence, Quantum, RatioRefusal, Summary, ratio_with_interval};
use cyclometer_store::CellSeries;

/// The lanes that represent "Docker"; the first measured one counts.
const DOCKER: [&str; 2] = ["docker:runc", "docker"];

/// The lane without a sandbox, the reference for all others.
const NATIVE: &str = "native";

/// A lane of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PaperLane {
    /// Name of the lane.
    pub name: String,
    /// Runtime and version.
    pub version: String,
    /// Remark on the lane.
    pub note: String,
    /// Reason why the lane did not run.
    pub unavailable: Option<String>,
    /// Whether the lane runs WebAssembly.
    pub wasm: bool,
    /// Whether it is a Docker lane.
    pub docker: bool,
}

/// Statistics of a time, in nanoseconds: median, interval and more.
pub type TimeFigure = Summary;

/// Price models that rows are billed by: allocated memory and rounded time; cycles;
/// WebAssembly operators.
pub const BILLED: [&str; 3] = ["aws-lambda-x86", "per-cycle", "per-wasm-op"];

/// Mean bills of a million invocations by the models of [`BILLED`], in USD;
/// `None` where a model refuses them, such as native programs by operators.
pub type MeanBills = [Option<Exact>; 3];

/// Results of one function in one lane, for one kind of start.
#[derive(Debug, Clone, PartialEq)]
pub struct PaperRow {
    /// The function.
    pub workload: String,
    /// The lane.
    pub lane: String,
    /// Kind of start.
    pub start: StartKind,
    /// The time that the table compares; `None` if it was not measured.
    pub time: Option<TimeFigure>,
    /// Medians of create, start, run and teardown, in nanoseconds.
    pub phases: [Option<f64>; 4],
    /// Number of failed invocations.
    pub bad: u64,
    /// Reason for a missing time, or for failures.
    pub why: Option<String>,
    /// The time as a multiple of the native lane's.
    pub over_native: Option<Result<Change, RatioRefusal>>,
    /// Docker's time as a multiple of this one.
    pub docker_over: Option<Result<Change, RatioRefusal>>,
    /// The runtime of the paper that the lane represents.
    pub runtime: Option<String>,
    /// Published figures.
    pub published: Vec<PublishedValue>,
    /// Mean bills of a million invocations.
    pub usd: MeanBills,
}

impl PaperRow {
    /// Returns whether anything was run, successfully or not.
    #[must_use]
    pub(crate) const fn was_tried(&self) -> bool {
        self.time.is_some() || self.bad > 0
    }
}

/// A table or figure of the paper, measured again.
#[derive(Debug, Clone, PartialEq)]
pub struct PaperTable {
    /// The part that the table belongs to.
    pub part: PaperPart,
    /// The rows, by workload, then in the order of lanes.
    pub rows: Vec<PaperRow>,
}

/// Compile time of one module in one lane.
#[derive(Debug, Clone, PartialEq)]
pub struct CompileRow {
    /// The lane.
    pub lane: String,
    /// The workload.
    pub workload: String,
    /// The time, in nanoseconds.
    pub time: TimeFigure,
}

/// All results of a run.
#[derive(Debug, Clone)]
pub struct PaperReport {
    /// Extent of the measurements.
    pub preset: PaperPreset,
    /// Confidence of the intervals.
    pub confidence: Confidence,
    /// The machine.
    pub host: Value,
    /// The recordings.
    pub recordings: Vec<i64>,
    /// Parts that are not recorded completely.
    pub unfinished: Vec<PaperPart>,
    /// The lanes.
    pub lanes: Vec<PaperLane>,
    /// Figures 1 and 2 and Table 1.
    pub tables: Vec<PaperTable>,
    /// Compile times.
    pub compile: Vec<CompileRow>,
    /// Sizes.
    pub footprint: Vec<LaneFootprint>,
    /// Claims of the paper, and whether they hold here.
    pub claims: Vec<Claim>,
    /// Statistical warnings about the figures.
    pub warnings: Vec<String>,
}

/// Input of a report.
#[derive(Debug)]
pub struct ReportMaterial<'a> {
    /// The run.
    pub run: &'a PaperRun,
    /// The machine.
    pub host: Value,
    /// The lanes.
    pub lanes: Vec<PaperLane>,
    /// Measurements of each part.
    pub series: &'a [(PaperPart, Vec<CellSeries>)],
    /// Bills: under a coarse and a fine model at least.
    pub bills: Option<&'a Bills>,
    /// Resolution of the clock.
    pub quantum: Option<Quantum>,
    /// Confidence of the intervals.
    pub confidence: Confidence,
    /// Parts that are not recorded completely.
    pub unfinished: Vec<PaperPart>,
}

impl PaperReport {
    /// Evaluates the material.
    #[must_use]
    pub fn new(material: ReportMaterial<'_>) -> Self {
        let tables: Vec<PaperTable> = material
            .series
            .iter()
            .filter(|(part, _)| *part != PaperPart::Counting)
            .map(|(part, series)| material.build_table(*part, series))
            .collect();
        let footprint = footprint::measure_footprints(&material);
        let claims = claims::evaluate_all(&material, &tables, &footprint);
        Self {
            preset: material.run.preset,
            confidence: material.confidence,
            recordings: material.run.recording_ids(),
            compile: material.compile_rows(),
            warnings: list_warnings(&tables),
            host: material.host,
            unfinished: material.unfinished,
            lanes: material.lanes,
            tables,
            footprint,
            claims,
        }
    }
}

impl PaperPart {
    /// Returns the kind of start that the paper's figures apply to: cold ones, and for
    /// the benchmarks warm ones, or a lane's cold ones where it has no other.
    fn published_start(self, base: &RowReference<'_>, lane: &str) -> StartKind {
        let warm =
            self == Self::Benchmarks && find_series(base.all, lane, &[StartKind::Warm]).is_some();
        if warm { StartKind::Warm } else { StartKind::Cold }
    }

    /// Returns the time that the part compares: for the benchmarks that of the function
    /// alone, otherwise that from the request to the end.
    fn time_of(self, run: &cyclometer_store::SeriesRun) -> Option<Nanos> {
        if self == Self::Benchmarks { run.run } else { run.wall }
    }
}

impl ReportMaterial<'_> {
    fn build_table(&self, part: PaperPart, series: &[CellSeries]) -> PaperTable {
        let measured: Vec<&str> =
            series.iter().filter(|it| !it.runs.is_empty()).map(|it| &*it.key.lane).collect();
        let docker = DOCKER.into_iter().find(|lane| measured.contains(lane));
        let mut rows: Vec<PaperRow> = Vec::new();
        for workload in part.workloads() {
            let of_it: Vec<&CellSeries> =
                series.iter().filter(|it| &*it.key.workload == *workload).collect();
            let base = RowReference {
                native: part_times(part, find_series(&of_it, NATIVE, &[StartKind::Cold])),
                docker,
                all: &of_it,
            };
            rows.extend(of_it.iter().map(|series| self.build_row(part, series, &base, &measured)));
            rows.extend(self.absent_rows(part, workload, &of_it));
        }
        PaperTable { part, rows }
    }

    fn build_row(
        &self,
        part: PaperPart,
        series: &CellSeries,
        base: &RowReference<'_>,
        measured: &[&str],
    ) -> PaperRow {
        let key = &series.key;
        let mine = part_times(part, Some(series));
        let against = |base: &[f64], other: &[f64]| {
            (!base.is_empty() && !other.is_empty())
                .then(|| ratio_with_interval(other, base, self.quantum, self.confidence))
        };
        let phase = |of: fn(&cyclometer_store::SeriesRun) -> Option<Nanos>| {
            let values: Vec<f64> = series.runs.iter().filter_map(of).map(nanos_as_f64).collect();
            Summary::from_values(&values, self.confidence).map(|summary| summary.median)
        };
        let starts: &[StartKind] = match key.start {
            StartKind::Warm => &[StartKind::Warm, StartKind::Cold],
            StartKind::Cold => &[StartKind::Cold],
        };
        let docker = base.docker.and_then(|lane| find_series(base.all, lane, starts));
        let is_docker = base.docker == Some(&*key.lane);
        let published = Published::builtin();
        let runtime = published
            .runtime_of(&key.lane, measured)
            .filter(|_| key.start == part.published_start(base, &key.lane));
        let values = runtime.map(|runtime| {
            published.figures_of(part.key(), runtime, &key.workload).cloned().collect()
        });
        PaperRow {
            workload: key.workload.to_string(),
            lane: key.lane.to_string(),
            start: key.start,
            over_native: (&*key.lane != NATIVE).then(|| against(&base.native, &mine)).flatten(),
            docker_over: (!is_docker).then(|| against(&mine, &part_times(part, docker))).flatten(),
            time: Summary::from_values(&mine, self.confidence),
            phases: [
                phase(|it| it.create),
                phase(|it| it.start),
                phase(|it| it.run),
                phase(|it| it.teardown),
            ],
            bad: series.failed,
            why: series
                .reason
                .clone()
                .or_else(|| series.runs.is_empty().then(|| series.note.clone()).flatten()),
            runtime: runtime.map(str::to_owned),
            published: values.unwrap_or_default(),
            // Failed runs are billed too, but their bill is no figure to compare.
            usd: if series.runs.is_empty() {
                MeanBills::default()
            } else {
                self.mean_bills(series)
            },
        }
    }

    /// Returns rows for lanes that do not run here, or cannot run this function.
    fn absent_rows(&self, part: PaperPart, workload: &str, of_it: &[&CellSeries]) -> Vec<PaperRow> {
        let wanted = part.required_lanes(&self.run.lanes);
        let missing = wanted.iter().filter(|lane| of_it.iter().all(|it| *it.key.lane != ***lane));
        missing
            .map(|lane| {
                let about = self.lanes.iter().find(|about| &about.name == lane);
                let why = about.and_then(|about| about.unavailable.clone());
                let unfinished = self.unfinished.contains(&part);
                let why = why.or_else(|| self.failed_nop(part, lane)).unwrap_or_else(|| {
                    let why =
                        if unfinished { "not recorded yet" } else { "it cannot run this function" };
                    why.to_owned()
                });
                PaperRow {
                    workload: workload.to_owned(),
                    lane: lane.clone(),
                    start: StartKind::Cold,
                    time: None,
                    phases: [None; 4],
                    bad: 0,
                    why: Some(why),
                    over_native: None,
                    docker_over: None,
                    runtime: None,
                    published: Vec::new(),
                    usd: MeanBills::default(),
                }
            })
            .collect()
    }

    /// Returns why nothing but `nop` was tried in a lane.
    fn failed_nop(&self, part: PaperPart, lane: &str) -> Option<String> {
        let (_, nop) =
            self.series.iter().find(|(of, _)| *of == PaperPart::Nop && part != PaperPart::Nop)?;
        let failed = hopeless_lanes(nop).iter().any(|name| name == lane);
        let series =
            nop.iter().find(|it| &*it.key.lane == lane && it.failed > 0).filter(|_| failed)?;
        let why = series.reason.as_deref().or(series.note.as_deref()).unwrap_or("it failed");
        Some(format!("not tried, since nop fails in it: {why}"))
    }

    fn mean_bills(&self, series: &CellSeries) -> MeanBills {
        BILLED.map(|id| {
            let bills = self.bills?;
            let model = bills.models().iter().position(|model| model.id == id)?;
            let (_, group) = bills.groups().find(|(key, _)| **key == series.key)?;
            group.models.get(model)?.mean_per_million()
        })
    }

    fn compile_rows(&self) -> Vec<CompileRow> {
        let mut all: BTreeMap<(usize, &str), (&CellSeries, Vec<f64>)> = BTreeMap::new();
        for series in self.series.iter().flat_map(|(_, series)| series) {
            let order = self.run.lanes.iter().position(|lane| **lane == *series.key.lane);
            let key = (order.unwrap_or(usize::MAX), &*series.key.workload);
            let entry = all.entry(key).or_insert((series, Vec::new()));
            entry.1.extend(series.compiles.iter().copied().map(nanos_as_f64));
        }
        let rows = all.into_values().filter_map(|(series, times)| {
            Some(CompileRow {
                lane: series.key.lane.to_string(),
                workload: series.key.workload.to_string(),
                time: Summary::from_values(&times, self.confidence)?,
            })
        });
        rows.collect()
    }
}

/// Measurements that rows are compared with.
struct RowReference<'a> {
    native: Vec<f64>,
    docker: Option<&'static str>,
    all: &'a [&'a CellSeries],
}

fn find_series<'a>(
    all: &[&'a CellSeries],
    lane: &str,
    starts: &[StartKind],
) -> Option<&'a CellSeries> {
    starts.iter().find_map(|start| {
        let is_it = |it: &&&CellSeries| {
            &*it.key.lane == lane && it.key.start == *start && !it.runs.is_empty()
        };
        all.iter().find(is_it).copied()
    })
}

fn part_times(part: PaperPart, series: Option<&CellSeries>) -> Vec<f64> {
    let runs = series.map(|it| it.runs.as_slice()).unwrap_or_default();
    runs.iter().filter_map(|run| part.time_of(run)).map(nanos_as_f64).collect()
}

#[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 ns")]
const fn nanos_as_f64(span: Nanos) -> f64 {
    span.0 as f64
}

/// Lists the statistical warnings about each row.
fn list_warnings(tables: &[PaperTable]) -> Vec<String> {
    let mut all = Vec::new();
    for row in tables.iter().flat_map(|table| &table.rows) {
        for warning in row.time.iter().flat_map(Summary::warnings) {
            all.push(format!("{} in {}, {}: {warning}", row.workload, row.lane, row.start));
        }
    }
    all
}
