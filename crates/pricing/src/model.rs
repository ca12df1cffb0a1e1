//! Price model: a dated tariff, as data.

use std::collections::BTreeSet;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::charge::{Charge, ModelInput, Pool, StandIn};
use super::contract::file::{is_contract, without_byte_order_mark};
use super::contract::{BaseModels, ContractDetails, MAX_DEPTH, models_from_contract};
use super::error::{MAX_FILE_BYTES, PricingError, SpannedProblem};
use super::evaluate::{self, Bill, EvalContext, FactorTrace, Refusal};
use super::example::Example;
use super::money::Rounding;
use super::number::Exact;
use super::resolve;
use super::schema::{ChargeBasis, Granularity};
use super::terms::Terms;
use super::unit::{Gigabyte, Phase};
use cyclometer_core::meter::{Meter, Usage};

/// Name and origin of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ModelIdentity {
    pub id: String,
    pub name: Arc<str>,
    pub provider: Option<Arc<str>>,
    pub currency: String,
    pub granularity: Granularity,
    pub effective_from: String,
    pub effective_until: Option<String>,
    pub tariff: String,
    pub retrieved: String,
    pub source: Arc<str>,
    pub uncertain: Option<Arc<str>>,
}

/// A dated tariff: identity, charges and the examples that verify it.
///
/// Created only by [`PriceModel::parse_all`], so that every model in the program has passed every
/// check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceModel {
    pub(super) identity: ModelIdentity,
    pub(super) rounding: Rounding,
    pub(super) gb: Gigabyte,
    pub(super) month: Exact,
    pub(super) inputs: Vec<ModelInput>,
    pub(super) pools: Vec<Pool>,
    pub(super) charges: Vec<Arc<Charge>>,
    pub(super) examples: Vec<Example>,
    pub(super) text: Arc<str>,
    pub(super) digest: Arc<str>,
    pub(super) origin: Arc<str>,
    /// What the contract changes, if it is one.
    pub(super) contract: Option<Arc<ContractDetails>>,
}

impl PriceModel {
    /// Parses a price file: its model, then its variants. `origin` (a file name) is used in
    /// messages.
    ///
    /// # Errors
    ///
    /// Returns the problem with its line and column: larger than 64 KiB, not TOML, an unknown or
    /// missing key, a value that is refused. Whether the examples match is not checked here: see
    /// [`Example::check_against`].
    pub fn parse_all(text: &str, origin: &str) -> Result<Vec<Self>, PricingError> {
        if is_contract(text) {
            return Self::parse_over(text, origin, super::catalog::builtin_models());
        }
        Self::parse_model(text, origin)
    }

    /// Parses a price file, or a contract over one of the given models.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`PriceModel::parse_all`].
    pub fn parse_with(text: &str, origin: &str, known: &[Self]) -> Result<Vec<Self>, PricingError> {
        Self::parse_over(text, origin, known)
    }

    /// Parses the text that [`PriceModel::complete_text`] returned, which may be longer than a
    /// file: a contract has those that it builds on in it.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`PriceModel::parse_all`].
    pub fn parse_complete(text: &str, origin: &str) -> Result<Vec<Self>, PricingError> {
        let most = MAX_FILE_BYTES * 2 * (MAX_DEPTH + 1);
        Self::parse_within(text, origin, super::catalog::builtin_models(), most)
    }

    pub(super) fn parse_over(
        text: &str,
        origin: &str,
        known: &(impl BaseModels + ?Sized),
    ) -> Result<Vec<Self>, PricingError> {
        Self::parse_within(text, origin, known, MAX_FILE_BYTES)
    }

    fn parse_within(
        text: &str,
        origin: &str,
        known: &(impl BaseModels + ?Sized),
        most: usize,
    ) -> Result<Vec<Self>, PricingError> {
        let text = without_byte_order_mark(text);
        if !is_contract(text) {
            return Self::parse_model(text, origin);
        }
        if text.len() > most {
            return Err(PricingError::TooLarge { origin: origin.to_owned(), size: text.len() });
        }
        toml::from_str(text)
            .map_err(SpannedProblem::from)
            .and_then(|file| models_from_contract(file, text, origin, known))
            .map_err(|problem| problem.into_located_error(text, origin))
    }

