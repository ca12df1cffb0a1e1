//! Kinds of input from outside, each with a function that must survive any of it.

mod database;
mod inputs;

pub use database::{database_image_survives, database_survives};
pub use inputs::{INPUT_KINDS, InputKind};
