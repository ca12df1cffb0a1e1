//! Trial runs of hardware counters: some hypervisors let a counter be opened and never run
//! it, or run it and never count.

use std::hint::black_box;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::event::PerfEvent;
use super::kernel::{CounterTarget, RawCount};
use super::refusal::PerfRefusal;
use super::{EventReader, Perf, open_in_mode, read_handles};
use crate::Source;

/// Longest time to wait until a counter counts.
const MAX_TRIAL_TIME: Duration = Duration::from_millis(10);

/// Results of trying the events of a kernel; each is tried once.
#[derive(Default)]
pub(super) struct Trials(Mutex<Vec<(PerfEvent, Result<(), PerfRefusal>)>>);

impl Trials {
    /// Checks that a hardware event that can be opened counts at all.
    ///
    /// # Errors
    /// [`PerfRefusal::NeverRuns`] or [`PerfRefusal::ReadsZero`].
    pub(crate) fn confirm_counting(
        &self,
        perf: &Perf,
        event: PerfEvent,
    ) -> Result<(), PerfRefusal> {
        if event.source() != Source::PerfHardware {
            return Ok(());
        }
        let mut known = self.0.lock();
        if let Some((_, verdict)) = known.iter().find(|(other, _)| *other == event) {
            return verdict.clone();
        }
        let verdict = try_out(perf, event);
        known.push((event, verdict.clone()));
        verdict
    }
}

/// Counts on this thread until the count is above 0, for [`MAX_TRIAL_TIME`] at most.
fn try_out(perf: &Perf, event: PerfEvent) -> Result<(), PerfRefusal> {
    let opened = open_in_mode(perf, event, CounterTarget::ThisThread, true)
        .or_else(|_| open_in_mode(perf, event, CounterTarget::ThisThread, false));
    // Where this thread may not be watched, nothing is known: the count of a run is checked
    // again when it is read.
    let Ok(mut opened) = opened else { return Ok(()) };
    let EventReader::Own(handles) = &mut opened.reader else { return Ok(()) };
    let until = Instant::now() + MAX_TRIAL_TIME;
    let mut last = RawCount::default();
    let mut work = BusyWork::new();
    while Instant::now() < until {
        work.run_round(event);
        last = read_handles(handles, opened.side_by_side).unwrap_or(last);
        if last.count > 0 {
            return Ok(());
        }
    }
    Err(if last.running == 0 { PerfRefusal::NeverRuns } else { PerfRefusal::ReadsZero })
}

/// Busy work that makes all of the events happen.
struct BusyWork {
    state: u64,
    memory: Vec<u8>,
}

impl BusyWork {
    /// Size of the memory, larger than the caches of most cores.
    const BYTES: usize = 16 << 20;

    fn new() -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15, memory: Vec::new() }
    }

    /// Runs unpredictable branches, and accesses memory in a random order.
    fn run_round(&mut self, event: PerfEvent) {
        if event == PerfEvent::CacheMisses && self.memory.is_empty() {
            self.memory = vec![0; Self::BYTES];
        }
        let mut odd = 0_u32;
        for _ in 0..2_000 {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            if black_box(self.state) & 1 == 1 {
                odd = black_box(odd.wrapping_add(1));
            }
            if !self.memory.is_empty() {
                let place = usize::try_from(self.state).map_or(0, |it| it % self.memory.len());
                self.memory[place] = self.memory[place].wrapping_add(1);
            }
        }
        black_box(odd);
    }
}
