//! Lane for WebAssembly in wasmtime, in worker processes.
//!
//! Programs are modules of WASI 0.1, whose `_start` or another export is called, and components of
//! WASI 0.2 that export `wasi:cli/run`.
//!
//! *Cold*: a new worker loads the compiled module, instantiates and runs it.
//! `create` is fork, exec and the worker's own start; `start` is engine, load
//! and instantiation; `teardown` is the end of the process.
//! *Warm*: a worker that has the module loaded instantiates and runs it anew.
//! `create` makes the store with its host state, `start` is the instantiation.
//!
//! Both report the parts of their phases: loading the compiled module, the instantiation itself,
//! and dropping the instance.
//!
//! The plain lane is timed without fuel. Operators are counted once in a separate run, since
//! counting disturbs timing; `wasmtime:fuel` counts in every run and shows the cost of that.
//! [`settings`] has the other variants.

mod cold;
pub mod engine;
mod function_code;
mod handover;
mod limiter;
mod load;
mod operator_counts;
mod program;
mod proposals;
pub(crate) mod protocol;
mod report_ring;
pub mod settings;
mod standard_streams;
mod thread_meters;
mod time_budget;
mod warm_protocol;
mod warm_worker;
pub mod worker;
mod worker_meters;
pub mod yardstick;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use self::handover::CompiledModule;
use self::operator_counts::OperatorCounts;
use self::program::ProgramFacts;
use self::proposals::Proposals;
use self::protocol::{
    CallEnd, Fuel, InvocationProgress, VARIABLE_PREFIX, WasmWorkerReport, WorkerConfig,
    WorkerFolder,
};
use self::settings::{Allocation, WasmtimeSettings};
use self::time_budget::{COMPILE_BUDGET, TimeBudgets};
use self::warm_worker::WarmWorker;
use super::cache::Cache;
use super::launcher::{LauncherError, Privileges};
use super::program_run::Runner;
use super::replacement::ReplaceableRunner;
use super::{
    Cancel, FootprintPart, Job, Lane, LaneDescription, LaneError, Outcome, PartKind, Prepared,
    ProbeSampler, StartKind, Status, monotonic_now, outer_memory_limit,
};
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_meter::{Meter, Phases, Provenance, Provenances, Source};
use cyclometer_workload::wasm_form::inspect_wasm;
use cyclometer_workload::{CpuShare, Limits, SharedFolder, Workload};

/// Runs WebAssembly modules.
pub(crate) struct WasmtimeLane {
    settings: WasmtimeSettings,
    executable: File,
    cache: Cache,
    runner: ReplaceableRunner,
    provenances: Arc<Provenances>,
    /// Compiled modules by workload and relevant settings; `Err`: why there is none, which is not
    /// tried again.
    compiled: HashMap<(String, WasmtimeSettings), Result<Arc<CompiledModule>, String>>,
    budgets: TimeBudgets,
    warm: HashMap<usize, Box<WarmWorker>>,
    /// Results of counting runs, by everything that they depend on.
    counts: HashMap<String, Result<OperatorCounts, String>>,
    /// Sources of each cell's operators.
    operators: HashMap<usize, Provenance>,
}

impl WasmtimeLane {
    /// Opens the lane in one of its variants.
    ///
    /// # Errors
    /// Fails when no process can start.
    pub fn open(settings: WasmtimeSettings) -> Result<Self, LaneError> {
        let unavailable = |reason: String| LaneError::Unavailable { reason };
        let executable = open_executable()
            .map_err(|error| unavailable(format!("cannot open its own program: {error}")))?;
        let mut lane = Self {
            settings,
            executable,
            cache: Cache::open("wasmtime", &engine::is_current),
            runner: ReplaceableRunner::new(|| start_runner(true)),
            provenances: Arc::default(),
            compiled: HashMap::new(),
            budgets: TimeBudgets::open(),
            warm: HashMap::new(),
            counts: HashMap::new(),
            operators: HashMap::new(),
        };
        lane.set_counters_enabled(true)?;
        Ok(lane)
    }

