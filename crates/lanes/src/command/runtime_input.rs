//! Input of a runtime: files made from the workload, and the results of the profile's compile step.

use std::collections::HashMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::super::cache::digest_entry;
use super::super::image_root::ImageRoots;
use super::super::launcher::Stdio3;
use super::super::program_run::{Runner, read_tail};
use super::super::{Cancel, Job, LaneError, NoSampling, monotonic_now};
use super::bundle::Bundle;
use super::detect::DetectedRuntime;
use super::invocation_verdict;
use super::runtime_call::RuntimeCall;
use crate::profile::template::ARGS_PLACEHOLDER;
use crate::profile::{AcceptedForm, CompileStep, Profile};
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_system::paths::{OwnFolder, partial_name};
use cyclometer_workload::{FunctionInput, hex};

/// Most memory that compiling a module may take.
const COMPILE_MEMORY: Bytes = Bytes(4 << 30);

/// Most bytes of each file that compiling a module creates.
const COMPILE_OUTPUT: Bytes = Bytes(1 << 30);

/// Option by which gVisor takes the network away, whatever the bundle says.
const NO_NETWORK: &str = "--network=none";

/// Files of one cell, by placeholder.
#[derive(Debug, Clone, Default)]
pub(super) struct RuntimeInput {
    pub values: HashMap<&'static str, String>,
    /// Size of what is run.
    pub size: Bytes,
    /// Duration of the compilation; `None`: it was cached, or there is nothing to compile.
    pub took: Option<Nanos>,
    /// The bundle, for runtimes that take one.
    pub bundle: Option<Arc<Bundle>>,
}

/// Folders for files: those that never change, and those of this lane.
pub(super) struct InputFolders<'a> {
    pub cache: &'a OwnFolder,
    pub scratch: &'a Path,
    /// Roots of images, where the function is one.
    pub roots: Option<&'a ImageRoots>,
}

/// Creates the files that `job` needs.
///
/// # Errors
/// Fails when a file cannot be written, or the compiler refuses the module.
pub(super) fn create_input(
    profile: &Profile,
    runtime: &DetectedRuntime,
    job: &Job,
    places: &InputFolders<'_>,
    runner: &Runner,
    cancel: &Cancel,
) -> Result<RuntimeInput, LaneError> {
    let workload = &job.workload;
    let failed = |reason: String| LaneError::Prepare { workload: workload.name.clone(), reason };
    let text = |error: std::io::Error| failed(error.to_string());
    let mut subject = RuntimeInput::default();
    match profile.takes {
        AcceptedForm::Module => {
            let module = workload.wasm.as_deref().ok_or_else(|| failed("no module".to_owned()))?;
            let path = store_file(places.cache, &format!("{}.wasm", workload.name), module, 0o600)
                .map_err(text)?;
            subject.size = Bytes(module.len() as u64);
            subject.values.insert("module", path_text(&path).map_err(failed)?);
            if let Some(compile) = &profile.compile {
                let compiler = CompileStepRunner { profile, runtime, compile, runner };
                let (artifact, size, took) = compiler
                    .find_or_compile(&path, module, places.cache, cancel)
                    .map_err(|it| match it {
                        CompileFailure::Stopped => LaneError::Cancelled,
                        CompileFailure::Reason(reason) => {
                            failed(invocation_verdict::with_known_failure(
                                profile,
                                workload.function_name(),
                                reason,
                            ))
                        }
                    })?;
                subject.size = size;
                subject.took = took;
                subject.values.insert("artifact", path_text(&artifact).map_err(failed)?);
            }
        }
        AcceptedForm::Bundle => {
            check_bundle_settings(profile, job)
                .map_err(|reason| LaneError::Unsupported { reason })?;
            let bundle = create_bundle(job, places, cancel)?;
            subject.size = bundle.content_size();
            subject.took = bundle.image().and_then(|image| image.took);
            subject.values.insert("bundle", path_text(bundle.path()).map_err(failed)?);
            subject.bundle = Some(Arc::new(bundle));
        }
        AcceptedForm::Program | AcceptedForm::Machine => {
            check_settings(job).map_err(|reason| LaneError::Unsupported { reason })?;
            let native = workload.native.as_ref().ok_or_else(|| failed("no program".to_owned()))?;
            let program = native.read_bytes().map_err(text)?;
            subject.size = Bytes(program.len() as u64);
            if profile.takes == AcceptedForm::Machine {
                let path = places.scratch.join(format!("cell-{}.cpio", job.cell));
                super::virtual_machine::write_initramfs(&path, job, &program).map_err(text)?;
                subject.values.insert("initramfs", path_text(&path).map_err(failed)?);
            } else {
                let path =
                    store_file(places.cache, &workload.name, &program, 0o700).map_err(text)?;
                subject.values.insert("file", path_text(&path).map_err(failed)?);
            }
        }
    }
    Ok(subject)
}

