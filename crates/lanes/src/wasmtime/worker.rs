//! The worker process: `cyclometer` executes itself with a hidden subcommand, so that a module's
//! memory, counters and crashes are its own.
//!
//! Descriptors: 0, 1 and 2 are the function's own, 3 the socket to the lane.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, send};
use wasmtime::{Engine, Extern, InstancePre, Linker, Module, ModuleExport, Store, Trap, TypedFunc};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};

use super::engine::EnginePurpose;
use super::limiter::MemoryLimiter;
use super::protocol::{CallEnd, Fuel, InvocationProgress, VARYING, WasmWorkerReport, WorkerConfig};
use super::report_ring::ReportWriter;
use super::standard_streams::StandardStreams;
use super::warm_protocol::{ReportSender, WarmRequest};
use super::worker_meters::{self, WorkerMeters};
use crate::monotonic_now;
use crate::program_run::one_line;
use cyclometer_core::units::Nanos;
use cyclometer_meter::Meter;

/// Host state of a store.
struct StoreState {
    wasi: WasiP1Ctx,
    limiter: MemoryLimiter,
}

/// Time between two epochs, as embedders usually choose it.
const EPOCH_INTERVAL: Duration = Duration::from_millis(10);

/// Epoch that never comes: the lane has its own time limit.
const UNREACHED_EPOCH: u64 = u64::MAX / 2;

/// Starts a thread that advances the engine's epoch until the process ends.
fn start_epoch_thread(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.clone();
    std::thread::Builder::new().name("epoch".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(EPOCH_INTERVAL);
            engine.increment_epoch();
        }
    })?;
    Ok(())
}

/// A module ready to be instantiated.
struct LoadedFunction {
    config: WorkerConfig,
    /// Time that loading its compiled form took.
    deserialize: Nanos,
    engine: Engine,
    ready: InstancePre<StoreState>,
    /// Export `_start` of the module, if there is one.
    entry: Option<ModuleExport>,
    /// Functions of [`VARYING`] that it imports, a bit each.
    varying: u64,
    streams: StandardStreams,
}

/// Runs the hidden `__worker` subcommand; `begun` is the start time of the process.
///
/// # Errors
/// Fails when the lane cannot be reached, or its messages are not understood.
pub fn run_worker(begun: Nanos, config: &str) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let socket = cyclometer_system::sys::take_inherited_descriptor(3).ok_or("no control socket")?;
    let config: WorkerConfig = serde_json::from_str(config).map_err(|error| text(&error))?;
    let module = super::handover::receive_module(&socket).map_err(|error| text(&error))?;
    let function = LoadedFunction::load(config, module);
    let answer = |report: &WasmWorkerReport| {
        send(socket.as_raw_fd(), &report.encode(), MsgFlags::MSG_NOSIGNAL)
            .map(drop)
            .map_err(|error| text(&error))
    };
    match function {
        Ok(function) if function.config.warm => serve_requests(&socket, &function),
        Ok(function) => {
            let mut startup =
                |_| [worker_meters::process_cpu_time(), worker_meters::resident_memory()];
            let mut report = function.invoke(begun, &mut startup);
            report.deserialize = Some(function.deserialize.0);
            // The process ends: unmapping its memory is the kernel's work.
            std::mem::forget(function);
            answer(&report)
        }
        Err(error) => {
            answer(&WasmWorkerReport::for_error(begun, InvocationProgress::Begun, &error))
        }
    }
}

/// Reads CPU time and resident memory up to now, right before the function's first instruction.
type StartupReader<'a> = &'a mut dyn FnMut(Nanos) -> [Option<u64>; 2];

/// Serves requests until the lane hangs up.
fn serve_requests(socket: &OwnedFd, function: &LoadedFunction) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let ring = cyclometer_system::sys::receive_descriptor(socket)
        .and_then(ReportWriter::open)
        .map_err(|error| text(&error))?;
    let mut reports = ReportSender::new(socket, ring);
    let mut meters = WorkerMeters::open(socket, &function.streams)?;
    while let Some(request) = WarmRequest::receive(socket).map_err(|error| text(&error))? {
        match request {
            WarmRequest::Invoke(count) => {
                meters.begin_request();
                for left in (0..count).rev() {
                    let begun = meters.begin_invocation();
                    let mut report = function.invoke(begun, &mut |at| meters.read_startup(at));
                    meters.finish_invocation(&mut report);
                    reports.send_report(&report, left == 0).map_err(|error| text(&error))?;
                }
            }
            WarmRequest::InvokeUnmetered(count) => {
                let begun = monotonic_now();
                for _ in 0..count {
                    function.invoke_unmetered().map_err(|error| text(&error))?;
                }
                let took = monotonic_now().saturating_since(begun).0;
                send(socket.as_raw_fd(), &took.to_ne_bytes(), MsgFlags::MSG_NOSIGNAL)
                    .map_err(|error| text(&error))?;
            }
            WarmRequest::Continue => {}
        }
    }
    Ok(())
}

