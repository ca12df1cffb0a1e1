//! Retrying while a database is locked or a disk is full.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::ErrorCode;

use super::file::has_room_for_index;
use super::holders::who_writes;
use super::open::StoreError;
use super::words::describe_error;
use cyclometer_workload::Cancel;
use cyclometer_workload::Control;

/// Time between two tries, once it was reported that they fail.
const PAUSE: Duration = Duration::from_millis(100);
/// Time between two tries before that.
const SHORT_PAUSE: Duration = Duration::from_millis(5);
/// Time for which it retries without a notice: other cyclometer processes take
/// the lock for moments all the time.
const SILENT: Duration = Duration::from_secs(1);
/// Time for which it goes on trying when it should give up: a lock that another
/// cyclometer process holds is released by then.
const GRACE: Duration = Duration::from_secs(1);

/// Notice about a database that is being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Nothing can be stored for now: the reason, and what to do.
    Waits(String),
    /// Writing goes on, after waiting for that time.
    GoesOn(Duration),
    /// Something that matters and stops nothing.
    Remark(String),
}

/// Callback for notices, on the thread that writes.
pub type Tell = Box<dyn FnMut(Notice) + Send>;

/// Policy by which a writer retries.
pub struct Patience {
    tell: Tell,
    give_up: Control,
    /// Whether it waits for a disk, too.
    for_disks: bool,
    /// Time at which it began to wait.
    begun: Option<Instant>,
    /// Cause that was reported last.
    told: Option<Cause>,
    /// Time of the first failure after it should give up.
    over: Option<Instant>,
}

/// Cause of an error that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Locked,
    Full,
    Unwritable,
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience").field("told", &self.told).finish_non_exhaustive()
    }
}

impl Patience {
    /// Time that one try waits for a lock: no longer than others take to notice
    /// that they should stop.
    pub(super) const BUSY: Duration = Duration::from_millis(Cancel::POLL_MS as u64);

    /// Creates a policy that waits for locks and for full disks, until
    /// `give_up` says that nothing more is to be started.
    pub fn new(tell: Tell, give_up: impl Into<Control>) -> Self {
        let give_up = give_up.into();
        Self { tell, give_up, for_disks: true, begun: None, told: None, over: None }
    }

    /// Creates a policy that waits for locks only, where nobody is there to
    /// make room on a disk.
    pub fn for_locks(tell: Tell, give_up: impl Into<Control>) -> Self {
        Self { for_disks: false, ..Self::new(tell, give_up) }
    }

    /// Returns whether to try again after this error. Sleeps until then, and
    /// reports the cause if it lasts.
    pub(super) fn tries_again(&mut self, error: &StoreError, path: &Path) -> bool {
        let Some(cause) = cause(error, path) else { return false };
        if cause != Cause::Locked && !self.for_disks {
            return false;
        }
        let begun = *self.begun.get_or_insert_with(Instant::now);
        if self.give_up.is_over() {
            let over = *self.over.get_or_insert_with(Instant::now);
            std::thread::sleep(SHORT_PAUSE);
            return over.elapsed() < GRACE;
        }
        if self.told != Some(cause) && (cause != Cause::Locked || begun.elapsed() >= SILENT) {
            self.told = Some(cause);
            (self.tell)(Notice::Waits(reason(cause, error, path, begun)));
        }
        std::thread::sleep(if self.told.is_some() { PAUSE } else { SHORT_PAUSE });
        true
    }

    /// Reports that writing works again, if it did not.
    pub(super) fn done(&mut self) {
        self.over = None;
        let waited = self.begun.take().map_or(Duration::ZERO, |begun| begun.elapsed());
        if self.told.take().is_some() {
            (self.tell)(Notice::GoesOn(waited));
        }
    }

    /// Reports something that stops nothing.
    pub(super) fn remark(&mut self, text: String) {
        (self.tell)(Notice::Remark(text));
    }
}

/// Returns the cause of an error that may pass; `None` for any other error.
fn cause(error: &StoreError, path: &Path) -> Option<Cause> {
    let source = match error {
        StoreError::Locked { .. } => return Some(Cause::Locked),
        StoreError::Sql { source, .. } => source,
        _ => return None,
    };
    match source.sqlite_error_code()? {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Some(Cause::Locked),
        ErrorCode::DiskFull => Some(Cause::Full),
        ErrorCode::SystemIoFailure if !has_room_for_index(path) => Some(Cause::Full),
        ErrorCode::SystemIoFailure => Some(Cause::Unwritable),
        _ => None,
    }
}

/// Describes a cause, and what to do.
fn reason(cause: Cause, error: &StoreError, path: &Path, begun: Instant) -> String {
    match cause {
        Cause::Locked => {
            let who = who_writes(path).map(|who| format!(" ({who})")).unwrap_or_default();
            format!(
                "locked by another process since {}{who}: wait for it to end, or end it",
                clock(begun)
            )
        }
        Cause::Full => "the disk is full: free some space".to_owned(),
        Cause::Unwritable => {
            let why = match error {
                StoreError::Sql { source, .. } => describe_error(source),
                other => other.to_string(),
            };
            format!("the disk cannot be written ({why}): free some space, or see to the disk")
        }
    }
}

/// Formats the time of day of a moment, in UTC.
fn clock(moment: Instant) -> String {
    let moment = SystemTime::now().checked_sub(moment.elapsed()).unwrap_or_else(SystemTime::now);
    let text = humantime::format_rfc3339_seconds(moment).to_string();
    text.get(11..19).map_or(text.clone(), |time| format!("{time} UTC"))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn locked() -> StoreError {
        StoreError::Locked { path: "x.db".into() }
    }

    #[test]
    fn a_short_wait_is_not_told_and_a_long_one_once() {
        let (says, heard) = channel();
        let tell: Tell = Box::new(move |notice| says.send(notice).unwrap_or(()));
        let mut patience = Patience::new(tell, Cancel::default());
        assert!(patience.tries_again(&locked(), Path::new("x.db")));
        patience.done();
        assert_eq!(heard.try_iter().count(), 0);

        patience.begun = Instant::now().checked_sub(SILENT);
        for _ in 0..3 {
            assert!(patience.tries_again(&locked(), Path::new("x.db")));
        }
        patience.done();
        let told: Vec<Notice> = heard.try_iter().collect();
        let [Notice::Waits(reason), Notice::GoesOn(waited)] = &told[..] else {
            panic!("{told:?}");
        };
        assert!(reason.starts_with("locked by another process since "), "{reason}");
        assert!(*waited >= SILENT);
    }

    #[test]
    fn it_gives_up_soon_when_it_is_to_and_at_once_on_what_will_not_pass() {
        let give_up = Cancel::default();
        let mut patience = Patience::new(Box::new(drop), give_up.clone());
        let other = StoreError::NotFound("gone".to_owned());
        assert!(!patience.tries_again(&other, Path::new("x.db")));
        give_up.cancel();
        let begun = Instant::now();
        while patience.tries_again(&locked(), Path::new("x.db")) {}
        assert!(begun.elapsed() >= GRACE && begun.elapsed() < GRACE * 10);
    }
}
