//! Warm invocations: a worker that stays and creates a fresh instance each time.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};
use parking_lot::Mutex;

use super::super::cpu_share::ShareMeter;
use super::super::launcher::{EndCause, Privileges, ProgramEnd, SpawnRequest, SpawnTarget, Stdio3};
use super::super::outer_memory_limit::OuterMemoryLimit;
use super::super::program_run::{
    ProcessProbe, Runner, estimate_ref_cycles, judge_run as process_verdict, longest_output,
    read_tail,
};
use super::super::replacement::{WarmLane, WorkerRun, WorkerState, run_in_worker};
use super::super::{Cancel, Job, Outcome, ProbeSampler, Status, monotonic_now};
use super::handover::{CompiledModule, send_descriptor};
use super::protocol::{WasmWorkerReport, WorkerConfig};
use super::report_ring::ReportReader;
use super::settings::WasmtimeSettings;
use super::warm_protocol::{WarmRequest, WorkerSignal};
use super::worker_meters::decode_provenances;
use super::{
    WasmtimeLane, cold, counted_operators, explain_missing, judge_call, set_common_sources,
    set_phases,
};
use cyclometer_core::units::Nanos;
use cyclometer_meter::function_group::GroupBaseline;
use cyclometer_meter::perf::{CounterTarget, Counters};
use cyclometer_meter::{Meter, Provenance, Provenances, Source, Usage, host};

/// Longest time that a worker may take to load its module.
const LOAD_TIMEOUT: Nanos = Nanos(30_000_000_000);

/// A worker that has loaded a module.
pub(crate) struct WarmWorker {
    runner: Runner,
    socket: OwnedFd,
    reports: ReportReader,
    files: Stdio3,
    pid: u32,
    provenances: Arc<Provenances>,
    /// Counters on the worker, for the sampler.
    counters: Arc<Mutex<Counters>>,
    /// Ticks in a second, if ticks are estimated from the CPU time.
    estimated_hz: Option<u64>,
    wall: OuterMemoryLimit,
    share: Option<ShareMeter>,
}

/// Longest time in milliseconds that reports lie in the ring unseen.
const LOOK_MS: u16 = 10;

/// End of waiting for a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PollEnd {
    /// There is something to read, or a hang-up.
    Readable,
    /// The deadline has passed.
    Late,
    /// There is time left: it is to be waited on.
    Slice,
    /// It cannot be waited for.
    Failed,
}

/// Message of a worker, or its absence.
#[expect(clippy::large_enum_variant, reason = "one at a time, and a box for each would be slower")]
enum WorkerMessage {
    Report(WasmWorkerReport),
    /// The time limit passed, or the recording was stopped.
    NoReport {
        cancelled: bool,
    },
    /// The worker is gone.
    HangUp,
}

impl WasmtimeLane {
    /// Requests up to `left` invocations of the cell's worker, which is started if need be; returns
    /// how many there were.
    pub(super) fn run_warm_burst(
        &mut self,
        job: &Job,
        left: u32,
        watch: &mut dyn ProbeSampler,
        cancel: &Cancel,
        emit: &mut dyn FnMut(Outcome),
    ) -> u32 {
        // What a share holds back is known of one invocation at a time.
        let left = if job.cpu_share.is_some() { left.min(1) } else { left };
        let ran = run_in_worker(self, job, cancel, |_, worker| {
            worker.invoke_burst(job, left, watch, cancel, emit)
        });
        match ran {
            Ok(WorkerRun { result: done, .. }) => done,
            Err(_) if cancel.is_cancelled() => 0,
            Err(failure) => {
                emit(failure.into_outcome(job, cancel));
                1
            }
        }
    }
}

impl WarmLane for WasmtimeLane {
    /// In a box, since it is moved for each burst.
    type Worker = Box<WarmWorker>;

    fn waiting_workers(&mut self) -> &mut HashMap<usize, Box<WarmWorker>> {
        &mut self.warm
    }

    fn start_worker(&mut self, job: &Job, cancel: &Cancel) -> Result<Box<WarmWorker>, String> {
        let config = self.worker_config(job, self.settings)?;
        let compiled = self.compiled_module_for(job, config.settings)?;
        let mut worker = WarmWorker::start(&self.executable, job, &config, &compiled, cancel)?;
        if let Some(operators) = self.operators.get(&job.cell) {
            Arc::make_mut(&mut worker.provenances)
                .set_provenance(Meter::WasmOps, operators.clone());
        }
        Ok(Box::new(worker))
    }
}

