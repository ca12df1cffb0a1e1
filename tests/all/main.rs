//! The tests of the whole program, in one binary: linking takes longer than
//! compiling. Each module is named after the command, or the promise, that it
//! holds to; the programs that they run are in `programs/`. What looks at the
//! whole machine asks for it: [`common::turns`].

mod answers;
mod bills;
mod building;
mod cleaning;
mod common;
mod comparing;
mod containers;
mod control_groups;
mod counters;
mod database;
mod docker;
mod explain;
mod faults;
mod fuzzing;
mod history;
mod hostile;
mod importing;
#[path = "../inputs/mod.rs"]
mod inputs;
mod interruption;
mod manual;
mod numbers;
mod observatory;
mod old_database;
mod own_function;
mod own_wasm;
mod paper;
mod pricing;
mod query;
mod reconcile;
mod record;
mod replay;
mod runtimes;
mod sweep;
mod tax;
mod truth;
mod tui;
mod wasm;
