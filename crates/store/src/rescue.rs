//! Rescue of a recording whose database is gone or accepts no more rows: all
//! measurements are kept elsewhere, and the error says where.

use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, params};

use super::event_rows::{RowIds, Statements, current_timestamp};
use super::file_watch::{FileLocation, rescue_paths};
use super::lock_holders::describe_readers;
use super::open::{Store, StoreError};
use super::writer::{EventBatch, WriterMessage, WriterThread, insert_recording, is_invocation};

/// Longest time for copying a database that is only locked: whoever stopped the
/// recording waits for it.
const COPY_TIME: Duration = Duration::from_secs(1);
/// Steps of `SQLite`'s virtual machine between two looks at the clock.
const STEPS: i32 = 1_000;
/// Size in bytes of a log that is worth a remark.
const LARGE_LOG: u64 = 256 << 20;

/// Prepares another database to continue in.
type RescueTarget<'a> =
    dyn Fn(&WriterThread, &Path) -> Result<(Connection, RowIds), StoreError> + 'a;

/// Reason why a database accepts no more rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StorageFailure {
    /// The file does not exist any more.
    Gone,
    /// The disk is full.
    Full,
    /// Another program holds its lock.
    Locked,
    /// Something else, which the error describes.
    Other,
}

impl WriterThread {
    /// Remarks on a log that grows: `SQLite` restarts it only when nobody reads
    /// its earlier content.
    pub(super) fn remark_on_large_log(&mut self) {
        let Some(patience) = &mut self.retry_policy else { return };
        let log = super::database_file::path_beside(&self.path, "-wal");
        let size = std::fs::metadata(&log).map_or(0, |data| data.len());
        let worth_a_word = if self.reported_log_bytes == 0 {
            LARGE_LOG
        } else {
            self.reported_log_bytes.saturating_mul(2)
        };
        if size < worth_a_word {
            return;
        }
        self.reported_log_bytes = size;
        let who = describe_readers(&self.path).unwrap_or_else(|| "another program".to_owned());
        patience.report_remark(format!(
            "{} has grown to {}: {who} reads an older state of the database without end; the \
             space is used again when that ends",
            log.display(),
            cyclometer_core::units::Bytes(size)
        ));
    }

    /// Checks after a commit that the file is still there. Where it is not, the
    /// recording ends with an error that says where its rows are.
    pub(super) fn verify_file(
        &mut self,
        batch: &mut EventBatch,
        incoming: &Receiver<WriterMessage>,
    ) -> Result<(), StoreError> {
        match self.watch.locate_file() {
            FileLocation::InPlace => {
                if !self.watch.has_log() {
                    self.restore_log()?;
                }
                Ok(())
            }
            elsewhere => Err(self.end_for_lost_file(&elsewhere, batch, incoming)),
        }
    }

    /// Moves all rows into the file itself, whose log was removed, and starts a
    /// new log if no other connection of this process uses the old one.
    fn restore_log(&mut self) -> Result<(), StoreError> {
        let failed = StoreError::for_action("rescue of a removed log");
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(failed)?;
        if self.watch.is_alone() {
            let aside = Connection::open_in_memory().map_err(StoreError::for_action("set-up"))?;
            drop(std::mem::replace(&mut self.connection, aside));
            self.connection = Store::open(&self.path)?.connection;
            self.set_usual_busy_timeout()?;
        }
        Ok(())
    }

    /// Ends a recording whose file was moved, removed or replaced.
    fn end_for_lost_file(
        &mut self,
        place: &FileLocation,
        batch: &mut EventBatch,
        incoming: &Receiver<WriterMessage>,
    ) -> StoreError {
        let path = self.path.display().to_string();
        if let FileLocation::Moved(now) = place {
            let written = self.write_remaining(batch, incoming);
            let checkpoint = self
                .connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
                .map_err(StoreError::for_action("checkpoint"));
            self.watch.remove_log();
            let kept = match written.and(checkpoint) {
                Ok(()) => {
                    format!("all that was measured is in it; name it with --db {}", now.display())
                }
                Err(error) => format!("what was stored before is in it, but {error}"),
            };
            let reason = format!(
                "the database {path} was moved to {} while a recording was written to it",
                now.display()
            );
            return StoreError::CutShort { reason, kept };
        }
        let what = if *place == FileLocation::Replaced { "replaced" } else { "removed" };
        let reason = format!("the database {path} was {what} while a recording was written to it");
        let error = self.rescue_recording(reason, StorageFailure::Gone, batch, incoming);
        self.watch.remove_log();
        error
    }

