//! Cold invocations and compilation: one worker process each.

use std::io::{Read, Seek};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{MsgFlags, recv};

use super::super::launcher::{EndCause, SpawnRequest, SpawnTarget, Stdio3};
use super::super::outer_memory_limit::{OuterMemoryLimit, has_complaint};
use super::super::program_run::{
    ProgramRun, digest_output, judge_run as process_verdict, longest_output, read_tail,
};
use super::super::{Cancel, Job, NoSampling, Outcome, ProbeSampler, Status, monotonic_now};
use super::protocol::{MAX_MESSAGE, WasmWorkerReport, WorkerConfig};
use super::settings::WasmtimeSettings;
use super::{WasmtimeLane, counted_operators, explain_missing, judge_call, set_phases};
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_meter::{Meter, Usage};
use cyclometer_workload::{FunctionInput, Limits};

/// Most memory that compiling a module may take; for the time see
/// [`super::time_budget`].
const COMPILE_MEMORY: Bytes = Bytes(4 << 30);
/// Size of the largest compiled module, in bytes.
const MAX_COMPILED_BYTES: Bytes = Bytes(1 << 30);

impl WasmtimeLane {
    /// Runs one cold invocation; a failure of the lane is an outcome, too.
    pub(super) fn run_cold(
        &mut self,
        job: &Job,
        watch: &mut dyn ProbeSampler,
        cancel: &Cancel,
    ) -> Outcome {
        let requested = monotonic_now();
        let ran = self
            .worker_config(job, self.settings)
            .and_then(|config| self.run_cold_worker(job, &config, watch, cancel));
        match ran {
            Ok((outcome, _)) => outcome,
            Err(reason) => Outcome::failed_to_start(job, requested, reason),
        }
    }

    /// Runs a new worker to its end. The report is missing if it sent none.
    pub(super) fn run_cold_worker(
        &mut self,
        job: &Job,
        config: &WorkerConfig,
        watch: &mut dyn ProbeSampler,
        cancel: &Cancel,
    ) -> Result<(Outcome, Option<WasmWorkerReport>), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let mut files = Stdio3::with_input(&job.preset.stdin).map_err(|error| text(&error))?;
        let compiled = self.compiled_module_for(job, config.settings)?;
        let (ours, theirs) = compiled.open_socket_pair().map_err(|error| text(&error))?;
        let module_size = compiled.size();
        let config = serde_json::to_string(config).map_err(|error| text(&error))?;
        let args = ["cyclometer-worker", "__worker", config.as_str()];
        let env = super::worker_environment(job);
        let env: Vec<&str> = env.iter().map(String::as_str).collect();
        let runner = self.runner.get_or_start().map_err(|error| text(&error))?;
        let wall = outer_limit_for(job, module_size);
        let spawn = SpawnRequest {
            program: SpawnTarget::File(self.executable.as_fd()),
            args: &args,
            env: &env,
            stdin: files.stdin.as_fd(),
            stdout: files.stdout.as_fd(),
            stderr: files.stderr.as_fd(),
            extra: &[theirs.as_fd()],
            timeout: Some(job.limits.timeout),
            memory_limit: Some(wall.total()),
            data_limit: wall.data_limit(runner),
            file_limit: Some(job.limits.output),
            cpu: job.cpu,
            start_folder: std::path::Path::new("/"),
            cpu_share: job.cpu_share,
        };
        let run = runner.run(&spawn, watch, cancel).map_err(|error| {
            self.runner.drop_if_spent();
            text(&error)
        })?;
        drop(theirs);
        let report = receive_report(&ours);
        let outcome = self.build_cold_outcome(job, &run, report.as_ref(), wall, &mut files);
        self.runner.drop_if_spent();
        Ok((outcome, report))
    }

    fn build_cold_outcome(
        &self,
        job: &Job,
        run: &ProgramRun,
        report: Option<&WasmWorkerReport>,
        bounds: OuterMemoryLimit,
        files: &mut Stdio3,
    ) -> Outcome {
        let mut usage = Usage::new(true);
        let mut provenances = self.cold_sources(job);
        if let Some(runner) = self.runner.current() {
            runner.fill_usage(run, &mut usage);
            provenances = runner.sources_for(run, &provenances);
        }
        usage.set(Meter::MemoryAllocated, job.limits.memory.0);
        let stderr = read_tail(&mut files.stderr);
        let (mut status, mut reason, mut exit_code) =
            process_verdict(job, &run.ended, None, &stderr, longest_output(files));
        let (requested, mut ended) = (run.started.requested, run.ended.at);
        let mut wall = ended.saturating_since(requested);
        if let Some(report) = report {
            usage.phases.create = Some(report.begun.saturating_since(requested));
            set_phases(&mut usage.phases, report, report.begun, run.ended.at);
            fill_worker_readings(&mut usage, report);
            (ended, wall) = (report.ended, report.wall_time(requested));
            if status == Status::Ok {
                (status, reason, exit_code) = judge_call(report, &job.limits);
                reason = reason.map(|it| with_stderr(it, &stderr));
            }
        } else {
            usage.phases.create = Some(run.started.executed.saturating_since(requested));
            let told = bounds.explain_hit(run.group_usage.as_ref(), &run.ended, &stderr);
            (exit_code, reason) = (exit_code.filter(|_| told.is_none()), told.or(reason));
        }
        usage.set(Meter::Wall, wall.0);
        let outcome = Outcome {
            status,
            reason,
            exit_code,
            requested,
            ended,
            usage,
            provenances,
            output: digest_output(&mut files.stdout).ok(),
        };
        explain_missing(outcome.with_output_checked(&job.preset), report)
    }

    /// Compiles in a process of its own; the error is the compiler's.
    pub(super) fn run_compiler(
        &mut self,
        module: &[u8],
        settings: WasmtimeSettings,
        timeout: Nanos,
        cancel: &Cancel,
    ) -> Result<Vec<u8>, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let runner = self.runner.get_or_start().map_err(|error| text(&error))?;
        let mut files =
            Stdio3::with_input(&FunctionInput::from_bytes(module)).map_err(|error| text(&error))?;
        let variant = settings.to_string();
        let spawn = SpawnRequest {
            program: SpawnTarget::File(self.executable.as_fd()),
            args: &["cyclometer-compile", "__compile", &variant],
            env: &[],
            stdin: files.stdin.as_fd(),
            stdout: files.stdout.as_fd(),
            stderr: files.stderr.as_fd(),
            extra: &[],
            timeout: Some(timeout),
            memory_limit: Some(COMPILE_MEMORY),
            data_limit: Some(COMPILE_MEMORY),
            file_limit: Some(MAX_COMPILED_BYTES),
            cpu: None,
            start_folder: std::path::Path::new("/"),
            cpu_share: None,
        };
        let run = match runner.run(&spawn, &mut NoSampling, cancel) {
            Ok(run) => run,
            Err(error) => {
                // The module is not to blame: the next attempt gets another launcher.
                self.runner.discard();
                return Err(text(&error));
            }
        };
        match run.ended.status {
            0 if run.ended.why == EndCause::ByItself => {
                let mut code = Vec::new();
                files.stdout.rewind().map_err(|error| text(&error))?;
                files.stdout.read_to_end(&mut code).map_err(|error| text(&error))?;
                Ok(code)
            }
            _ => Err(explain_compiler(&run, &read_tail(&mut files.stderr))),
        }
    }
}

