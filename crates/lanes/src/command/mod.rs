//! Lane for any other runtime: follows its profile (see [`crate::profile`]) and runs it as the
//! native lane runs programs.
//!
//! Phases: `prepare` is the profile's compile step, `create` fork and exec of the runtime, `run`
//! everything after. The runtime's own start, its loading of the module and its end are inside
//! `run`: they cannot be distinguished from outside. A warm invocation has the phases that its
//! worker reports.

mod bundle;
mod container_settings;
pub mod contract;
mod detect;
mod footprint;
mod invocation_verdict;
mod module_job;
mod oci_bundle;
mod output_watch;
mod runtime_call;
mod runtime_input;
mod sandbox_group;
mod scratch_folder;
mod virtual_machine;
mod warm_worker;
pub(crate) mod worker_protocol;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::bundle::Bundle;
use self::detect::{DetectedRuntime, detect_runtime};
use self::footprint::Footprint;
use self::output_watch::OutputWatch;
use self::runtime_call::RuntimeCall;
use self::runtime_input::{InputFolders, RuntimeInput};
use self::sandbox_group::SandboxGroup;
use self::scratch_folder::ScratchFolder;
use self::warm_worker::RuntimeWorker;
use super::cache::Cache;
use super::control_group::InnerProcessLimit;
use super::cpu_share::{ShareMeter, ShareUsage};
use super::image_root::ImageRoots;
use super::launcher::{EndCause, LauncherError, Privileges, ProgramEnd, Stdio3};
use super::program_run::{
    EndVerdict, ProgramRun, Runner, digest_output, fill_startup, longest_output,
    output_limit_reason, read_tail, set_startup_sources, with_remarks,
};
use super::replacement::{ReplaceableRunner, WarmLane, WorkerRun, run_in_worker};
use super::{
    Cancel, FootprintPart, Job, Lane, LaneDescription, LaneError, NoSampling, Outcome, PartKind,
    Prepared, ProbeSampler, StartKind, Status, docker, monotonic_now, outer_memory_limit,
};
use crate::profile::template::{CommandLists, OPTIONS_PLACEHOLDER};
use crate::profile::{AcceptedForm, Profile};
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_meter::function_group::GroupUsage;
use cyclometer_meter::{Meter, Provenance, Provenances, Source, Usage};
use cyclometer_system::paths::{OwnFolder, TrustError};
use cyclometer_workload::{CpuShare, FunctionInput, Limits, Workload};

/// Longest time that cleaning up after an invocation may take.
const CLEANUP_TIMEOUT: Nanos = Nanos(20_000_000_000);

/// Note on the part of `run` that this lane cannot separate.
const RUNTIME_START: &str = "the runtime's own start is in `run`, and its CPU time counts there";

/// Size of a page of linear memory, in bytes.
const WASM_PAGE: u64 = 64 << 10;

/// Runs functions in the runtime that a profile describes.
pub struct CommandLane {
    profile: Arc<Profile>,
    runtime: DetectedRuntime,
    /// Folder for later lanes or, where nothing may be kept, one that is removed with this lane.
    cache: Arc<OwnFolder>,
    kept: Cache,
    script: Option<PathBuf>,
    /// Roots of images, from the first cell on that runs one; gone before `scratch`.
    roots: Option<ImageRoots>,
    scratch: ScratchFolder,
    runner: ReplaceableRunner,
    provenances: Arc<Provenances>,
    /// Subjects by the number of the plan's cell.
    subjects: HashMap<usize, RuntimeInput>,
    workers: HashMap<usize, RuntimeWorker>,
    footprint: Option<Footprint>,
}

/// An invocation of a runtime that has ended.
struct RuntimeRun {
    run: ProgramRun,
    files: Stdio3,
    /// Kills for want of memory in a container without an engine.
    killed: Option<GroupUsage>,
    /// CPU share of a container without an engine, if it had one.
    share: Option<ShareUsage>,
}

