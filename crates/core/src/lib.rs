//! The words that all parts of cyclometer share: units, meters and usage, kinds of
//! starts, and text from outside made visible.
//!
//! Nothing here opens a file or asks the system for more than the time.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod invocation;
pub mod meter;
pub mod quantity;
pub mod suggest;
pub mod toml_text;
pub mod units;
pub mod visible_text;
