//! What the engine says happened when: its own events, told as they come.
//!
//! An event carries the engine's wall clock, so the distance to the monotonic
//! clock is taken before and after each invocation. If it changed meanwhile
//! (somebody set the clock), the engine's times are not used.
//!
//! How late events are: the engine logs `start` after its runtime, its shim
//! and its own bookkeeping are done with it, while the function may run for
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

/// Longest wait for an event that belongs to what was already answered.
const LATE: Duration = Duration::from_secs(1);
/// Most that the two clocks may drift apart during an invocation.
const DRIFT: u64 = 1_000_000;
/// Most events that wait to be looked at; an invocation has about ten.
const MOST_WAITING: usize = 10_000;

/// The distance from the monotonic clock to the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offset(i128);

impl Offset {
    /// As it is now.
    pub fn now() -> Self {
        let before = now();
        let wall = clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, |time| {
            i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec())
        });
        let after = now();
        Self(wall - i128::from(u64::midpoint(before.0, after.0)))
    }

    /// So many nanoseconds.
    #[cfg(test)]
    pub const fn test(nanos: i128) -> Self {
        Self(nanos)
    }

    /// A moment of the wall clock, on the monotonic clock.
    pub fn monotonic(self, wall: Nanos) -> Option<Nanos> {
        u64::try_from(i128::from(wall.0) - self.0).ok().map(Nanos)
    }

    /// Whether the two clocks went alike in between.
    pub fn agrees_with(self, other: Self) -> bool {
        (self.0 - other.0).unsigned_abs() <= u128::from(DRIFT)
    }
}

/// What happened to a container or to a command in it.
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
    /// The engine's word, which for commands is followed by the command.
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

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    container: String,
    what: What,
    /// On the engine's wall clock.
    at: Nanos,
}

impl Seen {
    fn new(event: ContainerEvent) -> Option<Self> {
        let ContainerEvent { container, action, at } = event;
        Some(Self { container, what: What::of(&action)?, at })
    }
}

/// When things happened, on the engine's wall clock.
pub(super) type Happened = HashMap<What, Nanos>;

/// The engine's events about one owner's containers.
pub(super) struct Timeline {
    events: Receiver<Seen>,
    task: JoinHandle<()>,
}

impl Timeline {
    /// Subscribes. Events before now do not come.
    pub fn follow(engine: &Engine, owner: &ProcessIdentity) -> Self {
        let filters = format!("{{\"type\":[\"container\"],\"label\":[\"{OWNER_LABEL}={owner}\"]}}");
        let wall = clock_gettime(ClockId::CLOCK_REALTIME);
        let since = wall.map_or(0, |time| time.tv_sec());
        // What happens until the engine has got the request is told as well.
        let path = format!("/events?since={since}&filters={}", encoded(&filters));
        let (sender, events) = channel(MOST_WAITING);
        let transport = engine.transport.clone();
        let task = engine.spawn(async move {
            let Ok(mut lines) = transport.follow(&path).await else { return };
            let take = |line: &[u8]| {
                if let Some(seen) = parse_event(line).and_then(Seen::new) {
                    // One that has no room is missed, as one that is late.
                    let _ = sender.try_send(seen);
                }
            };
            while !sender.is_closed() && lines.next(take).await {}
        });
        Self { events, task }
    }

    /// Whether nothing will come any more: the engine was restarted.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Forgets what has come until now.
    pub fn clear(&mut self) {
        while self.events.try_recv().is_ok() {}
    }

    /// What happened to a container, up to and including `last`; less if that
    /// does not come in time.
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
