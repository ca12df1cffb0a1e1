//! WebAssembly by wasmtime, in worker processes.
//!
//! *Cold*: a new worker loads the compiled module, instantiates and runs it.
//! `create` is fork, exec and the worker's own start; `start` is engine, load
//! and instantiation; `teardown` is the end of the process.
//! *Warm*: a worker that has the module loaded instantiates and runs it anew.
//! `create` makes the store with its host state, `start` is the instantiation.
//!
//! Both have the parts of their phases apart: loading the compiled module, the
//! instantiation itself, and dropping the instance.
//!
//! The plain lane is timed without fuel. Operators are counted once in a
//! separate run, since counting disturbs timing; `wasmtime:fuel` counts in
//! every run and shows what that costs. [`settings`] has the other variants.

mod cold;
mod counting;
pub mod engine;
mod limiter;
mod protocol;
mod reading;
pub mod settings;
mod warm;
pub mod worker;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use self::counting::Counted;
use self::protocol::{End, Fuel, Progress, Report, WorkerConfig};
use self::settings::Settings;
use self::warm::WarmWorker;
use super::launcher::Privileges;
use super::process::Runner;
use super::{
    Cancel, Description, FootprintPart, Job, Lane, LaneError, Outcome, PartKind, Prepared,
    StartKind, Status, Watch, now,
};
use crate::meter::{Meter, Phases, Provenance, Provenances, Source};
use crate::units::{Bytes, Nanos};
use crate::workload::Workload;

/// Runs WebAssembly modules.
pub struct WasmtimeLane {
    settings: Settings,
    executable: File,
    cache: PathBuf,
    runner: Option<Runner>,
    provenances: Arc<Provenances>,
    /// Whether cold runs are counted by perf.
    counted: bool,
    /// Compiled modules by workload and what they depend on.
    compiled: HashMap<(String, Settings), PathBuf>,
    warm: HashMap<usize, WarmWorker>,
    /// What counting runs gave, by all that they depend on.
    counts: HashMap<String, Result<Counted, String>>,
    /// Where the operators of each cell come from.
    operators: HashMap<usize, Provenance>,
}

impl WasmtimeLane {
    /// Opens the lane in one of its variants.
    ///
    /// # Errors
    /// When there is no place for compiled modules, or no process can start.
    pub fn open(settings: Settings) -> Result<Self, LaneError> {
        let unavailable = |reason: String| LaneError::Unavailable { reason };
        let cache = engine::cache_folder().map_err(|error| {
            unavailable(format!(
                "no folder for compiled modules: {error}; set XDG_CACHE_HOME to a folder of yours"
            ))
        })?;
        let executable = executable()
            .map_err(|error| unavailable(format!("cannot open its own program: {error}")))?;
        let mut lane = Self {
            settings,
            executable,
            cache,
            runner: None,
            provenances: Arc::default(),
            counted: true,
            compiled: HashMap::new(),
            warm: HashMap::new(),
            counts: HashMap::new(),
            operators: HashMap::new(),
        };
        lane.count(true)?;
        Ok(lane)
    }

    /// The compiled form of the workload's module, made if need be; how long
    /// that took, unless it was there.
    fn compile(
        &mut self,
        workload: &Workload,
        settings: Settings,
        cancel: &Cancel,
    ) -> Result<(PathBuf, Option<Nanos>), LaneError> {
        let settings = settings.compiled();
        let key = (workload.name.clone(), settings);
        if let Some(path) = self.compiled.get(&key) {
            return Ok((path.clone(), None));
        }
        let failed =
            |reason: String| LaneError::Prepare { workload: workload.name.clone(), reason };
        let module = workload.wasm.as_deref().ok_or_else(|| failed("no module".to_owned()))?;
        let path = engine::compiled_path(&self.cache, module, settings)
            .map_err(|error| failed(format!("{error:#}")))?;
        let mut took = None;
        if !path.exists() {
            let begun = now();
            self.compile_to(&path, module, settings, cancel).map_err(failed)?;
            took = Some(now().since(begun));
        }
        self.compiled.insert(key, path.clone());
        Ok((path, took))
    }

