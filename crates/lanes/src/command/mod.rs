//! Lane for any other runtime: follows its profile (see [`crate::profile`]) and runs it as the
//! native lane runs programs.
//!
//! Phases: `prepare` is the profile's compile step, `create` fork and exec of the runtime, `run`
//! everything after. The runtime's own start, its loading of the module and its end are inside
//! `run`: they cannot be distinguished from outside. A warm invocation has the phases that its
//! worker reports.

pub(crate) mod answer;
mod bundle;
mod call;
pub mod contract;
mod detect;
mod ending;
mod flood;
mod footprint;
mod machine;
mod sandbox;
mod scratch;
mod subject;
mod warm;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::call::Call;
use self::detect::{Runtime, detect};
use self::flood::OutputWatch;
use self::footprint::Footprint;
use self::sandbox::Sandbox;
use self::scratch::Scratch;
use self::subject::{Places, Subject};
use self::warm::Worker;
use super::cache::Cache;
use super::group::Inside;
use super::launcher::{Ended, LauncherError, Privileges, Stdio3, Why};
use super::process::{
    Run, Runner, Verdict, digest, fill_startup, over_output_limit, set_startup_sources, tail,
    with_remarks, written,
};
use super::{
    Cancel, Description, FootprintPart, Job, Lane, LaneError, Outcome, PartKind, Prepared,
    StartKind, Status, Unwatched, Watch, now, wall,
};
use crate::profile::{Profile, Takes};
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_meter::function_group::GroupUsage;
use cyclometer_meter::{Meter, Provenance, Provenances, Source, Usage};
use cyclometer_system::paths::{Distrust, OwnFolder};
use cyclometer_workload::{Input, Workload};

/// Longest time that cleaning up after an invocation may take.
const CLEANUP_TIMEOUT: Nanos = Nanos(20_000_000_000);

/// Note on the part of `run` that this lane cannot separate.
const RUNTIME_START: &str = "the runtime's own start is in `run`, and its CPU time counts there";

/// Size of a page of linear memory, in bytes.
const WASM_PAGE: u64 = 64 << 10;

/// Runs functions in the runtime that a profile describes.
pub struct CommandLane {
    profile: Arc<Profile>,
    runtime: Runtime,
    /// Folder for later lanes or, where nothing may be kept, one that is removed with this lane.
    cache: Arc<OwnFolder>,
    kept: Cache,
    script: Option<PathBuf>,
    scratch: Scratch,
    runner: Option<Runner>,
    provenances: Arc<Provenances>,
    /// Subjects by the number of the plan's cell.
    subjects: HashMap<usize, Subject>,
    workers: HashMap<usize, Worker>,
    footprint: Option<Footprint>,
}

