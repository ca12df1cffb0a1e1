//! Catalog of workloads, which are built into the program or come from a user's folder.

use std::cell::Cell;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::manifest::{MAX_MANIFEST, Manifest, ManifestError};
use super::wasm_form::{WasmFormError, load_wasm};
use super::{NativeFile, NativeProgram, PROGRAM, Workload};
use cyclometer_core::suggest::format_suggestion;
use cyclometer_core::units::Bytes;
use cyclometer_core::visible_text::is_hidden;
use cyclometer_system::catalog::{CatalogEntry, NamedCatalog};
use cyclometer_system::files::{Bound, FileError, Folder, LinkPolicy, display_path};

/// Built-in workload as `build.rs` embeds it.
struct Embedded {
    name: &'static str,
    files: &'static [(&'static str, &'static [u8])],
    native: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/workloads.rs"));

/// Size limit of a file that a preset names.
const INPUT: Bound = Bound::new("an input or output", 256 << 20);
/// Most bytes that the workloads of a folder may keep in memory together.
const MAX_TOGETHER: Bytes = Bytes(1 << 30);
/// Most workloads in a folder.
const MAX_WORKLOADS: usize = 1_000;
/// Longest name of a workload, in bytes.
pub(crate) const MAX_NAME: usize = 100;
const MANIFEST: &str = "workload.toml";
/// Preset that is meant where none is named.
const USUAL_PRESET: &str = "quick";

/// All workloads that can be selected by name; none by default.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    workloads: NamedCatalog<Arc<Workload>>,
    /// Workloads that could not be loaded, by name, with the reasons.
    broken: Vec<(String, String)>,
}

impl CatalogEntry for Workload {
    fn name(&self) -> &str {
        &self.name
    }

    fn origin(&self) -> String {
        match &self.folder {
            Some(folder) => display_path(&folder.join(MANIFEST)),
            None => embedded_origin(&self.name),
        }
    }
}

/// Error of finding or loading a workload.
#[derive(Debug, Error)]
pub enum WorkloadError {
    /// No workload has that name.
    #[error("unknown workload `{name}`{hint}")]
    Unknown {
        /// Name as given.
        name: String,
        /// Suggestion: the nearest name, or all names.
        hint: String,
    },
    /// The workload could not be loaded.
    #[error("workload `{name}` cannot be loaded: {reason}")]
    Broken {
        /// Name of the workload.
        name: String,
        /// Reason why it cannot be loaded.
        reason: String,
    },
    /// The workload has no such preset.
    #[error("workload `{workload}` has no preset `{preset}`{hint}")]
    UnknownPreset {
        /// Name of the workload.
        workload: String,
        /// Name as given.
        preset: String,
        /// Suggestion: the nearest name, or all names.
        hint: String,
    },
    /// The manifest is wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A module that is no WebAssembly.
    #[error(transparent)]
    Wasm(#[from] WasmFormError),
    /// A file of the workload cannot be read.
    #[error("cannot read {}: {source}", display_path(path))]
    Io {
        /// Path of the file or folder.
        path: PathBuf,
        /// Error of reading it.
        source: FileError,
    },
    /// The folder's name is not a valid workload name.
    #[error(
        "{}: a workload is named after its folder: 1 to {MAX_NAME} bytes of text on one line",
        display_path(path)
    )]
    Name {
        /// Path of the folder.
        path: PathBuf,
    },
    /// The folder has more workloads than are accepted.
    #[error(
        "{} has more than {MAX_WORKLOADS} workloads: name a smaller folder",
        display_path(path)
    )]
    TooMany {
        /// Path of the folder.
        path: PathBuf,
    },
    /// The folder has neither a manifest nor folders with one.
    #[error(
        "{} holds no workload: neither it nor a folder in it has a workload.toml",
        display_path(path)
    )]
    Empty {
        /// Path of the folder.
        path: PathBuf,
    },
    /// The manifest names no program that could run.
    #[error(
        "{}: neither `wasm` nor `native` nor `image` is given, so no lane can run it",
        display_path(path)
    )]
    NothingToRun {
        /// Path of the manifest.
        path: PathBuf,
    },
}

