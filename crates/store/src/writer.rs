//! The one thread that writes a recording, in transactions as large as the
//! queue has become meanwhile.
//!
//! [`Sink::flush_events`] waits for the commit, so that an invocation is safe before
//! the next one starts, and writing does not fall into its measured time.

// Not crossbeam's channel: there, queued messages outlive the receiver, and a
// caller that waits for a settlement would wait for ever when the thread has
// failed.
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::{Connection, TransactionBehavior, params};

use super::busy_retry::RetryPolicy;
use super::event_rows::{RowIds, Statements, current_timestamp, to_sql_integer};
use super::file_watch::{FileLocation, FileWatch};
use super::open::{Store, StoreError};
use cyclometer_system::threads::start_thread;
use cyclometer_workload::{Event, RecordingHeader, Sink, SinkError};

/// Most bundles of events that wait for the writer; beyond that, the recorder waits.
const QUEUE: usize = 4_096 / BUNDLE;
/// Most events of one transaction.
const BATCH: usize = 1_024;

/// Inserts a running recording, and returns its number.
pub(super) fn insert_recording(
    header: &RecordingHeader,
    connection: &Connection,
) -> Result<i64, StoreError> {
    let sql = "INSERT INTO recording (label, started_at, status, owner, plan, host,
            sample_interval_ns)
         VALUES (?1, ?2, 'running', ?3, ?4, ?5, ?6)";
    let interval = header.sample_interval.map(|interval| to_sql_integer(interval.0));
    let values = params![
        header.label,
        current_timestamp(),
        header.owner,
        header.plan,
        header.host,
        interval
    ];
    connection.execute(sql, values).map_err(StoreError::for_action("entry of the recording"))?;
    Ok(connection.last_insert_rowid())
}

/// Callback for each event, once it is stored.
pub type StoredCallback = Box<dyn FnMut(Box<Event>) + Send>;

/// Most finished invocations that are sent to the thread at once.
const BUNDLE: usize = 128;

pub(super) enum WriterMessage {
    #[expect(clippy::vec_box, reason = "they come in boxes and go on in them")]
    Events(Vec<Box<Event>>),
    Settle(SyncSender<()>),
}

impl WriterMessage {
    pub(super) fn count_invocations(&self) -> usize {
        match self {
            Self::Events(events) => events.iter().filter(|event| is_invocation(event)).count(),
            Self::Settle(_) => 0,
        }
    }
}

pub(super) const fn is_invocation(event: &Event) -> bool {
    matches!(event, Event::Finished { .. })
}

/// Recording that is being written.
pub struct Writer {
    recording: i64,
    queue: Option<SyncSender<WriterMessage>>,
    /// Finished invocations that are not sent yet: those of a burst are sent in bundles, since
    /// waking the thread takes longer than storing one of them.
    #[expect(clippy::vec_box, reason = "they come in boxes and go on in them")]
    bundle: Vec<Box<Event>>,
    thread: Option<JoinHandle<Result<Store, StoreError>>>,
    store: Option<Store>,
    failure: Option<SinkError>,
}

impl Writer {
    /// Inserts the recording and starts the thread. `stored` is called, on that
    /// thread, for each event after its commit.
    ///
    /// With a store that was opened with a `RetryPolicy`, the
    /// writer waits while the database is locked or the disk is full, and loses
    /// nothing meanwhile: the recorder waits with it.
    ///
    /// # Errors
    /// Fails when the recording cannot be inserted, or there is no thread.
    pub fn start(
        store: Store,
        header: &RecordingHeader,
        stored: StoredCallback,
    ) -> Result<Self, StoreError> {
        let began = cyclometer_workload::monotonic_now();
        let recording = store.retry_while_busy(|| insert_recording(header, &store.connection))?;
        let path = store.path().to_owned();
        let patience = store.take_retry_policy();
        let scribe = WriterThread {
            watch: FileWatch::for_path(&path),
            path,
            connection: store.connection,
            ids: RowIds::new(recording, began),
            header: header.clone(),
            preamble: Vec::new(),
            stored,
            retry_policy: patience,
            reported_log_bytes: 0,
            left_behind: Vec::new(),
        };
        let (queue, incoming) = sync_channel(QUEUE);
        let thread = start_thread("store", move || scribe.run_loop(&incoming))
            .map_err(|error| StoreError::NotFound(error.to_string()))?;
        Ok(Self {
            recording,
            queue: Some(queue),
            bundle: Vec::new(),
            thread: Some(thread),
            store: None,
            failure: None,
        })
    }

