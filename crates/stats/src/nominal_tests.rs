//! Error rate of the verdicts: 1,000 pairs of series that do not differ, of
//! each shape that measurements come in, for every comparison that is offered.
//!
//! Of 1,000 comparisons without a difference, 10 show one at 99 % and 50 at 95
//! %, with standard deviations of 3.1 and 6.9. The upper bounds are exceeded
//! once in a thousand at the nominal rate (binomial): 22 and 73. Without a
//! lower bound, a comparison that never says anything would pass too: so all
//! shapes and counts together must reach a third of what is allowed.

use super::bootstrap::{ALL_HALVES, mean_ratios, median_ratios, ratios_of_halves};
use super::resample::*;
use super::*;

const PAIRS: usize = 1_000;
const COUNTS: [usize; 3] = [10, 30, 50];
/// Most wrong verdicts allowed of 1,000, at 99 and 95 %.
const MOST: [usize; 2] = [22, 73];
/// Nominal number of wrong verdicts of 1,000.
const ALLOWED: [usize; 2] = [10, 50];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Normal,
    /// A long tail, and one run of twenty half as long again.
    Disturbed,
    /// Two humps a fifth apart.
    Bimodal,
    /// A clock with steps of a twentieth: many values are equal.
    Quantised,
}

const SHAPES: [Shape; 4] = [Shape::Normal, Shape::Disturbed, Shape::Bimodal, Shape::Quantised];

impl Shape {
    fn draw(self, random: &mut Random) -> f64 {
        match self {
            Self::Normal => 100.0 + 3.0 * random.next_normal(),
            Self::Disturbed => {
                let longer = if random.next_below(20) == 0 { 1.5 } else { 1.0 };
                longer * 100.0 * (0.1 * random.next_normal()).exp()
            }
            Self::Bimodal => {
                let hump = if random.next_below(2) == 0 { 100.0 } else { 120.0 };
                hump + 2.0 * random.next_normal()
            }
            Self::Quantised => (20.0 + 1.5 * random.next_normal()).round(),
        }
    }

    fn series(self, count: usize, random: &mut Random) -> Vec<f64> {
        (0..count).map(|_| self.draw(random)).collect()
    }
}

fn levels() -> [Confidence; 2] {
    [0.99, 0.95].map(|share| Confidence::new(share).expect("a share"))
}

/// Counts how many of 1,000 pairs without a difference `differs` takes for
/// different, at 99 and at 95 %, by shape and count.
fn wrong(mut differs: impl FnMut(&[f64], &[f64]) -> [bool; 2]) -> Vec<(Shape, usize, [usize; 2])> {
    let mut all = Vec::new();
    for shape in SHAPES {
        for count in COUNTS {
            let mut random = Random::from_seed(20_261_121);
            let mut wrong = [0; 2];
            for _ in 0..PAIRS {
                let first = shape.series(count, &mut random);
                let second = shape.series(count, &mut random);
                let differs = differs(&first, &second);
                for (wrong, differs) in wrong.iter_mut().zip(differs) {
                    *wrong += usize::from(differs);
                }
            }
            all.push((shape, count, wrong));
        }
    }
    all
}

/// Compares the error counts with the bounds; `tied` shapes are left out of the
/// lower bound, which they cannot reach.
fn check(all: &[(Shape, usize, [usize; 2])], tied: bool) {
    for (shape, count, wrong) in all {
        for (wrong, most) in wrong.iter().zip(MOST) {
            assert!(*wrong <= most, "{wrong} of 1000 in {count} of {shape:?}; at most {most}");
        }
    }
    for (level, allowed) in ALLOWED.iter().enumerate() {
        let counted = all.iter().filter(|(shape, ..)| !(tied && *shape == Shape::Quantised));
        let counted: Vec<usize> = counted.map(|(_, _, wrong)| wrong[level]).collect();
        let (sum, expected) = (counted.iter().sum::<usize>(), counted.len() * allowed);
        assert!(
            sum * 3 > expected,
            "{sum} of {expected} that are allowed: it hardly says anything"
        );
    }
}