impl Catalog {
    /// Returns the workloads that are built into the program.
    ///
    /// # Errors
    /// Returns an error when an embedded manifest is wrong, which tests exclude for
    /// released builds.
    pub fn load_builtin() -> Result<Self, WorkloadError> {
        let mut workloads = NamedCatalog::default();
        for embedded in EMBEDDED {
            workloads.add_entry(Arc::new(load_embedded(embedded)?));
        }
        workloads.sort_by_name();
        Ok(Self { workloads, broken: Vec::new() })
    }

    /// Adds the workloads of a user's folder, which is itself a workload or contains
    /// workloads, and returns their names. A workload with the name of another replaces it, and a
    /// notice records this. One that cannot be loaded is left out with a notice: the others are
    /// added.
    ///
    /// # Errors
    /// Returns an error when the folder holds no workload, or is itself one that cannot be loaded.
    pub fn add_folder(&mut self, folder: &Path) -> Result<Vec<String>, WorkloadError> {
        let found = find_workload_folders(folder)?;
        let left = Cell::new(MAX_TOGETHER.0);
        let mut names = Vec::new();
        for (name, opened) in found.names().zip(found.open_each()) {
            match opened.and_then(|folder| folder.load_workload(&left)) {
                Ok(workload) => {
                    names.push(workload.name.clone());
                    self.broken.retain(|(other, _)| *other != workload.name);
                    self.workloads.add_entry(Arc::new(workload));
                }
                Err(error) if found.is_one_workload() => return Err(error),
                Err(error) => {
                    let reason = error.to_string();
                    self.workloads.add_notice(describe_left_out(name, &reason));
                    self.broken.push((name.to_owned(), reason));
                }
            }
        }
        self.workloads.sort_by_name();
        for notice in found.notices {
            self.workloads.add_notice(notice);
        }
        self.broken.extend(found.broken);
        Ok(names)
    }

    /// Adds a workload, in the place of one of its name.
    pub fn add_workload(&mut self, workload: Workload) {
        self.broken.retain(|(other, _)| *other != workload.name);
        self.workloads.add_entry(Arc::new(workload));
        self.workloads.sort_by_name();
    }

    /// Returns the names of workloads that could not be loaded, with the reasons.
    #[must_use]
    pub fn broken_workloads(&self) -> &[(String, String)] {
        &self.broken
    }

    /// Returns notices about folders that were left out, with the reasons, and about workloads
    /// that replaced others.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        self.workloads.notices()
    }

    /// Finds a workload by name.
    ///
    /// # Errors
    /// [`WorkloadError::Unknown`], with the nearest name.
    pub fn get(&self, name: &str) -> Result<&Arc<Workload>, WorkloadError> {
        // A built-in one must not run in the place of a broken one of its name.
        if let Some((name, reason)) = self.broken.iter().find(|(other, _)| other == name) {
            return Err(WorkloadError::Broken { name: name.clone(), reason: reason.clone() });
        }
        self.workloads.find_entry(name).ok_or_else(|| WorkloadError::Unknown {
            name: name.to_owned(),
            hint: self.workloads.format_suggestion(name),
        })
    }

    /// Iterates over all workloads, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Workload>> {
        self.workloads.entries().iter()
    }
}

/// Finds the name of a preset that all of the workloads have: the `preferred` one, else `quick`,
/// else the first that all have.
#[must_use]
pub fn find_common_preset(workloads: &[Arc<Workload>], preferred: &str) -> Option<String> {
    let all_have = |name: &&str| workloads.iter().all(|it| it.presets.contains_key(*name));
    let names = workloads.first().map(|first| first.presets.keys()).into_iter().flatten();
    let wanted = [preferred, USUAL_PRESET].into_iter().chain(names.map(String::as_str));
    wanted.into_iter().find(all_have).map(str::to_owned)
}

