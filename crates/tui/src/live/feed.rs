//! From the threads that record to the one that gathers, without ever holding
//! up the former.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use super::snapshot::{PlanView, Snapshot, StorageState};
use super::view::View;
use cyclometer_lanes::Sample;
use cyclometer_record::Event;
use cyclometer_replay::Contract;
use cyclometer_system::threads::start_thread;

/// Events that may wait to be gathered; beyond, they are counted and left out.
const QUEUE: usize = 16_384;
/// Time between two snapshots.
const PACE: Duration = Duration::from_millis(50);

/// What is gathered.
pub enum Item {
    /// A session begins: all that was shown goes.
    Begin(PlanView),
    /// What will be recorded, now that lanes are open.
    Plan(PlanView),
    /// The recording has a number.
    Recording(i64),
    /// Something happened.
    Event(Box<Event>),
    /// A value of the invocation that a lane runs now.
    Sample {
        /// The lane's name; `None`: the one that runs.
        lane: Option<Arc<str>>,
        /// The value.
        sample: Sample,
    },
    /// Whether finished invocations reach the database.
    Storage(StorageState),
    /// It was asked to end.
    Finishing,
    /// It could not begin, or not go on.
    Failed(String),
    /// A remark.
    Note(String),
    /// The models whose bills are shown.
    Models(Arc<Vec<Contract>>),
}

/// The way in.
#[derive(Clone)]
pub struct Feed {
    queue: Sender<Item>,
    lost: Arc<Lost>,
}

/// What found the queue full.
#[derive(Debug, Default)]
pub struct Lost {
    /// Events.
    pub events: AtomicU64,
    /// Samples of running invocations.
    pub samples: AtomicU64,
}

/// The sampler's way in, for one lane.
pub type Tap = Box<dyn FnMut(Sample) + Send>;

/// The way out: the newest snapshot.
#[derive(Clone)]
pub struct LiveHandle {
    newest: Arc<Mutex<Arc<Snapshot>>>,
}

impl Feed {
    /// Passes on what must not be missed: it waits if it has to.
    pub fn tell(&self, item: Item) {
        // Nobody gathers any more: the program ends.
        let _ = self.queue.send(item);
    }

    /// Passes on an event. Those of single invocations are left out and counted
    /// when the queue is full: recording goes first.
    pub fn event(&self, event: Box<Event>) {
        match *event {
            Event::Finished { .. } | Event::Started { .. } | Event::WarmedUp { .. } => {
                if let Err(TrySendError::Full(_)) = self.queue.try_send(Item::Event(event)) {
                    self.lost.events.fetch_add(1, Ordering::Relaxed);
                }
            }
            Event::Lane { .. }
            | Event::Cell { .. }
            | Event::Preparing { .. }
            | Event::Prepared { .. }
            | Event::Looked { .. }
            | Event::Ended { .. } => self.tell(Item::Event(event)),
        }
    }

    /// What the sampler of a lane calls, or the one of all lanes.
    #[must_use]
    pub fn tap(&self, lane: Option<&str>) -> Tap {
        let (feed, lane): (Self, Option<Arc<str>>) = (self.clone(), lane.map(Into::into));
        Box::new(move |sample| {
            let item = Item::Sample { lane: lane.clone(), sample };
            if let Err(TrySendError::Full(_)) = feed.queue.try_send(item) {
                feed.lost.samples.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// Events that were left out so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.events.load(Ordering::Relaxed)
    }
}

impl LiveHandle {
    /// The newest snapshot. The lock is held for no longer than it takes to
    /// count one more user of it.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.newest.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Starts the thread that gathers. `changed` is called when there is a new
/// snapshot; it returns whether anyone still looks.
///
/// # Errors
/// When the system gives no thread.
pub fn start(changed: impl Fn() -> bool + Send + 'static) -> std::io::Result<(Feed, LiveHandle)> {
    let (queue, incoming) = bounded(QUEUE);
    let lost = Arc::new(Lost::default());
    let feed = Feed { queue, lost: Arc::clone(&lost) };
    let handle = LiveHandle { newest: Arc::default() };
    let newest = Arc::clone(&handle.newest);
    start_thread("live", move || {
        gather(&incoming, &lost, |snapshot| {
            *newest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
            changed()
        });
    })?;
    Ok((feed, handle))
}

/// Gathers until there is nobody left to tell, or to be told by.
fn gather(incoming: &Receiver<Item>, lost: &Lost, mut publish: impl FnMut(Snapshot) -> bool) {
    let mut view = View::default();
    let mut changed = false;
    let mut due = Instant::now();
    loop {
        let next = if changed {
            incoming.recv_deadline(due)
        } else {
            incoming.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        match next {
            Ok(item) => {
                view.take(item);
                changed = true;
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if changed && Instant::now() >= due {
            view.lost(lost.events.load(Ordering::Relaxed), lost.samples.load(Ordering::Relaxed));
            if !publish(view.snapshot()) {
                return;
            }
            changed = false;
            due = Instant::now() + PACE;
        }
    }
}
