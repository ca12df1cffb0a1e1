//! Warm invocations: a worker that stays and creates a fresh instance each time.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};

use super::super::launcher::{Ended, Privileges, Program, Spawn, Stdio3, Why};
use super::super::process::{
    ProcessProbe, Runner, estimate_ref_cycles, one_line, tail, verdict as process_verdict, written,
};
use super::super::wall::Wall;
use super::super::{Cancel, Job, Outcome, Status, Watch, now};
use super::handover::Compiled;
use super::protocol::{MAX_MESSAGE, Report, WorkerConfig};
use super::settings::Settings;
use super::{
    WasmtimeLane, cold, counted_operators, explain_missing, set_common, set_one, set_phases,
    verdict,
};
use cyclometer_core::units::Nanos;
use cyclometer_meter::function_group::GroupBaseline;
use cyclometer_meter::perf::{Counters, Target};
use cyclometer_meter::{Meter, Provenance, Provenances, Source, Usage, host};

/// Longest time that a worker may take to load its module.
const LOAD_TIMEOUT: Nanos = Nanos(30_000_000_000);

/// A worker that has loaded a module.
pub(super) struct WarmWorker {
    runner: Runner,
    socket: OwnedFd,
    files: Stdio3,
    pid: u32,
    provenances: Arc<Provenances>,
    /// Counters on the worker, for the sampler.
    counters: Arc<Mutex<Counters>>,
    tsc_hz: Option<u64>,
    wall: Wall,
}

/// Message of a worker, or its absence.
enum Heard {
    Report(Box<Report>),
    /// The time limit passed, or the recording was stopped.
    Silence {
        cancelled: bool,
    },
    /// The worker is gone.
    HangUp,
}

impl WasmtimeLane {
    pub(super) fn warm_runs(
        &mut self,
        job: &Job,
        count: u32,
        watch: &mut dyn Watch,
        cancel: &Cancel,
        emit: &mut dyn FnMut(Outcome),
    ) {
        let mut left = count;
        while left > 0 && !cancel.is_cancelled() {
            let requested = now();
            if let Err(reason) = self.ensure_worker(job, cancel) {
                if cancel.is_cancelled() {
                    return;
                }
                emit(Outcome::unstarted(job, requested, reason));
                left -= 1;
                continue;
            }
            let Some(worker) = self.warm.get_mut(&job.cell) else { return };
            let done = worker.invoke(job, left, watch, cancel, emit);
            left -= done.count;
            if done.lost {
                self.warm.remove(&job.cell);
            }
        }
    }

    fn ensure_worker(&mut self, job: &Job, cancel: &Cancel) -> Result<(), String> {
        if !self.warm.contains_key(&job.cell) {
            let config = Self::worker_config(job, self.settings);
            let compiled = self.compiled_for(job, config.settings)?;
            let mut worker = WarmWorker::start(&self.executable, job, &config, &compiled, cancel)?;
            if let Some(operators) = self.operators.get(&job.cell) {
                set_one(Arc::make_mut(&mut worker.provenances), Meter::WasmOps, operators);
            }
            self.warm.insert(job.cell, worker);
        }
        Ok(())
    }
}

/// Result of a request to a worker.
struct Done {
    count: u32,
    /// Whether the worker cannot be used again.
    lost: bool,
}

