//! Warm invocations: functions run one after the other as commands in a
//! container that waits for them.
//!
//! The container is replaced after a function that was ended by a signal, for its
//! time or for its memory, since its state is unknown then. It is also replaced after
//! a function that left something which the next would find and pay for (files in
//! `/dev/shm`, message queues, objects of System V), and when it holds much more
//! memory than after its first function: a sandbox (gVisor) keeps a little of each.

use std::collections::HashMap;
use std::sync::Arc;

use bollard::exec::CreateExecOptions;
use bollard::query_parameters::CreateContainerOptionsBuilder;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep};

use super::cold::{Observations, digest_output, join_reasons};
use super::container::{Container, ContainerRun, inspect_state, next_chunk};
use super::container_spec::{ContainerRole, STARTER_USER, starter_command};
use super::engine::{
    CLEANUP_TIMEOUT, EngineError, NOT_AN_ENGINE_HINT, POLL_INTERVAL, REQUEST_TIMEOUT,
};
use super::engine_events::{ClockOffset, EventKind, EventTimes};
use super::image::Image;
use super::metering::{ContainerMeter, assemble_usage};
use super::phases::PhaseTimes;
use super::responses::{
    ContainerState, is_path_safe_id, parse_command_state, sanitize_engine_text,
};
use super::starter_report::{StarterReport, StarterToken};
use super::stdio::StandardFiles;
use super::termination::StopReason;
use super::transport::ChunkReader;
use super::{DockerLane, PendingRemoval, next_tag};
use crate::replacement::{WarmLane, WorkerRun, WorkerState, run_in_worker};
use crate::{Cancel, Job, Outcome, ProbeSampler, StartKind, Status, monotonic_now};
use cyclometer_core::units::Nanos;
use cyclometer_meter::{Meter, mask_ids};

/// Exit code that the engine gives a command which did not come to its end.
const KILLED_EXIT_CODE: i64 = 137;
/// Run time after which a command counts as a long one.
const LONG_COMMAND: Duration = Duration::from_secs(1);

/// A container that waits for functions.
pub(crate) struct WarmContainer {
    name: String,
    files: StandardFiles,
    /// Control group of the container, or why there is none.
    meter: Result<Arc<ContainerMeter>, String>,
    /// Memory that it held after its first function, in bytes.
    memory_at_first: Option<u64>,
}

impl WarmContainer {
    /// Returns whether it holds an eighth of its limit more than after its first function.
    fn has_grown(&mut self, job: &Job) -> bool {
        let Some(level) = self.meter.as_ref().ok().and_then(|metered| metered.current_memory())
        else {
            return false;
        };
        let first = *self.memory_at_first.get_or_insert(level);
        level > first.saturating_add(job.limits.memory.0 / 8)
    }

    fn into_removal(self) -> PendingRemoval {
        PendingRemoval::new(self.name, self.meter.ok())
    }

    /// Returns the name of the container.
    #[cfg(test)]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl DockerLane {
    /// Runs one invocation; failures become part of the outcome.
    pub(super) fn invoke_warm(
        &mut self,
        job: &Job,
        watch: &mut dyn ProbeSampler,
        cancel: &Cancel,
    ) -> Outcome {
        self.clear_leftovers();
        let ran = run_in_worker(self, job, cancel, |lane, warm| {
            let (outcome, is_sound) = lane.run_in_container(warm, job, watch, cancel);
            (outcome, WorkerState::from_soundness(is_sound && !warm.has_grown(job)))
        });
        match ran {
            Ok(WorkerRun { result, .. }) => result,
            Err(failure) => failure.into_outcome(job, cancel),
        }
    }