    /// Parses a price file that is no contract.
    pub(super) fn parse_model(text: &str, origin: &str) -> Result<Vec<Self>, PricingError> {
        let text = without_byte_order_mark(text);
        if text.len() > MAX_FILE_BYTES {
            return Err(PricingError::TooLarge { origin: origin.to_owned(), size: text.len() });
        }
        toml::from_str(text)
            .map_err(SpannedProblem::from)
            .and_then(|file| resolve::models_from_file(file, text, origin))
            .map_err(|problem| problem.into_located_error(text, origin))
    }

    /// Parses the first model of a price file.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`PriceModel::parse_all`].
    pub fn parse_first(text: &str, origin: &str) -> Result<Self, PricingError> {
        let problem = || SpannedProblem::new(0..0, "there is no model in this file");
        let mut models = Self::parse_all(text, origin)?;
        if models.is_empty() {
            return Err(problem().into_located_error(text, origin));
        }
        Ok(models.swap_remove(0))
    }

    /// Bills one invocation at list prices, under the model's default terms.
    ///
    /// # Errors
    ///
    /// Returns a refusal that names what the model needs and was not measured.
    pub fn bill(&self, usage: &Usage) -> Result<Bill, Refusal> {
        self.bill_under(usage, &Terms::for_model(self))
    }

    /// Bills one invocation at list prices, under `terms`.
    ///
    /// # Errors
    ///
    /// Returns a refusal that names what the model needs and was not measured.
    pub fn bill_under(&self, usage: &Usage, terms: &Terms) -> Result<Bill, Refusal> {
        evaluate::bill_usage(self, usage, terms)
    }

    /// Traces every step of a charge's factors for one usage.
    ///
    /// # Errors
    ///
    /// Returns the same refusals as [`PriceModel::bill`].
    pub fn trace_charge(
        &self,
        charge: &Charge,
        usage: &Usage,
        terms: &Terms,
    ) -> Result<Vec<FactorTrace>, Refusal> {
        EvalContext { model: self, usage, terms }.trace_factors(charge)
    }

    /// Returns whether a charge applies under these terms.
    #[must_use]
    pub fn charge_applies(&self, charge: &Charge, terms: &Terms) -> bool {
        EvalContext { model: self, usage: &Usage::new(false), terms }.charge_applies(charge)
    }

