//! The worker process: `cyclometer` executes itself with a hidden subcommand, so that a module's
//! memory, counters and crashes are its own.
//!
//! Descriptors: 0, 1 and 2 are the function's own, 3 the socket to the lane.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, send};
use wasmtime::{Engine, Store, Trap};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtxBuilder, WasiCtxView, WasiView};

use super::engine::EnginePurpose;
use super::function_code::{Entry, FunctionCode, LoadedCode};
use super::limiter::MemoryLimiter;
use super::protocol::{
    CallEnd, Fuel, InvocationProgress, VARIABLE_PREFIX, WasmWorkerReport, WorkerConfig,
};
use super::report_ring::ReportWriter;
use super::standard_streams::StandardStreams;
use super::warm_protocol::{ReportSender, WarmRequest};
use super::worker_meters::{self, WorkerMeters};
use crate::monotonic_now;
use crate::program_run::one_line;
use cyclometer_core::units::Nanos;
use cyclometer_meter::Meter;

/// Host state of a store.
pub(super) struct StoreState {
    /// State of WASI, of modules and of components.
    pub wasi: WasiP1Ctx,
    limiter: MemoryLimiter,
}

impl WasiView for StoreState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
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

/// A function ready to be instantiated.
struct LoadedFunction {
    config: WorkerConfig,
    /// Time that loading its compiled form took.
    deserialize: Nanos,
    engine: Engine,
    code: FunctionCode,
    /// Causes of varying results, as in the report.
    varying: u64,
    /// Environment of the function, names and values.
    env: Vec<(String, String)>,
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
        let engine = Engine::new(&config.settings.engine_config(purpose, config.facts.needs))?;
        if config.settings.epoch {
            start_epoch_thread(&engine)?;
        }
        let LoadedCode { code, deserialize, varying } =
            FunctionCode::load(&engine, module, &config)?;
        Ok(Self {
            config,
            deserialize,
            engine,
            code,
            varying,
            env: read_function_environment(),
            streams: StandardStreams::open().map_err(wasmtime::Error::msg)?,
        })
    }

    /// Creates a store with standard streams and arguments, and of folders, network and environment
    /// what the function was given: by default nothing.
    fn create_store(&self) -> wasmtime::Result<Store<StoreState>> {
        let mut wasi = WasiCtxBuilder::new();
        for folder in &self.config.dirs {
            let rights = if folder.is_read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
            wasi.preopened_dir(&folder.host, &folder.guest, rights).map_err(|error| {
                let host = cyclometer_system::files::display_path(&folder.host);
                wasmtime::Error::msg(format!("cannot open its folder {host}: {error:#}"))
            })?;
        }
        if let Some(workdir) = &self.config.workdir {
            wasi.initial_cwd(workdir);
        }
        if self.config.network {
            wasi.inherit_network().allow_ip_name_lookup(true);
        }
        let wasi = wasi
            .envs(&self.env)
            .args(&self.config.args)
            .stdin(self.streams.stdin.clone())
            .stdout(self.streams.stdout.clone())
            .stderr(self.streams.stderr.clone())
            .allow_tcp(self.config.network)
            .allow_udp(self.config.network)
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
        let mut entry = self.code.instantiate(&mut store)?.initialize(&mut store)?;
        entry.call(&mut store)
    }

    /// Instantiates and runs.
    fn run_instance(
        &self,
        begun: Nanos,
        startup: StartupReader<'_>,
        mut store: Store<StoreState>,
    ) -> WasmWorkerReport {
        let created = monotonic_now();
        let made = self.code.instantiate(&mut store);
        let overhead = self.startup_fuel(&store);
        let entered = made.and_then(|made| Ok((made.at, made.initialize(&mut store)?)));
        let mut report = match entered {
            Ok((instantiated, mut entry)) => {
                let ready = monotonic_now();
                let startup = startup(ready);
                let started = monotonic_now();
                let result = entry.call(&mut store);
                let ended = monotonic_now();
                let result = result.and_then(|()| self.write_results(&entry));
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
        if report.end != CallEnd::NotStarted && !self.config.facts.shares_memory {
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

    /// Writes the results of a call to standard output; there are none of a command.
    fn write_results(&self, entry: &Entry) -> wasmtime::Result<()> {
        if !entry.is_call() {
            return Ok(());
        }
        entry.write_results(self.streams.stdout.file_to_write()).map_err(|error| {
            wasmtime::Error::msg(format!("its results could not be written: {error}"))
        })
    }

    /// Returns the fuel that instantiation took for no operator of a function: wasmtime creates a
    /// function of its own that initialises globals, tables and memories. With a start section the
    /// two cannot be distinguished: constant expressions that wasmtime evaluates there then count
    /// as operators.
    fn startup_fuel(&self, store: &Store<StoreState>) -> Option<u64> {
        let used = fuel_used(store)?;
        Some(if self.config.facts.has_start { used.min(START_SECTION_FUEL) } else { used })
    }
}

/// Fuel that wasmtime takes for running a start section: entering the function that it creates to
/// initialise an instance, and calling from there.
const START_SECTION_FUEL: u64 = 2;

/// Returns the fuel that was used so far; `None` if it is not counted.
fn fuel_used(store: &Store<StoreState>) -> Option<u64> {
    store.get_fuel().ok().map(|left| u64::MAX - left)
}

/// Returns the function's environment, which this process has under other names.
fn read_function_environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.to_str()?.strip_prefix(VARIABLE_PREFIX)?.to_owned();
            Some((name, value.into_string().ok()?))
        })
        .collect()
}

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
