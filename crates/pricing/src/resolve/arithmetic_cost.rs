//! Limit on the arithmetic of one bill. Numbers of 40 digits without a common factor grow with
//! each multiplication and each sum, and a file of a few kilobytes could keep a processor busy
//! for a tenth of a second per row.

use std::ops::Range;
use std::sync::Arc;

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::One;

use super::super::charge::{Charge, Factor, Measure, Multiplier, StandIn};
use super::super::error::SpannedProblem;
use super::super::number::Exact;
use super::ResolveResult;

/// Maximum number of arithmetic steps per bill, each on a word of 64 bits: a few milliseconds.
/// The built-in models take a small part of it.
const MAX_STEPS: u64 = 2_000_000;

/// Bits of a measured value, and of a number that a user may write.
const MEASURED_BITS: u64 = 64;
const GIVEN_BITS: u64 = 136;

/// Refuses charges whose bill takes too many steps.
pub(crate) fn check_bill_cost(charges: &[Arc<Charge>], span: Range<usize>) -> ResolveResult<()> {
    let steps = bill_steps(charges);
    if steps <= MAX_STEPS {
        return Ok(());
    }
    Err(SpannedProblem::new(
        span,
        format!(
            "one bill would take {steps} steps of arithmetic, or more, and may take {MAX_STEPS}: write \
             fewer charges, or numbers with fewer digits (a `per` such as 1e6 keeps sums short)"
        ),
    ))
}

/// Counts the steps of a bill, and stops at the first count beyond [`MAX_STEPS`].
fn bill_steps(charges: &[Arc<Charge>]) -> u64 {
    let mut steps = 0_u64;
    // Common denominator of the amounts so far.
    let mut common = BigInt::one();
    let mut largest = 0;
    for charge in charges {
        let mut size =
            FractionSize { numerator: 0, denominator: charge.rate.as_fraction().1.clone() };
        size.numerator += charge.rate.as_fraction().0.bits();
        for factor in &charge.factors {
            let own = factor_size(factor);
            let operations = 4 + 2 * count_alternatives(&factor.measure);
            steps = steps.saturating_add(operations.saturating_mul(own.reduction_steps()));
            size.multiply_by(&own);
            steps = steps.saturating_add(2 * size.reduction_steps());
        }
        largest = largest.max(size.numerator);
        common = common.lcm(&size.denominator);
        let sum = FractionSize { numerator: largest + common.bits(), denominator: common.clone() };
        steps = steps.saturating_add(sum.reduction_steps());
        if steps > MAX_STEPS {
            return steps;
        }
    }
    steps
}

/// Upper bound of the size of a fraction.
struct FractionSize {
    /// Number of bits of the numerator.
    numerator: u64,
    denominator: BigInt,
}

impl FractionSize {
    fn from_exact(value: &Exact) -> Self {
        let (numerator, denominator) = value.as_fraction();
        Self { numerator: numerator.bits(), denominator: denominator.clone() }
    }

    fn multiply_by(&mut self, other: &Self) {
        self.numerator += other.numerator;
        self.denominator = &self.denominator * &other.denominator;
    }

    /// Enlarges the size to hold the other value as well.
    fn enlarge_to(&mut self, other: &Self) {
        self.numerator = self.numerator.max(other.numerator);
        self.denominator = self.denominator.lcm(&other.denominator);
    }

    /// Returns the steps to reduce the fraction to lowest terms: one per bit, over all words.
    fn reduction_steps(&self) -> u64 {
        let bits = self.numerator + self.denominator.bits();
        bits.saturating_mul(bits) / 64
    }
}

fn factor_size(factor: &Factor) -> FractionSize {
    let mut size = measure_size(&factor.measure);
    for fallback in &factor.fallbacks {
        if let StandIn::Value(value) = &fallback.stand_in {
            size.enlarge_to(&FractionSize::from_exact(value));
        }
    }
    size.multiply_by(&times_size(&factor.times));
    let shapes = [&factor.above, &factor.at_most, &factor.limit].into_iter().flatten();
    for value in shapes.chain([&factor.minimum, &factor.grid]).chain(&factor.inner_grids) {
        size.enlarge_to(&FractionSize::from_exact(value));
    }
    let unit = factor.size.as_fraction();
    size.multiply_by(&FractionSize { numerator: unit.1.bits(), denominator: unit.0.clone() });
    size
}

/// Counts the alternatives and the table rows that are searched.
fn count_alternatives(measure: &Measure) -> u64 {
    match measure {
        Measure::MaxOf(several) => several.iter().map(|(it, _)| 1 + count_alternatives(it)).sum(),
        Measure::Lookup { of, rows } => u64::from(rows.len().ilog2()) + count_alternatives(of),
        _ => 1,
    }
}

fn measure_size(measure: &Measure) -> FractionSize {
    let whole = |numerator| FractionSize { numerator, denominator: BigInt::one() };
    match measure {
        Measure::Requests | Measure::Month => whole(1),
        Measure::Meter(_) => whole(MEASURED_BITS),
        Measure::Phases(_) => whole(MEASURED_BITS + 3),
        Measure::Input(_) | Measure::Period => user_decimal_size(),
        Measure::Lookup { rows, .. } => {
            let mut size = whole(1);
            rows.iter().for_each(|row| size.enlarge_to(&FractionSize::from_exact(&row.value)));
            size
        }
        Measure::MaxOf(several) => {
            let mut size = whole(1);
            for (measure, times) in several {
                let mut own = measure_size(measure);
                own.multiply_by(&times_size(times));
                size.enlarge_to(&own);
            }
            size
        }
    }
}

fn times_size(times: &Multiplier) -> FractionSize {
    match times {
        Multiplier::Once => FractionSize { numerator: 0, denominator: BigInt::one() },
        Multiplier::By(by) => FractionSize::from_exact(by),
        Multiplier::Input(_) => user_decimal_size(),
    }
}

/// Returns the size of the longest decimal that a user can write.
fn user_decimal_size() -> FractionSize {
    FractionSize { numerator: GIVEN_BITS, denominator: BigInt::from(10).pow(40) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PriceCatalog;

    #[test]
    fn models_that_are_carried_take_a_small_part_of_it() {
        for model in PriceCatalog::with_builtin_models().models() {
            let steps = bill_steps(&model.charges);
            assert!(steps < MAX_STEPS / 2, "{}: {steps}", model.id());
        }
    }
}
