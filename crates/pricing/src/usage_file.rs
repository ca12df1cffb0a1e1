//! Files of usage groups, for `explain --usage`.

use super::error::{MAX_FILE_BYTES, PricingError, SpannedProblem};
use super::model::PriceModel;
use super::resolve;
use super::schema::UsageGroupsFile;
use super::settle::UsageGroup;
use super::terms::Terms;
use super::unit::Gigabyte;
use super::usage_builder::complete_wall_and_run;

impl PriceModel {
    /// Parses a file of usage groups: `set = {..}` for inputs, and `[[usage]]` as in a worked
    /// example, but with MB and GB as the provider means them. `finish` may adjust the terms that
    /// all groups share, after the file's own values are set.
    ///
    /// # Errors
    ///
    /// Returns the problem with its line and column.
    pub fn read_usage(
        &self,
        text: &str,
        origin: &str,
        terms: &Terms,
        finish: impl FnOnce(&mut Terms),
    ) -> Result<(Vec<UsageGroup>, Terms), PricingError> {
        if text.len() > MAX_FILE_BYTES {
            let text = format!("a file of usage groups has at most {MAX_FILE_BYTES} bytes");
            return Err(SpannedProblem::new(0..0, text).into_located_error("", origin));
        }
        let read = |file: UsageGroupsFile| {
            let mut terms = terms.clone();
            resolve::set_inputs(&mut terms, self, &file.set, self.gigabyte_convention())?;
            finish(&mut terms);
            let mut groups = Vec::new();
            for usage in file.usage {
                let span = usage.span();
                let mut more =
                    resolve::usage_groups(vec![usage], self, &terms, self.gigabyte_convention())?;
                for group in &mut more {
                    let completed = complete_wall_and_run(self, &mut group.usage, &mut Vec::new());
                    completed
                        .map_err(|error| SpannedProblem::new(span.clone(), error.to_string()))?;
                }
                groups.append(&mut more);
            }
            Ok((groups, terms))
        };
        let file = toml::from_str(text).map_err(SpannedProblem::from);
        file.and_then(read)
            .map_err(|problem: SpannedProblem| problem.into_located_error(text, origin))
    }
}

/// Returns the note for files in which MB and GB have the provider's meaning.
#[must_use]
pub fn gigabyte_note(model: &PriceModel) -> Option<String> {
    let who = model.provider().unwrap_or_else(|| model.name());
    (model.gigabyte_convention() == Gigabyte::Binary)
        .then(|| format!("MB and GB of the file as {who} writes them: MiB and GiB"))
}