impl CommandLane {
    /// Finds the runtime and asks for its version.
    ///
    /// # Errors
    /// [`LaneError::Unavailable`] with what is missing and what to do.
    pub fn open(profile: &Arc<Profile>) -> Result<Self, LaneError> {
        Self::try_open(profile).map_err(|reason| LaneError::Unavailable { reason })
    }

    fn try_open(profile: &Arc<Profile>) -> Result<Self, String> {
        let scratch = ScratchFolder::new()
            .map_err(|error| format!("cannot make a temporary folder: {error}"))?;
        let kept = Cache::open("runtimes", &|_| true);
        let folder = kept.folder().map_or(scratch.path().join("cache"), |it| it.path().to_owned());
        let cache =
            OwnFolder::open(&folder).map_err(|error| format!("no folder for modules: {error}"))?;
        let theirs = Arc::clone(profile);
        let mut slot = ReplaceableRunner::new(move || start_runner(&theirs));
        let runner = slot.get_or_start().map_err(|error| error.to_string())?;
        let script = match &profile.script {
            None => None,
            Some(script) => Some(
                runtime_input::store_file(&cache, &script.name, &script.content, 0o600)
                    .map_err(|error| format!("cannot write {}: {error}", script.name))?,
            ),
        };
        let runtime = detect_runtime(profile, script.as_deref(), runner)?;
        let provenances = Arc::new(cold_sources(profile, runner.provenances()));
        Ok(Self {
            profile: Arc::clone(profile),
            runtime,
            cache: Arc::new(cache),
            kept,
            script,
            roots: None,
            scratch,
            runner: slot,
            provenances,
            subjects: HashMap::new(),
            workers: HashMap::new(),
            footprint: None,
        })
    }

    fn run_cold(&mut self, job: &Job, watch: &mut dyn ProbeSampler, cancel: &Cancel) -> Outcome {
        let requested = monotonic_now();
        match self.execute_runtime(job, watch, cancel) {
            Ok(mut ran) => {
                let outcome = self.build_outcome(job, &mut ran);
                self.runner.drop_if_spent();
                outcome
            }
            Err(reason) => Outcome::failed_to_start(job, requested, reason),
        }
    }

    /// Runs the runtime on `job` to its end.
    fn execute_runtime(
        &mut self,
        job: &Job,
        watch: &mut dyn ProbeSampler,
        cancel: &Cancel,
    ) -> Result<RuntimeRun, String> {
        let files = Stdio3::with_input(&job.preset.stdin).map_err(|error| error.to_string())?;
        let id = new_invocation_id()?;
        let values = self.placeholder_values(job, &id)?;
        let bundle = self.subjects.get(&job.cell).and_then(|subject| subject.bundle.clone());
        if let Some(bundle) = &bundle {
            bundle.renew_writable_root(cancel)?;
        }
        let (sandbox, mut share) = create_sandbox_group(job, &id, bundle.as_deref())?;
        let args = self.expand_cold_line(job, &values, bundle.as_deref())?;
        let program = self.runtime.program.clone();
        // A sandbox keeps its function's memory in files that may be large.
        let sandboxed = matches!(self.profile.takes, AcceptedForm::Bundle | AcceptedForm::Machine);
        let profile = Arc::clone(&self.profile);
        let call = RuntimeCall {
            file_limit: (!sandboxed).then_some(job.limits.output),
            cpu: job.cpu,
            cpu_share: job.cpu_share.filter(|_| share.is_none()),
            ..RuntimeCall::new(&profile, &program, &args, &files, job.limits.timeout)
        };
        if sandboxed {
            // The log of an earlier invocation, if there is one.
            let _ = std::fs::remove_file(self.crash_log_path());
        }
        let flood = sandboxed.then(|| OutputWatch::start(&files, job.limits.output, cancel));
        let flood = flood.transpose().map_err(|error| error.to_string())?;
        let cancel = flood.as_ref().map_or(cancel, OutputWatch::cancel);
        let run = self.runner.get_or_start().and_then(|runner| {
            call.with_memory_bounds(job, runner)
                .with_spawn_request(|spawn| runner.run(spawn, watch, cancel))
        });
        let run = run.map_err(|error| {
            self.runner.drop_if_spent();
            error.to_string()
        })?;
        let killed = sandbox.as_ref().and_then(SandboxGroup::usage_if_killed);
        if share.is_some() && sandbox.as_ref().is_some_and(SandboxGroup::is_unused) {
            return Err(sandbox_group::NOT_INSIDE.to_owned());
        }
        let share = share.as_mut().map(ShareMeter::take_usage);
        if run.ended.why != EndCause::ByItself {
            self.clean_up(&values);
        }
        Ok(RuntimeRun { run, files, killed, share })
    }

