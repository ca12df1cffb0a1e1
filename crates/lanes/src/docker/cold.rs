//! Cold invocations: each runs in a container of its own.

use std::sync::Arc;

use bollard::models::ContainerCreateBody;

use super::container::{Container, ContainerRun, inspect_state, remove_container};
use super::container_spec::{ContainerRole, ContainerSpec};
use super::engine::{CLEANUP_TIMEOUT, EngineError, REQUEST_TIMEOUT};
use super::engine_events::{ClockOffset, EventKind, EventTimes};
use super::function_call::FunctionCall;
use super::image::Image;
use super::metering::{ContainerMeter, assemble_usage};
use super::phases::{PhaseTimes, ReportedTimes, derive_phases};
use super::responses::ContainerState;
use super::starter_report::{SANDBOX_CRASHED, StarterReport, StarterToken, StartupUsage};
use super::stdio::StandardFiles;
use super::termination::{FunctionExit, exit_code_unless_stopped};
use super::{DockerLane, PendingRemoval, next_tag};
use crate::{Cancel, Job, Outcome, ProbeSampler, StartKind, Status, monotonic_now};
use cyclometer_core::units::Nanos;
use cyclometer_meter::{Meter, mask_ids};
use cyclometer_workload::OutputDigest;

/// Everything that is observed of an invocation after its end.
pub(super) struct Observations {
    pub events: EventTimes,
    pub state: ContainerState,
    /// Offset between the clocks; `None`: the wall clock was set meanwhile.
    pub offset: Option<ClockOffset>,
    /// Report of the starter, if there was one.
    pub report: Result<Option<StarterReport>, &'static str>,
}

impl Observations {
    pub(crate) fn phase_times(&self, run: &ContainerRun) -> PhaseTimes {
        let said = ReportedTimes {
            report: self.report.as_ref().ok().and_then(Option::as_ref),
            events: self.events.clone(),
            started: self.state.started,
            finished: self.state.finished,
            offset: self.offset,
        };
        derive_phases(&run.times, &said)
    }

    /// Returns what the control group had used when the function began, or why that
    /// is not known.
    pub(crate) fn startup_usage(&self, times: &PhaseTimes) -> Result<StartupUsage, &'static str> {
        let report = match &self.report {
            Ok(Some(report)) => report,
            Ok(None) => return Err("nothing in the container was there to tell when it began"),
            Err(reason) => return Err(reason),
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
        Ok(report.startup)
    }

    /// Returns whether the captured output can be all of the function's output.
    pub(crate) fn has_whole_output(
        &self,
        result: &Result<i64, EngineError>,
        run: &ContainerRun,
    ) -> bool {
        let is_cut = matches!(&self.report, Ok(Some(report)) if report.signal() == libc::SIGXFSZ);
        result.is_ok() && run.is_complete() && self.report.is_ok() && !is_cut
    }

