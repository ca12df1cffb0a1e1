//! What a writer does when its database is gone, or takes no more: everything
//! that was measured is kept elsewhere, and the error says where.

use std::path::Path;
use std::sync::mpsc::Receiver;

use rusqlite::{Connection, ErrorCode, params};

use super::entry::timestamp;
use super::open::{Store, StoreError};
use super::watch::{Whereabouts, rescue_paths};
use super::writer::{Batch, Message, Scribe, is_invocation};

impl Scribe {
    /// Checks after a commit that the file is still there. Where it is not, the
    /// recording ends with an error that says where its rows are.
    pub(super) fn verify(
        &mut self,
        batch: &mut Batch,
        incoming: &Receiver<Message>,
    ) -> Result<(), StoreError> {
        match self.watch.look() {
            Whereabouts::InPlace => {
                if !self.watch.has_log() {
                    self.restore_log()?;
                }
                Ok(())
            }
            elsewhere => Err(self.leave(&elsewhere, batch, incoming)),
        }
    }

    /// Brings everything into the file itself, whose log was removed, and begins
    /// a new log if no other connection of this process uses the old one.
    fn restore_log(&mut self) -> Result<(), StoreError> {
        let failed = StoreError::sql("rescue of a removed log");
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(failed)?;
        if self.watch.is_alone() {
            let aside = Connection::open_in_memory().map_err(StoreError::sql("set-up"))?;
            drop(std::mem::replace(&mut self.connection, aside));
            self.connection = Store::open(&self.path)?.connection;
            self.set_usual_busy()?;
        }
        Ok(())
    }

    /// Ends a recording whose file was moved, removed or replaced.
    fn leave(
        &mut self,
        place: &Whereabouts,
        batch: &mut Batch,
        incoming: &Receiver<Message>,
    ) -> StoreError {
        let path = self.path.display().to_string();
        if let Whereabouts::Moved(now) = place {
            let written = self.write_rest(batch, incoming);
            let checkpoint = self
                .connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
                .map_err(StoreError::sql("checkpoint"));
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
        let what = if *place == Whereabouts::Replaced { "replaced" } else { "removed" };
        let reason = format!("the database {path} was {what} while a recording was written to it");
        let error = self.rescue(reason, false, batch, incoming);
        self.watch.remove_log();
        error
    }

    /// Ends a recording that the database takes no more of.
    pub(super) fn give_up(
        &mut self,
        error: &StoreError,
        batch: &mut Batch,
        incoming: &Receiver<Message>,
    ) -> StoreError {
        match self.watch.look() {
            Whereabouts::InPlace => {}
            elsewhere => return self.leave(&elsewhere, batch, incoming),
        }
        let code = match error {
            StoreError::Sql { source, .. } => source.sqlite_error_code(),
            _ => None,
        };
        let full = code == Some(ErrorCode::DiskFull);
        let remedy = match code {
            Some(ErrorCode::DiskFull) => "; free some space",
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                "; another program holds its lock"
            }
            _ => "",
        };
        let reason = format!("{error} ({}){remedy}", self.path.display());
        self.rescue(reason, full, batch, incoming)
    }

    /// Copies the database to a place where it can be written, with all that
    /// was measured since.
    fn rescue(
        &mut self,
        reason: String,
        disk_is_full: bool,
        batch: &mut Batch,
        incoming: &Receiver<Message>,
    ) -> StoreError {
        let mut refused = String::from("there is no folder for a copy");
        for path in rescue_paths(&self.path, disk_is_full) {
            match self.move_to(&path).and_then(|()| self.write_rest(batch, incoming)) {
                Ok(()) => {
                    let kept = format!(
                        "all that was measured, and what the database had before, is in {0} now; \
                         name it with --db {0}",
                        path.display()
                    );
                    return StoreError::CutShort { reason, kept };
                }
                Err(error) => {
                    refused = error.to_string();
                    let _ = std::fs::remove_file(&path);
                }
            }
        }
        let left = incoming.try_iter().filter(Message::is_invocation).count();
        let here = batch.events.iter().filter(|event| is_invocation(event)).count();
        StoreError::GaveUp {
            lost: here + left,
            reason: format!("{reason}; and no copy could be made: {refused}"),
        }
    }

    /// Goes on in a copy of the database.
    fn move_to(&mut self, path: &Path) -> Result<(), StoreError> {
        let failed = StoreError::sql;
        // Nobody else reads it, nor has put a link there.
        crate::paths::create_private(path).map_err(|error| StoreError::Open {
            path: path.to_owned(),
            cause: error.to_string(),
            remedy: "make its folder writable",
        })?;
        self.connection
            .execute("VACUUM INTO ?1", [path.to_string_lossy()])
            .map_err(failed("copy to a safe place"))?;
        let copy = Store::open(path)?;
        // The old one stays open: its log is read no more.
        self.left_behind.push(std::mem::replace(&mut self.connection, copy.connection));
        Ok(())
    }

    /// Stores what has not been stored yet, and marks the recording as cut off.
    fn write_rest(
        &mut self,
        batch: &mut Batch,
        incoming: &Receiver<Message>,
    ) -> Result<(), StoreError> {
        loop {
            self.attempt(batch, incoming)?;
            batch.events.clear();
            match incoming.try_recv() {
                Ok(message) => batch.take(message),
                Err(_) => break,
            }
        }
        self.connection
            .execute(
                "UPDATE recording SET status = 'interrupted', ended_at = ?2
                 WHERE id = ?1 AND status = 'running'",
                params![self.ids.recording(), timestamp()],
            )
            .map(drop)
            .map_err(StoreError::sql("mark of the end"))
    }
}
