//! Warm invocations: functions run one after the other as commands in a
//! container that waits for them.
//!
//! The container is replaced after a function that was ended by a signal, for its
//! time or for its memory, since its state is unknown then. It is also replaced after
//! a function that left something which the next would find and pay for (files in
//! `/dev/shm`, message queues, objects of System V), and when it holds much more
//! memory than after its first function: a sandbox (gVisor) keeps a little of each.

use std::sync::Arc;

use bollard::exec::CreateExecOptions;
use bollard::query_parameters::CreateContainerOptionsBuilder;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep};

use super::answers::{Stated, is_id, parse_command, shown};
use super::cold::{Heard, joined, output};
use super::container::{Container, Run, next, state};
use super::ending::Stop;
use super::engine::{BRIEF, EngineError, NO_ENGINE, POLL, REQUEST};
use super::image::Image;
use super::metering::{Metered, account};
use super::phases::Timed;
use super::report::{Report, Token};
use super::spec::{Role, STARTER_USER, starter_command};
use super::stdio::Files;
use super::timeline::{Happened, Offset, What};
use super::transport::Pieces;
use super::{DockerLane, Leftover, next_tag};
use crate::{Cancel, Job, Outcome, StartKind, Status, Watch, now};
use cyclometer_core::units::Nanos;
use cyclometer_meter::Meter;

/// Exit code that the engine gives a command which did not come to its end.
const KILLED: i64 = 137;
/// Run time after which a command counts as a long one.
const LONG: Duration = Duration::from_secs(1);

/// A container that waits for functions.
pub(super) struct WarmContainer {
    name: String,
    files: Files,
    /// Control group of the container, or why there is none.
    metered: Result<Arc<Metered>, String>,
    /// Memory that it held after its first function, in bytes.
    at_first: Option<u64>,
}

impl WarmContainer {
    /// Returns whether it holds an eighth of its limit more than after its first function.
    fn has_grown(&mut self, job: &Job) -> bool {
        let Some(level) = self.metered.as_ref().ok().and_then(|metered| metered.level()) else {
            return false;
        };
        let first = *self.at_first.get_or_insert(level);
        level > first.saturating_add(job.limits.memory.0 / 8)
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
        watch: &mut dyn Watch,
        cancel: &Cancel,
    ) -> Outcome {
        self.clear_leftovers();
        let requested = now();
        let warm = match self.warm.remove(&job.cell) {
            Some(warm) => Ok(warm),
            None => self.start_warm(job, cancel),
        };
        let mut warm = match warm {
            Ok(warm) => warm,
            Err(reason) => {
                let mut outcome = Outcome::unstarted(job, requested, reason);
                if cancel.is_cancelled() {
                    outcome.status = Status::Interrupted;
                }
                return outcome;
            }
        };
        let (outcome, is_sound) = self.run_in(&mut warm, job, watch, cancel);
        if is_sound && !warm.has_grown(job) {
            self.warm.insert(job.cell, warm);
        } else {
            self.retire(warm);
        }
        outcome
    }

    /// Starts a container that waits for functions.
    fn start_warm(&mut self, job: &Job, cancel: &Cancel) -> Result<WarmContainer, String> {
        let image = self.images.get(&job.cell).cloned();
        let image = image.ok_or("the docker lane has not prepared this workload")?;
        let tag = next_tag();
        let name = self.container_name(&tag);
        let files = self.files(job, &tag)?.ok_or("warm functions need files of this machine")?;
        let metered = self.meter(&tag);
        let parent = metered.as_ref().ok().map(|metered| metered.parent());
        let body = self.body(job, &image, Role::Wait(&files), parent);
        let docker = &self.engine.docker;
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let started = self.engine.block_on(async {
            let request = docker.create_container(Some(options), body);
            let ask = self.engine.ask("create the warm container", REQUEST, Some(cancel), request);
            ask.await?;
            let request = docker.start_container(&name, None);
            self.engine.ask("start the warm container", REQUEST, Some(cancel), request).await
        });
        let warm = WarmContainer { name, files, metered, at_first: None };
        match started {
            Ok(()) => Ok(warm),
            Err(error) => {
                self.retire(warm);
                if let (true, Some(left)) = (error.is_unanswered(), self.leftovers.last_mut()) {
                    left.may_appear = true;
                }
                Err(error.to_string())
            }
        }
    }