    /// Returns the arguments of the runtime in one invocation.
    fn expand_cold_line(
        &self,
        job: &Job,
        values: &HashMap<String, String>,
        bundle: Option<&Bundle>,
    ) -> Result<Vec<String>, String> {
        let cold = &self.profile.cold;
        let value = |name: &str| values.get(name).cloned();
        let missing = |name: String| format!("no value for {{{name}}}");
        let Some(bundle) = bundle else {
            return cold.expand(&value, &job.preset.args).map_err(missing);
        };
        let options = if cold.uses_placeholder(OPTIONS_PLACEHOLDER) {
            bundle.write_run_options()?
        } else {
            Vec::new()
        };
        let lists = CommandLists {
            args: &job.preset.args,
            options: &options,
            command: &bundle.settings.args,
        };
        cold.expand_lists(&value, &lists).map_err(missing)
    }

    /// Runs one invocation in the cell's worker, which is started if need be.
    fn run_warm(&mut self, job: &Job, watch: &mut dyn ProbeSampler, cancel: &Cancel) -> Outcome {
        let ran = run_in_worker(self, job, cancel, |lane, worker| {
            worker.invoke(&lane.profile, job, watch, cancel)
        });
        match ran {
            Ok(WorkerRun { result, replaced: None }) => result,
            Ok(WorkerRun { result, replaced: Some(why) }) => {
                result.with_remark(&format!("the worker before it was replaced: {why}"))
            }
            Err(failure) => failure.into_outcome(job, cancel),
        }
    }

    /// Opens the folder of the roots of images, once.
    fn open_roots(&mut self, job: &Job) -> Result<(), LaneError> {
        if self.roots.is_none() {
            let opened = ImageRoots::open(self.scratch.path());
            self.roots = Some(opened.map_err(|reason| LaneError::Prepare {
                workload: job.workload.name.clone(),
                reason,
            })?);
        }
        Ok(())
    }

