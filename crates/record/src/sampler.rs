//! The sampler: a thread that reads the running invocation at a fixed interval.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use cyclometer_core::units::Nanos;
use cyclometer_lanes::{Probe, ProbeSampler, Sample, monotonic_now};
use cyclometer_system::threads::start_thread;
use cyclometer_workload::SamplerReport;

/// Most values kept of one invocation; more are counted and dropped.
const MAX_SAMPLES: usize = 400_000;

/// Callback for each value as it is read, on the sampler's thread.
pub type SamplerTap = Box<dyn FnMut(Sample) + Send>;

/// Recipe for samplers: one for all lanes, or one for each lane that races,
/// since a sampler watches one invocation at a time.
pub struct Sampling<'a> {
    make: Box<dyn FnMut(Option<usize>) -> std::io::Result<Sampler> + 'a>,
    /// Intervals of the lanes, by their index, where they are not all the same.
    each: Option<Vec<Option<Nanos>>>,
}

impl<'a> Sampling<'a> {
    /// Creates samplers without a tap, with the same interval for all lanes.
    #[must_use]
    pub(crate) fn at_interval(interval: Nanos) -> Self {
        Self::from_factory(move |_| Sampler::start(interval))
    }

    /// Creates samplers by calling `make` with the index of the lane, or `None`
    /// for one that serves all lanes.
    pub(crate) fn from_factory(
        make: impl FnMut(Option<usize>) -> std::io::Result<Sampler> + 'a,
    ) -> Self {
        Self { make: Box::new(make), each: None }
    }

    /// Creates samplers with an interval for each lane, by its index; `None`:
    /// no sampler. It serves to measure the cost of sampling itself.
    #[must_use]
    pub(crate) fn at_intervals(intervals: Vec<Option<Nanos>>) -> Self {
        Self { each: Some(intervals), ..Self::at_interval(Nanos(0)) }
    }

    /// Starts the samplers; returns the sampler of each of `lanes`, by its
    /// index, and a list that has each sampler once: one for all lanes, or one
    /// for each of the lanes in `apart`.
    pub(super) fn start_samplers(
        &mut self,
        lanes: usize,
        apart: Option<&[usize]>,
    ) -> std::io::Result<(Vec<Option<Sampler>>, Vec<Sampler>)> {
        let (mut of, mut all) = (vec![None; lanes], Vec::new());
        if let Some(each) = &self.each {
            for (lane, interval) in of.iter_mut().zip(each) {
                *lane = interval.map(Sampler::start).transpose()?;
                all.extend(lane.clone());
            }
        } else if let Some(apart) = apart {
            for lane in apart {
                let sampler = (self.make)(Some(*lane))?;
                of[*lane] = Some(sampler.clone());
                all.push(sampler);
            }
        } else {
            let sampler = (self.make)(None)?;
            of.fill_with(|| Some(sampler.clone()));
            all.push(sampler);
        }
        Ok((of, all))
    }
}

/// Samples running invocations; clones share one thread.
#[derive(Clone)]
pub struct Sampler {
    shared: Arc<SamplerShared>,
}

struct SamplerShared {
    state: Mutex<SamplerState>,
    changed: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct SamplerState {
    probe: Option<Box<dyn Probe>>,
    samples: Vec<Sample>,
    report: SamplerReport,
    stop: bool,
}

impl Sampler {
    /// Starts the thread without a tap.
    ///
    /// # Errors
    /// Fails when the system cannot start a thread.
    pub fn start(interval: Nanos) -> std::io::Result<Self> {
        Self::spawn(interval, None)
    }

    /// Starts the thread; `tap` is called on it for each value as it is read,
    /// also for those that are too many to keep.
    ///
    /// # Errors
    /// Like [`Self::start`].
    pub(crate) fn start_with_tap(interval: Nanos, tap: SamplerTap) -> std::io::Result<Self> {
        Self::spawn(interval, Some(tap))
    }

    fn spawn(interval: Nanos, tap: Option<SamplerTap>) -> std::io::Result<Self> {
        let state = SamplerState {
            report: SamplerReport { interval, ..SamplerReport::default() },
            ..SamplerState::default()
        };
        let shared = Arc::new(SamplerShared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            thread: Mutex::new(None),
        });
        let theirs = Arc::clone(&shared);
        let thread = start_thread("sampler", move || theirs.run_thread(interval.into(), tap))?;
        *shared.thread.lock() = Some(thread);
        Ok(Self { shared })
    }

    /// Returns the samples since the last call.
    #[must_use]
    pub(crate) fn take_samples(&self) -> Vec<Sample> {
        std::mem::take(&mut self.shared.state.lock().samples)
    }

    /// Stops the thread and returns a report of its cost.
    #[must_use]
    pub fn finish(self) -> SamplerReport {
        self.shared.state.lock().stop = true;
        self.shared.changed.notify_all();
        let thread = self.shared.thread.lock().take();
        if let Some(thread) = thread {
            // A panicking probe has been reported on standard error already.
            let _ = thread.join();
        }
        self.shared.state.lock().report
    }
}

impl ProbeSampler for Sampler {
    fn start_sampling(&mut self, probe: Box<dyn Probe>) {
        self.shared.state.lock().probe = Some(probe);
        self.shared.changed.notify_all();
    }

    fn stop_sampling(&mut self) {
        self.shared.state.lock().probe = None;
    }
}

