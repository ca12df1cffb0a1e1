//! Cold invocations: each runs in a container of its own.

use std::sync::Arc;

use bollard::models::ContainerCreateBody;

use super::answers::Stated;
use super::container::{Container, Run, remove, state};
use super::ending::{Exit, cut_short};
use super::engine::{BRIEF, EngineError, REQUEST};
use super::image::Image;
use super::metering::{Metered, account};
use super::phases::{Said, Timed, timed};
use super::report::{Before, Report, Token};
use super::spec::{Role, Spec};
use super::stdio::Files;
use super::timeline::{Happened, Offset, What};
use super::{DockerLane, Leftover, next_tag};
use crate::{Cancel, Job, Outcome, StartKind, Status, Watch, now};
use cyclometer_core::units::Nanos;
use cyclometer_meter::Meter;
use cyclometer_workload::OutputDigest;

/// Everything that is observed of an invocation after its end.
pub(super) struct Heard {
    pub happened: Happened,
    pub stated: Stated,
    /// Offset between the clocks; `None`: the wall clock was set meanwhile.
    pub offset: Option<Offset>,
    /// Report of the starter, if there was one.
    pub report: Result<Option<Report>, &'static str>,
}

impl Heard {
    pub fn timed(&self, run: &Run) -> Timed {
        let said = Said {
            report: self.report.as_ref().ok().and_then(Option::as_ref),
            happened: self.happened.clone(),
            started: self.stated.started,
            finished: self.stated.finished,
            offset: self.offset,
        };
        timed(&run.asked, &said)
    }

    /// Returns what the control group had used when the function began, or why that
    /// is not known.
    pub fn before(&self, times: &Timed) -> Result<Before, &'static str> {
        let report = match &self.report {
            Ok(Some(report)) => report,
            Ok(None) => return Err("nothing in the container was there to tell when it began"),
            Err(_) => return Err("what the container's starter reported was tampered with"),
        };
        if report.failure.is_some() {
            return Err("the function did not begin");
        }
        // A sandbox's own accounting does not count the sandbox.
        if !times.shares_kernel {
            return Err(
                "the sandbox has a kernel of its own, which cannot tell what it costs here",
            );
        }
        Ok(report.before)
    }

    /// Returns whether the captured output can be all of the function's output.
    pub fn is_whole(&self, result: &Result<i64, EngineError>, run: &Run) -> bool {
        let is_cut = matches!(&self.report, Ok(Some(report)) if report.signal() == libc::SIGXFSZ);
        result.is_ok() && run.is_whole() && self.report.is_ok() && !is_cut
    }

    /// Returns status, reason and exit code. `peak` is the most memory that was held,
    /// in bytes; the last argument is the end of standard error and the size in bytes
    /// of the longer output, where they are known.
    pub fn verdict(
        &self,
        job: &Job,
        result: &Result<i64, EngineError>,
        run: &Run,
        peak: Option<u64>,
        (stderr, written): (Option<String>, Option<u64>),
    ) -> (Status, Option<String>, Option<i32>) {
        let limits = &job.limits;
        let code = match cut_short(result, run.stop, limits) {
            Ok(code) => code,
            Err((status, reason)) => return (status, Some(reason), None),
        };
        let report = match &self.report {
            Ok(report) => report.clone(),
            Err(reason) => return (Status::Failed, Some((*reason).to_owned()), None),
        };
        let out_of_memory = self.stated.out_of_memory;
        let exit = Exit { code, report, out_of_memory, peak, stderr, written };
        match (exit.verdict(limits), &run.output_lost) {
            ((Status::Ok, _, code), Some(why)) => {
                (Status::Failed, Some(format!("its output is not complete: {why}")), code)
            }
            (verdict, _) => verdict,
        }
    }
}

impl DockerLane {
    /// Runs one invocation; failures become part of the outcome.
    pub(super) fn invoke_cold(
        &mut self,
        job: &Job,
        watch: &mut dyn Watch,
        cancel: &Cancel,
    ) -> Outcome {
        self.clear_leftovers();
        let Some(image) = self.images.get(&job.cell).cloned() else {
            return Outcome::unstarted(
                job,
                now(),
                "the docker lane has not prepared this workload",
            );
        };
        let tag = next_tag();
        let mut files = match self.files(job, &tag) {
            Ok(files) => files,
            Err(reason) => return Outcome::unstarted(job, now(), reason),
        };
        let token = match Token::random() {
            Ok(token) => token,
            Err(reason) => return Outcome::unstarted(job, now(), reason),
        };
        let role = files.as_ref().map_or(Role::Streams, |files| Role::Files(files, &token));
        let name = self.container_name(&tag);
        let metered = self.meter(&tag);
        let group = metered.as_ref().ok();
        let body = self.body(job, &image, role, group.map(|metered| metered.parent()));
        // Generated on first use, which must not fall into the time of a phase.
        drop(job.preset.stdin.content());
        self.leftovers.push(Leftover::new(name.clone(), group.cloned()));
        self.follow();

        let before = Offset::now();
        let mut run = Run::default();
        run.asked.requested = now();
        let streams = files.is_none();
        let container = Container { engine: &self.engine, name: &name, job, cancel, streams };
        let executed = execute(&container, body, image.platform, group, watch, &mut run);
        let result = self.engine.block_on(executed);
        watch.end();
        let token = (!streams).then_some(&token);
        let heard = self.hear(&name, &result, &run, (token, before, cancel));
        let times = heard.timed(&run);
        let metered = metered.as_deref().map_err(String::as_str);
        let (mut usage, sources) =
            account(metered, heard.before(&times), job, StartKind::Cold, &times);
        let stderr = files.as_mut().map_or_else(|| run.output.tail(), Files::tail);
        let peak = usage.get(Meter::MemoryPeak);
        let wrote = (stderr, files.as_ref().map(Files::written));
        let (status, reason, exit_code) = heard.verdict(job, &result, &run, peak, wrote);
        let (teardown, remark) = self.tear_down(&name, result.as_ref().err(), cancel);
        usage.phases.teardown = teardown;
        let whole = heard.is_whole(&result, &run);
        let (output, lost) = output(files.as_mut(), &mut run, whole);
        Outcome {
            status: if lost.is_some() { Status::Failed } else { status },
            reason: joined(joined(reason, lost), remark),
            exit_code,
            requested: run.asked.requested,
            ended: times.ended.or(run.asked.ended).unwrap_or_else(now),
            usage,
            provenances: self.shared(sources),
            output,
        }
        .checked(&job.preset)
    }

