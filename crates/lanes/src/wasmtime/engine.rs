//! Engine settings, the names of compiled modules, and their compilation in a
//! process of its own.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};

use sha2::{Digest, Sha256};
use wasmparser::Parser;
use wasmtime::{Engine, PoolingAllocationConfig};

use super::program::EngineNeeds;
use super::proposals::Proposals;
use super::settings::{WasmCompiler, WasmtimeSettings};
use cyclometer_workload::hex;
use cyclometer_workload::wasm_form::WasmForm;

/// Version of the engine, as locked when this program was built.
pub const VERSION: &str = env!("WASMTIME_VERSION");

/// Most memory that a 32-bit module can address. The limit that is billed is enforced by the
/// store's limiter, so that one compiled module serves all limits.
const ADDRESS_SPACE: usize = 4 << 30;

/// Most elements that a table may have.
pub(crate) const MAX_TABLE: usize = 100_000;

/// Memory of an instance that is zeroed rather than given back between invocations, so that small
/// functions fault no pages in.
const KEEP_RESIDENT: usize = 256 << 10;

/// Purpose of an engine: compiled modules fit all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EnginePurpose {
    /// Compiling modules.
    Compile,
    /// One invocation and the end of the process: no pool is laid out for more.
    Cold,
    /// Many invocations, each in a fresh instance out of a pool.
    Warm,
}

/// Most memories of one instance in a pool. Each reserves its address space beforehand.
const POOLED_MEMORIES: u32 = 4;

/// Most tables of one instance in a pool.
const POOLED_TABLES: u32 = 8;

/// Most bytes of an instance besides memories and tables; nothing is reserved beforehand. A million
/// functions, the most that a module has, take 32 MiB.
const INSTANCE_SIZE: usize = 64 << 20;

/// Most instances of modules in a component from a pool; nothing is reserved beforehand.
const POOLED_INSTANCES: u32 = 64;

/// Returns which limit of a pool the program exceeds, if any.
pub(super) fn exceeded_pool_limit(form: &WasmForm, proposals: Proposals) -> Option<String> {
    let Some(instances) = form.instances else {
        return Some("it makes several instances of a component".to_owned());
    };
    if form.shared_memory.is_some() {
        return Some("it has shared memories, and a pool has none".to_owned());
    }
    // A heap of objects takes the place of a memory.
    let memories = form.memories + usize::from(proposals.needs_heap());
    let heap = if proposals.needs_heap() { ", its heap included" } else { "" };
    [
        (memories, POOLED_MEMORIES, "memories", heap),
        (form.tables, POOLED_TABLES, "tables", ""),
        (instances, POOLED_INSTANCES, "instances of modules", ""),
    ]
    .into_iter()
    .find_map(|(count, most, name, more)| {
        let fits = u32::try_from(count).is_ok_and(|count| count <= most);
        (!fits).then(|| format!("it has {count} {name}{more}, more than the {most} of a pool"))
    })
}

/// Returns a pool for one instance of any module that does not outgrow it.
pub(super) fn pooling_config(needs: EngineNeeds) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(if needs.component { POOLED_INSTANCES } else { 1 })
        .max_component_instance_size(INSTANCE_SIZE)
        .total_gc_heaps(1)
        .total_component_instances(1)
        .total_memories(POOLED_MEMORIES)
        .total_tables(POOLED_TABLES)
        // None is used: host functions do not suspend. A thousand, the usual number,
        // are 2 GiB that can be written, more than `RLIMIT_DATA` allows.
        .total_stacks(1)
        .max_memories_per_module(POOLED_MEMORIES)
        .max_tables_per_module(POOLED_TABLES)
        .max_core_instance_size(INSTANCE_SIZE)
        .table_elements(MAX_TABLE)
        .max_memory_size(ADDRESS_SPACE)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT);
    pool
}

/// Changes with what stands around the compiled code in the cache.
const FORMAT: &str = "with proposals";

/// Returns the name of the compiled form of `module` in the cache.
///
/// # Errors
/// Fails when the engine cannot be created.
pub(crate) fn compiled_name(module: &[u8], settings: WasmtimeSettings) -> wasmtime::Result<String> {
    // What the program needs beyond that follows from the program.
    let engine =
        Engine::new(&settings.engine_config(EnginePurpose::Compile, EngineNeeds::default()))?;
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    FORMAT.hash(&mut hasher);
    let digest = hex(&Sha256::digest(module));
    let words = settings.for_compilation().variant_words();
    let variant = if words.is_empty() { "plain".to_owned() } else { words.join("+") };
    Ok(format!("{}-{VERSION}-{variant}-{:016x}.cwasm", &digest[..32], hasher.finish()))
}

/// Returns whether a name in the cache is of this version of the engine: see [`compiled_name`], and
/// counts of operators, whose names hold no version.
pub(super) fn is_current(name: &str) -> bool {
    // Behind the digest of the module.
    let of_this_version = name.get(32..).is_some_and(|it| it.starts_with(&format!("-{VERSION}-")));
    name.strip_suffix(".cwasm").is_none() || of_this_version
}

/// Runs the hidden `__compile` subcommand: reads a module or component from standard input, and
/// writes the proposals that it needs, two bytes, and its compiled form to standard output. It is a
/// process of its own because a hostile module may make the compiler exhaust time and memory.
///
/// # Errors
/// The compiler's message.
pub fn compile_standard_input(settings: WasmtimeSettings) -> Result<(), String> {
    let mut program = Vec::new();
    std::io::stdin().lock().read_to_end(&mut program).map_err(|error| error.to_string())?;
    let (proposals, compiled) = compile_program(&program, settings)?;
    #[expect(clippy::disallowed_methods, reason = "compiled code for the lane, not text")]
    let mut output = std::io::stdout().lock();
    let written = output
        .write_all(&proposals.to_bits().to_le_bytes())
        .and_then(|()| output.write_all(&compiled))
        .and_then(|()| output.flush());
    written.map_err(|error| format!("cannot hand on the compiled module: {error}"))
}

/// Compiles a program with what it needs and no more.
fn compile_program(
    program: &[u8],
    settings: WasmtimeSettings,
) -> Result<(Proposals, Vec<u8>), String> {
    let proposals = Proposals::find_needed(program)?;
    let needs = EngineNeeds { component: Parser::is_component(program), proposals };
    let explain = |error: wasmtime::Error| match proposals.describe() {
        Some(uses) if settings.compiler == WasmCompiler::Winch => {
            format!("it {uses}, and Winch does not have all of that: {error:#}")
        }
        _ => format!("{error:#}"),
    };
    let engine =
        Engine::new(&settings.engine_config(EnginePurpose::Compile, needs)).map_err(explain)?;
    let compiled = if needs.component {
        engine.precompile_component(program)
    } else {
        engine.precompile_module(program)
    };
    Ok((proposals, compiled.map_err(explain)?))
}

/// Splits what [`compile_standard_input`] wrote into proposals and code; `None` if it is neither.
pub(super) fn split_compiled(written: &[u8]) -> Option<(Proposals, &[u8])> {
    let (bits, code) = written.split_first_chunk::<2>()?;
    Some((Proposals::from_bits(u16::from_le_bytes(*bits))?, code))
}
