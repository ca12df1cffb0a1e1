//! Compiler driver of `workloads build`: compiles C to a WebAssembly module and, for a
//! user's own workload, a native program.

use std::cell::Cell;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use thiserror::Error;

#[path = "flags.rs"]
mod flags;

use super::PROGRAM;
use super::catalog::{WorkloadFolder, find_workload_folders};
use cyclometer_core::invocation::Cancel;
use cyclometer_core::units::Bytes;
use cyclometer_system::files::{
    Bound, FileError, PrivateFolder, RegularFile, create_new, display_path,
};
use cyclometer_system::helper::{HelperEnd, HelperLimits, run_helper};

/// Size limit of a C source.
const SOURCE: Bound = Bound::new("a source", 16 << 20);

/// Limits of a compiler: sources may come from anyone, and may include a
/// device that never ends.
const LIMITS: HelperLimits = HelperLimits { cpu: 300, memory: 4 << 30 };

/// Names of clang with a Wasm target that are tried in this order.
const CLANGS: [&str; 4] = ["clang-14", "clang", "clang-19", "clang-17"];

/// Error of building a workload.
#[derive(Debug, Error)]
pub enum BuildError {
    /// No clang that knows WebAssembly.
    #[error(
        "no clang that compiles to WebAssembly was found (tried {tried}); install clang, lld, wasi-libc and the wasm32 \
         compiler-rt (Debian 12: apt-get install --no-install-recommends clang-14 lld-14 \
         wasi-libc libclang-rt-14-dev-wasm32), or set CYCLOMETER_CLANG"
    )]
    NoClang {
        /// Names that were tried.
        tried: String,
    },
    /// A compiler failed.
    #[error("{command} failed:\n{message}")]
    Compiler {
        /// Command line of the compiler.
        command: String,
        /// Messages of the compiler.
        message: String,
    },
    /// The folder or its manifest is wrong.
    #[error(transparent)]
    Catalog(#[from] super::WorkloadError),
    /// A file could not be read or written.
    #[error("{}: {source}", display_path(path))]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of reading or writing it.
        source: FileError,
    },
    /// No private folder can be made for the build.
    #[error("cannot make a folder for what is built: {0}")]
    Scratch(std::io::Error),
    /// The build was stopped by a signal.
    #[error("the build was stopped")]
    Cancelled,
}

/// Program that was built.
#[derive(Debug, Clone)]
pub struct BuiltProgram {
    /// Name of the workload.
    pub workload: String,
    /// Path of the program.
    pub path: PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// Whether it is identical, byte for byte, to the program that was there before.
    pub same: bool,
}

/// Builds every workload of `folder`. With `check`, writes nothing and only reports whether
/// the programs match their sources. `cancel` ends the compiler.
///
/// # Errors
/// Returns the error of the first workload that cannot be built, or
/// [`BuildError::Cancelled`].
pub fn build_workloads(
    folder: &Path,
    check: bool,
    cancel: &Cancel,
) -> Result<Vec<BuiltProgram>, BuildError> {
    let clang = find_clang(cancel)?;
    let mut all = Vec::new();
    for found in find_workload_folders(folder)?.open_each() {
        let found = found?;
        let manifest = found.read_manifest(&Cell::new(u64::MAX))?;
        let Some(source) = &manifest.source else { continue };
        let source = SourceCopy::copy_from(&found, source, cancel)?;
        if let Some(wasm) = &manifest.wasm {
            source.build_wasm_module(&clang)?;
            all.push(source.install_or_compare(wasm, check)?);
        }
        if let Some(native) = &manifest.native {
            source.build_native_program()?;
            all.push(source.install_or_compare(native, check)?);
        }
    }
    Ok(all)
}

/// Copy of a workload's source in a private folder, in which it is compiled, so that no
/// compiler opens a pipe under the source's name or writes through a link.
struct SourceCopy<'a> {
    workload: &'a WorkloadFolder,
    scratch: PrivateFolder,
    path: PathBuf,
    /// Folder of the original, in which its own headers lie.
    beside: PathBuf,
    cancel: &'a Cancel,
}

