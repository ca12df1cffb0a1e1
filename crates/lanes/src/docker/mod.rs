//! The docker lane: containers of a Docker engine, metered through control
//! groups made around them.
//!
//! ```text
//!  prepare: program + starter ─▶ image (once)
//!  cold:    group ─▶ create ─▶ attach ─▶ start ─▶ run ─▶ read the group ─▶ teardown
//!  warm:    group ─▶ container that waits (once)
//!           read the group ─▶ create and start a command in it ─▶ run ─▶ read the group
//! ```
//!
//! The function is run by a small program of ours, the starter, which connects it to
//! files of this host and reports when it began and ended: see `starter.c`. Where
//! that is impossible (an engine on another machine, an OCI runtime that runs
//! WebAssembly), its streams pass through the engine instead.

#[cfg(test)]
mod base_image_tests;
mod cold;
mod container;
mod container_spec;
mod elf;
mod endpoint;
mod engine;
mod engine_events;
mod footprint;
pub(crate) mod frames;
mod function_call;
#[cfg(test)]
mod ground_truth_tests;
mod image;
mod image_check;
mod image_files;
mod image_list;
mod image_pull;
#[cfg(test)]
mod image_root_tests;
pub mod leftover;
mod metering;
mod output;
#[cfg(test)]
mod own_image_tests;
mod phases;
mod prune;
pub(crate) mod responses;
pub(crate) mod root_export;
mod starter_report;
mod stdio;
mod termination;
#[cfg(test)]
mod tests;
mod transport;
mod warm;
#[cfg(test)]
mod warm_tests;

pub(crate) use elf::check_static;
pub use endpoint::{Endpoint, EndpointError, EndpointOrigin, resolve_endpoint};
pub use engine::{EngineInfo, inspect_engine};
pub(crate) use function_call::{list_hidden_mounts, quote_words, remark_on_failure};
pub use image_check::{check_image, inspect_image};
pub use image_list::{EngineImage, list_engine_images};
pub use image_pull::{PullProgress, pull_image};

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{
    Cancel, Job, Lane, LaneDescription, LaneError, Outcome, Prepared, ProbeSampler, StartKind,
};
use crate::cpu_share::REMEDY;
use crate::image_config::ImageRefusal;
use crate::image_user::AccountFiles;
use container::remove_container;
use container_spec::{ContainerRole, HOST_LABEL, NETWORK, OWNER_LABEL};
use cyclometer_core::units::Nanos;
use cyclometer_meter::cgroup::{Driver, Hierarchy, InvocationGroup};
use cyclometer_meter::{Provenances, mask_ids};
use cyclometer_system::procfs::ProcessIdentity;
use cyclometer_workload::{CpuShare, Preset, Workload};
use engine::{CLEANUP_TIMEOUT, Engine, EngineError, REQUEST_TIMEOUT};
use engine_events::EventSubscription;
use function_call::{FunctionCall, check_integrity, check_settings};
use image::{Image, ImagePayload, ImageRecipe};
use image_check::require_image;
use image_files::read_account_files;
use metering::ContainerMeter;
use responses::{InspectedImage, sanitize_engine_text};
use warm::WarmContainer;

/// Containerd's shims that are known to run WebAssembly; a name that contains `wasm`
/// counts as one, too.
const WASM_SHIMS: [&str; 4] = ["spin", "slight", "wws", "lunatic"];

