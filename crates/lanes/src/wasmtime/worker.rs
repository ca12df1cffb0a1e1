//! The worker process: `cyclometer` executes itself with a hidden subcommand, so that a module's
//! memory, counters and crashes are its own.
//!
//! Descriptors: 0, 1 and 2 are the function's own, 3 the socket to the lane.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv, send};
use wasmtime::{Engine, Extern, InstancePre, Linker, Module, ModuleExport, Store, Trap, TypedFunc};
use wasmtime_wasi::cli::{InputFile, OutputFile};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};

use super::engine::Purpose;
use super::limiter::Limiter;
use super::protocol::{End, Fuel, Progress, Report, VARYING, WorkerConfig};
use super::reading::{self, Meters, duplicate};
use crate::now;
use crate::process::one_line;
use cyclometer_core::units::Nanos;
use cyclometer_meter::Meter;

/// Host state of a store.
struct State {
    wasi: WasiP1Ctx,
    limiter: Limiter,
}

/// Time between two epochs, as embedders usually choose it.
const EPOCH: Duration = Duration::from_millis(10);

/// Epoch that never comes: the lane has its own time limit.
const NEVER: u64 = u64::MAX / 2;

/// Starts a thread that advances the engine's epoch until the process ends.
fn tick(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.clone();
    std::thread::Builder::new().name("epoch".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(EPOCH);
            engine.increment_epoch();
        }
    })?;
    Ok(())
}

/// A module ready to be instantiated.
struct Function {
    config: WorkerConfig,
    /// Time that loading its compiled form took.
    deserialize: Nanos,
    engine: Engine,
    ready: InstancePre<State>,
    /// Export `_start` of the module, if there is one.
    entry: Option<ModuleExport>,
    /// Functions of [`VARYING`] that it imports, a bit each.
    varying: u64,
    stdin: InputFile,
    stdout: OutputFile,
    stderr: OutputFile,
}

/// Runs the hidden `__worker` subcommand; `begun` is the start time of the process.
///
/// # Errors
/// Fails when the lane cannot be reached, or its messages are not understood.
pub fn run(begun: Nanos, config: &str) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let socket = cyclometer_system::sys::inherited(3).ok_or("no control socket")?;
    let config: WorkerConfig = serde_json::from_str(config).map_err(|error| text(&error))?;
    let module = super::handover::take(&socket).map_err(|error| text(&error))?;
    let function = Function::load(config, module);
    let answer = |report: &Report| {
        send(socket.as_raw_fd(), &report.encode(), MsgFlags::MSG_NOSIGNAL)
            .map(drop)
            .map_err(|error| text(&error))
    };
    match function {
        Ok(function) if function.config.warm => serve(&socket, &function, &answer),
        Ok(function) => {
            let mut report = function.call(begun, None);
            report.deserialize = Some(function.deserialize.0);
            // The process ends: unmapping its memory is the kernel's work.
            std::mem::forget(function);
            answer(&report)
        }
        Err(error) => answer(&Report::failed(begun, Progress::Begun, &error)),
    }
}

/// Serves requests, each a count of invocations, until the lane hangs up.
fn serve(
    socket: &OwnedFd,
    function: &Function,
    answer: &dyn Fn(&Report) -> Result<(), String>,
) -> Result<(), String> {
    let mut meters = Meters::open(socket)?;
    let mut request = [0; 4];
    loop {
        match recv(socket.as_raw_fd(), &mut request, MsgFlags::empty()) {
            Ok(4) => {}
            Ok(_) => return Ok(()),
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error.to_string()),
        }
        for _ in 0..u32::from_ne_bytes(request) {
            meters.start_anew();
            let (mut report, (counts, coverage)) = meters.around(|| {
                let cpu = reading::thread_cpu();
                function.call(now(), cpu)
            });
            report.take_counts(&counts, coverage);
            report.peak_kib = meters.peak_kib();
            report.output = meters.take_output();
            answer(&report)?;
        }
    }
}

impl Function {
    #[expect(clippy::disallowed_methods, reason = "the output of the function, not ours")]
    fn load(config: WorkerConfig, module: std::fs::File) -> wasmtime::Result<Self> {
        let purpose = if config.warm { Purpose::Warm } else { Purpose::Cold };
        let engine = Engine::new(&config.settings.config(purpose))?;
        if config.settings.epoch {
            tick(&engine)?;
        }
        let begun = now();
        let module: Module = super::load::load_compiled(&engine, module)?;
        let deserialize = now().since(begun);
        let mut linker: Linker<State> = Linker::new(&engine);
        wasmtime_wasi::p1::add_to_linker_sync(&mut linker, |state| &mut state.wasi)?;
        define_exit(&mut linker)?;
        let ready = linker.instantiate_pre(&module)?;
        let file = |it| duplicate(it).map_err(wasmtime::Error::msg);
        Ok(Self {
            config,
            deserialize,
            engine,
            ready,
            entry: module.get_export_index("_start"),
            varying: varying(&module),
            stdin: InputFile::new(file(std::io::stdin().as_fd())?),
            stdout: OutputFile::new(file(std::io::stdout().as_fd())?),
            stderr: OutputFile::new(file(std::io::stderr().as_fd())?),
        })
    }