impl Workload {
    /// Finds a preset by name.
    ///
    /// # Errors
    /// [`WorkloadError::UnknownPreset`], with the nearest name.
    pub fn find_preset(&self, name: &str) -> Result<&super::Preset, WorkloadError> {
        self.presets.get(name).ok_or_else(|| WorkloadError::UnknownPreset {
            workload: self.name.clone(),
            preset: name.to_owned(),
            hint: format_suggestion(name, self.presets.keys().map(String::as_str)),
        })
    }
}

/// Returns the file in the program's sources that a built-in workload is read from.
fn embedded_origin(name: &str) -> String {
    format!("workloads/{name}/{MANIFEST}")
}

fn load_embedded(embedded: &'static Embedded) -> Result<Workload, WorkloadError> {
    let find = |name: &str| {
        let file = embedded.files.iter().find(|(path, _)| *path == name);
        file.map(|(_, bytes)| *bytes)
            .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))
    };
    let origin = embedded_origin(embedded.name);
    let io = |source: std::io::Error| WorkloadError::Io {
        path: PathBuf::from(&origin),
        source: source.into(),
    };
    let text = find(MANIFEST).map_err(io)?;
    let manifest = Manifest::parse(text, &origin, None, &|name| Ok(find(name)?.to_vec()))?;
    let wasm = manifest.wasm.as_deref().map(find).transpose().map_err(io)?.map(Arc::from);
    let native = Some(NativeProgram::Embedded(embedded.native));
    Ok(assemble_workload(embedded.name.to_owned(), manifest, wasm, native, None))
}

/// Open folder of one workload, with a manifest.
pub(super) struct WorkloadFolder {
    /// Name of the workload.
    pub name: String,
    /// Handle of the folder.
    pub folder: Folder,
    /// Folder that the user named; `inside` is the path of this folder in it.
    root: Arc<Folder>,
    inside: PathBuf,
}

/// Workloads found in a folder that the user named.
pub(super) struct WorkloadFolders {
    root: Arc<Folder>,
    /// Names and folders, relative to the root. The folders are not kept open, as there may
    /// be more of them than descriptors.
    workloads: Vec<(String, PathBuf)>,
    /// Notices about folders that were left out, with the reasons.
    notices: Vec<String>,
    /// Names of workloads whose manifest cannot be reached, with the reasons.
    broken: Vec<(String, String)>,
}

impl WorkloadFolders {
    /// Iterates over the names of the workloads.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.workloads.iter().map(|(name, _)| name.as_str())
    }

    /// Returns whether the folder that the user named is itself a workload.
    fn is_one_workload(&self) -> bool {
        self.workloads.iter().any(|(_, inside)| inside.as_os_str().is_empty())
    }

    /// Opens the folders one after the other.
    pub(crate) fn open_each(&self) -> impl Iterator<Item = Result<WorkloadFolder, WorkloadError>> {
        self.workloads.iter().map(|(name, inside)| {
            let folder = self.root.open_folder(inside).map_err(|source| WorkloadError::Io {
                path: self.root.path().join(inside),
                source,
            })?;
            let root = Arc::clone(&self.root);
            Ok(WorkloadFolder { name: name.clone(), folder, root, inside: inside.clone() })
        })
    }

    /// Leaves out a workload whose manifest cannot be reached.
    fn leave_out(&mut self, name: &OsStr, error: &WorkloadError) {
        let name = name.to_string_lossy().into_owned();
        self.notices.push(describe_left_out(&name, &error.to_string()));
        self.broken.push((name, error.to_string()));
    }

    /// Adds a folder, whose name must be a valid workload name.
    fn add_folder(&mut self, name: &OsStr, inside: &Path) -> Result<(), WorkloadError> {
        let fits = |name: &&str| (1..=MAX_NAME).contains(&name.len()) && !name.contains(is_hidden);
        match name.to_str().filter(fits) {
            Some(_) if self.workloads.len() == MAX_WORKLOADS => {
                Err(WorkloadError::TooMany { path: self.root.path().to_owned() })
            }
            Some(name) => {
                self.workloads.push((name.to_owned(), inside.to_owned()));
                Ok(())
            }
            None => Err(WorkloadError::Name { path: self.root.path().join(inside) }),
        }
    }
}

