//! The normal distribution, to the extent that intervals and tests need it.

/// Returns the share of the standard normal distribution below `x`, to seven
/// digits (Numerical Recipes' Chebyshev fit of erfc).
pub(super) fn normal_share_below(x: f64) -> f64 {
    const FIT: [f64; 10] = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_87,
        -1.135_203_98,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_68,
        -1.265_512_23,
    ];
    let z = x.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * z);
    let polynomial = FIT.iter().fold(0.0, |sum, factor| sum * t + factor);
    let beyond = t * (polynomial - z * z).exp() / 2.0;
    if x < 0.0 { beyond } else { 1.0 - beyond }
}

/// Returns the value below which `share` of the standard normal distribution
/// lies.
pub(super) fn normal_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-10.0, 10.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if normal_share_below(middle) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}
