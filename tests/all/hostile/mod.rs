//! Functions, folders, databases and engines as attackers would write them. Each
//! test is named after what holds.

mod caches;
mod commands;
mod containers;
mod databases;
mod fences;
mod files;
mod kills;
mod matrix;
mod queries;
mod recording;
mod scarcity;
mod terminal;
mod wasm;
