//! CPU time and cycles over time, at several resolutions, in fixed space.

use std::collections::VecDeque;

use cyclometer_core::units::Nanos;

/// Time spans of one point, from the finest resolution to the coarsest.
pub const SPANS: [Nanos; 6] = [
    Nanos(100_000_000),
    Nanos(500_000_000),
    Nanos(2_000_000_000),
    Nanos(10_000_000_000),
    Nanos(60_000_000_000),
    Nanos(300_000_000_000),
];

/// Number of points that are kept of each resolution; of the coarsest: a day
/// and a half.
pub const KEPT: usize = 432;

/// Usage in a span of time; `None`: not all of it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// CPU time, in nanoseconds.
    pub cpu: Option<u64>,
    /// Cycles, or ticks where there is no cycle counter.
    pub cycles: Option<u64>,
}

impl Point {
    /// Nothing ran.
    const SILENCE: Self = Self { cpu: Some(0), cycles: Some(0) };

    /// Adds the usage of another point of the same time.
    #[must_use]
    pub fn combined_with(self, other: Self) -> Self {
        Self {
            cpu: sum_if_known(self.cpu, other.cpu),
            cycles: sum_if_known(self.cycles, other.cycles),
        }
    }
}

/// Moments up to which a chart holds the usage of the running invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChartedUntil {
    /// Moment for CPU time.
    pub cpu: Nanos,
    /// Moment for cycles.
    pub cycles: Nanos,
}

/// Points of one resolution.
#[derive(Debug, Clone, Default)]
struct ResolutionSeries {
    points: VecDeque<Point>,
    /// Number of the newest point, counted from the start of the chart.
    newest: u64,
}

/// Chart of a cell's use of the machine over time.
#[derive(Debug, Clone)]
pub struct Chart {
    began: Nanos,
    series: [ResolutionSeries; SPANS.len()],
}

