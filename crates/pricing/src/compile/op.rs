//! Instructions of a compiled model: each computes a column from whole columns.
//!
//! They are loops over integers that use only the simplest instructions, since those process
//! several values at once on every processor: comparisons are signs of differences, which is
//! right for values up to [`MAX_COLUMN_VALUE`].

use std::collections::HashMap;
use std::sync::Arc;

use super::batch::{Signal, UsageBatch};
pub(super) use super::grid::MAX_COLUMN_VALUE;
use super::grid::{DivisionMethod, GridDivisor};

/// Instruction that computes a column; its operands are earlier columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Op {
    Read(Signal),
    Const(u64),
    Add(usize, usize),
    /// The difference, or 0 if it is negative.
    Sub(usize, usize),
    Min(usize, usize),
    Max(usize, usize),
    Product(usize, usize),
    Times(usize, u64),
    /// The amount above the constant, or 0.
    Above(usize, u64),
    AtMost(usize, u64),
    AtLeast(usize, u64),
    /// The number of steps of a grid, rounded up.
    Steps(usize, GridDivisor),
    /// The number of these ends that are below the value.
    Rank(usize, Arc<[u64]>),
    /// The element at that index; 0 if there is none.
    Pick(usize, Arc<[u64]>),
}

/// Columns without duplicates: what two charges share is computed once.
#[derive(Debug, Default)]
pub(super) struct ColumnRegistry {
    ops: Vec<Op>,
    known: HashMap<Op, usize>,
}

impl ColumnRegistry {
    pub(super) fn intern_op(&mut self, op: Op) -> usize {
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
    /// Returns an upper bound of the values, from the bounds of the operands.
    pub(super) fn value_bound(&self, batch: &UsageBatch, bounds: &[u128]) -> u128 {
        match self {
            Self::Read(signal) => batch.column_bound(*signal),
            Self::Const(value) => (*value).into(),
            Self::Add(one, other) => bounds[*one].saturating_add(bounds[*other]),
            Self::Sub(one, _) | Self::Above(one, _) => bounds[*one],
            Self::Min(one, other) => bounds[*one].min(bounds[*other]),
            Self::Max(one, other) => bounds[*one].max(bounds[*other]),
            Self::Product(one, other) => bounds[*one].saturating_mul(bounds[*other]),
            Self::Times(one, by) => bounds[*one].saturating_mul((*by).into()),
            Self::AtMost(one, most) => bounds[*one].min((*most).into()),
            Self::AtLeast(one, least) => bounds[*one].max((*least).into()),
            Self::Steps(one, grid) => bounds[*one].div_ceil(grid.step().into()),
            Self::Rank(_, ends) => ends.len() as u128,
            Self::Pick(_, values) => values.iter().copied().max().unwrap_or(0).into(),
        }
    }

    /// Computes a block of rows of the column; every bound is at most [`MAX_COLUMN_VALUE`].
    pub(super) fn compute_rows(
        &self,
        out: &mut [u64],
        operand: &dyn ColumnSource,
        bounds: &[u128],
    ) {
        // A constant beyond every value acts like the largest value.
        let within = |constant: u64| constant.min(MAX_COLUMN_VALUE_U64);
        match self {
            Self::Read(_) => {}
            Self::Const(value) => out.fill(*value),
            Self::Add(one, other) => map_column_pair(out, operand, *one, *other, |a, b| a + b),
            Self::Sub(one, other) => {
                map_column_pair(out, operand, *one, *other, saturating_difference);
            }
            Self::Min(one, other) => {
                map_column_pair(out, operand, *one, *other, |a, b| a - saturating_difference(a, b));
            }
            Self::Max(one, other) => {
                map_column_pair(out, operand, *one, *other, |a, b| b + saturating_difference(a, b));
            }
            Self::Product(one, other) => map_column_pair(out, operand, *one, *other, |a, b| a * b),
            Self::Times(one, by) => map_column(out, operand, *one, |value| value * by),
            Self::Above(one, floor) => {
                let floor = within(*floor);
                map_column(out, operand, *one, |value| saturating_difference(value, floor));
            }
            Self::AtMost(one, most) => {
                let most = within(*most);
                map_column(out, operand, *one, |value| value - saturating_difference(value, most));
            }
            Self::AtLeast(one, least) => {
                map_column(out, operand, *one, |value| {
                    least + saturating_difference(value, *least)
                });
            }
            Self::Steps(one, grid) => match grid.division_method(bounds[*one]) {
                DivisionMethod::Shift => {
                    map_column(out, operand, *one, |value| grid.divide_by_shift(value));
                }
                DivisionMethod::Narrow => {
                    map_column(out, operand, *one, |value| grid.divide_in_32_bits(value));
                }
                DivisionMethod::Wide => {
                    map_column(out, operand, *one, |value| grid.divide_in_64_bits(value));
                }
            },
            Self::Rank(one, ends) => count_ends_below(out, operand.column_rows(*one), ends),
            Self::Pick(one, values) => {
                let at = |rank: u64| usize::try_from(rank).ok().and_then(|it| values.get(it));
                map_column(out, operand, *one, |rank| at(rank).copied().unwrap_or(0));
            }
        }
    }
}

const MAX_COLUMN_VALUE_U64: u64 = (1 << 63) - 1;

/// Returns `a - b`, or 0 if it is negative, for values up to [`MAX_COLUMN_VALUE`].
///
/// The highest bit is set in `a` and remains in the difference unless `b` is larger: a comparison
/// of 64 bits would cost twice as much on processors without such an instruction.
const fn saturating_difference(a: u64, b: u64) -> u64 {
    let difference = (a | !MAX_COLUMN_VALUE_U64) - b;
    let back = difference & !MAX_COLUMN_VALUE_U64;
    difference & (back - (back >> 63))
}

/// Counts the ends below each value: this is faster than a search, since there are few ends. Ends
/// are processed in groups that fit the registers.
fn count_ends_below(out: &mut [u64], values: &[u64], ends: &[u64]) {
    out.fill(0);
    for some in ends.chunks(8) {
        let mut ends = [MAX_COLUMN_VALUE_U64; 8];
        for (to, end) in ends.iter_mut().zip(some) {
            *to = MAX_COLUMN_VALUE_U64.min(*end);
        }
        for (out, value) in out.iter_mut().zip(values) {
            let below = ends.iter().map(|end| end.wrapping_sub(*value) >> 63);
            *out += below.sum::<u64>();
        }
    }
}

/// Access to the current block of rows of other columns.
pub(super) trait ColumnSource {
    fn column_rows(&self, column: usize) -> &[u64];
}

fn map_column(out: &mut [u64], operand: &dyn ColumnSource, one: usize, value: impl Fn(u64) -> u64) {
    for (out, one) in out.iter_mut().zip(operand.column_rows(one)) {
        *out = value(*one);
    }
}

fn map_column_pair(
    out: &mut [u64],
    operand: &dyn ColumnSource,
    one: usize,
    other: usize,
    value: impl Fn(u64, u64) -> u64,
) {
    for ((out, one), other) in
        out.iter_mut().zip(operand.column_rows(one)).zip(operand.column_rows(other))
    {
        *out = value(*one, *other);
    }
}
