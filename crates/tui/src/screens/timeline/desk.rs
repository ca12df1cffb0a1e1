//! What the desk is asked, and how it finds answers.

use std::sync::Arc;

use super::bills::BillsAt;
use super::ledger::{Carry, Ledger, contracts};
use super::pair::Pair;
use super::recording::Played;
use super::spread::{Spread, What};
use crate::desk::{Desk, Question};
use cyclometer_core::units::Nanos;
use cyclometer_store::{PlayedInvocation, RecordingPart, StoreError};

/// What the desk is asked.
#[derive(Debug, Clone)]
pub enum Ask {
    /// A part of a recording.
    Load {
        /// The recording.
        recording: i64,
        /// Which part, from 0.
        part: usize,
        /// End and number of the invocation before it.
        after: (i64, i64),
        /// Most invocations of a part.
        limit: usize,
        /// How many there were before it.
        before: usize,
    },
    /// What a part costs.
    Ledger {
        /// The part.
        played: Arc<Played>,
        /// Ids of the models.
        models: Vec<String>,
        /// Where this and the parts before begin.
        afters: Vec<(i64, i64)>,
        /// What is known of the parts before.
        carries: Vec<Arc<Carry>>,
    },
    /// Bills of a moment.
    Bills {
        /// What they are made of.
        ledger: Arc<Ledger>,
        /// The part.
        played: Arc<Played>,
        /// How many invocations of the part had ended.
        ended: usize,
        /// The moment.
        at: Nanos,
    },
    /// One invocation with its samples.
    Detail {
        /// Its number.
        id: i64,
    },
    /// Two of them.
    Pair {
        /// Their numbers.
        of: (i64, i64),
        /// The recording they are of.
        played: Option<Arc<Played>>,
    },
    /// Two lanes.
    Lanes {
        /// Which.
        what: What,
        /// The part.
        played: Arc<Played>,
    },
}

impl Question for Ask {}

/// What the desk answers.
#[derive(Debug)]
pub enum Answer {
    /// A part.
    Loaded {
        /// The recording.
        recording: i64,
        /// Which part was asked for.
        part: usize,
        /// The part, or why it cannot be read.
        result: Result<Arc<Played>, String>,
    },
    /// Its bills, and what this and the parts before came to.
    Ledger {
        /// Or why there are none.
        result: Result<(Arc<Ledger>, Vec<Arc<Carry>>), String>,
    },
    /// Bills of a moment, which they name.
    Bills {
        /// The part.
        key: RecordingPart,
        /// The bills.
        bills: Arc<BillsAt>,
    },
    /// One invocation.
    Detail {
        /// Its number.
        id: i64,
        /// What is known of it.
        result: Result<Arc<PlayedInvocation>, String>,
    },
    /// Two of them.
    Pair {
        /// Their numbers.
        of: (i64, i64),
        /// What is known of them.
        result: Result<Arc<Pair>, String>,
    },
    /// Two lanes.
    Lanes {
        /// Which.
        what: What,
        /// What is known of them.
        result: Result<Arc<Spread>, String>,
    },
}

/// Works an answer out, on the desk's thread.
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

/// Errors as sentences; the next question opens the database anew.
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
    // Lanes that race hand in their invocations nearly in the order of their
    // ends: one that came late may belong before a part that is known.
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
    // A carry for the beginning of each part.
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
