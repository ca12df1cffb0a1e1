//! Choice of a memory size from measured times and costs.
//!
//! Only sizes that leave head-room above the measured peak are candidates. Of these, the cheapest
//! has the lowest mean cost, the fastest the lowest median time, and the balanced one the lowest
//! score: half its cost as a share of the highest, and half its time as a share of the longest.
//! That is the rule of AWS Lambda Power Tuning (`strategy: balanced` with its default weight,
//! <https://github.com/alexcasalboni/aws-lambda-power-tuning>, `lambda/analyzer.js`).

use cyclometer_core::units::Bytes;

/// Figure with the ends of its interval, where there are enough values for one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// The figure itself.
    pub value: f64,
    /// Lower and upper end of its interval.
    pub ends: Option<(f64, f64)>,
}

impl Figure {
    /// Returns whether the interval has a value in common with another one; `None` where one of
    /// them has no interval.
    fn overlaps(&self, other: &Self) -> Option<bool> {
        let ((low, high), (other_low, other_high)) = (self.ends?, other.ends?);
        Some(low <= other_high && other_low <= high)
    }

    /// Returns the figure as a share of `whole`; nothing is a share of nothing.
    fn as_share_of(&self, whole: f64) -> Self {
        let share = |value: f64| if whole > 0.0 { value / whole } else { 0.0 };
        Self {
            value: share(self.value),
            ends: self.ends.map(|(low, high)| (share(low), share(high))),
        }
    }

    fn mean_with(&self, other: &Self) -> Self {
        let ends = self.ends.zip(other.ends);
        Self {
            value: f64::midpoint(self.value, other.value),
            ends: ends.map(|(one, two)| (f64::midpoint(one.0, two.0), f64::midpoint(one.1, two.1))),
        }
    }
}

/// Size that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Memory of the function.
    pub memory: Bytes,
    /// Median time in nanoseconds.
    pub time: Figure,
    /// Mean cost of a million.
    pub cost: Figure,
}

/// Size that was chosen, and those that it cannot be told apart from.
#[derive(Debug, Clone, PartialEq)]
pub struct Pick {
    /// Position of the size among the candidates.
    pub best: usize,
    /// Positions of the other sizes whose intervals overlap with its own, in the order of the
    /// candidates; `None` if one of the figures has no interval, so that nothing can be said.
    pub alike: Option<Vec<usize>>,
    /// Figure by which it was chosen: the cost, the time, or the score.
    pub figure: Figure,
}

/// Three choices among the sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Lowest mean cost; of equal ones the fastest, then the smallest.
    pub cheapest: Pick,
    /// Lowest median time; of equal ones the cheapest, then the smallest.
    pub fastest: Pick,
    /// Lowest score; of equal ones the cheapest, then the smallest.
    pub balanced: Pick,
}

/// Chooses among `candidates`; `None` if there is none.
#[must_use]
pub fn choose_sizes(candidates: &[Candidate]) -> Option<Choice> {
    let most = |of: fn(&Candidate) -> f64| candidates.iter().map(of).fold(0.0, f64::max);
    let (dearest, slowest) = (most(|it| it.cost.value), most(|it| it.time.value));
    let score =
        |it: &Candidate| it.cost.as_share_of(dearest).mean_with(&it.time.as_share_of(slowest));
    Some(Choice {
        cheapest: pick_lowest(candidates, |it| it.cost, |it| it.time.value)?,
        fastest: pick_lowest(candidates, |it| it.time, |it| it.cost.value)?,
        balanced: pick_lowest(candidates, score, |it| it.cost.value)?,
    })
}

/// Picks the candidate with the lowest figure; of equal ones that with the lowest `second`, then
/// the smallest.
fn pick_lowest(
    candidates: &[Candidate],
    figure: impl Fn(&Candidate) -> Figure,
    second: impl Fn(&Candidate) -> f64,
) -> Option<Pick> {
    let (best, chosen) = candidates.iter().enumerate().min_by(|(_, one), (_, other)| {
        let by_figure = figure(one).value.total_cmp(&figure(other).value);
        by_figure
            .then_with(|| second(one).total_cmp(&second(other)))
            .then_with(|| one.memory.cmp(&other.memory))
    })?;
    let own = figure(chosen);
    let others = candidates.iter().enumerate().filter(|(at, _)| *at != best);
    let overlaps: Option<Vec<(usize, bool)>> =
        others.map(|(at, other)| Some((at, own.overlaps(&figure(other))?))).collect();
    let alike = overlaps
        .map(|all| all.into_iter().filter(|(_, overlap)| *overlap).map(|(at, _)| at).collect());
    // A single size is its own choice, but how well its figure is known is still not known.
    Some(Pick { best, alike: alike.filter(|_| own.ends.is_some()), figure: own })
}