impl SamplerShared {
    fn run_thread(&self, interval: Duration, mut tap: Option<SamplerTap>) {
        let mut state = self.state.lock();
        while !state.stop {
            if state.probe.is_none() {
                self.changed.wait(&mut state);
                continue;
            }
            // Due times are fixed from the start, so that a late reading does
            // not shift those after it.
            let mut due = Instant::now() + interval;
            while state.probe.is_some() && !state.stop {
                let moment = Instant::now();
                if moment < due {
                    self.changed.wait_for(&mut state, due - moment);
                    continue;
                }
                let fresh = state.read_probe();
                if let Some(tap) = &mut tap {
                    // The tap runs without the lock: a slow one must not hold
                    // up the lane.
                    MutexGuard::unlocked(&mut state, || fresh.into_iter().for_each(&mut *tap));
                }
                due += interval;
                if due < moment {
                    due = moment + interval;
                }
            }
            state.report.cpu = thread_cpu_time();
        }
        state.report.cpu = thread_cpu_time();
    }
}

impl SamplerState {
    /// Reads the probe once; returns the values that were read.
    fn read_probe(&mut self) -> Vec<Sample> {
        let Some(probe) = &mut self.probe else { return Vec::new() };
        let at = monotonic_now();
        let values = probe.read_values();
        self.report.ticks += 1;
        let fresh: Vec<Sample> =
            values.into_iter().map(|(meter, value)| Sample { at, meter, value }).collect();
        let kept = fresh.len().min(MAX_SAMPLES.saturating_sub(self.samples.len()));
        self.samples.extend_from_slice(&fresh[..kept]);
        self.report.dropped += (fresh.len() - kept) as u64;
        fresh
    }
}

/// Returns the CPU time of the calling thread.
fn thread_cpu_time() -> Nanos {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID);
    time.map_or(Nanos(0), |time| Nanos::from(Duration::from(time)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyclometer_meter::Meter;

    struct Counting(u64);

    impl Probe for Counting {
        fn read_values(&mut self) -> Vec<(Meter, u64)> {
            self.0 += 1;
            vec![(Meter::CpuTime, self.0)]
        }
    }

    #[test]
    fn it_samples_while_something_runs_and_only_then() {
        let mut sampler = Sampler::start(Nanos(2_000_000)).expect("a thread");
        std::thread::sleep(Duration::from_millis(10));
        assert!(sampler.take_samples().is_empty(), "nothing runs yet");
        sampler.start_sampling(Box::new(Counting(0)));
        std::thread::sleep(Duration::from_millis(60));
        sampler.stop_sampling();
        let taken = sampler.take_samples();
        assert!(taken.len() >= 5, "{} samples in 60 ms at 2 ms", taken.len());
        assert!(taken.iter().map(|sample| sample.value).eq(1..=taken.len() as u64));
        assert!(taken.windows(2).all(|pair| pair[0].at < pair[1].at));
        std::thread::sleep(Duration::from_millis(10));
        assert!(sampler.take_samples().is_empty(), "nothing runs any more");
        let report = sampler.finish();
        assert_eq!(report.ticks, taken.len() as u64);
        assert!(report.cpu > Nanos(0));
    }

    #[test]
    fn the_tap_gets_each_value_as_it_is_read() {
        let (told, heard) = std::sync::mpsc::channel();
        let tap: SamplerTap = Box::new(move |sample| told.send(sample).expect("heard"));
        let mut sampler = Sampler::start_with_tap(Nanos(2_000_000), tap).expect("a thread");
        sampler.start_sampling(Box::new(Counting(0)));
        let first: Vec<Sample> = heard.iter().take(3).collect();
        assert!(first.iter().map(|sample| sample.value).eq(1..=3), "while it runs");
        sampler.stop_sampling();
        let taken = sampler.take_samples();
        let _ = sampler.finish();
        // The thread is gone, and its end of the channel with it.
        let all: Vec<Sample> = first.into_iter().chain(heard.iter()).collect();
        assert_eq!(all, taken);
    }

    #[test]
    fn a_tap_does_not_hold_up_who_runs() {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let tap: SamplerTap = Box::new(move |_| wait.recv().unwrap_or(()));
        let mut sampler = Sampler::start_with_tap(Nanos(1_000_000), tap).expect("a thread");
        sampler.start_sampling(Box::new(Counting(0)));
        let begun = Instant::now();
        while sampler.take_samples().is_empty() && begun.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(1));
        }
        // The tap is stuck now, and nothing else is.
        sampler.stop_sampling();
        assert!(begun.elapsed() < Duration::from_secs(5));
        drop(go);
        assert!(sampler.finish().ticks >= 1);
    }

    #[test]
    fn reports_of_several_samplers_add_up() {
        let of =
            |ticks, cpu| SamplerReport { interval: Nanos(5), ticks, cpu: Nanos(cpu), dropped: 1 };
        let sum = SamplerReport::merge_all([of(1, 10), of(2, 20)]);
        assert_eq!(
            sum,
            Some(SamplerReport { interval: Nanos(5), ticks: 3, cpu: Nanos(30), dropped: 2 })
        );
        assert_eq!(SamplerReport::merge_all([]), None);
    }

    #[test]
    fn stopping_does_not_wait_for_a_long_interval() {
        let mut sampler = Sampler::start(Nanos(3_600_000_000_000)).expect("a thread");
        sampler.start_sampling(Box::new(Counting(0)));
        let begun = Instant::now();
        let report = sampler.finish();
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(report.ticks, 0);
    }
}
