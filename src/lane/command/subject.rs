//! What a runtime is given to run: files made from the workload, and what the
//! profile's compile step makes of them.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::super::launcher::Stdio3;
use super::super::process::{Runner, tail};
use super::super::{Cancel, Job, LaneError, Unwatched, now};
use super::call::Call;
use super::detect::Runtime;
use super::{bundle, ending};
use crate::profile::{Compile, Profile, Takes};
use crate::units::{Bytes, Nanos};
use crate::workload::{Input, hex};

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
    pub cache: &'a Path,
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
                let (artifact, took) = compiler
                    .artifact(&path, module, places.cache, cancel)
                    .map_err(|it| match it {
                        Failed::Stopped => LaneError::Cancelled,
                        Failed::Reason(reason) => {
                            failed(ending::with_known(profile, &workload.name, reason))
                        }
                    })?;
                subject.size = Bytes(fs::metadata(&artifact).map_err(text)?.len());
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
    cache: &Path,
    name: &str,
    content: &[u8],
    mode: u32,
) -> std::io::Result<PathBuf> {
    let folder = cache.join(&hex(&Sha256::digest(content))[..32]);
    let path = folder.join(name);
    if fs::read(&path).is_ok_and(|there| there == content) {
        return Ok(path);
    }
    fs::create_dir_all(&folder)?;
    let partial = partial(&path)?;
    let written = fs::write(&partial, content)
        .and_then(|()| fs::set_permissions(&partial, fs::Permissions::from_mode(mode)))
        .and_then(|()| fs::rename(&partial, &path));
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written.map(|()| path)
}

/// A name beside `path` that nobody else writes, with the same ending.
fn partial(path: &Path) -> std::io::Result<PathBuf> {
    let name = path.file_name().map_or_else(String::new, |it| it.to_string_lossy().into_owned());
    Ok(path.with_file_name(format!("partial-{}-{name}", crate::owner::new_name("keep")?)))
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
        cache: &Path,
        cancel: &Cancel,
    ) -> Result<(PathBuf, Option<Nanos>), Failed> {
        let place =
            |name: &str| (name == "artifact" || name == "module").then(|| format!("<{name}>"));
        let value = |name: &str| place(name).or_else(|| self.value(name));
        let args = self.compile.args.expand(&value, &[]).map_err(|name| no_value(&name))?;
        let program = &self.runtime.compiler;
        let path = self
            .path(content, program, &args, cache)
            .map_err(|error| format!("cannot read the compiler {}: {error}", program.display()))?;
        if path.exists() {
            return Ok((path, None));
        }
        let partial = partial(&path).map_err(|error| error.to_string())?;
        let begun = now();
        let made = self.run(module, &partial, cancel).and_then(|()| {
            fs::rename(&partial, &path)
                .map_err(|error| Failed::Reason(format!("{}: {error}", path.display())))
        });
        if made.is_err() {
            let _ = fs::remove_file(&partial);
        }
        made.map(|()| (path, Some(now().since(begun))))
    }

    /// A name for what this compiler, in this version, makes of that module.
    fn path(
        &self,
        content: &[u8],
        program: &Path,
        args: &[String],
        cache: &Path,
    ) -> std::io::Result<PathBuf> {
        use std::os::unix::fs::MetadataExt;
        let data = fs::metadata(program)?;
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
        Ok(cache.join(format!(
            "{}-{}-{}.{}",
            &digest[..32],
            self.profile.name.replace(':', "."),
            &hex(&key.finalize())[..16],
            self.compile.extension
        )))
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
        match fs::metadata(artifact) {
            Ok(data) if data.len() > 0 => Ok(()),
            _ => Err(format!(
                "the compile step ended well but made no file where {{artifact}} says: {program} {}",
                args.join(" ")
            )
            .into()),
        }
    }
}

fn no_value(name: &str) -> String {
    format!("the compile step has no value for {{{name}}}")
}
