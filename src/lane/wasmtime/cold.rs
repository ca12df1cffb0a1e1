//! Cold invocations and compilation: one worker process each.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, socketpair};

use super::super::launcher::{Privileges, Program, Spawn, Stdio3};
use super::super::process::{Run, Runner, digest, tail, verdict as process_verdict};
use super::super::{Cancel, Job, Outcome, Status, Unwatched, Watch, now};
use super::protocol::{MAX_MESSAGE, Report, WorkerConfig};
use super::settings::Settings;
use super::{WasmtimeLane, counted_operators, explain_missing, set_phases, verdict};
use crate::meter::{Meter, Usage};
use crate::units::{Bytes, Nanos};
use crate::workload::Input;

/// Most time and memory that compiling a module may take.
const COMPILE_TIMEOUT: Nanos = Nanos(120_000_000_000);
const COMPILE_MEMORY: Bytes = Bytes(4 << 30);

impl WasmtimeLane {
    /// One cold invocation, whatever comes of it.
    pub(super) fn cold(&mut self, job: &Job, watch: &mut dyn Watch, cancel: &Cancel) -> Outcome {
        let requested = now();
        let Some(config) = self.worker_config(job, self.settings) else {
            return Outcome::unstarted(job, requested, "the module was not compiled");
        };
        match self.cold_run(job, &config, watch, cancel) {
            Ok((outcome, _)) => outcome,
            Err(reason) => Outcome::unstarted(job, requested, reason),
        }
    }

    /// Runs a new worker to its end. The report is missing if it sent none.
    pub(super) fn cold_run(
        &mut self,
        job: &Job,
        config: &WorkerConfig,
        watch: &mut dyn Watch,
        cancel: &Cancel,
    ) -> Result<(Outcome, Option<Report>), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let mut files = Stdio3::open(&job.preset.stdin).map_err(|error| text(&error))?;
        let (ours, theirs) = socket().map_err(|error| text(&error))?;
        let config = serde_json::to_string(config).map_err(|error| text(&error))?;
        let args = ["cyclometer-worker", "__worker", config.as_str()];
        let spawn = Spawn {
            program: Program::File(self.executable.as_fd()),
            args: &args,
            env: &[],
            stdin: files.stdin.as_fd(),
            stdout: files.stdout.as_fd(),
            stderr: files.stderr.as_fd(),
            extra: &[theirs.as_fd()],
            timeout: Some(job.limits.timeout),
            memory_limit: None,
            data_limit: None,
            file_limit: Some(job.limits.output),
            cpu: job.cpu,
        };
        if self.runner.is_none() {
            let runner = Runner::counting(Privileges::Worker, self.counted);
            self.runner = Some(runner.map_err(|error| text(&error))?);
        }
        let Some(runner) = &self.runner else { return Err("no launcher".to_owned()) };
        let run = match runner.run(&spawn, watch, cancel) {
            Ok(run) => run,
            Err(error) => {
                if runner.is_lost(&error) {
                    self.runner = None;
                }
                return Err(text(&error));
            }
        };
        drop(theirs);
        let report = receive(&ours);
        let outcome = self.outcome(job, &run, report.as_ref(), &mut files);
        self.runner.take_if(|runner| runner.is_spent());
        Ok((outcome, report))
    }

    fn outcome(
        &self,
        job: &Job,
        run: &Run,
        report: Option<&Report>,
        files: &mut Stdio3,
    ) -> Outcome {
        let mut usage = Usage::new(true);
        let mut provenances = self.cold_sources(job);
        if let Some(runner) = &self.runner {
            runner.fill(run, &mut usage);
            provenances = runner.sources(run, &provenances);
        }
        usage.set(Meter::MemoryAllocated, job.limits.memory.0);
        let (mut status, mut reason, mut exit_code) =
            process_verdict(job, &run.ended, None, &tail(&mut files.stderr));
        let (requested, mut ended) = (run.started.requested, run.ended.at);
        let mut wall = ended.since(requested);
        match report {
            Some(report) => {
                usage.phases.create = Some(report.begun.since(requested));
                set_phases(&mut usage.phases, report, report.begun, run.ended.at);
                fill(&mut usage, report);
                (ended, wall) = (report.ended, report.wall(requested));
                if status == Status::Ok {
                    (status, reason, exit_code) = verdict(report);
                    reason = reason.map(|it| with_stderr(it, &tail(&mut files.stderr)));
                }
            }
            None => usage.phases.create = Some(run.started.executed.since(requested)),
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
            output: digest(&mut files.stdout).ok(),
        };
        explain_missing(outcome.checked(&job.preset), report)
    }

    /// Compiles in a process of its own; the error is the compiler's.
    pub(super) fn compile_to(
        &mut self,
        path: &Path,
        module: &[u8],
        settings: Settings,
        cancel: &Cancel,
    ) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let mut files = Stdio3::open(&Input::given(module)).map_err(|error| text(&error))?;
        let path = path.to_str().ok_or("the cache folder's name is not UTF-8")?;
        let variant = settings.to_string();
        let spawn = Spawn {
            program: Program::File(self.executable.as_fd()),
            args: &["cyclometer-compile", "__compile", path, &variant],
            env: &[],
            stdin: files.stdin.as_fd(),
            stdout: files.stdout.as_fd(),
            stderr: files.stderr.as_fd(),
            extra: &[],
            timeout: Some(COMPILE_TIMEOUT),
            memory_limit: None,
            data_limit: Some(COMPILE_MEMORY),
            file_limit: None,
            cpu: None,
        };
        let Some(runner) = &self.runner else { return Err("no launcher".to_owned()) };
        let run = runner.run(&spawn, &mut Unwatched, cancel).map_err(|error| text(&error))?;
        match run.ended.status {
            0 => Ok(()),
            _ => Err(format!("not a module that wasmtime compiles: {}", tail(&mut files.stderr))),
        }
    }
}

/// Enters what the worker read of itself.
fn fill(usage: &mut Usage, report: &Report) {
    usage.set(Meter::LinearMemory, report.linear_memory);
    usage.set(Meter::WasmOps, counted_operators(report));
    for meter in [Meter::MemoryGrowFailed, Meter::MemoryStartup] {
        usage.set(meter, report.counts[meter as usize]);
    }
    // Both clocks are right, but not one: no part is more than the whole.
    let read = report.counts[Meter::CpuStartup as usize];
    let part = read.zip(usage.get(Meter::CpuTime)).map(|(part, whole)| part.min(whole));
    usage.set(Meter::CpuStartup, part);
}

pub(super) fn with_stderr(reason: String, stderr: &str) -> String {
    if stderr.is_empty() { reason } else { format!("{reason}: {stderr}") }
}

/// A pair of sockets that keep messages apart.
pub(super) fn socket() -> nix::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
}

/// The report that a worker sent before it ended, if it did.
fn receive(socket: &OwnedFd) -> Option<Report> {
    let mut buffer = [0; MAX_MESSAGE];
    let size = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT).ok()?;
    Report::decode(&buffer[..size])
}