    /// Returns the compiled form of the workload's module, compiled if need be, with how long that
    /// took, unless it was cached.
    fn find_or_compile(
        &mut self,
        workload: &Workload,
        settings: WasmtimeSettings,
        cancel: &Cancel,
    ) -> Result<(Arc<CompiledModule>, Option<Nanos>), LaneError> {
        let settings = settings.for_compilation();
        let key = (workload.name.clone(), settings);
        let failed =
            |reason: String| LaneError::Prepare { workload: workload.name.clone(), reason };
        if let Some(known) = self.compiled.get(&key) {
            return known.clone().map(|compiled| (compiled, None)).map_err(failed);
        }
        let module = workload.wasm.as_deref().ok_or_else(|| failed("no module".to_owned()))?;
        let name = engine::compiled_name(module, settings)
            .map_err(|error| failed(format!("{error:#}")))?;
        let (code, took) = if let Some(kept) = self.cache.read_entry(&name) {
            (kept, None)
        } else {
            let begun = monotonic_now();
            let code = match self.budgets.left_for_compiling(&workload.name) {
                Some(left) => self.run_compiler(module, settings, left, cancel),
                None => Err(compile_budget_reason()),
            };
            self.budgets
                .spend_on_compiling(&workload.name, monotonic_now().saturating_since(begun));
            if cancel.is_cancelled() {
                return Err(LaneError::Cancelled);
            }
            let code = match code {
                Ok(code) => code,
                Err(reason) => {
                    // Without a launcher it was not tried.
                    if self.runner.current().is_some() {
                        self.compiled.insert(key, Err(reason.clone()));
                    }
                    return Err(failed(reason));
                }
            };
            let took = monotonic_now().saturating_since(begun);
            self.cache.store_entry(&name, &code);
            (code, Some(took))
        };
        let damaged =
            || failed("its compiled form is damaged: remove it from the cache".to_owned());
        let (proposals, code) = engine::split_compiled(&code).ok_or_else(damaged)?;
        let facts = ProgramFacts::collect(module, &workload.name, proposals).map_err(failed)?;
        let compiled =
            CompiledModule::new(code, facts).map_err(|error| failed(error.to_string()))?;
        let compiled = Arc::new(compiled);
        self.compiled.insert(key, Ok(Arc::clone(&compiled)));
        Ok((compiled, took))
    }

    /// Returns the compiled module that a worker with that configuration runs.
    fn compiled_module_for(
        &self,
        job: &Job,
        settings: WasmtimeSettings,
    ) -> Result<Arc<CompiledModule>, String> {
        let key = (job.workload.name.clone(), settings.for_compilation());
        let missing = || Err("the module was not compiled".to_owned());
        self.compiled.get(&key).cloned().unwrap_or_else(missing)
    }

    fn worker_config(&self, job: &Job, settings: WasmtimeSettings) -> Result<WorkerConfig, String> {
        let compiled = self.compiled_module_for(job, settings)?;
        let facts = compiled.facts();
        let call = program::find_call(job)?;
        // The arguments of a call are its parameters.
        let args = job.preset.args.iter().filter(|_| call.is_none());
        let folder = |it: &SharedFolder| WorkerFolder {
            host: it.host.clone(),
            guest: it.guest.clone(),
            is_read_only: it.is_read_only,
        };
        Ok(WorkerConfig {
            args: std::iter::once(job.workload.function_name().to_owned())
                .chain(args.cloned())
                .collect(),
            memory: job.limits.memory.0,
            settings: match why_not_pooled(job, settings, facts) {
                Some(_) => WasmtimeSettings { allocation: Allocation::OnDemand, ..settings },
                None => settings,
            },
            warm: job.start == StartKind::Warm,
            facts: facts.clone(),
            call,
            dirs: job.preset.dirs.iter().map(folder).collect(),
            workdir: job.preset.workdir.clone().filter(|_| facts.needs.component),
            network: job.rules.network,
        })
    }

