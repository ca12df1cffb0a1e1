//! One container from its creation to its end, with the time of each phase.

use std::future::Future;
use std::pin::Pin;

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error as ApiError;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::ending::Stop;
use super::engine::{Engine, EngineError, POLL, REQUEST};
use super::output::Output;
use crate::lane::{Cancel, Job, now};
use crate::meter::Phases;
use crate::units::Nanos;
use crate::workload::Input;

type Pieces = Pin<Box<dyn Stream<Item = Result<LogOutput, ApiError>> + Send>>;

/// A container of this lane, known by a name given to it: an engine that does
/// not answer a request may still have done what it was asked.
pub(super) struct Container<'a> {
    pub engine: &'a Engine,
    pub name: &'a str,
    pub job: &'a Job,
    pub cancel: &'a Cancel,
}

/// What is known of a run, complete or not.
#[derive(Default)]
pub(super) struct Run {
    pub phases: Phases,
    /// When the engine said that it had ended.
    pub ended: Option<Nanos>,
    /// Why it was ended, if it did not end by itself.
    pub stop: Option<Stop>,
    pub output: Output,
    /// Why the output is not all of it.
    pub output_lost: Option<String>,
}

impl Run {
    /// Whether it ended by itself and all of its output has come.
    pub const fn is_whole(&self) -> bool {
        self.stop.is_none() && self.output_lost.is_none()
    }
}

/// The streams of a container that is not started yet.
pub(super) struct Streams {
    output: Pieces,
    input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl Container<'_> {
    /// Makes it.
    pub async fn create(
        &self,
        body: ContainerCreateBody,
        run: &mut Run,
    ) -> Result<(), EngineError> {
        let options = CreateContainerOptionsBuilder::new().name(self.name).build();
        let asked = now();
        let request = self.engine.docker.create_container(Some(options), body);
        self.ask("create the container", request).await?;
        run.phases.create = Some(now().since(asked));
        self.unless_cancelled()
    }

    /// Connects its streams, before there is anything in them. Belongs to no
    /// phase: what an invocation without this program would pay is not known.
    pub async fn attach(&self) -> Result<Streams, EngineError> {
        let options = AttachContainerOptionsBuilder::new()
            .stream(true)
            .stdin(!self.job.preset.stdin.is_empty())
            .stdout(true)
            .stderr(true)
            .build();
        let request = self.engine.docker.attach_container(self.name, Some(options));
        let AttachContainerResults { output, input } =
            self.ask("attach to the container", request).await?;
        self.unless_cancelled()?;
        Ok(Streams { output, input })
    }

    /// Starts it. The answer's moment is where its run begins.
    pub async fn start(&self, run: &mut Run) -> Result<Nanos, EngineError> {
        let asked = now();
        let request = self.engine.docker.start_container(self.name, None);
        self.ask("start the container", request).await?;
        let started = now();
        run.phases.start = Some(started.since(asked));
        Ok(started)
    }

    /// Feeds it, collects what it writes, ends it when it must be ended, and
    /// waits for its end. The time runs from the answer to the start. Returns
    /// its exit code.
    pub async fn supervise(
        &self,
        streams: Streams,
        started: Nanos,
        run: &mut Run,
    ) -> Result<i64, EngineError> {
        let mut output = Some(streams.output);
        let mut feed = std::pin::pin!(feed(streams.input, &self.job.preset.stdin));
        let mut is_fed = false;
        let mut wait = std::pin::pin!(self.wait());
        let mut kill = std::pin::pin!(self.kill());
        let mut is_killing = false;
        let mut alarm = std::pin::pin!(sleep(self.job.limits.timeout.into()));
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let code = loop {
            let stop = tokio::select! {
                code = &mut wait => {
                    let ended = now();
                    let code = code?;
                    run.ended = Some(ended);
                    run.phases.run = Some(ended.since(started));
                    break code;
                }
                piece = next(&mut output) => self.take(piece, &mut output, run),
                () = &mut feed, if !is_fed => { is_fed = true; None }
                done = &mut kill, if is_killing => { is_killing = false; done?; None }
                () = &mut alarm => Some(Stop::Timeout),
                _ = ticks.tick() => self.cancel.is_cancelled().then_some(Stop::Cancelled),
            };
            match (run.stop, stop) {
                (None, Some(stop)) => {
                    run.stop = Some(stop);
                    // Beside the rest: the engine answers when all output has
                    // been taken.
                    is_killing = true;
                    alarm.as_mut().reset(Instant::now() + REQUEST);
                }
                (Some(_), Some(Stop::Timeout)) => return Err(self.no_end()),
                _ => {}
            }
        };
        self.drain(output, run).await;
        Ok(code)
    }