    /// Runs a function in `warm`, and returns also whether the next one can run there.
    fn run_in(
        &mut self,
        warm: &mut WarmContainer,
        job: &Job,
        watch: &mut dyn Watch,
        cancel: &Cancel,
    ) -> (Outcome, bool) {
        let Some(image) = self.images.get(&job.cell).cloned() else {
            let reason = "the docker lane has not prepared this workload";
            return (Outcome::unstarted(job, now(), reason), false);
        };
        if let Err(error) = warm.files.reset() {
            let reason = format!("the files of the last function cannot be emptied: {error}");
            return (Outcome::unstarted(job, now(), reason), false);
        }
        let token = match Token::random() {
            Ok(token) => token,
            Err(reason) => return (Outcome::unstarted(job, now(), reason), true),
        };
        self.follow();
        let before = Offset::now();
        if let Ok(metered) = &warm.metered {
            metered.begin_anew();
        }
        let mut run = Run::default();
        run.asked.requested = now();
        run.asked.command = true;
        let name = &warm.name;
        let container = Container { engine: &self.engine, name, job, cancel, streams: false };
        let group = warm.metered.as_ref().ok();
        let command = command(job, &image, warm, &token);
        let executed = execute(&container, command, group, watch, &mut run);
        let result = self.engine.block_on(executed);
        watch.end();
        let heard = self.hear_command(name, &result, &run, (&token, before, cancel));
        let times = heard.timed(&run);
        let metered = warm.metered.as_deref().map_err(String::as_str);
        let (mut usage, sources) =
            account(metered, heard.before(&times), job, StartKind::Warm, &times);
        usage.phases.teardown = teardown(&heard, &times);
        let peak = usage.get(Meter::MemoryPeak);
        let wrote = (warm.files.tail(), Some(warm.files.written()));
        let (status, reason, exit_code) = heard.verdict(job, &result, &run, peak, wrote);
        let refused = if run.stop.is_none() { refused(&run, &heard) } else { None };
        let reason = refused.or(reason);
        let whole = heard.is_whole(&result, &run) && matches!(heard.report, Ok(Some(_)));
        let (output, lost) = output(Some(&mut warm.files), &mut run, whole);
        let outcome = Outcome {
            status: if lost.is_some() { Status::Failed } else { status },
            reason: joined(reason, lost),
            exit_code,
            requested: run.asked.requested,
            ended: times.ended.or(run.asked.ended).unwrap_or_else(now),
            usage,
            provenances: self.shared(sources),
            output,
        };
        (outcome.checked(&job.preset), is_sound(&result, &run, &heard))
    }

    /// Collects what the engine and the starter report about a command.
    fn hear_command(
        &mut self,
        name: &str,
        result: &Result<i64, EngineError>,
        run: &Run,
        about: (&Token, Offset, &Cancel),
    ) -> Heard {
        let (token, before, cancel) = about;
        let after = Offset::now();
        let mut heard = Heard {
            happened: Happened::new(),
            stated: Stated::default(),
            offset: after.agrees_with(before).then_some(after),
            report: Report::required(
                Report::parse(&run.output.content(), token),
                result.as_ref().ok().copied(),
            ),
        };
        if result.is_err() {
            return heard;
        }
        let unclear = !matches!(&heard.report, Ok(Some(report)) if report.signal() == 0);
        let (engine, timeline) = (&self.engine, self.timeline.as_mut());
        (heard.happened, heard.stated) = engine.block_on(async {
            let happened = match timeline {
                Some(timeline) => timeline.collect(name, What::ExecDie).await,
                None => Happened::new(),
            };
            (happened, if unclear { state(engine, name, cancel).await } else { Stated::default() })
        });
        // The start and the end that are stated are those of the container.
        (heard.stated.started, heard.stated.finished) = (None, None);
        heard
    }

    /// Gives up a container, and removes it if that is possible now.
    fn retire(&mut self, warm: WarmContainer) {
        self.leftovers.push(Leftover::new(warm.name, warm.metered.ok()));
        self.clear_leftovers();
    }

    /// Gives up all waiting containers, which are removed later.
    pub(super) fn retire_all(&mut self) {
        for (_, warm) in std::mem::take(&mut self.warm) {
            self.leftovers.push(Leftover::new(warm.name, warm.metered.ok()));
        }
    }
}