    fn worker_config(&self, job: &Job, settings: Settings) -> Option<WorkerConfig> {
        let module = self.compiled.get(&(job.workload.name.clone(), settings.compiled()))?.clone();
        let args =
            std::iter::once(job.workload.name.clone()).chain(job.preset.args.iter().cloned());
        Some(WorkerConfig {
            module,
            args: args.collect(),
            memory: job.limits.memory.0,
            settings,
            start_section: job.workload.wasm.as_deref().is_some_and(counting::has_start_section),
            warm: job.start == StartKind::Warm,
        })
    }

    /// What is there to run `job`: its module, in the form it was compiled to, and
    /// this program, which is much else besides.
    fn parts(&self, job: &Job, compiled: &Path) -> Vec<FootprintPart> {
        let part = |name: &str, kind, bytes: Option<u64>| {
            bytes.map(|size| FootprintPart { name: name.to_owned(), kind, bytes: Bytes(size) })
        };
        let module = job.workload.wasm.as_ref().map(|module| module.len() as u64);
        let compiled = std::fs::metadata(compiled).ok().map(|data| data.len());
        let program = self.executable.metadata().ok().map(|data| data.len());
        [
            part("module", PartKind::Function, module),
            part("compiled module", PartKind::Function, compiled),
            part("cyclometer, with wasmtime and all else in it", PartKind::Runtime, program),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Operators that one run of `job` executes: from the notes of earlier
    /// counting runs, or from some made now. What cannot be counted is not
    /// tried again: an endless function takes its time.
    fn count_operators(&mut self, job: &Job, cancel: &Cancel) -> Result<Counted, String> {
        let key = counting::key(job);
        if let Some(known) = self.counts.get(&key) {
            return known.clone();
        }
        let counted = match counting::recall(&self.cache, &key) {
            Some(counted) => Ok(counted),
            None => self.run_counting(job, cancel),
        };
        if let Ok(counted) = counted {
            counting::remember(&self.cache, &key, counted);
        }
        if !cancel.is_cancelled() {
            self.counts.insert(key, counted.clone());
        }
        counted
    }

    /// Counts in a run of its own, or in several if the module imports what
    /// differs from run to run.
    fn run_counting(&mut self, job: &Job, cancel: &Cancel) -> Result<Counted, String> {
        let counting = Settings::counting();
        self.compile(&job.workload, counting, cancel).map_err(|error| error.to_string())?;
        let mut slow = job.clone();
        slow.start = StartKind::Cold;
        slow.limits.timeout = Nanos(job.limits.timeout.0.saturating_mul(4));
        let config = self.worker_config(&slow, counting).ok_or("no compiled module")?;
        let (first, varying) = self.count_once(&slow, &config, cancel)?;
        let mut counted = Counted { least: first, most: first, runs: 1, varying };
        while varying != 0 && counted.runs < counting::RUNS {
            let (operators, _) = self.count_once(&slow, &config, cancel)?;
            counted.least = counted.least.min(operators);
            counted.most = counted.most.max(operators);
            counted.runs += 1;
        }
        Ok(counted)
    }

    /// Operators of one counting run, and what it imports that may vary them.
    fn count_once(
        &mut self,
        job: &Job,
        config: &WorkerConfig,
        cancel: &Cancel,
    ) -> Result<(u64, u64), String> {
        let (outcome, report) = self.cold_run(job, config, &mut super::Unwatched, cancel)?;
        match (outcome.status, report.map(|report| (report.fuel, report.varying))) {
            (Status::Ok, Some((Fuel::Exact(operators), varying))) => Ok((operators, varying)),
            _ => Err(format!(
                "the counting run did not end well: {}",
                outcome.reason.unwrap_or_else(|| "no fuel was reported".to_owned())
            )),
        }
    }

    /// Sources of a cell's cold runs.
    fn cold_sources(&self, job: &Job) -> Arc<Provenances> {
        let Some(operators) = self.operators.get(&job.cell) else {
            return Arc::clone(&self.provenances);
        };
        let mut all = (*self.provenances).clone();
        set_one(&mut all, Meter::WasmOps, operators);
        Arc::new(all)
    }
}

impl Lane for WasmtimeLane {
    fn describe(&self) -> Description {
        let fence = self.runner.iter().map(|runner| runner.fence().to_owned());
        let note = std::iter::once(self.settings.note()).chain(fence).collect::<Vec<_>>();
        Description { version: format!("wasmtime {}", engine::VERSION), note: note.join("; ") }
    }

    fn starts(&self) -> &'static [StartKind] {
        &[StartKind::Cold, StartKind::Warm]
    }

    fn count(&mut self, on: bool) -> Result<(), LaneError> {
        let runner = Runner::counting(Privileges::Worker, on)
            .map_err(|error| LaneError::Unavailable { reason: error.to_string() })?;
        let mut provenances = (**runner.provenances()).clone();
        set_common(&mut provenances, self.settings);
        set_cold(&mut provenances);
        (self.runner, self.provenances) = (Some(runner), Arc::new(provenances));
        self.counted = on;
        Ok(())
    }

    fn supports(&self, workload: &Workload) -> Result<(), LaneError> {
        if workload.wasm.is_some() {
            return Ok(());
        }
        Err(LaneError::Unsupported {
            reason: format!("{} has no WebAssembly module (`wasm` in its manifest)", workload.name),
        })
    }

    fn prepare(&mut self, job: &Job, cancel: &Cancel) -> Result<Prepared, LaneError> {
        let (compiled, took) = self.compile(&job.workload, self.settings, cancel)?;
        let mut prepared = Prepared {
            parts: self.parts(job, &compiled),
            took,
            footprint: job.workload.wasm.as_ref().map(|module| Bytes(module.len() as u64)),
            footprint_of: "module",
            ..Prepared::default()
        };
        if !self.settings.fuel {
            let counted = self.count_operators(job, cancel);
            prepared.wasm_ops = counted.as_ref().ok().and_then(Counted::operators);
            let provenance = match counted {
                Ok(counted) => counted.provenance(),
                Err(note) => Provenance { source: None, note },
            };
            match provenance.source {
                Some(Source::Fuel) => {}
                Some(_) => prepared.notes.push(format!("Wasm operators: {}", provenance.note)),
                None => {
                    prepared.notes.push(format!("Wasm operators not counted: {}", provenance.note));
                }
            }
            self.operators.insert(job.cell, provenance);
        }
        if cancel.is_cancelled() { Err(LaneError::Cancelled) } else { Ok(prepared) }
    }

    fn time_compile(&mut self, job: &Job, cancel: &Cancel) -> Option<Result<Nanos, LaneError>> {
        let module = job.workload.wasm.clone()?;
        let failed =
            |reason: String| LaneError::Prepare { workload: job.workload.name.clone(), reason };
        let path = self.cache.join(format!("{}.timed.cwasm", std::process::id()));
        let begun = now();
        let result = self.compile_to(&path, &module, self.settings, cancel);
        let took = now().since(begun);
        let _ = std::fs::remove_file(&path);
        Some(result.map(|()| took).map_err(failed))
    }

    fn invoke(
        &mut self,
        job: &Job,
        count: u32,
        watch: &mut dyn Watch,
        cancel: &Cancel,
        emit: &mut dyn FnMut(Outcome),
    ) {
        match job.start {
            StartKind::Warm => self.warm_runs(job, count, watch, cancel, emit),
            StartKind::Cold => {
                for _ in 0..count {
                    if cancel.is_cancelled() {
                        return;
                    }
                    emit(self.cold(job, watch, cancel));
                }
            }
        }
    }

    fn close(&mut self) {
        self.warm.clear();
        self.runner = None;
    }
}

static EXECUTABLE: OnceLock<PathBuf> = OnceLock::new();

/// Names the program that workers execute, for tests and benchmarks, which are
/// not cyclometer themselves. Only the first call counts.
pub fn set_executable(path: &Path) {
    EXECUTABLE.get_or_init(|| path.to_owned());
}

/// The program that workers execute: by default this one.
fn executable() -> std::io::Result<File> {
    File::open(EXECUTABLE.get().map_or(Path::new("/proc/self/exe"), PathBuf::as_path))
}

/// Sources that cold and warm runs share.
fn set_common(all: &mut Provenances, settings: Settings) {
    let how =
        if settings.fuel { "counted in the timed run" } else { "from one separate counting run" };
    all.set(Meter::WasmOps, Source::Fuel, counting::fuel_note(how));
    all.set(
        Meter::LinearMemory,
        Source::Limiter,
        "linear memories at the end; they never shrink, and growth that was refused is not in it",
    );
    all.set(
        Meter::MemoryGrowFailed,
        Source::Limiter,
        "requests beyond the memory limit or the memory's own maximum",
    );
    all.set(Meter::MemoryAllocated, Source::Plan, "the limit of all linear memories together");
    all.missing(Meter::VcpuAllocated, super::WHOLE_CPU);
}

/// Sources of what a cold worker reads of itself.
fn set_cold(all: &mut Provenances) {
    all.set(
        Meter::CpuStartup,
        Source::Clock,
        "CPU clock of the worker's process before its first instruction, a start section \
         included; it runs from fork on, counters from exec on",
    );
    all.set(
        Meter::MemoryStartup,
        Source::Procfs,
        "resident set of the whole worker right before the function's first instruction",
    );
}

/// Enters a provenance that was made elsewhere.
fn set_one(all: &mut Provenances, meter: Meter, provenance: &Provenance) {
    match provenance.source {
        Some(source) => all.set(meter, source, provenance.note.clone()),
        None => all.missing(meter, provenance.note.clone()),
    }
}

/// Meters that only the report of a worker tells, whatever perf counts.
const REPORTED: [Meter; 5] = [
    Meter::WasmOps,
    Meter::LinearMemory,
    Meter::MemoryGrowFailed,
    Meter::CpuStartup,
    Meter::MemoryStartup,
];

/// Says of meters that have no value in an outcome why not.
fn explain_missing(mut outcome: Outcome, report: Option<&Report>) -> Outcome {
    let Outcome { status, usage, provenances: usual, .. } = &outcome;
    let reason = |meter: Meter| match (report, meter) {
        (None, _) => "the worker ended before it could report",
        (Some(Report { fuel: Fuel::Lost, .. }), Meter::WasmOps) => {
            "a trap comes before what fuel had counted is stored: no count, not even a bound"
        }
        (Some(Report { progress: Progress::Entered, .. }), Meter::WasmOps) => {
            "of this run, which did not end well, nobody knows: it was not counted itself"
        }
        (Some(Report { progress: Progress::Entered, .. }), _) => "the worker could not read it",
        (Some(_), _) => "the function was never entered",
    };
    let lacks = |meter: &Meter| {
        let said = usual.get(*meter).is_some_and(|it| it.source.is_some());
        // The operators of a run that went well come from the counting run.
        let later = *meter == Meter::WasmOps && *status == Status::Ok;
        said && !later && usage.get(*meter).is_none()
    };
    let lacking: Vec<Meter> = REPORTED.into_iter().filter(lacks).collect();
    if lacking.is_empty() {
        return outcome;
    }
    let all = Arc::make_mut(&mut outcome.provenances);
    for meter in lacking {
        all.missing(meter, reason(meter));
    }
    outcome
}

/// The phases that a worker tells, from `begun` on; `create` is the caller's.
fn set_phases(phases: &mut Phases, report: &Report, begun: Nanos, gone: Nanos) {
    phases.deserialize = report.deserialize.map(Nanos);
    phases.teardown = Some(gone.since(report.ended));
    if report.progress < Progress::Entered {
        // Whatever it was doing then, it was starting.
        phases.start = Some(report.ended.since(begun));
        return;
    }
    phases.start = Some(report.ready.since(begun));
    phases.run = Some(report.ended.since(report.started));
    phases.instantiate = Some(report.instantiated.since(report.created));
    phases.release = Some(report.dropped.since(report.ended));
}

/// Operators that the run counted itself.
const fn counted_operators(report: &Report) -> Option<u64> {
    match report.fuel {
        Fuel::Exact(operators) => Some(operators),
        Fuel::Off | Fuel::Lost => None,
    }
}

/// How a reported call ended, in the words of the store.
fn verdict(report: &Report) -> (Status, Option<String>, Option<i32>) {
    match report.end {
        End::Exit(0) => (Status::Ok, None, Some(0)),
        End::Exit(code) => (Status::Failed, Some(format!("exit code {code}")), Some(code)),
        End::Trap => (Status::Failed, Some(format!("trap: {}", report.text)), None),
        End::Unstarted => {
            (Status::Failed, Some(format!("it could not be started: {}", report.text)), None)
        }
    }
}
