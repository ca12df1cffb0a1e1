//! The recording behind the live screen: opened, run and stored on threads of
//! its own. The screen only wishes.

use crate::lane::LaneSpec;
use crate::record::Starts;
use crate::units::{Bytes, Nanos};

/// What is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Names of workloads.
    pub workloads: Vec<String>,
    /// Lanes.
    pub lanes: Vec<LaneSpec>,
    /// The preset of arguments and input.
    pub preset: String,
    /// Which starts.
    pub starts: Starts,
    /// Recorded runs of each cell.
    pub runs: u32,
    /// Runs before those.
    pub warmup: u32,
    /// Whether it goes on until stopped.
    pub until_stopped: bool,
    /// Whether lanes run at the same time.
    pub race: bool,
    /// Memory that functions are given, if not their own.
    pub memory: Option<Bytes>,
    /// Longest time of one invocation, if not their own.
    pub timeout: Option<Nanos>,
    /// Time between samples.
    pub sample_interval: Option<Nanos>,
    /// Words to find the recording by.
    pub label: Option<String>,
}

impl Wanted {
    /// How long it goes on, in words.
    #[must_use]
    pub fn length(&self) -> String {
        if self.until_stopped { "until stopped".to_owned() } else { format!("{} runs", self.runs) }
    }

    /// In which order lanes run, in words.
    #[must_use]
    pub const fn order(&self) -> &'static str {
        if self.race { "race" } else { "one lane at a time" }
    }
}

/// What a person wants of the session.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Begin.
    Start(Box<Wanted>),
    /// End after the invocation in flight; the second time: at once.
    Stop,
    /// Bill by these models.
    Models(Vec<String>),
}
