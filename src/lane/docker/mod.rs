//! The docker lane: every invocation is a container of its own, from its
//! creation to its removal, metered through a control group made around it.
//!
//! ```text
//!  prepare: program ─▶ image (once)
//!  invoke:  group ─▶ create ─▶ attach ─▶ start ─▶ run ─▶ read the group ─▶ teardown
//!                    └timed┘             └timed┘  └timed┘                  └timed┘
//! ```

mod connect;
mod container;
mod elf;
mod ending;
mod engine;
mod image;
mod metering;
mod output;
mod spec;
mod sweep;
#[cfg(test)]
mod tests;

pub use connect::{Endpoint, EndpointError, Origin, endpoint};
pub use engine::{EngineInfo, inspect};
pub use sweep::{Swept, sweep_everything};

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bollard::models::ContainerCreateBody;

use super::{
    Cancel, Description, Job, Lane, LaneError, Outcome, Prepared, StartKind, Status, Watch, now,
};
use crate::meter::cgroup::{Driver, Group, Hierarchy};
use crate::meter::procfs::ProcessIdentity;
use crate::meter::{Meter, Provenances};
use crate::units::Nanos;
use crate::workload::{Limits, Workload};
use container::{Container, Run, remove};
use ending::{Exit, Stop};
use engine::{BRIEF, Engine, EngineError, REQUEST};
use image::Image;
use metering::{Metered, account};
use spec::{HOST_LABEL, OWNER_LABEL, Spec};

/// Runs functions as containers of a Docker engine.
pub struct DockerLane {
    engine: Engine,
    info: EngineInfo,
    /// The OCI runtime asked for; `None`: the engine's default.
    runtime: Option<String>,
    owner: ProcessIdentity,
    /// Where control groups are made, or why they cannot be.
    groups: Result<(Hierarchy, Driver), String>,
    tsc_hz: Option<u64>,
    /// By the number of the plan's cell.
    images: HashMap<usize, Image>,
    leftovers: Vec<Leftover>,
    /// Those of the latest invocation: most have the same.
    provenances: Arc<Provenances>,
}

/// A container that may exist and must not stay.
struct Leftover {
    name: String,
    /// Whether the engine may still make it: it was asked to and did not answer.
    may_appear: bool,
    /// Its control group, which cannot go before it does.
    _metered: Option<Arc<Metered>>,
}

impl DockerLane {
    /// Connects to the engine and removes what dead owners left there.
    /// `runtime` is one of its OCI runtimes, `tsc_hz` the frequency of this
    /// machine's time-stamp counter.
    ///
    /// # Errors
    /// [`LaneError::Unavailable`] when there is no engine, or it has no such
    /// runtime.
    pub fn open(
        runtime: Option<&str>,
        owner: &ProcessIdentity,
        tsc_hz: Option<u64>,
    ) -> Result<Self, LaneError> {
        let (engine, info) = Engine::connect()?;
        if let Some(name) = runtime.filter(|name| !info.runtimes.iter().any(|has| has == name)) {
            let has = info.runtimes.join(", ");
            return Err(LaneError::Unavailable {
                reason: format!(
                    "the Docker engine at {} has no OCI runtime `{name}`; it has {has}; install \
                     it and name it under `runtimes` in /etc/docker/daemon.json",
                    info.endpoint
                ),
            });
        }
        let lane = Self {
            groups: place(&info),
            engine,
            info,
            runtime: runtime.map(str::to_owned),
            owner: owner.clone(),
            tsc_hz,
            images: HashMap::new(),
            leftovers: Vec::new(),
            provenances: Arc::default(),
        };
        lane.sweep();
        Ok(lane)
    }

    /// Removes containers and control groups whose owner no longer runs.
    pub fn sweep(&self) -> Swept {
        let containers = sweep::containers(&self.engine).ok();
        Swept { containers, groups: sweep::groups() }
    }

    /// The engine, as it was when the lane was opened.
    #[must_use]
    pub const fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn runtime_name(&self) -> &str {
        let default = self.info.default_runtime.as_deref();
        self.runtime.as_deref().or(default).unwrap_or("its default runtime")
    }

    fn ensure_image(
        &self,
        workload: &Workload,
        cancel: &Cancel,
    ) -> Result<(Image, Option<Nanos>), LaneError> {
        let failed = |error: EngineError| match error {
            EngineError::Cancelled => LaneError::Cancelled,
            error => {
                LaneError::Prepare { workload: workload.name.clone(), reason: error.to_string() }
            }
        };
        let program = image::program(workload)?;
        let name = image::reference(&workload.name, &program);
        let reference = format!("{}:{}", name.0, name.1);
        self.engine.block_on(async {
            if let Some(image) =
                image::find(&self.engine, &reference, cancel).await.map_err(failed)?
            {
                return Ok((image, None));
            }
            let begun = now();
            image::import(&self.engine, &name, &program, cancel).await.map_err(failed)?;
            let took = Some(now().since(begun));
            let found = image::find(&self.engine, &reference, cancel).await.map_err(failed)?;
            let image = found.ok_or_else(|| LaneError::Prepare {
                workload: workload.name.clone(),
                reason: format!(
                    "Docker imported {reference} and does not have it; is its disk full?"
                ),
            })?;
            Ok((image, took))
        })
    }

