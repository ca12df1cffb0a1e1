//! Verdicts: the result of a comparison, and its wording.

use std::fmt;

use super::ratio_limits::RatioRefusal;

/// Fewest runs on either side for which a verdict is given: with five against
/// five, all of one side above all of the other happens by chance in almost one
/// of a hundred comparisons.
pub const LEAST_RUNS: usize = 6;

/// Confidence of a verdict `lower` or `higher`: at 0.99, it is wrong once in a
/// hundred comparisons of things that do not differ.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Confidence(f64);

impl Confidence {
    /// Creates a confidence between one half and 0.999, else `None`.
    #[must_use]
    pub fn new(share: f64) -> Option<Self> {
        (0.5..=0.999).contains(&share).then_some(Self(share))
    }

    /// Returns the confidence as a share: 0.99.
    #[must_use]
    pub const fn share(self) -> f64 {
        self.0
    }
}

impl Default for Confidence {
    fn default() -> Self {
        Self(0.99)
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Prints 99 and 99.9, not 99.00 and 99.90000000000001.
        let text = format!("{:.2}", self.0 * 100.0);
        write!(f, "{} %", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// Second side of a comparison as a multiple of the first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// The multiple itself; infinite where the first side is 0.
    pub ratio: f64,
    /// Lower end of its interval.
    pub low: f64,
    /// Upper end of its interval.
    pub high: f64,
    /// Confidence of the interval.
    pub confidence: Confidence,
}

/// Result of comparing two sets of measurements: the second against the first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// All values of both sides are one and the same.
    Identical {
        /// Number of values on both sides together.
        runs: usize,
    },
    /// Each side has one value in all its runs, and the two are not the same.
    /// Certain, but without spread it is unknown what determines the value: the
    /// function, or one worker that all of a side's runs share.
    WithoutSpread {
        /// The second value as a multiple of the first.
        ratio: f64,
    },
    /// The second side is lower.
    Lower(Change),
    /// The second side is higher.
    Higher(Change),
    /// The interval contains 1: there may be no difference, or one that is
    /// smaller than the interval.
    NoDifferenceShown(Change),
    /// The first side is too small to be divided by.
    Refused(RatioRefusal),
    /// There are too few runs to say anything.
    TooFew {
        /// Number of runs on the smaller side.
        have: usize,
        /// Number of runs needed on both sides.
        need: usize,
    },
}

impl Verdict {
    /// Derives the verdict from an interval.
    #[must_use]
    pub fn from_change(change: Change) -> Self {
        if change.high < 1.0 {
            Self::Lower(change)
        } else if change.low > 1.0 {
            Self::Higher(change)
        } else {
            Self::NoDifferenceShown(change)
        }
    }

    /// Returns a name of one or two words, for programs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Identical { .. } => "identical",
            Self::WithoutSpread { ratio } if *ratio < 1.0 => "lower",
            Self::Lower(_) => "lower",
            Self::WithoutSpread { .. } | Self::Higher(_) => "higher",
            Self::NoDifferenceShown(_) => "no difference shown",
            Self::Refused(_) => "refused",
            Self::TooFew { .. } => "too few",
        }
    }

    /// Returns the second side as a multiple of the first, where that can be
    /// said.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        match self {
            Self::Identical { .. } => Some(1.0),
            Self::WithoutSpread { ratio } => Some(*ratio),
            _ => self.change().map(|change| change.ratio),
        }
    }

    /// Returns the ratio and its interval, where there is one.
    #[must_use]
    pub const fn change(&self) -> Option<&Change> {
        match self {
            Self::Lower(change) | Self::Higher(change) | Self::NoDifferenceShown(change) => {
                Some(change)
            }
            Self::Identical { .. }
            | Self::WithoutSpread { .. }
            | Self::Refused(_)
            | Self::TooFew { .. } => None,
        }
    }

    /// Returns whether a difference is shown, by an interval that leaves out 1.
    #[must_use]
    pub const fn is_different(&self) -> bool {
        matches!(self, Self::Lower(_) | Self::Higher(_))
    }
}

/// Formats a share in per cent, with more digits the smaller it is and without
/// a sign: `12.3`.
pub(super) fn format_percent(share: f64) -> String {
    let percent = (share * 100.0).abs();
    match percent {
        _ if percent < 0.0005 => "0".to_owned(),
        _ if percent < 0.1 => format!("{percent:.3}"),
        _ if percent < 1.0 => format!("{percent:.2}"),
        _ if percent < 99.95 => format!("{percent:.1}"),
        _ => format!("{percent:.0}"),
    }
}

/// Formats a change with its sign: `+0.8 %`.
fn format_signed(ratio: f64) -> String {
    let change = ratio - 1.0;
    if ratio.is_infinite() {
        return "no bound".to_owned();
    }
    let text = format_percent(change);
    let sign = match text.as_str() {
        "0" => "",
        _ if change > 0.0 => "+",
        _ => "-",
    };
    format!("{sign}{text} %")
}

fn format_multiple(ratio: f64) -> String {
    if ratio.is_infinite() { "no bound".to_owned() } else { format!("{ratio:.2}x") }
}

