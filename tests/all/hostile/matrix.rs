//! Attacking functions in every lane: what must be said of each, a cell a line.
//!
//! A row is a function, a column a family of lanes. Each recording has well-behaved
//! functions among the attacks, in random order, which must come out right; and
//! nothing may be left of it: no process, no control group, no container.

mod functions;
mod lanes;

use functions::{Attack, Module};
use lanes::Family;

/// How a cell may end: one of these statuses, with that piece of its reason; a `^`
/// stands for its beginning.
type Ends = &'static [(&'static str, &'static str)];

const FINE: Ends = &[("ok", "")];
const TIMEOUT: Ends = &[("timeout", "no end within")];
const OUT_OF_MEMORY: Ends = &[("failed", "out of memory")];
/// The allocator says no, or the kernel ends it: either is told. wasm3 does not
/// look at what the allocator says, and has one table that cannot grow.
const NO_MEMORY: Ends = &[
    ("ok", ""),
    ("failed", "out of memory"),
    ("failed", "^trap"),
    ("failed", "killed by"),
    ("failed", "for MVP"),
];
const OUTPUT_LIMIT: Ends = &[("failed", "output limit")];
const TRAP: Ends = &[("failed", "^trap: ")];
const CAME_THROUGH: Ends = &[("failed", "came through")];
const SEGFAULT: Ends =
    &[("failed", "SIGSEGV"), ("failed", "signal 11"), ("failed", "exit code 139")];
/// The first process of a container cannot be ended by its own SIGABRT, and
/// `abort` then takes other ways.
const ABORT: Ends = &[
    ("failed", "SIGABRT"),
    ("failed", "signal 6"),
    ("failed", "exit code 134"),
    ("failed", "exit code 139"),
];
/// What it does to its own supervisor is its own loss, and is told.
const OWN_LOSS: Ends = &[
    ("ok", ""),
    ("timeout", "no end within"),
    ("failed", "launcher"),
    ("failed", "killed by"),
    ("failed", "SIGKILL"),
];
/// There is no such function for these lanes.
const NOT_HERE: Ends = &[];

/// Native programs (`programs/attack.c`): what each must come to as a plain
/// process, in a container, and in a bundle that a runtime runs without an engine.
/// A plain process is kept from nothing that its user may do: see
/// `docs/security.md`.
#[rustfmt::skip]
const PROGRAMS: &[Attack] = &[
    //         mode           arguments              process        container      bundle
    Attack::of("loop",        &[],                   TIMEOUT,       TIMEOUT,       TIMEOUT),
    Attack::of("deaf",        &[],                   TIMEOUT,       TIMEOUT,       TIMEOUT),
    Attack::of("recursion",   &[],                   SEGFAULT,      SEGFAULT,      SEGFAULT),
    Attack::of("heap",        &[],                   FINE,          OUT_OF_MEMORY, OUT_OF_MEMORY),
    Attack::of("shared",      &[],                   OUT_OF_MEMORY, OUT_OF_MEMORY, OUT_OF_MEMORY),
    Attack::of("memfd",       &[],                   OUT_OF_MEMORY, OUT_OF_MEMORY, OUT_OF_MEMORY),
    Attack::of("stdout",      &[],                   OUTPUT_LIMIT,  OUTPUT_LIMIT,  OUTPUT_LIMIT),
    Attack::of("stderr",      &[],                   OUTPUT_LIMIT,  OUTPUT_LIMIT,  OUTPUT_LIMIT),
    Attack::of("close",       &[],                   FINE,          FINE,          FINE),
    Attack::of("daemon",      &[],                   LEFT_BEHIND,   FINE,          FINE),
    Attack::of("stop-parent", &[],                   OWN_LOSS,      OWN_LOSS,      OWN_LOSS),
    Attack::of("kill-parent", &[],                   OWN_LOSS,      OWN_LOSS,      OWN_LOSS),
    Attack::of("orphan",      &[],                   LOST_OR_LATE,  LOST_OR_LATE,  LOST_OR_LATE),
    Attack::of("descriptors", &[],                   FINE,          FINE,          FINE),
    Attack::of("forge",       &[],                   FINE,          FINE,          FINE),
    Attack::of("read",        &["{secret}"],         CAME_THROUGH,  FINE,          FINE),
    Attack::of("write",       &["{file}"],           CAME_THROUGH,  FINE,          FINE),
    Attack::of("mark",        &[],                   NOT_HERE,      FINE,          FINE),
    Attack::of("network",     &["{port}", "{socket}"], CAME_THROUGH, FINE,         FINE),
    Attack::of("escape",      &[],                   CODE_1,        CODE_1,        CODE_1),
    Attack::of("exit",        &["1"],                CODE_1,        CODE_1,        CODE_1),
    Attack::of("exit",        &["126"],              CODE_126,      CODE_126,      CODE_126),
    Attack::of("exit",        &["137"],              CODE_137,      CODE_137,      CODE_137),
    Attack::of("exit",        &["255"],              CODE_255,      CODE_255,      CODE_255),
    // exit(3) of Linux hands eight bits on: the kernel never hears of 256.
    Attack::of("exit",        &["256"],              FINE,          FINE,          FINE),
    Attack::of("abort",       &[],                   ABORT,         ABORT,         ABORT),
    Attack::of("segv",        &[],                   SEGFAULT,      SEGFAULT,      SEGFAULT),
];

