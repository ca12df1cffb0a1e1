//! Division by a constant, rounded up.

/// Largest value that a column may hold.
pub(super) const MAX_COLUMN_VALUE: u128 = (1 << 63) - 1;

/// Divider that returns the number of steps a value takes, for values up to [`MAX_COLUMN_VALUE`].
///
/// Implements Granlund and Montgomery, "Division by Invariant Integers using Multiplication"
/// (1994): a multiplication by a reciprocal and a shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct GridDivisor {
    step: u64,
    /// 2^(64 + shift) / step, rounded up.
    reciprocal: u64,
    shift: u32,
    narrow: NarrowReciprocal,
}

/// Reciprocal for division in 32 bits, which every processor can do for several values at once:
/// the step without its factors of 2, and a reciprocal of 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct NarrowReciprocal {
    zeros: u32,
    /// 2^shift / odd step, rounded up.
    reciprocal: u64,
    shift: u32,
    /// Largest value, in units of the odd step, for which the division is exact.
    most: u64,
}

/// Fastest method of division that is exact for the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DivisionMethod {
    Shift,
    Narrow,
    Wide,
}

/// Returns `bits` such that 2^(bits - 1) < step <= 2^bits.
const fn ceil_log2(step: u64) -> u32 {
    if step <= 1 { 0 } else { 64 - (step - 1).leading_zeros() }
}

impl GridDivisor {
    /// Creates the divider; `None` for a step of 0, and for one that is not below 2^62.
    pub(super) fn new(step: u64) -> Option<Self> {
        if step == 0 || step >= 1 << 62 {
            return None;
        }
        // A step of 1 is a shift and needs no reciprocal.
        let bits = ceil_log2(step).max(1);
        let reciprocal = (1_u128 << (63 + bits)).div_ceil(step.into());
        Some(Self {
            step,
            reciprocal: u64::try_from(reciprocal).unwrap_or(u64::MAX),
            shift: bits - 1,
            narrow: NarrowReciprocal::new(step),
        })
    }

    pub(super) const fn step(self) -> u64 {
        self.step
    }

    /// Returns the method for values up to `bound`, which is at most [`MAX_COLUMN_VALUE`].
    pub(super) fn division_method(self, bound: u128) -> DivisionMethod {
        let last = (bound + u128::from(self.step - 1)) >> self.narrow.zeros;
        if self.step.is_power_of_two() {
            DivisionMethod::Shift
        } else if last <= u128::from(self.narrow.most) {
            DivisionMethod::Narrow
        } else {
            DivisionMethod::Wide
        }
    }

    #[inline]
    pub(super) const fn divide_by_shift(self, value: u64) -> u64 {
        (value + (self.step - 1)) >> self.narrow.zeros
    }

    #[inline]
    pub(super) const fn divide_in_32_bits(self, value: u64) -> u64 {
        let NarrowReciprocal { zeros, reciprocal, shift, .. } = self.narrow;
        let odd = (value + (self.step - 1)) >> zeros;
        // Both masks change nothing; they tell the compiler that 32 bits are multiplied.
        ((odd & 0xffff_ffff) * (reciprocal & 0xffff_ffff)) >> shift
    }

    #[inline]
    pub(super) fn divide_in_64_bits(self, value: u64) -> u64 {
        // Rounds up: `value - 1` is divided and one step is added, so that a multiple and the
        // value above it differ by a step; 0 takes no step.
        let some = u64::from(value != 0);
        let product = u128::from(value - some) * u128::from(self.reciprocal);
        ((product >> 64) as u64 >> self.shift) + some
    }
}

impl NarrowReciprocal {
    fn new(step: u64) -> Self {
        let zeros = step.trailing_zeros();
        let odd = step >> zeros;
        let shift = 31 + ceil_log2(odd);
        let whole = 1_u128 << shift;
        let reciprocal = whole.div_ceil(odd.into());
        // The product is too large by value x excess, and the quotient is right as long as that
        // stays below 2^shift.
        let excess = reciprocal * u128::from(odd) - whole;
        let most = (whole - 1).checked_div(excess).unwrap_or(0).min(u32::MAX.into());
        match (u32::try_from(reciprocal), u64::try_from(most)) {
            (Ok(reciprocal), Ok(most)) => {
                Self { zeros, reciprocal: reciprocal.into(), shift, most }
            }
            _ => Self { zeros, reciprocal: 0, shift: 0, most: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LAST: u64 = (1 << 63) - 1;

    /// Checks all methods that are valid for a value against the processor's division.
    fn check(grid: GridDivisor, value: u64) {
        let expected = value.div_ceil(grid.step());
        let way = grid.division_method(value.into());
        if way == DivisionMethod::Shift {
            assert_eq!(grid.divide_by_shift(value), expected, "{value} / {}", grid.step());
            return;
        }
        if way == DivisionMethod::Narrow {
            assert_eq!(
                grid.divide_in_32_bits(value),
                expected,
                "{value} / {}, narrow",
                grid.step()
            );
        }
        assert_eq!(grid.divide_in_64_bits(value), expected, "{value} / {}", grid.step());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn grids_divide_as_the_processor_does(
            step in 1_u64..1 << 62,
            bits in 0_u32..62,
            value in 0_u64..1 << 63,
            zeros in 0_u32..63,
        ) {
            for step in [step, (step >> bits).max(1)] {
                let grid = GridDivisor::new(step).unwrap();
                for value in [value, value >> zeros] {
                    let edge = value - value % step;
                    for value in [value, edge, edge + 1, edge.saturating_sub(1)] {
                        check(grid, value.min(LAST));
                    }
                }
                // The largest value that is divided in 32 bits, and the next.
                let narrow = grid.narrow.most << grid.narrow.zeros;
                for value in [narrow, narrow + 1, narrow.saturating_sub(step - 1)] {
                    check(grid, value.min(LAST));
                }
            }
        }
    }

    #[test]
    fn grids_at_their_limits() {
        assert_eq!(GridDivisor::new(0), None);
        assert_eq!(GridDivisor::new(1 << 62), None);
        for step in [1, 2, 3, 5, 7, 10, 1_000_000, 100_000_000, (1 << 62) - 1, (1 << 61) + 1] {
            let grid = GridDivisor::new(step).unwrap();
            for value in [0, 1, step - 1, step, step + 1, LAST - 1, LAST] {
                check(grid, value);
            }
        }
    }

    #[test]
    fn milliseconds_of_seconds_are_divided_in_32_bits() {
        for step in [1_000_000, 100_000_000] {
            let grid = GridDivisor::new(step).unwrap();
            assert_eq!(grid.division_method(1 << 34), DivisionMethod::Narrow, "{step}");
            assert_eq!(grid.division_method(MAX_COLUMN_VALUE), DivisionMethod::Wide, "{step}");
        }
    }
}
