//! What a runtime is given to run: files made from the workload, and what the
//! profile's compile step makes of them.

use std::collections::HashMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::super::cache::digest;
use super::super::launcher::Stdio3;
use super::super::process::{Runner, tail};
use super::super::{Cancel, Job, LaneError, Unwatched, now};
use super::call::Call;
use super::detect::Runtime;
use super::{bundle, ending};
use crate::profile::{Compile, Profile, Takes};
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_system::paths::{OwnFolder, partial_name};
use cyclometer_workload::{Input, hex};

/// Most memory that compiling a module may take.
const COMPILE_MEMORY: Bytes = Bytes(4 << 30);

/// Most that each file may hold that compiling a module makes.
const COMPILE_OUTPUT: Bytes = Bytes(1 << 30);

/// Files of one cell by placeholder.
#[derive(Debug, Clone, Default)]
pub(super) struct Subject {
    pub values: HashMap<&'static str, String>,
    /// Size of what is run.
    pub size: Bytes,
    /// How long compiling took; `None`: it was there, or there is nothing to do.
    pub took: Option<Nanos>,
}

/// Where things are kept: what is the same for ever, and what is of this lane.
pub(super) struct Places<'a> {
    pub cache: &'a OwnFolder,
    pub scratch: &'a Path,
}

/// Makes the files that `job` needs.
///
/// # Errors
/// When one cannot be written, or the compiler says no.
pub(super) fn make(
    profile: &Profile,
    runtime: &Runtime,
    job: &Job,
    places: &Places<'_>,
    runner: &Runner,
    cancel: &Cancel,
) -> Result<Subject, LaneError> {
    let workload = &job.workload;
    let failed = |reason: String| LaneError::Prepare { workload: workload.name.clone(), reason };
    let text = |error: std::io::Error| failed(error.to_string());
    let mut subject = Subject::default();
    match profile.takes {
        Takes::Module => {
            let module = workload.wasm.as_deref().ok_or_else(|| failed("no module".to_owned()))?;
            let path = keep(places.cache, &format!("{}.wasm", workload.name), module, 0o600)
                .map_err(text)?;
            subject.size = Bytes(module.len() as u64);
            subject.values.insert("module", utf8(&path).map_err(failed)?);
            if let Some(compile) = &profile.compile {
                let compiler = Compiler { profile, runtime, compile, runner };
                let (artifact, size, took) = compiler
                    .artifact(&path, module, places.cache, cancel)
                    .map_err(|it| match it {
                        Failed::Stopped => LaneError::Cancelled,
                        Failed::Reason(reason) => {
                            failed(ending::with_known(profile, &workload.name, reason))
                        }
                    })?;
                subject.size = size;
                subject.took = took;
                subject.values.insert("artifact", utf8(&artifact).map_err(failed)?);
            }
        }
        Takes::Program | Takes::Bundle | Takes::Machine => {
            let native = workload.native.as_ref().ok_or_else(|| failed("no program".to_owned()))?;
            let program = native.bytes().map_err(text)?;
            subject.size = Bytes(program.len() as u64);
            match profile.takes {
                Takes::Bundle => {
                    let folder = places.scratch.join(format!("cell-{}", job.cell));
                    bundle::write(&folder, job, &program).map_err(text)?;
                    subject.values.insert("bundle", utf8(&folder).map_err(failed)?);
                }
                Takes::Machine => {
                    let path = places.scratch.join(format!("cell-{}.cpio", job.cell));
                    super::machine::write(&path, job, &program).map_err(text)?;
                    subject.values.insert("initramfs", utf8(&path).map_err(failed)?);
                }
                _ => {
                    let path = keep(places.cache, &workload.name, &program, 0o700).map_err(text)?;
                    subject.values.insert("file", utf8(&path).map_err(failed)?);
                }
            }
        }
    }
    Ok(subject)
}

/// Paths are arguments, which are text.
fn utf8(path: &Path) -> Result<String, String> {
    let text = path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()))?;
    Ok(text.to_owned())
}

/// The path of a cached file with that content, in a folder of its digest.
pub(super) fn keep(
    cache: &OwnFolder,
    name: &str,
    content: &[u8],
    mode: u32,
) -> std::io::Result<PathBuf> {
    let digest = hex(&Sha256::digest(content));
    let folder = subfolder(cache, &digest[..32])?;
    let there = folder.read(name, content.len() as u64);
    if there.is_some_and(|there| there == content) && folder.has_mode(name, mode) {
        folder.mark_used(name);
    } else {
        folder.write(name, content, mode)?;
    }
    Ok(folder.path().join(name))
}

/// A folder of the cache, in the place of whatever else has its name.
fn subfolder(cache: &OwnFolder, name: &str) -> std::io::Result<OwnFolder> {
    cache.subfolder(name).or_else(|_| {
        cache.remove(name);
        cache.subfolder(name)
    })
}

/// The largest artifact that is read.
const MOST_ARTIFACT: u64 = 1 << 30;

