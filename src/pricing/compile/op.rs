//! The instructions of a compiled model: whole columns in, a column out.

use std::collections::HashMap;
use std::sync::Arc;

use super::batch::{Batch, Signal};

/// A column that is computed from others; operands are earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Op {
    Read(Signal),
    Const(u64),
    Add(usize, usize),
    /// The difference, or 0.
    Sub(usize, usize),
    Min(usize, usize),
    Max(usize, usize),
    Product(usize, usize),
    Times(usize, u64),
    /// What is above the constant.
    Above(usize, u64),
    AtMost(usize, u64),
    AtLeast(usize, u64),
    /// How many steps of a grid, rounded up.
    Steps(usize, Grid),
    /// The value of the first row whose end is not below; rows ascend.
    Lookup(usize, Arc<[(u64, u64)]>),
}

/// Division by a constant, rounded up, for values below 2^63.
///
/// After Granlund and Montgomery, "Division by Invariant Integers using
/// Multiplication" (1994): a multiplication by a 64-bit reciprocal and a shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Grid {
    step: u64,
    reciprocal: u64,
    shift: u32,
}

/// Largest value that a column may hold.
pub(super) const MOST: u128 = (1 << 63) - 1;

impl Grid {
    /// `None` for 0 and for what is not below 2^62.
    pub(super) fn new(step: u64) -> Option<Self> {
        if step == 0 || step >= 1 << 62 {
            return None;
        }
        // 2^(bits - 1) < step <= 2^bits
        let bits = if step == 1 { 0 } else { 64 - (step - 1).leading_zeros() };
        let numerator = 1_u128 << (63 + bits);
        let reciprocal = u64::try_from(numerator.div_ceil(step.into())).ok()?;
        Some(Self { step, reciprocal, shift: 63 + bits })
    }

    pub(super) const fn step(self) -> u64 {
        self.step
    }

    #[expect(clippy::cast_possible_truncation, reason = "a quotient is no larger than its value")]
    fn floor(self, value: u64) -> u64 {
        ((u128::from(value) * u128::from(self.reciprocal)) >> self.shift) as u64
    }

    /// For values of at most [`MOST`].
    pub(super) fn steps(self, value: u64) -> u64 {
        let whole = self.floor(value);
        whole + u64::from(whole * self.step != value)
    }
}

/// Columns without duplicates: what two charges share is computed once.
#[derive(Debug, Default)]
pub(super) struct Columns {
    ops: Vec<Op>,
    known: HashMap<Op, usize>,
}

impl Columns {
    pub(super) fn add(&mut self, op: Op) -> usize {
        if let Some(at) = self.known.get(&op) {
            return *at;
        }
        self.ops.push(op.clone());
        self.known.insert(op, self.ops.len() - 1);
        self.ops.len() - 1
    }

    pub(super) fn into_ops(self) -> Vec<Op> {
        self.ops
    }
}

impl Op {
    /// A bound of its values from those of its operands.
    pub(super) fn bound(&self, batch: &Batch, bounds: &[u128]) -> u128 {
        match self {
            Self::Read(signal) => batch.bound(*signal),
            Self::Const(value) => (*value).into(),
            Self::Add(one, other) => bounds[*one] + bounds[*other],
            Self::Sub(one, _) | Self::Above(one, _) => bounds[*one],
            Self::Min(one, other) => bounds[*one].min(bounds[*other]),
            Self::Max(one, other) => bounds[*one].max(bounds[*other]),
            Self::Product(one, other) => bounds[*one].saturating_mul(bounds[*other]),
            Self::Times(one, by) => bounds[*one].saturating_mul((*by).into()),
            Self::AtMost(one, most) => bounds[*one].min((*most).into()),
            Self::AtLeast(one, least) => bounds[*one].max((*least).into()),
            Self::Steps(one, grid) => bounds[*one].div_ceil(grid.step().into()),
            Self::Lookup(_, rows) => {
                rows.iter().map(|(_, value)| u128::from(*value)).max().unwrap_or(0)
            }
        }
    }

    /// Computes a stretch of the column; every bound is at most [`MOST`].
    pub(super) fn run(&self, out: &mut [u64], operand: &dyn Operands) {
        match self {
            Self::Read(_) => {}
            Self::Const(value) => out.fill(*value),
            Self::Add(one, other) => pairs(out, operand, *one, *other, |a, b| a + b),
            Self::Sub(one, other) => pairs(out, operand, *one, *other, u64::saturating_sub),
            Self::Min(one, other) => pairs(out, operand, *one, *other, Ord::min),
            Self::Max(one, other) => pairs(out, operand, *one, *other, Ord::max),
            Self::Product(one, other) => pairs(out, operand, *one, *other, |a, b| a * b),
            Self::Times(one, by) => each(out, operand, *one, |value| value * by),
            Self::Above(one, floor) => each(out, operand, *one, |it| it.saturating_sub(*floor)),
            Self::AtMost(one, most) => each(out, operand, *one, |value| value.min(*most)),
            Self::AtLeast(one, least) => each(out, operand, *one, |value| value.max(*least)),
            Self::Steps(one, grid) if grid.step().is_power_of_two() => {
                let shift = grid.step().trailing_zeros();
                let mask = grid.step() - 1;
                each(out, operand, *one, |value| (value >> shift) + u64::from(value & mask != 0));
            }
            Self::Steps(one, grid) => each(out, operand, *one, |value| grid.steps(value)),
            Self::Lookup(one, rows) => {
                // Counting the rows that end below is quicker than searching
                // the few there are.
                each(out, operand, *one, |value| {
                    let below = rows.iter().filter(|(end, _)| *end < value).count();
                    rows.get(below).map_or(0, |(_, value)| *value)
                });
            }
        }
    }
}

/// Where the stretch of another column is found.
pub(super) trait Operands {
    fn get(&self, column: usize) -> &[u64];
}

fn each(out: &mut [u64], operand: &dyn Operands, one: usize, value: impl Fn(u64) -> u64) {
    for (out, one) in out.iter_mut().zip(operand.get(one)) {
        *out = value(*one);
    }
}

fn pairs(
    out: &mut [u64],
    operand: &dyn Operands,
    one: usize,
    other: usize,
    value: impl Fn(u64, u64) -> u64,
) {
    for ((out, one), other) in out.iter_mut().zip(operand.get(one)).zip(operand.get(other)) {
        *out = value(*one, *other);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn grids_divide_as_the_processor_does(
            step in 1_u64..1 << 62,
            small in 1_u64..100_000,
            value in 0_u64..1 << 63,
        ) {
            for step in [step, small] {
                let grid = Grid::new(step).unwrap();
                prop_assert_eq!(grid.steps(value), value.div_ceil(step));
                let edge = value - value % step;
                prop_assert_eq!(grid.steps(edge), edge / step);
            }
        }
    }

    #[test]
    fn grids_at_their_limits() {
        assert_eq!(Grid::new(0), None);
        assert_eq!(Grid::new(1 << 62), None);
        let most = u64::try_from(MOST).unwrap();
        for step in [1, 2, 3, 5, 7, 10, 1_000_000, 100_000_000, (1 << 62) - 1, (1 << 61) + 1] {
            let grid = Grid::new(step).unwrap();
            for value in [0, 1, step - 1, step, step + 1, most - 1, most] {
                assert_eq!(grid.steps(value), value.div_ceil(step), "{value} / {step}");
            }
        }
    }
}