    /// Ends a recording whose database accepts no more rows.
    pub(super) fn give_up(
        &mut self,
        error: &StoreError,
        batch: &mut EventBatch,
        incoming: &Receiver<WriterMessage>,
    ) -> StoreError {
        match self.watch.locate_file() {
            FileLocation::InPlace => {}
            elsewhere => return self.end_for_lost_file(&elsewhere, batch, incoming),
        }
        let code = match error {
            StoreError::Sql { source, .. } => source.sqlite_error_code(),
            _ => None,
        };
        let (trouble, remedy) = match code {
            Some(ErrorCode::DiskFull) => (StorageFailure::Full, ""),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                (StorageFailure::Locked, "; another program holds its lock")
            }
            _ => (StorageFailure::Other, ""),
        };
        let reason = format!("{error} ({}){remedy}", self.path.display());
        self.rescue_recording(reason, trouble, batch, incoming)
    }

    /// Copies the database to a place where it can be written, with all
    /// measurements since. Where the file itself is in its place, and only
    /// accepts no more, a database with the remaining rows will do.
    fn rescue_recording(
        &mut self,
        reason: String,
        trouble: StorageFailure,
        batch: &mut EventBatch,
        incoming: &Receiver<WriterMessage>,
    ) -> StoreError {
        let mut refused = String::from("there is no folder for a copy");
        let is_quick = trouble == StorageFailure::Locked;
        let whole: &RescueTarget<'_> = &|it, path| it.copy_to(path, is_quick);
        let rest: &RescueTarget<'_> = &Self::begin_new_database;
        let places = [
            (whole, "all that was measured, and what the database had before, is in"),
            (rest, "what it did not take, as a recording of its own, is in"),
        ];
        for (place, what) in
            places.into_iter().take(if trouble == StorageFailure::Gone { 1 } else { 2 })
        {
            for path in rescue_paths(&self.path, trouble == StorageFailure::Full) {
                match self.continue_in(place, &path, batch, incoming) {
                    Ok(()) => {
                        let kept = format!("{what} {0} now; name it with --db {0}", path.display());
                        return StoreError::CutShort { reason, kept };
                    }
                    Err(error) => {
                        refused = error.to_string();
                        for suffix in ["", "-wal", "-shm"] {
                            let _ = std::fs::remove_file(super::database_file::path_beside(
                                &path, suffix,
                            ));
                        }
                    }
                }
            }
        }
        let left: usize = incoming.try_iter().map(|message| message.count_invocations()).sum();
        let here = batch.events.iter().filter(|event| is_invocation(event)).count();
        StoreError::GaveUp {
            lost: here + left,
            reason: format!("{reason}; and no copy could be made: {refused}"),
        }
    }

    /// Continues in another database; stays in this one if that fails.
    fn continue_in(
        &mut self,
        place: &RescueTarget<'_>,
        path: &Path,
        batch: &mut EventBatch,
        incoming: &Receiver<WriterMessage>,
    ) -> Result<(), StoreError> {
        let (other, ids) = place(self, path)?;
        let here = std::mem::replace(&mut self.connection, other);
        let ids = std::mem::replace(&mut self.ids, ids);
        let written = self.write_remaining(batch, incoming);
        if written.is_ok() {
            // The old connection stays open: its log is not read any more.
            self.left_behind.push(here);
        } else {
            self.connection = here;
            self.ids = ids;
        }
        written
    }

    /// Copies the database; if `is_quick`, within a time limit or not at all.
    fn copy_to(&self, path: &Path, is_quick: bool) -> Result<(Connection, RowIds), StoreError> {
        let failed = StoreError::for_action;
        let begun = Instant::now();
        let watch = move || begun.elapsed() > COPY_TIME;
        let handler = is_quick.then_some(watch);
        self.connection.progress_handler(STEPS, handler).map_err(failed("set-up"))?;
        // Nobody else reads the file, nor has put a link there.
        cyclometer_system::paths::create_private(path).map_err(|error| StoreError::Open {
            path: path.to_owned(),
            cause: error.to_string(),
            remedy: "make its folder writable",
        })?;
        let copied = super::database_file::copy_into_file(&self.connection, path)
            .map_err(failed("copy to a safe place"));
        let none: Option<fn() -> bool> = None;
        self.connection.progress_handler(STEPS, none).map_err(failed("set-up"))?;
        copied?;
        Ok((Store::open(path)?.connection, self.ids.clone()))
    }

    /// Inserts the recording, with its lanes and cells, in a database of its
    /// own.
    fn begin_new_database(&self, path: &Path) -> Result<(Connection, RowIds), StoreError> {
        let failed = StoreError::for_action;
        let mut connection = Store::open(path)?.connection;
        let mut ids = self.ids.for_another(insert_recording(&self.header, &connection)?);
        let transaction = connection.transaction().map_err(failed("start of a transaction"))?;
        {
            let mut statements = Statements::prepare(&transaction)?;
            for event in &self.preamble {
                ids.insert_event(&transaction, &mut statements, event)
                    .map_err(failed("write of an event"))?;
            }
        }
        transaction.commit().map_err(failed("commit"))?;
        Ok((connection, ids))
    }

    /// Stores everything that has not been stored yet, and marks the recording
    /// as cut off.
    fn write_remaining(
        &mut self,
        batch: &mut EventBatch,
        incoming: &Receiver<WriterMessage>,
    ) -> Result<(), StoreError> {
        let mut written = Vec::new();
        loop {
            let attempt = self.write_batch(batch, incoming);
            written.append(&mut batch.events);
            if attempt.is_err() {
                // All of it goes elsewhere then.
                batch.events = written;
                return attempt;
            }
            match incoming.try_recv() {
                Ok(message) => batch.add_message(message),
                Err(_) => break,
            }
        }
        self.connection
            .execute(
                "UPDATE recording SET status = 'interrupted', ended_at = ?2
                 WHERE id = ?1 AND status = 'running'",
                params![self.ids.recording(), current_timestamp()],
            )
            .map(drop)
            .map_err(StoreError::for_action("mark of the end"))
    }
}
