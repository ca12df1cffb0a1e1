//! The plan of a recording: workloads x lanes x start kinds x runs.

use std::collections::HashMap;
use std::sync::Arc;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use thiserror::Error;

use super::recorder::OpenLane;
use super::stopping_rule::StoppingRule;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_lanes::descriptors;
use cyclometer_lanes::{Job, StartKind};
use cyclometer_stats::Random;
use cyclometer_workload::{
    CpuShare, CpuShareRule, Limits, Preset, SandboxRules, Workload, WorkloadError,
};

/// Kinds of start to record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Starts {
    /// A new sandbox for every invocation.
    Cold,
    /// A fresh instance in a sandbox that already runs.
    Warm,
    /// Both, in the lanes that have both.
    Both,
}

impl Starts {
    fn includes(self, start: StartKind) -> bool {
        match self {
            Self::Cold => start == StartKind::Cold,
            Self::Warm => start == StartKind::Warm,
            Self::Both => true,
        }
    }
}

/// Request for a recording, from which a [`Plan`] is made.
#[derive(Debug, Clone)]
pub struct PlanRequest {
    /// Workloads to run.
    pub workloads: Vec<Arc<Workload>>,
    /// Preset that all of them have.
    pub preset: String,
    /// Kinds of start.
    pub starts: Starts,
    /// Number of recorded runs of each cell.
    pub runs: u32,
    /// Number of runs before them that are not recorded.
    pub warmup: u32,
    /// Memory limit that replaces the workload's own.
    pub memory: Option<Bytes>,
    /// Time limit that replaces the workload's own.
    pub timeout: Option<Nanos>,
    /// Only CPU that functions run on.
    pub cpu: Option<u16>,
    /// Rounds go on until they are stopped; `runs` is ignored.
    pub until_stopped: bool,
    /// Lanes run at the same time, each on a CPU of its own.
    pub race: bool,
    /// Rounds go on until medians are known this well, or `runs` are over.
    pub until: Option<StoppingRule>,
    /// Seed for the order of each round: the same seed gives the same order.
    pub seed: u64,
    /// Number of compilations in each lane that are timed for their own sake.
    pub compiles: u32,
    /// Runs after which a cell that has only ever failed is not run again;
    /// `None`: it is run to the end.
    pub give_up: Option<u32>,
    /// Rules of the sandbox that are loosened.
    pub rules: SandboxRules,
    /// Share of CPUs that functions get; `None`: whole ones.
    pub cpu_share: Option<CpuShareRule>,
}

/// Returns a seed that no other recording is likely to have.
#[must_use]
pub fn fresh_seed() -> u64 {
    let now = cyclometer_lanes::monotonic_now().0 ^ u64::from(std::process::id()).rotate_left(32);
    // 32 bits: short enough to be typed again, and exact in JSON.
    Random::from_seed(now).next_u64() >> 32
}

impl PlanRequest {
    /// Creates a request for these workloads with that preset and defaults for
    /// the other options.
    #[must_use]
    pub fn for_workloads(workloads: Vec<Arc<Workload>>, preset: &str) -> Self {
        Self {
            workloads,
            preset: preset.to_owned(),
            starts: Starts::Both,
            runs: 10,
            warmup: 1,
            memory: None,
            timeout: None,
            cpu: None,
            until_stopped: false,
            race: false,
            until: None,
            seed: fresh_seed(),
            compiles: 0,
            give_up: None,
            rules: SandboxRules::default(),
            cpu_share: None,
        }
    }

    /// Returns the request as a recording keeps it, with the names of its
    /// lanes.
    #[must_use]
    pub fn to_json(&self, lanes: &[String], sample_interval: Option<Nanos>) -> serde_json::Value {
        serde_json::json!({
            "workloads": self.workloads.iter().map(|it| &it.name).collect::<Vec<_>>(),
            "lanes": lanes,
            "preset": self.preset,
            "start": format!("{:?}", self.starts).to_lowercase(),
            "runs": (!self.until_stopped).then_some(self.runs),
            "warmup": self.warmup,
            "memory_bytes": self.memory.map(|size| size.0),
            "timeout_ns": self.timeout.map(|span| span.0),
            "pin": self.cpu,
            "until_stopped": self.until_stopped,
            "race": self.race,
            "until": self.until.map(|until| until.share),
            "within_ns": self.until.and_then(|until| until.within).map(|span| span.0),
            "seed": self.seed,
            "loosened_rules": (!self.rules.is_strict()).then_some(&self.rules),
            "cpu_share": self.cpu_share.map(|rule| rule.to_string()),
            "sample_interval_ns": sample_interval.map(|span| span.0),
        })
    }
}