/// Formats the notice about a workload that is left out.
fn describe_left_out(name: &str, reason: &str) -> String {
    let name = cyclometer_core::visible_text::summarize_text(name, MAX_NAME);
    format!("{reason} (workload `{name}` is left out)")
}

/// Finds the folder itself if it has a manifest, or else the folders in it that have one.
pub(super) fn find_workload_folders(path: &Path) -> Result<WorkloadFolders, WorkloadError> {
    let io = |source: FileError| WorkloadError::Io { path: path.to_owned(), source };
    let path = path.canonicalize().map_err(|error| io(error.into()))?;
    let folder = Arc::new(Folder::open(&path, LinkPolicy::Beneath).map_err(io)?);
    let root = Arc::clone(&folder);
    let mut found =
        WorkloadFolders { root, workloads: Vec::new(), notices: Vec::new(), broken: Vec::new() };
    if has_manifest(&folder)? {
        found.add_folder(path.file_name().unwrap_or_default(), Path::new(""))?;
        return Ok(found);
    }
    for name in folder.entry_names().map_err(io)? {
        let sub = match folder.open_folder(Path::new(&name)) {
            Ok(sub) => sub,
            // A link to a folder with a manifest is meant as a workload, which must not be read
            // through the link.
            Err(source @ FileError::LeadsOut { .. }) => {
                let path = folder.path().join(&name);
                if path.join(MANIFEST).exists() {
                    found.leave_out(&name, &WorkloadError::Io { path, source });
                }
                continue;
            }
            Err(_) => continue,
        };
        match has_manifest(&sub) {
            Ok(false) => {}
            Ok(true) => found.add_folder(&name, Path::new(&name))?,
            Err(WorkloadError::Io { path, source: FileError::Io(error) })
                if error.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                found.notices.push(format!("{} is left out: {error}", display_path(&path)));
            }
            Err(error) => found.leave_out(&name, &error),
        }
    }
    if found.workloads.is_empty() && found.broken.is_empty() {
        Err(WorkloadError::Empty { path })
    } else {
        Ok(found)
    }
}

/// Returns whether the folder has a manifest, whatever kind of file that is.
fn has_manifest(folder: &Folder) -> Result<bool, WorkloadError> {
    match folder.entry_kind(Path::new(MANIFEST)) {
        Ok(_) => Ok(true),
        Err(problem) if problem.is_missing() => Ok(false),
        Err(source) => Err(WorkloadError::Io { path: folder.path().join(MANIFEST), source }),
    }
}

impl WorkloadFolder {
    /// Reads and checks the manifest, and the files that its presets name; `left` is the
    /// number of bytes that may still be read.
    pub(crate) fn read_manifest(&self, left: &Cell<u64>) -> Result<Manifest, WorkloadError> {
        let text = self
            .folder
            .read_file(Path::new(MANIFEST), MAX_MANIFEST)
            .map_err(|source| self.unreadable_error(MANIFEST, source))?;
        let origin = display_path(&self.folder.path().join(MANIFEST));
        let read = |name: &str| self.read_file(name, INPUT, left);
        Ok(Manifest::parse(&text, &origin, Some(self.folder.path()), &read)?)
    }

