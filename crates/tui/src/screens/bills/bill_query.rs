//! Query of the bills screen: recording, models, assumed memory, and which invocations
//! are summed.

use crate::model::Model;
use cyclometer_core::units::Bytes;
use cyclometer_lanes::StartKind;
use cyclometer_replay::CellKey;

const MIB: u64 = 1 << 20;

/// Choices of memory assumed instead of the allocated memory: sizes that providers
/// offer. `None`: as measured.
pub(crate) const MEMORY_SIZES: [Option<Bytes>; 11] = [
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

/// Choices of requests a month. `None`: the mean of a million invocations.
pub(crate) const MONTHLY_REQUESTS: [Option<u64>; 9] = [
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

/// Part of the query that requires a new replay when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BillsSource {
    /// Number of the recording.
    pub recording: i64,
    /// Invocations that had finished at the time of the query, if the recording is
    /// still running; otherwise 0.
    pub done: u64,
    /// Whether all current models are billed, besides those of the live view.
    pub all_current: bool,
    /// Ids of the models of the live view.
    pub live_models: Vec<String>,
    /// Memory assumed instead of the allocated memory.
    pub memory: Option<Bytes>,
}

/// Part of the query that selects which sums are shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct BillsView {
    /// Workload; `None`: all.
    pub workload: Option<String>,
    /// Start kind; `None`: both.
    pub start: Option<StartKind>,
    /// Requests a month; `None`: the mean of a million.
    pub month: Option<u64>,
}

/// Query of the bills screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BillsQuery {
    /// Source to be billed.
    pub source: BillsSource,
    /// View to be summed.
    pub view: BillsView,
}

impl BillsSource {
    /// Whether the two differ at most in the number of invocations.
    #[must_use]
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.recording == other.recording
            && self.all_current == other.all_current
            && self.live_models == other.live_models
            && self.memory == other.memory
    }
}

impl BillsView {
    /// Whether the view includes a cell with this workload and start.
    #[must_use]
    pub fn includes(&self, workload: &str, start: StartKind) -> bool {
        self.workload.as_deref().is_none_or(|it| it == workload)
            && self.start.is_none_or(|it| it == start)
    }

    /// Whether the view includes a group.
    #[must_use]
    pub(crate) fn includes_key(&self, key: &CellKey) -> bool {
        self.includes(&key.workload, key.start)
    }

    /// Returns the number of invocations that amounts are for.
    #[must_use]
    pub(crate) fn unit_invocations(&self) -> u64 {
        self.month.unwrap_or(1_000_000)
    }

    /// Names the workloads of the view.
    #[must_use]
    pub(crate) fn workload_name(&self) -> &str {
        self.workload.as_deref().unwrap_or("all workloads")
    }

    /// Names the start kinds of the view.
    #[must_use]
    pub(crate) fn start_name(&self) -> &'static str {
        self.start.map_or("cold and warm", StartKind::label)
    }
}

impl BillsQuery {
    /// Whether the two differ at most in the number of invocations.
    #[must_use]
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.view == other.view && self.source.is_like(&other.source)
    }
}

/// Returns the query for the current state; `None` without a recording.
#[must_use]
pub(crate) fn current_query(model: &Model) -> Option<BillsQuery> {
    let recording = model.shown_recording()?;
    let state = &model.screens.bills;
    let live = model.snapshot.recording == Some(recording);
    let source = BillsSource {
        recording,
        done: if live { model.snapshot.done } else { 0 },
        all_current: !state.live_only,
        live_models: model.screens.live.models.clone(),
        memory: MEMORY_SIZES[state.memory.min(MEMORY_SIZES.len() - 1)],
    };
    let view = BillsView {
        workload: state.workload.clone(),
        start: state.start,
        month: MONTHLY_REQUESTS[state.volume.min(MONTHLY_REQUESTS.len() - 1)],
    };
    Some(BillsQuery { source, view })
}