/// Cell: a job, and the open lane that runs it.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Index of the lane among the open lanes.
    pub lane: usize,
    /// Job that the lane runs.
    pub job: Arc<Job>,
}

/// Cells and settings of a recording, from which its rounds are run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Number of compilations in each lane that are timed for their own sake.
    pub compiles: u32,
    /// Runs after which a cell that has only ever failed is not run again;
    /// `None`: it is run to the end.
    pub give_up: Option<u32>,
    /// Cells in the order of the plan.
    pub cells: Vec<Cell>,
    /// Number of recorded runs of each cell.
    pub runs: u32,
    /// Number of runs of each cell before those.
    pub warmup: u32,
    /// Rounds go on until they are stopped; `runs` is ignored.
    pub until_stopped: bool,
    /// Lanes run at the same time.
    pub race: bool,
    /// Rounds go on until medians are known this well, or `runs` are over.
    pub until: Option<StoppingRule>,
    /// Seed for the order of each round.
    pub seed: u64,
    /// Combinations that were left out, each with its reason.
    pub left_out: Vec<String>,
    /// Remarks for the user before the recording starts.
    pub remarks: Vec<String>,
}

/// Reason why there is nothing to record.
#[derive(Debug, Error)]
pub enum PlanError {
    /// A preset that a workload lacks.
    #[error(transparent)]
    Catalog(#[from] WorkloadError),
    /// None of the requested combinations can run.
    #[error("nothing to record: {}", .0.join("; "))]
    NothingToRecord(Vec<String>),
    /// The request pins a race, whose lanes have a CPU each, to one CPU.
    #[error("lanes that race have a CPU each: leave out the CPU they are to be pinned to")]
    PinnedRace,
    /// The recording would run out of open files before its end.
    #[error("nothing was recorded: {0}")]
    TooFewFiles(String),
    /// The CPUs that lanes may run on cannot be determined.
    #[error("cannot tell which CPUs may be used: {0}")]
    Cpus(#[from] nix::Error),
}

impl Plan {
    /// Lays out the cells of `request` over the lanes that are open.
    ///
    /// # Errors
    /// Fails for a preset that a workload lacks, when no cell is left, for a
    /// race that is pinned to one CPU, or when it needs more open files than
    /// there may be.
    pub fn new(request: &PlanRequest, lanes: &[OpenLane]) -> Result<Self, PlanError> {
        let cpus = if request.race { usable_cpus()? } else { Vec::new() };
        let plan = Self::with_cpus(&cpus, request, lanes)?;
        let cells = plan.cells.iter().map(|cell| (lanes[cell.lane].name.as_str(), cell.job.start));
        descriptors::check_available(descriptors::needed_for_cells(cells))
            .map_err(PlanError::TooFewFiles)?;
        Ok(plan)
    }

    /// Like [`Self::new`], with the CPUs that a race may use.
    fn with_cpus(
        cpus: &[u16],
        request: &PlanRequest,
        lanes: &[OpenLane],
    ) -> Result<Self, PlanError> {
        if request.race && request.cpu.is_some() {
            return Err(PlanError::PinnedRace);
        }
        let mut plan = Self {
            cells: Vec::new(),
            compiles: request.compiles,
            give_up: request.give_up,
            runs: request.runs,
            warmup: request.warmup,
            until_stopped: request.until_stopped,
            race: request.race,
            until: request.until,
            seed: request.seed,
            left_out: Vec::new(),
            remarks: Vec::new(),
        };
        for workload in &request.workloads {
            let preset = Arc::new(workload.find_preset(&request.preset)?.clone());
            let share = match share_for(request, &preset) {
                Ok(share) => share,
                Err(reason) => {
                    plan.left_out.push(format!("{}: {reason}", workload.name));
                    continue;
                }
            };
            for (index, open) in lanes.iter().enumerate() {
                plan.add_cells(request, (workload, &preset, share), index, open);
            }
        }
        if plan.cells.is_empty() {
            return Err(PlanError::NothingToRecord(plan.left_out));
        }
        if plan.race {
            plan.assign_cpus(cpus);
        }
        Ok(plan)
    }

    /// Returns the number of invocations to record; `None` if it is not known,
    /// because the recording runs until it is stopped or its medians are known.
    #[must_use]
    pub fn total_runs(&self) -> Option<u64> {
        let total = self.cells.len() as u64 * u64::from(self.runs);
        (!self.until_stopped && self.until.is_none()).then_some(total)
    }

    /// Returns the lanes that have cells, in ascending order.
    pub(super) fn used_lanes(&self) -> Vec<usize> {
        let mut lanes: Vec<usize> = self.cells.iter().map(|cell| cell.lane).collect();
        lanes.sort_unstable();
        lanes.dedup();
        lanes
    }

    /// Assigns a CPU to each lane, from the last one down: the first handles
    /// most of the interrupts, and whatever else runs on this machine.
    fn assign_cpus(&mut self, cpus: &[u16]) {
        let lanes = self.used_lanes();
        let of: HashMap<usize, u16> =
            lanes.iter().copied().zip(cpus.iter().rev().copied().cycle()).collect();
        for cell in &mut self.cells {
            Arc::make_mut(&mut cell.job).cpu = of.get(&cell.lane).copied();
        }
        if lanes.len() > cpus.len() {
            self.remarks.push(format!(
                "{} lanes race on {} CPU(s): some share one and slow each other down",
                lanes.len(),
                cpus.len()
            ));
        }
    }

    fn add_cells(
        &mut self,
        request: &PlanRequest,
        (workload, preset, share): (&Arc<Workload>, &Arc<Preset>, Option<CpuShare>),
        index: usize,
        open: &OpenLane,
    ) {
        let checked = open.lane.check_support(workload);
        let shared = |()| share.map_or(Ok(()), |share| open.lane.check_cpu_share(share));
        if let Err(error) = checked.and_then(shared) {
            self.left_out.push(format!("{}: {error}", open.name));
            return;
        }
        let starts =
            open.lane.start_kinds().iter().filter(|start| request.starts.includes(**start));
        let before = self.cells.len();
        for start in starts {
            let limits = Limits {
                memory: request.memory.unwrap_or(preset.limits.memory),
                timeout: request.timeout.unwrap_or(preset.limits.timeout),
                output: preset.limits.output,
            };
            let (workload, preset) = (Arc::clone(workload), Arc::clone(preset));
            let job = Job {
                limits,
                cpu: request.cpu,
                rules: request.rules.clone(),
                cpu_share: share,
                ..Job::new(self.cells.len(), workload, preset, *start)
            };
            if let Err(error) = open.lane.check_job(&job) {
                self.left_out.push(format!("{}: {error}", open.name));
                return;
            }
            self.cells.push(Cell { lane: index, job: Arc::new(job) });
        }
        if self.cells.len() == before {
            self.left_out.push(format!("{}: has no warm start", open.name));
        }
    }
}

/// Returns the CPU share of functions with that preset, if they are to have one; the error says why
/// they cannot.
fn share_for(request: &PlanRequest, preset: &Preset) -> Result<Option<CpuShare>, String> {
    let Some(rule) = request.cpu_share else { return Ok(None) };
    let share = rule.share_for(request.memory.unwrap_or(preset.limits.memory))?;
    let is_pinned = request.race || request.cpu.is_some();
    check_share_fits(share, is_pinned).map(|()| Some(share))
}

/// Checks that a function can have that share of CPUs here: a larger one would stand in the recording
/// and in bills, and no function would have had it.
///
/// # Errors
/// The reason why not, and what to do.
pub fn check_share_fits(share: CpuShare, is_pinned: bool) -> Result<(), String> {
    let cpus = if is_pinned { 1 } else { usable_cpus().map_or(1, |cpus| cpus.len()) };
    compare_share(share, cpus, is_pinned)
}

fn compare_share(share: CpuShare, cpus: usize, is_pinned: bool) -> Result<(), String> {
    if u64::from(share.0) <= cpus as u64 * 1_000 {
        return Ok(());
    }
    let whose = if is_pinned { "each function is kept on" } else { "cyclometer may use here" };
    Err(format!(
        "a share of {share} CPUs is more than the {cpus} that {whose}, and no function could have \
         it: ask for less, or record on a larger machine"
    ))
}

/// Returns the CPUs that this process may use, in ascending order.
fn usable_cpus() -> Result<Vec<u16>, PlanError> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let cpus = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    Ok(cpus.filter_map(|cpu| u16::try_from(cpu).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{lanes_that, request};
    use cyclometer_workload::CpuByMemory;

    /// Plans a race of so many lanes and returns the CPUs that they get of
    /// `cpus`.
    fn spread(lanes: u32, cpus: &[u16]) -> (Vec<Option<u16>>, Vec<String>) {
        let request = PlanRequest { race: true, ..request(&["nop", "nbody"], 1) };
        let plan = Plan::with_cpus(cpus, &request, &lanes_that(lanes, |_| {})).expect("a plan");
        // The second workload's cells are in the same lanes.
        let cpus: Vec<_> = plan.cells.iter().map(|cell| cell.job.cpu).collect();
        let (first, second) = cpus.split_at(cpus.len() / 2);
        assert_eq!(first, second);
        (first.to_vec(), plan.remarks)
    }

    #[test]
    fn lanes_that_race_get_cpus_from_the_last_down() {
        let none: Vec<String> = Vec::new();
        assert_eq!(spread(2, &[0, 1, 2, 3]), (vec![Some(3), Some(2)], none.clone()));
        assert_eq!(spread(2, &[4, 7]), (vec![Some(7), Some(4)], none));
        let (cpus, remarks) = spread(3, &[0, 1]);
        assert_eq!(cpus, [Some(1), Some(0), Some(1)]);
        let said = "3 lanes race on 2 CPU(s): some share one and slow each other down";
        assert_eq!(remarks, [said]);
    }

    #[test]
    fn without_a_race_nothing_is_spread() {
        let plan = Plan::new(&request(&["nop"], 5), &lanes_that(2, |_| {})).expect("a plan");
        assert!(plan.cells.iter().all(|cell| cell.job.cpu.is_none()) && plan.remarks.is_empty());
        assert_eq!(plan.total_runs(), Some(10));
        let endless = PlanRequest { until_stopped: true, ..request(&["nop"], 5) };
        assert_eq!(Plan::new(&endless, &lanes_that(2, |_| {})).expect("a plan").total_runs(), None);
    }

    #[test]
    fn one_cpu_for_all_is_no_race() {
        let pinned = PlanRequest { race: true, cpu: Some(0), ..request(&["nop"], 1) };
        let error = Plan::new(&pinned, &lanes_that(1, |_| {})).expect_err("refused");
        assert!(error.to_string().contains("have a CPU each"), "{error}");
    }

    #[test]
    fn shares_beyond_the_machine_are_refused() {
        assert_eq!(compare_share(CpuShare(2_000), 2, false), Ok(()));
        let error = compare_share(CpuShare(2_001), 2, false).expect_err("refused");
        assert!(error.starts_with("a share of 2.001 CPUs is more than the 2 that"), "{error}");
        let error = compare_share(CpuShare(1_500), 1, true).expect_err("refused");
        assert!(error.contains("kept on"), "{error}");
    }

    #[test]
    fn what_cannot_have_its_share_is_left_out_with_the_reason() {
        let rule = CpuShareRule::Fixed(CpuShare(500));
        let half = PlanRequest { cpu_share: Some(rule), ..request(&["nop"], 5) };
        // The lanes of these tests have no control groups.
        let error = Plan::new(&half, &lanes_that(1, |_| {})).expect_err("nothing is left");
        assert!(error.to_string().contains("lane-0: no CPU share can be enforced"), "{error}");
        let rule = CpuShareRule::ByMemory(CpuByMemory::Azure);
        let large = PlanRequest {
            cpu_share: Some(rule),
            memory: Some(Bytes(5 << 30)),
            ..request(&["nop"], 5)
        };
        let error = Plan::new(&large, &lanes_that(2, |_| {})).expect_err("nothing is left");
        let text = error.to_string();
        assert_eq!(text.matches("no functions of 5120 MiB").count(), 1, "once: {text}");
    }

    #[test]
    fn usable_cpus_are_those_of_the_kernel() {
        let cpus = usable_cpus().expect("known");
        let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let count: u16 = list
            .expect("there")
            .trim()
            .split(',')
            .map(|range| {
                let (from, to) = range.split_once('-').unwrap_or((range, range));
                let number = |text: &str| text.parse::<u16>().expect("a number");
                number(to) - number(from) + 1
            })
            .sum();
        assert_eq!(cpus.len(), usize::from(count));
        assert!(cpus.is_sorted());
    }
}
