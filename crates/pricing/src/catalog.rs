//! Catalog of price models: those embedded in the library, and the user's own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use thiserror::Error;

use super::contract::file::{ContractProbe, is_contract};
use super::contract::{BaseModels, ContractDetails, TheseModels};
use super::error::{KnownRegions, MAX_FILE_BYTES, PricingError, SpannedProblem, UnknownModel};
use super::model::PriceModel;
use super::resolve;
use cyclometer_core::suggest::find_nearest_name;
use cyclometer_system::catalog::{CatalogEntry, NamedCatalog};
use cyclometer_system::files::{self, Bound, FileError, Folder, LinkPolicy, display_path};

/// Size limit for a price file.
pub(crate) const PRICE_FILE_BOUND: Bound = Bound::new("a price file", MAX_FILE_BYTES as u64);
/// Maximum number of price files in a folder.
const MAX_FILES: usize = 1_000;

// `SHIPPED`: name and text of every file in `pricing/`; `REGIONAL`: of those in `pricing/regions`.
include!(concat!(env!("OUT_DIR"), "/pricing.rs"));

/// Built-in price models. A shipped file that is not accepted would be missing from this list: a
/// unit test ensures that none is.
static BUILTIN: LazyLock<Vec<PriceModel>> = LazyLock::new(|| {
    let mut models: Vec<PriceModel> = Vec::new();
    let (mut contracts, files): (Vec<_>, Vec<_>) =
        SHIPPED.iter().partition(|(_, text)| is_contract(text));
    for (origin, text) in files {
        models.extend(PriceModel::parse_model(text, origin).into_iter().flatten());
    }
    // A contract may extend another, in a file that comes later.
    loop {
        let before = contracts.len();
        contracts.retain(|(origin, text)| {
            match PriceModel::parse_over(text, origin, &TheseModels(&models)) {
                Ok(read) => {
                    models.extend(read);
                    false
                }
                Err(_) => true,
            }
        });
        if contracts.is_empty() || contracts.len() == before {
            return models;
        }
    }
});

/// Regional models: contracts over built-in models, one for each region. They are found by id, and
/// are not among the models that are listed or replayed when none is named.
static REGIONAL_MODELS: LazyLock<Vec<PriceModel>> = LazyLock::new(|| {
    let read = |(origin, text): &(&str, &str)| {
        PriceModel::parse_over(text, origin, &TheseModels(&BUILTIN)).ok()
    };
    REGIONAL.iter().filter_map(read).flatten().collect()
});

/// Returns the files with regional prices embedded in the library, as pairs of name and text.
#[must_use]
pub fn regional_files() -> &'static [(&'static str, &'static str)] {
    REGIONAL
}

/// Returns the models with regional prices embedded in the library: contracts over built-in
/// models, whose ids are those of the models with the region behind, such as
/// `aws-lambda-x86-eu-central-1`.
#[must_use]
pub fn regional_models() -> &'static [PriceModel] {
    &REGIONAL_MODELS
}

/// Returns the price files embedded in the library, as pairs of name and text.
#[must_use]
pub fn builtin_files() -> &'static [(&'static str, &'static str)] {
    SHIPPED
}

/// Returns the price models embedded in the library.
#[must_use]
pub fn builtin_models() -> &'static [PriceModel] {
    &BUILTIN
}

/// Returns the built-in price model with the given id.
///
/// # Errors
///
/// Returns [`UnknownModel`] if there is no such model, with the most similar id and the list of
/// all ids.
pub fn find_builtin_model(id: &str) -> Result<&'static PriceModel, UnknownModel> {
    builtin_models()
        .iter()
        .find(|model| model.id() == id)
        .or_else(|| find_regional_model(id))
        .ok_or_else(|| unknown_model(id, builtin_models().iter()))
}

/// Returns the built-in model of that id with regional prices.
pub(super) fn find_regional_model(id: &str) -> Option<&'static PriceModel> {
    regional_models().iter().find(|model| model.id() == id)
}

/// Returns the built-in model with the prices of a region, of the tariff that a model is or is a
/// contract over.
pub(super) fn find_region_of(model: &PriceModel, region: &str) -> Option<&'static PriceModel> {
    let root = model.root();
    regional_models().iter().find(|other| {
        let base = other.root();
        // Tiers of regions are variants of one model.
        let name = |model: &PriceModel| model.id().trim_end_matches("-tier2").to_owned();
        other.contract().and_then(ContractDetails::region) == Some(region)
            && name(base) == name(root)
            && base.source_text() == root.source_text()
    })
}

