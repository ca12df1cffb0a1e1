//! Events of the engine, received as they happen: what happened to a container, and when.
//!
//! An event carries the engine's wall clock, so the offset from the monotonic clock
//! is measured before and after each invocation. If it changed meanwhile (the clock
//! was set), the engine's times are not used.
//!
//! Events are late: the engine logs `start` after its runtime, its shim and its own
//! bookkeeping are done with it, when the function may have been running for
//! milliseconds already; and `die` after it has cleaned up.

use std::collections::HashMap;

use nix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, timeout_at};

use super::container_spec::OWNER_LABEL;
use super::engine::Engine;
use super::responses::{ContainerEvent, parse_event};
use super::transport::percent_encode;
use crate::monotonic_now;
use cyclometer_core::units::Nanos;
use cyclometer_system::procfs::ProcessIdentity;

/// Longest wait for an event about a request that was already answered.
const EVENT_TIMEOUT: Duration = Duration::from_secs(1);
/// Most that the two clocks may drift apart during an invocation, in nanoseconds.
const MOST_DRIFT: u64 = 1_000_000;
/// Most events that are buffered; an invocation has about ten.
const MOST_WAITING: usize = 10_000;

/// Offset from the monotonic clock to the wall clock, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClockOffset(i128);

impl ClockOffset {
    /// Measures the offset now.
    pub fn measure() -> Self {
        let before = monotonic_now();
        let wall = clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, |time| {
            i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec())
        });
        let after = monotonic_now();
        Self(wall - i128::from(u64::midpoint(before.0, after.0)))
    }

    /// Creates an offset of `nanos` nanoseconds.
    #[cfg(test)]
    pub const fn from_nanos(nanos: i128) -> Self {
        Self(nanos)
    }

    /// Converts a moment of the wall clock to the monotonic clock.
    pub(crate) fn to_monotonic(self, wall: Nanos) -> Option<Nanos> {
        u64::try_from(i128::from(wall.0) - self.0).ok().map(Nanos)
    }

    /// Returns whether the two clocks advanced alike between the two measurements.
    pub(crate) fn agrees_with(self, other: Self) -> bool {
        (self.0 - other.0).unsigned_abs() <= u128::from(MOST_DRIFT)
    }
}

/// Kind of an event of a container or of a command in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum EventKind {
    Create,
    Start,
    Die,
    ExecCreate,
    ExecStart,
    ExecDie,
}

impl EventKind {
    /// Parses the engine's word, which for commands is followed by the command.
    fn from_action(action: &str) -> Option<Self> {
        let word = action.split_once(':').map_or(action, |(word, _)| word);
        Some(match word {
            "create" => Self::Create,
            "start" => Self::Start,
            "die" => Self::Die,
            "exec_create" => Self::ExecCreate,
            "exec_start" => Self::ExecStart,
            "exec_die" => Self::ExecDie,
            _ => return None,
        })
    }
}

/// An event of a known kind.
#[derive(Debug, Clone, PartialEq, Eq)]
struct KnownEvent {
    container: String,
    kind: EventKind,
    /// Time on the engine's wall clock.
    at: Nanos,
}

impl KnownEvent {
    fn from_container_event(event: ContainerEvent) -> Option<Self> {
        let ContainerEvent { container, action, at } = event;
        Some(Self { container, kind: EventKind::from_action(&action)?, at })
    }
}

/// Times of events by their kind, on the engine's wall clock.
pub(super) type EventTimes = HashMap<EventKind, Nanos>;

/// Subscription to the engine's events about one owner's containers.
pub(super) struct EventSubscription {
    events: Receiver<KnownEvent>,
    task: JoinHandle<()>,
}

