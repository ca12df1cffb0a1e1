//! Services of the system, as cyclometer trusts them: files within bounds, folders that can be
//! relied on, names with an owner, processes, and the only ways out for text.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod files;
pub mod helper;
pub mod output;
pub mod owner;
pub mod paths;
pub mod procfs;
pub mod sys;
pub mod threads;