/// An invocation of a runtime that has ended.
struct Ran {
    run: Run,
    files: Stdio3,
    /// Kills for want of memory in a container without an engine.
    killed: Option<GroupUsage>,
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
        let scratch =
            Scratch::new().map_err(|error| format!("cannot make a temporary folder: {error}"))?;
        let kept = Cache::open("runtimes", &|_| true);
        let folder = kept.folder().map_or(scratch.path().join("cache"), |it| it.path().to_owned());
        let cache =
            OwnFolder::open(&folder).map_err(|error| format!("no folder for modules: {error}"))?;
        let runner = start_runner(profile).map_err(|error| error.to_string())?;
        let script = match &profile.script {
            None => None,
            Some(script) => Some(
                subject::keep(&cache, &script.name, &script.content, 0o600)
                    .map_err(|error| format!("cannot write {}: {error}", script.name))?,
            ),
        };
        let runtime = detect(profile, script.as_deref(), &runner)?;
        let provenances = Arc::new(cold_sources(profile, runner.provenances()));
        Ok(Self {
            profile: Arc::clone(profile),
            runtime,
            cache: Arc::new(cache),
            kept,
            script,
            scratch,
            runner: Some(runner),
            provenances,
            subjects: HashMap::new(),
            workers: HashMap::new(),
            footprint: None,
        })
    }

    /// Returns the launcher: the current one, or a new one in place of a lost one.
    fn runner(&mut self) -> Result<&Runner, LauncherError> {
        self.runner.take_if(|runner| runner.is_spent());
        if self.runner.is_none() {
            self.runner = Some(start_runner(&self.profile)?);
        }
        self.runner.as_ref().ok_or_else(|| LauncherError::Arguments("no launcher".to_owned()))
    }

    fn cold(&mut self, job: &Job, watch: &mut dyn Watch, cancel: &Cancel) -> Outcome {
        let requested = now();
        match self.execute(job, watch, cancel) {
            Ok(mut ran) => {
                let outcome = self.outcome(job, &mut ran);
                self.runner.take_if(|runner| runner.is_spent());
                outcome
            }
            Err(reason) => Outcome::unstarted(job, requested, reason),
        }
    }

    /// Runs the runtime on `job` to its end.
    fn execute(
        &mut self,
        job: &Job,
        watch: &mut dyn Watch,
        cancel: &Cancel,
    ) -> Result<Ran, String> {
        let files = Stdio3::open(&job.preset.stdin).map_err(|error| error.to_string())?;
        let id = new_id()?;
        let values = self.values(job, &id)?;
        let sandbox = sandbox(job, &id, &values)?;
        let value = |name: &str| values.get(name).cloned();
        let args = self
            .profile
            .cold
            .expand(&value, &job.preset.args)
            .map_err(|name| format!("no value for {{{name}}}"))?;
        let program = self.runtime.program.clone();
        // A sandbox keeps its function's memory in files that may be large.
        let sandboxed = matches!(self.profile.takes, Takes::Bundle | Takes::Machine);
        let profile = Arc::clone(&self.profile);
        let call = Call {
            file_limit: (!sandboxed).then_some(job.limits.output),
            cpu: job.cpu,
            ..Call::new(&profile, &program, &args, &files, job.limits.timeout)
        };
        if sandboxed {
            // The log of an earlier invocation, if there is one.
            let _ = std::fs::remove_file(self.crash_log());
        }
        let flood = sandboxed.then(|| OutputWatch::start(&files, job.limits.output, cancel));
        let flood = flood.transpose().map_err(|error| error.to_string())?;
        let cancel = flood.as_ref().map_or(cancel, OutputWatch::cancel);
        let run = self.runner().and_then(|runner| {
            call.bounded(job, runner).with(|spawn| runner.run(spawn, watch, cancel))
        });
        let run = run.map_err(|error| {
            self.runner.take_if(|runner| runner.is_lost(&error));
            error.to_string()
        })?;
        let killed = sandbox.as_ref().and_then(Sandbox::killed);
        if run.ended.why != Why::Itself {
            self.clean_up(&values);
        }
        Ok(Ran { run, files, killed })
    }

    /// Runs one invocation in the cell's worker, which is started if need be.
    fn warm(&mut self, job: &Job, watch: &mut dyn Watch, cancel: &Cancel) -> Outcome {
        let requested = now();
        let mut remark = None;
        let kept = self.workers.remove(&job.cell).and_then(|mut worker| {
            // A response from before the request is not an answer to it.
            match worker.no_surplus() {
                Ok(()) => Some(worker),
                Err(lost) => {
                    let why = worker.autopsy(&lost);
                    remark = Some(format!("the worker before it was replaced: {why}"));
                    None
                }
            }
        });
        let mut worker = match kept.map_or_else(|| self.worker(job, cancel), Ok) {
            Ok(worker) => worker,
            Err(reason) => {
                let mut outcome = Outcome::unstarted(job, requested, reason);
                if cancel.is_cancelled() {
                    outcome.status = Status::Interrupted;
                }
                return outcome;
            }
        };
        let (outcome, good) = worker.invoke(&self.profile, job, watch, cancel);
        if good {
            self.workers.insert(job.cell, worker);
        }
        match remark {
            Some(remark) => outcome.remark(&remark),
            None => outcome,
        }
    }

    fn worker(&self, job: &Job, cancel: &Cancel) -> Result<Worker, String> {
        let line = self.profile.warm.as_ref().ok_or("this runtime has no warm start")?;
        let values = self.values(job, &new_id()?)?;
        let args = line
            .expand(&|name| values.get(name).cloned(), &job.preset.args)
            .map_err(|name| format!("no value for {{{name}}}"))?;
        Worker::start(&self.profile, &self.runtime, job, &args, cancel)
    }

    /// Returns the values of the placeholders in one invocation.
    fn values(&self, job: &Job, id: &str) -> Result<HashMap<String, String>, String> {
        let subject = self.subjects.get(&job.cell).ok_or("the cell was not prepared")?;
        let memory = job.limits.memory.0;
        let text = |path: &Path| path.display().to_string();
        let mut values: HashMap<String, String> = [
            ("name", job.workload.name.clone()),
            ("scratch", text(self.scratch.path())),
            ("memory_bytes", memory.to_string()),
            ("memory_mib", memory.div_ceil(1 << 20).to_string()),
            ("memory_pages", (memory / WASM_PAGE).to_string()),
            ("id", id.to_owned()),
            ("state", text(&self.scratch.path().join("state"))),
            ("crash_log", text(&self.crash_log())),
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
    fn crash_log(&self) -> PathBuf {
        self.scratch.path().join("crash-log")
    }

    /// Removes state that the runtime keeps of an invocation that was cut off.
    fn clean_up(&mut self, values: &HashMap<String, String>) {
        let Some(line) = &self.profile.cleanup else { return };
        let Ok(args) = line.expand(&|name| values.get(name).cloned(), &[]) else { return };
        let program = self.runtime.program.clone();
        let Ok(files) = Stdio3::open(&Input::default()) else { return };
        let profile = Arc::clone(&self.profile);
        let call = Call {
            file_limit: Some(Bytes(1 << 20)),
            ..Call::new(&profile, &program, &args, &files, CLEANUP_TIMEOUT)
        };
        // The state lies in the lane's folder, which is removed with the lane.
        if let Ok(runner) = self.runner() {
            let _ = call.with(|spawn| runner.run(spawn, &mut Unwatched, &Cancel::default()));
        }
    }

    fn outcome(&self, job: &Job, ran: &mut Ran) -> Outcome {
        let (status, reason, exit_code) = self.verdict(job, ran);
        let Ran { run, files, .. } = ran;
        let mut usage = Usage::new(true);
        let mut provenances = Arc::clone(&self.provenances);
        if let Some(runner) = &self.runner {
            runner.fill(run, &mut usage);
            provenances = runner.sources(run, &self.provenances);
            if !Arc::ptr_eq(&provenances, &self.provenances) {
                provenances = Arc::new(cold_sources(&self.profile, &provenances));
            }
            fill_startup(run, &provenances, &mut usage);
        }
        usage.set(Meter::MemoryAllocated, job.limits.memory.0);
        usage.phases.create = Some(run.started.executed.since(run.started.requested));
        usage.phases.run = Some(run.ended.at.since(run.started.executed));
        usage.set(Meter::Wall, run.ended.at.since(run.started.requested).0);
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
            output: digest(&mut files.stdout).ok(),
        }
        .checked(&job.preset);
        if status == Status::Ok && outcome.status == Status::Failed {
            let known = |reason| ending::with_known(&self.profile, &job.workload.name, reason);
            outcome.reason = outcome.reason.map(known);
        }
        outcome
    }

    /// Explains that the runtime hit the memory limit around it, if it did.
    fn explain_wall(&self, job: &Job, run: &Run, stderr: &str) -> Option<String> {
        let wall = call::wall_of(&self.profile, job.limits.memory, self.runner.as_ref()?)?;
        wall.explain(run.grouped.as_ref(), &run.ended, stderr)
    }

    /// Judges how the invocation ended; splits a machine's output into streams for that.
    fn verdict(&self, job: &Job, ran: &mut Ran) -> Verdict {
        let Ran { run, files, killed } = ran;
        let grouped = run.grouped.as_ref().or(killed.as_ref());
        let (written, limit) = (written(files), job.limits.output);
        // Helpers of a sandbox may end slightly later than the process that started them.
        let helpers = self.profile.outside.is_some();
        let outside = Ended { stray: if helpers { 0 } else { run.ended.stray }, ..run.ended };
        let failed = |reason| with_remarks((Status::Failed, Some(reason), None), &outside, grouped);
        if run.ended.why != Why::Timeout && written > limit.0 {
            return failed(over_output_limit(limit));
        }
        let told = (self.profile.takes == Takes::Machine).then(|| machine::unpack(files));
        let stderr = tail(&mut files.stderr);
        if let Some(reason) = self.explain_wall(job, run, &stderr) {
            return failed(reason);
        }
        let out_of_memory = grouped.is_some_and(|group| group.killed > 0);
        let crash = sandbox::explain_crash(&self.crash_log(), &outside);
        if let Some(reason) = crash.filter(|_| !out_of_memory) {
            return failed(reason);
        }
        let outer = ending::judge(&self.profile, job, &outside, grouped, &stderr, written);
        match told {
            Some(Ok(status)) if outer.0 == Status::Ok => {
                let inner = Ended { status, ..outside };
                ending::judge(&self.profile, job, &inner, grouped, &stderr, written)
            }
            Some(Err(reason)) if outer.0 == Status::Ok => {
                let reason = ending::with_known(&self.profile, &job.workload.name, reason);
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
        Takes::Bundle => Inside::Container(bundle::PIDS),
        Takes::Machine => Inside::Machine,
        Takes::Module | Takes::Program => Inside::Runtime,
    };
    Runner::start(privileges, inside)
}

/// Creates the control group around the container of an invocation, where that is possible.
fn sandbox(
    job: &Job,
    id: &str,
    values: &HashMap<String, String>,
) -> Result<Option<Sandbox>, String> {
    let Some(folder) = values.get("bundle") else { return Ok(None) };
    let sandbox = Sandbox::around(id, job.limits.memory);
    let group = sandbox.as_ref().map(|it| it.path.as_str());
    bundle::configure(Path::new(folder), job, group)
        .map_err(|error| format!("cannot write the bundle in {folder}: {error}"))?;
    Ok(sandbox)
}

/// Returns a name that no two invocations share; a runtime's own control groups and state are found
/// by it.
fn new_id() -> Result<String, String> {
    cyclometer_system::owner::new_name("c").map_err(|error| error.to_string())
}

/// Returns the sources of the meters of cold invocations.
fn cold_sources(profile: &Profile, usual: &Provenances) -> Provenances {
    let mut all = usual.clone();
    set_startup_sources(&mut all);
    if let Some(Provenance { source: Some(source), note }) = all.get(Meter::CpuStartup).cloned() {
        all.set(Meter::CpuStartup, source, format!("{note}; {RUNTIME_START}"));
    }
    sources(profile, &all)
}

/// Returns the sources of the meters, adjusted to what the profile says about the runtime.
fn sources(profile: &Profile, usual: &Provenances) -> Provenances {
    let mut all = usual.clone();
    let (ops, memory) = match profile.takes {
        Takes::Module => (
            "this runtime does not tell how many operators it ran",
            "the linear memories are inside of the runtime, out of sight",
        ),
        _ => ("a native program executes no WebAssembly", "a native program has no linear memory"),
    };
    all.missing(Meter::WasmOps, ops);
    all.missing(Meter::LinearMemory, memory);
    let limit = format!("the memory limit; {}", profile.memory.about());
    all.set(Meter::MemoryAllocated, Source::Plan, limit);
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
            all.missing(meter, why);
        }
        // Counters follow every child; the kernel's account of one process does not.
        for meter in [Meter::CpuTime, Meter::RefCycles, Meter::PageFaults, Meter::ContextSwitches] {
            let source = all.get(meter).and_then(|it| it.source);
            if matches!(source, Some(Source::Rusage | Source::Estimate)) {
                all.missing(meter, why);
            }
        }
    }
    all
}