/// Returns the regions that a built-in model has prices of, if `id` is that of such a model with
/// something else behind it.
fn list_regions_of(id: &str) -> Option<KnownRegions> {
    let of_model = |model: &'static PriceModel| {
        let region = model.contract()?.region()?;
        let base = model.id().strip_suffix(region)?.strip_suffix('-')?;
        let wanted = id.strip_prefix(base)?.strip_prefix('-')?;
        Some((base, wanted, region))
    };
    let found: Vec<_> = regional_models().iter().filter_map(of_model).collect();
    let base = found.iter().map(|(base, ..)| *base).max_by_key(|base| base.len())?;
    let of_base = found.iter().filter(|(other, ..)| *other == base);
    let regions: Vec<&str> = of_base.map(|(_, _, region)| *region).collect();
    let wanted = id.get(base.len() + 1..).unwrap_or_default();
    // Ids of other models begin like this one: `aws-lambda-x86-2020` is no region.
    let behind_base = |model: &'static PriceModel| model.id().strip_prefix(base)?.strip_prefix('-');
    let others: Vec<&str> = builtin_models().iter().filter_map(behind_base).collect();
    let endings = regions.iter().chain(&others).copied();
    Some(KnownRegions {
        model: base.to_owned(),
        nearest: find_nearest_name(wanted, endings).map(str::to_owned),
        regions: regions.join(", "),
    })
}

pub(super) fn unknown_model<'a>(
    id: &str,
    models: impl Iterator<Item = &'a PriceModel> + Clone,
) -> UnknownModel {
    UnknownModel {
        id: id.chars().take(64).collect(),
        nearest: find_nearest_name(id, models.clone().map(PriceModel::id)).map(str::to_owned),
        regions: list_regions_of(id).map(Box::new),
        known: models.map(PriceModel::id).collect::<Vec<_>>().join(", "),
        broken: None,
    }
}

/// Error from loading price models from a folder or a file.
#[derive(Debug, Error)]
pub enum PriceCatalogError {
    /// The folder or a file in it cannot be read.
    #[error(
        "cannot read {}: {cause}; --pricing takes a folder of .toml files, or one such file",
        display_path(path)
    )]
    Read {
        /// Path that could not be read.
        path: PathBuf,
        /// Cause of the failure.
        cause: FileError,
    },
    /// The folder holds more price files than the limit.
    #[error("{} has more than {MAX_FILES} price files: name a smaller folder", display_path(path))]
    TooMany {
        /// Path of the folder.
        path: PathBuf,
    },
    /// A file is not a valid price model.
    #[error(transparent)]
    Invalid(#[from] PricingError),
}

/// Set of all available price models.
#[derive(Debug, Clone)]
pub struct PriceCatalog {
    models: NamedCatalog<PriceModel>,
    /// Ids that files name which are no models, with the errors.
    broken: Vec<(String, String)>,
}

/// A contract of a folder, and the ids that it names.
struct ContractText {
    path: PathBuf,
    text: String,
    ids: Vec<String>,
}

impl CatalogEntry for PriceModel {
    fn name(&self) -> &str {
        self.id()
    }

    fn origin(&self) -> String {
        self.origin().to_string()
    }
}

impl PriceCatalog {
    /// Creates a catalog of the built-in price models.
    #[must_use]
    pub fn with_builtin_models() -> Self {
        let mut models = NamedCatalog::default();
        for model in builtin_models() {
            models.add_entry(model.clone());
        }
        Self { models, broken: Vec::new() }
    }

    /// Adds every `.toml` file of a folder, or a single file, which may be a pipe. A model
    /// replaces an existing one with the same id, and a notice records this. A file of a folder
    /// that is no price model is left out with a notice, and so are the models that it names: no
    /// bill must be made by another tariff of that id.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder or the single file cannot be read, or if the single file is
    /// not a price model.
    pub fn add_path(&mut self, path: &Path) -> Result<(), PriceCatalogError> {
        if !path.is_dir() {
            return self.add_text(path, &read_price_file(path)?);
        }
        self.add_folder(path, LinkPolicy::Beneath)
    }

    /// Adds every `.toml` file of the user's own folder, in which links may lead anywhere.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`PriceCatalog::add_path`].
    pub fn add_own(&mut self, path: &Path) -> Result<(), PriceCatalogError> {
        self.add_folder(path, LinkPolicy::Anywhere)
    }