/// Returns the least memory with `head_room` above `peak`, in thousandths of the peak.
#[must_use]
pub fn least_memory(peak: Bytes, head_room: u32) -> Bytes {
    let thousandths = u128::from(peak.0) * (1_000 + u128::from(head_room));
    Bytes(u64::try_from(thousandths.div_ceil(1_000)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn exact(value: f64) -> Figure {
        Figure { value, ends: Some((value, value)) }
    }

    fn candidate(mib: u64, time: f64, cost: f64) -> Candidate {
        Candidate { memory: Bytes(mib * MIB), time: exact(time), cost: exact(cost) }
    }

    /// Returns the sizes of the three picks, in MiB.
    fn sizes(candidates: &[Candidate]) -> [u64; 3] {
        let Choice { cheapest, fastest, balanced } = choose_sizes(candidates).expect("a choice");
        [cheapest, fastest, balanced].map(|pick| candidates[pick.best].memory.0 / MIB)
    }

    #[test]
    fn a_function_that_computes_is_balanced_in_the_middle() {
        // A second of CPU time, of which 100 ms are not faster with more CPU. By hand, with
        // $0.0000166667 a GB-s: 128 MiB 14.1 s, 512 MiB 3.6 s, 1769 MiB 1.1 s, 3008 MiB 0.7 s.
        let all = [
            candidate(128, 14.1e9, 29.375),
            candidate(512, 3.6e9, 30.0),
            candidate(1_769, 1.1e9, 31.67),
            candidate(3_008, 0.7e9, 34.27),
        ];
        // Scores: (29.375 / 34.27 + 1) / 2 = 0.9286; (0.8754 + 0.2553) / 2 = 0.5654;
        // (0.9241 + 0.0780) / 2 = 0.5011; (1 + 0.0496) / 2 = 0.5248.
        assert_eq!(sizes(&all), [128, 3_008, 1_769]);
        let choice = choose_sizes(&all).expect("a choice");
        assert!((choice.balanced.figure.value - 0.501_07).abs() < 1e-5, "{choice:?}");
        for pick in [&choice.cheapest, &choice.fastest, &choice.balanced] {
            assert_eq!(pick.alike.as_deref(), Some(&[][..]));
        }
    }

    #[test]
    fn a_function_that_waits_is_only_dearer_with_more_memory() {
        // 250 ms at each size: $0.52, $1.04 and $2.08 a million GB-s.
        let all =
            [candidate(512, 250e6, 2.08), candidate(128, 250e6, 0.52), candidate(256, 250e6, 1.04)];
        assert_eq!(sizes(&all), [128, 128, 128], "whatever the order");
        let choice = choose_sizes(&all).expect("a choice");
        // All are as fast: the cheapest of them is named, and the others with it.
        assert_eq!((choice.fastest.best, choice.fastest.alike), (1, Some(vec![0, 2])));
        assert_eq!(choice.cheapest.alike, Some(Vec::new()));
    }

    #[test]
    fn sizes_whose_intervals_overlap_are_alike() {
        let with = |mib, (low, value, high): (f64, f64, f64), cost| Candidate {
            time: Figure { value, ends: Some((low, high)) },
            ..candidate(mib, 0.0, cost)
        };
        let all = [
            with(128, (190.0, 200.0, 210.0), 1.0),
            with(256, (95.0, 100.0, 112.0), 2.0),
            with(512, (110.0, 115.0, 120.0), 3.0),
        ];
        let fastest = choose_sizes(&all).expect("a choice").fastest;
        assert_eq!((fastest.best, fastest.alike), (1, Some(vec![2])));
        // Ends that touch overlap.
        let all = [with(128, (1.0, 2.0, 3.0), 1.0), with(256, (3.0, 4.0, 5.0), 1.0)];
        assert_eq!(choose_sizes(&all).expect("a choice").fastest.alike, Some(vec![1]));
    }

    #[test]
    fn without_an_interval_nothing_is_said_to_differ() {
        let unknown =
            Candidate { time: Figure { value: 5.0, ends: None }, ..candidate(256, 0.0, 2.0) };
        let choice = choose_sizes(&[candidate(128, 9.0, 1.0), unknown]).expect("a choice");
        assert_eq!((choice.fastest.best, choice.fastest.alike), (1, None));
        assert_eq!(choice.cheapest.alike, Some(Vec::new()), "costs have intervals");
        assert_eq!(choice.balanced.alike, None);
        assert_eq!(choose_sizes(&[unknown]).expect("a choice").fastest.alike, None);
        assert_eq!(choose_sizes(&[]), None);
    }

    #[test]
    fn what_costs_nothing_is_balanced_by_time_alone() {
        let all = [candidate(128, 4.0, 0.0), candidate(256, 2.0, 0.0)];
        assert_eq!(sizes(&all), [256, 256, 256]);
    }

    #[test]
    fn head_room_is_added_to_the_peak_and_never_rounded_down() {
        assert_eq!(least_memory(Bytes(100 * MIB), 200), Bytes(120 * MIB));
        assert_eq!(least_memory(Bytes(1), 1), Bytes(2), "1.001 bytes");
        assert_eq!(least_memory(Bytes(7), 0), Bytes(7));
        assert_eq!(least_memory(Bytes(u64::MAX), 1_000), Bytes(u64::MAX));
    }
}
