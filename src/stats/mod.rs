//! Whether two sets of measurements differ, and how sure that is.
//!
//! Times and counts are compared by the ratio of their medians, which a few
//! disturbed runs do not move; money by the ratio of its means, since a bill is
//! a sum. The interval around the ratio is a percentile bootstrap interval: it
//! supposes nothing of how the values are spread, but it does suppose that they
//! are independent of each other. A machine that was slower all through one of
//! two recordings looks just like a function that got slower.
//!
//! Floating point is right here, where nothing is exact: no figure of this
//! module ever enters a bill.

mod bootstrap;
mod order;
mod random;
mod verdict;

pub use bootstrap::{compare_means, compare_medians, compare_pairs};
pub use order::{half_spread, median, quantile};
pub use random::Random;
pub use verdict::{Change, Confidence, LEAST_RUNS, Verdict};