impl WarmWorker {
    fn start(
        executable: &std::fs::File,
        job: &Job,
        config: &WorkerConfig,
        compiled: &CompiledModule,
        cancel: &Cancel,
    ) -> Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let runner =
            Runner::start_grouped(Privileges::Worker, true).map_err(|error| text(&error))?;
        let files = Stdio3::with_input(&job.preset.stdin).map_err(|error| text(&error))?;
        let (socket, theirs) = compiled.open_socket_pair().map_err(|error| text(&error))?;
        let (reports, memory) = ReportReader::create().map_err(|error| text(&error))?;
        send_descriptor(&socket, memory.as_fd()).map_err(|error| text(&error))?;
        drop(memory);
        let wall = cold::outer_limit_for(job, compiled.size());
        let config_text = serde_json::to_string(config).map_err(|error| text(&error))?;
        let env = super::worker_environment(job);
        let env: Vec<&str> = env.iter().map(String::as_str).collect();
        let started = runner
            .spawn_program(&SpawnRequest {
                program: SpawnTarget::File(executable.as_fd()),
                args: &["cyclometer-worker", "__worker", &config_text],
                env: &env,
                stdin: files.stdin.as_fd(),
                stdout: files.stdout.as_fd(),
                stderr: files.stderr.as_fd(),
                extra: &[theirs.as_fd()],
                timeout: None,
                memory_limit: Some(wall.total()),
                data_limit: wall.data_limit(&runner),
                file_limit: Some(job.limits.output),
                cpu: job.cpu,
                start_folder: std::path::Path::new("/"),
                cpu_share: job.cpu_share,
            })
            .map_err(|error| text(&error))?;
        drop(theirs);
        let counters = Counters::open(CounterTarget::Process(started.pid));
        let mut worker = Self {
            runner,
            socket,
            reports,
            files,
            pid: started.pid,
            provenances: Arc::default(),
            counters: Arc::new(Mutex::new(counters)),
            estimated_hz: None,
            wall,
            share: None,
        };
        worker.share = worker.runner.open_share_meter(job.cpu_share);
        worker.receive_greeting(job, config.settings, cancel)?;
        Ok(worker)
    }

    /// Takes the worker's first message: the meters of its thread, or why it
    /// could not load the module.
    fn receive_greeting(
        &mut self,
        job: &Job,
        settings: WasmtimeSettings,
        cancel: &Cancel,
    ) -> Result<(), String> {
        let mut buffer = vec![0; 64 << 10];
        if !self.wait_readable(Some(LOAD_TIMEOUT), cancel) {
            self.runner.kill();
            return Err(format!("the worker did not load the module within {LOAD_TIMEOUT}"));
        }
        let size = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty());
        let message = size.map_or(&[][..], |size| &buffer[..size]);
        let Some(mut all) = decode_provenances(message) else {
            return Err(match WasmWorkerReport::decode(message) {
                Some(report) => judge_call(&report, &job.limits).1.unwrap_or_default(),
                None => self.end_and_explain(job).1,
            });
        };
        let tsc_hz = host::tsc_hz();
        set_warm_sources(&mut all, settings, tsc_hz);
        if let Some(share) = &mut self.share {
            share.take_usage().set_sources(self.runner.share_scope(), &mut all);
        }
        let ticks = all.get(Meter::RefCycles).and_then(|it| it.source);
        self.estimated_hz = tsc_hz.filter(|_| ticks == Some(Source::Estimate));
        self.provenances = Arc::new(all);
        Ok(())
    }

    /// Requests `count` invocations and passes their outcomes on; returns how many there were.
    fn invoke_burst(
        &mut self,
        job: &Job,
        count: u32,
        watch: &mut dyn ProbeSampler,
        cancel: &Cancel,
        emit: &mut dyn FnMut(Outcome),
    ) -> (u32, WorkerState) {
        // A burst is too short to sample, and its members could not be distinguished.
        if count == 1 {
            watch.start_sampling(Box::new(ProcessProbe::new(self.pid, &self.counters, None)));
        }
        if let Some(share) = &mut self.share {
            share.restart();
        }
        let mut since = monotonic_now();
        let sent = WarmRequest::Invoke(count).send(&self.socket);
        for done in 0..count {
            let heard = match &sent {
                Ok(()) => self.receive_report(job, since, cancel),
                Err(_) => WorkerMessage::HangUp,
            };
            watch.stop_sampling();
            match heard {
                WorkerMessage::Report(report) => {
                    // The next invocation began then, if that can be: a worker gives itself no more
                    // time.
                    since = report.dropped.clamp(since, monotonic_now());
                    emit(self.build_outcome(job, &report));
                }
                other => {
                    emit(self.lost_outcome(job, since, &other));
                    return (done + 1, WorkerState::Lost);
                }
            }
            if cancel.is_cancelled() {
                // Invocations that are still under way are not wanted: the worker is ended.
                return (done + 1, WorkerState::from_soundness(done + 1 == count));
            }
        }
        (count, WorkerState::Sound)
    }

    /// Waits for the report of an invocation that began at `since`, or later.
    fn receive_report(&mut self, job: &Job, since: Nanos, cancel: &Cancel) -> WorkerMessage {
        let deadline = Nanos(since.0.saturating_add(job.limits.timeout.0));
        let mut asked = false;
        loop {
            match self.reports.take_report() {
                Ok(Some(report)) => {
                    if asked {
                        self.reports.ask_for_signal(false);
                    }
                    return WorkerMessage::Report(report);
                }
                Ok(None) => {}
                Err(_) => return WorkerMessage::HangUp,
            }
            self.reports.ask_for_signal(true);
            if !std::mem::replace(&mut asked, true) {
                continue;
            }
            let signal = match self.poll_socket(Some(deadline), LOOK_MS) {
                PollEnd::Readable => WorkerSignal::receive(&self.socket),
                PollEnd::Slice if !cancel.is_cancelled() => continue,
                PollEnd::Slice | PollEnd::Late => {
                    return self
                        .last_report()
                        .unwrap_or(WorkerMessage::NoReport { cancelled: cancel.is_cancelled() });
                }
                PollEnd::Failed => None,
            };
            match signal {
                Some(WorkerSignal::Reports) => asked = false,
                Some(WorkerSignal::Full) => {
                    // The ring was empty before: there is room. That the worker is gone would show
                    // next.
                    let _ = WarmRequest::Continue.send(&self.socket);
                }
                None => return self.last_report().unwrap_or(WorkerMessage::HangUp),
            }
        }
    }

    /// Takes a report that came with, or right before, what else was heard.
    fn last_report(&mut self) -> Option<WorkerMessage> {
        self.reports.take_report().ok().flatten().map(WorkerMessage::Report)
    }

    /// Waits until there is something to read, or a hang-up; `false`: neither came in time.
    fn wait_readable(&self, timeout: Option<Nanos>, cancel: &Cancel) -> bool {
        let deadline = timeout.map(|timeout| Nanos(monotonic_now().0.saturating_add(timeout.0)));
        loop {
            match self.poll_socket(deadline, Cancel::POLL_MS) {
                PollEnd::Readable => return true,
                PollEnd::Late | PollEnd::Failed => return false,
                PollEnd::Slice if cancel.is_cancelled() => return false,
                PollEnd::Slice => {}
            }
        }
    }

    /// Waits for the socket until `deadline`, for `most` milliseconds at a time.
    fn poll_socket(&self, deadline: Option<Nanos>, most: u16) -> PollEnd {
        let mut watched = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let left =
            deadline.map_or(u64::MAX, |deadline| deadline.saturating_since(monotonic_now()).0);
        let slice = left.div_ceil(1_000_000).min(u64::from(most));
        let slice = u16::try_from(slice).unwrap_or(most);
        match poll(&mut watched, PollTimeout::from(slice)) {
            Ok(0) | Err(Errno::EINTR) if left == 0 => PollEnd::Late,
            Ok(0) | Err(Errno::EINTR) => PollEnd::Slice,
            Ok(_) => PollEnd::Readable,
            Err(_) => PollEnd::Failed,
        }
    }

    /// Returns the number of the worker's process.
    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a request for unmetered invocations; returns how long they took.
    pub(super) fn time_unmetered(&self, request: WarmRequest) -> Option<Nanos> {
        let mut took = [0; 8];
        request.send(&self.socket).ok()?;
        loop {
            match recv(self.socket.as_raw_fd(), &mut took, MsgFlags::empty()) {
                Ok(8) => return Some(Nanos(u64::from_ne_bytes(took))),
                // A word of reports that were taken before.
                Ok(1) | Err(Errno::EINTR) => {}
                Ok(_) | Err(_) => return None,
            }
        }
    }

    fn build_outcome(&mut self, job: &Job, report: &WasmWorkerReport) -> Outcome {
        let mut usage = Usage::new(false);
        for (meter, count) in Meter::ALL.iter().zip(report.counts) {
            usage.set(*meter, count);
        }
        estimate_ref_cycles(&mut usage, self.estimated_hz);
        usage.counter_coverage_ppm = report.coverage_ppm.and_then(|ppm| u32::try_from(ppm).ok());
        usage.phases.create = Some(report.created.saturating_since(report.begun));
        set_phases(&mut usage.phases, report, report.created, report.dropped);
        usage.set(Meter::Wall, report.wall_time(report.begun).0);
        usage.set(Meter::MemoryPeak, report.peak_kib.map(|kib| kib << 10));
        usage.set(Meter::MemoryAllocated, job.limits.memory.0);
        if let Some(share) = &mut self.share {
            let used = share.take_usage();
            used.fill_usage(&mut usage);
            if used.throttled.is_err() {
                let all = Arc::make_mut(&mut self.provenances);
                used.set_sources(self.runner.share_scope(), all);
            }
        }
        usage.set(Meter::LinearMemory, report.linear_memory);
        usage.set(Meter::WasmOps, counted_operators(report));
        let (status, mut reason, exit_code) = judge_call(report, &job.limits);
        if status != Status::Ok {
            reason = reason.map(|it| cold::with_stderr(it, &read_tail(&mut self.files.stderr)));
        }
        let outcome = Outcome {
            status,
            reason,
            exit_code,
            requested: report.begun,
            ended: report.ended,
            usage,
            provenances: Arc::clone(&self.provenances),
            output: report.output,
        };
        explain_missing(outcome.with_output_checked(&job.preset), Some(report))
    }

    /// Returns the outcome of an invocation whose worker has ended, or has to be ended.
    fn lost_outcome(&mut self, job: &Job, requested: Nanos, heard: &WorkerMessage) -> Outcome {
        let mut outcome = Outcome::failed_to_start(job, requested, "the worker is gone");
        outcome.provenances = Arc::new(unreported_sources(&self.provenances));
        outcome.usage.set(Meter::Wall, outcome.ended.saturating_since(requested).0);
        outcome.usage.set(Meter::MemoryAllocated, job.limits.memory.0);
        outcome.usage.set(Meter::VcpuAllocated, job.cpu_share.map(|share| u64::from(share.0)));
        let (ended, reason) = self.end_and_explain(job);
        match heard {
            WorkerMessage::NoReport { cancelled: true } => {
                outcome.status = Status::Interrupted;
                outcome.reason = Some("stopped with the recording".to_owned());
            }
            WorkerMessage::NoReport { .. } => {
                outcome.status = Status::Timeout;
                outcome.reason = Some(format!("no end within its limit of {}", job.limits.timeout));
            }
            WorkerMessage::Report(_) | WorkerMessage::HangUp => {
                (outcome.exit_code, outcome.reason) = (ended, Some(reason));
            }
        }
        outcome
    }

    /// Ends the worker, whatever it still does; returns its exit code, if that is meaningful, and
    /// why it ended.
    fn end_and_explain(&mut self, job: &Job) -> (Option<i32>, String) {
        // A worker that has ended by itself does not notice this.
        self.runner.kill();
        let ended = match self.runner.wait_for_end(&Cancel::default()) {
            Ok(ended) => ended,
            Err(error) => return (None, error.to_string()),
        };
        let stderr = read_tail(&mut self.files.stderr);
        let grouped = self.runner.group().ok().map(|it| it.usage_since(&GroupBaseline::default()));
        let by_itself = ProgramEnd { why: EndCause::ByItself, ..ended };
        if let Some(reason) = self.wall.explain_hit(grouped.as_ref(), &by_itself, &stderr) {
            return (None, reason);
        }
        let (_, reason, code) =
            process_verdict(job, &by_itself, None, &stderr, longest_output(&self.files));
        (code, reason.unwrap_or_else(|| "the worker is gone".to_owned()))
    }
}