    /// Takes one piece of output, or its end.
    fn take(
        &self,
        piece: Option<Result<LogOutput, ApiError>>,
        output: &mut Option<Pieces>,
        run: &mut Run,
    ) -> Option<Stop> {
        match piece {
            Some(Ok(piece)) => run.output.take(piece),
            Some(Err(error)) => {
                run.output_lost = Some(error.to_string());
                *output = None;
            }
            None => *output = None,
        }
        if !run.output.exceeds(self.job.limits.output) {
            return None;
        }
        run.output.discard();
        Some(Stop::Output)
    }

    /// The exit code, once the container has ended: also if it has already.
    async fn wait(&self) -> Result<i64, EngineError> {
        const ACTION: &str = "wait for the container's end";
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        let mut answers = self.engine.docker.wait_container(self.name, Some(options));
        match answers.next().await {
            Some(Ok(answer)) => Ok(answer.status_code),
            // Any exit code but 0 is an error to the library.
            Some(Err(ApiError::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) => Err(self.engine.explain(ACTION, &error)),
            None => Err(EngineError::Unreachable {
                host: self.engine.host.clone(),
                action: ACTION,
                cause: "it closed the connection".to_owned(),
                remedy: "is the engine still running? Look with `systemctl status docker`",
            }),
        }
    }

    /// What was written before the end and has not arrived yet. A stream that
    /// does not end must not hold up the recording.
    async fn drain(&self, mut output: Option<Pieces>, run: &mut Run) {
        let rest = async {
            while output.is_some() {
                let piece = next(&mut output).await;
                if let Some(stop) = self.take(piece, &mut output, run) {
                    run.stop.get_or_insert(stop);
                }
            }
        };
        if timeout(REQUEST, rest).await.is_err() {
            let limit = Nanos::from(REQUEST);
            run.output_lost = Some(format!("its stream was still open {limit} after its end"));
        } else if run.output.is_malformed() {
            run.output_lost = Some("its stream broke off inside a frame".to_owned());
        }
    }

    async fn kill(&self) -> Result<(), EngineError> {
        let request = self.engine.docker.kill_container(self.name, None);
        match self.engine.ask("kill the container", REQUEST / 2, None, request).await {
            // It ended by itself in the meantime.
            Err(error) if error.is_missing() || error.is_conflict() => Ok(()),
            other => other,
        }
    }

    fn no_end(&self) -> EngineError {
        EngineError::Silent {
            host: self.engine.host.clone(),
            action: "report the end of the container that it killed",
            limit: REQUEST.into(),
        }
    }

    /// Whether the engine says that it ran out of memory.
    pub async fn ran_out_of_memory(&self) -> Option<bool> {
        let request = self.engine.docker.inspect_container(self.name, None);
        let answer = self.engine.ask("inspect the container", REQUEST / 2, None, request).await;
        answer.ok()?.state?.oom_killed
    }

    async fn ask<T>(
        &self,
        action: &'static str,
        request: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, EngineError> {
        self.engine.ask(action, REQUEST, Some(self.cancel), request).await
    }

    fn unless_cancelled(&self) -> Result<(), EngineError> {
        if self.cancel.is_cancelled() { Err(EngineError::Cancelled) } else { Ok(()) }
    }
}

/// Removes a container by name, running or not. Says whether there was one.
pub(super) async fn remove(
    engine: &Engine,
    name: &str,
    limit: std::time::Duration,
) -> Result<bool, EngineError> {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    let request = engine.docker.remove_container(name, Some(options));
    match engine.ask("remove the container", limit, None, request).await {
        Ok(()) => Ok(true),
        // Its removal is under way.
        Err(error) if error.is_conflict() => Ok(true),
        Err(error) if error.is_missing() => Ok(false),
        Err(error) => Err(error),
    }
}

/// The next piece; never, after the end.
async fn next(output: &mut Option<Pieces>) -> Option<Result<LogOutput, ApiError>> {
    match output {
        Some(pieces) => pieces.next().await,
        None => std::future::pending().await,
    }
}

/// Writes the input and closes it. A function that does not read all of it is
/// free to do so: errors are not.
async fn feed(mut stream: Pin<Box<dyn AsyncWrite + Send>>, input: &Input) {
    if input.is_empty() {
        return;
    }
    if stream.write_all(&input.content()).await.is_ok() {
        let _ = stream.shutdown().await;
    }
}