    /// A control group with its counters, or why there is none.
    fn meter(&self, tag: &str) -> Result<Arc<Metered>, String> {
        let (hierarchy, driver) = self.groups.as_ref().map_err(Clone::clone)?;
        let group = Group::create(hierarchy, &self.owner, tag, *driver);
        let group = group.map_err(|error| error.to_string())?;
        Ok(Arc::new(Metered::open(group, self.tsc_hz)))
    }

    fn body(&self, job: &Job, image: &str, parent: Option<&str>) -> ContainerCreateBody {
        let owner = (OWNER_LABEL.to_owned(), self.owner.to_string());
        let host = sweep::host_name().map(|name| (HOST_LABEL.to_owned(), name));
        Spec {
            job,
            image,
            labels: [Some(owner), host].into_iter().flatten().collect(),
            runtime: self.runtime.as_deref(),
            cgroup_parent: parent,
        }
        .body()
    }

    /// One invocation, whatever comes of it.
    fn invoke_once(&mut self, job: &Job, watch: &mut dyn Watch, cancel: &Cancel) -> Outcome {
        self.clear_leftovers();
        let Some(image) = self.images.get(&job.cell).map(|image| image.reference.clone()) else {
            return Outcome::unstarted(
                job,
                now(),
                "the docker lane has not prepared this workload",
            );
        };
        let tag = next_tag();
        let name = format!("cyclometer-{}-{tag}", self.owner);
        let metered = self.meter(&tag);
        let group = metered.as_ref().ok();
        let body = self.body(job, &image, group.map(|metered| metered.parent()));
        // Made on first use, which must not be inside the time of a phase.
        drop(job.preset.stdin.content());
        let metered_by = group.cloned();
        self.leftovers.push(Leftover {
            name: name.clone(),
            may_appear: false,
            _metered: metered_by,
        });

        let requested = now();
        let mut run = Run::default();
        let container = Container { engine: &self.engine, name: &name, job, cancel };
        let result = self.engine.block_on(execute(&container, body, group, watch, &mut run));
        watch.end();
        let ended = run.ended.unwrap_or_else(now);
        let metered = metered.as_deref().map_err(String::as_str);
        let (mut usage, sources) = account(metered, job, run.phases);
        let peak = usage.get(Meter::MemoryPeak);
        let verdict = self.engine.block_on(verdict(&container, &result, &run, peak));
        let (teardown, remark) = self.tear_down(&name, result.as_ref().err());
        usage.phases.teardown = teardown;
        let (status, reason, exit_code) = verdict;
        Outcome {
            status,
            reason: joined(reason, remark),
            exit_code,
            requested,
            ended,
            usage,
            provenances: self.shared(sources),
            output: (result.is_ok() && run.is_whole()).then(|| run.output.digest()),
        }
        .checked(&job.preset)
    }