    fn add_folder(&mut self, path: &Path, links: LinkPolicy) -> Result<(), PriceCatalogError> {
        let failed = |path: &Path, cause| PriceCatalogError::Read { path: path.to_owned(), cause };
        let folder = Folder::open(path, links).map_err(|cause| failed(path, cause))?;
        let files = match folder.read_toml_files(MAX_FILES, PRICE_FILE_BOUND) {
            Err(FileError::TooManyToml(_)) => {
                return Err(PriceCatalogError::TooMany { path: path.to_owned() });
            }
            other => other.map_err(|cause| failed(path, cause))?,
        };
        let mut contracts = Vec::new();
        for (file, content) in files {
            let text = content
                .map_err(|cause| failed(&file, cause))
                .and_then(|content| decode_text(&file, content));
            let ids = match &text {
                Ok(text) => list_named_ids(text),
                // Price files are usually named after their model.
                Err(_) => file
                    .file_stem()
                    .map(|it| it.to_string_lossy().into_owned())
                    .into_iter()
                    .collect(),
            };
            match text {
                // A contract may extend a model whose file comes later.
                Ok(text) if is_contract(&text) => {
                    contracts.push(ContractText { path: file, text, ids });
                }
                Ok(text) => {
                    if let Err(error) = self.add_text(&file, &text) {
                        self.leave_out(ids, &error.to_string());
                    }
                }
                Err(error) => self.leave_out(ids, &error.to_string()),
            }
        }
        self.add_contracts(&contracts);
        Ok(())
    }

    /// Adds contracts in the order in which they extend each other.
    fn add_contracts(&mut self, files: &[ContractText]) {
        let probes: Vec<Option<ContractProbe>> =
            files.iter().map(|file| toml::from_str(&file.text).ok()).collect();
        let mut owners: HashMap<String, usize> = HashMap::new();
        for (at, probe) in probes.iter().enumerate() {
            let ids = probe.as_ref().map(ContractProbe::model_ids).unwrap_or_default();
            owners.extend(ids.into_iter().map(|id| (id, at)));
        }
        let base_of = |at: usize| {
            let probe = probes.get(at)?.as_ref()?;
            owners.get(probe.extends.get_ref()).copied().filter(|base| *base != at)
        };
        // Files that have been added, and those that wait for what they extend.
        let (mut added, mut waits) = (vec![false; files.len()], vec![false; files.len()]);
        for start in 0..files.len() {
            let mut chain = Vec::new();
            let mut next = Some(start);
            while let Some(at) = next.filter(|at| !added[*at] && !waits[*at]) {
                waits[at] = true;
                chain.push(at);
                next = base_of(at);
            }
            let circle = next.filter(|at| waits[*at]);
            let circle = circle.and_then(|at| chain.iter().position(|it| *it == at));
            for (position, at) in chain.into_iter().enumerate().rev() {
                let file = &files[at];
                let in_circle = circle.is_some_and(|first| position >= first);
                let result = match probes[at].as_ref().filter(|_| in_circle) {
                    Some(probe) => Err(describe_cycle(probe, &file.text, &file.path).into()),
                    None => self.add_text(&file.path, &file.text),
                };
                if let Err(error) = result {
                    // The id of a file of regions is only the beginning of theirs.
                    let ids = probes[at].as_ref().map(ContractProbe::model_ids);
                    self.leave_out(ids.unwrap_or_else(|| file.ids.clone()), &error.to_string());
                }
                (added[at], waits[at]) = (true, false);
            }
        }
    }

    /// Leaves out the models of a file that is none.
    fn leave_out(&mut self, ids: Vec<String>, reason: &str) {
        self.models.add_notice(format!("{reason} (this file is left out)"));
        for id in ids {
            self.models.remove_entry(&id);
            self.broken.push((id, reason.to_owned()));
        }
    }

    fn add_text(&mut self, path: &Path, text: &str) -> Result<(), PriceCatalogError> {
        let models = PriceModel::parse_over(text, &display_path(path), self)?;
        let ids: Vec<String> = models.iter().map(|model| model.id().to_owned()).collect();
        for model in models {
            self.broken.retain(|(id, _)| id != model.id());
            self.models.add_entry(model);
        }
        self.renew_contracts(ids);
        Ok(())
    }

    /// Returns the version of a model's tariff that was in force on a day, `YYYY-MM-DD`; the model
    /// itself if none was, or if it is a contract, which extends one version.
    #[must_use]
    pub fn find_version<'a>(&'a self, model: &'a PriceModel, day: &str) -> &'a PriceModel {
        let in_force = |other: &&PriceModel| {
            other.contract().is_none()
                && other.tariff() == model.tariff()
                && other.effective_from() <= day
                && other.effective_until().is_none_or(|end| day < end)
        };
        if model.contract().is_some() {
            return model;
        }
        self.models().iter().find(in_force).unwrap_or(model)
    }

