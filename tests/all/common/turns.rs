//! Who may run now. Tests run beside each other, and some look at the whole
//! machine: they measure what a neighbour would take from them, depend on how
//! soon something happens, or count what is left when nobody else has anything.
//! Such a test begins with `let _alone = turns::run_alone();`, and waits there
//! until no other test has a turn.
//!
//! Every other test has a turn for as long as it has a [`Place`](super::Place),
//! without a word of its own; one that keeps the machine busy without a place
//! asks for it with [`run_beside_others`].
//!
//! Who waits to be alone keeps nobody from beginning: a test makes places in
//! threads of its own, too, and would wait for itself. So those that want to be
//! alone run in a gap, at the latest when all others are done.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

/// The turns of this program.
static TURNS: Turns = Turns::new();

/// Begins the turn of a test that nothing may run beside.
///
/// # Panics
/// In a thread that has a turn already: it would wait for itself.
pub fn run_alone() -> Turn<'static> {
    TURNS.begin_alone()
}

/// Begins a turn that others may have at the same time.
pub fn run_beside_others() -> Turn<'static> {
    TURNS.begin_beside_others()
}

/// A turn, which ends when it is dropped.
#[must_use = "it ends when it is dropped"]
pub struct Turn<'a> {
    turns: &'a Turns,
    /// Where it began; it may end in another thread.
    thread: ThreadId,
    alone: bool,
}

struct Turns {
    held: Mutex<Held>,
    ended: Condvar,
}

struct Held {
    /// The threads of all turns that others may have, too, once for each turn.
    beside: Vec<ThreadId>,
    alone: Option<ThreadId>,
}

impl Turns {
    const fn new() -> Self {
        let held = Held { beside: Vec::new(), alone: None };
        Self { held: Mutex::new(held), ended: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // A test that failed has ended its turn all the same.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_alone(&self) -> Turn<'_> {
        let thread = std::thread::current().id();
        let mut held = self.lock();
        let is_own = held.alone == Some(thread) || held.beside.contains(&thread);
        if is_own {
            drop(held);
            panic!("ask to be alone once, before the first place");
        }
        while held.alone.is_some() || !held.beside.is_empty() {
            held = self.ended.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        held.alone = Some(thread);
        Turn { turns: self, thread, alone: true }
    }

    fn begin_beside_others(&self) -> Turn<'_> {
        let thread = std::thread::current().id();
        let mut held = self.lock();
        // A test that is alone has places, too.
        while held.alone.is_some_and(|alone| alone != thread) {
            held = self.ended.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        held.beside.push(thread);
        Turn { turns: self, thread, alone: false }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut held = self.turns.lock();
        if self.alone {
            held.alone = None;
        } else if let Some(at) = held.beside.iter().position(|thread| *thread == self.thread) {
            held.beside.swap_remove(at);
        }
        drop(held);
        self.turns.ended.notify_all();
    }
}

mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::Turns;

    /// More than there are threads.
    const ALONE: usize = 1_000;

    #[test]
    fn nobody_runs_beside_one_that_is_alone() {
        let (turns, running) = (Turns::new(), AtomicUsize::new(0));
        let work = |alone: bool| {
            let _turn = if alone { turns.begin_alone() } else { turns.begin_beside_others() };
            let weight = if alone { ALONE } else { 1 };
            let before = running.fetch_add(weight, Ordering::SeqCst);
            assert!(before < if alone { 1 } else { ALONE }, "{before} beside, alone: {alone}");
            std::thread::yield_now();
            running.fetch_sub(weight, Ordering::SeqCst);
        };
        std::thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || (0..200).for_each(|round| work((round + number) % 3 == 0)));
            }
        });
    }

    #[test]
    fn one_that_is_alone_has_places_of_its_own() {
        let turns = Turns::new();
        let _alone = turns.begin_alone();
        let _place = turns.begin_beside_others();
        let _another = turns.begin_beside_others();
    }

    /// Threads that a test starts may wait for nobody whom that test keeps waiting.
    #[test]
    fn one_that_waits_to_be_alone_keeps_nobody_from_beginning() {
        static TURNS: Turns = Turns::new();
        let first = TURNS.begin_beside_others();
        let waits = std::thread::spawn(|| drop(TURNS.begin_alone()));
        // By then it waits; if it does not yet, nothing is tried.
        std::thread::sleep(Duration::from_millis(50));
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            drop(TURNS.begin_beside_others());
            sender.send(()).expect("somebody listens");
        });
        receiver.recv_timeout(Duration::from_mins(1)).expect("it begins");
        assert!(!waits.is_finished(), "it is not alone yet");
        drop(first);
        waits.join().expect("it was alone");
    }

    #[test]
    #[should_panic(expected = "before the first place")]
    fn one_with_a_place_cannot_ask_to_be_alone() {
        let turns = Turns::new();
        let _place = turns.begin_beside_others();
        let _alone = turns.begin_alone();
    }
}
