//! Cases that once came out wrong: a wrong figure, a lost answer, something left
//! behind. Each test is named after what it protects; the programs that it runs
//! are in `programs/`.

mod answers;
mod bills;
mod building;
mod cleaning;
#[path = "../common/mod.rs"]
mod common;
mod comparing;
mod containers;
mod control_groups;
mod counters;
mod database;
mod fuzzing;
mod hostile;
#[path = "../inputs/mod.rs"]
mod inputs;
mod numbers;
mod observatory;
mod wasm;
