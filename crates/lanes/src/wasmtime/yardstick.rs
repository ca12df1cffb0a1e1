//! Cost of metering a warm invocation: the same worker runs the same function with and without.

use super::settings::WasmtimeSettings;
use super::warm_protocol::WarmRequest;
use super::{WasmtimeLane, monotonic_now};
use crate::replacement::{WorkerRun, WorkerState, run_in_worker};
use crate::{Cancel, Job, Lane, LaneError, NoSampling, StartKind, Status};
use cyclometer_core::units::Nanos;
use cyclometer_meter::Meter;

/// Time that invocations of a [`Yardstick`] took in all.
#[derive(Debug, Clone, Copy)]
pub struct YardstickTime {
    /// Time that passed.
    pub wall: Nanos,
    /// Time of the worker's thread on a CPU, as the kernel's scheduler has it: what else runs on the
    /// machine is not in it.
    pub worker_cpu: Option<Nanos>,
    /// Sum of the metered CPU times.
    pub metered_cpu: Option<Nanos>,
}

/// A lane with one warm worker, to be timed; for benchmarks.
pub struct Yardstick {
    lane: WasmtimeLane,
    job: Job,
}

impl Yardstick {
    /// Starts a warm worker for the function of `job`.
    ///
    /// # Errors
    /// Fails when the function cannot be prepared or its worker does not start.
    pub fn start(job: Job) -> Result<Self, LaneError> {
        let job = Job { start: StartKind::Warm, ..job };
        let mut lane = WasmtimeLane::open(WasmtimeSettings::default())?;
        lane.prepare(&job, &Cancel::default())?;
        let mut yardstick = Self { lane, job };
        yardstick.time_metered(1)?;
        Ok(yardstick)
    }

    /// Times that many invocations in a bare loop in the worker: the same store, instantiation and
    /// call, with no meter read and nothing reported.
    ///
    /// # Errors
    /// Fails when the worker does.
    pub fn time_unmetered(&mut self, count: u32) -> Result<YardstickTime, LaneError> {
        let cancel = Cancel::default();
        let before = self.worker_cpu_time();
        let ran = run_in_worker(&mut self.lane, &self.job, &cancel, |_, worker| {
            let took = worker.time_unmetered(WarmRequest::InvokeUnmetered(count));
            let state = WorkerState::from_soundness(took.is_some());
            (took, state)
        });
        let took = ran.ok().and_then(|WorkerRun { result, .. }| result);
        let wall = took.ok_or_else(|| self.failure("the worker did not tell how long it took"))?;
        Ok(YardstickTime { wall, worker_cpu: self.worker_cpu_since(before), metered_cpu: None })
    }

    /// Times that many invocations that are metered as in any recording, from the first request to
    /// the last outcome, in requests of 256.
    ///
    /// # Errors
    /// Fails when an invocation does.
    pub fn time_metered(&mut self, count: u32) -> Result<YardstickTime, LaneError> {
        const REQUEST: u32 = 256;
        let before = self.worker_cpu_time();
        let begun = monotonic_now();
        let (mut failed, mut metered) = (None, Some(0));
        let mut left = count;
        while left > 0 && failed.is_none() {
            let emit = &mut |outcome: crate::Outcome| {
                metered = metered.zip(outcome.usage.get(Meter::CpuTime)).map(|(sum, it)| sum + it);
                if outcome.status != Status::Ok {
                    failed = Some(outcome.reason.unwrap_or_default());
                }
            };
            let cancel = Cancel::default();
            left -= self.lane.run_warm_burst(
                &self.job,
                left.min(REQUEST),
                &mut NoSampling,
                &cancel,
                emit,
            );
        }
        match failed {
            Some(reason) => Err(self.failure(&reason)),
            None => Ok(YardstickTime {
                wall: monotonic_now().saturating_since(begun),
                worker_cpu: self.worker_cpu_since(before),
                metered_cpu: metered.map(Nanos),
            }),
        }
    }

    /// Returns the time that the worker's thread was on a CPU.
    fn worker_cpu_time(&self) -> Option<u64> {
        let pid = self.lane.warm.get(&self.job.cell)?.pid();
        let path = format!("/proc/{pid}/schedstat");
        let text = cyclometer_system::files::read_kernel_text(&path).ok()?;
        text.split_whitespace().next()?.parse().ok()
    }

    fn worker_cpu_since(&self, before: Option<u64>) -> Option<Nanos> {
        let now = self.worker_cpu_time();
        now.zip(before).and_then(|(now, before)| now.checked_sub(before)).map(Nanos)
    }

    fn failure(&self, reason: &str) -> LaneError {
        LaneError::Prepare { workload: self.job.workload.name.clone(), reason: reason.to_owned() }
    }
}
