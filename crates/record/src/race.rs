//! Racing lanes: each runs in a thread of its own, and their events are
//! forwarded to the thread that owns the sink.

// As in the store's writer, what is queued goes with the receiver.
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, ScopedJoinHandle, scope};

use super::recorder::InvocationTally;
use super::scheduler::Scheduler;
use cyclometer_workload::Control;
use cyclometer_workload::{Event, Sink, SinkError};

/// Most events that wait for the sink; beyond that, the lanes wait.
const QUEUE: usize = 1_024;

enum RelayMessage {
    Event(Event),
    /// Asks for a reply once all events before it are safe.
    Settle(SyncSender<()>),
}

/// Sink of a lane's thread, which forwards to the sink of the race.
struct RelaySink(SyncSender<RelayMessage>);

fn closed_error<E>(_: E) -> SinkError {
    SinkError("nobody takes events any more".to_owned())
}

impl Sink for RelaySink {
    fn send_event(&mut self, event: Event) -> Result<(), SinkError> {
        self.0.send(RelayMessage::Event(event)).map_err(closed_error)
    }

    fn flush_events(&mut self) -> Result<(), SinkError> {
        let (done, wait) = sync_channel(1);
        self.0.send(RelayMessage::Settle(done)).map_err(closed_error)?;
        wait.recv().map_err(closed_error)
    }
}

/// Stops the other lanes when the thread of one panics: whoever waits for them
/// would wait for ever.
struct StopOnPanic<'a>(&'a Control);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop_now();
        }
    }
}

type RaceOutcome = (InvocationTally, Result<(), SinkError>);

/// Runs all `tracks` at once, to their end. An error of the sink ends them all.
pub(super) fn run_lanes(
    tracks: Vec<Scheduler<'_>>,
    control: &Control,
    sink: &mut dyn Sink,
) -> RaceOutcome {
    let (queue, incoming) = sync_channel(QUEUE);
    scope(|scope| {
        let mut threads = Vec::new();
        let mut result = Ok(());
        for mut track in tracks {
            let mut relay = RelaySink(queue.clone());
            let name = track.lanes.first().map_or("lane", |open| &open.name).to_owned();
            let thread = Builder::new().name(name).spawn_scoped(scope, move || {
                let _guard = StopOnPanic(control);
                let result = track.run_all_rounds(&mut relay);
                (track.tally, result)
            });
            match thread {
                Ok(thread) => threads.push(thread),
                Err(error) => result = Err(SinkError(format!("no thread for a lane: {error}"))),
            }
        }
        drop(queue);
        if result.is_err() {
            control.stop_now();
        }
        let passed = forward_events(incoming, sink);
        if passed.is_err() {
            control.stop_now();
        }
        let (tally, ended) = join_threads(threads);
        (tally, result.and(passed).and(ended))
    })
}

/// Forwards events until all lanes have ended, or the sink accepts no more.
/// Owns the queue: when it is dropped, lanes that wait for it wake up.
fn forward_events(incoming: Receiver<RelayMessage>, sink: &mut dyn Sink) -> Result<(), SinkError> {
    for message in incoming {
        match message {
            RelayMessage::Event(event) => sink.send_event(event)?,
            RelayMessage::Settle(done) => {
                sink.flush_events()?;
                // It is fine if nobody waits any more.
                let _ = done.send(());
            }
        }
    }
    Ok(())
}

fn join_threads(threads: Vec<ScopedJoinHandle<'_, RaceOutcome>>) -> RaceOutcome {
    let (mut tally, mut result) = (InvocationTally::default(), Ok(()));
    for thread in threads {
        match thread.join() {
            Ok((counted, ended)) => {
                tally.add_counts(counted);
                result = result.and(ended);
            }
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    (tally, result)
}
