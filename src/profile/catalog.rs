//! Where profiles come from: inside the program, or a user's folder.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use super::error::{MAX_PROFILE_BYTES, ProfileError};
use super::{Profile, resolve};

// `SHIPPED_RUNTIMES`: name and content of every file in `runtimes/`.
include!(concat!(env!("OUT_DIR"), "/runtimes.rs"));

/// Largest script beside a profile.
const MAX_SCRIPT_BYTES: u64 = 1 << 20;

/// All profiles that can be named.
#[derive(Debug, Clone, Default)]
pub struct ProfileCatalog {
    /// By lane: the runtime's name, and after a colon the variant's.
    profiles: BTreeMap<String, Arc<Profile>>,
    notices: Vec<String>,
}

/// Those of this process: the shipped ones, unless others were installed.
static CURRENT: LazyLock<RwLock<Arc<ProfileCatalog>>> =
    LazyLock::new(|| RwLock::new(Arc::new(ProfileCatalog::builtin())));

/// The profiles that names of lanes in this process refer to.
#[must_use]
pub fn catalog() -> Arc<ProfileCatalog> {
    Arc::clone(&CURRENT.read().unwrap_or_else(PoisonError::into_inner))
}

/// Makes `catalog` the one that names of lanes refer to, from now on.
pub fn install(catalog: ProfileCatalog) {
    *CURRENT.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
}

impl ProfileCatalog {
    /// The profiles that the program carries: tests hold that all are valid.
    #[must_use]
    pub fn builtin() -> Self {
        let mut catalog = Self::default();
        for (file, content) in SHIPPED_RUNTIMES {
            let Some(name) = file.strip_suffix(".toml") else { continue };
            let origin = format!("runtimes/{file}");
            match resolve::parse(name, &String::from_utf8_lossy(content), &origin, &shipped) {
                Ok(profiles) => catalog.insert(profiles),
                Err(error) => catalog.notices.push(error.to_string()),
            }
        }
        catalog
    }

    /// Adds every `.toml` file of a folder, or one file. A runtime with the
    /// name of another takes its place, variants included. A file that is no
    /// profile is left out with a notice: the others go on.
    ///
    /// # Errors
    /// When the folder or file cannot be read.
    pub fn add(&mut self, path: &Path) -> Result<(), ProfileError> {
        for file in files(path)? {
            match load(&file) {
                Ok(profiles) => self.replace(profiles),
                Err(error) => self.notices.push(format!("{error} (this runtime is left out)")),
            }
        }
        Ok(())
    }

    fn replace(&mut self, profiles: Vec<Profile>) {
        let Some(base) = profiles.first().map(|it| it.name.clone()) else { return };
        if let Some(older) = self.profiles.get(&base) {
            self.notices.push(format!(
                "{base} from {} takes the place of the one from {}",
                profiles[0].origin, older.origin
            ));
            self.profiles.retain(|_, profile| profile.base() != base);
        }
        self.insert(profiles);
    }

    fn insert(&mut self, profiles: Vec<Profile>) {
        let entries = profiles.into_iter().map(|it| (it.name.clone(), Arc::new(it)));
        self.profiles.extend(entries);
    }

    /// The profile of a lane.
    #[must_use]
    pub fn get(&self, lane: &str) -> Option<&Arc<Profile>> {
        self.profiles.get(lane)
    }

    /// All profiles, by the name of their lane.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Profile>> + Clone {
        self.profiles.values()
    }

    /// What was left out, and what took the place of another.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }
}

/// Reads a profile and its variants; the file's name is the runtime's.
///
/// # Errors
/// When it cannot be read, or is no profile.
pub fn load(path: &Path) -> Result<Vec<Profile>, ProfileError> {
    let failed = |cause: std::io::Error| ProfileError::Read {
        path: path.to_owned(),
        cause: cause.to_string(),
    };
    let text = read_bounded(path, MAX_PROFILE_BYTES).map_err(failed)?;
    let text = String::from_utf8(text)
        .map_err(|error| failed(std::io::Error::other(format!("this is no text: {error}"))))?;
    let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into());
    let folder = path.parent().unwrap_or(Path::new(""));
    resolve::parse(&name, &text, &path.display().to_string(), &|script| {
        read_bounded(&folder.join(script), MAX_SCRIPT_BYTES)
    })
}

/// A file that comes with the shipped profiles.
fn shipped(name: &str) -> std::io::Result<Vec<u8>> {
    let found = SHIPPED_RUNTIMES.iter().find(|(file, _)| *file == name);
    found.map(|(_, content)| content.to_vec()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
}

/// The profiles of a folder, sorted, or the one file.
fn files(path: &Path) -> Result<Vec<PathBuf>, ProfileError> {
    let failed = |cause: std::io::Error| ProfileError::Read {
        path: path.to_owned(),
        cause: cause.to_string(),
    };
    if std::fs::metadata(path).map_err(failed)?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|kind| kind == "toml") {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}

/// A regular file's content: a pipe or device could keep us waiting for ever.
fn read_bounded(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let data = std::fs::metadata(path)?;
    if !data.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    if data.len() > limit {
        return Err(std::io::Error::other(format!("{} bytes are more than {limit}", data.len())));
    }
    let mut content = Vec::new();
    std::fs::File::open(path)?.take(limit).read_to_end(&mut content)?;
    Ok(content)
}
