//! Lane for the same C source as an ordinary process: the floor under every other lane.
//!
//! Phases: `create` is fork and the child's set-up until it calls exec, `run` everything from exec
//! to the end. There is no `start`: from outside, exec's own work in the kernel and the C library's
//! before `main` cannot be distinguished from the program's.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::launcher::{LauncherError, Privileges, SpawnRequest, SpawnTarget, Stdio3};
use super::program_run::{
    self, ProgramRun, Runner, digest_output, fill_startup, judge_run, longest_output, read_tail,
    set_startup_sources,
};
use super::replacement::ReplaceableRunner;
use super::{
    Cancel, FootprintPart, Job, Lane, LaneDescription, LaneError, Outcome, PartKind, Prepared,
    ProbeSampler, StartKind, monotonic_now,
};
use cyclometer_core::units::Bytes;
use cyclometer_meter::{Meter, Provenances, Usage};
use cyclometer_system::files::{RegularFile, display_path};
use cyclometer_system::sys::explain_file_size_limit;
use cyclometer_workload::{CpuShare, EnvironmentVariable, NativeProgram, Workload, memory_file};

/// Runs native programs.
pub struct NativeLane {
    runner: ReplaceableRunner,
    programs: HashMap<String, NativeExecutable>,
    provenances: Arc<Provenances>,
}

enum NativeExecutable {
    Embedded(File),
    /// A file of the user's, held by its descriptor: the file that was found is the one that is
    /// run.
    Found(RegularFile),
    /// A script, whose interpreter needs a path.
    Script(PathBuf),
}

impl NativeLane {
    /// Starts the lane's launcher.
    ///
    /// # Errors
    /// Fails when no process can be started.
    pub fn open() -> Result<Self, LaneError> {
        let mut lane = Self {
            runner: ReplaceableRunner::new(|| start_runner(true)),
            programs: HashMap::new(),
            provenances: Arc::default(),
        };
        lane.set_counters_enabled(true)?;
        Ok(lane)
    }

    /// Makes the workload's program ready to be executed.
    fn load_program(&mut self, workload: &Workload) -> std::io::Result<()> {
        if !self.programs.contains_key(&workload.name) {
            let program = match &workload.native {
                Some(NativeProgram::Embedded(bytes)) => {
                    let mut file = memory_file(&workload.name)?;
                    file.write_all(bytes).map_err(explain_file_size_limit)?;
                    NativeExecutable::Embedded(file)
                }
                Some(NativeProgram::File(file)) => {
                    let found = file.find_file()?;
                    if is_script(&found) {
                        NativeExecutable::Script(file.full_path())
                    } else {
                        NativeExecutable::Found(found)
                    }
                }
                None => return Err(std::io::ErrorKind::NotFound.into()),
            };
            self.programs.insert(workload.name.clone(), program);
        }
        Ok(())
    }

    fn run_once(&mut self, job: &Job, watch: &mut dyn ProbeSampler, cancel: &Cancel) -> Outcome {
        let requested = monotonic_now();
        match self.try_once(job, watch, cancel) {
            Ok(outcome) => outcome,
            Err(reason) => Outcome::failed_to_start(job, requested, reason),
        }
    }