    /// Returns the number of the recording.
    #[must_use]
    pub const fn recording(&self) -> i64 {
        self.recording
    }

    /// Waits until everything is written, and returns the database.
    ///
    /// # Errors
    /// Returns the first error of the writer.
    pub fn finish(mut self) -> Result<Store, StoreError> {
        // Should that fail, the thread tells why.
        let _ = self.send_bundle();
        self.join_thread()?;
        match self.store.take() {
            Some(store) => Ok(store),
            None => Err(StoreError::NotFound(
                self.failure
                    .as_ref()
                    .map_or_else(|| "the writer is gone".to_owned(), |it| it.0.clone()),
            )),
        }
    }

    /// Sends what waits in the bundle; returns whether the thread still takes it.
    fn send_bundle(&mut self) -> bool {
        if self.bundle.is_empty() {
            return true;
        }
        let events = std::mem::replace(&mut self.bundle, Vec::with_capacity(BUNDLE));
        self.send_message(WriterMessage::Events(events))
    }

    fn send_message(&self, message: WriterMessage) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.send(message).is_ok())
    }

    fn join_thread(&mut self) -> Result<(), StoreError> {
        self.queue = None;
        let Some(thread) = self.thread.take() else { return Ok(()) };
        match thread.join() {
            Ok(Ok(store)) => {
                self.store = Some(store);
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StoreError::NotFound("the database thread panicked".to_owned())),
        }
    }

    /// Returns the reason why the queue closed.
    fn failure_reason(&mut self) -> SinkError {
        if self.failure.is_none() {
            let text = match self.join_thread() {
                Ok(()) => "the database thread ended".to_owned(),
                Err(error) => error.to_string(),
            };
            self.failure = Some(SinkError(text));
        }
        self.failure.clone().unwrap_or_else(|| SinkError("the writer is gone".to_owned()))
    }
}

impl Sink for Writer {
    fn send_event(&mut self, event: Event) -> Result<(), SinkError> {
        if event.is_transient() {
            return Ok(());
        }
        let waits = is_invocation(&event) && self.bundle.len() + 1 < BUNDLE;
        self.bundle.push(Box::new(event.with_summarized_texts()));
        if waits || self.send_bundle() { Ok(()) } else { Err(self.failure_reason()) }
    }

    fn flush_events(&mut self) -> Result<(), SinkError> {
        let (done, wait) = sync_channel(1);
        let sent = self.send_bundle() && self.send_message(WriterMessage::Settle(done));
        if sent && wait.recv().is_ok() { Ok(()) } else { Err(self.failure_reason()) }
    }
}

/// State of the thread that writes.
pub(super) struct WriterThread {
    pub connection: Connection,
    pub path: PathBuf,
    /// Tells whether the file is still there.
    pub watch: FileWatch,
    pub ids: RowIds,
    pub header: RecordingHeader,
    /// Events of the lanes and cells that were inserted: with them, the
    /// remaining events can be stored elsewhere.
    pub preamble: Vec<Event>,
    stored: StoredCallback,
    pub retry_policy: Option<RetryPolicy>,
    /// Size in bytes of the log when it was last reported.
    pub reported_log_bytes: u64,
    /// Connections to files that are gone or full.
    pub left_behind: Vec<Connection>,
}

