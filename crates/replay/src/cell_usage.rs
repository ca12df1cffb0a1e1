//! Sources around sources: one that sums up what the rows of each cell used, and one that gives
//! cells less memory than they had.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use super::usage_source::{UsageColumns, UsageRequest, UsageSource};
use super::{CellKey, RowRun};
use cyclometer_core::meter::Meter;
use cyclometer_core::units::Bytes;
use cyclometer_pricing::compile::Signal;

const WALL: Signal = Signal::Meter(Meter::Wall);
const CPU: Signal = Signal::Meter(Meter::CpuTime);
const PEAK: Signal = Signal::Meter(Meter::MemoryPeak);
const GIVEN: Signal = Signal::Meter(Meter::MemoryAllocated);

/// Sums of what the rows of some cells used. Sums of times are in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CellUsage {
    /// Number of rows.
    pub rows: u64,
    /// Number of rows with a wall time, and the sum of these times.
    pub wall: (u64, u128),
    /// Number of rows with a CPU time.
    pub cpu_rows: u64,
    /// Sum of the CPU times.
    pub cpu: u128,
    /// Sum of the wall times of the rows that have a CPU time.
    pub wall_of_cpu: u128,
    /// Number of rows with a peak of memory, and the largest peak.
    pub peak: (u64, Bytes),
    /// Smallest and largest memory that a row was given.
    pub given: Option<(Bytes, Bytes)>,
}

/// Usage of cells, by their keys.
pub type UsageByCell = BTreeMap<CellKey, CellUsage>;

impl CellUsage {
    /// Adds other rows.
    pub fn merge(&mut self, other: &Self) {
        let Self { rows, wall, cpu_rows, cpu, wall_of_cpu, peak, given } = other;
        self.rows += rows;
        self.wall = (self.wall.0 + wall.0, self.wall.1 + wall.1);
        self.cpu_rows += cpu_rows;
        self.cpu += cpu;
        self.wall_of_cpu += wall_of_cpu;
        self.peak = (self.peak.0 + peak.0, self.peak.1.max(peak.1));
        self.given = match (self.given, *given) {
            (Some(one), Some(two)) => Some((one.0.min(two.0), one.1.max(two.1))),
            (one, two) => one.or(two),
        };
    }

    /// Adds a run of rows, which have the same signals measured.
    fn add_run(&mut self, columns: &UsageColumns, run: &RowRun) {
        let values = |signal| {
            run.present.contains(signal).then(|| columns.column_values(signal, run.rows.clone()))
        };
        let sum = |values: &[u64]| values.iter().map(|value| u128::from(*value)).sum::<u128>();
        let rows = run.rows.len() as u64;
        self.rows += rows;
        let walls = values(WALL).map_or(0, sum);
        if run.present.contains(WALL) {
            self.wall = (self.wall.0 + rows, self.wall.1 + walls);
        }
        if let Some(cpu) = values(CPU).filter(|_| run.present.contains(WALL)) {
            self.cpu_rows += rows;
            self.cpu += sum(cpu);
            self.wall_of_cpu += walls;
        }
        if let Some(peak) = values(PEAK).and_then(|peaks| peaks.iter().max()) {
            self.peak = (self.peak.0 + rows, self.peak.1.max(Bytes(*peak)));
        }
        if let Some(given) = values(GIVEN)
            && let (Some(least), Some(most)) = (given.iter().min(), given.iter().max())
        {
            self.merge(&Self { given: Some((Bytes(*least), Bytes(*most))), ..Self::default() });
        }
    }
}

/// Source that sums up what the rows of another one used, cell by cell.
#[derive(Debug)]
pub struct SummedSource<'a, S> {
    inner: S,
    sums: &'a Mutex<UsageByCell>,
}

impl<'a, S> SummedSource<'a, S> {
    /// Creates a source around another one; its sums are added once it is read.
    pub const fn new(inner: S, sums: &'a Mutex<UsageByCell>) -> Self {
        Self { inner, sums }
    }
}

impl<S: UsageSource> UsageSource for SummedSource<'_, S> {
    type Error = S::Error;

    fn read_usage(
        &mut self,
        request: UsageRequest,
        take: &mut dyn FnMut(&mut UsageColumns),
    ) -> Result<(), S::Error> {
        let mut wanted = request;
        [WALL, CPU, PEAK, GIVEN].into_iter().for_each(|signal| wanted.signals.insert(signal));
        let mut cells: Vec<(CellKey, CellUsage)> = Vec::new();
        self.inner.read_usage(wanted, &mut |columns| {
            let mut next = 0;
            while let Some(run) = columns.run_from(next) {
                next = run.rows.end;
                while let Some(key) = columns.cell_key(cells.len()) {
                    cells.push((key.clone(), CellUsage::default()));
                }
                if let Some((_, usage)) = cells.get_mut(run.cell) {
                    usage.add_run(columns, &run);
                }
            }
            take(columns);
        })?;
        let mut sums = self.sums.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (key, usage) in cells {
            sums.entry(key).or_default().merge(&usage);
        }
        Ok(())
    }
}