    /// Lists the parts of `job`'s footprint: its module, its compiled form, and this program, most
    /// of which is unrelated.
    fn footprint_parts(&self, job: &Job, compiled: &CompiledModule) -> Vec<FootprintPart> {
        let part = |name: &str, kind, bytes: Option<u64>| {
            bytes.map(|size| FootprintPart { name: name.to_owned(), kind, bytes: Bytes(size) })
        };
        let module = job.workload.wasm.as_ref().map(|module| module.len() as u64);
        let compiled = Some(compiled.size().0);
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

    /// Counts the operators that one run of `job` executes: from stored results of earlier counting
    /// runs, or in new ones. A count that failed is not tried again: an endless function takes its
    /// time.
    fn count_operators(&mut self, job: &Job, cancel: &Cancel) -> Result<OperatorCounts, String> {
        let key = operator_counts::count_key(job);
        if let Some(known) = self.counts.get(&key) {
            return known.clone();
        }
        let counted = match operator_counts::load_count(&self.cache, &key) {
            Some(counted) => Ok(counted),
            None => self.run_counting(job, cancel),
        };
        if let Ok(counted) = counted {
            operator_counts::store_count(&self.cache, &key, counted);
        }
        if !cancel.is_cancelled() {
            self.counts.insert(key, counted.clone());
        }
        counted
    }

    /// Counts in a separate run, or in several if the module imports functions whose results vary.
    fn run_counting(&mut self, job: &Job, cancel: &Cancel) -> Result<OperatorCounts, String> {
        let counting = WasmtimeSettings::for_counting();
        self.find_or_compile(&job.workload, counting, cancel).map_err(|error| error.to_string())?;
        let mut slow = job.clone();
        slow.start = StartKind::Cold;
        // What it counts is the same, only later.
        slow.cpu_share = None;
        let config = self.worker_config(&slow, counting)?;
        let (first, varying) = self.count_once(&mut slow, &config, cancel)?;
        let mut counted = OperatorCounts { least: first, most: first, runs: 1, varying };
        while varying != 0 && counted.runs < operator_counts::COUNTING_RUNS {
            let (operators, _) = self.count_once(&mut slow, &config, cancel)?;
            counted.least = counted.least.min(operators);
            counted.most = counted.most.max(operators);
            counted.runs += 1;
        }
        Ok(counted)
    }

    /// Counts the operators of one counting run, and returns them with the imported functions that
    /// may vary them. All counting runs of a module together take no longer than one of its
    /// invocations may.
    fn count_once(
        &mut self,
        slow: &mut Job,
        config: &WorkerConfig,
        cancel: &Cancel,
    ) -> Result<(u64, u64), String> {
        let (name, limit) = (slow.workload.name.clone(), slow.limits.timeout);
        let given_up = || {
            format!(
                "given up: all counting runs of a module together may take as long as one \
                 invocation, {limit}"
            )
        };
        let left = self.budgets.left_for_counting(&name, limit).ok_or_else(given_up)?;
        let begun = monotonic_now();
        slow.limits.timeout = left;
        let run = self.run_cold_worker(slow, config, &mut super::NoSampling, cancel);
        slow.limits.timeout = limit;
        self.budgets.spend_on_counting(&name, monotonic_now().saturating_since(begun));
        let (outcome, report) = run?;
        if outcome.status == Status::Timeout {
            return Err(given_up());
        }
        match (outcome.status, report.map(|report| (report.fuel, report.varying))) {
            (Status::Ok, Some((Fuel::Exact(operators), varying))) => Ok((operators, varying)),
            _ => Err(format!(
                "the counting run did not end well: {}",
                outcome.reason.unwrap_or_else(|| "no fuel was reported".to_owned())
            )),
        }
    }

    /// Returns the sources of a cell's cold runs.
    fn cold_sources(&self, job: &Job) -> Arc<Provenances> {
        let Some(operators) = self.operators.get(&job.cell) else {
            return Arc::clone(&self.provenances);
        };
        let mut all = (*self.provenances).clone();
        all.set_provenance(Meter::WasmOps, operators.clone());
        Arc::new(all)
    }
}

impl Lane for WasmtimeLane {
    fn describe(&self) -> LaneDescription {
        let mut note = self.settings.figures_note();
        if let Some(runner) = self.runner.current() {
            let wall = outer_memory_limit::describe_limit(runner, &cold::describe_allowance());
            note = format!("{note}; {wall}; {}", runner.fence());
        }
        if let Some(refusal) = self.cache.refusal_reason() {
            note = format!("{note}; {refusal}");
        }
        LaneDescription { version: format!("wasmtime {}", engine::VERSION), note }
    }

