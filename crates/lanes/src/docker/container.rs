//! One container from its creation to its end, with the time of each phase.

use std::future::Future;
use std::io;
use std::pin::Pin;

use bollard::errors::Error as ApiError;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use bytes::Bytes as Buffer;
use futures_util::StreamExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::engine::{
    CLEANUP_TIMEOUT, Engine, EngineError, POLL_INTERVAL, REQUEST_TIMEOUT, run_unless_cancelled,
};
use super::output::CapturedOutput;
use super::phases::RequestTimes;
use super::responses::{ContainerState, parse_container_state, sanitize_engine_text};
use super::termination::StopReason;
use super::transport::{ChunkReader, Duplex};
use crate::{Cancel, Job, monotonic_now};
use cyclometer_core::units::Bytes;
use cyclometer_workload::FunctionInput;

/// Longest output of a starter; more does not come from the starter.
const MOST_REPORT: Bytes = Bytes(4 << 10);

/// A container of this lane, known by a name that the lane gave it: an engine that
/// does not answer a request may still have carried it out.
pub(super) struct Container<'a> {
    pub engine: &'a Engine,
    pub name: &'a str,
    pub job: &'a Job,
    pub cancel: &'a Cancel,
    /// Whether the function's own streams pass through the engine, and not only its
    /// starter's report.
    pub streams: bool,
}

/// Record of a run, complete or not.
#[derive(Default)]
pub(super) struct ContainerRun {
    pub times: RequestTimes,
    /// Reason why the lane ended it; `None`: it ended by itself.
    pub stop: Option<StopReason>,
    pub output: CapturedOutput,
    /// Reason why the output is incomplete.
    pub output_lost: Option<String>,
}

impl ContainerRun {
    /// Returns whether it ended by itself and all of its output has arrived.
    pub const fn is_complete(&self) -> bool {
        self.stop.is_none() && self.output_lost.is_none()
    }
}