    /// Returns status, reason and exit code of what was called for a job. `peak` is the most memory that was held,
    /// in bytes; the last argument is the end of standard error and the size in bytes
    /// of the longer output, where they are known.
    pub(crate) fn status_and_reason(
        &self,
        (job, call): (&Job, &FunctionCall),
        result: &Result<i64, EngineError>,
        run: &ContainerRun,
        peak: Option<u64>,
        (stderr, written): (Option<String>, Option<u64>),
    ) -> (Status, Option<String>, Option<i32>) {
        let limits = &job.limits;
        let code = match exit_code_unless_stopped(result, run.stop, limits) {
            Ok(code) => code,
            Err((status, reason)) => {
                let is_late = status == Status::Timeout;
                let remark = is_late.then(|| call.remark_on_timeout()).flatten();
                return (status, join_reasons(Some(reason), remark), None);
            }
        };
        let report = match &self.report {
            Ok(report) => report.clone(),
            Err(SANDBOX_CRASHED) if self.state.out_of_memory == Some(true) => None,
            Err(SANDBOX_CRASHED) => {
                let reason = format!("{SANDBOX_CRASHED} (exit code {code} of its runtime)");
                return (Status::Failed, Some(reason), None);
            }
            Err(reason) => return (Status::Failed, Some((*reason).to_owned()), None),
        };
        let out_of_memory = self.state.out_of_memory;
        let remark = stderr.as_deref().and_then(|text| FunctionCall::remark_on_failure(job, text));
        let call = Some(call);
        let exit = FunctionExit { code, report, out_of_memory, peak, stderr, call, written };
        match (exit.status_and_reason(limits), &run.output_lost) {
            ((Status::Ok, _, code), Some(why)) => {
                (Status::Failed, Some(format!("its output is not complete: {why}")), code)
            }
            ((Status::Failed, reason, code), _) => {
                (Status::Failed, join_reasons(reason, remark.map(str::to_owned)), code)
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
        watch: &mut dyn ProbeSampler,
        cancel: &Cancel,
    ) -> Outcome {
        self.clear_leftovers();
        let Some(image) = self.images.get(&job.cell).cloned() else {
            return Outcome::failed_to_start(
                job,
                monotonic_now(),
                "the docker lane has not prepared this workload",
            );
        };
        let tag = next_tag();
        let mut files = match self.create_files(job, &tag) {
            Ok(files) => files,
            Err(reason) => return Outcome::failed_to_start(job, monotonic_now(), reason),
        };
        let token = match StarterToken::random() {
            Ok(token) => token,
            Err(reason) => return Outcome::failed_to_start(job, monotonic_now(), reason),
        };
        let role = files
            .as_ref()
            .map_or(ContainerRole::Streams, |files| ContainerRole::Files(files, &token));
        let name = self.container_name(&tag);
        let metered = self.create_meter(&tag, job.cpu_share);
        if let (Err(reason), Some(_)) = (&metered, job.cpu_share) {
            return Outcome::failed_to_start(job, monotonic_now(), mask_ids(reason));
        }
        let group = metered.as_ref().ok();
        let body =
            self.container_body(job, &image, role, group.map(|metered| metered.cgroup_parent()));
        // Generated on first use, which must not fall into the time of a phase.
        drop(job.preset.stdin.content());
        self.leftovers.push(PendingRemoval::new(name.clone(), group.cloned()));
        self.renew_subscription();

        let before = ClockOffset::measure();
        let mut run = ContainerRun::default();
        run.times.requested = monotonic_now();
        let streams = files.is_none();
        let container = Container { engine: &self.engine, name: &name, job, cancel, streams };
        let executed = run_container(&container, body, image.platform, group, watch, &mut run);
        let result = self.engine.block_on(executed);
        watch.stop_sampling();
        let token = (!streams).then_some(&token);
        let heard = self.collect_observations(&name, &result, &run, (token, before, cancel));
        let times = heard.phase_times(&run);
        let metered = metered.as_deref().map_err(String::as_str);
        let unshared = metered.ok().and_then(ContainerMeter::explain_lost_share);
        let (mut usage, sources) =
            assemble_usage(metered, heard.startup_usage(&times), job, StartKind::Cold, &times);
        let stderr =
            files.as_mut().map_or_else(|| run.output.stderr_tail(), StandardFiles::stderr_tail);
        let peak = usage.get(Meter::MemoryPeak);
        let wrote = (stderr, files.as_ref().map(StandardFiles::longest_output));
        let (status, reason, exit_code) =
            heard.status_and_reason((job, &image.call), &result, &run, peak, wrote);
        let (teardown, remark) =
            self.remove_invocation_container(&name, result.as_ref().err(), cancel);
        usage.phases.teardown = teardown;
        let whole = heard.has_whole_output(&result, &run);
        let (output, lost) = digest_output(files.as_mut(), &mut run, whole);
        let lost = join_reasons(lost, unshared);
        Outcome {
            status: if lost.is_some() { Status::Failed } else { status },
            reason: join_reasons(join_reasons(reason, lost), remark),
            exit_code,
            requested: run.times.requested,
            ended: times.ended.or(run.times.ended).unwrap_or_else(monotonic_now),
            usage,
            provenances: self.share_provenances(sources),
            output,
        }
        .with_output_checked(&job.preset)
    }

    /// Creates the files of an invocation; `None` where the function's streams pass
    /// through the engine.
    pub(super) fn create_files(
        &self,
        job: &Job,
        tag: &str,
    ) -> Result<Option<StandardFiles>, String> {
        if self.files.is_err() {
            return Ok(None);
        }
        let files = StandardFiles::create(&self.owner, tag, &job.preset.stdin, job.limits.output);
        files.map(Some).map_err(|error| {
            format!("no files in memory for the function's input and output: {error}")
        })
    }

    pub(super) fn container_body(
        &self,
        job: &Job,
        image: &Image,
        role: ContainerRole<'_>,
        parent: Option<&str>,
    ) -> ContainerCreateBody {
        let labels = self.ownership_labels();
        let runtime = self.runtime.as_deref();
        let runtime_name = self.runtime_name();
        ContainerSpec { job, image, role, labels, runtime, runtime_name, cgroup_parent: parent }
            .to_create_body()
    }

    /// Collects what the engine, and the starter that was given this token, report
    /// about an invocation.
    fn collect_observations(
        &mut self,
        name: &str,
        result: &Result<i64, EngineError>,
        run: &ContainerRun,
        about: (Option<&StarterToken>, ClockOffset, &Cancel),
    ) -> Observations {
        let (token, before, cancel) = about;
        let after = ClockOffset::measure();
        let code = result.as_ref().ok().copied();
        let report = token.map_or(Ok(None), |token| {
            StarterReport::require_unless_killed(
                StarterReport::parse(&run.output.stdout_content(), token),
                code,
            )
        });
        let mut heard = Observations {
            events: EventTimes::new(),
            state: ContainerState::default(),
            offset: after.agrees_with(before).then_some(after),
            report,
        };
        // An engine that did not answer before will hardly answer now.
        let Ok(code) = result else { return heard };
        let unclear = *code != 0 || !matches!(heard.report, Ok(Some(_)));
        let timeline = self.subscription.as_mut();
        let engine = &self.engine;
        (heard.events, heard.state) = engine.block_on(async {
            let happened = match timeline {
                Some(timeline) => timeline.collect_until(name, EventKind::Die).await,
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
        heard
    }

    /// Removes the container of an invocation. Returns how long that took, or why it
    /// is still there.
    pub(super) fn remove_invocation_container(
        &mut self,
        name: &str,
        error: Option<&EngineError>,
        cancel: &Cancel,
    ) -> (Option<Nanos>, Option<String>) {
        // An engine that did not answer before will hardly answer now.
        let unanswered = error.is_some_and(EngineError::is_unanswered);
        let limit = if unanswered { CLEANUP_TIMEOUT } else { REQUEST_TIMEOUT };
        let asked = monotonic_now();
        match self.engine.block_on(remove_container(&self.engine, name, limit, Some(cancel))) {
            Ok(true) => {
                let took = monotonic_now().saturating_since(asked);
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
async fn run_container(
    container: &Container<'_>,
    body: ContainerCreateBody,
    platform: Option<&str>,
    metered: Option<&Arc<ContainerMeter>>,
    watch: &mut dyn ProbeSampler,
    run: &mut ContainerRun,
) -> Result<i64, EngineError> {
    container.create(body, platform, run).await?;
    let streams = container.attach().await?;
    container.start(run).await?;
    if let Some(metered) = metered {
        watch.start_sampling(metered.live_probe());
    }
    container.supervise(streams, run).await
}

/// Returns the digest of a function's output if it is complete, or why it cannot be read.
pub(super) fn digest_output(
    files: Option<&mut StandardFiles>,
    run: &mut ContainerRun,
    whole: bool,
) -> (Option<OutputDigest>, Option<String>) {
    match files {
        _ if !whole => (None, None),
        None => (Some(run.output.stdout_digest()), None),
        Some(files) => match files.stdout_digest() {
            Ok(digest) => (Some(digest), None),
            Err(error) => (None, Some(format!("its output cannot be read: {error}"))),
        },
    }
}

pub(super) fn join_reasons(reason: Option<String>, remark: Option<String>) -> Option<String> {
    match (reason, remark) {
        (Some(reason), Some(remark)) => Some(format!("{reason}; {remark}")),
        (reason, remark) => reason.or(remark),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program_run::tests::job;

    #[test]
    fn only_a_crash_of_the_sandbox_has_an_exit_code_of_its_runtime() {
        let told = |report, out_of_memory| {
            let state = ContainerState { out_of_memory, ..ContainerState::default() };
            let events = EventTimes::new();
            let observed = Observations { events, state, offset: None, report };
            let run = ContainerRun::default();
            let about = (&job(), &FunctionCall::default());
            let (status, reason, code) =
                observed.status_and_reason(about, &Ok(128), &run, None, (None, None));
            assert_eq!((status, code), (Status::Failed, None));
            reason.expect("a reason")
        };
        let crash = format!("{SANDBOX_CRASHED} (exit code 128 of its runtime)");
        assert_eq!(told(Err(SANDBOX_CRASHED), Some(false)), crash);
        assert_eq!(told(Err(SANDBOX_CRASHED), None), crash);
        assert!(told(Err(SANDBOX_CRASHED), Some(true)).starts_with("out of memory"));
        assert_eq!(told(Err("it was tampered with"), Some(true)), "it was tampered with");
    }
}
