//! A price model: a dated tariff, as data.

use std::collections::BTreeSet;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::bill::{self, Bill, Charge, Measure, Refusal};
use super::error::{MAX_FILE_BYTES, PricingError, Problem};
use super::example::Example;
use super::money::Rounding;
use super::resolve;
use super::schema::{Granularity, ModelFile};
use crate::meter::{Meter, Usage};

/// A dated tariff: identity, charges and the examples that prove it.
///
/// Made by [`PriceModel::parse`] only, so that every model in the program has
/// passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceModel {
    id: String,
    name: Arc<str>,
    currency: String,
    granularity: Granularity,
    effective_from: String,
    retrieved: String,
    source: Arc<str>,
    rounding: Rounding,
    charges: Vec<Arc<Charge>>,
    examples: Vec<Example>,
    text: String,
    digest: String,
}

impl PriceModel {
    /// Reads a price model from TOML; `origin` (a file name) is for messages.
    ///
    /// # Errors
    ///
    /// Says what is wrong in which line and column: larger than 64 KiB, not
    /// TOML, an unknown or missing key, a value that is refused. Whether the
    /// examples come out is not checked here: see [`Example::check`].
    pub fn parse(text: &str, origin: &str) -> Result<Self, PricingError> {
        if text.len() > MAX_FILE_BYTES {
            return Err(PricingError::TooLarge { origin: origin.to_owned(), size: text.len() });
        }
        toml::from_str(text)
            .map_err(Problem::from)
            .and_then(|file| Self::resolve(file, text))
            .map_err(|problem| problem.locate(text, origin))
    }

    fn resolve(file: ModelFile, text: &str) -> Result<Self, Problem> {
        let charges = resolve::charges(file.charge)?;
        let examples = file
            .example
            .into_iter()
            .map(|example| resolve::example(example, &charges))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            id: file.id.0,
            name: file.name.0,
            currency: file.currency.0,
            granularity: file.granularity,
            effective_from: file.effective_from.0,
            retrieved: file.retrieved.0,
            source: file.source.0,
            rounding: file.rounding,
            charges,
            examples,
            text: text.to_owned(),
            digest: hex_digest(text),
        })
    }

    /// Applies the model to one invocation.
    ///
    /// # Errors
    ///
    /// Names what the model needs and nobody measured.
    pub fn bill(&self, usage: &Usage) -> Result<Bill, Refusal> {
        bill::bill(&self.charges, usage)
    }

    /// The name on the command line.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The name for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The ISO 4217 code of all its amounts.
    #[must_use]
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// Whether it bills what was allocated or what was used.
    #[must_use]
    pub const fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// The first day it holds, `YYYY-MM-DD`.
    #[must_use]
    pub fn effective_from(&self) -> &str {
        &self.effective_from
    }

    /// The day its source was read, `YYYY-MM-DD`.
    #[must_use]
    pub fn retrieved(&self) -> &str {
        &self.retrieved
    }

    /// Where its figures come from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// How the charges of a billing period are rounded.
    #[must_use]
    pub const fn rounding(&self) -> Rounding {
        self.rounding
    }

    /// Its charges, in the order of the lines of a bill.
    pub fn charges(&self) -> impl ExactSizeIterator<Item = &Charge> {
        self.charges.iter().map(Arc::as_ref)
    }

    /// The worked examples in its file.
    #[must_use]
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// The file as it was read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of [`PriceModel::text`], in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Every meter that it may read, those that stand in for others included.
    #[must_use]
    pub fn meters(&self) -> BTreeSet<Meter> {
        let mut meters = BTreeSet::new();
        for factor in self.charges.iter().flat_map(|charge| &charge.factors) {
            if let Measure::Meter { meter, fallbacks } = &factor.measure {
                meters.insert(*meter);
                meters.extend(fallbacks.iter().map(|fallback| fallback.meter));
            }
        }
        meters
    }
}

fn hex_digest(text: &str) -> String {
    let hex = |byte: u8| [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16));
    Sha256::digest(text).into_iter().flat_map(hex).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::hex_digest;

    #[test]
    fn the_digest_is_that_of_fips_180() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex_digest("abc"), expected);
    }
}