    /// Creates a store without files, network or environment: standard streams and arguments only.
    fn store(&self) -> wasmtime::Result<Store<State>> {
        let wasi = WasiCtxBuilder::new()
            .args(&self.config.args)
            .stdin(self.stdin.clone())
            .stdout(self.stdout.clone())
            .stderr(self.stderr.clone())
            .allow_tcp(false)
            .allow_udp(false)
            .build_p1();
        let state = State { wasi, limiter: Limiter::new(self.config.memory) };
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limiter);
        if self.config.settings.fuel {
            store.set_fuel(u64::MAX)?;
        }
        if self.config.settings.epoch {
            store.set_epoch_deadline(NEVER);
        }
        Ok(store)
    }

    /// Runs one invocation in a fresh instance; `cpu` is the thread's CPU time when a warm one was
    /// begun.
    fn call(&self, begun: Nanos, cpu: Option<u64>) -> Report {
        match self.store() {
            Ok(store) => Report { varying: self.varying, ..self.run(begun, cpu, store) },
            Err(error) => Report::failed(begun, Progress::Begun, &error),
        }
    }

    /// Instantiates and runs.
    fn run(&self, begun: Nanos, cpu: Option<u64>, mut store: Store<State>) -> Report {
        let created = now();
        let instantiated = self.instantiate(&mut store);
        let overhead = self.startup_fuel(&store);
        let mut report = match instantiated {
            Ok((instantiated, entry)) => {
                let ready = now();
                let startup = self.read_startup(cpu);
                let started = now();
                let result = entry.call(&mut store, ());
                let ended = now();
                let report = Report::ended(begun, ended, Progress::Entered, result);
                Report { instantiated, ready, started, ..report.with_startup(startup) }
            }
            Err(error) => Report::ended(begun, now(), Progress::Created, Err(error)),
        };
        report.created = created;
        let limiter = &store.data().limiter;
        // An instance that could not be made has no memory; one that was stopped
        // in its start section has.
        if report.end != End::Unstarted {
            report.linear_memory = Some(limiter.memory_bytes());
        }
        report.counts[Meter::MemoryGrowFailed as usize] = Some(limiter.refused_growth());
        report.fuel = match (report.fuel, fuel_used(&store).zip(overhead)) {
            (Fuel::Exact(_), Some((used, overhead))) => Fuel::Exact(used.saturating_sub(overhead)),
            (Fuel::Lost, Some(_)) => Fuel::Lost,
            (_, _) => Fuel::Off,
        };
        drop(store);
        report.dropped = now();
        report
    }

    /// Creates the instance, which runs its start section, and finds the entry.
    fn instantiate(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<(Nanos, TypedFunc<(), ()>)> {
        let instance = self.ready.instantiate(&mut *store)?;
        let instantiated = now();
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
    fn startup_fuel(&self, store: &Store<State>) -> Option<u64> {
        let used = fuel_used(store)?;
        Some(if self.config.start_section { used.min(START_FUEL) } else { used })
    }

    /// Reads CPU time and resident memory up to now, right before the function's first instruction;
    /// `cpu` is the thread's CPU time when a warm invocation was begun. In a warm worker, where
    /// reading must be cheap, the peak since then stands for the present resident memory.
    fn read_startup(&self, cpu: Option<u64>) -> [Option<u64>; 2] {
        if self.config.warm {
            let used = reading::thread_cpu().zip(cpu);
            let memory = reading::peak_kib().and_then(|kib| kib.checked_mul(1_024));
            [used.and_then(|(now, begun)| now.checked_sub(begun)), memory]
        } else {
            [reading::process_cpu(), reading::resident()]
        }
    }
}

/// Fuel that wasmtime takes for running a start section: entering the function that it creates to
/// initialise an instance, and calling from there.
const START_FUEL: u64 = 2;

/// Returns the fuel that was used so far; `None` if it is not counted.
fn fuel_used(store: &Store<State>) -> Option<u64> {
    store.get_fuel().ok().map(|left| u64::MAX - left)
}

/// Replaces `proc_exit` of the library, which ends a function with a trap, and loses its exit code,
/// from 126 on.
fn define_exit(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let exit = |code: i32| -> wasmtime::Result<()> { Err(I32Exit(code).into()) };
    linker.func_wrap("wasi_snapshot_preview1", "proc_exit", exit)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Returns which functions of [`VARYING`] the module imports, a bit each.
fn varying(module: &Module) -> u64 {
    let imports = |name: &str| module.imports().any(|import| import.name() == name);
    VARYING
        .iter()
        .enumerate()
        .fold(0, |bits, (position, name)| bits | (u64::from(imports(name)) << position))
}

/// Reason why a module without `_start` does not run.
const NO_ENTRY: &str = "it exports no function `_start`: only commands are run, \
                        no reactors and no libraries";

impl Report {
    /// Creates the report of an invocation that ended at `ended`.
    fn ended(begun: Nanos, ended: Nanos, progress: Progress, result: wasmtime::Result<()>) -> Self {
        let (end, fuel, text) = match result {
            Ok(()) => (End::Exit(0), Fuel::Exact(0), String::new()),
            Err(error) => {
                let text = one_line(&format!("{error:#}"));
                match (error.downcast_ref::<I32Exit>(), error.downcast_ref::<Trap>()) {
                    (Some(I32Exit(code)), _) => (End::Exit(*code), Fuel::Exact(0), String::new()),
                    (None, Some(trap)) => (End::Trap, fuel_after(*trap), text),
                    // A function of the host failed: fuel was stored before the call.
                    (None, None) if progress == Progress::Entered => {
                        (End::Trap, Fuel::Exact(0), text)
                    }
                    (None, None) => (End::Unstarted, Fuel::Off, text),
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

    fn failed(begun: Nanos, progress: Progress, error: &wasmtime::Error) -> Self {
        let error = wasmtime::Error::msg(format!("{error:#}"));
        Self::ended(begun, now(), progress, Err(error))
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

    /// Adds the counts around the invocation.
    fn take_counts(&mut self, counts: &[Option<u64>; Meter::COUNT], coverage: Option<u64>) {
        for (mine, counted) in self.counts.iter_mut().zip(counts) {
            *mine = mine.or(*counted);
        }
        self.coverage_ppm = coverage;
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