    /// Returns the values of the placeholders in one invocation.
    fn placeholder_values(&self, job: &Job, id: &str) -> Result<HashMap<String, String>, String> {
        let subject = self.subjects.get(&job.cell).ok_or("the cell was not prepared")?;
        let memory = job.limits.memory.0;
        let text = |path: &Path| path.display().to_string();
        let mut values: HashMap<String, String> = [
            ("name", job.workload.function_name().to_owned()),
            ("scratch", text(self.scratch.path())),
            ("memory_bytes", memory.to_string()),
            ("memory_mib", memory.div_ceil(1 << 20).to_string()),
            ("memory_pages", (memory / WASM_PAGE).to_string()),
            ("id", id.to_owned()),
            ("state", text(&self.scratch.path().join("state"))),
            ("crash_log", text(&self.crash_log_path())),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let files = subject.values.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        values.extend(files);
        values.extend(self.runtime.needs.iter().map(|(name, path)| (name.clone(), text(path))));
        values.extend(self.script.iter().map(|path| ("script".to_owned(), text(path))));
        if let Some(config) = &self.profile.config {
            let path = self.scratch.path().join(format!("cell-{}.config", job.cell));
            let content = config
                .expand(&|name| values.get(name).cloned(), &[])
                .map_err(|name| format!("no value for {{{name}}}"))?;
            std::fs::write(&path, content.concat())
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            values.insert("config".to_owned(), text(&path));
        }
        Ok(values)
    }

    /// Returns the path of the file to which a runtime may write why its sandbox crashed.
    fn crash_log_path(&self) -> PathBuf {
        self.scratch.path().join("crash-log")
    }

    /// Removes state that the runtime keeps of an invocation that was cut off.
    fn clean_up(&mut self, values: &HashMap<String, String>) {
        let Some(line) = &self.profile.cleanup else { return };
        let Ok(args) = line.expand(&|name| values.get(name).cloned(), &[]) else { return };
        let program = self.runtime.program.clone();
        let Ok(files) = Stdio3::with_input(&FunctionInput::default()) else { return };
        let profile = Arc::clone(&self.profile);
        let call = RuntimeCall {
            file_limit: Some(Bytes(1 << 20)),
            ..RuntimeCall::new(&profile, &program, &args, &files, CLEANUP_TIMEOUT)
        };
        // The state lies in the lane's folder, which is removed with the lane.
        if let Ok(runner) = self.runner.get_or_start() {
            let _ = call
                .with_spawn_request(|spawn| runner.run(spawn, &mut NoSampling, &Cancel::default()));
        }
    }

    fn build_outcome(&self, job: &Job, ran: &mut RuntimeRun) -> Outcome {
        let (status, reason, exit_code) = self.judge_end_of_run(job, ran);
        let RuntimeRun { run, files, share, .. } = ran;
        let mut usage = Usage::new(true);
        let mut provenances = Arc::clone(&self.provenances);
        if let Some(runner) = self.runner.current() {
            runner.fill_usage(run, &mut usage);
            provenances = runner.sources_for(run, &self.provenances);
            if !Arc::ptr_eq(&provenances, &self.provenances) {
                provenances = Arc::new(cold_sources(&self.profile, &provenances));
            }
            fill_startup(run, &provenances, &mut usage);
        }
        if let Some(share) = share {
            share.fill_usage(&mut usage);
            share.set_sources(sandbox_group::SHARE_SCOPE, Arc::make_mut(&mut provenances));
        }
        usage.set(Meter::MemoryAllocated, job.limits.memory.0);
        usage.phases.create = Some(run.started.executed.saturating_since(run.started.requested));
        usage.phases.run = Some(run.ended.at.saturating_since(run.started.executed));
        usage.set(Meter::Wall, run.ended.at.saturating_since(run.started.requested).0);
        for meter in Meter::ALL {
            // Meters that the sources call missing stay missing, whatever was read.
            if provenances.get(*meter).is_some_and(|it| it.source.is_none()) {
                usage.set(*meter, None);
            }
        }
        let mut outcome = Outcome {
            status,
            reason,
            exit_code,
            requested: run.started.requested,
            ended: run.ended.at,
            usage,
            provenances,
            output: digest_output(&mut files.stdout).ok(),
        }
        .with_output_checked(&job.preset);
        if status == Status::Ok && outcome.status == Status::Failed {
            let known = |reason| {
                invocation_verdict::with_known_failure(
                    &self.profile,
                    job.workload.function_name(),
                    reason,
                )
            };
            outcome.reason = outcome.reason.map(known);
        }
        let is_own_failure = outcome.status == Status::Failed && outcome.exit_code.is_some();
        if is_own_failure
            && self.profile.takes == AcceptedForm::Bundle
            && let Some(remark) = docker::remark_on_failure(job, &read_tail(&mut files.stderr))
        {
            outcome = outcome.with_remark(remark);
        }
        outcome
    }

    /// Explains that the runtime hit the memory limit around it, if it did.
    fn explain_outer_limit(&self, job: &Job, run: &ProgramRun, stderr: &str) -> Option<String> {
        let wall = runtime_call::outer_limit_for(
            &self.profile,
            job.limits.memory,
            self.runner.current()?,
        )?;
        wall.explain_hit(run.group_usage.as_ref(), &run.ended, stderr)
    }

    /// Judges how the invocation ended; splits a machine's output into streams for that.
    fn judge_end_of_run(&self, job: &Job, ran: &mut RuntimeRun) -> EndVerdict {
        let RuntimeRun { run, files, killed, .. } = ran;
        let grouped = run.group_usage.as_ref().or(killed.as_ref());
        let (written, limit) = (longest_output(files), job.limits.output);
        // Helpers of a sandbox may end slightly later than the process that started them.
        let helpers = self.profile.outside.is_some();
        let outside = ProgramEnd {
            stray_processes: if helpers { 0 } else { run.ended.stray_processes },
            ..run.ended
        };
        let failed = |reason| with_remarks((Status::Failed, Some(reason), None), &outside, grouped);
        if run.ended.why != EndCause::Timeout && written > limit.0 {
            return failed(output_limit_reason(limit));
        }
        let told = (self.profile.takes == AcceptedForm::Machine)
            .then(|| virtual_machine::unpack_output(files));
        let stderr = read_tail(&mut files.stderr);
        if let Some(reason) = self.explain_outer_limit(job, run, &stderr) {
            return failed(reason);
        }
        let out_of_memory = grouped.is_some_and(|group| group.killed > 0);
        let crash = sandbox_group::explain_crash(&self.crash_log_path(), &outside);
        if let Some(reason) = crash.filter(|_| !out_of_memory) {
            return failed(reason);
        }
        let outer = invocation_verdict::judge_invocation(
            &self.profile,
            job,
            &outside,
            grouped,
            &stderr,
            written,
        );
        match told {
            Some(Ok(status)) if outer.0 == Status::Ok => {
                let inner = ProgramEnd { status, ..outside };
                invocation_verdict::judge_invocation(
                    &self.profile,
                    job,
                    &inner,
                    grouped,
                    &stderr,
                    written,
                )
            }
            Some(Err(reason)) if outer.0 == Status::Ok => {
                let reason = invocation_verdict::with_known_failure(
                    &self.profile,
                    job.workload.function_name(),
                    reason,
                );
                (Status::Failed, Some(reason), None)
            }
            _ => outer,
        }
    }
}

/// Starts a launcher. A runtime that creates control groups of its own is left where it can do so:
/// on v2 a group with processes can have none inside.
fn start_runner(profile: &Profile) -> Result<Runner, LauncherError> {
    let privileges = Privileges::Runtime;
    if profile.outside.is_none() {
        return Runner::start_grouped(privileges, true);
    }
    let inside = match profile.takes {
        AcceptedForm::Bundle => oci_bundle::PROCESS_LIMITS,
        AcceptedForm::Machine => InnerProcessLimit::Machine,
        AcceptedForm::Module | AcceptedForm::Program => InnerProcessLimit::Runtime,
    };
    Runner::start_inside(privileges, inside)
}

/// Creates the control group around the container of an invocation, where that is possible, and the
/// meter of its CPU share, if it has one.
fn create_sandbox_group(
    job: &Job,
    id: &str,
    bundle: Option<&Bundle>,
) -> Result<(Option<SandboxGroup>, Option<ShareMeter>), String> {
    let Some(bundle) = bundle else { return Ok((None, None)) };
    let (sandbox, share) = match job.cpu_share {
        Some(share) => {
            let (sandbox, meter) = SandboxGroup::create_with_share(id, job.limits.memory, share)?;
            (Some(sandbox), Some(meter))
        }
        None => (SandboxGroup::create_around(id, job.limits.memory), None),
    };
    let group = sandbox.as_ref().map(|it| it.path.as_str());
    bundle.write_config(job, group)?;
    Ok((sandbox, share))
}

/// Returns whether a runtime takes a bundle with its `config.json`, which names the control group,
/// rather than its folder of files only.
fn takes_bundle_config(profile: &Profile) -> bool {
    const WHOLE: &str = "<bundle>";
    let value = |name: &str| Some(format!("<{name}>"));
    let args = profile.cold.expand(&value, &[]).unwrap_or_default();
    args.iter().any(|arg| arg == WHOLE || arg.ends_with(&format!("={WHOLE}")))
}

/// Returns a name that no two invocations share; a runtime's own control groups and state are found
/// by it.
fn new_invocation_id() -> Result<String, String> {
    cyclometer_system::owner::new_name("c").map_err(|error| error.to_string())
}

/// Returns the sources of the meters of cold invocations.
fn cold_sources(profile: &Profile, usual: &Provenances) -> Provenances {
    let mut all = usual.clone();
    set_startup_sources(&mut all);
    if let Some(Provenance { source: Some(source), note, .. }) = all.get(Meter::CpuStartup).cloned()
    {
        all.set_source(Meter::CpuStartup, source, format!("{note}; {RUNTIME_START}"));
    }
    adjust_sources(profile, &all)
}

/// Returns the sources of the meters, adjusted to what the profile says about the runtime.
fn adjust_sources(profile: &Profile, usual: &Provenances) -> Provenances {
    let mut all = usual.clone();
    let (ops, memory) = match profile.takes {
        AcceptedForm::Module => (
            "this runtime does not tell how many operators it ran",
            "the linear memories are inside of the runtime, out of sight",
        ),
        _ => ("a native program executes no WebAssembly", "a native program has no linear memory"),
    };
    all.set_missing(Meter::WasmOps, ops);
    all.set_missing(Meter::LinearMemory, memory);
    let limit = format!("the memory limit; {}", profile.memory.describe_limit());
    all.set_source(Meter::MemoryAllocated, Source::Plan, limit);
    if let Some(why) = &profile.outside {
        for meter in [
            Meter::CpuUser,
            Meter::CpuSystem,
            Meter::CpuStartup,
            Meter::Throttled,
            Meter::MemoryPeak,
            Meter::MemoryStartup,
            Meter::MemoryRss,
            Meter::MemoryTime,
        ] {
            all.set_missing(meter, why);
        }
        // Counters follow every child; the kernel's account of one process does not.
        for meter in [Meter::CpuTime, Meter::RefCycles, Meter::PageFaults, Meter::ContextSwitches] {
            let source = all.get(meter).and_then(|it| it.source);
            if matches!(source, Some(Source::Rusage | Source::Estimate)) {
                all.set_missing(meter, why);
            }
        }
    }
    all
}

/// Opens an empty folder, as a cache that holds nothing yet.
fn fresh_folder(scratch: &Path) -> Result<OwnFolder, TrustError> {
    let folder = scratch.join("fresh-cache");
    let _ = cyclometer_system::files::remove_tree(&folder);
    OwnFolder::open(&folder)
}

impl WarmLane for CommandLane {
    type Worker = RuntimeWorker;

