//! Sources of usage: whatever holds recorded invocations hands them out in
//! columns, block by block.
//!
//! A source knows how its rows are stored, and nothing of prices; the replay
//! knows prices, and nothing of files or databases.

use std::collections::HashMap;
use std::ops::Range;

use super::{CellKey, Contract, Replayer, SignalValues, UsageRow, WhatIf};
use cyclometer_core::units::Nanos;
use cyclometer_pricing::compile::{Signal, SignalSet};

/// Most rows of a block.
const BLOCK: usize = 4_096;

/// Usage that a replay needs of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageRequest {
    /// Signals that are used, where they were measured.
    pub signals: SignalSet,
    /// Whether the rows of a cell must be adjacent and come in the order of
    /// their requests, since some share an instance. All rows of a cell are
    /// then in one source.
    pub in_request_order: bool,
}

impl UsageRequest {
    /// Returns what a replay through `contracts` needs.
    #[must_use]
    pub fn for_contracts(contracts: &std::sync::Arc<Vec<Contract>>) -> Self {
        Replayer::new(std::sync::Arc::clone(contracts), WhatIf::default()).usage_request()
    }
}

/// Source of the usage of recorded invocations.
///
/// A source drives the reading itself, so that it can keep a cursor or a file
/// open on its own stack. It hands out one block after another, and reuses the
/// memory of the block.
pub trait UsageSource {
    /// Reason why the usage cannot be read.
    type Error;

    /// Reads all rows, and calls `take` with each block of them.
    ///
    /// # Errors
    /// Fails when a row cannot be read; rows before it may have been taken.
    fn read_usage(
        &mut self,
        request: UsageRequest,
        take: &mut dyn FnMut(&mut UsageColumns),
    ) -> Result<(), Self::Error>;
}

/// Cell of a source, by its position in a [`UsageColumns`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellIndex(usize);

/// Block of rows in columns, one for each signal that was requested, and the
/// cells that the rows belong to.
#[derive(Debug)]
pub struct UsageColumns {
    cells: Vec<CellKey>,
    len: usize,
    row_cells: Vec<usize>,
    offsets: Vec<Nanos>,
    failed: Vec<bool>,
    present: Vec<SignalSet>,
    /// Columns by [`Signal::column_index`]; those that were not requested are
    /// empty. Where a signal was not measured, any value may stand.
    columns: Vec<Vec<u64>>,
}

/// Adjacent rows of one cell that have the same signals measured.
pub(super) struct RowRun {
    pub cell: usize,
    pub present: SignalSet,
    pub rows: Range<usize>,
}

impl UsageColumns {
    /// Creates an empty block for the signals of a request.
    #[must_use]
    pub fn for_request(request: UsageRequest) -> Self {
        let column = |signal| {
            let rows = if request.signals.contains(signal) { BLOCK } else { 0 };
            vec![0; rows]
        };
        let mut columns = vec![Vec::new(); Signal::COUNT];
        for signal in Signal::iter_all() {
            columns[signal.column_index()] = column(signal);
        }
        Self {
            cells: Vec::new(),
            len: 0,
            row_cells: vec![0; BLOCK],
            offsets: vec![Nanos(0); BLOCK],
            failed: vec![false; BLOCK],
            present: vec![SignalSet::default(); BLOCK],
            columns,
        }
    }

    /// Adds a cell, which stays known in later blocks. Cells of several
    /// recordings may have the same key: they are summed as one, but share no
    /// instance.
    pub fn add_cell(&mut self, key: CellKey) -> CellIndex {
        self.cells.push(key);
        CellIndex(self.cells.len() - 1)
    }

    /// Adds a row without values, for [`Self::set_value`] to fill; not in a
    /// block that [is full](Self::is_full).
    pub fn push_row(&mut self, cell: CellIndex, offset: Nanos, failed: bool) {
        debug_assert!(!self.is_full(), "a full block is taken before the next row");
        let row = self.len.min(BLOCK - 1);
        self.row_cells[row] = cell.0;
        self.offsets[row] = offset;
        self.failed[row] = failed;
        self.present[row] = SignalSet::default();
        self.len = row + 1;
    }