    /// Removes the container of an invocation: how long that took, or why it
    /// is still there.
    fn tear_down(
        &mut self,
        name: &str,
        error: Option<&EngineError>,
    ) -> (Option<Nanos>, Option<String>) {
        // An engine that did not answer before hardly will now.
        let unanswered = error.is_some_and(EngineError::is_unanswered);
        let limit = if unanswered { BRIEF } else { REQUEST };
        let asked = now();
        match self.engine.block_on(remove(&self.engine, name, limit)) {
            Ok(true) => {
                let took = now().since(asked);
                self.leftovers.retain(|leftover| leftover.name != name);
                (Some(took), None)
            }
            Ok(false) => {
                // A request to create it may still be waiting in the engine.
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

    /// Removes containers that could not be removed when it was their time.
    /// Gives up at the first that cannot be removed now either.
    fn clear_leftovers(&mut self) {
        let mut reachable = true;
        let engine = &self.engine;
        self.leftovers.retain(|leftover| {
            if !reachable {
                return true;
            }
            let removed = engine.block_on(remove(engine, &leftover.name, BRIEF));
            reachable = removed.is_ok();
            removed.map_or(true, |existed| !existed && leftover.may_appear)
        });
    }

    /// The same allocation as last time if nothing has changed.
    fn shared(&mut self, provenances: Provenances) -> Arc<Provenances> {
        if *self.provenances != provenances {
            self.provenances = Arc::new(provenances);
        }
        Arc::clone(&self.provenances)
    }

    fn notes(&self) -> Vec<String> {
        let swap = (self.info.limits_swap == Some(false)).then(|| {
            "the engine's kernel cannot limit swap: a function over its memory limit may be \
             swapped out instead of killed"
                .to_owned()
        });
        let group = match &self.groups {
            Ok(_) => self.meter(&next_tag()).err(),
            Err(reason) => Some(reason.clone()),
        };
        let group =
            group.map(|reason| format!("CPU and memory of containers are not metered: {reason}"));
        [swap, group].into_iter().flatten().collect()
    }
}

impl Lane for DockerLane {
    fn describe(&self) -> Description {
        let unknown = "of unknown version";
        let version = self.info.version.as_deref().unwrap_or(unknown);
        let cgroups = match &self.groups {
            Ok((hierarchy, _)) => format!("control groups {}", hierarchy.version().label()),
            Err(reason) => reason.clone(),
        };
        Description {
            version: format!("docker {version}, {}", self.runtime_name()),
            note: format!(
                "{cgroups}; CPU and memory include what the OCI runtime does inside the \
                 container's control group, and not the engine's own work"
            ),
        }
    }

    fn starts(&self) -> &'static [StartKind] {
        &[StartKind::Cold]
    }

    fn supports(&self, workload: &Workload) -> Result<(), LaneError> {
        image::program(workload).map(drop)
    }

    /// Images stay when the lane closes: the next recording finds them.
    fn prepare(&mut self, job: &Job, cancel: &Cancel) -> Result<Prepared, LaneError> {
        if cancel.is_cancelled() {
            return Err(LaneError::Cancelled);
        }
        let (image, took) = self.ensure_image(&job.workload, cancel)?;
        let footprint = image.size;
        self.images.insert(job.cell, image);
        Ok(Prepared {
            took,
            footprint,
            footprint_of: "image",
            notes: self.notes(),
            ..Prepared::default()
        })
    }

    fn invoke(
        &mut self,
        job: &Job,
        count: u32,
        watch: &mut dyn Watch,
        cancel: &Cancel,
        emit: &mut dyn FnMut(Outcome),
    ) {
        for _ in 0..count {
            if cancel.is_cancelled() {
                return;
            }
            emit(match job.start {
                StartKind::Cold => self.invoke_once(job, watch, cancel),
                StartKind::Warm => {
                    Outcome::unstarted(job, now(), "the docker lane has cold starts only")
                }
            });
        }
    }

    fn close(&mut self) {
        self.clear_leftovers();
        self.images.clear();
    }
}

impl Drop for DockerLane {
    fn drop(&mut self) {
        self.clear_leftovers();
    }
}

/// Where the control groups of this engine's containers can be made.
fn place(info: &EngineInfo) -> Result<(Hierarchy, Driver), String> {
    if let Some(reason) = info.elsewhere() {
        return Err(reason);
    }
    let driver = info.driver.ok_or("the engine manages no control groups (a rootless engine?)")?;
    let hierarchy = Hierarchy::detect().map_err(|error| error.to_string())?;
    Ok((hierarchy, driver))
}

/// A name part for one container and its control group, unique in this
/// process; several lanes have the same owner.
fn next_tag() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("d{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Creates, attaches to and starts a container, and waits for its end.
async fn execute(
    container: &Container<'_>,
    body: ContainerCreateBody,
    metered: Option<&Arc<Metered>>,
    watch: &mut dyn Watch,
    run: &mut Run,
) -> Result<i64, EngineError> {
    container.create(body, run).await?;
    let streams = container.attach().await?;
    let started = container.start(run).await?;
    if let Some(metered) = metered {
        watch.begin(metered.probe());
    }
    container.supervise(streams, started, run).await
}

/// Status, reason and exit code of an invocation. `peak` is the most memory
/// that it held, if that was metered.
async fn verdict(
    container: &Container<'_>,
    result: &Result<i64, EngineError>,
    run: &Run,
    peak: Option<u64>,
) -> (Status, Option<String>, Option<i32>) {
    let limits = &container.job.limits;
    let code = match cut_short(result, run.stop, limits) {
        Ok(code) => code,
        Err((status, reason)) => return (status, Some(reason), None),
    };
    let out_of_memory = if code == 0 { None } else { container.ran_out_of_memory().await };
    let exit = Exit { code, out_of_memory, peak, stderr: run.output.tail() };
    match (exit.verdict(limits), &run.output_lost) {
        ((Status::Ok, _, code), Some(why)) => {
            (Status::Failed, Some(format!("its output is not complete: {why}")), code)
        }
        (verdict, _) => verdict,
    }
}

/// The exit code of a container that ended by itself, or status and reason of
/// the invocation.
fn cut_short(
    result: &Result<i64, EngineError>,
    stop: Option<Stop>,
    limits: &Limits,
) -> Result<i64, (Status, String)> {
    let stopped = stop.map(|stop| stop.verdict(limits));
    match (result, stopped) {
        (Ok(code), None) => Ok(*code),
        (Ok(_), Some(verdict)) => Err(verdict),
        (Err(EngineError::Cancelled), _) => Err(Stop::Cancelled.verdict(limits)),
        (Err(error), None) => Err((Status::Failed, error.to_string())),
        (Err(error), Some((Status::Interrupted, reason))) => {
            Err((Status::Interrupted, format!("{reason}; {error}")))
        }
        // Whether it ended in time, nobody knows.
        (Err(error), Some((_, reason))) => Err((Status::Failed, format!("{reason}; {error}"))),
    }
}

fn joined(reason: Option<String>, remark: Option<String>) -> Option<String> {
    match (reason, remark) {
        (Some(reason), Some(remark)) => Some(format!("{reason}; {remark}")),
        (reason, remark) => reason.or(remark),
    }
}
