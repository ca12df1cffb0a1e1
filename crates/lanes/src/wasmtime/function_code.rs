//! Code of a function in a worker: a module or a component that is linked, the instances that are
//! made of it, and how each is entered.

use std::fs::File;
use std::io::Write;

use wasmtime::component::{self, ComponentExportIndex};
use wasmtime::{Engine, Extern, Func, InstancePre, Linker, ModuleExport, Store, TypedFunc, Val};
use wasmtime_wasi::I32Exit;

use super::protocol::{VARYING, WorkerConfig};
use super::worker::StoreState;
use crate::monotonic_now;
use cyclometer_core::units::Nanos;
use cyclometer_workload::wasm_call::{ExportCall, WasmNumber};

/// Code that is ready to be instantiated.
pub(super) enum FunctionCode {
    /// A module, with what is called of it.
    Module { ready: InstancePre<StoreState>, entry: ModuleEntry },
    /// A component, with the function of `wasi:cli/run`.
    Component { ready: component::InstancePre<StoreState>, run: ComponentExportIndex },
}

/// Export of a module that is called.
pub(super) enum ModuleEntry {
    /// `_start`, if there is one.
    Start(Option<ModuleExport>),
    /// A function by its name, after `_initialize`, if there is one.
    Call { call: ExportCall, function: Option<ModuleExport>, initialize: Option<ModuleExport> },
}

/// An instance that was made, of which nothing was called yet.
pub(super) struct MadeInstance {
    /// Time at which it was made.
    pub at: Nanos,
    entry: Entry,
    initialize: Option<TypedFunc<(), ()>>,
}

/// The function of an instance that is called.
pub(super) enum Entry {
    /// `_start`.
    Start(TypedFunc<(), ()>),
    /// An export, with its parameters and places for its results.
    Call { function: Func, parameters: Vec<Val>, results: Vec<Val> },
    /// `run` of a component.
    Run(component::TypedFunc<(), (Result<(), ()>,)>),
}

/// Result of [`FunctionCode::load`].
pub(super) struct LoadedCode {
    /// The code.
    pub code: FunctionCode,
    /// Time that loading its compiled form took.
    pub deserialize: Nanos,
    /// Causes of varying results: functions of [`VARYING`] that it imports, a bit each.
    pub varying: u64,
}

impl FunctionCode {
    /// Loads and links the compiled form in `file`.
    pub fn load(
        engine: &Engine,
        file: File,
        config: &WorkerConfig,
    ) -> wasmtime::Result<LoadedCode> {
        if config.facts.needs.component {
            Self::load_component(engine, &file, config)
        } else {
            Self::load_module(engine, file, config)
        }
    }

    fn load_module(
        engine: &Engine,
        file: File,
        config: &WorkerConfig,
    ) -> wasmtime::Result<LoadedCode> {
        let begun = monotonic_now();
        let module = super::load::load_compiled(engine, file)?;
        let deserialize = monotonic_now().saturating_since(begun);
        let mut linker: Linker<StoreState> = Linker::new(engine);
        wasmtime_wasi::p1::add_to_linker_sync(&mut linker, |state| &mut state.wasi)?;
        define_proc_exit(&mut linker)?;
        let export = |name: &str| module.get_export_index(name);
        let entry = match &config.call {
            None => ModuleEntry::Start(export("_start")),
            Some(call) => ModuleEntry::Call {
                call: call.clone(),
                function: export(&call.export),
                initialize: export("_initialize"),
            },
        };
        let varying = find_varying(config, module.imports().map(|import| import.name()));
        let ready = linker.instantiate_pre(&module)?;
        Ok(LoadedCode { code: Self::Module { ready, entry }, deserialize, varying })
    }

    fn load_component(
        engine: &Engine,
        file: &File,
        config: &WorkerConfig,
    ) -> wasmtime::Result<LoadedCode> {
        let begun = monotonic_now();
        let component = super::load::load_compiled_component(engine, file)?;
        let deserialize = monotonic_now().saturating_since(begun);
        let mut linker: component::Linker<StoreState> = component::Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
        let missing = || wasmtime::Error::msg("it exports no wasi:cli/run of WASI 0.2");
        let run = component
            .get_export_index(None, "wasi:cli/run@0.2.0")
            .and_then(|instance| component.get_export_index(Some(&instance), "run"))
            .ok_or_else(missing)?;
        let kind = component.component_type();
        let varying = find_varying(config, kind.imports(engine).map(|(name, _)| name));
        let ready = linker.instantiate_pre(&component)?;
        Ok(LoadedCode { code: Self::Component { ready, run }, deserialize, varying })
    }