    /// Creates the files of an invocation; `None` where the function's streams pass
    /// through the engine.
    pub(super) fn files(&self, job: &Job, tag: &str) -> Result<Option<Files>, String> {
        if self.files.is_err() {
            return Ok(None);
        }
        let files = Files::create(&self.owner, tag, &job.preset.stdin, job.limits.output);
        files.map(Some).map_err(|error| {
            format!("no files in memory for the function's input and output: {error}")
        })
    }

    pub(super) fn body(
        &self,
        job: &Job,
        image: &Image,
        role: Role<'_>,
        parent: Option<&str>,
    ) -> ContainerCreateBody {
        let labels = self.labels();
        let runtime = self.runtime.as_deref();
        let runtime_name = self.runtime_name();
        Spec { job, image, role, labels, runtime, runtime_name, cgroup_parent: parent }.body()
    }

    /// Collects what the engine, and the starter that was given this token, report
    /// about an invocation.
    fn hear(
        &mut self,
        name: &str,
        result: &Result<i64, EngineError>,
        run: &Run,
        about: (Option<&Token>, Offset, &Cancel),
    ) -> Heard {
        let (token, before, cancel) = about;
        let after = Offset::now();
        let code = result.as_ref().ok().copied();
        let report = token.map_or(Ok(None), |token| {
            Report::required(Report::parse(&run.output.content(), token), code)
        });
        let mut heard = Heard {
            happened: Happened::new(),
            stated: Stated::default(),
            offset: after.agrees_with(before).then_some(after),
            report,
        };
        // An engine that did not answer before will hardly answer now.
        let Ok(code) = result else { return heard };
        let unclear = *code != 0 || !matches!(heard.report, Ok(Some(_)));
        let timeline = self.timeline.as_mut();
        let engine = &self.engine;
        (heard.happened, heard.stated) = engine.block_on(async {
            let happened = match timeline {
                Some(timeline) => timeline.collect(name, What::Die).await,
                None => Happened::new(),
            };
            (happened, if unclear { state(engine, name, cancel).await } else { Stated::default() })
        });
        heard
    }

    /// Removes the container of an invocation. Returns how long that took, or why it
    /// is still there.
    pub(super) fn tear_down(
        &mut self,
        name: &str,
        error: Option<&EngineError>,
        cancel: &Cancel,
    ) -> (Option<Nanos>, Option<String>) {
        // An engine that did not answer before will hardly answer now.
        let unanswered = error.is_some_and(EngineError::is_unanswered);
        let limit = if unanswered { BRIEF } else { REQUEST };
        let asked = now();
        match self.engine.block_on(remove(&self.engine, name, limit, Some(cancel))) {
            Ok(true) => {
                let took = now().since(asked);
                self.leftovers.retain(|leftover| leftover.name != name);
                (Some(took), None)
            }
            Ok(false) => {
                // A request to create it may still wait in the engine.
                self.leftovers.retain_mut(|leftover| {
                    leftover.may_appear |= leftover.name == name && unanswered;
                    leftover.name != name || unanswered
                });
                (None, None)
            }
            // The error of the invocation says as much.
            Err(_) if error.is_some() => (None, None),
            Err(error) => (None, Some(error.to_string())),
        }
    }
}

/// Creates, attaches to and starts a container, and waits for its end.
async fn execute(
    container: &Container<'_>,
    body: ContainerCreateBody,
    platform: Option<&str>,
    metered: Option<&Arc<Metered>>,
    watch: &mut dyn Watch,
    run: &mut Run,
) -> Result<i64, EngineError> {
    container.create(body, platform, run).await?;
    let streams = container.attach().await?;
    container.start(run).await?;
    if let Some(metered) = metered {
        watch.begin(metered.probe());
    }
    container.supervise(streams, run).await
}

/// Returns the digest of a function's output if it is complete, or why it cannot be read.
pub(super) fn output(
    files: Option<&mut Files>,
    run: &mut Run,
    whole: bool,
) -> (Option<OutputDigest>, Option<String>) {
    match files {
        _ if !whole => (None, None),
        None => (Some(run.output.digest()), None),
        Some(files) => match files.digest() {
            Ok(digest) => (Some(digest), None),
            Err(error) => (None, Some(format!("its output cannot be read: {error}"))),
        },
    }
}

pub(super) fn joined(reason: Option<String>, remark: Option<String>) -> Option<String> {
    match (reason, remark) {
        (Some(reason), Some(remark)) => Some(format!("{reason}; {remark}")),
        (reason, remark) => reason.or(remark),
    }
}
