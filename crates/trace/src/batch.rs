//! Rows of a trace in batches, and the names that they refer to.

use std::collections::HashMap;

use cyclometer_core::invocation::StartKind;

use crate::format::Reject;
use crate::row::TraceRow;

/// Most cells (functions, sizes, kinds of start) of a trace: more means that a column was taken
/// for the name of the function which is none.
const MAX_CELLS: usize = 200_000;

/// Most instances of a trace.
const MAX_INSTANCES: usize = 4_000_000;

/// Most rows that one record may give.
const MAX_ROWS_OF_RECORD: usize = 100_000;

/// Longest name that is kept, in bytes.
const MAX_NAME_BYTES: usize = 512;

/// Cell of a trace, by its position in [`TraceNames`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CellId(pub u32);

/// Instance of a trace, by its position in [`TraceNames`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(pub u32);

/// Names of a cell of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CellLabel {
    /// Platform, which stands where a recording has its lane: `aws-lambda`, `google-cloud-run`.
    pub platform: String,
    /// Function, which stands where a recording has its workload.
    pub function: String,
    /// Configuration, which stands where a recording has its preset: the memory size as
    /// [`memory_configuration`] writes it, or `any`.
    pub configuration: String,
    /// Region of the provider, if the log has it.
    pub region: Option<String>,
    /// Kind of start; warm where the log does not say.
    pub start: StartKind,
}

/// Writes a memory size as the configuration of a cell: `1769MB`, which are MiB as in the
/// provider's console; `any` if it is not known.
#[must_use]
pub fn memory_configuration(bytes: Option<u64>) -> String {
    match bytes {
        Some(bytes) if bytes % (1 << 20) == 0 => format!("{}MB", bytes >> 20),
        Some(bytes) => format!("{bytes}B"),
        None => "any".to_owned(),
    }
}

/// Names that the rows of a trace refer to; they stay known from batch to batch.
#[derive(Debug, Default)]
pub struct TraceNames {
    cells: Vec<CellLabel>,
    cell_ids: HashMap<CellLabel, CellId>,
    instances: Vec<String>,
    instance_ids: HashMap<String, InstanceId>,
}

impl TraceNames {
    /// Returns the cell with these names, and adds it if it is new.
    ///
    /// # Errors
    ///
    /// Rejects names that are empty or longer than 512 bytes, and cells beyond 200,000.
    pub fn find_or_add_cell(&mut self, label: &CellLabel) -> Result<CellId, Reject> {
        if let Some(id) = self.cell_ids.get(label) {
            return Ok(*id);
        }
        let CellLabel { platform, function, configuration, region, .. } = label;
        for name in [platform, function, configuration].into_iter().chain(region) {
            check_name(name)?;
        }
        let id = u32::try_from(self.cells.len()).ok().filter(|_| self.cells.len() < MAX_CELLS);
        let id = id.map(CellId).ok_or(Reject::new("more than 200,000 functions and sizes"))?;
        self.cells.push(label.clone());
        self.cell_ids.insert(label.clone(), id);
        Ok(id)
    }

    /// Returns the instance with this name, and adds it if it is new.
    ///
    /// # Errors
    ///
    /// Rejects names like [`Self::find_or_add_cell`], and instances beyond 4,000,000.
    pub fn find_or_add_instance(&mut self, name: &str) -> Result<InstanceId, Reject> {
        if let Some(id) = self.instance_ids.get(name) {
            return Ok(*id);
        }
        check_name(name)?;
        let known = self.instances.len();
        let id = u32::try_from(known).ok().filter(|_| known < MAX_INSTANCES);
        let id = id.map(InstanceId).ok_or(Reject::new("more than 4,000,000 instances"))?;
        self.instances.push(name.to_owned());
        self.instance_ids.insert(name.to_owned(), id);
        Ok(id)
    }

    /// Returns all cells, in the order of their numbers.
    #[must_use]
    pub fn cells(&self) -> &[CellLabel] {
        &self.cells
    }

    /// Returns all instances, in the order of their numbers.
    #[must_use]
    pub fn instances(&self) -> &[String] {
        &self.instances
    }
}

fn check_name(name: &str) -> Result<(), Reject> {
    if name.is_empty() {
        return Err(Reject::new("an empty name of a function or instance"));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(Reject::new("a name of more than 512 bytes"));
    }
    Ok(())
}

/// Rows that are stored together.
#[derive(Debug, Default)]
pub struct RowBatch {
    rows: Vec<TraceRow>,
    /// Rows before the record that is being read.
    before: usize,
    /// Whether that record gave more rows than one may.
    overflowed: bool,
    /// Causes for which parts of that record were rejected.
    rejected_parts: Vec<Reject>,
}

impl RowBatch {
    /// Adds a row. Those of a record that gives more than 100,000 are not kept, and the record is
    /// rejected by [`Self::check_record`].
    pub fn push(&mut self, row: TraceRow) {
        if self.rows.len() - self.before < MAX_ROWS_OF_RECORD {
            self.rows.push(row);
        } else {
            self.overflowed = true;
        }
    }

    /// Begins a record.
    pub fn begin_record(&mut self) {
        self.before = self.rows.len();
        self.overflowed = false;
        self.rejected_parts.clear();
    }

    /// Rejects a part of the record that is being read, such as a row of a table or a span: the
    /// other parts stay.
    pub fn reject_part(&mut self, cause: Reject) {
        self.rejected_parts.push(cause);
    }

    /// Returns the causes for which parts of the record were rejected, and forgets them.
    pub fn take_rejected_parts(&mut self) -> Vec<Reject> {
        std::mem::take(&mut self.rejected_parts)
    }

    /// Rejects the record that was begun last if it gave too many rows.
    ///
    /// # Errors
    /// Returns that cause.
    pub const fn check_record(&self) -> Result<(), Reject> {
        if self.overflowed {
            return Err(Reject::new("a record of more than 100,000 invocations"));
        }
        Ok(())
    }

    /// Removes the rows of the record that was begun last.
    pub fn remove_record(&mut self) {
        self.rows.truncate(self.before);
    }

    /// Returns the rows.
    #[must_use]
    pub fn rows(&self) -> &[TraceRow] {
        &self.rows
    }

    /// Removes all rows; the memory stays.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.begin_record();
    }

    /// Removes the rows from a position on: those of a record that was rejected in the middle.
    pub fn truncate(&mut self, len: usize) {
        self.rows.truncate(len);
    }

    /// Returns the number of rows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether there are no rows.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}