/// Runs functions as containers of a Docker engine.
pub(crate) struct DockerLane {
    engine: Engine,
    info: EngineInfo,
    /// OCI runtime that was requested; `None`: the engine's default.
    runtime: Option<String>,
    /// Image under the program; `None`: the image holds the program alone.
    base: Option<Image>,
    owner: ProcessIdentity,
    /// Hierarchy and driver for control groups, or why none can be created.
    groups: Result<(Hierarchy, Driver), String>,
    tsc_hz: Option<u64>,
    /// `Ok` if functions get files of this host, else the reason why not.
    files: Result<(), String>,
    /// Whether the engine has been shown to reach those files.
    files_seen: bool,
    subscription: Option<EventSubscription>,
    /// Images by the number of the plan's cell.
    images: HashMap<usize, Image>,
    /// Users of images that were looked at, by the image's id.
    accounts: HashMap<String, AccountFiles>,
    /// Warm containers by the number of the plan's cell.
    warm: HashMap<usize, WarmContainer>,
    leftovers: Vec<PendingRemoval>,
    /// Provenances of the latest invocation, which most invocations share.
    provenances: Arc<Provenances>,
}

/// Image of a cell.
struct PreparedImage {
    image: Image,
    /// How long it took to make; `None`: it was there.
    took: Option<Nanos>,
    /// The image that it is made from.
    below: Option<Image>,
}

/// A container that may exist and must be removed.
struct PendingRemoval {
    name: String,
    /// Whether the engine may still create it: it was asked to and did not answer.
    may_appear: bool,
    /// Control group of the container, which cannot be removed before it.
    _meter: Option<Arc<ContainerMeter>>,
}

impl PendingRemoval {
    fn new(name: String, metered: Option<Arc<ContainerMeter>>) -> Self {
        Self { name, may_appear: false, _meter: metered }
    }
}

impl DockerLane {
    /// Connects to the engine.
    /// `runtime` is one of its OCI runtimes, `base` an image that it has, and
    /// `tsc_hz` the frequency of this machine's time-stamp counter.
    ///
    /// # Errors
    /// [`LaneError::Unavailable`] when there is no engine, or it has no such
    /// runtime or image.
    pub fn open(
        runtime: Option<&str>,
        base: Option<&str>,
        owner: &ProcessIdentity,
        tsc_hz: Option<u64>,
    ) -> Result<Self, LaneError> {
        let (engine, info) = Engine::connect()?;
        if let Some(name) = runtime {
            check_runtime(&info, name)?;
        }
        let is_wasm = runtime.is_some_and(runs_wasm);
        let base = base.map(|name| find_base_image(&engine, name, is_wasm)).transpose()?;
        let mut lane = Self {
            groups: detect_cgroups(&info),
            files: match info.reason_if_remote() {
                Some(reason) => Err(reason),
                None if is_wasm => Err("this OCI runtime runs no starter".to_owned()),
                None => Ok(()),
            },
            files_seen: false,
            engine,
            info,
            runtime: runtime.map(str::to_owned),
            base,
            owner: owner.clone(),
            tsc_hz,
            subscription: None,
            images: HashMap::new(),
            accounts: HashMap::new(),
            warm: HashMap::new(),
            leftovers: Vec::new(),
            provenances: Arc::default(),
        };
        lane.renew_subscription();
        Ok(lane)
    }

    /// Subscribes to the engine's events (again if it was restarted) and discards earlier ones.
    fn renew_subscription(&mut self) {
        if self.subscription.as_ref().is_none_or(EventSubscription::has_ended) {
            self.subscription = Some(EventSubscription::subscribe(&self.engine, &self.owner));
        }
        if let Some(timeline) = &mut self.subscription {
            timeline.discard_pending();
        }
    }

    fn runtime_name(&self) -> &str {
        let default = self.info.default_runtime.as_deref();
        self.runtime.as_deref().or(default).unwrap_or("its default runtime")
    }

    fn runs_wasm(&self) -> bool {
        self.runtime.as_deref().is_some_and(runs_wasm)
    }

    fn payload_for(&self, workload: &Workload) -> Result<ImagePayload, LaneError> {
        if self.runs_wasm() {
            return ImagePayload::from_wasm_module(workload);
        }
        ImagePayload::from_native_program(workload, self.base.is_some())
    }

