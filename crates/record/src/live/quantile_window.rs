//! Window over the newest values of a series, and their quantiles.

use std::collections::VecDeque;

use cyclometer_stats::integer_quantile;

/// Number of values that are kept: all of a recording of some thousand runs.
pub const KEPT: usize = 4_096;

/// Window of the newest values.
#[derive(Debug, Clone, Default)]
pub struct Window {
    values: VecDeque<u64>,
    seen: u64,
}

/// Last value, median and 95th percentile of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowQuantiles {
    /// The newest value.
    pub last: u64,
    /// The median.
    pub p50: u64,
    /// The 95th percentile.
    pub p95: u64,
    /// Number of values they are computed from: the newest `KEPT` if there
    /// were more.
    pub count: usize,
    /// Number of values there ever were.
    pub total: u64,
}

impl Window {
    /// Adds a value.
    pub fn push(&mut self, value: u64) {
        if self.values.len() == KEPT {
            self.values.pop_front();
        }
        self.values.push_back(value);
        self.seen += 1;
    }

    /// Returns the quantiles; `None` without values.
    #[must_use]
    pub fn quantiles(&self) -> Option<WindowQuantiles> {
        let last = *self.values.back()?;
        let mut sorted: Vec<u64> = self.values.iter().copied().collect();
        sorted.sort_unstable();
        Some(WindowQuantiles {
            last,
            p50: integer_quantile(&sorted, 1, 2)?,
            p95: integer_quantile(&sorted, 95, 100)?,
            count: sorted.len(),
            total: self.seen,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_newest_values() {
        let mut window = Window::default();
        assert_eq!(window.quantiles(), None);
        for value in (1..=100).rev() {
            window.push(value);
        }
        // Equal to those in `record`'s table: the same function on the same values.
        let found = window.quantiles().expect("values");
        assert_eq!((found.last, found.count, found.total), (1, 100, 100));
        assert_eq!((found.p50, found.p95), (50, 95));
        for _ in 0..KEPT {
            window.push(7);
        }
        let found = window.quantiles().expect("values");
        assert_eq!((found.p50, found.p95, found.count), (7, 7, KEPT));
        assert_eq!(found.total, 100 + KEPT as u64);
    }
}