impl Container<'_> {
    /// Creates the container.
    pub async fn create(
        &self,
        body: ContainerCreateBody,
        platform: Option<&str>,
        run: &mut ContainerRun,
    ) -> Result<(), EngineError> {
        let mut options = CreateContainerOptionsBuilder::new().name(self.name);
        if let Some(platform) = platform {
            options = options.platform(platform);
        }
        run.times.requested = monotonic_now();
        let request = self.engine.docker.create_container(Some(options.build()), body);
        self.send_request("create the container", request).await?;
        run.times.created = Some(monotonic_now());
        self.check_cancelled()
    }

    /// Connects to its streams before there is anything in them. This belongs to no
    /// phase: how much of it an invocation without this program would pay is not
    /// known.
    pub async fn attach(&self) -> Result<Duplex, EngineError> {
        let stdin = self.streams && !self.job.preset.stdin.is_empty();
        let name = self.name;
        let path =
            format!("/containers/{name}/attach?stream=true&stdin={stdin}&stdout=true&stderr=true");
        let request = self.engine.transport.open_duplex(&path, "");
        let streams = self.send_request("attach to the container", request).await?;
        self.check_cancelled()?;
        Ok(streams)
    }

    /// Starts the container.
    pub async fn start(&self, run: &mut ContainerRun) -> Result<(), EngineError> {
        run.times.start = Some(monotonic_now());
        let request = self.engine.docker.start_container(self.name, None);
        self.send_request("start the container", request).await?;
        run.times.started = Some(monotonic_now());
        Ok(())
    }

    /// Feeds the container its input, collects its output, kills it when it must be
    /// ended, and waits for its end. The time limit runs from the response to the
    /// start request. Returns its exit code.
    pub(crate) async fn supervise(
        &self,
        streams: Duplex,
        run: &mut ContainerRun,
    ) -> Result<i64, EngineError> {
        let mut output = Some(streams.read);
        let mut feed = std::pin::pin!(write_input(streams.write, &self.job.preset.stdin));
        let mut is_fed = !self.streams;
        let mut wait = std::pin::pin!(self.wait_for_exit());
        let mut kill = std::pin::pin!(self.kill());
        let mut is_killing = false;
        let mut alarm = std::pin::pin!(sleep(self.job.limits.timeout.into()));
        let mut ticks = interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let code = loop {
            let stop = tokio::select! {
                code = &mut wait => {
                    run.times.ended = Some(monotonic_now());
                    break code?;
                }
                piece = next_chunk(&mut output) => self.accept_chunk(piece, &mut output, run),
                () = &mut feed, if !is_fed => { is_fed = true; None }
                done = &mut kill, if is_killing => { is_killing = false; done?; None }
                () = &mut alarm => Some(StopReason::Timeout),
                _ = ticks.tick() => self.cancel.is_cancelled().then_some(StopReason::Cancelled),
            };
            match (run.stop, stop) {
                (None, Some(stop)) => {
                    run.stop = Some(stop);
                    // Concurrently with the other futures: the engine answers only
                    // when all output has been read.
                    is_killing = true;
                    alarm.as_mut().reset(Instant::now() + REQUEST_TIMEOUT);
                }
                (Some(_), Some(StopReason::Timeout)) => return Err(self.missing_end_error()),
                _ => {}
            }
        };
        self.drain_output(output, run).await;
        Ok(code)
    }

    /// Accepts one chunk of output, or its end. Returns why the container must be ended, if so.
    pub(crate) fn accept_chunk(
        &self,
        piece: Option<io::Result<Buffer>>,
        output: &mut Option<ChunkReader>,
        run: &mut ContainerRun,
    ) -> Option<StopReason> {
        let taken = match piece {
            Some(Ok(piece)) => run.output.decode_chunk(&piece).map_err(|error| error.to_string()),
            Some(Err(error)) => Err(sanitize_engine_text(&error.to_string())),
            None => {
                *output = None;
                return None;
            }
        };
        if let Err(error) = taken {
            run.output_lost = Some(error);
            *output = None;
        }
        let (most, stop) = if self.streams {
            (self.job.limits.output, StopReason::Output)
        } else {
            (MOST_REPORT, StopReason::StarterFlood)
        };
        if !run.output.exceeds_limit(most) {
            return None;
        }
        run.output.discard_pending();
        Some(stop)
    }

    /// Waits until the container has ended, which it may have already, and returns
    /// its exit code.
    pub(crate) async fn wait_for_exit(&self) -> Result<i64, EngineError> {
        const ACTION: &str = "wait for the container's end";
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        let mut answers = self.engine.docker.wait_container(self.name, Some(options));
        match answers.next().await {
            Some(Ok(answer)) => Ok(answer.status_code),
            // The library reports any exit code but 0 as an error.
            Some(Err(ApiError::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) => Err(self.engine.to_engine_error(ACTION, &error)),
            None => Err(EngineError::Unreachable {
                host: self.engine.host.clone(),
                action: ACTION,
                cause: "it closed the connection".to_owned(),
                remedy: "is the engine still running? Look with `systemctl status docker`",
            }),
        }
    }

    /// Reads output that was written before the end and has not arrived yet. A stream
    /// that does not end must not hold up the recording.
    async fn drain_output(&self, mut output: Option<ChunkReader>, run: &mut ContainerRun) {
        // After a request to stop nobody waits long for output.
        let limit =
            if run.stop == Some(StopReason::Cancelled) { CLEANUP_TIMEOUT } else { REQUEST_TIMEOUT };
        let rest = async {
            while output.is_some() {
                let piece = next_chunk(&mut output).await;
                if let Some(stop) = self.accept_chunk(piece, &mut output, run) {
                    run.stop.get_or_insert(stop);
                    return;
                }
            }
        };
        if !matches!(timeout(limit, run_unless_cancelled(self.cancel, rest)).await, Ok(Some(()))) {
            run.output_lost = Some("its stream was still open long after its end".to_owned());
            if self.cancel.is_cancelled() {
                run.stop.get_or_insert(StopReason::Cancelled);
            }
        } else if run.output.is_inside_frame() && run.output_lost.is_none() {
            run.output_lost = Some("its stream broke off inside a frame".to_owned());
        }
    }

    pub async fn kill(&self) -> Result<(), EngineError> {
        let request = self.engine.docker.kill_container(self.name, None);
        match self.request_kill(request).await {
            // It ended by itself in the meantime.
            Err(error) if error.is_missing() || error.is_conflict() => Ok(()),
            other => other,
        }
    }

    async fn request_kill(
        &self,
        request: impl Future<Output = Result<(), ApiError>>,
    ) -> Result<(), EngineError> {
        self.engine
            .send_request("kill the container", REQUEST_TIMEOUT / 2, Some(self.cancel), request)
            .await
    }

    pub(crate) fn missing_end_error(&self) -> EngineError {
        EngineError::TimedOut {
            host: self.engine.host.clone(),
            action: "report the end of the container that it killed",
            limit: REQUEST_TIMEOUT.into(),
        }
    }

    pub async fn send_request<T>(
        &self,
        action: &'static str,
        request: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, EngineError> {
        self.engine.send_request(action, REQUEST_TIMEOUT, Some(self.cancel), request).await
    }

    fn check_cancelled(&self) -> Result<(), EngineError> {
        if self.cancel.is_cancelled() { Err(EngineError::Cancelled) } else { Ok(()) }
    }
}

/// Returns the state that the engine reports of a container; an empty one without a response.
pub(super) async fn inspect_state(engine: &Engine, name: &str, cancel: &Cancel) -> ContainerState {
    const ACTION: &str = "inspect the container";
    let path = format!("/containers/{name}/json");
    let parse = |answer: &[u8]| parse_container_state(answer, name);
    engine
        .fetch_parsed(ACTION, REQUEST_TIMEOUT / 2, Some(cancel), &path, parse)
        .await
        .unwrap_or_default()
}

/// Removes a container by name, running or not. Returns whether there was one.
pub(super) async fn remove_container(
    engine: &Engine,
    name: &str,
    limit: std::time::Duration,
    cancel: Option<&Cancel>,
) -> Result<bool, EngineError> {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    let request = engine.docker.remove_container(name, Some(options));
    match engine.send_request("remove the container", limit, cancel, request).await {
        Ok(()) => Ok(true),
        // The engine is already removing it.
        Err(error) if error.is_conflict() => Ok(true),
        Err(error) if error.is_missing() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the next chunk of output; after the end, waits forever.
pub(super) async fn next_chunk(output: &mut Option<ChunkReader>) -> Option<io::Result<Buffer>> {
    match output {
        Some(pieces) => pieces.next_chunk().await,
        None => std::future::pending().await,
    }
}

/// Writes the input and closes the stream. A function is free not to read all of its
/// input, so errors are ignored.
async fn write_input(mut stream: Pin<Box<dyn AsyncWrite + Send>>, input: &FunctionInput) {
    if input.is_empty() {
        return;
    }
    if stream.write_all(&input.content()).await.is_ok() {
        let _ = stream.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::responses::parse_timestamp;
    use cyclometer_core::units::Nanos;

    #[test]
    fn moments_of_the_engine_are_read_to_the_nanosecond() {
        // date -u -d '2026-11-21 15:24:13' +%s gives 1795274653.
        assert_eq!(
            parse_timestamp("2026-11-21T15:24:13.455688535Z"),
            Some(Nanos(1_795_274_653_455_688_535))
        );
        assert_eq!(
            parse_timestamp("2026-11-21T15:24:13.4Z"),
            Some(Nanos(1_795_274_653_400_000_000))
        );
        assert_eq!(parse_timestamp("0001-01-01T00:00:00Z"), None, "it has not ended");
    }
}
