//! Waiting for a database that is locked, or for a disk that is full.

use std::time::{Duration, Instant};

use rusqlite::ErrorCode;

use super::open::StoreError;
use crate::lane::Cancel;

/// Told why nothing can be stored and what to do, and `None` when it works
/// again. Called on the writer's thread.
pub type Waits = Box<dyn FnMut(Option<String>) + Send>;

/// Time between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// How a writer waits.
pub(super) struct Patience {
    waits: Waits,
    give_up: Cancel,
    /// What was told last.
    told: Option<String>,
}

impl Patience {
    /// How long a try waits for a lock: no longer than others take to notice
    /// that they are to stop.
    pub const BUSY: Duration = Duration::from_millis(Cancel::POLL_MS as u64);

    pub fn new(waits: Waits, give_up: Cancel) -> Self {
        Self { waits, give_up, told: None }
    }

    /// Whether nobody wants to wait any more.
    pub fn is_over(&self) -> bool {
        self.give_up.is_cancelled()
    }

    /// Tells of an error that may pass; `false` for one that will not.
    pub fn can_wait(&mut self, error: &StoreError) -> bool {
        let Some(reason) = reason(error) else { return false };
        if self.told.as_ref() != Some(&reason) {
            (self.waits)(Some(reason.clone()));
            self.told = Some(reason);
        }
        true
    }

    /// Passes the time until the next try.
    pub fn wait(&self) {
        let begun = Instant::now();
        while begun.elapsed() < PAUSE && !self.is_over() {
            std::thread::sleep(Self::BUSY);
        }
    }

    /// Tells that it works again, if it did not.
    pub fn done(&mut self) {
        if self.told.take().is_some() {
            (self.waits)(None);
        }
    }
}

/// What an error that may pass is called, and what to do.
fn reason(error: &StoreError) -> Option<String> {
    let StoreError::Sql { source, .. } = error else { return None };
    Some(match source.sqlite_error_code()? {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            "another program holds the database's lock: wait for it to end, or end it".to_owned()
        }
        ErrorCode::DiskFull => "the disk is full: free some space".to_owned(),
        ErrorCode::SystemIoFailure => {
            format!("the disk cannot be written ({source}): free some space, or see to the disk")
        }
        _ => return None,
    })
}
