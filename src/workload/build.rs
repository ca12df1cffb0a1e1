//! `workloads build`: from C to the WebAssembly module and, for a user's own
//! workload, the native program.

use std::path::{Path, PathBuf};
use std::process::Command;

use thiserror::Error;

#[path = "flags.rs"]
mod flags;

use super::manifest::Manifest;

/// Names under which clang with a Wasm target is looked for.
const CLANGS: [&str; 4] = ["clang-14", "clang", "clang-19", "clang-17"];

/// Why a workload could not be built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// No clang that knows WebAssembly.
    #[error(
        "no clang was found (tried {tried}); install clang, lld, wasi-libc and the wasm32 \
         compiler-rt (Debian 12: apt-get install --no-install-recommends clang-14 lld-14 \
         wasi-libc libclang-rt-14-dev-wasm32), or set CYCLOMETER_CLANG"
    )]
    NoClang {
        /// The names.
        tried: String,
    },
    /// A compiler said no.
    #[error("{command} failed:\n{message}")]
    Compiler {
        /// The command line.
        command: String,
        /// What it said.
        message: String,
    },
    /// The folder or its manifest is wrong.
    #[error(transparent)]
    Catalog(#[from] super::CatalogError),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

/// One program that was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// The workload's name.
    pub workload: String,
    /// The program's path.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it is byte for byte what was there before.
    pub same: bool,
}

/// Builds every workload of `folder`. With `check`, writes nothing but says
/// whether the programs are what their sources give.
///
/// # Errors
/// At the first that cannot be built.
pub fn build(folder: &Path, check: bool) -> Result<Vec<Built>, BuildError> {
    let clang = find_clang()?;
    let scratch = Scratch::new()?;
    let mut all = Vec::new();
    for folder in super::catalog::workload_folders(folder)? {
        let path = folder.join("workload.toml");
        let text = std::fs::read_to_string(&path).map_err(|source| io(&path, source))?;
        let manifest = Manifest::parse(&text, &path.display().to_string(), &|name| {
            std::fs::read(folder.join(name))
        })
        .map_err(super::CatalogError::from)?;
        let name = folder.file_name().map_or_else(String::new, |it| it.to_string_lossy().into());
        let Some(source) = manifest.source else { continue };
        let source = folder.join(source);
        let made = scratch.0.join("made");
        if let Some(wasm) = manifest.wasm {
            wasm_module(&clang, &source, &scratch.0, &made)?;
            all.push(settle(&name, &made, &folder.join(wasm), check)?);
        }
        if let Some(native) = manifest.native {
            native_program(&source, &made)?;
            all.push(settle(&name, &made, &folder.join(native), check)?);
        }
    }
    Ok(all)
}

/// A folder that goes away with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, BuildError> {
        let path = std::env::temp_dir().join(format!("cyclometer-build-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|source| io(&path, source))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn io(path: &Path, source: std::io::Error) -> BuildError {
    BuildError::Io { path: path.to_owned(), source }
}

fn find_clang() -> Result<String, BuildError> {
    if let Ok(name) = std::env::var("CYCLOMETER_CLANG") {
        return Ok(name);
    }
    let found = CLANGS.iter().find(|name| Command::new(name).arg("--version").output().is_ok());
    found
        .map(|name| (*name).to_owned())
        .ok_or_else(|| BuildError::NoClang { tried: CLANGS.join(", ") })
}

fn wasm_module(clang: &str, source: &Path, scratch: &Path, made: &Path) -> Result<(), BuildError> {
    let object = scratch.join("object.o");
    let mut compile = Command::new(clang);
    compile.args(flags::WASM_COMPILE).args(flags::COMMON).args(["-Wall", "-Wextra", "-Werror"]);
    run(compile.arg("-c").arg(source).arg("-o").arg(&object))?;
    let mut link = Command::new(clang);
    run(link.args(flags::WASM_LINK).arg(&object).arg("-o").arg(made).args(flags::LIBRARIES))
}

fn native_program(source: &Path, made: &Path) -> Result<(), BuildError> {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let command = |link: &[&str]| {
        let mut command = Command::new(&compiler);
        command.args(flags::COMMON).args(link).arg("-s").arg(source).arg("-o").arg(made);
        run(command.args(flags::LIBRARIES))
    };
    // Dynamic where there is no static C library: docker lanes then say so.
    command(&["-static"]).or_else(|_| command(&[]))
}

fn run(command: &mut Command) -> Result<(), BuildError> {
    let line = format!("{command:?}");
    let result = command.output();
    let message = match result {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    Err(BuildError::Compiler { command: line, message })
}

/// Compares what was made with what is there and, unless checking, installs it.
fn settle(workload: &str, made: &Path, path: &Path, check: bool) -> Result<Built, BuildError> {
    let new = std::fs::read(made).map_err(|source| io(made, source))?;
    let same = std::fs::read(path).is_ok_and(|old| old == new);
    if !check && !same {
        std::fs::copy(made, path).map_err(|source| io(path, source))?;
    }
    Ok(Built { workload: workload.to_owned(), path: path.to_owned(), size: new.len() as u64, same })
}
