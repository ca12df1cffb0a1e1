//! `workloads build`: from C to the WebAssembly module and, for a user's own
//! workload, the native program.

use std::cell::Cell;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

#[path = "flags.rs"]
mod flags;

use super::PROGRAM;
use super::catalog::{WorkloadFolder, workload_folders};
use cyclometer_system::files::{
    Bound, FileProblem, PrivateFolder, RegularFile, create_new, shown_path,
};

/// Bound of a C source.
const SOURCE: Bound = Bound::new("a source", 16 << 20);

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
    #[error("{}: {source}", shown_path(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: FileProblem,
    },
    /// No private folder can be made.
    #[error("cannot make a folder for what is built: {0}")]
    Scratch(std::io::Error),
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
    let mut all = Vec::new();
    for found in workload_folders(folder)?.open_each() {
        let found = found?;
        let manifest = found.manifest(&Cell::new(u64::MAX))?;
        let Some(source) = &manifest.source else { continue };
        let source = Source::take(&found, source)?;
        if let Some(wasm) = &manifest.wasm {
            source.wasm_module(&clang)?;
            all.push(source.settle(wasm, check)?);
        }
        if let Some(native) = &manifest.native {
            source.native_program()?;
            all.push(source.settle(native, check)?);
        }
    }
    Ok(all)
}

/// The source of a workload, in a private folder in which it is compiled: no
/// compiler opens a pipe that lies under its name, or writes through a link.
struct Source<'a> {
    workload: &'a WorkloadFolder,
    scratch: PrivateFolder,
    path: PathBuf,
    /// The folder in which headers of its own lie.
    beside: PathBuf,
}

impl<'a> Source<'a> {
    fn take(workload: &'a WorkloadFolder, name: &str) -> Result<Self, BuildError> {
        let content = workload.folder.read(Path::new(name), SOURCE);
        let content = content.map_err(|source| workload.unreadable(name, source))?;
        let original = workload.folder.path().join(name);
        let scratch = PrivateFolder::new("build").map_err(BuildError::Scratch)?;
        let path = scratch.path().join(original.file_name().unwrap_or_default());
        create_new(&path, &content, 0o666).map_err(|error| io(&path, error.into()))?;
        let beside = original.parent().unwrap_or(workload.folder.path()).to_owned();
        Ok(Self { workload, scratch, path, beside })
    }

    /// What a compiler makes.
    fn made(&self) -> PathBuf {
        self.scratch.path().join("made")
    }

    /// Adds the source to a command: it finds headers, and says its name, as if
    /// it lay in its own folder.
    fn compile(&self, command: &mut Command) {
        let mut map = OsString::from("-fmacro-prefix-map=");
        map.push(self.scratch.path());
        map.push("=");
        map.push(&self.beside);
        command.arg("-iquote").arg(&self.beside).arg(map).arg(&self.path);
    }

    fn wasm_module(&self, clang: &str) -> Result<(), BuildError> {
        let object = self.scratch.path().join("object.o");
        let mut compile = limited(clang);
        compile.args(flags::WASM_COMPILE).args(flags::COMMON).args(["-Wall", "-Wextra", "-Werror"]);
        self.compile(compile.arg("-c"));
        self.run(compile.arg("-o").arg(&object))?;
        let mut link = limited(clang);
        link.args(flags::WASM_LINK).arg(&object).arg("-o").arg(self.made());
        self.run(link.args(flags::LIBRARIES))
    }

    fn native_program(&self) -> Result<(), BuildError> {
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let command = |link: &[&str]| {
            let mut command = limited(&compiler);
            command.args(flags::COMMON).args(link).arg("-s");
            self.compile(&mut command);
            self.run(command.arg("-o").arg(self.made()).args(flags::LIBRARIES))
        };
        // Dynamic where there is no static C library: docker lanes then say so.
        command(&["-static"]).or_else(|_| command(&[]))
    }

    fn run(&self, command: &mut Command) -> Result<(), BuildError> {
        // Without the shell that sets the limits.
        let words = command.get_args().skip(2).map(|word| word.to_string_lossy().into_owned());
        let line = words.collect::<Vec<_>>().join(" ");
        let message = match command.stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                // Where the person who wrote it finds it.
                let private = format!("{}/", self.scratch.path().display());
                let said = said.replace(&private, &format!("{}/", self.beside.display()));
                if said.is_empty() { output.status.to_string() } else { said }
            }
            Err(error) => error.to_string(),
        };
        Err(BuildError::Compiler { command: line, message })
    }

    /// Compares what was made with what is there and, unless checking, installs
    /// it.
    fn settle(&self, name: &str, check: bool) -> Result<Built, BuildError> {
        let made = self.made();
        let new = RegularFile::find(&made).and_then(|file| file.read(PROGRAM));
        let new = new.map_err(|source| io(&made, source))?;
        let data = std::fs::metadata(&made).map_err(|error| io(&made, error.into()))?;
        let permissions = data.permissions().mode() & 0o777;
        let folder = &self.workload.folder;
        let path = folder.path().join(name);
        let same = folder.read(Path::new(name), PROGRAM).is_ok_and(|old| old == new);
        if !check && !same {
            let written = folder.replace(Path::new(name), &new, permissions);
            written.map_err(|source| io(&path, source))?;
        }
        // The next program is not to be taken for this one.
        std::fs::remove_file(&made).map_err(|error| io(&made, error.into()))?;
        let workload = self.workload.name.clone();
        Ok(Built { workload, path, size: new.len() as u64, same })
    }
}

/// A compiler that may use 300 s of CPU time and 4 GiB of memory: sources may
/// come from anyone, and may include a device that never ends.
fn limited(compiler: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -t 300 -v 4194304; exec \"$0\" \"$@\"", compiler]);
    command
}

fn io(path: &Path, source: FileProblem) -> BuildError {
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
