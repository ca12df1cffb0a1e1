//! Time that a price model bills an invocation for, by the version of the tariff that was in force
//! on its day.

use std::sync::Arc;

use cyclometer_core::meter::{Meter, Usage};
use cyclometer_core::units::Nanos;
use cyclometer_pricing::{Bill, Charge, Dimension, FactorTrace, PriceModel, Refusal, Terms};
use cyclometer_store::ProviderRow;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Versions of a tariff, with the charge of each by which time is billed.
#[derive(Debug, Clone)]
pub struct TariffVersions {
    versions: Vec<TariffVersion>,
}

/// Model of one span of the calendar.
#[derive(Debug, Clone)]
pub(super) struct TariffVersion {
    model: PriceModel,
    terms: Terms,
    charge: Arc<Charge>,
    factor: usize,
    from: Option<i64>,
    until: Option<i64>,
}

/// Reason why a model cannot be held against billed times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionsError(String);

impl std::fmt::Display for VersionsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for VersionsError {}

impl TariffVersions {
    /// Finds the versions of the tariff of `model` among `models`; `terms` are for `model`, those
    /// of the other versions are their own.
    ///
    /// # Errors
    ///
    /// Fails when the model bills no time, as those by instance or by instruction.
    pub fn find_versions(
        model: &PriceModel,
        terms: &Terms,
        models: &[PriceModel],
    ) -> Result<Self, VersionsError> {
        let named = TariffVersion::new(model.clone(), terms.clone()).ok_or_else(|| {
            VersionsError(format!(
                "{} bills no time by the invocation, so that billed durations cannot be held \
                 against it: name a model that does, such as aws-lambda-x86",
                model.id()
            ))
        })?;
        let others = models
            .iter()
            .filter(|other| other.tariff() == model.tariff() && other.id() != model.id())
            .filter_map(|other| TariffVersion::new(other.clone(), Terms::for_model(other)));
        let versions = std::iter::once(named).chain(others).collect();
        Ok(Self { versions })
    }

    /// Returns the version in force at a time; that which was named if none was, or if there is no
    /// time.
    pub(super) fn find_in_force(&self, time: Option<i64>) -> &TariffVersion {
        let in_force = |version: &&TariffVersion| {
            time.is_some_and(|time| {
                version.from.is_none_or(|from| from <= time)
                    && version.until.is_none_or(|until| time < until)
            })
        };
        self.versions.iter().find(in_force).unwrap_or(&self.versions[0])
    }

    /// Bills a row by the version in force on its day, at list prices.
    ///
    /// # Errors
    ///
    /// Fails with what the model needs and the log does not have.
    pub(super) fn bill_row(&self, row: &ProviderRow) -> Result<Bill, Refusal> {
        let version = self.find_in_force(row.started_at);
        version.model.bill_under(&row.usage, &version.terms)
    }

    /// Returns all versions, that which was named first.
    pub(super) fn versions(&self) -> &[TariffVersion] {
        &self.versions
    }
}

impl TariffVersion {
    fn new(model: PriceModel, terms: Terms) -> Option<Self> {
        let probe = probe_usage();
        let found = model.invocation_charges(&terms).find_map(|charge| {
            let factors = model.trace_charge(charge, &probe, &terms).ok()?;
            let factor = factors.iter().position(is_time)?;
            Some((Arc::clone(charge), factor))
        });
        let (charge, factor) = found?;
        let from = parse_day(model.effective_from());
        let until = model.effective_until().and_then(parse_day);
        Some(Self { model, terms, charge, factor, from, until })
    }

    /// Returns the model's id.
    pub(super) fn id(&self) -> &str {
        self.model.id()
    }

    /// Returns the time that is billed for a usage.
    ///
    /// # Errors
    ///
    /// Fails with what the model needs and the log does not have.
    pub(super) fn billed_time(&self, usage: &Usage) -> Result<Nanos, String> {
        let traced = self.model.trace_charge(&self.charge, usage, &self.terms);
        let factors = traced.map_err(|refusal| refusal.to_string())?;
        let last = factors.get(self.factor).and_then(|factor| factor.steps.last());
        let nanos = last.and_then(|step| step.value.to_u64());
        nanos.map(Nanos).ok_or_else(|| "a time that is no whole number of nanoseconds".to_owned())
    }
}

fn is_time(factor: &FactorTrace) -> bool {
    factor.steps.last().is_some_and(|step| step.dimension == Dimension::Time)
}

/// Returns a usage that has whatever a charge may ask for.
fn probe_usage() -> Usage {
    let mut usage = Usage::new(true);
    let second = Some(Nanos(1_000_000_000));
    usage.phases.create = second;
    usage.phases.start = second;
    usage.phases.run = second;
    for meter in Meter::ALL {
        usage.set(*meter, 1_000_000_000);
    }
    usage.set(Meter::MemoryAllocated, 1 << 30);
    usage.set(Meter::VcpuAllocated, 1000);
    usage
}

/// Returns the start of a day, in nanoseconds since 1970 UTC.
fn parse_day(day: &str) -> Option<i64> {
    let start = OffsetDateTime::parse(&format!("{day}T00:00:00Z"), &Rfc3339).ok()?;
    let nanos = start.unix_timestamp_nanos();
    i64::try_from(nanos).ok()
}
