//! Conditions under which one time may be divided by another.

use std::fmt;

use super::order_statistics::median;
use super::resample::sort_ascending;
use cyclometer_core::units::Nanos;

/// Fewest quanta that a base must have: then the grid of its clock moves the
/// ratio by no more than a tenth.
pub const QUANTA: u64 = 10;

/// Finest difference that a clock tells apart, or the time that an empty
/// measurement takes, whichever is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantum {
    /// Length of the quantum.
    pub span: Nanos,
    /// Origin of the quantum, in a word or two: `clock`.
    pub origin: &'static str,
}

/// Reason why there is no ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RatioRefusal {
    /// The base is too close to the quantum of its clock.
    BelowQuanta {
        /// Median of the base.
        base: Nanos,
        /// Quantum, of which [`QUANTA`] are needed.
        quantum: Quantum,
    },
    /// There are too few values.
    TooFew {
        /// Number of values on the smaller side.
        have: usize,
        /// Number of values needed on both sides.
        need: usize,
    },
}

impl Quantum {
    /// Returns the refusal to divide by `base`, in nanoseconds; `None` if it is
    /// long enough, or if there are no values.
    #[must_use]
    pub(crate) fn check_base(self, base: &[f64]) -> Option<RatioRefusal> {
        let middle = median(&sort_ascending(base))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "what was measured is a count of at most 2^53"
        )]
        let base = Nanos(middle.max(0.0) as u64);
        let least = self.span.0.saturating_mul(QUANTA);
        (base.0 < least).then_some(RatioRefusal::BelowQuanta { base, quantum: self })
    }
}

impl fmt::Display for RatioRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BelowQuanta { base, quantum: Quantum { span, origin: of } } => {
                write!(f, "no ratio: {base} < {QUANTA} x {span} ({of})")
            }
            Self::TooFew { have: 0, .. } => f.write_str("one side or both have no figure"),
            Self::TooFew { have, need } => {
                write!(f, "too few runs to say: {have}, and {need} are needed")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Confidence, Verdict, compare_times, ratio_with_interval};
    use super::*;

    const CLOCK: Quantum = Quantum { span: Nanos(40), origin: "clock" };

    #[test]
    fn what_is_below_ten_quanta_is_no_denominator() {
        let sure = Confidence::default();
        let values = |middle: f64| -> Vec<f64> {
            (0..9).map(|at| middle + 10.0 * (f64::from(at) - 4.0)).collect()
        };
        let (short, enough, long) = (values(399.0), values(400.0), values(4_000.0));
        let refusal = RatioRefusal::BelowQuanta { base: Nanos(399), quantum: CLOCK };
        assert_eq!(ratio_with_interval(&long, &short, Some(CLOCK), sure), Err(refusal));
        assert_eq!(compare_times(&short, &long, Some(CLOCK), sure), Verdict::Refused(refusal));
        assert_eq!(refusal.to_string(), "no ratio: 399 ns < 10 x 40 ns (clock)");
        // Only the denominator counts.
        let change = ratio_with_interval(&short, &long, Some(CLOCK), sure).expect("a ratio");
        assert!((change.ratio - 399.0 / 4_000.0).abs() < 1e-12);
        let change = ratio_with_interval(&long, &enough, Some(CLOCK), sure).expect("a ratio");
        assert!((change.ratio - 10.0).abs() < 1e-12, "{change}");
        assert!(change.low < 10.0 && change.high > 10.0, "{change}");
        // Without a quantum, any base will do.
        assert!(ratio_with_interval(&long, &short, None, sure).is_ok());
    }

    #[test]
    fn nothing_over_nothing_is_refused_too() {
        let sure = Confidence::default();
        let nothing = [0.0; 8];
        assert!(matches!(
            compare_times(&nothing, &nothing, Some(CLOCK), sure),
            Verdict::Refused(RatioRefusal::BelowQuanta { base: Nanos(0), .. })
        ));
        let none = RatioRefusal::TooFew { have: 0, need: 6 };
        assert_eq!(ratio_with_interval(&nothing, &[], Some(CLOCK), sure), Err(none));
        assert!(matches!(compare_times(&[], &nothing, Some(CLOCK), sure), Verdict::TooFew { .. }));
    }
}