fn command(
    job: &Job,
    image: &Image,
    warm: &WarmContainer,
    token: &Token,
) -> CreateExecOptions<String> {
    CreateExecOptions {
        cmd: Some(starter_command(job, image, &warm.files)),
        env: Some(vec![token.variable()]),
        user: Some(STARTER_USER.to_owned()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..CreateExecOptions::default()
    }
}

/// Creates and starts a command, and waits for its end.
async fn execute(
    container: &Container<'_>,
    command: CreateExecOptions<String>,
    metered: Option<&Arc<Metered>>,
    watch: &mut dyn Watch,
    run: &mut Run,
) -> Result<i64, EngineError> {
    let docker = &container.engine.docker;
    run.asked.requested = now();
    let request = docker.create_exec(container.name, command);
    let id = container.ask("create a command in the warm container", request).await?.id;
    let id = Some(id).filter(|id| is_id(id)).ok_or_else(|| EngineError::Refused {
        action: "create a command in the warm container",
        status: None,
        message: "it gave it a name that is none".to_owned(),
        remedy: NO_ENGINE,
    })?;
    run.asked.created = Some(now());
    if container.cancel.is_cancelled() {
        return Err(EngineError::Cancelled);
    }
    run.asked.start = Some(now());
    let path = format!("/exec/{id}/start");
    let request = container.engine.transport.open(&path, r#"{"Detach":false,"Tty":false}"#);
    let started = container.ask("start a command in the warm container", request).await?;
    run.asked.started = Some(now());
    if let Some(metered) = metered {
        watch.begin(metered.probe());
    }
    match supervise(container, started.read, run).await? {
        End::Stream => exit_code(container, &id, run).await,
        // The engine reports nothing more about its commands.
        End::Container => Ok(KILLED),
    }
}

/// Way in which a command was seen to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The stream ended.
    Stream,
    /// The container ended, and the stream stayed open.
    Container,
}

/// Collects the starter's output until its stream ends, and kills the whole container
/// when the function must be ended.
async fn supervise(
    container: &Container<'_>,
    output: Pieces,
    run: &mut Run,
) -> Result<End, EngineError> {
    let mut output = Some(output);
    let mut kill = std::pin::pin!(container.kill());
    let mut is_killing = false;
    let mut wait = std::pin::pin!(wait_for_container(container));
    let mut is_over = false;
    let mut alarm = std::pin::pin!(sleep(container.job.limits.timeout.into()));
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while output.is_some() {
        let stop = tokio::select! {
            piece = next(&mut output) => container.take(piece, &mut output, run),
            done = &mut kill, if is_killing => { is_killing = false; done?; None }
            ended = &mut wait, if !is_over => {
                ended?;
                is_over = true;
                alarm.as_mut().reset(Instant::now() + BRIEF);
                None
            }
            () = &mut alarm => Some(Stop::Timeout),
            _ = ticks.tick() => container.cancel.is_cancelled().then_some(Stop::Cancelled),
        };
        match (run.stop, stop) {
            (_, Some(Stop::Timeout)) if is_over => {
                run.asked.ended = Some(now());
                return Ok(End::Container);
            }
            // There is nothing left to kill.
            (None, Some(stop)) if is_over => run.stop = Some(stop),
            (None, Some(stop)) => {
                run.stop = Some(stop);
                is_killing = true;
                alarm.as_mut().reset(Instant::now() + REQUEST);
            }
            (Some(_), Some(Stop::Timeout)) => return Err(container.no_end()),
            _ => {}
        }
    }
    run.asked.ended = Some(now());
    Ok(End::Stream)
}

/// Waits for the end of the container itself, which a command does not always notice:
/// gVisor leaves the streams of commands open when its sandbox is killed. The engine
/// is asked only when the command takes long, so that short ones are not measured
/// beside one more request. An end is not believed while the engine states that the
/// container runs.
async fn wait_for_container(container: &Container<'_>) -> Result<i64, EngineError> {
    loop {
        sleep(LONG).await;
        let code = container.wait().await?;
        let stated = state(container.engine, container.name, container.cancel).await;
        if stated.running != Some(true) {
            return Ok(code);
        }
    }
}

/// Waits for the exit code of a command whose stream has ended.
async fn exit_code(container: &Container<'_>, id: &str, run: &Run) -> Result<i64, EngineError> {
    const ACTION: &str = "tell how a command ended";
    let deadline = Instant::now() + REQUEST;
    let mut pause = Duration::from_micros(500);
    loop {
        let path = format!("/exec/{id}/json");
        let cancel = Some(container.cancel);
        let answer = container.engine.get(ACTION, REQUEST, cancel, &path, parse_command).await;
        match answer {
            Ok(answer) if answer.running == Some(false) => {
                return Ok(answer.exit_code.unwrap_or(KILLED));
            }
            // The engine forgets the commands of a container that has ended.
            _ if run.stop.is_some() => return Ok(KILLED),
            Err(error) if error.is_missing() || error.is_conflict() => return Ok(KILLED),
            Err(error) => return Err(error),
            Ok(_) if container.cancel.is_cancelled() => return Err(EngineError::Cancelled),
            Ok(_) if Instant::now() >= deadline => return Err(container.no_end()),
            Ok(_) => sleep(pause).await,
        }
        pause = (pause * 2).min(POLL);
    }
}

/// Returns the text that the engine wrote in place of the starter, when it could not run it.
fn refused(run: &Run, heard: &Heard) -> Option<String> {
    let content = run.output.content();
    let text = std::str::from_utf8(&content).ok().filter(|text| !text.is_empty())?;
    let is_text = heard.report.is_err() && !text.contains('\0');
    is_text
        .then(|| format!("Docker could not run a command in the warm container: {}", shown(text)))
}

/// Returns the time from the function's end until the engine was done with its command.
fn teardown(heard: &Heard, times: &Timed) -> Option<Nanos> {
    let died = heard.offset?.monotonic(*heard.happened.get(&What::ExecDie)?)?;
    let ended = times.ended?;
    (died >= ended).then(|| died.since(ended))
}

/// Returns whether a container can take another function.
fn is_sound(result: &Result<i64, EngineError>, run: &Run, heard: &Heard) -> bool {
    let clean = matches!(&heard.report, Ok(Some(report))
        if report.signal() == 0 && report.left.is_empty() && report.surplus == 0);
    result.is_ok() && run.is_whole() && clean
}
