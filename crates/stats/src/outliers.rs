//! Outliers, and values that fall into two groups.

use super::resample::count_to_f64;

/// Tukey's fences (1977): a value beyond one and a half quartile distances from
/// the nearer quartile is an outlier, one beyond three is a far outlier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fences {
    low: f64,
    high: f64,
    distance: f64,
}

impl Fences {
    /// Computes the fences of ascending values; `None` with fewer than six, or
    /// where half of them are the same, which leaves no distance to measure by.
    #[must_use]
    pub(crate) fn from_ascending(ascending: &[f64]) -> Option<Self> {
        if ascending.len() < 6 {
            return None;
        }
        let (low, high) = (percentile(ascending, 0.25)?, percentile(ascending, 0.75)?);
        let distance = high - low;
        (distance > 0.0).then_some(Self { low, high, distance })
    }

    /// Returns the number of quartile distances between `value` and the nearer
    /// quartile.
    fn distance_from_quartile(&self, value: f64) -> f64 {
        (value - self.high).max(self.low - value).max(0.0) / self.distance
    }

    /// Returns whether a value is a far outlier.
    #[must_use]
    pub(crate) fn is_far(&self, value: f64) -> bool {
        self.distance_from_quartile(value) > 3.0
    }

    /// Returns whether a value is an outlier, near or far.
    #[must_use]
    pub(crate) fn is_out(&self, value: f64) -> bool {
        self.distance_from_quartile(value) > 1.5
    }
}

/// Number of outliers. None is ever dropped for being one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outliers {
    /// Outliers that are not far out.
    pub mild: usize,
    /// Far outliers.
    pub far: usize,
}

impl Outliers {
    /// Counts the outliers of ascending values; `None` where there are no
    /// fences.
    #[must_use]
    pub(crate) fn from_ascending(ascending: &[f64]) -> Option<Self> {
        let fences = Fences::from_ascending(ascending)?;
        let far = ascending.iter().filter(|value| fences.is_far(**value)).count();
        let out = ascending.iter().filter(|value| fences.is_out(**value)).count();
        Some(Self { mild: out - far, far })
    }
}

/// Two groups that values fall into.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TwoGroups {
    /// Share of the values in the upper group.
    pub upper: f64,
    /// Excess of the upper group's mean over the lower group's, as a share of
    /// the lower.
    pub apart: f64,
}

impl TwoGroups {
    /// Finds the best cut of ascending values into two groups, each with at
    /// least a fifth of them. Returns the groups if the cut explains more of
    /// the variance than a single hump would: more than 0.82 + 1.5 / n, which 1
    /// in 200 series from a normal, log-normal or even distribution exceeds
    /// (the share for many values is 0.64 of a normal and 0.75 of an even one).
    /// `None` with fewer than twenty values.
    #[must_use]
    pub(crate) fn find_in(ascending: &[f64]) -> Option<Self> {
        if ascending.len() < 20 {
            return None;
        }
        let n = count_to_f64(ascending.len());
        let mean = ascending.iter().sum::<f64>() / n;
        let total: f64 = ascending.iter().map(|value| (value - mean).powi(2)).sum();
        let least = ascending.len().div_ceil(5);
        let (mut sum, mut best) = (0.0, (0.0, 0, 0.0));
        for (at, value) in ascending.iter().enumerate() {
            sum += value - mean;
            let below = at + 1;
            if below < least || ascending.len() - below < least {
                continue;
            }
            let k = count_to_f64(below);
            let between = sum * sum * n / (k * (n - k));
            if between > best.0 {
                best = (between, below, sum);
            }
        }
        let (between, below, sum) = best;
        if total <= 0.0 || between / total <= 0.82 + 1.5 / n {
            return None;
        }
        let k = count_to_f64(below);
        let (lower, upper) = (mean + sum / k, mean - sum / (n - k));
        Some(Self { upper: (n - k) / n, apart: (upper - lower) / lower })
    }
}

/// Returns the value below which a share of ascending values lies, by linear
/// interpolation between the two nearest (numpy's default); `None` without any.
#[must_use]
pub fn percentile(ascending: &[f64], share: f64) -> Option<f64> {
    let last = ascending.len().checked_sub(1)?;
    let place = share.clamp(0.0, 1.0) * count_to_f64(last);
    let below = floor_index(place);
    let low = *ascending.get(below)?;
    let high = *ascending.get(below + 1).unwrap_or(&low);
    Some(low + (high - low) * (place - count_to_f64(below)))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place between 0 and the number of values"
)]
const fn floor_index(place: f64) -> usize {
    place as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    // numpy.percentile of 1, 2, 4, 8, 16, 32: quartiles 2.5 and 14, so that the
    // fences are at 31.25 and 48.5 above.
    #[test]
    fn fences_stand_where_tukey_put_them() {
        let values = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
        let fences = Fences::from_ascending(&values).expect("fences");
        assert!(!fences.is_out(31.25) && fences.is_out(31.26));
        assert!(!fences.is_far(48.5) && fences.is_far(48.51));
        // Below, at 2.5 - 17.25 and 2.5 - 34.5.
        assert!(!fences.is_out(-14.75) && fences.is_out(-14.76) && fences.is_far(-32.01));
        assert_eq!(Outliers::from_ascending(&values), Some(Outliers { mild: 1, far: 0 }));
        assert_eq!(Outliers::from_ascending(&[5.0; 9]), None, "no distance");
        assert_eq!(Outliers::from_ascending(&values[..5]), None);
    }

    #[test]
    fn two_humps_are_two_groups_and_one_is_not() {
        let two: Vec<f64> =
            (0..30_i32).map(|at| if at < 12 { 100.0 } else { 150.0 } + f64::from(at % 6)).collect();
        let groups = TwoGroups::find_in(&two).expect("two");
        assert!((groups.upper - 0.6).abs() < 1e-12, "{groups:?}");
        // Means 102.5 and 152.5.
        assert!((groups.apart - 50.0 / 102.5).abs() < 1e-12, "{groups:?}");
        let even: Vec<f64> = (0..30).map(f64::from).collect();
        assert_eq!(TwoGroups::find_in(&even), None);
        let mut stray = even;
        stray.extend([900.0, 1_000.0]);
        assert_eq!(TwoGroups::find_in(&stray), None, "two outliers are no group");
    }
}
