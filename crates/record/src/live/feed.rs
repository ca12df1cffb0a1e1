//! Feed from the recording threads to the aggregator, which never delays the
//! former.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use parking_lot::Mutex;

use super::snapshot::{LiveSnapshot, PlanView, StorageState};
use super::snapshot_builder::SnapshotBuilder;
use cyclometer_lanes::Sample;
use cyclometer_replay::Contract;
use cyclometer_system::threads::start_thread;
use cyclometer_workload::Event;

/// Events that may wait in the queue; any beyond that are counted and left out.
const QUEUE_CAPACITY: usize = 16_384;
/// Time between two snapshots.
const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(50);

/// Input of the aggregator.
pub enum FeedItem {
    /// A session begins: everything shown before is cleared.
    Begin(PlanView),
    /// Plan of the recording, now that lanes are open.
    Plan(PlanView),
    /// Number of the recording in the database.
    Recording(i64),
    /// Event of the recording.
    Event(Box<Event>),
    /// Sample of the invocation that a lane runs now.
    Sample {
        /// Name of the lane; `None`: the one that runs.
        lane: Option<Arc<str>>,
        /// Value of the sample.
        sample: Sample,
    },
    /// Whether finished invocations reach the database.
    Storage(StorageState),
    /// The recording was asked to stop.
    Finishing,
    /// The recording could not begin, or not continue.
    Failed(String),
    /// Remark for the messages.
    Note(String),
    /// Price models whose bills are shown.
    Models(Arc<Vec<Contract>>),
}

/// Sending side of the aggregator's queue.
#[derive(Clone)]
pub struct Feed {
    queue: Sender<FeedItem>,
    lost: Arc<DropCounters>,
}

/// Counts of what found the queue full.
#[derive(Debug, Default)]
pub(crate) struct DropCounters {
    /// Events left out.
    pub events: AtomicU64,
    /// Samples left out, of running invocations.
    pub samples: AtomicU64,
}

/// Callback for the samples of one lane.
pub(crate) type SampleTap = Box<dyn FnMut(Sample) + Send>;

/// Reading side of the aggregator: the newest snapshot.
#[derive(Clone)]
pub struct LiveHandle {
    newest: Arc<Mutex<Arc<LiveSnapshot>>>,
}

impl Feed {
    /// Sends an item that must not be lost; blocks while the queue is full.
    pub fn send_blocking(&self, item: FeedItem) {
        // A closed queue means that the program is ending.
        let _ = self.queue.send(item);
    }

    /// Sends an event. Events of single invocations are left out and counted
    /// when the queue is full, since recording has priority.
    pub fn send_event(&self, event: Box<Event>) {
        match *event {
            Event::Finished { .. } | Event::Started { .. } | Event::WarmedUp { .. } => {
                if let Err(TrySendError::Full(_)) = self.queue.try_send(FeedItem::Event(event)) {
                    self.lost.events.fetch_add(1, Ordering::Relaxed);
                }
            }
            Event::Lane { .. }
            | Event::Cell { .. }
            | Event::Preparing { .. }
            | Event::Prepared { .. }
            | Event::PrecisionChecked { .. }
            | Event::Ended { .. } => self.send_blocking(FeedItem::Event(event)),
        }
    }

    /// Returns the callback for the sampler of a lane, or for the one of all lanes.
    #[must_use]
    pub fn sample_tap(&self, lane: Option<&str>) -> SampleTap {
        let (feed, lane): (Self, Option<Arc<str>>) = (self.clone(), lane.map(Into::into));
        Box::new(move |sample| {
            let item = FeedItem::Sample { lane: lane.clone(), sample };
            if let Err(TrySendError::Full(_)) = feed.queue.try_send(item) {
                feed.lost.samples.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// Returns the number of events left out so far.
    #[must_use]
    pub fn dropped_events(&self) -> u64 {
        self.lost.events.load(Ordering::Relaxed)
    }
}

impl LiveHandle {
    /// Returns the newest snapshot. The lock is held only while its reference
    /// count is raised.
    #[must_use]
    pub fn newest_snapshot(&self) -> Arc<LiveSnapshot> {
        Arc::clone(&self.newest.lock())
    }
}

/// Starts the aggregator thread. `changed` is called when there is a new
/// snapshot; it returns whether anyone still looks.
///
/// # Errors
/// Fails when the system provides no thread.
pub fn spawn_aggregator(
    changed: impl Fn() -> bool + Send + 'static,
) -> std::io::Result<(Feed, LiveHandle)> {
    let (queue, incoming) = bounded(QUEUE_CAPACITY);
    let lost = Arc::new(DropCounters::default());
    let feed = Feed { queue, lost: Arc::clone(&lost) };
    let handle = LiveHandle { newest: Arc::default() };
    let newest = Arc::clone(&handle.newest);
    start_thread("live", move || {
        run_aggregator(&incoming, &lost, |snapshot| {
            *newest.lock() = Arc::new(snapshot);
            changed()
        });
    })?;
    Ok((feed, handle))
}

/// Aggregates until all senders are gone, or until nobody reads the snapshots.
fn run_aggregator(
    incoming: &Receiver<FeedItem>,
    lost: &DropCounters,
    mut publish: impl FnMut(LiveSnapshot) -> bool,
) {
    let mut view = SnapshotBuilder::default();
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
                view.apply_item(item);
                changed = true;
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if changed && Instant::now() >= due {
            view.set_dropped(
                lost.events.load(Ordering::Relaxed),
                lost.samples.load(Ordering::Relaxed),
            );
            if !publish(view.build_snapshot()) {
                return;
            }
            changed = false;
            due = Instant::now() + SNAPSHOT_INTERVAL;
        }
    }
}