/// Events and waiting callers of one transaction, kept until its commit.
#[derive(Default)]
pub(super) struct EventBatch {
    #[expect(clippy::vec_box, reason = "they come in boxes and go on in them")]
    pub events: Vec<Box<Event>>,
    /// Callers that wait for the commit.
    waiting: Vec<SyncSender<()>>,
}

impl EventBatch {
    pub(crate) fn add_message(&mut self, message: WriterMessage) {
        match message {
            WriterMessage::Events(events) => self.events.extend(events),
            WriterMessage::Settle(done) => self.waiting.push(done),
        }
    }
}

impl WriterThread {
    fn run_loop(mut self, incoming: &Receiver<WriterMessage>) -> Result<Store, StoreError> {
        self.set_usual_busy_timeout()?;
        let mut batch = EventBatch::default();
        while let Ok(first) = incoming.recv() {
            batch.add_message(first);
            self.store_batch(&mut batch, incoming)?;
            for event in batch.events.drain(..) {
                if event.describes_plan() {
                    self.preamble.push((*event).clone());
                }
                (self.stored)(event);
            }
            self.verify_file(&mut batch, incoming)?;
            self.remark_on_large_log();
            for done in batch.waiting.drain(..) {
                // It is fine if nobody waits any more.
                let _ = done.send(());
            }
        }
        // An empty recording that stays because the database is locked is never
        // the latest.
        let _ = self.ids.delete_if_empty(&self.connection);
        self.verify_file(&mut batch, incoming)?;
        if self.retry_policy.is_none() {
            self.set_busy_timeout(Store::BUSY_TIMEOUT)?;
        }
        Ok(Store::from_parts(self.connection, self.path).with_retry_policy(self.retry_policy))
    }

    /// Sets how long a try waits for a lock while it records.
    pub(super) fn set_usual_busy_timeout(&self) -> Result<(), StoreError> {
        let patient = self.retry_policy.is_some();
        self.set_busy_timeout(if patient { RetryPolicy::BUSY_TIMEOUT } else { Store::BUSY_TIMEOUT })
    }

    fn set_busy_timeout(&self, span: std::time::Duration) -> Result<(), StoreError> {
        self.connection.busy_timeout(span).map_err(StoreError::for_action("set-up"))
    }

    /// Stores a batch; retries for as long as the retry policy allows.
    fn store_batch(
        &mut self,
        batch: &mut EventBatch,
        incoming: &Receiver<WriterMessage>,
    ) -> Result<(), StoreError> {
        while let Err(error) = self.write_batch(batch, incoming) {
            let waits = self.watch.locate_file() == FileLocation::InPlace
                && self
                    .retry_policy
                    .as_mut()
                    .is_some_and(|it| it.wait_before_retry(&error, &self.path));
            if !waits {
                return Err(self.give_up(&error, batch, incoming));
            }
        }
        if let Some(patience) = &mut self.retry_policy {
            patience.report_resumed();
        }
        Ok(())
    }

    /// Runs one transaction with the batch, and the events that have come in
    /// meanwhile.
    pub(super) fn write_batch(
        &mut self,
        batch: &mut EventBatch,
        incoming: &Receiver<WriterMessage>,
    ) -> Result<(), StoreError> {
        if batch.events.is_empty() {
            return Ok(());
        }
        let mut ids = self.ids.clone();
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(StoreError::for_action("start of a transaction"))?;
        {
            let mut statements = Statements::prepare(&transaction)?;
            let mut written = 0;
            loop {
                for event in &batch.events[written..] {
                    ids.insert_event(&transaction, &mut statements, event)
                        .map_err(StoreError::for_action("write of an event"))?;
                }
                written = batch.events.len();
                let next = if written < BATCH { incoming.try_recv().ok() } else { None };
                let Some(message) = next else { break };
                batch.add_message(message);
            }
        }
        transaction.commit().map_err(StoreError::for_action("commit"))?;
        self.ids = ids;
        Ok(())
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