    fn waiting_workers(&mut self) -> &mut HashMap<usize, RuntimeWorker> {
        &mut self.workers
    }

    fn start_worker(&mut self, job: &Job, cancel: &Cancel) -> Result<RuntimeWorker, String> {
        let line = self.profile.warm.as_ref().ok_or("this runtime has no warm start")?;
        let values = self.placeholder_values(job, &new_invocation_id()?)?;
        let args = line
            .expand(&|name| values.get(name).cloned(), &job.preset.args)
            .map_err(|name| format!("no value for {{{name}}}"))?;
        RuntimeWorker::start(&self.profile, &self.runtime, job, &args, cancel)
    }

    /// A response from before the request is not an answer to it.
    fn check_waiting_worker(&self, worker: &mut RuntimeWorker) -> Result<(), String> {
        worker.check_no_surplus().map_err(|lost| worker.end_and_explain(&lost))
    }
}

impl Lane for CommandLane {
    fn describe(&self) -> LaneDescription {
        let profile = &self.profile;
        let mut parts: Vec<&str> = profile.note.iter().map(String::as_str).collect();
        parts.push(profile.memory.describe_limit());
        let wall = self.runner.current().and_then(|runner| {
            let allowance = runtime_call::runtime_allowance(profile, runner)?;
            Some(outer_memory_limit::describe_limit(runner, &allowance.to_string()))
        });
        parts.extend(wall.as_deref());
        parts.push("the runtime's own start is in `run`: it cannot be told apart from outside");
        if profile.takes == AcceptedForm::Module && profile.sees.files {
            parts.push("functions see files of the host");
        }
        let refusal = self.kept.refusal_reason();
        parts.extend(refusal.as_deref());
        parts.extend(self.runner.current().map(Runner::fence));
        LaneDescription {
            version: format!("{} {}", profile.title, self.runtime.version),
            note: parts.join("; "),
        }
    }

