//! Kinds of input from outside, each with a function that must survive any of it. The
//! tests and `fuzz/` include this module by its path: no product depends on it.

mod database;
mod kinds;

pub use kinds::{INPUT_KINDS, InputKind};