impl LoadedFunction {
    fn load(config: WorkerConfig, module: std::fs::File) -> wasmtime::Result<Self> {
        let purpose = if config.warm { EnginePurpose::Warm } else { EnginePurpose::Cold };
        let engine = Engine::new(&config.settings.engine_config(purpose))?;
        if config.settings.epoch {
            start_epoch_thread(&engine)?;
        }
        let begun = monotonic_now();
        let module: Module = super::load::load_compiled(&engine, module)?;
        let deserialize = monotonic_now().saturating_since(begun);
        let mut linker: Linker<StoreState> = Linker::new(&engine);
        wasmtime_wasi::p1::add_to_linker_sync(&mut linker, |state| &mut state.wasi)?;
        define_proc_exit(&mut linker)?;
        let ready = linker.instantiate_pre(&module)?;
        Ok(Self {
            config,
            deserialize,
            engine,
            ready,
            entry: module.get_export_index("_start"),
            varying: varying_imports(&module),
            streams: StandardStreams::open().map_err(wasmtime::Error::msg)?,
        })
    }

    /// Creates a store without files, network or environment: standard streams and arguments only.
    fn create_store(&self) -> wasmtime::Result<Store<StoreState>> {
        let wasi = WasiCtxBuilder::new()
            .args(&self.config.args)
            .stdin(self.streams.stdin.clone())
            .stdout(self.streams.stdout.clone())
            .stderr(self.streams.stderr.clone())
            .allow_tcp(false)
            .allow_udp(false)
            .build_p1();
        let state = StoreState { wasi, limiter: MemoryLimiter::new(self.config.memory) };
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limiter);
        if self.config.settings.fuel {
            store.set_fuel(u64::MAX)?;
        }
        if self.config.settings.epoch {
            store.set_epoch_deadline(UNREACHED_EPOCH);
        }
        Ok(store)
    }

    /// Runs one invocation in a fresh instance; `startup` is read right before the function's first
    /// instruction.
    fn invoke(&self, begun: Nanos, startup: StartupReader<'_>) -> WasmWorkerReport {
        match self.create_store() {
            Ok(store) => WasmWorkerReport {
                varying: self.varying,
                ..self.run_instance(begun, startup, store)
            },
            Err(error) => WasmWorkerReport::for_error(begun, InvocationProgress::Begun, &error),
        }
    }

    /// Runs one invocation like [`Self::invoke`] does, and measures nothing: what metering adds is
    /// told from it.
    fn invoke_unmetered(&self) -> wasmtime::Result<()> {
        let mut store = self.create_store()?;
        let (_, entry) = self.instantiate(&mut store)?;
        entry.call(&mut store, ())
    }

    /// Instantiates and runs.
    fn run_instance(
        &self,
        begun: Nanos,
        startup: StartupReader<'_>,
        mut store: Store<StoreState>,
    ) -> WasmWorkerReport {
        let created = monotonic_now();
        let instantiated = self.instantiate(&mut store);
        let overhead = self.startup_fuel(&store);
        let mut report = match instantiated {
            Ok((instantiated, entry)) => {
                let ready = monotonic_now();
                let startup = startup(ready);
                let started = monotonic_now();
                let result = entry.call(&mut store, ());
                let ended = monotonic_now();
                let report =
                    WasmWorkerReport::for_end(begun, ended, InvocationProgress::Entered, result);
                WasmWorkerReport { instantiated, ready, started, ..report.with_startup(startup) }
            }
            Err(error) => WasmWorkerReport::for_end(
                begun,
                monotonic_now(),
                InvocationProgress::Created,
                Err(error),
            ),
        };
        report.created = created;
        let limiter = &store.data().limiter;
        // An instance that could not be made has no memory; one that was stopped
        // in its start section has.
        if report.end != CallEnd::NotStarted {
            report.linear_memory = Some(limiter.memory_bytes());
        }
        report.counts[Meter::MemoryGrowFailed as usize] = Some(limiter.refused_growth());
        report.fuel = match (report.fuel, fuel_used(&store).zip(overhead)) {
            (Fuel::Exact(_), Some((used, overhead))) => Fuel::Exact(used.saturating_sub(overhead)),
            (Fuel::Lost, Some(_)) => Fuel::Lost,
            (_, _) => Fuel::Off,
        };
        drop(store);
        report.dropped = monotonic_now();
        report
    }

    /// Creates the instance, which runs its start section, and finds the entry.
    fn instantiate(
        &self,
        store: &mut Store<StoreState>,
    ) -> wasmtime::Result<(Nanos, TypedFunc<(), ()>)> {
        let instance = self.ready.instantiate(&mut *store)?;
        let instantiated = monotonic_now();
        let entry = self
            .entry
            .and_then(|entry| instance.get_module_export(&mut *store, &entry))
            .and_then(Extern::into_func)
            .ok_or_else(|| wasmtime::Error::msg(NO_ENTRY))?;
        Ok((instantiated, entry.typed::<(), ()>(&*store)?))
    }

    /// Returns the fuel that instantiation took for no operator of a function: wasmtime creates a
    /// function of its own that initialises globals, tables and memories. With a start section the
    /// two cannot be distinguished: constant expressions that wasmtime evaluates there then count
    /// as operators.
    fn startup_fuel(&self, store: &Store<StoreState>) -> Option<u64> {
        let used = fuel_used(store)?;
        Some(if self.config.start_section { used.min(START_SECTION_FUEL) } else { used })
    }
}