/// Returns the sources of an invocation whose worker was gone before its report.
fn unreported_sources(usual: &Provenances) -> Provenances {
    let mut all = usual.clone();
    for (meter, provenance) in usual.iter() {
        let kept = matches!(provenance.source, None | Some(Source::Plan | Source::Clock));
        if !kept {
            all.set_missing(meter, "the worker ended before it could report");
        }
    }
    all
}

fn set_warm_sources(all: &mut Provenances, settings: WasmtimeSettings, tsc_hz: Option<u64>) {
    set_common_sources(all, settings);
    let counted = all.get(Meter::RefCycles).is_some_and(|it| it.source.is_some());
    let timed = all.get(Meter::CpuTime).is_some_and(|it| it.source.is_some());
    if let (false, true, Some(hz)) = (counted, timed, tsc_hz) {
        all.set_source(Meter::RefCycles, Source::Estimate, format!("cpu_time x {hz} Hz (TSC)"));
    }
    all.set_source(
        Meter::CpuStartup,
        Source::Clock,
        "CPU clock of the worker's thread, from the request to the first instruction: making \
         store and instance, a start section included",
    );
    all.set_source(
        Meter::Wall,
        Source::Clock,
        "create + start + run, less the worker's readings of itself",
    );
    if let Some(Provenance { source: Some(source), note, .. }) = all.get(Meter::CpuTime).cloned() {
        let separator = if note.is_empty() { "" } else { "; " };
        let scope = "of the thread that runs the function, from request to teardown";
        all.set_source(Meter::CpuTime, source, format!("{scope}{separator}{note}"));
    }
    for meter in [Meter::CpuUser, Meter::CpuSystem] {
        all.set_missing(
            meter,
            "the kernel splits a thread's time at its ticks: no figure for one invocation",
        );
    }
    all.set_sampled_memory_time();
    for meter in [Meter::IoRead, Meter::IoWrite] {
        all.set_missing(meter, "not metered in process lanes yet");
    }
}
