//! Vocabulary of cyclometer: units, meters and usage, start kinds, number parsing, and
//! escaping of text from outside.
//!
//! This crate opens no files and asks the system for nothing but the time.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod cell_key;
pub mod clock;
pub mod cpu_quota;
pub mod invocation;
pub mod meter;
pub mod quantity;
pub mod suggest;
pub mod toml_text;
pub mod units;
pub mod visible_text;
pub mod word_wrap;
