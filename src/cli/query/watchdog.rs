//! Time limit of a query as a whole: `SQLite` checks the clock only between two of its
//! steps, and one step may take hours; so may a table, and an output that nobody reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::super::{CommandFailure, say, signals};
use crate::lane::Cancel;
use crate::store::QueryStop;
use crate::threads::start_thread;

/// Time that a query has to end by itself after it was cancelled.
const GRACE: Duration = Duration::from_secs(1);
/// Time that a query has to end by itself after its timeout: `SQLite` ends it within
/// that, or is in a step of unknown length.
const MOMENT: Duration = Duration::from_millis(100);
/// Interval between two checks of the clock.
const LOOK: Duration = Duration::from_millis(Cancel::POLL_MS as u64);

/// Ends the program if its query does not end in time, until it is dropped.
pub(super) struct Watchdog {
    /// Folder that is removed before the program ends.
    leftover: Arc<Mutex<Option<PathBuf>>>,
    /// Dropped with the watchdog: the query has ended.
    _ended: SyncSender<()>,
}

impl Watchdog {
    /// Starts a watchdog that ends the program shortly after `cancel` is cancelled or
    /// `timeout` has passed.
    pub(super) fn start(cancel: Cancel, timeout: Option<Duration>) -> Result<Self, CommandFailure> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let leftover: Arc<Mutex<Option<PathBuf>>> = Arc::default();
        let removed = Arc::clone(&leftover);
        let (ended, waits) = sync_channel(0);
        let watch = move || {
            let mut cancelled = None;
            loop {
                let now = Instant::now();
                if cancelled.is_none() && cancel.is_cancelled() {
                    cancelled = Some(now);
                }
                let ends = hard_end(deadline, cancelled);
                match ends {
                    Some((time, stop)) if now >= time => end_program(stop, &removed),
                    _ => {}
                }
                let left = ends.map_or(LOOK, |(time, _)| time.saturating_duration_since(now));
                if waits.recv_timeout(left.min(LOOK)) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        start_thread("watchdog", watch).map_err(CommandFailure::failed)?;
        Ok(Self { leftover, _ended: ended })
    }

    /// Sets the folder that is removed before the program ends.
    pub(super) fn set_leftover(&self, folder: Option<&Path>) {
        *self.leftover.lock() = folder.map(Path::to_owned);
    }
}

/// Returns when and why the program is ended, if the query does not end before.
fn hard_end(deadline: Option<Instant>, cancelled: Option<Instant>) -> Option<(Instant, QueryStop)> {
    let late = deadline.and_then(|it| Some((it.checked_add(MOMENT)?, QueryStop::Timeout)));
    let stopped = cancelled.and_then(|it| Some((it.checked_add(GRACE)?, QueryStop::Cancelled)));
    [late, stopped].into_iter().flatten().min_by_key(|(time, _)| *time)
}

/// Ends the program. The query only reads, so nothing is lost.
fn end_program(stop: QueryStop, leftover: &Mutex<Option<PathBuf>>) {
    if let Some(folder) = leftover.lock().take() {
        let _ = crate::files::remove_tree(&folder);
    }
    let code = match stop {
        QueryStop::Cancelled => signals::interrupted_number(),
        QueryStop::Timeout => {
            say(&format!("error: {stop}"));
            1
        }
    };
    std::process::exit(code);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_was_given_is_all_there_is_and_a_person_waits_a_second() {
        let begun = Instant::now();
        let after = |ms| begun + Duration::from_millis(ms);
        assert_eq!(hard_end(None, None), None);
        let (late, why) = hard_end(Some(after(3000)), None).expect("ends");
        assert_eq!(why, QueryStop::Timeout);
        assert!(late <= after(3250), "a quarter of a second at most");
        assert_eq!(hard_end(None, Some(after(500))), Some((after(1500), QueryStop::Cancelled)));
        // The earlier end counts.
        assert_eq!(hard_end(Some(after(3000)), Some(after(500))), hard_end(None, Some(after(500))));
        assert_eq!(
            hard_end(Some(after(3000)), Some(after(2900))),
            hard_end(Some(after(3000)), None)
        );
    }
}