impl<'a> SourceCopy<'a> {
    fn copy_from(
        workload: &'a WorkloadFolder,
        name: &str,
        cancel: &'a Cancel,
    ) -> Result<Self, BuildError> {
        let content = workload.folder.read_file(Path::new(name), SOURCE);
        let content = content.map_err(|source| workload.unreadable_error(name, source))?;
        let original = workload.folder.path().join(name);
        let scratch = PrivateFolder::new("build").map_err(BuildError::Scratch)?;
        let path = scratch.path().join(original.file_name().unwrap_or_default());
        create_new(&path, &content, 0o666).map_err(|error| io_error(&path, error.into()))?;
        let beside = original.parent().unwrap_or(workload.folder.path()).to_owned();
        Ok(Self { workload, scratch, path, beside, cancel })
    }

    /// Returns the path of the compiler's output.
    fn output_path(&self) -> PathBuf {
        self.scratch.path().join("made")
    }

    /// Adds the source to a compiler command, so that it finds headers and reports its name
    /// as if it lay in its original folder.
    fn add_source_args(&self, command: &mut Command) {
        let mut map = OsString::from("-fmacro-prefix-map=");
        map.push(self.scratch.path());
        map.push("=");
        map.push(&self.beside);
        command.arg("-iquote").arg(&self.beside).arg(map).arg(&self.path);
    }

    fn build_wasm_module(&self, clang: &str) -> Result<(), BuildError> {
        let object = self.scratch.path().join("object.o");
        let mut compile = Command::new(clang);
        compile.args(flags::WASM_COMPILE).args(flags::COMMON).args(["-Wall", "-Wextra", "-Werror"]);
        // An end at a limit is no compiler crash to be reported.
        self.add_source_args(compile.args(["-fno-crash-diagnostics", "-c"]));
        self.run_compiler(compile.arg("-o").arg(&object))?;
        let mut link = Command::new(clang);
        link.args(flags::WASM_LINK).arg(&object).arg("-o").arg(self.output_path());
        self.run_compiler(link.args(flags::LIBRARIES))
    }

    fn build_native_program(&self) -> Result<(), BuildError> {
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let command = |link: &[&str]| {
            let mut command = Command::new(&compiler);
            command.args(flags::COMMON).args(link).arg("-s");
            self.add_source_args(&mut command);
            self.run_compiler(command.arg("-o").arg(self.output_path()).args(flags::LIBRARIES))
        };
        // Dynamic where there is no static C library: docker lanes then say so.
        match command(&["-static"]) {
            Err(BuildError::Compiler { .. }) => command(&[]),
            other => other,
        }
    }

    fn run_compiler(&self, command: &mut Command) -> Result<(), BuildError> {
        // Leftovers of a killed compiler are removed with the folder.
        command.env("TMPDIR", self.scratch.path());
        let message = match run_helper(command, LIMITS, self.cancel) {
            Ok(Some(ended)) if ended.status.success() => return Ok(()),
            Ok(Some(ended)) => self.explain_failure(&ended),
            Ok(None) => return Err(BuildError::Cancelled),
            Err(error) => error.to_string(),
        };
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        Err(BuildError::Compiler { command: words.join(" "), message })
    }

    /// Explains the failure of a compiler, with its own messages if there are any.
    fn explain_failure(&self, ended: &HelperEnd) -> String {
        // Messages name the original path, which the author knows.
        let private = format!("{}/", self.scratch.path().display());
        let said = ended.stderr.replace(&private, &format!("{}/", self.beside.display()));
        let mut parts = Vec::new();
        if !said.is_empty() {
            parts.push(said.trim_end().to_owned());
        }
        if said.is_empty() || ended.status.code().is_none() {
            parts.push(ended.status.to_string());
        }
        let is_starved = ["out of memory", "memory exhausted", "bad_alloc", "bad alloc"];
        if ended.status.signal() == Some(Signal::SIGXCPU as i32) {
            parts.push(format!(
                "it used more than the {} s of CPU time that a compiler may",
                LIMITS.cpu
            ));
        } else if is_starved.iter().any(|words| said.contains(words)) {
            parts.push(format!("a compiler may use {}", Bytes(LIMITS.memory)));
        }
        parts.join("\n")
    }

