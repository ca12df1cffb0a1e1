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

use super::answers::{ContainerEvent, parse_event};
use super::engine::Engine;
use super::spec::OWNER_LABEL;
use super::transport::encoded;
use crate::now;
use cyclometer_core::units::Nanos;
use cyclometer_system::procfs::ProcessIdentity;

/// Longest wait for an event about a request that was already answered.
const LATE: Duration = Duration::from_secs(1);
/// Most that the two clocks may drift apart during an invocation, in nanoseconds.
const DRIFT: u64 = 1_000_000;
/// Most events that are buffered; an invocation has about ten.
const MOST_WAITING: usize = 10_000;

/// Offset from the monotonic clock to the wall clock, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offset(i128);

impl Offset {
    /// Measures the offset now.
    pub fn now() -> Self {
        let before = now();
        let wall = clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, |time| {
            i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec())
        });
        let after = now();
        Self(wall - i128::from(u64::midpoint(before.0, after.0)))
    }

    /// Creates an offset of `nanos` nanoseconds.
    #[cfg(test)]
    pub const fn test(nanos: i128) -> Self {
        Self(nanos)
    }

    /// Converts a moment of the wall clock to the monotonic clock.
    pub fn monotonic(self, wall: Nanos) -> Option<Nanos> {
        u64::try_from(i128::from(wall.0) - self.0).ok().map(Nanos)
    }

    /// Returns whether the two clocks advanced alike between the two measurements.
    pub fn agrees_with(self, other: Self) -> bool {
        (self.0 - other.0).unsigned_abs() <= u128::from(DRIFT)
    }
}

/// Kind of an event of a container or of a command in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum What {
    Create,
    Start,
    Die,
    ExecCreate,
    ExecStart,
    ExecDie,
}

impl What {
    /// Parses the engine's word, which for commands is followed by the command.
    fn of(action: &str) -> Option<Self> {
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
struct Seen {
    container: String,
    what: What,
    /// Time on the engine's wall clock.
    at: Nanos,
}

impl Seen {
    fn new(event: ContainerEvent) -> Option<Self> {
        let ContainerEvent { container, action, at } = event;
        Some(Self { container, what: What::of(&action)?, at })
    }
}

/// Times of events by their kind, on the engine's wall clock.
pub(super) type Happened = HashMap<What, Nanos>;

/// Subscription to the engine's events about one owner's containers.
pub(super) struct Timeline {
    events: Receiver<Seen>,
    task: JoinHandle<()>,
}

impl Timeline {
    /// Subscribes to the events from now on.
    pub fn follow(engine: &Engine, owner: &ProcessIdentity) -> Self {
        let filters = format!("{{\"type\":[\"container\"],\"label\":[\"{OWNER_LABEL}={owner}\"]}}");
        let wall = clock_gettime(ClockId::CLOCK_REALTIME);
        let since = wall.map_or(0, |time| time.tv_sec());
        // Events until the engine has got the request are included.
        let path = format!("/events?since={since}&filters={}", encoded(&filters));
        let (sender, events) = channel(MOST_WAITING);
        let transport = engine.transport.clone();
        let task = engine.spawn(async move {
            let Ok(mut lines) = transport.follow(&path).await else { return };
            let take = |line: &[u8]| {
                if let Some(seen) = parse_event(line).and_then(Seen::new) {
                    // An event without room in the buffer is lost, like one that is late.
                    let _ = sender.try_send(seen);
                }
            };
            while !sender.is_closed() && lines.next(take).await {}
        });
        Self { events, task }
    }

    /// Returns whether no more events will come: the engine was restarted.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Discards the events that have arrived until now.
    pub fn clear(&mut self) {
        while self.events.try_recv().is_ok() {}
    }

    /// Collects the times of a container's events, up to and including `last`; fewer
    /// if that does not come in time.
    pub async fn collect(&mut self, container: &str, last: What) -> Happened {
        let mut happened = Happened::new();
        let deadline = Instant::now() + LATE;
        while !happened.contains_key(&last) {
            let Ok(Some(seen)) = timeout_at(deadline, self.events.recv()).await else { break };
            if seen.container == container {
                happened.insert(seen.what, seen.at);
            }
        }
        happened
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_engine_are_understood() {
        assert_eq!(What::of("die"), Some(What::Die));
        assert_eq!(What::of("exec_create: /starter run 5 /f start: x"), Some(What::ExecCreate));
        assert_eq!(What::of("exec_start: die"), Some(What::ExecStart));
        assert_eq!(What::of("attach"), None);
    }

    #[test]
    fn events_are_read() {
        let line = |action: &str, time: &str| {
            format!(
                "{{\"Type\":\"container\",\"Action\":\"{action}\",\"Actor\":{{\"ID\":\"0\",\
                 \"Attributes\":{{\"image\":\"x\",\"name\":\"c1\"}}}},\"timeNano\":{time}}}\n"
            )
        };
        let seen = |line: String| parse_event(line.as_bytes()).and_then(Seen::new);
        let start = Seen { container: "c1".to_owned(), what: What::Start, at: Nanos(5) };
        assert_eq!(seen(line("start", "5")), Some(start));
        assert_eq!(seen(line("attach", "5")), None);
        for time in ["-5", "null", "1e3", "99999999999999999999", "\"5\""] {
            assert_eq!(seen(line("start", time)), None, "{time}");
        }
    }

    #[test]
    fn wall_clock_moments_are_found_on_the_monotonic_clock() {
        let offset = Offset(1_000);
        assert_eq!(offset.monotonic(Nanos(1_500)), Some(Nanos(500)));
        assert_eq!(offset.monotonic(Nanos(999)), None, "before the machine was started");
        assert!(offset.agrees_with(Offset(1_000_900)) && !offset.agrees_with(Offset(1_001_100)));
        let (before, offset) = (now(), Offset::now());
        let wall = clock_gettime(ClockId::CLOCK_REALTIME).expect("a clock");
        let wall =
            u64::try_from(wall.tv_sec() * 1_000_000_000 + wall.tv_nsec()).expect("after 1970");
        let found = offset.monotonic(Nanos(wall)).expect("after the start");
        let after = now();
        // Reading both clocks takes well under a millisecond of CPU time, but
        // the scheduler may step in between.
        assert!(found.0 + 50_000_000 > before.0 && found.0 < after.0 + 50_000_000);
    }
}