    /// Starts a container that waits for functions.
    pub(super) fn start_warm(
        &mut self,
        job: &Job,
        cancel: &Cancel,
    ) -> Result<WarmContainer, String> {
        let image = self.images.get(&job.cell).cloned();
        let image = image.ok_or("the docker lane has not prepared this workload")?;
        let tag = next_tag();
        let name = self.container_name(&tag);
        let files =
            self.create_files(job, &tag)?.ok_or("warm functions need files of this machine")?;
        let metered = self.create_meter(&tag, job.cpu_share);
        if let (Err(reason), Some(_)) = (&metered, job.cpu_share) {
            return Err(mask_ids(reason));
        }
        let parent = metered.as_ref().ok().map(|metered| metered.cgroup_parent());
        let body = self.container_body(job, &image, ContainerRole::Wait(&files), parent);
        let docker = &self.engine.docker;
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let started = self.engine.block_on(async {
            let request = docker.create_container(Some(options), body);
            let ask = self.engine.send_request(
                "create the warm container",
                REQUEST_TIMEOUT,
                Some(cancel),
                request,
            );
            ask.await?;
            let request = docker.start_container(&name, None);
            self.engine
                .send_request("start the warm container", REQUEST_TIMEOUT, Some(cancel), request)
                .await
        });
        let warm = WarmContainer { name, files, meter: metered, memory_at_first: None };
        match started {
            Ok(()) => Ok(warm),
            Err(error) => {
                // A request to create it may still wait in the engine.
                let may_appear = error.is_unanswered();
                self.leftovers.push(PendingRemoval { may_appear, ..warm.into_removal() });
                self.clear_leftovers();
                Err(error.to_string())
            }
        }
    }

    /// Runs a function in `warm`, and returns also whether the next one can run there.
    fn run_in_container(
        &mut self,
        warm: &mut WarmContainer,
        job: &Job,
        watch: &mut dyn ProbeSampler,
        cancel: &Cancel,
    ) -> (Outcome, bool) {
        let Some(image) = self.images.get(&job.cell).cloned() else {
            let reason = "the docker lane has not prepared this workload";
            return (Outcome::failed_to_start(job, monotonic_now(), reason), false);
        };
        if let Err(error) = warm.files.reset_outputs() {
            let reason = format!("the files of the last function cannot be emptied: {error}");
            return (Outcome::failed_to_start(job, monotonic_now(), reason), false);
        }
        let token = match StarterToken::random() {
            Ok(token) => token,
            Err(reason) => return (Outcome::failed_to_start(job, monotonic_now(), reason), true),
        };
        self.renew_subscription();
        let before = ClockOffset::measure();
        if let Ok(metered) = &warm.meter {
            metered.reset_baseline();
        }
        let mut run = ContainerRun::default();
        run.times.requested = monotonic_now();
        run.times.is_command = true;
        let name = &warm.name;
        let container = Container { engine: &self.engine, name, job, cancel, streams: false };
        let group = warm.meter.as_ref().ok();
        let command = exec_options(&image, warm, &token);
        let executed = run_command(&container, command, group, watch, &mut run);
        let result = self.engine.block_on(executed);
        watch.stop_sampling();
        let heard =
            self.collect_command_observations(name, &result, &run, (&token, before, cancel));
        let times = heard.phase_times(&run);
        let metered = warm.meter.as_deref().map_err(String::as_str);
        let unshared = metered.ok().and_then(ContainerMeter::explain_lost_share);
        let (mut usage, sources) =
            assemble_usage(metered, heard.startup_usage(&times), job, StartKind::Warm, &times);
        usage.phases.teardown = teardown_time(&heard, &times);
        let peak = usage.get(Meter::MemoryPeak);
        let wrote = (warm.files.stderr_tail(), Some(warm.files.longest_output()));
        let (status, reason, exit_code) =
            heard.status_and_reason((job, &image.call), &result, &run, peak, wrote);
        let refused = if run.stop.is_none() { engine_refusal(&run, &heard) } else { None };
        let reason = refused.or(reason);
        let whole = heard.has_whole_output(&result, &run) && matches!(heard.report, Ok(Some(_)));
        let (output, lost) = digest_output(Some(&mut warm.files), &mut run, whole);
        let lost = join_reasons(lost, unshared);
        let outcome = Outcome {
            status: if lost.is_some() { Status::Failed } else { status },
            reason: join_reasons(reason, lost),
            exit_code,
            requested: run.times.requested,
            ended: times.ended.or(run.times.ended).unwrap_or_else(monotonic_now),
            usage,
            provenances: self.share_provenances(sources),
            output,
        };
        (outcome.with_output_checked(&job.preset), is_reusable(&result, &run, &heard))
    }