    fn start_kinds(&self) -> &'static [StartKind] {
        match self.profile.warm {
            Some(_) => &[StartKind::Cold, StartKind::Warm],
            None => &[StartKind::Cold],
        }
    }

    fn check_support(&self, workload: &Workload) -> Result<(), LaneError> {
        let (there, what) = match self.profile.takes {
            AcceptedForm::Module => (workload.wasm.is_some(), "no WebAssembly module (`wasm`"),
            AcceptedForm::Bundle => (
                workload.native.is_some() || workload.image.is_some(),
                "no native program (`native`",
            ),
            _ => (workload.native.is_some(), "no native program (`native`"),
        };
        if there {
            return Ok(());
        }
        let name = &workload.name;
        let reason = if workload.image.is_some() {
            format!("{name} is an image: lanes of containers run it, such as docker and runc")
        } else {
            format!("{name} has {what} in its manifest)")
        };
        Err(LaneError::Unsupported { reason })
    }

    fn check_job(&self, job: &Job) -> Result<(), LaneError> {
        self.check_support(&job.workload)?;
        match self.profile.takes {
            AcceptedForm::Module => module_job::check_module_job(&self.profile.title, job)
                .map_err(|reason| LaneError::Unsupported { reason }),
            _ => Ok(()),
        }
    }