    /// Compares the built program with the existing one and, unless `check` is set,
    /// installs it.
    fn install_or_compare(&self, name: &str, check: bool) -> Result<BuiltProgram, BuildError> {
        let made = self.output_path();
        let new = RegularFile::from_path(&made).and_then(|file| file.read_content(PROGRAM));
        let new = new.map_err(|source| io_error(&made, source))?;
        let data = std::fs::metadata(&made).map_err(|error| io_error(&made, error.into()))?;
        let permissions = data.permissions().mode() & 0o777;
        let folder = &self.workload.folder;
        let path = folder.path().join(name);
        let same = folder.read_file(Path::new(name), PROGRAM).is_ok_and(|old| old == new);
        if !check && !same {
            let written = folder.replace_file(Path::new(name), &new, permissions);
            written.map_err(|source| io_error(&path, source))?;
        }
        // A stale output must not be mistaken for the next program.
        std::fs::remove_file(&made).map_err(|error| io_error(&made, error.into()))?;
        let workload = self.workload.name.clone();
        Ok(BuiltProgram { workload, path, size: new.len() as u64, same })
    }
}

fn io_error(path: &Path, source: FileError) -> BuildError {
    BuildError::Io { path: path.to_owned(), source }
}

fn find_clang(cancel: &Cancel) -> Result<String, BuildError> {
    if let Ok(name) = std::env::var("CYCLOMETER_CLANG") {
        return Ok(name);
    }
    find_wasm_compiler(&CLANGS, cancel)
}

/// Returns the first of these compilers that compiles an empty source to WebAssembly; one of
/// them may exist and have no such target.
fn find_wasm_compiler(names: &[&str], cancel: &Cancel) -> Result<String, BuildError> {
    let scratch = PrivateFolder::new("build").map_err(BuildError::Scratch)?;
    let source = scratch.path().join("empty.c");
    create_new(&source, b"", 0o666).map_err(|error| io_error(&source, error.into()))?;
    for name in names {
        let mut compile = Command::new(name);
        compile.args(flags::WASM_COMPILE).args(["-fno-crash-diagnostics", "-c"]).arg(&source);
        compile.arg("-o").arg(scratch.path().join("object.o")).env("TMPDIR", scratch.path());
        match run_helper(&mut compile, LIMITS, cancel) {
            Ok(Some(ended)) if ended.status.success() => return Ok((*name).to_owned()),
            Ok(None) => return Err(BuildError::Cancelled),
            Ok(Some(_)) | Err(_) => {}
        }
    }
    Err(BuildError::NoClang { tried: names.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_is_one_that_has_the_wasm_target() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, script: &str| {
            let path = folder.path().join(name);
            create_new(&path, format!("#!/bin/sh\n{script}\n").as_bytes(), 0o755).expect("made");
            path.display().to_string()
        };
        // They start, and say their version; only the last one compiles.
        let broken = write("broken", "exit 1");
        let other = write("other", "case $1 in --version) exit 0 ;; *) exit 1 ;; esac");
        let good = write("good", "case $1 in --target=wasm32*) exit 0 ;; *) exit 1 ;; esac");
        let none = folder.path().join("none").display().to_string();
        let cancel = Cancel::default();
        let found = find_wasm_compiler(&[&none, &broken, &other, &good], &cancel);
        assert_eq!(found.expect("the last one"), good);
        let error = find_wasm_compiler(&[&none, &broken, &other], &cancel).expect_err("none");
        assert!(error.to_string().contains(&broken), "{error}");
        assert!(error.to_string().contains("that compiles to WebAssembly"), "{error}");
    }
}