impl WarmWorker {
    fn start(
        executable: &std::fs::File,
        job: &Job,
        config: &WorkerConfig,
        compiled: &Compiled,
        cancel: &Cancel,
    ) -> Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let runner =
            Runner::start_grouped(Privileges::Worker, true).map_err(|error| text(&error))?;
        let files = Stdio3::open(&job.preset.stdin).map_err(|error| text(&error))?;
        let (socket, theirs) = compiled.socket().map_err(|error| text(&error))?;
        let wall = cold::wall_of(job, compiled.size());
        let config_text = serde_json::to_string(config).map_err(|error| text(&error))?;
        let started = runner
            .spawn(&Spawn {
                program: Program::File(executable.as_fd()),
                args: &["cyclometer-worker", "__worker", &config_text],
                env: &[],
                stdin: files.stdin.as_fd(),
                stdout: files.stdout.as_fd(),
                stderr: files.stderr.as_fd(),
                extra: &[theirs.as_fd()],
                timeout: None,
                memory_limit: Some(wall.total()),
                data_limit: wall.data_limit(&runner),
                file_limit: Some(job.limits.output),
                cpu: job.cpu,
            })
            .map_err(|error| text(&error))?;
        drop(theirs);
        let counters = Counters::open(Target::Process(started.pid));
        let mut worker = Self {
            runner,
            socket,
            files,
            pid: started.pid,
            provenances: Arc::default(),
            counters: Arc::new(Mutex::new(counters)),
            tsc_hz: host::tsc_hz(),
            wall,
        };
        worker.greet(job, config.settings, cancel)?;
        Ok(worker)
    }

    /// Takes the worker's first message: the meters of its thread, or why it
    /// could not load the module.
    fn greet(&mut self, job: &Job, settings: Settings, cancel: &Cancel) -> Result<(), String> {
        let mut buffer = vec![0; 64 << 10];
        if !self.readable(Some(LOAD_TIMEOUT), cancel) {
            self.runner.kill();
            return Err(format!("the worker did not load the module within {LOAD_TIMEOUT}"));
        }
        let size = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty());
        let message = size.map_or(&[][..], |size| &buffer[..size]);
        let Ok(heard) = serde_json::from_slice::<Vec<(Meter, Option<String>, String)>>(message)
        else {
            return Err(match Report::decode(message) {
                Some(report) => verdict(&report, &job.limits).1.unwrap_or_default(),
                None => self.autopsy(job).1,
            });
        };
        let mut all = Provenances::default();
        for (meter, source, note) in heard {
            match Source::ALL.iter().find(|it| Some(it.label()) == source.as_deref()) {
                Some(source) => all.set(meter, *source, note),
                None => all.missing(meter, one_line(&note)),
            }
        }
        set_warm(&mut all, settings, self.tsc_hz);
        self.provenances = Arc::new(all);
        Ok(())
    }

    /// Requests `count` invocations and passes their outcomes on.
    fn invoke(
        &mut self,
        job: &Job,
        count: u32,
        watch: &mut dyn Watch,
        cancel: &Cancel,
        emit: &mut dyn FnMut(Outcome),
    ) -> Done {
        // A burst is too short to sample, and its members could not be distinguished.
        if count == 1 {
            watch.begin(Box::new(ProcessProbe::new(self.pid, &self.counters, None)));
        }
        let mut requested = now();
        let sent = send(self.socket.as_raw_fd(), &count.to_ne_bytes(), MsgFlags::MSG_NOSIGNAL);
        for done in 0..count {
            let heard = if sent.is_ok() { self.listen(job, cancel) } else { Heard::HangUp };
            watch.end();
            match heard {
                Heard::Report(report) => {
                    requested = now();
                    emit(self.outcome(job, &report));
                }
                other => {
                    emit(self.lost(job, requested, &other));
                    return Done { count: done + 1, lost: true };
                }
            }
            if cancel.is_cancelled() {
                // Invocations that are still under way are not wanted: the worker is ended.
                return Done { count: done + 1, lost: done + 1 < count };
            }
        }
        Done { count, lost: false }
    }

    fn listen(&self, job: &Job, cancel: &Cancel) -> Heard {
        if !self.readable(Some(job.limits.timeout), cancel) {
            return Heard::Silence { cancelled: cancel.is_cancelled() };
        }
        let mut buffer = [0; MAX_MESSAGE];
        let size = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty());
        let report = size.ok().and_then(|size| Report::decode(&buffer[..size]));
        report.map_or(Heard::HangUp, |report| Heard::Report(Box::new(report)))
    }

    /// Waits until there is something to read, or a hang-up; `false`: neither came in time.
    fn readable(&self, timeout: Option<Nanos>, cancel: &Cancel) -> bool {
        let deadline = timeout.map(|timeout| Nanos(now().0.saturating_add(timeout.0)));
        loop {
            let mut watched = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            let left = deadline.map_or(u64::MAX, |deadline| deadline.since(now()).0);
            let slice = left.div_ceil(1_000_000).min(u64::from(Cancel::POLL_MS));
            let slice = u16::try_from(slice).unwrap_or(Cancel::POLL_MS);
            match poll(&mut watched, PollTimeout::from(slice)) {
                Ok(0) | Err(Errno::EINTR) if left == 0 || cancel.is_cancelled() => return false,
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return true,
                Err(_) => return false,
            }
        }
    }

    fn outcome(&mut self, job: &Job, report: &Report) -> Outcome {
        let mut usage = Usage::new(false);
        for (meter, count) in Meter::ALL.iter().zip(report.counts) {
            usage.set(*meter, count);
        }
        let ticks = self.provenances.get(Meter::RefCycles).and_then(|it| it.source);
        if ticks == Some(Source::Estimate) {
            estimate_ref_cycles(&mut usage, self.tsc_hz);
        }
        usage.counter_coverage_ppm = report.coverage_ppm.and_then(|ppm| u32::try_from(ppm).ok());
        usage.phases.create = Some(report.created.since(report.begun));
        set_phases(&mut usage.phases, report, report.created, report.dropped);
        usage.set(Meter::Wall, report.wall(report.begun).0);
        usage.set(Meter::MemoryPeak, report.peak_kib.map(|kib| kib << 10));
        usage.set(Meter::MemoryAllocated, job.limits.memory.0);
        usage.set(Meter::LinearMemory, report.linear_memory);
        usage.set(Meter::WasmOps, counted_operators(report));
        let (status, mut reason, exit_code) = verdict(report, &job.limits);
        if status != Status::Ok {
            reason = reason.map(|it| cold::with_stderr(it, &tail(&mut self.files.stderr)));
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
        explain_missing(outcome.checked(&job.preset), Some(report))
    }

    /// Returns the outcome of an invocation whose worker has ended, or has to be ended.
    fn lost(&mut self, job: &Job, requested: Nanos, heard: &Heard) -> Outcome {
        let mut outcome = Outcome::unstarted(job, requested, "the worker is gone");
        outcome.provenances = Arc::new(unreported(&self.provenances));
        outcome.usage.set(Meter::Wall, outcome.ended.since(requested).0);
        outcome.usage.set(Meter::MemoryAllocated, job.limits.memory.0);
        let (ended, reason) = self.autopsy(job);
        match heard {
            Heard::Silence { cancelled: true } => {
                outcome.status = Status::Interrupted;
                outcome.reason = Some("stopped with the recording".to_owned());
            }
            Heard::Silence { .. } => {
                outcome.status = Status::Timeout;
                outcome.reason = Some(format!("no end within its limit of {}", job.limits.timeout));
            }
            Heard::Report(_) | Heard::HangUp => {
                (outcome.exit_code, outcome.reason) = (ended, Some(reason));
            }
        }
        outcome
    }

    /// Ends the worker, whatever it still does; returns its exit code, if that is meaningful, and
    /// why it ended.
    fn autopsy(&mut self, job: &Job) -> (Option<i32>, String) {
        // A worker that has ended by itself does not notice this.
        self.runner.kill();
        let ended = match self.runner.wait(&Cancel::default()) {
            Ok(ended) => ended,
            Err(error) => return (None, error.to_string()),
        };
        let stderr = tail(&mut self.files.stderr);
        let grouped = self.runner.group().ok().map(|it| it.usage_since(&GroupBaseline::default()));
        let by_itself = Ended { why: Why::Itself, ..ended };
        if let Some(reason) = self.wall.explain(grouped.as_ref(), &by_itself, &stderr) {
            return (None, reason);
        }
        let (_, reason, code) =
            process_verdict(job, &by_itself, None, &stderr, written(&self.files));
        (code, reason.unwrap_or_else(|| "the worker is gone".to_owned()))
    }
}

