//! Instructions of a compiled model: each computes a column from whole columns.
//!
//! They are loops over integers that use only the simplest instructions, since those process
//! several values at once on every processor: comparisons are signs of differences, which is
//! right for values up to [`MOST`].

use std::collections::HashMap;
use std::sync::Arc;

use super::batch::{Batch, Signal};
pub(super) use super::grid::MOST;
use super::grid::{Grid, Way};

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
    Steps(usize, Grid),
    /// The number of these ends that are below the value.
    Rank(usize, Arc<[u64]>),
    /// The element at that index; 0 if there is none.
    Pick(usize, Arc<[u64]>),
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
    /// Returns an upper bound of the values, from the bounds of the operands.
    pub(super) fn bound(&self, batch: &Batch, bounds: &[u128]) -> u128 {
        match self {
            Self::Read(signal) => batch.bound(*signal),
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

    /// Computes a block of rows of the column; every bound is at most [`MOST`].
    pub(super) fn run(&self, out: &mut [u64], operand: &dyn Operands, bounds: &[u128]) {
        // A constant beyond every value acts like the largest value.
        let within = |constant: u64| constant.min(LAST);
        match self {
            Self::Read(_) => {}
            Self::Const(value) => out.fill(*value),
            Self::Add(one, other) => pairs(out, operand, *one, *other, |a, b| a + b),
            Self::Sub(one, other) => pairs(out, operand, *one, *other, above),
            Self::Min(one, other) => pairs(out, operand, *one, *other, |a, b| a - above(a, b)),
            Self::Max(one, other) => pairs(out, operand, *one, *other, |a, b| b + above(a, b)),
            Self::Product(one, other) => pairs(out, operand, *one, *other, |a, b| a * b),
            Self::Times(one, by) => each(out, operand, *one, |value| value * by),
            Self::Above(one, floor) => {
                let floor = within(*floor);
                each(out, operand, *one, |value| above(value, floor));
            }
            Self::AtMost(one, most) => {
                let most = within(*most);
                each(out, operand, *one, |value| value - above(value, most));
            }
            Self::AtLeast(one, least) => {
                each(out, operand, *one, |value| least + above(value, *least));
            }
            Self::Steps(one, grid) => match grid.way(bounds[*one]) {
                Way::Shift => each(out, operand, *one, |value| grid.by_shift(value)),
                Way::Narrow => each(out, operand, *one, |value| grid.by_narrow(value)),
                Way::Wide => each(out, operand, *one, |value| grid.by_wide(value)),
            },
            Self::Rank(one, ends) => rank(out, operand.get(*one), ends),
            Self::Pick(one, values) => {
                let at = |rank: u64| usize::try_from(rank).ok().and_then(|it| values.get(it));
                each(out, operand, *one, |rank| at(rank).copied().unwrap_or(0));
            }
        }
    }
}

const LAST: u64 = (1 << 63) - 1;

/// Returns `a - b`, or 0 if it is negative, for values up to [`MOST`].
///
/// The highest bit is set in `a` and remains in the difference unless `b` is larger: a comparison
/// of 64 bits would cost twice as much on processors without such an instruction.
const fn above(a: u64, b: u64) -> u64 {
    let difference = (a | !LAST) - b;
    let back = difference & !LAST;
    difference & (back - (back >> 63))
}

/// Counts the ends below each value: this is faster than a search, since there are few ends. Ends
/// are processed in groups that fit the registers.
fn rank(out: &mut [u64], values: &[u64], ends: &[u64]) {
    out.fill(0);
    for some in ends.chunks(8) {
        let mut ends = [LAST; 8];
        for (to, end) in ends.iter_mut().zip(some) {
            *to = LAST.min(*end);
        }
        for (out, value) in out.iter_mut().zip(values) {
            let below = ends.iter().map(|end| end.wrapping_sub(*value) >> 63);
            *out += below.sum::<u64>();
        }
    }
}

/// Access to the current block of rows of other columns.
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