/// Makes the bundle of a job, which runs its image where it has one.
fn create_bundle(
    job: &Job,
    places: &InputFolders<'_>,
    cancel: &Cancel,
) -> Result<Bundle, LaneError> {
    let workload = &job.workload;
    let failed = |reason: String| LaneError::Prepare { workload: workload.name.clone(), reason };
    if let Some(reference) = &workload.image {
        let roots = places.roots.ok_or_else(|| failed("no folder for images".to_owned()))?;
        return Bundle::for_image(job, reference, roots, cancel);
    }
    let native = workload.native.as_ref().ok_or_else(|| failed("no program".to_owned()))?;
    let program = native.read_bytes().map_err(|error| failed(error.to_string()))?;
    let folder = places.scratch.join(format!("cell-{}", job.cell));
    Bundle::for_program(job, folder, &program)
        .map_err(|reason| LaneError::Unsupported { reason: format!("{}: {reason}", workload.name) })
}

/// Refuses what a runtime cannot be told that takes its arguments on its command line, and no
/// options.
fn check_bundle_settings(profile: &Profile, job: &Job) -> Result<(), String> {
    if job.rules.network && profile.cold.has_literal(NO_NETWORK) {
        return Err(format!(
            "the command line in {} takes the network away ({NO_NETWORK}): leave --network out, or \
             this lane",
            profile.origin
        ));
    }
    if !profile.cold.uses_placeholder(ARGS_PLACEHOLDER) {
        return Ok(());
    }
    if job.workload.image.is_some() {
        return Err(format!(
            "the command line in {} has no `{{options...}}` and `{{command...}}`, so it runs no \
             images",
            profile.origin
        ));
    }
    check_settings(job)
}

/// Refuses what machines and runtimes of plain programs cannot give a function.
fn check_settings(job: &Job) -> Result<(), String> {
    let (preset, rules) = (&job.preset, &job.rules);
    let asked = [
        (!preset.env.is_empty(), "variables (--env)"),
        (!preset.dirs.is_empty(), "folders (--dir)"),
        (preset.workdir.is_some(), "a folder to start in (--workdir)"),
        (rules.network, "the network (--network)"),
        (rules.writable, "a root to write to (--writable)"),
        (rules.user.is_some(), "another user (--user)"),
    ];
    let asked: Vec<&str> = asked.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect();
    if asked.is_empty() {
        return Ok(());
    }
    Err(format!(
        "functions have no {} here: leave that out, or this lane; containers have it",
        asked.join(", ")
    ))
}

/// Returns a path as text, since arguments are text.
fn path_text(path: &Path) -> Result<String, String> {
    let text = path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()))?;
    Ok(text.to_owned())
}

/// Returns the path of a cached file with that content, in a folder named by its digest; writes it
/// if need be.
pub(super) fn store_file(
    cache: &OwnFolder,
    name: &str,
    content: &[u8],
    mode: u32,
) -> std::io::Result<PathBuf> {
    let digest = hex(&Sha256::digest(content));
    let folder = open_subfolder(cache, &digest[..32])?;
    let there = folder.read_file(name, content.len() as u64);
    if there.is_some_and(|there| there == content) && folder.has_mode(name, mode) {
        folder.mark_used(name);
    } else {
        folder.write_file(name, content, mode)?;
    }
    Ok(folder.path().join(name))
}

/// Opens a subfolder of the cache and replaces anything else of its name.
fn open_subfolder(cache: &OwnFolder, name: &str) -> std::io::Result<OwnFolder> {
    cache.open_subfolder(name).or_else(|_| {
        cache.remove_entry(name);
        cache.open_subfolder(name)
    })
}

/// Size of the largest artifact that is read, in bytes.
const MAX_ARTIFACT_BYTES: u64 = 1 << 30;

/// Returns the name of the file that holds an artifact's checksum.
fn checksum_name(name: &str) -> String {
    format!("{name}.sum")
}

/// Returns the content of the file of [`checksum_name`] for an artifact.
fn format_checksum(name: &str, content: &[u8]) -> String {
    format!("{}\n", hex(&digest_entry(name, content)))
}

enum CompileFailure {
    Stopped,
    Reason(String),
}

impl From<String> for CompileFailure {
    fn from(reason: String) -> Self {
        Self::Reason(reason)
    }
}

struct CompileStepRunner<'a> {
    profile: &'a Profile,
    runtime: &'a DetectedRuntime,
    compile: &'a CompileStep,
    runner: &'a Runner,
}

