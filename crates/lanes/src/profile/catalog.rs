//! Catalog of profiles: those inside the program, and those of a user's folder.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use parking_lot::RwLock;

use super::error::{MAX_PROFILE_BYTES, ProfileError};
use super::{Profile, resolve};
use cyclometer_system::catalog::{CatalogEntry, NamedCatalog};
use cyclometer_system::files::{self, Bound, FileError, Folder, LinkPolicy, display_path};

// `SHIPPED_RUNTIMES`: name and content of every file in `runtimes/`.
include!(concat!(env!("OUT_DIR"), "/runtimes.rs"));

/// Size limit of a profile.
const PROFILE_BOUND: Bound = Bound::new("a profile", MAX_PROFILE_BYTES);
/// Size limit of a script beside a profile.
const SCRIPT_BOUND: Bound = Bound::new("a script", 1 << 20);
/// Most profiles of a folder.
const MAX_PROFILES: usize = 256;

/// All profiles that can be named.
#[derive(Debug, Clone, Default)]
pub struct ProfileCatalog {
    /// Profiles by lane: the runtime's name, and after a colon the variant's.
    profiles: NamedCatalog<Arc<Profile>>,
}

impl CatalogEntry for Profile {
    fn name(&self) -> &str {
        &self.name
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn family(&self) -> &str {
        self.base_name()
    }
}

/// Catalog of this process: the shipped profiles, unless others were installed.
static CURRENT: LazyLock<RwLock<Arc<ProfileCatalog>>> =
    LazyLock::new(|| RwLock::new(Arc::new(ProfileCatalog::builtin())));

/// Returns the profiles that lane names in this process refer to.
#[must_use]
pub fn current_catalog() -> Arc<ProfileCatalog> {
    Arc::clone(&CURRENT.read())
}

/// Makes `catalog` the one that lane names refer to, from now on.
pub fn install_catalog(catalog: ProfileCatalog) {
    *CURRENT.write() = Arc::new(catalog);
}

impl ProfileCatalog {
    /// Returns the profiles that the program carries: tests check that all are valid.
    #[must_use]
    pub fn builtin() -> Self {
        let mut catalog = Self::default();
        for (file, content) in SHIPPED_RUNTIMES {
            let Some(name) = file.strip_suffix(".toml") else { continue };
            let origin = format!("runtimes/{file}");
            match resolve::parse_profiles(
                name,
                &String::from_utf8_lossy(content),
                &origin,
                &read_shipped,
            ) {
                Ok(profiles) => catalog.add_profiles(profiles),
                Err(error) => catalog.profiles.add_notice(error.to_string()),
            }
        }
        catalog
    }

    /// Adds every `.toml` file of a folder, or one file. A runtime with the name of another
    /// replaces it, variants included. A file that is no profile is left out with a notice: the
    /// others are added.
    ///
    /// # Errors
    /// Fails when the folder or file cannot be read.
    pub fn add_path(&mut self, path: &Path) -> Result<(), ProfileError> {
        if path.is_dir() {
            return self.add_folder(path, LinkPolicy::Beneath);
        }
        // The file was named explicitly: that it exists is checked apart from its content.
        let failed = |cause: std::io::Error| read_error(path, &cause.into());
        path.metadata().map_err(failed)?;
        self.add_loaded(load_profile(path));
        Ok(())
    }

    /// Adds every `.toml` file of the user's own folder, in which links may lead
    /// anywhere.
    ///
    /// # Errors
    /// Those of [`ProfileCatalog::add_path`].
    pub fn add_user_folder(&mut self, path: &Path) -> Result<(), ProfileError> {
        self.add_folder(path, LinkPolicy::Anywhere)
    }

    fn add_folder(&mut self, path: &Path, links: LinkPolicy) -> Result<(), ProfileError> {
        let failed = |cause: FileError| read_error(path, &cause);
        let folder = Folder::open(path, links).map_err(failed)?;
        let files = folder.read_toml_files(MAX_PROFILES, PROFILE_BOUND).map_err(failed)?;
        for (file, content) in files {
            let read = |script: &str| folder.read_file(Path::new(script), SCRIPT_BOUND);
            let content = content.map_err(|cause| read_error(&file, &cause));
            self.add_loaded(content.and_then(|content| parse_file(&file, content, &read)));
        }
        Ok(())
    }

    fn add_loaded(&mut self, loaded: Result<Vec<Profile>, ProfileError>) {
        match loaded {
            Ok(profiles) => self.add_profiles(profiles),
            Err(error) => self.profiles.add_notice(format!("{error} (this runtime is left out)")),
        }
    }

    fn add_profiles(&mut self, profiles: Vec<Profile>) {
        self.profiles.add_family(profiles.into_iter().map(Arc::new).collect());
        self.profiles.sort_by_name();
    }

    /// Returns the profile of a lane.
    #[must_use]
    pub fn get(&self, lane: &str) -> Option<&Arc<Profile>> {
        self.profiles.find_entry(lane)
    }

    /// Iterates over all profiles, by the name of their lane.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Profile>> + Clone {
        self.profiles.entries().iter()
    }

    /// Returns notices of files that were left out, and of profiles that replaced others.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        self.profiles.notices()
    }
}

/// Loads a profile that the user named, and its variants; the file's name is the runtime's. It may
/// be a pipe; a script lies beside it.
///
/// # Errors
/// Fails when it cannot be read, or is no profile.
pub fn load_profile(path: &Path) -> Result<Vec<Profile>, ProfileError> {
    let content =
        files::read_user_file(path, PROFILE_BOUND).map_err(|cause| read_error(path, &cause))?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parse_file(path, content, &|script| {
        let folder = Folder::open(folder.unwrap_or(Path::new(".")), LinkPolicy::Beneath)?;
        folder.read_file(Path::new(script), SCRIPT_BOUND)
    })
}

fn parse_file(
    path: &Path,
    content: Vec<u8>,
    read: resolve::ReadScript<'_>,
) -> Result<Vec<Profile>, ProfileError> {
    let text = files::into_text(content).map_err(|cause| read_error(path, &cause))?;
    let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into());
    resolve::parse_profiles(&name, &text, &display_path(path), read)
}

fn read_error(path: &Path, cause: &FileError) -> ProfileError {
    ProfileError::Read { path: path.to_owned(), cause: cause.to_string() }
}

/// Returns a file that comes with the shipped profiles.
fn read_shipped(name: &str) -> Result<Vec<u8>, FileError> {
    let found = SHIPPED_RUNTIMES.iter().find(|(file, _)| *file == name);
    let missing = || FileError::Io(std::io::ErrorKind::NotFound.into());
    found.map(|(_, content)| content.to_vec()).ok_or_else(missing)
}