    /// Finds the user's image `name`, which must be one that this lane can run.
    fn require_own_image(&self, name: &str, cancel: &Cancel) -> Result<InspectedImage, LaneError> {
        let unsupported = |reason: String| Err(LaneError::Unsupported { reason });
        let name_shown = sanitize_engine_text(name);
        if let Some(base) = &self.base {
            return unsupported(format!(
                "docker@{} runs a program of this machine on that image, and {name_shown} is a \
                 function by itself: use `docker` without an image",
                base.reference
            ));
        }
        if self.runs_wasm() {
            return unsupported(format!(
                "the OCI runtime {} runs WebAssembly modules, and {name_shown} is an image of \
                 programs: use `docker`",
                self.runtime_name()
            ));
        }
        let found = require_image(&self.engine, name, cancel)?;
        let check = found.config.check_machine();
        check.map_err(|refusal| LaneError::Unsupported { reason: refusal.to_string() })?;
        Ok(found)
    }

    /// Makes the image of a cell, with what is run in it.
    fn ensure_image(&mut self, job: &Job, cancel: &Cancel) -> Result<PreparedImage, LaneError> {
        let workload = &job.workload;
        let refused =
            |refusal: ImageRefusal| LaneError::Unsupported { reason: refusal.to_string() };
        let Some(name) = &workload.image else {
            let payload = self.payload_for(workload)?;
            let base = self.base.clone();
            let (mut image, took) =
                self.find_or_build(workload, &payload, base.as_ref(), cancel)?;
            let accounts = match (&job.rules.user, &base) {
                (Some(_), Some(base)) => self.read_accounts(workload, &base.id, cancel)?,
                _ => AccountFiles::default(),
            };
            let call = FunctionCall::for_program(&payload.program_path(), job, &accounts);
            image.call = call.map_err(refused)?;
            return Ok(PreparedImage { image, took, below: base });
        };
        let found = self.require_own_image(name, cancel)?;
        // Before anything is made.
        found.config.command_line(&job.preset.args).map_err(refused)?;
        let accounts = self.read_accounts(workload, &found.id, cancel)?;
        let call = FunctionCall::for_image((&found.id, &found.config), job, &accounts);
        let call = call.map_err(refused)?;
        let own = Image::from_inspected(name, found);
        let payload = ImagePayload::Nothing;
        let (image, took) = self.find_or_build(workload, &payload, Some(&own), cancel)?;
        Ok(PreparedImage { image: Image { call, ..image }, took, below: Some(own) })
    }

    fn find_or_build(
        &self,
        workload: &Workload,
        payload: &ImagePayload,
        base: Option<&Image>,
        cancel: &Cancel,
    ) -> Result<(Image, Option<Nanos>), LaneError> {
        let recipe = ImageRecipe {
            workload: &workload.name,
            payload,
            base,
            labels: self.ownership_labels(),
            scratch: &self.container_name(&next_tag()),
        };
        let made = self.engine.block_on(recipe.find_or_build(&self.engine, cancel));
        made.map_err(|error| to_prepare_error(workload, &error))
    }

    /// Returns the users of an image, which is looked into once.
    fn read_accounts(
        &mut self,
        workload: &Workload,
        id: &str,
        cancel: &Cancel,
    ) -> Result<AccountFiles, LaneError> {
        if let Some(known) = self.accounts.get(id) {
            return Ok(known.clone());
        }
        let scratch = self.container_name(&next_tag());
        let labels = self.ownership_labels();
        let read = read_account_files(&self.engine, id, labels, &scratch, cancel);
        let read = self.engine.block_on(read);
        let accounts = read.map_err(|error| to_prepare_error(workload, &error))?;
        self.accounts.insert(id.to_owned(), accounts.clone());
        Ok(accounts)
    }

