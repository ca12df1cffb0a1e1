//! cyclometer: what serverless code really uses, and what a bill charges for.
//!
//! The same function runs as WebAssembly, as a container and as a plain
//! process; every invocation is metered, kept in `SQLite` and replayed through
//! price models. The map of the house, from the ground up:
//!
//! - [`units`]: nanoseconds and bytes, exact.
//! - [`workload`]: functions to run, with their inputs and expected outputs.
//! - [`meter`]: what can be measured here: perf counters, cgroups, procfs, and
//!   the [`meter::Usage`] vector that pricing sees.
//! - [`lane`]: the ways to run a workload: native, wasmtime, docker.
//! - [`record`]: plan, recorder, sampler, and the event stream.
//! - [`store`]: the database.
//! - [`pricing`]: price models and exact bills; pure functions over usage.
//! - [`replay`]: usage x models -> bills and totals.
//! - [`report`]: tables, CSV and JSON.
//! - [`cli`]: one file a subcommand.
//!
//! Dependencies point one way: `cli`, `report` -> `record`, `replay`, `store`
//! -> `lane`, `meter`, `pricing`, `workload`.

pub mod cli;
pub mod lane;
pub mod meter;
pub mod pricing;
pub mod record;
pub mod replay;
pub mod report;
pub mod store;
pub mod sys;
#[doc(hidden)]
pub mod testing;
pub mod units;
pub mod workload;
