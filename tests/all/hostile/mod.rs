//! Functions, folders, databases and engines as attackers would write them. Each
//! test is named after what holds.

mod caches;
mod commands;
mod containers;
mod fences;
mod files;
mod kills;
mod matrix;
mod queries;
mod recording;
mod terminal;
mod wasm;
