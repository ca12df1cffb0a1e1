//! Queries of the timeline screen, answered on the query worker.

use std::sync::Arc;

use super::bill_panel::BillsAtMoment;
use super::invocation_overlay::InvocationOverlay;
use super::lane_overlay::{ComparedLanes, LaneOverlay};
use crate::query_worker::{QueryContext, QueryRequest};
use cyclometer_core::units::Nanos;
use cyclometer_pricing::{PriceCatalog, Terms};
use cyclometer_replay::{CarriedBills, Contract};
use cyclometer_store::PlayedPart;
use cyclometer_store::{PartBills, PlaybackInvocation, RecordingPart, StoreError};

/// Reason why a trace is not played, after its number.
const IS_TRACE: &str = "is a trace: a log has no samples over time, so that there is no timeline; \
    its functions are on the bills screen";

/// Bills of a part that could not be computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedBills {
    /// Part that they belong to.
    pub key: RecordingPart,
    /// Ids of the models.
    pub models: Vec<String>,
    /// Reason.
    pub reason: String,
}

/// Request of the timeline screen to the query worker.
#[derive(Debug, Clone)]
pub enum TimelineRequest {
    /// Reads a part of a recording.
    LoadPart {
        /// Number of the recording.
        recording: i64,
        /// Index of the part, from 0.
        part: usize,
        /// End and id of the invocation before the part.
        after: (i64, i64),
        /// Most invocations of a part.
        limit: usize,
        /// Number of invocations before the part.
        before: usize,
    },
    /// Computes the bills of a part at its checkpoints.
    Checkpoints {
        /// Part to bill.
        played: Arc<PlayedPart>,
        /// Ids of the models.
        models: Vec<String>,
        /// Beginnings of this part and of those before it.
        afters: Vec<(i64, i64)>,
        /// Bills known from earlier parts.
        carries: Vec<Arc<CarriedBills>>,
    },
    /// Computes the bills of a moment.
    Bills {
        /// Checkpoints to start from.
        ledger: Arc<PartBills>,
        /// Part of the recording.
        played: Arc<PlayedPart>,
        /// Number of invocations of the part that had ended.
        ended: usize,
        /// Moment of the bills.
        at: Nanos,
    },
    /// Reads one invocation with its samples.
    Detail {
        /// Id of the invocation.
        id: i64,
    },
    /// Compares two invocations.
    CompareInvocations {
        /// Ids of the invocations.
        of: (i64, i64),
        /// Part of the recording that is open.
        played: Option<Arc<PlayedPart>>,
    },
    /// Compares two lanes.
    CompareLanes {
        /// Lanes and workload to compare.
        what: ComparedLanes,
        /// Part of the recording.
        played: Arc<PlayedPart>,
    },
}

impl QueryRequest for TimelineRequest {}

/// Response of the query worker to the timeline screen.
#[derive(Debug)]
pub enum TimelineResponse {
    /// Part of a recording.
    Loaded {
        /// Number of the recording.
        recording: i64,
        /// Index of the requested part.
        part: usize,
        /// Part, or the reason why it cannot be read.
        result: Result<Arc<PlayedPart>, String>,
    },
    /// Bills of a part.
    Checkpoints {
        /// Checkpoints of the part, with the bills of all parts up to it; or the reason
        /// why there are none.
        result: Result<(Arc<PartBills>, Vec<Arc<CarriedBills>>), FailedBills>,
    },
    /// Bills of a moment, which they name.
    Bills {
        /// Part that they belong to.
        key: RecordingPart,
        /// Bills at that moment.
        bills: Arc<BillsAtMoment>,
    },
    /// One invocation with its samples.
    Detail {
        /// Id of the invocation.
        id: i64,
        /// Invocation, or the reason why it cannot be read.
        result: Result<Arc<PlaybackInvocation>, String>,
    },
    /// Comparison of two invocations.
    InvocationsCompared {
        /// Ids of the invocations.
        of: (i64, i64),
        /// Comparison, or the reason why there is none.
        result: Result<Arc<InvocationOverlay>, String>,
    },
    /// Comparison of two lanes.
    LanesCompared {
        /// Lanes and workload that were compared.
        what: ComparedLanes,
        /// Comparison, or the reason why there is none.
        result: Result<Arc<LaneOverlay>, String>,
    },
}

