//! Queries of the timeline screen, answered on the query worker.

use std::sync::Arc;

use super::bills::BillsAt;
use super::ledger::{Carry, Ledger, contracts};
use super::pair::Pair;
use super::recording::Played;
use super::spread::{Spread, What};
use crate::desk::{Desk, Question};
use cyclometer_core::units::Nanos;
use cyclometer_store::{PlayedInvocation, RecordingPart, StoreError};

/// Request of the timeline screen to the query worker.
#[derive(Debug, Clone)]
pub enum Ask {
    /// Reads a part of a recording.
    Load {
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
    Ledger {
        /// Part to bill.
        played: Arc<Played>,
        /// Ids of the models.
        models: Vec<String>,
        /// Beginnings of this part and of those before it.
        afters: Vec<(i64, i64)>,
        /// Bills known from earlier parts.
        carries: Vec<Arc<Carry>>,
    },
    /// Computes the bills of a moment.
    Bills {
        /// Checkpoints to start from.
        ledger: Arc<Ledger>,
        /// Part of the recording.
        played: Arc<Played>,
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
    Pair {
        /// Ids of the invocations.
        of: (i64, i64),
        /// Part of the recording that is open.
        played: Option<Arc<Played>>,
    },
    /// Compares two lanes.
    Lanes {
        /// Lanes and workload to compare.
        what: What,
        /// Part of the recording.
        played: Arc<Played>,
    },
}

impl Question for Ask {}

/// Response of the query worker to the timeline screen.
#[derive(Debug)]
pub enum Answer {
    /// Part of a recording.
    Loaded {
        /// Number of the recording.
        recording: i64,
        /// Index of the requested part.
        part: usize,
        /// Part, or the reason why it cannot be read.
        result: Result<Arc<Played>, String>,
    },
    /// Bills of a part.
    Ledger {
        /// Checkpoints of the part, with the bills of all parts up to it; or the reason
        /// why there are none.
        result: Result<(Arc<Ledger>, Vec<Arc<Carry>>), String>,
    },
    /// Bills of a moment, which they name.
    Bills {
        /// Part that they belong to.
        key: RecordingPart,
        /// Bills at that moment.
        bills: Arc<BillsAt>,
    },
    /// One invocation with its samples.
    Detail {
        /// Id of the invocation.
        id: i64,
        /// Invocation, or the reason why it cannot be read.
        result: Result<Arc<PlayedInvocation>, String>,
    },
    /// Comparison of two invocations.
    Pair {
        /// Ids of the invocations.
        of: (i64, i64),
        /// Comparison, or the reason why there is none.
        result: Result<Arc<Pair>, String>,
    },
    /// Comparison of two lanes.
    Lanes {
        /// Lanes and workload that were compared.
        what: What,
        /// Comparison, or the reason why there is none.
        result: Result<Arc<Spread>, String>,
    },
}

/// Answers a request on the query worker's thread.
pub fn answer(desk: &mut Desk, ask: Ask) -> Answer {
    match ask {
        Ask::Load { recording, part, after, limit, before } => {
            let result = load(desk, recording, part, after, limit, before);
            Answer::Loaded { recording, part, result: told(desk, result).map(Arc::new) }
        }
        Ask::Ledger { played, models, afters, carries } => {
            let result = ledger(desk, &played, &models, &afters, carries);
            let result = told(desk, result).map(|(ledger, carries)| (Arc::new(ledger), carries));
            Answer::Ledger { result }
        }
        Ask::Bills { ledger, played, ended, at } => {
            let bills = BillsAt::of(&ledger.at(ended), &played, ended, at);
            Answer::Bills { key: ledger.key, bills: Arc::new(bills) }
        }
        Ask::Detail { id } => {
            let result = desk.store().and_then(|store| store.played_invocation(id));
            Answer::Detail { id, result: told(desk, result).map(Arc::new) }
        }
        Ask::Pair { of, played } => {
            let result = pair(desk, of, played.as_deref());
            Answer::Pair { of, result: told(desk, result).map(Arc::new) }
        }
        Ask::Lanes { what, played } => {
            let result = desk.store().and_then(|store| Spread::read(store, &played, &what));
            Answer::Lanes { result: told(desk, result).map(Arc::new), what }
        }
    }
}

/// Formats an error; the next request opens the database again.
fn told<T>(desk: &mut Desk, result: Result<T, StoreError>) -> Result<T, String> {
    result.map_err(|error| {
        desk.reopen();
        error.to_string()
    })
}

fn load(
    desk: &mut Desk,
    recording: i64,
    part: usize,
    after: (i64, i64),
    limit: usize,
    before: usize,
) -> Result<Played, StoreError> {
    let store = desk.store()?;
    let played = Played::read(store, recording, part, after, limit)?;
    // Lanes that race write their invocations nearly, but not exactly, in the order of
    // their ends: a late one may belong to an earlier part, which is then read again.
    if part > 0 && store.played_before(&played.key)? != before as u64 {
        return Played::read(store, recording, 0, (-1, 0), limit);
    }
    Ok(played)
}

fn ledger(
    desk: &mut Desk,
    played: &Played,
    models: &[String],
    afters: &[(i64, i64)],
    mut carries: Vec<Arc<Carry>>,
) -> Result<(Ledger, Vec<Arc<Carry>>), StoreError> {
    let contracts = contracts(&desk.settings.prices, models);
    let cancel = desk.cancel.clone();
    let store = desk.store()?;
    // Each part starts from the bills carried over from the one before.
    carries.truncate(played.part + 1);
    if carries.is_empty() {
        carries.push(Arc::default());
    }
    while carries.len() <= played.part {
        let part = carries.len() - 1;
        let after = afters.get(part).copied().unwrap_or((-1, 0));
        let key = RecordingPart { after, ..played.key };
        let carry = &carries[part];
        let before = Ledger::read(store, played, key, models, &contracts, carry, &cancel)?;
        carries.push(Arc::new(before.carry()));
    }
    let carry = &carries[played.part];
    let ledger = Ledger::read(store, played, played.key, models, &contracts, carry, &cancel)?;
    carries.push(Arc::new(ledger.carry()));
    Ok((ledger, carries))
}

fn pair(desk: &mut Desk, of: (i64, i64), played: Option<&Played>) -> Result<Pair, StoreError> {
    let store = desk.store()?;
    let (a, b) = (store.played_invocation(of.0)?, store.played_invocation(of.1)?);
    let played = played.ok_or_else(|| StoreError::NotFound("no recording is open".to_owned()))?;
    Ok(Pair::new(a, b, played))
}