const LEFT_BEHIND: Ends = &[("ok", "left 1 process(es) behind, which were killed")];
const LOST_OR_LATE: Ends = &[
    ("timeout", "no end within"),
    ("failed", "launcher"),
    ("failed", "killed by"),
    ("failed", "SIGKILL"),
];
const CODE_1: Ends = &[("failed", "^exit code 1")];
const CODE_126: Ends = &[("failed", "^exit code 126")];
const CODE_137: Ends = &[("failed", "^exit code 137")];
const CODE_255: Ends = &[("failed", "^exit code 255")];
const CODE_256: Ends = &[("failed", "^exit code 256")];

/// Programs that take all processes they can get, for five seconds: run only
/// behind a limit of the test's own.
#[rustfmt::skip]
const BOMBS: &[Attack] = &[
    //         mode            arguments   process   container  bundle
    Attack::of("bomb",         &[],        BURST,    BURST,     BURST),
    Attack::of("bomb-returns", &[],        BURST,    BURST,     BURST),
];

const BURST: Ends = &[("ok", ""), ("timeout", ""), ("failed", "process")];

/// gVisor's own kernel counts no processes of its functions: a bomb ends when the
/// sandbox may have no more threads or memory of the host.
const BURST_IN_GVISOR: Ends = &[
    ("ok", ""),
    ("timeout", ""),
    ("failed", "out of memory"),
    // Whatever its runtime says of that: it runs out of threads in many places.
    ("failed", "the sandbox crashed, not the function"),
];

/// Whether [`BOMBS`] are run.
const BOMBS_ARE_RUN: bool = true;