/// Explains why the compiler returned no module.
fn explain_compiler(run: &ProgramRun, stderr: &str) -> String {
    let killed = run.group_usage.as_ref().is_some_and(|group| group.killed > 0);
    match (run.ended.why, run.ended.status & 0x7f) {
        (EndCause::Timeout, _) => super::compile_budget_reason(),
        (EndCause::Cancelled, _) => "stopped with the recording".to_owned(),
        (EndCause::ByItself, _) if killed || has_complaint(stderr) => {
            let why = with_stderr(String::new(), stderr);
            format!("out of memory: compiling a module may take {COMPILE_MEMORY}{why}")
        }
        (EndCause::ByItself, 0) => format!("not a module that wasmtime compiles: {stderr}"),
        (EndCause::ByItself, signal) => {
            with_stderr(format!("the compiler was ended by signal {signal}"), stderr)
        }
    }
}

/// Memory that a worker may use beside its function's: the engine with its pool and tables (64
/// MiB), and the largest piece of memory that a host call copies (wasmtime allows 128 MiB).
const WORKER_ALLOWANCE: Bytes = Bytes(192 << 20);

/// Describes the allowance of [`outer_limit_for`].
pub(super) fn describe_allowance() -> String {
    format!("{WORKER_ALLOWANCE}, the module's size and twice the output limit")
}

/// Returns the memory limit around a worker: standard output and standard error are files in memory
/// and the worker's own, and so is what it decodes of the compiled module.
pub(super) fn outer_limit_for(job: &Job, module: Bytes) -> OuterMemoryLimit {
    let Limits { memory, output, .. } = job.limits;
    let module = module.0.next_multiple_of(1 << 20);
    let allowance =
        WORKER_ALLOWANCE.0.saturating_add(module).saturating_add(output.0.saturating_mul(2));
    OuterMemoryLimit { function: memory, allowance: Bytes(allowance) }
}

/// Enters the worker's readings of itself.
fn fill_worker_readings(usage: &mut Usage, report: &WasmWorkerReport) {
    usage.set(Meter::LinearMemory, report.linear_memory);
    usage.set(Meter::WasmOps, counted_operators(report));
    for meter in [Meter::MemoryGrowFailed, Meter::MemoryStartup] {
        usage.set(meter, report.counts[meter as usize]);
    }
    // Both clocks are right, but they differ: no part may exceed the whole.
    let read = report.counts[Meter::CpuStartup as usize];
    let part = read.zip(usage.get(Meter::CpuTime)).map(|(part, whole)| part.min(whole));
    usage.set(Meter::CpuStartup, part);
}

pub(super) fn with_stderr(reason: String, stderr: &str) -> String {
    if stderr.is_empty() { reason } else { format!("{reason}: {stderr}") }
}

/// Receives the report that a worker sent before it ended, if it did.
fn receive_report(socket: &OwnedFd) -> Option<WasmWorkerReport> {
    let mut buffer = [0; MAX_MESSAGE];
    let size = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT).ok()?;
    WasmWorkerReport::decode(&buffer[..size])
}
