//! System services: bounded file access, trusted folders, catalogs of what comes from files, names that carry their owner,
//! processes and threads, and output of visible text.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod catalog;
pub mod files;
pub mod helper;
pub mod output;
pub mod owner;
pub mod panics;
pub mod paths;
pub mod procfs;
pub mod shared_memory;
pub mod sys;
pub mod threads;