/// Source whose rows have at most a given memory.
#[derive(Debug)]
pub struct ResizedSource<'a, S> {
    inner: S,
    sizes: &'a HashMap<CellKey, Bytes>,
}

impl<'a, S> ResizedSource<'a, S> {
    /// Creates a source around another one. Rows of a cell that is in `sizes` and had more memory
    /// than that have this much; all others stay as they are.
    pub const fn new(inner: S, sizes: &'a HashMap<CellKey, Bytes>) -> Self {
        Self { inner, sizes }
    }
}

impl<S: UsageSource> UsageSource for ResizedSource<'_, S> {
    type Error = S::Error;

    fn read_usage(
        &mut self,
        request: UsageRequest,
        take: &mut dyn FnMut(&mut UsageColumns),
    ) -> Result<(), S::Error> {
        let sizes = self.sizes;
        let mut known: Vec<Option<u64>> = Vec::new();
        self.inner.read_usage(request, &mut |columns| {
            while let Some(key) = columns.cell_key(known.len()) {
                known.push(sizes.get(key).map(|size| size.0));
            }
            columns.lower_values(GIVEN, &known);
            take(columns);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contract, RowSource, UsageRow, WhatIf, replay_source};
    use cyclometer_core::invocation::StartKind;
    use cyclometer_core::meter::Usage;
    use cyclometer_core::units::Nanos;
    use cyclometer_pricing::{Terms, find_builtin_model};
    use std::convert::Infallible;
    use std::sync::Arc;

    const MIB: u64 = 1 << 20;

    fn row(workload: &str, mib: u64, cpu: Option<u64>, peak: Option<u64>) -> UsageRow {
        let mut usage = Usage::new(false);
        usage.phases.run = Some(Nanos(1_000_000_000));
        usage.set(Meter::Wall, 1_000_000_000);
        usage.set(Meter::CpuTime, cpu);
        usage.set(Meter::MemoryPeak, peak.map(|mib| mib * MIB));
        usage.set(Meter::MemoryAllocated, mib * MIB);
        let key = CellKey::new("aws-lambda", workload, "any", StartKind::Warm);
        UsageRow { invocation: 0, key, offset: Nanos(0), failed: false, usage }
    }

    fn rows() -> Vec<Result<UsageRow, Infallible>> {
        let rows = [
            row("a", 1_024, Some(250_000_000), Some(100)),
            row("a", 512, None, Some(300)),
            row("b", 2_048, None, None),
        ];
        rows.into_iter().map(Ok).collect()
    }

    fn contracts() -> Arc<Vec<Contract>> {
        let model = find_builtin_model("aws-lambda-x86").expect("built in");
        let terms = Terms::for_model(model);
        Arc::new(vec![(model.clone(), terms)])
    }

    #[test]
    fn what_cells_used_is_summed_and_the_bill_is_the_same() {
        let sums = Mutex::new(UsageByCell::new());
        let mut source = SummedSource::new(RowSource::new(rows().into_iter()), &sums);
        let contracts = contracts();
        let seen = replay_source(&mut source, &contracts, &WhatIf::default()).expect("read");
        let mut plain = RowSource::new(rows().into_iter());
        let bare = replay_source(&mut plain, &contracts, &WhatIf::default()).expect("read");
        assert_eq!(seen, bare);
        let sums = sums.into_inner().expect("whole");
        let [a, b] = ["a", "b"]
            .map(|name| *sums.iter().find(|(key, _)| *key.workload == *name).expect("a cell").1);
        assert_eq!((a.rows, a.wall, a.peak), (2, (2, 2_000_000_000), (2, Bytes(300 * MIB))));
        assert_eq!((a.cpu_rows, a.cpu, a.wall_of_cpu), (1, 250_000_000, 1_000_000_000));
        assert_eq!(a.given, Some((Bytes(512 * MIB), Bytes(1_024 * MIB))));
        assert_eq!((b.rows, b.peak.0, b.cpu_rows), (1, 0, 0));
    }

    #[test]
    fn only_rows_with_more_memory_get_less() {
        let key = |name| CellKey::new("aws-lambda", name, "any", StartKind::Warm);
        let sizes = HashMap::from([(key("a"), Bytes(768 * MIB))]);
        let mut source = ResizedSource::new(RowSource::new(rows().into_iter()), &sizes);
        let summary = replay_source(&mut source, &contracts(), &WhatIf::default()).expect("read");
        // GB-seconds by hand: 0.75 s x GB for the first, 0.5 for the second; 2 for `b`.
        let quantities: Vec<String> = summary
            .groups()
            .map(|(_, group)| group.models[0].charges[0].quantity.to_plain_string())
            .collect();
        assert_eq!(quantities, ["1.25", "2"]);
    }
}
