//! The worker: `cyclometer` executing itself with a hidden subcommand, so that
//! a module's memory, counters and crashes are its own.
//!
//! Descriptors: 0, 1 and 2 are the function's own, 3 the socket to the lane.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::socket::{MsgFlags, recv, send};
use wasmtime::{
    Engine, Extern, InstancePre, Linker, Module, ModuleExport, ResourceLimiter, Store, TypedFunc,
};
use wasmtime_wasi::cli::{InputFile, OutputFile};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};

use super::engine::{MAX_TABLE, Purpose};
use super::protocol::{End, Report, WorkerConfig};
use crate::lane::now;
use crate::lane::process::{digest, one_line};
use crate::meter::perf::{Counters, Target};
use crate::meter::{Meter, Provenance};
use crate::units::Nanos;
use crate::workload::OutputDigest;

/// What a store carries.
struct State {
    wasi: WasiP1Ctx,
    memory: Limiter,
}

/// Holds linear memories together below the limit that is billed.
struct Limiter {
    limit: usize,
    used: usize,
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grown = self.used + desired.saturating_sub(current);
        if grown > self.limit {
            return Ok(false);
        }
        self.used = grown;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE)
    }
}

/// Time between two epochs, as embedders choose it.
const EPOCH: Duration = Duration::from_millis(10);

/// An epoch that does not come: the lane has its own time limit.
const NEVER: u64 = u64::MAX / 2;

/// Advances the engine's epoch until the process ends.
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
    /// How long loading its compiled form took.
    deserialize: Nanos,
    engine: Engine,
    ready: InstancePre<State>,
    /// Where the module exports `_start`.
    entry: Option<ModuleExport>,
    stdin: InputFile,
    stdout: OutputFile,
    stderr: OutputFile,
}

/// Runs the hidden `__worker` subcommand; `begun` is when the process did.
///
/// # Errors
/// When the lane is not there to be told, or its words are not understood.
pub fn run(begun: Nanos, config: &str) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let socket = crate::sys::inherited(3).ok_or("no control socket")?;
    let config: WorkerConfig = serde_json::from_str(config).map_err(|error| text(&error))?;
    let function = Function::load(config);
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
            // The process ends: unmapping what it has is the kernel's work.
            std::mem::forget(function);
            answer(&report)
        }
        Err(error) => answer(&Report::failed(begun, &error)),
    }
}

/// Answers requests, each a count of invocations, until the lane hangs up.
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
            let mut report = function.call(now(), Some(&mut meters.counters));
            report.peak_kib = peak_kib();
            report.output = meters.take_output();
            answer(&report)?;
        }
    }
}

/// What a warm worker reads of itself around each invocation.
struct Meters {
    counters: Counters,
    /// Writing 5 to it makes the peak of resident memory start anew.
    clear_refs: Option<File>,
    /// The same open files as descriptors 0, 1 and 2.
    stdin: File,
    stdout: File,
    stderr: File,
}

impl Meters {
    /// Opens the counters of this thread and tells the lane what they are.
    fn open(socket: &OwnedFd) -> Result<Self, String> {
        let counters = Counters::open(Target::ThisThread);
        let all: Vec<(Meter, Option<&str>, &str)> = counters
            .provenances()
            .iter()
            .map(|(meter, Provenance { source, note })| {
                (meter, source.map(crate::meter::Source::label), note.as_str())
            })
            .collect();
        let hello = serde_json::to_vec(&all).map_err(|error| error.to_string())?;
        send(socket.as_raw_fd(), &hello, MsgFlags::MSG_NOSIGNAL).map_err(|it| it.to_string())?;
        let clear_refs = File::options().write(true).open("/proc/self/clear_refs").ok();
        Ok(Self {
            counters,
            clear_refs,
            stdin: duplicate(std::io::stdin().as_fd())?,
            stdout: duplicate(std::io::stdout().as_fd())?,
            stderr: duplicate(std::io::stderr().as_fd())?,
        })
    }

    /// Peak memory, standard input and standard error start anew; the lane has
    /// read what an earlier invocation complained of.
    fn start_anew(&mut self) {
        if let Some(file) = &mut self.clear_refs {
            let _ = file.write_all(b"5");
        }
        let _ = self.stdin.rewind();
        if self.stderr.stream_position().is_ok_and(|position| position > 0) {
            let _ = self.stderr.set_len(0);
            let _ = self.stderr.rewind();
        }
    }

    /// What the invocation wrote; standard output is empty again afterwards.
    fn take_output(&mut self) -> Option<OutputDigest> {
        if self.stdout.stream_position().ok()? == 0 {
            return Some(OutputDigest::of(b""));
        }
        let output = digest(&mut self.stdout).ok()?;
        self.stdout.set_len(0).ok()?;
        self.stdout.rewind().ok()?;
        Some(output)
    }
}

/// Peak resident memory of this process in KiB.
fn peak_kib() -> Option<u64> {
    let used = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    u64::try_from(used.max_rss()).ok()
}

