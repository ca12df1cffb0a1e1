//! Desks: threads that read the database and work things out, one for each
//! screen that needs one, so that a slow answer holds up no other.
//!
//! A desk has one question at a time; of those that came meanwhile only the
//! newest of a kind is answered, since the person has moved on.

use std::mem::discriminant;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::model::Settings;
use cyclometer_lanes::Cancel;
use cyclometer_store::{Store, StoreError};
use cyclometer_system::threads::start_thread;

/// What a desk can be asked.
pub trait Question: Send + Sized + 'static {
    /// Whether an older question that still waits needs no answer now that
    /// this one has come. What changes something is always done.
    fn replaces(&self, older: &Self) -> bool {
        discriminant(self) == discriminant(older)
    }
}

/// Questions to one screen's desk.
pub struct DeskHandle<Ask> {
    queue: Sender<Ask>,
    thread: JoinHandle<()>,
}

/// What a desk works with.
pub struct Desk {
    /// What does not change while the program runs.
    pub settings: Arc<Settings>,
    /// The program ends: long work may stop.
    pub cancel: Cancel,
    store: Option<Store>,
}

impl Desk {
    /// A desk of its own, for tests.
    #[must_use]
    pub const fn new(settings: Arc<Settings>, cancel: Cancel) -> Self {
        Self { settings, cancel, store: None }
    }

    /// The database, to be read; opened at the first use, and anew after an error.
    ///
    /// # Errors
    /// When it cannot be read now.
    pub fn store(&mut self) -> Result<&Store, StoreError> {
        if self.store.as_ref().is_none_or(Store::is_outdated) {
            self.store = Some(Store::open_reading(&self.settings.database)?);
        }
        self.store.as_ref().ok_or_else(|| StoreError::NotFound("no database".to_owned()))
    }

    /// Forgets the connection: the next use opens the database again.
    pub fn reopen(&mut self) {
        self.store = None;
    }

    /// The database, to be changed: opened for this once.
    ///
    /// # Errors
    /// When it cannot be written now.
    pub fn writable(&self) -> Result<Store, StoreError> {
        Store::open(&self.settings.database)
    }
}

impl<Ask: Question> DeskHandle<Ask> {
    /// Starts the thread; `answer` works an answer out, `tell` passes it on and
    /// says whether anyone still listens.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start<Answer: 'static>(
        name: &str,
        mut desk: Desk,
        answer: fn(&mut Desk, Ask) -> Answer,
        tell: impl Fn(Answer) -> bool + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, incoming) = unbounded();
        let thread = start_thread(&format!("desk-{name}"), move || {
            while let Some(asks) = next(&incoming) {
                super::terminal::panic_for_tests("desk");
                for ask in asks {
                    if desk.cancel.is_cancelled() || !tell(answer(&mut desk, ask)) {
                        return;
                    }
                }
            }
        })?;
        Ok(Self { queue, thread })
    }

    /// Ends the desk after the question at hand, and with it its connection to
    /// the database; what it returns is finished then.
    pub fn end(self) -> JoinHandle<()> {
        self.thread
    }

    /// Asks; a desk that is gone is the end of the program.
    pub fn ask(&self, ask: Ask) {
        let _ = self.queue.send(ask);
    }
}

/// What waits: the newest of each kind, in the order of their first coming.
fn next<Ask: Question>(incoming: &Receiver<Ask>) -> Option<Vec<Ask>> {
    let mut asks = vec![incoming.recv().ok()?];
    while let Ok(ask) = incoming.try_recv() {
        match asks.iter_mut().find(|older| ask.replaces(older)) {
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

    impl Question for Ask {}

    #[derive(Debug, PartialEq, Eq)]
    struct Delete(u32);

    impl Question for Delete {
        fn replaces(&self, older: &Self) -> bool {
            self == older
        }
    }

    #[test]
    fn what_changes_something_is_always_done_and_in_order() {
        let (queue, incoming) = unbounded();
        for number in [1, 2, 1, 3] {
            queue.send(Delete(number)).expect("open");
        }
        assert_eq!(next(&incoming), Some(vec![Delete(1), Delete(2), Delete(3)]));
    }

    #[test]
    fn only_the_newest_of_a_kind_is_answered() {
        let (queue, incoming) = unbounded();
        for ask in [Ask::Seek(1), Ask::Load(1), Ask::Seek(2), Ask::Seek(3)] {
            queue.send(ask).expect("open");
        }
        assert_eq!(next(&incoming), Some(vec![Ask::Seek(3), Ask::Load(1)]));
        drop(queue);
        assert_eq!(next(&incoming), None);
    }
}