    /// Returns the versions of a model's tariff that came into force after a day and until another,
    /// both `YYYY-MM-DD`.
    pub fn later_versions<'a>(
        &'a self,
        model: &'a PriceModel,
        after: &'a str,
        until: &'a str,
    ) -> impl Iterator<Item = &'a PriceModel> {
        self.models().iter().filter(move |other| {
            model.contract().is_none()
                && other.contract().is_none()
                && other.tariff() == model.tariff()
                && other.effective_from() > after
                && other.effective_from() <= until
        })
    }

    /// Reads the contracts over models of these ids again: the models have been replaced.
    fn renew_contracts(&mut self, mut replaced: Vec<String>) {
        let is_over = |model: &PriceModel, ids: &[String]| {
            let base = model.contract().map(|contract| contract.base().id());
            base.is_some_and(|base| ids.iter().any(|id| id == base))
                && !ids.iter().any(|id| id == model.id())
        };
        loop {
            let found = self.models().iter().find(|model| is_over(model, &replaced));
            let Some(old) = found.cloned() else { return };
            let mut same: Vec<String> = Vec::new();
            for model in self.models() {
                if is_over(model, &replaced) && model.source_text() == old.source_text() {
                    same.push(model.id().to_owned());
                }
            }
            match PriceModel::parse_over(old.source_text(), old.origin(), &*self) {
                Ok(models) => {
                    for model in models.into_iter().filter(|it| same.iter().any(|id| id == it.id()))
                    {
                        self.models.replace_entry(model);
                    }
                }
                Err(error) => self.leave_out(same.clone(), &error.to_string()),
            }
            replaced.extend(same);
        }
    }

    /// Returns the model with the given id.
    ///
    /// # Errors
    ///
    /// Returns [`UnknownModel`] if there is no such model, with the most similar id and the list
    /// of all ids.
    pub fn find_model(&self, id: &str) -> Result<&PriceModel, UnknownModel> {
        let regional = || find_regional_model(id).filter(|model| !self.is_replaced(model));
        self.models.find_entry(id).or_else(regional).ok_or_else(|| UnknownModel {
            broken: self.broken.iter().find(|(other, _)| other == id).map(|(_, why)| why.clone()),
            ..unknown_model(id, self.models().iter())
        })
    }

    /// Returns whether a regional model is over a model that another has taken the place of.
    fn is_replaced(&self, model: &PriceModel) -> bool {
        let base = model.contract().map(ContractDetails::base);
        base.is_some_and(|base| self.models.find_entry(base.id()).is_none_or(|it| it != base))
    }

    /// Returns all models.
    #[must_use]
    pub fn models(&self) -> &[PriceModel] {
        self.models.entries()
    }

    /// Returns the notices about models that replaced others.
    #[must_use]
    pub fn replacement_notices(&self) -> &[String] {
        self.models.notices()
    }

    /// Describes versions of one tariff that are in effect on the same days.
    #[must_use]
    pub fn describe_overlaps(&self) -> Vec<String> {
        let models = self.models();
        let pairs = models
            .iter()
            .enumerate()
            .flat_map(|(index, model)| models[..index].iter().map(move |other| (other, model)));
        pairs.filter_map(|(one, other)| resolve::describe_overlap(one, other)).collect()
    }
}

impl BaseModels for PriceCatalog {
    fn find_base(&self, id: &str) -> Result<PriceModel, String> {
        self.find_model(id).cloned().map_err(|error| error.to_string())
    }
}

/// Describes that contracts extend each other in a circle.
fn describe_cycle(probe: &ContractProbe, text: &str, file: &Path) -> PricingError {
    let base = probe.extends.get_ref();
    let message = format!(
        "`{base}` is a contract that comes back to this one: the last one must extend a price model"
    );
    SpannedProblem::new(probe.extends.span(), message).into_located_error(text, &display_path(file))
}

/// Lists the ids that the lines of a price file name, whatever else is wrong with it.
fn list_named_ids(text: &str) -> Vec<String> {
    let id_of = |line: &str| {
        let (key, value) = line.split_once('=')?;
        let value = value.trim().trim_start_matches('"').split('"').next()?;
        (key.trim() == "id" && !value.is_empty()).then(|| value.to_owned())
    };
    text.lines().filter_map(id_of).collect()
}

/// Reads a price file named by a user: it may be a pipe, or `-` for standard input.
///
/// # Errors
///
/// Returns an error if the file cannot be read, is too large, or is not text.
pub fn read_price_file(path: &Path) -> Result<String, PriceCatalogError> {
    let failed = |cause| PriceCatalogError::Read { path: path.to_owned(), cause };
    decode_text(path, files::read_user_file(path, PRICE_FILE_BOUND).map_err(failed)?)
}

/// Decodes the content of a price file as UTF-8.
fn decode_text(path: &Path, content: Vec<u8>) -> Result<String, PriceCatalogError> {
    let content = match content.strip_prefix("\u{feff}".as_bytes()) {
        Some(rest) => rest.to_vec(),
        None => content,
    };
    String::from_utf8(content).map_err(|error| {
        let problem = SpannedProblem::new(0..0, format!("this is no text: {error}"));
        problem.into_located_error("", &display_path(path)).into()
    })
}
