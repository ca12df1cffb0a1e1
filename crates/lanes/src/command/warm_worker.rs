//! Warm invocations: a worker of the runtime that stays and creates a fresh instance each time. The
//! protocol over descriptor 3 is in `docs/runtimes.md`.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::super::control_group::{out_of_memory, set_level_source};
use super::super::cpu_share::{ShareMeter, ShareUsage};
use super::super::launcher::Stdio3;
use super::super::outer_memory_limit::OuterMemoryLimit;
use super::super::program_run::{
    ProcessProbe, Runner, digest_output, estimate_ref_cycles, lock_counters, longest_output,
    read_tail, with_output_limit,
};
use super::super::replacement::WorkerState;
use super::super::{Cancel, Job, Outcome, ProbeSampler, Status, monotonic_now};
use super::detect::DetectedRuntime;
use super::runtime_call::{RuntimeCall, outer_limit_for};
use super::worker_protocol::{
    MAX_LINE, ResponseError, RuntimeWorkerReport, WorkerResponse, parse_response,
};
use super::{adjust_sources, invocation_verdict};
use crate::profile::Profile;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_meter::function_group::GroupBaseline;
use cyclometer_meter::perf::{Counters, Counts};
use cyclometer_meter::{Meter, Provenances, Source, Usage, host};
use cyclometer_workload::FunctionInput;

/// Longest time that a worker may take to load its module.
const LOAD_TIMEOUT: Nanos = Nanos(30_000_000_000);

/// Longest time that a worker may take to tidy up after an invocation.
const TIDY_UP_TIMEOUT: Nanos = Nanos(10_000_000_000);

/// Longest time that a worker may take to read a request of some bytes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for a worker that hung up to end by itself, so that its end can be reported.
const EXIT_GRACE: Nanos = Nanos(1_000_000_000);

/// A worker that has loaded its module.
pub(crate) struct RuntimeWorker {
    runner: Runner,
    control: UnixStream,
    /// Bytes that were read and are no complete line yet.
    received: Vec<u8>,
    /// Standard streams of the worker itself.
    files: Stdio3,
    /// Standard streams of its function, in each invocation.
    streams: Stdio3,
    pid: u32,
    counters: Arc<Mutex<Counters>>,
    provenances: Arc<Provenances>,
    tsc_hz: Option<u64>,
    /// Memory limit of the function.
    memory: Bytes,
    /// Memory limit around the runtime besides.
    wall: Option<OuterMemoryLimit>,
    share: Option<ShareMeter>,
}

/// Usage of an invocation, as seen from outside.
struct InvocationUsage {
    counts: Counts,
    /// CPU time by the worker's control group.
    group_cpu_time: Option<Nanos>,
    peak: Option<Bytes>,
    /// CPU share, if there is one.
    share: Option<ShareUsage>,
}

/// Reason why a worker gave no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WorkerLoss {
    Timeout,
    Cancelled,
    HangUp,
    /// The worker does not read its requests.
    NotReading,
    InvalidResponse(ResponseError),
    /// The worker sent this many bytes more than it was asked for.
    UnrequestedOutput(usize),
}

impl From<ResponseError> for WorkerLoss {
    fn from(error: ResponseError) -> Self {
        Self::InvalidResponse(error)
    }
}

/// Names under which a worker opens the streams of an invocation: descriptors that it was started
/// with. It could not open those of this process.
const STREAM_PATHS: &str = "/proc/self/fd/4 /proc/self/fd/5 /proc/self/fd/6";

