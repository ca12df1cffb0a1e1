//! CPU time and cycles over time, at several resolutions, in fixed space.

use std::collections::VecDeque;

use crate::units::Nanos;

/// Time that one point stands for, from the finest.
pub const SPANS: [Nanos; 6] = [
    Nanos(100_000_000),
    Nanos(500_000_000),
    Nanos(2_000_000_000),
    Nanos(10_000_000_000),
    Nanos(60_000_000_000),
    Nanos(300_000_000_000),
];

/// Points that are kept of each resolution; of the coarsest: a day and a half.
const KEPT: usize = 432;

/// What was used in a span of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Point {
    /// CPU time, in nanoseconds.
    pub cpu: u64,
    /// Cycles, or ticks where there is no cycle counter.
    pub cycles: u64,
    /// The largest memory seen, in bytes.
    pub memory: u64,
    /// Invocations that ended.
    pub ended: u64,
}

/// One resolution.
#[derive(Debug, Clone, Default)]
struct Series {
    points: VecDeque<Point>,
    /// The number of the newest point, counted from the start of the chart.
    newest: u64,
}

/// A lane's use of the machine over time.
#[derive(Debug, Clone)]
pub struct Chart {
    began: Nanos,
    series: [Series; SPANS.len()],
}

impl Series {
    fn at(&mut self, number: u64) -> Option<&mut Point> {
        if self.points.is_empty() {
            self.points.push_back(Point::default());
            self.newest = number;
        }
        while self.newest < number {
            // After a long silence all that is kept is silence.
            if number - self.newest > KEPT as u64 {
                self.points.clear();
                self.points.resize(KEPT, Point::default());
                self.newest = number;
                break;
            }
            self.newest += 1;
            self.points.push_back(Point::default());
            if self.points.len() > KEPT {
                self.points.pop_front();
            }
        }
        let back = usize::try_from(self.newest - number).ok()?;
        let at = self.points.len().checked_sub(back + 1)?;
        self.points.get_mut(at)
    }
}

impl Chart {
    /// Nothing used since `began`.
    #[must_use]
    pub fn new(began: Nanos) -> Self {
        Self { began, series: std::array::from_fn(|_| Series::default()) }
    }

    /// Spreads what was used between two moments evenly over that time.
    pub fn spread(&mut self, from: Nanos, to: Nanos, cpu: u64, cycles: u64, memory: u64) {
        let (from, to) = (from.since(self.began).0, to.since(self.began).0);
        for (series, span) in self.series.iter_mut().zip(SPANS) {
            spread(series, span.0, (from, to.max(from)), cpu, cycles, memory);
        }
    }

    /// Counts an invocation that ended.
    pub fn ended(&mut self, at: Nanos) {
        let at = at.since(self.began).0;
        for (series, span) in self.series.iter_mut().zip(SPANS) {
            if let Some(point) = series.at(at / span.0) {
                point.ended += 1;
            }
        }
    }

    /// The newest `count` points of a resolution up to now, oldest first;
    /// `None` before the chart began.
    #[must_use]
    pub fn last(&self, resolution: usize, now: Nanos, count: usize) -> Vec<Option<Point>> {
        let resolution = resolution.min(SPANS.len() - 1);
        let (series, span) = (&self.series[resolution], SPANS[resolution]);
        let newest = now.since(self.began).0 / span.0;
        (0..count as u64)
            .rev()
            .map(|back| {
                let number = newest.checked_sub(back)?;
                let point = series.newest.checked_sub(number).and_then(|behind| {
                    let at = series.points.len().checked_sub(usize::try_from(behind).ok()? + 1)?;
                    series.points.get(at).copied()
                });
                // Between the last event and now nothing was used.
                Some(point.unwrap_or_default())
            })
            .collect()
    }
}

