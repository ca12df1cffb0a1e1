//! Where workloads come from: inside the program, or a user's folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::manifest::{Manifest, ManifestError};
use super::{Native, Workload};
use crate::suggest::suggestion;

/// A built-in workload as `build.rs` embeds it.
struct Embedded {
    name: &'static str,
    files: &'static [(&'static str, &'static [u8])],
    native: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/workloads.rs"));

/// Largest file of a user's workload that is read.
const MAX_FILE: u64 = 256 << 20;

/// All workloads that can be named.
#[derive(Debug, Clone)]
pub struct Catalog {
    workloads: BTreeMap<String, Arc<Workload>>,
}

/// Why a workload could not be found or loaded.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// No workload has that name.
    #[error("unknown workload `{name}`{hint}")]
    Unknown {
        /// As given.
        name: String,
        /// The nearest, or all.
        hint: String,
    },
    /// The workload has no such preset.
    #[error("workload `{workload}` has no preset `{preset}`{hint}")]
    UnknownPreset {
        /// The workload.
        workload: String,
        /// As given.
        preset: String,
        /// The nearest, or all.
        hint: String,
    },
    /// Its manifest is wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file of it cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The folder has neither a manifest nor folders with one.
    #[error("{} holds no workload: neither it nor a folder in it has a workload.toml", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// The manifest names nothing that could run.
    #[error("{}: neither `wasm` nor `native` is given, so no lane can run it", path.display())]
    NothingToRun {
        /// The manifest.
        path: PathBuf,
    },
}

impl Catalog {
    /// The workloads that come with the program.
    ///
    /// # Errors
    /// Never for a released build: its manifests are tested.
    pub fn builtin() -> Result<Self, CatalogError> {
        let mut workloads = BTreeMap::new();
        for embedded in EMBEDDED {
            workloads.insert(embedded.name.to_owned(), Arc::new(load_embedded(embedded)?));
        }
        Ok(Self { workloads })
    }

    /// Adds those of a user's folder: itself a workload, or a folder of them.
    /// One with a built-in's name takes its place.
    ///
    /// # Errors
    /// When it holds none, or one that cannot be loaded.
    pub fn add_folder(&mut self, folder: &Path) -> Result<(), CatalogError> {
        for folder in workload_folders(folder)? {
            let workload = load_folder(&folder)?;
            self.workloads.insert(workload.name.clone(), Arc::new(workload));
        }
        Ok(())
    }

    /// Finds a workload by name.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`], with the nearest name.
    pub fn get(&self, name: &str) -> Result<&Arc<Workload>, CatalogError> {
        self.workloads.get(name).ok_or_else(|| CatalogError::Unknown {
            name: name.to_owned(),
            hint: suggestion(name, self.workloads.keys().map(String::as_str)),
        })
    }

    /// All workloads by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Workload>> {
        self.workloads.values()
    }
}

impl Workload {
    /// Finds a preset by name.
    ///
    /// # Errors
    /// [`CatalogError::UnknownPreset`], with the nearest name.
    pub fn preset(&self, name: &str) -> Result<&super::Preset, CatalogError> {
        self.presets.get(name).ok_or_else(|| CatalogError::UnknownPreset {
            workload: self.name.clone(),
            preset: name.to_owned(),
            hint: suggestion(name, self.presets.keys().map(String::as_str)),
        })
    }
}

fn load_embedded(embedded: &'static Embedded) -> Result<Workload, CatalogError> {
    let find = |name: &str| {
        let file = embedded.files.iter().find(|(path, _)| *path == name);
        file.map(|(_, bytes)| *bytes)
            .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))
    };
    let origin = format!("workloads/{}/workload.toml", embedded.name);
    let io = |source| CatalogError::Io { path: PathBuf::from(&origin), source };
    let text = String::from_utf8_lossy(find("workload.toml").map_err(io)?);
    let manifest = Manifest::parse(&text, &origin, &|name| find(name).map(<[u8]>::to_vec))?;
    let wasm = manifest.wasm.as_deref().map(find).transpose().map_err(io)?.map(Arc::from);
    let native = Some(Native::Embedded(embedded.native));
    Ok(assemble(embedded.name.to_owned(), manifest, wasm, native, None))
}