    fn start_kinds(&self) -> &'static [StartKind] {
        &[StartKind::Cold, StartKind::Warm]
    }

    fn check_cpu_share(&self, share: CpuShare) -> Result<(), LaneError> {
        let checked = self.runner.current().map_or(Ok(()), |runner| runner.check_cpu_share(share));
        checked.map_err(|reason| LaneError::Unsupported { reason })
    }

    fn set_counters_enabled(&mut self, on: bool) -> Result<(), LaneError> {
        let mut slot = ReplaceableRunner::new(move || start_runner(on));
        let runner = slot
            .get_or_start()
            .map_err(|error| LaneError::Unavailable { reason: error.to_string() })?;
        let mut provenances = (**runner.provenances()).clone();
        set_common_sources(&mut provenances, self.settings);
        set_cold_sources(&mut provenances);
        (self.runner, self.provenances) = (slot, Arc::new(provenances));
        Ok(())
    }

    fn check_support(&self, workload: &Workload) -> Result<(), LaneError> {
        let Some(module) = &workload.wasm else {
            return Err(LaneError::Unsupported {
                reason: format!(
                    "{} has no WebAssembly module (`wasm` in its manifest)",
                    workload.name
                ),
            });
        };
        let form = inspect_wasm(module, &workload.name)
            .map_err(|error| LaneError::Unsupported { reason: error.to_string() })?;
        match engine::exceeded_pool_limit(&form, Proposals::default()) {
            Some(why) if self.settings.allocation == Allocation::Pooling => {
                Err(LaneError::Unsupported {
                    reason: format!(
                        "{} fits into no pool: {why}; the lane wasmtime takes it",
                        workload.name
                    ),
                })
            }
            _ => Ok(()),
        }
    }

    fn check_job(&self, job: &Job) -> Result<(), LaneError> {
        self.check_support(&job.workload)?;
        program::check_job(job).map_err(|reason| LaneError::Unsupported { reason })
    }