    /// Sets a measured value of the last row. Signals that were not requested
    /// are left out.
    pub fn set_value(&mut self, signal: Signal, value: u64) {
        let Some(row) = self.len.checked_sub(1) else { return };
        if let Some(place) = self.columns[signal.column_index()].get_mut(row) {
            *place = value;
            self.present[row].insert(signal);
        }
    }

    /// Returns whether the block has to be taken before the next row.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.len >= BLOCK
    }

    /// Returns whether there are no rows.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Removes all rows; the cells stay.
    pub const fn clear_rows(&mut self) {
        self.len = 0;
    }

    /// Gives every row the same value of a signal.
    pub(super) fn replace_values(&mut self, signal: Signal, value: u64) {
        let column = &mut self.columns[signal.column_index()];
        column.resize(BLOCK, value);
        column.fill(value);
        self.present[..self.len].iter_mut().for_each(|present| present.insert(signal));
    }

    /// Lowers values of a signal that are above the limit of their cell; cells without a limit,
    /// and rows without a value, stay as they are.
    pub(super) fn lower_values(&mut self, signal: Signal, limits: &[Option<u64>]) {
        let Some(column) = self.columns.get_mut(signal.column_index()) else { return };
        let rows = self.row_cells[..self.len].iter().zip(column);
        for (cell, value) in rows {
            if let Some(limit) = limits.get(*cell).copied().flatten() {
                *value = (*value).min(limit);
            }
        }
    }

    pub(super) fn cell_key(&self, cell: usize) -> Option<&CellKey> {
        self.cells.get(cell)
    }

    /// Returns the run of rows that begins at `first`; `None` after the last
    /// row.
    pub(super) fn run_from(&self, first: usize) -> Option<RowRun> {
        if first >= self.len {
            return None;
        }
        let (cell, present) = (self.row_cells[first], self.present[first]);
        let same = |row: &usize| self.row_cells[*row] == cell && self.present[*row] == present;
        let last = (first..self.len).take_while(same).last().unwrap_or(first);
        Some(RowRun { cell, present, rows: first..last + 1 })
    }

    /// Returns values of a signal that was measured in these rows.
    pub(super) fn column_values(&self, signal: Signal, rows: Range<usize>) -> &[u64] {
        &self.columns[signal.column_index()][rows]
    }

    pub(super) fn count_failures(&self, rows: Range<usize>) -> u64 {
        self.failed[rows].iter().map(|failed| u64::from(*failed)).sum()
    }

    pub(super) fn offset(&self, row: usize) -> Nanos {
        self.offsets[row]
    }

    /// Copies the values of a row.
    pub(super) fn copy_row(&self, row: usize, values: &mut SignalValues) {
        for (value, column) in values.iter_mut().zip(&self.columns) {
            if let Some(found) = column.get(row) {
                *value = *found;
            }
        }
    }
}

/// Source of rows in memory, which are read in the order in which they come.
/// Rows with the same key are those of one cell.
#[derive(Debug)]
pub struct RowSource<I> {
    rows: I,
}

impl<I> RowSource<I> {
    /// Creates a source of rows, each of which may be an error instead.
    pub const fn new(rows: I) -> Self {
        Self { rows }
    }
}

impl<E, I: Iterator<Item = Result<UsageRow, E>>> UsageSource for RowSource<I> {
    type Error = E;

    fn read_usage(
        &mut self,
        request: UsageRequest,
        take: &mut dyn FnMut(&mut UsageColumns),
    ) -> Result<(), E> {
        let mut columns = UsageColumns::for_request(request);
        let mut cells: HashMap<CellKey, CellIndex> = HashMap::new();
        for row in self.rows.by_ref() {
            let row = row?;
            let cell = match cells.get(&row.key) {
                Some(cell) => *cell,
                None => *cells.entry(row.key.clone()).or_insert(columns.add_cell(row.key)),
            };
            columns.push_row(cell, row.offset, row.failed);
            for signal in Signal::iter_all().filter(|it| request.signals.contains(*it)) {
                if let Some(value) = signal.value_in(&row.usage) {
                    columns.set_value(signal, value);
                }
            }
            if columns.is_full() {
                take(&mut columns);
                columns.clear_rows();
            }
        }
        if !columns.is_empty() {
            take(&mut columns);
        }
        Ok(())
    }
}