    /// Returns the charges that invocations are counted by under these terms: the lines of their
    /// bills.
    pub fn invocation_charges<'a>(
        &'a self,
        terms: &'a Terms,
    ) -> impl Iterator<Item = &'a Arc<Charge>> {
        let counted = |charge: &&Arc<Charge>| charge.basis != ChargeBasis::Period;
        self.charges.iter().filter(counted).filter(|charge| self.charge_applies(charge, terms))
    }

    /// Returns the charges, in the order of the file.
    pub fn charges(&self) -> impl ExactSizeIterator<Item = &Charge> {
        self.charges.iter().map(Arc::as_ref)
    }

    /// Returns the charges as shared references, to be kept by the caller.
    #[must_use]
    pub fn shared_charges(&self) -> &[Arc<Charge>] {
        &self.charges
    }

    /// Returns the pools: the positions of a monthly bill.
    #[must_use]
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// Returns the inputs: quantities that the model needs and no meter measures.
    #[must_use]
    pub fn inputs(&self) -> &[ModelInput] {
        &self.inputs
    }

    /// Returns every meter that the model may read, including those that stand in for others.
    #[must_use]
    pub fn used_meters(&self) -> BTreeSet<Meter> {
        let mut meters = BTreeSet::new();
        for factor in self.charges.iter().flat_map(|charge| &charge.factors) {
            factor.measure.for_each_meter(&mut |meter| {
                meters.insert(meter);
            });
            let stand_ins = factor.fallbacks.iter().filter_map(|it| match &it.stand_in {
                StandIn::Meter(meter) => Some(*meter),
                StandIn::Value(_) => None,
            });
            meters.extend(stand_ins);
        }
        meters
    }

    /// Returns every phase that the model may read.
    #[must_use]
    pub fn used_phases(&self) -> BTreeSet<Phase> {
        let mut phases = BTreeSet::new();
        for factor in self.charges.iter().flat_map(|charge| &charge.factors) {
            factor.measure.for_each_phase(&mut |phase| {
                phases.insert(phase);
            });
        }
        phases
    }

    /// Returns whether there is a bill under these terms without any usage: something is rented
    /// by the period.
    #[must_use]
    pub fn bills_inputs_alone(&self, terms: &Terms) -> bool {
        self.charges.iter().any(|charge| {
            let rented = charge.basis == ChargeBasis::Period && !charge.factors.is_empty();
            rented && self.charge_applies(charge, terms)
        })
    }

    /// Returns whether any charge is counted by instances.
    #[must_use]
    pub fn has_instance_charges(&self) -> bool {
        self.charges.iter().any(|charge| charge.basis == ChargeBasis::Instance)
    }
}

/// Name, origin and metadata of the model.
impl PriceModel {
    /// Returns the id, as used on the command line.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.identity.id
    }

    /// Returns the display name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    /// Returns the provider of the tariff.
    #[must_use]
    pub fn provider(&self) -> Option<&str> {
        self.identity.provider.as_deref()
    }

    /// Returns the code of the currency of all amounts.
    #[must_use]
    pub fn currency(&self) -> &str {
        &self.identity.currency
    }

    /// Returns whether the model bills what was allocated or what was used.
    #[must_use]
    pub const fn granularity(&self) -> Granularity {
        self.identity.granularity
    }

    /// Returns the first day on which the tariff is in effect, `YYYY-MM-DD`.
    #[must_use]
    pub fn effective_from(&self) -> &str {
        &self.identity.effective_from
    }

    /// Returns the first day on which the tariff is no longer in effect; `None`: it still is.
    #[must_use]
    pub fn effective_until(&self) -> Option<&str> {
        self.identity.effective_until.as_deref()
    }

    /// Returns the tariff id that its versions share.
    #[must_use]
    pub fn tariff(&self) -> &str {
        &self.identity.tariff
    }

    /// Returns the day on which the source was read, `YYYY-MM-DD`.
    #[must_use]
    pub fn retrieved_on(&self) -> &str {
        &self.identity.retrieved
    }

    /// Returns the source of the figures.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.identity.source
    }

    /// Returns a note on what is uncertain about the tariff.
    #[must_use]
    pub fn uncertainty_note(&self) -> Option<&str> {
        self.identity.uncertain.as_deref()
    }

    /// Returns how the positions of a billing period are rounded.
    #[must_use]
    pub const fn rounding(&self) -> Rounding {
        self.rounding
    }

    /// Returns what the provider means by MB and GB.
    #[must_use]
    pub const fn gigabyte_convention(&self) -> Gigabyte {
        self.gb
    }

    /// Returns the default length of a billing period, in nanoseconds.
    #[must_use]
    pub const fn default_period(&self) -> &Exact {
        &self.month
    }

    /// Returns the worked examples of this model in its file.
    #[must_use]
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// Returns the text of the file as it was read.
    #[must_use]
    pub fn source_text(&self) -> &str {
        &self.text
    }

    /// Returns the SHA-256 of [`PriceModel::complete_text`], in hexadecimal.
    #[must_use]
    pub fn source_digest(&self) -> &str {
        &self.digest
    }

    /// Returns the file that the model was read from.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

pub(super) fn hex_digest(text: &str) -> String {
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
