//! The time that a query has, for all of it: `SQLite` looks at the clock between
//! two of its steps, and one step may take hours; so may a table, and an output
//! that nobody reads.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::{Failure, say, signals};
use crate::lane::Cancel;
use crate::store::Stop;

/// How long a query may take to end by itself once it is to.
const GRACE: Duration = Duration::from_secs(1);
/// How often the clock is looked at.
const LOOK: Duration = Duration::from_millis(Cancel::POLL_MS as u64);

/// Ends the program if its query does not, until it is dropped.
pub(super) struct Watchdog {
    /// What is removed before that.
    leftover: Arc<Mutex<Option<PathBuf>>>,
    /// Goes with this: the query has ended.
    _ended: SyncSender<()>,
}

impl Watchdog {
    /// Ends the program a moment after `cancel` says so or `timeout` is over.
    pub(super) fn start(cancel: Cancel, timeout: Option<Duration>) -> Result<Self, Failure> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let leftover: Arc<Mutex<Option<PathBuf>>> = Arc::default();
        let removed = Arc::clone(&leftover);
        let (ended, waits) = sync_channel(0);
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            let mut over: Option<(Stop, Instant)> = None;
            while waits.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                match over {
                    Some((stop, since)) if since.elapsed() >= GRACE => end(stop, &removed),
                    None if cancel.is_cancelled() => over = Some((Stop::Cancelled, Instant::now())),
                    None if is_late => over = Some((Stop::Timeout, Instant::now())),
                    _ => {}
                }
            }
        })?;
        Ok(Self { leftover, _ended: ended })
    }

    /// Removes that folder before it ends the program.
    pub(super) fn removes(&self, folder: Option<&Path>) {
        *self.leftover.lock().unwrap_or_else(PoisonError::into_inner) = folder.map(Path::to_owned);
    }
}

/// The query only reads: nothing is lost with it.
fn end(stop: Stop, leftover: &Mutex<Option<PathBuf>>) {
    if let Some(folder) = leftover.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = crate::files::remove_tree(&folder);
    }
    let code = match stop {
        Stop::Cancelled => signals::interrupted_number(),
        Stop::Timeout => {
            say(&format!("error: {stop}"));
            1
        }
    };
    std::process::exit(code);
}