/// Returns the sources of an invocation whose worker was gone before its report.
fn unreported(usual: &Provenances) -> Provenances {
    let mut all = usual.clone();
    for (meter, provenance) in usual.iter() {
        let kept = matches!(provenance.source, None | Some(Source::Plan | Source::Clock));
        if !kept {
            all.missing(meter, "the worker ended before it could report");
        }
    }
    all
}

fn set_warm(all: &mut Provenances, settings: Settings, tsc_hz: Option<u64>) {
    set_common(all, settings);
    let counted = all.get(Meter::RefCycles).is_some_and(|it| it.source.is_some());
    let timed = all.get(Meter::CpuTime).is_some_and(|it| it.source.is_some());
    if let (false, true, Some(hz)) = (counted, timed, tsc_hz) {
        all.set(Meter::RefCycles, Source::Estimate, format!("cpu_time x {hz} Hz (TSC)"));
    }
    all.set(
        Meter::CpuStartup,
        Source::Clock,
        "CPU clock of the worker's thread, from the request to the first instruction: making \
         store and instance, a start section included",
    );
    all.set(
        Meter::Wall,
        Source::Clock,
        "create + start + run, less the worker's readings of itself",
    );
    if let Some(Provenance { source: Some(source), note }) = all.get(Meter::CpuTime).cloned() {
        let separator = if note.is_empty() { "" } else { "; " };
        let scope = "of the thread that runs the function, from request to teardown";
        all.set(Meter::CpuTime, source, format!("{scope}{separator}{note}"));
    }
    for meter in [Meter::CpuUser, Meter::CpuSystem] {
        all.missing(
            meter,
            "the kernel splits a thread's time at its ticks: no figure for one invocation",
        );
    }
    all.set_sampled();
    for meter in [Meter::IoRead, Meter::IoWrite] {
        all.missing(meter, "not metered in process lanes yet");
    }
}