    fn load_workload(&self, left: &Cell<u64>) -> Result<Workload, WorkloadError> {
        let manifest = self.read_manifest(left)?;
        let wasm = match &manifest.wasm {
            Some(name) => {
                let module = self
                    .read_file(name, PROGRAM, left)
                    .map_err(|source| self.unreadable_error(name, source))?;
                let path = display_path(&self.folder.path().join(name));
                Some(load_wasm(&module, &path)?)
            }
            None => None,
        };
        let native = match &manifest.native {
            Some(name) => {
                let (root, inside) = (Arc::clone(&self.root), self.inside.clone());
                let name_in = PathBuf::from(name);
                let file = NativeFile {
                    root,
                    inside,
                    name: name_in,
                    argument_zero: None,
                    start_folder: None,
                };
                file.find_file().map_err(|source| self.unreadable_error(name, source))?;
                Some(NativeProgram::File(file))
            }
            None => None,
        };
        let path = self.folder.path();
        if wasm.is_none() && native.is_none() && manifest.image.is_none() {
            return Err(WorkloadError::NothingToRun { path: path.join(MANIFEST) });
        }
        Ok(assemble_workload(self.name.clone(), manifest, wasm, native, Some(path.to_owned())))
    }

    fn read_file(&self, name: &str, bound: Bound, left: &Cell<u64>) -> Result<Vec<u8>, FileError> {
        let rest = left.get();
        let most = Bytes(bound.most.0.min(rest));
        let content = match self.folder.read_file(Path::new(name), Bound { most, ..bound }) {
            Err(FileError::TooLarge(_)) if most < bound.most => {
                return Err(FileError::TooLargeTogether(MAX_TOGETHER));
            }
            other => other?,
        };
        left.set(rest - content.len() as u64);
        Ok(content)
    }

    /// Returns the error for a file of the folder that cannot be read.
    pub(crate) fn unreadable_error(&self, name: &str, source: FileError) -> WorkloadError {
        WorkloadError::Io { path: self.folder.path().join(name), source }
    }
}

