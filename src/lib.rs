//! cyclometer: measures the resources that serverless code really uses, and shows
//! what a bill charges for.
//!
//! A function runs as WebAssembly, as a container and as a plain process; every
//! invocation is metered, stored in `SQLite` and replayed through price models.
//!
//! The work is done by the crates `cyclometer-*`; `docs/architecture.md` is their map.
//! This one holds the command line ([`cli`]) and re-exports the others for tests,
//! benchmarks and fuzzing.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod cli;

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
pub use cyclometer_trace as trace;
pub use cyclometer_tui as tui;
pub use cyclometer_tui::frozen_terminals;
pub use cyclometer_workload as workload;