impl ResolutionSeries {
    fn point_mut(&mut self, number: u64) -> Option<&mut Point> {
        if self.points.is_empty() {
            self.points.push_back(Point::SILENCE);
            self.newest = number;
        }
        while self.newest < number {
            // After a long silence every point that is kept is silent.
            if number - self.newest > KEPT as u64 {
                self.points.clear();
                self.points.resize(KEPT, Point::SILENCE);
                self.newest = number;
                break;
            }
            self.newest += 1;
            self.points.push_back(Point::SILENCE);
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
    /// Creates a chart without usage since `began`.
    #[must_use]
    pub fn new(began: Nanos) -> Self {
        Self { began, series: std::array::from_fn(|_| ResolutionSeries::default()) }
    }

    /// Distributes usage evenly over the time between two moments. Usage that
    /// was not measured (`None`) makes a gap.
    pub(crate) fn add_usage(
        &mut self,
        from: Nanos,
        to: Nanos,
        cpu: Option<u64>,
        cycles: Option<u64>,
    ) {
        let (from, to) = (from.saturating_since(self.began).0, to.saturating_since(self.began).0);
        for (series, span) in self.series.iter_mut().zip(SPANS) {
            distribute_usage(series, span.0, (from, to.max(from)), cpu, cycles);
        }
    }

    /// Returns the newest `count` columns, each the sum of `times` points of a
    /// resolution; the newest column may not be full yet. A column before the
    /// chart began is `None`; the sum is unknown where a part of it is unknown.
    #[must_use]
    pub fn column_points(
        &self,
        (resolution, times): (usize, u64),
        now: Nanos,
        count: usize,
        known: Option<ChartedUntil>,
    ) -> Vec<Option<Point>> {
        let resolution = resolution.min(SPANS.len() - 1);
        let times = times.max(1);
        let newest = now.saturating_since(self.began).0 / SPANS[resolution].0;
        let in_newest = usize::try_from(newest % times + 1).unwrap_or(1);
        let wide = usize::try_from(times).unwrap_or(1);
        let fine =
            self.newest_points(resolution, now, count.saturating_sub(1) * wide + in_newest, known);
        let (full, growing) = fine.split_at(fine.len() - in_newest.min(fine.len()));
        full.chunks(wide).chain([growing]).map(sum_points).collect()
    }

    /// Returns the newest `count` points of a resolution up to now, oldest
    /// first; `None` before the chart began. While something runs, points of
    /// which less than half is `known` are unknown.
    #[must_use]
    pub fn newest_points(
        &self,
        resolution: usize,
        now: Nanos,
        count: usize,
        known: Option<ChartedUntil>,
    ) -> Vec<Option<Point>> {
        let resolution = resolution.min(SPANS.len() - 1);
        let (series, span) = (&self.series[resolution], SPANS[resolution]);
        let newest = now.saturating_since(self.began).0 / span.0;
        (0..count as u64)
            .rev()
            .map(|back| {
                let number = newest.checked_sub(back)?;
                let point = series.newest.checked_sub(number).and_then(|behind| {
                    let at = series.points.len().checked_sub(usize::try_from(behind).ok()? + 1)?;
                    series.points.get(at).copied()
                });
                // Nothing was used between the last event and now.
                let mut point = point.unwrap_or(Point::SILENCE);
                if let Some(known) = known {
                    let middle = number * span.0 + span.0 / 2;
                    let is_known = |until: Nanos| until.saturating_since(self.began).0 >= middle;
                    point.cpu = point.cpu.filter(|_| is_known(known.cpu));
                    point.cycles = point.cycles.filter(|_| is_known(known.cycles));
                }
                Some(point)
            })
            .collect()
    }
}

/// Sums the points that exist.
fn sum_points(points: &[Option<Point>]) -> Option<Point> {
    points.iter().flatten().copied().reduce(Point::combined_with)
}

/// Distributes a sum evenly over the points between two moments; the last point
/// gets what rounding leaves.
fn distribute_usage(
    series: &mut ResolutionSeries,
    span: u64,
    (from, to): (u64, u64),
    cpu: Option<u64>,
    cycles: Option<u64>,
) {
    let (first, last) = (from / span, to / span);
    // Longer than all that is kept: only the end can be seen.
    let first = first.max(last.saturating_sub(KEPT as u64));
    let length = (to - from).max(1);
    let (mut cpu_left, mut cycles_left) = (cpu, cycles);
    for number in first..=last {
        let inside = ((number + 1) * span).min(to).saturating_sub((number * span).max(from));
        let end = number == last;
        let part = |whole: Option<u64>, left: &mut Option<u64>| {
            let (whole, rest) = (whole?, left.as_mut()?);
            let exact = u128::from(whole) * u128::from(inside) / u128::from(length);
            let here = u64::try_from(exact).unwrap_or(whole).min(*rest);
            let here = if end { *rest } else { here };
            *rest -= here;
            Some(here)
        };
        let (cpu, cycles) = (part(cpu, &mut cpu_left), part(cycles, &mut cycles_left));
        if let Some(point) = series.point_mut(number) {
            point.cpu = sum_if_known(point.cpu, cpu);
            point.cycles = sum_if_known(point.cycles, cycles);
        }
    }
}

/// Adds two values; the sum is unknown if either part is.
fn sum_if_known(sum: Option<u64>, part: Option<u64>) -> Option<u64> {
    Some(sum?.saturating_add(part?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn cpu(chart: &Chart, resolution: usize, now: u64, count: usize) -> Vec<Option<u64>> {
        let points = chart.newest_points(resolution, Nanos(now * MS), count, None);
        points.into_iter().map(|point| point.and_then(|it| it.cpu).map(|it| it / MS)).collect()
    }

    #[test]
    fn use_is_spread_over_the_time_it_took() {
        let mut chart = Chart::new(Nanos(0));
        // 150 ms of CPU from 50 ms to 350 ms: half a CPU.
        chart.add_usage(Nanos(50 * MS), Nanos(350 * MS), Some(150 * MS), Some(100));
        assert_eq!(cpu(&chart, 0, 350, 4), [Some(25), Some(50), Some(50), Some(25)]);
        assert_eq!(cpu(&chart, 1, 350, 1), [Some(150)]);
        // A sixth, two thirds and a sixth of 100; the last point gets what
        // rounding leaves.
        let cycles = cycles(&chart, 350, 4, None);
        assert_eq!(cycles, [Some(16), Some(33), Some(33), Some(18)], "nothing is lost");
    }

    fn cycles(
        chart: &Chart,
        now: u64,
        count: usize,
        known: Option<ChartedUntil>,
    ) -> Vec<Option<u64>> {
        let points = chart.newest_points(0, Nanos(now * MS), count, known);
        points.into_iter().map(|point| point.and_then(|it| it.cycles)).collect()
    }

    #[test]
    fn what_was_not_measured_is_a_gap_and_never_0() {
        let mut chart = Chart::new(Nanos(0));
        chart.add_usage(Nanos(0), Nanos(90 * MS), Some(10 * MS), Some(7));
        chart.add_usage(Nanos(110 * MS), Nanos(290 * MS), None, Some(8));
        // The other half of this point is unknown.
        chart.add_usage(Nanos(210 * MS), Nanos(220 * MS), Some(5 * MS), None);
        assert_eq!(cpu(&chart, 0, 399, 4), [Some(10), None, None, Some(0)]);
        assert_eq!(cycles(&chart, 399, 4, None), [Some(7), Some(4), None, Some(0)]);
    }

    #[test]
    fn what_still_runs_is_known_as_far_as_it_was_sampled() {
        let mut chart = Chart::new(Nanos(0));
        chart.add_usage(Nanos(0), Nanos(180 * MS), Some(180 * MS), Some(0));
        let known = Some(ChartedUntil { cpu: Nanos(180 * MS), cycles: Nanos(20 * MS) });
        let points = chart.newest_points(0, Nanos(350 * MS), 4, known);
        let shown: Vec<_> = points.iter().flatten().map(|it| it.cpu.map(|it| it / MS)).collect();
        assert_eq!(shown, [Some(100), Some(80), None, None]);
        assert_eq!(cycles(&chart, 350, 4, known), [None; 4]);
    }

    #[test]
    fn before_the_start_there_is_nothing_and_after_the_last_event_silence() {
        let mut chart = Chart::new(Nanos(1_000 * MS));
        chart.add_usage(Nanos(1_000 * MS), Nanos(1_100 * MS - 1), Some(60 * MS), Some(0));
        assert_eq!(cpu(&chart, 0, 1_350, 5), [None, Some(60), Some(0), Some(0), Some(0)]);
    }

    #[test]
    fn columns_add_up_points_and_begin_at_multiples() {
        let mut chart = Chart::new(Nanos(0));
        // 10 ms of CPU in each of the points 0 to 6; point 7 is unknown.
        for point in 0..7 {
            chart.add_usage(
                Nanos(point * 100 * MS),
                Nanos(point * 100 * MS + 50 * MS),
                Some(10),
                None,
            );
        }
        chart.add_usage(Nanos(710 * MS), Nanos(720 * MS), None, Some(0));
        let columns = chart.column_points((0, 3), Nanos(750 * MS), 4, None);
        let cpu: Vec<_> = columns.iter().map(|point| point.map(|point| point.cpu)).collect();
        // Points 0 to 2, 3 to 5, and 6 with 7; before them there was nothing.
        assert_eq!(cpu, [None, Some(Some(30)), Some(Some(30)), Some(None)]);
    }

    #[test]
    fn space_is_fixed() {
        let mut chart = Chart::new(Nanos(0));
        for second in 0..100_000_u64 {
            let from = Nanos(second * 1_000 * MS);
            chart.add_usage(from, Nanos(from.0 + 500 * MS), Some(500 * MS), Some(1));
        }
        assert!(chart.series.iter().all(|series| series.points.len() <= KEPT));
        // Every second has half a second of CPU; a point of 10 s has five.
        assert_eq!(cpu(&chart, 3, 99_999_000, 2)[0], Some(5_000));
        chart.add_usage(Nanos(u64::MAX / 2), Nanos(u64::MAX / 2), Some(1), None);
        assert!(chart.series.iter().all(|series| series.points.len() <= KEPT));
    }

    #[test]
    fn a_late_event_falls_into_its_own_time() {
        let mut chart = Chart::new(Nanos(0));
        chart.add_usage(Nanos(900 * MS), Nanos(999 * MS), Some(90 * MS), Some(0));
        chart.add_usage(Nanos(800 * MS), Nanos(899 * MS), Some(10 * MS), Some(0));
        assert_eq!(cpu(&chart, 0, 999, 2), [Some(0), Some(90)], "what is gone is gone");
        chart.add_usage(Nanos(950 * MS), Nanos(960 * MS), Some(5 * MS), Some(0));
        assert_eq!(cpu(&chart, 0, 999, 1), [Some(95)]);
    }
}