    fn check_cpu_share(&self, share: CpuShare) -> Result<(), LaneError> {
        let unsupported = |reason| LaneError::Unsupported { reason };
        match (self.profile.takes, self.profile.outside.is_some()) {
            (AcceptedForm::Bundle, true) if takes_bundle_config(&self.profile) => {
                let id = new_invocation_id().map_err(unsupported)?;
                let memory = Limits::default().memory;
                let made = SandboxGroup::create_with_share(&id, memory, share);
                made.map(drop).map_err(unsupported)
            }
            (_, true) => Err(unsupported(format!(
                "{} runs functions outside of the control groups that cyclometer makes, where no \
                 CPU share can be enforced: leave the lane out, or the share",
                self.profile.title
            ))),
            (_, false) => match self.runner.current() {
                Some(runner) => runner.check_cpu_share(share).map_err(unsupported),
                None => Ok(()),
            },
        }
    }

    fn prepare(&mut self, job: &Job, cancel: &Cancel) -> Result<Prepared, LaneError> {
        let failed = |error: LauncherError| LaneError::Prepare {
            workload: job.workload.name.clone(),
            reason: error.to_string(),
        };
        let (profile, runtime) = (Arc::clone(&self.profile), self.runtime.clone());
        let (cache, scratch) = (Arc::clone(&self.cache), self.scratch.path().to_owned());
        if job.workload.image.is_some() && profile.takes == AcceptedForm::Bundle {
            self.open_roots(job)?;
        }
        let roots = self.roots.as_ref();
        let places = InputFolders { cache: &cache, scratch: &scratch, roots };
        let runner = self.runner.get_or_start().map_err(failed)?;
        let subject =
            runtime_input::create_input(&profile, &runtime, job, &places, runner, cancel)?;
        let script = self.script.as_deref();
        let footprint = self
            .footprint
            .get_or_insert_with(|| footprint::measure_runtime(&profile, &runtime.program, script));
        let prepared = Prepared {
            took: subject.took,
            footprint: Some(Bytes(footprint.size.0 + subject.size.0)),
            footprint_of: footprint::COUNTED,
            parts: vec![
                FootprintPart {
                    name: "what it runs".to_owned(),
                    kind: PartKind::Function,
                    bytes: subject.size,
                },
                FootprintPart {
                    name: "runtime, with the libraries it links".to_owned(),
                    kind: PartKind::Runtime,
                    bytes: footprint.size,
                },
            ],
            notes: footprint
                .remarks
                .iter()
                .cloned()
                .chain(self.kept.refusal_reason_once())
                .chain(subject.bundle.iter().flat_map(|bundle| bundle.list_notes(job, roots)))
                .collect(),
            ..Prepared::default()
        };
        self.subjects.insert(job.cell, subject);
        if cancel.is_cancelled() { Err(LaneError::Cancelled) } else { Ok(prepared) }
    }

