//! Files of usage groups, for `explain --usage`.

use super::error::{MAX_FILE_BYTES, PricingError, Problem};
use super::given::complete;
use super::model::PriceModel;
use super::resolve;
use super::schema::UsagesFile;
use super::settle::UsageGroup;
use super::terms::Terms;
use super::unit::Gigabyte;

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
            return Err(Problem::new(0..0, text).locate("", origin));
        }
        let read = |file: UsagesFile| {
            let mut terms = terms.clone();
            resolve::set(&mut terms, self, &file.set, self.gb())?;
            finish(&mut terms);
            let mut groups = Vec::new();
            for usage in file.usage {
                let span = usage.span();
                let mut more = resolve::usage_groups(vec![usage], self, &terms, self.gb())?;
                for group in &mut more {
                    let completed = complete(self, &mut group.usage, &mut Vec::new());
                    completed.map_err(|error| Problem::new(span.clone(), error.to_string()))?;
                }
                groups.append(&mut more);
            }
            Ok((groups, terms))
        };
        let file = toml::from_str(text).map_err(Problem::from);
        file.and_then(read).map_err(|problem: Problem| problem.locate(text, origin))
    }
}

/// Returns the note for files in which MB and GB have the provider's meaning.
#[must_use]
pub fn gigabyte_note(model: &PriceModel) -> Option<String> {
    let who = model.provider().unwrap_or_else(|| model.name());
    (model.gb() == Gigabyte::Binary)
        .then(|| format!("MB and GB of the file as {who} writes them: MiB and GiB"))
}