    fn prepare(&mut self, job: &Job, cancel: &Cancel) -> Result<Prepared, LaneError> {
        self.check_job(job)?;
        let (compiled, took) = self.find_or_compile(&job.workload, self.settings, cancel)?;
        let mut prepared = Prepared {
            parts: self.footprint_parts(job, &compiled),
            took,
            footprint: job.workload.wasm.as_ref().map(|module| Bytes(module.len() as u64)),
            footprint_of: if compiled.facts().needs.component { "component" } else { "module" },
            notes: self.cache.refusal_reason_once().into_iter().collect(),
            ..Prepared::default()
        };
        prepared.notes.extend(describe_program(job, compiled.facts()));
        if let Some(why) = why_not_pooled(job, self.settings, compiled.facts()) {
            prepared.notes.push(format!("warm instances are mapped on demand, not pooled: {why}"));
        }
        if !self.settings.fuel {
            let counted = self.count_operators(job, cancel);
            prepared.wasm_ops = counted.as_ref().ok().and_then(OperatorCounts::operators);
            let provenance = match counted {
                Ok(counted) => counted.provenance(),
                Err(note) => Provenance::missing(note),
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
        let begun = monotonic_now();
        let result = self.run_compiler(&module, self.settings, COMPILE_BUDGET, cancel);
        let took = monotonic_now().saturating_since(begun);
        Some(result.map(|_| took).map_err(failed))
    }

    fn invoke_next(
        &mut self,
        job: &Job,
        left: u32,
        watch: &mut dyn ProbeSampler,
        cancel: &Cancel,
        emit: &mut dyn FnMut(Outcome),
    ) -> u32 {
        match job.start {
            StartKind::Warm => self.run_warm_burst(job, left, watch, cancel, emit),
            StartKind::Cold => {
                emit(self.run_cold(job, watch, cancel));
                1
            }
        }
    }

    fn close(&mut self) {
        self.warm.clear();
        self.runner.discard();
    }
}

/// Starts a launcher of workers, whose runs are counted by perf if `counted` is true.
fn start_runner(counted: bool) -> Result<Runner, LauncherError> {
    Runner::start_grouped(Privileges::Worker, counted)
}

static EXECUTABLE: OnceLock<PathBuf> = OnceLock::new();

/// Sets the program that workers execute, for tests and benchmarks, which are not cyclometer
/// themselves. Only the first call counts.
pub fn set_executable(path: &Path) {
    EXECUTABLE.get_or_init(|| path.to_owned());
}

/// Returns why warm instances of a job are mapped on demand where they would
/// come from a pool, if so.
fn why_not_pooled(job: &Job, settings: WasmtimeSettings, facts: &ProgramFacts) -> Option<String> {
    let pools = job.start == StartKind::Warm && settings.allocation == Allocation::Fitting;
    facts.pool_excess.clone().filter(|_| pools)
}

/// Returns notes on what a program is and uses, for the recording.
fn describe_program(job: &Job, facts: &ProgramFacts) -> Vec<String> {
    let is_component = facts.needs.component.then(|| "a component of WASI 0.2".to_owned());
    let call = job.preset.invoke.as_deref().map(|name| {
        let name = cyclometer_core::visible_text::summarize_text(name, 100);
        format!("calls `{name}`; its results are its output")
    });
    let memory = "the size of its memories is not known: shared ones grow unseen";
    let memory = facts.shares_memory.then(|| memory.to_owned());
    let uses = facts.needs.proposals.describe();
    let rules = program::describe_idle_rules(job);
    let workdir = job.preset.workdir.as_deref().filter(|path| *path != "/").map(|path| {
        format!("it is told that it starts in {path}; standard libraries of C and Rust start in /")
    });
    [is_component, call, uses, memory, workdir, rules].into_iter().flatten().collect()
}

/// Returns the environment of a worker, which holds its function's.
fn worker_environment(job: &Job) -> Vec<String> {
    job.preset.env.iter().map(|variable| format!("{VARIABLE_PREFIX}{variable}")).collect()
}

/// Opens the program that workers execute: by default this one.
#[expect(clippy::disallowed_methods, reason = "it is this program itself")]
fn open_executable() -> std::io::Result<File> {
    File::open(EXECUTABLE.get().map_or(Path::new("/proc/self/exe"), PathBuf::as_path))
}

/// Sets the sources that cold and warm runs share.
fn set_common_sources(all: &mut Provenances, settings: WasmtimeSettings) {
    let how =
        if settings.fuel { "counted in the timed run" } else { "from one separate counting run" };
    all.set_source(Meter::WasmOps, Source::Fuel, operator_counts::fuel_note(how));
    all.set_source(
        Meter::LinearMemory,
        Source::Limiter,
        "linear memories at the end; they never shrink, and growth that was refused is not in it",
    );
    all.set_source(
        Meter::MemoryGrowFailed,
        Source::Limiter,
        "requests beyond the memory limit or the memory's own maximum",
    );
    all.set_source(
        Meter::MemoryAllocated,
        Source::Plan,
        "the limit of all linear memories together",
    );
    all.set_missing(Meter::VcpuAllocated, super::NO_CPU_LIMIT);
}

/// Sets the sources of a cold worker's readings of itself.
fn set_cold_sources(all: &mut Provenances) {
    all.set_source(
        Meter::CpuStartup,
        Source::Clock,
        "CPU clock of the worker's process before its first instruction, a start section \
         included; it runs from fork on, counters from exec on",
    );
    all.set_source(
        Meter::MemoryStartup,
        Source::Procfs,
        "resident set of the whole worker right before the function's first instruction",
    );
}

/// Meters that only the report of a worker provides, whatever perf counts.
const REPORTED_METERS: [Meter; 5] = [
    Meter::WasmOps,
    Meter::LinearMemory,
    Meter::MemoryGrowFailed,
    Meter::CpuStartup,
    Meter::MemoryStartup,
];

/// Explains meters that have no value in an outcome.
fn explain_missing(mut outcome: Outcome, report: Option<&WasmWorkerReport>) -> Outcome {
    let Outcome { status, usage, provenances: usual, .. } = &outcome;
    let reason = |meter: Meter| match (report, meter) {
        (None, _) => "the worker ended before it could report",
        (Some(WasmWorkerReport { fuel: Fuel::Lost, .. }), Meter::WasmOps) => {
            "a trap comes before what fuel had counted is stored: no count, not even a bound"
        }
        (Some(WasmWorkerReport { progress: InvocationProgress::Entered, .. }), Meter::WasmOps) => {
            "of this run, which did not end well, nobody knows: it was not counted itself"
        }
        (Some(WasmWorkerReport { progress: InvocationProgress::Entered, .. }), _) => {
            "the worker could not read it"
        }
        (Some(_), _) => "the function was never entered",
    };
    let lacks = |meter: &Meter| {
        // The operators of a run that went well come from the counting run.
        let later = *meter == Meter::WasmOps && *status == Status::Ok;
        !later
            && usage.get(*meter).is_none()
            && usual.get(*meter).is_some_and(|it| it.source.is_some())
    };
    // A vector that stays empty allocates nothing.
    let lacking: Vec<Meter> = REPORTED_METERS.into_iter().filter(lacks).collect();
    if lacking.is_empty() {
        return outcome;
    }
    let all = Arc::make_mut(&mut outcome.provenances);
    for meter in lacking {
        all.set_missing(meter, reason(meter));
    }
    outcome
}

/// Sets the phases that a worker reports, from `begun` on; `create` is the caller's.
fn set_phases(phases: &mut Phases, report: &WasmWorkerReport, begun: Nanos, gone: Nanos) {
    phases.deserialize = report.deserialize.map(Nanos);
    phases.teardown = Some(gone.saturating_since(report.ended));
    if report.progress < InvocationProgress::Entered {
        // Whatever it was doing then, it was starting.
        phases.start = Some(report.ended.saturating_since(begun));
        return;
    }
    phases.start = Some(report.ready.saturating_since(begun));
    phases.run = Some(report.ended.saturating_since(report.started));
    phases.instantiate = Some(report.instantiated.saturating_since(report.created));
    phases.release = Some(report.dropped.saturating_since(report.ended));
}

/// Returns the operators that the run counted itself.
const fn counted_operators(report: &WasmWorkerReport) -> Option<u64> {
    match report.fuel {
        Fuel::Exact(operators) => Some(operators),
        Fuel::Off | Fuel::Lost => None,
    }
}

/// Returns the reason why a module is not compiled that takes too long.
fn compile_budget_reason() -> String {
    format!(
        "the compiler was stopped: all forms of a module together may take {COMPILE_BUDGET} to compile"
    )
}

/// Judges how a reported call ended, in the words of the store.
fn judge_call(report: &WasmWorkerReport, limits: &Limits) -> (Status, Option<String>, Option<i32>) {
    match report.end {
        CallEnd::Exit(0) => (Status::Ok, None, Some(0)),
        CallEnd::Exit(code) => (Status::Failed, Some(format!("exit code {code}")), Some(code)),
        CallEnd::Trap => (Status::Failed, Some(format!("trap: {}", report.text)), None),
        CallEnd::NotStarted if report.wanted_memory() => {
            let memory = limits.memory;
            let text = &report.text;
            let reason = format!(
                "out of memory: its memory limit of {memory} is too low to start it: {text}"
            );
            (Status::Failed, Some(reason), None)
        }
        CallEnd::NotStarted => {
            (Status::Failed, Some(format!("it could not be started: {}", report.text)), None)
        }
    }
}
