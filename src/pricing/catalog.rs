//! The price models there are: those the program carries, and a user's own.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use thiserror::Error;

use super::error::{MAX_FILE_BYTES, PricingError, UnknownModel};
use super::model::PriceModel;
use super::resolve;

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
        nearest: crate::suggest::nearest(id, models.clone().map(PriceModel::id)).map(str::to_owned),
        known: models.map(PriceModel::id).collect::<Vec<_>>().join(", "),
    }
}

/// Why a folder of price models cannot be used.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// The folder or a file in it cannot be read.
    #[error("cannot read {}: {cause}; --pricing takes a folder of .toml files, or one such file", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// What is wrong.
        cause: std::io::Error,
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

    /// Adds every `.toml` file of a folder, or one file. A model with the id
    /// of another takes its place, with a notice.
    ///
    /// # Errors
    ///
    /// If the folder or a file cannot be read, or is no price model.
    pub fn add(&mut self, path: &Path) -> Result<(), CatalogError> {
        for file in files(path)? {
            let text = read(&file)?;
            for model in PriceModel::parse_all(&text, &file.display().to_string())? {
                self.insert(model);
            }
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

/// The price files of a folder, sorted, or the one file.
fn files(path: &Path) -> Result<Vec<PathBuf>, CatalogError> {
    let failed = |cause| CatalogError::Read { path: path.to_owned(), cause };
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

/// A price file's text; of one that is too large, as much as shows that.
///
/// # Errors
///
/// If it cannot be read.
pub fn read(path: &Path) -> Result<String, CatalogError> {
    use std::io::Read;
    let failed = |cause| CatalogError::Read { path: path.to_owned(), cause };
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path)
        .map_err(failed)?
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    String::from_utf8(bytes).map_err(|error| {
        let problem = super::error::Problem::new(0..0, format!("this is no text: {error}"));
        problem.locate("", &path.display().to_string()).into()
    })
}