/// Describes a change in words: `12.3 % lower`.
fn describe_change(ratio: f64) -> String {
    if ratio.is_infinite() {
        return "higher than nothing".to_owned();
    }
    // From twice as much on, per cent are hard to read.
    if ratio >= 2.0 {
        return format!("{} as much", format_multiple(ratio));
    }
    let word = if ratio < 1.0 { "lower" } else { "higher" };
    format!("{} % {word}", format_percent(ratio - 1.0))
}

impl fmt::Display for Change {
    /// Writes the ratio and its interval: `1.043x [1.021x, 1.066x]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |ratio: f64| match ratio {
            _ if ratio.is_infinite() => "no bound".to_owned(),
            _ if ratio < 10.0 => format!("{ratio:.3}x"),
            _ => format!("{ratio:.1}x"),
        };
        f.pad(&format!("{} [{}, {}]", told(self.ratio), told(self.low), told(self.high)))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identical { runs } => write!(f, "identical in all {runs} runs"),
            Self::WithoutSpread { ratio } => {
                write!(f, "{}, without spread", describe_change(*ratio))
            }
            Self::Refused(refusal) => write!(f, "{refusal}"),
            Self::TooFew { have: 0, .. } => f.write_str("one side or both have no figure"),
            Self::TooFew { have, need } => {
                write!(f, "too few runs to say: {have}, and {need} are needed")
            }
            Self::NoDifferenceShown(change) => {
                write!(
                    f,
                    "no difference shown [{}, {}]",
                    format_signed(change.low),
                    format_signed(change.high)
                )
            }
            Self::Lower(Change { ratio, low, high, confidence }) => {
                let (least, most) = (format_percent(1.0 - high), format_percent(1.0 - low));
                write!(f, "{} [{least} %, {most} %], {confidence} sure", describe_change(*ratio))
            }
            Self::Higher(Change { ratio, confidence, .. }) if ratio.is_infinite() => {
                write!(f, "{}, {confidence} sure", describe_change(*ratio))
            }
            Self::Higher(Change { ratio, low, high, confidence }) if *ratio >= 2.0 => {
                let (least, most) = (format_multiple(*low), format_multiple(*high));
                write!(f, "{} [{least}, {most}], {confidence} sure", describe_change(*ratio))
            }
            Self::Higher(Change { ratio, low, high, confidence }) => {
                let (least, most) = (format_percent(low - 1.0), format_signed(*high));
                let most = most.trim_start_matches('+');
                write!(f, "{} [{least} %, {most}], {confidence} sure", describe_change(*ratio))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(ratio: f64, low: f64, high: f64) -> String {
        let confidence = Confidence::default();
        Verdict::from_change(Change { ratio, low, high, confidence }).to_string()
    }

    #[test]
    fn verdicts_read_as_sentences() {
        assert_eq!(told(0.877, 0.848, 0.909), "12.3 % lower [9.1 %, 15.2 %], 99 % sure");
        assert_eq!(told(1.05, 1.008, 1.5), "5.0 % higher [0.80 %, 50.0 %], 99 % sure");
        assert_eq!(told(1.0, 0.988, 1.008), "no difference shown [-1.2 %, +0.80 %]");
        assert_eq!(told(1.0, 1.0, 1.0), "no difference shown [0 %, 0 %]");
        assert_eq!(told(1.0, 0.999_999_9, 1.0001), "no difference shown [0 %, +0.010 %]");
        assert_eq!(told(3.4, 3.31, 3.52), "3.40x as much [3.31x, 3.52x], 99 % sure");
        assert_eq!(told(1.2, 1.1, f64::INFINITY), "20.0 % higher [10.0 %, no bound], 99 % sure");
        let infinite = f64::INFINITY;
        assert_eq!(told(infinite, infinite, infinite), "higher than nothing, 99 % sure");
        assert_eq!(told(0.0, 0.0, 0.0), "100 % lower [100 %, 100 %], 99 % sure");
        assert_eq!(told(0.9996, 0.9995, 0.9997), "0.040 % lower [0.030 %, 0.050 %], 99 % sure");
        assert_eq!(
            Verdict::TooFew { have: 3, need: 6 }.to_string(),
            "too few runs to say: 3, and 6 are needed"
        );
        let apart = |ratio| Verdict::WithoutSpread { ratio }.to_string();
        assert_eq!(apart(1.058), "5.8 % higher, without spread");
        assert_eq!(apart(0.5), "50.0 % lower, without spread");
        assert_eq!(Verdict::Identical { runs: 60 }.to_string(), "identical in all 60 runs");
    }

    #[test]
    fn an_interval_that_touches_one_shows_nothing() {
        assert!(told(1.01, 1.0, 1.02).starts_with("no difference"));
        assert!(told(0.99, 0.98, 1.0).starts_with("no difference"));
    }

    #[test]
    fn confidence_is_a_share_and_reads_as_per_cent() {
        assert_eq!(Confidence::new(0.999).map(|it| it.to_string()).as_deref(), Some("99.9 %"));
        assert_eq!(Confidence::new(0.9).map(|it| it.to_string()).as_deref(), Some("90 %"));
        for nonsense in [0.0, 0.4, 0.9999, 1.0, 99.0, f64::NAN] {
            assert_eq!(Confidence::new(nonsense), None, "{nonsense}");
        }
    }
}