/// Returns whether intervals of those ratios leave out 1: no more than so many
/// of them are on its other side. Where that is clear long before all are
/// drawn, no more are: after 100 random ones of which 12 are on either side,
/// the end of the interval would still be beyond 1 in 1 of 100,000 cases; after
/// 300 with 20, likewise.
fn leaves_out(ratios: impl Iterator<Item = f64>, most: [usize; 2]) -> [bool; 2] {
    let (mut drawn, mut up_to, mut from) = (0, 0, 0);
    for ratio in ratios {
        drawn += 1;
        up_to += usize::from(ratio <= 1.0);
        from += usize::from(ratio >= 1.0);
        let least = up_to.min(from);
        if (drawn == 100 && least >= 12) || (drawn == 300 && least >= 20) {
            return [false; 2];
        }
    }
    most.map(|most| up_to.min(from) <= most)
}

/// A quarter of the usual number of draws, to save time.
const DRAWN: usize = RESAMPLES / 4;

/// [`compare_medians`] and [`ratio`] behave alike here.
#[test]
fn medians_that_do_not_differ_are_told_apart_as_seldom_as_is_said() {
    let most = levels().map(|sure| floor_of_share(tail_share(sure), DRAWN));
    let all = wrong(|first, second| {
        leaves_out(median_ratios(&sort_ascending(first), &sort_ascending(second)).take(DRAWN), most)
    });
    check(&all, true);
}

#[test]
fn means_that_do_not_differ_are_told_apart_as_seldom_as_is_said() {
    let all = wrong(|first, second| {
        let most = levels().map(|sure| floor_of_share(expanded_tail(sure, first.len()), DRAWN));
        leaves_out(mean_ratios(first, second).take(DRAWN), most)
    });
    check(&all, false);
}

#[test]
fn pairs_that_do_not_differ_are_told_apart_as_seldom_as_is_said() {
    let all = wrong(|first, second| {
        let pairs: Vec<_> = first.iter().copied().zip(second.iter().copied()).collect();
        // One less than for the others is beyond: see `compare_pairs`.
        let most =
            |count: usize| levels().map(|sure| floor_of_share(tail_share(sure), count + 1) - 1);
        // All halves of few pairs come in their order, which is not random.
        let mut ratios: Vec<f64> = ratios_of_halves(&pairs).take(DRAWN + 24).collect();
        if pairs.len() > ALL_HALVES {
            ratios.truncate(DRAWN);
        } else {
            Random::from_seed(1).shuffle(&mut ratios);
        }
        leaves_out(ratios.iter().copied(), most(ratios.len()))
    });
    check(&all, false);
}

/// Checks the public functions as a whole, with fewer pairs and the fewest
/// runs.
#[test]
fn what_is_public_says_what_was_simulated() {
    let mut random = Random::from_seed(4);
    let [sure, _] = levels();
    let mut wrong = [0_usize; 4];
    for at in 0..200 {
        let shape = SHAPES[at % SHAPES.len()];
        let (first, second) = (shape.series(8, &mut random), shape.series(8, &mut random));
        let pairs: Vec<_> = first.iter().copied().zip(second.iter().copied()).collect();
        let change = ratio_with_interval(&second, &first, None, sure).expect("enough");
        let differs = [
            compare_medians(&first, &second, sure).is_different(),
            compare_means(&first, &second, sure).is_different(),
            compare_pairs(&pairs, sure).is_different(),
            change.low > 1.0 || change.high < 1.0,
        ];
        for (wrong, differs) in wrong.iter_mut().zip(differs) {
            *wrong += usize::from(differs);
        }
    }
    // 9 of 200 at 1 %: with a probability of 0.0003.
    assert!(wrong.iter().all(|wrong| *wrong < 9), "{wrong:?} of 200");
}

/// Checks that they see a real difference: nine standard errors and more.
#[test]
fn what_differs_is_told_apart() {
    let mut random = Random::from_seed(5);
    let [sure, _] = levels();
    for shape in SHAPES {
        let first = shape.series(50, &mut random);
        let second: Vec<f64> =
            shape.series(50, &mut random).iter().map(|value| value * 1.6).collect();
        let pairs: Vec<_> = first.iter().copied().zip(second.iter().copied()).collect();
        assert!(compare_medians(&first, &second, sure).is_different(), "{shape:?}");
        assert!(compare_means(&first, &second, sure).is_different(), "{shape:?}");
        assert!(compare_pairs(&pairs, sure).is_different(), "{shape:?}");
    }
}