fn assemble_workload(
    name: String,
    manifest: Manifest,
    wasm: Option<Arc<[u8]>>,
    native: Option<NativeProgram>,
    folder: Option<PathBuf>,
) -> Workload {
    let Manifest { title, stresses, source, wasm: _, native: _, image, presets } = manifest;
    Workload { name, title, stresses, source, wasm, native, image, presets, folder }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_has_both_programs_and_both_presets() {
        let catalog = Catalog::load_builtin().expect("embedded manifests are valid");
        let names: Vec<_> = catalog.iter().map(|workload| workload.name.as_str()).collect();
        let expected = [
            "binary-trees",
            "cat-sync",
            "fannkuch-redux",
            "mandelbrot",
            "memory-burst",
            "nbody",
            "nop",
            "wait",
        ];
        assert_eq!(names, expected);
        for workload in catalog.iter() {
            assert!(workload.wasm.as_ref().is_some_and(|wasm| wasm.starts_with(b"\0asm")));
            let native = workload.native.as_ref().map(NativeProgram::read_bytes);
            assert!(native.is_some_and(|bytes| bytes.is_ok_and(|it| it.starts_with(b"\x7fELF"))));
            for preset in ["quick", "paper"] {
                let preset = workload.find_preset(preset).expect("both presets");
                assert!(preset.expected.is_some(), "{}: nothing to check", workload.name);
            }
        }
    }

    #[test]
    fn a_typo_is_answered_with_the_nearest_name() {
        let catalog = Catalog::load_builtin().expect("embedded manifests are valid");
        let error = catalog.get("nbodyy").expect_err("unknown").to_string();
        assert_eq!(error, "unknown workload `nbodyy`; did you mean `nbody`?");
        let error = catalog.get("nop").expect("known").find_preset("quik").expect_err("unknown");
        assert!(error.to_string().ends_with("did you mean `quick`?"), "{error}");
    }

    #[test]
    fn a_user_folder_may_hold_wasm_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = folder.path().join("own");
        std::fs::create_dir(&own).expect("made");
        std::fs::write(own.join("m.wasm"), b"\0asm\x01\0\0\0").expect("written");
        let manifest = "title = \"o\"\nstresses = \"s\"\nwasm = \"m.wasm\"\n[preset.quick]\n";
        std::fs::write(own.join("workload.toml"), manifest).expect("written");
        let mut catalog = Catalog::load_builtin().expect("valid");
        catalog.add_folder(folder.path()).expect("loaded");
        let workload = catalog.get("own").expect("there");
        assert!(workload.wasm.is_some() && workload.native.is_none());
        assert!(matches!(
            catalog.add_folder(Path::new("/proc/self/fd")),
            Err(WorkloadError::Empty { .. })
        ));
    }

    #[test]
    fn a_workload_in_the_place_of_a_built_in_one_is_announced() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = folder.path().canonicalize().expect("there").join("nop");
        std::fs::create_dir(&own).expect("made");
        std::fs::write(own.join("m.wasm"), b"\0asm\x01\0\0\0").expect("written");
        let manifest = "title = \"o\"\nstresses = \"s\"\nwasm = \"m.wasm\"\n[preset.quick]\n";
        std::fs::write(own.join("workload.toml"), manifest).expect("written");
        let mut catalog = Catalog::load_builtin().expect("valid");
        let names: Vec<String> = catalog.iter().map(|it| it.name.clone()).collect();
        assert_eq!(catalog.notices(), [""; 0]);
        catalog.add_folder(folder.path()).expect("loaded");
        let notice = format!(
            "nop from {}/workload.toml takes the place of the one from workloads/nop/workload.toml",
            own.display()
        );
        assert_eq!(catalog.notices(), [notice]);
        assert!(catalog.iter().map(|it| &it.name).eq(&names), "in the same order");
        assert_eq!(catalog.get("nop").expect("there").title, "o");
    }

    #[test]
    fn a_function_takes_the_place_of_a_broken_workload_of_its_name() {
        let mut catalog = Catalog::load_builtin().expect("valid");
        catalog.broken.push(("mine".to_owned(), "a test".to_owned()));
        assert!(catalog.get("mine").is_err());
        catalog.add_workload(Workload::without_forms("mine"));
        assert!(catalog.get("mine").is_ok());
    }

    #[test]
    fn presets_that_all_have_are_found() {
        let workload = |names: &[&str]| {
            let presets =
                names.iter().map(|name| ((*name).to_owned(), crate::Preset::with_defaults(name)));
            let presets = presets.collect();
            Arc::new(Workload { presets, ..Workload::without_forms("w") })
        };
        let (both, own) = (workload(&["big", "quick"]), workload(&["big"]));
        let all = [both.clone(), own];
        assert_eq!(find_common_preset(std::slice::from_ref(&both), "big").as_deref(), Some("big"));
        assert_eq!(find_common_preset(&[both], "small").as_deref(), Some("quick"));
        assert_eq!(find_common_preset(&all, "quick").as_deref(), Some("big"));
        assert_eq!(find_common_preset(&[workload(&["a"]), workload(&["b"])], "a"), None);
    }

    #[test]
    fn files_of_a_folder_have_a_bound_together() {
        let place = tempfile::tempdir().expect("a folder");
        let own = place.path().join("own");
        std::fs::create_dir(&own).expect("made");
        std::fs::write(own.join("m.wasm"), b"\0asm\x01\0\0\0").expect("written");
        let manifest = "title = \"o\"\nstresses = \"s\"\nwasm = \"m.wasm\"\n[preset.quick]\n\
                        stdin = { file = \"m.wasm\" }\n[preset.other]\nstdin = { file = \"m.wasm\" }\n";
        std::fs::write(own.join("workload.toml"), manifest).expect("written");
        let found = find_workload_folders(place.path()).expect("found");
        let folder = found.open_each().next().expect("one").expect("opened");
        // The module, and each input: three times eight bytes.
        let left = Cell::new(24);
        assert!(folder.load_workload(&left).is_ok());
        assert_eq!(left.get(), 0);
        let error = folder.load_workload(&Cell::new(23)).expect_err("refused").to_string();
        assert!(error.contains("m.wasm") && error.contains("1.00 GiB together"), "{error}");
    }
}