    fn try_once(
        &mut self,
        job: &Job,
        watch: &mut dyn ProbeSampler,
        cancel: &Cancel,
    ) -> Result<Outcome, String> {
        let mut files = Stdio3::with_input(&job.preset.stdin).map_err(|error| error.to_string())?;
        let args: Vec<&str> = std::iter::once(job.workload.argument_zero())
            .chain(job.preset.args.iter().map(String::as_str))
            .collect();
        let variables = list_variables(job);
        let variables: Vec<&str> = variables.iter().map(String::as_str).collect();
        self.load_program(&job.workload).map_err(|error| error.to_string())?;
        let program = match self.programs.get(&job.workload.name) {
            Some(NativeExecutable::Embedded(file)) => SpawnTarget::File(file.as_fd()),
            Some(NativeExecutable::Found(file)) => SpawnTarget::File(file.as_fd()),
            Some(NativeExecutable::Script(path)) => SpawnTarget::Path(path),
            None => return Err("no native program".to_owned()),
        };
        let runner = self.runner.get_or_start().map_err(|error| error.to_string())?;
        let spawn = SpawnRequest {
            program,
            args: &args,
            env: &variables,
            stdin: files.stdin.as_fd(),
            stdout: files.stdout.as_fd(),
            stderr: files.stderr.as_fd(),
            extra: &[],
            timeout: Some(job.limits.timeout),
            memory_limit: Some(job.limits.memory),
            data_limit: Some(job.limits.memory),
            file_limit: Some(job.limits.output),
            cpu: job.cpu,
            start_folder: choose_start_folder(job),
            cpu_share: job.cpu_share,
        };
        let run = runner.run(&spawn, watch, cancel);
        let outcome =
            run.map(|run| build_outcome(job, runner, &run, &mut files, &self.provenances));
        self.runner.drop_if_spent();
        outcome.map_err(|error| error.to_string())
    }
}

/// Returns whether a program is run by an interpreter, by its first two bytes.
fn is_script(file: &RegularFile) -> bool {
    let mut start = [0; 2];
    // A program that may be executed but not read is no script: its interpreter could not read it
    // either.
    let read = file.open_for_reading().and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == *b"#!"
}

/// Returns the environment of a native program: what it inherits, and the variables of its preset,
/// of which the last of a name holds.
fn list_variables(job: &Job) -> Vec<String> {
    let inherited = job.workload.native.as_ref().map(NativeProgram::inherited_variables);
    let mut all: Vec<EnvironmentVariable> = Vec::new();
    for variable in inherited.into_iter().flatten().chain(job.preset.env.iter().cloned()) {
        match all.iter_mut().find(|other| other.name == variable.name) {
            Some(other) => *other = variable,
            None => all.push(variable),
        }
    }
    all.iter().map(ToString::to_string).collect()
}

/// Returns the folder in which a native program starts.
fn choose_start_folder(job: &Job) -> &Path {
    let usual = job.workload.native.as_ref().map_or(Path::new("/"), NativeProgram::start_folder);
    job.preset.workdir.as_deref().map_or(usual, Path::new)
}

/// Refuses what a plain process cannot be given.
fn check_settings(job: &Job) -> Result<(), String> {
    if let Some(folder) = job.preset.dirs.iter().find(|it| !it.is_at_host_path()) {
        return Err(format!(
            "a plain process finds folders where they are on this machine, so it cannot find {} at \
             {}: name the folder without another path, or leave the native lane out",
            display_path(&folder.host),
            folder.guest
        ));
    }
    match &job.rules.user {
        Some(user) => Err(format!(
            "a plain process runs as the user who records, and not as `{user}`: --user is for \
             containers"
        )),
        None => Ok(()),
    }
}

fn start_runner(counted: bool) -> Result<Runner, LauncherError> {
    Runner::start_grouped(Privileges::Function, counted)
}

fn build_outcome(
    job: &Job,
    runner: &Runner,
    run: &ProgramRun,
    files: &mut Stdio3,
    provenances: &Arc<Provenances>,
) -> Outcome {
    let mut usage = Usage::new(true);
    runner.fill_usage(run, &mut usage);
    let provenances = runner.sources_for(run, provenances);
    fill_startup(run, &provenances, &mut usage);
    usage.set(Meter::MemoryAllocated, job.limits.memory.0);
    usage.phases.create = Some(run.started.executed.saturating_since(run.started.requested));
    usage.phases.run = Some(run.ended.at.saturating_since(run.started.executed));
    usage.set(Meter::Wall, run.ended.at.saturating_since(run.started.requested).0);
    let (status, reason, exit_code) = judge_run(
        job,
        &run.ended,
        run.group_usage.as_ref(),
        &read_tail(&mut files.stderr),
        longest_output(files),
    );
    Outcome {
        status,
        reason,
        exit_code,
        requested: run.started.requested,
        ended: run.ended.at,
        usage,
        provenances,
        output: digest_output(&mut files.stdout).ok(),
    }
    .with_output_checked(&job.preset)
}