impl CompileStepRunner<'_> {
    /// Returns the compiled form of a module, compiled if need be, with its size and the duration
    /// of the compilation.
    fn find_or_compile(
        &self,
        module: &Path,
        content: &[u8],
        cache: &OwnFolder,
        cancel: &Cancel,
    ) -> Result<(PathBuf, Bytes, Option<Nanos>), CompileFailure> {
        let place =
            |name: &str| (name == "artifact" || name == "module").then(|| format!("<{name}>"));
        let value = |name: &str| place(name).or_else(|| self.need_path(name));
        let args =
            self.compile.args.expand(&value, &[]).map_err(|name| missing_value_error(&name))?;
        let program = &self.runtime.compiler;
        let name = self
            .artifact_name(content, program, &args)
            .map_err(|error| format!("cannot read the compiler {}: {error}", program.display()))?;
        let path = cache.path().join(&name);
        if let Some(size) = find_artifact(cache, &name) {
            return Ok((path, size, None));
        }
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let partial = partial_name(&name).map_err(failed)?;
        let begun = monotonic_now();
        let made = self
            .compile_module(module, &cache.path().join(&partial), cancel)
            .map(|()| monotonic_now().saturating_since(begun))
            .and_then(|took| Ok((took, finish_artifact(cache, &partial, &name).map_err(failed)?)));
        if made.is_err() {
            cache.remove_entry(&partial);
        }
        made.map(|(took, size)| (path, size, Some(took)))
    }

    /// Returns a name for the output of this compiler, in this version, for that module.
    fn artifact_name(
        &self,
        content: &[u8],
        program: &Path,
        args: &[String],
    ) -> std::io::Result<String> {
        use std::os::unix::fs::MetadataExt;
        let data = std::fs::metadata(program)?;
        let mut key = Sha256::new();
        for part in [&self.runtime.version, &program.display().to_string()].into_iter().chain(args)
        {
            key.update(part.as_bytes());
            key.update([0]);
        }
        // The same path and version may hold another build tomorrow.
        for part in [data.len(), data.mtime().cast_unsigned(), data.mtime_nsec().cast_unsigned()] {
            key.update(part.to_le_bytes());
        }
        let digest = hex(&Sha256::digest(content));
        Ok(format!(
            "{}-{}-{}.{}",
            &digest[..32],
            self.profile.name.replace(':', "."),
            &hex(&key.finalize())[..16],
            self.compile.extension
        ))
    }

    fn need_path(&self, name: &str) -> Option<String> {
        let need = self.runtime.needs.iter().find(|(need, _)| need == name);
        need.map(|(_, path)| path.display().to_string())
    }

    fn compile_module(
        &self,
        module: &Path,
        artifact: &Path,
        cancel: &Cancel,
    ) -> Result<(), CompileFailure> {
        let module = path_text(module)?;
        let made = path_text(artifact)?;
        let value = |name: &str| match name {
            "module" => Some(module.clone()),
            "artifact" => Some(made.clone()),
            _ => self.need_path(name),
        };
        let args =
            self.compile.args.expand(&value, &[]).map_err(|name| missing_value_error(&name))?;
        let program = self.runtime.compiler.display().to_string();
        let mut files =
            Stdio3::with_input(&FunctionInput::default()).map_err(|error| error.to_string())?;
        let call = RuntimeCall {
            memory_limit: Some(COMPILE_MEMORY),
            file_limit: Some(COMPILE_OUTPUT),
            ..RuntimeCall::new(
                self.profile,
                &self.runtime.compiler,
                &args,
                &files,
                self.compile.timeout,
            )
        };
        let run = call
            .with_spawn_request(|spawn| self.runner.run(spawn, &mut NoSampling, cancel))
            .map_err(|error| format!("the compile step cannot start: {error}"))?;
        if cancel.is_cancelled() {
            return Err(CompileFailure::Stopped);
        }
        let said = || [read_tail(&mut files.stderr), read_tail(&mut files.stdout)].join(" ");
        if run.ended.status != 0 {
            let how = invocation_verdict::describe_end(&run.ended);
            let mut said = said;
            return Err(format!("the compile step failed: {how}: {}", said().trim()).into());
        }
        match std::fs::symlink_metadata(artifact) {
            Ok(data) if data.is_file() && data.len() > 0 => Ok(()),
            _ => Err(format!(
                "the compile step ended well but made no file where {{artifact}} says: {program} {}",
                args.join(" ")
            )
            .into()),
        }
    }
}

/// Returns the size of an artifact that still has the checksum of its creation.
fn find_artifact(cache: &OwnFolder, name: &str) -> Option<Bytes> {
    let content = cache.read_file(name, MAX_ARTIFACT_BYTES)?;
    let expected = format_checksum(name, &content);
    let told = cache.read_file(&checksum_name(name), expected.len() as u64)?;
    if content.is_empty() || told != expected.as_bytes() {
        return None;
    }
    cache.mark_used(name);
    cache.mark_used(&checksum_name(name));
    Some(Bytes(content.len() as u64))
}

/// Renames a complete artifact to its final name, and notes its checksum; returns its size.
fn finish_artifact(cache: &OwnFolder, partial: &str, name: &str) -> std::io::Result<Bytes> {
    // A compiler's file has whatever mode the compiler or the umask chose.
    let path = cache.path().join(partial);
    let mode = std::fs::symlink_metadata(&path)?.permissions().mode();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600 | mode & 0o100))?;
    let content = cache.read_file(partial, MAX_ARTIFACT_BYTES).ok_or_else(|| {
        std::io::Error::other("it is not a plain file of at most 1 GiB with one name")
    })?;
    cache.rename_file(partial, name)?;
    cache.write_file(&checksum_name(name), format_checksum(name, &content).as_bytes(), 0o600)?;
    Ok(Bytes(content.len() as u64))
}

fn missing_value_error(name: &str) -> String {
    format!("the compile step has no value for {{{name}}}")
}