    /// Refuses a job that wants a network where the engine has none.
    fn check_network(&self, job: &Job, cancel: &Cancel) -> Result<(), LaneError> {
        const ACTION: &str = "tell about its network";
        if !job.rules.network {
            return Ok(());
        }
        let path = format!("/networks/{NETWORK}");
        let asked =
            self.engine.fetch_parsed(ACTION, REQUEST_TIMEOUT, Some(cancel), &path, |_| Ok(()));
        match self.engine.block_on(asked) {
            Err(error) if error.is_missing() => Err(LaneError::Unsupported {
                reason: format!(
                    "the Docker engine at {} has no network `{NETWORK}` (is it started with \
                     `bridge: none`?): leave out --network, or let it have one",
                    self.info.endpoint
                ),
            }),
            asked => asked.map_err(|error| to_prepare_error(&job.workload, &error)),
        }
    }

    /// Checks whether the engine reaches files of this machine: it may run in a
    /// virtual machine, or see other folders.
    fn probe_file_access(
        &mut self,
        job: &Job,
        image: &Image,
        cancel: &Cancel,
    ) -> Result<(), LaneError> {
        let tag = next_tag();
        let failed = |reason| LaneError::Prepare { workload: job.workload.name.clone(), reason };
        let Some(files) = self.create_files(job, &tag).map_err(failed)? else { return Ok(()) };
        if self.files_seen {
            return Ok(());
        }
        let name = self.container_name(&tag);
        // Folders of this machine are the preset's own affair.
        let plain = Preset { dirs: Vec::new(), ..(*job.preset).clone() };
        let plain = Job { preset: Arc::new(plain), ..job.clone() };
        let body = self.container_body(&plain, image, ContainerRole::Wait(&files), None);
        let options =
            bollard::query_parameters::CreateContainerOptionsBuilder::new().name(&name).build();
        let request = self.engine.docker.create_container(Some(options), body);
        let asked =
            self.engine.send_request("create a container", REQUEST_TIMEOUT, Some(cancel), request);
        let made = self.engine.block_on(asked);
        self.leftovers.push(PendingRemoval::new(name, None));
        self.clear_leftovers();
        match made {
            Ok(_) => self.files_seen = true,
            Err(error) if error.is_about_mounts() => {
                self.files = Err("the engine does not reach files of this machine".to_owned());
            }
            Err(error) => return Err(to_prepare_error(&job.workload, &error)),
        }
        Ok(())
    }

    /// Refuses folders of this machine where the engine has others.
    fn check_folders(&self, job: &Job) -> Result<(), LaneError> {
        match &self.files {
            Err(reason) if !job.preset.dirs.is_empty() && !self.runs_wasm() => {
                let reason = format!("--dir needs folders of this machine: {reason}");
                Err(LaneError::Unsupported { reason })
            }
            _ => Ok(()),
        }
    }

    fn ownership_labels(&self) -> HashMap<String, String> {
        let owner = (OWNER_LABEL.to_owned(), self.owner.to_string());
        let host = leftover::host_name().map(|name| (HOST_LABEL.to_owned(), name));
        [Some(owner), host].into_iter().flatten().collect()
    }

    fn container_name(&self, tag: &str) -> String {
        cyclometer_system::owner::name_for(&self.owner, tag)
    }

    /// Creates a control group with its counters and its CPU share, or returns why there is none.
    fn create_meter(
        &self,
        tag: &str,
        share: Option<CpuShare>,
    ) -> Result<Arc<ContainerMeter>, String> {
        let (hierarchy, driver) = self.groups.as_ref().map_err(Clone::clone)?;
        let group = InvocationGroup::create(hierarchy, &self.owner, tag, *driver);
        let group = group.map_err(|error| error.to_string())?;
        Ok(Arc::new(ContainerMeter::for_group(group, share, self.tsc_hz)?))
    }

    /// Removes containers whose removal failed earlier. Gives up at the first that
    /// cannot be removed now either.
    fn clear_leftovers(&mut self) {
        let mut reachable = true;
        let engine = &self.engine;
        self.leftovers.retain(|leftover| {
            if !reachable {
                return true;
            }
            let removed =
                engine.block_on(remove_container(engine, &leftover.name, CLEANUP_TIMEOUT, None));
            reachable = removed.is_ok();
            removed.map_or(true, |existed| !existed && leftover.may_appear)
        });
    }

