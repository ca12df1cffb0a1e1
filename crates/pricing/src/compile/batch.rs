//! Column batches of usage: the input of a model's compiled form.

use crate::unit::Phase;
use cyclometer_core::meter::{Meter, Phases, Usage};
use cyclometer_core::units::Nanos;

/// A column of a [`UsageBatch`]: a meter, or a phase of the invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    /// A meter.
    Meter(Meter),
    /// A phase.
    Phase(Phase),
}

const PHASES: [Phase; 4] = [Phase::Create, Phase::Start, Phase::Run, Phase::Teardown];

impl Signal {
    /// Number of signals.
    pub const COUNT: usize = Meter::COUNT + PHASES.len();

    /// Iterates over every signal.
    pub fn iter_all() -> impl Iterator<Item = Self> {
        let phases = PHASES.into_iter().map(Self::Phase);
        Meter::ALL.iter().map(|meter| Self::Meter(*meter)).chain(phases)
    }

    /// Returns the index of the signal among all signals.
    #[must_use]
    pub const fn column_index(self) -> usize {
        match self {
            Self::Meter(meter) => meter as usize,
            Self::Phase(phase) => Meter::COUNT + phase as usize,
        }
    }

    /// Returns the value of the signal in a usage.
    #[must_use]
    pub fn value_in(self, usage: &Usage) -> Option<u64> {
        match self {
            Self::Meter(meter) => usage.get(meter),
            Self::Phase(phase) => phase.duration_in(&usage.phases).map(|span| span.0),
        }
    }
}

/// Set of signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SignalSet(u64);

impl SignalSet {
    /// Adds a signal.
    pub fn insert(&mut self, signal: Signal) {
        self.0 |= 1 << signal.column_index();
    }

    /// Returns whether the set contains the signal.
    #[must_use]
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 >> signal.column_index() & 1 == 1
    }

    /// Returns the signals of `self` that a usage has.
    #[must_use]
    pub fn measured_in(self, usage: &Usage) -> Self {
        let mut there = Self::default();
        for signal in Signal::iter_all().filter(|signal| self.contains(*signal)) {
            if signal.value_in(usage).is_some() {
                there.insert(signal);
            }
        }
        there
    }

    /// Returns the signals in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the signals in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<Signal> for SignalSet {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> Self {
        let mut set = Self::default();
        signals.into_iter().for_each(|signal| set.insert(signal));
        set
    }
}

/// Rows that have the same signals measured, with one column per signal.
#[derive(Debug, Clone)]
pub struct UsageBatch {
    present: SignalSet,
    /// Signals of `present`, in column order.
    signals: Vec<Signal>,
    len: usize,
    columns: Vec<Vec<u64>>,
    /// All bits that occur in a column: a bound of its values.
    bits: Vec<u64>,
}

impl UsageBatch {
    /// Creates a batch with these columns and no rows.
    #[must_use]
    pub fn new(present: SignalSet) -> Self {
        Self {
            present,
            signals: Signal::iter_all().filter(|signal| present.contains(*signal)).collect(),
            len: 0,
            columns: vec![Vec::new(); Signal::COUNT],
            bits: vec![0; Signal::COUNT],
        }
    }

    /// Creates a batch from whole columns; columns that differ in length from the first are left
    /// out.
    #[must_use]
    pub fn from_columns(columns: impl IntoIterator<Item = (Signal, Vec<u64>)>) -> Self {
        let mut batch = Self::new(SignalSet::default());
        for (signal, values) in columns {
            if batch.present == SignalSet::default() {
                batch.len = values.len();
            }
            if values.len() == batch.len {
                if !batch.present.contains(signal) {
                    batch.present.insert(signal);
                    batch.signals.push(signal);
                }
                batch.bits[signal.column_index()] =
                    values.iter().fold(0, |bits, value| bits | value);
                batch.columns[signal.column_index()] = values;
            }
        }
        batch
    }

    /// Adds a row: `value` is called for every column.
    pub fn push_row(&mut self, mut value: impl FnMut(Signal) -> u64) {
        for signal in &self.signals {
            let value = value(*signal);
            let index = signal.column_index();
            self.bits[index] |= value;
            self.columns[index].push(value);
        }
        self.len += 1;
    }

    /// Adds several rows: `column` is called once for every column, and returns its values of
    /// these rows.
    ///
    /// # Panics
    /// Panics if `column` returns fewer values than there are rows.
    pub fn extend_rows<'a>(&mut self, rows: usize, mut column: impl FnMut(Signal) -> &'a [u64]) {
        for signal in &self.signals {
            let values = &column(*signal)[..rows];
            let index = signal.column_index();
            self.bits[index] |= values.iter().fold(0, |bits, value| bits | value);
            self.columns[index].extend_from_slice(values);
        }
        self.len += rows;
    }

    /// Adds a usage as a row. Signals that the usage lacks would be stored as 0, so the set
    /// returned by [`SignalSet::measured_in`] must be the batch's.
    pub fn push_usage(&mut self, usage: &Usage) {
        debug_assert_eq!(self.present.measured_in(usage), self.present, "every column has a value");
        self.push_row(|signal| signal.value_in(usage).unwrap_or(0));
    }

    /// Removes all rows and keeps the allocated memory.
    pub fn clear(&mut self) {
        self.len = 0;
        self.columns.iter_mut().for_each(Vec::clear);
        self.bits.fill(0);
    }

    /// Returns the number of rows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are no rows.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the signals that have a column.
    #[must_use]
    pub const fn signals(&self) -> SignalSet {
        self.present
    }

    pub(super) fn column_values(&self, signal: Signal) -> &[u64] {
        &self.columns[signal.column_index()]
    }

    pub(super) fn column_bound(&self, signal: Signal) -> u128 {
        self.bits[signal.column_index()].into()
    }

    /// Converts a row back to a usage, as far as the batch has its signals.
    pub(super) fn usage_at_row(&self, row: usize) -> Usage {
        let mut usage = Usage::new(false);
        let value = |signal| {
            let there = self.present.contains(signal);
            there.then(|| self.column_values(signal).get(row).copied()).flatten()
        };
        for meter in Meter::ALL {
            usage.set(*meter, value(Signal::Meter(*meter)));
        }
        let time = |phase| value(Signal::Phase(phase)).map(Nanos);
        usage.phases = Phases {
            create: time(Phase::Create),
            start: time(Phase::Start),
            run: time(Phase::Run),
            teardown: time(Phase::Teardown),
            ..Phases::default()
        };
        usage
    }
}