    /// Collects what the engine and the starter report about a command.
    fn collect_command_observations(
        &mut self,
        name: &str,
        result: &Result<i64, EngineError>,
        run: &ContainerRun,
        about: (&StarterToken, ClockOffset, &Cancel),
    ) -> Observations {
        let (token, before, cancel) = about;
        let after = ClockOffset::measure();
        let mut heard = Observations {
            events: EventTimes::new(),
            state: ContainerState::default(),
            offset: after.agrees_with(before).then_some(after),
            report: StarterReport::require_unless_killed(
                StarterReport::parse(&run.output.stdout_content(), token),
                result.as_ref().ok().copied(),
            ),
        };
        if result.is_err() {
            return heard;
        }
        let unclear = !matches!(&heard.report, Ok(Some(report)) if report.signal() == 0);
        let (engine, timeline) = (&self.engine, self.subscription.as_mut());
        (heard.events, heard.state) = engine.block_on(async {
            let happened = match timeline {
                Some(timeline) => timeline.collect_until(name, EventKind::ExecDie).await,
                None => EventTimes::new(),
            };
            (
                happened,
                if unclear {
                    inspect_state(engine, name, cancel).await
                } else {
                    ContainerState::default()
                },
            )
        });
        // The start and the end that are stated are those of the container.
        (heard.state.started, heard.state.finished) = (None, None);
        heard
    }

    /// Gives up a container, and removes it if that is possible now.
    fn retire_container(&mut self, warm: WarmContainer) {
        self.leftovers.push(warm.into_removal());
        self.clear_leftovers();
    }

    /// Gives up all waiting containers, which are removed later.
    pub(super) fn retire_all_containers(&mut self) {
        for (_, warm) in std::mem::take(&mut self.warm) {
            self.leftovers.push(warm.into_removal());
        }
    }
}

impl WarmLane for DockerLane {
    type Worker = WarmContainer;

    fn waiting_workers(&mut self) -> &mut HashMap<usize, WarmContainer> {
        &mut self.warm
    }

    fn start_worker(&mut self, job: &Job, cancel: &Cancel) -> Result<WarmContainer, String> {
        self.start_warm(job, cancel)
    }

    fn retire_worker(&mut self, worker: WarmContainer) {
        self.retire_container(worker);
    }
}

