//! What the bills are of: recording, models, memory, and which invocations.

use crate::model::Model;
use cyclometer_core::units::Bytes;
use cyclometer_lanes::StartKind;
use cyclometer_replay::Key;

const MIB: u64 = 1 << 20;

/// Memory that functions are given instead of what they had; those sizes that
/// providers name.
pub const SIZES: [Option<Bytes>; 11] = [
    None,
    Some(Bytes(128 * MIB)),
    Some(Bytes(256 * MIB)),
    Some(Bytes(512 * MIB)),
    Some(Bytes(1_024 * MIB)),
    Some(Bytes(1_769 * MIB)),
    Some(Bytes(2_048 * MIB)),
    Some(Bytes(3_008 * MIB)),
    Some(Bytes(4_096 * MIB)),
    Some(Bytes(8_192 * MIB)),
    Some(Bytes(10_240 * MIB)),
];

/// Requests of a month.
pub const VOLUMES: [Option<u64>; 9] = [
    None,
    Some(1_000),
    Some(10_000),
    Some(100_000),
    Some(1_000_000),
    Some(3_000_000),
    Some(10_000_000),
    Some(100_000_000),
    Some(1_000_000_000),
];

/// What must be read and billed anew when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The recording.
    pub recording: i64,
    /// Invocations that it had then, if it is the one that runs.
    pub done: u64,
    /// All current models; otherwise only those chosen.
    pub all: bool,
    /// Ids of the models of the live view.
    pub chosen: Vec<String>,
    /// Memory that functions are given instead of what they had.
    pub memory: Option<Bytes>,
}

/// What the sums are of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// The workload; `None`: all.
    pub workload: Option<String>,
    /// The start; `None`: both.
    pub start: Option<StartKind>,
    /// Requests of a month; `None`: the mean of a million.
    pub month: Option<u64>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is billed.
    pub source: Source,
    /// What is summed.
    pub view: View,
}

impl Source {
    /// Whether only the number of invocations differs.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.recording == other.recording
            && self.all == other.all
            && self.chosen == other.chosen
            && self.memory == other.memory
    }
}

impl View {
    /// Whether a cell of these names is in it.
    #[must_use]
    pub fn has(&self, workload: &str, start: &str) -> bool {
        self.workload.as_deref().is_none_or(|it| it == workload)
            && self.start.is_none_or(|it| it.label() == start)
    }

    /// Whether a group is in it.
    #[must_use]
    pub fn has_key(&self, key: &Key) -> bool {
        self.has(&key.workload, &key.start)
    }

    /// Invocations that amounts are for.
    #[must_use]
    pub fn unit(&self) -> u64 {
        self.month.unwrap_or(1_000_000)
    }

    /// The workloads in words.
    #[must_use]
    pub fn workload_name(&self) -> &str {
        self.workload.as_deref().unwrap_or("all workloads")
    }

    /// The starts in words.
    #[must_use]
    pub fn start_name(&self) -> &'static str {
        self.start.map_or("cold and warm", StartKind::label)
    }
}

impl Request {
    /// Whether only the number of invocations differs.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.view == other.view && self.source.is_like(&other.source)
    }
}

/// What is to be shown now; `None`: there is no recording.
#[must_use]
pub fn wanted(model: &Model) -> Option<Request> {
    let recording = model.recording()?;
    let state = &model.bills;
    let live = model.snapshot.recording == Some(recording);
    let source = Source {
        recording,
        done: if live { model.snapshot.done } else { 0 },
        all: !state.live_only,
        chosen: model.live.models.clone(),
        memory: SIZES[state.memory.min(SIZES.len() - 1)],
    };
    let view = View {
        workload: state.workload.clone(),
        start: state.start,
        month: VOLUMES[state.volume.min(VOLUMES.len() - 1)],
    };
    Some(Request { source, view })
}
