//! cyclometer: what serverless code really uses, and what a bill charges for.
//!
//! The same function runs as WebAssembly, as a container and as a plain
//! process; every invocation is metered, kept in `SQLite` and replayed through
//! price models. The map of the house, from the ground up:
//!
//! - [`suggest`]: what was meant by a mistyped name.
//! - [`toml_text`]: where in a TOML file something is wrong.
//! - [`visible_text`]: text from outside, made harmless on every way out.
//! - [`output`]: standard output and standard error, the only ways out.
//! - [`files`]: reading and writing files of others, within bounds.
//! - [`stats`]: whether measurements differ, and how sure that is.
//! - [`units`]: nanoseconds and bytes, exact.
//! - [`paths`]: the folders of a user, and whether they may be relied on.
//! - [`workload`]: functions to run, with their inputs and expected outputs.
//! - [`meter`]: what can be measured here: perf counters, cgroups, procfs, and
//!   the [`meter::Usage`] vector that pricing sees.
//! - [`owner`]: the name of what may outlive its process, and whose it is.
//! - [`profile`]: runtimes that are a command line each, described in files.
//! - [`lane`]: the ways to run a workload: native, wasmtime, docker, and any
//!   runtime that has a profile.
//! - [`record`]: plan, recorder, sampler, and the event stream.
//! - [`store`]: the database.
//! - [`pricing`]: price models and exact bills; pure functions over usage.
//! - [`replay`]: usage x models -> bills and totals.
//! - [`report`]: tables, CSV and JSON.
//! - [`doctor`]: what can be measured here, and the fix for what cannot.
//! - [`clean`]: what was left on the machine, and its removal.
//! - [`tui`]: the observatory: what runs and what is stored, in a terminal.
//! - [`cli`]: one file a subcommand.
//!
//! A price model needs nothing but a usage:
//!
//! ```
//! use cyclometer::meter::{Meter, Usage};
//! use cyclometer::units::Nanos;
//!
//! let mut usage = Usage::new(false);
//! usage.phases.run = Some(Nanos(27_550_000)); // 27.55 ms: billed as 28 ms
//! usage.set(Meter::MemoryAllocated, 1 << 30);
//! let bill = cyclometer::pricing::find("aws-lambda-x86")?.bill(&usage)?;
//! // 1 GiB x 0.028 s x $0.0000166667, and $0.0000002 for the request.
//! assert_eq!(bill.total.to_plain_string(), "0.0000006666676");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Dependencies point one way: `cli`, `tui`, `report` -> `record`, `replay`, `store`
//! -> `lane`, `meter`, `pricing`, `workload`.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod cli;
#[doc(hidden)]
pub mod testing;

pub use cyclometer_core::{quantity, suggest, toml_text, units, visible_text};
pub use cyclometer_doctor as doctor;
pub use cyclometer_lanes as lane;
pub use cyclometer_lanes::{clean, descriptors, profile};
pub use cyclometer_meter as meter;
pub use cyclometer_paper as paper;
pub use cyclometer_pricing as pricing;
pub use cyclometer_record as record;
pub use cyclometer_replay as replay;
pub use cyclometer_report as report;
pub use cyclometer_stats as stats;
pub use cyclometer_store as store;
pub use cyclometer_system::{files, output, owner, paths, procfs, sys, threads};
pub use cyclometer_tui as tui;
pub use cyclometer_tui::frozen;
pub use cyclometer_workload as workload;