impl RuntimeWorker {
    /// Starts a worker with those arguments and waits until it is ready.
    pub(super) fn start(
        profile: &Profile,
        runtime: &DetectedRuntime,
        job: &Job,
        args: &[String],
        cancel: &Cancel,
    ) -> Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let runner = super::start_runner(profile).map_err(|error| text(&error))?;
        let files = Stdio3::with_input(&FunctionInput::default()).map_err(|error| text(&error))?;
        let streams = Stdio3::with_input(&job.preset.stdin).map_err(|error| text(&error))?;
        let (control, theirs) = UnixStream::pair().map_err(|error| text(&error))?;
        let extra =
            [theirs.as_fd(), streams.stdin.as_fd(), streams.stdout.as_fd(), streams.stderr.as_fd()];
        let call = RuntimeCall {
            extra: &extra,
            timeout: None,
            file_limit: Some(job.limits.output),
            cpu: job.cpu,
            cpu_share: job.cpu_share,
            ..RuntimeCall::new(profile, &runtime.program, args, &files, LOAD_TIMEOUT)
        };
        let wall = outer_limit_for(profile, job.limits.memory, &runner);
        let (started, counters) = call
            .with_memory_bounds(job, &runner)
            .with_spawn_request(|spawn| runner.spawn_counted(spawn))
            .map_err(|error| text(&error))?;
        drop(theirs);
        let tsc_hz = host::tsc_hz();
        let mut share = runner.open_share_meter(job.cpu_share);
        let mut all = warm_sources(profile, &lock_counters(&counters), &runner, tsc_hz);
        if let Some(share) = &mut share {
            share.take_usage().set_sources(runner.share_scope(), &mut all);
        }
        let provenances = Arc::new(all);
        let mut worker = Self {
            runner,
            control,
            received: Vec::new(),
            files,
            streams,
            pid: started.pid,
            counters,
            provenances,
            tsc_hz,
            memory: job.limits.memory,
            wall,
            share,
        };
        let ready = match worker.read_response(LOAD_TIMEOUT, cancel) {
            Ok(WorkerResponse::Ready) => worker.check_no_surplus(),
            Ok(other) => Err(WorkerLoss::InvalidResponse(other.to_unexpected_error())),
            Err(lost) => Err(lost),
        };
        match ready {
            Ok(()) => Ok(worker),
            Err(lost) => {
                Err(format!("the worker did not get ready: {}", worker.end_and_explain(&lost)))
            }
        }
    }

    /// Runs one invocation.
    pub(super) fn invoke(
        &mut self,
        profile: &Profile,
        job: &Job,
        watch: &mut dyn ProbeSampler,
        cancel: &Cancel,
    ) -> (Outcome, WorkerState) {
        let requested = monotonic_now();
        for file in [&self.streams.stdout, &self.streams.stderr] {
            if let Err(error) = file.set_len(0) {
                let reason = format!("cannot empty the function's output: {error}");
                let outcome = Outcome::failed_to_start(job, requested, reason);
                return (outcome, WorkerState::Lost);
            }
        }
        let group = self.runner.group().ok();
        let baseline = group.as_ref().map(|group| group.take_baseline());
        reset_peak(self.pid);
        if let Some(share) = &mut self.share {
            share.restart();
        }
        watch.start_sampling(Box::new(ProcessProbe::new(self.pid, &self.counters, group.as_ref())));
        let before = lock_counters(&self.counters).read_all();
        let requested = monotonic_now();
        let heard = self.send_request(&format!("run {STREAM_PATHS}\n"), job.limits.timeout, cancel);
        let received = monotonic_now();
        let heard = heard.and_then(|answer| match answer {
            WorkerResponse::Done(report) => {
                report.check_within_request(requested, received)?;
                Ok(report)
            }
            other => Err(WorkerLoss::InvalidResponse(other.to_unexpected_error())),
        });
        let counts = {
            let mut counters = lock_counters(&self.counters);
            let after = counters.read_all();
            counters.counts_between(&before, &after)
        };
        let used = group.zip(baseline).map(|(group, baseline)| group.usage_since(&baseline));
        let used = InvocationUsage {
            share: self.share.as_mut().map(ShareMeter::take_usage),
            peak: peak_memory(self.pid)
                .max(used.as_ref().and_then(|used| used.peak.as_ref().ok().copied())),
            group_cpu_time: used.and_then(|used| used.cpu),
            counts,
        };
        watch.stop_sampling();
        match heard {
            Ok(report) => {
                let mut outcome = self.build_outcome(profile, job, &report, &used);
                let rested = self.tidy_up(cancel);
                if let Err(lost) = &rested
                    && *lost != WorkerLoss::Cancelled
                {
                    let why = self.end_and_explain(lost);
                    outcome =
                        outcome.with_remark(&format!("its worker was replaced after it: {why}"));
                }
                (outcome, WorkerState::from_soundness(rested.is_ok()))
            }
            Err(lost) => (self.lost_outcome(job, requested, &lost), WorkerState::Lost),
        }
    }

    /// Lets the worker tidy up after an invocation.
    fn tidy_up(&mut self, cancel: &Cancel) -> Result<(), WorkerLoss> {
        self.check_no_surplus()?;
        match self.send_request("rest\n", TIDY_UP_TIMEOUT, cancel)? {
            WorkerResponse::TidiedUp => self.check_no_surplus(),
            other => Err(WorkerLoss::InvalidResponse(other.to_unexpected_error())),
        }
    }

    /// Refuses output that was not asked for, as far as it has arrived.
    pub(super) fn check_no_surplus(&mut self) -> Result<(), WorkerLoss> {
        let mut buffer = [0; 1024];
        let mut surplus = std::mem::take(&mut self.received).len();
        // Fails only for a closed descriptor, which reading reports as well.
        let _ = self.control.set_nonblocking(true);
        // A worker that sends without end is read once, and is of no more use.
        if let Ok(size) = self.control.read(&mut buffer) {
            surplus += size;
        }
        let _ = self.control.set_nonblocking(false);
        if surplus == 0 { Ok(()) } else { Err(WorkerLoss::UnrequestedOutput(surplus)) }
    }

    fn send_request(
        &mut self,
        line: &str,
        timeout: Nanos,
        cancel: &Cancel,
    ) -> Result<WorkerResponse, WorkerLoss> {
        use std::io::{ErrorKind, Write};
        // Fails only for a timeout of 0.
        let _ = self.control.set_write_timeout(Some(REQUEST_TIMEOUT));
        self.control.write_all(line.as_bytes()).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => WorkerLoss::NotReading,
            _ => WorkerLoss::HangUp,
        })?;
        self.read_response(timeout, cancel)
    }

    /// Reads the next line that the worker sends.
    fn read_response(
        &mut self,
        timeout: Nanos,
        cancel: &Cancel,
    ) -> Result<WorkerResponse, WorkerLoss> {
        let deadline = Nanos(monotonic_now().0.saturating_add(timeout.0));
        let mut buffer = [0; 1024];
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                return Ok(parse_response(&line[..end])?);
            }
            if self.received.len() > MAX_LINE {
                return Err(ResponseError::TooLong.into());
            }
            if cancel.is_cancelled() {
                return Err(WorkerLoss::Cancelled);
            }
            if monotonic_now() >= deadline {
                return Err(WorkerLoss::Timeout);
            }
            let left = deadline
                .saturating_since(monotonic_now())
                .0
                .clamp(1_000_000, u64::from(Cancel::POLL_MS) * 1_000_000);
            // Fails only for a timeout of 0.
            let _ = self.control.set_read_timeout(Some(Duration::from_nanos(left)));
            match self.control.read(&mut buffer) {
                Ok(0) => return Err(WorkerLoss::HangUp),
                Ok(size) => self.received.extend_from_slice(&buffer[..size]),
                Err(error) => match error.kind() {
                    std::io::ErrorKind::WouldBlock
                    | std::io::ErrorKind::TimedOut
                    | std::io::ErrorKind::Interrupted => {}
                    _ => return Err(WorkerLoss::HangUp),
                },
            }
        }
    }

    fn build_outcome(
        &mut self,
        profile: &Profile,
        job: &Job,
        report: &RuntimeWorkerReport,
        used: &InvocationUsage,
    ) -> Outcome {
        let mut usage = Usage::new(false);
        for meter in Meter::ALL {
            usage.set(*meter, used.counts.get(*meter));
        }
        usage.counter_coverage_ppm = used.counts.coverage_ppm;
        let source = |meter| self.provenances.get(meter).and_then(|it| it.source);
        if source(Meter::CpuTime) == Some(Source::Cgroup) {
            usage.set(Meter::CpuTime, used.group_cpu_time.map(|time| time.0));
        }
        if source(Meter::RefCycles) == Some(Source::Estimate) {
            estimate_ref_cycles(&mut usage, self.tsc_hz);
        }
        usage.phases.start = Some(report.started.saturating_since(report.begun));
        usage.phases.run = Some(report.ended.saturating_since(report.started));
        usage.set(Meter::Wall, report.ended.saturating_since(report.begun).0);
        usage.set(Meter::MemoryPeak, used.peak.map(|size| size.0));
        usage.set(Meter::MemoryAllocated, job.limits.memory.0);
        if let Some(share) = &used.share {
            share.fill_usage(&mut usage);
            if share.throttled.is_err() {
                let all = Arc::make_mut(&mut self.provenances);
                share.set_sources(self.runner.share_scope(), all);
            }
        }
        let written = longest_output(&self.streams);
        let stderr = read_tail(&mut self.streams.stderr);
        let said =
            |what: String| if stderr.is_empty() { what } else { format!("{what}: {stderr}") };
        let known = |reason| {
            invocation_verdict::with_known_failure(profile, job.workload.function_name(), reason)
        };
        let (status, reason, exit_code) = match &report.end {
            Ok(0) => (Status::Ok, None, Some(0)),
            Ok(code) => {
                (Status::Failed, Some(known(said(format!("exit code {code}")))), Some(*code))
            }
            Err(trap) => (Status::Failed, Some(known(said(format!("trap: {trap}")))), None),
        };
        let verdict = (status, reason, exit_code);
        let (status, reason, exit_code) = with_output_limit(verdict, written, job.limits.output);
        Outcome {
            status,
            reason,
            exit_code,
            requested: report.begun,
            ended: report.ended,
            usage,
            provenances: Arc::clone(&self.provenances),
            output: digest_output(&mut self.streams.stdout).ok(),
        }
        .with_output_checked(&job.preset)
    }

    /// Returns the outcome of an invocation whose worker has ended, or has to be ended.
    fn lost_outcome(&mut self, job: &Job, requested: Nanos, lost: &WorkerLoss) -> Outcome {
        let mut outcome = Outcome::failed_to_start(job, requested, self.end_and_explain(lost));
        outcome.status = match lost {
            WorkerLoss::Timeout => Status::Timeout,
            WorkerLoss::Cancelled => Status::Interrupted,
            WorkerLoss::HangUp
            | WorkerLoss::NotReading
            | WorkerLoss::InvalidResponse(_)
            | WorkerLoss::UnrequestedOutput(_) => Status::Failed,
        };
        match lost {
            WorkerLoss::Timeout => {
                outcome.reason = Some(format!("no end within its limit of {}", job.limits.timeout));
            }
            WorkerLoss::Cancelled => outcome.reason = Some("stopped with the recording".to_owned()),
            WorkerLoss::HangUp
            | WorkerLoss::NotReading
            | WorkerLoss::InvalidResponse(_)
            | WorkerLoss::UnrequestedOutput(_) => {}
        }
        let mut all = (*self.provenances).clone();
        for (meter, provenance) in self.provenances.iter() {
            if !matches!(provenance.source, None | Some(Source::Plan | Source::Clock)) {
                all.set_missing(meter, "the worker ended before it could report");
            }
        }
        outcome.provenances = Arc::new(all);
        outcome.usage.set(Meter::Wall, outcome.ended.saturating_since(requested).0);
        outcome.usage.set(Meter::MemoryAllocated, job.limits.memory.0);
        outcome.usage.set(Meter::VcpuAllocated, job.cpu_share.map(|share| u64::from(share.0)));
        outcome
    }

    /// Ends the worker; returns why it was lost.
    pub(super) fn end_and_explain(&mut self, lost: &WorkerLoss) -> String {
        // A worker that hung up may be about to end, and its end says why. One that stays is not
        // waited for.
        let went = *lost == WorkerLoss::HangUp && self.ends_within(EXIT_GRACE);
        if !went {
            self.runner.kill();
        }
        let baseline = GroupBaseline::default();
        let group = self.runner.group().ok();
        let ended = self.runner.wait_for_end(&Cancel::default());
        let stderr = read_tail(&mut self.files.stderr);
        if let (WorkerLoss::HangUp, Some(wall), Ok(ended)) = (lost, &self.wall, &ended) {
            let used = group.as_ref().map(|group| group.usage_since(&baseline));
            if let Some(reason) = wall.explain_hit(used.as_ref(), ended, &stderr) {
                return reason;
            }
        }
        let said =
            |what: String| if stderr.is_empty() { what } else { format!("{what}: {stderr}") };
        if let (WorkerLoss::HangUp, Some(group)) = (lost, group)
            && let Some(reason) = out_of_memory(Some(&group.usage_since(&baseline)), self.memory)
        {
            return said(reason);
        }
        match (lost, ended) {
            (WorkerLoss::Timeout, _) => said("no answer in time".to_owned()),
            (WorkerLoss::Cancelled, _) => "stopped".to_owned(),
            (WorkerLoss::NotReading, _) => said("it does not read what it is asked".to_owned()),
            (WorkerLoss::InvalidResponse(error), _) => error.to_string(),
            (WorkerLoss::UnrequestedOutput(bytes), _) => format!(
                "it said more than it was asked for, {bytes} bytes of which were read and discarded"
            ),
            (WorkerLoss::HangUp, _) if !went => {
                said("it closed its connection and went on running, until it was killed".to_owned())
            }
            (WorkerLoss::HangUp, Ok(ended)) => {
                format!("it ended: {}: {stderr}", invocation_verdict::describe_end(&ended))
            }
            (WorkerLoss::HangUp, Err(error)) => error.to_string(),
        }
    }

    /// Returns whether the worker's process ends within that time, or has ended.
    fn ends_within(&self, time: Nanos) -> bool {
        let deadline = Nanos(monotonic_now().0.saturating_add(time.0));
        let is_gone = || {
            let process = i32::try_from(self.pid).ok().and_then(|pid| {
                procfs::process::Process::new(pid).and_then(|process| process.stat()).ok()
            });
            process.is_none_or(|stat| matches!(stat.state, 'Z' | 'X'))
        };
        loop {
            if is_gone() {
                return true;
            }
            if monotonic_now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Resets a process' high-water mark to its present resident memory.
fn reset_peak(pid: u32) {
    // Where that is refused, the mark is not read either: see `peak`.
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// Returns the peak resident memory since [`reset_peak`].
fn peak_memory(pid: u32) -> Option<Bytes> {
    let process = procfs::process::Process::new(i32::try_from(pid).ok()?).ok()?;
    process.status().ok()?.vmhwm.map(|kib| Bytes(kib << 10))
}

fn warm_sources(
    profile: &Profile,
    counters: &Counters,
    runner: &Runner,
    tsc_hz: Option<u64>,
) -> Provenances {
    let mut all = counters.provenances().clone();
    let is_counted = all.get(Meter::CpuTime).is_some_and(|it| it.source.is_some());
    match runner.group() {
        Ok(group) => {
            if !is_counted && group.cpu_time().is_some() {
                let why = all.get(Meter::CpuTime).map_or("", |it| &it.note);
                let note = format!("of the worker's control group; not from perf: {why}");
                all.set_source(Meter::CpuTime, Source::Cgroup, note);
            }
            let peak = "peak resident set of the worker's process, or of what its control group \
                        held where that is more: other processes, files in memory (output \
                        included), page cache; reset before each invocation";
            all.set_source(Meter::MemoryPeak, Source::Procfs, peak);
        }
        Err(reason) => {
            let peak = format!(
                "peak resident set of the worker's process, without others that it may have; reset \
                 before each invocation; no control group: {reason}"
            );
            all.set_source(Meter::MemoryPeak, Source::Procfs, peak);
        }
    }
    set_level_source(runner.group().is_ok(), &mut all);
    all.set_missing(
        Meter::CpuStartup,
        "the worker reports when the function starts, but not the CPU time before that",
    );
    all.set_missing(Meter::MemoryStartup, "not read when the function starts");
    all = adjust_sources(profile, &all);
    let counted = all.get(Meter::RefCycles).is_some_and(|it| it.source.is_some());
    let timed = all.get(Meter::CpuTime).is_some_and(|it| it.source.is_some());
    if let (false, true, Some(hz)) = (counted, timed, tsc_hz) {
        all.set_source(Meter::RefCycles, Source::Estimate, format!("cpu_time x {hz} Hz (TSC)"));
    }
    all.set_source(Meter::Wall, Source::Clock, "start + run, as the worker reports them");
    all.set_missing(Meter::VcpuAllocated, super::super::NO_CPU_LIMIT);
    for meter in [Meter::CpuUser, Meter::CpuSystem] {
        all.set_missing(meter, "not split between the invocations of a worker");
    }
    all.set_sampled_memory_time();
    for meter in [Meter::IoRead, Meter::IoWrite] {
        all.set_missing(meter, "not metered in process lanes yet");
    }
    all
}