impl EventSubscription {
    /// Subscribes to the events from now on.
    pub(crate) fn subscribe(engine: &Engine, owner: &ProcessIdentity) -> Self {
        let filters = format!("{{\"type\":[\"container\"],\"label\":[\"{OWNER_LABEL}={owner}\"]}}");
        let wall = clock_gettime(ClockId::CLOCK_REALTIME);
        let since = wall.map_or(0, |time| time.tv_sec());
        // Events until the engine has got the request are included.
        let path = format!("/events?since={since}&filters={}", percent_encode(&filters));
        let (sender, events) = channel(MOST_WAITING);
        let transport = engine.transport.clone();
        let task = engine.spawn(async move {
            let Ok(mut lines) = transport.stream_lines(&path).await else { return };
            let take = |line: &[u8]| {
                if let Some(seen) = parse_event(line).and_then(KnownEvent::from_container_event) {
                    // An event without room in the buffer is lost, like one that is late.
                    let _ = sender.try_send(seen);
                }
            };
            while !sender.is_closed() && lines.pass_next_lines(take).await {}
        });
        Self { events, task }
    }

    /// Returns whether no more events will come: the engine was restarted.
    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Discards the events that have arrived until now.
    pub(crate) fn discard_pending(&mut self) {
        while self.events.try_recv().is_ok() {}
    }

    /// Collects the times of a container's events, up to and including `last`; fewer
    /// if that does not come in time.
    pub(crate) async fn collect_until(&mut self, container: &str, last: EventKind) -> EventTimes {
        let mut happened = EventTimes::new();
        let deadline = Instant::now() + EVENT_TIMEOUT;
        while !happened.contains_key(&last) {
            let Ok(Some(seen)) = timeout_at(deadline, self.events.recv()).await else { break };
            if seen.container == container {
                happened.insert(seen.kind, seen.at);
            }
        }
        happened
    }
}

impl Drop for EventSubscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_engine_are_understood() {
        assert_eq!(EventKind::from_action("die"), Some(EventKind::Die));
        assert_eq!(
            EventKind::from_action("exec_create: /starter run 5 /f start: x"),
            Some(EventKind::ExecCreate)
        );
        assert_eq!(EventKind::from_action("exec_start: die"), Some(EventKind::ExecStart));
        assert_eq!(EventKind::from_action("attach"), None);
    }

    #[test]
    fn events_are_read() {
        let line = |action: &str, time: &str| {
            format!(
                "{{\"Type\":\"container\",\"Action\":\"{action}\",\"Actor\":{{\"ID\":\"0\",\
                 \"Attributes\":{{\"image\":\"x\",\"name\":\"c1\"}}}},\"timeNano\":{time}}}\n"
            )
        };
        let seen =
            |line: String| parse_event(line.as_bytes()).and_then(KnownEvent::from_container_event);
        let start = KnownEvent { container: "c1".to_owned(), kind: EventKind::Start, at: Nanos(5) };
        assert_eq!(seen(line("start", "5")), Some(start));
        assert_eq!(seen(line("attach", "5")), None);
        for time in ["-5", "null", "1e3", "99999999999999999999", "\"5\""] {
            assert_eq!(seen(line("start", time)), None, "{time}");
        }
    }

    #[test]
    fn wall_clock_moments_are_found_on_the_monotonic_clock() {
        let offset = ClockOffset(1_000);
        assert_eq!(offset.to_monotonic(Nanos(1_500)), Some(Nanos(500)));
        assert_eq!(offset.to_monotonic(Nanos(999)), None, "before the machine was started");
        assert!(
            offset.agrees_with(ClockOffset(1_000_900))
                && !offset.agrees_with(ClockOffset(1_001_100))
        );
        let (before, offset) = (monotonic_now(), ClockOffset::measure());
        let wall = clock_gettime(ClockId::CLOCK_REALTIME).expect("a clock");
        let wall =
            u64::try_from(wall.tv_sec() * 1_000_000_000 + wall.tv_nsec()).expect("after 1970");
        let found = offset.to_monotonic(Nanos(wall)).expect("after the start");
        let after = monotonic_now();
        // Reading both clocks takes well under a millisecond of CPU time, but
        // the scheduler may step in between.
        assert!(found.0 + 50_000_000 > before.0 && found.0 < after.0 + 50_000_000);
    }
}
