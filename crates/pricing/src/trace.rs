//! Traces of how the quantities of a bill are computed, for display: every charge for every group
//! of invocations, factor by factor.

use std::sync::Arc;

use super::charge::{Charge, ModelInput};
use super::evaluate::{EvalContext, FactorTrace, Refusal, refuse_charge};
use super::model::PriceModel;
use super::number::Exact;
use super::schema::ChargeBasis;
use super::settle::{Subtotal, UsageGroup};
use super::terms::Terms;
use cyclometer_core::meter::Usage;

/// Trace of the computation of a charge's quantity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeTrace {
    /// Charge that is traced.
    pub charge: Arc<Charge>,
    /// Parts, one for each group of invocations; a single one for a charge by period.
    pub parts: Vec<PartTrace>,
    /// Sum of all parts, in the unit of the charge.
    pub quantity: Exact,
}

/// Contribution of a group of invocations, or of the period, to a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartTrace {
    /// Index of the group; `None` for a charge by period.
    pub group: Option<usize>,
    /// Switch that turns the charge off here, and whether it would have to be on.
    pub disabled_by: Option<(Arc<str>, bool)>,
    /// Factors; empty where the charge does not apply.
    pub factors: Vec<FactorTrace>,
    /// Product of the factors.
    pub quantity_each: Exact,
    /// Multiplicity: requests, spans of instances, or one period.
    pub count: Exact,
    /// Quantity: each x count.
    pub quantity: Exact,
}

impl ChargeTrace {
    /// Returns the sum without the trace.
    #[must_use]
    pub fn to_subtotal(&self) -> Subtotal {
        Subtotal { charge: Arc::clone(&self.charge), quantity: self.quantity.clone() }
    }

    /// Returns the switch that turns the charge off in every part.
    #[must_use]
    pub fn disabling_switch(&self) -> Option<(&str, bool)> {
        let first = self.parts.first()?.disabled_by.as_ref()?;
        self.parts.iter().all(|part| part.disabled_by.is_some()).then_some((&*first.0, first.1))
    }
}

impl PriceModel {
    /// Traces the quantity of every charge over all groups; charges by period once, under
    /// `terms`. The sums equal those of [`PriceModel::charge_subtotals`].
    ///
    /// # Errors
    ///
    /// Returns every missing value once, and not only the first, as a bill does.
    pub fn trace_charges(
        &self,
        groups: &[UsageGroup],
        terms: &Terms,
    ) -> Result<Vec<ChargeTrace>, Vec<Refusal>> {
        let mut traces = Vec::new();
        let mut refusals: Vec<Refusal> = Vec::new();
        for charge in self.shared_charges() {
            let mut parts = Vec::new();
            let found = if charge.basis == ChargeBasis::Period {
                let usage = Usage::new(false);
                let scene = EvalContext { model: self, usage: &usage, terms };
                let part = scene.trace_part(charge, None, Exact::from(1));
                vec![part.map_err(|first| scene.all_missing(charge, first))]
            } else {
                let groups = groups.iter().enumerate();
                groups.map(|(index, group)| self.group_part(charge, index, group)).collect()
            };
            for part in found {
                match part {
                    Ok(part) => parts.push(part),
                    Err(missing) => missing.into_iter().for_each(|refusal| {
                        if !refusals.iter().any(|it| it.missing == refusal.missing) {
                            refusals.push(refusal);
                        }
                    }),
                }
            }
            let sum = |sum: Exact, part: &PartTrace| &sum + &part.quantity;
            let quantity = parts.iter().fold(Exact::default(), sum);
            traces.push(ChargeTrace { charge: Arc::clone(charge), parts, quantity });
        }
        if refusals.is_empty() { Ok(traces) } else { Err(refusals) }
    }

    fn group_part(
        &self,
        charge: &Charge,
        index: usize,
        group: &UsageGroup,
    ) -> Result<PartTrace, Vec<Refusal>> {
        let (count, usage) = match charge.basis {
            ChargeBasis::Instance => group.instance_usage(),
            _ => (group.requests.clone(), group.usage),
        };
        let scene = EvalContext { model: self, usage: &usage, terms: &group.terms };
        let part = scene.trace_part(charge, Some(index), count);
        part.map_err(|first| scene.all_missing(charge, first))
    }

    /// Traces every charge that one invocation is billed for.
    ///
    /// # Errors
    ///
    /// Returns a refusal that names what the model needs and was not measured.
    pub fn invocation_traces(
        &self,
        usage: &Usage,
        terms: &Terms,
    ) -> Result<Vec<ChargeTrace>, Refusal> {
        let scene = EvalContext { model: self, usage, terms };
        let trace = |charge: &Arc<Charge>| {
            let part = scene.trace_part(charge, Some(0), Exact::from(1))?;
            let quantity = part.quantity.clone();
            Ok(ChargeTrace { charge: Arc::clone(charge), parts: vec![part], quantity })
        };
        self.invocation_charges(terms).map(trace).collect()
    }
}

