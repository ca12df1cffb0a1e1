//! Order statistics: exact for integers, in floating point for comparisons.

/// Returns the quantile `numerator / denominator` of ascending values, by
/// linear interpolation between the two nearest, rounded down; `None` without
/// values.
#[must_use]
pub fn integer_quantile(ascending: &[u64], numerator: u64, denominator: u64) -> Option<u64> {
    let last = u128::try_from(ascending.len().checked_sub(1)?).ok()?;
    let (numerator, denominator) = (u128::from(numerator), u128::from(denominator.max(1)));
    let position = last * numerator;
    let index = usize::try_from(position / denominator).ok()?;
    let rest = position % denominator;
    let low = u128::from(*ascending.get(index)?);
    let high = u128::from(*ascending.get(index + 1).unwrap_or(&ascending[index]));
    u64::try_from(low + high.saturating_sub(low) * rest / denominator).ok()
}

/// Returns half the distance between the quartiles; `None` with fewer than four
/// values, which say nothing about spread.
#[must_use]
pub fn half_interquartile_range(ascending: &[u64]) -> Option<u64> {
    if ascending.len() < 4 {
        return None;
    }
    Some((integer_quantile(ascending, 3, 4)? - integer_quantile(ascending, 1, 4)?) / 2)
}

/// Returns the middle of ascending values, or the mean of the two in the
/// middle.
#[must_use]
pub fn median(ascending: &[f64]) -> Option<f64> {
    let middle = ascending.len() / 2;
    let high = *ascending.get(middle)?;
    if ascending.len() % 2 == 1 {
        return Some(high);
    }
    Some(f64::midpoint(ascending[middle - 1], high))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Checked against numpy.quantile (method "linear"): of 1, 2, 4, 8, 16 the
    // quartiles are 2, 4 and 8, and the 95th percentile is 14.4.
    #[test]
    fn quantiles_interpolate() {
        let values = [10, 20, 40, 80, 160];
        assert_eq!(integer_quantile(&values, 1, 2), Some(40));
        assert_eq!(integer_quantile(&values, 95, 100), Some(144));
        assert_eq!(integer_quantile(&values, 0, 1), Some(10));
        assert_eq!(integer_quantile(&values, 1, 1), Some(160));
        assert_eq!(integer_quantile(&[10, 20], 1, 2), Some(15));
        assert_eq!(integer_quantile(&[], 1, 2), None);
        assert_eq!(half_interquartile_range(&values), Some(30));
        assert_eq!(half_interquartile_range(&values[..3]), None);
    }
}
