//! Racing lanes: each runs in a thread of its own, and their events are
//! forwarded to the thread that owns the sink.

// As in the store's writer, what is queued goes with the receiver.
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, ScopedJoinHandle, scope};

use super::recorder::Tally;
use super::track::Track;
use cyclometer_workload::Control;
use cyclometer_workload::{Event, Sink, SinkError};

/// Most events that wait for the sink; beyond that, the lanes wait.
const QUEUE: usize = 1_024;

enum Message {
    Event(Event),
    /// Asks for a reply once all events before it are safe.
    Settle(SyncSender<()>),
}

/// Sink of a lane's thread, which forwards to the sink of the race.
struct Relay(SyncSender<Message>);

fn over<E>(_: E) -> SinkError {
    SinkError("nobody takes events any more".to_owned())
}

impl Sink for Relay {
    fn send(&mut self, event: Event) -> Result<(), SinkError> {
        self.0.send(Message::Event(event)).map_err(over)
    }

    fn settle(&mut self) -> Result<(), SinkError> {
        let (done, wait) = sync_channel(1);
        self.0.send(Message::Settle(done)).map_err(over)?;
        wait.recv().map_err(over)
    }
}

/// Stops the other lanes when the thread of one panics: whoever waits for them
/// would wait for ever.
struct StopOnPanic<'a>(&'a Control);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

type Ended = (Tally, Result<(), SinkError>);

/// Runs all `tracks` at once, to their end. An error of the sink ends them all.
pub(super) fn run(tracks: Vec<Track<'_>>, control: &Control, sink: &mut dyn Sink) -> Ended {
    let (queue, incoming) = sync_channel(QUEUE);
    scope(|scope| {
        let mut threads = Vec::new();
        let mut result = Ok(());
        for mut track in tracks {
            let mut relay = Relay(queue.clone());
            let name = track.lanes.first().map_or("lane", |open| &open.name).to_owned();
            let thread = Builder::new().name(name).spawn_scoped(scope, move || {
                let _guard = StopOnPanic(control);
                let result = track.run(&mut relay);
                (track.tally, result)
            });
            match thread {
                Ok(thread) => threads.push(thread),
                Err(error) => result = Err(SinkError(format!("no thread for a lane: {error}"))),
            }
        }
        drop(queue);
        if result.is_err() {
            control.stop();
        }
        let passed = pass_on(incoming, sink);
        if passed.is_err() {
            control.stop();
        }
        let (tally, ended) = join(threads);
        (tally, result.and(passed).and(ended))
    })
}

/// Forwards events until all lanes have ended, or the sink accepts no more.
/// Owns the queue: when it is dropped, lanes that wait for it wake up.
fn pass_on(incoming: Receiver<Message>, sink: &mut dyn Sink) -> Result<(), SinkError> {
    for message in incoming {
        match message {
            Message::Event(event) => sink.send(event)?,
            Message::Settle(done) => {
                sink.settle()?;
                // It is fine if nobody waits any more.
                let _ = done.send(());
            }
        }
    }
    Ok(())
}

fn join(threads: Vec<ScopedJoinHandle<'_, Ended>>) -> Ended {
    let (mut tally, mut result) = (Tally::default(), Ok(()));
    for thread in threads {
        match thread.join() {
            Ok((counted, ended)) => {
                tally.add(counted);
                result = result.and(ended);
            }
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    (tally, result)
}
