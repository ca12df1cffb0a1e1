//! Query workers: threads that read the database and compute results, one for
//! each screen that needs one, so that a slow response delays no other screen.
//!
//! A worker handles one request at a time; of those that arrive meanwhile only
//! the newest of a kind is handled, since the user has moved on.

use std::convert::Infallible;
use std::mem::discriminant;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::model::TuiSettings;
use cyclometer_lanes::Cancel;
use cyclometer_store::{Store, StoreError};
use cyclometer_system::threads::start_thread;

/// Request that a worker can handle.
pub(crate) trait QueryRequest: Send + Sized + 'static {
    /// Returns whether an older request that still waits needs no response now
    /// that this one has come. A request that changes data is always handled.
    fn supersedes(&self, older: &Self) -> bool {
        discriminant(self) == discriminant(older)
    }
}

/// Requests of a screen without a worker: there are none.
impl QueryRequest for Infallible {}

/// Handle for sending requests to one screen's worker.
pub(crate) struct WorkerHandle<Ask> {
    queue: Sender<Ask>,
    thread: JoinHandle<()>,
}

/// Resources that a worker uses.
pub(crate) struct QueryContext {
    /// Settings that do not change while the program runs.
    pub settings: Arc<TuiSettings>,
    /// Cancelled when the program ends: long work may stop.
    pub cancel: Cancel,
    store: Option<Store>,
}

impl QueryContext {
    /// Creates a context without a connection.
    #[must_use]
    pub const fn new(settings: Arc<TuiSettings>, cancel: Cancel) -> Self {
        Self { settings, cancel, store: None }
    }

    /// Returns the database for reading; it is opened at the first use, and
    /// again after an error.
    ///
    /// # Errors
    /// Fails when the database cannot be read now.
    pub(crate) fn read_store(&mut self) -> Result<&Store, StoreError> {
        if self.store.as_ref().is_none_or(Store::is_outdated) {
            self.store = Some(Store::open_read_only(&self.settings.database)?);
        }
        self.store.as_ref().ok_or_else(|| StoreError::NotFound("no database".to_owned()))
    }

    /// Closes the connection: the next use opens the database again.
    pub(crate) fn forget_connection(&mut self) {
        self.store = None;
    }

    /// Opens the database for a single change.
    ///
    /// # Errors
    /// Fails when the database cannot be written now.
    pub(crate) fn open_writable(&self) -> Result<Store, StoreError> {
        Store::open(&self.settings.database)
    }
}

impl<Ask: QueryRequest> WorkerHandle<Ask> {
    /// Starts the thread; `answer` computes a response, `tell` passes it on and
    /// returns whether anyone still listens.
    ///
    /// # Errors
    /// Fails when the system provides no thread.
    pub fn spawn<Answer: 'static>(
        name: &str,
        mut context: QueryContext,
        answer: fn(&mut QueryContext, Ask) -> Answer,
        tell: impl Fn(Answer) -> bool + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, incoming) = unbounded();
        let thread = start_thread(&format!("query-{name}"), move || {
            while let Some(asks) = drain_newest(&incoming) {
                super::terminal::panic_for_tests("query");
                for ask in asks {
                    if context.cancel.is_cancelled() || !tell(answer(&mut context, ask)) {
                        return;
                    }
                }
            }
        })?;
        Ok(Self { queue, thread })
    }

    /// Shuts the worker down after the current request, which also closes its
    /// connection to the database; the returned thread has finished then.
    pub(crate) fn shut_down(self) -> JoinHandle<()> {
        self.thread
    }

    /// Sends a request; a worker that is gone means that the program is ending.
    pub fn send_request(&self, ask: Ask) {
        let _ = self.queue.send(ask);
    }
}

/// Waits for requests and returns the newest of each kind, in the order in
/// which the kinds first arrived.
fn drain_newest<Ask: QueryRequest>(incoming: &Receiver<Ask>) -> Option<Vec<Ask>> {
    let mut asks = vec![incoming.recv().ok()?];
    while let Ok(ask) = incoming.try_recv() {
        match asks.iter_mut().find(|older| ask.supersedes(older)) {
            Some(older) => *older = ask,
            None => asks.push(ask),
        }
    }
    Some(asks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    enum Ask {
        Seek(u32),
        Load(u32),
    }

    impl QueryRequest for Ask {}

    #[derive(Debug, PartialEq, Eq)]
    struct Delete(u32);

    impl QueryRequest for Delete {
        fn supersedes(&self, older: &Self) -> bool {
            self == older
        }
    }

    #[test]
    fn what_changes_something_is_always_done_and_in_order() {
        let (queue, incoming) = unbounded();
        for number in [1, 2, 1, 3] {
            queue.send(Delete(number)).expect("open");
        }
        assert_eq!(drain_newest(&incoming), Some(vec![Delete(1), Delete(2), Delete(3)]));
    }

    #[test]
    fn only_the_newest_of_a_kind_is_answered() {
        let (queue, incoming) = unbounded();
        for ask in [Ask::Seek(1), Ask::Load(1), Ask::Seek(2), Ask::Seek(3)] {
            queue.send(ask).expect("open");
        }
        assert_eq!(drain_newest(&incoming), Some(vec![Ask::Seek(3), Ask::Load(1)]));
        drop(queue);
        assert_eq!(drain_newest(&incoming), None);
    }
}