    fn time_compile(&mut self, job: &Job, cancel: &Cancel) -> Option<Result<Nanos, LaneError>> {
        self.profile.compile.as_ref()?;
        let failed =
            |reason: String| LaneError::Prepare { workload: job.workload.name.clone(), reason };
        let (profile, runtime) = (Arc::clone(&self.profile), self.runtime.clone());
        let scratch = self.scratch.path().to_owned();
        let fresh = match fresh_folder(&scratch) {
            Ok(fresh) => fresh,
            Err(error) => return Some(Err(failed(error.to_string()))),
        };
        let places = InputFolders { cache: &fresh, scratch: &scratch, roots: None };
        let result = match self.runner.get_or_start() {
            Ok(runner) => {
                runtime_input::create_input(&profile, &runtime, job, &places, runner, cancel)
            }
            Err(error) => Err(failed(error.to_string())),
        };
        let _ = std::fs::remove_dir_all(fresh.path());
        Some(
            result
                .and_then(|subject| subject.took.ok_or_else(|| failed("not compiled".to_owned()))),
        )
    }

    fn invoke_next(
        &mut self,
        job: &Job,
        _: u32,
        watch: &mut dyn ProbeSampler,
        cancel: &Cancel,
        emit: &mut dyn FnMut(Outcome),
    ) -> u32 {
        // Where the function runs outside of the process, the memory of the process is not the
        // function's.
        let mut nobody = NoSampling;
        let watch = if self.profile.outside.is_some() { &mut nobody } else { &mut *watch };
        emit(match job.start {
            StartKind::Cold => self.run_cold(job, watch, cancel),
            StartKind::Warm => self.run_warm(job, watch, cancel),
        });
        1
    }

    fn close(&mut self) {
        self.workers.clear();
        self.runner.discard();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::ProfileCatalog;

    #[test]
    fn only_runtimes_that_take_the_groups_name_can_have_a_cpu_share() {
        let builtin = ProfileCatalog::builtin();
        let takes = |name| takes_bundle_config(builtin.get(name).expect("shipped"));
        for (name, has) in [("runc", true), ("crun", true), ("runsc", true), ("podman", false)] {
            assert_eq!(takes(name), has, "{name}");
        }
    }

    #[test]
    fn what_a_runtime_used_before_its_function_is_told_or_missing_with_the_reason() {
        let profile = |name| ProfileCatalog::builtin().get(name).expect("shipped").clone();
        let mut usual = Provenances::default();
        usual.set_source(Meter::CpuTime, Source::Rusage, "the kernel's account");
        let of = |all: &Provenances, meter| all.get(meter).expect("an entry").clone();
        let startup = of(&cold_sources(&profile("wasmi"), &usual), Meter::CpuStartup);
        assert_eq!(startup.source, Some(Source::Clock));
        assert!(startup.note.ends_with(RUNTIME_START), "{}", startup.note);
        // The functions of these run in no group that is watched.
        let outside = cold_sources(&profile("runc"), &usual);
        for meter in [Meter::CpuStartup, Meter::Throttled, Meter::MemoryPeak, Meter::CpuTime] {
            let missing = of(&outside, meter);
            assert_eq!(missing.source, None, "{meter}");
            assert!(missing.note.contains("child of the container's first process"), "{meter}");
        }
    }
}
