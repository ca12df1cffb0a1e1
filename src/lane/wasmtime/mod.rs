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
mod protocol;
pub mod settings;
mod warm;
pub mod worker;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use self::protocol::{End, Report, WorkerConfig};
use self::settings::Settings;
use self::warm::WarmWorker;
use super::process::Runner;
use super::{
    Cancel, Description, FootprintPart, Job, Lane, LaneError, Outcome, PartKind, Prepared,
    StartKind, Status, Watch, now,
};
use crate::meter::{Meter, Phases, Provenances, Source};
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

    /// Operators that one run of `job` executes: from the notes of an earlier
    /// counting run, or from one made now.
    fn count_ops(&mut self, job: &Job, cancel: &Cancel) -> Result<u64, String> {
        let key = counting::key(job);
        if let Some(ops) = counting::recall(&self.cache, &key) {
            return Ok(ops);
        }
        let counting = Settings::counting();
        self.compile(&job.workload, counting, cancel).map_err(|error| error.to_string())?;
        let mut slow = job.clone();
        slow.start = StartKind::Cold;
        slow.limits.timeout = Nanos(job.limits.timeout.0.saturating_mul(4));
        let config = self.worker_config(&slow, counting).ok_or("no compiled module")?;
        let (outcome, report) = self.cold_run(&slow, &config, &mut super::Unwatched, cancel)?;
        match (outcome.status, report.and_then(|report| report.fuel)) {
            (Status::Ok, Some(ops)) => {
                counting::remember(&self.cache, &key, ops);
                Ok(ops)
            }
            _ => Err(format!(
                "the counting run did not end well: {}",
                outcome.reason.unwrap_or_else(|| "no fuel was reported".to_owned())
            )),
        }
    }
}

impl Lane for WasmtimeLane {
    fn describe(&self) -> Description {
        Description { version: format!("wasmtime {}", engine::VERSION), note: self.settings.note() }
    }

    fn starts(&self) -> &'static [StartKind] {
        &[StartKind::Cold, StartKind::Warm]
    }

    fn count(&mut self, on: bool) -> Result<(), LaneError> {
        let runner = Runner::counting(on)
            .map_err(|error| LaneError::Unavailable { reason: error.to_string() })?;
        let mut provenances = (**runner.provenances()).clone();
        set_common(&mut provenances, self.settings);
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
            match self.count_ops(job, cancel) {
                Ok(ops) => prepared.wasm_ops = Some(ops),
                Err(reason) => {
                    prepared.notes.push(format!("Wasm operations not counted: {reason}"));
                }
            }
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
    let version = engine::VERSION;
    if settings.fuel {
        all.set(
            Meter::WasmOps,
            Source::Fuel,
            format!("wasmtime {version}, default operator costs, counted in the timed run; a lower bound after a trap"),
        );
    } else {
        all.set(
            Meter::WasmOps,
            Source::Fuel,
            format!("wasmtime {version}, default operator costs, from one separate counting run"),
        );
    }
    all.set(Meter::LinearMemory, Source::Limiter, "linear memories at the end; they never shrink");
    all.set(Meter::MemoryAllocated, Source::Plan, "the limit of the linear memories");
    all.missing(Meter::VcpuAllocated, super::WHOLE_CPU);
}

/// The parts of phases that a worker tells apart.
fn set_parts(phases: &mut Phases, report: &Report) {
    // What never began to run was not instantiated either.
    if report.instantiated == report.ended {
        return;
    }
    phases.deserialize = report.deserialize.map(Nanos);
    phases.instantiate = Some(report.instantiated.since(report.created));
    phases.release = Some(report.dropped.since(report.ended));
}

/// How a reported call ended, in the words of the store.
fn verdict(report: &Report) -> (Status, Option<String>, Option<i32>) {
    match report.end {
        End::Exit(0) => (Status::Ok, None, Some(0)),
        End::Exit(code) => (Status::Failed, Some(format!("exit code {code}")), Some(code)),
        End::Trap => (Status::Failed, Some(format!("trap: {}", report.text)), None),
    }
}