/// The folder itself if it has a manifest, or those in it that have one.
pub(super) fn workload_folders(folder: &Path) -> Result<Vec<PathBuf>, CatalogError> {
    let io = |source| CatalogError::Io { path: folder.to_owned(), source };
    let folder = folder.canonicalize().map_err(io)?;
    if folder.join("workload.toml").is_file() {
        return Ok(vec![folder]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.join("workload.toml").is_file() {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() { Err(CatalogError::Empty { path: folder }) } else { Ok(found) }
}

fn load_folder(folder: &Path) -> Result<Workload, CatalogError> {
    let path = folder.join("workload.toml");
    let io = |path: &Path, source| CatalogError::Io { path: path.to_owned(), source };
    let text = read_bounded(&path).map_err(|error| io(&path, error))?;
    let text = String::from_utf8_lossy(&text);
    let manifest = Manifest::parse(&text, &path.display().to_string(), &|name| {
        read_bounded(&folder.join(name))
    })?;
    let wasm = match &manifest.wasm {
        Some(name) => {
            let path = folder.join(name);
            Some(read_bounded(&path).map_err(|error| io(&path, error))?.into())
        }
        None => None,
    };
    let native = match &manifest.native {
        Some(name) => {
            let path = folder.join(name);
            std::fs::metadata(&path).map_err(|error| io(&path, error))?;
            Some(Native::File(path))
        }
        None => None,
    };
    if wasm.is_none() && native.is_none() {
        return Err(CatalogError::NothingToRun { path });
    }
    let name = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into());
    Ok(assemble(name, manifest, wasm, native, Some(folder.to_owned())))
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let size = std::fs::metadata(path)?.len();
    if size > MAX_FILE {
        return Err(std::io::Error::other(format!("{size} bytes are more than {MAX_FILE}")));
    }
    std::fs::read(path)
}

fn assemble(
    name: String,
    manifest: Manifest,
    wasm: Option<Arc<[u8]>>,
    native: Option<Native>,
    folder: Option<PathBuf>,
) -> Workload {
    let Manifest { title, stresses, source, wasm: _, native: _, presets } = manifest;
    Workload { name, title, stresses, source, wasm, native, presets, folder }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_has_both_programs_and_both_presets() {
        let catalog = Catalog::builtin().expect("embedded manifests are valid");
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
            let native = workload.native.as_ref().map(Native::bytes);
            assert!(native.is_some_and(|bytes| bytes.is_ok_and(|it| it.starts_with(b"\x7fELF"))));
            for preset in ["quick", "paper"] {
                let preset = workload.preset(preset).expect("both presets");
                assert!(preset.expected.is_some(), "{}: nothing to check", workload.name);
            }
        }
    }

    #[test]
    fn a_typo_is_answered_with_the_nearest_name() {
        let catalog = Catalog::builtin().expect("embedded manifests are valid");
        let error = catalog.get("nbodyy").expect_err("unknown").to_string();
        assert_eq!(error, "unknown workload `nbodyy`; did you mean `nbody`?");
        let error = catalog.get("nop").expect("known").preset("quik").expect_err("unknown");
        assert!(error.to_string().ends_with("did you mean `quick`?"), "{error}");
    }

    #[test]
    fn a_user_folder_may_hold_wasm_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = folder.path().join("own");
        std::fs::create_dir(&own).expect("made");
        std::fs::write(own.join("m.wasm"), b"\0asm").expect("written");
        let manifest = "title = \"o\"\nstresses = \"s\"\nwasm = \"m.wasm\"\n[preset.quick]\n";
        std::fs::write(own.join("workload.toml"), manifest).expect("written");
        let mut catalog = Catalog::builtin().expect("valid");
        catalog.add_folder(folder.path()).expect("loaded");
        let workload = catalog.get("own").expect("there");
        assert!(workload.wasm.is_some() && workload.native.is_none());
        assert!(matches!(
            catalog.add_folder(Path::new("/proc/self/fd")),
            Err(CatalogError::Empty { .. })
        ));
    }
}
