//! The price models there are: those the program carries, and a user's own.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use thiserror::Error;

use super::error::{MAX_FILE_BYTES, PricingError, UnknownModel};
use super::model::PriceModel;
use super::resolve;
use cyclometer_system::files::{self, Bound, FileProblem, Folder, Links, shown_path};

/// Bound of a price file.
pub(crate) const BOUND: Bound = Bound::new("a price file", MAX_FILE_BYTES as u64);
/// Most price files of a folder.
const MAX_FILES: usize = 1_000;

// `SHIPPED`: name and text of every file in `pricing/`.
include!(concat!(env!("OUT_DIR"), "/pricing.rs"));

/// A shipped file that is not accepted would be missing from this list: a unit
/// test holds that none is.
static BUILTIN: LazyLock<Vec<PriceModel>> = LazyLock::new(|| {
    let read = |(origin, text): &(&str, &str)| PriceModel::parse_all(text, origin).ok();
    SHIPPED.iter().filter_map(read).flatten().collect()
});

/// The files that the program carries: name and text.
#[must_use]
pub fn shipped() -> &'static [(&'static str, &'static str)] {
    SHIPPED
}

/// The price models that the program carries.
#[must_use]
pub fn builtin() -> &'static [PriceModel] {
    &BUILTIN
}

/// The built-in price model of that id.
///
/// # Errors
///
/// If there is none: with the id that looks most like it, and all there are.
pub fn find(id: &str) -> Result<&'static PriceModel, UnknownModel> {
    builtin().iter().find(|model| model.id() == id).ok_or_else(|| unknown(id, builtin().iter()))
}

fn unknown<'a>(id: &str, models: impl Iterator<Item = &'a PriceModel> + Clone) -> UnknownModel {
    UnknownModel {
        id: id.chars().take(64).collect(),
        nearest: cyclometer_core::suggest::nearest(id, models.clone().map(PriceModel::id))
            .map(str::to_owned),
        known: models.map(PriceModel::id).collect::<Vec<_>>().join(", "),
    }
}

/// Why a folder of price models cannot be used.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// The folder or a file in it cannot be read.
    #[error(
        "cannot read {}: {cause}; --pricing takes a folder of .toml files, or one such file",
        shown_path(path)
    )]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// What is wrong.
        cause: FileProblem,
    },
    /// The folder has more price files than are read.
    #[error("{} has more than {MAX_FILES} price files: name a smaller folder", shown_path(path))]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
    /// A file is no price model.
    #[error(transparent)]
    Invalid(#[from] PricingError),
}

/// All models there are.
#[derive(Debug, Clone)]
pub struct PriceCatalog {
    models: Vec<PriceModel>,
    notices: Vec<String>,
}

impl PriceCatalog {
    /// Those that the program carries.
    #[must_use]
    pub fn builtin() -> Self {
        Self { models: builtin().to_vec(), notices: Vec::new() }
    }

    /// Adds every `.toml` file of a folder, or one file, which may be a pipe. A
    /// model with the id of another takes its place, with a notice.
    ///
    /// # Errors
    ///
    /// If the folder or a file cannot be read, or is no price model.
    pub fn add(&mut self, path: &Path) -> Result<(), CatalogError> {
        if !path.is_dir() {
            return self.add_text(path, &read(path)?);
        }
        self.add_folder(path, Links::Beneath)
    }

    /// Adds every `.toml` file of the user's own folder, in which links may lead
    /// anywhere.
    ///
    /// # Errors
    ///
    /// As [`PriceCatalog::add`].
    pub fn add_own(&mut self, path: &Path) -> Result<(), CatalogError> {
        self.add_folder(path, Links::Anywhere)
    }

    fn add_folder(&mut self, path: &Path, links: Links) -> Result<(), CatalogError> {
        let failed = |path: &Path, cause| CatalogError::Read { path: path.to_owned(), cause };
        let folder = Folder::open(path, links).map_err(|cause| failed(path, cause))?;
        let names = folder.toml_files().map_err(|cause| failed(path, cause))?;
        if names.len() > MAX_FILES {
            return Err(CatalogError::TooMany { path: path.to_owned() });
        }
        for name in names {
            let file = path.join(&name);
            let content = folder.read(&name, BOUND).map_err(|cause| failed(&file, cause))?;
            self.add_text(&file, &text(&file, content)?)?;
        }
        Ok(())
    }

    fn add_text(&mut self, path: &Path, text: &str) -> Result<(), CatalogError> {
        for model in PriceModel::parse_all(text, &shown_path(path))? {
            self.insert(model);
        }
        Ok(())
    }

    fn insert(&mut self, model: PriceModel) {
        match self.models.iter_mut().find(|other| other.id() == model.id()) {
            Some(other) => {
                self.notices.push(format!(
                    "{} from {} takes the place of the one from {}",
                    model.id(),
                    model.origin(),
                    other.origin()
                ));
                *other = model;
            }
            None => self.models.push(model),
        }
    }

    /// The model of that id.
    ///
    /// # Errors
    ///
    /// If there is none: with the id that looks most like it, and all there are.
    pub fn find(&self, id: &str) -> Result<&PriceModel, UnknownModel> {
        let found = self.models.iter().find(|model| model.id() == id);
        found.ok_or_else(|| unknown(id, self.models.iter()))
    }

    /// All models.
    #[must_use]
    pub fn models(&self) -> &[PriceModel] {
        &self.models
    }

    /// Which models took the place of others.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Versions of one tariff that hold on the same days.
    #[must_use]
    pub fn overlaps(&self) -> Vec<String> {
        let pairs = self.models.iter().enumerate().flat_map(|(index, model)| {
            self.models[..index].iter().map(move |other| (other, model))
        });
        pairs.filter_map(|(one, other)| resolve::overlap(one, other)).collect()
    }
}

/// Reads a price file that a person named: it may be a pipe, or `-` for standard
/// input.
///
/// # Errors
///
/// If it cannot be read, or is too large or no text.
pub fn read(path: &Path) -> Result<String, CatalogError> {
    let failed = |cause| CatalogError::Read { path: path.to_owned(), cause };
    text(path, files::read_given(path, BOUND).map_err(failed)?)
}

/// Takes a price file's content for text.
fn text(path: &Path, content: Vec<u8>) -> Result<String, CatalogError> {
    String::from_utf8(content).map_err(|error| {
        let problem = super::error::Problem::new(0..0, format!("this is no text: {error}"));
        problem.locate("", &shown_path(path)).into()
    })
}
