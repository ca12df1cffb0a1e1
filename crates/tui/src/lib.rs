//! Observatory: a terminal interface that shows what runs, what it used, and
//! what it would cost.
//!
//! The `model` holds all that is shown; `update` alone changes it and drawing
//! reads it. Keys become actions by the one table in `keymap`. Nothing is
//! measured, read from the database or written on the thread that draws: the
//! recorder has its own threads (`session`), its events are gathered into
//! immutable snapshots (`cyclometer_record::live`), and queries go to worker threads
//! (`query_worker`).

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod action;
mod app;
#[doc(hidden)]
pub mod bench;
mod choice;
mod config;
mod export;
mod field;
mod frame;
pub mod frozen_terminals;
mod keymap;
mod model;
mod overlay;
mod query_worker;
mod screen_capture;
mod screens;
mod session;
mod terminal;
mod testing;
mod theme;
mod update;
mod widgets;

pub use app::{Ending, TuiError, TuiOptions, run};
pub use config::{ConfigError, DEFAULT_SAMPLE_INTERVAL, TerminalEnvironment, TuiConfig};
pub use session::RecordingOptions;