impl EvalContext<'_> {
    fn trace_part(
        &self,
        charge: &Charge,
        group: Option<usize>,
        count: Exact,
    ) -> Result<PartTrace, Refusal> {
        let off = charge.condition.filter(|(switch, on)| self.terms.is_on(*switch) != *on);
        let off = off.map(|(switch, on)| (Arc::clone(&self.model.inputs()[switch].name), on));
        let mut part = PartTrace {
            group,
            disabled_by: off,
            factors: Vec::new(),
            quantity_each: Exact::default(),
            quantity: Exact::default(),
            count,
        };
        if self.charge_applies(charge) {
            part.factors = self.trace_factors(charge)?;
            let product = |product: Exact, factor: &FactorTrace| &product * &factor.billed;
            part.quantity_each = part.factors.iter().fold(Exact::from(1), product);
            part.quantity = &part.quantity_each * &part.count;
        }
        Ok(part)
    }

    /// Returns what every factor of a charge lacks, and not only the first.
    fn all_missing(&self, charge: &Charge, first: Refusal) -> Vec<Refusal> {
        let missing =
            charge.factors.iter().filter_map(|factor| self.evaluate_factor(factor, None).err());
        let mut all = vec![first];
        for missing in missing {
            if all.iter().all(|it| it.missing != missing) {
                all.push(refuse_charge(charge, missing));
            }
        }
        all
    }
}

impl Terms {
    /// Returns the inputs whose value differs from that in `other`.
    pub fn inputs_differing_from<'a>(
        &'a self,
        other: &'a Self,
        model: &'a PriceModel,
    ) -> impl Iterator<Item = (&'a ModelInput, &'a Exact)> {
        let values = self.inputs.iter().zip(&other.inputs);
        model.inputs().iter().zip(values).filter_map(|(input, (own, other))| {
            own.as_ref().filter(|_| own != other).map(|value| (input, value))
        })
    }

    /// Returns the length of the billing period, in nanoseconds.
    #[must_use]
    pub const fn period(&self) -> &Exact {
        &self.period
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin_models;
    use crate::unit::Dimension;

    /// Returns whether a unit such as `GB-s` contains memory, and whether it contains time.
    fn dimensions(unit: &str) -> (bool, bool) {
        let is = |dimension: Dimension, word: &str| dimension.size_of_unit(word).is_ok();
        let words = || unit.split('-');
        let both = is(Dimension::SizeTime, unit) || unit == "GBs";
        (
            both || words().any(|word| is(Dimension::Size, word)),
            both || words().any(|word| is(Dimension::Time, word)),
        )
    }

    #[test]
    fn what_explain_multiplies_has_the_dimensions_of_what_it_prints() {
        let mut factors = 0;
        for model in builtin_models() {
            for example in model.examples() {
                let Ok(traces) = model.trace_charges(example.usage_groups(), example.terms())
                else {
                    continue;
                };
                for trace in &traces {
                    let place = format!("{}: {}", model.id(), trace.charge.name());
                    for part in trace.parts.iter().filter(|part| part.disabled_by.is_none()) {
                        let mut product = (false, false);
                        for factor in &part.factors {
                            factors += 1;
                            let last = factor.steps.last().expect("a step");
                            let of_dimension = last.dimension == Dimension::Number
                                || last.dimension.size_of_unit(&factor.unit).is_ok();
                            assert!(of_dimension, "{place}: {last:?} in {}", factor.unit);
                            // A plain number is both shown and billed in the unit.
                            if last.dimension == Dimension::Number {
                                assert_eq!(last.value, factor.billed, "{place}");
                            }
                            if factor.unit.ends_with("/h") {
                                // A price per hour: the hours cancel out.
                                product.1 = false;
                                continue;
                            }
                            let own = dimensions(&factor.unit);
                            product = (product.0 || own.0, product.1 || own.1);
                        }
                        if !part.factors.is_empty() {
                            assert_eq!(product, dimensions(trace.charge.unit()), "{place}");
                        }
                    }
                }
            }
        }
        assert!(factors > 500, "{factors}");
    }

    #[test]
    fn traces_add_up_to_what_is_settled() {
        let mut count = 0;
        for model in builtin_models() {
            for example in model.examples() {
                let expected = model.charge_subtotals(example.usage_groups(), example.terms());
                let traces = model.trace_charges(example.usage_groups(), example.terms());
                match (expected, traces) {
                    (Ok(expected), Ok(traces)) => {
                        let found: Vec<_> = traces.iter().map(ChargeTrace::to_subtotal).collect();
                        assert_eq!(found, expected, "{}: {}", model.id(), example.name());
                        count += 1;
                    }
                    (Err(first), Err(all)) => assert_eq!(all.first(), Some(&first)),
                    (expected, _) => panic!("{}: {expected:?}", example.name()),
                }
            }
        }
        assert!(count > 200, "{count}");
    }
}