/// The name of the file that tells what an artifact was when it was made.
fn sum_of(name: &str) -> String {
    format!("{name}.sum")
}

/// What the file of [`sum_of`] says of an artifact.
fn sum(name: &str, content: &[u8]) -> String {
    format!("{}\n", hex(&digest(name, content)))
}

enum Failed {
    Stopped,
    Reason(String),
}

impl From<String> for Failed {
    fn from(reason: String) -> Self {
        Self::Reason(reason)
    }
}

struct Compiler<'a> {
    profile: &'a Profile,
    runtime: &'a Runtime,
    compile: &'a Compile,
    runner: &'a Runner,
}

impl Compiler<'_> {
    /// The compiled form of a module, made if need be; how long that took.
    fn artifact(
        &self,
        module: &Path,
        content: &[u8],
        cache: &OwnFolder,
        cancel: &Cancel,
    ) -> Result<(PathBuf, Bytes, Option<Nanos>), Failed> {
        let place =
            |name: &str| (name == "artifact" || name == "module").then(|| format!("<{name}>"));
        let value = |name: &str| place(name).or_else(|| self.value(name));
        let args = self.compile.args.expand(&value, &[]).map_err(|name| no_value(&name))?;
        let program = &self.runtime.compiler;
        let name = self
            .name(content, program, &args)
            .map_err(|error| format!("cannot read the compiler {}: {error}", program.display()))?;
        let path = cache.path().join(&name);
        if let Some(size) = kept_artifact(cache, &name) {
            return Ok((path, size, None));
        }
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let partial = partial_name(&name).map_err(failed)?;
        let begun = now();
        let made = self
            .run(module, &cache.path().join(&partial), cancel)
            .map(|()| now().since(begun))
            .and_then(|took| Ok((took, settle(cache, &partial, &name).map_err(failed)?)));
        if made.is_err() {
            cache.remove(&partial);
        }
        made.map(|(took, size)| (path, size, Some(took)))
    }

    /// A name for what this compiler, in this version, makes of that module.
    fn name(&self, content: &[u8], program: &Path, args: &[String]) -> std::io::Result<String> {
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

    fn value(&self, name: &str) -> Option<String> {
        let need = self.runtime.needs.iter().find(|(need, _)| need == name);
        need.map(|(_, path)| path.display().to_string())
    }

    fn run(&self, module: &Path, artifact: &Path, cancel: &Cancel) -> Result<(), Failed> {
        let module = utf8(module)?;
        let made = utf8(artifact)?;
        let value = |name: &str| match name {
            "module" => Some(module.clone()),
            "artifact" => Some(made.clone()),
            _ => self.value(name),
        };
        let args = self.compile.args.expand(&value, &[]).map_err(|name| no_value(&name))?;
        let program = self.runtime.compiler.display().to_string();
        let mut files = Stdio3::open(&Input::default()).map_err(|error| error.to_string())?;
        let call = Call {
            memory_limit: Some(COMPILE_MEMORY),
            file_limit: Some(COMPILE_OUTPUT),
            ..Call::new(self.profile, &self.runtime.compiler, &args, &files, self.compile.timeout)
        };
        let run = call
            .with(|spawn| self.runner.run(spawn, &mut Unwatched, cancel))
            .map_err(|error| format!("the compile step cannot start: {error}"))?;
        if cancel.is_cancelled() {
            return Err(Failed::Stopped);
        }
        let said = || [tail(&mut files.stderr), tail(&mut files.stdout)].join(" ");
        if run.ended.status != 0 {
            let how = ending::how(&run.ended);
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

/// The size of an artifact that is what it was when it was made.
fn kept_artifact(cache: &OwnFolder, name: &str) -> Option<Bytes> {
    let content = cache.read(name, MOST_ARTIFACT)?;
    let expected = sum(name, &content);
    let told = cache.read(&sum_of(name), expected.len() as u64)?;
    if content.is_empty() || told != expected.as_bytes() {
        return None;
    }
    cache.mark_used(name);
    cache.mark_used(&sum_of(name));
    Some(Bytes(content.len() as u64))
}

/// Gives an artifact that is whole its name, and notes what it is; its size.
fn settle(cache: &OwnFolder, partial: &str, name: &str) -> std::io::Result<Bytes> {
    // A compiler's file has whatever mode it or the umask says.
    let path = cache.path().join(partial);
    let mode = std::fs::symlink_metadata(&path)?.permissions().mode();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600 | mode & 0o100))?;
    let content = cache.read(partial, MOST_ARTIFACT).ok_or_else(|| {
        std::io::Error::other("it is not a plain file of at most 1 GiB with one name")
    })?;
    cache.rename(partial, name)?;
    cache.write(&sum_of(name), sum(name, &content).as_bytes(), 0o600)?;
    Ok(Bytes(content.len() as u64))
}

fn no_value(name: &str) -> String {
    format!("the compile step has no value for {{{name}}}")
}