impl Lane for NativeLane {
    fn describe(&self) -> LaneDescription {
        let memory = match self.runner.current().map(Runner::group) {
            Some(Ok(_)) => {
                format!(
                    "{}, and for all memory of all together (control group)",
                    program_run::EACH_PROCESS_NOTE
                )
            }
            Some(Err(reason)) => {
                format!("{}; no control group: {reason}", program_run::EACH_PROCESS_NOTE)
            }
            None => program_run::EACH_PROCESS_NOTE.to_owned(),
        };
        let fence = self.runner.current().into_iter().map(|runner| runner.fence().to_owned());
        let note = std::iter::once(memory).chain(fence).collect::<Vec<_>>().join("; ");
        LaneDescription { version: "plain process".to_owned(), note }
    }

    fn start_kinds(&self) -> &'static [StartKind] {
        &[StartKind::Cold]
    }

    fn check_support(&self, workload: &Workload) -> Result<(), LaneError> {
        if workload.native.is_some() {
            return Ok(());
        }
        Err(LaneError::Unsupported {
            reason: format!("{} has no native program (`native` in its manifest)", workload.name),
        })
    }

    fn check_cpu_share(&self, share: CpuShare) -> Result<(), LaneError> {
        let checked = self.runner.current().map_or(Ok(()), |runner| runner.check_cpu_share(share));
        checked.map_err(|reason| LaneError::Unsupported { reason })
    }

    fn check_job(&self, job: &Job) -> Result<(), LaneError> {
        self.check_support(&job.workload)?;
        check_settings(job).map_err(|reason| LaneError::Unsupported { reason })
    }

    fn set_counters_enabled(&mut self, on: bool) -> Result<(), LaneError> {
        let mut slot = ReplaceableRunner::new(move || start_runner(on));
        let runner = slot
            .get_or_start()
            .map_err(|error| LaneError::Unavailable { reason: error.to_string() })?;
        let mut provenances = (**runner.provenances()).clone();
        let no_wasm = "a native program executes no WebAssembly";
        provenances.set_missing(Meter::WasmOps, no_wasm);
        provenances.set_missing(Meter::LinearMemory, no_wasm);
        set_startup_sources(&mut provenances);
        (self.runner, self.provenances) = (slot, Arc::new(provenances));
        Ok(())
    }

    fn prepare(&mut self, job: &Job, _: &Cancel) -> Result<Prepared, LaneError> {
        let failed =
            |reason: String| LaneError::Prepare { workload: job.workload.name.clone(), reason };
        self.check_job(job)?;
        self.load_program(&job.workload).map_err(|error| failed(error.to_string()))?;
        let size = match &job.workload.native {
            Some(NativeProgram::Embedded(bytes)) => Some(Bytes(bytes.len() as u64)),
            Some(NativeProgram::File(file)) => {
                let size = file.find_file().and_then(|found| Ok(found.size_in_bytes()?));
                let shown = display_path(&file.full_path());
                Some(Bytes(size.map_err(|error| failed(format!("{shown}: {error}")))?))
            }
            None => None,
        };
        let parts = size.map(|bytes| FootprintPart {
            name: "program".to_owned(),
            kind: PartKind::Function,
            bytes,
        });
        Ok(Prepared {
            footprint: size,
            footprint_of: "program",
            parts: parts.into_iter().collect(),
            ..Prepared::default()
        })
    }

    fn invoke_next(
        &mut self,
        job: &Job,
        _: u32,
        watch: &mut dyn ProbeSampler,
        cancel: &Cancel,
        emit: &mut dyn FnMut(Outcome),
    ) -> u32 {
        emit(self.run_once(job, watch, cancel));
        1
    }

    fn close(&mut self) {
        self.runner.discard();
    }
}
