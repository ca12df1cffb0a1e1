//! Retrying while a database is locked or a disk is full.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::ErrorCode;

use super::database_file::has_room_for_index;
use super::error_text::describe_error;
use super::lock_holders::describe_writers;
use super::open::StoreError;
use cyclometer_workload::Cancel;
use cyclometer_workload::Control;

/// Time between two tries, once it was reported that they fail.
const PAUSE: Duration = Duration::from_millis(100);
/// Time between two tries before that.
const SHORT_PAUSE: Duration = Duration::from_millis(5);
/// Time for which it retries without a notice: other cyclometer processes take
/// the lock for moments all the time.
const SILENT_TIME: Duration = Duration::from_secs(1);
/// Time for which it goes on trying when it should give up: a lock that another
/// cyclometer process holds is released by then.
const GRACE: Duration = Duration::from_secs(1);

/// Notice about a database that is being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteNotice {
    /// Nothing can be stored for now: the reason, and what to do.
    Waiting(String),
    /// Writing goes on, after waiting for that time.
    Resumed(Duration),
    /// Something that matters and stops nothing.
    Remark(String),
}

/// Callback for notices, on the thread that writes.
pub type NoticeCallback = Box<dyn FnMut(WriteNotice) + Send>;

/// Policy by which a writer retries.
pub struct RetryPolicy {
    notify: NoticeCallback,
    give_up: Control,
    /// Whether it waits for a disk, too.
    for_disks: bool,
    /// Time at which it began to wait.
    waiting_since: Option<Instant>,
    /// Cause that was reported last.
    reported: Option<RetryCause>,
    /// Time of the first failure after it should give up.
    giving_up_since: Option<Instant>,
}

/// Cause of an error that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RetryCause {
    Locked,
    Full,
    Unwritable,
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience").field("told", &self.reported).finish_non_exhaustive()
    }
}

impl RetryPolicy {
    /// Time that one try waits for a lock: no longer than others take to notice
    /// that they should stop.
    pub(super) const BUSY_TIMEOUT: Duration = Duration::from_millis(Cancel::POLL_MS as u64);

    /// Creates a policy that waits for locks and for full disks, until
    /// `give_up` says that nothing more is to be started.
    pub fn new(tell: NoticeCallback, give_up: impl Into<Control>) -> Self {
        let give_up = give_up.into();
        Self {
            notify: tell,
            give_up,
            for_disks: true,
            waiting_since: None,
            reported: None,
            giving_up_since: None,
        }
    }

    /// Creates a policy that waits for locks only, where nobody is there to
    /// make room on a disk.
    pub fn for_locks(tell: NoticeCallback, give_up: impl Into<Control>) -> Self {
        Self { for_disks: false, ..Self::new(tell, give_up) }
    }

    /// Returns whether to try again after this error. Sleeps until then, and
    /// reports the cause if it lasts.
    pub(super) fn wait_before_retry(&mut self, error: &StoreError, path: &Path) -> bool {
        let Some(cause) = passing_cause(error, path) else { return false };
        if cause != RetryCause::Locked && !self.for_disks {
            return false;
        }
        let begun = *self.waiting_since.get_or_insert_with(Instant::now);
        if self.give_up.is_over() {
            let over = *self.giving_up_since.get_or_insert_with(Instant::now);
            std::thread::sleep(SHORT_PAUSE);
            return over.elapsed() < GRACE;
        }
        if self.reported != Some(cause)
            && (cause != RetryCause::Locked || begun.elapsed() >= SILENT_TIME)
        {
            self.reported = Some(cause);
            (self.notify)(WriteNotice::Waiting(describe_cause(cause, error, path, begun)));
        }
        std::thread::sleep(if self.reported.is_some() { PAUSE } else { SHORT_PAUSE });
        true
    }

    /// Reports that writing works again, if it did not.
    pub(super) fn report_resumed(&mut self) {
        self.giving_up_since = None;
        let waited = self.waiting_since.take().map_or(Duration::ZERO, |begun| begun.elapsed());
        if self.reported.take().is_some() {
            (self.notify)(WriteNotice::Resumed(waited));
        }
    }

    /// Reports something that stops nothing.
    pub(super) fn report_remark(&mut self, text: String) {
        (self.notify)(WriteNotice::Remark(text));
    }
}

/// Returns the cause of an error that may pass; `None` for any other error.
fn passing_cause(error: &StoreError, path: &Path) -> Option<RetryCause> {
    let source = match error {
        StoreError::Locked { .. } => return Some(RetryCause::Locked),
        StoreError::Sql { source, .. } => source,
        _ => return None,
    };
    match source.sqlite_error_code()? {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Some(RetryCause::Locked),
        ErrorCode::DiskFull => Some(RetryCause::Full),
        ErrorCode::SystemIoFailure if !has_room_for_index(path) => Some(RetryCause::Full),
        ErrorCode::SystemIoFailure => Some(RetryCause::Unwritable),
        _ => None,
    }
}

/// Describes a cause, and what to do.
fn describe_cause(cause: RetryCause, error: &StoreError, path: &Path, begun: Instant) -> String {
    match cause {
        RetryCause::Locked => {
            let who = describe_writers(path).map(|who| format!(" ({who})")).unwrap_or_default();
            format!(
                "locked by another process since {}{who}: wait for it to end, or end it",
                format_time_of_day(begun)
            )
        }
        RetryCause::Full => "the disk is full: free some space".to_owned(),
        RetryCause::Unwritable => {
            let why = match error {
                StoreError::Sql { source, .. } => describe_error(source),
                other => other.to_string(),
            };
            format!("the disk cannot be written ({why}): free some space, or see to the disk")
        }
    }
}

/// Formats the time of day of a moment, in UTC.
fn format_time_of_day(moment: Instant) -> String {
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
        let tell: NoticeCallback = Box::new(move |notice| says.send(notice).unwrap_or(()));
        let mut patience = RetryPolicy::new(tell, Cancel::default());
        assert!(patience.wait_before_retry(&locked(), Path::new("x.db")));
        patience.report_resumed();
        assert_eq!(heard.try_iter().count(), 0);

        patience.waiting_since = Instant::now().checked_sub(SILENT_TIME);
        for _ in 0..3 {
            assert!(patience.wait_before_retry(&locked(), Path::new("x.db")));
        }
        patience.report_resumed();
        let told: Vec<WriteNotice> = heard.try_iter().collect();
        let [WriteNotice::Waiting(reason), WriteNotice::Resumed(waited)] = &told[..] else {
            panic!("{told:?}");
        };
        assert!(reason.starts_with("locked by another process since "), "{reason}");
        assert!(*waited >= SILENT_TIME);
    }

    #[test]
    fn it_gives_up_soon_when_it_is_to_and_at_once_on_what_will_not_pass() {
        let give_up = Cancel::default();
        let mut patience = RetryPolicy::new(Box::new(drop), give_up.clone());
        let other = StoreError::NotFound("gone".to_owned());
        assert!(!patience.wait_before_retry(&other, Path::new("x.db")));
        give_up.cancel();
        let begun = Instant::now();
        while patience.wait_before_retry(&locked(), Path::new("x.db")) {}
        assert!(begun.elapsed() >= GRACE && begun.elapsed() < GRACE * 10);
    }
}
