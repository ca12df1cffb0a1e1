//! Limit on the arithmetic of one bill. Numbers of 40 digits without a common factor grow with
//! each multiplication and each sum, and a file of a few kilobytes could keep a processor busy
//! for a tenth of a second per row.

use std::ops::Range;
use std::sync::Arc;

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::One;

use super::super::charge::{Charge, Factor, Measure, StandIn, Times};
use super::super::error::Problem;
use super::super::number::Exact;
use super::Resolved;

/// Maximum number of arithmetic steps per bill, each on a word of 64 bits: a few milliseconds.
/// The built-in models take a small part of it.
const MOST: u64 = 2_000_000;

/// Bits of a measured value, and of a number that a user may write.
const MEASURED: u64 = 64;
const GIVEN: u64 = 136;

/// Refuses charges whose bill takes too many steps.
pub(super) fn bounded(charges: &[Arc<Charge>], span: Range<usize>) -> Resolved<()> {
    let steps = steps(charges);
    if steps <= MOST {
        return Ok(());
    }
    Err(Problem::new(
        span,
        format!(
            "one bill would take {steps} steps of arithmetic, or more, and may take {MOST}: write \
             fewer charges, or numbers with fewer digits (a `per` such as 1e6 keeps sums short)"
        ),
    ))
}

/// Counts the steps of a bill, and stops at the first count beyond [`MOST`].
fn steps(charges: &[Arc<Charge>]) -> u64 {
    let mut steps = 0_u64;
    // Common denominator of the amounts so far.
    let mut common = BigInt::one();
    let mut largest = 0;
    for charge in charges {
        let mut size = Size { numerator: 0, denominator: charge.rate.parts().1.clone() };
        size.numerator += charge.rate.parts().0.bits();
        for factor in &charge.factors {
            let own = factor_size(factor);
            let operations = 4 + 2 * alternatives(&factor.measure);
            steps = steps.saturating_add(operations.saturating_mul(own.work()));
            size.times(&own);
            steps = steps.saturating_add(2 * size.work());
        }
        largest = largest.max(size.numerator);
        common = common.lcm(&size.denominator);
        let sum = Size { numerator: largest + common.bits(), denominator: common.clone() };
        steps = steps.saturating_add(sum.work());
        if steps > MOST {
            return steps;
        }
    }
    steps
}

/// Upper bound of the size of a fraction.
struct Size {
    /// Number of bits of the numerator.
    numerator: u64,
    denominator: BigInt,
}

impl Size {
    fn of(value: &Exact) -> Self {
        let (numerator, denominator) = value.parts();
        Self { numerator: numerator.bits(), denominator: denominator.clone() }
    }

    fn times(&mut self, other: &Self) {
        self.numerator += other.numerator;
        self.denominator = &self.denominator * &other.denominator;
    }

    /// Enlarges the size to hold the other value as well.
    fn or(&mut self, other: &Self) {
        self.numerator = self.numerator.max(other.numerator);
        self.denominator = self.denominator.lcm(&other.denominator);
    }

    /// Returns the steps to reduce the fraction to lowest terms: one per bit, over all words.
    fn work(&self) -> u64 {
        let bits = self.numerator + self.denominator.bits();
        bits.saturating_mul(bits) / 64
    }
}

fn factor_size(factor: &Factor) -> Size {
    let mut size = measure_size(&factor.measure);
    for fallback in &factor.fallbacks {
        if let StandIn::Value(value) = &fallback.stand_in {
            size.or(&Size::of(value));
        }
    }
    size.times(&times_size(&factor.times));
    let shapes = [&factor.above, &factor.at_most, &factor.limit].into_iter().flatten();
    for value in shapes.chain([&factor.minimum, &factor.grid]).chain(&factor.inner_grids) {
        size.or(&Size::of(value));
    }
    let unit = factor.size.parts();
    size.times(&Size { numerator: unit.1.bits(), denominator: unit.0.clone() });
    size
}

/// Counts the alternatives and the table rows that are searched.
fn alternatives(measure: &Measure) -> u64 {
    match measure {
        Measure::MaxOf(several) => several.iter().map(|(it, _)| 1 + alternatives(it)).sum(),
        Measure::Lookup { of, rows } => u64::from(rows.len().ilog2()) + alternatives(of),
        _ => 1,
    }
}

fn measure_size(measure: &Measure) -> Size {
    let whole = |numerator| Size { numerator, denominator: BigInt::one() };
    match measure {
        Measure::Requests | Measure::Month => whole(1),
        Measure::Meter(_) => whole(MEASURED),
        Measure::Phases(_) => whole(MEASURED + 3),
        Measure::Input(_) | Measure::Period => given(),
        Measure::Lookup { rows, .. } => {
            let mut size = whole(1);
            rows.iter().for_each(|row| size.or(&Size::of(&row.value)));
            size
        }
        Measure::MaxOf(several) => {
            let mut size = whole(1);
            for (measure, times) in several {
                let mut own = measure_size(measure);
                own.times(&times_size(times));
                size.or(&own);
            }
            size
        }
    }
}

fn times_size(times: &Times) -> Size {
    match times {
        Times::Once => Size { numerator: 0, denominator: BigInt::one() },
        Times::By(by) => Size::of(by),
        Times::Input(_) => given(),
    }
}

/// Returns the size of the longest decimal that a user can write.
fn given() -> Size {
    Size { numerator: GIVEN, denominator: BigInt::from(10).pow(40) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PriceCatalog;

    #[test]
    fn models_that_are_carried_take_a_small_part_of_it() {
        for model in PriceCatalog::builtin().models() {
            let steps = steps(&model.charges);
            assert!(steps < MOST / 2, "{}: {steps}", model.id());
        }
    }
}