/// Even parts of a sum over the points between two moments; what rounding
/// leaves goes to the last.
fn spread(
    series: &mut Series,
    span: u64,
    (from, to): (u64, u64),
    cpu: u64,
    cycles: u64,
    memory: u64,
) {
    let (first, last) = (from / span, to / span);
    // Longer than all that is kept: the end is what can be seen.
    let first = first.max(last.saturating_sub(KEPT as u64));
    let length = (to - from).max(1);
    let (mut cpu_left, mut cycles_left) = (cpu, cycles);
    for number in first..=last {
        let inside = ((number + 1) * span).min(to).saturating_sub((number * span).max(from));
        let part = |whole: u64| {
            let exact = u128::from(whole) * u128::from(inside) / u128::from(length);
            u64::try_from(exact).unwrap_or(whole)
        };
        let end = number == last;
        let cpu_here = if end { cpu_left } else { part(cpu).min(cpu_left) };
        let cycles_here = if end { cycles_left } else { part(cycles).min(cycles_left) };
        cpu_left -= cpu_here;
        cycles_left -= cycles_here;
        if let Some(point) = series.at(number) {
            point.cpu += cpu_here;
            point.cycles += cycles_here;
            point.memory = point.memory.max(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn cpu(chart: &Chart, resolution: usize, now: u64, count: usize) -> Vec<Option<u64>> {
        let points = chart.last(resolution, Nanos(now * MS), count);
        points.into_iter().map(|point| point.map(|point| point.cpu / MS)).collect()
    }

    #[test]
    fn use_is_spread_over_the_time_it_took() {
        let mut chart = Chart::new(Nanos(0));
        // 150 ms of CPU from 50 ms to 350 ms: half a CPU.
        chart.spread(Nanos(50 * MS), Nanos(350 * MS), 150 * MS, 300, 7);
        assert_eq!(cpu(&chart, 0, 350, 4), [Some(25), Some(50), Some(50), Some(25)]);
        assert_eq!(cpu(&chart, 1, 350, 1), [Some(150)]);
        let points = chart.last(0, Nanos(350 * MS), 4);
        let cycles: u64 = points.iter().flatten().map(|point| point.cycles).sum();
        assert_eq!(cycles, 300, "nothing is lost by rounding");
        assert_eq!(points[3].map(|point| point.memory), Some(7));
    }

    #[test]
    fn before_the_start_there_is_nothing_and_after_the_last_event_silence() {
        let mut chart = Chart::new(Nanos(1_000 * MS));
        chart.spread(Nanos(1_000 * MS), Nanos(1_100 * MS - 1), 60 * MS, 0, 0);
        assert_eq!(cpu(&chart, 0, 1_350, 5), [None, Some(60), Some(0), Some(0), Some(0)]);
    }

    #[test]
    fn space_is_fixed() {
        let mut chart = Chart::new(Nanos(0));
        for second in 0..100_000_u64 {
            let from = Nanos(second * 1_000 * MS);
            chart.spread(from, Nanos(from.0 + 500 * MS), 500 * MS, 1, 1);
        }
        assert!(chart.series.iter().all(|series| series.points.len() <= KEPT));
        // Every second has half a second of CPU; a point of 10 s has five.
        assert_eq!(cpu(&chart, 3, 99_999_000, 2)[0], Some(5_000));
        chart.ended(Nanos(u64::MAX / 2));
        assert!(chart.series.iter().all(|series| series.points.len() <= KEPT));
    }

    #[test]
    fn a_late_event_falls_into_its_own_time() {
        let mut chart = Chart::new(Nanos(0));
        chart.spread(Nanos(900 * MS), Nanos(999 * MS), 90 * MS, 0, 0);
        chart.spread(Nanos(800 * MS), Nanos(899 * MS), 10 * MS, 0, 0);
        assert_eq!(cpu(&chart, 0, 999, 2), [Some(0), Some(90)], "what is gone is gone");
        chart.spread(Nanos(950 * MS), Nanos(960 * MS), 5 * MS, 0, 0);
        assert_eq!(cpu(&chart, 0, 999, 1), [Some(95)]);
    }
}