    /// Makes an instance, which runs start sections, and finds its entry.
    pub fn instantiate(&self, store: &mut Store<StoreState>) -> wasmtime::Result<MadeInstance> {
        let (ready, entry) = match self {
            Self::Component { ready, run } => {
                let instance = ready.instantiate(&mut *store)?;
                let at = monotonic_now();
                let entry = Entry::Run(instance.get_typed_func(&mut *store, run)?);
                return Ok(MadeInstance { at, entry, initialize: None });
            }
            Self::Module { ready, entry } => (ready, entry),
        };
        let instance = ready.instantiate(&mut *store)?;
        let at = monotonic_now();
        let mut find = |export: &Option<ModuleExport>| {
            let found = instance.get_module_export(&mut *store, export.as_ref()?);
            found.and_then(Extern::into_func)
        };
        match entry {
            ModuleEntry::Start(export) => {
                let start = find(export).ok_or_else(|| wasmtime::Error::msg(NO_ENTRY))?;
                let entry = Entry::Start(start.typed(&*store)?);
                Ok(MadeInstance { at, entry, initialize: None })
            }
            ModuleEntry::Call { call, function, initialize } => {
                let missing = || wasmtime::Error::msg("it exports no function of that name");
                let function = find(function).ok_or_else(missing)?;
                let initialize = find(initialize).map(|it| it.typed(&*store)).transpose()?;
                let results = vec![Val::I32(0); function.ty(&*store).results().len()];
                let parameters = call.parameters.iter().map(|it| to_value(*it)).collect();
                Ok(MadeInstance {
                    at,
                    entry: Entry::Call { function, parameters, results },
                    initialize,
                })
            }
        }
    }
}

impl MadeInstance {
    /// Runs its `_initialize`, if it has one that must be called, and returns the entry.
    pub fn initialize(self, store: &mut Store<StoreState>) -> wasmtime::Result<Entry> {
        if let Some(initialize) = self.initialize {
            initialize.call(store, ())?;
        }
        Ok(self.entry)
    }
}

impl Entry {
    /// Calls the function. An exit, that of a failed component too, is the error [`I32Exit`].
    pub fn call(&mut self, store: &mut Store<StoreState>) -> wasmtime::Result<()> {
        match self {
            Self::Start(start) => start.call(store, ()),
            Self::Call { function, parameters, results } => {
                function.call(store, parameters, results)
            }
            Self::Run(run) => match run.call(store, ())? {
                (Ok(()),) => Ok(()),
                (Err(()),) => Err(I32Exit(1).into()),
            },
        }
    }

    /// Returns whether it is a call, whose results are written for it.
    pub const fn is_call(&self) -> bool {
        matches!(self, Self::Call { .. })
    }

    /// Writes the results of a call to standard output, one a line.
    pub fn write_results(&self, mut output: &File) -> std::io::Result<()> {
        let Self::Call { results, .. } = self else {
            return Ok(());
        };
        let mut text = Vec::new();
        for result in results.iter().filter_map(from_value) {
            writeln!(text, "{result}")?;
        }
        output.write_all(&text)
    }
}

fn to_value(number: WasmNumber) -> Val {
    match number {
        WasmNumber::I32(value) => Val::I32(value),
        WasmNumber::I64(value) => Val::I64(value),
        WasmNumber::F32(bits) => Val::F32(bits),
        WasmNumber::F64(bits) => Val::F64(bits),
    }
}

/// Returns a result as a number; `None`: it is none, which was refused before.
fn from_value(value: &Val) -> Option<WasmNumber> {
    match value {
        Val::I32(value) => Some(WasmNumber::I32(*value)),
        Val::I64(value) => Some(WasmNumber::I64(*value)),
        Val::F32(bits) => Some(WasmNumber::F32(*bits)),
        Val::F64(bits) => Some(WasmNumber::F64(*bits)),
        _ => None,
    }
}

/// Reason why a module without `_start` does not run.
const NO_ENTRY: &str = "it exports no function `_start`: only commands are run, \
                        no reactors and no libraries";

/// Replaces `proc_exit` of the library, which ends a function with a trap, and loses its exit code,
/// from 126 on.
fn define_proc_exit(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let exit = |code: i32| -> wasmtime::Result<()> { Err(I32Exit(code).into()) };
    linker.func_wrap("wasi_snapshot_preview1", "proc_exit", exit)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Returns what makes the results of a function vary, a bit for each of [`VARYING`]: functions and
/// interfaces that it imports, and what it shares with the machine.
fn find_varying<'a>(config: &WorkerConfig, imports: impl Iterator<Item = &'a str>) -> u64 {
    let mut bits = 0;
    let mut add = |is_meant: &dyn Fn(&str) -> bool| {
        let found = VARYING.iter().enumerate().filter(|(_, name)| is_meant(name));
        bits |= found.fold(0_u64, |bits, (position, _)| bits | 1 << position);
    };
    for import in imports {
        // Without the version behind an interface.
        let name = import.split('@').next().unwrap_or_default();
        add(&|varying| name == varying || (varying.ends_with('/') && name.starts_with(varying)));
    }
    if !config.dirs.is_empty() {
        add(&|varying| varying == super::protocol::FOLDERS);
    }
    if config.network {
        add(&|varying| varying == super::protocol::NETWORK);
    }
    bits
}