/// Fuel that wasmtime takes for running a start section: entering the function that it creates to
/// initialise an instance, and calling from there.
const START_SECTION_FUEL: u64 = 2;

/// Returns the fuel that was used so far; `None` if it is not counted.
fn fuel_used(store: &Store<StoreState>) -> Option<u64> {
    store.get_fuel().ok().map(|left| u64::MAX - left)
}

/// Replaces `proc_exit` of the library, which ends a function with a trap, and loses its exit code,
/// from 126 on.
fn define_proc_exit(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let exit = |code: i32| -> wasmtime::Result<()> { Err(I32Exit(code).into()) };
    linker.func_wrap("wasi_snapshot_preview1", "proc_exit", exit)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Returns which functions of [`VARYING`] the module imports, a bit each.
fn varying_imports(module: &Module) -> u64 {
    let imports = |name: &str| module.imports().any(|import| import.name() == name);
    VARYING
        .iter()
        .enumerate()
        .fold(0, |bits, (position, name)| bits | (u64::from(imports(name)) << position))
}

/// Reason why a module without `_start` does not run.
const NO_ENTRY: &str = "it exports no function `_start`: only commands are run, \
                        no reactors and no libraries";

impl WasmWorkerReport {
    /// Creates the report of an invocation that ended at `ended`.
    fn for_end(
        begun: Nanos,
        ended: Nanos,
        progress: InvocationProgress,
        result: wasmtime::Result<()>,
    ) -> Self {
        let (end, fuel, text) = match result {
            Ok(()) => (CallEnd::Exit(0), Fuel::Exact(0), String::new()),
            Err(error) => {
                let text = one_line(&format!("{error:#}"));
                match (error.downcast_ref::<I32Exit>(), error.downcast_ref::<Trap>()) {
                    (Some(I32Exit(code)), _) => {
                        (CallEnd::Exit(*code), Fuel::Exact(0), String::new())
                    }
                    (None, Some(trap)) => (CallEnd::Trap, fuel_after(*trap), text),
                    // A function of the host failed: fuel was stored before the call.
                    (None, None) if progress == InvocationProgress::Entered => {
                        (CallEnd::Trap, Fuel::Exact(0), text)
                    }
                    (None, None) => (CallEnd::NotStarted, Fuel::Off, text),
                }
            }
        };
        Self {
            end,
            progress,
            begun,
            deserialize: None,
            created: ended,
            instantiated: ended,
            ready: ended,
            started: ended,
            ended,
            dropped: ended,
            linear_memory: None,
            fuel,
            varying: 0,
            peak_kib: None,
            output: None,
            counts: [None; Meter::COUNT],
            coverage_ppm: None,
            text,
        }
    }

    fn for_error(begun: Nanos, progress: InvocationProgress, error: &wasmtime::Error) -> Self {
        let error = wasmtime::Error::msg(format!("{error:#}"));
        Self::for_end(begun, monotonic_now(), progress, Err(error))
    }

    /// Returns whether it was not started for want of memory that it declares to need.
    pub(super) fn wanted_memory(&self) -> bool {
        self.counts[Meter::MemoryGrowFailed as usize].is_some_and(|refused| refused > 0)
    }

    fn with_startup(mut self, [cpu, memory]: [Option<u64>; 2]) -> Self {
        self.counts[Meter::CpuStartup as usize] = cpu;
        self.counts[Meter::MemoryStartup as usize] = memory;
        self
    }
}

/// Returns what fuel says after a trap. Compiled code keeps it in a register and stores it before
/// calls and before `unreachable`; any other trap loses what was counted since, which may be all of
/// it.
fn fuel_after(trap: Trap) -> Fuel {
    match trap {
        Trap::UnreachableCodeReached
        | Trap::IndirectCallToNull
        | Trap::BadSignature
        | Trap::StackOverflow => Fuel::Exact(0),
        _ => Fuel::Lost,
    }
}