/// Answers a request on the query worker's thread.
pub fn answer(context: &mut QueryContext, ask: TimelineRequest) -> TimelineResponse {
    match ask {
        TimelineRequest::LoadPart { recording, part, after, limit, before } => {
            let result = context.read_store().and_then(|store| {
                if store.is_trace(recording)? {
                    return Err(StoreError::NotFound(format!("recording {recording} {IS_TRACE}")));
                }
                PlayedPart::from_store_in_order(store, recording, part, after, limit, before)
            });
            TimelineResponse::Loaded {
                recording,
                part,
                result: reopen_on_error(context, result).map(Arc::new),
            }
        }
        TimelineRequest::Checkpoints { played, models, afters, carries } => {
            let result = build_checkpoints(context, &played, &models, &afters, carries);
            let result = reopen_on_error(context, result)
                .map(|(ledger, carries)| (Arc::new(ledger), carries))
                .map_err(|reason| FailedBills { key: played.key, models, reason });
            TimelineResponse::Checkpoints { result }
        }
        TimelineRequest::Bills { ledger, played, ended, at } => {
            let bills = BillsAtMoment::from_summary(&ledger.bills_after(ended), &played, ended, at);
            TimelineResponse::Bills { key: ledger.key, bills: Arc::new(bills) }
        }
        TimelineRequest::Detail { id } => {
            let result = context.read_store().and_then(|store| store.playback_invocation(id));
            TimelineResponse::Detail { id, result: reopen_on_error(context, result).map(Arc::new) }
        }
        TimelineRequest::CompareInvocations { of, played } => {
            let result = compare_invocations(context, of, played.as_deref());
            TimelineResponse::InvocationsCompared {
                of,
                result: reopen_on_error(context, result).map(Arc::new),
            }
        }
        TimelineRequest::CompareLanes { what, played } => {
            let result = context
                .read_store()
                .and_then(|store| LaneOverlay::from_store(store, &played, &what));
            TimelineResponse::LanesCompared {
                result: reopen_on_error(context, result).map(Arc::new),
                what,
            }
        }
    }
}

/// Formats an error; the next request opens the database again.
fn reopen_on_error<T>(
    context: &mut QueryContext,
    result: Result<T, StoreError>,
) -> Result<T, String> {
    result.map_err(|error| {
        context.forget_connection();
        error.to_string()
    })
}

fn build_checkpoints(
    context: &mut QueryContext,
    played: &PlayedPart,
    models: &[String],
    afters: &[(i64, i64)],
    carries: Vec<Arc<CarriedBills>>,
) -> Result<(PartBills, Vec<Arc<CarriedBills>>), StoreError> {
    let contracts = contracts_for_models(&context.settings.prices, models);
    let cancel = context.cancel.clone();
    let store = context.read_store()?;
    PartBills::with_earlier_parts(store, played, models, &contracts, afters, carries, &cancel)
}

/// Returns the models with these ids under their default terms; unknown ids are
/// skipped.
pub(crate) fn contracts_for_models(prices: &PriceCatalog, models: &[String]) -> Arc<Vec<Contract>> {
    let found = models.iter().filter_map(|id| prices.find_model(id).ok());
    Arc::new(found.map(|model| (model.clone(), Terms::for_model(model))).collect())
}

fn compare_invocations(
    context: &mut QueryContext,
    of: (i64, i64),
    played: Option<&PlayedPart>,
) -> Result<InvocationOverlay, StoreError> {
    let store = context.read_store()?;
    let (a, b) = (store.playback_invocation(of.0)?, store.playback_invocation(of.1)?);
    let played = played.ok_or_else(|| StoreError::NotFound("no recording is open".to_owned()))?;
    Ok(InvocationOverlay::new(a, b, played))
}