    /// Returns the allocation of the previous invocation if nothing has changed.
    fn share_provenances(&mut self, provenances: Provenances) -> Arc<Provenances> {
        if *self.provenances != provenances {
            self.provenances = Arc::new(provenances);
        }
        Arc::clone(&self.provenances)
    }

    fn preparation_notes(&self) -> Vec<String> {
        let swap = (self.info.limits_swap == Some(false)).then(|| {
            "the engine's kernel cannot limit swap: a function over its memory limit may be \
             swapped out instead of killed"
                .to_owned()
        });
        let group = match &self.groups {
            Ok(_) => self.create_meter(&next_tag(), None).err(),
            Err(reason) => Some(reason.clone()),
        };
        let group = group.map(|reason| {
            let reason = mask_ids(&reason);
            format!("CPU and memory of containers are not metered: {reason}")
        });
        let files = self.files.as_ref().err().map(|reason| {
            format!(
                "input and output go through the engine, whose work is in the time of the run: \
                 {reason}"
            )
        });
        let base = self.base.as_ref().map(|base| {
            format!(
                "the workload's program of this machine, on the files of {}; the image's own \
                 entrypoint is not run: --image runs that",
                base.reference
            )
        });
        [base, swap, group, files].into_iter().flatten().collect()
    }
}

impl Lane for DockerLane {
    fn describe(&self) -> LaneDescription {
        let unknown = "of unknown version";
        let version = self.info.version.as_deref().unwrap_or(unknown);
        let cgroups = match &self.groups {
            Ok((hierarchy, _)) => format!("control groups {}", hierarchy.version().label()),
            Err(reason) => reason.clone(),
        };
        let base = self.base.as_ref().map(|base| &base.reference);
        let on_base = base.map_or_else(String::new, |base| format!(" on {base}"));
        let program = base.map_or_else(String::new, |base| {
            format!("; the program is one of this machine, and of {base} only the files are used")
        });
        LaneDescription {
            version: format!("docker {version}, {}{on_base}", self.runtime_name()),
            note: format!(
                "{cgroups}; CPU and memory include what the OCI runtime does inside the \
                 container's control group, and not the engine's own work{program}"
            ),
        }
    }

    fn start_kinds(&self) -> &'static [StartKind] {
        // Without the starter, nothing would report when a command began and ended.
        if self.files.is_ok() { &[StartKind::Cold, StartKind::Warm] } else { &[StartKind::Cold] }
    }

    fn check_support(&self, workload: &Workload) -> Result<(), LaneError> {
        match &workload.image {
            Some(name) => self.require_own_image(name, &Cancel::for_process()).map(drop),
            None => self.payload_for(workload).map(drop),
        }
    }

    fn check_cpu_share(&self, share: CpuShare) -> Result<(), LaneError> {
        self.create_meter(&next_tag(), Some(share)).map(drop).map_err(|reason| {
            let reason = format!("{}; {REMEDY}", mask_ids(&reason));
            LaneError::Unsupported { reason }
        })
    }

    /// Prepares the image, which stays when the lane closes: the next recording finds it.
    fn prepare(&mut self, job: &Job, cancel: &Cancel) -> Result<Prepared, LaneError> {
        if cancel.is_cancelled() {
            return Err(LaneError::Cancelled);
        }
        check_settings(job)?;
        self.check_network(job, cancel)?;
        let PreparedImage { image, took, below } = self.ensure_image(job, cancel)?;
        check_integrity(job, &image.call)?;
        prune::mark_used(&image);
        if took.is_some() {
            let endpoint = &self.info.endpoint;
            prune::remove_superseded(&self.engine, endpoint, &image, below.as_ref(), cancel);
        }
        self.probe_file_access(job, &image, cancel)?;
        self.check_folders(job)?;
        if let (StartKind::Warm, Err(reason)) = (job.start, &self.files) {
            let reason = format!("warm functions need files of this machine: {reason}");
            return Err(LaneError::Unsupported { reason });
        }
        let parts = footprint::collect_parts(
            &self.engine,
            &self.info,
            self.runtime_name(),
            &image,
            below.as_ref(),
            cancel,
        );
        // What this program adds to a user's image is no part of the function.
        let shipped = below.filter(|_| image.call.own.is_some());
        let footprint = shipped.map_or(image.size, |own| own.size);
        let mut notes = image.call.list_notes(job);
        notes.extend(self.preparation_notes());
        self.images.insert(job.cell, image);
        Ok(Prepared { took, footprint, footprint_of: "image", parts, notes, ..Prepared::default() })
    }

    fn invoke_next(
        &mut self,
        job: &Job,
        _: u32,
        watch: &mut dyn ProbeSampler,
        cancel: &Cancel,
        emit: &mut dyn FnMut(Outcome),
    ) -> u32 {
        emit(match job.start {
            StartKind::Cold => self.invoke_cold(job, watch, cancel),
            StartKind::Warm => self.invoke_warm(job, watch, cancel),
        });
        1
    }

    fn close(&mut self) {
        self.retire_all_containers();
        self.clear_leftovers();
        self.images.clear();
    }
}