fn duplicate(descriptor: std::os::fd::BorrowedFd<'_>) -> Result<File, String> {
    descriptor.try_clone_to_owned().map(File::from).map_err(|error| error.to_string())
}

impl Function {
    fn load(config: WorkerConfig) -> wasmtime::Result<Self> {
        let purpose = if config.warm { Purpose::Warm } else { Purpose::Cold };
        let engine = Engine::new(&config.settings.config(purpose))?;
        if config.settings.epoch {
            tick(&engine)?;
        }
        let begun = now();
        let module: Module = crate::sys::load_compiled(&engine, &config.module)?;
        let deserialize = now().since(begun);
        let mut linker: Linker<State> = Linker::new(&engine);
        wasmtime_wasi::p1::add_to_linker_sync(&mut linker, |state| &mut state.wasi)?;
        let ready = linker.instantiate_pre(&module)?;
        let file = |it| duplicate(it).map_err(wasmtime::Error::msg);
        Ok(Self {
            config,
            deserialize,
            engine,
            ready,
            entry: module.get_export_index("_start"),
            stdin: InputFile::new(file(std::io::stdin().as_fd())?),
            stdout: OutputFile::new(file(std::io::stdout().as_fd())?),
            stderr: OutputFile::new(file(std::io::stderr().as_fd())?),
        })
    }

    /// No files, no network, no environment: standard streams and arguments.
    fn store(&self) -> wasmtime::Result<Store<State>> {
        let wasi = WasiCtxBuilder::new()
            .args(&self.config.args)
            .stdin(self.stdin.clone())
            .stdout(self.stdout.clone())
            .stderr(self.stderr.clone())
            .allow_tcp(false)
            .allow_udp(false)
            .build_p1();
        let limit = usize::try_from(self.config.memory).unwrap_or(usize::MAX);
        let state = State { wasi, memory: Limiter { limit, used: 0 } };
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.memory);
        if self.config.settings.fuel {
            store.set_fuel(u64::MAX)?;
        }
        if self.config.settings.epoch {
            store.set_epoch_deadline(NEVER);
        }
        Ok(store)
    }

    /// One invocation in a fresh instance.
    fn call(&self, begun: Nanos, counters: Option<&mut Counters>) -> Report {
        match counters {
            None => self.timed(begun),
            Some(counters) => {
                let before = counters.read();
                let mut report = self.timed(now());
                let after = counters.read();
                let counts = counters.between(&before, &after);
                for (meter, count) in Meter::ALL.iter().zip(&mut report.counts) {
                    *count = counts.get(*meter);
                }
                report.coverage_ppm = counts.coverage_ppm.map(u64::from);
                report
            }
        }
    }

    fn timed(&self, begun: Nanos) -> Report {
        let created = self.store().map(|store| (store, now()));
        let prepared = created.and_then(|(mut store, created)| {
            let instance = self.ready.instantiate(&mut store)?;
            let instantiated = now();
            let entry = self
                .entry
                .and_then(|entry| instance.get_module_export(&mut store, &entry))
                .and_then(Extern::into_func)
                .ok_or_else(|| wasmtime::Error::msg("it exports no function `_start`"))?;
            let entry = entry.typed::<(), ()>(&store)?;
            Ok((store, created, instantiated, entry))
        });
        match prepared {
            Ok((store, created, instantiated, entry)) => {
                Report { created, instantiated, ..self.enter(begun, store, &entry) }
            }
            Err(error) => Report::failed(begun, &error),
        }
    }

    fn enter(&self, begun: Nanos, mut store: Store<State>, entry: &TypedFunc<(), ()>) -> Report {
        let started = now();
        let result = entry.call(&mut store, ());
        let ended = now();
        let fuel = self.config.settings.fuel.then(|| store.get_fuel().ok()).flatten();
        let linear_memory = store.data().memory.used as u64;
        drop(store);
        let mut report = match result {
            Ok(()) => Report::empty(begun, End::Exit(0)),
            Err(error) => match error.downcast_ref::<I32Exit>() {
                Some(I32Exit(code)) => Report::empty(begun, End::Exit(*code)),
                None => Report::failed(begun, &error),
            },
        };
        report.started = started;
        report.ended = ended;
        report.dropped = now();
        report.linear_memory = linear_memory;
        report.fuel = fuel.map(|left| u64::MAX - left);
        report
    }
}

impl Report {
    fn empty(begun: Nanos, end: End) -> Self {
        let moment = now();
        Self {
            end,
            begun,
            deserialize: None,
            created: moment,
            instantiated: moment,
            started: moment,
            ended: moment,
            dropped: moment,
            linear_memory: 0,
            fuel: None,
            peak_kib: None,
            output: None,
            counts: [None; Meter::COUNT],
            coverage_ppm: None,
            text: String::new(),
        }
    }

    fn failed(begun: Nanos, error: &wasmtime::Error) -> Self {
        let text = one_line(&format!("{error:#}"));
        Self { text, ..Self::empty(begun, End::Trap) }
    }
}