fn exec_options(
    image: &Image,
    warm: &WarmContainer,
    token: &StarterToken,
) -> CreateExecOptions<String> {
    CreateExecOptions {
        cmd: Some(starter_command(image, &warm.files)),
        env: Some(vec![token.to_env_variable()]),
        user: Some(STARTER_USER.to_owned()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..CreateExecOptions::default()
    }
}

/// Creates and starts a command, and waits for its end.
async fn run_command(
    container: &Container<'_>,
    command: CreateExecOptions<String>,
    metered: Option<&Arc<ContainerMeter>>,
    watch: &mut dyn ProbeSampler,
    run: &mut ContainerRun,
) -> Result<i64, EngineError> {
    let docker = &container.engine.docker;
    run.times.requested = monotonic_now();
    let request = docker.create_exec(container.name, command);
    let id = container.send_request("create a command in the warm container", request).await?.id;
    let id = Some(id).filter(|id| is_path_safe_id(id)).ok_or_else(|| EngineError::Refused {
        action: "create a command in the warm container",
        status: None,
        message: "it gave it a name that is none".to_owned(),
        remedy: NOT_AN_ENGINE_HINT,
    })?;
    run.times.created = Some(monotonic_now());
    if container.cancel.is_cancelled() {
        return Err(EngineError::Cancelled);
    }
    run.times.start = Some(monotonic_now());
    let path = format!("/exec/{id}/start");
    let request = container.engine.transport.open_duplex(&path, r#"{"Detach":false,"Tty":false}"#);
    let started = container.send_request("start a command in the warm container", request).await?;
    run.times.started = Some(monotonic_now());
    if let Some(metered) = metered {
        watch.start_sampling(metered.live_probe());
    }
    match supervise_command(container, started.read, run).await? {
        CommandEnd::Stream => wait_for_exit_code(container, &id, run).await,
        // The engine reports nothing more about its commands.
        CommandEnd::Container => Ok(KILLED_EXIT_CODE),
    }
}

/// Way in which a command was seen to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CommandEnd {
    /// The stream ended.
    Stream,
    /// The container ended, and the stream stayed open.
    Container,
}

/// Collects the starter's output until its stream ends, and kills the whole container
/// when the function must be ended.
async fn supervise_command(
    container: &Container<'_>,
    output: ChunkReader,
    run: &mut ContainerRun,
) -> Result<CommandEnd, EngineError> {
    let mut output = Some(output);
    let mut kill = std::pin::pin!(container.kill());
    let mut is_killing = false;
    let mut wait = std::pin::pin!(wait_for_container(container));
    let mut is_over = false;
    let mut alarm = std::pin::pin!(sleep(container.job.limits.timeout.into()));
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while output.is_some() {
        let stop = tokio::select! {
            piece = next_chunk(&mut output) => container.accept_chunk(piece, &mut output, run),
            done = &mut kill, if is_killing => { is_killing = false; done?; None }
            ended = &mut wait, if !is_over => {
                ended?;
                is_over = true;
                alarm.as_mut().reset(Instant::now() + CLEANUP_TIMEOUT);
                None
            }
            () = &mut alarm => Some(StopReason::Timeout),
            _ = ticks.tick() => container.cancel.is_cancelled().then_some(StopReason::Cancelled),
        };
        match (run.stop, stop) {
            (_, Some(StopReason::Timeout)) if is_over => {
                run.times.ended = Some(monotonic_now());
                return Ok(CommandEnd::Container);
            }
            // There is nothing left to kill.
            (None, Some(stop)) if is_over => run.stop = Some(stop),
            (None, Some(stop)) => {
                run.stop = Some(stop);
                is_killing = true;
                alarm.as_mut().reset(Instant::now() + REQUEST_TIMEOUT);
            }
            (Some(_), Some(StopReason::Timeout)) => return Err(container.missing_end_error()),
            _ => {}
        }
    }
    run.times.ended = Some(monotonic_now());
    Ok(CommandEnd::Stream)
}

/// Waits for the end of the container itself, which a command does not always notice:
/// gVisor leaves the streams of commands open when its sandbox is killed. The engine
/// is asked only when the command takes long, so that short ones are not measured
/// beside one more request. An end is not believed while the engine states that the
/// container runs.
async fn wait_for_container(container: &Container<'_>) -> Result<i64, EngineError> {
    loop {
        sleep(LONG_COMMAND).await;
        let code = container.wait_for_exit().await?;
        let stated = inspect_state(container.engine, container.name, container.cancel).await;
        if stated.running != Some(true) {
            return Ok(code);
        }
    }
}

/// Waits for the exit code of a command whose stream has ended.
async fn wait_for_exit_code(
    container: &Container<'_>,
    id: &str,
    run: &ContainerRun,
) -> Result<i64, EngineError> {
    const ACTION: &str = "tell how a command ended";
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    let mut pause = Duration::from_micros(500);
    loop {
        let path = format!("/exec/{id}/json");
        let cancel = Some(container.cancel);
        let answer = container
            .engine
            .fetch_parsed(ACTION, REQUEST_TIMEOUT, cancel, &path, parse_command_state)
            .await;
        match answer {
            Ok(answer) if answer.running == Some(false) => {
                return Ok(answer.exit_code.unwrap_or(KILLED_EXIT_CODE));
            }
            // The engine forgets the commands of a container that has ended.
            _ if run.stop.is_some() => return Ok(KILLED_EXIT_CODE),
            Err(error) if error.is_missing() || error.is_conflict() => return Ok(KILLED_EXIT_CODE),
            Err(error) => return Err(error),
            Ok(_) if container.cancel.is_cancelled() => return Err(EngineError::Cancelled),
            Ok(_) if Instant::now() >= deadline => return Err(container.missing_end_error()),
            Ok(_) => sleep(pause).await,
        }
        pause = (pause * 2).min(POLL_INTERVAL);
    }
}

/// Returns the text that the engine wrote in place of the starter, when it could not run it.
fn engine_refusal(run: &ContainerRun, heard: &Observations) -> Option<String> {
    let content = run.output.stdout_content();
    let text = std::str::from_utf8(&content).ok().filter(|text| !text.is_empty())?;
    let is_text = heard.report.is_err() && !text.contains('\0');
    is_text.then(|| {
        format!(
            "Docker could not run a command in the warm container: {}",
            sanitize_engine_text(text)
        )
    })
}

/// Returns the time from the function's end until the engine was done with its command.
fn teardown_time(heard: &Observations, times: &PhaseTimes) -> Option<Nanos> {
    let died = heard.offset?.to_monotonic(*heard.events.get(&EventKind::ExecDie)?)?;
    let ended = times.ended?;
    (died >= ended).then(|| died.saturating_since(ended))
}

/// Returns whether a container can take another function.
fn is_reusable(
    result: &Result<i64, EngineError>,
    run: &ContainerRun,
    heard: &Observations,
) -> bool {
    let clean = matches!(&heard.report, Ok(Some(report))
        if report.signal() == 0 && report.residue.is_empty() && report.surplus == 0);
    result.is_ok() && run.is_complete() && clean
}