/// Opens an empty folder, as a cache that holds nothing yet.
fn fresh_folder(scratch: &Path) -> Result<OwnFolder, Distrust> {
    let folder = scratch.join("fresh-cache");
    let _ = cyclometer_system::files::remove_tree(&folder);
    OwnFolder::open(&folder)
}

impl Lane for CommandLane {
    fn describe(&self) -> Description {
        let profile = &self.profile;
        let mut parts: Vec<&str> = profile.note.iter().map(String::as_str).collect();
        parts.push(profile.memory.about());
        let wall = self.runner.as_ref().and_then(|runner| {
            let allowance = call::allowance(profile, runner)?;
            Some(wall::describe(runner, &allowance.to_string()))
        });
        parts.extend(wall.as_deref());
        parts.push("the runtime's own start is in `run`: it cannot be told apart from outside");
        if profile.takes == Takes::Module && profile.sees.files {
            parts.push("functions see files of the host");
        }
        let refusal = self.kept.refusal();
        parts.extend(refusal.as_deref());
        parts.extend(self.runner.as_ref().map(Runner::fence));
        Description {
            version: format!("{} {}", profile.title, self.runtime.version),
            note: parts.join("; "),
        }
    }

    fn starts(&self) -> &'static [StartKind] {
        match self.profile.warm {
            Some(_) => &[StartKind::Cold, StartKind::Warm],
            None => &[StartKind::Cold],
        }
    }

    fn supports(&self, workload: &Workload) -> Result<(), LaneError> {
        let (there, what) = match self.profile.takes {
            Takes::Module => (workload.wasm.is_some(), "no WebAssembly module (`wasm`"),
            _ => (workload.native.is_some(), "no native program (`native`"),
        };
        if there {
            return Ok(());
        }
        let reason = format!("{} has {what} in its manifest)", workload.name);
        Err(LaneError::Unsupported { reason })
    }

    fn prepare(&mut self, job: &Job, cancel: &Cancel) -> Result<Prepared, LaneError> {
        let failed = |error: LauncherError| LaneError::Prepare {
            workload: job.workload.name.clone(),
            reason: error.to_string(),
        };
        let (profile, runtime) = (Arc::clone(&self.profile), self.runtime.clone());
        let (cache, scratch) = (Arc::clone(&self.cache), self.scratch.path().to_owned());
        let places = Places { cache: &cache, scratch: &scratch };
        let runner = self.runner().map_err(failed)?;
        let subject = subject::make(&profile, &runtime, job, &places, runner, cancel)?;
        let script = self.script.as_deref();
        let footprint =
            self.footprint.get_or_insert_with(|| footprint::of(&profile, &runtime.program, script));
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
            notes: footprint.remarks.iter().cloned().chain(self.kept.refusal_once()).collect(),
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
        let places = Places { cache: &fresh, scratch: &scratch };
        let result = match self.runner() {
            Ok(runner) => subject::make(&profile, &runtime, job, &places, runner, cancel),
            Err(error) => Err(failed(error.to_string())),
        };
        let _ = std::fs::remove_dir_all(fresh.path());
        Some(
            result
                .and_then(|subject| subject.took.ok_or_else(|| failed("not compiled".to_owned()))),
        )
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
            // Where the function runs outside of the process, the memory of the process is not the
            // function's.
            let mut nobody = Unwatched;
            let watch = if self.profile.outside.is_some() { &mut nobody } else { &mut *watch };
            emit(match job.start {
                StartKind::Cold => self.cold(job, watch, cancel),
                StartKind::Warm => self.warm(job, watch, cancel),
            });
        }
    }

    fn close(&mut self) {
        self.workers.clear();
        self.runner = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::ProfileCatalog;

    #[test]
    fn what_a_runtime_used_before_its_function_is_told_or_missing_with_the_reason() {
        let profile = |name| ProfileCatalog::builtin().get(name).expect("shipped").clone();
        let mut usual = Provenances::default();
        usual.set(Meter::CpuTime, Source::Rusage, "the kernel's account");
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