impl Drop for DockerLane {
    fn drop(&mut self) {
        self.retire_all_containers();
        self.clear_leftovers();
    }
}

fn to_prepare_error(workload: &Workload, error: &EngineError) -> LaneError {
    match error {
        EngineError::Cancelled => LaneError::Cancelled,
        error => LaneError::Prepare { workload: workload.name.clone(), reason: error.to_string() },
    }
}

/// Refuses an OCI runtime that the engine does not have. Newer engines find
/// containerd's shims by themselves and do not list them.
fn check_runtime(info: &EngineInfo, name: &str) -> Result<(), LaneError> {
    let is_shim = name.starts_with("io.containerd.") || name.starts_with('/');
    if is_shim || info.runtimes.iter().any(|has| has == name) {
        return Ok(());
    }
    let has = info.runtimes.join(", ");
    Err(LaneError::Unavailable {
        reason: format!(
            "the Docker engine at {} has no OCI runtime `{name}`; it has {has}; install it and \
             name it under `runtimes` in /etc/docker/daemon.json",
            info.endpoint
        ),
    })
}

/// Returns whether an OCI runtime of that name runs WebAssembly modules.
fn runs_wasm(name: &str) -> bool {
    let is_shim = |shim: &&str| name.starts_with(&format!("io.containerd.{shim}."));
    name.contains("wasm") || WASM_SHIMS.iter().any(is_shim)
}

fn find_base_image(engine: &Engine, name: &str, is_wasm: bool) -> Result<Image, LaneError> {
    let unavailable = |reason: String| LaneError::Unavailable { reason };
    if is_wasm {
        let reason = "an OCI runtime that runs WebAssembly takes no base image";
        return Err(unavailable(reason.to_owned()));
    }
    let found = engine.block_on(image::find_image(engine, name, &Cancel::default()));
    found.map_err(|error| unavailable(error.to_string()))?.ok_or_else(|| {
        unavailable(format!(
            "the Docker engine has no image `{name}`, and images are never fetched: `docker pull` \
             it, or make one with runtimes/base-image"
        ))
    })
}

/// Detects where control groups for this engine's containers can be created.
fn detect_cgroups(info: &EngineInfo) -> Result<(Hierarchy, Driver), String> {
    if let Some(reason) = info.reason_if_remote() {
        return Err(reason);
    }
    let driver = info.driver.ok_or("the engine manages no control groups (a rootless engine?)")?;
    let hierarchy = Hierarchy::detect().map_err(|error| error.to_string())?;
    Ok((hierarchy, driver))
}

/// Returns a part of the names of one container and its control group, unique in this
/// process; several lanes have the same owner.
fn next_tag() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("d{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
