//! Statistics of measurements: how well a figure is known, whether two sets of
//! measurements differ, and how sure that is.
//!
//! Times and counts are reported and compared by their medians, which a few
//! disturbed runs do not move; money by the ratio of its means, since a bill is
//! a sum. Intervals are percentile bootstrap intervals (Efron 1979), drawn by a
//! generator with a fixed seed, so that the same data always give the same
//! result. They assume nothing about how the values are distributed, but they
//! do assume that the values are independent of each other. A machine that was
//! slower throughout one of two recordings looks just like a function that got
//! slower.
//!
//! Where nothing differs, "lower" or "higher" comes no more often than the
//! confidence allows; for medians, somewhat less often (about 0.7 for 1 of 100
//! with ten runs or more), and where many values are equal, far less.
//!
//! No value is ever left out of a figure: [`Summary`] reports warm-up, drift
//! and outliers, and what to do about them.
//!
//! Floating point is appropriate here, where nothing is exact: no figure of
//! this crate ever enters a bill.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod bootstrap;
mod interval;
mod normal;
mod order_statistics;
mod outliers;
mod random;
mod ratio_limits;
mod resample;
mod summary;
mod trend;
mod verdict;
mod warm_up_detection;

pub use bootstrap::{
    compare_means, compare_medians, compare_pairs, compare_times, ratio_with_interval,
};
pub use interval::{Interval, median_reach};
pub use order_statistics::{half_interquartile_range, integer_quantile, median};
pub use outliers::{Fences, Outliers, TwoGroups, percentile};
pub use random::Random;
pub use ratio_limits::{QUANTA, Quantum, RatioRefusal};
pub use summary::{Summary, Warning};
pub use trend::Trend;
pub use verdict::{Change, Confidence, LEAST_RUNS, Verdict};
pub use warm_up_detection::{FALSE_ALARMS, LEAST_FOR_STEADY, count_warm_up};

#[cfg(test)]
mod nominal_tests;
#[cfg(test)]
mod scipy_tests;