/// Modules: what each must come to in cyclometer's own engine, in Wasmtime's
/// command line, in interpreters, and in engines of JavaScript.
#[rustfmt::skip]
const MODULES: &[Module] = &[
    //         name           engine         command line   interpreter    JavaScript
    Module::of("loop",        TIMEOUT,       TIMEOUT,       TIMEOUT,       TIMEOUT),
    Module::of("start-loop",  TIMEOUT,       TIMEOUT,       TIMEOUT,       TIMEOUT),
    Module::of("recursion",   TRAP,          TRAP,          TRAP,          TRAP),
    Module::of("unreachable", TRAP,          TRAP,          TRAP,          TRAP),
    Module::of("grow",        FINE,          FINE,          NO_MEMORY,     OUT_OF_MEMORY),
    Module::of("declared",    OUT_OF_MEMORY, REFUSED,       REFUSED,       DECLARED),
    Module::of("tables",      FINE,          NO_MEMORY,     NO_MEMORY,     NO_MEMORY),
    Module::of("stdout",      OUTPUT_LIMIT,  OUTPUT_LIMIT,  OUTPUT_LIMIT,  OUTPUT_LIMIT),
    Module::of("stderr",      OUTPUT_LIMIT,  OUTPUT_LIMIT,  OUTPUT_LIMIT,  OUTPUT_LIMIT),
    Module::of("iovecs",      HOST_CALL,     HOST_CALL,     HOST_CALL,     HOST_CALL),
    Module::of("random",      HOST_CALL,     HOST_CALL,     HOST_CALL,     HOST_CALL),
    Module::of("sleep",       TIMEOUT,       TIMEOUT,       NO_SLEEP,      TIMEOUT),
    Module::of("descriptors", FINE,          FINE,          FINE,          FINE),
    Module::of("files",       FINE,          FINE,          FINE,          FINE),
    Module::of("escape",      CODE_1,        CODE_1,        CODE_1,        CODE_1),
    Module::of("exit-1",      CODE_1,        CODE_1,        CODE_1,        CODE_1),
    Module::of("exit-126",    CODE_126,      LARGE_CODE,    LARGE_CODE,    CODE_126),
    Module::of("exit-137",    CODE_137,      LARGE_CODE,    LARGE_CODE,    CODE_137),
    Module::of("exit-255",    CODE_255,      LARGE_CODE,    LARGE_CODE,    CODE_255),
    Module::of("exit-256",    CODE_256,      LARGE_CODE,    LARGE_CODE,    LARGE_CODE),
];

/// A module that declares more memory than it may have.
const REFUSED: Ends = &[("failed", "memory")];
/// Engines of JavaScript reserve it and nothing is used.
const DECLARED: Ends = &[("ok", ""), ("failed", "memory")];
/// A host call is refused with an error, or ends the function, or takes its runtime
/// along: the calls of wasm3 do not look at bounds, and those of deno panic.
const HOST_CALL: Ends =
    &[("ok", ""), ("failed", "^trap"), ("failed", "^exit code"), ("failed", "killed by")];
/// wasm3 has no `poll_oneoff`.
const NO_SLEEP: Ends = &[("timeout", "no end within"), ("failed", "missing imported")];
/// The runtime has a word of its own for codes beyond its range, but it is no
/// success and no trap.
const LARGE_CODE: Ends = &[("failed", "^exit code"), ("failed", "^an exit code")];

#[test]
fn attacks_as_plain_processes() {
    lanes::run_programs(Family::Process, &["native"]);
}

#[test]
fn attacks_in_containers() {
    lanes::run_programs(Family::Container, &["docker"]);
}

#[test]
fn attacks_in_containers_with_a_kernel_of_their_own() {
    lanes::run_programs(Family::Container, &["docker:runsc"]);
}

#[test]
fn attacks_in_bundles() {
    lanes::run_programs(Family::Bundle, &["runc", "crun", "youki", "runsc"]);
}

#[test]
fn attacks_in_the_engine_of_the_recorder() {
    lanes::run_modules(Family::Engine, &["wasmtime"]);
}

#[test]
fn attacks_in_the_command_line_of_wasmtime() {
    lanes::run_modules(Family::CommandLine, &["wasmtime-cli"]);
}

#[test]
fn attacks_in_interpreters() {
    lanes::run_modules(Family::Interpreter, &["wasmi", "wasm3"]);
}

#[test]
fn attacks_in_engines_of_javascript() {
    lanes::run_modules(Family::JavaScript, &["node", "deno", "bun"]);
}

#[test]
fn bombs_go_off_within_their_fence() {
    if BOMBS_ARE_RUN {
        lanes::run_bombs();
    }
}
