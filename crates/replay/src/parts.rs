//! Replaying one source, or several at once on threads of their own.

use std::sync::Arc;
use std::thread::ScopedJoinHandle;

use thiserror::Error;

use super::{Contract, ReplaySummary, Replayer, UsageSource, WhatIf};
use cyclometer_system::threads::start_thread_within;

/// Reason why the parts of a replay gave no sum.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PartError<E> {
    /// A source failed.
    #[error("{0}")]
    Source(E),
    /// A thread could not be started, or was lost.
    #[error("{0}")]
    Thread(String),
}

/// Replays all rows of a source.
///
/// # Errors
/// Returns the error of the source.
pub fn replay_source<E>(
    source: &mut dyn UsageSource<Error = E>,
    contracts: &Arc<Vec<Contract>>,
    what_if: &WhatIf,
) -> Result<ReplaySummary, E> {
    let mut summary = replay_part(source, contracts, what_if)?;
    summary.unprice_failed_groups();
    Ok(summary)
}

/// Replays several sources at once, each on a thread of its own, and adds up
/// their sums.
///
/// # Errors
/// Returns the first error of a source, in their order, or that of a thread.
pub fn replay_sources<S>(
    sources: Vec<S>,
    contracts: &Arc<Vec<Contract>>,
    what_if: &WhatIf,
) -> Result<ReplaySummary, PartError<S::Error>>
where
    S: UsageSource + Send,
    S::Error: Send,
{
    let found: Vec<Result<ReplaySummary, PartError<S::Error>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = sources
            .into_iter()
            .map(|mut source| {
                let work = move || replay_part(&mut source, contracts, what_if);
                start_thread_within(scope, "replay", work)
            })
            .collect();
        threads.into_iter().map(join_part).collect()
    });
    let mut summary = ReplaySummary::for_contracts(contracts);
    for part in found {
        summary.merge(&part?);
    }
    summary.unprice_failed_groups();
    Ok(summary)
}

fn replay_part<E>(
    source: &mut dyn UsageSource<Error = E>,
    contracts: &Arc<Vec<Contract>>,
    what_if: &WhatIf,
) -> Result<ReplaySummary, E> {
    let mut replayer = Replayer::new(Arc::clone(contracts), what_if.clone());
    replayer.add_source(source)?;
    Ok(replayer.finish_part())
}

fn join_part<E>(
    thread: std::io::Result<ScopedJoinHandle<'_, Result<ReplaySummary, E>>>,
) -> Result<ReplaySummary, PartError<E>> {
    let ended = thread.map_err(|error| PartError::Thread(error.to_string()))?.join();
    match ended {
        Ok(part) => part.map_err(PartError::Source),
        Err(_) => Err(PartError::Thread("a thread of the replay was lost".to_owned())),
    }
}
